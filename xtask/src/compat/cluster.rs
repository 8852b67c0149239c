//! Our producer against three brokers of Apache Kafka, while leaders are killed and partitions
//! move: what was acked is there once, in order (the laws of `kill.rs`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use streamledger::admin::Admin;
use streamledger::{BrokerId, NewTopic, PartitionIndex, TopicName};

use super::broker::Broker;
use super::kill::{self, PARTITIONS, Sender};
use super::lab::{LIMIT, Trial};
use super::our_client::{self, OurSender};
use super::our_transactions;
use super::tools::Tools;
use crate::failure::{Failure, Outcome, ensure};
use crate::process;

const NODES: usize = 3;
const NODES_OF_A_PARTITION: i16 = 3;
const KILLS: i32 = 3;
/// Kafka's ten seconds until a silent broker is given up, made three; the rest is Kafka's own.
const SETTINGS: [&str; 4] = [
    "broker.session.timeout.ms=3000",
    "broker.heartbeat.interval.ms=500",
    "auto.create.topics.enable=false",
    "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector",
];
const SETTLE_LIMIT: Duration = Duration::from_secs(90);

/// Brokers 1 to 3 of one Apache Kafka, each a controller too.
pub(crate) struct Cluster {
    nodes: Vec<Broker>,
}

impl Cluster {
    pub(crate) fn start(tools: &Tools, directory: &Path) -> Outcome<Self> {
        Ok(Self { nodes: Broker::start_cluster(tools, directory, NODES, &SETTINGS)? })
    }

    pub(crate) fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(Broker::bootstrap).collect();
        addresses.join(",")
    }

    pub(crate) fn node(&mut self, id: BrokerId) -> Outcome<&mut Broker> {
        let place = usize::try_from(id.0 - 1)?;
        self.nodes.get_mut(place).ok_or_else(|| Failure::new(format!("no broker {id}")))
    }
}

/// What both scenarios begin with: a topic and a producer that is under way.
struct Load {
    admin: Admin,
    topic: TopicName,
    acks: PathBuf,
    sender: OurSender,
}

impl Load {
    fn begin(trial: &Trial, bootstrap: &str, replicas: i16) -> Outcome<Self> {
        let admin = our_client::admin(bootstrap)?;
        let topic = TopicName::new(trial.topic("numbers"));
        let new = NewTopic::new(topic.clone(), PARTITIONS, replicas);
        admin.create_topics(&[new.config("min.insync.replicas", "2")])?.only()?;
        let acks = trial.directory.join("acks.tsv");
        let settled = |at: &Place| at.leader.is_some() && at.in_sync.len() == at.replicas.len();
        wait_until(&admin, &topic, "all replicas in sync", settled)?;
        let mut sender = OurSender::start(trial, bootstrap, topic.as_str(), &acks)?;
        kill::under_way(&mut sender, &acks)?;
        Ok(Self { admin, topic, acks, sender })
    }

    fn leader(&self, partition: PartitionIndex) -> Outcome<BrokerId> {
        leader_of(&self.admin, &self.topic, |_| partition)
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Place) -> bool) -> Outcome<()> {
        wait_until(&self.admin, &self.topic, what, is_so)
    }
}

/// Where a partition is.
struct Place {
    partition: PartitionIndex,
    replicas: Vec<BrokerId>,
    in_sync: Vec<BrokerId>,
    leader: Option<BrokerId>,
}

/// Waits until it is so for each partition, by what any broker says.
fn wait_until(
    admin: &Admin,
    topic: &TopicName,
    what: &str,
    is_so: impl Fn(&Place) -> bool,
) -> Outcome<()> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let described = admin.describe_topics(std::slice::from_ref(topic))?.only();
        let partitions = described.map(|topic| topic.partitions).unwrap_or_default();
        let places = partitions.iter().cloned().map(|p| Place {
            partition: p.index,
            replicas: p.replicas,
            in_sync: p.in_sync,
            leader: p.leader,
        });
        if places.into_iter().all(|place| is_so(&place))
            && i32::try_from(partitions.len())? == PARTITIONS
        {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "not within 90 s: {what}; {partitions:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// kill -9 of the leader of one partition after the other, idempotent with acks=all and five in
/// flight; each comes back before the next goes.
pub(crate) fn survives_killed_leaders(trial: &Trial) -> Outcome<String> {
    let mut cluster = trial.cluster()?;
    let bootstrap = cluster.bootstrap();
    let mut load = Load::begin(trial, &bootstrap, 3)?;
    for kill in 0..KILLS {
        let leader = load.leader(PartitionIndex(kill % PARTITIONS))?;
        cluster.node(leader)?.kill();
        let others_lead = |at: &Place| {
            at.leader.is_some_and(|now| now != leader) && !at.in_sync.contains(&leader)
        };
        load.wait_until("others lead", others_lead)?;
        cluster.node(leader)?.start_again(trial.tools())?;
        load.wait_until("it is in sync again", |at| at.in_sync.len() == NODES)?;
        kill::under_way(&mut load.sender, &load.acks)
            .map_err(|failure| failure.while_doing(format!("sending after kill {}", kill + 1)))?;
    }
    let (sent, read) =
        kill::judge(trial, load.sender, &bootstrap, load.topic.as_str(), &load.acks)?;
    Ok(format!("{} acked over {KILLS} killed leaders, {read} in the log", sent.acked))
}

/// kill -9 of the broker that coordinates the transactions of a producer of ours, amid them, again
/// and again: each time another has to go on from the coordinator's log.
pub(crate) fn survives_killed_coordinators(trial: &Trial) -> Outcome<String> {
    let mut cluster = trial.cluster()?;
    let (bootstrap, name) = (cluster.bootstrap(), trial.name());
    let admin = our_client::admin(&bootstrap)?;
    let topic = TopicName::new(trial.topic("numbers"));
    let new = NewTopic::new(topic.clone(), PARTITIONS, NODES_OF_A_PARTITION);
    admin.create_topics(&[new.config("min.insync.replicas", "2")])?.only()?;
    let load = Arc::new(our_transactions::Load::default());
    let worker = {
        let (bootstrap, topic, load) = (bootstrap.clone(), topic.clone(), Arc::clone(&load));
        thread::spawn(move || {
            our_transactions::transact_until(&bootstrap, topic.as_str(), name, &load)
        })
    };
    let mut killed = BTreeSet::new();
    for _ in 0..KILLS {
        load.wait_for(load.committed.load(Ordering::Relaxed) + 10)?;
        let coordinator = coordinator_of(&admin, name)?;
        cluster.node(coordinator)?.kill();
        killed.insert(coordinator);
        // While it is away.
        load.wait_for(load.committed.load(Ordering::Relaxed) + 10)?;
        until_another_leads(&admin, name, coordinator)?;
        cluster.node(coordinator)?.start_again(trial.tools())?;
        wait_until(&admin, &topic, "it is in sync again", |at| at.in_sync.len() == NODES)?;
    }
    load.stop.store(true, Ordering::Relaxed);
    let done = worker.join().map_err(|_| Failure::new("the producer panicked"))??;
    let told = done.hold_against(&our_transactions::committed(&bootstrap, topic.as_str())?)?;
    Ok(format!("{told}, over {KILLS} killed coordinators, {} brokers", killed.len()))
}

/// Who leads the partition of `__transaction_state` that keeps a transactional id.
fn coordinator_of(admin: &Admin, name: &str) -> Outcome<BrokerId> {
    let topic = TopicName::new("__transaction_state");
    let hash = name
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    leader_of(admin, &topic, |count| PartitionIndex((hash & i32::MAX) % count))
}

fn until_another_leads(admin: &Admin, name: &str, former: BrokerId) -> Outcome<()> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    while coordinator_of(admin, name)? == former {
        ensure!(Instant::now() < deadline, "nobody took over from {former} in 90 s");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Who leads a partition, which is chosen by their count, as soon as the broker that is asked knows
/// of the topic and somebody leads it.
fn leader_of(
    admin: &Admin,
    topic: &TopicName,
    which: impl Fn(i32) -> PartitionIndex,
) -> Outcome<BrokerId> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let described = admin.describe_topics(std::slice::from_ref(topic))?.only();
        let partitions = described.map(|topic| topic.partitions).unwrap_or_default();
        let count = i32::try_from(partitions.len())?;
        let found = partitions.iter().find(|found| found.index == which(count.max(1)));
        if let Some(leader) = found.and_then(|partition| partition.leader) {
            return Ok(leader);
        }
        ensure!(Instant::now() < deadline, "nobody leads {topic} in 90 s: {partitions:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Each partition wanders over the brokers, two replicas at a time, data and leader with it.
pub(crate) fn follows_moving_partitions(trial: &Trial) -> Outcome<String> {
    let cluster = trial.cluster()?;
    let bootstrap = cluster.bootstrap();
    let load = Load::begin(trial, &bootstrap, 2)?;
    let mut leaders = (0..PARTITIONS)
        .map(|partition| load.leader(PartitionIndex(partition)))
        .collect::<Outcome<Vec<BrokerId>>>()?;
    let mut moved = 0;
    for round in 0..3 {
        // Broker 1, 2 or 3, and the next; a partition's are other ones in each round.
        let replicas = |partition: i32| {
            let first = (partition + round).rem_euclid(3);
            [BrokerId(first + 1), BrokerId((first + 1) % 3 + 1)]
        };
        let mut reassign = trial.tools().go()?;
        reassign.args(["reassign", &bootstrap, load.topic.as_str()]);
        for partition in 0..PARTITIONS {
            let [leader, follower] = replicas(partition);
            reassign.arg(format!("{leader},{follower}"));
        }
        process::run_ok(&mut reassign, b"", LIMIT)?;
        let arrived = |at: &Place| {
            let target = replicas(at.partition.0);
            at.replicas == target && at.leader == Some(target[0]) && at.in_sync.len() == 2
        };
        load.wait_until("moved, and led by the first replica", arrived)?;
        let now = (0..PARTITIONS).map(|partition| replicas(partition)[0]).collect::<Vec<_>>();
        moved += leaders.iter().zip(&now).filter(|(before, now)| before != now).count();
        leaders = now;
        thread::sleep(Duration::from_millis(300));
    }
    ensure!(moved >= 6, "only {moved} leaders moved");
    let (sent, read) =
        kill::judge(trial, load.sender, &bootstrap, load.topic.as_str(), &load.acks)?;
    Ok(format!("{} acked over {moved} moves of a leader, {read} in the log", sent.acked))
}
