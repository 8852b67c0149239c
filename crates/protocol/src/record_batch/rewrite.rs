//! Makes a batch of another one's records: what compaction leaves of it, or all of it in another
//! codec. Base offset, last offset, leader epoch, producer and sequence stay as they were, so that
//! whoever knows the batch by them knows it still.

use bytes::Bytes;

use super::header::write_crc;
use super::varint::{put_varint64, read_varint32, read_varint64, zigzag32, zigzag64};
use super::{
    Attributes, CorruptBatch, HEADER_BYTES, LENGTH_PREFIX_BYTES, RecordBatchHeader, RecordFault,
};
use crate::compression::{Compression, CompressionError, CompressionScratch};
use crate::{
    Codec, LeaderEpoch, Offset, ProducerEpoch, ProducerId, SequenceNumber, TimestampMs,
    TimestampType,
};

/// Why a batch can't be written anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// Its records can't be read.
    #[error(transparent)]
    Corrupt(#[from] CorruptBatch),
    /// They can't be compressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// It would be longer than 2^31-1 bytes.
    #[error("a batch of {0} bytes is more than the format can hold")]
    TooLarge(usize),
}

/// The batch of `header` with those of its records that `keep` says, by their order.
///
/// `records` are all of its records, uncompressed. With a `delete_horizon` (KIP-534) the base
/// timestamp becomes that moment, which the attributes then say, and the records' own timestamps
/// stay what they were. The largest timestamp is that of the records kept.
///
/// # Errors
/// The records are not what the header says, or can't be compressed.
pub fn rewrite_batch(
    header: &RecordBatchHeader,
    records: &[u8],
    keep: &[bool],
    delete_horizon: Option<TimestampMs>,
    compression: Compression,
    scratch: &mut CompressionScratch,
) -> Result<Bytes, RewriteError> {
    let base_timestamp = delete_horizon.unwrap_or(header.base_timestamp);
    let mut buffer = Vec::with_capacity(HEADER_BYTES + records.len());
    buffer.resize(HEADER_BYTES, 0);
    let mut position = 0;
    let mut record_count = 0;
    let mut max_timestamp = TimestampMs::NONE;
    for (index, kept) in (0..).zip(keep) {
        let start = position;
        let body = next_record(records, &mut position)
            .map_err(|fault| CorruptBatch::Record { index, fault })?;
        if !kept {
            continue;
        }
        let mut after_timestamp = 1;
        let delta = read_varint64(body, &mut after_timestamp)
            .ok_or(CorruptBatch::Record { index, fault: RecordFault::Number })?;
        let timestamp = TimestampMs(header.base_timestamp.0.wrapping_add(delta));
        if delete_horizon.is_none() {
            buffer.extend_from_slice(records.get(start..position).unwrap_or_default());
        } else {
            put_restamped(&mut buffer, body, after_timestamp, timestamp, base_timestamp);
        }
        record_count += 1;
        max_timestamp = max_timestamp.max(timestamp);
    }
    if compression.codec != Codec::None {
        buffer = scratch.compress_behind(HEADER_BYTES, buffer, compression)?;
    }
    let max_timestamp = match header.attributes.timestamp_type() {
        TimestampType::CreateTime => max_timestamp,
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    let mut attributes = header.attributes.with_codec(compression.codec);
    if delete_horizon.is_some() {
        attributes = attributes.with_delete_horizon();
    }
    let batch_length = i32::try_from(buffer.len() - LENGTH_PREFIX_BYTES)
        .map_err(|_| RewriteError::TooLarge(buffer.len()))?;
    let header = RecordBatchHeader {
        batch_length,
        attributes,
        base_timestamp,
        max_timestamp,
        record_count,
        ..*header
    };
    Ok(sealed(&header, buffer))
}

/// The batch of `header` without its records: it keeps its offsets, and its producer's sequence
/// (Kafka's `DefaultRecordBatch.writeEmptyHeader`).
#[must_use]
pub fn empty_batch(header: &RecordBatchHeader) -> Bytes {
    let header = RecordBatchHeader {
        batch_length: (HEADER_BYTES - LENGTH_PREFIX_BYTES) as i32,
        attributes: header.attributes.with_codec(Codec::None),
        record_count: 0,
        ..*header
    };
    sealed(&header, vec![0; HEADER_BYTES])
}

/// A batch without records or producer at one offset: it holds the place of what is gone.
#[must_use]
pub fn placeholder_batch(offset: Offset, leader_epoch: LeaderEpoch) -> Bytes {
    let header = RecordBatchHeader {
        base_offset: offset,
        batch_length: (HEADER_BYTES - LENGTH_PREFIX_BYTES) as i32,
        partition_leader_epoch: leader_epoch,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta: 0,
        base_timestamp: TimestampMs::NONE,
        max_timestamp: TimestampMs::NONE,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: SequenceNumber::NONE,
        record_count: 0,
    };
    sealed(&header, vec![0; HEADER_BYTES])
}

fn sealed(header: &RecordBatchHeader, mut buffer: Vec<u8>) -> Bytes {
    if let Some(head) = buffer.get_mut(..HEADER_BYTES) {
        head.copy_from_slice(&header.to_bytes());
    }
    write_crc(&mut buffer);
    Bytes::from(buffer)
}

/// The next record without its length.
fn next_record<'a>(records: &'a [u8], position: &mut usize) -> Result<&'a [u8], RecordFault> {
    let length = read_varint32(records, position).ok_or(RecordFault::Number)?;
    let length = usize::try_from(length).map_err(|_| RecordFault::Length)?;
    let rest = records.get(*position..).unwrap_or_default();
    let body = rest.get(..length).ok_or(RecordFault::Length)?;
    *position += length;
    Ok(body)
}

/// Appends a record with its timestamp held against another base; the rest of it as it is.
fn put_restamped(
    buffer: &mut Vec<u8>,
    body: &[u8],
    after_timestamp: usize,
    timestamp: TimestampMs,
    base_timestamp: TimestampMs,
) {
    let mut front = Vec::with_capacity(11);
    front.extend_from_slice(body.get(..1).unwrap_or_default());
    put_varint64(&mut front, zigzag64(timestamp.0.wrapping_sub(base_timestamp.0)));
    let rest = body.get(after_timestamp..).unwrap_or_default();
    // A record of a batch that was read is shorter than 2^31 bytes.
    let length = i32::try_from(front.len() + rest.len()).unwrap_or(i32::MAX);
    put_varint64(buffer, u64::from(zigzag32(length)));
    buffer.extend_from_slice(&front);
    buffer.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::super::{
        BatchSeal, Header, RecordBatchBuilder, RecordBatchRef, batches, patch_base_offset,
        records_of,
    };
    use super::*;
    use crate::ProducerIdentity;
    use crate::compression::Decompressor;

    type Content = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, usize);

    fn original(codec: Codec) -> Vec<u8> {
        let mut builder = RecordBatchBuilder::with_capacity(4096);
        for n in 0..20_u8 {
            let key = [n % 7];
            let value = vec![n; usize::from(n) * 9];
            let value = (n % 5 != 0).then_some(value.as_slice());
            let headers = [Header { key: "h", value: None }; 2];
            let headers = if n % 3 == 0 { &headers[..] } else { &[] };
            builder.append(TimestampMs(5000 + i64::from(n) * 1000), Some(&key), value, headers);
        }
        let producer = ProducerIdentity { id: ProducerId(9), epoch: ProducerEpoch(2) };
        let seal = BatchSeal {
            compression: Compression::of(codec),
            producer: Some((producer, SequenceNumber(40))),
            transactional: true,
        };
        let mut bytes = builder.seal(&seal, &mut CompressionScratch::new()).unwrap().bytes.to_vec();
        patch_base_offset(&mut bytes, Offset(1000));
        bytes
    }

    fn content(bytes: &[u8]) -> Vec<Content> {
        let mut decompressor = Decompressor::default();
        let (batch, rest) = RecordBatchRef::parse(bytes).unwrap();
        assert!(rest.is_empty());
        batch.verify_crc().unwrap();
        let records = batch.records(&mut decompressor).unwrap().map(|record| {
            let record = record.unwrap();
            let owned = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
            (
                record.offset.0,
                record.timestamp.0,
                owned(record.key),
                owned(record.value),
                record.headers.len(),
            )
        });
        records.collect()
    }

    fn rewritten(from: &[u8], keep: &[bool], horizon: Option<i64>, codec: Codec) -> Bytes {
        let mut decompressor = Decompressor::default();
        let (batch, _) = RecordBatchRef::parse(from).unwrap();
        let records = match batch.header().attributes.codec().unwrap() {
            Codec::None => batch.stored_records().to_vec(),
            codec => decompressor.decompress(codec, batch.stored_records()).unwrap().to_vec(),
        };
        assert_eq!(records_of(batch.header(), &records).unwrap().count(), keep.len());
        rewrite_batch(
            batch.header(),
            &records,
            keep,
            horizon.map(TimestampMs),
            Compression::of(codec),
            &mut CompressionScratch::new(),
        )
        .unwrap()
    }

    #[test]
    fn what_is_kept_is_as_it_was_in_every_codec_with_and_without_a_horizon() {
        let keep: Vec<bool> = (0..20).map(|n| n % 4 == 1 || n > 15).collect();
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let from = original(codec);
            let mut wanted = content(&from);
            let mut number = keep.iter();
            wanted.retain(|_| *number.next().unwrap());
            for horizon in [None, Some(1), Some(i64::from(i32::MAX) * 900)] {
                for to in [codec, Codec::None, Codec::Zstd] {
                    let bytes = rewritten(&from, &keep, horizon, to);
                    assert_eq!(content(&bytes), wanted, "{codec} to {to}, {horizon:?}");
                    let (batch, _) = RecordBatchRef::parse(&bytes).unwrap();
                    let (before, _) = RecordBatchRef::parse(&from).unwrap();
                    let (now, before) = (batch.header(), before.header());
                    assert_eq!(now.base_offset, before.base_offset);
                    assert_eq!(now.last_offset(), before.last_offset());
                    assert_eq!(now.last_sequence(), before.last_sequence());
                    assert_eq!(now.producer(), before.producer());
                    assert_eq!(now.attributes.codec(), Ok(to));
                    assert_eq!(now.attributes.has_delete_horizon(), horizon.is_some());
                    assert!(now.attributes.is_transactional());
                    assert_eq!(now.max_timestamp, TimestampMs(24_000));
                    if let Some(horizon) = horizon {
                        assert_eq!(now.base_timestamp, TimestampMs(horizon));
                    }
                    // Once more, with the horizon that it has.
                    let again = rewritten(&bytes, &vec![true; wanted.len()], None, to);
                    assert_eq!(content(&again), wanted);
                }
            }
        }
    }

    #[test]
    fn an_empty_batch_keeps_its_place_and_its_sequence() {
        let from = original(Codec::Lz4);
        let (before, _) = RecordBatchRef::parse(&from).unwrap();
        let bytes = empty_batch(before.header());
        assert_eq!(content(&bytes), []);
        let (batch, _) = RecordBatchRef::parse(&bytes).unwrap();
        assert_eq!(batch.header().next_offset(), before.header().next_offset());
        assert_eq!(batch.header().last_sequence(), SequenceNumber(59));
        let placeholder = placeholder_batch(Offset(77), LeaderEpoch(3));
        let both = [&bytes[..], &placeholder[..]].concat();
        let found: Vec<_> = batches(&both).map(|batch| *batch.unwrap().header()).collect();
        assert_eq!(found[1].next_offset(), Offset(78));
        assert_eq!(found[1].producer(), None);
        assert_eq!(content(&placeholder), []);
    }

    #[test]
    fn records_that_are_cut_are_an_error() {
        let from = original(Codec::None);
        let (batch, _) = RecordBatchRef::parse(&from).unwrap();
        let records = batch.stored_records();
        for end in 0..records.len() {
            let cut = rewrite_batch(
                batch.header(),
                &records[..end],
                &[true; 20],
                None,
                Compression::default(),
                &mut CompressionScratch::new(),
            );
            assert!(matches!(cut, Err(RewriteError::Corrupt(_))), "cut at {end}");
        }
    }
}
