//! A Kafka client: producer, consumer and admin, async and blocking, on any executor.

pub mod config;
mod network;

pub use config::{AdminConfig, ConfigError, ConsumerConfig, ProducerConfig, Properties};
pub use network::{NetworkError, NetworkErrorKind};
pub use streamledger_protocol::{Acks, Codec, IsolationLevel};
