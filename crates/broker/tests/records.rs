//! Records in and out: order, duplicates, waits, limits, times, epochs.

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{
    RawClient, batch_at, batch_of, broker_with, fetch, now_ms, only_fetched, only_partition,
    produce, records_of,
};
use rstest::rstest;
use streamledger_protocol::compression::Compression;
use streamledger_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use streamledger_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use streamledger_protocol::messages::{
    FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceResponse,
};
use streamledger_protocol::{
    Codec, ErrorCode, LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId, TopicName,
};

#[rstest]
fn what_was_acknowledged_is_read_under_every_flush_policy(
    #[values("commit", "interval:20", "os")] flush: &str,
    #[values(-1, 1)] acks: i16,
) {
    let broker = broker_with(&[("streamledger.flush", flush)]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    for base in [0, 2, 4] {
        let batch = batch_of(&["a", "b"], None);
        let response = client.call(9, &produce("t", 0, acks, batch));
        let answer = only_partition(&response);
        assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::None, Offset(base)));
    }
    let fetched = client.fetch("t", 0, 3);
    // Whole batches: the one that holds the offset, from its beginning.
    let values: Vec<_> = records_of(&fetched).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(values, [2, 3, 4, 5]);
    assert_eq!(fetched.high_watermark, Offset(6));
}

#[rstest]
fn every_codec_is_stored_as_it_came(
    #[values(Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd)] codec: Codec,
) {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    let now = now_ms();
    let batch = batch_at(&[(now, "one"), (now, "two")], None, Compression { codec, level: None });
    assert_eq!(client.produce("t", 0, batch.clone()).error_code, ErrorCode::None);
    let fetched = client.fetch("t", 0, 0);
    assert_eq!(records_of(&fetched), [(0, "one".to_owned()), (1, "two".to_owned())]);
    // Offset and leader epoch are patched in front, all from the CRC on is untouched.
    assert_eq!(fetched.records.unwrap().into_bytes()[17..], batch[17..]);
}

#[test]
fn zstd_is_refused_from_clients_that_cannot_know_it() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    let zstd = Compression { codec: Codec::Zstd, level: None };
    let request = produce("t", 0, -1, batch_at(&[(1, "x")], None, zstd));
    let answer = only_partition(&client.call(6, &request));
    assert_eq!(answer.error_code, ErrorCode::UnsupportedCompressionType);
    assert_eq!(only_partition(&client.call(7, &request)).error_code, ErrorCode::None);
}

#[test]
fn trap_5_records_are_written_and_read_by_topic_id() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    let id = client.create_topic("t", 1, &[]);
    let mut write = produce("", 0, -1, batch_of(&["x"], None));
    write.topic_data[0].topic_id = id;
    assert_eq!(only_partition(&client.call(13, &write)).error_code, ErrorCode::None);
    let mut read = fetch("", 0, 0);
    read.topics[0].topic_id = id;
    let fetched = only_fetched(client.call(18, &read));
    assert_eq!(records_of(&fetched), [(0, "x".to_owned())]);
    write.topic_data[0].topic_id = TopicId([9; 16]);
    assert_eq!(only_partition(&client.call(13, &write)).error_code, ErrorCode::UnknownTopicId);
    read.topics[0].topic_id = TopicId([9; 16]);
    assert_eq!(only_fetched(client.call(18, &read)).error_code, ErrorCode::UnknownTopicId);
}

#[test]
fn trap_11_and_failures_3_a_batch_sent_again_is_answered_with_its_first_offset() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    let identity = client.producer_identity();
    let batches: Vec<Bytes> =
        (0..5).map(|n| batch_of(&["x", "y"], Some((identity, n * 2)))).collect();
    for (batch, base) in batches.iter().zip([0, 2, 4, 6, 8]) {
        assert_eq!(client.produce("t", 0, batch.clone()).base_offset, Offset(base));
    }
    for (batch, base) in batches.iter().zip([0, 2, 4, 6, 8]) {
        let again = client.produce("t", 0, batch.clone());
        assert_eq!((again.error_code, again.base_offset), (ErrorCode::None, Offset(base)));
    }
    assert_eq!(client.fetch("t", 0, 0).high_watermark, Offset(10));
    let gap = client.produce("t", 0, batch_of(&["x"], Some((identity, 14))));
    assert_eq!(gap.error_code, ErrorCode::OutOfOrderSequenceNumber);
    assert!(gap.error_message.is_some());
}

#[test]
fn two_producers_never_get_the_same_id() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    let first = client.producer_identity();
    let second = RawClient::connect(&broker).producer_identity();
    assert_ne!(first.id, second.id);
    assert_eq!((first.epoch.0, second.epoch.0), (0, 0));
}

#[test]
fn trap_17_pipelined_requests_take_effect_and_are_answered_in_order() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    let identity = client.producer_identity();
    let sent: Vec<_> = (0..200)
        .map(|n| {
            let batch = batch_of(&["x"], Some((identity, n)));
            client.send(9, &produce("t", 0, -1, batch))
        })
        .collect();
    for (id, base) in sent.into_iter().zip(0..) {
        let (answered, response) = client.receive::<ProduceResponse>(9);
        assert_eq!(answered, id);
        let answer = only_partition(&response);
        assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::None, Offset(base)));
    }
}

#[test]
fn acks_0_is_not_answered_and_closes_the_connection_on_an_error() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    client.send(9, &produce("t", 0, 0, batch_of(&["x"], None)));
    // The next answer is the next request's: nothing came for the one before.
    let patient = FetchRequest { max_wait_ms: 10_000, ..fetch("t", 0, 0) };
    assert_eq!(records_of(&only_fetched(client.call(11, &patient))).len(), 1);
    client.send(9, &produce("nowhere", 0, 0, batch_of(&["x"], None)));
    assert!(client.is_closed_by_broker());
}

#[test]
fn a_produce_that_cannot_be_is_refused_with_kafkas_code() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    client.create_topic("strict", 1, &[("min.insync.replicas", "2")]);
    let error = |client: &mut RawClient, topic, partition, acks, batch| {
        only_partition(&client.call(9, &produce(topic, partition, acks, batch))).error_code
    };
    let good = || batch_of(&["x"], None);
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(error(&mut client, "nowhere", 0, -1, good()), unknown);
    assert_eq!(error(&mut client, "t", 1, -1, good()), unknown);
    assert_eq!(error(&mut client, "t", -1, -1, good()), unknown);
    assert_eq!(error(&mut client, "t", 0, 2, good()), ErrorCode::InvalidRequiredAcks);
    // More replicas than there are count as all there are.
    assert_eq!(error(&mut client, "strict", 0, -1, good()), ErrorCode::None);
    assert_eq!(error(&mut client, "strict", 0, 1, good()), ErrorCode::None);
    let mut broken = good().to_vec();
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(error(&mut client, "t", 0, -1, broken.into()), ErrorCode::CorruptMessage);
    assert_ne!(error(&mut client, "t", 0, -1, Bytes::new()), ErrorCode::None);
    assert_eq!(client.fetch("t", 0, 0).high_watermark, Offset(0));
}

#[test]
fn a_fetch_waits_for_data_as_long_as_it_was_told_and_no_longer() {
    let broker = broker_with(&[]);
    let mut reader = RawClient::connect(&broker);
    let mut writer = RawClient::connect(&broker);
    reader.create_topic("t", 1, &[]);
    let started = Instant::now();
    let patient = FetchRequest { max_wait_ms: 200, ..fetch("t", 0, 0) };
    assert!(records_of(&only_fetched(reader.call(11, &patient))).is_empty());
    assert!(started.elapsed() >= Duration::from_millis(190));
    let forever = FetchRequest { max_wait_ms: i32::MAX, ..fetch("t", 0, 0) };
    reader.send(11, &forever);
    std::thread::sleep(Duration::from_millis(50));
    writer.produce("t", 0, batch_of(&["news"], None));
    let (_, answer) = reader.receive(11);
    assert_eq!(records_of(&only_fetched(answer)), [(0, "news".to_owned())]);
}

#[test]
fn a_fetch_gathers_as_many_bytes_as_it_wants() {
    let broker = broker_with(&[]);
    let mut reader = RawClient::connect(&broker);
    let mut writer = RawClient::connect(&broker);
    reader.create_topic("t", 1, &[]);
    reader.send(11, &FetchRequest { max_wait_ms: i32::MAX, min_bytes: 1000, ..fetch("t", 0, 0) });
    for _ in 0..5 {
        writer.produce("t", 0, batch_of(&[&"x".repeat(300)], None));
    }
    let (_, answer) = reader.receive(11);
    let fetched: streamledger_protocol::messages::fetch::PartitionData = only_fetched(answer);
    assert!(fetched.records.unwrap().len() >= 1000);
}

#[test]
fn limits_hold_but_for_the_first_batch() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    for _ in 0..4 {
        client.produce("t", 0, batch_of(&[&"x".repeat(1000)], None));
    }
    let count = |client: &mut RawClient, max_bytes, partition_max_bytes| {
        let mut request = FetchRequest { max_bytes, ..fetch("t", 0, 0) };
        request.topics[0].partitions[0].partition_max_bytes = partition_max_bytes;
        records_of(&only_fetched(client.call(11, &request))).len()
    };
    assert_eq!(count(&mut client, 1 << 20, 1 << 20), 4);
    assert_eq!(count(&mut client, 1 << 20, 2500), 2);
    assert_eq!(count(&mut client, 2500, 1 << 20), 2);
    assert_eq!(count(&mut client, 1, 1), 1);
    assert_eq!(count(&mut client, 0, 0), 1);
}

#[test]
fn a_full_answer_leaves_other_partitions_for_the_next() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 2, &[]);
    for partition in [0, 1] {
        client.produce("t", partition, batch_of(&[&"x".repeat(1000)], None));
    }
    let mut request = FetchRequest { max_bytes: 1200, ..fetch("t", 0, 0) };
    let mut other = request.topics[0].partitions[0].clone();
    other.partition = PartitionIndex(1);
    request.topics[0].partitions.push(other);
    let answer = client.call(11, &request);
    let counts: Vec<_> =
        answer.responses[0].partitions.iter().map(|data| records_of(data).len()).collect();
    assert_eq!(counts, [1, 0]);
    assert_eq!(answer.responses[0].partitions[1].high_watermark, Offset(1));
}

#[test]
fn an_offset_out_of_range_or_an_old_epoch_is_told_at_once() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    let mut error = |from, epoch| {
        let mut request = FetchRequest { max_wait_ms: i32::MAX, ..fetch("t", 0, from) };
        request.topics[0].partitions[0].current_leader_epoch = LeaderEpoch(epoch);
        only_fetched(client.call(11, &request)).error_code
    };
    assert_eq!(error(1, -1), ErrorCode::OffsetOutOfRange);
    assert_eq!(error(-1, -1), ErrorCode::OffsetOutOfRange);
    assert_eq!(error(0, 5), ErrorCode::UnknownLeaderEpoch);
}

fn list(timestamp: i64) -> ListOffsetsRequest {
    ListOffsetsRequest {
        topics: vec![ListOffsetsTopic {
            name: TopicName::new("t"),
            partitions: vec![ListOffsetsPartition {
                timestamp: TimestampMs(timestamp),
                ..Default::default()
            }],
        }],
        ..Default::default()
    }
}

#[test]
fn offsets_are_found_by_time_and_by_the_special_times() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    // From long ago: retention would take them.
    client.create_topic("t", 1, &[("retention.ms", "-1")]);
    let none = Compression::default();
    client.produce("t", 0, batch_at(&[(1000, "a"), (3000, "b")], None, none));
    client.produce("t", 0, batch_at(&[(2000, "c"), (2500, "d")], None, none));
    let mut look_up = |timestamp| {
        let answer = client.call(11, &list(timestamp)).topics.remove(0).partitions.remove(0);
        assert_eq!(answer.error_code, ErrorCode::None, "{timestamp}");
        (answer.offset.0, answer.timestamp.0)
    };
    assert_eq!(look_up(-2), (0, -1));
    assert_eq!(look_up(-1), (4, -1));
    assert_eq!(look_up(-3), (1, 3000));
    assert_eq!(look_up(-4), (0, -1));
    assert_eq!(look_up(-5), (-1, -1));
    assert_eq!(look_up(0), (0, 1000));
    assert_eq!(look_up(1001), (1, 3000));
    assert_eq!(look_up(3001), (-1, -1));
}

#[test]
fn an_epochs_end_is_told() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    client.produce("t", 0, batch_of(&["a", "b"], None));
    let request = OffsetForLeaderEpochRequest {
        topics: vec![OffsetForLeaderTopic {
            topic: TopicName::new("t"),
            partitions: vec![OffsetForLeaderPartition::default()],
        }],
        ..Default::default()
    };
    let answer = client.call(4, &request).topics.remove(0).partitions.remove(0);
    assert_eq!(answer.error_code, ErrorCode::None);
    assert_eq!((answer.leader_epoch, answer.end_offset), (LeaderEpoch(0), Offset(2)));
}

#[test]
fn the_brokers_clock_stamps_records_where_the_topic_says_so() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let answer = client.produce("t", 0, batch_of(&["x"], None));
    assert!(answer.log_append_time_ms > TimestampMs(1_600_000_000_000));
    let listed = client.call(11, &list(-3)).topics.remove(0).partitions.remove(0);
    assert_eq!(listed.timestamp, answer.log_append_time_ms);
}
