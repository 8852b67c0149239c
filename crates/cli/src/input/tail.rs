//! A file that goes on growing, read as far as it reaches now.
//!
//! Laws: where the file ends now isn't its end before that is said; nothing is given of a read
//! before which the file was cut or written anew, which the bytes before it tell.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// As many bytes before a read are held against what was read of them.
const REMEMBERED_BYTES: usize = 256;

/// Which file it is, whatever its name: its device and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    number: u64,
}

impl FileIdentity {
    /// That of what a file's metadata were taken of.
    pub fn of(metadata: &std::fs::Metadata) -> FileIdentity {
        FileIdentity { device: metadata.dev(), number: metadata.ino() }
    }
}

/// A file under way. Of two handles one reads it and the other sees to it.
#[derive(Debug, Clone)]
pub struct Tail {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: Arc<File>,
    read_bytes: AtomicU64,
    is_over: AtomicBool,
    was_cut: AtomicBool,
    /// The last bytes that were read.
    remembered: Mutex<Vec<u8>>,
}

impl Shared {
    fn new(file: Arc<File>) -> Shared {
        Shared {
            file,
            read_bytes: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            was_cut: AtomicBool::new(false),
            remembered: Mutex::new(Vec::new()),
        }
    }

    /// Whether the file still has the last bytes that were read, which end at `at`.
    fn is_as_it_was(&self, at: u64) -> io::Result<bool> {
        let remembered = self.remembered.lock();
        let mut now = [0; REMEMBERED_BYTES];
        let now = &mut now[..remembered.len()];
        match self.file.read_exact_at(now, at - remembered.len() as u64) {
            Ok(()) => Ok(*now == **remembered),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn remember(&self, read: &[u8]) {
        let mut remembered = self.remembered.lock();
        remembered.extend_from_slice(&read[read.len().saturating_sub(REMEMBERED_BYTES)..]);
        let surplus = remembered.len().saturating_sub(REMEMBERED_BYTES);
        remembered.drain(..surplus);
    }
}

/// What became of a file since it was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailState {
    /// There is more to read.
    Longer,
    /// Nothing.
    Same,
    /// It is shorter than what was read of it, or holds something else.
    Cut,
}

impl Tail {
    /// The file from its start.
    pub fn new(file: File) -> Tail {
        Tail { shared: Arc::new(Shared::new(Arc::new(file))) }
    }

    /// The same file from its start once more, apart from this reading of it.
    #[must_use]
    pub fn again(&self) -> Tail {
        Tail { shared: Arc::new(Shared::new(Arc::clone(&self.shared.file))) }
    }

    /// From here on the file is read to its end, and that is the end.
    pub fn end(&self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }

    /// Bytes that were read of it.
    pub fn read_bytes(&self) -> u64 {
        self.shared.read_bytes.load(Ordering::Relaxed)
    }

    /// What became of it, asked of the file itself, not of its name.
    pub fn state(&self) -> io::Result<TailState> {
        let read_bytes = self.read_bytes();
        let file_bytes = self.shared.file.metadata()?.len();
        let was_cut = self.shared.was_cut.load(Ordering::Relaxed);
        // It may have grown again as far as it was.
        if was_cut || !self.shared.is_as_it_was(read_bytes)? {
            return Ok(TailState::Cut);
        }
        Ok(match file_bytes.cmp(&read_bytes) {
            std::cmp::Ordering::Greater => TailState::Longer,
            std::cmp::Ordering::Equal => TailState::Same,
            std::cmp::Ordering::Less => TailState::Cut,
        })
    }

    /// Which file it is.
    pub fn identity(&self) -> io::Result<FileIdentity> {
        Ok(FileIdentity::of(&self.shared.file.metadata()?))
    }

    /// Whether another file is under this name, or none.
    pub fn has_moved_from(&self, path: &Path) -> io::Result<bool> {
        match path.metadata() {
            Ok(metadata) => Ok(FileIdentity::of(&metadata) != self.identity()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// The reading handle of a [`Tail`]. At what is the end for now it fails with
/// [`io::ErrorKind::WouldBlock`].
#[derive(Debug)]
pub struct TailReader {
    tail: Tail,
}

impl TailReader {
    /// Reads what `tail` sees to.
    pub fn new(tail: &Tail) -> TailReader {
        TailReader { tail: tail.clone() }
    }
}

impl Read for TailReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let shared = &self.tail.shared;
        let at = self.tail.read_bytes();
        if buffer.is_empty() {
            return Ok(0);
        }
        // Asked before the read: what is written between the two is read.
        let is_over = shared.is_over.load(Ordering::Relaxed);
        let count = shared.file.read_at(buffer, at)?;
        // Looked at after the read: whatever was cut before it shows.
        if !shared.is_as_it_was(at)? {
            shared.was_cut.store(true, Ordering::Relaxed);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if count == 0 {
            return if is_over { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        shared.remember(&buffer[..count]);
        shared.read_bytes.store(at + count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write as _;
    use tempfile::TempDir;

    struct Followed {
        directory: TempDir,
        tail: Tail,
        reader: TailReader,
    }

    impl Followed {
        fn new(text: &str) -> Followed {
            let directory = TempDir::new().unwrap();
            fs::write(directory.path().join("f"), text).unwrap();
            let tail = Tail::new(File::open(directory.path().join("f")).unwrap());
            let reader = TailReader::new(&tail);
            Followed { directory, tail, reader }
        }

        fn append(&self, text: &str) {
            let path = self.directory.path().join("f");
            let mut file = File::options().append(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        /// What can be read now; None for nothing yet.
        fn read(&mut self) -> Option<String> {
            let mut buffer = [0; 1000];
            match self.reader.read(&mut buffer) {
                Ok(count) => Some(String::from_utf8(buffer[..count].to_vec()).unwrap()),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    None
                }
            }
        }
    }

    #[test]
    fn what_is_added_is_read_and_the_end_is_where_it_is_said_to_be() {
        let mut file = Followed::new("ab\n");
        assert_eq!(file.read().as_deref(), Some("ab\n"));
        assert_eq!((file.read(), file.tail.state().unwrap()), (None, TailState::Same));
        file.append("cd\n");
        assert_eq!(file.tail.state().unwrap(), TailState::Longer);
        file.tail.end();
        assert_eq!((file.read().as_deref(), file.read().as_deref()), (Some("cd\n"), Some("")));
        assert_eq!(file.tail.read_bytes(), 6);
    }

    #[test]
    fn a_file_that_is_cut_gives_nothing_more_also_when_it_has_grown_again() {
        let path = |file: &Followed| file.directory.path().join("f");
        let mut cut = Followed::new("ab\n");
        cut.read().unwrap();
        fs::write(path(&cut), "a").unwrap();
        assert_eq!((cut.read(), cut.tail.state().unwrap()), (None, TailState::Cut));

        let mut anew = Followed::new(&"ab\n".repeat(300));
        while anew.read().is_some() {}
        fs::write(path(&anew), "cd\n".repeat(400)).unwrap();
        assert_eq!((anew.read(), anew.tail.state().unwrap()), (None, TailState::Cut));

        let mut same = Followed::new("ab\n");
        same.read().unwrap();
        fs::write(path(&same), "cd\n").unwrap();
        assert_eq!(same.tail.state().unwrap(), TailState::Cut, "its length says nothing");
    }

    #[test]
    fn a_renamed_file_is_still_the_one_that_is_read() {
        let mut file = Followed::new("ab\n");
        let path = file.directory.path().join("f");
        assert!(!file.tail.has_moved_from(&path).unwrap());
        fs::rename(&path, file.directory.path().join("f.1")).unwrap();
        assert!(file.tail.has_moved_from(&path).unwrap());
        fs::write(&path, "new\n").unwrap();
        assert!(file.tail.has_moved_from(&path).unwrap());
        assert_eq!(file.read().as_deref(), Some("ab\n"));
    }
}
