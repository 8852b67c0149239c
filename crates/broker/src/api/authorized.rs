//! What a client may do with a topic, a group or the cluster, as bits (KIP-430).

use streamledger_broker_core::authorizer::{CLUSTER, Operation, ResourceType};
use streamledger_broker_core::controller::ClusterState;
use streamledger_protocol::{GroupId, TopicName};

use super::Call;

/// What is said to whoever asks about rules of access where nobody follows them.
pub(super) const NO_AUTHORIZER: &str = "No Authorizer is configured.";
/// The answer when it wasn't asked for.
pub(super) const NOT_ASKED: i32 = i32::MIN;

const CREATE: i32 = 1 << 5;
const ALTER: i32 = 1 << 7;
const DESCRIBE: i32 = 1 << 8;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
const ALTER_CONFIGS: i32 = 1 << 11;
const ANYWHERE: i32 = CREATE | ALTER | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;

/// On a topic (Kafka's `AclEntry.supportedOperations`): the above, read, write and delete.
const TOPIC_OPERATIONS: i32 = ANYWHERE | 1 << 3 | 1 << 4 | 1 << 6;
/// On the cluster: the above, cluster action and idempotent write.
const CLUSTER_OPERATIONS: i32 = ANYWHERE | 1 << 9 | 1 << 12;
/// On a group: read, delete, describe, and its settings.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;

/// What who calls may do with a topic.
pub(super) fn topic(call: &Call, state: &ClusterState, name: &TopicName) -> i32 {
    call.allowed_bits_in(state, TOPIC_OPERATIONS, ResourceType::Topic, name.as_str())
}

/// What who calls may do with a group.
pub(super) fn group(call: &Call, name: &GroupId) -> i32 {
    let read = |state: &ClusterState| {
        call.allowed_bits_in(state, GROUP_OPERATIONS, ResourceType::Group, name.as_str())
    };
    call.node.controller.read(read)
}

/// What who calls may do with the cluster: nothing is told to who may not describe it.
pub(super) fn cluster(call: &Call, state: &ClusterState) -> i32 {
    let of = CLUSTER_OPERATIONS;
    let bits = call.allowed_bits_in(state, of, ResourceType::Cluster, CLUSTER);
    if bits & (1 << Operation::Describe.code()) == 0 { 0 } else { bits }
}
