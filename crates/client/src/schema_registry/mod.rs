//! A client of a schema registry, as Confluent's speaks and Karapace, Apicurio and Redpanda do too.
//!
//! 1. Each call is one question, asked again after a connection that fails, a 5xx, 408 or 429, at
//!    the next address if there are several, until its time is over; any other answer is for good.
//!    To register a schema that is there already is no harm: its id comes back.
//! 2. What a registry answers is bounded and taken apart with care; what it says of an error is
//!    told in its own words.
//! 3. Credentials are in no error, no log and no `Debug`.

mod error;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use zeroize::Zeroizing;

pub use self::error::{RegistryError, RegistryErrorKind};
use crate::config::{ConfigError, Properties};
use crate::network::http::{Patience, Request, Response, Url, exchange};
use crate::network::tls::Tls;
use crate::network::{ExponentialBackoff, Jitter};

/// What the registries answer in.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// What stands before a value that is written by a registered schema: a zero, and the schema's id.
pub const PREFIX_BYTES: usize = 5;

/// The number of a schema in its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId(pub u32);

impl SchemaId {
    /// What stands before a value that is written by it (Confluent's wire format).
    pub fn prefix(self) -> [u8; PREFIX_BYTES] {
        let [a, b, c, d] = self.0.to_be_bytes();
        [0, a, b, c, d]
    }

    /// The id of a value's schema, and the value behind it; None if none stands before it.
    pub fn split(value: &[u8]) -> Option<(SchemaId, &[u8])> {
        let ([0, id @ ..], rest) = value.split_first_chunk::<PREFIX_BYTES>()? else { return None };
        Some((SchemaId(u32::from_be_bytes(*id)), rest))
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The language of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaType {
    /// Avro.
    Avro,
    /// JSON Schema.
    Json,
    /// Another, by the registry's name for it.
    Other(String),
}

impl SchemaType {
    /// The registry's name for it.
    pub fn name(&self) -> &str {
        match self {
            SchemaType::Avro => "AVRO",
            SchemaType::Json => "JSON",
            SchemaType::Other(name) => name,
        }
    }

    fn of(answer: &Value) -> SchemaType {
        match answer.get("schemaType").and_then(Value::as_str) {
            None | Some("AVRO") => SchemaType::Avro,
            Some("JSON") => SchemaType::Json,
            Some(other) => SchemaType::Other(other.to_owned()),
        }
    }
}

/// A schema that a registry has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredSchema {
    /// Its number.
    pub id: SchemaId,
    /// Its language.
    pub schema_type: SchemaType,
    /// Its text.
    pub text: String,
}

/// A schema registry. Calls block; each makes a connection of its own.
pub struct SchemaRegistry {
    /// Without a slash at their ends.
    urls: Vec<String>,
    /// None if no address is `https`.
    tls: Option<Tls>,
    authorization: Option<Zeroizing<String>>,
    patience: Patience,
    deadline: Duration,
    backoff: ExponentialBackoff,
}

impl fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaRegistry").field("urls", &self.urls).finish_non_exhaustive()
    }
}

impl SchemaRegistry {
    /// Reads the settings, by the names that Confluent's clients have for them:
    /// `schema.registry.url` (several with commas), `basic.auth.user.info` (`user:password`) or
    /// `bearer.auth.token`, `schema.registry.ssl.*` as the producer's `ssl.*`,
    /// `http.connect.timeout.ms`, `http.read.timeout.ms`, `retries.wait.ms`, `retries.max.wait.ms`;
    /// and `request.timeout.ms`, 30000 unless given, after which a call ends.
    ///
    /// # Errors
    /// A setting isn't known, or its value can't be used.
    pub fn from_properties(properties: &Properties) -> Result<SchemaRegistry, ConfigError> {
        settings::registry(properties)
    }

    /// Registers a schema under a subject; if it is there already, its id is the same.
    ///
    /// # Errors
    /// The registry refuses it, among others as incompatible with those before it, or there is no
    /// answer.
    pub fn register(
        &self,
        subject: &str,
        schema_type: &SchemaType,
        text: &str,
    ) -> Result<SchemaId, RegistryError> {
        let path = format!("/subjects/{}/versions", encoded(subject));
        let answer = self.call("POST", &path, Some(&schema_body(schema_type, text)))?;
        self.id(&answer)
    }

    /// The id of a schema that a subject has; registers nothing.
    ///
    /// # Errors
    /// The subject doesn't have it ([`RegistryErrorKind::NotFound`]), or there is no answer.
    pub fn look_up(
        &self,
        subject: &str,
        schema_type: &SchemaType,
        text: &str,
    ) -> Result<SchemaId, RegistryError> {
        let path = format!("/subjects/{}", encoded(subject));
        let answer = self.call("POST", &path, Some(&schema_body(schema_type, text)))?;
        self.id(&answer)
    }

    /// The newest schema of a subject.
    ///
    /// # Errors
    /// The subject has none ([`RegistryErrorKind::NotFound`]), or there is no answer.
    pub fn latest(&self, subject: &str) -> Result<RegisteredSchema, RegistryError> {
        let path = format!("/subjects/{}/versions/latest", encoded(subject));
        let answer = self.call("GET", &path, None)?;
        let id = self.id(&answer)?;
        self.schema(id, &answer)
    }

    /// A schema by its number.
    ///
    /// # Errors
    /// There is none of that number ([`RegistryErrorKind::NotFound`]), or no answer.
    pub fn by_id(&self, id: SchemaId) -> Result<RegisteredSchema, RegistryError> {
        let answer = self.call("GET", &format!("/schemas/ids/{id}"), None)?;
        self.schema(id, &answer)
    }

    fn id(&self, answer: &Value) -> Result<SchemaId, RegistryError> {
        let id = answer.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        id.map(SchemaId).ok_or_else(|| self.not_a_registry("its answer has no id"))
    }

    fn schema(&self, id: SchemaId, answer: &Value) -> Result<RegisteredSchema, RegistryError> {
        let text = answer.get("schema").and_then(Value::as_str);
        let text = text.ok_or_else(|| self.not_a_registry("its answer has no schema"))?;
        let references = answer.get("references").and_then(Value::as_array);
        if references.is_some_and(|references| !references.is_empty()) {
            let reason = format!("has schema {id}, which refers to others: that isn't understood");
            return Err(RegistryError::new(RegistryErrorKind::Unsupported, self.place(), reason));
        }
        let (schema_type, text) = (SchemaType::of(answer), text.to_owned());
        Ok(RegisteredSchema { id, schema_type, text })
    }

    fn not_a_registry(&self, reason: &str) -> RegistryError {
        let reason = format!("doesn't answer as a schema registry does: {reason}");
        RegistryError::new(RegistryErrorKind::NotARegistry, self.place(), reason)
    }

    fn place(&self) -> String {
        self.urls.join(", ")
    }

    /// Asks, on a thread of its own, so that it may be called from within any runtime.
    fn call(&self, method: &str, path: &str, body: Option<&str>) -> Result<Value, RegistryError> {
        let unasked = |reason: String| {
            RegistryError::new(RegistryErrorKind::Unreachable, self.place(), reason)
        };
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|error| unasked(format!("isn't asked: {error}")))?;
                let answer = runtime.block_on(self.ask(method, path, body));
                // A name that is being resolved must not hold anybody up.
                runtime.shutdown_background();
                answer
            });
            asking.join().unwrap_or_else(|_| Err(unasked("isn't asked: its thread ended".into())))
        })
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> Result<Value, RegistryError> {
        let (begun, jitter) = (Instant::now(), Jitter::new());
        let mut attempt = 0_u32;
        loop {
            let url = &self.urls[attempt as usize % self.urls.len()];
            attempt += 1;
            let left = self.deadline.saturating_sub(begun.elapsed());
            let mut error = match self.ask_once(url, method, path, body, left).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            error.attempts = attempt;
            let wait = self.backoff.wait(attempt - 1, jitter.chance());
            if !error.is_retriable || begun.elapsed() + wait >= self.deadline {
                return Err(error);
            }
            tracing::debug!(%error, "asking the schema registry again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn ask_once(
        &self,
        url: &str,
        method: &str,
        path: &str,
        body: Option<&str>,
        left: Duration,
    ) -> Result<Value, RegistryError> {
        let unreachable = |reason: String, is_retriable| {
            let kind = RegistryErrorKind::Unreachable;
            let mut error = RegistryError::new(kind, url.to_owned(), reason);
            error.is_retriable = is_retriable;
            error
        };
        let whole = Url::parse(&format!("{url}{path}"))
            .map_err(|reason| unreachable(format!("can't be asked: {reason}"), false))?;
        let authorization = self.authorization.as_ref().map(|value| value.as_str());
        let headers = authorization.map(|value| ("Authorization", value));
        let request = Request {
            method,
            url: &whole,
            accept: "application/vnd.schemaregistry.v1+json, application/json",
            headers: headers.as_slice(),
            body: body.map(|body| (MEDIA_TYPE, body)),
        };
        let tls = self.tls.as_ref().filter(|_| whole.is_secure);
        let patience = Patience {
            connect: self.patience.connect.min(left),
            read: self.patience.read.min(left),
        };
        let response = exchange(request, tls, patience).await.map_err(|fault| {
            unreachable(format!("can't be reached: {}", fault.reason), !fault.is_final)
        })?;
        judge(url, &response)
    }
}

/// What a response means.
fn judge(url: &str, response: &Response) -> Result<Value, RegistryError> {
    let answer: Option<Value> = serde_json::from_slice(&response.body).ok();
    match (response.status, answer) {
        (200..=299, Some(answer)) => Ok(answer),
        (200..=299, None) => {
            let reason = "doesn't answer as a schema registry does: its answer isn't JSON";
            Err(RegistryError::new(
                RegistryErrorKind::NotARegistry,
                url.to_owned(),
                reason.to_owned(),
            ))
        }
        (status, answer) => Err(RegistryError::of_status(url, status, answer.as_ref())),
    }
}

fn schema_body(schema_type: &SchemaType, text: &str) -> String {
    match schema_type {
        // Old registries know no other, and refuse the word.
        SchemaType::Avro => json!({"schema": text}).to_string(),
        other => json!({"schemaType": other.name(), "schema": text}).to_string(),
    }
}

/// A part of a path (RFC 3986, section 2.3).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}
