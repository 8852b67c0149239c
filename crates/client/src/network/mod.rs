//! Connections to brokers: sockets, frames, versions, time-outs. Knows requests, not their meaning.
//!
//! 1. All of it lives on one I/O thread, in a current-thread runtime, so nothing is locked.
//! 2. A request is queued in the call itself, so the order of calls is the order on the wire.
//! 3. Responses come in request order; one that isn't the next in line ends the connection.
//! 4. An error says whether the request may have been sent; only what surely wasn't is "not sent".
//! 5. Nothing a broker says is believed before its size is checked.

mod api_versions;
mod backend;
mod backoff;
mod connection;
mod driver;
mod error;
pub(crate) mod http;
mod meter;
mod pool;
mod queues;
pub(crate) mod sasl;
mod security;
#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;
mod throttle;
pub(crate) mod tls;
mod transport;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use backoff::{ExponentialBackoff, Jitter};
pub(crate) use connection::BrokerConnection;
pub use error::{NetworkError, NetworkErrorKind};
pub(crate) use meter::{ConnectionMeter, ConnectionMetrics};
pub(crate) use pool::ConnectionPool;
pub use sasl::{Token, TokenError, TokenFuture, TokenProvider};
pub(crate) use security::Security;

use crate::config::ClientSettings;

/// What a connection needs to know of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct NetworkConfig {
    /// What the client calls itself in each request.
    pub(crate) client_id: Arc<str>,
    /// How long a connection's first request, for the broker's versions, may take.
    pub(crate) request_timeout: Duration,
    pub(crate) setup_timeout: ExponentialBackoff,
    pub(crate) reconnect_backoff: ExponentialBackoff,
    /// After how long without requests the connection is closed.
    pub(crate) idle_max: Option<Duration>,
    pub(crate) send_buffer_bytes: Option<usize>,
    pub(crate) receive_buffer_bytes: Option<usize>,
    /// The largest response to a Fetch that is taken; others have a lower cap of their own.
    pub(crate) fetch_response_bytes_max: u32,
    /// TLS and login.
    pub(crate) security: Security,
    pub(crate) meter: ConnectionMeter,
}

/// The largest response that is taken, as brokers take no larger request
/// (socket.request.max.bytes).
pub(crate) const RESPONSE_BYTES_MAX: u32 = 100 * 1024 * 1024;

impl NetworkConfig {
    pub(crate) fn new(settings: &ClientSettings, security: &Security) -> Self {
        Self {
            client_id: match settings.client_id.as_str() {
                "" => "streamledger".into(),
                name => name.into(),
            },
            request_timeout: settings.request_timeout,
            setup_timeout: ExponentialBackoff {
                first: settings.socket_connection_setup_timeout,
                max: settings.socket_connection_setup_timeout_max,
            },
            reconnect_backoff: ExponentialBackoff {
                first: settings.reconnect_backoff,
                max: settings.reconnect_backoff_max,
            },
            idle_max: settings.connections_max_idle,
            send_buffer_bytes: settings.send_buffer_bytes,
            receive_buffer_bytes: settings.receive_buffer_bytes,
            fetch_response_bytes_max: RESPONSE_BYTES_MAX,
            security: security.clone(),
            meter: ConnectionMeter::new(settings.metrics_window()),
        }
    }
}
