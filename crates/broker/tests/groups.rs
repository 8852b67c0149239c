//! Members of groups over the bare protocol: parked answers, restarts, zombies.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;

use bytes::Bytes;
use common::{RawClient, broker_with, wait_until};
use streamledger_broker::RunningBroker;
use streamledger_protocol::messages::create_partitions::CreatePartitionsTopic;
use streamledger_protocol::messages::describe_configs::DescribeConfigsResource;
use streamledger_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig,
};
use streamledger_protocol::messages::join_group::JoinGroupRequestProtocol;
use streamledger_protocol::messages::leave_group::MemberIdentity;
use streamledger_protocol::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use streamledger_protocol::messages::sync_group::SyncGroupRequestAssignment;
use streamledger_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, CreatePartitionsRequest,
    DescribeConfigsRequest, DescribeGroupsRequest, HeartbeatRequest,
    IncrementalAlterConfigsRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    ListConfigResourcesRequest, MetadataRequest, OffsetCommitRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use streamledger_protocol::{ErrorCode, Offset, TopicName};

const JOIN: i16 = 9;
const SYNC: i16 = 5;

fn broker_at(directory: &Path, delay_ms: &str) -> RunningBroker {
    broker_with(&[
        ("log.dirs", directory.to_str().unwrap()),
        ("group.initial.rebalance.delay.ms", delay_ms),
        ("group.min.session.timeout.ms", "100"),
        ("offsets.topic.num.partitions", "2"),
    ])
}

fn join(member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: "readers".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id: member.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: Bytes::from_static(b"m"),
        }],
        ..Default::default()
    }
}

fn sync(member: &str, generation: i32, assigned: &[(&str, &'static [u8])]) -> SyncGroupRequest {
    let assignment = |&(member, assignment): &(&str, &'static [u8])| SyncGroupRequestAssignment {
        member_id: member.to_owned(),
        assignment: Bytes::from_static(assignment),
    };
    SyncGroupRequest {
        group_id: "readers".into(),
        generation_id: generation,
        member_id: member.to_owned(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments: assigned.iter().map(assignment).collect(),
        ..Default::default()
    }
}

fn heartbeat(client: &mut RawClient, member: &str, generation: i32) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: "readers".into(),
        generation_id: generation,
        member_id: member.to_owned(),
        ..Default::default()
    };
    client.call(4, &request).error_code
}

fn group_state(client: &mut RawClient) -> String {
    let request = DescribeGroupsRequest { groups: vec!["readers".into()], ..Default::default() };
    client.call(5, &request).groups.remove(0).group_state
}

fn commit(client: &mut RawClient, member: &str, generation: i32) -> ErrorCode {
    let partition =
        OffsetCommitRequestPartition { committed_offset: Offset(1), ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: "readers".into(),
        generation_id_or_member_epoch: generation,
        member_id: member.to_owned(),
        topics: vec![OffsetCommitRequestTopic {
            name: TopicName::new("clicks"),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    client.call(9, &request).topics[0].partitions[0].error_code
}

/// Joins alone, by the id that it is given first.
fn join_alone(client: &mut RawClient) -> JoinGroupResponse {
    let told = client.call(JOIN, &join(""));
    assert_eq!(told.error_code, ErrorCode::MemberIdRequired);
    assert!(told.member_id.starts_with("raw-"), "{}", told.member_id);
    let joined = client.call(JOIN, &join(&told.member_id));
    assert_eq!((joined.error_code, joined.members.len()), (ErrorCode::None, 1));
    joined
}

/// Waits until a member of the first generation is told of a rebalance.
fn wait_for_rebalance(client: &mut RawClient, member_id: &str) {
    wait_until("a rebalance", || heartbeat(client, member_id, 1) != ErrorCode::None);
}

#[test]
fn a_parked_member_holds_up_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_at(directory.path(), "1500");
    let mut waiting = RawClient::connect(&broker);
    let told = waiting.call(JOIN, &join(""));
    waiting.send(JOIN, &join(&told.member_id));
    let mut other = RawClient::connect(&broker);
    other.call(12, &MetadataRequest::default());
    assert_eq!(heartbeat(&mut other, "nobody", 1), ErrorCode::UnknownMemberId);
    let (_, joined): (_, JoinGroupResponse) = waiting.receive(JOIN);
    assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::None, 1));
    // One that is parked when the broker stops is told so, and does not hold up the stop.
    waiting.call(SYNC, &sync(&joined.member_id, 1, &[]));
    let asked = RawClient::connect(&broker).call(JOIN, &join(""));
    other.send(JOIN, &join(&asked.member_id));
    wait_for_rebalance(&mut waiting, &joined.member_id);
    broker.shutdown().unwrap();
    let (_, told): (_, JoinGroupResponse) = other.receive(JOIN);
    assert_eq!(told.error_code, ErrorCode::CoordinatorNotAvailable);
}

#[test]
fn two_members_share_and_survive_a_restart_and_zombies_store_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_at(directory.path(), "0");
    let mut one = RawClient::connect(&broker);
    one.create_topic("clicks", 1, &[]);
    let first = join_alone(&mut one).member_id;
    let synced = one.call(SYNC, &sync(&first, 1, &[(&first, b"all")]));
    assert_eq!(synced.assignment, "all");

    let mut two = RawClient::connect(&broker);
    let second = two.call(JOIN, &join("")).member_id;
    two.send(JOIN, &join(&second));
    wait_for_rebalance(&mut one, &first);
    let led = one.call(JOIN, &join(&first));
    let (_, followed): (_, JoinGroupResponse) = two.receive(JOIN);
    assert_eq!((led.generation_id, followed.generation_id), (2, 2));
    assert_eq!((led.members.len(), followed.leader), (2, first.clone()));
    two.send(SYNC, &sync(&second, 2, &[]));
    one.call(SYNC, &sync(&first, 2, &[(&first, b"half"), (&second, b"other half")]));
    let (_, synced): (_, SyncGroupResponse) = two.receive(SYNC);
    assert_eq!(synced.assignment, "other half");
    assert_eq!(commit(&mut one, &first, 1), ErrorCode::IllegalGeneration);
    assert_eq!(commit(&mut one, "stranger", 2), ErrorCode::UnknownMemberId);
    assert_eq!(commit(&mut one, "", -1), ErrorCode::UnknownMemberId);
    assert_eq!(commit(&mut one, &first, 2), ErrorCode::None);
    broker.shutdown().unwrap();

    let broker = broker_at(directory.path(), "0");
    let mut two = RawClient::connect(&broker);
    assert_eq!(heartbeat(&mut two, &second, 2), ErrorCode::None);
    let synced = two.call(SYNC, &sync(&second, 2, &[]));
    assert_eq!(synced.assignment, "other half");
    let leaving =
        |member: &str| MemberIdentity { member_id: member.to_owned(), ..Default::default() };
    let request = LeaveGroupRequest {
        group_id: "readers".into(),
        members: vec![leaving(&first), leaving("stranger")],
        ..Default::default()
    };
    let left = two.call(5, &request);
    let errors: Vec<ErrorCode> = left.members.iter().map(|member| member.error_code).collect();
    assert_eq!(errors, [ErrorCode::None, ErrorCode::UnknownMemberId]);
    assert_eq!(heartbeat(&mut two, &second, 2), ErrorCode::RebalanceInProgress);
    assert_eq!(commit(&mut two, &first, 2), ErrorCode::UnknownMemberId, "a zombie");
    broker.shutdown().unwrap();
}

fn beat(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "next".into(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        ..Default::default()
    }
}

#[test]
fn a_next_generation_group_survives_a_restart_and_sees_new_partitions() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_at(directory.path(), "0");
    let mut client = RawClient::connect(&broker);
    client.create_topic("clicks", 2, &[]);
    let join = ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 10_000,
        subscribed_topic_regex: Some("cl.*s".to_owned()),
        topic_partitions: Some(Vec::new()),
        ..beat("m", 0)
    };
    let joined = client.call(1, &join);
    assert_eq!((joined.error_code, joined.member_epoch), (ErrorCode::None, 1));
    assert_eq!(joined.assignment.unwrap().topic_partitions[0].partitions.len(), 2);
    broker.shutdown().unwrap();

    let broker = broker_at(directory.path(), "0");
    let mut client = RawClient::connect(&broker);
    let same = client.call(1, &beat("m", 1));
    assert_eq!((same.error_code, same.member_epoch, same.assignment), (ErrorCode::None, 1, None));
    let more =
        CreatePartitionsTopic { name: TopicName::new("clicks"), count: 3, ..Default::default() };
    client.call(3, &CreatePartitionsRequest { topics: vec![more], ..Default::default() });
    let grown = client.call(1, &beat("m", 1));
    assert_eq!(grown.member_epoch, 2);
    assert_eq!(grown.assignment.unwrap().topic_partitions[0].partitions.len(), 3);
    assert_eq!(client.call(1, &beat("m", 7)).error_code, ErrorCode::FencedMemberEpoch);
    assert_eq!(client.call(1, &beat("stranger", 1)).error_code, ErrorCode::UnknownMemberId);
    let described = client.call(
        1,
        &ConsumerGroupDescribeRequest { group_ids: vec!["next".into()], ..Default::default() },
    );
    assert_eq!(described.groups[0].group_state, "Stable");
    assert_eq!(client.call(1, &beat("m", -1)).error_code, ErrorCode::None);
    broker.shutdown().unwrap();
}

/// Sets a setting of the group (`None` deletes it).
fn alter(client: &mut RawClient, group: &str, name: &str, value: Option<&str>) -> ErrorCode {
    let config = AlterableConfig {
        name: name.to_owned(),
        config_operation: i8::from(value.is_none()),
        value: value.map(str::to_owned),
    };
    let resource = AlterConfigsResource {
        resource_type: 32,
        resource_name: group.to_owned(),
        configs: vec![config],
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    client.call(1, &request).responses[0].error_code
}

/// The group's settings as they are in force, and who gave each.
fn configs(client: &mut RawClient) -> Vec<(String, i8)> {
    let resource = DescribeConfigsResource {
        resource_type: 32,
        resource_name: "next".to_owned(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let configs = client.call(4, &request).results.remove(0).configs;
    configs.into_iter().map(|config| (config.value.unwrap(), config.config_source)).collect()
}

#[test]
fn a_groups_own_settings_are_obeyed_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        broker_with(&[
            ("log.dirs", directory.path().to_str().unwrap()),
            ("group.consumer.min.session.timeout.ms", "100"),
            ("group.consumer.min.heartbeat.interval.ms", "50"),
            ("offsets.topic.num.partitions", "2"),
        ])
    };
    let broker = start();
    let mut client = RawClient::connect(&broker);
    client.create_topic("clicks", 1, &[]);
    let (session, heartbeat) = ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms");
    assert_eq!(alter(&mut client, "next", session, Some("90")), ErrorCode::InvalidConfig);
    let share = alter(&mut client, "next", "share.session.timeout.ms", Some("45000"));
    assert_eq!(share, ErrorCode::InvalidConfig);
    assert_eq!(alter(&mut client, "", session, Some("900")), ErrorCode::InvalidRequest);
    assert_eq!(alter(&mut client, "next", heartbeat, Some("400")), ErrorCode::None);
    assert_eq!(alter(&mut client, "next", session, Some("400")), ErrorCode::InvalidConfig);
    assert_eq!(alter(&mut client, "next", session, Some("900")), ErrorCode::None);
    broker.shutdown().unwrap();

    let broker = start();
    let mut client = RawClient::connect(&broker);
    let own = |value: &str| (value.to_owned(), 8);
    assert_eq!(configs(&mut client), [own("400"), own("900")]);
    let named = ListConfigResourcesRequest { resource_types: vec![32] };
    let named = client.call(1, &named).config_resources;
    assert_eq!((named.len(), &*named[0].resource_name), (1, "next"));
    let join = ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec![TopicName::new("clicks")]),
        topic_partitions: Some(Vec::new()),
        ..beat("m", 0)
    };
    let joined = client.call(1, &join);
    assert_eq!((joined.error_code, joined.heartbeat_interval_ms), (ErrorCode::None, 400));
    // By the broker's own setting it would be out in 45 seconds.
    wait_until("the silent member is out", || {
        let request =
            ConsumerGroupDescribeRequest { group_ids: vec!["next".into()], ..Default::default() };
        client.call(1, &request).groups[0].members.is_empty()
    });
    for name in [session, heartbeat] {
        assert_eq!(alter(&mut client, "next", name, None), ErrorCode::None);
    }
    let default = |value: &str| (value.to_owned(), 5);
    assert_eq!(configs(&mut client), [default("5000"), default("45000")]);
    assert_eq!(client.call(1, &join).heartbeat_interval_ms, 5000);
    broker.shutdown().unwrap();
}

#[test]
fn a_silent_member_is_out_by_the_brokers_own_clock() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_at(directory.path(), "0");
    let mut silent = RawClient::connect(&broker);
    // Asking after it by its heartbeat would keep it in.
    let short = |member: &str| JoinGroupRequest { session_timeout_ms: 1500, ..join(member) };
    let told = silent.call(JOIN, &short(""));
    let joined = silent.call(JOIN, &short(&told.member_id));
    silent.call(SYNC, &sync(&joined.member_id, 1, &[]));
    wait_until("the group is empty", || group_state(&mut silent) == "Empty");
    assert_eq!(heartbeat(&mut silent, &joined.member_id, 1), ErrorCode::UnknownMemberId);
    let next = join_alone(&mut silent);
    assert_eq!(next.generation_id, 3, "the second was the empty one");
    broker.shutdown().unwrap();
}
