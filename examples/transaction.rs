//! Two topics that agree: an order and its payment are both there, or neither is.
//!
//!     cargo run --release -p streamledger --example transaction HOST:PORT
//!
//! The broker may be `streamledger serve` or Apache Kafka.

use std::error::Error;

use streamledger::{Producer, ProducerConfig, ProducerRecord};

fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap_servers = std::env::args().nth(1).ok_or("give the address of a broker")?;
    let config = ProducerConfig::builder()
        .bootstrap_servers(&bootstrap_servers)
        .transactional_id("checkout-1")
        .build()?;
    let producer = Producer::new(config)?;
    // An older producer of this name is fenced, and what it left open is aborted.
    producer.init_transactions()?;
    for number in 0..10 {
        let (order, paid) = (format!("order {number}"), number % 3 != 0);
        let mut transaction = producer.begin_transaction()?;
        drop(transaction.send(ProducerRecord::to("orders").value(&order))?);
        if !paid {
            // The guard is dropped: the order is aborted, and nobody sees it.
            continue;
        }
        drop(transaction.send(ProducerRecord::to("payments").value(&order))?);
        while let Err(error) = transaction.commit() {
            if error.is_outcome_unknown() {
                // Committed or not, it will be known: nothing else may be done before.
                eprintln!("{error}; asking again");
                continue;
            }
            eprintln!("{error}: {}", error.next_action());
            return Err(error.into());
        }
        println!("{order} is paid");
    }
    Ok(())
}
