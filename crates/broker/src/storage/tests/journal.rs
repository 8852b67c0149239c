//! Flushes through the journal, and what a start makes of it.

use super::*;

/// Loses what the page cache has of a partition's active segment past `kept` bytes: zeros, as a
/// file has where it was lengthened and not written.
fn lose_behind(directory: &Path, partition: i32, kept: u64) {
    let path = files(directory, partition, ".log").pop().unwrap();
    let bytes = fs::metadata(&path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(kept).unwrap();
    file.set_len(bytes).unwrap();
}

fn active_bytes(directory: &Path, partition: i32) -> u64 {
    fs::metadata(files(directory, partition, ".log").pop().unwrap()).unwrap().len()
}

fn large_segments(config: &mut LogStoreConfig) {
    config.log = LogConfig::default();
}

/// A store with two partitions whose first appends were flushed in their segments, names and all.
fn two_partitions(directory: &Path) -> (LogStore, [Arc<Partition>; 2]) {
    let store = open_with(directory, large_segments);
    let made = [0, 1].map(|partition| {
        let config = LogConfig::default();
        store.create_partition(&clicks(partition), TOPIC_ID, &config, LeaderEpoch(0)).unwrap()
    });
    for partition in &made {
        produce(partition, batch(None));
    }
    (store, made)
}

#[test]
fn what_was_acknowledged_is_there_although_no_segment_was_flushed() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, partitions) = two_partitions(directory.path());
    let flushed = [0, 1].map(|n| active_bytes(directory.path(), n));
    for n in 0..40 {
        let producer = Some((5 + n % 2, i32::try_from(n / 2 * 10).unwrap()));
        produce(&partitions[usize::try_from(n % 2).unwrap()], batch(producer));
    }
    let before = [0, 1].map(|n| consume(&partitions[n], Offset(0)));
    for lost in [[0], [1]].iter().map(|l| l.as_slice()).chain([[0, 1].as_slice()]) {
        let crashed = crashed(directory.path());
        for n in lost {
            lose_behind(crashed.path(), *n, flushed[usize::try_from(*n).unwrap()]);
        }
        let store = open_with(crashed.path(), large_segments);
        assert_eq!(store.offline_partitions(), []);
        for n in [0, 1] {
            let partition = store.partition(&clicks(n)).unwrap();
            assert_eq!(consume(&partition, Offset(0)), before[usize::try_from(n).unwrap()]);
            let again = produce(&partition, batch(Some((5 + i64::from(n), 190))));
            assert_eq!(again.base_offset, Offset(200), "the last batch is known as a duplicate");
        }
        store.close().unwrap();
        assert_eq!(journal_files(crashed.path()), 0, "a clean stop leaves none");
        let store = open_with(crashed.path(), large_segments);
        assert_eq!(store.partition(&clicks(0)).unwrap().log_end_offset(), Offset(210));
    }
}

fn journal_files(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("flush-journal")).count()
}

#[test]
fn a_store_that_is_only_opened_or_rarely_written_to_has_no_large_files() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    assert_eq!(journal_files(directory.path()), 0);
    for _ in 0..3 {
        produce(&partition, batch(None));
    }
    let bytes = |half| fs::metadata(directory.path().join(format!("flush-journal-{half}")));
    assert_eq!(bytes(0).unwrap().len(), 1 << 20);
    assert_eq!(bytes(1).unwrap().len(), 0);
}

#[test]
fn a_journal_of_a_topic_that_was_made_again_is_not_written_into_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, partitions) = two_partitions(directory.path());
    for _ in 0..5 {
        produce(&partitions[0], batch_of(200, None));
    }
    store.delete_partition(&clicks(0)).unwrap();
    let config = LogConfig::default();
    let other_id = TopicId([8; 16]);
    let made = store.create_partition(&clicks(0), other_id, &config, LeaderEpoch(0)).unwrap();
    produce(&made, batch(None));
    let before = consume(&made, Offset(0));
    let crashed = crashed(directory.path());
    let store = open_with(crashed.path(), large_segments);
    let found = store.partition(&clicks(0)).unwrap();
    assert_eq!(consume(&found, Offset(0)), before);
    assert_eq!(store.offline_partitions(), []);
}

#[test]
fn segments_that_were_closed_and_changed_since_are_not_written_over() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    for _ in 0..12 {
        produce(&partition, batch(None));
    }
    let logs = files(directory.path(), 0, ".log");
    assert!(logs.len() > 1, "it has rolled");
    // As if the first had been compacted to nothing but its last batch.
    let crashed = crashed(directory.path());
    let closed = files(crashed.path(), 0, ".log").remove(0);
    let whole = fs::read(&closed).unwrap();
    let changed = vec![7; whole.len()];
    fs::write(&closed, &changed).unwrap();
    drop(open_with(crashed.path(), |_| {}));
    assert_eq!(fs::read(&closed).unwrap(), changed);
    drop(store);
}

#[test]
fn without_a_journal_the_segments_are_flushed() {
    let directory = tempfile::tempdir().unwrap();
    let in_the_way = directory.path().join("flush-journal-0");
    let store = open_with(directory.path(), |_| {});
    fs::create_dir(&in_the_way).unwrap();
    let partition = create(&store, 0);
    for _ in 0..3 {
        produce(&partition, batch(None));
    }
    assert!(store.failure().is_none());
    fs::remove_dir(&in_the_way).unwrap();
    for _ in 0..3 {
        produce(&partition, batch(None));
    }
    assert_eq!(journal_files(directory.path()), 2);
}

#[test]
fn many_turns_lose_nothing_and_the_files_stay_as_large_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let (store, partitions) = two_partitions(directory.path());
    // Two turns of 64 MiB, and a beginning of the third.
    let large = batch_of(20_000, None);
    let mut last = [Offset(0); 2];
    for n in 0..700 {
        let appended = partitions[n % 2].append(large.clone(), AppendOrigin::Client).unwrap();
        last[n % 2] = appended.last_offset;
        if n % 2 == 1 {
            for (partition, last) in partitions.iter().zip(last) {
                wait_for(partition.wait_flushed(last)).unwrap().unwrap();
            }
        }
    }
    for half in ["flush-journal-0", "flush-journal-1"] {
        let bytes = fs::metadata(directory.path().join(half)).unwrap().len();
        assert!((32 << 20..=64 << 20).contains(&bytes), "{half}: {bytes}");
    }
    let crashed = crashed(directory.path());
    let store_again = open_with(crashed.path(), large_segments);
    for (n, last) in (0..).zip(last) {
        let partition = store_again.partition(&clicks(n)).unwrap();
        assert_eq!(partition.log_end_offset(), last.next());
    }
    assert_eq!(store_again.offline_partitions(), []);
    store.close().unwrap();
}

#[test]
fn a_log_that_lost_its_topics_id_stops_a_start_that_would_forget_its_records() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, partitions) = two_partitions(directory.path());
    produce(&partitions[0], batch(None));
    let crashed = crashed(directory.path());
    fs::write(crashed.path().join("clicks-0/partition.metadata"), "").unwrap();
    let refused = LogStore::open(crashed.path(), LogStoreConfig::default()).unwrap_err();
    assert!(refused.to_string().contains("journal"), "{refused}");
    assert_eq!(journal_files(crashed.path()), 2);
}

#[test]
fn a_journal_of_a_newer_program_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    drop(open_with(directory.path(), |_| {}));
    let path = directory.path().join("flush-journal-0");
    fs::write(&path, b"SLJ2 and whatever follows").unwrap();
    let refused = LogStore::open(directory.path(), LogStoreConfig::default()).unwrap_err();
    assert!(refused.to_string().contains("journal"), "{refused}");
    assert!(path.exists());
}
