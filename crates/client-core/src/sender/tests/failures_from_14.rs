//! FAILURES.md 14-24, where it is about the client, each row by its number.

use std::time::Duration;

use streamledger_protocol::{ErrorCode, TopicId};

use super::rig::*;
use crate::failure::{FailureReason, WaitedFor};
use crate::idempotence::Identity;
use crate::sender::{Event, OutgoingRequest, PartitionLeader, SenderConfig};

#[test]
fn failures_14_a_batch_too_large_is_split_in_order_under_its_sequences() {
    let mut rig = Rig::ready();
    let mut log = StrictLog { batch_bytes_max: Some(400), ..StrictLog::default() };
    let values: Vec<_> = (0..40).map(|number| format!("{number:092}")).collect();
    let deliveries: Vec<_> =
        values.iter().map(|value| rig.try_append(0, value.as_bytes()).unwrap()).collect();
    let flush = {
        rig.flush();
        rig.accumulator.begin_flush()
    };
    rig.serve(&mut log);
    assert_eq!(log.values(0), values);
    assert_eq!(offsets(&deliveries), (0..40).collect::<Vec<_>>());
    assert!(rig.accumulator.poll_flushed(flush, std::task::Waker::noop()).is_ready());
    assert_eq!(rig.sender.identity(), Identity::Ready(identity(7, 0)), "no sequence was lost");
    assert_eq!(rig.accumulator.memory().available_bytes(), MEMORY_BYTES);
    let _ = rig.append(0, 40);
    rig.flush();
    rig.serve(&mut log);
    let splits = rig.sender.metrics().lock().batch_splits;
    let _ = rig.append(0, 40);
    rig.flush();
    rig.serve(&mut log);
    assert_eq!(rig.sender.metrics().lock().batch_splits, splits, "new batches are smaller");
}

#[test]
fn failures_14_callbacks_of_a_split_batch_get_their_own_offsets() {
    use crate::accumulator::{AppendExtras, RecordParts};
    use crate::partitioner::Target;
    let mut rig = Rig::ready();
    let seen = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    for number in 0..9_i64 {
        let seen = std::sync::Arc::clone(&seen);
        let callback = Box::new(move |result: Result<crate::accumulator::RecordMetadata, _>| {
            seen.lock().push((number, result.unwrap().offset.unwrap().0));
        });
        let mut extras = AppendExtras { callback: Some(callback), reservation: None };
        let timestamp = streamledger_protocol::TimestampMs(1);
        let record = RecordParts { timestamp, key: None, value: Some(&[1; 92]), headers: &[] };
        let target = Target::Partition(streamledger_protocol::PartitionIndex(0));
        let now = rig.now;
        let append = |topic: &crate::accumulator::TopicQueues| {
            rig.accumulator.append(topic, target, &record, &|| now, &mut extras).map(|_| ())
        };
        rig.accumulator.with_topic(TOPIC, append).unwrap().unwrap();
    }
    rig.flush();
    let mut log = StrictLog { batch_bytes_max: Some(400), ..StrictLog::default() };
    rig.serve(&mut log);
    assert_eq!(*seen.lock(), (0..9).map(|number| (number, number)).collect::<Vec<_>>());
}

#[test]
fn failures_14_one_record_too_large_for_the_broker_fails_and_the_others_go_on() {
    let mut rig = Rig::ready();
    let mut log = StrictLog { batch_bytes_max: Some(400), ..StrictLog::default() };
    let before = rig.append(0, 1);
    let large = rig.try_append(0, &[1; 500]).unwrap();
    let after = rig.append(0, 1);
    rig.flush();
    rig.serve(&mut log);
    assert_eq!(failure(&large).reason, FailureReason::RecordTooLarge);
    assert!(!failure(&large).possibly_written);
    assert_eq!((offset(&before[0]), offset(&after[0])), (Some(0), Some(1)));
}

#[test]
fn failures_15_a_record_over_the_request_size_never_gets_a_sequence() {
    let mut rig = Rig::ready();
    assert!(rig.try_append(0, &vec![1; 2_000_000]).is_none());
    let _kept = rig.append(0, 1);
    rig.flush();
    assert_eq!(rig.sequences_sent(), [0]);
}

#[test]
fn failures_16_a_topic_made_anew_never_gets_old_sequences() {
    let mut rig = Rig::warm();
    let unresolved = rig.append(0, 9);
    rig.flush();
    let queued = rig.append(0, 9);
    rig.answer_next(ErrorCode::UnknownTopicId, 0);
    let anew = leaders_of(TopicId([2; 16]), Some(LEADER), 0);
    rig.handle(Event::Metadata(vec![anew]));
    rig.pass(BACKOFF);
    assert_eq!(rig.sequences_sent(), [0]);
    let header = header(&rig.bytes_sent()[0]);
    assert_eq!(header.producer_epoch.0, 1);
    assert_eq!(rig.sent[0].batches[0].topic_id, TopicId([2; 16]));
    rig.answer_next(ErrorCode::None, 0);
    rig.flush();
    rig.answer_next(ErrorCode::None, 9);
    assert_eq!((offset(&unresolved[0]), offset(&queued[0])), (Some(0), Some(9)));
}

#[test]
fn failures_16_what_may_be_in_the_old_topic_is_not_sent_to_the_new() {
    let mut rig = Rig::warm();
    let unknown = rig.append(0, 9);
    rig.flush();
    rig.fail_next(true);
    rig.handle(Event::Metadata(vec![leaders_of(TopicId([2; 16]), Some(LEADER), 0)]));
    rig.pass(BACKOFF);
    assert!(rig.sent.is_empty());
    assert!(failure(&unknown[0]).possibly_written);
}

#[test]
fn failures_17_sequences_survive_metadata_that_forgets_the_topic() {
    let (mut rig, deliveries) = Rig::five_in_flight();
    let first_try = rig.bytes_sent();
    for _ in 0..5 {
        rig.answer_next(ErrorCode::UnknownTopicOrPartition, 0);
    }
    rig.handle(Event::Metadata(vec![unknown_topic()]));
    rig.pass(BACKOFF);
    assert!(rig.sent.is_empty() && rig.refreshes >= 2);
    rig.handle(Event::Metadata(vec![leaders(LEADER, 0)]));
    rig.pass(BACKOFF);
    assert_eq!(rig.bytes_sent(), first_try);
    for base_offset in [1, 10, 19, 28, 37] {
        rig.answer_next(ErrorCode::None, base_offset);
    }
    assert_eq!(offsets(&deliveries), (1..46).collect::<Vec<_>>());
    let next = rig.append(0, 1);
    rig.flush();
    assert_eq!(rig.sequences_sent(), [46]);
    drop(next);
}

#[test]
fn failures_18_queued_keyed_records_keep_their_partition_when_others_are_added() {
    let mut rig = Rig::ready();
    let queued = rig.append(3, 1);
    let mut grown = leaders(LEADER, 0);
    for index in 6..12 {
        let partition = streamledger_protocol::PartitionIndex(index);
        grown.partitions.push(PartitionLeader { partition, ..grown.partitions[0] });
    }
    rig.handle(Event::Metadata(vec![grown]));
    rig.flush();
    assert_eq!(rig.sent[0].batches[0].topic_partition.partition.0, 3);
    rig.answer_next(ErrorCode::None, 0);
    assert_eq!(result(&queued[0]).unwrap().topic_partition.partition.0, 3);
    let count = rig.accumulator.with_topic(TOPIC, crate::accumulator::TopicQueues::partition_count);
    assert_eq!(count, Some(Some(12)));
}

#[test]
fn failures_19_an_older_leader_epoch_is_ignored() {
    let mut rig = Rig::ready();
    rig.handle(Event::Metadata(vec![leaders(LEADER, 5)]));
    rig.handle(Event::Metadata(vec![leaders(OTHER, 4)]));
    let _kept = rig.append(0, 1);
    rig.flush();
    assert_eq!((rig.sent[0].broker, rig.connects.len()), (LEADER, 0));
}

#[test]
fn failures_20_with_all_brokers_away_records_wait_then_fail_and_say_why() {
    let mut rig = Rig::warm();
    rig.handle(Event::ConnectionDown(LEADER));
    let delivery = rig.append(0, 1);
    rig.flush();
    let step = Duration::from_secs(1);
    for _ in 0..119 {
        rig.pass(step);
        while let Some(broker) = rig.connects.pop() {
            rig.handle(Event::ConnectionDown(broker));
        }
        if rig.refreshes > 0 {
            rig.refreshes = 0;
            rig.handle(Event::MetadataFailed);
        }
    }
    assert!(!delivery[0].is_settled());
    rig.pass(step);
    let failure = failure(&delivery[0]);
    assert_eq!(failure.reason, FailureReason::DeliveryTimeout);
    assert_eq!(failure.waited_for, WaitedFor::Connection(LEADER));
    assert!(!failure.possibly_written && failure.attempts == 0);
    assert_eq!(rig.sender.identity(), Identity::Ready(identity(7, 0)), "it never had a sequence");
}

#[test]
fn a_leader_that_turns_the_producer_away_is_named_when_the_time_is_over() {
    let mut rig = Rig::warm();
    let unreachable = |cause: &str| {
        let cause = cause.into();
        crate::failure::NoConnection { cause, is_authentication: true }
    };
    rig.handle(Event::ConnectionDown(LEADER));
    let delivery = rig.append(0, 1);
    rig.flush();
    let mut causes = ["the first"; 1].into_iter();
    for _ in 0..120 {
        rig.pass(Duration::from_secs(1));
        while let Some(broker) = rig.connects.pop() {
            let unreachable = unreachable(causes.next().unwrap_or("the last"));
            rig.handle(Event::NotConnected { broker, unreachable });
        }
    }
    let failed = failure(&delivery[0]);
    assert_eq!(failed.waited_for, WaitedFor::Connection(LEADER));
    assert_eq!(failed.unreachable, Some(unreachable("the last")));
    assert!(!failed.possibly_written && failed.attempts == 0);

    // What was true before the connection was made explains nothing any more.
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.connects.pop(), None, "nothing is to be sent");
    rig.handle(Event::ConnectionUp(LEADER));
    rig.handle(Event::ConnectionDown(LEADER));
    let delivery = rig.append(0, 1);
    rig.flush();
    rig.pass(Duration::from_secs(121));
    let failed = failure(&delivery[0]);
    assert_eq!((failed.waited_for, &failed.unreachable), (WaitedFor::Connection(LEADER), &None));
}

#[test]
fn failures_20_memory_pushes_back_while_the_broker_is_away() {
    let rig = Rig::new(SenderConfig::default());
    let mut taken = 0;
    while rig.try_append(0, &[1; 900]).is_some() {
        taken += 1;
    }
    assert_eq!(taken, 64, "one record fills a batch");
}

#[test]
fn failures_21_a_throttle_is_waited_out_without_spinning() {
    let mut rig = Rig::warm();
    let _kept = rig.append(0, 9);
    rig.flush();
    let OutgoingRequest { request, .. } = rig.sent.pop_front().unwrap();
    let throttle = Duration::from_secs(3);
    let partitions = Vec::new();
    rig.handle(Event::ProduceResponse { request, throttle, partitions });
    rig.handle(Event::Metadata(vec![leaders(LEADER, 0)]));
    let _more = rig.append(1, 1);
    rig.flush();
    rig.pass(Duration::from_millis(2900));
    assert!(rig.sent.is_empty());
    assert_eq!(rig.sender.next_wakeup(), Some(rig.now + Duration::from_millis(100)));
    rig.pass(Duration::from_millis(100));
    assert!(!rig.sent.is_empty());
}

#[test]
fn failures_22_a_lost_connection_is_made_again_with_backoff_and_metadata_asked() {
    let mut rig = Rig::warm();
    rig.handle(Event::ConnectionDown(LEADER));
    let _kept = rig.append(0, 1);
    rig.flush();
    assert_eq!((rig.connects.len(), rig.refreshes), (0, 1));
    rig.pass(Duration::from_millis(60));
    assert_eq!(rig.connects, [LEADER]);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.connects, [LEADER], "one attempt at a time");
    rig.handle(Event::ConnectionDown(LEADER));
    rig.pass(Duration::from_millis(70));
    assert_eq!(rig.connects, [LEADER], "the second wait is longer");
    rig.pass(Duration::from_millis(50));
    assert_eq!(rig.connects, [LEADER, LEADER]);
}

#[test]
fn failures_23_too_few_replicas_is_retried_until_there_is_one_copy() {
    let mut rig = Rig::warm();
    let delivery = rig.append(0, 1);
    rig.flush();
    for _ in 0..4 {
        rig.answer_next(ErrorCode::NotEnoughReplicas, 0);
        assert!(rig.sent.is_empty());
        rig.pass(BACKOFF);
    }
    rig.answer_next(ErrorCode::None, 1);
    assert_eq!(offset(&delivery[0]), Some(1));
    assert_eq!(rig.sender.metrics().lock().record_retries, 4);
}

#[test]
fn failures_16_a_topic_made_anew_twice_while_idle_starts_from_zero_each_time() {
    let mut rig = Rig::warm();
    for anew in [2, 3] {
        rig.handle(Event::Metadata(vec![leaders_of(TopicId([anew; 16]), Some(LEADER), 0)]));
        let delivery = rig.append(0, 1);
        rig.flush();
        assert_eq!(rig.sequences_sent(), [0], "topic {anew}");
        assert_eq!(header(&rig.bytes_sent()[0]).producer_epoch.0, i16::from(anew) - 1);
        rig.answer_next(ErrorCode::None, 0);
        assert_eq!(offset(&delivery[0]), Some(0));
    }
}

#[test]
fn the_error_of_a_refused_batch_says_that_its_answer_was_waited_for() {
    // The first batch of an epoch goes alone: its partition waits for it, it itself for its answer.
    let mut rig = Rig::ready();
    let refused = rig.append(0, 1);
    rig.flush();
    let behind = rig.append(0, 1);
    rig.flush();
    rig.answer_next(ErrorCode::InvalidTimestamp, 0);
    let told = failure(&refused[0]);
    assert_eq!(told.reason, FailureReason::Rejected(ErrorCode::InvalidTimestamp));
    assert_eq!((told.waited_for, told.attempts), (WaitedFor::Answer(LEADER), 1));
    assert!(!behind[0].is_settled());
}
