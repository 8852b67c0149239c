//! Classic groups: each rule of the protocol, seen from its members and across restarts.

use bytes::Bytes;
use streamledger_protocol::ErrorCode;

use super::rig::{REBALANCE_MS, Rig, SESSION_MS, by, group, of_generation, protocol};
use super::{Committer, GroupConfig, GroupState, JoinRequest, MemberOfGeneration, Protocol};
use crate::time::MonotonicMs;

#[test]
fn a_member_is_given_its_id_first_where_its_client_knows_how() {
    let mut rig = Rig::quick();
    let first = rig.ask_join(|request| request.takes_member_id_first = true);
    let told = rig.joined(first).unwrap();
    assert_eq!((told.error, told.member_id.as_str()), (ErrorCode::MemberIdRequired, "m1"));
    let again = rig.ask_join_as("m1");
    assert!(rig.joined(again).is_none());
    rig.wait(0);
    let told = rig.joined(again).unwrap();
    assert_eq!((told.error, told.generation, told.leader.as_str()), (ErrorCode::None, 1, "m1"));
    assert_eq!(told.protocol.as_deref(), Some("range"));
    assert_eq!(told.members.len(), 1);
    // An id that never comes is forgotten, and with it the group, had it nothing else.
    let mut rig = Rig::quick();
    rig.ask_join(|request| request.takes_member_id_first = true);
    rig.wait(SESSION_MS as u64);
    assert_eq!((rig.state(), rig.core.member_count()), (None, 0));
    let late = rig.ask_join_as("m1");
    assert_eq!(rig.joined(late).unwrap().error, ErrorCode::UnknownMemberId);
}

#[test]
fn the_first_member_waits_for_others_and_longer_as_they_come() {
    let mut rig = Rig::new(GroupConfig::default());
    rig.ask_join_as("");
    rig.wait(2_000);
    rig.ask_join_as("");
    rig.wait(2_000);
    assert!(rig.joined(1).is_none(), "put off by the second");
    rig.wait(2_000);
    let (one, two) = (rig.joined(1).unwrap(), rig.joined(2).unwrap());
    assert_eq!((one.generation, two.generation), (1, 1));
    assert_eq!((one.members.len(), two.members.len()), (2, 0), "only the leader is told of all");
    assert_eq!((one.leader.as_str(), two.leader.as_str()), ("m1", "m1"));
}

#[test]
fn assignments_are_told_once_they_are_in_the_log() {
    let rig = Rig::two_stable();
    assert_eq!(rig.log.len(), 1, "one record a generation, and none for the first");
    let restarted = rig.restarted();
    assert_eq!(restarted.state(), Some((GroupState::Stable, 2)));
    assert_eq!(restarted.core.next_wakeup(), Some(MonotonicMs(SESSION_MS as u64)));
    let answers: Vec<_> = rig.answers.values().collect();
    let assignment = |of: u64| rig.synced(of).unwrap().assignment.clone();
    assert_eq!((assignment(4), assignment(5)), ("b".into(), "a".into()), "{answers:?}");
}

#[test]
fn a_restart_knows_what_members_last_joined_with() {
    let mut rig = Rig::two_stable();
    rig.ask_join(|request| {
        "m2".clone_into(&mut request.member_id);
        request.protocols = vec![protocol("range", b"more topics")];
        request.session_timeout_ms = 2 * SESSION_MS;
    });
    rig.ask_join_as("m1");
    rig.ask_sync("m2", 3, &[]);
    rig.ask_sync("m1", 3, &[("m1", "a"), ("m2", "b")]);
    assert_eq!(rig.state(), Some((GroupState::Stable, 3)));
    let restarted = rig.restarted();
    assert!(rig.core.has_hard_state_of(&restarted.core), "law 4");
    let described = restarted.core.describe(&group()).unwrap();
    assert_eq!(described.members[1].metadata, b"more topics"[..]);
}

#[test]
fn failure_48_a_restart_between_append_and_answer_gives_the_same_assignment() {
    let mut rig = Rig::two_stable().restarted();
    let (one, two) = (rig.ask_sync("m1", 2, &[("m1", "x")]), rig.ask_sync("m2", 2, &[]));
    assert_eq!(rig.synced(one).unwrap().assignment, "a", "the log has spoken");
    assert_eq!(rig.synced(two).unwrap().assignment, "b");
    assert_eq!(rig.heartbeat("m1", 2), ErrorCode::None);
    assert_eq!(rig.commit(by("m1", 2), false), ErrorCode::None);
}

#[test]
fn what_could_not_be_appended_never_was() {
    let mut rig = Rig::two_stable();
    let again = rig.ask_join_as("m1");
    let other = rig.ask_join_as("m2");
    assert_eq!(rig.joined(other).unwrap().generation, 3);
    rig.log_fails = true;
    let waiting = rig.ask_sync("m2", 3, &[]);
    let leader = rig.ask_sync("m1", 3, &[("m1", "c")]);
    for asked in [waiting, leader] {
        assert_eq!(rig.synced(asked).unwrap().error, ErrorCode::CoordinatorNotAvailable);
    }
    assert_eq!(rig.state(), Some((GroupState::Stable, 2)), "{:?}", rig.joined(again));
    assert_eq!(rig.heartbeat("m1", 3), ErrorCode::IllegalGeneration);
    let mut empty = Rig::quick();
    empty.log_fails = true;
    empty.ask_join_as("");
    empty.wait(0);
    empty.ask_sync("m1", 1, &[("m1", "a")]);
    assert_eq!(empty.state(), None);
}

#[test]
fn who_is_not_heard_of_is_out_and_the_others_join_again() {
    let mut rig = Rig::two_stable();
    rig.wait(SESSION_MS as u64 / 2);
    assert_eq!(rig.heartbeat("m1", 2), ErrorCode::None);
    rig.wait(SESSION_MS as u64 * 2 / 3);
    assert_eq!(rig.heartbeat("m1", 2), ErrorCode::RebalanceInProgress);
    assert_eq!(rig.heartbeat("m2", 2), ErrorCode::UnknownMemberId);
    let alone = rig.ask_join_as("m1");
    assert_eq!(rig.joined(alone).unwrap().members.len(), 1);
    // Nobody is left in the end, which the log knows.
    rig.wait(u64::from(u32::MAX));
    let generation = rig.state().unwrap();
    assert_eq!(generation.0, GroupState::Empty);
    assert_eq!(rig.restarted().state(), Some(generation));
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut rig = Rig::two_stable();
    let again = rig.ask_join_as("m1");
    for _ in 0..REBALANCE_MS / 5_000 {
        assert!(rig.joined(again).is_none());
        assert_eq!(rig.heartbeat("m2", 2), ErrorCode::RebalanceInProgress);
        rig.wait(5_000);
    }
    assert_eq!(rig.joined(again).unwrap().members.len(), 1);
    assert_eq!(rig.heartbeat("m2", 2), ErrorCode::UnknownMemberId);
}

#[test]
fn who_does_not_ask_for_its_assignment_in_time_is_out() {
    let mut rig = Rig::quick();
    rig.ask_join_as("");
    rig.ask_join_as("");
    rig.wait(0);
    rig.ask_sync("m1", 1, &[("m1", "a"), ("m2", "b")]);
    for _ in 0..REBALANCE_MS / 5_000 - 1 {
        rig.wait(5_000);
        assert_eq!(rig.heartbeat("m2", 1), ErrorCode::None);
        assert_eq!(rig.heartbeat("m1", 1), ErrorCode::None);
    }
    rig.wait(5_000);
    assert_eq!(rig.heartbeat("m2", 1), ErrorCode::UnknownMemberId);
    assert_eq!(rig.heartbeat("m1", 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_leader_that_leaves_is_followed_by_another() {
    let mut rig = Rig::two_stable();
    assert_eq!(
        rig.leave(&[("m1", None), ("nobody", None)]),
        [ErrorCode::None, ErrorCode::UnknownMemberId]
    );
    let again = rig.ask_join_as("m2");
    let told = rig.joined(again).unwrap();
    assert_eq!((told.leader.as_str(), told.generation), ("m2", 3));
    assert_eq!(rig.leave(&[("m2", None)]), [ErrorCode::None]);
    assert_eq!(rig.state(), Some((GroupState::Empty, 4)));
    assert_eq!(rig.restarted().state(), Some((GroupState::Empty, 4)));
}

#[test]
fn only_the_leader_or_a_change_begins_a_rebalance() {
    let mut rig = Rig::two_stable();
    let same = rig.ask_join_as("m2");
    let told = rig.joined(same).unwrap();
    assert_eq!((told.generation, told.leader.as_str()), (2, "m1"));
    let changed = rig.ask_join(|request| {
        request.member_id = "m2".to_owned();
        request.protocols = vec![protocol("range", b"others")];
    });
    assert!(rig.joined(changed).is_none());
    assert_eq!(rig.state().unwrap().0, GroupState::PreparingRebalance);
    let mut rig = Rig::two_stable();
    rig.ask_join_as("m1");
    assert_eq!(rig.state().unwrap().0, GroupState::PreparingRebalance);
}

#[test]
fn the_protocol_that_most_like_best_of_those_that_all_can_do_is_chosen() {
    let mut rig = Rig::quick();
    let likes = |names: &[&str]| {
        let protocols: Vec<_> = names.iter().map(|name| protocol(name, b"")).collect();
        move |request: &mut JoinRequest| request.protocols = protocols
    };
    rig.ask_join(likes(&["sticky", "range", "robin"]));
    rig.ask_join(likes(&["range", "robin"]));
    let refused = rig.ask_join(likes(&["sticky"]));
    assert_eq!(rig.joined(refused).unwrap().error, ErrorCode::InconsistentGroupProtocol);
    let other_kind = rig.ask_join(|request| request.protocol_type = "connect".to_owned());
    assert_eq!(rig.joined(other_kind).unwrap().error, ErrorCode::InconsistentGroupProtocol);
    rig.ask_join(likes(&["robin", "range"]));
    rig.wait(0);
    assert_eq!(rig.joined(1).unwrap().protocol.as_deref(), Some("range"));
}

#[test]
fn kip_345_a_static_member_comes_back_without_a_rebalance_and_fences_the_older() {
    let mut rig = Rig::quick();
    let static_join = |request: &mut JoinRequest| request.instance_id = Some("one".to_owned());
    rig.ask_join(static_join);
    rig.wait(0);
    rig.ask_sync("m1", 1, &[("m1", "a")]);
    let back = rig.ask_join(static_join);
    let told = rig.joined(back).unwrap().clone();
    let id = told.member_id.as_str();
    assert_eq!((told.error, told.generation, told.leader.as_str()), (ErrorCode::None, 1, id));
    assert!(told.skips_assignment && told.members.len() == 1, "KIP-814");
    assert_eq!(rig.state(), Some((GroupState::Stable, 1)));
    let synced = rig.ask_sync(id, 1, &[]);
    assert_eq!(rig.synced(synced).unwrap().assignment, "a");
    let instance = |member: &str| MemberOfGeneration {
        instance_id: Some("one".to_owned()),
        ..of_generation(member, 1)
    };
    let heard = |rig: &mut Rig, from| rig.core.heartbeat(rig.now, &group(), &from);
    assert_eq!(heard(&mut rig, instance("m1")), ErrorCode::FencedInstanceId);
    assert_eq!(heard(&mut rig, instance(id)), ErrorCode::None);
    assert_eq!(heard(&mut rig, of_generation("m1", 1)), ErrorCode::UnknownMemberId);
    let fenced = Committer { instance_id: Some("one".to_owned()), ..by("m1", 1) };
    assert_eq!(rig.commit(fenced, false), ErrorCode::FencedInstanceId);
    let mut restarted = rig.restarted();
    assert_eq!(heard(&mut restarted, instance(id)), ErrorCode::None);
    // An older client would assign where nobody asks, so it is told that another leads.
    let old = rig.ask_join(|request| {
        static_join(request);
        request.can_skip_assignment = false;
    });
    let told = rig.joined(old).unwrap();
    assert!(!told.skips_assignment && told.members.is_empty() && told.leader == id);
    assert_eq!(rig.leave(&[("", Some("one"))]), [ErrorCode::None]);
    assert_eq!(rig.state().unwrap().0, GroupState::Empty);
}

#[test]
fn a_static_member_that_comes_back_while_it_joins_fences_its_own_parked_request() {
    let mut rig = Rig::two_stable();
    let instance = |request: &mut JoinRequest| request.instance_id = Some("one".to_owned());
    let parked = rig.ask_join(instance);
    let newer = rig.ask_join(instance);
    assert_eq!(rig.joined(parked).unwrap().error, ErrorCode::FencedInstanceId);
    assert!(rig.joined(newer).is_none());
}

#[test]
fn who_may_store_offsets() {
    let mut rig = Rig::quick();
    let outside = Committer::outside;
    assert_eq!(rig.commit(outside(), false), ErrorCode::None, "no such group");
    assert_eq!(rig.commit(by("m1", 1), false), ErrorCode::IllegalGeneration);
    rig.ask_join_as("");
    rig.wait(0);
    assert_eq!(rig.commit(by("m1", 1), false), ErrorCode::RebalanceInProgress);
    rig.ask_sync("m1", 1, &[]);
    assert_eq!(rig.commit(by("m1", 1), false), ErrorCode::None);
    assert_eq!(rig.commit(by("m1", 0), false), ErrorCode::IllegalGeneration);
    assert_eq!(rig.commit(by("m2", 1), false), ErrorCode::UnknownMemberId);
    assert_eq!(rig.commit(outside(), false), ErrorCode::UnknownMemberId);
    assert_eq!(rig.commit(outside(), true), ErrorCode::None, "as before KIP-447");
    assert_eq!(rig.commit(by("m1", 0), true), ErrorCode::IllegalGeneration);
    rig.leave(&[("m1", None)]);
    assert_eq!(rig.commit(outside(), false), ErrorCode::None, "nobody is in the way");
    assert_eq!(rig.commit(by("m1", 1), false), ErrorCode::UnknownMemberId, "a zombie");
}

#[test]
fn failures_58_what_members_bring_and_are_given_is_capped() {
    let config = GroupConfig { member_bytes_max: 20_000, ..GroupConfig::default() };
    let mut rig = Rig::new(GroupConfig { initial_rebalance_delay_ms: 0, ..config });
    let join = |rig: &mut Rig, group: &str, member: &str, bytes: usize| {
        let asked = rig.ask_join(|request| {
            request.group = group.into();
            member.clone_into(&mut request.member_id);
            let metadata = Bytes::from(vec![0; bytes]);
            request.protocols = vec![Protocol { name: "range".to_owned(), metadata }];
        });
        rig.wait(0);
        rig.joined(asked).map(|reply| reply.error)
    };
    assert_eq!(join(&mut rig, "readers", "", 9000), Some(ErrorCode::None));
    assert_eq!(join(&mut rig, "two", "", 9000), Some(ErrorCode::None));
    for _ in 0..1000 {
        assert_eq!(join(&mut rig, "three", "", 9000), Some(ErrorCode::PolicyViolation));
    }
    // Who is in comes again, with somewhat more too, and the others know nothing of it.
    assert_eq!(join(&mut rig, "readers", "m1", 9500), Some(ErrorCode::None));
    let (generation, large) = (rig.state().unwrap().1, "x".repeat(30_000));
    let refused = rig.ask_sync("m1", generation, &[("m1", &large)]);
    assert_eq!(rig.synced(refused).unwrap().error, ErrorCode::PolicyViolation);
    let given = rig.ask_sync("m1", generation, &[("m1", "a")]);
    assert_eq!(rig.synced(given).unwrap().error, ErrorCode::None);
    // A restart counts what the log has.
    let mut restarted = rig.restarted();
    assert_eq!(join(&mut restarted, "three", "", 9000), Some(ErrorCode::None), "two is not kept");
    assert_eq!(join(&mut restarted, "four", "", 9000), Some(ErrorCode::PolicyViolation));
    // Who leaves leaves room.
    assert_eq!(rig.leave(&[("m1", None)]), [ErrorCode::None]);
    assert_eq!(join(&mut rig, "three", "", 9000), Some(ErrorCode::None));
}

#[test]
fn failures_58_groups_and_members_are_capped() {
    let config =
        GroupConfig { group_size_max: 2, groups_max: 1, members_max: 2, ..Default::default() };
    let mut rig = Rig::new(GroupConfig { initial_rebalance_delay_ms: 0, ..config });
    let join = |rig: &mut Rig, group: &str| {
        let asked = rig.ask_join(|request| {
            request.group = group.into();
            request.takes_member_id_first = true;
        });
        rig.joined(asked).map(|reply| reply.error)
    };
    assert_eq!(join(&mut rig, "one"), Some(ErrorCode::MemberIdRequired));
    assert_eq!(join(&mut rig, "two"), Some(ErrorCode::PolicyViolation));
    assert_eq!(join(&mut rig, "one"), Some(ErrorCode::MemberIdRequired));
    assert_eq!(join(&mut rig, "one"), Some(ErrorCode::GroupMaxSizeReached));
    assert_eq!(join(&mut rig, ""), Some(ErrorCode::InvalidGroupId));
    let short = rig.ask_join(|request| request.session_timeout_ms = 10);
    assert_eq!(rig.joined(short).unwrap().error, ErrorCode::InvalidSessionTimeout);
    rig.wait(SESSION_MS as u64);
    assert_eq!(join(&mut rig, "two"), Some(ErrorCode::MemberIdRequired), "room again");
}
