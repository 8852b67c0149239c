//! From texts by name to checked values: unknown, malformed and unsupported settings end here.

use std::collections::BTreeMap;
use std::fmt;

use super::error::{ConfigError, Origin};
use super::properties::Properties;
use super::providers;
use super::settings::table;
use super::spec::{ClientKind, SettingSpec, Support, WhenSet};
use super::value::SettingValue;
use zeroize::Zeroizing;

/// Where an effective value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingSource {
    /// Nobody set it.
    Default,
    /// A properties file or text.
    File,
    /// The command line.
    Flag,
    /// The typed builder.
    Builder,
    /// Nobody set it, and another setting asks for something else than the default.
    Adjusted,
}

impl fmt::Display for SettingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Flag => "flag",
            Self::Builder => "builder",
            Self::Adjusted => "adjusted",
        })
    }
}

/// One row of the configuration that is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveSetting {
    /// Kafka's name for it.
    pub name: &'static str,
    /// Its value; `***` for a secret, empty where there is none.
    pub value: String,
    /// Where the value came from.
    pub source: SettingSource,
}

/// A setting that was given and is not, or not quite, in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigNote {
    /// Kafka's name for it.
    pub name: &'static str,
    /// What became of it, in a sentence that names it.
    pub text: String,
}

impl fmt::Display for ConfigNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The values of one client, each known and well-formed.
#[derive(Clone)]
pub struct Resolved {
    client: ClientKind,
    given: BTreeMap<&'static str, Given>,
    adjusted: BTreeMap<&'static str, String>,
    notes: Vec<ConfigNote>,
}

#[derive(Clone)]
struct Given {
    spec: &'static SettingSpec,
    value: Zeroizing<String>,
    origin: Origin,
}

impl Resolved {
    /// Checks each setting by its row of the table.
    pub(crate) fn new(properties: &Properties, client: ClientKind) -> Result<Self, ConfigError> {
        let mut given = BTreeMap::new();
        let properties = providers::resolve(properties)?;
        for entry in properties.entries() {
            let spec = find(&entry.name, client).ok_or_else(|| ConfigError::Unknown {
                name: entry.name.clone(),
                nearest: nearest_name(&entry.name),
                origin: entry.origin.clone(),
            })?;
            let value = Zeroizing::new(entry.value.trim().to_owned());
            given.insert(spec.name, Given { spec, value, origin: entry.origin.clone() });
        }
        let mut resolved =
            Self { client, given: BTreeMap::new(), adjusted: BTreeMap::new(), notes: Vec::new() };
        for given in given.into_values() {
            resolved.check(given)?;
        }
        Ok(resolved)
    }

    fn check(&mut self, given: Given) -> Result<(), ConfigError> {
        let Given { spec, value, origin } = &given;
        if !spec.belongs_to(self.client) {
            let owners: Vec<_> = spec.clients.iter().map(ToString::to_string).collect();
            let owners = owners.join(" and ");
            self.note(spec.name, format!("{} has no effect: it is for the {owners}", spec.name));
            return Ok(());
        }
        if !spec.kind.accepts(value) {
            return Err(given.malformed());
        }
        let unset = spec.is_default(self.client, value);
        match spec.support {
            Support::Yes => {}
            Support::NotNeeded(reason) => {
                self.note(spec.name, format!("{} is not needed: {reason}", spec.name));
            }
            Support::NotYet(..) | Support::Never(..) if unset => {}
            Support::NotYet(reason, WhenSet::Refuse) | Support::Never(reason, WhenSet::Refuse) => {
                return Err(ConfigError::Unsupported {
                    name: spec.name,
                    value: given.shown(),
                    reason: reason.to_owned(),
                    origin: origin.clone(),
                });
            }
            Support::NotYet(reason, WhenSet::Note) | Support::Never(reason, WhenSet::Note) => {
                self.note(spec.name, format!("{} has no effect: {reason}", spec.name));
            }
        }
        self.given.insert(given.spec.name, given);
        Ok(())
    }

    /// The typed value of a row.
    pub(crate) fn read<T: SettingValue>(
        &self,
        spec: Option<&'static SettingSpec>,
        name: &'static str,
    ) -> Result<T, ConfigError> {
        let given = self.given.get(name);
        let default = spec.and_then(|spec| spec.default.text(self.client));
        let text = given.map(|given| given.value.as_str()).or(default);
        T::read(text).ok_or_else(|| match given {
            Some(given) => given.malformed(),
            None => ConfigError::Missing {
                name,
                accepted: spec.map_or_else(String::new, |spec| spec.kind.accepted()),
            },
        })
    }

    /// Whether somebody set it.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// Puts another value in the place of one, because of other settings.
    pub(crate) fn adjust(&mut self, name: &'static str, value: String, reason: &str) {
        self.note(name, format!("{name} is {value}: {reason}"));
        self.adjusted.insert(name, value);
    }

    pub(crate) fn notes(&self) -> &[ConfigNote] {
        &self.notes
    }

    /// The value of each setting that has an effect on this client, in the table's order.
    pub(crate) fn effective(&self) -> Vec<EffectiveSetting> {
        let rows = table().filter(|spec| spec.belongs_to(self.client));
        let in_effect = rows.filter(|spec| spec.support == Support::Yes);
        in_effect.map(|spec| self.effective_row(spec)).collect()
    }

    fn effective_row(&self, spec: &'static SettingSpec) -> EffectiveSetting {
        let (value, source) = match (self.adjusted.get(spec.name), self.given.get(spec.name)) {
            (Some(value), _) => (value.clone(), SettingSource::Adjusted),
            (None, Some(given)) => (given.shown(), given.source()),
            (None, None) => {
                let default = spec.default.text(self.client).unwrap_or_default();
                (default.to_owned(), SettingSource::Default)
            }
        };
        EffectiveSetting { name: spec.name, value, source }
    }

    fn note(&mut self, name: &'static str, text: String) {
        self.notes.push(ConfigNote { name, text });
    }
}

impl Given {
    /// The value as it may be printed.
    fn shown(&self) -> String {
        if self.spec.kind.is_secret() { "***".to_owned() } else { self.value.to_string() }
    }

    fn malformed(&self) -> ConfigError {
        ConfigError::Malformed {
            name: self.spec.name,
            value: self.shown(),
            accepted: self.spec.kind.accepted(),
            origin: self.origin.clone(),
        }
    }

    fn source(&self) -> SettingSource {
        match self.origin {
            Origin::File { .. } | Origin::Text { .. } => SettingSource::File,
            Origin::Flag => SettingSource::Flag,
            Origin::Builder => SettingSource::Builder,
        }
    }
}

/// The row of that name, this client's own before another's.
fn find(name: &str, client: ClientKind) -> Option<&'static SettingSpec> {
    let mut rows = table().filter(|spec| spec.name == name);
    let first = rows.clone().next();
    rows.find(|spec| spec.belongs_to(client)).or(first)
}

/// Whether the setting is one whose value is never printed.
pub(crate) fn is_known_secret(name: &str) -> bool {
    table().any(|spec| spec.name == name && spec.kind.is_secret())
}

/// Whether a value under this name is never printed: a known password, or one by its name.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let by_name = ["password", "secret", "passphrase", "jaas", "credential", "token"];
    is_known_secret(name)
        || (find(name, ClientKind::Producer).is_none()
            && by_name.iter().any(|word| lower.contains(word)))
}

/// Names by which librdkafka and older clients know settings of ours.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("metadata.broker.list", "bootstrap.servers"),
    ("brokers", "bootstrap.servers"),
    ("request.required.acks", "acks"),
    ("compression.codec", "compression.type"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("queue.buffering.max.kbytes", "buffer.memory"),
    ("queue.buffering.max.messages", "buffer.memory"),
    ("message.timeout.ms", "delivery.timeout.ms"),
    ("message.max.bytes", "max.request.size"),
    ("message.send.max.retries", "retries"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("partitioner", "partitioner.class"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("fetch.wait.max.ms", "fetch.max.wait.ms"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
];

/// The known name that someone most likely meant.
fn nearest_name(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase().replace(['_', '-'], ".");
    if let Some((_, ours)) = OTHER_NAMES.iter().find(|(other, _)| *other == lower) {
        return Some(ours);
    }
    let near = table().map(|spec| (edit_distance(&lower, spec.name), spec.name)).min()?;
    // A third of the letters wrong is a guess, not a suggestion.
    (near.0 * 3 <= lower.chars().count()).then_some(near.1)
}

/// The insertions, deletions, replacements and swaps of neighbours between two texts.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(128).collect();
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before_last[j - 2] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("lingr.ms", Some("linger.ms"))]
    #[case("linger_ms", Some("linger.ms"))]
    #[case("Batch.Size", Some("batch.size"))]
    #[case("bacth.size", Some("batch.size"))]
    #[case("bootstrap.server", Some("bootstrap.servers"))]
    #[case("metadata.broker.list", Some("bootstrap.servers"))]
    #[case("num.partitions", None)]
    #[case("", None)]
    fn the_nearest_known_name(#[case] name: &str, #[case] nearest: Option<&str>) {
        assert_eq!(nearest_name(name), nearest);
    }

    #[test]
    fn every_other_name_leads_to_a_known_one() {
        for (other, ours) in OTHER_NAMES {
            assert!(find(ours, ClientKind::Producer).is_some(), "{other} leads to {ours}");
            assert!(find(other, ClientKind::Producer).is_none(), "{other} is known itself");
        }
    }

    #[test]
    fn distance_counts_a_swap_as_one() {
        assert_eq!(edit_distance("acks", "acks"), 0);
        assert_eq!(edit_distance("akcs", "acks"), 1);
        assert_eq!(edit_distance("ack", "acks"), 1);
        assert_eq!(edit_distance("", "acks"), 4);
    }
}
