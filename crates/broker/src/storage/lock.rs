//! The lock on a data directory: one broker at a time, and who it is.
//!
//! The lock is the kernel's (`flock`), so a broker that is killed leaves none. The file's text says
//! the process and, once it listens, the address: whoever comes second can use that broker.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::disk::new_file;
use super::errors::StorageError;

/// The lock's file in a data directory.
pub(super) const LOCK_FILE: &str = ".lock";

/// A held lock; dropping it lets the next one in.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    file: File,
    path: PathBuf,
}

impl DirectoryLock {
    pub(super) fn acquire(directory: &Path) -> Result<Self, StorageError> {
        let path = directory.join(LOCK_FILE);
        let open = new_file().read(true).truncate(false).open(&path);
        let mut file = open.map_err(|error| StorageError::io("opening", &path, error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let (pid, listening_at) = read_holder(&mut file);
                let path = directory.to_owned();
                return Err(StorageError::Locked { path, listening_at, pid });
            }
            Err(errno) => return Err(StorageError::io("locking", &path, errno.into())),
        }
        let lock = Self { file, path };
        // Who holds it is a courtesy: a full disk is no reason not to open what needs no room.
        let _ = lock.write_holder(None);
        Ok(lock)
    }

    /// Writes down where this broker listens.
    pub(super) fn announce(&self, address: &str) -> Result<(), StorageError> {
        self.write_holder(Some(address))
    }

    /// Lets the next one in.
    pub(super) fn release(&self) {
        // Closing the file, at the latest, does it.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }

    fn write_holder(&self, address: Option<&str>) -> Result<(), StorageError> {
        let text = match address {
            Some(address) => format!("{}\n{address}\n", std::process::id()),
            None => format!("{}\n", std::process::id()),
        };
        let write = || -> io::Result<()> {
            self.file.set_len(0)?;
            rustix::io::pwrite(&self.file, text.as_bytes(), 0)?;
            Ok(())
        };
        write().map_err(|error| StorageError::io("writing", &self.path, error))
    }
}

fn read_holder(file: &mut File) -> (Option<u32>, Option<String>) {
    let mut text = String::new();
    // Who holds it is a courtesy: a text that can't be read says nothing.
    let _ = file.take(1024).read_to_string(&mut text);
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.parse().ok());
    let listening_at = lines.next().map(str::to_owned).filter(|line| !line.is_empty());
    (pid, listening_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is_and_comes_in_once_it_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let first = DirectoryLock::acquire(directory.path()).unwrap();
        let refused = DirectoryLock::acquire(directory.path()).unwrap_err();
        let StorageError::Locked { listening_at, pid, .. } = refused else { panic!("{refused}") };
        assert_eq!((listening_at, pid), (None, Some(std::process::id())));
        first.announce("127.0.0.1:9092").unwrap();
        let refused = DirectoryLock::acquire(directory.path()).unwrap_err();
        assert!(refused.to_string().contains("127.0.0.1:9092"), "{refused}");
        drop(first);
        DirectoryLock::acquire(directory.path()).unwrap();
    }
}
