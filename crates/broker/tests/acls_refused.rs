//! Every API that the broker serves refuses who is allowed nothing. An API that isn't in the list
//! here fails the test, whatever it does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeSet;

use common::{RawClient, batch_of, broker_with_acls, create_topics, fetch, produce};
use streamledger_protocol::message::Request;
use streamledger_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use streamledger_protocol::messages::create_acls::AclCreation;
use streamledger_protocol::messages::create_partitions::CreatePartitionsTopic;
use streamledger_protocol::messages::delete_acls::DeleteAclsFilter;
use streamledger_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use streamledger_protocol::messages::delete_topics::DeleteTopicState;
use streamledger_protocol::messages::describe_configs::DescribeConfigsResource;
use streamledger_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use streamledger_protocol::messages::metadata::MetadataRequestTopic;
use streamledger_protocol::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use streamledger_protocol::messages::offset_fetch::OffsetFetchRequestGroup;
use streamledger_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use streamledger_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use streamledger_protocol::messages::*;
use streamledger_protocol::{ApiKey, PartitionIndex, TopicId, TopicName};

const TOPIC: &str = "TopicAuthorizationFailed";
const GROUP: &str = "GroupAuthorizationFailed";
const CLUSTER: &str = "ClusterAuthorizationFailed";
const TRANSACTION: &str = "TransactionalIdAuthorizationFailed";
/// The answer lists nothing: what may not be seen is left out.
const NOTHING: &str = "[]";

/// APIs of which nothing is asked.
const OPEN: [ApiKey; 4] =
    [ApiKey::ApiVersions, ApiKey::SaslHandshake, ApiKey::SaslAuthenticate, ApiKey::DescribeCluster];

struct Refusals {
    client: RawClient,
    seen: BTreeSet<i16>,
}

impl Refusals {
    /// The answer names the refusal, and nothing of what is there.
    fn is<R: Request>(&mut self, version: i16, request: &R, expected: &str)
    where
        R::Response: std::fmt::Debug,
    {
        self.seen.insert(R::API_KEY.code());
        let answer = format!("{:?}", self.client.call(version, request));
        let api = R::API_KEY.name();
        assert!(answer.contains(expected), "{api}: {answer}");
        let others = [TOPIC, GROUP, CLUSTER, TRANSACTION];
        let mut others = others.iter().filter(|other| **other != expected);
        assert!(!others.any(|other| answer.contains(other)), "{api}: {answer}");
    }
}

fn topic() -> TopicName {
    TopicName::new("secret")
}

const FIRST: PartitionIndex = PartitionIndex(0);

#[test]
fn every_api_refuses_who_is_allowed_nothing() {
    let broker = broker_with_acls(&[]);
    let mut admin = RawClient::logged_in(&broker, "admin");
    let id = admin.create_topic("secret", 1, &[]);
    admin.produce("secret", 0, batch_of(&["x"], None));
    let mut alice = Refusals {
        client: RawClient::logged_in(&broker, "alice"),
        seen: OPEN.map(ApiKey::code).into(),
    };
    of_topics(&mut alice, id);
    of_groups(&mut alice);
    of_transactions(&mut alice);
    of_the_cluster(&mut alice);

    let served = alice.client.call(2, &ApiVersionsRequest::default()).api_keys;
    let served: BTreeSet<i16> = served.iter().map(|range| range.api_key).collect();
    assert_eq!(alice.seen, served, "each API that is served is asked here, and no other");
    // None of it did anything.
    let data = admin.fetch("secret", 0, 0);
    assert_eq!((data.high_watermark.0, data.log_start_offset.0), (1, 0));
}

fn of_topics(alice: &mut Refusals, id: TopicId) {
    alice.is(11, &produce("secret", 0, -1, batch_of(&["x"], None)), TOPIC);
    alice.is(11, &fetch("secret", 0, 0), TOPIC);
    let mut by_id = fetch("", 0, 0);
    by_id.topics[0].topic_id = id;
    alice.is(13, &by_id, TOPIC);
    let asked = ListOffsetsPartition::default();
    let topics = vec![ListOffsetsTopic { name: topic(), partitions: vec![asked] }];
    alice.is(9, &ListOffsetsRequest { topics, ..Default::default() }, TOPIC);
    let named = MetadataRequestTopic { name: Some(topic()), ..Default::default() };
    let request = |topics| MetadataRequest { topics, ..Default::default() };
    alice.is(12, &request(Some(vec![named])), TOPIC);
    alice.is(12, &request(None), "topics: []");
    let by_id = MetadataRequestTopic { name: None, topic_id: id };
    alice.is(12, &request(Some(vec![by_id])), "UnknownTopicId");
    alice.is(7, &create_topics("new", 1, &[]), TOPIC);
    let by_name = DeleteTopicState { name: Some(topic()), ..Default::default() };
    let by_id = DeleteTopicState { name: None, topic_id: id };
    for state in [by_name, by_id] {
        let request = DeleteTopicsRequest { topics: vec![state], ..Default::default() };
        alice.is(6, &request, TOPIC);
    }
    let partitions = vec![DeleteRecordsPartition::default()];
    let topics = vec![DeleteRecordsTopic { name: topic(), partitions }];
    alice.is(2, &DeleteRecordsRequest { topics, ..Default::default() }, TOPIC);
    let partitions = vec![OffsetForLeaderPartition::default()];
    let topics = vec![OffsetForLeaderTopic { topic: topic(), partitions }];
    alice.is(4, &OffsetForLeaderEpochRequest { topics, ..Default::default() }, TOPIC);
    let topics = vec![CreatePartitionsTopic { name: topic(), count: 2, ..Default::default() }];
    alice.is(3, &CreatePartitionsRequest { topics, ..Default::default() }, TOPIC);
    let topics =
        vec![describe_producers::TopicRequest { name: topic(), partition_indexes: vec![FIRST] }];
    alice.is(0, &DescribeProducersRequest { topics }, TOPIC);
    let named = vec![describe_topic_partitions::TopicRequest { name: topic() }];
    let request = |topics| DescribeTopicPartitionsRequest {
        topics,
        response_partition_limit: 10,
        ..Default::default()
    };
    alice.is(0, &request(named), TOPIC);
    alice.is(0, &request(Vec::new()), "topics: []");
    let of = |kind, name: &str| DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        ..Default::default()
    };
    let resources = [(of(2, "secret"), TOPIC), (of(4, "1"), CLUSTER), (of(32, "secret"), GROUP)];
    for (resource, expected) in resources {
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        alice.is(4, &request, expected);
    }
    for (kind, name, expected) in [(2, "secret", TOPIC), (4, "1", CLUSTER), (32, "secret", GROUP)] {
        let resource = alter_configs::AlterConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned(),
            ..Default::default()
        };
        let request = AlterConfigsRequest { resources: vec![resource], ..Default::default() };
        alice.is(2, &request, expected);
        let resource = incremental_alter_configs::AlterConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned(),
            ..Default::default()
        };
        let request =
            IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        alice.is(1, &request, expected);
    }
}

fn of_groups(alice: &mut Refusals) {
    let group_id = || "secret".into();
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["secret".to_owned()],
        ..Default::default()
    };
    alice.is(4, &find, GROUP);
    let find = FindCoordinatorRequest { key: "secret".to_owned(), ..Default::default() };
    alice.is(3, &find, GROUP);
    alice.is(9, &JoinGroupRequest { group_id: group_id(), ..Default::default() }, GROUP);
    alice.is(5, &SyncGroupRequest { group_id: group_id(), ..Default::default() }, GROUP);
    alice.is(4, &HeartbeatRequest { group_id: group_id(), ..Default::default() }, GROUP);
    alice.is(5, &LeaveGroupRequest { group_id: group_id(), ..Default::default() }, GROUP);
    let beat = ConsumerGroupHeartbeatRequest { group_id: group_id(), ..Default::default() };
    alice.is(1, &beat, GROUP);
    let partitions = vec![OffsetCommitRequestPartition::default()];
    let topics = vec![OffsetCommitRequestTopic { name: topic(), partitions, ..Default::default() }];
    let commit = OffsetCommitRequest { group_id: group_id(), topics, ..Default::default() };
    alice.is(8, &commit, GROUP);
    let group = OffsetFetchRequestGroup { group_id: group_id(), ..Default::default() };
    alice.is(8, &OffsetFetchRequest { groups: vec![group], ..Default::default() }, GROUP);
    alice.is(7, &OffsetFetchRequest { group_id: group_id(), ..Default::default() }, GROUP);
    // Version 1 has no place for an error but with each partition.
    let topics = vec![offset_fetch::OffsetFetchRequestTopic {
        name: topic(),
        partition_indexes: vec![FIRST],
    }];
    let fetch =
        OffsetFetchRequest { group_id: group_id(), topics: Some(topics), ..Default::default() };
    alice.is(1, &fetch, GROUP);
    let delete = OffsetDeleteRequest { group_id: group_id(), ..Default::default() };
    alice.is(0, &delete, GROUP);
    let describe = DescribeGroupsRequest { groups: vec![group_id()], ..Default::default() };
    alice.is(5, &describe, GROUP);
    let group_ids = vec![group_id()];
    let describe = ConsumerGroupDescribeRequest { group_ids, ..Default::default() };
    alice.is(0, &describe, GROUP);
    alice.is(2, &DeleteGroupsRequest { groups_names: vec![group_id()] }, GROUP);
    alice.is(5, &ListGroupsRequest::default(), NOTHING);
}

fn of_transactions(alice: &mut Refusals) {
    let transactional_id = || "secret".into();
    let find = FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec!["secret".to_owned()],
        ..Default::default()
    };
    alice.is(4, &find, TRANSACTION);
    let init = |id| InitProducerIdRequest { transactional_id: id, ..Default::default() };
    alice.is(4, &init(Some(transactional_id())), TRANSACTION);
    alice.is(4, &init(None), CLUSTER);
    let topics = || vec![AddPartitionsToTxnTopic { name: topic(), partitions: vec![FIRST] }];
    let add = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: transactional_id(),
        v3_and_below_topics: topics(),
        ..Default::default()
    };
    alice.is(3, &add, TRANSACTION);
    let of_brokers = AddPartitionsToTxnTransaction {
        transactional_id: transactional_id(),
        topics: topics(),
        ..Default::default()
    };
    let add = AddPartitionsToTxnRequest { transactions: vec![of_brokers], ..Default::default() };
    alice.is(4, &add, CLUSTER);
    let id = transactional_id();
    let add = AddOffsetsToTxnRequest { transactional_id: id, ..Default::default() };
    alice.is(3, &add, TRANSACTION);
    let id = transactional_id();
    alice.is(4, &EndTxnRequest { transactional_id: id, ..Default::default() }, TRANSACTION);
    let partitions = vec![TxnOffsetCommitRequestPartition::default()];
    let commit = TxnOffsetCommitRequest {
        transactional_id: transactional_id(),
        group_id: "secret".into(),
        topics: vec![TxnOffsetCommitRequestTopic { name: topic(), partitions }],
        ..Default::default()
    };
    alice.is(4, &commit, TRANSACTION);
    let transactional_ids = vec![transactional_id()];
    alice.is(0, &DescribeTransactionsRequest { transactional_ids }, TRANSACTION);
    alice.is(1, &ListTransactionsRequest::default(), NOTHING);
    let marker = write_txn_markers::WritableTxnMarker {
        topics: vec![write_txn_markers::WritableTxnMarkerTopic {
            name: topic(),
            partition_indexes: vec![FIRST],
        }],
        ..Default::default()
    };
    alice.is(1, &WriteTxnMarkersRequest { markers: vec![marker] }, CLUSTER);
}

fn of_the_cluster(alice: &mut Refusals) {
    alice.is(3, &DescribeAclsRequest::default(), CLUSTER);
    alice.is(3, &CreateAclsRequest { creations: vec![AclCreation::default()] }, CLUSTER);
    alice.is(3, &DeleteAclsRequest { filters: vec![DeleteAclsFilter::default()] }, CLUSTER);
    let topics = vec![alter_replica_log_dirs::AlterReplicaLogDirTopic {
        name: topic(),
        partitions: vec![FIRST],
    }];
    let dirs = vec![alter_replica_log_dirs::AlterReplicaLogDir { path: "/".to_owned(), topics }];
    alice.is(2, &AlterReplicaLogDirsRequest { dirs }, CLUSTER);
    alice.is(4, &DescribeLogDirsRequest::default(), CLUSTER);
    alice.is(2, &ElectLeadersRequest::default(), CLUSTER);
    alice.is(0, &AlterPartitionReassignmentsRequest::default(), CLUSTER);
    alice.is(0, &ListPartitionReassignmentsRequest::default(), CLUSTER);
    alice.is(1, &DescribeClientQuotasRequest::default(), CLUSTER);
    let entries = vec![alter_client_quotas::EntryData::default()];
    alice.is(1, &AlterClientQuotasRequest { entries, ..Default::default() }, CLUSTER);
    alice.is(0, &DescribeUserScramCredentialsRequest::default(), CLUSTER);
    let deletion = alter_user_scram_credentials::ScramCredentialDeletion {
        name: "bob".to_owned(),
        mechanism: 1,
    };
    let request =
        AlterUserScramCredentialsRequest { deletions: vec![deletion], ..Default::default() };
    alice.is(0, &request, CLUSTER);
    alice.is(1, &DescribeQuorumRequest::default(), CLUSTER);
    alice.is(1, &UpdateFeaturesRequest::default(), CLUSTER);
    alice.is(0, &UnregisterBrokerRequest::default(), CLUSTER);
    alice.is(1, &ListConfigResourcesRequest::default(), CLUSTER);
}
