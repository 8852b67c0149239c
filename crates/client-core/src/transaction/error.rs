//! Why a transaction's operation failed, with all that is known, and what the caller may do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use streamledger_protocol::{ErrorCode, TopicPartition};

use super::state::{TransactionOperation, TransactionState};
use super::verdict::TransactionApi;
use crate::failure::{AttemptError, DeliveryFailure, FailureReason, FatalError};

/// Why an operation on transactions failed.
///
/// Printed, it is one sentence of what happened; [`TransactionError::next_action`] says what to do.
#[derive(Debug, Clone)]
pub struct TransactionError {
    /// What was asked for.
    pub operation: TransactionOperation,
    /// What went wrong.
    pub kind: TransactionErrorKind,
    /// How far it had come.
    pub stage: TransactionStage,
    /// How often a broker was asked for it.
    pub attempts: u32,
    /// What went wrong with the last of those, if anything had.
    pub last_error: Option<AttemptError>,
    /// How long it was waited for.
    pub waited: Duration,
}

/// How far an operation on transactions has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TransactionStage {
    /// It was asked for, and nothing is done for it yet.
    #[default]
    Requested,
    /// The transaction's records are on their way to their partitions, each at a
    /// [`Stage`](crate::stage::Stage) of its own.
    Delivering,
    /// A coordinator is asked, or has to be asked again.
    Asking(TransactionApi),
}

/// Where an operation stands, for who gives up waiting for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransactionProgress {
    /// How far it has come.
    pub stage: TransactionStage,
    /// How often a broker was asked for it.
    pub attempts: u32,
    /// What went wrong with the last of those, if anything had.
    pub last_error: Option<AttemptError>,
}

/// What went wrong with a transaction.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TransactionErrorKind {
    /// The producer has no `transactional.id`.
    NotTransactional,
    /// The operation has no place in this state.
    NotAllowed(TransactionState),
    /// Another operation goes on, or nobody has heard its outcome: that one is to be asked for.
    OtherPending(TransactionOperation),
    /// There was no answer within `max.block.ms`. The operation goes on.
    TimedOut,
    /// No broker lets us in, or none is trusted: certificates, or the login. The operation goes on,
    /// and is asked for again, once that is corrected.
    TurnedAway(Arc<str>),
    /// The transaction can only be aborted.
    Abortable(AbortCause),
    /// The producer as a whole can't go on.
    Fatal(FatalError),
    /// The producer was closed before the operation was over.
    Closed,
    /// A callback asked for something that waits for the thread it runs on. Nothing was done.
    WouldDeadlock,
}

/// Why a transaction can only be aborted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AbortCause {
    /// A record of it was not delivered.
    NotDelivered(Arc<DeliveryFailure>),
    /// A coordinator refused.
    Refused {
        /// What was asked.
        api: TransactionApi,
        /// What it said.
        error: ErrorCode,
    },
    /// The topic was deleted and made anew.
    TopicRecreated(TopicPartition),
}

impl TransactionError {
    /// The error of an operation that has come so far.
    #[must_use]
    pub fn new(
        operation: TransactionOperation,
        kind: TransactionErrorKind,
        progress: TransactionProgress,
        waited: Duration,
    ) -> Self {
        let TransactionProgress { stage, attempts, last_error } = progress;
        Self { operation, kind, stage, attempts, last_error, waited }
    }

    /// The error of an operation for which nothing was done.
    #[must_use]
    pub fn refused(operation: TransactionOperation, kind: TransactionErrorKind) -> Self {
        Self::new(operation, kind, TransactionProgress::default(), Duration::ZERO)
    }

    /// The partition that it is about, if it is about one.
    #[must_use]
    pub fn topic_partition(&self) -> Option<&TopicPartition> {
        match &self.kind {
            TransactionErrorKind::Abortable(AbortCause::NotDelivered(failure)) => {
                Some(&failure.topic_partition)
            }
            TransactionErrorKind::Abortable(AbortCause::TopicRecreated(partition)) => {
                Some(partition)
            }
            _ => None,
        }
    }

    /// Whether the transaction may have ended all the same: the outcome of a commit or an abort is
    /// not known. It will be: the same operation is to be called again.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        match &self.kind {
            TransactionErrorKind::TimedOut
            | TransactionErrorKind::TurnedAway(_)
            | TransactionErrorKind::Closed => self.operation.is_end() && self.attempts > 0,
            TransactionErrorKind::OtherPending(pending) => pending.is_end(),
            TransactionErrorKind::NotTransactional
            | TransactionErrorKind::NotAllowed(_)
            | TransactionErrorKind::Abortable(_)
            | TransactionErrorKind::Fatal(_)
            | TransactionErrorKind::WouldDeadlock => false,
        }
    }

    /// Whether the transaction has to be aborted, after which the producer can go on.
    #[must_use]
    pub fn must_abort(&self) -> bool {
        matches!(
            self.kind,
            TransactionErrorKind::Abortable(_)
                | TransactionErrorKind::NotAllowed(TransactionState::AbortableError)
        )
    }

    /// Whether the producer can't go on.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(
            self.kind,
            TransactionErrorKind::Fatal(_)
                | TransactionErrorKind::Closed
                | TransactionErrorKind::NotAllowed(TransactionState::FatalError)
        )
    }

    /// Whether another producer with the same `transactional.id` has taken over, or the
    /// coordinator has aborted a transaction for its age.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        let fenced = FatalError::Broker(ErrorCode::ProducerFenced);
        match &self.kind {
            TransactionErrorKind::Fatal(error) => *error == fenced,
            _ => false,
        }
    }

    /// The last error that a broker gave, if any did.
    #[must_use]
    pub fn last_broker_error(&self) -> Option<ErrorCode> {
        match (&self.kind, self.last_error) {
            (TransactionErrorKind::Fatal(FatalError::Broker(error)), _)
            | (TransactionErrorKind::Abortable(AbortCause::Refused { error, .. }), _) => {
                Some(*error)
            }
            (_, Some(AttemptError::Broker(error))) => Some(error),
            (TransactionErrorKind::Abortable(AbortCause::NotDelivered(failure)), _) => {
                match (failure.last_error, &failure.reason) {
                    (Some(AttemptError::Broker(error)), _) => Some(error),
                    (_, FailureReason::Rejected(error)) => Some(*error),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// What the caller may do: one sentence.
    #[must_use]
    pub fn next_action(&self) -> &'static str {
        use TransactionOperation::{Abort, Begin, Commit, Init, SendOffsets};
        match (&self.kind, self.operation) {
            (TransactionErrorKind::NotTransactional, _) => {
                "Set transactional.id in the producer's configuration."
            }
            (TransactionErrorKind::NotAllowed(state), operation) => not_allowed(*state, operation),
            (TransactionErrorKind::OtherPending(pending), _) => again(*pending),
            (TransactionErrorKind::TimedOut, operation) => again(operation),
            (TransactionErrorKind::TurnedAway(_), _) => {
                "Correct the certificates or the login, then call it again, or go on with a new \
                 producer of the same transactional.id."
            }
            (TransactionErrorKind::Abortable(_), Init) => "Call init_transactions again.",
            (TransactionErrorKind::Abortable(_), Begin) => "Call begin_transaction again.",
            (TransactionErrorKind::Abortable(_), SendOffsets | Commit | Abort) => {
                "Abort the transaction, then do its work again in a new one."
            }
            (TransactionErrorKind::Fatal(FatalError::Broker(ErrorCode::ProducerFenced)), _) => {
                "Stop: another producer has this transactional.id, or this one was silent for \
                 longer than transaction.timeout.ms; make a new producer if it is to take over."
            }
            (TransactionErrorKind::Fatal(_) | TransactionErrorKind::Closed, _) => {
                "Remove the cause, then go on with a new producer of the same transactional.id."
            }
            (TransactionErrorKind::WouldDeadlock, _) => {
                "Do it on another thread: callbacks run on the producer's own, which must not wait."
            }
        }
    }
}

fn again(pending: TransactionOperation) -> &'static str {
    match pending {
        TransactionOperation::Init => "Call init_transactions again: it goes on.",
        TransactionOperation::Begin => "Call begin_transaction again: it goes on.",
        TransactionOperation::SendOffsets => "Call send_offsets again: it goes on.",
        TransactionOperation::Commit => {
            "Call commit again, on the guard or on that of resume_transaction: it goes on, and \
             nothing else can be done before its outcome is known."
        }
        TransactionOperation::Abort => {
            "Call abort again, on the guard or on that of resume_transaction: it goes on."
        }
    }
}

fn not_allowed(state: TransactionState, operation: TransactionOperation) -> &'static str {
    match (state, operation) {
        (TransactionState::Uninitialized, _) => "Call init_transactions first.",
        (TransactionState::Ready, TransactionOperation::Init) => {
            "Go on with begin_transaction: it is initialized."
        }
        (TransactionState::Ready, _) => "Call begin_transaction first.",
        (TransactionState::InTransaction, _) => "Commit or abort the open transaction first.",
        (TransactionState::AbortableError, _) => {
            "Abort the transaction, then do its work again in a new one."
        }
        (TransactionState::FatalError, _) => {
            "Go on with a new producer of the same transactional.id."
        }
        (
            TransactionState::Initializing
            | TransactionState::Beginning
            | TransactionState::Committing
            | TransactionState::Aborting,
            _,
        ) => "Wait for the operation that goes on.",
    }
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, kind, stage, attempts, last_error, waited } = self;
        write!(f, "{operation}: ")?;
        match kind {
            TransactionErrorKind::NotTransactional => {
                f.write_str("the producer has no transactional.id")?;
            }
            TransactionErrorKind::NotAllowed(state) => write!(f, "{state}")?,
            TransactionErrorKind::OtherPending(pending) => {
                write!(f, "the outcome of {pending} is still to be heard")?;
            }
            TransactionErrorKind::TimedOut => {
                let waited_ms = waited.as_millis();
                write!(f, "no outcome within {waited_ms} ms, {stage}, {attempts} attempts")?;
                if let Some(error) = last_error {
                    write!(f, "; last: {error}")?;
                }
            }
            TransactionErrorKind::TurnedAway(cause) => f.write_str(cause)?,
            TransactionErrorKind::Abortable(cause) => {
                write!(f, "the transaction must be aborted: {cause}")?;
            }
            TransactionErrorKind::Fatal(error) => write!(f, "the producer can't go on: {error}")?,
            TransactionErrorKind::Closed => f.write_str("the producer was closed")?,
            TransactionErrorKind::WouldDeadlock => {
                f.write_str("a callback can't wait for the thread that it runs on")?;
            }
        }
        if self.is_outcome_unknown() { f.write_str("; outcome unknown") } else { Ok(()) }
    }
}

impl std::error::Error for TransactionError {}

impl fmt::Display for TransactionStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("not begun"),
            Self::Delivering => f.write_str("its records on their way"),
            Self::Asking(api) => write!(f, "at {api}"),
        }
    }
}

impl fmt::Display for AbortCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDelivered(failure) => fmt::Display::fmt(failure, f),
            Self::Refused { api, error } => write!(f, "{api}: {error}"),
            Self::TopicRecreated(tp) => write!(f, "{tp}: the topic was deleted and made anew"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(operation: TransactionOperation, kind: TransactionErrorKind) -> TransactionError {
        let progress = TransactionProgress {
            stage: TransactionStage::Asking(TransactionApi::EndTransaction),
            attempts: 3,
            last_error: Some(AttemptError::NoAnswer),
        };
        TransactionError::new(operation, kind, progress, Duration::from_secs(60))
    }

    #[test]
    fn failures_27_a_commit_without_an_answer_says_so_and_what_to_do() {
        let unknown = error(TransactionOperation::Commit, TransactionErrorKind::TimedOut);
        assert_eq!(
            unknown.to_string(),
            "commit: no outcome within 60000 ms, at EndTxn, 3 attempts; last: no answer came; \
             outcome unknown"
        );
        assert!(unknown.is_outcome_unknown() && !unknown.is_fatal() && !unknown.must_abort());
        assert!(unknown.next_action().starts_with("Call commit again"));
        let unsent = TransactionError { attempts: 0, ..unknown };
        assert!(!unsent.is_outcome_unknown(), "it still waits for records");
    }

    #[test]
    fn failures_12_a_fenced_producer_says_so() {
        let fenced = FatalError::Broker(ErrorCode::ProducerFenced);
        let fenced = error(TransactionOperation::Begin, TransactionErrorKind::Fatal(fenced));
        assert!(fenced.is_fenced() && fenced.is_fatal());
        assert!(fenced.to_string().contains("has taken over"), "{fenced}");
        assert!(fenced.next_action().starts_with("Stop:"));
        assert_eq!(fenced.last_broker_error(), Some(ErrorCode::ProducerFenced));
    }

    #[test]
    fn every_error_says_what_to_do() {
        let kinds = [
            TransactionErrorKind::NotTransactional,
            TransactionErrorKind::NotAllowed(TransactionState::Ready),
            TransactionErrorKind::NotAllowed(TransactionState::AbortableError),
            TransactionErrorKind::OtherPending(TransactionOperation::Commit),
            TransactionErrorKind::TimedOut,
            TransactionErrorKind::TurnedAway("no broker answered: b:1: SASL PLAIN: no".into()),
            TransactionErrorKind::Abortable(AbortCause::Refused {
                api: TransactionApi::AddOffsets,
                error: ErrorCode::GroupAuthorizationFailed,
            }),
            TransactionErrorKind::Closed,
            TransactionErrorKind::WouldDeadlock,
        ];
        for kind in kinds {
            for operation in TransactionOperation::ALL {
                let error = error(operation, kind.clone());
                assert!(error.next_action().ends_with('.') && !error.to_string().ends_with('.'));
            }
        }
    }
}
