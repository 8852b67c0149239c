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
    assert!(disk.log.plan_read(end.next(), 100, ReadLimit::HighWatermark).is_err());
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
    let Ok(ReadPlan::Range(range)) =
        disk.log.plan_read(Offset(0), usize::MAX, ReadLimit::HighWatermark)
    else {
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
        disk.log.plan_read(entries[0].last_offset.next(), 100, ReadLimit::LogEnd)
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

/// Bytes read of a file, and how often, to choose from it what `range` gives.
fn read_cost(file: &[u8], range: ReadRange, max_bytes: usize) -> (Selection, usize, usize) {
    let (mut walk, mut reads, mut read_bytes) = (BatchWalk::new(range, max_bytes), 0, 0);
    loop {
        let (position, bytes) = walk.wants();
        let position = usize::try_from(position).unwrap();
        (reads, read_bytes) = (reads + 1, read_bytes + bytes);
        match walk.look(&file[position..position + bytes]) {
            Selection::Open => {}
            decided => return (decided, reads, read_bytes),
        }
    }
}

#[rstest]
#[case::long_batches(3, 1000, 20)]
#[case::short_batches(1, 50, 4000)]
fn a_read_that_goes_on_leaps_to_its_end(
    #[case] records: i32,
    #[case] value_bytes: usize,
    #[case] batch_count: usize,
) {
    let config = LogConfig { segment_bytes: 10 << 20, index_interval_bytes: 2000, ..small() };
    let mut disk = DiskLog::new(config);
    for _ in 0..batch_count {
        disk.append(BatchSpec { records, value_bytes, ..PLAIN }).unwrap();
    }
    disk.flush();
    let file = disk.files[&Offset(0)].clone();
    let (mut from, mut read) = (Offset(0), Vec::new());
    while from < disk.log.high_watermark() {
        let max_bytes = 50_000;
        let Ok(ReadPlan::Range(range)) =
            disk.log.plan_read(from, max_bytes, ReadLimit::HighWatermark)
        else {
            panic!("nothing to read at {from}")
        };
        let (selection, reads, read_bytes) = read_cost(&file, range, max_bytes);
        let Selection::Batches { position, bytes, next_offset } = selection else {
            panic!("{selection:?} at {from}")
        };
        assert!(range.leap.is_some() && reads <= 4, "{reads} reads at {from}");
        assert!(read_bytes <= 17_000, "{read_bytes} bytes read at {from}");
        read.extend_from_slice(&file[position as usize..][..bytes]);
        disk.log.note_read(next_offset, range.segment, position + u32::try_from(bytes).unwrap());
        from = next_offset;
    }
    assert!(read == file);
}

/// What a walk along each header gives, told from the headers alone.
fn along_each_header(file: &[u8], range: ReadRange, max_bytes: usize) -> Selection {
    let (mut position, mut chosen) = (0_usize, None);
    let given = |chosen: Option<(usize, usize, Offset)>, nothing| match chosen {
        None => nothing,
        Some((start, end, next_offset)) => Selection::Batches {
            position: u32::try_from(start).unwrap(),
            bytes: end - start,
            next_offset,
        },
    };
    for batch in batches(&file[..range.end_position as usize]) {
        let batch = batch.unwrap();
        let (header, end) = (batch.header(), position + batch.bytes().len());
        if header.base_offset >= range.limit {
            return given(chosen, Selection::AtLimit);
        }
        if header.last_offset() >= range.from {
            let start = chosen.map_or(position, |(start, ..)| start);
            if chosen.is_some() && end - start > max_bytes {
                break;
            }
            chosen = Some((start, end, header.next_offset()));
        }
        position = end;
    }
    given(chosen, Selection::Beyond)
}

/// A log of batches of any size (records, bytes of a value), some with a gap before them as
/// compaction leaves it, of which a reader sees a part.
fn any_log(sizes: &[(i32, usize, i64)], interval: u32, visible: f64) -> DiskLog {
    let config = LogConfig { segment_bytes: 60_000, index_interval_bytes: interval, ..small() };
    let mut disk = DiskLog::new(config);
    for &(records, value_bytes, gap) in sizes {
        let mut batch = BatchSpec { records, value_bytes, ..PLAIN }.build().to_vec();
        let base_offset = disk.log.log_end_offset() + gap;
        batch[..8].copy_from_slice(&base_offset.0.to_be_bytes());
        disk.append_as(batch.into(), AppendOrigin::Replication).unwrap();
    }
    disk.log.flushed(part_of(disk.log.log_end_offset(), visible));
    disk
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn part_of(end: Offset, part: f64) -> Offset {
    Offset((end.0 as f64 * part) as i64)
}

/// An index with some entries that say something else than the log.
fn lying(index: &OffsetIndex, segment: &LogSegment, lies: &[(usize, i64, i64)]) -> OffsetIndex {
    let mut entries: Vec<_> = index.entries().collect();
    for &(number, offsets_off, bytes_off) in lies {
        let count = entries.len().max(1);
        if let Some(entry) = entries.get_mut(number % count) {
            entry.last_offset += offsets_off;
            let position = i64::from(entry.position) + bytes_off;
            entry.position = u32::try_from(position.max(0)).unwrap().min(segment.bytes() - 1);
        }
    }
    let mut wrong = OffsetIndex::new(segment.base_offset());
    for entry in entries {
        wrong.append(entry.last_offset, entry.position);
    }
    wrong
}

/// Reads thrice from `from` on and compares each time; gives how many answers were compared, how
/// many of them leapt, and how many times the index was found to lie.
fn compare(
    disk: &mut DiskLog,
    (mut from, max_bytes): (Offset, usize),
    lies: &[(usize, i64, i64)],
) -> (usize, usize, usize) {
    let (mut compared, mut leapt, mut noticed) = (0, 0, 0);
    let mut lied_about = None;
    while compared < 3 {
        let range = match disk.log.plan_read(from, max_bytes, ReadLimit::HighWatermark).unwrap() {
            ReadPlan::Nothing => break,
            ReadPlan::LoadIndexes { segment } => {
                let files = &disk.indexes[&segment];
                let bytes = disk.log.segment(segment).unwrap().bytes();
                let offsets = OffsetIndex::decode(segment, bytes, &files.offsets).unwrap();
                let times = TimeIndex::decode(segment, &files.times).unwrap();
                disk.log.install_indexes(segment, SegmentIndexes { offsets, times });
                continue;
            }
            ReadPlan::Range(range) => range,
        };
        let segment = disk.log.segment(range.segment).unwrap();
        if let Some(right) = segment.indexes().cloned()
            && lied_about != Some(range.segment)
        {
            lied_about = Some(range.segment);
            let offsets = lying(&right.offsets, segment, lies);
            disk.log.install_indexes(range.segment, SegmentIndexes { offsets, ..right });
            continue;
        }
        let file = &disk.files[&range.segment];
        let expected = along_each_header(file, range, max_bytes);
        let mut found = walk_batches(file, range, max_bytes);
        if matches!(found, Selection::Damaged { .. }) {
            noticed += 1;
            // As the shell does: the index is built anew, and the read begins again.
            let without = ReadRange { leap: None, begins_with: None, position: 0, ..range };
            found = walk_batches(file, without, max_bytes);
        }
        assert_eq!(found, expected, "{range:?}, {max_bytes} bytes");
        (compared, leapt) = (compared + 1, leapt + usize::from(range.leap.is_some()));
        let Selection::Batches { position, bytes, next_offset } = found else { break };
        disk.log.note_read(next_offset, range.segment, position + u32::try_from(bytes).unwrap());
        from = next_offset;
    }
    (compared, leapt, noticed)
}

/// Sizes from a few bytes to 20 KB, so that a piece holds many, one or none.
fn any_sizes() -> impl Strategy<Value = Vec<(i32, usize, i64)>> {
    let value_bytes = prop_oneof![4 => 0_usize..200, 2 => 200_usize..3000, 1 => 3000_usize..9000];
    let gap = prop_oneof![6 => Just(0_i64), 1 => 1_i64..2000];
    proptest::collection::vec((1_i32..3, value_bytes, gap), 1..80)
}

fn any_interval() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0_u32), 1_u32..1000, Just(4096_u32), Just(1_000_000_u32)]
}

fn any_visible() -> impl Strategy<Value = f64> {
    prop_oneof![Just(1.0_f64), 0.0_f64..1.0]
}

fn any_reads() -> impl Strategy<Value = Vec<(f64, usize)>> {
    let max_bytes =
        prop_oneof![0_usize..500, 500_usize..20_000, 20_000_usize..100_000, Just(usize::MAX)];
    proptest::collection::vec((0.0_f64..1.0, max_bytes), 1..20)
}

fn any_lie(most: i64) -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), -most..most]
}

/// Compares all reads; gives the sums of what [`compare`] gives.
fn compare_all(
    disk: &mut DiskLog,
    reads: &[(f64, usize)],
    lies: &[(usize, i64, i64)],
) -> (usize, usize, usize) {
    let mut sum = (0, 0, 0);
    for &(part, max_bytes) in reads {
        let from = part_of(disk.log.log_end_offset(), part);
        let (compared, leapt, noticed) = compare(disk, (from, max_bytes), lies);
        sum = (sum.0 + compared, sum.1 + leapt, sum.2 + noticed);
    }
    sum
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_leap_gives_what_a_walk_along_each_header_gives(
        sizes in any_sizes(),
        interval in any_interval(),
        visible in any_visible(),
        reads in any_reads(),
    ) {
        let mut disk = any_log(&sizes, interval, visible);
        let (_, _, noticed) = compare_all(&mut disk, &reads, &[]);
        prop_assert_eq!(noticed, 0);
    }

    #[test]
    fn failure_34_an_index_that_lies_changes_no_answer(
        sizes in any_sizes(),
        interval in any_interval(),
        visible in any_visible(),
        reads in any_reads(),
        lies in proptest::collection::vec((0_usize..100, any_lie(4), any_lie(9000)), 1..30),
    ) {
        let mut disk = any_log(&sizes, interval, visible);
        compare_all(&mut disk, &reads, &lies);
    }
}

#[test]
fn failure_34_the_comparison_meets_leaps_and_lies() {
    let sizes: Vec<_> = (0..200_i32)
        .map(|n| (n % 3 + 1, n as usize * 7919 % 2000, i64::from(n % 9 == 0)))
        .collect();
    let reads: Vec<_> = (0..50_u32).map(|n| (f64::from(n) / 50.0, 10_000)).collect();
    let (compared, leapt, noticed) = compare_all(&mut any_log(&sizes, 0, 1.0), &reads, &[]);
    assert!(compared >= 100 && leapt > compared / 2 && noticed == 0, "{compared} {leapt}");
    for lie in [(3, 1, 0), (3, -1, 0), (3, 0, 61), (3, 0, -300), (8, 2, 500)] {
        let lies = [lie, (lie.0 + 5, lie.1, lie.2), (lie.0 + 10, lie.1, lie.2)];
        let (_, _, noticed) = compare_all(&mut any_log(&sizes, 0, 1.0), &reads, &lies);
        assert!(noticed > 0, "{lie:?}");
    }
}
