//! What members of a classic group tell each other through the coordinator, as Java writes it
//! (Kafka's `ConsumerProtocol`, versions 0 to 3).

use std::collections::BTreeMap;

use bytes::Bytes;
use streamledger_protocol::wire::{DecodeError, Reader, Writer};
use streamledger_protocol::{PartitionIndex, TopicName, TopicPartition};

/// The version written. A reader of an older one stops before what it doesn't know.
const VERSION: i16 = 3;
/// From this version on a member says which partitions it has (KIP-429).
const WITH_OWNED: i16 = 1;
/// From this version on it says in which generation it got them (KIP-792).
const WITH_GENERATION: i16 = 2;
/// From this version on it says in which rack it is (KIP-881).
const WITH_RACK: i16 = 3;

/// No generation: the member has not been in one, or its version doesn't say.
pub const NO_GENERATION: i32 = -1;

/// What a member joins with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberSubscription {
    /// The topics it wants, sorted.
    pub topics: Vec<TopicName>,
    /// What its assignor has to say.
    pub user_data: Option<Bytes>,
    /// The partitions it has and goes on reading; none with an eager protocol.
    pub owned: Vec<TopicPartition>,
    /// The generation it got them in; [`NO_GENERATION`] if it doesn't say.
    pub generation: i32,
    /// The rack it is in.
    pub rack: Option<String>,
}

impl MemberSubscription {
    /// As it travels in JoinGroup.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        w.put_i16(VERSION);
        let mut topics = self.topics.clone();
        topics.sort_unstable();
        put_count(&mut w, topics.len());
        topics.iter().for_each(|topic| put_text(&mut w, topic.as_str()));
        put_user_data(&mut w, self.user_data.as_ref());
        put_partitions(&mut w, &self.owned);
        w.put_i32(self.generation);
        match &self.rack {
            Some(rack) => put_text(&mut w, rack),
            None => w.put_null_string(),
        }
        w.finish().into_bytes()
    }

    /// Reads what another member wrote, in any version.
    ///
    /// # Errors
    /// It isn't one.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let version = r.i16()?;
        let topic_count = r.array_len(2)?;
        let mut topics = Vec::with_capacity(topic_count);
        for _ in 0..topic_count {
            topics.push(TopicName::from(r.string()?));
        }
        let user_data = r.nullable_bytes()?;
        let owned = if version >= WITH_OWNED { partitions(&mut r)? } else { Vec::new() };
        let generation = if version >= WITH_GENERATION { r.i32()? } else { NO_GENERATION };
        let rack =
            if version >= WITH_RACK { r.nullable_string()?.map(str::to_owned) } else { None };
        Ok(Self { topics, user_data, owned, generation, rack })
    }
}

/// What a member gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberAssignment {
    /// Its partitions.
    pub partitions: Vec<TopicPartition>,
    /// What the leader's assignor has to say.
    pub user_data: Option<Bytes>,
}

impl MemberAssignment {
    /// As it travels in SyncGroup.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        w.put_i16(VERSION);
        put_in_order(&mut w, &self.partitions);
        put_user_data(&mut w, self.user_data.as_ref());
        w.finish().into_bytes()
    }

    /// Reads what the leader wrote, in any version. No bytes at all are no partitions: a leader
    /// may leave a member out.
    ///
    /// # Errors
    /// It isn't one.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut r = Reader::new(bytes);
        let _version = r.i16()?;
        let partitions = partitions(&mut r)?;
        let user_data = r.nullable_bytes()?;
        Ok(Self { partitions, user_data })
    }
}

/// What the sticky assignor remembers between two generations (KIP-54: the second schema of
/// Kafka's `StickyAssignor`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StickyUserData {
    /// The partitions the member had.
    pub previous: Vec<TopicPartition>,
    /// In which generation; none in the first schema.
    pub generation: Option<i32>,
}

impl StickyUserData {
    /// As it travels in the subscription.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        put_partitions(&mut w, &self.previous);
        w.put_i32(self.generation.unwrap_or(NO_GENERATION));
        w.finish().into_bytes()
    }

    /// Reads what another member remembers; nothing where it isn't that.
    #[must_use]
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let mut r = Reader::new(bytes.clone());
        let previous = partitions(&mut r).ok()?;
        let generation = if r.remaining() >= 4 { r.i32().ok() } else { None };
        Some(Self { previous, generation })
    }
}

fn put_count(w: &mut Writer, count: usize) {
    w.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
}

/// Topics and racks are shorter than what a length on the wire can say.
fn put_text(w: &mut Writer, text: &str) {
    if w.put_string(text).is_err() {
        w.put_i16(0);
    }
}

fn put_user_data(w: &mut Writer, user_data: Option<&Bytes>) {
    match user_data {
        Some(bytes) => {
            put_count(w, bytes.len());
            w.put_slice(bytes);
        }
        None => w.put_i32(-1),
    }
}

/// Topic by topic as they come, each with its partitions as they come.
fn put_in_order(w: &mut Writer, partitions: &[TopicPartition]) {
    let mut topics: Vec<(&TopicName, Vec<PartitionIndex>)> = Vec::new();
    for at in partitions {
        match topics.iter_mut().find(|(topic, _)| **topic == at.topic) {
            Some((_, indexes)) => indexes.push(at.partition),
            None => topics.push((&at.topic, vec![at.partition])),
        }
    }
    put_topics(w, topics);
}

/// Topic by topic, each with its partitions, both sorted.
fn put_partitions(w: &mut Writer, partitions: &[TopicPartition]) {
    let mut topics: BTreeMap<&TopicName, Vec<PartitionIndex>> = BTreeMap::new();
    for at in partitions {
        topics.entry(&at.topic).or_default().push(at.partition);
    }
    topics.values_mut().for_each(|indexes| indexes.sort_unstable());
    put_topics(w, topics.into_iter().collect());
}

fn put_topics(w: &mut Writer, topics: Vec<(&TopicName, Vec<PartitionIndex>)>) {
    put_count(w, topics.len());
    for (topic, indexes) in topics {
        put_text(w, topic.as_str());
        put_count(w, indexes.len());
        indexes.iter().for_each(|index| w.put_i32(index.0));
    }
}

fn partitions(r: &mut Reader) -> Result<Vec<TopicPartition>, DecodeError> {
    let mut all = Vec::new();
    for _ in 0..r.array_len(6)? {
        let topic = TopicName::from(r.string()?);
        for _ in 0..r.array_len(4)? {
            all.push(TopicPartition::new(topic.clone(), PartitionIndex(r.i32()?)));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition::new(topic, PartitionIndex(partition))
    }

    fn subscription() -> MemberSubscription {
        MemberSubscription {
            topics: vec!["b".into(), "a".into()],
            user_data: Some(Bytes::from_static(&[0, 0, 0, 7])),
            owned: vec![at("b", 2), at("a", 1), at("b", 0)],
            generation: 7,
            rack: Some("r1".to_owned()),
        }
    }

    /// The bytes are those of Java's `ConsumerProtocol.serializeSubscription`; the compat scenario
    /// `ours-assignors` compares more of them.
    #[test]
    fn a_subscription_is_written_as_java_does() {
        let expected = [
            &[0_u8, 3][..],
            &[0, 0, 0, 2, 0, 1, b'a', 0, 1, b'b'],
            &[0, 0, 0, 4, 0, 0, 0, 7],
            &[0, 0, 0, 2, 0, 1, b'a', 0, 0, 0, 1, 0, 0, 0, 1],
            &[0, 1, b'b', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2],
            &[0, 0, 0, 7, 0, 2, b'r', b'1'],
        ]
        .concat();
        assert_eq!(subscription().encode(), expected);
    }

    #[test]
    fn older_and_newer_versions_are_read_as_far_as_they_go() {
        let bytes = subscription().encode();
        let with_version = |version: u8, length: usize| {
            let mut bytes = bytes[..length].to_vec();
            bytes[1] = version;
            MemberSubscription::decode(bytes.into()).unwrap()
        };
        let whole = with_version(9, bytes.len());
        assert_eq!(whole.owned, [at("a", 1), at("b", 0), at("b", 2)]);
        assert_eq!((whole.generation, whole.rack.as_deref()), (7, Some("r1")));
        assert_eq!(with_version(2, bytes.len() - 4).rack, None);
        assert_eq!(with_version(1, bytes.len() - 8).generation, NO_GENERATION);
        let first = with_version(0, 20);
        assert_eq!((first.topics.len(), first.owned.len()), (2, 0));
        assert!(MemberSubscription::decode(bytes.slice(..9)).is_err());
        let huge = Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0]);
        assert!(MemberSubscription::decode(huge).is_err(), "a count beyond the bytes");
    }

    #[test]
    fn an_assignment_comes_back_and_none_is_no_partitions() {
        let partitions = vec![at("a", 0), at("a", 1)];
        let assignment = MemberAssignment { partitions, user_data: None };
        let bytes = assignment.encode();
        let expected = [
            &[0_u8, 3, 0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 2][..],
            &[0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff],
        ]
        .concat();
        assert_eq!(bytes, expected);
        assert_eq!(MemberAssignment::decode(bytes).unwrap(), assignment);
        assert_eq!(MemberAssignment::decode(Bytes::new()).unwrap(), MemberAssignment::default());
    }

    #[test]
    fn what_the_sticky_assignor_remembers_is_read_in_both_schemas() {
        let data = StickyUserData { previous: vec![at("a", 3)], generation: Some(4) };
        let bytes = data.encode();
        assert_eq!(StickyUserData::decode(&bytes), Some(data));
        let first = StickyUserData::decode(&bytes.slice(..bytes.len() - 4)).unwrap();
        assert_eq!(first.generation, None);
        assert_eq!(StickyUserData::decode(&Bytes::from_static(b"zz")), None);
    }
}
