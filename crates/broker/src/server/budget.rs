//! A budget of bytes that all connections share, so that memory is bounded whatever they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Bytes that may be held at once.
///
/// Whoever finds the budget not used up gets all it asks for, so a request larger than the whole
/// budget still passes, alone; what is held is at most the budget and one more request.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    bytes_max: usize,
    bytes_held: AtomicUsize,
    freed: Notify,
}

impl ByteBudget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes_held: AtomicUsize::new(0), freed: Notify::new() })
    }

    /// Bytes held now.
    #[cfg(test)]
    pub(crate) fn bytes_held(&self) -> usize {
        self.bytes_held.load(Ordering::Acquire)
    }

    /// Takes bytes at once, unless the budget is used up.
    pub(crate) fn try_take(self: &Arc<Self>, bytes: usize) -> Option<BytePermit> {
        let taken = self.bytes_held.fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
            (held < self.bytes_max).then_some(held.saturating_add(bytes))
        });
        taken.ok().map(|_| BytePermit { budget: Arc::clone(self), bytes })
    }

    /// Waits until the budget is not used up, then takes bytes.
    pub(crate) async fn take(self: &Arc<Self>, bytes: usize) -> BytePermit {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // Registered before looking, so that what is freed in between is not missed.
            freed.as_mut().enable();
            if let Some(permit) = self.try_take(bytes) {
                return permit;
            }
            freed.await;
        }
    }
}

/// Bytes of a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct BytePermit {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

impl BytePermit {
    /// Gives back what turned out not to be needed; more than was taken is charged as well.
    pub(crate) fn resize(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.bytes_held.fetch_add(bytes - self.bytes, Ordering::AcqRel);
        } else {
            self.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    fn give_back(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let held_before = self.budget.bytes_held.fetch_sub(bytes, Ordering::AcqRel);
        if held_before >= self.budget.bytes_max {
            self.budget.freed.notify_waiters();
        }
    }
}

impl Drop for BytePermit {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn who_finds_it_used_up_waits_until_some_is_given_back() {
        let budget = ByteBudget::new(100);
        let mut first = budget.take(150).await;
        assert!(budget.try_take(1).is_none());
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(10).await }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!waiting.is_finished());
        first.resize(60);
        let second = waiting.await.unwrap();
        assert_eq!(budget.bytes_held(), 70);
        drop((first, second));
        assert_eq!(budget.bytes_held(), 0);
    }

    #[test]
    fn an_answer_larger_than_foreseen_is_charged() {
        let budget = ByteBudget::new(100);
        let mut permit = budget.try_take(10).unwrap();
        permit.resize(300);
        assert_eq!(budget.bytes_held(), 300);
        drop(permit);
        assert_eq!(budget.bytes_held(), 0);
    }
}
