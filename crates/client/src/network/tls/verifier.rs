//! Whether a broker's certificate is good: signed by a trusted authority, in time, for the name.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Checks as rustls does, with two differences that Java's clients have.
///
/// 1. Without `ssl.endpoint.identification.algorithm` any name will do; the chain is checked.
/// 2. A certificate that is itself in the truststore is trusted though it says that it is an
///    authority's: what `openssl req -x509` makes for a broker.
#[derive(Debug)]
pub(super) struct BrokerVerifier {
    roots: RootCertStore,
    trusted: Vec<CertificateDer<'static>>,
    checks_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl BrokerVerifier {
    /// Trusts these; those that can't be an authority are left out, and counted.
    pub(super) fn new(
        trusted: Vec<CertificateDer<'static>>,
        checks_name: bool,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> (Self, usize) {
        let mut roots = RootCertStore::empty();
        let (_, ignored) = roots.add_parsable_certificates(trusted.iter().cloned());
        (Self { roots, trusted, checks_name, algorithms }, ignored)
    }

    /// Whether nothing at all is trusted.
    pub(super) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }
}

impl ServerCertVerifier for BrokerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let signed = verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        );
        match signed {
            Err(error)
                if is_authority_as_end_entity(&error) && self.trusted.contains(end_entity) => {}
            signed => signed?,
        }
        if self.checks_name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// webpki's `CaUsedAsEndEntity`, which rustls has no word of its own for. It is found after the
/// time of the certificate has been checked.
fn is_authority_as_end_entity(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => {
            other.0.to_string() == "CaUsedAsEndEntity"
        }
        _ => false,
    }
}
