//! Directories and patterns as inputs: their files in order, new ones among them later, through
//! kills; what is gone is told, what was replaced stops the run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tool::{Sandbox, Server, Told, interrupt, names, stderr, stdout, wait};

/// Rows `from..to` as NDJSON, some of which are keyed alike.
fn rows(from: usize, to: usize) -> String {
    let mut text = String::new();
    for row in from..to {
        let _ = writeln!(text, "{{\"k\":\"{}\",\"row\":{row}}}", row % 97);
    }
    text
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// What was known of each file: its name and `new`, `resumed` or `done`.
fn known(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let files = report["files"].as_array().unwrap();
    files.iter().map(|file| (text(&file["file"]), text(&file["was"]))).collect()
}

fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(file, was)| ((*file).to_owned(), (*was).to_owned())).collect()
}

const INGEST: [&str; 8] =
    ["ingest", "d", "--topic", "t", "--key", "k", "--transaction-rows", "2000"];

#[test]
fn killed_again_and_again_each_row_of_each_file_is_there_once_and_new_files_are_sent() {
    const ROWS: usize = 20_000;
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).unwrap();
    for file in 0..3 {
        let text = rows(file * ROWS, (file + 1) * ROWS);
        sandbox.write(&format!("d/{file}.ndjson"), text.as_bytes());
    }
    sandbox.write("d/.3.ndjson.part", b"{\"half a ro");
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let arguments = [&INGEST[..], &["--json", "-b", &server.address]].concat();
    // Slow enough that there is something left to do after the last kill, on any machine.
    let slowly = [&arguments[..], &["--rate", "1500", "--transaction-ms", "50"]].concat();
    for kill in 0..5_u64 {
        let mut child = sandbox.spawn(&slowly);
        thread::sleep(Duration::from_micros(150_000 + (kill * 104_729) % 450_000));
        if kill == 4 {
            // Perhaps no life came so far on this machine.
            sandbox.await_commit("t", &server.address);
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    sandbox.write("d/3.ndjson", rows(3 * ROWS, 3 * ROWS + 10).as_bytes());
    let report = json(&sandbox.succeed(&arguments));
    let files = known(&report);
    assert_ne!(files[0].1, "new", "nothing was committed before a kill");
    assert_eq!(files[3], ("d/3.ndjson".to_owned(), "new".to_owned()));
    for input in ["d", "d/*.ndjson", "**/[0-9].ndjson"] {
        let audit = ["audit", input, "t", "--key", "k", "-b", &server.address];
        let shown = sandbox.succeed(&audit);
        assert!(shown.contains("equal: every row is there, once"), "{shown}");
        assert!(shown.contains("kept for every key"), "{shown}");
    }
    let again = json(&sandbox.succeed(&arguments));
    assert_eq!(again["rows"], 0);
    assert!(known(&again).iter().all(|(_, was)| was == "done"), "{again}");
}

#[test]
fn of_a_directory_new_files_are_sent_gone_ones_told_and_replaced_ones_stop_it() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("d/in")).unwrap();
    sandbox.write("d/a.ndjson", rows(0, 10).as_bytes());
    sandbox.write("d/b.csv", b"k,row\n1,10\n");
    sandbox.write("d/in/c.ndjson", rows(11, 20).as_bytes());
    let run = |more: &[&str]| sandbox.run(&[&INGEST[..], &["--json"], more].concat());
    let output = run(&[]);
    assert_eq!(known(&json(&stdout(&output))), named(&[("d/a.ndjson", "new"), ("d/b.csv", "new")]));

    fs::remove_file(sandbox.path("d/a.ndjson")).unwrap();
    let output = run(&["--recursive"]);
    let told = stderr(&output);
    assert!(told.contains("a.ndjson is gone; all its 10 rows were ingested before"), "{told}");
    let report = json(&stdout(&output));
    assert_eq!(known(&report), named(&[("d/b.csv", "done"), ("d/in/c.ndjson", "new")]));
    assert_eq!(report["rows"], 9);

    sandbox.write("d/b.csv", b"k,row\n1,11\n");
    sandbox.write("d/z.ndjson", rows(20, 30).as_bytes());
    let output = run(&["--recursive"]);
    assert_eq!(output.status.code(), Some(3));
    let told = stderr(&output);
    assert!(told.contains("b.csv was edited or replaced"), "{told}");
    assert_eq!(json(&stdout(&output))["sent"], 0, "a row was sent");
}

#[test]
fn a_file_of_which_a_part_was_sent_and_that_is_gone_is_told_apart() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).unwrap();
    sandbox.write("d/a.ndjson", rows(0, 10).as_bytes());
    sandbox.succeed(&[&INGEST[..], &["--limit", "4"]].concat());
    fs::remove_file(sandbox.path("d/a.ndjson")).unwrap();
    sandbox.write("d/b.ndjson", rows(10, 20).as_bytes());
    let output = sandbox.run(&INGEST);
    assert!(output.status.success(), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(told.contains("4 rows were ingested before, those from line 5 on weren't"), "{told}");
}

#[test]
fn many_files_are_told_of_in_one_sentence() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).unwrap();
    for file in 10..40 {
        sandbox.write(&format!("d/{file}.ndjson"), rows(file, file + 2).as_bytes());
    }
    let first = sandbox.succeed(&INGEST);
    assert!(first.contains("d/10.ndjson") && first.contains("and 22 more"), "{first}");
    let told = stderr(&sandbox.run(&INGEST));
    assert!(told.contains("30 files: all their 60 rows were ingested before"), "{told}");
    for file in 10..20 {
        fs::remove_file(sandbox.path(&format!("d/{file}.ndjson"))).unwrap();
    }
    let told = stderr(&sandbox.run(&INGEST));
    assert!(told.contains("10 files are gone; all their 20 rows were ingested before"), "{told}");
    assert!(told.contains("20 files: all their 40 rows"), "{told}");
}

#[test]
fn an_empty_csv_of_a_directory_is_told_and_read_once_it_has_a_header() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).unwrap();
    sandbox.write("d/a.csv", b"");
    let output = sandbox.run(&INGEST);
    assert!(output.status.success(), "{}", stderr(&output));
    sandbox.write("d/b.csv", b"k,row\n1,10\n");
    let output = sandbox.run(&INGEST);
    assert!(output.status.success(), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(told.contains("note: d/a.csv is empty: it has no rows yet"), "{told}");
    sandbox.write("d/a.csv", b"k,row\n1,1\n1,2\n");
    let report = json(&sandbox.succeed(&[&INGEST[..], &["--json"]].concat()));
    assert_eq!(known(&report), named(&[("d/a.csv", "new"), ("d/b.csv", "done")]));
    assert_eq!(report["rows"], 2);
    let output = sandbox.run(&["ingest", "d/c.csv", "-t", "t"]);
    assert_eq!(output.status.code(), Some(3), "a file that is named is to have rows");
}

#[test]
fn files_whose_names_are_the_same_text_are_told_apart_also_after_an_earlier_release() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).unwrap();
    let path =
        |byte: u8| sandbox.path("d").join(OsStr::from_bytes(&[byte, b'.', b't', b'x', b't']));
    fs::write(path(0xe9), "1\n2\n").unwrap();
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let ingest = ["ingest", "d", "--topic", "t", "--json", "-b", &server.address];
    assert_eq!(json(&sandbox.succeed(&ingest))["rows"], 2);
    // As that release kept it: under the name as text.
    let show = ["jobs", "show", "t", "--json", "-b", &server.address];
    let mut kept = json(&sandbox.succeed(&show));
    let object = kept.as_object_mut().unwrap();
    let file = object.remove("file").unwrap();
    assert!(object.remove("file_hex").unwrap().as_str().unwrap().ends_with("2fe92e747874"));
    sandbox.succeed(&["jobs", "reset", "t", "-b", &server.address]);
    let key = serde_json::json!({"job": "t", "file": file});
    let topic = "__streamledger_progress";
    let produce = ["produce", topic, "--key-separator", "|", "-b", &server.address];
    let output = sandbox.run_with_input(&produce, format!("{key}|{kept}\n").as_bytes());
    assert!(output.status.success(), "{}", stderr(&output));

    fs::write(path(0xff), "3\n").unwrap();
    let report = json(&sandbox.succeed(&ingest));
    let was = |report: &Value| known(report).into_iter().map(|(_, was)| was).collect::<Vec<_>>();
    assert_eq!((was(&report), &report["rows"]), (vec!["done".into(), "new".into()], &1.into()));
    let again = json(&sandbox.succeed(&ingest));
    assert_eq!((was(&again), &again["rows"]), (vec!["done".into(), "done".into()], &0.into()));
    let shown = sandbox.succeed(&show);
    let has_bytes = |line: &str| json(line)["file_hex"].is_string();
    assert!(shown.lines().count() == 2 && shown.lines().all(has_bytes), "{shown}");
}

const WATCH: [&str; 4] = ["--watch", "--settle-ms", "0", "--json-events"];

/// Puts a whole file into the directory at once.
fn rename_into(sandbox: &Sandbox, name: &str, text: &str) {
    sandbox.write("under-way", text.as_bytes());
    fs::rename(sandbox.path("under-way"), sandbox.path(name)).unwrap();
}

fn is_done(file: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "file_done" && event["file"] == file
}

#[test]
fn watched_and_killed_again_and_again_each_row_of_files_that_come_is_there_once() {
    const ROWS: usize = 3000;
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).unwrap();
    let come = |file: usize| {
        let text = rows(file * ROWS, (file + 1) * ROWS);
        rename_into(&sandbox, &format!("d/{file:02}.ndjson"), &text);
    };
    (0..4).for_each(come);
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let arguments = [&INGEST[..], &WATCH, &["-b", &server.address]].concat();
    let slowly = [&arguments[..], &["--rate", "1500", "--transaction-ms", "50"]].concat();
    let mut goes_on = 0;
    for kill in 0..6_usize {
        come(4 + kill);
        let mut run = Told::by(sandbox.spawn(&slowly));
        // After a commit in the middle of a file, or at no particular point of one.
        let told = run.until(|event| match kill % 2 {
            0 => event["event"] == "committed" && !event["place"].is_null(),
            _ => event["event"] == "file_started",
        });
        thread::sleep(Duration::from_micros((kill as u64 % 2) * (kill as u64 * 104_729) % 500_000));
        assert!(run.child.try_wait().unwrap().is_none(), "it ended by itself");
        run.child.kill().unwrap();
        let told = [told, run.rest()].concat();
        goes_on += usize::from(names(&told).contains(&"resumed"));
    }
    assert!(goes_on > 0, "no file was killed in the middle of it");
    let mut run = Told::by(sandbox.spawn(&arguments));
    run.until(is_done("d/09.ndjson"));
    come(10);
    let told = run.until(is_done("d/10.ndjson"));
    assert!(told.last().unwrap()["rows"] == ROWS && told.last().unwrap()["earlier"] == false);
    interrupt(&run.child, "INT");
    assert_eq!(run.rest().last().unwrap()["status"], "interrupted");
    assert_eq!(wait(&mut run.child), Some(130));
    let audit = sandbox.succeed(&["audit", "d", "t", "--key", "k", "-b", &server.address]);
    assert!(audit.contains("equal: every row is there, once"), "{audit}");

    let mut run = Told::by(sandbox.spawn(&arguments));
    let told = run.until(is_done("d/10.ndjson"));
    let done = told.iter().filter(|event| event["event"] == "file_done");
    assert!(done.clone().all(|event| event["earlier"] == true) && done.count() == 11);
    assert!(!names(&told).contains(&"file_started"), "{told:#?}");
    interrupt(&run.child, "TERM");
    assert_eq!(run.rest().last().unwrap()["rows"], 0);
    assert_eq!(wait(&mut run.child), Some(130));
}

#[test]
fn a_watched_file_that_changes_stops_the_run_unless_it_may_grow_and_an_empty_one_is_waited_for() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).unwrap();
    sandbox.write("d/empty.csv", b"");
    sandbox.write("d/a.ndjson", rows(0, 10).as_bytes());
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let arguments = [&INGEST[..], &WATCH, &["--append", "-b", &server.address]].concat();
    let mut run = Told::by(sandbox.spawn(&arguments));
    let told = run.until(is_done("d/a.ndjson"));
    assert!(!format!("{told:?}").contains("empty.csv"), "{told:#?}");
    rename_into(&sandbox, "d/empty.csv", "k,row\n1,10\n");
    run.until(is_done("d/empty.csv"));
    rename_into(&sandbox, "d/a.ndjson", &rows(0, 25));
    let told = run.until(is_done("d/a.ndjson"));
    assert_eq!(told.last().unwrap()["rows"], 25);
    let resumed = told.iter().find(|event| event["event"] == "resumed").unwrap();
    assert_eq!(resumed["rows"], 10, "what was added is sent, and no more");

    // It looks otherwise and is the same: that is kept, and nobody is told again that it is done.
    rename_into(&sandbox, "d/a.ndjson", &rows(0, 25));
    let told = run.until(|event| event["event"] == "committed");
    assert!(!names(&told).contains(&"file_done"), "{told:#?}");

    rename_into(&sandbox, "d/b.ndjson", &rows(30, 40));
    run.until(is_done("d/b.ndjson"));
    rename_into(&sandbox, "d/b.ndjson", &rows(40, 50));
    let summary = run.rest().pop().unwrap();
    assert_eq!(wait(&mut run.child), Some(3));
    let what = summary["error"]["what"].as_str().unwrap();
    assert!(what.contains("d/b.ndjson was edited or replaced"), "{what}");
    assert_eq!(summary["rows"], 36);
}

#[test]
fn what_no_files_can_come_into_isnt_watched() {
    let sandbox = Sandbox::new();
    for (input, cause) in [("-", "standard input can be read once"), ("no", "it isn't there")] {
        let output = sandbox.run(&["ingest", input, "--watch"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(cause), "{}", stderr(&output));
    }
    let output = sandbox.run(&["ingest", ".", "--settle-ms", "5"]);
    assert_eq!(output.status.code(), Some(2), "without --watch it says nothing");
}
