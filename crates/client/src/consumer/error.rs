//! Why reading can't go on, in one partition or altogether.

use std::time::Duration;

use streamledger_client_core::consumer::{ReadFault, Trouble, Unreadable};
use streamledger_protocol::{BrokerId, ErrorCode, GroupId, Offset, TopicPartition};

use crate::io_thread::IoThreadEnded;
use crate::metadata::Unreachable;
use crate::network::NetworkError;

/// Why reading can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The position is outside the log, and `auto.offset.reset` is `none`. Seek to go on.
    #[error(
        "{topic_partition}: offset {offset} is not in the log, and auto.offset.reset is none; seek"
    )]
    OffsetOutOfRange {
        /// Where.
        topic_partition: TopicPartition,
        /// The position; -1 if there was none.
        offset: Offset,
    },
    /// The broker refuses. Seek to try again.
    #[error("{topic_partition}: {code}")]
    Refused {
        /// Where.
        topic_partition: TopicPartition,
        /// Why.
        code: ErrorCode,
    },
    /// The group's coordinator refuses.
    #[error("group {group}: {code}")]
    GroupRefused {
        /// The group.
        group: GroupId,
        /// Why.
        code: ErrorCode,
    },
    /// The configuration has no `group.id`: set one to subscribe and to commit.
    #[error("there is no group.id; set one to subscribe to topics and to commit offsets")]
    NoGroup,
    /// The coordinator refuses this consumer as a member. Subscribe again once that is mended.
    #[error("group {group} doesn't take this consumer: {}", refusal(*code, message.as_deref()))]
    MembershipRefused {
        /// The group.
        group: GroupId,
        /// Why.
        code: ErrorCode,
        /// What the coordinator says about it, if anything.
        message: Option<String>,
    },
    /// The coordinator minds something about the subscription. The consumer stays a member: poll
    /// on, or subscribe otherwise.
    #[error("group {group}: {}", refusal(*code, message.as_deref()))]
    MembershipMinded {
        /// The group.
        group: GroupId,
        /// What.
        code: ErrorCode,
        /// What the coordinator says about it, if anything.
        message: Option<String>,
    },
    /// The group's leader wrote an assignment that isn't one. The consumer joins again: poll on.
    #[error("group {group}: the leader's assignment can't be read")]
    UnreadableAssignment {
        /// The group.
        group: GroupId,
    },
    /// The group has gone on without this consumer, which was silent or busy for too long. Nothing
    /// was stored; others read on from what was before. Poll to join again; make batches smaller or
    /// `max.poll.interval.ms` longer if it happens often.
    #[error("this consumer is no member of group {group} any more, so nothing is stored: {code}")]
    NotAMember {
        /// The group.
        group: GroupId,
        /// What the coordinator says.
        code: ErrorCode,
    },
    /// The group shares its partitions out anew and waits for this consumer: poll, then commit
    /// what is still assigned.
    #[error("group {group} is rebalancing; poll, then commit what is still assigned")]
    Rebalancing {
        /// The group.
        group: GroupId,
    },
    /// The pattern of topics is no regular expression.
    #[error("not a pattern: {0}")]
    InvalidPattern(String),
    /// [`wake_up`](super::Consumer::wake_up) was called. Poll on, or stop.
    #[error("the poll was ended by wake_up")]
    WokenUp,
    /// The consumer is closed. Make another.
    #[error("the consumer is closed")]
    Closed,
    /// Records can't be read. Seek to go on: past them, to `skip_to`, or elsewhere.
    #[error("{topic_partition}: can't read offset {offset}: {fault}{}", how_to_skip(*skip_to))]
    Unreadable {
        /// Where.
        topic_partition: TopicPartition,
        /// The first offset that can't be read.
        offset: Offset,
        /// The offset after the batch that can't be read, if that much can be told.
        skip_to: Option<Offset>,
        /// What is wrong with it.
        fault: Unreadable,
    },
    /// The partition has had no leader for `default.api.timeout.ms`. It is still waited for.
    #[error("{topic_partition}: {}", why_no_leader(*error))]
    NoLeader {
        /// Where.
        topic_partition: TopicPartition,
        /// What the brokers say of its topic, if anything.
        error: Option<ErrorCode>,
    },
    /// No broker has answered for `default.api.timeout.ms`. They are still tried.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// A partition's leader has answered nothing for `default.api.timeout.ms`, though other brokers
    /// say that it leads. It is still tried.
    #[error("broker {broker} doesn't answer{}", why_silent(error.as_ref()))]
    Silent {
        /// The leader.
        broker: BrokerId,
        /// Why its last request has no answer, if it left at all.
        error: Option<NetworkError>,
    },
    /// The request failed on its way.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// `default.api.timeout.ms` is over.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The partition isn't assigned.
    #[error("{0} is not assigned to this consumer")]
    NotAssigned(TopicPartition),
    /// The consumer could not be started.
    #[error("the consumer can't be started: {0}")]
    NotStarted(String),
    /// The consumer's I/O thread has ended.
    #[error("the consumer's thread has ended")]
    Ended,
}

fn refusal(code: ErrorCode, message: Option<&str>) -> String {
    match message {
        Some(message) => format!("{}: {}", code.name(), message.trim_end_matches('.')),
        None => code.to_string(),
    }
}

fn how_to_skip(skip_to: Option<Offset>) -> String {
    skip_to.map_or_else(String::new, |offset| format!("; seek to {offset} to go on after it"))
}

fn why_silent(error: Option<&NetworkError>) -> String {
    error.map_or_else(String::new, |error| format!(": {error}"))
}

fn why_no_leader(error: Option<ErrorCode>) -> String {
    match error {
        Some(error) => error.to_string(),
        None => "no broker leads it".to_owned(),
    }
}

impl ConsumerError {
    /// Whether no connection to any broker could be made.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable(unreachable) => {
                unreachable.failures().iter().all(NetworkError::is_unreachable)
            }
            Self::Network(error) | Self::Silent { error: Some(error), .. } => {
                error.is_unreachable()
            }
            _ => false,
        }
    }

    /// What the core tells, with what the shell knows of the last attempt: to ask for metadata, and
    /// of a broker.
    pub(super) fn of(
        trouble: Trouble,
        unreachable: impl FnOnce() -> Unreachable,
        failure_of: impl FnOnce(BrokerId) -> Option<NetworkError>,
    ) -> Self {
        match trouble {
            Trouble::OutOfRange { topic_partition, offset, .. } => {
                Self::OffsetOutOfRange { topic_partition, offset }
            }
            Trouble::Refused { topic_partition, error, .. } => {
                Self::Refused { topic_partition, code: error }
            }
            Trouble::NoLeader { topic_partition, error, .. } => {
                Self::NoLeader { topic_partition, error }
            }
            Trouble::Silent { broker } => Self::Silent { broker, error: failure_of(broker) },
            Trouble::Unreachable => Self::Unreachable(unreachable()),
        }
    }
}

impl From<IoThreadEnded> for ConsumerError {
    fn from(_: IoThreadEnded) -> Self {
        Self::Ended
    }
}

impl From<ReadFault> for ConsumerError {
    fn from(fault: ReadFault) -> Self {
        let ReadFault { topic_partition, offset, skip_to, fault } = fault;
        Self::Unreadable { topic_partition, offset, skip_to, fault }
    }
}
