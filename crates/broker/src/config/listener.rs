//! Addresses to listen on and to advertise: `host:port` or `PLAINTEXT://host:port`.

use std::fmt;
use std::net::IpAddr;

use streamledger_broker_core::config::ConfigError;

/// A host and port, as written by the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenAddress {
    /// A name or an address without brackets; empty is every interface.
    pub(crate) host: String,
    /// 0 is a free port.
    pub(crate) port: u16,
}

impl ListenAddress {
    /// Parses a comma-separated list.
    pub(crate) fn parse_list(name: &'static str, list: &str) -> Result<Vec<Self>, ConfigError> {
        list.split(',').map(|address| Self::parse(name, address.trim())).collect()
    }

    fn parse(name: &'static str, text: &str) -> Result<Self, ConfigError> {
        let malformed = |expected: &str| ConfigError::Malformed {
            name,
            value: text.to_owned(),
            expected: expected.to_owned(),
        };
        let address = match text.split_once("://") {
            Some(("PLAINTEXT", address)) => address,
            Some(_) => return Err(malformed("PLAINTEXT://host:port (no other protocol yet)")),
            None => text,
        };
        let (host, port) = address.rsplit_once(':').ok_or_else(|| malformed("host:port"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = port.parse().map_err(|_| malformed("host:port, the port up to 65535"))?;
        Ok(Self { host, port })
    }

    /// Whether only this machine can reach it. A name other than `localhost` may be any address.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host == "localhost",
        }
    }

    /// The host to bind; empty in the setting is every interface.
    pub(crate) fn bind_host(&self) -> &str {
        if self.host.is_empty() { "0.0.0.0" } else { &self.host }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> Result<Vec<String>, ConfigError> {
        let addresses = ListenAddress::parse_list("listeners", list)?;
        Ok(addresses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn addresses_are_read_with_and_without_a_protocol() {
        assert_eq!(parse("127.0.0.1:9092").unwrap(), ["127.0.0.1:9092"]);
        assert_eq!(parse("PLAINTEXT://:9092, [::1]:0").unwrap(), [":9092", "[::1]:0"]);
        assert!(parse("9092").is_err());
        assert!(parse("host:99999").is_err());
        assert!(parse("SASL_SSL://host:9092").is_err());
        assert!(parse("").is_err());
    }

    #[test]
    fn loopback_is_told_from_what_others_can_reach() {
        let is_loopback =
            |text: &str| ListenAddress::parse("listeners", text).unwrap().is_loopback();
        assert!(is_loopback("127.0.0.1:0") && is_loopback("[::1]:0") && is_loopback("localhost:1"));
        assert!(
            !is_loopback(":9092") && !is_loopback("0.0.0.0:1") && !is_loopback("example.org:1")
        );
    }
}
