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
/// The offsets are a group's, so that others see them; but it is no member of the group, and nobody
/// shares the partitions out. Two processors of one partition must have one `transactional.id`:
/// then the newer fences the older.
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
    group: ConsumerGroupMetadata,
    partitions: Vec<TopicPartition>,
    start: Start,
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
        if consumer.isolation_level != IsolationLevel::ReadCommitted {
            return Err(ProcessError::ReadsUncommitted);
        }
        if consumer.group_id.is_some() && consumer.enable_auto_commit {
            return Err(ProcessError::CommitsByItself);
        }
        Ok(Self {
            consumer: Consumer::new(consumer)?,
            producer: Producer::new(producer)?,
            group: ConsumerGroupMetadata::new(group),
            partitions: partitions.to_vec(),
            start: Start::Initialize,
        })
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
        let mut transaction = self.producer.begin_transaction_async().await?;
        if let Err(error) = process(&records, &Output(&transaction)).await {
            // What a record's own failure led to is mended by another run.
            abort(transaction).await?;
            return Err(ProcessError::Function(error));
        }
        let offsets = next_offsets(&records);
        let mut ended = transaction.send_offsets_async(&offsets, &self.group).await;
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
        let group = self.group.group_id.as_str();
        let committed = self.consumer.committed_async(group, &self.partitions).await?;
        let positions = self.partitions.iter().cloned().zip(committed);
        let positions = positions.map(|(partition, committed)| {
            let at = committed.map_or(Position::Reset, |stored| Position::Offset(stored.offset));
            (partition, at)
        });
        self.consumer.assign(&positions.collect::<Vec<_>>());
        self.start = Start::GoOn;
        Ok(())
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
}
