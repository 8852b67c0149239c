//! AlterReplicaLogDirs (34): there is one data directory; a replica is in it, and in no other.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::Operation;
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use streamledger_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};

use super::access::Access;
use super::describe_log_dirs::absolute;
use super::{Answer, Api, Call};
use crate::node::Node;

impl Api for AlterReplicaLogDirsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 1..=2;
    const ACCESS: Access = Access::Cluster(&[Operation::Alter]);

    fn refused(&self, error: ErrorCode) -> AlterReplicaLogDirsResponse {
        answered(self, |_, _| error)
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<AlterReplicaLogDirsResponse> {
        let node: &Node = &call.node;
        let own = absolute(node.store.directory());
        let move_to = |path: &str, is_known: bool| match (path == own, is_known) {
            (false, _) => ErrorCode::LogDirNotFound,
            (true, false) => ErrorCode::UnknownTopicOrPartition,
            (true, true) if node.store.failure().is_some() => ErrorCode::KafkaStorageError,
            (true, true) => ErrorCode::None,
        };
        answered(&self, |path, (topic, index)| {
            let topic = node.topic(topic);
            move_to(path, topic.is_some_and(|topic| topic.partition(index).is_some()))
        })
        .into()
    }
}

type Asked<'a> = (&'a streamledger_protocol::TopicName, streamledger_protocol::PartitionIndex);

fn answered(
    request: &AlterReplicaLogDirsRequest,
    error: impl Fn(&str, Asked<'_>) -> ErrorCode,
) -> AlterReplicaLogDirsResponse {
    let asked = request.dirs.iter();
    let asked = asked.flat_map(|dir| dir.topics.iter().map(|topic| (dir.path.as_str(), topic)));
    let results = asked.map(|(path, topic)| {
        let partitions = topic.partitions.iter().map(|index| AlterReplicaLogDirPartitionResult {
            partition_index: *index,
            error_code: error(path, (&topic.name, *index)),
        });
        AlterReplicaLogDirTopicResult {
            topic_name: topic.name.clone(),
            partitions: partitions.collect(),
        }
    });
    AlterReplicaLogDirsResponse { results: results.collect(), ..Default::default() }
}
