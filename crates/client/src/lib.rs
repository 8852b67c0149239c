//! A Kafka client: producer, consumer and admin, async and blocking, on any executor.

pub mod admin;
pub mod config;
mod io_thread;
mod metadata;
mod network;
mod wait;

pub use admin::{Admin, AdminError, NewPartitions, NewTopic};
pub use config::{AdminConfig, ConfigError, ConsumerConfig, ProducerConfig, Properties};
pub use metadata::Unreachable;
pub use network::{NetworkError, NetworkErrorKind};
pub use streamledger_protocol::{Acks, Codec, IsolationLevel};
