//! How the tokens of OAUTHBEARER are checked at one listener.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// What a token must be like, and where the keys are that it must be signed with.
#[derive(Debug, Clone)]
pub(crate) struct OAuthSettings {
    /// What its claims must say.
    pub(crate) rules: TokenRules,
    /// Where the keys come from; none: tokens that nobody signed are taken, and no others.
    pub(crate) keys: Option<KeySource>,
}

/// What the claims of a token must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenRules {
    /// sasl.oauthbearer.sub.claim.name: the claim that names the user.
    pub(crate) subject_claim: String,
    /// sasl.oauthbearer.scope.claim.name.
    pub(crate) scope_claim: String,
    /// sasl.oauthbearer.clock.skew.seconds.
    pub(crate) clock_skew: Duration,
    /// sasl.oauthbearer.expected.audience: one of these.
    pub(crate) audiences: BTreeSet<String>,
    /// sasl.oauthbearer.expected.issuer.
    pub(crate) issuer: Option<String>,
}

/// Where the keys of tokens come from, and how often they are read again.
#[derive(Debug, Clone)]
pub(crate) struct KeySource {
    /// sasl.oauthbearer.jwks.endpoint.url.
    pub(crate) place: KeyPlace,
    /// The authorities of an endpoint with TLS, instead of the system's.
    pub(crate) authorities: Option<PathBuf>,
    /// sasl.oauthbearer.jwks.endpoint.refresh.ms.
    pub(crate) refresh: Duration,
    /// sasl.oauthbearer.jwks.endpoint.retry.backoff.ms.
    pub(crate) retry_first: Duration,
    /// sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms.
    pub(crate) retry_max: Duration,
}

/// An address of keys, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyPlace {
    /// `file:/path`, `file:///path`.
    File(PathBuf),
    /// `http://`, `https://`.
    Http {
        /// Whether it is spoken over TLS.
        is_secure: bool,
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Path and query.
        target: String,
    },
}

impl KeyPlace {
    /// Takes an address apart.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') {
                true => Ok(Self::File(PathBuf::from(path))),
                false => Err("a file is named by its whole path, as file:///path".to_owned()),
            };
        }
        let (scheme, rest) = text.split_once("://").ok_or("it has no https:// in front")?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("only https, http and file are known".to_owned()),
        };
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err("it has blanks, a fragment or worse in it".to_owned());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| "its port is no number".to_owned())?)
            }
            _ => (authority, if is_secure { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || host.contains('@') || port == 0 {
            return Err("it names no host, or has a login in it".to_owned());
        }
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self::Http { is_secure, host, port, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_keys_is_taken_apart() {
        let http = |text: &str| match KeyPlace::parse(text).unwrap() {
            KeyPlace::Http { is_secure, host, port, target } => (is_secure, host, port, target),
            KeyPlace::File(path) => panic!("{path:?}"),
        };
        let expected = (true, "idp.example.com".to_owned(), 443, "/keys?x=1".to_owned());
        assert_eq!(http("https://idp.example.com/keys?x=1"), expected);
        assert_eq!(http("http://[::1]:8080"), (false, "::1".to_owned(), 8080, "/".to_owned()));
        for file in ["file:/etc/jwks.json", "file:///etc/jwks.json"] {
            assert_eq!(KeyPlace::parse(file), Ok(KeyPlace::File("/etc/jwks.json".into())));
        }
        let wrong = ["idp", "ftp://x/", "https://", "https://a@b/", "http://h:x/", "http://h/ x"];
        for wrong in wrong.into_iter().chain(["file:jwks.json", "file://host/jwks.json"]) {
            assert!(KeyPlace::parse(wrong).is_err(), "{wrong}");
        }
    }
}
