//! The error codes of Kafka 4.3, each with what a client may do about it.

use std::fmt;

/// What an error code means for whoever sent the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// It worked.
    Success,
    /// The same request may succeed later, on the same broker.
    Retriable,
    /// The same request may succeed later, after asking again who leads or controls.
    RefreshMetadata,
    /// The same request will fail again.
    Fatal,
}

/// Writes the enum and its look-ups from one table: variant, code, Kafka's name, disposition,
/// and a sentence that is also the variant's documentation.
macro_rules! error_codes {
    ($($variant:ident = $code:literal, $name:literal, $disposition:ident, $message:literal;)*) => {
        /// An error code as it travels in responses (Kafka's `Errors`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(
                #[doc = concat!("`", $name, "` (", $code, "): ", $message, ".")]
                $variant,
            )*
            /// A code that this version of Streamledger does not know.
            Unknown(i16),
        }

        impl ErrorCode {
            /// All codes that have a name, by their number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The error of a number on the wire.
            #[must_use]
            pub const fn from_code(code: i16) -> Self {
                match code {
                    $($code => Self::$variant,)*
                    other => Self::Unknown(other),
                }
            }

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> i16 {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Unknown(code) => code,
                }
            }

            /// The name Kafka prints.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Unknown(_) => "UNKNOWN",
                }
            }

            /// One sentence, without its full stop, that says what happened.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$variant => $message,)*
                    Self::Unknown(_) => "the broker answered with a code that is not known here",
                }
            }

            /// What the sender of the request may do, as Kafka's `RetriableException` and
            /// `InvalidMetadataException` divide them; a moved controller also asks for metadata.
            #[must_use]
            pub const fn disposition(self) -> Disposition {
                match self {
                    $(Self::$variant => Disposition::$disposition,)*
                    Self::Unknown(_) => Disposition::Fatal,
                }
            }
        }
    };
}

error_codes! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", Fatal,
        "the broker failed in a way it has no code for";
    None = 0, "NONE", Success, "no error";
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", Fatal,
        "the offset is outside what the partition holds";
    CorruptMessage = 2, "CORRUPT_MESSAGE", Retriable,
        "the broker found the batch damaged: bad checksum, size or a missing key";
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", RefreshMetadata,
        "the broker does not have this topic or partition";
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", Fatal,
        "the fetch asked for an impossible number of bytes";
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", RefreshMetadata,
        "the partition has no leader at the moment";
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", RefreshMetadata,
        "the broker is not the leader, or not a replica, of this partition";
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", Retriable,
        "the broker ran out of time; the request may still have taken effect";
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", Fatal, "the broker is not available";
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", RefreshMetadata,
        "the replica is not available on this broker";
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", Fatal,
        "the batch is larger than the topic allows (max.message.bytes)";
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", Fatal,
        "the controller has moved to another broker";
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", Fatal,
        "the metadata beside the committed offset is too long";
    NetworkException = 13, "NETWORK_EXCEPTION", RefreshMetadata,
        "the connection was lost before an answer came";
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", Retriable,
        "the coordinator is still loading its state";
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", Retriable,
        "the coordinator is not available yet";
    NotCoordinator = 16, "NOT_COORDINATOR", Retriable,
        "the broker is not the coordinator of this group or transactional id";
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", Fatal,
        "the topic name is not valid, or the topic is internal";
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", Fatal,
        "the batch is larger than a log segment";
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", Retriable,
        "fewer replicas are in sync than min.insync.replicas asks; nothing was written";
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", Retriable,
        "written, but to fewer in-sync replicas than min.insync.replicas asks";
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", Fatal, "acks must be 0, 1 or -1";
    IllegalGeneration = 22, "ILLEGAL_GENERATION", Fatal,
        "the group has moved on to another generation";
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", Fatal,
        "the member's protocols do not fit those of the group";
    InvalidGroupId = 24, "INVALID_GROUP_ID", Fatal, "the group id is not valid";
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", Fatal, "the coordinator does not know this member";
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", Fatal,
        "the session timeout is outside the broker's bounds";
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", Fatal,
        "the group is rebalancing: join again";
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", Fatal,
        "the offset commit is too large for the broker";
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", Fatal, "not allowed on this topic";
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", Fatal, "not allowed on this group";
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", Fatal,
        "not allowed on this cluster";
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", Fatal,
        "the timestamp is further from the broker's clock than the topic allows";
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", Fatal,
        "the broker does not offer this SASL mechanism";
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", Fatal,
        "the request does not fit the state of the SASL handshake";
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", Fatal,
        "the broker does not know this version of the API";
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", Fatal, "a topic of this name exists already";
    InvalidPartitions = 37, "INVALID_PARTITIONS", Fatal, "the number of partitions is not possible";
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", Fatal,
        "the replication factor is under 1 or over the number of brokers";
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", Fatal,
        "the replica assignment is not possible";
    InvalidConfig = 40, "INVALID_CONFIG", Fatal, "a configuration value is not valid";
    NotController = 41, "NOT_CONTROLLER", RefreshMetadata, "the broker is not the controller";
    InvalidRequest = 42, "INVALID_REQUEST", Fatal,
        "the broker finds the request contradictory or malformed";
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", Fatal,
        "the log's message format is too old for this request";
    PolicyViolation = 44, "POLICY_VIOLATION", Fatal, "a policy of the broker forbids it";
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", Fatal,
        "the batch's sequence does not follow the last one written";
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", Fatal,
        "the batch was written before, too long ago to say where";
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", Fatal,
        "a producer with a newer epoch has taken over";
    InvalidTxnState = 48, "INVALID_TXN_STATE", Fatal,
        "the transaction is in a state that does not allow this";
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", Fatal,
        "the producer id does not belong to this transactional id";
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", Fatal,
        "the transaction timeout is over the broker's maximum";
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", Retriable,
        "the transaction is still finishing an earlier step";
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", Fatal,
        "another broker now coordinates this transaction";
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", Fatal,
        "not allowed on this transactional id";
    SecurityDisabled = 54, "SECURITY_DISABLED", Fatal, "the broker runs without an authorizer";
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", Fatal,
        "not tried, because another part of the request failed";
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", RefreshMetadata, "the broker's disk failed";
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", Fatal, "the broker has no such log directory";
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", Fatal,
        "the credentials were refused";
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", Fatal,
        "the broker has no state of this producer id on the partition";
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", Fatal,
        "the partition's replicas are being reassigned";
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", Fatal,
        "delegation tokens are not enabled";
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", Fatal,
        "the broker does not know this delegation token";
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", Fatal,
        "only the token's owner or renewer may do this";
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", Fatal,
        "delegation tokens cannot be asked for over this kind of connection";
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", Fatal,
        "not allowed on this delegation token";
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", Fatal,
        "the delegation token has expired";
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", Fatal,
        "this type of principal is not supported";
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", Fatal, "the group still has members";
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", Fatal, "no group of this id exists";
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", Retriable,
        "the broker has no such fetch session";
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", Retriable,
        "the fetch session is at another epoch";
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", RefreshMetadata,
        "the leader has no listener of the name this request came in by";
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", Fatal,
        "topics cannot be deleted on this cluster";
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", RefreshMetadata,
        "the client's leader epoch is older than the broker's";
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", Retriable,
        "the client's leader epoch is newer than the broker's";
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", Fatal,
        "the client's version cannot carry the codec of this partition";
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", Fatal, "the broker has registered again since";
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", Retriable,
        "the new leader does not know its high watermark yet";
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", Fatal,
        "the member must join with the member id it was given";
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", RefreshMetadata,
        "the preferred leader is not available";
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", Fatal, "the group is full";
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", Fatal,
        "another member with this group.instance.id has taken over";
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", RefreshMetadata,
        "no replica may become leader";
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", RefreshMetadata,
        "the partition has the leader it should have";
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", Fatal,
        "no reassignment is going on";
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", Fatal,
        "the group is subscribed to the topic";
    InvalidRecord = 87, "INVALID_RECORD", Fatal,
        "a record in the batch was refused; the whole batch was";
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", Retriable,
        "an open transaction holds offsets that are not decided yet";
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", Retriable, "a quota is used up";
    ProducerFenced = 90, "PRODUCER_FENCED", Fatal,
        "another producer with this transactional id has taken over";
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", Fatal, "there is no such resource";
    DuplicateResource = 92, "DUPLICATE_RESOURCE", Fatal, "the request names a resource twice";
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", Fatal,
        "the credential does not meet the broker's rules";
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", Fatal, "the sets of voters differ";
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", Fatal,
        "the feature cannot go to this version";
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", Fatal, "the features could not be updated";
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", Fatal,
        "the forwarded principal could not be read";
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", Fatal, "there is no such snapshot";
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", Fatal, "the position is outside the snapshot";
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", RefreshMetadata,
        "the broker does not know this topic id";
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", Fatal,
        "a broker of this id is registered already";
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", Fatal,
        "no broker of this id is registered";
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", RefreshMetadata,
        "the topic id is not that of the log: the topic was made anew";
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", Fatal,
        "the request is meant for another cluster";
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", Fatal,
        "the coordinator does not know this transactional id";
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", Retriable,
        "the fetch session mixes requests with and without topic ids";
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", Fatal, "a replica may not join the in-sync set";
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", Fatal,
        "the change was made, and the leader is another now";
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", Fatal,
        "the offset is in tiered storage";
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", Fatal,
        "the member's epoch is fenced: give up all partitions and join again";
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", Fatal,
        "another member still holds this instance id";
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", Fatal,
        "the group does not offer this assignor";
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", Fatal,
        "the member's epoch is old: heartbeat, then try again";
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", Fatal,
        "the request came to an endpoint of the wrong kind";
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", Fatal,
        "this kind of endpoint is not supported";
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", Fatal, "no controller of this id is known";
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", Fatal,
        "the telemetry subscription is not known or out of date";
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", Fatal,
        "the telemetry is larger than the broker takes";
    InvalidRegistration = 119, "INVALID_REGISTRATION", Fatal,
        "the controller refused the broker's registration";
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", Fatal,
        "the transaction must be aborted; then the producer can go on";
    InvalidRecordState = 121, "INVALID_RECORD_STATE", Fatal,
        "the record is in a state that does not allow this acknowledgement";
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", Retriable,
        "the broker has no such share session";
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", Retriable,
        "the share session is at another epoch";
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", Fatal,
        "the share group's state is at another epoch";
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", Fatal, "the voter's key is another";
    DuplicateVoter = 126, "DUPLICATE_VOTER", Fatal, "the voter is in the set already";
    VoterNotFound = 127, "VOTER_NOT_FOUND", Fatal, "the voter is not in the set";
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", Fatal,
        "the regular expression is not valid";
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", Fatal,
        "the client's metadata is too old: start from the bootstrap servers again";
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", Fatal,
        "the streams topology is not valid";
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", Fatal,
        "the streams topology is at another epoch";
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", Fatal,
        "the streams topology is out of date";
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", Retriable,
        "the broker has no room for another share session";
}

#[expect(clippy::derivable_impls, reason = "the variants come from a macro's table")]
impl Default for ErrorCode {
    fn default() -> Self {
        Self::None
    }
}

impl ErrorCode {
    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        matches!(self.disposition(), Disposition::Retriable | Disposition::RefreshMetadata)
    }

    /// Turns the absence of an error into `Ok`.
    ///
    /// # Errors
    /// The code itself, whenever it is not [`ErrorCode::None`].
    pub const fn into_result(self) -> Result<(), Self> {
        match self {
            Self::None => Ok(()),
            error => Err(error),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name(), self.code(), self.message())
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_from_its_number() {
        assert_eq!(ErrorCode::ALL.len(), 135, "-1 to 133");
        for (&error, code) in ErrorCode::ALL.iter().zip(-1..) {
            assert_eq!(error.code(), code);
            assert_eq!(ErrorCode::from_code(code), error);
        }
        assert_eq!(ErrorCode::from_code(9999), ErrorCode::Unknown(9999));
        assert_eq!(ErrorCode::Unknown(9999).code(), 9999);
    }

    #[test]
    fn dispositions_follow_kafkas_exceptions() {
        use Disposition::{Fatal, RefreshMetadata, Retriable, Success};
        for (error, disposition, retriable) in [
            (ErrorCode::None, Success, false),
            (ErrorCode::NotLeaderOrFollower, RefreshMetadata, true),
            (ErrorCode::NotController, RefreshMetadata, true),
            (ErrorCode::NotEnoughReplicas, Retriable, true),
            (ErrorCode::OutOfOrderSequenceNumber, Fatal, false),
            (ErrorCode::UnknownServerError, Fatal, false),
            (ErrorCode::Unknown(9999), Fatal, false),
        ] {
            assert_eq!((error.disposition(), error.is_retriable()), (disposition, retriable));
        }
    }

    #[test]
    fn an_error_prints_its_name_number_and_sentence() {
        let text = "UNKNOWN_TOPIC_ID (100): the broker does not know this topic id";
        assert_eq!(ErrorCode::UnknownTopicId.to_string(), text);
        assert_eq!(ErrorCode::None.into_result(), Ok(()));
        assert_eq!(ErrorCode::UnknownTopicId.into_result(), Err(ErrorCode::UnknownTopicId));
    }
}
