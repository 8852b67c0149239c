//! Transactions: records and offsets that readers see all of, or none.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use streamledger_client_core::accumulator::RecordMetadata;
use streamledger_client_core::transaction::{
    CommittedOffset, ConsumerGroupMetadata, DeskAnswer, GroupOffsets, TransactionCommand,
    TransactionError, TransactionErrorKind, TransactionOperation,
};
use streamledger_protocol::TopicPartition;

use super::shared::{Shared, Transactions};
use super::wait::before;
use super::{
    BulkDelivery, BulkError, DeliveryFuture, ProduceError, Producer, ProducerRecord, TrySendError,
};
use crate::wait::wait;

/// An open transaction of a [`Producer`] with a `transactional.id`.
///
/// Dropped without [`commit`](Self::commit) it is aborted, in the background. A commit whose
/// outcome isn't known yet is not: that outcome is to be heard, by calling `commit` again on the
/// guard, or on that of [`Producer::resume_transaction`].
///
/// ```no_run
/// use streamledger::{Producer, ProducerConfig, ProducerRecord};
/// let config = ProducerConfig::builder()
///     .bootstrap_servers("localhost:9092")
///     .transactional_id("billing-1")
///     .build()?;
/// let producer = Producer::new(config)?;
/// producer.init_transactions()?;
/// let mut transaction = producer.begin_transaction()?;
/// let _ = transaction.send(ProducerRecord::to("invoices").key("7").value("{}"))?;
/// let _ = transaction.send(ProducerRecord::to("ledger").key("7").value("+12"))?;
/// transaction.commit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropped, the transaction is aborted"]
pub struct Transaction<'a> {
    producer: &'a Producer,
    /// There is nothing left to abort.
    ended: bool,
}

impl Producer {
    /// Makes this the one producer with its `transactional.id`: an older one is fenced, and a
    /// transaction that it left open is aborted. To be called once, before the first transaction.
    /// Blocks, up to `max.block.ms`.
    ///
    /// # Errors
    /// See [`TransactionError`].
    pub fn init_transactions(&self) -> Result<(), TransactionError> {
        self.operate_blocking(TransactionOperation::Init, None)
    }

    /// As [`Producer::init_transactions`], as a future.
    ///
    /// # Errors
    /// As the blocking call.
    pub async fn init_transactions_async(&self) -> Result<(), TransactionError> {
        self.operate(TransactionOperation::Init, None).await
    }

    /// Opens a transaction. All records that are sent until its end are part of it, by whichever
    /// clone of the producer. Asks no broker, unless one of the last transaction needs a new epoch.
    ///
    /// # Errors
    /// See [`TransactionError`]: one is open already, or the outcome of the last is still to be
    /// heard.
    pub fn begin_transaction(&self) -> Result<Transaction<'_>, TransactionError> {
        self.operate_blocking(TransactionOperation::Begin, None)?;
        Ok(Transaction { producer: self, ended: false })
    }

    /// As [`Producer::begin_transaction`], as a future.
    ///
    /// # Errors
    /// As the blocking call.
    pub async fn begin_transaction_async(&self) -> Result<Transaction<'_>, TransactionError> {
        self.operate(TransactionOperation::Begin, None).await?;
        Ok(Transaction { producer: self, ended: false })
    }

    /// The transaction that has not ended, or whose end nobody has heard, when its guard is gone.
    #[must_use]
    pub fn resume_transaction(&self) -> Option<Transaction<'_>> {
        let has_one = self.0.shared.transactions.as_ref()?.desk.has_transaction();
        // Made only where there is one: a guard that is dropped leaves what goes on.
        has_one.then(|| Transaction { producer: self, ended: false })
    }

    fn operate_blocking(
        &self,
        operation: TransactionOperation,
        offsets: Option<GroupOffsets>,
    ) -> Result<(), TransactionError> {
        self.check_may_wait(operation)?;
        wait(self.operate(operation, offsets))
    }

    /// Whether this thread may wait for an operation.
    pub(crate) fn check_may_wait(
        &self,
        operation: TransactionOperation,
    ) -> Result<(), TransactionError> {
        match self.0.shared.is_io_thread() {
            true => Err(TransactionError::refused(operation, TransactionErrorKind::WouldDeadlock)),
            false => Ok(()),
        }
    }

    fn operate(
        &self,
        operation: TransactionOperation,
        offsets: Option<GroupOffsets>,
    ) -> impl Future<Output = Result<(), TransactionError>> + Send + '_ {
        let command = TransactionCommand { operation, offsets: offsets.map(Box::new) };
        async move {
            let shared = &*self.0.shared;
            match &shared.transactions {
                Some(transactions) => {
                    let begun = Instant::now();
                    let outcome = operate(shared, transactions, command).await;
                    shared.caller_metrics.count_transaction(operation, begun.elapsed());
                    outcome
                }
                None => Err(TransactionError::refused(
                    operation,
                    TransactionErrorKind::NotTransactional,
                )),
            }
        }
    }
}

/// Asks for an operation and waits for its outcome, up to `max.block.ms`.
async fn operate(
    shared: &Shared,
    transactions: &Transactions,
    command: TransactionCommand,
) -> Result<(), TransactionError> {
    let begun = Instant::now();
    let turned_away = shared.turned_away.lock().0;
    let (operation, desk) = (command.operation, &transactions.desk);
    let deadline = || shared.deadlines.at(begun + shared.max_block);
    let wake = || shared.wake.notify_one();
    loop {
        match desk.ask(command.clone()).map_err(|error| *error)? {
            DeskAnswer::Taken => {
                wake();
                break;
            }
            DeskAnswer::Joined => break,
            DeskAnswer::Aborting => {
                let aborted = poll_fn(|context| desk.poll_aborted(context.waker()));
                if before(aborted, deadline(), wake).await.is_none() {
                    let pending = TransactionOperation::Abort;
                    return Err(TransactionError::refused(
                        operation,
                        TransactionErrorKind::OtherPending(pending),
                    ));
                }
            }
        }
    }
    let mut turned = shared.metadata_changed.until(|| shared.turned_away_since(turned_away));
    let outcome = poll_fn(|context| match desk.poll_outcome(operation, context.waker()) {
        Poll::Ready(outcome) => Poll::Ready(outcome),
        Poll::Pending => Pin::new(&mut turned)
            .poll(context)
            .map(|cause| Err(desk.turned_away(operation, cause, begun.elapsed()))),
    });
    match before(outcome, deadline(), wake).await {
        Some(outcome) => outcome.map_err(|error| *error),
        None => Err(*desk.timed_out(operation, begun.elapsed())),
    }
}

impl<'a> Transaction<'a> {
    /// The producer, for what isn't here: typed records, flush, metrics.
    #[must_use]
    pub fn producer(&self) -> &'a Producer {
        self.producer
    }

    /// As [`Producer::send`].
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub fn send(&self, record: ProducerRecord<'_>) -> Result<DeliveryFuture, ProduceError> {
        self.producer.send(record)
    }

    /// As [`Producer::send_async`].
    ///
    /// # Errors
    /// As [`Producer::send_async`].
    pub async fn send_async(
        &self,
        record: ProducerRecord<'_>,
    ) -> Result<DeliveryFuture, ProduceError> {
        self.producer.send_async(record).await
    }

    /// As [`Producer::try_send`].
    ///
    /// # Errors
    /// As [`Producer::try_send`].
    pub fn try_send<'r>(
        &self,
        record: ProducerRecord<'r>,
    ) -> Result<DeliveryFuture, TrySendError<'r>> {
        self.producer.try_send(record)
    }

    /// As [`Producer::send_with`].
    ///
    /// # Errors
    /// As [`Producer::send_with`].
    pub fn send_with(
        &self,
        record: ProducerRecord<'_>,
        callback: impl FnOnce(Result<RecordMetadata, ProduceError>) + Send + 'static,
    ) -> Result<(), ProduceError> {
        self.producer.send_with(record, callback)
    }

    /// As [`Producer::send_all`].
    ///
    /// # Errors
    /// As [`Producer::send_all`].
    pub fn send_all<'r>(
        &self,
        records: impl IntoIterator<Item = ProducerRecord<'r>>,
    ) -> Result<BulkDelivery, BulkError> {
        self.producer.send_all(records)
    }

    /// Adds the offsets of the next records that a group is to read: they count when the
    /// transaction is committed, and only then. Blocks, up to `max.block.ms`.
    ///
    /// # Errors
    /// See [`TransactionError`]. After a time-out the same call goes on, with the offsets of the
    /// first.
    pub fn send_offsets(
        &self,
        offsets: &[(TopicPartition, CommittedOffset)],
        group: &ConsumerGroupMetadata,
    ) -> Result<(), TransactionError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let offsets = group_offsets(offsets, group);
        self.producer.operate_blocking(TransactionOperation::SendOffsets, Some(offsets))
    }

    /// As [`Transaction::send_offsets`], as a future.
    ///
    /// # Errors
    /// As the blocking call.
    pub async fn send_offsets_async(
        &self,
        offsets: &[(TopicPartition, CommittedOffset)],
        group: &ConsumerGroupMetadata,
    ) -> Result<(), TransactionError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let offsets = group_offsets(offsets, group);
        self.producer.operate(TransactionOperation::SendOffsets, Some(offsets)).await
    }

    /// Sends what is left, waits for all of it, and commits. Blocks, up to `max.block.ms`.
    ///
    /// # Errors
    /// A record failed ([`must_abort`](TransactionError::must_abort)); or the outcome isn't known
    /// ([`is_outcome_unknown`](TransactionError::is_outcome_unknown)): then call it again, for
    /// nothing else can be done before; or the producer can't go on.
    pub fn commit(&mut self) -> Result<(), TransactionError> {
        let outcome = self.producer.operate_blocking(TransactionOperation::Commit, None);
        self.ended |= outcome.is_ok();
        outcome
    }

    /// As [`Transaction::commit`], as a future. Dropping it changes nothing: the commit goes on,
    /// and its outcome is to be heard by calling again.
    ///
    /// # Errors
    /// As the blocking call.
    pub async fn commit_async(&mut self) -> Result<(), TransactionError> {
        let outcome = self.producer.operate(TransactionOperation::Commit, None).await;
        self.ended |= outcome.is_ok();
        outcome
    }

    /// Gives up what isn't sent, waits for what is in flight, and aborts. Blocks, up to
    /// `max.block.ms`.
    ///
    /// # Errors
    /// There was no answer in time: call it again; or the producer can't go on.
    pub fn abort(mut self) -> Result<(), TransactionError> {
        let outcome = self.producer.operate_blocking(TransactionOperation::Abort, None);
        self.ended |= outcome.is_ok();
        outcome
    }

    /// As [`Transaction::abort`], as a future.
    ///
    /// # Errors
    /// As the blocking call.
    pub async fn abort_async(mut self) -> Result<(), TransactionError> {
        let outcome = self.producer.operate(TransactionOperation::Abort, None).await;
        self.ended |= outcome.is_ok();
        outcome
    }
}

fn group_offsets(
    offsets: &[(TopicPartition, CommittedOffset)],
    group: &ConsumerGroupMetadata,
) -> GroupOffsets {
    GroupOffsets { group: group.clone(), offsets: offsets.to_vec() }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let shared = &self.producer.0.shared;
        if let Some(transactions) = &shared.transactions {
            transactions.desk.leave();
            shared.wake.notify_one();
        }
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("ended", &self.ended).finish_non_exhaustive()
    }
}
