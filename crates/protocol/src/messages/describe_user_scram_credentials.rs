//! DescribeUserScramCredentials (API 50, version 0): lists which SCRAM credentials users have.

use crate::ErrorCode;
use crate::message::Message;

/// The request of DescribeUserScramCredentials.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct DescribeUserScramCredentialsRequest {
    /// The users asked about; null for all.
    pub users: Option<Vec<UserName>>,
}

/// One user asked about.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct UserName {
    /// The user.
    pub name: String,
}

/// The response of DescribeUserScramCredentials.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct DescribeUserScramCredentialsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// One answer for each.
    pub results: Vec<DescribeUserScramCredentialsResult>,
}

/// One user.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribeUserScramCredentialsResult {
    /// The user.
    pub user: String,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// The user's credentials, without their secrets.
    pub credential_infos: Vec<CredentialInfo>,
}

/// One credential, without its secret.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct CredentialInfo {
    /// 1 for SCRAM-SHA-256, 2 for SCRAM-SHA-512.
    pub mechanism: i8,
    /// The iterations of the hash.
    pub iterations: i32,
}
