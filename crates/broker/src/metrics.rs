//! What the broker counts, and what it is like: as Prometheus text, and as a word on its health.
//!
//! Counts are relaxed atomics, so that counting costs no lock; what a log or a disk is like is
//! looked up when someone asks.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use streamledger_protocol::TopicPartition;

use crate::api::{SERVED, disk_bytes};
use crate::node::Node;
use crate::storage::StoreCounts;

/// The content type of [`BrokerMetrics::to_prometheus`].
pub const PROMETHEUS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Requests by API, in the order of the list of served APIs.
#[derive(Debug)]
pub(crate) struct RequestCounts {
    by_api: Vec<AtomicU64>,
}

impl RequestCounts {
    pub(crate) fn new() -> Self {
        Self { by_api: SERVED.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    /// Counts a request of the API in that place of the list.
    pub(crate) fn count(&self, place: usize) {
        if let Some(count) = self.by_api.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

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
        page.text
    }

    fn write_requests(&self, page: &mut Page) {
        page.family("requests_total", "counter", "Requests, by API.");
        for (served, count) in SERVED.iter().zip(&self.node.requests.by_api) {
            let labels = format!("api=\"{}\"", served.key.name());
            page.sample("requests_total", &labels, count.load(Ordering::Relaxed));
        }
        let ids = self
            .node
            .transactions
            .read(streamledger_broker_core::transaction::TransactionCoordinator::id_count);
        page.one("transactional_ids", "gauge", "Transactional ids that are known.", ids as u64);
    }

    fn write_store(&self, page: &mut Page, counts: &StoreCounts) {
        let counters = [
            ("appended_bytes_total", "Bytes of record batches appended.", &counts.appended_bytes),
            ("appended_batches_total", "Record batches appended.", &counts.appended_batches),
            ("read_bytes_total", "Bytes of record batches read.", &counts.read_bytes),
            ("flushes_total", "Flushes of logs.", &counts.flushes),
            ("compactions_total", "Compactions that came to their end.", &counts.compactions),
            ("compaction_read_bytes_total", "Bytes that compaction read.", &counts.cleaner_read),
            (
                "compaction_written_bytes_total",
                "Bytes that compaction wrote.",
                &counts.cleaner_written,
            ),
            (
                "compaction_segments_replaced_total",
                "Segments that compaction replaced.",
                &counts.segments_replaced,
            ),
            (
                "compaction_logs_given_up_total",
                "Logs that can't be compacted, for they are damaged.",
                &counts.logs_given_up,
            ),
        ];
        for (name, help, counter) in counters {
            page.one(name, "counter", help, counter.load(Ordering::Relaxed));
        }
        let help = "Producers that partitions in use remember, once for each partition.";
        page.one("producers", "gauge", help, self.node.store.producer_count() as u64);
        if let Some((total, usable)) = disk_bytes(self.node.store.directory()) {
            let bytes = |bytes: i64| bytes.unsigned_abs();
            page.one("disk_bytes", "gauge", "Bytes of the log directory's disk.", bytes(total));
            let help = "Bytes of it that may still be written.";
            page.one("disk_usable_bytes", "gauge", help, bytes(usable));
        }
        let is_offline = u64::from(self.node.store.failure().is_some());
        let help = "1 if the log directory is offline.";
        page.one("log_directory_offline", "gauge", help, is_offline);
    }

    fn write_partitions(&self, page: &mut Page) {
        let logs = self.node.store.partitions();
        let offline = self.node.store.offline_partitions().len();
        let topics = self.node.controller.read(|state| state.topics().count());
        page.one("topics", "gauge", "Topics.", topics as u64);
        page.one("partitions", "gauge", "Partitions.", logs.len() as u64);
        page.one("offline_partitions", "gauge", "Partitions that are offline.", offline as u64);
        let label = |of: &TopicPartition| {
            format!("topic=\"{}\",partition=\"{}\"", of.topic.as_str(), of.partition)
        };
        let mut gauge = |name: &str, help: &str, value: &dyn Fn(usize) -> u64| {
            page.family(name, "gauge", help);
            for (place, log) in logs.iter().enumerate() {
                page.sample(name, &label(log.topic_partition()), value(place));
            }
        };
        let offset = |offset: streamledger_protocol::Offset| offset.0.unsigned_abs();
        gauge("log_start_offset", "Where the log begins.", &|n| {
            logs.get(n).map_or(0, |log| offset(log.log_start_offset()))
        });
        gauge("log_end_offset", "Where the log ends.", &|n| {
            logs.get(n).map_or(0, |log| offset(log.log_end_offset()))
        });
        gauge("last_stable_offset", "How far read-committed consumers see.", &|n| {
            logs.get(n).map_or(0, |log| offset(log.last_stable_offset()))
        });
        gauge("log_bytes", "Bytes of the log.", &|n| logs.get(n).map_or(0, |log| log.bytes()));
    }
}

/// Prometheus text that is being written. Writing to a String does not fail.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP streamledger_broker_{name} {help}");
        let _ = writeln!(self.text, "# TYPE streamledger_broker_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.text, "streamledger_broker_{name}{{{labels}}} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        let _ = writeln!(self.text, "streamledger_broker_{name} {value}");
    }
}
