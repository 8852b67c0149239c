//! `ingest --follow`: a log that grows and is rotated, by renaming and by copying and cutting,
//! beside runs that are killed: each row is in the topic once, or the run says what may be lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Child, Output};
use std::thread;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::Value;
use tool::{Sandbox, Server, interrupt, stderr, stdout, wait};

const HEADER: &str = "k,row\n";

/// Rows `from..to`, some of which are keyed alike.
fn rows(from: usize, to: usize) -> String {
    let mut text = String::new();
    for row in from..to {
        let _ = writeln!(text, "{},{row}", row % 97);
    }
    text
}

/// How it is rotated.
#[derive(Debug, Clone, Copy)]
enum Style {
    Rename,
    CopyAndCut,
}

/// A log in a sandbox, as its writer and its rotation see it.
struct Log<'a> {
    sandbox: &'a Sandbox,
    /// How many rotated files there are.
    rotated: usize,
}

impl Log<'_> {
    fn new(sandbox: &Sandbox) -> Log<'_> {
        sandbox.write("e.csv", HEADER.as_bytes());
        Log { sandbox, rotated: 0 }
    }

    fn append(&self, text: &str) {
        let path = self.sandbox.path("e.csv");
        let mut file = File::options().append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn shift(&mut self) {
        let name = |number: usize| self.sandbox.path(&format!("e.csv.{number}"));
        for number in (1..=self.rotated).rev() {
            fs::rename(name(number), name(number + 1)).unwrap();
        }
        self.rotated += 1;
    }

    /// Rotates it as `logrotate` does: by renaming.
    fn rename(&mut self) {
        self.shift();
        fs::rename(self.sandbox.path("e.csv"), self.sandbox.path("e.csv.1")).unwrap();
        self.sandbox.write("e.csv", HEADER.as_bytes());
    }

    /// Rotates it as `logrotate` does with `copytruncate`.
    fn copy_and_cut(&mut self) {
        self.shift();
        fs::copy(self.sandbox.path("e.csv"), self.sandbox.path("e.csv.1")).unwrap();
        File::create(self.sandbox.path("e.csv")).unwrap();
        self.append(HEADER);
    }

    fn rotate(&mut self, style: Style) {
        match style {
            Style::Rename => self.rename(),
            Style::CopyAndCut => self.copy_and_cut(),
        }
    }

    /// All its files, the oldest first.
    fn files(&self) -> Vec<String> {
        let rotated = (1..=self.rotated).rev().map(|number| format!("e.csv.{number}"));
        rotated.chain(["e.csv".to_owned()]).collect()
    }
}

/// Said, as a header alone has nothing to infer types from.
const TYPES: [&str; 6] = ["--key", "k", "--type", "k=integer", "--type", "row=integer"];

const FOLLOW: [&str; 8] =
    ["ingest", "e.csv", "--topic", "t", "--follow", "--transaction-ms", "50", "--json"];

fn follow(sandbox: &Sandbox, server: &Server, more: &[&str]) -> Child {
    sandbox.spawn(&[&FOLLOW[..], &TYPES, &["-b", &server.address], more].concat())
}

/// Waits until so many rows are committed.
fn await_rows(sandbox: &Sandbox, server: &Server, child: &mut Child, count: usize) {
    let begun = Instant::now();
    loop {
        // The topic is there once the run is.
        let output = sandbox.run(&["consume", "t", "-b", &server.address, "--fields", "value"]);
        let found = stdout(&output).lines().count();
        if found >= count {
            assert_eq!(found, count, "a row is there twice");
            return;
        }
        if let Some(status) = child.try_wait().unwrap() {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut text).unwrap();
            panic!("it ended with {status} at {found} of {count} rows: {text}");
        }
        assert!(begun.elapsed() < tool::PATIENCE, "{found} of {count} rows are there");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until a run has kept which file it is in: from then on it follows that.
fn await_begun(sandbox: &Sandbox, server: &Server) {
    let begun = Instant::now();
    while !sandbox.run(&["jobs", "show", "t", "-b", &server.address]).status.success() {
        assert!(begun.elapsed() < tool::PATIENCE, "it doesn't begin");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Ends it by Ctrl-C; what it says.
fn end(child: Child) -> Output {
    interrupt(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    output
}

fn assert_equal(sandbox: &Sandbox, server: &Server, files: &[String]) {
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let audit = [&["audit"], &files[..], &["t", "-b", &server.address], &TYPES].concat();
    let shown = sandbox.succeed(&audit);
    assert!(shown.contains("equal: every row is there, once"), "{shown}");
    assert!(shown.contains("kept for every key"), "{shown}");
}

#[test]
fn what_is_added_is_sent_row_by_row_until_it_is_ended() {
    let sandbox = Sandbox::new();
    let log = Log::new(&sandbox);
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    log.append(&rows(0, 100));
    let mut child = follow(&sandbox, &server, &[]);
    await_rows(&sandbox, &server, &mut child, 100);
    log.append("5,10");
    log.append("0\n5,1");
    await_rows(&sandbox, &server, &mut child, 101);
    let report: Value = serde_json::from_str(&stdout(&end(child))).unwrap();
    assert_eq!((&report["status"], &report["rows"]), (&"interrupted".into(), &101.into()));
    // Half a row is no row: the next run goes on with it.
    log.append("01\n");
    let mut child = follow(&sandbox, &server, &[]);
    await_rows(&sandbox, &server, &mut child, 102);
    interrupt(&child, "TERM");
    assert_eq!(wait(&mut child), Some(130));
    assert_equal(&sandbox, &server, &log.files());
    let without = ["ingest", "e.csv", "--topic", "t", "--json", "-b", &server.address];
    let whole = sandbox.succeed(&[&without[..], &TYPES].concat());
    let report: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!((&report["rows"], &report["files"][0]["rows_before"]), (&0.into(), &102.into()));
}

#[rstest]
#[case(Style::Rename)]
#[case(Style::CopyAndCut)]
fn killed_again_and_again_beside_rotation_each_row_is_there_once(#[case] style: Style) {
    const FILES: usize = 6;
    const FILE_ROWS: usize = 1500;
    const PARTS: usize = 10;
    let sandbox = Sandbox::new();
    let mut log = Log::new(&sandbox);
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    // Slow enough that it is behind by some files at most of the kills, on any machine.
    let slowly = ["--rate", "2500"];
    let mut child = follow(&sandbox, &server, &slowly);
    await_begun(&sandbox, &server);
    let mut row = 0;
    for file in 0..FILES {
        if file > 0 {
            log.rotate(style);
        }
        for part in 0..PARTS {
            let text = rows(row, row + FILE_ROWS / PARTS);
            row += FILE_ROWS / PARTS;
            // In two writes: rows are cut anywhere.
            let (one, other) = text.split_at(text.len() / 2 - part);
            log.append(one);
            thread::sleep(Duration::from_millis(7 + (part as u64 * 31) % 17));
            log.append(other);
            if part % 5 == file % 5 {
                thread::sleep(Duration::from_millis(100 + (file as u64 * 7919) % 150));
                assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
                child.kill().unwrap();
                child.wait().unwrap();
                child = follow(&sandbox, &server, &slowly);
            }
        }
    }
    await_rows(&sandbox, &server, &mut child, FILES * FILE_ROWS);
    // And now that it has caught up, while it waits for more.
    for _ in 0..2 {
        log.rotate(style);
        log.append(&rows(row, row + 10));
        row += 10;
        await_rows(&sandbox, &server, &mut child, row);
    }
    end(child);
    assert_equal(&sandbox, &server, &log.files());
}

#[test]
fn a_rotated_file_that_was_compressed_meanwhile_is_gone_on_with() {
    let sandbox = Sandbox::new();
    let mut log = Log::new(&sandbox);
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    log.append(&rows(0, 100));
    let mut child = follow(&sandbox, &server, &[]);
    await_rows(&sandbox, &server, &mut child, 100);
    end(child);
    log.append(&rows(100, 200));
    log.rename();
    log.append(&rows(200, 210));
    log.rename();
    log.append(&rows(210, 220));
    let text = fs::read(sandbox.path("e.csv.2")).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&text).unwrap();
    sandbox.write("e.csv.2.gz", &encoder.finish().unwrap());
    fs::remove_file(sandbox.path("e.csv.2")).unwrap();
    let mut child = follow(&sandbox, &server, &[]);
    await_rows(&sandbox, &server, &mut child, 220);
    end(child);
    let files = ["e.csv.2.gz", "e.csv.1", "e.csv"].map(str::to_owned);
    assert_equal(&sandbox, &server, &files);
}

#[test]
fn rotated_files_that_were_there_before_are_not_read() {
    let sandbox = Sandbox::new();
    let mut log = Log::new(&sandbox);
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    log.append(&rows(0, 10));
    log.rename();
    let mut child = follow(&sandbox, &server, &[]);
    // Nothing is read yet that would tell the log's file from the one before.
    await_begun(&sandbox, &server);
    child.kill().unwrap();
    child.wait().unwrap();
    log.append(&rows(10, 20));
    log.copy_and_cut();
    log.append(&rows(20, 30));
    let mut child = follow(&sandbox, &server, &[]);
    await_rows(&sandbox, &server, &mut child, 20);
    end(child);
    assert_equal(&sandbox, &server, &["e.csv.1", "e.csv"].map(str::to_owned));
}

#[test]
fn a_file_that_is_cut_without_a_copy_goes_on_at_its_start_or_says_what_is_lost() {
    let sandbox = Sandbox::new();
    let log = Log::new(&sandbox);
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    log.append(&rows(0, 100));
    let mut child = follow(&sandbox, &server, &[]);
    await_rows(&sandbox, &server, &mut child, 100);
    File::create(sandbox.path("e.csv")).unwrap();
    log.append(HEADER);
    log.append(&rows(100, 110));
    await_rows(&sandbox, &server, &mut child, 110);
    let told = stderr(&end(child));
    assert!(told.contains("was cut, and no copy is there"), "{told}");

    let mut child = follow(&sandbox, &server, &[]);
    // Written at once, the half row is read with the others.
    log.append(&(rows(110, 120) + "7,12"));
    await_rows(&sandbox, &server, &mut child, 120);
    File::create(sandbox.path("e.csv")).unwrap();
    assert_eq!(wait(&mut child), Some(3));
    let output = child.wait_with_output().unwrap();
    let told = stderr(&output);
    assert!(told.contains("4 bytes of its line 22, which had no end, are lost"), "{told}");
    log.append(HEADER);
    let output = follow(&sandbox, &server, &[]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let told = stderr(&output);
    assert!(told.contains("in none of its files") && told.contains("line 22 on"), "{told}");
}

/// Waits until so many rows are kept as those of the files before the one that is read.
fn await_next_file(sandbox: &Sandbox, server: &Server, rows_before: u64) {
    let begun = Instant::now();
    loop {
        let shown = sandbox.succeed(&["jobs", "show", "t", "--json", "-b", &server.address]);
        let kept: Value = serde_json::from_str(&shown).unwrap();
        if kept["rotation"]["rows_before"] == rows_before {
            return;
        }
        assert!(begun.elapsed() < tool::PATIENCE, "{kept}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn with_the_file_before_gone_older_ones_are_not_read_again() {
    let sandbox = Sandbox::new();
    let mut log = Log::new(&sandbox);
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    log.append(&rows(0, 10));
    let mut child = follow(&sandbox, &server, &[]);
    await_rows(&sandbox, &server, &mut child, 10);
    log.rename();
    log.append(&rows(10, 20));
    await_rows(&sandbox, &server, &mut child, 20);
    log.rename();
    // It has a header and no row: the next run knows it only by those before it.
    await_next_file(&sandbox, &server, 20);
    child.kill().unwrap();
    child.wait().unwrap();
    let older = fs::read(sandbox.path("e.csv.2")).unwrap();
    fs::remove_file(sandbox.path("e.csv.1")).unwrap();
    log.append(&rows(20, 30));
    let mut child = follow(&sandbox, &server, &[]);
    await_rows(&sandbox, &server, &mut child, 30);
    end(child);
    assert_eq!(fs::read(sandbox.path("e.csv.2")).unwrap(), older, "it was there to be read");
}

#[test]
fn a_file_that_is_deleted_while_it_is_read_hides_none_after_it() {
    let sandbox = Sandbox::new();
    let mut log = Log::new(&sandbox);
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    log.append(&rows(0, 600));
    // Slow enough that it is still in the first file when there are two others.
    let mut child = follow(&sandbox, &server, &["--rate", "200"]);
    await_begun(&sandbox, &server);
    log.rename();
    log.append(&rows(600, 700));
    log.rename();
    log.append(&rows(700, 710));
    fs::remove_file(sandbox.path("e.csv.2")).unwrap();
    await_rows(&sandbox, &server, &mut child, 710);
    end(child);
}

#[test]
fn rows_added_to_a_file_that_was_over_end_the_run_and_the_next_goes_on() {
    let sandbox = Sandbox::new();
    let mut log = Log::new(&sandbox);
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    log.append(&rows(0, 10));
    let mut child = follow(&sandbox, &server, &[]);
    await_rows(&sandbox, &server, &mut child, 10);
    log.rename();
    log.append(&rows(10, 20));
    await_rows(&sandbox, &server, &mut child, 20);
    let mut late = File::options().append(true).open(sandbox.path("e.csv.1")).unwrap();
    late.write_all(b"1,1000\n").unwrap();
    assert_eq!(wait(&mut child), Some(3));
    let told = stderr(&child.wait_with_output().unwrap());
    assert!(told.contains("the file before e.csv was written to after e.csv was begun"), "{told}");
    assert!(told.contains("wasn't read") && told.contains("open the new file"), "{told}");
    log.append(&rows(20, 30));
    let mut child = follow(&sandbox, &server, &[]);
    await_rows(&sandbox, &server, &mut child, 30);
    end(child);
}

#[test]
fn a_limit_ends_what_follows_also_amid_rotation_and_the_next_run_goes_on() {
    let sandbox = Sandbox::new();
    let mut log = Log::new(&sandbox);
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    log.append(&rows(0, 100));
    let mut sent = 0;
    for limit in ["40", "60", "50"] {
        if sent == 100 {
            log.rename();
            log.append(&rows(100, 200));
        }
        let output = follow(&sandbox, &server, &["--limit", limit]).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let limit: u64 = limit.parse().unwrap();
        assert_eq!((&report["status"], &report["rows"]), (&"done".into(), &limit.into()));
        sent += limit;
    }
    let mut child = follow(&sandbox, &server, &[]);
    await_rows(&sandbox, &server, &mut child, 200);
    end(child);
    assert_equal(&sandbox, &server, &log.files());
}

#[test]
fn what_cant_be_followed_says_why() {
    let sandbox = Sandbox::new();
    let mut log = Log::new(&sandbox);
    log.append(&rows(0, 10));
    log.rename();
    fs::create_dir(sandbox.path("d")).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"k,row\n1,2\n").unwrap();
    sandbox.write("p.csv.gz", &encoder.finish().unwrap());
    for (files, said) in [
        (&["-"][..], "for one file that grows"),
        (&["d"], "for one file that grows"),
        (&["*.csv"], "for one file that grows"),
        (&["p.csv.gz"], "it is compressed"),
        (&["e.csv.1", "e.csv"], "is one of its rotated files"),
    ] {
        let output = sandbox.run(&[&["ingest", "--follow", "-t", "t"], files].concat());
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{files:?} {told}");
        assert!(told.contains(said), "{files:?} {told}");
    }
}
