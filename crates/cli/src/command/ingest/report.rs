//! What `ingest` says: the settings before, the last records and the summary after, and the same as
//! one object of JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::Table;
use serde::Serialize;

use super::guarantee::Guarantee;
use super::pace::Replayed;
use super::prepare::FeedFile;
use super::transactions::Committed;
use crate::failure::{Failure, FailureReport};
use crate::latency::Percentiles;
use crate::ledger::{Account, LastRecord};
use crate::time::format_timestamp;
use crate::ui::table::{self, Lean};
use crate::ui::units;

/// A row that was left out, or that ended the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// The file.
    pub file: String,
    /// The line on which the row starts, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All rows, or as many as `--limit`, were read.
    Done,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// A bad row, a failed record, or an error on the way.
    Failed,
}

/// Where a run began in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileReport {
    file: String,
    /// `new`, `resumed` or `done`.
    was: &'static str,
    rows_before: u64,
    first_byte: u64,
}

impl FileReport {
    /// What is to be told of a file before its rows are sent.
    pub(super) fn of(file: &FeedFile<'_>) -> FileReport {
        let (was, rows_before, first_byte) = match &file.kept {
            Some(kept) if kept.is_done => ("done", kept.rows_before, kept.progress.bytes),
            Some(kept) if file.goes_on() => ("resumed", kept.rows_before, kept.progress.bytes),
            _ => ("new", 0, 0),
        };
        FileReport { file: file.file.path.display().to_string(), was, rows_before, first_byte }
    }
}

/// A setting in force: its name, its value, where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Kafka's name, or a word for what isn't Kafka's.
    pub name: String,
    /// Its value.
    pub value: String,
    /// `flag`, `file`, `default`, or who else decided.
    pub source: String,
}

impl Setting {
    /// A setting from its three texts.
    pub fn new(name: &str, value: impl Into<String>, source: &str) -> Setting {
        Setting { name: name.to_owned(), value: value.into(), source: source.to_owned() }
    }
}

/// All that a run has to tell at its end.
#[derive(Debug)]
pub struct Summary<'a> {
    /// How it ended.
    pub status: Status,
    /// The topic.
    pub topic: &'a str,
    /// Where the broker is, in words.
    pub place: &'a str,
    /// How often each row may be there.
    pub guarantee: Guarantee,
    /// The name under which progress is kept, where it is.
    pub job: Option<&'a str>,
    /// What was committed, where rows are sent in transactions.
    pub committed: Committed,
    /// What was known of each file before.
    pub files: &'a [FileReport],
    /// How a replay went.
    pub replayed: Option<Replayed>,
    /// Rows that were handed to the producer.
    pub sent: u64,
    /// Rows that were left out.
    pub rejected: u64,
    /// The first of them.
    pub rejections: &'a [Rejection],
    /// Bytes of the files that were read.
    pub input_bytes: u64,
    /// From the first row to the last acknowledgement.
    pub elapsed: Duration,
    /// What became of the records.
    pub account: &'a Account,
    /// Why it failed.
    pub failure: Option<&'a Failure>,
    /// The settings in force.
    pub settings: &'a [Setting],
}

/// The table of settings that a run starts with.
pub fn settings_table(settings: &[Setting]) -> Table {
    let mut table =
        table::table(&[("setting", Lean::Left), ("value", Lean::Left), ("from", Lean::Left)]);
    for setting in settings {
        table.add_row([&setting.name, &setting.value, &setting.source]);
    }
    table
}

/// The table of the last record of each partition: Kafka's RecordMetadata.
pub fn last_records_table(records: &[LastRecord]) -> Table {
    let mut table = table::table(&[
        ("Partition", Lean::Right),
        ("Offset", Lean::Right),
        ("Timestamp", Lean::Left),
        ("Serialized\nKeySize", Lean::Right),
        ("Serialized\nValueSize", Lean::Right),
    ]);
    let number = |size: Option<usize>| size.map_or_else(|| "null".to_owned(), |n| n.to_string());
    for record in records {
        table.add_row([
            record.partition.to_string(),
            record.offset.map_or_else(|| "unknown".to_owned(), |offset| offset.to_string()),
            format_timestamp(record.timestamp),
            number(record.serialized_key_size),
            number(record.serialized_value_size),
        ]);
    }
    table
}

impl Summary<'_> {
    /// All of it for people: the last records, then the summary.
    pub fn text(&self) -> String {
        let summary = table::text(&self.table());
        if self.account.partitions.is_empty() {
            return summary;
        }
        let last_records = table::text(&last_records_table(&self.account.partitions));
        format!(
            " Topic {}, the last record of each partition\n\n{last_records}\n\n{summary}",
            self.topic
        )
    }

    /// The summary for people.
    pub fn table(&self) -> Table {
        let totals = &self.account.totals;
        let mut rows = vec![
            ("rows", self.rows_in_words()),
            ("rejected", units::grouped(self.rejected)),
            (
                "read",
                format!(
                    "{}, {}",
                    units::bytes(self.input_bytes),
                    units::bytes_per_second(self.input_bytes, self.elapsed)
                ),
            ),
        ];
        if totals.batches > 0 {
            rows.push((
                "batches",
                format!(
                    "{} of {} on average, {}",
                    units::grouped(totals.batches),
                    units::bytes(totals.mean_batch_bytes()),
                    compression_in_words(totals.compression_ratio())
                ),
            ));
            let Percentiles { p50, p99, .. } = self.account.ack_latency;
            let shown = |us| units::duration(Duration::from_micros(us));
            rows.push(("ack latency", format!("p50 {}, p99 {}", shown(p50), shown(p99))));
        }
        if let Some(replayed) = &self.replayed {
            rows.push(("replay", replay_in_words(replayed)));
        }
        if self.guarantee.is_exactly_once() {
            self.push_transactions(&mut rows);
        } else {
            self.push_unsettled(&mut rows);
        }
        rows.push(("guarantee", self.guarantee.words().to_owned()));
        table::pairs(rows.into_iter().map(|(name, value)| (name.to_owned(), value)))
    }

    /// What became of rows that were sent in transactions.
    fn push_transactions(&self, rows: &mut Vec<(&str, String)>) {
        let Committed { transactions, rows: committed } = self.committed;
        rows.push(("transactions", units::grouped(transactions)));
        let taken_back = self.sent - committed;
        if taken_back > 0 {
            let rest = format!("{} rows after the last commit", units::grouped(taken_back));
            rows.push(("taken back", rest));
        }
        if self.status == Status::Interrupted {
            let rest = "the rows above are in the topic; the same command goes on after them";
            rows.push(("interrupted", rest.to_owned()));
        }
    }

    /// What became of rows that were sent without.
    fn push_unsettled(&self, rows: &mut Vec<(&str, String)>) {
        let totals = &self.account.totals;
        let unsettled = self.sent - totals.acked - totals.failed;
        if totals.failed > 0 {
            rows.push(("failed", units::grouped(totals.failed)));
        }
        if unsettled > 0 {
            rows.push(("unknown", format!("{} sent, not answered", units::grouped(unsettled))));
        }
        if self.status == Status::Interrupted {
            let rest = match totals.failed + unsettled {
                0 => "the rows above are in the topic, the rest isn't",
                _ => "the rows above are in the topic; those not answered may be, the rest isn't",
            };
            rows.push(("interrupted", rest.to_owned()));
        }
    }

    /// Rows that are in the topic by this run.
    fn row_count(&self) -> u64 {
        if self.guarantee.is_exactly_once() {
            self.committed.rows
        } else {
            self.account.totals.acked
        }
    }

    fn rows_in_words(&self) -> String {
        format!(
            "{} in {}, {}",
            units::grouped(self.row_count()),
            units::duration(self.elapsed),
            units::per_second(self.row_count(), self.elapsed)
        )
    }

    /// The summary for programs. Its keys are documented in docs/command-line.md.
    pub fn json(&self) -> String {
        // Maps with text keys and numbers can't fail to serialize.
        serde_json::to_string(&self.for_programs()).unwrap_or_default()
    }

    /// The same as the last of the events.
    pub fn event(&self) -> String {
        let event = SummaryEvent { event: "summary", report: self.for_programs() };
        serde_json::to_string(&event).unwrap_or_default()
    }

    fn for_programs(&self) -> JsonReport<'_> {
        let totals = &self.account.totals;
        JsonReport {
            status: self.status,
            topic: self.topic,
            broker: self.place,
            guarantee: self.guarantee.name(),
            job: self.job,
            files: self.files,
            replay: self.replayed,
            transactions: self.committed.transactions,
            rows: self.row_count(),
            sent: self.sent,
            failed: totals.failed,
            rejected: self.rejected,
            rejections: self.rejections,
            input_bytes: self.input_bytes,
            seconds: self.elapsed.as_secs_f64(),
            rows_per_second: self.row_count() as f64 / self.elapsed.as_secs_f64().max(1e-9),
            batches: totals.batches,
            mean_batch_bytes: totals.mean_batch_bytes(),
            compression_ratio: totals.compression_ratio(),
            ack_latency_us: self.account.ack_latency,
            last_records: &self.account.partitions,
            settings: self.settings.iter().map(|s| (s.name.as_str(), s.value.as_str())).collect(),
            error: self.failure.map(Failure::report),
        }
    }
}

fn replay_in_words(replayed: &Replayed) -> String {
    let Replayed { times, first_ms, last_ms, late_ms, late_ms_max } = *replayed;
    let shown = |ms| units::duration(Duration::from_millis(ms));
    format!(
        "{times}x, {} to {}; {} late at the end, {} at most",
        format_timestamp(first_ms),
        format_timestamp(last_ms),
        shown(late_ms),
        shown(late_ms_max)
    )
}

fn compression_in_words(ratio: f64) -> String {
    if (ratio - 1.0).abs() < 0.005 {
        return "not compressed".to_owned();
    }
    format!("compressed {ratio:.2} times")
}

#[derive(Serialize)]
struct SummaryEvent<'a> {
    event: &'static str,
    #[serde(flatten)]
    report: JsonReport<'a>,
}

#[derive(Serialize)]
struct JsonReport<'a> {
    status: Status,
    topic: &'a str,
    broker: &'a str,
    guarantee: &'static str,
    job: Option<&'a str>,
    files: &'a [FileReport],
    replay: Option<Replayed>,
    transactions: u64,
    rows: u64,
    sent: u64,
    failed: u64,
    rejected: u64,
    rejections: &'a [Rejection],
    input_bytes: u64,
    seconds: f64,
    rows_per_second: f64,
    batches: u64,
    mean_batch_bytes: u64,
    compression_ratio: f64,
    ack_latency_us: Percentiles,
    last_records: &'a [LastRecord],
    settings: BTreeMap<&'a str, &'a str>,
    error: Option<FailureReport<'a>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::ledger::{BatchDone, Ledger};

    fn account() -> Account {
        let ledger = Ledger::default();
        ledger.enter(BatchDone {
            last: Some(LastRecord {
                partition: 3,
                offset: Some(999),
                timestamp: 1_569_888_000_000,
                serialized_key_size: Some(9),
                serialized_value_size: None,
            }),
            record_count: 1000,
            batch_bytes: 50_000,
            uncompressed_bytes: 100_000,
            age: Duration::from_millis(12),
            failure: None,
        });
        ledger.account()
    }

    fn summary<'a>(account: &'a Account, failure: Option<&'a Failure>) -> Summary<'a> {
        Summary {
            status: if failure.is_some() { Status::Failed } else { Status::Done },
            topic: "t",
            place: "embedded, in d",
            guarantee: Guarantee::AtLeastOnce,
            job: None,
            committed: Committed::default(),
            files: &[],
            replayed: None,
            sent: 1010,
            rejected: 2,
            rejections: &[],
            input_bytes: 132_000,
            elapsed: Duration::from_secs(2),
            account,
            failure,
            settings: &[],
        }
    }

    #[test]
    fn the_summary_says_what_is_known_and_what_isnt() {
        let account = account();
        let shown = table::text(&summary(&account, None).table());
        for expected in [
            "1,000 in 2.00 s, 500/s",
            "1 of 50.0 kB on average, compressed 2.00 times",
            "p50 12.0 ms, p99 12.0 ms",
            "132 kB, 66.0 kB/s",
            "10 sent, not answered",
        ] {
            assert!(shown.contains(expected), "{expected}\n{shown}");
        }
    }

    #[test]
    fn the_object_for_programs_has_every_documented_key() {
        let document = include_str!("../../../../../docs/command-line.md");
        let account = account();
        let failure = Failure::new(Exit::BadInput, "bad row at a.csv:2");
        let json = summary(&account, Some(&failure)).json();
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        for key in object.as_object().unwrap().keys() {
            assert!(document.contains(&format!("| `{key}` |")), "{key} isn't documented");
        }
        assert_eq!(object["rows"], 1000);
        assert_eq!(object["error"]["exit_code"], 3);
        assert_eq!(object["last_records"][0]["serialized_value_size"], serde_json::Value::Null);
    }

    #[test]
    fn the_last_records_fit_eighty_columns() {
        let mut table = last_records_table(&account().partitions);
        table.set_width(80);
        let text = table::text(&table);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("2019-10-01T00:00:00.000Z"), "{text}");
    }
}
