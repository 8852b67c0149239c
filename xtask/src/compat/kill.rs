//! The broker killed with -9, again and again, under an idempotent producer's load.
//!
//! 1. Nothing acked is missing, and it stands at the offset it was acked with.
//! 2. Nothing stands there twice, acked or not.
//! 3. The records of a partition stand in the order of sending.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::broker::Kind;
use super::lab::{LIMIT, Trial};
use super::record::{Record, read_lines};
use super::workload::Noise;
use crate::failure::{Failure, Outcome, ensure};
use crate::process::{self, Group};

/// Apache Kafka takes seconds to come back each time, and only shows that the scenario is right: a
/// few kills do.
const fn kills(broker: Kind) -> u32 {
    match broker {
        Kind::Ours => 20,
        Kind::Apache | Kind::Apache39 | Kind::Apache21 => 3,
    }
}
pub(crate) const PARTITIONS: i32 = 3;
/// Records a second: load enough that every kill hits batches in flight.
pub(crate) const RATE: u32 = 5_000;
/// So many are acknowledged before a sender is judged.
const RECORDS_MIN: u64 = 5_000;
/// So many bytes of acks at least are written down before a kill: hundreds of acks, as senders
/// write 8 KiB at a time.
const ACK_BYTES_BEFORE_KILL: u64 = 1_000;

/// A producer that numbers the records of each partition from 0 on, in order, and writes each
/// ack to a file, until it is told to stop.
pub(crate) trait Sender: Sized {
    fn start(trial: &Trial, broker: &str, topic: &str, acks: &Path) -> Outcome<Self>;
    fn is_running(&mut self) -> bool;
    /// Waits until all that was sent is acked or failed.
    fn stop(self) -> Outcome<Sent>;
}

/// What a [`Sender`] says at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) failed: u64,
}

pub(crate) fn under_java(trial: &Trial) -> Outcome<String> {
    under::<JavaSender>(trial)
}

/// Kills the broker many times under a sender, then holds the log against the acks.
pub(crate) fn under<S: Sender>(trial: &Trial) -> Outcome<String> {
    let kills = kills(trial.broker);
    let mut broker = trial.own_broker(trial.broker.soon_back())?;
    let topic = trial.topic("numbers");
    let mut create = trial.tools().go()?;
    create.args(["create", &broker.bootstrap(), &PARTITIONS.to_string(), &topic]);
    process::run_ok(&mut create, b"", LIMIT)?;
    let acks: PathBuf = trial.directory.join("acks.tsv");
    let mut sender = S::start(trial, &broker.bootstrap(), &topic, &acks)?;
    let mut pause = Noise::seeded(3);
    for kill in 1..=kills {
        under_way(&mut sender, &acks)
            .map_err(|failure| failure.while_doing(format!("sending before kill {kill}")))?;
        thread::sleep(Duration::from_millis(pause.next() % 500));
        broker.kill();
        broker
            .start_again(trial.tools())
            .map_err(|failure| failure.while_doing(format!("starting after kill {kill}")))?;
    }
    let (sent, read) = judge(trial, sender, &broker.bootstrap(), &topic, &acks)?;
    broker.stop(Duration::from_secs(20))?;
    Ok(format!("{} records acked over {kills} kills, {read} in the log", sent.acked))
}

/// Waits until more acks are written down than now: the load is under way, whatever came before.
pub(crate) fn under_way<S: Sender>(sender: &mut S, acks: &Path) -> Outcome<()> {
    let written = || std::fs::metadata(acks).map_or(0, |file| file.len());
    let before = written();
    until_acked(sender, || written() >= before + ACK_BYTES_BEFORE_KILL)
}

fn until_acked<S: Sender>(sender: &mut S, is_enough: impl Fn() -> bool) -> Outcome<()> {
    let deadline = Instant::now() + LIMIT;
    while !is_enough() {
        ensure!(sender.is_running(), "the producer ended by itself");
        ensure!(Instant::now() < deadline, "too little is acknowledged in 120 s");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Waits until enough is acknowledged, then for the sender's end, and holds the log against what it
/// was told; says how many records there are.
pub(crate) fn judge<S: Sender>(
    trial: &Trial,
    mut sender: S,
    broker: &str,
    topic: &str,
    acks: &Path,
) -> Outcome<(Sent, usize)> {
    let acked = || std::fs::read_to_string(acks).map_or(0, |text| text.lines().count() as u64);
    until_acked(&mut sender, || acked() >= RECORDS_MIN)?;
    let sent = sender.stop()?;
    ensure!(sent.failed == 0, "{} of {} records failed", sent.failed, sent.sent);
    ensure!(sent.acked == sent.sent, "{} of {} records were acked", sent.acked, sent.sent);
    ensure!(sent.sent >= RECORDS_MIN, "only {} records: no load to speak of", sent.sent);
    let mut consume = trial.tools().go()?;
    consume.args(["consume", broker, topic]);
    let said = process::run_ok(&mut consume, b"", LIMIT)?.text();
    let read = read_lines(&said, Record::from_line)?;
    hold_against(&read_acks(&std::fs::read_to_string(acks)?)?, &numbers(&read)?)?;
    Ok((sent, read.len()))
}

/// The numbers in each partition, by offset.
type Log = BTreeMap<i32, BTreeMap<i64, u64>>;

fn numbers(records: &[Record]) -> Outcome<Log> {
    let mut log = Log::new();
    for record in records {
        let text = String::from_utf8(record.value.clone().unwrap_or_default())?;
        let (partition, offset) = record
            .partition
            .zip(record.offset)
            .ok_or_else(|| Failure::new(format!("read without a place: {record:?}")))?;
        log.entry(partition).or_default().insert(offset, text.parse()?);
    }
    Ok(log)
}

/// Acks as `partition offset number` lines.
fn read_acks(text: &str) -> Outcome<Vec<(i32, i64, u64)>> {
    read_lines(text, |line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [partition, offset, number] = fields[..] else {
            return Err(Failure::new(format!("not an ack: {line}")));
        };
        Ok((partition.parse()?, offset.parse()?, number.parse()?))
    })
}

fn hold_against(acks: &[(i32, i64, u64)], log: &Log) -> Outcome<()> {
    for (partition, offset, number) in acks {
        let found = log.get(partition).and_then(|numbers| numbers.get(offset));
        ensure!(
            found == Some(number),
            "record {number} was acked at offset {offset} of partition {partition}; \
             there stands {found:?}"
        );
    }
    for (partition, numbers) in log {
        let mut before = None;
        for (offset, number) in numbers {
            ensure!(
                before < Some(number),
                "partition {partition}: at offset {offset} stands record {number}, \
                 after record {before:?}"
            );
            before = Some(number);
        }
    }
    Ok(())
}

/// `Peer endure`.
struct JavaSender {
    group: Group,
    said: PathBuf,
}

impl Sender for JavaSender {
    fn start(trial: &Trial, broker: &str, topic: &str, acks: &Path) -> Outcome<Self> {
        let mut command = trial.tools().java("Peer")?;
        let numbers = [PARTITIONS.to_string(), RATE.to_string()];
        command.args(["endure", broker, topic]).args(numbers).arg(acks);
        command.args(["linger.ms=2", "reconnect.backoff.max.ms=100", "retry.backoff.ms=20"]);
        let said = trial.directory.join("java.out");
        let output = std::fs::File::create(&said)?;
        let errors = std::fs::File::create(trial.directory.join("java.err"))?;
        command.stdin(Stdio::piped()).stdout(output).stderr(errors);
        Ok(Self { group: Group::spawn(&mut command)?, said })
    }

    fn is_running(&mut self) -> bool {
        self.group.is_running()
    }

    fn stop(mut self) -> Outcome<Sent> {
        drop(self.group.take_stdin());
        let status = self.group.wait(LIMIT)?;
        let said = std::fs::read_to_string(&self.said)?;
        ensure!(status.success(), "the Java producer ended with {status}: {said}");
        let counts = read_lines(&said, |line| {
            let counts: Result<Vec<u64>, _> = line.split('\t').map(str::parse).collect();
            Ok(counts?)
        })?;
        match counts.first().map(Vec::as_slice) {
            Some([sent, acked, failed]) => Ok(Sent { sent: *sent, acked: *acked, failed: *failed }),
            _ => Err(Failure::new(format!("the Java producer said {said}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(numbers: &[u64]) -> Log {
        Log::from([(0, (0..).zip(numbers.iter().copied()).collect())])
    }

    #[test]
    fn what_was_acked_and_stands_in_order_holds() {
        hold_against(&[(0, 0, 0), (0, 2, 5)], &log(&[0, 1, 5])).unwrap();
    }

    #[test]
    fn missing_doubled_swapped_and_moved_records_are_found() {
        assert!(hold_against(&[(0, 3, 3)], &log(&[0, 1, 2])).is_err(), "missing");
        assert!(hold_against(&[], &log(&[0, 1, 1])).is_err(), "doubled");
        assert!(hold_against(&[], &log(&[1, 0])).is_err(), "swapped");
        assert!(hold_against(&[(0, 1, 2)], &log(&[0, 1, 2])).is_err(), "moved");
        assert!(hold_against(&[(7, 0, 0)], &log(&[0])).is_err(), "a partition gone");
    }

    #[test]
    fn acks_are_read_from_their_lines() {
        assert_eq!(read_acks("2\t17\t40\n").unwrap(), [(2, 17, 40)]);
        assert!(read_acks("2\t17\n").is_err());
    }
}
