//! ElectLeaders (43): the one replica leads already, so no election is ever needed.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::Operation;
use streamledger_protocol::messages::elect_leaders::{PartitionResult, ReplicaElectionResult};
use streamledger_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use streamledger_protocol::{ErrorCode, PartitionIndex, TopicName};

use super::access::Access;
use super::{Answer, Api, Call};
use crate::node::Node;

impl Api for ElectLeadersRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=2;
    const ACCESS: Access = Access::Cluster(&[Operation::Alter]);

    fn refused(&self, error: ErrorCode) -> ElectLeadersResponse {
        ElectLeadersResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<ElectLeadersResponse> {
        // Asked about all partitions, those that need no election are left out.
        let asked = self.topic_partitions.unwrap_or_default();
        let results = asked.into_iter().map(|topic| {
            let partitions = topic.partitions.iter();
            let results = partitions.map(|index| result(&call.node, &topic.topic, *index));
            ReplicaElectionResult { partition_result: results.collect(), topic: topic.topic }
        });
        let replica_election_results = results.collect();
        ElectLeadersResponse { replica_election_results, ..Default::default() }.into()
    }
}

fn result(node: &Node, topic: &TopicName, index: PartitionIndex) -> PartitionResult {
    let (error_code, message) = match node.topic(topic) {
        None => (ErrorCode::UnknownTopicOrPartition, format!("No such topic as {topic}")),
        Some(known) if known.partition(index).is_none() => {
            (ErrorCode::UnknownTopicOrPartition, format!("No such partition as {topic}-{index}"))
        }
        Some(_) => (
            ErrorCode::ElectionNotNeeded,
            "Leader election not needed for topic partition.".to_owned(),
        ),
    };
    PartitionResult { partition_id: index, error_code, error_message: Some(message) }
}
