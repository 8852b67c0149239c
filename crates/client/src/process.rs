//! Consume, process, produce: what is read, what is made of it and how far that is, in one
//! transaction.

use std::time::Duration;

use streamledger_client_core::transaction::{
    CommittedOffset, ConsumerGroupMetadata, TransactionError, TransactionErrorKind,
    TransactionOperation, TransactionState,
};
use streamledger_protocol::{GroupId, IsolationLevel, TopicPartition};

use crate::config::{ConsumerConfig, ProducerConfig};
use crate::consumer::{Consumer, ConsumerError, ConsumerRecords, Position};
use crate::producer::{
    DeliveryFuture, ProduceError, Producer, ProducerRecord, StartError, Transaction,
};
use crate::wait::wait;

/// Reads partitions, hands what came to a function, and commits the records that it makes together
/// with the offsets of those it was given: each is processed exactly once, whatever fails when.
///
/// With [`new`](Self::new) the partitions are chosen. The offsets are a group's, so that others see
/// them; but it is no member of the group, and nobody shares the partitions out. Two processors of
/// one partition must have one `transactional.id`: then the newer fences the older.
///
/// With [`subscribed`](Self::subscribed) it is a member of the group, which shares the partitions
/// out among its processors (KIP-447). Each has a `transactional.id` of its own; who is no longer
/// what it was in the group when it commits is refused, and its transaction is aborted.
///
/// ```no_run
/// use std::time::Duration;
/// use streamledger::{ConsumeProcessProduce, ConsumerConfig, IsolationLevel, PartitionIndex};
/// use streamledger::{ProcessError, ProduceError, ProducerConfig, ProducerRecord, TopicPartition};
///
/// let consumer = ConsumerConfig::builder()
///     .bootstrap_servers("localhost:9092")
///     .isolation_level(IsolationLevel::ReadCommitted)
///     .build()?;
/// let producer = ProducerConfig::builder()
///     .bootstrap_servers("localhost:9092")
///     .transactional_id("shouting-0")
///     .build()?;
/// let partition = TopicPartition::new("words", PartitionIndex(0));
/// let mut work = ConsumeProcessProduce::new(consumer, producer, "shouting", &[partition])?;
/// loop {
///     work.run_once(Duration::from_secs(1), |records, output| {
///         for record in records {
///             let word = record.value.as_deref().unwrap_or_default().to_ascii_uppercase();
///             let _ = output.send(ProducerRecord::to("shouted").value(&word))?;
///         }
///         Ok::<(), ProduceError>(())
///     })?;
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ConsumeProcessProduce {
    consumer: Consumer,
    producer: Producer,
    source: Source,
    start: Start,
}

/// What is read, and in whose name its offsets are stored.
#[derive(Debug)]
enum Source {
    /// Partitions that were chosen, and a group that nobody is a member of.
    Assigned(ConsumerGroupMetadata, Vec<TopicPartition>),
    /// What the group gives this member of it.
    Subscribed,
}

/// What is to be done before the next records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Take the transactional id, then go to the committed offsets.
    Initialize,
    /// Hear how the last commit ended, then go to the committed offsets.
    Resume,
    /// Abort what is open, if anything is, then go to the committed offsets.
    Rewind,
    GoOn,
}

/// What came of one run.
#[derive(Debug)]
pub enum Processed {
    /// No records came in time.
    Nothing,
    /// So many were processed, and that is committed.
    Committed(usize),
    /// The transaction was aborted; its records are read again in the next run.
    Aborted(TransactionError),
}

/// Why processing can't go on. After an error of the function the next run reads the same records
/// again; after [`is_outcome_unknown`](TransactionError::is_outcome_unknown) it first hears how
/// the commit went.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError<E> {
    /// The producer could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The consumer reads what is not committed.
    #[error("isolation.level is read_uncommitted; set read_committed to process each record once")]
    ReadsUncommitted,
    /// The consumer commits offsets by itself, also of records that are not processed yet.
    #[error("enable.auto.commit is on; set it to false, as offsets are committed with the output")]
    CommitsByItself,
    /// Reading failed.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// The transaction failed in a way that another run can't mend, or not at once.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// The function failed; its transaction is aborted.
    #[error("the records could not be processed: {0}")]
    Function(E),
}

/// Where the function puts what it makes.
#[derive(Debug)]
pub struct Output<'a>(&'a Transaction<'a>);

impl Output<'_> {
    /// Sends a record in the transaction. Whether it is delivered shows in the commit: the future
    /// needn't be waited for.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub fn send(&self, record: ProducerRecord<'_>) -> Result<DeliveryFuture, ProduceError> {
        self.0.send(record)
    }

    /// As [`send`](Self::send), but waits for room in the buffer without blocking the thread.
    ///
    /// # Errors
    /// As [`Producer::send_async`].
    pub async fn send_async(
        &self,
        record: ProducerRecord<'_>,
    ) -> Result<DeliveryFuture, ProduceError> {
        self.0.send_async(record).await
    }
}

impl ConsumeProcessProduce {
    /// Starts a consumer and a producer; nothing is asked of a broker before the first run.
    ///
    /// # Errors
    /// They can't be started, or the consumer reads more than committed records, or commits by
    /// itself.
    pub fn new(
        consumer: ConsumerConfig,
        producer: ProducerConfig,
        group: impl Into<GroupId>,
        partitions: &[TopicPartition],
    ) -> Result<Self, ProcessError<std::convert::Infallible>> {
        let group = ConsumerGroupMetadata::new(group);
        Self::start(consumer, producer, Source::Assigned(group, partitions.to_vec()))
    }

    /// As a member of the consumer's `group.id`, by either protocol: reads what the group gives it
    /// of these topics, and goes on from what the group has committed. It joins with the first run,
    /// and leaves when its [`consumer`](Self::consumer) is closed; one that is dropped, or that
    /// runs too seldom (`max.poll.interval.ms`), is put out after a time.
    ///
    /// # Errors
    /// As [`new`](Self::new), or the consumer has no `group.id`.
    pub fn subscribed<T: AsRef<str>>(
        consumer: ConsumerConfig,
        producer: ProducerConfig,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<Self, ProcessError<std::convert::Infallible>> {
        let work = Self::start(consumer, producer, Source::Subscribed)?;
        work.consumer.subscribe(topics)?;
        Ok(work)
    }

    fn start(
        consumer: ConsumerConfig,
        producer: ProducerConfig,
        source: Source,
    ) -> Result<Self, ProcessError<std::convert::Infallible>> {
        if consumer.isolation_level != IsolationLevel::ReadCommitted {
            return Err(ProcessError::ReadsUncommitted);
        }
        if consumer.group_id.is_some() && consumer.enable_auto_commit {
            return Err(ProcessError::CommitsByItself);
        }
        let (consumer, producer) = (Consumer::new(consumer)?, Producer::new(producer)?);
        Ok(Self { consumer, producer, source, start: Start::Initialize })
    }

    /// Waits up to `timeout` for records, and processes those that came in one transaction. Blocks.
    ///
    /// Begins at what the group has committed, or where `auto.offset.reset` says.
    ///
    /// # Errors
    /// See [`ProcessError`].
    pub fn run_once<E>(
        &mut self,
        timeout: Duration,
        process: impl FnOnce(&ConsumerRecords, &Output<'_>) -> Result<(), E>,
    ) -> Result<Processed, ProcessError<E>> {
        self.producer.check_may_wait(TransactionOperation::Begin)?;
        wait(self.run_once_async(timeout, async |records, output| process(records, output)))
    }

    /// As [`run_once`](Self::run_once), async: on any executor. Dropping the future loses no record
    /// and commits none twice: the next run first hears how what was begun has ended.
    ///
    /// # Errors
    /// As the blocking call.
    pub async fn run_once_async<E>(
        &mut self,
        timeout: Duration,
        process: impl AsyncFnOnce(&ConsumerRecords, &Output<'_>) -> Result<(), E>,
    ) -> Result<Processed, ProcessError<E>> {
        self.make_ready().await?;
        let records = self.consumer.poll_async(timeout).await?;
        if records.is_empty() {
            return Ok(Processed::Nothing);
        }
        // Whatever comes between here and the commit, these are to be read again.
        self.start = Start::Rewind;
        let Some(reader) = self.membership() else {
            // It was put out just now, and others may have these partitions.
            return Ok(Processed::Nothing);
        };
        let mut transaction = self.producer.begin_transaction_async().await?;
        if let Err(error) = process(&records, &Output(&transaction)).await {
            // What a record's own failure led to is mended by another run.
            abort(transaction).await?;
            return Err(ProcessError::Function(error));
        }
        let offsets = next_offsets(&records);
        // A later generation is as good: no partition goes to others but by the next poll. A member
        // that was put out meanwhile stays who it was, so that it is refused: offsets of nobody in
        // particular would be taken.
        let now = self.membership().filter(|now| now.member_id == reader.member_id);
        let mut ended = transaction.send_offsets_async(&offsets, &now.unwrap_or(reader)).await;
        if ended.is_ok() {
            // Until it is heard of, also if nobody waits for it any more.
            self.start = Start::Resume;
            ended = transaction.commit_async().await;
        }
        match ended {
            Ok(()) => {
                self.start = Start::GoOn;
                Ok(Processed::Committed(records.len()))
            }
            Err(error) if error.must_abort() => {
                self.start = Start::Rewind;
                abort(transaction).await?;
                Ok(Processed::Aborted(error))
            }
            Err(error) => {
                if !error.is_outcome_unknown() {
                    self.start = Start::Rewind;
                }
                Err(error.into())
            }
        }
    }

    /// The consumer, to look at.
    #[must_use]
    pub fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// The producer, to look at, or to close.
    #[must_use]
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    async fn make_ready<E>(&mut self) -> Result<(), ProcessError<E>> {
        let left = self.producer.resume_transaction();
        match (self.start, left) {
            (Start::GoOn, _) => return Ok(()),
            (Start::Initialize, _) => self.producer.init_transactions_async().await?,
            (Start::Rewind | Start::Resume, None) => {}
            (Start::Rewind, Some(transaction)) => abort_left(transaction).await?,
            (Start::Resume, Some(mut transaction)) => match transaction.commit_async().await {
                Ok(()) => {}
                Err(error) if error.must_abort() => {
                    self.start = Start::Rewind;
                    abort_left(transaction).await?;
                }
                Err(error) => return Err(error.into()),
            },
        }
        self.start = Start::Rewind;
        self.go_to_committed().await?;
        self.start = Start::GoOn;
        Ok(())
    }

    async fn go_to_committed(&self) -> Result<(), ConsumerError> {
        let (group, partitions) = match &self.source {
            Source::Assigned(group, partitions) => (group.group_id.clone(), partitions.clone()),
            Source::Subscribed => {
                let group = self.consumer.group_metadata().ok_or(ConsumerError::NoGroup)?;
                (group.group_id, self.consumer.assignment())
            }
        };
        if partitions.is_empty() {
            return Ok(());
        }
        let committed = self.consumer.committed_async(group.as_str(), &partitions).await?;
        let positions = partitions.into_iter().zip(committed).map(|(partition, committed)| {
            let at = committed.map_or(Position::Reset, |stored| Position::Offset(stored.offset));
            (partition, at)
        });
        let positions: Vec<_> = positions.collect();
        match &self.source {
            Source::Assigned(..) => self.consumer.assign(&positions),
            Source::Subscribed => {
                for (partition, position) in &positions {
                    match self.consumer.seek(partition, *position) {
                        // Who gets it next begins at what is committed.
                        Ok(()) | Err(ConsumerError::NotAssigned(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }

    /// As whom offsets are stored now; none where the membership is over.
    fn membership(&self) -> Option<ConsumerGroupMetadata> {
        match &self.source {
            Source::Assigned(group, _) => Some(group.clone()),
            Source::Subscribed => {
                let group = self.consumer.group_metadata();
                group.filter(|group| !group.member_id.is_empty())
            }
        }
    }
}

/// Aborts what another run has left, and waits for that. A run that was given up may have had it
/// aborted in the background just now.
async fn abort_left(transaction: Transaction<'_>) -> Result<(), TransactionError> {
    match transaction.abort_async().await {
        Err(TransactionError {
            kind: TransactionErrorKind::NotAllowed(TransactionState::Ready),
            ..
        }) => Ok(()),
        outcome => outcome,
    }
}

/// Aborts; one that isn't heard of in time goes on, and the next run waits for it.
async fn abort(transaction: Transaction<'_>) -> Result<(), TransactionError> {
    match transaction.abort_async().await {
        Err(error) if error.is_fatal() => Err(error),
        _ => Ok(()),
    }
}

/// The offset after the last record of each partition.
fn next_offsets(records: &ConsumerRecords) -> Vec<(TopicPartition, CommittedOffset)> {
    let mut offsets: Vec<(TopicPartition, CommittedOffset)> = Vec::new();
    for record in records {
        let next = CommittedOffset {
            offset: record.offset.next(),
            leader_epoch: record.leader_epoch,
            metadata: None,
        };
        match offsets.iter_mut().find(|(partition, _)| *partition == record.topic_partition) {
            Some((_, offset)) => *offset = next,
            None => offsets.push((record.topic_partition.clone(), next)),
        }
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_that_would_break_the_promise_is_refused() {
        let refused = |settings: &[(&str, &str)]| {
            let mut consumer = ConsumerConfig::builder().bootstrap_servers("localhost:1");
            for (name, value) in settings {
                consumer = consumer.set(*name, *value);
            }
            let producer = ProducerConfig::builder()
                .bootstrap_servers("localhost:1")
                .transactional_id("id")
                .build();
            let made =
                ConsumeProcessProduce::new(consumer.build().unwrap(), producer.unwrap(), "g", &[]);
            made.err()
        };
        let committed = ("isolation.level", "read_committed");
        assert!(refused(&[committed]).is_none());
        assert!(matches!(refused(&[]), Some(ProcessError::ReadsUncommitted)));
        let grouped = ("group.id", "g");
        assert!(matches!(refused(&[committed, grouped]), Some(ProcessError::CommitsByItself)));
        assert!(refused(&[committed, grouped, ("enable.auto.commit", "false")]).is_none());
    }

    #[test]
    fn a_member_needs_a_group() {
        let consumer = ConsumerConfig::builder()
            .bootstrap_servers("localhost:1")
            .isolation_level(IsolationLevel::ReadCommitted);
        let producer =
            ProducerConfig::builder().bootstrap_servers("localhost:1").transactional_id("id");
        let (consumer, producer) = (consumer.build().unwrap(), producer.build().unwrap());
        let made = ConsumeProcessProduce::subscribed(consumer, producer, ["in"]);
        assert!(matches!(made, Err(ProcessError::Consumer(ConsumerError::NoGroup))));
    }
}
