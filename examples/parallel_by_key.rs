//! Sixteen workers on one consumer: each customer's orders in order, different customers' at once.
//!
//!     cargo run --release -p streamledger --example parallel_by_key [HOST:PORT]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use streamledger::consumer::ParallelConsumer;
use streamledger::{Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord};
use streamledger_broker::{Broker, BrokerConfig};

const TOPIC: &str = "orders";
const RECORDS: usize = 400;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(bootstrap_servers) = std::env::args().nth(1) {
        return run(&bootstrap_servers).map(drop);
    }
    let broker = Broker::start(BrokerConfig::default())?;
    run(&broker.bootstrap_servers()).map(drop)
}

type Orders = BTreeMap<Vec<u8>, Vec<usize>>;

fn run(bootstrap_servers: &str) -> Result<Orders, Box<dyn Error>> {
    fill(bootstrap_servers)?;
    let config = ConsumerConfig::builder()
        .bootstrap_servers(bootstrap_servers)
        .group_id("packers")
        .set("auto.offset.reset", "earliest")
        .enable_auto_commit(false)
        .build()?;
    let consumer = Consumer::new(config)?;
    consumer.subscribe([TOPIC])?;
    let parallel = ParallelConsumer::new(consumer, 16).records_max(200);
    let stop = parallel.stop_handle();
    let orders: Mutex<Orders> = Mutex::default();
    let begun = Instant::now();
    parallel.run(|record| {
        // Some work that waits for something.
        std::thread::sleep(Duration::from_millis(5));
        let number = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
        let number = number.parse::<usize>()?;
        let key = record.key.as_deref().unwrap_or_default().to_vec();
        let mut orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.entry(key).or_default().push(number);
        if orders.values().map(Vec::len).sum::<usize>() == RECORDS {
            stop.stop();
        }
        Ok::<(), std::num::ParseIntError>(())
    })?;
    parallel.consumer().close(Duration::from_secs(10))?;
    let orders = orders.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{RECORDS} orders of {} customers in {:.1?}; one after the other they take {:.1?}",
        orders.len(),
        begun.elapsed(),
        Duration::from_millis(5) * u32::try_from(RECORDS)?
    );
    Ok(orders)
}

fn fill(bootstrap_servers: &str) -> Result<(), Box<dyn Error>> {
    let config = ProducerConfig::builder().bootstrap_servers(bootstrap_servers).build()?;
    let producer = Producer::new(config)?;
    for number in 0..RECORDS {
        let (key, value) = (format!("customer-{}", number % 50), number.to_string());
        drop(producer.send(ProducerRecord::to(TOPIC).key(&key).value(&value))?);
    }
    Ok(producer.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_customers_orders_are_worked_on_in_order() {
        let broker = Broker::start(BrokerConfig::default()).unwrap();
        let orders = run(&broker.bootstrap_servers()).unwrap();
        assert_eq!(orders.values().map(Vec::len).sum::<usize>(), RECORDS);
        assert!(orders.values().all(|numbers| numbers.is_sorted()));
    }
}
