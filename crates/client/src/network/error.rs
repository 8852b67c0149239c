//! What can go wrong between us and a broker, and whether the request may have got there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use streamledger_protocol::wire::DecodeError;
use streamledger_protocol::{ApiKey, CorrelationId};

use crate::config::ServerAddress;

/// A request, or the connection it needed, failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkError {
    /// The broker's address, as it was given or told.
    pub address: Arc<ServerAddress>,
    /// What went wrong.
    pub kind: NetworkErrorKind,
    /// Whether the broker may have got the request and acted on it. If not, it surely did not.
    pub possibly_sent: bool,
}

/// What went wrong between us and a broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkErrorKind {
    /// The name has no address.
    #[error("the name can't be resolved: {0}")]
    Unresolved(String),
    /// No address of it took the connection.
    #[error("can't connect: {0}")]
    NotConnected(String),
    /// No address of it answered in time.
    #[error("can't connect: no answer within {} ms", .0.as_millis())]
    ConnectTimeout(Duration),
    /// The broker closed the connection.
    #[error("the broker closed the connection")]
    ClosedByBroker,
    /// The broker closed the connection at its first request, and there was no login.
    #[error(
        "the broker closed the connection at the first request; if it wants a login on this port, \
         set security.protocol={0}"
    )]
    ClosedWithoutLogin(&'static str),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The request was not answered in time.
    #[error("no response within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Nothing came over the connection for so long that it was given up.
    #[error("the connection was silent for {} ms", .0.as_millis())]
    Silent(Duration),
    /// The connection was closed here, as nobody had used it for a while.
    #[error("the connection was idle for {} ms and closed", .0.as_millis())]
    Idle(Duration),
    /// The connection was closed here, with the client or by it.
    #[error("the connection was closed by this client")]
    ClosedByUs,
    /// The bytes that came are not a response.
    #[error("not a valid response: {0}")]
    BadResponse(DecodeError),
    /// The bytes that came are of another protocol.
    #[error(
        "the broker speaks {0} there, not Kafka's protocol in the clear{hint}",
        hint = hint(.0)
    )]
    OtherProtocol(&'static str),
    /// There was no TLS handshake, or TLS broke later; it may work another time.
    #[error("TLS: {0}")]
    TlsHandshake(String),
    /// One side doesn't take the other's certificate, version or cipher suites. It won't work until
    /// somebody changes something: the sentence says what.
    #[error("TLS: {0}")]
    TlsRefused(String),
    /// The login was refused: it won't work until somebody changes something.
    #[error("SASL {mechanism}: {reason}")]
    AuthenticationFailed {
        /// The mechanism.
        mechanism: &'static str,
        /// What the broker says, or what is wrong with the broker.
        reason: String,
    },
    /// The login could not be done, but may be another time: no token yet, a broker in trouble.
    #[error("SASL {mechanism}: {reason}")]
    LoginBroken {
        /// The mechanism.
        mechanism: &'static str,
        /// What is in its way.
        reason: String,
    },
    /// A response came that answers another request than the one in line, or none.
    #[error("a response to request {got}, expected {}", expected_id(*.expected))]
    WrongCorrelationId {
        /// The id it carries.
        got: CorrelationId,
        /// The id of the request in line, if there is one.
        expected: Option<CorrelationId>,
    },
    /// The broker answers, but can't be of use yet.
    #[error("the broker is not ready: {0}")]
    NotReady(String),
    /// The cluster has no broker of that number now.
    #[error("the cluster has no such broker now")]
    UnknownBroker,
    /// The broker and we have no version of the API in common.
    #[error("the broker has no version of {0} that is known here")]
    NoCommonVersion(ApiKey),
    /// The request can't be written in the version that the broker knows.
    #[error("the request can't be written: {0}")]
    NotEncodable(String),
}

fn hint(protocol: &str) -> &'static str {
    match protocol {
        "TLS" => "; set security.protocol=SSL or SASL_SSL",
        _ => "",
    }
}

fn expected_id(expected: Option<CorrelationId>) -> String {
    expected.map_or_else(|| "none".to_owned(), |id| id.to_string())
}

impl NetworkError {
    pub(crate) fn not_sent(address: &Arc<ServerAddress>, kind: NetworkErrorKind) -> Self {
        Self { address: Arc::clone(address), kind, possibly_sent: false }
    }

    pub(crate) fn possibly_sent(address: &Arc<ServerAddress>, kind: NetworkErrorKind) -> Self {
        Self { address: Arc::clone(address), kind, possibly_sent: true }
    }

    /// Whether no connection to the broker could be made at all.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self.kind,
            NetworkErrorKind::Unresolved(_)
                | NetworkErrorKind::NotConnected(_)
                | NetworkErrorKind::ConnectTimeout(_)
        )
    }

    /// Whether the broker doesn't let us in, or we don't trust it: certificates, or the login.
    #[must_use]
    pub fn is_authentication(&self) -> bool {
        matches!(
            self.kind,
            NetworkErrorKind::TlsRefused(_) | NetworkErrorKind::AuthenticationFailed { .. }
        )
    }

    /// Whether trying again, here or at another broker, may succeed.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        !matches!(
            self.kind,
            NetworkErrorKind::NoCommonVersion(_)
                | NetworkErrorKind::NotEncodable(_)
                | NetworkErrorKind::TlsRefused(_)
                | NetworkErrorKind::AuthenticationFailed { .. }
        )
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.kind)
    }
}

impl std::error::Error for NetworkError {}
