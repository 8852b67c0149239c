//! What a dry run says, for people and for programs.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::report::{Setting, settings_table};
use super::sample::{FirstRecord, Sample};
use crate::input::InputPlan;
use crate::input::value_schema::ValueSchema;
use crate::time::format_timestamp;
use crate::ui::table::{self, Lean};
use crate::ui::units;

/// Of a longer value the beginning is shown.
const VALUE_CHARACTERS: usize = 240;

/// Of more partitions the fullest are shown.
const PARTITIONS_SHOWN: usize = 48;

/// How long the bar of the fullest partition is.
const BAR_CHARACTERS: u64 = 30;

/// How many partitions the topic has or would get, and who says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Partitions {
    pub(super) count: i32,
    pub(super) source: &'static str,
}

/// A schema that values would be written by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ShownSchema {
    language: &'static str,
    /// Where it would be registered.
    subject: Option<String>,
    /// Its number, where that is decided.
    id: Option<u32>,
    #[serde(rename = "schema")]
    text: String,
}

impl ShownSchema {
    pub(super) fn new(subject: Option<String>, id: Option<u32>, schema: ValueSchema) -> Self {
        ShownSchema { language: schema.language.name(), subject, id, text: schema.text }
    }

    fn in_words(&self) -> String {
        let language = self.language;
        match (self.id, &self.subject) {
            (Some(id), _) => format!("The {language} schema, {id} in the registry"),
            (None, Some(subject)) => {
                format!("The {language} schema, which would be registered under {subject}")
            }
            (None, None) => format!("The {language} schema"),
        }
    }
}

/// All that a dry run has to tell.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) topic: &'a str,
    /// What the command was told, by whom.
    pub(super) options: Vec<Setting>,
    pub(super) partitions: Partitions,
    pub(super) plan: &'a InputPlan,
    pub(super) total_bytes: Option<u64>,
    /// The schemas that values would be written by.
    pub(super) schemas: Vec<ShownSchema>,
    /// How long it would take at least.
    pub(super) seconds: Option<f64>,
    pub(super) sample: &'a Sample,
}

impl Report<'_> {
    /// Whether all rows were looked at.
    fn is_whole(&self) -> bool {
        self.sample.whole_files == self.plan.files.len()
    }

    /// Something of all rows, by what it is of those that were looked at.
    fn of_all(&self, sampled: u64) -> Option<u64> {
        if self.is_whole() {
            return Some(sampled);
        }
        Some((sampled as f64 / self.sample.share(self.total_bytes)?) as u64)
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut parts = vec![
            format!(" What is in effect\n\n{}", table::text(&settings_table(&self.options))),
            table::text(&table::pairs(self.pairs())),
        ];
        let types = self.plan.column_types();
        if !types.is_empty() {
            let mut columns = table::table(&[("column", Lean::Left), ("type", Lean::Left)]);
            for (name, column_type) in types {
                columns.add_row([name, &column_type]);
            }
            parts.push(table::text(&columns));
        }
        for schema in &self.schemas {
            parts.push(format!(" {}\n\n{}", schema.in_words(), schema.text));
        }
        if !self.sample.first_records.is_empty() {
            parts.push(format!(" The first records\n\n{}", self.first_records()));
        }
        if !self.sample.placed.is_empty() {
            parts.push(format!(" Where rows with a key go\n\n{}", self.histogram()));
        }
        parts.push(" Nothing was sent.".to_owned());
        parts.join("\n\n")
    }

    fn pairs(&self) -> Vec<(String, String)> {
        let sample = self.sample;
        let about = if self.is_whole() { "" } else { "about " };
        let counted = |count: Option<u64>| count.map_or("unknown".to_owned(), units::grouped);
        let seen = if self.is_whole() {
            "all of them were looked at".to_owned()
        } else {
            format!("by the first {}", units::grouped(sample.row_count + sample.rejected))
        };
        let (key_bytes, value_bytes) = sample.mean_bytes();
        let mut rows = vec![
            ("files", self.plan.file_names()),
            ("format", self.plan.format_name()),
            ("rows", format!("{about}{}, {seen}", counted(self.of_all(sample.row_count)))),
            ("bad rows", self.rejections()),
            (
                "topic",
                format!(
                    "{}, {} ({})",
                    self.topic,
                    units::counted(u64::from(self.partitions.count.unsigned_abs()), "partition"),
                    self.partitions.source
                ),
            ),
            (
                "record",
                format!(
                    "key {}, value {} on average",
                    units::bytes(key_bytes),
                    units::bytes(value_bytes)
                ),
            ),
        ];
        if let Some(bytes) = self.of_all(sample.log_bytes()) {
            rows.push(("in the topic", format!("about {} uncompressed", units::bytes(bytes))));
        }
        rows.push(("key", self.key_in_words()));
        if let Some(skew) = sample.skew() {
            rows.push(("skew", format!("the fullest partition gets {skew:.2} times the mean")));
        }
        if let Some(seconds) = self.seconds {
            let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            let time = if seconds < 1.0 { "1 s".to_owned() } else { units::whole_seconds(time) };
            rows.push(("time", format!("at least {time}; a broker may take longer")));
        }
        rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn rejections(&self) -> String {
        let sample = self.sample;
        let Some(first) = sample.rejections.first() else { return "none seen".to_owned() };
        let (count, line) = (units::grouped(sample.rejected), units::grouped(first.line));
        format!("{count} seen; the first, {}:{line}, {}", first.file, first.reason)
    }

    fn key_in_words(&self) -> String {
        let Some(column) = self.plan.key_name() else {
            return "none: rows are spread evenly".to_owned();
        };
        let Some((heaviest, count)) = self.sample.heaviest_key() else {
            return format!("{column}, which is empty in the rows seen");
        };
        let share = 100.0 * count as f64 / self.sample.row_count as f64;
        let rows = units::counted(count, "row");
        let keys = units::counted(self.sample.key_count(), "key");
        format!("{column}: {keys} seen; {rows} ({share:.1} %) with the most frequent, {heaviest}")
    }

    fn first_records(&self) -> String {
        let mut shown = table::table(&[
            ("partition", Lean::Right),
            ("timestamp", Lean::Left),
            ("key", Lean::Left),
            ("value", Lean::Left),
        ]);
        for record in &self.sample.first_records {
            let FirstRecord { partition, timestamp, key, value, .. } = record;
            shown.add_row([
                partition.map_or("any".to_owned(), |partition| partition.to_string()),
                timestamp.map_or("of sending".to_owned(), format_timestamp),
                key.clone().unwrap_or("null".to_owned()),
                shortened(value),
            ]);
        }
        table::text(&shown)
    }

    fn histogram(&self) -> String {
        let mut shown = table::table(&[
            ("partition", Lean::Right),
            ("rows", Lean::Right),
            ("share", Lean::Right),
            ("", Lean::Left),
        ]);
        let placed = &self.sample.placed;
        let sum: u64 = placed.values().sum();
        let most = placed.values().max().copied().unwrap_or(1);
        let count = self.partitions.count;
        let all: Vec<(i32, u64)> = if count as usize <= PARTITIONS_SHOWN {
            (0..count).map(|index| (index, placed.get(&index).copied().unwrap_or(0))).collect()
        } else {
            let mut fullest: Vec<_> = placed.iter().map(|(index, rows)| (*index, *rows)).collect();
            fullest.sort_by_key(|(index, rows)| (u64::MAX - rows, *index));
            fullest.truncate(PARTITIONS_SHOWN);
            fullest
        };
        let left_out = count as usize - all.len();
        for (index, rows) in all {
            let bar = "█".repeat((rows * BAR_CHARACTERS / most) as usize);
            let share = format!("{:.1} %", 100.0 * rows as f64 / sum as f64);
            shown.add_row([index.to_string(), units::grouped(rows), share, bar]);
        }
        let mut text = table::text(&shown);
        if left_out > 0 {
            text.push_str(&format!("\n\n {} with fewer rows", units::grouped(left_out as u64)));
        }
        if self.sample.unplaced() > 0 {
            let unplaced = units::grouped(self.sample.unplaced());
            text.push_str(&format!("\n\n {unplaced} rows without a key are spread evenly"));
        }
        text
    }

    /// For programs. The keys are documented in docs/command-line.md.
    pub(super) fn json(&self) -> Value {
        let sample = self.sample;
        let columns: Vec<Value> = (self.plan.column_types().iter())
            .map(|(name, kind)| json!({"name": name, "type": kind}))
            .collect();
        let files: Vec<String> =
            self.plan.files.iter().map(|file| file.path.display().to_string()).collect();
        let placed: Vec<Value> = (sample.placed.iter())
            .map(|(partition, rows)| json!({"partition": partition, "rows": rows}))
            .collect();
        let heaviest = sample.heaviest_key();
        json!({
            "status": "dry-run",
            "topic": self.topic,
            "options": self.options,
            "partitions": self.partitions.count,
            "partitions_from": self.partitions.source,
            "files": files,
            "format": self.plan.format_name(),
            "columns": columns,
            "schemas": self.schemas,
            "sampled": {
                "rows": sample.row_count,
                "bytes": sample.read_bytes,
                "is_all": self.is_whole(),
            },
            "rejected": sample.rejected,
            "rejections": sample.rejections,
            "first_records": sample.first_records,
            "rows_by_partition": placed,
            "rows_anywhere": sample.unplaced(),
            "keys": sample.key_count(),
            "heaviest_key": heaviest.map(|(key, rows)| json!({"key": key, "rows": rows})),
            "skew": sample.skew(),
            "estimated": {
                "rows": self.of_all(sample.row_count),
                "bytes": self.of_all(sample.log_bytes()),
                "seconds": self.seconds,
            },
        })
    }
}

fn shortened(value: &str) -> String {
    if value.chars().count() <= VALUE_CHARACTERS {
        return value.to_owned();
    }
    value.chars().take(VALUE_CHARACTERS - 1).chain(['…']).collect()
}
