//! As `consume_process_produce`, but async, on an executor that is yours: reads numbers, writes
//! their squares, and commits both sides in one transaction.
//!
//!     cargo run --release -p streamledger --example consume_process_produce_async HOST:PORT
//!
//! The broker may be `streamledger serve` or Apache Kafka.

use std::error::Error;
use std::time::Duration;

use streamledger::{
    ConsumeProcessProduce, Consumer, ConsumerConfig, ConsumerRecords, IsolationLevel, Output,
    Processed, ProducerConfig, ProducerRecord,
};

const INPUT: &str = "numbers";
const OUTPUT: &str = "squares";

fn reader(bootstrap_servers: &str) -> Result<ConsumerConfig, Box<dyn Error>> {
    let config = ConsumerConfig::builder()
        .bootstrap_servers(bootstrap_servers)
        .isolation_level(IsolationLevel::ReadCommitted)
        .set("auto.offset.reset", "earliest")
        .build()?;
    Ok(config)
}

async fn start(bootstrap_servers: &str) -> Result<ConsumeProcessProduce, Box<dyn Error>> {
    let producer = ProducerConfig::builder()
        .bootstrap_servers(bootstrap_servers)
        // One name for each share of the input: whoever takes it over fences who had it.
        .transactional_id("squaring-0")
        .build()?;
    let input = Consumer::new(reader(bootstrap_servers)?)?.partitions_for_async(INPUT).await?;
    Ok(ConsumeProcessProduce::new(reader(bootstrap_servers)?, producer, "squaring", &input)?)
}

async fn square(records: &ConsumerRecords, output: &Output<'_>) -> Result<(), Box<dyn Error>> {
    for record in records {
        let number: i64 = std::str::from_utf8(record.value.as_deref().unwrap_or(b"0"))?.parse()?;
        let squared = (number * number).to_string();
        drop(output.send_async(ProducerRecord::to(OUTPUT).value(&squared)).await?);
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap_servers = std::env::args().nth(1).ok_or("give the address of a broker")?;
    let mut work = start(&bootstrap_servers).await?;
    loop {
        match work.run_once_async(Duration::from_secs(1), square).await? {
            Processed::Nothing => println!("nothing new"),
            Processed::Committed(records) => println!("{records} records"),
            Processed::Aborted(error) => println!("again: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamledger::{Position, Producer};
    use streamledger_broker::{Broker, BrokerConfig, RunningBroker};

    fn broker_with(numbers: std::ops::Range<i64>) -> Result<RunningBroker, Box<dyn Error>> {
        let broker = Broker::start(BrokerConfig::builder().listen("127.0.0.1:0").build()?)?;
        let config = ProducerConfig::builder().bootstrap_servers(&broker.bootstrap_servers());
        let producer = Producer::new(config.build()?)?;
        for number in numbers {
            drop(producer.send(ProducerRecord::to(INPUT).value(&number.to_string()))?);
        }
        // So that the output is there to be read, whatever becomes of the work.
        let _ = producer.partitions_for(OUTPUT)?;
        producer.flush()?;
        Ok(broker)
    }

    async fn squares(bootstrap_servers: &str) -> Result<Vec<i64>, Box<dyn Error>> {
        let consumer = Consumer::new(reader(bootstrap_servers)?)?;
        let partitions = consumer.partitions_for_async(OUTPUT).await?;
        let all = ConsumerConfig::builder().bootstrap_servers(bootstrap_servers).build()?;
        let all = Consumer::new(all)?;
        // A commit is acknowledged before its markers are written.
        let ends = loop {
            let ends = consumer.end_offsets_async(&partitions).await?;
            if ends == all.end_offsets_async(&partitions).await? {
                break ends;
            }
        };
        let start: Vec<_> = partitions.iter().map(|at| (at.clone(), Position::Beginning)).collect();
        consumer.assign(&start);
        let mut squares = Vec::new();
        while !partitions.iter().zip(&ends).all(|(at, end)| consumer.position(at) >= Some(*end)) {
            for record in consumer.poll_async(Duration::from_secs(1)).await? {
                squares.push(std::str::from_utf8(&record.value.unwrap_or_default())?.parse()?);
            }
        }
        squares.sort_unstable();
        Ok(squares)
    }

    #[tokio::test]
    async fn each_number_is_squared_once_though_runs_are_given_up_at_any_moment()
    -> Result<(), Box<dyn Error>> {
        let broker = broker_with(0..500)?;
        let bootstrap_servers = broker.bootstrap_servers();
        let mut work = start(&bootstrap_servers).await?;
        let (mut given_up, mut idle) = (0_u64, 0);
        while idle < 2 {
            let patience = Duration::from_millis(1 + given_up * 3);
            let run = work.run_once_async(Duration::from_millis(300), square);
            match tokio::time::timeout(patience.min(Duration::from_secs(30)), run).await {
                Err(_) => given_up += 1,
                Ok(Ok(Processed::Nothing)) => idle += 1,
                Ok(outcome) => drop(outcome?),
            }
        }
        let expected: Vec<i64> = (0..500).map(|number| number * number).collect();
        assert_eq!(squares(&bootstrap_servers).await?, expected);
        assert!(given_up > 3, "only {given_up} runs were given up");
        Ok(())
    }
}
