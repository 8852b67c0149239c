//! Settings of every client for encryption and login. None has an effect yet: what asks for either
//! is refused, so that nobody sends in the clear what was meant to be secret.

use super::settings_without_effect;
use crate::config::spec::{ANY_INT, ANY_LONG, EVERY_CLIENT, SettingType, Support, WhenSet};

settings_without_effect! {
    /// The rows.
    const SPECS;

    "security.protocol", EVERY_CLIENT,
    SettingType::ChoiceAnyCase(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
    default "PLAINTEXT", Medium;
    does "Whether connections are encrypted (SSL) and whether the client logs in (SASL).";
    why "it is what a broker on one's own machine speaks.";
    support PROTOCOL;

    "security.providers", EVERY_CLIENT, SettingType::Text, default nothing, Low;
    does "Java classes that bring further algorithms.";
    why "Java has what most need.";
    support JAVA;

    "ssl.protocol", EVERY_CLIENT, SettingType::Text, default "TLSv1.3", Medium;
    does "The newest TLS version to offer.";
    why "it is the newest there is.";
    support TLS;

    "ssl.enabled.protocols", EVERY_CLIENT, SettingType::List, default "TLSv1.2,TLSv1.3", Medium;
    does "The TLS versions to accept.";
    why "older versions are broken.";
    support TLS;

    "ssl.cipher.suites", EVERY_CLIENT, SettingType::List, default "", Low;
    does "The cipher suites to offer.";
    why "all that the TLS library thinks safe.";
    support TLS;

    "ssl.endpoint.identification.algorithm", EVERY_CLIENT, SettingType::Text, default "https", Low;
    does "Whether the broker's certificate must carry the name that was connected to.";
    why "else anyone with a certificate could answer.";
    support TLS;

    "ssl.truststore.type", EVERY_CLIENT, SettingType::Text, default "JKS", Medium;
    does "The format of the truststore.";
    why "it is Java's own.";
    support TLS;

    "ssl.truststore.location", EVERY_CLIENT, SettingType::Text, default nothing, High;
    does "The file with the authorities that are trusted.";
    why "without it those of the system are.";
    support TLS;

    "ssl.truststore.password", EVERY_CLIENT, SettingType::Password, default nothing, High;
    does "The password of the truststore.";
    why "authorities are no secret.";
    support TLS;

    "ssl.truststore.certificates", EVERY_CLIENT, SettingType::Password, default nothing, High;
    does "The authorities that are trusted, as PEM.";
    why "without them those of the system are.";
    support TLS;

    "ssl.keystore.type", EVERY_CLIENT, SettingType::Text, default "JKS", Medium;
    does "The format of the keystore.";
    why "it is Java's own.";
    support TLS;

    "ssl.keystore.location", EVERY_CLIENT, SettingType::Text, default nothing, High;
    does "The file with the client's own key and certificate.";
    why "most brokers ask for none.";
    support TLS;

    "ssl.keystore.password", EVERY_CLIENT, SettingType::Password, default nothing, High;
    does "The password of the keystore.";
    why "a password belongs to its file.";
    support TLS;

    "ssl.keystore.key", EVERY_CLIENT, SettingType::Password, default nothing, High;
    does "The client's own key, as PEM.";
    why "most brokers ask for none.";
    support TLS;

    "ssl.keystore.certificate.chain", EVERY_CLIENT, SettingType::Password, default nothing, High;
    does "The client's own certificates, as PEM.";
    why "most brokers ask for none.";
    support TLS;

    "ssl.key.password", EVERY_CLIENT, SettingType::Password, default nothing, High;
    does "The password of the client's own key.";
    why "a password belongs to its key.";
    support TLS;

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

    "sasl.mechanism", EVERY_CLIENT, SettingType::Text, default "GSSAPI", Medium;
    does "How the client logs in.";
    why "Kerberos was Kafka's first mechanism.";
    support SASL;

    "sasl.jaas.config", EVERY_CLIENT, SettingType::Password, default nothing, Medium;
    does "Who logs in, in Java's JAAS syntax.";
    why "nobody can know your user.";
    support SASL;

    "sasl.client.callback.handler.class", EVERY_CLIENT, SettingType::Class, default nothing, Medium;
    does "A Java class that answers the mechanism's questions.";
    why "each mechanism has one.";
    support JAVA;

    "sasl.login.callback.handler.class", EVERY_CLIENT, SettingType::Class, default nothing, Medium;
    does "A Java class that answers the login's questions.";
    why "each mechanism has one.";
    support JAVA;

    "sasl.login.class", EVERY_CLIENT, SettingType::Class, default nothing, Medium;
    does "A Java class that logs in.";
    why "each mechanism has one.";
    support JAVA;

    "sasl.login.connect.timeout.ms", EVERY_CLIENT, ANY_INT, default nothing, Low;
    does "How long connecting to the login's server may take.";
    why "Java's own limit holds.";
    support OAUTH;

    "sasl.login.read.timeout.ms", EVERY_CLIENT, ANY_INT, default nothing, Low;
    does "How long reading from the login's server may take.";
    why "Java's own limit holds.";
    support OAUTH;

    "sasl.login.retry.backoff.ms", EVERY_CLIENT, ANY_LONG, default "100", Low;
    does "How long to wait before asking the login's server again.";
    why "a server in trouble is not asked in a loop.";
    support OAUTH;

    "sasl.login.retry.backoff.max.ms", EVERY_CLIENT, ANY_LONG, default "10000", Low;
    does "The longest wait before asking the login's server again.";
    why "a server that returns is found within ten seconds.";
    support OAUTH;

    "sasl.login.refresh.window.factor", EVERY_CLIENT, SettingType::Double(0.5, 1.0),
    default "0.8", Low;
    does "At which part of a token's life a new one is asked for.";
    why "a fifth of its life is left for trouble.";
    support OAUTH;

    "sasl.login.refresh.window.jitter", EVERY_CLIENT, SettingType::Double(0.0, 0.25),
    default "0.05", Low;
    does "The random part of that moment.";
    why "clients that started together don't ask together.";
    support OAUTH;

    "sasl.login.refresh.min.period.seconds", EVERY_CLIENT, SettingType::Short(0, 900),
    default "60", Low;
    does "The shortest time between two tokens.";
    why "a short-lived token doesn't make a flood.";
    support OAUTH;

    "sasl.login.refresh.buffer.seconds", EVERY_CLIENT, SettingType::Short(0, 3_600),
    default "300", Low;
    does "How long before its end a token is replaced at the latest.";
    why "five minutes survive a restart of the server.";
    support OAUTH;

    "sasl.oauthbearer.token.endpoint.url", EVERY_CLIENT, SettingType::Text, default nothing, Medium;
    does "Where tokens are asked for.";
    why "each provider has its own.";
    support OAUTH;

    "sasl.oauthbearer.scope", EVERY_CLIENT, SettingType::Text, default nothing, Medium;
    does "The scope a token is asked for.";
    why "not every provider has scopes.";
    support OAUTH;

    "sasl.oauthbearer.client.credentials.client.id", EVERY_CLIENT, SettingType::Text,
    default nothing, Medium;
    does "The client's name at the provider (KIP-1258).";
    why "nobody can know your client.";
    support OAUTH;

    "sasl.oauthbearer.client.credentials.client.secret", EVERY_CLIENT, SettingType::Password,
    default nothing, Medium;
    does "The client's secret at the provider (KIP-1258).";
    why "nobody may know your secret.";
    support OAUTH;

    "sasl.oauthbearer.assertion.algorithm", EVERY_CLIENT,
    SettingType::ChoiceAnyCase(&["ES256", "RS256"]),
    default "RS256", Medium;
    does "How an assertion is signed (KIP-1258).";
    why "every provider knows it.";
    support OAUTH;

    "sasl.oauthbearer.assertion.claim.aud", EVERY_CLIENT, SettingType::Text,
    default nothing, Medium;
    does "For whom an assertion is meant.";
    why "each provider has its own.";
    support OAUTH;

    "sasl.oauthbearer.assertion.claim.exp.seconds", EVERY_CLIENT, SettingType::Int(0, 86_400),
    default "300", Low;
    does "How long an assertion holds.";
    why "five minutes of clock skew are allowed for.";
    support OAUTH;

    "sasl.oauthbearer.assertion.claim.iss", EVERY_CLIENT, SettingType::Text,
    default nothing, Medium;
    does "Who made an assertion.";
    why "nobody can know your client.";
    support OAUTH;

    "sasl.oauthbearer.assertion.claim.jti.include", EVERY_CLIENT, SettingType::Boolean,
    default "false", Medium;
    does "Whether an assertion carries a number of its own.";
    why "few providers ask for it.";
    support OAUTH;

    "sasl.oauthbearer.assertion.claim.nbf.seconds", EVERY_CLIENT, SettingType::Int(0, 3_600),
    default "60", Low;
    does "How long before its making an assertion holds.";
    why "a minute of clock skew is allowed for.";
    support OAUTH;

    "sasl.oauthbearer.assertion.claim.sub", EVERY_CLIENT, SettingType::Text,
    default nothing, Medium;
    does "Whom an assertion is about.";
    why "nobody can know your client.";
    support OAUTH;

    "sasl.oauthbearer.assertion.file", EVERY_CLIENT, SettingType::Text, default nothing, Medium;
    does "A file with an assertion made elsewhere.";
    why "most are made by the client.";
    support OAUTH;

    "sasl.oauthbearer.assertion.private.key.file", EVERY_CLIENT, SettingType::Text,
    default nothing, Medium;
    does "The key that signs assertions.";
    why "nobody can know your key.";
    support OAUTH;

    "sasl.oauthbearer.assertion.private.key.passphrase", EVERY_CLIENT, SettingType::Password,
    default nothing, Medium;
    does "The passphrase of that key.";
    why "a passphrase belongs to its key.";
    support OAUTH;

    "sasl.oauthbearer.assertion.template.file", EVERY_CLIENT, SettingType::Text,
    default nothing, Medium;
    does "A file with further claims of an assertion.";
    why "most need no more.";
    support OAUTH;

    "sasl.oauthbearer.header.urlencode", EVERY_CLIENT, SettingType::Boolean, default "false", Low;
    does "Whether client name and secret are URL-encoded in the request for a token.";
    why "Kafka's first release of it did without.";
    support OAUTH;

    "sasl.oauthbearer.scope.claim.name", EVERY_CLIENT, SettingType::Text, default "scope", Low;
    does "The claim of a token that holds its scope.";
    why "it is the usual name.";
    support OAUTH;

    "sasl.oauthbearer.sub.claim.name", EVERY_CLIENT, SettingType::Text, default "sub", Low;
    does "The claim of a token that holds its subject.";
    why "it is the usual name.";
    support OAUTH;

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
    SettingType::Double(f64::MIN, f64::MAX),
    default "0.8", Low;
    does "At which part of a ticket's life it is renewed.";
    why "a fifth of its life is left for trouble.";
    support KERBEROS;
}

const PROTOCOL: Support = Support::NotYet(
    "TLS and SASL are not built in yet; only PLAINTEXT is, for a broker that has such a listener",
    WhenSet::Refuse,
);
// Beside security.protocol=PLAINTEXT these have no effect in Java either.
const TLS: Support = Support::NotYet("TLS is not built in yet", WhenSet::Note);
const SASL: Support = Support::NotYet("SASL is not built in yet", WhenSet::Note);
const OAUTH: Support = Support::NotYet("SASL/OAUTHBEARER is not built in yet", WhenSet::Note);
const JAVA: Support =
    Support::Never("it names a part of Java, which this client does not have", WhenSet::Note);
const BROKERS: Support =
    Support::Never("a token is checked by brokers, not by their clients", WhenSet::Note);
const KERBEROS: Support = Support::Never(
    "Kerberos (GSSAPI) needs a C library; SCRAM and OAUTHBEARER will be there without one",
    WhenSet::Note,
);
