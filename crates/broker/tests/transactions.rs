//! Transactions over the bare protocol: what a producer is answered, and what readers see.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{
    RawClient, broker_with, fetch, now_ms, only_fetched, only_partition, patiently, produce,
    records_of, wait_until,
};
use rstest::rstest;
use streamledger_broker::RunningBroker;
use streamledger_protocol::compression::CompressionScratch;
use streamledger_protocol::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use streamledger_protocol::messages::fetch::PartitionData;
use streamledger_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use streamledger_protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic,
};
use streamledger_protocol::messages::{
    AddPartitionsToTxnRequest, ApiVersionsRequest, DescribeTransactionsRequest, EndTxnRequest,
    FetchRequest, FindCoordinatorRequest, InitProducerIdRequest, ListOffsetsRequest,
    ListTransactionsRequest, ProduceRequest, WriteTxnMarkersRequest,
};
use streamledger_protocol::record_batch::{BatchSeal, RecordBatchBuilder};
use streamledger_protocol::{
    ErrorCode, PartitionIndex, ProducerEpoch, ProducerId, ProducerIdentity, SequenceNumber,
    TimestampMs, TopicName, TransactionalId,
};

const PATIENCE: Duration = Duration::from_secs(60);
const V1: i16 = 4;
const V2: i16 = 5;

fn broker() -> RunningBroker {
    broker_with(&[
        ("transaction.state.log.num.partitions", "3"),
        ("offsets.topic.num.partitions", "3"),
    ])
}

/// A broker in a directory that outlives it.
fn broker_at(directory: &std::path::Path) -> RunningBroker {
    broker_with(&[
        ("log.dirs", directory.to_str().unwrap()),
        ("transaction.state.log.num.partitions", "3"),
    ])
}

fn init(
    client: &mut RawClient,
    known: Option<ProducerIdentity>,
) -> Result<ProducerIdentity, ErrorCode> {
    init_as(client, 5, known, 60_000)
}

fn init_as(
    client: &mut RawClient,
    version: i16,
    known: Option<ProducerIdentity>,
    transaction_timeout_ms: i32,
) -> Result<ProducerIdentity, ErrorCode> {
    let known = known.unwrap_or(ProducerIdentity::NONE);
    let request = InitProducerIdRequest {
        transactional_id: Some("job".into()),
        transaction_timeout_ms,
        producer_id: known.id,
        producer_epoch: known.epoch,
    };
    let answer = patiently(|| client.call(version, &request), |answer| answer.error_code);
    let (id, epoch) = (answer.producer_id, answer.producer_epoch);
    known_or(answer.error_code, ProducerIdentity { id, epoch })
}

fn known_or(error: ErrorCode, producer: ProducerIdentity) -> Result<ProducerIdentity, ErrorCode> {
    match error {
        ErrorCode::None => Ok(producer),
        error => Err(error),
    }
}

fn batch(producer: ProducerIdentity, sequence: i32, values: &[&str]) -> Bytes {
    let mut builder = RecordBatchBuilder::with_capacity(1024);
    // A marker is stamped now: records of long ago would stand in a segment of their own.
    for (timestamp, value) in (now_ms()..).zip(values) {
        builder.append(TimestampMs(timestamp), None, Some(value.as_bytes()), &[]);
    }
    let seal = BatchSeal {
        producer: Some((producer, SequenceNumber(sequence))),
        transactional: true,
        ..BatchSeal::default()
    };
    builder.seal(&seal, &mut CompressionScratch::default()).unwrap().bytes
}

fn send(
    client: &mut RawClient,
    version: i16,
    partition: i32,
    producer: ProducerIdentity,
    sequence: i32,
    values: &[&str],
) -> ErrorCode {
    let request = ProduceRequest {
        transactional_id: Some("job".into()),
        ..produce("orders", partition, -1, batch(producer, sequence, values))
    };
    patiently(|| only_partition(&client.call(version, &request)).error_code, |error| *error)
}

fn add(client: &mut RawClient, version: i16, producer: ProducerIdentity, topic: &str) -> ErrorCode {
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "job".into(),
        v3_and_below_producer_id: producer.id,
        v3_and_below_producer_epoch: producer.epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: TopicName::new(topic),
            partitions: vec![PartitionIndex(0)],
        }],
        ..Default::default()
    };
    let ask = || {
        let answer = client.call(version, &request);
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    };
    patiently(ask, |error| *error)
}

fn end(
    client: &mut RawClient,
    version: i16,
    producer: ProducerIdentity,
    committed: bool,
) -> Result<ProducerIdentity, ErrorCode> {
    let request = EndTxnRequest {
        transactional_id: "job".into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        committed,
    };
    let answer = patiently(|| client.call(version, &request), |answer| answer.error_code);
    let (id, epoch) = (answer.producer_id, answer.producer_epoch);
    known_or(answer.error_code, ProducerIdentity { id, epoch })
}

fn read_committed(client: &mut RawClient, partition: i32) -> PartitionData {
    let request = FetchRequest { isolation_level: 1, ..fetch("orders", partition, 0) };
    only_fetched(client.call(11, &request))
}

/// What a read-committed consumer makes of it: batches of aborted transactions are skipped.
fn committed_values(client: &mut RawClient, partition: i32) -> Vec<String> {
    use streamledger_protocol::compression::Decompressor;
    use streamledger_protocol::record_batch::batches;
    let data = read_committed(client, partition);
    let aborted = data.aborted_transactions.clone().unwrap_or_default();
    assert!(aborted.is_sorted_by_key(|one| one.first_offset), "trap 7: {aborted:?}");
    let mut open: Vec<_> = aborted.into_iter().rev().collect();
    let mut skipped: Vec<ProducerId> = Vec::new();
    let mut values = Vec::new();
    let mut decompressor = Decompressor::default();
    let bytes = data.records.unwrap_or_default().into_bytes();
    for batch in batches(&bytes) {
        let batch = batch.unwrap();
        let header = *batch.header();
        while open.last().is_some_and(|one| one.first_offset <= header.base_offset) {
            skipped.extend(open.pop().map(|one| one.producer_id));
        }
        if header.attributes.is_control() {
            skipped.retain(|id| *id != header.producer_id);
        } else if !skipped.contains(&header.producer_id) {
            for record in batch.records(&mut decompressor).unwrap() {
                let value = record.unwrap().value.unwrap().to_vec();
                values.push(String::from_utf8(value).unwrap());
            }
        }
    }
    values
}

/// Waits until the last stable offset of a partition is that.
fn wait_for_stable(client: &mut RawClient, partition: i32, offset: i64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stable = read_committed(client, partition).last_stable_offset.0;
        if stable == offset {
            return;
        }
        assert!(Instant::now() < deadline, "stable up to {stable}, not {offset}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn state(client: &mut RawClient) -> String {
    state_of(client, "job")
}

fn state_of(client: &mut RawClient, id: &str) -> String {
    let transactional_ids = vec![TransactionalId::from(id)];
    let answer = client.call(0, &DescribeTransactionsRequest { transactional_ids });
    let state = &answer.transaction_states[0];
    assert_eq!(state.error_code, ErrorCode::None);
    state.transaction_state.clone()
}

#[test]
fn transaction_version_2_is_a_feature_and_the_internal_topic_is_made_at_first_use() {
    let broker = broker();
    let mut client = RawClient::connect(&broker);
    let request = ApiVersionsRequest {
        client_software_name: "raw".into(),
        client_software_version: "1".into(),
    };
    let answer = client.call(4, &request);
    let features = answer.finalized_features.iter();
    let levels: Vec<_> = features.map(|f| (f.name.as_str(), f.max_version_level)).collect();
    assert!(levels.contains(&("transaction.version", 2)), "{levels:?}");
    let made = || broker.data_dir().join("__transaction_state-2").exists();
    assert!(!made());
    let request = FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec!["job".into()],
        ..Default::default()
    };
    let answer = client.call(6, &request);
    assert_eq!(answer.coordinators[0].error_code, ErrorCode::None);
    assert!(made());
}

#[rstest]
#[case::v1(V1, 9)]
#[case::v2(V2, 12)]
fn a_commit_is_seen_whole_and_an_abort_not_at_all(
    #[case] end_version: i16,
    #[case] produce_version: i16,
) {
    let broker = broker();
    let mut client = RawClient::connect(&broker);
    client.create_topic("orders", 1, &[]);
    let mut producer = init(&mut client, None).unwrap();
    let mut sequence = 0;
    let mut expected = Vec::new();
    for round in 0..6 {
        let committed = round % 3 != 1;
        let value = format!("round {round}");
        if end_version == V1 {
            assert_eq!(add(&mut client, 3, producer, "orders"), ErrorCode::None);
        }
        let sent = send(&mut client, produce_version, 0, producer, sequence, &[&value]);
        assert_eq!(sent, ErrorCode::None, "round {round}");
        assert_eq!(committed_values(&mut client, 0), expected, "open: not seen");
        let next = end(&mut client, end_version, producer, committed).unwrap();
        if end_version == V2 {
            assert_eq!(next.epoch, ProducerEpoch(producer.epoch.0 + 1), "KIP-890");
            producer = next;
        } else {
            sequence += 1;
        }
        if committed {
            expected.push(value);
        }
        wait_for_stable(&mut client, 0, (round + 1) * 2);
        assert_eq!(committed_values(&mut client, 0), expected);
    }
    let uncommitted = client.fetch("orders", 0, 0);
    assert!(uncommitted.aborted_transactions.is_none());
}

#[test]
fn list_offsets_stops_where_its_reader_does() {
    let broker = broker();
    let mut client = RawClient::connect(&broker);
    client.create_topic("orders", 1, &[]);
    let producer = init(&mut client, None).unwrap();
    assert_eq!(send(&mut client, 12, 0, producer, 0, &["a", "b"]), ErrorCode::None);
    let mut latest = |isolation_level| {
        let ask = ListOffsetsPartition { timestamp: TimestampMs(-1), ..Default::default() };
        let name = TopicName::new("orders");
        let request = ListOffsetsRequest {
            isolation_level,
            topics: vec![ListOffsetsTopic { name, partitions: vec![ask] }],
            ..Default::default()
        };
        client.call(5, &request).topics[0].partitions[0].offset.0
    };
    assert_eq!((latest(0), latest(1)), (2, 0));
}

#[rstest]
#[case(9, ErrorCode::InvalidTxnState)]
#[case(11, ErrorCode::TransactionAbortable)]
fn a_partition_that_was_not_added_is_refused_as_the_version_knows(
    #[case] version: i16,
    #[case] expected: ErrorCode,
) {
    let broker = broker();
    let mut client = RawClient::connect(&broker);
    client.create_topic("orders", 1, &[]);
    client.create_topic("other", 1, &[]);
    let producer = init(&mut client, None).unwrap();
    assert_eq!(send(&mut client, version, 0, producer, 0, &["x"]), expected);
    assert_eq!(add(&mut client, 3, producer, "other"), ErrorCode::None);
    assert_eq!(send(&mut client, version, 0, producer, 0, &["x"]), expected);
    assert_eq!(add(&mut client, 3, producer, "missing"), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(add(&mut client, 3, producer, "orders"), ErrorCode::None);
    assert_eq!(send(&mut client, version, 0, producer, 0, &["x"]), ErrorCode::None);
    assert_eq!(client.fetch("orders", 0, 0).high_watermark.0, 1, "once");
}

#[test]
fn a_transactional_batch_without_a_transactional_id_or_for_an_internal_topic_is_refused() {
    let broker = broker();
    let mut client = RawClient::connect(&broker);
    client.create_topic("orders", 1, &[]);
    let producer = init(&mut client, None).unwrap();
    let nameless = produce("orders", 0, -1, batch(producer, 0, &["x"]));
    let answer = only_partition(&client.call(11, &nameless));
    assert_eq!(answer.error_code, ErrorCode::InvalidTxnState);
    let forged = produce("__transaction_state", 0, -1, common::batch_of(&["x"], None));
    let answer = only_partition(&client.call(11, &forged));
    assert_eq!(answer.error_code, ErrorCode::InvalidTopicException);
}

#[test]
fn failure_12_the_older_of_two_producers_is_fenced_and_what_it_wrote_is_never_read() {
    let broker = broker();
    let (mut old_client, mut new_client) =
        (RawClient::connect(&broker), RawClient::connect(&broker));
    old_client.create_topic("orders", 2, &[]);
    let old = init(&mut old_client, None).unwrap();
    assert_eq!(send(&mut old_client, 12, 0, old, 0, &["old"]), ErrorCode::None);
    let new = init(&mut new_client, None).unwrap();
    assert_eq!(new.id, old.id);
    assert_eq!(new.epoch, ProducerEpoch(old.epoch.0 + 2), "KAFKA-19367: not three");
    for (version, partition) in [(12, 0), (12, 1), (9, 0), (9, 1)] {
        let error = send(&mut old_client, version, partition, old, 1, &["late"]);
        assert_eq!(error, ErrorCode::InvalidProducerEpoch, "produce {version} to {partition}");
    }
    for (version, expected) in [
        (1, ErrorCode::InvalidProducerEpoch),
        (2, ErrorCode::ProducerFenced),
        (5, ErrorCode::ProducerFenced),
    ] {
        for committed in [true, false] {
            assert_eq!(
                end(&mut old_client, version, old, committed),
                Err(expected),
                "EndTxn {version}"
            );
        }
    }
    assert_eq!(add(&mut old_client, 1, old, "orders"), ErrorCode::InvalidProducerEpoch);
    assert_eq!(add(&mut old_client, 3, old, "orders"), ErrorCode::ProducerFenced);
    let init_old = |client: &mut RawClient, version| init_as(client, version, Some(old), 60_000);
    assert_eq!(init_old(&mut old_client, 3), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(init_old(&mut old_client, 4), Err(ErrorCode::ProducerFenced));
    assert_eq!(send(&mut new_client, 12, 0, new, 0, &["new"]), ErrorCode::None);
    end(&mut new_client, V2, new, true).unwrap();
    wait_for_stable(&mut new_client, 0, 4);
    assert_eq!(committed_values(&mut new_client, 0), ["new"]);
}

#[test]
fn failure_31_a_transaction_open_for_too_long_is_aborted_and_its_producer_told() {
    let broker = broker();
    let mut client = RawClient::connect(&broker);
    client.create_topic("orders", 1, &[]);
    let producer = init_as(&mut client, 5, None, 200).unwrap();
    assert_eq!(send(&mut client, 12, 0, producer, 0, &["slow"]), ErrorCode::None);
    wait_for_stable(&mut client, 0, 2);
    assert_eq!(committed_values(&mut client, 0), [] as [&str; 0]);
    let late = send(&mut client, 12, 0, producer, 1, &["late"]);
    assert_eq!(late, ErrorCode::InvalidProducerEpoch);
    assert_eq!(end(&mut client, V2, producer, true), Err(ErrorCode::InvalidTxnState));
    assert_eq!(end(&mut client, V1, producer, true), Err(ErrorCode::ProducerFenced));
    // It may abort, and goes on under the next epoch (KIP-588).
    let next = end(&mut client, V2, producer, false).unwrap();
    assert_eq!(next.epoch, ProducerEpoch(producer.epoch.0 + 1));
    assert_eq!(send(&mut client, 12, 0, next, 0, &["again"]), ErrorCode::None);
    end(&mut client, V2, next, true).unwrap();
    wait_for_stable(&mut client, 0, 4);
    assert_eq!(committed_values(&mut client, 0), ["again"]);
}

#[test]
fn failures_29_and_30_what_a_stop_left_open_goes_on_after_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    client.create_topic("orders", 3, &[]);
    let producer = init(&mut client, None).unwrap();
    for partition in 0..3 {
        assert_eq!(send(&mut client, 12, partition, producer, 0, &["kept"]), ErrorCode::None);
    }
    broker.shutdown().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    assert_eq!(state(&mut client), "Ongoing");
    assert_eq!(committed_values(&mut client, 0), [] as [&str; 0]);
    // The stop comes while the markers are on their way, or after.
    let next = end(&mut client, V2, producer, true).unwrap();
    broker.shutdown().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    for partition in 0..3 {
        let deadline = Instant::now() + PATIENCE;
        while committed_values(&mut client, partition).is_empty() {
            assert!(Instant::now() < deadline, "partition {partition} was never committed");
        }
        assert_eq!(committed_values(&mut client, partition), ["kept"]);
    }
    assert_eq!(end(&mut client, V2, producer, true), Ok(next), "27: asked again, across starts");
    assert_eq!(state(&mut client), "CompleteCommit");
}

#[test]
fn kafka_17507_and_17877_every_marker_asked_for_is_answered_when_it_is_there() {
    let broker = broker();
    let mut client = RawClient::connect(&broker);
    client.create_topic("orders", 1, &[]);
    let producer = init(&mut client, None).unwrap();
    assert_eq!(send(&mut client, 12, 0, producer, 0, &["hanging"]), ErrorCode::None);
    let marker = |id: i64, topic: &str| WritableTxnMarker {
        producer_id: ProducerId(id),
        producer_epoch: producer.epoch,
        topics: vec![WritableTxnMarkerTopic {
            name: TopicName::new(topic),
            partition_indexes: vec![PartitionIndex(0)],
        }],
        ..Default::default()
    };
    let request = WriteTxnMarkersRequest {
        markers: vec![marker(producer.id.0, "orders"), marker(77, "missing"), marker(78, "orders")],
    };
    let answer = client.call(1, &request);
    let answered: Vec<_> = answer
        .markers
        .iter()
        .map(|one| (one.producer_id.0, one.topics[0].partitions[0].error_code))
        .collect();
    let missing = ErrorCode::UnknownTopicOrPartition;
    let expected = [(producer.id.0, ErrorCode::None), (77, missing), (78, ErrorCode::None)];
    assert_eq!(answered, expected);
    let data = read_committed(&mut client, 0);
    assert_eq!(data.last_stable_offset.0, 3, "stable as soon as it is answered");
    assert_eq!(committed_values(&mut client, 0), [] as [&str; 0]);
    // The same again changes nothing for readers.
    let again = WriteTxnMarkersRequest { markers: vec![marker(producer.id.0, "orders")] };
    client.call(1, &again);
    assert_eq!(read_committed(&mut client, 0).aborted_transactions.unwrap().len(), 1);
    let outdated = WritableTxnMarker { coordinator_epoch: -5, ..marker(producer.id.0, "orders") };
    let answer = client.call(1, &WriteTxnMarkersRequest { markers: vec![outdated] });
    let error = answer.markers[0].topics[0].partitions[0].error_code;
    assert_eq!(error, ErrorCode::TransactionCoordinatorFenced);
}

#[test]
fn kip_1228_a_marker_of_version_2_is_refused_at_an_epoch_that_has_been_seen() {
    let broker = broker();
    let mut client = RawClient::connect(&broker);
    client.create_topic("orders", 1, &[]);
    let producer = init(&mut client, None).unwrap();
    assert_eq!(send(&mut client, 12, 0, producer, 0, &["open"]), ErrorCode::None);
    let mut mark = |version: i16, epoch: i16, transaction_version: i8| {
        let marker = WritableTxnMarker {
            producer_id: producer.id,
            producer_epoch: ProducerEpoch(epoch),
            transaction_result: true,
            topics: vec![WritableTxnMarkerTopic {
                name: TopicName::new("orders"),
                partition_indexes: vec![PartitionIndex(0)],
            }],
            coordinator_epoch: 0,
            transaction_version,
        };
        let answer = client.call(version, &WriteTxnMarkersRequest { markers: vec![marker] });
        answer.markers[0].topics[0].partitions[0].error_code
    };
    let outdated = ErrorCode::InvalidProducerEpoch;
    assert_eq!(mark(2, producer.epoch.0, 2), outdated, "not raised");
    assert_eq!(mark(2, producer.epoch.0 + 1, 2), ErrorCode::None);
    assert_eq!(mark(2, producer.epoch.0 + 1, 2), outdated, "it comes again");
    assert_eq!(mark(2, producer.epoch.0 + 1, 1), ErrorCode::None, "by version 1 it may");
    assert_eq!(mark(1, producer.epoch.0 + 1, 0), ErrorCode::None, "and who doesn't say");
}

#[test]
fn aborted_transactions_of_several_producers_are_told_by_first_offset() {
    let broker = broker();
    let mut client = RawClient::connect(&broker);
    client.create_topic("orders", 1, &[]);
    let mut producers = Vec::new();
    for id in ["a", "b", "c"] {
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: 60_000,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
        };
        let answer = client.call(5, &request);
        let (id_given, epoch) = (answer.producer_id, answer.producer_epoch);
        let producer = ProducerIdentity { id: id_given, epoch };
        let request = ProduceRequest {
            transactional_id: Some(id.into()),
            ..produce("orders", 0, -1, batch(producer, 0, &[id]))
        };
        assert_eq!(only_partition(&client.call(12, &request)).error_code, ErrorCode::None);
        producers.push((id, producer));
    }
    // The last to begin ends first.
    for (id, producer) in producers.iter().rev() {
        let request = EndTxnRequest {
            transactional_id: (*id).into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            committed: *id == "b",
        };
        assert_eq!(client.call(V2, &request).error_code, ErrorCode::None);
        wait_until("its markers are written", || state_of(&mut client, id).starts_with("Comp"));
    }
    wait_for_stable(&mut client, 0, 6);
    let data = read_committed(&mut client, 0);
    let firsts: Vec<_> =
        data.aborted_transactions.unwrap().iter().map(|one| one.first_offset.0).collect();
    assert_eq!(firsts, [0, 2]);
    assert_eq!(committed_values(&mut client, 0), ["b"]);
    let listed = client.call(0, &ListTransactionsRequest::default());
    assert_eq!(listed.transaction_states.len(), 3);
    let pattern = ListTransactionsRequest {
        transactional_id_pattern: Some("a|b".into()),
        state_filters: vec!["CompleteAbort".into(), "Napping".into()],
        ..Default::default()
    };
    let listed = client.call(2, &pattern);
    assert_eq!(listed.unknown_state_filters, ["Napping"]);
    assert_eq!(listed.transaction_states.len(), 1);
    let bad = ListTransactionsRequest {
        transactional_id_pattern: Some("(".into()),
        ..Default::default()
    };
    assert_eq!(client.call(2, &bad).error_code, ErrorCode::InvalidRegularExpression);
}

#[test]
fn readers_of_uncommitted_records_see_them_at_once() {
    let broker = broker();
    let mut client = RawClient::connect(&broker);
    client.create_topic("orders", 1, &[]);
    let producer = init(&mut client, None).unwrap();
    assert_eq!(send(&mut client, 12, 0, producer, 0, &["seen"]), ErrorCode::None);
    let data = client.fetch("orders", 0, 0);
    assert_eq!(records_of(&data), [(0, "seen".to_owned())]);
}

#[test]
fn a_batch_that_waits_for_the_markers_before_it_is_not_refused_for_them() {
    let broker = broker();
    let mut client = RawClient::connect(&broker);
    client.create_topic("orders", 3, &[]);
    let mut producer = init(&mut client, None).unwrap();
    for round in 0..60 {
        for partition in 0..3 {
            let sent = send(&mut client, 12, partition, producer, 0, &["x"]);
            assert_eq!(sent, ErrorCode::None, "round {round}, partition {partition}");
        }
        producer = end(&mut client, V2, producer, round % 4 != 3).unwrap();
    }
    wait_for_stable(&mut client, 2, 120);
    assert_eq!(committed_values(&mut client, 2).len(), 45);
}
