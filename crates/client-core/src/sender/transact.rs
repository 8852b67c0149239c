//! The sender's part in transactions: it drives the dialogue with the coordinators, holds records
//! back or gives them up as that asks, and tells it when nothing is left to send.

use std::time::Instant;

use super::Sender;
use super::batch::Failing;
use super::effect::Effect;
use crate::accumulator::Gate;
use crate::failure::{FailureReason, FatalError};
use crate::idempotence::IdentityEvent;
#[cfg(feature = "planted-bugs")]
use crate::planted_bugs::PlantedBug;
use crate::transaction::{
    AbortCause, Applied, Dialogue, Renewal, SettledOperation, TransactionAnswer,
    TransactionCommand, TransactionErrorKind, TransactionOperation, TransactionProgress,
    TransactionState, TransactionVersion, Turn,
};

impl Sender {
    /// Where the producer stands with its transactions, if it has any.
    #[must_use]
    pub fn transaction_state(&self) -> Option<TransactionState> {
        self.transaction.as_deref().map(Dialogue::state)
    }

    /// How far the operation on its transactions has come that goes on.
    #[must_use]
    pub fn transaction_progress(&self) -> Option<TransactionProgress> {
        self.transaction.as_deref()?.progress()
    }

    /// A caller asks for something.
    pub(super) fn on_command(&mut self, now: Instant, command: TransactionCommand) {
        let operation = command.operation;
        let Some(dialogue) = self.transaction.as_deref_mut() else {
            let kind = TransactionErrorKind::NotTransactional;
            return self.settle_operation(Some(SettledOperation::refused(operation, kind)));
        };
        match dialogue.begin(now, command) {
            Ok(()) if operation.is_end() => self.stop_records(operation),
            Ok(()) => {}
            Err(refused) => self.settle_operation(Some(refused)),
        }
    }

    /// The producer is closing: a transaction that is open is aborted.
    pub(super) fn on_closing(&mut self) {
        if self.transaction.as_deref_mut().is_some_and(Dialogue::abort_unasked) {
            self.stop_records(TransactionOperation::Abort);
        }
    }

    /// The time to close is over.
    pub(super) fn close_transaction(&mut self, now: Instant) {
        let settled = self.transaction.as_deref_mut().and_then(|dialogue| dialogue.close(now));
        self.settle_operation(settled);
    }

    /// No more records for the transaction that ends. When this returns, those that were being
    /// appended are in the queues.
    fn stop_records(&mut self, operation: TransactionOperation) {
        self.accumulator.set_gate(Gate::NoTransaction);
        if operation == TransactionOperation::Commit {
            // Ready at once: nobody adds to them any more.
            let _ = self.accumulator.begin_flush();
        }
    }

    /// An answer of a coordinator, or none.
    pub(super) fn on_answer(&mut self, now: Instant, answer: TransactionAnswer) {
        let identity = self.identity.current();
        let Some(dialogue) = self.transaction.as_deref_mut() else { return };
        let number = dialogue.number();
        #[cfg(feature = "planted-bugs")]
        let answer = planted_answer(&self.config, dialogue, answer);
        match dialogue.answered(identity, answer) {
            Applied::Nothing => {}
            Applied::Again { at_most } => {
                let failures = dialogue.count_failure();
                let wait = self.config.retry_backoff.wait(failures, &*self.random);
                dialogue.wait_until(now + at_most.map_or(wait, |at_most| wait.min(at_most)));
            }
            Applied::Identity(identity) => {
                self.identity = self.identity.next(IdentityEvent::Renewed(identity));
                let settled = dialogue.initialized();
                self.settle_operation(settled);
            }
            Applied::PartitionsAdded(slots) => {
                for slot in slots {
                    if let Some(partition) = self.partition(slot) {
                        partition.added_to = number;
                    }
                }
            }
            Applied::Settled(settled) => self.settle_operation(Some(settled)),
            Applied::Abortable(cause) => self.fail_transaction(now, cause),
            Applied::Fatal(error) => self.end_for_good(now, error),
        }
    }

    /// The transaction can only be aborted. Records that are still queued are given up in the next
    /// round.
    pub(super) fn fail_transaction(&mut self, now: Instant, cause: AbortCause) {
        #[cfg(feature = "planted-bugs")]
        if matches!(cause, AbortCause::NotDelivered(_))
            && self.config.has_bug(PlantedBug::CommitWithoutFailedRecord)
        {
            return;
        }
        let Some(dialogue) = self.transaction.as_deref_mut() else { return };
        let settled = dialogue.fail(now, cause);
        if dialogue.state() == TransactionState::AbortableError {
            self.accumulator.set_gate(Gate::TransactionFailed);
        }
        self.settle_operation(settled);
    }

    /// A transactional producer needs another identity after this transaction; the one it has goes
    /// on until its end.
    pub(super) fn renew_identity(&mut self, now: Instant, slot: usize) {
        let topic_partition = self.partition(slot).map(|p| p.topic_partition.clone());
        let Some(dialogue) = self.transaction.as_deref_mut() else { return };
        if let Err(fatal) = dialogue.renew(Renewal::NextEpoch) {
            return self.end_for_good(now, fatal);
        }
        if dialogue.can_fail()
            && let Some(topic_partition) = topic_partition
        {
            // No news where a batch of it has failed before.
            self.fail_transaction(now, AbortCause::TopicRecreated(topic_partition));
        }
    }

    fn end_for_good(&mut self, now: Instant, error: FatalError) {
        self.fail_for_good(now, IdentityEvent::Failed(error), error);
    }

    /// The dialogue's part in [`Sender::fail_for_good`].
    pub(super) fn fail_dialogue(&mut self, now: Instant, error: FatalError) {
        let dialogue = self.transaction.as_deref_mut();
        let settled = dialogue.and_then(|dialogue| dialogue.fail_for_good(now, error));
        self.settle_operation(settled);
    }

    /// Gives up what has no use any more: the transaction is aborted, or can only be. What is in
    /// flight is awaited. With version 1 also what may have been written is sent until that is
    /// known, for only its answer shows that no copy of it is on its way any more; with version 2
    /// the abort's new epoch keeps such a copy out.
    pub(super) fn give_up_unsent(&mut self, now: Instant) {
        let Some(dialogue) = self.transaction.as_deref() else { return };
        if !dialogue.state().gives_up_records() {
            return;
        }
        let until_known = dialogue.version() == TransactionVersion::V1;
        let identity = self.identity;
        for place in 0..self.active.len() {
            let slot = self.active[place];
            let Some(partition) = self.partition(slot) else { continue };
            let failing = Failing {
                reason: FailureReason::TransactionAborted,
                waited_for: partition.waited_for,
                now,
            };
            let mut completed = partition.give_up_queued(&failing);
            let keep = until_known && !partition.is_broken(identity);
            let mut lost = false;
            partition.unresolved.retain_mut(|batch| {
                let stays = !batch.is_waiting() || (keep && batch.attempts.possibly_written);
                if !stays {
                    lost = true;
                    completed.extend(batch.fail(&failing));
                }
                stays
            });
            for batch in completed {
                self.complete(now, batch);
            }
            if lost {
                self.lose_sequence(now, slot, crate::idempotence::ResetTo::NextEpoch);
            }
        }
    }

    /// Asks the coordinator what is to be asked, and ends what has come to its end.
    pub(super) fn see_to_transaction(&mut self, now: Instant) {
        let ends =
            |state| matches!(state, TransactionState::Committing | TransactionState::Aborting);
        let Some(state) = self.transaction_state() else { return };
        let drained = ends(state) && self.is_all_resolved();
        #[cfg(feature = "planted-bugs")]
        let drained = drained || self.config.has_bug(PlantedBug::CommitBeforeRecords);
        let identity = self.identity.current();
        loop {
            let Some(dialogue) = self.transaction.as_deref_mut() else { return };
            match dialogue.turn(now, identity, drained) {
                Turn::Ask(question) => {
                    return self.effects.push_back(Effect::AskCoordinator(question));
                }
                Turn::Wait(Some(until)) => return self.wake_at(until),
                Turn::Wait(None) => return,
                Turn::Begun => {
                    let settled = dialogue.settle_running();
                    self.accumulator.set_gate(Gate::Open);
                    self.settle_operation(settled);
                }
                Turn::Ended => {
                    let settled = dialogue.settle_running();
                    self.settle_operation(settled);
                }
            }
        }
    }

    /// Whether nothing is queued, in flight or unresolved.
    fn is_all_resolved(&self) -> bool {
        let mut active = self.active.iter().filter_map(|&slot| self.partitions[slot].as_ref());
        self.requests.is_empty()
            && active.all(|p| p.is_idle() && p.queue.oldest_created().is_none())
    }

    /// The partition of this slot has something to send, and the transaction has to hear of it.
    pub(super) fn want_in_transaction(&mut self, slot: usize) {
        let Some(topic_partition) = self.partition(slot).map(|p| p.topic_partition.clone()) else {
            return;
        };
        if let Some(dialogue) = self.transaction.as_deref_mut() {
            dialogue.want_partition(slot, &topic_partition);
        }
    }

    fn settle_operation(&mut self, settled: Option<SettledOperation>) {
        self.effects.extend(settled.map(Effect::SettleTransaction));
    }
}

/// With the bug planted: an end without an answer is taken as done.
#[cfg(feature = "planted-bugs")]
fn planted_answer(
    config: &super::SenderConfig,
    dialogue: &Dialogue,
    answer: TransactionAnswer,
) -> TransactionAnswer {
    use crate::transaction::TransactionReply;
    let nothing = matches!(answer.reply, TransactionReply::Nothing { possibly_sent: true });
    if !nothing || !config.has_bug(PlantedBug::UnknownEndIsDone) || !dialogue.is_ending() {
        return answer;
    }
    TransactionAnswer { reply: TransactionReply::Ended(Ok(None)), ..answer }
}
