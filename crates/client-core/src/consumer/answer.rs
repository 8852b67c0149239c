//! What an answer, or none, does to the partitions it was about.

use std::time::Instant;

use bytes::Bytes;
use streamledger_protocol::messages::fetch::PartitionData;
use streamledger_protocol::record_batch::batches;
use streamledger_protocol::{BrokerId, ErrorCode, Offset, TopicPartition};

use super::event::{Effect, Fetched, FoundOffset, Generation, RequestId, Trouble};
use super::fetch_state::{FetchState, RequestInFlight};
use super::partition::{Phase, Step};
use super::verdict::{FetchVerdict, judge};
use crate::map::Map;

impl FetchState {
    pub(super) fn on_fetched(
        &mut self,
        now: Instant,
        request: RequestId,
        partitions: Vec<(TopicPartition, PartitionData)>,
    ) {
        let Some(asked) = self.end(request) else { return };
        self.broker_answered(&asked);
        let mut answers: Map<_, _> = partitions.into_iter().collect();
        for (topic_partition, generation) in asked.partitions {
            if !self.is_answered(&topic_partition, generation, request) {
                continue;
            }
            match answers.remove(&topic_partition) {
                Some(data) => {
                    let data = self.heed_replica(now, &topic_partition, asked.broker, data);
                    self.on_partition_data(now, topic_partition, generation, data);
                }
                None => self.step(now, &topic_partition, generation, Step::Wait, ErrorCode::None),
            }
        }
    }

    /// Takes in which replica the leader wants read in its place (KIP-392), or that a replica has
    /// not what was asked of it; then the leader is asked next (Kafka's `FetchCollector`).
    fn heed_replica(
        &mut self,
        now: Instant,
        topic_partition: &TopicPartition,
        answered: BrokerId,
        mut data: PartitionData,
    ) -> PartitionData {
        let until = now + self.config.replica_age_max;
        let Some(partition) = self.partitions.get_mut(topic_partition) else { return data };
        if partition.leader == Some(answered) {
            let named = data.preferred_read_replica;
            if data.error_code == ErrorCode::None && named != BrokerId::NONE && named != answered {
                partition.replica = Some((named, until));
            }
            return data;
        }
        if !matches!(judge(data.error_code), FetchVerdict::Take) {
            partition.replica = None;
        }
        // It may be behind, or have deleted more: only the leader knows what is out of range.
        if judge(data.error_code) == FetchVerdict::Reset {
            data.error_code = ErrorCode::OffsetNotAvailable;
        }
        data
    }

    fn on_partition_data(
        &mut self,
        now: Instant,
        topic_partition: TopicPartition,
        generation: Generation,
        data: PartitionData,
    ) {
        let reset = self.config.offset_reset;
        let Some(partition) = self.current(&topic_partition, generation) else { return };
        let Phase::Fetching(offset) = partition.phase else { return };
        let verdict = judge(data.error_code);
        let scan = match verdict {
            FetchVerdict::Take => Scan::of(data.records.unwrap_or_default().into_bytes(), offset),
            _ => Scan::default(),
        };
        let step = partition.phase.step(verdict, scan.next, reset);
        self.step(now, &topic_partition, generation, step, data.error_code);
        if scan.records.is_empty() {
            return;
        }
        if let Some(partition) = self.current(&topic_partition, generation) {
            partition.buffered_bytes += scan.records.len();
            if scan.is_unreadable {
                partition.phase = Phase::Stopped;
            }
        }
        self.effects.push_back(Effect::Deliver(Fetched {
            topic_partition,
            generation,
            offset,
            bytes: scan.records.len(),
            records: scan.records,
            aborted: data.aborted_transactions.unwrap_or_default(),
            high_watermark: data.high_watermark,
        }));
    }

    pub(super) fn on_offsets_found(
        &mut self,
        now: Instant,
        request: RequestId,
        partitions: Vec<(TopicPartition, FoundOffset)>,
    ) {
        let Some(asked) = self.end(request) else { return };
        self.broker_answered(&asked);
        let mut answers: Map<_, _> = partitions.into_iter().collect();
        for (topic_partition, generation) in asked.partitions {
            if !self.is_answered(&topic_partition, generation, request) {
                continue;
            }
            let reset = self.config.offset_reset;
            let Some(partition) = self.current(&topic_partition, generation) else { continue };
            let answer = answers.remove(&topic_partition);
            let error = answer.map_or(ErrorCode::None, |answer| answer.error);
            let step = match answer {
                Some(FoundOffset { error, offset }) => {
                    let found = offset.filter(|offset| *offset >= Offset::ZERO);
                    partition.phase.step(judge(error), found, reset)
                }
                None => Step::Wait,
            };
            self.step(now, &topic_partition, generation, step, error);
            if let Step::To(Phase::Fetching(offset)) = step {
                let positioned = Effect::Positioned { topic_partition, generation, offset };
                self.effects.push_back(positioned);
            }
        }
    }

    pub(super) fn on_request_failed(&mut self, now: Instant, request: RequestId) {
        let Some(asked) = self.end(request) else { return };
        let broker = self.brokers.entry(asked.broker).or_default();
        broker.failures = broker.failures.saturating_add(1);
        let wait = self.config.retry_backoff.wait(broker.failures, &*self.random);
        // One that was not asked for long, as another led, begins a silence of its own.
        let patience = self.config.patience;
        if broker.not_before.is_some_and(|last| last + patience < now) {
            broker.silent_since = None;
        }
        broker.not_before = Some(now + wait);
        let since = *broker.silent_since.get_or_insert(now);
        // Where nobody answers at all, that is told instead.
        let is_heard = self.metadata.silent_since.is_none();
        if is_heard && now.duration_since(since) >= patience {
            broker.silent_since = Some(now);
            let silent = Trouble::Silent { broker: asked.broker };
            self.effects.push_back(Effect::Tell(silent));
        }
        // Its partitions may have gone to another.
        self.metadata.wanted = true;
        for (topic_partition, generation) in asked.partitions {
            self.is_answered(&topic_partition, generation, request);
            if let Some(partition) = self.current(&topic_partition, generation)
                && partition.leader != Some(asked.broker)
            {
                partition.replica = None;
            }
        }
    }

    fn end(&mut self, request: RequestId) -> Option<RequestInFlight> {
        let asked = self.requests.remove(&request)?;
        let broker = self.brokers.entry(asked.broker).or_default();
        let running = if asked.is_fetch { &mut broker.fetches } else { &mut broker.searches };
        *running = running.saturating_sub(1);
        Some(asked)
    }

    fn broker_answered(&mut self, asked: &RequestInFlight) {
        if let Some(broker) = self.brokers.get_mut(&asked.broker) {
            broker.failures = 0;
            broker.not_before = None;
            broker.silent_since = None;
        }
    }

    /// Whether this request is the one the partition waits for; from now on it doesn't.
    fn is_answered(
        &mut self,
        topic_partition: &TopicPartition,
        generation: Generation,
        request: RequestId,
    ) -> bool {
        self.current(topic_partition, generation)
            .is_some_and(|partition| partition.in_flight.take_if(|id| *id == request).is_some())
    }

    /// Makes a step of the transition table.
    fn step(
        &mut self,
        now: Instant,
        topic_partition: &TopicPartition,
        generation: Generation,
        step: Step,
        error: ErrorCode,
    ) {
        let (backoff, random) = (self.config.retry_backoff, std::sync::Arc::clone(&self.random));
        let Some(partition) = self.current(topic_partition, generation) else { return };
        let topic_partition = topic_partition.clone();
        let trouble = match step {
            Step::To(phase) => {
                partition.phase = phase;
                partition.failures = 0;
                return;
            }
            Step::Refresh | Step::Wait => {
                partition.failures = partition.failures.saturating_add(1);
                partition.retry_at = Some(now + backoff.wait(partition.failures, &*random));
                self.metadata.wanted |= step == Step::Refresh;
                return;
            }
            Step::OutOfRange(offset) => Trouble::OutOfRange { topic_partition, generation, offset },
            Step::Refused => Trouble::Refused { topic_partition, generation, error },
        };
        partition.phase = Phase::Stopped;
        self.effects.push_back(Effect::Tell(trouble));
    }
}

/// What came for a partition, seen by the headers of its batches alone.
#[derive(Debug, Default)]
struct Scan {
    /// All whole batches; with what follows them if that can't be read.
    records: Bytes,
    /// The offset after them, if there are any.
    next: Option<Offset>,
    is_unreadable: bool,
}

impl Scan {
    fn of(records: Bytes, offset: Offset) -> Self {
        let mut all = batches(&records);
        let mut next = offset;
        let mut is_unreadable = false;
        for batch in all.by_ref() {
            match batch {
                Ok(batch) => next = next.max(batch.header().next_offset()),
                Err(_) => is_unreadable = true,
            }
        }
        let whole_bytes = records.len() - all.rest().len();
        // Records that bring us no further would be fetched for ever.
        is_unreadable |= next == offset && !records.is_empty();
        if is_unreadable {
            return Self { next: Some(next), records, is_unreadable };
        }
        let has_any = whole_bytes > 0;
        Self { next: has_any.then_some(next), records: records.slice(..whole_bytes), is_unreadable }
    }
}
