//! Asks for metadata when somebody wants it, or when the view gets old.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use streamledger_client_core::cluster::{Asked, Broker, Cluster, ClusterSnapshot, MetadataFault};
use streamledger_protocol::messages::metadata::MetadataRequestTopic;
use streamledger_protocol::messages::{MetadataRequest, MetadataResponse};
use streamledger_protocol::{BrokerId, LeaderEpoch, TopicName, TopicPartition};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::candidates::{Candidate, Trust, bootstrap_candidates, candidates};
use super::{MetadataView, Unreachable};
use crate::config::{ClientSettings, MetadataRecovery, ServerAddress};
use crate::network::{
    BrokerConnection, ConnectionPool, ExponentialBackoff, NetworkError, NetworkErrorKind,
};

/// How long a broker is waited for before the next is asked beside it.
const OVERTAKE_AFTER: Duration = Duration::from_secs(1);

/// Keeps the view of the cluster fresh. Lives on the I/O thread; cheap to clone.
#[derive(Clone)]
pub(crate) struct MetadataRefresher(Rc<Refresher>);

struct Refresher {
    pool: ConnectionPool,
    bootstrap: Vec<Candidate>,
    recovery: MetadataRecovery,
    rebootstrap_after: Duration,
    request_timeout: Duration,
    age_max: Duration,
    backoff: ExponentialBackoff,
    allow_auto_topic_creation: bool,
    cluster: RefCell<Cluster>,
    view: MetadataView,
    topics: RefCell<BTreeSet<TopicName>>,
    /// Passes are numbered from 1: how many were wanted, have begun, are done.
    wanted: Cell<u64>,
    begun: Cell<u64>,
    done: Cell<u64>,
    outcome: RefCell<Result<(), Unreachable>>,
    failures_in_a_row: Cell<u32>,
    failing_since: Cell<Option<Instant>>,
    must_rebootstrap: Cell<bool>,
    /// Something is wanted.
    wake: Notify,
    /// A pass is done.
    passed: Notify,
}

impl MetadataRefresher {
    /// Starts the task that asks. Nothing is asked before somebody wants it.
    pub(crate) fn start(
        settings: &ClientSettings,
        allow_auto_topic_creation: bool,
        pool: ConnectionPool,
    ) -> Self {
        let refresher = Rc::new(Refresher {
            pool,
            bootstrap: bootstrap_candidates(&settings.bootstrap_servers),
            recovery: settings.metadata_recovery_strategy,
            rebootstrap_after: settings.metadata_recovery_rebootstrap_trigger,
            request_timeout: settings.request_timeout,
            age_max: settings.metadata_max_age,
            backoff: ExponentialBackoff {
                first: settings.retry_backoff,
                max: settings.retry_backoff_max,
            },
            allow_auto_topic_creation,
            cluster: RefCell::default(),
            view: MetadataView::default(),
            topics: RefCell::default(),
            wanted: Cell::new(0),
            begun: Cell::new(0),
            done: Cell::new(0),
            outcome: RefCell::new(Ok(())),
            failures_in_a_row: Cell::new(0),
            failing_since: Cell::new(None),
            must_rebootstrap: Cell::new(false),
            wake: Notify::new(),
            passed: Notify::new(),
        });
        tokio::task::spawn_local(Rc::clone(&refresher).run());
        Self(refresher)
    }

    /// The latest view, for any thread.
    pub(crate) fn view(&self) -> MetadataView {
        self.0.view.clone()
    }

    /// The latest snapshot.
    pub(crate) fn snapshot(&self) -> Arc<ClusterSnapshot> {
        self.0.cluster.borrow().snapshot()
    }

    /// The connections.
    pub(crate) fn pool(&self) -> &ConnectionPool {
        &self.0.pool
    }

    /// Asks for the view to be made fresh, of these topics and those asked for before, without
    /// waiting for it.
    pub(crate) fn want(&self, topics: impl IntoIterator<Item = TopicName>) -> u64 {
        self.0.topics.borrow_mut().extend(topics);
        let pass = self.0.begun.get() + 1;
        self.0.wanted.set(pass);
        self.0.wake.notify_one();
        pass
    }

    /// A view from after this call, of these topics and those asked for before. One pass over the
    /// brokers: whether to ask again is the caller's choice.
    ///
    /// # Errors
    /// No broker answered.
    pub(crate) async fn refresh(
        &self,
        topics: impl IntoIterator<Item = TopicName>,
    ) -> Result<Arc<ClusterSnapshot>, Unreachable> {
        let pass = self.want(topics);
        loop {
            let passed = self.0.passed.notified();
            if self.0.done.get() >= pass {
                return self.0.outcome.borrow().clone().map(|()| self.snapshot());
            }
            passed.await;
        }
    }

    /// The first view that is newer than `generation`, whoever asked for it.
    pub(crate) async fn newer_than(&self, generation: u64) -> Arc<ClusterSnapshot> {
        loop {
            let passed = self.0.passed.notified();
            let snapshot = self.snapshot();
            if snapshot.generation() > generation {
                return snapshot;
            }
            passed.await;
        }
    }

    /// The next pass after number `seen` that is done, and its number.
    pub(crate) async fn passed(&self, seen: u64) -> u64 {
        loop {
            let passed = self.0.passed.notified();
            if self.0.done.get() > seen {
                return self.0.done.get();
            }
            passed.await;
        }
    }

    /// Keeps only the topics for which `keep` holds in the view and in what is asked for.
    pub(crate) fn retain_topics(&self, mut keep: impl FnMut(&TopicName) -> bool) {
        self.0.topics.borrow_mut().retain(|topic| keep(topic));
        let topics = self.0.topics.borrow();
        self.0.cluster.borrow_mut().retain_topics(|topic| topics.contains(topic));
        self.0.publish();
    }

    /// Takes in where an answer says that a broker is (KIP-951).
    pub(crate) fn hint_broker(&self, broker: Broker) {
        self.0.cluster.borrow_mut().add_broker(broker);
        self.0.publish();
    }

    /// Takes in what an answer says of a leader (KIP-951); true if it is news.
    pub(crate) fn hint_leader(
        &self,
        topic_partition: &TopicPartition,
        leader: BrokerId,
        leader_epoch: LeaderEpoch,
    ) -> bool {
        let mut cluster = self.0.cluster.borrow_mut();
        let is_news = cluster.apply_leader_hint(topic_partition, leader, leader_epoch).is_some();
        drop(cluster);
        if is_news {
            self.0.publish();
        }
        is_news
    }

    /// A connection to a broker of the current view.
    ///
    /// # Errors
    /// The broker isn't known, or can't be connected to.
    pub(crate) fn connection_to(
        &self,
        broker: BrokerId,
    ) -> impl Future<Output = Result<BrokerConnection, NetworkError>> + use<> {
        self.connection_in(&self.0.pool, broker)
    }

    /// As [`connection_to`](Self::connection_to), out of another pool.
    ///
    /// # Errors
    /// The broker isn't known, or can't be connected to.
    pub(crate) fn connection_in(
        &self,
        pool: &ConnectionPool,
        broker: BrokerId,
    ) -> impl Future<Output = Result<BrokerConnection, NetworkError>> + use<> {
        let snapshot = self.snapshot();
        let connecting = snapshot.broker(broker).map(|known| {
            let address = ServerAddress { host: known.host.clone(), port: known.port };
            pool.connection(broker, &address)
        });
        async move {
            match connecting {
                Some(connecting) => connecting.await,
                None => Err(unknown_broker(broker)),
            }
        }
    }

    /// Lets any broker answer: each in turn until one does, the next already when the last is slow.
    ///
    /// # Errors
    /// None answered.
    pub(crate) async fn ask_any<T, F, A>(&self, ask: F) -> Result<T, Unreachable>
    where
        F: Fn(BrokerConnection) -> A,
        A: Future<Output = Result<T, NetworkError>>,
    {
        self.0.ask_any(self.0.candidates(), |_, connection| ask(connection)).await
    }
}

/// A broker that the view doesn't have: it has no address to name.
fn unknown_broker(broker: BrokerId) -> NetworkError {
    let nowhere = ServerAddress { host: format!("broker {broker}"), port: 0 };
    NetworkError::not_sent(&Arc::new(nowhere), NetworkErrorKind::UnknownBroker)
}

impl Refresher {
    async fn run(self: Rc<Self>) {
        loop {
            let pause = self.pause();
            if self.wanted.get() <= self.begun.get() {
                // Nothing wanted: wait for that, or for the view to get old.
                tokio::select! {
                    () = self.wake.notified() => continue,
                    () = tokio::time::sleep(self.age_max), if self.is_in_use() => {}
                }
            }
            tokio::time::sleep(pause).await;
            self.begun.set(self.begun.get() + 1);
            let outcome = self.pass().await;
            self.note(&outcome);
            *self.outcome.borrow_mut() = outcome;
            self.done.set(self.begun.get());
            self.passed.notify_waiters();
        }
    }

    /// Whether somebody has ever wanted the view: then it is kept fresh.
    fn is_in_use(&self) -> bool {
        self.wanted.get() > 0
    }

    /// How long to wait before asking again, after failures.
    fn pause(&self) -> Duration {
        match self.failures_in_a_row.get() {
            0 => Duration::ZERO,
            failures => self.backoff.wait(failures - 1, self.pool.jitter().chance()),
        }
    }

    /// Asks brokers until one has told all that is wanted.
    async fn pass(&self) -> Result<(), Unreachable> {
        let candidates = self.candidates();
        self.must_rebootstrap.set(false);
        let told = self.ask_any(candidates, |from, connection| async move {
            let request = self.request();
            let response = connection.call(&request, self.request_timeout).await?;
            self.take_in(&from, &connection, response)
        });
        told.await
    }

    fn request(&self) -> MetadataRequest {
        let topics = self.topics.borrow();
        let topics = topics.iter().map(|name| MetadataRequestTopic {
            name: Some(name.clone()),
            ..MetadataRequestTopic::default()
        });
        MetadataRequest {
            topics: Some(topics.collect()),
            allow_auto_topic_creation: self.allow_auto_topic_creation,
            ..MetadataRequest::default()
        }
    }

    fn take_in(
        &self,
        from: &Candidate,
        connection: &BrokerConnection,
        response: MetadataResponse,
    ) -> Result<(), NetworkError> {
        match self.cluster.borrow_mut().apply(response, Asked::ForTopics) {
            Ok(changes) => {
                for change in changes {
                    tracing::debug!(?change, "metadata");
                }
            }
            Err(fault) => {
                if matches!(fault, MetadataFault::Refused(_)) {
                    self.must_rebootstrap.set(true);
                }
                let kind = NetworkErrorKind::NotReady(fault.to_string());
                return Err(NetworkError::possibly_sent(connection.address(), kind));
            }
        }
        self.publish();
        self.give_number(from);
        Ok(())
    }

    /// Lets a connection to one of `bootstrap.servers` be that of the broker it turned out to be.
    fn give_number(&self, from: &Candidate) {
        let snapshot = self.cluster.borrow().snapshot();
        let is_it = |host: &str, port| *host == *from.address.host && port == from.address.port;
        let broker = snapshot.brokers().find(|broker| is_it(&broker.host, broker.port));
        if let Some(broker) = broker.filter(|_| from.broker.0 < 0) {
            self.pool.renumber(from.broker, broker.id);
        }
    }

    fn publish(&self) {
        self.view.publish(self.cluster.borrow().snapshot());
    }

    fn note(&self, outcome: &Result<(), Unreachable>) {
        match outcome {
            Ok(()) => {
                self.failures_in_a_row.set(0);
                self.failing_since.set(None);
            }
            Err(unreachable) => {
                tracing::warn!(%unreachable, "metadata");
                self.failures_in_a_row.set(self.failures_in_a_row.get().saturating_add(1));
                if self.failing_since.get().is_none() {
                    self.failing_since.set(Some(Instant::now()));
                }
            }
        }
    }

    fn candidates(&self) -> Vec<Candidate> {
        let failing = self.failing_since.get().map_or(Duration::ZERO, |since| since.elapsed());
        let is_distrusted = self.must_rebootstrap.get() || failing >= self.rebootstrap_after;
        let trust = if is_distrusted { Trust::BootstrapOnly } else { Trust::Known };
        let snapshot = self.cluster.borrow().snapshot();
        candidates(&snapshot, &self.bootstrap, self.recovery, trust, &self.pool)
    }

    async fn ask_any<T, F, A>(&self, candidates: Vec<Candidate>, ask: F) -> Result<T, Unreachable>
    where
        F: Fn(Candidate, BrokerConnection) -> A,
        A: Future<Output = Result<T, NetworkError>>,
    {
        let attempt = |candidate: Candidate| {
            let connecting = self.pool.connection(candidate.broker, &candidate.address);
            let ask = &ask;
            async move { ask(candidate, connecting.await?).await }
        };
        let mut waiting = candidates.into_iter();
        let mut running: FuturesUnordered<_> = waiting.next().map(attempt).into_iter().collect();
        let mut failures = Vec::new();
        loop {
            let is_last = waiting.len() == 0;
            tokio::select! {
                outcome = running.next() => match outcome {
                    Some(Ok(answer)) => return Ok(answer),
                    Some(Err(failure)) => {
                        failures.push(failure);
                        if running.is_empty() {
                            running.extend(waiting.next().map(attempt));
                        }
                    }
                    None => return Err(Unreachable::new(failures)),
                },
                () = tokio::time::sleep(OVERTAKE_AFTER), if !is_last => {
                    running.extend(waiting.next().map(attempt));
                }
            }
        }
    }
}
