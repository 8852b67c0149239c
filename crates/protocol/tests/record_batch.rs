//! What is put into a batch comes out of it, under every codec, to the last null and repeat.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{OwnedRecord, build, read, seal};
use proptest::prelude::*;
use streamledger_protocol::compression::{Compression, CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{
    BatchSeal, Limits, RecordBatchRef, SealError, batches, patch_base_offset, patch_leader_epoch,
    patch_log_append_time, patch_max_timestamp, records_of, validate_for_append,
};
use streamledger_protocol::{
    Codec, LeaderEpoch, Offset, ProducerEpoch, ProducerId, ProducerIdentity, SequenceNumber,
    TimestampMs, TimestampType,
};

fn some_records() -> Vec<OwnedRecord> {
    vec![
        OwnedRecord::new(1_700_000_000_000, Some(b"key"), Some(b"value")),
        OwnedRecord::new(1_699_999_999_000, None, Some(b"")).header("h", None),
        OwnedRecord::new(1_700_000_000_500, Some(b""), None)
            .header("h", Some(b"1"))
            .header("h", Some(b""))
            .header("", Some(b"2"))
            .header("h", Some(b"1")),
        OwnedRecord::new(1_700_000_100_000, Some(&[7; 9000]), Some(&[8; 70_000])),
    ]
}

fn identity(id: i64, epoch: i16) -> ProducerIdentity {
    ProducerIdentity { id: ProducerId(id), epoch: ProducerEpoch(epoch) }
}

prop_compose! {
    fn field()(
        bytes in prop_oneof![
            8 => proptest::collection::vec(any::<u8>(), 0..40),
            1 => proptest::collection::vec(any::<u8>(), 60..70),
            1 => (any::<u8>(), 8180_usize..8200).prop_map(|(byte, length)| vec![byte; length]),
        ],
        present in prop::bool::weighted(0.85),
    ) -> Option<Vec<u8>> {
        present.then_some(bytes)
    }
}

prop_compose! {
    fn record()(
        timestamp in prop_oneof![
            6 => 1_700_000_000_000_i64..1_700_000_010_000,
            2 => 1_600_000_000_000_i64..1_800_000_000_000,
            1 => any::<i64>(),
        ],
        key in field(),
        value in field(),
        headers in prop_oneof![
            3 => Just(Vec::new()),
            1 => proptest::collection::vec(("[a-cé]{0,3}", field()), 0..5),
        ],
    ) -> OwnedRecord {
        OwnedRecord { timestamp, key, value, headers }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_goes_in_comes_out_under_every_codec(
        records in proptest::collection::vec(record(), 1..60),
    ) {
        for codec in Codec::ALL {
            let sealed = seal(&records, codec);
            prop_assert_eq!(sealed.record_count as usize, records.len());
            prop_assert_eq!(&read(&sealed.bytes), &records);
            let limits = Limits { batch_bytes_max: usize::MAX, key_required: false };
            let mut decompressor = Decompressor::default();
            let valid = validate_for_append(&sealed.bytes, &limits, &mut decompressor).unwrap();
            prop_assert_eq!(valid.header.record_count, sealed.record_count);
            prop_assert_eq!(valid.header.attributes.codec(), Ok(codec));
            prop_assert_eq!(valid.header.base_timestamp.0, records[0].timestamp);
        }
    }
}

#[test]
fn the_header_says_what_the_records_are() {
    for codec in Codec::ALL {
        let records = some_records();
        let seal = BatchSeal {
            compression: Compression::of(codec),
            producer: Some((identity(77, 3), SequenceNumber(i32::MAX - 1))),
            transactional: true,
        };
        let sealed = build(&records).seal(&seal, &mut CompressionScratch::new()).unwrap();
        assert_eq!(sealed.last_sequence(), Some(SequenceNumber(1)));
        let (batch, _) = RecordBatchRef::parse(&sealed.bytes).unwrap();
        let header = batch.header();
        assert_eq!(header.batch_bytes(), sealed.bytes.len());
        assert_eq!(header.base_offset, Offset(0));
        assert_eq!(header.last_offset(), Offset(3));
        assert_eq!(header.partition_leader_epoch, LeaderEpoch::NONE);
        assert_eq!(header.max_timestamp, TimestampMs(1_700_000_100_000));
        assert_eq!(header.producer(), Some(identity(77, 3)));
        assert_eq!(header.last_sequence(), SequenceNumber(1));
        assert!(header.attributes.is_transactional());
        assert!(!header.attributes.is_control());
        let mut decompressor = Decompressor::default();
        let valid =
            validate_for_append(&sealed.bytes, &Limits::default(), &mut decompressor).unwrap();
        assert!(!valid.max_timestamp_is_wrong());
        assert_eq!(valid.max_timestamp_offset(Offset(50)), Offset(53));
    }
}

#[test]
fn patches_outside_the_checksum_leave_it_valid_and_others_make_it_anew() {
    let records = some_records();
    let mut bytes = seal(&records, Codec::None).bytes.to_vec();
    patch_base_offset(&mut bytes, Offset(4_000_000_000));
    patch_leader_epoch(&mut bytes, LeaderEpoch(9));
    assert_eq!(read(&bytes), records);
    let (batch, _) = RecordBatchRef::parse(&bytes).unwrap();
    assert_eq!(batch.header().last_offset(), Offset(4_000_000_003));
    assert_eq!(batch.header().partition_leader_epoch, LeaderEpoch(9));

    patch_max_timestamp(&mut bytes, TimestampMs(5));
    let (batch, _) = RecordBatchRef::parse(&bytes).unwrap();
    assert_eq!(batch.header().max_timestamp, TimestampMs(5));
    assert_eq!(read(&bytes), records);

    patch_log_append_time(&mut bytes, TimestampMs(123));
    let (batch, _) = RecordBatchRef::parse(&bytes).unwrap();
    assert_eq!(batch.header().attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert!(read(&bytes).iter().all(|record| record.timestamp == 123));
}

#[test]
fn restamping_changes_the_producer_and_never_bytes_that_are_shared() {
    let records = some_records();
    let seal = BatchSeal {
        compression: Compression::of(Codec::Lz4),
        producer: Some((identity(1, 0), SequenceNumber(10))),
        transactional: false,
    };
    let mut sealed = build(&records).seal(&seal, &mut CompressionScratch::new()).unwrap();
    let in_flight = sealed.bytes.clone();
    let before = in_flight.to_vec();
    sealed.restamp(identity(1, 1), SequenceNumber(0));
    assert_eq!(in_flight, before);
    assert_eq!(read(&sealed.bytes), records);
    let (batch, _) = RecordBatchRef::parse(&sealed.bytes).unwrap();
    assert_eq!(batch.header().producer(), Some(identity(1, 1)));
    assert_eq!(batch.header().base_sequence, SequenceNumber(0));
    assert_eq!(batch.header().last_sequence(), SequenceNumber(3));
}

#[test]
fn a_batch_without_records_is_not_sealed() {
    let result = build(&[]).seal(&BatchSeal::default(), &mut CompressionScratch::new());
    assert_eq!(result, Err(SealError::Empty));
}

#[test]
fn a_fetch_may_end_anywhere_in_its_last_batch() {
    let first = seal(&some_records(), Codec::Zstd).bytes;
    let second = seal(&some_records()[..2], Codec::None).bytes;
    let both = [&first[..], &second[..]].concat();
    let mut compared = 0;
    for end in 0..both.len() {
        let mut found = batches(&both[..end]);
        let expected = usize::from(end >= first.len());
        assert_eq!(found.by_ref().filter(Result::is_ok).count(), expected, "{end}");
        assert_eq!(found.rest().len(), end - expected * first.len());
        compared += 1;
    }
    assert_eq!(compared, both.len());
    assert_eq!(batches(&both).count(), 2);
}

#[test]
fn one_scratch_serves_many_batches_of_every_codec_and_size() {
    let mut scratch = CompressionScratch::new();
    let mut compared = 0;
    for round in 1..12_usize {
        for codec in Codec::ALL {
            let value: Vec<u8> = (0..round * 7919).map(|byte| (byte * byte % 251) as u8).collect();
            let records: Vec<_> =
                (0..round).map(|at| OwnedRecord::new(at as i64, None, Some(&value))).collect();
            let seal = BatchSeal { compression: Compression::of(codec), ..BatchSeal::default() };
            let sealed = build(&records).seal(&seal, &mut scratch).unwrap();
            assert_eq!(read(&sealed.bytes), records);
            compared += 1;
        }
    }
    assert_eq!(compared, 55);
}

#[test]
fn a_reader_goes_on_where_another_was() {
    let records: Vec<_> =
        (0..20).map(|at| OwnedRecord::new(at, Some(b"k"), Some(b"value"))).collect();
    let sealed =
        build(&records).seal(&BatchSeal::default(), &mut CompressionScratch::new()).unwrap();
    let (batch, _) = RecordBatchRef::parse(&sealed.bytes).unwrap();
    let all = || records_of(batch.header(), batch.stored_records()).unwrap();
    for stop in 0..=20 {
        let mut first = all();
        assert_eq!(first.by_ref().take(stop).count(), stop);
        let rest: Vec<_> =
            all().resume(first.mark()).map(|record| record.unwrap().offset).collect();
        let expected: Vec<_> = all().skip(stop).map(|record| record.unwrap().offset).collect();
        assert_eq!(rest, expected);
    }
}
