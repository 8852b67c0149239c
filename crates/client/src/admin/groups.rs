//! Lists, describes and deletes groups, and their offsets: each asked of its own coordinator.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use streamledger_client_core::consumer::group::{MemberAssignment, MemberSubscription};
use streamledger_client_core::transaction::{CommittedOffset, CoordinatorKey};
use streamledger_protocol::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use streamledger_protocol::messages::offset_delete::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use streamledger_protocol::messages::offset_fetch::OffsetFetchRequestGroup;
use streamledger_protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, consumer_group_describe,
    describe_groups,
};
use streamledger_protocol::{
    ApiKey, ApiVersion, BrokerId, ErrorCode, GroupId, Offset, TopicName, TopicPartition,
};

use super::retry::{Learnt, outcome};
use super::{
    AdminError, GroupDescription, GroupListing, GroupMemberDescription, GroupOffsets,
    GroupPartitions, Results, Shell,
};
use crate::coordinator;
use crate::network::BrokerConnection;

/// The last versions that name topics by their names.
const COMMIT_BY_NAME: ApiVersion = ApiVersion(9);
const FETCH_BY_NAME: ApiVersion = ApiVersion(9);
/// From this version on several groups are asked about at once (KIP-709).
const FETCH_GROUPS: ApiVersion = ApiVersion(8);
/// The state in which older brokers describe a group that isn't there.
const DEAD: &str = "Dead";

type Stored = Vec<(TopicPartition, CommittedOffset)>;

impl Shell {
    /// Every broker tells of the groups that it coordinates.
    pub(super) async fn list_groups(&self) -> Result<Vec<GroupListing>, AdminError> {
        self.retry(|| self.try_list_groups()).await
    }

    async fn try_list_groups(&self) -> Result<Vec<GroupListing>, AdminError> {
        let snapshot = self.refresher.refresh([]).await?;
        let brokers: Vec<BrokerId> = snapshot.brokers().map(|broker| broker.id).collect();
        let mut groups = BTreeMap::new();
        for broker in brokers {
            let connection = self.refresher.connection_to(broker).await?;
            let request = ListGroupsRequest::default();
            let response = connection.call(&request, self.request_timeout()).await?;
            AdminError::check(response.error_code, None)?;
            groups.extend(response.groups.into_iter().map(|group| {
                let listing = GroupListing {
                    group_id: group.group_id.clone(),
                    protocol_type: group.protocol_type,
                    state: Some(group.group_state).filter(|state| !state.is_empty()),
                    group_type: Some(group.group_type).filter(|kind| !kind.is_empty()),
                };
                (group.group_id, listing)
            }));
        }
        Ok(groups.into_values().collect())
    }

    pub(super) async fn describe_groups(
        &self,
        groups: &[GroupId],
    ) -> Result<Results<GroupDescription, GroupId>, AdminError> {
        self.retry_each(groups, |open| self.each(open, |group| self.try_describe_group(group)))
            .await
    }

    /// First as a group of the next generation, then as a classic one.
    async fn try_describe_group(&self, group: GroupId) -> Result<GroupDescription, AdminError> {
        let (broker, connection) = self.coordinator_of(&group).await?;
        if connection.version_for(ApiKey::ConsumerGroupDescribe).is_some() {
            let request = ConsumerGroupDescribeRequest {
                group_ids: vec![group.clone()],
                ..ConsumerGroupDescribeRequest::default()
            };
            let response = connection.call(&request, self.request_timeout()).await?;
            let described = response.groups.into_iter().next().ok_or(AdminError::LeftOut)?;
            let is_another = matches!(
                described.error_code,
                ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion
            );
            if !is_another {
                let (code, message) = (described.error_code, described.error_message.clone());
                return outcome(code, message, of_next_generation(described, broker));
            }
        }
        let request =
            DescribeGroupsRequest { groups: vec![group], ..DescribeGroupsRequest::default() };
        let response = connection.call(&request, self.request_timeout()).await?;
        let described = response.groups.into_iter().next().ok_or(AdminError::LeftOut)?;
        // Older brokers describe a group that isn't there as a dead one.
        let code = match described.error_code {
            ErrorCode::None if described.group_state == DEAD => ErrorCode::GroupIdNotFound,
            code => code,
        };
        let message = described.error_message.clone();
        outcome(code, message, of_classic(described, broker))
    }

    pub(super) async fn delete_groups(
        &self,
        groups: &[GroupId],
    ) -> Result<Results<(), GroupId>, AdminError> {
        self.retry_each(groups, |open| self.each(open, |group| self.try_delete_group(group))).await
    }

    async fn try_delete_group(&self, group: GroupId) -> Result<(), AdminError> {
        let (_, connection) = self.coordinator_of(&group).await?;
        let request = DeleteGroupsRequest { groups_names: vec![group] };
        let response = connection.call(&request, self.request_timeout()).await?;
        let result = response.results.into_iter().next().ok_or(AdminError::LeftOut)?;
        AdminError::check(result.error_code, None)
    }

    pub(super) async fn list_group_offsets(
        &self,
        groups: &[GroupId],
    ) -> Result<Results<Stored, GroupId>, AdminError> {
        self.retry_each(groups, |open| self.each(open, |group| self.try_list_offsets(group))).await
    }

    async fn try_list_offsets(&self, group: GroupId) -> Result<Stored, AdminError> {
        let (_, connection) = self.coordinator_of(&group).await?;
        let common = connection.version_for(ApiKey::OffsetFetch);
        let version = common.map(|common| common.min(FETCH_BY_NAME));
        let is_of_groups = version >= Some(FETCH_GROUPS);
        let mut request = OffsetFetchRequest::default();
        if is_of_groups {
            let group_id = group;
            let all = OffsetFetchRequestGroup { group_id, topics: None, ..Default::default() };
            request.groups = vec![all];
        } else {
            (request.group_id, request.topics) = (group, None);
        }
        let response = connection.call_in(version, &request, self.request_timeout()).await?;
        let mut stored = Stored::new();
        let mut take = |topic: &TopicName, partition, offset: Offset, leader_epoch, metadata| {
            if offset >= Offset::ZERO {
                let at = TopicPartition::new(topic.clone(), partition);
                stored.push((at, CommittedOffset { offset, leader_epoch, metadata }));
            }
        };
        if is_of_groups {
            let group = response.groups.into_iter().next().ok_or(AdminError::LeftOut)?;
            AdminError::check(group.error_code, None)?;
            for topic in group.topics {
                for p in topic.partitions {
                    AdminError::check(p.error_code, None)?;
                    let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                    take(&topic.name, p.partition_index, offset, epoch, p.metadata);
                }
            }
        } else {
            AdminError::check(response.error_code, None)?;
            for topic in response.topics {
                for p in topic.partitions {
                    AdminError::check(p.error_code, None)?;
                    let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                    take(&topic.name, p.partition_index, offset, epoch, p.metadata);
                }
            }
        }
        stored.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(stored)
    }

    pub(super) async fn alter_group_offsets(
        &self,
        changes: &[GroupOffsets],
    ) -> Result<Results<(), GroupId>, AdminError> {
        let groups: Vec<GroupId> = changes.iter().map(|change| change.group_id.clone()).collect();
        let of = |group: &GroupId| {
            let own = changes.iter().filter(|change| change.group_id == *group);
            own.flat_map(|change| change.offsets.clone()).collect()
        };
        self.retry_each(&groups, |open| {
            self.each(open, |group| {
                let offsets: BTreeMap<TopicPartition, CommittedOffset> = of(&group);
                self.try_alter_offsets(group, offsets)
            })
        })
        .await
    }

    async fn try_alter_offsets(
        &self,
        group_id: GroupId,
        offsets: BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<(), AdminError> {
        let (_, connection) = self.coordinator_of(&group_id).await?;
        let mut topics: BTreeMap<TopicName, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (at, offset) in offsets {
            topics.entry(at.topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: at.partition,
                committed_offset: offset.offset,
                committed_leader_epoch: offset.leader_epoch,
                committed_metadata: Some(offset.metadata.unwrap_or_default()),
            });
        }
        let topics = topics.into_iter().map(|(name, partitions)| OffsetCommitRequestTopic {
            name,
            partitions,
            ..Default::default()
        });
        let request = OffsetCommitRequest {
            group_id,
            topics: topics.collect(),
            ..OffsetCommitRequest::default()
        };
        let common = connection.version_for(ApiKey::OffsetCommit);
        let version = common.map(|common| common.min(COMMIT_BY_NAME));
        let response = connection.call_in(version, &request, self.request_timeout()).await?;
        for topic in response.topics {
            for partition in topic.partitions {
                let at = TopicPartition::new(topic.name.clone(), partition.partition_index);
                AdminError::check(partition.error_code, Some(at.to_string()))?;
            }
        }
        Ok(())
    }

    pub(super) async fn delete_group_offsets(
        &self,
        changes: &[GroupPartitions],
    ) -> Result<Results<(), GroupId>, AdminError> {
        let groups: Vec<GroupId> = changes.iter().map(|change| change.group_id.clone()).collect();
        let of = |group: &GroupId| {
            let own = changes.iter().filter(|change| change.group_id == *group);
            own.flat_map(|change| change.partitions.clone()).collect()
        };
        self.retry_each(&groups, |open| {
            self.each(open, |group| {
                let partitions: BTreeSet<TopicPartition> = of(&group);
                self.try_delete_offsets(group, partitions)
            })
        })
        .await
    }

    async fn try_delete_offsets(
        &self,
        group_id: GroupId,
        partitions: BTreeSet<TopicPartition>,
    ) -> Result<(), AdminError> {
        let (_, connection) = self.coordinator_of(&group_id).await?;
        let mut topics: BTreeMap<TopicName, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for at in partitions {
            let partition = OffsetDeleteRequestPartition { partition_index: at.partition };
            topics.entry(at.topic).or_default().push(partition);
        }
        let topics = topics.into_iter();
        let topics = topics.map(|(name, partitions)| OffsetDeleteRequestTopic { name, partitions });
        let request = OffsetDeleteRequest { group_id, topics: topics.collect() };
        let response = connection.call(&request, self.request_timeout()).await?;
        AdminError::check(response.error_code, None)?;
        for topic in response.topics {
            for partition in topic.partitions {
                let at = TopicPartition::new(topic.name.clone(), partition.partition_index);
                AdminError::check(partition.error_code, Some(at.to_string()))?;
            }
        }
        Ok(())
    }

    /// Asks for one group after the other: each has a coordinator of its own.
    async fn each<T, A>(
        &self,
        groups: Vec<GroupId>,
        ask: impl Fn(GroupId) -> A,
    ) -> Result<Learnt<GroupId, T>, AdminError>
    where
        A: Future<Output = Result<T, AdminError>>,
    {
        let mut learnt = Learnt::new();
        for group in groups {
            let told = ask(group.clone()).await;
            learnt.push((group, told));
        }
        Ok(learnt)
    }

    async fn coordinator_of(
        &self,
        group: &GroupId,
    ) -> Result<(BrokerId, BrokerConnection), AdminError> {
        let key = CoordinatorKey::Group(group.clone());
        let found = coordinator::find(&self.refresher, &key, self.request_timeout()).await?;
        let refused = |code| AdminError::Refused { code, message: None, may_be_ours: false };
        let broker = found.map_err(refused)?;
        Ok((broker, self.refresher.connection_to(broker).await?))
    }
}

fn of_next_generation(
    group: consumer_group_describe::DescribedGroup,
    coordinator: BrokerId,
) -> GroupDescription {
    let partitions = |assignment: consumer_group_describe::Assignment| -> Vec<TopicPartition> {
        let topics = assignment.topic_partitions.into_iter();
        let named = topics.flat_map(|topic| {
            let name = topic.topic_name;
            topic.partitions.into_iter().map(move |index| TopicPartition::new(name.clone(), index))
        });
        named.collect()
    };
    let members = group.members.into_iter().map(|member| GroupMemberDescription {
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        rack: member.rack_id.filter(|rack| !rack.is_empty()),
        partitions: partitions(member.assignment),
    });
    GroupDescription {
        group_id: group.group_id,
        group_type: "consumer".to_owned(),
        state: group.group_state,
        assignor: group.assignor_name,
        coordinator,
        members: members.collect(),
    }
}

fn of_classic(group: describe_groups::DescribedGroup, coordinator: BrokerId) -> GroupDescription {
    let members = group.members.into_iter().map(|member| {
        // Of other kinds of groups neither of these is for us to read.
        let said = MemberSubscription::decode(member.member_metadata).unwrap_or_default();
        let assignment = MemberAssignment::decode(member.member_assignment).unwrap_or_default();
        GroupMemberDescription {
            member_id: member.member_id,
            instance_id: member.group_instance_id,
            client_id: member.client_id,
            client_host: member.client_host,
            rack: said.rack.filter(|rack| !rack.is_empty()),
            partitions: assignment.partitions,
        }
    });
    GroupDescription {
        group_id: group.group_id,
        group_type: "classic".to_owned(),
        state: group.group_state,
        assignor: group.protocol_data,
        coordinator,
        members: members.collect(),
    }
}
