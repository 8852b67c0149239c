//! What clients may count on: every API in every advertised version, topics, settings, cluster.

mod common;

use std::collections::BTreeMap;

use common::{RawClient, broker_with, create_topics, fetch};
use streamledger_protocol::frame::decode_response;
use streamledger_protocol::message::Request;
use streamledger_protocol::messages::create_partitions::CreatePartitionsTopic;
use streamledger_protocol::messages::delete_topics::DeleteTopicState;
use streamledger_protocol::messages::describe_configs::DescribeConfigsResource;
use streamledger_protocol::messages::describe_topic_partitions::TopicRequest;
use streamledger_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig,
};
use streamledger_protocol::messages::metadata::MetadataRequestTopic;
use streamledger_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AlterClientQuotasRequest,
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest,
    AlterUserScramCredentialsRequest, ApiVersionsRequest, ApiVersionsResponse,
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, CreateAclsRequest,
    CreatePartitionsRequest, CreateTopicsRequest, DeleteAclsRequest, DeleteGroupsRequest,
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeAclsRequest, DescribeClientQuotasRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeGroupsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, DescribeQuorumRequest, DescribeTopicPartitionsRequest,
    DescribeTransactionsRequest, DescribeUserScramCredentialsRequest, ElectLeadersRequest,
    EndTxnRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
    ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest,
    ListPartitionReassignmentsRequest, ListTransactionsRequest, MetadataRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
    ProduceRequest, SaslAuthenticateRequest, SaslHandshakeRequest, SyncGroupRequest,
    TxnOffsetCommitRequest, UnregisterBrokerRequest, UpdateFeaturesRequest, WriteTxnMarkersRequest,
};
use streamledger_protocol::{ApiVersion, BrokerId, ErrorCode, TopicId, TopicName};

fn api_versions() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "raw".to_owned(),
        client_software_version: "1.0".to_owned(),
    }
}

/// Asks in every version in which the request can be written.
fn ask_in_all<R: Request>(
    client: &mut RawClient,
    advertised: &mut BTreeMap<i16, (i16, i16)>,
    request: &R,
) -> usize {
    let code = R::API_KEY.code();
    let (min, max) = advertised.remove(&code).expect("asked twice, or not advertised");
    let mut asked = 0;
    for version in min..=max {
        if R::API_KEY.supports(ApiVersion(version)) {
            client.call(version, request);
            asked += 1;
        }
    }
    asked
}

/// The APIs of administration that change nothing when nothing is asked for.
fn ask_administration(c: &mut RawClient, a: &mut BTreeMap<i16, (i16, i16)>) -> usize {
    let mut asked = 0;
    asked += ask_in_all(c, a, &DeleteRecordsRequest::default());
    asked += ask_in_all(c, a, &DescribeAclsRequest::default());
    asked += ask_in_all(c, a, &CreateAclsRequest::default());
    asked += ask_in_all(c, a, &DeleteAclsRequest::default());
    asked += ask_in_all(c, a, &AlterConfigsRequest::default());
    asked += ask_in_all(c, a, &AlterReplicaLogDirsRequest::default());
    asked += ask_in_all(c, a, &DescribeLogDirsRequest::default());
    asked += ask_in_all(c, a, &ElectLeadersRequest::default());
    asked += ask_in_all(c, a, &AlterPartitionReassignmentsRequest::default());
    asked += ask_in_all(c, a, &ListPartitionReassignmentsRequest::default());
    asked += ask_in_all(c, a, &DescribeClientQuotasRequest::default());
    asked += ask_in_all(c, a, &AlterClientQuotasRequest::default());
    asked += ask_in_all(c, a, &DescribeUserScramCredentialsRequest::default());
    asked += ask_in_all(c, a, &AlterUserScramCredentialsRequest::default());
    asked += ask_in_all(c, a, &DescribeQuorumRequest::default());
    asked += ask_in_all(c, a, &UpdateFeaturesRequest::default());
    asked += ask_in_all(c, a, &UnregisterBrokerRequest::default());
    asked
}

#[test]
fn every_advertised_version_of_every_api_is_answered() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    let response = client.call(3, &api_versions());
    let ranges = response.api_keys.iter();
    let mut advertised: BTreeMap<_, _> =
        ranges.map(|range| (range.api_key, (range.min_version.0, range.max_version.0))).collect();
    let (c, a) = (&mut client, &mut advertised);
    let mut asked = ask_in_all(c, a, &ProduceRequest { acks: 1, ..Default::default() });
    asked += ask_in_all(c, a, &FetchRequest::default());
    asked += ask_in_all(c, a, &ListOffsetsRequest::default());
    asked += ask_in_all(c, a, &MetadataRequest::default());
    asked += ask_in_all(c, a, &FindCoordinatorRequest::default());
    asked += ask_in_all(c, a, &api_versions());
    asked += ask_in_all(c, a, &CreateTopicsRequest::default());
    asked += ask_in_all(c, a, &DeleteTopicsRequest::default());
    asked += ask_in_all(c, a, &InitProducerIdRequest::default());
    asked += ask_in_all(c, a, &OffsetForLeaderEpochRequest::default());
    asked += ask_in_all(c, a, &DescribeConfigsRequest::default());
    asked += ask_in_all(c, a, &CreatePartitionsRequest::default());
    asked += ask_in_all(c, a, &IncrementalAlterConfigsRequest::default());
    asked += ask_in_all(c, a, &DescribeClusterRequest::default());
    asked += ask_in_all(c, a, &ListConfigResourcesRequest::default());
    asked += ask_in_all(c, a, &DescribeTopicPartitionsRequest::default());
    asked += ask_in_all(c, a, &OffsetCommitRequest::default());
    asked += ask_in_all(c, a, &OffsetFetchRequest::default());
    asked += ask_in_all(c, a, &AddPartitionsToTxnRequest::default());
    asked += ask_in_all(c, a, &AddOffsetsToTxnRequest::default());
    asked += ask_in_all(c, a, &EndTxnRequest::default());
    asked += ask_in_all(c, a, &WriteTxnMarkersRequest::default());
    asked += ask_in_all(c, a, &TxnOffsetCommitRequest::default());
    asked += ask_in_all(c, a, &DescribeProducersRequest::default());
    asked += ask_in_all(c, a, &DescribeTransactionsRequest::default());
    asked += ask_in_all(c, a, &ListTransactionsRequest::default());
    asked += ask_in_all(c, a, &JoinGroupRequest::default());
    asked += ask_in_all(c, a, &HeartbeatRequest::default());
    asked += ask_in_all(c, a, &LeaveGroupRequest::default());
    asked += ask_in_all(c, a, &SyncGroupRequest::default());
    asked += ask_administration(c, a);
    asked += ask_in_all(c, a, &DescribeGroupsRequest::default());
    asked += ask_in_all(c, a, &ListGroupsRequest::default());
    asked += ask_in_all(c, a, &ConsumerGroupHeartbeatRequest::default());
    asked += ask_in_all(c, a, &ConsumerGroupDescribeRequest::default());
    asked += ask_in_all(c, a, &DeleteGroupsRequest::default());
    asked += ask_in_all(c, a, &OffsetDeleteRequest::default());
    // At this listener each is told that there are no logins.
    asked += ask_in_all(c, a, &SaslHandshakeRequest::default());
    asked += ask_in_all(c, a, &SaslAuthenticateRequest::default());
    assert!(advertised.is_empty(), "advertised and not asked: {advertised:?}");
    assert!(asked > 80, "asked only {asked} times");
}

#[test]
fn trap_3_an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    // Version 99, with bytes behind the header that nobody can know the meaning of.
    let header = [0, 18, 0, 99, 0, 0, 0, 42, 0, 1, b'x', 0, 5, b'a', b'b'];
    let length = (header.len() as u32).to_be_bytes();
    client.send_bytes(&[&length[..], &header].concat());
    let frame = client.receive_frame().unwrap();
    let (id, response): (_, ApiVersionsResponse) = decode_response(frame, ApiVersion(0)).unwrap();
    assert_eq!((id.0, response.error_code), (42, ErrorCode::UnsupportedVersion));
    assert!(response.api_keys.iter().any(|range| range.api_key == 18));
    // The connection goes on.
    assert_eq!(client.call(3, &api_versions()).error_code, ErrorCode::None);
}

#[test]
fn traps_4_and_19_features_are_told_with_an_epoch_that_is_not_negative() {
    let broker = broker_with(&[]);
    let response = RawClient::connect(&broker).call(4, &api_versions());
    assert!(response.finalized_features_epoch >= 0);
    assert!(response.finalized_features.iter().any(|one| one.name == "metadata.version"));
}

fn metadata_of(names: &[&str], creates: bool) -> MetadataRequest {
    let topics = names.iter().map(|name| MetadataRequestTopic {
        name: Some(TopicName::new(*name)),
        ..Default::default()
    });
    MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: creates,
        ..Default::default()
    }
}

#[test]
fn a_topic_is_found_by_its_id_also_beside_an_empty_name() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    let topic_id = client.create_topic("clicks", 1, &[]);
    for name in [None, Some(TopicName::new(""))] {
        let topics = Some(vec![MetadataRequestTopic { topic_id, name }]);
        let found = client.call(12, &MetadataRequest { topics, ..Default::default() });
        assert_eq!(found.topics[0].error_code, ErrorCode::None);
        assert_eq!(found.topics[0].name, Some(TopicName::new("clicks")));
    }
}

#[test]
fn asking_for_a_topic_creates_it_unless_told_not_to() {
    let broker = broker_with(&[("num.partitions", "6")]);
    let mut client = RawClient::connect(&broker);
    let not_created = client.call(12, &metadata_of(&["clicks"], false));
    assert_eq!(not_created.topics[0].error_code, ErrorCode::UnknownTopicOrPartition);
    let created = client.call(12, &metadata_of(&["clicks", "bad name", ".."], true));
    assert_eq!(created.topics[0].error_code, ErrorCode::None);
    assert_eq!(created.topics[0].partitions.len(), 6);
    assert!(!created.topics[0].topic_id.is_zero());
    assert_eq!(created.topics[1].error_code, ErrorCode::InvalidTopicException);
    assert_eq!(created.topics[2].error_code, ErrorCode::InvalidTopicException);
    // By id as well, with the same id every time (trap 5).
    let by_id = MetadataRequestTopic { topic_id: created.topics[0].topic_id, name: None };
    let unknown = MetadataRequestTopic { topic_id: TopicId([3; 16]), name: None };
    let request = MetadataRequest { topics: Some(vec![by_id, unknown]), ..Default::default() };
    let found = client.call(13, &request);
    assert_eq!(found.topics[0].name, created.topics[0].name);
    assert_eq!(found.topics[1].error_code, ErrorCode::UnknownTopicId);
}

#[test]
fn a_broker_that_does_not_create_on_demand_says_so() {
    let broker = broker_with(&[("auto.create.topics.enable", "false")]);
    let response = RawClient::connect(&broker).call(12, &metadata_of(&["clicks"], true));
    assert_eq!(response.topics[0].error_code, ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn all_topics_are_asked_for_by_null_and_in_version_0_by_an_empty_list() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("b", 1, &[]);
    client.create_topic("a", 1, &[]);
    let names = |response: &streamledger_protocol::messages::MetadataResponse| {
        let topics = response.topics.iter();
        topics.map(|topic| topic.name.clone().unwrap().to_string()).collect::<Vec<_>>()
    };
    let all = MetadataRequest { topics: None, ..Default::default() };
    let none = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    assert_eq!(names(&client.call(9, &all)), ["a", "b"]);
    assert_eq!(names(&client.call(9, &none)), Vec::<String>::new());
    assert_eq!(names(&client.call(0, &none)), ["a", "b"]);
}

#[test]
fn trap_8_the_node_is_its_own_controller_at_the_address_that_was_reached() {
    let broker = broker_with(&[("node.id", "7"), ("listeners", "127.0.0.1:0,127.0.0.1:0")]);
    let mut client = RawClient::connect(&broker);
    let metadata = client.call(9, &MetadataRequest::default());
    let port = i32::from(broker.addresses()[0].port());
    assert_eq!(metadata.controller_id, BrokerId(7));
    assert_eq!((metadata.brokers[0].host.as_str(), metadata.brokers[0].port), ("127.0.0.1", port));
    let cluster =
        client.call(2, &DescribeClusterRequest { endpoint_type: 1, ..Default::default() });
    assert_eq!(cluster.controller_id, BrokerId(7));
    assert_eq!(Some(cluster.cluster_id), metadata.cluster_id);
    let controllers = DescribeClusterRequest { endpoint_type: 2, ..Default::default() };
    assert_eq!(client.call(2, &controllers).error_code, ErrorCode::MismatchedEndpointType);
}

#[test]
fn an_advertised_address_is_what_clients_are_told() {
    let broker = broker_with(&[("advertised.listeners", "kafka.example:19092")]);
    let metadata = RawClient::connect(&broker).call(9, &MetadataRequest::default());
    assert_eq!(metadata.brokers[0].host, "kafka.example");
    assert_eq!(metadata.brokers[0].port, 19092);
}

#[test]
fn topics_are_created_checked_described_and_deleted() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    let only_checked = CreateTopicsRequest {
        validate_only: true,
        ..create_topics("t", 3, &[("retention.ms", "5000")])
    };
    let checked = client.call(7, &only_checked).topics.remove(0);
    assert_eq!((checked.error_code, checked.num_partitions), (ErrorCode::None, 3));
    let id = client.create_topic("t", 3, &[("retention.ms", "5000")]);
    let error = |client: &mut RawClient, request: &CreateTopicsRequest| {
        let result = client.call(7, request).topics.remove(0);
        (result.error_code, result.error_message.unwrap_or_default())
    };
    assert_eq!(error(&mut client, &create_topics("t", 1, &[])).0, ErrorCode::TopicAlreadyExists);
    let (code, message) = error(&mut client, &create_topics("u", 1, &[("retention.mss", "1")]));
    assert_eq!(code, ErrorCode::InvalidConfig);
    assert!(message.contains("did you mean retention.ms?"), "{message}");
    let mut twice = create_topics("v", 1, &[]);
    twice.topics.push(twice.topics[0].clone());
    assert_eq!(error(&mut client, &twice).0, ErrorCode::InvalidRequest);

    let by_id = DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: None, topic_id: id }],
        ..Default::default()
    };
    let deleted = client.call(6, &by_id).responses.remove(0);
    assert_eq!((deleted.error_code, deleted.name), (ErrorCode::None, Some(TopicName::new("t"))));
    assert_eq!(client.call(6, &by_id).responses[0].error_code, ErrorCode::UnknownTopicId);
    let by_name =
        DeleteTopicsRequest { topic_names: vec![TopicName::new("t")], ..Default::default() };
    let gone = client.call(5, &by_name).responses.remove(0);
    assert_eq!(gone.error_code, ErrorCode::UnknownTopicOrPartition);
    let fetched = client.fetch("t", 0, 0);
    assert_eq!(fetched.error_code, ErrorCode::UnknownTopicOrPartition);
    // The name is free again, for another topic.
    assert_ne!(client.create_topic("t", 1, &[]), id);
}

#[test]
fn partitions_are_added_and_can_be_written_at_once() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 2, &[]);
    let mut add = |count, validate_only| {
        let topic = CreatePartitionsTopic { name: TopicName::new("t"), count, assignments: None };
        let request =
            CreatePartitionsRequest { topics: vec![topic], validate_only, ..Default::default() };
        client.call(3, &request).results[0].error_code
    };
    assert_eq!(add(2, false), ErrorCode::InvalidPartitions);
    assert_eq!(add(4, true), ErrorCode::None);
    assert_eq!(add(4, false), ErrorCode::None);
    let answer = client.produce("t", 3, common::batch_of(&["x"], None));
    assert_eq!(answer.error_code, ErrorCode::None);
    let answer = client.produce("t", 4, common::batch_of(&["x"], None));
    assert_eq!(answer.error_code, ErrorCode::UnknownTopicOrPartition);
}

fn describe(kind: i8, name: &str) -> DescribeConfigsRequest {
    DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        include_documentation: true,
    }
}

fn set(kind: i8, resource: &str, name: &str, value: &str) -> IncrementalAlterConfigsRequest {
    IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: kind,
            resource_name: resource.to_owned(),
            configs: vec![AlterableConfig {
                name: name.to_owned(),
                config_operation: 0,
                value: Some(value.to_owned()),
            }],
        }],
        validate_only: false,
    }
}

#[test]
fn settings_are_described_with_their_sources_and_changed_while_running() {
    let broker = broker_with(&[("log.retention.hours", "24")]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[("segment.bytes", "2000000")]);
    let mut value = |kind, resource: &str, name: &str| {
        let mut result = client.call(4, &describe(kind, resource)).results.remove(0);
        assert_eq!(result.error_code, ErrorCode::None);
        let position = result.configs.iter().position(|one| one.name == name).unwrap();
        let config = result.configs.swap_remove(position);
        (config.value.unwrap_or_default(), config.config_source)
    };
    assert_eq!(value(2, "t", "segment.bytes"), ("2000000".to_owned(), 1));
    assert_eq!(value(2, "t", "retention.ms"), ("86400000".to_owned(), 4));
    assert_eq!(value(2, "t", "max.message.bytes"), ("1048588".to_owned(), 5));
    assert_eq!(value(4, "1", "log.retention.hours"), ("24".to_owned(), 4));

    let altered = |client: &mut RawClient, request: IncrementalAlterConfigsRequest| {
        client.call(1, &request).responses.remove(0)
    };
    let done = altered(&mut client, set(4, "", "message.max.bytes", "300"));
    assert_eq!(done.error_code, ErrorCode::None, "{:?}", done.error_message);
    let too_large = client.produce("t", 0, common::batch_of(&[&"x".repeat(400)], None));
    assert_eq!(too_large.error_code, ErrorCode::MessageTooLarge);
    let done = altered(&mut client, set(2, "t", "max.message.bytes", "5000"));
    assert_eq!(done.error_code, ErrorCode::None);
    let fits = client.produce("t", 0, common::batch_of(&[&"x".repeat(400)], None));
    assert_eq!(fits.error_code, ErrorCode::None);

    let refused = altered(&mut client, set(4, "1", "num.partitions", "9"));
    assert_eq!(refused.error_code, ErrorCode::InvalidRequest);
    let refused = altered(&mut client, set(2, "t", "remote.storage.enable", "true"));
    assert_eq!(refused.error_code, ErrorCode::InvalidConfig);
    let refused = altered(&mut client, set(2, "nowhere", "retention.ms", "1"));
    assert_eq!(refused.error_code, ErrorCode::UnknownTopicOrPartition);
    let refused = altered(&mut client, set(4, "99", "message.max.bytes", "1"));
    assert_eq!(refused.error_code, ErrorCode::InvalidRequest);
}

#[test]
fn topics_are_described_page_by_page() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    for (name, partitions) in [("a", 2), ("b", 3), ("c", 1)] {
        client.create_topic(name, partitions, &[]);
    }
    let mut request =
        DescribeTopicPartitionsRequest { response_partition_limit: 2, ..Default::default() };
    let mut seen = Vec::new();
    for _ in 0..10 {
        let page = client.call(0, &request);
        for topic in &page.topics {
            let name = topic.name.clone().unwrap();
            seen.extend(topic.partitions.iter().map(|p| format!("{name}-{}", p.partition_index)));
        }
        request.cursor = page.next_cursor;
        if request.cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a-0", "a-1", "b-0", "b-1", "b-2", "c-0"]);
    let named = DescribeTopicPartitionsRequest {
        topics: ["c", "zz"].map(|name| TopicRequest { name: TopicName::new(name) }).to_vec(),
        ..Default::default()
    };
    let page = client.call(0, &named);
    assert_eq!(page.topics[0].error_code, ErrorCode::None);
    assert_eq!(page.topics[1].error_code, ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn the_node_coordinates_every_group_and_transactional_id() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    let ask = |key_type| FindCoordinatorRequest {
        key: "some".to_owned(),
        key_type,
        ..Default::default()
    };
    for key_type in [0, 1] {
        let found = client.call(3, &ask(key_type));
        assert_eq!((found.error_code, found.node_id), (ErrorCode::None, BrokerId(1)));
    }
    assert_eq!(client.call(3, &ask(2)).error_code, ErrorCode::InvalidRequest);
    let several = FindCoordinatorRequest {
        coordinator_keys: vec!["a".to_owned(), "b".to_owned()],
        ..Default::default()
    };
    assert_eq!(client.call(6, &several).coordinators.len(), 2);
}

#[test]
fn an_internal_topic_is_the_brokers_own() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    let name = "__transaction_state";
    let created = client.call(7, &common::create_topics(name, 1, &[]));
    assert_eq!(created.topics[0].error_code, ErrorCode::InvalidTopicException);
    let find = FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec!["a".to_owned()],
        ..Default::default()
    };
    assert_eq!(client.call(6, &find).coordinators[0].error_code, ErrorCode::None);
    let described = client.call(12, &metadata_of(&[name], false));
    assert!(described.topics[0].is_internal);
    assert_eq!(described.topics[0].partitions.len(), 50);
    let topic_names = vec![TopicName::new(name)];
    let deleted = client.call(5, &DeleteTopicsRequest { topic_names, ..Default::default() });
    assert_eq!(deleted.responses[0].error_code, ErrorCode::InvalidTopicException);
}

#[test]
fn trap_6_a_fetch_session_is_never_begun_and_one_of_another_broker_is_refused() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    let begins = FetchRequest { session_id: 0, session_epoch: 0, ..fetch("t", 0, 0) };
    let answer = client.call(12, &begins);
    assert_eq!((answer.error_code, answer.session_id), (ErrorCode::None, 0));
    let goes_on = FetchRequest { session_id: 9, session_epoch: 3, ..fetch("t", 0, 0) };
    assert_eq!(client.call(12, &goes_on).error_code, ErrorCode::FetchSessionIdNotFound);
}
