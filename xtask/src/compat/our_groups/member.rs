//! Members of a group under test: ours in threads of this process, Java's in processes.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use streamledger::{Consumer, ConsumerConfig, Properties, RebalanceListener, TopicPartition};

use super::super::lab::{LIMIT, Trial};
use crate::failure::{Failure, Outcome, ensure};
use crate::process::Group;

/// What a member has done so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Partition and offset of each record, in the order they came.
    pub(super) records: Vec<(i32, i64)>,
    /// The partitions it has.
    pub(super) assigned: BTreeSet<i32>,
    /// How often partitions came; how often some went.
    pub(super) assignments: usize,
    pub(super) revocations: usize,
    pub(super) losses: usize,
}

/// A member, ours or Java's.
pub(super) trait Member {
    /// What it has done so far.
    fn seen(&self) -> MutexGuard<'_, Seen>;
}

/// Ours, polled by a thread of its own.
pub(super) struct OurMember {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    /// Set while the thread doesn't poll.
    pub(super) rest: Arc<AtomicBool>,
    thread: Option<JoinHandle<Outcome<()>>>,
}

struct Listener(Arc<Mutex<Seen>>);

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RebalanceListener for Listener {
    fn assigned(&self, _: &Consumer, partitions: &[TopicPartition]) {
        let mut seen = locked(&self.0);
        seen.assignments += 1;
        seen.assigned.extend(partitions.iter().map(|at| at.partition.0));
    }

    fn revoked(&self, _: &Consumer, partitions: &[TopicPartition]) {
        let mut seen = locked(&self.0);
        seen.revocations += 1;
        seen.assigned.retain(|own| partitions.iter().all(|at| at.partition.0 != *own));
    }

    fn lost(&self, consumer: &Consumer, partitions: &[TopicPartition]) {
        locked(&self.0).losses += 1;
        self.revoked(consumer, partitions);
    }
}

/// What is to be read.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    Topic(String),
    Pattern(String),
    ServerPattern(String),
}

impl OurMember {
    pub(super) fn join(bootstrap: &str, settings: &[String], wanted: &Wanted) -> Outcome<Self> {
        let start = Properties::new().with("bootstrap.servers", bootstrap);
        let start = start.with("auto.offset.reset", "earliest");
        let pairs = settings.iter().filter_map(|setting| setting.split_once('='));
        let properties = pairs.fold(start, |all, (name, value)| all.with(name, value));
        let consumer = Consumer::new(ConsumerConfig::from_properties(&properties)?)?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        consumer.on_rebalance(Listener(Arc::clone(&seen)));
        match wanted {
            Wanted::Topic(topic) => consumer.subscribe([topic])?,
            Wanted::Pattern(pattern) => consumer.subscribe_pattern(pattern)?,
            Wanted::ServerPattern(pattern) => consumer.subscribe_server_pattern(pattern)?,
        }
        let (stop, rest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (sees, stops, rests) = (Arc::clone(&seen), Arc::clone(&stop), Arc::clone(&rest));
        let thread = thread::spawn(move || {
            while !stops.load(Ordering::Relaxed) {
                if rests.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(20));
                    continue;
                }
                let records = consumer.poll(Duration::from_millis(100))?;
                let places = records.iter().map(|r| (r.topic_partition.partition.0, r.offset.0));
                locked(&sees).records.extend(places);
            }
            Ok(consumer.close(Duration::from_secs(20))?)
        });
        Ok(Self { seen, stop, rest, thread: Some(thread) })
    }

    /// Closes it, and gives what it did.
    pub(super) fn close(mut self) -> Outcome<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or_else(|| Failure::new("closed twice"))?;
        thread.join().map_err(|_| Failure::new("a member panicked"))??;
        Ok(std::mem::take(&mut *locked(&self.seen)))
    }

    /// Whether its thread has ended by an error.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Member for OurMember {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.seen)
    }
}

/// Java's, in a process of its own.
pub(super) struct JavaMember {
    seen: Arc<Mutex<Seen>>,
    process: Group,
    /// Reads what it says until it has ended.
    reader: JoinHandle<()>,
}

impl JavaMember {
    pub(super) fn join(
        trial: &Trial,
        bootstrap: &str,
        settings: &[String],
        topic: &str,
    ) -> Outcome<Self> {
        let mut command = trial.tools().java("MemberPeer")?;
        command.args(["join", bootstrap]).args(settings);
        command.args(["auto.offset.reset=earliest", topic]);
        let error = std::fs::File::create(trial.directory.join("java-member.txt"))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(error);
        let mut process = Group::spawn(&mut command)?;
        let output = process.take_stdout().ok_or_else(|| Failure::new("no output"))?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let sees = Arc::clone(&seen);
        let reader = thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let words: Vec<&str> = line.split('\t').collect();
                let number = |place: usize| words.get(place).and_then(|word| word.parse().ok());
                let Some(partition) = number(1) else { continue };
                let mut seen = locked(&sees);
                match words[0] {
                    "assigned" => {
                        seen.assigned.insert(partition);
                    }
                    "revoked" => {
                        seen.assigned.remove(&partition);
                    }
                    "record" => {
                        let offset = words.get(2).and_then(|word| word.parse().ok());
                        seen.records.push((partition, offset.unwrap_or(-1)));
                    }
                    _ => {}
                }
            }
        });
        Ok(Self { seen, process, reader })
    }

    /// Closes it, and gives what it did.
    pub(super) fn close(mut self) -> Outcome<Seen> {
        drop(self.process.take_stdin());
        let status = self.process.wait(LIMIT)?;
        ensure!(status.success(), "the Java member ended with {status}");
        self.reader.join().map_err(|_| Failure::new("the reader of a Java member panicked"))?;
        Ok(std::mem::take(&mut *locked(&self.seen)))
    }
}

impl Member for JavaMember {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.seen)
    }
}

/// Waits until something holds; `what` it is goes into the failure.
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Outcome<()> {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        ensure!(Instant::now() < deadline, "not in 120 s: {what}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
