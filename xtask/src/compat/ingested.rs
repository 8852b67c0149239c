//! An exactly-once `ingest` that is killed again and again, with bad rows among the others: what a
//! reader of committed records finds is the file, and `audit` says so.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::lab::Trial;
use super::workload::Noise;
use crate::failure::{Failure, Outcome, ensure};
use crate::process::{self, Group};

const ROWS: usize = 400_000;
/// Every so many rows one is no click event.
const BAD_EVERY: usize = 20_000;
/// How often the command is killed; `STREAMLEDGER_INGEST_KILLS` says otherwise for long runs.
const KILLS: usize = 12;
const LIMIT: Duration = Duration::from_secs(180);

/// kill -9 of the command at any moment; then it is left to finish.
pub(crate) fn survives_its_own_death(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("events");
    let file = click_file(trial)?;
    let bootstrap = trial.bootstrap()?;
    let wanted = std::env::var("STREAMLEDGER_INGEST_KILLS").ok();
    let kills = wanted.and_then(|wanted| wanted.parse().ok()).unwrap_or(KILLS);
    let (mut killed, mut pause) = (0, Noise::seeded(9));
    while killed < kills {
        let mut command = slow_ingest(trial, &file, &topic, &bootstrap)?;
        let said = std::fs::File::create(trial.directory.join("ingest.log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let mut life = Group::spawn(&mut command)?;
        thread::sleep(Duration::from_millis(80 + pause.next() % 420));
        if !life.is_running() {
            let status = life.wait(LIMIT)?;
            let said = std::fs::read_to_string(trial.directory.join("ingest.log"))?;
            ensure!(status.success(), "it ended by itself with {status}: {said}");
            break;
        }
        life.kill();
        killed += 1;
    }
    ensure!(killed >= KILLS / 4, "it was over after {killed} kills: no load to speak of");
    let summary = finish(trial, &file, &topic, &bootstrap)?;
    Ok(format!("{ROWS} rows over {killed} kills, {summary}"))
}

/// kill -9 of the broker under it.
pub(crate) fn survives_the_brokers_death(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("events");
    let file = click_file(trial)?;
    let mut broker = trial.own_broker(&[])?;
    let bootstrap = broker.bootstrap();
    let mut command = slow_ingest(trial, &file, &topic, &bootstrap)?;
    let said = std::fs::File::create(trial.directory.join("ingest.log"))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    let mut life = Group::spawn(&mut command)?;
    thread::sleep(Duration::from_millis(1500));
    broker.kill();
    let was_running = life.is_running();
    broker.start_again(trial.tools())?;
    let status = life.wait(LIMIT)?;
    ensure!(status.success(), "ingest ended with {status}");
    let summary = finish(trial, &file, &topic, &bootstrap)?;
    broker.stop(Duration::from_secs(20))?;
    let when = if was_running { "amid it" } else { "after it" };
    Ok(format!("{ROWS} rows, the broker killed {when}, {summary}"))
}

/// Click events, some lines of which are none.
fn click_file(trial: &Trial) -> Outcome<std::path::PathBuf> {
    let mut generate = trial.tools().streamledger()?;
    generate.args(["generate", "clicks", "--seed", "21", "--rows", &ROWS.to_string()]);
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
    ingest.args(["--transaction-rows", "5000"]);
    Ok(ingest)
}

/// The same, slow enough to be killed in the middle of it.
fn slow_ingest(trial: &Trial, file: &Path, topic: &str, bootstrap: &str) -> Outcome<Command> {
    let mut ingest = ingest(trial, file, topic, bootstrap)?;
    ingest.args(["-X", "batch.size=2000", "-X", "linger.ms=0"]);
    Ok(ingest)
}

/// Lets the command finish, and looks at what there is: the rows by `audit`, each bad row once
/// among the dead letters, and nothing left to do.
fn finish(trial: &Trial, file: &Path, topic: &str, bootstrap: &str) -> Outcome<String> {
    process::run_ok(&mut ingest(trial, file, topic, bootstrap)?, b"", LIMIT)?;
    let mut audit = trial.tools().streamledger()?;
    audit.arg("audit").arg(file).args([topic, "--key", "user_id", "--json", "-b", bootstrap]);
    let audited = process::run_ok(&mut audit, b"", LIMIT)?.text();
    let audited: Value = serde_json::from_str(&audited)?;
    ensure!(audited["equal"] == true, "audit says {audited}");
    ensure!(audited["order"] == "kept", "audit says {audited}");
    ensure!(audited["topic_records"] == ROWS as u64, "audit says {audited}");

    let letters = format!("{topic}.dead-letters");
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
    let expected = ROWS / BAD_EVERY;
    ensure!(count == expected && lines.len() == expected, "{count} dead letters of {expected}");

    let again = process::run_ok(&mut ingest(trial, file, topic, bootstrap)?, b"", LIMIT)?.text();
    let again: Value = serde_json::from_str(&again)?;
    ensure!(again["rows"] == 0 && again["files"][0]["was"] == "done", "once more: {again}");
    Ok(format!("each once and in order, {count} dead letters, each once"))
}
