//! Logs that settle, are put down, lose their old segments, and keep what was deleted deleted.

use super::partition::LogState;
use super::*;

const HOUR_MS: i64 = 3_600_000;
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_log_that_settled_needs_no_walk_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let (idle, busy) = (create(&store, 0), create(&store, 1));
    for n in 0..20 {
        produce(&idle, batch(Some((5, n * 10))));
        produce(&busy, batch(None));
    }
    let shared = &idle.shared;
    shared.clock.advance(60_000);
    housekeeping::settle_idle(shared, shared.clock.now().monotonic);
    shared.write_manifest(disk::Durability::Atomic).unwrap();
    produce(&busy, batch(None));
    let crashed = crashed(directory.path());
    let again = open_with(crashed.path(), |_| {});
    let state = |partition| {
        let partition = again.partition(&clicks(partition)).unwrap();
        matches!(*partition.state.lock(), LogState::Cold(_))
    };
    assert_eq!((state(0), state(1)), (true, false));
    for (partition, end) in [(0, 200), (1, 210)] {
        let partition = again.partition(&clicks(partition)).unwrap();
        assert_eq!(partition.log_end_offset(), Offset(end));
        assert_eq!(batches(&consume(&partition, Offset(0))).count() as i64 * 10, end);
    }
    assert!(produce(&again.partition(&clicks(0)).unwrap(), batch(Some((5, 190)))).duplicate);
    // Unused for longer it is put down, and comes back when it is asked.
    shared.clock.advance(HOUR_MS);
    housekeeping::settle_idle(shared, shared.clock.now().monotonic);
    assert!(matches!(*idle.state.lock(), LogState::Cold(_)));
    assert_eq!(produce(&idle, batch(Some((5, 200)))).base_offset, Offset(200));
}

#[test]
fn retention_removes_nothing_before_the_logs_have_their_own_configurations() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    produce(&create(&store, 0), batch(None));
    for is_begun in [false, true] {
        // Records of 1970 in a log that is found, and has the default of seven days.
        let found = crashed(directory.path());
        let store = open_with(found.path(), |config| {
            config.log = LogConfig::default();
            config.upkeep_every = Duration::from_millis(10);
        });
        let partition = store.partition(&clicks(0)).unwrap();
        if is_begun {
            store.begin_retention();
        }
        for _ in 0..if is_begun { 6000 } else { 50 } {
            if partition.log_start_offset() > Offset(0) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(partition.log_start_offset(), Offset(if is_begun { 10 } else { 0 }));
    }
}

#[test]
fn failure_38_a_segment_that_retention_began_is_flushed_before_its_log_is_put_down() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    produce(&partition, batch(None));
    let shared = &partition.shared;
    shared.clock.advance(60_000);
    housekeeping::settle_idle(shared, shared.clock.now().monotonic);
    partition.reconfigure(&LogConfig { retention_ms: Some(1000), ..small_segments() });
    let monotonic = shared.clock.now().monotonic;
    housekeeping::retain(shared, TimestampMs(1000 + HOUR_MS), monotonic);
    assert_eq!(partition.log_start_offset(), Offset(10));
    shared.clock.advance(HOUR_MS);
    for _ in 0..2 {
        let has_new_names = match &*partition.state.lock() {
            LogState::Open(open) => open.directory_unsynced,
            LogState::Cold(_) | LogState::Gone(_) => false,
        };
        housekeeping::settle_idle(shared, shared.clock.now().monotonic);
        let is_put_down = matches!(*partition.state.lock(), LogState::Cold(_));
        assert!(!(has_new_names && is_put_down), "put down with a name that nobody flushed");
    }
    assert!(matches!(*partition.state.lock(), LogState::Cold(_)));
}

#[test]
fn only_the_last_snapshot_beside_those_of_the_segments_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    for n in 0..30 {
        produce(&partition, batch(Some((5, n * 10))));
        let shared = &partition.shared;
        shared.clock.advance(60_000);
        housekeeping::settle_idle(shared, shared.clock.now().monotonic);
    }
    let segments = files(directory.path(), 0, ".log").len();
    let snapshots = files(directory.path(), 0, ".snapshot").len();
    assert!(snapshots <= segments + 1, "{snapshots} snapshots of {segments} segments");
}

#[test]
fn records_that_were_deleted_stay_deleted_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    for _ in 0..30 {
        produce(&partition, batch(None));
    }
    assert_eq!(partition.delete_records_before(Offset(155)).unwrap(), Offset(155));
    assert!(partition.delete_records_before(Offset(301)).is_err());
    let crashed_at_once = crashed(directory.path());
    let again = open_with(crashed_at_once.path(), |_| {});
    let partition = again.partition(&clicks(0)).unwrap();
    assert_eq!(
        (partition.log_start_offset(), partition.log_end_offset()),
        (Offset(155), Offset(300))
    );
    let shared = &partition.shared;
    housekeeping::retain(shared, TimestampMs(0), shared.clock.now().monotonic);
    let first = files(crashed_at_once.path(), 0, ".log").remove(0);
    assert!(!first.ends_with("00000000000000000000.log"));
    assert_eq!(partition.log_start_offset(), Offset(155));
}

#[test]
fn old_segments_go_whole_with_all_their_files() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    for _ in 0..40 {
        produce(&partition, batch(None));
    }
    let segments = files(directory.path(), 0, ".log").len();
    partition.reconfigure(&LogConfig { retention_ms: Some(1000), ..small_segments() });
    let shared = &partition.shared;
    let monotonic = shared.clock.now().monotonic;
    housekeeping::retain(shared, TimestampMs(1500), monotonic);
    assert_eq!(files(directory.path(), 0, ".log").len(), segments);
    housekeeping::retain(shared, TimestampMs(1000 + HOUR_MS), monotonic);
    assert_eq!(files(directory.path(), 0, ".log").len(), 1);
    assert!(files(directory.path(), 0, "index").is_empty());
    assert_eq!(partition.log_start_offset(), Offset(400));
    assert_eq!(produce(&partition, batch(None)).base_offset, Offset(400));
    store.close().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = store.partition(&clicks(0)).unwrap();
    assert_eq!(
        (partition.log_start_offset(), partition.log_end_offset()),
        (Offset(400), Offset(410))
    );
}

/// Retention closes the active segment when all of it is too old, and takes it at once: what it
/// said of producers is in the snapshot that is written before it goes.
#[test]
fn failure_47_producers_outlive_the_last_of_their_records_and_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    produce(&partition, batch(Some((5, 0))));
    partition.reconfigure(&LogConfig { retention_ms: Some(1000), ..small_segments() });
    let shared = &partition.shared;
    housekeeping::retain(shared, TimestampMs(1000 + HOUR_MS), shared.clock.now().monotonic);
    assert_eq!(partition.log_start_offset(), Offset(10));
    let crashed = crashed(directory.path());
    let again = open_with(crashed.path(), |_| {});
    let partition = again.partition(&clicks(0)).unwrap();
    assert!(produce(&partition, batch(Some((5, 0)))).duplicate);
    assert_eq!(produce(&partition, batch(Some((5, 10)))).base_offset, Offset(10));
}

#[test]
fn flush_ms_goes_from_when_a_log_has_it_and_not_from_the_next_round_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |config| {
        config.flush = FlushPolicy::Os;
        // No round of its own comes while this runs.
        (config.upkeep_every, config.retention_check) = (HOUR, HOUR);
    });
    let is_flushed = |partition: &Arc<Partition>| {
        produce(partition, batch(None));
        let end = partition.log_end_offset();
        (0..6000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            partition.flushed_offset() >= end
        })
    };
    // The thread waits now for what it knows of: nothing.
    std::thread::sleep(Duration::from_millis(100));
    let with_flush_ms = LogConfig { flush_ms: Some(20), ..small_segments() };
    let created = store.create_partition(&clicks(0), TOPIC_ID, &with_flush_ms, LeaderEpoch(0));
    let created = created.unwrap();
    assert!(is_flushed(&created), "a partition created with flush.ms");
    created.reconfigure(&small_segments());
    store.reconfigured();
    std::thread::sleep(Duration::from_millis(100));
    let changed = create(&store, 1);
    changed.reconfigure(&with_flush_ms);
    store.reconfigured();
    assert!(is_flushed(&changed), "a partition that was given flush.ms");
}
