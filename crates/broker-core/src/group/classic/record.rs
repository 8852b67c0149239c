//! The record of a classic group in `__consumer_offsets`, in Apache Kafka's own format
//! (GroupMetadataKey and GroupMetadataValue).

use bytes::Bytes;
use streamledger_protocol::message::Message;
use streamledger_protocol::wire::{EncodeError, Reader, Writer};
use streamledger_protocol::{ApiVersion, GroupId, TimestampMs};

use crate::group::record::GroupRecordError;

/// The version of the key: its kind.
pub(in crate::group) const KEY_VERSION: i16 = 2;
/// The version written: the last that every Kafka since 2.3 reads.
const VALUE_VERSION: i16 = 3;
const VALUE_VERSION_MAX: i16 = 4;

#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "none")]
struct GroupMetadataKey {
    group: GroupId,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "4+")]
struct GroupMetadataValue {
    protocol_type: String,
    generation: i32,
    protocol: Option<String>,
    leader: Option<String>,
    #[field(versions = "2+", default = "TimestampMs::NONE", ignorable)]
    current_state_timestamp: TimestampMs,
    members: Vec<MemberMetadata>,
}

#[derive(Debug, Clone, PartialEq, Message)]
struct MemberMetadata {
    member_id: String,
    #[field(versions = "3+", ignorable)]
    group_instance_id: Option<String>,
    client_id: String,
    client_host: String,
    #[field(versions = "1+", ignorable)]
    rebalance_timeout: i32,
    session_timeout: i32,
    subscription: Bytes,
    assignment: Bytes,
}

/// A classic group as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptGroup {
    /// The kind of group; empty when none was ever said.
    pub protocol_type: String,
    /// The generation.
    pub generation: i32,
    /// The protocol that was chosen.
    pub protocol: Option<String>,
    /// The member that leads.
    pub leader: Option<String>,
    /// Since when it is in this state, by the wall clock.
    pub since: TimestampMs,
    /// The members; none in an empty group.
    pub members: Vec<KeptMember>,
}

/// A member of a classic group as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMember {
    /// The member.
    pub member_id: String,
    /// Its `group.instance.id`.
    pub instance_id: Option<String>,
    /// How its client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// How many ms it has to join again.
    pub rebalance_timeout_ms: i32,
    /// After how many ms without a heartbeat it is out.
    pub session_timeout_ms: i32,
    /// What it joined with under the chosen protocol.
    pub subscription: Bytes,
    /// What it gets.
    pub assignment: Bytes,
}

pub(in crate::group) fn encode_key(group: &GroupId) -> Result<Bytes, EncodeError> {
    let mut w = Writer::with_capacity(32);
    w.put_i16(KEY_VERSION);
    GroupMetadataKey { group: group.clone() }.encode(&mut w, ApiVersion(KEY_VERSION))?;
    Ok(w.finish().into_bytes())
}

pub(in crate::group) fn decode_key(r: &mut Reader) -> Result<GroupId, GroupRecordError> {
    Ok(GroupMetadataKey::decode(r, ApiVersion(KEY_VERSION))?.group)
}

impl KeptGroup {
    pub(in crate::group) fn encode(&self) -> Result<Bytes, EncodeError> {
        let member = |member: &KeptMember| MemberMetadata {
            member_id: member.member_id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.subscription.clone(),
            assignment: member.assignment.clone(),
        };
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.since,
            members: self.members.iter().map(member).collect(),
        };
        let mut w = Writer::with_capacity(256);
        w.put_i16(VALUE_VERSION);
        value.encode(&mut w, ApiVersion(VALUE_VERSION))?;
        Ok(w.finish().into_bytes())
    }

    pub(in crate::group) fn decode(value: Bytes) -> Result<Self, GroupRecordError> {
        let mut r = Reader::new(value);
        let version = r.i16()?;
        if !(0..=VALUE_VERSION_MAX).contains(&version) {
            return Err(GroupRecordError::UnknownVersion(version));
        }
        let value = GroupMetadataValue::decode(&mut r, ApiVersion(version))?;
        r.finish()?;
        let member = |member: MemberMetadata| KeptMember {
            // Before version 1 the one time-out was for both.
            rebalance_timeout_ms: match version {
                0 => member.session_timeout,
                _ => member.rebalance_timeout,
            },
            member_id: member.member_id,
            instance_id: member.group_instance_id,
            client_id: member.client_id,
            client_host: member.client_host,
            session_timeout_ms: member.session_timeout,
            subscription: member.subscription,
            assignment: member.assignment,
        };
        Ok(Self {
            protocol_type: value.protocol_type,
            generation: value.generation,
            protocol: value.protocol,
            leader: value.leader,
            since: value.current_state_timestamp,
            members: value.members.into_iter().map(member).collect(),
        })
    }
}

/// The topics in what a consumer joins with (ConsumerProtocolSubscription), if it can be read.
pub(in crate::group) fn subscribed_topics(metadata: &Bytes) -> Option<Vec<String>> {
    #[derive(Debug, Clone, PartialEq, Message)]
    #[message(flexible = "none")]
    struct Subscription {
        topics: Vec<String>,
    }
    let mut r = Reader::new(metadata.clone());
    let version = r.i16().ok()?;
    // Later versions add to the end of earlier ones.
    (version >= 0).then_some(())?;
    Subscription::decode(&mut r, ApiVersion(0)).ok().map(|subscription| subscription.topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_in_kafkas_bytes() {
        let group = KeptGroup {
            protocol_type: "consumer".to_owned(),
            generation: 7,
            protocol: Some("range".to_owned()),
            leader: Some("m".to_owned()),
            since: TimestampMs(9),
            members: vec![KeptMember {
                member_id: "m".to_owned(),
                instance_id: None,
                client_id: "c".to_owned(),
                client_host: "/h".to_owned(),
                rebalance_timeout_ms: 300,
                session_timeout_ms: 45,
                subscription: Bytes::from_static(b"s"),
                assignment: Bytes::from_static(b"a"),
            }],
        };
        let value = group.encode().unwrap();
        let expected: &[&[u8]] = &[
            &[0, 3],
            b"\x00\x08consumer",
            &7_i32.to_be_bytes(),
            b"\x00\x05range\x00\x01m",
            &9_i64.to_be_bytes(),
            &1_i32.to_be_bytes(),
            b"\x00\x01m\xff\xff\x00\x01c\x00\x02/h",
            &300_i32.to_be_bytes(),
            &45_i32.to_be_bytes(),
            b"\x00\x00\x00\x01s\x00\x00\x00\x01a",
        ];
        assert_eq!(value.as_ref(), expected.concat());
        assert_eq!(KeptGroup::decode(value), Ok(group));
        assert_eq!(encode_key(&GroupId::from("g")).unwrap().as_ref(), b"\x00\x02\x00\x01g");
    }

    #[test]
    fn a_subscription_names_its_topics() {
        let metadata =
            b"\x00\x01\x00\x00\x00\x02\x00\x01a\x00\x01b\xff\xff\xff\xff\x00\x00\x00\x00";
        let topics = subscribed_topics(&Bytes::from_static(metadata)).unwrap();
        assert_eq!(topics, ["a", "b"]);
        assert_eq!(subscribed_topics(&Bytes::from_static(b"\x00")), None);
    }
}
