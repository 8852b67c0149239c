//! The states of a transactional producer, and the one table that says which follows which.

use std::fmt;

/// Where a transactional producer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionState {
    /// Nothing was asked of the coordinator yet.
    Uninitialized,
    /// A producer id was asked for; an older producer of the same name is fenced by that.
    Initializing,
    /// No transaction is open.
    Ready,
    /// A begin was asked for; a new epoch comes first if one is needed.
    Beginning,
    /// A transaction is open.
    InTransaction,
    /// A commit was asked for, and its outcome isn't known.
    Committing,
    /// An abort was asked for, and its outcome isn't known.
    Aborting,
    /// Something failed in the transaction: it can only be aborted.
    AbortableError,
    /// There is no way on for this producer.
    FatalError,
}

/// What a caller may ask of a transactional producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionOperation {
    /// Become the one producer of this name.
    Init,
    /// Open a transaction.
    Begin,
    /// Add offsets that a group has consumed to it.
    SendOffsets,
    /// Commit it.
    Commit,
    /// Abort it.
    Abort,
}

/// What happens to a transactional producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionEvent {
    /// A caller asks.
    Asked(TransactionOperation),
    /// The coordinator gave a producer id.
    Initialized,
    /// Nothing stands in the way of the transaction that was begun.
    Begun,
    /// The coordinator has committed or aborted.
    Ended,
    /// Something failed that an abort mends.
    Failed,
    /// Something failed for good.
    FailedForGood,
}

/// The operation has no place in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAllowed;

impl TransactionState {
    /// The transition table.
    pub(crate) fn next(self, event: TransactionEvent) -> Result<Self, NotAllowed> {
        use TransactionEvent::{Asked, Begun, Ended, Failed, FailedForGood, Initialized};
        use TransactionState as State;
        match (self, event) {
            (state, Asked(operation)) => state.asked(operation),

            (State::Initializing, Initialized) => Ok(State::Ready),
            (State::Beginning, Begun) => Ok(State::InTransaction),
            (State::Committing | State::Aborting, Ended) => Ok(State::Ready),

            // Nothing is lost yet, so the operation can be asked for again.
            (State::Initializing, Failed) => Ok(State::Uninitialized),
            (State::Beginning, Failed) => Ok(State::Ready),
            (State::InTransaction | State::Committing, Failed) => Ok(State::AbortableError),

            (
                State::Uninitialized
                | State::Initializing
                | State::Ready
                | State::Beginning
                | State::InTransaction
                | State::Committing
                | State::Aborting
                | State::AbortableError
                | State::FatalError,
                FailedForGood,
            ) => Ok(State::FatalError),

            // News that come late, or are none.
            (
                State::Uninitialized
                | State::Ready
                | State::Aborting
                | State::AbortableError
                | State::FatalError,
                Initialized | Begun | Failed,
            )
            | (State::Initializing, Begun | Ended)
            | (State::Beginning, Initialized | Ended)
            | (State::InTransaction, Initialized | Begun | Ended)
            | (State::Committing, Initialized | Begun)
            | (
                State::Uninitialized | State::Ready | State::AbortableError | State::FatalError,
                Ended,
            ) => Ok(self),
        }
    }

    /// The table's part for what callers ask.
    fn asked(self, operation: TransactionOperation) -> Result<Self, NotAllowed> {
        use TransactionOperation::{Abort, Begin, Commit, Init, SendOffsets};
        use TransactionState as State;
        match (self, operation) {
            (State::Uninitialized, Init) => Ok(State::Initializing),
            (State::Ready, Begin) => Ok(State::Beginning),
            (State::InTransaction, SendOffsets) => Ok(State::InTransaction),
            (State::InTransaction, Commit) => Ok(State::Committing),
            (State::InTransaction | State::AbortableError, Abort) => Ok(State::Aborting),
            (State::Uninitialized, Begin | SendOffsets | Commit | Abort)
            | (State::Ready, Init | SendOffsets | Commit | Abort)
            | (State::InTransaction, Init | Begin)
            | (State::AbortableError, Init | Begin | SendOffsets | Commit)
            | (
                State::Initializing
                | State::Beginning
                | State::Committing
                | State::Aborting
                | State::FatalError,
                Init | Begin | SendOffsets | Commit | Abort,
            ) => Err(NotAllowed),
        }
    }

    /// Whether records may be sent.
    #[must_use]
    pub const fn takes_records(self) -> bool {
        matches!(self, Self::InTransaction)
    }

    /// Whether there is a transaction that has not ended.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Self::InTransaction | Self::Committing | Self::Aborting | Self::AbortableError
        )
    }

    /// Whether what was not sent yet has no use any more.
    pub(crate) const fn gives_up_records(self) -> bool {
        matches!(self, Self::Aborting | Self::AbortableError)
    }
}

impl TransactionOperation {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Init, Self::Begin, Self::SendOffsets, Self::Commit, Self::Abort];

    /// Whether it ends the transaction.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Commit | Self::Abort)
    }
}

impl fmt::Display for TransactionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Uninitialized => "transactions are not initialized",
            Self::Initializing => "transactions are being initialized",
            Self::Ready => "no transaction is open",
            Self::Beginning => "a transaction is being opened",
            Self::InTransaction => "a transaction is open",
            Self::Committing => "the transaction is being committed",
            Self::Aborting => "the transaction is being aborted",
            Self::AbortableError => "the transaction has failed and can only be aborted",
            Self::FatalError => "the producer can't go on",
        })
    }
}

impl fmt::Display for TransactionOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Init => "init_transactions",
            Self::Begin => "begin_transaction",
            Self::SendOffsets => "send_offsets",
            Self::Commit => "commit",
            Self::Abort => "abort",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::TransactionOperation::{Abort, Begin, Commit, Init, SendOffsets};
    use super::*;
    use crate::transaction::TransactionState as State;

    const STATES: [State; 9] = [
        State::Uninitialized,
        State::Initializing,
        State::Ready,
        State::Beginning,
        State::InTransaction,
        State::Committing,
        State::Aborting,
        State::AbortableError,
        State::FatalError,
    ];

    fn asked(state: State, operation: TransactionOperation) -> Option<State> {
        state.next(TransactionEvent::Asked(operation)).ok()
    }

    #[test]
    fn each_operation_is_allowed_in_its_states_and_in_no_other() {
        let allowed = [
            (State::Uninitialized, Init, State::Initializing),
            (State::Ready, Begin, State::Beginning),
            (State::InTransaction, SendOffsets, State::InTransaction),
            (State::InTransaction, Commit, State::Committing),
            (State::InTransaction, Abort, State::Aborting),
            (State::AbortableError, Abort, State::Aborting),
        ];
        for state in STATES {
            for operation in TransactionOperation::ALL {
                let row = allowed.iter().find(|(s, o, _)| (*s, *o) == (state, operation));
                let expected = row.map(|(_, _, next)| *next);
                assert_eq!(asked(state, operation), expected, "{state:?}, {operation}");
            }
        }
    }

    #[test]
    fn a_life_of_two_transactions() {
        let mut state = State::Uninitialized;
        for (event, expected) in [
            (TransactionEvent::Asked(Init), State::Initializing),
            (TransactionEvent::Initialized, State::Ready),
            (TransactionEvent::Asked(Begin), State::Beginning),
            (TransactionEvent::Begun, State::InTransaction),
            (TransactionEvent::Asked(Commit), State::Committing),
            (TransactionEvent::Ended, State::Ready),
            (TransactionEvent::Asked(Begin), State::Beginning),
            (TransactionEvent::Begun, State::InTransaction),
            (TransactionEvent::Failed, State::AbortableError),
            (TransactionEvent::Asked(Abort), State::Aborting),
            (TransactionEvent::Failed, State::Aborting),
            (TransactionEvent::Ended, State::Ready),
        ] {
            state = state.next(event).unwrap();
            assert_eq!(state, expected, "{event:?}");
        }
    }

    #[test]
    fn failures_27_nothing_begins_and_nothing_is_aborted_while_a_commit_is_unknown() {
        for operation in TransactionOperation::ALL {
            assert_eq!(asked(State::Committing, operation), None, "{operation}");
        }
        let failed = State::Committing.next(TransactionEvent::Failed);
        assert_eq!(failed, Ok(State::AbortableError), "a record failed before the commit went out");
    }

    #[test]
    fn an_init_or_begin_that_failed_can_be_asked_for_again() {
        let again = |state: State| state.next(TransactionEvent::Failed).unwrap();
        assert_eq!(again(State::Initializing), State::Uninitialized);
        assert_eq!(again(State::Beginning), State::Ready);
    }

    #[test]
    fn failures_12_from_a_fatal_error_nothing_leads_away() {
        for state in STATES {
            let fatal = state.next(TransactionEvent::FailedForGood);
            assert_eq!(fatal, Ok(State::FatalError), "{state:?}");
        }
        for event in [
            TransactionEvent::Initialized,
            TransactionEvent::Begun,
            TransactionEvent::Ended,
            TransactionEvent::Failed,
        ] {
            assert_eq!(State::FatalError.next(event), Ok(State::FatalError), "{event:?}");
        }
    }

    #[test]
    fn late_news_change_nothing() {
        let ready = State::Ready;
        for event in [
            TransactionEvent::Initialized,
            TransactionEvent::Begun,
            TransactionEvent::Ended,
            TransactionEvent::Failed,
        ] {
            assert_eq!(ready.next(event), Ok(ready), "{event:?}");
        }
    }

    #[test]
    fn records_are_taken_only_in_a_transaction() {
        let taking: Vec<State> = STATES.into_iter().filter(|s| s.takes_records()).collect();
        assert_eq!(taking, [State::InTransaction]);
    }
}
