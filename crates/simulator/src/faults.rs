//! What goes wrong: by chance, or because a scenario says so.

use std::time::Duration;

use crate::clock::SimTime;
use crate::disk::CrashKind;
use crate::oracle::records_in;
use crate::report::Promise;
use crate::world::{Happening, World};

/// What can go wrong by chance, as often as it is listed.
const KINDS: [Fault; 20] = [
    Fault::Crash,
    Fault::Crash,
    Fault::Crash,
    Fault::Crash,
    Fault::Move,
    Fault::Move,
    Fault::Break,
    Fault::Break,
    Fault::Break,
    Fault::Break,
    Fault::Stall,
    Fault::Stall,
    Fault::Stall,
    Fault::SlowDisk,
    Fault::FullDisk,
    Fault::BadMetadata,
    Fault::BadMetadata,
    Fault::TooFewReplicas,
    Fault::SlowResponses,
    Fault::Throttle,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Crash,
    Move,
    Break,
    Stall,
    SlowDisk,
    FullDisk,
    BadMetadata,
    TooFewReplicas,
    SlowResponses,
    Throttle,
}

impl World {
    /// Something goes wrong, by chance, until the time of faults is over.
    pub(crate) fn something_goes_wrong(&mut self) {
        if self.faults_over {
            return;
        }
        let broker = self.fault_dice.place(self.brokers.len());
        let client = self.fault_dice.place(self.clients.len());
        let ms = self.fault_dice.pick(&[5, 50, 300, 1500]);
        let until = self.now + Duration::from_millis(self.fault_dice.between(1, ms));
        match self.fault_dice.pick(&KINDS) {
            Fault::Crash => {
                let kind = self.fault_dice.pick(&[CrashKind::Kill, CrashKind::PowerCut]);
                let down_ms = self.fault_dice.between(1, 400);
                self.crash(broker, kind, down_ms);
            }
            Fault::Move => {
                let slot = self.fault_dice.place(self.partitions.len());
                let lose_unflushed = self.fault_dice.chance(500);
                self.move_leader(slot, broker, lose_unflushed);
            }
            Fault::Break => self.break_link(client, broker),
            Fault::Stall => self.stall(client, broker, until),
            Fault::SlowDisk => {
                let us = self.fault_dice.pick(&[20_000, 300_000, 10_000_000]);
                self.slow_disk(broker, us, until);
            }
            Fault::FullDisk => {
                let free_bytes = self.fault_dice.place(3000);
                self.fill_disk(broker, free_bytes, until);
            }
            Fault::BadMetadata => match self.fault_dice.below(3) {
                0 => self.metadata_fails = until,
                1 => self.metadata_stale = until,
                _ => self.lose_topics(until),
            },
            Fault::TooFewReplicas => self.brokers[broker].too_few_replicas = until,
            Fault::SlowResponses => {
                let us = self.fault_dice.pick(&[50_000, 900_000]);
                self.slow_responses(broker, us, until);
            }
            Fault::Throttle => self.brokers[broker].throttle = Some((until, 20)),
        }
        if self.transactions.is_some() && self.fault_dice.chance(600) {
            self.a_transaction_goes_wrong(until);
        }
        if self.plan.faults.recreate_topics && self.fault_dice.chance(200) {
            let topic = self.fault_dice.place(self.cluster.callers_topics);
            self.recreate_topic(topic);
        }
        if self.plan.faults.lose_topics && self.fault_dice.chance(400) {
            self.lose_topics(until);
            // A look at metadata, as an idle producer takes it now and then.
            let topics = self.callers_topics();
            self.push_metadata(client, &topics);
        }
        let gap = self.fault_dice.between(1, self.plan.faults.gap_us_max);
        self.queue.push(self.now + Duration::from_micros(gap), Happening::Fault);
    }

    /// Every fault is over; what is down comes up.
    pub(crate) fn repair_everything(&mut self) {
        self.faults_over = true;
        self.note(format_args!("the faults are over"));
        self.stalled.clear();
        self.topics_lost = self.now;
        self.metadata_fails = self.now;
        self.metadata_stale = self.now;
        self.repair_transactions();
        for broker in 0..self.brokers.len() {
            let state = &mut self.brokers[broker];
            state.slow_disk = None;
            state.full_disk = None;
            state.slow_responses = None;
            state.throttle = None;
            state.lose_responses = 0;
            state.too_few_replicas = self.now;
            let life = state.life;
            self.restart(broker, life);
        }
    }

    /// A broker goes down, with all its partitions, and comes up `down_ms` later. Meanwhile the
    /// controller may have another broker take over its files.
    pub fn crash(&mut self, broker: usize, kind: CrashKind, down_ms: u64) {
        if !self.brokers[broker].up {
            return;
        }
        self.counters.crashes += 1;
        self.brokers[broker].up = false;
        self.brokers[broker].life += 1;
        let mut lost = 0;
        for partition in self.partitions.iter_mut().filter(|p| p.host == broker) {
            if partition.log.is_some() {
                lost += partition.crash(kind, &mut self.disk_dice);
            }
        }
        self.note(format_args!("broker {broker} goes down ({kind:?}), {lost} bytes are lost"));
        self.lose_connections_to(broker);
        let life = self.brokers[broker].life;
        let restart = self.now + Duration::from_millis(down_ms);
        self.queue.push(restart, Happening::Restart { broker, life });
        let notice_us = self.fault_dice.between(1000, 100_000);
        let notice = self.now + Duration::from_micros(notice_us);
        self.queue.push(notice, Happening::CrashNoticed { broker, life });
    }

    fn lose_connections_to(&mut self, broker: usize) {
        let life = self.brokers[broker].life;
        for connection in 0..self.connections.len() {
            let state = &mut self.connections[connection];
            if state.broker != broker || state.broker_life == life || !state.returns {
                continue;
            }
            state.returns = false;
            state.pending.clear();
            state.backlog.clear();
            let at = self.now + Duration::from_micros(self.fault_dice.between(50, 200_000));
            self.queue.push(at, Happening::ConnectionLost { connection });
        }
    }

    /// The controller finds a broker gone: another takes over, or nobody leads for now.
    pub(crate) fn crash_noticed(&mut self, broker: usize, life: u32) {
        if self.brokers[broker].up || self.brokers[broker].life != life {
            return;
        }
        for slot in 0..self.partitions.len() {
            if self.partitions[slot].host != broker {
                continue;
            }
            self.cluster.stale_view = self.cluster.view();
            self.cluster.leaders[slot].broker = None;
            let others: Vec<usize> =
                (0..self.brokers.len()).filter(|other| self.brokers[*other].up).collect();
            if !others.is_empty() && self.fault_dice.chance(400) {
                let other = self.fault_dice.pick(&others);
                self.counters.moves += 1;
                self.note(format_args!("broker {other} takes over partition {slot}"));
                self.partitions[slot].host = other;
                self.open_log(slot);
            }
        }
    }

    pub(crate) fn restart(&mut self, broker: usize, life: u32) {
        if self.brokers[broker].up || self.brokers[broker].life != life {
            return;
        }
        self.note(format_args!("broker {broker} comes up"));
        self.brokers[broker].up = true;
        for slot in 0..self.partitions.len() {
            if self.partitions[slot].host == broker && self.partitions[slot].log.is_none() {
                self.open_log(slot);
            }
        }
    }

    /// Another broker takes over a partition, and perhaps only what was safe of it. Produce
    /// requests that wait for their flush at the old leader are told that it leads no more.
    pub fn move_leader(&mut self, slot: usize, to: usize, lose_unflushed: bool) {
        let from = self.partitions[slot].host;
        if from == to || !self.brokers[to].up || self.partitions[slot].log.is_none() {
            return;
        }
        self.counters.moves += 1;
        self.note(format_args!("partition {slot} moves from broker {from} to {to}"));
        if lose_unflushed {
            self.partitions[slot].crash(CrashKind::PowerCut, &mut self.disk_dice);
        } else {
            self.partitions[slot].close();
        }
        self.partitions[slot].host = to;
        self.open_log(slot);
        self.release(from);
    }

    /// The connection of a client to a broker breaks, with what is on its way.
    pub fn break_link(&mut self, client: usize, broker: usize) {
        if let Some(&connection) = self.open_connections(client).get(&broker) {
            self.note(format_args!("the connection of client {client} and broker {broker} breaks"));
            self.break_connection(connection);
        }
    }

    /// Nothing gets through between a client and a broker until the moment; then it goes on.
    pub fn stall(&mut self, client: usize, broker: usize, until: SimTime) {
        self.counters.stalls += 1;
        self.note(format_args!("client {client} and broker {broker} stall until {until}"));
        self.stalled.insert((client, broker), until);
    }

    /// The next responses of a broker are lost, each with its connection.
    pub fn lose_responses(&mut self, broker: usize, count: u32) {
        self.brokers[broker].lose_responses = count;
    }

    /// A broker's flushes take `us` microseconds more until the moment.
    pub fn slow_disk(&mut self, broker: usize, us: u64, until: SimTime) {
        self.note(format_args!("flushes of broker {broker} take {us} us more until {until}"));
        self.brokers[broker].slow_disk = Some((until, us));
    }

    /// A broker's disk has `free_bytes` left until the moment.
    pub fn fill_disk(&mut self, broker: usize, free_bytes: usize, until: SimTime) {
        self.note(format_args!("broker {broker} has {free_bytes} bytes left until {until}"));
        self.brokers[broker].full_disk = Some((until, free_bytes));
    }

    /// A broker's responses take `us` microseconds more until the moment.
    pub fn slow_responses(&mut self, broker: usize, us: u64, until: SimTime) {
        self.note(format_args!("responses of broker {broker} take {us} us more until {until}"));
        self.brokers[broker].slow_responses = Some((until, us));
    }

    /// A broker has too few replicas in sync until the moment.
    pub fn too_few_replicas(&mut self, broker: usize, until: SimTime) {
        self.brokers[broker].too_few_replicas = until;
    }

    /// Metadata knows no topic until the moment.
    pub fn lose_topics(&mut self, until: SimTime) {
        self.note(format_args!("metadata knows no topic until {until}"));
        self.topics_lost = until;
    }

    /// A topic is deleted and made anew.
    pub fn recreate_topic(&mut self, topic: usize) {
        self.counters.recreations += 1;
        let id = self.cluster.new_topic_id();
        self.cluster.stale_view = self.cluster.view();
        self.cluster.topics[topic].id = id;
        self.note(format_args!("topic {topic} is made anew as {id}"));
        let first_slot = self.cluster.topics[topic].first_slot;
        let slots = usize::try_from(self.cluster.topics[topic].partition_count).unwrap_or(0);
        for slot in first_slot..first_slot + slots {
            self.bury(slot);
            let now = self.now.broker_now();
            let partition = &mut self.partitions[slot];
            partition.leader_epoch = streamledger_protocol::LeaderEpoch::ZERO;
            partition.create(now);
            let host = partition.host;
            if !self.brokers[host].up {
                self.partitions[slot].close();
            }
            let leader = &mut self.cluster.leaders[slot];
            leader.epoch = streamledger_protocol::LeaderEpoch::ZERO;
            leader.broker = self.brokers[host].up.then_some(host);
            self.consumers[slot] = crate::world::Consumer::default();
            self.release(host);
        }
    }

    /// Notes what a partition holds before its topic is deleted.
    fn bury(&mut self, slot: usize) {
        if self.partitions[slot].log.is_none() {
            let now = self.now.broker_now();
            if let Err(damage) = self.partitions[slot].recover(now, &mut self.disk_dice) {
                self.violate(Promise::LogOpens, format!("partition {slot}: {damage}"));
            }
        }
        match self.read_all(slot).and_then(|stored| records_in(&stored)) {
            Ok(found) => self.buried.entry(slot).or_default().push(found),
            Err(error) => {
                let text = format!("partition {slot}: {error}");
                self.violate(Promise::ContentIsWhatWasSent, text);
            }
        }
    }
}
