//! Faults on purpose, as a client sees them.

mod common;

use std::time::{Duration, Instant};

use common::{RawClient, batch_of, broker_with, only_partition, produce, wait_until};
use streamledger_broker::{ApiKey, ErrorCode, Fault};
use streamledger_protocol::Offset;
use streamledger_protocol::messages::{MetadataRequest, ProduceResponse};

#[test]
fn an_answer_with_an_error_appends_nothing_and_the_next_one_is_as_ever() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    broker.faults().inject(ApiKey::Produce, Fault::AnswerWith(ErrorCode::NotLeaderOrFollower), 2);
    for expected in [ErrorCode::NotLeaderOrFollower, ErrorCode::NotLeaderOrFollower] {
        assert_eq!(client.produce("t", 0, batch_of(&["x"], None)).error_code, expected);
    }
    let answer = client.produce("t", 0, batch_of(&["x"], None));
    assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::None, Offset(0)));
    assert_eq!(broker.faults().strikes(), 2);
}

#[test]
fn failures_3_a_lost_answer_leaves_the_record_and_a_retry_finds_it() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    let batch = batch_of(&["x"], Some((client.producer_identity(), 0)));
    broker.faults().inject(ApiKey::Produce, Fault::DropResponse, 1);
    client.send(9, &produce("t", 0, -1, batch.clone()));
    assert!(client.is_closed_by_broker());
    let mut again = RawClient::connect(&broker);
    let answer = again.produce("t", 0, batch);
    assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::None, Offset(0)));
    assert_eq!(again.fetch("t", 0, 0).high_watermark, Offset(1));
}

#[test]
fn a_dropped_connection_loses_the_request() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    broker.faults().inject(ApiKey::Produce, Fault::DropConnection, 1);
    client.send(9, &produce("t", 0, -1, batch_of(&["x"], None)));
    assert!(client.is_closed_by_broker());
    let mut other = RawClient::connect(&broker);
    assert_eq!(other.fetch("t", 0, 0).high_watermark, Offset(0));
}

#[test]
fn answers_come_late_and_requests_are_still_done_meanwhile() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    // Long enough that a machine that stands still for a while doesn't look like ten delays.
    let delay = Duration::from_secs(2);
    broker.faults().inject(ApiKey::Produce, Fault::DelayResponse(delay), 10);
    let started = Instant::now();
    for _ in 0..10 {
        client.send(9, &produce("t", 0, -1, batch_of(&["x"], None)));
    }
    for base in 0..10 {
        let (_, response) = client.receive::<ProduceResponse>(9);
        assert_eq!(only_partition(&response).base_offset, Offset(base));
    }
    assert!(started.elapsed() >= delay);
    assert!(started.elapsed() < delay * 9, "ten delays were taken one after the other");
}

#[test]
fn what_is_held_waits_for_its_release() {
    let broker = broker_with(&[]);
    let faults = broker.faults();
    faults.inject(ApiKey::Metadata, Fault::Hold, 1);
    let mut held = RawClient::connect(&broker);
    held.send(9, &MetadataRequest::default());
    let mut other = RawClient::connect(&broker);
    wait_until("the request is held", || faults.strikes() > 0);
    other.call(9, &MetadataRequest::default());
    held.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(!held.is_closed_by_broker());
    faults.release();
    held.stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert!(held.receive_frame().is_some());
}
