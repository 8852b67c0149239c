//! What the accumulator promises its callers and the sender.

use std::sync::atomic::{AtomicU32, Ordering};

use streamledger_protocol::TimestampMs;
use streamledger_protocol::compression::CompressionScratch;
use streamledger_protocol::record_batch::{BatchSeal, Header};

use super::*;
use crate::partitioner::SeededRandom;

/// An accumulator with one topic of six partitions, and a clock that counts how often it's asked.
struct Bench {
    accumulator: Arc<RecordAccumulator>,
    topic: Arc<TopicQueues>,
    now: Instant,
    asked: AtomicU32,
}

impl Bench {
    fn new(batch_bytes_max: usize, memory_bytes_max: usize) -> Self {
        let linger = Duration::from_millis(5);
        let config = AccumulatorConfig {
            batch_bytes_max,
            memory_bytes_max,
            request_bytes_max: 10_000,
            linger,
        };
        let accumulator = RecordAccumulator::new(config, Arc::new(SeededRandom::new(3)));
        let topic = accumulator.topic(&"clicks".into());
        let all: Box<[_]> = (0..6).map(PartitionIndex).collect();
        topic.set_partitions(6, all.clone(), all);
        Self { accumulator, topic, now: crate::test_clock::some_moment(), asked: AtomicU32::new(0) }
    }

    fn append_to(&self, target: Target, value: &[u8]) -> Result<Appended, AppendError> {
        let record =
            RecordParts { timestamp: TimestampMs(1), key: None, value: Some(value), headers: &[] };
        let clock = || {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.now
        };
        self.accumulator.append(&self.topic, target, &record, &clock, &mut AppendExtras::default())
    }

    fn append(&self, value: &[u8]) -> Result<Appended, AppendError> {
        self.append_to(Target::Partition(PartitionIndex(0)), value)
    }

    fn take(&self, after: Duration) -> Front {
        self.take_from(PartitionIndex(0), after)
    }

    fn take_from(&self, partition: PartitionIndex, after: Duration) -> Front {
        let rules = ReadyRules {
            now: self.now + after,
            linger: self.accumulator.config().linger,
            held_until: None,
            memory_pressure: self.accumulator.memory().waiting() > 0,
            closing: self.accumulator.is_closed(),
            flush: self.accumulator.flush_tracker(),
        };
        self.topic.queue(partition).unwrap().take_front(&rules, usize::MAX)
    }
}

#[test]
fn the_clock_is_asked_and_the_sender_woken_once_a_batch() {
    let bench = Bench::new(1000, 100_000);
    let woken = (0..8).filter(|_| bench.append(&[7; 100]).unwrap().wake_sender).count();
    assert_eq!((woken, bench.asked.load(Ordering::Relaxed)), (1, 1));
    assert!(bench.append(&[7; 300]).unwrap().wake_sender, "the first is full");
    assert_eq!(bench.asked.load(Ordering::Relaxed), 2);
}

#[test]
fn a_batch_is_ready_when_full_or_lingered_or_flushed_or_closing() {
    let bench = Bench::new(1000, 100_000);
    let _ = bench.append(&[7; 10]).unwrap();
    let linger = Duration::from_millis(5);
    let Front::Filling(until) = bench.take(Duration::ZERO) else { panic!("it is filling") };
    assert_eq!(until, bench.now + linger);
    assert!(matches!(bench.take(linger), Front::Ready(_, ReadyReason::Linger)));
    assert!(matches!(bench.take(linger), Front::Empty));
    for _ in 0..9 {
        let _ = bench.append(&[7; 110]).unwrap();
    }
    assert!(matches!(bench.take(Duration::ZERO), Front::Ready(_, ReadyReason::Full)));
    let _ = bench.accumulator.begin_flush();
    assert!(matches!(bench.take(Duration::ZERO), Front::Ready(_, ReadyReason::Flush)));
    let _ = bench.append(&[7; 10]).unwrap();
    assert!(matches!(bench.take(Duration::ZERO), Front::Filling(_)), "the flush is over");
    bench.accumulator.close();
    assert!(matches!(bench.take(Duration::ZERO), Front::Ready(_, ReadyReason::Closing)));
    assert_eq!(bench.append(&[7; 10]).unwrap_err(), AppendError::Closed);
}

#[test]
fn memory_is_a_hard_limit_and_pressure_makes_batches_ready() {
    let bench = Bench::new(1000, 2500);
    let _ = bench.append_to(Target::Partition(PartitionIndex(0)), b"a").unwrap();
    let _ = bench.append_to(Target::Partition(PartitionIndex(1)), b"b").unwrap();
    let full = bench.append_to(Target::Partition(PartitionIndex(2)), b"c").unwrap_err();
    assert_eq!(full, AppendError::MemoryFull { batch_bytes: 1000 });
    let _ =
        bench.append_to(Target::Partition(PartitionIndex(1)), b"an open batch takes more").unwrap();
    let waiting = bench.accumulator.memory().reserve(1000);
    let Front::Ready(batch, ReadyReason::MemoryPressure) = bench.take(Duration::ZERO) else {
        panic!("a caller waits for memory");
    };
    drop((batch, waiting));
    assert_eq!(bench.accumulator.memory().available_bytes(), 1500);
    let _ = bench.append_to(Target::Partition(PartitionIndex(2)), b"c").unwrap();
}

#[test]
fn memory_that_was_waited_for_is_used_or_given_back() {
    let bench = Bench::new(1000, 1000);
    let record = RecordParts { timestamp: TimestampMs(1), key: None, value: None, headers: &[] };
    let mut extras =
        AppendExtras { reservation: bench.accumulator.memory().try_reserve(1000), callback: None };
    let target = Target::Partition(PartitionIndex(0));
    let now = bench.now;
    let mut append = || {
        bench.accumulator.append(&bench.topic, target, &record, &|| now, &mut extras).map(|_| ())
    };
    assert_eq!(append(), Ok(()));
    assert!(extras.reservation.is_none());
    assert_eq!(bench.accumulator.memory().available_bytes(), 0);
}

#[test]
fn a_record_larger_than_a_batch_gets_one_of_its_own_and_one_larger_than_a_request_none() {
    let bench = Bench::new(1000, 100_000);
    let _ = bench.append(&[7; 10]).unwrap();
    let _ = bench.append(&[7; 5000]).unwrap();
    assert!(matches!(bench.take(Duration::ZERO), Front::Ready(_, ReadyReason::Full)));
    let linger = Duration::from_millis(5);
    let Front::Ready(large, _) = bench.take(linger) else { panic!("the large one is ready") };
    assert!(large.reservation.bytes() >= large.builder.batch_bytes());
    let error = bench.append(&[7; 20_000]).unwrap_err();
    let AppendError::RecordTooLarge { record_bytes, bytes_max: 10_000 } = error else {
        panic!("{error}");
    };
    assert!(record_bytes > 20_000);
}

#[test]
fn failures_24_a_dropped_delivery_changes_nothing_and_flush_still_counts_it() {
    let bench = Bench::new(1000, 100_000);
    drop(bench.append(b"kept").unwrap());
    let flush = bench.accumulator.begin_flush();
    assert!(bench.accumulator.poll_flushed(flush, Waker::noop()).is_pending());
    let Front::Ready(batch, _) = bench.take(Duration::ZERO) else { panic!("it is flushed") };
    assert_eq!(batch.builder.record_count(), 1);
    bench.accumulator.flush_tracker().settled(batch.origin.generation);
    assert!(bench.accumulator.poll_flushed(flush, Waker::noop()).is_ready());
}

#[test]
fn sticky_stays_for_a_batch_then_moves_and_spreads_evenly_by_bytes() {
    let bench = Bench::new(1000, 10_000_000);
    let mut bytes = [0_usize; 6];
    let mut moves = 0;
    let mut last = PartitionIndex(-1);
    for round in 0..20_000 {
        let value = vec![7; 20 + round % 90];
        let partition =
            bench.append_to(Target::Sticky, &value).unwrap().delivery.topic_partition().partition;
        bytes[usize::try_from(partition.0).unwrap()] += value.len();
        moves += u32::from(partition != last);
        last = partition;
    }
    let total: usize = bytes.iter().sum();
    for partition in bytes {
        assert!(partition > total / 8 && partition < total / 5, "{bytes:?}");
    }
    let batches = u32::try_from(total / 1000).unwrap();
    assert!(moves > batches / 2 && moves < batches * 2, "{moves} moves for {batches} batches");
}

#[test]
fn sticky_moves_on_also_when_each_record_is_a_batch_of_its_own() {
    let bench = Bench::new(1000, 10_000_000);
    let mut counts = [0_u32; 6];
    for _ in 0..3000 {
        let appended = bench.append_to(Target::Sticky, &[7; 20]).unwrap();
        let partition = appended.delivery.topic_partition().partition;
        counts[usize::try_from(partition.0).unwrap()] += 1;
        let taken = bench.take_from(partition, Duration::from_secs(1));
        assert!(matches!(taken, Front::Ready(batch, _) if batch.builder.record_count() == 1));
    }
    // Batches of some 90 bytes: after twice 1000 bytes, that is some 22 of them, comes another.
    assert!(counts.iter().all(|count| (200..900).contains(count)), "{counts:?}");
}

#[test]
fn records_arrive_in_the_batch_as_they_were_given() {
    let bench = Bench::new(1000, 100_000);
    let headers = [
        Header { key: "trace", value: Some(b"1") },
        Header { key: "trace", value: None },
        Header { key: "trace", value: Some(b"") },
    ];
    let record =
        RecordParts { timestamp: TimestampMs(77), key: Some(b""), value: None, headers: &headers };
    let target = Target::Partition(PartitionIndex(0));
    let extras = &mut AppendExtras::default();
    let now = bench.now;
    let _ = bench.accumulator.append(&bench.topic, target, &record, &|| now, extras).unwrap();
    let Front::Ready(batch, _) = bench.take(Duration::from_secs(1)) else { panic!("lingered") };
    let mut scratch = CompressionScratch::default();
    let sealed = batch.builder.seal(&BatchSeal::default(), &mut scratch).unwrap();
    assert_eq!(sealed.base_timestamp, TimestampMs(77));
    assert_eq!(sealed.record_count, 1);
}

#[test]
fn many_threads_append_and_every_record_is_in_exactly_one_batch() {
    let bench = Bench::new(1000, 50_000_000);
    let records_each = 5000_u32;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..records_each {
                    let _ = bench.append_to(Target::Sticky, &[1; 20]).unwrap();
                }
            });
        }
    });
    let queues: Vec<_> = bench.accumulator.registry.lock().clone();
    let mut listed = Vec::new();
    bench.accumulator.take_listed(&mut listed);
    assert_eq!(listed.len(), queues.len(), "each queue is listed once");
    let mut records = 0;
    for queue in queues {
        while let Some(batch) = queue.take_any() {
            records += batch.builder.record_count().cast_unsigned();
        }
        assert!(queue.unlist_if_empty());
    }
    assert_eq!(records, 4 * records_each);
}
