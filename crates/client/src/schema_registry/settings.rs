//! A schema registry's settings, by the names that Confluent's clients have for them.

use std::time::Duration;

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::SchemaRegistry;
use crate::config::{ConfigError, Properties, SecuritySettings};
use crate::network::ExponentialBackoff;
use crate::network::http::{Patience, Url};
use crate::network::tls::Tls;

const URL: &str = "schema.registry.url";
const USER_INFO: &str = "basic.auth.user.info";
const BASIC_SOURCE: &str = "basic.auth.credentials.source";
const TOKEN: &str = "bearer.auth.token";
const BEARER_SOURCE: &str = "bearer.auth.credentials.source";

/// Times in milliseconds: names and defaults.
const CONNECT: (&str, u64) = ("http.connect.timeout.ms", 10_000);
const READ: (&str, u64) = ("http.read.timeout.ms", 15_000);
const DEADLINE: (&str, u64) = ("request.timeout.ms", 30_000);
const WAIT: (&str, u64) = ("retries.wait.ms", 200);
const WAIT_MAX: (&str, u64) = ("retries.max.wait.ms", 5_000);

const KNOWN: [&str; 10] = [
    URL,
    USER_INFO,
    BASIC_SOURCE,
    TOKEN,
    BEARER_SOURCE,
    CONNECT.0,
    READ.0,
    DEADLINE.0,
    WAIT.0,
    WAIT_MAX.0,
];

/// In front of any of them.
const PREFIX: &str = "schema.registry.";

pub(super) fn registry(properties: &Properties) -> Result<SchemaRegistry, ConfigError> {
    let properties = properties.resolved()?;
    let mut ssl = Properties::new();
    for entry in properties.entries() {
        let name = own_name(&entry.name);
        if name.starts_with("ssl.") {
            ssl = ssl.with(name, entry.value.as_str());
        } else if !KNOWN.contains(&name) && !name.starts_with("config.providers") {
            let (name, origin) = (entry.name.clone(), entry.origin.clone());
            return Err(ConfigError::Unknown { name, nearest: None, origin });
        }
    }
    let urls = urls(value(&properties, URL))?;
    let is_secure = urls.iter().any(|url| Url::parse(url).is_ok_and(|url| url.is_secure));
    let tls = match (is_secure, ssl.is_empty()) {
        (false, true) => None,
        (true, true) => Some(Tls::of_the_system()?),
        (_, false) => Some(Tls::new(&SecuritySettings::from_properties(&ssl)?)?),
    };
    Ok(SchemaRegistry {
        urls,
        tls,
        authorization: authorization(&properties)?,
        patience: Patience { connect: time(&properties, CONNECT)?, read: time(&properties, READ)? },
        deadline: time(&properties, DEADLINE)?,
        backoff: ExponentialBackoff {
            first: time(&properties, WAIT)?,
            max: time(&properties, WAIT_MAX)?,
        },
    })
}

/// A setting's name without what may stand before it.
fn own_name(name: &str) -> &str {
    match name.strip_prefix(PREFIX) {
        Some(rest) if rest != "url" => rest,
        _ => name,
    }
}

fn value<'p>(properties: &'p Properties, name: &str) -> Option<&'p str> {
    let found = properties.entries().iter().rev().find(|entry| own_name(&entry.name) == name);
    found.map(|entry| entry.value.as_str())
}

fn unusable(name: &'static str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Unusable { name, reason: reason.into() }
}

fn urls(given: Option<&str>) -> Result<Vec<String>, ConfigError> {
    let given = given.unwrap_or_default().split(',').map(|url| url.trim().trim_end_matches('/'));
    let urls: Vec<String> = given.filter(|url| !url.is_empty()).map(str::to_owned).collect();
    for url in &urls {
        Url::parse(url).map_err(|reason| unusable(URL, reason))?;
    }
    match urls.is_empty() {
        true => Err(unusable(URL, "it is not set")),
        false => Ok(urls),
    }
}

fn authorization(properties: &Properties) -> Result<Option<Zeroizing<String>>, ConfigError> {
    let sources = [
        (BASIC_SOURCE, "USER_INFO", "basic.auth.user.info is what is read"),
        (BEARER_SOURCE, "STATIC_TOKEN", "bearer.auth.token is what is read"),
    ];
    for (name, known, reason) in sources {
        if value(properties, name).is_some_and(|source| source != known) {
            return Err(unusable(name, format!("{known} is what it may be: {reason}")));
        }
    }
    let clean = |name: &'static str, secret: &str| {
        let is_clean = !secret.is_empty() && !secret.chars().any(char::is_control);
        if is_clean { Ok(()) } else { Err(unusable(name, "it is empty, or has a line end in it")) }
    };
    match (value(properties, USER_INFO), value(properties, TOKEN)) {
        (Some(_), Some(_)) => Err(ConfigError::Contradiction {
            names: vec![USER_INFO, TOKEN],
            reason: "one of them is how to log in".to_owned(),
        }),
        (Some(pair), None) => {
            clean(USER_INFO, pair)?;
            if !pair.contains(':') {
                return Err(unusable(USER_INFO, "it is user:password"));
            }
            let packed = Zeroizing::new(Base64::encode_string(pair.as_bytes()));
            Ok(Some(Zeroizing::new(format!("Basic {}", *packed))))
        }
        (None, Some(token)) => {
            clean(TOKEN, token)?;
            Ok(Some(Zeroizing::new(format!("Bearer {token}"))))
        }
        (None, None) => Ok(None),
    }
}

fn time(properties: &Properties, of: (&'static str, u64)) -> Result<Duration, ConfigError> {
    let (name, default) = of;
    let Some(text) = value(properties, name) else { return Ok(Duration::from_millis(default)) };
    let ms = text.trim().parse().ok().filter(|ms| (1..=600_000).contains(ms));
    ms.map(Duration::from_millis)
        .ok_or_else(|| unusable(name, "it is a number of milliseconds from 1 to 600000"))
}
