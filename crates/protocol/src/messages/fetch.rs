//! Fetch (API 1, versions 4 to 18): reads record batches from partitions.

use crate::message::Message;
use crate::wire::Records;
use crate::{
    BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, ProducerId, TopicId, TopicName,
};

/// The request of Fetch.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "12+")]
pub struct FetchRequest {
    /// The cluster meant; used between controllers.
    #[field(tagged = 0, versions = "12+", ignorable)]
    pub cluster_id: Option<String>,
    /// The follower that asks; -1 for a client.
    #[field(versions = "0-14", default = "BrokerId::NONE")]
    pub replica_id: BrokerId,
    /// The follower that asks.
    #[field(tagged = 1, versions = "15+")]
    pub replica_state: ReplicaState,
    /// The most milliseconds to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// The bytes to wait for.
    pub min_bytes: i32,
    /// About the most bytes to send in all; the first batch is sent even if it is bigger (KIP-74).
    #[field(default = "i32::MAX")]
    pub max_bytes: i32,
    /// 0 reads uncommitted records too, 1 only committed ones.
    pub isolation_level: i8,
    /// The fetch session; 0 without one (KIP-227).
    #[field(versions = "7+", ignorable)]
    pub session_id: i32,
    /// The epoch of the fetch session; -1 without one, 0 to begin one (KIP-227).
    #[field(versions = "7+", default = "-1", ignorable)]
    pub session_epoch: i32,
    /// The topics.
    pub topics: Vec<FetchTopic>,
    /// Partitions to drop from the fetch session.
    #[field(versions = "7+")]
    pub forgotten_topics_data: Vec<ForgottenTopic>,
    /// The consumer's rack; empty when not told.
    #[field(versions = "11+", ignorable)]
    pub rack_id: String,
}

/// A follower.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ReplicaState {
    /// The follower that asks; -1 for a client.
    #[field(default = "BrokerId::NONE")]
    pub replica_id: BrokerId,
    /// The epoch of the follower's broker; -1 when not known.
    #[field(default = "-1")]
    pub replica_epoch: i64,
}

/// The partitions of one topic to read.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct FetchTopic {
    /// The topic.
    #[field(versions = "0-12", ignorable)]
    pub topic: TopicName,
    /// The topic, by its id.
    #[field(versions = "13+", ignorable)]
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<FetchPartition>,
}

/// One partition to read.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct FetchPartition {
    /// The partition.
    pub partition: PartitionIndex,
    /// The leader epoch the client knows; -1 when it knows none.
    #[field(versions = "9+", default = "LeaderEpoch::NONE", ignorable)]
    pub current_leader_epoch: LeaderEpoch,
    /// The offset of the first record wanted.
    pub fetch_offset: Offset,
    /// The leader epoch of the follower's last record; -1 when it has none.
    #[field(versions = "12+", default = "LeaderEpoch::NONE")]
    pub last_fetched_epoch: LeaderEpoch,
    /// The first offset the follower still has; -1 from a consumer.
    #[field(versions = "5+", default = "Offset::NONE", ignorable)]
    pub log_start_offset: Offset,
    /// About the most bytes to send of this partition.
    pub partition_max_bytes: i32,
    /// The id of the log directory that holds the replica; zero when not known.
    #[field(tagged = 0, versions = "17+", ignorable)]
    pub replica_directory_id: [u8; 16],
    /// The high watermark the follower knows; `i64::MAX` when it knows none (KIP-1166).
    #[field(tagged = 1, versions = "18+", default = "Offset(i64::MAX)", ignorable)]
    pub high_watermark: Offset,
}

/// Partitions to drop from the fetch session.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ForgottenTopic {
    /// The topic.
    #[field(versions = "7-12", ignorable)]
    pub topic: TopicName,
    /// The topic, by its id.
    #[field(versions = "13+", ignorable)]
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// The response of Fetch.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "12+")]
pub struct FetchResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    #[field(versions = "7+", ignorable)]
    pub error_code: ErrorCode,
    /// The fetch session; 0 without one (KIP-227).
    #[field(versions = "7+")]
    pub session_id: i32,
    /// One answer for each topic.
    pub responses: Vec<FetchableTopicResponse>,
    /// Where to reach the leaders named in the partitions (KIP-951).
    #[field(tagged = 0, versions = "16+")]
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// What was read of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct FetchableTopicResponse {
    /// The topic.
    #[field(versions = "0-12", ignorable)]
    pub topic: TopicName,
    /// The topic, by its id.
    #[field(versions = "13+", ignorable)]
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<PartitionData>,
}

/// What was read of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct PartitionData {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The offset after the last record that all replicas in sync have.
    pub high_watermark: Offset,
    /// Every transaction before this offset is decided; -1 when not known.
    #[field(default = "Offset::NONE")]
    pub last_stable_offset: Offset,
    /// The first offset the partition still has; -1 when not known.
    #[field(versions = "5+", default = "Offset::NONE", ignorable)]
    pub log_start_offset: Offset,
    /// Where the follower's log must be cut, if it diverges (KIP-595).
    #[field(tagged = 0, versions = "12+")]
    pub diverging_epoch: EpochEndOffset,
    /// Who leads now, when the broker asked does not (KIP-951).
    #[field(tagged = 1, versions = "12+")]
    pub current_leader: LeaderIdAndEpoch,
    /// The snapshot to fetch instead, between controllers.
    #[field(tagged = 2, versions = "12+")]
    pub snapshot_id: SnapshotId,
    /// The aborted transactions among the records, by first offset; null when uncommitted is read.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// The replica to read from instead; -1 for none (KIP-392).
    #[field(versions = "11+", default = "BrokerId::NONE")]
    pub preferred_read_replica: BrokerId,
    /// Record batches; the last may be cut off.
    pub records: Option<Records>,
}

/// Where a leader epoch ends.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct EpochEndOffset {
    /// The leader epoch; -1 when not known.
    #[field(default = "LeaderEpoch::NONE")]
    pub epoch: LeaderEpoch,
    /// The offset after the epoch's last record; -1 when not known.
    #[field(default = "Offset::NONE")]
    pub end_offset: Offset,
}

/// A leader and the epoch it leads in.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct LeaderIdAndEpoch {
    /// The leader; -1 when there is none.
    #[field(default = "BrokerId::NONE")]
    pub leader_id: BrokerId,
    /// The leader epoch; -1 when not known.
    #[field(default = "LeaderEpoch::NONE")]
    pub leader_epoch: LeaderEpoch,
}

/// A snapshot of the metadata log.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct SnapshotId {
    /// The offset after the snapshot's last record; -1 for no snapshot.
    #[field(default = "Offset::NONE")]
    pub end_offset: Offset,
    /// The leader epoch; -1 when not known.
    #[field(default = "LeaderEpoch::NONE")]
    pub epoch: LeaderEpoch,
}

/// An aborted transaction.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AbortedTransaction {
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The offset of its first record.
    pub first_offset: Offset,
}

/// Where to reach a broker.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct NodeEndpoint {
    /// The broker.
    pub node_id: BrokerId,
    /// The name or address to connect to.
    pub host: String,
    /// The port.
    pub port: i32,
    /// The rack; null when not told.
    pub rack: Option<String>,
}
