//! What is known of all transactional ids. Only [`TransactionCoordinator::replay`] changes it.

use std::collections::{BTreeMap, BTreeSet};

use streamledger_protocol::{
    PartitionIndex, ProducerIdentity, TimestampMs, TopicPartition, TransactionalId,
};

use super::record::TransactionRecord;
use super::state::{ClientVersion, Transaction, TransactionState};
use crate::key_partition::key_partition;
use crate::log::MarkerEpoch;
use crate::planted_bugs::{Planted, PlantedBug};
use crate::time::{MonotonicMs, Now};

/// What a coordinator goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionConfig {
    /// Partitions of `__transaction_state`.
    pub partition_count: i32,
    /// The longest time-out that a producer may ask for, in ms (transaction.max.timeout.ms).
    pub timeout_ms_max: i32,
    /// How long an unused transactional id is remembered, in ms (transactional.id.expiration.ms).
    pub id_expiration_ms: u64,
    /// How many transactional ids there may be.
    pub ids_max: usize,
}

impl Default for TransactionConfig {
    /// Kafka's defaults, and a hundred thousand ids.
    fn default() -> Self {
        Self {
            partition_count: 50,
            timeout_ms_max: 900_000,
            id_expiration_ms: 604_800_000,
            ids_max: 100_000,
        }
    }
}

/// Markers that are to be written, each to its partition's log as a control batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkerWrite {
    /// Whose transaction ends.
    pub transactional_id: TransactionalId,
    /// Where its record lies: the leader epoch of that partition of `__transaction_state` is the
    /// coordinator epoch of the markers.
    pub coordinator_partition: PartitionIndex,
    /// The producer and the epoch that the markers carry.
    pub producer: ProducerIdentity,
    /// How that epoch stands to the one of the transaction's records.
    pub epoch: MarkerEpoch,
    /// Whether the transaction is committed; else it is aborted.
    pub committed: bool,
    /// Where to; a partition that is gone counts as written.
    pub partitions: Vec<TopicPartition>,
}

/// A transactional id, and when something must be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    transaction: Transaction,
    due: Option<MonotonicMs>,
}

/// What is known of all transactional ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionCoordinator {
    pub(super) config: TransactionConfig,
    pub(super) planted: Planted,
    entries: BTreeMap<TransactionalId, Entry>,
    due: BTreeSet<(MonotonicMs, TransactionalId)>,
    unmarked: BTreeSet<TransactionalId>,
}

impl TransactionCoordinator {
    /// One that knows no transactional id.
    #[must_use]
    pub fn new(config: TransactionConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// The same with a bug, for the simulator to find.
    #[must_use]
    pub fn with_planted(self, planted: Planted) -> Self {
        Self { planted, ..self }
    }

    /// Takes the number of partitions that `__transaction_state` really has; before anything is
    /// replayed.
    pub fn set_partition_count(&mut self, partition_count: i32) {
        self.config.partition_count = partition_count;
    }

    /// The partition of `__transaction_state` that keeps the records of an id.
    #[must_use]
    pub fn partition_of(&self, transactional_id: &TransactionalId) -> PartitionIndex {
        key_partition(transactional_id.as_str(), self.config.partition_count)
    }

    /// What is known of an id.
    #[must_use]
    pub fn transaction(&self, transactional_id: &TransactionalId) -> Option<&Transaction> {
        self.entries.get(transactional_id).map(|entry| &entry.transaction)
    }

    /// All ids, in order.
    pub fn transactions(&self) -> impl Iterator<Item = (&TransactionalId, &Transaction)> {
        self.entries.iter().map(|(id, entry)| (id, &entry.transaction))
    }

    /// How many ids are known.
    #[must_use]
    pub fn id_count(&self) -> usize {
        self.entries.len()
    }

    /// Applies a record that is in the log: after it was appended, and at load.
    ///
    /// At load the records of a partition come in the order of the log; when all are replayed,
    /// [`Self::poll_markers`] gives the transactions that a crash left undone.
    pub fn replay(&mut self, record: TransactionRecord, now: Now) {
        let TransactionRecord { transactional_id, transaction } = record;
        let before = self.entries.remove(&transactional_id);
        self.unmarked.remove(&transactional_id);
        if let Some(due) = before.as_ref().and_then(|entry| entry.due) {
            self.due.remove(&(due, transactional_id.clone()));
        }
        let Some(transaction) = transaction else { return };
        let due = self.due_of(&transaction, before.as_ref(), now);
        if let Some(due) = due {
            self.due.insert((due, transactional_id.clone()));
        }
        if transaction.state.decided().is_some() {
            self.unmarked.insert(transactional_id.clone());
        }
        self.entries.insert(transactional_id, Entry { transaction, due });
    }

    fn due_of(
        &self,
        transaction: &Transaction,
        before: Option<&Entry>,
        now: Now,
    ) -> Option<MonotonicMs> {
        match transaction.state {
            TransactionState::Ongoing => {
                // A transaction that goes on keeps its hour, wherever the wall clock jumped to.
                let goes_on = |entry: &&Entry| {
                    entry.transaction.state == TransactionState::Ongoing
                        && entry.transaction.started == transaction.started
                };
                let timeout_ms = u64::try_from(transaction.timeout_ms).unwrap_or(0);
                let fresh = || Some(left_of(timeout_ms, transaction.started, now));
                before.filter(goes_on).map_or_else(fresh, |entry| entry.due)
            }
            TransactionState::Empty
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort => {
                Some(left_of(self.config.id_expiration_ms, transaction.updated, now))
            }
            TransactionState::PrepareCommit
            | TransactionState::PrepareAbort
            | TransactionState::Dead => None,
        }
    }

    /// Markers to be written, once the record that decided so is flushed; none if there are none.
    /// Given once: who takes them writes them, however often that must be tried.
    pub fn poll_markers(&mut self) -> Option<MarkerWrite> {
        while let Some(transactional_id) = self.unmarked.pop_first() {
            let Some(entry) = self.entries.get(&transactional_id) else { continue };
            let transaction = &entry.transaction;
            let Some(committed) = transaction.state.decided() else { continue };
            let mut partitions: Vec<TopicPartition> =
                transaction.partitions.iter().cloned().collect();
            if self.planted.has(PlantedBug::NoMarkerForOffsets) {
                partitions.retain(|partition| partition.topic.as_str() != "__consumer_offsets");
            }
            return Some(MarkerWrite {
                coordinator_partition: self.partition_of(&transactional_id),
                producer: transaction.producer,
                epoch: match transaction.client {
                    ClientVersion::V1 => MarkerEpoch::Same,
                    ClientVersion::V2 => MarkerEpoch::Raised,
                },
                committed,
                partitions,
                transactional_id,
            });
        }
        None
    }

    /// When [`Self::decide_due`] has something to do; none if never.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<MonotonicMs> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The id that is due, and what is known of it.
    pub(super) fn first_due(&self, now: MonotonicMs) -> Option<(&TransactionalId, &Transaction)> {
        let (due, transactional_id) = self.due.first()?;
        if *due > now {
            return None;
        }
        self.transaction(transactional_id).map(|transaction| (transactional_id, transaction))
    }
}

/// The moment `limit_ms` after `since`, a stamp of the wall clock: at most that long from now, and
/// never in the past.
fn left_of(limit_ms: u64, since: TimestampMs, now: Now) -> MonotonicMs {
    let passed_ms = u64::try_from(now.wall.0.saturating_sub(since.0)).unwrap_or(0);
    now.monotonic.plus(limit_ms.saturating_sub(passed_ms))
}
