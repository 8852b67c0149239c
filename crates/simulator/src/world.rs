//! The run itself: everything there is, and the loop that lets one thing happen after the other.
//!
//! Reading order: [`Happening`] (what can happen), then `producing` (the producers' side),
//! `serving` (the brokers' side), `faults` (what goes wrong), `finish` (the end, and the oracle).

use std::collections::BTreeMap;
use std::fmt;

use streamledger_broker_core::log::{HighWatermarkRule, LogConfig};
use streamledger_client_core::sender::{
    CompressedBatch, Event, OutgoingRequest, ProducerIdAnswer, RequestId, TopicLeaders,
};
use streamledger_protocol::{LeaderEpoch, Offset, PartitionIndex};

use crate::checks::{SentBatches, check_offsets};
use crate::client::Client;
use crate::clock::{InstantBase, SimTime};
use crate::cluster::{Cluster, OFFSETS_TOPIC, TRANSACTIONS_TOPIC};
use crate::network::{Connection, Response};
use crate::oracle::{Found, Ledger};
use crate::partition::Partition;
use crate::plan::RunPlan;
use crate::queue::EventQueue;
use crate::random::Dice;
use crate::records::RecordNumber;
use crate::report::{Counters, Promise, Report, Violation};
use crate::trace::Trace;
use crate::transactions::{TransactionHappening, Transactions};

/// More events than any sound run has.
const EVENTS_MAX: u64 = 400_000;
/// How long after the last fault everything must be resolved.
const PATIENCE_MS: u64 = 200_000;
/// Broken promises after which a run ends.
const VIOLATIONS_MAX: usize = 5;

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The caller of a producer does his next thing.
    CallerTurn(usize),
    /// A moment at which a sender wanted to be asked.
    SenderTimer(usize),
    /// Metadata comes to a producer, or doesn't.
    Metadata {
        client: usize,
        topics: Option<Vec<TopicLeaders>>,
    },
    ProducerId {
        client: usize,
        answer: ProducerIdAnswer,
    },
    Compressed {
        client: usize,
        batch: Box<CompressedBatch>,
    },
    /// An attempt to connect has ended.
    Connected {
        connection: usize,
        up: bool,
    },
    /// `request.timeout.ms` is over.
    Timeout {
        client: usize,
        request: RequestId,
    },
    /// A request could not be sent.
    NotSent {
        client: usize,
        request: RequestId,
    },
    RequestArrives {
        connection: usize,
        number: u64,
        request: Box<OutgoingRequest>,
    },
    ResponseArrives {
        connection: usize,
        response: Box<Response>,
    },
    /// The client notices that a connection is gone.
    ConnectionLost {
        connection: usize,
    },
    FlushDone {
        slot: usize,
        life: u32,
        number: u64,
    },
    /// The controller notices that a broker is down.
    CrashNoticed {
        broker: usize,
        life: u32,
    },
    Restart {
        broker: usize,
        life: u32,
    },
    /// Something goes wrong.
    Fault,
    /// Everything is repaired.
    EndOfFaults,
    ConsumerTurn,
    /// Something about transactions.
    Transactional(Box<TransactionHappening>),
}

/// A broker, apart from its partitions.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    pub(crate) up: bool,
    /// Rises whenever it goes down.
    pub(crate) life: u32,
    /// Flushes take that long, in microseconds, until the moment.
    pub(crate) slow_disk: Option<(SimTime, u64)>,
    /// Until when the disk has that many bytes left, for all writes.
    pub(crate) full_disk: Option<(SimTime, usize)>,
    /// Until when too few replicas are in sync.
    pub(crate) too_few_replicas: SimTime,
    /// Responses take that much longer, in microseconds, until the moment.
    pub(crate) slow_responses: Option<(SimTime, u64)>,
    /// So many more responses are lost, with their connections.
    pub(crate) lose_responses: u32,
    /// How long clients are told to wait, in milliseconds, until the moment.
    pub(crate) throttle: Option<(SimTime, u64)>,
}

/// Somebody who reads a partition while it is written.
#[derive(Debug, Default)]
pub(crate) struct Consumer {
    pub(crate) next: Offset,
    pub(crate) seen: Vec<RecordNumber>,
}

/// A run that is going on.
pub struct World {
    pub(crate) plan: RunPlan,
    pub(crate) now: SimTime,
    pub(crate) base: InstantBase,
    pub(crate) queue: EventQueue<Happening>,
    pub(crate) trace: Trace,
    pub(crate) counters: Counters,
    pub(crate) violations: Vec<Violation>,
    pub(crate) network_dice: Dice,
    pub(crate) disk_dice: Dice,
    pub(crate) fault_dice: Dice,
    pub(crate) work_dice: Dice,
    pub(crate) clients: Vec<Client>,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) connections: Vec<Connection>,
    /// Until when nothing gets through between a client and a broker.
    pub(crate) stalled: BTreeMap<(usize, usize), SimTime>,
    pub(crate) cluster: Cluster,
    pub(crate) partitions: Vec<Partition>,
    /// What partitions held in earlier lives of their topics.
    pub(crate) buried: BTreeMap<usize, Vec<Vec<Found>>>,
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) ledger: Ledger,
    pub(crate) sent: SentBatches,
    /// The transaction coordinator and what belongs to it, if anybody writes in transactions.
    pub(crate) transactions: Option<Box<Transactions>>,
    /// Until when metadata doesn't know the topics, or fails, or is old.
    pub(crate) topics_lost: SimTime,
    pub(crate) metadata_fails: SimTime,
    pub(crate) metadata_stale: SimTime,
    pub(crate) faults_over: bool,
    pub(crate) closing: bool,
}

impl World {
    /// A run that is about to begin.
    #[must_use]
    pub fn new(plan: RunPlan) -> Self {
        let mut dice = Dice::new(plan.seed ^ 0x5eed_5eed_5eed_5eed);
        let internal: &[&str] = match (plan.is_transactional(), plan.is_processing()) {
            (true, true) => &[TRANSACTIONS_TOPIC, OFFSETS_TOPIC],
            (true, false) => &[TRANSACTIONS_TOPIC],
            (false, _) => &[],
        };
        let cluster = Cluster::new(&plan.topics, internal);
        let transactions = plan.is_transactional().then(|| {
            let slot = cluster.callers_slots();
            Box::new(Transactions::new(slot, plan.planted))
        });
        let client = |dice: &mut Dice, producer: &crate::plan::ProducerPlan| {
            Client::new(producer.clone(), plan.planted, dice.next())
        };
        let clients = plan.producers.iter().map(|producer| client(&mut dice, producer)).collect();
        let mut world = Self {
            now: SimTime(0),
            base: InstantBase::new(),
            queue: EventQueue::new(),
            trace: Trace::new(plan.keep_trace),
            counters: Counters::default(),
            violations: Vec::new(),
            network_dice: dice.fork(),
            disk_dice: dice.fork(),
            fault_dice: dice.fork(),
            work_dice: dice.fork(),
            clients,
            brokers: (0..plan.brokers).map(|_| Broker { up: true, ..Broker::default() }).collect(),
            connections: Vec::new(),
            stalled: BTreeMap::new(),
            consumers: cluster.leaders.iter().map(|_| Consumer::default()).collect(),
            cluster,
            partitions: Vec::new(),
            buried: BTreeMap::new(),
            ledger: Ledger::default(),
            sent: SentBatches::default(),
            transactions,
            topics_lost: SimTime(0),
            metadata_fails: SimTime(0),
            metadata_stale: SimTime(0),
            faults_over: false,
            closing: false,
            plan,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let config = LogConfig {
            segment_bytes: self.plan.disk.segment_bytes,
            index_interval_bytes: self.plan.disk.index_interval_bytes,
            message_bytes_max: self.plan.disk.message_bytes_max,
            retention_ms: None,
            watermark: HighWatermarkRule::Flushed,
            planted: self.plan.planted.map(crate::plan::Planted::in_broker).unwrap_or_default(),
            ..LogConfig::default()
        };
        let now = self.now.broker_now();
        for (number, topic) in self.cluster.topics.clone().into_iter().enumerate() {
            for index in 0..topic.partition_count {
                let (slot, index) = (self.partitions.len(), PartitionIndex(index));
                let host = slot % self.brokers.len();
                let mut partition = Partition::new(number, index, host, config.clone());
                partition.create(now);
                self.partitions.push(partition);
                self.cluster.leaders[slot].broker = Some(host);
            }
        }
        self.cluster.stale_view = self.cluster.view();
        for slot in self.cluster.callers_slots()..self.partitions.len() {
            self.coordinator_opens(slot);
        }
        for client in 0..self.clients.len() {
            self.queue.push(SimTime(0), Happening::CallerTurn(client));
            self.tell(client, Event::Wake);
        }
        self.queue.push(SimTime::from_ms(5), Happening::ConsumerTurn);
        if self.plan.faults.gap_us_max > 0 {
            self.queue.push(SimTime(self.plan.faults.gap_us_max / 2), Happening::Fault);
        }
        self.queue.push(self.plan.faults.until, Happening::EndOfFaults);
    }

    /// Lets the next thing happen; false if the run is over.
    pub fn step(&mut self) -> bool {
        if self.violations.len() >= VIOLATIONS_MAX {
            return false;
        }
        let Some((at, happening)) = self.queue.pop() else { return false };
        self.now = at;
        let Some(happening) = self.unless_paused(happening) else { return true };
        self.counters.events += 1;
        let patience = std::time::Duration::from_millis(PATIENCE_MS);
        let overdue = at > self.plan.faults.until + patience && !self.closing;
        if overdue || self.counters.events > EVENTS_MAX {
            let unresolved = self.ledger.unresolved_numbers();
            let text = format!("the run does not end; without an end are {unresolved:?}");
            self.violate(Promise::EverySendResolves, text);
            return false;
        }
        self.happen(happening);
        self.check_partitions();
        self.begin_to_close();
        true
    }

    /// Lets things happen until `is_so`; false if the run is over before.
    pub fn run_until(&mut self, mut is_so: impl FnMut(&Self) -> bool) -> bool {
        while !is_so(self) {
            if !self.step() {
                return false;
            }
        }
        true
    }

    /// Lets `ms` milliseconds pass.
    pub fn run_for_ms(&mut self, ms: u64) -> bool {
        let end = self.now + std::time::Duration::from_millis(ms);
        self.run_until(|world| world.now >= end)
    }

    /// Runs to the end, and holds the logs against what was sent.
    #[must_use]
    pub fn finish(mut self) -> Report {
        while self.step() {}
        self.conclude()
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::CallerTurn(client) => self.caller_turn(client),
            Happening::SenderTimer(client) => self.sender_timer(client),
            Happening::Metadata { client, topics } => self.metadata_comes(client, topics),
            Happening::ProducerId { client, answer } => self.producer_id_comes(client, answer),
            Happening::Compressed { client, batch } => {
                self.tell(client, Event::Compressed(*batch));
            }
            Happening::Connected { connection, up } => self.connected(connection, up),
            Happening::Timeout { client, request } => self.request_times_out(client, request),
            Happening::NotSent { client, request } => {
                self.tell(client, Event::RequestFailed { request, possibly_sent: false });
            }
            Happening::RequestArrives { connection, number, request } => {
                self.request_arrives(connection, number, *request);
            }
            Happening::ResponseArrives { connection, response } => {
                self.response_arrives(connection, *response);
            }
            Happening::ConnectionLost { connection } => self.connection_lost(connection),
            Happening::FlushDone { slot, life, number } => self.flush_done(slot, life, number),
            Happening::CrashNoticed { broker, life } => self.crash_noticed(broker, life),
            Happening::Restart { broker, life } => self.restart(broker, life),
            Happening::Fault => self.something_goes_wrong(),
            Happening::EndOfFaults => self.repair_everything(),
            Happening::ConsumerTurn => self.consumer_turn(),
            Happening::Transactional(happening) => self.transaction_happens(*happening),
        }
    }

    fn check_partitions(&mut self) {
        let mut broken = Vec::new();
        for partition in &mut self.partitions {
            let Partition { log: Some(log), watermark_seen, stable_seen, .. } = partition else {
                continue;
            };
            broken.extend(check_offsets(log, watermark_seen, stable_seen).err());
        }
        for (client, producer) in self.clients.iter().enumerate() {
            let (reserved, budget) = (producer.reserved_bytes(), producer.plan.memory_bytes_max);
            if reserved > budget {
                let text = format!("client {client} has {reserved} of {budget} bytes");
                broken.push((Promise::MemoryIsBounded, text));
            }
        }
        for (promise, text) in broken {
            self.violate(promise, text);
        }
    }

    pub(crate) fn violate(&mut self, promise: Promise, found: String) {
        self.note(format_args!("BROKEN {promise:?}: {found}"));
        self.violations.push(Violation { at: self.now, promise, found });
    }

    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        self.trace.note(self.now, what);
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.now
    }

    /// How many records have no end yet.
    #[must_use]
    pub fn unresolved(&self) -> usize {
        self.ledger.unresolved()
    }

    /// How many segments were begun after the first one, in all partitions.
    #[must_use]
    pub fn rolls(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.rolls).sum()
    }

    /// How many requests of a client have no answer yet.
    #[must_use]
    pub fn requests_in_flight(&self, client: usize) -> usize {
        self.clients[client].in_flight.len()
    }

    /// The bytes of a client's `buffer.memory` that are in use.
    #[must_use]
    pub fn reserved_bytes(&self, client: usize) -> usize {
        self.clients[client].reserved_bytes()
    }

    /// The broker that leads a partition, or did last.
    #[must_use]
    pub fn leader(&self, slot: usize) -> usize {
        self.partitions[slot].host
    }

    /// How many records without a key were put into partitions that this broker leads.
    #[must_use]
    pub fn keyless_sent_to(&self, broker: usize) -> usize {
        let is_there = |sent: &&crate::oracle::Sent| {
            let slot = self.cluster.topics[sent.topic].first_slot;
            let place = usize::try_from(sent.partition.0).unwrap_or(0);
            sent.content.key.is_none() && self.leader(slot + place) == broker
        };
        self.ledger.records().iter().filter(is_there).count()
    }

    /// The end of a partition's log; 0 while it is closed.
    #[must_use]
    pub fn log_end_offset(&self, slot: usize) -> Offset {
        self.partitions[slot].log.as_ref().map_or(Offset::ZERO, |log| log.log_end_offset())
    }

    /// The offset up to which a partition's log is safe; 0 while it is closed.
    #[must_use]
    pub fn flushed_offset(&self, slot: usize) -> Offset {
        self.partitions[slot].flushed_offset()
    }

    /// The epoch under which a partition was led last.
    #[must_use]
    pub fn leader_epoch(&self, slot: usize) -> LeaderEpoch {
        self.partitions[slot].leader_epoch
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
