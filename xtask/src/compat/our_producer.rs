//! What our producer can do beside sending: interceptors, traces, levels of compression and the
//! cores it takes, leaders in its own rack.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use streamledger::{
    BrokerId, InterceptedRecord, Interceptor, NewTopic, OnEnd, PartitionIndex, Producer,
    ProducerConfig, TraceContext,
};
use tracing_subscriber::layer::SubscriberExt;

use super::lab::Trial;
use super::our_client;
use super::peer::Peer;
use super::record::Record;
use super::spans::{Place, RecordSpans};
use super::workload::{Noise, PARTITIONS};
use crate::failure::{Failure, Outcome, ensure};

/// Each codec that has levels, at both ends of them.
const LEVELS: [(&str, &str); 4] = [("gzip", "1"), ("gzip", "9"), ("zstd", "-7"), ("zstd", "19")];
const RECORDS: usize = 200;
const SEND_TOTAL: &str = "kafka_producer_record_send_total{";

/// Adds a header to each record, and counts how records end.
#[derive(Clone, Default)]
struct Watch {
    acked: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
}

impl Interceptor for Watch {
    fn on_send(&self, record: &mut InterceptedRecord<'_>) -> Option<OnEnd> {
        record.set_header("seen", b"yes".to_vec());
        let Watch { acked, failed } = self.clone();
        Some(Box::new(move |end| {
            let count = if end.is_ok_and(|at| at.offset.is_some()) { acked } else { failed };
            count.fetch_add(1, Ordering::Relaxed);
        }))
    }
}

/// Each record passes two interceptors, at each level of compression; Java reads what they made
/// of it.
pub(crate) fn intercepts(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("watched");
    trial.create_topics(std::slice::from_ref(&topic), PARTITIONS, &[])?;
    let bootstrap = trial.bootstrap()?;
    let (watch, spans) = (Watch::default(), RecordSpans::default());
    for (codec, level) in LEVELS {
        let settings = [
            format!("compression.type={codec}"),
            format!("compression.{codec}.level={level}"),
            "linger.ms=50".to_owned(),
        ];
        let config = our_client::producer_config(&bootstrap, &settings)?;
        let builder = Producer::builder(config).interceptor(watch.clone());
        let producer = builder.interceptor(TraceContext::new()).build()?;
        let subscriber = tracing_subscriber::registry().with(spans.clone());
        tracing::subscriber::with_default(subscriber, || -> Outcome<()> {
            for number in 0..RECORDS {
                let value = format!("{codec} {level} {number}").repeat(20).into_bytes();
                let record = Record { value: Some(value), ..Record::to(&topic) };
                // The interceptor hears of it.
                drop(our_client::send(&producer, &record)?);
            }
            Ok(())
        })?;
        our_client::close(&producer)?;
        let metrics = producer.metrics();
        let counted = (metrics.record_send_total, metrics.record_error_total);
        ensure!(counted == (RECORDS as u64, 0), "the metrics count {counted:?} sent and failed");
        let rate = metrics.compression_rate_avg;
        ensure!(rate > 0.0 && rate < 0.5, "{codec} at level {level}: {rate} of the bytes");
        let page = metrics.to_prometheus();
        let total = page.lines().find(|line| line.starts_with(SEND_TOTAL)).unwrap_or_default();
        ensure!(total.ends_with(&format!(" {RECORDS}")), "Prometheus is told {total:?}");
    }
    let sent = LEVELS.len() * RECORDS;
    let (acked, failed) =
        (watch.acked.load(Ordering::Relaxed), watch.failed.load(Ordering::Relaxed));
    ensure!((acked, failed) == (sent, 0), "the interceptor saw {acked} acked, {failed} failed");
    let read = Peer::Java.consume(trial, std::slice::from_ref(&topic))?;
    ensure!(read.len() == sent, "{} of {sent} records read", read.len());
    let place = |record: &Record| Place {
        partition: record.partition.map(i64::from),
        offset: record.offset,
    };
    let mut places: Vec<Place> = read.iter().map(place).collect();
    places.sort_unstable();
    let over = spans.over();
    ensure!(over == places, "{} of {sent} spans ended where their records are", over.len());
    for record in &read {
        let header = |name: &str| {
            let found = record.headers.iter().find(|(key, _)| key == name);
            let value = found.and_then(|(_, value)| value.clone());
            value.ok_or_else(|| Failure::new(format!("no header {name}: {record:?}")))
        };
        ensure!(header("seen")? == b"yes", "the header is {record:?}");
        let parent = String::from_utf8(header("traceparent")?)?;
        let lengths: Vec<usize> = parent.split('-').map(str::len).collect();
        ensure!(lengths == [2, 32, 16, 2], "traceparent {parent}");
    }
    Ok(format!(
        "{sent} records, each with a header, a trace and a span, at {} levels",
        LEVELS.len()
    ))
}

/// Batches are compressed on as many threads as there are cores (four at most), and each
/// partition's records keep their order.
pub(crate) fn compresses_on_each_core(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("cores");
    trial.create_topics(std::slice::from_ref(&topic), PARTITIONS, &[])?;
    let settings = ["compression.type=zstd", "compression.zstd.level=19", "linger.ms=50"];
    let producer = our_client::producer(&trial.bootstrap()?, &settings.map(str::to_owned))?;
    let mut noise = Noise::seeded(11);
    // Text, so that level 19 has to work on it: some 40 ms of CPU for each batch of 16 KiB.
    let mut values = Vec::new();
    for number in 0..40 * RECORDS {
        let words: Vec<String> = (0..30).map(|_| (noise.next() % 1000).to_string()).collect();
        values.push(format!("{number} {}", words.join(" ")));
    }
    for (number, value) in values.iter().enumerate() {
        let partition = Some(i32::try_from(number)? % PARTITIONS);
        let value = Some(value.clone().into_bytes());
        drop(our_client::send(&producer, &Record { partition, value, ..Record::to(&topic) })?);
    }
    producer.flush()?;
    let busy = busy_threads("streamledger-co")?;
    our_client::close(&producer)?;
    let cores = std::thread::available_parallelism()?.get();
    let expected = if cores == 1 { 0 } else { cores.min(4) };
    ensure!(busy == expected, "{busy} threads compressed, on {cores} cores");
    let mut read = our_client::consume(trial, std::slice::from_ref(&topic))?;
    read.sort_by_key(|record| (record.partition, record.offset));
    for partition in 0..PARTITIONS {
        let of_it = read.iter().filter(|record| record.partition == Some(partition));
        let seen: Vec<Option<&[u8]>> = of_it.map(|record| record.value.as_deref()).collect();
        let sent = values.iter().skip(usize::try_from(partition)?);
        let sent = sent.step_by(usize::try_from(PARTITIONS)?).map(|v| Some(v.as_bytes()));
        ensure!(seen == sent.collect::<Vec<_>>(), "partition {partition} isn't what was sent");
    }
    Ok(format!("{} records in order, compressed by {busy} threads on {cores} cores", values.len()))
}

/// How many threads of this process with such a name have worked.
fn busy_threads(name: &str) -> Outcome<usize> {
    let mut busy = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let directory = task?.path();
        // One that has ended meanwhile is none of those that are asked for.
        let Ok(comm) = std::fs::read_to_string(directory.join("comm")) else { continue };
        if comm.starts_with(name) {
            // Nanoseconds on a core come first in it.
            let spent = std::fs::read_to_string(directory.join("schedstat"))?;
            let spent: u64 = spent.split_whitespace().next().unwrap_or("0").parse()?;
            busy += usize::from(spent > 5_000_000);
        }
    }
    Ok(busy)
}

/// Three brokers in three racks: records without a key go where the producer is, to every
/// partition that is led there.
pub(crate) fn prefers_its_rack(trial: &Trial) -> Outcome<String> {
    let bootstrap = trial.cluster()?.bootstrap();
    let topic = trial.topic("near");
    // One partition, two and three: by lot, a rack may have none.
    let places = [1, 2, 2, 3, 3, 3].map(BrokerId);
    let new = NewTopic::with_replicas(topic.as_str(), places.map(|place| vec![place]));
    our_client::admin(&bootstrap)?.create_topics(&[new])?.only()?;
    // Each few records the sticky partitioner chooses again: often enough to come by each place.
    let records = 2 * RECORDS;
    let mut counts = Vec::new();
    for (rack, leader) in [("rack-1", BrokerId(1)), ("rack-3", BrokerId(3))] {
        let mut settings = vec![format!("client.rack={rack}"), "batch.size=256".to_owned()];
        settings.push("partitioner.rack.aware=true".to_owned());
        let config: ProducerConfig = our_client::producer_config(&bootstrap, &settings)?;
        let producer = Producer::new(config)?;
        let mut used = BTreeSet::new();
        for number in 0..records {
            let value = Some(number.to_string().into_bytes());
            let record = Record { value, ..Record::to(&topic) };
            used.insert(our_client::send(&producer, &record)?.wait()?.topic_partition.partition);
        }
        our_client::close(&producer)?;
        let led = (0..).map(PartitionIndex).zip(places).filter(|(_, place)| *place == leader);
        let led: BTreeSet<_> = led.map(|(partition, _)| partition).collect();
        ensure!(used == led, "records from {rack} went to {used:?}, it leads {led:?}");
        counts.push(used.len());
    }
    Ok(format!("{records} records each from two racks, to the {counts:?} partitions led there"))
}
