//! DescribeQuorum (55): who keeps the metadata log, which is this node alone.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::Operation;
use streamledger_protocol::messages::describe_quorum::{
    Listener, Node as QuorumNode, PartitionData, PartitionQuery, ReplicaState, TopicData,
};
use streamledger_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use streamledger_protocol::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};

use super::access::Access;
use super::{Answer, Api, Call};

/// The topic that Kafka's metadata log is.
const METADATA_TOPIC: &str = "__cluster_metadata";

impl Api for DescribeQuorumRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=2;
    const ACCESS: Access = Access::Cluster(&[Operation::Describe]);

    fn refused(&self, error: ErrorCode) -> DescribeQuorumResponse {
        DescribeQuorumResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DescribeQuorumResponse> {
        let node = &call.node;
        let now = node.store.now().wall;
        let end = Offset(i64::try_from(node.controller.record_count()).unwrap_or(i64::MAX));
        let voter = ReplicaState {
            replica_id: node.id(),
            replica_directory_id: [0; 16],
            log_end_offset: end,
            last_fetch_timestamp: now,
            last_caught_up_timestamp: now,
        };
        let describe = |is_metadata: bool, query: &PartitionQuery| {
            if !is_metadata || query.partition_index != PartitionIndex(0) {
                return PartitionData {
                    partition_index: query.partition_index,
                    error_code: ErrorCode::UnknownTopicOrPartition,
                    ..Default::default()
                };
            }
            PartitionData {
                partition_index: query.partition_index,
                leader_id: node.id(),
                leader_epoch: LeaderEpoch(1),
                high_watermark: end,
                current_voters: vec![voter.clone()],
                ..Default::default()
            }
        };
        let topics = self.topics.iter().map(|topic| {
            let is_metadata = topic.topic_name.as_str() == METADATA_TOPIC;
            let partitions = topic.partitions.iter().map(|query| describe(is_metadata, query));
            TopicData { topic_name: topic.topic_name.clone(), partitions: partitions.collect() }
        });
        let endpoint = &call.connection.endpoint;
        let listener = Listener {
            name: "PLAINTEXT".to_owned(),
            host: endpoint.host.clone(),
            port: u16::try_from(endpoint.port).unwrap_or(0),
        };
        let nodes = match call.version.0 >= 2 {
            true => vec![QuorumNode { node_id: node.id(), listeners: vec![listener] }],
            false => Vec::new(),
        };
        DescribeQuorumResponse { topics: topics.collect(), nodes, ..Default::default() }.into()
    }
}
