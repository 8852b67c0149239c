//! A batch that is being filled, and what made it ready.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use streamledger_protocol::TimestampMs;
use streamledger_protocol::record_batch::{Header, RecordBatchBuilder};

use super::completion::{BatchCompletion, Callback, Delivery, RecordCallback, SerializedSizes};
use super::memory::Reservation;

/// A record as the accumulator takes it: borrowed, to be copied once, into its batch.
#[derive(Debug, Clone, Copy)]
pub struct RecordParts<'a> {
    /// Its timestamp.
    pub timestamp: TimestampMs,
    /// Its key; null is no empty key.
    pub key: Option<&'a [u8]>,
    /// Its value; null is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers, in order, repeats kept.
    pub headers: &'a [Header<'a>],
}

/// Why a batch is sent now and not later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadyReason {
    /// It is full (`batch.size`).
    Full,
    /// Its linger time is over (`linger.ms`).
    Linger,
    /// The caller flushes.
    Flush,
    /// Callers wait for memory (`buffer.memory`).
    MemoryPressure,
    /// The producer is closing.
    Closing,
}

impl ReadyReason {
    /// The reason's name in metrics and traces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Linger => "linger",
            Self::Flush => "flush",
            Self::MemoryPressure => "memory-pressure",
            Self::Closing => "closing",
        }
    }
}

impl fmt::Display for ReadyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The last record of a batch, for whoever reports on batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastRecord {
    pub(crate) timestamp: TimestampMs,
    pub(crate) sizes: SerializedSizes,
}

impl LastRecord {
    #[inline]
    pub(crate) fn of(record: &RecordParts<'_>) -> Self {
        let sizes = SerializedSizes::of(record.key, record.value);
        Self { timestamp: record.timestamp, sizes }
    }
}

/// A batch in its partition's queue.
#[derive(Debug)]
pub(crate) struct OpenBatch {
    pub(crate) builder: RecordBatchBuilder,
    pub(crate) origin: BatchOrigin,
    pub(crate) reservation: Reservation,
}

/// What stays with a batch from its first record to its end.
#[derive(Debug)]
pub(crate) struct BatchOrigin {
    pub(crate) completion: Arc<BatchCompletion>,
    pub(crate) callbacks: Vec<RecordCallback>,
    pub(crate) last: LastRecord,
    /// When its first record was appended: linger and delivery time-out count from here.
    pub(crate) created: Instant,
    /// Which flush waits for it.
    pub(crate) generation: u64,
}

impl OpenBatch {
    /// Whether the record fits into a batch of `batch_bytes_max`. Nearly always the bound says so,
    /// and the record's exact size need not be known.
    #[inline]
    pub(crate) fn has_room(&self, record: &RecordParts<'_>, batch_bytes_max: usize) -> bool {
        let RecordParts { timestamp, key, value, headers } = *record;
        let batch_bytes = self.builder.batch_bytes();
        let bound = RecordBatchBuilder::record_size_bound(key, value);
        headers.is_empty() && batch_bytes + bound <= batch_bytes_max
            || batch_bytes + self.builder.record_size(timestamp, key, value, headers)
                <= batch_bytes_max
    }

    /// Encodes the record behind the others; the caller has checked that there is room.
    #[inline]
    pub(crate) fn append(
        &mut self,
        record: &RecordParts<'_>,
        callback: Option<Callback>,
    ) -> Delivery {
        // A batch holds under 2^31 records, counted from 0.
        let index = self.builder.record_count().cast_unsigned();
        let last = LastRecord::of(record);
        let LastRecord { timestamp, sizes } = last;
        // Counted before the bytes are written: an atomic operation waits for the writes before it.
        let completion = Arc::clone(&self.origin.completion);
        self.origin.last = last;
        if let Some(callback) = callback {
            self.origin.callbacks.push(RecordCallback { index, sizes, timestamp, callback });
        }
        self.builder.append(record.timestamp, record.key, record.value, record.headers);
        Delivery::new(completion, index, sizes, timestamp)
    }
}
