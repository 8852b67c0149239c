//! Two members share a topic's partitions, one leaves, and the other goes on where it was.
//!
//!     cargo run --release -p streamledger --example consume_group [HOST:PORT]

use std::error::Error;
use std::time::Duration;

use streamledger::{
    Admin, AdminConfig, Consumer, ConsumerConfig, NewTopic, Producer, ProducerConfig,
    ProducerRecord, RebalanceListener, TopicPartition,
};
use streamledger_broker::{Broker, BrokerConfig};

const TOPIC: &str = "orders";
const RECORDS: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(bootstrap_servers) = std::env::args().nth(1) {
        return run(&bootstrap_servers).map(drop);
    }
    let broker = Broker::start(BrokerConfig::default())?;
    run(&broker.bootstrap_servers()).map(drop)
}

/// Says which partitions come and go.
struct Says(&'static str);

impl RebalanceListener for Says {
    fn assigned(&self, _: &Consumer, partitions: &[TopicPartition]) {
        println!("{} reads {} partitions more", self.0, partitions.len());
    }

    fn revoked(&self, _: &Consumer, partitions: &[TopicPartition]) {
        println!("{} gives up {} partitions", self.0, partitions.len());
    }
}

fn run(bootstrap_servers: &str) -> Result<usize, Box<dyn Error>> {
    let admin = AdminConfig::builder().bootstrap_servers(bootstrap_servers).build()?;
    // It may be there from the last time.
    drop(Admin::new(admin)?.create_topics(&[NewTopic::new(TOPIC, 4, 1)])?);
    fill(bootstrap_servers)?;
    let first = member(bootstrap_servers, "first")?;
    let read = read_some(&first, RECORDS)?;
    let second = member(bootstrap_servers, "second")?;
    // Partitions change hands as both poll.
    while second.assignment().is_empty() {
        first.poll(Duration::from_millis(50))?;
        second.poll(Duration::from_millis(50))?;
    }
    first.close(Duration::from_secs(10))?;
    fill(bootstrap_servers)?;
    let more = read_some(&second, RECORDS)?;
    second.close(Duration::from_secs(10))?;
    println!("{read} records by the first, {more} by the second");
    Ok(read + more)
}

fn member(bootstrap_servers: &str, name: &'static str) -> Result<Consumer, Box<dyn Error>> {
    let config = ConsumerConfig::builder()
        .bootstrap_servers(bootstrap_servers)
        .group_id("invoices")
        .set("auto.offset.reset", "earliest")
        .set("heartbeat.interval.ms", "200")
        .enable_auto_commit(false)
        .build()?;
    let consumer = Consumer::new(config)?;
    consumer.on_rebalance(Says(name));
    consumer.subscribe([TOPIC])?;
    Ok(consumer)
}

/// Reads, and commits after each batch, which is then done.
fn read_some(consumer: &Consumer, wanted: usize) -> Result<usize, Box<dyn Error>> {
    let mut count = 0;
    while count < wanted {
        count += consumer.poll(Duration::from_millis(500))?.len();
        consumer.commit()?;
    }
    Ok(count)
}

fn fill(bootstrap_servers: &str) -> Result<(), Box<dyn Error>> {
    let config = ProducerConfig::builder().bootstrap_servers(bootstrap_servers).build()?;
    let producer = Producer::new(config)?;
    for number in 0..RECORDS {
        let (key, value) = (format!("customer-{}", number % 7), number.to_string());
        drop(producer.send(ProducerRecord::to(TOPIC).key(&key).value(&value))?);
    }
    Ok(producer.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_goes_on_where_the_first_was() {
        let broker = Broker::start(BrokerConfig::default()).unwrap();
        assert_eq!(run(&broker.bootstrap_servers()).unwrap(), 2 * RECORDS);
    }
}
