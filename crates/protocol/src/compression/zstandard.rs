//! zstd (RFC 8878, KIP-110): one frame with its content size; frames of any kind are read.

use std::io::Cursor;

use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, compress_bound,
    get_error_name,
};

use super::CompressionError;
use super::output::Output;
use crate::Codec;

/// zstd's own default.
const LEVEL_DEFAULT: i32 = 3;
/// Up to this size, level 3 works with smaller tables.
const SMALL_INPUT_BYTES_MAX: usize = 128 << 10;
/// Level 3's table of long matches for a small input, as a power of two; zstd's own choice is 16.
/// A batch doesn't fill that, and a first-level cache doesn't hold it: 8 % less time for batches of
/// 128 KiB, and an output that is smaller as often as not, by 1 % at most either way.
const SMALL_HASH_LOG: u32 = 13;
/// The same for short matches; zstd's own choice is 15.
const SMALL_CHAIN_LOG: u32 = 14;
/// What Kafka's readers accept: the window of level 22, 128 MiB. It is address space until it is
/// written to, which only happens as output appears.
const WINDOW_LOG_MAX: u32 = 27;

/// Writes one frame.
#[derive(Default)]
pub(super) struct Encoder {
    state: Option<(Tables, CCtx<'static>)>,
}

/// What the state's tables depend on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tables {
    level: i32,
    are_small: bool,
}

impl Encoder {
    pub(super) fn compress(
        &mut self,
        input: &[u8],
        level: Option<i32>,
        output: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        let level = level.unwrap_or(LEVEL_DEFAULT);
        let are_small = level == LEVEL_DEFAULT && input.len() <= SMALL_INPUT_BYTES_MAX;
        let state = self.state_with(Tables { level, are_small })?;
        let start = output.len();
        output.reserve(compress_bound(input.len()));
        let mut behind = Cursor::new(std::mem::take(output));
        behind.set_position(u64::try_from(start).unwrap_or(u64::MAX));
        let result = state.compress2(&mut behind, input);
        *output = behind.into_inner();
        result.map(|_| ()).map_err(failed)
    }

    fn state_with(&mut self, tables: Tables) -> Result<&mut CCtx<'static>, CompressionError> {
        if self.state.as_ref().is_none_or(|(current, _)| *current != tables) {
            let mut state = CCtx::try_create().ok_or(CompressionError::Failed {
                codec: Codec::Zstd,
                reason: "no memory for its tables",
            })?;
            let mut set = |parameter| state.set_parameter(parameter).map_err(failed);
            set(CParameter::CompressionLevel(tables.level))?;
            if tables.are_small {
                set(CParameter::HashLog(SMALL_HASH_LOG))?;
                set(CParameter::ChainLog(SMALL_CHAIN_LOG))?;
            }
            self.state = Some((tables, state));
        }
        match &mut self.state {
            Some((_, state)) => Ok(state),
            None => Err(CompressionError::Failed { codec: Codec::Zstd, reason: "no state" }),
        }
    }
}

fn failed(code: usize) -> CompressionError {
    CompressionError::Failed { codec: Codec::Zstd, reason: get_error_name(code) }
}

/// Reads frames, one after the other.
#[derive(Default)]
pub(super) struct Decoder {
    state: Option<DCtx<'static>>,
}

impl Decoder {
    pub(super) fn decompress(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        limit_bytes: usize,
    ) -> Result<(), CompressionError> {
        let state = self.fresh_state()?;
        let mut output = Output::new(output, limit_bytes);
        output.expect(input.len().saturating_mul(4));
        let mut source = InBuffer::around(input);
        loop {
            let (consumed, produced) = (source.pos(), output.len());
            let room = output.room()?;
            let mut target = OutBuffer::around_pos(room, produced);
            let hint = state
                .decompress_stream(&mut target, &mut source)
                .map_err(|code| corrupt(get_error_name(code)))?;
            output.check()?;
            if hint == 0 && source.pos() == input.len() {
                return Ok(());
            }
            if source.pos() == consumed && output.len() == produced {
                return Err(corrupt("it ends in the middle"));
            }
        }
    }

    fn fresh_state(&mut self) -> Result<&mut DCtx<'static>, CompressionError> {
        if self.state.is_none() {
            let mut state =
                DCtx::try_create().ok_or(corrupt("there is no memory for its tables"))?;
            state
                .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
                .map_err(|code| corrupt(get_error_name(code)))?;
            self.state = Some(state);
        }
        let Some(state) = &mut self.state else { return Err(corrupt("there is no state")) };
        // After an error the stream is in the middle of a frame.
        state.reset(ResetDirective::SessionOnly).map_err(|code| corrupt(get_error_name(code)))?;
        Ok(state)
    }
}

fn corrupt(reason: &'static str) -> CompressionError {
    CompressionError::Corrupt { codec: Codec::Zstd, reason }
}
