//! Client quotas: who goes over one is told for how long to wait, and isn't heard before.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::{Duration, Instant};

use common::{RawClient, batch_of, broker_with, broker_with_acls, fetch, produce};
use streamledger_broker::RunningBroker;
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::alter_client_quotas::{EntityData, EntryData, OpData};
use streamledger_protocol::messages::{
    AlterClientQuotasRequest, ApiVersionsRequest, MetadataRequest,
};

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
    let (_broker, mut client) = broker_with_topic();
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
