//! `groups`: list and describe them, move their offsets, delete them.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde_json::json;
use streamledger::admin::{GroupDescription, GroupOffsets};
use streamledger::{
    Admin, CommittedOffset, Consumer, ConsumerConfig, ErrorCode, GroupId, Offset, Properties,
    TimestampMs, TopicPartition,
};

use crate::access::{Access, MissingDirectory};
use crate::args::{AdminArguments, BrokerArguments};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::help::with_examples;
use crate::producing::config_failure;
use crate::time::parse_since;
use crate::topic_access;
use crate::ui::table::{self, Lean};
use crate::ui::{self};

/// Flags of `groups`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
pub struct GroupsArguments {
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// All groups
    List(ListArguments),
    /// A group's members, its offsets, and how far it is behind
    Describe(DescribeArguments),
    /// Have a group without members go on elsewhere
    ResetOffsets(ResetArguments),
    /// Remove groups without members, and their offsets
    Delete(DeleteArguments),
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct ListArguments {
    /// One JSON object a line: group, type, state
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
    /// Its name
    group: String,

    /// One JSON object: group, type, state, assignor, members, offsets
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    client: AdminArguments,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct ResetArguments {
    /// Its name
    group: String,

    /// A topic; may be repeated; without it, all topics that the group has offsets of
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,

    #[command(flatten)]
    to: To,

    /// Say what would be stored, and store nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    client: AdminArguments,
}

/// Where to.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct To {
    /// To the oldest record there is
    #[arg(long)]
    to_earliest: bool,

    /// Past the newest record there is
    #[arg(long)]
    to_latest: bool,

    /// To this offset, or the nearest there is
    #[arg(long, value_name = "N")]
    to_offset: Option<i64>,

    /// So many records on, or back if negative
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    shift_by: Option<i64>,

    /// To the first record of this time: 2019-10-01T12:00:00Z, epoch milliseconds, or how long
    /// ago, as 10m, 2h or 7d
    #[arg(long, value_name = "TIME")]
    to_time: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct DeleteArguments {
    /// Their names
    #[arg(required = true)]
    groups: Vec<String>,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    client: AdminArguments,
}

const EXAMPLES: &[(&str, &str)] = &[
    ("All groups, on your Kafka", "streamledger groups list --bootstrap-servers broker1:9092"),
    ("How far a group is behind", "streamledger groups describe invoices"),
    (
        "Have it read the last two hours again",
        "streamledger groups reset-offsets invoices --topic orders --to-time 2h",
    ),
    ("Remove one", "streamledger groups delete invoices"),
];

/// Does what was asked for.
pub fn run(arguments: &GroupsArguments) -> Outcome<Exit> {
    let (broker, client) = match &arguments.action {
        Action::List(list) => (&list.broker, &list.client),
        Action::Describe(describe) => (&describe.broker, &describe.client),
        Action::ResetOffsets(reset) => (&reset.broker, &reset.client),
        Action::Delete(delete) => (&delete.broker, &delete.client),
    };
    topic_access::with_admin(broker, client, MissingDirectory::Refuse, |admin, access, settings| {
        match &arguments.action {
            Action::List(list) => list.run(admin, access),
            Action::Describe(describe) => describe.run(admin, access, settings),
            Action::ResetOffsets(reset) => reset.run(admin, access, settings),
            Action::Delete(delete) => delete.run(admin, access),
        }
    })
}

impl ListArguments {
    fn run(&self, admin: &Admin, access: &Access) -> Outcome<Exit> {
        let groups = topic_access::patiently(access, || admin.list_groups());
        let groups = groups
            .map_err(|error| topic_access::failure(access, "the groups can't be listed", &error))?;
        if self.json {
            for group in groups {
                let name = group.group_id.as_str();
                ui::print(json!({
                    "group": name, "type": group.group_type, "state": group.state,
                }))?;
            }
            return Ok(Exit::Done);
        }
        let columns = [("group", Lean::Left), ("type", Lean::Left), ("state", Lean::Left)];
        let mut table = table::table(&columns);
        for group in groups {
            let (kind, state) = (group.group_type, group.state);
            let name = group.group_id.to_string();
            table.add_row([name, kind.unwrap_or_default(), state.unwrap_or_default()]);
        }
        if table.is_empty() {
            ui::say("there are no groups; `streamledger consume TOPIC --group NAME` makes one");
        } else {
            ui::print(table::text(&table))?;
        }
        Ok(Exit::Done)
    }
}

/// How far a group is in one partition.
struct Row {
    at: TopicPartition,
    committed: Option<Offset>,
    end: Offset,
    member: Option<String>,
}

impl Row {
    fn lag(&self) -> Option<i64> {
        self.committed.map(|committed| (self.end - committed).max(0))
    }
}

impl DescribeArguments {
    fn run(&self, admin: &Admin, access: &Access, settings: &Properties) -> Outcome<Exit> {
        let group = describe(admin, access, &self.group)?;
        let stored = stored(admin, access, &self.group)?;
        let rows = rows(access, settings, &group, stored)?;
        if self.json {
            let members: Vec<_> = group
                .members
                .iter()
                .map(|member| {
                    let partitions = member.partitions.iter().map(ToString::to_string);
                    json!({
                        "member": member.member_id, "instance": member.instance_id,
                        "client": member.client_id, "host": member.client_host,
                        "rack": member.rack,
                        "partitions": partitions.collect::<Vec<_>>(),
                    })
                })
                .collect();
            let offsets: Vec<_> = rows
                .iter()
                .map(|row| {
                    json!({
                        "topic": row.at.topic.as_str(), "partition": row.at.partition.0,
                        "committed": row.committed.map(|offset| offset.0), "end": row.end.0,
                        "lag": row.lag(), "member": row.member,
                    })
                })
                .collect();
            let object = json!({
                "group": group.group_id.as_str(), "type": group.group_type,
                "state": group.state, "assignor": group.assignor,
                "members": members, "offsets": offsets,
            });
            return ui::print(object).map(|()| Exit::Done);
        }
        let assignor = match group.assignor.as_str() {
            "" => String::new(),
            assignor => format!(", {assignor}"),
        };
        let count = group.members.len();
        let head = format!(
            "{}  ({}, {}{assignor}, {count} members)",
            group.group_id, group.group_type, group.state
        );
        let mut table = table::table(&[
            ("topic", Lean::Left),
            ("partition", Lean::Right),
            ("committed", Lean::Right),
            ("end", Lean::Right),
            ("lag", Lean::Right),
            ("member", Lean::Left),
        ]);
        let number = |number: Option<i64>| number.map_or_else(String::new, |n| n.to_string());
        for row in &rows {
            table.add_row([
                row.at.topic.to_string(),
                row.at.partition.to_string(),
                number(row.committed.map(|offset| offset.0)),
                row.end.to_string(),
                number(row.lag()),
                row.member.clone().unwrap_or_default(),
            ]);
        }
        ui::print(format!("{head}\n\n{}", table::text(&table))).map(|()| Exit::Done)
    }
}

fn describe(admin: &Admin, access: &Access, group: &str) -> Outcome<GroupDescription> {
    let described = topic_access::patiently(access, || {
        admin.describe_groups(&[group.into()]).and_then(|results| results.only())
    });
    Ok(described.map_err(|error| {
        let what = format!("the group {group} can't be described");
        topic_access::failure(access, &what, &error)
    })?)
}

type Stored = BTreeMap<TopicPartition, CommittedOffset>;

fn stored(admin: &Admin, access: &Access, group: &str) -> Outcome<Stored> {
    let listed = admin.list_group_offsets(&[group.into()]).and_then(|results| results.only());
    let listed = listed.map_err(|error| {
        let what = format!("the offsets of {group} can't be read");
        topic_access::failure(access, &what, &error)
    })?;
    Ok(listed.into_iter().collect())
}

/// What is committed and what is read, by partition.
fn rows(
    access: &Access,
    settings: &Properties,
    group: &GroupDescription,
    stored: Stored,
) -> Outcome<Vec<Row>> {
    let mut all: BTreeMap<TopicPartition, (Option<Offset>, Option<String>)> =
        stored.into_iter().map(|(at, stored)| (at, (Some(stored.offset), None))).collect();
    for member in &group.members {
        for at in &member.partitions {
            let name = member.instance_id.as_ref().unwrap_or(&member.member_id);
            all.entry(at.clone()).or_default().1 = Some(name.clone());
        }
    }
    let partitions: Vec<TopicPartition> = all.keys().cloned().collect();
    let ends = reader(access, settings)?
        .end_offsets(&partitions)
        .map_err(|error| unreadable("the partitions' ends can't be found", &error))?;
    let rows = all.into_iter().zip(ends);
    Ok(rows.map(|((at, (committed, member)), end)| Row { at, committed, end, member }).collect())
}

fn reader(access: &Access, settings: &Properties) -> Outcome<Consumer> {
    let properties = settings.clone().with("bootstrap.servers", &access.bootstrap_servers);
    let config =
        ConsumerConfig::from_properties(&properties).map_err(|error| config_failure(&error))?;
    Ok(Consumer::new(config).map_err(|error| unreadable("no consumer can be started", &error))?)
}

fn unreadable(what: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Exit::Failed, what.to_owned()).because(error)
}

impl ResetArguments {
    fn run(&self, admin: &Admin, access: &Access, settings: &Properties) -> Outcome<Exit> {
        let stored = stored(admin, access, &self.group)?;
        let consumer = reader(access, settings)?;
        let mut partitions: Vec<TopicPartition> = Vec::new();
        for topic in &self.topic {
            let found = consumer.partitions_for(topic);
            let what = format!("the partitions of {topic} can't be found");
            partitions.extend(found.map_err(|error| unreadable(&what, &error))?);
        }
        if self.topic.is_empty() {
            partitions.extend(stored.keys().cloned());
        }
        if partitions.is_empty() {
            return Failure::new(Exit::Failed, format!("{} has no offsets to move", self.group))
                .remedy("name a topic with --topic to give it some")
                .err();
        }
        let targets = self.targets(&consumer, &stored, &partitions)?;
        let mut table = table::table(&[
            ("topic", Lean::Left),
            ("partition", Lean::Right),
            ("before", Lean::Right),
            ("after", Lean::Right),
        ]);
        for (at, offset) in &targets {
            let before =
                stored.get(at).map_or_else(String::new, |stored| stored.offset.to_string());
            let (topic, partition) = (at.topic.to_string(), at.partition.to_string());
            table.add_row([topic, partition, before, offset.to_string()]);
        }
        if !self.dry_run {
            let group_id = GroupId::from(self.group.as_str());
            let offsets = targets.into_iter();
            let offsets = offsets.map(|(at, offset)| (at, CommittedOffset::new(offset))).collect();
            let altered = admin.alter_group_offsets(&[GroupOffsets { group_id, offsets }]);
            altered
                .and_then(|results| results.only())
                .map_err(|error| self.refused(access, &error))?;
        }
        ui::print(table::text(&table)).map(|()| Exit::Done)
    }

    fn refused(&self, access: &Access, error: &streamledger::AdminError) -> Failure {
        let what = format!("the offsets of {} can't be moved", self.group);
        let failure = topic_access::failure(access, &what, error);
        match error.code() {
            Some(ErrorCode::UnknownMemberId | ErrorCode::RebalanceInProgress) => failure
                .cause("the group has members, which go on from where they are")
                .remedy("stop them first; `streamledger groups describe` shows them"),
            _ => failure,
        }
    }

    /// Where each partition goes, within what there is.
    fn targets(
        &self,
        consumer: &Consumer,
        stored: &Stored,
        partitions: &[TopicPartition],
    ) -> Outcome<Vec<(TopicPartition, Offset)>> {
        let unknown = |error: &streamledger::ConsumerError| {
            unreadable("where the partitions begin and end can't be found", error)
        };
        let beginnings = consumer.beginning_offsets(partitions).map_err(|e| unknown(&e))?;
        let ends = consumer.end_offsets(partitions).map_err(|e| unknown(&e))?;
        let by_time = match &self.to.to_time {
            None => vec![None; partitions.len()],
            Some(text) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
                let Some(ms) = parse_since(text, now_ms) else {
                    return Failure::new(Exit::Usage, format!("--to-time {text:?} isn't a time"))
                        .remedy("write it as 2019-10-01T12:00:00Z, epoch milliseconds, 10m, 2h, 7d")
                        .err();
                };
                let times: Vec<_> =
                    partitions.iter().map(|at| (at.clone(), TimestampMs(ms))).collect();
                consumer.offsets_for_times(&times).map_err(|e| unknown(&e))?
            }
        };
        let each = partitions.iter().zip(beginnings).zip(ends).zip(by_time);
        let targets = each.map(|(((at, beginning), end), by_time)| {
            let wanted = if self.to.to_earliest {
                beginning
            } else if let Some(offset) = self.to.to_offset {
                Offset(offset)
            } else if let Some(count) = self.to.shift_by {
                let now = stored.get(at).map_or(beginning, |stored| stored.offset);
                Offset(now.0.saturating_add(count))
            } else {
                by_time.map_or(end, |found| found.offset)
            };
            (at.clone(), wanted.clamp(beginning, end.max(beginning)))
        });
        Ok(targets.collect())
    }
}

impl DeleteArguments {
    fn run(&self, admin: &Admin, access: &Access) -> Outcome<Exit> {
        let names: Vec<GroupId> = self.groups.iter().map(|name| name.as_str().into()).collect();
        let deleted = topic_access::patiently(access, || admin.delete_groups(&names));
        let deleted = deleted.map_err(|error| {
            topic_access::failure(access, "the groups can't be deleted", &error)
        })?;
        let mut failures: Vec<Failure> = Vec::new();
        for (name, result) in deleted {
            match result {
                Ok(()) => ui::print(format_args!("deleted {name}"))?,
                Err(error) => {
                    let what = format!("the group {name} can't be deleted");
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
