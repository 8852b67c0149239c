//! Everything a leader checks before it appends a client's batch, in one pass over its records.
//!
//! The rules are those of Kafka's `LogValidator` and `ProducerAppendInfo`, plus two it leaves out:
//! a producer id without an epoch, and a transactional batch without a producer id.

use super::{CorruptBatch, RecordBatchHeader, RecordBatchRef};
use crate::compression::{CompressionError, Decompressor};
use crate::{ErrorCode, Offset, TimestampMs, TimestampType};

/// What a topic asks of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes a batch may have as it is sent (`max.message.bytes`).
    pub batch_bytes_max: usize,
    /// Whether each record needs a key (`cleanup.policy=compact`).
    pub key_required: bool,
}

impl Default for Limits {
    /// Kafka's defaults: 1 MiB and the 12 bytes in front, keys optional.
    fn default() -> Self {
        Self { batch_bytes_max: 1_048_588, key_required: false }
    }
}

/// Why a batch must not be appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBatch {
    /// The bytes are no readable batch.
    #[error(transparent)]
    Corrupt(#[from] CorruptBatch),
    /// There are bytes behind the batch; a ProduceRequest carries one batch a partition.
    #[error("{0} bytes follow the batch, where only one may be")]
    MoreThanOneBatch(usize),
    /// It is longer than the topic allows.
    #[error("the batch has {batch_bytes} bytes, the topic allows {batch_bytes_max}")]
    TooLarge {
        /// Bytes of the batch as sent.
        batch_bytes: usize,
        /// `max.message.bytes` of the topic.
        batch_bytes_max: usize,
    },
    /// There is no record in it.
    #[error("the batch has no records")]
    Empty,
    /// Count and offsets don't agree.
    #[error("{record_count} records can't have a last offset delta of {last_offset_delta}")]
    CountMismatch {
        /// The header's record count.
        record_count: i32,
        /// The header's last offset delta.
        last_offset_delta: i32,
    },
    /// A record's offset delta isn't its index.
    #[error("record {index} has the offset delta {offset_delta}")]
    OffsetDelta {
        /// Which record, counted from 0.
        index: i32,
        /// What it says.
        offset_delta: i32,
    },
    /// A transaction marker from a client.
    #[error("clients may not write control batches")]
    ControlBatch,
    /// A delete horizon from a client; only compaction sets one.
    #[error("clients may not set a delete horizon")]
    DeleteHorizon,
    /// The client claims the leader's time.
    #[error("clients may not set the timestamp type LogAppendTime")]
    LogAppendTime,
    /// Producer id, epoch and sequence are there in part.
    #[error("producer id {id}, epoch {epoch}, sequence {sequence}: all or none must be there")]
    HalfProducer {
        /// The header's producer id.
        id: i64,
        /// The header's producer epoch.
        epoch: i16,
        /// The header's base sequence.
        sequence: i32,
    },
    /// A transactional batch of nobody.
    #[error("a transactional batch needs a producer id")]
    TransactionalWithoutProducer,
    /// A record without the key that compaction needs.
    #[error("record {index} has no key, which a compacted topic needs")]
    KeyRequired {
        /// Which record, counted from 0.
        index: i32,
    },
}

impl InvalidBatch {
    /// The error code with which Kafka's broker answers such a batch.
    #[must_use]
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Corrupt(CorruptBatch::UnsupportedMagic(_)) => {
                ErrorCode::UnsupportedForMessageFormat
            }
            Self::Corrupt(
                CorruptBatch::UnknownCodec(_)
                | CorruptBatch::Compression(CompressionError::NotBuiltIn(_)),
            ) => ErrorCode::UnsupportedCompressionType,
            Self::Corrupt(CorruptBatch::Compression(CompressionError::TooLarge { .. }))
            | Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::Corrupt(
                CorruptBatch::Cut { .. }
                | CorruptBatch::ImpossibleLength(_)
                | CorruptBatch::Checksum { .. }
                | CorruptBatch::Compression(_),
            ) => ErrorCode::CorruptMessage,
            Self::LogAppendTime => ErrorCode::InvalidTimestamp,
            Self::Corrupt(_)
            | Self::MoreThanOneBatch(_)
            | Self::Empty
            | Self::CountMismatch { .. }
            | Self::OffsetDelta { .. }
            | Self::ControlBatch
            | Self::DeleteHorizon
            | Self::HalfProducer { .. }
            | Self::TransactionalWithoutProducer
            | Self::KeyRequired { .. } => ErrorCode::InvalidRecord,
        }
    }
}

/// A batch that may be appended, and what its records showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidatedBatch {
    /// What the batch says about itself.
    pub header: RecordBatchHeader,
    /// The records' true highest timestamp. Kafka corrects a header that says otherwise instead of
    /// refusing it: see [`super::patch_max_timestamp`].
    pub max_timestamp: TimestampMs,
    /// The lowest timestamp of those records that have one (-1 is none); -1 if no record has. It is
    /// what `message.timestamp.before.max.ms` looks at.
    pub min_timestamp: TimestampMs,
    /// The first record with that timestamp, relative to the base offset.
    pub max_timestamp_offset_delta: i32,
}

impl ValidatedBatch {
    /// Whether the header's highest timestamp is not the records'.
    #[must_use]
    pub fn max_timestamp_is_wrong(&self) -> bool {
        self.header.max_timestamp != self.max_timestamp
    }

    /// Where the record with the highest timestamp lies once the batch starts at `base_offset`.
    #[must_use]
    pub fn max_timestamp_offset(&self, base_offset: Offset) -> Offset {
        base_offset + i64::from(self.max_timestamp_offset_delta)
    }
}

/// Checks a client's batch, which is exactly `bytes`: length, magic, checksum, count against
/// offsets, producer id, epoch and sequence, the attributes, the codec, and each record down to
/// its header's bounds. Compressed records are decompressed into `decompressor`, up to its limit.
///
/// # Errors
/// The first rule that is broken; [`InvalidBatch::error_code`] is what to answer.
pub fn validate_for_append(
    bytes: &[u8],
    limits: &Limits,
    decompressor: &mut Decompressor,
) -> Result<ValidatedBatch, InvalidBatch> {
    let (batch, rest) = RecordBatchRef::parse(bytes)?;
    if !rest.is_empty() {
        return Err(InvalidBatch::MoreThanOneBatch(rest.len()));
    }
    if bytes.len() > limits.batch_bytes_max {
        let batch_bytes_max = limits.batch_bytes_max;
        return Err(InvalidBatch::TooLarge { batch_bytes: bytes.len(), batch_bytes_max });
    }
    batch.verify_crc()?;
    check_header(batch.header())?;
    check_records(&batch, limits, decompressor)
}

fn check_header(header: &RecordBatchHeader) -> Result<(), InvalidBatch> {
    let RecordBatchHeader { record_count, last_offset_delta, attributes, .. } = *header;
    if record_count == 0 {
        return Err(InvalidBatch::Empty);
    }
    if record_count < 0 || last_offset_delta != record_count - 1 {
        return Err(InvalidBatch::CountMismatch { record_count, last_offset_delta });
    }
    if attributes.is_control() {
        return Err(InvalidBatch::ControlBatch);
    }
    if attributes.has_delete_horizon() {
        return Err(InvalidBatch::DeleteHorizon);
    }
    if attributes.timestamp_type() == TimestampType::LogAppendTime {
        return Err(InvalidBatch::LogAppendTime);
    }
    check_producer(header)
}

/// All of id, epoch and sequence, or none. A sequence of 0 without a producer passes: a widespread
/// Go client writes it there, and Kafka's broker doesn't look.
fn check_producer(header: &RecordBatchHeader) -> Result<(), InvalidBatch> {
    let (id, epoch, sequence) =
        (header.producer_id.0, header.producer_epoch.0, header.base_sequence.0);
    let all = id >= 0 && epoch >= 0 && sequence >= 0;
    let none = id == -1 && epoch == -1 && (-1..=0).contains(&sequence);
    if !all && !none {
        return Err(InvalidBatch::HalfProducer { id, epoch, sequence });
    }
    if none && header.attributes.is_transactional() {
        return Err(InvalidBatch::TransactionalWithoutProducer);
    }
    Ok(())
}

fn check_records(
    batch: &RecordBatchRef<'_>,
    limits: &Limits,
    decompressor: &mut Decompressor,
) -> Result<ValidatedBatch, InvalidBatch> {
    let header = *batch.header();
    let mut records = batch.records(decompressor)?;
    let mut index = 0;
    let mut max_timestamp = TimestampMs(i64::MIN);
    let mut min_timestamp = TimestampMs(i64::MAX);
    let mut max_timestamp_offset_delta = 0;
    while let Some(record) = records.next_raw() {
        let record = record?;
        if record.offset_delta != index {
            return Err(InvalidBatch::OffsetDelta { index, offset_delta: record.offset_delta });
        }
        if limits.key_required && record.key.is_none() {
            return Err(InvalidBatch::KeyRequired { index });
        }
        let timestamp = TimestampMs(header.base_timestamp.0.wrapping_add(record.timestamp_delta));
        if timestamp > max_timestamp || index == 0 {
            max_timestamp = timestamp;
            max_timestamp_offset_delta = index;
        }
        if timestamp < min_timestamp && timestamp != TimestampMs::NONE {
            min_timestamp = timestamp;
        }
        index += 1;
    }
    if min_timestamp == TimestampMs(i64::MAX) {
        min_timestamp = TimestampMs::NONE;
    }
    Ok(ValidatedBatch { header, max_timestamp, min_timestamp, max_timestamp_offset_delta })
}
