//! Logs in again before the broker ends the session, on the same connection (KIP-368).
//!
//! 1. The token is there before the connection is held up.
//! 2. Requests that were queued before go first; those queued meanwhile are held, and go after, in
//!    the order of the calls. None is lost, and none is refused.
//! 3. A connection that nobody uses doesn't log in again until somebody does.

use std::sync::Arc;
use std::time::Duration;

use super::Sasl;
use crate::network::connection::{BrokerConnection, WeakConnection};
use crate::network::{Jitter, NetworkError};

/// At which part of a session's life to log in again (Kafka's `SaslClientAuthenticator`).
const PART_MIN: f64 = 0.85;
const PART_SPREAD: f64 = 0.10;

/// Keeps a connection's session alive until the connection ends.
pub(crate) async fn keep_alive(
    connection: WeakConnection,
    sasl: Arc<Sasl>,
    first_lifetime: Duration,
    timeout: Duration,
) {
    let jitter = Jitter::new();
    let mut lifetime = first_lifetime;
    loop {
        let part = PART_MIN + PART_SPREAD * jitter.chance();
        if !connection.lives_for(lifetime.mul_f64(part)).await {
            return;
        }
        match log_in_again(&connection, &sasl, timeout).await {
            Some(Ok(Some(next))) => lifetime = next,
            Some(Ok(None)) | None => return,
            Some(Err(error)) => {
                tracing::warn!(%error, "can't log in again");
                if let Some(connection) = connection.upgrade() {
                    connection.close_because(error.kind);
                }
                return;
            }
        }
    }
}

/// The next session's life; none at all if the connection has ended.
async fn log_in_again(
    connection: &WeakConnection,
    sasl: &Sasl,
    timeout: Duration,
) -> Option<Result<Option<Duration>, NetworkError>> {
    if !connection.is_wanted().await {
        return None;
    }
    let connection: BrokerConnection = connection.upgrade()?;
    let ready = match sasl.prepare(&connection).await {
        Ok(ready) => ready,
        Err(error) => return Some(Err(error)),
    };
    connection.hold();
    let result = sasl.log_in(&connection, ready, timeout).await;
    if result.is_ok() {
        connection.release();
    }
    Some(result)
}
