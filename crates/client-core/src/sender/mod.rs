//! The Sender: takes batches out of the accumulator, sends them, and sees each to its end.
//!
//! A pure state machine. Whoever drives it (the producer's I/O thread, the simulator) does this:
//!
//! ```text
//! sender.handle(now, event)                    for everything that happens, in order
//! while let Some(effect) = sender.poll(now) {  after one or several events
//!     perform(effect)                          which leads to more events, sooner or later
//! }
//! sleep until an event or sender.next_wakeup()
//! ```
//!
//! [`Event`] and [`Effect`] say of each other which answers which. Begin with [`Event::Wake`]. The
//! sender is done when [`Sender::is_idle`] says so after the accumulator was closed.
//!
//! Laws, beside those of `partition` about order and of [`crate::idempotence`] about identity:
//! 1. A retried batch is byte-identical: the sealed bytes are kept until its outcome is known.
//! 2. An unknown outcome stays unknown until the broker has acknowledged the same sequence. It is
//!    told as `possibly_written`, and its sequence is never given to anything else.
//! 3. Sequences survive loss of metadata, and never reach a topic that was made anew.
//! 4. The owners of a batch learn its end once; a batch given up in flight is kept, unseen, until
//!    its request is answered.
//!
//! Reading order: `event`, `effect`, `partition` (what may be sent), `plan` (a round), `answer`
//! with `verdict` (what an answer means), `transact`, then the rarer things.

mod answer;
mod batch;
mod broker;
mod config;
mod effect;
mod event;
mod expiry;
mod idle;
mod load;
mod metadata;
mod metrics;
mod partition;
mod plan;
#[cfg(feature = "planted-bugs")]
mod planted;
mod reset;
mod split;
mod transact;
mod verdict;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use streamledger_protocol::compression::{CompressionScratch, Decompressor};
use streamledger_protocol::{BrokerId, TopicName};

pub use config::{Backoff, SenderConfig, TransactionConfig};
pub use effect::{
    CompletedBatch, CompressJob, CompressedBatch, Effect, OutgoingBatch, OutgoingRequest,
    ProduceTransaction, RequestId,
};
pub use event::{Event, PartitionLeader, ProducerIdAnswer, TopicLeaders};
pub use metrics::{NodeCounts, SenderMetrics, SenderWindows, StageTimes, TopicCounts};
pub use verdict::{Answer, PartitionAnswer, Verdict, VerdictContext, judge};

use crate::accumulator::{Gate, PartitionQueue, ReadyRules, RecordAccumulator};
use crate::failure::{FailureReason, FatalError, WaitedFor};
use crate::idempotence::{Identity, IdentityEvent};
use crate::map::Map;
use crate::partitioner::RandomSource;
use crate::transaction::{AbortCause, Dialogue};
use batch::Failing;
use broker::{BrokerState, Connection};
use effect::BatchId;
use metadata::{MetadataWish, TopicState};
use partition::{PartitionState, StepRules};

/// Decompressing our own batches, to split them, stays under this.
const SPLIT_BYTES_MAX: usize = 1 << 30;

/// Sends what is in the accumulator. Owned by one thread.
pub struct Sender {
    config: SenderConfig,
    accumulator: Arc<RecordAccumulator>,
    random: Arc<dyn RandomSource>,
    identity: Identity,
    identity_failures: u32,
    /// With a transactional id.
    transaction: Option<Box<Dialogue>>,
    brokers: Map<BrokerId, BrokerState>,
    topics: Map<TopicName, TopicState>,
    /// By the slot of the partition's queue.
    partitions: Vec<Option<Box<PartitionState>>>,
    /// Slots of partitions with anything queued or unresolved.
    active: Vec<usize>,
    /// Where in `active` the next round begins, so that no partition always comes last.
    turn: usize,
    requests: Map<RequestId, RequestInFlight>,
    effects: VecDeque<Effect>,
    metadata: MetadataWish,
    next_request: u64,
    next_batch: u64,
    compressions: usize,
    /// Something happened since the last round.
    stirred: bool,
    wakeup: Option<Instant>,
    /// When the sticky partitioner was last told of the leaders' loads.
    loads_weighed: Option<Instant>,
    /// No topic is forgotten before this moment; None while there is none to forget.
    next_idle: Option<Instant>,
    /// No batch is given up before this moment.
    next_expiry: Option<Instant>,
    scratch: CompressionScratch,
    decompressor: Decompressor,
    newly_listed: Vec<Arc<PartitionQueue>>,
    metrics: Arc<Mutex<SenderMetrics>>,
}

/// A request that is not answered yet.
#[derive(Debug)]
struct RequestInFlight {
    broker: BrokerId,
    sent_at: Instant,
    batches: Vec<(usize, BatchId)>,
}

impl Sender {
    /// A sender of what is in `accumulator`. `random` is for the backoffs.
    #[must_use]
    pub fn new(
        config: SenderConfig,
        accumulator: Arc<RecordAccumulator>,
        random: Arc<dyn RandomSource>,
    ) -> Self {
        let identity = match config.idempotent || config.transaction.is_some() {
            true => Identity::Wanted { not_before: None },
            false => Identity::Off,
        };
        let metrics = Arc::new(Mutex::new(SenderMetrics::new(config.metrics_window)));
        let transaction = config.transaction.clone().map(|transaction| {
            accumulator.set_gate(Gate::NoTransaction);
            Box::new(Dialogue::new(transaction.id, transaction.timeout))
        });
        Self {
            config,
            accumulator,
            random,
            identity,
            identity_failures: 0,
            transaction,
            brokers: Map::default(),
            topics: Map::default(),
            partitions: Vec::new(),
            active: Vec::new(),
            turn: 0,
            requests: Map::default(),
            effects: VecDeque::new(),
            metadata: MetadataWish::default(),
            next_request: 0,
            next_batch: 0,
            compressions: 0,
            stirred: false,
            wakeup: None,
            loads_weighed: None,
            next_idle: None,
            next_expiry: None,
            scratch: CompressionScratch::default(),
            decompressor: Decompressor::new(SPLIT_BYTES_MAX),
            newly_listed: Vec::new(),
            metrics,
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Instant, event: Event) {
        self.stirred = true;
        match event {
            Event::Wake => {}
            Event::Metadata(topics) => self.on_metadata(now, topics),
            Event::MetadataFailed => self.metadata.has_failed(now, &self.config, &*self.random),
            Event::ConnectionUp(broker) => {
                let broker = self.brokers.entry(broker).or_default();
                broker.connection = Connection::Up;
                broker.failures = 0;
                broker.unreachable = None;
            }
            Event::ConnectionDown(broker) => self.on_connection_down(now, broker),
            Event::NotConnected { broker, unreachable } => {
                self.on_connection_down(now, broker);
                self.brokers.entry(broker).or_default().unreachable = Some(unreachable);
            }
            Event::ProduceResponse { request, throttle, partitions } => {
                self.on_response(now, request, throttle, &partitions);
            }
            Event::RequestWritten(request) => self.on_all(now, request, &Answer::Written),
            Event::RequestFailed { request, possibly_sent: true } => {
                self.on_all(now, request, &Answer::None);
            }
            Event::RequestFailed { request, possibly_sent: false } => {
                self.on_all(now, request, &Answer::NotSent);
            }
            Event::RequestNotSpoken(request) => self.on_not_spoken(now, request),
            Event::ProducerId(answer) => self.on_producer_id(now, answer),
            Event::Compressed(batch) => self.on_compressed(now, batch),
            Event::Transaction(command) => self.on_command(now, command),
            Event::Coordinator(answer) => self.on_answer(now, answer),
            Event::Closing => self.on_closing(),
            Event::Abort => {
                self.close_transaction(now);
                self.fail_everything(now, &FailureReason::Closed);
            }
        }
    }

    /// What to do next, if anything. Ask until there is nothing.
    pub fn poll(&mut self, now: Instant) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        let due = self.wakeup.is_some_and(|wakeup| wakeup <= now);
        if !self.stirred && !due {
            return None;
        }
        self.stirred = false;
        self.plan(now);
        self.effects.pop_front()
    }

    /// When to poll again, if nothing happens before.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        self.wakeup
    }

    /// Whether nothing is queued, in flight or unresolved, as far as the last round has seen.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.active.is_empty()
            && self.requests.is_empty()
            && self.effects.is_empty()
            && !self.stirred
    }

    /// Who the producer is to the brokers.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// What was counted and timed; to be read from any thread.
    #[must_use]
    pub fn metrics(&self) -> Arc<Mutex<SenderMetrics>> {
        Arc::clone(&self.metrics)
    }

    fn on_connection_down(&mut self, now: Instant, broker: BrokerId) {
        let state = self.brokers.entry(broker).or_default();
        state.failures = state.failures.saturating_add(1);
        let wait = self.config.reconnect_backoff.wait(state.failures, &*self.random);
        state.connection = Connection::Down(now + wait);
        // Its partitions may have gone to another.
        self.metadata.wanted = true;
        for partition in self.partitions.iter_mut().flatten() {
            partition.taken_by.take_if(|taken_by| *taken_by == broker);
        }
    }

    /// Fails all batches, queued, unresolved or in flight. What is in flight is kept, unseen, until
    /// it is answered.
    fn fail_everything(&mut self, now: Instant, reason: &FailureReason) {
        self.adopt_listed();
        for place in 0..self.active.len() {
            let Some(partition) = &mut self.partitions[self.active[place]] else { continue };
            let failing = |waited_for| Failing { reason: reason.clone(), waited_for, now };
            let waited_for = partition.waited_for;
            let mut completed = Vec::new();
            partition.unresolved.retain_mut(|batch| {
                batch.attempts.possibly_written |= !batch.is_waiting();
                completed.extend(batch.fail(&failing(batch.waits_for(waited_for))));
                !batch.is_waiting()
            });
            completed.extend(partition.give_up_queued(&failing(waited_for)));
            for batch in completed {
                self.complete(now, batch);
            }
        }
    }

    /// The producer can't go on: everything fails, and callers are told so from now on.
    fn fail_for_good(&mut self, now: Instant, event: IdentityEvent, error: FatalError) {
        self.identity = match self.identity {
            Identity::Off => Identity::Failed(error),
            identity => identity.next(event),
        };
        self.accumulator.close_fatally(error);
        self.fail_everything(now, &FailureReason::Fatal(error));
        self.fail_dialogue(now, error);
    }

    /// Hands the end of a batch to the shell.
    fn complete(&mut self, now: Instant, mut batch: CompletedBatch) {
        if let Err(failure) = &mut batch.outcome
            && let WaitedFor::Connection(broker) = failure.waited_for
        {
            let state = self.brokers.get(&broker);
            Arc::make_mut(failure).unreachable = state.and_then(|s| s.unreachable.clone());
        }
        self.metrics.lock().count_completed(now, &batch);
        let failure = batch.outcome.as_ref().err().map(Arc::clone);
        self.effects.push_back(Effect::Complete(batch));
        if let Some(failure) = failure {
            self.fail_transaction(now, AbortCause::NotDelivered(failure));
        }
    }

    /// The partition of a slot, if the sender has seen it.
    fn partition(&mut self, slot: usize) -> Option<&mut PartitionState> {
        self.partitions.get_mut(slot)?.as_deref_mut()
    }

    /// Sees to it that the next poll after `at` plans a round.
    fn wake_at(&mut self, at: Instant) {
        self.wakeup = Some(self.wakeup.map_or(at, |wakeup| wakeup.min(at)));
    }

    fn step_rules(&self, now: Instant) -> StepRules {
        let transaction = self.transaction.as_deref();
        StepRules {
            now,
            identity: self.identity,
            added_to: transaction.filter(|t| t.adds_partitions()).map(Dialogue::number),
            unresolved_max: self.config.unresolved_max(),
            acks: self.config.acks,
            #[cfg(not(feature = "planted-bugs"))]
            first_alone: true,
            #[cfg(feature = "planted-bugs")]
            first_alone: !self
                .config
                .has_bug(crate::planted_bugs::PlantedBug::PipelineFirstBatches),
        }
    }

    fn ready_rules<'a>(&self, now: Instant, accumulator: &'a RecordAccumulator) -> ReadyRules<'a> {
        ReadyRules {
            now,
            linger: accumulator.config().linger,
            held_until: None,
            memory_pressure: accumulator.memory().waiting() > 0,
            closing: accumulator.is_closed(),
            flush: accumulator.flush_tracker(),
        }
    }

    fn new_batch_id(&mut self) -> BatchId {
        self.next_batch += 1;
        BatchId(self.next_batch)
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("identity", &self.identity)
            .field("active", &self.active.len())
            .field("requests", &self.requests.len())
            .field("wakeup", &self.wakeup)
            .finish_non_exhaustive()
    }
}
