//! `serve` and those who use it: addresses, directories, other commands, and kill -9.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use tool::{Sandbox, Server, stderr, stdout};

#[test]
fn a_broker_that_isnt_there_is_named_with_the_reason() {
    let sandbox = Sandbox::new();
    sandbox.write("a.csv", b"a\n1\n");
    let unused = tool::free_address();
    let commands = [&["ingest", "a.csv", "--topic", "t"][..], &["consume", "t"], &["produce", "t"]]
        .map(|arguments| sandbox.spawn(&[arguments, &["--bootstrap-servers", &unused]].concat()));
    let unknown = sandbox.spawn(&["topics", "list", "-b", "no-such-host.invalid:9092"]);
    for command in commands {
        let output = command.wait_with_output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(4), "{text}");
        assert!(text.contains(&format!("waiting for a broker at {unused}")), "{text}");
        assert!(text.contains(&format!("no broker answers at {unused}")), "{text}");
        assert!(text.to_lowercase().contains("refused"), "{text}");
    }
    let output = unknown.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("no-such-host.invalid"), "{}", stderr(&output));
}

#[test]
fn a_port_in_use_is_named() {
    let sandbox = Sandbox::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = sandbox.run(&["serve", "--listen", &address]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(text.contains(&format!("{address} is in use")) && text.contains("--listen"), "{text}");
}

#[test]
fn a_directory_from_elsewhere_is_left_alone() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("elsewhere")).unwrap();
    sandbox.write("elsewhere/letters.txt", b"mine");
    for command in ["serve", "topics"] {
        let list: &[&str] =
            if command == "topics" { &["list"] } else { &["--listen", "127.0.0.1:0"] };
        let output = sandbox.run(&[&[command], list, &["--data-dir", "elsewhere"]].concat());
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(5), "{text}");
        assert!(text.contains("elsewhere") && text.contains("--data-dir"), "{text}");
    }
    let names: Vec<_> = std::fs::read_dir(sandbox.path("elsewhere")).unwrap().collect();
    assert_eq!(names.len(), 1);
}

#[test]
fn a_directory_of_a_newer_version_is_left_alone() {
    let sandbox = Sandbox::new();
    sandbox.write("a.txt", b"1\n");
    sandbox.succeed(&["ingest", "a.txt", "--topic", "t", "--quiet"]);
    let meta = std::fs::read_to_string(sandbox.path(".streamledger/streamledger.meta")).unwrap();
    let newer = meta.replace("format.version=1", "format.version=99");
    assert_ne!(newer, meta);
    sandbox.write(".streamledger/streamledger.meta", newer.as_bytes());
    let output = sandbox.run(&["consume", "t"]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(
        text.contains("format version 99") && text.contains("version of streamledger"),
        "{text}"
    );
}

#[test]
fn a_log_that_cant_be_opened_isnt_taken_for_an_empty_one() {
    let sandbox = Sandbox::new();
    sandbox.write("a.txt", b"1\n2\n3\n");
    for _ in 0..2 {
        sandbox.succeed(&["ingest", "a.txt", "--topic", "t", "--partitions", "1", "--quiet"]);
    }
    let log = ".streamledger/t-0/00000000000000000000.log";
    let mut bytes = std::fs::read(sandbox.path(log)).unwrap();
    // With another batch behind it, the damage isn't a torn tail.
    bytes[70] ^= 1;
    sandbox.write(log, &bytes);
    std::fs::remove_file(sandbox.path(".streamledger/manifest")).unwrap();
    let output = sandbox.run(&["consume", "t", "-X", "default.api.timeout.ms=8000"]);
    let text = stderr(&output);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{text}");
    for part in ["warning: t-0 is offline", "can't read t", "KAFKA_STORAGE_ERROR"] {
        assert!(text.contains(part), "{part} isn't in: {text}");
    }
    assert_eq!(std::fs::read(sandbox.path(log)).unwrap(), bytes, "nothing was cut");
}

/// Starts an `ingest` into a broker, kills that once the first records are in its log, and waits
/// for what the command says then.
fn ingest_whose_broker_dies(sandbox: &Sandbox, more: &[&str]) -> std::process::Output {
    sandbox.succeed(&["generate", "clicks", "--rows", "400000", "-o", "clicks.csv"]);
    let mut server = Server::start(sandbox, "127.0.0.1:0", &[]);
    let arguments = ["ingest", "clicks.csv", "--json", "-b", &server.address];
    let impatient = ["-X", "delivery.timeout.ms=8000", "-X", "request.timeout.ms=4000"];
    let child = sandbox.spawn(&[&arguments[..], &impatient, more].concat());
    let log = sandbox.path(".streamledger/ecommerce.events-0/00000000000000000000.log");
    let begun = Instant::now();
    while std::fs::metadata(&log).map_or(0, |log| log.len()) == 0 {
        assert!(begun.elapsed() < tool::PATIENCE, "nothing arrives");
        std::thread::sleep(Duration::from_millis(2));
    }
    server.kill();
    let output = child.wait_with_output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("records were not delivered"), "{text}");
    output
}

#[test]
fn a_broker_that_dies_in_mid_ingest_is_waited_for_and_then_named() {
    let sandbox = Sandbox::new();
    let output = ingest_whose_broker_dies(&sandbox, &["--at-least-once"]);
    let text = stderr(&output);
    assert!(text.contains("possibly written") && text.contains("send the file again"), "{text}");
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let number = |key: &str| report[key].as_u64().unwrap();
    assert_eq!(number("rows") + number("failed"), number("sent"), "{report}");
    let there = sandbox.succeed(&["consume", "ecommerce.events", "--fields", "offset"]);
    assert!(there.lines().count() as u64 >= number("rows"), "what was acknowledged is there");
}

#[test]
fn after_a_broker_died_the_same_command_goes_on() {
    let sandbox = Sandbox::new();
    let output = ingest_whose_broker_dies(&sandbox, &["--transaction-ms", "50"]);
    assert!(stderr(&output).contains("run the same command again"), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let before = report["rows"].as_u64().unwrap();
    let again = sandbox.succeed(&["ingest", "clicks.csv", "--json"]);
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    // A commit that nobody heard of may have been one.
    assert!(again["rows"].as_u64().unwrap() <= 400_000 - before, "{again}");
    let there = sandbox.succeed(&["consume", "ecommerce.events", "--fields", "offset"]);
    assert_eq!(there.lines().count(), 400_000);
}

#[test]
fn a_program_is_told_of_a_failure_before_the_first_row_too() {
    let sandbox = Sandbox::new();
    sandbox.write("a.csv", b"a\n1\n");
    std::fs::create_dir(sandbox.path("elsewhere")).unwrap();
    sandbox.write("elsewhere/letters.txt", b"mine");
    for (arguments, code) in [(&["no.csv"][..], 3), (&["a.csv", "--data-dir", "elsewhere"], 5)] {
        let output = sandbox.run(&[&["ingest", "--json"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!((&report["status"], &report["rows"]), (&"failed".into(), &0.into()));
        assert_eq!(report["error"]["exit_code"], code);
    }
}

#[test]
fn an_address_that_others_can_reach_has_to_be_allowed() {
    let output = Sandbox::new().run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(stderr(&output).contains("--insecure-listen"), "{}", stderr(&output));
}

#[test]
fn commands_use_the_serve_that_holds_their_directory() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let rows: String = (0..100).map(|n| format!("{n}\n")).collect();
    sandbox.write("n.txt", rows.as_bytes());
    let shown = sandbox.succeed(&["ingest", "n.txt", "--topic", "t"]);
    assert!(shown.contains(&format!("{}, which serves .streamledger", server.address)), "{shown}");
    let read = sandbox.succeed(&["consume", "t", "--fields", "value", "-b", &server.address]);
    assert_eq!(read.lines().count(), 100);
    assert_eq!(server.terminate(), Some(0));
    let read = sandbox.succeed(&["consume", "t", "--fields", "value"]);
    assert_eq!(read.lines().count(), 100);
}

#[test]
fn a_broker_that_was_killed_and_still_holds_the_directory_is_waited_for() {
    let sandbox = Sandbox::new();
    sandbox.write("n.txt", b"1\n2\n");
    sandbox.succeed(&["ingest", "n.txt", "--topic", "t"]);
    let going = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = going.local_addr().unwrap();
    let lock = std::fs::File::options().write(true).open(sandbox.path(".streamledger/.lock"));
    let lock = lock.unwrap();
    lock.lock().unwrap();
    std::fs::write(sandbox.path(".streamledger/.lock"), format!("1\n{gone}\n")).unwrap();
    let reader = sandbox.spawn(&["consume", "t", "--fields", "value"]);
    // It has found the directory taken, and asks who has it.
    let asking = going.accept().unwrap();
    drop(lock);
    drop((going, asking));
    let output = reader.wait_with_output().unwrap();
    assert_eq!(stdout(&output), "1\n2\n", "{}", stderr(&output));
}

#[test]
fn a_full_disk_is_named() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("small")).unwrap();
    sandbox.succeed(&["generate", "clicks", "--rows", "60000", "-o", "clicks.csv"]);
    let script = format!(
        "mount -t tmpfs -o size=6m none small && exec {} ingest clicks.csv --data-dir small/data \
         -X delivery.timeout.ms=3000 -X request.timeout.ms=1000 -X linger.ms=5",
        env!("CARGO_BIN_EXE_streamledger")
    );
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script]).current_dir(sandbox.path(""));
    let output = command.output().unwrap();
    let text = stderr(&output);
    if text.contains("unshare") || text.contains("mount:") {
        eprintln!("not tried: this machine gives no mounts to tests: {text}");
        return;
    }
    assert!(matches!(output.status.code(), Some(1 | 5)), "{text}\n{}", stdout(&output));
    assert!(
        text.contains("full") || text.contains("No space") || text.contains("STORAGE"),
        "{text}"
    );
}
