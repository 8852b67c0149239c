//! AlterPartitionReassignments (45): there is one broker, so a partition's replicas are either
//! where they are to be, or can't be there.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::Operation;
use streamledger_protocol::messages::alter_partition_reassignments::{
    ReassignablePartition, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use streamledger_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};
use streamledger_protocol::{ErrorCode, TopicName};

use super::access::Access;
use super::{Answer, Api, Call};
use crate::node::Node;

impl Api for AlterPartitionReassignmentsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access = Access::Cluster(&[Operation::Alter]);

    fn refused(&self, error: ErrorCode) -> AlterPartitionReassignmentsResponse {
        AlterPartitionReassignmentsResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<AlterPartitionReassignmentsResponse> {
        let responses = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let (error_code, error_message) = match reassign(&call.node, &topic.name, asked) {
                    Ok(()) => (ErrorCode::None, None),
                    Err((error, message)) => (error, Some(message)),
                };
                let partition_index = asked.partition_index;
                ReassignablePartitionResponse { partition_index, error_code, error_message }
            });
            ReassignableTopicResponse { name: topic.name.clone(), partitions: partitions.collect() }
        });
        AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: self.allow_replication_factor_change,
            responses: responses.collect(),
            ..Default::default()
        }
        .into()
    }
}

fn reassign(
    node: &Node,
    topic: &TopicName,
    asked: &ReassignablePartition,
) -> Result<(), (ErrorCode, String)> {
    let known = node.topic(topic);
    let state = known.as_ref().and_then(|known| known.partition(asked.partition_index));
    let Some(state) = state else {
        let message = format!("There is no partition {topic}-{}.", asked.partition_index);
        return Err((ErrorCode::UnknownTopicOrPartition, message));
    };
    let Some(replicas) = &asked.replicas else {
        let message = "No partition reassignment is in progress.".to_owned();
        return Err((ErrorCode::NoReassignmentInProgress, message));
    };
    if *replicas == state.replicas {
        return Ok(());
    }
    let message = match replicas.iter().find(|replica| **replica != node.id()) {
        Some(stranger) => format!("Broker {stranger} is not here; this is broker {}.", node.id()),
        None => "A partition has one replica here, no more and no less.".to_owned(),
    };
    Err((ErrorCode::InvalidReplicaAssignment, message))
}
