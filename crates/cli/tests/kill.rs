//! `serve` killed with -9 twenty times under load: nothing acknowledged is missing, nothing is
//! there twice, order holds within a partition.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use streamledger::{PartitionIndex, Producer, ProducerConfig, ProducerRecord};
use tool::{Sandbox, Server};

const KILLS: usize = 20;
const PARTITIONS: usize = 3;

#[test]
fn twenty_kills_lose_nothing_acknowledged_and_double_nothing() {
    let sandbox = Sandbox::new();
    let listen = tool::free_address();
    let mut server = Server::start(&sandbox, &listen, &[]);
    sandbox.succeed(&["topics", "create", "t", "--partitions", "3", "-b", &listen]);

    let config = ProducerConfig::builder()
        .bootstrap_servers(&listen)
        .set("delivery.timeout.ms", "120000")
        .set("linger.ms", "1")
        .set("retry.backoff.ms", "20")
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "50")
        .build()
        .unwrap();
    let producer = Producer::new(config).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let acked: Arc<[AtomicU64; PARTITIONS]> = Arc::default();
    let sending = thread::spawn({
        let (stop, acked) = (Arc::clone(&stop), Arc::clone(&acked));
        move || send_until(&producer, &stop, &acked)
    });

    let mut acked_between_kills = 0;
    for kill in 0..KILLS {
        let before = total(&acked);
        let begun = Instant::now();
        while total(&acked) == before {
            assert!(begun.elapsed() < tool::PATIENCE, "nothing is acknowledged before kill {kill}");
            thread::sleep(Duration::from_millis(1));
        }
        // At no particular point of a batch's way: between 0 and 60 ms, another each time.
        thread::sleep(Duration::from_micros((kill as u64 * 7919) % 60_000));
        acked_between_kills += usize::from(total(&acked) > before);
        server.kill();
        server = Server::start(&sandbox, &listen, &[]);
    }
    stop.store(true, Ordering::Relaxed);
    let sent = sending.join().unwrap();

    assert_eq!(acked_between_kills, KILLS);
    let log = sandbox.succeed(&["consume", "t", "-b", &listen, "--fields", "partition,value"]);
    let mut next = [0_u64; PARTITIONS];
    for line in log.lines() {
        let (partition, number) = line.split_once('\t').unwrap();
        let partition: usize = partition.parse().unwrap();
        let number: u64 = number.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(number, next[partition], "missing, doubled or out of order in {partition}");
        next[partition] += 1;
    }
    assert_eq!(next, sent, "all that was sent was acknowledged in the end, and is there");
    assert!(sent.iter().sum::<u64>() > 1000, "{sent:?} isn't a load");
}

fn total(acked: &[AtomicU64; PARTITIONS]) -> u64 {
    acked.iter().map(|count| count.load(Ordering::Relaxed)).sum()
}

/// Sends numbered records to each partition in turn; how many went to each. All must be
/// acknowledged in the end: the producer has two minutes to deliver each.
fn send_until(
    producer: &Producer,
    stop: &AtomicBool,
    acked: &Arc<[AtomicU64; PARTITIONS]>,
) -> [u64; PARTITIONS] {
    let mut sent = [0; PARTITIONS];
    let failed = Arc::new(AtomicBool::new(false));
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let partition = turn % PARTITIONS;
        let value = format!("{} {}", sent[partition], "x".repeat(80));
        let record = ProducerRecord::to("t")
            .partition(PartitionIndex(partition as i32))
            .value(value.as_bytes());
        let (acked, failed) = (Arc::clone(acked), Arc::clone(&failed));
        producer
            .send_with(record, move |result| match result {
                Ok(_) => {
                    acked[partition].fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    eprintln!("{error}");
                    failed.store(true, Ordering::Relaxed);
                }
            })
            .unwrap();
        sent[partition] += 1;
        if turn % 16 == 0 {
            thread::sleep(Duration::from_micros(300));
        }
    }
    producer.flush().unwrap();
    assert!(!failed.load(Ordering::Relaxed), "a record was given up");
    assert_eq!(total(acked), sent.iter().sum::<u64>());
    sent
}
