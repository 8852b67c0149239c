//! A topic whose records are a coordinator's: made at first use, appended to, read back at start.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use streamledger_broker_core::controller::{NewTopic, Refusal, Topic};
use streamledger_protocol::compression::{CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{
    BatchSeal, ControlKind, ControlRecord, RecordBatchBuilder, RecordBatchRef, batches,
    parse_control_record,
};
use streamledger_protocol::{
    ErrorCode, Offset, PartitionIndex, ProducerId, ProducerIdentity, SequenceNumber, TimestampMs,
    TopicName,
};
use thiserror::Error;
use tracing::warn;

use crate::controller::random_topic_id;
use crate::node::Node;
use crate::quotas::MutationQuota;
use crate::storage::{
    Admission, AppendError, AppendOrigin, Partition, ReadLimit, TransactionGuard,
};

/// How much of a log is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// The key and value of a record.
pub(super) type KeyValue = (Bytes, Option<Bytes>);

/// What a start finds in an internal topic's log.
pub(super) enum Loaded {
    /// A record, the producer of its batch if that is transactional, and its offset.
    Record { record: KeyValue, producer: Option<ProducerId>, at: Offset },
    /// A transaction's end.
    Marker { producer: ProducerId, committed: bool },
}

/// Records that a load leaves alone, as their kind isn't known: a newer version may have written
/// them, before the user went back to this one (Kafka: "a left over from an aborted upgrade").
#[derive(Debug, Default)]
pub(super) struct LeftAlone {
    by_kind: BTreeMap<i16, usize>,
}

impl LeftAlone {
    pub(super) fn count(&mut self, kind: i16) {
        *self.by_kind.entry(kind).or_default() += 1;
    }

    /// Says so, a line for each kind.
    pub(super) fn warn(&self, topic: &InternalTopic) {
        for (kind, records) in &self.by_kind {
            warn!(topic = %topic.name, kind, records, "records of an unknown kind are left alone");
        }
    }
}

/// Why the records of an internal topic can't be used.
#[derive(Debug, Error)]
#[error("{topic}-{partition}: {reason}")]
pub(crate) struct InternalTopicError {
    topic: TopicName,
    partition: PartitionIndex,
    reason: String,
}

/// A topic whose records are a coordinator's.
#[derive(Debug)]
pub(super) struct InternalTopic {
    name: TopicName,
    partition_count: i32,
    segment_bytes: i64,
}

impl InternalTopic {
    pub(super) fn new(name: &str, partition_count: i32, segment_bytes: i64) -> Self {
        Self { name: TopicName::new(name), partition_count, segment_bytes }
    }

    pub(super) fn name(&self) -> &TopicName {
        &self.name
    }

    pub(super) fn topic(&self, node: &Node) -> Option<Arc<Topic>> {
        node.topic(&self.name)
    }

    /// How many partitions it has, or will have.
    pub(super) fn partition_count(&self, node: &Node) -> i32 {
        self.topic(node).map_or(self.partition_count, |topic| topic.partition_count())
    }

    /// Makes it if it is not there, on a thread that may block on the disk.
    pub(super) async fn ensure(node: &Arc<Node>, of: fn(&Node) -> &Self) -> Result<(), ErrorCode> {
        if of(node).topic(node).is_some() {
            return Ok(());
        }
        let making = Arc::clone(node);
        let made = tokio::task::spawn_blocking(move || of(&making).create(&making)).await;
        match made {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refusal)) => {
                warn!(topic = %of(node).name, refusal.message, "an internal topic is not made");
                Err(ErrorCode::CoordinatorNotAvailable)
            }
            Err(_) => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }

    fn create(&self, node: &Node) -> Result<(), Refusal> {
        let config = |name: &str, value: String| (name.to_owned(), Some(value));
        let topic = NewTopic {
            id: random_topic_id(),
            name: self.name.clone(),
            partition_count: self.partition_count,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: vec![
                config("cleanup.policy", "compact".to_owned()),
                config("segment.bytes", self.segment_bytes.to_string()),
            ],
        };
        match node.create_topic(&topic, false, &mut MutationQuota::none()) {
            Ok(_) => Ok(()),
            // Someone else was faster.
            Err(refusal) if refusal.error == ErrorCode::TopicAlreadyExists => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    pub(super) fn partition(
        &self,
        node: &Node,
        index: PartitionIndex,
    ) -> Result<Arc<Partition>, ErrorCode> {
        let topic = self.topic(node).ok_or(ErrorCode::CoordinatorNotAvailable)?;
        node.partition(&topic, index).map_err(|_| ErrorCode::CoordinatorNotAvailable)
    }

    /// Appends records as one batch; in a transaction if there is a producer. Gives the partition,
    /// and the offset of the first and the last record.
    pub(super) fn append(
        &self,
        node: &Node,
        index: PartitionIndex,
        records: &[KeyValue],
        producer: Option<(ProducerIdentity, TransactionGuard)>,
    ) -> Result<Appended, ErrorCode> {
        let log = self.partition(node, index)?;
        let batch = batch_of(records, node.store.now().wall, producer.map(|(who, _)| who))?;
        let guard = producer.map(|(_, guard)| guard);
        // A producer took its place when it joined the transaction.
        let admission = Admission { guard, owner: None };
        let outcome = log
            .append_admitted(batch, AppendOrigin::Coordinator, admission)
            .map_err(|error| coordinator_error(&error))?;
        Ok(Appended { first: outcome.base_offset, last: outcome.last_offset, log })
    }

    /// Gives everything in the topic's log, partition by partition, in order.
    pub(super) fn load(
        &self,
        node: &Node,
        mut each: impl FnMut(PartitionIndex, Loaded) -> Result<(), String>,
    ) -> Result<(), InternalTopicError> {
        let Some(topic) = self.topic(node) else { return Ok(()) };
        for index in (0..topic.partition_count()).map(PartitionIndex) {
            let failed = |reason: String| InternalTopicError {
                topic: self.name.clone(),
                partition: index,
                reason,
            };
            let log = node
                .partition(&topic, index)
                .map_err(|error| failed(error.message().to_owned()))?;
            load_log(&log, |loaded| each(index, loaded)).map_err(failed)?;
        }
        Ok(())
    }
}

/// Records that are in the page cache.
pub(super) struct Appended {
    pub(super) first: Offset,
    pub(super) last: Offset,
    pub(super) log: Arc<Partition>,
}

fn batch_of(
    records: &[KeyValue],
    now: TimestampMs,
    producer: Option<ProducerIdentity>,
) -> Result<Bytes, ErrorCode> {
    let mut builder = RecordBatchBuilder::with_capacity(512);
    for (key, value) in records {
        builder.append(now, Some(key), value.as_deref(), &[]);
    }
    let seal = BatchSeal {
        producer: producer.map(|producer| (producer, SequenceNumber::NONE)),
        transactional: producer.is_some(),
        ..BatchSeal::default()
    };
    let sealed = builder.seal(&seal, &mut CompressionScratch::new());
    sealed.map(|sealed| sealed.bytes).map_err(|_| ErrorCode::UnknownServerError)
}

/// What a client is told when a coordinator could not keep a decision: to try again, unless the
/// refusal is about the client's own producer.
fn coordinator_error(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::NotWritten(_) | AppendError::Offline(_) => ErrorCode::CoordinatorNotAvailable,
        refused => match refused.error_code() {
            ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
                ErrorCode::UnknownServerError
            }
            other => other,
        },
    }
}

fn load_log(
    log: &Partition,
    mut each: impl FnMut(Loaded) -> Result<(), String>,
) -> Result<(), String> {
    let mut decompressor = Decompressor::default();
    let mut from = log.log_start_offset();
    while from < log.log_end_offset() {
        let read =
            log.read(from, PIECE_BYTES, ReadLimit::LogEnd).map_err(|error| error.to_string())?;
        let before = from;
        for batch in batches(&read.records) {
            let batch = batch.map_err(|error| error.to_string())?;
            load_batch(&batch, &mut decompressor, &mut each)
                .map_err(|reason| format!("at offset {}: {reason}", batch.header().base_offset))?;
            from = batch.header().next_offset();
        }
        if from == before {
            return Err(format!("nothing can be read at offset {from}"));
        }
    }
    Ok(())
}

fn load_batch(
    batch: &RecordBatchRef<'_>,
    decompressor: &mut Decompressor,
    each: &mut impl FnMut(Loaded) -> Result<(), String>,
) -> Result<(), String> {
    let header = *batch.header();
    let producer = header.producer().filter(|_| header.attributes.is_transactional());
    for record in batch.records(decompressor).map_err(|error| error.to_string())? {
        let record = record.map_err(|error| error.to_string())?;
        let loaded = if header.attributes.is_control() {
            let control = parse_control_record(&record).map_err(|error| error.to_string())?;
            match (control, producer) {
                (ControlRecord::Marker { kind, .. }, Some(producer)) => {
                    Loaded::Marker { producer: producer.id, committed: kind == ControlKind::Commit }
                }
                _ => return Err("a control record of an unknown kind".to_owned()),
            }
        } else {
            let key = record.key.ok_or("a record without a key")?;
            Loaded::Record {
                record: (Bytes::copy_from_slice(key), record.value.map(Bytes::copy_from_slice)),
                producer: producer.map(|producer| producer.id),
                at: record.offset,
            }
        };
        each(loaded)?;
    }
    Ok(())
}
