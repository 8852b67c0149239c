//! What a client may do, as bits (KIP-430). Without an authorizer that is everything.

/// What is said to whoever asks about rules of access.
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
pub(super) const TOPIC_OPERATIONS: i32 = ANYWHERE | 1 << 3 | 1 << 4 | 1 << 6;

/// On the cluster: the above, cluster action and idempotent write.
pub(super) const CLUSTER_OPERATIONS: i32 = ANYWHERE | 1 << 9 | 1 << 12;

/// On a group: read, delete, describe, and its settings.
pub(super) const GROUP_OPERATIONS: i32 =
    1 << 3 | 1 << 6 | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;
