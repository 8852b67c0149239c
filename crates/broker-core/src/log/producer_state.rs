//! What a partition knows of its producers: the check that lets each batch in exactly once.
//!
//! 1. `check` decides and changes nothing; `replay` changes and decides nothing. A restart replays
//!    the log through the same function that a run applies after each append.
//! 2. A batch equal in both sequences to one of the producer's last five is a duplicate, answered
//!    with the offsets it got the first time (KIP-98).
//! 3. A producer of whom nothing is known begins at sequence 0. Kafka before 4.5 took any sequence
//!    there, and so lost the first of two batches that arrived swapped (KAFKA-15591); 4.5 refuses
//!    it on a log that never held a record. Here it is refused on every log.
//! 4. Expiry goes by when a producer wrote, on a clock that doesn't jump, never by the stamps in
//!    its records: old events written today are of today (KAFKA-9144 is what else happens).

use std::collections::VecDeque;

use streamledger_protocol::record_batch::RecordBatchHeader;
use streamledger_protocol::{Offset, ProducerEpoch, ProducerId, ProducerIdentity};
use streamledger_protocol::{SequenceNumber, TimestampMs};

use super::append::producer_batch_of;
use super::producer_entry::{ProducerState, RecentBatch};
use super::transactions::TransactionTable;
use crate::map::Map;
use crate::planted_bugs::{Planted, PlantedBug};
use crate::time::MonotonicMs;

/// How many forgotten producers are remembered as forgotten.
const FORGOTTEN_MAX: usize = 1024;

/// What an idempotent batch says of its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Who wrote it.
    pub producer: ProducerIdentity,
    /// The sequence of its first record.
    pub first_sequence: SequenceNumber,
    /// The sequence of its last record.
    pub last_sequence: SequenceNumber,
    /// Whether it is part of a transaction.
    pub transactional: bool,
}

/// A batch that may be appended, or was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceVerdict {
    /// It continues its producer's sequence.
    Next,
    /// It was appended before, as this.
    Duplicate(RecentBatch),
}

/// Why a producer's batch or marker is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProducerRefusal {
    /// A newer life of the producer id has written (INVALID_PRODUCER_EPOCH).
    #[error("{producer} is fenced: epoch {current} has written")]
    Fenced {
        /// Who wrote the batch.
        producer: ProducerIdentity,
        /// The epoch that fences it.
        current: ProducerEpoch,
    },
    /// A batch is missing before this one, or this one is older than the last five
    /// (OUT_OF_ORDER_SEQUENCE_NUMBER).
    #[error("{producer} sent sequence {found} where {expected} is next")]
    OutOfOrder {
        /// Who wrote the batch.
        producer: ProducerIdentity,
        /// The sequence that would have been taken.
        expected: SequenceNumber,
        /// The sequence of the batch.
        found: SequenceNumber,
    },
    /// The producer was silent past its expiration and is forgotten (UNKNOWN_PRODUCER_ID): it
    /// must go on under a new epoch.
    #[error("{producer} was silent for too long and is forgotten")]
    Forgotten {
        /// Who wrote the batch.
        producer: ProducerIdentity,
    },
    /// A batch outside a transaction while the producer has one open (INVALID_TXN_STATE).
    #[error("{producer} has a transaction open and wrote outside of it")]
    OutsideTransaction {
        /// Who wrote the batch.
        producer: ProducerIdentity,
    },
    /// A batch would open a transaction that its coordinator was not asked about, or that was ended
    /// since (INVALID_TXN_STATE).
    #[error("{producer} writes in a transaction that is not verified")]
    Unverified {
        /// Who wrote the batch.
        producer: ProducerIdentity,
    },
    /// A marker of a coordinator that has been replaced (TRANSACTION_COORDINATOR_FENCED).
    #[error("coordinator epoch {found} is fenced by {current}")]
    CoordinatorFenced {
        /// The coordinator epoch of the marker.
        found: i32,
        /// The one that fences it.
        current: i32,
    },
}

/// How a partition stands with a producer before its transaction is verified by the coordinator.
///
/// Taken before the coordinator is asked, and handed in with the batch: if a marker came in
/// between, the answer is about a transaction that is over (Kafka's `VerificationGuard`, KIP-890).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionGuard {
    last_marker: Offset,
    /// The epoch whose transaction is open in the partition; batches under it need no guard.
    pub open_epoch: Option<ProducerEpoch>,
}

/// A transaction's end as a control batch tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionMarker {
    /// Whose transaction ends.
    pub producer: ProducerIdentity,
    /// The epoch of the coordinator that says so.
    pub coordinator_epoch: i32,
    /// Whether it committed.
    pub committed: bool,
}

/// How the epoch of a marker stands to that of the records whose transaction it ends. The log does
/// not tell; who writes the marker does (`transaction_version` of WriteTxnMarkers, KIP-1228).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkerEpoch {
    /// The same: transactions of version 1.
    Same,
    /// Higher: transactions of version 2, and those that the coordinator fences. A marker at an
    /// epoch that has been seen is late or came before: what is open under that epoch is another
    /// transaction.
    Raised,
}

/// Where an appended batch or marker lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub first_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// Its largest timestamp.
    pub timestamp: TimestampMs,
    /// When it was appended; at a replay, when it is replayed.
    pub seen: MonotonicMs,
}

/// The producers of one log.
#[derive(Debug, Clone, Default)]
pub struct ProducerStateTable {
    pub(super) producers: Map<ProducerId, ProducerState>,
    pub(super) transactions: TransactionTable,
    /// Producers that expired, oldest first: their next batch is told so.
    pub(super) forgotten: VecDeque<ProducerId>,
    /// The offset of each producer's last marker in this run: what a guard is held against.
    last_markers: Map<ProducerId, Offset>,
    planted: Planted,
}

impl PartialEq for ProducerStateTable {
    fn eq(&self, other: &Self) -> bool {
        self.producers == other.producers
            && self.transactions == other.transactions
            && self.forgotten == other.forgotten
    }
}

impl ProducerStateTable {
    /// A table that knows no producer.
    #[must_use]
    pub fn new(planted: Planted) -> Self {
        Self { planted, ..Self::default() }
    }

    /// Whether a client's batch continues its producer's sequence.
    ///
    /// # Errors
    /// The batch may not be appended, and why; nothing has changed.
    pub fn check(&self, batch: &ProducerBatch) -> Result<SequenceVerdict, ProducerRefusal> {
        let producer = batch.producer;
        let Some(state) = self.producers.get(&producer.id) else {
            return self.check_unknown(batch);
        };
        if producer.epoch < state.epoch {
            return Err(ProducerRefusal::Fenced { producer, current: state.epoch });
        }
        let same_epoch = producer.epoch == state.epoch;
        if same_epoch && let Some(original) = self.find_duplicate(state, batch) {
            return Ok(SequenceVerdict::Duplicate(original));
        }
        let expected = match state.recent.last() {
            Some(last) if same_epoch => last.last_sequence.plus(1),
            _ => SequenceNumber::ZERO,
        };
        if batch.first_sequence != expected {
            let found = batch.first_sequence;
            return Err(ProducerRefusal::OutOfOrder { producer, expected, found });
        }
        if state.open_transaction.is_some() && !batch.transactional {
            return Err(ProducerRefusal::OutsideTransaction { producer });
        }
        Ok(SequenceVerdict::Next)
    }

    fn check_unknown(&self, batch: &ProducerBatch) -> Result<SequenceVerdict, ProducerRefusal> {
        let producer = batch.producer;
        if batch.first_sequence == SequenceNumber::ZERO {
            Ok(SequenceVerdict::Next)
        } else if self.forgotten.contains(&producer.id) {
            Err(ProducerRefusal::Forgotten { producer })
        } else {
            let (expected, found) = (SequenceNumber::ZERO, batch.first_sequence);
            Err(ProducerRefusal::OutOfOrder { producer, expected, found })
        }
    }

    fn find_duplicate(&self, state: &ProducerState, batch: &ProducerBatch) -> Option<RecentBatch> {
        let mut recent = state.recent.as_slice();
        if self.planted.has(PlantedBug::DuplicateCheckAgainstLastBatchOnly) {
            recent = recent.get(recent.len().saturating_sub(1)..).unwrap_or_default();
        }
        let same = |known: &&RecentBatch| {
            known.first_sequence == batch.first_sequence
                && known.last_sequence == batch.last_sequence
        };
        recent.iter().rev().find(same).copied()
    }

    /// How the log stands with a producer, before its transaction is verified.
    #[must_use]
    pub fn guard(&self, id: ProducerId) -> TransactionGuard {
        let opened = |state: &&ProducerState| state.open_transaction.is_some();
        TransactionGuard {
            last_marker: self.last_markers.get(&id).copied().unwrap_or(Offset::NONE),
            open_epoch: self.producers.get(&id).filter(opened).map(|state| state.epoch),
        }
    }

    /// The offset of a producer's last marker, if it was written in this run.
    #[must_use]
    pub fn last_marker(&self, id: ProducerId) -> Option<Offset> {
        self.last_markers.get(&id).copied()
    }

    /// Whether a transactional batch may be appended: its transaction is open here, or was
    /// verified under that guard.
    ///
    /// # Errors
    /// Neither is the case.
    pub fn check_verified(
        &self,
        producer: ProducerIdentity,
        guard: Option<&TransactionGuard>,
    ) -> Result<(), ProducerRefusal> {
        let present = self.guard(producer.id);
        let is_open = present.open_epoch == Some(producer.epoch);
        let is_verified = guard.is_some_and(|guard| guard.last_marker == present.last_marker);
        match is_open || is_verified {
            true => Ok(()),
            false => Err(ProducerRefusal::Unverified { producer }),
        }
    }

    /// Whether a coordinator may write that marker.
    ///
    /// # Errors
    /// The producer or the coordinator has been fenced, or the marker has been written before.
    pub fn check_marker(
        &self,
        marker: &TransactionMarker,
        epoch: MarkerEpoch,
    ) -> Result<(), ProducerRefusal> {
        let Some(state) = self.producers.get(&marker.producer.id) else { return Ok(()) };
        let producer = marker.producer;
        self.check_epoch(producer)?;
        let is_late = epoch == MarkerEpoch::Raised && producer.epoch == state.epoch;
        if is_late && !self.planted.has(PlantedBug::MarkerAtEqualEpoch) {
            return Err(ProducerRefusal::Fenced { producer, current: state.epoch });
        }
        if marker.coordinator_epoch < state.coordinator_epoch {
            let (found, current) = (marker.coordinator_epoch, state.coordinator_epoch);
            return Err(ProducerRefusal::CoordinatorFenced { found, current });
        }
        Ok(())
    }

    /// Whether a coordinator may write a producer's batch: it carries no sequence to be checked.
    ///
    /// # Errors
    /// The producer has been fenced.
    pub fn check_epoch(&self, producer: ProducerIdentity) -> Result<(), ProducerRefusal> {
        match self.producers.get(&producer.id) {
            Some(state) if producer.epoch < state.epoch => {
                Err(ProducerRefusal::Fenced { producer, current: state.epoch })
            }
            _ => Ok(()),
        }
    }

    /// Notes a batch that is in the log, with the marker it holds, if it holds one.
    pub(super) fn replay_batch(
        &mut self,
        header: &RecordBatchHeader,
        marker: Option<&TransactionMarker>,
        seen: MonotonicMs,
    ) {
        let appended = Appended {
            first_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp: header.max_timestamp,
            seen,
        };
        if let Some(marker) = marker {
            self.replay_marker(marker, &appended);
        } else if let Some(batch) = producer_batch_of(header) {
            self.replay(&batch, &appended);
        }
    }

    /// Notes a data batch that is in the log, whoever let it in.
    pub fn replay(&mut self, batch: &ProducerBatch, appended: &Appended) {
        let ProducerBatch { producer, first_sequence, last_sequence, transactional } = *batch;
        let state = self.enter(producer, appended);
        // What a coordinator writes for a producer has no sequence.
        if first_sequence != SequenceNumber::NONE {
            state.recent.push(RecentBatch {
                first_sequence,
                last_sequence,
                first_offset: appended.first_offset,
                last_offset: appended.last_offset,
                timestamp: appended.timestamp,
            });
        }
        if transactional && state.open_transaction.is_none() {
            state.open_transaction = Some(appended.first_offset);
            self.transactions.begin(producer.id, appended.first_offset);
        }
    }

    /// Notes a marker that is in the log.
    pub fn replay_marker(&mut self, marker: &TransactionMarker, appended: &Appended) {
        self.last_markers.insert(marker.producer.id, appended.last_offset);
        let state = self.enter(marker.producer, appended);
        state.coordinator_epoch = state.coordinator_epoch.max(marker.coordinator_epoch);
        if let Some(first_offset) = state.open_transaction.take() {
            self.transactions.decide(
                marker.producer.id,
                first_offset,
                appended.last_offset,
                marker.committed,
            );
        }
    }

    /// The producer's state under its epoch, with the batches of an older epoch forgotten.
    fn enter(&mut self, producer: ProducerIdentity, appended: &Appended) -> &mut ProducerState {
        if !self.forgotten.is_empty() {
            self.forgotten.retain(|id| *id != producer.id);
        }
        let fresh = || ProducerState::new(producer.epoch, appended.seen);
        let state = self.producers.entry(producer.id).or_insert_with(fresh);
        if producer.epoch > state.epoch {
            state.epoch = producer.epoch;
            state.recent.clear();
        }
        state.last_seen = appended.seen;
        state.last_timestamp = appended.timestamp;
        state
    }

    /// Forgets producers that have been silent for `expiration_ms` and have no open transaction;
    /// says how many.
    pub fn expire(&mut self, now: MonotonicMs, expiration_ms: u64) -> usize {
        let expired = |state: &ProducerState| {
            state.open_transaction.is_none() && now.since(state.last_seen) >= expiration_ms
        };
        let mut ids: Vec<_> =
            self.producers.iter().filter(|(_, s)| expired(s)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        for id in &ids {
            self.producers.remove(id);
            self.last_markers.remove(id);
            if self.forgotten.len() == FORGOTTEN_MAX {
                self.forgotten.pop_front();
            }
            self.forgotten.push_back(*id);
        }
        ids.len()
    }

    /// Forgets everything: what the planted bug does at a restart.
    pub(super) fn forget_all(&mut self) {
        *self = Self::new(self.planted);
    }

    /// One producer's state.
    #[must_use]
    pub fn producer(&self, id: ProducerId) -> Option<&ProducerState> {
        self.producers.get(&id)
    }

    /// The producers, by id: what DescribeProducers lists.
    #[must_use]
    pub fn producers(&self) -> Vec<(ProducerId, &ProducerState)> {
        let mut all: Vec<_> = self.producers.iter().map(|(id, state)| (*id, state)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    /// How many producers are known.
    #[must_use]
    pub fn producer_count(&self) -> usize {
        self.producers.len()
    }

    /// The transactions of the log.
    #[must_use]
    pub const fn transactions(&self) -> &TransactionTable {
        &self.transactions
    }

    /// The transactions of the log, to move them on.
    pub(super) const fn transactions_mut(&mut self) -> &mut TransactionTable {
        &mut self.transactions
    }
}

#[cfg(test)]
#[path = "producer_state_tests.rs"]
mod tests;
