//! The controller's shell: performs what the core decides about topics, settings, producer ids.
//!
//! 1. A decision is on disk before it is replayed, and replayed before it is answered.
//! 2. Decisions are made one at a time, under `log`'s lock; readers only take `state`'s, briefly.
//! 3. A topic's directories are there before its record, and go after it: a crash in between
//!    leaves directories that no record names, which the next start removes.

mod metadata_log;
mod random;

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use streamledger_broker_core::config::BrokerConfigs;
use streamledger_broker_core::controller::{
    ClusterState, Decision, MetadataRecord, PRODUCER_ID_BLOCK, Refusal, decide_found_cluster,
    decide_reserve_producer_ids,
};
use streamledger_protocol::{BrokerId, ErrorCode, ProducerId};

use crate::storage::is_disk_full;
use tracing::{error, warn};

pub use metadata_log::MetadataLogError;
pub(crate) use metadata_log::{METADATA_LOG, MetadataLog};
pub(crate) use random::{random_bytes, random_topic_id};

/// The producer ids that were reserved and not yet given.
#[derive(Debug, Default)]
struct ProducerIdBlock {
    next: i64,
    end: i64,
    /// How many this run has reserved.
    reserved: i64,
}

/// Topics, settings and producer ids, kept.
#[derive(Debug)]
pub(crate) struct Controller {
    state: RwLock<ClusterState>,
    log: Mutex<MetadataLog>,
    producer_ids: Mutex<ProducerIdBlock>,
    configs_at_start: BrokerConfigs,
    /// How many records the metadata log has been given.
    record_count: AtomicU64,
}

impl Controller {
    /// Takes over a replayed state: founds the cluster under this id if it is new, and raises
    /// leader epochs.
    pub(crate) fn start(
        log: MetadataLog,
        state: ClusterState,
        cluster_id: &str,
        node: BrokerId,
        configs: BrokerConfigs,
    ) -> Result<Self, MetadataLogError> {
        let record_count = AtomicU64::new(log.record_count());
        let controller = Self {
            state: RwLock::new(state),
            log: Mutex::new(log),
            producer_ids: Mutex::new(ProducerIdBlock::default()),
            configs_at_start: configs,
            record_count,
        };
        let decision = decide_found_cluster(&controller.state.read(), cluster_id, node);
        let is_founded = !controller.read(|state| state.cluster_id().is_empty());
        match controller.keep(&mut controller.log.lock(), &decision.records) {
            // Nothing can be appended, and so nothing replaced either: the epochs may stay.
            Err(MetadataLogError::Io { source, path }) if is_founded && is_disk_full(&source) => {
                warn!(path = %path.display(), "the disk is full: leader epochs stay as they were");
            }
            kept => kept?,
        }
        Ok(controller)
    }

    /// Reads the state. The lock is held while `read` runs: no waiting in it.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&ClusterState) -> R) -> R {
        read(&self.state.read())
    }

    /// How many records the metadata log has: its end offset. Rises with each change of the state,
    /// after it.
    pub(crate) fn record_count(&self) -> u64 {
        self.record_count.load(Ordering::Acquire)
    }

    /// The broker's settings, those changed while running included.
    pub(crate) fn broker_configs(&self) -> BrokerConfigs {
        let at_start = self.configs_at_start.at_start.clone();
        self.read(|state| BrokerConfigs {
            at_start,
            dynamic: state.broker_configs().clone(),
            dynamic_default: state.cluster_configs().clone(),
        })
    }

    /// A broker setting's value in force as a number, without a copy of the others.
    pub(crate) fn number(&self, name: &str) -> i64 {
        let changed = self.read(|state| {
            let given = state.broker_configs().get(name);
            let given = given.or_else(|| state.cluster_configs().get(name));
            given.and_then(|value| value.trim().parse().ok())
        });
        changed.unwrap_or_else(|| self.configs_at_start.number(name))
    }

    /// The broker's settings as they were given at start.
    pub(crate) fn configs_at_start(&self) -> &BrokerConfigs {
        &self.configs_at_start
    }

    /// Decides, prepares what the decision needs, keeps it, and lets it take effect.
    ///
    /// Blocks on the disk. `prepare` runs before the decision is kept; if it, or the keeping,
    /// fails, `undo` runs and nothing has changed.
    pub(crate) fn change<R>(
        &self,
        decide: impl FnOnce(&ClusterState) -> Result<Decision<R>, Refusal>,
        prepare: impl FnOnce(&R) -> Result<(), Refusal>,
        undo: impl FnOnce(&R),
    ) -> Result<R, Refusal> {
        let mut log = self.log.lock();
        let Decision { records, reply } = decide(&self.state.read())?;
        let kept = prepare(&reply).and_then(|()| {
            self.keep(&mut log, &records).map_err(|error| {
                error!(%error, "metadata log: a decision was not kept");
                Refusal::new(ErrorCode::KafkaStorageError, error.to_string())
            })
        });
        match kept {
            Ok(()) => Ok(reply),
            Err(refusal) => {
                undo(&reply);
                Err(refusal)
            }
        }
    }

    fn keep(
        &self,
        log: &mut MetadataLog,
        records: &[MetadataRecord],
    ) -> Result<(), MetadataLogError> {
        log.append(records)?;
        let mut state = self.state.write();
        for record in records {
            if let Err(error) = state.replay(record) {
                // Decided from this very state under the lock, so this is a bug of ours; the next
                // start would stop at the same record.
                error!(%error, "metadata log: a kept decision does not replay");
            }
        }
        // Whoever sees the new count sees the new state.
        self.record_count.store(log.record_count(), Ordering::Release);
        drop(state);
        Ok(())
    }

    /// A producer id from the block at hand; `None` when it is used up.
    pub(crate) fn take_producer_id(&self) -> Option<ProducerId> {
        let mut block = self.producer_ids.lock();
        let id = block.next;
        if id >= block.end {
            return None;
        }
        block.next += 1;
        Some(ProducerId(id))
    }

    /// A producer id that nobody ever had. Blocks on the disk once in a block, and each block is as
    /// large as all before: who asks without end (FAILURES.md 58) adds a few records to the log.
    pub(crate) fn new_producer_id(&self) -> Result<ProducerId, Refusal> {
        loop {
            if let Some(id) = self.take_producer_id() {
                return Ok(id);
            }
            let count = self.producer_ids.lock().reserved.max(PRODUCER_ID_BLOCK);
            let reserve = |state: &_| decide_reserve_producer_ids(state, count);
            let first = self.change(reserve, |_| Ok(()), |_| ())?;
            let mut block = self.producer_ids.lock();
            if block.next >= block.end {
                let reserved = block.reserved + count;
                *block = ProducerIdBlock { next: first, end: first + count, reserved };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;

    const NODE: BrokerId = BrokerId(1);

    fn start(directory: &Path) -> Controller {
        let (log, state) = MetadataLog::open(directory).unwrap();
        Controller::start(log, state, "cluster", NODE, BrokerConfigs::default()).unwrap()
    }

    #[test]
    fn producer_ids_are_never_given_twice_across_crashes_and_threads() {
        let directory = tempfile::tempdir().unwrap();
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let controller = start(directory.path());
            let given = std::thread::scope(|scope| {
                let id = |_| controller.new_producer_id().unwrap().0;
                let take = move || (0..700).map(id).collect::<Vec<i64>>();
                let threads: Vec<_> = (0..3).map(|_| scope.spawn(take)).collect();
                threads.into_iter().flat_map(|t| t.join().unwrap()).collect::<Vec<_>>()
            });
            assert!(given.into_iter().all(|id| seen.insert(id)));
        }
        assert_eq!(seen.len(), 6300);
    }

    #[test]
    fn failures_58_who_takes_producer_ids_without_end_adds_a_few_records() {
        let directory = tempfile::tempdir().unwrap();
        let controller = start(directory.path());
        let before = controller.record_count();
        let last = (0..1_000_000).map(|_| controller.new_producer_id().unwrap().0).last();
        assert_eq!(last, Some(999_999));
        let added = controller.record_count() - before;
        assert!(added <= 11, "{added} records for a million");
    }

    #[test]
    fn a_decision_whose_preparation_fails_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let controller = start(directory.path());
        let mut was_undone = false;
        let refused = controller.change(
            |state| decide_reserve_producer_ids(state, PRODUCER_ID_BLOCK),
            |_| Err(Refusal::new(ErrorCode::KafkaStorageError, "disk full")),
            |_| was_undone = true,
        );
        assert!(refused.is_err() && was_undone);
        assert_eq!(controller.read(ClusterState::next_producer_id), 0);
    }
}
