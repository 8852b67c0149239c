//! Next-generation groups: what members are told, step by step, and whom the group is done with.

use streamledger_protocol::{ErrorCode, GroupId, PartitionIndex, TopicId};

use super::rig::{Clicks, Rig, by, group};
use super::{Assigned, Committer, ConsumerHeartbeat, ConsumerHeartbeatReply, GroupConfig};
use crate::time::MonotonicMs;

pub(super) fn set(indexes: &[i32]) -> Assigned {
    indexes.iter().map(|index| (TopicId([1; 16]), PartitionIndex(*index))).collect()
}

pub(super) fn join(member: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        rebalance_timeout_ms: 20_000,
        topic_names: Some(["clicks".into()].into()),
        ..beat(member, 0, Some(&[]))
    }
}

pub(super) fn beat(member: &str, epoch: i32, owned: Option<&[i32]>) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: group(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: -1,
        topic_names: None,
        topic_regex: None,
        assignor: None,
        owned: owned.map(set),
        client_id: "client".to_owned(),
        client_host: "/host".to_owned(),
    }
}

impl Rig {
    pub(super) fn send(
        &mut self,
        request: &ConsumerHeartbeat,
        partition_count: i32,
    ) -> Result<ConsumerHeartbeatReply, ErrorCode> {
        let reply = self.core.consumer_heartbeat(self.now, request, &Clicks(partition_count));
        self.settle();
        let mut replayed = self.restarted();
        replayed.settle();
        assert!(self.core.has_hard_state_of(&replayed.core), "law 4");
        reply.map_err(|refusal| refusal.error)
    }

    /// The epoch and what is told of partitions.
    pub(super) fn beat(&mut self, request: &ConsumerHeartbeat) -> (i32, Option<Assigned>) {
        let reply = self.send(request, 4).unwrap();
        (reply.member_epoch, reply.assigned)
    }
}

#[test]
fn failures_58_what_members_say_of_themselves_is_capped() {
    let mut rig = Rig::new(GroupConfig { member_bytes_max: 20_000, ..GroupConfig::default() });
    let talkative = |member: &str, names: usize| {
        let names = (0..names).map(|n| format!("topic-{n}").as_str().into()).collect();
        ConsumerHeartbeat { topic_names: Some(names), ..join(member) }
    };
    assert_eq!(rig.send(&talkative("a", 150), 4).map(|_| ()), Ok(()));
    assert_eq!(rig.send(&talkative("b", 200), 4), Err(ErrorCode::PolicyViolation));
    assert_eq!(rig.send(&talkative("b", 20), 4).map(|_| ()), Ok(()));
    let pattern = |member: &str, regex: String| ConsumerHeartbeat {
        topic_regex: Some(regex),
        topic_names: None,
        ..join(member)
    };
    let long = pattern("c", "x".repeat(8000));
    assert_eq!(rig.send(&long, 4), Err(ErrorCode::PolicyViolation));
    assert_eq!(rig.send(&pattern("c", "cl.*".to_owned()), 4).map(|_| ()), Ok(()));
}

#[test]
fn a_second_member_gets_its_share_once_the_first_has_given_it_up() {
    let mut rig = Rig::quick();
    assert_eq!(rig.beat(&join("a")), (1, Some(set(&[0, 1, 2, 3]))));
    assert_eq!(rig.core.describe_consumer(&group()).unwrap().state, "Stable");
    assert_eq!(rig.beat(&join("b")), (2, Some(set(&[]))), "nothing is free yet");
    let (epoch, told) = rig.beat(&beat("a", 1, None));
    let kept = told.unwrap();
    assert_eq!((epoch, kept.len()), (1, 2), "in its epoch until it has given up");
    assert_eq!(rig.beat(&beat("b", 2, None)), (2, None));
    let owned: Vec<i32> = kept.iter().map(|(_, partition)| partition.0).collect();
    assert_eq!(rig.beat(&beat("a", 1, Some(&owned))), (2, None));
    let (_, rest) = rig.beat(&beat("b", 2, None));
    assert_eq!(&kept | &rest.unwrap(), set(&[0, 1, 2, 3]));
    assert_eq!(rig.core.describe_consumer(&group()).unwrap().state, "Stable");
    // Nothing changes, so nothing is written or told.
    let records = rig.log.len();
    assert_eq!(rig.beat(&beat("b", 2, None)), (2, None));
    assert_eq!(rig.log.len(), records);
}

#[test]
fn new_partitions_are_seen_at_the_next_heartbeat() {
    let mut rig = Rig::quick();
    rig.beat(&join("a"));
    let grown = rig.send(&beat("a", 1, None), 5).unwrap();
    assert_eq!((grown.member_epoch, grown.assigned), (2, Some(set(&[0, 1, 2, 3, 4]))));
}

#[test]
fn whoever_is_of_another_epoch_is_fenced_but_for_a_lost_answer() {
    let mut rig = Rig::quick();
    rig.beat(&join("a"));
    rig.send(&beat("a", 1, None), 5).unwrap();
    // The answer with epoch 2 was lost; it owns no more than it may.
    let again = rig.send(&beat("a", 1, Some(&[0, 1])), 5).unwrap();
    assert_eq!((again.member_epoch, again.assigned), (2, Some(set(&[0, 1, 2, 3, 4]))));
    assert_eq!(rig.send(&beat("a", 1, None), 5), Err(ErrorCode::FencedMemberEpoch));
    assert_eq!(rig.send(&beat("a", 1, Some(&[0, 7])), 5), Err(ErrorCode::FencedMemberEpoch));
    assert_eq!(rig.send(&beat("a", 3, None), 5), Err(ErrorCode::FencedMemberEpoch));
    assert_eq!(rig.send(&beat("b", 2, None), 5), Err(ErrorCode::UnknownMemberId));
    // It begins again, with all that is its.
    let joined = rig.send(&join("a"), 5).unwrap();
    assert_eq!((joined.member_epoch, joined.assigned), (2, Some(set(&[0, 1, 2, 3, 4]))));
    assert_eq!(rig.commit(by("a", 2), false), ErrorCode::None);
    assert_eq!(rig.commit(by("a", 1), false), ErrorCode::StaleMemberEpoch);
    assert_eq!(rig.commit(Committer::outside(), false), ErrorCode::UnknownMemberId);
    let fetch = |rig: &Rig, epoch| rig.core.check_fetch(&group(), Some("a"), epoch);
    assert_eq!((fetch(&rig, 2), fetch(&rig, 1)), (Ok(()), Err(ErrorCode::StaleMemberEpoch)));
}

#[test]
fn who_is_silent_or_keeps_what_it_was_to_give_up_is_out() {
    let mut rig = Rig::quick();
    rig.beat(&join("a"));
    rig.beat(&join("b"));
    rig.beat(&beat("a", 1, None));
    for _ in 0..4 {
        rig.wait(5_000);
        let _ = rig.send(&beat("a", 1, None), 4);
    }
    assert_eq!(rig.send(&beat("a", 1, None), 4), Err(ErrorCode::UnknownMemberId));
    assert_eq!(rig.beat(&beat("b", 2, None)), (3, Some(set(&[0, 1, 2, 3]))));
    rig.wait(GroupConfig::default().consumer_session_timeout_ms);
    assert_eq!(rig.core.describe_consumer(&group()).unwrap().state, "Empty");
    assert_eq!(rig.core.next_wakeup(), None::<MonotonicMs>);
    assert_eq!(rig.core.delete_group(&group()), Ok(()));
    rig.settle();
    assert_eq!(rig.core.list(), []);
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let mut rig = Rig::quick();
    let instance = |request: ConsumerHeartbeat| ConsumerHeartbeat {
        instance_id: Some("one".to_owned()),
        ..request
    };
    rig.beat(&instance(join("a")));
    let taken = rig.send(&instance(join("b")), 4);
    assert_eq!(taken, Err(ErrorCode::UnreleasedInstanceId));
    assert_eq!(rig.beat(&instance(beat("a", -2, None))).0, -2);
    assert_eq!(rig.beat(&instance(join("b"))), (1, Some(set(&[0, 1, 2, 3]))));
    let fenced = rig.send(&instance(beat("a", 1, None)), 4);
    assert_eq!(fenced, Err(ErrorCode::FencedInstanceId));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut rig = Rig::quick();
    let error = |rig: &mut Rig, request: ConsumerHeartbeat| rig.send(&request, 4).unwrap_err();
    let nameless = ConsumerHeartbeat { group: GroupId::from(""), ..join("a") };
    assert_eq!(error(&mut rig, nameless), ErrorCode::InvalidRequest);
    let owning = ConsumerHeartbeat { owned: Some(set(&[1])), ..join("a") };
    assert_eq!(error(&mut rig, owning), ErrorCode::InvalidRequest);
    let unknown = ConsumerHeartbeat { assignor: Some("best".to_owned()), ..join("a") };
    assert_eq!(error(&mut rig, unknown), ErrorCode::UnsupportedAssignor);
    let broken = ConsumerHeartbeat { topic_regex: Some("(".to_owned()), ..join("a") };
    assert_eq!(error(&mut rig, broken), ErrorCode::InvalidRegularExpression);
    assert_eq!(error(&mut rig, beat("a", 1, None)), ErrorCode::GroupIdNotFound);
    assert_eq!(rig.core.group_count(), 0);
}

#[test]
fn a_group_changes_its_protocol_while_it_is_empty_and_keeps_its_offsets() {
    let mut rig = Rig::quick();
    rig.ask_join_as("");
    rig.wait(0);
    rig.ask_sync("m1", 1, &[]);
    assert_eq!(rig.send(&join("a"), 4), Err(ErrorCode::GroupIdNotFound));
    rig.leave(&[("m1", None)]);
    assert_eq!(rig.beat(&join("a")).0, 1);
    assert_eq!(rig.core.list()[0].group_type, "consumer");
    assert_eq!(rig.core.describe(&group()), None);
    rig.beat(&beat("a", -1, None));
    let joining = rig.ask_join_as("");
    rig.wait(0);
    assert_eq!(rig.joined(joining).unwrap().error, ErrorCode::None);
    assert_eq!(rig.core.describe_consumer(&group()), None);
}
