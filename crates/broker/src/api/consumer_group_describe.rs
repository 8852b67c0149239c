//! ConsumerGroupDescribe (69): next-generation groups with their members and what each has and
//! shall have.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::group::{Assigned, DescribedConsumerMember};
use streamledger_protocol::messages::consumer_group_describe::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use streamledger_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use streamledger_protocol::{ErrorCode, GroupId, PartitionIndex, TopicId};

use super::{Answer, Api, Call, authorized};

/// A member by the next-generation protocol.
const CONSUMER_MEMBER: i8 = 1;

impl Api for ConsumerGroupDescribeRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=1;

    fn refused(&self, error: ErrorCode) -> ConsumerGroupDescribeResponse {
        let refused = |group: &GroupId| DescribedGroup {
            error_code: error,
            group_id: group.clone(),
            ..Default::default()
        };
        let groups = self.group_ids.iter().map(refused).collect();
        ConsumerGroupDescribeResponse { groups, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<ConsumerGroupDescribeResponse> {
        let authorized_operations = match self.include_authorized_operations {
            true => authorized::GROUP_OPERATIONS,
            false => authorized::NOT_ASKED,
        };
        let described =
            |group: GroupId| DescribedGroup { authorized_operations, ..describe(call, group) };
        let groups = self.group_ids.into_iter().map(described).collect();
        ConsumerGroupDescribeResponse { groups, ..Default::default() }.into()
    }
}

fn describe(call: &Call, group: GroupId) -> DescribedGroup {
    let Some(described) = call.node.groups.read(|groups| groups.describe_consumer(&group)) else {
        return DescribedGroup {
            error_code: ErrorCode::GroupIdNotFound,
            error_message: Some(format!("Group {group} not found.")),
            group_id: group,
            ..Default::default()
        };
    };
    DescribedGroup {
        group_id: group,
        group_state: described.state.to_owned(),
        group_epoch: described.epoch,
        assignment_epoch: described.target_epoch,
        assignor_name: described.assignor.to_owned(),
        members: described.members.into_iter().map(|one| member(call, one)).collect(),
        ..Default::default()
    }
}

fn member(call: &Call, member: DescribedConsumerMember) -> Member {
    Member {
        member_id: member.member_id,
        instance_id: member.instance_id,
        rack_id: member.rack_id,
        member_epoch: member.epoch,
        client_id: member.client_id,
        client_host: member.client_host,
        subscribed_topic_names: member.topic_names.into_iter().collect(),
        subscribed_topic_regex: member.topic_regex,
        assignment: assignment(call, &member.assigned),
        target_assignment: assignment(call, &member.target),
        member_type: CONSUMER_MEMBER,
    }
}

fn assignment(call: &Call, assigned: &Assigned) -> Assignment {
    let mut topics: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
    for (topic, partition) in assigned {
        topics.entry(*topic).or_default().push(*partition);
    }
    let named = call.node.controller.read(|state| {
        let named = topics.into_iter().filter_map(|(topic_id, partitions)| {
            let topic_name = state.topic_by_id(topic_id)?.name.clone();
            Some(TopicPartitions { topic_id, topic_name, partitions })
        });
        named.collect()
    });
    Assignment { topic_partitions: named }
}
