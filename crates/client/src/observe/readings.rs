//! Metrics as telemetry pushes them: Kafka's names, in the order of their importance.

use std::borrow::Cow;

use streamledger_client_core::telemetry::{Label, Reading, ReadingKind, telemetry_name};
use streamledger_protocol::BrokerId;

use super::metric_table::{
    ASSIGNED, CONNECTIONS, FETCHED_NODE, FETCHES, FetchMetrics, Metric, MetricKind, NODE,
    NodeLatency, PRODUCER, TOPIC,
};
use crate::network::ConnectionMetrics;
use crate::producer::ProducerMetrics;

/// Which names are wanted.
pub(crate) type Wants<'a> = &'a dyn Fn(&str) -> bool;

/// A producer's metrics whose names are wanted: its own, its brokers', its topics'.
pub(crate) fn producer_readings(metrics: &ProducerMetrics, wants: Wants<'_>) -> Vec<Reading> {
    let mut readings = Vec::new();
    read(&mut readings, "producer-metrics", PRODUCER, &[(Vec::new(), metrics)], wants);
    let nodes = metrics.nodes.iter();
    let nodes: Vec<_> = nodes.map(|node| (vec![node_label(node.node_id)], node)).collect();
    read(&mut readings, "producer-node-metrics", NODE, &nodes, wants);
    let topics = metrics.topics.iter();
    let topics: Vec<_> =
        topics.map(|topic| (vec![("topic", topic.topic.clone())], topic)).collect();
    read(&mut readings, "producer-topic-metrics", TOPIC, &topics, wants);
    readings
}

/// A consumer's metrics whose names are wanted: its own, its fetches', its brokers'.
pub(crate) fn consumer_readings(
    connections: &ConnectionMetrics,
    assigned: usize,
    (fetches, nodes): &(FetchMetrics, Vec<(BrokerId, NodeLatency)>),
    wants: Wants<'_>,
) -> Vec<Reading> {
    let mut readings = Vec::new();
    let none = Vec::new;
    read(&mut readings, "consumer-metrics", CONNECTIONS, &[(none(), connections)], wants);
    read(&mut readings, "consumer-coordinator-metrics", ASSIGNED, &[(none(), &assigned)], wants);
    read(&mut readings, "consumer-fetch-manager-metrics", FETCHES, &[(none(), fetches)], wants);
    let nodes = nodes.iter().map(|(id, latency)| (vec![node_label(id.0)], latency));
    let nodes: Vec<_> = nodes.collect();
    read(&mut readings, "consumer-node-metrics", FETCHED_NODE, &nodes, wants);
    readings
}

/// An admin client's metrics whose names are wanted: its connections'.
pub(crate) fn admin_readings(connections: &ConnectionMetrics, wants: Wants<'_>) -> Vec<Reading> {
    let mut readings = Vec::new();
    let of = [(Vec::new(), connections)];
    read(&mut readings, "admin-client-metrics", CONNECTIONS, &of, wants);
    readings
}

/// The label that says which broker, as Java writes it.
fn node_label(node_id: i32) -> Label {
    ("node_id", format!("node-{node_id}"))
}

/// Reads the rows whose names are wanted, of each that has them.
fn read<T>(
    readings: &mut Vec<Reading>,
    group: &str,
    rows: &[Metric<T>],
    of: &[(Vec<Label>, &T)],
    wants: Wants<'_>,
) {
    for row in rows {
        let name = telemetry_name(group, row.name);
        if !wants(&name) {
            continue;
        }
        let kind = match row.kind {
            MetricKind::Counter => ReadingKind::Counter,
            MetricKind::Gauge => ReadingKind::Gauge,
        };
        readings.extend(of.iter().map(|(labels, metrics)| Reading {
            name: Cow::Owned(name.clone()),
            labels: labels.clone(),
            kind,
            value: (row.value)(metrics),
        }));
    }
}
