//! One connection to a broker: calls are queued at once, pipelined, and answered in order.

use std::cell::{OnceCell, RefCell};
use std::future::Future;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use streamledger_protocol::frame::{decode_response, encode_request};
use streamledger_protocol::message::Request;
use streamledger_protocol::wire::Frame;
use streamledger_protocol::{ApiKey, ApiVersion, CorrelationId};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::api_versions::{self, BrokerVersions};
use super::driver::Driver;
use super::queues::{Abandoned, Queues, Reply, Turn};
use super::sasl;
use super::throttle::Throttled;
use super::transport::Transport;
use super::{ConnectionMeter, NetworkConfig, NetworkError, NetworkErrorKind};
use crate::config::ServerAddress;

/// A connection to a broker, whose versions are known. Cheap to clone; closed with the last clone.
#[derive(Clone)]
pub(crate) struct BrokerConnection(Rc<Handle>);

/// A view of a connection that doesn't keep it open: for what looks after it.
pub(super) struct WeakConnection {
    handle: Weak<Handle>,
    shared: Rc<Shared>,
}

struct Handle(Rc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close(NetworkErrorKind::ClosedByUs);
    }
}

/// What the handles and the driver share.
pub(super) struct Shared {
    pub(super) address: Arc<ServerAddress>,
    pub(super) idle_max: Option<Duration>,
    request_timeout: Duration,
    client_id: Arc<str>,
    fetch_response_bytes_max: u32,
    /// What security.protocol would be with a login; none if there is one.
    protocol_with_login: Option<&'static str>,
    meter: ConnectionMeter,
    versions: OnceCell<BrokerVersions>,
    pub(super) state: RefCell<State>,
    /// The connection has ended, or a request is held back.
    stirred: Notify,
}

pub(super) struct State {
    pub(super) queues: Queues,
    pub(super) closed: Option<NetworkErrorKind>,
    /// Until when no request is begun, as the broker asked.
    pub(super) muted_until: Option<Instant>,
    pub(super) last_used: Instant,
    /// Whether a request was queued since the last login.
    is_used: bool,
    pub(super) last_received: Instant,
    pub(super) driver: Option<Waker>,
    /// Told when the broker has ended the connection too, if that is waited for.
    pub(super) finishing: Option<oneshot::Sender<()>>,
}

/// The largest response to anything but a Fetch: cluster metadata of a few hundred thousand
/// partitions.
const OTHER_RESPONSE_BYTES_MAX: u32 = 32 * 1024 * 1024;

/// The largest response of a login, or to the first request of all: nobody is trusted yet.
const FIRST_RESPONSE_BYTES_MAX: u32 = 64 * 1024;

/// With that many requests given up on and not answered, a connection is not worth keeping.
const ABANDONED_MAX: usize = 100;

impl BrokerConnection {
    /// Connects, asks the broker for its versions, and logs in if that is asked for. Must run on
    /// the I/O thread.
    ///
    /// # Errors
    /// The address can't be resolved or connected to, what answers there is no Kafka broker, or one
    /// side doesn't trust the other.
    pub(crate) async fn connect(
        address: &Arc<ServerAddress>,
        config: &NetworkConfig,
        setup_timeout: Duration,
    ) -> Result<Self, NetworkError> {
        let newest = api_versions::NEWEST;
        let connection = match Self::connect_asking(address, config, setup_timeout, newest).await {
            // Some answer a version they don't know by hanging up, or with bytes of another form.
            Err(NetworkError {
                kind: NetworkErrorKind::ClosedByBroker | NetworkErrorKind::BadResponse(_),
                ..
            }) => {
                let oldest = api_versions::OLDEST;
                Self::connect_asking(address, config, setup_timeout, oldest).await?
            }
            result => result?,
        };
        connection.log_in(config).await?;
        Ok(connection)
    }

    /// Logs in, and sees to it that it is done again in time.
    async fn log_in(&self, config: &NetworkConfig) -> Result<(), NetworkError> {
        let Some(sasl) = &config.security.sasl else { return Ok(()) };
        let ready = sasl.prepare(self).await?;
        let timeout = config.request_timeout;
        let lifetime = sasl.log_in(self, ready, timeout).await;
        // Nothing that a caller would mind has been sent.
        let lifetime = lifetime.map_err(|error| NetworkError { possibly_sent: false, ..error })?;
        self.0.0.state.borrow_mut().is_used = false;
        if let Some(lifetime) = lifetime {
            let (connection, sasl) = (self.downgrade(), Arc::clone(sasl));
            tokio::task::spawn_local(sasl::keep_alive(connection, sasl, lifetime, timeout));
        }
        Ok(())
    }

    fn downgrade(&self) -> WeakConnection {
        WeakConnection { handle: Rc::downgrade(&self.0), shared: Rc::clone(&self.0.0) }
    }

    /// Holds requests back, but for those of a login.
    pub(super) fn hold(&self) {
        self.0.0.state.borrow_mut().queues.hold();
    }

    /// Lets requests go that were held back.
    pub(super) fn release(&self) {
        let mut state = self.0.0.state.borrow_mut();
        state.is_used = state.queues.release();
        drop(state);
        self.0.0.wake_driver();
    }

    /// Ends the connection for a reason; whoever waits for a response is told so.
    pub(super) fn close_because(&self, kind: NetworkErrorKind) {
        self.0.0.close(kind);
    }

    async fn connect_asking(
        address: &Arc<ServerAddress>,
        config: &NetworkConfig,
        setup_timeout: Duration,
        version: ApiVersion,
    ) -> Result<Self, NetworkError> {
        let transport = Transport::open(address, config, setup_timeout).await?;
        let connection = Self::start(address, config, transport);
        let timeout = config.request_timeout;
        match api_versions::ask(&connection, version, timeout).await {
            Ok(versions) => {
                let _ = connection.0.0.versions.set(versions);
                Ok(connection)
            }
            // Nothing that a caller would mind has been sent.
            Err(error) => Err(NetworkError { possibly_sent: false, ..error }),
        }
    }

    fn start(address: &Arc<ServerAddress>, config: &NetworkConfig, transport: Transport) -> Self {
        let now = Instant::now();
        let shared = Rc::new(Shared {
            address: Arc::clone(address),
            idle_max: config.idle_max,
            request_timeout: config.request_timeout,
            client_id: Arc::clone(&config.client_id),
            fetch_response_bytes_max: config.fetch_response_bytes_max,
            protocol_with_login: config.security.protocol_with_login(),
            meter: config.meter.clone(),
            versions: OnceCell::new(),
            state: RefCell::new(State {
                queues: Queues::default(),
                closed: None,
                muted_until: None,
                last_used: now,
                is_used: false,
                last_received: now,
                driver: None,
                finishing: None,
            }),
            stirred: Notify::new(),
        });
        shared.meter.count_created();
        tokio::task::spawn_local(Driver::new(Rc::clone(&shared), transport));
        Self(Rc::new(Handle(shared)))
    }

    /// Where it is connected to, as it was told.
    pub(crate) fn address(&self) -> &Arc<ServerAddress> {
        &self.0.0.address
    }

    /// Whether requests can be queued.
    pub(crate) fn is_open(&self) -> bool {
        self.0.0.state.borrow().closed.is_none()
    }

    /// Requests that were queued and not answered yet, those given up on included.
    pub(crate) fn in_flight_count(&self) -> usize {
        self.0.0.state.borrow().queues.in_flight_count()
    }

    /// Until when the broker asked to be left alone; requests are queued till then.
    #[cfg(test)]
    pub(crate) fn muted_until(&self) -> Option<std::time::Instant> {
        let until = self.0.0.state.borrow().muted_until;
        until.filter(|until| *until > Instant::now()).map(Instant::into_std)
    }

    /// What the broker said of its versions.
    pub(crate) fn versions(&self) -> Option<&BrokerVersions> {
        self.0.0.versions.get()
    }

    /// The highest version of the API that both sides know.
    pub(crate) fn version_for(&self, api: ApiKey) -> Option<ApiVersion> {
        self.versions().and_then(|versions| versions.highest_common(api))
    }

    /// Ends the connection; whoever waits for a response is told so.
    pub(crate) fn close(&self) {
        self.0.0.close(NetworkErrorKind::ClosedByUs);
    }

    /// Ends the connection, but so that nothing written before is lost: says that no more comes,
    /// and then waits, throwing away what is still answered, until the broker has read everything
    /// and ends the connection too. Bound the wait.
    ///
    /// Without that an answer that comes after the end makes the system give up what it has not
    /// sent yet, of which a producer with acks=0 never learns.
    pub(crate) fn finish(&self) -> impl Future<Output = ()> + use<> {
        let (finished, finishing) = oneshot::channel();
        {
            let mut state = self.0.0.state.borrow_mut();
            if state.closed.is_none() {
                state.finishing = Some(finished);
            }
        }
        self.close();
        async move {
            // An error says that there was nothing to wait for.
            let _ = finishing.await;
        }
    }

    /// Queues a request in the highest common version, and waits for its response.
    ///
    /// The request is queued when this returns, before the future is polled; dropping the future
    /// doesn't take it back. A response after the time-out is dropped.
    pub(crate) fn call<R>(
        &self,
        request: &R,
        timeout: Duration,
    ) -> impl Future<Output = Result<R::Response, NetworkError>> + use<R>
    where
        R: Request,
        R::Response: Throttled,
    {
        let version = self.version_for(R::API_KEY);
        self.call_in(version, request, timeout)
    }

    /// As [`call`](Self::call), in a version that the caller chose: no higher than the common one.
    pub(crate) fn call_in<R>(
        &self,
        version: Option<ApiVersion>,
        request: &R,
        timeout: Duration,
    ) -> impl Future<Output = Result<R::Response, NetworkError>> + use<R>
    where
        R: Request,
        R::Response: Throttled,
    {
        let queued = self.queue(version, request, timeout);
        let connection = self.clone();
        async move {
            let (version, waiting) = queued?;
            let frame = waiting.response(&connection).await?;
            connection.decode(frame, version)
        }
    }

    /// Queues a request that the broker doesn't answer: a Produce with acks=0, in a version no
    /// higher than the common one. The future ends when its last byte is with the system.
    pub(crate) fn send_only<R: Request>(
        &self,
        version: Option<ApiVersion>,
        request: &R,
    ) -> impl Future<Output = Result<(), NetworkError>> + use<R> {
        let shared = &self.0.0;
        let queued = self.encode(version, request).map(|(_, id, frame)| {
            let written = shared.state.borrow_mut().queues.push_unanswered(id, frame);
            shared.used();
            written
        });
        let connection = self.clone();
        async move {
            let unknown = |_| connection.0.0.error(NetworkErrorKind::ClosedByUs, true);
            queued?.await.map_err(unknown)?
        }
    }

    /// Queues a request and gives its response undecoded.
    pub(super) fn call_raw<R: Request>(
        &self,
        version: ApiVersion,
        request: &R,
        timeout: Duration,
    ) -> impl Future<Output = Result<Bytes, NetworkError>> + use<R> {
        let queued = self.queue(Some(version), request, timeout);
        let connection = self.clone();
        async move { queued?.1.response(&connection).await }
    }

    /// Decodes a response, obeys its throttle time, and ends the connection if it is none.
    pub(super) fn decode<T: Throttled>(
        &self,
        frame: Bytes,
        version: ApiVersion,
    ) -> Result<T, NetworkError> {
        let (_, response) = decode_response::<T>(frame, version).map_err(|error| {
            let kind = NetworkErrorKind::BadResponse(error);
            self.0.0.close(kind.clone());
            self.0.0.error(kind, true)
        })?;
        if let Ok(millis @ 1..) = u64::try_from(response.throttle_ms(version)) {
            self.0.0.mute(Duration::from_millis(millis));
        }
        Ok(response)
    }

    fn queue<R: Request>(
        &self,
        version: Option<ApiVersion>,
        request: &R,
        timeout: Duration,
    ) -> Result<(ApiVersion, Waiting), NetworkError> {
        let (version, id, frame) = self.encode(version, request)?;
        let shared = &self.0.0;
        let bytes_max = match R::API_KEY {
            ApiKey::Fetch => shared.fetch_response_bytes_max,
            ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => {
                FIRST_RESPONSE_BYTES_MAX
            }
            _ => OTHER_RESPONSE_BYTES_MAX,
        };
        let turn = match R::API_KEY {
            ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => Turn::Login,
            _ => Turn::Ordinary,
        };
        let now = Instant::now();
        let reply = shared.state.borrow_mut().queues.push(id, frame, bytes_max, now, turn);
        match turn {
            Turn::Login => shared.wake_driver(),
            Turn::Ordinary => shared.used(),
        }
        Ok((version, Waiting { id, reply, since: now, timeout }))
    }

    fn encode<R: Request>(
        &self,
        version: Option<ApiVersion>,
        request: &R,
    ) -> Result<(ApiVersion, CorrelationId, Frame), NetworkError> {
        let shared = &self.0.0;
        let not_sent = |kind| shared.error(kind, false);
        let mut state = shared.state.borrow_mut();
        if let Some(kind) = &state.closed {
            return Err(not_sent(kind.clone()));
        }
        let version =
            version.ok_or_else(|| not_sent(NetworkErrorKind::NoCommonVersion(R::API_KEY)))?;
        let id = state.queues.next_id();
        let frame = encode_request(id, Some(&shared.client_id), version, request)
            .map_err(|error| not_sent(NetworkErrorKind::NotEncodable(error.to_string())))?;
        Ok((version, id, frame))
    }
}

impl WeakConnection {
    /// The connection, if somebody still has it and it is open.
    pub(super) fn upgrade(&self) -> Option<BrokerConnection> {
        self.handle.upgrade().map(BrokerConnection).filter(BrokerConnection::is_open)
    }

    /// Waits for so long; false, and earlier, if the connection has ended.
    pub(super) async fn lives_for(&self, duration: Duration) -> bool {
        let mut sleep = std::pin::pin!(tokio::time::sleep(duration));
        loop {
            tokio::select! {
                () = &mut sleep => return self.is_open(),
                () = self.shared.stirred.notified() => {}
            }
            if !self.is_open() {
                return false;
            }
        }
    }

    /// Waits until a request is queued, if none was since the last login; it is held back. False if
    /// the connection has ended.
    pub(super) async fn is_wanted(&self) -> bool {
        loop {
            {
                let mut state = self.shared.state.borrow_mut();
                if state.closed.is_some() || state.is_used {
                    return state.closed.is_none();
                }
                state.queues.hold();
            }
            self.shared.stirred.notified().await;
        }
    }

    fn is_open(&self) -> bool {
        self.shared.state.borrow().closed.is_none()
    }
}

/// A request that was queued.
struct Waiting {
    id: CorrelationId,
    reply: oneshot::Receiver<Reply>,
    since: Instant,
    timeout: Duration,
}

impl Waiting {
    async fn response(self, connection: &BrokerConnection) -> Result<Bytes, NetworkError> {
        let shared = &connection.0.0;
        let left = self.timeout.saturating_sub(self.since.elapsed());
        match tokio::time::timeout(left, self.reply).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => Err(shared.error(NetworkErrorKind::ClosedByUs, true)),
            Err(_) => {
                let possibly_sent = shared.give_up(self.id) == Abandoned::PossiblySent;
                Err(shared.error(NetworkErrorKind::Timeout(self.timeout), possibly_sent))
            }
        }
    }
}

impl Shared {
    /// Ends the connection, once; everyone who waits is told why.
    pub(super) fn close(&self, kind: NetworkErrorKind) {
        let mut state = self.state.borrow_mut();
        if state.closed.is_none() {
            let kind = self.with_hint(&state, kind);
            state.queues.fail_all(&self.address, &kind);
            state.closed = Some(kind);
            self.meter.count_closed();
        }
        drop(state);
        self.stirred.notify_one();
        self.wake_driver();
    }

    /// A broker that wants a login first tells its versions, and answers nothing else.
    fn with_hint(&self, state: &State, kind: NetworkErrorKind) -> NetworkErrorKind {
        let is_first = self.versions.get().is_some() && state.queues.has_only_its_first_answer();
        match (kind, self.protocol_with_login) {
            (NetworkErrorKind::ClosedByBroker, Some(protocol)) if is_first => {
                NetworkErrorKind::ClosedWithoutLogin(protocol)
            }
            (kind, _) => kind,
        }
    }

    /// A request was queued.
    fn used(&self) {
        let mut state = self.state.borrow_mut();
        state.last_used = Instant::now();
        state.is_used = true;
        if state.queues.has_held() {
            self.stirred.notify_one();
        }
        drop(state);
        self.wake_driver();
    }

    fn wake_driver(&self) {
        let state = self.state.borrow();
        if let Some(driver) = &state.driver {
            driver.wake_by_ref();
        }
    }

    fn error(&self, kind: NetworkErrorKind, possibly_sent: bool) -> NetworkError {
        NetworkError { address: Arc::clone(&self.address), kind, possibly_sent }
    }

    fn mute(&self, duration: Duration) {
        let until = Instant::now() + duration;
        let mut state = self.state.borrow_mut();
        state.muted_until = state.muted_until.max(Some(until));
        drop(state);
        self.wake_driver();
    }

    /// A request has timed out. The connection is kept, as the broker may be slow and the response
    /// late, unless it has been silent for two whole time-outs: then nobody is there.
    fn give_up(&self, id: CorrelationId) -> Abandoned {
        let mut state = self.state.borrow_mut();
        let abandoned = state.queues.abandon(id);
        let heard = state.last_received;
        let waiting_since = state.queues.expected().map(|next| next.queued_at.max(heard));
        let silence = waiting_since.map_or(Duration::ZERO, |since| since.elapsed());
        let is_useless = state.queues.abandoned_count() > ABANDONED_MAX;
        drop(state);
        if silence >= 2 * self.request_timeout || is_useless {
            self.close(NetworkErrorKind::Silent(silence));
        }
        abandoned
    }
}
