//! The bugs planted on purpose. Each is wrong in the way some client once was.

use std::time::Instant;

use streamledger_protocol::SequenceNumber;
use streamledger_protocol::record_batch::patch_max_timestamp;
use streamledger_protocol::{ProducerEpoch, ProducerIdentity, TimestampMs};

use super::Sender;
use super::batch::{BatchState, Failing};
use super::effect::BatchId;
use super::verdict::Answer;
use crate::failure::{FailureReason, WaitedFor};
use crate::idempotence::Identity;
use crate::planted_bugs::PlantedBug;

impl Sender {
    /// [`PlantedBug::ResealRetriedBatch`]: a retry carries another timestamp than the first try.
    pub(super) fn corrupt_retry(&mut self, slot: usize, place: usize) {
        if !self.config.has_bug(PlantedBug::ResealRetriedBatch) {
            return;
        }
        let Some(batch) = self.partition(slot).and_then(|p| p.unresolved.get_mut(place)) else {
            return;
        };
        if batch.attempts.count > 0 {
            let later = TimestampMs(batch.sealed.max_timestamp.0 + 1);
            let mut bytes = batch.sealed.bytes.to_vec();
            patch_max_timestamp(&mut bytes, later);
            batch.sealed.max_timestamp = later;
            batch.sealed.bytes = bytes.into();
        }
    }

    /// [`PlantedBug::TimeoutMeansNotWritten`]: the batch is failed as not written, and its sequence
    /// goes to the next.
    pub(super) fn forget_unknown(
        &mut self,
        now: Instant,
        slot: usize,
        id: BatchId,
        answer: &Answer,
    ) -> bool {
        if !self.config.has_bug(PlantedBug::TimeoutMeansNotWritten) || *answer != Answer::None {
            return false;
        }
        let Some(partition) = self.partition(slot) else { return false };
        let Some(place) = partition.place_of(id) else { return false };
        if place + 1 < partition.unresolved.len() {
            return false;
        }
        let Some(mut batch) = partition.unresolved.pop_back() else { return false };
        if let Some((_, sequence)) = batch.sealed.seal.producer {
            partition.sequences.jump(sequence);
        }
        let reason = FailureReason::DeliveryTimeout;
        let completed = batch.fail(&Failing { reason, waited_for: WaitedFor::Batch, now });
        if let Some(completed) = completed {
            self.complete(now, completed);
        }
        true
    }

    /// [`PlantedBug::RequeueOutOfOrder`]: the batch changes places, and sequences, with the one
    /// behind it.
    pub(super) fn requeue_wrongly(&mut self, slot: usize, place: usize) {
        if !self.config.has_bug(PlantedBug::RequeueOutOfOrder) {
            return;
        }
        let Some(partition) = self.partition(slot) else { return };
        let Some(before) = place.checked_sub(1) else { return };
        if !(partition.unresolved[before].is_waiting() && partition.unresolved[place].is_waiting())
        {
            return;
        }
        let Some((identity, sequence)) = partition.unresolved[before].sealed.seal.producer else {
            return;
        };
        partition.unresolved.swap(before, place);
        let first = &mut partition.unresolved[before].sealed;
        first.restamp(identity, sequence);
        let next = sequence.plus(first.record_count);
        partition.unresolved[place].sealed.restamp(identity, next);
    }

    /// [`PlantedBug::BumpEpochWhileUnresolved`]: the epoch rises at once, and everything that is
    /// unresolved in the broken partitions is sent again under it, written or not.
    pub(super) fn bump_at_once(&mut self, now: Instant) {
        if !self.config.has_bug(PlantedBug::BumpEpochWhileUnresolved) {
            return;
        }
        let Identity::Draining { current, .. } = self.identity else { return };
        let epoch = ProducerEpoch(current.epoch.0.wrapping_add(1));
        let next = ProducerIdentity { id: current.id, epoch };
        for place in 0..self.active.len() {
            let slot = self.active[place];
            let Some(partition) = self.partition(slot) else { continue };
            for batch in &mut partition.unresolved {
                partition.broken_under = Some(current);
                batch.attempts.possibly_written = false;
                batch.state = BatchState::Waiting { not_before: None };
            }
        }
        self.identity = Identity::Ready(next);
        self.restart_broken(now, next);
    }

    /// [`PlantedBug::RestartSequencesAfterMetadataLoss`]: a topic that metadata has lost starts
    /// again at sequence 0 under the same epoch.
    pub(super) fn restart_lost_topics(&mut self) {
        if !self.config.has_bug(PlantedBug::RestartSequencesAfterMetadataLoss) {
            return;
        }
        for partition in self.partitions.iter_mut().flatten() {
            if partition.leader.is_none() && partition.unresolved.is_empty() {
                partition.sequences.jump(SequenceNumber::ZERO);
            }
        }
    }
}
