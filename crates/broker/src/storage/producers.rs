//! The producers that open logs remember, counted over all of them (FAILURES.md 58).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use streamledger_broker_core::log::{
    NoPlace, PartitionLog, ProducerLimits, ProducerOwner, ProducerPlaces,
};
use streamledger_broker_core::time::MonotonicMs;

/// What all logs of a store remember of producers.
#[derive(Debug)]
pub(super) struct Producers {
    places: Mutex<ProducerPlaces>,
    remembered: Arc<AtomicUsize>,
}

impl Producers {
    pub(super) fn new(limits: ProducerLimits) -> Self {
        let places = Mutex::new(ProducerPlaces::new(limits));
        Self { places, remembered: Arc::default() }
    }

    /// How many there are.
    pub(super) fn remembered(&self) -> usize {
        self.remembered.load(Ordering::Relaxed)
    }

    /// Takes a place for a producer that this log doesn't know.
    pub(super) fn take_place(
        &self,
        log: &PartitionLog,
        now: MonotonicMs,
        owner: ProducerOwner,
    ) -> Result<(), NoPlace> {
        let expiration_ms = log.config().producer_expiration_ms;
        self.places.lock().take(now, owner, self.remembered(), expiration_ms)
    }

    /// Counts those of a log that has been opened.
    pub(super) fn of(&self, log: &PartitionLog) -> Remembered {
        let mut remembered = Remembered { of_all: Arc::clone(&self.remembered), here: 0 };
        remembered.update(log);
        remembered
    }
}

/// One open log's part of the count, given back when the log is put down.
#[derive(Debug)]
pub(super) struct Remembered {
    of_all: Arc<AtomicUsize>,
    here: usize,
}

impl Remembered {
    /// Counts them again, where some came or went.
    pub(super) fn update(&mut self, log: &PartitionLog) {
        let now = log.producers().producer_count();
        // One log's part, changed under its lock: never below zero.
        if now > self.here {
            self.of_all.fetch_add(now - self.here, Ordering::Relaxed);
        } else if now < self.here {
            self.of_all.fetch_sub(self.here - now, Ordering::Relaxed);
        }
        self.here = now;
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.here, Ordering::Relaxed);
    }
}
