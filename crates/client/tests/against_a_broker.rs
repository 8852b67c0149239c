//! The client's promises against a real broker: Apache Kafka, or our own.
//!
//! Against the brokers that `STREAMLEDGER_TEST_BOOTSTRAP` names, else against an embedded one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use streamledger::admin::{ConfigResource, ConfigSource};
use streamledger::{Admin, AdminConfig, AdminError, NewPartitions, NewTopic};
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
    let deadline = Instant::now() + Duration::from_secs(30);
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
