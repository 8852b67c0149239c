//! Records without keys, and a broker that is slow: its partitions get less of them, as long as it
//! is (KIP-794), and none is lost. Without adaptive partitioning all get the same.
//!
//! 1. The broker is slow because it stands still, for less time than the cluster takes to miss it.
//! 2. What counts is sent while it stands still, many batches of few records: the partitioner
//!    chooses once a batch.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use streamledger::admin::Admin;
use streamledger::{BrokerId, DeliveryFuture, NewTopic, PartitionIndex, Producer, TopicName};

use super::cluster::Cluster;
use super::lab::{LIMIT, Trial};
use super::our_client;
use super::record::Record;
use super::workload::PARTITIONS;
use crate::failure::{Failure, Outcome, ensure};

/// Half of the time after which the cluster gives a silent broker up.
const STILL: Duration = Duration::from_millis(1500);
/// How often the broker stands still, at most, until enough has been sent meanwhile.
const ROUNDS_MAX: usize = 12;
/// A batch has about so many records; each choice of a partition is for one batch.
const RECORDS_OF_A_BATCH: usize = 8;
const BATCHES_MIN: usize = 2400;

/// How many records each partition was sent while the broker stood still.
struct Shares {
    records: BTreeMap<PartitionIndex, usize>,
}

impl Shares {
    fn mean_of(&self, partitions: &BTreeSet<PartitionIndex>) -> f64 {
        let records = partitions.iter().filter_map(|at| self.records.get(at)).sum::<usize>();
        records as f64 / partitions.len().max(1) as f64
    }
}

pub(crate) fn spares_a_slow_broker(trial: &Trial) -> Outcome<String> {
    let mut cluster = trial.cluster()?;
    let bootstrap = cluster.bootstrap();
    let admin = our_client::admin(&bootstrap)?;
    let mut said = Vec::new();
    for (adaptive, name) in [(true, "spared"), (false, "even")] {
        let topic = TopicName::new(trial.topic(name));
        admin.create_topics(&[NewTopic::new(topic.clone(), PARTITIONS, 1)])?.only()?;
        let (slow, its_own, others) = slow_broker(&admin, &topic)?;
        let shares = send(&mut cluster, slow, &topic, adaptive)?;
        let (to_slow, to_others) = (shares.mean_of(&its_own), shares.mean_of(&others));
        let share = to_slow / to_others;
        match adaptive {
            true => ensure!(
                (0.0..0.6).contains(&share),
                "{share:.2} of what the others got: {:?}",
                shares.records
            ),
            false => ensure!(
                (0.75..1.34).contains(&share),
                "{share:.2} of what the others got, not adaptive: {:?}",
                shares.records
            ),
        }
        said.push(format!("{share:.2}"));
    }
    Ok(format!(
        "a partition of a slow broker gets {} of what others get, {} when not adaptive",
        said[0], said[1]
    ))
}

/// The broker that leads the fewest partitions but one at least; these, and those of the others.
fn slow_broker(
    admin: &Admin,
    topic: &TopicName,
) -> Outcome<(BrokerId, BTreeSet<PartitionIndex>, BTreeSet<PartitionIndex>)> {
    // Not every broker knows of a new topic as soon as it is made.
    let deadline = Instant::now() + LIMIT;
    let led = loop {
        match led_by(admin, topic) {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
            led => break led?,
        }
    };
    let fewest = led.iter().min_by_key(|(_, partitions)| partitions.len());
    let (slow, its_own) = fewest.ok_or_else(|| Failure::new("no partitions"))?;
    let others = led.iter().filter(|(other, _)| *other != slow);
    let others: BTreeSet<_> = others.flat_map(|(_, partitions)| partitions).copied().collect();
    ensure!(!others.is_empty(), "{slow} leads all partitions");
    Ok((*slow, its_own.clone(), others))
}

/// The partitions that each broker leads.
fn led_by(
    admin: &Admin,
    topic: &TopicName,
) -> Outcome<BTreeMap<BrokerId, BTreeSet<PartitionIndex>>> {
    let described = admin.describe_topics(std::slice::from_ref(topic))?.only()?;
    let mut led: BTreeMap<BrokerId, BTreeSet<PartitionIndex>> = BTreeMap::new();
    for partition in &described.partitions {
        let leader = partition.leader.ok_or_else(|| Failure::new("a partition has no leader"))?;
        led.entry(leader).or_default().insert(partition.index);
    }
    let known = described.partitions.len();
    ensure!(known == usize::try_from(PARTITIONS)?, "{known} partitions are known of");
    Ok(led)
}

/// Sends until enough was sent while the broker stood still, and reads all of it.
fn send(
    cluster: &mut Cluster,
    slow: BrokerId,
    topic: &TopicName,
    adaptive: bool,
) -> Outcome<Shares> {
    let settings = [
        format!("partitioner.adaptive.partitioning.enable={adaptive}"),
        "batch.size=1024".to_owned(),
        "max.in.flight.requests.per.connection=1".to_owned(),
    ];
    let bootstrap = cluster.bootstrap();
    let producer = our_client::producer(&bootstrap, &settings)?;
    let (mut deliveries, mut sent) = (Vec::new(), 0);
    let mut shares = Shares { records: BTreeMap::new() };
    // All leaders are connected, and have acknowledged a first batch of each partition.
    for partition in 0..PARTITIONS {
        let mut record = number(topic, sent);
        record.partition = Some(partition);
        deliveries.push(our_client::send(&producer, &record)?);
        sent += 1;
    }
    producer.flush()?;
    for _ in 0..ROUNDS_MAX {
        let first = deliveries.len();
        cluster.node(slow)?.while_it_stands_still(|| {
            let end = Instant::now() + STILL;
            while Instant::now() < end {
                send_some(&producer, topic, &mut sent, &mut deliveries)?;
                // The partitioner looks at the queues every two milliseconds at most.
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        })?;
        producer.flush()?;
        for delivery in deliveries.split_off(first) {
            let at = delivery.wait()?.topic_partition.partition;
            *shares.records.entry(at).or_default() += 1;
        }
        if shares.records.values().sum::<usize>() >= BATCHES_MIN * RECORDS_OF_A_BATCH {
            break;
        }
    }
    our_client::close(&producer)?;
    let in_rounds = shares.records.values().sum::<usize>();
    ensure!(in_rounds > BATCHES_MIN, "only {in_rounds} records were sent to a broker that is slow");
    let read = our_client::consume_from(&bootstrap, &[topic.to_string()])?;
    let different: BTreeSet<_> = read.iter().map(|record| record.value.clone()).collect();
    let (count, different) = (read.len(), different.len());
    ensure!(count == sent && different == sent, "{sent} sent, {count} read, {different} different");
    Ok(shares)
}

/// As many records as a batch takes.
fn send_some(
    producer: &Producer,
    topic: &TopicName,
    sent: &mut usize,
    deliveries: &mut Vec<DeliveryFuture>,
) -> Outcome<()> {
    for _ in 0..RECORDS_OF_A_BATCH {
        deliveries.push(our_client::send(producer, &number(topic, *sent))?);
        *sent += 1;
    }
    Ok(())
}

/// A record without a key, of about a hundred bytes.
fn number(topic: &TopicName, number: usize) -> Record {
    Record { value: Some(format!("{number:0>100}").into_bytes()), ..Record::to(topic.as_str()) }
}
