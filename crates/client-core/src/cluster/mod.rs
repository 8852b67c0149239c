//! The view of the cluster: brokers, topics, leaders; and how an answer of metadata changes it.
//!
//! 1. A leader with an older epoch than the one known is ignored, whoever tells of it (KIP-320).
//! 2. A topic that a broker doesn't know for the moment keeps what is known of it; the error is
//!    kept beside it.
//! 3. A topic with another id is another topic: nothing of the old one is kept (KIP-516).
//! 4. A snapshot never changes; a change makes a new one.

mod apply;
mod snapshot;

pub use apply::{Asked, Cluster, ClusterChange, MetadataFault};
pub use snapshot::{Broker, ClusterSnapshot, Partition, Topic};

#[cfg(test)]
mod tests;
