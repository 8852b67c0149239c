//! The APIs of administration: what they do, what one node can't do, and what a restart keeps.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;

use bytes::Bytes;
use common::{RawClient, batch_of, broker_with};
use streamledger_broker::{Broker, BrokerConfig, RunningBroker};
use streamledger_protocol::messages::alter_client_quotas::{EntityData, EntryData, OpData};
use streamledger_protocol::messages::alter_configs::{AlterConfigsResource, AlterableConfig};
use streamledger_protocol::messages::alter_partition_reassignments::{
    ReassignablePartition, ReassignableTopic,
};
use streamledger_protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use streamledger_protocol::messages::alter_user_scram_credentials::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use streamledger_protocol::messages::create_acls::AclCreation;
use streamledger_protocol::messages::delete_acls::DeleteAclsFilter;
use streamledger_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use streamledger_protocol::messages::describe_client_quotas::ComponentData;
use streamledger_protocol::messages::describe_configs::DescribeConfigsResource;
use streamledger_protocol::messages::describe_quorum::{PartitionQuery, TopicQuery};
use streamledger_protocol::messages::describe_user_scram_credentials::UserName;
use streamledger_protocol::messages::elect_leaders::TopicPartitions;
use streamledger_protocol::messages::update_features::FeatureUpdateKey;
use streamledger_protocol::messages::{
    AlterClientQuotasRequest, AlterConfigsRequest, AlterPartitionReassignmentsRequest,
    AlterReplicaLogDirsRequest, AlterUserScramCredentialsRequest, CreateAclsRequest,
    DeleteAclsRequest, DeleteRecordsRequest, DescribeAclsRequest, DescribeClientQuotasRequest,
    DescribeConfigsRequest, DescribeLogDirsRequest, DescribeQuorumRequest,
    DescribeUserScramCredentialsRequest, ElectLeadersRequest, ListPartitionReassignmentsRequest,
    UnregisterBrokerRequest, UpdateFeaturesRequest,
};
use streamledger_protocol::{BrokerId, ErrorCode, Offset, PartitionIndex, TopicName};

fn broker_at(directory: &Path) -> RunningBroker {
    Broker::start(BrokerConfig::builder().data_dir(directory).build().unwrap()).unwrap()
}

fn delete_records(
    client: &mut RawClient,
    topic: &str,
    index: i32,
    offset: i64,
) -> (i64, ErrorCode) {
    let partition =
        DeleteRecordsPartition { partition_index: PartitionIndex(index), offset: Offset(offset) };
    let topics =
        vec![DeleteRecordsTopic { name: TopicName::new(topic), partitions: vec![partition] }];
    let request = DeleteRecordsRequest { topics, timeout_ms: 1000 };
    let result = client.call(2, &request).topics.remove(0).partitions.remove(0);
    (result.low_watermark.0, result.error_code)
}

#[test]
fn records_are_deleted_up_to_an_offset_and_stay_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    client.create_topic("state", 1, &[("cleanup.policy", "compact")]);
    client.create_topic("both", 1, &[("cleanup.policy", "compact,delete")]);
    client.produce("t", 0, batch_of(&["a", "b", "c", "d", "e"], None));
    assert_eq!(delete_records(&mut client, "t", 0, 2), (2, ErrorCode::None));
    assert_eq!(delete_records(&mut client, "t", 0, 1), (2, ErrorCode::None), "never back");
    assert_eq!(delete_records(&mut client, "t", 0, 6), (-1, ErrorCode::OffsetOutOfRange));
    assert_eq!(delete_records(&mut client, "t", 7, 0).1, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(delete_records(&mut client, "x", 0, 0).1, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(delete_records(&mut client, "state", 0, 0).1, ErrorCode::PolicyViolation);
    assert_eq!(delete_records(&mut client, "both", 0, 0), (0, ErrorCode::None));
    assert_eq!(client.fetch("t", 0, 1).error_code, ErrorCode::OffsetOutOfRange);
    assert_eq!(client.fetch("t", 0, 2).log_start_offset, Offset(2));
    broker.shutdown().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    assert_eq!(client.fetch("t", 0, 1).error_code, ErrorCode::OffsetOutOfRange);
    assert_eq!(delete_records(&mut client, "t", 0, -1), (5, ErrorCode::None));
    assert_eq!(client.fetch("t", 0, 5).error_code, ErrorCode::None);
}

#[test]
fn the_log_directory_is_described_with_what_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 2, &[]);
    client.produce("t", 1, batch_of(&[&"x".repeat(500)], None));
    let described = client.call(4, &DescribeLogDirsRequest::default()).results.remove(0);
    assert_eq!(described.error_code, ErrorCode::None);
    let path = directory.path().to_string_lossy().into_owned();
    assert_eq!(described.log_dir, path);
    assert!(described.total_bytes >= described.usable_bytes && described.usable_bytes > 0);
    let sizes: Vec<_> = described.topics[0].partitions.iter().map(|p| p.partition_size).collect();
    assert!(sizes[0] == 0 && sizes[1] > 500, "{sizes:?}");
    let nothing = DescribeLogDirsRequest { topics: Some(Vec::new()) };
    assert_eq!(client.call(4, &nothing).results[0].topics.len(), 0);

    let mut move_to = |path: &str, topic: &str| {
        let topics = vec![AlterReplicaLogDirTopic {
            name: TopicName::new(topic),
            partitions: vec![PartitionIndex(0)],
        }];
        let dirs = vec![AlterReplicaLogDir { path: path.to_owned(), topics }];
        let response = client.call(2, &AlterReplicaLogDirsRequest { dirs });
        response.results[0].partitions[0].error_code
    };
    assert_eq!(move_to(&path, "t"), ErrorCode::None);
    assert_eq!(move_to(&path, "x"), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(move_to("/elsewhere", "t"), ErrorCode::LogDirNotFound);
}

#[test]
fn settings_are_replaced_as_a_whole() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[("retention.ms", "5"), ("segment.bytes", "2000000")]);
    let mut alter = |name: &str, value: Option<&str>| {
        let config = AlterableConfig { name: name.to_owned(), value: value.map(str::to_owned) };
        let resource = AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".to_owned(),
            configs: vec![config],
        };
        let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
        let answer = client.call(2, &request).responses.remove(0);
        let resource = DescribeConfigsResource {
            resource_type: 2,
            resource_name: "t".to_owned(),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let configs = client.call(4, &request).results.remove(0).configs;
        let own = configs.into_iter().filter(|config| config.config_source == 1);
        let own: Vec<_> = own.map(|config| (config.name, config.value.unwrap())).collect();
        (answer.error_code, own)
    };
    let before = vec![
        ("retention.ms".to_owned(), "5".to_owned()),
        ("segment.bytes".to_owned(), "2000000".to_owned()),
    ];
    assert_eq!(alter("retention.ms", None), (ErrorCode::InvalidRequest, before.clone()));
    assert_eq!(alter("retention.ms", Some("x")), (ErrorCode::InvalidConfig, before));
    let after = vec![("retention.ms".to_owned(), "7".to_owned())];
    assert_eq!(alter("retention.ms", Some("7")), (ErrorCode::None, after));
}

#[test]
fn one_node_leads_everything_has_every_replica_and_keeps_its_features() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    let query = |name: &str| TopicQuery {
        topic_name: TopicName::new(name),
        partitions: vec![PartitionQuery { partition_index: PartitionIndex(0) }],
    };
    let request = DescribeQuorumRequest { topics: vec![query("__cluster_metadata"), query("t")] };
    let quorum = client.call(2, &request);
    let metadata = &quorum.topics[0].partitions[0];
    assert_eq!((metadata.error_code, metadata.leader_id), (ErrorCode::None, BrokerId(1)));
    assert!(metadata.high_watermark > Offset(0));
    assert_eq!(metadata.current_voters.len(), 1);
    assert_eq!(quorum.topics[1].partitions[0].error_code, ErrorCode::UnknownTopicOrPartition);

    let elect = |topic_partitions| ElectLeadersRequest { topic_partitions, ..Default::default() };
    let partitions = |topic: &str| TopicPartitions {
        topic: TopicName::new(topic),
        partitions: vec![PartitionIndex(0)],
    };
    let asked = elect(Some(vec![partitions("t"), partitions("x")]));
    let elected = client.call(2, &asked).replica_election_results;
    assert_eq!(elected[0].partition_result[0].error_code, ErrorCode::ElectionNotNeeded);
    assert_eq!(elected[1].partition_result[0].error_code, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(client.call(2, &elect(None)).replica_election_results, []);

    let mut reassign = |topic: &str, replicas: Option<&[i32]>| {
        let partition = ReassignablePartition {
            partition_index: PartitionIndex(0),
            replicas: replicas.map(|ids| ids.iter().map(|id| BrokerId(*id)).collect()),
        };
        let topics =
            vec![ReassignableTopic { name: TopicName::new(topic), partitions: vec![partition] }];
        let request = AlterPartitionReassignmentsRequest { topics, ..Default::default() };
        client.call(1, &request).responses[0].partitions[0].error_code
    };
    assert_eq!(reassign("t", Some(&[1])), ErrorCode::None);
    assert_eq!(reassign("t", Some(&[2])), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(reassign("t", Some(&[])), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(reassign("t", None), ErrorCode::NoReassignmentInProgress);
    assert_eq!(reassign("x", Some(&[1])), ErrorCode::UnknownTopicOrPartition);
    let ongoing = client.call(0, &ListPartitionReassignmentsRequest::default());
    assert_eq!((ongoing.error_code, ongoing.topics.len()), (ErrorCode::None, 0));

    let mut update = |feature: &str, max_version_level, version| {
        let feature = feature.to_owned();
        let update =
            FeatureUpdateKey { feature, max_version_level, upgrade_type: 1, ..Default::default() };
        let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
        let response = client.call(version, &request);
        let of_feature = response.results.first().map(|result| result.error_code);
        (response.error_code, of_feature)
    };
    let invalid = ErrorCode::InvalidUpdateVersion;
    assert_eq!(update("transaction.version", 2, 2), (ErrorCode::None, None));
    assert_eq!(update("transaction.version", 1, 2), (invalid, None));
    assert_eq!(update("no.such", 1, 1), (ErrorCode::None, Some(invalid)));
    let mut unregister =
        |id| client.call(0, &UnregisterBrokerRequest { broker_id: BrokerId(id) }).error_code;
    assert_eq!(unregister(7), ErrorCode::BrokerIdNotRegistered);
    assert_eq!(unregister(1), ErrorCode::InvalidRequest, "it is the only one");
}

#[test]
fn without_an_authorizer_rules_are_neither_taken_nor_told() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    let disabled = ErrorCode::SecurityDisabled;
    assert_eq!(client.call(3, &DescribeAclsRequest::default()).error_code, disabled);
    let creations = vec![AclCreation::default()];
    let created = client.call(3, &CreateAclsRequest { creations });
    assert_eq!(created.results[0].error_code, disabled);
    assert_eq!(created.results[0].error_message.as_deref(), Some("No Authorizer is configured."));
    let filters = vec![DeleteAclsFilter::default()];
    let deleted = client.call(3, &DeleteAclsRequest { filters });
    assert_eq!(deleted.filter_results[0].error_code, disabled);
}

#[test]
fn quotas_are_kept_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    let set = |client: &mut RawClient, key: &str, value, only_validates| {
        let entity =
            vec![EntityData { entity_type: "user".to_owned(), entity_name: Some("a".to_owned()) }];
        let ops = vec![OpData { key: key.to_owned(), value, remove: false }];
        let entries = vec![EntryData { entity, ops }];
        let request = AlterClientQuotasRequest { entries, validate_only: only_validates };
        client.call(1, &request).entries[0].error_code
    };
    assert_eq!(set(&mut client, "producer_byte_rate", 1e6, false), ErrorCode::None);
    assert_eq!(set(&mut client, "consumer_byte_rate", 1e6, true), ErrorCode::None);
    assert_eq!(set(&mut client, "nonsense", 1.0, false), ErrorCode::InvalidRequest);
    broker.shutdown().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    let component = ComponentData { entity_type: "user".to_owned(), match_type: 2, r#match: None };
    let request = DescribeClientQuotasRequest { components: vec![component], strict: false };
    let entries = client.call(1, &request).entries.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].values.len(), 1);
    assert_eq!(
        (entries[0].values[0].key.as_str(), entries[0].values[0].value),
        ("producer_byte_rate", 1e6)
    );
}

#[test]
fn scram_credentials_are_kept_over_a_restart_and_the_password_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    let alter = |client: &mut RawClient, iterations, deletes: &[&str]| {
        let upsertions = vec![ScramCredentialUpsertion {
            name: "alice".to_owned(),
            mechanism: 1,
            iterations,
            salt: Bytes::from_static(b"some salt"),
            salted_password: Bytes::from_static(b"the salted password of alice"),
        }];
        let deletions = deletes
            .iter()
            .map(|name| ScramCredentialDeletion { name: (*name).to_owned(), mechanism: 2 });
        let request =
            AlterUserScramCredentialsRequest { deletions: deletions.collect(), upsertions };
        let results = client.call(0, &request).results.into_iter();
        results.map(|result| (result.user, result.error_code)).collect::<Vec<_>>()
    };
    let alice = |error| ("alice".to_owned(), error);
    assert_eq!(alter(&mut client, 100, &[]), [alice(ErrorCode::UnacceptableCredential)]);
    assert_eq!(
        alter(&mut client, 8192, &["bob"]),
        [("bob".to_owned(), ErrorCode::ResourceNotFound), alice(ErrorCode::None)]
    );
    broker.shutdown().unwrap();
    let kept = std::fs::read(directory.path().join("metadata.log")).unwrap();
    assert!(!kept.windows(15).any(|bytes| bytes == b"salted password"));
    let broker = broker_at(directory.path());
    let mut client = RawClient::connect(&broker);
    let described = client.call(0, &DescribeUserScramCredentialsRequest::default()).results;
    assert_eq!(described.len(), 1);
    let info = &described[0].credential_infos[0];
    assert_eq!((info.mechanism, info.iterations), (1, 8192));
    let users = Some(vec![UserName { name: "bob".to_owned() }]);
    let unknown = client.call(0, &DescribeUserScramCredentialsRequest { users }).results.remove(0);
    assert_eq!(unknown.error_code, ErrorCode::ResourceNotFound);
}

/// Gives a broker (or with no name all of them) exactly this setting, or none.
fn alter_broker(client: &mut RawClient, name: &str, setting: Option<(&str, &str)>) {
    let config = |(name, value): (&str, &str)| AlterableConfig {
        name: name.to_owned(),
        value: Some(value.to_owned()),
    };
    let resource = AlterConfigsResource {
        resource_type: 4,
        resource_name: name.to_owned(),
        configs: setting.into_iter().map(config).collect(),
    };
    let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
    assert_eq!(client.call(2, &request).responses[0].error_code, ErrorCode::None);
}

/// What a broker (or with no name all of them) has of log.retention.ms, and every source of it.
fn retention_of(client: &mut RawClient, name: &str) -> Option<(String, Vec<(i8, String)>)> {
    let resource = DescribeConfigsResource {
        resource_type: 4,
        resource_name: name.to_owned(),
        configuration_keys: Some(vec!["log.retention.ms".to_owned()]),
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        ..Default::default()
    };
    let config = client.call(4, &request).results.remove(0).configs.pop()?;
    let synonyms = config.synonyms.into_iter().map(|own| (own.source, own.value.unwrap()));
    Some((config.value?, synonyms.collect()))
}

#[test]
fn settings_of_one_broker_and_of_all_are_two_and_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let config = BrokerConfig::builder().data_dir(directory.path());
        let config = config.property("log.retention.ms", "1000").build().unwrap();
        Broker::start(config).unwrap()
    };
    let seen = |value: &str, sources: &[(i8, &str)]| {
        let sources = sources.iter().map(|(code, value)| (*code, (*value).to_owned()));
        Some((value.to_owned(), sources.collect::<Vec<_>>()))
    };
    let broker = start();
    let mut client = RawClient::connect(&broker);
    alter_broker(&mut client, "1", Some(("log.retention.ms", "3000")));
    alter_broker(&mut client, "", Some(("log.retention.ms", "2000")));
    drop((client, broker));
    let broker = start();
    let mut client = RawClient::connect(&broker);
    let own = seen("3000", &[(2, "3000"), (3, "2000"), (4, "1000")]);
    assert_eq!(retention_of(&mut client, "1"), own);
    assert_eq!(retention_of(&mut client, ""), seen("2000", &[(3, "2000")]));
    // What one loses it has from all; what all lose changes nothing that is one's own.
    alter_broker(&mut client, "1", None);
    assert_eq!(retention_of(&mut client, "1"), seen("2000", &[(3, "2000"), (4, "1000")]));
    alter_broker(&mut client, "1", Some(("log.retention.ms", "4000")));
    alter_broker(&mut client, "", None);
    assert_eq!(retention_of(&mut client, "1"), seen("4000", &[(2, "4000"), (4, "1000")]));
    assert_eq!(retention_of(&mut client, ""), None);
}

#[test]
fn the_cap_of_connections_of_an_address_changes_while_the_broker_runs() {
    // A connection that says nothing is closed for that alone after a while.
    let broker = broker_with(&[("streamledger.first.request.timeout.ms", "3600000")]);
    let mut client = RawClient::connect(&broker);
    alter_broker(&mut client, "1", Some(("max.connections.per.ip", "1")));
    assert!(RawClient::connect(&broker).is_closed_by_broker());
    alter_broker(&mut client, "", Some(("max.connections.per.ip", "3")));
    assert!(RawClient::connect(&broker).is_closed_by_broker(), "one's own goes before");
    alter_broker(&mut client, "1", None);
    assert_eq!(retention_of(&mut RawClient::connect(&broker), ""), None);
}
