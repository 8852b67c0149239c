//! The settings of a run, as its table and its summary tell them, and what of them may surprise.

use std::time::Duration;

use super::guarantee::Guarantee;
use super::report::Setting;
use super::{IngestArguments, OnError};
use crate::access::Access;
use crate::input::InputPlan;
use crate::producing::Configured;
use crate::topic_access::FoundTopic;
use crate::ui::units;

/// The table of settings: what the command was told, then the producer's settings that matter most
/// or that someone set.
pub(super) fn settings_in_force(
    arguments: &IngestArguments,
    plan: &InputPlan,
    access: &Access,
    configured: &Configured,
    topic: &FoundTopic,
    guarantee: Guarantee,
) -> Vec<Setting> {
    let topic_source = if topic.is_new { "new topic" } else { "topic" };
    let by_flag = |given: bool| if given { "flag" } else { "default" };
    let mut settings = vec![
        Setting::new("files", file_names(arguments, plan), "argument"),
        Setting::new(
            "format",
            format_name(arguments, plan),
            by_flag(arguments.input.format.is_some()),
        ),
        Setting::new(
            "bytes",
            plan.total_bytes()
                .filter(|_| !arguments.watch)
                .map_or_else(|| "as many as come".to_owned(), units::bytes),
            "files",
        ),
        Setting::new(
            "broker",
            &access.place,
            by_flag(arguments.broker.bootstrap_servers.is_some()),
        ),
        Setting::new("topic", &arguments.topic, by_flag(arguments.topic != crate::clicks::TOPIC)),
        Setting::new(
            "guarantee",
            guarantee.name().replace('-', " "),
            by_flag(arguments.exactly_once || arguments.at_least_once),
        ),
        Setting::new("partitions", topic.partitions.to_string(), topic_source),
        Setting::new("retention", retention_in_words(topic.retention_ms), topic_source),
        Setting::new(
            "key",
            plan.key_name().unwrap_or("none"),
            by_flag(arguments.input.key.is_some()),
        ),
        Setting::new(
            "timestamp",
            arguments.input.timestamp.as_deref().unwrap_or("time of sending"),
            by_flag(arguments.input.timestamp.is_some()),
        ),
        Setting::new(
            "on error",
            arguments.on_error_in_words(),
            by_flag(arguments.on_error != OnError::Stop),
        ),
    ];
    for (name, value) in arguments.input.columns_in_words() {
        settings.push(Setting::new(name, value, "flag"));
    }
    if let Some(pace) = arguments.pace_in_words() {
        settings.push(Setting::new("pace", pace, "flag"));
    }
    let types = plan.column_types();
    if !types.is_empty() {
        let types: Vec<String> =
            types.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        let from = if arguments.input.types.is_empty() { "first rows" } else { "first rows, flag" };
        settings.push(Setting::new("columns", types.join(", "), from));
    }
    for (name, value, source) in configured.in_force() {
        settings.push(Setting { name, value, source });
    }
    settings
}

fn file_names(arguments: &IngestArguments, plan: &InputPlan) -> String {
    if !arguments.watch {
        return plan.file_names();
    }
    let names: Vec<_> = arguments.files.iter().map(|path| path.display().to_string()).collect();
    format!("{}, watched", names.join(", "))
}

fn format_name(arguments: &IngestArguments, plan: &InputPlan) -> String {
    match arguments.input.format {
        None if arguments.watch => "by each file's name".to_owned(),
        Some(format) if arguments.watch => format!("{format:?}").to_lowercase(),
        _ => plan.format_name(),
    }
}

fn retention_in_words(retention_ms: Option<i64>) -> String {
    match retention_ms.map(|ms| Duration::from_millis(ms.unsigned_abs())) {
        None => "for ever".to_owned(),
        Some(time) if time.as_secs() >= 2 * 86_400 => format!("{} days", time.as_secs() / 86_400),
        Some(time) => units::duration(time),
    }
}

/// What the user may not expect of a topic that was there before.
pub(super) fn remarks(arguments: &IngestArguments, topic: &FoundTopic) -> Vec<String> {
    let mut remarks = Vec::new();
    if !topic.is_new
        && arguments.partitions.is_some_and(|partitions| partitions != topic.partitions)
    {
        remarks.push(format!(
            "{} has {} partitions already; --partitions is for a topic that isn't there yet",
            arguments.topic, topic.partitions
        ));
    }
    if !topic.is_new && !arguments.topic_config.is_empty() {
        remarks.push(format!(
            "{} is there already; --topic-config is for a topic that isn't",
            arguments.topic
        ));
    }
    if let (Some(_), Some(ms)) = (&arguments.input.timestamp, topic.retention_ms) {
        remarks.push(format!(
            "{} keeps records for {}: older ones by --timestamp may be removed soon",
            arguments.topic,
            retention_in_words(Some(ms))
        ));
    }
    remarks
}
