//! ConsumerGroupHeartbeat: a member joins, is led on, or leaves (Kafka's `consumerGroupHeartbeat`).

use std::collections::BTreeMap;

use streamledger_protocol::ErrorCode;

use super::assign::{Assignor, Wishes, assign};
use super::group::{ConsumerGroup, Current, MemberState, Subscription};
use super::reconcile::{Towards, next_step};
use super::record::ConsumerRecord;
use super::request::{
    Assigned, ConsumerHeartbeat, ConsumerHeartbeatReply, HeartbeatRefusal, TopicsView,
};
use crate::planted_bugs::{Planted, PlantedBug};

const JOINS: i32 = 0;
const LEAVES: i32 = -1;
const LEAVES_FOR_A_WHILE: i32 = -2;

/// A copy of a group, and the records that made it differ.
pub(in crate::group) struct Draft {
    group: ConsumerGroup,
    pub(in crate::group) records: Vec<ConsumerRecord>,
    pub(super) planted: Planted,
}

impl Draft {
    pub(in crate::group) fn new(group: Option<&ConsumerGroup>, planted: Planted) -> Self {
        Self { group: group.cloned().unwrap_or_default(), records: Vec::new(), planted }
    }

    /// The group as it is by now.
    pub(in crate::group) const fn group(&self) -> &ConsumerGroup {
        &self.group
    }

    pub(super) fn add(&mut self, record: ConsumerRecord) {
        self.group.replay(record.clone());
        self.records.push(record);
    }

    /// A member's heartbeat.
    pub(in crate::group) fn heartbeat(
        &mut self,
        request: &ConsumerHeartbeat,
        topics: &dyn TopicsView,
    ) -> Result<ConsumerHeartbeatReply, HeartbeatRefusal> {
        if request.member_epoch < JOINS {
            return self.leave(request);
        }
        self.enter(request)?;
        let had = self.current(&request.member_id);
        self.subscribe(request, topics)?;
        self.go_by_topics(topics);
        self.lead_on(&request.member_id, request.owned.as_ref());
        let has = self.current(&request.member_id);
        let is_full = request.rebalance_timeout_ms != -1
            && (request.topic_names.is_some() || request.topic_regex.is_some())
            && request.owned.is_some();
        // One that comes with its last epoch has not heard what came with the new one.
        let has_missed = request.member_epoch != had.epoch;
        let tells = has_missed || is_full || had.assigned != has.assigned;
        Ok(ConsumerHeartbeatReply {
            member_epoch: has.epoch,
            assigned: tells.then_some(has.assigned),
        })
    }

    /// Hears of new topics, and makes a target for a new epoch.
    pub(super) fn go_by_topics(&mut self, topics: &dyn TopicsView) {
        self.look_at(topics);
        if self.group.epoch > self.group.target_epoch {
            self.retarget(topics);
        }
    }

    pub(super) fn current(&self, member_id: &str) -> Current {
        self.group.members.get(member_id).map_or_else(Current::default, |one| one.current.clone())
    }

    /// Lets a member in, by its epoch and instance.
    fn enter(&mut self, request: &ConsumerHeartbeat) -> Result<(), HeartbeatRefusal> {
        let id = &request.member_id;
        if let Some(instance_id) = &request.instance_id {
            let holder = self.group.instance(instance_id).cloned();
            match holder {
                Some(holder) if holder != *id && request.member_epoch == JOINS => {
                    return self.take_place(&holder, request);
                }
                Some(holder) if holder != *id => {
                    let message = format!("{instance_id} is {holder}'s now");
                    return Err(HeartbeatRefusal::new(ErrorCode::FencedInstanceId, message));
                }
                None if request.member_epoch != JOINS => {
                    let message = format!("no member has the instance id {instance_id}");
                    return Err(HeartbeatRefusal::new(ErrorCode::UnknownMemberId, message));
                }
                Some(_) | None => {}
            }
        }
        let Some(member) = self.group.members.get(id) else {
            if request.member_epoch == JOINS {
                return Ok(());
            }
            let message = format!("{id} is no member of {}", request.group);
            return Err(HeartbeatRefusal::new(ErrorCode::UnknownMemberId, message));
        };
        let current = &member.current;
        let (said, is) = (request.member_epoch, current.epoch);
        let missed_answer = || {
            let owned = request.owned.as_ref();
            said == current.previous_epoch
                && owned.is_some_and(|owned| owned.is_subset(&current.assigned))
        };
        if said == JOINS || said == is || (said < is && missed_answer()) {
            return Ok(());
        }
        let message = format!(
            "{id} says epoch {said} and is in {is}: it must give up its partitions and join again"
        );
        Err(HeartbeatRefusal::new(ErrorCode::FencedMemberEpoch, message))
    }

    /// A static member comes back under a new id: what the old one had is the new one's. One of the
    /// next generation says so when it leaves; a classic one just goes.
    fn take_place(
        &mut self,
        old: &str,
        request: &ConsumerHeartbeat,
    ) -> Result<(), HeartbeatRefusal> {
        let Some(member) = self.group.members.get(old) else { return Ok(()) };
        let is_classic = member.subscription.classic.is_some();
        if !is_classic && member.current.epoch != LEAVES_FOR_A_WHILE {
            let instance = request.instance_id.as_deref().unwrap_or_default();
            let message = format!("{old} has the instance id {instance} and has not left");
            return Err(HeartbeatRefusal::new(ErrorCode::UnreleasedInstanceId, message));
        }
        self.move_member(old, &request.member_id);
        Ok(())
    }

    /// Has a member under another id, in no epoch yet.
    pub(super) fn move_member(&mut self, old: &str, id: &str) {
        let Some(member) = self.group.members.get(old).cloned() else { return };
        let id = id.to_owned();
        let target = self.group.target.get(old).cloned();
        self.remove(old);
        self.add(ConsumerRecord::Member(id.clone(), Some(member.subscription)));
        if let Some(target) = target {
            self.add(ConsumerRecord::Target(id.clone(), Some(target)));
        }
        let current = Current {
            epoch: 0,
            previous_epoch: 0,
            state: MemberState::Stable,
            assigned: member.current.assigned,
            revoking: Assigned::new(),
        };
        self.add(ConsumerRecord::Current(id, Some(current)));
    }

    /// Takes what a member says of itself.
    fn subscribe(
        &mut self,
        request: &ConsumerHeartbeat,
        topics: &dyn TopicsView,
    ) -> Result<(), HeartbeatRefusal> {
        let id = &request.member_id;
        let before = self.group.members.get(id).map(|member| member.subscription.clone());
        let mut now = before.clone().unwrap_or_default();
        now.client_id.clone_from(&request.client_id);
        now.client_host.clone_from(&request.client_host);
        if request.instance_id.is_some() {
            now.instance_id.clone_from(&request.instance_id);
        }
        if request.rack_id.is_some() {
            now.rack_id.clone_from(&request.rack_id);
        }
        if request.rebalance_timeout_ms != -1 {
            now.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if let Some(names) = &request.topic_names {
            now.topic_names.clone_from(names);
        }
        if request.assignor.is_some() {
            now.assignor.clone_from(&request.assignor);
        }
        if let Some(regex) = &request.topic_regex {
            now.topic_regex = Some(regex.clone()).filter(|regex| !regex.is_empty());
        }
        now.classic = None;
        self.take_subscription(id, before.as_ref(), now, topics)
    }

    /// Takes what a member wants; a change of that raises the group's epoch.
    pub(super) fn take_subscription(
        &mut self,
        id: &str,
        before: Option<&Subscription>,
        now: Subscription,
        topics: &dyn TopicsView,
    ) -> Result<(), HeartbeatRefusal> {
        if before == Some(&now) {
            return Ok(());
        }
        if let Some(pattern) = &now.topic_regex
            && !self.group.regexes.contains_key(pattern)
        {
            let matched = topics.matching(pattern).ok_or_else(|| {
                let message = format!("{pattern:?} is no pattern in RE2's syntax");
                HeartbeatRefusal::new(ErrorCode::InvalidRegularExpression, message)
            })?;
            self.add(ConsumerRecord::Regex(pattern.clone(), Some(matched)));
        }
        let wants = |one: &Subscription| {
            (one.topic_names.clone(), one.topic_regex.clone(), one.assignor.clone())
        };
        let is_change = before.map(wants) != Some(wants(&now));
        self.add(ConsumerRecord::Member(id.to_owned(), Some(now)));
        self.drop_unused_patterns();
        if is_change {
            self.raise_epoch(self.group.hash_of(topics));
        }
        Ok(())
    }

    fn drop_unused_patterns(&mut self) {
        let is_used = |pattern: &String| {
            self.group
                .members
                .values()
                .any(|member| member.subscription.topic_regex.as_ref() == Some(pattern))
        };
        let unused: Vec<String> =
            self.group.regexes.keys().filter(|pattern| !is_used(pattern)).cloned().collect();
        for pattern in unused {
            self.add(ConsumerRecord::Regex(pattern, None));
        }
    }

    fn raise_epoch(&mut self, hash: i64) {
        self.add(ConsumerRecord::Epoch(Some((self.group.epoch + 1, hash))));
    }

    /// New topics and partitions raise the group's epoch too.
    fn look_at(&mut self, topics: &dyn TopicsView) {
        if self.group.seen_topics == Some(topics.version()) {
            return;
        }
        let patterns: Vec<String> = self.group.regexes.keys().cloned().collect();
        for pattern in patterns {
            let Some(matched) = topics.matching(&pattern) else { continue };
            if self.group.regexes.get(&pattern) != Some(&matched) {
                self.add(ConsumerRecord::Regex(pattern, Some(matched)));
            }
        }
        let hash = self.group.hash_of(topics);
        if hash != self.group.metadata_hash {
            self.raise_epoch(hash);
        }
    }

    /// Makes the target of the group's epoch.
    fn retarget(&mut self, topics: &dyn TopicsView) {
        let mut wishes = Wishes::default();
        for (id, member) in &self.group.members {
            let mut wanted = std::collections::BTreeSet::new();
            for name in self.group.topics_of(&member.subscription) {
                if let Some((topic, partition_count)) = topics.topic(name) {
                    wishes.topics.insert(topic, partition_count);
                    wanted.insert(topic);
                }
            }
            wishes.members.insert(id, wanted);
        }
        let target = assign(self.group.assignor(), &wishes, &self.group.target);
        let changed: Vec<_> = target
            .into_iter()
            .filter(|(id, assigned)| self.group.target.get(id) != Some(assigned))
            .collect();
        for (id, assigned) in changed {
            self.add(ConsumerRecord::Target(id, Some(assigned)));
        }
        self.add(ConsumerRecord::TargetEpoch(Some(self.group.epoch)));
    }

    /// Leads the member one step towards its target.
    pub(super) fn lead_on(&mut self, id: &str, owned: Option<&Assigned>) {
        let none = Assigned::new();
        let current = self.current(id);
        let towards = Towards {
            epoch: self.group.target_epoch,
            target: self.group.target.get(id).unwrap_or(&none),
            owned,
        };
        let is_blind = self.planted.has(PlantedBug::AssignUnreleased);
        let step = next_step(&current, &towards, |partition| {
            is_blind || !self.group.is_held_by_another(id, partition)
        });
        if step != current {
            self.add(ConsumerRecord::Current(id.to_owned(), Some(step)));
        }
    }

    fn leave(
        &mut self,
        request: &ConsumerHeartbeat,
    ) -> Result<ConsumerHeartbeatReply, HeartbeatRefusal> {
        let id = &request.member_id;
        let unknown = |message: String| HeartbeatRefusal::new(ErrorCode::UnknownMemberId, message);
        if let Some(instance_id) = &request.instance_id {
            match self.group.instance(instance_id) {
                None => {
                    return Err(unknown(format!("no member has the instance id {instance_id}")));
                }
                Some(holder) if holder != id => {
                    let message = format!("{instance_id} is {holder}'s now");
                    return Err(HeartbeatRefusal::new(ErrorCode::FencedInstanceId, message));
                }
                Some(_) => {}
            }
        }
        let Some(member) = self.group.members.get(id) else {
            return Err(unknown(format!("{id} is no member of {}", request.group)));
        };
        if request.member_epoch == LEAVES_FOR_A_WHILE {
            let away = Current {
                epoch: LEAVES_FOR_A_WHILE,
                revoking: Assigned::new(),
                ..member.current.clone()
            };
            self.add(ConsumerRecord::Current(id.clone(), Some(away)));
        } else {
            self.fence(id);
        }
        Ok(ConsumerHeartbeatReply { member_epoch: request.member_epoch.max(-2), assigned: None })
    }

    /// Takes a member out for good: the others share what it had.
    pub(in crate::group) fn fence(&mut self, member_id: &str) {
        if !self.group.members.contains_key(member_id) {
            return;
        }
        self.remove(member_id);
        self.drop_unused_patterns();
        self.raise_epoch(self.group.metadata_hash);
    }

    fn remove(&mut self, member_id: &str) {
        let id = member_id.to_owned();
        self.add(ConsumerRecord::Current(id.clone(), None));
        self.add(ConsumerRecord::Target(id.clone(), None));
        self.add(ConsumerRecord::Member(id, None));
    }
}

impl ConsumerGroup {
    /// Whether a heartbeat changes nothing, so that no draft is needed.
    pub(in crate::group) fn is_plain(
        &self,
        request: &ConsumerHeartbeat,
        topics: &dyn TopicsView,
    ) -> bool {
        let says_nothing_new = request.rack_id.is_none()
            && request.rebalance_timeout_ms == -1
            && request.topic_names.is_none()
            && request.topic_regex.is_none()
            && request.assignor.is_none();
        let is_at_rest = |member: &super::group::ConsumerMember| {
            let (is, said) = (&member.subscription, request);
            member.current.epoch == said.member_epoch
                && member.current.epoch == self.target_epoch
                && member.current.state == MemberState::Stable
                && is.instance_id == said.instance_id
                && is.client_id == said.client_id
                && is.client_host == said.client_host
        };
        request.member_epoch > JOINS
            && says_nothing_new
            && self.epoch == self.target_epoch
            && self.seen_topics == Some(topics.version())
            && self.members.get(&request.member_id).is_some_and(is_at_rest)
    }

    /// The topics were looked at in this version.
    pub(in crate::group) fn has_seen(&mut self, topics: &dyn TopicsView) {
        self.seen_topics = Some(topics.version());
    }

    /// The assignor that most members want; by default the first.
    pub(super) fn assignor(&self) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for member in self.members.values() {
            let wanted = member.subscription.assignor.as_deref();
            if let Some(assignor) = wanted.and_then(Assignor::from_name) {
                *votes.entry(assignor).or_default() += 1;
            }
        }
        let most = votes.values().max().copied();
        votes
            .into_iter()
            .find(|(_, count)| Some(*count) == most)
            .map_or_else(Assignor::default, |(assignor, _)| assignor)
    }
}

/// Checks what can be checked without the group (Kafka's
/// `throwIfConsumerGroupHeartbeatRequestIsInvalid`).
pub(in crate::group) fn check(request: &ConsumerHeartbeat) -> Result<(), HeartbeatRefusal> {
    let is_empty = |text: &Option<String>| text.as_deref() == Some("");
    let invalid = |message: &str| Err(HeartbeatRefusal::new(ErrorCode::InvalidRequest, message));
    if request.group.as_str().is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if request.member_id.is_empty() {
        return invalid("MemberId can't be empty.");
    }
    if is_empty(&request.instance_id) || is_empty(&request.rack_id) {
        return invalid("InstanceId and RackId can't be empty.");
    }
    match request.member_epoch {
        JOINS => {
            if request.rebalance_timeout_ms == -1 {
                return invalid("RebalanceTimeoutMs must be provided in first request.");
            }
            if request.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
                return invalid("TopicPartitions must be empty when (re-)joining.");
            }
            let subscribes = request.topic_regex.as_ref().is_some_and(|regex| !regex.is_empty())
                || request.topic_names.is_some();
            if !subscribes {
                return invalid(
                    "SubscribedTopicNames or SubscribedTopicRegex must be set in first request.",
                );
            }
        }
        LEAVES_FOR_A_WHILE if request.instance_id.is_none() => {
            return invalid("InstanceId can't be null.");
        }
        epoch if epoch < LEAVES_FOR_A_WHILE => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    if let Some(assignor) = &request.assignor
        && Assignor::from_name(assignor).is_none()
    {
        let known = Assignor::ALL.map(Assignor::name).join(", ");
        let message = format!("ServerAssignor {assignor} is not supported. Supported: {known}.");
        return Err(HeartbeatRefusal::new(ErrorCode::UnsupportedAssignor, message));
    }
    let is_away = request.member_epoch == LEAVES || request.member_epoch == LEAVES_FOR_A_WHILE;
    debug_assert!(is_away || request.member_epoch >= JOINS);
    Ok(())
}
