//! Tokens for OAUTHBEARER: where they come from, and how long each is used.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;

use crate::config::{Password, SecuritySettings};

/// Gives tokens for SASL/OAUTHBEARER. Given to a builder of a configuration
/// ([`token_provider`](crate::config::ConfigBuilder::token_provider)).
///
/// It is asked for the first connection and then, when a token is needed, from
/// `sasl.login.refresh.window.factor` of the last one's life on. Its future runs on the client's
/// I/O thread and must not block it; it needs no runtime of its own, and may use any.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use streamledger::{Token, TokenError, TokenFuture, TokenProvider};
///
/// struct FromVault;
///
/// impl TokenProvider for FromVault {
///     fn token(&self) -> TokenFuture<'_> {
///         Box::pin(async {
///             let text = std::env::var("TOKEN").map_err(|_| TokenError::fatal("no TOKEN"))?;
///             Ok(Token::new(text).expiring_at(SystemTime::now() + Duration::from_secs(600)))
///         })
///     }
/// }
/// ```
pub trait TokenProvider: Send + Sync + 'static {
    /// A token that is good now.
    fn token(&self) -> TokenFuture<'_>;
}

/// What [`TokenProvider::token`] gives.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + 'a>>;

/// A token, with its end if that is known. Printed without the token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    text: Password,
    expires_at: Option<SystemTime>,
    extensions: Vec<(String, String)>,
}

impl Token {
    /// A token in the form that goes after `Bearer`.
    #[must_use]
    pub fn new(text: impl Into<Password>) -> Self {
        Self { text: text.into(), expires_at: None, extensions: Vec::new() }
    }

    /// Says when it ends. Without, it is used for one connection, and asked for anew for the next.
    #[must_use]
    pub fn expiring_at(mut self, moment: SystemTime) -> Self {
        self.expires_at = Some(moment);
        self
    }

    /// Adds a SASL extension that the broker is told beside (KIP-342): letters, and a text.
    #[must_use]
    pub fn with_extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }

    /// The token itself.
    #[must_use]
    pub fn text(&self) -> &Password {
        &self.text
    }

    pub(super) fn extensions(&self) -> &[(String, String)] {
        &self.extensions
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenError {
    reason: String,
    is_retriable: bool,
}

impl TokenError {
    /// Asking again may help: the server is away, or busy.
    #[must_use]
    pub fn retriable(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_retriable: true }
    }

    /// Asking again won't help: the secret is wrong, or the request is.
    #[must_use]
    pub fn fatal(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_retriable: false }
    }

    /// Whether asking again may help.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.is_retriable
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no token: {}", self.reason)
    }
}

impl std::error::Error for TokenError {}

/// The token that is in use, for all connections of a client.
pub(super) struct Tokens {
    provider: Arc<dyn TokenProvider>,
    rule: RefreshRule,
    last: Mutex<Option<Cached>>,
}

struct Cached {
    token: Token,
    refresh_at: SystemTime,
}

/// With so little time left a token isn't sent any more: it would end on its way.
const LEFT_MIN: Duration = Duration::from_secs(1);

impl Tokens {
    pub(super) fn new(provider: Arc<dyn TokenProvider>, settings: &SecuritySettings) -> Self {
        let rule = RefreshRule {
            window_factor: settings.sasl_login_refresh_window_factor,
            window_jitter: settings.sasl_login_refresh_window_jitter,
            period_min: Duration::from_secs(settings.sasl_login_refresh_min_period_seconds.into()),
            buffer: Duration::from_secs(settings.sasl_login_refresh_buffer_seconds.into()),
        };
        Self { provider, rule, last: Mutex::const_new(None) }
    }

    /// The last token, or a new one if that is old. One that can't be replaced is used to its end.
    pub(super) async fn current(&self) -> Result<Token, TokenError> {
        let mut last = self.last.lock().await;
        let now = SystemTime::now();
        if let Some(cached) = last.as_ref().filter(|cached| now < cached.refresh_at) {
            return Ok(cached.token.clone());
        }
        match self.provider.token().await {
            Ok(token) => {
                let now = SystemTime::now();
                let chance = RandomState::new().hash_one(0_u8) as f64 / u64::MAX as f64;
                *last = token.expires_at.map(|end| Cached {
                    token: token.clone(),
                    refresh_at: self.rule.refresh_at(now, end, chance),
                });
                Ok(token)
            }
            Err(error) => {
                let usable = |cached: &&Cached| {
                    cached.token.expires_at.is_some_and(|end| end > now + LEFT_MIN)
                };
                let Some(cached) = last.as_ref().filter(usable) else { return Err(error) };
                tracing::warn!(%error, "the token can't be replaced yet and is used on");
                Ok(cached.token.clone())
            }
        }
    }
}

/// When a token is replaced (Kafka's `ExpiringCredentialRefreshingLogin`).
#[derive(Debug, Clone, Copy)]
struct RefreshRule {
    window_factor: f64,
    window_jitter: f64,
    period_min: Duration,
    buffer: Duration,
}

impl RefreshRule {
    fn refresh_at(self, now: SystemTime, end: SystemTime, chance: f64) -> SystemTime {
        let life = end.duration_since(now).unwrap_or_default();
        let part = self.window_factor + self.window_jitter * chance;
        let in_window = now + life.mul_f64(part.clamp(0.0, 1.0));
        if self.period_min + self.buffer > life {
            // Too short a life for both: the window alone counts.
            return in_window;
        }
        in_window.min(end - self.buffer).max(now + self.period_min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const RULE: RefreshRule = RefreshRule {
        window_factor: 0.8,
        window_jitter: 0.05,
        period_min: Duration::from_secs(60),
        buffer: Duration::from_secs(300),
    };

    #[test]
    fn a_token_is_replaced_in_its_window_but_before_the_buffer() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let after = |life: u64, chance| {
            let at = RULE.refresh_at(now, now + Duration::from_secs(life), chance);
            at.duration_since(now).unwrap().as_secs_f64()
        };
        assert_eq!(after(3600, 0.0), 2880.0);
        assert_eq!(after(3600, 1.0), 3060.0);
        assert_eq!(after(1000, 1.0), 700.0, "the buffer's begin");
        assert_eq!(after(361, 0.0), 61.0);
        assert_eq!(after(300, 0.0), 240.0, "too short for minimum and buffer");
        assert_eq!(after(0, 0.0), 0.0);
    }

    /// Gives tokens of a life each, and fails after so many.
    struct Counting(AtomicUsize, Duration, usize);

    impl TokenProvider for Counting {
        fn token(&self) -> TokenFuture<'_> {
            Box::pin(async {
                let number = self.0.fetch_add(1, Ordering::Relaxed);
                if number >= self.2 {
                    return Err(TokenError::retriable("away"));
                }
                Ok(Token::new(number.to_string()).expiring_at(SystemTime::now() + self.1))
            })
        }
    }

    fn texts(life: Duration, good: usize, rule: RefreshRule) -> Vec<Result<String, TokenError>> {
        let provider = Arc::new(Counting(AtomicUsize::new(0), life, good));
        let tokens = Tokens { provider, rule, last: Mutex::const_new(None) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut texts = Vec::new();
            for _ in 0..3 {
                texts.push(tokens.current().await.map(|token| token.text.reveal().to_owned()));
            }
            texts
        })
    }

    #[test]
    fn a_token_is_used_until_it_is_old_and_then_to_its_end_if_there_is_no_new_one() {
        let long = Duration::from_secs(3600);
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(texts(long, 9, RULE), [ok("0"), ok("0"), ok("0")]);
        let at_once = RefreshRule {
            window_factor: 0.0,
            window_jitter: 0.0,
            period_min: Duration::ZERO,
            ..RULE
        };
        assert_eq!(texts(long, 9, at_once), [ok("0"), ok("1"), ok("2")]);
        assert_eq!(texts(long, 1, at_once), [ok("0"), ok("0"), ok("0")]);
        let ended = texts(Duration::ZERO, 1, at_once);
        assert_eq!(ended[1], Err(TokenError::retriable("away")));
    }

    #[test]
    fn a_token_prints_without_its_text() {
        assert!(!format!("{:?}", Token::new("hunter2")).contains("hunter2"));
    }
}
