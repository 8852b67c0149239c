//! Reads a topic by partition: from the beginning, from a point in time, and past what is decided.
//! Nothing is committed; where reading starts is said each time.
//!
//!     cargo run --release -p streamledger --example consume_partitions [HOST:PORT TOPIC]

use std::error::Error;
use std::time::Duration;

use streamledger::{
    Consumer, ConsumerConfig, ConsumerError, Position, Producer, ProducerConfig, ProducerRecord,
    TimestampMs, TopicPartition,
};
use streamledger_broker::{Broker, BrokerConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    if let (Some(bootstrap_servers), Some(topic)) = (arguments.next(), arguments.next()) {
        return run(&bootstrap_servers, &topic).map(drop);
    }
    // Without an address, a broker of its own with something to read.
    let broker = Broker::start(BrokerConfig::default())?;
    let bootstrap_servers = broker.bootstrap_servers();
    fill(&bootstrap_servers, "numbers")?;
    run(&bootstrap_servers, "numbers").map(drop)
}

fn run(bootstrap_servers: &str, topic: &str) -> Result<usize, Box<dyn Error>> {
    let config = ConsumerConfig::builder()
        .bootstrap_servers(bootstrap_servers)
        .set("isolation.level", "read_committed")
        .build()?;
    let consumer = Consumer::new(config)?;
    let partitions = consumer.partitions_for(topic)?;
    let all = read_to_end(&consumer, &partitions, Position::Beginning)?;
    println!("{all} records in {} partitions", partitions.len());
    let new = read_to_end(&consumer, &partitions, Position::Timestamp(TimestampMs(60_000)))?;
    println!("{new} of them from the second minute of 1970 or later");
    Ok(all)
}

/// Reads up to where the partitions end now, and counts.
fn read_to_end(
    consumer: &Consumer,
    partitions: &[TopicPartition],
    from: Position,
) -> Result<usize, ConsumerError> {
    let ends = consumer.end_offsets(partitions)?;
    let assignment: Vec<_> = partitions.iter().map(|tp| (tp.clone(), from)).collect();
    consumer.assign(&assignment);
    let is_at_end = |(partition, end)| consumer.position(partition).is_some_and(|at| at >= end);
    let mut record_count = 0;
    while !partitions.iter().zip(ends.iter().copied()).all(is_at_end) {
        // `poll` gives records of one's own; `poll_with` shows them where they lie.
        record_count += consumer.poll_with(Duration::from_secs(1), |record| {
            if record.offset.0 == 0 {
                let key = String::from_utf8_lossy(record.key.unwrap_or_default());
                println!("{} begins with {key}", record.topic_partition);
            }
        })?;
    }
    Ok(record_count)
}

/// A hundred records, a second apart.
fn fill(bootstrap_servers: &str, topic: &str) -> Result<(), Box<dyn Error>> {
    let config = ProducerConfig::builder().bootstrap_servers(bootstrap_servers).build()?;
    let producer = Producer::new(config)?;
    for number in 0..100_i64 {
        let (key, value) = (format!("key-{number}"), number.to_string());
        let time = TimestampMs(number * 1000);
        let record = ProducerRecord::to(topic).key(&key).value(&value).timestamp(time);
        drop(producer.send(record)?);
    }
    // The futures were dropped; the records go all the same.
    producer.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_was_written() -> Result<(), Box<dyn Error>> {
        let broker = Broker::start(BrokerConfig::default())?;
        fill(&broker.bootstrap_servers(), "numbers")?;
        assert_eq!(run(&broker.bootstrap_servers(), "numbers")?, 100);
        Ok(())
    }
}
