//! Clients that mean harm, or are broken: FAILURES.md 51 to 59, on loopback. Each is closed or
//! refused by a rule, and others are served as if nothing were.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "hostile/over_tls.rs"]
mod over_tls;
#[path = "hostile/producer_ids.rs"]
mod producer_ids;
#[path = "common/tls.rs"]
mod tls;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use common::{RawClient, batch_of, broker_with, fetch, only_partition, produce, wait_until};
use streamledger_broker::RunningBroker;
use streamledger_protocol::frame::encode_request;
use streamledger_protocol::messages::{MetadataRequest, ProduceResponse};
use streamledger_protocol::{ApiVersion, CorrelationId, ErrorCode, Offset};

/// Shows that another client is served.
fn assert_serves_others(broker: &RunningBroker) {
    // Once is enough: where silence has a short deadline, this test may miss that itself.
    wait_until("another client is served", || {
        let answer = RawClient::connect(broker).try_call(9, &MetadataRequest::default());
        answer.is_some_and(|answer| answer.brokers.len() == 1)
    });
}

fn header(api_key: i16, version: i16) -> Vec<u8> {
    let numbers = [&api_key.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes()];
    [&numbers.concat()[..], &[0xFF, 0xFF]].concat()
}

fn framed(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32).to_be_bytes()[..], content].concat()
}

#[test]
fn failures_51_an_absurd_length_is_closed_before_it_costs_memory() {
    let broker = broker_with(&[]);
    for length in [i32::MAX, -1, i32::MIN, 0, 3, 104_857_601] {
        let mut client = RawClient::connect(&broker);
        client.send_bytes(&length.to_be_bytes());
        assert!(client.is_closed_by_broker(), "{length}");
    }
    assert_serves_others(&broker);
}

#[test]
fn failures_51_a_long_request_that_carries_no_records_is_closed() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.send_bytes(&[&(64_i32 << 20).to_be_bytes()[..], &header(3, 9)].concat());
    assert!(client.is_closed_by_broker());
    assert_serves_others(&broker);
}

#[test]
fn failures_52_a_count_larger_than_what_follows_is_refused() {
    let broker = broker_with(&[]);
    let most = i32::MAX.to_be_bytes();
    // Metadata 1: a list of topics. Produce 3: null id, acks, timeout, a list of topics.
    let metadata = [&header(3, 1)[..], &most, &[0; 30]].concat();
    let produce =
        [&header(0, 3)[..], &[0xFF, 0xFF], &[0xFF, 0xFF, 0, 0, 0, 9], &most, &[0; 20]].concat();
    let flexible = [&header(3, 9)[..], &[0, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F], &[0; 20]].concat();
    for request in [metadata, produce, flexible] {
        let mut client = RawClient::connect(&broker);
        client.send_bytes(&framed(&request));
        assert!(client.is_closed_by_broker());
    }
    assert_serves_others(&broker);
}

#[test]
fn failures_53_a_null_where_none_may_be_is_refused() {
    let broker = broker_with(&[]);
    // Produce 3 with null topics, and CreateTopics 2 with a topic without a name.
    let null = (-1_i32).to_be_bytes();
    let produce = [&header(0, 3)[..], &[0xFF, 0xFF], &[0xFF, 0xFF, 0, 0, 0, 9], &null].concat();
    let create = [&header(19, 2)[..], &[0, 0, 0, 1], &[0xFF, 0xFF], &[0; 20]].concat();
    for request in [produce, create] {
        let mut client = RawClient::connect(&broker);
        client.send_bytes(&framed(&request));
        assert!(client.is_closed_by_broker());
    }
    assert_serves_others(&broker);
}

#[test]
fn failures_53_noise_of_every_api_never_stops_the_broker() {
    let broker = broker_with(&[]);
    let mut noise = 0x9E37_79B9_u32;
    let mut sent = 0;
    for api_key in -1..80_i16 {
        for version in [0, 1, 3, 7, 9, 12, 13, 99] {
            let mut client = RawClient::connect(&broker);
            let content: Vec<u8> = (0..60)
                .map(|_| {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (noise >> 24) as u8
                })
                .collect();
            client.send_bytes(&framed(&[&header(api_key, version)[..], &content].concat()));
            sent += 1;
        }
    }
    assert!(sent > 600);
    assert_serves_others(&broker);
}

#[test]
fn failures_54_a_bad_batch_is_refused_and_nothing_of_it_is_there() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    let good = batch_of(&["a", "b"], None);
    let mut refused = 0;
    for position in 12..good.len() {
        let mut bad = good.to_vec();
        bad[position] ^= 0x55;
        let answer = client.produce("t", 0, bad.into());
        // The leader epoch is the broker's to write; all else is covered by magic, CRC or length.
        if !(12..16).contains(&position) {
            assert_ne!(answer.error_code, ErrorCode::None, "byte {position}");
            refused += 1;
        }
    }
    assert!(refused > 60);
    let appended = client.fetch("t", 0, 0).high_watermark;
    assert_eq!(appended, Offset(8), "only the four with another leader epoch, two records each");
}

#[test]
fn failures_56_silence_a_stalled_request_and_a_dribble_are_closed() {
    let broker = broker_with(&[
        ("streamledger.first.request.timeout.ms", "1500"),
        ("streamledger.request.read.timeout.ms", "1500"),
    ]);
    let mut silent = RawClient::connect(&broker);
    let mut stalled = RawClient::connect(&broker);
    stalled.send_bytes(&[0, 0, 0, 100, 0, 3]);
    let mut dribbling = RawClient::connect(&broker);
    let mut writer = dribbling.stream.try_clone().unwrap();
    let dribble = std::thread::spawn(move || {
        let request = framed(&[0; 10_000]);
        for byte in request {
            if writer.write_all(&[byte]).is_err() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    });
    assert!(silent.is_closed_by_broker());
    assert!(stalled.is_closed_by_broker());
    assert!(dribbling.is_closed_by_broker());
    // Long before the fifty seconds that its request would have taken.
    assert!(dribble.join().unwrap());
    assert_serves_others(&broker);
}

#[test]
fn failures_56_a_connection_that_asks_nothing_more_is_closed_when_idle() {
    let broker = broker_with(&[("connections.max.idle.ms", "1000")]);
    let mut client = RawClient::connect(&broker);
    client.call(9, &MetadataRequest::default());
    assert!(client.is_closed_by_broker());
}

#[test]
fn failures_58_connections_past_the_caps_are_closed_and_others_go_on() {
    let broker = broker_with(&[
        ("max.connections", "20"),
        ("max.connections.per.ip", "10"),
        // Those who are in are not closed because they ask nothing.
        ("streamledger.first.request.timeout.ms", "600000"),
    ]);
    let mut first = RawClient::connect(&broker);
    first.call(9, &MetadataRequest::default());
    let crowd: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(broker.addresses()[0]).unwrap()).collect();
    let is_open = |mut stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        matches!(stream.read(&mut [0; 1]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    let open = || crowd.iter().filter(|stream| is_open(stream)).count();
    // With the first there are as many as one address may have.
    wait_until("all but nine of the crowd are closed", || open() <= 9);
    assert_eq!(open(), 9);
    first.call(9, &MetadataRequest::default());
    drop(crowd);
    // Their places come back.
    assert_serves_others(&broker);
}

/// Asks for 18 MB: many a time over they are more than anybody should keep for a reader.
fn greedy_fetch() -> Bytes {
    let mut request = fetch("t", 0, 0);
    request.max_bytes = i32::MAX;
    request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
    encode_request(CorrelationId(1), None, ApiVersion(11), &request).unwrap().into_bytes()
}

#[test]
fn failures_59_a_reader_that_does_not_read_is_dropped_and_memory_stays_bounded() {
    let broker = broker_with(&[
        ("streamledger.response.write.timeout.ms", "300"),
        ("max.connections.per.ip", "2"),
    ]);
    let mut writer = RawClient::connect(&broker);
    writer.create_topic("t", 1, &[]);
    let large = "x".repeat(900_000);
    for _ in 0..20 {
        writer.produce("t", 0, batch_of(&[&large], None));
    }
    let mut greedy = RawClient::connect(&broker);
    // Asks a hundred times over, and reads nothing.
    greedy.send_bytes(&greedy_fetch().repeat(100));
    writer.call(9, &MetadataRequest::default());
    // Nothing is read: only the deadline gives its place to somebody else.
    assert_serves_others(&broker);
    // What the kernel holds can still be read; the connection then ends, whatever was asked.
    let mut received = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match greedy.stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(bytes) => received += bytes,
        }
    }
    assert!(received < 40 << 20, "{received} bytes were sent to a reader that stalled");
}

#[test]
fn failures_58_a_client_that_asks_ahead_without_end_is_slowed_not_stored() {
    let broker = broker_with(&[("streamledger.connection.requests.max", "5")]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    let mut writer = client.stream.try_clone().unwrap();
    let asking = std::thread::spawn(move || {
        for id in 0..2000 {
            let request = produce("t", 0, -1, batch_of(&["x"], None));
            let frame = encode_request(CorrelationId(id), None, ApiVersion(9), &request);
            writer.write_all(&frame.unwrap().into_bytes()).unwrap();
        }
    });
    for id in 0..2000 {
        let (answered, response) = client.receive::<ProduceResponse>(9);
        assert_eq!(answered, CorrelationId(id));
        assert_eq!(only_partition(&response).error_code, ErrorCode::None);
    }
    asking.join().unwrap();
}
