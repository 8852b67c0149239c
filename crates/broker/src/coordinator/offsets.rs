//! The shell of the groups' offsets: `__consumer_offsets`, written and read back.

use std::sync::Arc;

use parking_lot::Mutex;
use streamledger_broker_core::group::{
    CommitRequest, FetchedOffset, GroupOffsets, GroupOffsetsConfig, OffsetRecord,
};
use streamledger_broker_core::log::TransactionMarker;
use streamledger_protocol::{
    ErrorCode, GroupId, PartitionIndex, ProducerIdentity, TopicName, TopicPartition,
};
use tracing::warn;

use super::internal_topic::{Appended, InternalTopic, InternalTopicError, KeyValue, Loaded};
use crate::config::Settings;
use crate::node::Node;
use crate::storage::{AppendError, AppendOutcome, TransactionGuard};

/// The offsets of all groups, and the log that keeps them.
#[derive(Debug)]
pub(crate) struct Groups {
    topic: InternalTopic,
    core: Mutex<GroupOffsets>,
}

impl Groups {
    pub(crate) fn new(settings: &Settings) -> Self {
        let settings = &settings.coordinators;
        let partition_count = settings.offsets_partition_count;
        let segment_bytes = settings.offsets_segment_bytes;
        Self {
            topic: InternalTopic::new("__consumer_offsets", partition_count, segment_bytes),
            core: Mutex::new(GroupOffsets::new(GroupOffsetsConfig {
                partition_count,
                metadata_bytes_max: settings.offset_metadata_bytes_max,
                offsets_max: settings.stored_offsets_max,
            })),
        }
    }

    /// Replays the log, at start. Blocks on the disk.
    pub(crate) fn load(&self, node: &Node) -> Result<(), InternalTopicError> {
        let mut core = self.core.lock();
        core.set_partition_count(self.topic.partition_count(node));
        self.topic.load(node, |partition, loaded| {
            match loaded {
                Loaded::Record { record: (key, value), producer, at } => {
                    let record =
                        OffsetRecord::decode(key, value).map_err(|error| error.to_string())?;
                    core.replay(record, producer, partition, at);
                }
                Loaded::Marker { producer, committed } => {
                    core.replay_marker(partition, producer, committed);
                }
            }
            Ok(())
        })
    }

    /// Makes the internal topic if it is not there.
    pub(crate) async fn ensure(node: &Arc<Node>) -> Result<(), ErrorCode> {
        InternalTopic::ensure(node, |node| &node.groups.topic).await
    }

    /// The partition that keeps a group's offsets.
    pub(crate) fn partition_of(&self, group: &GroupId) -> TopicPartition {
        TopicPartition::new(self.topic.name().clone(), self.core.lock().partition_of(group))
    }

    /// Whether a partition's records are group offsets.
    pub(super) fn keeps(&self, topic_partition: &TopicPartition) -> bool {
        topic_partition.topic == *self.topic.name()
    }

    /// How the log of a group's partition stands with a producer.
    pub(crate) fn guard(
        &self,
        node: &Node,
        group: &GroupId,
        producer: ProducerIdentity,
    ) -> Result<TransactionGuard, ErrorCode> {
        let index = self.core.lock().partition_of(group);
        let log = self.topic.partition(node, index)?;
        log.transaction_guard(producer.id).map_err(|_| ErrorCode::CoordinatorNotAvailable)
    }

    /// Stores offsets; in a transaction if there is a producer. Told once they are flushed.
    pub(crate) async fn commit(
        &self,
        node: &Node,
        request: &CommitRequest,
        producer: Option<(ProducerIdentity, TransactionGuard)>,
    ) -> Vec<ErrorCode> {
        let (reply, appended) = self.commit_unflushed(node, request, producer);
        let refused = |error| vec![error; request.offsets.len()];
        match appended {
            Ok(None) => reply,
            Ok(Some(appended)) => match appended.log.wait_flushed(appended.last).await {
                Ok(()) => reply,
                Err(_) => refused(ErrorCode::CoordinatorNotAvailable),
            },
            Err(error) => refused(error),
        }
    }

    fn commit_unflushed(
        &self,
        node: &Node,
        request: &CommitRequest,
        producer: Option<(ProducerIdentity, TransactionGuard)>,
    ) -> (Vec<ErrorCode>, Result<Option<Appended>, ErrorCode>) {
        let mut core = self.core.lock();
        let decision = core.decide_commit(request, node.store.now().wall);
        let index = core.partition_of(&request.group);
        let kept = self.keep(node, &mut core, index, decision.records, producer);
        (decision.reply, kept)
    }

    fn keep(
        &self,
        node: &Node,
        core: &mut GroupOffsets,
        index: PartitionIndex,
        records: Vec<OffsetRecord>,
        producer: Option<(ProducerIdentity, TransactionGuard)>,
    ) -> Result<Option<Appended>, ErrorCode> {
        if records.is_empty() {
            return Ok(None);
        }
        let encoded: Result<Vec<KeyValue>, _> = records
            .iter()
            .map(|record| Ok((record.encode_key()?, record.encode_value()?)))
            .collect();
        let too_long = |_: streamledger_protocol::wire::EncodeError| ErrorCode::InvalidRequest;
        let encoded = encoded.map_err(too_long)?;
        let appended = self.topic.append(node, index, &encoded, producer)?;
        let producer = producer.map(|(producer, _)| producer.id);
        for (n, record) in (0_i64..).zip(records) {
            core.replay(record, producer, index, appended.first + n);
        }
        Ok(Some(appended))
    }

    /// Appends a marker and lets it take effect, as one: no offset is stored in between.
    pub(super) fn with_marker(
        &self,
        index: PartitionIndex,
        marker: &TransactionMarker,
        append: impl FnOnce() -> Result<AppendOutcome, AppendError>,
    ) -> Result<AppendOutcome, AppendError> {
        let mut core = self.core.lock();
        let outcome = append()?;
        core.replay_marker(index, marker.producer.id, marker.committed);
        Ok(outcome)
    }

    /// What a group has stored, once all of it is flushed.
    pub(crate) async fn fetch(
        &self,
        node: &Node,
        group: &GroupId,
        partitions: Option<&[TopicPartition]>,
        requires_stable: bool,
    ) -> Result<Vec<FetchedOffset>, ErrorCode> {
        let (index, fetched) = {
            let core = self.core.lock();
            (core.partition_of(group), core.fetch(group, partitions, requires_stable))
        };
        if let Ok(log) = self.topic.partition(node, index) {
            let flushed = log.wait_flushed(log.log_end_offset() - 1).await;
            flushed.map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        }
        Ok(fetched)
    }

    /// Forgets what groups stored for a topic that was deleted. Blocks on the disk, not on a flush:
    /// what a crash takes back is an offset of a topic that is gone.
    pub(crate) fn forget_topic(&self, node: &Node, topic: &TopicName) {
        let mut core = self.core.lock();
        for record in core.decide_forget_topic(topic.as_str()) {
            let (group, index) = (record.group.clone(), core.partition_of(&record.group));
            if let Err(error) = self.keep(node, &mut core, index, vec![record], None) {
                warn!(%group, %topic, %error, "offsets of a deleted topic are not forgotten");
            }
        }
    }
}
