//! The records of `__transaction_state`, in Apache Kafka's own format (TransactionLogKey and
//! TransactionLogValue).
//!
//! 1. One record holds all that is known of a transactional id; a record without value forgets it.
//! 2. A version or a state that is not known, or what nobody can have written, ends the load
//!    (FAILURES.md 50). Only a kind that is not known is left alone.
//! 3. Kafka forgets at a restart which epoch a producer had before its last bump, so that a retry
//!    across it is fenced. Here it stands in a tagged field of our own, which Kafka skips.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use streamledger_protocol::message::Message;
use streamledger_protocol::wire::{DecodeError, EncodeError, Reader, Writer};
use streamledger_protocol::{
    ApiVersion, PartitionIndex, ProducerEpoch, ProducerId, ProducerIdentity, TimestampMs,
    TopicName, TopicPartition, TransactionalId,
};
use thiserror::Error;

use super::state::{ClientVersion, Transaction, TransactionState};

const KEY_VERSION: i16 = 0;
/// The first version with tagged fields, and the one written.
const VALUE_VERSION: i16 = 1;

#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "none")]
struct TransactionLogKey {
    transactional_id: TransactionalId,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "1+")]
struct TransactionLogValue {
    producer_id: ProducerId,
    #[field(tagged = 0, versions = "1+", default = "ProducerId::NONE", ignorable)]
    previous_producer_id: ProducerId,
    #[field(tagged = 1, versions = "1+", default = "ProducerId::NONE", ignorable)]
    next_producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    transaction_timeout_ms: i32,
    transaction_status: i8,
    transaction_partitions: Option<Vec<PartitionsOfTopic>>,
    transaction_last_update_timestamp_ms: TimestampMs,
    transaction_start_timestamp_ms: TimestampMs,
    #[field(tagged = 2, versions = "1+", ignorable)]
    client_transaction_version: i16,
    #[field(tagged = 10000, versions = "1+", default = "ProducerEpoch::NONE", ignorable)]
    last_producer_epoch: ProducerEpoch,
}

#[derive(Debug, Clone, PartialEq, Message)]
struct PartitionsOfTopic {
    topic: TopicName,
    partition_ids: Vec<PartitionIndex>,
}

/// One decided fact: what is known of a transactional id from here on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionRecord {
    /// Which.
    pub transactional_id: TransactionalId,
    /// All that is known of it; `None` forgets it.
    pub transaction: Option<Transaction>,
}

/// Bytes that are no record of this version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransactionRecordError {
    /// The key is of a kind that is not known here. A load goes on without the record, as Kafka's
    /// does (`TransactionLog.readTxnRecordKey`), and it stays in the log for whoever knows it.
    #[error("a record of kind {0}, which is not known here")]
    UnknownKind(i16),
    /// A value of the known kind has a version that is not known here.
    #[error("a value of version {0}, which is not known here: written by a newer version?")]
    UnknownVersion(i16),
    /// The state has a code that is not known here.
    #[error("a transaction in state {0}, which is not known here: written by a newer version?")]
    UnknownState(i8),
    /// The bytes end before the record does, or hold what they cannot.
    #[error("{0}")]
    Malformed(String),
}

impl From<DecodeError> for TransactionRecordError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl TransactionRecord {
    /// The bytes of the record's key.
    ///
    /// # Errors
    /// The transactional id is longer than a key can hold.
    pub fn encode_key(&self) -> Result<Bytes, EncodeError> {
        let mut w = Writer::with_capacity(2 + 2 + self.transactional_id.as_str().len());
        w.put_i16(KEY_VERSION);
        let key = TransactionLogKey { transactional_id: self.transactional_id.clone() };
        key.encode(&mut w, ApiVersion(KEY_VERSION))?;
        Ok(w.finish().into_bytes())
    }

    /// The bytes of the record's value; `None` for a tombstone.
    ///
    /// # Errors
    /// More partitions than a value can hold.
    pub fn encode_value(&self) -> Result<Option<Bytes>, EncodeError> {
        let Some(transaction) = &self.transaction else { return Ok(None) };
        let mut w = Writer::with_capacity(64);
        w.put_i16(VALUE_VERSION);
        as_value(transaction).encode(&mut w, ApiVersion(VALUE_VERSION))?;
        Ok(Some(w.finish().into_bytes()))
    }

    /// Reads a record of the log.
    ///
    /// # Errors
    /// [`TransactionRecordError`]: the log is then not to be used, unless it is
    /// [`TransactionRecordError::UnknownKind`].
    pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Self, TransactionRecordError> {
        let mut r = Reader::new(key);
        let version = r.i16()?;
        if version != KEY_VERSION {
            return Err(TransactionRecordError::UnknownKind(version));
        }
        let key = TransactionLogKey::decode(&mut r, ApiVersion(version))?;
        r.finish()?;
        let transaction = value.map(decode_value).transpose()?;
        Ok(Self { transactional_id: key.transactional_id, transaction })
    }
}

fn decode_value(value: Bytes) -> Result<Transaction, TransactionRecordError> {
    let mut r = Reader::new(value);
    let version = r.i16()?;
    if !(0..=VALUE_VERSION).contains(&version) {
        return Err(TransactionRecordError::UnknownVersion(version));
    }
    let value = TransactionLogValue::decode(&mut r, ApiVersion(version))?;
    r.finish()?;
    let status = value.transaction_status;
    let state = match TransactionState::from_code(status) {
        None | Some(TransactionState::Dead) => {
            return Err(TransactionRecordError::UnknownState(status));
        }
        Some(state) => state,
    };
    let topics = value.transaction_partitions.unwrap_or_default();
    let partitions = topics.into_iter().flat_map(|topic| {
        let in_topic = move |index| TopicPartition::new(topic.topic.clone(), index);
        topic.partition_ids.into_iter().map(in_topic)
    });
    Ok(Transaction {
        producer: ProducerIdentity { id: value.producer_id, epoch: value.producer_epoch },
        previous_producer_id: value.previous_producer_id,
        next_producer_id: value.next_producer_id,
        last_epoch: value.last_producer_epoch,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions: partitions.collect::<BTreeSet<_>>(),
        started: value.transaction_start_timestamp_ms,
        updated: value.transaction_last_update_timestamp_ms,
        client: if value.client_transaction_version >= 2 {
            ClientVersion::V2
        } else {
            ClientVersion::V1
        },
    })
}

fn as_value(transaction: &Transaction) -> TransactionLogValue {
    let mut topics: BTreeMap<&TopicName, Vec<PartitionIndex>> = BTreeMap::new();
    for one in &transaction.partitions {
        topics.entry(&one.topic).or_default().push(one.partition);
    }
    let topics = topics
        .into_iter()
        .map(|(topic, partition_ids)| PartitionsOfTopic { topic: topic.clone(), partition_ids });
    TransactionLogValue {
        producer_id: transaction.producer.id,
        previous_producer_id: transaction.previous_producer_id,
        next_producer_id: transaction.next_producer_id,
        producer_epoch: transaction.producer.epoch,
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_status: transaction.state.code(),
        // Kafka writes null here for one state only.
        transaction_partitions: match transaction.state {
            TransactionState::Empty => None,
            _ => Some(topics.collect()),
        },
        transaction_last_update_timestamp_ms: transaction.updated,
        transaction_start_timestamp_ms: transaction.started,
        client_transaction_version: match transaction.client {
            ClientVersion::V1 => 0,
            ClientVersion::V2 => 2,
        },
        last_producer_epoch: transaction.last_epoch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Transaction {
        let partition = |topic: &str, index| TopicPartition::new(topic, PartitionIndex(index));
        Transaction {
            producer: ProducerIdentity { id: ProducerId(4000), epoch: ProducerEpoch(7) },
            previous_producer_id: ProducerId(3000),
            next_producer_id: ProducerId::NONE,
            last_epoch: ProducerEpoch(6),
            timeout_ms: 60_000,
            state: TransactionState::Ongoing,
            partitions: BTreeSet::from([
                partition("orders", 1),
                partition("orders", 0),
                partition("clicks", 2),
            ]),
            started: TimestampMs(1_700_000_000_000),
            updated: TimestampMs(1_700_000_000_500),
            client: ClientVersion::V2,
        }
    }

    fn round_trip(transaction: Option<Transaction>) {
        let record = TransactionRecord { transactional_id: "job-1".into(), transaction };
        let (key, value) = (record.encode_key().unwrap(), record.encode_value().unwrap());
        assert_eq!(TransactionRecord::decode(key, value), Ok(record));
    }

    #[test]
    fn what_is_written_is_read() {
        round_trip(Some(sample()));
        round_trip(None);
        let empty = Transaction {
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            client: ClientVersion::V1,
            ..sample()
        };
        round_trip(Some(empty));
    }

    #[test]
    fn the_bytes_are_those_of_kafkas_format() {
        let record = TransactionRecord {
            transactional_id: "t".into(),
            transaction: Some(Transaction {
                partitions: BTreeSet::from([TopicPartition::new("a", PartitionIndex(3))]),
                previous_producer_id: ProducerId::NONE,
                last_epoch: ProducerEpoch::NONE,
                ..sample()
            }),
        };
        assert_eq!(record.encode_key().unwrap().as_ref(), [0, 0, 0, 1, b't']);
        let expected = [
            &[0, 1][..],                     // value version
            &4000_i64.to_be_bytes(),         // producer id
            &[0, 7],                         // producer epoch
            &60_000_i32.to_be_bytes(),       // time-out
            &[1],                            // Ongoing
            &[2, 2, b'a', 2, 0, 0, 0, 3, 0], // one topic, one partition, no tags
            &1_700_000_000_500_i64.to_be_bytes(),
            &1_700_000_000_000_i64.to_be_bytes(),
            &[1, 2, 2, 0, 2], // one tag: client version (2), two bytes, 2
        ];
        let value = record.encode_value().unwrap().unwrap();
        assert_eq!(value.as_ref(), expected.concat());
    }

    #[test]
    fn failure_50_what_is_not_known_is_refused() {
        let decode = |key: &'static [u8], value: &'static [u8]| {
            TransactionRecord::decode(Bytes::from_static(key), Some(Bytes::from_static(value)))
        };
        let key: &[u8] = &[0, 0, 0, 1, b't'];
        let kind = decode(&[0, 1, 0, 1, b't'], &[]);
        assert_eq!(kind, Err(TransactionRecordError::UnknownKind(1)));
        assert_eq!(decode(key, &[0, 2]), Err(TransactionRecordError::UnknownVersion(2)));
        let record =
            TransactionRecord { transactional_id: "t".into(), transaction: Some(sample()) };
        let mut value = record.encode_value().unwrap().unwrap().to_vec();
        value[16] = 7;
        let refused = TransactionRecord::decode(Bytes::from_static(key), Some(value.into()));
        assert_eq!(refused, Err(TransactionRecordError::UnknownState(7)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(
            key in proptest::collection::vec(any::<u8>(), 0..40),
            value in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let value = [&[0, 1][..], &value].concat();
            let key = [&[0, 0][..], &key].concat();
            let _ = TransactionRecord::decode(key.into(), Some(value.into()));
        }
    }
}
