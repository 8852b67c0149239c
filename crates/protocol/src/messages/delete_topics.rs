//! DeleteTopics (API 20, versions 1 to 6): deletes topics.

use crate::message::Message;
use crate::{ErrorCode, TopicId, TopicName};

/// The request of DeleteTopics.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "4+")]
pub struct DeleteTopicsRequest {
    /// The topics to delete, by name or id.
    #[field(versions = "6+")]
    pub topics: Vec<DeleteTopicState>,
    /// The topics to delete, by name.
    #[field(versions = "0-5", ignorable)]
    pub topic_names: Vec<TopicName>,
    /// Milliseconds the broker may take.
    pub timeout_ms: i32,
}

/// One topic to delete.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DeleteTopicState {
    /// The topic; null when it is named by its id.
    pub name: Option<TopicName>,
    /// The topic, by its id.
    pub topic_id: TopicId,
}

/// The response of DeleteTopics.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "4+")]
pub struct DeleteTopicsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// One answer for each topic.
    pub responses: Vec<DeletableTopicResult>,
}

/// What came of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DeletableTopicResult {
    /// The topic; null when its id is not known.
    #[field(nullable = "6+", default = "Some(TopicName::default())")]
    pub name: Option<TopicName>,
    /// The topic, by its id.
    #[field(versions = "6+", ignorable)]
    pub topic_id: TopicId,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    #[field(versions = "5+", ignorable)]
    pub error_message: Option<String>,
}
