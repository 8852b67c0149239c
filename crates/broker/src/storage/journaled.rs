//! Flushing through the journal: the appends of all partitions that wait, by one fdatasync.
//!
//! What a frame must not hold, or has no room for, is flushed in its segment by other threads: new
//! names, closed segments, large appends, and whatever comes while a checkpoint is late.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use streamledger_broker_core::flush_journal::{Checkpoint, PAYLOAD_BYTES_MAX, Place};
use streamledger_broker_core::log::FileKind;
use streamledger_protocol::Offset;

use super::errors::StorageOffline;
use super::journal::{FlushOfHalf, Journal};
use super::partition::{LogState, Partition, flush_state};
use super::shared::{SegmentWork, Shared};

/// How long after a checkpoint that could not be done it is tried again.
const CHECKPOINT_AGAIN: Duration = Duration::from_millis(200);

/// What the journal is to make safe.
struct Frame {
    partition: Arc<Partition>,
    segment: Offset,
    /// Bytes of the segment up to where it is safe then.
    bytes: u32,
    /// The log's end there.
    end: Offset,
}

/// What becomes of a partition that waits.
enum Journaled {
    /// Nothing of it is unsafe.
    Nothing,
    /// It is to be flushed in its segment.
    Elsewhere,
    Written(Frame, FlushOfHalf),
}

/// Flushes what waits in the queue, until that is closed.
pub(super) fn run(shared: &Shared, journal: &Journal) {
    let mut buffer = Vec::new();
    let mut frames = Vec::new();
    while let Some(waiting) = shared.queue.pop_all() {
        let mut last = None;
        for partition in waiting {
            // Before it is looked at: what is appended from here on queues it again.
            partition.flush_state.store(flush_state::FLUSHING, Ordering::Release);
            match partition.write_frame(journal, &mut buffer) {
                Journaled::Nothing => partition.note_flush_ended(),
                Journaled::Elsewhere => {
                    partition.flush_state.store(flush_state::QUEUED, Ordering::Release);
                    shared.segment_work.push(SegmentWork::Flush(partition));
                }
                Journaled::Written(frame, half) => {
                    last = Some(half);
                    frames.push(frame);
                }
            }
        }
        // All of them are of one turn: the next one begins once they are flushed.
        if let Err(error) = last.map_or(Ok(()), |half| journal.flush(&half)) {
            shared
                .fail(&format!("fsync of the journal in {}: {error}", shared.directory.display()));
            shared.wake_everyone();
            return;
        }
        for frame in frames.drain(..) {
            frame.partition.note_safe(&frame);
            frame.partition.note_flush_ended();
        }
    }
}

impl Partition {
    /// Writes what was appended since into the journal.
    fn write_frame(self: &Arc<Self>, journal: &Journal, buffer: &mut Vec<u8>) -> Journaled {
        if self.check_alive().is_err() {
            self.wake_all();
            return Journaled::Nothing;
        }
        // While it is flushed otherwise, its names and closed segments are in between.
        let Some(_alone) = self.flushing.try_lock() else { return Journaled::Elsewhere };
        let (active, from, frame) = {
            let LogState::Open(open) = &*self.state.lock() else { return Journaled::Nothing };
            if !open.closing.is_empty() || open.directory_unsynced || open.is_new {
                return Journaled::Elsewhere;
            }
            let end = open.log.log_end_offset();
            if end == open.log.flushed_offset() {
                return Journaled::Nothing;
            }
            let bytes = open.log.active_segment().bytes();
            let segment = open.active.base_offset;
            let frame = Frame { partition: Arc::clone(self), segment, bytes, end };
            (Arc::clone(&open.active), open.safe_bytes, frame)
        };
        let wanted = frame.bytes.saturating_sub(from) as usize;
        let Some(partition) = self.key().filter(|_| (1..=PAYLOAD_BYTES_MAX).contains(&wanted))
        else {
            return Journaled::Elsewhere;
        };
        // What is appended stays as it is, so it is read beside the lock.
        let read = self.shared.disk.read_at(&active.file, u64::from(from), wanted, buffer);
        if read.is_err() || buffer.len() != wanted {
            return Journaled::Elsewhere;
        }
        let place = Place { partition, segment: frame.segment, position: from };
        match journal.append(place, buffer) {
            Ok(Some(written)) => {
                if let Some(checkpoint) = written.checkpoint {
                    self.shared.begin(checkpoint);
                }
                Journaled::Written(frame, written.half)
            }
            Ok(None) => Journaled::Elsewhere,
            Err(error) => {
                let partition = self.topic_partition();
                tracing::debug!(%partition, %error, "not written to the journal");
                Journaled::Elsewhere
            }
        }
    }

    /// A frame of it is on disk.
    fn note_safe(&self, frame: &Frame) {
        self.shared.counts.flushes.fetch_add(1, Ordering::Relaxed);
        let progress = match &mut *self.state.lock() {
            LogState::Open(open) => {
                open.log.flushed(frame.end);
                if open.active.base_offset == frame.segment {
                    open.safe_bytes = open.safe_bytes.max(frame.bytes);
                }
                if open.log.log_end_offset() == frame.end {
                    open.unflushed_since = None;
                }
                self.publish(&open.log)
            }
            LogState::Cold(_) | LogState::Gone(_) => return,
        };
        self.wake(progress);
    }

    /// Flushes the segments that the journal may hold bytes of. Beside whatever else is flushed:
    /// each file is opened anew, so that an error is told here and to the others, too. False if one
    /// can't be opened now.
    pub(super) fn sync_segments(&self) -> io::Result<bool> {
        let (segments, end): (Vec<Offset>, _) = match &*self.state.lock() {
            LogState::Open(open) => {
                // Not only what is acknowledged: a frame may be written and not flushed yet.
                let end = open.log.log_end_offset();
                if open.synced_offset >= end {
                    return Ok(true);
                }
                let closing = open.closing.iter().map(|closed| closed.file.base_offset);
                (closing.chain([open.active.base_offset]).collect(), end)
            }
            LogState::Cold(_) | LogState::Gone(StorageOffline::Deleted(_)) => return Ok(true),
            // Nobody flushes it any more, and a restart wants what it acknowledged.
            LogState::Gone(_) => (self.directory.list_segments()?, Offset::ZERO),
        };
        for segment in segments {
            match File::open(self.directory.file_path(FileKind::Log, segment)) {
                Ok(file) => self.shared.disk.sync_file(&file)?,
                // Removed with its records, or with the whole log.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let partition = self.topic_partition();
                    tracing::warn!(%partition, %error, "a segment can't be flushed now");
                    return Ok(false);
                }
            }
        }
        if let LogState::Open(open) = &mut *self.state.lock() {
            open.synced_offset = open.synced_offset.max(end);
        }
        Ok(true)
    }
}

impl Shared {
    /// Has a checkpoint done.
    pub(super) fn begin(&self, checkpoint: Checkpoint) {
        self.segment_work.push(SegmentWork::Checkpoint(checkpoint));
    }

    /// Flushes the segments that a turn of the journal holds bytes of, so that it may be written
    /// over.
    pub(super) fn checkpoint(&self, journal: &Journal, checkpoint: Checkpoint) {
        for partition in self.all_partitions() {
            let is_wanted = partition
                .key()
                .is_some_and(|key| checkpoint.partitions.binary_search(&key).is_ok());
            if !is_wanted {
                continue;
            }
            match partition.sync_segments() {
                Ok(true) => {}
                Ok(false) => {
                    std::thread::sleep(CHECKPOINT_AGAIN);
                    return self.begin(checkpoint);
                }
                Err(error) => {
                    let path = partition.directory.path.display();
                    self.fail(&format!("fsync in {path}: {error}"));
                    self.wake_everyone();
                    return;
                }
            }
        }
        journal.checkpointed(checkpoint.turn);
    }
}
