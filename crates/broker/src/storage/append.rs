//! Appends to one partition's log: decided, written, on their way to the disk.

use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use streamledger_broker_core::log::{
    AppendDecision, AppendOrigin, AppendOutcome, AppendRefusal, PreparedAppend, ProducerOwner,
    TransactionGuard, ValidBatches, validate_batches,
};
use streamledger_broker_core::time::Now;
use streamledger_protocol::ProducerId;

use super::codecs::{recompress, with_decompressor};
use super::config::FlushPolicy;
use super::errors::{AppendError, StorageOffline};
use super::partition::{OpenLog, Partition, Progress};

/// What speaks for a client's batch.
#[derive(Clone, Copy, Default)]
pub struct Admission<'a> {
    /// The guard under which its transaction was verified, if it has one.
    pub guard: Option<TransactionGuard>,
    /// Whose it is, asked if its producer is new: without it new ones are not counted.
    pub owner: Option<&'a dyn Fn() -> ProducerOwner>,
}

impl fmt::Debug for Admission<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("guard", &self.guard).finish_non_exhaustive()
    }
}

/// What an append did, to be told once the lock is released.
struct Appended {
    outcome: AppendOutcome,
    progress: Progress,
    wants_flush: bool,
}

impl Partition {
    /// Appends record batches: checked, given offsets, written to the page cache. Under
    /// `FlushPolicy::Commit` their flush is on its way; `wait_flushed(outcome.last_offset)` tells
    /// when it is done, and is to be awaited for a duplicate too.
    ///
    /// # Errors
    /// Nothing of them is in the log, and why; `AppendError::error_code` is the answer.
    pub fn append(
        self: &Arc<Self>,
        batches: Bytes,
        origin: AppendOrigin,
    ) -> Result<AppendOutcome, AppendError> {
        self.append_admitted(batches, origin, Admission::default())
    }

    /// How the log stands with a producer: to be taken before its transaction is verified, and
    /// handed to [`Self::append_admitted`].
    ///
    /// # Errors
    /// The partition is offline.
    pub fn transaction_guard(&self, id: ProducerId) -> Result<TransactionGuard, StorageOffline> {
        self.with_open(|open| open.log.producers().guard(id))
    }

    /// Takes a place for a producer whose transaction this partition is about to join, if nothing
    /// of it is remembered here: its marker will be, whether it writes or not.
    ///
    /// # Errors
    /// The producer may not join; `AppendError::error_code` is the answer.
    pub fn take_producer_place(
        &self,
        id: ProducerId,
        owner: &ProducerOwner,
    ) -> Result<(), AppendError> {
        let now = self.shared.clock.now().monotonic;
        let taken = self.with_open(|open| match open.log.knows_producer(id) {
            true => Ok(()),
            false => self.shared.producers.take_place(&open.log, now, owner.clone()),
        })?;
        Ok(taken.map_err(AppendRefusal::from)?)
    }

    /// As [`Self::append`], for a batch that something speaks for.
    ///
    /// # Errors
    /// Nothing of them is in the log, and why; `AppendError::error_code` is the answer.
    pub fn append_admitted(
        self: &Arc<Self>,
        batches: Bytes,
        origin: AppendOrigin,
        admission: Admission<'_>,
    ) -> Result<AppendOutcome, AppendError> {
        self.check_online()?;
        let now = self.shared.clock.now();
        let config = self.config();
        let batches = match origin {
            AppendOrigin::Client => recompress(batches, &config),
            AppendOrigin::Replication | AppendOrigin::Coordinator | AppendOrigin::Marker(_) => {
                batches
            }
        };
        let valid = with_decompressor(|decompressor| {
            validate_batches(batches, origin, &config, now.wall, decompressor)
        })?;
        let valid = valid.verified(admission.guard);
        let owner = admission.owner;
        let appended = self.with_open(|open| self.append_valid(open, valid, now, owner))?;
        let Appended { outcome, progress, wants_flush } = appended.inspect_err(|_| {
            // A write that could not be undone: no lock is held any more.
            if self.shared.failure().is_some() {
                self.shared.wake_everyone();
            }
        })?;
        if wants_flush {
            self.queue_flush();
        }
        self.wake(progress);
        Ok(outcome)
    }

    fn append_valid(
        &self,
        open: &mut OpenLog,
        valid: ValidBatches,
        now: Now,
        owner: Option<&dyn Fn() -> ProducerOwner>,
    ) -> Result<Appended, AppendError> {
        let prepared = match open.log.decide_append(valid, now)? {
            AppendDecision::Duplicate(outcome) => {
                let progress = Progress::default();
                return Ok(Appended { outcome, progress, wants_flush: false });
            }
            AppendDecision::Write(prepared) => prepared,
        };
        if prepared.wants_place
            && let Some(owner) = owner
        {
            let taken = self.shared.producers.take_place(&open.log, now.monotonic, owner());
            taken.map_err(AppendRefusal::from)?;
        }
        if prepared.roll.is_some() {
            self.roll(open)?;
        }
        self.write(open, &prepared)?;
        if open.log.written(&prepared, now) || open.epochs_unwritten {
            self.note_epochs(open);
        }
        let counts = &self.shared.counts;
        counts.appended_bytes.fetch_add(prepared.bytes() as u64, Ordering::Relaxed);
        counts.appended_batches.fetch_add(prepared.batches.len() as u64, Ordering::Relaxed);
        open.remembered.update(&open.log);
        open.settled = false;
        open.unflushed_since.get_or_insert(now.monotonic);
        Ok(Appended {
            outcome: prepared.outcome,
            progress: self.publish(&open.log),
            wants_flush: self.wants_flush(open),
        })
    }

    fn wants_flush(&self, open: &OpenLog) -> bool {
        let unflushed = open.log.log_end_offset() - open.log.flushed_offset();
        let limit = open.log.config().flush_messages;
        self.shared.flush != FlushPolicy::Os
            || !open.closing.is_empty()
            || limit.is_some_and(|limit| u64::try_from(unflushed).is_ok_and(|n| n >= limit))
    }

    fn write(&self, open: &OpenLog, prepared: &PreparedAppend) -> Result<(), AppendError> {
        let disk = &self.shared.disk;
        let position = u64::from(prepared.position);
        let mut pieces: Vec<IoSlice<'_>> = prepared.pieces().map(IoSlice::new).collect();
        let Err(error) = disk.write_at(&open.active.file, position, &mut pieces) else {
            return Ok(());
        };
        // Part of it may be there: cut it off, or nobody could tell it from the log.
        if let Err(second) = disk.truncate(&open.active.file, position) {
            let path = self.directory.path.display();
            let reason = format!("cutting off a failed write ({error}) in {path}: {second}");
            self.shared.fail(&reason);
        }
        Err(AppendError::NotWritten(error))
    }
}
