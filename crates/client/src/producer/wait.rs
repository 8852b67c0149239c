//! Waiting without a runtime: deadlines that the I/O thread watches, and wakers in a row.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::Mutex;

/// Wakers to be woken at their moment, by the I/O thread.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    entries: Mutex<Vec<Entry>>,
    next_id: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    at: Instant,
    waker: Waker,
}

impl Deadlines {
    /// Ends at the moment. Wake the I/O thread after the first poll.
    pub(super) fn at(&self, at: Instant) -> Deadline<'_> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Deadline { deadlines: self, id, at }
    }

    /// Wakes who is due, and says when the next is.
    pub(super) fn fire(&self, now: Instant) -> Option<Instant> {
        let mut entries = self.entries.lock();
        if entries.is_empty() {
            return None;
        }
        let due: Vec<_> = entries.extract_if(.., |entry| entry.at <= now).collect();
        let next = entries.iter().map(|entry| entry.at).min();
        drop(entries);
        due.into_iter().for_each(|entry| entry.waker.wake());
        next
    }
}

/// A future that is done at its moment.
#[derive(Debug)]
pub(super) struct Deadline<'a> {
    deadlines: &'a Deadlines,
    id: u64,
    at: Instant,
}

impl Deadline<'_> {
    /// Whether the moment has come; if not, the waker is woken then. True is also returned the
    /// first time, as second value, when the I/O thread has to be told.
    pub(super) fn poll_reached(&self, context: &Context<'_>) -> (bool, bool) {
        if Instant::now() >= self.at {
            return (true, false);
        }
        let mut entries = self.deadlines.entries.lock();
        let waker = context.waker().clone();
        match entries.iter_mut().find(|entry| entry.id == self.id) {
            Some(entry) => {
                entry.waker = waker;
                (false, false)
            }
            None => {
                entries.push(Entry { id: self.id, at: self.at, waker });
                (false, true)
            }
        }
    }
}

impl Drop for Deadline<'_> {
    fn drop(&mut self) {
        self.deadlines.entries.lock().retain(|entry| entry.id != self.id);
    }
}

/// Wakers that wait for something to change.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<Vec<Waker>>);

impl Waiters {
    /// Ends when `is_done` says so; asked now and after each [`Waiters::wake_all`].
    pub(super) fn until<T>(
        &self,
        mut is_done: impl FnMut() -> Option<T> + Unpin,
    ) -> impl Future<Output = T> + Unpin {
        std::future::poll_fn(move |context| {
            // Registered before asking, so that a change between the two is not missed.
            self.register(context.waker());
            is_done().map_or(Poll::Pending, Poll::Ready)
        })
    }

    fn register(&self, waker: &Waker) {
        let mut waiters = self.0.lock();
        if !waiters.iter().any(|other| other.will_wake(waker)) {
            waiters.push(waker.clone());
        }
    }

    pub(super) fn wake_all(&self) {
        let woken = std::mem::take(&mut *self.0.lock());
        woken.into_iter().for_each(Waker::wake);
    }
}

/// The first of a future and a deadline; nothing if the deadline was first.
pub(super) async fn before<F: Future + Unpin>(
    mut future: F,
    deadline: Deadline<'_>,
    wake_io_thread: impl Fn(),
) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(context) {
            return Poll::Ready(Some(output));
        }
        match deadline.poll_reached(context) {
            (true, _) => Poll::Ready(None),
            (false, is_new) => {
                if is_new {
                    wake_io_thread();
                }
                Poll::Pending
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::wait::wait;

    #[test]
    fn blocking_ends_when_another_thread_wakes() {
        let waiters = Arc::new(Waiters::default());
        let flag = Arc::new(AtomicU64::new(0));
        let (other_waiters, other_flag) = (Arc::clone(&waiters), Arc::clone(&flag));
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            other_flag.store(7, Ordering::SeqCst);
            other_waiters.wake_all();
        });
        let seen = wait(waiters.until(|| match flag.load(Ordering::SeqCst) {
            0 => None,
            seen => Some(seen),
        }));
        assert_eq!(seen, 7);
        other.join().unwrap();
    }

    #[test]
    fn a_deadline_wins_over_what_never_comes_and_is_forgotten_after() {
        let deadlines = Arc::new(Deadlines::default());
        let watching = Arc::clone(&deadlines);
        let watcher = std::thread::spawn(move || {
            while watching.fire(Instant::now()).is_some() || Arc::strong_count(&watching) > 1 {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let never = std::future::pending::<()>();
        let deadline = deadlines.at(Instant::now() + Duration::from_millis(20));
        assert_eq!(wait(before(never, deadline, || {})), None);
        assert!(deadlines.entries.lock().is_empty());
        drop(deadlines);
        watcher.join().unwrap();
    }
}
