//! The byte budget of all batches (`buffer.memory`): hard, fair, and without a clock.
//!
//! 1. Neither the bytes that are reserved nor those of all buffers, in use or in the pool, exceed
//!    the total, but for [`MemoryBudget::reserve_beyond`], which a split batch needs.
//! 2. Who waits is served in the order of asking; while somebody waits, nobody overtakes.
//! 3. A reservation lives as long as the bytes it stands for, also when a request still holds
//!    them: see [`Reservation::attach`] (KAFKA-19012 was a buffer reused while in flight).
//! 4. With the memory full and callers waiting, a buffer that comes back is kept for the waiter: it
//!    goes round without the allocator, which would keep some of what it is given back.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::sync::{AtomicUsize, Mutex};

/// Room left behind a batch in its buffer for the builder's whole-word stores, so that the buffer
/// never grows. It is part of what is reserved: a buffer of a power of two stays one, which
/// allocators like.
pub(crate) const BUFFER_SLACK_BYTES: usize = 64;

/// The budget and the pool of batch buffers, shared by callers and sender.
#[derive(Debug)]
pub struct MemoryBudget {
    total_bytes: usize,
    /// The size of the buffers worth keeping: `batch.size`.
    pooled_bytes: usize,
    waiting: AtomicUsize,
    state: Mutex<BudgetState>,
}

#[derive(Debug, Default)]
struct BudgetState {
    reserved_bytes: usize,
    /// Of the reserved bytes, those of reservations that have their buffer.
    backed_bytes: usize,
    /// Free buffers, each of `pooled_bytes`.
    pool: Vec<Vec<u8>>,
    waiters: VecDeque<Waiter>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    bytes: usize,
    granted: bool,
    waker: Option<Waker>,
}

impl MemoryBudget {
    /// A budget of `total_bytes`, pooling buffers of `pooled_bytes`.
    #[must_use]
    pub fn new(total_bytes: usize, pooled_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            total_bytes,
            pooled_bytes,
            waiting: AtomicUsize::new(0),
            state: Mutex::default(),
        })
    }

    /// The whole budget (`buffer.memory`), bytes.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.total_bytes
    }

    /// Bytes not reserved at the moment.
    #[must_use]
    pub fn available_bytes(&self) -> usize {
        self.total_bytes.saturating_sub(self.state.lock().reserved_bytes)
    }

    /// How many callers wait for memory; above 0, every batch is ready to be sent.
    #[inline]
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Reserves `bytes` if they are free and nobody waits for memory.
    #[must_use]
    pub fn try_reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        let mut state = self.state.lock();
        let anyone_waits = state.waiters.iter().any(|waiter| !waiter.granted);
        if anyone_waits || state.reserved_bytes.saturating_add(bytes) > self.total_bytes {
            return None;
        }
        state.reserved_bytes += bytes;
        Some(Reservation { budget: Arc::clone(self), bytes, is_backed: false })
    }

    /// Reserves `bytes` that are there already, whatever is free: for a split batch, whose parts
    /// need a little more than the whole had, or one that is stamped anew.
    #[must_use]
    pub fn reserve_beyond(self: &Arc<Self>, bytes: usize) -> Reservation {
        let mut state = self.state.lock();
        state.reserved_bytes += bytes;
        state.back(bytes, self);
        Reservation { budget: Arc::clone(self), bytes, is_backed: true }
    }

    /// A future of `bytes`, in the order of asking. More than the whole budget never comes: the
    /// accumulator refuses such a record before.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> MemoryWait {
        let mut state = self.state.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiters.push_back(Waiter { ticket, bytes, granted: false, waker: None });
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The budget may have become free between the failed try and now.
        let woken = state.grant(self);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        MemoryWait { budget: Arc::clone(self), ticket: Some(ticket), bytes }
    }

    /// Gives bytes back, and the buffer to the pool if it is one of its size.
    fn release(&self, bytes: usize, is_backed: bool, buffer: Option<Vec<u8>>) {
        let mut state = self.state.lock();
        state.reserved_bytes -= bytes;
        if is_backed {
            state.backed_bytes -= bytes;
        }
        let woken = state.grant(self);
        if let Some(buffer) = buffer {
            // A codec may have left a buffer that is a little larger.
            let kept = self.pooled_bytes..=self.pooled_bytes + self.pooled_bytes / 4;
            let fits = kept.contains(&buffer.capacity());
            let kept_bytes = (state.pool.len() + 1) * self.pooled_bytes;
            if fits && state.backed_bytes + kept_bytes <= self.total_bytes {
                state.pool.push(buffer);
            }
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Takes a waiter out, granted or not.
    fn leave(&self, ticket: u64) -> Option<Waiter> {
        let mut state = self.state.lock();
        let place = state.waiters.iter().position(|waiter| waiter.ticket == ticket)?;
        let waiter = state.waiters.remove(place)?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        // Whoever stood behind may fit now.
        let woken = state.grant(self);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        Some(waiter)
    }
}

impl BudgetState {
    /// A reservation gets a buffer that is none of the pool's, which makes room for it.
    fn back(&mut self, bytes: usize, budget: &MemoryBudget) {
        self.backed_bytes += bytes;
        let pool_bytes_max = budget.total_bytes.saturating_sub(self.backed_bytes);
        self.pool.truncate(pool_bytes_max / budget.pooled_bytes.max(1));
    }

    /// Serves waiters from the front as far as memory goes; the wakers are for after the lock.
    #[must_use]
    fn grant(&mut self, budget: &MemoryBudget) -> Vec<Waker> {
        let mut woken = Vec::new();
        let mut granted_bytes = 0;
        let free_bytes = budget.total_bytes.saturating_sub(self.reserved_bytes);
        for waiter in self.waiters.iter_mut().filter(|waiter| !waiter.granted) {
            if granted_bytes + waiter.bytes > free_bytes {
                break;
            }
            granted_bytes += waiter.bytes;
            waiter.granted = true;
            woken.extend(waiter.waker.take());
        }
        self.reserved_bytes += granted_bytes;
        woken
    }
}

/// Bytes of the budget that are somebody's. Dropping gives them back.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: usize,
    /// Whether there is a buffer for it, and it counts as backed.
    is_backed: bool,
}

impl Reservation {
    /// How many bytes are reserved.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The buffer of these bytes: one of the pool if the size is the pooled one. Asked for once.
    #[must_use]
    pub fn buffer(&mut self) -> Vec<u8> {
        self.is_backed = true;
        let mut state = self.budget.state.lock();
        if self.bytes == self.budget.pooled_bytes
            && let Some(buffer) = state.pool.pop()
        {
            state.backed_bytes += self.bytes;
            return buffer;
        }
        state.back(self.bytes, &self.budget);
        drop(state);
        Vec::with_capacity(self.bytes)
    }

    /// Ties the reservation to a sealed batch's bytes: it is given back, and the buffer to the
    /// pool, when the last clone is dropped, be that in the sender or in a connection.
    #[must_use]
    pub fn attach(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(OwnedBatch { bytes, reservation: self })
    }

    /// Gives the bytes back with the buffer they stood for.
    pub fn give_back(mut self, buffer: Vec<u8>) {
        let bytes = std::mem::take(&mut self.bytes);
        self.budget.release(bytes, self.is_backed, Some(buffer));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.release(self.bytes, self.is_backed, None);
        }
    }
}

/// What a sealed batch's `Bytes` own: the bytes themselves and their place in the budget.
struct OwnedBatch {
    bytes: Bytes,
    reservation: Reservation,
}

impl AsRef<[u8]> for OwnedBatch {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for OwnedBatch {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.is_unique() {
            let reservation = &mut self.reservation;
            let reserved_bytes = std::mem::take(&mut reservation.bytes);
            let buffer = Some(Vec::from(bytes));
            reservation.budget.release(reserved_bytes, reservation.is_backed, buffer);
        }
    }
}

/// Waits for its place in the budget. Dropping it gives up the place, and what was granted.
#[derive(Debug)]
#[must_use = "a future does nothing unless polled"]
pub struct MemoryWait {
    budget: Arc<MemoryBudget>,
    /// Nothing once the reservation was handed over.
    ticket: Option<u64>,
    bytes: usize,
}

impl Future for MemoryWait {
    type Output = Reservation;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reservation> {
        let Some(ticket) = self.ticket else { return Poll::Pending };
        let mut state = self.budget.state.lock();
        if let Some(waiter) = state.waiters.iter_mut().find(|waiter| waiter.ticket == ticket)
            && !waiter.granted
        {
            waiter.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        self.ticket = None;
        self.budget.leave(ticket);
        let budget = Arc::clone(&self.budget);
        Poll::Ready(Reservation { budget, bytes: self.bytes, is_backed: false })
    }
}

impl Drop for MemoryWait {
    fn drop(&mut self) {
        let left = self.ticket.take().and_then(|ticket| self.budget.leave(ticket));
        if left.is_some_and(|waiter| waiter.granted) {
            self.budget.release(self.bytes, false, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    use super::*;

    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn flag() -> (Arc<Flag>, Waker) {
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        (Arc::clone(&flag), Waker::from(flag))
    }

    fn poll(wait: &mut MemoryWait, waker: &Waker) -> Option<Reservation> {
        match Pin::new(wait).poll(&mut Context::from_waker(waker)) {
            Poll::Ready(reservation) => Some(reservation),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_full_budget_refuses_and_serves_waiters_in_order() {
        let budget = MemoryBudget::new(100, 10);
        let first = budget.try_reserve(60).unwrap();
        let second = budget.try_reserve(40).unwrap();
        assert!(budget.try_reserve(1).is_none());
        let (flag_a, waker_a) = flag();
        let (flag_b, waker_b) = flag();
        let mut a = budget.reserve(50);
        let mut b = budget.reserve(10);
        assert!(poll(&mut a, &waker_a).is_none() && poll(&mut b, &waker_b).is_none());
        drop(second);
        assert!(!flag_a.0.load(Ordering::SeqCst), "40 are free, a wants 50");
        assert!(!flag_b.0.load(Ordering::SeqCst), "b would fit but stands behind a");
        assert!(budget.try_reserve(5).is_none(), "nobody overtakes");
        drop(first);
        assert!(flag_a.0.load(Ordering::SeqCst) && flag_b.0.load(Ordering::SeqCst));
        let a = poll(&mut a, &waker_a).unwrap();
        let b = poll(&mut b, &waker_b).unwrap();
        assert_eq!((a.bytes(), b.bytes(), budget.available_bytes()), (50, 10, 40));
        drop((a, b));
        assert_eq!((budget.available_bytes(), budget.waiting()), (100, 0));
    }

    #[test]
    fn a_waiter_that_gives_up_returns_what_it_was_granted() {
        let budget = MemoryBudget::new(10, 10);
        let all = budget.try_reserve(10).unwrap();
        let (_, waker) = flag();
        let mut first = budget.reserve(10);
        let mut second = budget.reserve(10);
        assert!(poll(&mut first, &waker).is_none() && poll(&mut second, &waker).is_none());
        drop(all);
        drop(first);
        assert!(poll(&mut second, &waker).is_some());
        assert_eq!(budget.available_bytes(), 10);
    }

    #[test]
    fn a_waiter_that_came_when_memory_was_free_is_served_at_once() {
        let budget = MemoryBudget::new(10, 10);
        let mut wait = budget.reserve(10);
        assert!(poll(&mut wait, &flag().1).is_some());
    }

    #[test]
    fn bytes_in_flight_hold_their_reservation_and_their_buffer() {
        let budget = MemoryBudget::new(1000, 100);
        let mut reservation = budget.try_reserve(100).unwrap();
        let mut buffer = reservation.buffer();
        buffer.extend_from_slice(b"batch");
        let address = buffer.as_ptr();
        let sealed = reservation.attach(Bytes::from(buffer));
        let in_request = sealed.clone();
        drop(sealed);
        assert_eq!(budget.available_bytes(), 900, "the request still holds it");
        assert_eq!(&in_request[..], b"batch");
        drop(in_request);
        assert_eq!(budget.available_bytes(), 1000);
        let mut reservation = budget.try_reserve(100).unwrap();
        let again = reservation.buffer();
        assert_eq!(again.as_ptr(), address, "the buffer is used again");
    }

    #[test]
    fn pool_and_buffers_together_stay_under_the_total() {
        let budget = MemoryBudget::new(300, 100);
        let mut held: Vec<_> = (0..3).map(|_| budget.try_reserve(100).unwrap()).collect();
        let buffers: Vec<_> = held.iter_mut().map(Reservation::buffer).collect();
        for (reservation, buffer) in held.into_iter().zip(buffers) {
            reservation.give_back(buffer);
        }
        assert_eq!(budget.state.lock().pool.len(), 3);
        let mut large = budget.try_reserve(250).unwrap();
        assert_eq!(budget.state.lock().pool.len(), 3, "it has no buffer yet");
        drop(large.buffer());
        assert_eq!(budget.state.lock().pool.len(), 0, "50 bytes hold no buffer of 100");
        drop(large);
        assert_eq!(budget.state.lock().backed_bytes, 0);
    }

    #[test]
    fn a_buffer_that_comes_back_goes_to_who_waits_for_memory() {
        let budget = MemoryBudget::new(100, 100);
        let mut all = budget.try_reserve(100).unwrap();
        let buffer = all.buffer();
        let (_, waker) = flag();
        let mut waiting = budget.reserve(100);
        assert!(poll(&mut waiting, &waker).is_none());
        let address = buffer.as_ptr();
        all.give_back(buffer);
        let mut granted = poll(&mut waiting, &waker).unwrap();
        let again = granted.buffer();
        assert_eq!(again.as_ptr(), address);
    }
}
