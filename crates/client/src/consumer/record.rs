//! A record as the reader gets it: of his own, or to look at.

use std::borrow::Cow;
use std::ops::Deref;

use bytes::Bytes;
use streamledger_client_core::consumer::BatchOfRecords;
use streamledger_client_core::transaction::CommittedOffset;
use streamledger_protocol::record_batch::{Headers, RecordRef};
use streamledger_protocol::{LeaderEpoch, Offset, TimestampMs, TimestampType, TopicPartition};

/// A record that was read. Key, value and header values are slices of the answer they came in,
/// which stays in memory as long as any of them: copy what is kept for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Where it is from.
    pub topic_partition: TopicPartition,
    /// Its place in the partition.
    pub offset: Offset,
    /// When it was made, or appended, in milliseconds since 1970; -1 if it doesn't say.
    pub timestamp: TimestampMs,
    /// Which of the two.
    pub timestamp_type: TimestampType,
    /// Its key; null is not empty.
    pub key: Option<Bytes>,
    /// Its value; null is not empty, and stands for a deletion in a compacted topic.
    pub value: Option<Bytes>,
    /// Its headers, in order, with repeats.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// The leader epoch it was written in; -1 if that isn't known.
    pub leader_epoch: LeaderEpoch,
}

impl ConsumerRecord {
    pub(super) fn new(batch: &BatchOfRecords<'_>, record: &RecordRef<'_>) -> Self {
        let slice = |bytes: &[u8]| batch.bytes.slice_ref(bytes);
        Self {
            topic_partition: batch.topic_partition.clone(),
            offset: record.offset,
            timestamp: record.timestamp,
            timestamp_type: batch.timestamp_type,
            key: record.key.map(slice),
            value: record.value.map(slice),
            headers: record
                .headers
                .map(|header| (header.key().into_owned(), header.value.map(slice)))
                .collect(),
            leader_epoch: batch.leader_epoch,
        }
    }
}

impl ConsumerRecord {
    /// What to commit when this record is done: the offset of the next.
    #[must_use]
    pub fn next_offset(&self) -> CommittedOffset {
        let (offset, leader_epoch) = (self.offset.next(), self.leader_epoch);
        CommittedOffset { offset, leader_epoch, metadata: None }
    }
}

/// The records of one poll: of each partition in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerRecords(pub(super) Vec<ConsumerRecord>);

impl Deref for ConsumerRecords {
    type Target = [ConsumerRecord];

    fn deref(&self) -> &[ConsumerRecord] {
        &self.0
    }
}

impl IntoIterator for ConsumerRecords {
    type Item = ConsumerRecord;
    type IntoIter = std::vec::IntoIter<ConsumerRecord>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a ConsumerRecords {
    type Item = &'a ConsumerRecord;
    type IntoIter = std::slice::Iter<'a, ConsumerRecord>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// A record where it lies, to look at while [`poll_with`](super::Consumer::poll_with) shows it.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// Where it is from.
    pub topic_partition: &'a TopicPartition,
    /// Its place in the partition.
    pub offset: Offset,
    /// When it was made, or appended, in milliseconds since 1970; -1 if it doesn't say.
    pub timestamp: TimestampMs,
    /// Which of the two.
    pub timestamp_type: TimestampType,
    /// Its key; null is not empty.
    pub key: Option<&'a [u8]>,
    /// Its value; null is not empty.
    pub value: Option<&'a [u8]>,
    /// The leader epoch it was written in; -1 if that isn't known.
    pub leader_epoch: LeaderEpoch,
    headers: Headers<'a>,
}

impl<'a> RecordView<'a> {
    pub(super) fn new(batch: &BatchOfRecords<'a>, record: &RecordRef<'a>) -> Self {
        Self {
            topic_partition: batch.topic_partition,
            offset: record.offset,
            timestamp: record.timestamp,
            timestamp_type: batch.timestamp_type,
            key: record.key,
            value: record.value,
            leader_epoch: batch.leader_epoch,
            headers: record.headers,
        }
    }

    /// Its headers, in order, with repeats.
    pub fn headers(&self) -> impl Iterator<Item = (Cow<'a, str>, Option<&'a [u8]>)> + use<'a> {
        self.headers.map(|header| (header.key(), header.value))
    }
}
