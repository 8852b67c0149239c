//! Gives up batches whose `delivery.timeout.ms` is over.
//!
//! A batch in flight is given up for its owners only: it stays, with its buffer and its sequence,
//! until its request is answered, and what comes behind it waits.

use std::time::Instant;

use super::Sender;
use super::batch::{Failing, fail_unsent};
use super::effect::CompletedBatch;
use super::partition::PartitionState;
use crate::failure::FailureReason;
use crate::idempotence::ResetTo;

impl Sender {
    /// Looks for batches to give up, if any can be due.
    pub(super) fn expire_if_due(&mut self, now: Instant) {
        if self.active.is_empty() {
            self.next_expiry = None;
            return;
        }
        if self.next_expiry.is_some_and(|expiry| expiry > now) {
            return;
        }
        self.expire(now);
        // Whatever is created from now on is not due before this.
        let oldest = self.oldest_created().unwrap_or(now);
        self.next_expiry = Some(oldest + self.config.delivery_timeout);
    }

    /// When the oldest batch was created that isn't given up yet.
    fn oldest_created(&self) -> Option<Instant> {
        let active = self.active.iter().filter_map(|&slot| self.partitions[slot].as_ref());
        active.into_iter().filter_map(|partition| partition.oldest_created()).min()
    }

    fn expire(&mut self, now: Instant) {
        let Some(created_until) = now.checked_sub(self.config.delivery_timeout) else { return };
        for place in 0..self.active.len() {
            let slot = self.active[place];
            let Some(partition) = self.partition(slot) else { continue };
            let mut completed = Vec::new();
            let lost = partition.expire(created_until, now, &mut completed);
            for batch in completed {
                self.complete(now, batch);
            }
            if lost {
                self.lose_sequence(now, slot, ResetTo::NextEpoch);
            }
        }
    }
}

impl PartitionState {
    /// When its oldest batch was created, in flight and given up ones aside.
    fn oldest_created(&self) -> Option<Instant> {
        let unresolved = self.unresolved.iter().filter(|batch| !batch.is_reported());
        let unresolved = unresolved.map(|batch| batch.created).next();
        let staged = self.staged.front().map(|batch| batch.origin.created);
        let queued = self.queue.oldest_created();
        [unresolved, staged, queued].into_iter().flatten().min()
    }

    /// Gives up what was created at or before the moment, and says whether a sequence went with it.
    fn expire(
        &mut self,
        created_until: Instant,
        now: Instant,
        completed: &mut Vec<CompletedBatch>,
    ) -> bool {
        let failing =
            |waited_for| Failing { reason: FailureReason::DeliveryTimeout, waited_for, now };
        let waited_for = self.waited_for;
        let mut lost = false;
        self.unresolved.retain_mut(|batch| {
            if batch.created > created_until {
                return true;
            }
            let in_flight = !batch.is_waiting();
            batch.attempts.possibly_written |= in_flight;
            completed.extend(batch.fail(&failing(batch.waits_for(waited_for))));
            if in_flight {
                return true;
            }
            lost |= batch.sealed.seal.producer.is_some();
            false
        });
        while let Some(staged) = self.staged.pop_front_if(|b| b.origin.created <= created_until) {
            completed.push(staged.fail(&failing(waited_for)));
        }
        while let Some(batch) = self.queue.take_created_until(created_until) {
            let sizes = (batch.builder.record_count(), 0, batch.builder.batch_bytes());
            completed.push(fail_unsent(batch.origin, sizes, None, &failing(waited_for)));
        }
        lost
    }
}
