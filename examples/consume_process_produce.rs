//! Reads words, writes them in capitals, and commits both sides in one transaction: kill it when
//! you like, and start it again; each word comes out once.
//!
//!     cargo run --release -p streamledger --example consume_process_produce HOST:PORT
//!
//! The broker may be `streamledger serve` or Apache Kafka.

use std::error::Error;
use std::time::Duration;

use streamledger::{
    ConsumeProcessProduce, Consumer, ConsumerConfig, IsolationLevel, Processed, ProduceError,
    ProducerConfig, ProducerRecord,
};

const INPUT: &str = "words";
const OUTPUT: &str = "shouted";

fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap_servers = std::env::args().nth(1).ok_or("give the address of a broker")?;
    let consumer = || {
        ConsumerConfig::builder()
            .bootstrap_servers(&bootstrap_servers)
            .isolation_level(IsolationLevel::ReadCommitted)
            .set("auto.offset.reset", "earliest")
            .build()
    };
    let producer = ProducerConfig::builder()
        .bootstrap_servers(&bootstrap_servers)
        // One name for each share of the input: whoever takes it over fences who had it.
        .transactional_id("shouting-0")
        .build()?;
    let partitions = Consumer::new(consumer()?)?.partitions_for(INPUT)?;
    let mut work = ConsumeProcessProduce::new(consumer()?, producer, "shouting", &partitions)?;
    loop {
        let processed = work.run_once(Duration::from_secs(1), |records, output| {
            for record in records {
                let word = record.value.as_deref().unwrap_or_default().to_ascii_uppercase();
                let key = record.key.as_deref().unwrap_or_default();
                drop(output.send(ProducerRecord::to(OUTPUT).key(key).value(&word))?);
            }
            Ok::<(), ProduceError>(())
        })?;
        match processed {
            Processed::Nothing => println!("nothing new"),
            Processed::Committed(records) => println!("{records} records"),
            Processed::Aborted(error) => println!("again: {error}"),
        }
    }
}
