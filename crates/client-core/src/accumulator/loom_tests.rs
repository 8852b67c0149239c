//! Every interleaving of callers and sender over a batch's end and its memory, by loom.
//!
//! Run by `cargo xtask loom`. What is shown: nobody who waits is left asleep, and bytes of the
//! budget are somebody's once. loom fails a model in which a thread can wait for ever.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use loom::future::block_on;
use loom::thread;
use streamledger_protocol::{Offset, PartitionIndex, TimestampMs, TopicName};

use super::completion::{BatchAck, BatchCompletion, Delivery, SerializedSizes, SplitPart};
use super::memory::MemoryBudget;

/// How often a thread may be preempted within one interleaving: enough for all known bugs of this
/// kind, and seconds to walk through (loom's own advice is two or three).
const PREEMPTIONS: usize = 3;

fn every_interleaving(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}

fn cell() -> Arc<BatchCompletion> {
    BatchCompletion::new(TopicName::from("t"), PartitionIndex(0))
}

fn delivery(cell: &Arc<BatchCompletion>, index: u32) -> Delivery {
    let sizes = SerializedSizes::of(None, Some(b"v"));
    Delivery::new(Arc::clone(cell), index, sizes, TimestampMs(0))
}

fn offset_of(delivery: &Delivery) -> Option<Offset> {
    block_on(std::future::poll_fn(|context| delivery.poll_result(context))).unwrap().offset
}

fn acked(base_offset: i64) -> super::completion::BatchOutcome {
    Ok(BatchAck { base_offset: Some(Offset(base_offset)), log_append_time: TimestampMs::NONE })
}

#[test]
fn loom_whoever_waits_for_a_batch_learns_of_its_end() {
    every_interleaving(|| {
        let cell = cell();
        let waiting = [0, 1].map(|index| {
            let delivery = delivery(&cell, index);
            thread::spawn(move || offset_of(&delivery))
        });
        cell.settle(acked(10));
        let offsets = waiting.map(|thread| thread.join().unwrap());
        assert_eq!(offsets, [Some(Offset(10)), Some(Offset(11))]);
    });
}

#[test]
fn loom_a_record_is_followed_through_a_split_that_happens_while_it_is_waited_for() {
    every_interleaving(|| {
        let (whole, part) = (cell(), cell());
        let record = delivery(&whole, 1);
        let waiting = thread::spawn(move || offset_of(&record));
        let parts = [(0, cell()), (1, Arc::clone(&part))];
        let parts = parts.map(|(first_index, completion)| SplitPart { first_index, completion });
        whole.settle_split(Box::new(parts));
        part.settle(acked(7));
        assert_eq!(waiting.join().unwrap(), Some(Offset(7)));
    });
}

#[test]
fn loom_memory_that_is_given_back_wakes_who_waits_for_it() {
    every_interleaving(|| {
        let budget = MemoryBudget::new(100, 100);
        let first = budget.try_reserve(100).unwrap();
        let waiting = [60, 60].map(|bytes| {
            let budget = Arc::clone(&budget);
            thread::spawn(move || {
                // One goes as soon as the first bytes are back, the other when that one is done.
                let mine = block_on(budget.reserve(bytes));
                assert!(budget.available_bytes() <= 100 - mine.bytes());
            })
        });
        drop(first);
        for thread in waiting {
            thread.join().unwrap();
        }
        assert_eq!((budget.available_bytes(), budget.waiting()), (100, 0));
    });
}

#[test]
fn loom_who_gives_up_waiting_takes_nothing_along() {
    every_interleaving(|| {
        let budget = MemoryBudget::new(100, 100);
        let first = budget.try_reserve(100).unwrap();
        let giving_up = {
            let budget = Arc::clone(&budget);
            thread::spawn(move || {
                let mut wait = pin!(budget.reserve(100));
                let _ = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            })
        };
        drop(first);
        // Whether that one was served, left before or left after: the bytes come to this one.
        let mine = block_on(budget.reserve(100));
        drop(mine);
        giving_up.join().unwrap();
        assert_eq!((budget.available_bytes(), budget.waiting()), (100, 0));
    });
}

#[test]
fn loom_append_seal_and_complete_end_with_the_record_and_its_memory_accounted_for() {
    every_interleaving(|| {
        let budget = MemoryBudget::new(100, 100);
        let cell = cell();
        let in_flight = budget.try_reserve(100).unwrap();
        let caller = {
            let (budget, record) = (Arc::clone(&budget), delivery(&cell, 0));
            thread::spawn(move || {
                // The next batch waits for the memory of the one that is in flight.
                let next = block_on(budget.reserve(100));
                drop(next);
                offset_of(&record)
            })
        };
        // The sender: the batch is sealed, its bytes own the reservation, a request holds a clone.
        let sealed = in_flight.attach(bytes::Bytes::from_static(b"batch"));
        let request = sealed.clone();
        cell.settle(acked(3));
        drop(sealed);
        drop(request);
        assert_eq!(caller.join().unwrap(), Some(Offset(3)));
        assert_eq!(budget.available_bytes(), 100);
    });
}
