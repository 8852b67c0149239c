//! Compressed files, read as what they hold.
//!
//! Laws: a position in a compressed file is one in what it holds, so it doesn't move when the file
//! is compressed anew; what is kept in memory is the decoder's window, whatever the file's size; an
//! error of the file isn't taken for damage to what is in it.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;

/// Bytes read from the file at a time.
const READ_BYTES: usize = 128 << 10;

/// As many first bytes tell a compressed file.
const MAGIC_BYTES: usize = 4;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Compression {
    /// Not at all
    None,
    /// gzip (RFC 1952), also of several members one after the other
    Gzip,
    /// Zstandard (RFC 8878), also of several frames one after the other
    Zstd,
}

impl Compression {
    /// What a file's first bytes say.
    pub fn of_first_bytes(bytes: &[u8]) -> Compression {
        match bytes {
            // Text in UTF-8 doesn't begin so; what the third byte must be is told by the decoder.
            [0x1f, 0x8b, _, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A frame to skip, which some writers begin with.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }

    /// What a file is compressed by.
    pub fn of_file(file: &File) -> io::Result<Compression> {
        let mut bytes = [0; MAGIC_BYTES];
        let count = file.read_at(&mut bytes, 0)?;
        Ok(Compression::of_first_bytes(&bytes[..count]))
    }

    /// Its name in what is kept of a file; None if there is none.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Compression::None => None,
            Compression::Gzip => Some("gzip"),
            Compression::Zstd => Some("zstd"),
        }
    }

    /// A path without the ending that compressed files have.
    pub fn without_ending(path: &Path) -> &Path {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let is_of_one =
            ["gz", "gzip", "zst", "zstd"].iter().any(|of| ending.eq_ignore_ascii_case(of));
        path.file_stem().filter(|_| is_of_one).map_or(path, Path::new)
    }
}

/// A stream as what it holds: unpacked, if its first bytes say that it is compressed. Nothing is
/// read before it is asked for, and then no further than it takes to see that it isn't.
pub struct UnpackedStream {
    source: Box<dyn Read>,
    unseen: Option<Unseen>,
}

/// What is known of a stream that nothing was read of.
#[derive(Debug, Clone, Copy)]
struct Unseen {
    given: Option<Compression>,
}

impl UnpackedStream {
    /// The stream from its start; `given` wins over its first bytes.
    pub fn new(source: Box<dyn Read>, given: Option<Compression>) -> UnpackedStream {
        UnpackedStream { source, unseen: Some(Unseen { given }) }
    }

    /// Looks at the first bytes, if they decide, and has the source be what it holds.
    fn look(&mut self, unseen: Unseen) -> io::Result<()> {
        let mut first = Vec::new();
        let may_be_compressed =
            |first: &[u8]| matches!(first, [] | [0x1f | 0x28 | 0x50..=0x5f, ..]);
        while unseen.given.is_none() && first.len() < MAGIC_BYTES && may_be_compressed(&first) {
            let mut byte = [0];
            match self.source.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => first.push(byte[0]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let compression = unseen.given.unwrap_or_else(|| Compression::of_first_bytes(&first));
        let source = std::mem::replace(&mut self.source, Box::new(io::empty()));
        let whole = Cursor::new(first).chain(source);
        self.source = match compression {
            Compression::None => Box::new(whole),
            compression => Box::new(Unpacked::new(whole, compression)?.0),
        };
        Ok(())
    }
}

impl Read for UnpackedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(unseen) = self.unseen.take() {
            self.look(unseen)?;
        }
        self.source.read(buffer)
    }
}

/// How many bytes of a file were read, as they are on the disk.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<AtomicU64>);

impl Meter {
    /// How many.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A file as what it holds.
pub struct Unpacked<R> {
    decoder: Decoder<R>,
}

enum Decoder<R> {
    Plain(Metered<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Metered<R>>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Metered<R>>>>),
}

impl<R: Read> Unpacked<R> {
    /// What a file holds, from its start; and how much of the file is read.
    ///
    /// # Errors
    /// The decoder can't be made, for want of memory.
    pub fn new(source: R, compression: Compression) -> io::Result<(Unpacked<R>, Meter)> {
        let meter = Meter::default();
        let metered = Metered { source, meter: meter.clone(), has_failed: false };
        let buffered = |metered| BufReader::with_capacity(READ_BYTES, metered);
        let decoder = match compression {
            Compression::None => Decoder::Plain(metered),
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(buffered(metered)))),
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(buffered(metered))?;
                Decoder::Zstd(Box::new(decoder))
            }
        };
        Ok((Unpacked { decoder }, meter))
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (result, compression, source) = match &mut self.decoder {
            Decoder::Plain(source) => return source.read(buffer),
            Decoder::Gzip(decoder) => (decoder.read(buffer), "gzip", decoder.get_ref().get_ref()),
            Decoder::Zstd(decoder) => (decoder.read(buffer), "zstd", decoder.get_ref().get_ref()),
        };
        result.map_err(|error| {
            if source.has_failed || error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            let fault = match error.kind() {
                io::ErrorKind::UnexpectedEof => DecodeFault::Ends { compression },
                _ => DecodeFault::Damaged { compression, reason: error.to_string() },
            };
            io::Error::new(io::ErrorKind::InvalidData, fault)
        })
    }
}

impl<R> fmt::Debug for Unpacked<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.decoder {
            Decoder::Plain(_) => "Plain",
            Decoder::Gzip(_) => "Gzip",
            Decoder::Zstd(_) => "Zstd",
        })
    }
}

/// What is wrong with what a compressed file holds.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeFault {
    /// The file ends where more should come.
    #[error("its {compression} data ends in the middle")]
    Ends {
        /// `gzip` or `zstd`.
        compression: &'static str,
    },
    /// It can't be unpacked.
    #[error("its {compression} data can't be unpacked: {reason}")]
    Damaged {
        /// `gzip` or `zstd`.
        compression: &'static str,
        /// The decoder's own words.
        reason: String,
    },
    /// A Parquet file isn't what it should be.
    #[error("{place}: {reason}")]
    Parquet {
        /// Where in the file.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// A Parquet file is whole, and written in a way that isn't read.
    #[error("{place}: it is {written}, which isn't read")]
    Unreadable {
        /// Where in the file.
        place: String,
        /// How it is written.
        written: &'static str,
        /// What the user may do about it.
        remedy: &'static str,
    },
}

impl DecodeFault {
    /// The fault behind an error of reading, if it is one.
    pub fn of(error: &io::Error) -> Option<&DecodeFault> {
        error.get_ref()?.downcast_ref()
    }

    /// What the user may do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            DecodeFault::Ends { .. } => {
                "get the whole file (it was cut, or is still being written) and run the same \
                 command again"
            }
            DecodeFault::Damaged { compression: "zstd", .. } => {
                "check it with zstd -t, and get it anew; if that finds nothing wrong, unpack it \
                 on the way:\nzstd -dc --long=31 FILE | streamledger ingest -"
            }
            DecodeFault::Damaged { .. } => "check it with gzip -t, and get it anew",
            DecodeFault::Parquet { .. } => {
                "get the whole file anew (it was cut, damaged, or is still being written) and run \
                 the same command again"
            }
            DecodeFault::Unreadable { remedy, .. } => remedy,
        }
    }
}

/// Counts what is read, and remembers whether that failed.
struct Metered<R> {
    source: R,
    meter: Meter,
    has_failed: bool,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.source.read(buffer) {
            Ok(count) => {
                self.meter.0.fetch_add(count as u64, Ordering::Relaxed);
                Ok(count)
            }
            Err(error) => {
                self.has_failed |= error.kind() != io::ErrorKind::Interrupted;
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::chunk::Dribble;
    use std::io::Write as _;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(text, 3).unwrap()
    }

    fn text() -> Vec<u8> {
        (0..20_000_u32).flat_map(|row| format!("{row},{}\n", row * 7).into_bytes()).collect()
    }

    fn read(packed: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
        let (mut unpacked, meter) = Unpacked::new(Dribble::new(packed), compression)?;
        let mut all = Vec::new();
        unpacked.read_to_end(&mut all)?;
        assert_eq!(meter.bytes(), packed.len() as u64, "all of the file was read");
        Ok(all)
    }

    #[test]
    fn both_are_told_by_their_first_bytes_and_unpacked_whole_also_in_several_pieces() {
        let text = text();
        for (pack, compression) in
            [(gzip as fn(&[u8]) -> Vec<u8>, Compression::Gzip), (zstd, Compression::Zstd)]
        {
            let (one, other) = text.split_at(text.len() / 3);
            let packed = [pack(one), pack(b""), pack(other)].concat();
            assert_eq!(Compression::of_first_bytes(&packed), compression);
            assert!(read(&packed, compression).unwrap() == text);
        }
        assert_eq!(Compression::of_first_bytes(&text), Compression::None);
        assert_eq!(Compression::of_first_bytes(b"\x1f"), Compression::None);
        assert!(read(&text, Compression::None).unwrap() == text);
    }

    #[test]
    fn a_cut_file_and_a_damaged_one_are_told_apart() {
        for (packed, compression) in
            [(gzip(&text()), Compression::Gzip), (zstd(&text()), Compression::Zstd)]
        {
            let name = compression.name().unwrap();
            let failed = |packed: &[u8]| {
                let error = Unpacked::new(packed, compression)
                    .and_then(|(mut unpacked, _)| unpacked.read_to_end(&mut Vec::new()))
                    .unwrap_err();
                DecodeFault::of(&error).unwrap().clone()
            };
            for cut in [6, packed.len() / 2, packed.len() - 1] {
                assert_eq!(failed(&packed[..cut]), DecodeFault::Ends { compression: name });
            }
            let mut damaged = packed.clone();
            let middle = damaged.len() / 2;
            damaged[middle..middle + 8].fill(0xff);
            assert!(matches!(failed(&damaged), DecodeFault::Damaged { .. }), "{name}");
            assert!(matches!(failed(b"id,name\n1,x\n"), DecodeFault::Damaged { .. }), "{name}");
        }
    }

    #[test]
    fn an_error_of_the_file_stays_what_it_is() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
        }
        for compression in [Compression::Gzip, Compression::Zstd] {
            let whole = Cursor::new(gzip(b"a")[..10].to_vec()).chain(Failing);
            let whole: Box<dyn Read> =
                if compression == Compression::Gzip { Box::new(whole) } else { Box::new(Failing) };
            let (mut unpacked, _) = Unpacked::new(whole, compression).unwrap();
            let error = unpacked.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(5));
        }
    }

    #[test]
    fn a_stream_is_unpacked_and_one_that_isnt_compressed_is_given_as_it_comes() {
        let all = |packed: Vec<u8>, given| {
            let mut read = Vec::new();
            let source: Box<dyn Read> = Box::new(Cursor::new(packed));
            UnpackedStream::new(source, given).read_to_end(&mut read).unwrap();
            read
        };
        for text in [&b"a,b\n1,2\n"[..], b"", b"(", b"\x1f\x8b", b"P*"] {
            assert_eq!(all(text.to_vec(), None), text);
            assert_eq!(all(gzip(text), None), text);
            assert_eq!(all(zstd(text), None), text);
        }
        assert_eq!(all(gzip(b"x"), Some(Compression::None)), gzip(b"x"));
    }

    #[test]
    fn an_ending_is_taken_off_once() {
        let without = |name| Compression::without_ending(Path::new(name)).to_str().unwrap();
        assert_eq!(without("a.csv.gz"), "a.csv");
        assert_eq!(without("d/a.ndjson.ZST"), "a.ndjson");
        assert_eq!(without("d/a.csv"), "d/a.csv");
    }
}
