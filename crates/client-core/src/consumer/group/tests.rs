//! A member against a coordinator's answers: the exact effects, both protocols.

use std::sync::Arc;
use std::time::{Duration, Instant};

use streamledger_protocol::messages::consumer_group_heartbeat::{Assignment, TopicPartitions};
use streamledger_protocol::messages::join_group::JoinGroupResponseMember;
use streamledger_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use streamledger_protocol::{
    BrokerId, ErrorCode, PartitionIndex, TopicId, TopicName, TopicPartition,
};

use super::*;
use crate::partitioner::SeededRandom;
use crate::sender::Backoff;

const POLL_LIMIT: Duration = Duration::from_secs(300);
const BEAT: Duration = Duration::from_secs(3);
const TOPIC: TopicId = TopicId([7; 16]);

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("clicks", PartitionIndex(partition))
}

fn partitions(numbers: &[i32]) -> Vec<TopicPartition> {
    numbers.iter().map(|number| at(*number)).collect()
}

fn wanted(names: &[&str]) -> Subscription {
    Subscription::Topics(names.iter().map(|name| TopicName::from(*name)).collect())
}

fn known(partition_count: i32) -> KnownTopics {
    [("clicks".into(), KnownTopic { id: TOPIC, partition_count, racks: Vec::new() })].into()
}

struct Driven {
    state: GroupState,
    now: Instant,
}

impl Driven {
    fn new(protocol: GroupProtocol, instance_id: Option<&str>) -> Self {
        let config = GroupConfig {
            group_id: "readers".into(),
            instance_id: instance_id.map(str::to_owned),
            protocol,
            max_poll_interval: POLL_LIMIT,
            rack: None,
            retry_backoff: Backoff {
                first: Duration::from_millis(100),
                max: Duration::from_secs(1),
            },
        };
        let state = GroupState::new(config, Arc::new(SeededRandom::new(3)));
        Self { state, now: crate::test_clock::some_moment() }
    }

    fn classic(assignors: &[Assignor]) -> Self {
        Self::new(
            GroupProtocol::Classic {
                assignors: assignors.to_vec(),
                session_timeout: Duration::from_secs(45),
                heartbeat_interval: BEAT,
            },
            None,
        )
    }

    fn next_generation() -> Self {
        let member_id = "me".to_owned();
        Self::new(GroupProtocol::Consumer { remote_assignor: None, member_id }, None)
    }

    fn effects(&mut self) -> Vec<GroupEffect> {
        std::iter::from_fn(|| self.state.poll(self.now)).collect()
    }

    fn handle(&mut self, event: GroupEvent) -> Vec<GroupEffect> {
        self.state.handle(self.now, event);
        self.effects()
    }

    fn after(&mut self, wait: Duration) -> Vec<GroupEffect> {
        self.now += wait;
        self.effects()
    }

    /// Subscribes, and finds the coordinator.
    fn begin(&mut self) -> (AskId, GroupQuestion) {
        self.handle(GroupEvent::Topics(known(4)));
        let effects = self.handle(GroupEvent::Subscribe(wanted(&["clicks"])));
        let [GroupEffect::FindCoordinator(id)] = effects[..] else { panic!("{effects:?}") };
        one_ask(&self.handle(GroupEvent::CoordinatorFound(id, Ok(BrokerId(5)))))
    }

    fn answer(&mut self, id: AskId, answer: GroupAnswer) -> Vec<GroupEffect> {
        self.handle(GroupEvent::Answered(id, answer))
    }

    fn heartbeat(&mut self, error_code: ErrorCode) -> Vec<GroupEffect> {
        let (id, question) = one_ask(&self.after(BEAT));
        assert_eq!(question.api(), GroupApi::Heartbeat);
        let response = HeartbeatResponse { error_code, ..Default::default() };
        self.answer(id, GroupAnswer::Heartbeat(response))
    }

    /// Joins as one that others assign to, and gets these.
    fn follow(&mut self, id: AskId, assignor: Assignor, numbers: &[i32]) -> Vec<GroupEffect> {
        let (id, _) = one_ask(&self.answer(id, joined(assignor, "other", 1)));
        let partitions = partitions(numbers);
        let assignment = MemberAssignment { partitions, user_data: None }.encode();
        let response = SyncGroupResponse { assignment, ..Default::default() };
        self.answer(id, GroupAnswer::Sync(response))
    }

    fn done(&mut self, id: StepId) -> Vec<GroupEffect> {
        self.handle(GroupEvent::StepDone(id))
    }

    /// A member of the classic protocol that has partitions 0 and 1.
    fn settled(assignors: &[Assignor]) -> Self {
        let mut driven = Self::classic(assignors);
        let (id, _) = driven.begin();
        let effects = driven.follow(id, assignors[0], &[0, 1]);
        let (step, taken) = one_step(&effects);
        assert_eq!(taken, Step::Assign(partitions(&[0, 1])));
        assert_eq!(driven.done(step), []);
        driven
    }

    /// A member of the next generation that has partitions 0 and 1.
    fn settled_next() -> Self {
        let mut driven = Self::next_generation();
        let (id, _) = driven.begin();
        let effects = driven.answer(id, told(3, Some(&[0, 1])));
        let (step, taken) = one_step(&effects);
        assert_eq!(taken, Step::Assign(partitions(&[0, 1])));
        let (id, question) = one_ask(&driven.done(step));
        let owned = beat(&question).topic_partitions.clone().unwrap();
        assert_eq!(owned[0].partitions, [PartitionIndex(0), PartitionIndex(1)]);
        assert_eq!(driven.answer(id, told(3, None)), []);
        driven
    }
}

fn one_ask(effects: &[GroupEffect]) -> (AskId, GroupQuestion) {
    let [GroupEffect::Ask { id, broker: BrokerId(5), question, .. }] = effects else {
        panic!("{effects:?}")
    };
    (*id, question.clone())
}

fn one_step(effects: &[GroupEffect]) -> (StepId, Step) {
    let [GroupEffect::Step(id, step)] = effects else { panic!("{effects:?}") };
    (*id, step.clone())
}

fn join(question: &GroupQuestion) -> &JoinGroupRequest {
    let GroupQuestion::Join(request) = question else { panic!("{question:?}") };
    request
}

fn sync(question: &GroupQuestion) -> &SyncGroupRequest {
    let GroupQuestion::Sync(request) = question else { panic!("{question:?}") };
    request
}

fn beat(question: &GroupQuestion) -> &ConsumerGroupHeartbeatRequest {
    let GroupQuestion::ConsumerHeartbeat(request) = question else { panic!("{question:?}") };
    request
}

fn joined(assignor: Assignor, leader: &str, generation_id: i32) -> GroupAnswer {
    GroupAnswer::Join(JoinGroupResponse {
        generation_id,
        protocol_name: Some(assignor.name().to_owned()),
        leader: leader.to_owned(),
        member_id: "me".to_owned(),
        ..Default::default()
    })
}

fn join_error(error_code: ErrorCode) -> GroupAnswer {
    let member_id = "me".to_owned();
    GroupAnswer::Join(JoinGroupResponse { error_code, member_id, ..Default::default() })
}

fn told(member_epoch: i32, assigned: Option<&[i32]>) -> GroupAnswer {
    let assignment = assigned.map(|numbers| {
        let partitions = numbers.iter().map(|number| PartitionIndex(*number)).collect();
        Assignment { topic_partitions: vec![TopicPartitions { topic_id: TOPIC, partitions }] }
    });
    GroupAnswer::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse {
        member_epoch,
        heartbeat_interval_ms: 3000,
        assignment,
        ..Default::default()
    })
}

fn refused(error_code: ErrorCode) -> GroupAnswer {
    let response = ConsumerGroupHeartbeatResponse { error_code, ..Default::default() };
    GroupAnswer::ConsumerHeartbeat(response)
}

#[test]
fn a_member_asks_for_its_name_first_then_joins_and_takes_its_share() {
    let mut driven = Driven::classic(&[Assignor::Range, Assignor::CooperativeSticky]);
    let (id, question) = driven.begin();
    let names: Vec<&str> = join(&question).protocols.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["range", "cooperative-sticky"]);
    assert_eq!(join(&question).member_id, "");
    let (id, question) = one_ask(&driven.answer(id, join_error(ErrorCode::MemberIdRequired)));
    assert_eq!(join(&question).member_id, "me");
    let (step, taken) = one_step(&driven.follow(id, Assignor::Range, &[0, 1]));
    assert_eq!(taken, Step::Assign(partitions(&[0, 1])));
    assert_eq!(driven.done(step), []);
    let metadata = driven.state.metadata();
    assert_eq!((metadata.generation_id, metadata.member_id.as_str()), (1, "me"));
    assert_eq!(driven.heartbeat(ErrorCode::None), []);
}

#[test]
fn the_leader_learns_of_all_topics_and_assigns() {
    let mut driven = Driven::classic(&[Assignor::Range]);
    let (id, question) = driven.begin();
    let own = join(&question).protocols[0].metadata.clone();
    let other = MemberSubscription {
        topics: vec!["clicks".into(), "views".into()],
        ..MemberSubscription::default()
    };
    let member = |id: &str, metadata| JoinGroupResponseMember {
        member_id: id.to_owned(),
        metadata,
        ..Default::default()
    };
    let GroupAnswer::Join(mut response) = joined(Assignor::Range, "me", 1) else { panic!() };
    response.members = vec![member("me", own), member("you", other.encode())];
    let effects = driven.answer(id, GroupAnswer::Join(response));
    let all = ["clicks".into(), "views".into()].into();
    assert_eq!(effects, [GroupEffect::LookUpTopics(all)]);
    let (_, question) = one_ask(&driven.handle(GroupEvent::LookedUp(known(4))));
    let assigned: Vec<_> = sync(&question)
        .assignments
        .iter()
        .map(|each| {
            let own = MemberAssignment::decode(each.assignment.clone()).unwrap();
            (each.member_id.as_str(), own.partitions)
        })
        .collect();
    assert_eq!(assigned, [("me", partitions(&[0, 1])), ("you", partitions(&[2, 3]))]);
}

#[test]
fn eagerly_all_is_given_up_before_it_joins_again() {
    let mut driven = Driven::settled(&[Assignor::Range]);
    let (step, taken) = one_step(&driven.heartbeat(ErrorCode::RebalanceInProgress));
    assert_eq!(taken, Step::Revoke(partitions(&[0, 1])));
    assert!(driven.state.waits_for_the_reader());
    // The reader is slow: it stays alive meanwhile, and nothing more is asked.
    assert_eq!(driven.heartbeat(ErrorCode::RebalanceInProgress), []);
    let (_, question) = one_ask(&driven.done(step));
    let metadata = join(&question).protocols[0].metadata.clone();
    let subscription = MemberSubscription::decode(metadata).unwrap();
    assert_eq!((subscription.owned.len(), subscription.generation), (0, 1));
    assert_eq!(join(&question).member_id, "me");
}

#[test]
fn cooperatively_only_what_goes_to_others_is_given_up_and_it_joins_once_more() {
    let mut driven = Driven::settled(&[Assignor::CooperativeSticky]);
    let effects = driven.heartbeat(ErrorCode::RebalanceInProgress);
    let (id, question) = one_ask(&effects);
    let subscription =
        MemberSubscription::decode(join(&question).protocols[0].metadata.clone()).unwrap();
    assert_eq!(subscription.owned, partitions(&[0, 1]));
    let (step, taken) = one_step(&driven.follow(id, Assignor::CooperativeSticky, &[0, 2]));
    assert_eq!(taken, Step::Revoke(partitions(&[1])));
    let (step, taken) = one_step(&driven.done(step));
    assert_eq!(taken, Step::Assign(partitions(&[2])));
    let (_, question) = one_ask(&driven.done(step));
    let subscription =
        MemberSubscription::decode(join(&question).protocols[0].metadata.clone()).unwrap();
    assert_eq!(subscription.owned, partitions(&[0, 2]));
}

#[test]
fn one_that_the_coordinator_does_not_know_has_lost_its_partitions() {
    for (error, id_after) in
        [(ErrorCode::UnknownMemberId, ""), (ErrorCode::IllegalGeneration, "me")]
    {
        let mut driven = Driven::settled(&[Assignor::Range]);
        let (step, taken) = one_step(&driven.heartbeat(error));
        assert_eq!(taken, Step::Lose(partitions(&[0, 1])));
        assert_eq!(driven.state.metadata().generation_id, -1, "and can commit nothing");
        let (_, question) = one_ask(&driven.done(step));
        assert_eq!(join(&question).member_id, id_after);
    }
}

#[test]
fn one_that_nobody_polls_leaves_and_comes_back_when_somebody_does() {
    let mut driven = Driven::settled(&[Assignor::Range]);
    let begun = driven.now;
    let mut effects = Vec::new();
    for _ in 0..200 {
        effects = driven.effects();
        match effects.first() {
            None => driven.now = driven.state.next_wakeup().expect("it comes back by itself"),
            Some(GroupEffect::Ask { id, question: GroupQuestion::Heartbeat(_), .. }) => {
                let response = HeartbeatResponse::default();
                driven.state.handle(
                    driven.now,
                    GroupEvent::Answered(*id, GroupAnswer::Heartbeat(response)),
                );
            }
            Some(_) => break,
        }
    }
    assert_eq!(driven.now, begun + POLL_LIMIT);
    let [GroupEffect::Step(step, lost), GroupEffect::Ask { id, question, .. }] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!(*lost, Step::Lose(partitions(&[0, 1])));
    assert_eq!(question.api(), GroupApi::Leave);
    let (step, left) = (*step, GroupAnswer::Leave(LeaveGroupResponse::default()));
    assert_eq!(driven.answer(*id, left), []);
    driven.handle(GroupEvent::Polled);
    let (_, question) = one_ask(&driven.done(step));
    assert_eq!(join(&question).member_id, "");
}

#[test]
fn a_coordinator_that_moves_or_hangs_up_is_looked_for_and_nothing_is_lost() {
    let mut driven = Driven::settled(&[Assignor::Range]);
    assert_eq!(driven.heartbeat(ErrorCode::NotCoordinator), []);
    let effects = driven.after(Duration::from_millis(150));
    let [GroupEffect::FindCoordinator(id)] = effects[..] else { panic!("{effects:?}") };
    let found = GroupEvent::CoordinatorFound(id, Ok(BrokerId(5)));
    let (id, question) = one_ask(&driven.handle(found));
    assert_eq!(question.api(), GroupApi::Heartbeat);
    assert_eq!(driven.handle(GroupEvent::AskFailed(id)), []);
    let effects = driven.after(Duration::from_millis(150));
    assert!(matches!(effects[..], [GroupEffect::FindCoordinator(_)]), "{effects:?}");
    assert_eq!(driven.state.metadata().generation_id, 1);
}

#[test]
fn a_refusal_is_told_and_ends_it_until_the_next_subscription() {
    let mut driven = Driven::classic(&[Assignor::Range]);
    let (id, _) = driven.begin();
    let effects = driven.answer(id, join_error(ErrorCode::GroupAuthorizationFailed));
    let code = ErrorCode::GroupAuthorizationFailed;
    assert_eq!(effects, [GroupEffect::Tell(GroupTrouble::Refused { code, message: None })]);
    assert_eq!(driven.after(Duration::from_secs(600)), []);
    let effects = driven.handle(GroupEvent::Subscribe(wanted(&["clicks"])));
    assert_eq!(join(&one_ask(&effects).1).member_id, "");
}

#[test]
fn it_leaves_when_told_but_a_static_member_only_stays_away() {
    let mut driven = Driven::settled(&[Assignor::Range]);
    let (id, question) = one_ask(&driven.handle(GroupEvent::Leave));
    let GroupQuestion::Leave(request) = question else { panic!("{question:?}") };
    assert_eq!(request.members[0].member_id, "me");
    let left = GroupAnswer::Leave(LeaveGroupResponse::default());
    assert_eq!(driven.answer(id, left), [GroupEffect::Left]);

    let protocol = driven.state.config.protocol.clone();
    let mut driven = Driven::new(protocol, Some("kitchen"));
    let (id, question) = driven.begin();
    assert_eq!(join(&question).group_instance_id.as_deref(), Some("kitchen"));
    let (step, _) = one_step(&driven.follow(id, Assignor::Range, &[0]));
    driven.done(step);
    assert_eq!(driven.handle(GroupEvent::Leave), [GroupEffect::Left]);
}

#[test]
fn a_changed_subscription_and_new_partitions_lead_to_a_new_join() {
    let mut driven = Driven::settled(&[Assignor::Range]);
    let effects = driven.handle(GroupEvent::Subscribe(wanted(&["clicks", "views"])));
    assert_eq!(one_step(&effects).1, Step::Revoke(partitions(&[0, 1])));

    let mut driven = Driven::classic(&[Assignor::CooperativeSticky]);
    let (id, question) = driven.begin();
    let metadata = join(&question).protocols[0].metadata.clone();
    let GroupAnswer::Join(mut response) = joined(Assignor::CooperativeSticky, "me", 1) else {
        panic!()
    };
    let member_id = "me".to_owned();
    response.members = vec![JoinGroupResponseMember { member_id, metadata, ..Default::default() }];
    driven.answer(id, GroupAnswer::Join(response));
    let (id, question) = one_ask(&driven.handle(GroupEvent::LookedUp(known(4))));
    let assignment = sync(&question).assignments[0].assignment.clone();
    let response = SyncGroupResponse { assignment, ..Default::default() };
    let (step, _) = one_step(&driven.answer(id, GroupAnswer::Sync(response)));
    assert_eq!(driven.done(step), []);
    assert_eq!(driven.handle(GroupEvent::Topics(known(4))), []);
    let (_, question) = one_ask(&driven.handle(GroupEvent::Topics(known(6))));
    assert_eq!(join(&question).reason.as_deref(), Some("the topics have changed"));
}

#[test]
fn a_group_that_rebalances_again_before_the_sync_is_joined_again() {
    let mut driven = Driven::classic(&[Assignor::Range]);
    let (id, _) = driven.begin();
    let (id, _) = one_ask(&driven.answer(id, joined(Assignor::Range, "other", 1)));
    let error_code = ErrorCode::RebalanceInProgress;
    let response = SyncGroupResponse { error_code, ..Default::default() };
    let (_, question) = one_ask(&driven.answer(id, GroupAnswer::Sync(response)));
    assert_eq!(join(&question).member_id, "me");
}

#[test]
fn the_next_generation_tells_all_once_and_then_only_what_is_new() {
    let mut driven = Driven::next_generation();
    let (id, question) = driven.begin();
    let request = beat(&question);
    assert_eq!((request.member_id.as_str(), request.member_epoch), ("me", 0));
    assert_eq!(request.subscribed_topic_names, Some(vec!["clicks".into()]));
    assert_eq!((request.rebalance_timeout_ms, &request.topic_partitions), (300_000, &Some(vec![])));
    let (step, taken) = one_step(&driven.answer(id, told(3, Some(&[0, 1]))));
    assert_eq!(taken, Step::Assign(partitions(&[0, 1])));
    let (id, _) = one_ask(&driven.done(step));
    assert_eq!(driven.answer(id, told(3, None)), []);
    let (_, question) = one_ask(&driven.after(BEAT));
    let request = beat(&question);
    assert_eq!((request.member_epoch, request.rebalance_timeout_ms), (3, -1));
    assert_eq!((&request.subscribed_topic_names, &request.topic_partitions), (&None, &None));
    assert_eq!(driven.state.metadata().generation_id, 3);
}

#[test]
fn the_next_generation_gives_up_first_and_then_says_so() {
    let mut driven = Driven::settled_next();
    let (id, _) = one_ask(&driven.after(BEAT));
    let (step, taken) = one_step(&driven.answer(id, told(4, Some(&[1, 2]))));
    assert_eq!(taken, Step::Revoke(partitions(&[0])));
    let (step, taken) = one_step(&driven.done(step));
    assert_eq!(taken, Step::Assign(partitions(&[2])));
    // A heartbeat in between doesn't count as having said it.
    let (id, question) = one_ask(&driven.after(BEAT));
    assert_eq!(beat(&question).topic_partitions, None);
    assert_eq!(driven.done(step), []);
    let (_, question) = one_ask(&driven.answer(id, told(4, None)));
    let owned = beat(&question).topic_partitions.clone().unwrap();
    assert_eq!(owned[0].partitions, [PartitionIndex(1), PartitionIndex(2)]);
}

#[test]
fn a_fenced_member_of_the_next_generation_begins_anew() {
    for error in [ErrorCode::FencedMemberEpoch, ErrorCode::UnknownMemberId] {
        let mut driven = Driven::settled_next();
        let (id, _) = one_ask(&driven.after(BEAT));
        let (step, taken) = one_step(&driven.answer(id, refused(error)));
        assert_eq!(taken, Step::Lose(partitions(&[0, 1])));
        let (_, question) = one_ask(&driven.done(step));
        let request = beat(&question);
        assert_eq!((request.member_id.as_str(), request.member_epoch), ("me", 0));
        assert_eq!(request.topic_partitions, Some(vec![]));
    }
}

#[test]
fn after_a_lost_answer_all_is_told_again() {
    let mut driven = Driven::settled_next();
    let (id, _) = one_ask(&driven.after(BEAT));
    driven.handle(GroupEvent::AskFailed(id));
    let effects = driven.after(Duration::from_millis(150));
    let [GroupEffect::FindCoordinator(id)] = effects[..] else { panic!("{effects:?}") };
    let found = GroupEvent::CoordinatorFound(id, Ok(BrokerId(5)));
    let (_, question) = one_ask(&driven.handle(found));
    let request = beat(&question);
    assert_eq!((request.member_epoch, request.rebalance_timeout_ms), (3, 300_000));
    assert_eq!(request.topic_partitions.as_ref().unwrap()[0].partitions.len(), 2);
}

#[test]
fn topics_known_by_their_ids_alone_are_named_first() {
    let mut driven = Driven::next_generation();
    let pattern = Subscription::ServerPattern("cl.*".to_owned());
    let effects = driven.handle(GroupEvent::Subscribe(pattern));
    let [GroupEffect::FindCoordinator(id)] = effects[..] else { panic!("{effects:?}") };
    let found = GroupEvent::CoordinatorFound(id, Ok(BrokerId(5)));
    let (id, question) = one_ask(&driven.handle(found));
    assert_eq!(beat(&question).subscribed_topic_regex.as_deref(), Some("cl.*"));
    let effects = driven.answer(id, told(3, Some(&[0])));
    assert_eq!(effects, [GroupEffect::NameTopics(vec![TOPIC])]);
    let effects = driven.handle(GroupEvent::Named(vec![(TOPIC, "clicks".into())]));
    assert_eq!(one_step(&effects).1, Step::Assign(partitions(&[0])));
}

#[test]
fn the_next_generation_leaves_with_an_epoch_of_its_own() {
    let mut driven = Driven::settled_next();
    let (id, question) = one_ask(&driven.handle(GroupEvent::Leave));
    assert_eq!(beat(&question).member_epoch, -1);
    assert_eq!(driven.answer(id, told(-1, None)), [GroupEffect::Left]);
    let mut driven = Driven::settled_next();
    driven.state.config.instance_id = Some("kitchen".to_owned());
    let (_, question) = one_ask(&driven.handle(GroupEvent::Leave));
    assert_eq!(beat(&question).member_epoch, -2);
}

#[test]
fn what_the_coordinator_only_minds_is_told_and_the_member_stays() {
    let mut driven = Driven::settled_next();
    let (id, _) = one_ask(&driven.after(BEAT));
    let code = ErrorCode::TopicAuthorizationFailed;
    let effects = driven.answer(id, refused(code));
    assert_eq!(effects, [GroupEffect::Tell(GroupTrouble::Minded { code, message: None })]);
    assert_eq!(
        one_ask(&driven.after(Duration::from_millis(150))).1.api(),
        GroupApi::ConsumerHeartbeat
    );
}
