//! A round of the sender: what is ready goes into requests, as far as brokers take it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use streamledger_protocol::BrokerId;
use streamledger_protocol::record_batch::BatchSeal;
use streamledger_protocol::{Acks, Codec, ProducerIdentity, SequenceNumber};

use super::batch::{Attempts, BatchState, Failing, ProducerBatch, StagedBatch, fail_unsent};
use super::broker::{Connection, Gate};
use super::effect::{
    BatchId, CompressJob, CompressedBatch, Effect, OutgoingBatch, OutgoingRequest,
    ProduceTransaction, RequestId,
};
use super::partition::{PartitionState, Step};
use super::{RequestInFlight, Sender};
use crate::accumulator::{Front, OpenBatch, ReadyReason, ReadyRules};
use crate::failure::{FailureReason, WaitedFor};

/// Compressed batches kept ready for each partition beyond what is in flight, at least. With more
/// codecs at work there are as many, so that one partition alone can keep them busy.
const STAGED_MIN: usize = 2;

/// For how long after a request a batch that isn't full waits for that request's answer. Brokers
/// answer a connection's requests one after the other, so small ones sent beside each other only
/// stand in line there; this is a few times what a near broker takes for one, and little beside
/// the way to a far one.
pub(super) const HOLD_MAX: Duration = Duration::from_micros(500);

/// A request being put together.
struct Draft {
    request: RequestId,
    broker: BrokerId,
    acks: Acks,
    bytes: usize,
    batches: Vec<OutgoingBatch>,
    names: Vec<(usize, BatchId)>,
}

/// What a partition had for the round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    /// A batch went into a draft, or found no room in it: there may be more.
    Again,
    Nothing,
}

/// What a partition's queue had.
enum Drawn {
    /// The batch is last among the unresolved.
    Batch,
    NoRoom,
    Nothing,
}

impl Sender {
    /// One round: looks at every active partition and leaves the effects behind.
    pub(super) fn plan(&mut self, now: Instant) {
        self.wakeup = None;
        self.adopt_listed();
        self.expire_if_due(now);
        self.give_up_unsent(now);
        self.see_to_identity(now);
        self.fill_requests(now);
        self.see_to_transaction(now);
        self.weigh_loads(now);
        self.see_to_metadata(now);
        self.compress_ahead(now);
        self.retire_idle(now);
        self.forget_idle_topics(now);
        if let Some(expiry) = self.next_expiry.filter(|_| !self.active.is_empty()) {
            self.wake_at(expiry);
        }
    }

    /// Begins to look at the partitions that have got something.
    pub(super) fn adopt_listed(&mut self) {
        let mut listed = std::mem::take(&mut self.newly_listed);
        self.accumulator.take_listed(&mut listed);
        for queue in listed.drain(..) {
            let slot = queue.slot();
            if self.partitions.len() <= slot {
                self.partitions.resize_with(slot + 1, || None);
            }
            let partition = self.partitions[slot].get_or_insert_with(|| {
                let mut partition = Box::new(PartitionState::new(queue));
                let topic = self.topics.entry(partition.topic_partition.topic.clone()).or_default();
                topic.slots.push(slot);
                partition.take_leader(topic, false);
                partition
            });
            if !std::mem::replace(&mut partition.active, true) {
                self.active.push(slot);
                let topic = self.topics.get(&partition.topic_partition.topic);
                // Its caller had the partition count before the topic was forgotten.
                self.metadata.wanted |= topic.is_some_and(|topic| topic.used_at.is_none());
            }
        }
        self.newly_listed = listed;
    }

    /// Stops looking at partitions that have nothing.
    fn retire_idle(&mut self, now: Instant) {
        let (partitions, topics) = (&mut self.partitions, &mut self.topics);
        self.active.retain(|&slot| {
            let Some(partition) = &mut partitions[slot] else { return false };
            // Empty and unlisted under one lock, so that the next append lists it again.
            let idle = partition.is_idle() && partition.queue.unlist_if_empty();
            partition.active = !idle;
            if idle && let Some(topic) = topics.get_mut(&partition.topic_partition.topic) {
                topic.used_at = Some(now);
            }
            !idle
        });
    }

    /// Puts requests together until nothing ready fits any more. Each pass makes at most one
    /// request a broker, with at most one batch a partition.
    fn fill_requests(&mut self, now: Instant) {
        let mut round: Vec<usize> = self.active.clone();
        if !round.is_empty() {
            self.turn = (self.turn + 1) % round.len();
            round.rotate_left(self.turn);
        }
        while !round.is_empty() {
            let mut drafts = Vec::new();
            round.retain(|&slot| self.offer(now, slot, &mut drafts) == Offer::Again);
            if drafts.is_empty() {
                break;
            }
            for draft in drafts {
                self.launch(now, draft);
            }
        }
    }

    /// Adds a batch of the partition to its leader's draft, if there is one to add.
    fn offer(&mut self, now: Instant, slot: usize, drafts: &mut Vec<Draft>) -> Offer {
        let rules = self.step_rules(now);
        let Some(partition) = self.partition(slot) else { return Offer::Nothing };
        let step = partition.step(&rules);
        if let Step::Wait(reason, until) = step {
            partition.waited_for = reason;
            self.metadata.leaderless |= reason == WaitedFor::Leader;
            if reason == WaitedFor::Transaction {
                self.want_in_transaction(slot);
            }
            if let Some(until) = until {
                self.wake_at(until);
            }
            return Offer::Nothing;
        }
        let Some(broker) = partition.leader else { return Offer::Nothing };
        let acks = partition.acks(rules.acks);
        if let Err(reason) = self.pass_gate(now, broker) {
            if let Some(partition) = self.partition(slot) {
                partition.waited_for = reason;
            }
            return Offer::Nothing;
        }
        let draft = drafts.iter().position(|draft| draft.broker == broker);
        if draft.is_some_and(|place| drafts[place].acks != acks) {
            return Offer::Again;
        }
        let used_bytes = draft.map(|place| drafts[place].bytes);
        let room_bytes = match used_bytes {
            Some(used_bytes) => self.config.request_bytes_max.saturating_sub(used_bytes),
            None => usize::MAX,
        };
        // Into a request that is made anyway goes all that is ready.
        let held_until = if draft.is_some() { None } else { self.held_until(now, broker) };
        let place = match step {
            Step::Send(place) => place,
            Step::Draw | Step::Wait(..) => match self.draw(now, slot, room_bytes, held_until) {
                Drawn::Batch => self.partition(slot).map_or(0, |p| p.unresolved.len() - 1),
                Drawn::NoRoom => return Offer::Again,
                Drawn::Nothing => return Offer::Nothing,
            },
        };
        let draft = match draft {
            Some(draft) => &mut drafts[draft],
            None => {
                drafts.push(self.new_draft(broker, acks));
                let last = drafts.len() - 1;
                &mut drafts[last]
            }
        };
        self.add_to_draft(slot, place, room_bytes, draft)
    }

    /// Marks an unresolved batch as in flight in the draft's request.
    fn add_to_draft(
        &mut self,
        slot: usize,
        place: usize,
        room_bytes: usize,
        draft: &mut Draft,
    ) -> Offer {
        #[cfg(feature = "planted-bugs")]
        self.corrupt_retry(slot, place);
        let Some(partition) = self.partition(slot) else { return Offer::Nothing };
        let leader_epoch = partition.leader_epoch;
        let (topic_partition, topic_id) = (partition.topic_partition.clone(), partition.topic_id);
        let Some(batch) = partition.unresolved.get_mut(place) else { return Offer::Nothing };
        if batch.sealed.bytes.len() > room_bytes {
            return Offer::Again;
        }
        batch.state = BatchState::InFlight { request: draft.request, broker: draft.broker };
        batch.attempts.leader_epoch = leader_epoch;
        draft.bytes += batch.sealed.bytes.len();
        draft.names.push((slot, batch.id));
        let bytes = batch.sealed.bytes.clone();
        draft.batches.push(OutgoingBatch { topic_partition, topic_id, bytes });
        partition.waited_for = WaitedFor::Answer(draft.broker);
        Offer::Again
    }

    /// Until when a batch that isn't full waits for an answer of its broker, so that it goes with
    /// what comes meanwhile; see [`HOLD_MAX`].
    fn held_until(&self, now: Instant, broker: BrokerId) -> Option<Instant> {
        let state = self.brokers.get(&broker).filter(|state| state.in_flight > 0)?;
        let held_until = state.last_sent? + HOLD_MAX;
        (held_until > now).then_some(held_until)
    }

    fn new_draft(&mut self, broker: BrokerId, acks: Acks) -> Draft {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        Draft { request, broker, acks, bytes: 0, batches: Vec::new(), names: Vec::new() }
    }

    /// Whether the broker takes a request now; if not, why, and what is to be done about it.
    fn pass_gate(&mut self, now: Instant, broker: BrokerId) -> Result<(), WaitedFor> {
        let state = self.brokers.entry(broker).or_default();
        let gate = state.gate(now, self.config.in_flight_max);
        state.note_gate(now, gate);
        match gate {
            Gate::Open => Ok(()),
            Gate::Full => Err(WaitedFor::Room(broker)),
            Gate::Connect => {
                state.connection = Connection::Connecting;
                self.effects.push_back(Effect::Connect(broker));
                Err(WaitedFor::Connection(broker))
            }
            Gate::NotConnected(until) => {
                if let Some(until) = until {
                    self.wake_at(until);
                }
                Err(WaitedFor::Connection(broker))
            }
            Gate::Throttled(until) => {
                self.wake_at(until);
                Err(WaitedFor::Throttle(broker))
            }
        }
    }

    /// Sends a draft.
    fn launch(&mut self, now: Instant, draft: Draft) {
        let Draft { request, broker, acks, batches, names, .. } = draft;
        if batches.is_empty() {
            return;
        }
        let metrics = Arc::clone(&self.metrics);
        let mut metrics = metrics.lock();
        let (mut records, mut bytes) = (0, 0);
        for &(slot, id) in &names {
            let Some(partition) = self.partition(slot) else { continue };
            let Some(place) = partition.place_of(id) else { continue };
            let topic = &partition.topic_partition.topic;
            let batch = &mut partition.unresolved[place];
            batch.attempts.count += 1;
            let is_first = batch.attempts.sent_at.replace(now).is_none();
            metrics.count_attempt(now, topic, batch, is_first);
            records += batch.records();
            bytes += batch.sealed.bytes.len() as u64;
        }
        metrics.count_request(now, broker, records, bytes);
        drop(metrics);
        let state = self.brokers.entry(broker).or_default();
        state.in_flight += 1;
        state.last_sent = Some(now);
        let in_flight = RequestInFlight { broker, sent_at: now, batches: names };
        self.requests.insert(request, in_flight);
        let timeout = self.config.request_timeout;
        let transaction = self.transaction.as_deref_mut().map(|dialogue| {
            dialogue.batch_sent();
            ProduceTransaction { id: dialogue.id().clone(), version: dialogue.version() }
        });
        let outgoing = OutgoingRequest { request, broker, acks, timeout, transaction, batches };
        self.effects.push_back(Effect::SendProduce(outgoing));
    }

    /// Takes the partition's next batch, if one is ready and no larger than the room, gives it its
    /// sequence and puts it last among the unresolved.
    fn draw(
        &mut self,
        now: Instant,
        slot: usize,
        room_bytes: usize,
        held_until: Option<Instant>,
    ) -> Drawn {
        let Some(partition) = self.partition(slot) else { return Drawn::Nothing };
        match partition.staged.front() {
            Some(staged) => match &staged.sealed {
                Some((sealed, _)) if sealed.bytes.len() > room_bytes => Drawn::NoRoom,
                Some(_) => self.unstage(slot),
                None => {
                    partition.waited_for = WaitedFor::Compression;
                    Drawn::Nothing
                }
            },
            None => self.draw_from_queue(now, slot, room_bytes, held_until),
        }
    }

    /// Gives a compressed batch its sequence.
    fn unstage(&mut self, slot: usize) -> Drawn {
        let identity = self.identity.current();
        let Some(partition) = self.partition(slot) else { return Drawn::Nothing };
        let Some(staged) = partition.staged.pop_front() else { return Drawn::Nothing };
        let StagedBatch { id, origin, reason, record_count, sealed, .. } = staged;
        let Some((mut sealed, reservation)) = sealed else { return Drawn::Nothing };
        if let Some(identity) = identity {
            // The bytes are nobody else's yet, so this stamps them in place.
            sealed.restamp(identity, partition.sequences.take(identity, record_count));
        }
        sealed.bytes = reservation.attach(sealed.bytes);
        let created = origin.created;
        partition.unresolved.push_back(ProducerBatch {
            id,
            origin: Some(origin),
            created,
            reason,
            sealed,
            state: BatchState::Waiting { not_before: None },
            attempts: Attempts::default(),
            acked_behind: 0,
        });
        Drawn::Batch
    }

    fn draw_from_queue(
        &mut self,
        now: Instant,
        slot: usize,
        room_bytes: usize,
        held_until: Option<Instant>,
    ) -> Drawn {
        let accumulator = Arc::clone(&self.accumulator);
        let rules = ReadyRules { held_until, ..self.ready_rules(now, &accumulator) };
        let plain = self.config.compression.codec == Codec::None;
        let Some(partition) = self.partition(slot) else { return Drawn::Nothing };
        // A compressed batch is measured when it is compressed.
        let room_bytes = if plain { room_bytes } else { usize::MAX };
        match partition.queue.take_front(&rules, room_bytes) {
            Front::Ready(batch, reason) if plain => self.seal(now, slot, batch, reason),
            Front::Ready(batch, reason) => {
                self.stage(slot, batch, reason);
                Drawn::Nothing
            }
            Front::NoRoom => Drawn::NoRoom,
            Front::Filling(until) => {
                partition.waited_for = WaitedFor::Batch;
                self.wake_at(until);
                Drawn::Nothing
            }
            Front::Empty => Drawn::Nothing,
        }
    }

    /// Seals an uncompressed batch with its sequence.
    fn seal(&mut self, now: Instant, slot: usize, batch: OpenBatch, reason: ReadyReason) -> Drawn {
        let id = self.new_batch_id();
        let (identity, transactional) = (self.identity.current(), self.transaction.is_some());
        let OpenBatch { builder, origin, reservation } = batch;
        let (record_count, batch_bytes) = (builder.record_count(), builder.batch_bytes());
        let Some(partition) = self.partition(slot) else { return Drawn::Nothing };
        let before = partition.sequences;
        let sequence_of = |identity: ProducerIdentity| -> (ProducerIdentity, SequenceNumber) {
            (identity, partition.sequences.take(identity, record_count))
        };
        let producer = identity.map(sequence_of);
        let seal = BatchSeal { producer, transactional, ..BatchSeal::default() };
        match builder.seal(&seal, &mut self.scratch) {
            Ok(mut sealed) => {
                sealed.bytes = reservation.attach(sealed.bytes);
                let created = origin.created;
                let state = BatchState::Waiting { not_before: None };
                let (origin, attempts) = (Some(origin), Attempts::default());
                let Some(partition) = self.partition(slot) else { return Drawn::Nothing };
                partition.unresolved.push_back(ProducerBatch {
                    id,
                    origin,
                    created,
                    reason,
                    sealed,
                    state,
                    attempts,
                    acked_behind: 0,
                });
                Drawn::Batch
            }
            Err(error) => {
                // No byte of it went out, so its sequence is still to be given.
                if let Some(partition) = self.partition(slot) {
                    partition.sequences = before;
                }
                let reason_failed = FailureReason::NotSealed(error.to_string());
                let waited_for = WaitedFor::Batch;
                let failing = Failing { reason: reason_failed, waited_for, now };
                let sizes = (record_count, 0, batch_bytes);
                self.complete(now, fail_unsent(origin, sizes, Some(reason), &failing));
                Drawn::Nothing
            }
        }
    }

    /// Sends a batch to the codec.
    fn stage(&mut self, slot: usize, batch: OpenBatch, reason: ReadyReason) {
        let id = self.new_batch_id();
        let (compression, transactional) = (self.config.compression, self.transaction.is_some());
        let OpenBatch { builder, origin, reservation } = batch;
        let Some(partition) = self.partition(slot) else { return };
        partition.staged.push_back(StagedBatch {
            id,
            origin,
            reason,
            record_count: builder.record_count(),
            uncompressed_bytes: builder.batch_bytes(),
            sealed: None,
        });
        self.compressions += 1;
        let batch = id;
        let job = CompressJob { slot, batch, builder, reservation, compression, transactional };
        self.effects.push_back(Effect::Compress(job));
    }

    /// Compresses full batches before their turn, when a codec is free.
    fn compress_ahead(&mut self, now: Instant) {
        if self.config.compression.codec == Codec::None {
            return;
        }
        let accumulator = Arc::clone(&self.accumulator);
        let rules = self.ready_rules(now, &accumulator);
        let staged_max = self.config.compressions_max.max(STAGED_MIN);
        for place in 0..self.active.len() {
            if self.compressions >= self.config.compressions_max {
                return;
            }
            let slot = self.active[(place + self.turn) % self.active.len()];
            let Some(partition) = self.partition(slot) else { continue };
            if partition.staged.len() < staged_max
                && partition.queue.has_full()
                && let Front::Ready(batch, reason) = partition.queue.take_front(&rules, usize::MAX)
            {
                self.stage(slot, batch, reason);
            }
        }
    }

    /// A batch comes back from the codec.
    pub(super) fn on_compressed(&mut self, now: Instant, batch: CompressedBatch) {
        self.compressions -= 1;
        let CompressedBatch { slot, batch: id, reservation, sealed } = batch;
        let Some(partition) = self.partition(slot) else { return };
        // It may have been given up meanwhile.
        let Some(place) = partition.staged.iter().position(|staged| staged.id == id) else {
            return;
        };
        match sealed {
            Ok(sealed) => partition.staged[place].sealed = Some((sealed, reservation)),
            Err(cause) => {
                let reason = FailureReason::NotSealed(cause);
                let failing = Failing { reason, waited_for: WaitedFor::Compression, now };
                if let Some(staged) = partition.staged.remove(place) {
                    self.complete(now, staged.fail(&failing));
                }
            }
        }
    }
}
