//! The 61 bytes in front of a batch's records: read, written, and patched in place.
//!
//! Layout (`DefaultRecordBatch` in Kafka): base offset 0..8, length 8..12, partition leader epoch
//! 12..16, magic 16, CRC-32C 17..21, attributes 21..23, last offset delta 23..27, base timestamp
//! 27..35, max timestamp 35..43, producer id 43..51, producer epoch 51..53, base sequence 53..57,
//! record count 57..61. All big-endian.

use std::fmt;

use super::{CorruptBatch, HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC};
use crate::{
    Codec, LeaderEpoch, Offset, ProducerEpoch, ProducerId, ProducerIdentity, SequenceNumber,
    TimestampMs, TimestampType,
};

const BASE_OFFSET: usize = 0;
const LEADER_EPOCH: usize = 12;
const CRC: usize = 17;
/// Where the checksummed part starts.
const ATTRIBUTES: usize = 21;
const MAX_TIMESTAMP: usize = 35;
const PRODUCER_ID: usize = 43;
const PRODUCER_EPOCH: usize = 51;
const BASE_SEQUENCE: usize = 53;
/// The least that a batch's length may say: the header's part behind the length.
const LENGTH_MIN: i32 = 49;

/// The 16 bits that say how a batch is to be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub i16);

impl Attributes {
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// Attributes of a batch from a client.
    #[must_use]
    pub const fn new(codec: Codec, timestamp_type: TimestampType, transactional: bool) -> Self {
        let transactional = if transactional { Self::TRANSACTIONAL } else { 0 };
        Self(codec.attributes() | timestamp_type.attributes() | transactional)
    }

    /// These attributes with the control bit set.
    #[must_use]
    pub const fn with_control(self) -> Self {
        Self(self.0 | Self::CONTROL)
    }

    /// These attributes with another codec.
    #[must_use]
    pub const fn with_codec(self, codec: Codec) -> Self {
        Self(self.0 & !Codec::ATTRIBUTES_MASK | codec.attributes())
    }

    /// These attributes, saying that the base timestamp is a delete horizon (KIP-534).
    #[must_use]
    pub const fn with_delete_horizon(self) -> Self {
        Self(self.0 | Self::DELETE_HORIZON)
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// The bits name no codec.
    pub fn codec(self) -> Result<Codec, CorruptBatch> {
        Codec::from_attributes(self.0)
            .map_err(|_| CorruptBatch::UnknownCodec(self.0 & Codec::ATTRIBUTES_MASK))
    }

    /// Whose clock stamped the records.
    #[must_use]
    pub const fn timestamp_type(self) -> TimestampType {
        TimestampType::from_attributes(self.0)
    }

    /// Whether the batch is part of a transaction.
    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a transaction marker, which no consumer hands to its user.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is a delete horizon (KIP-534; set by compaction only).
    #[must_use]
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// What a batch says about itself. Nothing but magic and length has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordBatchHeader {
    /// Offset of the first record; 0 from a producer, given by the leader.
    pub base_offset: Offset,
    /// Bytes behind the length field: at least 49.
    pub batch_length: i32,
    /// The leader epoch under which the batch was appended; -1 from a producer.
    pub partition_leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec, timestamp type, transactional and control bits.
    pub attributes: Attributes,
    /// Offset of the last record, relative to the base. Compaction keeps it.
    pub last_offset_delta: i32,
    /// Timestamp of the first record as built.
    pub base_timestamp: TimestampMs,
    /// The highest timestamp; the append time of the whole batch under `LogAppendTime`.
    pub max_timestamp: TimestampMs,
    /// Who produced it; -1 if not idempotent.
    pub producer_id: ProducerId,
    /// Which life of the producer; -1 if not idempotent.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record; -1 if not idempotent.
    pub base_sequence: SequenceNumber,
    /// How many records there are.
    pub record_count: i32,
}

fn array<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

impl RecordBatchHeader {
    /// Reads a header from the front of `bytes`.
    ///
    /// # Errors
    /// There are fewer than 61 bytes, the magic is not 2, or the length is less than the header's.
    pub fn parse(bytes: &[u8]) -> Result<Self, CorruptBatch> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(CorruptBatch::Cut { needed: HEADER_BYTES, present: bytes.len() });
        };
        let magic = i8::from_be_bytes([bytes[16]]);
        if magic != MAGIC {
            return Err(CorruptBatch::UnsupportedMagic(magic));
        }
        let batch_length = i32::from_be_bytes(array(bytes, 8));
        if batch_length < LENGTH_MIN {
            return Err(CorruptBatch::ImpossibleLength(batch_length));
        }
        Ok(Self {
            base_offset: Offset(i64::from_be_bytes(array(bytes, BASE_OFFSET))),
            batch_length,
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(array(bytes, LEADER_EPOCH))),
            crc: u32::from_be_bytes(array(bytes, CRC)),
            attributes: Attributes(i16::from_be_bytes(array(bytes, ATTRIBUTES))),
            last_offset_delta: i32::from_be_bytes(array(bytes, 23)),
            base_timestamp: TimestampMs(i64::from_be_bytes(array(bytes, 27))),
            max_timestamp: TimestampMs(i64::from_be_bytes(array(bytes, MAX_TIMESTAMP))),
            producer_id: ProducerId(i64::from_be_bytes(array(bytes, PRODUCER_ID))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(array(bytes, PRODUCER_EPOCH))),
            base_sequence: SequenceNumber(i32::from_be_bytes(array(bytes, BASE_SEQUENCE))),
            record_count: i32::from_be_bytes(array(bytes, 57)),
        })
    }

    /// The header as bytes, with the checksum that is in `crc`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.partition_leader_epoch.0.to_be_bytes());
        bytes[16..17].copy_from_slice(&MAGIC.to_be_bytes());
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.0.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.0.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.0.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.0.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.0.to_be_bytes());
        bytes[57..].copy_from_slice(&self.record_count.to_be_bytes());
        bytes
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The offset right after this batch.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// When its tombstones, or its marker, may go (KIP-534); none until compaction has set it.
    #[must_use]
    pub fn delete_horizon(&self) -> Option<TimestampMs> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// Bytes of the whole batch, header included.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        // `parse` has refused a length below 49.
        usize::try_from(self.batch_length).unwrap_or(0).saturating_add(LENGTH_PREFIX_BYTES)
    }

    /// The idempotent producer the batch is from, if it is from one.
    #[must_use]
    pub fn producer(&self) -> Option<ProducerIdentity> {
        (self.producer_id.0 >= 0)
            .then_some(ProducerIdentity { id: self.producer_id, epoch: self.producer_epoch })
    }

    /// Sequence of the last record; -1 if the batch carries none.
    #[must_use]
    pub fn last_sequence(&self) -> SequenceNumber {
        if self.base_sequence.0 < 0 {
            return SequenceNumber::NONE;
        }
        self.base_sequence.plus(self.last_offset_delta)
    }
}

/// The CRC-32C that a batch's bytes ask for.
pub(super) fn compute_crc(batch: &[u8]) -> u32 {
    crc32c::crc32c(batch.get(ATTRIBUTES..).unwrap_or_default())
}

/// Writes the checksum over a batch whose other bytes are final.
pub(super) fn write_crc(batch: &mut [u8]) {
    let crc = compute_crc(batch);
    put(batch, CRC, &crc.to_be_bytes());
}

/// Overwrites a field of a batch; a slice too short for a header is left as it is.
fn put(batch: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = batch.get_mut(at..at + field.len()) {
        place.copy_from_slice(field);
    }
}

/// Gives a batch its place in the log. The checksum does not cover it.
///
/// `batch` starts at the batch's first byte; fewer bytes than a header are left as they are, here
/// and in the other patches.
pub fn patch_base_offset(batch: &mut [u8], base_offset: Offset) {
    put(batch, BASE_OFFSET, &base_offset.0.to_be_bytes());
}

/// Stamps a batch with the epoch of the leader that appends it. The checksum does not cover it.
pub fn patch_leader_epoch(batch: &mut [u8], leader_epoch: LeaderEpoch) {
    put(batch, LEADER_EPOCH, &leader_epoch.0.to_be_bytes());
}

/// Gives a whole batch the leader's time (`message.timestamp.type=LogAppendTime`) and computes its
/// checksum anew. `batch` is exactly one batch.
pub fn patch_log_append_time(batch: &mut [u8], now: TimestampMs) {
    let Ok(header) = RecordBatchHeader::parse(batch) else { return };
    let attributes = header.attributes.0 | TimestampType::LogAppendTime.attributes();
    put(batch, ATTRIBUTES, &attributes.to_be_bytes());
    put(batch, MAX_TIMESTAMP, &now.0.to_be_bytes());
    write_crc(batch);
}

/// Writes the records' true highest timestamp over a wrong one, as Kafka's `LogValidator` does,
/// and computes the checksum anew. `batch` is exactly one batch.
pub fn patch_max_timestamp(batch: &mut [u8], max_timestamp: TimestampMs) {
    put(batch, MAX_TIMESTAMP, &max_timestamp.0.to_be_bytes());
    write_crc(batch);
}

/// Gives a batch another producer and sequence and computes its checksum anew.
pub(super) fn patch_producer(
    batch: &mut [u8],
    producer: ProducerIdentity,
    base_sequence: SequenceNumber,
) {
    put(batch, PRODUCER_ID, &producer.id.0.to_be_bytes());
    put(batch, PRODUCER_EPOCH, &producer.epoch.0.to_be_bytes());
    put(batch, BASE_SEQUENCE, &base_sequence.0.to_be_bytes());
    write_crc(batch);
}
