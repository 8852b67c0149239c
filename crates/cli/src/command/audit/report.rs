//! What an audit found, for people and for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::difference::{Difference, FilePlace, TopicPlace};
use crate::ui::table::{self, Lean};
use crate::ui::units;

/// So many rows of each kind are shown.
const SHOWN_MAX: usize = 20;

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

/// The whole of it.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) topic: &'a str,
    pub(super) files: Vec<String>,
    pub(super) file_rows: u64,
    pub(super) rejected: u64,
    pub(super) topic_records: u64,
    pub(super) order: Order,
    pub(super) differences: &'a [Difference],
    /// Whether there is no difference besides those.
    pub(super) is_all_named: bool,
    pub(super) elapsed: Duration,
}

/// How many rows differ in which way.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    missing: u64,
    doubled: u64,
    altered: u64,
    unexpected: u64,
}

impl Report<'_> {
    /// Whether the topic holds the rows, each once, in their order as far as that was compared.
    pub(super) fn is_equal(&self) -> bool {
        self.differences.is_empty() && self.is_all_named && !self.has_other_order()
    }

    fn has_other_order(&self) -> bool {
        matches!(self.order, Order::Changed { .. })
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for difference in self.differences {
            match difference {
                Difference::Missing(_) => counts.missing += 1,
                Difference::Doubled(..) => counts.doubled += 1,
                Difference::Altered(..) => counts.altered += 1,
                Difference::Unexpected(_) => counts.unexpected += 1,
            }
        }
        counts
    }

    fn file(&self, place: &FilePlace) -> String {
        let name = self.files.get(place.file).map_or("", String::as_str);
        format!("{name}:{}", place.line)
    }

    fn record(&self, place: TopicPlace) -> String {
        format!("{}-{} offset {}", self.topic, place.partition, place.offset)
    }

    /// What is shown of a difference: its kind, the row, the record.
    fn told(&self, difference: &Difference) -> (&'static str, Option<String>, Option<String>) {
        match difference {
            Difference::Missing(file) => ("missing", Some(self.file(file)), None),
            Difference::Doubled(file, at) => {
                ("doubled", Some(self.file(file)), Some(self.record(*at)))
            }
            Difference::Altered(file, at) => {
                ("altered", Some(self.file(file)), Some(self.record(*at)))
            }
            Difference::Unexpected(at) => ("in no file", None, Some(self.record(*at))),
        }
    }

    fn result(&self) -> String {
        if self.is_equal() {
            return "equal: every row is there, once".to_owned();
        }
        let Counts { missing, doubled, altered, unexpected } = self.counts();
        let kinds = [
            (missing, "missing"),
            (doubled, "doubled"),
            (altered, "altered"),
            (unexpected, "in no file"),
        ];
        let mut parts: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, kind)| format!("{} {kind}", units::grouped(*count)))
            .collect();
        if !self.is_all_named {
            parts.push("and more, not counted".to_owned());
        }
        if parts.is_empty() {
            parts.push("the same rows in another order".to_owned());
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

    /// For people: the rows that differ, then the sums.
    pub(super) fn text(&self) -> String {
        let columns = [("what", Lean::Left), ("row", Lean::Left), ("record", Lean::Left)];
        let mut rows = table::table(&columns);
        let mut shown = Counts::default();
        for difference in self.differences {
            let count = match difference {
                Difference::Missing(_) => &mut shown.missing,
                Difference::Doubled(..) => &mut shown.doubled,
                Difference::Altered(..) => &mut shown.altered,
                Difference::Unexpected(_) => &mut shown.unexpected,
            };
            *count += 1;
            if *count <= SHOWN_MAX as u64 {
                let (what, row, record) = self.told(difference);
                rows.add_row([
                    what.to_owned(),
                    row.unwrap_or_default(),
                    record.unwrap_or_default(),
                ]);
            }
        }
        let bad = match self.rejected {
            0 => String::new(),
            count => format!(", and {} bad ones", units::grouped(count)),
        };
        let sums = [
            ("files", format!("{} rows{bad}", units::grouped(self.file_rows))),
            ("topic", format!("{} records", units::grouped(self.topic_records))),
            ("order", self.order_in_words()),
            ("result", self.result()),
            ("took", units::duration(self.elapsed)),
        ];
        let sums = table::pairs(sums.map(|(name, value)| (name.to_owned(), value)));
        match rows.is_empty() {
            true => table::text(&sums),
            false => format!("{}\n\n{}", table::text(&rows), table::text(&sums)),
        }
    }

    /// For programs. Its keys are documented in docs/command-line.md.
    pub(super) fn json(&self) -> Value {
        let Counts { missing, doubled, altered, unexpected } = self.counts();
        let order = match &self.order {
            Order::Kept => "kept",
            Order::Changed { .. } => "changed",
            Order::RowsDiffer | Order::OtherPartitioner => "not compared",
        };
        let differences: Vec<Value> = self
            .differences
            .iter()
            .take(SHOWN_MAX)
            .map(|difference| {
                let (what, row, record) = self.told(difference);
                json!({"what": what, "row": row, "record": record})
            })
            .collect();
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
            "missing": missing,
            "doubled": doubled,
            "altered": altered,
            "unexpected": unexpected,
            "all_named": self.is_all_named,
            "order": order,
            "reordered": reordered,
            "differences": differences,
            "seconds": self.elapsed.as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(differences: &[Difference], order: Order) -> Report<'_> {
        Report {
            topic: "t",
            files: vec!["a.csv".to_owned()],
            file_rows: 1000,
            rejected: 2,
            topic_records: 1001,
            order,
            differences,
            is_all_named: true,
            elapsed: Duration::from_millis(1500),
        }
    }

    #[test]
    fn what_differs_is_named_with_its_places() {
        let (file, at) = (FilePlace { file: 0, line: 7 }, TopicPlace { partition: 2, offset: 40 });
        let differences = [
            Difference::Doubled(file.clone(), at),
            Difference::Missing(file),
            Difference::Unexpected(at),
        ];
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
        assert!(!Report { is_all_named: false, ..report(&[], Order::RowsDiffer) }.is_equal());
    }

    #[test]
    fn the_object_for_programs_has_every_documented_key() {
        let document = include_str!("../../../../../docs/command-line.md");
        for key in report(&[], Order::Kept).json().as_object().unwrap().keys() {
            assert!(document.contains(&format!("| `{key}` |")), "{key} isn't documented");
        }
    }
}
