//! A Parquet file's bytes, read where they are wanted.
//!
//! Laws: nothing is read into memory at once but the footer and single pages; a page that would be
//! larger than `PAGE_BYTES_MAX` is refused before memory is taken for it; the decoder's panics end
//! here, as errors.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::thrift::page_sizes;
use crate::input::position::ContentHasher;

/// The largest page that is taken, in bytes when it is unpacked. Writers make pages of 1 MiB.
const PAGE_BYTES_MAX: i64 = 256 << 20;

/// As much of a page's header as its sizes need.
const PAGE_SIZES_BYTES: usize = 32;

/// Bytes read at a time for a page's header.
const HEADER_BYTES: usize = 512;

/// Bytes read at a time to be hashed.
const HASH_BYTES: usize = 256 << 10;

/// A file, and how long it was when it was opened.
#[derive(Debug, Clone)]
pub(super) struct FileBytes {
    pub(super) file: Arc<File>,
    pub(super) file_bytes: u64,
}

impl FileBytes {
    /// As many bytes as `length` from `start`, which the file must have.
    pub(super) fn range(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.file_bytes) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before that"));
        }
        let mut buffer = vec![0; length];
        self.file.read_exact_at(&mut buffer, start)?;
        Ok(buffer.into())
    }

    /// Takes a part of the file into a hash.
    pub(super) fn hash(&self, start: u64, end: u64, hasher: &mut ContentHasher) -> io::Result<()> {
        let mut buffer = vec![0; HASH_BYTES];
        let mut at = start;
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(HASH_BYTES).min(HASH_BYTES);
            self.file.read_exact_at(&mut buffer[..want], at)?;
            hasher.update(&buffer[..want]);
            at += want as u64;
        }
        Ok(())
    }
}

/// A file as the decoder reads pages of it: their headers are looked at first.
#[derive(Debug)]
pub(super) struct Pages(pub(super) FileBytes);

impl Length for Pages {
    fn len(&self) -> u64 {
        self.0.file_bytes
    }
}

impl ChunkReader for Pages {
    type T = BufReader<ReadFrom>;

    /// The decoder reads the headers of pages so, and nothing else as long as none is skipped.
    fn get_read(&self, start: u64) -> Result<BufReader<ReadFrom>> {
        let mut header = [0; PAGE_SIZES_BYTES];
        let count = self.0.file.read_at(&mut header, start)?;
        let Some(sizes) = page_sizes(&header[..count]) else {
            return Err(ParquetError::General("there is no page where one should be".to_owned()));
        };
        if sizes.unpacked > PAGE_BYTES_MAX {
            let mebibytes = PAGE_BYTES_MAX >> 20;
            return Err(ParquetError::General(format!(
                "a page of {} bytes is larger than the {mebibytes} MiB that are taken",
                sizes.unpacked
            )));
        }
        let page = ReadFrom { file: Arc::clone(&self.0.file), at: start };
        Ok(BufReader::with_capacity(HEADER_BYTES, page))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        Ok(self.0.range(start, length)?)
    }
}

/// A reader of its own place.
#[derive(Debug)]
pub(super) struct ReadFrom {
    file: Arc<File>,
    at: u64,
}

impl Read for ReadFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

thread_local! {
    /// Whether a panic on this thread is the decoder's.
    static IS_DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Has the decoder do something with bytes that may be anything: if it panics, that is an error,
/// and nothing is printed.
pub(super) fn decode<T>(decode: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            if !IS_DECODING.get() {
                others(panicked);
            }
        }));
    });
    IS_DECODING.set(true);
    let decoded = panic::catch_unwind(AssertUnwindSafe(decode));
    IS_DECODING.set(false);
    decoded.unwrap_or_else(|_| {
        Err(ParquetError::General("what it holds makes no sense to the decoder".to_owned()))
    })
}

/// What the decoder says, without its own names for kinds of errors.
pub(super) fn reason(error: &ParquetError) -> String {
    match error {
        ParquetError::General(text) | ParquetError::NYI(text) | ParquetError::EOF(text) => {
            text.clone()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_decoder_is_an_error() {
        assert_eq!(decode(|| Ok(7)).unwrap(), 7);
        let error = decode::<()>(|| panic!("out of bounds")).unwrap_err();
        assert!(reason(&error).contains("makes no sense"), "{error}");
        assert!(!IS_DECODING.get());
    }

    #[test]
    fn a_page_that_would_be_too_large_is_refused_by_its_header() {
        let header = |unpacked: u64| {
            let mut bytes = vec![0x15, 0, 0x15];
            let mut zigzag = unpacked << 1;
            while zigzag >= 0x80 {
                bytes.push(zigzag as u8 | 0x80);
                zigzag >>= 7;
            }
            bytes.push(zigzag as u8);
            bytes
        };
        let told = |bytes: &[u8]| {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(bytes, 0).unwrap();
            let bytes = FileBytes { file: Arc::new(file), file_bytes: bytes.len() as u64 };
            Pages(bytes).get_read(0).map(drop).map_err(|error| reason(&error))
        };
        assert_eq!(told(&header(256 << 20)), Ok(()));
        let error = told(&header((256 << 20) + 1)).unwrap_err();
        assert_eq!(error, "a page of 268435457 bytes is larger than the 256 MiB that are taken");
        assert!(told(b"no header").unwrap_err().contains("no page"));
    }

    #[test]
    fn bytes_past_the_end_are_refused_before_memory_is_taken() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let bytes = FileBytes { file, file_bytes: 0 };
        assert!(bytes.range(0, usize::MAX).is_err());
        assert!(bytes.range(u64::MAX, 1).is_err());
    }
}
