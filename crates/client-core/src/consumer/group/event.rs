//! What happens to a membership, and what it wants done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use streamledger_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest,
    HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use streamledger_protocol::{BrokerId, ErrorCode, GroupId, TopicId, TopicName, TopicPartition};

use super::assignor::Assignor;
use crate::sender::Backoff;

/// The name of a question between this and its shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// The name of a step that the reader takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub u64);

/// What a member wants to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Subscription {
    /// Nothing.
    #[default]
    Nothing,
    /// These topics.
    Topics(BTreeSet<TopicName>),
    /// What the coordinator finds by this pattern (RE2; KIP-848 alone).
    ServerPattern(String),
}

/// What metadata says of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTopic {
    /// Its id; zero if the brokers are too old to have ids.
    pub id: TopicId,
    /// How many partitions it has.
    pub partition_count: i32,
    /// The racks that the replicas of each are in, by its number; empty where brokers name none.
    pub racks: Vec<BTreeSet<String>>,
}

/// What metadata says of those topics that are there.
pub type KnownTopics = BTreeMap<TopicName, KnownTopic>;

/// What the shell tells.
#[derive(Debug)]
pub enum GroupEvent {
    /// This is to be read from now on.
    Subscribe(Subscription),
    /// Membership is to end. What the member had is given up already.
    Leave,
    /// Somebody polls, or has.
    Polled,
    /// Metadata came; topics that it doesn't have aren't there.
    Topics(KnownTopics),
    /// A [`GroupEffect::LookUpTopics`] is done: metadata from after it.
    LookedUp(KnownTopics),
    /// A [`GroupEffect::NameTopics`] is done.
    Named(Vec<(TopicId, TopicName)>),
    /// A [`GroupEffect::FindCoordinator`] was answered.
    CoordinatorFound(AskId, Result<BrokerId, ErrorCode>),
    /// A [`GroupEffect::Ask`] was answered.
    Answered(AskId, GroupAnswer),
    /// A question has no answer and won't get one.
    AskFailed(AskId),
    /// The reader has taken a step.
    StepDone(StepId),
    /// A commit was refused as from no member: a heartbeat tells.
    Doubted,
}

/// What the coordinator is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupQuestion {
    /// To join a classic group.
    Join(JoinGroupRequest),
    /// For the assignment in it, or to take it.
    Sync(SyncGroupRequest),
    /// Whether the membership holds.
    Heartbeat(HeartbeatRequest),
    /// To end it.
    Leave(LeaveGroupRequest),
    /// All of these in a next-generation group.
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest),
}

/// What it answers.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupAnswer {
    /// To a join.
    Join(JoinGroupResponse),
    /// To a sync.
    Sync(SyncGroupResponse),
    /// To a heartbeat.
    Heartbeat(HeartbeatResponse),
    /// To a leave.
    Leave(LeaveGroupResponse),
    /// To a next-generation heartbeat.
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
}

/// What the reader does, on its own thread, when it polls: between two polls its partitions don't
/// change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Give these up: commit what is done, then stop reading them.
    Revoke(Vec<TopicPartition>),
    /// Stop reading these, which others may have already: nothing can be committed.
    Lose(Vec<TopicPartition>),
    /// Read these too.
    Assign(Vec<TopicPartition>),
}

/// What the shell is to do. Effects are performed in the order they are given.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an effect that isn't performed is lost"]
pub enum GroupEffect {
    /// Find the group's coordinator; answer with `CoordinatorFound` or `AskFailed`.
    FindCoordinator(AskId),
    /// Ask the coordinator; answer with `Answered` or `AskFailed`.
    Ask {
        /// What its answer is to be named by.
        id: AskId,
        /// Whom to ask.
        broker: BrokerId,
        /// What.
        question: GroupQuestion,
        /// How much longer than usual the answer may take: the coordinator waits for others.
        patience: Duration,
    },
    /// Have metadata of these topics, now and from now on; answer with `LookedUp`.
    LookUpTopics(BTreeSet<TopicName>),
    /// Find out what these topics are called; answer with `Named`.
    NameTopics(Vec<TopicId>),
    /// Let the reader take this step, in the place of one that it hasn't begun.
    Step(StepId, Step),
    /// Membership has ended as was asked for.
    Left,
    /// Something is wrong that the reader must know.
    Tell(GroupTrouble),
}

/// Something the reader must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupTrouble {
    /// The coordinator refuses the member for good; it is none until it subscribes again.
    Refused {
        /// Why.
        code: ErrorCode,
        /// What it says about it, if anything.
        message: Option<String>,
    },
    /// The coordinator minds something, but the member stays.
    Minded {
        /// What.
        code: ErrorCode,
        /// What it says about it, if anything.
        message: Option<String>,
    },
    /// The assignment can't be read.
    Unreadable,
}

/// The settings of membership, by Kafka's meaning.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// `group.id`.
    pub group_id: GroupId,
    /// `group.instance.id`.
    pub instance_id: Option<String>,
    /// `group.protocol` and what belongs to it.
    pub protocol: GroupProtocol,
    /// `max.poll.interval.ms`.
    pub max_poll_interval: Duration,
    /// `client.rack`.
    pub rack: Option<String>,
    /// Between two attempts (`retry.backoff.ms`, `retry.backoff.max.ms`).
    pub retry_backoff: Backoff,
}

/// How members and coordinator talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupProtocol {
    /// A member is elected, and assigns.
    Classic {
        /// `partition.assignment.strategy`, the best first.
        assignors: Vec<Assignor>,
        /// `session.timeout.ms`.
        session_timeout: Duration,
        /// `heartbeat.interval.ms`.
        heartbeat_interval: Duration,
    },
    /// The coordinator assigns (KIP-848).
    Consumer {
        /// `group.remote.assignor`.
        remote_assignor: Option<String>,
        /// The member's id, which it chooses for itself.
        member_id: String,
    },
}
