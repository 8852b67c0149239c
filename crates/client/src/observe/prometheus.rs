//! The metrics as Prometheus takes them: text exposition format 0.0.4.
//!
//! All of it comes from one snapshot, so that a scrape agrees with itself.

use std::fmt::Write;

use super::metric_table::{Metric, NODE, PRODUCER, TOPIC};
use crate::producer::{ProducerMetrics, StageMetrics};

/// `Content-Type` of the text.
pub const PROMETHEUS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) const STAGES: &str = "streamledger_producer_stage_seconds";
pub(crate) const STAGES_HELP: &str =
    "Time of each stage of a record's journey that the client can see.";

impl ProducerMetrics {
    /// The metrics as Prometheus takes them, each with the label `client_id`; per topic and node
    /// with theirs, the stages' times as a histogram labelled `stage`. docs/metrics.md has them
    /// all.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let client = label("client_id", &self.client_id);
        let mut text = String::with_capacity(16 * 1024);
        family(&mut text, "kafka_producer", PRODUCER, &[(client.clone(), self)]);
        let topics: Vec<_> = (self.topics.iter())
            .map(|topic| (format!("{client},{}", label("topic", &topic.topic)), topic))
            .collect();
        family(&mut text, "kafka_producer_topic", TOPIC, &topics);
        let nodes: Vec<_> = (self.nodes.iter())
            .map(|node| (format!("{client},{}", label("node_id", &node.node_id.to_string())), node))
            .collect();
        family(&mut text, "kafka_producer_node", NODE, &nodes);
        head(&mut text, STAGES, "histogram", STAGES_HELP);
        for stage in &self.stages {
            histogram(&mut text, &format!("{client},{}", label("stage", stage.stage)), stage);
        }
        text
    }
}

/// A metric's name as Prometheus has it.
pub(crate) fn prometheus_name(prefix: &str, name: &str) -> String {
    format!("{prefix}_{}", name.replace('-', "_"))
}

fn family<T>(text: &mut String, prefix: &str, rows: &[Metric<T>], of: &[(String, &T)]) {
    for row in rows {
        let name = prometheus_name(prefix, row.name);
        head(text, &name, row.kind.name(), row.help);
        for (labels, metrics) in of {
            let _ = writeln!(text, "{name}{{{labels}}} {}", (row.value)(metrics));
        }
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let help = help.replace('\\', "\\\\").replace('\n', "\\n");
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn histogram(text: &mut String, labels: &str, stage: &StageMetrics) {
    for (bound_us, count) in stage.buckets() {
        let le = bound_us as f64 / 1e6;
        let _ = writeln!(text, "{STAGES}_bucket{{{labels},le=\"{le}\"}} {count}");
    }
    let (count, sum) = (stage.count, stage.sum_us / 1e6);
    let _ = writeln!(text, "{STAGES}_bucket{{{labels},le=\"+Inf\"}} {count}");
    let _ = writeln!(text, "{STAGES}_sum{{{labels}}} {sum}\n{STAGES}_count{{{labels}}} {count}");
}

/// `name="value"`, escaped.
fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_labels_value_is_escaped() {
        assert_eq!(label("topic", "a\"b\\c\nd"), r#"topic="a\"b\\c\nd""#);
        assert_eq!(
            prometheus_name("kafka_producer", "batch-size-avg"),
            "kafka_producer_batch_size_avg"
        );
    }
}
