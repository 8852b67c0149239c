//! OffsetFetch (9): reads what groups have stored. Up to version 7 one group, from 8 on several,
//! from 10 on topics by their ids. Who asks is of no matter in a classic group, as in Kafka; a
//! member of a next-generation group must be of its epoch.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::group::FetchedOffset;
use streamledger_protocol::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use streamledger_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use streamledger_protocol::{
    ApiVersion, ErrorCode, GroupId, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicName,
    TopicPartition,
};

use super::access::Access;
use super::{Answer, Api, Call};

/// The first version with a place for an error of all.
const ERROR_OF_ALL_FROM: ApiVersion = ApiVersion(2);
/// The first version for several groups (KIP-709).
const SEVERAL_FROM: ApiVersion = ApiVersion(8);
/// The first version that names topics by id.
const IDS_FROM: ApiVersion = ApiVersion(10);

impl Api for OffsetFetchRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 1..=10;
    const ACCESS: Access = Access::Each(&[
        (Operation::Describe, ResourceType::Group),
        (Operation::Describe, ResourceType::Topic),
    ]);

    fn refused(&self, error: ErrorCode) -> OffsetFetchResponse {
        let refuse = |group: &OffsetFetchRequestGroup| OffsetFetchResponseGroup {
            group_id: group.group_id.clone(),
            error_code: error,
            ..Default::default()
        };
        OffsetFetchResponse {
            error_code: error,
            groups: self.groups.iter().map(refuse).collect(),
            ..Default::default()
        }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<OffsetFetchResponse> {
        if call.version >= SEVERAL_FROM {
            let mut response = OffsetFetchResponse::default();
            for group in self.groups {
                response.groups.push(fetch_group(call, group, self.require_stable).await);
            }
            return response.into();
        }
        let asked = self.topics.map(|topics| {
            let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..Default::default()
            });
            topics.collect()
        });
        let group = OffsetFetchRequestGroup {
            group_id: self.group_id,
            member_id: None,
            member_epoch: -1,
            topics: asked,
        };
        let asked = group.topics.clone().filter(|_| call.version < ERROR_OF_ALL_FROM);
        let mut fetched = fetch_group(call, group, self.require_stable).await;
        if fetched.error_code != ErrorCode::None {
            let each = |topic| refused_topic(topic, fetched.error_code);
            fetched.topics = asked.into_iter().flatten().map(each).collect();
        }
        alone(fetched).into()
    }
}

/// An error of all where only partitions have a place for it.
fn refused_topic(topic: OffsetFetchRequestTopics, error: ErrorCode) -> OffsetFetchResponseTopics {
    OffsetFetchResponseTopics {
        partitions: topic.partition_indexes.iter().map(|index| nothing(*index, error)).collect(),
        name: topic.name,
        topic_id: topic.topic_id,
    }
}

/// The form of versions before several groups could be asked for.
fn alone(group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let partition = |one: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: one.partition_index,
        committed_offset: one.committed_offset,
        committed_leader_epoch: one.committed_leader_epoch,
        metadata: one.metadata,
        error_code: one.error_code,
    };
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    });
    OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..Default::default()
    }
}

async fn fetch_group(
    call: &Call,
    group: OffsetFetchRequestGroup,
    requires_stable: bool,
) -> OffsetFetchResponseGroup {
    let OffsetFetchRequestGroup { group_id, member_id, member_epoch, topics } = group;
    let refused = |group_id: GroupId, error_code| OffsetFetchResponseGroup {
        group_id,
        error_code,
        ..Default::default()
    };
    let asks = member_id.as_deref();
    let groups = &call.node.groups;
    let allowed = call.check_group(Operation::Describe, &group_id);
    let check = |()| groups.read(|all| all.check_fetch(&group_id, asks, member_epoch));
    if let Err(error) = allowed.and_then(check) {
        return refused(group_id, error);
    }
    let asks_all = topics.is_none();
    let (asked, unknown) = match topics {
        None => (None, Vec::new()),
        Some(topics) => {
            let (asked, unknown) = named(call, topics);
            (Some(asked), unknown)
        }
    };
    let fetched = groups.fetch(&call.node, &group_id, asked.as_deref(), requires_stable).await;
    match fetched {
        Err(error) => refused(group_id, error),
        Ok(fetched) => {
            let mut topics = by_topic(call, fetched);
            if asks_all {
                topics.retain(|topic| call.allows_topic(Operation::Describe, &topic.name));
            }
            topics.extend(unknown);
            OffsetFetchResponseGroup { group_id, topics, error_code: ErrorCode::None }
        }
    }
}

/// The partitions asked for, by name; and what is answered for topics whose ids nobody has, or that
/// who calls may not see.
fn named(
    call: &Call,
    topics: Vec<OffsetFetchRequestTopics>,
) -> (Vec<TopicPartition>, Vec<OffsetFetchResponseTopics>) {
    let (mut asked, mut unknown) = (Vec::new(), Vec::new());
    for topic in topics {
        let name = match call.version < IDS_FROM {
            true => Some(topic.name),
            false => call
                .node
                .controller
                .read(|state| state.topic_by_id(topic.topic_id).map(|known| known.name.clone())),
        };
        let indexes = topic.partition_indexes.into_iter();
        match name {
            Some(name) if !call.allows_topic(Operation::Describe, &name) => {
                let error = ErrorCode::TopicAuthorizationFailed;
                unknown.push(OffsetFetchResponseTopics {
                    topic_id: topic.topic_id,
                    partitions: indexes.map(|index| nothing(index, error)).collect(),
                    name,
                });
            }
            Some(name) => {
                asked.extend(indexes.map(|index| TopicPartition::new(name.clone(), index)));
            }
            None => unknown.push(OffsetFetchResponseTopics {
                topic_id: topic.topic_id,
                partitions: indexes
                    .map(|index| nothing(index, ErrorCode::UnknownTopicId))
                    .collect(),
                ..Default::default()
            }),
        }
    }
    (asked, unknown)
}

fn by_topic(call: &Call, fetched: Vec<FetchedOffset>) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: BTreeMap<TopicName, Vec<OffsetFetchResponsePartitions>> = BTreeMap::new();
    for one in fetched {
        let partitions = topics.entry(one.topic_partition.topic.clone()).or_default();
        partitions.push(told(one));
    }
    let topic = |(name, partitions): (TopicName, _)| {
        let known = call.node.topic(&name);
        let topic_id = known.map_or(TopicId::ZERO, |topic| topic.id);
        OffsetFetchResponseTopics { name, topic_id, partitions }
    };
    topics.into_iter().map(topic).collect()
}

fn told(fetched: FetchedOffset) -> OffsetFetchResponsePartitions {
    let index = fetched.topic_partition.partition;
    if fetched.is_unstable {
        return nothing(index, ErrorCode::UnstableOffsetCommit);
    }
    match fetched.committed {
        None => nothing(index, ErrorCode::None),
        Some(committed) => OffsetFetchResponsePartitions {
            partition_index: index,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            metadata: Some(committed.metadata),
            error_code: ErrorCode::None,
        },
    }
}

fn nothing(
    partition_index: PartitionIndex,
    error_code: ErrorCode,
) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: Offset::NONE,
        committed_leader_epoch: LeaderEpoch::NONE,
        metadata: Some(String::new()),
        error_code,
    }
}
