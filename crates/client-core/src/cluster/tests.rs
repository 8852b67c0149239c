//! What an answer changes, and what it must not (FAILURES 16, 17, 18, 19).

use proptest::prelude::*;
use streamledger_protocol::messages::MetadataResponse;
use streamledger_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use streamledger_protocol::{
    BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, TopicId, TopicPartition,
};

use super::*;

const ID: TopicId = TopicId([1; 16]);
const OTHER_ID: TopicId = TopicId([2; 16]);

fn broker(id: i32) -> MetadataResponseBroker {
    MetadataResponseBroker {
        node_id: BrokerId(id),
        host: format!("broker-{id}"),
        port: 9092,
        ..Default::default()
    }
}

/// Partitions 0, 1, ... by leader and epoch.
fn topic(id: TopicId, leaders: &[(i32, i32)]) -> MetadataResponseTopic {
    let partitions =
        leaders.iter().enumerate().map(|(index, (leader, epoch))| MetadataResponsePartition {
            partition_index: PartitionIndex(i32::try_from(index).unwrap()),
            leader_id: BrokerId(*leader),
            leader_epoch: LeaderEpoch(*epoch),
            ..Default::default()
        });
    MetadataResponseTopic {
        name: Some("clicks".into()),
        topic_id: id,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn failed(error_code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code, name: Some("clicks".into()), ..Default::default() }
}

fn answer(topics: Vec<MetadataResponseTopic>) -> MetadataResponse {
    let brokers = vec![broker(1), broker(2)];
    MetadataResponse { brokers, controller_id: BrokerId(2), topics, ..Default::default() }
}

fn apply(cluster: &mut Cluster, topic: MetadataResponseTopic) -> Vec<ClusterChange> {
    cluster.apply(answer(vec![topic]), Asked::ForTopics).unwrap()
}

fn clicks(partition: i32) -> TopicPartition {
    TopicPartition::new("clicks", PartitionIndex(partition))
}

fn leader_of(cluster: &Cluster, partition: i32) -> Option<(i32, i32)> {
    let snapshot = cluster.snapshot();
    snapshot.leader(&clicks(partition)).map(|(broker, epoch)| (broker.id.0, epoch.0))
}

#[test]
fn an_answer_makes_brokers_topics_and_leaders_known() {
    let mut cluster = Cluster::default();
    assert_eq!(cluster.snapshot().generation(), 0);
    let changes = apply(&mut cluster, topic(ID, &[(1, 5), (2, 6), (-1, 7)]));
    assert_eq!(changes, [ClusterChange::TopicAppeared("clicks".into())]);
    let snapshot = cluster.snapshot();
    assert_eq!(snapshot.generation(), 1);
    assert_eq!(snapshot.brokers().count(), 2);
    assert_eq!(snapshot.controller(), Some(BrokerId(2)));
    assert_eq!(snapshot.topic_by_id(ID).unwrap().name, "clicks");
    assert_eq!(leader_of(&cluster, 0), Some((1, 5)));
    assert_eq!(leader_of(&cluster, 2), None, "no leader");
    assert_eq!(leader_of(&cluster, 3), None, "no partition");
}

#[test]
fn an_older_leader_epoch_is_ignored() {
    let mut cluster = Cluster::default();
    apply(&mut cluster, topic(ID, &[(1, 5), (1, 5)]));
    let changes = apply(&mut cluster, topic(ID, &[(2, 4), (2, 6)]));
    assert_eq!(leader_of(&cluster, 0), Some((1, 5)));
    assert_eq!(leader_of(&cluster, 1), Some((2, 6)));
    assert_eq!(
        changes,
        [ClusterChange::LeaderChanged {
            topic_partition: clicks(1),
            leader: Some(BrokerId(2)),
            leader_epoch: LeaderEpoch(6),
        }]
    );
}

#[test]
fn without_epochs_the_last_answer_counts() {
    let mut cluster = Cluster::default();
    apply(&mut cluster, topic(TopicId::ZERO, &[(1, -1)]));
    apply(&mut cluster, topic(TopicId::ZERO, &[(2, -1)]));
    assert_eq!(leader_of(&cluster, 0), Some((2, -1)));
}

#[test]
fn a_topic_unknown_for_the_moment_keeps_what_is_known() {
    let mut cluster = Cluster::default();
    apply(&mut cluster, topic(ID, &[(1, 5)]));
    let error = ErrorCode::UnknownTopicOrPartition;
    let changes = apply(&mut cluster, failed(error));
    assert_eq!(changes, [ClusterChange::TopicFailed { topic: "clicks".into(), error }]);
    let snapshot = cluster.snapshot();
    assert_eq!(snapshot.topic("clicks").unwrap().error, Some(error));
    assert_eq!(snapshot.topic("clicks").unwrap().id, ID);
    assert_eq!(leader_of(&cluster, 0), Some((1, 5)));
    assert_eq!(apply(&mut cluster, topic(ID, &[(1, 5)])), []);
    assert_eq!(cluster.snapshot().topic("clicks").unwrap().error, None);
}

#[test]
fn a_topic_that_was_never_known_has_its_error() {
    let mut cluster = Cluster::default();
    apply(&mut cluster, failed(ErrorCode::TopicAuthorizationFailed));
    let snapshot = cluster.snapshot();
    let topic_told = snapshot.topic("clicks").unwrap();
    assert_eq!(topic_told.error, Some(ErrorCode::TopicAuthorizationFailed));
    assert!(topic_told.partitions.is_empty());
    let changes = apply(&mut cluster, topic(ID, &[(1, 0)]));
    assert_eq!(changes, [ClusterChange::TopicAppeared("clicks".into())]);
}

#[test]
fn a_topic_made_anew_keeps_nothing_of_the_old_one() {
    let mut cluster = Cluster::default();
    apply(&mut cluster, topic(ID, &[(1, 5), (1, 5)]));
    let changes = apply(&mut cluster, topic(OTHER_ID, &[(2, 0)]));
    let recreated =
        ClusterChange::TopicRecreated { topic: "clicks".into(), old: ID, new: OTHER_ID };
    assert_eq!(changes, [recreated]);
    assert_eq!(leader_of(&cluster, 0), Some((2, 0)), "the lower epoch is the new topic's");
    let snapshot = cluster.snapshot();
    assert_eq!(snapshot.topic("clicks").unwrap().partitions.len(), 1);
    assert!(snapshot.topic_by_id(ID).is_none() && snapshot.topic_by_id(OTHER_ID).is_some());
}

#[test]
fn partitions_are_added_and_never_taken_away() {
    let mut cluster = Cluster::default();
    apply(&mut cluster, topic(ID, &[(1, 0)]));
    let changes = apply(&mut cluster, topic(ID, &[(1, 0), (2, 0)]));
    let added = ClusterChange::PartitionsAdded { topic: "clicks".into(), partition_count: 2 };
    assert_eq!(changes, [added]);
    apply(&mut cluster, topic(ID, &[(1, 0)]));
    assert_eq!(leader_of(&cluster, 1), Some((2, 0)), "a broker that is behind");
}

#[test]
fn an_answer_for_all_topics_ends_those_it_leaves_out() {
    let mut cluster = Cluster::default();
    apply(&mut cluster, topic(ID, &[(1, 0)]));
    cluster.apply(answer(Vec::new()), Asked::ForTopics).unwrap();
    assert!(cluster.snapshot().topic("clicks").is_some());
    let changes = cluster.apply(answer(Vec::new()), Asked::ForAll).unwrap();
    assert_eq!(changes, [ClusterChange::TopicGone("clicks".into())]);
    assert!(cluster.snapshot().topic_by_id(ID).is_none());
}

#[test]
fn a_useless_answer_changes_nothing() {
    let mut cluster = Cluster::default();
    apply(&mut cluster, topic(ID, &[(1, 0)]));
    let before = cluster.snapshot();
    let useless = MetadataResponse { brokers: Vec::new(), ..answer(Vec::new()) };
    assert_eq!(cluster.apply(useless, Asked::ForAll), Err(MetadataFault::NoBrokers));
    let strange = MetadataResponseBroker { port: 70_000, ..broker(1) };
    let useless = MetadataResponse { brokers: vec![strange], ..answer(Vec::new()) };
    assert_eq!(cluster.apply(useless, Asked::ForAll), Err(MetadataFault::NoBrokers));
    let error_code = ErrorCode::RebootstrapRequired;
    let refused = MetadataResponse { error_code, ..answer(Vec::new()) };
    let fault = cluster.apply(refused, Asked::ForAll);
    assert_eq!(fault, Err(MetadataFault::Refused(error_code)));
    assert_eq!(cluster.snapshot(), before);
}

#[test]
fn a_hint_counts_only_if_it_is_newer_and_its_broker_known() {
    let mut cluster = Cluster::default();
    apply(&mut cluster, topic(ID, &[(1, 5)]));
    assert_eq!(cluster.apply_leader_hint(&clicks(0), BrokerId(2), LeaderEpoch(5)), None);
    assert_eq!(cluster.apply_leader_hint(&clicks(0), BrokerId(9), LeaderEpoch(6)), None);
    assert_eq!(cluster.apply_leader_hint(&clicks(7), BrokerId(2), LeaderEpoch(6)), None);
    cluster.add_broker(Broker { id: BrokerId(9), host: "nine".into(), port: 1, rack: None });
    assert!(cluster.apply_leader_hint(&clicks(0), BrokerId(9), LeaderEpoch(6)).is_some());
    assert_eq!(leader_of(&cluster, 0), Some((9, 6)));
}

#[test]
fn strange_numbers_from_a_broker_do_no_harm() {
    let mut cluster = Cluster::default();
    let mut strange = topic(ID, &[(1, 0), (1, 0)]);
    strange.partitions[0].partition_index = PartitionIndex(i32::MAX);
    strange.partitions[1].partition_index = PartitionIndex(-7);
    apply(&mut cluster, strange);
    assert_eq!(leader_of(&cluster, i32::MAX), Some((1, 0)));
    assert_eq!(leader_of(&cluster, -7), None);
    assert_eq!(leader_of(&cluster, 0), None);
}

proptest! {
    /// Whatever order answers come in, a partition's epoch never goes back under one topic id.
    #[test]
    fn an_epoch_never_goes_back(
        answers in prop::collection::vec(prop::collection::vec((1_i32..3, 0_i32..6), 1..4), 1..12),
    ) {
        let mut cluster = Cluster::default();
        let mut highest = [-1; 4];
        for leaders in answers {
            apply(&mut cluster, topic(ID, &leaders));
            for (partition, highest) in highest.iter_mut().enumerate() {
                let Some((_, epoch)) = leader_of(&cluster, i32::try_from(partition).unwrap()) else {
                    continue;
                };
                prop_assert!(epoch >= *highest);
                *highest = epoch;
            }
        }
    }
}
