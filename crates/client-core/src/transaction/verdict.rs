//! What a coordinator's error means: one pure function, one test a row. It follows the handlers of
//! Kafka's `TransactionManager`, and says where it doesn't.

use std::fmt;

use streamledger_protocol::{Disposition, ErrorCode};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionApi {
    /// FindCoordinator.
    FindCoordinator,
    /// InitProducerId, with a transactional id.
    InitProducerId,
    /// AddPartitionsToTxn.
    AddPartitions,
    /// AddOffsetsToTxn.
    AddOffsets,
    /// TxnOffsetCommit.
    CommitOffsets,
    /// EndTxn.
    EndTransaction,
}

/// What bears on the meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionContext {
    /// The coordinator gives a next epoch (KIP-360).
    pub gives_next_epoch: bool,
    /// The transaction is being aborted.
    pub aborting: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionVerdict {
    /// It is done.
    Done,
    /// Ask again after the backoff.
    Retry,
    /// Ask again after a short backoff: the transaction before this one is being finished.
    RetrySoon,
    /// Look for the coordinator after the backoff, then ask again.
    FindAndRetry,
    /// The transaction must be aborted.
    Abortable(ErrorCode),
    /// The coordinator no longer knows the producer: there is nothing to end at it, and the
    /// producer needs to be initialized anew.
    Forgotten(ErrorCode),
    /// Give up the producer.
    Fatal(ErrorCode),
}

impl TransactionVerdict {
    /// How much it outweighs another, for an answer of many partitions.
    pub(crate) const fn weight(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Retry => 1,
            Self::RetrySoon => 2,
            Self::FindAndRetry => 3,
            Self::Abortable(_) => 4,
            Self::Forgotten(_) => 5,
            Self::Fatal(_) => 6,
        }
    }
}

/// The meaning of an error in its context.
#[must_use]
pub fn judge_transaction(
    api: TransactionApi,
    error: ErrorCode,
    context: TransactionContext,
) -> TransactionVerdict {
    use TransactionVerdict::{Abortable, Done, Fatal, FindAndRetry, Forgotten, Retry, RetrySoon};
    match error {
        ErrorCode::None => Done,
        ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator
        | ErrorCode::RequestTimedOut
        | ErrorCode::NetworkException => match api {
            TransactionApi::FindCoordinator => Retry,
            TransactionApi::InitProducerId
            | TransactionApi::AddPartitions
            | TransactionApi::AddOffsets
            | TransactionApi::CommitOffsets
            | TransactionApi::EndTransaction => FindAndRetry,
        },
        ErrorCode::ConcurrentTransactions => RetrySoon,
        // Both mean that there is a newer producer of this name, or that the coordinator has
        // aborted the transaction for its age: brokers before Kafka 2.7 don't tell which.
        ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch => {
            Fatal(ErrorCode::ProducerFenced)
        }
        ErrorCode::UnknownProducerId | ErrorCode::InvalidProducerIdMapping
            if context.gives_next_epoch && api != TransactionApi::InitProducerId =>
        {
            Forgotten(error)
        }
        // An abort has no abort to fall back to.
        ErrorCode::TransactionAbortable
            if context.aborting && api == TransactionApi::EndTransaction =>
        {
            Fatal(error)
        }
        ErrorCode::TransactionAbortable
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::OperationNotAttempted
        | ErrorCode::FencedInstanceId
        | ErrorCode::UnknownMemberId
        | ErrorCode::IllegalGeneration
        | ErrorCode::StaleMemberEpoch
        | ErrorCode::RebalanceInProgress => Abortable(error),
        other => match other.disposition() {
            Disposition::Retriable | Disposition::RefreshMetadata => Retry,
            Disposition::Success | Disposition::Fatal => Fatal(other),
        },
    }
}

impl fmt::Display for TransactionApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::FindCoordinator => "FindCoordinator",
            Self::InitProducerId => "InitProducerId",
            Self::AddPartitions => "AddPartitionsToTxn",
            Self::AddOffsets => "AddOffsetsToTxn",
            Self::CommitOffsets => "TxnOffsetCommit",
            Self::EndTransaction => "EndTxn",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::TransactionVerdict::{Abortable, Done, Fatal, FindAndRetry, Forgotten, Retry};
    use super::*;

    const APIS: [TransactionApi; 6] = [
        TransactionApi::FindCoordinator,
        TransactionApi::InitProducerId,
        TransactionApi::AddPartitions,
        TransactionApi::AddOffsets,
        TransactionApi::CommitOffsets,
        TransactionApi::EndTransaction,
    ];
    const OPEN: TransactionContext = TransactionContext { gives_next_epoch: true, aborting: false };
    const ABORTING: TransactionContext = TransactionContext { aborting: true, ..OPEN };
    const BEFORE_2_5: TransactionContext = TransactionContext { gives_next_epoch: false, ..OPEN };

    fn each(error: ErrorCode, expected: impl Fn(TransactionApi) -> TransactionVerdict) {
        for api in APIS {
            assert_eq!(judge_transaction(api, error, OPEN), expected(api), "{api} {error}");
        }
    }

    #[test]
    fn no_error_is_done() {
        each(ErrorCode::None, |_| Done);
    }

    #[test]
    fn failures_29_a_coordinator_that_moved_is_looked_for_and_asked_again() {
        for moved in [
            ErrorCode::NotCoordinator,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::RequestTimedOut,
            ErrorCode::NetworkException,
        ] {
            each(moved, |api| match api {
                TransactionApi::FindCoordinator => Retry,
                _ => FindAndRetry,
            });
        }
    }

    #[test]
    fn failures_29_a_coordinator_that_loads_is_waited_for() {
        each(ErrorCode::CoordinatorLoadInProgress, |_| Retry);
    }

    #[test]
    fn the_end_of_the_transaction_before_is_waited_for_briefly() {
        each(ErrorCode::ConcurrentTransactions, |_| TransactionVerdict::RetrySoon);
    }

    #[test]
    fn a_topic_that_is_just_being_made_is_waited_for() {
        each(ErrorCode::UnknownTopicOrPartition, |_| Retry);
    }

    #[test]
    fn failures_12_and_28_an_old_epoch_is_fenced_for_good() {
        for fenced in [ErrorCode::ProducerFenced, ErrorCode::InvalidProducerEpoch] {
            each(fenced, |_| Fatal(ErrorCode::ProducerFenced));
        }
    }

    #[test]
    fn failures_31_a_commit_after_the_broker_aborted_is_never_a_success() {
        let end = TransactionApi::EndTransaction;
        for error in [ErrorCode::InvalidTxnState, ErrorCode::InvalidProducerEpoch] {
            assert!(matches!(judge_transaction(end, error, OPEN), Fatal(_)), "{error}");
        }
        let abortable = ErrorCode::TransactionAbortable;
        assert_eq!(judge_transaction(end, abortable, OPEN), Abortable(abortable));
    }

    #[test]
    fn a_producer_that_was_forgotten_begins_anew_where_the_broker_lets_it() {
        for error in [ErrorCode::UnknownProducerId, ErrorCode::InvalidProducerIdMapping] {
            each(error, |api| match api {
                TransactionApi::InitProducerId => Fatal(error),
                _ => Forgotten(error),
            });
            let end = TransactionApi::EndTransaction;
            assert_eq!(judge_transaction(end, error, BEFORE_2_5), Fatal(error));
        }
    }

    #[test]
    fn what_an_abort_mends_is_abortable() {
        for error in [
            ErrorCode::TransactionAbortable,
            ErrorCode::TopicAuthorizationFailed,
            ErrorCode::GroupAuthorizationFailed,
            ErrorCode::OperationNotAttempted,
            ErrorCode::FencedInstanceId,
            ErrorCode::UnknownMemberId,
            ErrorCode::IllegalGeneration,
            ErrorCode::StaleMemberEpoch,
            ErrorCode::RebalanceInProgress,
        ] {
            each(error, |_| Abortable(error));
        }
    }

    #[test]
    fn an_abort_that_can_not_be_done_is_fatal() {
        let (end, error) = (TransactionApi::EndTransaction, ErrorCode::TransactionAbortable);
        assert_eq!(judge_transaction(end, error, ABORTING), Fatal(error));
    }

    #[test]
    fn everything_else_ends_the_producer() {
        for error in [
            ErrorCode::TransactionalIdAuthorizationFailed,
            ErrorCode::ClusterAuthorizationFailed,
            ErrorCode::InvalidTxnState,
            ErrorCode::InvalidTransactionTimeout,
            ErrorCode::UnsupportedVersion,
            ErrorCode::UnsupportedForMessageFormat,
            ErrorCode::UnknownServerError,
            ErrorCode::Unknown(9999),
        ] {
            each(error, |_| Fatal(error));
        }
    }
}
