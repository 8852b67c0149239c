//! A member by the next-generation protocol, which takes its time to give partitions up.

use std::collections::BTreeSet;

use streamledger_broker_core::group::{Assigned, Committer, ConsumerHeartbeat, TopicsView};
use streamledger_protocol::{ErrorCode, GroupId, TopicId, TopicName};

use super::world::World;
use crate::random::Dice;

/// Two topics, whose partitions grow.
#[derive(Debug, Clone)]
pub(super) struct Topics {
    version: u64,
    partition_counts: [i32; 2],
}

impl Default for Topics {
    fn default() -> Self {
        Self { version: 1, partition_counts: [4, 1] }
    }
}

impl Topics {
    pub(super) fn grow(&mut self, dice: &mut Dice) {
        let topic = dice.place(2);
        if self.partition_counts[topic] < 9 {
            self.partition_counts[topic] += 1;
            self.version += 1;
        }
    }
}

impl TopicsView for Topics {
    fn version(&self) -> u64 {
        self.version
    }

    fn topic(&self, name: &TopicName) -> Option<(TopicId, i32)> {
        match name.as_str() {
            "one" => Some((TopicId([1; 16]), self.partition_counts[0])),
            "two" => Some((TopicId([2; 16]), self.partition_counts[1])),
            _ => None,
        }
    }

    fn matching(&self, _: &str) -> Option<BTreeSet<TopicName>> {
        Some(["one".into(), "two".into()].into())
    }
}

/// What a member believes.
#[derive(Debug, Clone)]
pub(super) struct NextMember {
    group: GroupId,
    name: String,
    lives: u32,
    instance_id: Option<String>,
    epoch: i32,
    /// The partitions it consumes.
    consumes: Assigned,
    /// What it was told to have, if it hasn't done all of that yet.
    told: Option<Assigned>,
    /// An answer was lost: it says all of itself again, and so is told all.
    has_missed: bool,
}

impl NextMember {
    pub(super) fn new(number: usize) -> Self {
        let instance_id = (number == 0).then(|| "static".to_owned());
        Self { instance_id, ..Self::of("next", format!("n{number}")) }
    }

    /// A dynamic one of that group.
    pub(super) fn of(group: &str, name: String) -> Self {
        Self {
            group: GroupId::from(group),
            name,
            lives: 0,
            instance_id: None,
            epoch: 0,
            consumes: Assigned::new(),
            told: None,
            has_missed: false,
        }
    }

    /// A static one, if it has an instance id.
    pub(super) fn with_instance(self, instance_id: Option<String>) -> Self {
        Self { instance_id, ..self }
    }

    /// Whether it is in its group, as far as it knows.
    pub(super) fn has_joined(&self) -> bool {
        self.epoch > 0
    }

    /// What it consumes, if the group says that it is its member in that epoch.
    pub(super) fn consumed(&self, world: &World) -> Option<&Assigned> {
        self.is_current(world).then_some(&self.consumes)
    }

    fn member_id(&self) -> String {
        format!("{}-{}", self.name, self.lives)
    }

    fn forget(&mut self) {
        self.epoch = 0;
        self.consumes.clear();
        self.told = None;
        self.has_missed = false;
    }

    /// Whether the group says that this is its member, in that epoch.
    fn is_current(&self, world: &World) -> bool {
        let described = world.core.describe_consumer(&self.group);
        let id = self.member_id();
        described.is_some_and(|group| {
            group.members.iter().any(|one| one.member_id == id && one.epoch == self.epoch)
        })
    }

    pub(super) fn act(&mut self, world: &mut World) {
        if let Some(told) = self.told.clone()
            && world.dice.chance(600)
        {
            // First what is to go, later what is to come.
            match self.consumes.is_subset(&told) {
                true => {
                    self.consumes = told;
                    self.told = None;
                    world.report.assignments += 1;
                }
                false => self.consumes.retain(|one| told.contains(one)),
            }
            return;
        }
        match world.dice.below(14) {
            0 if self.epoch > 0 => self.leave(world),
            1..=3 if self.epoch > 0 => {
                let by = Committer {
                    member_id: self.member_id(),
                    instance_id: self.instance_id.clone(),
                    generation: self.epoch,
                };
                let is_current = self.is_current(world);
                world.commit(&self.group, &by, is_current);
            }
            _ => self.heartbeat(world),
        }
    }

    fn request(&self, dice: &mut Dice) -> ConsumerHeartbeat {
        let joins = self.epoch == 0;
        let by_pattern = self.name == "n1";
        let names = match (joins || dice.chance(30), by_pattern) {
            _ if self.has_missed && !by_pattern => Some(["one".into(), "two".into()].into()),
            (true, false) if dice.chance(500) => Some(["one".into()].into()),
            (true, false) => Some(["one".into(), "two".into()].into()),
            _ => None,
        };
        ConsumerHeartbeat {
            group: self.group.clone(),
            member_id: self.member_id(),
            member_epoch: self.epoch,
            instance_id: self.instance_id.clone(),
            rack_id: None,
            rebalance_timeout_ms: if joins || self.has_missed { 15_000 } else { -1 },
            topic_names: names,
            topic_regex: ((joins || self.has_missed) && by_pattern).then(|| ".*".to_owned()),
            assignor: (joins && dice.chance(300)).then(|| "range".to_owned()),
            owned: (joins || self.has_missed || dice.chance(800)).then(|| self.consumes.clone()),
            client_id: self.name.clone(),
            client_host: "/host".to_owned(),
        }
    }

    fn heartbeat(&mut self, world: &mut World) {
        if self.epoch == 0 {
            self.consumes.clear();
        }
        let request = self.request(&mut world.dice);
        let reply = world.core.consumer_heartbeat(world.now, &request, &world.topics);
        let kept = world.settle();
        if !kept || world.dice.chance(80) {
            // Not kept, or the answer is lost: it asks again as it was.
            self.has_missed = true;
            return;
        }
        self.has_missed = false;
        match reply {
            Ok(reply) => {
                self.epoch = reply.member_epoch;
                if reply.assigned.is_some() {
                    self.told = reply.assigned;
                }
            }
            Err(refusal) => match refusal.error {
                ErrorCode::UnreleasedInstanceId => {}
                ErrorCode::FencedInstanceId => {
                    self.lives += 1;
                    self.forget();
                }
                _ => self.forget(),
            },
        }
    }

    pub(super) fn leave(&mut self, world: &mut World) {
        let is_static = self.instance_id.is_some();
        let request = ConsumerHeartbeat {
            member_epoch: if is_static { -2 } else { -1 },
            ..self.request(&mut world.dice)
        };
        let request = ConsumerHeartbeat { topic_names: None, ..request };
        let _ = world.core.consumer_heartbeat(world.now, &request, &world.topics);
        if world.settle() {
            self.lives += u32::from(is_static);
        }
        self.forget();
    }

    /// Of the members that are each in their epoch, no two consume a partition.
    pub(super) fn check(members: &[Self], world: &mut World) {
        let mut consumed = Assigned::new();
        let current = members.iter().filter_map(|member| member.consumed(world)).flatten();
        let twice = current.copied().find(|one| !consumed.insert(*one));
        if let Some(one) = twice {
            world.violated(format!("{one:?} is two members': {members:?}"));
        }
    }
}
