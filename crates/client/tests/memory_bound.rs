//! A producer's memory stays under `buffer.memory` and 16 MB, whatever the broker does: shown by an
//! allocator that counts.

#![allow(clippy::unwrap_used, reason = "the test's own helpers end with it")]

mod support;

use std::alloc::System;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::time::{Duration, Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use streamledger::{Producer, ProducerRecord, TrySendError};
use support::{FakeCluster, Fault};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BUFFER_MEMORY: isize = 32 << 20;
/// What there may be beside: the codecs' tables, requests, the view of the cluster; and here the
/// test's broker, which copies each request.
const BESIDE: isize = 16 << 20;

/// Bytes that the process has allocated and not given back.
fn live_bytes() -> isize {
    let stats = ALLOCATOR.stats();
    let signed = |bytes: usize| isize::try_from(bytes).unwrap();
    signed(stats.bytes_allocated) - signed(stats.bytes_deallocated)
}

/// Runs `work` and gives the most bytes that were live meanwhile, beyond those before.
fn peak_bytes(work: impl FnOnce()) -> isize {
    let (peak, is_over) = (Arc::new(AtomicIsize::new(0)), Arc::new(AtomicBool::new(false)));
    let before = live_bytes();
    let watcher = {
        let (peak, is_over) = (Arc::clone(&peak), Arc::clone(&is_over));
        std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                peak.fetch_max(live_bytes() - before, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(200));
            }
        })
    };
    work();
    is_over.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
    peak.load(Ordering::Relaxed)
}

/// Values of 1000 bytes that no codec makes smaller.
fn values() -> Vec<Vec<u8>> {
    let mut bits = 1_u64;
    let mut byte = || {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        bits.to_le_bytes()[3]
    };
    (0..200).map(|_| (0..1000).map(|_| byte()).collect()).collect()
}

/// Sends for so long, and until it was full so often, as fast as the producer takes records; says
/// how often it was.
fn send_for(producer: &Producer, values: &[Vec<u8>], time: Duration, full_min: u64) -> u64 {
    let (begun, mut full_count) = (Instant::now(), 0);
    for value in values.iter().cycle() {
        if begun.elapsed() >= time && full_count >= full_min {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(300), "it never was full");
        match producer.try_send(ProducerRecord::to("clicks").value(value)) {
            Ok(_) => {}
            Err(TrySendError::Full(_)) => {
                full_count += 1;
                std::thread::sleep(Duration::from_micros(100));
            }
            Err(TrySendError::Failed(error)) => panic!("{error}"),
        }
    }
    full_count
}

/// One test, for what is counted is the whole process.
#[test]
fn memory_is_bounded_whatever_the_broker_does() {
    let values = values();
    for codec in ["none", "lz4", "zstd", "gzip"] {
        let cluster = FakeCluster::start(6);
        cluster.state.counting_only.store(true, Ordering::Relaxed);
        let settings = [
            ("compression.type", codec),
            ("batch.size", "65536"),
            ("linger.ms", "20"),
            ("request.timeout.ms", "500"),
            ("delivery.timeout.ms", "60000"),
        ];
        let mut full_count = 0;
        let peak = peak_bytes(|| {
            let producer = Producer::new(cluster.config(&settings)).unwrap();
            producer.partitions_for("clicks").unwrap();
            // As fast as it goes, then slow, then silent for several time-outs.
            send_for(&producer, &values, Duration::from_millis(500), 0);
            for _ in 0..20 {
                cluster.fault(Fault::Delay(Duration::from_millis(50)));
            }
            send_for(&producer, &values, Duration::from_millis(500), 0);
            cluster.state.silent.store(true, Ordering::Relaxed);
            full_count = send_for(&producer, &values, Duration::from_millis(2500), 1000);
            producer.close(Duration::ZERO);
        });
        println!("{codec}: at most {peak} bytes, {full_count} times full");
        assert!(full_count > 0, "{codec}: it never was full");
        assert!(peak > BUFFER_MEMORY / 2, "{codec}: {peak} bytes are no load");
        assert!(peak <= BUFFER_MEMORY + BESIDE, "{codec}: {peak} bytes");
    }
}
