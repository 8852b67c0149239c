//! What the controller grants and refuses, and that a replay gives the same state as a run.

use proptest::prelude::*;

use super::*;

const NODE: BrokerId = BrokerId(1);

fn placement() -> Placement {
    Placement {
        brokers: vec![NODE],
        default_partition_count: 3,
        default_replication_factor: 1,
        partitions_max: 20,
    }
}

fn three_brokers() -> Placement {
    Placement { brokers: vec![BrokerId(1), BrokerId(2), BrokerId(3)], ..placement() }
}

fn new_topic(name: &str) -> NewTopic {
    let mut id = [7; 16];
    for (byte, letter) in id.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    NewTopic {
        id: TopicId(id),
        name: TopicName::new(name),
        partition_count: -1,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}

fn apply<R>(state: &mut ClusterState, decision: Decision<R>) -> R {
    for record in &decision.records {
        state.replay(record).unwrap();
    }
    decision.reply
}

fn state_with(names: &[&str]) -> ClusterState {
    let mut state = ClusterState::default();
    for name in names {
        let decision = decide_create_topic(&state, &new_topic(name), &placement()).unwrap();
        apply(&mut state, decision);
    }
    state
}

fn refused(topic: &NewTopic) -> ErrorCode {
    decide_create_topic(&state_with(&["taken", "with.dot"]), topic, &placement()).unwrap_err().error
}

#[test]
fn a_decision_alone_changes_nothing() {
    let state = state_with(&["a"]);
    let before = state.clone();
    let _ = decide_create_topic(&state, &new_topic("b"), &placement()).unwrap();
    let _ = decide_reserve_producer_ids(&state, PRODUCER_ID_BLOCK).unwrap();
    assert_eq!(state, before);
}

#[test]
fn a_topic_gets_the_default_partitions_and_is_found_by_name_and_id() {
    let state = state_with(&["clicks"]);
    let topic = state.topic("clicks").unwrap();
    assert_eq!(topic.partition_count(), 3);
    assert_eq!(topic.partitions[2].leader, NODE);
    assert_eq!(topic.partitions[2].in_sync, [NODE]);
    assert_eq!(state.topic_by_id(topic.id).unwrap().name, topic.name);
    assert!(topic.partition(PartitionIndex(3)).is_none());
    assert!(topic.partition(PartitionIndex(-1)).is_none());
}

#[test]
fn a_topic_that_cannot_be_is_refused_with_kafkas_code() {
    let with = |change: &dyn Fn(&mut NewTopic)| {
        let mut topic = new_topic("good");
        change(&mut topic);
        refused(&topic)
    };
    assert_eq!(refused(&new_topic("taken")), ErrorCode::TopicAlreadyExists);
    assert_eq!(refused(&new_topic("..")), ErrorCode::InvalidTopicException);
    assert_eq!(refused(&new_topic("a b")), ErrorCode::InvalidTopicException);
    assert_eq!(refused(&new_topic("__cluster_metadata")), ErrorCode::InvalidRequest);
    assert_eq!(refused(&new_topic("with_dot")), ErrorCode::InvalidTopicException);
    assert_eq!(with(&|topic| topic.partition_count = 0), ErrorCode::InvalidPartitions);
    assert_eq!(with(&|topic| topic.partition_count = 15), ErrorCode::PolicyViolation);
    assert_eq!(with(&|topic| topic.partition_count = i32::MAX), ErrorCode::PolicyViolation);
    assert_eq!(with(&|topic| topic.replication_factor = 3), ErrorCode::InvalidReplicationFactor);
    assert_eq!(with(&|topic| topic.replication_factor = 0), ErrorCode::InvalidReplicationFactor);
    let config = |name: &str, value: Option<&str>| {
        with(&|topic| topic.configs = vec![(name.to_owned(), value.map(str::to_owned))])
    };
    assert_eq!(config("retention.mss", Some("1")), ErrorCode::InvalidConfig);
    assert_eq!(config("retention.ms", Some("x")), ErrorCode::InvalidConfig);
    assert_eq!(config("retention.ms", None), ErrorCode::InvalidConfig);
}

#[test]
fn replicas_by_hand_are_numbered_known_and_even() {
    let try_hand = |assignments: &[(i32, &[i32])]| {
        let mut topic = new_topic("hand");
        let broker_ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
        topic.assignments = assignments
            .iter()
            .map(|&(index, ids)| (PartitionIndex(index), broker_ids(ids)))
            .collect();
        decide_create_topic(&ClusterState::default(), &topic, &three_brokers())
            .map(|decision| decision.reply.assignments)
            .map_err(|refusal| refusal.error)
    };
    let invalid = Err(ErrorCode::InvalidReplicaAssignment);
    assert_eq!(try_hand(&[(0, &[2, 1]), (1, &[3, 2])]).unwrap()[1], [BrokerId(3), BrokerId(2)]);
    assert_eq!(try_hand(&[(0, &[1]), (2, &[1])]), invalid);
    assert_eq!(try_hand(&[(0, &[1]), (0, &[1])]), invalid);
    assert_eq!(try_hand(&[(0, &[1]), (1, &[1, 2])]), invalid);
    assert_eq!(try_hand(&[(0, &[9])]), invalid);
    assert_eq!(try_hand(&[(0, &[1, 1])]), invalid);
    assert_eq!(try_hand(&[(0, &[])]), invalid);
    let mut both = new_topic("both");
    both.assignments = vec![(PartitionIndex(0), vec![NODE])];
    both.partition_count = 1;
    assert_eq!(refused(&both), ErrorCode::InvalidRequest);
}

#[test]
fn leaders_take_turns_over_the_brokers() {
    let mut topic = new_topic("spread");
    (topic.partition_count, topic.replication_factor) = (6, 2);
    let decision = decide_create_topic(&ClusterState::default(), &topic, &three_brokers()).unwrap();
    let leaders: Vec<_> = decision.reply.assignments.iter().map(|own| own[0].0).collect();
    assert_eq!(leaders, [1, 2, 3, 1, 2, 3]);
    assert!(decision.reply.assignments.iter().all(|own| own[0] != own[1]));
}

#[test]
fn partitions_are_only_ever_added() {
    let mut state = state_with(&["grows"]);
    let wish = |partition_count, assignments| NewPartitions {
        topic: TopicName::new("grows"),
        partition_count,
        assignments,
    };
    let error = |wish| decide_add_partitions(&state, &wish, &placement()).unwrap_err().error;
    assert_eq!(error(wish(3, None)), ErrorCode::InvalidPartitions);
    assert_eq!(error(wish(2, None)), ErrorCode::InvalidPartitions);
    assert_eq!(error(wish(i32::MIN, None)), ErrorCode::InvalidPartitions);
    assert_eq!(error(wish(i32::MAX, None)), ErrorCode::PolicyViolation);
    assert_eq!(error(wish(5, Some(vec![vec![NODE]]))), ErrorCode::InvalidReplicaAssignment);
    let decision = decide_add_partitions(&state, &wish(5, None), &placement()).unwrap();
    apply(&mut state, decision);
    assert_eq!(state.topic("grows").unwrap().partition_count(), 5);
    assert_eq!(state.partition_count(), 5);
}

#[test]
fn failures_16_a_topic_deleted_and_created_again_is_another_topic() {
    let mut state = state_with(&["again"]);
    let first = state.topic("again").unwrap().clone();
    apply(&mut state, decide_delete_topic(&first));
    assert!(state.topic("again").is_none());
    assert!(state.topic_by_id(first.id).is_none());
    assert_eq!(state.partition_count(), 0);
    let reused_id = MetadataRecord::TopicDeleted { topic_id: first.id };
    assert!(state.replay(&reused_id).is_err());
    let again = NewTopic { id: TopicId([9; 16]), ..new_topic("again") };
    let decision = decide_create_topic(&state, &again, &placement()).unwrap();
    apply(&mut state, decision);
    assert_ne!(state.topic("again").unwrap().id, first.id);
}

#[test]
fn producer_ids_are_never_reserved_twice() {
    let mut state = ClusterState::default();
    let mut firsts = Vec::new();
    for _ in 0..5 {
        let decision = decide_reserve_producer_ids(&state, PRODUCER_ID_BLOCK).unwrap();
        firsts.push(apply(&mut state, decision));
    }
    assert_eq!(firsts, [0, 1000, 2000, 3000, 4000]);
    assert!(state.replay(&MetadataRecord::ProducerIdsReserved { next: 4999 }).is_err());
}

#[test]
fn a_start_founds_once_and_raises_leader_epochs() {
    let mut state = ClusterState::default();
    let decision = decide_found_cluster(&state, "id-1", NODE);
    assert_eq!(decision.records.len(), 1);
    apply(&mut state, decision);
    let decision = decide_create_topic(&state, &new_topic("t"), &placement()).unwrap();
    apply(&mut state, decision);
    let decision = decide_found_cluster(&state, "id-2", NODE);
    apply(&mut state, decision);
    assert_eq!(state.cluster_id(), "id-1");
    assert_eq!(state.topic("t").unwrap().partitions[0].leader_epoch.0, 1);
}

fn alteration(name: &str, operation: AlterOperation, value: Option<&str>) -> ConfigAlteration {
    ConfigAlteration { name: name.to_owned(), operation, value: value.map(str::to_owned) }
}

#[test]
fn settings_are_set_deleted_and_their_lists_edited() {
    let mut state = state_with(&["t"]);
    let broker = BrokerConfigs::default();
    let mut alter = |changes: &[ConfigAlteration]| {
        let topic = state.topic("t").unwrap().clone();
        let decision = decide_alter_topic_configs(&topic, &broker, changes)?;
        apply(&mut state, decision);
        Ok::<_, Refusal>(state.topic("t").unwrap().configs.clone())
    };
    let configs = alter(&[
        alteration("retention.ms", AlterOperation::Set, Some("5")),
        alteration("cleanup.policy", AlterOperation::Append, Some("compact")),
    ])
    .unwrap();
    assert_eq!(configs["retention.ms"], "5");
    assert_eq!(configs["cleanup.policy"], "delete,compact");
    let configs = alter(&[
        alteration("retention.ms", AlterOperation::Delete, None),
        alteration("cleanup.policy", AlterOperation::Subtract, Some("delete")),
    ])
    .unwrap();
    assert!(!configs.contains_key("retention.ms"));
    assert_eq!(configs["cleanup.policy"], "compact");
    let mut error = |change| alter(&[change]).unwrap_err().error;
    let invalid = ErrorCode::InvalidConfig;
    assert_eq!(error(alteration("nope", AlterOperation::Delete, None)), invalid);
    assert_eq!(error(alteration("retention.ms", AlterOperation::Set, None)), invalid);
    assert_eq!(error(alteration("retention.ms", AlterOperation::Append, Some("1"))), invalid);
    assert_eq!(
        error(alteration("cleanup.policy", AlterOperation::Subtract, Some("compact"))),
        invalid
    );
}

#[test]
fn broker_settings_change_while_running_only_where_they_can() {
    let broker = BrokerConfigs::default();
    let alter = |change| decide_alter_broker_configs(&broker, BrokerScope::One, &[change]);
    let set = |name, value| alteration(name, AlterOperation::Set, Some(value));
    assert_eq!(alter(set("message.max.bytes", "2000000")).unwrap().records.len(), 1);
    assert_eq!(alter(set("num.partitions", "4")).unwrap_err().error, ErrorCode::InvalidRequest);
    assert_eq!(alter(set("nonsense", "4")).unwrap_err().error, ErrorCode::InvalidConfig);
    assert_eq!(alter(set("message.max.bytes", "-4")).unwrap_err().error, ErrorCode::InvalidConfig);
    for name in ["message.max.bytes", "log.retention.ms", "log.cleanup.policy"] {
        let deleted = alter(alteration(name, AlterOperation::Delete, Some("")));
        assert!(deleted.is_ok(), "{name}, which isn't set: {deleted:?}");
    }
    let deleted = alter(alteration("num.partitions", AlterOperation::Delete, None));
    assert_eq!(deleted.unwrap_err().error, ErrorCode::InvalidRequest);
    let deleted = alter(alteration("nonsense", AlterOperation::Delete, None));
    assert_eq!(deleted.unwrap_err().error, ErrorCode::InvalidConfig);
}

#[test]
fn settings_of_all_brokers_and_of_one_are_set_and_deleted_apart_and_outlive_a_snapshot() {
    let mut state = ClusterState::default();
    let mut alter = |scope, operation, value| {
        let change = alteration("log.cleanup.policy", operation, value);
        let broker = BrokerConfigs {
            dynamic: state.broker_configs().clone(),
            dynamic_default: state.cluster_configs().clone(),
            ..BrokerConfigs::default()
        };
        apply(&mut state, decide_alter_broker_configs(&broker, scope, &[change]).unwrap());
        let mut compacted = ClusterState::default();
        for record in state.snapshot() {
            compacted.replay(&record).unwrap();
        }
        let one =
            |configs: &BTreeMap<String, String>| configs.values().cloned().collect::<String>();
        (one(compacted.broker_configs()), one(compacted.cluster_configs()))
    };
    let is = |one: &str, all: &str| (one.to_owned(), all.to_owned());
    let (one, all) = (BrokerScope::One, BrokerScope::All);
    use AlterOperation::{Append, Delete, Set};
    assert_eq!(alter(one, Set, Some("compact")), is("compact", ""));
    assert_eq!(alter(all, Delete, None), is("compact", ""));
    assert_eq!(alter(all, Append, Some("compact")), is("compact", "delete,compact"));
    assert_eq!(alter(one, Delete, None), is("", "delete,compact"));
    assert_eq!(alter(one, Append, Some("delete")), is("delete,compact", "delete,compact"));
    assert_eq!(alter(all, Delete, None), is("delete,compact", ""));
}

/// One step of a run: a number picks the topic, another what is done to it.
fn step(state: &mut ClusterState, (what, which, seed): (u8, u8, u8)) -> Vec<MetadataRecord> {
    let name = format!("topic-{}", which % 4);
    let records = match what % 5 {
        0 => {
            let topic = NewTopic { id: TopicId([seed; 16]), ..new_topic(&name) };
            let is_new = state.topic_by_id(topic.id).is_none();
            decide_create_topic(state, &topic, &placement())
                .ok()
                .filter(|_| is_new)
                .map(|decision| decision.records)
        }
        1 => state.topic(&name).map(|topic| decide_delete_topic(topic).records),
        2 => {
            let wish = NewPartitions {
                topic: TopicName::new(name),
                partition_count: i32::from(seed % 8),
                assignments: None,
            };
            decide_add_partitions(state, &wish, &placement()).ok().map(|decision| decision.records)
        }
        3 => decide_reserve_producer_ids(state, PRODUCER_ID_BLOCK)
            .ok()
            .map(|decision| decision.records),
        _ => Some(decide_found_cluster(state, "cluster", NODE).records),
    };
    let records = records.unwrap_or_default();
    for record in &records {
        state.replay(record).unwrap();
    }
    records
}

proptest! {
    #[test]
    fn a_restart_from_the_log_or_from_a_snapshot_gives_the_same_state(
        steps in proptest::collection::vec(any::<(u8, u8, u8)>(), 1..60),
    ) {
        let mut run = ClusterState::default();
        let log: Vec<_> = steps.into_iter().flat_map(|seed| step(&mut run, seed)).collect();
        let replayed = |records: &[MetadataRecord]| {
            let mut state = ClusterState::default();
            for record in records {
                state.replay(record).unwrap();
            }
            state
        };
        prop_assert_eq!(&replayed(&log), &run);
        let compacted = replayed(&run.snapshot());
        prop_assert_eq!(compacted.next_producer_id(), run.next_producer_id());
        prop_assert_eq!(compacted.cluster_id(), run.cluster_id());
        prop_assert_eq!(compacted.partition_count(), run.partition_count());
        for (topic, same) in run.topics().zip(compacted.topics()) {
            prop_assert_eq!((topic.id, &topic.name), (same.id, &same.name));
            prop_assert_eq!(&topic.configs, &same.configs);
            for (own, carried) in topic.partitions.iter().zip(&same.partitions) {
                prop_assert!(carried.leader_epoch >= own.leader_epoch);
                prop_assert_eq!(&own.replicas, &carried.replicas);
            }
        }
    }
}
