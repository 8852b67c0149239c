//! An exactly-once `ingest` that is killed again and again, with bad rows among the others: what a
//! reader of committed records finds is the file, and `audit` says so.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::broker::Kind;
use super::ingested_columns::progress;
use super::lab::Trial;
use super::workload::Noise;
use crate::failure::{Failure, Outcome, ensure};
use crate::process::{self, Group};

/// Every so many rows one is no click event.
const BAD_EVERY: usize = 20_000;
const LIMIT: Duration = Duration::from_secs(300);

/// How much is ingested, and how often something dies meanwhile.
struct Load {
    rows: usize,
    kills: usize,
}

impl Load {
    /// The rows a second at which there is still something to do after the last kill: each life
    /// takes `life` at most.
    fn rate(&self, life: Duration) -> usize {
        let milliseconds = self.kills * usize::try_from(life.as_millis()).unwrap_or(usize::MAX);
        self.rows * 1000 / milliseconds.max(1)
    }
}

/// kill -9 of the command at any moment; then it is left to finish.
pub(crate) fn survives_its_own_death(trial: &Trial) -> Outcome<String> {
    const LIFE_MAX: Duration = Duration::from_millis(500);
    let load = match trial.is_nightly() {
        true => Load { rows: 1_000_000, kills: 200 },
        false => Load { rows: 400_000, kills: 12 },
    };
    let topic = trial.topic("events");
    let file = click_file(trial, load.rows)?;
    let bootstrap = trial.bootstrap()?;
    let mut pause = Noise::seeded(9);
    for kill in 1..=load.kills {
        let mut life = slow_ingest(trial, &file, &topic, &bootstrap, load.rate(LIFE_MAX))?;
        thread::sleep(Duration::from_millis(80 + pause.next() % 420));
        if kill == load.kills {
            until_committed(trial, &mut life, &topic, &bootstrap)?;
        }
        is_amid(trial, &mut life, kill)?;
        life.kill();
    }
    let summary = finish(trial, &file, &topic, &bootstrap, load.rows)?;
    Ok(format!("{} rows over {} kills, {summary}", load.rows, load.kills))
}

/// kill -9 of the broker under it.
pub(crate) fn survives_the_brokers_death(trial: &Trial) -> Outcome<String> {
    // Apache Kafka answers seconds before its coordinator does.
    let life_ms = if trial.broker == Kind::Ours { 500 } else { 3000 };
    let load = match trial.is_nightly() {
        true => Load { rows: 1_000_000, kills: 50 },
        false => Load { rows: 400_000, kills: 1 },
    };
    let topic = trial.topic("events");
    let file = click_file(trial, load.rows)?;
    let mut broker = trial.own_broker(trial.broker.soon_back())?;
    let bootstrap = broker.bootstrap();
    let rate = load.rate(Duration::from_millis(life_ms * 3));
    let mut life = slow_ingest(trial, &file, &topic, &bootstrap, rate)?;
    let mut pause = Noise::seeded(10);
    for kill in 1..=load.kills {
        thread::sleep(Duration::from_millis(life_ms + pause.next() % (life_ms * 2)));
        is_amid(trial, &mut life, kill)?;
        broker.kill();
        broker.start_again(trial.tools())?;
    }
    let left = Duration::from_secs((load.rows / rate) as u64);
    let status = life.wait(left + LIMIT)?;
    ensure!(status.success(), "ingest ended with {status}: {}", said(trial)?);
    let summary = finish(trial, &file, &topic, &bootstrap, load.rows)?;
    broker.stop(Duration::from_secs(20))?;
    Ok(format!("{} rows, the broker killed {} times amid them, {summary}", load.rows, load.kills))
}

/// Waits until rows are committed, if no life came so far on this machine.
fn until_committed(trial: &Trial, life: &mut Group, job: &str, bootstrap: &str) -> Outcome<()> {
    let deadline = Instant::now() + LIMIT;
    while progress(trial, job, bootstrap)?.is_empty() {
        ensure!(life.is_running(), "it ended by itself: {}", said(trial)?);
        ensure!(Instant::now() < deadline, "nothing is committed in 300 s");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn is_amid(trial: &Trial, life: &mut Group, kill: usize) -> Outcome<()> {
    ensure!(life.is_running(), "it ended by itself before kill {kill}: {}", said(trial)?);
    Ok(())
}

fn said(trial: &Trial) -> Outcome<String> {
    Ok(std::fs::read_to_string(trial.directory.join("ingest.log"))?)
}

/// Click events, some lines of which are none.
fn click_file(trial: &Trial, rows: usize) -> Outcome<std::path::PathBuf> {
    let mut generate = trial.tools().streamledger()?;
    generate.args(["generate", "clicks", "--seed", "21", "--rows", &rows.to_string()]);
    let csv = process::run_ok(&mut generate, b"", LIMIT)?.text();
    let mut text = String::with_capacity(csv.len());
    for (index, line) in csv.lines().enumerate() {
        if index > 0 && index % BAD_EVERY == 0 {
            text.push_str("no click\n");
        }
        text.push_str(line);
        text.push('\n');
    }
    trial.write("clicks.csv", &text)
}

fn ingest(trial: &Trial, file: &Path, topic: &str, bootstrap: &str) -> Outcome<Command> {
    let mut ingest = trial.tools().streamledger()?;
    ingest.arg("ingest").arg(file).args(["--topic", topic, "--key", "user_id", "--json"]);
    ingest.args(["--quiet", "--bootstrap-servers", bootstrap, "--on-error", "dead-letter"]);
    Ok(ingest)
}

/// The same, at most so many rows a second, and with many transactions.
fn slow_ingest(
    trial: &Trial,
    file: &Path,
    topic: &str,
    bootstrap: &str,
    rate: usize,
) -> Outcome<Group> {
    let mut ingest = ingest(trial, file, topic, bootstrap)?;
    ingest.args(["--rate", &rate.to_string(), "--transaction-ms", "50"]);
    let log = std::fs::File::create(trial.directory.join("ingest.log"))?;
    ingest.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Group::spawn(&mut ingest)
}

/// Lets the command finish, and looks at what there is: the rows by `audit`, each bad row once
/// among the dead letters, and nothing left to do.
fn finish(
    trial: &Trial,
    file: &Path,
    topic: &str,
    bootstrap: &str,
    rows: usize,
) -> Outcome<String> {
    let finished = process::run_ok(&mut ingest(trial, file, topic, bootstrap)?, b"", LIMIT)?.text();
    let finished: Value = serde_json::from_str(&finished)?;
    let left = finished["rows"].as_u64().unwrap_or(u64::MAX);
    ensure!(left < rows as u64, "nothing was committed before the last life: {finished}");
    let letters = format!("{topic}.dead-letters");
    let mut audit = trial.tools().streamledger()?;
    audit.arg("audit").arg(file).args([topic, "--key", "user_id", "--json", "-b", bootstrap]);
    audit.args(["--dead-letter-topic", &letters]);
    let audited = process::run_ok(&mut audit, b"", LIMIT)?.text();
    let audited: Value = serde_json::from_str(&audited)?;
    ensure!(audited["equal"] == true, "audit says {audited}");
    ensure!(audited["order"] == "kept", "audit says {audited}");
    ensure!(audited["topic_records"] == rows as u64, "audit says {audited}");
    let bad_rows = (rows / BAD_EVERY) as u64;
    ensure!(audited["dead_letters"]["records"] == bad_rows, "audit says {audited}");

    let mut consume = trial.tools().streamledger()?;
    consume.args(["consume", &letters, "--format", "json", "-b", bootstrap]);
    let letters = process::run_ok(&mut consume, b"", LIMIT)?.text();
    let mut lines = BTreeSet::new();
    let mut count = 0;
    for letter in letters.lines() {
        let letter: Value = serde_json::from_str(letter)?;
        ensure!(letter["value"] == "no click", "a dead letter is {letter}");
        let headers = letter["headers"].as_array().cloned().unwrap_or_default();
        let line = headers.iter().find(|header| header["name"] == "line");
        let line = line.ok_or_else(|| Failure::new(format!("no line in {letter}")))?;
        lines.insert(line["value"].to_string());
        count += 1;
    }
    let expected = rows / BAD_EVERY;
    ensure!(count == expected && lines.len() == expected, "{count} dead letters of {expected}");

    let again = process::run_ok(&mut ingest(trial, file, topic, bootstrap)?, b"", LIMIT)?.text();
    let again: Value = serde_json::from_str(&again)?;
    ensure!(again["rows"] == 0 && again["files"][0]["was"] == "done", "once more: {again}");
    Ok(format!("{left} left at the end, each once and in order, {count} dead letters, each once"))
}
