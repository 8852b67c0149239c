//! The thread that keeps house: retention, producers that expire, logs that settle, the manifest.
//!
//! A log settles when nothing was appended for a while: its index files and producer snapshot are
//! written, so that even after a crash the next start need not walk it. One that stays unused is
//! put down to its summary.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use streamledger_broker_core::log::{
    FileKind, LogSummary, ManifestEntry, RetentionClock, encode_manifest,
};
use streamledger_broker_core::time::MonotonicMs;
use streamledger_protocol::TimestampMs;

use super::disk::Durability;
use super::errors::{AppendError, StorageError};
use super::parallel;
use super::partition::{ClosedSegment, LogState, OpenLog, Partition};
use super::shared::Shared;

/// The file in a data directory that sums up its logs.
pub(super) const MANIFEST: &str = "manifest";

/// The most often that is looked for logs whose `flush.ms` has passed.
const FLUSH_TICK_MIN: Duration = Duration::from_millis(50);
/// A log that was not used for this long settles.
const SETTLES_AFTER_MS: u64 = 10_000;
/// A settled log that was not used for this long is put down.
const PUT_DOWN_AFTER_MS: u64 = 120_000;

/// What the thread is asked for.
#[derive(Debug, Default)]
struct Requests {
    doomed: Vec<PathBuf>,
    /// Whether the logs have their own configurations, and may lose segments by them.
    may_retain: bool,
    /// Whether a log has another configuration than when the wait began.
    reconfigured: bool,
    stop: bool,
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Housekeeper {
    requests: Arc<(Mutex<Requests>, Condvar)>,
}

impl Housekeeper {
    /// Removes a directory that nobody looks for any more.
    pub(super) fn remove_directory(&self, path: PathBuf) {
        let (requests, asked) = &*self.requests;
        requests.lock().doomed.push(path);
        asked.notify_one();
    }

    pub(super) fn begin_retention(&self) {
        self.requests.0.lock().may_retain = true;
    }

    /// Has it reckoned anew how often it must look: a log has another `flush.ms`, perhaps.
    pub(super) fn reconfigured(&self) {
        let (requests, asked) = &*self.requests;
        requests.lock().reconfigured = true;
        asked.notify_one();
    }

    pub(super) fn stop(&self) {
        let (requests, asked) = &*self.requests;
        requests.lock().stop = true;
        asked.notify_one();
    }
}

/// Starts the thread.
pub(super) fn start(
    shared: &Arc<Shared>,
    retention_check: Duration,
    upkeep_every: Duration,
) -> Result<(Housekeeper, JoinHandle<()>), StorageError> {
    let requests = Arc::new((Mutex::new(Requests::default()), Condvar::new()));
    let housekeeper = Housekeeper { requests: Arc::clone(&requests) };
    let shared = Arc::clone(shared);
    let run = move || keep_house(&shared, retention_check, upkeep_every, &requests);
    let thread =
        Builder::new().name("log-housekeeping".to_owned()).stack_size(256 << 10).spawn(run);
    let thread = thread.map_err(|error| {
        StorageError::io("starting a thread for", "housekeeping".as_ref(), error)
    })?;
    Ok((housekeeper, thread))
}

fn keep_house(
    shared: &Shared,
    retention_check: Duration,
    upkeep_every: Duration,
    requests: &(Mutex<Requests>, Condvar),
) {
    let mut clock = RetentionClock::new(shared.clock.now());
    let mut retention_due = shared.clock.now().monotonic;
    let tick = upkeep_every.min(retention_check);
    let tick_ms = tick.as_millis().try_into().unwrap_or(u64::MAX);
    // Whoever has it look for something else meanwhile doesn't bring a round on.
    let mut round_due = retention_due.plus(tick_ms);
    loop {
        let (doomed, may_retain) = {
            let (requests, asked) = requests;
            let mut requests = requests.lock();
            if requests.doomed.is_empty() && !requests.stop && !requests.reconfigured {
                let wait = shared.flush_every().map_or(tick, |flush| flush.min(tick));
                let _ = asked.wait_for(&mut requests, wait);
            }
            requests.reconfigured = false;
            if requests.stop {
                return;
            }
            (std::mem::take(&mut requests.doomed), requests.may_retain)
        };
        for path in doomed {
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "a deleted log is still there");
            }
        }
        if shared.failure().is_some() {
            continue;
        }
        let now = shared.clock.now();
        flush_due(shared, now.monotonic);
        if now.monotonic < round_due {
            continue;
        }
        round_due = now.monotonic.plus(tick_ms);
        if may_retain && now.monotonic >= retention_due {
            retention_due =
                now.monotonic.plus(retention_check.as_millis().try_into().unwrap_or(u64::MAX));
            retain(shared, clock.read(now), now.monotonic);
        }
        settle_idle(shared, now.monotonic);
        if let Err(error) = shared.write_manifest(Durability::Atomic) {
            tracing::warn!(%error, "the manifest was not written");
        }
    }
}

/// One round of retention and producer expiry over all partitions.
pub(super) fn retain(shared: &Shared, clock: TimestampMs, now: MonotonicMs) {
    for partition in shared.all_partitions() {
        match partition.retain(clock, now) {
            Ok(0) => {}
            Ok(removed) => {
                let partition = partition.topic_partition();
                tracing::info!(%partition, removed, "segments removed by retention");
            }
            Err(error) => {
                let partition = partition.topic_partition();
                tracing::warn!(%partition, %error, "retention failed");
            }
        }
    }
}

/// Has the logs flushed whose `flush.ms` has passed since something was appended to them.
pub(super) fn flush_due(shared: &Shared, now: MonotonicMs) {
    for partition in shared.all_partitions() {
        let Some(flush_ms) = partition.config().flush_ms else { continue };
        let is_due = match &*partition.state.lock() {
            LogState::Open(open) => {
                open.unflushed_since.is_some_and(|since| now.since(since) >= flush_ms)
            }
            LogState::Cold(_) | LogState::Gone(_) => false,
        };
        if is_due {
            partition.queue_flush();
        }
    }
}

pub(super) fn settle_idle(shared: &Shared, now: MonotonicMs) {
    for partition in shared.all_partitions() {
        let mut state = partition.state.lock();
        let LogState::Open(open) = &mut *state else { continue };
        let idle_ms = now.since(open.last_used);
        if !open.settled && idle_ms >= SETTLES_AFTER_MS {
            drop(state);
            partition.flush();
            state = partition.state.lock();
            let LogState::Open(open) = &mut *state else { continue };
            if let Err(error) = partition.settle(open) {
                let partition = partition.topic_partition();
                tracing::warn!(%partition, %error, "not settled");
            }
        } else if open.settled && idle_ms >= PUT_DOWN_AFTER_MS && open.swapping.is_none() {
            *state = LogState::Cold(open.log.summary());
        }
    }
}

/// So many logs are settled at a time at the end: it is waiting for the disk, and file systems make
/// one commit of what several threads flush.
const SETTLING_THREADS: usize = 8;

/// At the end: flushes every log, writes its files, and the manifest.
pub(super) fn settle_all(shared: &Shared) -> Result<(), StorageError> {
    let settled = parallel::for_each(&shared.all_partitions(), SETTLING_THREADS, |partition| {
        partition.flush();
        let LogState::Open(open) = &mut *partition.state.lock() else { return Ok(()) };
        let path = &partition.directory.path;
        partition
            .settle(open)
            .map_err(|error| StorageError::io("writing the files of", path, error))
    });
    let mut outcome = settled.into_iter().collect::<Result<(), _>>();
    shared.check_alive()?;
    shared.write_manifest(Durability::Flushed)?;
    if let (Ok(()), Some(journal)) = (&outcome, &shared.journal) {
        // Of a log that is offline, what it acknowledged may be nowhere else.
        let flushed = parallel::for_each(&shared.all_partitions(), SETTLING_THREADS, |partition| {
            match partition.sync_segments()? {
                true => Ok(()),
                false => Err(io::Error::other("a segment could not be flushed")),
            }
        });
        let flushed = flushed.into_iter().collect::<io::Result<()>>();
        outcome = flushed
            .and_then(|()| journal.remove())
            .map_err(|error| StorageError::io("removing the journal of", &shared.directory, error));
    }
    outcome
}

impl Shared {
    /// How often it must be looked whether a log's `flush.ms` has passed, if any log has one.
    fn flush_every(&self) -> Option<Duration> {
        let partitions = self.partitions.read();
        let least = partitions.values().filter_map(|partition| partition.config().flush_ms).min();
        least.map(|ms| Duration::from_millis(ms).max(FLUSH_TICK_MIN))
    }

    /// Writes the manifest if it would say something else than it says.
    pub(super) fn write_manifest(&self, durability: Durability) -> Result<(), StorageError> {
        let entry = |partition: Arc<Partition>| {
            Some(ManifestEntry {
                topic_partition: partition.topic_partition().clone(),
                topic_id: partition.topic_id(),
                summary: partition.summary()?,
            })
        };
        let mut written = self.manifest.lock();
        let entries: Vec<_> = self.all_partitions().into_iter().filter_map(entry).collect();
        // Whoever comes late, for records that were deleted as the store closed, finds no partition
        // there: the manifest that the close has left must stay.
        self.check_alive()?;
        let content = encode_manifest(&entries);
        let known = Fingerprint { bytes: content.len(), crc: crc32c::crc32c(&content) };
        if written.is_some_and(|(known_to_be, how)| known_to_be == known && how >= durability) {
            return Ok(());
        }
        let path = self.directory.join(MANIFEST);
        self.disk
            .replace(&path, &content, durability)
            .map_err(|error| StorageError::io("writing", &path, error))?;
        *written = Some((known, durability));
        Ok(())
    }
}

/// Which manifest is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    bytes: usize,
    crc: u32,
}

impl Partition {
    /// What the manifest may say of it: all of it if it has settled, else what is closed and
    /// flushed; nothing of a log that is gone.
    pub(super) fn summary(&self) -> Option<LogSummary> {
        match &*self.state.lock() {
            LogState::Cold(summary) => Some(summary.clone()),
            LogState::Open(open) if open.settled => Some(open.log.summary()),
            LogState::Open(open) => {
                let active = open.log.active_segment().base_offset();
                let closing = open.closing.first().map(|closed| closed.file.base_offset);
                Some(open.log.summary_before(closing.unwrap_or(active)))
            }
            LogState::Gone(_) => None,
        }
    }

    /// Writes the index files of the active segment and the producer snapshot, if everything is
    /// flushed, the names of the files too.
    fn settle(&self, open: &mut OpenLog) -> std::io::Result<()> {
        let is_flushed = open.synced_offset == open.log.log_end_offset()
            && open.closing.is_empty()
            && !open.directory_unsynced;
        if open.settled || !is_flushed {
            return Ok(());
        }
        if open.epochs_unwritten {
            self.note_epochs(open);
        }
        let active = open.log.active_segment();
        self.directory.write_indexes(active.base_offset(), &open.log.index_files(active))?;
        let end = open.log.log_end_offset();
        let snapshot = open.log.producer_snapshot(self.shared.clock.now().monotonic);
        self.directory.write_snapshot(end, &snapshot, Durability::Atomic)?;
        let is_segments = |offset| open.log.segments().any(|s| s.base_offset() == offset);
        if let Some(before) = open.settled_snapshot.filter(|o| *o != end && !is_segments(*o)) {
            self.directory.remove(FileKind::ProducerSnapshot, before)?;
        }
        open.settled_snapshot = Some(end);
        open.settled = true;
        Ok(())
    }

    /// Removes segments by age and size, and forgets producers that were silent for too long.
    /// Says how many segments went.
    fn retain(&self, clock: TimestampMs, now: MonotonicMs) -> Result<usize, AppendError> {
        if !self.may_need_retention(clock) {
            return Ok(0);
        }
        let _no_swap = self.replacing.lock();
        let _no_flush = self.flushing.lock();
        let removed = self.with_open_unused(|open| {
            if open.log.expire_producers(now) > 0 {
                open.remembered.update(&open.log);
                open.settled = false;
            }
            let mut plan = open.log.plan_retention(clock);
            if plan.roll_first {
                self.roll(open)?;
                plan = open.log.plan_retention(clock);
            }
            let mut unflushed = Vec::new();
            if !plan.segments.is_empty() {
                let goes =
                    |closed: &ClosedSegment| plan.segments.contains(&closed.file.base_offset);
                (unflushed, open.closing) =
                    std::mem::take(&mut open.closing).into_iter().partition(goes);
                open.log.segments_removed(&plan);
                open.settled = false;
                open.reading = None;
            }
            Ok::<_, AppendError>((plan, unflushed, self.publish(&open.log)))
        })?;
        let (plan, unflushed, progress) = removed?;
        self.wake(progress);
        self.keep_producers(&unflushed)?;
        for base_offset in &plan.segments {
            self.directory.remove_segment(*base_offset).map_err(AppendError::NotWritten)?;
        }
        Ok(plan.segments.len())
    }

    /// What segments that go unflushed say of producers is nowhere else: without the snapshot where
    /// the last of them ends, a crash would have the log refuse the next batch of each.
    fn keep_producers(&self, unflushed: &[ClosedSegment]) -> Result<(), AppendError> {
        for closed in unflushed {
            if let Err(error) = self.shared.disk.sync_file(&closed.file.file) {
                self.fail(&error);
                return Err(AppendError::NotWritten(error));
            }
        }
        if let Some((offset, content)) = unflushed.last().and_then(|last| last.snapshot.as_ref()) {
            self.note_flushed(*offset, content, Durability::Content);
        }
        Ok(())
    }

    /// Whether a log that is put down would lose anything: else it is not opened for it.
    fn may_need_retention(&self, clock: TimestampMs) -> bool {
        let LogState::Cold(summary) = &*self.state.lock() else { return true };
        let config = self.config();
        let bytes: u64 = summary.segments.iter().map(|s| u64::from(s.bytes())).sum();
        let oldest = summary.segments.first().map(|s| (s.retention_timestamp(), s.next_offset()));
        let too_old = config.retention_ms.zip(oldest).is_some_and(|(keep_ms, (newest, _))| {
            u64::try_from(clock.0.saturating_sub(newest.0)).is_ok_and(|age| age > keep_ms)
        });
        let before_start = oldest.is_some_and(|(_, end)| end <= summary.log_start_offset);
        let too_much = config.retention_bytes.is_some_and(|keep| bytes > keep);
        bytes > 0 && (too_old || too_much || before_start)
    }
}
