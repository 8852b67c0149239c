//! Starting and stopping: a broker owns its threads and its runtime, so that any program can have
//! one, with or without a runtime of its own.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use streamledger_broker_core::log::LogConfig;
use streamledger_protocol::TopicPartition;
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::authentication::{Bearer, UnknownUsers, ensure_scram_user};
use crate::config::{BrokerConfig, ListenAddress, ListenerSettings, Settings};
use crate::controller::{Controller, METADATA_LOG, MetadataLog, MetadataLogError, random_bytes};
use crate::coordinator::{Groups, Transactions, keep_group_time, keep_time};
use crate::faults::Faults;
use crate::metrics::{BrokerMetrics, RequestMeters};
use crate::node::Node;
use crate::quotas::Quotas;
use crate::server::{BoundListener, ByteBudget, Serving, Tls};
use crate::storage::{LogStore, LogStoreConfig, StorageError, new_directory};

/// Why a broker did not start. Nothing of it is left running.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A running broker has the data directory; where it listens, if it has said so.
    #[error(
        "{} is in use by a running broker{}",
        .path.display(),
        listening(.listening_at.as_ref())
    )]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// Where that broker listens, such as `127.0.0.1:9092`.
        listening_at: Option<String>,
    },
    /// The data directory can't be used: not ours, of a newer version, unreadable, full.
    #[error(transparent)]
    Storage(StorageError),
    /// The metadata log can't be used.
    #[error(transparent)]
    Metadata(#[from] MetadataLogError),
    /// A topic's logs could not be created.
    #[error("{0}")]
    Topics(String),
    /// The records of an internal topic can't be used: damaged, or of a newer version.
    #[error("{0}")]
    InternalTopic(String),
    /// The address is in use, by another broker perhaps.
    #[error("{address} is in use; choose another port, or 0 for a free one")]
    AddressInUse {
        /// The address.
        address: String,
    },
    /// The address can't be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The address can be reached by other machines, and isn't both secret and closed to strangers.
    #[error(
        "{address} can be reached from other machines, without TLS or without knowing who comes: \
         listen on 127.0.0.1; or speak SASL_SSL, or SSL with ssl.client.auth=required; or allow \
         it (--insecure-listen)"
    )]
    PublicListen {
        /// The address.
        address: String,
    },
    /// A listener's key, certificates or authorities can't be used.
    #[error("listener {listener}: TLS: {reason}")]
    Tls {
        /// The listener's name.
        listener: String,
        /// What is wrong, and with which file.
        reason: String,
    },
    /// The keys that a listener's tokens are signed with can't be read.
    #[error("listener {listener}: OAUTHBEARER: {reason}")]
    Tokens {
        /// The listener's name.
        listener: String,
        /// What is wrong, and with which file.
        reason: String,
    },
    /// A user who shall be able to log in can't be made.
    #[error("a user who shall log in by SCRAM: {0}")]
    ScramUser(String),
    /// The system has no random bytes, without which no login is safe.
    #[error("the system has no random bytes")]
    Random,
    /// A thread or the runtime could not be made.
    #[error("the broker's threads could not be started: {0}")]
    Threads(io::Error),
    /// The temporary directory could not be made.
    #[error("no temporary directory: {0}")]
    TemporaryDirectory(io::Error),
}

fn listening(at: Option<&String>) -> String {
    at.map(|at| format!(" at {at}")).unwrap_or_default()
}

impl From<StorageError> for StartError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Locked { path, listening_at, .. } => Self::Locked { path, listening_at },
            other => Self::Storage(other),
        }
    }
}

/// A Kafka-protocol broker for one machine.
#[derive(Debug)]
pub struct Broker;

impl Broker {
    /// Starts a broker: recovers its directory, listens, and serves from threads of its own.
    ///
    /// Blocks until clients can connect, usually some milliseconds.
    ///
    /// ```
    /// use streamledger_broker::{Broker, BrokerConfig};
    ///
    /// let broker = Broker::start(BrokerConfig::default())?;
    /// println!("bootstrap.servers={}", broker.bootstrap_servers());
    /// broker.shutdown()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`StartError`], naming the path or address and what to do.
    pub fn start(config: BrokerConfig) -> Result<RunningBroker, StartError> {
        for (name, reason) in config.without_effect() {
            warn!("{name} has no effect: {reason}");
        }
        let BrokerConfig { settings, configs, scram_users } = config;
        check_listeners(&settings)?;
        let temporary = match &settings.data_dir {
            Some(_) => None,
            None => Some(TemporaryDirectory::new().map_err(StartError::TemporaryDirectory)?),
        };
        let directory = match (&settings.data_dir, &temporary) {
            (Some(directory), _) => directory.clone(),
            (None, Some(temporary)) => temporary.0.clone(),
            (None, None) => return Err(StartError::TemporaryDirectory(io::Error::other("none"))),
        };
        let store_config = LogStoreConfig {
            flush: settings.flush,
            log: LogConfig::default(),
            retention_check: settings.retention_check_interval,
            cleaner: settings.cleaner.clone(),
            producers: settings.producers,
            on_damage: settings.on_damage,
            ..LogStoreConfig::default()
        };
        let store = LogStore::open(&directory, store_config)?;
        let (log, state) = MetadataLog::open(&directory)?;
        let controller =
            Controller::start(log, state, store.cluster_id(), settings.node_id, configs)?;
        for (user, password) in &scram_users {
            ensure_scram_user(&controller, user, password)
                .map_err(|refusal| StartError::ScramUser(refusal.message))?;
        }
        let node = Arc::new(Node {
            fetched: ByteBudget::new(settings.network.queued_response_bytes_max),
            authorizer: settings.authorizer.clone(),
            controller,
            store,
            faults: Faults::new(),
            quotas: Quotas::new(settings.quota_window),
            requests: RequestMeters::new(),
            transactions: Transactions::new(&settings),
            groups: Groups::new(&settings),
            unknown_users: UnknownUsers::new().map_err(|_| StartError::Random)?,
            settings,
        });
        node.reconcile_logs().map_err(|refusal| StartError::Topics(refusal.message))?;
        node.load_coordinators().map_err(|error| StartError::InternalTopic(error.to_string()))?;
        warn_if_nobody_may_act(&node);
        let running = run(node, temporary)?;
        info!(
            addresses = running.bootstrap_servers(),
            directory = %directory.display(),
            flush = %running.node.settings.flush,
            "broker started"
        );
        Ok(running)
    }

    /// Whether a directory holds a broker's data.
    #[must_use]
    pub fn is_data_directory(path: &Path) -> bool {
        path.join(METADATA_LOG).is_file()
    }
}

/// Where ACLs are on, somebody has to make the first.
fn warn_if_nobody_may_act(node: &Node) {
    let Some(authorizer) = &node.authorizer else { return };
    let are_none = node.controller.read(|state| state.acls().count() == 0);
    let is_closed = !authorizer.allows_what_no_acl_is_about;
    if are_none && is_closed && authorizer.super_users.is_empty() {
        warn!("there are no ACLs and no super.users: nobody may do anything, nor change that");
    }
}

fn check_listeners(settings: &Settings) -> Result<(), StartError> {
    let is_open = |listener: &&ListenerSettings| {
        !listener.address.is_loopback() && !listener.security.is_secure()
    };
    for listener in settings.listeners.iter().filter(is_open) {
        let address = &listener.address;
        if !settings.allows_insecure_listen {
            return Err(StartError::PublicListen { address: address.to_string() });
        }
        warn!(%address, "this address can be reached from other machines, and is not secure");
    }
    Ok(())
}

/// Threads for what blocks on the disk: topics, lookups by time. Tokio's 512 would be memory.
const BLOCKING_THREADS_MAX: usize = 8;

/// Binds the listeners and starts the thread that serves them.
fn run(
    node: Arc<Node>,
    temporary: Option<TemporaryDirectory>,
) -> Result<RunningBroker, StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(node.settings.worker_threads)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("streamledger-net")
        .enable_all()
        .build()
        .map_err(StartError::Threads)?;
    let bound = {
        let _entered = runtime.enter();
        bind_all(&node.settings)
    };
    let listeners = match bound {
        Ok(listeners) => listeners,
        Err(error) => {
            // Dropping a runtime waits for its threads, which another runtime around us forbids.
            runtime.shutdown_background();
            return Err(error);
        }
    };
    let addresses: Vec<SocketAddr> = listeners.iter().map(BoundListener::address).collect();
    let servers: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    if let Err(error) = node.store.announce(&servers.join(",")) {
        warn!(%error, "a second broker will not be told where this one listens");
    }
    let (stop, stopping) = watch::channel(false);
    let (stopped_sender, stopped) = oneshot::channel();
    let serving_node = Arc::clone(&node);
    let thread = std::thread::Builder::new()
        .name("streamledger-broker".to_owned())
        .spawn(move || {
            let outcome = serve(&runtime, &serving_node, listeners, stopping);
            // Whoever waits may be gone.
            let _ = stopped_sender.send(());
            outcome
        })
        .map_err(StartError::Threads)?;
    let stopper = Stopper { stop: Arc::new(stop) };
    Ok(RunningBroker { node, addresses, stopper, stopped, thread: Some(thread), temporary })
}

fn bind_all(settings: &Settings) -> Result<Vec<BoundListener>, StartError> {
    let mut bound = Vec::with_capacity(settings.listeners.len());
    for wanted in &settings.listeners {
        let tls = wanted
            .security
            .tls
            .clone()
            .map(Tls::new)
            .transpose()
            .map_err(|reason| StartError::Tls { listener: wanted.name.clone(), reason })?;
        let oauth = wanted.security.sasl.as_ref().and_then(|sasl| sasl.oauth.clone());
        let bearer = oauth
            .map(Bearer::new)
            .transpose()
            .map_err(|reason| StartError::Tokens { listener: wanted.name.clone(), reason })?;
        let listener = BoundListener::bind(wanted, tls, bearer, settings.network.backlog)
            .map_err(|source| listen_error(&wanted.address, source))?;
        bound.push(listener);
    }
    Ok(bound)
}

fn listen_error(wanted: &ListenAddress, source: io::Error) -> StartError {
    let address = wanted.to_string();
    match source.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse { address },
        _ => StartError::Listen { address, source },
    }
}

/// How long a broker that stops waits for the markers of transactions that were just ended.
const MARKER_PATIENCE: Duration = Duration::from_secs(1);

/// The broker thread's whole life: accept, wait for the stop, let requests finish, close the logs.
fn serve(
    runtime: &Runtime,
    node: &Arc<Node>,
    listeners: Vec<BoundListener>,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), StopError> {
    let patience = node.settings.shutdown_timeout;
    let was_drained = runtime.block_on(async {
        let (alive, mut all_gone) = mpsc::channel(1);
        let serving = Serving::new(Arc::clone(node), &node.settings, stopping.clone(), alive);
        let accepting: Vec<_> = listeners
            .into_iter()
            .map(|listener| tokio::spawn(serving.clone().accept(listener)))
            .collect();
        drop(serving);
        let keeping_time = tokio::spawn(keep_time(Arc::clone(node), stopping.clone()));
        tokio::spawn(keep_group_time(Arc::clone(node), stopping.clone()));
        // Also ends when the handle is gone.
        let _ = stopping.wait_for(|&stopping| stopping).await;
        keeping_time.abort();
        for listener in accepting {
            // Frees the port before the connections are waited for.
            let _ = listener.await;
        }
        let was_drained = tokio::time::timeout(patience, all_gone.recv()).await.is_ok();
        // Those of a partition that is offline would be waited for in vain.
        let _ = tokio::time::timeout(MARKER_PATIENCE, node.transactions.all_ended()).await;
        was_drained
    });
    if !was_drained {
        warn!(?patience, "stopping with requests unanswered");
    }
    let closed = node.store.close();
    info!(clean = closed.is_ok() && was_drained, "broker stopped");
    match closed {
        Ok(()) if was_drained => Ok(()),
        Ok(()) => Err(StopError::Unanswered(patience)),
        Err(error) => Err(StopError::Storage(error)),
    }
}

/// What went wrong while stopping. The broker has stopped all the same.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StopError {
    /// Something could not be flushed: the next start recovers the logs.
    #[error("the logs were not closed cleanly: {0}")]
    Storage(StorageError),
    /// Requests were not answered in time; their clients will ask again.
    #[error("requests were still unanswered after {0:?}")]
    Unanswered(Duration),
    /// The broker's thread panicked.
    #[error("the broker's thread panicked")]
    Panicked,
}

/// Stops a broker from anywhere, a signal handler's task for example.
#[derive(Debug, Clone)]
pub struct Stopper {
    stop: Arc<watch::Sender<bool>>,
}

impl Stopper {
    /// Asks the broker to stop, and returns at once.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// A broker that serves. Dropping it stops it, as [`shutdown`](Self::shutdown) does.
#[derive(Debug)]
pub struct RunningBroker {
    node: Arc<Node>,
    addresses: Vec<SocketAddr>,
    stopper: Stopper,
    stopped: oneshot::Receiver<()>,
    thread: Option<JoinHandle<Result<(), StopError>>>,
    /// Removed last.
    temporary: Option<TemporaryDirectory>,
}

impl RunningBroker {
    /// Where it listens, in the order of the setting.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What a client needs as `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        addresses.join(",")
    }

    /// Where its data is.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.node.store.directory()
    }

    /// The partitions whose logs can't be opened, and why. What they hold isn't served, and not
    /// lost: it is as it was on disk.
    #[must_use]
    pub fn offline_partitions(&self) -> Vec<(TopicPartition, String)> {
        let offline = self.node.store.offline_partitions().into_iter();
        offline.map(|(topic_partition, why)| (topic_partition, why.to_string())).collect()
    }

    /// Its faults on purpose.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.node.faults.clone()
    }

    /// Its metrics and its health.
    #[must_use]
    pub fn metrics(&self) -> BrokerMetrics {
        BrokerMetrics::new(Arc::clone(&self.node))
    }

    /// What stops it from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Stops: accepts nothing more, answers what is in flight, flushes and closes the logs, within
    /// ten seconds.
    ///
    /// # Errors
    /// [`StopError`]: it has stopped, and not cleanly.
    pub fn shutdown(mut self) -> Result<(), StopError> {
        self.stopper.stop();
        self.join()
    }

    /// Waits until it has stopped, by [`Stopper::stop`].
    ///
    /// # Errors
    /// [`StopError`]: it has stopped, and not cleanly.
    pub fn wait(mut self) -> Result<(), StopError> {
        self.join()
    }

    /// [`wait`](Self::wait) for async programs; does not block the thread.
    ///
    /// # Errors
    /// [`StopError`]: it has stopped, and not cleanly.
    pub async fn wait_async(mut self) -> Result<(), StopError> {
        // An error means the thread is gone without a word; joining it tells.
        let _ = (&mut self.stopped).await;
        self.join()
    }

    fn join(&mut self) -> Result<(), StopError> {
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or(Err(StopError::Panicked)),
            None => Ok(()),
        }
    }
}

impl Drop for RunningBroker {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stopper.stop();
            if let Err(error) = self.join() {
                error!(%error, "broker dropped");
            }
        }
        drop(self.temporary.take());
    }
}

/// A directory that goes with the broker.
#[derive(Debug)]
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn new() -> io::Result<Self> {
        let name = format!("streamledger-{:016x}", u64::from_ne_bytes(random_bytes()));
        let path = std::env::temp_dir().join(name);
        new_directory().create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            warn!(directory = %self.0.display(), %error, "temporary directory not removed");
        }
    }
}
