//! What else `ingest` reads: Parquet by its row groups, a directory of several formats, a file that
//! grows and is rotated, and files that come. Each is killed with -9 amid it and gone on with; what
//! a reader of committed records finds is the files, each row once, and `audit` says so.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::Value;

use super::ingested_columns::{json, progress};
use super::ingested_watched::watched;
use super::lab::{LIMIT, Trial};
use crate::failure::{Failure, Outcome, ensure};
use crate::process::Group;

/// Rows of each row group, and of each file of the directory: those from here to the next.
const PARTS: [usize; 5] = [0, 1_000, 12_000, 23_000, ROWS];
const ROWS: usize = 34_000;
/// Rows a second until a kill, which comes in the second part: on any machine there are others.
const RATE: &str = "4000";
const ROWS_BEFORE_KILL: usize = 2_000;
/// Rows that are added to the file that grows, each time.
const GROWTH_ROWS: usize = 1_000;

pub(crate) fn by_files(trial: &Trial) -> Outcome<String> {
    let mut said = Vec::new();
    for (what, path) in [("parquet", row_groups(trial)?), ("directory", mixed_directory(trial)?)] {
        let doing = |failure: Failure| failure.while_doing(format!("ingesting the {what}"));
        said.push(killed_amid(trial, what, &path).map_err(doing)?);
    }
    said.push(grown_and_rotated(trial).map_err(|failure| failure.while_doing("following"))?);
    said.push(watched(trial).map_err(|failure| failure.while_doing("watching"))?);
    Ok(said.join(", "))
}

/// `ingest` of something with all its rows there, killed once and run again.
fn killed_amid(trial: &Trial, what: &str, path: &Path) -> Outcome<String> {
    let (topic, bootstrap) = (trial.topic(what), trial.bootstrap()?);
    let mut slow = ingest(trial, path, &topic, &bootstrap)?;
    slow.args(["--rate", RATE, "--transaction-ms", "50"]);
    let mut life = spawn(trial, &topic, &mut slow)?;
    let committed = await_rows(trial, &mut life, &topic, &bootstrap, ROWS_BEFORE_KILL)?;
    life.kill();
    let summary = json(&mut ingest(trial, path, &topic, &bootstrap)?)?;
    let left = summary["rows"].as_u64().unwrap_or_default();
    let places = summary["files"].as_array().cloned().unwrap_or_default();
    ensure!(places.iter().any(|file| file["was"] == "resumed"), "the summary is {summary}");
    ensure!(left > 0 && left + committed <= ROWS as u64, "{committed} before, {left} after");
    is_equal(trial, &[path], &topic, &bootstrap, ROWS)?;
    let again = json(&mut ingest(trial, path, &topic, &bootstrap)?)?;
    ensure!(again["rows"] == 0, "once more: {again}");
    Ok(format!("{what} killed once, {left} of {ROWS} rows left, equal"))
}

/// `ingest --follow`, killed once while it waits for more; meanwhile the file grows and is rotated.
fn grown_and_rotated(trial: &Trial) -> Outcome<String> {
    let (topic, bootstrap) = (trial.topic("followed"), trial.bootstrap()?);
    let log = trial.write("log.ndjson", &rows(0, GROWTH_ROWS))?;
    let follow = |trial: &Trial| {
        let mut follow = ingest(trial, &log, &topic, &bootstrap)?;
        follow.args(["--follow", "--transaction-ms", "50"]);
        spawn(trial, &topic, &mut follow)
    };
    let mut life = follow(trial)?;
    await_rows(trial, &mut life, &topic, &bootstrap, GROWTH_ROWS)?;
    append(&log, &rows(GROWTH_ROWS, 2 * GROWTH_ROWS))?;
    life.kill();
    let rotated = log.with_extension("ndjson.1");
    fs::rename(&log, &rotated)?;
    trial.write("log.ndjson", &rows(2 * GROWTH_ROWS, 3 * GROWTH_ROWS))?;
    let mut life = follow(trial)?;
    await_rows(trial, &mut life, &topic, &bootstrap, 3 * GROWTH_ROWS)?;
    append(&log, &rows(3 * GROWTH_ROWS, 4 * GROWTH_ROWS))?;
    await_rows(trial, &mut life, &topic, &bootstrap, 4 * GROWTH_ROWS)?;
    life.terminate();
    let status = life.wait(LIMIT)?;
    ensure!(status.code() == Some(130), "--follow ended with {status}");
    let count = 4 * GROWTH_ROWS;
    is_equal(trial, &[&rotated, &log], &topic, &bootstrap, count)?;
    Ok(format!("a log killed and rotated, {count} rows followed, equal"))
}

fn ingest(trial: &Trial, path: &Path, topic: &str, bootstrap: &str) -> Outcome<Command> {
    let mut ingest = trial.tools().streamledger()?;
    ingest.arg("ingest").arg(path).args(["--topic", topic, "--key", "shop", "--json", "--quiet"]);
    ingest.args(["--exactly-once", "-b", bootstrap]);
    Ok(ingest)
}

fn spawn(trial: &Trial, topic: &str, command: &mut Command) -> Outcome<Group> {
    let log = File::create(trial.directory.join(format!("{topic}.log")))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Group::spawn(command)
}

/// Waits until so many rows of a job are committed, or more; how many.
fn await_rows(
    trial: &Trial,
    life: &mut Group,
    job: &str,
    bootstrap: &str,
    rows: usize,
) -> Outcome<u64> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let files = progress(trial, job, bootstrap)?;
        let committed = files.iter().filter_map(|file| file["rows"].as_u64()).sum();
        if committed >= rows as u64 {
            return Ok(committed);
        }
        if !life.is_running() {
            let said = fs::read_to_string(trial.directory.join(format!("{job}.log")))?;
            return Err(Failure::new(format!("it ended at {committed} of {rows} rows: {said}")));
        }
        ensure!(Instant::now() < deadline, "{committed} of {rows} rows were committed");
        thread::sleep(Duration::from_millis(50));
    }
}

fn is_equal(
    trial: &Trial,
    paths: &[&Path],
    topic: &str,
    bootstrap: &str,
    rows: usize,
) -> Outcome<()> {
    let mut audit = trial.tools().streamledger()?;
    audit.arg("audit").args(paths).args([topic, "--key", "shop", "--json", "-b", bootstrap]);
    let audited: Value = json(&mut audit)?;
    ensure!(audited["equal"] == true && audited["order"] == "kept", "audit says {audited}");
    ensure!(audited["topic_records"] == rows as u64, "audit says {audited}");
    Ok(())
}

/// Lines of NDJSON.
fn rows(from: usize, to: usize) -> String {
    (from..to).map(|n| format!("{{\"shop\":\"s{}\",\"id\":{n}}}\n", n % 7)).collect()
}

fn append(path: &Path, text: &str) -> Outcome<()> {
    Ok(File::options().append(true).open(path)?.write_all(text.as_bytes())?)
}

/// A Parquet file of several row groups.
fn row_groups(trial: &Trial) -> Outcome<PathBuf> {
    let path = trial.directory.join("orders.parquet");
    let schema = "message m { required binary shop (UTF8); required int64 id; }";
    let schema = Arc::new(parse_message_type(schema)?);
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = SerializedFileWriter::new(File::create(&path)?, schema, properties)?;
    let incomplete = || Failure::new("a row group has two columns");
    for part in PARTS.windows(2) {
        let ids = (part[0]..part[1]).map(i64::try_from).collect::<Result<Vec<_>, _>>()?;
        let shops: Vec<ByteArray> =
            ids.iter().map(|id| format!("s{}", id % 7).into_bytes().into()).collect();
        let mut group = file.next_row_group()?;
        let mut column = group.next_column()?.ok_or_else(incomplete)?;
        column.typed::<ByteArrayType>().write_batch(&shops, None, None)?;
        column.close()?;
        let mut column = group.next_column()?.ok_or_else(incomplete)?;
        column.typed::<Int64Type>().write_batch(&ids, None, None)?;
        column.close()?;
        group.close()?;
    }
    file.close()?;
    Ok(path)
}

/// A directory of CSV, NDJSON, and both compressed.
fn mixed_directory(trial: &Trial) -> Outcome<PathBuf> {
    let directory = trial.directory.join("orders");
    fs::create_dir_all(&directory)?;
    let csv = |part: usize| {
        let rows = (PARTS[part]..PARTS[part + 1]).map(|n| format!("s{},{n}\n", n % 7));
        "shop,id\n".to_owned() + &rows.collect::<String>()
    };
    let ndjson = |part: usize| rows(PARTS[part], PARTS[part + 1]);
    fs::write(directory.join("a.csv"), csv(0))?;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(csv(1).as_bytes())?;
    fs::write(directory.join("b.csv.gz"), packed.finish()?)?;
    fs::write(directory.join("c.ndjson"), ndjson(2))?;
    fs::write(directory.join("d.ndjson.zst"), zstd::encode_all(ndjson(3).as_bytes(), 3)?)?;
    Ok(directory)
}
