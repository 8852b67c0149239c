//! OAUTHBEARER, the broker's side (RFC 7628, KIP-255, KIP-768): tokens checked with keys that are
//! read now and then.
//!
//! 1. A login asks nobody: it is checked with the keys that are there. A token whose key isn't
//!    there has the keys read soon, and is refused meanwhile (Kafka's `RefreshingHttpsJwks`).
//! 2. Who may not in is told `invalid_token`, whatever is wrong; the log says what.
//! 3. Keys that can't be read leave those that were, and others' connections, as they are.

mod endpoint;
mod jwks;
mod jwt;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use self::jwks::KeySet;
use self::jwt::BadToken;
use super::Step;
use crate::config::{KeySource, OAuthSettings};

/// What a client is told of a bad token (RFC 7628, section 3.2.2).
const INVALID_TOKEN: &str = "{\"status\":\"invalid_token\"}";
/// What it answers to that.
const UNDERSTOOD: &[u8] = &[1];

/// Checks the tokens of a listener's clients.
#[derive(Debug)]
pub(crate) struct Bearer {
    settings: OAuthSettings,
    keys: RwLock<Arc<KeySet>>,
    /// A token came whose key isn't there.
    is_missed: Notify,
    warned: Mutex<Option<Instant>>,
}

/// How far one login is.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    has_failed: bool,
}

impl Bearer {
    /// Reads the keys for the first time. Blocks. A file must be there; an endpoint that doesn't
    /// answer is asked again by [`keep_fresh`](Self::keep_fresh).
    ///
    /// # Errors
    /// The file can't be used.
    pub(crate) fn new(settings: OAuthSettings) -> Result<Self, String> {
        let mut keys = KeySet::default();
        if let Some(source) = &settings.keys {
            match read(source) {
                Ok(read) => keys = read,
                Err(reason) if source.is_file() => return Err(reason),
                Err(reason) => warn!(reason, "no keys for tokens yet: nobody can log in by one"),
            }
        }
        Ok(Self {
            settings,
            keys: RwLock::new(Arc::new(keys)),
            is_missed: Notify::new(),
            warned: Mutex::new(None),
        })
    }

    /// Reads the keys again now and then, and soon where one is missed, until the broker stops.
    pub(crate) async fn keep_fresh(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let Some(source) = self.settings.keys.clone() else { return };
        let mut failures = u32::from(self.keys.read().is_empty());
        loop {
            let wait = match failures {
                0 => source.refresh,
                _ => source.backoff(failures),
            };
            let last = Instant::now();
            let due = async {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.is_missed.notified() => {
                        // Not for each of those who make keys up.
                        let pause = source.retry_max.min(wait).saturating_sub(last.elapsed());
                        tokio::time::sleep(pause).await;
                    }
                }
            };
            let stop = async {
                let _ = stopping.wait_for(|&stopping| stopping).await;
            };
            tokio::select! {
                () = due => {}
                () = stop => return,
            }
            let asked = source.clone();
            match tokio::task::spawn_blocking(move || read(&asked)).await {
                Ok(Ok(keys)) => {
                    if failures > 0 {
                        info!("the keys for tokens are there");
                    }
                    *self.keys.write() = Arc::new(keys);
                    failures = 0;
                }
                Ok(Err(reason)) => {
                    warn!(reason, "the keys for tokens can't be read; the former still are used");
                    failures = failures.saturating_add(1);
                }
                Err(_) => return,
            }
        }
    }

    /// Takes a message of the client's.
    pub(super) fn step(&self, exchange: &mut Exchange, message: &[u8]) -> Step {
        if exchange.has_failed {
            // Kafka's `OAuthBearerSaslServer` repeats what it said, as the error.
            return match message == UNDERSTOOD {
                true => Step::RefusedWith(INVALID_TOKEN),
                false => Step::Refused,
            };
        }
        let Some(first) = FirstMessage::parse(message) else { return Step::Refused };
        let keys = self.settings.keys.as_ref().map(|_| Arc::clone(&self.keys.read()));
        let now = SystemTime::now();
        match jwt::check(first.token, keys.as_deref(), &self.settings.rules, now) {
            Ok(token) if first.acts_for.is_none_or(|name| name == token.subject) => {
                Step::Token { user: token.subject, expires: token.expires }
            }
            // Nobody acts for others.
            Ok(_) => Step::Refused,
            Err(bad) => {
                if bad == BadToken::UnknownKey {
                    self.is_missed.notify_one();
                }
                self.warn(&bad);
                exchange.has_failed = true;
                Step::Challenge(Bytes::from_static(INVALID_TOKEN.as_bytes()))
            }
        }
    }

    /// Says why a token was refused, once a second at most.
    fn warn(&self, bad: &BadToken) {
        let now = Instant::now();
        let mut warned = self.warned.lock();
        if warned.is_none_or(|last| now.duration_since(last) >= Duration::from_secs(1)) {
            *warned = Some(now);
            warn!(reason = %bad, "a token was refused");
        }
    }
}

impl KeySource {
    fn is_file(&self) -> bool {
        matches!(self.place, crate::config::KeyPlace::File(_))
    }

    fn backoff(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1).min(20)).unwrap_or(u32::MAX);
        self.retry_first.saturating_mul(doubled).min(self.retry_max)
    }
}

fn read(source: &KeySource) -> Result<KeySet, String> {
    KeySet::parse(&endpoint::fetch(source)?)
}

/// A client's first message: `n,a=NAME,` and pairs, of which `auth` is the token (RFC 7628; Kafka's
/// `OAuthBearerClientInitialResponse`).
#[derive(Debug, PartialEq, Eq)]
struct FirstMessage<'a> {
    acts_for: Option<&'a str>,
    token: &'a str,
}

impl<'a> FirstMessage<'a> {
    fn parse(message: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok()?;
        let (head, pairs) = text.split_once('\u{1}')?;
        let acts_for = head.strip_prefix("n,")?.strip_suffix(',')?;
        let acts_for = match acts_for {
            "" => None,
            named => Some(named.strip_prefix("a=").filter(|name| !name.is_empty())?),
        };
        let mut token = None;
        for pair in pairs.strip_suffix("\u{1}\u{1}")?.split('\u{1}') {
            let (name, value) = pair.split_once('=')?;
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic());
            let is_text = |b: u8| (0x21..=0x7e).contains(&b) || b.is_ascii_whitespace();
            if !is_name || !value.bytes().all(is_text) {
                return None;
            }
            if name == "auth" {
                let (scheme, bearer) = value.split_once(' ')?;
                let is_first = token.replace(bearer.trim()).is_none();
                (scheme.eq_ignore_ascii_case("bearer") && is_first).then_some(())?;
            }
        }
        Some(Self { acts_for, token: token.filter(|token| !token.is_empty())? })
    }
}

#[cfg(test)]
mod tests;
