//! The APIs whose messages are known here, with their versions.

use std::fmt;
use std::ops::RangeInclusive;

use crate::ApiVersion;

/// Writes the enum and its look-ups from one table: API, number, versions, the first flexible
/// version (KIP-482), what the API does.
macro_rules! apis {
    ($($api:ident = $code:literal, $versions:expr, $flexible:expr, $does:literal;)*) => {
        /// An API of Kafka, by the number its requests carry.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ApiKey {
            $(
                #[doc = $does]
                $api = $code,
            )*
        }

        impl ApiKey {
            /// All of them, by their number.
            pub const ALL: &'static [Self] = &[$(Self::$api,)*];

            /// The API of a number in a request; nothing for one that is not known here.
            #[must_use]
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$api),)*
                    _ => None,
                }
            }

            /// The name in Kafka's protocol documentation.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$api => stringify!($api),)*
                }
            }

            /// The versions whose messages are known here: Kafka 4.3's stable ones.
            ///
            /// What a broker advertises is its own matter (and may be more, see KAFKA-18659).
            #[must_use]
            pub const fn valid_versions(self) -> RangeInclusive<i16> {
                match self {
                    $(Self::$api => $versions,)*
                }
            }

            const fn first_flexible_version(self) -> Option<i16> {
                match self {
                    $(Self::$api => $flexible,)*
                }
            }
        }
    };
}

apis! {
    Produce = 0, 3..=13, Some(9), "Appends record batches to partitions.";
    Fetch = 1, 4..=18, Some(12), "Reads record batches from partitions.";
    ListOffsets = 2, 1..=11, Some(6), "Finds the offset at a timestamp, or at either end.";
    Metadata = 3, 0..=13, Some(9), "Says which brokers, topics and leaders there are.";
    OffsetCommit = 8, 2..=10, Some(8), "Stores a group's offsets.";
    OffsetFetch = 9, 1..=10, Some(6), "Reads a group's stored offsets.";
    FindCoordinator = 10, 0..=6, Some(3),
        "Says which broker coordinates a group or a transactional id.";
    JoinGroup = 11, 0..=9, Some(6), "Enters a classic consumer group.";
    Heartbeat = 12, 0..=4, Some(4), "Keeps a member in a classic consumer group.";
    LeaveGroup = 13, 0..=5, Some(4), "Leaves a classic consumer group.";
    SyncGroup = 14, 0..=5, Some(4), "Hands out the assignment of a classic consumer group.";
    DescribeGroups = 15, 0..=6, Some(5), "Describes classic consumer groups.";
    ListGroups = 16, 0..=5, Some(3), "Lists the groups a broker coordinates.";
    SaslHandshake = 17, 0..=1, None, "Chooses a SASL mechanism.";
    ApiVersions = 18, 0..=4, Some(3), "Says which APIs and versions a broker has.";
    CreateTopics = 19, 2..=7, Some(5), "Creates topics.";
    DeleteTopics = 20, 1..=6, Some(4), "Deletes topics.";
    DeleteRecords = 21, 0..=2, Some(2), "Moves the start of partitions up.";
    InitProducerId = 22, 0..=5, Some(2),
        "Gives an idempotent or transactional producer its id and epoch.";
    OffsetForLeaderEpoch = 23, 2..=4, Some(4), "Says where a leader epoch ends.";
    AddPartitionsToTxn = 24, 0..=5, Some(3), "Adds partitions to a transaction.";
    AddOffsetsToTxn = 25, 0..=4, Some(3), "Adds a group's offsets to a transaction.";
    EndTxn = 26, 0..=5, Some(3), "Commits or aborts a transaction.";
    WriteTxnMarkers = 27, 1..=2, Some(1), "Writes the end of transactions into partitions.";
    TxnOffsetCommit = 28, 0..=5, Some(3), "Stores a group's offsets in a transaction.";
    DescribeAcls = 29, 1..=3, Some(2), "Lists access rules.";
    CreateAcls = 30, 1..=3, Some(2), "Adds access rules.";
    DeleteAcls = 31, 1..=3, Some(2), "Removes access rules.";
    DescribeConfigs = 32, 1..=4, Some(4), "Reads settings of topics, brokers and groups.";
    AlterConfigs = 33, 0..=2, Some(2), "Replaces settings.";
    AlterReplicaLogDirs = 34, 1..=2, Some(2), "Moves replicas between log directories.";
    DescribeLogDirs = 35, 1..=5, Some(2), "Describes log directories and what is in them.";
    SaslAuthenticate = 36, 0..=2, Some(2), "Carries one step of a SASL exchange.";
    CreatePartitions = 37, 0..=3, Some(2), "Adds partitions to topics.";
    DeleteGroups = 42, 0..=2, Some(2), "Deletes groups.";
    ElectLeaders = 43, 0..=2, Some(2), "Elects leaders of partitions.";
    IncrementalAlterConfigs = 44, 0..=1, Some(1), "Changes single settings.";
    AlterPartitionReassignments = 45, 0..=1, Some(0),
        "Begins or cancels moves of replicas between brokers.";
    ListPartitionReassignments = 46, 0..=0, Some(0), "Lists the moves of replicas that go on.";
    OffsetDelete = 47, 0..=0, None, "Deletes a group's stored offsets.";
    DescribeClientQuotas = 48, 0..=1, Some(1), "Reads quotas.";
    AlterClientQuotas = 49, 0..=1, Some(1), "Changes quotas.";
    DescribeUserScramCredentials = 50, 0..=0, Some(0), "Lists which SCRAM credentials users have.";
    AlterUserScramCredentials = 51, 0..=0, Some(0), "Sets and deletes SCRAM credentials.";
    DescribeQuorum = 55, 0..=2, Some(0), "Describes the voters of the metadata log.";
    UpdateFeatures = 57, 0..=2, Some(0), "Changes finalized feature levels.";
    DescribeCluster = 60, 0..=2, Some(0), "Describes the cluster and its brokers.";
    DescribeProducers = 61, 0..=0, Some(0), "Describes the producers writing to partitions.";
    UnregisterBroker = 64, 0..=0, Some(0), "Takes a broker out of the cluster.";
    DescribeTransactions = 65, 0..=0, Some(0), "Describes transactions.";
    ListTransactions = 66, 0..=2, Some(0), "Lists transactions.";
    ConsumerGroupHeartbeat = 68, 0..=1, Some(0),
        "Joins, stays in and leaves a next-generation consumer group (KIP-848).";
    ConsumerGroupDescribe = 69, 0..=1, Some(0), "Describes next-generation consumer groups.";
    GetTelemetrySubscriptions = 71, 0..=0, Some(0),
        "Asks which of a client's metrics the cluster wants (KIP-714).";
    PushTelemetry = 72, 0..=0, Some(0), "Carries a client's metrics to its cluster (KIP-714).";
    ListConfigResources = 74, 0..=1, Some(0), "Lists what has settings.";
    DescribeTopicPartitions = 75, 0..=0, Some(0), "Describes topics page by page (KIP-966).";
}

impl ApiKey {
    /// The number a request carries.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether the messages of that version are known here.
    #[must_use]
    pub fn supports(self, version: ApiVersion) -> bool {
        self.valid_versions().contains(&version.0)
    }

    /// Whether lengths are compact and structs carry tagged fields in that version (KIP-482).
    #[must_use]
    pub const fn is_flexible(self, version: ApiVersion) -> bool {
        match self.first_flexible_version() {
            Some(first) => version.0 >= first,
            None => false,
        }
    }

    /// Whether the header of a response carries tagged fields.
    ///
    /// Never that of `ApiVersions`: a client must read it before it knows the broker's versions
    /// (KIP-511).
    #[must_use]
    pub const fn is_response_header_flexible(self, version: ApiVersion) -> bool {
        !matches!(self, Self::ApiVersions) && self.is_flexible(version)
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_is_found_by_its_number() {
        for &api in ApiKey::ALL {
            assert_eq!(ApiKey::from_code(api.code()), Some(api));
            assert!(!api.valid_versions().is_empty());
        }
        assert_eq!(ApiKey::from_code(7), None, "ControlledShutdown is gone in Kafka 4");
        assert_eq!(ApiKey::Produce.to_string(), "Produce");
    }

    #[test]
    fn the_response_header_of_api_versions_never_carries_tagged_fields() {
        for version in ApiKey::ApiVersions.valid_versions().map(ApiVersion) {
            assert!(!ApiKey::ApiVersions.is_response_header_flexible(version));
        }
        assert!(ApiKey::ApiVersions.is_flexible(ApiVersion(3)));
        assert!(ApiKey::Metadata.is_response_header_flexible(ApiVersion(9)));
    }

    #[test]
    fn sasl_handshake_is_never_flexible() {
        for version in 0..=20 {
            assert!(!ApiKey::SaslHandshake.is_flexible(ApiVersion(version)));
        }
    }
}
