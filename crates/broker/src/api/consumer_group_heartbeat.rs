//! ConsumerGroupHeartbeat (68): joins, stays in and leaves a next-generation group (KIP-848). In
//! version 0 the broker makes the member's id; patterns are from version 1 on.
//!
//! Not here: members of one group by both protocols at a time; a group changes its protocol while
//! it is empty.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::controller::ClusterState;
use streamledger_broker_core::group::{Assigned, ConsumerHeartbeat, HeartbeatRefusal};
use streamledger_protocol::messages::consumer_group_heartbeat::{Assignment, TopicPartitions};
use streamledger_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use streamledger_protocol::{ApiVersion, ErrorCode, PartitionIndex, TopicId, TopicName};

use super::access::Access;
use super::group_member::{client_host, client_id, fresh_member_id};
use super::{Answer, Api, Call};
use crate::coordinator::Groups;

/// The first version whose clients make their ids themselves (KIP-1082).
const OWN_IDS_FROM: ApiVersion = ApiVersion(1);

impl Api for ConsumerGroupHeartbeatRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access = Access::Each(&[
        (Operation::Read, ResourceType::Group),
        (Operation::Describe, ResourceType::Topic),
    ]);

    fn refused(&self, error: ErrorCode) -> ConsumerGroupHeartbeatResponse {
        ConsumerGroupHeartbeatResponse { error_code: error, ..Default::default() }
    }

    async fn handle(mut self, call: &Arc<Call>) -> Answer<ConsumerGroupHeartbeatResponse> {
        if let Err(error) = admit(&self, call).await {
            return self.refused(error).into();
        }
        let client_id = client_id(call);
        let makes_id = call.version < OWN_IDS_FROM && self.member_epoch == 0;
        if self.member_id.is_empty() && makes_id {
            let prefix = self.instance_id.as_ref().unwrap_or(&client_id);
            self.member_id = fresh_member_id(prefix);
        }
        let may_see = |state: &ClusterState, topic: &TopicName| {
            call.allows_in(state, Operation::Describe, ResourceType::Topic, topic.as_str())
        };
        let request = heartbeat(self, client_id, client_host(call));
        let member_id = request.member_id.clone();
        match call.node.groups.consumer_heartbeat(&call.node, &request, &may_see).await {
            Ok(reply) => ConsumerGroupHeartbeatResponse {
                member_id: Some(member_id),
                member_epoch: reply.member_epoch,
                heartbeat_interval_ms: call.node.heartbeat_interval_ms(&request.group),
                assignment: reply.assigned.as_ref().map(assignment),
                ..Default::default()
            },
            Err(HeartbeatRefusal { error, message }) => ConsumerGroupHeartbeatResponse {
                error_code: error,
                error_message: Some(message),
                ..Default::default()
            },
        }
        .into()
    }
}

/// That who calls may read in the group, and see the topics it names.
async fn admit(request: &ConsumerGroupHeartbeatRequest, call: &Call) -> Result<(), ErrorCode> {
    call.check_group(Operation::Read, &request.group_id)?;
    let mut named = request.subscribed_topic_names.iter().flatten();
    if !named.all(|topic| call.allows_topic(Operation::Describe, topic)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    Groups::ensure(&call.node).await
}

fn heartbeat(
    request: ConsumerGroupHeartbeatRequest,
    client_id: String,
    client_host: String,
) -> ConsumerHeartbeat {
    let owned = |topics: Vec<TopicPartitions>| -> Assigned {
        let of_topic = |topic: TopicPartitions| {
            topic.partitions.into_iter().map(move |partition| (topic.topic_id, partition))
        };
        topics.into_iter().flat_map(of_topic).collect()
    };
    ConsumerHeartbeat {
        group: request.group_id,
        member_id: request.member_id,
        member_epoch: request.member_epoch,
        instance_id: request.instance_id,
        rack_id: request.rack_id,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topic_names: request.subscribed_topic_names.map(|names| names.into_iter().collect()),
        topic_regex: request.subscribed_topic_regex,
        assignor: request.server_assignor,
        owned: request.topic_partitions.map(owned),
        client_id,
        client_host,
    }
}

fn assignment(assigned: &Assigned) -> Assignment {
    let mut topics: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
    for (topic, partition) in assigned {
        topics.entry(*topic).or_default().push(*partition);
    }
    let topics = topics.into_iter();
    let topics = topics.map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions });
    Assignment { topic_partitions: topics.collect() }
}
