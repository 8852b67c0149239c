//! FAILURES.md 1-13, where it is about the client, each row by its number; and what else goes
//! wrong between one batch and its broker.

use std::time::Duration;

use streamledger_protocol::{BrokerId, ErrorCode, SequenceNumber};

use super::rig::*;
use crate::failure::{AttemptError, FailureReason, FatalError, WaitedFor};
use crate::idempotence::Identity;
use crate::sender::{Event, ProducerIdAnswer, SenderConfig};

#[test]
fn failures_1_and_3_a_lost_response_is_asked_again_byte_for_byte() {
    let (mut rig, deliveries) = Rig::five_in_flight();
    let first_try = rig.bytes_sent();
    rig.cut(LEADER);
    rig.pass(BACKOFF);
    assert_eq!(rig.connects, [LEADER]);
    rig.handle(Event::ConnectionUp(LEADER));
    rig.handle(Event::Metadata(vec![leaders(LEADER, 0)]));
    assert_eq!(rig.bytes_sent(), first_try, "a retry is byte-identical");
    for base_offset in [1, 10, 19, 28, 37] {
        rig.answer_next(ErrorCode::None, base_offset);
    }
    assert_eq!(offsets(&deliveries), (1..46).collect::<Vec<_>>());
}

#[test]
fn failures_2_a_batch_that_never_arrived_is_written_once_by_its_retry() {
    let mut rig = Rig::ready();
    let mut log = StrictLog::default();
    let delivery = rig.append(0, 1);
    rig.flush();
    rig.fail_next(false);
    rig.pass(BACKOFF);
    rig.serve(&mut log);
    assert_eq!((offset(&delivery[0]), log.values(0).len()), (Some(0), 1));
}

#[test]
fn failures_4_a_late_response_is_dropped_and_the_retry_decides() {
    let mut rig = Rig::warm();
    let delivery = rig.append(0, 1);
    rig.flush();
    let timed_out = rig.sent.pop_front().unwrap();
    let request = timed_out.request;
    rig.handle(Event::RequestFailed { request, possibly_sent: true });
    rig.answer(&timed_out, ErrorCode::None, 99);
    assert!(!delivery[0].is_settled());
    rig.pass(BACKOFF);
    rig.answer_next(ErrorCode::None, 1);
    assert_eq!(offset(&delivery[0]), Some(1));
}

#[test]
fn failures_5_a_moved_leader_gets_all_five_in_order_under_the_same_epoch() {
    let (mut rig, deliveries) = Rig::five_in_flight();
    let first_try = rig.bytes_sent();
    for _ in 0..5 {
        rig.answer_next(ErrorCode::NotLeaderOrFollower, 0);
    }
    assert_eq!(rig.refreshes, 1);
    assert!(rig.sent.is_empty(), "the old leader is not asked again at once");
    rig.handle(Event::Metadata(vec![leaders(OTHER, 1)]));
    assert_eq!(rig.connects, [OTHER], "a new leader is tried without waiting");
    rig.handle(Event::ConnectionUp(OTHER));
    assert_eq!(rig.bytes_sent(), first_try);
    assert!(rig.sent.iter().all(|request| request.broker == OTHER));
    for base_offset in [1, 10, 19, 28, 37] {
        rig.answer_next(ErrorCode::None, base_offset);
    }
    assert_eq!(offsets(&deliveries), (1..46).collect::<Vec<_>>());
    assert_eq!(rig.sender.identity(), Identity::Ready(identity(7, 0)));
}

#[test]
fn failures_6_duplicates_at_the_new_leader_are_acked_and_the_rest_appended() {
    let mut rig = Rig::ready();
    let mut log = StrictLog::default();
    let deliveries = rig.append(0, 9);
    rig.flush();
    rig.serve(&mut log);
    let more = rig.append(0, 45);
    rig.flush();
    // Three of five were appended and replicated before the leader went away without a word.
    for request in rig.sent.iter().take(3) {
        let batch = &request.batches[0];
        let _unheard = log.append(&batch.topic_partition, &batch.bytes);
    }
    rig.cut(LEADER);
    rig.handle(Event::Metadata(vec![leaders(OTHER, 1)]));
    rig.handle(Event::ConnectionUp(OTHER));
    rig.serve(&mut log);
    assert_eq!(offsets(&deliveries), (0..9).collect::<Vec<_>>());
    assert_eq!(offsets(&more), (9..54).collect::<Vec<_>>());
    assert_eq!(log.values(0).len(), 54);
}

#[test]
fn failures_7_those_behind_a_failed_batch_come_back_and_go_again_in_order() {
    let (mut rig, deliveries) = Rig::five_in_flight();
    let first_try = rig.bytes_sent();
    rig.answer_next(ErrorCode::NotEnoughReplicas, 0);
    rig.pass(BACKOFF);
    assert_eq!(rig.sent.len(), 4, "the first waits until those behind it have come back");
    for _ in 0..4 {
        rig.answer_next(ErrorCode::OutOfOrderSequenceNumber, 0);
    }
    assert_eq!(rig.bytes_sent(), first_try);
    for base_offset in [1, 10, 19, 28, 37] {
        rig.answer_next(ErrorCode::None, base_offset);
    }
    assert_eq!(offsets(&deliveries), (1..46).collect::<Vec<_>>());
    assert_eq!(rig.sender.identity(), Identity::Ready(identity(7, 0)));
}

#[test]
fn a_batch_refused_again_and_again_for_those_before_it_is_sent_with_pauses() {
    let (mut rig, _deliveries) = Rig::five_in_flight();
    for _ in 0..2 {
        assert_eq!(rig.sent.len(), 5, "the first time it goes again at once");
        let last = rig.sent.pop_back().expect("a request was sent");
        rig.answer(&last, ErrorCode::OutOfOrderSequenceNumber, 0);
    }
    assert_eq!(rig.sent.len(), 4, "then it waits");
    rig.pass(BACKOFF);
    assert_eq!(rig.sent.len(), 5);
}

#[test]
fn failures_8_first_batches_can_not_swap_for_the_second_waits_for_the_first() {
    let mut rig = Rig::ready();
    let _kept = rig.append(0, 18);
    rig.flush();
    assert_eq!(rig.sequences_sent(), [0]);
    rig.fail_next(true);
    rig.pass(BACKOFF);
    assert_eq!(rig.sequences_sent(), [0], "also when it is sent again");
    rig.answer_next(ErrorCode::None, 0);
    assert_eq!(rig.sequences_sent(), [9]);
}

#[test]
fn failures_9_lost_producer_state_begins_a_new_epoch_when_nothing_is_unresolved() {
    let mut rig = Rig::ready();
    let mut log = StrictLog::default();
    let _kept = rig.append(0, 9);
    rig.flush();
    rig.serve(&mut log);
    log.forget_producers();
    let deliveries = rig.append(0, 27);
    rig.flush();
    rig.serve(&mut log);
    assert_eq!(offsets(&deliveries), (9..36).collect::<Vec<_>>());
    assert_eq!(rig.sender.identity(), Identity::Ready(identity(7, 1)));
    assert_eq!(rig.asked_for_id, 1);
}

#[test]
fn failures_9_lost_producer_state_fails_what_may_be_written() {
    let (mut rig, deliveries) = Rig::five_in_flight();
    rig.fail_next(true);
    for _ in 0..4 {
        rig.answer_next(ErrorCode::OutOfOrderSequenceNumber, 0);
    }
    rig.pass(BACKOFF);
    assert_eq!(rig.sequences_sent(), [1, 10, 19, 28, 37]);
    for _ in 0..5 {
        rig.answer_next(ErrorCode::OutOfOrderSequenceNumber, 0);
    }
    let lost = failure(&deliveries[0]);
    assert_eq!((&lost.reason, lost.possibly_written), (&FailureReason::SequenceLost, true));
    // The four that surely aren't written go on from sequence 0, the first of them alone.
    assert_eq!(rig.sequences_sent(), [0]);
    assert_eq!(header(&rig.bytes_sent()[0]).producer_epoch.0, 1);
    rig.answer_next(ErrorCode::None, 10);
    assert_eq!(rig.sequences_sent(), [9, 18, 27]);
}

#[test]
fn the_epoch_waits_for_every_partition_and_all_start_from_zero() {
    let mut rig = Rig::warm();
    let other = rig.append(1, 1);
    rig.flush();
    rig.answer_next(ErrorCode::None, 0);
    let _idle = rig.append(2, 1);
    rig.flush();
    rig.answer_next(ErrorCode::None, 0);
    let lost = rig.append(0, 9);
    rig.flush();
    let slow = rig.append(1, 9);
    rig.flush();
    let (first, second) = (rig.sent.pop_front().unwrap(), rig.sent.pop_front().unwrap());
    rig.answer(&first, ErrorCode::UnknownProducerId, 0);
    let more = rig.append(1, 9);
    rig.flush();
    assert!(rig.sent.is_empty(), "no new sequence while partition 1 is unresolved");
    assert_eq!(rig.sender.identity().current(), Some(identity(7, 0)));
    rig.answer(&second, ErrorCode::None, 1);
    assert_eq!(rig.sequences_sent(), [0, 0], "KAFKA-12152: idle and busy partitions alike");
    rig.answer_next(ErrorCode::None, 50);
    let idle_again = rig.append(2, 1);
    rig.flush();
    assert_eq!(rig.sequences_sent().last(), Some(&0));
    while !rig.sent.is_empty() {
        rig.answer_next(ErrorCode::None, 50);
    }
    for deliveries in [other, lost, slow, more, idle_again] {
        assert!(result(&deliveries[0]).is_ok());
    }
}

#[test]
fn failures_10_the_last_epoch_is_followed_by_a_new_producer_id() {
    let mut rig = Rig::new(SenderConfig::default());
    rig.handle(Event::Metadata(vec![leaders(LEADER, 0)]));
    rig.handle(Event::ConnectionUp(LEADER));
    rig.handle(Event::ProducerId(ProducerIdAnswer::Given(identity(7, i16::MAX))));
    let delivery = rig.append(0, 1);
    rig.flush();
    rig.answer_next(ErrorCode::OutOfOrderSequenceNumber, 0);
    assert_eq!((rig.asked_for_id, rig.sent.len()), (2, 0));
    let later = rig.append(1, 1);
    rig.flush();
    assert!(rig.sent.is_empty(), "nothing overtakes the barrier");
    rig.handle(Event::ProducerId(ProducerIdAnswer::Given(identity(8, 0))));
    for bytes in rig.bytes_sent() {
        let header = header(&bytes);
        assert_eq!((header.producer_id.0, header.producer_epoch.0), (8, 0));
        assert_eq!(header.base_sequence, SequenceNumber::ZERO);
    }
    while !rig.sent.is_empty() {
        rig.answer_next(ErrorCode::None, 5);
    }
    assert_eq!((offset(&delivery[0]), offset(&later[0])), (Some(5), Some(5)));
}

#[test]
fn failures_11_the_sequence_wraps_to_zero() {
    let mut rig = Rig::warm();
    let slot = rig.sender.active.first().copied().unwrap_or(0);
    let partition = rig.sender.partition(slot).unwrap();
    partition.sequences.jump(SequenceNumber(i32::MAX - 8));
    let deliveries = rig.append(0, 27);
    rig.flush();
    assert_eq!(rig.sequences_sent(), [i32::MAX - 8, 0, 9]);
    let first_try = rig.bytes_sent();
    rig.cut(LEADER);
    rig.pass(BACKOFF);
    rig.handle(Event::ConnectionUp(LEADER));
    assert_eq!(rig.bytes_sent(), first_try);
    for base_offset in [1, 10, 19] {
        rig.answer_next(ErrorCode::None, base_offset);
    }
    assert_eq!(offsets(&deliveries), (1..28).collect::<Vec<_>>());
}

#[test]
fn failures_12_a_fenced_producer_fails_all_and_refuses_more() {
    let mut rig = Rig::warm();
    let delivery = rig.append(0, 1);
    let queued = rig.append(1, 1);
    rig.flush();
    rig.answer_next(ErrorCode::ProducerFenced, 0);
    let fatal = FailureReason::Fatal(FatalError::Broker(ErrorCode::ProducerFenced));
    assert_eq!(failure(&delivery[0]).reason, fatal);
    assert!(rig.try_append(0, b"more").is_none());
    assert!(queued[0].is_settled());
}

#[test]
fn failures_13_a_batch_given_up_in_flight_keeps_its_buffer_and_its_sequence() {
    let mut rig = Rig::warm();
    let given_up = rig.append(0, 9);
    rig.flush();
    rig.pass(Duration::from_secs(60));
    let behind = rig.append(0, 1);
    rig.flush();
    assert_eq!(rig.sequences_sent(), [1, 10]);
    rig.pass(Duration::from_secs(60));
    let told = failure(&given_up[0]);
    assert_eq!((&told.reason, told.possibly_written), (&FailureReason::DeliveryTimeout, true));
    assert_eq!(told.waited_for, WaitedFor::Answer(LEADER));
    let after = rig.append(0, 1);
    rig.flush();
    assert_eq!(rig.sent.len(), 2, "later sequences wait");
    assert!(rig.accumulator.memory().available_bytes() <= MEMORY_BYTES - 3 * BATCH_BYTES);
    rig.answer_next(ErrorCode::None, 1);
    assert_eq!(rig.sequences_sent(), [10, 11], "it was written after all: no gap");
    rig.answer_next(ErrorCode::None, 10);
    rig.answer_next(ErrorCode::None, 11);
    assert_eq!((offset(&behind[0]), offset(&after[0])), (Some(10), Some(11)));
    assert_eq!(rig.sender.identity(), Identity::Ready(identity(7, 0)));
}

#[test]
fn failures_13_a_gap_left_by_a_batch_given_up_needs_a_new_epoch() {
    let mut rig = Rig::warm();
    let given_up = rig.append(0, 9);
    rig.flush();
    rig.pass(Duration::from_secs(60));
    let behind = rig.append(0, 1);
    rig.flush();
    rig.pass(Duration::from_secs(60));
    rig.answer_next(ErrorCode::NotLeaderOrFollower, 0);
    rig.answer_next(ErrorCode::OutOfOrderSequenceNumber, 0);
    assert!(failure(&given_up[0]).possibly_written);
    assert_eq!(rig.sequences_sent(), [0]);
    assert_eq!(header(&rig.bytes_sent()[0]).producer_epoch.0, 1);
    rig.answer_next(ErrorCode::None, 1);
    assert_eq!(offset(&behind[0]), Some(1));
}

#[test]
fn a_refused_batch_fails_alone_and_those_behind_it_follow_in_a_new_epoch() {
    let (mut rig, deliveries) = Rig::five_in_flight();
    rig.answer_next(ErrorCode::InvalidRecord, 0);
    for _ in 0..4 {
        rig.answer_next(ErrorCode::OutOfOrderSequenceNumber, 0);
    }
    let refused = failure(&deliveries[0]);
    assert_eq!(refused.reason, FailureReason::Rejected(ErrorCode::InvalidRecord));
    assert_eq!(refused.last_error, Some(AttemptError::Broker(ErrorCode::InvalidRecord)));
    assert_eq!((refused.attempts, refused.possibly_written), (1, false));
    let mut log = StrictLog::default();
    rig.serve(&mut log);
    assert_eq!(offsets(&deliveries[9..]), (0..36).collect::<Vec<_>>());
}

#[test]
fn a_partition_left_out_of_the_answer_is_asked_again() {
    let mut rig = Rig::warm();
    let delivery = rig.append(0, 1);
    rig.flush();
    let request = rig.sent.pop_front().unwrap().request;
    let throttle = Duration::ZERO;
    rig.handle(Event::ProduceResponse { request, throttle, partitions: Vec::new() });
    rig.pass(BACKOFF);
    rig.answer_next(ErrorCode::None, 1);
    assert_eq!(offset(&delivery[0]), Some(1));
}

#[test]
fn an_id_that_is_refused_for_good_fails_the_producer() {
    let mut rig = Rig::new(SenderConfig::default());
    let delivery = rig.append(0, 1);
    rig.flush();
    let error = ErrorCode::ClusterAuthorizationFailed;
    rig.handle(Event::ProducerId(ProducerIdAnswer::Refused(error)));
    assert_eq!(failure(&delivery[0]).reason, FailureReason::Fatal(FatalError::Broker(error)));
    assert!(rig.try_append(0, b"more").is_none());
}

#[test]
fn an_id_that_does_not_come_is_asked_for_again_after_a_backoff() {
    let mut rig = Rig::new(SenderConfig::default());
    rig.handle(Event::Wake);
    rig.handle(Event::ProducerId(ProducerIdAnswer::NoAnswer));
    assert_eq!(rig.asked_for_id, 1);
    rig.pass(BACKOFF);
    assert_eq!(rig.asked_for_id, 2);
    let retriable = ErrorCode::CoordinatorLoadInProgress;
    rig.handle(Event::ProducerId(ProducerIdAnswer::Refused(retriable)));
    rig.pass(BACKOFF);
    assert_eq!(rig.asked_for_id, 3);
}

#[test]
fn batches_of_one_partition_are_never_at_two_brokers_at_once() {
    let (mut rig, _kept) = Rig::five_in_flight();
    let more = rig.append(0, 9);
    rig.flush();
    rig.handle(Event::ConnectionUp(OTHER));
    rig.handle(Event::Metadata(vec![leaders(OTHER, 1)]));
    rig.answer_next(ErrorCode::None, 1);
    assert!(rig.sent.iter().all(|request| request.broker == LEADER));
    for base_offset in [10, 19, 28, 37] {
        rig.answer_next(ErrorCode::None, base_offset);
    }
    assert_eq!(rig.sent.back().map(|request| request.broker), Some(BrokerId(2)));
    rig.answer_next(ErrorCode::None, 46);
    assert_eq!(offset(&more[0]), Some(46));
}

#[test]
fn without_idempotence_a_retry_still_keeps_the_order_it_can() {
    let config = SenderConfig { idempotent: false, ..SenderConfig::default() };
    let mut rig = Rig::ready_with(config);
    let deliveries = rig.append(0, 18);
    rig.flush();
    rig.answer_next(ErrorCode::NotEnoughReplicas, 0);
    rig.pass(BACKOFF);
    assert_eq!(rig.sent.len(), 1, "the first waits for the second to end");
    rig.answer_next(ErrorCode::None, 0);
    rig.answer_next(ErrorCode::None, 9);
    assert_eq!((offset(&deliveries[9]), offset(&deliveries[0])), (Some(0), Some(9)));
}

#[test]
fn a_batch_is_never_overtaken_by_more_than_a_broker_remembers() {
    let (mut rig, _kept) = Rig::five_in_flight();
    let more = rig.append(0, 9);
    rig.flush();
    // The first times out by itself; the four behind it are acknowledged.
    rig.fail_next(true);
    for base_offset in [10, 19, 28, 37] {
        rig.answer_next(ErrorCode::None, base_offset);
    }
    rig.pass(BACKOFF);
    assert_eq!(rig.sequences_sent(), [1], "a sixth would make the broker forget the first");
    rig.answer_next(ErrorCode::None, 1);
    assert_eq!(rig.sequences_sent(), [46]);
    rig.answer_next(ErrorCode::None, 46);
    assert_eq!(offset(&more[0]), Some(46));
}
