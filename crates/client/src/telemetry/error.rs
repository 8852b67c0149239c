//! Why a client has no id by which its cluster knows its metrics.

use std::time::Duration;

/// Why there is no client instance id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientInstanceIdError {
    /// Nothing is pushed, so there is nothing to be named.
    #[error("the client has no instance id, as enable.metrics.push is false")]
    Disabled,
    /// The brokers have no plug-in for metrics, or refuse this client's.
    #[error("the client has no instance id, as the cluster takes no metrics from it")]
    NotServed,
    /// The time is over. Ask again, with more.
    #[error("no broker gave the client its instance id within {0:?}")]
    TimedOut(Duration),
    /// The client was closed.
    #[error("the client was closed before a broker gave it its instance id")]
    Closed,
    /// A callback asked, on the thread that would have to fetch the answer. Ask elsewhere.
    #[error("a callback can't wait for the client's instance id")]
    WouldDeadlock,
}
