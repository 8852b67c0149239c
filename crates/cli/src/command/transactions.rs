//! `transactions`: lists and describes them, and aborts one that hangs in a partition (KIP-664).

use clap::{Args, Subcommand};
use serde_json::json;
use streamledger::admin::HangingTransaction;
use streamledger::{Admin, PartitionIndex, TopicPartition};

use crate::access::{Access, MissingDirectory};
use crate::args::{AdminArguments, BrokerArguments};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::help::with_examples;
use crate::time::format_timestamp;
use crate::topic_access;
use crate::ui;
use crate::ui::table::{self, Lean};

/// Flags of `transactions`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
pub struct TransactionsArguments {
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// All transactional ids that the brokers know, with their states
    List(ListArguments),
    /// What is known of a transactional id
    Describe(DescribeArguments),
    /// Abort a transaction in one partition, whatever its coordinator knows of it
    Abort(AbortArguments),
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct ListArguments {
    /// One JSON object a line: `transactional_id`, `producer_id`, state, coordinator
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    client: AdminArguments,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct DescribeArguments {
    /// The id
    transactional_id: String,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    client: AdminArguments,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct AbortArguments {
    /// The topic
    topic: String,

    /// The partition that it hangs in
    #[arg(long)]
    partition: i32,

    /// Where it begins: the offset of its first record in that partition. Without it, those that
    /// are open there are listed and nothing is aborted
    #[arg(long)]
    start_offset: Option<i64>,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    client: AdminArguments,
}

const EXAMPLES: &[(&str, &str)] = &[
    ("What is going on", "streamledger transactions list"),
    ("One of them, with its partitions", "streamledger transactions describe ingest-clicks"),
    ("What is open in a partition", "streamledger transactions abort clicks --partition 0"),
    (
        "Abort it there, so that read-committed readers come past it",
        "streamledger transactions abort clicks --partition 0 --start-offset 1200",
    ),
];

/// Does what was asked for.
pub fn run(arguments: &TransactionsArguments) -> Outcome<Exit> {
    let (broker, client) = match &arguments.action {
        Action::List(list) => (&list.broker, &list.client),
        Action::Describe(describe) => (&describe.broker, &describe.client),
        Action::Abort(abort) => (&abort.broker, &abort.client),
    };
    topic_access::with_admin(broker, client, MissingDirectory::Refuse, |admin, access, _| {
        match &arguments.action {
            Action::List(list) => list.run(admin, access),
            Action::Describe(describe) => describe.run(admin, access),
            Action::Abort(abort) => abort.run(admin, access),
        }
    })
}

impl ListArguments {
    fn run(&self, admin: &Admin, access: &Access) -> Outcome<Exit> {
        let listed = topic_access::patiently(access, || admin.list_transactions());
        let listed = listed.map_err(|error| {
            topic_access::failure(access, "the transactions can't be listed", &error)
        })?;
        if self.json {
            for one in listed {
                ui::print(json!({
                    "transactional_id": one.transactional_id.as_str(),
                    "producer_id": one.producer_id.0,
                    "state": one.state,
                    "coordinator": one.coordinator.0,
                }))?;
            }
            return Ok(Exit::Done);
        }
        let mut table = table::table(&[
            ("transactional id", Lean::Left),
            ("producer id", Lean::Right),
            ("state", Lean::Left),
            ("coordinator", Lean::Right),
        ]);
        for one in listed {
            table.add_row([
                one.transactional_id.to_string(),
                one.producer_id.0.to_string(),
                one.state,
                one.coordinator.to_string(),
            ]);
        }
        if table.is_empty() {
            ui::say("there are no transactional ids");
        } else {
            ui::print(table::text(&table))?;
        }
        Ok(Exit::Done)
    }
}

impl DescribeArguments {
    fn run(&self, admin: &Admin, access: &Access) -> Outcome<Exit> {
        let id = self.transactional_id.as_str();
        let described = topic_access::patiently(access, || {
            admin.describe_transactions(&[id.into()]).and_then(|results| results.only())
        });
        let described = described.map_err(|error| {
            let what = format!("the transactional id {id:?} can't be described");
            topic_access::failure(access, &what, &error)
        })?;
        let partitions: Vec<_> = described.partitions.iter().map(ToString::to_string).collect();
        let began = described.started.map_or("-".to_owned(), |at| format_timestamp(at.0));
        let rows = [
            ("transactional id", id.to_owned()),
            ("state", described.state),
            ("producer", described.producer.to_string()),
            ("coordinator", described.coordinator.to_string()),
            ("timeout", format!("{} ms", described.timeout_ms)),
            ("began", began),
            ("partitions", partitions.join(", ")),
        ];
        let rows = rows.map(|(name, value)| (name.to_owned(), value));
        ui::print(table::text(&table::pairs(rows)))?;
        Ok(Exit::Done)
    }
}

impl AbortArguments {
    fn run(&self, admin: &Admin, access: &Access) -> Outcome<Exit> {
        let partition = TopicPartition::new(self.topic.as_str(), PartitionIndex(self.partition));
        let asked = [partition.clone()];
        let producers = topic_access::patiently(access, || {
            admin.describe_producers(&asked).and_then(|results| results.only())
        });
        let producers = producers.map_err(|error| {
            let what = format!("the producers of {partition} can't be described");
            topic_access::failure(access, &what, &error)
        })?;
        let open: Vec<_> =
            producers.iter().filter(|producer| producer.transaction_start.is_some()).collect();
        let start = |offset: i64| {
            open.iter().find(|one| one.transaction_start.is_some_and(|own| own.0 == offset))
        };
        let Some(offset) = self.start_offset else {
            let mut table = table::table(&[
                ("start offset", Lean::Right),
                ("producer", Lean::Left),
                ("last written", Lean::Left),
            ]);
            for one in &open {
                let start = one.transaction_start.map_or(String::new(), |own| own.to_string());
                let written = format_timestamp(one.last_timestamp.0);
                table.add_row([start, one.producer.to_string(), written]);
            }
            if open.is_empty() {
                ui::say(format_args!("no transaction is open in {partition}"));
            } else {
                ui::print(table::text(&table))?;
            }
            return Ok(Exit::Done);
        };
        let Some(hanging) = start(offset) else {
            let what = format!("no transaction that is open in {partition} begins at {offset}");
            return Failure::new(Exit::Failed, what)
                .remedy("leave --start-offset out to see those that are open there")
                .err();
        };
        let asked = [HangingTransaction {
            topic_partition: partition.clone(),
            producer: hanging.producer,
            coordinator_epoch: hanging.coordinator_epoch.unwrap_or(0),
        }];
        let aborted = admin.abort_transactions(&asked).and_then(|results| results.only());
        aborted.map_err(|error| {
            let what = format!("the transaction in {partition} can't be aborted");
            topic_access::failure(access, &what, &error)
        })?;
        ui::print(format_args!("aborted in {partition}, from offset {offset}"))?;
        Ok(Exit::Done)
    }
}
