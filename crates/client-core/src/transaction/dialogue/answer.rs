//! What the answer to a question leads to.

use std::time::Duration;

use streamledger_protocol::{ErrorCode, ProducerIdentity, TopicPartition};

use super::{Applied, Dialogue, Renewal, is_adding};
use crate::failure::{AttemptError, FatalError};
use crate::transaction::{
    AbortCause, CoordinatorKey, Question, TransactionAnswer, TransactionApi, TransactionContext,
    TransactionOperation, TransactionReply, TransactionState, TransactionVerdict,
    judge_transaction,
};

/// The longest wait for the transaction before this one to be finished.
const SOON: Duration = Duration::from_millis(20);

impl Dialogue {
    /// A question is answered, or won't be. Late answers are nobody's.
    pub(crate) fn answered(
        &mut self,
        identity: Option<ProducerIdentity>,
        answer: TransactionAnswer,
    ) -> Applied {
        let Some((_, question)) = self.asked.take_if(|(id, _)| *id == answer.id) else {
            return Applied::Nothing;
        };
        self.capabilities = answer.capabilities.or(self.capabilities);
        let api = question.api();
        let reply = match answer.reply {
            TransactionReply::Nothing { possibly_sent } => {
                return self.not_answered(question, possibly_sent);
            }
            reply => reply,
        };
        let (verdict, error) = self.judge(api, &reply);
        if error != ErrorCode::None {
            self.note(|progress| progress.last_error = Some(AttemptError::Broker(error)));
        }
        match verdict {
            TransactionVerdict::Done => {
                if api != TransactionApi::FindCoordinator {
                    self.failures = 0;
                }
                self.done(identity, question, reply)
            }
            // An abort does not wait for a topic to appear.
            TransactionVerdict::Retry
                if self.state == TransactionState::Aborting
                    && is_adding(&question)
                    && error != ErrorCode::CoordinatorLoadInProgress =>
            {
                self.unsure = None;
                Applied::Nothing
            }
            TransactionVerdict::Retry => self.keep(question, &reply, None),
            TransactionVerdict::RetrySoon => self.keep(question, &reply, Some(SOON)),
            TransactionVerdict::FindAndRetry => {
                self.forget_coordinator(&question);
                self.keep(question, &reply, None)
            }
            TransactionVerdict::Abortable(error) => self.abortable(api, error, &question),
            TransactionVerdict::Forgotten(error) => match self.renew(Renewal::Forgotten) {
                Ok(()) => self.abortable(api, error, &question),
                Err(fatal) => Applied::Fatal(fatal),
            },
            TransactionVerdict::Fatal(error) => Applied::Fatal(FatalError::Broker(error)),
        }
    }

    /// The heaviest verdict of all errors in the reply, and its error.
    fn judge(
        &self,
        api: TransactionApi,
        reply: &TransactionReply,
    ) -> (TransactionVerdict, ErrorCode) {
        let context = TransactionContext {
            gives_next_epoch: self.capabilities.is_some_and(|c| c.gives_next_epoch),
            aborting: self.state == TransactionState::Aborting,
        };
        let judge = |error| (judge_transaction(api, error, context), error);
        let errors: Vec<ErrorCode> = match reply {
            TransactionReply::Coordinator(result) => vec![code(result)],
            TransactionReply::Identity(result) => vec![code(result)],
            TransactionReply::Ended(result) => vec![code(result)],
            TransactionReply::Group(error) => vec![*error],
            TransactionReply::Partitions(errors) => errors.iter().map(|(_, e)| *e).collect(),
            TransactionReply::Nothing { .. } => vec![ErrorCode::NetworkException],
        };
        let heaviest = errors.into_iter().map(judge).max_by_key(|(verdict, _)| verdict.weight());
        heaviest.unwrap_or((TransactionVerdict::Retry, ErrorCode::None))
    }

    /// Nobody answered: the broker may not be the coordinator any more, or not be at all.
    fn not_answered(&mut self, question: Question, possibly_sent: bool) -> Applied {
        let error = if possibly_sent { AttemptError::NoAnswer } else { AttemptError::NotSent };
        self.note(|progress| progress.last_error = Some(error));
        self.forget_coordinator(&question);
        self.stay_unsure(question, possibly_sent);
        Applied::Again { at_most: None }
    }

    /// Adding that may have been done is seen to its end even in an abort, so that the coordinator
    /// and the producer agree on whether there is a transaction to end.
    fn stay_unsure(&mut self, question: Question, possibly_done: bool) {
        let is_aborting = self.state == TransactionState::Aborting;
        if is_adding(&question) && (possibly_done || is_aborting || self.unsure.is_some()) {
            self.unsure = Some(question);
        }
    }

    fn forget_coordinator(&mut self, question: &Question) {
        match question {
            Question::CommitOffsets { .. } => self.group_coordinator = None,
            Question::FindCoordinator(_) => {}
            Question::InitProducerId { .. }
            | Question::AddPartitions { .. }
            | Question::AddOffsets { .. }
            | Question::EndTransaction { .. } => self.coordinator = None,
        }
    }

    /// The question is asked again, for the partitions that are not done.
    fn keep(
        &mut self,
        question: Question,
        reply: &TransactionReply,
        at_most: Option<Duration>,
    ) -> Applied {
        match (question, reply) {
            (Question::CommitOffsets { .. }, TransactionReply::Partitions(errors)) => {
                if let Some(offsets) = &mut self.offsets {
                    let is_done = |tp: &TopicPartition| {
                        errors.iter().any(|(done, e)| done == tp && *e == ErrorCode::None)
                    };
                    offsets.left.offsets.retain(|(tp, _)| !is_done(tp));
                }
            }
            // All or nothing: a coordinator that refuses one partition adds none.
            (question @ Question::AddPartitions { .. }, TransactionReply::Partitions(errors)) => {
                let is_open = |(_, e): &(TopicPartition, ErrorCode)| *e == ErrorCode::None;
                let partly = errors.iter().any(is_open);
                self.started |= partly;
                self.stay_unsure(question, partly);
            }
            (question, _) => self.stay_unsure(question, false),
        }
        Applied::Again { at_most }
    }

    fn abortable(&mut self, api: TransactionApi, error: ErrorCode, question: &Question) -> Applied {
        // A refusal to add is an answer; what is aborted needs nothing more added.
        if is_adding(question) {
            self.unsure = None;
        }
        if self.state == TransactionState::Aborting {
            return Applied::Nothing;
        }
        self.ending = false;
        Applied::Abortable(AbortCause::Refused { api, error })
    }

    fn done(
        &mut self,
        identity: Option<ProducerIdentity>,
        question: Question,
        reply: TransactionReply,
    ) -> Applied {
        match (question, reply) {
            (Question::FindCoordinator(key), TransactionReply::Coordinator(Ok(broker))) => {
                match key {
                    CoordinatorKey::Transaction(_) => self.coordinator = Some(broker),
                    CoordinatorKey::Group(group) => self.group_coordinator = Some((group, broker)),
                }
                Applied::Nothing
            }
            (Question::InitProducerId { .. }, TransactionReply::Identity(Ok(identity))) => {
                // Whatever was open at the coordinator is so no more.
                (self.renewal, self.started) = (Renewal::No, false);
                Applied::Identity(identity)
            }
            (Question::AddPartitions { partitions, .. }, _) => {
                (self.started, self.unsure) = (true, None);
                let added = |(_, tp): &mut (usize, TopicPartition)| partitions.contains(tp);
                let slots = self.wanted.extract_if(.., added).map(|(slot, _)| slot).collect();
                Applied::PartitionsAdded(slots)
            }
            (Question::AddOffsets { .. }, _) => {
                (self.started, self.unsure) = (true, None);
                if let Some(offsets) = &mut self.offsets {
                    offsets.added = true;
                }
                Applied::Nothing
            }
            (Question::CommitOffsets { .. }, _) => {
                self.offsets = None;
                match self.settle(TransactionOperation::SendOffsets, Ok(())) {
                    Some(settled) => Applied::Settled(settled),
                    None => Applied::Nothing,
                }
            }
            (Question::EndTransaction { .. }, TransactionReply::Ended(Ok(next))) => {
                self.started = false;
                match next.filter(|next| Some(*next) != identity) {
                    Some(next) => {
                        // The end has raised the epoch: once is enough (KAFKA-19367).
                        self.renewal = Renewal::No;
                        Applied::Identity(next)
                    }
                    None => Applied::Nothing,
                }
            }
            // A reply of another kind than was asked for can't be: the shell pairs them.
            (Question::FindCoordinator(_), _)
            | (Question::InitProducerId { .. }, _)
            | (Question::EndTransaction { .. }, _) => Applied::Again { at_most: None },
        }
    }
}

fn code<T>(result: &Result<T, ErrorCode>) -> ErrorCode {
    result.as_ref().map_or_else(|error| *error, |_| ErrorCode::None)
}
