//! What the sender wants done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use streamledger_protocol::compression::{Compression, CompressionScratch};
use streamledger_protocol::record_batch::{BatchSeal, RecordBatchBuilder, SealedBatch};
use streamledger_protocol::{
    Acks, BrokerId, Codec, Offset, TopicId, TopicName, TopicPartition, TransactionalId,
};

use crate::accumulator::{
    BatchOrigin, BatchOutcome, Delivery, ReadyReason, RecordAccumulator, RecordMetadata,
    Reservation,
};
use crate::failure::DeliveryFailure;
use crate::transaction::{SettledOperation, TransactionQuestion, TransactionVersion};

/// What the shell, or the simulator, is to do. Effects are performed in the order they are given.
#[derive(Debug)]
#[must_use = "an effect that isn't performed is lost"]
pub enum Effect {
    /// Connect to the broker; answer with `ConnectionUp` or `NotConnected`.
    Connect(BrokerId),
    /// Send a request. Requests to one broker go out in the order given. Each is answered once,
    /// by `ProduceResponse` or `RequestFailed`, with acks=0 by `RequestWritten` or
    /// `RequestFailed`, where it can't be sent at all by `RequestNotSpoken`: at the latest when
    /// `request.timeout.ms` is over.
    SendProduce(OutgoingRequest),
    /// Ask any broker for a new producer id; answer with `ProducerId`.
    InitProducerId,
    /// Ask for metadata of these topics; answer with `Metadata` or `MetadataFailed`.
    RefreshMetadata(Vec<TopicName>),
    /// Ask no more for metadata of these topics, until they are sent to again. Not answered.
    ForgetTopics(Vec<TopicName>),
    /// Compress a batch, here or on another thread; answer with `Compressed`.
    Compress(CompressJob),
    /// Tell a batch's owners how it ended, with [`CompletedBatch::deliver`].
    Complete(CompletedBatch),
    /// Ask a coordinator, or who that is; answer with `Coordinator`.
    AskCoordinator(TransactionQuestion),
    /// Tell who waits how an operation ended, with [`SettledOperation::deliver`].
    SettleTransaction(SettledOperation),
}

/// The name of a request between sender and shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A produce request to the leader of all its partitions. A partition is in it at most once, for
/// brokers take one batch a partition since version 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingRequest {
    /// What its answer is to be named by.
    pub request: RequestId,
    /// Where it goes.
    pub broker: BrokerId,
    /// Whose acknowledgement counts.
    pub acks: Acks,
    /// How long the broker may wait for its followers.
    pub timeout: Duration,
    /// The transaction that the batches are part of.
    pub transaction: Option<ProduceTransaction>,
    /// The batches.
    pub batches: Vec<OutgoingBatch>,
}

/// Whose transaction a request's batches are part of, and by which protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceTransaction {
    /// The producer's transactional id.
    pub id: TransactionalId,
    /// Version 1 goes up to Produce 11; from 12 on the request itself adds its partitions.
    pub version: TransactionVersion,
}

/// A sealed batch on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingBatch {
    /// Where it goes.
    pub topic_partition: TopicPartition,
    /// The topic's id, for versions 13 and up; zero if it isn't known.
    pub topic_id: TopicId,
    /// The batch. The buffer goes back to the pool when the last clone is dropped.
    pub bytes: Bytes,
}

/// The name of a batch within the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BatchId(pub(crate) u64);

/// A full batch to be compressed. Runs on any thread.
#[derive(Debug)]
pub struct CompressJob {
    pub(crate) slot: usize,
    pub(crate) batch: BatchId,
    pub(crate) builder: RecordBatchBuilder,
    pub(crate) reservation: Reservation,
    pub(crate) compression: Compression,
    pub(crate) transactional: bool,
}

/// A batch that was compressed, or could not be.
#[derive(Debug)]
pub struct CompressedBatch {
    pub(crate) slot: usize,
    pub(crate) batch: BatchId,
    pub(crate) reservation: Reservation,
    /// Sealed without a producer: that is stamped in when the batch is sent.
    pub(crate) sealed: Result<SealedBatch, String>,
}

impl CompressJob {
    /// Bytes of the batch as it is now.
    #[must_use]
    pub fn uncompressed_bytes(&self) -> usize {
        self.builder.batch_bytes()
    }

    /// What it is to be compressed with.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.compression.codec
    }

    /// Compresses the batch. `scratch` is the thread's own, kept between jobs.
    #[must_use]
    pub fn run(self, scratch: &mut CompressionScratch) -> CompressedBatch {
        let Self { slot, batch, builder, reservation, compression, transactional } = self;
        let seal = BatchSeal { compression, producer: None, transactional };
        let sealed = builder.seal(&seal, scratch).map_err(|error| error.to_string());
        CompressedBatch { slot, batch, reservation, sealed }
    }
}

/// A batch that has ended.
#[derive(Debug)]
pub struct CompletedBatch {
    pub(crate) origin: BatchOrigin,
    pub(crate) outcome: BatchOutcome,
    pub(crate) record_count: i32,
    pub(crate) batch_bytes: usize,
    pub(crate) uncompressed_bytes: usize,
    pub(crate) attempts: u32,
    pub(crate) reason: Option<ReadyReason>,
}

impl CompletedBatch {
    /// Settles the batch's cell, wakes who waits for it, calls the callbacks and counts the batch
    /// out for `flush`.
    pub fn deliver(self, accumulator: &RecordAccumulator) {
        let Self { origin, outcome, .. } = self;
        let completion = origin.completion;
        completion.settle(outcome.clone());
        for callback in origin.callbacks {
            callback.call(&completion, &outcome);
        }
        accumulator.flush_tracker().settled(origin.generation);
    }

    /// Where the batch went.
    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        self.origin.completion.topic_partition()
    }

    /// Offset of the first record, or why the batch failed.
    ///
    /// # Errors
    /// The failure, shared by all records of the batch.
    pub fn base_offset(&self) -> Result<Option<Offset>, &Arc<DeliveryFailure>> {
        self.outcome.as_ref().map(|ack| ack.base_offset)
    }

    /// What the owner of the batch's last record learns.
    ///
    /// # Errors
    /// The failure, shared by all records of the batch.
    pub fn last_record(&self) -> Result<RecordMetadata, Arc<DeliveryFailure>> {
        let index = (self.record_count - 1).cast_unsigned();
        let last = self.origin.last;
        let completion = Arc::clone(&self.origin.completion);
        Delivery::new(completion, index, last.sizes, last.timestamp).with_outcome(&self.outcome)
    }

    /// Records in the batch.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Bytes as sent; 0 if the batch was never sealed.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    /// Bytes before compression.
    #[must_use]
    pub fn uncompressed_bytes(&self) -> usize {
        self.uncompressed_bytes
    }

    /// How often it was sent.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// When its first record was appended.
    #[must_use]
    pub fn created(&self) -> Instant {
        self.origin.created
    }

    /// What made it ready; None if it never was.
    #[must_use]
    pub fn ready_reason(&self) -> Option<ReadyReason> {
        self.reason
    }
}
