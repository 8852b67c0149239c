//! Who waits for an offset to be flushed or to come in sight: wakers, by offset.
//!
//! Scope of the lock: the list alone. Wakers are woken after it is released, because a waker may
//! run anything, and come back here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::Mutex;
use streamledger_protocol::Offset;

/// The place of a waiter in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WaiterKey(u64);

#[derive(Debug)]
struct Waiter {
    key: WaiterKey,
    /// Woken once the offset reached is above this.
    above: Offset,
    waker: Waker,
}

/// Who waits for an offset.
#[derive(Debug, Default)]
pub(super) struct OffsetWaiters {
    next_key: AtomicU64,
    waiting: Mutex<Vec<Waiter>>,
}

impl OffsetWaiters {
    /// Waits until more than `above` is reached. The caller looks again after this: what was
    /// reached in between would not wake it.
    pub(super) fn register(
        &self,
        key: Option<WaiterKey>,
        above: Offset,
        waker: &Waker,
    ) -> WaiterKey {
        let mut waiting = self.waiting.lock();
        if let Some(known) = waiting.iter_mut().find(|waiter| Some(waiter.key) == key) {
            known.waker.clone_from(waker);
            return known.key;
        }
        let key = WaiterKey(self.next_key.fetch_add(1, Ordering::Relaxed));
        waiting.push(Waiter { key, above, waker: waker.clone() });
        key
    }

    /// Waits no more.
    pub(super) fn forget(&self, key: WaiterKey) {
        self.waiting.lock().retain(|waiter| waiter.key != key);
    }

    /// Wakes who waited for less than `reached`.
    pub(super) fn wake_below(&self, reached: Offset) {
        let due: Vec<Waiter> = {
            let mut waiting = self.waiting.lock();
            if waiting.is_empty() {
                return;
            }
            waiting.extract_if(.., |waiter| waiter.above < reached).collect()
        };
        for waiter in due {
            waiter.waker.wake();
        }
    }

    /// Wakes everyone: nothing more will be reached.
    pub(super) fn wake_all(&self) {
        let due = std::mem::take(&mut *self.waiting.lock());
        for waiter in due {
            waiter.waker.wake();
        }
    }
}
