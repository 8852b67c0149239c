//! lz4 in its frame format: independent blocks of 64 KiB, no block checksum, a correct header
//! checksum, as `Lz4BlockOutputStream` in Kafka writes it. Reads every frame of the format but
//! those with a dictionary.

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, decompress_into_with_dict,
    get_maximum_output_size,
};

use super::CompressionError;
use super::output::Output;
use super::xxh32::xxh32;
use crate::Codec;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// The first of the 16 magics of frames to be skipped.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
/// Format version 1, independent blocks.
const FLAGS: u8 = 0b0110_0000;
/// Blocks of at most 64 KiB.
const BLOCK_DESCRIPTOR: u8 = 0b0100_0000;
const BLOCK_BYTES: usize = 64 * 1024;
/// Inputs below this fit the table of 16-bit positions, which is cleared in half the time. It finds
/// matches by four bytes, the large one by five.
const SMALL_BLOCK_BYTES: usize = u16::MAX as usize;
/// A block that shrinks to less than 2/5 has long matches: they are found by five bytes as well, in
/// an eighth less time.
const LONG_MATCHES_RATIO: (usize, usize) = (5, 2);
/// The bit of a block's length that says "stored as it is".
const STORED: u32 = 1 << 31;
/// How far back a linked block may reach.
const WINDOW_BYTES: usize = 64 * 1024;
/// One more byte of a block's input gives 255 of output at most.
const RATIO_MAX: usize = 255;

/// Writes one frame.
#[derive(Default)]
pub(super) struct Encoder {
    small: Option<CompressTable>,
    large: Option<CompressTable>,
    /// Whether the matches of the last block were long; the next one is mostly like it.
    has_long_matches: bool,
}

impl Encoder {
    pub(super) fn compress(
        &mut self,
        input: &[u8],
        _level: Option<i32>,
        output: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        let header_checksum = xxh32(&[FLAGS, BLOCK_DESCRIPTOR]).to_le_bytes()[1];
        output.reserve(input.len() / 2 + 32);
        output.extend_from_slice(&MAGIC);
        output.extend_from_slice(&[FLAGS, BLOCK_DESCRIPTOR, header_checksum]);
        for block in input.chunks(BLOCK_BYTES) {
            let length_at = output.len();
            let start = length_at + 4;
            output.resize(start + get_maximum_output_size(block.len()), 0);
            let table = if block.len() < SMALL_BLOCK_BYTES && !self.has_long_matches {
                self.small.get_or_insert_with(CompressTable::small)
            } else {
                self.large.get_or_insert_with(CompressTable::large)
            };
            let written =
                compress_into_with_table(block, &mut output[start..], table).map_err(|_| {
                    CompressionError::Failed {
                        codec: Codec::Lz4,
                        reason: "the block outgrew its bound",
                    }
                })?;
            let (from, to) = LONG_MATCHES_RATIO;
            self.has_long_matches = from * written < to * block.len();
            let mut length = u32::try_from(written).unwrap_or(u32::MAX);
            if written < block.len() {
                output.truncate(start + written);
            } else {
                output.truncate(start);
                output.extend_from_slice(block);
                length = u32::try_from(block.len()).unwrap_or(u32::MAX) | STORED;
            }
            output[length_at..start].copy_from_slice(&length.to_le_bytes());
        }
        output.extend_from_slice(&[0; 4]);
        Ok(())
    }
}

/// What a frame's header says.
struct Frame {
    linked_blocks: bool,
    block_checksums: bool,
    content_checksum: bool,
    block_bytes_max: usize,
}

/// Reads frames, one after the other. There is no state to keep.
pub(super) fn decompress(
    input: &[u8],
    output: &mut Vec<u8>,
    limit_bytes: usize,
) -> Result<(), CompressionError> {
    let mut output = Output::new(output, limit_bytes);
    let mut rest = input;
    loop {
        rest = read_frame(rest, &mut output)?;
        if rest.is_empty() {
            return Ok(());
        }
    }
}

/// Reads one frame and gives what is behind it.
fn read_frame<'a>(input: &'a [u8], output: &mut Output<'_>) -> Result<&'a [u8], CompressionError> {
    if let Some(behind) = skip_skippable(input)? {
        return Ok(behind);
    }
    let (frame, mut rest) = read_header(input)?;
    let start = output.len();
    loop {
        let (length, behind) = take_u32(rest).ok_or(corrupt("a block's length is cut"))?;
        rest = behind;
        if length == 0 {
            break;
        }
        let block_bytes = usize::try_from(length & !STORED).unwrap_or(usize::MAX);
        if block_bytes > frame.block_bytes_max {
            return Err(corrupt("a block is longer than its frame allows"));
        }
        let (block, behind) =
            rest.split_at_checked(block_bytes).ok_or(corrupt("a block is cut"))?;
        rest = behind;
        if frame.block_checksums {
            let (checksum, behind) = take_u32(rest).ok_or(corrupt("a block checksum is cut"))?;
            rest = behind;
            if checksum != xxh32(block) {
                return Err(corrupt("a block checksum doesn't match"));
            }
        }
        if length & STORED == 0 {
            read_block(block, &frame, start, output)?;
        } else {
            output.put(block)?;
        }
    }
    if frame.content_checksum {
        let (checksum, behind) = take_u32(rest).ok_or(corrupt("the content checksum is cut"))?;
        rest = behind;
        if checksum != xxh32(output.since(start)) {
            return Err(corrupt("the content checksum doesn't match"));
        }
    }
    Ok(rest)
}

/// Decompresses one block of a frame whose content starts at `start`.
fn read_block(
    block: &[u8],
    frame: &Frame,
    start: usize,
    output: &mut Output<'_>,
) -> Result<(), CompressionError> {
    let position = output.len();
    let left = output.left();
    let possible = frame.block_bytes_max.min(block.len().saturating_mul(RATIO_MAX));
    output.zeroed(possible.min(left))?;
    let (done, free) = output.split_at(position);
    let window = &done[start.max(position.saturating_sub(WINDOW_BYTES))..];
    let result = if frame.linked_blocks && !window.is_empty() {
        decompress_into_with_dict(block, free, window)
    } else {
        decompress_into(block, free)
    };
    match result {
        Ok(written) => {
            output.keep(position + written);
            Ok(())
        }
        // The block did not fit; because of the limit, or because it is longer than its frame
        // allows.
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if left < possible => {
            output.over_limit()
        }
        Err(_) => Err(corrupt("a block is malformed")),
    }
}

/// What is behind a frame that is to be skipped; nothing if it is another frame.
fn skip_skippable(input: &[u8]) -> Result<Option<&[u8]>, CompressionError> {
    let Some((magic, behind)) = take_u32(input) else { return Ok(None) };
    if magic & !0xf != SKIPPABLE_MAGIC {
        return Ok(None);
    }
    let (length, behind) = take_u32(behind).ok_or(corrupt("a skippable frame is cut"))?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    behind.get(length..).map(Some).ok_or(corrupt("a skippable frame is cut"))
}

fn read_header(input: &[u8]) -> Result<(Frame, &[u8]), CompressionError> {
    let cut = corrupt("its frame header is cut");
    let descriptor = input.strip_prefix(&MAGIC).ok_or(corrupt("it is no lz4 frame"))?;
    let &[flags, block_descriptor, ..] = descriptor else { return Err(cut) };
    let block_bytes_max = match block_descriptor {
        0x40 => 64 << 10,
        0x50 => 256 << 10,
        0x60 => 1 << 20,
        0x70 => 4 << 20,
        _ => return Err(corrupt("its block size is unknown")),
    };
    if flags >> 6 != 1 || flags & 0b10 != 0 {
        return Err(corrupt("its frame version is unknown"));
    }
    if flags & 0b1 != 0 {
        return Err(corrupt("it needs a dictionary"));
    }
    let content_size_bytes = if flags & 0b1000 == 0 { 0 } else { 8 };
    let (described, behind) = descriptor.split_at_checked(2 + content_size_bytes).ok_or(cut)?;
    let (&checksum, behind) = behind.split_first().ok_or(corrupt("its frame header is cut"))?;
    if checksum != xxh32(described).to_le_bytes()[1] {
        return Err(corrupt("its header checksum doesn't match"));
    }
    let frame = Frame {
        linked_blocks: flags & 0b10_0000 == 0,
        block_checksums: flags & 0b1_0000 != 0,
        content_checksum: flags & 0b100 != 0,
        block_bytes_max,
    };
    Ok((frame, behind))
}

fn take_u32(input: &[u8]) -> Option<(u32, &[u8])> {
    let (number, behind) = input.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), behind))
}

fn corrupt(reason: &'static str) -> CompressionError {
    CompressionError::Corrupt { codec: Codec::Lz4, reason }
}
