//! What the sender asks of coordinators, and what comes back: without versions and bytes.

use std::time::Duration;

use streamledger_protocol::{
    ApiKey, ApiVersion, BrokerId, ErrorCode, GroupId, LeaderEpoch, Offset, ProducerIdentity,
    TopicPartition, TransactionalId,
};

use super::verdict::TransactionApi;

/// The name of a question between sender and shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId(pub u64);

/// Which protocol a transaction follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionVersion {
    /// Partitions and groups are added by requests of their own (KIP-98): Produce up to version
    /// 11, TxnOffsetCommit and EndTxn up to 4.
    V1,
    /// Partitions join with their first batch and groups with their offsets, and each end raises
    /// the epoch (KIP-890): Produce from version 12 on, TxnOffsetCommit and EndTxn from 5 on.
    V2,
}

/// What a broker can do for transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// The newest protocol that it and its cluster have.
    pub version: TransactionVersion,
    /// It gives a producer that lost a sequence its next epoch (KIP-360, Kafka 2.5).
    pub gives_next_epoch: bool,
}

impl Capabilities {
    /// `finalized_level` is the cluster's `transaction.version`; `common` gives the highest
    /// version of an API that the broker and this client have.
    #[must_use]
    pub fn new(
        finalized_level: Option<i16>,
        common: impl Fn(ApiKey) -> Option<ApiVersion>,
    ) -> Self {
        let has = |api, version| common(api) >= Some(ApiVersion(version));
        let is_v2 = finalized_level.is_some_and(|level| level >= 2)
            && has(ApiKey::Produce, 12)
            && has(ApiKey::EndTxn, 5)
            && has(ApiKey::TxnOffsetCommit, 5);
        Self {
            version: if is_v2 { TransactionVersion::V2 } else { TransactionVersion::V1 },
            gives_next_epoch: has(ApiKey::InitProducerId, 3),
        }
    }
}

/// Whose coordinator is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoordinatorKey {
    /// That of the producer's transactions.
    Transaction(TransactionalId),
    /// That of a group.
    Group(GroupId),
}

/// A group as its member knows it (Kafka's `ConsumerGroupMetadata`): it tells a member that was
/// replaced from the one that replaced it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroupMetadata {
    /// The group.
    pub group_id: GroupId,
    /// Its generation, or the member's epoch; -1 outside of membership.
    pub generation_id: i32,
    /// The member; empty outside of membership.
    pub member_id: String,
    /// The member's `group.instance.id`, if it has one.
    pub group_instance_id: Option<String>,
}

impl ConsumerGroupMetadata {
    /// A group of which no member is known: its offsets are taken from anybody.
    #[must_use]
    pub fn new(group_id: impl Into<GroupId>) -> Self {
        Self {
            group_id: group_id.into(),
            generation_id: -1,
            member_id: String::new(),
            group_instance_id: None,
        }
    }
}

/// An offset to be stored, or that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record to consume.
    pub offset: Offset,
    /// The leader epoch of the last record consumed; -1 where it isn't known.
    pub leader_epoch: LeaderEpoch,
    /// A text kept beside it.
    pub metadata: Option<String>,
}

impl CommittedOffset {
    /// An offset with nothing beside it.
    #[must_use]
    pub fn new(offset: Offset) -> Self {
        Self { offset, leader_epoch: LeaderEpoch::NONE, metadata: None }
    }
}

/// Offsets for one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffsets {
    /// The group.
    pub group: ConsumerGroupMetadata,
    /// The offsets, each partition once.
    pub offsets: Vec<(TopicPartition, CommittedOffset)>,
}

/// Who is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedBroker {
    /// Any.
    Any,
    /// This one; connect to it if need be.
    One(BrokerId),
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// FindCoordinator.
    FindCoordinator(CoordinatorKey),
    /// InitProducerId.
    InitProducerId {
        /// Whose producer id.
        transactional_id: TransactionalId,
        /// `transaction.timeout.ms`.
        timeout: Duration,
        /// Who the producer was, for a next epoch; -1 for a first one.
        current: ProducerIdentity,
    },
    /// AddPartitionsToTxn, up to version 3.
    AddPartitions {
        /// Whose transaction.
        transactional_id: TransactionalId,
        /// Under whom.
        identity: ProducerIdentity,
        /// Which.
        partitions: Vec<TopicPartition>,
    },
    /// AddOffsetsToTxn.
    AddOffsets {
        /// Whose transaction.
        transactional_id: TransactionalId,
        /// Under whom.
        identity: ProducerIdentity,
        /// Which group.
        group_id: GroupId,
    },
    /// TxnOffsetCommit.
    CommitOffsets {
        /// Whose transaction.
        transactional_id: TransactionalId,
        /// Under whom.
        identity: ProducerIdentity,
        /// What.
        offsets: GroupOffsets,
        /// By which protocol.
        version: TransactionVersion,
    },
    /// EndTxn.
    EndTransaction {
        /// Whose transaction.
        transactional_id: TransactionalId,
        /// Under whom.
        identity: ProducerIdentity,
        /// Commit, or else abort.
        committed: bool,
        /// By which protocol.
        version: TransactionVersion,
    },
}

impl Question {
    /// The API that it is asked by.
    #[must_use]
    pub fn api(&self) -> TransactionApi {
        match self {
            Self::FindCoordinator(_) => TransactionApi::FindCoordinator,
            Self::InitProducerId { .. } => TransactionApi::InitProducerId,
            Self::AddPartitions { .. } => TransactionApi::AddPartitions,
            Self::AddOffsets { .. } => TransactionApi::AddOffsets,
            Self::CommitOffsets { .. } => TransactionApi::CommitOffsets,
            Self::EndTransaction { .. } => TransactionApi::EndTransaction,
        }
    }
}

/// A question on its way. It is answered once, by [`TransactionAnswer`], at the latest when
/// `request.timeout.ms` is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionQuestion {
    /// What its answer is to be named by.
    pub id: QuestionId,
    /// Who is asked.
    pub to: AskedBroker,
    /// What.
    pub question: Question,
}

/// How a question ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionAnswer {
    /// Which.
    pub id: QuestionId,
    /// What the broker that answered can do; none where no broker did.
    pub capabilities: Option<Capabilities>,
    /// What came back.
    pub reply: TransactionReply,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionReply {
    /// To FindCoordinator.
    Coordinator(Result<BrokerId, ErrorCode>),
    /// To InitProducerId.
    Identity(Result<ProducerIdentity, ErrorCode>),
    /// To AddPartitions and CommitOffsets: each partition's error, or none.
    Partitions(Vec<(TopicPartition, ErrorCode)>),
    /// To AddOffsets: the error, or none.
    Group(ErrorCode),
    /// To EndTransaction: who the producer is from now on, where that changes.
    Ended(Result<Option<ProducerIdentity>, ErrorCode>),
    /// No answer came.
    Nothing {
        /// Whether any of the request may have reached the broker.
        possibly_sent: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka_4(api: ApiKey) -> Option<ApiVersion> {
        Some(ApiVersion(match api {
            ApiKey::Produce => 13,
            _ => 5,
        }))
    }

    #[test]
    fn version_2_wants_the_feature_and_the_requests() {
        let version = |level| Capabilities::new(level, kafka_4).version;
        assert_eq!(version(Some(2)), TransactionVersion::V2);
        assert_eq!(version(Some(3)), TransactionVersion::V2);
        for level in [None, Some(0), Some(1)] {
            assert_eq!(version(level), TransactionVersion::V1, "{level:?}");
        }
        for old in [ApiKey::Produce, ApiKey::EndTxn, ApiKey::TxnOffsetCommit] {
            let older = |api| {
                let common = kafka_4(api)?;
                Some(if api != old {
                    common
                } else if old == ApiKey::Produce {
                    ApiVersion(11)
                } else {
                    ApiVersion(4)
                })
            };
            assert_eq!(
                Capabilities::new(Some(2), older).version,
                TransactionVersion::V1,
                "{old:?}"
            );
        }
    }

    #[test]
    fn a_next_epoch_wants_init_producer_id_3() {
        let gives = |version: Option<i16>| {
            Capabilities::new(None, |_| version.map(ApiVersion)).gives_next_epoch
        };
        assert!(gives(Some(3)));
        assert!(!gives(Some(2)) && !gives(None));
    }
}
