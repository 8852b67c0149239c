//! A compacted topic as every client reads it: fewer records, each as it was sent, the latest of
//! each key among them.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::broker::Kind;
use super::lab::{LIMIT, Trial};
use super::peer::{Job, Peer};
use super::record::Record;
use super::workload::{self, Noise, now_ms};
use crate::failure::{Failure, Outcome, ensure};
use crate::process;

/// Enough for several segments of the least size there may be, 1 MiB.
const RECORDS: usize = 900;
const VALUE_BYTES: usize = 5000;

pub(crate) fn by_all(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("state");
    let configs =
        ["cleanup.policy=compact", "segment.bytes=1048576", "min.cleanable.dirty.ratio=0.01"];
    trial.create_topics(std::slice::from_ref(&topic), 1, &configs)?;
    let mut noise = Noise::seeded(11);
    let start = now_ms() - 10_000;
    let record = |number: usize| {
        // Each fiftieth key comes once; half of these come to be deleted, and so do others.
        let key = if number.is_multiple_of(50) { number } else { number % 17 };
        let is_deleted = number % 100 == 50 || number % 17 == 5 && number % 2 == 1;
        let key = format!("key {key}");
        let value = (!is_deleted).then(|| noise.bytes(VALUE_BYTES));
        let timestamp = Some(start + i64::try_from(number).unwrap_or(0));
        let (partition, key) = (Some(0), Some(key.into_bytes()));
        Record { partition, timestamp, key, value, ..Record::to(&topic) }
    };
    let sent: Vec<Record> = (0..RECORDS).map(record).collect();
    // Three producers, so that the last batch of two lies where its records are superseded.
    let mut acks = Vec::new();
    for part in sent.chunks(RECORDS / 3) {
        let settings = vec!["compression.type=lz4".to_owned(), "batch.size=20000".to_owned()];
        acks.extend(Peer::Java.produce(trial, &[Job { records: part.to_vec(), settings }])?);
    }
    let sent = workload::placed(&sent, &acks)?;
    let read = read_by_all(trial, &topic)?;
    hold_against(&sent, &read)?;
    if trial.broker == Kind::Ours {
        dumped_by_kafka(trial, &topic)?;
    }
    Ok(format!("{} of {RECORDS} records left, the same for 5 readers", read.len()))
}

/// What everyone reads, when compaction has nothing more to do: a difference counts if there is
/// none between one reader's first look and its last.
fn read_by_all(trial: &Trial, topic: &str) -> Outcome<Vec<Record>> {
    let topics = [topic.to_owned()];
    let mut read = once_compacted(trial, &topics)?;
    loop {
        let all = Peer::READERS.iter().try_for_each(|reader| {
            workload::same(&read, reader.consume(trial, &topics)?)
                .map(drop)
                .map_err(|failure| failure.while_doing(reader.name()))
        });
        let Err(different) = all else { return Ok(read) };
        let now = once_compacted(trial, &topics)?;
        if now.len() >= read.len() {
            return Err(different);
        }
        read = now;
    }
}

/// Reads until compaction has nothing more to do, as far as can be seen.
fn once_compacted(trial: &Trial, topics: &[String]) -> Outcome<Vec<Record>> {
    let until = Instant::now() + LIMIT;
    let mut before = RECORDS;
    loop {
        let read = Peer::FranzGo.consume(trial, topics)?;
        if read.len() < RECORDS / 2 && read.len() == before {
            return Ok(read);
        }
        before = read.len();
        ensure!(Instant::now() < until, "{before} of {RECORDS} records are left");
        thread::sleep(Duration::from_millis(1000));
    }
}

fn hold_against(sent: &[Record], read: &[Record]) -> Outcome<()> {
    let by_offset: BTreeMap<_, _> = sent.iter().map(|record| (record.offset, record)).collect();
    for record in read {
        let original = by_offset.get(&record.offset);
        ensure!(original == Some(&record), "at {:?}: not what was sent", record.offset);
    }
    let mut latest: BTreeMap<_, &Record> = BTreeMap::new();
    sent.iter().for_each(|record| {
        latest.insert(record.key.clone(), record);
    });
    let missing = latest.values().find(|record| !read.contains(record));
    let missing = missing.map(|record| record.offset);
    ensure!(missing.is_none(), "the latest of its key is gone: {missing:?}");
    Ok(())
}

/// kafka-dump-log reads our segments, finds each batch valid, and prints what `log dump` prints.
fn dumped_by_kafka(trial: &Trial, topic: &str) -> Outcome<()> {
    let run = trial.directory.parent().ok_or_else(|| Failure::new("no directory"))?;
    let partition = run.join(format!("broker-{}/data/{topic}-0", trial.broker.name()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(partition)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            files.push(path.display().to_string());
        }
    }
    ensure!(files.len() > 1, "only {files:?}");
    let mut dump = trial.tools().java("org.apache.kafka.tools.DumpLogSegments")?;
    dump.args(["--deep-iteration", "--files", &files.join(",")]);
    let said = process::run_ok(&mut dump, b"", LIMIT)?.text();
    let valid = said.matches("isvalid: true").count();
    ensure!(valid > 5 && !said.contains("isvalid: false"), "{valid} valid batches: {said}");
    ensure!(said.contains("deleteHorizonMs: OptionalLong["), "no delete horizon");
    let mut dump = trial.tools().streamledger()?;
    dump.args(["log", "dump", "--records"]).args(&files);
    let ours = process::run_ok(&mut dump, b"", LIMIT)?.text();
    let different = lines(&said).zip(lines(&ours)).find(|(kafkas, ours)| kafkas != ours);
    ensure!(different.is_none(), "not the same lines: {different:?}");
    let (kafkas, ours) = (lines(&said).count(), lines(&ours).count());
    ensure!(kafkas == ours && ours > valid, "{kafkas} lines of Kafka's, {ours} of ours");
    Ok(())
}

/// What a dump says of batches and records.
fn lines(dump: &str) -> impl Iterator<Item = &str> {
    let lines = dump.lines().map(str::trim_end);
    lines.filter(|line| line.starts_with("baseOffset: ") || line.starts_with("| offset: "))
}
