//! Why a record was not delivered, with all that is known: stage, attempts, last answer, waits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use streamledger_protocol::{BrokerId, ErrorCode, TopicPartition};

use crate::stage::Stage;

/// The end of a batch that was not acknowledged; shared by all its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFailure {
    /// What ended it.
    pub reason: FailureReason,
    /// How far the batch had come.
    pub stage: Stage,
    /// Where it was to go.
    pub topic_partition: TopicPartition,
    /// How often it was sent.
    pub attempts: u32,
    /// The last thing that went wrong with it before the end, if anything had.
    pub last_error: Option<AttemptError>,
    /// Time from the first record's append to the end.
    pub waited: Duration,
    /// What it waited for at the end.
    pub waited_for: WaitedFor,
    /// Why there was no connection, if it waited for one and making it had failed.
    pub unreachable: Option<NoConnection>,
    /// Whether the records may be in the log all the same. If not, they surely are not.
    pub possibly_written: bool,
}

/// What ended a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureReason {
    /// `delivery.timeout.ms` passed.
    DeliveryTimeout,
    /// It was sent as often as `retries` allows.
    RetriesExhausted,
    /// The broker refused it for good.
    Rejected(ErrorCode),
    /// One record alone is more than the broker takes.
    RecordTooLarge,
    /// The broker no longer knows the producer's sequence, so sending again could double it.
    SequenceLost,
    /// It could not be sealed, for example because its codec is not built in.
    NotSealed(String),
    /// Its transaction was aborted, or can only be, before it was sent.
    TransactionAborted,
    /// The producer as a whole can't go on.
    Fatal(FatalError),
    /// The producer was closed before it was delivered.
    Closed,
}

/// What ends a producer as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FatalError {
    /// The broker refused to give a producer id, or to go on with it.
    Broker(ErrorCode),
    /// A sequence is lost in a transaction, and the broker is older than Kafka 2.5, from which on
    /// it would give the producer its next epoch (KIP-360).
    NoNextEpoch,
    /// This broker, which leads a partition, has no version of Produce that would do. In a
    /// transaction of the second version (KIP-890) that is one before 12, though the cluster has
    /// agreed on that version.
    NotSpoken(BrokerId),
}

/// What went wrong with one attempt to send a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptError {
    /// The broker answered with an error.
    Broker(ErrorCode),
    /// No answer came: the connection was lost or the request timed out.
    NoAnswer,
    /// The request never left.
    NotSent,
    /// The broker answered the request but left this partition out.
    NotAnswered,
}

/// Why there is no connection to a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoConnection {
    /// What went wrong when it was tried last, and with which address.
    pub cause: Arc<str>,
    /// The broker doesn't let the client in, or isn't trusted by it: certificates, or the login. It
    /// won't until somebody changes something.
    pub is_authentication: bool,
}

/// What a batch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitedFor {
    /// The topic's first metadata.
    Metadata,
    /// Room in `buffer.memory`.
    Memory,
    /// More records, or its linger time.
    Batch,
    /// Its partition to be in the transaction.
    Transaction,
    /// A producer id.
    ProducerId,
    /// A leader of its partition.
    Leader,
    /// A connection to the leader.
    Connection(BrokerId),
    /// Room in the requests in flight to the leader.
    Room(BrokerId),
    /// The end of the leader's throttle time.
    Throttle(BrokerId),
    /// An earlier batch of the partition whose outcome is not known yet.
    EarlierBatch,
    /// A new producer epoch, once nothing is unresolved.
    Epoch,
    /// The time before the next attempt.
    Backoff,
    /// Its compression.
    Compression,
    /// The leader's answer.
    Answer(BrokerId),
}

impl DeliveryFailure {
    /// What the caller may do about it: one sentence.
    #[must_use]
    pub fn next_action(&self) -> &'static str {
        match (&self.reason, self.possibly_written) {
            (FailureReason::RecordTooLarge, _) => {
                "Make the record smaller, or raise the topic's max.message.bytes."
            }
            (FailureReason::NotSealed(_), _) => "Choose a compression.type that is built in.",
            (FailureReason::TransactionAborted, _) => {
                "Send the records again in the next transaction; nobody reads them of this one."
            }
            (FailureReason::Fatal(_), true) => {
                "Check the topic for the records before sending them again with a new producer."
            }
            (FailureReason::Fatal(_), false) => {
                "Remove the cause, then send the records again with a new producer."
            }
            (FailureReason::Rejected(_), false) => {
                "Remove the cause, then send the records again; they are not in the log."
            }
            (_, true) if self.is_turned_away() => {
                "Correct the certificates or the login, then check the topic for the records \
                 before sending them again."
            }
            (_, false) if self.is_turned_away() => {
                "Correct the certificates or the login, then send the records again; they are not \
                 in the log."
            }
            (_, true) => "Check the topic for the records before sending them again.",
            (_, false) => {
                "Send the records again if they are still wanted; they are not in the log."
            }
        }
    }
}

impl DeliveryFailure {
    fn is_turned_away(&self) -> bool {
        self.unreachable.as_ref().is_some_and(|unreachable| unreachable.is_authentication)
    }
}

impl fmt::Display for DeliveryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, topic_partition, attempts, waited, waited_for, .. } = self;
        write!(f, "{topic_partition}: {reason} after {} ms, {attempts} ", waited.as_millis())?;
        f.write_str(if *attempts == 1 { "attempt" } else { "attempts" })?;
        write!(f, ", waiting for {waited_for}")?;
        if let Some(NoConnection { cause, .. }) = &self.unreachable {
            write!(f, " ({cause})")?;
        }
        if let Some(error) = self.last_error {
            write!(f, "; last: {error}")?;
        }
        f.write_str(if self.possibly_written { "; possibly written" } else { "; not written" })
    }
}

impl std::error::Error for DeliveryFailure {}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeliveryTimeout => f.write_str("not delivered within delivery.timeout.ms"),
            Self::RetriesExhausted => f.write_str("given up, retries are used up"),
            Self::Rejected(error) => write!(f, "refused with {}", error.name()),
            Self::RecordTooLarge => f.write_str("one record is more than the broker takes"),
            Self::SequenceLost => f.write_str("the broker lost the producer's sequence"),
            Self::NotSealed(cause) => write!(f, "the batch can't be sealed ({cause})"),
            Self::TransactionAborted => f.write_str("its transaction is aborted"),
            Self::Fatal(error) => write!(f, "the producer can't go on ({error})"),
            Self::Closed => f.write_str("the producer was closed"),
        }
    }
}

impl fmt::Display for FatalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(error) => write!(f, "{error}"),
            Self::NoNextEpoch => {
                f.write_str("a sequence is lost, and a broker before Kafka 2.5 gives no next epoch")
            }
            Self::NotSpoken(broker) => write!(
                f,
                "broker {broker} has no version of Produce that this producer can use; in a \
                 cluster with transaction.version=2 every broker has 12"
            ),
        }
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(error) => write!(f, "{error}"),
            Self::NoAnswer => f.write_str("no answer came"),
            Self::NotSent => f.write_str("the request could not be sent"),
            Self::NotAnswered => f.write_str("the broker's answer left the partition out"),
        }
    }
}

impl fmt::Display for WaitedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata => f.write_str("the topic's metadata"),
            Self::Memory => f.write_str("buffer memory"),
            Self::Batch => f.write_str("the batch to fill"),
            Self::Transaction => f.write_str("its partition to be in the transaction"),
            Self::ProducerId => f.write_str("a producer id"),
            Self::Leader => f.write_str("the partition's leader"),
            Self::Connection(broker) => write!(f, "a connection to broker {broker}"),
            Self::Room(broker) => write!(f, "the requests in flight to broker {broker}"),
            Self::Throttle(broker) => write!(f, "the throttle time of broker {broker}"),
            Self::EarlierBatch => f.write_str("an earlier batch of the partition"),
            Self::Epoch => f.write_str("a new producer epoch"),
            Self::Backoff => f.write_str("the next attempt"),
            Self::Compression => f.write_str("its compression"),
            Self::Answer(broker) => write!(f, "the answer of broker {broker}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use streamledger_protocol::PartitionIndex;

    use super::*;

    #[test]
    fn a_failure_says_all_that_is_known_in_one_sentence() {
        let failure = DeliveryFailure {
            reason: FailureReason::DeliveryTimeout,
            stage: Stage::Sent,
            topic_partition: TopicPartition::new("clicks", PartitionIndex(3)),
            attempts: 4,
            last_error: Some(AttemptError::NoAnswer),
            waited: Duration::from_secs(120),
            waited_for: WaitedFor::Answer(BrokerId(2)),
            unreachable: None,
            possibly_written: true,
        };
        assert_eq!(
            failure.to_string(),
            "clicks-3: not delivered within delivery.timeout.ms after 120000 ms, 4 attempts, \
             waiting for the answer of broker 2; last: no answer came; possibly written"
        );
        assert!(failure.next_action().starts_with("Check the topic"));
    }

    fn failure(reason: FailureReason, possibly_written: bool) -> DeliveryFailure {
        DeliveryFailure {
            reason,
            stage: Stage::Sent,
            topic_partition: TopicPartition::new("clicks", PartitionIndex(3)),
            attempts: 1,
            last_error: None,
            waited: Duration::from_millis(7),
            waited_for: WaitedFor::Leader,
            unreachable: None,
            possibly_written,
        }
    }

    #[test]
    fn who_was_turned_away_is_told_by_whom_and_what_to_correct() {
        let waited_for = WaitedFor::Connection(BrokerId(2));
        let unreachable = |is_authentication| {
            Some(NoConnection { cause: "b:9093: SASL PLAIN: no".into(), is_authentication })
        };
        for possibly_written in [false, true] {
            let failure = failure(FailureReason::DeliveryTimeout, possibly_written);
            let away =
                DeliveryFailure { waited_for, unreachable: unreachable(false), ..failure.clone() };
            assert_eq!(away.next_action(), failure.next_action());
            let turned_away =
                DeliveryFailure { waited_for, unreachable: unreachable(true), ..failure };
            let told = turned_away.to_string();
            assert!(told.contains("a connection to broker 2 (b:9093: SASL PLAIN: no)"), "{told}");
            let action = turned_away.next_action();
            assert!(action.starts_with("Correct the certificates or the login"), "{action}");
            assert_eq!(action.contains("not in the log"), !possibly_written, "{action}");
        }
    }

    #[test]
    fn each_reason_says_what_ended_the_batch_and_what_to_do() {
        let denied = ErrorCode::TopicAuthorizationFailed;
        let fatal = |error| FailureReason::Fatal(error);
        let cases = [
            (FailureReason::DeliveryTimeout, "not delivered within delivery.timeout.ms"),
            (FailureReason::RetriesExhausted, "given up, retries are used up"),
            (FailureReason::Rejected(denied), "refused with TOPIC_AUTHORIZATION_FAILED"),
            (FailureReason::RecordTooLarge, "one record is more than the broker takes"),
            (FailureReason::SequenceLost, "the broker lost the producer's sequence"),
            (FailureReason::NotSealed("no zstd".to_owned()), "the batch can't be sealed (no zstd)"),
            (FailureReason::TransactionAborted, "its transaction is aborted"),
            (fatal(FatalError::Broker(ErrorCode::ProducerFenced)), "the producer can't go on ("),
            (fatal(FatalError::NoNextEpoch), "the producer can't go on ("),
            (FailureReason::Closed, "the producer was closed"),
        ];
        for (reason, start) in cases {
            for possibly_written in [false, true] {
                let failure = failure(reason.clone(), possibly_written);
                let text = failure.to_string();
                let tail = " after 7 ms, 1 attempt, waiting for the partition's leader; ";
                let end = if possibly_written { "possibly written" } else { "not written" };
                assert!(text.ends_with(&format!("{tail}{end}")), "{text}");
                assert!(text.starts_with(&format!("clicks-3: {start}")), "{text}");
                assert!(failure.next_action().ends_with('.'), "{text}");
            }
        }
    }

    #[test]
    fn what_is_possibly_written_is_never_to_be_sent_again_unseen() {
        let fatal = FailureReason::Fatal(FatalError::NoNextEpoch);
        for reason in [FailureReason::DeliveryTimeout, FailureReason::Closed, fatal] {
            assert!(failure(reason.clone(), true).next_action().starts_with("Check the topic"));
            assert!(!failure(reason, false).next_action().starts_with("Check the topic"));
        }
    }

    #[test]
    fn each_attempts_error_and_each_wait_is_told_in_words() {
        let broker = BrokerId(2);
        let waits = [
            (WaitedFor::Metadata, "the topic's metadata"),
            (WaitedFor::Memory, "buffer memory"),
            (WaitedFor::Batch, "the batch to fill"),
            (WaitedFor::ProducerId, "a producer id"),
            (WaitedFor::Leader, "the partition's leader"),
            (WaitedFor::Connection(broker), "a connection to broker 2"),
            (WaitedFor::Room(broker), "the requests in flight to broker 2"),
            (WaitedFor::Throttle(broker), "the throttle time of broker 2"),
            (WaitedFor::EarlierBatch, "an earlier batch of the partition"),
            (WaitedFor::Epoch, "a new producer epoch"),
            (WaitedFor::Backoff, "the next attempt"),
            (WaitedFor::Compression, "its compression"),
            (WaitedFor::Answer(broker), "the answer of broker 2"),
        ];
        for (wait, text) in waits {
            assert_eq!(wait.to_string(), text);
        }
        for (error, text) in [
            (AttemptError::NoAnswer, "no answer came"),
            (AttemptError::NotSent, "the request could not be sent"),
            (AttemptError::NotAnswered, "the broker's answer left the partition out"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
