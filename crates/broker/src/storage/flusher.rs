//! The threads that flush: one fsync for all that was appended to a partition meanwhile.
//!
//! A partition is flushed by one thread at a time. What is appended during its flush waits for the
//! next, together: the slower the disk, the larger the groups. An fsync that fails takes the
//! directory offline; nothing is ever fsynced again to see whether it works now.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};

use super::config::FlushPolicy;
use super::errors::StorageError;
use super::partition::{LogState, OpenLog, Partition, flush_state};
use super::shared::Shared;

/// Starts the threads that the policy needs.
pub(super) fn start(
    shared: &Arc<Shared>,
    threads: usize,
) -> Result<Vec<JoinHandle<()>>, StorageError> {
    let (count, interval) = match shared.flush {
        FlushPolicy::Commit | FlushPolicy::Os => (threads.max(1), None),
        FlushPolicy::Interval(interval) => (1, Some(interval)),
    };
    let spawn = |number: usize| {
        let shared = Arc::clone(shared);
        let run = move || match interval {
            None => {
                while let Some(partition) = shared.queue.pop() {
                    partition.flush_queued();
                }
            }
            Some(interval) => {
                while let Some(partitions) = shared.queue.pop_all_after(interval) {
                    partitions.iter().for_each(|partition| partition.flush_queued());
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
        if self.check_alive().is_err() {
            self.wake_all();
            return;
        }
        let Some((files, directory_unsynced, end)) = self.take_unsynced() else { return };
        let disk = &self.shared.disk;
        let synced = (|| {
            for file in &files {
                disk.sync_file(&file.file)?;
            }
            if directory_unsynced {
                disk.sync_directory(&self.directory.path)?;
                if let Some(parent) = self.directory.path.parent() {
                    disk.sync_directory(parent)?;
                }
            }
            Ok::<_, io::Error>(())
        })();
        if let Err(error) = synced {
            // One that was deleted meanwhile has nothing to flush: its directory is gone.
            if matches!(*self.state.lock(), LogState::Gone(_)) {
                return;
            }
            let path = self.directory.path.display();
            self.shared.fail(&format!("fsync in {path}: {error}"));
            self.shared.wake_everyone();
            return;
        }
        let progress = match &mut *self.state.lock() {
            LogState::Open(open) => {
                open.log.flushed(end);
                self.publish(&open.log)
            }
            LogState::Cold(_) | LogState::Gone(_) => return,
        };
        self.wake(progress);
    }

    fn take_unsynced(
        &self,
    ) -> Option<(Vec<Arc<super::directory::SegmentFile>>, bool, streamledger_protocol::Offset)>
    {
        let mut state = self.state.lock();
        let LogState::Open(open) = &mut *state else { return None };
        let OpenLog { log, active, unsynced, directory_unsynced, .. } = &mut **open;
        let end = log.log_end_offset();
        if end == log.flushed_offset() && unsynced.is_empty() && !*directory_unsynced {
            return None;
        }
        let mut files = std::mem::take(unsynced);
        files.push(Arc::clone(active));
        Some((files, std::mem::take(directory_unsynced), end))
    }
}
