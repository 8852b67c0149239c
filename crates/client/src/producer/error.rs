//! What can go wrong with a record, and what its sender may do about it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use streamledger_client_core::failure::{
    AttemptError, DeliveryFailure, FailureReason, FatalError, WaitedFor,
};
use streamledger_client_core::stage::Stage;
use streamledger_protocol::{
    ErrorCode, InvalidTopicName, PartitionIndex, TopicName, TopicPartition,
};

use super::ProducerRecord;

/// Why a record was not sent, or not delivered.
///
/// Printed, it is one sentence of what happened; [`ProduceError::next_action`] says what to do.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ProduceError {
    /// The record alone is more than a request, or the whole buffer, may be. It was not sent.
    RecordTooLarge {
        /// The topic it was for.
        topic: TopicName,
        /// Bytes of a batch with this record alone.
        record_bytes: usize,
        /// The limit: the smaller of `max.request.size` and `buffer.memory`.
        bytes_max: usize,
    },
    /// The topic's name is none. It was not sent.
    InvalidTopic(InvalidTopicName),
    /// A broker says that the topic can't be written to. It was not sent.
    TopicRefused {
        /// The topic.
        topic: TopicName,
        /// What the broker says.
        error: ErrorCode,
    },
    /// Metadata of the topic did not come within `max.block.ms`. It was not sent.
    MetadataTimeout {
        /// The topic.
        topic: TopicName,
        /// What the brokers said last, or why none could be asked.
        cause: Option<Arc<str>>,
        /// How long it was waited for.
        waited: Duration,
    },
    /// No broker lets this client in, or none is trusted: certificates, or the login. It was not
    /// sent.
    TurnedAway {
        /// The topic.
        topic: TopicName,
        /// Each broker, with what went wrong there.
        cause: Arc<str>,
    },
    /// The topic has no such partition. It was not sent.
    NoSuchPartition {
        /// The topic.
        topic: TopicName,
        /// The partition that the record, or the partitioner, named.
        partition: PartitionIndex,
        /// How many partitions there are.
        partition_count: i32,
    },
    /// `buffer.memory` was used up for all of `max.block.ms`. It was not sent.
    MemoryFull {
        /// The topic.
        topic: TopicName,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Key or value could not be made into bytes. It was not sent.
    NotSerialized {
        /// The topic.
        topic: TopicName,
        /// `key` or `value`.
        field: &'static str,
        /// What the serializer said.
        cause: Arc<str>,
    },
    /// It was sent, or waited to be, and was not acknowledged.
    NotDelivered(Arc<DeliveryFailure>),
    /// The producer is transactional, and no transaction is open. It was not sent.
    NoTransaction {
        /// The topic.
        topic: TopicName,
    },
    /// The open transaction has failed and can only be aborted. It was not sent.
    TransactionFailed {
        /// The topic.
        topic: TopicName,
    },
    /// The producer as a whole can't go on. It was not sent.
    Fatal(FatalError),
    /// The producer is closed. It was not sent.
    Closed,
    /// A callback asked for something that waits for the thread it runs on. Nothing was done.
    WouldDeadlock,
}

impl ProduceError {
    /// How far the record had come.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Self::NotSerialized { .. } => Stage::Serialized,
            Self::InvalidTopic(_)
            | Self::TopicRefused { .. }
            | Self::MetadataTimeout { .. }
            | Self::TurnedAway { .. }
            | Self::NoSuchPartition { .. } => Stage::Partitioned,
            Self::RecordTooLarge { .. }
            | Self::MemoryFull { .. }
            | Self::NoTransaction { .. }
            | Self::TransactionFailed { .. }
            | Self::Fatal(_)
            | Self::Closed
            | Self::WouldDeadlock => Stage::Accumulated,
            Self::NotDelivered(failure) => failure.stage,
        }
    }

    /// Where it was to go, if a partition had been chosen.
    #[must_use]
    pub fn topic_partition(&self) -> Option<&TopicPartition> {
        self.failure().map(|failure| &failure.topic_partition)
    }

    /// How often it was sent.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.failure().map_or(0, |failure| failure.attempts)
    }

    /// The last error that a broker gave for it, if any did.
    #[must_use]
    pub fn last_broker_error(&self) -> Option<ErrorCode> {
        match self {
            Self::TopicRefused { error, .. } | Self::Fatal(FatalError::Broker(error)) => {
                Some(*error)
            }
            Self::NotDelivered(failure) => match (failure.last_error, &failure.reason) {
                (Some(AttemptError::Broker(error)), _) => Some(error),
                (_, FailureReason::Rejected(error)) => Some(*error),
                _ => None,
            },
            _ => None,
        }
    }

    /// How long it had waited in all.
    #[must_use]
    pub fn waited(&self) -> Duration {
        match self {
            Self::MetadataTimeout { waited, .. } | Self::MemoryFull { waited, .. } => *waited,
            _ => self.failure().map_or(Duration::ZERO, |failure| failure.waited),
        }
    }

    /// What it waited for at the end, if it waited.
    #[must_use]
    pub fn waited_for(&self) -> Option<WaitedFor> {
        match self {
            Self::MetadataTimeout { .. } => Some(WaitedFor::Metadata),
            Self::MemoryFull { .. } => Some(WaitedFor::Memory),
            _ => self.failure().map(|failure| failure.waited_for),
        }
    }

    /// Whether it may be in the log all the same. If not, it surely is not.
    #[must_use]
    pub fn possibly_written(&self) -> bool {
        self.failure().is_some_and(|failure| failure.possibly_written)
    }

    /// What the caller may do: one sentence.
    #[must_use]
    pub fn next_action(&self) -> &'static str {
        match self {
            Self::RecordTooLarge { .. } => "Make the record smaller, or raise max.request.size.",
            Self::InvalidTopic(_) => "Give the topic another name.",
            Self::TopicRefused { .. } => "Remove the cause at the cluster, then send again.",
            Self::MetadataTimeout { .. } => {
                "Check that the brokers can be reached and that the topic exists, then send again."
            }
            Self::TurnedAway { .. } => "Correct the certificates or the login, then send again.",
            Self::NoSuchPartition { .. } => {
                "Name another partition, or add partitions to the topic."
            }
            Self::MemoryFull { .. } => {
                "Send again later, send less, or raise buffer.memory or max.block.ms."
            }
            Self::NotSerialized { .. } => "Correct the value, or use another serializer.",
            Self::NotDelivered(failure) => failure.next_action(),
            Self::NoTransaction { .. } => {
                "Send between begin_transaction and commit, or leave transactional.id unset."
            }
            Self::TransactionFailed { .. } => {
                "Abort the transaction, then do its work again in a new one."
            }
            Self::Fatal(FatalError::Broker(ErrorCode::ProducerFenced)) => {
                "Stop: another producer has this transactional.id; make a new producer if it is to \
                 take over."
            }
            Self::Fatal(_) => "Remove the cause, then begin with a new producer.",
            Self::Closed => "Send with a producer that is open.",
            Self::WouldDeadlock => {
                "Do it on another thread: callbacks run on the producer's own, which must not wait."
            }
        }
    }

    /// All that is known of a record that was accepted.
    #[must_use]
    pub fn failure(&self) -> Option<&DeliveryFailure> {
        match self {
            Self::NotDelivered(failure) => Some(failure),
            _ => None,
        }
    }
}

impl fmt::Display for ProduceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RecordTooLarge { topic, record_bytes, bytes_max } => write!(
                f,
                "{topic}: a record of {record_bytes} bytes is over the limit of {bytes_max} bytes"
            ),
            Self::InvalidTopic(error) => fmt::Display::fmt(error, f),
            Self::TopicRefused { topic, error } => write!(f, "{topic}: {error}"),
            Self::MetadataTimeout { topic, cause, waited } => {
                write!(f, "{topic}: no metadata within {} ms", waited.as_millis())?;
                cause.as_ref().map_or(Ok(()), |cause| write!(f, " ({cause})"))
            }
            Self::TurnedAway { topic, cause } => write!(f, "{topic}: no metadata: {cause}"),
            Self::NoSuchPartition { topic, partition, partition_count } => write!(
                f,
                "{topic}: there is no partition {partition}, only {partition_count} partitions"
            ),
            Self::MemoryFull { topic, waited } => {
                write!(f, "{topic}: the buffer memory stayed used up for {} ms", waited.as_millis())
            }
            Self::NotSerialized { topic, field, cause } => {
                write!(f, "{topic}: the {field} can't be serialized: {cause}")
            }
            Self::NotDelivered(failure) => fmt::Display::fmt(failure, f),
            Self::NoTransaction { topic } => write!(f, "{topic}: no transaction is open"),
            Self::TransactionFailed { topic } => {
                write!(f, "{topic}: the transaction has failed and can only be aborted")
            }
            Self::Fatal(error) => write!(f, "the producer can't go on: {error}"),
            Self::Closed => f.write_str("the producer is closed"),
            Self::WouldDeadlock => {
                f.write_str("a callback can't wait for the thread that it runs on")
            }
        }
    }
}

impl std::error::Error for ProduceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InvalidTopic(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Arc<DeliveryFailure>> for ProduceError {
    fn from(failure: Arc<DeliveryFailure>) -> Self {
        Self::NotDelivered(failure)
    }
}

/// Why [`super::Producer::try_send`] did not take a record.
#[derive(Debug, Clone)]
pub enum TrySendError<'a> {
    /// It would have to wait, for memory or for the topic's metadata. The record comes back.
    Full(ProducerRecord<'a>),
    /// Waiting would not help.
    Failed(ProduceError),
}

impl fmt::Display for TrySendError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(record) => {
                write!(f, "{}: there is no room for a record at the moment", record.topic)
            }
            Self::Failed(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for TrySendError<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind of a record that was not accepted, with its sentence and its stage.
    fn earlier() -> Vec<(ProduceError, &'static str, Stage)> {
        let topic = || TopicName::from("clicks");
        let waited = Duration::from_millis(60_000);
        let metadata = |cause: Option<&str>| ProduceError::MetadataTimeout {
            topic: topic(),
            cause: cause.map(Arc::from),
            waited,
        };
        let (partition, partition_count) = (PartitionIndex(9), 6);
        vec![
            (
                ProduceError::RecordTooLarge { topic: topic(), record_bytes: 9, bytes_max: 5 },
                "clicks: a record of 9 bytes is over the limit of 5 bytes",
                Stage::Accumulated,
            ),
            (
                ProduceError::InvalidTopic(TopicName::from("a b").validate().unwrap_err()),
                "",
                Stage::Partitioned,
            ),
            (
                ProduceError::TopicRefused {
                    topic: topic(),
                    error: ErrorCode::TopicAuthorizationFailed,
                },
                "clicks: TOPIC_AUTHORIZATION_FAILED",
                Stage::Partitioned,
            ),
            (
                metadata(Some("localhost:9092: can't connect")),
                "clicks: no metadata within 60000 ms (localhost:9092: can't connect)",
                Stage::Partitioned,
            ),
            (metadata(None), "clicks: no metadata within 60000 ms", Stage::Partitioned),
            (
                ProduceError::TurnedAway { topic: topic(), cause: "localhost:9092: SASL".into() },
                "clicks: no metadata: localhost:9092: SASL",
                Stage::Partitioned,
            ),
            (
                ProduceError::NoSuchPartition { topic: topic(), partition, partition_count },
                "clicks: there is no partition 9, only 6 partitions",
                Stage::Partitioned,
            ),
            (
                ProduceError::MemoryFull { topic: topic(), waited },
                "clicks: the buffer memory stayed used up for 60000 ms",
                Stage::Accumulated,
            ),
            (
                ProduceError::NoTransaction { topic: topic() },
                "clicks: no transaction is open",
                Stage::Accumulated,
            ),
            (
                ProduceError::TransactionFailed { topic: topic() },
                "clicks: the transaction has failed and can only be aborted",
                Stage::Accumulated,
            ),
            (
                ProduceError::NotSerialized {
                    topic: topic(),
                    field: "value",
                    cause: "no such column".into(),
                },
                "clicks: the value can't be serialized: no such column",
                Stage::Serialized,
            ),
        ]
    }

    /// Those of a record that had a partition, or of a producer that takes none.
    fn later() -> Vec<(ProduceError, &'static str, Stage)> {
        let failure = DeliveryFailure {
            reason: FailureReason::DeliveryTimeout,
            stage: Stage::Sent,
            topic_partition: TopicPartition::new("clicks", PartitionIndex(3)),
            attempts: 4,
            last_error: Some(AttemptError::Broker(ErrorCode::NotEnoughReplicas)),
            waited: Duration::from_millis(60_000),
            waited_for: WaitedFor::Backoff,
            unreachable: None,
            possibly_written: true,
        };
        vec![
            (
                ProduceError::NotDelivered(Arc::new(failure)),
                "clicks-3: not delivered within delivery.timeout.ms after 60000 ms, 4 attempts, \
                 waiting for the next attempt; last: NOT_ENOUGH_REPLICAS",
                Stage::Sent,
            ),
            (
                ProduceError::Fatal(FatalError::Broker(ErrorCode::ProducerFenced)),
                "the producer can't go on: PRODUCER_FENCED",
                Stage::Accumulated,
            ),
            (ProduceError::Closed, "the producer is closed", Stage::Accumulated),
            (
                ProduceError::WouldDeadlock,
                "a callback can't wait for the thread that it runs on",
                Stage::Accumulated,
            ),
        ]
    }

    fn each() -> Vec<(ProduceError, &'static str, Stage)> {
        earlier().into_iter().chain(later()).collect()
    }

    #[test]
    fn each_error_says_what_happened_at_which_stage_and_what_to_do() {
        for (error, sentence, stage) in each() {
            let text = error.to_string();
            assert!(text.starts_with(sentence) && !text.ends_with('.'), "{text}");
            assert_eq!(error.stage(), stage, "{text}");
            assert!(error.next_action().ends_with('.'), "{text}");
            let is_accepted = matches!(error, ProduceError::NotDelivered(_));
            assert_eq!(error.possibly_written(), is_accepted, "{text}");
            assert_eq!(error.attempts(), if is_accepted { 4 } else { 0 }, "{text}");
            assert_eq!(error.topic_partition().is_some(), is_accepted, "{text}");
            assert_eq!(error.waited() > Duration::ZERO, error.waited_for().is_some(), "{text}");
        }
    }

    #[test]
    fn what_was_waited_for_is_told_also_of_records_that_were_not_accepted() {
        let waits: Vec<_> = each().iter().filter_map(|(error, ..)| error.waited_for()).collect();
        let metadata = WaitedFor::Metadata;
        assert_eq!(waits, [metadata, metadata, WaitedFor::Memory, WaitedFor::Backoff]);
    }

    #[test]
    fn what_the_broker_said_last_is_found_wherever_it_is_kept() {
        let refused = ErrorCode::TopicAuthorizationFailed;
        let error = ProduceError::TopicRefused { topic: "t".into(), error: refused };
        assert_eq!(error.last_broker_error(), Some(refused));
        let fenced = ErrorCode::ProducerFenced;
        let error = ProduceError::Fatal(FatalError::Broker(fenced));
        assert_eq!(error.last_broker_error(), Some(fenced));
    }
}
