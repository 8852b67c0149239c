//! ConsumerGroupDescribe (69): next-generation groups with their members and what each has and
//! shall have.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::group::{Assigned, DescribedConsumerMember};
use streamledger_protocol::messages::consumer_group_describe::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use streamledger_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use streamledger_protocol::{ErrorCode, GroupId, PartitionIndex, TopicId, TopicName};

use super::access::Access;
use super::{Answer, Api, Call, authorized};

/// A member by the classic protocol, while a group is upgraded or downgraded.
const CLASSIC_MEMBER: i8 = 0;
/// A member by the next-generation protocol.
const CONSUMER_MEMBER: i8 = 1;

impl Api for ConsumerGroupDescribeRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access = Access::Each(&[
        (Operation::Describe, ResourceType::Group),
        (Operation::Describe, ResourceType::Topic),
    ]);

    fn refused(&self, error: ErrorCode) -> ConsumerGroupDescribeResponse {
        let groups = self.group_ids.iter().map(|group| refused(group, error)).collect();
        ConsumerGroupDescribeResponse { groups, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<ConsumerGroupDescribeResponse> {
        let with_operations = self.include_authorized_operations;
        let described = |group: GroupId| {
            if let Err(error) = call.check_group(Operation::Describe, &group) {
                return refused(&group, error);
            }
            let authorized_operations = match with_operations {
                true => authorized::group(call, &group),
                false => authorized::NOT_ASKED,
            };
            let described = without_unseen_topics(call, describe(call, group));
            DescribedGroup { authorized_operations, ..described }
        };
        let groups = self.group_ids.into_iter().map(described).collect();
        ConsumerGroupDescribeResponse { groups, ..Default::default() }.into()
    }
}

fn refused(group: &GroupId, error_code: ErrorCode) -> DescribedGroup {
    DescribedGroup { error_code, group_id: group.clone(), ..Default::default() }
}

/// A group with members at topics that who calls may not see is not described at all.
fn without_unseen_topics(call: &Call, described: DescribedGroup) -> DescribedGroup {
    let names = described.members.iter().flat_map(|member| {
        let assigned = [&member.assignment, &member.target_assignment].into_iter();
        let assigned = assigned.flat_map(|assigned| &assigned.topic_partitions);
        let assigned = assigned.map(|topic| &topic.topic_name);
        member.subscribed_topic_names.iter().chain(assigned)
    });
    let names: BTreeSet<&TopicName> = names.collect();
    if names.into_iter().all(|name| call.allows_topic(Operation::Describe, name)) {
        return described;
    }
    let message = "The group has described topic(s) that the client is not authorized to describe.";
    DescribedGroup {
        error_message: Some(message.to_owned()),
        ..refused(&described.group_id, ErrorCode::TopicAuthorizationFailed)
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
        member_type: if member.is_classic { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
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
