//! TLS by `ssl.*` settings: what is offered, who is trusted, and files that are read again when
//! they change.

mod store;
mod trouble;
mod verifier;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, SupportedCipherSuite, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::store::{IdentitySource, Stamp, TrustSource};
use self::verifier::BrokerVerifier;
use super::NetworkErrorKind;
use super::backend::default_provider;
use crate::config::{ConfigError, Password, SecuritySettings};

pub(super) use trouble::explain;

/// What makes connections secret, and brokers and clients known to each other.
pub(crate) struct Tls {
    offer: Offer,
    trust: TrustSource,
    identity: IdentitySource,
    key_password: Option<Password>,
    loaded: Mutex<Loaded>,
}

/// What doesn't change with the files.
struct Offer {
    versions: Vec<&'static SupportedProtocolVersion>,
    provider: Arc<CryptoProvider>,
    checks_name: bool,
}

/// What was read last, and from what.
struct Loaded {
    client: Arc<ClientConfig>,
    stamps: Vec<Stamp>,
}

impl Tls {
    /// Reads the settings, and the files that they name.
    ///
    /// # Errors
    /// A setting or a file can't be used; the sentence says what to do.
    pub(crate) fn new(settings: &SecuritySettings) -> Result<Self, ConfigError> {
        let offer = Offer {
            versions: versions(settings)?,
            provider: Arc::new(CryptoProvider {
                cipher_suites: cipher_suites(settings)?,
                ..default_provider()
            }),
            checks_name: checks_name(settings)?,
        };
        let (trust, identity) = (trust(settings)?, identity(settings)?);
        let key_password = settings.ssl_key_password.clone();
        let stamps = stamps(&trust, &identity);
        let client = offer.with(&trust, &identity, key_password.as_ref())?;
        let loaded = Mutex::new(Loaded { client, stamps });
        Ok(Self { offer, trust, identity, key_password, loaded })
    }

    /// TLS to anyone the system trusts, for what isn't a broker.
    pub(crate) fn of_the_system() -> Result<Self, ConfigError> {
        let offer = Offer {
            versions: rustls::ALL_VERSIONS.to_vec(),
            provider: Arc::new(default_provider()),
            checks_name: true,
        };
        let (trust, identity) = (TrustSource::System, IdentitySource::None);
        let client = offer.with(&trust, &identity, None)?;
        let loaded = Mutex::new(Loaded { client, stamps: Vec::new() });
        Ok(Self { offer, trust, identity, key_password: None, loaded })
    }

    /// Encrypts a connection to a broker of that name.
    ///
    /// # Errors
    /// No handshake, in time or at all; says why, and what to do.
    pub(super) async fn handshake(
        &self,
        host: &str,
        stream: TcpStream,
        timeout: Duration,
    ) -> Result<TlsStream<TcpStream>, NetworkErrorKind> {
        let connector = TlsConnector::from(self.client());
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            NetworkErrorKind::TlsRefused(format!("{host:?} can't be the name of a certificate"))
        })?;
        match tokio::time::timeout(timeout, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(explain::handshake(&error)),
            Err(_) => Err(NetworkErrorKind::TlsHandshake(format!(
                "no answer within {} ms; does the broker speak TLS on this port?",
                timeout.as_millis()
            ))),
        }
    }

    /// What new connections use. The files are read again if they have changed; while they can't be
    /// used, what was read before is.
    fn client(&self) -> Arc<ClientConfig> {
        let mut loaded = self.loaded.lock();
        // Taken before the files are read: what is written meanwhile is seen by the next.
        let stamps = stamps(&self.trust, &self.identity);
        if stamps != loaded.stamps {
            loaded.stamps = stamps;
            let key_password = self.key_password.as_ref();
            match self.offer.with(&self.trust, &self.identity, key_password) {
                Ok(client) => {
                    tracing::info!("certificates or keys have changed and are used from now on");
                    loaded.client = client;
                }
                Err(error) => tracing::warn!(
                    %error,
                    "certificates or keys have changed but can't be used; the former still are"
                ),
            }
        }
        Arc::clone(&loaded.client)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("trust", &self.trust)
            .field("identity", &self.identity)
            .field("checks_name", &self.offer.checks_name)
            .finish_non_exhaustive()
    }
}

impl Offer {
    fn with(
        &self,
        trust: &TrustSource,
        identity: &IdentitySource,
        key_password: Option<&Password>,
    ) -> Result<Arc<ClientConfig>, ConfigError> {
        let algorithms = self.provider.signature_verification_algorithms;
        let (verifier, ignored) = BrokerVerifier::new(trust.load()?, self.checks_name, algorithms);
        if ignored > 0 {
            tracing::warn!(
                ignored,
                "certificates of the truststore can't be read and are left out"
            );
        }
        if verifier.is_empty() {
            let reason = "no authority is trusted: the system has none, or none can be read; name \
                          a PEM file";
            return Err(unusable("ssl.truststore.location", reason));
        }
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions)
            .map_err(|_| ConfigError::Contradiction {
                names: vec!["ssl.cipher.suites", "ssl.enabled.protocols"],
                reason: "none of these cipher suites is for any of these versions".to_owned(),
            })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let client = match identity.load(key_password)? {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
                let reason = format!("key and certificate can't be used together: {error}");
                ConfigError::Unusable { name: "ssl.keystore.location", reason }
            })?,
        };
        Ok(Arc::new(client))
    }
}

fn stamps(trust: &TrustSource, identity: &IdentitySource) -> Vec<Stamp> {
    [trust.file(), identity.file()].into_iter().flatten().map(Stamp::of).collect()
}

/// The versions to offer; those before 1.2 are left out, as they aren't safe.
fn versions(
    settings: &SecuritySettings,
) -> Result<Vec<&'static SupportedProtocolVersion>, ConfigError> {
    const LIST: &str = "ssl.enabled.protocols";
    let mut versions = Vec::new();
    for word in &settings.ssl_enabled_protocols {
        match &**word {
            "TLSv1.3" => versions.push(&rustls::version::TLS13),
            "TLSv1.2" => versions.push(&rustls::version::TLS12),
            "TLSv1.1" | "TLSv1" | "SSLv3" | "SSLv2Hello" => {}
            other => {
                let reason = format!("{other:?} is no version; there are TLSv1.2 and TLSv1.3");
                return Err(ConfigError::Unusable { name: LIST, reason });
            }
        }
    }
    match &*settings.ssl_protocol {
        "TLSv1.3" | "TLS" => {}
        "TLSv1.2" => versions.retain(|version| **version == rustls::version::TLS12),
        other => {
            let reason = format!("{other:?} is none of TLSv1.3, TLSv1.2 and TLS");
            return Err(ConfigError::Unusable { name: "ssl.protocol", reason });
        }
    }
    if versions.is_empty() {
        return Err(unusable(LIST, "none of them is safe; there are TLSv1.2 and TLSv1.3"));
    }
    Ok(versions)
}

fn cipher_suites(settings: &SecuritySettings) -> Result<Vec<SupportedCipherSuite>, ConfigError> {
    let all = default_provider().cipher_suites;
    if settings.ssl_cipher_suites.is_empty() {
        return Ok(all);
    }
    let wanted = settings.ssl_cipher_suites.iter().map(|name| {
        let found = all.iter().find(|suite| iana_name(suite) == *name).copied();
        found.ok_or_else(|| {
            let known: Vec<_> = all.iter().map(iana_name).collect();
            let reason = format!("{name:?} is not known; there are {}", known.join(", "));
            ConfigError::Unusable { name: "ssl.cipher.suites", reason }
        })
    });
    wanted.collect()
}

/// rustls marks the suites of version 1.3 in their names; IANA, and Java, don't.
fn iana_name(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.strip_prefix("TLS13_").map_or_else(|| name.to_owned(), |rest| format!("TLS_{rest}"))
}

fn checks_name(settings: &SecuritySettings) -> Result<bool, ConfigError> {
    match settings.ssl_endpoint_identification_algorithm.as_deref() {
        None => Ok(false),
        Some(word) if word.eq_ignore_ascii_case("https") => Ok(true),
        Some(other) => {
            let reason = format!("{other:?} is neither https nor empty");
            Err(ConfigError::Unusable { name: "ssl.endpoint.identification.algorithm", reason })
        }
    }
}

fn trust(settings: &SecuritySettings) -> Result<TrustSource, ConfigError> {
    let (location, text) =
        (&settings.ssl_truststore_location, &settings.ssl_truststore_certificates);
    let source = match (location, text) {
        (Some(_), Some(_)) => {
            return Err(contradiction("ssl.truststore.location", "ssl.truststore.certificates"));
        }
        (Some(path), None) => {
            TrustSource::File(PathBuf::from(path), settings.ssl_truststore_type.clone())
        }
        (None, Some(text)) => TrustSource::Text(text.clone()),
        (None, None) => return Ok(TrustSource::System),
    };
    if settings.ssl_truststore_password.is_some() {
        // Java refuses it too. A store of another format is refused for that first.
        source.load()?;
        let reason = "a truststore in PEM has no password; leave it out";
        return Err(unusable("ssl.truststore.password", reason));
    }
    Ok(source)
}

fn identity(settings: &SecuritySettings) -> Result<IdentitySource, ConfigError> {
    let (key, chain) = (&settings.ssl_keystore_key, &settings.ssl_keystore_certificate_chain);
    let source = match (&settings.ssl_keystore_location, key, chain) {
        (None, None, None) => return Ok(IdentitySource::None),
        (Some(_), Some(_), _) => {
            return Err(contradiction("ssl.keystore.location", "ssl.keystore.key"));
        }
        (Some(_), None, Some(_)) => {
            return Err(contradiction("ssl.keystore.location", "ssl.keystore.certificate.chain"));
        }
        (Some(path), None, None) => {
            IdentitySource::File(PathBuf::from(path), settings.ssl_keystore_type.clone())
        }
        (None, Some(key), Some(chain)) => {
            IdentitySource::Text { key: key.clone(), chain: chain.clone() }
        }
        (None, Some(_), None) | (None, None, Some(_)) => {
            return Err(ConfigError::Contradiction {
                names: vec!["ssl.keystore.key", "ssl.keystore.certificate.chain"],
                reason: "one is nothing without the other".to_owned(),
            });
        }
    };
    if settings.ssl_keystore_password.is_some() {
        source.load(settings.ssl_key_password.as_ref())?;
        let reason = "a keystore in PEM has no password; that of the key is ssl.key.password";
        return Err(unusable("ssl.keystore.password", reason));
    }
    Ok(source)
}

fn contradiction(one: &'static str, other: &'static str) -> ConfigError {
    let reason = "both are set; which one is meant?".to_owned();
    ConfigError::Contradiction { names: vec![one, other], reason }
}

fn unusable(name: &'static str, reason: &str) -> ConfigError {
    ConfigError::Unusable { name, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
