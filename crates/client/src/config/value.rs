//! Texts to typed values, and typed values to texts.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::Password;
use streamledger_client_core::consumer::group::Assignor;
use streamledger_protocol::{Acks, Codec, IsolationLevel};

/// A typed value that a setting's text becomes.
pub(crate) trait SettingValue: Sized {
    /// Reads the text; `None` in is a setting that is not set and has no default, `None` out a text
    /// that is not accepted.
    fn read(text: Option<&str>) -> Option<Self>;
}

/// What a builder's call takes: a typed value that becomes a setting's text.
pub(crate) trait SettingArgument {
    /// The text of it, as it would be in a properties file.
    fn into_text(self) -> String;
}

/// A broker's address as users write it: a name or IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerAddress {
    /// The name or IP address, without the brackets of an IPv6 address.
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A text that is not a server's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address; expected host:port")]
pub struct InvalidServerAddress(pub String);

impl FromStr for ServerAddress {
    type Err = InvalidServerAddress;

    /// Takes what Kafka's `Utils.getHost` takes: `host:port`, `[ipv6]:port`, and either with the
    /// name of a listener in front, `PLAINTEXT://host:port`.
    fn from_str(text: &str) -> Result<Self, InvalidServerAddress> {
        let invalid = || InvalidServerAddress(text.to_owned());
        let address = text.split_once("://").map_or(text, |(_, address)| address);
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let port: u16 = port.parse().map_err(|_| invalid())?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(ipv6) => ipv6,
            None if host.contains(':') => return Err(invalid()),
            None => host,
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._%:".contains(c);
        if host.is_empty() || port == 0 || !host.chars().all(allowed) {
            return Err(invalid());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// What to do when no known broker answers any more (KIP-899).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataRecovery {
    /// Forget the brokers and begin again with `bootstrap.servers`.
    Rebootstrap,
    /// Go on trying the brokers that were known last.
    None,
}

/// Whether connections are encrypted, and whether the client logs in (`security.protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Neither.
    Plaintext,
    /// Encrypted by TLS; the client may have a certificate of its own.
    Ssl,
    /// A login in the clear.
    SaslPlaintext,
    /// A login, encrypted by TLS.
    SaslSsl,
}

/// Which partitioner chooses a record's partition; own ones are given to the producer's builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionerName {
    /// The hash of the key (murmur2, as Java), or sticky batches where there is no key.
    Default,
    /// Sticky batches, whatever the key.
    UniformSticky,
    /// One partition after the other.
    RoundRobin,
    /// librdkafka's default: CRC-32 of the key, or a random partition where there is no key.
    ConsistentRandom,
}

/// Where to read when a partition has no position, or one outside its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoOffsetReset {
    /// At the log's end: only what is written from now on.
    Latest,
    /// At the log's start.
    Earliest,
    /// Nowhere: it is an error.
    None,
    /// At the first record not older than this (KIP-1106).
    ByDuration(Duration),
}

/// How members of a group and its coordinator talk (`group.protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocolName {
    /// A member is elected, and assigns the partitions.
    Classic,
    /// The coordinator assigns them (KIP-848).
    Consumer,
}

impl SettingValue for Vec<ServerAddress> {
    fn read(text: Option<&str>) -> Option<Self> {
        let addresses = text?.split(',').map(str::trim).filter(|address| !address.is_empty());
        let addresses: Self = addresses.map(|a| a.parse().ok()).collect::<Option<_>>()?;
        (!addresses.is_empty()).then_some(addresses)
    }
}

impl SettingValue for String {
    fn read(text: Option<&str>) -> Option<Self> {
        text.map(str::to_owned)
    }
}

impl SettingValue for Option<String> {
    fn read(text: Option<&str>) -> Option<Self> {
        Some(text.filter(|text| !text.is_empty()).map(str::to_owned))
    }
}

impl SettingValue for Option<Password> {
    fn read(text: Option<&str>) -> Option<Self> {
        Some(text.filter(|text| !text.is_empty()).map(Password::from))
    }
}

impl SettingArgument for Password {
    fn into_text(self) -> String {
        self.reveal().to_owned()
    }
}

impl SettingValue for Vec<Assignor> {
    fn read(text: Option<&str>) -> Option<Self> {
        let names = text?.split(',').map(str::trim).filter(|name| !name.is_empty());
        let assignors: Self = names.map(Assignor::from_text).collect::<Option<_>>()?;
        (!assignors.is_empty()).then_some(assignors)
    }
}

impl SettingArgument for &[Assignor] {
    fn into_text(self) -> String {
        self.iter().map(|assignor| assignor.class()).collect::<Vec<_>>().join(",")
    }
}

/// Texts with commas between, without the blanks around them.
impl SettingValue for Vec<String> {
    fn read(text: Option<&str>) -> Option<Self> {
        let parts = text.unwrap_or_default().split(',').map(str::trim);
        Some(parts.filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }
}

impl SettingValue for bool {
    fn read(text: Option<&str>) -> Option<Self> {
        Some(text?.eq_ignore_ascii_case("true"))
    }
}

impl SettingValue for Duration {
    fn read(text: Option<&str>) -> Option<Self> {
        text?.parse().ok().map(Self::from_millis)
    }
}

/// A negative number is "never".
impl SettingValue for Option<Duration> {
    fn read(text: Option<&str>) -> Option<Self> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Some(None) };
        let millis: i64 = text.parse().ok()?;
        Some(u64::try_from(millis).ok().map(Duration::from_millis))
    }
}

/// A negative number is "as the system has it".
impl SettingValue for Option<usize> {
    fn read(text: Option<&str>) -> Option<Self> {
        let number: i64 = text?.parse().ok()?;
        Some(usize::try_from(number).ok())
    }
}

/// Reads and writes a type by its `FromStr` and `Display`.
macro_rules! read_and_written_as_it_parses {
    ($($type:ty),*) => {$(
        impl SettingValue for $type {
            fn read(text: Option<&str>) -> Option<Self> {
                text?.parse().ok()
            }
        }

        impl SettingArgument for $type {
            fn into_text(self) -> String {
                self.to_string()
            }
        }
    )*};
}

read_and_written_as_it_parses!(usize, u16, u32, i32, f64, Acks, Codec, IsolationLevel);

/// Reads and writes an enum by its words; further words of a row are only read.
macro_rules! read_and_written_by_words {
    ($(
        $type:ident, unset $unset:expr,
        { $($variant:ident = $word:literal $(| $other:literal)*),* $(,)? }
    )*) => {$(
        impl SettingValue for $type {
            fn read(text: Option<&str>) -> Option<Self> {
                let text = text.unwrap_or_default();
                if text.is_empty() {
                    return $unset;
                }
                $(
                    if text.eq_ignore_ascii_case($word) $(|| text == $other)* {
                        return Some(Self::$variant);
                    }
                )*
                None
            }
        }

        impl SettingArgument for $type {
            fn into_text(self) -> String {
                match self {
                    $(Self::$variant => $word.to_owned(),)*
                }
            }
        }
    )*};
}

read_and_written_by_words! {
    SecurityProtocol, unset None, {
        Plaintext = "PLAINTEXT", Ssl = "SSL", SaslPlaintext = "SASL_PLAINTEXT",
        SaslSsl = "SASL_SSL",
    }
    GroupProtocolName, unset None, { Classic = "classic", Consumer = "consumer" }
    MetadataRecovery, unset None, { Rebootstrap = "rebootstrap", None = "none" }
    PartitionerName, unset Some(Self::Default), {
        Default = "default" | "murmur2_random"
            | "org.apache.kafka.clients.producer.internals.DefaultPartitioner",
        UniformSticky = "uniform_sticky"
            | "org.apache.kafka.clients.producer.UniformStickyPartitioner",
        RoundRobin = "round_robin" | "org.apache.kafka.clients.producer.RoundRobinPartitioner",
        ConsistentRandom = "consistent_random",
    }
}

impl SettingValue for AutoOffsetReset {
    fn read(text: Option<&str>) -> Option<Self> {
        match text? {
            "latest" => Some(Self::Latest),
            "earliest" => Some(Self::Earliest),
            "none" => Some(Self::None),
            other => other.strip_prefix("by_duration:").and_then(iso_8601).map(Self::ByDuration),
        }
    }
}

impl SettingArgument for AutoOffsetReset {
    fn into_text(self) -> String {
        match self {
            Self::Latest => "latest".to_owned(),
            Self::Earliest => "earliest".to_owned(),
            Self::None => "none".to_owned(),
            Self::ByDuration(age) => {
                format!("by_duration:PT{}.{:09}S", age.as_secs(), age.subsec_nanos())
            }
        }
    }
}

/// Reads `PnDTnHnMn.nS`, as `java.time.Duration.parse` does, without signs.
fn iso_8601(text: &str) -> Option<Duration> {
    let text = text.to_ascii_uppercase();
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (text.strip_prefix('P')?, ""),
    };
    let mut rest = time;
    let mut seconds = 0.0;
    let mut parts = 0;
    let day_part = if days.is_empty() { None } else { Some(days.strip_suffix('D')?) };
    for (number, unit_seconds) in [
        (day_part, 86_400.0),
        (take_part(&mut rest, 'H'), 3_600.0),
        (take_part(&mut rest, 'M'), 60.0),
        (take_part(&mut rest, 'S'), 1.0),
    ] {
        let Some(number) = number else { continue };
        let plain =
            number.bytes().all(|b| b.is_ascii_digit() || (unit_seconds == 1.0 && b == b'.'));
        seconds += unit_seconds * number.parse::<f64>().ok().filter(|_| plain)?;
        parts += 1;
    }
    if parts == 0 || !rest.is_empty() {
        return None;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

fn take_part<'a>(rest: &mut &'a str, unit: char) -> Option<&'a str> {
    let (number, after) = rest.split_once(unit)?;
    *rest = after;
    Some(number)
}

impl SettingArgument for &str {
    fn into_text(self) -> String {
        self.to_owned()
    }
}

impl SettingArgument for bool {
    fn into_text(self) -> String {
        self.to_string()
    }
}

/// A part of a millisecond counts as a whole one, so that "a little" never becomes "none".
impl SettingArgument for Duration {
    fn into_text(self) -> String {
        self.as_nanos().div_ceil(1_000_000).to_string()
    }
}

impl SettingArgument for Option<Duration> {
    fn into_text(self) -> String {
        self.map_or_else(|| "-1".to_owned(), SettingArgument::into_text)
    }
}

impl SettingArgument for Option<usize> {
    fn into_text(self) -> String {
        self.map_or_else(|| "-1".to_owned(), SettingArgument::into_text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("localhost:9092", "localhost", 9092)]
    #[case("10.0.0.1:1", "10.0.0.1", 1)]
    #[case("[::1]:9092", "::1", 9092)]
    #[case("SASL_SSL://b-1.example.com:9096", "b-1.example.com", 9096)]
    fn an_address_has_host_and_port(#[case] text: &str, #[case] host: &str, #[case] port: u16) {
        let address: ServerAddress = text.parse().unwrap();
        assert_eq!((&*address.host, address.port), (host, port));
        assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[rstest]
    fn what_is_no_address_is_refused(
        #[values("", "localhost", ":9092", "h:", "h:0", "h:65536", "::1:9092", "a b:1", "h:-1")]
        text: &str,
    ) {
        assert_eq!(text.parse::<ServerAddress>(), Err(InvalidServerAddress(text.to_owned())));
    }

    #[test]
    fn several_servers_may_have_blanks_and_empty_places() {
        let servers = Vec::<ServerAddress>::read(Some("a:1, b:2,")).unwrap();
        assert_eq!(servers.len(), 2);
        assert_eq!(Vec::<ServerAddress>::read(Some(" , ")), None);
        assert_eq!(Vec::<ServerAddress>::read(Some("a:1,b")), None);
    }

    #[rstest]
    #[case("by_duration:P7D", Some(7 * 86_400_000))]
    #[case("by_duration:PT1H30M", Some(5_400_000))]
    #[case("by_duration:P1DT0.5S", Some(86_400_500))]
    #[case("by_duration:pt5s", Some(5_000))]
    #[case("by_duration:P", None)]
    #[case("by_duration:PT", None)]
    #[case("by_duration:P1DT", None)]
    #[case("by_duration:5", None)]
    #[case("by_duration:PT-5S", None)]
    #[case("by_duration:PT1.5H", None)]
    #[case("sometimes", None)]
    fn an_age_to_reset_to(#[case] text: &str, #[case] millis: Option<u64>) {
        let expected = millis.map(|ms| AutoOffsetReset::ByDuration(Duration::from_millis(ms)));
        assert_eq!(AutoOffsetReset::read(Some(text)), expected);
        if let Some(reset) = expected {
            assert_eq!(AutoOffsetReset::read(Some(&reset.into_text())), Some(reset));
        }
    }

    #[test]
    fn durations_round_up_to_the_millisecond() {
        assert_eq!(Duration::from_micros(1).into_text(), "1");
        assert_eq!(Duration::from_millis(20).into_text(), "20");
        assert_eq!(Option::<Duration>::read(Some("-1")), Some(None));
    }

    #[test]
    fn java_class_names_of_kafkas_partitioners_are_understood() {
        let round_robin = "org.apache.kafka.clients.producer.RoundRobinPartitioner";
        assert_eq!(PartitionerName::read(Some(round_robin)), Some(PartitionerName::RoundRobin));
        assert_eq!(PartitionerName::read(Some("com.example.Mine")), None);
    }
}
