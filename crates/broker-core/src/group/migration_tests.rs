//! Groups that change their protocol while members of both are in them: nobody loses what it has
//! before it gave it up, and both directions leave the group as the other protocol's.

use bytes::Bytes;
use streamledger_protocol::ErrorCode;

use super::consumer_protocol::{MemberSubscription, Named, read_assignment};
use super::next_gen_tests::{beat, join, set};
use super::rig::{Clicks, REBALANCE_MS, Rig, by, group, of_generation, protocol};
use super::{
    CommitWay, ConsumerHeartbeat, GroupConfig, GroupCoordinator, GroupState, JoinReply,
    JoinRequest, MemberOfGeneration, MigrationPolicy, SyncReply, SyncRequest, Token,
};

/// What a member of `clicks` joins with that owns these partitions of it (version 1).
fn subscription(owned: &[u8]) -> Bytes {
    let mut bytes = b"\x00\x01\x00\x00\x00\x01\x00\x06clicks\xff\xff\xff\xff".to_vec();
    match owned {
        [] => bytes.extend(b"\x00\x00\x00\x00"),
        owned => bytes.extend([b"\x00\x00\x00\x01".as_slice(), &topic(owned)].concat()),
    }
    assert!(MemberSubscription::read(&bytes.clone().into()).is_some());
    bytes.into()
}

fn topic(partitions: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x00\x06clicks\x00\x00\x00".to_vec();
    bytes.push(u8::try_from(partitions.len()).unwrap());
    partitions.iter().for_each(|partition| bytes.extend([0, 0, 0, *partition]));
    bytes
}

fn assignment(partitions: &[u8]) -> Bytes {
    [b"\x00\x01\x00\x00\x00\x01".as_slice(), &topic(partitions), b"\xff\xff\xff\xff"]
        .concat()
        .into()
}

impl Rig {
    fn classic_join(&mut self, member: &str, owned: &[u8]) -> JoinReply {
        let asked = self.ask_join(|request| as_consumer(request, member, owned));
        self.wait(0);
        self.joined(asked).unwrap().clone()
    }

    /// The partitions of a member that joins and asks for them, and its generation.
    fn rejoin(&mut self, member: &str, owned: &[u8]) -> (i32, Vec<i32>) {
        let joined = self.classic_join(member, owned);
        assert_eq!((joined.error, joined.protocol.as_deref()), (ErrorCode::None, Some("range")));
        assert!(joined.leader.is_empty() && joined.members.is_empty(), "it leads nothing");
        (joined.generation, self.classic_sync(member, joined.generation).unwrap())
    }

    fn classic_sync(&mut self, member: &str, generation: i32) -> Result<Vec<i32>, ErrorCode> {
        let asked = self.ask_sync(member, generation, &[]);
        let reply: &SyncReply = self.synced(asked).unwrap();
        match reply.error {
            ErrorCode::None => Ok(partitions(&reply.assignment)),
            error => Err(error),
        }
    }

    fn check_law_4(&self) {
        assert!(self.core.has_hard_state_of(&self.restarted().core), "law 4");
    }

    fn types(&self) -> (&'static str, &'static str) {
        let listed = self.core.list();
        (listed[0].group_type, listed[0].state)
    }
}

fn as_consumer(request: &mut JoinRequest, member: &str, owned: &[u8]) {
    member.clone_into(&mut request.member_id);
    let mut range = protocol("range", b"");
    range.metadata = subscription(owned);
    request.protocols = vec![range];
}

fn partitions(assignment: &Bytes) -> Vec<i32> {
    let named: Named = read_assignment(assignment).unwrap();
    named.into_values().flatten().map(|partition| partition.0).collect()
}

/// The leader of generation 2 gives each of two members two partitions.
fn lead_two(rig: &mut Rig) {
    rig.asked += 1;
    let request = SyncRequest {
        group: group(),
        member: of_generation("m1", 2),
        protocol_type: None,
        protocol: None,
        assignments: vec![
            ("m1".to_owned(), assignment(&[0, 1])),
            ("m2".to_owned(), assignment(&[2, 3])),
        ],
    };
    rig.core.sync(rig.now, Token(rig.asked), &request, &Clicks(4));
    rig.settle();
}

/// Two classic members with two partitions each; generation 2.
fn two_classic(config: GroupConfig) -> Rig {
    let mut rig = Rig::new(GroupConfig { initial_rebalance_delay_ms: 0, ..config });
    rig.classic_join("", &[]);
    rig.ask_join(|request| as_consumer(request, "", &[]));
    assert_eq!(rig.heartbeat("m1", 1), ErrorCode::RebalanceInProgress);
    rig.classic_join("m1", &[]);
    rig.ask_sync("m2", 2, &[]);
    lead_two(&mut rig);
    assert_eq!(rig.state(), Some((GroupState::Stable, 2)));
    rig
}

#[test]
fn members_are_moved_to_the_next_generation_one_by_one_and_back() {
    let mut rig = two_classic(GroupConfig::default());
    // The first member of the next generation turns the group; it gets nothing yet.
    assert_eq!(rig.beat(&join("a")), (3, Some(set(&[]))));
    rig.check_law_4();
    assert_eq!(rig.state(), None);
    assert_eq!(rig.types(), ("consumer", "Reconciling"));
    let described = rig.core.describe_consumer(&group()).unwrap();
    let kinds = described.members.iter().map(|one| (&*one.member_id, one.is_classic));
    let kinds: Vec<_> = kinds.collect();
    assert_eq!(kinds, [("a", false), ("m1", true), ("m2", true)]);
    // The others commit under their generation until they hear that they are to join again.
    assert_eq!(rig.commit(by("m1", 2), false), ErrorCode::None);
    assert_eq!(rig.commit(by("m1", 1), false), ErrorCode::IllegalGeneration);
    assert_eq!(rig.heartbeat("m1", 2), ErrorCode::RebalanceInProgress);
    assert_eq!(rig.classic_sync("m1", 2), Err(ErrorCode::RebalanceInProgress));
    // A cooperative member keeps what it owns but for what goes to others, and joins again.
    let (generation, kept) = rig.rejoin("m1", &[0, 1]);
    assert_eq!((generation, kept.len()), (2, 1), "its epoch stays until it has given one up");
    assert_eq!(rig.heartbeat("m1", 2), ErrorCode::RebalanceInProgress);
    let owned = [u8::try_from(kept[0]).unwrap()];
    assert_eq!(rig.rejoin("m1", &owned), (3, kept));
    assert_eq!(rig.heartbeat("m1", 3), ErrorCode::None);
    // An eager one has given everything up before it joins.
    let (generation, had) = rig.rejoin("m2", &[]);
    assert_eq!((generation, had.len()), (3, 2), "nobody takes anything from it");
    let (epoch, free) = rig.beat(&beat("a", 3, Some(&[])));
    let free = free.unwrap();
    assert_eq!((epoch, free.len()), (3, 1));
    rig.check_law_4();
    // One after the other leaves; the last of them leaves a plain next-generation group.
    assert_eq!(rig.leave(&[("m1", None)]), [ErrorCode::None]);
    assert_eq!(rig.heartbeat("m2", 3), ErrorCode::RebalanceInProgress);
    assert_eq!(rig.leave(&[("m2", None), ("m2", None)])[0], ErrorCode::None);
    let all = rig.beat(&beat("a", 3, None)).1.unwrap();
    assert_eq!(all, set(&[0, 1, 2, 3]));
    rig.check_law_4();
    back(&mut rig);
}

/// From the member `a` alone back to a classic group.
fn back(rig: &mut Rig) {
    let joined = rig.classic_join("", &[]);
    assert_eq!(joined.error, ErrorCode::None);
    let id = joined.member_id.clone();
    assert_eq!(rig.classic_sync(&id, joined.generation).unwrap(), Vec::<i32>::new());
    let epoch = rig.core.describe_consumer(&group()).unwrap().members[0].epoch;
    // The last member of the next generation leaves: the group is a classic one, which begins anew.
    rig.beat(&beat("a", -1, None));
    rig.check_law_4();
    assert!(rig.core.describe_consumer(&group()).is_none());
    let (state, generation) = rig.state().unwrap();
    assert_eq!(state, GroupState::Stable);
    assert!(generation > epoch);
    rig.wait(0);
    assert_eq!(rig.heartbeat(&id, generation), ErrorCode::RebalanceInProgress);
    let joined = rig.classic_join(&id, &[]);
    assert_eq!((joined.generation, &*joined.leader), (generation + 1, &*id));
    rig.ask_sync(&id, generation + 1, &[(&id, "all")]);
    assert_eq!(rig.types(), ("classic", "Stable"));
}

#[test]
fn who_waits_while_the_group_turns_joins_again_there() {
    let mut rig = two_classic(GroupConfig::default());
    let waits = rig.ask_join(|request| as_consumer(request, "m1", &[0]));
    assert_eq!(rig.joined(waits), None);
    rig.beat(&join("a"));
    assert_eq!(rig.joined(waits).unwrap().error, ErrorCode::RebalanceInProgress);
    assert_eq!(rig.rejoin("m1", &[]).0, 3);
    rig.check_law_4();
}

#[test]
fn a_classic_member_that_is_silent_or_does_not_join_again_is_out() {
    let mut rig = two_classic(GroupConfig::default());
    rig.beat(&join("a"));
    // m2 says nothing; m1 sends heartbeats, but never joins again.
    for _ in 0..(REBALANCE_MS / 5000 + 2) {
        let _ = rig.heartbeat("m1", 2);
        rig.beat(&beat("a", 3, Some(&[])));
        rig.wait(5000);
        rig.check_law_4();
        if rig.core.describe_consumer(&group()).unwrap().members.len() == 1 {
            break;
        }
    }
    assert_eq!(rig.heartbeat("m1", 2), ErrorCode::UnknownMemberId);
    assert_eq!(rig.beat(&beat("a", 3, Some(&[]))).1, Some(set(&[0, 1, 2, 3])));
}

#[test]
fn who_was_put_out_and_goes_on_with_what_it_had_begins_anew() {
    let mut rig = two_classic(GroupConfig::default());
    rig.beat(&join("a"));
    assert_eq!(rig.leave(&[("m1", None)]), [ErrorCode::None]);
    assert_eq!(rig.classic_join("m1", &[0, 1]).error, ErrorCode::UnknownMemberId);
    // With nothing it is as good as one that was just given its name.
    assert_eq!(rig.classic_join("m1", &[]).error, ErrorCode::None);
    rig.check_law_4();
}

#[test]
fn a_static_member_takes_its_place_by_either_protocol() {
    let mut rig = Rig::quick();
    rig.beat(&join("a"));
    let joining = |request: &mut JoinRequest| {
        as_consumer(request, "", &[]);
        request.instance_id = Some("one".to_owned());
    };
    let asked = rig.ask_join(joining);
    let old = rig.joined(asked).unwrap().clone();
    assert_eq!(old.error, ErrorCode::None);
    let asked = rig.ask_join(joining);
    let new = rig.joined(asked).unwrap().clone();
    assert_ne!(old.member_id, new.member_id);
    rig.check_law_4();
    let with = |id: &str| {
        let mut of = of_generation(id, new.generation);
        of.instance_id = Some("one".to_owned());
        of
    };
    let hears = |core: &mut GroupCoordinator, now, id| core.heartbeat(now, &group(), &with(id));
    assert_eq!(hears(&mut rig.core, rig.now, &old.member_id), ErrorCode::FencedInstanceId);
    assert_ne!(hears(&mut rig.core, rig.now, &new.member_id), ErrorCode::FencedInstanceId);
    assert_eq!(rig.leave(&[("", Some("one")), ("", Some("two"))])[0], ErrorCode::None);
    assert_eq!(rig.core.describe_consumer(&group()).unwrap().members.len(), 1);
}

/// Two classic members, the first of them static; generation 2.
fn static_and_dynamic() -> Rig {
    let mut rig = Rig::quick();
    rig.ask_join(as_instance);
    rig.wait(0);
    rig.ask_join(|request| as_consumer(request, "", &[]));
    rig.ask_join(|request| {
        as_instance(request);
        "m1".clone_into(&mut request.member_id);
    });
    assert_eq!(rig.state().unwrap().0, GroupState::CompletingRebalance);
    lead_two(&mut rig);
    rig
}

fn as_instance(request: &mut JoinRequest) {
    as_consumer(request, "", &[]);
    request.instance_id = Some("one".to_owned());
}

#[test]
fn a_static_member_comes_back_by_the_next_generation_and_has_what_it_had() {
    let mut rig = static_and_dynamic();
    let of_instance = |member: &str, epoch| ConsumerHeartbeat {
        instance_id: Some("one".to_owned()),
        ..if epoch == 0 { join(member) } else { beat(member, epoch, None) }
    };
    // It was stopped without a word, as static members are.
    assert_eq!(rig.beat(&of_instance("a", 0)), (2, Some(set(&[0, 1]))));
    rig.check_law_4();
    assert_eq!(rig.types().0, "consumer");
    assert_eq!(rig.heartbeat("m2", 2), ErrorCode::None, "the other notices nothing");
    let of_old =
        MemberOfGeneration { instance_id: Some("one".to_owned()), ..of_generation("m1", 2) };
    assert_eq!(rig.core.heartbeat(rig.now, &group(), &of_old), ErrorCode::FencedInstanceId);
    // From one of the next generation that has not left nobody takes its place.
    let refused = rig.send(&of_instance("b", 0), 4);
    assert_eq!(refused, Err(ErrorCode::UnreleasedInstanceId));
}

#[test]
fn a_static_member_that_takes_the_last_next_generation_place_turns_the_group() {
    let mut rig = static_and_dynamic();
    let request = ConsumerHeartbeat { instance_id: Some("one".to_owned()), ..join("a") };
    rig.beat(&request);
    let asked = rig.ask_join(as_instance);
    rig.check_law_4();
    let joined = rig.joined(asked).unwrap().clone();
    assert_eq!(joined.error, ErrorCode::None);
    assert!(rig.core.describe_consumer(&group()).is_none(), "only classic members are left");
    let (state, generation) = rig.state().unwrap();
    assert_eq!((state, generation), (GroupState::Stable, joined.generation));
    // Its members share out anew: the one that leads is to know that it does.
    rig.wait(0);
    assert_eq!(rig.heartbeat("m2", generation), ErrorCode::RebalanceInProgress);
    assert_eq!(rig.types().0, "classic");
    // Where groups may not turn back it stays one of the next generation.
    let kept = GroupConfig { migration: MigrationPolicy::Upgrade, ..GroupConfig::default() };
    let mut rig = two_classic(kept);
    rig.beat(&ConsumerHeartbeat { instance_id: Some("one".to_owned()), ..join("a") });
    let asked = rig.ask_join(as_instance);
    assert_eq!(rig.joined(asked).unwrap().error, ErrorCode::None);
    assert_eq!(rig.types().0, "consumer");
    rig.check_law_4();
}

#[test]
fn a_policy_keeps_a_group_as_it_is() {
    let with = |migration| GroupConfig { migration, ..GroupConfig::default() };
    for policy in [MigrationPolicy::Disabled, MigrationPolicy::Downgrade] {
        let mut rig = two_classic(with(policy));
        assert_eq!(rig.send(&join("a"), 4), Err(ErrorCode::GroupIdNotFound));
        assert_eq!(rig.state(), Some((GroupState::Stable, 2)));
    }
    let mut rig = two_classic(with(MigrationPolicy::Upgrade));
    rig.beat(&join("a"));
    rig.beat(&beat("a", -1, None));
    assert_eq!(rig.types().0, "consumer", "it stays, with classic members alone");
    assert_eq!(rig.rejoin("m1", &[]).1.len(), 2);
}

#[test]
fn a_group_whose_members_cant_be_read_stays_as_it_is() {
    let mut rig = Rig::two_stable();
    assert_eq!(rig.send(&join("a"), 4), Err(ErrorCode::GroupIdNotFound));
    assert_eq!(rig.state(), Some((GroupState::Stable, 2)));
    let mut consumers = Rig::quick();
    consumers.beat(&join("a"));
    let asked = consumers.ask_join_as("");
    assert_eq!(consumers.joined(asked).unwrap().error, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn what_can_not_be_kept_leaves_a_group_as_it_was() {
    let mut rig = two_classic(GroupConfig::default());
    rig.log_fails = true;
    let _ = rig.core.consumer_heartbeat(rig.now, &join("a"), &Clicks(4));
    rig.settle();
    rig.log_fails = false;
    assert_eq!(rig.state(), Some((GroupState::Stable, 2)));
    assert_eq!(rig.heartbeat("m1", 2), ErrorCode::None);
}

#[test]
fn only_a_request_that_knows_epochs_stores_offsets_of_a_next_generation_member() {
    let mut rig = two_classic(GroupConfig::default());
    rig.beat(&join("a"));
    let check = |rig: &mut Rig, by, way| {
        let mut request = rig.commit_request(by);
        request.way = way;
        rig.core.decide_commit(rig.now, &request).reply[0]
    };
    let old = CommitWay::BeforeEpochs;
    assert_eq!(check(&mut rig, by("a", 3), old), ErrorCode::UnsupportedVersion);
    assert_eq!(check(&mut rig, by("a", 3), CommitWay::Plain), ErrorCode::None);
    assert_eq!(check(&mut rig, by("a", 2), CommitWay::Plain), ErrorCode::StaleMemberEpoch);
    assert_eq!(check(&mut rig, by("m1", 2), old), ErrorCode::None);
    let in_transaction = CommitWay::Transactional;
    assert_eq!(check(&mut rig, by("a", 2), in_transaction), ErrorCode::StaleMemberEpoch);
    assert_eq!(check(&mut rig, by("", -1), in_transaction), ErrorCode::None);
    assert_eq!(check(&mut rig, by("", -1), CommitWay::Plain), ErrorCode::UnknownMemberId);
}
