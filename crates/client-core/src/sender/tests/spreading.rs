//! Where the sticky partitioner puts records as leaders are slow, away or nearby; and topics that
//! are forgotten.

use std::time::Duration;

use streamledger_protocol::{ErrorCode, PartitionIndex, TimestampMs};

use super::rig::{LEADER, OTHER, Rig, TOPIC, leaders, offset};
use crate::accumulator::{AppendExtras, RecordParts, TopicQueues};
use crate::partitioner::Target;
use crate::sender::{Event, SenderConfig, TopicLeaders};

/// The second half of the partitions is at another broker.
fn two_leaders() -> TopicLeaders {
    let mut of_topic = leaders(LEADER, 0);
    of_topic.partitions[3..].iter_mut().for_each(|partition| partition.leader = Some(OTHER));
    of_topic
}

fn rig(config: SenderConfig) -> Rig {
    let mut rig = Rig::ready_with(config);
    rig.handle(Event::Metadata(vec![two_leaders()]));
    rig.handle(Event::ConnectionUp(OTHER));
    rig
}

/// Puts a record wherever the sticky partitioner is, and says where that was.
fn append_sticky(rig: &Rig) -> i32 {
    let value = [b'x'; 92];
    let record =
        RecordParts { timestamp: TimestampMs(5), key: None, value: Some(&value), headers: &[] };
    let now = rig.now;
    let append = |topic: &TopicQueues| {
        let extras = &mut AppendExtras::default();
        rig.accumulator.append(topic, Target::Sticky, &record, &|| now, extras)
    };
    let appended = rig.accumulator.with_topic(TOPIC, append).unwrap().unwrap();
    appended.delivery.partition().0
}

/// Sends so many records, 3 ms after each ninth, while only [`LEADER`] answers; gives how many went
/// to each broker.
fn send_sticky(rig: &mut Rig, records: usize) -> [usize; 2] {
    let mut counts = [0, 0];
    for number in 1..=records {
        counts[usize::from(append_sticky(rig) >= 3)] += 1;
        if number.is_multiple_of(9) {
            rig.handle(Event::Wake);
            rig.pass(Duration::from_millis(3));
            while let Some(place) = rig.sent.iter().position(|request| request.broker == LEADER) {
                let request = rig.sent.remove(place).unwrap();
                rig.answer(&request, ErrorCode::None, 0);
            }
        }
    }
    counts
}

#[test]
fn a_leader_that_does_not_answer_gets_less() {
    let adaptive = send_sticky(&mut rig(SenderConfig::default()), 900);
    assert!(adaptive[1] * 2 < adaptive[0], "{adaptive:?}");
    let config = SenderConfig { adaptive_partitioning: false, ..SenderConfig::default() };
    let uniform = send_sticky(&mut rig(config), 900);
    assert!(uniform[1] > adaptive[1] + 100, "{uniform:?} {adaptive:?}");
}

#[test]
fn a_leader_that_takes_nothing_for_too_long_gets_nothing_until_it_does() {
    let availability_timeout = Duration::from_millis(20);
    let config = SenderConfig { availability_timeout, in_flight_max: 1, ..SenderConfig::default() };
    let mut rig = rig(config);
    send_sticky(&mut rig, 180);
    // Whatever was begun at the other broker's partitions is full by now.
    send_sticky(&mut rig, 18);
    assert_eq!(send_sticky(&mut rig, 180)[1], 0);
    while let Some(place) = rig.sent.iter().position(|request| request.broker == OTHER) {
        let request = rig.sent.remove(place).unwrap();
        rig.answer(&request, ErrorCode::None, 0);
    }
    assert!(send_sticky(&mut rig, 180)[1] > 0);
}

#[test]
fn leaders_nearby_are_preferred_as_long_as_there_are_any() {
    let mut rig = rig(SenderConfig::default());
    let mut near = two_leaders();
    near.partitions[4].is_near = true;
    rig.handle(Event::Metadata(vec![near.clone()]));
    for _ in 0..30 {
        assert_eq!(append_sticky(&rig), 4);
    }
    // Nobody leads it any more: all others are alike.
    near.partitions[4].leader = None;
    rig.handle(Event::Metadata(vec![near]));
    for _ in 0..30 {
        assert_ne!(append_sticky(&rig), 4);
    }
}

#[test]
fn an_idle_topic_is_forgotten_but_never_one_with_anything_on_its_way() {
    let idle_max = Duration::from_secs(10);
    let config = SenderConfig { topic_idle_max: idle_max, ..SenderConfig::default() };
    let mut rig = Rig::ready_with(config);
    let first = rig.append(0, 1);
    rig.flush();
    rig.pass(idle_max + Duration::from_secs(1));
    assert_eq!(rig.forgotten, 0, "a record is in flight");
    rig.answer_next(ErrorCode::None, 0);
    assert_eq!(offset(&first[0]), Some(0));
    let count = |rig: &Rig| rig.accumulator.with_topic(TOPIC, TopicQueues::partition_count);
    rig.pass(idle_max / 2);
    assert_eq!((rig.forgotten, count(&rig)), (0, Some(Some(6))));
    let wakeup = rig.sender.next_wakeup().unwrap();
    assert!(wakeup <= rig.now + idle_max);
    rig.pass(idle_max);
    assert_eq!((rig.forgotten, count(&rig)), (1, Some(None)));
    rig.pass(2 * idle_max);
    assert_eq!(rig.forgotten, 1, "once");

    // Metadata comes again with the next record, and sequences go on where they were.
    rig.handle(Event::Metadata(vec![leaders(LEADER, 0)]));
    assert_eq!(count(&rig), Some(Some(6)));
    let _second = rig.append(0, 1);
    rig.flush();
    assert_eq!(rig.sequences_sent(), [1]);
    assert_eq!(PartitionIndex(0), rig.sent[0].batches[0].topic_partition.partition);
}

#[test]
fn a_record_that_slips_into_a_forgotten_topic_has_its_metadata_asked_for() {
    let config =
        SenderConfig { topic_idle_max: Duration::from_secs(10), ..SenderConfig::default() };
    let mut rig = Rig::ready_with(config);
    rig.pass(Duration::from_secs(11));
    assert_eq!((rig.forgotten, rig.refreshes), (1, 0));
    let _late = rig.append(0, 1);
    rig.flush();
    assert_eq!(rig.refreshes, 1);
}
