//! DescribeConfigs (API 32, versions 1 to 4): reads settings of topics, brokers and groups.

use crate::ErrorCode;
use crate::message::Message;

/// The request of DescribeConfigs.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "4+")]
pub struct DescribeConfigsRequest {
    /// The resources.
    pub resources: Vec<DescribeConfigsResource>,
    /// Whether to include the values that are overridden.
    pub include_synonyms: bool,
    /// Whether to say what each setting does.
    #[field(versions = "3+")]
    pub include_documentation: bool,
}

/// One resource asked about.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribeConfigsResource {
    /// The kind of resource (`ConfigResource.Type`): 2 topic, 4 broker, ...
    pub resource_type: i8,
    /// The name of the resource.
    pub resource_name: String,
    /// The settings asked for; null for all.
    pub configuration_keys: Option<Vec<String>>,
}

/// The response of DescribeConfigs.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "4+")]
pub struct DescribeConfigsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// One answer for each.
    pub results: Vec<DescribeConfigsResult>,
}

/// The settings of one resource.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribeConfigsResult {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// The kind of resource (`ConfigResource.Type`): 2 topic, 4 broker, ...
    pub resource_type: i8,
    /// The name of the resource.
    pub resource_name: String,
    /// The settings.
    pub configs: Vec<DescribeConfigsResourceResult>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribeConfigsResourceResult {
    /// The setting.
    pub name: String,
    /// The value; null when it has none or is a secret.
    pub value: Option<String>,
    /// Whether the setting cannot be changed.
    pub read_only: bool,
    /// Where the value comes from (`ConfigSource`): 1 the topic, 4 the broker's file, 5 the
    /// default, ...
    #[field(default = "-1")]
    pub config_source: i8,
    /// Whether the value is a secret, and so null.
    pub is_sensitive: bool,
    /// All values the setting could have, the one in force first.
    pub synonyms: Vec<DescribeConfigsSynonym>,
    /// The type of the setting: 1 boolean, 2 string, 3 int, 5 long, 7 list, ...
    #[field(versions = "3+", ignorable)]
    pub config_type: i8,
    /// What the setting does.
    #[field(versions = "3+", ignorable)]
    pub documentation: Option<String>,
}

/// One value a setting could have.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribeConfigsSynonym {
    /// The setting that gives the value.
    pub name: String,
    /// The value; null when it has none or is a secret.
    pub value: Option<String>,
    /// Where the value comes from (`ConfigSource`).
    pub source: i8,
}
