//! Record batches of format v2, by hand: the builder, the header, the reader and the checks.
//!
//! Laws:
//! 1. A record is copied once, into its batch; sealing an uncompressed batch copies nothing.
//! 2. The checksum (CRC-32C) covers everything from `attributes` on, so base offset and leader
//!    epoch are patched without it; every other patch computes it anew.
//! 3. Header order and repeats stay as given; null and empty are different everywhere.
//! 4. Nothing a batch says about itself is believed: lengths and counts are held against the
//!    bytes that are there, and decompression stops at the caller's limit.

mod builder;
mod control;
mod error;
mod header;
mod reader;
mod rewrite;
mod seal;
mod validate;
mod varint;

pub use builder::{Header, RecordBatchBuilder};
pub use control::{ControlKind, ControlRecord, build_control_batch, parse_control_record};
pub use error::{CorruptBatch, RecordFault};
pub use header::{
    Attributes, RecordBatchHeader, patch_base_offset, patch_leader_epoch, patch_log_append_time,
    patch_max_timestamp,
};
pub use reader::{
    Batches, HeaderRef, Headers, RecordBatchRef, RecordRef, Records, RecordsMark, batches,
    records_of,
};
pub use rewrite::{RewriteError, empty_batch, placeholder_batch, rewrite_batch};
pub use seal::{BatchSeal, SealError, SealedBatch};
pub use validate::{InvalidBatch, Limits, ValidatedBatch, validate_for_append};

/// Bytes of a batch's header, from base offset to record count.
pub const HEADER_BYTES: usize = 61;
/// Bytes before the part that the batch's own length counts: base offset and the length itself.
pub const LENGTH_PREFIX_BYTES: usize = 12;
/// The only record batch format there is since Kafka 0.11 (KIP-98).
pub const MAGIC: i8 = 2;
