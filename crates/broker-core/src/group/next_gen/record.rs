//! The records of next-generation groups in `__consumer_offsets`, in Apache Kafka's own formats
//! (ConsumerGroup*Key and *Value).

use std::collections::BTreeSet;

use bytes::Bytes;
use streamledger_protocol::message::Message;
use streamledger_protocol::wire::{EncodeError, Reader, Writer};
use streamledger_protocol::{ApiVersion, GroupId, PartitionIndex, TimestampMs, TopicId, TopicName};

use super::group::{ClassicClient, Current, MemberState, Subscription};
use super::request::{Assigned, by_topic};
use crate::group::classic::Protocol;
use crate::group::record::GroupRecordError;

/// The versions of their keys: the kinds.
pub(in crate::group) const FIRST_KEY_VERSION: i16 = EPOCH;
pub(in crate::group) const LAST_KEY_VERSION: i16 = CURRENT;
pub(in crate::group) const REGEX_KEY_VERSION: i16 = 16;
const EPOCH: i16 = 3;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;

/// One record of a next-generation group; without a value it is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerRecord {
    /// The group's epoch, and the hash of its topics' metadata.
    Epoch(Option<(i32, i64)>),
    /// A member's subscription.
    Member(String, Option<Subscription>),
    /// The epoch of the target assignment.
    TargetEpoch(Option<i32>),
    /// What a member shall have in the end.
    Target(String, Option<Assigned>),
    /// What a member has now.
    Current(String, Option<Current>),
    /// The topics that a pattern stands for.
    Regex(String, Option<BTreeSet<TopicName>>),
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "none")]
struct GroupKey {
    group: GroupId,
}

/// Of a member, or of a pattern.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "none")]
struct PartKey {
    group: GroupId,
    part: String,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
struct EpochValue {
    epoch: i32,
    #[field(tagged = 0, versions = "0+", ignorable)]
    metadata_hash: i64,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
struct MemberValue {
    instance_id: Option<String>,
    rack_id: Option<String>,
    client_id: String,
    client_host: String,
    subscribed_topic_names: Vec<TopicName>,
    subscribed_topic_regex: Option<String>,
    #[field(default = "-1")]
    rebalance_timeout_ms: i32,
    server_assignor: Option<String>,
    #[field(tagged = 0, versions = "0+", ignorable)]
    classic: Option<ClassicValue>,
}

#[derive(Debug, Clone, PartialEq, Message)]
struct ClassicValue {
    session_timeout_ms: i32,
    supported_protocols: Vec<ProtocolValue>,
}

#[derive(Debug, Clone, PartialEq, Message)]
struct ProtocolValue {
    name: String,
    metadata: Bytes,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
struct TargetEpochValue {
    assignment_epoch: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
struct TargetValue {
    topic_partitions: Vec<TopicPartitions>,
}

#[derive(Debug, Clone, PartialEq, Message)]
struct TopicPartitions {
    topic_id: TopicId,
    partitions: Vec<PartitionIndex>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
struct CurrentValue {
    member_epoch: i32,
    previous_member_epoch: i32,
    state: i8,
    assigned_partitions: Vec<TopicPartitions>,
    partitions_pending_revocation: Vec<TopicPartitions>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
struct RegexValue {
    topics: Vec<TopicName>,
    version: i64,
    timestamp: TimestampMs,
}

fn topics(assigned: &Assigned) -> Vec<TopicPartitions> {
    let topics = by_topic(assigned).into_iter();
    topics.map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions }).collect()
}

fn assigned(topics: Vec<TopicPartitions>) -> Assigned {
    let of_topic = |topic: TopicPartitions| {
        topic.partitions.into_iter().map(move |partition| (topic.topic_id, partition))
    };
    topics.into_iter().flat_map(of_topic).collect()
}

/// A value: its version, 0, and the message.
fn value(message: &impl Message) -> Result<Option<Bytes>, EncodeError> {
    let mut w = Writer::with_capacity(128);
    w.put_i16(0);
    message.encode(&mut w, ApiVersion(0))?;
    Ok(Some(w.finish().into_bytes()))
}

fn read<M: Message>(value: Option<Bytes>) -> Result<Option<M>, GroupRecordError> {
    let Some(value) = value else { return Ok(None) };
    let mut r = Reader::new(value);
    let version = r.i16()?;
    if version != 0 {
        return Err(GroupRecordError::UnknownVersion(version));
    }
    let message = M::decode(&mut r, ApiVersion(0))?;
    r.finish()?;
    Ok(Some(message))
}

impl ConsumerRecord {
    /// Whether it forgets what it is about.
    pub(in crate::group) const fn is_tombstone(&self) -> bool {
        match self {
            Self::Epoch(value) => value.is_none(),
            Self::Member(_, value) => value.is_none(),
            Self::TargetEpoch(value) => value.is_none(),
            Self::Target(_, value) => value.is_none(),
            Self::Current(_, value) => value.is_none(),
            Self::Regex(_, value) => value.is_none(),
        }
    }

    pub(in crate::group) fn encode(
        &self,
        group: &GroupId,
    ) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let part = |kind, part: &String| {
            let key = PartKey { group: group.clone(), part: part.clone() };
            encode_key(kind, &key)
        };
        let whole = |kind| encode_key(kind, &GroupKey { group: group.clone() });
        match self {
            Self::Epoch(None) => Ok((whole(EPOCH)?, None)),
            Self::Epoch(Some((epoch, metadata_hash))) => {
                let (epoch, metadata_hash) = (*epoch, *metadata_hash);
                Ok((whole(EPOCH)?, value(&EpochValue { epoch, metadata_hash })?))
            }
            Self::TargetEpoch(None) => Ok((whole(TARGET_EPOCH)?, None)),
            Self::TargetEpoch(Some(epoch)) => {
                let epoch = TargetEpochValue { assignment_epoch: *epoch };
                Ok((whole(TARGET_EPOCH)?, value(&epoch)?))
            }
            Self::Member(id, None) => Ok((part(MEMBER, id)?, None)),
            Self::Member(id, Some(member)) => {
                Ok((part(MEMBER, id)?, value(&member_value(member))?))
            }
            Self::Target(id, None) => Ok((part(TARGET, id)?, None)),
            Self::Target(id, Some(target)) => {
                let target = TargetValue { topic_partitions: topics(target) };
                Ok((part(TARGET, id)?, value(&target)?))
            }
            Self::Current(id, None) => Ok((part(CURRENT, id)?, None)),
            Self::Current(id, Some(current)) => {
                let current = CurrentValue {
                    member_epoch: current.epoch,
                    previous_member_epoch: current.previous_epoch,
                    state: current.state.code(),
                    assigned_partitions: topics(&current.assigned),
                    partitions_pending_revocation: topics(&current.revoking),
                };
                Ok((part(CURRENT, id)?, value(&current)?))
            }
            Self::Regex(pattern, None) => Ok((part(REGEX_KEY_VERSION, pattern)?, None)),
            Self::Regex(pattern, Some(topics)) => {
                let topics = topics.iter().cloned().collect();
                let regex = RegexValue { topics, version: 0, timestamp: TimestampMs::NONE };
                Ok((part(REGEX_KEY_VERSION, pattern)?, value(&regex)?))
            }
        }
    }

    /// Reads a record whose key has that version; `r` is behind it.
    pub(in crate::group) fn decode(
        kind: i16,
        r: &mut Reader,
        value: Option<Bytes>,
    ) -> Result<(GroupId, Self), GroupRecordError> {
        if let EPOCH | TARGET_EPOCH = kind {
            let group = GroupKey::decode(r, ApiVersion(0))?.group;
            let record = match kind {
                EPOCH => {
                    let value: Option<EpochValue> = read(value)?;
                    Self::Epoch(value.map(|value| (value.epoch, value.metadata_hash)))
                }
                _ => {
                    let value: Option<TargetEpochValue> = read(value)?;
                    Self::TargetEpoch(value.map(|value| value.assignment_epoch))
                }
            };
            return Ok((group, record));
        }
        let PartKey { group, part } = match kind {
            MEMBER | TARGET | CURRENT | REGEX_KEY_VERSION => PartKey::decode(r, ApiVersion(0))?,
            _ => return Err(GroupRecordError::UnknownKind(kind)),
        };
        let record = match kind {
            MEMBER => Self::Member(part, read(value)?.map(subscription)),
            TARGET => {
                let value: Option<TargetValue> = read(value)?;
                Self::Target(part, value.map(|value| assigned(value.topic_partitions)))
            }
            CURRENT => Self::Current(part, read(value)?.map(current).transpose()?),
            _ => {
                let value: Option<RegexValue> = read(value)?;
                Self::Regex(part, value.map(|value| value.topics.into_iter().collect()))
            }
        };
        Ok((group, record))
    }
}

fn encode_key(kind: i16, key: &impl Message) -> Result<Bytes, EncodeError> {
    let mut w = Writer::with_capacity(64);
    w.put_i16(kind);
    key.encode(&mut w, ApiVersion(0))?;
    Ok(w.finish().into_bytes())
}

fn member_value(member: &Subscription) -> MemberValue {
    MemberValue {
        instance_id: member.instance_id.clone(),
        rack_id: member.rack_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        subscribed_topic_names: member.topic_names.iter().cloned().collect(),
        subscribed_topic_regex: member.topic_regex.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        server_assignor: member.assignor.clone(),
        classic: member.classic.as_ref().map(classic_value),
    }
}

fn classic_value(classic: &ClassicClient) -> ClassicValue {
    let protocols = classic.protocols.iter().map(|protocol| ProtocolValue {
        name: protocol.name.clone(),
        metadata: protocol.metadata.clone(),
    });
    ClassicValue {
        session_timeout_ms: classic.session_timeout_ms,
        supported_protocols: protocols.collect(),
    }
}

fn classic_client(value: ClassicValue) -> ClassicClient {
    let protocols = value.supported_protocols.into_iter();
    let protocols = protocols.map(|one| Protocol { name: one.name, metadata: one.metadata });
    let session_timeout_ms = value.session_timeout_ms;
    ClassicClient { session_timeout_ms, protocols: protocols.collect() }
}

fn subscription(value: MemberValue) -> Subscription {
    Subscription {
        instance_id: value.instance_id,
        rack_id: value.rack_id,
        client_id: value.client_id,
        client_host: value.client_host,
        topic_names: value.subscribed_topic_names.into_iter().collect(),
        topic_regex: value.subscribed_topic_regex,
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        assignor: value.server_assignor,
        classic: value.classic.map(classic_client),
    }
}

fn current(value: CurrentValue) -> Result<Current, GroupRecordError> {
    let state = MemberState::from_code(value.state)
        .ok_or_else(|| GroupRecordError::Malformed(format!("member state {}", value.state)))?;
    Ok(Current {
        epoch: value.member_epoch,
        previous_epoch: value.previous_member_epoch,
        state,
        assigned: assigned(value.assigned_partitions),
        revoking: assigned(value.partitions_pending_revocation),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_kafkas_bytes() {
        let one: Assigned = [(TopicId([7; 16]), PartitionIndex(2))].into();
        let current = Current {
            epoch: 5,
            previous_epoch: 4,
            state: MemberState::Unrevoked,
            assigned: one.clone(),
            revoking: Assigned::new(),
        };
        let subscription = Subscription {
            client_id: "c".to_owned(),
            topic_names: ["t".into()].into(),
            topic_regex: Some("t.*".to_owned()),
            ..Subscription::default()
        };
        let member = || "m".to_owned();
        let records = [
            ConsumerRecord::Epoch(Some((3, 9))),
            ConsumerRecord::Epoch(None),
            ConsumerRecord::Member(member(), Some(subscription)),
            ConsumerRecord::Member(member(), None),
            ConsumerRecord::TargetEpoch(Some(3)),
            ConsumerRecord::Target(member(), Some(one)),
            ConsumerRecord::Current(member(), Some(current)),
            ConsumerRecord::Regex("t.*".to_owned(), Some(["t".into()].into())),
        ];
        for record in records {
            let (key, value) = record.encode(&"g".into()).unwrap();
            let mut r = Reader::new(key);
            let kind = r.i16().unwrap();
            let read = ConsumerRecord::decode(kind, &mut r, value).unwrap();
            assert_eq!(read, ("g".into(), record));
        }
        let classic = Subscription {
            classic: Some(ClassicClient {
                session_timeout_ms: 9,
                protocols: vec![Protocol { name: "r".to_owned(), metadata: "x".into() }],
            }),
            ..Subscription::default()
        };
        let record = ConsumerRecord::Member(member(), Some(classic));
        let (key, value) = record.encode(&"g".into()).unwrap();
        // No texts but two empty ones, no topics, the time-out, and one tagged field of 12 bytes.
        let expected: &[u8] = b"\x00\x00\x00\x00\x01\x01\x01\x00\x00\x00\x00\x00\x00\
            \x01\x00\x0c\x01\x00\x00\x00\x09\x02\x02r\x02x\x00\x00";
        assert_eq!(value.as_deref(), Some(expected));
        let mut r = Reader::new(key);
        let kind = r.i16().unwrap();
        assert_eq!(ConsumerRecord::decode(kind, &mut r, value), Ok(("g".into(), record)));
        let (key, value) = ConsumerRecord::Epoch(Some((3, 0))).encode(&"g".into()).unwrap();
        assert_eq!(key.as_ref(), b"\x00\x03\x00\x01g");
        assert_eq!(value.unwrap().as_ref(), b"\x00\x00\x00\x00\x00\x03\x00");
    }
}
