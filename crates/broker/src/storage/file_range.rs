//! Bytes of a segment's file that are to be sent without being read into memory.
//!
//! 1. They were chosen when the log was looked at, and never change: a log only grows, and what
//!    takes a segment away (retention, compaction, deletion) takes its name. The file stays for as
//!    long as somebody holds it.
//! 2. What a range costs is a file that may be open for it alone, so their number has a bound; past
//!    it, records are read into memory.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use super::directory::SegmentFile;

/// The most ranges there may be at a time, over all connections: each may hold a file that nobody
/// else has open, and a process commonly may have 1024.
const LENT_MAX: usize = 256;

/// Counts the ranges there are.
#[derive(Debug, Clone, Default)]
pub(super) struct LentFiles {
    count: Arc<AtomicUsize>,
}

/// One of those that are counted.
#[derive(Debug)]
struct Lent {
    count: Arc<AtomicUsize>,
}

impl LentFiles {
    /// A range of a file, unless there are too many.
    pub(super) fn lend(
        &self,
        file: &Arc<SegmentFile>,
        position: u64,
        bytes: usize,
    ) -> Option<FileRange> {
        let less = |count| (count < LENT_MAX).then_some(count + 1);
        self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok()?;
        let lent = Lent { count: Arc::clone(&self.count) };
        Some(FileRange { file: Arc::clone(file), position, bytes, _lent: lent })
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Bytes of a segment's file.
#[derive(Debug)]
pub(crate) struct FileRange {
    file: Arc<SegmentFile>,
    position: u64,
    bytes: usize,
    _lent: Lent,
}

impl FileRange {
    /// A stretch of any file.
    #[cfg(test)]
    pub(crate) fn of(file: File, position: u64, bytes: usize) -> Self {
        let base_offset = streamledger_protocol::Offset(0);
        let file = Arc::new(SegmentFile { base_offset, file });
        LentFiles::default().lend(&file, position, bytes).unwrap()
    }

    /// How many bytes.
    pub(crate) const fn len(&self) -> usize {
        self.bytes
    }

    /// The base offset of the segment, which is in its file's name.
    pub(crate) fn segment(&self) -> streamledger_protocol::Offset {
        self.file.base_offset
    }

    /// Hands up to `bytes_max` bytes after the first `sent` to a socket, uncopied; how many it
    /// took. None may be left of the file: then it is shorter than its log.
    pub(crate) fn send_to(
        &self,
        socket: BorrowedFd<'_>,
        sent: usize,
        bytes_max: usize,
    ) -> Result<usize, Errno> {
        let mut position = self.position + sent as u64;
        let bytes = self.bytes.saturating_sub(sent).min(bytes_max);
        rustix::fs::sendfile(socket, self.file.file.as_fd(), Some(&mut position), bytes)
    }

    /// Reads up to `bytes_max` bytes after the first `sent`; fewer at the range's end.
    pub(crate) fn read(&self, sent: usize, bytes_max: usize) -> io::Result<Vec<u8>> {
        let bytes = self.bytes.saturating_sub(sent).min(bytes_max);
        let mut buffer = Vec::with_capacity(bytes);
        let file: &File = &self.file.file;
        while buffer.len() < bytes {
            let position = self.position + (sent + buffer.len()) as u64;
            match rustix::io::pread(file, spare_capacity(&mut buffer), position) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        buffer.truncate(bytes);
        Ok(buffer)
    }
}
