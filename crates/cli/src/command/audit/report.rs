//! What an audit found, for people and for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::difference::{Counts, Difference, FilePlace, Findings, SHOWN_MAX, TopicPlace};
use super::letters::Letters;
use crate::ui::table::{self, Lean};
use crate::ui::units;

/// So many keys whose rows are in another order are shown.
const KEYS_SHOWN_MAX: usize = 5;

/// Whether rows with a key are in the files' order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// They are.
    Kept,
    /// They aren't, or it isn't known of all.
    Changed {
        /// The first row of each key that has its rows in another order.
        keys: Vec<FilePlace>,
        /// Whether all keys were looked at.
        is_whole: bool,
    },
    /// Not compared: the rows aren't the same.
    RowsDiffer,
    /// Not compared: another partitioner placed them.
    OtherPartitioner,
}

/// What is known of the bad rows.
#[derive(Debug)]
pub(super) enum BadRows<'a> {
    /// Whether each is among the dead letters.
    Compared(Letters<'a>),
    /// How many there are.
    Counted {
        /// The topic that may hold their dead letters, if it is there.
        letters_by_default: Option<String>,
    },
}

/// The whole of it.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) topic: &'a str,
    pub(super) files: Vec<String>,
    pub(super) file_rows: u64,
    pub(super) rejected: u64,
    pub(super) bad_rows: BadRows<'a>,
    pub(super) topic_records: u64,
    /// Records with headers, which weren't compared.
    pub(super) headers_ignored: u64,
    pub(super) order: Order,
    pub(super) findings: Findings,
    pub(super) elapsed: Duration,
}

impl Report<'_> {
    /// Whether the topic holds the rows, each once, in their order as far as that was compared.
    pub(super) fn is_equal(&self) -> bool {
        let letters = self.letters();
        self.findings.is_nothing()
            && !self.has_other_order()
            && letters.is_none_or(|letters| letters.findings.is_nothing())
    }

    fn letters(&self) -> Option<&Letters<'_>> {
        match &self.bad_rows {
            BadRows::Compared(letters) => Some(letters),
            BadRows::Counted { .. } => None,
        }
    }

    fn has_other_order(&self) -> bool {
        matches!(self.order, Order::Changed { .. })
    }

    fn file(&self, place: &FilePlace) -> String {
        let name = self.files.get(place.file).map_or("", String::as_str);
        format!("{name}:{}", place.line)
    }

    /// What is shown of a difference: its kind, the row, the record of a topic.
    fn told(
        &self,
        topic: &str,
        difference: Difference,
    ) -> (&'static str, Option<String>, Option<String>) {
        let record = |at: TopicPlace| format!("{topic}-{} offset {}", at.partition, at.offset);
        match difference {
            Difference::Missing(row) => ("missing", Some(self.file(&row)), None),
            Difference::Doubled(row, at) => ("doubled", Some(self.file(&row)), Some(record(at))),
            Difference::Altered(row, at) => ("altered", Some(self.file(&row)), Some(record(at))),
            Difference::Unexpected(at) => (IN_NO_FILE, None, Some(record(at))),
        }
    }

    fn told_for_programs(&self, topic: &str, findings: &Findings) -> Vec<Value> {
        let told = findings.first().take(SHOWN_MAX).map(|difference| {
            let (what, row, record) = self.told(topic, difference);
            json!({"what": what, "row": row, "record": record})
        });
        told.collect()
    }

    fn result(&self) -> String {
        if self.is_equal() {
            return match (self.rejected, self.letters()) {
                (1.., Some(_)) => {
                    "equal: every row is there, once, and every bad one among the dead letters"
                }
                _ => "equal: every row is there, once",
            }
            .to_owned();
        }
        let mut parts = in_words(&self.findings, IN_NO_FILE);
        if parts.is_empty() && self.has_other_order() {
            parts.push("the same rows in another order".to_owned());
        }
        if let Some(letters) = self.letters().filter(|of| !of.findings.is_nothing()) {
            let words = in_words(&letters.findings, OF_NO_BAD_ROW);
            parts.push(format!("of the dead letters {}", words.join(", ")));
        }
        format!("different: {}", parts.join(", "))
    }

    fn order_in_words(&self) -> String {
        match &self.order {
            Order::Kept => "kept for every key".to_owned(),
            Order::Changed { keys, is_whole } => {
                let shown: Vec<String> =
                    keys.iter().take(KEYS_SHOWN_MAX).map(|place| self.file(place)).collect();
                let count = units::counted(keys.len() as u64, "key");
                match (keys.is_empty(), is_whole) {
                    (true, _) => "not known of all keys: there are too many".to_owned(),
                    (false, true) => format!("not the files' for {count}: of {}", shown.join(", ")),
                    (false, false) => {
                        format!("not the files' for {count}, and more: of {}", shown.join(", "))
                    }
                }
            }
            Order::RowsDiffer => "not compared, as the rows differ".to_owned(),
            Order::OtherPartitioner => {
                "not compared, as the default partitioner didn't place the records".to_owned()
            }
        }
    }

    fn letters_in_words(&self) -> Option<String> {
        match &self.bad_rows {
            BadRows::Compared(letters) => {
                let others = match letters.of_others {
                    0 => String::new(),
                    count => format!(", and {} of others", units::grouped(count)),
                };
                Some(format!("{} in {}{others}", units::grouped(letters.count), letters.topic))
            }
            BadRows::Counted { letters_by_default: Some(topic) } => {
                Some(format!("not compared: --dead-letter-topic {topic} does that"))
            }
            BadRows::Counted { letters_by_default: None } => None,
        }
    }

    /// For people: the rows that differ, then the sums.
    pub(super) fn text(&self) -> String {
        let columns = [("what", Lean::Left), ("row", Lean::Left), ("record", Lean::Left)];
        let mut rows = table::table(&columns);
        for difference in self.findings.first() {
            let (what, row, record) = self.told(self.topic, difference);
            rows.add_row([what.to_owned(), row.unwrap_or_default(), record.unwrap_or_default()]);
        }
        if let Some(letters) = self.letters() {
            for difference in letters.findings.first() {
                let (what, row, record) = self.told(letters.topic, difference);
                let what = if what == IN_NO_FILE { OF_NO_BAD_ROW } else { what };
                let (row, record) = (row.unwrap_or_default(), record.unwrap_or_default());
                rows.add_row([format!("dead letter {what}"), row, record]);
            }
        }
        let bad = match self.rejected {
            0 => String::new(),
            count => format!(", and {} bad ones", units::grouped(count)),
        };
        let mut sums = vec![
            ("files", format!("{} rows{bad}", units::grouped(self.file_rows))),
            ("topic", format!("{} records", units::grouped(self.topic_records))),
            ("order", self.order_in_words()),
        ];
        if self.headers_ignored > 0 {
            let count = units::counted(self.headers_ignored, "record");
            sums.push(("headers", format!("not compared, and {count} have some: see --header")));
        }
        sums.extend(self.letters_in_words().map(|words| ("dead letters", words)));
        sums.push(("result", self.result()));
        sums.push(("took", units::duration(self.elapsed)));
        let sums = table::pairs(sums.into_iter().map(|(name, value)| (name.to_owned(), value)));
        match rows.is_empty() {
            true => table::text(&sums),
            false => format!("{}\n\n{}", table::text(&rows), table::text(&sums)),
        }
    }

    /// For programs. Its keys are documented in docs/command-line.md.
    pub(super) fn json(&self) -> Value {
        let Counts { missing, doubled, altered, unexpected } = self.findings.counts;
        let order = match &self.order {
            Order::Kept => "kept",
            Order::Changed { .. } => "changed",
            Order::RowsDiffer | Order::OtherPartitioner => "not compared",
        };
        let dead_letters = self.letters().map(|letters| {
            let Counts { missing, doubled, altered, unexpected } = letters.findings.counts;
            json!({
                "topic": letters.topic,
                "records": letters.count,
                "of_others": letters.of_others,
                "missing": missing,
                "doubled": doubled,
                "altered": altered,
                "unexpected": unexpected,
                "all_named": !letters.findings.has_more,
                "differences": self.told_for_programs(letters.topic, &letters.findings),
            })
        });
        let reordered: Vec<String> = match &self.order {
            Order::Changed { keys, .. } => {
                keys.iter().take(SHOWN_MAX).map(|place| self.file(place)).collect()
            }
            _ => Vec::new(),
        };
        json!({
            "equal": self.is_equal(),
            "topic": self.topic,
            "files": self.files,
            "file_rows": self.file_rows,
            "rejected": self.rejected,
            "topic_records": self.topic_records,
            "headers_ignored": self.headers_ignored,
            "missing": missing,
            "doubled": doubled,
            "altered": altered,
            "unexpected": unexpected,
            "all_named": !self.findings.has_more,
            "order": order,
            "reordered": reordered,
            "differences": self.told_for_programs(self.topic, &self.findings),
            "dead_letters": dead_letters,
            "seconds": self.elapsed.as_secs_f64(),
        })
    }
}

/// What a record is called that is no row of the files, and such a dead letter.
const IN_NO_FILE: &str = "in no file";
const OF_NO_BAD_ROW: &str = "of no bad row";

/// How much differs, by kind; what is unexpected has a name.
fn in_words(findings: &Findings, unexpected_name: &'static str) -> Vec<String> {
    let Counts { missing, doubled, altered, unexpected } = findings.counts;
    let kinds = [
        (missing, "missing"),
        (doubled, "doubled"),
        (altered, "altered"),
        (unexpected, unexpected_name),
    ];
    let counted = kinds.iter().filter(|(count, _)| *count > 0);
    let mut parts: Vec<String> =
        counted.map(|(count, kind)| format!("{} {kind}", units::grouped(*count))).collect();
    if findings.has_more {
        parts.push("and more, not counted".to_owned());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(differences: &[Difference], order: Order) -> Report<'static> {
        let mut findings = Findings::default();
        differences.iter().for_each(|difference| findings.add(*difference, 1));
        Report {
            topic: "t",
            files: vec!["a.csv".to_owned()],
            file_rows: 1000,
            rejected: 2,
            bad_rows: BadRows::Counted { letters_by_default: None },
            topic_records: 1001,
            headers_ignored: 0,
            order,
            findings,
            elapsed: Duration::from_millis(1500),
        }
    }

    #[test]
    fn what_differs_is_named_with_its_places() {
        let (file, at) = (FilePlace { file: 0, line: 7 }, TopicPlace { partition: 2, offset: 40 });
        let differences =
            [Difference::Doubled(file, at), Difference::Missing(file), Difference::Unexpected(at)];
        let report = report(&differences, Order::RowsDiffer);
        let text = report.text();
        for part in [
            "1,000 rows, and 2 bad ones",
            "different: 1 missing, 1 doubled, 1 in no file",
            "a.csv:7",
            "t-2 offset 40",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let json = report.json();
        assert_eq!((&json["equal"], &json["doubled"]), (&false.into(), &1.into()));
        assert_eq!(json["differences"][2]["record"], "t-2 offset 40");
    }

    #[test]
    fn dead_letters_that_differ_are_a_difference_of_their_own() {
        let (file, at) = (FilePlace { file: 0, line: 7 }, TopicPlace { partition: 0, offset: 4 });
        let compared = |differences: &[Difference]| {
            let findings = report(differences, Order::Kept).findings;
            let letters = Letters { topic: "bad", count: 2, of_others: 5, findings };
            Report { bad_rows: BadRows::Compared(letters), ..report(&[], Order::Kept) }
        };
        let equal = compared(&[]);
        assert!(equal.is_equal() && equal.text().contains("every bad one among the dead letters"));
        assert!(equal.text().contains("2 in bad, and 5 of others"), "{}", equal.text());
        let different = compared(&[Difference::Missing(file), Difference::Unexpected(at)]);
        assert!(!different.is_equal());
        for part in [
            "different: of the dead letters 1 missing, 1 of no bad row",
            "dead letter missing",
            "bad-0 offset 4",
        ] {
            assert!(different.text().contains(part), "{part}\n{}", different.text());
        }
        let letters = &different.json()["dead_letters"];
        assert_eq!((&letters["missing"], &letters["of_others"]), (&1.into(), &5.into()));
        let letters_by_default = Some("t.dead-letters".to_owned());
        let bad_rows = BadRows::Counted { letters_by_default };
        let counted = Report { bad_rows, ..report(&[], Order::Kept) };
        assert!(counted.text().contains("not compared: --dead-letter-topic t.dead-letters"));
        assert_eq!(counted.json()["dead_letters"], Value::Null);
    }

    #[test]
    fn another_order_alone_is_a_difference() {
        assert!(report(&[], Order::Kept).is_equal());
        assert!(report(&[], Order::OtherPartitioner).is_equal());
        let keys = vec![FilePlace { file: 0, line: 4 }];
        let changed = report(&[], Order::Changed { keys: keys.clone(), is_whole: true });
        assert!(!changed.is_equal());
        assert!(changed.text().contains("not the files' for 1 key: of a.csv:4"));
        assert_eq!(changed.json()["reordered"], json!(["a.csv:4"]));
        let changed = report(&[], Order::Changed { keys, is_whole: false });
        assert!(changed.text().contains("not the files' for 1 key, and more: of a.csv:4"));
        let unknown = report(&[], Order::Changed { keys: vec![], is_whole: false });
        assert!(!unknown.is_equal(), "what isn't known isn't equal");
        let mut more = report(&[], Order::RowsDiffer);
        more.findings.has_more = true;
        assert!(!more.is_equal());
    }

    #[test]
    fn the_object_for_programs_has_every_documented_key() {
        let document = include_str!("../../../../../docs/command-line.md");
        let findings = Findings::default();
        let letters = Letters { topic: "bad", count: 0, of_others: 0, findings };
        let report = Report { bad_rows: BadRows::Compared(letters), ..report(&[], Order::Kept) };
        let json = report.json();
        let of_letters = json["dead_letters"].as_object().unwrap().keys();
        for key in json.as_object().unwrap().keys().chain(of_letters) {
            assert!(document.contains(&format!("| `{key}` |")), "{key} isn't documented");
        }
    }
}
