//! Brokers under test: Apache Kafka and ours, each a process on free loopback ports.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::tools::Tools;
use crate::failure::{Failure, Outcome, ensure};
use crate::process::{self, Group, last_lines};

const START_LIMIT: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Apache Kafka, KRaft, combined mode.
    Apache,
    /// `streamledger serve`.
    Ours,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Apache => "apache",
            Self::Ours => "ours",
        }
    }
}

/// One broker, which may be killed and started again on the same address and directory.
pub(crate) struct Broker {
    kind: Kind,
    address: SocketAddr,
    directory: PathBuf,
    settings: Vec<String>,
    running: Option<Group>,
}

impl Broker {
    /// Starts a broker with an empty data directory in `directory`; returns when it answers.
    pub(crate) fn start(
        kind: Kind,
        tools: &Tools,
        directory: &Path,
        settings: &[&str],
    ) -> Outcome<Self> {
        std::fs::create_dir_all(directory)?;
        let mut broker = Self {
            kind,
            address: free_address()?,
            directory: directory.to_owned(),
            settings: settings.iter().map(|s| (*s).to_owned()).collect(),
            running: None,
        };
        if kind == Kind::Apache {
            broker.format(tools)?;
        }
        broker.start_again(tools)?;
        Ok(broker)
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(Group::is_running)
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    /// SIGTERM, and the wait for its end.
    pub(crate) fn stop(&mut self, limit: Duration) -> Outcome<()> {
        if let Some(mut group) = self.running.take() {
            group.terminate();
            let status = group.wait(limit)?;
            // A JVM ended by SIGTERM says 143.
            ensure!(matches!(status.code(), Some(0 | 143)), "stopped with {status}");
        }
        Ok(())
    }

    /// Starts it on the address and the data it had; returns when it answers.
    pub(crate) fn start_again(&mut self, tools: &Tools) -> Outcome<()> {
        let mut command = self.command(tools)?;
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut group = Group::spawn(&mut command)?;
        let deadline = Instant::now() + START_LIMIT;
        while !answers(self.address) {
            ensure!(group.is_running(), "the broker ended at start: {}", self.said());
            ensure!(Instant::now() < deadline, "no answer in 90 s: {}", self.said());
            thread::sleep(Duration::from_millis(2));
        }
        self.running = Some(group);
        Ok(())
    }

    /// The end of what it wrote to its log.
    pub(crate) fn said(&self) -> String {
        let log = std::fs::read(self.log_path()).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&log), 12)
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("broker.log")
    }

    fn command(&self, tools: &Tools) -> Outcome<Command> {
        match self.kind {
            Kind::Apache => {
                let mut command = tools.java("kafka.Kafka")?;
                command.arg(self.directory.join("server.properties"));
                Ok(command)
            }
            Kind::Ours => {
                let mut command = tools.streamledger()?;
                command.args(["serve", "--listen", &self.bootstrap(), "--data-dir"]);
                command.arg(self.directory.join("data"));
                for setting in &self.settings {
                    command.args(["-X", setting]);
                }
                Ok(command)
            }
        }
    }

    fn format(&self, tools: &Tools) -> Outcome<()> {
        let properties = self.directory.join("server.properties");
        let mut file = File::create(&properties)?;
        file.write_all(self.apache_properties(free_address()?).as_bytes())?;
        let mut format = tools.java("kafka.tools.StorageTool")?;
        format.args(["format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c"]).arg(&properties);
        process::run_ok(&mut format, b"", START_LIMIT).map(drop)
    }

    fn apache_properties(&self, controller: SocketAddr) -> String {
        let (broker, data) = (self.address, self.directory.join("data"));
        let mut lines = vec![
            "process.roles=broker,controller".to_owned(),
            "node.id=1".to_owned(),
            format!("controller.quorum.voters=1@{controller}"),
            format!("listeners=PLAINTEXT://{broker},CONTROLLER://{controller}"),
            format!("advertised.listeners=PLAINTEXT://{broker}"),
            "controller.listener.names=CONTROLLER".to_owned(),
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned(),
            format!("log.dirs={}", data.display()),
            "offsets.topic.replication.factor=1".to_owned(),
            "transaction.state.log.replication.factor=1".to_owned(),
            "transaction.state.log.min.isr=1".to_owned(),
            "share.coordinator.state.topic.replication.factor=1".to_owned(),
            "share.coordinator.state.topic.min.isr=1".to_owned(),
        ];
        lines.extend(self.settings.iter().cloned());
        lines.join("\n") + "\n"
    }
}

/// A loopback address that nobody listens on, and that we have not given out before.
fn free_address() -> Outcome<SocketAddr> {
    static GIVEN: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    for _ in 0..100 {
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address) {
            return Ok(address);
        }
    }
    Err(Failure::new("no free port"))
}

/// Whether ApiVersions (key 18, version 0) is answered there.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<()> {
        let wait = Duration::from_secs(1);
        let mut stream = TcpStream::connect_timeout(&address, wait)?;
        stream.set_read_timeout(Some(wait))?;
        let request = [0, 18, 0, 0, 0, 0, 0, 1, 0, 1, b'x'];
        stream.write_all(&[0, 0, 0, 11])?;
        stream.write_all(&request)?;
        stream.read_exact(&mut [0; 8])
    };
    ask().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_addresses_differ() {
        let addresses: BTreeSet<SocketAddr> = (0..20).map(|_| free_address().unwrap()).collect();
        assert_eq!(addresses.len(), 20);
    }

    #[test]
    fn a_port_without_a_broker_does_not_answer() {
        assert!(!answers(free_address().unwrap()));
    }
}
