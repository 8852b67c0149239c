//! A broker as old as Kafka 2.1 is spoken to in its own versions, and in no other.

#![allow(clippy::unwrap_used, reason = "a test ends where it can't go on")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use streamledger::{Producer, ProducerRecord};
use streamledger_protocol::ApiKey;
use support::FakeCluster;

/// What Apache Kafka 2.1.1 advertises of the APIs that clients use.
const KAFKA_2_1: [(ApiKey, i16); 12] = [
    (ApiKey::Produce, 7),
    (ApiKey::Fetch, 10),
    (ApiKey::ListOffsets, 4),
    (ApiKey::Metadata, 7),
    (ApiKey::OffsetCommit, 6),
    (ApiKey::FindCoordinator, 2),
    (ApiKey::ApiVersions, 2),
    (ApiKey::CreateTopics, 3),
    (ApiKey::InitProducerId, 1),
    (ApiKey::AddPartitionsToTxn, 1),
    (ApiKey::EndTxn, 1),
    (ApiKey::TxnOffsetCommit, 2),
];

#[test]
fn each_request_is_in_the_highest_version_that_kafka_2_1_has() {
    for codec in ["none", "zstd"] {
        let cluster = FakeCluster::start(3);
        *cluster.state.versions.lock().unwrap() =
            KAFKA_2_1.iter().map(|(api, max)| (api.code(), (0, *max))).collect();
        let producer = Producer::new(cluster.config(&[("compression.type", codec)])).unwrap();
        for number in 0..100 {
            let value = number.to_string();
            let record = ProducerRecord::to("clicks").key(&value).value(&value);
            producer.send(record).unwrap().wait().unwrap();
        }
        let stored: usize = (0..3).map(|at| cluster.stored("clicks", at).len()).sum();
        assert_eq!(stored, 100);
        let asked = cluster.state.asked.lock().unwrap();
        let versions = |versions: &[i16]| -> BTreeSet<i16> { versions.iter().copied().collect() };
        let newest = *ApiKey::ApiVersions.valid_versions().end();
        let expected = BTreeMap::from([
            (ApiKey::Produce.code(), versions(&[7])),
            (ApiKey::Metadata.code(), versions(&[7])),
            // First in our own newest, which the broker refuses.
            (ApiKey::ApiVersions.code(), versions(&[2, newest])),
            (ApiKey::InitProducerId.code(), versions(&[1])),
        ]);
        assert_eq!(*asked, expected);
    }
}
