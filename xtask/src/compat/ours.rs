//! Our client against a broker: what it writes is read by everyone, and the other way round.

use std::time::{Duration, Instant};

use streamledger::{ErrorCode, NewPartitions, NewTopic, TopicName};

use super::kill;
use super::lab::{LIMIT, Trial};
use super::our_client::{self, OurSender};
use super::peer::{Job, Peer};
use super::record::Record;
use super::stock;
use super::workload::{self, CODECS, Noise, PARTITIONS, motley, now_ms, numbered};
use crate::failure::{Failure, Outcome, ensure};
use crate::process;

pub(crate) fn writes_each_codec(trial: &Trial) -> Outcome<String> {
    stock::writes_each_codec(trial, Peer::Ours)
}

/// Each codec with acks 0, 1 and all, to topics that were made this moment; the Java client and
/// ours read.
pub(crate) fn writes_with_each_acks(trial: &Trial) -> Outcome<String> {
    let mut jobs = Vec::new();
    let mut topics = Vec::new();
    for acks in ["0", "1", "all"] {
        for codec in CODECS {
            let topic = trial.topic(&format!("{acks}-{codec}"));
            let settings = vec![
                format!("acks={acks}"),
                format!("compression.type={codec}"),
                format!("enable.idempotence={}", acks == "all"),
            ];
            jobs.push(Job { records: motley(&topic, 210), settings });
            topics.push(topic);
        }
    }
    trial.create_topics(&topics, PARTITIONS, &[])?;
    let acks = Peer::Ours.produce(trial, &jobs)?;
    for ack in &acks {
        let asked_for_none = ack.topic.starts_with(&trial.topic("0-"));
        ensure!((ack.offset < 0) == asked_for_none, "{ack:?}");
    }
    let expected: Vec<Record> = jobs.into_iter().flat_map(|job| numbered(job.records)).collect();
    let java = workload::same(&expected, Peer::Java.consume(trial, &topics)?)?;
    let ours = workload::same(&expected, Peer::Ours.consume(trial, &topics)?)?;
    Ok(format!("{java} and {ours} records in {} topics", topics.len()))
}

/// Ten thousand keys through the Java producer's partitioner and through ours.
pub(crate) fn partitions_as_java(trial: &Trial) -> Outcome<String> {
    let topics = [trial.topic("java"), trial.topic("ours")];
    trial.create_topics(&topics, 7, &[])?;
    let keys = keys(10_000);
    let job = |topic: &String| {
        let keyed = |key: &Vec<u8>| Record { key: Some(key.clone()), ..Record::to(topic) };
        Job { records: keys.iter().map(keyed).collect(), settings: Vec::new() }
    };
    let java = Peer::Java.produce(trial, &[job(&topics[0])])?;
    let ours = Peer::Ours.produce(trial, &[job(&topics[1])])?;
    let mut used = [0u32; 7];
    for ((key, java), ours) in keys.iter().zip(&java).zip(&ours) {
        let (theirs, own) = (java.partition, ours.partition);
        ensure!(theirs == own, "key {key:?}: partition {theirs} by Java, {own} by us");
        if let Some(count) = usize::try_from(own).ok().and_then(|own| used.get_mut(own)) {
            *count += 1;
        }
    }
    let compared = java.len().min(ours.len());
    ensure!(compared == keys.len(), "{compared} of {} keys compared", keys.len());
    ensure!(used.iter().all(|count| *count > 1000), "unevenly spread: {used:?}");
    Ok(format!("{compared} keys over 7 partitions"))
}

/// Numbers, words, binary of every length modulo four, and the empty key.
fn keys(count: usize) -> Vec<Vec<u8>> {
    let mut noise = Noise::seeded(99);
    let mut keys = vec![Vec::new()];
    while keys.len() < count {
        let random = noise.next();
        keys.push(match random % 3 {
            0 => (random % 600_000_000).to_string().into_bytes(),
            1 => format!("größe-{random:x}").into_bytes(),
            _ => noise.bytes(usize::try_from(random % 41).unwrap_or(0)),
        });
    }
    keys
}

/// Idempotent, five in flight, while the broker is killed and comes back.
pub(crate) fn keeps_order_through_kills(trial: &Trial) -> Outcome<String> {
    kill::under::<OurSender>(trial)
}

/// Our admin client: create, list, describe, grow, refuse, delete; franz-go's view agrees.
pub(crate) fn administers(trial: &Trial) -> Outcome<String> {
    let admin = our_client::admin(&trial.bootstrap()?)?;
    let name = TopicName::new(trial.topic("made"));
    let new = || NewTopic::new(name.clone(), 3, 1).config("retention.ms", "86400000");
    admin.create_topics(&[new()])?.only()?;
    // The controller has made it before the broker knows of it.
    let deadline = Instant::now() + LIMIT;
    loop {
        let listed = admin.list_topics()?.into_iter().find(|topic| topic.name == name);
        if listed.is_some_and(|topic| topic.partition_count == 3) {
            break;
        }
        ensure!(Instant::now() < deadline, "{name} is not listed in 120 s");
    }
    let described = admin.describe_topics(std::slice::from_ref(&name))?.only()?;
    let partitions = described.partitions.len();
    ensure!(partitions == 3, "{partitions} partitions of 3");
    let again = admin.create_topics(&[new()])?.only().err();
    let reason = again.map_or(String::new(), |error| error.to_string());
    let exists = ErrorCode::TopicAlreadyExists.name();
    ensure!(reason.contains(exists), "the second creation: {reason}");
    admin.create_partitions(&[NewPartitions::to(name.clone(), 5)])?.only()?;
    seen_by_java(trial, name.as_str(), Some("PartitionCount: 5"))?;
    seen_by_java(trial, name.as_str(), Some("retention.ms=86400000"))?;
    let brokers = admin.describe_cluster()?.brokers.len();
    ensure!(brokers == 1, "{brokers} brokers");
    admin.delete_topics(std::slice::from_ref(&name))?.only()?;
    seen_by_java(trial, name.as_str(), None)?;
    Ok("create, list, describe, grow, refuse, delete".to_owned())
}

/// The same by the command, `streamledger topics`.
pub(crate) fn commands_topics(trial: &Trial) -> Outcome<String> {
    let name = trial.topic("made");
    let bootstrap = trial.bootstrap()?;
    let run = |arguments: &[&str]| -> Outcome<String> {
        let mut command = trial.tools().streamledger()?;
        command.arg("topics").args(arguments).args(["--bootstrap-servers", &bootstrap]);
        Ok(process::run_ok(&mut command, b"", LIMIT)?.text())
    };
    run(&["create", &name, "--partitions", "4"])?;
    seen_by_java(trial, &name, Some("PartitionCount: 4"))?;
    let listed = run(&["list"])?;
    ensure!(listed.contains(&name), "not listed: {listed}");
    let described = run(&["describe", &name])?;
    ensure!(described.contains(&name), "not described: {described}");
    run(&["delete", &name])?;
    seen_by_java(trial, &name, None)?;
    Ok("create, list, describe, delete".to_owned())
}

/// kafka-topics sees this of a topic, or sees that there is none; within a few tries, since a
/// deletion takes its time.
fn seen_by_java(trial: &Trial, topic: &str, part: Option<&str>) -> Outcome<()> {
    let mut said = String::new();
    for _ in 0..20 {
        let mut describe = trial.kafka_tool("TopicCommand", &["--describe", "--topic", topic])?;
        said = process::run(&mut describe, b"", LIMIT)?.all_text();
        if said.contains(part.unwrap_or("does not exist")) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Err(Failure::new(format!("kafka-topics sees no {}: {said}", part.unwrap_or("deletion"))))
}

/// Given timestamps, none, and the broker's own.
pub(crate) fn keeps_timestamps(trial: &Trial) -> Outcome<String> {
    let (given, stamped) = (trial.topic("create-time"), trial.topic("append-time"));
    trial.create_topics(std::slice::from_ref(&given), 1, &[])?;
    let by_broker = &["message.timestamp.type=LogAppendTime"];
    trial.create_topics(std::slice::from_ref(&stamped), 1, by_broker)?;
    let start = now_ms() - 3_600_000;
    let record = |topic: &str, i: i64| Record {
        timestamp: Some(start + i * 1000),
        value: Some(i.to_string().into_bytes()),
        ..Record::to(topic)
    };
    let mut records: Vec<Record> = (0..100).map(|i| record(&given, i)).collect();
    records.push(Record { value: Some(b"now".to_vec()), ..Record::to(&given) });
    let job = Job { records, settings: vec!["compression.type=snappy".to_owned()] };
    let acks = Peer::Ours.produce(trial, std::slice::from_ref(&job))?;
    let expected = workload::placed(&job.records, &acks)?;
    for reader in [Peer::Java, Peer::Ours] {
        workload::same(&expected, reader.consume(trial, std::slice::from_ref(&given))?)?;
    }

    let producer = our_client::producer(&trial.bootstrap()?, &[])?;
    let metadata = our_client::send(&producer, &record(&stamped, 0))?.wait()?;
    our_client::close(&producer)?;
    let read = Peer::Java.consume(trial, std::slice::from_ref(&stamped))?;
    let stamp = read.first().and_then(|record| record.timestamp);
    ensure!(stamp == Some(metadata.timestamp.0), "acked {}, read {stamp:?}", metadata.timestamp);
    let age = now_ms() - metadata.timestamp.0;
    ensure!((-1000..600_000).contains(&age), "the broker's stamp is {age} ms old");
    Ok("given, now, and the broker's".to_owned())
}

/// Over max.request.size: refused at once. Over the topic's max.message.bytes: a batch of many
/// is split and all of it arrives in order; a record that is too large alone fails alone.
pub(crate) fn survives_large_records(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("small-batches");
    trial.create_topics(std::slice::from_ref(&topic), 1, &["max.message.bytes=4000"])?;
    let settings = ["batch.size=65536", "linger.ms=100", "max.request.size=200000"];
    let producer = our_client::producer(&trial.bootstrap()?, &settings.map(str::to_owned))?;
    let mut noise = Noise::seeded(5);
    let mut record =
        |bytes: usize| Record { value: Some(noise.bytes(bytes)), ..Record::to(&topic) };
    let over_request = match our_client::send(&producer, &record(300_000)) {
        Ok(delivery) => delivery.wait().is_err(),
        Err(_) => true,
    };
    ensure!(over_request, "a record over max.request.size was sent");
    let sent: Vec<Record> = (0..100).map(|i| record(if i == 50 { 5000 } else { 300 })).collect();
    let deliveries = sent
        .iter()
        .map(|record| our_client::send(&producer, record))
        .collect::<Outcome<Vec<_>>>()?;
    let mut arrived = Vec::new();
    for (at, (record, delivery)) in sent.iter().zip(deliveries).enumerate() {
        match delivery.wait() {
            Ok(ack) => {
                ensure!(at != 50, "the record over max.message.bytes was acked");
                let offset = ack.offset.map(|offset| offset.0);
                arrived.push(Record { partition: Some(0), offset, ..record.clone() });
            }
            Err(error) => ensure!(at == 50, "record {at} failed: {error}"),
        }
    }
    our_client::close(&producer)?;
    let count = workload::same(&arrived, Peer::Java.consume(trial, std::slice::from_ref(&topic))?)?;
    let in_order = arrived.is_sorted_by_key(|record| record.offset);
    ensure!(in_order && count == 99, "{count} records, in order: {in_order}");
    Ok("one refused, one failed alone, 99 split and in order".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_are_of_every_length_modulo_four() {
        let keys = keys(1000);
        let lengths: BTreeSet<usize> = keys.iter().map(|key| key.len() % 4).collect();
        assert_eq!((keys.len(), lengths.len()), (1000, 4));
        assert!(keys[0].is_empty());
    }
}
