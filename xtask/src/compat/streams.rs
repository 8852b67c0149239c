//! Kafka Streams: a word count, exactly once, through kills of the program and of the broker.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use streamledger::{Consumer, ConsumerConfig, Position, Producer, ProducerRecord, Properties};

use super::broker::Kind;
use super::lab::{LIMIT, Trial};
use super::our_client;
use crate::failure::{Failure, Outcome, ensure};
use crate::process::{self, Group};

const PARTITIONS: i32 = 3;

/// The words of a line; each line has them all.
const WORDS: [&str; 5] = ["to", "be", "or", "not", "größer"];

/// A word count, exactly once, is killed with -9 while lines come in, and so is its broker: each
/// word is counted from one to the number of its lines, without a gap and without a repeat.
pub(crate) fn counts_words(trial: &Trial) -> Outcome<String> {
    // Apache Kafka looks every ten seconds for transactions whose time is up; ours needs no look.
    let mut settings = vec!["group.initial.rebalance.delay.ms=0"];
    if trial.broker != Kind::Ours {
        settings.push("transaction.abort.timed.out.transaction.cleanup.interval.ms=500");
    }
    let mut broker = trial.own_broker(&settings)?;
    let bootstrap = broker.bootstrap();
    let [lines, counts] = ["lines", "counts"].map(|name| trial.topic(name));
    let mut create = trial.tools().go()?;
    create.args(["create", &bootstrap, &PARTITIONS.to_string(), &lines, &counts]);
    process::run_ok(&mut create, b"", LIMIT)?;
    let feeder = Feeder::start(&bootstrap, &lines)?;
    let mut reader = CountReader::start(&bootstrap, &counts)?;
    let mut count = word_count(trial, &bootstrap, &lines, &counts)?;
    reader.read_until(|read| read >= 500, &mut count)?;
    count.kill();
    let before = reader.read;
    count = word_count(trial, &bootstrap, &lines, &counts)?;
    reader.read_until(|read| read >= before + 500, &mut count)?;
    if trial.broker == Kind::Ours {
        // Apache Kafka takes ten seconds to come back.
        broker.kill();
        broker.start_again(trial.tools())?;
        let before = reader.read;
        reader.read_until(|read| read >= before + 500, &mut count)?;
    }
    let sent = feeder.stop()?;
    reader.read_until(|read| read >= sent * WORDS.len(), &mut count)?;
    drop(count.take_stdin());
    count.wait(LIMIT)?;
    reader.hold_against(sent)?;
    has_internal_topics(&bootstrap, trial.name())?;
    broker.stop(Duration::from_secs(20))?;
    let words = reader.read;
    Ok(format!("{words} words of {sent} lines, each counted once, over a kill of each side"))
}

fn word_count(trial: &Trial, bootstrap: &str, lines: &str, counts: &str) -> Outcome<Group> {
    let mut command = trial.tools().java("WordCount")?;
    command.args([bootstrap, trial.name(), lines, counts]).arg(trial.directory.join("state"));
    let errors = trial.directory.join("java.err");
    let errors = OpenOptions::new().create(true).append(true).open(errors)?;
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors);
    Group::spawn(&mut command)
}

/// The topics that Streams makes for itself: one to share words out by, one to keep counts in.
fn has_internal_topics(bootstrap: &str, name: &str) -> Outcome<()> {
    let admin = our_client::admin(bootstrap)?;
    let topics = admin.list_topics()?;
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    for end in ["-counts-changelog", "-counts-repartition"] {
        let is_there = names.iter().any(|topic| topic.starts_with(name) && topic.ends_with(end));
        ensure!(is_there, "no topic {name}...{end} among {names:?}");
    }
    Ok(())
}

/// Sends lines, some hundreds a second, until it is stopped.
struct Feeder {
    thread: JoinHandle<Outcome<usize>>,
    stop: Arc<AtomicBool>,
}

impl Feeder {
    fn start(bootstrap: &str, topic: &str) -> Outcome<Self> {
        let producer = our_client::producer(bootstrap, &["linger.ms=0".to_owned()])?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, topic) = (Arc::clone(&stop), topic.to_owned());
        let thread = thread::spawn(move || feed(&producer, &topic, &stopped));
        Ok(Self { thread, stop })
    }

    /// How many lines were sent, and acknowledged.
    fn stop(self) -> Outcome<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| Failure::new("the feeder panicked"))?
    }
}

fn feed(producer: &Producer, topic: &str, stop: &AtomicBool) -> Outcome<usize> {
    let failed = Arc::new(AtomicUsize::new(0));
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let line = WORDS.join(" ");
        let failures = Arc::clone(&failed);
        producer.send_with(ProducerRecord::to(topic).value(line.as_bytes()), move |result| {
            failures.fetch_add(usize::from(result.is_err()), Ordering::Relaxed);
        })?;
        sent += 1;
        thread::sleep(Duration::from_millis(3));
    }
    producer.flush()?;
    our_client::close(producer)?;
    let failed = failed.load(Ordering::Relaxed);
    ensure!(failed == 0, "{failed} of {sent} lines failed");
    Ok(sent)
}

/// Reads committed counts as they come, and that each word's go up by one.
struct CountReader {
    consumer: Consumer,
    counts: BTreeMap<String, usize>,
    read: usize,
}

impl CountReader {
    fn start(bootstrap: &str, topic: &str) -> Outcome<Self> {
        let properties = Properties::new()
            .with("bootstrap.servers", bootstrap)
            .with("reconnect.backoff.max.ms", "100")
            .with("isolation.level", "read_committed");
        let consumer = Consumer::new(ConsumerConfig::from_properties(&properties)?)?;
        let partitions = consumer.partitions_for(topic)?.into_iter();
        consumer.assign(&partitions.map(|at| (at, Position::Beginning)).collect::<Vec<_>>());
        Ok(Self { consumer, counts: BTreeMap::new(), read: 0 })
    }

    /// Until so many were read in all; fails when the program ends before.
    fn read_until(&mut self, is_enough: impl Fn(usize) -> bool, count: &mut Group) -> Outcome<()> {
        let deadline = Instant::now() + LIMIT;
        while !is_enough(self.read) {
            ensure!(count.is_running(), "the word count ended after {} counts", self.read);
            ensure!(Instant::now() < deadline, "{} counts after {LIMIT:?}", self.read);
            for record in self.consumer.poll(Duration::from_millis(100))? {
                let text = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
                self.counted(&text)?;
            }
        }
        Ok(())
    }

    fn counted(&mut self, text: &str) -> Outcome<()> {
        let no_count = || Failure::new(format!("not a count: {text}"));
        let (word, count) = text.split_once(' ').ok_or_else(no_count)?;
        let before = self.counts.entry(word.to_owned()).or_default();
        let count: usize = count.parse()?;
        ensure!(count == *before + 1, "{word:?} is counted {count} times, after {before} times");
        *before = count;
        self.read += 1;
        Ok(())
    }

    fn hold_against(&self, lines: usize) -> Outcome<()> {
        let wrong = WORDS.iter().find(|word| self.counts.get(**word) != Some(&lines));
        ensure!(
            wrong.is_none() && self.counts.len() == WORDS.len(),
            "{lines} lines, but {:?}",
            self.counts
        );
        Ok(())
    }
}
