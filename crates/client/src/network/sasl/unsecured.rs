//! Tokens that nobody signed, for tests: as Java's `OAuthBearerUnsecuredLoginCallbackHandler`.

use std::time::{Duration, SystemTime};

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value, json};
use streamledger_protocol::jaas::LoginModule;

use super::oauthbearer::extensions;
use super::token::{Token, TokenError, TokenFuture, TokenProvider};
use crate::config::SecuritySettings;

/// Makes a new token each time, from the claims of the login module.
#[derive(Debug)]
pub(super) struct Unsecured {
    claims: Map<String, Value>,
    life: Duration,
    extensions: Vec<(String, String)>,
}

const STRING_CLAIM: &str = "unsecuredLoginStringClaim_";
const NUMBER_CLAIM: &str = "unsecuredLoginNumberClaim_";
const LIST_CLAIM: &str = "unsecuredLoginListClaim_";
const EXTENSION: &str = "unsecuredLoginExtension_";
const LIFETIME: &str = "unsecuredLoginLifetimeSeconds";
const PRINCIPAL_CLAIM: &str = "unsecuredLoginPrincipalClaimName";
const SCOPE_CLAIM: &str = "unsecuredLoginScopeClaimName";

impl Unsecured {
    /// Reads the options; none, if there is no claim among them.
    pub(super) fn new(
        jaas: &LoginModule,
        settings: &SecuritySettings,
    ) -> Result<Option<Self>, String> {
        let mut claims = Map::new();
        for (name, value) in &jaas.options {
            let value = value.reveal();
            if let Some(claim) = name.strip_prefix(STRING_CLAIM) {
                claims.insert(claim.to_owned(), json!(value));
            } else if let Some(claim) = name.strip_prefix(NUMBER_CLAIM) {
                let number: f64 = value.parse().map_err(|_| format!("{name} is no number"))?;
                claims.insert(claim.to_owned(), json!(number));
            } else if let Some(claim) = name.strip_prefix(LIST_CLAIM) {
                claims.insert(claim.to_owned(), json!(list(value)));
            }
        }
        if claims.is_empty() {
            return Ok(None);
        }
        jaas.check_options(|name| {
            let prefixes = [STRING_CLAIM, NUMBER_CLAIM, LIST_CLAIM, EXTENSION];
            prefixes.iter().any(|prefix| name.starts_with(prefix))
                || [LIFETIME, PRINCIPAL_CLAIM, SCOPE_CLAIM].contains(&name)
        })?;
        let default_principal = &*settings.sasl_oauthbearer_sub_claim_name;
        let principal = jaas.text(PRINCIPAL_CLAIM).unwrap_or(default_principal);
        if !claims.contains_key(principal) {
            return Err(format!("there is no {STRING_CLAIM}{principal}: who logs in?"));
        }
        let seconds = jaas.text(LIFETIME).unwrap_or("3600").parse::<u32>();
        let seconds = seconds.map_err(|_| format!("{LIFETIME} is no whole number"))?;
        let life = Duration::from_secs(seconds.into());
        Ok(Some(Self { claims, life, extensions: extensions(jaas, EXTENSION) }))
    }

    fn make(&self, now: SystemTime) -> Result<Token, TokenError> {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut claims = self.claims.clone();
        claims.entry("iat").or_insert_with(|| json!(since_epoch.as_secs_f64()));
        claims.entry("exp").or_insert_with(|| json!((since_epoch + self.life).as_secs_f64()));
        let encode = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
        let head = encode(&json!({ "alg": "none" }));
        let token = Token::new(format!("{head}.{}.", encode(&Value::Object(claims))));
        let extended = self.extensions.iter();
        let token = extended.fold(token, |token, (name, value)| token.with_extension(name, value));
        Ok(token.expiring_at(now + self.life))
    }
}

/// The first letter parts the others: `,a,b`.
fn list(value: &str) -> Vec<&str> {
    let mut letters = value.chars();
    match letters.next() {
        Some(separator) => letters.as_str().split(separator).collect(),
        None => Vec::new(),
    }
}

impl TokenProvider for Unsecured {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(async { self.make(SystemTime::now()) })
    }
}
