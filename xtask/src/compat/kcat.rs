//! kcat, on the librdkafka that Debian ships: produce with each codec, consume, list, query.

use std::collections::BTreeMap;

use serde_json::Value;

use super::lab::{LIMIT, Trial};
use super::peer::Peer;
use super::record::Record;
use super::workload::{self, CODECS, Noise, PARTITIONS, now_ms};
use crate::failure::{Failure, Outcome, ensure};
use crate::process;

/// Lengths first, so that keys and values may hold anything.
const FORMAT: &str = "%t\t%p\t%o\t%T\t%K\t%S\t%h\n%k%s\n";

/// Reads whole topics; header values may hold neither comma nor line feed.
pub(crate) fn consume(trial: &Trial, topics: &[String]) -> Outcome<Vec<Record>> {
    let mut records = Vec::new();
    for topic in topics {
        let arguments = ["-C", "-q", "-e", "-o", "beginning", "-f", FORMAT, "-t", topic];
        records.extend(parse(&run(trial, &arguments, b"")?)?);
    }
    Ok(records)
}

fn run(trial: &Trial, arguments: &[&str], input: &[u8]) -> Outcome<Vec<u8>> {
    let mut command = trial.tools().kcat()?;
    // Ends are answered at once: `-e` waits for one answer a partition that has no more.
    command.args(["-b", &trial.bootstrap()?, "-X", "fetch.wait.max.ms=10"]).args(arguments);
    let finished = process::run_ok(&mut command, input, LIMIT)?;
    Ok(finished.stdout)
}

/// Reads [`FORMAT`]; kcat writes a null header value as `NULL`.
fn parse(mut printed: &[u8]) -> Outcome<Vec<Record>> {
    let broken = || Failure::new("kcat printed something else than the format asks");
    let mut records = Vec::new();
    while let Some(end) = printed.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8(printed[..end].to_vec())?;
        printed = &printed[end + 1..];
        let fields: Vec<&str> = line.split('\t').collect();
        let [topic, partition, offset, timestamp, key, value, headers] = fields[..] else {
            return Err(broken());
        };
        let mut take = |length: &str| -> Outcome<Option<Vec<u8>>> {
            let Ok(length) = length.parse::<usize>() else { return Ok(None) };
            let (taken, rest) = printed.split_at_checked(length).ok_or_else(broken)?;
            printed = rest;
            Ok(Some(taken.to_vec()))
        };
        let (key, value) = (take(key)?, take(value)?);
        printed = printed.strip_prefix(b"\n").ok_or_else(broken)?;
        let pairs = headers.split(',').filter_map(|pair| pair.split_once('='));
        records.push(Record {
            topic: topic.to_owned(),
            partition: Some(partition.parse()?),
            offset: Some(offset.parse()?),
            timestamp: Some(timestamp.parse()?),
            key,
            value,
            headers: pairs
                .map(|(name, value)| {
                    let value = Some(value).filter(|value| *value != "NULL");
                    (name.to_owned(), value.map(|value| value.as_bytes().to_vec()))
                })
                .collect(),
        });
    }
    Ok(records)
}

/// Each codec: keyed records with a header, empty and null values; everyone reads them.
pub(crate) fn writes_each_codec(trial: &Trial) -> Outcome<String> {
    let topics: Vec<String> = CODECS.map(|codec| trial.topic(codec)).into();
    trial.create_topics(&topics, PARTITIONS, &[])?;
    let mut expected = Vec::new();
    for (codec, topic) in CODECS.iter().zip(&topics) {
        for partition in 0..PARTITIONS {
            let sent = keyed_lines(topic, partition);
            let input: Vec<u8> = sent
                .iter()
                .flat_map(|r| {
                    let (key, value) = (r.key.as_deref(), r.value.as_deref());
                    [key.unwrap_or(b""), b"|", value.unwrap_or(b""), b"\n"].concat()
                })
                .collect();
            let partition = partition.to_string();
            let header = ["-P", "-H", "source=kcat", "-H", "empty=", "-Z", "-K", "|"];
            let place = ["-z", codec, "-t", topic, "-p", &partition];
            run(trial, &[&header[..], &place].concat(), &input)?;
            expected.extend(sent);
        }
    }
    let mut count = 0;
    for reader in Peer::READERS {
        count += workload::same(&expected, reader.consume(trial, &topics)?)
            .map_err(|failure| failure.while_doing(format!("{} reads", reader.name())))?;
    }
    Ok(format!("{count} records read by {} clients", Peer::READERS.len()))
}

/// What `-K '|' -Z` makes of lines: an empty value is null.
fn keyed_lines(topic: &str, partition: i32) -> Vec<Record> {
    let mut noise = Noise::seeded(11);
    (0..200i64)
        .map(|i| {
            let mut record = Record::to(topic);
            record.partition = Some(partition);
            record.offset = Some(i);
            record.key = Some(format!("key-{}", i % 9).into_bytes());
            record.value = match i % 4 {
                0 => None,
                1 => Some(format!("{:x}", noise.next()).repeat(40).into_bytes()),
                _ => Some(format!("line {i}, größer").into_bytes()),
            };
            record.headers =
                vec![("source".into(), Some(b"kcat".to_vec())), ("empty".into(), Some(Vec::new()))];
            record
        })
        .collect()
}

/// One partition from an offset on, and the last few of it.
pub(crate) fn consumes_from_an_offset(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("offsets");
    trial.create_topics(std::slice::from_ref(&topic), 2, &[])?;
    let lines: String = (0..100).map(|i| format!("line {i}\n")).collect();
    run(trial, &["-P", "-t", &topic, "-p", "1"], lines.as_bytes())?;
    let read = |from: &str, count: &str| -> Outcome<String> {
        let place = ["-C", "-q", "-e", "-t", &topic, "-p", "1", "-o", from, "-c", count];
        Ok(String::from_utf8(run(trial, &[&place[..], &["-f", "%o %s\n"]].concat(), b"")?)?)
    };
    let from_the_middle = read("40", "3")?;
    ensure!(from_the_middle == "40 line 40\n41 line 41\n42 line 42\n", "read {from_the_middle}");
    let last = read("-2", "10")?;
    ensure!(last == "98 line 98\n99 line 99\n", "the last two were {last}");
    Ok("3 from offset 40 on, and the last 2".to_owned())
}

/// `-L`: brokers, controller, topics and partitions with their leaders.
pub(crate) fn lists(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("listed");
    trial.create_topics(std::slice::from_ref(&topic), 4, &[])?;
    let metadata: Value = serde_json::from_slice(&run(trial, &["-L", "-J"], b"")?)?;
    let brokers = metadata["brokers"].as_array().map_or(0, Vec::len);
    ensure!(brokers == 1, "{brokers} brokers: {metadata}");
    let broker = &metadata["brokers"][0];
    ensure!(broker["name"] == trial.bootstrap()?, "the broker is {broker}");
    ensure!(metadata["controllerid"] == broker["id"], "{metadata}");
    let topics = metadata["topics"].as_array().cloned().unwrap_or_default();
    let listed = topics.iter().find(|t| t["topic"] == topic);
    let listed = listed.ok_or_else(|| Failure::new(format!("{topic} is not listed")))?;
    let partitions = listed["partitions"].as_array().cloned().unwrap_or_default();
    ensure!(partitions.len() == 4, "{} partitions of 4", partitions.len());
    for partition in &partitions {
        let in_sync = partition["isrs"].as_array().map_or(0, Vec::len);
        let led = partition["leader"] == broker["id"] && in_sync == 1;
        ensure!(led, "no leader or no in-sync replica: {partition}");
    }
    Ok(format!("{} topics", topics.len()))
}

/// `-Q`: offsets by timestamp, of the beginning and of the end.
pub(crate) fn queries_offsets(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("queried");
    trial.create_topics(std::slice::from_ref(&topic), 1, &[])?;
    let start = now_ms() - 100_000;
    let records = (0..50i64)
        .map(|i| Record {
            partition: Some(0),
            timestamp: Some(start + i * 1000),
            value: Some(format!("at {i}").into_bytes()),
            ..Record::to(&topic)
        })
        .collect();
    Peer::Python.produce(trial, &[super::peer::Job { records, settings: Vec::new() }])?;
    let expected: BTreeMap<i64, i64> = BTreeMap::from([
        (start - 1, 0),
        (start, 0),
        (start + 1, 1),
        (start + 30_000, 30),
        (start + 49_000, 49),
        (start + 49_001, -1),
        (-2, 0),
        (-1, 50),
    ]);
    for (timestamp, want) in &expected {
        let said = run(trial, &["-Q", "-t", &format!("{topic}:0:{timestamp}")], b"")?;
        let said = String::from_utf8(said)?;
        let line = format!("{topic} [0] offset {want}");
        ensure!(said.trim() == line, "at {timestamp} (start {start}): {said}, not {line}");
    }
    Ok(format!("{} timestamps", expected.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_records_are_read_by_their_lengths() {
        let printed = b"t\t1\t7\t99\t2\t3\ta=b,c=NULL,d=\nk\nv\n1\nt\t1\t8\t99\t-1\t0\t\n\n";
        let records = parse(printed).unwrap();
        assert_eq!(records[0].to_line(), "t\t1\t7\t99\t6b0a\t760a31\t61=62,63=~,64=");
        assert_eq!(records[1].to_line(), "t\t1\t8\t99\t~\t\t");
        assert!(parse(b"t\t1\t8\t99\t5\t0\t\n\n").is_err());
    }
}
