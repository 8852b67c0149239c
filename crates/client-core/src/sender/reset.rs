//! Gets a producer id, and changes the identity when a sequence is lost and nothing is unresolved.

use std::time::Instant;

use streamledger_protocol::ProducerIdentity;

use super::Sender;
use super::batch::{BatchState, Failing};
use super::effect::Effect;
use super::event::ProducerIdAnswer;
use crate::failure::{FailureReason, FatalError, WaitedFor};
use crate::idempotence::{Identity, IdentityEvent, ResetTo};

impl Sender {
    /// Asks for a producer id if one is wanted, and ends a drain that is complete.
    pub(super) fn see_to_identity(&mut self, now: Instant) {
        if matches!(self.identity, Identity::Draining { .. }) && self.is_drained() {
            self.identity = self.identity.next(IdentityEvent::Drained);
            if let Identity::Ready(identity) = self.identity {
                self.restart_broken(now, identity);
            }
        }
        let Identity::Wanted { not_before } = self.identity else { return };
        if self.transaction.is_some() {
            // The coordinator gives it, when it is asked to begin.
            return;
        }
        match not_before {
            Some(not_before) if not_before > now => self.wake_at(not_before),
            _ => {
                self.identity = self.identity.next(IdentityEvent::Ask);
                self.effects.push_back(Effect::InitProducerId);
            }
        }
    }

    pub(super) fn on_producer_id(&mut self, now: Instant, answer: ProducerIdAnswer) {
        let event = match answer {
            ProducerIdAnswer::Given(identity) => {
                self.identity_failures = 0;
                IdentityEvent::Given(identity)
            }
            ProducerIdAnswer::Refused(error) if !error.is_retriable() => {
                let fatal = FatalError::Broker(error);
                return self.fail_for_good(now, IdentityEvent::Refused(error), fatal);
            }
            ProducerIdAnswer::Refused(_) | ProducerIdAnswer::NoAnswer => {
                self.identity_failures = self.identity_failures.saturating_add(1);
                let backoff = self.config.retry_backoff;
                let wait = backoff.wait(self.identity_failures, &*self.random);
                IdentityEvent::NotGiven { not_before: now + wait }
            }
        };
        let before = self.identity;
        self.identity = before.next(event);
        if let (Identity::Asked, Identity::Ready(identity)) = (before, self.identity) {
            self.restart_broken(now, identity);
        }
    }

    /// A sequence of the partition is lost: nothing of it is sent until the identity has changed,
    /// and no partition gets a new sequence until then.
    pub(super) fn lose_sequence(&mut self, now: Instant, slot: usize, to: ResetTo) {
        let identity = self.identity;
        let Some(partition) = self.partition(slot) else { return };
        // An idle partition may still have the mark of an earlier identity: the present one counts.
        partition.broken_under = identity.current().or(partition.broken_under);
        if self.transaction.is_some() {
            return self.renew_identity(now, slot);
        }
        self.identity = identity.next(IdentityEvent::Lost(to));
        #[cfg(feature = "planted-bugs")]
        self.bump_at_once(now);
        #[cfg(not(feature = "planted-bugs"))]
        let _ = now;
    }

    /// Whether nothing is unresolved but what waits for the new identity.
    fn is_drained(&self) -> bool {
        let active = self.active.iter().filter_map(|&slot| self.partitions[slot].as_ref());
        active.into_iter().all(|partition| partition.is_drained(self.identity))
    }

    /// Sends what waited for the new identity under it, in order, and gives up what may have been
    /// written under the old one.
    pub(super) fn restart_broken(&mut self, now: Instant, identity: ProducerIdentity) {
        for place in 0..self.active.len() {
            let slot = self.active[place];
            let memory = std::sync::Arc::clone(self.accumulator.memory());
            let Some(partition) = self.partition(slot) else { continue };
            if partition.broken_under.take().is_none() {
                continue;
            }
            let failing =
                Failing { reason: FailureReason::SequenceLost, waited_for: WaitedFor::Epoch, now };
            let mut given_up = Vec::new();
            let sequences = &mut partition.sequences;
            partition.unresolved.retain_mut(|batch| {
                if batch.attempts.possibly_written {
                    given_up.extend(batch.fail(&failing));
                    return false;
                }
                let sequence = sequences.take(identity, batch.sealed.record_count);
                batch.sealed.restamp(identity, sequence);
                // The stamped bytes are a copy, for the old ones may still be in a connection.
                let stamped = std::mem::take(&mut batch.sealed.bytes);
                let reservation = memory.reserve_beyond(stamped.len());
                batch.sealed.bytes = reservation.attach(stamped);
                batch.state = BatchState::Waiting { not_before: None };
                true
            });
            for batch in given_up {
                self.complete(now, batch);
            }
        }
    }
}
