//! Walks over whole, torn and damaged segments, whatever the pieces.

use proptest::prelude::*;
use rstest::rstest;
use streamledger_protocol::{Offset, TimestampMs};

use super::super::testing::*;
use super::super::*;

/// Batches of one, two and three records, one after the other; with the offsets where each begins.
fn written(batch_count: i32) -> (DiskLog, Vec<usize>) {
    let mut disk = DiskLog::new(LogConfig { segment_bytes: 1 << 20, ..small() });
    let mut begins = Vec::new();
    let mut sequence = 0;
    for n in 0..batch_count {
        begins.push(disk.all_bytes().len());
        let records = n % 3 + 1;
        disk.append(BatchSpec { records, producer: Some((7, sequence)), ..PLAIN }).unwrap();
        sequence += records;
    }
    (disk, begins)
}

fn with_file(disk: &DiskLog, file: Vec<u8>) -> DiskLog {
    let mut changed = disk.clone();
    changed.files.insert(Offset(0), file);
    changed
}

#[rstest]
#[case(1)]
#[case(61)]
#[case(100)]
#[case(1 << 20)]
fn a_restart_finds_what_was_there_whatever_the_pieces(#[case] piece_bytes: usize) {
    let (disk, _) = written(40);
    let restarted = disk.restart(piece_bytes, OnDamage::Refuse).unwrap();
    assert_eq!(restarted.files, disk.files);
    assert_eq!(restarted.log.log_end_offset(), disk.log.log_end_offset());
    assert_eq!(restarted.log.producers(), disk.log.producers());
    let restored = restarted.log.active_segment();
    assert_eq!(restored.indexes(), disk.log.active_segment().indexes());
    assert_eq!(restored.largest_timestamp(), disk.log.active_segment().largest_timestamp());
}

#[test]
fn failure_32_cut_at_every_byte_what_remains_is_the_whole_batches_before_it() {
    let (disk, begins) = written(7);
    let whole = disk.all_bytes();
    for cut in 0..=whole.len() {
        let torn = with_file(&disk, whole[..cut].to_vec());
        let restarted = torn.restart(100, OnDamage::Refuse).unwrap();
        let kept = begins.iter().filter(|begin| **begin <= cut).max().copied().unwrap_or(0);
        let kept = if cut == whole.len() { cut } else { kept };
        assert_eq!(restarted.all_bytes(), whole[..kept], "cut at {cut}");
        assert_eq!(restarted.log.active_segment().bytes() as usize, kept);
    }
}

#[test]
fn failure_32_garbage_or_zeros_behind_the_last_batch_are_cut() {
    let (disk, _) = written(5);
    let whole = disk.all_bytes();
    for tail in [vec![0; 5000], vec![2; 3000], vec![0xff; 70], vec![b'x'; 61]] {
        let torn = with_file(&disk, [whole.clone(), tail].concat());
        let restarted = torn.restart(300, OnDamage::Refuse).unwrap();
        assert_eq!(restarted.all_bytes(), whole);
    }
}

#[test]
fn failure_33_a_changed_byte_in_the_middle_is_named_and_never_cut_silently() {
    let (disk, begins) = written(6);
    let whole = disk.all_bytes();
    let mut compared = 0;
    for batch in 1..5 {
        let (begin, end) = (begins[batch], begins[batch + 1]);
        for at in begin..end {
            // Base offset and leader epoch are outside of the checksum.
            if (begin..begin + 8).contains(&at) || (begin + 12..begin + 16).contains(&at) {
                continue;
            }
            let mut changed = whole.clone();
            changed[at] ^= 0x40;
            let damaged = with_file(&disk, changed);
            let refused = damaged.restart(150, OnDamage::Refuse).unwrap_err();
            let LogDamage::Middle { position, resumes_at, .. } = refused else {
                panic!("{refused}")
            };
            assert_eq!((position as usize, resumes_at as usize), (begin, end), "byte {at}");
            let cut = damaged.restart(150, OnDamage::Cut).unwrap();
            assert_eq!(cut.all_bytes(), whole[..begin]);
            compared += 1;
        }
    }
    assert!(compared > 200, "compared {compared}");
}

/// Three segments, of which the middle one lost its last `lost_bytes`.
fn torn_between_segments(lost_bytes: usize) -> (DiskLog, Vec<Offset>) {
    let mut disk = DiskLog::new(small());
    let mut sequence = 0;
    while disk.files.len() < 3 {
        disk.append(BatchSpec { producer: Some((7, sequence)), ..PLAIN }).unwrap();
        sequence += PLAIN.records;
    }
    let bases: Vec<Offset> = disk.files.keys().copied().collect();
    let middle = disk.files.get_mut(&bases[1]).unwrap();
    middle.truncate(middle.len() - lost_bytes);
    (disk, bases)
}

fn batch_bytes() -> usize {
    BatchSpec { producer: Some((7, 0)), ..PLAIN }.build().len()
}

#[test]
fn failure_33_a_flushed_segment_that_is_torn_or_short_is_named_and_cut_only_if_told() {
    for lost_bytes in [7, batch_bytes()] {
        let (mut disk, bases) = torn_between_segments(lost_bytes);
        for flushed_below in [bases[2], bases[2].next()] {
            disk.flushed_below = flushed_below;
            let refused = disk.restart(1000, OnDamage::Refuse).unwrap_err();
            let LogDamage::Missing { segment, expected_offset, .. } = refused else {
                panic!("{refused}")
            };
            assert_eq!((segment, expected_offset.0), (bases[1], bases[2].0 - 10));
        }
        let cut = disk.restart(1000, OnDamage::Cut).unwrap();
        assert_eq!(cut.files.len(), 2);
    }
}

#[test]
fn failure_33_a_flushed_log_without_its_last_batch_or_last_segment_is_named() {
    let (mut disk, bases) = torn_between_segments(0);
    disk.flushed_below = disk.log.log_end_offset();
    assert!(disk.restart(1000, OnDamage::Refuse).is_ok());
    let last = disk.files.remove(&bases[2]).unwrap();
    let refused = disk.restart(1000, OnDamage::Refuse).unwrap_err();
    assert!(matches!(refused, LogDamage::Missing { expected_offset, .. }
        if expected_offset == bases[2]));
    disk.files.insert(bases[2], last[..last.len() - batch_bytes()].to_vec());
    assert!(matches!(disk.restart(1000, OnDamage::Refuse), Err(LogDamage::Missing { .. })));
}

#[test]
fn failure_38_a_torn_or_short_segment_that_was_not_flushed_ends_the_log_there() {
    for lost_bytes in [7, batch_bytes()] {
        for flushed_below in [0, 1] {
            let (mut disk, bases) = torn_between_segments(lost_bytes);
            disk.flushed_below = bases[flushed_below];
            let restarted = disk.restart(1000, OnDamage::Refuse).unwrap();
            assert_eq!(restarted.files.len(), 2, "nothing behind it was acknowledged");
            assert_eq!(restarted.log.log_end_offset().0, bases[2].0 - 10);
            // Nor do the producers know what is gone: its retry is appended, not a duplicate.
            let sequence = i32::try_from(bases[2].0 - 10).unwrap();
            let mut restarted = restarted;
            let again = BatchSpec { producer: Some((7, sequence)), ..PLAIN };
            assert!(!restarted.append(again).unwrap().duplicate);
            restarted.restart(1000, OnDamage::Refuse).unwrap();
        }
    }
}

#[test]
fn failure_47_a_gap_that_a_crash_of_retention_leaves_is_no_damage_and_any_other_is() {
    let (mut disk, bases) = torn_between_segments(0);
    disk.flushed_below = bases[2];
    disk.files.remove(&bases[1]);
    assert!(disk.restart(1000, OnDamage::Refuse).is_err());
    let mut compacted = disk.clone();
    let config = LogConfig { cleanup: CleanupPolicy::Compact, ..small() };
    compacted.log.reconfigure(config);
    assert!(compacted.restart(1000, OnDamage::Refuse).is_err(), "compaction leaves no gap");
    let end = disk.log.log_end_offset();
    disk.log.log_start_offset = bases[2];
    assert_eq!(disk.restart(1000, OnDamage::Refuse).unwrap().log.log_end_offset(), end);
}

#[test]
fn failure_34_indexes_rebuilt_by_headers_are_those_that_the_run_had() {
    let (disk, _) = written(60);
    let file = disk.all_bytes();
    let mut scan = SegmentScan::new(
        Offset(0),
        file.len() as u64,
        TimestampMs(0),
        ScanDepth::Header,
        disk.log.config().index_interval_bytes,
    );
    let fed = scan.feed(&file, |_| {});
    assert_eq!(fed.consumed, file.len());
    let rebuilt = scan.into_indexes().unwrap();
    let files = disk.log.index_files(disk.log.active_segment());
    assert_eq!((rebuilt.offsets.encode(), rebuilt.times.encode()), (files.offsets, files.times));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn the_planted_bugs_of_recovery_do_what_they_say() {
    use crate::planted_bugs::{Planted, PlantedBug};
    let (disk, _) = written(5);
    let restarted_with = |bug, file: Vec<u8>| {
        let mut disk = with_file(&disk, file);
        disk.log.reconfigure(LogConfig { planted: Planted::with(bug), ..small() });
        disk.restart(100, OnDamage::Refuse).unwrap()
    };
    let whole = disk.all_bytes();
    let torn = restarted_with(PlantedBug::KeepTornTail, whole[..whole.len() - 3].to_vec());
    assert_eq!(torn.all_bytes().len(), whole.len() - 3);
    let forgetful = restarted_with(PlantedBug::ForgetProducerStateOnRestart, whole);
    assert_eq!(forgetful.log.producers().producer_count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any bytes at all: no panic, no endless walk, and a second recovery finds nothing to do.
    #[test]
    fn failure_32_any_tail_leaves_a_prefix_of_whole_batches(
        batch_count in 0_i32..6,
        tail in proptest::collection::vec(any::<u8>(), 0..400),
        piece_bytes in 1_usize..500,
    ) {
        let (disk, begins) = written(batch_count);
        let whole = disk.all_bytes();
        let torn = with_file(&disk, [whole.clone(), tail].concat());
        let restarted = torn.restart(piece_bytes, OnDamage::Refuse).unwrap();
        prop_assert_eq!(restarted.all_bytes(), whole);
        prop_assert_eq!(begins.len(), usize::try_from(batch_count).unwrap());
        let again = restarted.restart(piece_bytes, OnDamage::Refuse).unwrap();
        prop_assert_eq!(again.files, restarted.files);
    }
}
