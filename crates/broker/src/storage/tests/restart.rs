//! What a restart finds, after a clean stop and after a crash.

use rstest::rstest;
use streamledger_protocol::ErrorCode;

use super::*;

/// A store with one partition of several segments from one producer, and all that it holds.
fn filled(directory: &Path) -> (LogStore, Arc<Partition>, Vec<u8>) {
    let store = open_with(directory, |_| {});
    let partition = create(&store, 0);
    for n in 0..40 {
        let outcome = produce(&partition, batch(Some((5, n * 10))));
        assert_eq!(outcome.base_offset, Offset(i64::from(n) * 10));
    }
    let content = consume(&partition, Offset(0));
    assert_eq!(batches(&content).count(), 40);
    assert!(files(directory, 0, ".log").len() > 3);
    (store, partition, content)
}

/// Everything is there, the producer goes on where it was, and so do the offsets.
fn assert_goes_on(store: &LogStore, content: &[u8]) {
    let partition = store.partition(&clicks(0)).unwrap();
    assert_eq!((partition.log_end_offset(), partition.topic_id()), (Offset(400), TOPIC_ID));
    assert_eq!(partition.high_watermark(), Offset(400));
    assert_eq!(consume(&partition, Offset(0)), content);
    for n in 35..40 {
        let again = produce(&partition, batch(Some((5, n * 10))));
        assert_eq!((again.duplicate, again.base_offset.0), (true, i64::from(n) * 10));
    }
    assert_eq!(produce(&partition, batch(Some((5, 400)))).base_offset, Offset(400));
}

#[test]
fn what_was_appended_is_read_back_and_survives_a_clean_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (store, partition, content) = filled(directory.path());
    store.close().unwrap();
    let refused = partition.append(batch(None), AppendOrigin::Client).unwrap_err();
    assert_eq!(refused.error_code(), ErrorCode::NotLeaderOrFollower);
    let store = open_with(directory.path(), |_| {});
    assert!(matches!(*store.partitions()[0].state.lock(), partition::LogState::Cold(_)));
    assert_goes_on(&store, &content);
}

#[test]
fn who_deletes_records_as_the_store_closes_leaves_the_manifest_and_makes_no_partition_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let (store, partition, content) = filled(directory.path());
    store.close().unwrap();
    let manifest = fs::read(directory.path().join("manifest")).unwrap();
    // It was let in before, and comes to this only now.
    partition.shared.write_manifest(disk::Durability::Flushed).unwrap_err();
    assert_eq!(fs::read(directory.path().join("manifest")).unwrap(), manifest);
    let made = store.create_partition(&clicks(1), TOPIC_ID, &small_segments(), LeaderEpoch(0));
    assert!(made.is_err() && !directory.path().join("clicks-1").exists());
    let store = open_with(directory.path(), |_| {});
    assert!(matches!(*store.partitions()[0].state.lock(), partition::LogState::Cold(_)));
    assert_goes_on(&store, &content);
}

#[test]
fn failure_1_a_kill_between_append_and_ack_keeps_the_batch_and_answers_the_retry_as_a_duplicate() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, partition, _) = filled(directory.path());
    partition.append(batch(Some((5, 400))), AppendOrigin::Client).unwrap();
    let crashed = crashed(directory.path());
    let store = open_with(crashed.path(), |_| {});
    let partition = store.partition(&clicks(0)).unwrap();
    let retried = produce(&partition, batch(Some((5, 400))));
    assert_eq!((retried.duplicate, retried.base_offset), (true, Offset(400)));
    assert_eq!(partition.log_end_offset(), Offset(410));
}

#[test]
fn failure_2_a_batch_that_a_power_cut_took_is_appended_once_by_the_retry() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, partition, _) = filled(directory.path());
    partition.append(batch(Some((5, 400))), AppendOrigin::Client).unwrap();
    let crashed = crashed(directory.path());
    let log = files(crashed.path(), 0, ".log").pop().unwrap();
    let kept = fs::metadata(&log).unwrap().len() - batch(Some((5, 400))).len() as u64;
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(kept).unwrap();
    let store = open_with(crashed.path(), |_| {});
    let partition = store.partition(&clicks(0)).unwrap();
    let retried = produce(&partition, batch(Some((5, 400))));
    assert_eq!((retried.duplicate, retried.base_offset), (false, Offset(400)));
}

#[rstest]
#[case::cut_batch(&[0, 0, 0, 0, 0, 0, 1, 0x90, 0, 0, 4, 0, 0, 0])]
#[case::zeros(&[0; 5000])]
#[case::garbage(&[0x5a; 777])]
fn failure_32_a_torn_tail_is_cut(#[case] tail: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let (_store, _, content) = filled(directory.path());
    let crashed = crashed(directory.path());
    let log = files(crashed.path(), 0, ".log").pop().unwrap();
    let whole = fs::read(&log).unwrap();
    fs::write(&log, [&whole, tail].concat()).unwrap();
    let store = open_with(crashed.path(), |_| {});
    assert_eq!(fs::read(&log).unwrap(), whole);
    assert_goes_on(&store, &content);
}

#[test]
fn failure_33_damage_in_the_middle_keeps_that_partition_offline_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _, content) = filled(directory.path());
    produce(&create(&store, 1), batch(None));
    let crashed = crashed(directory.path());
    let log = files(crashed.path(), 0, ".log").pop().unwrap();
    let mut bytes = fs::read(&log).unwrap();
    bytes[100] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let store = open_with(crashed.path(), |_| {});
    let offline = store.offline_partitions();
    assert_eq!(offline.len(), 1);
    let said = offline[0].1.to_string();
    assert!(said.contains("clicks-0") && said.contains("damaged from byte 0"), "{said}");
    let damaged = store.partition(&clicks(0)).unwrap();
    let refused = damaged.append(batch(None), AppendOrigin::Client).unwrap_err();
    assert_eq!(refused.error_code(), ErrorCode::KafkaStorageError);
    assert!(damaged.read(Offset(0), 100, ReadLimit::HighWatermark).is_err());
    assert!(wait_for(damaged.wait_for_data(Offset(0), ReadLimit::LogEnd)).unwrap().is_err());
    produce(&store.partition(&clicks(1)).unwrap(), batch(None));
    assert_eq!(fs::read(&log).unwrap(), bytes, "nothing was cut");
    drop((store, damaged));
    let store = open_with(crashed.path(), |config| config.on_damage = OnDamage::Cut);
    let kept = consume(&store.partition(&clicks(0)).unwrap(), Offset(0));
    assert!(!kept.is_empty() && kept.len() < content.len());
    assert_eq!(kept, content[..kept.len()]);
}

#[rstest]
fn failure_34_whatever_is_lost_or_broken_beside_the_log_is_rebuilt(
    #[values(".index", ".timeindex", ".snapshot", "leader-epoch-checkpoint", "manifest", "all")]
    what: &str,
    #[values("gone", "empty", "scrambled")] how: &str,
    #[values(true, false)] after_a_clean_stop: bool,
) {
    let directory = tempfile::tempdir().unwrap();
    let (store, _, content) = filled(directory.path());
    let crashed = crashed(directory.path());
    store.close().unwrap();
    let path = if after_a_clean_stop { directory.path() } else { crashed.path() };
    let mut broken = 0;
    let all = [".index", ".timeindex", ".snapshot", "leader-epoch-checkpoint"];
    let suffixes = if what == "all" { &all[..] } else { &[what][..] };
    let beside = suffixes.iter().flat_map(|suffix| files(path, 0, suffix));
    let manifest = matches!(what, "manifest" | "all").then(|| path.join("manifest"));
    for file in beside.chain(manifest).filter(|file| file.exists()) {
        match how {
            "gone" => fs::remove_file(&file).unwrap(),
            "empty" => fs::write(&file, b"").unwrap(),
            _ => {
                let mut bytes = fs::read(&file).unwrap();
                bytes.iter_mut().step_by(3).for_each(|byte| *byte ^= 0x15);
                fs::write(&file, bytes).unwrap();
            }
        }
        broken += 1;
    }
    assert!(broken > 0 || !after_a_clean_stop);
    assert_goes_on(&open_with(path, |_| {}), &content);
}

#[test]
fn failure_45_what_an_interrupted_write_left_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _, content) = filled(directory.path());
    store.close().unwrap();
    let leftovers = [
        directory.path().join("manifest.tmp"),
        directory.path().join("clicks-0/00000000000000000400.snapshot.tmp"),
    ];
    leftovers.iter().for_each(|path| fs::write(path, b"half").unwrap());
    fs::create_dir(directory.path().join("12-0.deleted")).unwrap();
    let store = open_with(directory.path(), |_| {});
    assert!(!leftovers.iter().any(|path| path.exists()));
    assert!(!directory.path().join("12-0.deleted").exists());
    assert_goes_on(&store, &content);
}

#[test]
fn failure_50_a_producer_snapshot_of_a_newer_program_keeps_the_partition_offline() {
    let directory = tempfile::tempdir().unwrap();
    let (store, ..) = filled(directory.path());
    store.close().unwrap();
    let snapshot = directory.path().join("clicks-0/00000000000000000400.snapshot");
    let mut bytes = fs::read(&snapshot).unwrap();
    bytes[5] = 9;
    let body = bytes.len() - 4;
    let crc = crc32c::crc32c(&bytes[..body]).to_be_bytes();
    bytes[body..].copy_from_slice(&crc);
    fs::write(&snapshot, bytes).unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = store.partition(&clicks(0)).unwrap();
    let refused = partition.append(batch(Some((5, 400))), AppendOrigin::Client).unwrap_err();
    assert!(refused.to_string().contains("newer"), "{refused}");
}

#[test]
fn a_log_made_anew_after_its_directory_was_lost_is_not_held_against_the_old_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let (store, ..) = filled(directory.path());
    store.close().unwrap();
    fs::remove_dir_all(directory.path().join("clicks-0")).unwrap();
    let store = open_with(directory.path(), |_| {});
    produce(&create(&store, 0), batch(None));
    let crashed = crashed(directory.path());
    let store = open_with(crashed.path(), |_| {});
    assert!(store.offline_partitions().is_empty());
    assert_eq!(store.partition(&clicks(0)).unwrap().log_end_offset(), Offset(10));
}

#[test]
fn a_crash_in_the_middle_of_a_roll_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, _, content) = filled(directory.path());
    let crashed = crashed(directory.path());
    // The new segment's file is there and empty, as it is before its first batch.
    fs::write(crashed.path().join("clicks-0/00000000000000000400.log"), b"").unwrap();
    assert_goes_on(&open_with(crashed.path(), |_| {}), &content);
}

#[test]
fn failure_16_a_topic_made_anew_begins_with_nothing_of_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let (store, old, _) = filled(directory.path());
    let waiting = old.wait_for_data(Offset(400), ReadLimit::HighWatermark);
    store.delete_partition(&clicks(0)).unwrap();
    let gone = wait_for(waiting).unwrap().unwrap_err();
    assert_eq!(gone.error_code(), ErrorCode::UnknownTopicOrPartition);
    assert!(old.append(batch(Some((5, 400))), AppendOrigin::Client).is_err());
    let config = small_segments();
    let made =
        store.create_partition(&clicks(0), TopicId([8; 16]), &config, LeaderEpoch(0)).unwrap();
    assert!(made.append(batch(Some((5, 400))), AppendOrigin::Client).is_err());
    assert_eq!(produce(&made, batch(Some((5, 0)))).base_offset, Offset(0));
    assert!(store.create_partition(&clicks(0), TOPIC_ID, &config, LeaderEpoch(0)).is_err());
    drop(old);
    store.close().unwrap();
    let store = open_with(directory.path(), |_| {});
    assert_eq!(store.partitions().len(), 1);
    assert_eq!(store.partitions()[0].topic_id(), TopicId([8; 16]));
    assert_eq!(store.partitions()[0].log_end_offset(), Offset(10));
}

#[test]
fn leader_epochs_are_noted_and_known_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, partition, _) = filled(directory.path());
    partition.become_leader(LeaderEpoch(3));
    produce(&partition, batch(None));
    assert_eq!(partition.end_offset_for_epoch(LeaderEpoch(0)).unwrap().end_offset, Offset(400));
    store.close().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = store.partition(&clicks(0)).unwrap();
    assert_eq!(partition.leader_epoch(), LeaderEpoch(3));
    partition.become_leader(LeaderEpoch(4));
    produce(&partition, batch(None));
    let end = |epoch| partition.end_offset_for_epoch(LeaderEpoch(epoch)).unwrap().end_offset.0;
    assert_eq!((end(0), end(3), end(4)), (400, 410, 420));
}

#[test]
fn failure_38_many_recovered_logs_share_one_flush_and_empty_ones_need_none() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |config| config.flush = FlushPolicy::Os);
    for n in 0..40 {
        let partition = create(&store, n);
        if n % 2 == 0 {
            partition.append(batch(Some((1, 0))), AppendOrigin::Client).unwrap();
        }
    }
    let crashed = crashed(directory.path());
    let faults = Arc::new(DiskFaults::new());
    let open = |faults: &Arc<DiskFaults>| {
        let faults = Some(Arc::clone(faults));
        LogStore::open(crashed.path(), LogStoreConfig { faults, ..Default::default() })
    };
    faults.fail_syncs(true);
    assert!(open(&faults).is_err(), "what could not be flushed is shown to nobody");
    faults.fail_syncs(false);
    let before = faults.sync_count();
    let store = open(&faults).unwrap();
    assert_eq!(faults.sync_count() - before, 1);
    for n in 0..40 {
        let partition = store.partition(&clicks(n)).unwrap();
        let end = if n % 2 == 0 { Offset(10) } else { Offset(0) };
        assert_eq!((partition.high_watermark(), partition.flushed_offset()), (end, end));
        assert_eq!(produce(&partition, batch(Some((1, 0)))).duplicate, n % 2 == 0);
    }
}

#[test]
fn a_thousand_partitions_open_without_being_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |config| config.flush = FlushPolicy::Os);
    for n in 0..1000 {
        let partition = create(&store, n);
        partition.append(batch(Some((1, 0))), AppendOrigin::Client).unwrap();
    }
    store.close().unwrap();
    let store = open_with(directory.path(), |_| {});
    let cold = |p: &Arc<Partition>| matches!(*p.state.lock(), partition::LogState::Cold(_));
    assert!(store.partitions().iter().all(cold));
    assert!(produce(&store.partition(&clicks(567)).unwrap(), batch(Some((1, 0)))).duplicate);
}

/// A swap that was finished after the manifest was written, and came out as long as what it
/// replaced: FAILURES.md 47.
#[test]
fn failure_47_a_compacted_segment_as_long_as_before_is_not_taken_for_what_it_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    while files(directory.path(), 0, ".log").len() < 3 {
        produce(&partition, batch(None));
    }
    let end = partition.log_end_offset();
    store.close().unwrap();
    // All of the first segment was superseded: what is left of both is the second, in its place.
    let logs = files(directory.path(), 0, ".log");
    let length = |path: &Path| fs::metadata(path).unwrap().len();
    assert_eq!(length(&logs[0]), length(&logs[1]));
    let second = logs[1].file_stem().unwrap().to_str().unwrap().to_owned();
    fs::copy(&logs[1], &logs[0]).unwrap();
    for file in files(directory.path(), 0, "") {
        if file.file_stem().unwrap().to_str() == Some(&*second) {
            fs::remove_file(file).unwrap();
        }
    }
    let store = open_with(directory.path(), |_| {});
    let partition = store.partition(&clicks(0)).unwrap();
    assert_eq!(partition.log_end_offset(), end);
    let read = consume(&partition, Offset(0));
    let first = batches(&read).next().unwrap().unwrap();
    assert_eq!(first.header().base_offset, Offset(second.parse().unwrap()));
    store.close().unwrap();
}
