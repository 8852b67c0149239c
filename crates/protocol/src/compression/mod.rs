//! The codecs of record batches: compression with reused state, decompression under a hard limit.
//!
//! Laws:
//! 1. No size that a stream declares is believed: output grows with what has really come out, and
//!    stops at the caller's limit (a decompression bomb costs at most that).
//! 2. Both directions keep their tables between calls; a thread has one of each.
//! 3. What others write is read: concatenated gzip members, raw snappy, linked lz4 blocks, zstd
//!    frames of unknown size. What we write is what Kafka's Java producer writes.

#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg_attr(
    not(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")),
    allow(dead_code, reason = "each codec uses a part of it")
)]
mod output;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(feature = "lz4")]
mod xxh32;
#[cfg(feature = "zstd")]
mod zstandard;

use std::fmt;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::Codec;

/// A buffer larger than this is given back after use instead of being kept.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// A codec and, if not its default, a level (KIP-390).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Compression {
    /// The codec.
    pub codec: Codec,
    /// gzip: 1 to 9, else 6. zstd: -131072 to 22, else 3. lz4: 1 to 17 is accepted and changes
    /// nothing, as the lz4 used here has one level. snappy and none have no levels.
    pub level: Option<i32>,
}

impl Compression {
    /// A codec at its default level.
    #[must_use]
    pub const fn of(codec: Codec) -> Self {
        Self { codec, level: None }
    }

    /// Checks a configured choice before any batch depends on it.
    ///
    /// # Errors
    /// The codec is not built in, or the level is out of its range.
    pub fn validate(self) -> Result<(), CompressionError> {
        if !is_built_in(self.codec) {
            return Err(CompressionError::NotBuiltIn(self.codec));
        }
        let Some(level) = self.level else { return Ok(()) };
        let levels = levels(self.codec);
        if levels.contains(&level) {
            return Ok(());
        }
        Err(CompressionError::LevelOutOfRange { codec: self.codec, level, levels })
    }
}

/// The levels of a codec (KIP-390); an empty range if it has none.
#[must_use]
pub const fn levels(codec: Codec) -> RangeInclusive<i32> {
    match codec {
        Codec::None | Codec::Snappy => RangeInclusive::new(1, 0),
        Codec::Gzip => 1..=9,
        Codec::Lz4 => 1..=17,
        Codec::Zstd => -131_072..=22,
    }
}

/// Whether the codec's cargo feature is on.
#[must_use]
pub const fn is_built_in(codec: Codec) -> bool {
    match codec {
        Codec::None => true,
        Codec::Gzip => cfg!(feature = "gzip"),
        Codec::Snappy => cfg!(feature = "snappy"),
        Codec::Lz4 => cfg!(feature = "lz4"),
        Codec::Zstd => cfg!(feature = "zstd"),
    }
}

/// Why something can't be compressed or decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// The codec's cargo feature is off.
    #[error("unsupported: this build has no {0} (enable the cargo feature of that name)")]
    NotBuiltIn(Codec),
    /// The codec has no such level.
    #[error(
        "compression level {level} is out of the range of {codec}: {} to {}",
        levels.start(),
        levels.end()
    )]
    LevelOutOfRange {
        /// The codec.
        codec: Codec,
        /// What was asked for.
        level: i32,
        /// What there is.
        levels: RangeInclusive<i32>,
    },
    /// The output would be larger than the limit.
    #[error("the records take more than {limit_bytes} bytes decompressed")]
    TooLarge {
        /// The caller's limit.
        limit_bytes: usize,
    },
    /// The input is not what the codec writes.
    #[error("corrupt {codec} stream: {reason}")]
    Corrupt {
        /// The codec.
        codec: Codec,
        /// What is wrong.
        reason: &'static str,
    },
    /// The encoder failed, for want of memory.
    #[error("{codec} failed to compress: {reason}")]
    Failed {
        /// The codec.
        codec: Codec,
        /// What it said.
        reason: &'static str,
    },
}

/// A thread's state for compressing batches: each codec's tables, and an output buffer.
#[derive(Default)]
pub struct CompressionScratch {
    #[cfg(feature = "gzip")]
    gzip: gzip::Encoder,
    #[cfg(feature = "snappy")]
    snappy: snappy::Encoder,
    #[cfg(feature = "lz4")]
    lz4: lz4::Encoder,
    #[cfg(feature = "zstd")]
    zstd: zstandard::Encoder,
    output: Vec<u8>,
}

impl fmt::Debug for CompressionScratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompressionScratch").finish_non_exhaustive()
    }
}

impl CompressionScratch {
    /// State without tables yet: a codec's are made at its first use.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Compresses what lies behind the first `head_bytes` of `buffer`, in place: by way of this
    /// state's own output, so that a batch on its way holds the buffer that it was filled in and
    /// nothing more. Only where compressing makes the batch outgrow the buffer does that grow.
    pub(crate) fn compress_behind(
        &mut self,
        head_bytes: usize,
        mut buffer: Vec<u8>,
        compression: Compression,
    ) -> Result<Vec<u8>, CompressionError> {
        let mut output = std::mem::take(&mut self.output);
        output.clear();
        let input = buffer.get(head_bytes..).unwrap_or_default();
        let result = self.compress(input, compression, &mut output);
        if result.is_ok() {
            buffer.truncate(head_bytes);
            buffer.reserve_exact(output.len());
            buffer.extend_from_slice(&output);
        }
        if output.capacity() <= KEPT_BYTES_MAX {
            self.output = output;
        }
        result.map(|()| buffer)
    }

    /// Appends `input`, compressed, to `output`.
    ///
    /// # Errors
    /// The codec is not built in, its level is out of range, or it failed.
    pub fn compress(
        &mut self,
        input: &[u8],
        compression: Compression,
        output: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        compression.validate()?;
        match compression.codec {
            Codec::None => {
                output.extend_from_slice(input);
                Ok(())
            }
            #[cfg(feature = "gzip")]
            Codec::Gzip => self.gzip.compress(input, compression.level, output),
            #[cfg(feature = "snappy")]
            Codec::Snappy => self.snappy.compress(input, compression.level, output),
            #[cfg(feature = "lz4")]
            Codec::Lz4 => self.lz4.compress(input, compression.level, output),
            #[cfg(feature = "zstd")]
            Codec::Zstd => self.zstd.compress(input, compression.level, output),
            #[cfg(not(all(
                feature = "gzip",
                feature = "snappy",
                feature = "lz4",
                feature = "zstd"
            )))]
            codec => Err(CompressionError::NotBuiltIn(codec)),
        }
    }
}

/// A thread's state for decompressing batches: each codec's tables, an output buffer, a limit.
pub struct Decompressor {
    #[cfg(feature = "gzip")]
    gzip: gzip::Decoder,
    #[cfg(feature = "snappy")]
    snappy: snappy::Decoder,
    #[cfg(feature = "zstd")]
    zstd: zstandard::Decoder,
    output: Vec<u8>,
    limit_bytes: usize,
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor")
            .field("limit_bytes", &self.limit_bytes)
            .finish_non_exhaustive()
    }
}

impl Default for Decompressor {
    fn default() -> Self {
        Self::new(Self::LIMIT_BYTES_DEFAULT)
    }
}

impl Decompressor {
    /// What a batch may take decompressed where nobody says otherwise: 128 MiB.
    pub const LIMIT_BYTES_DEFAULT: usize = 128 << 20;

    /// A decompressor whose output is never more than `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            #[cfg(feature = "gzip")]
            gzip: gzip::Decoder::default(),
            #[cfg(feature = "snappy")]
            snappy: snappy::Decoder::default(),
            #[cfg(feature = "zstd")]
            zstd: zstandard::Decoder::default(),
            output: Vec::new(),
            limit_bytes,
        }
    }

    /// The most bytes a batch's records may take.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Decompresses into the decompressor's own buffer, where the output stays until the next call.
    ///
    /// # Errors
    /// The codec is not built in, the stream is corrupt, or the output would pass the limit.
    pub fn decompress(&mut self, codec: Codec, input: &[u8]) -> Result<&[u8], CompressionError> {
        let mut output = std::mem::take(&mut self.output);
        if output.capacity() > KEPT_BYTES_MAX {
            output = Vec::new();
        }
        output.clear();
        let result = self.decompress_into(codec, input, &mut output);
        if result.is_err() && output.capacity() > KEPT_BYTES_MAX {
            // A bomb leaves nothing behind.
            output = Vec::new();
        }
        self.output = output;
        result.map(|()| self.output.as_slice())
    }

    /// Decompresses into a buffer of its own, for whoever hands out slices of it.
    ///
    /// # Errors
    /// As [`Decompressor::decompress`].
    pub fn decompress_owned(
        &mut self,
        codec: Codec,
        input: &[u8],
    ) -> Result<Bytes, CompressionError> {
        let mut output = Vec::new();
        self.decompress_into(codec, input, &mut output)?;
        Ok(Bytes::from(output))
    }

    fn decompress_into(
        &mut self,
        codec: Codec,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        let limit_bytes = self.limit_bytes;
        match codec {
            Codec::None if input.len() > limit_bytes => {
                Err(CompressionError::TooLarge { limit_bytes })
            }
            Codec::None => {
                output.extend_from_slice(input);
                Ok(())
            }
            #[cfg(feature = "gzip")]
            Codec::Gzip => self.gzip.decompress(input, output, limit_bytes),
            #[cfg(feature = "snappy")]
            Codec::Snappy => self.snappy.decompress(input, output, limit_bytes),
            #[cfg(feature = "lz4")]
            Codec::Lz4 => lz4::decompress(input, output, limit_bytes),
            #[cfg(feature = "zstd")]
            Codec::Zstd => self.zstd.decompress(input, output, limit_bytes),
            #[cfg(not(all(
                feature = "gzip",
                feature = "snappy",
                feature = "lz4",
                feature = "zstd"
            )))]
            codec => Err(CompressionError::NotBuiltIn(codec)),
        }
    }
}
