//! PushTelemetry (API 72, version 0): carries a client's metrics to its cluster (KIP-714).

use bytes::Bytes;

use crate::message::Message;
use crate::{ClientInstanceId, ErrorCode};

/// The request of PushTelemetry.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct PushTelemetryRequest {
    /// What the broker calls this client.
    pub client_instance_id: ClientInstanceId,
    /// What was asked for when these metrics were collected.
    pub subscription_id: i32,
    /// Whether this is the client's last push.
    pub terminating: bool,
    /// How the metrics are compressed, as in a record batch.
    pub compression_type: i8,
    /// OpenTelemetry's `MetricsData`, version 1, as protobuf; compressed.
    pub metrics: Bytes,
}

/// The response of PushTelemetry.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct PushTelemetryResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
}
