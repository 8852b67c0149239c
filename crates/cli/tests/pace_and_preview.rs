//! Before rows are sent and while they are: `--dry-run`, `partition-of`, `--rate`, `--replay`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use std::thread;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::Value;
use tool::{Sandbox, Server, interrupt, stderr, stdout, wait};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_dry_run_shows_what_an_ingest_then_does_and_begins_nothing() {
    let sandbox = Sandbox::new();
    let made = sandbox.succeed(&["generate", "clicks", "--rows", "3000", "--seed", "5"]);
    sandbox.write("clicks.csv", made.as_bytes());
    let dry = ["ingest", "clicks.csv", "--timestamp", "event_time", "--dry-run"];
    let shown = json(&sandbox.succeed(&[&dry[..], &["--json"]].concat()));
    assert!(!sandbox.path(".streamledger").exists(), "nothing was begun");
    assert_eq!(shown["sampled"]["is_all"], true);
    assert_eq!((&shown["estimated"]["rows"], &shown["partitions"]), (&3000.into(), &6.into()));
    assert_eq!(shown["first_records"].as_array().unwrap().len(), 5);

    sandbox.succeed(&["ingest", "clicks.csv", "--timestamp", "event_time", "--quiet"]);
    let counts = sandbox.succeed(&["consume", "ecommerce.events", "--fields", "partition"]);
    for placed in shown["rows_by_partition"].as_array().unwrap() {
        let partition = placed["partition"].to_string();
        let arrived = counts.lines().filter(|line| *line == partition).count();
        assert_eq!(placed["rows"], arrived, "partition {partition}");
    }
    let first = &shown["first_records"][0];
    let partition = first["partition"].to_string();
    let consumed = sandbox.succeed(&[
        "consume",
        "ecommerce.events",
        "--partition",
        &partition,
        "--max-messages",
        "1",
        "--format",
        "json",
    ]);
    let consumed = json(&consumed);
    for field in ["key", "value", "timestamp"] {
        assert_eq!(first[field], consumed[field]);
    }

    let text = sandbox.succeed(&dry);
    for part in [
        "all of them were looked at",
        "6 partitions (topic)",
        "The first records",
        "Where rows with a key go",
        "times the mean",
        "Nothing was sent.",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_dry_run_tells_of_types_bad_rows_and_a_rate() {
    let sandbox = Sandbox::new();
    let rows: String = (0..2000).map(|n| format!("{n},{n}.5\n")).collect();
    sandbox.write("a.csv", format!("id,n\n{rows}soon,1\n").as_bytes());
    let shown = sandbox.succeed(&[
        "ingest",
        "a.csv",
        "--dry-run",
        "--json",
        "--rate",
        "100",
        "--partitions",
        "100000000",
        "--key",
        "id",
    ]);
    let shown = json(&shown);
    assert_eq!(shown["columns"][1], serde_json::json!({"name": "n", "type": "number"}));
    assert_eq!((&shown["rejected"], &shown["rejections"][0]["line"]), (&1.into(), &2002.into()));
    let seconds = shown["estimated"]["seconds"].as_f64().unwrap();
    assert!((20.0..21.0).contains(&seconds), "{seconds}");
    assert_eq!((&shown["keys"], &shown["partitions_from"]), (&2000.into(), &"--partitions".into()));

    let piped = sandbox.run_with_input(&["ingest", "-", "--dry-run"], b"{\"a\":1}\n");
    assert!(piped.status.success() && stdout(&piped).contains("Nothing was sent."));
}

#[test]
fn a_key_goes_where_ingest_puts_it() {
    let sandbox = Sandbox::new();
    sandbox.write("a.csv", b"id\none\ntwo\nthree\n");
    sandbox.succeed(&["ingest", "a.csv", "-t", "t", "--key", "id", "--partitions", "7", "-q"]);
    let consumed = sandbox.succeed(&["consume", "t", "--fields", "key,partition"]);
    let mut arrived: Vec<&str> = consumed.lines().collect();
    arrived.sort_unstable();
    let told = sandbox.succeed(&["partition-of", "one", "three", "two", "--topic", "t"]);
    assert_eq!(told.lines().collect::<Vec<_>>(), arrived);
    let same = sandbox.succeed(&["partition-of", "one", "three", "two", "-n", "7"]);
    assert_eq!(same, told);
    let other = ["partition-of", "", "-n", "7", "--partitioner", "consistent_random", "--json"];
    assert_eq!(json(&sandbox.succeed(&other))["partition"], Value::Null);
}

#[rstest]
#[case(&["partition-of", "k"], 2, &["--partitions", "--topic"])]
#[case(&["partition-of", "k", "-n", "0"], 2, &["--partitions"])]
#[case(&["partition-of", "k", "-n", "2", "-t", "t"], 2, &["cannot be used with"])]
#[case(&["partition-of", "k", "-t", "t"], 1, &["nothing is in .streamledger"])]
#[case(&["ingest", "a.csv", "--rate", "fast"], 2, &["10MB/s"])]
#[case(&["ingest", "a.csv", "--rate", "0"], 2, &["more than 0"])]
#[case(&["ingest", "a.csv", "--replay", "60x"], 2, &["--timestamp"])]
#[case(&["ingest", "a.csv", "--replay", "60", "--timestamp", "at"], 2, &["60x, 0.5x or max"])]
#[case(&["ingest", "a.csv", "--dry-run", "--key", "nothing"], 2, &["no column \"nothing\""])]
#[case(
    &["ingest", "a.csv", "--dry-run", "-b", "127.0.0.1:1", "-X", "request.timeout.ms=500"],
    4,
    &["no broker answers at 127.0.0.1:1", "--partitions N"]
)]
fn what_cant_be_done_says_why(
    #[case] arguments: &[&str],
    #[case] code: i32,
    #[case] said: &[&str],
) {
    let sandbox = Sandbox::new();
    sandbox.write("a.csv", b"id,at\n1,2019-10-01\n");
    let output = sandbox.run(arguments);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in said {
        assert!(text.contains(part), "{part:?} isn't in:\n{text}");
    }
}

#[test]
fn a_rate_holds_rows_back() {
    let sandbox = Sandbox::new();
    let rows: String = (0..100).map(|n| format!("{n}\n")).collect();
    sandbox.write("a.txt", rows.as_bytes());
    for (topic, rate) in [("rows", "200/s"), ("bytes", "580B")] {
        let report = sandbox.succeed(&["ingest", "a.txt", "-t", topic, "--rate", rate, "--json"]);
        let report = json(&report);
        assert_eq!(report["rows"], 100);
        assert!(report["seconds"].as_f64().unwrap() > 0.35, "{report}");
    }
}

#[test]
fn a_replay_keeps_the_distance_between_rows_and_tells_how_late_it_was() {
    let sandbox = Sandbox::new();
    sandbox.write("a.csv", b"at\n2019-10-01 00:00:00\n2019-10-01 00:00:30\n2019-10-01 00:01:00\n");
    let arguments = ["ingest", "a.csv", "-t", "t", "--timestamp", "at", "--json", "--replay"];
    let report = json(&sandbox.succeed(&[&arguments[..], &["120x"]].concat()));
    assert!(report["seconds"].as_f64().unwrap() >= 0.5, "{report}");
    let replay = &report["replay"];
    assert_eq!(replay["times"], 120.0);
    let span = replay["last_ms"].as_i64().unwrap() - replay["first_ms"].as_i64().unwrap();
    assert_eq!(span, 60_000);
    assert!(replay["late_ms_max"].as_u64() >= replay["late_ms"].as_u64());
    let at_once = [&arguments[..], &["max", "--job", "other"]].concat();
    assert_eq!(json(&sandbox.succeed(&at_once))["rows"], 3);
}

#[test]
fn rows_before_one_that_waits_are_committed_and_ctrl_c_loses_none() {
    let sandbox = Sandbox::new();
    sandbox.write("a.csv", b"id,at\n1,2019-10-01 00:00:00\n2,2019-10-01 05:00:00\n");
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let common =
        ["ingest", "a.csv", "-t", "t", "--timestamp", "at", "--json", "-b", &server.address];
    let more = ["--replay", "1x", "--transaction-ms", "50"];
    let mut child = sandbox.spawn(&[&common[..], &more].concat());
    let begun = Instant::now();
    let ids = |expected: &str| loop {
        let output = sandbox.run(&["consume", "t", "-b", &server.address, "--fields", "value"]);
        let text = stdout(&output);
        if text.contains(expected) {
            break text;
        }
        assert!(begun.elapsed() < tool::PATIENCE, "{text}{}", stderr(&output));
        thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(ids("\"id\":1").lines().count(), 1, "committed while the second row waits");
    interrupt(&child, "INT");
    assert_eq!(wait(&mut child), Some(130));
    let report = json(&sandbox.succeed(&common));
    assert_eq!((&report["rows"], &report["files"][0]["was"]), (&1.into(), &"resumed".into()));
    sandbox.succeed(&["audit", "a.csv", "t", "--timestamp", "at", "-b", &server.address]);
}
