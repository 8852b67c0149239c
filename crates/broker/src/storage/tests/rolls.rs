//! What a roll leaves when the power goes, and in which order it reaches the disk.

use rstest::rstest;
use streamledger_broker_core::log::MarkerEpoch;
use streamledger_protocol::record_batch::{ControlKind, build_control_batch};

use super::*;

/// A store whose partition begins a new segment with its next append, on a disk that can wait.
fn before_a_roll(directory: &Path) -> (LogStore, Arc<Partition>, Arc<DiskFaults>) {
    let faults = Arc::new(DiskFaults::new());
    let store = open_with(directory, |config| config.faults = Some(Arc::clone(&faults)));
    let partition = create(&store, 0);
    let mut sequence = 0;
    while partition.bytes() + batch(None).len() as u64 <= 10_000 {
        produce(&partition, batch(Some((5, sequence))));
        sequence += 10;
    }
    (store, partition, faults)
}

fn retry_of(partition: &Partition) -> Bytes {
    let end = partition.log_end_offset().0;
    batch(Some((5, i32::try_from(end).unwrap())))
}

#[test]
fn failure_38_a_roll_reaches_the_disk_in_the_order_of_the_log_and_holds_up_no_append() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, partition, faults) = before_a_roll(directory.path());
    let closed_end = partition.log_end_offset();
    faults.hold_syncs(true);
    let mut last_offset = closed_end;
    for _ in 0..3 {
        last_offset =
            partition.append(retry_of(&partition), AppendOrigin::Client).unwrap().last_offset;
    }
    assert!(partition.flushed_offset() <= closed_end, "an append waits for no fsync");
    assert!(files(directory.path(), 0, ".snapshot").is_empty(), "it proves what is on disk");
    let known = partition.summary().unwrap();
    assert_eq!(known.log_end_offset(), Offset(0), "what is being flushed is not known yet");
    faults.hold_syncs(false);
    // Another thread's flush does not overtake the one that is going on.
    partition.flush();
    assert!(partition.flushed_offset() > closed_end);
    assert_eq!(files(directory.path(), 0, ".snapshot").len(), 1);
    assert_eq!(partition.summary().unwrap().log_end_offset(), closed_end);
    wait_for(partition.wait_flushed(last_offset)).unwrap().unwrap();
}

#[test]
fn failure_36_a_roll_whose_fsync_fails_proves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (store, partition, faults) = before_a_roll(directory.path());
    faults.fail_syncs(true);
    let appended = partition.append(retry_of(&partition), AppendOrigin::Client).unwrap();
    assert!(wait_for(partition.wait_flushed(appended.last_offset)).unwrap().is_err());
    assert!(store.failure().is_some());
    assert!(files(directory.path(), 0, ".snapshot").is_empty());
}

#[test]
fn failure_35_a_disk_without_room_for_the_snapshot_of_a_roll_stops_no_flush() {
    let directory = tempfile::tempdir().unwrap();
    let (store, partition, faults) = before_a_roll(directory.path());
    faults.hold_syncs(true);
    let appended = partition.append(retry_of(&partition), AppendOrigin::Client).unwrap();
    faults.limit_free_bytes(Some(0));
    faults.hold_syncs(false);
    wait_for(partition.wait_flushed(appended.last_offset)).unwrap().unwrap();
    assert!(store.failure().is_none());
    assert!(files(directory.path(), 0, ".snapshot").is_empty());
    faults.limit_free_bytes(None);
    store.close().unwrap();
    let store = open_with(directory.path(), |_| {});
    assert_eq!(store.partition(&clicks(0)).unwrap().log_end_offset(), appended.last_offset.next());
}

/// What a power cut leaves between a roll and its flush: the new segment is there, and the closed
/// one has lost its last `lost_bytes`.
fn power_cut_at_a_roll(lost_bytes: u64) -> (tempfile::TempDir, Offset) {
    let directory = tempfile::tempdir().unwrap();
    let (_store, partition, _) = before_a_roll(directory.path());
    partition.append(retry_of(&partition), AppendOrigin::Client).unwrap();
    let crashed = crashed(directory.path());
    // The flush may have been done meanwhile: not so before a power cut.
    files(crashed.path(), 0, ".snapshot").iter().for_each(|path| fs::remove_file(path).unwrap());
    for half in 0..2 {
        fs::remove_file(crashed.path().join(format!("flush-journal-{half}"))).unwrap();
    }
    let closed = files(crashed.path(), 0, ".log").remove(0);
    let kept = fs::metadata(&closed).unwrap().len() - lost_bytes;
    fs::OpenOptions::new().write(true).open(&closed).unwrap().set_len(kept).unwrap();
    (crashed, Offset(partition.log_end_offset().0 - 20))
}

#[test]
fn failure_38_a_closed_segment_that_lost_its_unflushed_end_ends_the_log_and_the_retry_goes_on() {
    for lost_bytes in [9, batch(Some((5, 0))).len() as u64] {
        let (crashed, end) = power_cut_at_a_roll(lost_bytes);
        let store = open_with(crashed.path(), |_| {});
        assert!(store.offline_partitions().is_empty(), "{:?}", store.offline_partitions());
        let partition = store.partition(&clicks(0)).unwrap();
        assert_eq!(partition.log_end_offset(), end);
        assert_eq!(files(crashed.path(), 0, ".log").len(), 1);
        for _ in 0..3 {
            assert!(!produce(&partition, retry_of(&partition)).duplicate);
        }
        store.close().unwrap();
        let store = open_with(crashed.path(), |_| {});
        let partition = store.partition(&clicks(0)).unwrap();
        assert_eq!(batches(&consume(&partition, Offset(0))).count() as i64 * 10, end.0 + 30);
    }
}

#[test]
fn failure_33_a_closed_segment_that_lost_its_flushed_end_keeps_the_partition_offline() {
    for lost_bytes in [9, batch(Some((5, 0))).len() as u64] {
        let directory = tempfile::tempdir().unwrap();
        let (_store, partition, _) = before_a_roll(directory.path());
        produce(&partition, retry_of(&partition));
        let crashed = crashed(directory.path());
        let closed = files(crashed.path(), 0, ".log").remove(0);
        let kept = fs::metadata(&closed).unwrap().len() - lost_bytes;
        fs::OpenOptions::new().write(true).open(&closed).unwrap().set_len(kept).unwrap();
        let store = open_with(crashed.path(), |_| {});
        let offline = store.offline_partitions();
        assert_eq!(offline.len(), 1);
        assert!(offline[0].1.to_string().contains("had been flushed"), "{}", offline[0].1);
        assert_eq!(files(crashed.path(), 0, ".log").len(), 2, "nothing was cut");
    }
}

#[test]
fn failure_33_a_recovered_log_is_known_to_be_on_disk_from_then_on() {
    let (crashed, _) = power_cut_at_a_roll(0);
    drop(open_with(crashed.path(), |_| {}));
    fs::remove_file(crashed.path().join("manifest")).unwrap();
    let closed = files(crashed.path(), 0, ".log").remove(0);
    let kept = fs::metadata(&closed).unwrap().len() - 9;
    fs::OpenOptions::new().write(true).open(&closed).unwrap().set_len(kept).unwrap();
    let store = open_with(crashed.path(), |_| {});
    assert_eq!(store.offline_partitions().len(), 1, "what it showed to consumers is not cut");
}

/// A batch of a transaction, from producer 9.
fn in_transaction(sequence: i32) -> Bytes {
    let mut builder = RecordBatchBuilder::with_capacity(1024);
    builder.append(TimestampMs(1000), None, Some(b"aborted later"), &[]);
    let producer = Some((transactional(), SequenceNumber(sequence)));
    let seal = BatchSeal { producer, transactional: true, ..Default::default() };
    builder.seal(&seal, &mut CompressionScratch::new()).unwrap().bytes
}

fn transactional() -> ProducerIdentity {
    ProducerIdentity { id: ProducerId(9), epoch: ProducerEpoch(0) }
}

/// Writes a transaction and aborts it.
fn abort_one(partition: &Arc<Partition>, sequence: i32) {
    let guard = Some(partition.transaction_guard(transactional().id).unwrap());
    let admission = Admission { guard, owner: None };
    partition.append_admitted(in_transaction(sequence), AppendOrigin::Client, admission).unwrap();
    let abort = build_control_batch(ControlKind::Abort, transactional(), 0, TimestampMs(1000));
    let marker = partition.append(abort.into(), AppendOrigin::Marker(MarkerEpoch::Same)).unwrap();
    wait_for(partition.wait_flushed(marker.last_offset)).unwrap().unwrap();
}

/// Who reads what is committed is told of the aborted transaction.
fn assert_knows_the_aborted(store: &LogStore) {
    assert_eq!(store.offline_partitions(), []);
    let partition = store.partition(&clicks(0)).unwrap();
    let read = partition.read(Offset(0), 1 << 20, ReadLimit::LastStable).unwrap();
    let aborted: Vec<_> = read.aborted.iter().map(|one| one.producer_id).collect();
    assert_eq!(aborted, [transactional().id]);
}

/// Without it a reader of what is committed would be shown what was aborted.
#[rstest]
fn failure_34_a_lost_index_of_aborted_transactions_is_noticed_and_rebuilt(
    #[values(true, false)] after_a_clean_stop: bool,
) {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    for round in 0..2 {
        abort_one(&partition, round);
        for n in 0..20 {
            produce(&partition, batch(Some((5, round * 200 + n * 10))));
        }
    }
    partition.shared.write_manifest(disk::Durability::Atomic).unwrap();
    let crashed = crashed(directory.path());
    drop(partition);
    store.close().unwrap();
    let path = if after_a_clean_stop { directory.path() } else { crashed.path() };
    let indexes = files(path, 0, ".txnindex");
    assert_eq!(indexes.len(), 2);
    fs::remove_file(&indexes[0]).unwrap();
    let store = open_with(path, |_| {});
    let partition = store.partition(&clicks(0)).unwrap();
    let (mut from, mut aborted) = (Offset(0), Vec::new());
    while from < partition.last_stable_offset() {
        let read = partition.read(from, 2000, ReadLimit::LastStable).unwrap();
        aborted.extend(read.aborted.iter().map(|one| one.first_offset.0));
        from = batches(&read.records).last().unwrap().unwrap().header().next_offset();
    }
    aborted.dedup();
    assert_eq!(aborted.len(), 2, "{aborted:?}");
}

#[test]
fn failure_35_aborted_transactions_are_known_after_a_start_on_a_full_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    abort_one(&partition, 0);
    for n in 0..20 {
        produce(&partition, batch(Some((5, n * 10))));
    }
    assert!(files(directory.path(), 0, ".log").len() >= 3);
    let first = crashed(directory.path());
    let lose =
        |copy: &Path| files(copy, 0, ".txnindex").iter().for_each(|f| fs::remove_file(f).unwrap());
    lose(first.path());
    let faults = Arc::new(DiskFaults::new());
    faults.limit_free_bytes(Some(0));
    let store = open_with(first.path(), |config| config.faults = Some(Arc::clone(&faults)));
    assert_knows_the_aborted(&store);
    // Nor are they lost by another crash: nothing on disk says that there are none.
    let second = crashed(first.path());
    assert_knows_the_aborted(&open_with(second.path(), |_| {}));
    // With room they are written, and a clean stop keeps them.
    faults.limit_free_bytes(None);
    let partition = store.partition(&clicks(0)).unwrap();
    produce(&partition, batch(Some((5, 200))));
    assert_eq!(files(first.path(), 0, ".txnindex").len(), 1);
    drop(partition);
    store.close().unwrap();
    assert_knows_the_aborted(&open_with(first.path(), |_| {}));
}

/// The fsyncs of a roll and the append after it, in a segment with an aborted transaction or not.
fn fsyncs_of_a_roll(with_aborted: bool) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(DiskFaults::new());
    let store = open_with(directory.path(), |config| config.faults = Some(Arc::clone(&faults)));
    let partition = create(&store, 0);
    if with_aborted {
        abort_one(&partition, 0);
    }
    let mut sequence = 0;
    loop {
        let before = faults.sync_count();
        produce(&partition, batch(Some((5, sequence))));
        sequence += 10;
        if files(directory.path(), 0, ".log").len() == 2 {
            assert_eq!(files(directory.path(), 0, ".txnindex").len(), usize::from(with_aborted));
            return faults.sync_count() - before;
        }
    }
}

#[test]
fn failure_38_aborted_transactions_are_on_disk_before_their_segment_is_known() {
    assert_eq!(fsyncs_of_a_roll(true), fsyncs_of_a_roll(false) + 1);
}
