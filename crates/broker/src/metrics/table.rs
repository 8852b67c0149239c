//! The one table of what the broker shows: the page of a scrape and docs/metrics.md are written
//! from it.

use std::fmt::Write as _;

use super::requests::BOUNDS_S;

/// What all names begin with in Prometheus.
pub(super) const PREFIX: &str = "streamledger_broker_";

/// One family of samples.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Metric {
    /// Its name, without [`PREFIX`].
    pub(super) name: &'static str,
    /// Prometheus' type.
    pub(super) kind: &'static str,
    /// The unit of its samples.
    unit: &'static str,
    /// The names of its labels.
    pub(super) labels: &'static [&'static str],
    /// What it says.
    pub(super) help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $kind:literal $name:literal $([$($label:literal),*])? in $unit:literal:
        $help:literal;)*) => {
        $(
            pub(super) const $constant: Metric = Metric {
                name: $name,
                kind: $kind,
                unit: $unit,
                labels: &[$($($label),*)?],
                help: $help,
            };
        )*

        /// All of them, as they come on the page.
        pub(super) const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    CONNECTIONS = "gauge" "connections" in "connections": "Connections that are open.";
    CONNECTIONS_OPENED = "counter" "connections_opened_total" in "connections":
        "Connections that were let in.";
    CONNECTIONS_REFUSED = "counter" "connections_refused_total" in "connections":
        "Connections that were not: too many, of all, of an address, or too fast.";
    REQUESTS = "counter" "requests_total" ["api"] in "requests": "Requests, by API.";
    REQUEST_ERRORS = "counter" "request_errors_total" ["api", "error"] in "errors":
        "Errors in answers, by API and Kafka's name of the error: one for each topic or partition.";
    REQUEST_SECONDS = "histogram" "request_seconds" ["api"] in "seconds":
        "Time from a request's being read to its answer; waits (Fetch, JoinGroup) included.";
    THROTTLED_REQUESTS = "counter" "throttled_requests_total" in "requests":
        "Answers that told a client to wait, for its quota.";
    THROTTLE_SECONDS = "counter" "throttle_seconds_total" in "seconds":
        "How long they told clients to wait.";
    TRANSACTIONAL_IDS = "gauge" "transactional_ids" in "ids":
        "Transactional ids that are known.";
    APPENDED_BYTES = "counter" "appended_bytes_total" in "bytes":
        "Bytes of record batches appended.";
    APPENDED_BATCHES = "counter" "appended_batches_total" in "batches": "Record batches appended.";
    READ_BYTES = "counter" "read_bytes_total" in "bytes": "Bytes of record batches read.";
    FLUSHES = "counter" "flushes_total" in "flushes": "Flushes of logs.";
    COMPACTIONS = "counter" "compactions_total" in "compactions":
        "Compactions that came to their end.";
    COMPACTION_READ_BYTES = "counter" "compaction_read_bytes_total" in "bytes":
        "Bytes that compaction read.";
    COMPACTION_WRITTEN_BYTES = "counter" "compaction_written_bytes_total" in "bytes":
        "Bytes that compaction wrote.";
    COMPACTION_SEGMENTS_REPLACED = "counter" "compaction_segments_replaced_total" in "segments":
        "Segments that compaction replaced.";
    COMPACTION_LOGS_GIVEN_UP = "counter" "compaction_logs_given_up_total" in "logs":
        "Logs that can't be compacted, for they are damaged.";
    PRODUCERS = "gauge" "producers" in "producers":
        "Producers that partitions in use remember, once for each partition.";
    DISK_BYTES = "gauge" "disk_bytes" in "bytes": "Bytes of the log directory's disk.";
    DISK_USABLE_BYTES = "gauge" "disk_usable_bytes" in "bytes":
        "Bytes of it that may still be written.";
    LOG_DIRECTORY_OFFLINE = "gauge" "log_directory_offline" in "1 or 0":
        "1 if the log directory is offline.";
    TOPICS = "gauge" "topics" in "topics": "Topics.";
    PARTITIONS = "gauge" "partitions" in "partitions": "Partitions.";
    OFFLINE_PARTITIONS = "gauge" "offline_partitions" in "partitions":
        "Partitions that are offline.";
    LOG_START_OFFSET = "gauge" "log_start_offset" ["topic", "partition"] in "offset":
        "Where the log begins.";
    LOG_END_OFFSET = "gauge" "log_end_offset" ["topic", "partition"] in "offset":
        "Where the log ends.";
    LAST_STABLE_OFFSET = "gauge" "last_stable_offset" ["topic", "partition"] in "offset":
        "How far read-committed consumers see.";
    LOG_BYTES = "gauge" "log_bytes" ["topic", "partition"] in "bytes": "Bytes of the log.";
    GROUPS = "gauge" "groups" in "groups": "Groups that have members, or had.";
    GROUP_MEMBERS = "gauge" "group_members" in "members": "Members of all groups.";
    GROUP_LAG = "gauge" "group_lag" ["group", "topic", "partition"] in "offsets":
        "From what a group has committed to where the log ends, of the first 10,000 there are.";
    GROUP_LAG_LEFT_OUT = "gauge" "group_lag_left_out" in "samples":
        "Committed offsets beyond those, whose lag is left out.";
}

/// The families as a table of docs/metrics.md.
pub(super) fn markdown() -> String {
    let mut page = String::from(HEAD);
    for Metric { name, kind, unit, labels, help } in ALL {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        let _ = writeln!(page, "| `{PREFIX}{name}` | {kind} | {unit} | {labels} | {help} |");
    }
    let bounds: Vec<_> = BOUNDS_S.iter().map(f64::to_string).collect();
    let _ = writeln!(page, "\nThe histogram's bounds, in seconds: {}.", bounds.join(", "));
    page
}

const HEAD: &str = "\
## Broker

`serve --metrics-listen 127.0.0.1:9405` serves these at `/metrics`; in a program,
`RunningBroker::metrics` gives the same text. Counters are since the broker began. Of
errors and times only what there was is shown. The number of samples is bounded: by the APIs and
errors there are, by the partitions of the broker, and of groups by 10,000. This part is
written from the table in `crates/broker/src/metrics/table.rs`; a test keeps it current.

| In Prometheus | Type | Unit | Labels | What it says |
| --- | --- | --- | --- | --- |
";
