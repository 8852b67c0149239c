//! One partition on the sender's side, and the rules by which its batches may be sent.
//!
//! 1. A batch is sent only when each earlier one of the partition is in flight at the same broker
//!    or resolved, and no later one is in flight. So what arrives at a leader is in order, and
//!    after a failure everything that was behind comes back before anything is sent again.
//! 2. A new sequence is given only when nothing waits to be sent again, at most five batches lie
//!    behind the oldest unresolved one, itself and acknowledged ones counted (a broker remembers
//!    the last five), and the outcome of none that was given up is still unknown.
//! 3. The first batch under a producer id and epoch travels alone (KAFKA-15591).
//! 4. With acks=0 the first batch to a leader asks for its acknowledgement, and travels alone:
//!    metadata names a leader before it takes records, and what a broker can't take with acks=0 it
//!    answers by closing the connection, whatever else is on it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use streamledger_protocol::{
    Acks, BrokerId, LeaderEpoch, ProducerIdentity, SequenceNumber, TopicId, TopicPartition,
};

use super::batch::{BatchState, Failing, ProducerBatch, StagedBatch, fail_unsent};
use super::effect::{BatchId, CompletedBatch};
use crate::accumulator::PartitionQueue;
use crate::failure::WaitedFor;
use crate::idempotence::Identity;

/// How many batches of a producer a broker can tell from new ones (KIP-98).
const REMEMBERED_BATCHES: usize = 5;

/// A partition to which something was sent.
#[derive(Debug)]
pub(crate) struct PartitionState {
    pub(crate) queue: Arc<PartitionQueue>,
    pub(crate) topic_partition: TopicPartition,
    pub(crate) topic_id: TopicId,
    pub(crate) leader: Option<BrokerId>,
    pub(crate) leader_epoch: LeaderEpoch,
    /// Batches at the codec or past it, without a sequence, oldest first.
    pub(crate) staged: VecDeque<StagedBatch>,
    /// Sealed batches whose outcome isn't known for good, oldest first.
    pub(crate) unresolved: VecDeque<ProducerBatch>,
    pub(crate) sequences: Sequences,
    /// The broker that has acknowledged a batch of it, on the connection that still is.
    pub(crate) taken_by: Option<BrokerId>,
    /// The identity under which a sequence was lost: nothing is sent until there is another.
    pub(crate) broken_under: Option<ProducerIdentity>,
    /// The number of the transaction that it was added to last.
    pub(crate) added_to: u64,
    /// What it waits for, for the errors that tell.
    pub(crate) waited_for: WaitedFor,
    /// Whether the sender looks at it each round.
    pub(crate) active: bool,
}

/// The sequences of one partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sequences {
    /// Under whom they count; another identity starts at 0.
    identity: ProducerIdentity,
    next: SequenceNumber,
    /// A batch was acknowledged under this identity.
    confirmed: bool,
}

/// What may be done for a partition now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send the unresolved batch at this place.
    Send(usize),
    /// Take a new batch from the accumulator.
    Draw,
    /// Nothing, for this reason, until the moment if there is one.
    Wait(WaitedFor, Option<Instant>),
}

/// What bears on every partition's step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepRules {
    pub(crate) now: Instant,
    pub(crate) identity: Identity,
    pub(crate) unresolved_max: usize,
    pub(crate) acks: Acks,
    /// The transaction that a partition has to be added to before anything is sent.
    pub(crate) added_to: Option<u64>,
    /// Always, but for a planted bug.
    pub(crate) first_alone: bool,
}

impl Sequences {
    pub(crate) const NONE: Self =
        Self { identity: ProducerIdentity::NONE, next: SequenceNumber::ZERO, confirmed: false };

    /// The sequence of the next batch of `record_count` records.
    pub(crate) fn take(&mut self, identity: ProducerIdentity, record_count: i32) -> SequenceNumber {
        if self.identity != identity {
            *self = Self { identity, ..Self::NONE };
        }
        let sequence = self.next;
        self.next = sequence.plus(record_count);
        sequence
    }

    pub(crate) fn confirm(&mut self, identity: ProducerIdentity) {
        self.confirmed |= self.identity == identity;
    }

    pub(crate) fn is_confirmed(&self, identity: ProducerIdentity) -> bool {
        self.confirmed && self.identity == identity
    }

    /// Whether any sequence was given under this identity.
    pub(crate) fn are_used(&self, identity: ProducerIdentity) -> bool {
        self.identity == identity
    }

    /// Begins at `next` whatever there was: how the planted bugs go wrong, and how tests get to
    /// the end of the number range.
    #[cfg(any(test, feature = "planted-bugs"))]
    pub(crate) fn jump(&mut self, next: SequenceNumber) {
        self.next = next;
    }
}

impl PartitionState {
    pub(crate) fn new(queue: Arc<PartitionQueue>) -> Self {
        Self {
            topic_partition: queue.topic_partition(),
            queue,
            topic_id: TopicId::ZERO,
            leader: None,
            leader_epoch: LeaderEpoch::NONE,
            staged: VecDeque::new(),
            unresolved: VecDeque::new(),
            sequences: Sequences::NONE,
            taken_by: None,
            broken_under: None,
            added_to: 0,
            waited_for: WaitedFor::Batch,
            active: false,
        }
    }

    /// What the rules allow now.
    pub(crate) fn step(&self, rules: &StepRules) -> Step {
        if self.is_broken(rules.identity) {
            return Step::Wait(WaitedFor::Epoch, None);
        }
        if rules.added_to.is_some_and(|number| number != self.added_to) {
            return Step::Wait(WaitedFor::Transaction, None);
        }
        let Some(leader) = self.leader else { return Step::Wait(WaitedFor::Leader, None) };
        if self.in_flight().any(|broker| broker != leader) {
            return Step::Wait(WaitedFor::EarlierBatch, None);
        }
        match self.unresolved.iter().position(ProducerBatch::is_waiting) {
            Some(place) => self.step_of_waiting(place, rules),
            None => self.step_of_new(leader, rules),
        }
    }

    fn step_of_waiting(&self, place: usize, rules: &StepRules) -> Step {
        let later_in_flight = self.unresolved.range(place + 1..).any(|batch| !batch.is_waiting());
        if later_in_flight || self.must_be_alone(place, rules) {
            return Step::Wait(WaitedFor::EarlierBatch, None);
        }
        let batch = &self.unresolved[place];
        match batch.state {
            // A new leader is worth trying at once.
            BatchState::Waiting { not_before: Some(not_before) }
                if not_before > rules.now && self.leader_epoch <= batch.attempts.leader_epoch =>
            {
                Step::Wait(WaitedFor::Backoff, Some(not_before))
            }
            _ => Step::Send(place),
        }
    }

    fn step_of_new(&self, leader: BrokerId, rules: &StepRules) -> Step {
        match rules.identity {
            Identity::Off | Identity::Ready(_) => {}
            Identity::Wanted { .. } | Identity::Asked | Identity::Failed(_) => {
                return Step::Wait(WaitedFor::ProducerId, None);
            }
            Identity::Draining { .. } => return Step::Wait(WaitedFor::Epoch, None),
        }
        let given_up = rules.identity != Identity::Off
            && self.unresolved.iter().any(ProducerBatch::is_reported);
        if given_up || self.must_be_alone(self.unresolved.len(), rules) {
            return Step::Wait(WaitedFor::EarlierBatch, None);
        }
        if self.unresolved.len() >= rules.unresolved_max {
            return Step::Wait(WaitedFor::Room(leader), None);
        }
        if rules.identity != Identity::Off && self.span() >= REMEMBERED_BATCHES {
            return Step::Wait(WaitedFor::EarlierBatch, None);
        }
        Step::Draw
    }

    /// Batches from the oldest unresolved one to the newest, acknowledged ones included.
    fn span(&self) -> usize {
        self.unresolved.iter().map(|batch| 1 + batch.acked_behind).sum()
    }

    /// Takes out a batch that was acknowledged, and remembers where it was.
    pub(crate) fn take_acked(&mut self, place: usize) -> Option<ProducerBatch> {
        let batch = self.unresolved.remove(place)?;
        if let Some(before) =
            place.checked_sub(1).and_then(|before| self.unresolved.get_mut(before))
        {
            before.acked_behind += 1 + batch.acked_behind;
        }
        Some(batch)
    }

    /// Whether a batch with `before` unresolved ones before it has to wait for the first
    /// acknowledgement under this identity, or by this leader.
    fn must_be_alone(&self, before: usize, rules: &StepRules) -> bool {
        let unconfirmed =
            rules.identity.current().is_some_and(|identity| !self.sequences.is_confirmed(identity));
        let first = (rules.first_alone && unconfirmed) || self.acks(rules.acks) != rules.acks;
        first && before > 0
    }

    /// Whose acknowledgement the next batch asks for, where the configuration says `acks`.
    pub(crate) fn acks(&self, acks: Acks) -> Acks {
        let is_taken = self.taken_by.is_some() && self.taken_by == self.leader;
        if acks == Acks::None && !is_taken { Acks::Leader } else { acks }
    }

    /// Whether a sequence was lost under the identity that still is.
    pub(crate) fn is_broken(&self, identity: Identity) -> bool {
        match identity {
            // Between two producer ids the old sequences stay broken.
            Identity::Wanted { .. } | Identity::Asked => self.broken_under.is_some(),
            _ => self.broken_under.is_some() && self.broken_under == identity.current(),
        }
    }

    /// Whether nothing of it stands in the way of a new identity.
    pub(crate) fn is_drained(&self, identity: Identity) -> bool {
        self.in_flight().next().is_none()
            && (self.unresolved.is_empty() || self.is_broken(identity))
    }

    /// Fails what has no sequence yet.
    pub(crate) fn give_up_queued(&mut self, failing: &Failing) -> Vec<CompletedBatch> {
        let staged = self.staged.drain(..).map(|staged| staged.fail(failing));
        let mut completed: Vec<_> = staged.collect();
        while let Some(batch) = self.queue.take_any() {
            let sizes = (batch.builder.record_count(), 0, batch.builder.batch_bytes());
            completed.push(fail_unsent(batch.origin, sizes, None, failing));
        }
        completed
    }

    /// Whether there is nothing left to send or to wait for, outside the accumulator.
    pub(crate) fn is_idle(&self) -> bool {
        self.staged.is_empty() && self.unresolved.is_empty()
    }

    /// The brokers at which its batches in flight are: all the same.
    fn in_flight(&self) -> impl Iterator<Item = BrokerId> {
        self.unresolved.iter().filter_map(ProducerBatch::broker)
    }

    /// Batches that are not in flight: what waits for its leader.
    pub(crate) fn queued_batches(&self) -> u32 {
        let waiting = self.unresolved.iter().filter(|batch| batch.is_waiting()).count();
        let queued = self.queue.batch_count() + self.staged.len() + waiting;
        u32::try_from(queued).unwrap_or(u32::MAX)
    }

    /// The place of a batch among the unresolved.
    pub(crate) fn place_of(&self, batch: BatchId) -> Option<usize> {
        self.unresolved.iter().position(|other| other.id == batch)
    }
}
