//! Bytes from Apache Kafka's own classes: read exactly, and uncompressed written exactly.
//!
//! tests/golden was written by compat/golden/GoldenBatches.java, which says how to run it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{OwnedRecord, build, read};
use streamledger_protocol::compression::{CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{
    BatchSeal, ControlKind, ControlRecord, InvalidBatch, Limits, RecordBatchRef,
    build_control_batch, parse_control_record, validate_for_append,
};
use streamledger_protocol::{
    Codec, LeaderEpoch, Offset, ProducerEpoch, ProducerId, ProducerIdentity, SequenceNumber,
    TimestampMs, TimestampType, murmur2,
};

const TIME: i64 = 1_700_000_000_000;
const TRANSACTIONAL_PRODUCER: ProducerIdentity =
    ProducerIdentity { id: ProducerId(4_711_000_000_000), epoch: ProducerEpoch(32_766) };
const TRANSACTIONAL_SEQUENCE: SequenceNumber = SequenceNumber(i32::MAX - 1);

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read_to_string(path).unwrap()
}

fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    assert!(rest.is_empty());
    pairs
        .iter()
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn golden(name: &str) -> Vec<u8> {
    hex(&text(&format!("{name}.hex")))
}

/// What `GoldenBatches.mixed` appends.
fn mixed() -> Vec<OwnedRecord> {
    let mut records = vec![
        OwnedRecord::new(TIME, Some(b"key"), Some(b"value")),
        OwnedRecord::new(TIME + 1, None, Some(b"no key")),
        OwnedRecord::new(TIME - 5_000, Some(b"no value"), None),
        OwnedRecord::new(TIME + 86_400_000, Some(b""), Some(b"")),
        OwnedRecord::new(TIME, None, None),
        OwnedRecord::new(TIME + 2, Some(b"headers"), Some(b"h"))
            .header("repeated", Some(b"1"))
            .header("other", None)
            .header("repeated", Some(b""))
            .header("", Some(b"2"))
            .header("grüße 世界", Some("世".as_bytes()))
            .header("repeated", Some(b"1")),
        OwnedRecord::new(TIME + 3, Some(&[b'k'; 200]), Some(&[b'v'; 20_000])),
    ];
    records.extend((0..100).map(|index| {
        OwnedRecord::new(
            TIME + 10 * index,
            Some(format!("user-{}", index % 7).as_bytes()),
            Some(format!("{{\"event\":{index},\"type\":\"view\"}}").as_bytes()),
        )
    }));
    records
}

/// What `GoldenBatches.transactional` appends.
fn transactional() -> Vec<OwnedRecord> {
    (0..3)
        .map(|index| {
            let (key, value) = (format!("k{index}"), format!("v{index}"));
            OwnedRecord::new(TIME + index, Some(key.as_bytes()), Some(value.as_bytes()))
        })
        .collect()
}

/// What `GoldenBatches.large` appends.
fn large() -> Vec<OwnedRecord> {
    (0..4)
        .map(|record| {
            let value: Vec<u8> =
                (0..50_000).map(|index| ((index * (record + 3)) >> 7) as u8).collect();
            let key = format!("large-{record}");
            OwnedRecord::new(TIME + record, Some(key.as_bytes()), Some(&value))
        })
        .collect()
}

#[test]
fn kafkas_batches_of_every_codec_are_read_exactly_and_would_be_appended() {
    let mut compared = 0;
    for codec in Codec::ALL {
        for (name, records) in
            [("mixed", mixed()), ("transactional", transactional()), ("large", large())]
        {
            if name == "large" && codec == Codec::None {
                continue;
            }
            let bytes = golden(&format!("{name}-{codec}"));
            assert_eq!(read(&bytes), records, "{name} {codec}");
            let mut decompressor = Decompressor::default();
            let valid = validate_for_append(&bytes, &Limits::default(), &mut decompressor).unwrap();
            assert_eq!(valid.header.attributes.codec(), Ok(codec));
            assert!(!valid.max_timestamp_is_wrong());
            compared += records.len();
        }
    }
    assert_eq!(compared, 5 * (107 + 3) + 4 * 4);
}

#[test]
fn our_uncompressed_batches_are_kafkas_byte_for_byte() {
    let mut scratch = CompressionScratch::new();
    let ours = build(&mixed()).seal(&BatchSeal::default(), &mut scratch).unwrap();
    assert_eq!(ours.bytes, golden("mixed-none"));
    let seal = BatchSeal {
        producer: Some((TRANSACTIONAL_PRODUCER, TRANSACTIONAL_SEQUENCE)),
        transactional: true,
        ..BatchSeal::default()
    };
    let ours = build(&transactional()).seal(&seal, &mut scratch).unwrap();
    assert_eq!(ours.bytes, golden("transactional-none"));
}

#[test]
fn a_transactional_batch_keeps_its_producer_and_wraps_its_sequence() {
    for codec in Codec::ALL {
        let bytes = golden(&format!("transactional-{codec}"));
        let (batch, _) = RecordBatchRef::parse(&bytes).unwrap();
        let header = batch.header();
        assert_eq!(header.producer(), Some(TRANSACTIONAL_PRODUCER));
        assert_eq!(header.base_sequence, TRANSACTIONAL_SEQUENCE);
        assert_eq!(header.last_sequence(), SequenceNumber(0));
        assert!(header.attributes.is_transactional());
    }
}

#[test]
fn a_batch_of_log_append_time_has_one_timestamp_and_is_refused_from_a_client() {
    let bytes = golden("log-append-time");
    let (batch, _) = RecordBatchRef::parse(&bytes).unwrap();
    let header = batch.header();
    assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(header.base_offset, Offset(5_000));
    assert_eq!(header.partition_leader_epoch, LeaderEpoch(12));
    let expected = [
        OwnedRecord::new(TIME + 77, Some(b"a"), Some(b"1")),
        OwnedRecord::new(TIME + 77, Some(b"b"), Some(b"2")),
    ];
    assert_eq!(read(&bytes), expected);
    let refused = validate_for_append(&bytes, &Limits::default(), &mut Decompressor::default());
    assert_eq!(refused, Err(InvalidBatch::LogAppendTime));
}

#[test]
fn our_transaction_markers_are_kafkas_byte_for_byte_and_are_read_back() {
    let producer = ProducerIdentity { id: ProducerId(4_711), epoch: ProducerEpoch(3) };
    for (kind, name) in
        [(ControlKind::Commit, "commit-marker"), (ControlKind::Abort, "abort-marker")]
    {
        let bytes = golden(name);
        assert_eq!(build_control_batch(kind, producer, 21, TimestampMs(TIME)), bytes);
        let (batch, _) = RecordBatchRef::parse(&bytes).unwrap();
        assert!(batch.header().attributes.is_control());
        let mut decompressor = Decompressor::default();
        let record = batch.records(&mut decompressor).unwrap().next().unwrap().unwrap();
        let expected = ControlRecord::Marker { kind, coordinator_epoch: 21 };
        assert_eq!(parse_control_record(&record), Ok(expected));
        let refused = validate_for_append(&bytes, &Limits::default(), &mut decompressor);
        assert_eq!(refused, Err(InvalidBatch::ControlBatch));
    }
}

#[test]
fn keys_hash_and_find_their_partition_as_in_the_java_client() {
    let mut compared = 0;
    for line in text("murmur2.txt").lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let key = hex(fields[0]);
        assert_eq!(murmur2::murmur2(&key).to_string(), fields[1], "{line}");
        let partition = murmur2::partition(&key, 12).unwrap();
        assert_eq!(partition.to_string(), fields[2], "{line}");
        compared += 1;
    }
    assert_eq!(compared, 48);
    assert_eq!(murmur2::partition(b"k", 0), None);
    assert_eq!(murmur2::partition(b"k", -1), None);
}
