//! The table of metrics as a page of documentation.

use std::fmt::Write;

use super::metric_table::{Metric, NODE, PRODUCER, TOPIC};
use super::prometheus::{STAGES, STAGES_HELP, prometheus_name};
use crate::producer::StageMetrics;

/// Renders every metric of the clients as Markdown: `docs/metrics.md`, save the broker's part.
#[must_use]
pub fn metrics_markdown() -> String {
    let mut page = String::from(HEAD);
    part(&mut page, "Producer", "kafka_producer", "`client_id`", PRODUCER);
    part(&mut page, "Per topic", "kafka_producer_topic", "`client_id`, `topic`", TOPIC);
    part(&mut page, "Per broker", "kafka_producer_node", "`client_id`, `node_id`", NODE);
    let bounds: Vec<_> =
        StageMetrics::BOUNDS_US.iter().map(|us| format!("{}", *us as f64 / 1e6)).collect();
    let _ = write!(
        page,
        "\n## Stages\n\n`{STAGES}` is a histogram with the labels `client_id` and `stage`. \
         {STAGES_HELP}\nIts bounds, in seconds: {}.\n\n{STAGE_ROWS}",
        bounds.join(", ")
    );
    page
}

const HEAD: &str = "\
# Metrics

`Producer::metrics` gives a snapshot; `ProducerMetrics::to_prometheus` writes it as Prometheus
takes it, and `--metrics-listen 127.0.0.1:9404` of `ingest` and `bench produce` serves that at
`/metrics`. Names are those of Kafka's Java producer.

A cluster that asks for metrics is pushed the same (KIP-714, unless `enable.metrics.push` is
false), under names like `org.apache.kafka.producer.topic.record.send.total`. Pushes have a
connection of their own, so a slow plug-in of the broker's holds up no record; the last one is at
the close. `Producer::client_instance_id` is what the cluster calls the producer. A consumer pushes
the metrics of its connections and fetches and how many partitions it reads (`consumer.connection`,
`consumer.fetch.manager`, `consumer.node.request.latency`,
`consumer.coordinator.assigned.partitions`), an admin client those of its connections.

Counts (`-total`) are since the producer began. Means, maxima and rates are as Kafka's: over the
last `metrics.num.samples` (2) samples of `metrics.sample.window.ms` (30 s), so half a minute to a
minute. Where nothing happened in that time they are 0, and NaN in Kafka. What has a histogram
below has its distribution since the producer began there.

Not here: `record-size-max` (it would cost each record a comparison), `metadata-age`,
`buffer-exhausted-total`, bytes that come in, authentications, and what tells how busy Java's
selector is.

This page is written from the table in `crates/client/src/observe/metric_table.rs`; a test keeps it
current. What the embedded broker shows is [below](#broker).
";

const STAGE_ROWS: &str = "\
| `stage` | a time of | from | to |
| --- | --- | --- | --- |
| `serialized` | one record in 257, if it is typed | the call of `send` | key and value as bytes |
| `partitioned` | one record in 4097 without a partition | | the partition chosen |
| `accumulated` | each batch | its first record's append | its first request |
| `sent` | each request | the request | its answer |
| `acknowledged` | each record, by its batch | the first record's append | the verdict |
";

fn part<T>(page: &mut String, title: &str, prefix: &str, labels: &str, rows: &[Metric<T>]) {
    let _ = write!(page, "\n## {title}\n\nLabels: {labels}.\n\n");
    page.push_str(
        "| Kafka's name | In Prometheus | Type | What it says |\n| --- | --- | --- | --- |\n",
    );
    for row in rows {
        let name = prometheus_name(prefix, row.name);
        let _ =
            writeln!(page, "| `{}` | `{name}` | {} | {} |", row.name, row.kind.name(), row.help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Run with `STREAMLEDGER_WRITE_DOCS=1` to write the page.
    #[test]
    fn the_page_in_docs_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        let page = metrics_markdown();
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let of_broker = written.find("\n## Broker").map_or("", |at| &written[at..]);
        if std::env::var_os("STREAMLEDGER_WRITE_DOCS").is_some() {
            std::fs::write(&path, page.clone() + of_broker).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let is_current = written.split_once("\n## Broker").map(|(own, _)| own) == Some(&*page);
        assert!(is_current, "docs/metrics.md is not what the table says: write it again");
    }
}
