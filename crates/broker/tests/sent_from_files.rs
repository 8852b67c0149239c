//! Records that go from their file to the reader without being read into memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use common::{RawClient, batch_of, broker_with, fetch, only_fetched};
use rstest::rstest;
use streamledger_broker::{Broker, BrokerConfig, RunningBroker};
use streamledger_protocol::messages::delete_topics::DeleteTopicState;
use streamledger_protocol::messages::fetch::FetchPartition;
use streamledger_protocol::messages::{DeleteTopicsRequest, FetchRequest, FetchResponse};
use streamledger_protocol::record_batch::batches;
use streamledger_protocol::{CorrelationId, ErrorCode, Offset, PartitionIndex, TopicName};

/// More than the kernel takes for a reader that doesn't read.
const MANY: i64 = 40;

/// As many batches of 600 kB as that, each of another byte.
fn filled(broker: &RunningBroker, topic: &str) -> Vec<Bytes> {
    let mut writer = RawClient::connect(broker);
    writer.create_topic(topic, 2, &[("max.message.bytes", "2000000")]);
    let large = |n: i64| batch_of(&[&char::from(b'A' + n as u8).to_string().repeat(600_000)], None);
    let all: Vec<Bytes> = (0..MANY).map(large).collect();
    for batch in &all {
        assert_eq!(writer.produce(topic, 0, batch.clone()).error_code, ErrorCode::None);
    }
    for n in 0..10 {
        let small = batch_of(&[&n.to_string()], None);
        assert_eq!(writer.produce(topic, 1, small).error_code, ErrorCode::None);
    }
    all
}

/// All of a topic, as far as a segment goes.
fn everything(topic: &str) -> FetchRequest {
    let mut request = fetch(topic, 0, 0);
    request.max_bytes = i32::MAX;
    let first = FetchPartition { partition_max_bytes: i32::MAX, ..Default::default() };
    let second = FetchPartition { partition: PartitionIndex(1), ..first };
    request.topics[0].partitions = vec![first, second];
    request
}

/// Holds an answer against what was produced; all but the place in the log is as it came.
fn assert_whole(response: FetchResponse, produced: &[Bytes]) {
    let small = response.responses[0].partitions[1].records.clone().unwrap().into_bytes();
    assert_eq!(batches(&small).count(), 10);
    let large = only_fetched(response).records.unwrap().into_bytes();
    let mut compared = 0;
    for (number, batch) in batches(&large).enumerate() {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        assert_eq!(batch.header().base_offset, Offset(number as i64));
        assert!(batch.bytes()[17..] == produced[number][17..], "batch {number}");
        compared += 1;
    }
    assert_eq!(compared, MANY);
}

#[rstest]
fn an_answer_is_whole_in_every_version(#[values(4, 11, 12)] version: i16) {
    let broker = broker_with(&[("fetch.max.bytes", "100000000")]);
    let produced = filled(&broker, "t");
    let mut reader = RawClient::connect(&broker);
    assert_whole(reader.call(version, &everything("t")), &produced);
    // And what is asked for ahead comes in order.
    let asked: Vec<CorrelationId> =
        (0..3).map(|_| reader.send(version, &everything("t"))).collect();
    for id in asked {
        let (answered, response) = reader.receive(version);
        assert_eq!(answered, id);
        assert_whole(response, &produced);
    }
}

#[test]
fn failures_47_what_is_being_sent_arrives_though_its_topic_is_deleted() {
    let broker = broker_with(&[("fetch.max.bytes", "100000000")]);
    let produced = filled(&broker, "t");
    let mut slow = RawClient::connect(&broker);
    slow.send(11, &everything("t"));
    // The answer has begun, and can't have ended.
    let mut first = [0; 4];
    slow.stream.read_exact(&mut first).unwrap();
    let mut other = RawClient::connect(&broker);
    let topic = DeleteTopicState { name: Some(TopicName::new("t")), ..Default::default() };
    let request =
        DeleteTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    assert_eq!(other.call(6, &request).responses[0].error_code, ErrorCode::None);
    std::thread::sleep(Duration::from_millis(100));
    let mut frame = vec![0; u32::from_be_bytes(first) as usize];
    slow.stream.read_exact(&mut frame).unwrap();
    let (_, response) = streamledger_protocol::frame::decode_response(
        frame.into(),
        streamledger_protocol::ApiVersion(11),
    )
    .unwrap();
    assert_whole(response, &produced);
}

#[test]
fn failures_49_an_answer_that_nobody_takes_keeps_no_log_from_being_closed() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let config = BrokerConfig::builder().data_dir(directory.path());
        let config = config.property("fetch.max.bytes", "100000000").build().unwrap();
        Broker::start(config).unwrap()
    };
    let broker = start();
    filled(&broker, "t");
    let mut slow = RawClient::connect(&broker);
    slow.send(11, &everything("t"));
    // The answer has begun, and can't have ended.
    let mut first = [0; 4];
    slow.stream.read_exact(&mut first).unwrap();
    // Unclean, this would be an error.
    broker.shutdown().unwrap();
    let mut rest = Vec::new();
    let _ = slow.stream.read_to_end(&mut rest);
    assert!(rest.len() < u32::from_be_bytes(first) as usize, "it was cut short");
    assert_eq!(RawClient::connect(&start()).fetch("t", 1, 0).high_watermark.0, 10);
}

#[test]
fn a_file_that_is_cut_while_it_is_sent_ends_the_connection_and_no_other() {
    let broker = broker_with(&[("fetch.max.bytes", "100000000")]);
    filled(&broker, "t");
    let mut slow = RawClient::connect(&broker);
    slow.send(11, &everything("t"));
    let mut first = [0; 4];
    slow.stream.read_exact(&mut first).unwrap();
    let log = broker.data_dir().join("t-0/00000000000000000000.log");
    let file = std::fs::OpenOptions::new().write(true).open(log).unwrap();
    file.set_len(1_000_000).unwrap();
    // Never half an answer that looks like a whole one: the end of the connection is seen first.
    let mut received = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match slow.stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => received += bytes,
            Err(error) => {
                assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it was not closed");
                break;
            }
        }
    }
    assert!(received < u32::from_be_bytes(first) as usize, "{received} bytes");
    let mut other = RawClient::connect(&broker);
    assert_eq!(only_fetched(other.call(11, &fetch("t", 1, 0))).high_watermark, Offset(10));
}
