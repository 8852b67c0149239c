//! What a group sees of its offsets: plain, pending, decided, refused.

use super::*;
use streamledger_protocol::{
    ErrorCode, GroupId, LeaderEpoch, Offset, PartitionIndex, ProducerId, TimestampMs,
    TopicPartition,
};

const PARTITION: PartitionIndex = PartitionIndex(0);

fn config() -> GroupOffsetsConfig {
    GroupOffsetsConfig { partition_count: 1, ..GroupOffsetsConfig::default() }
}

fn group() -> GroupId {
    GroupId::from("readers")
}

fn clicks(index: i32) -> TopicPartition {
    TopicPartition::new("clicks", PartitionIndex(index))
}

fn request(offsets: &[(i32, i64)]) -> CommitRequest {
    let new = |&(index, offset): &(i32, i64)| NewOffset {
        topic_partition: clicks(index),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(3),
        metadata: None,
    };
    CommitRequest {
        way: CommitWay::Plain,
        group: group(),
        committer: Committer::outside(),
        retention_ms: None,
        offsets: offsets.iter().map(new).collect(),
    }
}

/// Decides, and replays what the log would give back.
fn commit(groups: &mut GroupOffsets, offsets: &[(i32, i64)], by: Option<i64>, at: i64) {
    let decision = groups.decide_commit(&request(offsets), None, TimestampMs(1));
    assert!(decision.reply.iter().all(|error| *error == ErrorCode::None));
    for (n, record) in (0..).zip(decision.records) {
        let (key, value) = (record.encode_key().unwrap(), record.encode_value().unwrap());
        let read = OffsetRecord::decode(key, value).unwrap();
        groups.replay(read, by.map(ProducerId), PARTITION, Offset(at + n));
    }
}

fn offsets(groups: &GroupOffsets, index: i32) -> Option<i64> {
    let fetched = groups.fetch(&group(), Some(&[clicks(index)]), false);
    fetched[0].committed.as_ref().map(|committed| committed.offset.0)
}

#[test]
fn what_was_stored_last_is_there() {
    let mut groups = GroupOffsets::new(config());
    assert_eq!(offsets(&groups, 0), None);
    commit(&mut groups, &[(0, 5), (1, 7)], None, 0);
    commit(&mut groups, &[(0, 6)], None, 2);
    assert_eq!((offsets(&groups, 0), offsets(&groups, 1)), (Some(6), Some(7)));
    assert_eq!(groups.fetch(&group(), None, false).len(), 2);
    assert_eq!(groups.fetch(&GroupId::from("others"), None, false), []);
    assert_eq!(groups.offset_count(), 2);
}

#[test]
fn a_transactions_offsets_are_pending_until_its_marker_decides() {
    let mut groups = GroupOffsets::new(config());
    commit(&mut groups, &[(0, 5)], None, 0);
    commit(&mut groups, &[(0, 9)], Some(7), 1);
    assert_eq!(offsets(&groups, 0), Some(5));
    let unstable = |groups: &GroupOffsets, index| {
        groups.fetch(&group(), Some(&[clicks(index)]), true)[0].is_unstable
    };
    assert!(unstable(&groups, 0) && !unstable(&groups, 1));
    groups.replay_marker(PARTITION, ProducerId(8), true);
    groups.replay_marker(PartitionIndex(3), ProducerId(7), true);
    assert_eq!(offsets(&groups, 0), Some(5), "the marker of another");
    groups.replay_marker(PARTITION, ProducerId(7), true);
    assert_eq!(offsets(&groups, 0), Some(9));
    assert!(!unstable(&groups, 0));
    commit(&mut groups, &[(0, 11)], Some(7), 3);
    groups.replay_marker(PARTITION, ProducerId(7), false);
    assert_eq!(offsets(&groups, 0), Some(9), "aborted");
    groups.replay_marker(PARTITION, ProducerId(7), true);
    assert_eq!(offsets(&groups, 0), Some(9), "KAFKA-17507: a marker written twice");
}

#[test]
fn of_two_offsets_the_later_in_the_log_counts() {
    let mut groups = GroupOffsets::new(config());
    commit(&mut groups, &[(0, 9)], Some(7), 0);
    commit(&mut groups, &[(0, 20)], None, 1);
    groups.replay_marker(PARTITION, ProducerId(7), true);
    assert_eq!(offsets(&groups, 0), Some(20));
}

#[test]
fn a_deleted_topics_offsets_are_forgotten() {
    let mut groups = GroupOffsets::new(config());
    commit(&mut groups, &[(0, 5), (1, 6)], None, 0);
    let records = groups.decide_forget_topic("clicks");
    assert_eq!(records.len(), 2);
    assert_eq!(groups.decide_forget_topic("click"), []);
    for record in records {
        groups.replay(record, None, PARTITION, Offset(2));
    }
    assert_eq!((offsets(&groups, 0), groups.offset_count()), (None, 0));
}

#[test]
fn failures_58_too_much_is_refused() {
    let groups = GroupOffsets::new(GroupOffsetsConfig { offsets_max: 1, ..config() });
    let reply = |request: &CommitRequest| groups.decide_commit(request, None, TimestampMs(1)).reply;
    let mut long = request(&[(0, 1)]);
    long.offsets[0].metadata = Some("x".repeat(4097));
    assert_eq!(reply(&long), [ErrorCode::OffsetMetadataTooLarge]);
    let two = groups.decide_commit(&request(&[(0, 1), (1, 1)]), None, TimestampMs(1));
    assert_eq!(two.reply, [ErrorCode::None, ErrorCode::PolicyViolation]);
    assert_eq!(two.records.len(), 1);
}
