//! The threads that flush: one fsync for all that was appended meanwhile.
//!
//! 1. A partition is flushed by one thread at a time. What is appended during its flush waits for
//!    the next, together: the slower the disk, the larger the groups. Where an acknowledgement
//!    waits for the flush, the partitions share one, too: through the journal (`journaled`).
//! 2. An fsync that fails takes the directory offline; nothing is ever fsynced again to see whether
//!    it works now.
//! 3. A roll flushes nothing itself. The flush after it goes in the order of the log: the closed
//!    segment, its aborted transactions, the producer snapshot at its end, the names, and the
//!    active segment last. So what is
//!    acknowledged in a segment has everything before it on disk, and a snapshot that is there
//!    proves it (`broker-core::log::recovery`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};

use streamledger_broker_core::flush_journal::Place;
use streamledger_protocol::Offset;

use super::config::FlushPolicy;
use super::directory::SegmentFile;
use super::disk::{Durability, is_disk_full};
use super::errors::{StorageError, StorageOffline};
use super::journaled;
use super::partition::{ClosedSegment, LogState, Partition, flush_state};
use super::shared::{SegmentWork, Shared};

/// Starts the threads that the policy needs.
pub(super) fn start(
    shared: &Arc<Shared>,
    threads: usize,
) -> Result<Vec<JoinHandle<()>>, StorageError> {
    let count = match shared.flush {
        FlushPolicy::Commit => threads.max(2),
        FlushPolicy::Os => threads.max(1),
        FlushPolicy::Interval(_) => 1,
    };
    let spawn = |number: usize| {
        let shared = Arc::clone(shared);
        let run = move || match (&shared.journal, shared.flush) {
            (Some(journal), _) if number == 0 => journaled::run(&shared, journal),
            (Some(journal), _) => {
                while let Some(work) = shared.segment_work.pop() {
                    match work {
                        SegmentWork::Flush(partition) => partition.flush_queued(),
                        SegmentWork::Checkpoint(turn) => shared.checkpoint(journal, turn),
                    }
                }
            }
            (None, FlushPolicy::Interval(interval)) => {
                while let Some(partitions) = shared.queue.pop_all_after(interval) {
                    partitions.iter().for_each(|partition| partition.flush_queued());
                }
            }
            (None, FlushPolicy::Commit | FlushPolicy::Os) => {
                while let Some(partition) = shared.queue.pop() {
                    partition.flush_queued();
                }
            }
        };
        Builder::new().name(format!("log-flush-{number}")).stack_size(256 << 10).spawn(run)
    };
    let threads: io::Result<Vec<_>> = (0..count).map(spawn).collect();
    threads.map_err(|error| StorageError::io("starting a thread for", "flushing".as_ref(), error))
}

impl Partition {
    /// Flushes a partition that was taken from the queue.
    fn flush_queued(self: &Arc<Self>) {
        self.flush_state.store(flush_state::FLUSHING, Ordering::Release);
        self.flush();
        self.note_flush_ended();
    }

    /// It is in no flush any more; queued again if something was appended since.
    pub(super) fn note_flush_ended(self: &Arc<Self>) {
        let clean = self.flush_state.compare_exchange(
            flush_state::FLUSHING,
            flush_state::IDLE,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if clean.is_err() {
            self.flush_state.store(flush_state::QUEUED, Ordering::Release);
            self.shared.queue.push(Arc::clone(self));
        }
    }

    /// Flushes everything that was appended before the call, and wakes who waited for it.
    pub(super) fn flush(&self) {
        let _one_at_a_time = self.flushing.lock();
        if self.check_alive().is_err() {
            self.wake_all();
            return;
        }
        let Some(round) = self.begin_round() else { return };
        self.shared.counts.flushes.fetch_add(1, Ordering::Relaxed);
        let flushed = self.sync(&round).and_then(|unwritten| {
            let closed = self.close_behind(&round)?;
            Ok((unwritten, closed))
        });
        let (unwritten, closed) = match flushed {
            Ok(flushed) => flushed,
            Err(error) => return self.fail(&error),
        };
        let progress = match &mut *self.state.lock() {
            LogState::Open(open) => {
                let flushed = open.closing.drain(..closed.min(open.closing.len()));
                let left: Vec<_> = flushed.filter_map(|closed| closed.left(&unwritten)).collect();
                open.closing.splice(..0, left);
                open.log.flushed(round.end);
                open.synced_offset = open.synced_offset.max(round.end);
                if open.active.base_offset == round.active.base_offset {
                    open.safe_bytes = open.safe_bytes.max(round.active_bytes);
                }
                if open.log.log_end_offset() == round.end {
                    open.unflushed_since = None;
                }
                self.publish(&open.log)
            }
            LogState::Cold(_) | LogState::Gone(_) => return,
        };
        self.wake(progress);
    }

    /// How many of the closed segments of a round may be forgotten: all, once no journal would
    /// write them back; else they are flushed again next time.
    fn close_behind(&self, round: &Round) -> io::Result<usize> {
        let (Some(journal), Some(partition)) = (&self.shared.journal, self.key()) else {
            return Ok(round.closing.len());
        };
        if round.closing.is_empty() {
            return Ok(0);
        }
        let place = Place { partition, segment: round.active.base_offset, position: 0 };
        let raised = journal.raise_floor(place, |checkpoint| self.shared.begin(checkpoint))?;
        Ok(if raised { round.closing.len() } else { 0 })
    }

    /// A flush has failed: takes the directory offline.
    pub(super) fn fail(&self, error: &io::Error) {
        // One that was deleted meanwhile has nothing to flush: its directory is gone.
        if matches!(*self.state.lock(), LogState::Gone(StorageOffline::Deleted(_))) {
            return;
        }
        let path = self.directory.path.display();
        self.shared.fail(&format!("fsync in {path}: {error}"));
        self.shared.wake_everyone();
    }

    /// A recovered log without records is in sight as it is. Its names are flushed by its first
    /// flush.
    pub(super) fn count_as_flushed(&self) {
        if let LogState::Open(open) = &mut *self.state.lock() {
            open.log.flushed(open.log.log_end_offset());
            open.synced_offset = open.log.log_end_offset();
            // Nobody waits yet.
            let _ = self.publish(&open.log);
        }
    }

    /// The whole file system was flushed since this log was recovered, and nobody uses it yet.
    pub(super) fn note_all_flushed(&self) {
        let LogState::Open(open) = &mut *self.state.lock() else { return };
        for closed in &mut open.closing {
            if let Some((offset, content)) = closed.snapshot.take() {
                self.note_flushed(offset, &content, Durability::Content);
            }
        }
        open.closing.retain(|closed| closed.aborted.is_some());
        (open.directory_unsynced, open.is_new) = (false, false);
        open.log.flushed(open.log.log_end_offset());
        open.synced_offset = open.log.log_end_offset();
        open.safe_bytes = open.log.active_segment().bytes();
        // Nobody waits yet.
        let _ = self.publish(&open.log);
    }

    fn begin_round(&self) -> Option<Round> {
        let mut state = self.state.lock();
        let LogState::Open(open) = &mut *state else { return None };
        let end = open.log.log_end_offset();
        let nothing_written = end == open.synced_offset && end == open.log.flushed_offset();
        if nothing_written && open.closing.is_empty() && !open.directory_unsynced {
            return None;
        }
        Some(Round {
            // They stay there until they are flushed: the manifest must not call them known.
            closing: open.closing.clone(),
            active: Arc::clone(&open.active),
            active_bytes: open.log.active_segment().bytes(),
            directory: std::mem::take(&mut open.directory_unsynced),
            parent: std::mem::take(&mut open.is_new),
            end,
        })
    }

    /// Gives the closed segments whose aborted transactions there is no room for: their batches
    /// are on disk all the same.
    fn sync(&self, round: &Round) -> io::Result<Vec<Offset>> {
        let disk = &self.shared.disk;
        let mut unwritten = Vec::new();
        for (number, closed) in (1..).zip(&round.closing) {
            disk.sync_file(&closed.file.file)?;
            let base_offset = closed.file.base_offset;
            let written = closed
                .aborted
                .as_ref()
                .map_or(Ok(()), |content| self.directory.write_aborted(base_offset, content));
            match written {
                Ok(()) => self.directory.sync_aborted(base_offset)?,
                Err(error) if is_disk_full(&error) => unwritten.push(base_offset),
                Err(error) => return Err(error),
            }
            if let Some((offset, content)) = &closed.snapshot {
                // The last one proves what the others would.
                let is_last = number == round.closing.len();
                let durability = if is_last { Durability::Content } else { Durability::Atomic };
                self.note_flushed(*offset, content, durability);
            }
        }
        if round.parent {
            self.directory.sync_topic_id()?;
        }
        if round.directory {
            disk.sync_directory(&self.directory.path)?;
        }
        if round.parent {
            disk.sync_directory(&self.shared.directory)?;
        }
        disk.sync_file(&round.active.file)?;
        Ok(unwritten)
    }

    /// Writes the producer snapshot where a segment ends that is on disk now. Without it the next
    /// start knows less and reads more, and nothing is lost: a full disk stops no flush.
    pub(super) fn note_flushed(&self, offset: Offset, content: &[u8], durability: Durability) {
        let written = self.directory.write_snapshot(offset, content, durability);
        if let Err(error) = written {
            let partition = self.topic_partition();
            tracing::warn!(%partition, %offset, %error, "producer snapshot not written");
        }
    }
}

impl ClosedSegment {
    /// What is left to do of it after a flush.
    fn left(self, unwritten: &[Offset]) -> Option<Self> {
        unwritten.contains(&self.file.base_offset).then_some(Self { snapshot: None, ..self })
    }
}

/// What one flush covers.
struct Round {
    closing: Vec<ClosedSegment>,
    active: Arc<SegmentFile>,
    active_bytes: u32,
    /// The partition's directory has new names.
    directory: bool,
    /// The partition's directory is new itself.
    parent: bool,
    end: Offset,
}
