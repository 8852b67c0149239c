//! The coordinators' own topics are compacted: a start reads what counts, and knows all of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{RawClient, broker_with};
use streamledger_broker::RunningBroker;
use streamledger_protocol::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use streamledger_protocol::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use streamledger_protocol::messages::{
    DescribeLogDirsRequest, InitProducerIdRequest, ListTransactionsRequest, OffsetCommitRequest,
    OffsetFetchRequest,
};
use streamledger_protocol::{
    ErrorCode, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicName,
};

const PATIENCE: Duration = Duration::from_secs(40);

/// Takes a transactional id, or takes it over.
fn init(client: &mut RawClient, id: &str) -> (ProducerId, ProducerEpoch) {
    let request = InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: 60_000,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
    };
    let answer = client.call(4, &request);
    assert_eq!(answer.error_code, ErrorCode::None);
    (answer.producer_id, answer.producer_epoch)
}

fn broker_at(directory: &Path) -> RunningBroker {
    broker_with(&[
        ("log.dirs", directory.to_str().unwrap()),
        ("log.cleaner.backoff.ms", "20"),
        ("offsets.topic.num.partitions", "1"),
        ("offsets.topic.segment.bytes", "1048576"),
        ("transaction.state.log.num.partitions", "1"),
        ("transaction.state.log.segment.bytes", "1048576"),
    ])
}

/// Bytes of a topic's logs.
fn bytes_of(client: &mut RawClient, topic: &str) -> i64 {
    let described = client.call(4, &DescribeLogDirsRequest::default()).results.remove(0);
    let found = described.topics.into_iter().find(|own| own.name.as_str() == topic);
    found.map_or(0, |own| own.partitions.iter().map(|one| one.partition_size).sum())
}

fn wait_until_below(client: &mut RawClient, topic: &str, bytes: i64) {
    let until = Instant::now() + PATIENCE;
    while bytes_of(client, topic) >= bytes {
        assert!(Instant::now() < until, "{topic} has {} bytes", bytes_of(client, topic));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn commit(client: &mut RawClient, group: &str, offset: i64) {
    let partition = OffsetCommitRequestPartition {
        committed_offset: Offset(offset),
        committed_metadata: Some("m".repeat(4000)),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: TopicName::new("clicks"),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let answer = client.call(8, &request);
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::None);
}

fn committed(client: &mut RawClient, group: &str) -> i64 {
    let topic = OffsetFetchRequestTopics {
        name: TopicName::new("clicks"),
        partition_indexes: vec![PartitionIndex(0)],
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: group.into(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let answer = client.call(8, &request);
    let of_group = &answer.groups[0];
    assert_eq!(of_group.error_code, ErrorCode::None);
    let partition = &of_group.topics[0].partitions[0];
    assert_eq!(partition.error_code, ErrorCode::None);
    partition.committed_offset.0
}

#[test]
fn stored_offsets_are_compacted_and_all_known_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    client.create_topic("clicks", 1, &[]);
    commit(&mut client, "once", 7);
    for offset in 0..800 {
        commit(&mut client, "often", offset);
    }
    // 3.2 MB were written.
    wait_until_below(&mut client, "__consumer_offsets", 1_500_000);
    drop(client);
    broker.shutdown().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    assert_eq!((committed(&mut client, "once"), committed(&mut client, "often")), (7, 799));
    commit(&mut client, "often", 1000);
    assert_eq!(committed(&mut client, "often"), 1000);
}

/// Has a record of a log's first segment be of another kind; whether one was found whose key is of
/// the kind `from` and names `name`.
fn change_kind(directory: &Path, log: &str, name: &str, [from, to]: [u8; 2]) -> bool {
    let path = directory.join(log).join("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let length = u16::try_from(name.len()).unwrap().to_be_bytes();
    let key = [&[0, from][..], &length, name.as_bytes()].concat();
    let mut batch = 0;
    while batch < bytes.len() {
        let length = u32::from_be_bytes(bytes[batch + 8..batch + 12].try_into().unwrap());
        let end = batch + 12 + length as usize;
        let found = bytes[batch..end].windows(key.len()).position(|part| part == key);
        if let Some(at) = found {
            bytes[batch + at + 1] = to;
            let crc = crc32c::crc32c(&bytes[batch + 21..end]);
            bytes[batch + 17..batch + 21].copy_from_slice(&crc.to_be_bytes());
            std::fs::write(&path, bytes).unwrap();
            return true;
        }
        batch = end;
    }
    false
}

#[test]
fn records_of_an_unknown_kind_are_left_alone_and_outlive_compaction() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let offsets = "__consumer_offsets-0";
    let broker = broker_at(at);
    let mut client = RawClient::connect(&broker);
    client.create_topic("clicks", 1, &[]);
    commit(&mut client, "newer", 7);
    commit(&mut client, "often", 1);
    drop(client);
    broker.shutdown().unwrap();
    assert!(change_kind(at, offsets, "newer", [1, 99]));
    let broker = broker_at(at);
    let mut client = RawClient::connect(&broker);
    assert_eq!((committed(&mut client, "newer"), committed(&mut client, "often")), (-1, 1));
    for offset in 0..800 {
        commit(&mut client, "often", offset);
    }
    wait_until_below(&mut client, "__consumer_offsets", 1_500_000);
    drop(client);
    broker.shutdown().unwrap();
    // The version that knows the kind finds its record.
    assert!(change_kind(at, offsets, "newer", [99, 1]));
    let broker = broker_at(at);
    let mut client = RawClient::connect(&broker);
    assert_eq!((committed(&mut client, "newer"), committed(&mut client, "often")), (7, 799));
}

#[test]
fn a_transaction_record_of_an_unknown_kind_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let listed = |client: &mut RawClient| {
        let listed = client.call(0, &ListTransactionsRequest::default()).transaction_states;
        let mut ids: Vec<_> = listed.into_iter().map(|one| one.transactional_id).collect();
        ids.sort();
        ids.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let broker = broker_at(at);
    let mut client = RawClient::connect(&broker);
    for id in ["known", "newer"] {
        init(&mut client, id);
    }
    drop(client);
    broker.shutdown().unwrap();
    for (kinds, expected) in [([0, 99], &["known"][..]), ([99, 0], &["known", "newer"])] {
        assert!(change_kind(at, "__transaction_state-0", "newer", kinds));
        let broker = broker_at(at);
        assert_eq!(listed(&mut RawClient::connect(&broker)), expected);
        broker.shutdown().unwrap();
    }
}

#[test]
fn transactional_ids_are_compacted_and_go_on_from_their_epochs() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    let (rare, frequent) = ("rare", format!("frequent-{}", "x".repeat(3000)));
    let first = init(&mut client, rare);
    let mut last = init(&mut client, &frequent);
    for _ in 0..1000 {
        last = init(&mut client, &frequent);
    }
    wait_until_below(&mut client, "__transaction_state", 1_500_000);
    drop(client);
    broker.shutdown().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    let listed = client.call(0, &ListTransactionsRequest::default()).transaction_states;
    assert_eq!(listed.len(), 2);
    let next = |(id, epoch): (ProducerId, ProducerEpoch)| (id, ProducerEpoch(epoch.0 + 1));
    assert_eq!(init(&mut client, rare), next(first));
    assert_eq!(init(&mut client, &frequent), next(last));
}
