//! Compaction of real files: beside readers and producers, and with a crash at each of its flushes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use streamledger_broker_core::log::CleanupPolicy;
use streamledger_protocol::compression::Decompressor;

use super::*;
use crate::storage::compaction::Cleaner;
use crate::storage::partition::LogState;

fn compacted() -> LogConfig {
    LogConfig { cleanup: CleanupPolicy::Compact, dirty_ratio_ppm_min: 0, ..small_segments() }
}

/// A store that compacts only when it is told to.
fn open_compacting(directory: &Path, change: impl FnOnce(&mut LogStoreConfig)) -> LogStore {
    open_with(directory, |config| {
        config.cleaner.enabled = false;
        change(config);
    })
}

fn create_compacted(store: &LogStore) -> Arc<Partition> {
    store.create_partition(&clicks(0), TOPIC_ID, &compacted(), LeaderEpoch(0)).unwrap()
}

fn keyed(keys: &[u32], value: u32) -> Bytes {
    let mut builder = RecordBatchBuilder::with_capacity(1024);
    for key in keys {
        let bytes = [value.to_be_bytes(); 30].concat();
        builder.append(TimestampMs(1000), Some(&key.to_be_bytes()), Some(&bytes), &[]);
    }
    let seal = BatchSeal::default();
    builder.seal(&seal, &mut CompressionScratch::new()).unwrap().bytes
}

fn compact(partition: &Partition) {
    let config = CleanerConfig { step_bytes: 3000, ..Default::default() };
    let now = TimestampMs(1_000_000_000_000);
    Cleaner::default().compact_all(&partition.shared, &config, now);
}

/// The last value of each key, and how many records there are.
fn view(partition: &Partition) -> (BTreeMap<u32, u32>, usize) {
    let mut decompressor = Decompressor::default();
    let (mut view, mut count) = (BTreeMap::new(), 0);
    for batch in batches(&consume(partition, partition.log_start_offset())) {
        for record in batch.unwrap().records(&mut decompressor).unwrap() {
            let record = record.unwrap();
            let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap());
            view.insert(number(record.key.unwrap()), number(record.value.unwrap()));
            count += 1;
        }
    }
    (view, count)
}

/// Fills a log with batches over few keys; gives the last value of each.
fn fill(partition: &Arc<Partition>, count: u32) -> BTreeMap<u32, u32> {
    let mut wanted = BTreeMap::new();
    for n in 0..count {
        let keys = [n % 7, n % 31, 1000 + n % 2];
        wanted.extend(keys.map(|key| (key, n)));
        partition.append(keyed(&keys, n), AppendOrigin::Client).unwrap();
    }
    let last = partition.log_end_offset() - 1;
    wait_for(partition.wait_flushed(last)).expect("never flushed").unwrap();
    wanted
}

#[test]
fn the_latest_of_each_key_is_what_a_reader_and_a_restart_find() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_compacting(directory.path(), |_| {});
    let partition = create_compacted(&store);
    let wanted = fill(&partition, 300);
    let (bytes, segments) = (partition.bytes(), files(directory.path(), 0, ".log").len());
    compact(&partition);
    let (found, count) = view(&partition);
    assert_eq!(found, wanted);
    assert!(count < 130, "{count} records of 900");
    assert!(partition.bytes() < bytes / 3);
    assert!(files(directory.path(), 0, "cleaned").is_empty());
    assert!(files(directory.path(), 0, "swap").is_empty());
    // What is small now becomes one with its neighbours.
    assert_eq!(fill(&partition, 300), wanted);
    compact(&partition);
    assert!(files(directory.path(), 0, ".log").len() < segments + 3);
    // From any offset the next record there is comes.
    let end = partition.log_end_offset();
    for from in (0..end.0).step_by(7) {
        let read = partition.read(Offset(from), 2000, ReadLimit::HighWatermark).unwrap();
        let first = batches(&read.records).next().unwrap().unwrap();
        assert!(first.header().last_offset() >= Offset(from));
    }
    for clean in [true, false] {
        let copy = if clean { None } else { Some(crashed(directory.path())) };
        let path = copy.as_ref().map_or(directory.path(), |copy| copy.path());
        if clean {
            store.close().unwrap();
        }
        let again = open_compacting(path, |_| {});
        assert_eq!(again.offline_partitions(), []);
        let partition = again.partition(&clicks(0)).unwrap();
        partition.reconfigure(&compacted());
        assert_eq!((view(&partition).0, partition.log_end_offset()), (wanted.clone(), end));
        compact(&partition);
        assert_eq!(view(&partition).0, wanted);
        again.close().unwrap();
    }
}

#[test]
fn failure_47_a_crash_at_each_flush_of_a_compaction_loses_nothing() {
    for syncs in 0..40 {
        let directory = tempfile::tempdir().unwrap();
        let faults = Arc::new(DiskFaults::new());
        let store = open_compacting(directory.path(), |config| {
            config.faults = Some(Arc::clone(&faults));
        });
        let partition = create_compacted(&store);
        let wanted = fill(&partition, 60);
        faults.fail_syncs_after(Some(syncs));
        compact(&partition);
        let died = store.failure().is_some();
        let copy = crashed(directory.path());
        let again = open_compacting(copy.path(), |_| {});
        assert_eq!(again.offline_partitions(), [], "after {syncs} flushes");
        let partition = again.partition(&clicks(0)).unwrap();
        assert_eq!(view(&partition).0, wanted, "after {syncs} flushes");
        assert!(files(copy.path(), 0, "cleaned").is_empty());
        assert!(files(copy.path(), 0, "swap").is_empty());
        partition.reconfigure(&compacted());
        compact(&partition);
        assert_eq!(view(&partition).0, wanted, "compacted after {syncs} flushes");
        if !died {
            assert!(syncs >= 7, "a swap has seven flushes");
            return;
        }
    }
    panic!("a compaction without end");
}

#[test]
fn a_swap_that_a_clean_stop_comes_into_is_finished_by_it() {
    let mut swaps = 0;
    for syncs in 0..9 {
        let directory = tempfile::tempdir().unwrap();
        let faults = Arc::new(DiskFaults::new());
        let store = open_compacting(directory.path(), |config| {
            config.faults = Some(Arc::clone(&faults));
        });
        let partition = create_compacted(&store);
        let wanted = fill(&partition, 60);
        faults.freeze_after(syncs);
        std::thread::scope(|scope| {
            let compaction = scope.spawn(|| compact(&partition));
            let until = Instant::now() + Duration::from_secs(60);
            while !faults.is_frozen() {
                assert!(Instant::now() < until, "a compaction has at least nine flushes");
                std::thread::yield_now();
            }
            partition.shared.begin_to_close();
            faults.thaw();
            compaction.join().unwrap();
        });
        swaps += partition.shared.counts.segments_replaced.load(Ordering::Relaxed);
        store.close().unwrap();
        assert!(files(directory.path(), 0, "cleaned").is_empty(), "after {syncs} flushes");
        assert!(files(directory.path(), 0, "swap").is_empty(), "after {syncs} flushes");
        let again = open_compacting(directory.path(), |_| {});
        let partition = again.partition(&clicks(0)).unwrap();
        let is_known = matches!(*partition.state.lock(), LogState::Cold(_));
        assert!(is_known, "after {syncs} flushes the start had to walk the log");
        assert_eq!(view(&partition).0, wanted, "after {syncs} flushes");
    }
    assert!(swaps >= 9, "{swaps} segments were replaced in nine compactions");
}

#[test]
fn failure_47_readers_and_producers_go_on_beside_compaction_and_retention() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_compacting(directory.path(), |config| config.flush = FlushPolicy::Os);
    let partition = create_compacted(&store);
    fill(&partition, 300);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 300..900_u32 {
                partition.append(keyed(&[n % 13, n % 50], n), AppendOrigin::Client).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        for number in 0..2 {
            let (partition, done) = (&partition, &done);
            scope.spawn(move || {
                let mut rounds = 0;
                while !done.load(Ordering::Acquire) || rounds < 5 {
                    let mut last = BTreeMap::new();
                    let mut decompressor = Decompressor::default();
                    let limit = 1500 + number * 4000;
                    let mut from = Offset::ZERO;
                    loop {
                        let read = partition.read(from, limit, ReadLimit::HighWatermark).unwrap();
                        let before = from;
                        for batch in batches(&read.records) {
                            let batch = batch.unwrap();
                            batch.verify_crc().unwrap();
                            for record in batch.records(&mut decompressor).unwrap() {
                                let record = record.unwrap();
                                let key = record.key.unwrap().to_vec();
                                let earlier = last.insert(key, record.offset);
                                assert!(earlier < Some(record.offset));
                            }
                            from = batch.header().next_offset();
                        }
                        if from == before {
                            break;
                        }
                    }
                    rounds += 1;
                }
            });
        }
        while !done.load(Ordering::Acquire) {
            compact(&partition);
        }
    });
    // Under this policy a closed segment is flushed in its time, and compacted after that.
    partition.flush();
    compact(&partition);
    let (found, count) = view(&partition);
    assert!(found[&(899 % 50)] == 899 && count < 300, "{count}");
    assert!(partition.shared.counts.segments_replaced.load(Ordering::Relaxed) > 10);
}

#[test]
fn a_damaged_log_is_given_up_and_the_next_one_is_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_compacting(directory.path(), |_| {});
    let damaged = create_compacted(&store);
    fill(&damaged, 300);
    let config = compacted();
    let good = store.create_partition(&clicks(1), TOPIC_ID, &config, LeaderEpoch(0)).unwrap();
    fill(&good, 300);
    let first = files(directory.path(), 0, ".log").remove(0);
    let mut bytes = fs::read(&first).unwrap();
    bytes[500] ^= 1;
    fs::write(&first, &bytes).unwrap();
    compact(&good);
    compact(&good);
    let counts = &good.shared.counts;
    assert_eq!(counts.logs_given_up.load(Ordering::Relaxed), 1);
    assert_eq!(fs::read(&first).unwrap(), bytes, "what is damaged is left as it is");
    assert!(view(&good).1 < 130);
    assert!(files(directory.path(), 0, "cleaned").is_empty());
}

#[test]
fn the_thread_compacts_by_itself_and_stops_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |config| {
        config.cleaner.backoff = Duration::from_millis(20);
        // A round takes an hour at this pace.
        config.cleaner.bytes_per_second = Some(40);
    });
    let partition = create_compacted(&store);
    let wanted = fill(&partition, 300);
    let until = Instant::now() + Duration::from_secs(60);
    let counts = &partition.shared.counts;
    while counts.cleaner_read.load(Ordering::Relaxed) == 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(counts.cleaner_read.load(Ordering::Relaxed) > 0);
    let began = Instant::now();
    store.close().unwrap();
    assert!(began.elapsed() < Duration::from_secs(600));
    let store = open_with(directory.path(), |config| {
        config.cleaner.backoff = Duration::from_millis(20);
    });
    let partition = store.partition(&clicks(0)).unwrap();
    partition.reconfigure(&compacted());
    let until = Instant::now() + Duration::from_secs(60);
    while view(&partition).1 > 130 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(view(&partition).0, wanted);
}
