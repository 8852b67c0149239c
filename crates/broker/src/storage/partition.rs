//! One partition's log on disk: appends under its lock, everything else beside it.
//!
//! 1. The lock (`state`) is held for one decision and one `pwritev`, never for an fsync and never
//!    while a waker runs. Batches are checked before it, read files are read after it.
//! 2. Offsets that others ask for are published as atomics when they change, so asking never waits
//!    for an append.
//! 3. A log is opened when it is first used: a thousand idle partitions cost a summary each.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU8, Ordering};

use parking_lot::{Mutex, RwLock};
use streamledger_broker_core::flush_journal::PartitionKey;
use streamledger_broker_core::log::{
    EpochEnd, LogConfig, LogSummary, OffsetOutOfRange, PartitionLog, ProducerState, ReadLimit,
};
use streamledger_broker_core::time::MonotonicMs;
use streamledger_protocol::{LeaderEpoch, Offset, ProducerId, TopicId, TopicPartition};

use super::compaction::CompactionLife;
use super::directory::{PartitionDirectory, SegmentFile};
use super::disk::Durability;
use super::errors::{AppendError, ReadError, StorageOffline};
use super::load;
use super::producers::Remembered;
use super::shared::Shared;
use super::waiters::OffsetWaiters;

/// A log that is open, with its files.
#[derive(Debug)]
pub(super) struct OpenLog {
    pub(super) log: PartitionLog,
    pub(super) active: Arc<SegmentFile>,
    /// Closed segments that are not known to be on disk, by base offset.
    pub(super) closing: Vec<ClosedSegment>,
    /// Everything below is on disk in its segment; between this and the flushed offset it is in the
    /// journal.
    pub(super) synced_offset: Offset,
    /// Bytes of the active segment that are on disk there or in the journal.
    pub(super) safe_bytes: u32,
    /// The directory has new names that have not been flushed.
    pub(super) directory_unsynced: bool,
    /// The directory's own name has not been flushed.
    pub(super) is_new: bool,
    /// A compacted segment whose file does not have its name yet.
    pub(super) swapping: Option<Arc<SegmentFile>>,
    /// The closed segment that was read last.
    pub(super) reading: Option<Arc<SegmentFile>>,
    /// Whether the index files and the snapshot on disk are those of the log as it is.
    pub(super) settled: bool,
    /// The offset of the snapshot that was written when it last settled.
    pub(super) settled_snapshot: Option<Offset>,
    pub(super) last_used: MonotonicMs,
    /// The leader epochs are not those of their checkpoint.
    pub(super) epochs_unwritten: bool,
    /// When the oldest of what is not flushed was appended.
    pub(super) unflushed_since: Option<MonotonicMs>,
    /// How many producers it remembers, as part of all logs' number.
    pub(super) remembered: Remembered,
}

/// A closed segment that is to be flushed.
#[derive(Debug, Clone)]
pub(super) struct ClosedSegment {
    pub(super) file: Arc<SegmentFile>,
    /// The producer snapshot at its end, to be written once it is on disk.
    pub(super) snapshot: Option<(Offset, Vec<u8>)>,
    /// Its aborted transactions, as the content of their file, if there was no room for that. It
    /// stays among these until there is, or the next start would take it for one without any.
    pub(super) aborted: Option<Vec<u8>>,
}

/// A log in one of its lives.
#[derive(Debug)]
pub(super) enum LogState {
    /// Known from the manifest, not opened yet, or put down again.
    Cold(LogSummary),
    /// In use.
    Open(Box<OpenLog>),
    /// Not to be used any more.
    Gone(StorageOffline),
}

/// Where a partition stands with the flusher.
pub(super) mod flush_state {
    /// Nothing is to be flushed.
    pub(crate) const IDLE: u8 = 0;
    /// It waits in the queue.
    pub(crate) const QUEUED: u8 = 1;
    /// It is being flushed.
    pub(crate) const FLUSHING: u8 = 2;
    /// It is being flushed, and more was appended meanwhile.
    pub(crate) const FLUSHING_AND_DIRTY: u8 = 3;
}

/// One partition's log on disk.
#[derive(Debug)]
pub struct Partition {
    topic_partition: TopicPartition,
    topic_id: TopicId,
    pub(super) directory: PartitionDirectory,
    pub(super) shared: Arc<Shared>,
    config: RwLock<Arc<LogConfig>>,
    pub(super) state: Mutex<LogState>,
    pub(super) flush_state: AtomicU8,
    /// Held for one flush, or while segments are removed. Taken before `state`, never after it.
    pub(super) flushing: Mutex<()>,
    /// Held while segments are removed or replaced. Taken before `flushing`.
    pub(super) replacing: Mutex<()>,
    pub(super) compaction: Mutex<CompactionLife>,
    log_start_offset: AtomicI64,
    last_stable_offset: AtomicI64,
    high_watermark: AtomicI64,
    flushed_offset: AtomicI64,
    log_end_offset: AtomicI64,
    leader_epoch: AtomicI32,
    pub(super) flush_waiters: OffsetWaiters,
    /// By how far the waiter may see: high watermark, last stable offset, log end.
    data_waiters: [OffsetWaiters; 3],
}

/// What changed for those who wait.
#[must_use = "who waits must be woken once the lock is released"]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    flushed: Option<Offset>,
    visible: [Option<Offset>; 3],
}

impl Partition {
    pub(super) fn new(
        topic_partition: TopicPartition,
        topic_id: TopicId,
        directory: PartitionDirectory,
        shared: Arc<Shared>,
        config: LogConfig,
        state: LogState,
    ) -> Self {
        let none = || AtomicI64::new(0);
        let leader_epoch = match &state {
            LogState::Open(open) => open.log.leader_epoch(),
            LogState::Cold(summary) => summary.epochs.latest().unwrap_or(LeaderEpoch::ZERO),
            LogState::Gone(_) => LeaderEpoch::ZERO,
        };
        let partition = Self {
            topic_partition,
            topic_id,
            directory,
            shared,
            config: RwLock::new(Arc::new(config)),
            state: Mutex::new(LogState::Gone(StorageOffline::Closed)),
            flush_state: AtomicU8::new(flush_state::IDLE),
            flushing: Mutex::new(()),
            replacing: Mutex::new(()),
            compaction: Mutex::default(),
            log_start_offset: none(),
            last_stable_offset: none(),
            high_watermark: none(),
            flushed_offset: none(),
            log_end_offset: none(),
            leader_epoch: AtomicI32::new(leader_epoch.0),
            flush_waiters: OffsetWaiters::default(),
            data_waiters: Default::default(),
        };
        match &state {
            LogState::Open(open) => {
                let _ = partition.publish(&open.log);
            }
            LogState::Cold(summary) => partition.publish_summary(summary),
            LogState::Gone(_) => {}
        }
        *partition.state.lock() = state;
        partition
    }

    /// Which partition this is.
    #[must_use]
    pub const fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// The id of its topic.
    #[must_use]
    pub const fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The first offset there is.
    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        Offset(self.log_start_offset.load(Ordering::Acquire))
    }

    /// How far a read-committed consumer sees.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        Offset(self.last_stable_offset.load(Ordering::Acquire))
    }

    /// How far a consumer sees.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Acquire))
    }

    /// Up to where the log is known to be on disk.
    #[must_use]
    pub fn flushed_offset(&self) -> Offset {
        Offset(self.flushed_offset.load(Ordering::Acquire))
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        Offset(self.log_end_offset.load(Ordering::Acquire))
    }

    /// How far a reader sees.
    #[must_use]
    pub fn limit_offset(&self, limit: ReadLimit) -> Offset {
        match limit {
            ReadLimit::HighWatermark => self.high_watermark(),
            ReadLimit::LastStable => self.last_stable_offset(),
            ReadLimit::LogEnd => self.log_end_offset(),
        }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config.read())
    }

    pub(super) fn data_waiters(&self, limit: ReadLimit) -> &OffsetWaiters {
        let [by_watermark, by_stable, by_end] = &self.data_waiters;
        match limit {
            ReadLimit::HighWatermark => by_watermark,
            ReadLimit::LastStable => by_stable,
            ReadLimit::LogEnd => by_end,
        }
    }

    /// Publishes the offsets of the log; says what became reachable. Called under the lock.
    pub(super) fn publish(&self, log: &PartitionLog) -> Progress {
        let advance = |published: &AtomicI64, offset: Offset| {
            let before = published.swap(offset.0, Ordering::AcqRel);
            (offset.0 > before).then_some(offset)
        };
        self.log_start_offset.store(log.log_start_offset().0, Ordering::Release);
        Progress {
            flushed: advance(&self.flushed_offset, log.flushed_offset()),
            visible: [
                advance(&self.high_watermark, log.high_watermark()),
                advance(&self.last_stable_offset, log.last_stable_offset()),
                advance(&self.log_end_offset, log.log_end_offset()),
            ],
        }
    }

    fn publish_summary(&self, summary: &LogSummary) {
        let end = summary.log_end_offset().0;
        self.log_start_offset.store(summary.log_start_offset.0, Ordering::Release);
        for published in [
            &self.last_stable_offset,
            &self.high_watermark,
            &self.flushed_offset,
            &self.log_end_offset,
        ] {
            published.store(end, Ordering::Release);
        }
    }

    /// Wakes whoever waited for what became reachable. Called without the lock.
    pub(super) fn wake(&self, progress: Progress) {
        if let Some(flushed) = progress.flushed {
            self.flush_waiters.wake_below(flushed);
        }
        for (waiters, visible) in self.data_waiters.iter().zip(progress.visible) {
            if let Some(visible) = visible {
                waiters.wake_below(visible);
            }
        }
    }

    /// Wakes everyone who waits: nothing more will come.
    pub(super) fn wake_all(&self) {
        self.flush_waiters.wake_all();
        for waiters in &self.data_waiters {
            waiters.wake_all();
        }
    }

    /// Why it gives and takes nothing any more, if so.
    pub(super) fn check_alive(&self) -> Result<(), StorageOffline> {
        self.shared.check_alive()
    }

    /// Whether there is a log to read, open or to be opened when it is used.
    ///
    /// # Errors
    /// It is damaged or gone; what it holds isn't known.
    pub fn check_readable(&self) -> Result<(), StorageOffline> {
        match &*self.state.lock() {
            LogState::Gone(offline) => Err(offline.clone()),
            LogState::Cold(_) | LogState::Open(_) => Ok(()),
        }
    }

    pub(super) fn check_online(&self) -> Result<(), StorageOffline> {
        self.shared.check_online()
    }

    /// Works on the open log under the lock, opening it if need be, and notes that it is used.
    ///
    /// # Errors
    /// The partition or the whole store is offline, or its log can't be opened.
    pub(super) fn with_open<T>(
        &self,
        work: impl FnOnce(&mut OpenLog) -> T,
    ) -> Result<T, StorageOffline> {
        self.with_open_unused(|open| {
            open.last_used = self.shared.clock.now().monotonic;
            work(open)
        })
    }

    /// The same for work that is not use.
    pub(super) fn with_open_unused<T>(
        &self,
        work: impl FnOnce(&mut OpenLog) -> T,
    ) -> Result<T, StorageOffline> {
        self.with_open_if(Self::check_online, work)
    }

    /// The same for the end of what can't be left half done: while the store closes, too.
    pub(super) fn with_open_to_finish<T>(
        &self,
        work: impl FnOnce(&mut OpenLog) -> T,
    ) -> Result<T, StorageOffline> {
        self.with_open_if(Self::check_alive, work)
    }

    fn with_open_if<T>(
        &self,
        check: impl FnOnce(&Self) -> Result<(), StorageOffline>,
        work: impl FnOnce(&mut OpenLog) -> T,
    ) -> Result<T, StorageOffline> {
        let mut state = self.state.lock();
        // Under the lock: a store that closes has not been through this log yet, or it is refused.
        check(self)?;
        if let LogState::Cold(summary) = &*state {
            let config = self.config();
            let opened = load::open_cold(&self.directory, &self.shared, &config, summary.clone());
            *state = match opened {
                Ok(mut open) => {
                    self.lead(&mut open);
                    LogState::Open(Box::new(open))
                }
                Err(problem) => LogState::Gone(problem.into_offline(&self.topic_partition)),
            };
        }
        match &mut *state {
            LogState::Open(open) => Ok(work(open)),
            LogState::Gone(offline) => Err(offline.clone()),
            LogState::Cold(_) => Err(StorageOffline::Closed),
        }
    }

    /// Begins a new segment. If that fails nothing has changed. The closed one is flushed by the
    /// next flush, before anything in the new one is acknowledged.
    pub(super) fn roll(&self, open: &mut OpenLog) -> Result<(), AppendError> {
        let now = self.shared.clock.now();
        let mut plan = open.log.plan_roll(now.monotonic);
        let written = self
            .directory
            .write_indexes(plan.closed, &plan.index_files)
            .and_then(|()| self.directory.create_segment(plan.opened));
        let file = Arc::new(written.map_err(AppendError::NotWritten)?);
        open.log.rolled(&plan, now.wall);
        open.closing.push(ClosedSegment {
            file: std::mem::replace(&mut open.active, file),
            snapshot: Some((plan.opened, std::mem::take(&mut plan.producer_snapshot))),
            aborted: None,
        });
        open.safe_bytes = 0;
        open.directory_unsynced = true;
        open.settled = false;
        Ok(())
    }

    /// Writes the checkpoint of the leader epochs. Without it they are found again in the log.
    pub(super) fn note_epochs(&self, open: &mut OpenLog) {
        open.epochs_unwritten = false;
        if let Err(error) = self.directory.write_epochs(open.log.leader_epochs()) {
            tracing::warn!(partition = %self.topic_partition, %error, "leader epochs not written");
        }
    }

    /// Writes down which topic's log it is, for the next start: a crash took it.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write_topic_id(&self, id: TopicId) -> std::io::Result<()> {
        self.directory.write_topic_id(id, Durability::Flushed)
    }

    /// How the journal knows it; none if it has no topic id.
    pub(super) fn key(&self) -> Option<PartitionKey> {
        let is_known = self.topic_id != TopicId::ZERO;
        is_known.then_some((self.topic_id, self.topic_partition.partition))
    }

    /// Has the flusher flush it, unless it is about to.
    pub(super) fn queue_flush(self: &Arc<Self>) {
        use flush_state::{FLUSHING, FLUSHING_AND_DIRTY, IDLE, QUEUED};
        let next = |state| match state {
            IDLE => Some(QUEUED),
            FLUSHING => Some(FLUSHING_AND_DIRTY),
            _ => None,
        };
        let before = self.flush_state.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        if before == Ok(IDLE) {
            self.shared.queue.push(Arc::clone(self));
        }
    }

    /// Appends under `leader_epoch` from here on; an older epoch than the present one is ignored.
    pub fn become_leader(&self, leader_epoch: LeaderEpoch) {
        self.leader_epoch.fetch_max(leader_epoch.0, Ordering::AcqRel);
        if let LogState::Open(open) = &mut *self.state.lock() {
            self.lead(open);
        }
    }

    /// Tells an open log under which epoch it is appended to.
    fn lead(&self, open: &mut OpenLog) {
        if open.log.become_leader(self.leader_epoch()) {
            // With the first batch under it, or when the log settles: a start of thousands of logs
            // writes nothing for what no record says.
            open.epochs_unwritten = true;
            open.settled = false;
        }
        self.leader_epoch.fetch_max(open.log.leader_epoch().0, Ordering::AcqRel);
    }

    /// The epoch under which it appends.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.load(Ordering::Acquire))
    }

    /// Takes other settings. Only the rule of the high watermark stays as the store has it.
    pub fn reconfigure(&self, config: &LogConfig) {
        let config = self.shared.flush.log_config(config, &self.topic_partition);
        *self.config.write() = Arc::new(config.clone());
        if let LogState::Open(open) = &mut *self.state.lock() {
            open.log.reconfigure(config);
        }
    }

    /// Where a leader epoch ended (OffsetForLeaderEpoch).
    ///
    /// # Errors
    /// The partition is offline.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Result<EpochEnd, StorageOffline> {
        self.with_open(|open| open.log.end_offset_for_epoch(epoch))
    }

    /// Makes the log begin at `offset` (DeleteRecords); at the high watermark if it is NONE. Gives
    /// the new start, which is on disk then.
    ///
    /// # Errors
    /// The offset is above the high watermark, the partition is offline, or the new start can't be
    /// written down.
    pub fn delete_records_before(&self, offset: Offset) -> Result<Offset, ReadError> {
        let (start, progress) = self.with_open(|open| {
            let start = open.log.delete_records_before(offset)?;
            open.settled = false;
            Ok::<_, OffsetOutOfRange>((start, self.publish(&open.log)))
        })??;
        self.wake(progress);
        self.shared.write_manifest(Durability::Flushed).map_err(|error| ReadError::Io {
            path: self.shared.directory.clone(),
            source: std::io::Error::other(error),
        })?;
        Ok(start)
    }

    /// Bytes of its segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &*self.state.lock() {
            LogState::Open(open) => open.log.bytes(),
            LogState::Cold(summary) => {
                summary.segments.iter().map(|segment| u64::from(segment.bytes())).sum()
            }
            LogState::Gone(_) => 0,
        }
    }

    /// The producers it knows, by id (DescribeProducers).
    ///
    /// # Errors
    /// The partition is offline.
    pub fn producers(&self) -> Result<Vec<(ProducerId, ProducerState)>, StorageOffline> {
        self.with_open(|open| {
            let all = open.log.producers().producers();
            all.into_iter().map(|(id, state)| (id, state.clone())).collect()
        })
    }
}
