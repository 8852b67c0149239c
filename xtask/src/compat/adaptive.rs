//! Records without keys, and a broker that is slow: its partitions get less of them, as long as it
//! is (KIP-794), and none is lost. Without adaptive partitioning all get the same.
//!
//! 1. The broker is slow because it stands still, for less time than the cluster takes to miss it.
//! 2. What counts is sent while it stands still, many batches of few records: the partitioner
//!    chooses once a batch.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use streamledger::{BrokerId, DeliveryFuture, NewTopic, PartitionIndex, Producer};

use super::cluster::Cluster;
use super::lab::{LIMIT, Trial};
use super::our_client;
use super::record::Record;
use crate::failure::{Outcome, ensure};

/// Far less than the time after which the cluster gives a silent broker up, also when the machine
/// is slow to let it go on.
const STILL: Duration = Duration::from_millis(800);
/// The brokers that the partitions are on, one each; a record's share of chance is one in three.
const PLACES: [BrokerId; 3] = [BrokerId(1), BrokerId(2), BrokerId(3)];
const SLOW: usize = 1;
/// A batch has about so many records; each choice of a partition is for one batch.
const RECORDS_OF_A_BATCH: usize = 8;
const BATCHES_MIN: usize = 2400;

/// How many records each partition was sent while the broker stood still.
struct Shares {
    records: BTreeMap<PartitionIndex, usize>,
}

impl Shares {
    /// What the slow broker's partition got, as a part of what each other got.
    fn of_slow(&self) -> f64 {
        let slow = PartitionIndex(SLOW as i32);
        let of_slow = self.records.get(&slow).copied().unwrap_or(0);
        let all = self.records.values().sum::<usize>();
        of_slow as f64 * (PLACES.len() - 1) as f64 / (all - of_slow) as f64
    }
}

pub(crate) fn spares_a_slow_broker(trial: &Trial) -> Outcome<String> {
    let mut cluster = trial.cluster()?;
    let bootstrap = cluster.bootstrap();
    let admin = our_client::admin(&bootstrap)?;
    let mut said = Vec::new();
    for (adaptive, name) in [(true, "spared"), (false, "even")] {
        let topic = trial.topic(name);
        let new = NewTopic::with_replicas(topic.as_str(), PLACES.map(|place| vec![place]));
        admin.create_topics(&[new])?.only()?;
        let shares = send(&mut cluster, &topic, adaptive)?;
        let share = shares.of_slow();
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

/// Sends until enough was sent while the broker stood still, and reads all of it.
fn send(cluster: &mut Cluster, topic: &str, adaptive: bool) -> Outcome<Shares> {
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
    for (partition, _) in (0..).zip(PLACES) {
        let mut record = number(topic, sent);
        record.partition = Some(partition);
        deliveries.push(our_client::send(&producer, &record)?);
        sent += 1;
    }
    producer.flush()?;
    let deadline = Instant::now() + LIMIT;
    while shares.records.values().sum::<usize>() < BATCHES_MIN * RECORDS_OF_A_BATCH {
        ensure!(Instant::now() < deadline, "too little was sent in 120 s: {:?}", shares.records);
        let first = deliveries.len();
        cluster.node(PLACES[SLOW])?.while_it_stands_still(|| {
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
    }
    our_client::close(&producer)?;
    let read = our_client::consume_from(&bootstrap, &[topic.to_owned()])?;
    let different: BTreeSet<_> = read.iter().map(|record| record.value.clone()).collect();
    let (count, different) = (read.len(), different.len());
    ensure!(count == sent && different == sent, "{sent} sent, {count} read, {different} different");
    Ok(shares)
}

/// As many records as a batch takes.
fn send_some(
    producer: &Producer,
    topic: &str,
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
fn number(topic: &str, number: usize) -> Record {
    Record { value: Some(format!("{number:0>100}").into_bytes()), ..Record::to(topic) }
}
