//! DescribeTopicPartitions (75): topics and their partitions page by page, in order (KIP-966).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::controller::{ClusterState, Topic, is_internal_topic};
use streamledger_protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use streamledger_protocol::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
use streamledger_protocol::{ErrorCode, PartitionIndex, TopicName};

use super::access::Access;
use super::{Answer, Api, Call, authorized};

impl Api for DescribeTopicPartitionsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access = Access::Each(&[(Operation::Describe, ResourceType::Topic)]);

    fn refused(&self, error: ErrorCode) -> DescribeTopicPartitionsResponse {
        let topics = self.topics.iter().map(|topic| refused(&topic.name, error)).collect();
        DescribeTopicPartitionsResponse { topics, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DescribeTopicPartitionsResponse> {
        let asked = usize::try_from(self.response_partition_limit).unwrap_or(0).max(1);
        let room = asked.min(call.node.settings.described_partitions_max);
        call.node.controller.read(|state| page(call, state, &self, room)).into()
    }
}

/// One page: from the cursor on, until there is no more room for partitions.
fn page(
    call: &Call,
    state: &ClusterState,
    request: &DescribeTopicPartitionsRequest,
    mut room: usize,
) -> DescribeTopicPartitionsResponse {
    let mut response = DescribeTopicPartitionsResponse::default();
    let (first, mut first_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.clone(), cursor.partition_index.0.max(0)),
        None => (TopicName::new(""), 0),
    };
    let may_see = |name: &TopicName| {
        call.allows_in(state, Operation::Describe, ResourceType::Topic, name.as_str())
    };
    let names: BTreeSet<TopicName> = if request.topics.is_empty() {
        let seen = state.topics_from(&first).filter(|topic| may_see(&topic.name));
        seen.map(|topic| topic.name.clone()).collect()
    } else {
        let asked = request.topics.iter().map(|topic| topic.name.clone());
        asked.filter(|name| *name >= first).collect()
    };
    for name in names {
        if name != first {
            first_partition = 0;
        }
        if !may_see(&name) {
            let error = ErrorCode::TopicAuthorizationFailed;
            response.topics.push(refused(&name, error));
            continue;
        }
        let Some(topic) = state.topic(name.as_str()) else {
            response.topics.push(refused(&name, not_there(&name)));
            continue;
        };
        let start = usize::try_from(first_partition).unwrap_or(0);
        let left = topic.partitions.len().saturating_sub(start);
        if room == 0 {
            response.next_cursor = Some(cursor(&name, start));
            break;
        }
        let given = left.min(room);
        let operations = authorized::topic(call, state, &topic.name);
        response.topics.push(described(topic, start, given, operations));
        room -= given;
        if given < left {
            response.next_cursor = Some(cursor(&name, start + given));
            break;
        }
    }
    response
}

fn cursor(name: &TopicName, partition: usize) -> Cursor {
    Cursor { topic_name: name.clone(), partition_index: index(partition) }
}

fn index(position: usize) -> PartitionIndex {
    PartitionIndex(i32::try_from(position).unwrap_or(i32::MAX))
}

fn not_there(name: &TopicName) -> ErrorCode {
    match name.validate() {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

fn described(
    topic: &Topic,
    start: usize,
    count: usize,
    topic_authorized_operations: i32,
) -> DescribeTopicPartitionsResponseTopic {
    let states = topic.partitions.iter().enumerate().skip(start).take(count);
    let partitions = states.map(|(position, state)| DescribeTopicPartitionsResponsePartition {
        error_code: ErrorCode::None,
        partition_index: index(position),
        leader_id: state.leader,
        leader_epoch: state.leader_epoch,
        replica_nodes: state.replicas.clone(),
        isr_nodes: state.in_sync.clone(),
        // There are no eligible leaders beside those in sync.
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: Vec::new(),
    });
    DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::None,
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: partitions.collect(),
        topic_authorized_operations,
    }
}

fn refused(name: &TopicName, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: error,
        name: Some(name.clone()),
        is_internal: is_internal_topic(name.as_str()),
        ..Default::default()
    }
}
