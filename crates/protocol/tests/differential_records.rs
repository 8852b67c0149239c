//! Batches held against another implementation's, in both directions (`kafka-protocol`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use bytes::{Bytes, BytesMut};
use common::{OwnedRecord, build};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression as OtherCompression, Record, RecordBatchDecoder, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType as OtherTimestampType,
};
use proptest::prelude::*;
use streamledger_protocol::compression::{Compression, CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{BatchSeal, Limits, RecordBatchRef, validate_for_append};
use streamledger_protocol::{Codec, ProducerEpoch, ProducerId, ProducerIdentity, SequenceNumber};

fn other_codec(codec: Codec) -> OtherCompression {
    match codec {
        Codec::None => OtherCompression::None,
        Codec::Gzip => OtherCompression::Gzip,
        Codec::Snappy => OtherCompression::Snappy,
        Codec::Lz4 => OtherCompression::Lz4,
        Codec::Zstd => OtherCompression::Zstd,
    }
}

fn our_codec(codec: OtherCompression) -> Codec {
    Codec::from_attributes(codec as i16).unwrap()
}

prop_compose! {
    /// A record whose header names are distinct, as the other implementation keeps them in a map.
    fn record()(
        timestamp in 1_700_000_000_000_i64..1_700_000_500_000,
        key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..150)),
        value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
        headers in proptest::collection::btree_map(
            "[a-z]{1,4}",
            proptest::option::of(proptest::collection::vec(any::<u8>(), 0..10)),
            0..4,
        ),
    ) -> OwnedRecord {
        OwnedRecord { timestamp, key, value, headers: headers.into_iter().collect() }
    }
}

fn from_other(record: &Record) -> OwnedRecord {
    OwnedRecord {
        timestamp: record.timestamp,
        key: record.key.as_deref().map(<[u8]>::to_vec),
        value: record.value.as_deref().map(<[u8]>::to_vec),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| (key.to_string(), value.as_deref().map(<[u8]>::to_vec)))
            .collect(),
    }
}

fn to_other(record: &OwnedRecord, index: i32, producer: ProducerIdentity) -> Record {
    Record {
        transactional: true,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        timestamp_type: OtherTimestampType::Creation,
        offset: i64::from(index),
        sequence: 40 + index,
        timestamp: record.timestamp,
        key: record.key.clone().map(Bytes::from),
        value: record.value.clone().map(Bytes::from),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| {
                (StrBytes::from_string(key.clone()), value.clone().map(Bytes::from))
            })
            .collect(),
    }
}

const PRODUCER: ProducerIdentity =
    ProducerIdentity { id: ProducerId(123_456_789_012), epoch: ProducerEpoch(7) };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_other_reads_what_we_write(
        records in proptest::collection::vec(record(), 1..80),
    ) {
        for codec in Codec::ALL {
            let seal = BatchSeal {
                compression: Compression::of(codec),
                producer: Some((PRODUCER, SequenceNumber(40))),
                transactional: true,
            };
            let sealed = build(&records).seal(&seal, &mut CompressionScratch::new()).unwrap();
            let read = RecordBatchDecoder::decode_with_custom_compression(
                &mut sealed.bytes.clone(),
                Some(|body: &mut Bytes, codec: OtherCompression| {
                    Ok(Decompressor::default().decompress_owned(our_codec(codec), body).unwrap())
                }),
            )
            .unwrap();
            prop_assert_eq!(read.compression, other_codec(codec));
            prop_assert_eq!(read.records.len(), records.len());
            for (index, (record, expected)) in read.records.iter().zip(&records).enumerate() {
                prop_assert_eq!(&from_other(record), expected);
                prop_assert_eq!(record.offset, index as i64);
                prop_assert_eq!(record.sequence, 40 + index as i32);
                prop_assert_eq!(record.producer_id, PRODUCER.id.0);
                prop_assert_eq!(record.producer_epoch, PRODUCER.epoch.0);
                prop_assert!(record.transactional && !record.control);
            }
        }
    }

    #[test]
    fn we_read_what_the_other_writes(
        records in proptest::collection::vec(record(), 1..80),
    ) {
        for codec in Codec::ALL {
            let theirs: Vec<Record> = records
                .iter()
                .enumerate()
                .map(|(index, record)| to_other(record, index as i32, PRODUCER))
                .collect();
            let options = RecordEncodeOptions { version: 2, compression: other_codec(codec) };
            let mut bytes = BytesMut::new();
            RecordBatchEncoder::encode_with_custom_compression(
                &mut bytes,
                &theirs,
                &options,
                Some(|body: &mut BytesMut, output: &mut BytesMut, codec: OtherCompression| {
                    let mut compressed = Vec::new();
                    CompressionScratch::new()
                        .compress(body, Compression::of(our_codec(codec)), &mut compressed)
                        .unwrap();
                    output.extend_from_slice(&compressed);
                    Ok(())
                }),
            )
            .unwrap();
            prop_assert_eq!(&common::read(&bytes), &records);
            let mut decompressor = Decompressor::default();
            let valid =
                validate_for_append(&bytes, &Limits::default(), &mut decompressor).unwrap();
            prop_assert!(!valid.max_timestamp_is_wrong());
            let (batch, _) = RecordBatchRef::parse(&bytes).unwrap();
            prop_assert_eq!(batch.header().producer(), Some(PRODUCER));
            prop_assert_eq!(batch.header().base_sequence, SequenceNumber(40));
            prop_assert_eq!(batch.header().record_count as usize, records.len());
        }
    }
}
