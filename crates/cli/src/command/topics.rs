//! `topics`: list, create, describe and delete them.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use streamledger::admin::{ConfigResource, ConfigSource};
use streamledger::{Admin, BrokerId, ErrorCode, NewTopic};

use crate::access::{Access, MissingDirectory};
use crate::args::{AdminArguments, BrokerArguments};
use crate::command::name_and_value;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::help::with_examples;
use crate::topic_access;
use crate::ui::table::{self, Lean};
use crate::ui::{self, units};

/// Flags of `topics`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
pub struct TopicsArguments {
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// All topics
    List(ListArguments),
    /// Make a topic
    Create(CreateArguments),
    /// A topic's partitions and settings
    Describe(DescribeArguments),
    /// Remove topics and their records
    Delete(DeleteArguments),
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct ListArguments {
    /// Kafka's own topics too
    #[arg(long)]
    internal: bool,

    /// One JSON object a line: name, id, partitions, internal
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    client: AdminArguments,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct CreateArguments {
    /// Its name
    topic: String,

    /// How many partitions; the broker's default if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,

    /// On how many brokers each partition is kept; the broker's default if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,

    /// A setting of the topic by Kafka's name; may be repeated
    #[arg(long, short = 'c', value_name = "NAME=VALUE", value_parser = name_and_value)]
    config: Vec<(String, String)>,

    /// Don't fail if it is there already
    #[arg(long)]
    if_not_exists: bool,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    client: AdminArguments,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct DescribeArguments {
    /// Its name
    topic: String,

    /// All settings, not only those that someone set
    #[arg(long)]
    all_settings: bool,

    /// One JSON object: name, id, partitions, settings
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    client: AdminArguments,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct DeleteArguments {
    /// Their names
    #[arg(required = true)]
    topics: Vec<String>,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    client: AdminArguments,
}

const EXAMPLES: &[(&str, &str)] = &[
    ("All topics of the embedded broker", "streamledger topics list"),
    (
        "A compacted topic",
        "streamledger topics create users --partitions 3 --config cleanup.policy=compact",
    ),
    (
        "Leaders and settings, on your Kafka",
        "streamledger topics describe ecommerce.events --bootstrap-servers broker1:9092",
    ),
    ("Remove one", "streamledger topics delete users"),
];

/// Does what was asked for.
pub fn run(arguments: &TopicsArguments) -> Outcome<Exit> {
    let (broker, client, missing) = match &arguments.action {
        Action::List(list) => (&list.broker, &list.client, MissingDirectory::Refuse),
        Action::Create(create) => (&create.broker, &create.client, MissingDirectory::Create),
        Action::Describe(ask) => (&ask.broker, &ask.client, MissingDirectory::Refuse),
        Action::Delete(delete) => (&delete.broker, &delete.client, MissingDirectory::Refuse),
    };
    topic_access::with_admin(broker, client, missing, |admin, access, _| match &arguments.action {
        Action::List(list) => list.run(admin, access),
        Action::Create(create) => create.run(admin, access),
        Action::Describe(describe) => describe.run(admin, access),
        Action::Delete(delete) => delete.run(admin, access),
    })
}

impl ListArguments {
    fn run(&self, admin: &Admin, access: &Access) -> Outcome<Exit> {
        let topics = topic_access::patiently(access, || admin.list_topics());
        let topics = topics
            .map_err(|error| topic_access::failure(access, "the topics can't be listed", &error))?;
        let shown = topics.iter().filter(|topic| self.internal || !topic.is_internal);
        if self.json {
            for topic in shown {
                let object = json!({
                    "name": topic.name.as_str(),
                    "id": topic.id.to_string(),
                    "partitions": topic.partition_count,
                    "internal": topic.is_internal,
                });
                ui::print(object)?;
            }
            return Ok(Exit::Done);
        }
        let mut table =
            table::table(&[("topic", Lean::Left), ("partitions", Lean::Right), ("id", Lean::Left)]);
        for topic in shown {
            let partitions = topic.partition_count.to_string();
            table.add_row([topic.name.to_string(), partitions, topic.id.to_string()]);
        }
        if table.is_empty() {
            ui::say("there are no topics; `streamledger ingest FILE` makes one");
        } else {
            ui::print(table::text(&table))?;
        }
        Ok(Exit::Done)
    }
}

impl CreateArguments {
    fn run(&self, admin: &Admin, access: &Access) -> Outcome<Exit> {
        let (partitions, replicas) =
            (self.partitions.unwrap_or(-1), self.replication_factor.unwrap_or(-1));
        let mut new = NewTopic::new(self.topic.as_str(), partitions, replicas);
        for (name, value) in &self.config {
            new = new.config(name, value);
        }
        let created = topic_access::patiently(access, || {
            admin.create_topics(&[new]).and_then(|results| results.only())
        });
        match created {
            Ok(created) => {
                let count = created.partition_count.unwrap_or(partitions).unsigned_abs();
                let partitions = units::counted(count.into(), "partition");
                ui::print(format_args!("created {} with {partitions}", created.name))?;
                Ok(Exit::Done)
            }
            Err(error)
                if self.if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) =>
            {
                ui::print(format_args!("{} is there already", self.topic))?;
                Ok(Exit::Done)
            }
            Err(error) => {
                let what = format!("the topic {:?} can't be created", self.topic);
                Err(topic_access::failure(access, &what, &error).into())
            }
        }
    }
}

impl DescribeArguments {
    fn run(&self, admin: &Admin, access: &Access) -> Outcome<Exit> {
        let name = self.topic.as_str();
        let described = topic_access::patiently(access, || {
            admin.describe_topics(&[name.into()]).and_then(|results| results.only())
        });
        let topic = match described {
            Ok(topic) => topic,
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                return Err(topic_access::no_topic(admin, access, name).into());
            }
            Err(error) => {
                let what = format!("the topic {name} can't be described");
                return Err(topic_access::failure(access, &what, &error).into());
            }
        };
        let numbers = |brokers: &[BrokerId]| brokers.iter().map(|id| id.0).collect();
        let partitions: Vec<PartitionRow> = topic
            .partitions
            .iter()
            .map(|partition| PartitionRow {
                partition: partition.index.0,
                leader: partition.leader.map(|leader| leader.0),
                leader_epoch: partition.leader_epoch.0,
                replicas: numbers(&partition.replicas),
                in_sync: numbers(&partition.in_sync),
            })
            .collect();
        let settings = admin
            .describe_configs(&[ConfigResource::Topic(name.into())])
            .and_then(|results| results.only())
            .map_err(|error| {
                let what = format!("the settings of {name} can't be described");
                topic_access::failure(access, &what, &error)
            })?;
        let is_shown =
            |source: &ConfigSource| self.all_settings || !matches!(source, ConfigSource::Default);
        let settings: Vec<_> = settings.iter().filter(|entry| is_shown(&entry.source)).collect();
        if self.json {
            let partitions: Vec<_> = partitions.iter().map(PartitionRow::json).collect();
            let settings: serde_json::Map<_, _> =
                settings.iter().map(|entry| (entry.name.clone(), json!(entry.value))).collect();
            let id = topic.id.to_string();
            let object =
                json!({ "name": name, "id": id, "partitions": partitions, "settings": settings });
            return ui::print(object).map(|()| Exit::Done);
        }
        let mut text = format!(
            "{}  (id {})\n\n{}",
            topic.name,
            topic.id,
            table::text(&partitions_table(&partitions))
        );
        if !settings.is_empty() {
            let mut table = table::table(&[
                ("setting", Lean::Left),
                ("value", Lean::Left),
                ("from", Lean::Left),
            ]);
            for entry in settings {
                let value = entry.value.as_deref().unwrap_or_default();
                table.add_row([entry.name.as_str(), value, source_in_words(entry.source)]);
            }
            let _ = write!(text, "\n\n{}", table::text(&table));
        }
        ui::print(text).map(|()| Exit::Done)
    }
}

impl DeleteArguments {
    fn run(&self, admin: &Admin, access: &Access) -> Outcome<Exit> {
        let names: Vec<_> = self.topics.iter().map(|name| name.as_str().into()).collect();
        let deleted = topic_access::patiently(access, || admin.delete_topics(&names));
        let deleted = deleted.map_err(|error| {
            topic_access::failure(access, "the topics can't be deleted", &error)
        })?;
        let mut failures: Vec<Failure> = Vec::new();
        for (name, result) in deleted {
            match result {
                Ok(()) => ui::print(format_args!("deleted {name}"))?,
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                    failures.push(topic_access::no_topic(admin, access, name.as_str()));
                }
                Err(error) => {
                    let what = format!("the topic {name} can't be deleted");
                    failures.push(topic_access::failure(access, &what, &error));
                }
            }
        }
        let Some(last) = failures.pop() else { return Ok(Exit::Done) };
        for failure in failures {
            ui::say(failure);
        }
        last.err()
    }
}

/// A partition as it is shown.
#[derive(Debug, Serialize)]
struct PartitionRow {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
}

impl PartitionRow {
    fn json(&self) -> serde_json::Value {
        json!(self)
    }
}

fn partitions_table(partitions: &[PartitionRow]) -> comfy_table::Table {
    let mut table = table::table(&[
        ("partition", Lean::Right),
        ("leader", Lean::Right),
        ("leader epoch", Lean::Right),
        ("replicas", Lean::Left),
        ("in sync", Lean::Left),
    ]);
    let list =
        |numbers: &[i32]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    for row in partitions {
        table.add_row([
            row.partition.to_string(),
            row.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
            row.leader_epoch.to_string(),
            list(&row.replicas),
            list(&row.in_sync),
        ]);
    }
    table
}

fn source_in_words(source: ConfigSource) -> &'static str {
    match source {
        ConfigSource::Topic => "topic",
        ConfigSource::DynamicBroker => "broker, while it runs",
        ConfigSource::DynamicDefaultBroker => "all brokers, while they run",
        ConfigSource::StaticBroker => "broker's file",
        ConfigSource::Default => "default",
        _ => "elsewhere",
    }
}
