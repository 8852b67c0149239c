//! The client's promises against a real broker: Apache Kafka, or our own.
//!
//! Against the brokers that `STREAMLEDGER_TEST_BOOTSTRAP` names, else against an embedded one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use streamledger::admin::{ConfigResource, ConfigSource};
use streamledger::{
    Admin, AdminConfig, AdminError, Consumer, ConsumerConfig, ConsumerRecord, Header,
    NewPartitions, NewTopic, Offset, PartitionIndex, Position, Producer, ProducerConfig,
    ProducerRecord, TimestampMs, TopicPartition,
};
use streamledger_broker::{Broker, BrokerConfig, RunningBroker};
use streamledger_protocol::ErrorCode;

/// The embedded broker that serves a test, where no other is named.
struct Served {
    bootstrap: String,
    _embedded: Option<RunningBroker>,
}

impl Served {
    fn start() -> Self {
        if let Ok(bootstrap) = std::env::var("STREAMLEDGER_TEST_BOOTSTRAP") {
            return Self { bootstrap, _embedded: None };
        }
        let config = BrokerConfig::builder().listen("127.0.0.1:0").build().unwrap();
        let broker = Broker::start(config).unwrap();
        Self { bootstrap: broker.bootstrap_servers(), _embedded: Some(broker) }
    }
}

fn admin(bootstrap: &str) -> Admin {
    Admin::new(AdminConfig::builder().bootstrap_servers(bootstrap).build().unwrap()).unwrap()
}

/// A name that no other run has.
fn fresh(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{name}-{}-{}", std::process::id(), now.as_nanos())
}

/// Brokers learn of a change a little after the controller has made it.
fn eventually(mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !check() {
        assert!(Instant::now() < deadline, "it never came to be");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_topic_lives_its_life() {
    let served = Served::start();
    let bootstrap = &served.bootstrap;
    let admin = admin(bootstrap);
    let name = fresh("life");
    let topic = NewTopic::new(&*name, 3, 1).config("retention.ms", "123456789");
    let created = admin.create_topics(std::slice::from_ref(&topic)).unwrap().only().unwrap();
    assert_eq!(created.partition_count, Some(3));
    assert!(!created.id.is_zero());

    let again = admin.create_topics(&[topic]).unwrap().only().unwrap_err();
    assert_eq!(again.code(), Some(ErrorCode::TopicAlreadyExists));

    let describe = || admin.describe_topics(&[name.as_str().into()]).unwrap().only();
    eventually(|| {
        describe().is_ok_and(|topic| topic.partitions.iter().all(|p| p.leader.is_some()))
    });
    let listed = admin.list_topics().unwrap();
    let listed = listed.iter().find(|topic| topic.name == *name).expect("it is listed");
    assert_eq!((listed.id, listed.partition_count, listed.is_internal), (created.id, 3, false));

    let resource = ConfigResource::Topic(name.as_str().into());
    let settings = admin.describe_configs(&[resource]).unwrap().only().unwrap();
    let retention = settings.iter().find(|entry| entry.name == "retention.ms").unwrap();
    assert_eq!(retention.value.as_deref(), Some("123456789"));
    assert_eq!(retention.source, ConfigSource::Topic);

    admin.create_partitions(&[NewPartitions::to(&*name, 5)]).unwrap().only().unwrap();
    let fewer = admin.create_partitions(&[NewPartitions::to(&*name, 2)]).unwrap();
    assert_eq!(fewer.only().unwrap_err().code(), Some(ErrorCode::InvalidPartitions));
    eventually(|| describe().unwrap().partitions.len() == 5);

    admin.delete_topics(&[name.as_str().into()]).unwrap().only().unwrap();
    let gone = |error: AdminError| error.code() == Some(ErrorCode::UnknownTopicOrPartition);
    eventually(|| describe().is_err_and(gone));
}

#[test]
fn the_cluster_tells_of_itself() {
    let served = Served::start();
    let bootstrap = &served.bootstrap;
    let admin = admin(bootstrap);
    let cluster = admin.describe_cluster().unwrap();
    assert!(!cluster.brokers.is_empty());
    assert!(cluster.cluster_id.is_some() && cluster.controller.is_some());
    let broker = ConfigResource::Broker(cluster.brokers[0].id);
    let settings = admin.describe_configs(&[broker]).unwrap().only().unwrap();
    assert!(
        settings.iter().any(|entry| entry.name == "log.retention.ms" || !entry.name.is_empty())
    );
}

#[test]
fn defaults_are_the_brokers() {
    let served = Served::start();
    let bootstrap = &served.bootstrap;
    let admin = admin(bootstrap);
    let name = fresh("defaults");
    let topic = NewTopic::with_broker_defaults(&*name);
    let created = admin.create_topics(&[topic]).unwrap().only().unwrap();
    assert!(created.partition_count.is_some_and(|count| count >= 1));
    admin.delete_topics(&[name.as_str().into()]).unwrap().only().unwrap();
}

fn consumer(bootstrap: &str, settings: &[(&str, &str)]) -> Consumer {
    let builder = ConsumerConfig::builder().bootstrap_servers(bootstrap);
    let settings = settings.iter();
    let builder = settings.fold(builder, |builder, (name, value)| builder.set(*name, *value));
    Consumer::new(builder.build().unwrap()).unwrap()
}

/// Reads so many records, and fails if they don't come.
fn read(consumer: &Consumer, record_count: usize) -> Vec<ConsumerRecord> {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut records = Vec::new();
    while records.len() < record_count {
        assert!(Instant::now() < deadline, "{} of {record_count} came", records.len());
        records.extend(consumer.poll(Duration::from_millis(500)).unwrap());
    }
    records
}

#[test]
fn what_every_codec_carries_is_read_as_it_was_written() {
    let served = Served::start();
    let bootstrap = &*served.bootstrap;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = fresh(codec);
        // Retention would take what is stamped long ago.
        let new = NewTopic::new(&*topic, 2, 1).config("retention.ms", "-1");
        admin(bootstrap).create_topics(&[new]).unwrap().only().unwrap();
        let config = ProducerConfig::builder().bootstrap_servers(bootstrap);
        let config = config.set("compression.type", codec).build().unwrap();
        let producer = Producer::new(config).unwrap();
        for number in 0..1000_i64 {
            let value = format!("value {number}").repeat(5);
            let headers = [
                Header { key: "h", value: Some(b"1") },
                Header { key: "h", value: None },
                Header { key: "", value: Some(b"") },
            ];
            let record = ProducerRecord::to(&topic)
                .partition(PartitionIndex(i32::try_from(number % 2).unwrap()))
                .timestamp(TimestampMs(1_700_000_000_000 + number))
                .headers(&headers[..usize::try_from(number % 4).unwrap()]);
            let record = if number % 3 == 0 { record } else { record.key(b"") };
            let record = if number % 7 == 0 { record } else { record.value(value.as_bytes()) };
            drop(producer.send(record).unwrap());
        }
        producer.flush().unwrap();
        let consumer = consumer(bootstrap, &[]);
        let partitions = consumer.partitions_for(&topic).unwrap();
        assert_eq!(partitions.len(), 2);
        let from_the_start: Vec<_> =
            partitions.iter().map(|tp| (tp.clone(), Position::Beginning)).collect();
        consumer.assign(&from_the_start);
        let mut next = [0, 1];
        for record in read(&consumer, 1000) {
            let partition = usize::try_from(record.topic_partition.partition.0).unwrap();
            let number = next[partition];
            next[partition] += 2;
            assert_eq!(record.offset, Offset(number / 2));
            assert_eq!(record.timestamp, TimestampMs(1_700_000_000_000 + number));
            assert_eq!(record.key.as_deref(), (number % 3 != 0).then_some(&b""[..]));
            let value = format!("value {number}").repeat(5);
            assert_eq!(record.value.as_deref(), (number % 7 != 0).then_some(value.as_bytes()));
            let all = [("h", Some(&b"1"[..])), ("h", None), ("", Some(b""))];
            let headers: Vec<_> =
                record.headers.iter().map(|(key, value)| (&**key, value.as_deref())).collect();
            assert_eq!(headers, all[..usize::try_from(number % 4).unwrap()]);
        }
        assert_eq!(next, [1000, 1001]);
        assert_eq!(consumer.end_offsets(&partitions).unwrap(), [Offset(500), Offset(500)]);
        assert!(partitions.iter().all(|tp| consumer.position(tp) == Some(Offset(500))));
        admin(bootstrap).delete_topics(&[topic.as_str().into()]).unwrap().only().unwrap();
    }
}

#[test]
fn reading_begins_where_it_is_told_to() {
    let served = Served::start();
    let bootstrap = &*served.bootstrap;
    let topic = fresh("positions");
    let new = NewTopic::new(&*topic, 1, 1).config("retention.ms", "-1");
    admin(bootstrap).create_topics(&[new]).unwrap().only().unwrap();
    let config = ProducerConfig::builder().bootstrap_servers(bootstrap).build().unwrap();
    let producer = Producer::new(config).unwrap();
    let send = |number: i64| {
        let value = number.to_string();
        let record = ProducerRecord::to(&topic).value(value.as_bytes());
        producer.send(record.timestamp(TimestampMs(1_000_000 + number * 10))).unwrap()
    };
    for number in 0..100 {
        drop(send(number));
    }
    producer.flush().unwrap();
    let consumer = consumer(bootstrap, &[("max.poll.records", "7"), ("fetch.max.wait.ms", "50")]);
    let partition = TopicPartition::new(&*topic, PartitionIndex(0));
    let first = |position| {
        consumer.assign(&[(partition.clone(), position)]);
        read(&consumer, 1)[0].offset.0
    };
    assert_eq!(first(Position::Beginning), 0);
    assert_eq!(first(Position::Offset(Offset(42))), 42);
    assert_eq!(first(Position::Timestamp(TimestampMs(1_000_500))), 50);
    assert_eq!(first(Position::Timestamp(TimestampMs(1_000_501))), 51);

    consumer.seek(&partition, Position::Offset(Offset(90))).unwrap();
    let records = read(&consumer, 10);
    let offsets: Vec<_> = records.iter().map(|record| record.offset.0).collect();
    assert_eq!(offsets, (90..100).collect::<Vec<_>>());
    assert_eq!(consumer.poll(Duration::from_millis(50)).unwrap().len(), 0, "at the end");

    // From the end on, and from a time to come: only what is written afterwards.
    for position in [Position::End, Position::Timestamp(TimestampMs(i64::MAX))] {
        consumer.seek(&partition, position).unwrap();
        eventually(|| consumer.position(&partition).is_some());
        let number = consumer.position(&partition).unwrap().0;
        send(number).wait().unwrap();
        assert_eq!(read(&consumer, 1)[0].offset.0, number);
    }

    // Outside the log: auto.offset.reset is latest.
    consumer.seek(&partition, Position::Offset(Offset(1_000_000))).unwrap();
    eventually(|| {
        let _ = consumer.poll(Duration::from_millis(20)).unwrap();
        consumer.position(&partition) == Some(Offset(102))
    });

    let at = |ms| (partition.clone(), TimestampMs(ms));
    let found = consumer.offsets_for_times(&[at(0), at(1_000_990), at(9_999_999)]).unwrap();
    let found: Vec<_> = found.iter().map(|found| found.map(|found| found.offset.0)).collect();
    assert_eq!(found, [Some(0), Some(99), None]);
    assert_eq!(consumer.beginning_offsets(&[partition]).unwrap(), [Offset(0)]);
    admin(bootstrap).delete_topics(&[topic.as_str().into()]).unwrap().only().unwrap();
}

#[test]
fn a_topic_that_is_not_there_is_told_of() {
    let served = Served::start();
    let bootstrap = &*served.bootstrap;
    let settings = [
        ("allow.auto.create.topics", "false"),
        ("default.api.timeout.ms", "500"),
        ("request.timeout.ms", "400"),
        ("fetch.max.wait.ms", "100"),
    ];
    let consumer = consumer(bootstrap, &settings);
    let partition = TopicPartition::new(fresh("nowhere"), PartitionIndex(0));
    // Half a second is enough to hear that, but on a busy machine now and then.
    eventually(|| {
        let refused = consumer.end_offsets(std::slice::from_ref(&partition)).unwrap_err();
        refused.to_string().contains("UNKNOWN_TOPIC_OR_PARTITION")
    });
    consumer.assign(&[(partition, Position::Beginning)]);
    let error = consumer.poll(Duration::from_secs(120)).unwrap_err().to_string();
    assert!(error.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{error}");
}
