//! A next-generation group's state, and the one place where records change it.

use std::collections::{BTreeMap, BTreeSet};

use streamledger_protocol::{ErrorCode, PartitionIndex, TopicId, TopicName};

use super::record::ConsumerRecord;
use super::request::{Assigned, TopicsView};
use crate::group::classic::Protocol;
use crate::group::offsets::{CommitWay, Committer};
use crate::group::room;

/// Where a member is on its way to the target (Kafka's `MemberState`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MemberState {
    /// It has what it shall have, as far as its epoch goes.
    #[default]
    Stable,
    /// It is to give partitions up, and has not yet.
    Unrevoked,
    /// It waits for partitions that others are to give up.
    Unreleased,
}

impl MemberState {
    pub(super) const fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::Unrevoked => 1,
            Self::Unreleased => 2,
        }
    }

    pub(super) const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Stable),
            1 => Some(Self::Unrevoked),
            2 => Some(Self::Unreleased),
            _ => None,
        }
    }
}

/// What a member says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Its `group.instance.id`.
    pub instance_id: Option<String>,
    /// Its rack.
    pub rack_id: Option<String>,
    /// How its client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// The topics it subscribes to by name.
    pub topic_names: BTreeSet<TopicName>,
    /// The pattern it subscribes to.
    pub topic_regex: Option<String>,
    /// How many ms it has to give partitions up.
    pub rebalance_timeout_ms: i32,
    /// The assignor it wants.
    pub assignor: Option<String>,
    /// What makes it a member by the classic protocol, if it is one.
    pub classic: Option<ClassicClient>,
}

/// A member by the classic protocol among those of the next generation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassicClient {
    /// After how many ms without a heartbeat it is out.
    pub session_timeout_ms: i32,
    /// What it can do, the best first.
    pub protocols: Vec<Protocol>,
}

/// What a member has, and in which epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Current {
    /// Its epoch; -2 while a static member is away.
    pub epoch: i32,
    /// The epoch before.
    pub previous_epoch: i32,
    /// Where it is on its way to the target.
    pub state: MemberState,
    /// The partitions it may have.
    pub assigned: Assigned,
    /// The partitions it is to give up.
    pub revoking: Assigned,
}

/// A member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::group) struct ConsumerMember {
    pub(super) subscription: Subscription,
    pub(super) current: Current,
}

impl ConsumerMember {
    /// What it is told by its protocol when it speaks by another epoch than its own.
    fn wrong_epoch(&self) -> ErrorCode {
        match self.subscription.classic {
            Some(_) => ErrorCode::IllegalGeneration,
            None => ErrorCode::StaleMemberEpoch,
        }
    }
}

/// A next-generation group. Equal groups have equal hard state.
#[derive(Debug, Clone, Default)]
pub(in crate::group) struct ConsumerGroup {
    pub(super) epoch: i32,
    pub(super) metadata_hash: i64,
    pub(super) target_epoch: i32,
    pub(super) target: BTreeMap<String, Assigned>,
    pub(super) members: BTreeMap<String, ConsumerMember>,
    /// The topics that each pattern stands for.
    pub(super) regexes: BTreeMap<String, BTreeSet<TopicName>>,
    /// Soft: the version of the topics that were last looked at.
    pub(super) seen_topics: Option<u64>,
}

impl PartialEq for ConsumerGroup {
    fn eq(&self, other: &Self) -> bool {
        let hard = |group: &Self| (group.epoch, group.metadata_hash, group.target_epoch);
        hard(self) == hard(other)
            && self.target == other.target
            && self.members == other.members
            && self.regexes == other.regexes
    }
}

impl ConsumerMember {
    /// What it has brought, in bytes.
    fn brought_bytes(&self, id: &str) -> usize {
        let Subscription { instance_id, rack_id, topic_names, topic_regex, classic, .. } =
            &self.subscription;
        let texts = [Some(id), instance_id.as_deref(), rack_id.as_deref(), topic_regex.as_deref()];
        let names = topic_names.iter().map(|name| room::entry(name.as_str().len()));
        let classic = classic.as_ref().map_or(0, |client| room::protocols(&client.protocols));
        room::texts(texts) + names.sum::<usize>() + classic
    }
}

impl ConsumerGroup {
    /// What its members have brought, and what their patterns stand for, in bytes.
    pub(in crate::group) fn brought_bytes(&self) -> usize {
        let members = self.members.iter().map(|(id, member)| member.brought_bytes(id));
        let of_pattern = |(pattern, found): (&String, &BTreeSet<TopicName>)| {
            room::entry(pattern.len()) + found.len() * room::entry(0)
        };
        members.sum::<usize>() + self.regexes.iter().map(of_pattern).sum::<usize>()
    }

    /// What a member has brought, in bytes.
    pub(in crate::group) fn bytes_of(&self, member_id: &str) -> Option<usize> {
        self.members.get(member_id).map(|member| member.brought_bytes(member_id))
    }

    /// A record is in the log; false if it was the group's end.
    pub(in crate::group) fn replay(&mut self, record: ConsumerRecord) -> bool {
        match record {
            ConsumerRecord::Epoch(Some((epoch, metadata_hash))) => {
                (self.epoch, self.metadata_hash) = (epoch, metadata_hash);
            }
            ConsumerRecord::Epoch(None) => return false,
            ConsumerRecord::Member(id, Some(subscription)) => {
                self.members.entry(id).or_default().subscription = subscription;
            }
            ConsumerRecord::Member(id, None) => {
                self.members.remove(&id);
            }
            ConsumerRecord::TargetEpoch(epoch) => self.target_epoch = epoch.unwrap_or(0),
            ConsumerRecord::Target(id, Some(target)) => {
                self.target.insert(id, target);
            }
            ConsumerRecord::Target(id, None) => {
                self.target.remove(&id);
            }
            ConsumerRecord::Current(id, Some(current)) => {
                self.members.entry(id).or_default().current = current;
            }
            ConsumerRecord::Current(id, None) => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.current = Current::default();
                }
            }
            ConsumerRecord::Regex(pattern, Some(topics)) => {
                self.regexes.insert(pattern, topics);
            }
            ConsumerRecord::Regex(pattern, None) => {
                self.regexes.remove(&pattern);
            }
        }
        true
    }

    pub(in crate::group) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(in crate::group) fn has_member(&self, member_id: &str) -> bool {
        self.members.contains_key(member_id)
    }

    pub(in crate::group) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// How long a member has to give partitions up, in ms, if it is to.
    pub(in crate::group) fn revocation_timeout_ms(&self, member_id: &str) -> Option<u64> {
        let member = self.members.get(member_id)?;
        let is_revoking = member.current.state == MemberState::Unrevoked;
        is_revoking.then(|| self.rebalance_timeout_ms(member_id))
    }

    /// How long a member has to give partitions up, or to join again, in ms.
    pub(in crate::group) fn rebalance_timeout_ms(&self, member_id: &str) -> u64 {
        let timeout = self.members.get(member_id).map(|one| one.subscription.rebalance_timeout_ms);
        u64::try_from(timeout.unwrap_or(0)).unwrap_or(0)
    }

    /// The member with an instance id.
    pub(super) fn instance(&self, instance_id: &str) -> Option<&String> {
        let has = |member: &ConsumerMember| {
            member.subscription.instance_id.as_deref() == Some(instance_id)
        };
        self.members.iter().find(|(_, member)| has(member)).map(|(id, _)| id)
    }

    /// The topics a member subscribes to, by name or by pattern.
    pub(super) fn topics_of<'a>(
        &'a self,
        subscription: &'a Subscription,
    ) -> impl Iterator<Item = &'a TopicName> {
        let regex = subscription.topic_regex.as_ref();
        let matched = regex.and_then(|pattern| self.regexes.get(pattern)).into_iter().flatten();
        subscription.topic_names.iter().chain(matched)
    }

    pub(in crate::group) fn is_subscribed(&self, topic: &str) -> bool {
        self.members.values().any(|member| {
            self.topics_of(&member.subscription).any(|subscribed| subscribed.as_str() == topic)
        })
    }

    /// A hash that changes with what there is of the topics subscribed to (FNV-1a).
    pub(super) fn hash_of(&self, topics: &dyn TopicsView) -> i64 {
        let subscribed: BTreeSet<&TopicName> =
            self.members.values().flat_map(|member| self.topics_of(&member.subscription)).collect();
        let mut hash = 0xCBF2_9CE4_8422_2325_u64;
        let mut mix = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
            }
        };
        for name in subscribed {
            let Some((id, partition_count)) = topics.topic(name) else { continue };
            mix(&id.0);
            mix(&partition_count.to_be_bytes());
        }
        hash.cast_signed()
    }

    /// Whether another member has a partition, or is still to give it up.
    pub(super) fn is_held_by_another(
        &self,
        member_id: &str,
        partition: &(TopicId, PartitionIndex),
    ) -> bool {
        let holds = |member: &ConsumerMember| {
            member.current.assigned.contains(partition)
                || member.current.revoking.contains(partition)
        };
        self.members.iter().any(|(id, member)| id != member_id && holds(member))
    }

    /// Whether offsets may be stored (Kafka's `ConsumerGroup.validateOffsetCommit`).
    pub(in crate::group) fn check_commit(
        &self,
        by: &Committer,
        way: CommitWay,
        is_blind: bool,
    ) -> Result<(), ErrorCode> {
        let epoch = by.generation;
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let is_nobody = epoch < 0 && by.member_id.is_empty() && by.instance_id.is_none();
        if way == CommitWay::Transactional && is_nobody {
            return Ok(());
        }
        let member = self.members.get(&by.member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if way == CommitWay::BeforeEpochs && member.subscription.classic.is_none() {
            return Err(ErrorCode::UnsupportedVersion);
        }
        match member.current.epoch == epoch || is_blind {
            true => Ok(()),
            false => Err(member.wrong_epoch()),
        }
    }

    /// Whether a member may read offsets by its epoch; whoever says none may.
    pub(in crate::group) fn check_fetch(
        &self,
        member_id: Option<&str>,
        epoch: i32,
    ) -> Result<(), ErrorCode> {
        match member_id {
            None if epoch < 0 => Ok(()),
            Some("") if epoch < 0 => Ok(()),
            member_id => {
                let member = member_id.and_then(|id| self.members.get(id));
                let member = member.ok_or(ErrorCode::UnknownMemberId)?;
                match member.current.epoch == epoch {
                    true => Ok(()),
                    false => Err(member.wrong_epoch()),
                }
            }
        }
    }

    /// The records that forget a group without members.
    pub(in crate::group) fn tombstones(&self) -> Vec<ConsumerRecord> {
        let regexes = self.regexes.keys().map(|one| ConsumerRecord::Regex(one.clone(), None));
        let targets = self.target.keys().map(|id| ConsumerRecord::Target(id.clone(), None));
        let end = [ConsumerRecord::TargetEpoch(None), ConsumerRecord::Epoch(None)];
        regexes.chain(targets).chain(end).collect()
    }
}
