//! UpdateFeatures (API 57, versions 0 to 2): changes finalized feature levels.

use crate::ErrorCode;
use crate::message::Message;

/// The request of UpdateFeatures.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct UpdateFeaturesRequest {
    /// Milliseconds the broker may take.
    #[field(default = "60_000")]
    pub timeout_ms: i32,
    /// The changes.
    pub feature_updates: Vec<FeatureUpdateKey>,
    /// Whether to check the request and change nothing.
    #[field(versions = "1+")]
    pub validate_only: bool,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct FeatureUpdateKey {
    /// The name of the feature.
    pub feature: String,
    /// The level to go to; 0 to drop the feature.
    pub max_version_level: i16,
    /// Whether the level may go down.
    #[field(versions = "0")]
    pub allow_downgrade: bool,
    /// 1 upgrades, 2 downgrades where nothing is lost, 3 downgrades.
    #[field(versions = "1+", default = "1")]
    pub upgrade_type: i8,
}

/// The response of UpdateFeatures.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct UpdateFeaturesResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// One answer for each.
    #[field(versions = "0-1", ignorable)]
    pub results: Vec<UpdatableFeatureResult>,
}

/// What came of one feature.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct UpdatableFeatureResult {
    /// The name of the feature.
    pub feature: String,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
}
