//! What is sent, when, and how it is put together, while nothing fails.

use std::time::Duration;

use streamledger_protocol::{Acks, Codec, ErrorCode};

use super::rig::*;
use crate::sender::plan::HOLD_MAX;
use crate::sender::{Event, ProducerIdAnswer, SenderConfig};

/// The rig's.
const LINGER: Duration = Duration::from_millis(5);

fn plain() -> SenderConfig {
    SenderConfig { idempotent: false, ..SenderConfig::default() }
}

#[test]
fn nothing_is_sent_before_leader_connection_and_producer_id_are_there() {
    let mut rig = Rig::new(SenderConfig::default());
    let delivery = rig.append(0, 1);
    rig.flush();
    assert_eq!((rig.refreshes, rig.asked_for_id, rig.connects.len()), (1, 1, 0));
    rig.handle(Event::Metadata(vec![leaders(LEADER, 0)]));
    assert!(rig.connects.is_empty(), "nothing could be sent over it yet");
    rig.handle(Event::ProducerId(ProducerIdAnswer::Given(identity(7, 0))));
    assert_eq!((rig.connects.as_slice(), rig.sent.len()), (&[LEADER][..], 0));
    rig.handle(Event::ConnectionUp(LEADER));
    assert_eq!(rig.sequences_sent(), [0]);
    rig.answer_next(ErrorCode::None, 40);
    assert_eq!(offset(&delivery[0]), Some(40));
    assert!(rig.sender.is_idle());
}

#[test]
fn a_batch_lingers_and_then_goes() {
    let mut rig = Rig::ready_with(plain());
    let _kept = rig.append(0, 3);
    rig.handle(Event::Wake);
    assert!(rig.sent.is_empty());
    assert_eq!(rig.sender.next_wakeup(), Some(rig.now + Duration::from_millis(5)));
    rig.pass(Duration::from_millis(5));
    assert_eq!(header(&rig.bytes_sent()[0]).record_count, 3);
}

#[test]
fn a_full_batch_goes_at_once() {
    let mut rig = Rig::ready_with(plain());
    let _kept = rig.append(0, 10);
    rig.handle(Event::Wake);
    assert_eq!(header(&rig.bytes_sent()[0]).record_count, 9);
}

/// Appends, and tells the sender.
fn queue(rig: &mut Rig, partition: i32, records: usize) {
    let _ = rig.append(partition, records);
    rig.handle(Event::Wake);
}

#[test]
fn beside_a_request_only_a_full_batch_goes_at_once_and_others_wait_for_the_answer() {
    let mut rig = Rig::warm();
    queue(&mut rig, 0, 1);
    rig.pass(LINGER);
    assert_eq!(rig.sequences_sent(), [1]);
    queue(&mut rig, 1, 2);
    rig.pass(LINGER - HOLD_MAX / 2);
    queue(&mut rig, 2, 10);
    assert_eq!(rig.sent.len(), 2, "a full batch goes at once");
    rig.pass(HOLD_MAX / 2);
    assert_eq!(rig.sent.len(), 2, "partition 1 has lingered, and waits");
    rig.answer_next(ErrorCode::None, 1);
    assert_eq!(rig.sent.len(), 1, "there is another request");
    rig.answer_next(ErrorCode::None, 0);
    let batches: Vec<_> = rig.bytes_sent().iter().map(|bytes| header(bytes).record_count).collect();
    assert_eq!(batches, [2]);
}

#[test]
fn a_batch_waits_for_the_answer_to_another_request_for_a_moment_only() {
    let mut rig = Rig::warm();
    queue(&mut rig, 0, 1);
    rig.pass(HOLD_MAX / 2);
    queue(&mut rig, 1, 1);
    rig.pass(LINGER - HOLD_MAX / 2);
    rig.pass(HOLD_MAX / 2);
    assert_eq!(rig.sent.len(), 1, "it has lingered, and waits");
    assert_eq!(rig.sender.next_wakeup(), Some(rig.now + HOLD_MAX / 2));
    rig.pass(HOLD_MAX / 2);
    assert_eq!(rig.sent.len(), 2, "a broker far away is asked again meanwhile");
}

#[test]
fn a_request_that_is_made_anyway_takes_along_what_it_finds_waiting() {
    let batches_together = |waiting, full| {
        let mut rig = Rig::warm();
        queue(&mut rig, 0, 1);
        rig.pass(HOLD_MAX / 2);
        queue(&mut rig, waiting, 1);
        rig.pass(LINGER - HOLD_MAX / 2);
        rig.pass(HOLD_MAX / 2);
        assert_eq!(rig.sent.len(), 1);
        queue(&mut rig, full, 10);
        rig.sent.iter().map(|request| request.batches.len()).max()
    };
    // Whichever of the two the round looks at first.
    let together = [batches_together(2, 3), batches_together(3, 2)];
    assert!(together.contains(&Some(2)), "{together:?}");
}

#[test]
fn a_flush_waits_for_no_answer() {
    let mut rig = Rig::warm();
    let _kept = (rig.append(0, 1), rig.append(1, 1));
    rig.flush();
    let _kept = (rig.append(2, 1), rig.append(3, 1));
    rig.flush();
    let batches: Vec<_> = rig.sent.iter().map(|request| request.batches.len()).collect();
    assert_eq!(batches, [2, 2]);
}

#[test]
fn one_request_carries_a_batch_of_each_partition_and_no_more() {
    let mut rig = Rig::ready_with(plain());
    for partition in 0..6 {
        let _kept = rig.append(partition, 18);
    }
    rig.flush();
    let batches: Vec<_> = rig.sent.iter().map(|request| request.batches.len()).collect();
    assert_eq!(batches, [6, 6]);
}

#[test]
fn requests_stay_under_their_size() {
    let config = SenderConfig { request_bytes_max: 2 * BATCH_BYTES, ..plain() };
    let mut rig = Rig::ready_with(config);
    for partition in 0..6 {
        let _kept = rig.append(partition, 9);
    }
    rig.flush();
    assert_eq!(rig.sent.len(), 3);
    for request in &rig.sent {
        let bytes: usize = request.batches.iter().map(|batch| batch.bytes.len()).sum();
        assert!(bytes <= 2 * BATCH_BYTES, "{bytes}");
    }
}

#[test]
fn five_requests_are_in_flight_and_the_sixth_waits() {
    let mut rig = Rig::warm();
    let deliveries = rig.append(0, 7 * 9);
    rig.flush();
    assert_eq!(rig.sequences_sent(), [1, 10, 19, 28, 37]);
    for base_offset in [1, 10, 19, 28, 37] {
        rig.answer_next(ErrorCode::None, base_offset);
    }
    assert_eq!(rig.sequences_sent(), [46, 55]);
    rig.answer_next(ErrorCode::None, 46);
    rig.answer_next(ErrorCode::None, 55);
    let offsets: Vec<_> = deliveries.iter().map(|delivery| offset(delivery).unwrap()).collect();
    assert_eq!(offsets, (1..64).collect::<Vec<_>>());
}

#[test]
fn the_first_batch_of_a_partition_travels_alone() {
    let mut rig = Rig::ready();
    let _kept = rig.append(0, 27);
    rig.flush();
    assert_eq!(rig.sequences_sent(), [0]);
    rig.answer_next(ErrorCode::None, 0);
    assert_eq!(rig.sequences_sent(), [9, 18]);
}

#[test]
fn acks_0_is_done_when_written_and_has_no_offset() {
    let mut rig = Rig::ready_with(SenderConfig { acks: Acks::None, ..plain() });
    let first = rig.append(0, 1);
    rig.flush();
    rig.answer_next(ErrorCode::None, 0);
    assert_eq!(offset(&first[0]), None);
    let delivery = rig.append(0, 2);
    rig.flush();
    let request = rig.sent.pop_front().unwrap();
    assert_eq!(request.acks, Acks::None);
    rig.handle(Event::RequestWritten(request.request));
    let metadata = result(&delivery[1]).unwrap();
    assert_eq!((metadata.offset, metadata.serialized_value_size), (None, Some(92)));
    assert!(rig.sender.is_idle());
}

/// A leader is named before it takes records, and ends the connection over what it can't take.
#[test]
fn with_acks_0_a_leader_acknowledges_the_first_batch_of_a_partition_before_it_gets_more() {
    let mut rig = Rig::ready_with(SenderConfig { acks: Acks::None, ..plain() });
    let acks = |rig: &Rig| rig.sent.iter().map(|request| request.acks).collect::<Vec<_>>();
    let deliveries = rig.append(0, 27);
    rig.flush();
    assert_eq!(acks(&rig), [Acks::Leader], "the second batch waits");
    rig.answer_next(ErrorCode::NotLeaderOrFollower, 0);
    rig.handle(Event::Metadata(vec![leaders(LEADER, 0)]));
    rig.pass(BACKOFF);
    assert_eq!(acks(&rig), [Acks::Leader], "refused, it is asked again");
    rig.answer_next(ErrorCode::None, 0);
    assert_eq!(acks(&rig), [Acks::None; 2]);
    let _other_partition = rig.append(1, 9);
    rig.flush();
    assert_eq!(acks(&rig), [Acks::None, Acks::None, Acks::Leader]);
    for request in std::mem::take(&mut rig.sent) {
        match request.acks {
            Acks::None => rig.handle(Event::RequestWritten(request.request)),
            _ => rig.answer(&request, ErrorCode::None, 0),
        }
    }
    assert!(deliveries.iter().all(|delivery| offset(delivery).is_none()));

    let _after = rig.append(0, 9);
    rig.flush();
    assert_eq!(acks(&rig), [Acks::None]);
    let request = rig.sent.pop_front().unwrap().request;
    rig.handle(Event::RequestWritten(request));
    rig.handle(Event::ConnectionDown(LEADER));
    let _after = rig.append(0, 18);
    rig.pass(BACKOFF);
    rig.handle(Event::ConnectionUp(LEADER));
    assert_eq!(acks(&rig), [Acks::Leader], "on another connection it has to show it again");
    rig.answer_next(ErrorCode::None, 0);
    assert_eq!(acks(&rig), [Acks::None]);
    rig.handle(Event::Metadata(vec![leaders(OTHER, 1)]));
    let request = rig.sent.pop_front().unwrap().request;
    rig.handle(Event::RequestWritten(request));
    rig.handle(Event::ConnectionUp(OTHER));
    let _after = rig.append(0, 9);
    rig.flush();
    assert_eq!(acks(&rig), [Acks::Leader], "so has another leader");
}

#[test]
fn compressed_batches_keep_their_order_and_their_sequences() {
    for codec_name in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let config = SenderConfig { compression: codec(codec_name), ..SenderConfig::default() };
        let mut rig = Rig::ready_with(config);
        let mut log = StrictLog::default();
        for number in 0..100 {
            let value = format!("{number:092}");
            let _kept = rig.try_append(0, value.as_bytes()).unwrap();
        }
        rig.flush();
        let first = header(&rig.bytes_sent()[0]);
        assert_eq!(first.attributes.codec().unwrap(), codec_name);
        rig.serve(&mut log);
        let expected: Vec<_> = (0..100).map(|number| format!("{number:092}")).collect();
        assert_eq!(log.values(0), expected, "{codec_name}");
        assert!(rig.sender.is_idle());
        assert_eq!(rig.accumulator.memory().available_bytes(), MEMORY_BYTES);
    }
}

#[test]
fn memory_comes_back_when_the_request_and_the_sender_have_dropped_the_bytes() {
    let mut rig = Rig::ready_with(plain());
    let _kept = rig.append(0, 9);
    rig.flush();
    let still_writing = rig.bytes_sent();
    rig.answer_next(ErrorCode::None, 0);
    assert_eq!(
        rig.accumulator.memory().available_bytes(),
        MEMORY_BYTES - BATCH_BYTES,
        "a connection holds it"
    );
    drop(still_writing);
    assert_eq!(rig.accumulator.memory().available_bytes(), MEMORY_BYTES);
}

#[test]
fn a_waiting_caller_makes_batches_ready() {
    let mut rig = Rig::ready_with(plain());
    let _kept: Vec<_> = (0..64).map_while(|_| rig.try_append(0, &[1; 900])).collect();
    assert!(rig.try_append(1, b"no room").is_none());
    let _waiting = rig.accumulator.memory().reserve(BATCH_BYTES);
    rig.handle(Event::Wake);
    assert!(!rig.sent.is_empty());
}

#[test]
fn metrics_count_what_was_done() {
    let mut rig = Rig::warm();
    let _kept = rig.append(0, 18);
    rig.flush();
    rig.pass(Duration::from_millis(3));
    rig.answer_next(ErrorCode::None, 1);
    rig.answer_next(ErrorCode::TopicAuthorizationFailed, 0);
    let metrics = rig.sender.metrics();
    let metrics = metrics.lock();
    assert_eq!((metrics.records_sent, metrics.record_errors), (10, 9));
    assert_eq!((metrics.batches, metrics.requests, metrics.responses), (3, 3, 3));
    assert_eq!(metrics.batch_records, 19);
    assert_eq!(metrics.sent.count(), 3);
    assert!(metrics.sent.max_micros() >= 3000);
}

#[test]
fn means_maxima_and_rates_are_of_the_last_while_for_producer_topic_and_broker() {
    let mut rig = Rig::warm();
    let _kept = rig.append(0, 18);
    rig.flush();
    rig.pass(Duration::from_millis(3));
    rig.answer_next(ErrorCode::None, 1);
    rig.answer_next(ErrorCode::TopicAuthorizationFailed, 0);
    let metrics = rig.sender.metrics();
    let metrics = metrics.lock();
    let topic = &metrics.topics.values().next().unwrap().windows;
    let node = &metrics.nodes.values().next().unwrap().windows;
    let windows = &metrics.windows;
    // All is in the first sample, so a rate is over its half minute.
    for sent in [&windows.records_sent, &topic.records_sent] {
        assert_eq!((sent.per_second(rig.now) * 30.0).round() as u64, metrics.records_sent);
    }
    assert_eq!((topic.record_errors.per_second(rig.now) * 30.0).round() as u64, 9);
    assert_eq!((node.request_bytes.events_per_second(rig.now) * 30.0).round() as u64, 3);
    let bytes = metrics.batch_bytes as f64;
    assert_eq!((topic.batch_bytes.per_second(rig.now) * 30.0).round(), bytes);
    assert_eq!((windows.batch_bytes.mean(rig.now) * 3.0).round(), bytes);
    assert!(windows.latency_ms.max(rig.now) >= 3.0 && node.latency_ms.max(rig.now) >= 3.0);
    assert_eq!(windows.compression.mean(rig.now), 1.0);
    assert!(windows.record_bytes.mean(rig.now) > 0.0);
    let later = rig.now + Duration::from_secs(61);
    assert_eq!((windows.latency_ms.max(later), topic.records_sent.per_second(later)), (0.0, 0.0));
    assert_eq!(metrics.records_sent, 10, "counts are for ever");
}

#[test]
fn closing_sends_what_is_there_and_then_the_sender_is_idle() {
    let mut rig = Rig::ready();
    let delivery = rig.append(0, 4);
    rig.accumulator.close();
    rig.handle(Event::Wake);
    assert!(!rig.sender.is_idle());
    rig.answer_next(ErrorCode::None, 0);
    assert_eq!(offset(&delivery[3]), Some(3));
    assert!(rig.sender.is_idle());
    assert!(rig.try_append(0, b"late").is_none());
}

#[test]
fn aborting_fails_all_and_says_what_may_be_written() {
    let mut rig = Rig::warm();
    let in_flight = rig.append(0, 9);
    rig.flush();
    let queued = rig.append(0, 1);
    let other_partition = rig.append(3, 1);
    rig.accumulator.close();
    rig.sender.handle(rig.now, Event::Abort);
    rig.poll();
    assert!(failure(&in_flight[0]).possibly_written);
    assert!(!failure(&queued[0]).possibly_written);
    assert!(!failure(&other_partition[0]).possibly_written);
    assert_eq!(rig.accumulator.unsettled_batches(), 0);
}
