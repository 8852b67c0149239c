//! The log store against a real directory.

mod compaction;
mod faults;
mod journal;
mod ranges;
mod readers;
mod restart;
mod rolls;
mod upkeep;

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use streamledger_protocol::compression::CompressionScratch;
use streamledger_protocol::record_batch::{BatchSeal, RecordBatchBuilder, batches};
use streamledger_protocol::{
    LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, ProducerIdentity,
    SequenceNumber, TimestampMs, TopicId, TopicPartition,
};

use super::*;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread, with no executor at all; none after two minutes.
fn wait_for<T>(future: impl Future<Output = T>) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    let until = Instant::now() + Duration::from_secs(120);
    while Instant::now() < until {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        std::thread::park_timeout(until - Instant::now());
    }
    None
}

fn clicks(partition: i32) -> TopicPartition {
    TopicPartition::new("clicks", PartitionIndex(partition))
}

const TOPIC_ID: TopicId = TopicId([7; 16]);

/// A batch of ten records, from a producer if one is given: (producer id, first sequence).
fn batch(producer: Option<(i64, i32)>) -> Bytes {
    batch_of(100, producer)
}

fn batch_of(value_bytes: usize, producer: Option<(i64, i32)>) -> Bytes {
    let mut builder = RecordBatchBuilder::with_capacity(1024);
    for n in 0..10_u8 {
        builder.append(
            TimestampMs(1000 + i64::from(n)),
            Some(&[n]),
            Some(&vec![n; value_bytes]),
            &[],
        );
    }
    let identity = |id| ProducerIdentity { id: ProducerId(id), epoch: ProducerEpoch(0) };
    let producer = producer.map(|(id, sequence)| (identity(id), SequenceNumber(sequence)));
    let seal = BatchSeal { producer, ..Default::default() };
    builder.seal(&seal, &mut CompressionScratch::new()).unwrap().bytes
}

fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 10_000, index_interval_bytes: 500, ..LogConfig::default() }
}

/// A store that keeps house only when it is told to, however long a test takes or turns its clock.
fn open_with(directory: &Path, change: impl FnOnce(&mut LogStoreConfig)) -> LogStore {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let mut config = LogStoreConfig { log: small_segments(), ..Default::default() };
    (config.upkeep_every, config.retention_check) = (YEAR, YEAR);
    config.cleaner.backoff = YEAR;
    change(&mut config);
    LogStore::open(directory, config).unwrap()
}

fn create(store: &LogStore, partition: i32) -> Arc<Partition> {
    let config = small_segments();
    store.create_partition(&clicks(partition), TOPIC_ID, &config, LeaderEpoch(0)).unwrap()
}

/// A copy of the data directory as it is now: what a crash leaves, the page cache included.
fn crashed(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_directory(directory, copy.path());
    copy
}

fn copy_directory(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_directory(&entry.path(), &target);
        } else if !entry.path().to_string_lossy().ends_with(".tmp") {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The files of a partition whose names end so, by name.
fn files(directory: &Path, partition: i32, suffix: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(directory.join(clicks(partition).to_string()))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    found.sort();
    found
}

/// Appends and waits for the flush.
fn produce(partition: &Arc<Partition>, batch: Bytes) -> AppendOutcome {
    let outcome = partition.append(batch, AppendOrigin::Client).unwrap();
    wait_for(partition.wait_flushed(outcome.last_offset)).expect("never flushed").unwrap();
    outcome
}

/// Reads everything that a consumer sees, from `from` on.
fn consume(partition: &Partition, mut from: Offset) -> Vec<u8> {
    let mut read = Vec::new();
    loop {
        let outcome = partition.read(from, 2000, ReadLimit::HighWatermark).unwrap();
        let Some(last) = batches(&outcome.records).last() else { return read };
        from = last.unwrap().header().next_offset();
        read.extend_from_slice(&outcome.records);
    }
}
