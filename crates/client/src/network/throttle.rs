//! Which responses ask the client to be quiet for a while, and from which version on that is its
//! job.

use streamledger_protocol::ApiVersion;
use streamledger_protocol::message::Response;
use streamledger_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, ApiVersionsResponse,
    ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatResponse, CreatePartitionsResponse,
    CreateTopicsResponse, DeleteGroupsResponse, DeleteTopicsResponse, DescribeClusterResponse,
    DescribeConfigsResponse, DescribeGroupsResponse, DescribeProducersResponse,
    DescribeTopicPartitionsResponse, DescribeTransactionsResponse, EndTxnResponse, FetchResponse,
    FindCoordinatorResponse, GetTelemetrySubscriptionsResponse, HeartbeatResponse,
    InitProducerIdResponse, JoinGroupResponse, LeaveGroupResponse, ListGroupsResponse,
    ListOffsetsResponse, ListTransactionsResponse, MetadataResponse, OffsetCommitResponse,
    OffsetDeleteResponse, OffsetFetchResponse, OffsetForLeaderEpochResponse, ProduceResponse,
    PushTelemetryResponse, SyncGroupResponse, TxnOffsetCommitResponse, WriteTxnMarkersResponse,
};

/// A response that may say for how long the client shall send nothing (KIP-219).
pub(crate) trait Throttled: Response {
    /// Milliseconds; 0 where the broker has already made the client wait by answering late.
    fn throttle_ms(&self, version: ApiVersion) -> i32;
}

/// Each with the version from which on the broker answers first and the client waits after
/// (`AbstractResponse.shouldClientThrottle`).
macro_rules! throttled {
    ($($response:ty: $since:literal,)*) => {$(
        impl Throttled for $response {
            fn throttle_ms(&self, version: ApiVersion) -> i32 {
                if version.0 >= $since { self.throttle_time_ms } else { 0 }
            }
        }
    )*};
}

throttled! {
    ListTransactionsResponse: 0,
    DescribeTransactionsResponse: 0,
    DescribeProducersResponse: 0,
    ProduceResponse: 6,
    FetchResponse: 8,
    ListOffsetsResponse: 3,
    MetadataResponse: 6,
    ApiVersionsResponse: 2,
    CreateTopicsResponse: 3,
    DeleteTopicsResponse: 2,
    InitProducerIdResponse: 1,
    FindCoordinatorResponse: 2,
    AddPartitionsToTxnResponse: 1,
    AddOffsetsToTxnResponse: 1,
    TxnOffsetCommitResponse: 1,
    EndTxnResponse: 1,
    OffsetFetchResponse: 4,
    OffsetForLeaderEpochResponse: 0,
    DescribeConfigsResponse: 2,
    CreatePartitionsResponse: 1,
    DescribeClusterResponse: 0,
    DescribeTopicPartitionsResponse: 0,
    GetTelemetrySubscriptionsResponse: 0,
    PushTelemetryResponse: 0,
    JoinGroupResponse: 3,
    SyncGroupResponse: 2,
    HeartbeatResponse: 2,
    LeaveGroupResponse: 2,
    ConsumerGroupHeartbeatResponse: 0,
    OffsetCommitResponse: 4,
    OffsetDeleteResponse: 0,
    ListGroupsResponse: 2,
    DescribeGroupsResponse: 2,
    ConsumerGroupDescribeResponse: 0,
    DeleteGroupsResponse: 1,
}

/// Made for brokers among each other: it says nothing of it.
impl Throttled for WriteTxnMarkersResponse {
    fn throttle_ms(&self, _: ApiVersion) -> i32 {
        0
    }
}
