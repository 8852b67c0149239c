//! Reads batches and their records, lazily and without copying what isn't compressed.

use std::borrow::Cow;

use super::header::compute_crc;
use super::varint::{read_varint32, read_varint64};
use super::{CorruptBatch, HEADER_BYTES, RecordBatchHeader, RecordFault};
use crate::compression::Decompressor;
use crate::{Codec, Offset, TimestampMs, TimestampType};

/// One whole batch in someone's buffer.
#[derive(Debug, Clone, Copy)]
pub struct RecordBatchRef<'a> {
    header: RecordBatchHeader,
    bytes: &'a [u8],
}

impl<'a> RecordBatchRef<'a> {
    /// Takes the batch at the front of `bytes`, and gives what is behind it. Neither the checksum
    /// nor the records are looked at.
    ///
    /// # Errors
    /// The header is cut or impossible, or the batch is longer than what is there.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), CorruptBatch> {
        let header = RecordBatchHeader::parse(bytes)?;
        match bytes.split_at_checked(header.batch_bytes()) {
            Some((batch, rest)) => Ok((Self { header, bytes: batch }, rest)),
            None => Err(CorruptBatch::Cut { needed: header.batch_bytes(), present: bytes.len() }),
        }
    }

    /// What the batch says about itself.
    #[must_use]
    pub fn header(&self) -> &RecordBatchHeader {
        &self.header
    }

    /// The whole batch, header included.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records as stored: compressed, if the batch is.
    #[must_use]
    pub fn stored_records(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// Holds the stored CRC-32C against the bytes.
    ///
    /// # Errors
    /// They don't match.
    pub fn verify_crc(&self) -> Result<(), CorruptBatch> {
        let computed = compute_crc(self.bytes);
        if computed == self.header.crc {
            return Ok(());
        }
        Err(CorruptBatch::Checksum { stored: self.header.crc, computed })
    }

    /// The records, one by one. Those of an uncompressed batch borrow from the batch, those of a
    /// compressed one from the decompressor, where they stay until it is used again.
    ///
    /// # Errors
    /// The codec is unknown or not built in, its stream is corrupt, or the records would take more
    /// than the decompressor's limit.
    pub fn records<'d>(
        &self,
        decompressor: &'d mut Decompressor,
    ) -> Result<Records<'d>, CorruptBatch>
    where
        'a: 'd,
    {
        let records = match self.header.attributes.codec()? {
            Codec::None => self.stored_records(),
            codec => decompressor.decompress(codec, self.stored_records())?,
        };
        records_of(&self.header, records)
    }
}

/// The records of a batch whose records are at hand uncompressed, for whoever keeps them in a
/// buffer of his own: [`RecordBatchRef::stored_records`] without a codec, else what
/// [`Decompressor::decompress`] or [`Decompressor::decompress_owned`] made of it.
///
/// # Errors
/// The header's record count is negative.
pub fn records_of<'a>(
    header: &RecordBatchHeader,
    records: &'a [u8],
) -> Result<Records<'a>, CorruptBatch> {
    if header.record_count < 0 {
        return Err(CorruptBatch::ImpossibleCount(header.record_count));
    }
    let append_time = match header.attributes.timestamp_type() {
        TimestampType::CreateTime => None,
        TimestampType::LogAppendTime => Some(header.max_timestamp),
    };
    Ok(Records {
        bytes: records,
        position: 0,
        index: 0,
        record_count: header.record_count,
        base_offset: header.base_offset,
        base_timestamp: header.base_timestamp,
        append_time,
    })
}

/// The complete batches in `bytes`, one after the other. A last one that is cut ends the iteration
/// without an error, as a Fetch response may end anywhere; an impossible header ends it with one.
#[must_use]
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes }
}

/// The iterator of [`batches`].
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Batches<'a> {
    /// The bytes that have not been given out: at the end, those of a cut batch.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<RecordBatchRef<'a>, CorruptBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match RecordBatchRef::parse(self.rest) {
            Ok((batch, rest)) => {
                self.rest = rest;
                Some(Ok(batch))
            }
            Err(CorruptBatch::Cut { .. }) => None,
            Err(corrupt) => {
                self.rest = &[];
                Some(Err(corrupt))
            }
        }
    }
}

/// One record, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// Its own timestamp, or its batch's under `LogAppendTime`.
    pub timestamp: TimestampMs,
    /// Its key; null is not empty.
    pub key: Option<&'a [u8]>,
    /// Its value; null is not empty.
    pub value: Option<&'a [u8]>,
    /// Its headers, in order, with repeats.
    pub headers: Headers<'a>,
}

/// The records of one batch, in order. Ends after the first error, and gives one if there are
/// fewer records or more bytes than the batch says.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    bytes: &'a [u8],
    position: usize,
    index: i32,
    record_count: i32,
    base_offset: Offset,
    base_timestamp: TimestampMs,
    append_time: Option<TimestampMs>,
}

/// How far a reader of a batch's records is, so that another can go on from there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordsMark {
    position: usize,
    index: i32,
}

impl<'a> Records<'a> {
    /// How far this is.
    #[must_use]
    pub fn mark(&self) -> RecordsMark {
        RecordsMark { position: self.position, index: self.index }
    }

    /// Goes on where a reader of the same records was.
    #[must_use]
    pub fn resume(mut self, mark: RecordsMark) -> Self {
        self.position = mark.position.min(self.bytes.len());
        self.index = mark.index.clamp(0, self.record_count);
        self
    }

    /// The next record as it is encoded, with deltas.
    pub(super) fn next_raw(&mut self) -> Option<Result<RawRecord<'a>, CorruptBatch>> {
        if self.index == self.record_count {
            let left_over = self.bytes.len() - self.position;
            self.position = self.bytes.len();
            return (left_over > 0).then_some(Err(CorruptBatch::BytesLeftOver(left_over)));
        }
        match parse_record(self.bytes, &mut self.position) {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(fault) => {
                let index = self.index;
                self.index = self.record_count;
                self.position = self.bytes.len();
                Some(Err(CorruptBatch::Record { index, fault }))
            }
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>, CorruptBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let raw = match self.next_raw()? {
            Ok(raw) => raw,
            Err(corrupt) => return Some(Err(corrupt)),
        };
        let create_time = TimestampMs(self.base_timestamp.0.wrapping_add(raw.timestamp_delta));
        Some(Ok(RecordRef {
            offset: self.base_offset + i64::from(raw.offset_delta),
            timestamp: self.append_time.unwrap_or(create_time),
            key: raw.key,
            value: raw.value,
            headers: raw.headers,
        }))
    }
}

/// A record with its deltas.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawRecord<'a> {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Headers<'a>,
}

/// Reads the record at `*position`, down to the bounds of each header.
fn parse_record<'a>(bytes: &'a [u8], position: &mut usize) -> Result<RawRecord<'a>, RecordFault> {
    let length = read_varint32(bytes, position).ok_or(RecordFault::Number)?;
    let length = usize::try_from(length).map_err(|_| RecordFault::Length)?;
    let rest = &bytes[*position..];
    let record = rest.get(..length).ok_or(RecordFault::Length)?;
    *position += length;
    // The first byte holds the record's attributes, of which none is in use.
    let mut at = 1;
    let timestamp_delta = read_varint64(record, &mut at).ok_or(RecordFault::Number)?;
    let offset_delta = read_varint32(record, &mut at).ok_or(RecordFault::Number)?;
    let key = read_field(record, &mut at)?;
    let value = read_field(record, &mut at)?;
    let header_count = read_varint32(record, &mut at).ok_or(RecordFault::Number)?;
    let headers = Headers { bytes: &record[at..], remaining: header_count };
    headers.check()?;
    Ok(RawRecord { timestamp_delta, offset_delta, key, value, headers })
}

/// Reads a nullable field with its length in front.
#[inline]
fn read_field<'a>(record: &'a [u8], at: &mut usize) -> Result<Option<&'a [u8]>, RecordFault> {
    let length = read_varint32(record, at).ok_or(RecordFault::Number)?;
    let Ok(length) = usize::try_from(length) else {
        return if length == -1 { Ok(None) } else { Err(RecordFault::FieldLength) };
    };
    let field = record[*at..].get(..length).ok_or(RecordFault::FieldLength)?;
    *at += length;
    Ok(Some(field))
}

/// A record's headers, in order, with repeats. Their bounds were checked with the record's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    remaining: i32,
}

impl Headers<'_> {
    /// Whether there is no header left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining <= 0
    }

    /// Walks the headers once, so that iterating them can't fail.
    fn check(&self) -> Result<(), RecordFault> {
        if self.remaining == 0 && self.bytes.is_empty() {
            return Ok(());
        }
        // A header takes two bytes at least.
        let count = usize::try_from(self.remaining).map_err(|_| RecordFault::HeaderCount)?;
        if count > self.bytes.len() / 2 && count > 0 {
            return Err(RecordFault::HeaderCount);
        }
        let mut at = 0;
        for _ in 0..count {
            read_field(self.bytes, &mut at)?.ok_or(RecordFault::NullHeaderKey)?;
            read_field(self.bytes, &mut at)?;
        }
        match self.bytes.len() - at {
            0 => Ok(()),
            left_over => Err(RecordFault::BytesLeftOver(left_over)),
        }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = HeaderRef<'a>;

    fn next(&mut self) -> Option<HeaderRef<'a>> {
        if self.remaining <= 0 {
            return None;
        }
        let mut at = 0;
        let key_bytes = read_field(self.bytes, &mut at).ok()??;
        let value = read_field(self.bytes, &mut at).ok()?;
        self.bytes = &self.bytes[at..];
        self.remaining -= 1;
        Some(HeaderRef { key_bytes, value })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let remaining = usize::try_from(self.remaining).unwrap_or(0);
        (remaining, Some(remaining))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// A header of a record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    /// Its name as stored: UTF-8 by the protocol, but no broker checks it.
    pub key_bytes: &'a [u8],
    /// Its value; null is not empty.
    pub value: Option<&'a [u8]>,
}

impl<'a> HeaderRef<'a> {
    /// Its name; what isn't UTF-8 in it becomes U+FFFD, as the Java client does.
    #[must_use]
    pub fn key(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key_bytes)
    }
}
