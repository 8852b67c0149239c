//! What happens to the sender.

use std::time::Duration;

use streamledger_protocol::{
    BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, ProducerIdentity, TopicId, TopicName,
    TopicPartition,
};

use super::effect::{CompressedBatch, RequestId};
use super::verdict::PartitionAnswer;
use crate::failure::NoConnection;
use crate::transaction::{TransactionAnswer, TransactionCommand};

/// What the shell, or the simulator, tells the sender.
#[derive(Debug)]
pub enum Event {
    /// Callers have created or filled a batch, a flush began, memory ran out, or the accumulator
    /// was closed.
    Wake,
    /// What metadata says now of some topics. Topics that aren't named stay as they were.
    Metadata(Vec<TopicLeaders>),
    /// A [`super::Effect::RefreshMetadata`] came to nothing.
    MetadataFailed,
    /// A connection to the broker can be used.
    ConnectionUp(BrokerId),
    /// The connection is lost, or could not be made and nobody knows why. The requests in flight on
    /// it are answered by [`Event::RequestFailed`], each by itself, in the order they were sent.
    ConnectionDown(BrokerId),
    /// The connection could not be made. What waits for it is told why if its time is over.
    NotConnected {
        /// The broker.
        broker: BrokerId,
        /// Why.
        unreachable: NoConnection,
    },
    /// A request was answered.
    ProduceResponse {
        /// Which.
        request: RequestId,
        /// How long the broker wants to be left alone (`throttle_time_ms`).
        throttle: Duration,
        /// The answer for each partition; the order does not matter.
        partitions: Vec<(TopicPartition, PartitionAnswer)>,
    },
    /// A request with acks=0 is written to its connection.
    RequestWritten(RequestId),
    /// A request has no answer and won't get one.
    RequestFailed {
        /// Which.
        request: RequestId,
        /// Whether any of it may have reached the broker.
        possibly_sent: bool,
    },
    /// A request was not sent, for its broker has no version of it that would do.
    RequestNotSpoken(RequestId),
    /// The answer to [`super::Effect::InitProducerId`].
    ProducerId(ProducerIdAnswer),
    /// The outcome of [`super::Effect::Compress`].
    Compressed(CompressedBatch),
    /// A caller asks for something at the [`crate::transaction::TransactionDesk`].
    Transaction(TransactionCommand),
    /// The answer to [`super::Effect::AskCoordinator`].
    Coordinator(TransactionAnswer),
    /// The accumulator was closed: a transaction that is open is to be aborted.
    Closing,
    /// The time to close is over: fail everything that is left.
    Abort,
}

/// How asking for a producer id ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProducerIdAnswer {
    /// A broker gave one.
    Given(ProducerIdentity),
    /// A broker answered with an error.
    Refused(ErrorCode),
    /// No broker answered.
    NoAnswer,
}

/// What metadata says of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicLeaders {
    /// Its name.
    pub topic: TopicName,
    /// Its id; zero where the brokers are too old to have ids (before Kafka 2.8).
    pub topic_id: TopicId,
    /// All its partitions, or none where metadata does not know the topic at the moment.
    pub partitions: Vec<PartitionLeader>,
}

/// Who leads a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionLeader {
    /// Which partition.
    pub partition: PartitionIndex,
    /// Its leader, if it has one now.
    pub leader: Option<BrokerId>,
    /// The leader's epoch; -1 where the brokers are too old to tell.
    pub leader_epoch: LeaderEpoch,
    /// Whether the leader is where the client is: then the sticky partitioner prefers it
    /// (KIP-1123).
    pub is_near: bool,
}
