//! The producer's metrics after known work, and as Prometheus reads them.

#![allow(clippy::unwrap_used, reason = "a test ends where it can't go on")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use streamledger::{ErrorCode, Producer, ProducerRecord, Stage};
use support::{FakeCluster, Fault};

#[test]
fn the_settings_say_for_how_long_means_and_rates_remember() {
    let cluster = FakeCluster::start(1);
    let settings = [("metrics.sample.window.ms", "20"), ("metrics.num.samples", "2")];
    let producer = Producer::new(cluster.config(&settings)).unwrap();
    producer.send(ProducerRecord::to("clicks").value("x")).unwrap().wait().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let metrics = producer.metrics();
    assert_eq!(metrics.record_send_total, 1);
    assert_eq!((metrics.record_send_rate, metrics.request_latency_max), (0.0, 0.0));
    assert_eq!((metrics.batch_size_avg, metrics.topics[0].byte_rate), (0.0, 0.0));
}

#[test]
fn what_was_sent_retried_and_refused_is_counted_for_producer_topic_and_broker() {
    let cluster = FakeCluster::start(2);
    let settings = [("client.id", "shop"), ("retry.backoff.ms", "1"), ("linger.ms", "0")];
    let producer = Producer::new(cluster.config(&settings)).unwrap();
    let send = || producer.send(ProducerRecord::to("clicks").value(&[b'x'; 100])).unwrap();
    for _ in 0..20 {
        send().wait().unwrap();
    }
    cluster.fault(Fault::Error(ErrorCode::NotEnoughReplicas));
    send().wait().unwrap();
    cluster.fault(Fault::Error(ErrorCode::TopicAuthorizationFailed));
    assert!(send().wait().is_err());
    assert_eq!(producer.metrics().flush_time_ns_total, 0);
    producer.flush().unwrap();
    producer.close(Duration::from_secs(20));

    let metrics = producer.metrics();
    assert_eq!(metrics.client_id, "shop");
    let counts = |of: (u64, u64, u64)| assert_eq!(of, (21, 1, 1), "{metrics:?}");
    let (sent, failed) = (metrics.record_send_total, metrics.record_error_total);
    counts((sent, failed, metrics.record_retry_total));
    let [topic] = &metrics.topics[..] else { panic!("{:?}", metrics.topics) };
    assert_eq!(topic.topic, "clicks");
    counts((topic.record_send_total, topic.record_error_total, topic.record_retry_total));
    let [node] = &metrics.nodes[..] else { panic!("{:?}", metrics.nodes) };
    assert_eq!((node.node_id, node.request_total, node.response_total), (0, 23, 23));
    assert_eq!(metrics.request_total, 23);
    assert_eq!(metrics.requests_in_flight, 0);
    assert!(node.request_latency_max >= node.request_latency_avg);
    assert!(metrics.batch_size_max as f64 >= metrics.batch_size_avg);
    assert!(metrics.record_send_rate > 0.0 && topic.record_error_rate > 0.0);
    assert!(topic.record_send_rate > topic.record_error_rate && topic.byte_rate > 0.0);
    assert!(node.request_rate > 0.0 && node.outgoing_byte_rate > node.request_rate);
    assert!(metrics.flush_time_ns_total > 0 && metrics.txn_commit_time_ns_total == 0);
    assert!(metrics.record_size_avg >= 100.0 && metrics.record_size_avg < 120.0);
    assert!(metrics.connection_creation_total > 0 && metrics.connection_count == 0);
    let acknowledged = metrics.stage(Stage::Acknowledged).unwrap();
    assert_eq!(acknowledged.buckets().last().map(|(_, count)| count), Some(21));

    let text = metrics.to_prometheus();
    let mut names = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
        assert!(name.contains(r#"{client_id="shop""#), "{line}");
        assert!(names.insert(name.to_owned()), "twice: {line}");
    }
    for line in [
        r#"kafka_producer_record_send_total{client_id="shop"} 21"#,
        r#"kafka_producer_topic_record_error_total{client_id="shop",topic="clicks"} 1"#,
        r#"kafka_producer_node_request_total{client_id="shop",node_id="0"} 23"#,
        r#"streamledger_producer_stage_seconds_count{client_id="shop",stage="acknowledged"} 21"#,
        "# TYPE kafka_producer_record_send_total counter",
        "# TYPE kafka_producer_batch_size_avg gauge",
        "# TYPE streamledger_producer_stage_seconds histogram",
    ] {
        assert!(text.lines().any(|other| other == line), "no {line} in\n{text}");
    }
}
