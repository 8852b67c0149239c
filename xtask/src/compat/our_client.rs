//! Our client as a peer, through its public API alone.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use streamledger::{
    Admin, AdminConfig, Consumer, ConsumerConfig, ConsumerRecord, DeliveryFuture, Header, Offset,
    PartitionIndex, Position, Producer, ProducerConfig, ProducerRecord, Properties, TimestampMs,
    TopicPartition,
};

use super::kill::{PARTITIONS, RATE, Sender, Sent};
use super::lab::{LIMIT, Trial};
use super::peer::Job;
use super::record::{Ack, Record};
use crate::failure::{Failure, Outcome, ensure};

/// Settings as `name=value`, with the broker's address.
fn properties(bootstrap: &str, settings: &[String]) -> Properties {
    let start = Properties::new().with("bootstrap.servers", bootstrap);
    let pairs = settings.iter().filter_map(|setting| setting.split_once('='));
    pairs.fold(start, |properties, (name, value)| properties.with(name, value))
}

pub(crate) fn producer(bootstrap: &str, settings: &[String]) -> Outcome<Producer> {
    Ok(Producer::new(producer_config(bootstrap, settings)?)?)
}

pub(crate) fn producer_config(bootstrap: &str, settings: &[String]) -> Outcome<ProducerConfig> {
    Ok(ProducerConfig::from_properties(&properties(bootstrap, settings))?)
}

pub(crate) fn admin(bootstrap: &str) -> Outcome<Admin> {
    Ok(Admin::new(AdminConfig::from_properties(&properties(bootstrap, &[]))?)?)
}

/// Each job with a producer of its own, which is flushed and closed.
pub(crate) fn produce(trial: &Trial, jobs: &[Job]) -> Outcome<Vec<Ack>> {
    let mut acks = Vec::new();
    for job in jobs {
        let producer = producer(&trial.bootstrap()?, &job.settings)?;
        let sent = job.records.iter().map(|record| send(&producer, record));
        let deliveries: Vec<DeliveryFuture> = sent.collect::<Outcome<_>>()?;
        producer.flush()?;
        for delivery in deliveries {
            let metadata = delivery.wait()?;
            acks.push(Ack {
                topic: metadata.topic_partition.topic.to_string(),
                partition: metadata.topic_partition.partition.0,
                offset: metadata.offset.map_or(-1, |offset| offset.0),
            });
        }
        close(&producer)?;
    }
    Ok(acks)
}

/// Queues one record; what it says of headers, partition and timestamp is kept.
pub(crate) fn send(producer: &Producer, record: &Record) -> Outcome<DeliveryFuture> {
    let headers: Vec<Header> =
        record.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
    let mut outgoing = ProducerRecord::to(&record.topic).headers(&headers);
    if let Some(key) = &record.key {
        outgoing = outgoing.key(key);
    }
    if let Some(value) = &record.value {
        outgoing = outgoing.value(value);
    }
    if let Some(partition) = record.partition {
        outgoing = outgoing.partition(PartitionIndex(partition));
    }
    if let Some(timestamp) = record.timestamp {
        outgoing = outgoing.timestamp(TimestampMs(timestamp));
    }
    Ok(producer.send(outgoing)?)
}

pub(crate) fn close(producer: &Producer) -> Outcome<()> {
    let report = producer.close(LIMIT);
    let left = report.undelivered_records;
    ensure!(report.is_closed && left == 0, "{left} records were left at close");
    Ok(())
}

/// Everything in these topics, from the first offset to the end as it is now.
pub(crate) fn consume(trial: &Trial, topics: &[String]) -> Outcome<Vec<Record>> {
    consume_from(&trial.bootstrap()?, topics)
}

/// The same, of any brokers.
pub(crate) fn consume_from(bootstrap: &str, topics: &[String]) -> Outcome<Vec<Record>> {
    let settings = properties(bootstrap, &[]);
    let consumer = Consumer::new(ConsumerConfig::from_properties(&settings)?)?;
    let mut partitions = Vec::new();
    for topic in topics {
        partitions.extend(consumer.partitions_for(topic)?);
    }
    let ends = partitions.iter().cloned().zip(consumer.end_offsets(&partitions)?);
    let mut open: BTreeMap<TopicPartition, Offset> = ends.filter(|(_, end)| end.0 > 0).collect();
    let start: Vec<_> = partitions.into_iter().map(|at| (at, Position::Beginning)).collect();
    consumer.assign(&start);
    let mut records = Vec::new();
    let deadline = Instant::now() + LIMIT;
    while !open.is_empty() {
        ensure!(Instant::now() < deadline, "the end was not reached: {open:?}");
        records.extend(consumer.poll(Duration::from_millis(200))?.into_iter().map(read));
        // The marker that ends a transaction is the end of a partition, and no record.
        open.retain(|partition, end| consumer.position(partition).is_none_or(|at| at < *end));
    }
    Ok(records)
}

fn read(record: ConsumerRecord) -> Record {
    let bytes = |bytes: Bytes| bytes.to_vec();
    let headers = record.headers.into_iter();
    Record {
        topic: record.topic_partition.topic.to_string(),
        partition: Some(record.topic_partition.partition.0),
        offset: Some(record.offset.0),
        timestamp: Some(record.timestamp.0),
        key: record.key.map(bytes),
        value: record.value.map(bytes),
        headers: headers.map(|(name, value)| (name, value.map(bytes))).collect(),
    }
}

/// Our producer under the kills of `kill.rs`: idempotent, in a thread of this process.
pub(crate) struct OurSender {
    thread: JoinHandle<Outcome<Sent>>,
    stop: Arc<AtomicBool>,
}

impl Sender for OurSender {
    fn start(_: &Trial, broker: &str, topic: &str, acks: &Path) -> Outcome<Self> {
        let settings = ["linger.ms=2", "reconnect.backoff.max.ms=100", "retry.backoff.ms=20"];
        let producer = producer(broker, &settings.map(str::to_owned))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, topic, acks) = (Arc::clone(&stop), topic.to_owned(), acks.to_owned());
        let thread = thread::spawn(move || endure(&producer, &topic, &acks, &stopped));
        Ok(Self { thread, stop })
    }

    fn is_running(&mut self) -> bool {
        !self.thread.is_finished()
    }

    fn stop(self) -> Outcome<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| Failure::new("our producer panicked"))?
    }
}

#[derive(Default)]
struct Endured {
    acked: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
}

fn endure(producer: &Producer, topic: &str, acks: &Path, stop: &AtomicBool) -> Outcome<Sent> {
    let log = Arc::new(Mutex::new(BufWriter::new(File::create(acks)?)));
    let endured = Arc::new(Endured::default());
    let partitions = u64::try_from(PARTITIONS)?;
    let (start, mut sent) = (Instant::now(), 0u64);
    while !stop.load(Ordering::Relaxed) {
        let number = (sent / partitions).to_string();
        let partition = PartitionIndex(i32::try_from(sent % partitions)?);
        let value = number.clone();
        let record = ProducerRecord::to(topic).partition(partition).value(value.as_bytes());
        let (log, endured) = (Arc::clone(&log), Arc::clone(&endured));
        producer.send_with(record, move |result| match result {
            Ok(ack) => {
                let offset = ack.offset.map_or(-1, |offset| offset.0);
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                // A lost line shows as a count that doesn't agree.
                if writeln!(log, "{}\t{offset}\t{number}", partition.0).is_ok() {
                    endured.acked.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(error) => {
                endured.failed.fetch_add(1, Ordering::Relaxed);
                let mut first =
                    endured.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| format!("{}:{number}: {error}", partition.0));
            }
        })?;
        sent += 1;
        let due = start + Duration::from_secs(1) * u32::try_from(sent)? / RATE;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    producer.flush()?;
    close(producer)?;
    log.lock().unwrap_or_else(PoisonError::into_inner).flush()?;
    if let Some(first) = &*endured.first_failure.lock().unwrap_or_else(PoisonError::into_inner) {
        eprintln!("the first failed record: {first}");
    }
    let (acked, failed) = (&endured.acked, &endured.failed);
    let (acked, failed) = (acked.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    Ok(Sent { sent, acked, failed })
}
