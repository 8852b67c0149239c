//! A Kafka client: producer, consumer and admin, async and blocking, on any executor.

pub mod config;

pub use config::{AdminConfig, ConfigError, ConsumerConfig, ProducerConfig, Properties};
pub use streamledger_protocol::{Acks, Codec, IsolationLevel};
