//! gzip (RFC 1952) with a deflate state that is reused: the framing is written and read here.

use flate2::{
    Compress, Compression as Level, Crc, Decompress, FlushCompress, FlushDecompress, Status,
};

use super::CompressionError;
use super::output::Output;
use crate::Codec;

/// No flags, no time, no operating system: what Java's `GZIPOutputStream` wrote up to Java 15.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0];
const TRAILER_BYTES: usize = 8;
/// zlib's default.
const LEVEL_DEFAULT: i32 = 6;

const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;

/// Writes one gzip member.
#[derive(Default)]
pub(super) struct Encoder {
    deflate: Option<(i32, Compress)>,
}

impl Encoder {
    pub(super) fn compress(
        &mut self,
        input: &[u8],
        level: Option<i32>,
        output: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        let level = level.unwrap_or(LEVEL_DEFAULT);
        let deflate = self.deflate_at(level);
        // Stored blocks bound the growth: 5 bytes for each 16 KiB, and the framing.
        output.reserve(input.len() + input.len() / 2048 + 64);
        output.extend_from_slice(&HEADER);
        loop {
            let consumed = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX);
            let rest = input.get(consumed..).unwrap_or_default();
            match deflate.compress_vec(rest, output, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => break,
                Ok(Status::Ok | Status::BufError) => output.reserve(output.len().max(64)),
                Err(_) => {
                    return Err(CompressionError::Failed {
                        codec: Codec::Gzip,
                        reason: "deflate refused its input",
                    });
                }
            }
        }
        let mut crc = Crc::new();
        crc.update(input);
        output.extend_from_slice(&crc.sum().to_le_bytes());
        output.extend_from_slice(&crc.amount().to_le_bytes());
        Ok(())
    }

    /// The deflate state, fresh, at a level.
    fn deflate_at(&mut self, level: i32) -> &mut Compress {
        match &mut self.deflate {
            Some((current, deflate)) if *current == level => deflate.reset(),
            other => {
                let number = u32::try_from(level).unwrap_or_default();
                *other = Some((level, Compress::new(Level::new(number), false)));
            }
        }
        &mut self.deflate.get_or_insert_with(|| (level, Compress::new(Level::default(), false))).1
    }
}

/// Reads gzip members, one after the other, as Java's `GZIPInputStream` does.
#[derive(Default)]
pub(super) struct Decoder {
    inflate: Option<Decompress>,
}

impl Decoder {
    pub(super) fn decompress(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        limit_bytes: usize,
    ) -> Result<(), CompressionError> {
        let mut output = Output::new(output, limit_bytes);
        output.expect(input.len().saturating_mul(4));
        let mut rest = input;
        loop {
            rest = self.member(rest, &mut output)?;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Reads one member and gives what is behind it.
    fn member<'a>(
        &mut self,
        input: &'a [u8],
        output: &mut Output<'_>,
    ) -> Result<&'a [u8], CompressionError> {
        let body = skip_header(input).ok_or(corrupt("its header is cut or unknown"))?;
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(false));
        inflate.reset(false);
        let start = output.len();
        loop {
            let consumed = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
            let (before, produced) = (consumed, output.len());
            let rest = body.get(consumed..).unwrap_or_default();
            let room = output.room()?;
            let status = inflate
                .decompress_vec(rest, room, FlushDecompress::None)
                .map_err(|_| corrupt("its deflate stream is malformed"))?;
            output.check()?;
            if status == Status::StreamEnd {
                break;
            }
            let consumed = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
            if consumed == before && output.len() == produced {
                return Err(corrupt("it ends in the middle"));
            }
        }
        let consumed = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
        let behind = body.get(consumed..).unwrap_or_default();
        let (trailer, behind) =
            behind.split_first_chunk::<TRAILER_BYTES>().ok_or(corrupt("its trailer is cut"))?;
        let mut crc = Crc::new();
        crc.update(output.since(start));
        let [crc_0, crc_1, crc_2, crc_3, amount_0, amount_1, amount_2, amount_3] = *trailer;
        if u32::from_le_bytes([crc_0, crc_1, crc_2, crc_3]) != crc.sum()
            || u32::from_le_bytes([amount_0, amount_1, amount_2, amount_3]) != crc.amount()
        {
            return Err(corrupt("its checksum doesn't match"));
        }
        Ok(behind)
    }
}

fn corrupt(reason: &'static str) -> CompressionError {
    CompressionError::Corrupt { codec: Codec::Gzip, reason }
}

/// What is behind a member's header, or nothing if it is no such header.
fn skip_header(input: &[u8]) -> Option<&[u8]> {
    let (header, mut rest) = input.split_first_chunk::<10>()?;
    let [magic_0, magic_1, method, flags, ..] = *header;
    if [magic_0, magic_1, method] != HEADER[..3] || flags & 0xe0 != 0 {
        return None;
    }
    if flags & FLAG_EXTRA != 0 {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [FLAG_NAME, FLAG_COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}
