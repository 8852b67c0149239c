//! A client that brings ever new producers: it has its share, all have a bound, and whoever is
//! remembered goes on as before.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use streamledger_broker::{Broker, BrokerConfig, RunningBroker};
use streamledger_protocol::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use streamledger_protocol::messages::{AddPartitionsToTxnRequest, InitProducerIdRequest};
use streamledger_protocol::{
    ErrorCode, PartitionIndex, ProducerEpoch, ProducerId, ProducerIdentity, TopicName,
    TransactionalId,
};

use super::common::{RawClient, batch_of, patiently};

fn start(directory: &Path) -> RunningBroker {
    let config = BrokerConfig::builder()
        .listen("SASL_PLAINTEXT://127.0.0.1:0")
        .data_dir(directory)
        .property("sasl.enabled.mechanisms", "PLAIN")
        .property(
            "listener.name.sasl_plaintext.plain.sasl.jaas.config",
            "PlainLoginModule required user_admin=admin user_alice=alice user_bob=bob;",
        )
        .property("streamledger.client.producers.max", "10")
        .property("streamledger.producers.max", "20")
        .build()
        .unwrap();
    Broker::start(config).unwrap()
}

/// What a batch of a producer is answered: a client may make up whatever id it likes.
fn write(client: &mut RawClient, id: i64, sequence: i32) -> ErrorCode {
    let producer = ProducerIdentity { id: ProducerId(id), epoch: ProducerEpoch(0) };
    client.produce("t", 0, batch_of(&["x"], Some((producer, sequence)))).error_code
}

#[test]
fn failures_58_new_producers_without_end_have_a_share_and_a_bound() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    let mut alice = RawClient::logged_in(&broker, "alice");
    alice.create_topic("t", 1, &[]);
    for id in 0..10 {
        assert_eq!(write(&mut alice, id, 0), ErrorCode::None);
    }
    // Over another connection it is still her.
    let mut again = RawClient::logged_in(&broker, "alice");
    for id in 10..200 {
        assert_eq!(write(&mut again, id, 0), ErrorCode::ThrottlingQuotaExceeded);
    }
    // Bob has a share of his own, and with it all places are taken.
    let mut bob = RawClient::logged_in(&broker, "bob");
    for id in 1000..1010 {
        assert_eq!(write(&mut bob, id, 0), ErrorCode::None);
    }
    let mut admin = RawClient::logged_in(&broker, "admin");
    assert_eq!(write(&mut admin, 2000, 0), ErrorCode::PolicyViolation);
    // Who is known goes on, and what it sends again is known.
    for id in 0..10 {
        assert_eq!(write(&mut alice, id, 1), ErrorCode::None);
        assert_eq!(write(&mut alice, id, 1), ErrorCode::None);
    }
    // Whoever has no id needs no place.
    assert_eq!(admin.produce("t", 0, batch_of(&["y"], None)).error_code, ErrorCode::None);
    let end = admin.fetch("t", 0, 0).high_watermark;
    assert_eq!(end.0, 10 + 10 + 10 + 1, "each once, and nothing of who was refused");
    let text = broker.metrics().to_prometheus();
    assert!(text.contains("\nstreamledger_broker_producers 20\n"), "{text}");
    // The same after a restart, though nobody knows any more whose they were.
    broker.shutdown().unwrap();
    let broker = start(directory.path());
    let mut alice = RawClient::logged_in(&broker, "alice");
    assert_eq!(write(&mut alice, 3, 1), ErrorCode::None);
    assert_eq!(write(&mut alice, 3, 2), ErrorCode::None);
    assert_eq!(write(&mut alice, 10, 0), ErrorCode::PolicyViolation);
}

#[test]
fn failures_58_a_transaction_takes_its_places_when_partitions_join_it() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    let mut alice = RawClient::logged_in(&broker, "alice");
    alice.create_topic("t", 15, &[]);
    let id = TransactionalId::new("of-alice");
    let request = InitProducerIdRequest {
        transactional_id: Some(id.clone()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let given = patiently(|| alice.call(4, &request), |answer| answer.error_code);
    assert_eq!(given.error_code, ErrorCode::None);
    // A marker would be remembered in each, whether anything is written there or not.
    let mut add = |partitions: std::ops::Range<i32>| {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: id.clone(),
            v3_and_below_producer_id: given.producer_id,
            v3_and_below_producer_epoch: given.producer_epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: TopicName::new("t"),
                partitions: partitions.map(PartitionIndex).collect(),
            }],
            ..Default::default()
        };
        let answer = alice.call(3, &request);
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    };
    assert_eq!(add(0..10), ErrorCode::None);
    assert_eq!(add(10..11), ErrorCode::ThrottlingQuotaExceeded);
}
