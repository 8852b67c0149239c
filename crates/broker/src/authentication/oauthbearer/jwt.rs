//! A token, checked: a signed JWT (RFC 7515, RFC 7519), as Kafka's `BrokerJwtValidator` has it
//! checked; or one that nobody signed, as its `OAuthBearerUnsecuredJws`.
//!
//! 1. The algorithm is one that the key can make; what the token says of itself chooses no other.
//! 2. What is signed is what was received, not what was made of it.
//! 3. A reason is for the log; who logs in is told that the token is invalid, and no more.

use std::time::{Duration, SystemTime};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Map, Value};
use thiserror::Error;

use super::jwks::{Algorithm, KeySet};
use crate::config::TokenRules;

/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// What a token says that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CheckedToken {
    /// Who it is about.
    pub(super) subject: String,
    /// When it ends.
    pub(super) expires: SystemTime,
}

/// Why a token is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum BadToken {
    #[error("it is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    #[error("it is no JWT")]
    Malformed,
    #[error("its algorithm is not one that is taken here")]
    Algorithm,
    #[error("there is no key for it")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("its claim {0} is missing, or not what it must be")]
    Claim(String),
    #[error("its time is up, or hasn't come")]
    Time,
}

/// Checks a token: against these keys, or as one without a signature if there are none.
pub(super) fn check(
    token: &str,
    keys: Option<&KeySet>,
    rules: &TokenRules,
    now: SystemTime,
) -> Result<CheckedToken, BadToken> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(BadToken::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(BadToken::Malformed)?;
    let (header, claims) = (object(header)?, object(payload)?);
    let algorithm = header.get("alg").and_then(Value::as_str).ok_or(BadToken::Malformed)?;
    // Extensions that must be understood, and none is.
    if header.contains_key("crit") {
        return Err(BadToken::Malformed);
    }
    match keys {
        None if algorithm != "none" => return Err(BadToken::Algorithm),
        None if !signature.is_empty() => return Err(BadToken::Signature),
        None => {}
        Some(keys) => {
            let algorithm = Algorithm::named(algorithm).ok_or(BadToken::Algorithm)?;
            let id = header.get("kid").and_then(Value::as_str);
            if !keys.has(id, algorithm) {
                return Err(BadToken::UnknownKey);
            }
            let signature =
                Base64UrlUnpadded::decode_vec(signature).map_err(|_| BadToken::Malformed)?;
            if !keys.verify(id, algorithm, signed.as_bytes(), &signature) {
                return Err(BadToken::Signature);
            }
        }
    }
    check_claims(&claims, rules, keys.is_some(), now)
}

fn object(part: &str) -> Result<Map<String, Value>, BadToken> {
    let bytes = Base64UrlUnpadded::decode_vec(part).map_err(|_| BadToken::Malformed)?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(BadToken::Malformed),
    }
}

fn check_claims(
    claims: &Map<String, Value>,
    rules: &TokenRules,
    is_signed: bool,
    now: SystemTime,
) -> Result<CheckedToken, BadToken> {
    let bad = |name: &str| BadToken::Claim(name.to_owned());
    let expires = moment(claims, "exp")?.ok_or_else(|| bad("exp"))?;
    let issued = moment(claims, "iat")?;
    let not_before = moment(claims, "nbf")?;
    if is_signed && issued.is_none() {
        return Err(bad("iat"));
    }
    let latest = now + rules.clock_skew;
    let is_over = expires + rules.clock_skew <= now;
    let is_early = not_before.is_some_and(|moment| moment > latest)
        || (!is_signed && issued.is_some_and(|moment| moment > latest));
    if is_over || is_early {
        return Err(BadToken::Time);
    }
    if is_signed {
        let issuer = claims.get("iss").and_then(Value::as_str);
        if rules.issuer.as_deref().is_some_and(|expected| issuer != Some(expected)) {
            return Err(bad("iss"));
        }
        // One that is meant for somebody is not taken by a broker that doesn't say who it is.
        let is_meant =
            |name: &Value| name.as_str().is_some_and(|name| rules.audiences.contains(name));
        let is_for_us = match claims.get("aud") {
            None => rules.audiences.is_empty(),
            Some(Value::Array(names)) => names.iter().any(is_meant),
            Some(name) => is_meant(name),
        };
        if !is_for_us {
            return Err(bad("aud"));
        }
    }
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    let is_scope = |value: &Value| match value {
        Value::Array(scopes) => scopes.iter().all(is_text),
        other => is_text(other),
    };
    if !claims.get(&rules.scope_claim).is_none_or(is_scope) {
        return Err(bad(&rules.scope_claim));
    }
    let subject = claims.get(&rules.subject_claim).filter(|value| is_text(value));
    let subject = subject.and_then(Value::as_str).ok_or_else(|| bad(&rules.subject_claim))?;
    Ok(CheckedToken { subject: subject.trim().to_owned(), expires })
}

/// A moment in seconds since 1970, which may have a fraction.
fn moment(claims: &Map<String, Value>, name: &str) -> Result<Option<SystemTime>, BadToken> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let moment = seconds.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    // What is added to it later must fit too.
    let in_time =
        moment.filter(|moment| moment.checked_add(Duration::from_secs(1 << 32)).is_some());
    in_time.map(Some).ok_or_else(|| BadToken::Claim(name.to_owned()))
}
