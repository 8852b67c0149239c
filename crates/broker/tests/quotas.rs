//! Client quotas: who goes over one is told for how long to wait, and isn't heard before.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::{Duration, Instant};

use common::{RawClient, batch_of, broker_with, broker_with_acls, create_topics, fetch, produce};
use streamledger_broker::RunningBroker;
use streamledger_protocol::messages::alter_client_quotas::{EntityData, EntryData, OpData};
use streamledger_protocol::messages::create_partitions::CreatePartitionsTopic;
use streamledger_protocol::messages::delete_topics::DeleteTopicState;
use streamledger_protocol::messages::metadata::MetadataRequestTopic;
use streamledger_protocol::messages::{
    AlterClientQuotasRequest, ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteTopicsRequest, MetadataRequest,
};
use streamledger_protocol::{ErrorCode, TopicName};

/// Sets a quota (`None` removes it) of an entity given as kind and name; no name is the default.
fn set(client: &mut RawClient, entity: &[(&str, Option<&str>)], key: &str, value: Option<f64>) {
    let entity = entity.iter().map(|(kind, name)| EntityData {
        entity_type: (*kind).to_owned(),
        entity_name: name.map(str::to_owned),
    });
    let op =
        OpData { key: key.to_owned(), value: value.unwrap_or_default(), remove: value.is_none() };
    let entries = vec![EntryData { entity: entity.collect(), ops: vec![op] }];
    let request = AlterClientQuotasRequest { entries, validate_only: false };
    assert_eq!(client.call(1, &request).entries[0].error_code, ErrorCode::None);
}

/// Of ten seconds, the window of a rate that has just begun, this is 4 KB a second.
fn forty_kb() -> String {
    "x".repeat(40_000)
}

/// Sends the batch; what the answer says of waiting.
fn throttle_of_produce(client: &mut RawClient) -> i32 {
    let batch = batch_of(&[&forty_kb()], None);
    let response = client.call(9, &produce("t", 0, -1, batch));
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::None);
    response.throttle_time_ms
}

fn broker_with_topic() -> (RunningBroker, RawClient) {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    (broker, client)
}

#[test]
fn a_producer_over_its_rate_is_told_to_wait_and_not_heard_before() {
    let (broker, mut client) = broker_with_topic();
    set(&mut client, &[("client-id", Some("raw"))], "producer_byte_rate", Some(3500.0));
    let before = Instant::now();
    let throttle = throttle_of_produce(&mut client);
    // 4 KB a second for ten seconds are 1.4 s too many, and some for the headers.
    assert!((1400..1700).contains(&throttle), "{throttle}");
    // The answer came at once, and what comes next waits.
    let _ = client.call(2, &ApiVersionsRequest::default());
    assert!(before.elapsed() >= Duration::from_millis(u64::from(throttle.unsigned_abs()) - 5));
    set(&mut client, &[("client-id", Some("raw"))], "producer_byte_rate", None);
    assert_eq!(throttle_of_produce(&mut client), 0);
    let page = broker.metrics().to_prometheus();
    let throttled = format!(
        "streamledger_broker_throttled_requests_total 1\n# HELP \
         streamledger_broker_throttle_seconds_total How long they told clients to wait.\n# TYPE \
         streamledger_broker_throttle_seconds_total counter\n\
         streamledger_broker_throttle_seconds_total {}\n",
        f64::from(throttle) / 1e3
    );
    assert!(page.contains(&throttled), "no {throttled} in {page}");
}

#[test]
fn others_are_heard_meanwhile_and_acks_0_is_throttled_too() {
    let (broker, mut client) = broker_with_topic();
    set(&mut client, &[("client-id", None)], "producer_byte_rate", Some(3600.0));
    let before = Instant::now();
    client.send(9, &produce("t", 0, 0, batch_of(&[&forty_kb()], None)));
    client.send(9, &MetadataRequest::default());
    let mut other = RawClient::connect(&broker);
    assert_eq!(other.call(9, &MetadataRequest::default()).throttle_time_ms, 0);
    let (_, _) = client.receive::<streamledger_protocol::messages::MetadataResponse>(9);
    assert!(before.elapsed() >= Duration::from_millis(1000));
}

#[test]
fn a_reader_over_its_rate_has_its_records_and_waits_after() {
    let (_broker, mut client) = broker_with_topic();
    assert_eq!(throttle_of_produce(&mut client), 0);
    set(&mut client, &[("client-id", None)], "consumer_byte_rate", Some(3500.0));
    let before = Instant::now();
    let response = client.call(11, &fetch("t", 0, 0));
    let throttle = response.throttle_time_ms;
    assert!((1400..1700).contains(&throttle), "{throttle}");
    assert!(response.responses[0].partitions[0].records.as_ref().unwrap().len() > 40_000);
    let _ = client.call(9, &MetadataRequest::default());
    assert!(before.elapsed() >= Duration::from_millis(1300));
}

#[test]
fn the_time_of_requests_is_limited_and_never_for_more_than_a_second_at_a_time() {
    let (_broker, mut client) = broker_with_topic();
    set(&mut client, &[("client-id", Some("raw"))], "request_percentage", Some(1e-9));
    let response = client.call(9, &MetadataRequest::default());
    assert!((1..=1000).contains(&response.throttle_time_ms), "{}", response.throttle_time_ms);
}

#[test]
fn a_user_has_a_quota_for_all_its_connections_and_others_have_their_own() {
    let broker = broker_with_acls(&[]);
    let mut admin = RawClient::logged_in(&broker, "admin");
    admin.create_topic("t", 1, &[]);
    set(&mut admin, &[("user", None)], "producer_byte_rate", Some(5000.0));
    set(&mut admin, &[("user", Some("admin"))], "producer_byte_rate", Some(1e9));
    set(&mut admin, &[("client-id", Some("raw"))], "producer_byte_rate", Some(1.0));
    // What is set of the user goes before what is set of the client id.
    assert_eq!(throttle_of_produce(&mut admin), 0);
    assert_eq!(throttle_of_produce(&mut admin), 0);
    let mut alice = [0; 2].map(|_| RawClient::logged_in(&broker, "alice"));
    let denied = |client: &mut RawClient| {
        let batch = batch_of(&[&forty_kb()], None);
        client.call(9, &produce("t", 0, -1, batch)).throttle_time_ms
    };
    // A request that is refused counts as well.
    assert_eq!(denied(&mut alice[0]), 0);
    let throttle = denied(&mut alice[1]);
    assert!(throttle > 5000, "80 KB in ten seconds and a moment, of 50: {throttle}");
    assert_eq!(denied(&mut RawClient::logged_in(&broker, "bob")), 0);
}

/// A broker with the topic `t`, whose clients may change a partition in a hundred seconds, and have
/// changed one: they wait for nine tenths of that.
fn broker_whose_changes_are_used_up() -> (RunningBroker, RawClient) {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    set(&mut client, &[("client-id", None)], "controller_mutation_rate", Some(0.01));
    client.create_topic("t", 1, &[]);
    (broker, client)
}

fn is_wait(throttle: i32) -> bool {
    (30_000..=90_000).contains(&throttle)
}

fn topics(broker: &RunningBroker) -> Vec<(String, usize)> {
    let request = MetadataRequest { topics: None, ..Default::default() };
    let answer = RawClient::connect(broker).call(9, &request);
    let name = |name: Option<TopicName>| name.map(|name| name.to_string()).unwrap_or_default();
    answer.topics.into_iter().map(|topic| (name(topic.name), topic.partitions.len())).collect()
}

fn grow(count: i32) -> CreatePartitionsRequest {
    let topic = CreatePartitionsTopic { name: TopicName::new("t"), count, ..Default::default() };
    CreatePartitionsRequest { topics: vec![topic], timeout_ms: 1000, validate_only: false }
}

#[test]
fn changes_beyond_their_rate_are_refused_to_clients_that_know_the_error() {
    let (broker, mut first) = broker_whose_changes_are_used_up();
    let refused = ErrorCode::ThrottlingQuotaExceeded;
    for validate_only in [false, true] {
        let request = CreateTopicsRequest { validate_only, ..create_topics("more", 1, &[]) };
        let answer = RawClient::connect(&broker).call(6, &request);
        assert_eq!(answer.topics[0].error_code, refused);
        assert!(answer.topics[0].error_message.is_some());
        assert!(is_wait(answer.throttle_time_ms), "{}", answer.throttle_time_ms);
    }
    let answer = RawClient::connect(&broker).call(3, &grow(2));
    assert_eq!(answer.results[0].error_code, refused);
    assert!(is_wait(answer.throttle_time_ms));
    let topic_names = vec![TopicName::new("t")];
    let request = DeleteTopicsRequest { topic_names, ..Default::default() };
    let answer = RawClient::connect(&broker).call(5, &request);
    assert_eq!(answer.responses[0].error_code, refused);
    assert!(is_wait(answer.throttle_time_ms));
    // A topic that is only asked for isn't made either.
    let wanted = MetadataRequestTopic { name: Some(TopicName::new("auto")), ..Default::default() };
    let request = MetadataRequest {
        topics: Some(vec![wanted]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let answer = RawClient::connect(&broker).call(9, &request);
    assert_eq!(answer.topics[0].error_code, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(topics(&broker), [("t".to_owned(), 1)]);
    // What can't be done for another reason has that reason, and takes nothing.
    let answer = RawClient::connect(&broker).call(6, &create_topics("t", 1, &[]));
    assert_eq!(answer.topics[0].error_code, ErrorCode::TopicAlreadyExists);
    assert_eq!(answer.throttle_time_ms, 0);
    set(&mut first, &[("client-id", None)], "controller_mutation_rate", None);
    first.create_topic("more", 3, &[]);
    assert_eq!(first.call(3, &grow(2)).throttle_time_ms, 0);
}

#[test]
fn changes_beyond_their_rate_are_made_for_older_clients_that_wait_after() {
    let (broker, _first) = broker_whose_changes_are_used_up();
    let answer = RawClient::connect(&broker).call(5, &create_topics("more", 1, &[]));
    assert_eq!(answer.topics[0].error_code, ErrorCode::None);
    // What was taken too much adds up: nearly two hundred seconds.
    assert!((100_000..=190_000).contains(&answer.throttle_time_ms), "{}", answer.throttle_time_ms);
    let answer = RawClient::connect(&broker).call(2, &grow(2));
    assert_eq!(answer.results[0].error_code, ErrorCode::None);
    assert!((200_000..=290_000).contains(&answer.throttle_time_ms));
    assert_eq!(topics(&broker), [("more".to_owned(), 1), ("t".to_owned(), 2)]);
    let topic_names = vec![TopicName::new("t")];
    let request = DeleteTopicsRequest { topic_names, ..Default::default() };
    let answer = RawClient::connect(&broker).call(4, &request);
    assert_eq!(answer.responses[0].error_code, ErrorCode::None);
    assert!((400_000..=490_000).contains(&answer.throttle_time_ms));
    let wanted = DeleteTopicState { name: Some(TopicName::new("more")), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![wanted], ..Default::default() };
    let answer = RawClient::connect(&broker).call(6, &request);
    assert_eq!(answer.responses[0].error_code, ErrorCode::ThrottlingQuotaExceeded);
    assert_eq!(topics(&broker), [("more".to_owned(), 1)]);
}

#[test]
fn who_connects_too_often_is_held_and_then_closed() {
    let (broker, mut client) = broker_with_topic();
    let answers = |client: &mut RawClient| {
        client.send(2, &ApiVersionsRequest::default());
        client.receive_frame().is_some()
    };
    // Ten in the ten seconds of a window that has just begun.
    set(&mut client, &[("ip", Some("127.0.0.1"))], "connection_creation_rate", Some(1.0));
    let mut first = [0; 10].map(|_| RawClient::connect(&broker));
    assert!(first.iter_mut().all(answers));
    let was_closed = (0..20).any(|_| !answers(&mut RawClient::connect(&broker)));
    assert!(was_closed, "thirty connections came at once");
    // Those that are there go on, and others come as soon as they may.
    assert!(first.iter_mut().all(answers));
    set(&mut client, &[("ip", Some("127.0.0.1"))], "connection_creation_rate", None);
    set(&mut client, &[("ip", None)], "connection_creation_rate", Some(1000.0));
    assert!((0..20).all(|_| answers(&mut RawClient::connect(&broker))));
}
