//! The log's promises, against files made up in memory.

use rstest::rstest;
use streamledger_protocol::record_batch::{ControlKind, RecordBatchHeader, batches};
use streamledger_protocol::{ErrorCode, ProducerId};

use super::super::testing::*;
use super::super::*;
use super::*;
use crate::planted_bugs::Planted;

fn config(change: impl FnOnce(&mut LogConfig)) -> LogConfig {
    let mut config = small();
    change(&mut config);
    config
}

fn idempotent(id: i64, first_sequence: i32) -> BatchSpec {
    BatchSpec { producer: Some((id, first_sequence)), ..PLAIN }
}

#[test]
fn offsets_and_leader_epoch_are_patched_in_and_the_rest_stays_as_received() {
    let mut disk = DiskLog::new(small());
    assert!(disk.log.become_leader(LeaderEpoch(3)));
    disk.append(PLAIN).unwrap();
    let outcome = disk.append(PLAIN).unwrap();
    let expected = AppendOutcome {
        base_offset: Offset(10),
        last_offset: Offset(19),
        log_append_time: TimestampMs::NONE,
        log_start_offset: Offset(0),
        duplicate: false,
    };
    assert_eq!(outcome, expected);
    let file = &disk.files[&Offset(0)];
    let sent = PLAIN.build();
    let second = &file[sent.len()..];
    assert_eq!(second[17..], sent[17..]);
    let header = RecordBatchHeader::parse(second).unwrap();
    assert_eq!((header.base_offset, header.partition_leader_epoch.0), (Offset(10), 3));
    for batch in batches(file) {
        batch.unwrap().verify_crc().unwrap();
    }
}

#[test]
fn log_append_time_stamps_the_batch_and_its_checksum_holds() {
    let stamped = config(|c| c.timestamp_type = TimestampType::LogAppendTime);
    let mut disk = DiskLog::new(stamped);
    let outcome = disk.append(idempotent(1, 0)).unwrap();
    assert_eq!(outcome.log_append_time, TimestampMs(1_000_000));
    let batch = batches(&disk.files[&Offset(0)]).next().unwrap().unwrap();
    batch.verify_crc().unwrap();
    assert_eq!(batch.header().max_timestamp, TimestampMs(1_000_000));
    disk.now = at_ms(2_000_000);
    let again = disk.append(idempotent(1, 0)).unwrap();
    assert!(again.duplicate);
    assert_eq!(again.log_append_time, TimestampMs(1_000_000), "when it was really appended");
}

#[test]
fn nothing_is_visible_before_it_is_written_nor_to_consumers_before_it_is_flushed() {
    let mut disk = DiskLog::new(small());
    let AppendDecision::Write(prepared) = disk.decide(PLAIN.build(), AppendOrigin::Client).unwrap()
    else {
        panic!("a duplicate of nothing")
    };
    assert_eq!(disk.log.log_end_offset(), Offset(0), "failure 35: decided, and nothing changed");
    disk.log.written(&prepared, disk.now);
    assert_eq!((disk.log.log_end_offset(), disk.log.high_watermark()), (Offset(10), Offset(0)));
    assert_eq!(disk.log.plan_read(Offset(0), 100, ReadLimit::HighWatermark), Ok(ReadPlan::Nothing));
    disk.log.flushed(Offset(10));
    assert_eq!(disk.log.high_watermark(), Offset(10));
    disk.log.flushed(Offset(5));
    assert_eq!(disk.log.high_watermark(), Offset(10), "never back");
}

#[rstest]
#[case(HighWatermarkRule::Written, 10, 10)]
#[case(HighWatermarkRule::Flushed, 0, 10)]
#[case(HighWatermarkRule::Replicated, 0, 0)]
fn each_rule_of_the_high_watermark(
    #[case] watermark: HighWatermarkRule,
    #[case] once_written: i64,
    #[case] once_flushed: i64,
) {
    let mut disk = DiskLog::new(config(|c| c.watermark = watermark));
    disk.append(PLAIN).unwrap();
    assert_eq!(disk.log.high_watermark().0, once_written);
    disk.flush();
    assert_eq!(disk.log.high_watermark().0, once_flushed);
    disk.log.replicated(Offset(99));
    assert_eq!(disk.log.high_watermark().0, 10);
}

#[test]
fn failure_3_a_retry_is_answered_with_its_first_offsets_and_writes_nothing() {
    let mut disk = DiskLog::new(small());
    let first = disk.append(idempotent(7, 0)).unwrap();
    for sequence in [10, 20, 30, 40] {
        disk.append(idempotent(7, sequence)).unwrap();
    }
    let before = disk.all_bytes();
    let again = disk.append(idempotent(7, 0)).unwrap();
    assert_eq!(again, AppendOutcome { duplicate: true, ..first });
    assert_eq!(disk.all_bytes(), before);
}

#[rstest]
#[case(idempotent(7, 5), ErrorCode::OutOfOrderSequenceNumber)]
#[case(BatchSpec { value_bytes: 3000, ..PLAIN }, ErrorCode::RecordListTooLarge)]
#[case(BatchSpec { value_bytes: 8000, ..PLAIN }, ErrorCode::MessageTooLarge)]
#[case(BatchSpec { timestamp: 9_000_000, ..PLAIN }, ErrorCode::InvalidTimestamp)]
#[case(BatchSpec { timestamp: 100, ..PLAIN }, ErrorCode::InvalidTimestamp)]
fn what_is_refused_is_refused_by_kafkas_code_and_leaves_no_trace(
    #[case] spec: BatchSpec,
    #[case] error_code: ErrorCode,
) {
    let mut disk = DiskLog::new(config(|c| {
        c.message_bytes_max = 50_000;
        c.timestamp_after_ms_max = Some(3_600_000);
        c.timestamp_before_ms_max = Some(999_500);
    }));
    let refusal = disk.append(spec).unwrap_err();
    assert_eq!(refusal.error_code(), error_code, "{refusal}");
    assert_eq!((disk.log.log_end_offset(), disk.all_bytes().len()), (Offset(0), 0));
}

#[test]
fn failure_54_a_changed_byte_a_second_batch_or_none_is_refused() {
    let mut disk = DiskLog::new(small());
    let mut changed = PLAIN.build().to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let twice = [PLAIN.build(), PLAIN.build()].concat();
    for (records, code) in [
        (changed, ErrorCode::CorruptMessage),
        (twice, ErrorCode::InvalidRecord),
        (Vec::new(), ErrorCode::InvalidRecord),
    ] {
        let refusal = disk.append_as(records.into(), AppendOrigin::Client).unwrap_err();
        assert_eq!(refusal.error_code(), code);
    }
    assert_eq!(disk.log.log_end_offset(), Offset(0));
}

#[test]
fn a_full_segment_rolls_with_its_indexes_and_the_producers() {
    let mut disk = DiskLog::new(small());
    while disk.files.len() < 3 {
        let next = i32::try_from(disk.log.log_end_offset().0).unwrap();
        disk.append(idempotent(7, next)).unwrap();
    }
    let segments: Vec<_> = disk.log.segments().map(|s| (s.base_offset(), s.bytes())).collect();
    for (base_offset, bytes) in &segments {
        assert_eq!(disk.files[base_offset].len(), *bytes as usize);
        assert!(*bytes <= 4096);
    }
    let (opened, snapshot) = disk.snapshots.iter().next().unwrap();
    assert_eq!(*opened, segments[1].0);
    let (offset, table) = decode_snapshot(snapshot, disk.now.monotonic, Planted::none()).unwrap();
    let state = table.producer(ProducerId(7)).unwrap();
    assert_eq!((offset, state.recent.last().unwrap().last_offset.next()), (*opened, *opened));
    let index = &disk.indexes[&Offset(0)];
    assert!(index.offsets.len() >= 16 && index.times.len() == 12);
    assert!(index.transactions.is_empty());
}

#[test]
fn a_segment_rolls_when_its_records_span_too_much_time_or_its_index_is_full() {
    let mut by_time = DiskLog::new(config(|c| c.segment_ms = 500));
    by_time.append(PLAIN).unwrap();
    by_time.append(BatchSpec { timestamp: 1509, ..PLAIN }).unwrap();
    by_time.append(BatchSpec { timestamp: 1501, ..PLAIN }).unwrap();
    assert_eq!(by_time.files.len(), 2, "the first batch's newest record is of 1009");
    let mut by_index = DiskLog::new(config(|c| c.segment_index_bytes = 24));
    for _ in 0..10 {
        by_index.append(PLAIN).unwrap();
    }
    assert!(by_index.files.len() > 1);
}

#[test]
fn a_followers_log_takes_batches_with_their_offsets_and_refuses_those_it_has() {
    let mut leader = DiskLog::new(small());
    leader.log.become_leader(LeaderEpoch(5));
    leader.append(idempotent(7, 0)).unwrap();
    leader.append(idempotent(7, 10)).unwrap();
    let mut follower = DiskLog::new(small());
    let fetched = leader.read(Offset(0), 10_000, ReadLimit::LogEnd);
    let cut = bytes::Bytes::from([&fetched, &fetched[..40]].concat());
    follower.append_as(cut, AppendOrigin::Replication).unwrap();
    assert_eq!(follower.all_bytes(), leader.all_bytes());
    assert_eq!(follower.log.producers(), leader.log.producers());
    assert_eq!(follower.log.leader_epochs(), leader.log.leader_epochs());
    let again = follower.append_as(fetched.into(), AppendOrigin::Replication).unwrap_err();
    assert!(matches!(again, AppendRefusal::NotContinuous { .. }));
}

#[test]
fn a_transaction_holds_the_last_stable_offset_until_its_marker_is_in_sight() {
    let mut disk = DiskLog::new(small());
    disk.append(PLAIN).unwrap();
    disk.append(BatchSpec { transactional: true, ..idempotent(7, 0) }).unwrap();
    disk.append(PLAIN).unwrap();
    disk.flush();
    assert_eq!(disk.log.last_stable_offset(), Offset(10));
    disk.append_marker(7, ControlKind::Abort);
    assert_eq!(disk.log.last_stable_offset(), Offset(10), "the marker may still be lost");
    disk.flush();
    assert_eq!(disk.log.last_stable_offset(), Offset(31));
    let aborted = disk.log.producers().transactions().aborted_between(Offset(0), Offset(31));
    assert_eq!((aborted.len(), aborted[0].first_offset), (1, Offset(10)));
}

#[test]
fn failure_9_a_producer_whose_events_are_old_is_not_forgotten_early() {
    let mut disk = DiskLog::new(config(|c| c.producer_expiration_ms = 60_000));
    disk.append(BatchSpec { timestamp: 5, ..idempotent(7, 0) }).unwrap();
    disk.now = at_ms(1_059_999);
    assert_eq!(disk.log.expire_producers(disk.now.monotonic), 0);
    disk.now = at_ms(1_060_000);
    assert_eq!(disk.log.expire_producers(disk.now.monotonic), 1);
    let refusal = disk.append(idempotent(7, 10)).unwrap_err();
    assert_eq!(refusal.error_code(), ErrorCode::UnknownProducerId);
}

#[test]
fn segments_are_closed_by_age_earlier_each_by_a_part_of_the_jitter_of_its_own() {
    let config = |jitter_seed| LogConfig {
        segment_ms: 1000,
        segment_jitter_ms: 400,
        jitter_seed,
        ..small()
    };
    let jitters: Vec<u64> = (0..200).map(|seed| config(seed).roll_jitter_ms(Offset(0))).collect();
    assert!(jitters.iter().all(|jitter| *jitter < 400));
    assert!(jitters.iter().max() > Some(&350) && jitters.iter().min() < Some(&50));
    assert_eq!(LogConfig::default().roll_jitter_ms(Offset(0)), 0);
    let jitter = i64::try_from(config(7).roll_jitter_ms(Offset(0))).unwrap();
    for (later, rolls) in [(1000 - jitter, false), (1001 - jitter, true)] {
        let mut disk = DiskLog::new(config(7));
        disk.append(BatchSpec { timestamp: 1000, ..PLAIN }).unwrap();
        disk.append(BatchSpec { timestamp: 1000 + later, ..PLAIN }).unwrap();
        assert_eq!(disk.files.len() == 2, rolls, "{later} ms later");
    }
}
