//! Encodes records in place, one after the other, behind the room for the batch's header.
//!
//! The hottest code there is. Laws: nothing is allocated but the buffer's growth; key and value
//! are copied once; the four varints in front of a key are packed into two words and stored whole.

use super::varint::{Packed, pack32, put_packed, put_varint64, varint_bytes, zigzag32, zigzag64};
use super::{HEADER_BYTES, LENGTH_PREFIX_BYTES};
use crate::TimestampMs;

/// A header of a record to be sent. Order and repeats are kept; a null value is no empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header<'a> {
    /// Its name; need not be unique.
    pub key: &'a str,
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// The most that a record takes besides key, value and headers, plus the slack of whole-word
/// stores: length 5, attributes 1, timestamp 10, offset 5, key length 5, value length 5, header
/// count 5, and 8 of slack.
const OVERHEAD_BYTES_MAX: usize = 44;
/// Below these, timestamp delta, offset delta and key length fit one word: 3 + 3 + 2 bytes.
const THREE_BYTE_LIMIT: u64 = 1 << 21;
const TWO_BYTE_LIMIT: u32 = 1 << 14;
/// The zigzag of -1: the length of a null.
const NULL_LENGTH: u32 = 1;

/// A batch that is being filled. [`RecordBatchBuilder::seal`] makes it ready to be sent.
#[derive(Debug)]
pub struct RecordBatchBuilder {
    pub(super) buffer: Vec<u8>,
    pub(super) record_count: i32,
    pub(super) base_timestamp: TimestampMs,
    pub(super) max_timestamp: TimestampMs,
}

impl RecordBatchBuilder {
    /// An empty batch in `buffer`, whose content is dropped and whose capacity is reused.
    #[must_use]
    pub fn new(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(HEADER_BYTES, 0);
        Self {
            buffer,
            record_count: 0,
            base_timestamp: TimestampMs::NONE,
            max_timestamp: TimestampMs::NONE,
        }
    }

    /// An empty batch with room for `batch_bytes` bytes, header included.
    #[must_use]
    pub fn with_capacity(batch_bytes: usize) -> Self {
        // The slack spares the last record a reallocation for its whole-word stores.
        Self::new(Vec::with_capacity(batch_bytes.max(HEADER_BYTES) + OVERHEAD_BYTES_MAX))
    }

    /// The most bytes that a record without headers can add, whatever is already there.
    #[inline]
    #[must_use]
    pub fn record_size_bound(key: Option<&[u8]>, value: Option<&[u8]>) -> usize {
        OVERHEAD_BYTES_MAX + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len)
    }

    /// The exact bytes that this record would add, given the records already there.
    #[inline]
    #[must_use]
    pub fn record_size(
        &self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> usize {
        let body_bytes = 1
            + varint_bytes(self.timestamp_delta(timestamp))
            + varint_bytes(u64::from(zigzag32(self.record_count)))
            + field_bytes(key)
            + field_bytes(value)
            + headers_bytes(headers);
        varint_bytes(u64::from(zigzag_length(body_bytes))) + body_bytes
    }

    /// Appends a record and says how many bytes it took, which is what
    /// [`RecordBatchBuilder::record_size`] said.
    ///
    /// The first record's timestamp is the batch's base. A batch that outgrows 2^31-1 bytes can
    /// be filled but not sealed; whoever appends holds it to its `batch.size` long before.
    #[inline]
    pub fn append(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> usize {
        let timestamp_delta = self.timestamp_delta(timestamp);
        let offset_delta = zigzag32(self.record_count);
        let (key_length, key) = length_and_bytes(key);
        let (value_length, value) = length_and_bytes(value);
        let start = self.buffer.len();
        if timestamp_delta < THREE_BYTE_LIMIT
            && u64::from(offset_delta) < THREE_BYTE_LIMIT
            && key_length < TWO_BYTE_LIMIT
            && headers.is_empty()
        {
            // The limit on the delta makes the conversion exact.
            let timestamp_delta = pack32((timestamp_delta & 0xffff_ffff) as u32);
            let front = timestamp_delta.then(pack32(offset_delta)).then(pack32(key_length));
            let value_length = pack32(value_length);
            let body_bytes = 2 + front.bytes + key.len() + value_length.bytes + value.len();
            self.buffer.reserve(body_bytes + OVERHEAD_BYTES_MAX);
            put_packed(&mut self.buffer, length_and_attributes(body_bytes));
            put_packed(&mut self.buffer, front);
            self.buffer.extend_from_slice(key);
            put_packed(&mut self.buffer, value_length);
            self.buffer.extend_from_slice(value);
            self.buffer.push(0);
        } else {
            let headers_bytes = headers_bytes(headers);
            let body_bytes = 1
                + varint_bytes(timestamp_delta)
                + varint_bytes(u64::from(offset_delta))
                + varint_bytes(u64::from(key_length))
                + key.len()
                + varint_bytes(u64::from(value_length))
                + value.len()
                + headers_bytes;
            self.buffer.reserve(body_bytes + OVERHEAD_BYTES_MAX);
            put_packed(&mut self.buffer, length_and_attributes(body_bytes));
            put_varint64(&mut self.buffer, timestamp_delta);
            put_packed(&mut self.buffer, pack32(offset_delta));
            put_packed(&mut self.buffer, pack32(key_length));
            self.buffer.extend_from_slice(key);
            put_packed(&mut self.buffer, pack32(value_length));
            self.buffer.extend_from_slice(value);
            put_headers(&mut self.buffer, headers);
        }
        self.count_record(timestamp);
        self.buffer.len() - start
    }

    /// How many records there are.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Whether no record has been appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Bytes of the batch so far, header included, before compression.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Timestamp of the first record; -1 while there is none.
    #[must_use]
    pub fn base_timestamp(&self) -> TimestampMs {
        self.base_timestamp
    }

    /// The highest timestamp; -1 while there is no record.
    #[must_use]
    pub fn max_timestamp(&self) -> TimestampMs {
        self.max_timestamp
    }

    /// The buffer of a batch that won't be sent, to be used again.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// What a batch's length field would say, or nothing if it can't.
    pub(super) fn batch_length(bytes: usize) -> Option<i32> {
        i32::try_from(bytes.checked_sub(LENGTH_PREFIX_BYTES)?).ok()
    }

    /// The zigzagged distance to the base timestamp, which wraps where two's complement does.
    #[inline]
    fn timestamp_delta(&self, timestamp: TimestampMs) -> u64 {
        let base = if self.record_count == 0 { timestamp } else { self.base_timestamp };
        zigzag64(timestamp.0.wrapping_sub(base.0))
    }

    #[inline]
    fn count_record(&mut self, timestamp: TimestampMs) {
        if self.record_count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        } else {
            self.max_timestamp = self.max_timestamp.max(timestamp);
        }
        self.record_count = self.record_count.wrapping_add(1);
    }
}

/// The zigzag of a length that is not null. A length past 2^31-1 is cut, in a batch that can't be
/// sealed any more.
#[inline]
const fn zigzag_length(length: usize) -> u32 {
    ((length << 1) & 0xffff_ffff) as u32
}

/// A record's length with the attributes behind it, which are unused and 0: at most 6 bytes.
#[inline]
const fn length_and_attributes(body_bytes: usize) -> Packed {
    pack32(zigzag_length(body_bytes)).then(Packed { word: 0, bytes: 1 })
}

#[inline]
const fn length_and_bytes(field: Option<&[u8]>) -> (u32, &[u8]) {
    match field {
        Some(bytes) => (zigzag_length(bytes.len()), bytes),
        None => (NULL_LENGTH, &[]),
    }
}

/// Bytes of a nullable field with its length.
#[inline]
fn field_bytes(field: Option<&[u8]>) -> usize {
    let (length, bytes) = length_and_bytes(field);
    varint_bytes(u64::from(length)) + bytes.len()
}

/// Bytes of the header count and the headers.
#[inline]
fn headers_bytes(headers: &[Header<'_>]) -> usize {
    let count = varint_bytes(u64::from(zigzag_length(headers.len())));
    headers.iter().fold(count, |bytes, header| {
        bytes + field_bytes(Some(header.key.as_bytes())) + field_bytes(header.value)
    })
}

fn put_headers(buffer: &mut Vec<u8>, headers: &[Header<'_>]) {
    put_packed(buffer, pack32(zigzag_length(headers.len())));
    for header in headers {
        for field in [Some(header.key.as_bytes()), header.value] {
            let (length, bytes) = length_and_bytes(field);
            put_packed(buffer, pack32(length));
            buffer.extend_from_slice(bytes);
        }
    }
}
