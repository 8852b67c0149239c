//! Where callers on any thread ask for a transaction's operations and wait for their outcome.
//!
//! 1. There is one operation at a time, and its outcome is kept until somebody has heard it.
//! 2. Until then the same operation is the only one that can be asked for: it joins the first.
//! 3. What a guard that was dropped leaves behind is aborted, and nobody needs to hear of that.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::error::{TransactionError, TransactionErrorKind, TransactionProgress};
use super::question::GroupOffsets;
use super::state::TransactionOperation;

/// An operation on its way to the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionCommand {
    /// Which.
    pub operation: TransactionOperation,
    /// With [`TransactionOperation::SendOffsets`]: what.
    pub offsets: Option<Box<GroupOffsets>>,
}

/// The end of an operation, for who waits at the desk.
#[derive(Debug)]
pub struct SettledOperation {
    pub(crate) operation: TransactionOperation,
    pub(crate) outcome: Result<(), Box<TransactionError>>,
}

/// Whether an operation was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeskAnswer {
    /// It is to be given to the sender: wake it. Then wait.
    Taken,
    /// The same operation goes on already. Wait.
    Joined,
    /// A transaction whose guard was dropped is being aborted. Ask again when that is over.
    Aborting,
}

/// The desk of one producer.
#[derive(Debug, Default)]
pub struct TransactionDesk {
    state: Mutex<DeskState>,
}

#[derive(Debug, Default)]
struct DeskState {
    pending: Option<Pending>,
    /// For the sender to take.
    command: Option<TransactionCommand>,
    /// A transaction was begun and has not ended.
    open: bool,
    closed: bool,
    /// What was heard last, for others who waited for the same.
    heard: Option<(TransactionOperation, Result<(), Box<TransactionError>>)>,
    wakers: Vec<Waker>,
    /// How far the operation has come that goes on.
    progress: TransactionProgress,
}

#[derive(Debug)]
struct Pending {
    operation: TransactionOperation,
    outcome: Option<Result<(), Box<TransactionError>>>,
    /// Nobody waits for it.
    unattended: bool,
    /// The guard was dropped meanwhile: abort when it is over.
    then_abort: bool,
}

impl TransactionDesk {
    /// Asks for an operation.
    ///
    /// # Errors
    /// Another one is to be asked for first, or the producer is closed.
    pub fn ask(&self, command: TransactionCommand) -> Result<DeskAnswer, Box<TransactionError>> {
        let mut state = self.state.lock();
        let (operation, closed) = (command.operation, state.closed);
        match &mut state.pending {
            Some(pending) if pending.unattended || pending.then_abort => {
                if operation == TransactionOperation::Abort && pending.unattended {
                    pending.unattended = false;
                    return Ok(DeskAnswer::Joined);
                }
                Ok(DeskAnswer::Aborting)
            }
            Some(pending) if pending.operation == operation => Ok(DeskAnswer::Joined),
            Some(pending) => {
                let kind = TransactionErrorKind::OtherPending(pending.operation);
                Err(refused(operation, kind))
            }
            None if closed => Err(refused(operation, TransactionErrorKind::Closed)),
            None => {
                state.begin(command, false);
                Ok(DeskAnswer::Taken)
            }
        }
    }

    /// The outcome of an operation that was asked for, once; the waker is woken when it is there.
    pub fn poll_outcome(
        &self,
        operation: TransactionOperation,
        waker: &Waker,
    ) -> Poll<Result<(), Box<TransactionError>>> {
        let mut state = self.state.lock();
        let ours = state
            .pending
            .take_if(|pending| pending.operation == operation && pending.outcome.is_some());
        match ours.and_then(|pending| pending.outcome) {
            Some(outcome) => {
                state.heard = Some((operation, outcome.clone()));
                // Others may wait for the same, or for their turn.
                state.wake_all();
                Poll::Ready(outcome)
            }
            None if !state.is_pending(operation) => Poll::Ready(match &state.heard {
                Some((heard, outcome)) if *heard == operation => outcome.clone(),
                _ => Err(refused(operation, TransactionErrorKind::Closed)),
            }),
            None => {
                state.register(waker);
                Poll::Pending
            }
        }
    }

    /// Ends when no abort that nobody waits for goes on.
    pub fn poll_aborted(&self, waker: &Waker) -> Poll<()> {
        let mut state = self.state.lock();
        let is_aborting =
            state.pending.as_ref().is_some_and(|pending| pending.unattended || pending.then_abort);
        if !is_aborting {
            return Poll::Ready(());
        }
        state.register(waker);
        Poll::Pending
    }

    /// The guard of a transaction is gone: what is open is aborted, without anybody waiting. A
    /// commit or abort whose outcome nobody has heard stays to be heard. Wake the sender after.
    pub fn leave(&self) {
        let mut state = self.state.lock();
        match &mut state.pending {
            Some(pending) if pending.operation.is_end() => {}
            Some(pending) if pending.outcome.is_none() => pending.then_abort = true,
            Some(_) | None => {
                state.pending = None;
                if state.open && !state.closed {
                    let operation = TransactionOperation::Abort;
                    state.begin(TransactionCommand { operation, offsets: None }, true);
                }
            }
        }
    }

    /// Whether there is a transaction that has not ended, or whose end nobody has heard.
    #[must_use]
    pub fn has_transaction(&self) -> bool {
        let state = self.state.lock();
        let unheard = state.pending.as_ref();
        state.open || unheard.is_some_and(|pending| pending.operation.is_end())
    }

    /// Keeps how far the operation has come that goes on, for who gives up waiting for it.
    pub fn note_progress(&self, progress: TransactionProgress) {
        self.state.lock().progress = progress;
    }

    /// The error of who gives up waiting for an operation. It goes on.
    #[must_use]
    pub fn timed_out(
        &self,
        operation: TransactionOperation,
        waited: Duration,
    ) -> Box<TransactionError> {
        let (kind, progress) = (TransactionErrorKind::TimedOut, self.state.lock().progress);
        Box::new(TransactionError::new(operation, kind, progress, waited))
    }

    /// The error of who doesn't wait on, as no broker lets the client in; the operation goes on.
    pub fn turned_away(
        &self,
        operation: TransactionOperation,
        cause: Arc<str>,
        waited: Duration,
    ) -> Box<TransactionError> {
        let (kind, progress) =
            (TransactionErrorKind::TurnedAway(cause), self.state.lock().progress);
        Box::new(TransactionError::new(operation, kind, progress, waited))
    }

    /// The command for the sender, if there is one.
    pub fn take_command(&self) -> Option<TransactionCommand> {
        self.state.lock().command.take()
    }

    /// No operation ends any more but with this.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.command = None;
        if let Some(pending) = &mut state.pending
            && pending.outcome.is_none()
        {
            let closed = refused(pending.operation, TransactionErrorKind::Closed);
            pending.outcome = Some(Err(closed));
        }
        state.wake_all();
    }

    fn settle(&self, settled: SettledOperation) {
        let SettledOperation { operation, outcome } = settled;
        let mut state = self.state.lock();
        if outcome.is_ok() {
            match operation {
                TransactionOperation::Begin => state.open = true,
                TransactionOperation::Commit | TransactionOperation::Abort => state.open = false,
                TransactionOperation::Init | TransactionOperation::SendOffsets => {}
            }
        } else if outcome.as_ref().is_err_and(|error| error.is_fatal()) {
            state.open = false;
        }
        let Some(pending) = state.pending.as_mut().filter(|p| p.operation == operation) else {
            return;
        };
        pending.outcome = Some(outcome);
        let (unattended, then_abort) = (pending.unattended, pending.then_abort);
        if unattended || then_abort {
            state.pending = None;
        }
        if then_abort && state.open {
            let operation = TransactionOperation::Abort;
            state.begin(TransactionCommand { operation, offsets: None }, true);
        }
        state.wake_all();
    }
}

impl DeskState {
    fn begin(&mut self, command: TransactionCommand, unattended: bool) {
        let operation = command.operation;
        self.pending = Some(Pending { operation, outcome: None, unattended, then_abort: false });
        self.command = Some(command);
        self.progress = TransactionProgress::default();
    }

    fn is_pending(&self, operation: TransactionOperation) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.operation == operation)
    }

    fn register(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|other| other.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }

    fn wake_all(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

impl SettledOperation {
    /// An operation for which no broker was asked.
    pub(crate) fn refused(operation: TransactionOperation, kind: TransactionErrorKind) -> Self {
        Self { operation, outcome: Err(refused(operation, kind)) }
    }

    /// Wakes who waits for it.
    pub fn deliver(self, desk: &TransactionDesk) {
        desk.settle(self);
    }

    /// Which operation it was.
    #[must_use]
    pub fn operation(&self) -> TransactionOperation {
        self.operation
    }

    /// How it ended.
    ///
    /// # Errors
    /// It failed.
    pub fn outcome(&self) -> Result<(), &TransactionError> {
        match &self.outcome {
            Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn refused(operation: TransactionOperation, kind: TransactionErrorKind) -> Box<TransactionError> {
    Box::new(TransactionError::refused(operation, kind))
}

#[cfg(test)]
mod tests {
    use super::TransactionOperation::{Abort, Begin, Commit, SendOffsets};
    use super::*;

    fn ask(
        desk: &TransactionDesk,
        operation: TransactionOperation,
    ) -> Result<DeskAnswer, Box<TransactionError>> {
        desk.ask(TransactionCommand { operation, offsets: None })
    }

    fn settle(desk: &TransactionDesk, operation: TransactionOperation) {
        SettledOperation { operation, outcome: Ok(()) }.deliver(desk);
    }

    fn taken(desk: &TransactionDesk) -> Option<TransactionOperation> {
        desk.take_command().map(|command| command.operation)
    }

    fn hear(desk: &TransactionDesk, operation: TransactionOperation) -> bool {
        desk.poll_outcome(operation, Waker::noop()).is_ready()
    }

    fn with_open_transaction() -> TransactionDesk {
        let desk = TransactionDesk::default();
        assert_eq!(ask(&desk, Begin).unwrap(), DeskAnswer::Taken);
        assert_eq!(taken(&desk), Some(Begin));
        settle(&desk, Begin);
        assert!(hear(&desk, Begin) && desk.has_transaction());
        desk
    }

    #[test]
    fn failures_27_a_commit_that_nobody_heard_of_is_the_only_thing_to_ask_for() {
        let desk = with_open_transaction();
        assert_eq!(ask(&desk, Commit).unwrap(), DeskAnswer::Taken);
        assert!(!hear(&desk, Commit), "the caller's time is over");
        for (moment, settled) in [("before", false), ("after", true)] {
            if settled {
                settle(&desk, Commit);
            }
            for other in [Begin, Abort, SendOffsets] {
                let kind = ask(&desk, other).unwrap_err().kind;
                let pending = matches!(kind, TransactionErrorKind::OtherPending(Commit));
                assert!(pending, "{moment} its end: {kind:?}");
            }
            assert!(desk.has_transaction(), "{moment} its end");
            assert_eq!(ask(&desk, Commit).unwrap(), DeskAnswer::Joined);
        }
        assert!(hear(&desk, Commit));
        assert!(!desk.has_transaction());
        assert_eq!(ask(&desk, Begin).unwrap(), DeskAnswer::Taken);
    }

    #[test]
    fn a_guard_that_is_dropped_leaves_an_abort_that_a_begin_waits_for() {
        let desk = with_open_transaction();
        desk.leave();
        assert_eq!(taken(&desk), Some(Abort));
        assert_eq!(ask(&desk, Begin).unwrap(), DeskAnswer::Aborting);
        assert!(desk.poll_aborted(Waker::noop()).is_pending());
        settle(&desk, Abort);
        assert!(desk.poll_aborted(Waker::noop()).is_ready());
        assert_eq!(ask(&desk, Begin).unwrap(), DeskAnswer::Taken);
    }

    #[test]
    fn a_guard_that_is_dropped_in_a_commit_leaves_the_commit() {
        let desk = with_open_transaction();
        ask(&desk, Commit).unwrap();
        assert_eq!(taken(&desk), Some(Commit));
        desk.leave();
        assert_eq!(taken(&desk), None, "no abort");
        assert!(ask(&desk, Begin).is_err(), "its outcome is to be heard");
    }

    #[test]
    fn a_guard_that_is_dropped_while_offsets_are_sent_aborts_after_them() {
        let desk = with_open_transaction();
        ask(&desk, SendOffsets).unwrap();
        assert_eq!(taken(&desk), Some(SendOffsets));
        desk.leave();
        assert_eq!(taken(&desk), None);
        settle(&desk, SendOffsets);
        assert_eq!(taken(&desk), Some(Abort));
    }

    #[test]
    fn a_closed_desk_ends_what_is_pending_and_takes_nothing_more() {
        let desk = with_open_transaction();
        ask(&desk, Commit).unwrap();
        desk.close();
        let Poll::Ready(Err(error)) = desk.poll_outcome(Commit, Waker::noop()) else {
            panic!("it goes on")
        };
        assert!(matches!(error.kind, TransactionErrorKind::Closed));
        assert!(ask(&desk, Begin).is_err());
    }
}
