//! Topics before records: is a broker there, is the topic there, how many partitions has it.

use std::thread;
use std::time::{Duration, Instant};

use std::sync::mpsc::{RecvTimeoutError, channel};

use streamledger::admin::{ClusterDescription, ConfigResource};
use streamledger::config::{ClientKind, settings_table};
use streamledger::{
    Admin, AdminConfig, AdminError, ErrorCode, NewTopic, PartitionIndex, Properties, TopicName,
    TopicPartition,
};

use crate::access::{Access, MissingDirectory};
use crate::args::{AdminArguments, BrokerArguments};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::given::given;
use crate::input::timed::TopicTimes;
use crate::producing::config_failure;
use crate::ui;

/// How long the brokers may take to answer, tried again and again, and one of them once. A person
/// waits for it, so it is less than what a producer takes for its records.
const PATIENT: [(&str, &str); 2] =
    [("default.api.timeout.ms", "10000"), ("request.timeout.ms", "5000")];

/// After this long without an answer, stderr says what is waited for.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How long who reads a topic to its end waits for a transaction that is open: a broker
/// acknowledges a commit before it has written that into each partition.
pub const SETTLING: Duration = Duration::from_secs(10);

/// How long a topic that was made may stay unseen, and how often it is looked for.
const APPEARS_WITHIN: Duration = Duration::from_secs(10);
const APPEARS_LOOK: Duration = Duration::from_millis(20);

/// Creates topics for the broker to place: as many replicas as it thinks right (KIP-464).
const BROKER_DEFAULT: i16 = -1;

/// A topic that is to be there.
#[derive(Debug, Clone, Copy)]
pub struct EnsuredTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its partitions, if it is created.
    pub partitions: i32,
    /// Its settings, if it is created.
    pub configs: &'a [(String, String)],
}

/// A topic that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTopic {
    /// Its id; empty where the broker gives topics none (before Kafka 2.8).
    pub id: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// Whether it was created just now.
    pub is_new: bool,
    /// How long it keeps records, in milliseconds; None for ever, or if the broker doesn't say.
    pub retention_ms: Option<i64>,
    /// Which times it takes.
    pub times: TopicTimes,
}

/// Of one client's settings those that another kind of client has too.
pub fn known_to(kind: ClientKind, properties: &Properties) -> Properties {
    let mut own = Properties::new();
    for (name, value) in properties.iter() {
        let mut settings = settings_table();
        let is_known = settings.any(|setting| setting.name == name && setting.belongs_to(kind));
        // The providers have names of the user's own (KIP-297), which no table knows.
        if is_known || name.starts_with("config.providers.") {
            own = own.with(name, value);
        }
    }
    own
}

/// An admin client. `properties` may be a producer's: the settings that both know are taken over.
pub fn admin(access: &Access, properties: &Properties) -> Outcome<Admin> {
    let mut own = known_to(ClientKind::Admin, properties);
    for (name, value) in PATIENT {
        own = own.with(name, value);
    }
    let own = own.with("bootstrap.servers", &access.bootstrap_servers);
    let config = AdminConfig::from_properties(&own).map_err(|error| config_failure(&error))?;
    Ok(Admin::new(config).map_err(|error| {
        Failure::new(Exit::Failed, "the admin client can't start").because(&error)
    })?)
}

/// Does something with an admin client, on the broker that was named or an embedded one. It is
/// given the client's settings too, for others that it starts.
pub fn with_admin(
    broker: &BrokerArguments,
    client: &AdminArguments,
    missing: MissingDirectory,
    work: impl FnOnce(&Admin, &Access, &Properties) -> Outcome<Exit>,
) -> Outcome<Exit> {
    let settings = given(client.command_config.as_deref(), &client.settings)?;
    check(&settings)?;
    let access = Access::open(broker, missing)?;
    let outcome = admin(&access, &settings).and_then(|admin| work(&admin, &access, &settings));
    let closed = access.close();
    outcome.and_then(|exit| closed.map(|()| exit))
}

/// Refuses settings that the admin client doesn't know, before a broker is looked for.
pub fn check(properties: &Properties) -> Outcome<()> {
    let with_servers = properties.clone().with("bootstrap.servers", "localhost:9092");
    AdminConfig::from_properties(&with_servers)
        .map(drop)
        .map_err(|error| config_failure(&error).into())
}

/// Makes sure that a broker answers; what it says of its cluster.
pub fn reach(access: &Access, properties: &Properties) -> Outcome<ClusterDescription> {
    let admin = admin(access, properties)?;
    patiently(access, || admin.describe_cluster())
        .map_err(|error| failure(access, "the cluster can't be described", &error).into())
}

/// Finds the topic, or creates it.
pub fn ensure(
    access: &Access,
    properties: &Properties,
    topic: &EnsuredTopic<'_>,
) -> Outcome<FoundTopic> {
    let admin = admin(access, properties)?;
    if let Some((partitions, id)) = find(&admin, access, topic.name)? {
        let (retention_ms, times) = settings(&admin, topic.name);
        return Ok(FoundTopic { id, partitions, is_new: false, retention_ms, times });
    }
    let mut new = NewTopic::new(topic.name, topic.partitions, BROKER_DEFAULT);
    if !topic.configs.iter().any(|(name, _)| name == "retention.ms") {
        new = new.config("retention.ms", "-1");
    }
    for (name, value) in topic.configs {
        new = new.config(name, value);
    }
    let failed = |error: AdminError| {
        let failure =
            failure(access, &format!("the topic {} can't be created", topic.name), &error);
        match failure.remedy {
            Some(_) => failure,
            None => failure.remedy(
                "correct --partitions and --topic-config, or have it created by who may, and run \
                 the same command again",
            ),
        }
    };
    let created = admin.create_topics(&[new]).and_then(|results| results.only());
    let is_new = match created {
        Ok(_) => true,
        // Someone else was faster, or an earlier attempt of ours whose answer was lost.
        Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => false,
        Err(error) => return Err(failed(error).into()),
    };
    // A broker tells of a topic that it has made only a moment later.
    let begun = Instant::now();
    loop {
        if let Some((partitions, id)) = find(&admin, access, topic.name)? {
            let (retention_ms, times) = settings(&admin, topic.name);
            return Ok(FoundTopic { id, partitions, is_new, retention_ms, times });
        }
        if begun.elapsed() > APPEARS_WITHIN {
            return Err(failed(AdminError::LeftOut).into());
        }
        thread::sleep(APPEARS_LOOK);
    }
}

/// How many partitions a topic has that must be there.
pub fn partition_count(access: &Access, properties: &Properties, topic: &str) -> Outcome<i32> {
    let admin = admin(access, properties)?;
    match find(&admin, access, topic)? {
        Some((count, _)) => Ok(count),
        None => Err(no_topic(&admin, access, topic).into()),
    }
}

/// How many partitions a topic has; None if it isn't there.
pub fn partitions_if_any(
    access: &Access,
    properties: &Properties,
    topic: &str,
) -> Outcome<Option<i32>> {
    let admin = admin(access, properties)?;
    find(&admin, access, topic).map(|found| found.map(|(count, _)| count))
}

/// Whether a topic is there.
pub fn exists(access: &Access, properties: &Properties, topic: &str) -> Outcome<bool> {
    let admin = admin(access, properties)?;
    find(&admin, access, topic).map(|found| found.is_some())
}

/// All partitions of a topic that must be there, in order.
pub fn partitions(
    access: &Access,
    properties: &Properties,
    topic: &str,
) -> Outcome<Vec<TopicPartition>> {
    let count = partition_count(access, properties, topic)?;
    let topic = TopicName::new(topic);
    let of = |index| TopicPartition { topic: topic.clone(), partition: PartitionIndex(index) };
    Ok((0..count).map(of).collect())
}

/// That a topic isn't there, with those that are.
pub fn no_topic(admin: &Admin, access: &Access, topic: &str) -> Failure {
    let failure = Failure::new(Exit::Failed, format!("there is no topic {topic:?}"))
        .cause(format!("the broker is {}", access.place));
    let topics = admin.list_topics().unwrap_or_default();
    let names: Vec<&str> =
        topics.iter().map(|topic| topic.name.as_str()).filter(|name| is_users(name)).collect();
    match names.as_slice() {
        [] => failure.remedy("it has no topics; `streamledger ingest FILE` makes one"),
        names => failure.remedy(format!("choose one of: {}", names.join(", "))),
    }
}

/// Whether a topic is one of the user's, not one that a broker or a command keeps for itself.
fn is_users(topic: &str) -> bool {
    !topic.starts_with("__")
}

/// How many partitions a topic has, and its id; None if it isn't there.
fn find(admin: &Admin, access: &Access, topic: &str) -> Outcome<Option<(i32, String)>> {
    let described = patiently(access, || {
        admin.describe_topics(&[topic.into()]).and_then(|results| results.only())
    });
    match described {
        Ok(topic) => {
            let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            let id = if topic.id.is_zero() { String::new() } else { topic.id.to_string() };
            Ok(Some((count, id)))
        }
        Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => Ok(None),
        Err(error) => {
            Err(failure(access, &format!("the topic {topic} can't be described"), &error).into())
        }
    }
}

/// Which times a topic takes; any, as far as the broker doesn't say.
pub fn times(access: &Access, properties: &Properties, topic: &str) -> Outcome<TopicTimes> {
    let admin = admin(access, properties)?;
    Ok(settings(&admin, topic).1)
}

/// How long a topic keeps records, and which times it takes, as far as the broker says.
fn settings(admin: &Admin, topic: &str) -> (Option<i64>, TopicTimes) {
    let described = admin.describe_configs(&[ConfigResource::Topic(topic.into())]);
    let Ok(configs) = described.and_then(|results| results.only()) else {
        return (None, TopicTimes::ANY);
    };
    let setting = |name: &str| {
        let of = configs.iter().find(|config| config.name == name);
        of.and_then(|config| config.value.as_deref())
    };
    let retention = setting("retention.ms").and_then(|value| value.parse().ok());
    (retention.filter(|ms| *ms >= 0), TopicTimes::of(setting))
}

/// Calls a broker; when that takes long, stderr says what is waited for.
pub fn patiently<T>(access: &Access, call: impl FnOnce() -> T) -> T {
    let (done, waited) = channel::<()>();
    let place = access.bootstrap_servers.clone();
    let watcher = thread::Builder::new().name("patience".to_owned()).spawn(move || {
        if waited.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            ui::say(format_args!("waiting for a broker at {place}, ten seconds at most"));
        }
    });
    let answer = call();
    drop(done);
    if let Ok(watcher) = watcher {
        let _ = watcher.join();
    }
    answer
}

/// An error of the admin client as a failure that names the broker.
pub fn failure(access: &Access, what: &str, error: &AdminError) -> Failure {
    if error.is_unreachable() {
        return Failure::new(
            Exit::Unreachable,
            format!("no broker answers at {}", access.bootstrap_servers),
        )
        .because(error)
        .remedy(
            "start it, correct --bootstrap-servers, or leave that out to use the embedded broker",
        );
    }
    let exit = match error {
        AdminError::Timeout(_) | AdminError::Network(_) => Exit::Unreachable,
        _ => Exit::Failed,
    };
    Failure::new(exit, what).because(error)
}
