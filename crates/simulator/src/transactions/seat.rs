//! A coordinator's seat: the broker that leads its log and has read it. What it answers and has
//! done waits here until what that rests on is on disk.

use std::collections::VecDeque;

use streamledger_protocol::{ErrorCode, Offset};

use crate::clock::SimTime;
use crate::partition::Partition;

/// The seat of a coordinator, and what waits there.
#[derive(Debug)]
pub(super) struct Seat<T> {
    /// Of its log.
    pub(super) slot: usize,
    /// The life of the log that it was loaded from.
    loaded: Option<u32>,
    parked: VecDeque<Parked<T>>,
    timer: Option<SimTime>,
}

/// What waits for a flush.
#[derive(Debug)]
struct Parked<T> {
    life: u32,
    /// The log is to be flushed up to here.
    end: Offset,
    then: T,
}

impl<T> Seat<T> {
    pub(super) const fn new(slot: usize) -> Self {
        Self { slot, loaded: None, parked: VecDeque::new(), timer: None }
    }

    /// Whether that broker is the coordinator, by the log of its slot.
    ///
    /// # Errors
    /// What a broker answers that isn't, or isn't yet.
    pub(super) fn check(&self, log: &Partition, broker: usize) -> Result<(), ErrorCode> {
        if log.host != broker || log.log.is_none() {
            Err(ErrorCode::NotCoordinator)
        } else if self.loaded != Some(log.life) {
            Err(ErrorCode::CoordinatorLoadInProgress)
        } else {
            Ok(())
        }
    }

    /// The log was read in that life of it: what waited in an earlier one is void.
    pub(super) fn take(&mut self, life: u32) {
        self.loaded = Some(life);
        self.parked.clear();
        self.timer = None;
    }

    /// Lets something wait until all that is in the log so far is flushed.
    pub(super) fn park(&mut self, log: &Partition, then: T) {
        let end = log.log.as_ref().map_or(Offset::ZERO, |log| log.log_end_offset());
        self.parked.push_back(Parked { life: log.life, end, then });
    }

    /// The next thing that waits for nothing any more.
    pub(super) fn next_released(&mut self, log: &Partition) -> Option<T> {
        self.parked.retain(|parked| parked.life == log.life);
        let first = self.parked.pop_front_if(|parked| parked.end <= log.flushed_offset());
        first.map(|parked| parked.then)
    }

    /// Sets the timer to a moment; false if one before it is set already.
    pub(super) fn set_timer(&mut self, at: SimTime) -> bool {
        if self.timer.is_some_and(|timer| timer <= at) {
            return false;
        }
        self.timer = Some(at);
        true
    }

    /// A timer goes off; false if it was moved to an earlier moment, and is over already.
    pub(super) fn take_timer(&mut self, now: SimTime) -> bool {
        self.timer.take_if(|timer| *timer <= now).is_some()
    }
}
