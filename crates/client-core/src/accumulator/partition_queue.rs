//! The batches of one partition that wait to be sent: one open, the full ones before it.
//!
//! The lock guards the queue and nothing else. It is taken once a record by callers and once a
//! round by the sender; under it the budget's, the flush tracker's and the signals' locks may be
//! taken, never the other way round.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use streamledger_protocol::{PartitionIndex, TopicName, TopicPartition};

use super::batch::{OpenBatch, ReadyReason};
use super::flush::FlushTracker;

/// The queue of one partition. Aligned so that two partitions' locks share no cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct PartitionQueue {
    /// The partition's number among all of this producer's, from 0.
    slot: usize,
    topic: TopicName,
    partition: PartitionIndex,
    state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
pub(crate) struct QueueState {
    pub(crate) open: Option<OpenBatch>,
    pub(crate) closed: VecDeque<OpenBatch>,
    /// Whether the sender knows that there is something here.
    pub(crate) listed: bool,
    /// Bytes that the sticky partitioner put here since it came.
    pub(crate) sticky_bytes: usize,
}

/// What makes an open batch ready, at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadyRules<'a> {
    pub(crate) now: Instant,
    pub(crate) linger: Duration,
    /// No batch has lingered long enough before this moment.
    pub(crate) held_until: Option<Instant>,
    pub(crate) memory_pressure: bool,
    pub(crate) closing: bool,
    pub(crate) flush: &'a FlushTracker,
}

/// What the sender finds at the front of a queue.
#[derive(Debug)]
pub(crate) enum Front {
    Ready(OpenBatch, ReadyReason),
    /// Ready, but larger than the room in the request.
    NoRoom,
    /// Filling until this moment, unless it is full before.
    Filling(Instant),
    Empty,
}

impl PartitionQueue {
    pub(crate) fn new(slot: usize, topic: TopicName, partition: PartitionIndex) -> Self {
        Self { slot, topic, partition, state: Mutex::default() }
    }

    pub(crate) fn slot(&self) -> usize {
        self.slot
    }

    pub(crate) fn topic_partition(&self) -> TopicPartition {
        TopicPartition { topic: self.topic.clone(), partition: self.partition }
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock()
    }

    /// Takes the oldest batch if it is ready and no larger than `room_bytes`.
    pub(crate) fn take_front(&self, rules: &ReadyRules<'_>, room_bytes: usize) -> Front {
        let mut state = self.state.lock();
        if let Some(full) = state.closed.front() {
            if full.builder.batch_bytes() > room_bytes {
                return Front::NoRoom;
            }
            return match state.closed.pop_front() {
                Some(full) => Front::Ready(full, ReadyReason::Full),
                None => Front::Empty,
            };
        }
        let Some(open) = &state.open else { return Front::Empty };
        let lingered = open.origin.created + rules.linger;
        let linger_over = rules.held_until.map_or(lingered, |held| held.max(lingered));
        let Some(reason) = rules.reason(open.origin.generation, linger_over) else {
            return Front::Filling(linger_over);
        };
        if open.builder.batch_bytes() > room_bytes {
            return Front::NoRoom;
        }
        match state.open.take() {
            Some(open) => Front::Ready(open, reason),
            None => Front::Empty,
        }
    }

    /// When the oldest batch was created, if there is one.
    pub(crate) fn oldest_created(&self) -> Option<Instant> {
        let state = self.state.lock();
        let oldest = state.closed.front().or(state.open.as_ref());
        oldest.map(|batch| batch.origin.created)
    }

    /// Takes the oldest batch if it was created at or before `created_until`.
    pub(crate) fn take_created_until(&self, created_until: Instant) -> Option<OpenBatch> {
        let mut state = self.state.lock();
        let is_due = |batch: &mut OpenBatch| batch.origin.created <= created_until;
        if state.closed.is_empty() {
            return state.open.take_if(is_due);
        }
        state.closed.pop_front_if(is_due)
    }

    /// Takes the oldest batch, whatever its state.
    pub(crate) fn take_any(&self) -> Option<OpenBatch> {
        let mut state = self.state.lock();
        let first = state.closed.pop_front();
        first.or_else(|| state.open.take())
    }

    /// Batches here, the open one included.
    pub(crate) fn batch_count(&self) -> usize {
        let state = self.state.lock();
        state.closed.len() + usize::from(state.open.is_some())
    }

    /// Whether there is a full batch.
    pub(crate) fn has_full(&self) -> bool {
        !self.state.lock().closed.is_empty()
    }

    /// Forgets that the sender knows of the queue, if there is nothing in it.
    pub(crate) fn unlist_if_empty(&self) -> bool {
        let mut state = self.state.lock();
        let empty = state.open.is_none() && state.closed.is_empty();
        state.listed &= !empty;
        empty
    }
}

impl ReadyRules<'_> {
    fn reason(&self, generation: u64, linger_over: Instant) -> Option<ReadyReason> {
        if self.flush.is_flushed(generation) {
            Some(ReadyReason::Flush)
        } else if self.now >= linger_over {
            Some(ReadyReason::Linger)
        } else if self.memory_pressure {
            Some(ReadyReason::MemoryPressure)
        } else if self.closing {
            Some(ReadyReason::Closing)
        } else {
            None
        }
    }
}
