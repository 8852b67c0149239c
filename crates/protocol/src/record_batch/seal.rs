//! Makes a filled batch ready to be sent: compressed, headed, checksummed.

use bytes::{Bytes, BytesMut};

use super::header::{patch_producer, write_crc};
use super::{Attributes, HEADER_BYTES, RecordBatchBuilder, RecordBatchHeader};
use crate::compression::{Compression, CompressionError, CompressionScratch};
use crate::{
    Codec, LeaderEpoch, Offset, ProducerEpoch, ProducerId, ProducerIdentity, SequenceNumber,
    TimestampMs, TimestampType,
};

/// What a batch is sealed with besides its records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchSeal {
    /// How to compress the records. They are compressed even where that makes them bigger, as
    /// Kafka's producer does.
    pub compression: Compression,
    /// The idempotent producer and the sequence of the first record; nothing without idempotence.
    pub producer: Option<(ProducerIdentity, SequenceNumber)>,
    /// Whether the batch is part of a transaction.
    pub transactional: bool,
}

/// Why a batch can't be sealed. Its records are given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// There is no record in it.
    #[error("a batch without records can't be sealed")]
    Empty,
    /// Its length doesn't fit the 32 bits of its length field.
    #[error("a batch of {0} bytes is more than the format can hold")]
    TooLarge(usize),
    /// The codec is not built in, or its level is out of range.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

/// A batch as it goes into a ProduceRequest: base offset 0, leader epoch -1. A retry sends the same
/// bytes again; only [`SealedBatch::restamp`] changes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBatch {
    /// The whole batch.
    pub bytes: Bytes,
    /// How many records are in it.
    pub record_count: i32,
    /// Bytes of the batch before compression, header included.
    pub uncompressed_bytes: usize,
    /// Timestamp of the first record.
    pub base_timestamp: TimestampMs,
    /// The highest timestamp.
    pub max_timestamp: TimestampMs,
    /// What it was sealed with.
    pub seal: BatchSeal,
}

impl RecordBatchBuilder {
    /// Compresses the records, writes the header in front of them and checksums the whole.
    ///
    /// The builder's buffer becomes the batch: without a codec nothing is copied, with one the
    /// compressed records are, from `scratch` over the others.
    ///
    /// # Errors
    /// The batch is empty or longer than 2^31-1 bytes; the codec is not built in, its level is out
    /// of its range, or it failed.
    pub fn seal(
        self,
        seal: &BatchSeal,
        scratch: &mut CompressionScratch,
    ) -> Result<SealedBatch, SealError> {
        if self.is_empty() {
            return Err(SealError::Empty);
        }
        let uncompressed_bytes = self.buffer.len();
        if Self::batch_length(uncompressed_bytes).is_none() {
            return Err(SealError::TooLarge(uncompressed_bytes));
        }
        let Self { mut buffer, record_count, base_timestamp, max_timestamp } = self;
        if seal.compression.codec != Codec::None {
            buffer = scratch.compress_behind(HEADER_BYTES, buffer, seal.compression)?;
        }
        let batch_length =
            Self::batch_length(buffer.len()).ok_or(SealError::TooLarge(buffer.len()))?;
        let (producer, base_sequence) = match seal.producer {
            Some((producer, base_sequence)) => (producer, base_sequence),
            None => (
                ProducerIdentity { id: ProducerId::NONE, epoch: ProducerEpoch::NONE },
                SequenceNumber::NONE,
            ),
        };
        let header = RecordBatchHeader {
            base_offset: Offset::ZERO,
            batch_length,
            partition_leader_epoch: LeaderEpoch::NONE,
            crc: 0,
            attributes: Attributes::new(
                seal.compression.codec,
                TimestampType::CreateTime,
                seal.transactional,
            ),
            last_offset_delta: record_count - 1,
            base_timestamp,
            max_timestamp,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence,
            record_count,
        };
        buffer[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        write_crc(&mut buffer);
        Ok(SealedBatch {
            bytes: Bytes::from(buffer),
            record_count,
            uncompressed_bytes,
            base_timestamp,
            max_timestamp,
            seal: *seal,
        })
    }
}

impl SealedBatch {
    /// Gives the batch another producer id, epoch and base sequence, with its checksum computed
    /// anew: after an epoch bump, never for a retry. Copies the batch only if its bytes are
    /// shared, so what is still in flight is never touched.
    pub fn restamp(&mut self, producer: ProducerIdentity, base_sequence: SequenceNumber) {
        let mut bytes = match std::mem::take(&mut self.bytes).try_into_mut() {
            Ok(bytes) => bytes,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        patch_producer(&mut bytes, producer, base_sequence);
        self.bytes = bytes.freeze();
        self.seal.producer = Some((producer, base_sequence));
    }

    /// Sequence of the last record, if the batch has sequences.
    #[must_use]
    pub fn last_sequence(&self) -> Option<SequenceNumber> {
        self.seal.producer.map(|(_, base_sequence)| base_sequence.plus(self.record_count - 1))
    }
}
