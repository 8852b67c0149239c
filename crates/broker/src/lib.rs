//! A durable Kafka-protocol broker for one machine, embeddable in a program or a test.
//!
//! ```
//! use streamledger_broker::{Broker, BrokerConfig};
//!
//! let broker = Broker::start(BrokerConfig::default())?;
//! // Any Kafka client can now use broker.bootstrap_servers().
//! broker.shutdown()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! 1. A broker owns its threads: start it from anywhere, with or without a runtime.
//! 2. An acknowledged record is on disk, unless the flush policy says otherwise.
//! 3. Nothing a client sends makes it panic, or hold more memory than its settings allow.

mod api;
mod authentication;
mod broker;
mod config;
mod controller;
mod coordinator;
pub mod dump;
mod faults;
mod metrics;
mod node;
mod quotas;
mod server;
pub mod storage;

pub use broker::{Broker, RunningBroker, StartError, StopError, Stopper};
pub use config::{BrokerConfig, BrokerConfigBuilder};
pub use controller::MetadataLogError;
pub use faults::{Fault, Faults};
pub use metrics::{BrokerMetrics, PROMETHEUS_CONTENT_TYPE};
pub use storage::{FlushPolicy, StorageError};
pub use streamledger_broker_core::config::ConfigError;
pub use streamledger_protocol::{ApiKey, ErrorCode, Password};
