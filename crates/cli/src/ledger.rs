//! What became of the records that were sent, told by the producer once a batch.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use crate::latency::{Latencies, Percentiles};

/// The last record of a batch or of a partition: Kafka's RecordMetadata without the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LastRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset; None with acks=0, which no broker answers.
    pub offset: Option<i64>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Bytes of its key; None for a record without one.
    pub serialized_key_size: Option<usize>,
    /// Bytes of its value; None for a tombstone.
    pub serialized_value_size: Option<usize>,
}

/// The end of one batch.
#[derive(Debug, Clone)]
pub struct BatchDone {
    /// The batch's last record, if the batch was acknowledged.
    pub last: Option<LastRecord>,
    /// How many records it has.
    pub record_count: u64,
    /// Its bytes as sent.
    pub batch_bytes: u64,
    /// Its bytes before compression.
    pub uncompressed_bytes: u64,
    /// From the append of its first record to its end.
    pub age: Duration,
    /// Why it failed, in a sentence; None if it was acknowledged.
    pub failure: Option<String>,
}

/// Counts the ends of batches. Shared by the producer's thread and the command's.
#[derive(Debug)]
pub struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    totals: Totals,
    partitions: BTreeMap<i32, LastRecord>,
    first_failure: Option<String>,
    ages: Latencies,
}

/// Sums over all batches so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records that were acknowledged.
    pub acked: u64,
    /// Records that failed for good.
    pub failed: u64,
    /// Batches that were acknowledged.
    pub batches: u64,
    /// Their bytes as sent.
    pub batch_bytes: u64,
    /// Their bytes before compression.
    pub uncompressed_bytes: u64,
}

/// All that was counted.
#[derive(Debug, Clone)]
pub struct Account {
    /// Sums over all batches.
    pub totals: Totals,
    /// The last acknowledged record of each partition.
    pub partitions: Vec<LastRecord>,
    /// Why the first failed batch failed.
    pub first_failure: Option<String>,
    /// From a batch's first append to its acknowledgement, each batch as often as it has records.
    pub ack_latency: Percentiles,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            state: Mutex::new(State {
                totals: Totals::default(),
                partitions: BTreeMap::new(),
                first_failure: None,
                ages: Latencies::default(),
            }),
        }
    }
}

impl Ledger {
    /// Counts the end of a batch.
    pub fn enter(&self, batch: BatchDone) {
        let mut state = self.state.lock();
        if let Some(failure) = batch.failure {
            state.totals.failed += batch.record_count;
            state.first_failure.get_or_insert(failure);
            return;
        }
        state.totals.acked += batch.record_count;
        state.totals.batches += 1;
        state.totals.batch_bytes += batch.batch_bytes;
        state.totals.uncompressed_bytes += batch.uncompressed_bytes;
        if let Some(last) = batch.last {
            state.partitions.insert(last.partition, last);
        }
        state.ages.record(batch.age, batch.record_count);
    }

    /// Whether a batch failed.
    pub fn has_failed(&self) -> bool {
        self.state.lock().first_failure.is_some()
    }

    /// The sums so far.
    pub fn totals(&self) -> Totals {
        self.state.lock().totals
    }

    /// All that was counted.
    pub fn account(&self) -> Account {
        let state = self.state.lock();
        Account {
            totals: state.totals,
            partitions: state.partitions.values().copied().collect(),
            first_failure: state.first_failure.clone(),
            ack_latency: state.ages.percentiles(),
        }
    }
}

impl Totals {
    /// Mean bytes of a batch as sent.
    pub fn mean_batch_bytes(&self) -> u64 {
        self.batch_bytes.checked_div(self.batches).unwrap_or(0)
    }

    /// How many times smaller compression made the batches; 1 without compression.
    pub fn compression_ratio(&self) -> f64 {
        if self.batch_bytes == 0 {
            return 1.0;
        }
        self.uncompressed_bytes as f64 / self.batch_bytes as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(partition: i32, offset: i64, record_count: u64) -> BatchDone {
        BatchDone {
            last: Some(LastRecord {
                partition,
                offset: Some(offset),
                timestamp: 5,
                serialized_key_size: None,
                serialized_value_size: Some(3),
            }),
            record_count,
            batch_bytes: 100,
            uncompressed_bytes: 300,
            age: Duration::from_millis(record_count),
            failure: None,
        }
    }

    #[test]
    fn the_last_record_of_each_partition_and_the_sums() {
        let ledger = Ledger::default();
        for entry in [batch(1, 9, 10), batch(0, 4, 5), batch(1, 19, 10)] {
            ledger.enter(entry);
        }
        assert!(!ledger.has_failed());
        let failure = Some("no leader".to_owned());
        ledger.enter(BatchDone { failure, ..batch(0, 9, 7) });
        ledger.enter(BatchDone { failure: Some("later".to_owned()), ..batch(0, 9, 1) });
        let account = ledger.account();
        assert_eq!((account.totals.acked, account.totals.failed), (25, 8));
        assert_eq!(account.first_failure.as_deref(), Some("no leader"));
        let ends: Vec<_> =
            account.partitions.iter().map(|last| (last.partition, last.offset)).collect();
        assert_eq!(ends, [(0, Some(4)), (1, Some(19))]);
        assert_eq!(account.totals.mean_batch_bytes(), 100);
        assert!((account.totals.compression_ratio() - 3.0).abs() < 1e-9);
        assert!((10_000..10_010).contains(&account.ack_latency.p50), "{:?}", account.ack_latency);
    }

    #[test]
    fn nothing_sent_is_nothing_counted() {
        let account = Ledger::default().account();
        assert_eq!(account.totals, Totals::default());
        assert_eq!(account.totals.mean_batch_bytes(), 0);
        assert_eq!(account.ack_latency.p50, 0);
    }
}
