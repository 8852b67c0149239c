//! The records of `__consumer_offsets` for stored offsets, in Apache Kafka's own format
//! (OffsetCommitKey and OffsetCommitValue).

use bytes::Bytes;
use streamledger_protocol::message::Message;
use streamledger_protocol::wire::{DecodeError, EncodeError, Reader, Writer};
use streamledger_protocol::{
    ApiVersion, GroupId, LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicName,
    TopicPartition,
};
use thiserror::Error;

use super::offsets::CommittedOffset;

/// The version of a key is its kind; 0 and 1 are offsets, alike in form.
const KEY_VERSION: i16 = 1;
/// The version written, and the one with a time to expire at, which only version 1 has.
const VALUE_VERSION: i16 = 3;
const EXPIRING_VALUE_VERSION: i16 = 1;
const VALUE_VERSION_MAX: i16 = 4;

#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "none")]
struct OffsetCommitKey {
    group: GroupId,
    topic: TopicName,
    partition: PartitionIndex,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "4+")]
struct OffsetCommitValue {
    offset: Offset,
    #[field(versions = "3+", default = "LeaderEpoch::NONE", ignorable)]
    leader_epoch: LeaderEpoch,
    metadata: String,
    commit_timestamp: TimestampMs,
    #[field(versions = "1", default = "TimestampMs::NONE", ignorable)]
    expire_timestamp: TimestampMs,
}

/// One stored offset; without one, it is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetRecord {
    /// Whose.
    pub group: GroupId,
    /// Of which partition.
    pub topic_partition: TopicPartition,
    /// What; `None` forgets it.
    pub offset: Option<CommittedOffset>,
}

/// Bytes that are no record of this version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GroupRecordError {
    /// The key is of a kind that is not known here, share groups' or a newer version's. A load goes
    /// on without the record, as Kafka's does (`GroupCoordinatorRecordSerde`), and it stays in the
    /// log for whoever knows it.
    #[error("a record of kind {0}, which is not known here")]
    UnknownKind(i16),
    /// A value of a known kind has a version that is not known here.
    #[error("a value of version {0}, which is not known here: written by a newer version?")]
    UnknownVersion(i16),
    /// The bytes end before the record does, or hold what they cannot.
    #[error("{0}")]
    Malformed(String),
}

impl From<DecodeError> for GroupRecordError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl OffsetRecord {
    /// The bytes of the record's key.
    ///
    /// # Errors
    /// A name is longer than a key can hold.
    pub fn encode_key(&self) -> Result<Bytes, EncodeError> {
        let mut w = Writer::with_capacity(64);
        w.put_i16(KEY_VERSION);
        let key = OffsetCommitKey {
            group: self.group.clone(),
            topic: self.topic_partition.topic.clone(),
            partition: self.topic_partition.partition,
        };
        key.encode(&mut w, ApiVersion(KEY_VERSION))?;
        Ok(w.finish().into_bytes())
    }

    /// The bytes of the record's value; `None` for a tombstone.
    ///
    /// # Errors
    /// The metadata is longer than a value can hold.
    pub fn encode_value(&self) -> Result<Option<Bytes>, EncodeError> {
        let Some(committed) = &self.offset else { return Ok(None) };
        let version = match committed.expires {
            Some(_) => EXPIRING_VALUE_VERSION,
            None => VALUE_VERSION,
        };
        let mut w = Writer::with_capacity(64);
        w.put_i16(version);
        let value = OffsetCommitValue {
            offset: committed.offset,
            leader_epoch: committed.leader_epoch,
            metadata: committed.metadata.clone(),
            commit_timestamp: committed.committed,
            expire_timestamp: committed.expires.unwrap_or(TimestampMs::NONE),
        };
        value.encode(&mut w, ApiVersion(version))?;
        Ok(Some(w.finish().into_bytes()))
    }

    /// Reads a record of the log.
    ///
    /// # Errors
    /// [`GroupRecordError`]: the log is then not to be used.
    pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Self, GroupRecordError> {
        let mut r = Reader::new(key);
        let version = r.i16()?;
        if !(0..=KEY_VERSION).contains(&version) {
            return Err(GroupRecordError::UnknownKind(version));
        }
        let key = OffsetCommitKey::decode(&mut r, ApiVersion(version))?;
        r.finish()?;
        Ok(Self {
            group: key.group,
            topic_partition: TopicPartition::new(key.topic, key.partition),
            offset: value.map(decode_value).transpose()?,
        })
    }
}

fn decode_value(value: Bytes) -> Result<CommittedOffset, GroupRecordError> {
    let mut r = Reader::new(value);
    let version = r.i16()?;
    if !(0..=VALUE_VERSION_MAX).contains(&version) {
        return Err(GroupRecordError::UnknownVersion(version));
    }
    let value = OffsetCommitValue::decode(&mut r, ApiVersion(version))?;
    r.finish()?;
    let expires = (value.expire_timestamp != TimestampMs::NONE).then_some(value.expire_timestamp);
    Ok(CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata,
        committed: value.commit_timestamp,
        expires,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(expires: Option<TimestampMs>) -> OffsetRecord {
        OffsetRecord {
            group: "readers".into(),
            topic_partition: TopicPartition::new("clicks", PartitionIndex(2)),
            offset: Some(CommittedOffset {
                offset: Offset(77),
                leader_epoch: LeaderEpoch(5),
                metadata: "m".to_owned(),
                committed: TimestampMs(9),
                expires,
            }),
        }
    }

    fn round_trip(record: &OffsetRecord) -> OffsetRecord {
        OffsetRecord::decode(record.encode_key().unwrap(), record.encode_value().unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_in_kafkas_bytes() {
        let plain = record(None);
        assert_eq!(round_trip(&plain), plain);
        let value = plain.encode_value().unwrap().unwrap();
        let expected = [
            &[0, 3][..],
            &77_i64.to_be_bytes(),
            &5_i32.to_be_bytes(),
            &[0, 1, b'm'],
            &9_i64.to_be_bytes(),
        ];
        assert_eq!(value.as_ref(), expected.concat());
        let tombstone = OffsetRecord { offset: None, ..plain };
        assert_eq!(round_trip(&tombstone), tombstone);
        // Version 1 has the time to expire at and no leader epoch.
        let expiring = round_trip(&record(Some(TimestampMs(50)))).offset.unwrap();
        assert_eq!(expiring.expires, Some(TimestampMs(50)));
        assert_eq!(expiring.leader_epoch, LeaderEpoch::NONE);
    }

    #[test]
    fn failure_50_a_record_of_another_kind_is_refused() {
        let refused = OffsetRecord::decode(Bytes::from_static(&[0, 2, 0, 1, b'g']), None);
        assert_eq!(refused, Err(GroupRecordError::UnknownKind(2)));
        let key = record(None).encode_key().unwrap();
        let refused = OffsetRecord::decode(key, Some(Bytes::from_static(&[0, 5])));
        assert_eq!(refused, Err(GroupRecordError::UnknownVersion(5)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(
            version in 0_u8..5,
            value in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let key = record(None).encode_key().unwrap();
            let value = [&[0, version][..], &value].concat();
            let _ = OffsetRecord::decode(key, Some(value.into()));
        }
    }
}
