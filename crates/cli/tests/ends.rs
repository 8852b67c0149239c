//! Streams that end early, late or never: pipes, standard input and signals. Nothing is lost, cut
//! in half or hung up, and nothing panics.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use std::io::{PipeWriter, Write as _};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::Value;
use tool::{Sandbox, interrupt, stderr, stdout, wait};

const CLICK_ROWS: &str = "event_time,event_type,product_id,category_id,category_code,brand,price,\
                          user_id,user_session\n\
                          2019-10-01 00:00:00 UTC,view,1,2,,,3,77,s\n\
                          2019-10-01 00:00:01 UTC,view,2,2,,,3,78,s\n";

const HALF_A_ROW: &str = "2019-10-01 00:00:02 UTC,view,3,2,,,3,7";

/// A standard output whose reader is gone, as that of `head` soon is.
fn broken_pipe() -> PipeWriter {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer
}

#[rstest]
#[case(&["topics", "list"])]
#[case(&["topics", "list", "--json"])]
#[case(&["topics", "describe", "t"])]
#[case(&["topics", "create", "u"])]
#[case(&["topics", "delete", "t"])]
#[case(&["consume", "t"])]
#[case(&["bench", "produce", "--topic", "t", "--input", "a.txt", "--records", "100"])]
#[case(&["generate", "clicks", "--rows", "10000"])]
#[case(&["completions", "zsh"])]
#[case(&["--help"])]
fn a_reader_that_goes_away_is_no_failure(#[case] arguments: &[&str]) {
    let sandbox = Sandbox::new();
    sandbox.write("a.txt", b"one\ntwo\n");
    sandbox.succeed(&["ingest", "a.txt", "--topic", "t", "--quiet"]);
    let output = sandbox.command(arguments).stdout(broken_pipe()).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn all_rows_arrive_though_nobody_reads_the_tables() {
    let sandbox = Sandbox::new();
    sandbox.write("a.txt", b"one\ntwo\n");
    let ingest = ["ingest", "a.txt", "--topic", "t"];
    let output = sandbox.command(&ingest).stdout(broken_pipe()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let (_, errors) = std::io::pipe().unwrap();
    let output = sandbox.command(&["ingest", "no.txt"]).stderr(errors).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "nobody hears why, but the code says it");
    assert_eq!(sandbox.succeed(&["consume", "t", "--fields", "value"]).lines().count(), 2);
}

#[test]
fn a_full_disk_behind_standard_output_is_named() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let sandbox = Sandbox::new();
    sandbox.write("a.txt", b"one\ntwo\n");
    sandbox.succeed(&["ingest", "a.txt", "--topic", "t", "--quiet"]);
    for arguments in [&["topics", "list"][..], &["consume", "t"], &["completions", "bash"]] {
        let full = full.try_clone().unwrap();
        let output = sandbox.command(arguments).stdout(full).output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("can't write to standard output"), "{text}");
        assert!(text.contains("No space"), "{text}");
    }
}

#[test]
fn standard_input_is_ingested_by_what_it_holds() {
    let sandbox = Sandbox::new();
    let piped = |arguments: &[&str], input: &[u8]| {
        let output = sandbox.run_with_input(arguments, input);
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let shown = piped(&["ingest", "-", "--partitions", "1"], CLICK_ROWS.as_bytes());
    assert!(shown.contains("click events") && shown.contains("<stdin>"), "{shown}");
    let keys = sandbox.succeed(&["consume", "ecommerce.events", "--fields", "key"]);
    assert_eq!(keys, "77\n78\n");
    piped(&["ingest", "-", "--topic", "j", "--key", "a"], b"{\"a\":\"k\"}\n");
    assert_eq!(sandbox.succeed(&["consume", "j", "--fields", "key,value"]), "k\t{\"a\":\"k\"}\n");
    piped(&["ingest", "-", "--topic", "l", "--format", "lines"], b"any \xff");
    sandbox.write("b.csv", b"a\n1\n");
    piped(&["ingest", "b.csv", "-", "--topic", "m", "--partitions", "1"], b"a\n2\n");
    let both = sandbox.succeed(&["consume", "m", "--fields", "value"]);
    assert_eq!(both, "{\"a\":1}\n{\"a\":2}\n");
}

#[test]
fn a_standard_input_without_anything_in_it_is_no_records_or_an_empty_file() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["produce", "t"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "0 records sent to t\n");
    let output = sandbox.run(&["ingest", "-"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("<stdin> is empty"), "{}", stderr(&output));
}

/// Starts a command that reads a pipe which stays open.
fn with_open_input(sandbox: &Sandbox, arguments: &[&str], text: &str) -> (Child, PipeWriter) {
    let (input, mut writer) = std::io::pipe().unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    (sandbox.command(arguments).stdin(Stdio::from(input)).spawn().unwrap(), writer)
}

/// Waits until a topic holds so many records, as another command sees it.
fn wait_for_records(sandbox: &Sandbox, topic: &str, bootstrap: &str, count: usize) {
    let begun = Instant::now();
    let read = || sandbox.run(&["consume", topic, "--fields", "value", "-b", bootstrap]);
    while stdout(&read()).lines().count() < count {
        assert!(begun.elapsed() < tool::PATIENCE, "they don't arrive");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[rstest]
#[case(&["ingest", "-", "--topic", "t", "--json"], CLICK_ROWS, HALF_A_ROW)]
#[case(&["produce", "t"], "one\ntwo\n", "thr")]
fn ctrl_c_on_a_stream_sends_its_whole_rows_and_not_the_half_one(
    #[case] arguments: &[&str],
    #[case] rows: &str,
    #[case] half: &str,
) {
    let sandbox = Sandbox::new();
    let server = tool::Server::start(&sandbox, "127.0.0.1:0", &[]);
    let text = format!("{rows}{half}");
    let (mut child, _open) = with_open_input(&sandbox, arguments, &text);
    wait_for_records(&sandbox, "t", &server.address, 2);
    interrupt(&child, "INT");
    assert_eq!(wait(&mut child), Some(130));
    let output = child.wait_with_output().unwrap();
    if arguments[0] == "ingest" {
        let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!((&report["status"], &report["rows"]), (&"interrupted".into(), &2.into()));
    }
    let values = sandbox.succeed(&["consume", "t", "--fields", "value", "-b", &server.address]);
    assert_eq!(values.lines().count(), 2, "{values}");
}

#[test]
fn ctrl_c_ends_a_consume_that_follows() {
    let sandbox = Sandbox::new();
    let server = tool::Server::start(&sandbox, "127.0.0.1:0", &[]);
    sandbox.run_with_input(&["produce", "t", "-b", &server.address], b"one\n");
    let follow = ["consume", "t", "--follow", "--from-beginning", "-b", &server.address];
    let mut child = sandbox.spawn(&follow);
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    assert!(line.ends_with("one\n"), "{line}");
    interrupt(&child, "INT");
    assert_eq!(wait(&mut child), Some(130));
}

#[test]
fn a_second_ctrl_c_ends_at_once_what_waits_for_a_broker_that_is_silent() {
    let sandbox = Sandbox::new();
    sandbox.write("a.txt", b"1\n");
    // It accepts and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut child = sandbox.spawn(&["ingest", "a.txt", "--topic", "t", "-b", &address]);
    let _accepted = silent.accept().unwrap();
    interrupt(&child, "INT");
    std::thread::sleep(Duration::from_millis(200));
    if child.try_wait().unwrap().is_none() {
        interrupt(&child, "INT");
    }
    assert_eq!(wait(&mut child), Some(130));
}
