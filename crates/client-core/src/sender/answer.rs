//! Takes each answer to its batch, and does what the verdict says.

use std::time::{Duration, Instant};

use streamledger_protocol::{Acks, ErrorCode, TopicPartition};

use super::batch::{BatchState, Failing};
use super::effect::{BatchId, RequestId};
use super::verdict::{
    ACK_WITHOUT_OFFSET, Answer, PartitionAnswer, Verdict, VerdictContext, attempt_error, judge,
};
use super::{RequestInFlight, Sender};
use crate::failure::{FailureReason, FatalError};
use crate::idempotence::{IdentityEvent, ResetTo};

impl Sender {
    /// A request was answered. An answer to a request that is not in flight any more is late, and
    /// ignored: the retry decides.
    pub(super) fn on_response(
        &mut self,
        now: Instant,
        request: RequestId,
        throttle: Duration,
        partitions: &[(TopicPartition, PartitionAnswer)],
    ) {
        let Some(done) = self.take_request(request) else { return };
        if throttle > Duration::ZERO {
            let broker = self.brokers.entry(done.broker).or_default();
            broker.throttled_until = broker.throttled_until.max(Some(now + throttle));
        }
        self.metrics.lock().count_response(now, done.sent_at, done.broker, throttle);
        for (place, &(slot, batch)) in done.batches.iter().enumerate() {
            let Some(partition) = self.partition(slot) else { continue };
            let is_ours = |(answered, _): &&(TopicPartition, PartitionAnswer)| {
                *answered == partition.topic_partition
            };
            // Brokers answer in the request's order, but need not.
            let in_order = partitions.get(place).filter(is_ours);
            let answer = match in_order.or_else(|| partitions.iter().find(is_ours)) {
                Some((_, answer)) => Answer::Broker(*answer),
                None => Answer::LeftOut,
            };
            self.settle(now, slot, batch, &answer);
        }
    }

    /// All batches of a request ended alike.
    pub(super) fn on_all(&mut self, now: Instant, request: RequestId, answer: &Answer) {
        let Some(done) = self.take_request(request) else { return };
        for (slot, batch) in done.batches {
            self.settle(now, slot, batch, answer);
        }
    }

    /// The leader can't take what this producer has to send, and will not as long as it runs.
    pub(super) fn on_not_spoken(&mut self, now: Instant, request: RequestId) {
        let Some(broker) = self.requests.get(&request).map(|request| request.broker) else {
            return;
        };
        let fatal = FatalError::NotSpoken(broker);
        // First, so that a commit fails by this and not by a batch.
        self.fail_dialogue(now, fatal);
        self.on_all(now, request, &Answer::NotSent);
        self.fail_for_good(now, IdentityEvent::Failed(fatal), fatal);
    }

    fn take_request(&mut self, request: RequestId) -> Option<RequestInFlight> {
        let done = self.requests.remove(&request)?;
        self.metrics.lock().requests_ended += 1;
        let broker = self.brokers.entry(done.broker).or_default();
        broker.in_flight = broker.in_flight.saturating_sub(1);
        Some(done)
    }

    /// One batch's attempt has ended.
    fn settle(&mut self, now: Instant, slot: usize, id: BatchId, answer: &Answer) {
        #[cfg(feature = "planted-bugs")]
        if self.forget_unknown(now, slot, id, answer) {
            return;
        }
        let (identity, timeout) = (self.identity, self.config.delivery_timeout);
        let retries_max = self.config.retries_max;
        let Some(partition) = self.partition(slot) else { return };
        let Some(place) = partition.place_of(id) else { return };
        let broken = partition.is_broken(identity);
        let batch = &mut partition.unresolved[place];
        if let (Answer::Broker(PartitionAnswer { error: ErrorCode::None, .. }), Some(broker)) =
            (answer, batch.broker())
        {
            partition.taken_by = Some(broker);
        }
        let context = VerdictContext {
            idempotent: batch.sealed.seal.producer.is_some(),
            transactional: batch.sealed.seal.transactional,
            record_count: batch.sealed.record_count,
            possibly_written: batch.attempts.possibly_written,
            earlier_unresolved: place > 0 || broken,
            retries_left: batch.attempts.count <= retries_max,
            expired: batch.is_reported() || batch.created + timeout <= now,
        };
        batch.attempts.last_error = attempt_error(answer).or(batch.attempts.last_error);
        let verdict = judge(answer, &context);
        self.apply(now, slot, place, verdict);
    }

    fn apply(&mut self, now: Instant, slot: usize, place: usize, verdict: Verdict) {
        match verdict {
            Verdict::Ack(ack) => {
                let tells_offsets = self.config.acks != Acks::None;
                let Some(partition) = self.partition(slot) else { return };
                let Some(mut batch) = partition.take_acked(place) else { return };
                // With acks=0 no record has an offset, also if the first of them could.
                let ack = if tells_offsets { ack } else { ACK_WITHOUT_OFFSET };
                if let Some((identity, _)) = batch.sealed.seal.producer {
                    partition.sequences.confirm(identity);
                }
                let completed = batch.complete(Ok(ack));
                // The buffer is free before the owners hear of it.
                drop(batch);
                if let Some(completed) = completed {
                    self.complete(now, completed);
                }
            }
            Verdict::Retry { refresh_metadata, possibly_written } => {
                self.metadata.wanted |= refresh_metadata;
                self.wait_for_retry(now, slot, place, possibly_written);
            }
            Verdict::Requeue => {
                self.requeue(now, slot, place);
                #[cfg(feature = "planted-bugs")]
                self.requeue_wrongly(slot, place);
            }
            Verdict::Split => self.split(now, slot, place),
            Verdict::Reset(to) => {
                self.wait_for_turn(now, slot, place, 0);
                self.lose_sequence(now, slot, to);
            }
            Verdict::Abort { reason, possibly_written } => {
                self.abort(now, slot, place, reason, possibly_written);
            }
            Verdict::Fatal(error) => {
                let fatal = FatalError::Broker(error);
                // First, so that a commit fails by this and not by the batch.
                self.fail_dialogue(now, fatal);
                self.abort(now, slot, place, FailureReason::Fatal(fatal), false);
                self.fail_for_good(now, IdentityEvent::Refused(error), fatal);
            }
        }
    }

    /// Goes again after a backoff: the longer, the more often it was sent.
    fn wait_for_retry(&mut self, now: Instant, slot: usize, place: usize, possibly_written: bool) {
        let Some(partition) = self.partition(slot) else { return };
        let attempts = &mut partition.unresolved[place].attempts;
        attempts.possibly_written |= possibly_written;
        let failures = attempts.count;
        self.wait_for_turn(now, slot, place, failures);
    }

    /// Behind an unresolved batch it goes again at once, after it. Refused a second time it waits:
    /// whatever stands before it will not be gone sooner for being asked without a pause.
    fn requeue(&mut self, now: Instant, slot: usize, place: usize) {
        let Some(partition) = self.partition(slot) else { return };
        let attempts = &mut partition.unresolved[place].attempts;
        let before = attempts.requeues;
        attempts.requeues = before.saturating_add(1);
        self.wait_for_turn(now, slot, place, before);
    }

    /// Waits until the rules let it go again, and for the backoff after so many failures.
    fn wait_for_turn(&mut self, now: Instant, slot: usize, place: usize, failures: u32) {
        let wait = || self.config.retry_backoff.wait(failures, &*self.random);
        let not_before = (failures > 0).then(|| now + wait());
        let Some(partition) = self.partition(slot) else { return };
        partition.unresolved[place].state = BatchState::Waiting { not_before };
    }

    /// Gives a batch up. A sequence goes with it, so the partition needs a new epoch.
    pub(super) fn abort(
        &mut self,
        now: Instant,
        slot: usize,
        place: usize,
        reason: FailureReason,
        possibly_written: bool,
    ) {
        let Some(partition) = self.partition(slot) else { return };
        let Some(mut batch) = partition.unresolved.remove(place) else { return };
        let waited_for = batch.waits_for(partition.waited_for);
        batch.attempts.possibly_written |= possibly_written;
        let completed = batch.fail(&Failing { reason, waited_for, now });
        let idempotent = batch.sealed.seal.producer.is_some();
        drop(batch);
        if let Some(completed) = completed {
            self.complete(now, completed);
        }
        if idempotent {
            self.lose_sequence(now, slot, ResetTo::NextEpoch);
        }
    }
}
