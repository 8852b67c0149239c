//! OffsetCommit (8): stores a group's offsets, for members of its generation and, while it has no
//! members, for consumers with partitions of their own choice.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::group::{CommitRequest, CommitWay, Committer, NewOffset};
use streamledger_protocol::messages::offset_commit::{
    OffsetCommitRequestTopic, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use streamledger_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use streamledger_protocol::{ApiVersion, ErrorCode, TopicId, TopicName, TopicPartition};

use super::access::Access;
use super::{Answer, Api, Call, stored_offsets};
use crate::coordinator::Groups;

/// The first version that members of next-generation groups may use.
const EPOCHS_FROM: ApiVersion = ApiVersion(9);
/// The first version that names topics by id.
const IDS_FROM: ApiVersion = ApiVersion(10);

impl Api for OffsetCommitRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 2..=10;
    const ACCESS: Access = Access::Each(&[
        (Operation::Read, ResourceType::Group),
        (Operation::Read, ResourceType::Topic),
    ]);

    fn refused(&self, error: ErrorCode) -> OffsetCommitResponse {
        answered(self, |topic| Some(topic.name.clone()), |_| error)
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<OffsetCommitResponse> {
        let allowed = call.check_group(Operation::Read, &self.group_id);
        let ready = match allowed {
            Ok(()) => Groups::ensure(&call.node).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ready {
            return self.refused(error).into();
        }
        let names = names(&self, call);
        let name = |topic: &OffsetCommitRequestTopic| match call.version < IDS_FROM {
            true => Some(topic.name.clone()),
            false => names.get(&topic.topic_id).cloned(),
        };
        let mut offsets = Vec::new();
        for topic in &self.topics {
            let Some(name) = name(topic) else { continue };
            offsets.extend(topic.partitions.iter().map(|partition| NewOffset {
                topic_partition: TopicPartition::new(name.clone(), partition.partition_index),
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.clone(),
            }));
        }
        let (refused, offsets) = stored_offsets::split_refused(call, offsets);
        let request = CommitRequest {
            group: self.group_id.clone(),
            committer: Committer {
                member_id: self.member_id.clone(),
                instance_id: self.group_instance_id.clone(),
                generation: self.generation_id_or_member_epoch,
            },
            way: match call.version < EPOCHS_FROM {
                true => CommitWay::BeforeEpochs,
                false => CommitWay::Plain,
            },
            retention_ms: u64::try_from(self.retention_time_ms).ok(),
            offsets,
        };
        let reply = call.node.groups.commit(&call.node, &request, None).await;
        let answers = stored_offsets::Answers::new(&request, &reply, &refused);
        answered(&self, name, |partition| answers.of(partition)).into()
    }
}

fn names(request: &OffsetCommitRequest, call: &Call) -> BTreeMap<TopicId, TopicName> {
    call.node.controller.read(|state| {
        let ids = request.topics.iter().map(|topic| topic.topic_id);
        let named = ids.filter_map(|id| Some((id, state.topic_by_id(id)?.name.clone())));
        named.collect()
    })
}

/// The answer; a topic whose id has no name is UNKNOWN_TOPIC_ID.
fn answered(
    request: &OffsetCommitRequest,
    name: impl Fn(&OffsetCommitRequestTopic) -> Option<TopicName>,
    error: impl Fn(&TopicPartition) -> ErrorCode,
) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let known = name(topic);
        let partitions = topic.partitions.iter().map(|partition| {
            let partition_index = partition.partition_index;
            let error_code = match &known {
                Some(name) => error(&TopicPartition::new(name.clone(), partition_index)),
                None => ErrorCode::UnknownTopicId,
            };
            OffsetCommitResponsePartition { partition_index, error_code }
        });
        OffsetCommitResponseTopic {
            partitions: partitions.collect(),
            name: topic.name.clone(),
            topic_id: topic.topic_id,
        }
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}
