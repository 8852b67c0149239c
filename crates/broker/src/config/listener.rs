//! Listeners: where to listen, what to advertise, and under which name.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use streamledger_broker_core::config::{BrokerConfigs, ConfigError};

use super::security::{ListenerSecurity, check_listener_names, listener_security, protocol_map};

/// The name of a listener that has none.
const UNNAMED: &str = "PLAINTEXT";

/// One listener.
#[derive(Debug, Clone)]
pub(crate) struct ListenerSettings {
    /// In upper case.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) address: ListenAddress,
    /// What its clients are told to connect to; none is the address they reached.
    pub(crate) advertised: Option<ListenAddress>,
    /// What it asks of who connects.
    pub(crate) security: ListenerSecurity,
}

impl Default for ListenerSettings {
    /// In the clear, on loopback, on a free port.
    fn default() -> Self {
        Self {
            name: UNNAMED.to_owned(),
            address: ListenAddress { host: "127.0.0.1".to_owned(), port: 0 },
            advertised: None,
            security: ListenerSecurity::default(),
        }
    }
}

impl ListenerSettings {
    /// Reads `listeners`, and all that belongs to them.
    pub(crate) fn parse_all(configs: &BrokerConfigs) -> Result<Vec<Self>, ConfigError> {
        let controllers = controllers(configs);
        let mut listeners = vec![Self::default()];
        if let Some(list) = configs.value("listeners") {
            let protocols = protocol_map(configs)?;
            listeners = Vec::new();
            for (name, address) in parse_list("listeners", list)? {
                let name = name.unwrap_or_else(|| UNNAMED.to_owned());
                if controllers.contains(&name) {
                    continue;
                }
                let protocol = protocols.get(&name).ok_or_else(|| {
                    ConfigError::Contradiction(format!(
                        "listener {name}: listener.security.protocol.map doesn't say what it \
                         speaks (PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL)"
                    ))
                })?;
                let security = listener_security(configs, &name, *protocol)?;
                listeners.push(Self { name, address, advertised: None, security });
            }
        }
        if listeners.is_empty() {
            return Err(ConfigError::Contradiction(
                "listeners has only those of controller.listener.names: nobody could connect"
                    .to_owned(),
            ));
        }
        let own = listeners.iter().map(|own| own.name.clone());
        let names: BTreeSet<String> = own.chain(controllers.iter().cloned()).collect();
        check_listener_names(configs, &names)?;
        if let Some(list) = configs.value("advertised.listeners") {
            let mut advertised = parse_list("advertised.listeners", list)?;
            advertised.retain(|(name, _)| !name.as_ref().is_some_and(|n| controllers.contains(n)));
            advertise(&mut listeners, advertised)?;
        }
        Ok(listeners)
    }
}

/// The names of listeners on which Kafka's controllers talk to each other; here they listen to
/// nobody.
fn controllers(configs: &BrokerConfigs) -> BTreeSet<String> {
    let names = configs.value("controller.listener.names").unwrap_or_default().split(',');
    names.map(|name| name.trim().to_ascii_uppercase()).filter(|name| !name.is_empty()).collect()
}

/// By name; or, where no name is said, in the order of the listeners.
fn advertise(
    listeners: &mut [ListenerSettings],
    advertised: Vec<(Option<String>, ListenAddress)>,
) -> Result<(), ConfigError> {
    if advertised.iter().all(|(name, _)| name.is_none()) {
        if advertised.len() != listeners.len() {
            return Err(ConfigError::Contradiction(format!(
                "there are {} listeners, and {} addresses in advertised.listeners: one for each \
                 is needed",
                listeners.len(),
                advertised.len()
            )));
        }
        for (listener, (_, address)) in listeners.iter_mut().zip(advertised) {
            listener.advertised = Some(address);
        }
        return Ok(());
    }
    for (name, address) in advertised {
        let name = name.unwrap_or_else(|| UNNAMED.to_owned());
        let listener = listeners
            .iter_mut()
            .find(|listener| listener.name == name && listener.advertised.is_none());
        let Some(listener) = listener else {
            return Err(ConfigError::Contradiction(format!(
                "advertised.listeners has {name} once more than listeners has it"
            )));
        };
        listener.advertised = Some(address);
    }
    Ok(())
}

/// A host and port, as written by the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenAddress {
    /// A name or an address without brackets; empty is every interface.
    pub(crate) host: String,
    /// 0 is a free port.
    pub(crate) port: u16,
}

/// Parses a comma-separated list of `host:port` and `NAME://host:port`.
fn parse_list(
    name: &'static str,
    list: &str,
) -> Result<Vec<(Option<String>, ListenAddress)>, ConfigError> {
    list.split(',').map(|one| parse_one(name, one.trim())).collect()
}

fn parse_one(
    name: &'static str,
    text: &str,
) -> Result<(Option<String>, ListenAddress), ConfigError> {
    let malformed = |expected: &str| ConfigError::Malformed {
        name,
        value: text.to_owned(),
        expected: expected.to_owned(),
    };
    let (listener, address) = match text.split_once("://") {
        Some((listener, address)) => (Some(listener.to_ascii_uppercase()), address),
        None => (None, text),
    };
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    if listener.as_ref().is_some_and(|name| name.is_empty() || !name.chars().all(is_letter)) {
        return Err(malformed("NAME://host:port, the name of letters, digits, _ and -"));
    }
    let (host, port) = address.rsplit_once(':').ok_or_else(|| malformed("host:port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = port.parse().map_err(|_| malformed("host:port, the port up to 65535"))?;
    Ok((listener, ListenAddress { host, port }))
}

impl ListenAddress {
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
    use streamledger_broker_core::config::UNSIGNED_TOKENS;

    use super::*;

    fn parse(settings: &[(&str, &str)]) -> Result<Vec<ListenerSettings>, ConfigError> {
        let pairs = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let configs = BrokerConfigs { at_start: pairs.collect(), ..BrokerConfigs::default() };
        ListenerSettings::parse_all(&configs)
    }

    fn refusal(settings: &[(&str, &str)]) -> String {
        parse(settings).unwrap_err().to_string()
    }

    #[test]
    fn addresses_are_read_with_and_without_a_name() {
        let read = |list| {
            let listeners = parse(&[("listeners", list)]).unwrap();
            listeners.iter().map(|own| format!("{} {}", own.name, own.address)).collect::<Vec<_>>()
        };
        assert_eq!(read("127.0.0.1:9092"), ["PLAINTEXT 127.0.0.1:9092"]);
        assert_eq!(read("plaintext://:9092, [::1]:0"), ["PLAINTEXT :9092", "PLAINTEXT [::1]:0"]);
        for wrong in ["9092", "host:99999", "", "a b://h:1", "://h:1"] {
            assert!(parse(&[("listeners", wrong)]).is_err(), "{wrong}");
        }
        assert!(refusal(&[("listeners", "INSIDE://h:1")]).contains("protocol.map"));
    }

    #[test]
    fn loopback_is_told_from_what_others_can_reach() {
        let is_loopback = |text: &str| parse_one("listeners", text).unwrap().1.is_loopback();
        assert!(is_loopback("127.0.0.1:0") && is_loopback("[::1]:0") && is_loopback("localhost:1"));
        assert!(
            !is_loopback(":9092") && !is_loopback("0.0.0.0:1") && !is_loopback("example.org:1")
        );
    }

    #[test]
    fn what_is_advertised_goes_by_name_or_by_order() {
        let two = ("listeners", "A://127.0.0.1:1,B://127.0.0.1:2");
        let map = ("listener.security.protocol.map", "a:PLAINTEXT,B:PLAINTEXT");
        let advertised = |list| {
            let listeners = parse(&[two, map, ("advertised.listeners", list)]).unwrap();
            let ports = listeners.iter().map(|own| own.advertised.as_ref().map(|own| own.port));
            ports.collect::<Vec<_>>()
        };
        assert_eq!(advertised("h:8,h:9"), [Some(8), Some(9)]);
        assert_eq!(advertised("B://h:9"), [None, Some(9)]);
        let twice = ("advertised.listeners", "B://h:9,B://h:8");
        assert!(refusal(&[two, map, twice]).contains("once more"));
    }

    #[test]
    fn each_listener_has_its_own_settings_before_those_of_all() {
        let listeners = parse(&[
            ("listeners", "IN://127.0.0.1:0,OUT://127.0.0.1:0,SASL_PLAINTEXT://127.0.0.1:0"),
            ("listener.security.protocol.map", "IN:SSL,OUT:SASL_SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"),
            ("ssl.keystore.location", "/all.pem"),
            ("ssl.truststore.location", "/ca.pem"),
            ("listener.name.in.ssl.client.auth", "required"),
            ("listener.name.out.ssl.keystore.location", "/out.pem"),
            ("listener.name.out.sasl.enabled.mechanisms", "PLAIN"),
            (
                "listener.name.out.plain.sasl.jaas.config",
                "org.apache.kafka.common.security.plain.PlainLoginModule required \
                 user_alice=\"hunter2\";",
            ),
        ])
        .unwrap();
        let [inside, outside, login] = &listeners[..] else { panic!("{listeners:?}") };
        assert!(inside.security.is_secure() && outside.security.is_secure());
        assert!(!login.security.is_secure() && login.security.tls.is_none());
        let sasl = outside.security.sasl.as_ref().unwrap();
        assert_eq!(sasl.plain_users["alice"].reveal(), "hunter2");
        assert_eq!(login.security.sasl.as_ref().unwrap().mechanisms.len(), 2);
        assert!(!format!("{listeners:?}").contains("hunter2"));
    }

    #[test]
    fn tokens_that_nobody_signed_are_no_security_and_keys_or_those_must_be_named() {
        let tls = [("listeners", "SASL_SSL://127.0.0.1:0"), ("ssl.keystore.location", "/x.pem")];
        let mechanism = [("sasl.enabled.mechanisms", "SCRAM-SHA-256,OAUTHBEARER")];
        let handler = "listener.name.sasl_ssl.oauthbearer.sasl.server.callback.handler.class";
        let unsigned = (handler, UNSIGNED_TOKENS);
        let keys = ("sasl.oauthbearer.jwks.endpoint.url", "https://idp.example.com/keys");
        let with = |more: &[(&'static str, &'static str)]| [&tls[..], &mechanism, more].concat();
        assert!(parse(&with(&[keys])).unwrap()[0].security.is_secure());
        assert!(!parse(&with(&[unsigned])).unwrap()[0].security.is_secure());
        assert!(refusal(&with(&[])).contains("jwks.endpoint.url"));
        assert!(refusal(&with(&[keys, unsigned])).contains("not both"));
        let jaas = "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config";
        let module = |text| with(&[keys, (jaas, text)]);
        assert!(parse(&module("x.OAuthBearerLoginModule required;")).is_ok());
        assert!(refusal(&module("x.PlainLoginModule required;")).contains("PlainLoginModule"));
        assert!(refusal(&module("x.OAuthBearerLoginModule required a=b;")).contains("option"));
        let odd = ("sasl.oauthbearer.jwks.endpoint.url", "ftp://x/");
        assert!(refusal(&with(&[odd])).contains("https"));
    }

    #[test]
    fn what_a_listener_lacks_is_said() {
        let ssl = ("listeners", "SSL://127.0.0.1:0");
        assert!(refusal(&[ssl]).contains("ssl.keystore.location"));
        let store = ("ssl.keystore.location", "/x.pem");
        assert!(refusal(&[ssl, store, ("ssl.client.auth", "required")]).contains("truststore"));
        assert!(
            refusal(&[ssl, store, ("listener.name.sll.ssl.client.auth", "none")])
                .contains("no listener sll")
        );
        let login = ("listeners", "SASL_PLAINTEXT://127.0.0.1:0");
        let plain = ("sasl.enabled.mechanisms", "PLAIN");
        assert!(refusal(&[login, plain]).contains("PLAIN has no users"));
        assert!(
            refusal(&[login, plain, ("sasl.jaas.config", "x.Other required a=hunter2;")])
                .contains("Other is not PlainLoginModule")
        );
    }
}
