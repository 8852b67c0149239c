//! The command in a directory of its own, for tests from outside.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file uses a part of it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A directory in which the command runs.
pub struct Sandbox {
    directory: TempDir,
}

impl Sandbox {
    pub fn new() -> Sandbox {
        Sandbox { directory: TempDir::new().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_streamledger"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_remove("STREAMLEDGER_BOOTSTRAP_SERVERS")
            .env_remove("STREAMLEDGER_DATA_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; what it printed.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}\n{}", stderr(&output));
        stdout(&output)
    }

    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Runs a command six times, and kills it each time at another moment; it must be slow enough
    /// not to have ended by then.
    pub fn run_and_kill(&self, arguments: &[&str]) {
        for kill in 0..6_u64 {
            let mut child = self.spawn(arguments);
            thread::sleep(Duration::from_micros(200_000 + (kill * 104_729) % 400_000));
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Waits until rows of a job are committed.
    pub fn await_commit(&self, job: &str, server: &str) {
        let begun = Instant::now();
        let has_rows = |line: &str| {
            let kept: Value = serde_json::from_str(line).unwrap_or_default();
            kept["rows"].as_u64().is_some_and(|rows| rows > 0)
        };
        while !stdout(&self.run(&["jobs", "show", job, "--json", "-b", server]))
            .lines()
            .any(has_rows)
        {
            assert!(begun.elapsed() < PATIENCE, "nothing is committed");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a command with this standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Output {
        self.write("stdin", input);
        let stdin = std::fs::File::open(self.path("stdin")).unwrap();
        self.command(arguments).stdin(stdin).output().unwrap()
    }
}

/// A `serve` that runs until it is dropped.
pub struct Server {
    pub child: Child,
    pub address: String,
    stderr: Option<BufReader<ChildStderr>>,
}

impl Server {
    /// Starts one and waits until it listens.
    pub fn start(sandbox: &Sandbox, listen: &str, more: &[&str]) -> Server {
        let arguments = [&["serve", "--listen", listen], more].concat();
        let mut child =
            sandbox.command(&arguments).env("STREAMLEDGER_LOG", "error").spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        // What had to be repaired is said before.
        while !line.starts_with("listening on ") && {
            line.clear();
            stderr.read_line(&mut line).unwrap() > 0
        } {}
        let address = line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split(',').next())
            .unwrap_or_else(|| panic!("serve said {line:?}"))
            .to_owned();
        Server { child, address, stderr: Some(stderr) }
    }

    /// Ends it as kill -9 does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as an operating system does; its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        interrupt(&self.child, "TERM");
        wait(&mut self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A child that prints a JSON object a line. It is killed when this is dropped.
pub struct Told {
    pub child: Child,
    lines: Receiver<String>,
}

impl Told {
    pub fn by(mut child: Child) -> Told {
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Told { child, lines }
    }

    /// What it tells next, up to and with the first that is meant.
    pub fn until(&self, is_meant: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut told: Vec<Value> = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("{error} after {told:#?}"));
            told.push(serde_json::from_str(&line).unwrap());
            if is_meant(told.last().unwrap()) {
                return told;
            }
        }
    }

    /// The rest of it, up to its end.
    pub fn rest(&self) -> Vec<Value> {
        let mut told = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => told.push(serde_json::from_str(&line).unwrap()),
                Err(RecvTimeoutError::Disconnected) => return told,
                Err(RecvTimeoutError::Timeout) => panic!("it doesn't end: {told:#?}"),
            }
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The names of events.
pub fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

/// Sends a signal by its name.
pub fn interrupt(child: &Child, signal: &str) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
}

/// Waits for a child; its exit code, none for a signal.
pub fn wait(child: &mut Child) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(begun.elapsed() < PATIENCE, "it doesn't end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An address at which nobody listens, and which the system gives nobody who asks for just any: a
/// `serve` that is ended there can be started there again, whatever else runs meanwhile.
pub fn free_address() -> String {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    const LOWEST: u32 = 10_000;
    let given = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let first_given = given.ok().and_then(|range| range.split_whitespace().next()?.parse().ok());
    let count = first_given.unwrap_or(32_768).max(LOWEST + 1_000) - LOWEST;
    for _ in 0..count {
        let turn = ASKED.fetch_add(1, Ordering::Relaxed);
        let port = LOWEST + (std::process::id().wrapping_mul(97).wrapping_add(turn)) % count;
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
    panic!("all ports are taken");
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
