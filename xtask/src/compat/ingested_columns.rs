//! Compressed files whose columns become key, headers and partition, with bad rows among them and
//! one kill -9: what a reader of committed records finds is the files, and other clients see each
//! record as it should be.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::lab::{LIMIT, Trial};
use super::record::Record;
use super::transactions;
use crate::failure::{Failure, Outcome, ensure};
use crate::process::{self, Group};

const ROWS: usize = 40_000;
/// Every so many rows one has a column too few.
const BAD_EVERY: usize = 2_500;
const PARTITIONS: usize = 3;
/// Rows a second until the kill: the file takes ten seconds, of which it has less.
const RATE: &str = "4000";
/// How a row becomes a record; `audit` is told the same.
const COLUMNS: [&str; 10] = [
    "--key",
    "shop,id",
    "--partition",
    "part",
    "--header",
    "from=shop",
    "--header",
    "id",
    "--value",
    "raw",
];

pub(crate) fn by_columns(trial: &Trial) -> Outcome<String> {
    let mut said = Vec::new();
    for ending in ["gz", "zst"] {
        let doing = |failure: Failure| failure.while_doing(format!("ingesting .csv.{ending}"));
        said.push(one_file(trial, ending).map_err(doing)?);
    }
    Ok(format!("keys of two columns, headers, raw values, partitions; {}", said.join(", ")))
}

fn one_file(trial: &Trial, ending: &str) -> Outcome<String> {
    let topic = trial.topic(ending);
    trial.create_topics(std::slice::from_ref(&topic), i32::try_from(PARTITIONS)?, &[])?;
    let bootstrap = trial.bootstrap()?;
    let file = orders(trial, ending)?;
    let mut life = killed_life(trial, &file, &topic, &bootstrap)?;
    let committed = until_committed(trial, &mut life, &topic, &bootstrap)?;
    life.kill();

    let summary = json(&mut ingest(trial, &file, &topic, &bootstrap)?)?;
    let left = summary["rows"].as_u64().unwrap_or_default();
    ensure!(summary["guarantee"] == "exactly-once", "the summary is {summary}");
    ensure!(summary["files"][0]["was"] == "resumed", "the summary is {summary}");
    ensure!(left > 0 && left + committed <= ROWS as u64, "{committed} before, {left} after");

    let mut audit = trial.tools().streamledger()?;
    audit.arg("audit").arg(&file).args([&topic, "--json", "-b", &bootstrap]).args(COLUMNS);
    let audited = json(&mut audit)?;
    ensure!(audited["equal"] == true && audited["order"] == "kept", "audit says {audited}");
    ensure!(audited["topic_records"] == ROWS as u64, "audit says {audited}");
    are_as_told(&transactions::read(trial, &bootstrap, &topic, "read_committed")?)?;
    are_once(trial, &format!("{topic}.dead-letters"), &bootstrap)?;

    let again = json(&mut ingest(trial, &file, &topic, &bootstrap)?)?;
    ensure!(again["rows"] == 0 && again["files"][0]["was"] == "done", "once more: {again}");
    Ok(format!(".csv.{ending} killed once, {left} of {ROWS} rows left, equal"))
}

/// Row `n` of the file, without its line end.
fn row(n: usize) -> String {
    format!("s{},{n},\"note, {n}\",{}", n % 7, n % PARTITIONS)
}

/// A compressed CSV with bad rows.
fn orders(trial: &Trial, ending: &str) -> Outcome<PathBuf> {
    let mut text = String::from("shop,id,note,part\n");
    for n in 0..ROWS {
        if n % BAD_EVERY == BAD_EVERY - 1 {
            text.push_str(&format!("short,{n}\n"));
        }
        text.push_str(&row(n));
        text.push('\n');
    }
    let path = trial.directory.join(format!("orders.csv.{ending}"));
    let packed = match ending {
        "gz" => {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(text.as_bytes())?;
            packer.finish()?
        }
        _ => zstd::encode_all(text.as_bytes(), 3)?,
    };
    std::fs::write(&path, packed)?;
    Ok(path)
}

fn ingest(trial: &Trial, file: &Path, topic: &str, bootstrap: &str) -> Outcome<Command> {
    let mut ingest = trial.tools().streamledger()?;
    ingest.arg("ingest").arg(file).args(["--topic", topic, "--json", "--quiet"]).args(COLUMNS);
    ingest.args(["--on-error", "dead-letter", "-b", bootstrap]);
    Ok(ingest)
}

/// A run that is held down so that it is amid the file when it is killed.
fn killed_life(trial: &Trial, file: &Path, topic: &str, bootstrap: &str) -> Outcome<Group> {
    let mut ingest = ingest(trial, file, topic, bootstrap)?;
    ingest.args(["--rate", RATE, "--transaction-ms", "50"]);
    let log = std::fs::File::create(trial.directory.join(format!("{topic}.log")))?;
    ingest.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Group::spawn(&mut ingest)
}

/// Waits until rows are committed and bad ones among them; how many rows.
fn until_committed(trial: &Trial, life: &mut Group, job: &str, bootstrap: &str) -> Outcome<u64> {
    let deadline = Instant::now() + LIMIT;
    loop {
        ensure!(life.is_running(), "it ended before it was killed");
        ensure!(Instant::now() < deadline, "nothing was committed");
        let files = progress(trial, job, bootstrap)?;
        if let Some(file) = files.first().filter(|file| file["rejected"] != 0) {
            return Ok(file["rows"].as_u64().unwrap_or_default());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What is kept of each file of a job; nothing until its first commit.
pub(super) fn progress(trial: &Trial, job: &str, bootstrap: &str) -> Outcome<Vec<Value>> {
    let mut show = trial.tools().streamledger()?;
    show.args(["jobs", "show", job, "--json", "-b", bootstrap]);
    let shown = process::run(&mut show, b"", LIMIT)?.text();
    Ok(shown.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

pub(super) fn json(command: &mut Command) -> Outcome<Value> {
    Ok(serde_json::from_str(&process::run_ok(command, b"", LIMIT)?.text())?)
}

/// Each row is there once, with the key, the value, the headers and the partition that it names.
fn are_as_told(records: &[Record]) -> Outcome<()> {
    let mut seen = BTreeSet::new();
    for record in records {
        let value = record.value.clone().unwrap_or_default();
        let text = String::from_utf8(value)?;
        let id = text.split(',').nth(1).and_then(|id| id.parse::<usize>().ok());
        let n = id.ok_or_else(|| Failure::new(format!("no row: {record:?}")))?;
        let key = format!("{{\"shop\":\"s{}\",\"id\":\"{n}\"}}", n % 7);
        let header = |name: &str, value: String| (name.to_owned(), Some(value.into_bytes()));
        let headers = [header("from", format!("s{}", n % 7)), header("id", n.to_string())];
        let is_right = text == row(n)
            && record.key.as_deref() == Some(key.as_bytes())
            && record.headers == headers
            && record.partition == i32::try_from(n % PARTITIONS).ok();
        ensure!(is_right && seen.insert(n), "row {n} is {record:?}");
    }
    ensure!(seen.len() == ROWS, "{} rows of {ROWS}", seen.len());
    Ok(())
}

/// Each bad row is among the dead letters once.
fn are_once(trial: &Trial, letters: &str, bootstrap: &str) -> Outcome<()> {
    let mut consume = trial.tools().streamledger()?;
    consume.args(["consume", letters, "--fields", "value", "-b", bootstrap]);
    let text = process::run_ok(&mut consume, b"", LIMIT)?.text();
    let different: BTreeSet<&str> = text.lines().collect();
    let (count, different) = (text.lines().count(), different.len());
    let expected = ROWS / BAD_EVERY;
    let of_expected = "dead letters, different ones of";
    ensure!(count == expected && different == count, "{count} {of_expected} {expected}");
    Ok(())
}
