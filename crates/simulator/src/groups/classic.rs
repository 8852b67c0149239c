//! A member by the classic protocol, which may be slow, silent or mistaken.

use bytes::Bytes;
use streamledger_broker_core::group::{
    Committer, GroupState, JoinRequest, LeavingMember, MemberOfGeneration, ParkedAnswer, Protocol,
    SyncRequest, Token,
};
use streamledger_protocol::{ErrorCode, GroupId};

use super::world::World;

const PARTITIONS: u8 = 6;
const SESSION_MS: i32 = 10_000;

fn group() -> GroupId {
    GroupId::from("classic")
}

/// What a member believes.
#[derive(Debug, Clone, Default)]
pub(super) struct ClassicMember {
    name: String,
    instance_id: Option<String>,
    member_id: String,
    generation: i32,
    waits_for: Option<Token>,
    /// Told to lead these.
    leads: Vec<String>,
    needs_sync: bool,
    /// The partitions it consumes.
    consumes: Bytes,
}

impl ClassicMember {
    pub(super) fn new(number: usize) -> Self {
        let instance_id = (number == 0).then(|| "static".to_owned());
        Self { name: format!("c{number}"), instance_id, generation: -1, ..Self::default() }
    }

    fn forget(&mut self) {
        self.generation = -1;
        self.needs_sync = false;
        self.consumes = Bytes::new();
    }

    /// Whether the group says that this is its member, now.
    fn is_current(&self, world: &World) -> bool {
        let Some(described) = world.core.describe(&group()) else { return false };
        let state = world.core.group_state(&group());
        let is_member = described.members.iter().any(|one| one.member_id == self.member_id);
        is_member && state.is_some_and(|(_, generation)| generation == self.generation)
    }

    pub(super) fn act(&mut self, world: &mut World) {
        if let Some(token) = self.waits_for {
            match world.answers.remove(&token) {
                // The answer is lost now and then.
                Some(_) if world.dice.chance(80) => self.waits_for = None,
                Some(answer) => {
                    self.waits_for = None;
                    self.hear(answer, world);
                }
                // Its patience ends; the request may be parked still.
                None if world.dice.chance(60) => self.waits_for = None,
                None => {}
            }
            return;
        }
        if self.needs_sync {
            return self.sync(world);
        }
        if self.generation < 0 {
            return self.join(world);
        }
        match world.dice.below(12) {
            0 => self.join(world),
            1 => self.leave(world),
            2 if self.instance_id.is_some() => {
                // A new process of the same instance.
                self.member_id = String::new();
                self.forget();
                self.join(world);
            }
            3..=5 => self.commit(world),
            _ => self.heartbeat(world),
        }
    }

    fn join(&mut self, world: &mut World) {
        let token = world.next_token();
        let request = JoinRequest {
            group: group(),
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.name.clone(),
            client_host: "/host".to_owned(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: 20_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![Protocol { name: "range".to_owned(), metadata: Bytes::new() }],
            takes_member_id_first: true,
            can_skip_assignment: true,
            fresh_member_id: format!("{}-{}", self.name, token.0),
        };
        world.core.join(world.now, token, &request, &world.topics);
        world.settle();
        self.waits_for = Some(token);
    }

    fn sync(&mut self, world: &mut World) {
        let count = u8::try_from(self.leads.len()).unwrap_or(1).max(1);
        let share = |n: u8| (0..PARTITIONS).filter(|one| one % count == n).collect::<Bytes>();
        let leads = (0..).zip(&self.leads);
        let token = world.next_token();
        let request = SyncRequest {
            group: group(),
            member: self.of_generation(),
            protocol_type: None,
            protocol: None,
            assignments: leads.map(|(n, member)| (member.clone(), share(n))).collect(),
        };
        world.core.sync(world.now, token, &request, &world.topics);
        world.settle();
        self.waits_for = Some(token);
    }

    fn of_generation(&self) -> MemberOfGeneration {
        MemberOfGeneration {
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            generation: self.generation,
        }
    }

    fn hear(&mut self, answer: ParkedAnswer, world: &mut World) {
        match answer {
            ParkedAnswer::Joined(reply) => match reply.error {
                ErrorCode::None => {
                    self.consumes = Bytes::new();
                    self.member_id = reply.member_id;
                    self.generation = reply.generation;
                    self.leads = reply.members.into_iter().map(|one| one.member_id).collect();
                    if reply.skips_assignment {
                        self.leads.clear();
                    }
                    self.needs_sync = true;
                }
                ErrorCode::MemberIdRequired => self.member_id = reply.member_id,
                error => self.suffer(error),
            },
            ParkedAnswer::Synced(reply) => match reply.error {
                ErrorCode::None => {
                    self.needs_sync = false;
                    self.consumes = reply.assignment;
                    world.report.assignments += 1;
                }
                error => self.suffer(error),
            },
        }
    }

    /// What an error makes a consumer do.
    fn suffer(&mut self, error: ErrorCode) {
        match error {
            ErrorCode::CoordinatorNotAvailable => {}
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => {
                self.member_id = String::new();
                self.forget();
            }
            _ => self.forget(),
        }
    }

    fn heartbeat(&mut self, world: &mut World) {
        let error = world.core.heartbeat(world.now, &group(), &self.of_generation());
        world.settle();
        if error != ErrorCode::None {
            self.suffer(error);
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
        if error != ErrorCode::None && error != ErrorCode::RebalanceInProgress {
            self.suffer(error);
        }
    }

    fn leave(&mut self, world: &mut World) {
        let leaving = LeavingMember {
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
        };
        let _ = world.core.leave(world.now, &group(), &[leaving], &world.topics);
        world.settle();
        self.member_id = String::new();
        self.forget();
    }

    /// Of the members that are in the group's stable generation, no two consume a partition.
    pub(super) fn check(members: &[Self], world: &mut World) {
        let state = world.core.group_state(&group());
        if state.is_none_or(|(state, _)| state != GroupState::Stable) {
            return;
        }
        let mut consumed = Vec::new();
        for member in members.iter().filter(|member| member.is_current(world)) {
            consumed.extend_from_slice(&member.consumes);
        }
        let all = consumed.len();
        consumed.sort_unstable();
        consumed.dedup();
        if consumed.len() != all {
            world.violated(format!("two members of a generation share a partition: {members:?}"));
        }
    }
}
