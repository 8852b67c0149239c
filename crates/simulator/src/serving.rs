//! The brokers' side of a run: requests come in, logs take them, responses go out in order.

use std::time::Duration;

use streamledger_broker_core::log::{AppendOrigin, ReadLimit, TransactionGuard};
use streamledger_client_core::sender::{OutgoingBatch, OutgoingRequest, PartitionAnswer};
use streamledger_protocol::{ErrorCode, LeaderEpoch, Offset, TimestampMs, TopicId};

use crate::network::{PendingPart, PendingResponse, Response};
use crate::oracle::records_in;
use crate::partition::Appended;
use crate::report::Promise;
use crate::world::{Happening, World};

pub(crate) const fn refusal(error: ErrorCode) -> PartitionAnswer {
    PartitionAnswer { error, base_offset: Offset::NONE, log_append_time: TimestampMs::NONE }
}

const fn success(base_offset: Offset) -> PartitionAnswer {
    PartitionAnswer { error: ErrorCode::None, base_offset, log_append_time: TimestampMs::NONE }
}

impl World {
    /// How long a message travels now.
    pub(crate) fn latency_us(&mut self) -> u64 {
        let plan = &self.plan.network;
        let latency = self.network_dice.between(plan.latency_us_min, plan.latency_us_max);
        let spike = self.network_dice.chance(plan.spike_per_mille);
        if spike { latency * self.network_dice.between(2, 10) } else { latency }
    }

    pub(crate) fn is_stalled(&self, client: usize, broker: usize) -> bool {
        self.stalled.get(&(client, broker)).is_some_and(|until| *until > self.now)
    }

    /// Sends a request on a connection: it arrives behind those sent before.
    pub(crate) fn transmit(&mut self, connection: usize, request: OutgoingRequest) {
        let latency = Duration::from_micros(self.latency_us());
        let state = &mut self.connections[connection];
        let stalled = self.stalled.get(&(state.client, state.broker)).copied();
        let begins = stalled.unwrap_or(self.now).max(self.now);
        let at = (begins + latency).max(state.last_arrival + Duration::from_micros(1));
        state.last_arrival = at;
        let number = state.sent;
        state.sent += 1;
        let (broker, life) = (state.broker, state.broker_life);
        let request = Box::new(request);
        self.queue.push(at, Happening::RequestArrives { connection, number, request });
        if self.brokers[broker].life != life {
            // The host says so, once it is there again.
            self.queue.push(at, Happening::ConnectionLost { connection });
        }
    }

    pub(crate) fn request_arrives(
        &mut self,
        connection: usize,
        number: u64,
        request: OutgoingRequest,
    ) {
        let state = &mut self.connections[connection];
        let (broker, life) = (state.broker, state.broker_life);
        let reached = self.brokers[broker].up && self.brokers[broker].life == life;
        if !reached || number >= state.cut_at {
            self.counters.requests_lost += 1;
            return;
        }
        state.arrived += 1;
        if state.is_admitting() {
            state.backlog.push_back(request);
        } else {
            self.take_request(connection, request);
        }
    }

    /// Takes requests that waited for one before them.
    pub(crate) fn take_backlog(&mut self, connection: usize) {
        while !self.connections[connection].is_admitting() {
            let Some(request) = self.connections[connection].backlog.pop_front() else { return };
            self.take_request(connection, request);
        }
    }

    fn take_request(&mut self, connection: usize, request: OutgoingRequest) {
        let broker = self.connections[connection].broker;
        let id = request.request;
        let mut parts = Vec::with_capacity(request.batches.len());
        for batch in request.batches {
            parts.push(match &request.transaction {
                Some(transaction) => self.admit(connection, batch, transaction),
                None => self.serve(broker, batch, None),
            });
        }
        let errors: Vec<i16> = parts.iter().map(|part| part.answer.error.code()).collect();
        self.note(format_args!("broker {broker} takes request {}: {errors:?}", id.0));
        self.connections[connection].pending.push_back(PendingResponse { request: id, parts });
        self.release(broker);
    }

    /// Appends one batch, or refuses it. With a guard the coordinator has let it in.
    pub(crate) fn serve(
        &mut self,
        broker: usize,
        batch: OutgoingBatch,
        guard: Option<TransactionGuard>,
    ) -> PendingPart {
        let OutgoingBatch { topic_partition, topic_id, bytes } = batch;
        let slot = self.cluster.slot(&topic_partition);
        let part = |slot: usize, life, flushed_past, answer| PendingPart {
            topic_partition: topic_partition.clone(),
            slot,
            life,
            admission: None,
            flushed_past,
            answer,
        };
        let Some(slot) = slot else {
            return part(0, 0, None, refusal(ErrorCode::UnknownTopicOrPartition));
        };
        let topic = &self.cluster.topics[self.partitions[slot].topic];
        if topic_id != TopicId::ZERO && topic_id != topic.id {
            return part(slot, 0, None, refusal(ErrorCode::UnknownTopicId));
        }
        if self.partitions[slot].host != broker || self.partitions[slot].log.is_none() {
            self.counters.not_leader += 1;
            return part(slot, 0, None, refusal(ErrorCode::NotLeaderOrFollower));
        }
        if self.brokers[broker].too_few_replicas > self.now {
            self.counters.not_enough_replicas += 1;
            return part(slot, 0, None, refusal(ErrorCode::NotEnoughReplicas));
        }
        let free_bytes = self.take_room(broker, bytes.len());
        let now = self.now.broker_now();
        // The broker has the request in a buffer of its own.
        let received = bytes::Bytes::copy_from_slice(&bytes);
        let appended =
            self.partitions[slot].append(received, (AppendOrigin::Client, guard), now, free_bytes);
        let life = self.partitions[slot].life;
        match appended {
            Appended::Written { base_offset, last_offset } => {
                self.counters.appends += 1;
                self.note(format_args!("append to {topic_partition} at {base_offset}"));
                self.flush_if_due(slot);
                part(slot, life, Some(last_offset), success(base_offset))
            }
            Appended::Duplicate { base_offset, last_offset } => {
                self.counters.duplicates += 1;
                self.note(format_args!("duplicate for {topic_partition} of {base_offset}"));
                part(slot, life, Some(last_offset), success(base_offset))
            }
            Appended::Refused(error) => {
                match error {
                    ErrorCode::OutOfOrderSequenceNumber => self.counters.out_of_order += 1,
                    ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
                        self.counters.too_large += 1;
                        self.sent.refuse_as_too_large(&bytes, slot);
                    }
                    ErrorCode::KafkaStorageError => self.counters.storage_errors += 1,
                    _ => {}
                }
                part(slot, life, None, refusal(error))
            }
        }
    }

    /// The room on a broker's disk, which a write of so many bytes takes.
    pub(crate) fn take_room(&mut self, broker: usize, bytes: usize) -> usize {
        match &mut self.brokers[broker].full_disk {
            Some((until, free_bytes)) if *until > self.now => {
                let room = *free_bytes;
                if room >= bytes {
                    *free_bytes -= bytes;
                }
                room
            }
            _ => usize::MAX,
        }
    }

    /// Begins a flush of a log that has something to flush.
    pub(crate) fn flush_if_due(&mut self, slot: usize) {
        let Some(number) = self.partitions[slot].begin_flush() else { return };
        let plan = &self.plan.disk;
        let mut us = self.disk_dice.between(plan.flush_us_min, plan.flush_us_max);
        if let Some((until, slow_us)) = self.brokers[self.partitions[slot].host].slow_disk
            && until > self.now
        {
            us += slow_us;
        }
        let life = self.partitions[slot].life;
        let at = self.now + Duration::from_micros(us);
        self.queue.push(at, Happening::FlushDone { slot, life, number });
    }

    pub(crate) fn flush_done(&mut self, slot: usize, life: u32, number: u64) {
        if self.partitions[slot].life != life || !self.partitions[slot].flush_done(number) {
            return;
        }
        self.counters.flushes += 1;
        let (flushed, host) = (self.partitions[slot].flushed_offset(), self.partitions[slot].host);
        self.note(format_args!("partition {slot} is flushed up to {flushed}"));
        self.flush_if_due(slot);
        self.release_transactional(slot);
        self.release(host);
    }

    /// Sends the responses that wait for nothing any more, in the order of their requests.
    pub(crate) fn release(&mut self, broker: usize) {
        for connection in 0..self.connections.len() {
            let state = &self.connections[connection];
            let alive = self.brokers[broker].life == state.broker_life;
            if state.broker != broker || !alive {
                continue;
            }
            while let Some(response) = self.take_ready(connection) {
                self.respond(connection, response);
            }
        }
    }

    /// The next response of a connection, if all its parts are decided.
    fn take_ready(&mut self, connection: usize) -> Option<Response> {
        let state = &mut self.connections[connection];
        let first = state.pending.front_mut()?;
        if first.parts.iter().any(|part| part.admission.is_some()) {
            return None;
        }
        for part in &mut first.parts {
            let Some(past) = part.flushed_past else { continue };
            let partition = &self.partitions[part.slot];
            if partition.life != part.life || partition.log.is_none() {
                // The leader stepped down with the batch unflushed: as Kafka's delayed produce.
                part.answer = refusal(ErrorCode::NotLeaderOrFollower);
                part.flushed_past = None;
            } else if partition.flushed_offset() > past {
                part.flushed_past = None;
            } else {
                return None;
            }
        }
        let PendingResponse { request, parts } = state.pending.pop_front()?;
        let partitions = parts.into_iter().map(|part| (part.topic_partition, part.answer));
        let throttle = match self.brokers[state.broker].throttle {
            Some((until, ms)) if until > self.now => Duration::from_millis(ms),
            _ => Duration::ZERO,
        };
        Some(Response { request, throttle, partitions: partitions.collect() })
    }

    fn respond(&mut self, connection: usize, response: Response) {
        let broker = self.connections[connection].broker;
        if self.brokers[broker].lose_responses > 0 {
            self.brokers[broker].lose_responses -= 1;
            self.break_connection(connection);
        }
        if !self.connections[connection].returns {
            self.counters.responses_lost += 1;
            return;
        }
        let mut latency = Duration::from_micros(self.latency_us());
        if let Some((until, us)) = self.brokers[broker].slow_responses
            && until > self.now
        {
            latency += Duration::from_micros(us);
        }
        let state = &mut self.connections[connection];
        let stalled = self.stalled.get(&(state.client, broker)).copied();
        let begins = stalled.unwrap_or(self.now).max(self.now);
        let at = (begins + latency).max(state.last_return + Duration::from_micros(1));
        state.last_return = at;
        let response = Box::new(response);
        self.queue.push(at, Happening::ResponseArrives { connection, response });
    }

    /// Breaks a connection: of what is on its way, some of the first requests still arrive, and no
    /// response does.
    pub(crate) fn break_connection(&mut self, connection: usize) {
        let state = &mut self.connections[connection];
        if !state.returns {
            return;
        }
        state.returns = false;
        let on_their_way = state.sent - state.arrived;
        state.cut_at = state.arrived + self.fault_dice.between(0, on_their_way);
        let at = self.now + Duration::from_micros(self.fault_dice.between(10, 20_000));
        self.queue.push(at, Happening::ConnectionLost { connection });
    }

    /// Opens a partition's log at its host under the next leader epoch, after a crash or a move.
    pub(crate) fn open_log(&mut self, slot: usize) {
        let now = self.now.broker_now();
        let epoch = LeaderEpoch(self.partitions[slot].leader_epoch.0 + 1);
        self.partitions[slot].leader_epoch = epoch;
        self.counters.recoveries += 1;
        match self.partitions[slot].recover(now, &mut self.disk_dice) {
            Ok(recovered) => {
                self.counters.torn_tails += u64::from(recovered.cut_bytes > 0);
                self.counters.cut_between_segments += u64::from(recovered.removed_segments > 0);
                self.counters.from_snapshot += u64::from(recovered.used_snapshot);
                let end = self.log_end_offset(slot);
                let (cut, known) = (recovered.cut_bytes, recovered.known_segments);
                self.note(format_args!(
                    "partition {slot} opens: end {end}, {cut} bytes cut, {known} segments known"
                ));
            }
            Err(damage) => {
                self.violate(Promise::LogOpens, format!("partition {slot}: {damage}"));
                return;
            }
        }
        if slot < self.cluster.callers_slots() {
            self.compare_with_ledger(slot);
        }
        let host = self.partitions[slot].host;
        self.cluster.stale_view = self.cluster.view();
        let leader = &mut self.cluster.leaders[slot];
        (leader.broker, leader.epoch) = (Some(host), epoch);
        self.coordinator_opens(slot);
    }

    pub(crate) fn consumer_turn(&mut self) {
        let slot = self.work_dice.place(self.cluster.callers_slots());
        self.read_committed_on(slot);
        self.look_at_groups();
        let from = self.consumers[slot].next;
        let max_bytes = self.work_dice.pick(&[1, 700, 100_000]);
        match self.partitions[slot].read(from, max_bytes, ReadLimit::HighWatermark) {
            Ok(stored) => self.consume(slot, &stored),
            Err(error) => {
                let text = format!("partition {slot} from {from}: {error}");
                self.violate(Promise::SeenIsKept, text);
            }
        }
        if !self.closing {
            let at = self.now + Duration::from_micros(self.work_dice.between(1000, 20_000));
            self.queue.push(at, Happening::ConsumerTurn);
        }
    }

    fn consume(&mut self, slot: usize, stored: &[u8]) {
        let found = match records_in(stored) {
            Ok(found) => found,
            Err(error) => {
                let text = format!("partition {slot}: {error}");
                return self.violate(Promise::SeenIsKept, text);
            }
        };
        let watermark = self.partitions[slot].watermark_seen;
        for record in found {
            let consumer = &mut self.consumers[slot];
            if record.offset < consumer.next {
                // A batch is given whole, also when it begins before the wanted offset.
                continue;
            }
            if record.offset != consumer.next || record.offset >= watermark {
                let (got, wanted) = (record.offset, consumer.next);
                let text = format!("partition {slot}: {got} read for {wanted} below {watermark}");
                return self.violate(Promise::SeenIsKept, text);
            }
            consumer.next = record.offset.next();
            consumer.seen.extend(record.content.and_then(|content| content.number()));
            self.counters.consumed += 1;
        }
    }
}
