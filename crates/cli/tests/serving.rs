//! `serve` and those who use it: addresses, directories, other commands, and kill -9.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use tool::{Sandbox, Server, stderr, stdout};

#[test]
fn a_broker_that_isnt_there_is_named_with_the_reason_in_good_time() {
    let sandbox = Sandbox::new();
    sandbox.write("a.csv", b"a\n1\n");
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let begun = Instant::now();
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
    assert!(begun.elapsed() < Duration::from_secs(40));
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
