//! What is told of each batch that is done, and of the producer's end.

use std::sync::Arc;
use std::time::Instant;

use streamledger_client_core::accumulator::{ReadyReason, RecordMetadata};
use streamledger_client_core::sender::CompletedBatch;
use streamledger_protocol::TopicPartition;

use super::ProduceError;

/// Called with each batch that is done.
pub(super) type BatchObserver = Arc<dyn Fn(&BatchReport) + Send + Sync>;

/// A batch that is done: acknowledged, or failed for good.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BatchReport {
    /// Where it went.
    pub topic_partition: TopicPartition,
    /// How many records it has.
    pub record_count: u32,
    /// What the sender of its last record learns. The offsets before it are the ones before.
    pub last: Option<RecordMetadata>,
    /// Why it failed, if it did.
    pub error: Option<ProduceError>,
    /// Bytes as sent; 0 if it never was.
    pub batch_bytes: usize,
    /// Bytes before compression.
    pub uncompressed_bytes: usize,
    /// How often it was sent.
    pub attempts: u32,
    /// When its first record was appended.
    pub first_appended: Instant,
    /// Why it was sent when it was; None if it never was ready.
    pub ready_reason: Option<ReadyReason>,
}

impl BatchReport {
    pub(super) fn of(batch: &CompletedBatch) -> Self {
        let (last, error) = match batch.last_record() {
            Ok(last) => (Some(last), None),
            Err(failure) => (None, Some(ProduceError::NotDelivered(failure))),
        };
        Self {
            topic_partition: batch.topic_partition(),
            record_count: batch.record_count().cast_unsigned(),
            last,
            error,
            batch_bytes: batch.batch_bytes(),
            uncompressed_bytes: batch.uncompressed_bytes(),
            attempts: batch.attempts(),
            first_appended: batch.created(),
            ready_reason: batch.ready_reason(),
        }
    }
}

/// How a producer ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CloseReport {
    /// Whether it has ended: false only if `close` was called by a callback, which can't wait.
    pub is_closed: bool,
    /// Records that were given up because the time was over.
    pub undelivered_records: u64,
    /// Those of them that may be in the log all the same.
    pub possibly_written_records: u64,
}

impl CloseReport {
    /// Counts a batch that was given up.
    pub(super) fn count(&mut self, batch: &CompletedBatch) {
        if let Err(failure) = batch.base_offset() {
            let records = u64::from(batch.record_count().cast_unsigned());
            self.undelivered_records += records;
            self.possibly_written_records += if failure.possibly_written { records } else { 0 };
        }
    }

    /// Whether every record that was sent has been delivered, or had failed before the close.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_closed && self.undelivered_records == 0
    }
}
