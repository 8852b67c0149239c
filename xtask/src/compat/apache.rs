//! What an Apache Kafka is told: its releases, and the settings of a node.

use std::net::SocketAddr;
use std::path::Path;

/// The releases of Apache Kafka that are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// The newest: also the tools and the Java client.
    V4_3,
    /// The last of the 3.x.
    V3_9,
    /// The oldest that our client is for; it needs a ZooKeeper.
    V2_1,
}

impl Release {
    pub(crate) const ALL: [Self; 3] = [Self::V4_3, Self::V3_9, Self::V2_1];

    /// Where its pom is, under `compat`.
    pub(crate) fn pom(self) -> &'static str {
        match self {
            Self::V4_3 => "java/pom.xml",
            Self::V3_9 => "java/kafka-3.9/pom.xml",
            Self::V2_1 => "java/kafka-2.1/pom.xml",
        }
    }

    /// Where its jars are kept.
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::V4_3 => "kafka/libs",
            Self::V3_9 => "kafka-3.9/libs",
            Self::V2_1 => "kafka-2.1/libs",
        }
    }

    /// Whether it writes its log by log4j 2.
    pub(crate) fn has_log4j2(self) -> bool {
        self == Self::V4_3
    }

    pub(crate) fn needs_zookeeper(self) -> bool {
        self == Self::V2_1
    }
}

/// A node that is broker and controller in one.
pub(crate) struct KraftNode<'a> {
    /// From 1.
    pub(crate) id: usize,
    pub(crate) listener: SocketAddr,
    /// The controllers of all nodes, by id.
    pub(crate) controllers: &'a [SocketAddr],
    pub(crate) data: &'a Path,
}

impl KraftNode<'_> {
    /// Its `server.properties`. A setting may hold `{listener}` and `{controller}`, to have further
    /// listeners beside these two.
    pub(crate) fn properties(&self, settings: &[String]) -> String {
        let Self { id, listener, controllers, data } = self;
        let controller = controllers.get(id - 1).copied().unwrap_or(*listener);
        let voters = controllers.iter().enumerate();
        let voters: Vec<_> = voters.map(|(at, voter)| format!("{}@{voter}", at + 1)).collect();
        let replicas = controllers.len();
        let in_sync = if replicas > 1 { 2 } else { 1 };
        let mut lines = vec![
            "process.roles=broker,controller".to_owned(),
            format!("node.id={id}"),
            format!("controller.quorum.voters={}", voters.join(",")),
            format!("listeners=PLAINTEXT://{listener},CONTROLLER://{controller}"),
            format!("advertised.listeners=PLAINTEXT://{listener}"),
            "controller.listener.names=CONTROLLER".to_owned(),
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned(),
            format!("log.dirs={}", data.display()),
            format!("default.replication.factor={replicas}"),
            format!("min.insync.replicas={in_sync}"),
            // Each of the usual fifty partitions is made, led and loaded one by one.
            "offsets.topic.num.partitions=5".to_owned(),
            "transaction.state.log.num.partitions=5".to_owned(),
            format!("offsets.topic.replication.factor={replicas}"),
            format!("transaction.state.log.replication.factor={replicas}"),
            format!("transaction.state.log.min.isr={in_sync}"),
            format!("share.coordinator.state.topic.replication.factor={replicas}"),
            format!("share.coordinator.state.topic.min.isr={in_sync}"),
        ];
        let (listener, controller) = (listener.to_string(), controller.to_string());
        lines.extend(settings.iter().map(|setting| {
            setting.replace("{listener}", &listener).replace("{controller}", &controller)
        }));
        lines.join("\n") + "\n"
    }
}

/// The `server.properties` of a broker that keeps its metadata in a ZooKeeper.
pub(crate) fn zookeeper_broker(
    listener: SocketAddr,
    zookeeper: SocketAddr,
    data: &Path,
    settings: &[String],
) -> String {
    let mut lines = vec![
        "broker.id=1".to_owned(),
        format!("listeners=PLAINTEXT://{listener}"),
        format!("zookeeper.connect={zookeeper}"),
        format!("log.dirs={}", data.display()),
        "offsets.topic.num.partitions=5".to_owned(),
        "transaction.state.log.num.partitions=5".to_owned(),
        "offsets.topic.replication.factor=1".to_owned(),
        "transaction.state.log.replication.factor=1".to_owned(),
        "transaction.state.log.min.isr=1".to_owned(),
    ];
    lines.extend(settings.iter().cloned());
    lines.join("\n") + "\n"
}

/// The settings of that ZooKeeper.
pub(crate) fn zookeeper(address: SocketAddr, data: &Path) -> String {
    let (host, port) = (address.ip(), address.port());
    format!(
        "dataDir={}\nclientPort={port}\nclientPortAddress={host}\nadmin.enableServer=false\n",
        data.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_three_knows_all_controllers_and_keeps_two_in_sync() {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let controllers = [at(11), at(12), at(13)];
        let node =
            KraftNode { id: 2, listener: at(2), controllers: &controllers, data: Path::new("d") };
        let text = node.properties(&["num.partitions=6".to_owned()]);
        for line in [
            "node.id=2",
            "controller.quorum.voters=1@127.0.0.1:11,2@127.0.0.1:12,3@127.0.0.1:13",
            "listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:12",
            "default.replication.factor=3",
            "min.insync.replicas=2",
            "num.partitions=6",
        ] {
            assert!(text.lines().any(|other| other == line), "no {line} in {text}");
        }
    }
}
