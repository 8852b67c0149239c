//! Offsets that groups store, plainly and in transactions, over the bare protocol.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{RawClient, broker_with, patiently};
use rstest::rstest;
use streamledger_broker::{Broker, BrokerConfig, RunningBroker};
use streamledger_protocol::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use streamledger_protocol::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use streamledger_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use streamledger_protocol::messages::{
    AddOffsetsToTxnRequest, DeleteTopicsRequest, EndTxnRequest, InitProducerIdRequest,
    OffsetCommitRequest, OffsetFetchRequest, TxnOffsetCommitRequest,
};
use streamledger_protocol::{
    ErrorCode, Offset, PartitionIndex, ProducerEpoch, ProducerId, ProducerIdentity, TopicId,
    TopicName,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn broker_at(directory: &Path) -> RunningBroker {
    broker_with(&[
        ("log.dirs", directory.to_str().unwrap()),
        ("transaction.state.log.num.partitions", "3"),
        ("offsets.topic.num.partitions", "3"),
    ])
}

fn commit(
    client: &mut RawClient,
    version: i16,
    topic: &str,
    id: TopicId,
    offset: i64,
) -> ErrorCode {
    let partition = OffsetCommitRequestPartition {
        committed_offset: Offset(offset),
        committed_metadata: Some("m".to_owned()),
        ..Default::default()
    };
    let (name, topic_id) = (TopicName::new(topic), id);
    let request = OffsetCommitRequest {
        group_id: "readers".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic { name, topic_id, partitions: vec![partition] }],
        ..Default::default()
    };
    client.call(version, &request).topics[0].partitions[0].error_code
}

/// The stored offset and the error, by the newest form that names topics.
fn fetch(client: &mut RawClient, requires_stable: bool) -> (i64, ErrorCode) {
    let topic = OffsetFetchRequestTopics {
        name: TopicName::new("clicks"),
        partition_indexes: vec![PartitionIndex(0)],
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: "readers".into(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request = OffsetFetchRequest {
        groups: vec![group],
        require_stable: requires_stable,
        ..Default::default()
    };
    let answer = client.call(9, &request);
    assert_eq!(answer.groups[0].error_code, ErrorCode::None);
    let partition = &answer.groups[0].topics[0].partitions[0];
    (partition.committed_offset.0, partition.error_code)
}

fn init(client: &mut RawClient) -> ProducerIdentity {
    let request = InitProducerIdRequest {
        transactional_id: Some("job".into()),
        transaction_timeout_ms: 60_000,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
    };
    let answer = patiently(|| client.call(5, &request), |answer| answer.error_code);
    assert_eq!(answer.error_code, ErrorCode::None);
    ProducerIdentity { id: answer.producer_id, epoch: answer.producer_epoch }
}

fn txn_commit(
    client: &mut RawClient,
    version: i16,
    producer: ProducerIdentity,
    offset: i64,
) -> ErrorCode {
    let partition =
        TxnOffsetCommitRequestPartition { committed_offset: Offset(offset), ..Default::default() };
    let request = TxnOffsetCommitRequest {
        transactional_id: "job".into(),
        group_id: "readers".into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        generation_id: -1,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: TopicName::new("clicks"),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    let ask = || client.call(version, &request).topics[0].partitions[0].error_code;
    patiently(ask, |error| *error)
}

/// What offsets are refused with once the transaction before is ended for good: its offsets are
/// decided a moment before the coordinator has noted that.
fn refused_commit(client: &mut RawClient, version: i16, producer: ProducerIdentity) -> ErrorCode {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match txn_commit(client, version, producer, 1) {
            ErrorCode::CoordinatorNotAvailable if Instant::now() < deadline => {}
            error => return error,
        }
    }
}

fn add_offsets(client: &mut RawClient, producer: ProducerIdentity) -> ErrorCode {
    let request = AddOffsetsToTxnRequest {
        transactional_id: "job".into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        group_id: "readers".into(),
    };
    patiently(|| client.call(3, &request).error_code, |error| *error)
}

fn end(
    client: &mut RawClient,
    version: i16,
    producer: ProducerIdentity,
    committed: bool,
) -> ProducerIdentity {
    let request = EndTxnRequest {
        transactional_id: "job".into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        committed,
    };
    let answer = patiently(|| client.call(version, &request), |answer| answer.error_code);
    assert_eq!(answer.error_code, ErrorCode::None);
    if version < 5 {
        return producer;
    }
    ProducerIdentity { id: answer.producer_id, epoch: answer.producer_epoch }
}

/// Waits until nothing is pending, and gives the stored offset.
fn stable(client: &mut RawClient) -> i64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fetch(client, true) {
            (offset, ErrorCode::None) => return offset,
            (_, ErrorCode::UnstableOffsetCommit) if Instant::now() < deadline => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn metrics_tell_of_connections_errors_times_and_the_lag_of_groups() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = broker_at(scratch.path());
    let mut client = RawClient::connect(&broker);
    client.create_topic("clicks", 1, &[]);
    let batch = common::batch_of(&["a", "b", "c"], None);
    let produced = client.call(9, &common::produce("clicks", 0, -1, batch));
    assert_eq!(produced.responses[0].partition_responses[0].error_code, ErrorCode::None);
    let mut stored = || commit(&mut client, 8, "clicks", TopicId::ZERO, 1);
    assert_eq!(patiently(&mut stored, |error| *error), ErrorCode::None);
    let batch = common::batch_of(&["x"], None);
    let refused = client.call(9, &common::produce("nowhere", 0, -1, batch));
    let error = refused.responses[0].partition_responses[0].error_code;
    assert_eq!(error, ErrorCode::UnknownTopicOrPartition);
    let other = RawClient::connect(&broker);
    let page = patiently_with(&broker, "connections 2");
    for sample in [
        r#"request_errors_total{api="Produce",error="UNKNOWN_TOPIC_OR_PARTITION"} 1"#,
        r#"requests_total{api="Produce"} 2"#,
        r#"request_seconds_bucket{api="Produce",le="+Inf"} 2"#,
        r#"request_seconds_count{api="Produce"} 2"#,
        r#"group_lag{group="readers",topic="clicks",partition="0"} 2"#,
        "group_lag_left_out 0",
        "connections_opened_total 2",
        "throttled_requests_total 0",
    ] {
        assert!(page.contains(&format!("streamledger_broker_{sample}\n")), "no {sample}: {page}");
    }
    drop(other);
    patiently_with(&broker, "connections 1");
}

/// The page of metrics once it has this sample.
fn patiently_with(broker: &RunningBroker, sample: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = broker.metrics().to_prometheus();
        if page.contains(&format!("streamledger_broker_{sample}\n")) {
            return page;
        }
        assert!(Instant::now() < deadline, "no {sample}: {page}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_consumer_outside_of_groups_stores_and_reads_offsets_in_every_version() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    let id = client.create_topic("clicks", 1, &[]);
    assert_eq!(fetch(&mut client, false), (-1, ErrorCode::None));
    for version in 2..=10 {
        let offset = i64::from(version) * 10;
        assert_eq!(commit(&mut client, version, "clicks", id, offset), ErrorCode::None);
        assert_eq!(fetch(&mut client, true), (offset, ErrorCode::None));
    }
    assert_eq!(commit(&mut client, 9, "none", id, 1), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(commit(&mut client, 10, "", TopicId([7; 16]), 1), ErrorCode::UnknownTopicId);
    // All that is stored, by the oldest form that can ask for it and by id.
    let all = OffsetFetchRequest { group_id: "readers".into(), topics: None, ..Default::default() };
    let answer = client.call(5, &all);
    assert_eq!(answer.topics[0].partitions[0].committed_offset, Offset(100));
    assert_eq!(answer.topics[0].partitions[0].metadata.as_deref(), Some("m"));
    let groups = vec![OffsetFetchRequestGroup {
        group_id: "readers".into(),
        topics: None,
        ..Default::default()
    }];
    let answer = client.call(10, &OffsetFetchRequest { groups, ..Default::default() });
    assert_eq!(answer.groups[0].topics[0].topic_id, id);
    broker.shutdown().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    assert_eq!(fetch(&mut client, false), (100, ErrorCode::None), "after a restart");
    let topic_names = vec![TopicName::new("clicks")];
    client.call(5, &DeleteTopicsRequest { topic_names, ..Default::default() });
    client.create_topic("clicks", 1, &[]);
    assert_eq!(fetch(&mut client, false), (-1, ErrorCode::None), "failure 16: another topic");
}

#[test]
fn who_says_that_it_is_a_member_is_not_known() {
    let broker = broker_with(&[("offsets.topic.num.partitions", "3")]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("clicks", 1, &[]);
    let topic = OffsetCommitRequestTopic {
        name: TopicName::new("clicks"),
        partitions: vec![OffsetCommitRequestPartition::default()],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "readers".into(),
        generation_id_or_member_epoch: 4,
        member_id: "m".to_owned(),
        topics: vec![topic],
        ..Default::default()
    };
    let answer = client.call(8, &request);
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::IllegalGeneration);
}

#[rstest]
#[case::v1(3, 4)]
#[case::v2(5, 5)]
fn offsets_in_a_transaction_are_seen_when_it_commits(
    #[case] version: i16,
    #[case] end_version: i16,
) {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    let id = client.create_topic("clicks", 1, &[]);
    assert_eq!(commit(&mut client, 9, "clicks", id, 5), ErrorCode::None);
    let mut producer = init(&mut client);
    let open = |client: &mut RawClient, producer, offset| {
        if version < 5 {
            assert_eq!(refused_commit(client, version, producer), ErrorCode::InvalidTxnState);
            assert_eq!(add_offsets(client, producer), ErrorCode::None);
        }
        assert_eq!(txn_commit(client, version, producer, offset), ErrorCode::None);
    };
    open(&mut client, producer, 50);
    assert_eq!(fetch(&mut client, false), (5, ErrorCode::None));
    assert_eq!(fetch(&mut client, true), (-1, ErrorCode::UnstableOffsetCommit));
    producer = end(&mut client, end_version, producer, false);
    assert_eq!(stable(&mut client), 5, "aborted");
    open(&mut client, producer, 60);
    // Pending across a restart.
    broker.shutdown().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    assert_eq!(fetch(&mut client, true), (-1, ErrorCode::UnstableOffsetCommit));
    end(&mut client, end_version, producer, true);
    assert_eq!(stable(&mut client), 60, "committed");
    broker.shutdown().unwrap();
    let broker = broker_at(directory.path());
    assert_eq!(stable(&mut RawClient::connect(&broker)), 60, "and for good");
}

#[test]
fn a_fenced_producers_offsets_are_refused() {
    let broker = broker_with(&[("offsets.topic.num.partitions", "3")]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("clicks", 1, &[]);
    let old = init(&mut client);
    assert_eq!(txn_commit(&mut client, 5, old, 50), ErrorCode::None);
    let new = init(&mut client);
    assert_eq!(txn_commit(&mut client, 5, old, 51), ErrorCode::ProducerFenced);
    assert_eq!(txn_commit(&mut client, 3, old, 51), ErrorCode::InvalidProducerEpoch);
    assert_eq!(add_offsets(&mut client, old), ErrorCode::ProducerFenced);
    assert_eq!(stable(&mut client), -1);
    assert_eq!(txn_commit(&mut client, 5, new, 52), ErrorCode::None);
    end(&mut client, 5, new, true);
    assert_eq!(stable(&mut client), 52);
}

#[test]
fn failures_33_offsets_in_a_log_that_cannot_be_read_are_not_known_and_never_none() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_with(&[
        ("log.dirs", directory.path().to_str().unwrap()),
        ("offsets.topic.num.partitions", "1"),
    ]);
    let mut client = RawClient::connect(&broker);
    let id = client.create_topic("clicks", 1, &[]);
    for offset in [5, 6, 7] {
        assert_eq!(commit(&mut client, 9, "clicks", id, offset), ErrorCode::None);
    }
    broker.shutdown().unwrap();
    let log = directory.path().join("__consumer_offsets-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[70] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    // Without it the start looks at all of the log.
    std::fs::remove_file(directory.path().join("manifest")).unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    let group =
        OffsetFetchRequestGroup { group_id: "readers".into(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let answer = client.call(9, &request);
    assert_eq!(answer.groups[0].error_code, ErrorCode::CoordinatorNotAvailable);
}

#[test]
fn failure_50_a_value_of_a_newer_version_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    let id = client.create_topic("clicks", 1, &[]);
    commit(&mut client, 9, "clicks", id, 5);
    broker.shutdown().unwrap();
    // The version of the one record's value becomes one that nobody has.
    let found = (0..3).find_map(|index| {
        let name = format!("__consumer_offsets-{index}/00000000000000000000.log");
        let path = directory.path().join(name);
        let bytes = std::fs::read(&path).ok().filter(|bytes| !bytes.is_empty())?;
        Some((path, bytes))
    });
    let (path, mut bytes) = found.expect("a log with a record");
    // Behind the group are the topic with its length, the partition, and the value's length.
    let group = bytes.windows(7).position(|part| part == b"readers").unwrap();
    let value = group + 7 + 2 + 6 + 4 + 1;
    assert_eq!(bytes[value..value + 2], [0, 3]);
    bytes[value + 1] = 99;
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    std::fs::write(&path, bytes).unwrap();
    let config = BrokerConfig::builder()
        .properties([("log.dirs", directory.path().to_str().unwrap())])
        .build()
        .unwrap();
    let refused = Broker::start(config).unwrap_err().to_string();
    assert!(refused.contains("__consumer_offsets") && refused.contains("version 99"), "{refused}");
}
