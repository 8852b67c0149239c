//! The way of a record from the caller into its batch: at once, or after waiting for what lacks.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use streamledger_client_core::accumulator::{
    AppendError, AppendExtras, Delivery, RecordParts, TopicQueues,
};
use streamledger_client_core::partitioner::{Partitioning, Target};
use streamledger_protocol::{ErrorCode, PartitionIndex, TopicName};

use super::clock::record_timestamp;
use super::shared::Shared;
use super::wait::before;
use super::{ProduceError, ProducerRecord};

/// One record in so many has its partitioning timed.
const SAMPLED_EACH: u32 = 4096;

thread_local! {
    static UNTIL_SAMPLE: Cell<u32> = const { Cell::new(SAMPLED_EACH) };
}

/// Why a record could not be appended at once.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The topic is not known yet.
    NoMetadata,
    /// The topic has fewer partitions than that, as far as is known.
    NoSuchPartition {
        partition: PartitionIndex,
        partition_count: i32,
    },
    Append(AppendError),
}

impl Shared {
    /// Appends a record if nothing has to be waited for.
    #[inline]
    pub(super) fn try_append(
        &self,
        record: &ProducerRecord<'_>,
        extras: &mut AppendExtras,
    ) -> Result<Delivery, Refusal> {
        let append = |topic: &TopicQueues| self.append_to(topic, record, extras);
        self.accumulator.with_topic(record.topic, append).unwrap_or(Err(Refusal::NoMetadata))
    }

    #[inline]
    fn append_to(
        &self,
        topic: &TopicQueues,
        record: &ProducerRecord<'_>,
        extras: &mut AppendExtras,
    ) -> Result<Delivery, Refusal> {
        let Some(partition_count) = topic.partition_count() else {
            return Err(Refusal::NoMetadata);
        };
        let target = match record.partition {
            Some(partition) => Target::Partition(partition),
            None => self.choose(topic, partition_count, record),
        };
        if let Target::Partition(partition) = target
            && !(0..partition_count).contains(&partition.0)
        {
            return Err(Refusal::NoSuchPartition { partition, partition_count });
        }
        let parts = RecordParts {
            timestamp: record.timestamp.unwrap_or_else(record_timestamp),
            key: record.key,
            value: record.value,
            headers: record.headers,
        };
        match self.accumulator.append(topic, target, &parts, &Instant::now, extras) {
            Ok(appended) => {
                if appended.wake_sender {
                    self.wake.notify_one();
                }
                Ok(appended.delivery)
            }
            Err(error) => Err(Refusal::Append(error)),
        }
    }

    #[inline]
    fn choose(&self, topic: &TopicQueues, count: i32, record: &ProducerRecord<'_>) -> Target {
        let is_sampled = UNTIL_SAMPLE.with(|until| match until.get() {
            0 => {
                until.set(SAMPLED_EACH);
                true
            }
            left => {
                until.set(left - 1);
                false
            }
        });
        if is_sampled {
            return self.choose_timed(topic, count, record);
        }
        self.partitioning.choose(topic, count, record.key, record.value)
    }

    #[cold]
    fn choose_timed(&self, topic: &TopicQueues, count: i32, record: &ProducerRecord<'_>) -> Target {
        let begun = Instant::now();
        let target = self.partitioning.choose(topic, count, record.key, record.value);
        self.caller_metrics.partitioned.lock().record(begun.elapsed(), 1);
        target
    }

    /// Appends a record, waiting up to `max.block.ms` for metadata and memory.
    pub(super) async fn append_waiting(
        &self,
        record: &ProducerRecord<'_>,
        extras: &mut AppendExtras,
        mut refusal: Refusal,
    ) -> Result<Delivery, ProduceError> {
        let begun = Instant::now();
        let topic = TopicName::from(record.topic);
        loop {
            match refusal {
                Refusal::NoMetadata => {
                    self.check_new(&topic)?;
                    self.wait_for_topic(&topic, begun).await?;
                }
                Refusal::NoSuchPartition { partition, partition_count } => {
                    let named_by_caller = record.partition.is_some();
                    self.wait_for_partition(&topic, partition, partition_count, named_by_caller)
                        .await?;
                }
                Refusal::Append(AppendError::MemoryFull { batch_bytes }) => {
                    self.wait_for_memory(&topic, batch_bytes, begun, extras).await?;
                }
                Refusal::Append(error) => return Err(refused(&topic, &error)),
            }
            refusal = match self.try_append(record, extras) {
                Ok(delivery) => return Ok(delivery),
                Err(refusal) => refusal,
            };
        }
    }

    /// Whether a record to a topic that isn't known yet may be waited for.
    pub(super) fn check_new(&self, topic: &TopicName) -> Result<(), ProduceError> {
        topic.validate().map_err(ProduceError::InvalidTopic)?;
        self.accumulator.check_gate().map_err(|error| refused(topic, &error))
    }

    /// Waits until the topic's partitions are known.
    pub(super) async fn wait_for_topic(
        &self,
        topic: &TopicName,
        begun: Instant,
    ) -> Result<(), ProduceError> {
        topic.validate().map_err(ProduceError::InvalidTopic)?;
        // From now on the sender tells this topic of what metadata says.
        let queues = self.accumulator.topic(topic);
        let is_known = || (queues.partition_count().is_some()).then_some(Ok(()));
        if is_known().is_some() {
            return Ok(());
        }
        let generation = self.generation();
        let turned_away = self.turned_away.lock().0;
        let _asked = self.topics.add(topic);
        let known = self.metadata_changed.until(|| {
            if let Some(closed) = self.closed(topic) {
                return Some(Err(closed));
            }
            let refusal = || self.refusal_of(topic, generation);
            let turned_away = || {
                let cause = self.turned_away_since(turned_away)?;
                Some(ProduceError::TurnedAway { topic: topic.clone(), cause })
            };
            let refusal = || refusal().or_else(turned_away);
            is_known().or_else(|| refusal().map(Err))
        });
        let deadline = self.deadlines.at(begun + self.max_block);
        let outcome = before(known, deadline, || self.wake.notify_one()).await;
        self.caller_metrics.count_metadata_wait(begun.elapsed());
        outcome.unwrap_or_else(|| {
            Err(ProduceError::MetadataTimeout {
                topic: topic.clone(),
                cause: self.why_unknown(topic),
                waited: begun.elapsed(),
            })
        })
    }

    /// Asks once more for a topic that has too few partitions, if the caller named one: it may just
    /// have been added.
    async fn wait_for_partition(
        &self,
        topic: &TopicName,
        partition: PartitionIndex,
        partition_count: i32,
        named_by_caller: bool,
    ) -> Result<(), ProduceError> {
        let none = |partition_count| ProduceError::NoSuchPartition {
            topic: topic.clone(),
            partition,
            partition_count,
        };
        if !named_by_caller || partition.0 < 0 {
            return Err(none(partition_count));
        }
        let generation = self.generation();
        let _asked = self.topics.add(topic);
        let queues = self.accumulator.topic(topic);
        let told = self.metadata_changed.until(|| {
            let count = queues.partition_count().unwrap_or(0);
            if partition.0 < count {
                return Some(Ok(()));
            }
            // The second view from here on was asked for after the wait began.
            (self.generation() > generation + 1).then(|| Err(none(count)))
        });
        let deadline = self.deadlines.at(Instant::now() + self.max_block);
        let outcome = before(told, deadline, || self.wake.notify_one()).await;
        outcome.unwrap_or_else(|| Err(none(partition_count)))
    }

    async fn wait_for_memory(
        &self,
        topic: &TopicName,
        batch_bytes: usize,
        begun: Instant,
        extras: &mut AppendExtras,
    ) -> Result<(), ProduceError> {
        // Too little, if it is there at all: the batch got larger since.
        extras.reservation = None;
        let waiting_since = Instant::now();
        let memory = self.accumulator.memory().reserve(batch_bytes);
        // Batches are ready now that somebody waits.
        self.wake.notify_one();
        let deadline = self.deadlines.at(begun + self.max_block);
        extras.reservation = before(memory, deadline, || self.wake.notify_one()).await;
        self.caller_metrics.count_memory_wait(waiting_since.elapsed());
        if let Some(closed) = self.closed(topic) {
            extras.reservation = None;
            return Err(closed);
        }
        match extras.reservation {
            Some(_) => Ok(()),
            None => Err(ProduceError::MemoryFull { topic: topic.clone(), waited: begun.elapsed() }),
        }
    }

    /// That the producer takes nothing more, and why, if so.
    fn closed(&self, topic: &TopicName) -> Option<ProduceError> {
        let is_closed = self.accumulator.is_closed();
        let refusal = self.accumulator.check_gate().err().filter(|_| is_closed);
        refusal.map(|error| refused(topic, &error))
    }

    fn generation(&self) -> u64 {
        self.view.get().map_or(0, |view| view.snapshot().generation())
    }

    /// What metadata newer than `generation` says for good against the topic.
    fn refusal_of(&self, topic: &TopicName, generation: u64) -> Option<ProduceError> {
        let snapshot = self.view.get()?.snapshot();
        let error = snapshot.topic(topic.as_str())?.error?;
        let is_new = snapshot.generation() > generation;
        let is_final =
            matches!(error, ErrorCode::InvalidTopicException | ErrorCode::TopicAuthorizationFailed);
        let topic = topic.clone();
        (is_new && is_final).then_some(ProduceError::TopicRefused { topic, error })
    }

    /// That no broker has let us in, if that was found out after so many times before.
    pub(super) fn turned_away_since(&self, times: u64) -> Option<Arc<str>> {
        let turned_away = self.turned_away.lock();
        (turned_away.0 > times).then(|| Arc::clone(&turned_away.1))
    }

    /// Why a topic is not known: what a broker said of it, or why none could be asked.
    fn why_unknown(&self, topic: &TopicName) -> Option<Arc<str>> {
        if let Some(unreachable) = self.unreachable.lock().clone() {
            return Some(unreachable);
        }
        let snapshot = self.view.get()?.snapshot();
        let error = snapshot.topic(topic.as_str())?.error?;
        Some(error.to_string().into())
    }
}

/// An append's refusal that no waiting helps against.
pub(super) fn refused(topic: &TopicName, error: &AppendError) -> ProduceError {
    match *error {
        AppendError::RecordTooLarge { record_bytes, bytes_max } => {
            ProduceError::RecordTooLarge { topic: topic.clone(), record_bytes, bytes_max }
        }
        AppendError::NoSuchPartition(partition) => {
            let (topic, partition_count) = (topic.clone(), 0);
            ProduceError::NoSuchPartition { topic, partition, partition_count }
        }
        AppendError::NoTransaction => ProduceError::NoTransaction { topic: topic.clone() },
        AppendError::TransactionFailed => ProduceError::TransactionFailed { topic: topic.clone() },
        AppendError::Fatal(error) => ProduceError::Fatal(error),
        _ => ProduceError::Closed,
    }
}

/// The partitioner that the configuration names.
pub(super) fn partitioning_of(config: &crate::config::ProducerConfig) -> Partitioning {
    use crate::config::PartitionerName;
    match config.partitioner {
        PartitionerName::Default if config.partitioner_ignore_keys => Partitioning::Sticky,
        PartitionerName::Default => Partitioning::Murmur2,
        PartitionerName::UniformSticky => Partitioning::Sticky,
        PartitionerName::RoundRobin => Partitioning::RoundRobin,
        PartitionerName::ConsistentRandom => Partitioning::ConsistentRandom,
    }
}
