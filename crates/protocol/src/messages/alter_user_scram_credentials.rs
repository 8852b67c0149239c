//! AlterUserScramCredentials (API 51, version 0): sets and deletes SCRAM credentials.

use bytes::Bytes;

use crate::ErrorCode;
use crate::message::Message;

/// The request of AlterUserScramCredentials.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct AlterUserScramCredentialsRequest {
    /// The credentials to delete.
    pub deletions: Vec<ScramCredentialDeletion>,
    /// The credentials to set.
    pub upsertions: Vec<ScramCredentialUpsertion>,
}

/// One credential to delete.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ScramCredentialDeletion {
    /// The user.
    pub name: String,
    /// 1 for SCRAM-SHA-256, 2 for SCRAM-SHA-512.
    pub mechanism: i8,
}

/// One credential to set.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ScramCredentialUpsertion {
    /// The user.
    pub name: String,
    /// 1 for SCRAM-SHA-256, 2 for SCRAM-SHA-512.
    pub mechanism: i8,
    /// The iterations of the hash.
    pub iterations: i32,
    /// The salt.
    pub salt: Bytes,
    /// The salted password.
    pub salted_password: Bytes,
}

/// The response of AlterUserScramCredentials.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct AlterUserScramCredentialsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// One answer for each.
    pub results: Vec<AlterUserScramCredentialsResult>,
}

/// What came of one user.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AlterUserScramCredentialsResult {
    /// The user.
    pub user: String,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
}
