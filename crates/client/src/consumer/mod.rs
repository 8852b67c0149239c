//! The consumer: reads partitions that are assigned to it, blocking and async.
//!
//! What to fetch is decided by `client-core/consumer` and done on the I/O thread; what came is read
//! lazily, on the thread that polls. A group's membership is decided by
//! `client-core/consumer/group`, kept up on the I/O thread (`group/`), and its partitions come and
//! go on the thread that polls (`rebalance`).

mod committed;
mod error;
mod fetcher;
mod group;
mod inbox;
mod metrics;
mod offsets;
mod parallel;
mod poll;
mod rebalance;
mod record;
mod subscribe;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use streamledger_client_core::consumer::{Event, Lookup};
use streamledger_client_core::transaction::{CommittedOffset, ConsumerGroupMetadata};
use streamledger_protocol::{
    ClientInstanceId, GroupId, Offset, TimestampMs, TopicName, TopicPartition,
};

use crate::config::ConsumerConfig;
use crate::io_thread::IoThread;
use crate::telemetry::{ClientInstanceIdError, TelemetryHandle, telemetry};
use crate::wait::wait;
use fetcher::Fetcher;
use inbox::Inbox;
use subscribe::GroupHandle;

pub use error::ConsumerError;
pub use parallel::{ParallelConsumer, ParallelError, StopHandle};
pub use rebalance::RebalanceListener;
pub use record::{ConsumerRecord, ConsumerRecords, RecordView};
pub use streamledger_client_core::consumer::Position;
pub use streamledger_client_core::consumer::group::{
    Assignor, GroupMember, MemberAssignment, MemberSubscription, PartitionRacks,
};

/// Reads records. Cheap to clone, and to be used from any thread; clones share one position.
///
/// Calls that wait come twice: blocking, from any thread (inside an async runtime it holds up that
/// thread), and as `_async`, on any executor.
///
/// ```no_run
/// use std::time::Duration;
/// use streamledger::{Consumer, ConsumerConfig, PartitionIndex, Position, TopicPartition};
///
/// let config = ConsumerConfig::builder().bootstrap_servers("localhost:9092").build()?;
/// let consumer = Consumer::new(config)?;
/// consumer.assign(&[(TopicPartition::new("clicks", PartitionIndex(0)), Position::Beginning)]);
/// loop {
///     for record in &consumer.poll(Duration::from_secs(1))? {
///         println!("{} {:?}", record.offset, record.value);
///     }
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Consumer {
    thread: IoThread<Fetcher>,
    inbox: Arc<Inbox>,
    records_max: usize,
    /// Without a `group.id` there is none.
    group: Option<Arc<GroupHandle>>,
    telemetry: TelemetryHandle,
}

/// A record found by its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    /// The record's offset.
    pub offset: Offset,
    /// The record's timestamp.
    pub timestamp: TimestampMs,
}

impl Consumer {
    /// Starts a consumer that reads nothing yet. It connects when something is asked of it.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn new(config: ConsumerConfig) -> Result<Self, ConsumerError> {
        config.log_notes();
        let inbox = Arc::new(Inbox::new(config.isolation_level, config.check_crcs));
        let records_max = config.max_poll_records;
        let group = GroupHandle::new(&config).map(Arc::new);
        let metadata = match &group {
            Some(group) => Arc::clone(&group.metadata),
            None => Arc::new(Mutex::new(ConsumerGroupMetadata::new(""))),
        };
        let shared = Arc::clone(&inbox);
        let (telemetry, desk) = telemetry(config.client().enable_metrics_push);
        let make = move || Fetcher::new(&config, shared, metadata, desk);
        let thread = IoThread::start("streamledger-consumer", make);
        let thread = thread.map_err(|error| ConsumerError::NotStarted(error.to_string()))?;
        let consumer = Self { thread, inbox, records_max, group, telemetry };
        consumer.on_io_thread(|fetcher| fetcher.begin());
        Ok(consumer)
    }

    /// Reads these partitions from these positions, and no others any more. Returns at once. A
    /// subscription ends with it, without its listener being told.
    pub fn assign(&self, partitions: &[(TopicPartition, Position)]) {
        self.end_subscription();
        let assigned = self.inbox.assign(partitions);
        self.on_io_thread(move |fetcher| fetcher.assign(assigned));
    }

    /// The partitions that are read.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.inbox.assignment()
    }

    /// Reads an assigned partition from elsewhere. Returns at once.
    ///
    /// # Errors
    /// The partition isn't assigned.
    pub fn seek(
        &self,
        topic_partition: &TopicPartition,
        position: Position,
    ) -> Result<(), ConsumerError> {
        let generation = self.inbox.seek(topic_partition, position)?;
        let event = Event::Seek(topic_partition.clone(), generation, position);
        self.on_io_thread(move |fetcher| fetcher.handle(event));
        Ok(())
    }

    /// The offset of the next record that a poll gives; none while it isn't found yet, or where the
    /// partition isn't assigned. Records that nobody sees (markers, aborted ones) are passed by
    /// polling.
    #[must_use]
    pub fn position(&self, topic_partition: &TopicPartition) -> Option<Offset> {
        self.inbox.position(topic_partition)
    }

    /// Waits until there are records, up to `timeout`, and gives up to `max.poll.records` of them:
    /// of each partition in order, none twice. None came if it is empty.
    ///
    /// # Errors
    /// A partition can't go on, or nobody has answered for `default.api.timeout.ms`. Other
    /// partitions go on with the next poll.
    pub fn poll(&self, timeout: Duration) -> Result<ConsumerRecords, ConsumerError> {
        poll::poll(self, timeout)
    }

    /// As [`poll`](Self::poll), async. Dropping the future loses no record.
    ///
    /// # Errors
    /// As the blocking call.
    pub fn poll_async(
        &self,
        timeout: Duration,
    ) -> impl Future<Output = Result<ConsumerRecords, ConsumerError>> + Send + '_ {
        poll::poll_async(self, timeout)
    }

    /// As [`poll`](Self::poll), but shows each record to `visit` where it lies, without making one
    /// of its own: the cheapest way to read. Says how many there were. `visit` must not poll.
    ///
    /// # Errors
    /// As [`poll`](Self::poll). Records shown before are read.
    pub fn poll_with(
        &self,
        timeout: Duration,
        visit: impl FnMut(RecordView<'_>),
    ) -> Result<usize, ConsumerError> {
        poll::poll_with(self, timeout, visit)
    }

    /// The offset after the last record of each partition, in the order asked: that of the next
    /// record to come, with read-committed that of the first undecided one.
    ///
    /// # Errors
    /// A partition's leader doesn't tell within `default.api.timeout.ms`.
    pub fn end_offsets(&self, partitions: &[TopicPartition]) -> Result<Vec<Offset>, ConsumerError> {
        wait(self.end_offsets_async(partitions))
    }

    /// As [`end_offsets`](Self::end_offsets), async.
    ///
    /// # Errors
    /// As the blocking call.
    pub fn end_offsets_async(
        &self,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = Result<Vec<Offset>, ConsumerError>> + Send + use<> {
        self.edge_offsets(partitions, Lookup::End)
    }

    /// The offset of the first record there still is, of each partition, in the order asked.
    ///
    /// # Errors
    /// A partition's leader doesn't tell within `default.api.timeout.ms`.
    pub fn beginning_offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Offset>, ConsumerError> {
        wait(self.beginning_offsets_async(partitions))
    }

    /// As [`beginning_offsets`](Self::beginning_offsets), async.
    ///
    /// # Errors
    /// As the blocking call.
    pub fn beginning_offsets_async(
        &self,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = Result<Vec<Offset>, ConsumerError>> + Send + use<> {
        self.edge_offsets(partitions, Lookup::Beginning)
    }

    /// The first record of each partition with that timestamp or a later one, in the order asked;
    /// none if no record is so new.
    ///
    /// # Errors
    /// A partition's leader doesn't tell within `default.api.timeout.ms`.
    pub fn offsets_for_times(
        &self,
        times: &[(TopicPartition, TimestampMs)],
    ) -> Result<Vec<Option<OffsetAndTimestamp>>, ConsumerError> {
        wait(self.offsets_for_times_async(times))
    }

    /// As [`offsets_for_times`](Self::offsets_for_times), async.
    ///
    /// # Errors
    /// As the blocking call.
    pub fn offsets_for_times_async(
        &self,
        times: &[(TopicPartition, TimestampMs)],
    ) -> impl Future<Output = Result<Vec<Option<OffsetAndTimestamp>>, ConsumerError>> + Send + use<>
    {
        let times = times.iter();
        let wanted = times.map(|(tp, time)| (tp.clone(), Lookup::Timestamp(*time))).collect();
        self.find(wanted)
    }

    /// What a group has committed of each partition, in the order asked; none where it has nothing.
    /// Offsets that an open transaction holds are waited for (KIP-447). Any group can be asked
    /// about: this makes no member of it.
    ///
    /// # Errors
    /// The group's coordinator refuses, or doesn't tell within `default.api.timeout.ms`.
    pub fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>, ConsumerError> {
        wait(self.committed_async(group, partitions))
    }

    /// As [`committed`](Self::committed), async.
    ///
    /// # Errors
    /// As the blocking call.
    pub fn committed_async(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = Result<Vec<Option<CommittedOffset>>, ConsumerError>> + Send + use<>
    {
        let (group, partitions) = (GroupId::from(group), partitions.to_vec());
        let work = |fetcher: Rc<Fetcher>| fetcher.committed(group, partitions);
        let answer = self.thread.run(work);
        async move { answer.await? }
    }

    /// The partitions of a topic, as soon as they are known.
    ///
    /// # Errors
    /// The topic isn't known within `default.api.timeout.ms`, or can't be read.
    pub fn partitions_for(&self, topic: &str) -> Result<Vec<TopicPartition>, ConsumerError> {
        wait(self.partitions_for_async(topic))
    }

    /// As [`partitions_for`](Self::partitions_for), async.
    ///
    /// # Errors
    /// As the blocking call.
    pub fn partitions_for_async(
        &self,
        topic: &str,
    ) -> impl Future<Output = Result<Vec<TopicPartition>, ConsumerError>> + Send + use<> {
        let topic = TopicName::from(topic);
        let work = |fetcher: Rc<Fetcher>| async move { fetcher.partitions_for(topic).await };
        let answer = self.thread.run(work);
        async move { answer.await? }
    }

    /// What the cluster calls this consumer in the metrics that it pushes (KIP-714). Blocks, up to
    /// `timeout`, while no broker has said so; makes the consumer connect.
    ///
    /// # Errors
    /// See [`ClientInstanceIdError`].
    pub fn client_instance_id(
        &self,
        timeout: Duration,
    ) -> Result<ClientInstanceId, ClientInstanceIdError> {
        wait(self.client_instance_id_async(timeout))
    }

    /// As [`client_instance_id`](Self::client_instance_id), async.
    ///
    /// # Errors
    /// As the blocking call.
    pub fn client_instance_id_async(
        &self,
        timeout: Duration,
    ) -> impl Future<Output = Result<ClientInstanceId, ClientInstanceIdError>> + Send + use<> {
        self.telemetry.client_instance_id(timeout)
    }

    fn edge_offsets(
        &self,
        partitions: &[TopicPartition],
        edge: Lookup,
    ) -> impl Future<Output = Result<Vec<Offset>, ConsumerError>> + Send + use<> {
        let found = self.find(partitions.iter().map(|tp| (tp.clone(), edge)).collect());
        async move {
            let found = found.await?.into_iter();
            Ok(found.map(|found| found.map_or(Offset::ZERO, |found| found.offset)).collect())
        }
    }

    fn find(
        &self,
        wanted: Vec<(TopicPartition, Lookup)>,
    ) -> impl Future<Output = Result<Vec<Option<OffsetAndTimestamp>>, ConsumerError>> + Send + use<>
    {
        let work = |fetcher: Rc<Fetcher>| async move { fetcher.find_offsets(&wanted).await };
        let answer = self.thread.run(work);
        async move { answer.await? }
    }

    /// Hands work to the I/O thread without waiting for it.
    fn on_io_thread(&self, work: impl FnOnce(&Rc<Fetcher>) + Send + 'static) {
        drop(self.thread.run(move |fetcher| async move { work(&fetcher) }));
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("assignment", &self.assignment()).finish_non_exhaustive()
    }
}
