//! What stays of a log, what its readers see of it, and what a restart knows by it.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use streamledger_protocol::compression::{Compression, CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{BatchSeal, ControlKind, RecordBatchBuilder, batches};
use streamledger_protocol::{Codec, Offset, ProducerId, SequenceNumber, TimestampMs};

use super::super::testing::{DiskLog, identity, small};
use super::super::*;

const NOW: TimestampMs = TimestampMs(1_000_000);
const DAY_MS: i64 = 24 * 3_600_000;

fn config() -> LogConfig {
    LogConfig { cleanup: CleanupPolicy::Compact, dirty_ratio_ppm_min: 0, ..small() }
}

type Entry<'a> = (&'a str, Option<&'a str>);

fn batch_in(codec: Codec, entries: &[Entry<'_>], producer: Option<(i64, i32, bool)>) -> Bytes {
    let mut builder = RecordBatchBuilder::with_capacity(1024);
    for (n, (key, value)) in (0..).zip(entries) {
        let key = (*key != "none").then_some(key.as_bytes());
        builder.append(TimestampMs(1000 + n), key, value.map(str::as_bytes), &[]);
    }
    let (transactional, producer) = match producer {
        Some((id, first, transactional)) => {
            (transactional, Some((identity(id), SequenceNumber(first))))
        }
        None => (false, None),
    };
    let seal = BatchSeal { compression: Compression::of(codec), producer, transactional };
    builder.seal(&seal, &mut CompressionScratch::new()).unwrap().bytes
}

fn batch(entries: &[Entry<'_>], producer: Option<(i64, i32, bool)>) -> Bytes {
    batch_in(Codec::None, entries, producer)
}

/// Appends; what a client may not write (a record without a key), as a coordinator.
fn put(disk: &mut DiskLog, bytes: &Bytes) -> AppendOutcome {
    let mut decompressor = Decompressor::default();
    let first = batches(bytes).next().unwrap().unwrap();
    let mut records = first.records(&mut decompressor).unwrap();
    let all_have_keys = records.all(|record| record.unwrap().key.is_some());
    let origin = if all_have_keys { AppendOrigin::Client } else { AppendOrigin::Coordinator };
    disk.append_as(bytes.clone(), origin).unwrap()
}

/// One compaction, performed on the files; says how many segments were replaced.
fn compact_at(
    disk: &mut DiskLog,
    standing: &mut CompactionStanding,
    now: TimestampMs,
    map_bytes: usize,
) -> Option<usize> {
    disk.flush();
    let plan = disk.log.plan_compaction(standing, now)?;
    let mut pass = CompactionPass::new(plan, map_bytes, 700);
    let mut written: Vec<u8> = Vec::new();
    let mut replaced = 0;
    for _ in 0..10_000 {
        match pass.poll().unwrap() {
            CompactionEffect::Read { segment, position, bytes } => {
                let from = usize::try_from(position).unwrap();
                pass.read(&disk.files[&segment][from..from + bytes]).unwrap();
            }
            CompactionEffect::Write { position, bytes, .. } => {
                if position == 0 {
                    written.clear();
                }
                assert_eq!(position, written.len() as u64);
                written.extend_from_slice(&bytes);
            }
            CompactionEffect::Replace(replacement) => {
                assert_eq!(written.len(), replacement.segment.bytes() as usize);
                assert!(disk.log.can_replace(&replacement));
                disk.log.segments_replaced(&replacement);
                for source in &replacement.sources {
                    disk.files.remove(&source.base_offset());
                    disk.indexes.remove(&source.base_offset());
                }
                disk.files.insert(replacement.base_offset(), written.clone());
                disk.indexes.insert(replacement.base_offset(), replacement.index_files.clone());
                replaced += 1;
            }
            CompactionEffect::Discard(steps) => assert!(!steps.is_empty()),
            CompactionEffect::Done(done) => {
                *standing = done;
                return Some(replaced);
            }
        }
    }
    panic!("a compaction that does not end");
}

fn compact(disk: &mut DiskLog, standing: &mut CompactionStanding) -> Option<usize> {
    compact_at(disk, standing, NOW, 1 << 20)
}

type Found = (i64, String, Option<String>);

/// All records but markers: offset, key, value; and the offsets of the markers.
fn records(disk: &DiskLog) -> (Vec<Found>, Vec<i64>) {
    let mut decompressor = Decompressor::default();
    let (mut found, mut markers) = (Vec::new(), Vec::new());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for batch in batches(&disk.all_bytes()) {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        for record in batch.records(&mut decompressor).unwrap() {
            let record = record.unwrap();
            if batch.header().attributes.is_control() {
                markers.push(record.offset.0);
            } else {
                let key = record.key.map_or("none".to_owned(), text);
                found.push((record.offset.0, key, record.value.map(text)));
            }
        }
    }
    (found, markers)
}

fn offsets(disk: &DiskLog) -> Vec<i64> {
    records(disk).0.into_iter().map(|(offset, ..)| offset).collect()
}

#[test]
fn the_latest_of_each_key_stays_where_it_was_and_the_active_segment_is_not_touched() {
    for codec in [Codec::None, Codec::Zstd, Codec::Lz4, Codec::Snappy, Codec::Gzip] {
        let mut disk = DiskLog::new(config());
        put(&mut disk, &batch_in(codec, &[("a", Some("1")), ("b", Some("1"))], None));
        put(&mut disk, &batch_in(codec, &[("a", Some("2")), ("c", Some("1"))], None));
        disk.roll();
        put(&mut disk, &batch_in(codec, &[("b", Some("2")), ("c", None)], None));
        disk.roll();
        put(&mut disk, &batch_in(codec, &[("a", Some("3")), ("b", Some("3"))], None));
        let (end, mut standing) = (disk.log.log_end_offset(), CompactionStanding::default());
        assert_eq!(compact(&mut disk, &mut standing), Some(1), "two segments become one");
        assert_eq!(offsets(&disk), [2, 4, 5, 6, 7], "{codec}");
        assert_eq!(standing.first_dirty, Offset(6));
        assert_eq!(disk.log.log_end_offset(), end);
        // The same offsets are read, from anywhere, and a restart finds the same log.
        for from in 0..end.0 {
            assert!(!disk.read(Offset(from), 10_000, ReadLimit::HighWatermark).is_empty());
        }
        let again = disk.restart(999, OnDamage::Refuse).unwrap();
        assert_eq!(again.all_bytes(), disk.all_bytes());
        assert_eq!(again.log.log_end_offset(), end);
        assert_eq!(compact(&mut disk, &mut standing), None, "nothing is dirty");
    }
}

#[test]
fn a_segment_ends_where_it_ended_even_if_nothing_of_its_end_stays() {
    let mut disk = DiskLog::new(config());
    put(&mut disk, &batch(&[("a", Some("1")), ("b", Some("1")), ("none", Some("1"))], None));
    disk.roll();
    put(&mut disk, &batch(&[("a", Some("2")), ("b", Some("2"))], None));
    disk.roll();
    put(&mut disk, &batch(&[("x", Some("1"))], None));
    let config = LogConfig { segment_bytes: 100, ..config() };
    disk.log.reconfigure(config);
    let mut standing = CompactionStanding::default();
    assert_eq!(compact(&mut disk, &mut standing), Some(1), "only the first one changed");
    let ends: Vec<i64> = disk.log.segments().map(|segment| segment.next_offset().0).collect();
    assert_eq!(ends, [3, 5, 6]);
    assert_eq!(offsets(&disk), [3, 4, 5]);
    // Without the settings that would explain a gap there is none to be explained.
    disk.log.reconfigure(small());
    assert_eq!(disk.restart(999, OnDamage::Refuse).unwrap().log.log_end_offset(), Offset(6));
}

#[test]
fn a_deletion_stays_for_its_time_and_then_goes_with_what_it_deleted() {
    let mut disk = DiskLog::new(config());
    put(&mut disk, &batch(&[("a", Some("1"))], None));
    put(&mut disk, &batch(&[("a", None), ("b", Some("1"))], None));
    disk.roll();
    put(&mut disk, &batch(&[("x", Some("1"))], None));
    let mut standing = CompactionStanding::default();
    compact(&mut disk, &mut standing);
    assert_eq!(offsets(&disk), [1, 2, 3]);
    let horizon = TimestampMs(NOW.0 + DAY_MS);
    assert_eq!(standing.next_horizon, Some(horizon));
    let timestamps = |disk: &DiskLog| {
        let bytes = disk.all_bytes();
        let (batch, _) =
            streamledger_protocol::record_batch::RecordBatchRef::parse(&bytes).unwrap();
        assert_eq!(batch.header().delete_horizon(), Some(horizon));
        let mut decompressor = Decompressor::default();
        let all = batch.records(&mut decompressor).unwrap().map(|r| r.unwrap().timestamp.0);
        all.collect::<Vec<_>>()
    };
    assert_eq!(timestamps(&disk), [1000, 1001], "the records keep their timestamps");
    let early = TimestampMs(horizon.0 - 1);
    assert_eq!(compact_at(&mut disk, &mut standing, early, 1 << 20), None);
    assert_eq!(compact_at(&mut disk, &mut standing, horizon, 1 << 20), Some(1));
    assert_eq!(offsets(&disk), [2, 3]);
    assert_eq!(standing.next_horizon, None);
    assert_eq!(compact_at(&mut disk, &mut standing, horizon, 1 << 20), None);
}

#[test]
fn aborted_records_go_and_supersede_nothing_and_their_marker_goes_last() {
    let mut disk = DiskLog::new(config());
    put(&mut disk, &batch(&[("a", Some("kept"))], None));
    put(&mut disk, &batch(&[("a", Some("aborted")), ("b", Some("aborted"))], Some((7, 0, true))));
    disk.append_marker(7, ControlKind::Abort);
    put(&mut disk, &batch(&[("c", Some("committed"))], Some((8, 0, true))));
    disk.append_marker(8, ControlKind::Commit);
    disk.roll();
    // Both producers wrote again, so nothing of the first segment is needed for their sequences.
    put(&mut disk, &batch(&[("y", Some("1"))], Some((7, 2, false))));
    put(&mut disk, &batch(&[("x", Some("1"))], Some((8, 1, false))));
    let mut standing = CompactionStanding::default();
    compact(&mut disk, &mut standing);
    let (found, markers) = records(&disk);
    assert_eq!(found[0], (0, "a".to_owned(), Some("kept".to_owned())));
    assert_eq!(offsets(&disk), [0, 4, 6, 7]);
    assert_eq!(markers, [3, 5], "both transactions were seen in this round");
    assert_eq!(disk.log.producers().transactions().aborted().len(), 1);
    // A round later nothing of the aborted one is left: its marker gets its horizon.
    disk.roll();
    put(&mut disk, &batch(&[("z", Some("1"))], None));
    compact(&mut disk, &mut standing);
    assert_eq!(records(&disk).1, [3, 5]);
    let horizon = standing.next_horizon.unwrap();
    assert_eq!(compact_at(&mut disk, &mut standing, horizon, 1 << 20), Some(1));
    assert_eq!(records(&disk).1, [5], "the committed one's record is there still");
    assert!(disk.log.producers().transactions().aborted().is_empty());
    let again = disk.restart(999, OnDamage::Refuse).unwrap();
    assert_eq!(again.log.last_stable_offset(), again.log.high_watermark());
    assert!(again.log.producers().transactions().aborted().is_empty());
}

#[test]
fn the_last_batch_of_each_producer_stays_so_that_a_restart_knows_its_sequence() {
    let mut disk = DiskLog::new(config());
    for (n, value) in (0..).zip(["1", "2", "3"]) {
        put(&mut disk, &batch(&[("a", Some(value))], Some((5, n, false))));
    }
    put(&mut disk, &batch(&[("a", Some("4"))], None));
    disk.roll();
    put(&mut disk, &batch(&[("x", Some("1"))], None));
    compact(&mut disk, &mut CompactionStanding::default());
    assert_eq!(offsets(&disk), [3, 4]);
    let mut again = disk.restart(999, OnDamage::Refuse).unwrap();
    let state = again.log.producers().producer(ProducerId(5)).unwrap();
    assert_eq!(state.last_sequence(), SequenceNumber(2));
    assert!(put(&mut again, &batch(&[("a", Some("3"))], Some((5, 2, false)))).duplicate);
    assert!(!put(&mut again, &batch(&[("a", Some("5"))], Some((5, 3, false)))).duplicate);
}

#[test]
fn an_open_transaction_and_what_comes_after_it_is_not_touched() {
    let mut disk = DiskLog::new(config());
    put(&mut disk, &batch(&[("a", Some("1"))], None));
    put(&mut disk, &batch(&[("a", Some("2"))], None));
    disk.roll();
    put(&mut disk, &batch(&[("a", Some("3"))], Some((7, 0, true))));
    disk.roll();
    put(&mut disk, &batch(&[("a", Some("4"))], None));
    disk.roll();
    let mut standing = CompactionStanding::default();
    compact(&mut disk, &mut standing);
    assert_eq!(offsets(&disk), [1, 2, 3]);
    assert_eq!(standing.first_dirty, Offset(2));
    disk.append_marker(7, ControlKind::Commit);
    compact(&mut disk, &mut standing);
    assert_eq!(offsets(&disk), [3]);
}

#[test]
fn it_is_due_by_ratio_and_by_the_two_lags() {
    let due = |config: LogConfig, standing: Offset, now: i64| {
        let mut disk = DiskLog::new(config);
        for value in ["1", "2", "3", "4"] {
            put(&mut disk, &batch(&[("a", Some(value))], None));
            disk.roll();
        }
        disk.flush();
        let standing = CompactionStanding { first_dirty: standing, next_horizon: None };
        let plan = disk.log.plan_compaction(&standing, TimestampMs(now));
        plan.map(|plan| plan.groups.iter().flatten().count())
    };
    let half = || LogConfig { dirty_ratio_ppm_min: 500_000, ..config() };
    assert_eq!(due(half(), Offset(0), NOW.0), Some(4));
    assert_eq!(due(half(), Offset(1), NOW.0), Some(4), "three quarters");
    assert_eq!(due(half(), Offset(2), NOW.0), None, "half is not more than half");
    let late = LogConfig { compaction_lag_ms_max: Some(5000), ..half() };
    assert_eq!(due(late.clone(), Offset(3), 6000), None);
    assert_eq!(due(late, Offset(3), 6001), Some(4));
    let early = LogConfig { compaction_lag_ms_min: 5000, ..half() };
    assert_eq!(due(early.clone(), Offset(0), 5999), None);
    assert_eq!(due(early, Offset(0), 6000), Some(4));
    let deletes = LogConfig { cleanup: CleanupPolicy::Delete, ..half() };
    assert_eq!(due(deletes, Offset(0), NOW.0), None);
    // A standing past the end is of another log: everything is dirty.
    assert_eq!(due(half(), Offset(99), NOW.0), Some(4));
}

#[test]
fn a_damaged_segment_ends_it_and_nothing_has_changed() {
    let mut disk = DiskLog::new(config());
    put(&mut disk, &batch(&[("a", Some("1")), ("a", Some("2"))], None));
    put(&mut disk, &batch(&[("a", Some("3"))], None));
    disk.roll();
    disk.flush();
    let plan = disk.log.plan_compaction(&CompactionStanding::default(), NOW).unwrap();
    for (at, cut) in [(80, 0), (0, 20)] {
        let mut pass = CompactionPass::new(plan.clone(), 1 << 20, 50);
        let mut file = disk.files[&Offset(0)].clone();
        file[at] ^= 0x40;
        file.truncate(file.len() - cut);
        let problem = (0..1000).find_map(|_| match pass.poll() {
            Ok(CompactionEffect::Read { position, bytes, .. }) => {
                let from = usize::try_from(position).unwrap();
                let end = file.len().min(from + bytes);
                pass.read(&file[from..end]).err()
            }
            Ok(_) => None,
            Err(problem) => Some(problem),
        });
        assert!(matches!(problem, Some(CompactionProblem::Damaged { .. })), "{problem:?}");
    }
}

/// What a test does to a log.
#[derive(Debug, Clone)]
enum Deed {
    Write { keys: Vec<u8>, producer: Option<u8> },
    Transaction { id: u8, keys: Vec<u8>, commits: bool },
    Roll,
    Compact { map_bytes: usize },
    Pass { ms: i64 },
}

fn any_deed() -> impl Strategy<Value = Deed> {
    let keys = || proptest::collection::vec(0..12_u8, 1..6);
    prop_oneof![
        4 => (keys(), proptest::option::of(0..3_u8))
            .prop_map(|(keys, producer)| Deed::Write { keys, producer }),
        3 => (10..13_u8, keys(), any::<bool>())
            .prop_map(|(id, keys, commits)| Deed::Transaction { id, keys, commits }),
        3 => Just(Deed::Roll),
        3 => (1..600_usize).prop_map(|map_bytes| Deed::Compact { map_bytes }),
        1 => (1..2 * DAY_MS).prop_map(|ms| Deed::Pass { ms }),
    ]
}

/// What a read-committed reader has in the end, reading from the start.
fn view(disk: &mut DiskLog) -> BTreeMap<String, String> {
    let aborted = disk.log.producers().transactions().aborted().to_vec();
    let bytes = disk.all_bytes();
    let mut decompressor = Decompressor::default();
    let mut view = BTreeMap::new();
    for batch in batches(&bytes) {
        let batch = batch.unwrap();
        let header = *batch.header();
        let is_aborted = aborted.iter().any(|transaction| {
            transaction.producer_id == header.producer_id
                && (transaction.first_offset..transaction.last_offset).contains(&header.base_offset)
        });
        if header.attributes.is_control() || header.attributes.is_transactional() && is_aborted {
            continue;
        }
        for record in batch.records(&mut decompressor).unwrap() {
            let record = record.unwrap();
            let key = String::from_utf8_lossy(record.key.unwrap()).into_owned();
            match record.value {
                Some(value) => view.insert(key, String::from_utf8_lossy(value).into_owned()),
                None => view.remove(&key),
            };
        }
    }
    view
}

proptest! {
    #[test]
    fn readers_and_restarts_know_the_same_with_and_without(
        deeds in proptest::collection::vec(any_deed(), 1..60),
    ) {
        let mut disk = DiskLog::new(config());
        let mut sequences: BTreeMap<u8, i32> = BTreeMap::new();
        let mut wanted: BTreeMap<String, String> = BTreeMap::new();
        let (mut standing, mut now, mut number) = (CompactionStanding::default(), NOW, 0);
        for deed in deeds {
            match deed {
                Deed::Write { ref keys, producer: id } => {
                    let (what, view) = ((&keys[..], id, false), Some(&mut wanted));
                    write(&mut disk, &mut sequences, what, &mut number, view);
                }
                Deed::Transaction { id, ref keys, commits } => {
                    let view = commits.then_some(&mut wanted);
                    write(&mut disk, &mut sequences, (keys, Some(id), true), &mut number, view);
                    let kind = if commits { ControlKind::Commit } else { ControlKind::Abort };
                    disk.append_marker(i64::from(id), kind);
                }
                Deed::Roll if disk.log.active_segment().bytes() > 0 => disk.roll(),
                Deed::Roll => {}
                Deed::Pass { ms } => now.0 += ms,
                Deed::Compact { map_bytes } => {
                    compact_at(&mut disk, &mut standing, now, map_bytes);
                    prop_assert_eq!(view(&mut disk), wanted.clone());
                    let again = disk.restart(999, OnDamage::Refuse).unwrap();
                    prop_assert_eq!(again.log.last_stable_offset(), disk.log.log_end_offset());
                    for (id, next) in &sequences {
                        let state = again.log.producers().producer(ProducerId(i64::from(*id)));
                        prop_assert_eq!(state.unwrap().last_sequence(), SequenceNumber(next - 1));
                    }
                }
            }
        }
    }
}

fn write(
    disk: &mut DiskLog,
    sequences: &mut BTreeMap<u8, i32>,
    (keys, id, transactional): (&[u8], Option<u8>, bool),
    number: &mut u32,
    mut view: Option<&mut BTreeMap<String, String>>,
) {
    let mut owned = Vec::new();
    for key in keys {
        *number += 1;
        let value = (!number.is_multiple_of(4)).then(|| format!("value {number}"));
        let key = format!("key {key}");
        if let Some(view) = &mut view {
            match &value {
                Some(value) => view.insert(key.clone(), value.clone()),
                None => view.remove(&key),
            };
        }
        owned.push((key, value));
    }
    let entries: Vec<Entry<'_>> =
        owned.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
    let producer = id.map(|id| {
        let next = sequences.entry(id).or_default();
        let first = *next;
        *next += i32::try_from(entries.len()).unwrap();
        (i64::from(id), first, transactional)
    });
    put(disk, &batch(&entries, producer));
}
