//! The RecordAccumulator: callers append records to open batches; the sender takes them out.
//!
//! 1. Nothing here waits or reads a clock on its own. Without memory, [`RecordAccumulator::append`]
//!    says so, and the shell waits with [`MemoryBudget::reserve`] while `max.block.ms` lets it.
//! 2. A record is queued whole or not at all, whatever becomes of its [`Delivery`].
//! 3. Per record: one look-up, one lock, one copy, one reference count. No allocation, no clock.
//! 4. The sender is worth waking only when a batch was created or filled; `append` says when.
//!
//! Reading order: `batch` (a batch), `partition_queue` (a partition's batches), `topic` and
//! `topic_table` (finding it), `memory` (the budget), `completion` (the end), `flush`.

mod batch;
mod completion;
mod flush;
mod gate;
mod memory;
mod partition_queue;
mod sticky;
mod topic;
mod topic_table;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use streamledger_protocol::record_batch::{HEADER_BYTES, RecordBatchBuilder};
use streamledger_protocol::{PartitionIndex, TopicName, TopicPartition};

pub(crate) use batch::{BatchOrigin, LastRecord, OpenBatch};
pub use batch::{ReadyReason, RecordParts};
pub use completion::{BatchAck, BatchCompletion, BatchOutcome, Callback, Delivery, RecordMetadata};
pub(crate) use completion::{RecordCallback, SplitPart};
pub(crate) use flush::FlushTracker;
pub use gate::Gate;
use memory::BUFFER_SLACK_BYTES;
pub use memory::{MemoryBudget, MemoryWait, Reservation};
pub(crate) use partition_queue::{Front, PartitionQueue, ReadyRules};
pub(crate) use sticky::{LoadWeights, PartitionLoad};
pub use topic::TopicQueues;

use crate::failure::FatalError;
use crate::partitioner::{RandomSource, Target};
use partition_queue::QueueState;
use topic_table::TopicTable;

/// The settings of the accumulator.
#[derive(Debug, Clone)]
pub struct AccumulatorConfig {
    /// Bytes of a batch's buffer (`batch.size`): it is full a few bytes below, before compression.
    pub batch_bytes_max: usize,
    /// Bytes of all batches together (`buffer.memory`).
    pub memory_bytes_max: usize,
    /// The largest request, and so the largest record (`max.request.size`).
    pub request_bytes_max: usize,
    /// How long a batch that isn't full waits for more records (`linger.ms`).
    pub linger: Duration,
}

impl Default for AccumulatorConfig {
    /// Kafka 4's defaults.
    fn default() -> Self {
        Self {
            batch_bytes_max: 16_384,
            memory_bytes_max: 33_554_432,
            request_bytes_max: 1_048_576,
            linger: Duration::from_millis(5),
        }
    }
}

/// What a record brings besides itself. Both are handed back in an error's stead: they stay here
/// when the append fails, so it can be tried again.
#[derive(Default)]
pub struct AppendExtras {
    /// Called with the record's end, on the sender's thread.
    pub callback: Option<Callback>,
    /// Memory that was waited for; used if the record needs a new batch.
    pub reservation: Option<Reservation>,
}

impl std::fmt::Debug for AppendExtras {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("AppendExtras");
        shown.field("callback", &self.callback.is_some());
        shown.field("reservation", &self.reservation).finish()
    }
}

/// A record in its batch.
#[derive(Debug)]
#[must_use = "the sender must be woken if it says so"]
pub struct Appended {
    /// The record's future end.
    pub delivery: Delivery,
    /// Whether a batch was created or filled, so that the sender may have something to do.
    pub wake_sender: bool,
}

/// Why a record was not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// All of `buffer.memory` is used. Wake the sender, then wait for this many bytes.
    #[error("the buffer memory is used up; {batch_bytes} bytes are wanted")]
    MemoryFull {
        /// What to reserve.
        batch_bytes: usize,
    },
    /// The record alone is larger than a request, or the whole memory, may be.
    #[error("the record takes {record_bytes} bytes in a batch of its own; at most {bytes_max} fit")]
    RecordTooLarge {
        /// Bytes of a batch with this record alone.
        record_bytes: usize,
        /// The limit: the smaller of `max.request.size` and `buffer.memory`.
        bytes_max: usize,
    },
    /// The partition can't exist.
    #[error("there can be no partition {0}")]
    NoSuchPartition(PartitionIndex),
    /// The producer is transactional, and no transaction is open.
    #[error("no transaction is open")]
    NoTransaction,
    /// The open transaction has failed and can only be aborted.
    #[error("the transaction has failed and can only be aborted")]
    TransactionFailed,
    /// The producer is closed.
    #[error("the producer is closed")]
    Closed,
    /// The producer as a whole can't go on.
    #[error("the producer can't go on: {0}")]
    Fatal(FatalError),
}

/// Where the append's clock comes from: asked once a batch, not once a record.
pub trait Clock {
    /// The monotonic time.
    fn now(&self) -> Instant;
}

impl<F: Fn() -> Instant> Clock for F {
    fn now(&self) -> Instant {
        self()
    }
}

/// The batches of all partitions, shared by callers on any thread and one sender.
pub struct RecordAccumulator {
    config: AccumulatorConfig,
    random: Arc<dyn RandomSource>,
    memory: Arc<MemoryBudget>,
    topics: TopicTable,
    flush: FlushTracker,
    /// Every queue there is, by slot.
    registry: Mutex<Vec<Arc<PartitionQueue>>>,
    /// Queues that have got something since the sender last looked.
    listed: Mutex<Vec<Arc<PartitionQueue>>>,
    /// A [`Gate`].
    gate: AtomicU8,
    /// Why it was closed, if that wasn't the caller's wish.
    fatal: OnceLock<FatalError>,
    opened: OnceLock<BatchOpened>,
}

/// Told of each batch that is opened; what it gives is called with the end of its first record.
pub type BatchOpened = Box<dyn Fn(&TopicPartition) -> Option<Callback> + Send + Sync>;

impl RecordAccumulator {
    /// An empty accumulator. `random` chooses among partitions for the sticky partitioner.
    #[must_use]
    pub fn new(config: AccumulatorConfig, random: Arc<dyn RandomSource>) -> Arc<Self> {
        let mut config = config;
        config.batch_bytes_max =
            config.batch_bytes_max.min(config.request_bytes_max).min(config.memory_bytes_max);
        let pooled_bytes = config.batch_bytes_max.max(BUFFER_SLACK_BYTES + HEADER_BYTES);
        Arc::new(Self {
            memory: MemoryBudget::new(config.memory_bytes_max, pooled_bytes),
            config,
            random,
            topics: TopicTable::new(),
            flush: FlushTracker::new(),
            registry: Mutex::default(),
            listed: Mutex::default(),
            gate: AtomicU8::new(Gate::Open as u8),
            fatal: OnceLock::new(),
            opened: OnceLock::new(),
        })
    }

    /// The settings, with `batch.size` held to what the other limits allow.
    #[must_use]
    pub fn config(&self) -> &AccumulatorConfig {
        &self.config
    }

    /// Tells `opened` of each batch from now on, under its partition's lock; the first call counts.
    pub fn watch_batches(&self, opened: BatchOpened) {
        // A second watcher would need an order between the two.
        let _ = self.opened.set(opened);
    }

    /// The byte budget, to wait for memory.
    #[must_use]
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
    }

    /// Gives the topic to `then` if this producer knows it. Takes no lock.
    #[inline]
    pub fn with_topic<R>(&self, name: &str, then: impl FnOnce(&TopicQueues) -> R) -> Option<R> {
        self.topics.with(name, then)
    }

    /// The topic, made known now if it wasn't. Its partitions are unknown until metadata comes.
    pub fn topic(&self, name: &TopicName) -> Arc<TopicQueues> {
        let filled_bytes_max = self.config.batch_bytes_max.saturating_sub(BUFFER_SLACK_BYTES);
        let make = || TopicQueues::new(name.clone(), filled_bytes_max);
        self.topics.get_or_add(name, make)
    }

    /// Appends a record to the open batch of its partition, opening one if needed.
    ///
    /// `clock` is asked only when a batch is opened.
    ///
    /// # Errors
    /// See [`AppendError`]; the record is then not queued.
    #[inline]
    pub fn append(
        &self,
        topic: &TopicQueues,
        target: Target,
        record: &RecordParts<'_>,
        clock: &impl Clock,
        extras: &mut AppendExtras,
    ) -> Result<Appended, AppendError> {
        let mut filled = false;
        loop {
            let partition = match target {
                Target::Partition(partition) => partition,
                Target::Sticky => topic.sticky_partition(&*self.random),
            };
            let queue = match topic.queue(partition) {
                Some(queue) => queue,
                None => self.make_queue(topic, partition)?,
            };
            let mut state = queue.lock();
            let sticky = target == Target::Sticky;
            if sticky && !topic.is_sticky_at(partition) {
                // Another caller moved on between the choice and the lock.
                continue;
            }
            let gate = self.gate.load(Ordering::Relaxed);
            if gate != Gate::Open as u8 {
                return Err(self.refusal(Gate::of(gate)));
            }
            let batch_bytes_max = topic.batch_bytes_max();
            if let Some(open) = &mut state.open {
                if open.has_room(record, batch_bytes_max) {
                    let bytes_before = open.builder.batch_bytes();
                    let delivery = open.append(record, extras.callback.take());
                    if sticky {
                        state.sticky_bytes += open.builder.batch_bytes() - bytes_before;
                        self.leave_after_twice(topic, &mut state, batch_bytes_max);
                    }
                    return Ok(Appended { delivery, wake_sender: filled });
                }
                let RecordParts { timestamp, key, value, headers } = *record;
                let record_bytes = open.builder.record_size(timestamp, key, value, headers);
                self.close_full(&mut state);
                filled = true;
                if sticky && state.sticky_bytes + record_bytes > batch_bytes_max {
                    state.sticky_bytes = 0;
                    topic.choose_sticky(&*self.random);
                    continue;
                }
            }
            let delivery = self.open_batch(topic, queue, &mut state, record, clock, extras)?;
            if sticky {
                // Records that each get a batch to themselves move it on too.
                state.sticky_bytes += state.open.as_ref().map_or(0, |b| b.builder.batch_bytes());
                self.leave_after_twice(topic, &mut state, batch_bytes_max);
            }
            return Ok(Appended { delivery, wake_sender: true });
        }
    }

    /// Closes the open batch: it is full, and ready.
    fn close_full(&self, state: &mut QueueState) {
        let full = state.open.take();
        state.closed.extend(full);
    }

    /// KIP-794: after twice the batch size the sticky partitioner moves on even in mid-batch.
    #[inline]
    fn leave_after_twice(&self, topic: &TopicQueues, state: &mut QueueState, bytes_max: usize) {
        if state.sticky_bytes >= 2 * bytes_max {
            state.sticky_bytes = 0;
            topic.choose_sticky(&*self.random);
        }
    }

    /// Opens a batch with this record as its first. Under the partition's lock.
    #[cold]
    #[inline(never)]
    fn open_batch(
        &self,
        topic: &TopicQueues,
        queue: &Arc<PartitionQueue>,
        state: &mut QueueState,
        record: &RecordParts<'_>,
        clock: &impl Clock,
        extras: &mut AppendExtras,
    ) -> Result<Delivery, AppendError> {
        let batch_bytes = self.bytes_of_new_batch(topic, record)?;
        let waited_for = extras.reservation.take_if(|waited| waited.bytes() >= batch_bytes);
        let mut reservation = match waited_for.or_else(|| self.memory.try_reserve(batch_bytes)) {
            Some(reservation) => reservation,
            None => return Err(AppendError::MemoryFull { batch_bytes }),
        };
        let builder = RecordBatchBuilder::new(reservation.buffer());
        let tp = queue.topic_partition();
        let last = LastRecord::of(record);
        let watcher = self.opened.get().and_then(|opened| opened(&tp));
        let first = |callback| RecordCallback {
            index: 0,
            sizes: last.sizes,
            timestamp: last.timestamp,
            callback,
        };
        let origin = BatchOrigin {
            completion: BatchCompletion::new(tp.topic, tp.partition),
            callbacks: watcher.map(first).into_iter().collect(),
            last,
            created: clock.now(),
            generation: self.flush.opened(),
        };
        let mut batch = OpenBatch { builder, origin, reservation };
        let delivery = batch.append(record, extras.callback.take());
        state.open = Some(batch);
        if !state.listed {
            state.listed = true;
            self.listed.lock().push(Arc::clone(queue));
        }
        Ok(delivery)
    }

    /// The bytes to reserve for the buffer of a batch that begins with this record: `batch.size`,
    /// or what the record alone takes if that is more.
    fn bytes_of_new_batch(
        &self,
        topic: &TopicQueues,
        record: &RecordParts<'_>,
    ) -> Result<usize, AppendError> {
        let RecordParts { timestamp, key, value, headers } = *record;
        // An empty builder's buffer is 61 bytes; it is only asked for a size here.
        let empty = RecordBatchBuilder::new(Vec::new());
        let record_bytes = HEADER_BYTES + empty.record_size(timestamp, key, value, headers);
        let bytes_max = self.config.request_bytes_max.min(self.config.memory_bytes_max);
        if record_bytes > bytes_max {
            return Err(AppendError::RecordTooLarge { record_bytes, bytes_max });
        }
        let largest = record_bytes.max(topic.batch_bytes_max());
        Ok((largest + BUFFER_SLACK_BYTES).min(self.config.memory_bytes_max))
    }

    #[cold]
    fn make_queue<'a>(
        &self,
        topic: &'a TopicQueues,
        partition: PartitionIndex,
    ) -> Result<&'a Arc<PartitionQueue>, AppendError> {
        topic.make_queue(partition, &self.registry).ok_or(AppendError::NoSuchPartition(partition))
    }

    /// Makes all batches ready that there are; poll [`RecordAccumulator::poll_flushed`] with the
    /// result. Wake the sender after.
    #[must_use]
    pub fn begin_flush(&self) -> u64 {
        self.flush.begin()
    }

    /// Whether the batches of a flush have all ended; the waker is woken when they have.
    pub fn poll_flushed(&self, flush: u64, waker: &Waker) -> Poll<()> {
        self.flush.poll(flush, waker)
    }

    /// Batches that have not ended: queued, in flight or waiting to be sent again.
    #[must_use]
    pub fn unsettled_batches(&self) -> u64 {
        self.flush.unsettled_batches()
    }

    /// Moves the queues that have got something to `active`.
    pub(crate) fn take_listed(&self, active: &mut Vec<Arc<PartitionQueue>>) {
        active.append(&mut self.listed.lock());
    }

    pub(crate) fn flush_tracker(&self) -> &FlushTracker {
        &self.flush
    }
}

impl std::fmt::Debug for RecordAccumulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordAccumulator")
            .field("config", &self.config)
            .field("available_bytes", &self.memory.available_bytes())
            .field("unsettled_batches", &self.unsettled_batches())
            .finish_non_exhaustive()
    }
}
