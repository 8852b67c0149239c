//! Snappy in xerial's framing, as snappy-java writes it: blocks of 32 KiB behind a 16-byte header.
//! Raw snappy is read too, as some clients send it.

use snap::raw::{Decoder as RawDecoder, Encoder as RawEncoder, decompress_len, max_compress_len};

use super::CompressionError;
use super::output::Output;
use crate::Codec;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The magic, version 1, compatible back to version 1.
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const BLOCK_BYTES: usize = 32 * 1024;
/// Three bytes of a snappy block give 64 at most; what declares more is lying.
const RATIO_MAX: usize = 22;

/// Writes xerial's framing.
#[derive(Default)]
pub(super) struct Encoder {
    raw: Option<RawEncoder>,
}

impl Encoder {
    pub(super) fn compress(
        &mut self,
        input: &[u8],
        _level: Option<i32>,
        output: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        let raw = self.raw.get_or_insert_with(RawEncoder::new);
        output.reserve(HEADER.len() + input.len() / 2);
        output.extend_from_slice(&HEADER);
        for block in input.chunks(BLOCK_BYTES) {
            let length_at = output.len();
            let start = length_at + 4;
            output.resize(start + max_compress_len(block.len()), 0);
            let written = raw.compress(block, &mut output[start..]).map_err(|_| {
                CompressionError::Failed { codec: Codec::Snappy, reason: "the block is too large" }
            })?;
            output.truncate(start + written);
            let length = u32::try_from(written).unwrap_or(u32::MAX);
            output[length_at..start].copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}

/// Reads xerial's framing, or one raw block.
#[derive(Default)]
pub(super) struct Decoder {
    raw: RawDecoder,
}

impl Decoder {
    pub(super) fn decompress(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        limit_bytes: usize,
    ) -> Result<(), CompressionError> {
        let mut output = Output::new(output, limit_bytes);
        if !input.starts_with(&MAGIC) {
            return self.block(input, &mut output);
        }
        let mut rest = input;
        while !rest.is_empty() {
            // Streams that were joined have a header each.
            if rest.starts_with(&MAGIC) {
                rest = rest.get(HEADER.len()..).ok_or(corrupt("its header is cut"))?;
                continue;
            }
            let (length, behind) =
                rest.split_first_chunk::<4>().ok_or(corrupt("a block's length is cut"))?;
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            let (block, behind) =
                behind.split_at_checked(length).ok_or(corrupt("a block is cut"))?;
            self.block(block, &mut output)?;
            rest = behind;
        }
        Ok(())
    }

    fn block(&mut self, block: &[u8], output: &mut Output<'_>) -> Result<(), CompressionError> {
        let declared = decompress_len(block).map_err(|_| corrupt("a block's size is malformed"))?;
        if declared > block.len().saturating_mul(RATIO_MAX) {
            return Err(corrupt("a block declares more than it can hold"));
        }
        let room = output.zeroed(declared)?;
        // The decoder gives exactly what the block declares, or an error.
        self.raw.decompress(block, room).map_err(|_| corrupt("a block is malformed"))?;
        Ok(())
    }
}

fn corrupt(reason: &'static str) -> CompressionError {
    CompressionError::Corrupt { codec: Codec::Snappy, reason }
}
