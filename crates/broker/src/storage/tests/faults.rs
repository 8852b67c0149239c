//! A disk that is full, slow, frozen, or lies.

use std::sync::atomic::{AtomicBool, Ordering};

use streamledger_protocol::ErrorCode;

use super::*;

fn faulty(directory: &Path) -> (LogStore, Arc<DiskFaults>) {
    let faults = Arc::new(DiskFaults::new());
    let store = open_with(directory, |config| config.faults = Some(Arc::clone(&faults)));
    (store, faults)
}

#[test]
fn failure_35_on_a_full_disk_nothing_partial_is_seen_reads_go_on_and_it_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let (store, faults) = faulty(directory.path());
    let partition = create(&store, 0);
    for n in 0..3 {
        produce(&partition, batch(Some((5, n * 10))));
    }
    let before = consume(&partition, Offset(0));
    // Room for a part of a batch, then for none.
    for free_bytes in [700, 0] {
        faults.limit_free_bytes(Some(free_bytes));
        let refused = partition.append(batch(Some((5, 30))), AppendOrigin::Client).unwrap_err();
        assert_eq!(refused.error_code(), ErrorCode::KafkaStorageError);
        assert!(refused.error_code().is_retriable());
        assert_eq!(partition.log_end_offset(), Offset(30));
        assert_eq!(consume(&partition, Offset(0)), before);
        let log = files(directory.path(), 0, ".log").pop().unwrap();
        assert_eq!(fs::metadata(log).unwrap().len(), before.len() as u64);
    }
    assert!(store.failure().is_none(), "a full disk is no broken disk");
    faults.limit_free_bytes(None);
    assert_eq!(produce(&partition, batch(Some((5, 30)))).base_offset, Offset(30));
}

#[test]
fn failure_35_a_log_that_is_recovered_on_a_full_disk_is_read_and_goes_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    for n in 0..30 {
        produce(&partition, batch(Some((5, n * 10))));
    }
    let before = consume(&partition, Offset(0));
    let crashed = crashed(directory.path());
    fs::remove_file(crashed.path().join("clicks-0/leader-epoch-checkpoint")).unwrap();
    let faults = Arc::new(DiskFaults::new());
    faults.limit_free_bytes(Some(0));
    let store = open_with(crashed.path(), |config| config.faults = Some(Arc::clone(&faults)));
    assert_eq!(store.offline_partitions(), []);
    let partition = store.partition(&clicks(0)).unwrap();
    partition.reconfigure(&small_segments());
    assert_eq!(consume(&partition, Offset(0)), before);
    assert!(partition.append(batch(Some((5, 300))), AppendOrigin::Client).is_err());
    faults.limit_free_bytes(None);
    assert_eq!(produce(&partition, batch(Some((5, 300)))).base_offset, Offset(300));
    assert!(crashed.path().join("clicks-0/leader-epoch-checkpoint").exists());
    store.close().unwrap();
    let store = open_with(crashed.path(), |_| {});
    assert_eq!(store.partition(&clicks(0)).unwrap().log_end_offset(), Offset(310));
}

#[test]
fn failure_35_a_roll_on_a_full_disk_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (store, faults) = faulty(directory.path());
    let partition = create(&store, 0);
    while partition.bytes() + batch(None).len() as u64 <= 10_000 {
        produce(&partition, batch(None));
    }
    let end = partition.log_end_offset();
    faults.limit_free_bytes(Some(10));
    for _ in 0..3 {
        assert!(partition.append(batch(None), AppendOrigin::Client).is_err());
    }
    faults.limit_free_bytes(None);
    assert_eq!(produce(&partition, batch(None)).base_offset, end);
    assert_eq!(files(directory.path(), 0, ".log").len(), 2);
    store.close().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = store.partition(&clicks(0)).unwrap();
    assert_eq!(batches(&consume(&partition, Offset(0))).count() as i64 * 10, end.0 + 10);
}

#[test]
fn failure_36_a_failed_fsync_takes_the_directory_offline_and_is_never_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, faults) = faulty(directory.path());
    let (first, second) = (create(&store, 0), create(&store, 1));
    produce(&first, batch(None));
    produce(&second, batch(None));
    let long_poll = second.wait_for_data(Offset(10), ReadLimit::HighWatermark);
    faults.fail_syncs(true);
    let outcome = first.append(batch(None), AppendOrigin::Client).unwrap();
    let offline = wait_for(first.wait_flushed(outcome.last_offset)).unwrap().unwrap_err();
    assert_eq!(offline.error_code(), ErrorCode::KafkaStorageError);
    assert!(wait_for(long_poll).unwrap().is_err(), "every waiter of the directory is told");
    assert!(store.failure().unwrap().contains("fsync"));
    assert_eq!(first.high_watermark(), Offset(10), "never acked, never seen");
    faults.fail_syncs(false);
    let syncs = faults.sync_count();
    for partition in [&first, &second] {
        let refused = partition.append(batch(None), AppendOrigin::Client).unwrap_err();
        assert_eq!(refused.error_code(), ErrorCode::KafkaStorageError);
        assert!(partition.read(Offset(0), 100, ReadLimit::HighWatermark).is_err());
    }
    assert!(store.close().is_err());
    assert_eq!(faults.sync_count(), syncs);
    let store = open_with(directory.path(), |_| {});
    let recovered = store.partition(&clicks(0)).unwrap();
    assert!(recovered.log_end_offset() >= Offset(10));
}

#[test]
fn failure_37_a_slow_fsync_costs_latency_and_many_appends_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, faults) = faulty(directory.path());
    let partition = create(&store, 0);
    produce(&partition, batch(None));
    let before = faults.sync_count();
    // For as long as the appends take.
    faults.hold_syncs(true);
    let appended: Vec<_> = (0..200)
        .map(|_| partition.append(batch(None), AppendOrigin::Client).unwrap().last_offset)
        .collect();
    assert!(partition.flushed_offset() < partition.log_end_offset(), "not before the fsync");
    faults.hold_syncs(false);
    for last_offset in &appended {
        wait_for(partition.wait_flushed(*last_offset)).unwrap().unwrap();
    }
    let syncs = faults.sync_count() - before;
    println!("200 appends, {syncs} fsyncs");
    assert!(syncs < 50, "{syncs} fsyncs for 200 appends");
    assert_eq!(consume(&partition, Offset(0)).len(), 201 * batch(None).len());
}

#[test]
fn short_writes_and_interrupted_ones_are_finished() {
    let directory = tempfile::tempdir().unwrap();
    let (store, faults) = faulty(directory.path());
    let partition = create(&store, 0);
    for bytes in [1, 7, 61, 500] {
        faults.shorten_writes(Some(bytes));
        produce(&partition, batch(None));
    }
    faults.shorten_writes(None);
    for batch in batches(&consume(&partition, Offset(0))) {
        batch.unwrap().verify_crc().unwrap();
    }
    assert_eq!(partition.high_watermark(), Offset(40));
}

#[test]
fn a_frozen_disk_stops_appends_and_not_readers_and_goes_on_when_it_thaws() {
    let directory = tempfile::tempdir().unwrap();
    let (store, faults) = faulty(directory.path());
    let partition = create(&store, 0);
    produce(&partition, batch(None));
    faults.freeze();
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (partition, done) = (Arc::clone(&partition), Arc::clone(&done));
        std::thread::spawn(move || {
            let outcome = produce(&partition, batch(None));
            done.store(true, Ordering::Release);
            outcome
        })
    };
    std::thread::sleep(Duration::from_millis(50));
    assert!(!done.load(Ordering::Acquire));
    assert_eq!(partition.high_watermark(), Offset(10));
    faults.thaw();
    assert_eq!(writer.join().unwrap().base_offset, Offset(10));
}

#[test]
fn the_other_policies_answer_at_once_and_flush_in_their_time() {
    for (flush, flushes) in
        [(FlushPolicy::Interval(Duration::from_millis(20)), true), (FlushPolicy::Os, false)]
    {
        let directory = tempfile::tempdir().unwrap();
        let faults = Arc::new(DiskFaults::new());
        let store = open_with(directory.path(), |config| {
            config.flush = flush;
            config.faults = Some(Arc::clone(&faults));
        });
        let partition = create(&store, 0);
        let before = faults.sync_count();
        let outcome = produce(&partition, batch(None));
        assert_eq!(partition.high_watermark(), outcome.last_offset.next(), "seen once written");
        let until = Instant::now() + Duration::from_millis(if flushes { 60_000 } else { 200 });
        while faults.sync_count() == before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(faults.sync_count() > before, flushes, "{flush}");
        store.close().unwrap();
        assert!(faults.sync_count() > before, "a clean stop flushes under any policy");
    }
}
