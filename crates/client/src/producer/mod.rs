//! The Producer: records from any thread into batches, batches to the brokers, the ends back.
//!
//! 1. A handle is `Send + Sync + Clone`; all sends take `&self`. Its one thread does all I/O.
//! 2. Nobody is forced to have a runtime: futures are plain wakers and each has a blocking twin.
//! 3. `send` waits for nothing but buffer memory and the first metadata of a topic.
//! 4. Dropping a future or a handle never cancels a record, and never blocks.
//! 5. A record's way through here costs no allocation, no clock read but a coarse one, and no
//!    hand-over to another thread: the thread is woken once a batch.
//!
//! Reading order: `record`, `send` (into a batch; `intercepted` past those who look), `io_loop` and
//! `request` (to the broker), `delivery` (the end); `transaction` and `coordinate` (to its broker);
//! then `bulk` and `typed`.

mod builder;
mod bulk;
mod clock;
mod codec_threads;
mod coordinate;
mod delivery;
mod error;
mod intercepted;
mod io_loop;
mod json;
mod metrics;
mod record;
mod report;
mod request;
mod send;
mod shared;
mod transaction;
mod typed;
mod wait;

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::{Duration, Instant};

use streamledger_client_core::accumulator::{
    AppendError, AppendExtras, Callback, Delivery, RecordMetadata,
};
use streamledger_client_core::cluster::Partition;
use streamledger_protocol::{ClientInstanceId, TopicName};

pub use builder::{ProducerBuilder, StartError};
pub use bulk::{BulkDelivery, BulkError, BulkReport};
pub use delivery::DeliveryFuture;
pub use error::{ProduceError, TrySendError};
pub(crate) use io_loop::guard;
pub use json::JsonSerializer;
pub use metrics::{NodeMetrics, ProducerMetrics, StageMetrics, TopicMetrics};
pub use record::ProducerRecord;
pub use report::{BatchReport, CloseReport};
pub use transaction::Transaction;
pub use typed::{TypedProducer, TypedRecord};

use crate::config::ProducerConfig;
use crate::telemetry::ClientInstanceIdError;
use crate::wait::wait;
use send::{Refusal, refused};
use shared::Shared;

/// Sends records to a Kafka cluster. Clones share one accumulator, one thread, one set of
/// connections; when the last is dropped, what was sent is still delivered in the background.
///
/// ```no_run
/// use streamledger::{Producer, ProducerConfig, ProducerRecord};
/// let config = ProducerConfig::builder().bootstrap_servers("localhost:9092").build()?;
/// let producer = Producer::new(config)?;
/// let delivery = producer.send(ProducerRecord::to("clicks").key("user-7").value("{}"))?;
/// println!("{:?}", delivery.wait()?.offset);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Producer(Arc<Handle>);

/// The last handle's end is the producer's.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let transactions = self.shared.transactions.as_ref();
        let until = transactions.and_then(|t| Instant::now().checked_add(t.timeout));
        self.shared.begin_close(until);
    }
}

impl Producer {
    /// Starts a producer. Returns at once: brokers are connected to in the background.
    ///
    /// # Errors
    /// The codec is not built in, or the system gives no thread.
    pub fn new(config: ProducerConfig) -> Result<Self, StartError> {
        Self::builder(config).build()
    }

    /// A producer with a partitioner of your own, or an observer of its batches.
    pub fn builder(config: ProducerConfig) -> ProducerBuilder {
        ProducerBuilder::new(config)
    }

    /// Puts a record into its partition's open batch and gives the future of its end.
    ///
    /// Blocks this thread, up to `max.block.ms`, if the buffer memory is used up or the topic's
    /// metadata is not known yet.
    ///
    /// # Errors
    /// The record was not accepted, and will not be sent.
    #[inline]
    pub fn send(&self, record: ProducerRecord<'_>) -> Result<DeliveryFuture, ProduceError> {
        if let Some(interceptors) = &self.0.shared.interceptors {
            return self.send_through(interceptors, record, None).map(DeliveryFuture);
        }
        let mut extras = AppendExtras::default();
        match self.0.shared.try_append(&record, &mut extras) {
            Ok(delivery) => Ok(DeliveryFuture(delivery)),
            Err(refusal) => self.append_blocking(&record, extras, refusal).map(DeliveryFuture),
        }
    }

    /// As [`Producer::send`], but waits as a future does. Dropping the future before it is done
    /// means that the record is not sent.
    ///
    /// # Errors
    /// The record was not accepted, and will not be sent.
    pub async fn send_async(
        &self,
        record: ProducerRecord<'_>,
    ) -> Result<DeliveryFuture, ProduceError> {
        if let Some(interceptors) = &self.0.shared.interceptors {
            return self.send_through_async(interceptors, record).await.map(DeliveryFuture);
        }
        let mut extras = AppendExtras::default();
        let shared = &*self.0.shared;
        match shared.try_append(&record, &mut extras) {
            Ok(delivery) => Ok(DeliveryFuture(delivery)),
            Err(refusal) => {
                let delivery = shared.append_waiting(&record, &mut extras, refusal).await?;
                Ok(DeliveryFuture(delivery))
            }
        }
    }

    /// As [`Producer::send`], but never waits.
    ///
    /// # Errors
    /// [`TrySendError::Full`] gives the record back if it would have to wait. For a topic that is
    /// not known yet, that begins to ask for it.
    pub fn try_send<'a>(
        &self,
        record: ProducerRecord<'a>,
    ) -> Result<DeliveryFuture, TrySendError<'a>> {
        if let Some(interceptors) = &self.0.shared.interceptors {
            return self.try_send_through(interceptors, record).map(DeliveryFuture);
        }
        let mut extras = AppendExtras::default();
        match self.0.shared.try_append(&record, &mut extras) {
            Ok(delivery) => Ok(DeliveryFuture(delivery)),
            Err(refusal) => Err(match self.would_wait(record.topic, refusal) {
                None => TrySendError::Full(record),
                Some(error) => TrySendError::Failed(error),
            }),
        }
    }

    /// As [`Producer::send`], but calls `callback` with the end, on the producer's thread, which it
    /// must not hold up. The callbacks of a partition are called in the order of its records.
    ///
    /// # Errors
    /// The record was not accepted, and will not be sent; the callback is not called.
    pub fn send_with(
        &self,
        record: ProducerRecord<'_>,
        callback: impl FnOnce(Result<RecordMetadata, ProduceError>) + Send + 'static,
    ) -> Result<(), ProduceError> {
        let callback: Callback = Box::new(move |result| {
            io_loop::guard("a callback", || callback(result.map_err(ProduceError::from)));
        });
        if let Some(interceptors) = &self.0.shared.interceptors {
            return self.send_through(interceptors, record, Some(callback)).map(|_| ());
        }
        let mut extras = AppendExtras { callback: Some(callback), reservation: None };
        match self.0.shared.try_append(&record, &mut extras) {
            Ok(_) => Ok(()),
            Err(refusal) => self.append_blocking(&record, extras, refusal).map(|_| ()),
        }
    }

    /// Sends many records, and gives one future for all.
    ///
    /// # Errors
    /// A record was not accepted. The ones before it were, and their future comes with the error.
    pub fn send_all<'a>(
        &self,
        records: impl IntoIterator<Item = ProducerRecord<'a>>,
    ) -> Result<BulkDelivery, BulkError> {
        let mut bulk = BulkDelivery::default();
        for record in records {
            match self.send(record) {
                Ok(delivery) => bulk.add(delivery.0),
                Err(error) => return Err(BulkError { accepted: bulk, error }),
            }
        }
        Ok(bulk)
    }

    /// Sends what is in open batches without waiting for their linger time, and blocks until every
    /// record that was sent before has its end.
    ///
    /// # Errors
    /// [`ProduceError::WouldDeadlock`] in a callback.
    pub fn flush(&self) -> Result<(), ProduceError> {
        if self.0.shared.is_io_thread() {
            return Err(ProduceError::WouldDeadlock);
        }
        wait(self.flush_async());
        Ok(())
    }

    /// As [`Producer::flush`], as a future. The flush begins in the call.
    pub fn flush_async(&self) -> impl Future<Output = ()> + Send + use<> {
        let (shared, begun) = (Arc::clone(&self.0.shared), Instant::now());
        let flush = shared.accumulator.begin_flush();
        shared.wake.notify_one();
        async move {
            poll_fn(|context| shared.accumulator.poll_flushed(flush, context.waker())).await;
            shared.caller_metrics.count_flush(begun.elapsed());
        }
    }

    /// Takes no more records, from any clone; delivers what there is, for at most `timeout`; then
    /// gives up the rest and says how much that was. Blocks, except in a callback.
    pub fn close(&self, timeout: Duration) -> CloseReport {
        let closed = self.close_async(timeout);
        if self.0.shared.is_io_thread() {
            return CloseReport::default();
        }
        wait(closed)
    }

    /// As [`Producer::close`], as a future. The close begins in the call, and goes on if the future
    /// is dropped.
    pub fn close_async(
        &self,
        timeout: Duration,
    ) -> impl Future<Output = CloseReport> + Send + use<> {
        let shared = Arc::clone(&self.0.shared);
        shared.begin_close(Instant::now().checked_add(timeout));
        shared.metadata_changed.wake_all();
        async move { shared.end_waiters.until(|| shared.ended.get().copied()).await }
    }

    /// The topic's partitions and their leaders. Blocks, up to `max.block.ms`, if they aren't
    /// known.
    ///
    /// # Errors
    /// They did not become known.
    pub fn partitions_for(&self, topic: &str) -> Result<Vec<Partition>, ProduceError> {
        let shared = &self.0.shared;
        let topic = TopicName::from(topic);
        let is_known = shared.accumulator.with_topic(topic.as_str(), |t| t.partition_count());
        if is_known.flatten().is_none() {
            if shared.is_io_thread() {
                return Err(ProduceError::WouldDeadlock);
            }
            wait(shared.wait_for_topic(&topic, Instant::now()))?;
        }
        let snapshot = shared.view.get().map(crate::metadata::MetadataView::snapshot);
        let known = snapshot.as_ref().and_then(|snapshot| snapshot.topic(topic.as_str()));
        Ok(known.map_or_else(Vec::new, |topic| topic.partitions.clone()))
    }

    /// Counters and times, now.
    #[must_use]
    pub fn metrics(&self) -> ProducerMetrics {
        ProducerMetrics::take(&self.0.shared)
    }

    /// What the cluster calls this producer in the metrics that it pushes (KIP-714). Blocks, up to
    /// `timeout`, while no broker has said so; makes the producer connect.
    ///
    /// # Errors
    /// See [`ClientInstanceIdError`].
    pub fn client_instance_id(
        &self,
        timeout: Duration,
    ) -> Result<ClientInstanceId, ClientInstanceIdError> {
        if self.0.shared.is_io_thread() {
            return Err(ClientInstanceIdError::WouldDeadlock);
        }
        wait(self.client_instance_id_async(timeout))
    }

    /// As [`Producer::client_instance_id`], as a future.
    ///
    /// # Errors
    /// As the blocking call.
    pub fn client_instance_id_async(
        &self,
        timeout: Duration,
    ) -> impl Future<Output = Result<ClientInstanceId, ClientInstanceIdError>> + Send + use<> {
        self.0.shared.telemetry.client_instance_id(timeout)
    }

    #[cold]
    fn append_blocking(
        &self,
        record: &ProducerRecord<'_>,
        mut extras: AppendExtras,
        refusal: Refusal,
    ) -> Result<Delivery, ProduceError> {
        let shared = &self.0.shared;
        if shared.is_io_thread() {
            return Err(match refusal {
                Refusal::Append(AppendError::MemoryFull { .. }) | Refusal::NoMetadata => {
                    ProduceError::WouldDeadlock
                }
                Refusal::NoSuchPartition { partition, partition_count } => {
                    let topic = record.topic.into();
                    ProduceError::NoSuchPartition { topic, partition, partition_count }
                }
                Refusal::Append(error) => refused(&record.topic.into(), &error),
            });
        }
        wait(shared.append_waiting(record, &mut extras, refusal))
    }

    /// Whether interceptors see each record.
    fn is_intercepted(&self) -> bool {
        self.0.shared.interceptors.is_some()
    }

    /// Counts a sampled serialization.
    fn count_serialized(&self, time: Duration) {
        self.0.shared.caller_metrics.serialized.lock().record(time, 1);
    }

    /// Begins to ask for a topic, without waiting for it.
    fn learn(&self, topic: TopicName) {
        let shared = &self.0.shared;
        // From now on the sender tells this topic of what metadata says.
        drop(shared.accumulator.topic(&topic));
        shared.topics.ask_once(topic);
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("accumulator", &self.0.shared.accumulator).finish()
    }
}
