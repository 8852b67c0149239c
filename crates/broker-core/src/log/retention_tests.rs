//! What goes, what stays, and what a clock that jumps does to it.

use streamledger_protocol::{Offset, TimestampMs};

use super::super::testing::*;
use super::super::*;
use crate::time::{MonotonicMs, Now};

const HOUR: u64 = 3_600_000;

/// Segments of three batches, one batch a second from 1,000,000 ms on.
fn filled(mut config: LogConfig) -> DiskLog {
    config.segment_bytes = 1400;
    let mut disk = DiskLog::new(config);
    for n in 0..20 {
        disk.append(BatchSpec { timestamp: 1_000_000 + n * 1000, ..PLAIN }).unwrap();
    }
    disk.flush();
    disk
}

fn ends(disk: &DiskLog) -> Vec<i64> {
    disk.log.segments().map(|segment| segment.next_offset().0).collect()
}

#[test]
fn segments_go_by_the_age_of_their_newest_record() {
    let mut disk = filled(LogConfig { retention_ms: Some(5000), ..small() });
    assert_eq!(ends(&disk), [30, 60, 90, 120, 150, 180, 200]);
    let plan = disk.log.plan_retention(TimestampMs(1_010_000));
    assert_eq!(plan.segments, [Offset(0)], "the second's newest is of 1,005,009");
    assert_eq!((plan.log_start_offset, plan.roll_first), (Offset(30), false));
    disk.log.segments_removed(&plan);
    assert_eq!(disk.log.log_start_offset(), Offset(30));
    assert!(disk.log.plan_read(Offset(29), 100, ReadLimit::LogEnd).is_err());
}

#[test]
fn the_active_segment_is_closed_before_it_goes() {
    let mut disk = filled(LogConfig { retention_ms: Some(5000), ..small() });
    let later = TimestampMs(2_000_000);
    let plan = disk.log.plan_retention(later);
    assert_eq!((plan.segments.len(), plan.roll_first), (6, true));
    disk.roll();
    let plan = disk.log.plan_retention(later);
    assert_eq!((plan.segments.len(), plan.roll_first), (7, false));
    disk.log.segments_removed(&plan);
    assert_eq!(disk.log.log_start_offset(), disk.log.log_end_offset());
    assert_eq!(disk.append(PLAIN).unwrap().base_offset, Offset(200));
}

#[test]
fn segments_go_by_size_while_what_stays_is_enough() {
    let disk = filled(LogConfig { retention_bytes: Some(2500), ..small() });
    let plan = disk.log.plan_retention(TimestampMs(0));
    let kept: u64 = disk
        .log
        .segments()
        .filter(|segment| !plan.segments.contains(&segment.base_offset()))
        .map(|segment| u64::from(segment.bytes()))
        .sum();
    let next = u64::from(disk.log.segment(Offset(0)).unwrap().bytes());
    assert!((2500..2500 + next).contains(&kept), "kept {kept}");
}

#[test]
fn nothing_above_the_high_watermark_goes_and_compacted_logs_keep_all() {
    let mut disk =
        DiskLog::new(LogConfig { segment_bytes: 1400, retention_ms: Some(1), ..small() });
    for _ in 0..9 {
        disk.append(PLAIN).unwrap();
    }
    disk.log.flushed(Offset(40));
    let plan = disk.log.plan_retention(TimestampMs(9_000_000));
    assert_eq!((plan.segments, plan.roll_first), (vec![Offset(0)], false));
    let compacted = filled(LogConfig {
        retention_ms: Some(1),
        retention_bytes: Some(1),
        cleanup: CleanupPolicy::Compact,
        ..small()
    });
    assert!(compacted.log.plan_retention(TimestampMs(9_000_000)).segments.is_empty());
}

#[test]
fn deleted_records_are_gone_at_once_and_their_segments_next() {
    let mut disk = filled(small());
    assert_eq!(disk.log.delete_records_before(Offset(70)).unwrap(), Offset(70));
    assert_eq!(disk.log.delete_records_before(Offset(10)).unwrap(), Offset(70), "never back");
    assert!(disk.log.plan_read(Offset(69), 100, ReadLimit::LogEnd).is_err());
    let plan = disk.log.plan_retention(TimestampMs(0));
    assert_eq!((plan.segments.len(), plan.log_start_offset), (2, Offset(70)));
    assert!(disk.log.delete_records_before(Offset(201)).is_err());
    assert_eq!(disk.log.delete_records_before(Offset::NONE).unwrap(), Offset(200));
}

#[test]
fn failure_46_a_clock_that_jumps_an_hour_deletes_nothing_either_way() {
    let disk = filled(LogConfig { retention_ms: Some(HOUR / 2), ..small() });
    let mut clock = RetentionClock::new(at_ms(1_000_000));
    let jumped = |passed: u64, wall: i64| Now {
        wall: TimestampMs(wall),
        monotonic: MonotonicMs(1_000_000 + passed),
    };
    let hour = i64::try_from(HOUR).unwrap();
    let forward = clock.read(jumped(60_000, 1_060_000 + hour));
    assert_eq!(forward, TimestampMs(1_060_000));
    assert!(disk.log.plan_retention(forward).segments.is_empty());
    let back = clock.read(jumped(120_000, 1_120_000 - hour));
    assert_eq!(back, TimestampMs(1_120_000 - hour));
    assert!(disk.log.plan_retention(back).segments.is_empty());
    let again = clock.read(jumped(180_000, 1_180_000));
    assert!(again < TimestampMs(1_180_000), "coming back looks like a jump ahead");
    let day_later = clock.read(jumped(180_000 + 24 * HOUR, 1_180_000 + 24 * hour));
    assert_eq!(day_later, TimestampMs(1_180_000 + 24 * hour), "believed after a day");
}
