//! TLS at a listener: who is let in, under which name, and files that are read again when they
//! change.

mod distinguished_name;
mod store;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use streamledger_broker_core::authorizer::Principal;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use self::store::Stamp;
use crate::config::{ClientAuth, TlsSettings};

/// Why a connection has no TLS.
#[derive(Debug, Error)]
pub(crate) enum HandshakeFailure {
    #[error("what it sends is not TLS: a client without security.protocol=SSL?")]
    NotTls,
    #[error("it has no certificate of its own, which ssl.client.auth requires")]
    NoCertificate,
    #[error("its certificate is not trusted here: {0}")]
    Certificate(rustls::CertificateError),
    #[error("ssl.principal.mapping.rules makes no user of the name in its certificate")]
    NoUser,
    #[error("it refuses this broker: {0:?}")]
    Alert(rustls::AlertDescription),
    #[error("TLS was not agreed on in time")]
    Slow,
    #[error("no TLS: {0}")]
    Other(io::Error),
}

/// What makes a listener's connections secret, and its clients known.
pub(crate) struct Tls {
    settings: TlsSettings,
    loaded: Mutex<Loaded>,
}

/// What was read last, and from what.
struct Loaded {
    server: Arc<ServerConfig>,
    stamps: Vec<Option<Stamp>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// One can't be used; says which and why.
    pub(crate) fn new(settings: TlsSettings) -> Result<Self, String> {
        let stamps = stamps(&settings);
        let server = server(&settings)?;
        Ok(Self { settings, loaded: Mutex::new(Loaded { server, stamps }) })
    }

    /// Encrypts a connection, and tells who it is.
    ///
    /// # Errors
    /// No handshake, in time or at all.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        patience: Duration,
    ) -> Result<(TlsStream<TcpStream>, Principal), HandshakeFailure> {
        let accepting = TlsAcceptor::from(self.server()).accept(stream);
        match timeout(patience, accepting).await {
            Ok(Ok(stream)) => {
                let principal = self.principal(&stream)?;
                Ok((stream, principal))
            }
            Ok(Err(error)) => Err(explained(error)),
            Err(_) => Err(HandshakeFailure::Slow),
        }
    }

    /// What new connections use. The files are read again if they have changed; while they can't
    /// be used, what was read before is.
    fn server(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock();
        // Taken before the files are read: what is written meanwhile is seen by the next.
        let stamps = stamps(&self.settings);
        if stamps != loaded.stamps {
            loaded.stamps = stamps;
            match server(&self.settings) {
                Ok(server) => {
                    info!("certificates or keys have changed and are used from now on");
                    loaded.server = server;
                }
                Err(reason) => warn!(
                    reason,
                    "certificates or keys have changed but can't be used; the former still are"
                ),
            }
        }
        Arc::clone(&loaded.server)
    }

    /// Who a client's certificate says it is (Kafka's `DefaultKafkaPrincipalBuilder`).
    fn principal(&self, stream: &TlsStream<TcpStream>) -> Result<Principal, HandshakeFailure> {
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let Some(own) = chain.first() else { return Ok(Principal::anonymous()) };
        let name = distinguished_name::subject(own);
        let user = name.and_then(|name| self.settings.principal_rules.user(&name));
        user.map(Principal::user).ok_or(HandshakeFailure::NoUser)
    }
}

fn stamps(settings: &TlsSettings) -> Vec<Option<Stamp>> {
    [Some(&settings.identity), settings.trust.as_ref()]
        .into_iter()
        .flatten()
        .map(Stamp::of)
        .collect()
}

fn server(settings: &TlsSettings) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: Vec<_> = [
        settings.versions.0.then_some(&rustls::version::TLS12),
        settings.versions.1.then_some(&rustls::version::TLS13),
    ]
    .into_iter()
    .flatten()
    .collect();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?;
    let builder = match verifier(settings, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let (chain, key) = store::identity(&settings.identity, settings.key_password.as_ref())?;
    let server = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("key and certificate can't be used together: {error}"))?;
    Ok(Arc::new(server))
}

fn verifier(
    settings: &TlsSettings,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let (ClientAuth::Requested | ClientAuth::Required, Some(trust)) =
        (settings.client_auth, &settings.trust)
    else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    let (_, ignored) = roots.add_parsable_certificates(store::authorities(trust)?);
    if ignored > 0 {
        warn!(ignored, "certificates of the truststore can't be read and are left out");
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match settings.client_auth {
        ClientAuth::Required => builder,
        ClientAuth::Requested | ClientAuth::None => builder.allow_unauthenticated(),
    };
    builder.build().map(Some).map_err(|error| format!("truststore: {error}"))
}

fn explained(error: io::Error) -> HandshakeFailure {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidMessage(_)) => HandshakeFailure::NotTls,
        Some(rustls::Error::NoCertificatesPresented) => HandshakeFailure::NoCertificate,
        Some(rustls::Error::InvalidCertificate(why)) => HandshakeFailure::Certificate(why.clone()),
        Some(rustls::Error::AlertReceived(alert)) => HandshakeFailure::Alert(*alert),
        _ => HandshakeFailure::Other(error),
    }
}
