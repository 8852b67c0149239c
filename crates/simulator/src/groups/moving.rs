//! A group that turns from one protocol to the other and back under its members: each of them goes
//! by either, and comes back by the other now and then (KIP-848).
//!
//! One of them is static: it goes without a word and comes back in its place, by either protocol.
//!
//! 1. A classic member speaks as our consumer does, in the same bytes. Some give up all that they
//!    have before they join again, some go on consuming it until they are told otherwise.
//! 2. The leader of a classic generation leaves with each member what it says it has.
//! 3. No partition is consumed by two members that are each in the group's generation, or in their
//!    epoch, of whatever protocol.

use std::collections::BTreeMap;

use streamledger_broker_core::group::{
    Assigned, Committer, GroupState, JoinReply, JoinRequest, JoinedMember, LeavingMember,
    MemberOfGeneration, ParkedAnswer, Protocol, SyncRequest, Token, TopicsView as _,
};
use streamledger_client_core::consumer::group::{MemberAssignment, MemberSubscription};
use streamledger_protocol::{ErrorCode, GroupId, PartitionIndex, TopicName, TopicPartition};

use super::next_generation::NextMember;
use super::world::World;

const GROUP: &str = "moving";
const TOPICS: [&str; 2] = ["one", "two"];
const SESSION_MS: i32 = 10_000;

fn group() -> GroupId {
    GroupId::from(GROUP)
}

/// A member, and by which protocol it goes.
#[derive(Debug)]
pub(super) struct MovingMember {
    classic: ClassicConsumer,
    next: NextMember,
    is_classic: bool,
}

impl MovingMember {
    pub(super) fn new(number: usize) -> Self {
        let name = format!("m{number}");
        let instance_id = (number == 3).then(|| "static".to_owned());
        Self {
            classic: ClassicConsumer {
                is_cooperative: number.is_multiple_of(2),
                instance_id: instance_id.clone(),
                ..ClassicConsumer::of(name.clone())
            },
            next: NextMember::of(GROUP, name).with_instance(instance_id),
            is_classic: true,
        }
    }

    pub(super) fn act(&mut self, world: &mut World) {
        let is_away = match self.is_classic {
            true => self.classic.is_away(),
            false => !self.next.has_joined(),
        };
        if is_away && world.dice.chance(400) {
            self.is_classic = !self.is_classic;
        }
        match self.is_classic {
            true => self.classic.act(world),
            // The group turns back once the last of these has left.
            false if self.next.has_joined() && world.dice.chance(60) => self.next.leave(world),
            false => self.next.act(world),
        }
    }

    /// Law 3.
    pub(super) fn check(members: &[Self], world: &mut World) {
        let mut consumed = Assigned::new();
        let of_each = members.iter().filter_map(|member| match member.is_classic {
            true => member.classic.consumed(world),
            false => member.next.consumed(world),
        });
        let twice = of_each.flatten().copied().find(|one| !consumed.insert(*one));
        if let Some(one) = twice {
            world.violated(format!("{one:?} is two members' of a group that turns: {members:?}"));
        }
    }
}

/// What a classic member believes.
#[derive(Debug)]
struct ClassicConsumer {
    name: String,
    is_cooperative: bool,
    instance_id: Option<String>,
    member_id: String,
    generation: i32,
    /// It is to join, or to join again.
    joins: bool,
    waits_for: Option<Token>,
    /// Those that it is to assign partitions to.
    leads: Vec<JoinedMember>,
    needs_sync: bool,
    /// The partitions it consumes.
    consumes: Assigned,
}

impl ClassicConsumer {
    fn of(name: String) -> Self {
        Self {
            name,
            is_cooperative: false,
            instance_id: None,
            member_id: String::new(),
            generation: -1,
            joins: true,
            waits_for: None,
            leads: Vec::new(),
            needs_sync: false,
            consumes: Assigned::new(),
        }
    }

    fn is_away(&self) -> bool {
        self.member_id.is_empty() && self.waits_for.is_none()
    }

    /// It has lost all that it had; with its name, if that is not its any more.
    fn forget(&mut self, is_fenced: bool) {
        if is_fenced {
            self.member_id.clear();
        }
        self.generation = -1;
        self.joins = true;
        self.needs_sync = false;
        self.consumes.clear();
    }

    /// Whether the group says that this is its member, now.
    fn is_current(&self, world: &World) -> bool {
        if let Some(described) = world.core.describe_consumer(&group())
            && !described.members.is_empty()
        {
            return described.members.iter().any(|one| {
                one.is_classic && one.member_id == self.member_id && one.epoch == self.generation
            });
        }
        let Some(described) = world.core.describe(&group()) else { return false };
        let is_member = described.members.iter().any(|one| one.member_id == self.member_id);
        let state = world.core.group_state(&group());
        is_member && state.is_some_and(|(_, generation)| generation == self.generation)
    }

    fn consumed(&self, world: &World) -> Option<&Assigned> {
        self.is_current(world).then_some(&self.consumes)
    }

    fn act(&mut self, world: &mut World) {
        if let Some(token) = self.waits_for {
            match world.answers.remove(&token) {
                // The answer is lost now and then.
                Some(_) if world.dice.chance(80) => self.waits_for = None,
                Some(ParkedAnswer::Joined(reply)) => self.hear_joined(reply),
                Some(ParkedAnswer::Synced(reply)) => match reply.error {
                    ErrorCode::None => self.take_on(reply.assignment, world),
                    error => self.suffer(error),
                },
                // Its patience ends; the request may be parked still.
                None if world.dice.chance(60) => self.waits_for = None,
                None => {}
            }
            return;
        }
        if self.joins {
            return self.join(world);
        }
        if self.needs_sync {
            return self.sync(world);
        }
        match world.dice.below(12) {
            0 => self.leave(world),
            1..=3 => self.commit(world),
            _ => {
                let error = world.core.heartbeat(world.now, &group(), &self.of_generation());
                world.settle();
                self.suffer(error);
            }
        }
    }

    fn join(&mut self, world: &mut World) {
        if !self.is_cooperative {
            self.consumes.clear();
        }
        let token = world.next_token();
        let subscription = MemberSubscription {
            topics: TOPICS.map(TopicName::from).to_vec(),
            owned: by_name(&self.consumes, world),
            generation: self.generation,
            ..MemberSubscription::default()
        };
        let request = JoinRequest {
            group: group(),
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.name.clone(),
            client_host: "/host".to_owned(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: 20_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![Protocol { name: "range".to_owned(), metadata: subscription.encode() }],
            takes_member_id_first: true,
            can_skip_assignment: true,
            fresh_member_id: format!("{}-{}", self.name, token.0),
        };
        let went_by = goes_by(world);
        world.core.join(world.now, token, &request, &world.topics);
        world.settle();
        let turned = went_by == Some("consumer") && goes_by(world) == Some("classic");
        world.report.turned_by_static += u64::from(turned);
        self.waits_for = Some(token);
    }

    fn hear_joined(&mut self, reply: JoinReply) {
        self.waits_for = None;
        match reply.error {
            ErrorCode::None => {
                self.member_id = reply.member_id;
                self.generation = reply.generation;
                self.leads = reply.members;
                if reply.skips_assignment {
                    self.leads.clear();
                }
                (self.joins, self.needs_sync) = (false, true);
            }
            ErrorCode::MemberIdRequired => self.member_id = reply.member_id,
            error => self.suffer(error),
        }
    }

    fn sync(&mut self, world: &mut World) {
        let token = world.next_token();
        let request = SyncRequest {
            group: group(),
            member: self.of_generation(),
            protocol_type: None,
            protocol: None,
            assignments: shared_out(&self.leads, world),
        };
        world.core.sync(world.now, token, &request, &world.topics);
        world.settle();
        self.waits_for = Some(token);
    }

    fn take_on(&mut self, assignment: bytes::Bytes, world: &mut World) {
        self.waits_for = None;
        self.needs_sync = false;
        let Ok(assignment) = MemberAssignment::decode(assignment) else {
            return world.violated(format!("{} got what is no assignment", self.name));
        };
        let ids = |one: &TopicPartition| Some((world.topics.topic(&one.topic)?.0, one.partition));
        let assigned: Assigned = assignment.partitions.iter().filter_map(ids).collect();
        // What a cooperative member has given up others may have once it has said so.
        self.joins = !self.consumes.is_subset(&assigned);
        self.consumes = assigned;
        world.report.assignments += 1;
    }

    /// What an error makes a consumer do.
    fn suffer(&mut self, error: ErrorCode) {
        self.waits_for = None;
        match error {
            ErrorCode::None | ErrorCode::CoordinatorNotAvailable => {}
            ErrorCode::RebalanceInProgress => (self.joins, self.needs_sync) = (true, false),
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.forget(true),
            _ => self.forget(false),
        }
    }

    fn of_generation(&self) -> MemberOfGeneration {
        MemberOfGeneration {
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            generation: self.generation,
        }
    }

    fn commit(&mut self, world: &mut World) {
        let by = Committer {
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            generation: self.generation,
        };
        let is_current = self.is_current(world);
        let error = world.commit(&group(), &by, is_current);
        self.suffer(error);
    }

    fn leave(&mut self, world: &mut World) {
        // A static one is stopped without a word; now and then somebody takes it out for good.
        if self.instance_id.is_none() || world.dice.chance(300) {
            let (member_id, instance_id) = (self.member_id.clone(), self.instance_id.clone());
            let leaving = LeavingMember { member_id, instance_id };
            let _ = world.core.leave(world.now, &group(), &[leaving], &world.topics);
            world.settle();
        }
        self.forget(true);
    }
}

/// Law 2: what nobody has goes to each in turn.
fn shared_out(members: &[JoinedMember], world: &World) -> Vec<(String, bytes::Bytes)> {
    let mut shares: BTreeMap<&str, Vec<TopicPartition>> = BTreeMap::new();
    let mut taken = Vec::new();
    for member in members {
        let said = MemberSubscription::decode(member.metadata.clone()).unwrap_or_default();
        taken.extend(said.owned.iter().cloned());
        shares.insert(&member.member_id, said.owned);
    }
    let all = TOPICS.iter().flat_map(|name| {
        let count = world.topics.topic(&(*name).into()).map_or(0, |(_, count)| count);
        (0..count).map(|partition| TopicPartition::new(*name, PartitionIndex(partition)))
    });
    let free = all.filter(|one| !taken.contains(one));
    for (one, member) in free.zip(members.iter().cycle()) {
        shares.entry(&member.member_id).or_default().push(one);
    }
    let encoded = |(id, partitions): (&str, Vec<TopicPartition>)| {
        let assignment = MemberAssignment { partitions, user_data: None };
        (id.to_owned(), assignment.encode())
    };
    shares.into_iter().map(encoded).collect()
}

/// Partitions by the names of their topics.
fn by_name(partitions: &Assigned, world: &World) -> Vec<TopicPartition> {
    let name_of = |(topic, partition): &(_, PartitionIndex)| {
        let name = TOPICS
            .iter()
            .find(|name| world.topics.topic(&(**name).into()).is_some_and(|(id, _)| id == *topic));
        name.map(|name| TopicPartition::new(*name, *partition))
    };
    partitions.iter().filter_map(name_of).collect()
}

/// By which protocol the group goes now; none while it is empty.
pub(super) fn goes_by(world: &World) -> Option<&'static str> {
    let is_next = world.core.describe_consumer(&group()).is_some_and(|all| !all.members.is_empty());
    if is_next {
        return Some("consumer");
    }
    let state = world.core.group_state(&group());
    state.is_some_and(|(state, _)| state != GroupState::Empty).then_some("classic")
}
