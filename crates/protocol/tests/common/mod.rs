//! Records that own their bytes, for tests that compare what was written with what is read.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use streamledger_protocol::compression::{Compression, CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{
    BatchSeal, Header, RecordBatchBuilder, RecordBatchRef, RecordRef, SealedBatch,
};
use streamledger_protocol::{Codec, TimestampMs};

/// A record with everything it can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedRecord {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl OwnedRecord {
    pub(crate) fn new(timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        Self {
            timestamp,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, key: &str, value: Option<&[u8]>) -> Self {
        self.headers.push((key.to_owned(), value.map(<[u8]>::to_vec)));
        self
    }

    pub(crate) fn read(record: &RecordRef<'_>) -> Self {
        Self {
            timestamp: record.timestamp.0,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .map(|header| (header.key().into_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }
}

/// Appends records, each time holding the announced size against the real one.
pub(crate) fn build(records: &[OwnedRecord]) -> RecordBatchBuilder {
    let mut builder = RecordBatchBuilder::with_capacity(0);
    for record in records {
        let headers: Vec<Header<'_>> = record
            .headers
            .iter()
            .map(|(key, value)| Header { key, value: value.as_deref() })
            .collect();
        let timestamp = TimestampMs(record.timestamp);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let announced = builder.record_size(timestamp, key, value, &headers);
        let before = builder.batch_bytes();
        let added = builder.append(timestamp, key, value, &headers);
        assert_eq!(announced, added);
        if headers.is_empty() {
            assert!(added <= RecordBatchBuilder::record_size_bound(key, value));
        }
        assert_eq!(builder.batch_bytes(), before + added);
    }
    builder
}

/// Seals records under a codec, without a producer.
pub(crate) fn seal(records: &[OwnedRecord], codec: Codec) -> SealedBatch {
    let seal = BatchSeal { compression: Compression::of(codec), ..BatchSeal::default() };
    build(records).seal(&seal, &mut CompressionScratch::new()).unwrap()
}

/// All records of the one batch in `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Vec<OwnedRecord> {
    let (batch, rest) = RecordBatchRef::parse(bytes).unwrap();
    assert!(rest.is_empty());
    batch.verify_crc().unwrap();
    let mut decompressor = Decompressor::default();
    let records = batch.records(&mut decompressor).unwrap();
    records
        .enumerate()
        .map(|(index, record)| {
            let record = record.unwrap();
            assert_eq!(record.offset.0, batch.header().base_offset.0 + index as i64);
            OwnedRecord::read(&record)
        })
        .collect()
}
