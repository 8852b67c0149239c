//! What was seen of the rows: sizes, keys, places.
//!
//! Law: memory is bounded by the number of rows looked at: a key is kept as its hash.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use twox_hash::XxHash3_128;

use super::super::report::Rejection;
use crate::avro::Schema;
use crate::avro::decode::to_json;
use crate::input::{RowFault, SourceRecord};
use crate::partitioner::KeyPartitioner;

/// So many records are shown.
const FIRST_RECORDS: usize = 5;

/// So many bad rows are shown.
const FIRST_REJECTIONS: usize = 5;

/// Bytes of a record besides its key, value and headers: lengths, offset and time as differences to
/// its batch's, and its part of that batch's header.
const RECORD_OVERHEAD_BYTES: u64 = 10;

/// A record as it would be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct FirstRecord {
    pub(super) file: String,
    pub(super) line: u64,
    /// None if any may be chosen.
    pub(super) partition: Option<i32>,
    /// Milliseconds since 1970; None for the time of sending.
    pub(super) timestamp: Option<i64>,
    pub(super) key: Option<String>,
    pub(super) headers: Vec<FirstHeader>,
    pub(super) value: String,
}

/// How a value is shown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct View<'a> {
    /// The schema that it is written by, if it is Avro.
    pub(super) schema: Option<&'a Schema>,
    /// Bytes of the schema's id in front of it.
    pub(super) prefix_bytes: usize,
}

impl View<'_> {
    fn text(self, value: &[u8]) -> String {
        let value = value.get(self.prefix_bytes..).unwrap_or_default();
        match self.schema.map(|schema| to_json(schema, value)) {
            Some(Ok(json)) => json,
            _ => String::from_utf8_lossy(value).into_owned(),
        }
    }
}

/// One of its headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct FirstHeader {
    pub(super) name: String,
    pub(super) value: Option<String>,
}

/// All that was seen.
#[derive(Debug)]
pub(super) struct Sample {
    partition_count: i32,
    /// None if where keys go depends on more than them.
    pub(super) partitioner: Option<KeyPartitioner>,
    pub(super) row_count: u64,
    pub(super) rejected: u64,
    pub(super) rejections: Vec<Rejection>,
    pub(super) first_records: Vec<FirstRecord>,
    key_bytes: u64,
    value_bytes: u64,
    header_bytes: u64,
    /// Rows whose partition a column names, or the key decides.
    pub(super) placed: BTreeMap<i32, u64>,
    keys: HashMap<u128, u64>,
    heaviest: (u64, Vec<u8>),
    times_ms: Option<(i64, i64)>,
    /// Files that were read to their end.
    pub(super) whole_files: usize,
    /// Bytes of the files that were read, as they are on the disk.
    pub(super) read_bytes: u64,
    /// The same unpacked.
    pub(super) row_bytes: u64,
    /// How long that took.
    pub(super) reading: Duration,
}

impl Sample {
    /// Of no row, for a topic of so many partitions.
    pub(super) fn new(partition_count: i32, partitioner: Option<KeyPartitioner>) -> Sample {
        Sample {
            partition_count,
            partitioner,
            row_count: 0,
            rejected: 0,
            rejections: Vec::new(),
            first_records: Vec::new(),
            key_bytes: 0,
            value_bytes: 0,
            header_bytes: 0,
            placed: BTreeMap::new(),
            keys: HashMap::new(),
            heaviest: (0, Vec::new()),
            times_ms: None,
            whole_files: 0,
            read_bytes: 0,
            row_bytes: 0,
            reading: Duration::ZERO,
        }
    }

    /// Takes a record into account, and how its value is shown.
    pub(super) fn add(&mut self, path: &Path, record: &SourceRecord<'_>, view: View<'_>) {
        let rendered = &record.rendered;
        self.row_count += 1;
        self.value_bytes += rendered.value.len() as u64;
        self.header_bytes += (rendered.headers.iter())
            .map(|(name, value)| 2 + name.len() as u64 + value.map_or(0, <[u8]>::len) as u64)
            .sum::<u64>();
        if let Some(ms) = rendered.timestamp_ms {
            let (first, last) = self.times_ms.unwrap_or((ms, ms));
            self.times_ms = Some((first.min(ms), last.max(ms)));
        }
        let mut partition = rendered.partition;
        if let Some(key) = rendered.key {
            self.count_key(key);
            let by_key = |rule: KeyPartitioner| rule.partition(key, self.partition_count);
            partition = partition.or_else(|| self.partitioner.and_then(by_key));
        }
        if let Some(partition) = partition {
            *self.placed.entry(partition).or_default() += 1;
        }
        if self.first_records.len() < FIRST_RECORDS {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            self.first_records.push(FirstRecord {
                file: path.display().to_string(),
                line: record.line,
                partition,
                timestamp: rendered.timestamp_ms,
                key: rendered.key.map(text),
                headers: (rendered.headers.iter())
                    .map(|(name, value)| FirstHeader {
                        name: name.to_owned(),
                        value: value.map(text),
                    })
                    .collect(),
                value: view.text(rendered.value),
            });
        }
    }

    fn count_key(&mut self, key: &[u8]) {
        self.key_bytes += key.len() as u64;
        let count = self.keys.entry(XxHash3_128::oneshot(key)).or_default();
        *count += 1;
        if *count > self.heaviest.0 {
            self.heaviest.0 = *count;
            self.heaviest.1.clear();
            self.heaviest.1.extend_from_slice(key);
        }
    }

    /// Takes a bad row into account.
    pub(super) fn reject(&mut self, path: &Path, line: u64, fault: &RowFault) {
        self.rejected += 1;
        if self.rejections.len() < FIRST_REJECTIONS {
            let (file, reason) = (path.display().to_string(), fault.to_string());
            self.rejections.push(Rejection { file, line, reason });
        }
    }

    /// Rows that any partition may get.
    pub(super) fn unplaced(&self) -> u64 {
        self.row_count - self.placed.values().sum::<u64>()
    }

    /// How many keys there are.
    pub(super) fn key_count(&self) -> u64 {
        self.keys.len() as u64
    }

    /// The most frequent key, and how many rows have it.
    pub(super) fn heaviest_key(&self) -> Option<(String, u64)> {
        let (count, key) = &self.heaviest;
        (*count > 0).then(|| (String::from_utf8_lossy(key).into_owned(), *count))
    }

    /// How many times the mean the fullest partition gets of the rows that go by their key.
    pub(super) fn skew(&self) -> Option<f64> {
        let most = self.placed.values().max()?;
        let mean = self.placed.values().sum::<u64>() as f64 / f64::from(self.partition_count);
        Some(*most as f64 / mean)
    }

    /// The part of all bytes that was read; None if nobody knows how many there are.
    pub(super) fn share(&self, total_bytes: Option<u64>) -> Option<f64> {
        match total_bytes? {
            0 => Some(1.0),
            total => Some((self.read_bytes as f64 / total as f64).clamp(f64::MIN_POSITIVE, 1.0)),
        }
    }

    /// Mean bytes of a key and of a value.
    pub(super) fn mean_bytes(&self) -> (u64, u64) {
        let mean = |sum: u64| sum.checked_div(self.row_count).unwrap_or(0);
        (mean(self.key_bytes), mean(self.value_bytes))
    }

    /// Bytes that the records seen take in the topic's log, before compression.
    pub(super) fn log_bytes(&self) -> u64 {
        let parts = self.key_bytes + self.value_bytes + self.header_bytes;
        parts + self.row_count * RECORD_OVERHEAD_BYTES
    }

    /// From the earliest record's time to the latest's.
    pub(super) fn time_span_ms(&self) -> Option<u64> {
        let (first, last) = self.times_ms?;
        Some(last.abs_diff(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Rendered;

    fn seen(keys: &[Option<&str>]) -> Sample {
        let mut sample = Sample::new(4, Some(KeyPartitioner::Murmur2Random));
        for (index, key) in keys.iter().enumerate() {
            let rendered = Rendered {
                key: key.map(str::as_bytes),
                value: b"12345",
                timestamp_ms: Some(1000 - 10 * index as i64),
                ..Rendered::default()
            };
            sample.add(
                Path::new("f"),
                &SourceRecord { rendered, line: index as u64 + 1 },
                View::default(),
            );
        }
        sample
    }

    #[test]
    fn rows_are_counted_where_their_keys_go() {
        let sample = seen(&[Some("a"), Some("a"), Some("a"), Some("b"), None]);
        let a = KeyPartitioner::Murmur2Random.partition(b"a", 4).unwrap();
        assert!(sample.placed[&a] >= 3);
        assert_eq!((sample.unplaced(), sample.key_count()), (1, 2));
        assert_eq!(sample.heaviest_key(), Some(("a".to_owned(), 3)));
        assert!(sample.skew().unwrap() >= 3.0);
        assert_eq!(sample.mean_bytes(), (0, 5));
        assert_eq!(sample.time_span_ms(), Some(40));
        assert_eq!(sample.first_records[0].partition, Some(a));
        assert_eq!(sample.first_records[4].partition, None);
    }

    #[test]
    fn nothing_seen_has_no_skew_and_no_keys() {
        let sample = seen(&[]);
        assert_eq!((sample.skew(), sample.heaviest_key()), (None, None));
        assert_eq!((sample.mean_bytes(), sample.log_bytes()), ((0, 0), 0));
        assert_eq!((sample.share(None), sample.share(Some(0))), (None, Some(1.0)));
    }

    #[test]
    fn only_the_first_records_are_kept() {
        let sample = seen(&[Some("k"); 40]);
        assert_eq!((sample.first_records.len(), sample.row_count), (FIRST_RECORDS, 40));
    }
}
