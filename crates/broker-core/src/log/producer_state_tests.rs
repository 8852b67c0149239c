//! The producer check, row by row.

use super::*;
use proptest::prelude::*;

fn identity(id: i64, epoch: i16) -> ProducerIdentity {
    ProducerIdentity { id: ProducerId(id), epoch: ProducerEpoch(epoch) }
}

fn batch(epoch: i16, first: i32, last: i32) -> ProducerBatch {
    ProducerBatch {
        producer: identity(7, epoch),
        first_sequence: SequenceNumber(first),
        last_sequence: SequenceNumber(last),
        transactional: false,
    }
}

fn at(first: i64, last: i64) -> Appended {
    Appended {
        first_offset: Offset(first),
        last_offset: Offset(last),
        timestamp: TimestampMs(1000),
        seen: MonotonicMs(50),
    }
}

/// Ten batches of ten records: sequences 0-9 at offsets 100-109, and so on.
fn table_after(batches: i32) -> ProducerStateTable {
    let mut table = ProducerStateTable::default();
    for n in 0..batches {
        let first = i64::from(n) * 10 + 100;
        table.replay(&batch(0, n * 10, n * 10 + 9), &at(first, first + 9));
    }
    table
}

fn out_of_order(epoch: i16, expected: i32, found: i32) -> ProducerRefusal {
    ProducerRefusal::OutOfOrder {
        producer: identity(7, epoch),
        expected: SequenceNumber(expected),
        found: SequenceNumber(found),
    }
}

#[test]
fn the_next_sequence_is_taken_and_a_gap_is_refused() {
    let table = table_after(3);
    assert_eq!(table.check(&batch(0, 30, 31)), Ok(SequenceVerdict::Next));
    assert_eq!(table.check(&batch(0, 31, 31)), Err(out_of_order(0, 30, 31)));
}

#[test]
fn failure_3_trap_11_each_of_the_last_five_is_a_duplicate_with_its_first_offset() {
    let table = table_after(8);
    for n in 3..8 {
        let verdict = table.check(&batch(0, n * 10, n * 10 + 9));
        let Ok(SequenceVerdict::Duplicate(original)) = verdict else { panic!("{verdict:?}") };
        assert_eq!(original.first_offset, Offset(100 + i64::from(n) * 10));
        assert_eq!(original.last_offset, Offset(109 + i64::from(n) * 10));
    }
    assert_eq!(table.check(&batch(0, 20, 29)), Err(out_of_order(0, 80, 20)), "older than five");
    assert_eq!(table.check(&batch(0, 70, 75)), Err(out_of_order(0, 80, 70)), "not the same batch");
}

#[test]
fn failure_8_a_first_sequence_other_than_0_of_an_unknown_producer_is_refused() {
    let fresh = ProducerStateTable::default();
    assert_eq!(fresh.check(&batch(0, 5, 9)), Err(out_of_order(0, 0, 5)));
    assert_eq!(fresh.check(&batch(0, 0, 4)), Ok(SequenceVerdict::Next));
    let mut others = table_after(2);
    others.replay(&ProducerBatch { producer: identity(8, 0), ..batch(0, 0, 0) }, &at(0, 0));
    let unknown = ProducerBatch { producer: identity(9, 0), ..batch(0, 5, 9) };
    assert!(matches!(others.check(&unknown), Err(ProducerRefusal::OutOfOrder { .. })));
}

#[test]
fn failure_9_a_forgotten_producer_is_told_so_and_begins_again_at_0() {
    let mut table = table_after(2);
    assert_eq!(table.expire(MonotonicMs(149), 100), 0);
    assert_eq!(table.expire(MonotonicMs(150), 100), 1);
    let forgotten = ProducerRefusal::Forgotten { producer: identity(7, 0) };
    assert_eq!(table.check(&batch(0, 20, 29)), Err(forgotten));
    assert_eq!(table.check(&batch(1, 0, 9)), Ok(SequenceVerdict::Next));
    table.replay(&batch(1, 0, 9), &at(200, 209));
    assert!(table.forgotten.is_empty());
}

#[test]
fn failure_9_an_open_transaction_keeps_its_producer() {
    let mut table = ProducerStateTable::default();
    table.replay(&ProducerBatch { transactional: true, ..batch(0, 0, 9) }, &at(0, 9));
    assert_eq!(table.expire(MonotonicMs(u64::MAX), 1), 0);
}

#[test]
fn a_newer_epoch_fences_the_older_and_begins_at_0() {
    let mut table = table_after(2);
    assert_eq!(table.check(&batch(1, 20, 29)), Err(out_of_order(1, 0, 20)));
    assert_eq!(table.check(&batch(1, 0, 9)), Ok(SequenceVerdict::Next));
    table.replay(&batch(1, 0, 9), &at(120, 129));
    let fenced = ProducerRefusal::Fenced { producer: identity(7, 0), current: ProducerEpoch(1) };
    assert_eq!(table.check(&batch(0, 20, 29)), Err(fenced));
    assert_eq!(table.check(&batch(0, 10, 19)), Err(fenced), "not even as a duplicate");
}

#[test]
fn failure_11_the_sequence_wraps_and_the_duplicate_window_survives_it() {
    let mut table = ProducerStateTable::default();
    table.replay(&batch(0, i32::MAX - 9, i32::MAX - 5), &at(0, 4));
    table.replay(&batch(0, i32::MAX - 4, 0), &at(5, 10));
    table.replay(&batch(0, 1, 5), &at(11, 15));
    let verdict = table.check(&batch(0, i32::MAX - 4, 0));
    let Ok(SequenceVerdict::Duplicate(original)) = verdict else { panic!("{verdict:?}") };
    assert_eq!(original.first_offset, Offset(5));
    assert_eq!(table.check(&batch(0, 6, 6)), Ok(SequenceVerdict::Next));
    let mut at_the_end = ProducerStateTable::default();
    at_the_end.replay(&batch(0, i32::MAX, i32::MAX), &at(0, 0));
    assert_eq!(at_the_end.check(&batch(0, 0, 3)), Ok(SequenceVerdict::Next));
}

#[test]
fn a_marker_ends_the_transaction_and_fences_older_coordinators() {
    let mut table = ProducerStateTable::default();
    let marker =
        TransactionMarker { producer: identity(7, 0), coordinator_epoch: 3, committed: false };
    table.replay(&ProducerBatch { transactional: true, ..batch(0, 0, 9) }, &at(0, 9));
    let outside = ProducerRefusal::OutsideTransaction { producer: identity(7, 0) };
    assert_eq!(table.check(&batch(0, 10, 10)), Err(outside));
    assert_eq!(table.check_marker(&marker, MarkerEpoch::Same), Ok(()));
    table.replay_marker(&marker, &at(10, 10));
    let aborted = table.transactions().aborted_between(Offset(0), Offset(11));
    assert_eq!((aborted[0].first_offset, aborted[0].last_offset), (Offset(0), Offset(10)));
    assert_eq!(table.check(&batch(0, 10, 10)), Ok(SequenceVerdict::Next));
    let older = TransactionMarker { coordinator_epoch: 2, ..marker };
    let fenced = ProducerRefusal::CoordinatorFenced { found: 2, current: 3 };
    assert_eq!(table.check_marker(&older, MarkerEpoch::Same), Err(fenced));
}

#[test]
fn kip_1228_a_late_marker_of_version_2_does_not_end_the_next_transaction() {
    let mut table = ProducerStateTable::default();
    table.replay(&ProducerBatch { transactional: true, ..batch(0, 0, 9) }, &at(0, 9));
    let marker =
        TransactionMarker { producer: identity(7, 1), coordinator_epoch: 3, committed: true };
    let same = TransactionMarker { producer: identity(7, 0), ..marker };
    let refused = |epoch: i16| {
        let (producer, current) = (identity(7, epoch), ProducerEpoch(epoch));
        Err(ProducerRefusal::Fenced { producer, current })
    };
    assert_eq!(table.check_marker(&same, MarkerEpoch::Raised), refused(0), "it is not raised");
    assert_eq!(table.check_marker(&marker, MarkerEpoch::Raised), Ok(()));
    table.replay_marker(&marker, &at(10, 10));
    table.replay(&ProducerBatch { transactional: true, ..batch(1, 0, 9) }, &at(11, 20));
    assert_eq!(table.check_marker(&marker, MarkerEpoch::Raised), refused(1), "it comes again");
    let next = TransactionMarker { producer: identity(7, 2), ..marker };
    assert_eq!(table.check_marker(&next, MarkerEpoch::Raised), Ok(()));
    assert_eq!(table.check_marker(&marker, MarkerEpoch::Same), Ok(()), "by version 1 it would");
}

#[test]
fn a_marker_with_a_raised_epoch_lets_the_sequence_begin_again() {
    let mut table = ProducerStateTable::default();
    table.replay(&ProducerBatch { transactional: true, ..batch(0, 0, 9) }, &at(0, 9));
    let marker =
        TransactionMarker { producer: identity(7, 1), coordinator_epoch: 0, committed: true };
    table.replay_marker(&marker, &at(10, 10));
    assert_eq!(table.check(&batch(1, 10, 10)), Err(out_of_order(1, 0, 10)));
    assert_eq!(table.check(&batch(1, 0, 0)), Ok(SequenceVerdict::Next));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn the_planted_bug_misses_a_duplicate_of_an_earlier_batch() {
    let planted = Planted::with(PlantedBug::DuplicateCheckAgainstLastBatchOnly);
    let mut table = ProducerStateTable::new(planted);
    table.replay(&batch(0, 0, 9), &at(0, 9));
    table.replay(&batch(0, 10, 19), &at(10, 19));
    assert!(table.check(&batch(0, 0, 9)).is_err());
}

proptest! {
    /// Whatever is retried, swapped or lost: each sequence is in the log once, in order.
    #[test]
    fn what_is_let_in_is_each_sequence_once_and_in_order(
        tries in proptest::collection::vec((0_i32..12, 1_i32..4), 1..200),
    ) {
        let mut table = ProducerStateTable::default();
        let mut log = Vec::new();
        for (from, records) in tries {
            let first = from * 3;
            let candidate = batch(0, first, first + records - 1);
            let offset = i64::try_from(log.len()).unwrap();
            match table.check(&candidate) {
                Ok(SequenceVerdict::Next) => {
                    table.replay(&candidate, &at(offset, offset + i64::from(records) - 1));
                    log.extend(first..first + records);
                }
                Ok(SequenceVerdict::Duplicate(original)) => {
                    let at = usize::try_from(original.first_offset.0).unwrap();
                    prop_assert_eq!(log[at], first);
                }
                Err(_) => {}
            }
        }
        let expected: Vec<i32> = (0..i32::try_from(log.len()).unwrap()).collect();
        prop_assert_eq!(log, expected);
    }
}

#[test]
fn a_transaction_is_opened_only_by_a_batch_that_was_verified_since_the_last_marker() {
    let mut table = ProducerStateTable::default();
    let producer = identity(7, 0);
    let unverified = Err(ProducerRefusal::Unverified { producer });
    assert_eq!(table.check_verified(producer, None), unverified);
    let guard = table.guard(producer.id);
    assert_eq!(table.check_verified(producer, Some(&guard)), Ok(()));
    table.replay(&ProducerBatch { transactional: true, ..batch(0, 0, 9) }, &at(0, 9));
    assert_eq!(table.check_verified(producer, None), Ok(()), "open already");
    let marker = TransactionMarker { producer, coordinator_epoch: 0, committed: false };
    table.replay_marker(&marker, &at(10, 10));
    let late = table.check_verified(producer, Some(&guard));
    assert_eq!(late, unverified, "verified before the marker, appended after it");
    let fresh = table.guard(producer.id);
    assert_eq!(table.check_verified(producer, Some(&fresh)), Ok(()));
}
