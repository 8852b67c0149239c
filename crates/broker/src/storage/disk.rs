//! The edge to the file system: every byte of the log and every fsync goes through here, so that a
//! test can take away what a disk may take away.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use rustix::buffer::spare_capacity;

use super::faults::DiskFaults;
use streamledger_broker_core::log::TEMPORARY_SUFFIX;

/// Who may read the files: whoever the broker runs as, for they hold what others may not see, the
/// keys of logins among it.
const FILE_MODE: u32 = 0o600;
/// The same of directories.
const DIRECTORY_MODE: u32 = 0o700;

/// The most pieces that one `pwritev` takes on Linux.
const PIECES_MAX: usize = 1024;

/// How surely a file that is written as a whole is on disk afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Durability {
    /// It replaces the old one at once; a power cut may take it away.
    Atomic,
    /// Its content is on disk before it has its name; the name, once the directory is flushed.
    Content,
    /// It is on disk, and so is its name.
    Flushed,
}

/// The file system, with or without faults on purpose.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    faults: Option<Arc<DiskFaults>>,
}

impl Disk {
    pub(super) const fn new(faults: Option<Arc<DiskFaults>>) -> Self {
        Self { faults }
    }

    /// Creates a file that must not be there yet, or empties one that is.
    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        self.before_write(1)?;
        new_file().read(true).truncate(true).open(path)
    }

    /// Opens a file to read and write.
    #[allow(clippy::unused_self)]
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    /// Writes all `pieces` at `position`, one after the other. On an error any part of them may
    /// be in the file.
    pub(super) fn write_at(
        &self,
        file: &File,
        mut position: u64,
        pieces: &mut [IoSlice<'_>],
    ) -> io::Result<()> {
        let mut rest = pieces;
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let written =
                self.write_some(file, position, rest.get(..PIECES_MAX).unwrap_or(rest))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            position += written as u64;
            IoSlice::advance_slices(&mut rest, written);
        }
        Ok(())
    }

    fn write_some(&self, file: &File, position: u64, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let allowed = match &self.faults {
            None => usize::MAX,
            Some(faults) => faults.admit_write(pieces.iter().map(|piece| piece.len()).sum())?,
        };
        loop {
            let outcome = match pieces.first() {
                Some(first) if allowed < first.len() => {
                    rustix::io::pwrite(file, first.get(..allowed).unwrap_or_default(), position)
                }
                Some(first) if allowed != usize::MAX => rustix::io::pwrite(file, first, position),
                _ => rustix::io::pwritev(file, pieces, position),
            };
            match outcome {
                Err(rustix::io::Errno::INTR) => {}
                Ok(written) => {
                    if let Some(faults) = &self.faults {
                        faults.wrote(written);
                    }
                    return Ok(written);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn before_write(&self, bytes: usize) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults.admit_write(bytes).map(drop))
    }

    /// Reads up to `bytes` at `position` into `buffer`, which is emptied first; fewer only at the
    /// file's end.
    #[allow(clippy::unused_self)]
    pub(super) fn read_at(
        &self,
        file: &File,
        position: u64,
        bytes: usize,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        buffer.clear();
        buffer.reserve_exact(bytes);
        while buffer.len() < bytes {
            let at = position + buffer.len() as u64;
            let read = rustix::io::pread(file, spare_capacity(buffer), at);
            match read {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        // There may be more room than was asked for.
        buffer.truncate(bytes);
        Ok(())
    }

    /// Cuts a file to `bytes`.
    #[allow(clippy::unused_self)]
    pub(super) fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        file.set_len(bytes)
    }

    /// Returns once what was written to the file is on disk.
    pub(super) fn sync_file(&self, file: &File) -> io::Result<()> {
        if let Some(faults) = &self.faults {
            faults.before_sync()?;
        }
        loop {
            match rustix::fs::fdatasync(file) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Returns once the names in a directory are on disk.
    pub(super) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        if let Some(faults) = &self.faults {
            faults.before_sync()?;
        }
        File::open(path)?.sync_all()
    }

    /// Returns once everything that was written to the file system of a directory is on disk,
    /// names and all. Linux reports what failed since 5.8.
    pub(super) fn sync_file_system(&self, directory: &Path) -> io::Result<()> {
        if let Some(faults) = &self.faults {
            faults.before_sync()?;
        }
        Ok(rustix::fs::syncfs(File::open(directory)?)?)
    }

    /// Replaces a whole file: readers see the old one or the new one, never a part.
    pub(super) fn replace(
        &self,
        path: &Path,
        content: &[u8],
        durability: Durability,
    ) -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(TEMPORARY_SUFFIX);
        let temporary = Path::new(&name);
        let file = self.create(temporary)?;
        self.write_at(&file, 0, &mut [IoSlice::new(content)])?;
        if durability >= Durability::Content {
            self.sync_file(&file)?;
        }
        fs::rename(temporary, path)?;
        match path.parent() {
            Some(parent) if durability == Durability::Flushed => self.sync_directory(parent),
            _ => Ok(()),
        }
    }
}

/// How a file is created, or opened to be written, that only its owner may read.
pub(crate) fn new_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(FILE_MODE);
    options
}

/// How a directory is created that only its owner may look into.
pub(crate) fn new_directory() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(DIRECTORY_MODE);
    builder
}

/// Whether an error says that there is no room left.
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
