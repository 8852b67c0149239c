//! How a batch ends, and how each of its records' owners learn of it: one cell per batch.
//!
//! 1. A batch has one [`BatchCompletion`], settled once; a record is (cell, index in the batch).
//! 2. A batch that was split settles into its parts, each a cell of its own, and a record finds
//!    its part by its index.
//! 3. Dropping a [`Delivery`] changes nothing for the record.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use streamledger_protocol::{Offset, PartitionIndex, TimestampMs, TopicName, TopicPartition};

use crate::failure::DeliveryFailure;
use crate::sync::{Mutex, OnceLock};

/// Where a record went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The topic and partition.
    pub topic_partition: TopicPartition,
    /// The position in the partition. None with acks=0, which no broker answers, and where the
    /// broker only says that it has the record already.
    pub offset: Option<Offset>,
    /// The record's timestamp as it is in the log: the record's own, or the time of the append
    /// where the topic says so (`message.timestamp.type`).
    pub timestamp: TimestampMs,
    /// Bytes of the key; None for a record without one.
    pub serialized_key_size: Option<usize>,
    /// Bytes of the value; None for a tombstone.
    pub serialized_value_size: Option<usize>,
}

/// What the leader said of a batch that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchAck {
    /// Offset of the first record, if the broker told.
    pub base_offset: Option<Offset>,
    /// The time of the append if the log keeps that; -1 if it keeps the records' own.
    pub log_append_time: TimestampMs,
}

/// How a batch ended.
pub type BatchOutcome = Result<BatchAck, Arc<DeliveryFailure>>;

/// The cell in which the end of a batch appears.
#[derive(Debug)]
pub struct BatchCompletion {
    topic: TopicName,
    partition: PartitionIndex,
    settled: OnceLock<Settled>,
    waiters: Mutex<Vec<Waker>>,
}

#[derive(Debug)]
enum Settled {
    Done(BatchOutcome),
    Split(Box<[SplitPart]>),
}

/// A part of a batch that was split, in the order of its records.
#[derive(Debug)]
pub(crate) struct SplitPart {
    /// The index, in the whole batch, of the part's first record.
    pub(crate) first_index: u32,
    pub(crate) completion: Arc<BatchCompletion>,
}

impl BatchCompletion {
    pub(crate) fn new(topic: TopicName, partition: PartitionIndex) -> Arc<Self> {
        let (settled, waiters) = (OnceLock::new(), Mutex::default());
        Arc::new(Self { topic, partition, settled, waiters })
    }

    /// Where the batch goes.
    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition { topic: self.topic.clone(), partition: self.partition }
    }

    /// Ends the batch and wakes all who wait for it. The first end counts.
    pub(crate) fn settle(&self, outcome: BatchOutcome) {
        self.set(Settled::Done(outcome));
    }

    /// Hands the records over to the parts of the split batch.
    pub(crate) fn settle_split(&self, parts: Box<[SplitPart]>) {
        self.set(Settled::Split(parts));
    }

    fn set(&self, settled: Settled) {
        if self.settled.set(settled).is_ok() {
            let woken = std::mem::take(&mut *self.waiters.lock());
            woken.into_iter().for_each(Waker::wake);
        }
    }

    /// Registers a waker unless the cell is settled, and says whether it is.
    fn wait(&self, waker: &Waker) -> bool {
        let mut waiters = self.waiters.lock();
        // Settling sets the cell before it takes the waiters, so under the lock one sees the other.
        if self.settled.get().is_some() {
            return true;
        }
        if !waiters.last().is_some_and(|last| last.will_wake(waker)) {
            waiters.push(waker.clone());
        }
        false
    }
}

/// A record's part of its batch's end: 40 bytes, made without allocation.
#[derive(Debug, Clone)]
pub struct Delivery {
    completion: Arc<BatchCompletion>,
    index: u32,
    sizes: SerializedSizes,
    timestamp: TimestampMs,
}

/// The bytes of a record's key and value, with null told from empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SerializedSizes {
    key: u32,
    value: u32,
}

/// The size of a null; no field is as large, for a batch is under 2^31 bytes.
const NULL_BYTES: u32 = u32::MAX;

impl SerializedSizes {
    #[inline]
    pub(crate) fn of(key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        let bytes = |field: Option<&[u8]>| match field {
            Some(field) => u32::try_from(field.len()).unwrap_or(NULL_BYTES - 1),
            None => NULL_BYTES,
        };
        Self { key: bytes(key), value: bytes(value) }
    }

    fn expand(bytes: u32) -> Option<usize> {
        (bytes != NULL_BYTES).then_some(bytes as usize)
    }
}

impl Delivery {
    #[inline]
    pub(crate) fn new(
        completion: Arc<BatchCompletion>,
        index: u32,
        sizes: SerializedSizes,
        timestamp: TimestampMs,
    ) -> Self {
        Self { completion, index, sizes, timestamp }
    }

    /// Where the record goes.
    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        self.completion.topic_partition()
    }

    /// The partition the record goes to.
    #[inline]
    #[must_use]
    pub fn partition(&self) -> PartitionIndex {
        self.completion.partition
    }

    /// Whether the end is known, without waiting and without making the metadata.
    #[inline]
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.look().is_some()
    }

    /// The failure, if the end is known and it is one, without making the metadata.
    #[must_use]
    pub fn failure(&self) -> Option<&Arc<DeliveryFailure>> {
        self.look()?.0.as_ref().err()
    }

    /// The delivery of the record that is `records` behind this one in the same batch. Sizes and
    /// timestamp stay this one's.
    #[must_use]
    pub fn nth(&self, records: u32) -> Self {
        Self { index: self.index.saturating_add(records), ..self.clone() }
    }

    /// Whether `next` is the record `records` behind this one in the same batch.
    #[inline]
    #[must_use]
    pub fn is_followed_by(&self, next: &Self, records: u32) -> bool {
        Arc::ptr_eq(&self.completion, &next.completion) && next.index == self.index + records
    }

    /// The end, if it is known.
    #[must_use]
    pub fn result(&self) -> Option<Result<RecordMetadata, Arc<DeliveryFailure>>> {
        let (outcome, index) = self.look()?;
        Some(record_result(&self.completion, outcome, index, self.sizes, self.timestamp))
    }

    /// The end that `outcome` would be for this record.
    pub(crate) fn with_outcome(
        &self,
        outcome: &BatchOutcome,
    ) -> Result<RecordMetadata, Arc<DeliveryFailure>> {
        record_result(&self.completion, outcome, self.index, self.sizes, self.timestamp)
    }

    /// The end, or the promise to wake the context's waker when it is there.
    pub fn poll_result(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Result<RecordMetadata, Arc<DeliveryFailure>>> {
        loop {
            if let Some(result) = self.result() {
                return Poll::Ready(result);
            }
            // Not settled, or settled into parts of which ours is not.
            if !self.pending_cell().wait(context.waker()) {
                return Poll::Pending;
            }
        }
    }

    /// Follows splits to the outcome and the record's index in the last part.
    fn look(&self) -> Option<(&BatchOutcome, u32)> {
        let mut cell = &self.completion;
        let mut index = self.index;
        loop {
            match cell.settled.get()? {
                Settled::Done(outcome) => return Some((outcome, index)),
                Settled::Split(parts) => {
                    let part = part_of(parts, index)?;
                    index -= part.first_index;
                    cell = &part.completion;
                }
            }
        }
    }

    /// The last cell on the way that is not settled into parts.
    fn pending_cell(&self) -> &BatchCompletion {
        let mut cell = &self.completion;
        let mut index = self.index;
        while let Some(Settled::Split(parts)) = cell.settled.get()
            && let Some(part) = part_of(parts, index)
        {
            index -= part.first_index;
            cell = &part.completion;
        }
        cell
    }
}

fn part_of(parts: &[SplitPart], index: u32) -> Option<&SplitPart> {
    let behind = parts.partition_point(|part| part.first_index <= index);
    parts.get(behind.checked_sub(1)?)
}

fn record_result(
    completion: &BatchCompletion,
    outcome: &BatchOutcome,
    index: u32,
    sizes: SerializedSizes,
    timestamp: TimestampMs,
) -> Result<RecordMetadata, Arc<DeliveryFailure>> {
    let ack = outcome.as_ref().map_err(Arc::clone)?;
    let appended_at = ack.log_append_time;
    Ok(RecordMetadata {
        topic_partition: completion.topic_partition(),
        offset: ack.base_offset.map(|base| base + i64::from(index)),
        timestamp: if appended_at == TimestampMs::NONE { timestamp } else { appended_at },
        serialized_key_size: SerializedSizes::expand(sizes.key),
        serialized_value_size: SerializedSizes::expand(sizes.value),
    })
}

/// What a caller wants done with a record's end.
pub type Callback = Box<dyn FnOnce(Result<RecordMetadata, Arc<DeliveryFailure>>) + Send>;

/// A callback and the record it is for.
pub(crate) struct RecordCallback {
    pub(crate) index: u32,
    pub(crate) sizes: SerializedSizes,
    pub(crate) timestamp: TimestampMs,
    pub(crate) callback: Callback,
}

impl RecordCallback {
    /// Calls it with the record's share of the batch's end.
    pub(crate) fn call(self, completion: &BatchCompletion, outcome: &BatchOutcome) {
        let Self { index, sizes, timestamp, callback } = self;
        callback(record_result(completion, outcome, index, sizes, timestamp));
    }
}

impl std::fmt::Debug for RecordCallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordCallback").field("index", &self.index).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn completion() -> Arc<BatchCompletion> {
        BatchCompletion::new("clicks".into(), PartitionIndex(2))
    }

    fn delivery(completion: &Arc<BatchCompletion>, index: u32) -> Delivery {
        let sizes = SerializedSizes::of(None, Some(b""));
        Delivery::new(Arc::clone(completion), index, sizes, TimestampMs(7))
    }

    fn ack(base: i64) -> BatchOutcome {
        Ok(BatchAck { base_offset: Some(Offset(base)), log_append_time: TimestampMs::NONE })
    }

    #[test]
    fn each_record_gets_its_offset_from_the_batchs() {
        let cell = completion();
        let third = delivery(&cell, 2);
        assert!(!third.is_settled() && third.result().is_none());
        cell.settle(ack(100));
        let metadata = third.result().unwrap().unwrap();
        assert_eq!(metadata.offset, Some(Offset(102)));
        assert_eq!(metadata.timestamp, TimestampMs(7));
        assert_eq!((metadata.serialized_key_size, metadata.serialized_value_size), (None, Some(0)));
        assert_eq!(metadata.topic_partition.to_string(), "clicks-2");
    }

    #[test]
    fn log_append_time_takes_the_place_of_the_records_own() {
        let cell = completion();
        cell.settle(Ok(BatchAck { base_offset: None, log_append_time: TimestampMs(99) }));
        let metadata = delivery(&cell, 0).result().unwrap().unwrap();
        assert_eq!((metadata.offset, metadata.timestamp), (None, TimestampMs(99)));
    }

    #[test]
    fn one_waker_is_kept_once_and_woken_once() {
        let cell = completion();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let first = delivery(&cell, 0);
        for _ in 0..3 {
            assert!(first.poll_result(&mut Context::from_waker(&waker)).is_pending());
        }
        cell.settle(ack(0));
        cell.settle(ack(50));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(
            first.result().unwrap().unwrap().offset,
            Some(Offset(0)),
            "the first end counts"
        );
    }

    #[test]
    fn a_record_follows_its_batch_through_splits() {
        let cell = completion();
        let (left, right) = (completion(), completion());
        let last = delivery(&cell, 9);
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        assert!(last.poll_result(&mut Context::from_waker(&waker)).is_pending());
        cell.settle_split(Box::new([
            SplitPart { first_index: 0, completion: Arc::clone(&left) },
            SplitPart { first_index: 6, completion: Arc::clone(&right) },
        ]));
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "woken, to wait for its part");
        assert!(last.poll_result(&mut Context::from_waker(&waker)).is_pending());
        right.settle(ack(40));
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        assert_eq!(last.result().unwrap().unwrap().offset, Some(Offset(43)));
        assert!(!delivery(&cell, 5).is_settled(), "the left part is not done");
    }
}
