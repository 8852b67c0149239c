//! What all partitions of a store have in common: disk, clock, flush queue, and whether it is over.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use streamledger_broker_core::flush_journal::Checkpoint;
use streamledger_broker_core::log::{OnDamage, ProducerLimits};
use streamledger_broker_core::map::Map;
use streamledger_protocol::TopicPartition;

use super::clock::Clock;
use super::config::FlushPolicy;
use super::disk::{Disk, Durability};
use super::errors::StorageOffline;
use super::file_range::LentFiles;
use super::housekeeping::Fingerprint;
use super::journal::Journal;
use super::partition::Partition;
use super::producers::Producers;

/// What was done since the start, counted.
#[derive(Debug, Default)]
pub struct StoreCounts {
    /// Bytes of record batches appended.
    pub appended_bytes: AtomicU64,
    /// Appends of record batches.
    pub appended_batches: AtomicU64,
    /// Bytes of record batches read.
    pub read_bytes: AtomicU64,
    /// Flushes of logs.
    pub flushes: AtomicU64,
    /// Compactions that came to their end.
    pub compactions: AtomicU64,
    /// Bytes that compaction read.
    pub cleaner_read: AtomicU64,
    /// Bytes that compaction wrote.
    pub cleaner_written: AtomicU64,
    /// Segments that compaction replaced.
    pub segments_replaced: AtomicU64,
    /// Logs that can't be compacted, for they are damaged.
    pub logs_given_up: AtomicU64,
}

/// What all partitions of a store have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) directory: PathBuf,
    pub(super) disk: Disk,
    pub(super) clock: Clock,
    pub(super) flush: FlushPolicy,
    pub(super) on_damage: OnDamage,
    /// Partitions with appends to flush, in the order they came.
    pub(super) queue: FlushQueue<Arc<Partition>>,
    /// Where they are flushed together: with `FlushPolicy::Commit`.
    pub(super) journal: Option<Journal>,
    /// What the journal can't do.
    pub(super) segment_work: FlushQueue<SegmentWork>,
    /// Emptied when the store closes; until then the partitions and this hold each other.
    pub(super) partitions: RwLock<Map<TopicPartition, Arc<Partition>>>,
    /// Which manifest is on disk, and how surely.
    pub(super) manifest: Mutex<Option<(Fingerprint, Durability)>>,
    /// What was done since the start.
    pub(super) counts: StoreCounts,
    pub(super) lent: LentFiles,
    pub(super) producers: Producers,
    failed: OnceLock<Arc<str>>,
    closing: AtomicBool,
    closed: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        directory: PathBuf,
        disk: Disk,
        flush: FlushPolicy,
        on_damage: OnDamage,
        producers: ProducerLimits,
    ) -> Self {
        let journal = (flush == FlushPolicy::Commit).then(|| Journal::new(&directory, &disk));
        Self {
            directory,
            disk,
            journal,
            segment_work: FlushQueue::default(),
            clock: Clock::new(),
            flush,
            on_damage,
            queue: FlushQueue::default(),
            partitions: RwLock::default(),
            manifest: Mutex::new(None),
            counts: StoreCounts::default(),
            lent: LentFiles::default(),
            producers: Producers::new(producers),
            failed: OnceLock::new(),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Whether anything may still be read and appended.
    pub(super) fn check_online(&self) -> Result<(), StorageOffline> {
        self.check_alive()?;
        match self.closing.load(Ordering::Acquire) {
            true => Err(StorageOffline::Closed),
            false => Ok(()),
        }
    }

    /// Whether what was appended may still be flushed: while it closes, too.
    pub(super) fn check_alive(&self) -> Result<(), StorageOffline> {
        if let Some(reason) = self.failed.get() {
            return Err(StorageOffline::Failed(Arc::clone(reason)));
        }
        match self.closed.load(Ordering::Acquire) {
            true => Err(StorageOffline::Closed),
            false => Ok(()),
        }
    }

    /// Why the directory is offline, if it is because something failed.
    pub(super) fn failure(&self) -> Option<&Arc<str>> {
        self.failed.get()
    }

    /// All partitions, by name.
    pub(super) fn all_partitions(&self) -> Vec<Arc<Partition>> {
        let mut all: Vec<_> = self.partitions.read().values().cloned().collect();
        all.sort_unstable_by(|a, b| a.topic_partition().cmp(b.topic_partition()));
        all
    }

    /// Takes the directory offline for good: after a failed fsync nobody knows what is on disk,
    /// and a second one would lie. Whoever says so wakes everyone once no lock is held.
    pub(super) fn fail(&self, reason: &str) {
        if self.failed.set(reason.into()).is_ok() {
            tracing::error!(reason, "the data directory is offline");
        }
    }

    /// Wakes everyone who waits in any partition.
    pub(super) fn wake_everyone(&self) {
        for partition in self.all_partitions() {
            partition.wake_all();
        }
    }

    /// Takes nothing new; what is on its way is still flushed.
    pub(super) fn begin_to_close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// It is over.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// Segments to flush, where they are.
#[derive(Debug)]
pub(super) enum SegmentWork {
    /// Of one partition, what was appended to it, and its names.
    Flush(Arc<Partition>),
    /// Of several, what the journal is about to forget.
    Checkpoint(Checkpoint),
}

/// What is to be flushed, in the order it came.
#[derive(Debug)]
pub(super) struct FlushQueue<T> {
    state: Mutex<QueueState<T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct QueueState<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

impl<T> Default for FlushQueue<T> {
    fn default() -> Self {
        let state = QueueState { waiting: VecDeque::new(), closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new() }
    }
}

impl<T> FlushQueue<T> {
    pub(super) fn push(&self, work: T) {
        self.state.lock().waiting.push_back(work);
        self.filled.notify_one();
    }

    /// The next to flush; waits for one. None once the queue is closed.
    pub(super) fn pop(&self) -> Option<T> {
        self.wait_for_some().and_then(|mut state| state.waiting.pop_front())
    }

    /// All that there is to flush; waits for something. None once the queue is closed.
    pub(super) fn pop_all(&self) -> Option<VecDeque<T>> {
        self.wait_for_some().map(|mut state| std::mem::take(&mut state.waiting))
    }

    /// Waits that long, then gives all there is to flush. None once it is closed.
    pub(super) fn pop_all_after(&self, wait: Duration) -> Option<VecDeque<T>> {
        let mut state = self.state.lock();
        let _ = self.filled.wait_while_for(&mut state, |state| !state.closed, wait);
        if state.closed { None } else { Some(std::mem::take(&mut state.waiting)) }
    }

    fn wait_for_some(&self) -> Option<MutexGuard<'_, QueueState<T>>> {
        let mut state = self.state.lock();
        self.filled.wait_while(&mut state, |state| state.waiting.is_empty() && !state.closed);
        if state.closed { None } else { Some(state) }
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
    }
}
