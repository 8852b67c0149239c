//! The table of settings about who may connect, and how: Kafka's names.
//!
//! Those for which [`is_listener_config`] holds are also known as `listener.name.NAME.setting`, for
//! the listener of that name alone; a login module goes to its mechanism as
//! `listener.name.NAME.MECHANISM.sasl.jaas.config`, and so does what checks its tokens.

use super::spec::{ConfigKind, ConfigSpec};

macro_rules! security_config {
    ($name:literal, $kind:expr, $default:expr, $doc:literal, $why:literal) => {
        ConfigSpec { name: $name, kind: $kind, default: $default, doc: $doc, why: $why }
    };
}

/// The mechanisms of SASL that are spoken here.
pub const SASL_MECHANISMS: &[&str] = &["OAUTHBEARER", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// The authorizer that this broker has, by the name of Kafka's class.
pub const STANDARD_AUTHORIZER: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";

/// Kafka's class that has the tokens of OAUTHBEARER checked by the keys of an endpoint.
pub const SIGNED_TOKENS: &str =
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler";
/// Its name before Kafka 4.0.
const SIGNED_TOKENS_BEFORE: &str =
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerValidatorCallbackHandler";
/// Kafka's class that takes tokens which nobody signed, for tests.
pub const UNSIGNED_TOKENS: &str = "org.apache.kafka.common.security.oauthbearer.internals.\
    unsecured.OAuthBearerUnsecuredValidatorCallbackHandler";

const PREFIX: &str = "listener.name.";
const JAAS: &str = "sasl.jaas.config";
const HANDLER: &str = "sasl.server.callback.handler.class";

/// Every setting about security, in order of name.
pub const SECURITY_CONFIGS: &[ConfigSpec] = &[
    security_config!(
        "allow.everyone.if.no.acl.found",
        ConfigKind::Boolean,
        Some("false"),
        "Whether everybody may do what they like with a resource that no ACL is about.",
        "Kafka's: what nobody allowed is denied. Needs authorizer.class.name."
    ),
    security_config!(
        "authorizer.class.name",
        ConfigKind::Choice(&[STANDARD_AUTHORIZER]),
        None,
        "Whether ACLs say who may do what: the one authorizer there is, by Kafka's name for it.",
        "Unset in Kafka: who gets in may do everything."
    ),
    security_config!(
        "connection.failed.authentication.delay.ms",
        ConfigKind::Int { min: 0, max: 60_000 },
        Some("100"),
        "How long a failed login waits for its answer, in ms.",
        "Kafka's: it slows down who guesses passwords."
    ),
    security_config!(
        "connections.max.reauth.ms",
        ConfigKind::long_from(0),
        Some("0"),
        "How long a login is good for, in ms (KIP-368); 0 is for ever.",
        "Kafka's."
    ),
    security_config!(
        "listener.security.protocol.map",
        ConfigKind::Text,
        Some("PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL"),
        "What each listener speaks, as NAME:PROTOCOL, separated by commas.",
        "Kafka's: a listener that is named for its protocol speaks it."
    ),
    security_config!(
        "sasl.enabled.mechanisms",
        ConfigKind::List(SASL_MECHANISMS),
        Some("SCRAM-SHA-256,SCRAM-SHA-512"),
        "The mechanisms by which clients may log in.",
        "Kafka's GSSAPI needs a Kerberos server; SCRAM needs nothing beside this broker."
    ),
    security_config!(
        "sasl.jaas.config",
        ConfigKind::Password,
        None,
        "The login module of a mechanism, as Java writes it; for PLAIN its users are the options \
         user_NAME=\"PASSWORD\".",
        "There are no users that nobody made."
    ),
    security_config!(
        "sasl.oauthbearer.clock.skew.seconds",
        ConfigKind::Int { min: 0, max: 86_400 },
        Some("30"),
        "How much later or earlier than here it may be where tokens are made, in seconds.",
        "Kafka's."
    ),
    security_config!(
        "sasl.oauthbearer.expected.audience",
        ConfigKind::Text,
        None,
        "Of a token's audience (aud) one must be among these, separated by commas.",
        "Unset: tokens that name an audience are refused, as Kafka refuses them."
    ),
    security_config!(
        "sasl.oauthbearer.expected.issuer",
        ConfigKind::Text,
        None,
        "A token's issuer (iss) must be this.",
        "Unset in Kafka: whoever has the key may issue."
    ),
    security_config!(
        "sasl.oauthbearer.jwks.endpoint.refresh.ms",
        ConfigKind::long_from(1),
        Some("3600000"),
        "How often the keys of tokens are read again, in ms; soon where one is missed.",
        "Kafka's hour."
    ),
    security_config!(
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
        ConfigKind::long_from(1),
        Some("10000"),
        "The longest wait before keys that couldn't be read are asked for again, in ms; as long is \
         waited between two readings for the sake of missed keys.",
        "Kafka's."
    ),
    security_config!(
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
        ConfigKind::long_from(1),
        Some("100"),
        "The first such wait, in ms; each is twice the one before.",
        "Kafka's."
    ),
    security_config!(
        "sasl.oauthbearer.jwks.endpoint.url",
        ConfigKind::Text,
        None,
        "Where the keys are that tokens are signed with (a JSON Web Key Set): https://, http:// or \
         file://.",
        "OAUTHBEARER needs it, or says so."
    ),
    security_config!(
        "sasl.oauthbearer.scope.claim.name",
        ConfigKind::Text,
        Some("scope"),
        "The claim of a token that has its scopes: a text or a list, if it is there.",
        "Kafka's."
    ),
    security_config!(
        "sasl.oauthbearer.sub.claim.name",
        ConfigKind::Text,
        Some("sub"),
        "The claim of a token that names the user.",
        "Kafka's."
    ),
    security_config!(
        "sasl.server.callback.handler.class",
        ConfigKind::Choice(&[SIGNED_TOKENS, SIGNED_TOKENS_BEFORE, UNSIGNED_TOKENS]),
        Some(SIGNED_TOKENS),
        "What checks the tokens of OAUTHBEARER: the keys of sasl.oauthbearer.jwks.endpoint.url, or \
         nothing, so that everybody is who they say they are, for tests.",
        "Kafka's own default takes tokens that nobody signed."
    ),
    security_config!(
        "sasl.server.max.receive.size",
        ConfigKind::Int { min: 1024, max: 524_288 },
        Some("65536"),
        "The largest request of a client that has not logged in yet, in bytes.",
        "64 KiB: a login takes less than one; Kafka's 512 KiB are a gift to strangers."
    ),
    security_config!(
        "ssl.client.auth",
        ConfigKind::Choice(&["none", "requested", "required"]),
        Some("none"),
        "Whether clients are asked for a certificate of their own, and let in without one.",
        "Kafka's."
    ),
    security_config!(
        "ssl.enabled.protocols",
        ConfigKind::List(&["TLSv1.2", "TLSv1.3"]),
        Some("TLSv1.3"),
        "The versions of TLS that are spoken.",
        "Every client of the last years has 1.3; 1.2 is here for those that haven't."
    ),
    security_config!(
        "ssl.key.password",
        ConfigKind::Password,
        None,
        "The password of the broker's key, if it is encrypted.",
        "Most keys aren't."
    ),
    security_config!(
        "ssl.keystore.certificate.chain",
        ConfigKind::Password,
        None,
        "The broker's certificates, its own first, as PEM; with ssl.keystore.key, not a file.",
        "Unset in Kafka."
    ),
    security_config!(
        "ssl.keystore.key",
        ConfigKind::Password,
        None,
        "The broker's key, as PEM; with ssl.keystore.certificate.chain instead of a file.",
        "Unset in Kafka."
    ),
    security_config!(
        "ssl.keystore.location",
        ConfigKind::Text,
        None,
        "The PEM file with the broker's key and certificates; read again when it changes.",
        "A listener with TLS needs one, and says so."
    ),
    security_config!(
        "ssl.keystore.type",
        ConfigKind::Choice(&["PEM"]),
        Some("PEM"),
        "The format of the keystore.",
        "Only PEM is read; keytool and openssl convert Java's formats (docs/security.md)."
    ),
    security_config!(
        "ssl.principal.mapping.rules",
        ConfigKind::Text,
        Some("DEFAULT"),
        "How the name in a client's certificate becomes a user: RULE:pattern/replacement/[LU], \
         separated by commas, the first that matches; DEFAULT takes it as it is.",
        "Kafka's."
    ),
    security_config!(
        "ssl.truststore.certificates",
        ConfigKind::Password,
        None,
        "The authorities whose clients are trusted, as PEM; instead of a file.",
        "Unset in Kafka."
    ),
    security_config!(
        "ssl.truststore.location",
        ConfigKind::Text,
        None,
        "The PEM file of the authorities whose clients are trusted; read again when it changes.",
        "Needed where clients are asked for certificates."
    ),
    security_config!(
        "ssl.truststore.type",
        ConfigKind::Choice(&["PEM"]),
        Some("PEM"),
        "The format of the truststore.",
        "As of the keystore."
    ),
    security_config!(
        "streamledger.handshake.timeout.ms",
        ConfigKind::Int { min: 1, max: i32::MAX },
        Some("10000"),
        "TLS must be agreed on, and then the login be done, each in this long, in ms.",
        "Both take milliseconds; who needs longer holds a place for nothing."
    ),
    security_config!(
        "super.users",
        ConfigKind::Text,
        None,
        "Who may do everything, whatever ACLs say: User:NAME, separated by semicolons.",
        "None in Kafka either; somebody has to make the first ACLs. Needs authorizer.class.name."
    ),
];

/// Whether a setting can be given for one listener alone.
#[must_use]
pub fn is_listener_config(name: &str) -> bool {
    name.starts_with("ssl.") || name.starts_with("sasl.") || name == "connections.max.reauth.ms"
}

/// A setting that is given for one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerSetting<'a> {
    /// The listener's name, in lower case.
    pub listener: &'a str,
    /// The setting's own name.
    pub name: &'a str,
    /// The mechanism a login module or a handler is for, in lower case.
    pub mechanism: Option<&'a str>,
}

/// Reads `listener.name.NAME.setting`, and for a login module or a handler
/// `listener.name.NAME.MECHANISM.setting`; `None` for any other name.
#[must_use]
pub fn listener_setting(name: &str) -> Option<ListenerSetting<'_>> {
    let (listener, name) = name.strip_prefix(PREFIX)?.split_once('.')?;
    let is_mechanism =
        |word: &str| SASL_MECHANISMS.iter().any(|known| known.eq_ignore_ascii_case(word));
    match name.split_once('.') {
        Some((mechanism, own @ (JAAS | HANDLER))) if is_mechanism(mechanism) => {
            Some(ListenerSetting { listener, name: own, mechanism: Some(mechanism) })
        }
        _ => Some(ListenerSetting { listener, name, mechanism: None }),
    }
}

/// The row of a setting about security, by its own name or as a listener's.
pub(super) fn security_config(name: &str) -> Option<&'static ConfigSpec> {
    let own = match listener_setting(name) {
        Some(setting) if is_listener_config(setting.name) => setting.name,
        Some(_) => return None,
        None => name,
    };
    SECURITY_CONFIGS.iter().find(|spec| spec.name == own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BrokerConfigs, check_broker_config, is_secret};

    #[test]
    fn rows_are_in_order_of_name_and_every_default_passes_its_own_check() {
        assert!(SECURITY_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
        for spec in SECURITY_CONFIGS {
            if let Some(default) = spec.default {
                assert!(check_broker_config(spec.name, default).is_ok(), "{}", spec.name);
            }
            assert!(!spec.doc.is_empty() && !spec.why.is_empty());
        }
    }

    #[test]
    fn a_listener_has_settings_of_its_own_and_others_have_not() {
        assert!(check_broker_config("listener.name.x.ssl.client.auth", "required").is_ok());
        assert!(check_broker_config("listener.name.x.ssl.client.auth", "maybe").is_err());
        assert!(check_broker_config("listener.name.x.plain.sasl.jaas.config", "A;").is_ok());
        assert!(check_broker_config("listener.name.x.gssapi.sasl.jaas.config", "A;").is_err());
        assert!(check_broker_config("listener.name.x.num.partitions", "3").is_err());
        let setting = listener_setting("listener.name.x.scram-sha-256.sasl.jaas.config").unwrap();
        assert_eq!((setting.listener, setting.mechanism), ("x", Some("scram-sha-256")));
        assert_eq!(listener_setting("listeners"), None);
    }

    #[test]
    fn a_secret_is_known_by_its_name_and_never_shown() {
        let jaas = "listener.name.x.plain.sasl.jaas.config";
        assert!(is_secret(jaas) && is_secret("ssl.key.password"));
        assert!(!is_secret("ssl.keystore.location") && !is_secret("listener.name.x.nothing"));
        let mut configs = BrokerConfigs::default();
        configs.at_start.insert("ssl.key.password".to_owned(), "hunter2".to_owned());
        configs.at_start.insert(jaas.to_owned(), "hunter2".to_owned());
        let entries = configs.entries();
        let entry = entries.iter().find(|entry| entry.name == "ssl.key.password").unwrap();
        assert_eq!((entry.value.as_deref(), entry.synonyms.len()), (None, 0));
        configs.hide_secrets();
        assert!(!format!("{configs:?} {entries:?}").contains("hunter2"));
    }
}
