//! Batches that break one rule each, and batches with random damage: refused, never a panic.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{OwnedRecord, build, seal};
use rstest::rstest;
use streamledger_protocol::compression::{Compression, CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{
    BatchSeal, CorruptBatch, HEADER_BYTES, InvalidBatch, Limits, RecordBatchHeader, RecordBatchRef,
    RecordFault, batches, patch_max_timestamp, validate_for_append,
};
use streamledger_protocol::{
    Codec, ErrorCode, Offset, ProducerEpoch, ProducerId, ProducerIdentity, SequenceNumber,
    TimestampMs,
};

fn records(count: i64) -> Vec<OwnedRecord> {
    (0..count)
        .map(|index| {
            OwnedRecord::new(1_000 + index, Some(b"key"), Some(format!("value {index}").as_bytes()))
                .header("h", Some(b"x"))
                .header("h", None)
        })
        .collect()
}

fn idempotent(codec: Codec) -> Vec<u8> {
    let producer = ProducerIdentity { id: ProducerId(9), epoch: ProducerEpoch(0) };
    let seal = BatchSeal {
        compression: Compression::of(codec),
        producer: Some((producer, SequenceNumber(0))),
        transactional: false,
    };
    build(&records(3)).seal(&seal, &mut CompressionScratch::new()).unwrap().bytes.to_vec()
}

/// Gives a batch with changed bytes a checksum that fits.
fn repair(batch: &mut [u8]) {
    if let Ok(header) = RecordBatchHeader::parse(batch) {
        patch_max_timestamp(batch, header.max_timestamp);
    }
}

fn validate(batch: &[u8]) -> Result<(), InvalidBatch> {
    let limits = Limits { batch_bytes_max: 10_000, key_required: true };
    validate_for_append(batch, &limits, &mut Decompressor::new(20_000)).map(|_| ())
}

#[rstest]
#[case::magic(16, &[1], ErrorCode::UnsupportedForMessageFormat)]
#[case::length_too_small(8, &[0, 0, 0, 48], ErrorCode::CorruptMessage)]
#[case::length_negative(8, &[0xff, 0xff, 0xff, 0xff], ErrorCode::CorruptMessage)]
#[case::length_too_large(8, &[0, 0, 1, 0], ErrorCode::CorruptMessage)]
#[case::codec(22, &[7], ErrorCode::UnsupportedCompressionType)]
#[case::log_append_time(22, &[0x08], ErrorCode::InvalidTimestamp)]
#[case::control(22, &[0x20], ErrorCode::InvalidRecord)]
#[case::delete_horizon(22, &[0x40], ErrorCode::InvalidRecord)]
#[case::last_offset_delta(26, &[3], ErrorCode::InvalidRecord)]
#[case::last_offset_delta_negative(23, &[0xff], ErrorCode::InvalidRecord)]
#[case::no_producer_id(43, &[0xff; 8], ErrorCode::InvalidRecord)]
#[case::no_epoch(51, &[0xff; 2], ErrorCode::InvalidRecord)]
#[case::no_sequence(53, &[0xff; 4], ErrorCode::InvalidRecord)]
#[case::only_a_producer_id(51, &[0xff; 6], ErrorCode::InvalidRecord)]
#[case::impossible_producer_id(43, &[0x80, 0, 0, 0, 0, 0, 0, 0], ErrorCode::InvalidRecord)]
#[case::nobodys_transaction(22, &[0x10], ErrorCode::None)]
#[case::no_records(57, &[0; 4], ErrorCode::InvalidRecord)]
#[case::negative_count(57, &[0xff; 4], ErrorCode::InvalidRecord)]
#[case::count_too_small(60, &[2], ErrorCode::InvalidRecord)]
fn a_broken_header_is_refused_with_kafkas_error(
    #[case] at: usize,
    #[case] bytes: &[u8],
    #[case] expected: ErrorCode,
) {
    let mut batch = idempotent(Codec::None);
    assert_eq!(validate(&batch), Ok(()));
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    repair(&mut batch);
    let error_code = match validate(&batch) {
        Ok(()) => ErrorCode::None,
        Err(invalid) => invalid.error_code(),
    };
    assert_eq!(error_code, expected);
}

/// FAILURES 54.
#[test]
fn a_batch_is_refused_for_its_checksum_before_anything_else_is_read() {
    let mut batch = idempotent(Codec::Zstd);
    let last = batch.len() - 1;
    batch[last] ^= 1;
    batch[22] |= 0x20;
    let refused = validate(&batch);
    assert!(matches!(refused, Err(InvalidBatch::Corrupt(CorruptBatch::Checksum { .. }))));
}

#[test]
fn offsets_out_of_step_are_refused_under_every_codec() {
    for codec in Codec::ALL {
        // Built for count 3; the header claims the same records as offsets 0..=2 of two records
        // and one gap.
        let plain = idempotent(Codec::None);
        let mut body = plain[HEADER_BYTES..].to_vec();
        // Length, attributes and timestamp delta take a byte each; the offset delta is next.
        assert_eq!(body[3], 0);
        body[3] = 2;
        let mut batch = plain[..HEADER_BYTES].to_vec();
        CompressionScratch::new().compress(&body, Compression::of(codec), &mut batch).unwrap();
        let length = (batch.len() - 12) as u32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[22] = codec.attributes() as u8;
        repair(&mut batch);
        assert_eq!(validate(&batch), Err(InvalidBatch::OffsetDelta { index: 0, offset_delta: 1 }));
    }
}

#[test]
fn a_transaction_of_nobody_is_refused_and_a_sequence_of_zero_without_a_producer_passes() {
    let mut batch = seal(&records(2), Codec::None).bytes.to_vec();
    batch[53..57].copy_from_slice(&[0; 4]);
    repair(&mut batch);
    assert_eq!(validate(&batch), Ok(()));
    batch[22] |= 0x10;
    repair(&mut batch);
    assert_eq!(validate(&batch), Err(InvalidBatch::TransactionalWithoutProducer));
}

#[test]
fn too_large_too_many_and_keyless_batches_are_refused() {
    let batch = idempotent(Codec::None);
    let twice = [&batch[..], &batch[..]].concat();
    assert_eq!(validate(&twice), Err(InvalidBatch::MoreThanOneBatch(batch.len())));
    let keyless = seal(&[OwnedRecord::new(0, None, Some(b"v"))], Codec::Lz4).bytes;
    assert_eq!(validate(&keyless), Err(InvalidBatch::KeyRequired { index: 0 }));
    let large = seal(&[OwnedRecord::new(0, Some(b"k"), Some(&[1; 20_000]))], Codec::None).bytes;
    let refused = validate(&large).unwrap_err();
    assert_eq!(refused.error_code(), ErrorCode::MessageTooLarge);
    let bomb = seal(&[OwnedRecord::new(0, Some(b"k"), Some(&[1; 20_000]))], Codec::Zstd).bytes;
    assert!(bomb.len() < 1_000);
    let refused = validate(&bomb).unwrap_err();
    assert_eq!(refused.error_code(), ErrorCode::MessageTooLarge);
}

#[test]
fn a_wrong_highest_timestamp_is_told_with_the_right_one() {
    let mut batch = idempotent(Codec::Gzip);
    patch_max_timestamp(&mut batch, TimestampMs(77));
    let valid =
        validate_for_append(&batch, &Limits::default(), &mut Decompressor::default()).unwrap();
    assert!(valid.max_timestamp_is_wrong());
    assert_eq!(valid.max_timestamp, TimestampMs(1_002));
    assert_eq!(valid.max_timestamp_offset(Offset(10)), Offset(12));
}

#[test]
fn the_lowest_timestamp_is_that_of_the_records_that_have_one() {
    let record = |timestamp| OwnedRecord::new(timestamp, Some(b"k"), None);
    let lowest = |records: &[OwnedRecord]| {
        let batch = seal(records, Codec::Lz4).bytes;
        validate_for_append(&batch, &Limits::default(), &mut Decompressor::default())
            .unwrap()
            .min_timestamp
    };
    assert_eq!(lowest(&[record(50), record(-1), record(40), record(60)]), TimestampMs(40));
    assert_eq!(lowest(&[record(-1), record(7)]), TimestampMs(7));
    assert_eq!(lowest(&[record(-1), record(-1)]), TimestampMs::NONE);
}

/// One record's bytes with its length in front, from the deltas on.
#[rstest]
#[case::negative_length(&[0x01], RecordFault::Length)]
#[case::longer_than_the_batch(&[0x40, 0, 0, 0], RecordFault::Length)]
#[case::empty(&[0x00], RecordFault::Number)]
#[case::endless_delta(
    &[0x18, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    RecordFault::Number
)]
#[case::key_length_below_null(&[0x0c, 0, 0, 0, 0x03, 0x01, 0x00], RecordFault::FieldLength)]
#[case::key_longer_than_the_record(&[0x0c, 0, 0, 0, 0x10, 0x01, 0x00], RecordFault::FieldLength)]
#[case::negative_header_count(&[0x0c, 0, 0, 0, 0x01, 0x01, 0x01], RecordFault::HeaderCount)]
#[case::header_count_of_2_31(
    &[0x14, 0, 0, 0, 0x01, 0x01, 0xfe, 0xff, 0xff, 0xff, 0x0f],
    RecordFault::HeaderCount
)]
#[case::header_without_key(
    &[0x10, 0, 0, 0, 0x01, 0x01, 0x02, 0x01, 0x01],
    RecordFault::NullHeaderKey
)]
#[case::header_cut(&[0x10, 0, 0, 0, 0x01, 0x01, 0x02, 0x00, 0x04], RecordFault::FieldLength)]
#[case::left_over(&[0x0e, 0, 0, 0, 0x01, 0x01, 0x00, 0x00], RecordFault::BytesLeftOver(1))]
fn a_malformed_record_is_named(#[case] record: &[u8], #[case] fault: RecordFault) {
    let mut batch = seal(&records(1), Codec::None).bytes.to_vec();
    batch.truncate(HEADER_BYTES);
    batch.extend_from_slice(record);
    let length = (batch.len() - 12) as u32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    repair(&mut batch);
    let expected = CorruptBatch::Record { index: 0, fault };
    assert_eq!(validate(&batch), Err(InvalidBatch::Corrupt(expected.clone())));
    let (batch, _) = RecordBatchRef::parse(&batch).unwrap();
    let mut decompressor = Decompressor::default();
    let mut read = batch.records(&mut decompressor).unwrap();
    assert_eq!(read.next().map(|record| record.map(|_| ())), Some(Err(expected)));
    assert!(read.next().is_none());
}

#[test]
fn bytes_behind_the_last_record_are_an_error() {
    let mut batch = seal(&records(2), Codec::None).bytes.to_vec();
    batch.extend_from_slice(&[0; 5]);
    let length = (batch.len() - 12) as u32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    repair(&mut batch);
    let expected = InvalidBatch::Corrupt(CorruptBatch::BytesLeftOver(5));
    assert_eq!(validate(&batch), Err(expected));
}

/// xorshift64*: the damage is the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

fn damage(batch: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut damaged = batch.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(damaged.len());
        match dice.below(5) {
            0 => damaged[at] ^= 1 << dice.below(8),
            1 => damaged[at] = [0, 1, 0x7f, 0x80, 0xff][dice.below(5)],
            2 => damaged.truncate(at.max(1)),
            3 => damaged.insert(at, dice.below(256) as u8),
            _ => {
                let end = (at + dice.below(8)).min(damaged.len());
                damaged[at..end].fill(0xff);
            }
        }
    }
    // Most damage must get past length and checksum to reach the records.
    if dice.below(8) != 0 && damaged.len() > HEADER_BYTES {
        let length = (damaged.len() - 12) as u32;
        damaged[8..12].copy_from_slice(&length.to_be_bytes());
        damaged[16] = 2;
        repair(&mut damaged);
    }
    damaged
}

#[test]
fn random_damage_is_refused_or_read_within_the_limit_and_never_a_panic() {
    let mut dice = Dice(0x5eed);
    let mut decompressor = Decompressor::new(50_000);
    let (mut refused, mut accepted, mut records_read) = (0, 0, 0);
    for round in 0..20_000 {
        let codec = Codec::ALL[round % 5];
        let damaged = damage(&idempotent(codec), &mut dice);
        for batch in batches(&damaged).flatten() {
            let Ok(records) = batch.records(&mut decompressor) else { continue };
            for record in records.flatten() {
                records_read += 1;
                assert!(record.headers.count() <= damaged.len().max(50_000));
                assert!(record.value.map_or(0, <[u8]>::len) <= 50_000);
            }
        }
        match validate_for_append(&damaged, &Limits::default(), &mut decompressor) {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert_eq!(refused + accepted, 20_000);
    assert!(refused > 10_000, "{refused} refused, {accepted} accepted");
    assert!(records_read > 5_000, "{records_read} records were read");
}
