//! Knows which batches `flush` still waits for, touched once when a batch opens and once when it
//! ends.
//!
//! Batches are numbered by generation; a flush ends the current generation and waits until it and
//! all before it are empty. Later batches don't hold it up, and it never looks at a record.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};

use parking_lot::Mutex;

/// Counts the batches that have not ended, by generation.
#[derive(Debug)]
pub(crate) struct FlushTracker {
    /// Batches up to this generation are ready whatever their linger time.
    flushed: AtomicU64,
    state: Mutex<FlushState>,
}

#[derive(Debug)]
struct FlushState {
    current: u64,
    /// Batches that have not ended, for each generation that has any, oldest first.
    unsettled: VecDeque<(u64, u64)>,
    waiters: Vec<(u64, Waker)>,
}

impl FlushTracker {
    pub(crate) fn new() -> Self {
        let state = FlushState { current: 1, unsettled: VecDeque::new(), waiters: Vec::new() };
        Self { flushed: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// Counts a new batch and gives its generation.
    pub(crate) fn opened(&self) -> u64 {
        let mut state = self.state.lock();
        let current = state.current;
        match state.unsettled.back_mut() {
            Some((generation, batches)) if *generation == current => *batches += 1,
            _ => state.unsettled.push_back((current, 1)),
        }
        current
    }

    /// Counts the parts of a split batch beyond the first.
    pub(crate) fn split(&self, generation: u64, more_batches: u64) {
        let mut state = self.state.lock();
        if let Some((_, batches)) = state.unsettled.iter_mut().find(|(g, _)| *g == generation) {
            *batches += more_batches;
        }
    }

    /// A batch has ended.
    pub(crate) fn settled(&self, generation: u64) {
        let mut state = self.state.lock();
        if let Some((_, batches)) = state.unsettled.iter_mut().find(|(g, _)| *g == generation) {
            *batches -= 1;
        }
        while state.unsettled.front().is_some_and(|(_, batches)| *batches == 0) {
            state.unsettled.pop_front();
        }
        if state.waiters.is_empty() {
            return;
        }
        let done = state.done();
        let woken: Vec<_> = state.waiters.extract_if(.., |(until, _)| *until <= done).collect();
        drop(state);
        woken.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Makes all batches there are ready to be sent, and gives what to poll for.
    pub(crate) fn begin(&self) -> u64 {
        let mut state = self.state.lock();
        let current = state.current;
        if state.unsettled.back().is_some_and(|(generation, _)| *generation == current) {
            state.current += 1;
        }
        let flushed = state.current - 1;
        self.flushed.fetch_max(flushed, Ordering::Release);
        flushed
    }

    /// Whether a batch of this generation is ready because of a flush.
    #[inline]
    pub(crate) fn is_flushed(&self, generation: u64) -> bool {
        generation <= self.flushed.load(Ordering::Acquire)
    }

    /// Whether all batches up to this generation have ended.
    pub(crate) fn poll(&self, until: u64, waker: &Waker) -> Poll<()> {
        let mut state = self.state.lock();
        if until <= state.done() {
            return Poll::Ready(());
        }
        match state.waiters.iter_mut().find(|(g, other)| *g == until && other.will_wake(waker)) {
            Some(_) => {}
            None => state.waiters.push((until, waker.clone())),
        }
        Poll::Pending
    }

    /// Batches that have not ended.
    pub(crate) fn unsettled_batches(&self) -> u64 {
        self.state.lock().unsettled.iter().map(|(_, batches)| batches).sum()
    }
}

impl FlushState {
    /// The last generation of which, and before which, all batches have ended.
    fn done(&self) -> u64 {
        self.unsettled.front().map_or(self.current, |(generation, _)| *generation) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_done(tracker: &FlushTracker, until: u64) -> bool {
        tracker.poll(until, Waker::noop()).is_ready()
    }

    #[test]
    fn flush_waits_for_earlier_batches_only() {
        let tracker = FlushTracker::new();
        let (a, b) = (tracker.opened(), tracker.opened());
        let flush = tracker.begin();
        let later = tracker.opened();
        assert!(tracker.is_flushed(a) && tracker.is_flushed(b) && !tracker.is_flushed(later));
        tracker.settled(a);
        assert!(!is_done(&tracker, flush));
        tracker.settled(b);
        assert!(is_done(&tracker, flush));
        assert_eq!(tracker.unsettled_batches(), 1);
    }

    #[test]
    fn flush_of_nothing_is_done_at_once_and_lingers_stay() {
        let tracker = FlushTracker::new();
        let flush = tracker.begin();
        assert!(is_done(&tracker, flush));
        let batch = tracker.opened();
        assert!(!is_done(&tracker, tracker.begin()));
        tracker.settled(batch);
        assert!(is_done(&tracker, tracker.begin()));
    }

    #[test]
    fn a_flush_holds_until_all_parts_of_a_split_batch_ended() {
        let tracker = FlushTracker::new();
        let batch = tracker.opened();
        let flush = tracker.begin();
        tracker.split(batch, 1);
        tracker.settled(batch);
        assert!(!is_done(&tracker, flush));
        tracker.settled(batch);
        assert!(is_done(&tracker, flush));
    }

    #[test]
    fn a_later_generation_that_ends_first_does_not_end_an_earlier_flush() {
        let tracker = FlushTracker::new();
        let early = tracker.opened();
        let flush = tracker.begin();
        let late = tracker.opened();
        let second = tracker.begin();
        tracker.settled(late);
        assert!(!is_done(&tracker, flush) && !is_done(&tracker, second));
        tracker.settled(early);
        assert!(is_done(&tracker, flush) && is_done(&tracker, second));
    }
}
