//! What a producer pushes to a cluster that asks for metrics, and that nothing else waits for it.

#![allow(clippy::unwrap_used, reason = "a test ends where it can't go on")]

mod support;

use std::time::{Duration, Instant};

use streamledger::{
    Admin, AdminConfig, ClientInstanceId, ClientInstanceIdError, Consumer, ConsumerConfig,
    ErrorCode, Producer, ProducerRecord, Properties,
};
use streamledger_protocol::messages::{GetTelemetrySubscriptionsResponse, PushTelemetryRequest};
use support::FakeCluster;

const LONG: Duration = Duration::from_secs(30);
const NAME: ClientInstanceId = ClientInstanceId([7; 16]);

fn cluster(requested: &[&str]) -> FakeCluster {
    let cluster = FakeCluster::start(1);
    cluster.state.telemetry.lock().unwrap().subscription =
        Some(GetTelemetrySubscriptionsResponse {
            client_instance_id: NAME,
            subscription_id: 42,
            push_interval_ms: 100,
            telemetry_max_bytes: 1 << 20,
            requested_metrics: requested.iter().map(|&name| name.to_owned()).collect(),
            ..GetTelemetrySubscriptionsResponse::default()
        });
    cluster
}

fn send(producer: &Producer, records: usize) {
    for _ in 0..records {
        producer.send(ProducerRecord::to("clicks").value("x")).unwrap().wait().unwrap();
    }
}

fn pushes(cluster: &FakeCluster) -> Vec<PushTelemetryRequest> {
    cluster.state.telemetry.lock().unwrap().pushes.clone()
}

/// Waits until there are so many pushes.
fn wait_for_pushes(cluster: &FakeCluster, count: usize) {
    let deadline = Instant::now() + LONG;
    while pushes(cluster).len() < count {
        assert!(Instant::now() < deadline, "{} pushes", pushes(cluster).len());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The fields of a protobuf message: number, and the bytes of the value.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let length = match tag & 7 {
            0 => {
                varint(&mut bytes);
                0
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(length);
        fields.push((tag >> 3, value));
        bytes = rest;
    }
    fields
}

/// The values of the message's metrics, by name.
fn values(push: &PushTelemetryRequest) -> Vec<(String, f64)> {
    let mut messages = vec![push.metrics.to_vec()];
    // resource_metrics, scope_metrics, metrics
    for number in [1, 2, 2] {
        let inner = messages.iter().flat_map(|message| fields(message));
        let inner = inner.filter(|(field, _)| *field == number);
        messages = inner.map(|(_, value)| value.to_vec()).collect();
    }
    let value = |metric: &Vec<u8>| {
        let name = fields(metric).into_iter().find(|(field, _)| *field == 1).unwrap().1;
        let data = fields(metric).into_iter().find(|(field, _)| matches!(field, 5 | 7)).unwrap().1;
        let point = fields(data).into_iter().find(|(field, _)| *field == 1).unwrap().1;
        let value = fields(point).into_iter().find(|(field, _)| *field == 4).unwrap().1;
        let value = f64::from_le_bytes(value.try_into().unwrap());
        (String::from_utf8(name.to_vec()).unwrap(), value)
    };
    messages.iter().map(value).collect()
}

fn value(push: &PushTelemetryRequest, name: &str) -> f64 {
    let values = values(push);
    let found = values.iter().find(|(other, _)| other == name);
    found.unwrap_or_else(|| panic!("no {name} among {values:?}")).1
}

#[test]
fn a_producer_pushes_what_is_wanted_and_once_more_when_it_is_closed() {
    let cluster = cluster(&["org.apache.kafka.producer."]);
    let producer = Producer::new(cluster.config(&[])).unwrap();
    send(&producer, 5);
    assert_eq!(producer.client_instance_id(LONG), Ok(NAME));
    wait_for_pushes(&cluster, 2);
    send(&producer, 2);
    assert!(producer.close(LONG).is_complete());
    assert_eq!(producer.client_instance_id(LONG), Err(ClientInstanceIdError::Closed));

    let pushes = pushes(&cluster);
    let (last, before) = pushes.split_last().unwrap();
    assert!(last.terminating && before.iter().all(|push| !push.terminating));
    assert!(
        pushes.iter().all(|push| push.client_instance_id == NAME && push.subscription_id == 42)
    );
    assert_eq!(value(last, "org.apache.kafka.producer.record.send.total"), 7.0);
    // Those that KIP-714 requires of a producer.
    for name in [
        "connection.creation.rate",
        "connection.creation.total",
        "node.request.latency.avg",
        "node.request.latency.max",
        "produce.throttle.time.avg",
        "produce.throttle.time.max",
        "record.queue.time.avg",
        "record.queue.time.max",
    ] {
        assert!(value(last, &format!("org.apache.kafka.producer.{name}")) >= 0.0);
    }
    assert!(value(last, "org.apache.kafka.producer.connection.creation.total") >= 2.0);
    assert!(value(last, "org.apache.kafka.producer.node.request.latency.max") > 0.0);
}

#[test]
fn a_consumer_and_an_admin_client_push_theirs() {
    let cluster = cluster(&[""]);
    let with = |settings: &[(&str, &str)]| {
        let start = Properties::new().with("bootstrap.servers", cluster.address.to_string());
        settings.iter().fold(start, |properties, (name, value)| properties.with(*name, *value))
    };
    let consumer = ConsumerConfig::from_properties(&with(&[])).unwrap();
    let consumer = Consumer::new(consumer).unwrap();
    assert_eq!(consumer.client_instance_id(LONG), Ok(NAME));
    wait_for_pushes(&cluster, 1);
    consumer.close(LONG).unwrap();
    assert_eq!(consumer.client_instance_id(LONG), Err(ClientInstanceIdError::Closed));
    let last = pushes(&cluster).pop().unwrap();
    assert!(last.terminating);
    assert!(value(&last, "org.apache.kafka.consumer.connection.creation.total") >= 2.0);
    assert_eq!(value(&last, "org.apache.kafka.consumer.coordinator.assigned.partitions"), 0.0);

    let count = pushes(&cluster).len();
    let admin = AdminConfig::from_properties(&with(&[("enable.metrics.push", "true")])).unwrap();
    let admin = Admin::new(admin).unwrap();
    admin.describe_topics(&["clicks".into()]).unwrap();
    wait_for_pushes(&cluster, count + 1);
    let pushed = pushes(&cluster).pop().unwrap();
    assert!(value(&pushed, "org.apache.kafka.admin.client.connection.creation.total") >= 2.0);
}

#[test]
fn what_is_not_wanted_is_not_pushed() {
    let cluster = cluster(&["org.apache.kafka.producer.record.queue"]);
    let producer = Producer::new(cluster.config(&[])).unwrap();
    send(&producer, 1);
    wait_for_pushes(&cluster, 1);
    producer.close(LONG);
    let names: Vec<_> = values(&pushes(&cluster)[0]).into_iter().map(|(name, _)| name).collect();
    let prefix = "org.apache.kafka.producer.record.queue.time.";
    assert_eq!(names, [format!("{prefix}avg"), format!("{prefix}max")]);
}

#[test]
fn a_broker_that_never_answers_a_push_holds_up_no_record_and_no_close() {
    let cluster = cluster(&[""]);
    cluster.state.telemetry.lock().unwrap().is_silent = true;
    let producer = Producer::new(cluster.config(&[])).unwrap();
    send(&producer, 1);
    wait_for_pushes(&cluster, 1);
    send(&producer, 20);
    let report = producer.close(Duration::from_millis(300));
    assert!(report.is_complete(), "{report:?}");
}

#[test]
fn a_subscription_that_has_changed_is_asked_for_again() {
    let cluster = cluster(&[""]);
    cluster.state.telemetry.lock().unwrap().errors.push_back(ErrorCode::UnknownSubscriptionId);
    let producer = Producer::new(cluster.config(&[])).unwrap();
    send(&producer, 1);
    wait_for_pushes(&cluster, 1);
    wait_for_pushes(&cluster, 2);
    producer.close(LONG);
    let last = pushes(&cluster).pop().unwrap();
    assert_eq!((last.subscription_id, last.terminating), (43, true));
}

#[test]
fn a_metric_that_is_refused_for_good_ends_it() {
    let cluster = cluster(&[""]);
    cluster.state.telemetry.lock().unwrap().errors.push_back(ErrorCode::InvalidRecord);
    let producer = Producer::new(cluster.config(&[])).unwrap();
    send(&producer, 1);
    wait_for_pushes(&cluster, 1);
    std::thread::sleep(Duration::from_millis(400));
    producer.close(LONG);
    assert_eq!(pushes(&cluster).len(), 1);
}

#[test]
fn a_client_has_no_id_where_nothing_is_pushed() {
    // The cluster ends where it is asked for what it doesn't have.
    let plain = FakeCluster::start(1);
    let producer = Producer::new(plain.config(&[])).unwrap();
    assert_eq!(producer.client_instance_id(LONG), Err(ClientInstanceIdError::NotServed));
    send(&producer, 1);

    let cluster = cluster(&[""]);
    let silent = Producer::new(cluster.config(&[("enable.metrics.push", "false")])).unwrap();
    send(&silent, 1);
    assert_eq!(silent.client_instance_id(LONG), Err(ClientInstanceIdError::Disabled));
    silent.close(LONG);
    assert_eq!(cluster.state.asked.lock().unwrap().get(&71), None);

    let nobody = [("bootstrap.servers", "127.0.0.1:1")];
    let lonely = Producer::new(plain.config(&nobody)).unwrap();
    let short = Duration::from_millis(50);
    assert_eq!(lonely.client_instance_id(short), Err(ClientInstanceIdError::TimedOut(short)));
    let pending = lonely.client_instance_id_async(LONG);
    lonely.close(Duration::ZERO);
    assert_eq!(wait_for(pending), Err(ClientInstanceIdError::Closed));
}

/// Waits for a future without a runtime.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let thread = std::thread::current();
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(thread)).into();
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::park_timeout(LONG);
    }
}
