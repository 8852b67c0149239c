//! Who is at the other end of a connection: nobody known, a certificate's name, or a login's.
//!
//! 1. Before a login only ApiVersions, SaslHandshake and SaslAuthenticate are looked at, and those
//!    in order; anything else ends the connection.
//! 2. A failed login is answered late, always with the same sentence, and is the connection's last
//!    word (FAILURES.md 57).
//! 3. A login may be done again, by the same user only; once its time is up nothing else is served
//!    (KIP-368).

mod credential;
mod oauthbearer;
mod plain;
mod scram;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use streamledger_broker_core::authorizer::Principal;
use streamledger_protocol::{ApiKey, ErrorCode};
use tracing::{debug, warn};

use self::scram::Scram;
use crate::config::{Mechanism, SaslSettings};
use crate::controller::Controller;

pub(crate) use credential::ensure_scram_user;
pub(crate) use oauthbearer::Bearer;
pub(crate) use scram::UnknownUsers;

/// The first version of SaslHandshake after which tokens come in SaslAuthenticate.
const FRAMED_FROM: i16 = 1;

/// Who is at the other end, and how far a login is.
#[derive(Debug)]
pub(crate) struct Session {
    sasl: Option<Arc<SaslSettings>>,
    /// Checks tokens, where they are taken.
    bearer: Option<Arc<Bearer>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Who it is, once that is known.
    known: Option<Known>,
    login: Login,
}

#[derive(Debug)]
struct Known {
    principal: Arc<Principal>,
    expires: Option<Instant>,
}

#[derive(Debug)]
enum Login {
    /// None is going on.
    Idle,
    /// Its mechanism is chosen; `is_raw`: tokens come without a request around them.
    Exchanging { exchange: Exchange, is_raw: bool },
    /// One has failed: the connection ends.
    Failed,
}

#[derive(Debug)]
enum Exchange {
    Plain,
    Scram(Box<Scram>),
    OAuthBearer(oauthbearer::Exchange),
}

/// What a mechanism makes of a token.
enum Step {
    /// Go on with this.
    Challenge(Bytes),
    /// It is this user; say this.
    Done { user: String, last: Bytes },
    /// It is this user, until then.
    Token { user: String, expires: SystemTime },
    /// It is nobody.
    Refused,
    /// It is nobody, and the client has been told so much.
    RefusedWith(&'static str),
}

/// The answer to a token.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub(crate) error: ErrorCode,
    pub(crate) message: Option<String>,
    pub(crate) bytes: Bytes,
    pub(crate) session_lifetime_ms: i64,
    /// The answer waits for so long.
    pub(crate) delay: Duration,
}

impl Session {
    /// With a client of whom nothing more is asked.
    pub(crate) fn known(principal: Principal) -> Self {
        let known = Known { principal: Arc::new(principal), expires: None };
        let state = State { known: Some(known), login: Login::Idle };
        Self { sasl: None, bearer: None, state: Mutex::new(state) }
    }

    /// With a client that must log in.
    pub(crate) fn login_expected(sasl: Arc<SaslSettings>, bearer: Option<Arc<Bearer>>) -> Self {
        let state = State { known: None, login: Login::Idle };
        Self { sasl: Some(sasl), bearer, state: Mutex::new(state) }
    }

    /// Who it is; anonymous before the login.
    pub(crate) fn principal(&self) -> Arc<Principal> {
        let state = self.state.lock();
        let known = state.known.as_ref().map(|known| Arc::clone(&known.principal));
        known.unwrap_or_else(|| Arc::new(Principal::anonymous()))
    }

    /// Whether it is known who it is.
    pub(crate) fn is_known(&self) -> bool {
        self.state.lock().known.is_some()
    }

    /// Whether a login has failed.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.state.lock().login, Login::Failed)
    }

    /// The longest request that is read, where that is less than others'.
    pub(crate) fn request_bytes_max(&self) -> Option<u32> {
        let sasl = self.sasl.as_ref().filter(|_| !self.is_known())?;
        Some(sasl.request_bytes_max)
    }

    /// Whether the next frame is a token without a request around it (SaslHandshake 0).
    pub(crate) fn expects_raw_token(&self) -> bool {
        matches!(self.state.lock().login, Login::Exchanging { is_raw: true, .. })
    }

    /// Whether a request may be looked at now; else why the connection ends.
    pub(crate) fn admits(&self, api: ApiKey) -> Result<(), &'static str> {
        if self.sasl.is_none() {
            return Ok(());
        }
        let state = self.state.lock();
        match (&state.login, &state.known) {
            (Login::Failed, _) => Err("a request after a failed login"),
            (Login::Exchanging { .. }, _) if api == ApiKey::SaslAuthenticate => Ok(()),
            (Login::Exchanging { .. }, _) => Err("another request in the middle of a login"),
            (Login::Idle, None) => match api {
                ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => Ok(()),
                _ => {
                    Err("a request before the login: a client without security.protocol=SASL_...?")
                }
            },
            (Login::Idle, Some(known)) => {
                let is_over = known.expires.is_some_and(|expires| Instant::now() >= expires);
                match is_over && api != ApiKey::SaslHandshake {
                    true => Err("a request after its login's time was up"),
                    false => Ok(()),
                }
            }
        }
    }

    /// Chooses a mechanism. The answer to a wrong one lists those there are.
    pub(crate) fn handshake(
        &self,
        mechanism: &str,
        version: i16,
    ) -> (ErrorCode, Vec<&'static str>) {
        let Some(sasl) = &self.sasl else { return (ErrorCode::IllegalSaslState, Vec::new()) };
        let names = sasl.mechanisms.iter().map(|mechanism| mechanism.name()).collect();
        let mut state = self.state.lock();
        let chosen = Mechanism::parse(mechanism).filter(|own| sasl.mechanisms.contains(own));
        let Some(chosen) = chosen else {
            state.login = Login::Failed;
            return (ErrorCode::UnsupportedSaslMechanism, names);
        };
        let exchange = match chosen {
            Mechanism::Plain => Exchange::Plain,
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
                Exchange::Scram(Box::new(Scram::new(chosen)))
            }
            Mechanism::OAuthBearer => Exchange::OAuthBearer(oauthbearer::Exchange::default()),
        };
        state.login = Login::Exchanging { exchange, is_raw: version < FRAMED_FROM };
        (ErrorCode::None, names)
    }

    /// Takes a token of the chosen mechanism.
    pub(crate) fn authenticate(
        &self,
        token: &[u8],
        controller: &Controller,
        unknown: &UnknownUsers,
    ) -> Authenticated {
        let mut state = self.state.lock();
        let State { known, login } = &mut *state;
        let (Some(sasl), Login::Exchanging { exchange, .. }) = (&self.sasl, &mut *login) else {
            if self.sasl.is_some() {
                *login = Login::Failed;
            }
            return Authenticated {
                message: Some("SaslHandshake comes first, at a listener with SASL.".to_owned()),
                ..Authenticated::failed(ErrorCode::IllegalSaslState, Duration::ZERO)
            };
        };
        let step = match exchange {
            Exchange::Plain => plain::step(token, &sasl.plain_users),
            Exchange::Scram(scram) => scram.step(token, controller, unknown),
            Exchange::OAuthBearer(exchange) => match &self.bearer {
                Some(bearer) => bearer.step(exchange, token),
                None => Step::Refused,
            },
        };
        let (user, bytes, token_end) = match step {
            Step::Challenge(bytes) => return Authenticated::going_on(bytes, 0),
            Step::Done { user, last } => (user, last, None),
            Step::Token { user, expires } => (user, Bytes::new(), Some(expires)),
            Step::Refused => {
                *login = Login::Failed;
                return Authenticated::refused(sasl.failure_delay);
            }
            Step::RefusedWith(message) => {
                *login = Login::Failed;
                return Authenticated {
                    message: Some(message.to_owned()),
                    ..Authenticated::refused(sasl.failure_delay)
                };
            }
        };
        let principal = Principal::user(user);
        if known.as_ref().is_some_and(|known| *known.principal != principal) {
            warn!(%principal, "a login was done again by somebody else");
            *login = Login::Failed;
            return Authenticated::refused(sasl.failure_delay);
        }
        debug!(%principal, "logged in");
        // A token's login is over when the token is (Kafka's `SaslServerAuthenticator`).
        let left = |end: SystemTime| end.duration_since(SystemTime::now()).unwrap_or_default();
        let session = match (sasl.session_max, token_end.map(left)) {
            (Some(session), Some(left)) => Some(session.min(left)),
            (session, left) => session.or(left),
        };
        let expires = session.and_then(|session| Instant::now().checked_add(session));
        *known = Some(Known { principal: Arc::new(principal), expires });
        *login = Login::Idle;
        let lifetime = session.map_or(0, |session| session.as_millis());
        Authenticated::going_on(bytes, i64::try_from(lifetime).unwrap_or(i64::MAX))
    }
}

impl Authenticated {
    fn going_on(bytes: Bytes, session_lifetime_ms: i64) -> Self {
        Self {
            error: ErrorCode::None,
            message: None,
            bytes,
            session_lifetime_ms,
            delay: Duration::ZERO,
        }
    }

    fn failed(error: ErrorCode, delay: Duration) -> Self {
        Self { error, message: None, bytes: Bytes::new(), session_lifetime_ms: 0, delay }
    }

    /// One sentence for all reasons: which of name and password was wrong is nobody's business.
    fn refused(delay: Duration) -> Self {
        Self {
            message: Some("Authentication failed: invalid credentials".to_owned()),
            ..Self::failed(ErrorCode::SaslAuthenticationFailed, delay)
        }
    }
}
