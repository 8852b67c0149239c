//! Listeners: accept connections, count them, and let them finish when the broker stops.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::admission::Admission;
use super::connection;
use super::frame_reader::ReadBudgets;
use super::log_limit::LogLimit;
use super::tls::Tls;
use crate::authentication::{Bearer, Session};
use crate::config::{ListenerSettings, SaslSettings, Settings};
use crate::metrics::RequestMeters;
use crate::node::{Endpoint, Node};
use streamledger_broker_core::authorizer::Principal;

/// How long nothing is accepted after the system refused (no file descriptors left, usually).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The send buffer of a connection within this machine, as it is asked for; the kernel doubles it.
///
/// There the sender also does the receiver's part of TCP. What waits in megabytes, as the kernel
/// would have it, has left the processor's cache when it is taken: that costs both sides a third
/// (docs/measurements/broker-speed.md).
const LOCAL_SEND_BUFFER_BYTES: usize = 256 << 10;

/// A listener with its port, on which nothing is accepted yet.
#[derive(Debug)]
pub(crate) struct BoundListener {
    listener: TcpListener,
    address: SocketAddr,
    advertised: Option<Endpoint>,
    tls: Option<Arc<Tls>>,
    sasl: Option<Arc<SaslSettings>>,
    bearer: Option<Arc<Bearer>>,
}

impl BoundListener {
    /// Binds an address, also one on which a broker ran a moment ago.
    pub(crate) fn bind(
        wanted: &ListenerSettings,
        tls: Option<Tls>,
        bearer: Option<Bearer>,
        backlog: u32,
    ) -> io::Result<Self> {
        let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let mut addresses: Vec<_> =
            (wanted.address.bind_host(), wanted.address.port).to_socket_addrs()?.collect();
        // `localhost` is both; clients that know only one know IPv4.
        addresses.sort_by_key(SocketAddr::is_ipv6);
        for address in addresses {
            match Self::bind_one(address, backlog) {
                Ok(listener) => {
                    let address = listener.local_addr()?;
                    let advertised = wanted.advertised.as_ref().map(|own| Endpoint {
                        host: own.host.clone(),
                        // Port 0 in the setting is the port that was bound.
                        port: i32::from(if own.port == 0 { address.port() } else { own.port }),
                    });
                    let tls = tls.map(Arc::new);
                    let sasl = wanted.security.sasl.clone();
                    let bearer = bearer.map(Arc::new);
                    return Ok(Self { listener, address, advertised, tls, sasl, bearer });
                }
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    fn bind_one(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(backlog)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What makes its connections secret, if anything does.
    pub(super) fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// What is known, and still asked, of a client that TLS says is this one.
    pub(super) fn session(&self, principal: Principal) -> Session {
        match &self.sasl {
            Some(sasl) => Session::login_expected(Arc::clone(sasl), self.bearer.clone()),
            None => Session::known(principal),
        }
    }

    /// What clients on this connection are told to connect to: what the user said, or else the
    /// address they reached.
    fn endpoint(&self, stream: &TcpStream) -> Endpoint {
        if let Some(advertised) = &self.advertised {
            return advertised.clone();
        }
        let reached = stream.local_addr().unwrap_or(self.address);
        let host = match reached.ip() {
            // A client that came over IPv4 to a socket for both knows only the IPv4 address.
            IpAddr::V6(six) => six.to_ipv4_mapped().map_or(reached.ip(), IpAddr::V4),
            four @ IpAddr::V4(_) => four,
        };
        Endpoint { host: host.to_string(), port: i32::from(reached.port()) }
    }
}

/// What all listeners share while the broker runs.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    node: Arc<Node>,
    admission: Arc<Admission>,
    pub(super) budgets: ReadBudgets,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) warnings: Arc<LogLimit>,
    /// Held by every connection; the other end sees when the last is gone.
    _alive: mpsc::Sender<()>,
}

impl Serving {
    pub(crate) fn new(
        node: Arc<Node>,
        settings: &Settings,
        stopping: watch::Receiver<bool>,
        alive: mpsc::Sender<()>,
    ) -> Self {
        let network = &settings.network;
        Self {
            node,
            admission: Admission::new(network.connections_max),
            budgets: ReadBudgets::new(network.queued_request_bytes_max),
            stopping,
            warnings: Arc::default(),
            _alive: alive,
        }
    }

    /// Accepts connections until the broker stops.
    pub(crate) async fn accept(self, listener: BoundListener) {
        let listener = Arc::new(listener);
        let mut stopping = self.stopping.clone();
        if let Some(bearer) = &listener.bearer {
            tokio::spawn(Arc::clone(bearer).keep_fresh(stopping.clone()));
        }
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopping.wait_for(|&stopping| stopping) => return,
                accepted = listener.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(&listener, stream, peer),
                Err(error) => {
                    warn!(address = %listener.address, %error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, listener: &Arc<BoundListener>, stream: TcpStream, peer: SocketAddr) {
        let per_address_max = self.node.controller.number("max.connections.per.ip");
        let per_address_max = usize::try_from(per_address_max).unwrap_or(usize::MAX);
        let ticket = match self.admission.admit(peer.ip().to_canonical(), per_address_max) {
            Ok(ticket) => ticket,
            Err(refused) => {
                self.node.requests.refuse();
                if self.warnings.allows() {
                    warn!(%peer, ?refused, "a connection was refused");
                }
                return;
            }
        };
        if let Err(wait) = self.node.quotas.arrive(&self.node, peer.ip().to_canonical()) {
            self.node.requests.refuse();
            debug!(%peer, ?wait, "a connection came too soon after others of its address");
            let mut stopping = self.stopping.clone();
            tokio::spawn(async move {
                // Held as Kafka holds it, in its place among the connections, so that who tries
                // again at once gains nothing.
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = stopping.wait_for(|&stopping| stopping) => {}
                }
                drop((stream, ticket));
            });
            return;
        }
        debug!(%peer, connections = self.admission.connection_count(), "connection opened");
        if let Err(error) = size_send_buffer(&stream, self.node.settings.network.send_buffer_bytes)
        {
            debug!(%peer, %error, "connection refuses SO_SNDBUF");
        }
        let endpoint = listener.endpoint(&stream);
        let opened = connection::Opened { stream, peer, endpoint, listener: Arc::clone(listener) };
        let serving = connection::serve(Arc::clone(&self.node), opened, self.clone());
        let counted = RequestMeters::open(&self.node);
        tokio::spawn(async move {
            serving.await;
            drop((ticket, counted));
        });
    }
}

/// Gives a connection its send buffer: the one that was set, or else what is best for its place.
fn size_send_buffer(stream: &TcpStream, bytes: Option<usize>) -> io::Result<()> {
    let is_local = stream.peer_addr()?.ip() == stream.local_addr()?.ip();
    match bytes.or(is_local.then_some(LOCAL_SEND_BUFFER_BYTES)) {
        Some(bytes) => Ok(set_socket_send_buffer_size(stream, bytes)?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::socket_send_buffer_size;

    use super::*;

    #[tokio::test]
    async fn a_connection_has_the_send_buffer_that_is_set_or_a_small_one_within_a_machine() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let sized = |bytes| {
            size_send_buffer(&stream, bytes).unwrap();
            socket_send_buffer_size(&stream).unwrap()
        };
        let as_asked = |bytes: usize| bytes..=2 * bytes;
        assert!(as_asked(100_000).contains(&sized(Some(100_000))));
        // A kernel may allow less than is asked for, but no less than it begins with.
        assert!((100_000..=2 * LOCAL_SEND_BUFFER_BYTES).contains(&sized(None)));
    }
}
