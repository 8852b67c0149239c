//! Other people's transactional producers: they commit, abort, store offsets and are fenced, and
//! the Java client goes on through kills of the broker. What is read committed is whole, and
//! nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::broker::Kind;
use super::lab::{LIMIT, Trial};
use super::our_transactions;
use super::peer::Peer;
use super::record::{Record, read_lines};
use super::workload::Noise;
use crate::failure::{Outcome, ensure};
use crate::process::{self, Group};

const PARTITIONS: i32 = 3;
/// Four committed transactions of ten records, one with offsets, one of the newer producer.
const KEPT: usize = 42;
/// So many are committed between two kills of the broker at least.
const TRANSACTIONS_OF_A_LIFE: usize = 3;

pub(crate) fn by_java(trial: &Trial) -> Outcome<String> {
    transact(trial, Peer::Java)
}

pub(crate) fn by_python(trial: &Trial) -> Outcome<String> {
    transact(trial, Peer::Python)
}

/// Without offsets: franz-go stores them in a transaction for members of a group only, as
/// `groups::franz_go_processes` has it do.
pub(crate) fn by_franz_go(trial: &Trial) -> Outcome<String> {
    transact(trial, Peer::FranzGo)
}

fn transact(trial: &Trial, peer: Peer) -> Outcome<String> {
    let (source, topic) = (trial.topic("in"), trial.topic("out"));
    trial.create_topics(std::slice::from_ref(&source), 1, &[])?;
    trial.create_topics(std::slice::from_ref(&topic), PARTITIONS, &[])?;
    let bootstrap = trial.bootstrap()?;
    let group = trial.topic("group");
    let stores_offsets = peer != Peer::FranzGo;
    let mut command = peer.program(trial)?;
    command.args(["transact", &bootstrap]);
    if stores_offsets {
        command.args([&source, &topic, &group]);
    } else {
        command.arg(&topic);
    }
    let said = process::run_ok(&mut command, b"", LIMIT)?.text();
    let has_stored = said.lines().any(|line| line == "offset\t7");
    ensure!(has_stored == stores_offsets, "the stored offset: {said}");
    ensure!(said.lines().any(|line| line == "fenced\ttrue"), "the fence: {said}");
    let committed = values(&read(trial, &bootstrap, &topic, "read_committed")?)?;
    let all = values(&read(trial, &bootstrap, &topic, "read_uncommitted")?)?;
    let kept = all.iter().filter(|(_, value)| value.starts_with("kept-")).count();
    ensure!(committed.len() == KEPT && kept == KEPT, "{} of {kept} read", committed.len());
    let stray = committed.iter().find(|(_, value)| !value.starts_with("kept-"));
    ensure!(stray.is_none(), "read committed: {stray:?}");
    ensure!(all.len() > KEPT, "nothing was aborted: {} records", all.len());
    let ours = our_transactions::committed(&bootstrap, &topic)?;
    let ours = ours.into_iter().flat_map(|(at, values)| values.into_iter().map(move |v| (at, v)));
    let (mut ours, mut theirs): (Vec<_>, Vec<_>) = (ours.collect(), committed);
    ours.sort_unstable();
    theirs.sort_unstable();
    ensure!(ours == theirs, "read committed by us: {ours:?}, by Java: {theirs:?}");
    let offsets = if stores_offsets { "offset 7, " } else { "" };
    Ok(format!("{KEPT} of {} records read committed, {offsets}the older fenced", all.len()))
}

/// Transactions over all partitions while the broker is killed and comes back.
pub(crate) fn by_java_through_kills(trial: &Trial) -> Outcome<String> {
    // Apache Kafka takes seconds to come back each time, and only shows that the scenario is right.
    let kills = if trial.broker == Kind::Ours { 8 } else { 2 };
    let mut broker = trial.own_broker(trial.broker.soon_back())?;
    let topic = trial.topic("numbers");
    let mut create = trial.tools().go()?;
    create.args(["create", &broker.bootstrap(), &PARTITIONS.to_string(), &topic]);
    process::run_ok(&mut create, b"", LIMIT)?;
    let log = trial.directory.join("committed.txt");
    let mut producer = start(trial, &broker.bootstrap(), &topic, &log)?;
    let mut pause = Noise::seeded(5);
    for kill in 0..kills {
        until_committed(&mut producer, &log, kill)?;
        thread::sleep(Duration::from_millis(pause.next() % 400));
        broker.kill();
        broker.start_again(trial.tools())?;
    }
    until_committed(&mut producer, &log, kills)?;
    drop(producer.take_stdin());
    let status = producer.wait(LIMIT)?;
    ensure!(status.success(), "the producer ended with {status}");
    let acked: BTreeSet<String> =
        std::fs::read_to_string(&log)?.lines().map(str::to_owned).collect();
    let read = values(&read(trial, &broker.bootstrap(), &topic, "read_committed")?)?;
    hold_against(&acked, &read)?;
    let transactions_min = (kills + 1) * TRANSACTIONS_OF_A_LIFE;
    let count = acked.len();
    ensure!(count >= transactions_min, "only {count} transactions: no load to speak of");
    broker.stop(Duration::from_secs(20))?;
    Ok(format!("{count} transactions over {kills} kills, each whole, none aborted read"))
}

/// Waits until the broker has committed some in its life after so many kills.
fn until_committed(producer: &mut Group, log: &Path, kills: usize) -> Outcome<()> {
    let count = || std::fs::read_to_string(log).map_or(0, |text| text.lines().count());
    let enough = count().max(kills * TRANSACTIONS_OF_A_LIFE) + TRANSACTIONS_OF_A_LIFE;
    let deadline = Instant::now() + LIMIT;
    while count() < enough {
        ensure!(producer.is_running(), "the producer ended after kill {kills}");
        ensure!(Instant::now() < deadline, "{} of {enough} transactions in 120 s", count());
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// All that was committed is in every partition, once; nothing that was aborted is in any; what
/// nobody knows the outcome of is in all or none.
fn hold_against(acked: &BTreeSet<String>, read: &[(i32, String)]) -> Outcome<()> {
    let mut partitions_of: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (partition, value) in read {
        ensure!(value.starts_with("kept-"), "read committed: {value}");
        partitions_of.entry(value).or_default().push(*partition);
    }
    for (value, partitions) in &mut partitions_of {
        partitions.sort_unstable();
        let whole = partitions.iter().copied().eq(0..PARTITIONS);
        ensure!(whole, "{value} is in the partitions {partitions:?}");
    }
    let missing = acked.iter().find(|value| !partitions_of.contains_key(value.as_str()));
    ensure!(missing.is_none(), "committed and not read: {missing:?}");
    Ok(())
}

fn start(trial: &Trial, bootstrap: &str, topic: &str, log: &Path) -> Outcome<Group> {
    let mut command = trial.tools().java("Peer")?;
    command.args(["endure-transactions", bootstrap, topic, &PARTITIONS.to_string()]).arg(log);
    command.args(["linger.ms=0", "reconnect.backoff.max.ms=100", "retry.backoff.ms=20"]);
    let errors = std::fs::File::create(trial.directory.join("java.err"))?;
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors);
    Group::spawn(&mut command)
}

pub(crate) fn read(
    trial: &Trial,
    bootstrap: &str,
    topic: &str,
    isolation: &str,
) -> Outcome<Vec<Record>> {
    let mut command = trial.tools().java("Peer")?;
    command.args(["consume", bootstrap, &format!("isolation.level={isolation}"), topic]);
    read_lines(&process::run_ok(&mut command, b"", LIMIT)?.text(), Record::from_line)
}

fn values(records: &[Record]) -> Outcome<Vec<(i32, String)>> {
    let value = |record: &Record| {
        let value = String::from_utf8(record.value.clone().unwrap_or_default())?;
        Ok((record.partition.unwrap_or(-1), value))
    };
    records.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_doubled_aborted_and_missing_transactions_are_found() {
        let acked = BTreeSet::from(["kept-1".to_owned()]);
        let log = |entries: &[(i32, &str)]| {
            entries.iter().map(|(at, value)| (*at, (*value).to_owned())).collect::<Vec<_>>()
        };
        let whole = [(0, "kept-1"), (1, "kept-1"), (2, "kept-1")];
        hold_against(&acked, &log(&whole)).unwrap();
        assert!(hold_against(&acked, &log(&whole[..2])).is_err(), "half");
        assert!(
            hold_against(&acked, &log(&[&whole[..], &whole[..1]].concat())).is_err(),
            "doubled"
        );
        let aborted = [&whole[..], &[(0, "aborted-3")]].concat();
        assert!(hold_against(&acked, &log(&aborted)).is_err(), "aborted");
        assert!(hold_against(&acked, &[]).is_err(), "missing");
    }
}
