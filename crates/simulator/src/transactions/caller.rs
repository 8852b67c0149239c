//! Who writes in transactions: by the rules of the API, and again in the next life of a producer
//! that could not go on.

use std::task::{Poll, Waker};
use std::time::Duration;

use streamledger_client_core::accumulator::{AppendError, AppendExtras};
use streamledger_client_core::sender::Event;
use streamledger_client_core::transaction::{
    DeskAnswer, QuestionId, SettledOperation, TransactionCommand, TransactionDesk,
    TransactionError, TransactionErrorKind, TransactionOperation,
};

use super::TransactionHappening;
use super::history::Fate;
use super::processor::{Processor, Seek};
use crate::client::Client;
use crate::oracle::End;
use crate::plan::{ProcessingPlan, ProducerPlan, TransactionPlan};
use crate::records::RecordNumber;
use crate::report::Promise;
use crate::world::{Happening, World};

/// The longest time until a producer that ended is followed by its next life.
const RESTART_MS_MAX: u64 = 300;

/// Who uses a transactional producer.
#[derive(Debug)]
pub(crate) struct TransactionalCaller {
    pub(super) plan: TransactionPlan,
    desk: TransactionDesk,
    step: Step,
    /// The open transaction, by its number in the history.
    current: Option<usize>,
    /// Another producer has taken over, or will.
    pub(super) superseded: bool,
    /// The question that waits for its answer.
    pub(super) asked: Option<QuestionId>,
    /// What it makes its records of, if it consumes.
    pub(super) processor: Option<Processor>,
}

/// What the caller is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Start,
    Waiting(TransactionOperation),
    /// It finds out where it is to begin.
    Seeking,
    Ready,
    Filling {
        records_left: u64,
        then: TransactionOperation,
    },
    Over,
}

impl TransactionalCaller {
    pub(crate) fn new(plan: TransactionPlan) -> Self {
        Self {
            processor: plan.processing.map(Processor::new),
            plan,
            desk: TransactionDesk::default(),
            step: Step::Start,
            current: None,
            superseded: false,
            asked: None,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.step == Step::Over
    }
}

impl World {
    /// The caller's next step.
    pub(crate) fn transactional_turn(&mut self, client: usize, extras: AppendExtras) {
        let Some(caller) = &self.clients[client].transactional else { return };
        match caller.step {
            Step::Over | Step::Seeking => {}
            Step::Start => self.ask_for(client, TransactionOperation::Init),
            Step::Waiting(operation) => {
                let waker = Waker::noop();
                if let Poll::Ready(outcome) = caller.desk.poll_outcome(operation, waker) {
                    self.operation_ends(client, operation, outcome);
                }
            }
            Step::Ready if caller.plan.transactions == 0 => self.caller_step(client, Step::Over),
            // The last one is kept for when all is well again.
            Step::Ready if caller.plan.transactions == 1 && !self.faults_over => {
                self.queue.push(self.plan.faults.until, Happening::CallerTurn(client));
            }
            Step::Ready => self.ask_for(client, TransactionOperation::Begin),
            Step::Filling { records_left: 0, then } => {
                let next = self.after_records(client, then);
                self.ask_for(client, next);
            }
            Step::Filling { .. } => self.send_record(client, extras),
        }
    }

    fn caller_step(&mut self, client: usize, step: Step) {
        if let Some(caller) = &mut self.clients[client].transactional {
            caller.step = step;
        }
    }

    fn ask_for(&mut self, client: usize, operation: TransactionOperation) {
        if operation == TransactionOperation::Commit {
            self.end_transaction(client, Fate::CommitAsked);
        }
        self.note(format_args!("client {client} asks for {operation:?}"));
        let Some(caller) = &mut self.clients[client].transactional else { return };
        caller.step = Step::Waiting(operation);
        let sends_offsets = operation == TransactionOperation::SendOffsets;
        let processor = caller.processor.as_ref().filter(|_| sends_offsets);
        let offsets = processor.map(|processor| Box::new(processor.offsets()));
        let answer = caller.desk.ask(TransactionCommand { operation, offsets });
        let command = caller.desk.take_command();
        match (answer, command) {
            (Ok(DeskAnswer::Taken), Some(command)) => {
                self.tell(client, Event::Transaction(command));
            }
            (answer, _) => {
                let text = format!("client {client} asks for {operation:?}: {answer:?}");
                self.violate(Promise::RulesHold, text);
            }
        }
        if self.work_dice.chance(200) {
            let at = self.now + Duration::from_micros(self.work_dice.between(1, 200_000));
            self.push_transactional(at, TransactionHappening::CallerIsImpatient { client });
        }
    }

    /// While an operation goes on, it may be asked for again, and nothing else may.
    pub(super) fn try_another(&mut self, client: usize) {
        let Some(caller) = &self.clients[client].transactional else { return };
        let Step::Waiting(operation) = caller.step else { return };
        let ask = |operation| caller.desk.ask(TransactionCommand { operation, offsets: None });
        let other = match operation {
            TransactionOperation::Begin => TransactionOperation::Commit,
            _ => TransactionOperation::Begin,
        };
        let (again, refused) = (ask(operation), ask(other));
        let pending = refused.as_ref().err().and_then(|error| match error.kind {
            TransactionErrorKind::OtherPending(pending) => Some(pending),
            _ => None,
        });
        let is_refused = pending == Some(operation);
        if !is_refused || !matches!(again, Ok(DeskAnswer::Joined)) {
            let text = format!("during {operation}: {again:?}, and {other}: {refused:?}");
            self.violate(Promise::RulesHold, text);
        }
    }

    /// An operation has ended: the caller hears of it in his next turn.
    pub(crate) fn settle_transaction(&mut self, client: usize, settled: SettledOperation) {
        let (operation, outcome) =
            (settled.operation(), settled.outcome().map_err(|e| e.kind.clone()));
        self.note(format_args!("client {client}: {operation:?} ends with {outcome:?}"));
        if let Some(caller) = &self.clients[client].transactional {
            settled.deliver(&caller.desk);
            if caller.step == Step::Waiting(operation) {
                self.queue.push(self.now, Happening::CallerTurn(client));
            }
        }
    }

    fn operation_ends(
        &mut self,
        client: usize,
        operation: TransactionOperation,
        outcome: Result<(), Box<TransactionError>>,
    ) {
        match outcome {
            Ok(()) => self.operation_works(client, operation),
            Err(error) if error.is_fatal() => self.producer_is_over(client),
            Err(error) if error.must_abort() && operation != TransactionOperation::Abort => {
                self.note_cause(client, &error);
                self.end_transaction(client, Fate::Open);
                self.ask_for(client, TransactionOperation::Abort);
            }
            Err(error) => match operation {
                TransactionOperation::Init => self.turn_again(client, Step::Start),
                TransactionOperation::Begin => self.turn_again(client, Step::Ready),
                TransactionOperation::SendOffsets
                | TransactionOperation::Commit
                | TransactionOperation::Abort => {
                    let text = format!("client {client}: {operation} ends with {error}");
                    self.violate(Promise::RulesHold, text);
                }
            },
        }
    }

    fn turn_again(&mut self, client: usize, step: Step) {
        self.caller_step(client, step);
        let at = self.now + Duration::from_micros(self.work_dice.between(1, 20_000));
        self.queue.push(at, Happening::CallerTurn(client));
    }

    fn operation_works(&mut self, client: usize, operation: TransactionOperation) {
        match operation {
            TransactionOperation::Init if self.processes(client) => self.seek(client, Seek::Join),
            TransactionOperation::Init => self.turn_again(client, Step::Ready),
            TransactionOperation::SendOffsets => {
                let then = self.after_offsets(client);
                self.ask_for(client, then);
            }
            TransactionOperation::Begin => self.begin_transaction(client),
            TransactionOperation::Commit => {
                self.counters.transactions_committed += 1;
                self.end_transaction(client, Fate::Committed);
                self.transaction_is_over(client, true);
            }
            TransactionOperation::Abort => {
                self.counters.transactions_aborted += 1;
                self.end_transaction(client, Fate::Hidden);
                self.transaction_is_over(client, false);
            }
        }
    }

    fn begin_transaction(&mut self, client: usize) {
        self.counters.transactions_begun += 1;
        let Some(caller) = &mut self.clients[client].transactional else { return };
        let Some(transactions) = &mut self.transactions else { return };
        caller.current = Some(transactions.history.begin(caller.plan.id));
        let is_last = caller.plan.transactions == 1;
        let aborts = !is_last && self.work_dice.chance(caller.plan.abort_per_mille);
        let then = match aborts {
            true => TransactionOperation::Abort,
            false => TransactionOperation::Commit,
        };
        if let Some(processor) = &mut caller.processor {
            processor.begin();
        }
        let records_left = self.work_dice.between(1, caller.plan.records_max);
        self.turn_again(client, Step::Filling { records_left, then });
    }

    fn transaction_is_over(&mut self, client: usize, committed: bool) {
        let Some(caller) = &mut self.clients[client].transactional else { return };
        caller.current = None;
        // The last one counts when it commits.
        if committed || caller.plan.transactions > 1 {
            caller.plan.transactions -= 1;
        }
        self.process_on(client, committed);
    }

    pub(super) fn processes(&self, client: usize) -> bool {
        let caller = self.clients[client].transactional.as_ref();
        caller.is_some_and(|caller| caller.processor.is_some())
    }

    pub(super) fn is_superseded(&self, client: usize) -> bool {
        let caller = self.clients[client].transactional.as_ref();
        caller.is_some_and(|caller| caller.superseded)
    }

    pub(super) fn caller_seeks(&mut self, client: usize) {
        self.caller_step(client, Step::Seeking);
    }

    pub(super) fn caller_is_ready(&mut self, client: usize) {
        self.turn_again(client, Step::Ready);
    }

    pub(super) fn caller_is_over(&mut self, client: usize) {
        self.note(format_args!("client {client} leaves the rest to another"));
        self.caller_step(client, Step::Over);
    }

    /// The open transaction of a caller stores how far its group has come.
    pub(super) fn current_consumes(&mut self, client: usize, group: usize, to: u64) {
        let current = self.clients[client].transactional.as_ref().and_then(|caller| caller.current);
        if let (Some(current), Some(transactions)) = (current, &mut self.transactions) {
            transactions.history.consume(current, group, to);
        }
    }

    fn end_transaction(&mut self, client: usize, fate: Fate) {
        let current = self.clients[client].transactional.as_ref().and_then(|caller| caller.current);
        if let (Some(current), Some(transactions)) = (current, &mut self.transactions) {
            transactions.history.decide(current, fate);
        }
    }

    /// A record was sent, or given up before that.
    pub(crate) fn record_is_over(&mut self, client: usize, number: Option<RecordNumber>) {
        let input = self.input_is_over(client, number);
        let Some(caller) = &mut self.clients[client].transactional else { return };
        if let Step::Filling { records_left, .. } = &mut caller.step {
            *records_left = records_left.saturating_sub(1);
        }
        if let (Some(current), Some(number), Some(transactions)) =
            (caller.current, number, &mut self.transactions)
        {
            transactions.history.add(current, number, input);
        }
    }

    /// Whether the record was refused because of its transaction; then that is seen to.
    pub(crate) fn transaction_refuses(&mut self, client: usize, error: &AppendError) -> bool {
        if self.clients[client].transactional.is_none() {
            return false;
        }
        match error {
            AppendError::TransactionFailed => {
                self.ask_for(client, TransactionOperation::Abort);
                true
            }
            AppendError::Fatal(_) | AppendError::Closed => {
                self.producer_is_over(client);
                true
            }
            _ => false,
        }
    }

    /// The producer can't go on. Another takes its place, unless one has.
    fn producer_is_over(&mut self, client: usize) {
        self.counters.producers_fenced += 1;
        self.note_unknown(client);
        self.caller_step(client, Step::Over);
        self.restart_producer(client);
    }

    fn note_unknown(&mut self, client: usize) {
        let current = self.clients[client].transactional.as_ref().and_then(|caller| caller.current);
        if let (Some(current), Some(transactions)) = (current, &self.transactions)
            && transactions.history.fate(current) == Fate::CommitAsked
        {
            self.counters.transactions_unknown += 1;
        }
    }

    fn restart_producer(&mut self, client: usize) {
        let state = &mut self.clients[client];
        let mut plan = state.plan.clone();
        let (Some(caller), Some(transactions)) = (&mut state.transactional, &mut self.transactions)
        else {
            return;
        };
        if std::mem::replace(&mut caller.superseded, true) {
            return;
        }
        let id = match caller.plan.processing {
            Some(ProcessingPlan { fresh_ids: true, .. }) => transactions.history.fresh_id(),
            _ => caller.plan.id,
        };
        plan.transaction = Some(TransactionPlan {
            id,
            transactions: caller.plan.transactions.max(1),
            ..caller.plan.clone()
        });
        self.start_later(plan);
    }

    fn start_later(&mut self, plan: ProducerPlan) {
        let Some(transactions) = &mut self.transactions else { return };
        transactions.starting += 1;
        let at = self.now + Duration::from_millis(self.work_dice.between(0, RESTART_MS_MAX));
        self.push_transactional(at, TransactionHappening::ProducerStarts { plan });
    }

    pub(super) fn start_producer(&mut self, plan: ProducerPlan) {
        if let Some(transactions) = &mut self.transactions {
            transactions.starting -= 1;
        }
        let client = self.clients.len();
        self.note(format_args!("client {client} starts"));
        let seed = self.work_dice.next();
        self.clients.push(Client::new(plan, self.plan.planted, seed));
        self.queue.push(self.now, Happening::CallerTurn(client));
        self.tell(client, Event::Wake);
    }

    /// A producer's process is killed; the next life of it starts soon.
    pub fn kill_producer(&mut self, client: usize) {
        if self.clients[client].dead || self.clients[client].transactional.is_none() {
            return;
        }
        self.note(format_args!("client {client} is killed"));
        self.counters.producers_killed += 1;
        self.note_unknown(client);
        let was_over = self.clients[client].caller_is_done();
        for number in self.ledger.unresolved_of(client) {
            self.counters.possibly_written += 1;
            let _ = self.ledger.end(number, End::Failed { possibly_written: true });
        }
        let connections = std::mem::take(&mut self.clients[client].connections);
        for connection in connections.into_values() {
            self.break_connection(connection);
            self.connections[connection].client_open = false;
        }
        self.clients[client].in_flight.clear();
        self.clients[client].dead = true;
        if !was_over {
            self.restart_producer(client);
        }
    }

    /// A second producer starts under a producer's transactional id, which goes on.
    pub fn start_rival(&mut self, client: usize) {
        if self.clients[client].dead || self.clients[client].caller_is_done() {
            return;
        }
        self.note(format_args!("client {client} gets a rival"));
        self.counters.rivals += 1;
        self.restart_producer(client);
    }

    /// A producer's process stands still for so long.
    pub fn pause_producer(&mut self, client: usize, ms: u64) {
        self.note(format_args!("client {client} stands still for {ms} ms"));
        self.counters.producers_paused += 1;
        self.clients[client].paused_until = self.now + Duration::from_millis(ms);
    }

    /// How many producers there have been.
    #[must_use]
    pub fn producers(&self) -> usize {
        self.clients.len()
    }

    /// Whether a producer's caller waits for that operation.
    #[must_use]
    pub fn waits_for(&self, client: usize, operation: TransactionOperation) -> bool {
        let living = Some(&self.clients[client]).filter(|client| !client.dead);
        let caller = living.and_then(|client| client.transactional.as_ref());
        caller.is_some_and(|caller| caller.step == Step::Waiting(operation))
    }
}
