//! A classic group's state, and what can be read off it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use streamledger_protocol::{ErrorCode, GroupId, TimestampMs};

use super::member::Member;
use super::record::{self, KeptGroup};
use super::request::JoinedMember;
use super::state::{Change, GroupState, next};
use crate::group::log_record::GroupRecord;
use crate::group::room;

/// A classic group.
#[derive(Debug, Clone, Default)]
pub(in crate::group) struct ClassicGroup {
    /// What the log says of it.
    pub(super) kept: Option<KeptGroup>,
    pub(super) state: GroupState,
    /// Since when, by the wall clock.
    pub(super) since: TimestampMs,
    /// The rebalance under way began in an empty group: more members may be about to come.
    pub(super) is_initial: bool,
    /// In the initial rebalance: how much longer it may be put off, in ms.
    pub(super) initial_left_ms: u64,
    /// In the initial rebalance: a member has come since it was put off.
    pub(super) has_new_member: bool,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    /// The members that have a `group.instance.id`, by it.
    pub(super) instances: BTreeMap<String, String>,
    /// Ids that were given out and have not joined yet (KIP-394).
    pub(super) pending: BTreeSet<String>,
    /// Members that have not asked for their assignment in this generation.
    pub(super) unsynced: BTreeSet<String>,
}

impl ClassicGroup {
    pub(in crate::group) const fn state(&self) -> GroupState {
        self.state
    }

    pub(in crate::group) const fn generation(&self) -> i32 {
        self.generation
    }

    pub(in crate::group) const fn kept(&self) -> Option<&KeptGroup> {
        self.kept.as_ref()
    }

    pub(in crate::group) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub(in crate::group) fn protocol(&self) -> Option<&String> {
        self.protocol.as_ref()
    }

    pub(in crate::group) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Since when it is in its state, by the wall clock.
    pub(in crate::group) const fn since(&self) -> TimestampMs {
        self.since
    }

    /// Whether somebody who was given an id is expected.
    pub(in crate::group) fn is_awaited(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Members, and ids given out to some that are to come.
    pub(in crate::group) fn occupied_count(&self) -> usize {
        self.members.len() + self.pending.len()
    }

    /// What its members have brought and been given, in bytes.
    pub(in crate::group) fn brought_bytes(&self) -> usize {
        let pending = self.pending.iter().map(|id| room::entry(id.len()));
        let members = self.members().map(Member::brought_bytes);
        pending.chain(members).sum::<usize>() + self.assigned_bytes()
    }

    /// What its members have been given, in bytes.
    pub(in crate::group) fn assigned_bytes(&self) -> usize {
        self.members().map(|member| room::entry(member.assignment.len())).sum()
    }

    /// What a member has brought, in bytes.
    pub(in crate::group) fn bytes_of(&self, member_id: &str) -> Option<usize> {
        self.members.get(member_id).map(Member::brought_bytes)
    }

    /// Whether nothing would be lost if it were not in memory: nobody joins it and no log knows it.
    pub(in crate::group) fn is_nothing(&self) -> bool {
        self.kept.is_none() && self.state == GroupState::Empty && self.occupied_count() == 0
    }

    /// Whether its members are consumers that subscribe to a topic; also where that is not known.
    pub(in crate::group) fn may_be_subscribed(&self, topic: &str) -> bool {
        if self.members.is_empty() {
            return false;
        }
        if self.protocol_type() != Some("consumer") {
            return true;
        }
        let subscribes = |member: &Member| {
            let metadata = match self.protocol() {
                Some(_) => member.metadata(self.protocol()),
                None => member.protocols.first().map_or_else(Bytes::new, |p| p.metadata.clone()),
            };
            record::subscribed_topics(&metadata)
                .is_none_or(|topics| topics.iter().any(|subscribed| subscribed == topic))
        };
        self.members().any(subscribes)
    }

    /// Moves on by the table. A change that cannot be is a fault here, not a client's, so it is
    /// asserted in tests and otherwise without effect.
    pub(super) fn change(&mut self, change: Change, now: TimestampMs) {
        let then = next(self.state, change);
        debug_assert!(then.is_some(), "{change:?} in {}", self.state);
        if let Some(then) = then
            && then != self.state
        {
            self.state = then;
            self.since = now;
        }
    }

    /// Checks who says it is a member (Kafka's `validateMember`).
    pub(super) fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            let current = self.instances.get(instance_id).ok_or(ErrorCode::UnknownMemberId)?;
            if current != member_id {
                return Err(ErrorCode::FencedInstanceId);
            }
        }
        match self.members.contains_key(member_id) {
            true => Ok(()),
            false => Err(ErrorCode::UnknownMemberId),
        }
    }

    /// The longest time that a member has to join again, in ms.
    pub(super) fn rebalance_timeout_ms(&self) -> u64 {
        self.members().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    pub(super) fn joining_count(&self) -> usize {
        self.members().filter(|member| member.joining.is_some()).count()
    }

    pub(super) fn have_all_joined(&self) -> bool {
        self.pending.is_empty() && self.members().all(|member| member.joining.is_some())
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// All members, as the leader is told of them.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        self.members().map(|member| member.to_joined(self.protocol())).collect()
    }

    /// Whether a member that can do these protocols fits in (Kafka's `supportsProtocols`).
    pub(super) fn takes_protocols(&self, protocol_type: &str, names: &[&str]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !names.is_empty();
        }
        let is_common = |name: &&str| self.members().all(|member| member.supports(name));
        self.protocol_type() == Some(protocol_type) && names.iter().any(is_common)
    }

    /// The protocol that all members can do and most of them like best; of those liked alike, the
    /// first by name.
    pub(super) fn choose_protocol(&self) -> Option<String> {
        let is_common = |name: &str| self.members().all(|member| member.supports(name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members() {
            let mut names = member.protocols.iter().map(|protocol| protocol.name.as_str());
            if let Some(vote) = names.find(|name| is_common(name)) {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        votes.into_iter().find(|&(_, count)| count == most).map(|(name, _)| name.to_owned())
    }

    /// Takes a member out; the leader's place goes to another.
    pub(super) fn take_out(&mut self, member_id: &str) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        if let Some(instance_id) = &member.instance_id
            && self.instances.get(instance_id).is_some_and(|current| current == member_id)
        {
            self.instances.remove(instance_id);
        }
        self.unsynced.remove(member_id);
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// The group as the log is to have it, each member with what `assignment` gives it.
    pub(in crate::group) fn to_record(
        &self,
        group: &GroupId,
        assignment: impl Fn(&Member) -> Bytes,
    ) -> GroupRecord {
        let protocol = self.protocol();
        let members = self.members().map(|one| one.to_kept(protocol, assignment(one)));
        let kept = KeptGroup {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since: self.since,
            members: members.collect(),
        };
        GroupRecord::Classic { group: group.clone(), kept: Some(kept) }
    }
}
