//! The end of a record, for whoever sent it: a future on any executor, or a blocking wait.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use streamledger_client_core::accumulator::{Delivery, RecordMetadata};
use streamledger_protocol::{PartitionIndex, TopicPartition};

use super::ProduceError;
use crate::wait::wait;

/// The end of a record that was sent. Dropping it changes nothing for the record: it is delivered
/// all the same, and `flush` waits for it.
///
/// 40 bytes; made without allocation.
#[derive(Debug, Clone)]
#[must_use = "it is the only way to learn whether the record was delivered"]
pub struct DeliveryFuture(pub(super) Delivery);

impl DeliveryFuture {
    /// Blocks this thread until the end is known.
    ///
    /// # Errors
    /// The record was not delivered; the error says whether it may have been written.
    pub fn wait(self) -> Result<RecordMetadata, ProduceError> {
        match self.result() {
            Some(result) => result,
            None => wait(self),
        }
    }

    /// The end, if it is known.
    #[must_use]
    pub fn result(&self) -> Option<Result<RecordMetadata, ProduceError>> {
        Some(self.0.result()?.map_err(ProduceError::from))
    }

    /// Whether the end is known. Costs a few nanoseconds.
    #[inline]
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.is_settled()
    }

    /// The partition that was chosen.
    #[inline]
    #[must_use]
    pub fn partition(&self) -> PartitionIndex {
        self.0.partition()
    }

    /// The topic and the partition that was chosen.
    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        self.0.topic_partition()
    }
}

impl Future for DeliveryFuture {
    type Output = Result<RecordMetadata, ProduceError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_result(context).map_err(ProduceError::from)
    }
}
