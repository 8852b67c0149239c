//! Certificates made for the test, and a broker with them.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use streamledger_broker::{Broker, BrokerConfig, RunningBroker};
use tempfile::TempDir;

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate, as PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A key and its certificate for that name, in one PEM.
    pub(crate) fn sign(&self, name: &str) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        key.serialize_pem() + &params.signed_by(&key, &self.0).unwrap().pem()
    }
}

/// The files of a broker with TLS.
pub(crate) struct Files {
    directory: TempDir,
    pub(crate) authority: Authority,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self::of(Authority::named("ours"))
    }

    pub(crate) fn of(authority: Authority) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap(), authority };
        files.write("authority.pem", &files.authority.pem());
        files.write("broker.pem", &files.authority.sign("localhost"));
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    pub(crate) fn broker(&self, listener: &str, settings: &[(&str, &str)]) -> RunningBroker {
        let config = BrokerConfig::builder()
            .listen(listener)
            .property("ssl.keystore.location", self.text("broker.pem"))
            .property("ssl.truststore.location", self.text("authority.pem"))
            .properties(settings.iter().copied())
            .build()
            .unwrap();
        Broker::start(config).unwrap()
    }

    /// What a client of rustls' own uses to trust this authority.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }

    /// A client's settings to trust this authority.
    pub(crate) fn trusting(&self) -> String {
        format!("ssl.truststore.type=PEM\nssl.truststore.location={}\n", self.text("authority.pem"))
    }
}
