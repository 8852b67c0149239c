//! DescribeCluster (API 60, versions 0 to 2): describes the cluster and its brokers.

use crate::message::Message;
use crate::{BrokerId, ErrorCode};

/// The request of DescribeCluster.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct DescribeClusterRequest {
    /// Whether to say what the client may do on the cluster.
    pub include_cluster_authorized_operations: bool,
    /// 1 for brokers, 2 for controllers.
    #[field(versions = "1+", default = "1")]
    pub endpoint_type: i8,
    /// Whether to include brokers that are fenced.
    #[field(versions = "2+")]
    pub include_fenced_brokers: bool,
}

/// The response of DescribeCluster.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct DescribeClusterResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// 1 for brokers, 2 for controllers.
    #[field(versions = "1+", default = "1")]
    pub endpoint_type: i8,
    /// The id of the cluster.
    pub cluster_id: String,
    /// The controller; -1 when there is none.
    #[field(default = "BrokerId::NONE")]
    pub controller_id: BrokerId,
    /// The brokers.
    pub brokers: Vec<DescribeClusterBroker>,
    /// A bit for each operation the client may do on the cluster; `i32::MIN` when not asked for.
    #[field(default = "i32::MIN")]
    pub cluster_authorized_operations: i32,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribeClusterBroker {
    /// The broker.
    pub broker_id: BrokerId,
    /// The name or address to connect to.
    pub host: String,
    /// The port.
    pub port: i32,
    /// The rack; null when not told.
    pub rack: Option<String>,
    /// Whether the broker is fenced.
    #[field(versions = "2+")]
    pub is_fenced: bool,
}
