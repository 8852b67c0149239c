//! One producer, many threads: some of them block, one runs futures. No lock, no runtime of yours.
//!
//!     cargo run --release -p streamledger --example shared_producer [HOST:PORT]

use std::error::Error;
use std::thread;

use futures_util::future::try_join_all;
use streamledger::{ProduceError, Producer, ProducerConfig, ProducerRecord};
use streamledger_broker::{Broker, BrokerConfig};

const THREADS: usize = 4;
const RECORDS: usize = 1000;
const TOPIC: &str = "shared";

fn main() -> Result<(), Box<dyn Error>> {
    // Without an address, a broker of its own that leaves nothing behind.
    let Some(bootstrap_servers) = std::env::args().nth(1) else {
        let broker = Broker::start(BrokerConfig::default())?;
        return run(&broker.bootstrap_servers());
    };
    run(&bootstrap_servers)
}

fn run(bootstrap_servers: &str) -> Result<(), Box<dyn Error>> {
    let config = ProducerConfig::builder().bootstrap_servers(bootstrap_servers).build()?;
    let producer = Producer::new(config)?;
    thread::scope(|scope| {
        let blocking = (0..THREADS).map(|number| {
            scope.spawn({
                // A clone is a handle: it shares batches, connections and the I/O thread.
                let producer = producer.clone();
                move || send_and_wait(&producer, number)
            })
        });
        let blocking: Vec<_> = blocking.collect();
        let async_one = scope.spawn(|| wait_on(send_as_futures(&producer)));
        for thread in blocking.into_iter().chain([async_one]) {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    let metrics = producer.metrics();
    println!("{} records from {} threads", metrics.record_send_total, THREADS + 1);
    Ok(())
}

/// Sends without waiting, then waits for each end. `send` itself waits for buffer memory only.
fn send_and_wait(producer: &Producer, thread: usize) -> Result<(), ProduceError> {
    let key = format!("thread-{thread}");
    let mut deliveries = Vec::with_capacity(RECORDS);
    for number in 0..RECORDS {
        let value = format!("{number}");
        deliveries.push(producer.send(ProducerRecord::to(TOPIC).key(&key).value(&value))?);
    }
    let mut last_offset = None;
    for delivery in deliveries {
        let metadata = delivery.wait()?;
        // One key, one partition, one order.
        assert!(metadata.offset > last_offset, "{metadata:?}");
        last_offset = metadata.offset;
    }
    Ok(())
}

/// The same with futures. They are plain: any executor will do.
async fn send_as_futures(producer: &Producer) -> Result<(), ProduceError> {
    let mut deliveries = Vec::with_capacity(RECORDS);
    for number in 0..RECORDS {
        let value = format!("{number}");
        deliveries.push(producer.send_async(ProducerRecord::to(TOPIC).value(&value)).await?);
    }
    try_join_all(deliveries).await.map(drop)
}

/// The smallest executor there is: it parks this thread until its one future can go on.
fn wait_on<T>(future: impl Future<Output = T>) -> T {
    use std::task::{Context, Poll, Wake, Waker};

    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(std::sync::Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() -> Result<(), Box<dyn std::error::Error>> {
        let broker = super::Broker::start(super::BrokerConfig::default())?;
        super::run(&broker.bootstrap_servers())
    }
}
