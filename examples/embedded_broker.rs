//! A real broker inside a test: up in milliseconds, on a free port, gone with its directory at the
//! end. Any Kafka client can talk to it; here it is ours.
//!
//!     cargo run --release -p streamledger --example embedded_broker
//!     cargo test -p streamledger --example embedded_broker

use std::error::Error;
use std::time::{Duration, Instant};

use streamledger::{
    Consumer, ConsumerConfig, PartitionIndex, Position, ProduceError, Producer, ProducerConfig,
    ProducerRecord, TopicPartition,
};
use streamledger_broker::{Broker, BrokerConfig, RunningBroker};

/// What is to be tested: something that sends to Kafka.
struct Orders {
    producer: Producer,
}

impl Orders {
    fn new(bootstrap_servers: &str) -> Result<Orders, Box<dyn Error>> {
        let config = ProducerConfig::builder().bootstrap_servers(bootstrap_servers).build()?;
        Ok(Orders { producer: Producer::new(config)? })
    }

    fn place(&self, customer: &str, order: &str) -> Result<(), ProduceError> {
        let record = ProducerRecord::to("orders").key(customer).value(order);
        self.producer.send(record)?.wait().map(drop)
    }
}

/// A broker without a directory has one of its own, and takes it along when it ends.
fn start_broker() -> Result<RunningBroker, Box<dyn Error>> {
    let config = BrokerConfig::builder().property("num.partitions", "1").build()?;
    Ok(Broker::start(config)?)
}

/// Everything in partition 0 of a topic, as text.
fn values(bootstrap_servers: &str, topic: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let config = ConsumerConfig::builder().bootstrap_servers(bootstrap_servers).build()?;
    let consumer = Consumer::new(config)?;
    let partition = TopicPartition::new(topic, PartitionIndex(0));
    let ends = consumer.end_offsets(std::slice::from_ref(&partition))?;
    consumer.assign(&[(partition.clone(), Position::Beginning)]);
    let mut values = Vec::new();
    while consumer.position(&partition).is_none_or(|position| position < ends[0]) {
        for record in consumer.poll(Duration::from_secs(1))? {
            let value = record.value.unwrap_or_default();
            values.push(String::from_utf8(value.to_vec())?);
        }
    }
    Ok(values)
}

fn main() -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let broker = start_broker()?;
    println!("a broker at {} after {:?}", broker.bootstrap_servers(), started.elapsed());
    let orders = Orders::new(&broker.bootstrap_servers())?;
    orders.place("ada", "one engine")?;
    orders.place("ada", "one more")?;
    println!("{:?}", values(&broker.bootstrap_servers(), "orders")?);
    broker.shutdown()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_arrive_in_the_order_they_were_placed() -> Result<(), Box<dyn Error>> {
        let broker = start_broker()?;
        let orders = Orders::new(&broker.bootstrap_servers())?;
        orders.place("ada", "one engine")?;
        orders.place("ada", "one more")?;
        assert_eq!(values(&broker.bootstrap_servers(), "orders")?, ["one engine", "one more"]);
        Ok(())
    }
}
