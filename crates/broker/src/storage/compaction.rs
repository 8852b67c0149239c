//! The thread that compacts logs: performs what `broker-core::log::compaction` decides, a piece at
//! a time, beside what clients do.
//!
//! 1. It holds a log's lock only to plan, and to put a finished segment in the place of others:
//!    never for a read, a write or a flush.
//! 2. Readers keep the file they hold. What was planned before a swap is never used after it: the
//!    log counts its swaps.
//! 3. A log that can't be compacted is left as it is, with a word, and the others go on.

use std::fs;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use streamledger_broker_core::log::{
    CLEANED_SUFFIX, CompactionEffect, CompactionPass, CompactionPlan, CompactionProblem,
    CompactionStanding, FileStep, Replacement, RetentionClock, may_need_compaction,
};
use streamledger_protocol::TimestampMs;

use super::config::CleanerConfig;
use super::directory::SegmentFile;
use super::disk::Durability;
use super::errors::{StorageError, StorageOffline};
use super::partition::{LogState, Partition};
use super::shared::Shared;

/// What a partition's compaction is at.
#[derive(Debug, Default)]
pub(super) struct CompactionLife {
    /// How far it is; none before the checkpoint was read.
    standing: Option<CompactionStanding>,
    /// It is damaged, which was said.
    given_up: bool,
}

/// The way to the thread.
#[derive(Debug, Default)]
pub(super) struct Cleaner {
    stop: Mutex<bool>,
    asked: Condvar,
    backoff_ms: AtomicU64,
}

/// Why a compaction ended before its end.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the store stops")]
    Stopped,
    #[error(transparent)]
    Offline(#[from] StorageOffline),
    #[error(transparent)]
    Problem(#[from] CompactionProblem),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Cleaner {
    /// Starts the thread.
    pub(super) fn start(
        shared: &Arc<Shared>,
        config: &CleanerConfig,
    ) -> Result<(Arc<Self>, JoinHandle<()>), StorageError> {
        let cleaner = Arc::new(Self::default());
        cleaner.rest_for(config.backoff);
        let (shared, config) = (Arc::clone(shared), config.clone());
        let thread_cleaner = Arc::clone(&cleaner);
        let run = move || thread_cleaner.run(&shared, &config);
        let thread = Builder::new().name("log-cleaner".to_owned()).stack_size(512 << 10).spawn(run);
        let thread = thread.map_err(|error| {
            StorageError::io("starting a thread for", "compaction".as_ref(), error)
        })?;
        Ok((cleaner, thread))
    }

    pub(super) fn stop(&self) {
        *self.stop.lock() = true;
        self.asked.notify_all();
    }

    /// Waits; true if it is over.
    fn stops_within(&self, wait: Duration) -> bool {
        let mut stop = self.stop.lock();
        if !*stop && !wait.is_zero() {
            let _ = self.asked.wait_while_for(&mut stop, |stop| !*stop, wait);
        }
        *stop
    }

    /// Has it rest for that long after each round, the one that goes on included.
    pub(super) fn rest_for(&self, backoff: Duration) {
        let ms = backoff.as_millis().try_into().unwrap_or(u64::MAX);
        self.backoff_ms.store(ms, Ordering::Relaxed);
        // Whoever is about to wait has seen it, or waits already.
        drop(self.stop.lock());
        self.asked.notify_one();
    }

    /// Rests between two rounds; true if it is over.
    fn rest(&self) -> bool {
        let began = Instant::now();
        let mut stop = self.stop.lock();
        loop {
            let backoff = Duration::from_millis(self.backoff_ms.load(Ordering::Relaxed));
            let left = backoff.saturating_sub(began.elapsed());
            if *stop || left.is_zero() {
                return *stop;
            }
            let _ = self.asked.wait_for(&mut stop, left);
        }
    }

    fn run(&self, shared: &Shared, config: &CleanerConfig) {
        let mut clock = RetentionClock::new(shared.clock.now());
        while !self.rest() {
            if shared.failure().is_some() {
                continue;
            }
            self.compact_all(shared, config, clock.read(shared.clock.now()));
        }
    }

    /// One round over all logs. A log whose keys don't fit into memory at once is gone through
    /// until they have, or until nothing more is due.
    pub(super) fn compact_all(&self, shared: &Shared, config: &CleanerConfig, now: TimestampMs) {
        for partition in shared.all_partitions() {
            loop {
                match partition.compact_once(self, config, now) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(Ended::Stopped) => return,
                    Err(ended) => {
                        partition.note_compaction_ended(&ended);
                        break;
                    }
                }
            }
        }
    }
}

/// Keeps a compaction to so many bytes a second.
#[derive(Debug)]
struct Throttle {
    began: Instant,
    bytes: u64,
    bytes_per_second: Option<u64>,
}

impl Throttle {
    /// How long to wait after those bytes.
    fn after(&mut self, bytes: usize) -> Duration {
        self.bytes += bytes as u64;
        let Some(limit) = self.bytes_per_second else { return Duration::ZERO };
        let due_ms = self.bytes.saturating_mul(1000) / limit.max(1);
        Duration::from_millis(due_ms).saturating_sub(self.began.elapsed())
    }
}

impl Partition {
    /// Compacts the log if that is due; says whether it was.
    fn compact_once(
        &self,
        cleaner: &Cleaner,
        config: &CleanerConfig,
        now: TimestampMs,
    ) -> Result<bool, Ended> {
        if !self.config().cleanup.compacts() {
            return Ok(false);
        }
        let Some(standing) = self.compaction_standing() else { return Ok(false) };
        if let LogState::Cold(summary) = &*self.state.lock()
            && !may_need_compaction(&summary.segments, &self.config(), &standing, now)
        {
            return Ok(false);
        }
        let planned = self.with_open_unused(|open| {
            // What is closed is to be whole on disk, with its aborted transactions, and no journal
            // may write it back.
            open.closing.is_empty().then(|| open.log.plan_compaction(&standing, now)).flatten()
        })?;
        let Some(plan) = planned else { return Ok(false) };
        let done = self.perform_compaction(plan, cleaner, config);
        if done.is_err() {
            self.remove_cleaned_files();
        }
        let done = done?;
        let path = self.directory.path.join(CompactionStanding::FILE);
        let text = done.encode();
        self.shared.disk.replace(&path, text.as_bytes(), Durability::Atomic)?;
        self.compaction.lock().standing = Some(done);
        self.shared.counts.compactions.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            partition = %self.topic_partition(), from = %standing.first_dirty,
            to = %done.first_dirty, "compacted"
        );
        Ok(done.first_dirty > standing.first_dirty)
    }

    /// How far it is compacted; none if it has been given up.
    fn compaction_standing(&self) -> Option<CompactionStanding> {
        let mut life = self.compaction.lock();
        if life.given_up {
            return None;
        }
        let read = || {
            let text = fs::read_to_string(self.directory.path.join(CompactionStanding::FILE));
            text.ok().and_then(|text| CompactionStanding::decode(&text).ok()).unwrap_or_default()
        };
        Some(*life.standing.get_or_insert_with(read))
    }

    fn note_compaction_ended(&self, ended: &Ended) {
        let partition = self.topic_partition();
        match ended {
            Ended::Stopped | Ended::Offline(_) => {}
            Ended::Problem(problem) => {
                tracing::error!(%partition, %problem, "not compacted any more: it is damaged");
                self.compaction.lock().given_up = true;
                self.shared.counts.logs_given_up.fetch_add(1, Ordering::Relaxed);
            }
            // One that was deleted meanwhile has nothing to be compacted.
            Ended::Io(_) if matches!(*self.state.lock(), LogState::Gone(_)) => {}
            Ended::Io(error) => tracing::warn!(%partition, %error, "not compacted this time"),
        }
    }

    fn perform_compaction(
        &self,
        plan: CompactionPlan,
        cleaner: &Cleaner,
        config: &CleanerConfig,
    ) -> Result<CompactionStanding, Ended> {
        let counts = &self.shared.counts;
        let mut pass = CompactionPass::new(plan, config.map_bytes_max, config.step_bytes);
        let mut throttle =
            Throttle { began: Instant::now(), bytes: 0, bytes_per_second: config.bytes_per_second };
        let mut source: Option<SegmentFile> = None;
        let mut output: Option<fs::File> = None;
        let mut buffer = Vec::new();
        loop {
            let moved_bytes = match pass.poll()? {
                CompactionEffect::Read { segment, position, bytes } => {
                    let file = match source.take().filter(|file| file.base_offset == segment) {
                        Some(file) => file,
                        None => self.directory.open_segment(segment)?,
                    };
                    self.shared.disk.read_at(&file.file, position, bytes, &mut buffer)?;
                    source = Some(file);
                    pass.read(&buffer)?;
                    counts.cleaner_read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
                    buffer.len()
                }
                CompactionEffect::Write { file, position, bytes } => {
                    let written = match output.take().filter(|_| position > 0) {
                        Some(output) => output,
                        None => self.shared.disk.create(&self.directory.path.join(file))?,
                    };
                    let piece = &mut [IoSlice::new(&bytes)];
                    self.shared.disk.write_at(&written, position, piece)?;
                    output = Some(written);
                    counts.cleaner_written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    bytes.len()
                }
                CompactionEffect::Replace(replacement) => {
                    (source, output) = (None, None);
                    self.replace_segments(&replacement)?;
                    0
                }
                CompactionEffect::Discard(steps) => {
                    output = None;
                    self.directory.perform(&steps)?;
                    0
                }
                CompactionEffect::Done(standing) => return Ok(standing),
            };
            if cleaner.stops_within(throttle.after(moved_bytes)) {
                return Err(Ended::Stopped);
            }
            std::thread::yield_now();
        }
    }

    /// Puts a compacted segment in the place of those it was made of. What is sealed is finished,
    /// also by a store that closes meanwhile: the log that it leaves is the one on disk.
    fn replace_segments(&self, replacement: &Replacement) -> Result<(), Ended> {
        // Segments neither go nor come meanwhile.
        let _alone = self.replacing.lock();
        if !self.with_open_unused(|open| open.log.can_replace(replacement))? {
            self.directory.perform(&replacement.discard_steps())?;
            return Ok(());
        }
        self.directory.write_cleaned_indexes(replacement)?;
        self.perform_durably(&replacement.seal_steps())?;
        let file = self.directory.open_swap(replacement.base_offset())?;
        self.with_open_to_finish(|open| {
            open.log.segments_replaced(replacement);
            open.reading = None;
            open.swapping = Some(file);
        })?;
        let finished = self.perform_durably(&replacement.finish_steps());
        if let Err(ended) = finished {
            return Err(self.give_up_swap(ended));
        }
        self.with_open_to_finish(|open| open.swapping = None)?;
        let replaced = replacement.sources.len() as u64;
        self.shared.counts.segments_replaced.fetch_add(replaced, Ordering::Relaxed);
        Ok(())
    }

    /// A swap that was decided and can't be finished: what is read may not be what a restart finds.
    /// The restart finishes it.
    fn give_up_swap(&self, ended: Ended) -> Ended {
        let mut state = self.state.lock();
        if !matches!(*state, LogState::Gone(_)) {
            let offline = StorageOffline::Damaged {
                topic_partition: self.topic_partition().clone(),
                damage: format!("a compaction could not be finished ({ended}); restart").into(),
            };
            tracing::error!(partition = %self.topic_partition(), %ended, "the log is offline");
            *state = LogState::Gone(offline);
        }
        drop(state);
        self.wake_all();
        ended
    }

    /// Does the steps; a flush that fails takes the directory offline, as any other does.
    fn perform_durably(&self, steps: &[FileStep]) -> Result<(), Ended> {
        for step in steps {
            let is_flush = matches!(step, FileStep::Sync(_) | FileStep::SyncDirectory);
            if let Err(error) = self.directory.perform(std::slice::from_ref(step)) {
                let is_deleted =
                    matches!(*self.state.lock(), LogState::Gone(StorageOffline::Deleted(_)));
                if is_flush && !is_deleted {
                    let path = self.directory.path.display();
                    self.shared.fail(&format!("fsync in {path}: {error}"));
                    self.shared.wake_everyone();
                }
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Removes what a compaction that was given up has written; the next start would, too.
    fn remove_cleaned_files(&self) {
        let Ok(entries) = fs::read_dir(&self.directory.path) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.ends_with(CLEANED_SUFFIX)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
