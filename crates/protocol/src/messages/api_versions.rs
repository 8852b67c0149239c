//! ApiVersions (API 18, versions 0 to 4): says which APIs and versions a broker has.

use crate::message::Message;
use crate::{ApiVersion, ErrorCode};

/// The request of ApiVersions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "3+")]
pub struct ApiVersionsRequest {
    /// The name of the client (KIP-511): letters, digits, `-` and `.`.
    #[field(versions = "3+", ignorable)]
    pub client_software_name: String,
    /// The version of the client (KIP-511).
    #[field(versions = "3+", ignorable)]
    pub client_software_version: String,
}

/// The response of ApiVersions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "3+")]
pub struct ApiVersionsResponse {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The APIs, with the versions the broker has of each.
    pub api_keys: Vec<ApiVersionRange>,
    /// Milliseconds the client shall wait before its next request, for a quota.
    #[field(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    /// The feature levels the broker could have (KIP-584).
    #[field(tagged = 0, versions = "3+", ignorable)]
    pub supported_features: Vec<SupportedFeatureKey>,
    /// The epoch of the finalized features; -1 when the broker knows none.
    #[field(tagged = 1, versions = "3+", default = "-1", ignorable)]
    pub finalized_features_epoch: i64,
    /// The feature levels the cluster has agreed on (KIP-584).
    #[field(tagged = 2, versions = "3+", ignorable)]
    pub finalized_features: Vec<FinalizedFeatureKey>,
    /// Whether the controller is ready to migrate from ZooKeeper.
    #[field(tagged = 3, versions = "3+", ignorable)]
    pub zk_migration_ready: bool,
}

/// The versions of one API.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ApiVersionRange {
    /// The number of the API.
    pub api_key: i16,
    /// The lowest version.
    pub min_version: ApiVersion,
    /// The highest version.
    pub max_version: ApiVersion,
}

/// The levels a feature could have.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct SupportedFeatureKey {
    /// The feature.
    pub name: String,
    /// The lowest level.
    pub min_version: i16,
    /// The highest level.
    pub max_version: i16,
}

/// The levels a feature has.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct FinalizedFeatureKey {
    /// The feature.
    pub name: String,
    /// The highest level agreed on.
    pub max_version_level: i16,
    /// The lowest level agreed on.
    pub min_version_level: i16,
}
