//! DescribeLogDirs (API 35, versions 1 to 5): describes log directories and what is in them.

use crate::message::Message;
use crate::{ErrorCode, PartitionIndex, TopicName};

/// The request of DescribeLogDirs.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct DescribeLogDirsRequest {
    /// The topics asked about; null for all.
    pub topics: Option<Vec<DescribableLogDirTopic>>,
}

/// One topic asked about.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribableLogDirTopic {
    /// The topic.
    pub topic: TopicName,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// The response of DescribeLogDirs.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct DescribeLogDirsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    #[field(versions = "3+", ignorable)]
    pub error_code: ErrorCode,
    /// One answer for each.
    pub results: Vec<DescribeLogDirsResult>,
}

/// One directory.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribeLogDirsResult {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The path of the directory.
    pub log_dir: String,
    /// The topics.
    pub topics: Vec<DescribeLogDirsTopic>,
    /// The bytes of the volume; -1 when not known.
    #[field(versions = "4+", default = "-1", ignorable)]
    pub total_bytes: i64,
    /// The bytes still free on the volume; -1 when not known.
    #[field(versions = "4+", default = "-1", ignorable)]
    pub usable_bytes: i64,
    /// Whether the directory takes no new partitions (KIP-1066).
    #[field(versions = "5+", ignorable)]
    pub is_cordoned: bool,
}

/// What the directory has of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribeLogDirsTopic {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<DescribeLogDirsPartition>,
}

/// What the directory has of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribeLogDirsPartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The bytes of its segments.
    pub partition_size: i64,
    /// How many records the copy is behind.
    pub offset_lag: i64,
    /// Whether this is the copy that will replace the present one.
    pub is_future_key: bool,
}
