//! What a listener asks of who connects: TLS, certificates, logins.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use streamledger_broker_core::config::{
    BrokerConfigs, ConfigError, UNSIGNED_TOKENS, listener_setting,
};
use streamledger_protocol::Password;
use streamledger_protocol::jaas::LoginModule;

use super::oauth::{KeyPlace, KeySource, OAuthSettings, TokenRules};
use super::principal_rules::PrincipalRules;

/// What a listener speaks (Kafka's `SecurityProtocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "PLAINTEXT" => Self::Plaintext,
            "SSL" => Self::Ssl,
            "SASL_PLAINTEXT" => Self::SaslPlaintext,
            "SASL_SSL" => Self::SaslSsl,
            _ => return None,
        })
    }

    fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// What a listener asks of who connects.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListenerSecurity {
    /// TLS, if it is spoken.
    pub(crate) tls: Option<TlsSettings>,
    /// Logins, if they are asked for.
    pub(crate) sasl: Option<Arc<SaslSettings>>,
}

impl ListenerSecurity {
    /// Whether what is said is secret, and who says it known.
    pub(crate) fn is_secure(&self) -> bool {
        let Some(tls) = &self.tls else { return false };
        let knows_users = |sasl: &Arc<SaslSettings>| {
            // Without a signature everybody is who they say they are.
            sasl.oauth.as_ref().is_none_or(|oauth| oauth.keys.is_some())
        };
        self.sasl.as_ref().is_some_and(knows_users) || tls.client_auth == ClientAuth::Required
    }
}

/// Whether clients are asked for certificates (`ssl.client.auth`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    None,
    Requested,
    Required,
}

/// Where a key and its certificates, or the authorities, come from.
#[derive(Debug, Clone)]
pub(crate) enum PemSource {
    File(PathBuf),
    Text(Password),
}

/// TLS at one listener.
#[derive(Debug, Clone)]
pub(crate) struct TlsSettings {
    /// Key and certificates.
    pub(crate) identity: PemSource,
    /// ssl.key.password.
    pub(crate) key_password: Option<Password>,
    /// The authorities of clients.
    pub(crate) trust: Option<PemSource>,
    /// ssl.client.auth.
    pub(crate) client_auth: ClientAuth,
    /// Whether `TLSv1.2` and `TLSv1.3` are in ssl.enabled.protocols.
    pub(crate) versions: (bool, bool),
    /// ssl.principal.mapping.rules.
    pub(crate) principal_rules: PrincipalRules,
}

/// A mechanism of SASL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    OAuthBearer,
}

impl Mechanism {
    const ALL: [Self; 4] = [Self::Plain, Self::ScramSha256, Self::ScramSha512, Self::OAuthBearer];

    /// The registered name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }

    /// The mechanism of a name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }
}

/// Logins at one listener.
#[derive(Debug, Clone)]
pub(crate) struct SaslSettings {
    /// sasl.enabled.mechanisms.
    pub(crate) mechanisms: BTreeSet<Mechanism>,
    /// PLAIN's users, from its login module.
    pub(crate) plain_users: BTreeMap<String, Password>,
    /// How OAUTHBEARER's tokens are checked, where they are taken.
    pub(crate) oauth: Option<OAuthSettings>,
    /// connections.max.reauth.ms.
    pub(crate) session_max: Option<Duration>,
    /// connection.failed.authentication.delay.ms.
    pub(crate) failure_delay: Duration,
    /// sasl.server.max.receive.size.
    pub(crate) request_bytes_max: u32,
}

/// Reads `listener.security.protocol.map`.
pub(super) fn protocol_map(
    configs: &BrokerConfigs,
) -> Result<BTreeMap<String, SecurityProtocol>, ConfigError> {
    const NAME: &str = "listener.security.protocol.map";
    let text = configs.value(NAME).unwrap_or_default();
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let mut map = BTreeMap::new();
    for pair in pairs {
        let parsed = pair.split_once(':').and_then(|(name, protocol)| {
            Some((name.trim().to_ascii_uppercase(), SecurityProtocol::parse(protocol.trim())?))
        });
        let (name, protocol) = parsed.ok_or_else(|| ConfigError::Malformed {
            name: NAME,
            value: pair.chars().take(64).collect(),
            expected: "NAME:PROTOCOL of PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL".to_owned(),
        })?;
        map.insert(name, protocol);
    }
    Ok(map)
}

/// What the listener of that name (in upper case) asks.
pub(super) fn listener_security(
    configs: &BrokerConfigs,
    listener: &str,
    protocol: SecurityProtocol,
) -> Result<ListenerSecurity, ConfigError> {
    let own = Own { configs, listener: listener.to_ascii_lowercase() };
    let tls = protocol.has_tls().then(|| own.tls()).transpose()?;
    let sasl = protocol.has_sasl().then(|| own.sasl()).transpose()?;
    Ok(ListenerSecurity { tls, sasl: sasl.map(Arc::new) })
}

/// Refuses settings of listeners that aren't there: a misspelt name would leave a door open.
pub(super) fn check_listener_names(
    configs: &BrokerConfigs,
    known: &BTreeSet<String>,
) -> Result<(), ConfigError> {
    for name in configs.at_start.keys() {
        if let Some(setting) = listener_setting(name)
            && !known.iter().any(|known| known.to_ascii_lowercase() == setting.listener)
        {
            return Err(ConfigError::Contradiction(format!(
                "{name}: there is no listener {}; there are {}",
                setting.listener,
                known.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            )));
        }
    }
    Ok(())
}

/// One listener's view of the settings.
struct Own<'a> {
    configs: &'a BrokerConfigs,
    listener: String,
}

impl Own<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        self.configs.listener_value(&self.listener, name).filter(|value| !value.is_empty())
    }

    fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        let list = self.value(name).unwrap_or_default();
        list.split(',').map(str::trim).filter(|word| !word.is_empty())
    }

    fn wrong(&self, what: &str) -> ConfigError {
        ConfigError::Contradiction(format!("listener {}: {what}", self.listener))
    }

    fn tls(&self) -> Result<TlsSettings, ConfigError> {
        let location = self.value("ssl.keystore.location");
        let texts = (self.value("ssl.keystore.key"), self.value("ssl.keystore.certificate.chain"));
        let identity = match (location, texts) {
            (Some(path), (None, None)) => PemSource::File(PathBuf::from(path)),
            (None, (Some(key), Some(chain))) => {
                PemSource::Text(Password::new(format!("{key}\n{chain}")))
            }
            (None, (None, None)) => {
                return Err(self.wrong("TLS needs a key and a certificate: ssl.keystore.location"));
            }
            _ => {
                return Err(self.wrong(
                    "either ssl.keystore.location, or both ssl.keystore.key and \
                     ssl.keystore.certificate.chain",
                ));
            }
        };
        let trust = match (
            self.value("ssl.truststore.location"),
            self.value("ssl.truststore.certificates"),
        ) {
            (Some(path), None) => Some(PemSource::File(PathBuf::from(path))),
            (None, Some(text)) => Some(PemSource::Text(text.into())),
            (None, None) => None,
            (Some(_), Some(_)) => {
                return Err(self.wrong(
                    "either ssl.truststore.location or ssl.truststore.certificates, not both",
                ));
            }
        };
        let client_auth = match self.value("ssl.client.auth") {
            Some("required") => ClientAuth::Required,
            Some("requested") => ClientAuth::Requested,
            _ => ClientAuth::None,
        };
        if client_auth != ClientAuth::None && trust.is_none() {
            return Err(self.wrong(
                "clients are asked for certificates (ssl.client.auth), so \
                 ssl.truststore.location must name whose are trusted",
            ));
        }
        let speaks = |version| self.words("ssl.enabled.protocols").any(|word| word == version);
        let versions = (speaks("TLSv1.2"), speaks("TLSv1.3"));
        if versions == (false, false) {
            return Err(self.wrong("ssl.enabled.protocols leaves no version of TLS"));
        }
        let rules = self.value("ssl.principal.mapping.rules").unwrap_or("DEFAULT");
        Ok(TlsSettings {
            identity,
            key_password: self.value("ssl.key.password").map(Password::from),
            trust,
            client_auth,
            versions,
            principal_rules: PrincipalRules::parse(rules)
                .map_err(|reason| self.wrong(&format!("ssl.principal.mapping.rules: {reason}")))?,
        })
    }

    fn sasl(&self) -> Result<SaslSettings, ConfigError> {
        let mechanisms: BTreeSet<_> =
            self.words("sasl.enabled.mechanisms").filter_map(Mechanism::parse).collect();
        if mechanisms.is_empty() {
            return Err(self.wrong("sasl.enabled.mechanisms is empty: nobody could log in"));
        }
        let plain_users = match mechanisms.contains(&Mechanism::Plain) {
            true => self.plain_users()?,
            false => BTreeMap::new(),
        };
        let oauth = match mechanisms.contains(&Mechanism::OAuthBearer) {
            true => Some(self.oauth()?),
            false => None,
        };
        let ms = |name| self.value(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        Ok(SaslSettings {
            mechanisms,
            plain_users,
            oauth,
            session_max: Some(ms("connections.max.reauth.ms"))
                .filter(|&session_ms| session_ms > 0)
                .map(Duration::from_millis),
            failure_delay: Duration::from_millis(ms("connection.failed.authentication.delay.ms")),
            request_bytes_max: u32::try_from(ms("sasl.server.max.receive.size"))
                .unwrap_or(u32::MAX),
        })
    }

    /// How tokens are checked: by the keys of an endpoint, or not by any, if that is asked for.
    fn oauth(&self) -> Result<OAuthSettings, ConfigError> {
        const HANDLER: &str = "sasl.server.callback.handler.class";
        const URL: &str = "sasl.oauthbearer.jwks.endpoint.url";
        let module = self.oauth_module()?;
        let option = |name| module.as_ref().and_then(|module| module.text(name));
        let handler = self.value(&format!("oauthbearer.{HANDLER}"));
        let is_unsigned = handler.or_else(|| self.value(HANDLER)) == Some(UNSIGNED_TOKENS);
        let number = |name| self.value(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let ms = |name| Duration::from_millis(number(name));
        let claim = |name| self.value(name).unwrap_or_default().to_owned();
        let wrong = |reason: &str| self.wrong(&format!("{URL}: {reason}"));
        let mut rules = TokenRules {
            subject_claim: claim("sasl.oauthbearer.sub.claim.name"),
            scope_claim: claim("sasl.oauthbearer.scope.claim.name"),
            clock_skew: Duration::from_secs(number("sasl.oauthbearer.clock.skew.seconds")),
            audiences: self
                .words("sasl.oauthbearer.expected.audience")
                .map(str::to_owned)
                .collect(),
            issuer: self.value("sasl.oauthbearer.expected.issuer").map(str::to_owned),
        };
        let keys = match (self.value(URL), is_unsigned) {
            (Some(url), false) => Some(KeySource {
                place: KeyPlace::parse(url).map_err(|reason| wrong(&reason))?,
                authorities: option("ssl.truststore.location").map(PathBuf::from),
                refresh: ms("sasl.oauthbearer.jwks.endpoint.refresh.ms"),
                retry_first: ms("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms"),
                retry_max: ms("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms"),
            }),
            (None, true) => {
                let name = option("unsecuredValidatorPrincipalClaimName").unwrap_or("sub");
                let skew = option("unsecuredValidatorAllowableClockSkewMs").unwrap_or("0");
                let skew = skew.parse().map_err(|_| wrong("the clock skew is no number"))?;
                name.clone_into(&mut rules.subject_claim);
                rules.clock_skew = Duration::from_millis(skew);
                None
            }
            (None, false) => {
                return Err(wrong(&format!(
                    "OAUTHBEARER needs the keys that tokens are signed with; tokens that nobody \
                     signed are for tests, by oauthbearer.{HANDLER}={UNSIGNED_TOKENS}"
                )));
            }
            (Some(_), true) => {
                return Err(wrong("either keys are given or tokens are not signed, not both"));
            }
        };
        Ok(OAuthSettings { rules, keys })
    }

    /// The login module of OAUTHBEARER, which may be left out.
    fn oauth_module(&self) -> Result<Option<LoginModule>, ConfigError> {
        let Some(jaas) = self.value("oauthbearer.sasl.jaas.config") else { return Ok(None) };
        let wrong = |reason: String| self.wrong(&format!("oauthbearer.sasl.jaas.config: {reason}"));
        let module = LoginModule::parse(jaas).map_err(wrong)?;
        if module.simple_class() != "OAuthBearerLoginModule" {
            return Err(wrong(format!("{} is not OAuthBearerLoginModule", module.simple_class())));
        }
        // What a broker would log in with elsewhere is of no use in one node.
        let known = [
            "ssl.truststore.location",
            "ssl.truststore.type",
            "unsecuredValidatorPrincipalClaimName",
            "unsecuredValidatorAllowableClockSkewMs",
        ];
        let is_own = |name: &str| name.starts_with("unsecuredLogin");
        module.check_options(|name| known.contains(&name) || is_own(name)).map_err(wrong)?;
        Ok(Some(module))
    }

    /// The options `user_NAME` of `PlainLoginModule` (Kafka's `PlainServerCallbackHandler`).
    fn plain_users(&self) -> Result<BTreeMap<String, Password>, ConfigError> {
        let jaas = self.value("plain.sasl.jaas.config").or_else(|| self.value("sasl.jaas.config"));
        let Some(jaas) = jaas else {
            return Err(self.wrong(&format!(
                "PLAIN has no users: listener.name.{}.plain.sasl.jaas.config",
                self.listener
            )));
        };
        let wrong = |reason: String| self.wrong(&format!("plain.sasl.jaas.config: {reason}"));
        let module = LoginModule::parse(jaas).map_err(wrong)?;
        if module.simple_class() != "PlainLoginModule" {
            return Err(wrong(format!("{} is not PlainLoginModule", module.simple_class())));
        }
        // What the broker itself would log in with elsewhere is of no use in one node.
        let is_own = |name: &str| name == "username" || name == "password";
        module.check_options(|name| is_own(name) || name.starts_with("user_")).map_err(wrong)?;
        let users = module.options.into_iter().filter_map(|(name, password)| {
            Some((name.strip_prefix("user_")?.to_owned(), password))
        });
        Ok(users.collect())
    }
}
