//! What a reader gives of what was fetched: order, filters, every codec, and faults that are told.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rstest::rstest;
use streamledger_protocol::compression::{Compression, CompressionScratch, Decompressor};
use streamledger_protocol::messages::fetch::AbortedTransaction;
use streamledger_protocol::record_batch::{
    BatchSeal, ControlKind, CorruptBatch, RecordBatchBuilder, build_control_batch,
    patch_base_offset, patch_leader_epoch,
};
use streamledger_protocol::{
    Codec, IsolationLevel, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId,
    ProducerIdentity, SequenceNumber, TimestampMs, TopicPartition,
};

use super::event::{Fetched, Generation};
use super::reader::{PartitionReader, Unreadable};

const FIRST: ProducerIdentity = ProducerIdentity { id: ProducerId(10), epoch: ProducerEpoch(0) };
const SECOND: ProducerIdentity = ProducerIdentity { id: ProducerId(20), epoch: ProducerEpoch(0) };

/// A batch of records whose values are their offsets.
fn batch(base: i64, count: i64, codec: Codec, transaction: Option<ProducerIdentity>) -> Vec<u8> {
    let mut builder = RecordBatchBuilder::with_capacity(1024);
    for offset in base..base + count {
        builder.append(TimestampMs(offset), None, Some(offset.to_string().as_bytes()), &[]);
    }
    let seal = BatchSeal {
        compression: Compression::of(codec),
        producer: transaction.map(|producer| (producer, SequenceNumber::ZERO)),
        transactional: transaction.is_some(),
    };
    let sealed = builder.seal(&seal, &mut CompressionScratch::new()).unwrap();
    let mut bytes = sealed.bytes.to_vec();
    patch_base_offset(&mut bytes, Offset(base));
    patch_leader_epoch(&mut bytes, LeaderEpoch(4));
    bytes
}

fn marker(offset: i64, kind: ControlKind, producer: ProducerIdentity) -> Vec<u8> {
    let mut bytes = build_control_batch(kind, producer, 0, TimestampMs(offset));
    patch_base_offset(&mut bytes, Offset(offset));
    bytes
}

fn fetched(offset: i64, batches: &[Vec<u8>], aborted: &[(ProducerIdentity, i64)]) -> Fetched {
    let records = Bytes::from(batches.concat());
    Fetched {
        topic_partition: TopicPartition::new("clicks", PartitionIndex(0)),
        generation: Generation(1),
        offset: Offset(offset),
        bytes: records.len(),
        records,
        aborted: aborted
            .iter()
            .map(|(producer, first_offset)| AbortedTransaction {
                producer_id: producer.id,
                first_offset: Offset(*first_offset),
            })
            .collect(),
        high_watermark: Offset(1000),
    }
}

fn reader(fetched: Fetched, isolation: IsolationLevel) -> PartitionReader {
    PartitionReader::new(fetched, isolation, true)
}

/// The offsets of all records, read so many at a time; each value must be its offset.
fn read_all(reader: &mut PartitionReader, at_a_time: usize) -> Vec<i64> {
    let mut offsets = Vec::new();
    let mut decompressor = Decompressor::default();
    while !reader.is_done() {
        let before = offsets.len();
        let read = reader.read(at_a_time, &mut decompressor, |batch, record| {
            assert_eq!(batch.leader_epoch, LeaderEpoch(4));
            assert_eq!(record.value.unwrap(), record.offset.0.to_string().as_bytes());
            assert_eq!(record.timestamp.0, record.offset.0);
            // Slices of the bytes that are handed on, not copies.
            let _ = batch.bytes.slice_ref(record.value.unwrap());
            offsets.push(record.offset.0);
        });
        assert_eq!(read, Ok(offsets.len() - before));
        assert!(offsets.len() - before <= at_a_time);
    }
    offsets
}

#[rstest]
fn every_codec_is_read_from_the_position_on(
    #[values(Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd)] codec: Codec,
    #[values(1, 3, 1000)] at_a_time: usize,
) {
    let batches = [batch(10, 5, codec, None), batch(15, 1, codec, None), batch(20, 4, codec, None)];
    let mut reader = reader(fetched(12, &batches, &[]), IsolationLevel::ReadUncommitted);
    assert_eq!(read_all(&mut reader, at_a_time), [12, 13, 14, 15, 20, 21, 22, 23]);
    assert_eq!(reader.position(), Offset(24));
}

#[test]
fn a_position_in_a_gap_is_passed_by() {
    let batches = [batch(10, 2, Codec::None, None), batch(20, 1, Codec::None, None)];
    let mut reader = reader(fetched(15, &batches, &[]), IsolationLevel::ReadUncommitted);
    assert_eq!(read_all(&mut reader, 10), [20]);
}

/// Two transactions side by side: the first aborts, the second commits.
fn transactions() -> [Vec<u8>; 6] {
    [
        batch(0, 2, Codec::None, Some(FIRST)),
        batch(2, 2, Codec::Lz4, Some(SECOND)),
        batch(4, 1, Codec::None, Some(FIRST)),
        marker(5, ControlKind::Abort, FIRST),
        batch(6, 1, Codec::None, Some(FIRST)),
        marker(7, ControlKind::Commit, SECOND),
    ]
}

#[test]
fn read_committed_leaves_out_aborted_records_and_every_marker() {
    let fetched = fetched(0, &transactions(), &[(FIRST, 0)]);
    let mut reader = reader(fetched, IsolationLevel::ReadCommitted);
    // The record at 6 is of the producer's next transaction, which is not aborted.
    assert_eq!(read_all(&mut reader, 2), [2, 3, 6]);
    assert_eq!(reader.position(), Offset(8), "past the marker at the end");
}

#[test]
fn read_uncommitted_leaves_out_the_markers_only() {
    let fetched = fetched(0, &transactions(), &[]);
    let mut reader = reader(fetched, IsolationLevel::ReadUncommitted);
    assert_eq!(read_all(&mut reader, 100), [0, 1, 2, 3, 4, 6]);
    assert_eq!(reader.position(), Offset(8));
}

#[test]
fn aborted_transactions_of_one_producer_follow_each_other() {
    let batches = [
        batch(0, 1, Codec::None, Some(FIRST)),
        marker(1, ControlKind::Abort, FIRST),
        batch(2, 1, Codec::None, Some(FIRST)),
        marker(3, ControlKind::Commit, FIRST),
        batch(4, 1, Codec::None, Some(FIRST)),
        marker(5, ControlKind::Abort, FIRST),
        batch(6, 1, Codec::None, None),
    ];
    // In any order, though brokers give them by their first offset.
    let fetched = fetched(0, &batches, &[(FIRST, 4), (FIRST, 0)]);
    let mut reader = reader(fetched, IsolationLevel::ReadCommitted);
    assert_eq!(read_all(&mut reader, 100), [2, 6]);
}

#[test]
fn a_transaction_that_began_before_the_answer_is_left_out_too() {
    let batches = [batch(10, 2, Codec::None, Some(FIRST)), marker(12, ControlKind::Abort, FIRST)];
    let fetched = fetched(10, &batches, &[(FIRST, 3)]);
    let mut reader = reader(fetched, IsolationLevel::ReadCommitted);
    assert_eq!(read_all(&mut reader, 100), []);
    assert_eq!(reader.position(), Offset(13));
}

#[test]
fn a_damaged_batch_is_told_with_where_to_go_on() {
    let mut damaged = batch(12, 3, Codec::None, None);
    *damaged.last_mut().unwrap() ^= 1;
    let batches = [batch(10, 2, Codec::None, None), damaged, batch(15, 1, Codec::None, None)];
    let mut reader = reader(fetched(10, &batches, &[]), IsolationLevel::ReadUncommitted);
    let mut offsets = Vec::new();
    let mut decompressor = Decompressor::default();
    let fault = reader.read(100, &mut decompressor, |_, record| offsets.push(record.offset.0));
    let fault = fault.unwrap_err();
    assert_eq!(offsets, [10, 11]);
    assert_eq!((fault.offset, fault.skip_to), (Offset(12), Some(Offset(15))));
    assert!(matches!(fault.fault, Unreadable::Corrupt(CorruptBatch::Checksum { .. })));
    assert!(reader.is_done(), "nothing behind it is shown");
}

#[test]
fn without_check_crcs_a_batch_is_read_as_it_is() {
    let mut damaged = batch(0, 1, Codec::None, None);
    damaged[17] ^= 1;
    let fetched = fetched(0, &[damaged], &[]);
    let mut reader = PartitionReader::new(fetched, IsolationLevel::ReadUncommitted, false);
    assert_eq!(read_all(&mut reader, 10), [0]);
}

#[test]
fn a_decompression_bomb_is_stopped() {
    let mut builder = RecordBatchBuilder::with_capacity(1024);
    builder.append(TimestampMs(0), None, Some(&vec![0; 1 << 20]), &[]);
    let seal = BatchSeal {
        compression: Compression::of(Codec::Zstd),
        producer: None,
        transactional: false,
    };
    let bomb = builder.seal(&seal, &mut CompressionScratch::new()).unwrap().bytes.to_vec();
    assert!(bomb.len() < 1000);
    let mut reader = reader(fetched(0, &[bomb], &[]), IsolationLevel::ReadUncommitted);
    let fault = reader.read(1, &mut Decompressor::new(1 << 16), |_, _| {}).unwrap_err();
    assert!(matches!(fault.fault, Unreadable::Corrupt(CorruptBatch::Compression(_))), "{fault:?}");
}

#[test]
fn records_that_lead_nowhere_are_told() {
    let mut reader = reader(
        fetched(15, &[batch(10, 2, Codec::None, None)], &[]),
        IsolationLevel::ReadUncommitted,
    );
    let fault = reader.read(1, &mut Decompressor::default(), |_, _| {}).unwrap_err();
    assert_eq!((fault.fault, fault.offset), (Unreadable::LeadsNowhere, Offset(15)));
    let mut cut = batch(10, 2, Codec::None, None);
    cut.pop();
    let mut reader = self::reader(fetched(10, &[cut], &[]), IsolationLevel::ReadUncommitted);
    let fault = reader.read(1, &mut Decompressor::default(), |_, _| {}).unwrap_err();
    assert!(matches!(fault.fault, Unreadable::Corrupt(CorruptBatch::Cut { .. })), "{fault:?}");
}

proptest! {
    /// Whatever a broker sends, reading it ends, and no record is shown twice or out of order.
    #[test]
    fn no_bytes_make_the_reader_panic_or_go_back(
        flips in prop::collection::vec((0_usize..400, any::<u8>()), 0..6),
        is_checked in any::<bool>(),
        cut in 0_usize..500,
    ) {
        let mut bytes = BytesMut::new();
        for part in transactions() {
            bytes.extend_from_slice(&part);
        }
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(cut);
        let fetched = fetched(0, &[bytes.to_vec()], &[(FIRST, 0)]);
        let mut reader = PartitionReader::new(fetched, IsolationLevel::ReadCommitted, is_checked);
        let mut decompressor = Decompressor::new(1 << 20);
        let mut last = -1;
        while !reader.is_done() {
            let _ = reader.read(3, &mut decompressor, |_, record| {
                assert!(record.offset.0 > last);
                last = record.offset.0;
            });
        }
    }
}
