//! `ingest` dies, its broker dies, its file changes: each row is in the topic once, or the run says
//! why it stops.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tool::{Sandbox, Server, Told, interrupt, names, stderr, stdout, wait};

const KILLS: u64 = 12;
const ROWS: usize = 120_000;

/// Rows `from..to` as NDJSON, some of which are keyed alike.
fn rows(from: usize, to: usize) -> String {
    let mut text = String::new();
    for row in from..to {
        let _ = writeln!(text, "{{\"k\":\"{}\",\"row\":{row}}}", row % 97);
    }
    text
}

/// What a reader of committed records sees: each row's number, by partition.
fn committed(sandbox: &Sandbox, server: &str, topic: &str) -> Vec<Vec<usize>> {
    let text = sandbox.succeed(&["consume", topic, "-b", server, "--fields", "partition,value"]);
    let mut partitions = vec![Vec::new(); 6];
    for line in text.lines() {
        let (partition, value) = line.split_once('\t').unwrap();
        let row: usize = value.rsplit(':').next().unwrap().trim_end_matches('}').parse().unwrap();
        partitions[partition.parse::<usize>().unwrap()].push(row);
    }
    partitions
}

/// That `audit` says so too.
fn assert_equal(sandbox: &Sandbox, server: &str) {
    let shown = sandbox.succeed(&["audit", "f.ndjson", "t", "--key", "k", "-b", server]);
    assert!(shown.contains("equal: every row is there, once"), "{shown}");
    assert!(shown.contains("kept for every key"), "{shown}");
}

/// Each of `0..count` is there once, in the file's order in each partition.
fn assert_once(partitions: &[Vec<usize>], count: usize) {
    for rows in partitions {
        assert!(rows.is_sorted_by(|a, b| a < b), "doubled or out of order");
    }
    let mut all: Vec<usize> = partitions.iter().flatten().copied().collect();
    all.sort_unstable();
    assert_eq!(all.len(), count);
    assert!(all.iter().enumerate().all(|(index, row)| index == *row), "a row is missing");
}

const INGEST: [&str; 9] =
    ["ingest", "f.ndjson", "--topic", "t", "--key", "k", "--transaction-rows", "2000", "--json"];

#[test]
fn killed_again_and_again_it_goes_on_and_each_row_is_there_once() {
    let sandbox = Sandbox::new();
    sandbox.write("f.ndjson", rows(0, ROWS).as_bytes());
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let arguments = [&INGEST[..], &["-b", &server.address]].concat();
    // Slow enough that there is something left to do after the last kill, on any machine.
    let rate = (ROWS / 40).to_string();
    let slowly = [&arguments[..], &["--rate", &rate, "--transaction-ms", "50"]].concat();
    for kill in 0..KILLS {
        let mut child = sandbox.spawn(&slowly);
        thread::sleep(Duration::from_micros(150_000 + (kill * 104_729) % 600_000));
        if kill == KILLS - 1 {
            // Perhaps no life came so far on this machine.
            sandbox.await_commit("t", &server.address);
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let report: serde_json::Value = serde_json::from_str(&sandbox.succeed(&arguments)).unwrap();
    assert_ne!(report["files"][0]["was"], "new", "nothing was committed before a kill");
    assert_once(&committed(&sandbox, &server.address, "t"), ROWS);
    assert_equal(&sandbox, &server.address);

    let again: serde_json::Value = serde_json::from_str(&sandbox.succeed(&arguments)).unwrap();
    assert_eq!((&again["rows"], &again["files"][0]["was"]), (&0.into(), &"done".into()));
    assert_once(&committed(&sandbox, &server.address, "t"), ROWS);
}

#[test]
fn a_broker_that_is_killed_meanwhile_loses_and_doubles_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("f.ndjson", rows(0, ROWS).as_bytes());
    let listen = tool::free_address();
    let mut server = Server::start(&sandbox, &listen, &[]);
    let more = ["-b", &listen, "-X", "retry.backoff.ms=20", "-X", "reconnect.backoff.max.ms=50"];
    let mut child = sandbox.spawn(&[&INGEST[..], &more].concat());
    let begun = Instant::now();
    for kill in 0..6_u64 {
        thread::sleep(Duration::from_micros(80_000 + (kill * 104_729) % 200_000));
        server.kill();
        server = Server::start(&sandbox, &listen, &[]);
    }
    assert!(begun.elapsed() < tool::PATIENCE);
    assert_eq!(wait(&mut child), Some(0));
    assert_once(&committed(&sandbox, &listen, "t"), ROWS);
    assert_equal(&sandbox, &listen);
}

#[test]
fn ctrl_c_commits_what_was_sent_and_the_next_run_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.write("f.ndjson", rows(0, ROWS).as_bytes());
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let arguments = [&INGEST[..], &["-b", &server.address]].concat();
    let rate = (ROWS / 40).to_string();
    let slowly = [&arguments[..], &["--rate", &rate, "--transaction-ms", "50"]].concat();
    let mut child = sandbox.spawn(&slowly);
    sandbox.await_commit("t", &server.address);
    interrupt(&child, "INT");
    assert_eq!(wait(&mut child), Some(130));
    let before: usize = committed(&sandbox, &server.address, "t").iter().map(Vec::len).sum();
    assert!((1..ROWS).contains(&before), "{before} rows before");
    let report: serde_json::Value = serde_json::from_str(&sandbox.succeed(&arguments)).unwrap();
    assert_eq!(report["rows"], ROWS - before);
    assert_once(&committed(&sandbox, &server.address, "t"), ROWS);
}

#[test]
fn a_second_run_of_a_job_ends_the_first() {
    let sandbox = Sandbox::new();
    sandbox.write("f.ndjson", rows(0, 2 * ROWS).as_bytes());
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let arguments = [&INGEST[..], &["-b", &server.address]].concat();
    let first = sandbox.spawn(&arguments);
    let begun = Instant::now();
    // Once it has committed something it is the job's run.
    let look = ["consume", "t", "-b", &server.address, "--max-messages", "1"];
    while sandbox.run(&look).stdout.is_empty() {
        assert!(begun.elapsed() < tool::PATIENCE);
    }
    let second = sandbox.run(&arguments);
    let first = first.wait_with_output().unwrap();
    assert!(second.status.success(), "{}", stderr(&second));
    if !first.status.success() {
        let said = stderr(&first);
        assert!(said.contains("another run of the job \"t\" has begun"), "{said}");
    }
    assert_once(&committed(&sandbox, &server.address, "t"), 2 * ROWS);
}

#[test]
fn a_file_that_changed_stops_the_run_before_a_row_is_sent() {
    let sandbox = Sandbox::new();
    let original = rows(0, 1000);
    sandbox.write("f.ndjson", original.as_bytes());
    sandbox.succeed(&INGEST);
    let refused = |content: &str, more: &[&str], words: &str| {
        sandbox.write("f.ndjson", content.as_bytes());
        let output = sandbox.run(&[&INGEST[..], more].concat());
        assert!(!output.status.success(), "{content:.40}");
        let said = stderr(&output);
        assert!(said.contains(words), "{said}");
        assert!(said.contains("do:"), "{said}");
    };
    refused(&original.replacen("\"row\":7}", "\"row\":8}", 1), &[], "was edited or replaced");
    refused(&rows(0, 500), &[], "it was cut");
    refused(&rows(0, 1500), &[], "has grown");
    refused(&rows(5, 1500), &["--append"], "was edited or replaced");
    sandbox.write("f.ndjson", rows(0, 1500).as_bytes());
    let appended = sandbox.succeed(&[&INGEST[..], &["--append"]].concat());
    let report: serde_json::Value = serde_json::from_str(&appended).unwrap();
    assert_eq!((&report["rows"], &report["files"][0]["rows_before"]), (&500.into(), &1000.into()));
}

#[test]
fn a_file_that_is_written_to_while_it_is_read_stops_the_run_or_may_grow() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    // At that rate it has not ended when it is written to, on any machine.
    let slowly = ["--rate", "100", "--transaction-ms", "50", "-b", &server.address];
    let slowly = [&INGEST[..], &slowly].concat();
    let original = rows(0, 20_000);
    for (rows_kept, added, more, is_refused) in [
        (10_000, "", &["--append"][..], true),
        (20_000, "{}\n", &[], true),
        (20_000, "{}\n", &["--append"], false),
    ] {
        sandbox.write("f.ndjson", original.as_bytes());
        let _ = sandbox.run(&["jobs", "reset", "t", "-b", &server.address]);
        let mut child = sandbox.spawn(&[&slowly[..], more].concat());
        sandbox.await_commit("t", &server.address);
        let mut file = File::options().append(true).open(sandbox.path("f.ndjson")).unwrap();
        file.set_len(rows(0, rows_kept).len() as u64).unwrap();
        file.write_all(added.as_bytes()).unwrap();
        if is_refused {
            assert_eq!(wait(&mut child), Some(3), "{more:?}");
            let told = stderr(&child.wait_with_output().unwrap());
            assert!(told.contains("f.ndjson was written to while it was read"), "{told}");
        } else {
            interrupt(&child, "INT");
            assert_eq!(wait(&mut child), Some(130), "it may grow");
        }
    }
}

#[test]
fn a_topic_that_was_given_partitions_is_told_of_and_gone_on_with() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    sandbox.write("f.ndjson", rows(0, 1000).as_bytes());
    let on = [&INGEST[..], &["-b", &server.address]].concat();
    let first = sandbox.run(&[&on[..], &["--limit", "400"]].concat());
    assert!(first.status.success() && stderr(&first).is_empty(), "{}", stderr(&first));
    let config = streamledger::AdminConfig::builder().bootstrap_servers(&server.address);
    let admin = streamledger::Admin::new(config.build().unwrap()).unwrap();
    let grown = admin.create_partitions(&[streamledger::NewPartitions::to("t", 8)]).unwrap();
    grown.only().unwrap();
    let second = sandbox.run(&on);
    let told = stderr(&second);
    assert!(told.contains("t has 8 partitions now, and had 6"), "{told}");
    let report: Value = serde_json::from_str(&stdout(&second)).unwrap();
    assert_eq!((&report["rows"], &report["status"]), (&600.into(), &"done".into()));
    let third = sandbox.run(&on);
    assert!(!stderr(&third).contains("partitions now"), "all is done: {}", stderr(&third));
}

#[test]
fn half_a_file_isnt_gone_on_with_by_other_rules() {
    let sandbox = Sandbox::new();
    sandbox.write("f.ndjson", rows(0, 1000).as_bytes());
    sandbox.succeed(&[&INGEST[..], &["--limit", "400"]].concat());
    let other = ["ingest", "f.ndjson", "--topic", "t", "--key", "row"];
    let output = sandbox.run(&other);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("was ingested as ndjson, key k"), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_str(&sandbox.succeed(&INGEST)).unwrap();
    assert_eq!(report["rows"], 600);
}

#[test]
fn bad_rows_go_to_the_dead_letters_with_the_rows_around_them() {
    let sandbox = Sandbox::new();
    let mut text = rows(0, 300);
    text.push_str("{\"k\":\n{\"k\":{}}\n");
    text.push_str(&rows(300, 600));
    sandbox.write("f.ndjson", text.as_bytes());
    let arguments = [&INGEST[..], &["--on-error", "dead-letter"]].concat();
    let report: serde_json::Value = serde_json::from_str(&sandbox.succeed(&arguments)).unwrap();
    assert_eq!((&report["rows"], &report["rejected"]), (&600.into(), &2.into()));
    let letters = sandbox.succeed(&["consume", "t.dead-letters", "--format", "json"]);
    let letters: Vec<serde_json::Value> =
        letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0]["value"], "{\"k\":");
    assert_eq!(letters[1]["value"], "{\"k\":{}}");
    let header = |name: &str| {
        let headers = letters[1]["headers"].as_array().unwrap();
        let found = headers.iter().find(|header| header["name"] == name);
        found.map(|header| header["value"].as_str().unwrap().to_owned())
    };
    assert_eq!(header("file").as_deref(), Some("f.ndjson"));
    assert_eq!(header("line").as_deref(), Some("302"));
    assert_eq!(header("column").as_deref(), Some("k"));
    assert!(header("reason").unwrap().contains("no usable field"));
}

#[test]
fn an_audit_looks_for_each_bad_row_among_the_dead_letters() {
    let sandbox = Sandbox::new();
    let text = rows(0, 3) + "{\"k\":\n" + &rows(3, 6) + "{\"k\":{}}\n";
    sandbox.write("f.ndjson", text.as_bytes());
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let at = ["-b", server.address.as_str()];
    sandbox.succeed(&[&INGEST[..], &["--on-error", "dead-letter"], &at].concat());
    let audit = ["audit", "f.ndjson", "t", "--key", "k"];
    let audit = |more: &[&str], exit: i32| -> String {
        let output = sandbox.run(&[&audit[..], more, &at].concat());
        assert_eq!(output.status.code(), Some(exit), "{}{}", stderr(&output), stdout(&output));
        stdout(&output)
    };
    let letters = |topic: &str, exit: i32| -> Value {
        let shown = audit(&["--dead-letter-topic", topic, "--json"], exit);
        serde_json::from_str::<Value>(&shown).unwrap()["dead_letters"].take()
    };
    let counts = |of: &Value| {
        ["records", "of_others", "missing", "doubled", "altered", "unexpected"]
            .map(|name| of[name].as_u64().unwrap())
    };
    assert!(audit(&[], 0).contains("not compared: --dead-letter-topic t.dead-letters"));
    let equal = audit(&["--dead-letters", "t.dead-letters"], 0);
    assert!(equal.contains("and every bad one among the dead letters"), "{equal}");
    assert_eq!(counts(&letters("t.dead-letters", 0)), [2, 0, 0, 0, 0, 0]);

    // Letters that someone else writes: of another file, once more, of a good row; and of another
    // topic's only one, under another name of the file and with other bytes.
    let write = |topic: &str, file: &str, line: &str, row: &str| {
        let (file, line) = (format!("file={file}"), format!("line={line}"));
        let how = ["produce", topic, "--header", &file, "--header", &line, "-q"];
        let sent = sandbox.run_with_input(&[&how[..], &at].concat(), row.as_bytes());
        assert!(sent.status.success(), "{}", stderr(&sent));
    };
    write("t.dead-letters", "g.ndjson", "4", "{\"k\":\n");
    assert_eq!(counts(&letters("t.dead-letters", 0)), [2, 1, 0, 0, 0, 0]);
    write("t.dead-letters", "f.ndjson", "4", "{\"k\":\n");
    write("t.dead-letters", "f.ndjson", "1", "{\"k\":\n");
    let different = letters("t.dead-letters", 6);
    assert_eq!(counts(&different), [4, 1, 0, 1, 0, 1], "{different}");
    assert_eq!(different["differences"][0]["row"], "f.ndjson:4", "{different}");
    let whole = sandbox.path("f.ndjson");
    write("other", whole.to_str().unwrap(), "4", "{\"K\":\n");
    let different = letters("other", 6);
    assert_eq!(counts(&different), [1, 0, 1, 0, 1, 0], "{different}");
    let named = different["differences"].to_string();
    assert!(named.contains("f.ndjson:8") && named.contains("f.ndjson:4"), "{named}");
    let shown = audit(&["--dead-letter-topic", "other"], 6);
    assert!(shown.contains("different: of the dead letters 1 missing, 1 altered"), "{shown}");
}

#[test]
fn a_bad_row_keeps_the_rows_before_it_and_is_met_again() {
    let sandbox = Sandbox::new();
    let text = rows(0, 300) + "oops\n" + &rows(300, 600);
    sandbox.write("f.ndjson", text.as_bytes());
    for _ in 0..2 {
        let output = sandbox.run(&INGEST);
        assert_eq!(output.status.code(), Some(3));
        assert!(stderr(&output).contains("bad row at f.ndjson:301"), "{}", stderr(&output));
    }
    sandbox.write("f.ndjson", text.replace("oops\n", "\n    ").as_bytes());
    let output = sandbox.run(&[&INGEST[..], &["--append"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&report["rows"], &report["files"][0]["rows_before"]), (&300.into(), &300.into()));
    let many = rows(0, 3) + "a\nb\nc\n";
    sandbox.write("g.ndjson", many.as_bytes());
    let limited = ["ingest", "g.ndjson", "--topic", "u", "--on-error", "skip"];
    let output = sandbox.run(&[&limited[..], &["--max-rejected", "2"]].concat());
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("more than 2 bad rows"), "{}", stderr(&output));
    let output = sandbox.run(&[&limited[..], &["--max-rejected", "2"]].concat());
    assert_eq!(output.status.code(), Some(3), "the limit begins anew with each run");
    assert!(stderr(&output).contains("2 were left out before"), "{}", stderr(&output));
    sandbox.succeed(&[&limited[..], &["--max-rejected", "3"]].concat());
}

#[test]
fn standard_input_is_sent_at_least_once_and_that_is_said() {
    let sandbox = Sandbox::new();
    let output = sandbox.run_with_input(&["ingest", "-", "--topic", "t"], rows(0, 10).as_bytes());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("standard input can't be read again"), "{}", stdout(&output));
    let wanted = ["ingest", "-", "--topic", "t", "--exactly-once"];
    let output = sandbox.run_with_input(&wanted, rows(0, 10).as_bytes());
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let twice = ["ingest", "f.ndjson", "--topic", "u", "--at-least-once", "--json"];
    sandbox.write("f.ndjson", rows(0, 10).as_bytes());
    for _ in 0..2 {
        let report: serde_json::Value = serde_json::from_str(&sandbox.succeed(&twice)).unwrap();
        assert_eq!((&report["rows"], &report["guarantee"]), (&10.into(), &"at-least-once".into()));
    }
}

#[test]
fn what_is_kept_of_jobs_is_shown_and_forgotten() {
    let sandbox = Sandbox::new();
    sandbox.write("f.ndjson", rows(0, 1000).as_bytes());
    sandbox.write("g.ndjson", rows(1000, 1200).as_bytes());
    sandbox.succeed(&[&INGEST[..], &["g.ndjson", "--limit", "1100"]].concat());
    assert!(sandbox.succeed(&["jobs", "list"]).contains("1,100"));
    let shown = sandbox.succeed(&["jobs", "show", "t", "--json"]);
    let files: Vec<serde_json::Value> =
        shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&files[0]["rows"], &files[0]["complete"]), (&1000.into(), &true.into()));
    assert_eq!((&files[1]["rows"], &files[1]["next_line"]), (&100.into(), &101.into()));

    let missing = sandbox.run(&["jobs", "reset", "t", "--file", "g.ndjson"]);
    assert!(stderr(&missing).contains("one of:"), "{}", stderr(&missing));
    let path = files[1]["file"].as_str().unwrap();
    sandbox.succeed(&["jobs", "reset", "t", "--file", path]);
    assert_eq!(sandbox.succeed(&["jobs", "show", "t", "--json"]).lines().count(), 1);
    let unknown = sandbox.run(&["jobs", "show", "u"]);
    assert!(stderr(&unknown).contains("choose one of: t"), "{}", stderr(&unknown));
    let again = sandbox.succeed(&[&INGEST[..], &["g.ndjson"]].concat());
    let report: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(report["rows"], 200, "what was forgotten is sent once more");
    sandbox.succeed(&["topics", "delete", "t"]);
    let anew = sandbox.succeed(&[&INGEST[..], &["g.ndjson"]].concat());
    let report: serde_json::Value = serde_json::from_str(&anew).unwrap();
    assert_eq!(report["rows"], 1200, "a topic that was made anew has none of the rows");
}

#[test]
fn an_audit_tells_equal_from_missing_doubled_and_altered() {
    let sandbox = Sandbox::new();
    let text = rows(0, 2000);
    sandbox.write("f.ndjson", text.as_bytes());
    sandbox.succeed(&INGEST);
    let audit = |name: &str, exit: i32| -> serde_json::Value {
        let output = sandbox.run(&["audit", name, "t", "--key", "k", "--json"]);
        assert_eq!(output.status.code(), Some(exit), "{}", stderr(&output));
        serde_json::from_str(&stdout(&output)).unwrap()
    };
    let equal = audit("f.ndjson", 0);
    assert_eq!((&equal["equal"], &equal["order"]), (&true.into(), &"kept".into()));
    assert_eq!((&equal["file_rows"], &equal["topic_records"]), (&2000.into(), &2000.into()));

    // The topic lacks a row that the file has, has one that the file lacks, and one otherwise.
    let lines: Vec<&str> = text.lines().collect();
    let mut other: Vec<String> = lines[1..].iter().map(|line| format!("{line}\n")).collect();
    other[41] = other[41].replace("\"row\":42", "\"row\":4242");
    other.push("{\"k\":\"new\",\"row\":1}\n".to_owned());
    other.push("{\"k\":\n".to_owned());
    sandbox.write("g.ndjson", other.concat().as_bytes());
    let different = audit("g.ndjson", 6);
    let count = |kind: &str| different[kind].as_u64().unwrap();
    assert_eq!((count("missing"), count("altered"), count("unexpected")), (1, 1, 1), "{different}");
    assert_eq!((count("doubled"), count("rejected")), (0, 1));
    let named = different["differences"].to_string();
    assert!(named.contains("g.ndjson:42") && named.contains("g.ndjson:2000"), "{named}");

    let twice = ["ingest", "f.ndjson", "--topic", "t", "--key", "k", "--limit", "3"];
    sandbox.succeed(&[&twice[..], &["--at-least-once"]].concat());
    assert_eq!(audit("f.ndjson", 6)["doubled"], 3);

    let mut swapped = lines.clone();
    swapped.swap(0, 97);
    sandbox.write("h.ndjson", swapped.join("\n").as_bytes());
    sandbox.succeed(&["ingest", "f.ndjson", "--topic", "u", "--key", "k"]);
    let output = sandbox.run(&["audit", "h.ndjson", "u", "--key", "k"]);
    assert_eq!(output.status.code(), Some(6));
    assert!(stdout(&output).contains("the same rows in another order"), "{}", stdout(&output));
    let mut between_keys = lines.clone();
    (0..1000).for_each(|pair| between_keys.swap(2 * pair, 2 * pair + 1));
    sandbox.write("i.ndjson", between_keys.join("\n").as_bytes());
    let output = sandbox.run(&["audit", "i.ndjson", "u", "--key", "k"]);
    assert_eq!(output.status.code(), Some(0), "each key's rows are in order");
}

/// What a program was told, line by line.
fn events(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_program_is_told_of_files_commits_and_bad_rows_in_order_and_where_a_run_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.write("a.ndjson", b"{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n{\"n\":3}\nno json\n");
    sandbox
        .write("b.ndjson", b"{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n{\"n\":5}\n");
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let files = ["ingest", "a.ndjson", "b.ndjson", "--topic", "t", "--on-error", "skip"];
    let files = [&files[..], &["-b", &server.address]].concat();
    let run = |more: &[&str]| {
        // A commit is due by rows only, however slow the machine is.
        let commits = ["--transaction-rows", "3", "--transaction-ms", "600000"];
        sandbox.succeed(&[&files[..], &commits, more].concat())
    };
    let is_timed = |event: &Value| event["event"] == "progress";
    let mut first = events(&run(&["--json-events", "--limit", "7"]));
    first.retain(|event| !is_timed(event));
    let place = |file: &str, bytes: u64, next_line: u64, rows: u64| {
        let (line, none) = (next_line, 0);
        json!({"file": file, "bytes": bytes, "next_line": line, "rows": rows, "rejected": none})
    };
    let expected = [
        json!({"event": "started", "topic": "t", "job": "t", "guarantee": "exactly-once",
               "files": 2, "bytes": 88}),
        json!({"event": "file_started", "file": "a.ndjson", "file_bytes": 40}),
        json!({"event": "committed", "transactions": 1, "rows": 3,
               "place": place("a.ndjson", 24, 4, 3)}),
        json!({"event": "file_started", "file": "b.ndjson", "file_bytes": 48}),
        json!({"event": "committed", "transactions": 2, "rows": 7,
               "place": place("b.ndjson", 24, 4, 3)}),
        json!({"event": "rejected", "file": "a.ndjson", "rejected": 1, "rejections": [
            {"file": "a.ndjson", "line": 5, "reason": first[5]["rejections"][0]["reason"]}]}),
        json!({"event": "file_done", "file": "a.ndjson", "rows": 4, "rejected": 1,
               "earlier": false}),
        json!({"event": "committed", "transactions": 3, "rows": 7,
               "place": place("b.ndjson", 24, 4, 3)}),
    ];
    let (summary, told) = first.split_last().unwrap();
    assert_eq!(told, expected);
    assert_eq!((&summary["event"], &summary["rows"]), (&json!("summary"), &json!(7)));

    let mut second = events(&run(&["--json-events"]));
    second.retain(|event| !is_timed(event));
    let mut resumed = place("b.ndjson", 24, 4, 3);
    resumed["event"] = json!("resumed");
    let expected = [
        json!({"event": "file_done", "file": "a.ndjson", "rows": 4, "rejected": 1,
               "earlier": true}),
        json!({"event": "file_started", "file": "b.ndjson", "file_bytes": 48}),
        resumed,
        json!({"event": "committed", "transactions": 1, "rows": 3,
               "place": place("b.ndjson", 48, 7, 6)}),
    ];
    assert_eq!(second[1..5], expected);
    assert_eq!(second[second.len() - 2]["event"], "file_done");
    let summary = second.last().unwrap().as_object().unwrap();
    let alone: Value = serde_json::from_str(&run(&["--json"])).unwrap();
    assert!(summary.keys().filter(|key| *key != "event").eq(alone.as_object().unwrap().keys()));

    let unsure = [&files[..], &["--json-events", "--at-least-once"]].concat();
    let unsure = events(&sandbox.succeed(&unsure));
    let mut of_files = names(&unsure);
    of_files.retain(|name| *name != "progress");
    assert_eq!(of_files.iter().filter(|name| **name == "file_done").count(), 2);
    let at = |name: &str| of_files.iter().position(|found| *found == name).unwrap();
    assert!(at("rejected") < at("file_done") && !of_files.contains(&"committed"), "{of_files:?}");
}

#[test]
fn of_a_run_that_is_killed_nothing_was_told_that_the_next_one_takes_back() {
    let sandbox = Sandbox::new();
    for (file, count) in [("a", 50), ("b", 50), ("c", 5000)] {
        sandbox.write(&format!("{file}.ndjson"), rows(0, count).as_bytes());
    }
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let arguments = [&["ingest", "a.ndjson", "b.ndjson", "c.ndjson", "--topic", "t"][..]];
    let arguments = [&arguments.concat()[..], &["--json-events", "-b", &server.address]].concat();
    // All of a and b is sent when c begins, and the commit isn't due for as long as the test runs.
    let late = [&arguments[..], &["--rate", "500", "--transaction-ms", "600000"]].concat();
    let mut run = Told::by(sandbox.spawn(&late));
    let in_c = |event: &Value| event["event"] == "progress" && event["file"] == "c.ndjson";
    let mut told = run.until(in_c);
    run.child.kill().unwrap();
    told.extend(run.rest());
    let lasting = ["committed", "file_done", "rejected"];
    assert!(names(&told).iter().all(|name| !lasting.contains(name)), "{told:#?}");
    // Told no more than once a second.
    let seconds = told.iter().filter(|event| event["event"] == "progress");
    let seconds: Vec<f64> = seconds.map(|event| event["seconds"].as_f64().unwrap()).collect();
    assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] > 0.99), "{seconds:?}");

    let next = events(&sandbox.succeed(&arguments));
    assert!(!names(&next).contains(&"resumed"), "{next:#?}");
    let done = next.iter().filter(|event| event["event"] == "file_done");
    let rows: Vec<u64> = done.map(|event| event["rows"].as_u64().unwrap()).collect();
    assert_eq!(rows, [50, 50, 5000]);
}

#[test]
fn a_program_is_told_that_another_run_has_begun_or_that_none_could() {
    let sandbox = Sandbox::new();
    sandbox.write("f.ndjson", rows(0, 3000).as_bytes());
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let arguments = ["ingest", "f.ndjson", "--topic", "t", "--json-events", "-b", &server.address];
    let slowly = [&arguments[..], &["--rate", "50", "--transaction-ms", "100"]].concat();
    let mut first = Told::by(sandbox.spawn(&slowly));
    first.until(|event| event["event"] == "committed");
    sandbox.succeed(&arguments);
    let told = first.rest();
    assert_eq!(wait(&mut first.child), Some(1));
    let end = names(&told).split_off(told.len() - 2);
    assert_eq!(end, ["fenced", "summary"]);
    assert_eq!(told.last().unwrap()["status"], "failed");

    let none = events(&stdout(&sandbox.run(&["ingest", "no.csv", "--json-events"])));
    assert_eq!(names(&none), ["summary"]);
    assert_eq!(none[0]["error"]["exit_code"], 3);
}
