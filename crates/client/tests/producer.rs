//! What the producer promises its users, against a broker of the test's own.

mod support;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use streamledger::producer::BatchReport;
use streamledger::{
    Header, JsonSerializer, Nullable, ProduceError, Producer, ProducerRecord, Stage,
    StringSerializer, TrySendError, TypedProducer, TypedRecord,
};
use streamledger_protocol::{ErrorCode, Offset, PartitionIndex, TimestampMs};
use support::{FakeCluster, Fault};

const MINUTE: Duration = Duration::from_secs(60);

fn record(value: &str) -> ProducerRecord<'_> {
    ProducerRecord::to("clicks").value(value).partition(PartitionIndex(0))
}

#[test]
fn a_record_arrives_as_it_was_given_and_its_metadata_says_where() {
    let cluster = FakeCluster::start(3);
    let producer = Producer::new(cluster.config(&[])).unwrap();
    let headers = [
        Header { key: "trace", value: Some(b"1") },
        Header { key: "trace", value: None },
        Header { key: "empty", value: Some(b"") },
    ];
    let record = ProducerRecord::to("clicks")
        .key("")
        .timestamp(TimestampMs(123_456))
        .partition(PartitionIndex(2))
        .headers(&headers);
    let metadata = producer.send(record).unwrap().wait().unwrap();
    assert_eq!(metadata.topic_partition.to_string(), "clicks-2");
    assert_eq!((metadata.offset, metadata.timestamp), (Some(Offset(0)), TimestampMs(123_456)));
    assert_eq!((metadata.serialized_key_size, metadata.serialized_value_size), (Some(0), None));
    let stored = &cluster.stored("clicks", 2)[0];
    assert_eq!((stored.timestamp, &stored.key, &stored.value), (123_456, &Some(vec![]), &None));
    let kept: Vec<_> = stored.headers.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let expected =
        [("trace", &Some(b"1".to_vec())), ("trace", &None), ("empty", &Some(Vec::new()))];
    assert_eq!(kept, expected);
}

#[test]
fn many_threads_share_a_producer_and_order_holds_in_each_partition() {
    for settings in [
        &[("linger.ms", "0"), ("batch.size", "300")][..],
        &[("compression.type", "lz4"), ("batch.size", "2000")],
        &[("acks", "1"), ("max.in.flight.requests.per.connection", "1")],
    ] {
        let cluster = FakeCluster::start(4);
        let producer = Producer::new(cluster.config(settings)).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let producer = producer.clone();
                scope.spawn(move || {
                    for number in 0..500 {
                        let value = format!("{number:05}");
                        let partition = PartitionIndex(thread);
                        let record = record(&value).partition(partition);
                        drop(producer.send(record).unwrap());
                    }
                });
            }
        });
        producer.flush().unwrap();
        let expected: Vec<_> = (0..500).map(|number| format!("{number:05}")).collect();
        for partition in 0..4 {
            assert_eq!(cluster.values("clicks", partition), expected, "{settings:?}");
        }
        let report = producer.close(MINUTE);
        assert!(report.is_complete(), "{report:?}");
    }
}

#[test]
fn futures_work_without_any_runtime_and_within_one() {
    let cluster = FakeCluster::start(1);
    let producer = Producer::new(cluster.config(&[])).unwrap();
    let send_two = || async {
        let first = producer.send_async(record("a")).await.unwrap();
        let second = producer.send_async(record("b")).await.unwrap();
        producer.flush_async().await;
        assert!(first.is_done() && second.is_done());
        second.await.unwrap().offset
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(send_two()), Some(Offset(1)));
    assert_eq!(
        runtime.block_on(async { producer.send(record("c")).unwrap().wait() }).unwrap().offset,
        Some(Offset(2))
    );
    let report = runtime.block_on(producer.close_async(MINUTE));
    assert!(report.is_complete());
}

#[test]
fn callbacks_are_called_in_order_and_one_that_panics_harms_nobody() {
    let cluster = FakeCluster::start(1);
    let producer = Producer::new(cluster.config(&[("linger.ms", "1")])).unwrap();
    let (sender, receiver) = mpsc::channel();
    for number in 0..100_i64 {
        let sender = sender.clone();
        let callback = move |result: Result<streamledger::RecordMetadata, ProduceError>| {
            assert_ne!(number, 50, "this callback panics, as the test wants");
            sender.send((number, result.unwrap().offset.unwrap().0)).unwrap();
        };
        producer.send_with(record("x"), callback).unwrap();
    }
    producer.flush().unwrap();
    drop(sender);
    let called: Vec<_> = receiver.try_iter().collect();
    let expected: Vec<_> = (0..100).filter(|n| *n != 50).map(|n| (n, n)).collect();
    assert_eq!(called, expected);
}

#[test]
fn a_callback_that_would_wait_for_its_own_thread_is_told_so() {
    let cluster = FakeCluster::start(1);
    let producer = Producer::new(cluster.config(&[])).unwrap();
    let (sender, receiver) = mpsc::channel();
    let within = producer.clone();
    producer
        .send_with(record("x"), move |_| {
            let flushed = within.flush();
            let unknown = within.send(ProducerRecord::to("views").value("y"));
            let known = within.send(record("z")).map(|_| ());
            sender.send((flushed, unknown.map(|_| ()), known)).unwrap();
        })
        .unwrap();
    let (flushed, unknown, known) = receiver.recv_timeout(MINUTE).unwrap();
    assert!(matches!(flushed, Err(ProduceError::WouldDeadlock)));
    assert!(matches!(unknown, Err(ProduceError::WouldDeadlock)));
    assert!(known.is_ok(), "what doesn't wait is allowed");
    assert!(producer.close(MINUTE).is_complete());
    assert_eq!(cluster.values("clicks", 0), ["x", "z"]);
}

#[test]
fn try_send_gives_the_record_back_and_asks_for_the_topic_meanwhile() {
    let cluster = FakeCluster::start(1);
    let producer = Producer::new(cluster.config(&[])).unwrap();
    let deadline = Instant::now() + MINUTE;
    let delivery = loop {
        match producer.try_send(record("x")) {
            Ok(delivery) => break delivery,
            Err(TrySendError::Full(back)) => assert_eq!(back, record("x")),
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(delivery.wait().unwrap().offset, Some(Offset(0)));
    let invalid = producer.try_send(ProducerRecord::to("no topic").value("x"));
    let Err(TrySendError::Failed(ProduceError::InvalidTopic(_))) = invalid else {
        panic!("{invalid:?}");
    };
}

#[test]
fn a_full_buffer_pushes_back_and_then_says_how_long() {
    let cluster = FakeCluster::start(1);
    cluster.state.silent.store(true, std::sync::atomic::Ordering::Relaxed);
    let settings = [("buffer.memory", "50000"), ("batch.size", "10000"), ("max.block.ms", "200")];
    let producer = Producer::new(cluster.config(&settings)).unwrap();
    // Or the first ones might wait too long for that.
    let deadline = Instant::now() + MINUTE;
    while producer.partitions_for("clicks").is_err() {
        assert!(Instant::now() < deadline, "the topic is never known");
    }
    let value = "x".repeat(9000);
    let accepted = (0..100).map_while(|_| producer.send(record(&value)).ok()).count();
    assert_eq!(accepted, 5);
    let begun = Instant::now();
    let error = producer.send(record(&value)).unwrap_err();
    let ProduceError::MemoryFull { waited, .. } = &error else { panic!("{error}") };
    assert!(*waited >= Duration::from_millis(200) && begun.elapsed() < MINUTE);
    assert!(matches!(producer.try_send(record(&value)), Err(TrySendError::Full(_))));
    let report = producer.close(Duration::from_millis(50));
    assert_eq!((report.undelivered_records, report.is_closed), (5, true));
    assert!(report.possibly_written_records > 0);
}

#[test]
fn a_send_that_waits_goes_on_when_memory_comes_back() {
    let cluster = FakeCluster::start(1);
    let settings = [("buffer.memory", "40000"), ("batch.size", "10000"), ("linger.ms", "1000")];
    let producer = Producer::new(cluster.config(&settings)).unwrap();
    let value = "x".repeat(3000);
    let bulk = producer.send_all((0..200).map(|_| record(&value))).unwrap();
    assert_eq!(bulk.record_count(), 200);
    let report = bulk.wait();
    assert_eq!((report.delivered, report.failed), (200, 0));
    assert_eq!(cluster.stored("clicks", 0).len(), 200);
    let metrics = producer.metrics();
    assert!(metrics.bufferpool_wait_total > 0 && metrics.buffer_available_bytes == 40_000);
}

#[test]
fn lost_answers_and_errors_leave_one_copy_of_each_record_in_order() {
    let cluster = FakeCluster::start(1);
    let settings = [
        ("linger.ms", "0"),
        ("batch.size", "200"),
        ("retry.backoff.ms", "5"),
        ("retry.backoff.max.ms", "10"),
        ("reconnect.backoff.ms", "5"),
    ];
    let producer = Producer::new(cluster.config(&settings)).unwrap();
    let mut sent = Vec::new();
    for round in 0..20 {
        for number in 0..50 {
            let value = format!("{:04}", round * 50 + number);
            drop(producer.send(record(&value)).unwrap());
            sent.push(value);
        }
        cluster.fault(match round % 3 {
            0 => Fault::LoseAnswer,
            1 => Fault::Error(ErrorCode::NotEnoughReplicas),
            _ => Fault::Error(ErrorCode::NotLeaderOrFollower),
        });
    }
    producer.flush().unwrap();
    assert_eq!(cluster.values("clicks", 0), sent);
    let metrics = producer.metrics();
    assert_eq!((metrics.record_send_total, metrics.record_error_total), (1000, 0));
    assert!(metrics.record_retry_total > 0);
}

#[test]
fn an_error_says_all_that_is_known() {
    let cluster = FakeCluster::start(1);
    let producer = Producer::new(cluster.config(&[])).unwrap();
    cluster.fault(Fault::Error(ErrorCode::TopicAuthorizationFailed));
    let error = producer.send(record("x")).unwrap().wait().unwrap_err();
    assert_eq!(error.stage(), Stage::Sent);
    assert_eq!(error.attempts(), 1);
    assert_eq!(error.last_broker_error(), Some(ErrorCode::TopicAuthorizationFailed));
    assert_eq!(error.topic_partition().unwrap().to_string(), "clicks-0");
    assert!(!error.possibly_written());
    // Those behind it go on, under a new epoch.
    assert_eq!(producer.send(record("y")).unwrap().wait().unwrap().offset, Some(Offset(0)));
}

#[test]
fn a_record_too_large_is_told_apart_with_its_size_and_the_limit() {
    let cluster = FakeCluster::start(1);
    let producer = Producer::new(cluster.config(&[("max.request.size", "1000")])).unwrap();
    let long = "x".repeat(2000);
    let error = producer.send(record(&long)).unwrap_err();
    let ProduceError::RecordTooLarge { record_bytes, bytes_max: 1000, .. } = error else {
        panic!("{error}");
    };
    assert!(record_bytes > 2000);
    assert_eq!(record_bytes, record(&long).batch_bytes());
    assert!(producer.send(record("small")).unwrap().wait().is_ok());
}

#[test]
fn unknown_topics_and_partitions_are_errors_with_a_reason() {
    let cluster = FakeCluster::start(2);
    let producer = Producer::new(cluster.config(&[("max.block.ms", "300")])).unwrap();
    let error = producer.send(record("x").partition(PartitionIndex(7))).unwrap_err();
    let ProduceError::NoSuchPartition { partition_count: 2, .. } = error else {
        panic!("{error}");
    };
    *cluster.state.topic_error.lock().unwrap() = Some(ErrorCode::UnknownTopicOrPartition);
    let error = producer.send(ProducerRecord::to("views").value("x")).unwrap_err();
    let ProduceError::MetadataTimeout { cause: Some(cause), .. } = &error else {
        panic!("{error}");
    };
    assert!(cause.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{cause}");
    *cluster.state.topic_error.lock().unwrap() = Some(ErrorCode::TopicAuthorizationFailed);
    let error = producer.send(ProducerRecord::to("views").value("x")).unwrap_err();
    assert!(matches!(error, ProduceError::TopicRefused { .. }), "{error}");
}

#[test]
fn a_broker_that_is_not_there_is_named_in_the_error() {
    let address = "127.0.0.1:1".parse().unwrap();
    let cluster = FakeCluster { address, state: Default::default() };
    let producer = Producer::new(cluster.config(&[("max.block.ms", "300")])).unwrap();
    let deadline = Instant::now() + MINUTE;
    let cause = loop {
        match producer.send(record("x")).unwrap_err() {
            ProduceError::MetadataTimeout { cause: Some(cause), .. } => break cause,
            // It had no time to be refused.
            ProduceError::MetadataTimeout { cause: None, .. } => {}
            error => panic!("{error}"),
        }
        assert!(Instant::now() < deadline, "no cause is ever known");
    };
    assert!(cause.contains(&address.to_string()), "{cause}");
}

#[test]
fn dropping_the_last_handle_delivers_what_was_sent_and_blocks_nobody() {
    let cluster = FakeCluster::start(1);
    cluster.fault(Fault::Delay(Duration::from_millis(100)));
    let producer = Producer::new(cluster.config(&[("linger.ms", "110000")])).unwrap();
    let delivery = producer.send(record("x")).unwrap();
    let clone = producer.clone();
    drop(producer);
    let last = clone.send(record("y")).unwrap();
    let begun = Instant::now();
    drop(clone);
    assert!(begun.elapsed() < MINUTE);
    assert_eq!(delivery.wait().unwrap().offset, Some(Offset(0)));
    assert_eq!(last.wait().unwrap().offset, Some(Offset(1)));
}

#[test]
fn after_close_every_clone_refuses() {
    let cluster = FakeCluster::start(1);
    let producer = Producer::new(cluster.config(&[])).unwrap();
    let clone = producer.clone();
    assert!(producer.close(MINUTE).is_complete());
    assert!(matches!(clone.send(record("x")), Err(ProduceError::Closed)));
    assert!(clone.close(MINUTE).is_complete(), "closing twice is closing");
}

#[test]
fn acks_0_has_no_offset() {
    let cluster = FakeCluster::start(1);
    let producer = Producer::new(cluster.config(&[("acks", "0")])).unwrap();
    // The first is acknowledged: the leader shows that it takes records.
    for value in ["x", "y", "z"] {
        let to = record(value).partition(PartitionIndex(0));
        let metadata = producer.send(to).unwrap().wait().unwrap();
        assert_eq!((metadata.offset, metadata.serialized_value_size), (None, Some(1)));
    }
    assert!(producer.close(MINUTE).is_complete());
    assert_eq!(cluster.values("clicks", 0), ["x", "y", "z"]);
}

#[test]
fn typed_records_are_serialized() {
    #[derive(serde::Serialize)]
    struct Click {
        page: &'static str,
    }
    let cluster = FakeCluster::start(1);
    let producer = Producer::new(cluster.config(&[])).unwrap();
    let typed = TypedProducer::new(producer, StringSerializer, JsonSerializer);
    let click = Click { page: "/" };
    typed.send(TypedRecord::to("clicks").key("user").value(&click)).unwrap().wait().unwrap();
    assert_eq!(cluster.values("clicks", 0), [r#"{"page":"/"}"#]);
    let nullable =
        TypedProducer::new(typed.producer().clone(), StringSerializer, Nullable(JsonSerializer));
    let tombstone = TypedRecord::to("clicks").key("user").value(&None::<Click>);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { nullable.send_async(tombstone).await.unwrap().await.unwrap() });
    assert_eq!(cluster.stored("clicks", 0)[1].value, None);
}

#[test]
fn an_observer_sees_each_batch_with_its_last_record() {
    let cluster = FakeCluster::start(1);
    let (sender, receiver) = mpsc::channel::<BatchReport>();
    let producer = Producer::builder(cluster.config(&[("linger.ms", "10000")]))
        .on_batch(move |report| sender.send(report.clone()).unwrap())
        .build()
        .unwrap();
    for _ in 0..7 {
        drop(producer.send(record("value")).unwrap());
    }
    producer.flush().unwrap();
    let report = receiver.try_recv().unwrap();
    assert_eq!((report.record_count, report.attempts), (7, 1));
    let last = report.last.unwrap();
    assert_eq!((last.offset, last.serialized_value_size), (Some(Offset(6)), Some(5)));
    assert!(report.error.is_none() && report.batch_bytes == report.uncompressed_bytes);
}

#[test]
fn metrics_have_kafkas_names() {
    let cluster = FakeCluster::start(1);
    let settings = [("compression.type", "zstd"), ("linger.ms", "10000")];
    let producer = Producer::new(cluster.config(&settings)).unwrap();
    let value = "a".repeat(500);
    for _ in 0..20 {
        drop(producer.send(record(&value)).unwrap());
    }
    producer.flush().unwrap();
    let metrics = serde_json::to_value(producer.metrics()).unwrap();
    assert_eq!(metrics["record-send-total"], 20);
    assert!(metrics["compression-rate-avg"].as_f64().unwrap() < 0.5);
    let stages: Vec<_> =
        metrics["stages"].as_array().unwrap().iter().map(|s| &s["stage"]).collect();
    assert_eq!(stages, ["serialized", "partitioned", "accumulated", "sent", "acknowledged"]);
    assert!(producer.metrics().stage(Stage::Acknowledged).unwrap().count == 20);
}

#[test]
fn partitions_are_told() {
    let cluster = FakeCluster::start(3);
    let producer = Producer::new(cluster.config(&[])).unwrap();
    let partitions = producer.partitions_for("clicks").unwrap();
    let leaders: Vec<_> = partitions.iter().map(|p| (p.index.0, p.leader.unwrap().0)).collect();
    assert_eq!(leaders, [(0, 0), (1, 0), (2, 0)]);
}
