//! The topic that keeps jobs' progress: made, read to its end, and told to forget.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use streamledger::{
    Consumer, ConsumerConfig, Offset, Position, Producer, ProducerConfig, ProducerRecord,
    Properties, TopicPartition,
};

use super::progress::VERSION;
use super::{FileProgress, ProgressKey};
use crate::access::Access;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::producing::{config_failure, send_failure};
use crate::topic_access::{self, EnsuredTopic};
use crate::ui;

/// Its name.
pub const TOPIC: &str = "__streamledger_progress";

/// How long one look for records may take.
const POLL: Duration = Duration::from_millis(200);

/// After this long a person is told what is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes sure that the topic is there.
pub fn ensure(access: &Access, properties: &Properties) -> Outcome<()> {
    let configs = [("cleanup.policy".to_owned(), "compact".to_owned())];
    let topic = EnsuredTopic { name: TOPIC, partitions: 1, configs: &configs };
    topic_access::ensure(access, properties, &topic).map(drop)
}

/// All progress that was committed. It reads to the topic's very end, waiting for transactions that
/// are open: what one of them holds back might be of the job at hand. None after Ctrl-C.
pub fn read(
    access: &Access,
    properties: &Properties,
    interrupt: &Interrupt,
) -> Outcome<Option<BTreeMap<ProgressKey, FileProgress>>> {
    let partitions = topic_access::partitions(access, properties, TOPIC)?;
    let end = consumer(access, properties, "read_uncommitted")?;
    let ends = end.end_offsets(&partitions).map_err(|error| unreadable(&error))?;
    let consumer = consumer(access, properties, "read_committed")?;
    let start: Vec<_> =
        partitions.iter().map(|partition| (partition.clone(), Position::Beginning)).collect();
    consumer.assign(&start);
    let mut progress = BTreeMap::new();
    let begun = Instant::now();
    let mut was_told = false;
    while !is_at_end(&consumer, &partitions, &ends) {
        if interrupt.is_raised() {
            return Ok(None);
        }
        if begun.elapsed() > PATIENCE && !was_told {
            was_told = true;
            ui::say("waiting for another job's open transaction to end");
        }
        let records = consumer.poll(POLL).map_err(|error| unreadable(&error))?;
        for record in &records {
            let Some(key) = record.key.as_deref() else { continue };
            let key: ProgressKey = serde_json::from_slice(key).map_err(|error| foreign(&error))?;
            match record.value.as_deref() {
                None => drop(progress.remove(&key)),
                Some(value) => drop(progress.insert(key, parse(value)?)),
            }
        }
    }
    Ok(Some(progress))
}

/// Forgets progress: these files will be sent from their start.
pub fn forget(
    access: &Access,
    properties: &Properties,
    transactional_id: &str,
    keys: &[ProgressKey],
) -> Outcome<()> {
    let properties = topic_access::known_to(streamledger::config::ClientKind::Producer, properties)
        .with("bootstrap.servers", &access.bootstrap_servers)
        .with("transactional.id", transactional_id);
    let config =
        ProducerConfig::from_properties(&properties).map_err(|error| config_failure(&error))?;
    let failed = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(Exit::Failed, "the progress can't be forgotten").because(error)
    };
    let producer = Producer::new(config).map_err(|error| failed(&error))?;
    // A run that still goes on is fenced: it can't write the progress anew.
    producer.init_transactions().map_err(|error| failed(&error))?;
    let mut transaction = producer.begin_transaction().map_err(|error| failed(&error))?;
    for key in keys {
        let key = serde_json::to_vec(key).map_err(|error| failed(&error))?;
        let record = ProducerRecord::to(TOPIC).key(&key);
        drop(transaction.send(record).map_err(|error| send_failure(&error))?);
    }
    transaction.commit().map_err(|error| failed(&error).into())
}

fn parse(value: &[u8]) -> Outcome<FileProgress> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = serde_json::from_slice(value).map_err(|error| foreign(&error))?;
    if version > VERSION {
        return Failure::new(Exit::Failed, "the progress was written by a newer streamledger")
            .cause(format!("{TOPIC} has a record of version {version}, this one knows {VERSION}"))
            .remedy("use that version, or send the files under a --job of another name")
            .err();
    }
    serde_json::from_slice(value).map_err(|error| foreign(&error).into())
}

fn consumer(access: &Access, properties: &Properties, isolation: &str) -> Outcome<Consumer> {
    let properties = topic_access::known_to(streamledger::config::ClientKind::Consumer, properties)
        .with("bootstrap.servers", &access.bootstrap_servers)
        .with("isolation.level", isolation)
        .with("auto.offset.reset", "earliest");
    let config =
        ConsumerConfig::from_properties(&properties).map_err(|error| config_failure(&error))?;
    Ok(Consumer::new(config).map_err(|error| unreadable(&error))?)
}

fn is_at_end(consumer: &Consumer, partitions: &[TopicPartition], ends: &[Offset]) -> bool {
    let mut pairs = partitions.iter().zip(ends);
    pairs.all(|(partition, end)| consumer.position(partition).is_some_and(|at| at >= *end))
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Exit::Failed, format!("the progress can't be read from {TOPIC}")).because(error)
}

fn foreign(error: &serde_json::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{TOPIC} holds a record that isn't progress"))
        .because(error)
        .remedy("find out who writes to it; --at-least-once sends without looking at it")
}
