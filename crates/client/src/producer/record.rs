//! A record to be sent: borrowed from the caller, copied once, into its batch.

use streamledger_protocol::record_batch::{HEADER_BYTES, Header, RecordBatchBuilder};
use streamledger_protocol::{PartitionIndex, TimestampMs};

/// A record to be sent.
///
/// ```
/// use streamledger::{Header, ProducerRecord};
/// let headers = [Header { key: "trace", value: Some(b"7f3a") }];
/// let record = ProducerRecord::to("clicks").key("user-7").value(b"{}").headers(&headers);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerRecord<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<PartitionIndex>,
    pub(crate) timestamp: Option<TimestampMs>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header<'a>],
}

impl<'a> ProducerRecord<'a> {
    /// A record to this topic, without key, value and headers: to begin with.
    #[inline]
    #[must_use]
    pub const fn to(topic: &'a str) -> Self {
        Self { topic, partition: None, timestamp: None, key: None, value: None, headers: &[] }
    }

    /// Gives it a key. Records of one key go to one partition; an empty key is a key.
    #[inline]
    #[must_use]
    pub fn key(self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { key: Some(key.as_ref()), ..self }
    }

    /// Gives it a key, or none.
    #[inline]
    #[must_use]
    pub const fn nullable_key(self, key: Option<&'a [u8]>) -> Self {
        Self { key, ..self }
    }

    /// Gives it a value. Without one it is a tombstone, which deletes its key from a compacted
    /// topic.
    #[inline]
    #[must_use]
    pub fn value(self, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { value: Some(value.as_ref()), ..self }
    }

    /// Gives it a value, or none.
    #[inline]
    #[must_use]
    pub const fn nullable_value(self, value: Option<&'a [u8]>) -> Self {
        Self { value, ..self }
    }

    /// Sends it to this partition, whatever its key.
    #[inline]
    #[must_use]
    pub const fn partition(self, partition: PartitionIndex) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// Gives it this timestamp; else it gets the time of `send`, to a few milliseconds.
    #[inline]
    #[must_use]
    pub const fn timestamp(self, timestamp: TimestampMs) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    /// Gives it headers: in this order, repeats kept.
    #[inline]
    #[must_use]
    pub const fn headers(self, headers: &'a [Header<'a>]) -> Self {
        Self { headers, ..self }
    }

    /// The bytes it takes in a batch of its own, not compressed: what may not be more than
    /// `max.request.size`.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        // A first record has no timestamp before it: which one it has doesn't count.
        let timestamp = self.timestamp.unwrap_or(TimestampMs(0));
        let empty = RecordBatchBuilder::new(Vec::new());
        HEADER_BYTES + empty.record_size(timestamp, self.key, self.value, self.headers)
    }

    /// The topic it is for.
    #[must_use]
    pub const fn topic(&self) -> &'a str {
        self.topic
    }
}
