//! Looks at transactions and ends those that hang (KIP-664).

use streamledger_client_core::transaction::CoordinatorKey;
use streamledger_protocol::messages::describe_producers::TopicRequest;
use streamledger_protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic,
};
use streamledger_protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, ListTransactionsRequest,
    WriteTxnMarkersRequest,
};
use streamledger_protocol::{
    BrokerId, ErrorCode, Offset, ProducerEpoch, ProducerId, ProducerIdentity, TimestampMs,
    TopicPartition, TransactionalId,
};

use super::retry::Learnt;
use super::{AdminError, Results, Shell};
use crate::coordinator;
use crate::network::BrokerConnection;

/// A transactional id that a coordinator knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionListing {
    /// The id.
    pub transactional_id: TransactionalId,
    /// Its producer.
    pub producer_id: ProducerId,
    /// Its state, by Kafka's name: `Ongoing`, `CompleteCommit` and so on.
    pub state: String,
    /// The broker that coordinates it.
    pub coordinator: BrokerId,
}

/// What a coordinator knows of a transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionDescription {
    /// The broker that coordinates it.
    pub coordinator: BrokerId,
    /// Its state, by Kafka's name.
    pub state: String,
    /// Its producer.
    pub producer: ProducerIdentity,
    /// After how many milliseconds its transactions are aborted.
    pub timeout_ms: i32,
    /// When the present transaction began; none if there is none.
    pub started: Option<TimestampMs>,
    /// The partitions in it.
    pub partitions: Vec<TopicPartition>,
}

/// A producer that a partition remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Which.
    pub producer: ProducerIdentity,
    /// The last sequence it wrote; -1 if it has none.
    pub last_sequence: i32,
    /// The largest timestamp of what it wrote last.
    pub last_timestamp: TimestampMs,
    /// The epoch of the coordinator that ended its last transaction here, if one did.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins, if it has one open here.
    pub transaction_start: Option<Offset>,
}

/// A transaction to be aborted in one partition, whatever its coordinator knows of it: as
/// `describe_producers` told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HangingTransaction {
    /// The partition that it hangs in.
    pub topic_partition: TopicPartition,
    /// The producer that has it open there.
    pub producer: ProducerIdentity,
    /// The epoch of the coordinator, as the partition knows it; 0 if it knows none.
    pub coordinator_epoch: i32,
}

impl Shell {
    pub(super) async fn list_transactions(&self) -> Result<Vec<TransactionListing>, AdminError> {
        self.retry(|| self.try_list_transactions()).await
    }

    /// Each broker is asked for those that it coordinates.
    async fn try_list_transactions(&self) -> Result<Vec<TransactionListing>, AdminError> {
        let snapshot = self.metadata_of(Some(Vec::new())).await?;
        let mut listed = Vec::new();
        for broker in snapshot.brokers() {
            let connection = self.connection_to(broker.id).await?;
            let request = ListTransactionsRequest { duration_filter: -1, ..Default::default() };
            let response = connection.call(&request, self.request_timeout()).await?;
            AdminError::check(response.error_code, None)?;
            listed.extend(response.transaction_states.into_iter().map(|told| TransactionListing {
                transactional_id: told.transactional_id,
                producer_id: told.producer_id,
                state: told.transaction_state,
                coordinator: broker.id,
            }));
        }
        listed.sort_by(|a, b| a.transactional_id.as_str().cmp(b.transactional_id.as_str()));
        Ok(listed)
    }

    pub(super) async fn describe_transactions(
        &self,
        ids: &[TransactionalId],
    ) -> Result<Results<TransactionDescription, TransactionalId>, AdminError> {
        self.retry_each(ids, |open| self.try_describe_transactions(open)).await
    }

    async fn try_describe_transactions(
        &self,
        open: Vec<TransactionalId>,
    ) -> Result<Learnt<TransactionalId, TransactionDescription>, AdminError> {
        let mut learnt = Vec::new();
        for id in open {
            let key = CoordinatorKey::Transaction(id.clone());
            let found = coordinator::find(&self.refresher, &key, self.request_timeout()).await?;
            let described = match found {
                Ok(coordinator) => self.describe_transaction(&id, coordinator).await?,
                Err(error) => AdminError::check(error, None).and(Err(AdminError::LeftOut)),
            };
            learnt.push((id, described));
        }
        Ok(learnt)
    }

    async fn describe_transaction(
        &self,
        id: &TransactionalId,
        coordinator: BrokerId,
    ) -> Result<Result<TransactionDescription, AdminError>, AdminError> {
        let connection = self.connection_to(coordinator).await?;
        let request = DescribeTransactionsRequest { transactional_ids: vec![id.clone()] };
        let response = connection.call(&request, self.request_timeout()).await?;
        let mut states = response.transaction_states.into_iter();
        let Some(told) = states.find(|told| told.transactional_id == *id) else {
            return Ok(Err(AdminError::LeftOut));
        };
        let partitions = told.topics.into_iter().flat_map(|topic| {
            let indexes = topic.partitions.into_iter();
            indexes.map(move |index| TopicPartition::new(topic.topic.clone(), index))
        });
        let started = told.transaction_start_time_ms;
        let described = TransactionDescription {
            coordinator,
            state: told.transaction_state,
            producer: ProducerIdentity { id: told.producer_id, epoch: told.producer_epoch },
            timeout_ms: told.transaction_timeout_ms,
            started: (started.0 >= 0).then_some(started),
            partitions: partitions.collect(),
        };
        Ok(AdminError::check(told.error_code, None).map(|()| described))
    }

    pub(super) async fn describe_producers(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Results<Vec<ActiveProducer>, TopicPartition>, AdminError> {
        self.retry_each(partitions, |open| self.try_describe_producers(open)).await
    }

    async fn try_describe_producers(
        &self,
        open: Vec<TopicPartition>,
    ) -> Result<Learnt<TopicPartition, Vec<ActiveProducer>>, AdminError> {
        let mut learnt = Vec::new();
        for topic_partition in open {
            let connection = match self.leader_of(&topic_partition).await? {
                Ok(connection) => connection,
                Err(error) => {
                    learnt.push((topic_partition, Err(error)));
                    continue;
                }
            };
            let topic = TopicRequest {
                name: topic_partition.topic.clone(),
                partition_indexes: vec![topic_partition.partition],
            };
            let request = DescribeProducersRequest { topics: vec![topic] };
            let response = connection.call(&request, self.request_timeout()).await?;
            let told = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
            let described = told.map_or(Err(AdminError::LeftOut), |told| {
                AdminError::check(told.error_code, told.error_message)?;
                let producers = told.active_producers.into_iter().map(|told| ActiveProducer {
                    producer: ProducerIdentity {
                        id: told.producer_id,
                        epoch: ProducerEpoch(i16::try_from(told.producer_epoch).unwrap_or(-1)),
                    },
                    last_sequence: told.last_sequence.0,
                    last_timestamp: told.last_timestamp,
                    coordinator_epoch: Some(told.coordinator_epoch).filter(|epoch| *epoch >= 0),
                    transaction_start: Some(told.current_txn_start_offset)
                        .filter(|offset| offset.0 >= 0),
                });
                Ok(producers.collect())
            });
            learnt.push((topic_partition, described));
        }
        Ok(learnt)
    }

    pub(super) async fn abort_transactions(
        &self,
        hanging: &[HangingTransaction],
    ) -> Result<Results<(), TopicPartition>, AdminError> {
        let partitions: Vec<_> = hanging.iter().map(|one| one.topic_partition.clone()).collect();
        self.retry_each(&partitions, |open| self.try_abort_transactions(hanging, open)).await
    }

    async fn try_abort_transactions(
        &self,
        hanging: &[HangingTransaction],
        open: Vec<TopicPartition>,
    ) -> Result<Learnt<TopicPartition, ()>, AdminError> {
        let mut learnt = Vec::new();
        for topic_partition in open {
            let of_partition = |one: &&HangingTransaction| one.topic_partition == topic_partition;
            let Some(asked) = hanging.iter().find(of_partition) else { continue };
            let aborted = match self.leader_of(&topic_partition).await? {
                Ok(connection) => self.abort(&connection, asked).await?,
                Err(error) => Err(error),
            };
            learnt.push((topic_partition, aborted));
        }
        Ok(learnt)
    }

    async fn abort(
        &self,
        leader: &BrokerConnection,
        asked: &HangingTransaction,
    ) -> Result<Result<(), AdminError>, AdminError> {
        let topic = WritableTxnMarkerTopic {
            name: asked.topic_partition.topic.clone(),
            partition_indexes: vec![asked.topic_partition.partition],
        };
        let marker = WritableTxnMarker {
            producer_id: asked.producer.id,
            producer_epoch: asked.producer.epoch,
            transaction_result: false,
            topics: vec![topic],
            coordinator_epoch: asked.coordinator_epoch,
            ..Default::default()
        };
        let request = WriteTxnMarkersRequest { markers: vec![marker] };
        let response = leader.call(&request, self.request_timeout()).await?;
        let topics = response.markers.into_iter().flat_map(|marker| marker.topics);
        let told = topics.flat_map(|topic| topic.partitions).next();
        Ok(told.map_or(Err(AdminError::LeftOut), |told| AdminError::check(told.error_code, None)))
    }

    /// A connection to a partition's leader.
    async fn leader_of(
        &self,
        topic_partition: &TopicPartition,
    ) -> Result<Result<BrokerConnection, AdminError>, AdminError> {
        let snapshot = self.metadata_of(Some(vec![topic_partition.topic.clone()])).await?;
        if let Some((leader, _)) = snapshot.leader(topic_partition) {
            return Ok(Ok(self.connection_to(leader.id).await?));
        }
        let error = match snapshot.partition(topic_partition) {
            Some(_) => ErrorCode::LeaderNotAvailable,
            None => ErrorCode::UnknownTopicOrPartition,
        };
        Ok(AdminError::check(error, None).and(Err(AdminError::LeftOut)))
    }

    async fn connection_to(&self, broker: BrokerId) -> Result<BrokerConnection, AdminError> {
        if self.refresher.snapshot().broker(broker).is_none() {
            self.refresher.refresh([]).await?;
        }
        Ok(self.refresher.connection_to(broker).await?)
    }
}
