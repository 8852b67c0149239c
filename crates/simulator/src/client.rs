//! One producer: the real accumulator and sender, and the caller who uses them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use streamledger_client_core::accumulator::{
    AccumulatorConfig, Delivery, MemoryWait, RecordAccumulator, RecordMetadata, Reservation,
};
use streamledger_client_core::failure::DeliveryFailure;
use streamledger_client_core::idempotence::Identity;
use streamledger_client_core::partitioner::SeededRandom;
use streamledger_client_core::sender::{RequestId, Sender, SenderConfig, TransactionConfig};
use streamledger_protocol::ProducerIdentity;
use streamledger_protocol::compression::{Compression, CompressionScratch};

use crate::clock::SimTime;
use crate::plan::{Planted, ProducerPlan};
use crate::records::RecordNumber;
use crate::transactions::{TransactionalCaller, transactional_id};

/// How a record ended, as its callback was told.
pub(crate) type Ending = (RecordNumber, Result<RecordMetadata, Arc<DeliveryFailure>>);

/// A producer with its caller.
pub(crate) struct Client {
    pub(crate) plan: ProducerPlan,
    pub(crate) accumulator: Arc<RecordAccumulator>,
    pub(crate) sender: Sender,
    pub(crate) scratch: CompressionScratch,
    /// The connection in use to each broker.
    pub(crate) connections: BTreeMap<usize, usize>,
    /// Requests without an answer.
    pub(crate) in_flight: BTreeMap<RequestId, InFlight>,
    /// When the next look at the sender is due.
    pub(crate) timer: Option<SimTime>,
    pub(crate) caller: Caller,
    /// Filled by the records' callbacks.
    pub(crate) endings: Arc<Mutex<Vec<Ending>>>,
    /// Futures that somebody kept.
    pub(crate) deliveries: Vec<(RecordNumber, Delivery)>,
    /// Flushes that were begun.
    pub(crate) flushes: Vec<u64>,
    pub(crate) identity_seen: Identity,
    pub(crate) closed: bool,
    /// Its process was killed: it does nothing any more.
    pub(crate) dead: bool,
    /// Its process stands still until then.
    pub(crate) paused_until: SimTime,
    /// With transactions: who asks for them.
    pub(crate) transactional: Option<TransactionalCaller>,
}

/// A request without an answer.
pub(crate) struct InFlight {
    pub(crate) connection: usize,
    /// What it carries: the slots of the partitions, and under which identity.
    pub(crate) batches: Vec<(usize, Option<ProducerIdentity>)>,
}

/// Who sends records.
#[derive(Default)]
pub(crate) struct Caller {
    pub(crate) sent: u32,
    pub(crate) asked_metadata: bool,
    /// A record that could not be appended yet: since when, and what it waits for.
    pub(crate) blocked: Option<Blocked>,
}

/// A caller that waits for memory.
pub(crate) struct Blocked {
    pub(crate) since: SimTime,
    pub(crate) wait: Option<MemoryWait>,
    pub(crate) reservation: Option<Reservation>,
}

impl Client {
    pub(crate) fn new(plan: ProducerPlan, planted: Option<Planted>, random_seed: u64) -> Self {
        let random = Arc::new(SeededRandom::new(random_seed));
        let accumulator = RecordAccumulator::new(
            AccumulatorConfig {
                batch_bytes_max: plan.batch_bytes_max,
                memory_bytes_max: plan.memory_bytes_max,
                linger: plan.linger,
                ..AccumulatorConfig::default()
            },
            random.clone(),
        );
        let config = SenderConfig {
            compression: Compression::of(plan.codec),
            in_flight_max: plan.in_flight_max,
            request_timeout: plan.request_timeout,
            delivery_timeout: plan.delivery_timeout,
            transaction: plan.transaction.as_ref().map(|transaction| TransactionConfig {
                id: transactional_id(transaction.id),
                timeout: transaction.timeout,
            }),
            planted_bug: planted.and_then(Planted::in_client),
            ..SenderConfig::default()
        };
        let sender = Sender::new(config, Arc::clone(&accumulator), random);
        Self {
            transactional: plan.transaction.clone().map(TransactionalCaller::new),
            plan,
            accumulator,
            identity_seen: sender.identity(),
            sender,
            scratch: CompressionScratch::new(),
            connections: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            timer: None,
            caller: Caller::default(),
            endings: Arc::default(),
            deliveries: Vec::new(),
            flushes: Vec::new(),
            closed: false,
            dead: false,
            paused_until: SimTime(0),
        }
    }

    /// Takes the endings that callbacks have told since the last time.
    pub(crate) fn take_endings(&self) -> Vec<Ending> {
        std::mem::take(&mut *self.endings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the caller has sent, or given up, everything.
    pub(crate) fn caller_is_done(&self) -> bool {
        match &self.transactional {
            _ if self.dead => true,
            Some(caller) => caller.is_done(),
            None => self.caller.sent >= self.plan.records,
        }
    }

    /// Bytes of `buffer.memory` in use.
    pub(crate) fn reserved_bytes(&self) -> usize {
        let memory = self.accumulator.memory();
        memory.total_bytes() - memory.available_bytes()
    }
}
