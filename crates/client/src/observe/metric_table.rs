//! Every metric, declared once: Kafka's name, kind, what it says, where it is read.
//!
//! The Prometheus text, what telemetry pushes and docs/metrics.md are all made from these rows.

use crate::network::ConnectionMetrics;
use crate::producer::{NodeMetrics, ProducerMetrics, TopicMetrics};

/// Whether a metric only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricKind {
    /// A count since the producer began.
    Counter,
    /// A value as it is now, or a mean.
    Gauge,
}

impl MetricKind {
    /// The word that Prometheus has for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// A metric of a producer, a topic or a node.
pub(crate) struct Metric<T> {
    /// Kafka's name for it.
    pub(crate) name: &'static str,
    pub(crate) kind: MetricKind,
    /// What it says, with its unit.
    pub(crate) help: &'static str,
    pub(crate) value: fn(&T) -> f64,
}

macro_rules! metrics {
    (
        $(#[$doc:meta])* $rows:ident: $of:ty;
        $($kind:ident $name:literal $help:literal $value:expr;)*
    ) => {
        $(#[$doc])*
        pub(crate) const $rows: &[Metric<$of>] = &[
            $(Metric { name: $name, kind: MetricKind::$kind, help: $help, value: $value },)*
        ];
    };
}

metrics! {
    /// Kafka's `producer-metrics`.
    PRODUCER: ProducerMetrics;
    Counter "record-send-total" "Records acknowledged." |m| m.record_send_total as f64;
    Gauge "record-send-rate" "Records acknowledged a second." |m| m.record_send_rate;
    Counter "record-error-total" "Records that failed for good." |m| m.record_error_total as f64;
    Gauge "record-error-rate" "Records that failed for good, a second." |m| m.record_error_rate;
    Counter "record-retry-total" "Records sent again." |m| m.record_retry_total as f64;
    Gauge "record-retry-rate" "Records sent again, a second." |m| m.record_retry_rate;
    Gauge "record-queue-time-avg"
        "Mean time of a batch from its first record to its first request, ms."
        |m| m.record_queue_time_avg;
    Gauge "record-queue-time-max" "Longest of those times, ms." |m| m.record_queue_time_max;
    Counter "batch-total" "Batches sent; Kafka has no such count." |m| m.batch_total as f64;
    Gauge "batch-size-avg" "Mean size of a batch as sent, bytes." |m| m.batch_size_avg;
    Gauge "batch-size-max" "Largest batch as sent, bytes." |m| m.batch_size_max as f64;
    Counter "batch-split-total" "Batches split because the broker found them too large."
        |m| m.batch_split_total as f64;
    Gauge "batch-split-rate" "Batches split a second." |m| m.batch_split_rate;
    Gauge "compression-rate-avg"
        "Mean of a batch's bytes as sent over its bytes before compression."
        |m| m.compression_rate_avg;
    Gauge "record-size-avg" "Mean size of a record, by batch, before compression, bytes."
        |m| m.record_size_avg;
    Gauge "records-per-request-avg" "Mean records of a request." |m| m.records_per_request_avg;
    Counter "request-total" "Produce requests sent." |m| m.request_total as f64;
    Gauge "request-rate" "Produce requests sent a second." |m| m.request_rate;
    Counter "response-total" "Responses to produce requests." |m| m.response_total as f64;
    Gauge "response-rate" "Responses to produce requests a second." |m| m.response_rate;
    Gauge "request-size-avg" "Mean bytes of the batches of a produce request."
        |m| m.request_size_avg;
    Gauge "request-size-max" "The most bytes of the batches of one." |m| m.request_size_max as f64;
    Gauge "requests-in-flight" "Produce requests without an answer yet."
        |m| m.requests_in_flight as f64;
    Gauge "request-latency-avg" "Mean time from a produce request to its answer, ms."
        |m| m.request_latency_avg;
    Gauge "request-latency-max" "Longest of those times, ms." |m| m.request_latency_max;
    Counter "outgoing-byte-total" "Bytes of acknowledged batches." |m| m.outgoing_byte_total as f64;
    Gauge "outgoing-byte-rate" "Bytes of acknowledged batches a second." |m| m.outgoing_byte_rate;
    Gauge "produce-throttle-time-avg" "Mean time a response asked to be left alone, ms."
        |m| m.produce_throttle_time_avg;
    Gauge "produce-throttle-time-max" "Longest of those times, ms." |m| m.produce_throttle_time_max;
    Gauge "buffer-total-bytes" "All of buffer.memory, bytes." |m| m.buffer_total_bytes as f64;
    Gauge "buffer-available-bytes" "What of it is free, bytes." |m| m.buffer_available_bytes as f64;
    Gauge "waiting-threads" "Callers that wait for buffer memory now." |m| m.waiting_threads as f64;
    Counter "bufferpool-wait-total"
        "How often a caller waited for buffer memory; Kafka has no such count."
        |m| m.bufferpool_wait_total as f64;
    Counter "bufferpool-wait-time-ns-total"
        "All the time that callers waited for buffer memory, ns."
        |m| m.bufferpool_wait_time_ns_total as f64;
    Gauge "bufferpool-wait-ratio" "That time a second; over 1 if several callers wait at once."
        |m| m.bufferpool_wait_ratio;
    Counter "metadata-wait-time-ns-total" "All the time that callers waited for metadata, ns."
        |m| m.metadata_wait_time_ns_total as f64;
    Counter "flush-time-ns-total" "All the time that callers waited for a flush, ns."
        |m| m.flush_time_ns_total as f64;
    Counter "txn-init-time-ns-total" "All the time that callers waited for init_transactions, ns."
        |m| m.txn_init_time_ns_total as f64;
    Counter "txn-begin-time-ns-total" "The same of begin_transaction, ns."
        |m| m.txn_begin_time_ns_total as f64;
    Counter "txn-send-offsets-time-ns-total" "The same of send_offsets, ns."
        |m| m.txn_send_offsets_time_ns_total as f64;
    Counter "txn-commit-time-ns-total" "The same of commit, ns."
        |m| m.txn_commit_time_ns_total as f64;
    Counter "txn-abort-time-ns-total" "The same of abort, ns."
        |m| m.txn_abort_time_ns_total as f64;
    Counter "connection-creation-total" "Connections that were made."
        |m| m.connection_creation_total as f64;
    Gauge "connection-creation-rate" "Connections made a second." |m| m.connection_creation_rate;
    Counter "connection-close-total" "Connections that have ended."
        |m| m.connection_close_total as f64;
    Gauge "connection-close-rate" "Connections ended a second." |m| m.connection_close_rate;
    Gauge "connection-count" "Connections there are." |m| m.connection_count as f64;
}

metrics! {
    /// Kafka's `producer-topic-metrics`.
    TOPIC: TopicMetrics;
    Counter "record-send-total" "Records of the topic acknowledged." |m| m.record_send_total as f64;
    Gauge "record-send-rate" "Records of the topic acknowledged a second." |m| m.record_send_rate;
    Counter "record-error-total" "Records of the topic that failed for good."
        |m| m.record_error_total as f64;
    Gauge "record-error-rate" "Records of the topic that failed for good, a second."
        |m| m.record_error_rate;
    Counter "record-retry-total" "Records of the topic sent again." |m| m.record_retry_total as f64;
    Gauge "record-retry-rate" "Records of the topic sent again, a second."
        |m| m.record_retry_rate;
    Counter "byte-total" "Bytes of the topic's batches as sent." |m| m.byte_total as f64;
    Gauge "byte-rate" "Bytes of the topic's batches as sent, a second." |m| m.byte_rate;
    Gauge "compression-rate" "Mean of a batch's bytes as sent over its bytes before compression."
        |m| m.compression_rate;
}

metrics! {
    /// Kafka's `producer-node-metrics`.
    NODE: NodeMetrics;
    Counter "request-total" "Produce requests sent to the broker." |m| m.request_total as f64;
    Gauge "request-rate" "Produce requests sent to the broker a second." |m| m.request_rate;
    Gauge "request-size-avg" "Mean bytes of the batches of one." |m| m.request_size_avg;
    Gauge "request-size-max" "The most bytes of the batches of one." |m| m.request_size_max as f64;
    Counter "response-total" "Responses of the broker to them." |m| m.response_total as f64;
    Gauge "response-rate" "Responses of the broker a second." |m| m.response_rate;
    Counter "outgoing-byte-total" "Bytes of batches sent to the broker, retries included."
        |m| m.outgoing_byte_total as f64;
    Gauge "outgoing-byte-rate" "Bytes of batches sent to the broker a second."
        |m| m.outgoing_byte_rate;
    Gauge "request-latency-avg" "Mean time from a request to the broker's answer, ms."
        |m| m.request_latency_avg;
    Gauge "request-latency-max" "Longest of those times, ms." |m| m.request_latency_max;
}

/// What a consumer's fetches came to; pairs are a mean and a maximum.
pub(crate) struct FetchMetrics {
    pub(crate) fetch_total: u64,
    pub(crate) fetch_rate: f64,
    pub(crate) latency_ms: (f64, f64),
    pub(crate) fetch_bytes: (f64, f64),
    pub(crate) bytes_total: u64,
    pub(crate) bytes_rate: f64,
}

/// How long a broker took to answer a consumer's fetches, ms.
pub(crate) struct NodeLatency {
    pub(crate) mean: f64,
    pub(crate) max: f64,
}

metrics! {
    /// What is counted of the connections of a consumer or an admin client.
    CONNECTIONS: ConnectionMetrics;
    Counter "connection-creation-total" "Connections that were made." |m| m.creation_total as f64;
    Gauge "connection-creation-rate" "Connections made a second." |m| m.creation_rate;
    Counter "connection-close-total" "Connections that have ended." |m| m.close_total as f64;
    Gauge "connection-close-rate" "Connections ended a second." |m| m.close_rate;
    Gauge "connection-count" "Connections there are." |m| m.count as f64;
}

metrics! {
    /// Kafka's `consumer-fetch-manager-metrics`.
    FETCHES: FetchMetrics;
    Gauge "fetch-latency-avg" "Mean time from a fetch to its answer, ms." |m| m.latency_ms.0;
    Gauge "fetch-latency-max" "Longest of those times, ms." |m| m.latency_ms.1;
    Counter "fetch-total" "Fetches that were answered." |m| m.fetch_total as f64;
    Gauge "fetch-rate" "Fetches answered a second." |m| m.fetch_rate;
    Gauge "fetch-size-avg" "Mean bytes of records of a fetch." |m| m.fetch_bytes.0;
    Gauge "fetch-size-max" "The most bytes of records of one." |m| m.fetch_bytes.1;
    Counter "bytes-consumed-total" "Bytes of records that were fetched." |m| m.bytes_total as f64;
    Gauge "bytes-consumed-rate" "Bytes of records fetched a second." |m| m.bytes_rate;
}

metrics! {
    /// Kafka's `consumer-node-metrics`.
    FETCHED_NODE: NodeLatency;
    Gauge "request-latency-avg" "Mean time from a fetch to the broker's answer, ms." |m| m.mean;
    Gauge "request-latency-max" "Longest of those times, ms." |m| m.max;
}

metrics! {
    /// Kafka's `consumer-coordinator-metrics`, of which there is the number of partitions.
    ASSIGNED: usize;
    Gauge "assigned-partitions" "Partitions that are read." |m| *m as f64;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_kafkas_form_and_counters_end_in_total() {
        let rows = |names: Vec<(&'static str, MetricKind, &'static str)>| {
            let set: BTreeSet<_> = names.iter().map(|(name, ..)| *name).collect();
            assert_eq!(set.len(), names.len());
            for (name, kind, help) in names {
                assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
                assert_eq!(name.ends_with("-total"), kind == MetricKind::Counter, "{name}");
                assert!(help.ends_with('.'), "{name}");
            }
        };
        rows(PRODUCER.iter().map(|m| (m.name, m.kind, m.help)).collect());
        rows(TOPIC.iter().map(|m| (m.name, m.kind, m.help)).collect());
        rows(NODE.iter().map(|m| (m.name, m.kind, m.help)).collect());
        rows(CONNECTIONS.iter().map(|m| (m.name, m.kind, m.help)).collect());
        rows(FETCHES.iter().map(|m| (m.name, m.kind, m.help)).collect());
        rows(FETCHED_NODE.iter().map(|m| (m.name, m.kind, m.help)).collect());
    }
}
