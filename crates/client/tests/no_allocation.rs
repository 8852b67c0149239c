//! Sending allocates nothing per record in steady state: shown by an allocator that counts.

#![allow(clippy::unwrap_used, reason = "the test's own helpers end with it")]

mod support;

use std::alloc::System;
use std::sync::atomic::Ordering;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use streamledger::{DeliveryFuture, Header, Producer, ProducerRecord};
use support::FakeCluster;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const RECORDS: u64 = 200_000;
/// What a batch costs from its first record to its end: the caller, the I/O thread, and the test's
/// broker, which decodes it with little care.
const PER_BATCH: u64 = 80;

/// Counts what the whole process allocates meanwhile.
fn allocations(work: impl FnOnce()) -> u64 {
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    (change.allocations + change.reallocations) as u64
}

/// Sends records and gives the allocations and the batches.
fn run(
    cluster: &FakeCluster,
    producer: &Producer,
    send: &mut dyn FnMut(u64) -> DeliveryFuture,
) -> (u64, u64) {
    let batches_before = cluster.state.batches.load(Ordering::Relaxed);
    let allocations = allocations(|| {
        (0..RECORDS).for_each(|number| drop(send(number)));
        producer.flush().unwrap();
    });
    (allocations, cluster.state.batches.load(Ordering::Relaxed) - batches_before)
}

/// One test, for what is counted is the whole process.
#[test]
fn sending_allocates_per_batch_and_never_per_record() {
    a_batch_costs_the_same_however_many_records_it_has();
    appending_to_an_open_batch_allocates_nothing_at_all();
}

fn a_batch_costs_the_same_however_many_records_it_has() {
    let cluster = FakeCluster::start(6);
    cluster.state.counting_only.store(true, Ordering::Relaxed);
    for codec in ["none", "lz4"] {
        let settings =
            [("batch.size", "65536"), ("linger.ms", "5000"), ("compression.type", codec)];
        let producer = Producer::new(cluster.config(&settings)).unwrap();
        let value = [b'x'; 100];
        let headers = [Header { key: "trace", value: Some(b"1") }];
        let keyless = |_| producer.send(ProducerRecord::to("clicks").value(&value)).unwrap();
        let keyed = |number: u64| {
            let key = number.to_le_bytes();
            producer.send(ProducerRecord::to("clicks").key(&key).value(&value)).unwrap()
        };
        let with_headers = |_| {
            let record = ProducerRecord::to("clicks").value(&value).headers(&headers);
            producer.send(record).unwrap()
        };
        let ways: [(&str, &mut dyn FnMut(u64) -> DeliveryFuture); 3] = [
            ("keyless", &mut { keyless }),
            ("keyed", &mut { keyed }),
            ("headers", &mut { with_headers }),
        ];
        for (name, send) in ways {
            // Once to fill pools and tables, once to be counted.
            run(&cluster, &producer, send);
            let (allocations, batches) = run(&cluster, &producer, send);
            println!("{codec}, {name}: {allocations} allocations, {batches} batches");
            assert!(batches > 200 && batches < RECORDS / 100, "{batches}");
            let bound = PER_BATCH * batches;
            assert!(allocations <= bound, "{codec}, {name}: {allocations} for {batches}");
        }
    }
}

fn appending_to_an_open_batch_allocates_nothing_at_all() {
    let cluster = FakeCluster::start(1);
    let settings = [("batch.size", "1000000"), ("linger.ms", "60000")];
    let producer = Producer::new(cluster.config(&settings)).unwrap();
    let send = || drop(producer.send(ProducerRecord::to("clicks").key("k").value("v")).unwrap());
    send();
    // What the first record began, the connection and the producer id, is over some time.
    let attempts = (0..100).map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        allocations(|| (0..500).for_each(|_| send()))
    });
    assert!(attempts.take_while(|count| *count > 0).count() < 100);
}
