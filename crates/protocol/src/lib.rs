//! The words and bytes of the Kafka protocol: newtypes, errors, messages, record batches, codecs.
//!
//! 1. Nothing here does I/O, reads a clock or keeps state: bytes in, values out, and back.
//! 2. A number with a name in Kafka has a type of its own here, never an alias.
//! 3. Nothing read from the wire is trusted: a count is checked against the bytes that remain
//!    before anything is allocated, and no decoder panics.

// The derive names this crate by its path, also here.
extern crate self as streamledger_protocol;

pub mod frame;
pub mod message;
pub mod messages;
pub mod wire;

mod api_key;
mod choices;
pub mod compression;
pub mod crc32;
mod error_code;
mod ids;
pub mod jaas;
pub mod murmur2;
mod names;
mod password;
pub mod pem;
pub mod record_batch;

pub use api_key::ApiKey;
pub use choices::{Acks, Codec, IsolationLevel, TimestampType, UnknownChoice};
pub use error_code::{Disposition, ErrorCode};
pub use ids::{
    ApiVersion, BrokerId, ClientInstanceId, CorrelationId, InvalidTopicId, LeaderEpoch, Offset,
    PartitionIndex, ProducerEpoch, ProducerId, ProducerIdentity, SequenceNumber, TimestampMs,
    TopicId,
};
pub use names::{GroupId, InvalidTopicName, TopicName, TopicPartition, TransactionalId};
pub use password::Password;
