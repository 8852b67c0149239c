//! The Java client and the tools of Apache Kafka.

use super::lab::{LIMIT, Trial};
use super::peer::{Job, Peer};
use super::record::Record;
use super::toolbox::Calls;
use super::workload::{CODECS, PARTITIONS, motley, numbered};
use super::{stock, workload};
use crate::failure::{Failure, Outcome, ensure};
use crate::process;

/// What Java's admin client is answered, a call a line.
const ANSWERS: &str = include_str!("../../../compat/java/AdminPeer.txt");

pub(crate) fn writes_each_codec(trial: &Trial) -> Outcome<String> {
    stock::writes_each_codec(trial, Peer::Java)
}

/// Without idempotence: acks 0, 1 and all.
pub(crate) fn writes_with_each_acks(trial: &Trial) -> Outcome<String> {
    let acks = ["0", "1", "all"];
    let topics: Vec<String> = acks.map(|acks| trial.topic(acks)).into();
    trial.create_topics(&topics, PARTITIONS, &[])?;
    let jobs: Vec<Job> = acks
        .iter()
        .zip(&topics)
        .map(|(acks, topic)| {
            let settings = vec![format!("acks={acks}"), "enable.idempotence=false".to_owned()];
            Job { records: motley(topic, 420), settings }
        })
        .collect();
    Peer::Java.produce(trial, &jobs)?;
    let expected: Vec<Record> = jobs.into_iter().flat_map(|job| numbered(job.records)).collect();
    let count = workload::same(&expected, Peer::FranzGo.consume(trial, &topics)?)?;
    Ok(format!("{count} records"))
}

/// kafka-console-producer with each codec, kafka-console-consumer by partition.
pub(crate) fn console(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("lines");
    trial.create_topics(std::slice::from_ref(&topic), 1, &[])?;
    let mut sent: Vec<String> = Vec::new();
    for codec in CODECS {
        let lines = (0..50).map(|i| format!("n:{i},codec:{codec}\tkey-{i}\tvalue {i}, größer"));
        let lines: Vec<String> = lines.chain(["n:nulls\tnull\tnull".to_owned()]).collect();
        let arguments = [
            &["--topic", &topic, "--compression-codec", codec][..],
            &["--reader-property", "parse.key=true"],
            &["--reader-property", "parse.headers=true"],
            &["--reader-property", "null.marker=null"],
        ]
        .concat();
        trial.run_kafka_tool("ConsoleProducer", &arguments, &lines.join("\n"))?;
        sent.extend(lines);
    }
    let count = sent.len();
    let expected: Vec<String> =
        sent.iter().enumerate().map(|(at, line)| format!("Offset:{at}\t{line}\n")).collect();
    let read_from = |offset: &str, count: usize| {
        let count = count.to_string();
        read_console(trial, &topic, &["--offset", offset, "--max-messages", &count])
    };
    let all = read_from("earliest", count)?;
    ensure!(all == expected.concat(), "read {}", first_difference(&expected.concat(), &all));
    let last = read_from(&(count - 2).to_string(), 2)?;
    ensure!(last == expected[count - 2..].concat(), "the last two were {last}");
    Ok(format!("{count} lines, then the last 2"))
}

fn read_console(trial: &Trial, topic: &str, place: &[&str]) -> Outcome<String> {
    let format = ["print.key=true", "print.headers=true", "print.offset=true"];
    let mut arguments = vec!["--topic", topic, "--partition", "0", "--timeout-ms", "20000"];
    for property in &format {
        arguments.extend(["--formatter-property", property]);
    }
    arguments.extend(place);
    Ok(trial.run_kafka_tool("consumer.ConsoleConsumer", &arguments, "")?.text())
}

fn first_difference(expected: &str, read: &str) -> String {
    let pairs = expected.lines().zip(read.lines().chain(std::iter::repeat("nothing")));
    let different = pairs.filter(|(want, got)| want != got).map(|(w, g)| format!("{g}, not {w}"));
    different.into_iter().next().unwrap_or_else(|| "more lines than were sent".to_owned())
}

/// Each call of the admin client, and what Apache Kafka answers to it, but for its words.
pub(crate) fn administers(trial: &Trial) -> Outcome<String> {
    let name = trial.topic("all");
    let mut command = trial.tools().java("AdminPeer")?;
    let finished = process::run_ok(command.args([&trial.bootstrap()?, &name]), b"", LIMIT)?;
    let (said, expected) = (finished.text(), ANSWERS.replace("NAME", &name));
    ensure!(said == expected, "it said {}", first_difference(&expected, &said));
    Ok(format!("{} answers", ANSWERS.lines().count()))
}

/// kafka-topics: create, list, describe, alter, create again, delete.
pub(crate) fn topics(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("made");
    let mut calls = Calls::default();
    let topics = "TopicCommand --bootstrap-server BROKERS";
    let create = format!("{topics} --create --topic {topic} --partitions 3 --replication-factor 1");
    let configs = "--config retention.ms=86400000 --config cleanup.policy=compact";
    calls.tool(&format!("{create} {configs}"), &[&format!("Created topic {topic}.")]);
    let list = format!("{topics} --list");
    calls.tool(&list, &[&topic]);
    let describe = format!("{topics} --describe --topic {topic}");
    let settings = ["retention.ms=86400000", "cleanup.policy=compact"];
    let in_sync = [0, 1, 2].map(|index| {
        format!("Topic: {topic}\tPartition: {index}\tLeader: 1\tReplicas: 1\tIsr: 1\t")
    });
    let rows = in_sync.each_ref().map(String::as_str);
    let counts = ["PartitionCount: 3", "ReplicationFactor: 1"];
    calls.tool(&describe, &[&counts[..], &settings, &rows].concat());
    let alter = format!("{topics} --alter --topic {topic} --partitions");
    calls.tool(&format!("{alter} 5"), &[]);
    calls.tool(&describe, &["PartitionCount: 5"]);
    calls.tool_ends(&create, 1, &["already exists"]);
    calls.tool_ends(&format!("{alter} 2"), 1, &["would not be an increase"]);
    calls.tool(&format!("{topics} --delete --topic {topic}"), &[]);
    calls.tool(&list, &[&format!("!{topic}")]);
    calls.tool_ends(&describe, 1, &["does not exist"]);
    calls.run(trial)?;
    Ok("create, list, describe, alter, delete, refusals".to_owned())
}

/// kafka-producer-perf-test, and kafka-get-offsets for what it left.
pub(crate) fn producer_performance(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("load");
    trial.create_topics(std::slice::from_ref(&topic), 3, &[])?;
    let size = ["--topic", &topic, "--num-records", "100000", "--record-size", "200"];
    let load = ["--throughput", "-1", "--command-property", "compression.type=lz4"];
    let said = trial.run_kafka_tool("ProducerPerformance", &[&size[..], &load].concat(), "")?;
    let said = said.text();
    let summary = said.lines().find(|line| line.starts_with("100000 records sent"));
    let summary = summary.ok_or_else(|| Failure::new(format!("no summary: {said}")))?;
    let offsets = trial.run_kafka_tool("GetOffsetShell", &["--topic", &topic], "")?.text();
    let ends = offsets.lines().filter_map(|line| line.rsplit(':').next()?.parse::<u64>().ok());
    let sum: u64 = ends.sum();
    ensure!(sum == 100_000, "the end offsets sum up to {sum}: {offsets}");
    Ok(summary.split(',').nth(1).unwrap_or_default().trim().to_owned())
}

/// kafka-configs sets a quota, and kafka-producer-perf-test is told to wait for it.
pub(crate) fn obeys_a_quota(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("load");
    trial.create_topics(std::slice::from_ref(&topic), 1, &[])?;
    let mut config = trial.tools().java("kafka.admin.ConfigCommand")?;
    config.args(["--bootstrap-server", &trial.bootstrap()?, "--alter", "--entity-type", "clients"]);
    config.args(["--entity-name", &topic, "--add-config", "producer_byte_rate=30000"]);
    process::run_ok(&mut config, b"", LIMIT)?;
    // In the ten seconds of a rate's window there is room for 300 of the 400 KB.
    let size = ["--topic", &topic, "--num-records", "400", "--record-size", "1000"];
    let client_id = format!("client.id={topic}");
    let load = ["--throughput", "-1", "--print-metrics", "--command-property", &client_id];
    let said = trial.run_kafka_tool("ProducerPerformance", &[&size[..], &load].concat(), "")?;
    let said = said.text();
    ensure!(said.contains("400 records sent"), "not all was sent: {said}");
    let metric = said.lines().find(|line| line.contains("produce-throttle-time-max"));
    let value = metric.and_then(|line| line.rsplit(':').next()?.trim().parse::<f64>().ok());
    let waited_ms = value.ok_or_else(|| Failure::new(format!("no such metric: {said}")))?;
    ensure!(waited_ms as u64 > 0, "it was never told to wait: {said}");
    Ok(format!("all was sent, with waits of up to {waited_ms:.0} ms"))
}

/// kafka-get-offsets: earliest, latest, by timestamp, of the newest timestamp.
pub(crate) fn offsets(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("times");
    trial.create_topics(std::slice::from_ref(&topic), PARTITIONS, &[])?;
    let mut records = motley(&topic, 90);
    records.retain(|record| record.partition != Some(2));
    // Sent last, but older than all: the newest timestamp isn't at the newest offset.
    let oldest = records.iter().filter_map(|record| record.timestamp).min().unwrap_or(0);
    let late = Record { partition: Some(0), timestamp: Some(oldest - 5), ..Record::to(&topic) };
    records.push(late);
    let settings = vec!["compression.type=zstd".to_owned()];
    Peer::Java.produce(trial, &[Job { records, settings }])?;
    let by_time = (oldest + 30).to_string();
    let cases = [
        ("earliest", "0:0 1:0 2:0"),
        ("latest", "0:31 1:30 2:0"),
        ("max-timestamp", "0:29 1:29 2:-1"),
        (by_time.as_str(), "0:10 1:10 2:-1"),
    ];
    for (time, want) in cases {
        let said = trial.run_kafka_tool("GetOffsetShell", &["--topic", &topic, "--time", time], "");
        let said = said?.text();
        let prefix = format!("{topic}:");
        let got: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
        let want: Vec<&str> = want.split(' ').filter(|w| is_printed(w)).collect();
        let got: Vec<&str> = got.into_iter().filter(|g| is_printed(g)).collect();
        ensure!(got == want, "{time}: {got:?}, not {want:?}");
    }
    Ok("earliest, latest, by time, newest".to_owned())
}

/// The tool leaves out partitions without an answer, or prints them without a number.
fn is_printed(place: &str) -> bool {
    !place.ends_with(':') && !place.ends_with("-1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_found() {
        assert_eq!(first_difference("a\nb\n", "a\n"), "nothing, not b");
        assert_eq!(first_difference("a\n", "a\nb\n"), "more lines than were sent");
    }
}
