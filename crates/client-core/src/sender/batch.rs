//! A batch on the sender's side: taken out of the accumulator, perhaps sealed, perhaps in flight.

use std::sync::Arc;
use std::time::Instant;

use streamledger_protocol::record_batch::SealedBatch;
use streamledger_protocol::{BrokerId, LeaderEpoch, TopicPartition};

use super::effect::{BatchId, CompletedBatch, RequestId};
use crate::accumulator::{BatchOrigin, BatchOutcome, ReadyReason, Reservation};
use crate::failure::{AttemptError, DeliveryFailure, FailureReason, WaitedFor};
use crate::stage::Stage;

/// A sealed batch. Idempotent, it has a sequence, and is in its partition's queue until its
/// outcome is known for good.
#[derive(Debug)]
pub(crate) struct ProducerBatch {
    pub(crate) id: BatchId,
    /// None once its owners have been told.
    pub(crate) origin: Option<BatchOrigin>,
    pub(crate) created: Instant,
    pub(crate) reason: ReadyReason,
    pub(crate) sealed: SealedBatch,
    pub(crate) state: BatchState,
    pub(crate) attempts: Attempts,
    /// Batches acknowledged that lay between this one and the next unresolved one.
    pub(crate) acked_behind: usize,
}

/// What the attempts to send a batch have come to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attempts {
    pub(crate) count: u32,
    /// How often it was refused for the batches before it.
    pub(crate) requeues: u32,
    pub(crate) last_error: Option<AttemptError>,
    /// Some attempt's outcome is unknown.
    pub(crate) possibly_written: bool,
    pub(crate) sent_at: Option<Instant>,
    /// The leader's epoch at the last attempt.
    pub(crate) leader_epoch: LeaderEpoch,
}

/// Where a sealed batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchState {
    /// To be sent, again or for the first time; not before the moment, if there is one.
    Waiting { not_before: Option<Instant> },
    /// In this request, at this broker.
    InFlight { request: RequestId, broker: BrokerId },
}

/// A batch that is being compressed, or waits for its turn after that.
#[derive(Debug)]
pub(crate) struct StagedBatch {
    pub(crate) id: BatchId,
    pub(crate) origin: BatchOrigin,
    pub(crate) reason: ReadyReason,
    pub(crate) record_count: i32,
    pub(crate) uncompressed_bytes: usize,
    /// None while the codec has it. The reservation is tied to the bytes when they are stamped.
    pub(crate) sealed: Option<(SealedBatch, Reservation)>,
}

/// Why a batch fails, as far as the batch itself can't say.
#[derive(Debug, Clone)]
pub(crate) struct Failing {
    pub(crate) reason: FailureReason,
    pub(crate) waited_for: WaitedFor,
    pub(crate) now: Instant,
}

impl ProducerBatch {
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, BatchState::Waiting { .. })
    }

    /// What it waits for: an answer if it is in flight, else what its partition does.
    pub(crate) fn waits_for(&self, partition: WaitedFor) -> WaitedFor {
        self.broker().map_or(partition, WaitedFor::Answer)
    }

    /// The broker at which it is in flight.
    pub(crate) fn broker(&self) -> Option<BrokerId> {
        match self.state {
            BatchState::InFlight { broker, .. } => Some(broker),
            BatchState::Waiting { .. } => None,
        }
    }

    /// Records in it.
    pub(crate) fn records(&self) -> u64 {
        u64::from(self.sealed.record_count.cast_unsigned())
    }

    /// Whether its owners have been told already, though it is still in flight.
    pub(crate) fn is_reported(&self) -> bool {
        self.origin.is_none()
    }

    /// The end for its owners, unless they have been told.
    pub(crate) fn complete(&mut self, outcome: BatchOutcome) -> Option<CompletedBatch> {
        Some(CompletedBatch {
            origin: self.origin.take()?,
            outcome,
            record_count: self.sealed.record_count,
            batch_bytes: self.sealed.bytes.len(),
            uncompressed_bytes: self.sealed.uncompressed_bytes,
            attempts: self.attempts.count,
            reason: Some(self.reason),
        })
    }

    /// The bad end for its owners, unless they have been told.
    pub(crate) fn fail(&mut self, failing: &Failing) -> Option<CompletedBatch> {
        let topic_partition = self.origin.as_ref()?.completion.topic_partition();
        let stage = if self.attempts.count == 0 { Stage::Accumulated } else { Stage::Sent };
        let failure = failure(failing, topic_partition, stage, self.created, self.attempts);
        self.complete(Err(failure))
    }
}

impl StagedBatch {
    pub(crate) fn fail(self, failing: &Failing) -> CompletedBatch {
        let batch_bytes = self.sealed.map_or(0, |(sealed, _)| sealed.bytes.len());
        let sizes = (self.record_count, batch_bytes, self.uncompressed_bytes);
        fail_unsent(self.origin, sizes, Some(self.reason), failing)
    }
}

/// The bad end of a batch that was never sent. `sizes`: records, bytes sealed, bytes unsealed.
pub(crate) fn fail_unsent(
    origin: BatchOrigin,
    sizes: (i32, usize, usize),
    reason: Option<ReadyReason>,
    failing: &Failing,
) -> CompletedBatch {
    let topic_partition = origin.completion.topic_partition();
    let (created, attempts) = (origin.created, Attempts::default());
    let outcome = Err(failure(failing, topic_partition, Stage::Accumulated, created, attempts));
    let (record_count, batch_bytes, uncompressed_bytes) = sizes;
    CompletedBatch {
        origin,
        outcome,
        record_count,
        batch_bytes,
        uncompressed_bytes,
        attempts: 0,
        reason,
    }
}

fn failure(
    failing: &Failing,
    topic_partition: TopicPartition,
    stage: Stage,
    created: Instant,
    attempts: Attempts,
) -> Arc<DeliveryFailure> {
    Arc::new(DeliveryFailure {
        reason: failing.reason.clone(),
        stage,
        topic_partition,
        attempts: attempts.count,
        last_error: attempts.last_error,
        waited: failing.now.saturating_duration_since(created),
        waited_for: failing.waited_for,
        unreachable: None,
        possibly_written: attempts.possibly_written,
    })
}
