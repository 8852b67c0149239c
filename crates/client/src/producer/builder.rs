//! Makes a producer: configuration, own partitioner, observer; and starts its thread.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;
use streamledger_client_core::accumulator::{AccumulatorConfig, RecordAccumulator};
use streamledger_client_core::partitioner::{
    Partitioner, Partitioning, RandomSource, SeededRandom,
};
use streamledger_client_core::sender::{Backoff, Sender, SenderConfig, TransactionConfig};
use streamledger_client_core::transaction::TransactionDesk;
use streamledger_protocol::compression::{Compression, CompressionError};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::codec_threads;
use super::io_loop::IoLoop;
use super::metrics::CallerMetrics;
use super::report::{BatchObserver, BatchReport};
use super::send::partitioning_of;
use super::shared::{Closing, Shared, TopicWaits, Transactions};
use super::wait::{Deadlines, Waiters};
use super::{Handle, Producer, ProducerMetrics};
use crate::config::ProducerConfig;
use crate::metadata::MetadataRefresher;
use crate::network::{ConnectionPool, NetworkConfig};
use crate::observe::{Interceptor, Interceptors, batch_opened, producer_readings};
use crate::telemetry::{TelemetryClient, TelemetryDesk, telemetry};

/// Why a producer could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The system has no thread, or no means of I/O, to give.
    #[error("the producer's thread can't be started: {0}")]
    Thread(#[from] io::Error),
    /// The codec is not built in, or has no such level.
    #[error("compression.type: {0}")]
    Compression(#[from] CompressionError),
}

/// Makes a producer with more than its configuration.
#[must_use = "a builder builds nothing unless `build` is called"]
pub struct ProducerBuilder {
    config: ProducerConfig,
    partitioning: Partitioning,
    observer: Option<BatchObserver>,
    interceptors: Vec<Arc<dyn Interceptor>>,
}

impl ProducerBuilder {
    pub(super) fn new(config: ProducerConfig) -> Self {
        let partitioning = partitioning_of(&config);
        Self { config, partitioning, observer: None, interceptors: Vec::new() }
    }

    /// Lets `partitioner` choose the partition of each record that names none.
    pub fn partitioner(mut self, partitioner: impl Partitioner + 'static) -> Self {
        self.partitioning = Partitioning::Own(Arc::new(partitioner));
        self
    }

    /// Calls `observer` with each batch that is done, on the producer's thread, which must not
    /// wait; the batches of a partition in order. It is called before the records' futures end.
    pub fn on_batch(mut self, observer: impl Fn(&BatchReport) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Shows each record to `interceptor` before its partition is chosen, and its end after.
    /// Several are asked in the order they were given.
    pub fn interceptor(mut self, interceptor: impl Interceptor + 'static) -> Self {
        self.interceptors.push(Arc::new(interceptor));
        self
    }

    /// Starts the producer. Returns at once: brokers are connected to in the background.
    ///
    /// # Errors
    /// The codec is not built in, or the system gives no thread.
    pub fn build(self) -> Result<Producer, StartError> {
        let Self { config, partitioning, observer, interceptors } = self;
        config.log_notes();
        let compression =
            Compression { codec: config.compression_type, level: config.compression_level() };
        compression.validate()?;
        let seed = RandomState::new().hash_one(0_u8);
        let random: Arc<dyn RandomSource> = Arc::new(SeededRandom::new(seed));
        let accumulator = RecordAccumulator::new(accumulator_config(&config), Arc::clone(&random));
        accumulator.watch_batches(Box::new(batch_opened));
        let sender_config = sender_config(&config, compression);
        let sender = Sender::new(sender_config, Arc::clone(&accumulator), random);
        let started = Instant::now();
        let transactions = config.transactional_id.as_ref().map(|_| Transactions {
            desk: TransactionDesk::default(),
            timeout: config.transaction_timeout,
        });
        let network = NetworkConfig::new(config.client(), config.connections());
        let (handle, desk) = telemetry(config.client().enable_metrics_push);
        let shared = Arc::new(Shared {
            accumulator,
            partitioning,
            rack: config.partitioner_rack_aware.then(|| config.client_rack.clone()),
            acks: config.acks,
            max_block: config.max_block,
            started,
            client_id: config.client().client_id.clone(),
            wake: Notify::new(),
            deadlines: Deadlines::default(),
            topics: TopicWaits::default(),
            metadata_changed: Waiters::default(),
            view: OnceLock::new(),
            unreachable: Mutex::default(),
            turned_away: Mutex::new((0, "".into())),
            closing: Mutex::new(Closing::No),
            ended: OnceLock::new(),
            end_waiters: Waiters::default(),
            sender_metrics: sender.metrics(),
            caller_metrics: CallerMetrics::new(config.client().metrics_window()),
            observer,
            interceptors: Interceptors::of(interceptors),
            io_thread: OnceLock::new(),
            connection_meter: network.meter.clone(),
            telemetry: handle,
            transactions,
        });
        start_thread(Arc::clone(&shared), config, sender, network, desk)?;
        Ok(Producer(Arc::new(Handle { shared })))
    }
}

impl std::fmt::Debug for ProducerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProducerBuilder")
            .field("config", &self.config)
            .field("partitioning", &self.partitioning)
            .finish_non_exhaustive()
    }
}

/// Tasks that run before the runtime looks at its sockets again. The usual 61 would let a full
/// accumulator keep answers waiting.
const TASKS_BETWEEN_POLLS: u32 = 8;

fn start_thread(
    shared: Arc<Shared>,
    config: ProducerConfig,
    sender: Sender,
    network: NetworkConfig,
    desk: TelemetryDesk,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(TASKS_BETWEEN_POLLS)
        .build()?;
    let work = move || {
        let client = config.client();
        let work = async {
            let pool = ConnectionPool::new(network.clone());
            let refresher = MetadataRefresher::start(client, true, pool);
            let (timeout, backoff) = (client.request_timeout, client.retry_backoff);
            let transactional_id = config.transactional_id.iter();
            let metrics_of = Arc::clone(&shared);
            let telemetry = desk.start(TelemetryClient {
                refresher: refresher.clone(),
                network,
                resource: transactional_id.map(|id| ("transactional_id", id.clone())).collect(),
                collect: Box::new(move |wants| {
                    producer_readings(&ProducerMetrics::take(&metrics_of), wants)
                }),
            });
            IoLoop::new(shared, sender, refresher, timeout, backoff).run(telemetry).await;
        };
        LocalSet::new().block_on(&runtime, work);
        // A name that is being resolved must not hold the thread up.
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("streamledger-producer".to_owned()).spawn(work)?;
    Ok(())
}

fn accumulator_config(config: &ProducerConfig) -> AccumulatorConfig {
    AccumulatorConfig {
        batch_bytes_max: config.batch_size,
        memory_bytes_max: config.buffer_memory,
        request_bytes_max: config.max_request_size,
        linger: config.linger,
    }
}

#[allow(clippy::needless_update, reason = "a feature of the core's adds a field")]
fn sender_config(config: &ProducerConfig, compression: Compression) -> SenderConfig {
    let client = config.client();
    SenderConfig {
        acks: config.acks,
        idempotent: config.enable_idempotence,
        compression,
        compressions_max: codec_threads::batches_max(),
        in_flight_max: config.max_in_flight_requests_per_connection,
        request_bytes_max: config.max_request_size,
        retries_max: client.retries,
        request_timeout: client.request_timeout,
        delivery_timeout: config.delivery_timeout,
        adaptive_partitioning: config.partitioner_adaptive_partitioning_enable,
        topic_idle_max: config.metadata_max_idle,
        availability_timeout: config.partitioner_availability_timeout,
        retry_backoff: Backoff { first: client.retry_backoff, max: client.retry_backoff_max },
        reconnect_backoff: Backoff {
            first: client.reconnect_backoff,
            max: client.reconnect_backoff_max,
        },
        metrics_window: client.metrics_window(),
        transaction: config
            .transactional_id
            .as_deref()
            .map(|id| TransactionConfig { id: id.into(), timeout: config.transaction_timeout }),
        ..SenderConfig::default()
    }
}
