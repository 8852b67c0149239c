//! The classic protocol: join, sync, heartbeat; the leader assigns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use streamledger_protocol::messages::join_group::JoinGroupRequestProtocol;
use streamledger_protocol::messages::leave_group::MemberIdentity;
use streamledger_protocol::messages::sync_group::SyncGroupRequestAssignment;
use streamledger_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use streamledger_protocol::{ErrorCode, PartitionIndex, TopicName, TopicPartition};

use super::assignor::{Assignor, GroupMember, PartitionRacks, RebalanceProtocol};
use super::event::{GroupEffect, GroupProtocol, GroupQuestion, GroupTrouble, Step};
use super::phase::Happening;
use super::state::GroupState;
use super::subscription::{MemberAssignment, MemberSubscription};
use super::verdict::{GroupApi, GroupVerdict, judge_group};

/// How many partitions a topic has, and in which racks, if this member is in one.
type Shape = (i32, Vec<BTreeSet<String>>);

/// What only the classic protocol knows.
#[derive(Debug, Default)]
pub(super) struct ClassicPart {
    /// The topics it joined with.
    joined_with: BTreeSet<TopicName>,
    /// What the group has agreed on.
    assignor: Option<Assignor>,
    /// What the leader has to assign to.
    members: Option<BTreeMap<String, GroupMember>>,
    /// The topics that the leader is about to know.
    pub(super) looked_up: Option<BTreeSet<TopicName>>,
    /// What the leader has assigned, for its sync.
    assignments: Vec<SyncGroupRequestAssignment>,
    /// What the leader's last assignment is for.
    pub(super) led: Option<BTreeMap<TopicName, Shape>>,
    /// What it got last, and in which generation: what the sticky assignors remember.
    had: Option<(Vec<TopicPartition>, i32)>,
}

impl ClassicPart {
    pub(super) fn forget_attempt(&mut self) {
        (self.members, self.looked_up, self.led) = (None, None, None);
        self.assignments.clear();
    }
}

impl GroupState {
    fn assignors(&self) -> &[Assignor] {
        match &self.config.protocol {
            GroupProtocol::Classic { assignors, .. } => assignors,
            GroupProtocol::Consumer { .. } => &[],
        }
    }

    /// Whether to join again, and what has to be given up for that.
    pub(super) fn classic_turn(&mut self) {
        let has_changed = self.topic_names().iter().ne(&self.classic.joined_with);
        // The leader sees to it that new partitions get an owner, and moved ones one nearby.
        let is_other = |(topic, shape): (&TopicName, &Shape)| self.shape_of(topic) != *shape;
        let is_outdated = self.classic.led.as_ref().is_some_and(|led| led.iter().any(is_other));
        if has_changed {
            self.rejoin.get_or_insert("its subscription has changed");
        }
        if is_outdated {
            self.rejoin.get_or_insert("the topics have changed");
        }
        if self.rejoin.is_none() {
            return;
        }
        let wanted = self.topic_names();
        let is_kept = |at: &&TopicPartition| match Assignor::protocol_of(self.assignors()) {
            RebalanceProtocol::Eager => false,
            RebalanceProtocol::Cooperative => wanted.contains(&at.topic),
        };
        let revoked: Vec<_> = self.owned.iter().filter(|at| !is_kept(at)).cloned().collect();
        self.classic.led = None;
        if revoked.is_empty() {
            self.step_to(Happening::Released);
        } else if self.step_to(Happening::MustRelease) {
            self.take_step(Step::Revoke(revoked));
        }
    }

    pub(super) fn join_question(&mut self) -> GroupQuestion {
        let GroupProtocol::Classic { assignors, session_timeout, .. } = &self.config.protocol
        else {
            return GroupQuestion::Heartbeat(HeartbeatRequest::default());
        };
        let topics = self.topic_names();
        let had = self.classic.had.as_ref();
        let protocols = assignors.iter().map(|assignor| {
            let subscription = MemberSubscription {
                topics: topics.clone(),
                user_data: assignor.user_data(had.map(|(had, at)| (had.as_slice(), *at))),
                owned: self.owned.iter().cloned().collect(),
                generation: self.generation,
                rack: self.config.rack.clone(),
            };
            let name = assignor.name().to_owned();
            JoinGroupRequestProtocol { name, metadata: subscription.encode() }
        });
        let (group_id, group_instance_id) = self.question_text();
        let request = JoinGroupRequest {
            group_id,
            session_timeout_ms: Self::ms(*session_timeout),
            rebalance_timeout_ms: Self::ms(self.config.max_poll_interval),
            member_id: self.member_id.clone(),
            group_instance_id,
            protocol_type: "consumer".to_owned(),
            protocols: protocols.collect(),
            reason: self.rejoin.map(str::to_owned),
        };
        self.rejoin = None;
        self.classic.joined_with = topics.into_iter().collect();
        GroupQuestion::Join(request)
    }

    pub(super) fn on_joined(&mut self, now: Instant, response: JoinGroupResponse) {
        match judge_group(GroupApi::Join, response.error_code) {
            GroupVerdict::Done => {}
            GroupVerdict::JoinWithId => {
                self.member_id = response.member_id;
                self.step_to(Happening::Again);
                return;
            }
            _ => return self.on_trouble(now, GroupApi::Join, response.error_code, None),
        }
        let assignor = response.protocol_name.as_deref().and_then(Assignor::from_text);
        let Some(assignor) = assignor.filter(|chosen| self.assignors().contains(chosen)) else {
            return self.refuse(ErrorCode::InconsistentGroupProtocol, response.protocol_name);
        };
        self.succeeded();
        self.classic.assignor = Some(assignor);
        self.generation = response.generation_id;
        let is_leader = response.leader == response.member_id;
        self.member_id = response.member_id;
        self.heartbeat_at = self.heartbeat_from(now);
        self.classic.assignments.clear();
        if !is_leader || response.skip_assignment {
            // A static leader that came back has no members to assign to (KIP-814).
            self.step_to(if is_leader { Happening::Led } else { Happening::Followed });
            if is_leader {
                self.step_to(Happening::Known);
            }
            return;
        }
        let members = response.members.into_iter().map(|member| {
            // One that can't be read wants nothing that is known here.
            let subscription = MemberSubscription::decode(member.metadata).unwrap_or_default();
            (member.member_id, GroupMember { instance_id: member.group_instance_id, subscription })
        });
        let members: BTreeMap<String, GroupMember> = members.collect();
        let wanted = members.values().flat_map(|member| member.subscription.topics.clone());
        let wanted: BTreeSet<TopicName> = wanted.collect();
        self.classic.members = Some(members);
        self.classic.looked_up = Some(wanted.clone());
        self.step_to(Happening::Led);
        self.effects.push_back(GroupEffect::LookUpTopics(wanted));
    }

    pub(super) fn classic_looked_up(&mut self) {
        let Some(members) = self.classic.members.take() else { return };
        let Some(assignor) = self.classic.assignor else { return };
        let wanted = self.classic.looked_up.take().unwrap_or_default();
        let led: BTreeMap<TopicName, Shape> =
            wanted.into_iter().map(|topic| (topic.clone(), self.shape_of(&topic))).collect();
        let there = led.iter().filter(|(_, (count, _))| *count > 0);
        let there = there.map(|(topic, (count, _))| (topic.clone(), *count)).collect();
        let assigned = assignor.assign(&there, &self.racks_of(&there), &members);
        let each = assigned.into_iter().map(|(member_id, partitions)| {
            let assignment = MemberAssignment { partitions, user_data: None }.encode();
            SyncGroupRequestAssignment { member_id, assignment }
        });
        self.classic.assignments = each.collect();
        self.classic.led = Some(led);
        self.step_to(Happening::Known);
    }

    fn shape_of(&self, topic: &TopicName) -> Shape {
        let Some(known) = self.topics.get(topic) else { return Shape::default() };
        let racks = self.config.rack.as_ref().map(|_| known.racks.clone());
        (known.partition_count.max(0), racks.unwrap_or_default())
    }

    fn racks_of(&self, topics: &BTreeMap<TopicName, i32>) -> PartitionRacks {
        let known = topics.keys().filter_map(|topic| Some((topic, self.topics.get(topic)?)));
        let racks = known.flat_map(|(topic, known)| {
            let at = |index| TopicPartition::new(topic.clone(), PartitionIndex(index));
            (0..).zip(&known.racks).map(move |(index, racks)| (at(index), racks.clone()))
        });
        racks.collect()
    }

    pub(super) fn sync_question(&self) -> GroupQuestion {
        let (group_id, group_instance_id) = self.question_text();
        GroupQuestion::Sync(SyncGroupRequest {
            group_id,
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id,
            protocol_type: Some("consumer".to_owned()),
            protocol_name: self.classic.assignor.map(|assignor| assignor.name().to_owned()),
            assignments: self.classic.assignments.clone(),
        })
    }

    pub(super) fn on_synced(&mut self, now: Instant, response: SyncGroupResponse) {
        if judge_group(GroupApi::Sync, response.error_code) != GroupVerdict::Done {
            return self.on_trouble(now, GroupApi::Sync, response.error_code, None);
        }
        self.succeeded();
        self.heartbeat_at = self.heartbeat_from(now);
        self.classic.assignments.clear();
        let Ok(MemberAssignment { mut partitions, .. }) = read(response.assignment) else {
            self.effects.push_back(GroupEffect::Tell(GroupTrouble::Unreadable));
            self.back_off(now);
            self.step_to(Happening::Again);
            return;
        };
        self.classic.had = Some((partitions.clone(), self.generation));
        // The subscription may have changed since it joined.
        partitions.retain(|at| self.classic.joined_with.contains(&at.topic));
        let target: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        if self.owned.difference(&target).next().is_some() {
            self.rejoin = Some("it gave up what goes to others");
        }
        self.target = Some(target);
        self.reconcile();
    }

    pub(super) fn heartbeat_question(&self) -> GroupQuestion {
        let (group_id, group_instance_id) = self.question_text();
        GroupQuestion::Heartbeat(HeartbeatRequest {
            group_id,
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id,
        })
    }

    pub(super) fn on_heartbeat(&mut self, now: Instant, code: ErrorCode) {
        self.heartbeat_at = self.heartbeat_from(now);
        match judge_group(GroupApi::Heartbeat, code) {
            GroupVerdict::Done => self.succeeded(),
            // As long as the reader gives something up, or takes it on, that goes first.
            GroupVerdict::Rejoin => self.rejoin = Some("the group is rebalancing"),
            GroupVerdict::FindAndRetry | GroupVerdict::Retry => {
                self.heartbeat_at = Some(now);
                self.on_trouble(now, GroupApi::Heartbeat, code, None);
            }
            _ => self.on_trouble(now, GroupApi::Heartbeat, code, None),
        }
    }

    pub(super) fn leave_question(&self) -> GroupQuestion {
        let (group_id, group_instance_id) = self.question_text();
        let reason = Some("the consumer leaves the group".to_owned());
        let member_id = self.member_id.clone();
        GroupQuestion::Leave(LeaveGroupRequest {
            group_id,
            member_id: member_id.clone(),
            members: vec![MemberIdentity { member_id, group_instance_id, reason }],
        })
    }

    fn heartbeat_from(&self, now: Instant) -> Option<Instant> {
        match &self.config.protocol {
            GroupProtocol::Classic { heartbeat_interval, .. } => Some(now + *heartbeat_interval),
            GroupProtocol::Consumer { .. } => None,
        }
    }
}

fn read(assignment: Bytes) -> Result<MemberAssignment, streamledger_protocol::wire::DecodeError> {
    MemberAssignment::decode(assignment)
}
