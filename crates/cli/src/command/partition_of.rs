//! `partition-of`: which partition of a topic a key goes to.

use clap::{ArgGroup, Args};
use serde_json::json;

use crate::access::{Access, MissingDirectory};
use crate::args::{AdminArguments, BrokerArguments};
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::given::given;
use crate::help::with_examples;
use crate::partitioner::KeyPartitioner;
use crate::topic_access;
use crate::ui;

/// Flags of `partition-of`.
#[derive(Debug, Args)]
#[command(
    after_help = with_examples(EXAMPLES),
    long_about = ABOUT,
    group = ArgGroup::new("partition count").required(true).args(["partitions", "topic"])
)]
pub struct PartitionOfArguments {
    /// The keys, as text
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,

    /// How many partitions there are; no broker is asked
    #[arg(
        long,
        short = 'n',
        value_name = "N",
        value_parser = clap::value_parser!(i32).range(1..)
    )]
    partitions: Option<i32>,

    /// As many as this topic has
    #[arg(long, short = 't', value_name = "TOPIC")]
    topic: Option<String>,

    /// Whose rule to go by
    #[arg(long, value_enum, default_value_t = KeyPartitioner::Murmur2Random)]
    partitioner: KeyPartitioner,

    /// One JSON object a line: key, partition, partitions, partitioner
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    client: AdminArguments,
}

const ABOUT: &str = "Say which partition a key goes to.

Prints a line a key: the key, a tab, its partition. The rule is that of Java clients, which \
`ingest` and `produce` go by too; librdkafka (kcat, and clients in Python, Go or C# made with it) \
goes by another unless told otherwise: --partitioner consistent_random. A topic that gets more \
partitions gets other places for its keys.";

const EXAMPLES: &[(&str, &str)] = &[
    (
        "Of a topic on the embedded broker",
        "streamledger partition-of 541312140 -t ecommerce.events",
    ),
    ("Without a broker", "streamledger partition-of 541312140 512475445 --partitions 12"),
    (
        "Where kcat would put it",
        "streamledger partition-of 541312140 -n 12 --partitioner consistent_random",
    ),
];

/// Prints the partitions.
pub fn run(arguments: &PartitionOfArguments) -> Outcome<Exit> {
    let count = match (arguments.partitions, &arguments.topic) {
        (Some(count), _) => count,
        (None, topic) => ask(arguments, topic.as_deref().unwrap_or_default())?,
    };
    for key in &arguments.keys {
        let partition = arguments.partitioner.partition(key.as_bytes(), count);
        if arguments.json {
            ui::print(json!({
                "key": key,
                "partition": partition,
                "partitions": count,
                "partitioner": arguments.partitioner.to_string(),
            }))?;
            continue;
        }
        match partition {
            Some(partition) => ui::print(format_args!("{key}\t{partition}"))?,
            None => ui::print(format_args!("{key}\tany"))?,
        }
    }
    Ok(Exit::Done)
}

/// How many partitions a topic has.
fn ask(arguments: &PartitionOfArguments, topic: &str) -> Outcome<i32> {
    let client = &arguments.client;
    let settings = given(client.command_config.as_deref(), &client.settings)?;
    topic_access::check(&settings)?;
    let access = Access::open(&arguments.broker, MissingDirectory::Refuse)?;
    let count = topic_access::partition_count(&access, &settings, topic);
    let closed = access.close();
    count.and_then(|count| closed.map(|()| count))
}
