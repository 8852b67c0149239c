//! What the broker counts, and what it is like: as Prometheus text, and as a word on its health.
//!
//! Counts are relaxed atomics, so that counting costs no lock; what a log, a group or a disk is
//! like is looked up when someone asks. Which families there are says the table.

mod requests;
mod table;

use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use streamledger_broker_core::transaction::TransactionCoordinator;
use streamledger_protocol::{Offset, TopicPartition};

use self::requests::ConnectionCounts;
use self::table::Metric;
use crate::api::disk_bytes;
use crate::node::Node;
use crate::storage::{Partition, StoreCounts};

pub(crate) use self::requests::RequestMeters;

/// The content type of [`BrokerMetrics::to_prometheus`].
pub const PROMETHEUS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Of so many committed offsets the lag is shown.
const LAG_SAMPLES_MAX: usize = 10_000;

/// A running broker's metrics; it goes on when this is dropped, and ends whether this is kept or
/// not.
#[derive(Debug, Clone)]
pub struct BrokerMetrics {
    node: Arc<Node>,
}

impl BrokerMetrics {
    pub(crate) const fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// Why the broker is not well, one sentence each; nothing if it is.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let store = &self.node.store;
        let mut problems = Vec::new();
        if let Some(failure) = store.failure() {
            problems.push(format!("the data directory is offline: {failure}"));
        } else if !store.is_open() {
            problems.push("the broker is stopping".to_owned());
        }
        for (topic_partition, why) in store.offline_partitions() {
            problems.push(format!("{topic_partition} is offline: {why}"));
        }
        problems
    }

    /// All metrics in Prometheus' text format. Looks at every log: for a scrape, not for a loop.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut page = Page::default();
        self.write_requests(&mut page);
        self.write_store(&mut page, self.node.store.counts());
        self.write_partitions(&mut page);
        self.write_groups(&mut page);
        page.text
    }

    /// The families as the broker's part of docs/metrics.md.
    #[must_use]
    pub fn markdown() -> String {
        table::markdown()
    }

    fn write_requests(&self, page: &mut Page) {
        let meters = &self.node.requests;
        let ConnectionCounts { open, opened, refused } = meters.connections();
        page.one(&table::CONNECTIONS, open);
        page.one(&table::CONNECTIONS_OPENED, opened);
        page.one(&table::CONNECTIONS_REFUSED, refused);
        page.family(&table::REQUESTS);
        for (api, count) in meters.counts() {
            page.sample(&table::REQUESTS, &[api], count);
        }
        page.family(&table::REQUEST_ERRORS);
        for (api, error, count) in meters.errors() {
            page.sample(&table::REQUEST_ERRORS, &[api, error], count);
        }
        page.family(&table::REQUEST_SECONDS);
        for (api, durations) in meters.durations() {
            page.histogram(&table::REQUEST_SECONDS, api, &durations);
        }
        let (throttled, ms) = meters.throttles();
        page.one(&table::THROTTLED_REQUESTS, throttled);
        page.one(&table::THROTTLE_SECONDS, ms as f64 / 1e3);
        let ids = self.node.transactions.read(TransactionCoordinator::id_count);
        page.one(&table::TRANSACTIONAL_IDS, ids);
    }

    fn write_store(&self, page: &mut Page, counts: &StoreCounts) {
        let counters = [
            (&table::APPENDED_BYTES, &counts.appended_bytes),
            (&table::APPENDED_BATCHES, &counts.appended_batches),
            (&table::READ_BYTES, &counts.read_bytes),
            (&table::FLUSHES, &counts.flushes),
            (&table::COMPACTIONS, &counts.compactions),
            (&table::COMPACTION_READ_BYTES, &counts.cleaner_read),
            (&table::COMPACTION_WRITTEN_BYTES, &counts.cleaner_written),
            (&table::COMPACTION_SEGMENTS_REPLACED, &counts.segments_replaced),
            (&table::COMPACTION_LOGS_GIVEN_UP, &counts.logs_given_up),
        ];
        for (metric, counter) in counters {
            page.one(metric, counter.load(Ordering::Relaxed));
        }
        page.one(&table::PRODUCERS, self.node.store.producer_count());
        page.family(&table::DISK_BYTES);
        let disk = disk_bytes(self.node.store.directory());
        if let Some((total, _)) = disk {
            page.sample(&table::DISK_BYTES, &[], total);
        }
        page.family(&table::DISK_USABLE_BYTES);
        if let Some((_, usable)) = disk {
            page.sample(&table::DISK_USABLE_BYTES, &[], usable);
        }
        let is_offline = u64::from(self.node.store.failure().is_some());
        page.one(&table::LOG_DIRECTORY_OFFLINE, is_offline);
    }

    fn write_partitions(&self, page: &mut Page) {
        let logs = self.node.store.partitions();
        let topics = self.node.controller.read(|state| state.topics().count());
        page.one(&table::TOPICS, topics);
        page.one(&table::PARTITIONS, logs.len());
        page.one(&table::OFFLINE_PARTITIONS, self.node.store.offline_partitions().len());
        let mut gauge = |metric: &Metric, value: &dyn Fn(&Partition) -> u64| {
            page.family(metric);
            for log in &logs {
                let TopicPartition { topic, partition } = log.topic_partition();
                let labels = [topic.as_str(), &partition.to_string()];
                page.sample(metric, &labels, value(log));
            }
        };
        let number = |offset: Offset| offset.0.unsigned_abs();
        gauge(&table::LOG_START_OFFSET, &|log| number(log.log_start_offset()));
        gauge(&table::LOG_END_OFFSET, &|log| number(log.log_end_offset()));
        gauge(&table::LAST_STABLE_OFFSET, &|log| number(log.last_stable_offset()));
        gauge(&table::LOG_BYTES, &Partition::bytes);
    }

    fn write_groups(&self, page: &mut Page) {
        let (groups, members, stored_count, stored) = self.node.groups.read(|groups| {
            let stored = groups.offsets().stored().take(LAG_SAMPLES_MAX);
            let stored = stored.map(|(group, at, offset)| (group.clone(), at.clone(), offset));
            let stored: Vec<_> = stored.collect();
            (groups.group_count(), groups.member_count(), groups.offsets().stored_count(), stored)
        });
        page.one(&table::GROUPS, groups);
        page.one(&table::GROUP_MEMBERS, members);
        page.family(&table::GROUP_LAG);
        for (group, at, committed) in &stored {
            // Of a partition that is gone or can't be read nobody knows.
            let Some(log) = self.node.store.partition(at) else { continue };
            let lag = (log.log_end_offset().0 - committed.0).max(0);
            let labels = [group.as_str(), at.topic.as_str(), &at.partition.to_string()];
            page.sample(&table::GROUP_LAG, &labels, lag);
        }
        page.one(&table::GROUP_LAG_LEFT_OUT, stored_count - stored.len());
    }
}

/// Prometheus text that is being written. Writing to a String does not fail.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, Metric { name, kind, help, .. }: &Metric) {
        let name = format_args!("{}{name}", table::PREFIX);
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample, with values for the family's labels.
    fn sample(&mut self, metric: &Metric, labels: &[&str], value: impl Display) {
        self.part(metric, "", labels, None, value);
    }

    /// A sample of a family that has parts, as a histogram has.
    fn part(
        &mut self,
        metric: &Metric,
        part: &str,
        labels: &[&str],
        up_to: Option<&str>,
        value: impl Display,
    ) {
        let _ = write!(self.text, "{}{}{part}", table::PREFIX, metric.name);
        let named = metric.labels.iter().copied().zip(labels.iter().copied());
        let mut opening = '{';
        for (name, value) in named.chain(up_to.map(|bound| ("le", bound))) {
            let _ = write!(self.text, "{opening}{name}=\"{}\"", Escaped(value));
            opening = ',';
        }
        let closing = if opening == ',' { "}" } else { "" };
        let _ = writeln!(self.text, "{closing} {value}");
    }

    fn one(&mut self, metric: &Metric, value: impl Display) {
        self.family(metric);
        self.sample(metric, &[], value);
    }

    fn histogram(&mut self, metric: &Metric, label: &str, durations: &requests::Durations) {
        for (bound, count) in &durations.up_to {
            self.part(metric, "_bucket", &[label], Some(&bound.to_string()), count);
        }
        self.part(metric, "_bucket", &[label], Some("+Inf"), durations.count);
        self.part(metric, "_sum", &[label], None, durations.sum_s);
        self.part(metric, "_count", &[label], None, durations.count);
    }
}

/// A label's value as Prometheus wants it: groups may have any letters in their names.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::{Broker, BrokerConfig};

    #[test]
    fn the_page_has_the_families_of_the_table_in_its_order_and_no_other() {
        let broker = Broker::start(BrokerConfig::default()).unwrap();
        let page = broker.metrics().to_prometheus();
        let heads = page.lines().filter(|line| line.starts_with("# "));
        let heads: Vec<_> = heads.map(str::to_owned).collect();
        let expected = table::ALL.iter().flat_map(|metric| {
            let name = format!("{}{}", table::PREFIX, metric.name);
            [format!("# HELP {name} {}", metric.help), format!("# TYPE {name} {}", metric.kind)]
        });
        assert_eq!(heads, expected.collect::<Vec<_>>());
        let names: BTreeSet<_> = table::ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), table::ALL.len());
        for metric in table::ALL {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == "counter", "{metric:?}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.sample(&table::GROUP_LAG, &["a\"b\\c\nd", "t", "0"], 3);
        let expected =
            r#"streamledger_broker_group_lag{group="a\"b\\c\nd",topic="t",partition="0"} 3"#;
        assert_eq!(page.text.trim_end(), expected);
    }

    /// Run with `STREAMLEDGER_WRITE_DOCS=1` to write the broker's part of the page.
    #[test]
    fn the_brokers_part_of_the_page_in_docs_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let (producer, broker) = match page.find("## Broker") {
            Some(at) => page.split_at(at),
            None => (&*page, ""),
        };
        if std::env::var_os("STREAMLEDGER_WRITE_DOCS").is_some() {
            let page = format!("{}\n\n{}", producer.trim_end(), BrokerMetrics::markdown());
            std::fs::write(&path, page).unwrap();
        } else {
            assert!(broker == BrokerMetrics::markdown(), "docs/metrics.md: write it again");
        }
    }
}
