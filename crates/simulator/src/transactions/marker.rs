//! Markers: from the coordinator to each partition's log and back, again until all are flushed.

use std::collections::BTreeSet;
use std::time::Duration;

use streamledger_broker_core::log::{AppendOrigin, MarkerEpoch, TransactionMarker};
use streamledger_broker_core::planted_bugs::PlantedBug;
use streamledger_broker_core::transaction::MarkerWrite;
use streamledger_protocol::record_batch::{ControlKind, build_control_batch};
use streamledger_protocol::{ErrorCode, Offset, TopicPartition};

use super::TransactionHappening;
use crate::partition::Appended;
use crate::world::World;

/// Markers that are being written.
#[derive(Debug)]
pub(super) struct MarkerJob {
    write: MarkerWrite,
    left: BTreeSet<TopicPartition>,
    /// The life of the coordinator's log in which that was decided.
    life: u32,
    coordinator_epoch: i32,
}

/// A marker between coordinator and partition.
#[derive(Debug, Clone)]
pub(crate) struct MarkerOnItsWay {
    job: u64,
    topic_partition: TopicPartition,
    marker: TransactionMarker,
    epoch: MarkerEpoch,
}

/// A marker that is in a log and not yet on disk.
#[derive(Debug)]
pub(super) struct UnflushedMarker {
    job: u64,
    topic_partition: TopicPartition,
    slot: usize,
    life: u32,
    last_offset: Offset,
}

impl World {
    /// The decision is on disk: its markers leave.
    pub(super) fn begin_to_mark(&mut self, write: MarkerWrite) {
        let Some(transactions) = &mut self.transactions else { return };
        let partition = &self.partitions[transactions.coordinator.seat.slot];
        let job = MarkerJob {
            left: write.partitions.iter().cloned().collect(),
            write,
            life: partition.life,
            coordinator_epoch: partition.leader_epoch.0,
        };
        let number = transactions.new_number();
        transactions.jobs.insert(number, job);
        self.send_markers(number);
    }

    /// Sends the markers that are not known to be written, and looks again after a while.
    pub(super) fn send_markers(&mut self, number: u64) {
        let Some(transactions) = &self.transactions else { return };
        let Some(job) = transactions.jobs.get(&number) else { return };
        if job.life != self.partitions[transactions.coordinator.seat.slot].life {
            return;
        }
        let marker = TransactionMarker {
            producer: job.write.producer,
            coordinator_epoch: job.coordinator_epoch,
            committed: job.write.committed,
        };
        let epoch = job.write.epoch;
        let left: Vec<TopicPartition> = job.left.iter().cloned().collect();
        if left.is_empty() && self.complete(number) {
            return;
        }
        for topic_partition in left {
            self.send_marker(&MarkerOnItsWay { job: number, topic_partition, marker, epoch });
        }
        let again = self.now + Duration::from_millis(self.network_dice.between(30, 300));
        self.push_transactional(again, TransactionHappening::MarkersAgain { job: number });
    }

    fn send_marker(&mut self, marker: &MarkerOnItsWay) {
        if self.loses_marker() {
            self.counters.markers_lost += 1;
            return;
        }
        for us in self.marker_delays_us() {
            let at = self.now + Duration::from_micros(us + self.latency_us());
            self.push_transactional(at, TransactionHappening::MarkerArrives(marker.clone()));
        }
    }

    pub(super) fn marker_arrives(&mut self, on_its_way: MarkerOnItsWay) {
        let MarkerOnItsWay { job, topic_partition, marker, epoch } = on_its_way;
        let Some(slot) = self.cluster.slot(&topic_partition) else { return };
        let Some(transactions) = &self.transactions else { return };
        // One of version 1 that comes when its transaction is complete went with its connection;
        // one of version 2 is told by its epoch.
        let is_late = !transactions.jobs.contains_key(&job);
        if epoch == MarkerEpoch::Same && is_late {
            return;
        }
        self.counters.markers_late += u64::from(is_late);
        let kind = match marker.committed {
            true => ControlKind::Commit,
            false => ControlKind::Abort,
        };
        let now = self.now.broker_now();
        let batch = build_control_batch(kind, marker.producer, marker.coordinator_epoch, now.wall);
        let free_bytes = match self.partitions[slot].log.is_some() {
            true => self.take_room(self.partitions[slot].host, batch.len()),
            false => return,
        };
        let origin = (AppendOrigin::Marker(epoch), None);
        match self.partitions[slot].append(batch.into(), origin, now, free_bytes) {
            Appended::Written { last_offset, .. } => {
                self.counters.markers += 1;
                self.marker_takes_effect(slot, &marker);
                let producer = marker.producer;
                self.note(format_args!(
                    "{kind:?} of {producer} in {topic_partition}, {last_offset}"
                ));
                let life = self.partitions[slot].life;
                let unflushed = UnflushedMarker { job, topic_partition, slot, life, last_offset };
                if self.has_broker_bug(PlantedBug::MarkerAnsweredBeforeFlush) {
                    self.answer_marker(unflushed.job, unflushed.topic_partition);
                } else if let Some(transactions) = &mut self.transactions {
                    transactions.unflushed_markers.push(unflushed);
                }
                self.marker_is_taken(self.partitions[slot].host);
                self.flush_if_due(slot);
            }
            Appended::Refused(ErrorCode::KafkaStorageError | ErrorCode::NotLeaderOrFollower)
            | Appended::Duplicate { .. } => {}
            Appended::Refused(error) => {
                self.note(format_args!("a marker for {topic_partition} is outdated: {error}"));
                // What it is refused for counts once that is on disk.
                let life = self.partitions[slot].life;
                let last_offset = self.log_end_offset(slot) - 1;
                let unflushed = UnflushedMarker { job, topic_partition, slot, life, last_offset };
                if let Some(transactions) = &mut self.transactions {
                    transactions.unflushed_markers.push(unflushed);
                }
                self.release_markers(slot);
            }
        }
    }

    /// Answers for the markers that are flushed.
    pub(super) fn release_markers(&mut self, slot: usize) {
        let flushed = self.partitions[slot].flushed_offset();
        let life = self.partitions[slot].life;
        let Some(transactions) = &mut self.transactions else { return };
        let is_done = |marker: &mut UnflushedMarker| {
            marker.slot == slot && (marker.life != life || marker.last_offset < flushed)
        };
        let done: Vec<UnflushedMarker> =
            transactions.unflushed_markers.extract_if(.., is_done).collect();
        for marker in done.into_iter().filter(|marker| marker.life == life) {
            self.answer_marker(marker.job, marker.topic_partition);
        }
    }

    fn answer_marker(&mut self, job: u64, topic_partition: TopicPartition) {
        if self.loses_marker() {
            return;
        }
        let at = self.now + Duration::from_micros(self.latency_us());
        self.push_transactional(at, TransactionHappening::MarkerAnswered { job, topic_partition });
    }

    pub(super) fn marker_answered(&mut self, number: u64, topic_partition: &TopicPartition) {
        let Some(transactions) = &mut self.transactions else { return };
        let Some(job) = transactions.jobs.get_mut(&number) else { return };
        job.left.remove(topic_partition);
        if job.left.is_empty() {
            // What can't be kept now is tried again with the next look at the markers.
            let _ = self.complete(number);
        }
    }

    /// All markers of a transaction are written; false if that can't be kept now.
    fn complete(&mut self, number: u64) -> bool {
        if !self.coordinator_is_loaded() {
            return false;
        }
        let now = self.now.broker_now();
        let Some(transactions) = &self.transactions else { return false };
        let Some(job) = transactions.jobs.get(&number) else { return true };
        let (id, producer) = (&job.write.transactional_id, job.write.producer);
        let decision = transactions.coordinator.core.decide_markers_written(id, producer, now);
        if self.keep(decision).is_err() {
            return false;
        }
        if let Some(transactions) = &mut self.transactions {
            transactions.jobs.remove(&number);
        }
        true
    }
}
