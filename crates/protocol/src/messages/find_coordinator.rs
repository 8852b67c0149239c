//! FindCoordinator (API 10, versions 0 to 6): says which broker coordinates a group or a
//! transactional id.

use crate::message::Message;
use crate::{BrokerId, ErrorCode};

/// The request of FindCoordinator.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "3+")]
pub struct FindCoordinatorRequest {
    /// The group or transactional id asked about.
    #[field(versions = "0-3")]
    pub key: String,
    /// 0 for groups, 1 for transactional ids, 2 for share groups.
    #[field(versions = "1+")]
    pub key_type: i8,
    /// The groups or transactional ids asked about.
    #[field(versions = "4+")]
    pub coordinator_keys: Vec<String>,
}

/// The response of FindCoordinator.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "3+")]
pub struct FindCoordinatorResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    #[field(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    #[field(versions = "0-3")]
    pub error_code: ErrorCode,
    /// More about the error, in words.
    #[field(versions = "1-3", ignorable)]
    pub error_message: Option<String>,
    /// The broker.
    #[field(versions = "0-3")]
    pub node_id: BrokerId,
    /// The name or address to connect to.
    #[field(versions = "0-3")]
    pub host: String,
    /// The port.
    #[field(versions = "0-3")]
    pub port: i32,
    /// One answer for each key.
    #[field(versions = "4+")]
    pub coordinators: Vec<Coordinator>,
}

/// The coordinator of one key.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct Coordinator {
    /// The group or transactional id.
    pub key: String,
    /// The broker.
    pub node_id: BrokerId,
    /// The name or address to connect to.
    pub host: String,
    /// The port.
    pub port: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
}
