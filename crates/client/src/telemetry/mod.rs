//! Client telemetry (KIP-714): does what `client-core/telemetry` decides, on a client's I/O thread.
//!
//! 1. It has a connection of its own: a broker answers a connection's requests one by one, so a
//!    slow plug-in there would hold up records. Only a cluster that takes metrics gets one.
//! 2. It makes no client connect: it begins when the client has found a broker for its work, or
//!    somebody asks for the client's id.
//! 3. Nobody waits for it but who asks for that id, and a close, for its last push, and not long.

mod error;

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::stream::{FuturesUnordered, StreamExt};
use streamledger_client_core::partitioner::SeededRandom;
use streamledger_client_core::telemetry::{
    Effect, Event, Label, Reading, Telemetry, TelemetryConfig, TelemetryState,
};
use streamledger_protocol::messages::{GetTelemetrySubscriptionsRequest, PushTelemetryRequest};
use streamledger_protocol::{ApiKey, BrokerId, ClientInstanceId, ErrorCode};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use error::ClientInstanceIdError;

use crate::metadata::MetadataRefresher;
use crate::network::{BrokerConnection, ConnectionPool, NetworkConfig};

/// Reads the metrics whose names are wanted, the most important first.
pub(crate) type Collect = Box<dyn Fn(&dyn Fn(&str) -> bool) -> Vec<Reading>>;

/// For the client's handles: asks for the client's id. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct TelemetryHandle(Option<mpsc::UnboundedSender<Asking>>);

/// For the I/O thread: what the handles ask.
#[derive(Debug)]
pub(crate) struct TelemetryDesk(Option<mpsc::UnboundedReceiver<Asking>>);

#[derive(Debug)]
struct Asking {
    timeout: Duration,
    until: Instant,
    answer: oneshot::Sender<Result<ClientInstanceId, ClientInstanceIdError>>,
}

/// The two ends of a client's telemetry; nothing is ever pushed if it isn't enabled.
pub(crate) fn telemetry(is_enabled: bool) -> (TelemetryHandle, TelemetryDesk) {
    if !is_enabled {
        return (TelemetryHandle(None), TelemetryDesk(None));
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    (TelemetryHandle(Some(sender)), TelemetryDesk(Some(receiver)))
}

impl TelemetryHandle {
    /// What the cluster calls the client, as soon as it has said so.
    pub(crate) fn client_instance_id(
        &self,
        timeout: Duration,
    ) -> impl Future<Output = Result<ClientInstanceId, ClientInstanceIdError>> + Send + use<> {
        let now = Instant::now();
        // A year is as good as for ever, and has an end that can be named.
        let until = now + timeout.min(Duration::from_secs(365 * 24 * 3600));
        let (answer, answered) = oneshot::channel();
        let asking = Asking { timeout, until, answer };
        // With the question the place for its answer is dropped, if nobody takes it any more.
        let asked = self.0.as_ref().map(|desk| drop(desk.send(asking)));
        async move {
            match asked {
                None => Err(ClientInstanceIdError::Disabled),
                Some(()) => answered.await.unwrap_or(Err(ClientInstanceIdError::Closed)),
            }
        }
    }
}

/// What telemetry needs of its client.
pub(crate) struct TelemetryClient {
    pub(crate) refresher: MetadataRefresher,
    pub(crate) network: NetworkConfig,
    /// What the client is, beside what its requests say.
    pub(crate) resource: Vec<Label>,
    pub(crate) collect: Collect,
}

/// Telemetry that runs, or none.
#[derive(Debug)]
pub(crate) struct RunningTelemetry(Option<(oneshot::Sender<()>, JoinHandle<()>)>);

impl TelemetryDesk {
    /// Begins. Must be called on the I/O thread, in its runtime.
    pub(crate) fn start(self, client: TelemetryClient) -> RunningTelemetry {
        let Some(desk) = self.0 else { return RunningTelemetry(None) };
        let (close, closing) = oneshot::channel();
        let task = Task::new(client).run(desk, closing);
        RunningTelemetry(Some((close, tokio::task::spawn_local(task))))
    }
}

impl RunningTelemetry {
    /// Pushes once more, if the cluster has wanted anything, and ends; no later than at the moment.
    pub(crate) async fn finish(self, until: Instant) {
        if let Some((close, task)) = self.0 {
            let _ = close.send(());
            let _ = tokio::time::timeout_at(until.into(), task).await;
        }
    }
}

/// What lives on the I/O thread.
struct Task {
    telemetry: Telemetry,
    client: TelemetryClient,
    pool: ConnectionPool,
    /// The broker that was asked last: a client stays with one.
    broker: Option<BrokerId>,
    asking: Vec<Asking>,
    /// Whether the brokers take no metrics, as far as is known.
    is_not_served: bool,
    is_closing: bool,
    answers: FuturesUnordered<Pin<Box<dyn Future<Output = Event>>>>,
}

impl Task {
    fn new(client: TelemetryClient) -> Self {
        let config =
            TelemetryConfig { resource: client.resource.clone(), began_unix_nanos: unix_nanos() };
        let random = Arc::new(SeededRandom::new(RandomState::new().hash_one(0_u8)));
        Self {
            telemetry: Telemetry::new(Instant::now(), config, random),
            pool: ConnectionPool::new(client.network.clone()),
            client,
            broker: None,
            asking: Vec::new(),
            is_not_served: false,
            is_closing: false,
            answers: FuturesUnordered::new(),
        }
    }

    /// Runs until it is closed and has pushed for the last time.
    async fn run(
        mut self,
        mut desk: mpsc::UnboundedReceiver<Asking>,
        mut closing: oneshot::Receiver<()>,
    ) {
        let (mut has_brokers, mut has_handles) = (false, true);
        loop {
            let now = Instant::now();
            while let Some(effect) = has_brokers.then(|| self.telemetry.poll(now)).flatten() {
                self.perform(effect);
            }
            self.answer(now);
            if self.is_closing && self.telemetry.state() == TelemetryState::Ended {
                return self.pool.close();
            }
            let wakeup = self.next_wakeup(has_brokers);
            let refresher = self.client.refresher.clone();
            tokio::select! {
                _ = refresher.newer_than(0), if !has_brokers => has_brokers = true,
                Some(event) = self.answers.next(), if !self.answers.is_empty() => self.take(event),
                asking = desk.recv(), if has_handles => match asking {
                    Some(asking) => {
                        if !has_brokers {
                            refresher.want([]);
                        }
                        self.asking.push(asking);
                    }
                    None => has_handles = false,
                },
                // Also when the client is gone without a word.
                _ = &mut closing, if !self.is_closing => {
                    self.is_closing = true;
                    self.telemetry.handle(Instant::now(), Event::Closing);
                }
                () = sleep_until(wakeup), if wakeup.is_some() => {}
            }
        }
    }

    fn next_wakeup(&self, has_brokers: bool) -> Option<Instant> {
        let due = self.telemetry.next_wakeup().filter(|_| has_brokers);
        self.asking.iter().map(|asking| asking.until).chain(due).min()
    }

    fn take(&mut self, event: Event) {
        match &event {
            Event::Subscription { answer: None, .. } | Event::Pushed { answer: None, .. } => {
                // Another broker may be better off.
                self.broker = None;
            }
            Event::Subscription { answer: Some(response), .. } => {
                self.is_not_served = false;
                tell(response.error_code, "would not say which metrics it wants");
            }
            Event::Pushed { answer: Some(error), .. } => tell(*error, "refused the metrics"),
            Event::NotServed { .. } => {
                self.broker = None;
                self.is_not_served = true;
            }
            Event::Collected { .. } | Event::Closing => {}
        }
        self.telemetry.handle(Instant::now(), event);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::AskSubscription { question, request } => match self.choose() {
                Choice::One(broker) => {
                    self.broker = Some(broker);
                    self.ask(broker, question, request);
                }
                Choice::NoneServes => self.take(Event::NotServed { question }),
                Choice::NoneConnected => self.take(Event::Subscription { question, answer: None }),
            },
            Effect::Collect => {
                let subscription = self.telemetry.subscription();
                let wants = |name: &str| subscription.is_some_and(|wanted| wanted.wants(name));
                let readings = (self.client.collect)(&wants);
                let event = Event::Collected { readings, unix_nanos: unix_nanos() };
                self.telemetry.handle(Instant::now(), event);
            }
            Effect::Push { question, request, left_out } => {
                if left_out > 0 {
                    tracing::debug!(left_out, "not all metrics fit into what the broker takes");
                }
                self.push(question, request);
            }
        }
    }

    /// The broker to ask: the one before, or any.
    fn choose(&self) -> Choice {
        let open = self.client.refresher.pool().open_connections();
        if open.is_empty() {
            return Choice::NoneConnected;
        }
        if !open.iter().any(takes_metrics) {
            return Choice::NoneServes;
        }
        let snapshot = self.client.refresher.snapshot();
        let brokers: Vec<BrokerId> = snapshot.brokers().map(|broker| broker.id).collect();
        if let Some(broker) = self.broker.filter(|broker| brokers.contains(broker)) {
            return Choice::One(broker);
        }
        let place = (self.pool.jitter().chance() * brokers.len() as f64) as usize;
        match brokers.get(place.min(brokers.len().saturating_sub(1))) {
            Some(broker) => Choice::One(*broker),
            None => Choice::NoneConnected,
        }
    }

    fn ask(&self, broker: BrokerId, question: u64, request: GetTelemetrySubscriptionsRequest) {
        let connecting = self.client.refresher.connection_in(&self.pool, broker);
        let timeout = self.client.network.request_timeout;
        self.answers.push(Box::pin(async move {
            let answer = match connecting.await {
                Ok(connection) if !takes_metrics(&connection) => {
                    return Event::NotServed { question };
                }
                Ok(connection) => connection.call(&request, timeout).await,
                Err(error) => Err(error),
            };
            let answer = answer.inspect_err(|error| tracing::debug!(%error, "telemetry"));
            Event::Subscription { question, answer: answer.ok().map(Box::new) }
        }));
    }

    fn push(&self, question: u64, request: PushTelemetryRequest) {
        let broker = self.broker.unwrap_or(BrokerId::NONE);
        let connecting = self.client.refresher.connection_in(&self.pool, broker);
        let timeout = self.client.network.request_timeout;
        self.answers.push(Box::pin(async move {
            let answer = match connecting.await {
                Ok(connection) => connection.call(&request, timeout).await,
                Err(error) => Err(error),
            };
            let (answer, possibly_sent) = match answer {
                Ok(response) => (Some(response.error_code), true),
                Err(error) => {
                    tracing::debug!(%error, "telemetry");
                    (None, error.possibly_sent)
                }
            };
            Event::Pushed { question, answer, possibly_sent }
        }));
    }

    /// Answers who asks for the client's id, where there is an answer.
    fn answer(&mut self, now: Instant) {
        let id = self.telemetry.client_instance_id();
        let is_refused = self.telemetry.state() == TelemetryState::Ended;
        let is_not_served = self.is_not_served || is_refused;
        for asking in std::mem::take(&mut self.asking) {
            let answer = match id {
                Some(id) => Ok(id),
                None if self.is_closing => Err(ClientInstanceIdError::Closed),
                None if is_not_served => Err(ClientInstanceIdError::NotServed),
                None if asking.until <= now => Err(ClientInstanceIdError::TimedOut(asking.timeout)),
                None => {
                    self.asking.push(asking);
                    continue;
                }
            };
            // Who asked may have gone.
            let _ = asking.answer.send(answer);
        }
    }
}

/// Whom to ask.
enum Choice {
    One(BrokerId),
    /// None of those connected takes metrics.
    NoneServes,
    /// None is connected.
    NoneConnected,
}

fn takes_metrics(connection: &BrokerConnection) -> bool {
    [ApiKey::GetTelemetrySubscriptions, ApiKey::PushTelemetry]
        .iter()
        .all(|api| connection.version_for(*api).is_some())
}

fn tell(error: ErrorCode, what: &str) {
    if error != ErrorCode::None {
        tracing::warn!(%error, "telemetry: the broker {what}");
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
