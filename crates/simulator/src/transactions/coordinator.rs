//! The coordinator at the broker that leads its log, run as the broker's shell runs it: decide,
//! append, replay; answer and mark once that is flushed; load it again when its log is opened.

use std::time::Duration;

use bytes::Bytes;
use streamledger_broker_core::log::AppendOrigin;
use streamledger_broker_core::planted_bugs::{Planted, PlantedBug};
use streamledger_broker_core::transaction::{
    Decision, MarkerWrite, Transaction, TransactionConfig, TransactionCoordinator,
    TransactionRecord, TransactionRefusal,
};
use streamledger_client_core::transaction::{QuestionId, TransactionReply};
use streamledger_protocol::compression::{CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{BatchSeal, RecordBatchBuilder, batches};
use streamledger_protocol::{ErrorCode, ProducerEpoch, ProducerIdentity};

use super::TransactionHappening;
use super::groups::GroupHappening;
use super::seat::Seat;
use crate::clock::SimTime;
use crate::partition::Appended;
use crate::plan::Planted as PlantedIn;
use crate::report::Promise;
use crate::world::World;

/// Beyond this nothing is waited for: what is due then is the expiry of an unused id.
const HORIZON: Duration = Duration::from_secs(3600);
/// How long until what was due, and could not be kept, is tried again.
const DUE_AGAIN: Duration = Duration::from_millis(50);

/// The coordinator.
#[derive(Debug)]
pub(super) struct Coordinator {
    pub(super) seat: Seat<Then>,
    pub(super) core: TransactionCoordinator,
    planted: Planted,
}

/// What happens after a flush.
#[derive(Debug)]
pub(super) enum Then {
    /// A producer is answered.
    Answer { client: usize, broker: (usize, u32), question: QuestionId, reply: TransactionReply },
    /// Markers are written.
    Mark(MarkerWrite),
    /// A partition's leader is answered.
    Admit { number: u64, answer: Result<(), ErrorCode> },
}

impl Coordinator {
    pub(super) fn new(slot: usize, planted: Option<PlantedIn>) -> Self {
        let planted = planted.map(PlantedIn::in_broker).unwrap_or_default();
        Self { seat: Seat::new(slot), core: Self::new_core(planted), planted }
    }

    fn new_core(planted: Planted) -> TransactionCoordinator {
        let config = TransactionConfig { partition_count: 1, ..TransactionConfig::default() };
        TransactionCoordinator::new(config).with_planted(planted)
    }
}

impl World {
    /// Whether that bug is planted in the brokers.
    pub(super) fn has_broker_bug(&self, bug: PlantedBug) -> bool {
        self.plan.planted == Some(PlantedIn::Broker(bug))
    }

    /// A coordinator's log was opened, if it is one: it is read after a while.
    pub(crate) fn coordinator_opens(&mut self, slot: usize) {
        let Some(transactions) = &self.transactions else { return };
        let life = self.partitions[slot].life;
        let loads = if transactions.coordinator.seat.slot == slot {
            TransactionHappening::CoordinatorLoads { life }
        } else if transactions.groups.slot() == slot {
            TransactionHappening::Group(GroupHappening::Loads { life })
        } else {
            return;
        };
        let at = self.now + Duration::from_micros(self.disk_dice.between(50, 20_000));
        self.push_transactional(at, loads);
    }

    /// Who is the coordinator now, as a broker knows it.
    ///
    /// # Errors
    /// What a broker answers that isn't, or isn't yet.
    pub(super) fn check_coordinator(&self, broker: usize) -> Result<(), ErrorCode> {
        let transactions = self.transactions.as_ref().ok_or(ErrorCode::NotCoordinator)?;
        let seat = &transactions.coordinator.seat;
        seat.check(&self.partitions[seat.slot], broker)
    }

    /// Whether there is a coordinator that works.
    pub(super) fn coordinator_is_loaded(&self) -> bool {
        let slot = self.transactions.as_ref().map(|t| t.coordinator.seat.slot);
        slot.is_some_and(|slot| self.check_coordinator(self.partitions[slot].host).is_ok())
    }

    pub(super) fn load_coordinator(&mut self, life: u32) {
        let Some(transactions) = &mut self.transactions else { return };
        let slot = transactions.coordinator.seat.slot;
        if self.partitions[slot].life != life || self.partitions[slot].log.is_none() {
            return;
        }
        let records = match self.read_all(slot).and_then(|stored| transaction_records(&stored)) {
            Ok(records) => records,
            Err(error) => {
                return self.violate(Promise::LogOpens, format!("the coordinator's log: {error}"));
            }
        };
        let (now, count) = (self.now.broker_now(), records.len());
        let Some(transactions) = &mut self.transactions else { return };
        transactions.jobs.clear();
        let coordinator = &mut transactions.coordinator;
        coordinator.core = Coordinator::new_core(coordinator.planted);
        records.into_iter().for_each(|record| coordinator.core.replay(record, now));
        coordinator.seat.take(life);
        self.counters.coordinator_loads += 1;
        self.note(format_args!("the coordinator is loaded from {count} records"));
        let forgets = self.has_broker_bug(PlantedBug::ForgetMarkersAtLoad);
        while let Some(write) = self.next_markers() {
            if !forgets {
                self.counters.markers_resumed += 1;
                self.begin_to_mark(write);
            }
        }
        self.set_coordinator_timer();
    }

    fn next_markers(&mut self) -> Option<MarkerWrite> {
        self.transactions.as_mut()?.coordinator.core.poll_markers()
    }

    /// Appends and replays what was decided.
    ///
    /// # Errors
    /// It could not be appended: nothing has changed.
    pub(super) fn keep<R>(
        &mut self,
        decision: Decision<R>,
    ) -> Result<Result<R, TransactionRefusal>, ErrorCode> {
        let Decision { record, reply } = decision;
        let Some(record) = record else { return Ok(reply) };
        self.check_epoch_step(&record);
        let Some(slot) = self.transactions.as_ref().map(|t| t.coordinator.seat.slot) else {
            return Err(ErrorCode::CoordinatorNotAvailable);
        };
        let now = self.now.broker_now();
        let batch = batch_of(&record, now.wall).ok_or(ErrorCode::UnknownServerError)?;
        let free_bytes = self.take_room(self.partitions[slot].host, batch.len());
        let origin = (AppendOrigin::Coordinator, None);
        match self.partitions[slot].append(batch, origin, now, free_bytes) {
            Appended::Written { .. } => {}
            Appended::Duplicate { .. } | Appended::Refused(_) => {
                return Err(ErrorCode::CoordinatorNotAvailable);
            }
        }
        let state = record.transaction.as_ref().map(|t| (t.state, t.producer));
        self.note(format_args!("{} becomes {state:?}", record.transactional_id));
        if let Some(transactions) = &mut self.transactions {
            transactions.coordinator.core.replay(record, now);
        }
        self.decision_is_kept();
        self.flush_if_due(slot);
        while let Some(write) = self.next_markers() {
            if self.has_broker_bug(PlantedBug::MarkersBeforeFlush) {
                self.begin_to_mark(write);
            } else {
                self.park(Then::Mark(write));
            }
        }
        self.set_coordinator_timer();
        Ok(reply)
    }

    /// Lets something wait until all that was decided so far is flushed.
    pub(super) fn park(&mut self, then: Then) {
        let Some(transactions) = &mut self.transactions else { return };
        let seat = &mut transactions.coordinator.seat;
        seat.park(&self.partitions[seat.slot], then);
        self.release_parked();
    }

    fn release_parked(&mut self) {
        while let Some(then) = self.next_released() {
            match then {
                Then::Answer { client, broker, question, reply } => {
                    self.answer(client, broker, question, reply);
                }
                Then::Mark(write) => self.begin_to_mark(write),
                Then::Admit { number, answer } => self.answer_admission(number, answer),
            }
        }
    }

    fn next_released(&mut self) -> Option<Then> {
        let seat = &mut self.transactions.as_mut()?.coordinator.seat;
        seat.next_released(&self.partitions[seat.slot])
    }

    /// A log was flushed: what waited for that goes on.
    pub(crate) fn release_transactional(&mut self, slot: usize) {
        if self.transactions.as_ref().is_some_and(|t| t.coordinator.seat.slot == slot) {
            self.release_parked();
        }
        if self.transactions.as_ref().is_some_and(|t| t.groups.slot() == slot) {
            self.release_groups();
        }
        self.release_markers(slot);
    }

    fn set_coordinator_timer(&mut self) {
        let Some(transactions) = &mut self.transactions else { return };
        let coordinator = &mut transactions.coordinator;
        let Some(due) = coordinator.core.next_wakeup() else { return };
        let at = SimTime::from_monotonic(due).max(self.now);
        if at > self.now + HORIZON || !coordinator.seat.set_timer(at) {
            return;
        }
        self.push_transactional(at, TransactionHappening::CoordinatorTimer);
    }

    pub(super) fn do_what_is_due(&mut self) {
        let loaded = self.coordinator_is_loaded();
        let now = self.now.broker_now();
        let Some(transactions) = &mut self.transactions else { return };
        if !transactions.coordinator.seat.take_timer(self.now) || !loaded {
            return;
        }
        while let Some(due) =
            self.transactions.as_ref().and_then(|t| t.coordinator.core.decide_due(now))
        {
            if self.keep(due).is_err() {
                let again = self.now + DUE_AGAIN;
                if let Some(transactions) = &mut self.transactions {
                    let _ = transactions.coordinator.seat.set_timer(again);
                }
                return self.push_transactional(again, TransactionHappening::CoordinatorTimer);
            }
            self.counters.transactions_timed_out += 1;
        }
        self.set_coordinator_timer();
    }

    /// A decision raises the epoch by one or not at all, or gives a fresh producer id.
    fn check_epoch_step(&mut self, record: &TransactionRecord) {
        let Some(transactions) = &self.transactions else { return };
        let before = transactions.coordinator.core.transaction(&record.transactional_id);
        let (Some(before), Some(after)) = (before, &record.transaction) else { return };
        let (Transaction { producer: before, .. }, after) = (before, after.producer);
        let step = i32::from(after.epoch.0) - i32::from(before.epoch.0);
        let is_right = match after.id == before.id {
            true => step == 0 || step == 1,
            false => after.epoch == ProducerEpoch::ZERO,
        };
        if !is_right {
            let text = format!("{} went from {before} to {after}", record.transactional_id);
            self.violate(Promise::EpochsRise, text);
        }
    }

    /// A producer is told who it is: never somebody whom it, or another, outlived.
    pub(super) fn check_epoch_told(&mut self, told: ProducerIdentity) {
        let Some(transactions) = &mut self.transactions else { return };
        let highest = transactions.epochs_told.entry(told.id).or_insert(told.epoch);
        let before = *highest;
        *highest = before.max(told.epoch);
        if told.epoch < before {
            let text = format!("{told} is told when epoch {before} was told before");
            self.violate(Promise::EpochsRise, text);
        }
    }
}

fn batch_of(record: &TransactionRecord, now: streamledger_protocol::TimestampMs) -> Option<Bytes> {
    let (key, value) = (record.encode_key().ok()?, record.encode_value().ok()?);
    let mut builder = RecordBatchBuilder::with_capacity(256);
    builder.append(now, Some(&key), value.as_deref(), &[]);
    let sealed = builder.seal(&BatchSeal::default(), &mut CompressionScratch::default());
    sealed.ok().map(|sealed| sealed.bytes)
}

fn transaction_records(stored: &[u8]) -> Result<Vec<TransactionRecord>, String> {
    let mut decompressor = Decompressor::default();
    let mut records = Vec::new();
    for batch in batches(stored) {
        let batch = batch.map_err(|error| error.to_string())?;
        for record in batch.records(&mut decompressor).map_err(|error| error.to_string())? {
            let record = record.map_err(|error| error.to_string())?;
            let bytes = |part: Option<&[u8]>| part.map(Bytes::copy_from_slice);
            let key = bytes(record.key).ok_or("a record without a key")?;
            let decoded = TransactionRecord::decode(key, bytes(record.value));
            records.push(decoded.map_err(|error| error.to_string())?);
        }
    }
    Ok(records)
}
