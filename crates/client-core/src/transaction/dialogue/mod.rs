//! The dialogue with the coordinators: what to ask next, and what an answer leads to.
//!
//! One question at a time, as Kafka's producer does. It knows no batch and no effect: the sender
//! tells it when nothing of the transaction is left to send, and does what it says.

mod answer;

use std::time::{Duration, Instant};

use streamledger_protocol::{BrokerId, GroupId, ProducerIdentity, TopicPartition, TransactionalId};

use super::desk::{SettledOperation, TransactionCommand};
use super::error::{
    AbortCause, TransactionError, TransactionErrorKind, TransactionProgress, TransactionStage,
};
use super::question::{
    AskedBroker, Capabilities, CoordinatorKey, GroupOffsets, Question, QuestionId,
    TransactionQuestion, TransactionVersion,
};
use super::state::{TransactionEvent, TransactionOperation, TransactionState};
use crate::failure::FatalError;

/// The dialogue of one producer.
#[derive(Debug)]
pub(crate) struct Dialogue {
    id: TransactionalId,
    timeout: Duration,
    state: TransactionState,
    /// Of the transaction that is open, or was last.
    version: TransactionVersion,
    /// Transactions begun so far: the number of the one that is open.
    number: u64,
    capabilities: Option<Capabilities>,
    coordinator: Option<BrokerId>,
    group_coordinator: Option<(GroupId, BrokerId)>,
    running: Option<Running>,
    asked: Option<(QuestionId, Question)>,
    /// What was asked without an answer, and may have been done.
    unsure: Option<Question>,
    questions: u64,
    not_before: Option<Instant>,
    /// Questions in a row that led nowhere.
    failures: u32,
    /// Partitions to be added (version 1), by their slots.
    wanted: Vec<(usize, TopicPartition)>,
    offsets: Option<Offsets>,
    /// The coordinator knows of the transaction, or may.
    started: bool,
    /// The end was asked for: the coordinator alone knows how that went.
    ending: bool,
    renewal: Renewal,
    /// Why the transaction must be aborted, once it must.
    cause: Option<AbortCause>,
}

/// The operation that goes on.
#[derive(Debug)]
struct Running {
    operation: TransactionOperation,
    begun: Instant,
    progress: TransactionProgress,
}

/// Offsets on their way.
#[derive(Debug)]
struct Offsets {
    left: GroupOffsets,
    /// The group is in the transaction.
    added: bool,
}

/// Whether the producer needs another identity before it sends again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Renewal {
    No,
    /// A sequence is lost (KIP-360).
    NextEpoch,
    /// The coordinator has forgotten the producer: there is nothing to end at it.
    Forgotten,
}

/// What to do now.
#[derive(Debug)]
pub(crate) enum Turn {
    Ask(TransactionQuestion),
    /// Nothing, until the moment if there is one.
    Wait(Option<Instant>),
    /// The transaction is open.
    Begun,
    /// The transaction has ended.
    Ended,
}

/// What an answer leads to.
#[derive(Debug)]
pub(crate) enum Applied {
    /// Nothing but the next turn.
    Nothing,
    /// Ask again after a backoff, the longest if there is one.
    Again {
        at_most: Option<Duration>,
    },
    /// From now on the producer is this.
    Identity(ProducerIdentity),
    /// These partitions, by their slots, are in the transaction.
    PartitionsAdded(Vec<usize>),
    /// An operation is done.
    Settled(SettledOperation),
    Abortable(AbortCause),
    Fatal(FatalError),
}

impl Dialogue {
    pub(crate) fn new(id: TransactionalId, timeout: Duration) -> Self {
        Self {
            id,
            timeout,
            state: TransactionState::Uninitialized,
            version: TransactionVersion::V1,
            number: 0,
            capabilities: None,
            coordinator: None,
            group_coordinator: None,
            running: None,
            asked: None,
            unsure: None,
            questions: 0,
            not_before: None,
            failures: 0,
            wanted: Vec::new(),
            offsets: None,
            started: false,
            ending: false,
            renewal: Renewal::No,
            cause: None,
        }
    }

    pub(crate) fn state(&self) -> TransactionState {
        self.state
    }

    pub(crate) fn id(&self) -> &TransactionalId {
        &self.id
    }

    pub(crate) fn version(&self) -> TransactionVersion {
        self.version
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn progress(&self) -> Option<TransactionProgress> {
        self.running.as_ref().map(|running| running.progress)
    }

    /// Whether the partitions of a transaction have to be added before they are sent to.
    pub(crate) fn adds_partitions(&self) -> bool {
        self.state.is_open() && self.version == TransactionVersion::V1
    }

    /// Begins an operation that a caller asks for.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        command: TransactionCommand,
    ) -> Result<(), SettledOperation> {
        let TransactionCommand { operation, offsets } = command;
        let Ok(next) = self.state.next(TransactionEvent::Asked(operation)) else {
            return Err(self.refusal(operation));
        };
        self.state = next;
        self.running =
            Some(Running { operation, begun: now, progress: TransactionProgress::default() });
        if operation == TransactionOperation::SendOffsets {
            self.offsets = offsets.map(|left| Offsets { left: *left, added: false });
        }
        if operation.is_end() {
            self.not_before = None;
        }
        Ok(())
    }

    /// An abort that nobody asked for: the producer is closing.
    pub(crate) fn abort_unasked(&mut self) -> bool {
        let asked = TransactionEvent::Asked(TransactionOperation::Abort);
        match self.state.next(asked) {
            Ok(next) if self.running.is_none() => {
                self.state = next;
                true
            }
            _ => false,
        }
    }

    fn refusal(&self, operation: TransactionOperation) -> SettledOperation {
        let kind = match (self.state, &self.cause) {
            (TransactionState::AbortableError, Some(cause)) => {
                TransactionErrorKind::Abortable(cause.clone())
            }
            (state, _) => TransactionErrorKind::NotAllowed(state),
        };
        SettledOperation::refused(operation, kind)
    }

    /// A partition has something to send and isn't in the transaction yet.
    pub(crate) fn want_partition(&mut self, slot: usize, topic_partition: &TopicPartition) {
        if self.wanted.iter().all(|(other, _)| *other != slot) {
            self.wanted.push((slot, topic_partition.clone()));
        }
    }

    /// A batch is on its way: with version 2 the coordinator hears of it.
    pub(crate) fn batch_sent(&mut self) {
        self.started |= self.version == TransactionVersion::V2;
    }

    /// The identity can't be gone on with beyond this transaction.
    pub(crate) fn renew(&mut self, renewal: Renewal) -> Result<(), FatalError> {
        self.renewal = self.renewal.max(renewal);
        if self.capabilities.is_some_and(|capabilities| !capabilities.gives_next_epoch) {
            return Err(FatalError::NoNextEpoch);
        }
        Ok(())
    }

    /// Whether news from elsewhere can still make the open transaction fail.
    pub(crate) fn can_fail(&self) -> bool {
        self.state.is_open() && !self.ending
    }

    /// Whether the end of the transaction is asked for.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.asked, Some((_, Question::EndTransaction { .. })))
    }

    /// What to do now. `drained`: nothing of the transaction is queued, in flight or unresolved.
    pub(crate) fn turn(
        &mut self,
        now: Instant,
        identity: Option<ProducerIdentity>,
        drained: bool,
    ) -> Turn {
        if self.asked.is_some() {
            return Turn::Wait(None);
        }
        if let Some(not_before) = self.not_before.filter(|moment| *moment > now) {
            return Turn::Wait(Some(not_before));
        }
        let identity = identity.unwrap_or(ProducerIdentity::NONE);
        let question = match self.state {
            TransactionState::Uninitialized
            | TransactionState::Ready
            | TransactionState::AbortableError
            | TransactionState::FatalError => return Turn::Wait(None),
            TransactionState::Initializing => Some(self.init(ProducerIdentity::NONE)),
            TransactionState::Beginning if self.renewal == Renewal::No => {
                self.open();
                return Turn::Begun;
            }
            TransactionState::Beginning => Some(self.init(identity)),
            TransactionState::InTransaction => self.what_to_add(identity),
            TransactionState::Committing => match self.what_to_add(identity) {
                Some(question) => Some(question),
                None if !drained => return self.deliver(),
                None if !self.started => return self.ended(),
                None => Some(self.end(identity, true)),
            },
            TransactionState::Aborting if !drained => return self.deliver(),
            TransactionState::Aborting => match self.unsure.take() {
                Some(question) => Some(question),
                None if self.started && self.renewal < Renewal::Forgotten => {
                    Some(self.end(identity, false))
                }
                None if self.renewal > Renewal::No => Some(self.init(identity)),
                None => return self.ended(),
            },
        };
        match question {
            Some(question) => Turn::Ask(self.ask(question)),
            None => Turn::Wait(None),
        }
    }

    /// Nothing is asked before the records have come to their ends.
    fn deliver(&mut self) -> Turn {
        self.note(|progress| progress.stage = TransactionStage::Delivering);
        Turn::Wait(None)
    }

    /// Writes down how far the operation has come, if one goes on.
    fn note(&mut self, note: impl FnOnce(&mut TransactionProgress)) {
        if let Some(running) = &mut self.running {
            note(&mut running.progress);
        }
    }

    fn open(&mut self) {
        self.advance(TransactionEvent::Begun);
        self.number += 1;
        self.version = self.capabilities.map_or(TransactionVersion::V1, |c| c.version);
        (self.started, self.ending) = (false, false);
        self.cause = None;
        self.unsure = None;
        self.wanted.clear();
        self.offsets = None;
    }

    fn ended(&mut self) -> Turn {
        self.advance(TransactionEvent::Ended);
        (self.started, self.ending) = (false, false);
        self.cause = None;
        self.wanted.clear();
        self.offsets = None;
        Turn::Ended
    }

    fn init(&self, current: ProducerIdentity) -> Question {
        Question::InitProducerId {
            transactional_id: self.id.clone(),
            timeout: self.timeout,
            current,
        }
    }

    fn end(&self, identity: ProducerIdentity, committed: bool) -> Question {
        let (transactional_id, version) = (self.id.clone(), self.version);
        Question::EndTransaction { transactional_id, identity, committed, version }
    }

    /// What is to be added to the open transaction, if anything.
    fn what_to_add(&self, identity: ProducerIdentity) -> Option<Question> {
        let transactional_id = self.id.clone();
        if !self.wanted.is_empty() {
            let partitions = self.wanted.iter().map(|(_, tp)| tp.clone()).collect();
            return Some(Question::AddPartitions { transactional_id, identity, partitions });
        }
        let offsets = self.offsets.as_ref()?;
        if self.version == TransactionVersion::V1 && !offsets.added {
            let group_id = offsets.left.group.group_id.clone();
            return Some(Question::AddOffsets { transactional_id, identity, group_id });
        }
        let (offsets, version) = (offsets.left.clone(), self.version);
        Some(Question::CommitOffsets { transactional_id, identity, offsets, version })
    }

    /// Puts a question to its coordinator, or asks first who that is.
    fn ask(&mut self, question: Question) -> TransactionQuestion {
        let coordinator = match &question {
            Question::CommitOffsets { offsets, .. } => {
                let group = &offsets.group.group_id;
                let known = self.group_coordinator.as_ref().filter(|(known, _)| known == group);
                known.map(|(_, broker)| *broker).ok_or_else(|| CoordinatorKey::Group(group.clone()))
            }
            Question::FindCoordinator(_)
            | Question::InitProducerId { .. }
            | Question::AddPartitions { .. }
            | Question::AddOffsets { .. }
            | Question::EndTransaction { .. } => {
                self.coordinator.ok_or_else(|| CoordinatorKey::Transaction(self.id.clone()))
            }
        };
        let (to, question) = match coordinator {
            Ok(broker) => (AskedBroker::One(broker), question),
            Err(key) => {
                // What is unsure stays so until it is asked itself.
                if is_adding(&question) && self.state == TransactionState::Aborting {
                    self.unsure = Some(question);
                }
                (AskedBroker::Any, Question::FindCoordinator(key))
            }
        };
        self.started |= matches!(question, Question::CommitOffsets { .. });
        self.ending |= matches!(question, Question::EndTransaction { .. });
        let is_attempt = !matches!(question, Question::FindCoordinator(_));
        self.note(|progress| {
            progress.stage = TransactionStage::Asking(question.api());
            progress.attempts = progress.attempts.saturating_add(u32::from(is_attempt));
        });
        self.questions += 1;
        let id = QuestionId(self.questions);
        self.asked = Some((id, question.clone()));
        TransactionQuestion { id, to, question }
    }

    /// The producer has its first identity.
    pub(crate) fn initialized(&mut self) -> Option<SettledOperation> {
        if self.state != TransactionState::Initializing {
            return None;
        }
        self.advance(TransactionEvent::Initialized);
        self.settle(TransactionOperation::Init, Ok(()))
    }

    /// Sets the time before which nothing is asked.
    pub(crate) fn wait_until(&mut self, not_before: Instant) {
        self.not_before = Some(not_before);
    }

    /// Counts a question that led nowhere, and says how many did in a row.
    pub(crate) fn count_failure(&mut self) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// The transaction must be aborted, or what was begun has failed.
    pub(crate) fn fail(&mut self, now: Instant, cause: AbortCause) -> Option<SettledOperation> {
        let before = self.state;
        self.advance(TransactionEvent::Failed);
        if self.state == before && before != TransactionState::AbortableError {
            return None;
        }
        self.not_before = None;
        self.wanted.clear();
        self.offsets = None;
        self.cause.get_or_insert_with(|| cause.clone());
        self.settle_error(now, TransactionErrorKind::Abortable(cause))
    }

    /// The producer can't go on.
    pub(crate) fn fail_for_good(
        &mut self,
        now: Instant,
        error: FatalError,
    ) -> Option<SettledOperation> {
        self.advance(TransactionEvent::FailedForGood);
        self.settle_error(now, TransactionErrorKind::Fatal(error))
    }

    /// The time to close is over.
    pub(crate) fn close(&mut self, now: Instant) -> Option<SettledOperation> {
        self.settle_error(now, TransactionErrorKind::Closed)
    }

    /// The operation that goes on has worked.
    pub(crate) fn settle_running(&mut self) -> Option<SettledOperation> {
        let operation = self.running.as_ref()?.operation;
        self.settle(operation, Ok(()))
    }

    fn settle_error(
        &mut self,
        now: Instant,
        kind: TransactionErrorKind,
    ) -> Option<SettledOperation> {
        let running = self.running.take()?;
        let Running { operation, begun, progress } = running;
        let waited = now.saturating_duration_since(begun);
        let error = TransactionError::new(operation, kind, progress, waited);
        Some(SettledOperation { operation, outcome: Err(Box::new(error)) })
    }

    fn settle(
        &mut self,
        operation: TransactionOperation,
        outcome: Result<(), Box<TransactionError>>,
    ) -> Option<SettledOperation> {
        self.running.take_if(|running| running.operation == operation)?;
        Some(SettledOperation { operation, outcome })
    }

    fn advance(&mut self, event: TransactionEvent) {
        // What isn't a caller's wish is never refused.
        if let Ok(next) = self.state.next(event) {
            self.state = next;
        }
    }
}

/// Whether it adds something to the open transaction (version 1).
fn is_adding(question: &Question) -> bool {
    match question {
        Question::AddPartitions { .. } | Question::AddOffsets { .. } => true,
        Question::FindCoordinator(_)
        | Question::InitProducerId { .. }
        | Question::CommitOffsets { .. }
        | Question::EndTransaction { .. } => false,
    }
}
