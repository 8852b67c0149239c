//! OAUTHBEARER, the client's side (RFC 7628, KIP-255), and where its tokens come from.

use std::sync::Arc;

use streamledger_protocol::jaas::LoginModule;

use super::oidc::ClientCredentials;
use super::token::{Token, TokenProvider};
use super::unsecured::Unsecured;
use super::{Fault, Step, bad, shown, unusable};
use crate::config::{ConfigError, SecuritySettings};

/// One exchange: a token is sent, and nothing comes back but trouble.
#[derive(Debug, Default)]
pub(super) struct OAuthBearer {
    complaint: Option<String>,
}

impl OAuthBearer {
    pub(super) fn answer(&mut self, message: &[u8]) -> Result<Step, Fault> {
        match (&self.complaint, message) {
            (None, []) => Ok(Step::Done),
            (None, complaint) => {
                // Sending one byte lets the broker end the exchange, with an error of its own.
                self.complaint = Some(shown(&String::from_utf8_lossy(complaint)));
                Ok(Step::Send(vec![1]))
            }
            (Some(complaint), _) => Err(Fault::Refused(format!("the broker says {complaint}"))),
        }
    }
}

/// The message that carries a token.
pub(super) fn first_message(token: &Token) -> Result<Vec<u8>, Fault> {
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if !is_token(token.text().reveal()) {
        return Err(Fault::Refused("the token is empty, or has blanks or worse in it".to_owned()));
    }
    let mut message = format!("n,,\u{1}auth=Bearer {}", token.text().reveal());
    for (name, value) in token.extensions() {
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic());
        let is_value =
            value.chars().all(|c| c.is_ascii() && (!c.is_control() || c.is_whitespace()));
        if !is_name || !is_value || name == "auth" {
            return Err(Fault::Refused(format!("the extension {name:?} is not letters=text")));
        }
        message.push_str(&format!("\u{1}{name}={value}"));
    }
    message.push_str("\u{1}\u{1}");
    Ok(message.into_bytes())
}

/// The provider that the settings ask for: an endpoint's, or the unsecured one for tests.
pub(super) fn provider(
    settings: &SecuritySettings,
    jaas: Option<&LoginModule>,
) -> Result<Arc<dyn TokenProvider>, ConfigError> {
    if let Some(url) = &settings.sasl_oauthbearer_token_endpoint_url {
        return Ok(Arc::new(ClientCredentials::new(url, settings, jaas)?));
    }
    let unsecured = jaas.and_then(|jaas| Unsecured::new(jaas, settings).transpose());
    match unsecured {
        Some(unsecured) => Ok(Arc::new(unsecured.map_err(bad)?)),
        None => Err(unusable(
            "sasl.oauthbearer.token.endpoint.url",
            "it is not set, and OAUTHBEARER needs a source of tokens: this, the builder's \
             token_provider, or unsecuredLoginStringClaim_sub in sasl.jaas.config for tests"
                .to_owned(),
        )),
    }
}

/// The SASL extensions of a login module: `PREFIX` and a name each.
pub(super) fn extensions(jaas: &LoginModule, prefix: &str) -> Vec<(String, String)> {
    let named = jaas.options.iter();
    let found = named.filter_map(|(name, value)| {
        Some((name.strip_prefix(prefix)?.to_owned(), value.reveal().to_owned()))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_carries_token_and_extensions() {
        let token = Token::new("abc.def.").with_extension("logicalCluster", "lkc-1");
        let message = first_message(&token).unwrap();
        assert_eq!(message, b"n,,\x01auth=Bearer abc.def.\x01logicalCluster=lkc-1\x01\x01");
        for token in
            [Token::new(""), Token::new("a b"), Token::new("a").with_extension("auth", "x")]
        {
            assert!(matches!(first_message(&token), Err(Fault::Refused(_))));
        }
    }

    #[test]
    fn a_complaint_is_answered_with_one_byte_and_told() {
        let mut exchange = OAuthBearer::default();
        let next = exchange.answer(b"{\"status\":\"invalid_token\"}").unwrap();
        assert!(matches!(next, Step::Send(bytes) if bytes == [1]));
        let Err(Fault::Refused(reason)) = exchange.answer(b"") else { panic!() };
        assert_eq!(reason, "the broker says {\"status\":\"invalid_token\"}");
        assert!(matches!(OAuthBearer::default().answer(b""), Ok(Step::Done)));
    }
}
