//! GetTelemetrySubscriptions (API 71, version 0): asks which metrics the cluster wants (KIP-714).

use crate::message::Message;
use crate::{ClientInstanceId, ErrorCode};

/// The request of GetTelemetrySubscriptions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct GetTelemetrySubscriptionsRequest {
    /// What the broker called this client before; zero with the first request.
    pub client_instance_id: ClientInstanceId,
}

/// The response of GetTelemetrySubscriptions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct GetTelemetrySubscriptionsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// What the broker calls this client from now on.
    pub client_instance_id: ClientInstanceId,
    /// Names what is asked for: another number, something else.
    pub subscription_id: i32,
    /// The codecs a push may have, by their numbers in record batches, the preferred first.
    pub accepted_compression_types: Vec<i8>,
    /// Milliseconds between pushes.
    pub push_interval_ms: i32,
    /// The most bytes a push may have, compressed.
    pub telemetry_max_bytes: i32,
    /// Whether counters are to be pushed as what they grew by; else as their sums.
    pub delta_temporality: bool,
    /// How the names of the metrics asked for begin: none of them if there is none, all if the
    /// only one is empty.
    pub requested_metrics: Vec<String>,
}
