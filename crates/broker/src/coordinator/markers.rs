//! Writes the markers that end a transaction, each as a control batch to its partition's log.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use streamledger_broker_core::log::{AppendRefusal, MarkerEpoch, TransactionMarker};
use streamledger_broker_core::transaction::MarkerWrite;
use streamledger_protocol::record_batch::{ControlKind, build_control_batch};
use streamledger_protocol::{ErrorCode, Offset, TopicPartition};
use tracing::{debug, warn};

use super::transactions::Transactions;
use crate::node::Node;
use crate::storage::{AppendError, AppendOrigin, Partition, StorageOffline};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Why a marker is not in a partition's log.
#[derive(Debug)]
pub(crate) enum MarkerRefusal {
    /// There is no such partition (any more).
    Gone,
    /// It has been written there, or a newer life of the producer or of the coordinator has.
    Outdated(ErrorCode),
    /// The log takes nothing now.
    NotWritten(AppendError),
}

impl MarkerRefusal {
    pub(crate) fn error_code(&self) -> ErrorCode {
        match self {
            Self::Gone => ErrorCode::UnknownTopicOrPartition,
            Self::Outdated(error) => *error,
            Self::NotWritten(error) => error.error_code(),
        }
    }

    /// Whether the broker is stopping, or its directory is offline: the next start goes on.
    fn is_the_end(&self) -> bool {
        matches!(
            self,
            Self::NotWritten(AppendError::Offline(
                StorageOffline::Closed | StorageOffline::Failed(_)
            ))
        )
    }
}

impl From<AppendError> for MarkerRefusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Offline(StorageOffline::Deleted(_)) => Self::Gone,
            AppendError::Refused(refusal @ AppendRefusal::Producer(_)) => {
                Self::Outdated(refusal.error_code())
            }
            other => Self::NotWritten(other),
        }
    }
}

/// Appends a marker to a partition's log, and lets it take effect on the offsets stored there.
/// It counts once `wait_flushed` says that it is on disk.
pub(crate) fn write_marker(
    node: &Node,
    topic_partition: &TopicPartition,
    marker: &TransactionMarker,
    epoch: MarkerEpoch,
) -> Result<(Arc<Partition>, Offset), MarkerRefusal> {
    let topic = node.topic(&topic_partition.topic).ok_or(MarkerRefusal::Gone)?;
    let log = match node.partition(&topic, topic_partition.partition) {
        Err(ErrorCode::UnknownTopicOrPartition) => return Err(MarkerRefusal::Gone),
        Err(_) => return Err(AppendError::Offline(StorageOffline::Closed).into()),
        Ok(log) => log,
    };
    let kind = match marker.committed {
        true => ControlKind::Commit,
        false => ControlKind::Abort,
    };
    let now = node.store.now().wall;
    let batch = build_control_batch(kind, marker.producer, marker.coordinator_epoch, now);
    let append = || log.append(batch.into(), AppendOrigin::Marker(epoch));
    let outcome = match node.groups.keeps(topic_partition) {
        true => node.groups.with_marker(topic_partition.partition, marker, append)?,
        false => append()?,
    };
    Ok((log, outcome.last_offset))
}

/// Has the markers of a transaction written, while others go on.
pub(super) fn spawn(node: Arc<Node>, write: MarkerWrite) {
    // Recording the transaction as complete is a decision like the one that led here, so the
    // type would contain itself without the box.
    let being_ended = node.transactions.end_one();
    let writing: BoxFuture<'static, ()> = Box::pin(async move {
        write_all(node, write).await;
        drop(being_ended);
    });
    tokio::spawn(writing);
}

/// Writes the markers of a transaction until all are flushed, then has it recorded as complete.
/// Gives up only when the broker stops: the next start finds the transaction undone and goes on.
async fn write_all(node: Arc<Node>, write: MarkerWrite) {
    let marker = TransactionMarker {
        producer: write.producer,
        coordinator_epoch: node.transactions.coordinator_epoch(&node, write.coordinator_partition),
        committed: write.committed,
    };
    let mut left = write.partitions.clone();
    let mut pause = FIRST_PAUSE;
    while !left.is_empty() {
        left = match write_each(&node, &left, (&marker, write.epoch)).await {
            Some(left) => left,
            None => return,
        };
        if !left.is_empty() {
            let id = &write.transactional_id;
            warn!(%id, left = left.len(), "markers not written yet: trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
    while let Err(error) = Transactions::markers_written(&node, &write).await {
        if node.store.failure().is_some() || !node.store.is_open() {
            return;
        }
        warn!(id = %write.transactional_id, %error, "a complete transaction could not be recorded");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Writes a marker to each partition, and waits for the flushes. Gives those that are left; none
/// at all if the broker is stopping.
async fn write_each(
    node: &Node,
    partitions: &[TopicPartition],
    (marker, epoch): (&TransactionMarker, MarkerEpoch),
) -> Option<Vec<TopicPartition>> {
    let mut left = Vec::new();
    let mut unflushed = Vec::with_capacity(partitions.len());
    for topic_partition in partitions {
        match write_marker(node, topic_partition, marker, epoch) {
            Ok(written) => unflushed.push(written),
            Err(refusal) if refusal.is_the_end() => return None,
            Err(MarkerRefusal::NotWritten(_)) => left.push(topic_partition.clone()),
            Err(refusal) => {
                let error = refusal.error_code();
                debug!(%topic_partition, %error, "a marker is not needed any more");
                unflushed.extend(written_before(node, topic_partition));
            }
        }
    }
    for (log, last) in unflushed {
        match log.wait_flushed(last).await {
            Ok(()) | Err(StorageOffline::Deleted(_)) => {}
            Err(StorageOffline::Damaged { .. }) => left.push(log.topic_partition().clone()),
            Err(_) => return None,
        }
    }
    Some(left)
}

/// A partition's log as far as it goes: what a marker was refused for counts once it is on disk.
fn written_before(
    node: &Node,
    topic_partition: &TopicPartition,
) -> Option<(Arc<Partition>, Offset)> {
    let topic = node.topic(&topic_partition.topic)?;
    let log = node.partition(&topic, topic_partition.partition).ok()?;
    let last = log.log_end_offset() - 1;
    Some((log, last))
}

#[cfg(test)]
mod tests {
    use streamledger_broker_core::log::ProducerRefusal;
    use streamledger_protocol::{ProducerEpoch, ProducerId, ProducerIdentity};

    use super::*;

    #[test]
    fn only_a_newer_life_of_the_producer_makes_a_marker_needless() {
        let producer = ProducerIdentity { id: ProducerId(7), epoch: ProducerEpoch(1) };
        let fenced = ProducerRefusal::Fenced { producer, current: ProducerEpoch(2) };
        let outdated = MarkerRefusal::from(AppendError::Refused(fenced.into()));
        assert!(matches!(outdated, MarkerRefusal::Outdated(_)), "{outdated:?}");
        let too_large = AppendRefusal::LargerThanSegment { bytes: 90, segment_bytes: 60 };
        let refused = MarkerRefusal::from(AppendError::Refused(too_large));
        assert!(matches!(refused, MarkerRefusal::NotWritten(_)), "it is tried again: {refused:?}");
    }
}
