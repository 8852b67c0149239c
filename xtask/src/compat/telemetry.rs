//! Our clients' metrics as an Apache Kafka with a plug-in receives them (KIP-714).

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::lab::{LIMIT, Trial};
use super::our_client;
use super::record::Record;
use crate::failure::{Failure, Outcome, ensure};
use crate::process;

const RECORDS: usize = 300;
/// How often the cluster wants to be told.
const INTERVAL_MS: &str = "400";

/// What KIP-714 requires of a producer, after `org.apache.kafka.producer.`.
const REQUIRED: [&str; 8] = [
    "connection.creation.rate",
    "connection.creation.total",
    "node.request.latency.avg",
    "node.request.latency.max",
    "produce.throttle.time.avg",
    "produce.throttle.time.max",
    "record.queue.time.avg",
    "record.queue.time.max",
];

/// A metric as the plug-in wrote it.
struct Received {
    client_id: String,
    instance_id: String,
    is_last: bool,
    resource: String,
    name: String,
    kind: String,
    labels: String,
    value: f64,
}

pub(crate) fn pushes_metrics(trial: &Trial) -> Outcome<String> {
    let file = trial.directory.join("received.tsv");
    let broker = trial.own_broker(&[
        "metric.reporters=TelemetryReceiver",
        &format!("telemetry.receiver.file={}", file.display()),
    ])?;
    subscribe(trial, &broker.bootstrap(), "producers", "org.apache.kafka.producer.")?;

    let settings = ["client.id=shop", "transactional.id=till-1", "compression.type=lz4"];
    let producer = our_client::producer(&broker.bootstrap(), &settings.map(str::to_owned))?;
    producer.init_transactions()?;
    let id = producer.client_instance_id(LIMIT)?;
    for _ in 0..10 {
        let mut transaction = producer.begin_transaction()?;
        for number in 0..RECORDS / 10 {
            let value = Some(format!("{number:0>80}").into_bytes());
            drop(our_client::send(&producer, &Record { value, ..Record::to("clicks") })?);
        }
        transaction.commit()?;
        thread::sleep(Duration::from_millis(50));
    }
    wait_for(&file, "more pushes than the last", |received| pushes(received) >= 2)?;
    our_client::close(&producer)?;

    let has_last = |received: &[Received]| received.iter().any(|row| row.is_last);
    let received = wait_for(&file, "the last push", has_last)?;
    let ours = |row: &Received| row.client_id == "shop" && row.instance_id == id.to_string();
    ensure!(received.iter().all(ours), "metrics of somebody else");
    let wrong = received.iter().find(|row| row.resource != "transactional_id=till-1");
    ensure!(wrong.is_none(), "the resource is {}", wrong.map_or("", |row| &row.resource));
    let names: BTreeSet<&str> = received.iter().map(|row| row.name.as_str()).collect();
    for name in REQUIRED {
        let name = format!("org.apache.kafka.producer.{name}");
        ensure!(names.contains(name.as_str()), "no {name} among {names:?}");
    }
    let sent = sum(&received, "org.apache.kafka.producer.record.send.total", "")?;
    let to_topic = sum(&received, "org.apache.kafka.producer.topic.record.send.total", "clicks")?;
    for counted in [sent, to_topic] {
        ensure!(counted == RECORDS as f64, "{counted} records were counted, not {RECORDS}");
    }
    for call in ["init", "begin", "commit"] {
        let name = format!("org.apache.kafka.producer.txn.{call}.time.ns.total");
        let nanos = sum(&received, &name, "")?;
        ensure!(nanos.is_normal(), "{nanos} ns went by in {call}");
    }
    let latency = largest(&received, "org.apache.kafka.producer.node.request.latency.max");
    ensure!(latency.is_normal() && latency.is_sign_positive(), "a request took {latency} ms");
    let count = pushes(&received);
    ensure!(count > 2, "only {count} pushes");
    Ok(format!("{} names in {count} pushes, the last at the close", names.len()))
}

/// Asks all clients for the metrics whose names begin so, by Kafka's own tool.
fn subscribe(trial: &Trial, bootstrap: &str, name: &str, prefix: &str) -> Outcome<()> {
    let mut tool = trial.tools().java("org.apache.kafka.tools.ClientMetricsCommand")?;
    tool.args(["--bootstrap-server", bootstrap, "--alter", "--name", name]);
    tool.args(["--metrics", prefix, "--interval", INTERVAL_MS]);
    process::run_ok(&mut tool, b"", LIMIT).map(drop)
}

/// How many pushes there were, by what is in each.
fn pushes(received: &[Received]) -> usize {
    received.iter().filter(|row| row.name.ends_with("producer.record.send.total")).count()
}

/// What was received, as soon as it is enough.
fn wait_for(
    file: &Path,
    what: &str,
    is_enough: impl Fn(&[Received]) -> bool,
) -> Outcome<Vec<Received>> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        // An empty line ends a push; what comes after the last is still being written.
        let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
        let lines = whole.lines().filter(|line| !line.is_empty()).map(Received::from_line);
        let received: Vec<Received> = lines.collect::<Outcome<_>>()?;
        if is_enough(&received) {
            return Ok(received);
        }
        ensure!(Instant::now() < deadline, "not in 120 s: {what}; {} metrics", received.len());
        thread::sleep(Duration::from_millis(20));
    }
}

impl Received {
    fn from_line(line: &str) -> Outcome<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[client_id, instance_id, last, resource, name, kind, labels, value] = &fields[..]
        else {
            return Err(Failure::new(format!("the plug-in wrote {line}")));
        };
        Ok(Self {
            client_id: client_id.to_owned(),
            instance_id: instance_id.to_owned(),
            is_last: last == "true",
            resource: resource.to_owned(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            labels: labels.to_owned(),
            value: value.parse()?,
        })
    }
}

/// What a counter has grown by in all pushes together: Kafka's brokers want growths.
fn sum(received: &[Received], name: &str, topic: &str) -> Outcome<f64> {
    let mut sum = 0.0;
    for row in received.iter().filter(|row| row.name == name) {
        ensure!(row.kind == "delta", "{name} came as {}", row.kind);
        let labels = if topic.is_empty() { String::new() } else { format!("topic={topic}") };
        ensure!(row.labels == labels, "{name} is labelled {}", row.labels);
        sum += row.value;
    }
    Ok(sum)
}

fn largest(received: &[Received], name: &str) -> f64 {
    let values = received.iter().filter(|row| row.name == name).map(|row| row.value);
    values.reduce(f64::max).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_plug_in_is_read() {
        let line = "shop\tid\ttrue\ta=b\torg.x\tdelta\ttopic=clicks\t2.5";
        let row = Received::from_line(line).unwrap();
        assert!(row.is_last);
        assert_eq!(sum(&[row], "org.x", "clicks").unwrap(), 2.5);
        assert!(Received::from_line("shop\tid\tfalse\tnot understood").is_err());
    }
}
