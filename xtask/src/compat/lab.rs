//! What the scenarios share in one run, and what each of them sees of it.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::broker::{Broker, Kind};
use super::cluster::Cluster;
use super::tools::Tools;
use crate::failure::{Failure, Outcome};
use crate::process::{self, Finished};

/// A single peer program may take this long before the scenario fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// How the shared brokers are set: compaction looks often, groups don't wait for members that may
/// come, and members of the next generation hear soon what they are to do.
const SHARED: [&str; 5] = [
    "num.partitions=6",
    "log.cleaner.backoff.ms=500",
    "group.initial.rebalance.delay.ms=0",
    "group.consumer.min.heartbeat.interval.ms=100",
    "group.consumer.heartbeat.interval.ms=150",
];

/// One broker of each kind for all scenarios that don't ask for their own, started when needed.
pub(crate) struct Lab {
    pub(crate) tools: Tools,
    nightly: bool,
    scratch: PathBuf,
    brokers: RefCell<BTreeMap<Kind, Broker>>,
    cluster: RefCell<Option<Cluster>>,
}

impl Lab {
    /// `scratch` is emptied first; what is left there afterwards explains failures.
    pub(crate) fn new(
        target: &Path,
        streamledger: Option<PathBuf>,
        nightly: bool,
    ) -> Outcome<Self> {
        let scratch = target.join("compat/run");
        if scratch.exists() {
            std::fs::remove_dir_all(&scratch)?;
        }
        let tools = Tools::new(target, streamledger);
        let (brokers, cluster) = (RefCell::default(), RefCell::default());
        Ok(Self { tools, nightly, scratch, brokers, cluster })
    }

    pub(crate) fn trial(&self, name: &'static str, broker: Kind) -> Outcome<Trial<'_>> {
        let directory = self.scratch.join(format!("{name}-{}", broker.name()));
        std::fs::create_dir_all(&directory)?;
        Ok(Trial { lab: self, name, broker, directory })
    }

    /// The shared broker's address; a broker that died is replaced, with empty data.
    fn bootstrap(&self, kind: Kind) -> Outcome<String> {
        let mut brokers = self.brokers.borrow_mut();
        if let Some(broker) = brokers.get_mut(&kind)
            && broker.is_running()
        {
            return Ok(broker.bootstrap());
        }
        let directory = self.scratch.join(format!("broker-{}", kind.name()));
        if directory.exists() {
            std::fs::rename(&directory, free_name(&directory))?;
        }
        let broker = Broker::start(kind, &self.tools, &directory, &SHARED, &[])?;
        let bootstrap = broker.bootstrap();
        brokers.insert(kind, broker);
        Ok(bootstrap)
    }

    /// Ends the shared brokers of all other kinds: the machine is small, and each takes its part.
    pub(crate) fn keep_only(&self, kind: Kind) {
        self.brokers.borrow_mut().retain(|other, _| *other == kind);
        if kind != Kind::Apache {
            *self.cluster.borrow_mut() = None;
        }
    }

    /// The shared broker's last words, if it is down.
    pub(crate) fn death_of(&self, kind: Kind) -> Option<String> {
        let mut brokers = self.brokers.borrow_mut();
        let broker = brokers.get_mut(&kind)?;
        if broker.is_running() { None } else { Some(broker.said()) }
    }
}

fn free_name(taken: &Path) -> PathBuf {
    let numbered = (1..).map(|n| taken.with_extension(format!("died-{n}")));
    numbered.into_iter().find(|path| !path.exists()).unwrap_or_else(|| taken.to_owned())
}

/// One scenario's view: its broker, its own topics and its own directory.
pub(crate) struct Trial<'a> {
    lab: &'a Lab,
    name: &'static str,
    pub(crate) broker: Kind,
    pub(crate) directory: PathBuf,
}

impl Trial<'_> {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn tools(&self) -> &Tools {
        &self.lab.tools
    }

    /// Whether there is time for many kills.
    pub(crate) fn is_nightly(&self) -> bool {
        self.lab.nightly
    }

    /// The address of the broker under test, which all scenarios of a run share.
    pub(crate) fn bootstrap(&self) -> Outcome<String> {
        self.lab.bootstrap(self.broker)
    }

    /// Three brokers of Apache Kafka, which the scenarios that want them share.
    pub(crate) fn cluster(&self) -> Outcome<RefMut<'_, Cluster>> {
        let mut slot = self.lab.cluster.borrow_mut();
        if slot.is_none() {
            *slot = Some(Cluster::start(&self.lab.tools, &self.lab.scratch.join("cluster"))?);
        }
        let none = |_| Failure::new("no cluster");
        RefMut::filter_map(slot, Option::as_mut).map_err(none)
    }

    /// A broker of the kind under test for this scenario alone.
    pub(crate) fn own_broker(&self, settings: &[&str]) -> Outcome<Broker> {
        self.own_broker_of(settings, &[])
    }

    /// As [`Trial::own_broker`], with features at these levels where it is Apache Kafka.
    pub(crate) fn own_broker_of(&self, settings: &[&str], features: &[&str]) -> Outcome<Broker> {
        let directory = self.directory.join("broker");
        Broker::start(self.broker, &self.lab.tools, &directory, settings, features)
    }

    /// A topic name that no other scenario uses.
    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// Creates topics through franz-go, the quickest of the peers to start.
    pub(crate) fn create_topics(
        &self,
        topics: &[String],
        partitions: i32,
        configs: &[&str],
    ) -> Outcome<()> {
        let mut command = self.tools().go()?;
        command.args(["create", &self.bootstrap()?, &partitions.to_string()]);
        command.args(configs).args(topics);
        process::run_ok(&mut command, b"", LIMIT).map(drop)
    }

    /// Runs one of `org.apache.kafka.tools` against the broker; `class` without that prefix.
    pub(crate) fn kafka_tool(&self, class: &str, arguments: &[&str]) -> Outcome<Command> {
        let mut command = self.tools().java(&format!("org.apache.kafka.tools.{class}"))?;
        command.args(["--bootstrap-server", &self.bootstrap()?]).args(arguments);
        Ok(command)
    }

    pub(crate) fn run_kafka_tool(
        &self,
        class: &str,
        arguments: &[&str],
        input: &str,
    ) -> Outcome<Finished> {
        process::run_ok(&mut self.kafka_tool(class, arguments)?, input.as_bytes(), LIMIT)
            .map_err(|failure| failure.while_doing(class))
    }

    /// Writes a file of this scenario's own and gives its path.
    pub(crate) fn write(&self, name: &str, content: &str) -> Outcome<PathBuf> {
        let path = self.directory.join(name);
        std::fs::write(&path, content)?;
        Ok(path)
    }
}
