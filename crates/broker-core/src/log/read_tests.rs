//! Reads by index against reads by walking the whole log; retention; timestamps.

use proptest::prelude::*;
use rstest::rstest;
use streamledger_protocol::compression::Decompressor;
use streamledger_protocol::record_batch::batches;
use streamledger_protocol::{Offset, TimestampMs};

use super::super::testing::*;
use super::super::*;

/// A log of several segments, with some producers and batches of many sizes.
fn filled(batch_count: i32, interval: u32) -> DiskLog {
    let config = LogConfig { index_interval_bytes: interval, ..small() };
    let mut disk = DiskLog::new(config);
    for n in 0..batch_count {
        let spec = BatchSpec {
            records: n % 5 + 1,
            value_bytes: usize::try_from(n * 37 % 300).unwrap(),
            timestamp: 1000 + i64::from(n * 7919 % 500),
            ..PLAIN
        };
        disk.append(spec).unwrap();
    }
    disk.flush();
    disk
}

/// Base offset and bytes of every batch from the one that holds `from` on, by walking.
fn walked(disk: &DiskLog, from: Offset) -> Vec<(Offset, Vec<u8>)> {
    let all = disk.all_bytes();
    batches(&all)
        .map(Result::unwrap)
        .filter(|batch| batch.header().last_offset() >= from)
        .map(|batch| (batch.header().base_offset, batch.bytes().to_vec()))
        .collect()
}

#[rstest]
#[case(0)]
#[case(400)]
#[case(100_000)]
fn at_every_offset_the_index_finds_what_a_walk_finds(#[case] interval: u32) {
    let mut disk = filled(80, interval);
    let end = disk.log.log_end_offset();
    for from in 0..end.0 {
        let read = disk.read(Offset(from), 1, ReadLimit::HighWatermark);
        assert_eq!(read, walked(&disk, Offset(from))[0].1, "offset {from}");
    }
    assert!(disk.files.len() > 4);
    assert!(disk.read(end, 100, ReadLimit::HighWatermark).is_empty());
    assert!(disk.log.plan_read(end.next(), ReadLimit::HighWatermark).is_err());
}

#[test]
fn a_reader_that_goes_on_gets_every_batch_once() {
    let mut disk = filled(80, 400);
    for max_bytes in [1, 300, 1000, 100_000] {
        let mut read = Vec::new();
        let mut from = Offset(0);
        while from < disk.log.high_watermark() {
            let piece = disk.read(from, max_bytes, ReadLimit::HighWatermark);
            let next = batches(&piece).last().unwrap().unwrap().header().next_offset();
            assert!(piece.len() <= max_bytes || batches(&piece).count() == 1);
            read.extend(piece);
            from = next;
        }
        assert_eq!(read, disk.all_bytes());
    }
}

#[test]
fn the_first_batch_is_given_even_if_it_is_larger_than_asked_for() {
    let mut disk = DiskLog::new(LogConfig { segment_bytes: 1 << 20, ..small() });
    disk.append(BatchSpec { value_bytes: 5000, ..PLAIN }).unwrap();
    disk.append(PLAIN).unwrap();
    disk.flush();
    let read = disk.read(Offset(3), 100, ReadLimit::HighWatermark);
    assert_eq!(read.len(), disk.all_bytes().len() - PLAIN.build().len());
}

#[test]
fn of_long_batches_only_the_headers_need_be_read() {
    let mut disk = DiskLog::new(LogConfig { segment_bytes: 10 << 20, ..small() });
    for _ in 0..50 {
        disk.append(BatchSpec { value_bytes: 10_000, ..PLAIN }).unwrap();
    }
    disk.flush();
    let Ok(ReadPlan::Range(range)) = disk.log.plan_read(Offset(0), ReadLimit::HighWatermark) else {
        panic!("nothing to read")
    };
    let file = &disk.files[&Offset(0)];
    let mut walk = BatchWalk::new(range, usize::MAX);
    let mut read_bytes = 0;
    let chosen = loop {
        let (position, bytes) = walk.wants();
        let position = usize::try_from(position).unwrap();
        read_bytes += bytes;
        match walk.look(&file[position..position + bytes]) {
            Selection::Open => {}
            Selection::Batches { bytes, .. } => break bytes,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(chosen, file.len());
    assert!(read_bytes < file.len() / 10, "{read_bytes} of {}", file.len());
}

#[test]
fn failure_34_an_index_that_points_elsewhere_is_noticed() {
    let mut disk = filled(80, 400);
    while disk.log.active_segment().indexes().unwrap().offsets.entry_count() < 3 {
        disk.append(PLAIN).unwrap();
    }
    let segment = disk.log.active_segment().clone();
    let mut wrong = segment.indexes().unwrap().clone();
    let entries: Vec<_> = wrong.offsets.entries().collect();
    wrong.offsets = OffsetIndex::new(segment.base_offset());
    for entry in &entries {
        wrong.offsets.append(entry.last_offset.next(), entry.position);
    }
    disk.log.active.install_indexes(wrong);
    let Ok(ReadPlan::Range(range)) =
        disk.log.plan_read(entries[0].last_offset.next(), ReadLimit::LogEnd)
    else {
        panic!("nothing to read")
    };
    let position = u64::from(range.position);
    let file = &disk.files[&range.segment];
    assert_eq!(walk_batches(file, range, 100), Selection::Damaged { position });
    let short = IndexFiles { offsets: Vec::new(), ..disk.indexes[&Offset(0)].clone() };
    let first = disk.log.segment(Offset(0)).unwrap();
    let decoded = SegmentIndexes::decode(first, &short.offsets, &short.times);
    assert_eq!(decoded, Err(CorruptIndex::NotAsClosed));
}

/// The first record at or after a timestamp, as the shell finds it.
fn look_up(disk: &mut DiskLog, timestamp: i64) -> Option<TimestampOffset> {
    let timestamp = TimestampMs(timestamp);
    loop {
        let scan = match disk.log.plan_timestamp(timestamp, Offset(0), ReadLimit::LogEnd) {
            TimestampPlan::Nothing => return None,
            TimestampPlan::LoadIndexes { segment } => {
                disk.load_indexes(segment);
                continue;
            }
            TimestampPlan::Scan(scan) => scan,
        };
        let bytes = &disk.files[&scan.segment][scan.position as usize..];
        let BatchSearch::Found { skip, .. } = find_batch(bytes, &scan).unwrap() else {
            return None;
        };
        let mut decompressor = Decompressor::default();
        return first_record_at(&bytes[skip..], timestamp, scan.from, &mut decompressor).unwrap();
    }
}

#[test]
fn every_timestamp_is_found_where_a_walk_finds_it() {
    let mut disk = filled(80, 400);
    let all = disk.all_bytes();
    let mut decompressor = Decompressor::default();
    let mut records = Vec::new();
    for batch in batches(&all) {
        for record in batch.unwrap().records(&mut decompressor).unwrap() {
            let record = record.unwrap();
            records.push(TimestampOffset { timestamp: record.timestamp, offset: record.offset });
        }
    }
    for timestamp in 990..1520 {
        let walked = records.iter().find(|record| record.timestamp.0 >= timestamp).copied();
        assert_eq!(look_up(&mut disk, timestamp), walked, "timestamp {timestamp}");
    }
    let newest = records.iter().map(|record| record.timestamp).max().unwrap();
    let largest = disk.log.largest_timestamp().unwrap();
    assert_eq!(largest.timestamp, newest);
    let first = records.iter().find(|record| record.timestamp == newest).unwrap();
    assert!((0..5).contains(&(largest.offset - first.offset)), "the last offset of its batch");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reads_of_any_size_from_anywhere_give_whole_batches_in_order(
        batch_count in 1_i32..60,
        interval in 0_u32..3000,
        asked in proptest::collection::vec((0.0_f64..1.0, 1_usize..6000), 1..20),
    ) {
        let mut disk = filled(batch_count, interval);
        let end = disk.log.log_end_offset().0;
        for (part, max_bytes) in asked {
            #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
            let from = Offset((end as f64 * part) as i64);
            let read = disk.read(from, max_bytes, ReadLimit::HighWatermark);
            let expected: Vec<u8> =
                walked(&disk, from).into_iter().flat_map(|(_, bytes)| bytes).collect();
            prop_assert!(!read.is_empty());
            prop_assert_eq!(&read[..], &expected[..read.len()]);
            prop_assert!(read.len() <= max_bytes || batches(&read).count() == 1);
        }
    }
}

#[test]
fn failure_34_after_a_restart_the_rebuilt_indexes_find_the_same() {
    let disk = filled(80, 400);
    let mut restarted = disk.restart(700, OnDamage::Refuse).unwrap();
    for (segment, files) in &disk.indexes {
        assert_eq!(&restarted.indexes[segment], files);
    }
    for from in 0..disk.log.log_end_offset().0 {
        let read = restarted.read(Offset(from), 1, ReadLimit::HighWatermark);
        assert_eq!(read, walked(&disk, Offset(from))[0].1, "offset {from}");
    }
}
