//! Why a schema registry's answer isn't what was asked for.

use serde_json::Value;
use thiserror::Error;

use crate::network::sasl::shown;

/// What kind of error it is: what may be done about it follows from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegistryErrorKind {
    /// No answer, or a 5xx to the last.
    Unreachable,
    /// It wants other credentials (401), or these may not do that (403).
    Unauthorized,
    /// The schema isn't compatible with those of its subject (409).
    Incompatible,
    /// It takes the schema for none (422).
    Invalid,
    /// It has no such subject, version or schema (404).
    NotFound,
    /// What it has can't be used here.
    Unsupported,
    /// It refuses otherwise.
    Refused,
    /// What answers is no schema registry.
    NotARegistry,
}

/// Why a schema registry's answer isn't what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the schema registry at {place} {reason}{}", after(*attempts))]
pub struct RegistryError {
    kind: RegistryErrorKind,
    place: String,
    reason: String,
    pub(super) attempts: u32,
    pub(super) is_retriable: bool,
}

fn after(attempts: u32) -> String {
    if attempts > 1 { format!(" (asked {attempts} times)") } else { String::new() }
}

impl RegistryError {
    pub(super) fn new(kind: RegistryErrorKind, place: String, reason: String) -> RegistryError {
        RegistryError { kind, place, reason, attempts: 1, is_retriable: false }
    }

    /// Of an answer that isn't a success.
    pub(super) fn of_status(url: &str, status: u16, answer: Option<&Value>) -> RegistryError {
        let said = answer.and_then(|answer| answer.get("message")?.as_str()).map(shown);
        let code = answer.and_then(|answer| answer.get("error_code")?.as_u64());
        let is_its_own = code.is_some() || said.is_some();
        let kind = match status {
            401 | 403 => RegistryErrorKind::Unauthorized,
            // A web server that isn't one has no such page either, and says so otherwise.
            404 if is_its_own => RegistryErrorKind::NotFound,
            404 => RegistryErrorKind::NotARegistry,
            409 => RegistryErrorKind::Incompatible,
            422 => RegistryErrorKind::Invalid,
            408 | 429 | 500..=599 => RegistryErrorKind::Unreachable,
            _ => RegistryErrorKind::Refused,
        };
        let code = code.filter(|code| *code != u64::from(status));
        let code = code.map_or_else(String::new, |code| format!(" ({code})"));
        let reason = match said {
            Some(said) => format!("answers {status}{code}: {said}"),
            None => format!("answers {status}{code}"),
        };
        let is_retriable = kind == RegistryErrorKind::Unreachable && status != 501;
        RegistryError { is_retriable, ..RegistryError::new(kind, url.to_owned(), reason) }
    }

    /// What kind of error it is.
    pub fn kind(&self) -> RegistryErrorKind {
        self.kind
    }
}
