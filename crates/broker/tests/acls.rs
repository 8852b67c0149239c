//! ACLs over the protocol: what they allow, what stays unseen, and that they are kept.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use bytes::Bytes;
use common::{
    RawClient, batch_of, broker_with, broker_with_acls, create_topics, fetch, now_ms, only_fetched,
    produce,
};
use streamledger_broker::{BrokerConfig, RunningBroker};
use streamledger_broker_core::authorizer::Operation::{
    self, Create, Delete, Describe, IdempotentWrite, Read, Write,
};
use streamledger_broker_core::authorizer::ResourceType::{self, Cluster, Group, Topic};
use streamledger_broker_core::config::STANDARD_AUTHORIZER;
use streamledger_protocol::compression::CompressionScratch;
use streamledger_protocol::messages::consumer_group_describe::DescribedGroup;
use streamledger_protocol::messages::create_acls::AclCreation;
use streamledger_protocol::messages::delete_acls::DeleteAclsFilter;
use streamledger_protocol::messages::delete_topics::DeleteTopicState;
use streamledger_protocol::messages::metadata::MetadataRequestTopic;
use streamledger_protocol::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use streamledger_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use streamledger_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, CreateAclsRequest,
    DeleteAclsRequest, DeleteTopicsRequest, DescribeAclsRequest, DescribeClusterRequest,
    DescribeTransactionsRequest, FetchRequest, InitProducerIdRequest, ListGroupsRequest,
    MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
    ProduceRequest,
};
use streamledger_protocol::record_batch::{BatchSeal, RecordBatchBuilder};
use streamledger_protocol::{
    BrokerId, ErrorCode, Offset, ProducerIdentity, SequenceNumber, TimestampMs, TopicName,
};

const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const DENY: i8 = 2;
const ALLOW: i8 = 3;
const TRANSACTIONAL_ID: ResourceType = ResourceType::TransactionalId;

fn rule(resource: ResourceType, name: &str, operation: Operation) -> AclCreation {
    AclCreation {
        resource_type: resource.code(),
        resource_name: name.to_owned(),
        resource_pattern_type: LITERAL,
        principal: "User:alice".to_owned(),
        host: "*".to_owned(),
        operation: operation.code(),
        permission_type: ALLOW,
    }
}

fn create(admin: &mut RawClient, creations: Vec<AclCreation>) -> Vec<ErrorCode> {
    let created = admin.call(3, &CreateAclsRequest { creations });
    created.results.iter().map(|result| result.error_code).collect()
}

fn allow(admin: &mut RawClient, rules: &[(ResourceType, &str, Operation)]) {
    let rules = rules.iter().map(|(resource, name, operation)| rule(*resource, name, *operation));
    let errors = create(admin, rules.collect());
    assert!(errors.iter().all(|error| *error == ErrorCode::None), "{errors:?}");
}

/// The clients of a broker: who may everything, and who may nothing yet.
fn clients(broker: &RunningBroker) -> (RawClient, RawClient) {
    (RawClient::logged_in(broker, "admin"), RawClient::logged_in(broker, "alice"))
}

fn metadata(client: &mut RawClient, names: &[&str], creates: bool) -> Vec<(String, ErrorCode)> {
    let topics = names.iter().map(|name| MetadataRequestTopic {
        name: Some(TopicName::new(*name)),
        ..Default::default()
    });
    let request = MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: creates,
        ..Default::default()
    };
    let told = client.call(12, &request).topics.into_iter();
    told.map(|topic| (topic.name.unwrap().as_str().to_owned(), topic.error_code)).collect()
}

#[test]
fn write_and_read_are_allowed_by_name_by_beginning_and_denied_again() {
    let broker = broker_with_acls(&[]);
    let (mut admin, mut alice) = clients(&broker);
    admin.create_topic("orders-eu", 1, &[]);
    allow(&mut admin, &[(Topic, "orders-eu", Write)]);
    let batch = || batch_of(&["x"], None);
    assert_eq!(alice.produce("orders-eu", 0, batch()).error_code, ErrorCode::None);
    let fetched =
        |alice: &mut RawClient| only_fetched(alice.call(11, &fetch("orders-eu", 0, 0))).error_code;
    assert_eq!(fetched(&mut alice), ErrorCode::TopicAuthorizationFailed);
    let prefix = AclCreation { resource_pattern_type: PREFIXED, ..rule(Topic, "orders-", Read) };
    assert_eq!(create(&mut admin, vec![prefix]), [ErrorCode::None]);
    assert_eq!(fetched(&mut alice), ErrorCode::None);
    let nobody = AclCreation { principal: "User:*".to_owned(), ..rule(Topic, "*", Operation::All) };
    let nobody = AclCreation { permission_type: DENY, ..nobody };
    assert_eq!(create(&mut admin, vec![nobody]), [ErrorCode::None]);
    assert_eq!(fetched(&mut alice), ErrorCode::TopicAuthorizationFailed);
    let denied = alice.produce("orders-eu", 0, batch());
    assert_eq!(denied.error_code, ErrorCode::TopicAuthorizationFailed);
    assert_eq!(admin.produce("orders-eu", 0, batch()).base_offset, Offset(1), "a super user may");
}

/// As in Kafka: who says that it is a replica needs ClusterAction, for which Read does not stand
/// in, nor the other way round; and then has to be one, which nobody here is.
#[test]
fn a_replica_needs_to_act_for_the_cluster_and_a_reader_to_read() {
    let broker = broker_with_acls(&[]);
    let (mut admin, mut alice) = clients(&broker);
    admin.create_topic("t", 1, &[]);
    let follower = FetchRequest { replica_id: BrokerId(5), ..fetch("t", 0, 0) };
    let mut asked = |request: &FetchRequest| only_fetched(alice.call(11, request)).error_code;
    allow(&mut admin, &[(Topic, "t", Read)]);
    assert_eq!(asked(&fetch("t", 0, 0)), ErrorCode::None);
    assert_eq!(asked(&follower), ErrorCode::TopicAuthorizationFailed);
    let end_of_epoch = OffsetForLeaderEpochRequest {
        topics: vec![OffsetForLeaderTopic {
            topic: TopicName::new("secret"),
            partitions: vec![OffsetForLeaderPartition::default()],
        }],
        ..Default::default()
    };
    admin.create_topic("secret", 1, &[]);
    let told =
        |alice: &mut RawClient| alice.call(4, &end_of_epoch).topics[0].partitions[0].error_code;
    assert_eq!(told(&mut alice), ErrorCode::TopicAuthorizationFailed);
    allow(&mut admin, &[(Cluster, "kafka-cluster", Operation::ClusterAction)]);
    let mut asked = |request: &FetchRequest| only_fetched(alice.call(11, request)).error_code;
    assert_eq!(asked(&follower), ErrorCode::NotLeaderOrFollower);
    assert_eq!(asked(&fetch("secret", 0, 0)), ErrorCode::TopicAuthorizationFailed);
    assert_eq!(told(&mut alice), ErrorCode::None);
}

#[test]
fn of_one_produce_the_allowed_topics_are_written_and_the_others_are_not() {
    let broker = broker_with_acls(&[]);
    let (mut admin, mut alice) = clients(&broker);
    for name in ["a", "b", "c"] {
        admin.create_topic(name, 1, &[]);
    }
    allow(&mut admin, &[(Topic, "b", Write), (Topic, "c", Write)]);
    let of = |name| produce(name, 0, -1, batch_of(&["x"], None)).topic_data.remove(0);
    let topic_data = vec![of("a"), of("b"), of("nowhere"), of("c")];
    let request = ProduceRequest { topic_data, ..produce("a", 0, -1, Bytes::new()) };
    let response = alice.call(11, &request);
    let mut answers: Vec<_> = response
        .responses
        .iter()
        .map(|topic| (topic.name.as_str(), topic.partition_responses[0].error_code))
        .collect();
    answers.sort_by_key(|(name, _)| *name);
    let denied = ErrorCode::TopicAuthorizationFailed;
    let none = ErrorCode::None;
    assert_eq!(answers, [("a", denied), ("b", none), ("c", none), ("nowhere", denied)]);
    for (name, end) in [("a", 0), ("b", 1), ("c", 1)] {
        assert_eq!(admin.fetch(name, 0, 0).high_watermark, Offset(end), "{name}");
    }
}

/// A transactional batch with that sequence.
fn transactional(producer: ProducerIdentity) -> Bytes {
    let mut builder = RecordBatchBuilder::with_capacity(100);
    builder.append(TimestampMs(now_ms()), None, Some(b"x"), &[]);
    let producer = Some((producer, SequenceNumber(0)));
    let seal = BatchSeal { producer, transactional: true, ..BatchSeal::default() };
    builder.seal(&seal, &mut CompressionScratch::new()).unwrap().bytes
}

#[test]
fn a_topic_that_is_denied_does_not_join_the_transaction() {
    let broker = broker_with_acls(&[]);
    let (mut admin, mut alice) = clients(&broker);
    for name in ["own", "other"] {
        admin.create_topic(name, 1, &[]);
    }
    allow(&mut admin, &[(TRANSACTIONAL_ID, "job", Write), (Topic, "own", Write)]);
    let init = InitProducerIdRequest {
        transactional_id: Some("job".into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let given = alice.call(5, &init);
    assert_eq!(given.error_code, ErrorCode::None);
    let producer = ProducerIdentity { id: given.producer_id, epoch: given.producer_epoch };
    let of = |name| produce(name, 0, -1, transactional(producer)).topic_data.remove(0);
    let request = |id: &str| ProduceRequest {
        transactional_id: Some(id.into()),
        topic_data: vec![of("other"), of("own")],
        ..produce("own", 0, -1, Bytes::new())
    };
    // Somebody else's transactional id is of no use to her.
    let refused = alice.call(12, &request("another"));
    let error = refused.responses[0].partition_responses[0].error_code;
    assert_eq!(error, ErrorCode::TransactionalIdAuthorizationFailed);
    let response = alice.call(12, &request("job"));
    let error_of = |name: &str| {
        let found = response.responses.iter().find(|topic| topic.name.as_str() == name);
        found.unwrap().partition_responses[0].error_code
    };
    assert_eq!(error_of("own"), ErrorCode::None);
    assert_eq!(error_of("other"), ErrorCode::TopicAuthorizationFailed);
    let describe = DescribeTransactionsRequest { transactional_ids: vec!["job".into()] };
    let described = admin.call(0, &describe).transaction_states.remove(0);
    let topics: Vec<_> = described.topics.iter().map(|topic| topic.topic.as_str()).collect();
    assert_eq!((described.transaction_state.as_str(), topics), ("Ongoing", vec!["own"]));
    // She sees her transaction, as Write implies Describe, and in it the topics that she may see.
    let seen = alice.call(0, &describe).transaction_states.remove(0);
    assert_eq!((seen.error_code, seen.topics.len()), (ErrorCode::None, 1));
}

#[test]
fn a_producer_id_is_for_who_may_write_to_any_topic_or_was_given_it() {
    let broker = broker_with_acls(&[]);
    let (mut admin, mut alice) = clients(&broker);
    let ask = |client: &mut RawClient| client.call(4, &InitProducerIdRequest::default()).error_code;
    assert_eq!(ask(&mut alice), ErrorCode::ClusterAuthorizationFailed);
    allow(&mut admin, &[(Topic, "anything", Write)]);
    assert_eq!(ask(&mut alice), ErrorCode::None);
    let mut bob = RawClient::logged_in(&broker, "bob");
    assert_eq!(ask(&mut bob), ErrorCode::ClusterAuthorizationFailed);
    let own = AclCreation {
        principal: "User:bob".to_owned(),
        ..rule(Cluster, "kafka-cluster", IdempotentWrite)
    };
    assert_eq!(create(&mut admin, vec![own]), [ErrorCode::None]);
    assert_eq!(ask(&mut bob), ErrorCode::None);
}

#[test]
fn topics_that_may_not_be_seen_are_as_if_they_were_not_there() {
    let broker = broker_with_acls(&[]);
    let (mut admin, mut alice) = clients(&broker);
    admin.create_topic("open", 1, &[]);
    admin.create_topic("secret", 1, &[]);
    let denied = ErrorCode::TopicAuthorizationFailed;
    let told = metadata(&mut alice, &["secret", "nowhere"], true);
    assert_eq!(told, [("secret".to_owned(), denied), ("nowhere".to_owned(), denied)]);
    allow(&mut admin, &[(Topic, "open", Describe), (Topic, "new", Describe)]);
    let all = MetadataRequest { topics: None, ..Default::default() };
    let all = alice.call(12, &all).topics;
    let names: Vec<_> = all.iter().map(|topic| topic.name.as_ref().unwrap().as_str()).collect();
    assert_eq!(names, ["open"]);
    // To make one takes more than to see it.
    let told = |alice: &mut RawClient, creates| metadata(alice, &["new"], creates)[0].1;
    assert_eq!(told(&mut alice, false), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(told(&mut alice, true), denied);
    let made = |alice: &mut RawClient, name: &str| {
        alice.call(7, &create_topics(name, 1, &[])).topics.remove(0)
    };
    assert_eq!(made(&mut alice, "new").error_code, denied);
    allow(&mut admin, &[(Topic, "new", Create), (Topic, "newer", Create)]);
    assert_eq!(told(&mut alice, true), ErrorCode::None);
    let newer = made(&mut alice, "newer");
    assert_eq!((newer.error_code, newer.num_partitions), (ErrorCode::None, -1));
    assert_eq!((newer.topic_config_error_code, newer.configs), (denied, None));
}

#[test]
fn topics_are_deleted_by_who_may_delete_them_or_all() {
    let broker = broker_with_acls(&[]);
    let (mut admin, mut alice) = clients(&broker);
    let ids = ["a", "b", "c"].map(|name| admin.create_topic(name, 1, &[]));
    let mut delete = |admin: &mut RawClient, granted: &[_], state: DeleteTopicState| {
        allow(admin, granted);
        let request = DeleteTopicsRequest { topics: vec![state], ..Default::default() };
        alice.call(6, &request).responses.remove(0).error_code
    };
    let named =
        |name: &str| DeleteTopicState { name: Some(TopicName::new(name)), ..Default::default() };
    let denied = ErrorCode::TopicAuthorizationFailed;
    assert_eq!(delete(&mut admin, &[], named("a")), denied);
    assert_eq!(delete(&mut admin, &[(Topic, "a", Delete)], named("b")), denied);
    // Who may see topics of a name is told that there is none, and who may not isn't.
    let sees = [(Topic, "gone", Describe), (Topic, "b", Describe)];
    assert_eq!(delete(&mut admin, &sees, named("gone")), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(delete(&mut admin, &[], named("b")), denied);
    assert_eq!(delete(&mut admin, &[], named("hidden")), denied);
    assert_eq!(delete(&mut admin, &[], named("a")), ErrorCode::None);
    let cluster = [(Cluster, "kafka-cluster", Delete)];
    assert_eq!(delete(&mut admin, &cluster, named("b")), ErrorCode::None);
    let by_id = DeleteTopicState { name: None, topic_id: ids[2] };
    assert_eq!(delete(&mut admin, &[], by_id), ErrorCode::None);
}

#[test]
fn what_may_be_done_is_told_as_bits() {
    let broker = broker_with_acls(&[]);
    let (mut admin, mut alice) = clients(&broker);
    admin.create_topic("t", 1, &[]);
    allow(&mut admin, &[(Topic, "t", Read), (Topic, "t", Delete)]);
    let request = MetadataRequest {
        topics: None,
        include_topic_authorized_operations: true,
        ..Default::default()
    };
    let told =
        |client: &mut RawClient| client.call(12, &request).topics[0].topic_authorized_operations;
    assert_eq!(told(&mut alice), 1 << 3 | 1 << 6 | 1 << 8);
    assert_eq!(told(&mut admin).count_ones(), 8);
    let of_cluster = |client: &mut RawClient| {
        let request = DescribeClusterRequest {
            include_cluster_authorized_operations: true,
            endpoint_type: 1,
            ..Default::default()
        };
        client.call(1, &request).cluster_authorized_operations
    };
    assert_eq!(of_cluster(&mut alice), 0);
    allow(&mut admin, &[(Cluster, "kafka-cluster", Describe)]);
    assert_eq!(of_cluster(&mut alice), 1 << 8);
}

#[test]
fn a_group_is_for_who_may_read_it_and_its_topics() {
    let broker = broker_with_acls(&[]);
    let (mut admin, mut alice) = clients(&broker);
    admin.create_topic("a", 1, &[]);
    admin.create_topic("b", 1, &[]);
    allow(&mut admin, &[(Group, "readers", Read), (Topic, "a", Read)]);
    let topic = |name: &str| OffsetCommitRequestTopic {
        name: TopicName::new(name),
        partitions: vec![OffsetCommitRequestPartition {
            committed_offset: Offset(7),
            ..Default::default()
        }],
        ..Default::default()
    };
    let commit = OffsetCommitRequest {
        group_id: "readers".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic("a"), topic("b")],
        ..Default::default()
    };
    let stored = alice.call(8, &commit);
    let errors: Vec<_> = stored.topics.iter().map(|one| one.partitions[0].error_code).collect();
    assert_eq!(errors, [ErrorCode::None, ErrorCode::TopicAuthorizationFailed]);
    admin.call(8, &OffsetCommitRequest { topics: vec![topic("b")], ..commit.clone() });
    let stored = |client: &mut RawClient| {
        let group_id = "readers".into();
        let request = OffsetFetchRequest { group_id, topics: None, ..Default::default() };
        client.call(7, &request).topics.len()
    };
    assert_eq!((stored(&mut alice), stored(&mut admin)), (1, 2));
    admin.call(8, &OffsetCommitRequest { group_id: "others".into(), ..commit });
    let listed =
        |client: &mut RawClient| client.call(4, &ListGroupsRequest::default()).groups.len();
    assert_eq!((listed(&mut alice), listed(&mut admin)), (1, 2));
}

#[test]
fn a_pattern_finds_only_topics_that_its_member_may_see() {
    let broker = broker_with_acls(&[]);
    let (mut admin, mut alice) = clients(&broker);
    let own = admin.create_topic("t-own", 2, &[]);
    admin.create_topic("t-secret", 2, &[]);
    allow(&mut admin, &[(Group, "g", Read), (Topic, "t-own", Read)]);
    let beat =
        |topics: Option<Vec<TopicName>>, regex: Option<&str>| ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: "m".to_owned(),
            member_epoch: 0,
            rebalance_timeout_ms: 60_000,
            subscribed_topic_names: topics,
            subscribed_topic_regex: regex.map(str::to_owned),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
    let named = beat(Some(vec![TopicName::new("t-own"), TopicName::new("t-secret")]), None);
    let refused = alice.call(1, &named);
    assert_eq!(refused.error_code, ErrorCode::TopicAuthorizationFailed);
    let joined = alice.call(1, &beat(None, Some("t-.*")));
    assert_eq!(joined.error_code, ErrorCode::None);
    let assigned = joined.assignment.unwrap().topic_partitions;
    let assigned: Vec<_> = assigned.iter().map(|topic| topic.topic_id).collect();
    assert_eq!(assigned, [own]);
    // Topics found by a pattern are the group's: they are looked for again, when topics or ACLs
    // have changed, by the rights of whoever's heartbeat comes first (Kafka's
    // `TopicRegexResolver`).
    allow(&mut admin, &[(Topic, "t-secret", Describe)]);
    let alive = ConsumerGroupHeartbeatRequest {
        member_epoch: joined.member_epoch,
        rebalance_timeout_ms: -1,
        subscribed_topic_regex: None,
        topic_partitions: None,
        ..beat(None, None)
    };
    let again = alice.call(1, &alive);
    let assigned = again.assignment.map_or(0, |assigned| assigned.topic_partitions.len());
    assert_eq!((again.error_code, assigned), (ErrorCode::None, 2));
    let describe =
        ConsumerGroupDescribeRequest { group_ids: vec!["g".into()], ..Default::default() };
    let described =
        |client: &mut RawClient| -> DescribedGroup { client.call(0, &describe).groups.remove(0) };
    assert_eq!(described(&mut alice).members.len(), 1);
    let bob = [rule(Group, "g", Describe)];
    let bob = bob.map(|one| AclCreation { principal: "User:bob".to_owned(), ..one });
    assert_eq!(create(&mut admin, bob.to_vec()), [ErrorCode::None]);
    let seen = described(&mut RawClient::logged_in(&broker, "bob"));
    assert_eq!((seen.error_code, seen.members.len()), (ErrorCode::TopicAuthorizationFailed, 0));
}

#[test]
fn rules_are_checked_kept_over_a_restart_told_by_filter_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let at = [("log.dirs", directory.path().to_str().unwrap())];
    let broker = broker_with_acls(&at);
    let (mut admin, _) = clients(&broker);
    let wrong = [
        AclCreation { resource_type: 1, ..rule(Topic, "t", Read) },
        AclCreation { resource_pattern_type: 2, ..rule(Topic, "t", Read) },
        AclCreation { operation: 1, ..rule(Topic, "t", Read) },
        AclCreation { permission_type: 1, ..rule(Topic, "t", Read) },
        AclCreation { principal: "alice".to_owned(), ..rule(Topic, "t", Read) },
        rule(Topic, "", Read),
        rule(Cluster, "other", Describe),
    ];
    let errors = create(&mut admin, wrong.to_vec());
    assert_eq!(errors, [ErrorCode::InvalidRequest; 7]);
    allow(&mut admin, &[(Topic, "t", Read), (Topic, "t", Read), (Group, "g", Read)]);
    drop((admin, broker));

    let broker = broker_with_acls(&at);
    let (mut admin, mut alice) = clients(&broker);
    let any = DescribeAclsRequest {
        resource_type_filter: 1,
        pattern_type_filter: 1,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    let told = admin.call(3, &any);
    let told: Vec<_> = told
        .resources
        .iter()
        .map(|one| (one.resource_type, one.resource_name.as_str(), one.acls.len()))
        .collect();
    assert_eq!(told, [(2, "t", 1), (3, "g", 1)]);
    let unknown = DescribeAclsRequest { operation: 0, ..any.clone() };
    assert_eq!(admin.call(3, &unknown).error_code, ErrorCode::InvalidRequest);
    admin.create_topic("t", 1, &[]);
    let fetched =
        |alice: &mut RawClient| only_fetched(alice.call(11, &fetch("t", 0, 0))).error_code;
    assert_eq!(fetched(&mut alice), ErrorCode::None);
    let filter = DeleteAclsFilter {
        resource_type_filter: 2,
        resource_name_filter: Some("t".to_owned()),
        pattern_type_filter: 2,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    let unknown = DeleteAclsFilter { permission_type: 9, ..filter.clone() };
    let deleted = admin.call(3, &DeleteAclsRequest { filters: vec![filter, unknown] });
    let deleted: Vec<_> = deleted
        .filter_results
        .iter()
        .map(|result| (result.error_code, result.matching_acls.len()))
        .collect();
    assert_eq!(deleted, [(ErrorCode::None, 1), (ErrorCode::InvalidRequest, 0)]);
    assert_eq!(fetched(&mut alice), ErrorCode::TopicAuthorizationFailed);
    assert_eq!(admin.call(3, &any).resources.len(), 1);
}

#[test]
fn who_is_unknown_is_anonymous_and_addresses_count() {
    let broker = broker_with(&[
        ("authorizer.class.name", STANDARD_AUTHORIZER),
        ("allow.everyone.if.no.acl.found", "true"),
    ]);
    let mut nobody = RawClient::connect(&broker);
    nobody.create_topic("t", 1, &[]);
    let batch = || batch_of(&["x"], None);
    assert_eq!(nobody.produce("t", 0, batch()).error_code, ErrorCode::None);
    let elsewhere = AclCreation {
        principal: "User:ANONYMOUS".to_owned(),
        host: "10.0.0.1".to_owned(),
        ..rule(Topic, "t", Write)
    };
    let here = AclCreation { host: "127.0.0.1".to_owned(), ..elsewhere.clone() };
    assert_eq!(create(&mut nobody, vec![elsewhere]), [ErrorCode::None]);
    let denied = nobody.produce("t", 0, batch()).error_code;
    assert_eq!(denied, ErrorCode::TopicAuthorizationFailed, "a rule closes what it is about");
    assert_eq!(create(&mut nobody, vec![here]), [ErrorCode::None]);
    assert_eq!(nobody.produce("t", 0, batch()).error_code, ErrorCode::None);
}

#[test]
fn settings_without_effect_and_other_authorizers_are_refused() {
    let refused = |settings: &[(&str, &str)]| {
        let builder = BrokerConfig::builder().properties(settings.iter().copied());
        builder.build().unwrap_err().to_string()
    };
    assert!(refused(&[("super.users", "User:a")]).contains("has no effect without"));
    let other = "kafka.security.authorizer.AclAuthorizer";
    let said = refused(&[("authorizer.class.name", other)]);
    assert!(said.contains(STANDARD_AUTHORIZER), "{said}");
    let said = refused(&[("authorizer.class.name", STANDARD_AUTHORIZER), ("super.users", "alice")]);
    assert!(said.contains("User:NAME"), "{said}");
}
