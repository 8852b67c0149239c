//! Settings of every client for encryption (`ssl.*`) and login (`sasl.*`).

use std::time::Duration;

use super::{settings, settings_without_effect};
use crate::config::Password;
use crate::config::builder::ConfigBuilder;
use crate::config::error::ConfigError;
use crate::config::properties::Properties;
use crate::config::resolve::Resolved;
use crate::config::spec::{
    ANY_INT, ANY_LONG, ClientKind, EVERY_CLIENT, SettingType, Support, WhenSet,
};
use crate::config::value::SecurityProtocol;

settings! {
    /// Settings of every client for encryption and login.
    struct SecuritySettings;
    setters [S] ConfigBuilder<S>;

    security_protocol: SecurityProtocol, set by SecurityProtocol,
    "security.protocol", EVERY_CLIENT,
    SettingType::ChoiceAnyCase(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
    default "PLAINTEXT", Medium;
    does "Whether connections are encrypted (SSL) and whether the client logs in (SASL).";
    why "it is what a broker on one's own machine speaks.";

    ssl_protocol: String, set by &str,
    "ssl.protocol", EVERY_CLIENT, SettingType::Text, default "TLSv1.3", Medium;
    does "The newest TLS version to offer: TLSv1.3, TLSv1.2, or TLS for the newest there is.";
    why "it is the newest there is.";

    ssl_enabled_protocols: Vec<String>, set by &str,
    "ssl.enabled.protocols", EVERY_CLIENT, SettingType::List, default "TLSv1.2,TLSv1.3", Medium;
    does "The TLS versions to accept.";
    why "older versions are broken.";

    ssl_cipher_suites: Vec<String>, set by &str,
    "ssl.cipher.suites", EVERY_CLIENT, SettingType::List, default "", Low;
    does "The cipher suites to offer, by their IANA names; empty for all.";
    why "those that are built in are all thought safe.";

    ssl_endpoint_identification_algorithm: Option<String>, set by &str,
    "ssl.endpoint.identification.algorithm", EVERY_CLIENT, SettingType::Text, default "https", Low;
    does "https: the broker's certificate must carry the name that was connected to. Empty: any \
        name will do.";
    why "else anyone with a certificate could answer.";

    ssl_truststore_type: String, set by &str,
    "ssl.truststore.type", EVERY_CLIENT, SettingType::Text, default "JKS", Medium;
    does "The format of the truststore: PEM. JKS and PKCS12 are refused, with the command that \
        converts.";
    why "it is Java's own; a file that holds PEM is read whatever this says.";

    ssl_truststore_location: Option<String>, set by &str,
    "ssl.truststore.location", EVERY_CLIENT, SettingType::Text, default nothing, High;
    does "The PEM file with the authorities that are trusted; read again when it changes.";
    why "without it those of the system are.";

    ssl_truststore_password: Option<Password>, set by Password,
    "ssl.truststore.password", EVERY_CLIENT, SettingType::Password, default nothing, High;
    does "The password of the truststore. PEM has none.";
    why "authorities are no secret.";

    ssl_truststore_certificates: Option<Password>, set by Password,
    "ssl.truststore.certificates", EVERY_CLIENT, SettingType::Password, default nothing, High;
    does "The authorities that are trusted, as PEM.";
    why "without them those of the system are.";

    ssl_keystore_type: String, set by &str,
    "ssl.keystore.type", EVERY_CLIENT, SettingType::Text, default "JKS", Medium;
    does "The format of the keystore: PEM. JKS and PKCS12 are refused, with the command that \
        converts.";
    why "it is Java's own; a file that holds PEM is read whatever this says.";

    ssl_keystore_location: Option<String>, set by &str,
    "ssl.keystore.location", EVERY_CLIENT, SettingType::Text, default nothing, High;
    does "The PEM file with the client's own key and certificates; read again when it changes.";
    why "most brokers ask for none.";

    ssl_keystore_password: Option<Password>, set by Password,
    "ssl.keystore.password", EVERY_CLIENT, SettingType::Password, default nothing, High;
    does "The password of the keystore. PEM has none; see ssl.key.password.";
    why "a password belongs to its file.";

    ssl_keystore_key: Option<Password>, set by Password,
    "ssl.keystore.key", EVERY_CLIENT, SettingType::Password, default nothing, High;
    does "The client's own key, as PEM: PKCS#8, also encrypted, PKCS#1 or SEC1.";
    why "most brokers ask for none.";

    ssl_keystore_certificate_chain: Option<Password>, set by Password,
    "ssl.keystore.certificate.chain", EVERY_CLIENT, SettingType::Password, default nothing, High;
    does "The client's own certificates, as PEM.";
    why "most brokers ask for none.";

    ssl_key_password: Option<Password>, set by Password,
    "ssl.key.password", EVERY_CLIENT, SettingType::Password, default nothing, High;
    does "The password of the client's own key, if that is encrypted (PKCS#8).";
    why "a password belongs to its key.";

    sasl_mechanism: String, set by &str,
    "sasl.mechanism", EVERY_CLIENT, SettingType::Text, default "GSSAPI", Medium;
    does "How the client logs in: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.";
    why "Kerberos was Kafka's first mechanism; it is refused here, so name another.";

    sasl_jaas_config: Option<Password>, set by Password,
    "sasl.jaas.config", EVERY_CLIENT, SettingType::Password, default nothing, Medium;
    does "Who logs in, in Java's JAAS syntax.";
    why "nobody can know your user.";

    sasl_login_connect_timeout: Option<Duration>, set by Duration,
    "sasl.login.connect.timeout.ms", EVERY_CLIENT, ANY_INT, default nothing, Low;
    does "How long connecting to the token endpoint may take; 10 s if it isn't set.";
    why "a server that answers at all answers in that time.";

    sasl_login_read_timeout: Option<Duration>, set by Duration,
    "sasl.login.read.timeout.ms", EVERY_CLIENT, ANY_INT, default nothing, Low;
    does "How long the token endpoint's answer may take; 10 s if it isn't set.";
    why "a server that answers at all answers in that time.";

    sasl_login_retry_backoff: Duration, set by Duration,
    "sasl.login.retry.backoff.ms", EVERY_CLIENT, ANY_LONG, default "100", Low;
    does "How long to wait before asking the login's server again.";
    why "a server in trouble is not asked in a loop.";

    sasl_login_retry_backoff_max: Duration, set by Duration,
    "sasl.login.retry.backoff.max.ms", EVERY_CLIENT, ANY_LONG, default "10000", Low;
    does "The longest wait before asking the login's server again.";
    why "a server that returns is found within ten seconds.";

    sasl_login_refresh_window_factor: f64, set by f64,
    "sasl.login.refresh.window.factor", EVERY_CLIENT, SettingType::Double(0.5, 1.0),
    default "0.8", Low;
    does "At which part of its life a token is replaced when it is next needed.";
    why "a fifth of its life is left for trouble.";

    sasl_login_refresh_window_jitter: f64, set by f64,
    "sasl.login.refresh.window.jitter", EVERY_CLIENT, SettingType::Double(0.0, 0.25),
    default "0.05", Low;
    does "The random part of that moment.";
    why "clients that started together don't ask together.";

    sasl_login_refresh_min_period_seconds: u16, set by u16,
    "sasl.login.refresh.min.period.seconds", EVERY_CLIENT, SettingType::Short(0, 900),
    default "60", Low;
    does "The shortest time between two tokens.";
    why "a short-lived token doesn't make a flood.";

    sasl_login_refresh_buffer_seconds: u16, set by u16,
    "sasl.login.refresh.buffer.seconds", EVERY_CLIENT, SettingType::Short(0, 3_600),
    default "300", Low;
    does "How long before its end a token is replaced at the latest.";
    why "five minutes survive a restart of the server.";

    sasl_oauthbearer_token_endpoint_url: Option<String>, set by &str,
    "sasl.oauthbearer.token.endpoint.url", EVERY_CLIENT, SettingType::Text, default nothing, Medium;
    does "Where tokens are asked for (client credentials): https, http, or a file: with the \
        token itself.";
    why "each provider has its own.";

    sasl_oauthbearer_scope: Option<String>, set by &str,
    "sasl.oauthbearer.scope", EVERY_CLIENT, SettingType::Text, default nothing, Medium;
    does "The scope a token is asked for.";
    why "not every provider has scopes.";

    sasl_oauthbearer_client_credentials_client_id: Option<String>, set by &str,
    "sasl.oauthbearer.client.credentials.client.id", EVERY_CLIENT, SettingType::Text,
    default nothing, Medium;
    does "The client's name at the provider (KIP-1258).";
    why "nobody can know your client.";

    sasl_oauthbearer_client_credentials_client_secret: Option<Password>, set by Password,
    "sasl.oauthbearer.client.credentials.client.secret", EVERY_CLIENT, SettingType::Password,
    default nothing, Medium;
    does "The client's secret at the provider (KIP-1258).";
    why "nobody may know your secret.";

    sasl_oauthbearer_header_urlencode: bool, set by bool,
    "sasl.oauthbearer.header.urlencode", EVERY_CLIENT, SettingType::Boolean, default "false", Low;
    does "Whether client name and secret are URL-encoded in the request for a token.";
    why "Kafka's first release of it did without.";

    sasl_oauthbearer_scope_claim_name: String, set by &str,
    "sasl.oauthbearer.scope.claim.name", EVERY_CLIENT, SettingType::Text, default "scope", Low;
    does "The claim of a token that holds its scope; used for the unsecured tokens of tests.";
    why "it is the usual name.";

    sasl_oauthbearer_sub_claim_name: String, set by &str,
    "sasl.oauthbearer.sub.claim.name", EVERY_CLIENT, SettingType::Text, default "sub", Low;
    does "The claim of a token that holds its subject; used for the unsecured tokens of tests.";
    why "it is the usual name.";
}

impl SecuritySettings {
    /// Reads them alone, for what isn't a broker.
    pub(crate) fn from_properties(properties: &Properties) -> Result<Self, ConfigError> {
        Self::read(&Resolved::new(properties, ClientKind::Admin)?)
    }
}

settings_without_effect! {
    /// Those of Java's, of Kerberos and of what isn't there yet.
    const WITHOUT_EFFECT;

    "security.providers", EVERY_CLIENT, SettingType::Text, default nothing, Low;
    does "Java classes that bring further algorithms.";
    why "Java has what most need.";
    support JAVA;

    "ssl.engine.factory.class", EVERY_CLIENT, SettingType::Class, default nothing, Low;
    does "A Java class that makes TLS engines.";
    why "Java has one.";
    support JAVA;

    "ssl.keymanager.algorithm", EVERY_CLIENT, SettingType::Text, default "SunX509", Low;
    does "Java's way to choose the client's key.";
    why "it is Java's own.";
    support JAVA;

    "ssl.trustmanager.algorithm", EVERY_CLIENT, SettingType::Text, default "PKIX", Low;
    does "Java's way to check certificates.";
    why "it is Java's own.";
    support JAVA;

    "ssl.provider", EVERY_CLIENT, SettingType::Text, default nothing, Medium;
    does "Java's provider of TLS.";
    why "it is Java's own.";
    support JAVA;

    "ssl.secure.random.implementation", EVERY_CLIENT, SettingType::Text, default nothing, Low;
    does "Java's source of random numbers.";
    why "it is Java's own.";
    support JAVA;

    "sasl.client.callback.handler.class", EVERY_CLIENT, SettingType::Class, default nothing, Medium;
    does "A Java class that answers the mechanism's questions.";
    why "each mechanism has one.";
    support JAVA;

    "sasl.login.callback.handler.class", EVERY_CLIENT, SettingType::Class, default nothing, Medium;
    does "A Java class that answers the login's questions.";
    why "each mechanism has one.";
    support HANDLER;

    "sasl.login.class", EVERY_CLIENT, SettingType::Class, default nothing, Medium;
    does "A Java class that logs in.";
    why "each mechanism has one.";
    support JAVA;

    "sasl.oauthbearer.assertion.algorithm", EVERY_CLIENT,
    SettingType::ChoiceAnyCase(&["ES256", "RS256"]), default "RS256", Medium;
    does "How an assertion is signed (KIP-1258).";
    why "every provider knows it.";
    support ASSERTIONS;

    "sasl.oauthbearer.assertion.claim.aud", EVERY_CLIENT, SettingType::Text,
    default nothing, Medium;
    does "For whom an assertion is meant.";
    why "each provider has its own.";
    support ASSERTIONS;

    "sasl.oauthbearer.assertion.claim.exp.seconds", EVERY_CLIENT, SettingType::Int(0, 86_400),
    default "300", Low;
    does "How long an assertion holds.";
    why "five minutes of clock skew are allowed for.";
    support ASSERTIONS;

    "sasl.oauthbearer.assertion.claim.iss", EVERY_CLIENT, SettingType::Text,
    default nothing, Medium;
    does "Who made an assertion.";
    why "nobody can know your client.";
    support ASSERTIONS;

    "sasl.oauthbearer.assertion.claim.jti.include", EVERY_CLIENT, SettingType::Boolean,
    default "false", Medium;
    does "Whether an assertion carries a number of its own.";
    why "few providers ask for it.";
    support ASSERTIONS;

    "sasl.oauthbearer.assertion.claim.nbf.seconds", EVERY_CLIENT, SettingType::Int(0, 3_600),
    default "60", Low;
    does "How long before its making an assertion holds.";
    why "a minute of clock skew is allowed for.";
    support ASSERTIONS;

    "sasl.oauthbearer.assertion.claim.sub", EVERY_CLIENT, SettingType::Text,
    default nothing, Medium;
    does "Whom an assertion is about.";
    why "nobody can know your client.";
    support ASSERTIONS;

    "sasl.oauthbearer.assertion.file", EVERY_CLIENT, SettingType::Text, default nothing, Medium;
    does "A file with an assertion made elsewhere.";
    why "most are made by the client.";
    support ASSERTIONS;

    "sasl.oauthbearer.assertion.private.key.file", EVERY_CLIENT, SettingType::Text,
    default nothing, Medium;
    does "The key that signs assertions.";
    why "nobody can know your key.";
    support ASSERTIONS;

    "sasl.oauthbearer.assertion.private.key.passphrase", EVERY_CLIENT, SettingType::Password,
    default nothing, Medium;
    does "The passphrase of that key.";
    why "a passphrase belongs to its key.";
    support ASSERTIONS;

    "sasl.oauthbearer.assertion.template.file", EVERY_CLIENT, SettingType::Text,
    default nothing, Medium;
    does "A file with further claims of an assertion.";
    why "most need no more.";
    support ASSERTIONS;

    "sasl.oauthbearer.jwt.retriever.class", EVERY_CLIENT, SettingType::Class,
    default "class org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever", Medium;
    does "A Java class that gets tokens.";
    why "it finds the right one by the other settings.";
    support JAVA;

    "sasl.oauthbearer.jwt.validator.class", EVERY_CLIENT, SettingType::Class,
    default "class org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator", Medium;
    does "A Java class that checks tokens.";
    why "it finds the right one by the other settings.";
    support JAVA;

    "sasl.oauthbearer.clock.skew.seconds", EVERY_CLIENT, ANY_INT, default "30", Low;
    does "By how much clocks may differ when a token is checked.";
    why "it matters to brokers.";
    support BROKERS;

    "sasl.oauthbearer.expected.audience", EVERY_CLIENT, SettingType::List, default "", Low;
    does "For whom a token must be meant.";
    why "it matters to brokers.";
    support BROKERS;

    "sasl.oauthbearer.expected.issuer", EVERY_CLIENT, SettingType::Text, default nothing, Low;
    does "Who must have made a token.";
    why "it matters to brokers.";
    support BROKERS;

    "sasl.oauthbearer.jwks.endpoint.url", EVERY_CLIENT, SettingType::Text, default nothing, Medium;
    does "Where the keys are that sign tokens.";
    why "it matters to brokers.";
    support BROKERS;

    "sasl.oauthbearer.jwks.endpoint.refresh.ms", EVERY_CLIENT, ANY_LONG, default "3600000", Low;
    does "How often those keys are read again.";
    why "it matters to brokers.";
    support BROKERS;

    "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", EVERY_CLIENT, ANY_LONG, default "100", Low;
    does "How long to wait before reading those keys again.";
    why "it matters to brokers.";
    support BROKERS;

    "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", EVERY_CLIENT, ANY_LONG,
    default "10000", Low;
    does "The longest wait before reading those keys again.";
    why "it matters to brokers.";
    support BROKERS;

    "sasl.kerberos.service.name", EVERY_CLIENT, SettingType::Text, default nothing, Medium;
    does "The brokers' name in Kerberos.";
    why "nobody can know it.";
    support KERBEROS;

    "sasl.kerberos.kinit.cmd", EVERY_CLIENT, SettingType::Text, default "/usr/bin/kinit", Low;
    does "The command that logs in to Kerberos.";
    why "it is where most systems have it.";
    support KERBEROS;

    "sasl.kerberos.min.time.before.relogin", EVERY_CLIENT, ANY_LONG, default "60000", Low;
    does "The shortest time between two logins.";
    why "a server in trouble is not asked in a loop.";
    support KERBEROS;

    "sasl.kerberos.ticket.renew.jitter", EVERY_CLIENT, SettingType::Double(f64::MIN, f64::MAX),
    default "0.05", Low;
    does "The random part of the moment a ticket is renewed.";
    why "clients that started together don't ask together.";
    support KERBEROS;

    "sasl.kerberos.ticket.renew.window.factor", EVERY_CLIENT,
    SettingType::Double(f64::MIN, f64::MAX), default "0.8", Low;
    does "At which part of a ticket's life it is renewed.";
    why "a fifth of its life is left for trouble.";
    support KERBEROS;
}

const ASSERTIONS: Support = Support::NotYet(
    "tokens are asked for by client id and secret, not by a signed assertion (KIP-1258)",
    WhenSet::Note,
);
const HANDLER: Support = Support::NotNeeded(
    "the token's source follows from sasl.oauthbearer.token.endpoint.url, or is given to the \
     builder (`token_provider`)",
);
const JAVA: Support =
    Support::Never("it names a part of Java, which this client does not have", WhenSet::Note);
const BROKERS: Support =
    Support::Never("a token is checked by brokers, not by their clients", WhenSet::Note);
const KERBEROS: Support = Support::Never(
    "Kerberos (GSSAPI) needs a C library; SCRAM and OAUTHBEARER do without one",
    WhenSet::Note,
);
