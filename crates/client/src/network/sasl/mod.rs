//! Login by SASL: which mechanism, and the exchange over a connection (KIP-43, KIP-152, KIP-368).
//!
//! 1. It comes right after ApiVersions; until it is done nothing else is sent.
//! 2. A mechanism says what to send next; it sees no socket.
//! 3. No secret is in any error or log.
//! 4. What a broker can make us do is bounded: rounds, bytes, computing.

mod oauthbearer;
mod oidc;
mod scram;
mod session;
mod token;
mod unsecured;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use streamledger_protocol::frame::decode_response;
use streamledger_protocol::jaas::LoginModule;
use streamledger_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use streamledger_protocol::{ApiKey, ApiVersion, ErrorCode};

use self::oauthbearer::OAuthBearer;
use self::scram::{Hash, Scram};
use self::token::Tokens;
use super::{BrokerConnection, NetworkError, NetworkErrorKind};
use crate::config::{ConfigError, Password, SecuritySettings};

pub(super) use session::keep_alive;
pub use token::{Token, TokenError, TokenFuture, TokenProvider};

/// How a client logs in.
pub(crate) struct Sasl {
    login: Login,
}

enum Login {
    Plain { authorization_id: String, user: String, password: Password },
    Scram { hash: Hash, user: String, password: Password, is_token: bool },
    OAuthBearer(Tokens),
}

/// What to do after a message of the broker.
enum Step {
    /// Send this.
    Send(Vec<u8>),
    /// Nothing: the login is complete on our side.
    Done,
}

/// Why a login came to nothing.
#[derive(Debug)]
enum Fault {
    /// For good: wrong password, or a broker that can't be trusted.
    Refused(String),
    /// It may work another time.
    Broken(String),
}

/// Messages that any mechanism here takes, with some to spare.
const ROUNDS_MAX: usize = 5;

const MECHANISM: &str = "sasl.mechanism";
const JAAS: &str = "sasl.jaas.config";

impl Sasl {
    /// Reads mechanism and login.
    ///
    /// # Errors
    /// The mechanism isn't known, or lacks something; without any secret.
    pub(super) fn new(
        settings: &SecuritySettings,
        provider: Option<Arc<dyn TokenProvider>>,
    ) -> Result<Self, ConfigError> {
        let jaas = settings.sasl_jaas_config.as_ref();
        let jaas = jaas.map(|text| LoginModule::parse(text.reveal())).transpose().map_err(bad)?;
        let login = match &*settings.sasl_mechanism {
            "PLAIN" => plain(&module(jaas, "PlainLoginModule")?),
            "SCRAM-SHA-256" => scram(Hash::Sha256, &module(jaas, "ScramLoginModule")?),
            "SCRAM-SHA-512" => scram(Hash::Sha512, &module(jaas, "ScramLoginModule")?),
            "OAUTHBEARER" => return Self::with_tokens(settings, jaas, provider),
            "GSSAPI" => {
                let reason = "GSSAPI (Kerberos, Kafka's default) needs a C library and is not \
                              here; set SCRAM-SHA-512, PLAIN or OAUTHBEARER";
                return Err(unusable(MECHANISM, reason.to_owned()));
            }
            other => {
                let reason = format!(
                    "{other:?} is not known; there are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and \
                     OAUTHBEARER"
                );
                return Err(unusable(MECHANISM, reason));
            }
        };
        Ok(Self { login: login.map_err(bad)? })
    }

    fn with_tokens(
        settings: &SecuritySettings,
        jaas: Option<LoginModule>,
        provider: Option<Arc<dyn TokenProvider>>,
    ) -> Result<Self, ConfigError> {
        let provider = match provider {
            Some(provider) => provider,
            None => oauthbearer::provider(settings, jaas.as_ref())?,
        };
        if let Some(jaas) = jaas {
            module(Some(jaas), "OAuthBearerLoginModule")?;
        }
        Ok(Self { login: Login::OAuthBearer(Tokens::new(provider, settings)) })
    }

    /// The mechanism by its name.
    fn mechanism(&self) -> &'static str {
        match &self.login {
            Login::Plain { .. } => "PLAIN",
            Login::Scram { hash: Hash::Sha256, .. } => "SCRAM-SHA-256",
            Login::Scram { hash: Hash::Sha512, .. } => "SCRAM-SHA-512",
            Login::OAuthBearer(_) => "OAUTHBEARER",
        }
    }

    /// Gets ready to log in, which may take asking for a token.
    async fn begin(&self) -> Result<(Exchange, Vec<u8>), Fault> {
        Ok(match &self.login {
            Login::Plain { authorization_id, user, password } => {
                let parts = [authorization_id, "\0", user, "\0", password.reveal()];
                (Exchange::Plain, parts.concat().into_bytes())
            }
            Login::Scram { hash, user, password, is_token } => {
                let scram = Scram::new(*hash, user, password.clone(), *is_token)?;
                let first = scram.first_message();
                (Exchange::Scram(scram), first)
            }
            Login::OAuthBearer(tokens) => {
                let token = tokens.current().await.map_err(|error| {
                    let reason = error.to_string();
                    if error.is_retriable() {
                        Fault::Broken(reason)
                    } else {
                        Fault::Refused(reason)
                    }
                })?;
                let first = oauthbearer::first_message(&token)?;
                (Exchange::OAuthBearer(OAuthBearer::default()), first)
            }
        })
    }
}

impl std::fmt::Debug for Sasl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sasl").field("mechanism", &self.mechanism()).finish_non_exhaustive()
    }
}

/// A login under way.
enum Exchange {
    Plain,
    Scram(Scram),
    OAuthBearer(OAuthBearer),
}

impl Exchange {
    /// What to say to a message. SCRAM's thousands of rounds of hashing are done on a thread of
    /// their own: they would hold up every other connection.
    async fn answer(self, message: Bytes) -> Result<(Self, Step), Fault> {
        match self {
            // The broker has nothing to say but that it worked.
            Self::Plain => Ok((Self::Plain, Step::Done)),
            Self::OAuthBearer(mut exchange) => {
                let step = exchange.answer(&message)?;
                Ok((Self::OAuthBearer(exchange), step))
            }
            Self::Scram(mut scram) => {
                let computed = tokio::task::spawn_blocking(move || {
                    let step = scram.answer(&message)?;
                    Ok((Self::Scram(scram), step))
                });
                let lost = |_| Err(Fault::Broken("the login was given up".to_owned()));
                computed.await.unwrap_or_else(lost)
            }
        }
    }
}

/// A login that is ready: everything but the exchange itself.
pub(super) struct Ready {
    exchange: Exchange,
    first: Vec<u8>,
}

impl Sasl {
    /// Does what a login needs before the connection is held up for it.
    pub(super) async fn prepare(
        &self,
        connection: &BrokerConnection,
    ) -> Result<Ready, NetworkError> {
        match self.begin().await {
            Ok((exchange, first)) => Ok(Ready { exchange, first }),
            Err(fault) => Err(self.failed(connection, fault)),
        }
    }

    /// Logs in. The time until the broker wants it done again, if it does (KIP-368).
    ///
    /// # Errors
    /// Says the mechanism, the cause and what to do; the connection is of no use then.
    pub(super) async fn log_in(
        &self,
        connection: &BrokerConnection,
        ready: Ready,
        timeout: Duration,
    ) -> Result<Option<Duration>, NetworkError> {
        self.shake_hands(connection, timeout).await?;
        let version = connection.version_for(ApiKey::SaslAuthenticate);
        let version = version.ok_or_else(|| self.too_old(connection))?;
        let Ready { mut exchange, first } = ready;
        let mut next = first;
        for _ in 0..ROUNDS_MAX {
            let request = SaslAuthenticateRequest { auth_bytes: std::mem::take(&mut next).into() };
            let frame = connection.call_raw(version, &request, timeout).await?;
            let response = decode_response::<SaslAuthenticateResponse>(frame, version);
            let (_, response) = response
                .map_err(|error| not_sent(connection, NetworkErrorKind::BadResponse(error)))?;
            if response.error_code != ErrorCode::None {
                let said = response.error_message.as_deref().unwrap_or_default();
                return Err(self.failed(connection, refusal(response.error_code, said)));
            }
            let answered = exchange.answer(response.auth_bytes).await;
            let (going_on, step) = answered.map_err(|fault| self.failed(connection, fault))?;
            match step {
                Step::Send(bytes) => (exchange, next) = (going_on, bytes),
                Step::Done => return Ok(lifetime(response.session_lifetime_ms)),
            }
        }
        let endless = Fault::Refused("the broker asks without end".to_owned());
        Err(self.failed(connection, endless))
    }

    async fn shake_hands(
        &self,
        connection: &BrokerConnection,
        timeout: Duration,
    ) -> Result<(), NetworkError> {
        // With version 0 the exchange had no frames of its own; brokers before 1.0 are not known.
        let version = ApiVersion(1);
        if connection.version_for(ApiKey::SaslHandshake) != Some(version) {
            return Err(self.too_old(connection));
        }
        let request = SaslHandshakeRequest { mechanism: self.mechanism().to_owned() };
        let frame = connection.call_raw(version, &request, timeout).await?;
        let (_, response) = decode_response::<SaslHandshakeResponse>(frame, version)
            .map_err(|error| not_sent(connection, NetworkErrorKind::BadResponse(error)))?;
        let reason = match response.error_code {
            ErrorCode::None => return Ok(()),
            ErrorCode::UnsupportedSaslMechanism => {
                let offered: Vec<_> = response.mechanisms.iter().map(|name| shown(name)).collect();
                let offered = match &*offered {
                    [] => "none".to_owned(),
                    offered => offered.join(", "),
                };
                format!("the broker doesn't have it on this port, but {offered}; see {MECHANISM}")
            }
            ErrorCode::IllegalSaslState => {
                "the broker wants no login on this port; connect to another, or set \
                 security.protocol=PLAINTEXT or SSL"
                    .to_owned()
            }
            code => code.to_string(),
        };
        Err(self.failed(connection, Fault::Refused(reason)))
    }

    fn failed(&self, connection: &BrokerConnection, fault: Fault) -> NetworkError {
        let mechanism = self.mechanism();
        not_sent(
            connection,
            match fault {
                Fault::Refused(reason) => {
                    NetworkErrorKind::AuthenticationFailed { mechanism, reason }
                }
                Fault::Broken(reason) => NetworkErrorKind::LoginBroken { mechanism, reason },
            },
        )
    }

    fn too_old(&self, connection: &BrokerConnection) -> NetworkError {
        let reason = "the broker has no SaslHandshake 1 and SaslAuthenticate (Kafka 1.0)";
        self.failed(connection, Fault::Refused(reason.to_owned()))
    }
}

fn not_sent(connection: &BrokerConnection, kind: NetworkErrorKind) -> NetworkError {
    NetworkError::not_sent(connection.address(), kind)
}

fn refusal(code: ErrorCode, said: &str) -> Fault {
    let said = if said.is_empty() { code.to_string() } else { shown(said) };
    match code {
        ErrorCode::SaslAuthenticationFailed | ErrorCode::IllegalSaslState => Fault::Refused(said),
        _ => Fault::Broken(said),
    }
}

fn lifetime(session_lifetime_ms: i64) -> Option<Duration> {
    u64::try_from(session_lifetime_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
}

/// What a broker said, fit to be printed: one line, not too long.
pub(crate) fn shown(said: &str) -> String {
    let plain = said.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(300).collect::<String>().trim_end_matches('.').to_owned()
}

fn module(jaas: Option<LoginModule>, class: &'static str) -> Result<LoginModule, ConfigError> {
    let module = jaas.ok_or_else(|| {
        let reason = format!("it is not set; it needs org.apache.kafka...{class} required ...;");
        unusable(JAAS, reason)
    })?;
    if module.simple_class() == class {
        return Ok(module);
    }
    Err(ConfigError::Contradiction {
        names: vec![MECHANISM, JAAS],
        reason: format!("the mechanism needs {class}, not {}", module.simple_class()),
    })
}

fn plain(module: &LoginModule) -> Result<Login, String> {
    // A broker's file also lists its users, as user_NAME.
    let is_known =
        |name: &str| matches!(name, "username" | "password") || name.starts_with("user_");
    module.check_options(is_known)?;
    let (user, password) = (module.required("username")?, module.required("password")?);
    let has_nul = |text: &Password| text.reveal().contains('\0');
    if has_nul(user) || has_nul(password) || user.reveal().is_empty() {
        return Err("user name and password may hold no zero byte, and the name not nothing".into());
    }
    Ok(Login::Plain {
        authorization_id: String::new(),
        user: user.reveal().to_owned(),
        password: password.clone(),
    })
}

fn scram(hash: Hash, module: &LoginModule) -> Result<Login, String> {
    let is_known = |name: &str| matches!(name, "username" | "password" | "tokenauth");
    module.check_options(is_known)?;
    let is_token = match module.text("tokenauth") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err("tokenauth is neither true nor false".to_owned()),
    };
    let (user, password) = (module.required("username")?, module.required("password")?);
    if user.reveal().is_empty() || password.reveal().is_empty() {
        return Err("user name and password may not be empty".to_owned());
    }
    let user = user.reveal().to_owned();
    Ok(Login::Scram { hash, user, password: password.clone(), is_token })
}

fn bad(reason: String) -> ConfigError {
    unusable(JAAS, reason)
}

fn unusable(name: &'static str, reason: String) -> ConfigError {
    ConfigError::Unusable { name, reason }
}

#[cfg(test)]
mod tests;
