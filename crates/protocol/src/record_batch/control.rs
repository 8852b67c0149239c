//! Control batches: the markers that end a transaction in each partition it wrote to (KIP-98).

use super::header::write_crc;
use super::{
    Attributes, CorruptBatch, HEADER_BYTES, RecordBatchBuilder, RecordBatchHeader, RecordRef,
};
use crate::{
    Codec, LeaderEpoch, Offset, ProducerIdentity, SequenceNumber, TimestampMs, TimestampType,
};

/// The version of both a marker's key and its value.
const MARKER_VERSION: i16 = 0;

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlKind {
    /// Its records are not to be read.
    Abort,
    /// Its records are to be read.
    Commit,
}

impl ControlKind {
    const fn code(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
        }
    }
}

/// What a control batch's record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlRecord {
    /// A transaction's end, decided under this epoch of its coordinator.
    Marker {
        /// Commit or abort.
        kind: ControlKind,
        /// The epoch of the coordinator that decided.
        coordinator_epoch: i32,
    },
    /// A control record of another kind, such as those of Kafka's own metadata log.
    Other(i16),
}

/// Builds the batch that ends a transaction in one partition: one record, base offset 0.
#[must_use]
pub fn build_control_batch(
    kind: ControlKind,
    producer: ProducerIdentity,
    coordinator_epoch: i32,
    timestamp: TimestampMs,
) -> Vec<u8> {
    let [version_high, version_low] = MARKER_VERSION.to_be_bytes();
    let [kind_high, kind_low] = kind.code().to_be_bytes();
    let [first, second, third, fourth] = coordinator_epoch.to_be_bytes();
    let mut builder = RecordBatchBuilder::with_capacity(HEADER_BYTES + 32);
    builder.append(
        timestamp,
        Some(&[version_high, version_low, kind_high, kind_low]),
        Some(&[version_high, version_low, first, second, third, fourth]),
        &[],
    );
    let mut batch = builder.into_buffer();
    let header = RecordBatchHeader {
        base_offset: Offset::ZERO,
        // A marker is 78 bytes long; the number always fits.
        batch_length: RecordBatchBuilder::batch_length(batch.len()).unwrap_or(i32::MAX),
        partition_leader_epoch: LeaderEpoch::NONE,
        crc: 0,
        attributes: Attributes::new(Codec::None, TimestampType::CreateTime, true).with_control(),
        last_offset_delta: 0,
        base_timestamp: timestamp,
        max_timestamp: timestamp,
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        base_sequence: SequenceNumber::NONE,
        record_count: 1,
    };
    batch[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    write_crc(&mut batch);
    batch
}

/// Reads the record of a control batch ([`Attributes::is_control`]).
///
/// # Errors
/// The key has no version and kind, or a marker's value no coordinator epoch.
pub fn parse_control_record(record: &RecordRef<'_>) -> Result<ControlRecord, CorruptBatch> {
    let key = record.key.and_then(|key| key.first_chunk()).ok_or(CorruptBatch::Control)?;
    let &[version_high, version_low, kind_high, kind_low] = key;
    if i16::from_be_bytes([version_high, version_low]) < MARKER_VERSION {
        return Err(CorruptBatch::Control);
    }
    let kind = match i16::from_be_bytes([kind_high, kind_low]) {
        0 => ControlKind::Abort,
        1 => ControlKind::Commit,
        other => return Ok(ControlRecord::Other(other)),
    };
    let value = record.value.and_then(|value| value.first_chunk()).ok_or(CorruptBatch::Control)?;
    let &[_, _, first, second, third, fourth] = value;
    let coordinator_epoch = i32::from_be_bytes([first, second, third, fourth]);
    Ok(ControlRecord::Marker { kind, coordinator_epoch })
}
