//! `ingest --watch --json-events`: files come into a directory, the run is killed with -9 amid them
//! and gone on with, under our broker the broker too. What it tells is held against what a reader
//! of committed records finds: nothing is told before it lasts, nothing lasts untold but the
//! transaction that a kill came into, and each file is told to be done once a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::broker::Kind;
use super::ingested_columns::json;
use super::lab::{LIMIT, Trial};
use crate::failure::{Failure, Outcome, ensure};
use crate::process::{self, Group};

/// Rows of each file.
const FILE_ROWS: usize = 2_000;
/// Files that are there at first; another one comes.
const FIRST_FILES: usize = 3;
const FILES: usize = FIRST_FILES + 1;
/// Rows of a transaction at most: as many may be committed and not told when a run is killed.
const TRANSACTION_ROWS: &str = "400";
const UNTOLD_MAX: usize = 400;
/// Rows a second.
const RATE: &str = "4000";

pub(super) fn watched(trial: &Trial) -> Outcome<String> {
    let mut own = match trial.broker {
        Kind::Ours => Some(trial.own_broker(&["num.partitions=6"])?),
        _ => None,
    };
    let bootstrap = own.as_ref().map_or_else(|| trial.bootstrap(), |own| Ok(own.bootstrap()))?;
    let directory = trial.directory.join("incoming");
    fs::create_dir_all(&directory)?;
    let run = Run { trial, directory, topic: trial.topic("watched"), bootstrap };
    (0..FIRST_FILES).try_for_each(|file| run.come(file))?;

    let mut life = run.spawn("first")?;
    run.told_until("first", &mut life, |told| !told.done.is_empty())?;
    life.kill();
    let first = run.told("first")?;
    let seen = run.seen()?;
    are_as_told(&first, &seen)?;

    let mut life = run.spawn("second")?;
    let rows = run.told_until("second", &mut life, |told| told.rows > 0)?.rows;
    if let Some(broker) = &mut own {
        broker.kill();
        broker.start_again(trial.tools())?;
    }
    run.come(FIRST_FILES)?;
    run.told_until("second", &mut life, |told| told.done.len() == FILES)?;
    life.terminate();
    let status = life.wait(LIMIT)?;
    ensure!(status.code() == Some(130), "--watch ended with {status}");
    let second = run.told("second")?;
    ensure!(second.rows >= rows, "{} rows committed, then {rows}", second.rows);
    goes_on(&first, &seen, &second)?;
    let seen = run.seen()?;
    ensure!(seen.iter().all(|rows| *rows == FILE_ROWS), "a reader sees {seen:?}");
    run.is_equal()?;
    let how = if own.is_some() { ", its broker once" } else { "" };
    Ok(format!("{FILES} files watched, the run killed once{how}, told as it lasts, equal"))
}

/// What one life told.
#[derive(Debug, Default)]
struct Told {
    /// Rows that it committed.
    rows: usize,
    /// The last place in a file: which file, and rows before it.
    place: Option<(usize, usize)>,
    /// Files it went on with, and rows before that.
    resumed: BTreeMap<usize, usize>,
    /// Files that are done, and whether an earlier life was told to have done them.
    done: BTreeMap<usize, bool>,
}

struct Run<'a> {
    trial: &'a Trial<'a>,
    directory: PathBuf,
    topic: String,
    bootstrap: String,
}

impl Run<'_> {
    /// A file comes, whole.
    fn come(&self, file: usize) -> Outcome<()> {
        let ids = file * FILE_ROWS..(file + 1) * FILE_ROWS;
        let rows: String =
            ids.map(|n| format!("{{\"shop\":\"s{}\",\"id\":{n}}}\n", n % 7)).collect();
        let under_way = self.trial.write("under-way", &rows)?;
        Ok(fs::rename(under_way, self.directory.join(format!("{file}.ndjson")))?)
    }

    fn spawn(&self, life: &str) -> Outcome<Group> {
        let mut ingest = self.trial.tools().streamledger()?;
        ingest.arg("ingest").arg(&self.directory).args(["--topic", &self.topic, "--key", "shop"]);
        ingest.args(["--watch", "--settle-ms", "0", "--json-events", "--quiet"]);
        ingest.args(["--rate", RATE, "--transaction-ms", "50"]);
        ingest.args(["--transaction-rows", TRANSACTION_ROWS, "-b", &self.bootstrap]);
        let said = File::create(self.trial.directory.join(format!("watched-{life}.log")))?;
        ingest.stdin(Stdio::null()).stdout(File::create(self.events(life))?).stderr(said);
        Group::spawn(&mut ingest)
    }

    fn events(&self, life: &str) -> PathBuf {
        self.trial.directory.join(format!("watched-{life}.events"))
    }

    /// What a life has told by now; fails where it contradicts itself.
    fn told(&self, life: &str) -> Outcome<Told> {
        let text = fs::read_to_string(self.events(life))?;
        let mut told = Told::default();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            told.take(&serde_json::from_str(line)?)
                .map_err(|failure| failure.while_doing(format!("reading {line}")))?;
        }
        Ok(told)
    }

    fn told_until(
        &self,
        life: &str,
        running: &mut Group,
        is_enough: impl Fn(&Told) -> bool,
    ) -> Outcome<Told> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let told = self.told(life)?;
            if is_enough(&told) {
                return Ok(told);
            }
            if !running.is_running() {
                let log = self.trial.directory.join(format!("watched-{life}.log"));
                let said = fs::read_to_string(log)?;
                return Err(Failure::new(format!("it ended with {told:?}: {said}")));
            }
            ensure!(Instant::now() < deadline, "in {LIMIT:?} it told {told:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Of each file how many rows a reader of committed records sees, each once.
    fn seen(&self) -> Outcome<[usize; FILES]> {
        let mut kcat = self.trial.tools().kcat()?;
        kcat.args(["-b", &self.bootstrap, "-C", "-t", &self.topic, "-o", "beginning", "-e", "-q"]);
        kcat.args(["-X", "isolation.level=read_committed", "-X", "fetch.wait.max.ms=10"]);
        kcat.args(["-f", "%s\n"]);
        let text = process::run_ok(&mut kcat, b"", LIMIT)?.text();
        let (mut seen, mut ids) = ([0; FILES], BTreeSet::new());
        for line in text.lines() {
            let row: Value = serde_json::from_str(line)?;
            let id = usize::try_from(row["id"].as_u64().unwrap_or(u64::MAX))?;
            ensure!(ids.insert(id), "row {id} is there twice");
            let file = seen.get_mut(id / FILE_ROWS);
            *file.ok_or_else(|| Failure::new(format!("a row nobody sent: {line}")))? += 1;
        }
        Ok(seen)
    }

    fn is_equal(&self) -> Outcome<()> {
        let mut audit = self.trial.tools().streamledger()?;
        audit.arg("audit").arg(&self.directory);
        audit.args([&self.topic, "--key", "shop", "--json", "-b", &self.bootstrap]);
        let audited = json(&mut audit)?;
        ensure!(audited["equal"] == true && audited["order"] == "kept", "audit says {audited}");
        Ok(())
    }
}

impl Told {
    fn take(&mut self, event: &Value) -> Outcome<()> {
        let rows = |of: &Value| usize::try_from(of["rows"].as_u64().unwrap_or(u64::MAX));
        match event["event"].as_str() {
            Some("committed") => {
                let so_far = rows(event)?;
                ensure!(so_far >= self.rows, "it takes back {} rows", self.rows);
                self.rows = so_far;
                self.place = match &event["place"] {
                    Value::Null => None,
                    place => Some((file(place)?, rows(place)?)),
                };
            }
            Some("resumed") => drop(self.resumed.insert(file(event)?, rows(event)?)),
            Some("file_done") => {
                let is_earlier = event["earlier"] == true;
                ensure!(rows(event)? == FILE_ROWS, "that isn't all of the file");
                let before = self.done.insert(file(event)?, is_earlier);
                ensure!(before.is_none(), "it told that already");
            }
            Some("rejected" | "fenced") => return Err(Failure::new("no row is bad")),
            _ => {}
        }
        Ok(())
    }
}

/// Which file an event is about.
fn file(event: &Value) -> Outcome<usize> {
    let path = event["file"].as_str().unwrap_or_default();
    let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str());
    let number = stem.and_then(|stem| stem.parse().ok());
    number.ok_or_else(|| Failure::new(format!("no file of ours: {path:?}")))
}

/// What a killed life told is there, and no more than one transaction besides.
fn are_as_told(told: &Told, seen: &[usize; FILES]) -> Outcome<()> {
    let there: usize = seen.iter().sum();
    let is_there = there >= told.rows && there <= told.rows + UNTOLD_MAX;
    ensure!(is_there, "{} rows were told, a reader sees {there}", told.rows);
    for file in told.done.keys() {
        ensure!(seen[*file] == FILE_ROWS, "file {file} was told to be done; seen are {seen:?}");
    }
    if let Some((file, rows)) = told.place {
        ensure!(seen[file] >= rows, "{rows} rows of file {file} were told; seen are {seen:?}");
    }
    Ok(())
}

/// The next life goes on where the first was, and what both told makes up all rows.
fn goes_on(first: &Told, seen: &[usize; FILES], second: &Told) -> Outcome<()> {
    let mut before = 0;
    for (file, is_earlier) in &second.done {
        let resumed = second.resumed.get(file).copied();
        let of_file = if *is_earlier { FILE_ROWS } else { resumed.unwrap_or(0) };
        ensure!(of_file >= seen[*file], "file {file} goes on at {of_file}; seen were {seen:?}");
        ensure!(*is_earlier || !first.done.contains_key(file), "file {file} was done twice");
        before += of_file;
    }
    let untold = before.checked_sub(first.rows);
    ensure!(
        untold.is_some_and(|untold| untold <= UNTOLD_MAX),
        "{} rows were told, it goes on after {before}",
        first.rows
    );
    let all = before + second.rows;
    ensure!(all == FILES * FILE_ROWS, "{before} rows before and {} after", second.rows);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(events: &[&str]) -> Outcome<Told> {
        let mut told = Told::default();
        events.iter().try_for_each(|event| told.take(&serde_json::from_str(event)?))?;
        Ok(told)
    }

    const DONE: &str = r#"{"event":"file_done","file":"d/0.ndjson","rows":2000,"earlier":false}"#;
    const COMMITTED: &str = r#"{"event":"committed","transactions":6,"rows":2300,
        "place":{"file":"d/1.ndjson","bytes":1,"next_line":301,"rows":300,"rejected":0}}"#;

    #[test]
    fn what_is_told_before_it_lasts_or_twice_is_found() {
        let first = told(&[DONE, COMMITTED]).unwrap();
        for seen in [[2000, 300, 0, 0], [2000, 700, 0, 0]] {
            assert!(are_as_told(&first, &seen).is_ok(), "{seen:?}");
        }
        for seen in [[2000, 299, 0, 0], [2000, 701, 0, 0], [1999, 500, 0, 0], [2000, 0, 300, 0]] {
            assert!(are_as_told(&first, &seen).is_err(), "{seen:?}");
        }
        assert!(told(&[DONE, DONE]).is_err());
        assert!(told(&[COMMITTED, &COMMITTED.replace("2300", "2299")]).is_err());
        assert!(told(&[&DONE.replace("2000", "1999")]).is_err());
    }

    #[test]
    fn a_life_that_goes_on_elsewhere_is_found() {
        let first = told(&[DONE, COMMITTED]).unwrap();
        let seen = [2000, 300, 0, 0];
        let done = |file: usize, earlier: bool| {
            let file = DONE.replace("0.ndjson", &format!("{file}.ndjson"));
            file.replace("false", if earlier { "true" } else { "false" })
        };
        let second = |resumed: usize, rows: usize, is_first_earlier: bool| {
            let resumed = format!(r#"{{"event":"resumed","file":"d/1.ndjson","rows":{resumed}}}"#);
            let committed = format!(r#"{{"event":"committed","rows":{rows},"place":null}}"#);
            let done = [done(0, is_first_earlier), done(1, false), done(2, false), done(3, false)];
            let mut events = vec![resumed.as_str(), &committed];
            events.extend(done.iter().map(String::as_str));
            told(&events).unwrap()
        };
        assert!(goes_on(&first, &seen, &second(300, 5700, true)).is_ok());
        assert!(goes_on(&first, &seen, &second(700, 5300, true)).is_ok());
        for (resumed, rows, is_earlier) in
            [(299, 5701, true), (701, 5299, true), (300, 5699, true), (300, 7700, false)]
        {
            let second = second(resumed, rows, is_earlier);
            assert!(goes_on(&first, &seen, &second).is_err(), "{second:?}");
        }
    }
}
