//! What members of the classic protocol say and are told where they are consumers: Kafka's embedded
//! ConsumerProtocolSubscription and ConsumerProtocolAssignment. Never trusted: what can't be read
//! is no subscription.

use std::collections::BTreeMap;

use bytes::Bytes;
use streamledger_protocol::message::Message;
use streamledger_protocol::wire::{Reader, Writer};
use streamledger_protocol::{ApiVersion, PartitionIndex, TopicName};

/// The last version known; later ones add to the end of earlier ones.
const VERSION_MAX: i16 = 3;

/// What a member joins with.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "none")]
pub(super) struct MemberSubscription {
    pub(super) topics: Vec<TopicName>,
    user_data: Option<Bytes>,
    #[field(versions = "1+", ignorable)]
    owned: Vec<TopicPartitions>,
    #[field(versions = "2+", default = "-1", ignorable)]
    generation_id: i32,
    #[field(versions = "3+", ignorable)]
    pub(super) rack_id: Option<String>,
}

/// What a member gets.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "none")]
struct MemberAssignment {
    assigned: Vec<TopicPartitions>,
    user_data: Option<Bytes>,
}

#[derive(Debug, Clone, PartialEq, Message)]
struct TopicPartitions {
    topic: TopicName,
    partitions: Vec<PartitionIndex>,
}

/// Partitions by the names of their topics.
pub(super) type Named = BTreeMap<TopicName, Vec<PartitionIndex>>;

fn named(topics: Vec<TopicPartitions>) -> Named {
    topics.into_iter().map(|topic| (topic.topic, topic.partitions)).collect()
}

impl MemberSubscription {
    /// Reads what a member joins with.
    pub(super) fn read(metadata: &Bytes) -> Option<Self> {
        let mut r = Reader::new(metadata.clone());
        let version = version(&mut r)?;
        Self::decode(&mut r, version).ok()
    }

    /// Whether it says that it owns anything.
    pub(super) fn owns_any(&self) -> bool {
        !self.owned.is_empty()
    }

    /// The partitions that it says it owns.
    pub(super) fn into_owned(self) -> Named {
        named(self.owned)
    }
}

fn version(r: &mut Reader) -> Option<ApiVersion> {
    let version = r.i16().ok()?;
    (version >= 0).then(|| ApiVersion(version.min(VERSION_MAX)))
}

/// Reads what a member got. None if it can't be read, or if an assignor of its own has put
/// something beside it, which would be lost.
pub(super) fn read_assignment(assignment: &Bytes) -> Option<Named> {
    if assignment.is_empty() {
        return Some(Named::new());
    }
    let mut r = Reader::new(assignment.clone());
    let version = version(&mut r)?;
    let assignment = MemberAssignment::decode(&mut r, version).ok()?;
    let has_more = assignment.user_data.is_some_and(|data| !data.is_empty());
    (!has_more).then(|| named(assignment.assigned))
}

/// What a member gets, in the version in which it joined with `metadata`.
pub(super) fn write_assignment(assigned: Named, metadata: &Bytes) -> Bytes {
    let version = version(&mut Reader::new(metadata.clone())).unwrap_or(ApiVersion(0));
    let topics = assigned.into_iter();
    let topics = topics.map(|(topic, partitions)| TopicPartitions { topic, partitions });
    let assignment = MemberAssignment { assigned: topics.collect(), user_data: None };
    let mut w = Writer::with_capacity(64);
    w.put_i16(version.0);
    match assignment.encode(&mut w, version) {
        Ok(()) => w.finish().into_bytes(),
        // More than a list can hold: it gets nothing, rather than half of it.
        Err(_) => Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_bytes_are_read_and_written() {
        let metadata: &[&[u8]] = &[
            b"\x00\x03\x00\x00\x00\x01\x00\x01a\xff\xff\xff\xff",
            b"\x00\x00\x00\x01\x00\x01a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03",
            b"\x00\x00\x00\x07\x00\x01r",
        ];
        let metadata = Bytes::from(metadata.concat());
        let read = MemberSubscription::read(&metadata).unwrap();
        assert_eq!((read.topics.clone(), read.rack_id.as_deref()), (vec!["a".into()], Some("r")));
        let owned: Named = [("a".into(), vec![PartitionIndex(0), PartitionIndex(3)])].into();
        assert_eq!(read.into_owned(), owned);
        let written = write_assignment(owned.clone(), &metadata);
        let expected: &[u8] =
            b"\x00\x03\x00\x00\x00\x01\x00\x01a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03\
              \xff\xff\xff\xff";
        assert_eq!(written.as_ref(), expected);
        assert_eq!(read_assignment(&written), Some(owned));
        // What another assignor has put beside it would be lost.
        let more = [&expected[..expected.len() - 4], b"\x00\x00\x00\x01x"].concat();
        assert_eq!(read_assignment(&more.into()), None);
        assert_eq!(read_assignment(&Bytes::new()), Some(Named::new()));
        assert_eq!(MemberSubscription::read(&Bytes::from_static(b"\x00")), None);
    }
}
