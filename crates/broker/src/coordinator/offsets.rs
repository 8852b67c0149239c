//! The shell of the groups' offsets: stored, in transactions too, and read back.

use streamledger_broker_core::group::{
    CommitRequest, FetchedOffset, GroupCoordinator, GroupRecord,
};
use streamledger_broker_core::log::TransactionMarker;
use streamledger_protocol::{
    ErrorCode, GroupId, PartitionIndex, ProducerIdentity, TopicName, TopicPartition,
};
use tracing::warn;

use super::groups::{Groups, until_flushed};
use super::internal_topic::{Appended, KeyValue};
use crate::node::Node;
use crate::storage::{AppendError, AppendOutcome, TransactionGuard};

impl Groups {
    /// How the log of a group's partition stands with a producer.
    pub(crate) fn guard(
        &self,
        node: &Node,
        group: &GroupId,
        producer: ProducerIdentity,
    ) -> Result<TransactionGuard, ErrorCode> {
        let index = self.read(|groups| groups.offsets().partition_of(group));
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
            Ok(Some(appended)) => match until_flushed(Some((appended.log, appended.last))).await {
                Ok(()) => reply,
                Err(error) => refused(error),
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
        let groups = &mut self.lock().coordinator;
        let now = node.store.now();
        let decision = groups.decide_commit(now, request);
        let index = groups.offsets().partition_of(&request.group);
        let records = decision.records.into_iter().map(GroupRecord::Offset).collect();
        let kept = self.keep_offsets(node, groups, index, records, producer);
        (decision.reply, kept)
    }

    fn keep_offsets(
        &self,
        node: &Node,
        groups: &mut GroupCoordinator,
        index: PartitionIndex,
        records: Vec<GroupRecord>,
        producer: Option<(ProducerIdentity, TransactionGuard)>,
    ) -> Result<Option<Appended>, ErrorCode> {
        if records.is_empty() {
            return Ok(None);
        }
        let encoded: Result<Vec<KeyValue>, _> = records.iter().map(GroupRecord::encode).collect();
        let encoded = encoded.map_err(|_| ErrorCode::InvalidRequest)?;
        let appended = self.topic.append(node, index, &encoded, producer)?;
        let producer = producer.map(|(producer, _)| producer.id);
        let now = node.store.now();
        for (n, record) in (0_i64..).zip(records) {
            groups.replay(now, record, producer, index, appended.first + n);
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
        let groups = &mut self.lock().coordinator;
        let outcome = append()?;
        groups.replay_marker(index, marker.producer.id, marker.committed);
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
        let fetched =
            self.read(|groups| groups.offsets().fetch(group, partitions, requires_stable));
        self.flushed(node, group).await?;
        Ok(fetched)
    }

    /// Deletes a group and its offsets; told once that is flushed.
    pub(crate) async fn delete(&self, node: &Node, group: &GroupId) -> Result<(), ErrorCode> {
        let (deleted, kept) = self.step(node, |groups, _| groups.delete_group(group));
        deleted?;
        kept?;
        self.flushed(node, group).await
    }

    /// Deletes offsets of a group; told once that is flushed.
    pub(crate) async fn delete_offsets(
        &self,
        node: &Node,
        group: &GroupId,
        partitions: &[TopicPartition],
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let (deleted, kept) = self.step(node, |groups, _| groups.delete_offsets(group, partitions));
        let answers = deleted?;
        kept?;
        self.flushed(node, group).await?;
        Ok(answers)
    }

    /// Forgets what groups stored for a topic that was deleted. Blocks on the disk, not on a flush:
    /// what a crash takes back is an offset of a topic that is gone.
    pub(crate) fn forget_topic(&self, node: &Node, topic: &TopicName) {
        let groups = &mut self.lock().coordinator;
        for record in groups.offsets().decide_forget_topic(topic.as_str()) {
            let group = record.group.clone();
            let index = groups.offsets().partition_of(&group);
            let records = vec![GroupRecord::Offset(record)];
            if let Err(error) = self.keep_offsets(node, groups, index, records, None) {
                warn!(%group, %topic, %error, "offsets of a deleted topic are not forgotten");
            }
        }
    }
}
