//! The next generation (KIP-848): one heartbeat that joins, tells, hears and leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use streamledger_protocol::messages::consumer_group_heartbeat::TopicPartitions;
use streamledger_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use streamledger_protocol::{PartitionIndex, TopicId, TopicName, TopicPartition};

use super::event::{GroupEffect, GroupProtocol, GroupQuestion, Subscription};
use super::phase::{Happening, Phase};
use super::state::GroupState;
use super::verdict::{GroupApi, GroupVerdict, judge_group};

/// The epoch that joins.
const JOIN: i32 = 0;
/// The epoch that leaves.
const LEAVE: i32 = -1;
/// The epoch with which a static member leaves, to come back.
const LEAVE_FOR_A_WHILE: i32 = -2;

/// What only the next generation knows.
#[derive(Debug, Default)]
pub(super) struct NextPart {
    /// What the coordinator has been told and still counts on; none where that isn't sure, so
    /// that all is told again.
    pub(super) sent: Option<Sent>,
    /// What is being told.
    telling: Option<Sent>,
    /// What topics are called.
    pub(super) names: BTreeMap<TopicId, TopicName>,
    /// What the coordinator wants this member to have, until the reader has it.
    wanted: Option<Vec<TopicPartitions>>,
    /// The topics of it whose names are asked for.
    asked_names: BTreeSet<TopicId>,
    /// The coordinator waits to hear what this member has.
    pub(super) must_tell_owned: bool,
}

/// What a heartbeat said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    subscription: Subscription,
    /// What the member has, if that was said.
    owned: Option<BTreeSet<TopicPartition>>,
}

impl NextPart {
    pub(super) fn forget_attempt(&mut self) {
        (self.sent, self.telling, self.wanted) = (None, None, None);
        self.asked_names.clear();
        self.must_tell_owned = false;
    }
}

impl GroupState {
    /// Begins to go where the coordinator wants the member, as soon as all topics have names.
    pub(super) fn next_turn(&mut self) {
        let Some(wanted) = &self.next.wanted else { return };
        let unnamed: Vec<TopicId> = wanted
            .iter()
            .map(|topic| topic.topic_id)
            .filter(|id| !self.next.names.contains_key(id))
            .collect();
        if !unnamed.is_empty() {
            let news: Vec<TopicId> =
                unnamed.into_iter().filter(|id| self.next.asked_names.insert(*id)).collect();
            if !news.is_empty() {
                self.effects.push_back(GroupEffect::NameTopics(news));
            }
            return;
        }
        let named = wanted.iter().flat_map(|topic| {
            let name = self.next.names.get(&topic.topic_id);
            name.into_iter().flat_map(|name| {
                topic.partitions.iter().map(|index| TopicPartition::new(name.clone(), *index))
            })
        });
        self.target = Some(named.collect());
        self.next.wanted = None;
        self.next.asked_names.clear();
        self.reconcile();
    }

    pub(super) fn next_question(&mut self) -> GroupQuestion {
        let joins = self.phase == Phase::Joining;
        if joins {
            self.generation = JOIN;
            self.next.sent = None;
        }
        let all = self.next.sent.is_none();
        let is_told = |sent: &Sent| sent.subscription == self.subscription;
        let tells_subscription = !self.next.sent.as_ref().is_some_and(is_told);
        let (subscribed_topic_names, subscribed_topic_regex) = match &self.subscription {
            _ if !tells_subscription => (None, None),
            Subscription::Nothing => (Some(Vec::new()), None),
            Subscription::Topics(topics) => {
                let had_pattern = self.next.sent.as_ref().is_some_and(|sent| {
                    matches!(sent.subscription, Subscription::ServerPattern(_))
                });
                let regex = had_pattern.then(String::new);
                (Some(topics.iter().cloned().collect()), regex)
            }
            Subscription::ServerPattern(pattern) => (Some(Vec::new()), Some(pattern.clone())),
        };
        let server_assignor = match &self.config.protocol {
            GroupProtocol::Consumer { remote_assignor, .. } if all => remote_assignor.clone(),
            GroupProtocol::Consumer { .. } | GroupProtocol::Classic { .. } => None,
        };
        let tells_owned = all || self.next.must_tell_owned;
        let (group_id, instance_id) = self.question_text();
        let request = ConsumerGroupHeartbeatRequest {
            group_id,
            member_id: self.member_id.clone(),
            member_epoch: self.generation,
            instance_id,
            rack_id: if all { self.config.rack.clone() } else { None },
            rebalance_timeout_ms: if all { Self::ms(self.config.max_poll_interval) } else { -1 },
            subscribed_topic_names,
            subscribed_topic_regex,
            server_assignor,
            topic_partitions: tells_owned.then(|| self.owned_by_id()),
        };
        let owned = tells_owned.then(|| self.owned.clone());
        let subscription = self.subscription.clone();
        self.next.telling = Some(Sent { subscription, owned });
        GroupQuestion::ConsumerHeartbeat(request)
    }

    fn owned_by_id(&self) -> Vec<TopicPartitions> {
        let ids: BTreeMap<&TopicName, TopicId> =
            self.next.names.iter().map(|(id, name)| (name, *id)).collect();
        let mut topics: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
        for at in &self.owned {
            if let Some(id) = ids.get(&at.topic) {
                topics.entry(*id).or_default().push(at.partition);
            }
        }
        topics
            .into_iter()
            .map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions })
            .collect()
    }

    pub(super) fn on_next_answer(
        &mut self,
        now: Instant,
        response: ConsumerGroupHeartbeatResponse,
    ) {
        let telling = self.next.telling.take();
        if judge_group(GroupApi::ConsumerHeartbeat, response.error_code) != GroupVerdict::Done {
            self.heartbeat_at = Some(now);
            let (code, message) = (response.error_code, response.error_message);
            return self.on_trouble(now, GroupApi::ConsumerHeartbeat, code, message);
        }
        self.succeeded();
        if let Some(member_id) = response.member_id {
            self.member_id = member_id;
        }
        self.generation = response.member_epoch;
        let interval = u64::try_from(response.heartbeat_interval_ms).unwrap_or(0);
        self.heartbeat_at = Some(now + Duration::from_millis(interval.max(1)));
        if telling.as_ref().is_some_and(|told| told.owned.as_ref() == Some(&self.owned)) {
            self.next.must_tell_owned = false;
        }
        self.next.sent = telling;
        if self.next.must_tell_owned {
            self.heartbeat_at = Some(now);
        }
        self.step_to(Happening::Settled);
        if let Some(assignment) = response.assignment {
            self.next.wanted = Some(assignment.topic_partitions);
        }
    }

    pub(super) fn next_leave(&self) -> GroupQuestion {
        let (group_id, instance_id) = self.question_text();
        let member_epoch = if instance_id.is_some() { LEAVE_FOR_A_WHILE } else { LEAVE };
        GroupQuestion::ConsumerHeartbeat(ConsumerGroupHeartbeatRequest {
            group_id,
            member_id: self.member_id.clone(),
            member_epoch,
            instance_id,
            ..ConsumerGroupHeartbeatRequest::default()
        })
    }
}
