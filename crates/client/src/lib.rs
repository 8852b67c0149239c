//! A Kafka client: producer, consumer and admin, async and blocking, on any executor.

pub mod admin;
pub mod config;
pub mod consumer;
mod coordinator;
mod io_thread;
mod metadata;
mod network;
mod observe;
pub mod process;
pub mod producer;
pub mod schema_registry;
mod telemetry;
mod wait;

pub use admin::{Admin, AdminError, NewPartitions, NewTopic};
pub use config::{AdminConfig, ConfigError, ConsumerConfig, Password, ProducerConfig, Properties};
pub use consumer::{
    Assignor, Consumer, ConsumerError, ConsumerRecord, ConsumerRecords, OffsetAndTimestamp,
    Position, RebalanceListener, RecordView,
};
pub use metadata::Unreachable;
pub use network::{NetworkError, NetworkErrorKind, Token, TokenError, TokenFuture, TokenProvider};
pub use observe::{
    InterceptedHeader, InterceptedRecord, Interceptor, InvalidTraceParent, OnEnd,
    PROMETHEUS_CONTENT_TYPE, TraceContext, TraceParent, metrics_markdown,
};
pub use process::{ConsumeProcessProduce, Output, ProcessError, Processed};
pub use producer::{
    BatchReport, CloseReport, DeliveryFuture, JsonSerializer, ProduceError, Producer,
    ProducerRecord, Transaction, TrySendError, TypedProducer, TypedRecord,
};
pub use streamledger_client_core::accumulator::RecordMetadata;
pub use streamledger_client_core::failure::{
    AttemptError, DeliveryFailure, FailureReason, FatalError, NoConnection, WaitedFor,
};
pub use streamledger_client_core::partitioner::{PartitionInput, Partitioner, Target};
pub use streamledger_client_core::serializer::{
    BytesSerializer, Nullable, SerializeError, Serializer, StringSerializer,
};
pub use streamledger_client_core::stage::Stage;
pub use streamledger_client_core::transaction::{
    AbortCause, CommittedOffset, ConsumerGroupMetadata, TransactionApi, TransactionError,
    TransactionErrorKind, TransactionOperation, TransactionStage, TransactionState,
};
/// Where librdkafka's default (`consistent_random`) puts a keyed record among so many partitions:
/// `crc32(key) % count`. It takes an empty key for none.
pub use streamledger_protocol::crc32::partition as crc32_partition;
/// Where Java's rule puts a keyed record among so many partitions:
/// `(murmur2(key) & 0x7fffffff) % count`.
pub use streamledger_protocol::murmur2::partition as murmur2_partition;
pub use streamledger_protocol::record_batch::Header;
pub use streamledger_protocol::{
    Acks, BrokerId, ClientInstanceId, Codec, ErrorCode, GroupId, IsolationLevel, LeaderEpoch,
    Offset, PartitionIndex, ProducerEpoch, ProducerId, ProducerIdentity, TimestampMs,
    TimestampType, TopicId, TopicName, TopicPartition, TransactionalId,
};
pub use telemetry::ClientInstanceIdError;

/// What README shows of the library compiles as it stands.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;

/// So does what the page about the producer shows.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/producer.md")]
pub struct ProducerPage;

/// And what the page about the consumer shows.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/consumer.md")]
pub struct ConsumerPage;
