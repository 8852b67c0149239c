//! Reads what a group has committed, without being a member of it.

use std::rc::Rc;

use streamledger_client_core::transaction::{CommittedOffset, CoordinatorKey};
use streamledger_protocol::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
};
use streamledger_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use streamledger_protocol::{
    ApiKey, ApiVersion, Disposition, ErrorCode, GroupId, PartitionIndex, TopicName, TopicPartition,
};
use tokio::time::{Instant, timeout_at};

use super::ConsumerError;
use super::fetcher::Fetcher;
use crate::coordinator;
use crate::network::{BrokerConnection, ExponentialBackoff, NetworkError};

/// The last version that names topics by their names.
const BY_NAME: ApiVersion = ApiVersion(9);
/// From this version on several groups are asked about at once (KIP-709).
const MANY_GROUPS: ApiVersion = ApiVersion(8);
/// From this version on the broker tells of offsets that an open transaction holds (KIP-447).
const STABLE: ApiVersion = ApiVersion(7);

/// What a coordinator said of each partition, or of the group as a whole.
type Told = Result<Vec<(TopicPartition, Result<Option<CommittedOffset>, ErrorCode>)>, ErrorCode>;
type Stored = Vec<Option<CommittedOffset>>;

impl Fetcher {
    /// Asks the group's coordinator until it tells, for `default.api.timeout.ms`.
    pub(super) async fn committed(
        self: Rc<Self>,
        group: GroupId,
        partitions: Vec<TopicPartition>,
    ) -> Result<Stored, ConsumerError> {
        let deadline = Instant::now() + self.timeout();
        let backoff = ExponentialBackoff {
            first: self.client.retry_backoff,
            max: self.client.retry_backoff_max,
        };
        let mut last_error = ConsumerError::Timeout(self.timeout());
        for attempt in 0.. {
            match timeout_at(deadline, self.ask_committed(&group, &partitions)).await {
                Ok(Ok(stored)) => return Ok(stored),
                Ok(Err(error)) if !error.is_passing() => return Err(error),
                Ok(Err(error)) => last_error = error,
                Err(_) => break,
            }
            let wait = backoff.wait(attempt, self.refresher.pool().jitter().chance());
            if Instant::now() + wait >= deadline {
                break;
            }
            tokio::time::sleep(wait).await;
        }
        Err(last_error)
    }

    async fn ask_committed(
        &self,
        group: &GroupId,
        partitions: &[TopicPartition],
    ) -> Result<Stored, ConsumerError> {
        let refused = |code| ConsumerError::GroupRefused { group: group.clone(), code };
        let (key, timeout) = (CoordinatorKey::Group(group.clone()), self.client.request_timeout);
        let coordinator = coordinator::find(&self.refresher, &key, timeout).await?;
        let connection = self.refresher.connection_to(coordinator.map_err(refused)?).await?;
        let told = self.put_committed(&connection, group, partitions).await?.map_err(refused)?;
        let of = |partition: &TopicPartition| {
            let told = told.iter().find(|(told, _)| told == partition);
            // Nothing is stored of what the answer leaves out.
            told.map_or(Ok(None), |(_, stored)| stored.clone().map_err(refused))
        };
        partitions.iter().map(of).collect()
    }

    async fn put_committed(
        &self,
        connection: &BrokerConnection,
        group: &GroupId,
        partitions: &[TopicPartition],
    ) -> Result<Told, NetworkError> {
        let common = connection.version_for(ApiKey::OffsetFetch);
        let version = common.map(|common| common.min(BY_NAME));
        let asks_many = version >= Some(MANY_GROUPS);
        let topics = by_topic(partitions);
        let mut request = OffsetFetchRequest {
            require_stable: version >= Some(STABLE),
            ..OffsetFetchRequest::default()
        };
        if asks_many {
            let named = topics.into_iter().map(|(name, partition_indexes)| {
                OffsetFetchRequestTopics { name, partition_indexes, ..Default::default() }
            });
            request.groups = vec![OffsetFetchRequestGroup {
                group_id: group.clone(),
                topics: Some(named.collect()),
                ..OffsetFetchRequestGroup::default()
            }];
        } else {
            let named = topics.into_iter();
            let named = named.map(|(name, partition_indexes)| OffsetFetchRequestTopic {
                name,
                partition_indexes,
            });
            (request.group_id, request.topics) = (group.clone(), Some(named.collect()));
        }
        let timeout = self.client.request_timeout;
        let response = connection.call_in(version, &request, timeout).await?;
        Ok(told(response, asks_many))
    }
}

impl ConsumerError {
    /// Whether the same question may be answered later.
    fn is_passing(&self) -> bool {
        match self {
            Self::GroupRefused { code, .. } => {
                matches!(code.disposition(), Disposition::Retriable | Disposition::RefreshMetadata)
            }
            Self::Network(error) => error.is_retriable(),
            Self::Unreachable(unreachable) => !unreachable.is_authentication(),
            _ => false,
        }
    }

    /// Whether no broker lets us in, or none is trusted: trying again helps nothing.
    pub(super) fn is_authentication(&self) -> bool {
        match self {
            Self::Network(error) => error.is_authentication(),
            Self::Unreachable(unreachable) => unreachable.is_authentication(),
            _ => false,
        }
    }
}

fn by_topic(partitions: &[TopicPartition]) -> Vec<(TopicName, Vec<PartitionIndex>)> {
    let mut topics: Vec<(TopicName, Vec<PartitionIndex>)> = Vec::new();
    for TopicPartition { topic, partition } in partitions {
        match topics.iter_mut().find(|(other, _)| other == topic) {
            Some((_, partitions)) => partitions.push(*partition),
            None => topics.push((topic.clone(), vec![*partition])),
        }
    }
    topics
}

/// What the answer says of the one group that was asked about.
fn told(response: OffsetFetchResponse, asks_many: bool) -> Told {
    let group = if asks_many { response.groups.into_iter().next() } else { Some(only(response)) };
    let Some(group) = group else { return Err(ErrorCode::CoordinatorNotAvailable) };
    if group.error_code != ErrorCode::None {
        return Err(group.error_code);
    }
    let each = group.topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        let stored = topic.partitions.into_iter();
        stored.map(move |stored| {
            let tp = TopicPartition { topic: name.clone(), partition: stored.partition_index };
            (tp, of_partition(stored))
        })
    });
    Ok(each.collect())
}

/// An answer in a version that knows one group, as the later ones give it.
fn only(response: OffsetFetchResponse) -> OffsetFetchResponseGroup {
    let partition = |stored: OffsetFetchResponsePartition| OffsetFetchResponsePartitions {
        partition_index: stored.partition_index,
        committed_offset: stored.committed_offset,
        committed_leader_epoch: stored.committed_leader_epoch,
        metadata: stored.metadata,
        error_code: stored.error_code,
    };
    let topics = response.topics.into_iter().map(|topic| OffsetFetchResponseTopics {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..OffsetFetchResponseTopics::default()
    });
    OffsetFetchResponseGroup {
        topics: topics.collect(),
        error_code: response.error_code,
        ..OffsetFetchResponseGroup::default()
    }
}

fn of_partition(
    stored: OffsetFetchResponsePartitions,
) -> Result<Option<CommittedOffset>, ErrorCode> {
    if stored.error_code != ErrorCode::None {
        return Err(stored.error_code);
    }
    let (offset, leader_epoch) = (stored.committed_offset, stored.committed_leader_epoch);
    let metadata = stored.metadata.filter(|text| !text.is_empty());
    Ok((offset.0 >= 0).then_some(CommittedOffset { offset, leader_epoch, metadata }))
}

#[cfg(test)]
mod tests {
    use streamledger_protocol::Offset;
    use streamledger_protocol::messages::offset_fetch::OffsetFetchResponseTopic;

    use super::*;

    fn answer(error_code: ErrorCode, committed_offset: i64) -> OffsetFetchResponse {
        let partition = OffsetFetchResponsePartition {
            partition_index: PartitionIndex(3),
            committed_offset: Offset(committed_offset),
            error_code,
            ..Default::default()
        };
        let name = "clicks".into();
        let topics = vec![OffsetFetchResponseTopic { name, partitions: vec![partition] }];
        OffsetFetchResponse { topics, ..Default::default() }
    }

    #[test]
    fn a_stored_offset_no_offset_and_an_error_are_three_things() {
        let of = |error, offset| told(answer(error, offset), false).unwrap().remove(0);
        let at = TopicPartition::new("clicks", PartitionIndex(3));
        let stored = Some(CommittedOffset::new(Offset(7)));
        assert_eq!(of(ErrorCode::None, 7), (at.clone(), Ok(stored)));
        assert_eq!(of(ErrorCode::None, -1), (at.clone(), Ok(None)));
        let unstable = ErrorCode::UnstableOffsetCommit;
        assert_eq!(of(unstable, -1), (at, Err(unstable)));
    }

    #[test]
    fn offsets_that_a_transaction_holds_are_waited_for_and_a_refusal_is_not() {
        let refused = |code| ConsumerError::GroupRefused { group: "readers".into(), code };
        assert!(refused(ErrorCode::UnstableOffsetCommit).is_passing());
        assert!(refused(ErrorCode::NotCoordinator).is_passing());
        assert!(!refused(ErrorCode::GroupAuthorizationFailed).is_passing());
    }
}
