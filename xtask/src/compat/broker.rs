//! Brokers under test: Apache Kafka and ours, each a process on free loopback ports.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::apache::{self, KraftNode, Release};
use super::tools::Tools;
use crate::failure::{Failure, Outcome, ensure};
use crate::process::{self, Group, last_lines};

const START_LIMIT: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// Apache Kafka, KRaft, combined mode.
    Apache,
    /// The last Apache Kafka 3, in the same way.
    #[value(name = "apache-3.9")]
    Apache39,
    /// Apache Kafka 2.1, with a ZooKeeper.
    #[value(name = "apache-2.1")]
    Apache21,
    /// `streamledger serve`.
    Ours,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Apache => "apache",
            Self::Apache39 => "apache-3.9",
            Self::Apache21 => "apache-2.1",
            Self::Ours => "ours",
        }
    }

    /// What a broker is told that is to be killed and started again: Apache Kafka isn't let in
    /// again before its former session is over, after nine seconds by default.
    pub(crate) fn soon_back(self) -> &'static [&'static str] {
        match self {
            Self::Ours => &[],
            _ => &["broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500"],
        }
    }

    fn release(self) -> Option<Release> {
        match self {
            Self::Apache => Some(Release::V4_3),
            Self::Apache39 => Some(Release::V3_9),
            Self::Apache21 => Some(Release::V2_1),
            Self::Ours => None,
        }
    }
}

/// One broker, which may be killed and started again on the same address and directory.
pub(crate) struct Broker {
    kind: Kind,
    address: SocketAddr,
    directory: PathBuf,
    settings: Vec<String>,
    /// Apache Kafka's features at levels other than its newest, as `name=level`.
    features: Vec<String>,
    running: Option<Group>,
    /// Lives as long as the broker's data, through its kills.
    zookeeper: Option<Group>,
}

impl Broker {
    /// Starts a broker with an empty data directory in `directory`; returns when it answers.
    pub(crate) fn start(
        kind: Kind,
        tools: &Tools,
        directory: &Path,
        settings: &[&str],
        features: &[&str],
    ) -> Outcome<Self> {
        let mut broker = Self::prepared(kind, directory, settings)?;
        broker.features = features.iter().map(|feature| (*feature).to_owned()).collect();
        match kind.release() {
            None => {}
            Some(release) if release.needs_zookeeper() => broker.start_zookeeper(tools)?,
            Some(release) => broker.make_data(tools, release)?,
        }
        broker.start_again(tools)?;
        Ok(broker)
    }

    /// The nodes of one Apache Kafka, each in a directory and a rack of its own; returns when all
    /// answer.
    pub(crate) fn start_cluster(
        tools: &Tools,
        directory: &Path,
        nodes: usize,
        settings: &[&str],
    ) -> Outcome<Vec<Self>> {
        let controllers: Vec<SocketAddr> =
            (0..nodes).map(|_| free_address()).collect::<Outcome<_>>()?;
        let mut brokers = Vec::new();
        let mut formats = Vec::new();
        for id in 1..=nodes {
            let own = directory.join(format!("node-{id}"));
            let mut broker = Self::prepared(Kind::Apache, &own, settings)?;
            broker.settings.push(format!("broker.rack=rack-{id}"));
            formats.push(broker.format(tools, id, &controllers, &own.join("data"))?);
            brokers.push(broker);
        }
        thread::scope(|scope| {
            let runs = formats
                .iter_mut()
                .map(|format| scope.spawn(|| process::run_ok(format, b"", START_LIMIT).map(drop)));
            let panicked = |_| Failure::new("formatting panicked");
            let runs: Vec<_> = runs.collect();
            runs.into_iter().try_for_each(|run| run.join().map_err(panicked)?)
        })?;
        // None answers before most of them are there.
        brokers.iter_mut().try_for_each(|broker| broker.spawn(tools))?;
        brokers.iter_mut().try_for_each(Self::wait_for_answer)?;
        Ok(brokers)
    }

    fn prepared(kind: Kind, directory: &Path, settings: &[&str]) -> Outcome<Self> {
        std::fs::create_dir_all(directory)?;
        Ok(Self {
            kind,
            address: free_address()?,
            directory: directory.to_owned(),
            settings: settings.iter().map(|s| (*s).to_owned()).collect(),
            features: Vec::new(),
            running: None,
            zookeeper: None,
        })
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

    /// It stands still while something is done, and goes on whatever came of that.
    pub(crate) fn while_it_stands_still<T>(&self, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        let running = self.running.as_ref().ok_or_else(|| Failure::new("it is not running"))?;
        running.pause()?;
        let done = work();
        running.resume()?;
        done
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
        self.spawn(tools)?;
        self.wait_for_answer()
    }

    fn spawn(&mut self, tools: &Tools) -> Outcome<()> {
        let mut command = self.command(tools)?;
        self.log_to(&mut command, "broker.log")?;
        self.running = Some(Group::spawn(&mut command)?);
        Ok(())
    }

    fn wait_for_answer(&mut self) -> Outcome<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !answers(self.address) {
            ensure!(self.is_running(), "the broker ended at start: {}", self.said());
            ensure!(Instant::now() < deadline, "no answer in 90 s: {}", self.said());
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn log_to(&self, command: &mut Command, name: &str) -> Outcome<()> {
        let path = self.directory.join(name);
        let log = OpenOptions::new().create(true).append(true).open(path)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
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
        let Some(release) = self.kind.release() else {
            let mut command = tools.streamledger()?;
            let is_listeners = |setting: &&String| setting.starts_with("listeners=");
            let listeners = self.settings.iter().find(is_listeners).map_or_else(
                || self.bootstrap(),
                |own| own["listeners=".len()..].replace("{listener}", &self.bootstrap()),
            );
            command.args(["serve", "--listen", &listeners, "--data-dir"]);
            command.arg(self.directory.join("data"));
            for setting in self.settings.iter().filter(|setting| !is_listeners(setting)) {
                command.args(["-X", setting]);
            }
            return Ok(command);
        };
        let mut command = match self.plug_in() {
            true => tools.java_with_ours("kafka.Kafka")?,
            false => tools.kafka(release, "kafka.Kafka")?,
        };
        command.arg(self.directory.join("server.properties"));
        Ok(command)
    }

    /// Whether it is to find a class of ours.
    fn plug_in(&self) -> bool {
        self.settings.iter().any(|setting| setting.starts_with("metric.reporters="))
    }

    /// Writes the settings of a single node, and makes its data directory: by a copy, as a JVM
    /// would take a second or two to make each.
    fn make_data(&self, tools: &Tools, release: Release) -> Outcome<()> {
        let (controllers, data) = ([free_address()?], self.directory.join("data"));
        if !self.features.is_empty() {
            let mut format = self.format(tools, 1, &controllers, &data)?;
            return process::run_ok(&mut format, b"", START_LIMIT).map(drop);
        }
        let made = tools.data_of(release, |made| {
            let mut format = self.format(tools, 1, &controllers, made)?;
            process::run_ok(&mut format, b"", START_LIMIT).map(drop)
        })?;
        self.configure(1, &controllers, &data)?;
        std::fs::create_dir_all(&data)?;
        for file in std::fs::read_dir(made)? {
            let file = file?;
            std::fs::copy(file.path(), data.join(file.file_name()))?;
        }
        Ok(())
    }

    /// Writes the settings of the node with that id.
    fn configure(&self, id: usize, controllers: &[SocketAddr], data: &Path) -> Outcome<PathBuf> {
        let properties = self.directory.join("server.properties");
        let node = KraftNode { id, listener: self.address, controllers, data };
        std::fs::write(&properties, node.properties(&self.settings))?;
        Ok(properties)
    }

    /// The same, and gives the command that makes its data directory.
    fn format(
        &self,
        tools: &Tools,
        id: usize,
        controllers: &[SocketAddr],
        data: &Path,
    ) -> Outcome<Command> {
        let properties = self.configure(id, controllers, data)?;
        let release = self.kind.release().unwrap_or(Release::V4_3);
        let mut format = tools.kafka(release, "kafka.tools.StorageTool")?;
        format.args(["format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c"]).arg(&properties);
        for feature in &self.features {
            format.args(["--feature", feature]);
        }
        Ok(format)
    }

    /// Starts a ZooKeeper for a broker that needs one, and writes the broker's settings.
    fn start_zookeeper(&mut self, tools: &Tools) -> Outcome<()> {
        let (address, file) = (free_address()?, self.directory.join("zookeeper.properties"));
        std::fs::write(&file, apache::zookeeper(address, &self.directory.join("zookeeper")))?;
        let class = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
        let mut command = tools.kafka(Release::V2_1, class)?;
        command.arg(file);
        self.log_to(&mut command, "zookeeper.log")?;
        self.zookeeper = Some(Group::spawn(&mut command)?);
        // The broker gives up on a ZooKeeper that isn't there within six seconds.
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            ensure!(Instant::now() < deadline, "ZooKeeper does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        let data = self.directory.join("data");
        let text = apache::zookeeper_broker(self.address, address, &data, &self.settings);
        Ok(std::fs::write(self.directory.join("server.properties"), text)?)
    }
}

/// A loopback address that nobody listens on, and that we have not given out before.
pub(crate) fn free_address() -> Outcome<SocketAddr> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let ports = unlent_ports();
    // Runs beside each other begin at different places.
    let first = std::process::id().wrapping_mul(1009);
    for _ in 0..ports.len() {
        let number = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = ports.start + u16::try_from(number % u32::try_from(ports.len())?)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(Failure::new("no free port"))
}

/// Ports that the system lends to nobody's connections: else one could be taken before a broker
/// binds it, or while a broker that was killed is away.
fn unlent_ports() -> Range<u16> {
    let lent = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let lent = lent.unwrap_or_default();
    let first = lent.split_whitespace().next().and_then(|port| port.parse().ok());
    let start: u16 = 10_000;
    start..first.unwrap_or(32_768).max(start + 5_000)
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
    use std::collections::BTreeSet;

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
