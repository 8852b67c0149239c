//! Our consumer against three brokers of Apache Kafka in three racks: it reads from the replica
//! nearby (KIP-392), and members of a group share what is near (KIP-881).

use std::collections::BTreeSet;

use streamledger::{NewTopic, TopicName};

use super::lab::{LIMIT, Trial};
use super::our_client;
use super::our_groups;
use super::record::Record;
use super::workload::PARTITIONS;
use crate::failure::{Outcome, ensure};
use crate::process;

const REPLICAS: i16 = 3;
const RECORDS: usize = 300;

/// Every partition has a replica in every rack: all that `consume` reads comes from the broker of
/// its own rack, whoever leads, and each record once.
pub(crate) fn reads_nearby(trial: &Trial) -> Outcome<String> {
    let bootstrap = trial.cluster()?.bootstrap();
    let admin = our_client::admin(&bootstrap)?;
    let topic = TopicName::new(trial.topic("near"));
    admin.create_topics(&[NewTopic::new(topic.clone(), PARTITIONS, REPLICAS)])?.only()?;
    let producer = our_client::producer(&bootstrap, &[])?;
    let mut sent = BTreeSet::new();
    for number in 0..RECORDS {
        let partition = i32::try_from(number)? % PARTITIONS;
        let value = Some(number.to_string().into_bytes());
        let record = Record { partition: Some(partition), value, ..Record::to(topic.as_str()) };
        // Acknowledged by all: no replica is behind.
        our_client::send(&producer, &record)?.wait()?;
        sent.insert(number.to_string());
    }
    our_client::close(&producer)?;
    for (rack, broker) in [("rack-1", "1"), ("rack-2", "2"), ("rack-3", "3")] {
        let mut consume = trial.tools().streamledger()?;
        consume.args(["consume", topic.as_str(), "--from-beginning", "--fields", "value"]);
        consume.args(["-b", &bootstrap, "-X", &format!("client.rack={rack}")]);
        consume.env("STREAMLEDGER_LOG", "streamledger=trace");
        consume.env("STREAMLEDGER_LOG_FORMAT", "json");
        let finished = process::run_ok(&mut consume, b"", LIMIT)?;
        let said = finished.text();
        let read: BTreeSet<String> = said.lines().map(str::to_owned).collect();
        let lines = said.lines().count();
        ensure!(read == sent && lines == RECORDS, "in {rack} {lines} of {RECORDS} were read");
        let from = givers(&finished.all_text());
        ensure!(from == BTreeSet::from([broker.to_owned()]), "in {rack} it read from {from:?}");
    }
    let shared = our_groups::share_by_racks(trial, &bootstrap)?;
    Ok(format!("{RECORDS} records in each of three racks, from no other; {shared}"))
}

/// The brokers that gave records, by what the client logs of its fetches.
fn givers(log: &str) -> BTreeSet<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let fetched = lines.filter_map(|line| {
        let fields = line.get("fields")?;
        let is_fetch = fields.get("message")? == "fetched";
        let has_records = fields.get("bytes")?.as_u64()? > 0;
        (is_fetch && has_records).then(|| fields.get("broker")?.as_str().map(str::to_owned))?
    });
    fetched.collect()
}
