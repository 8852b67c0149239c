//! What went wrong in TLS, in a sentence that says what to do.

/// From errors of the stream to errors of the network.
pub(crate) mod explain {
    use std::io;

    use rustls::pki_types::ServerName;
    use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

    use crate::network::NetworkErrorKind;

    /// Why there was no handshake.
    pub(crate) fn handshake(error: &io::Error) -> NetworkErrorKind {
        established(error).unwrap_or_else(|| {
            NetworkErrorKind::TlsHandshake(match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                    "the broker closed the connection; it speaks plaintext on this port \
                     (security.protocol), or has no TLS version or cipher suite in common"
                        .to_owned()
                }
                _ => error.to_string(),
            })
        })
    }

    /// What TLS says of a broken connection, if it was TLS that broke it.
    pub(crate) fn established(error: &io::Error) -> Option<NetworkErrorKind> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        Some(match error {
            Error::InvalidCertificate(fault) => NetworkErrorKind::TlsRefused(certificate(fault)),
            Error::AlertReceived(alert) => alert_received(*alert),
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload
                | InvalidMessage::MessageTooShort,
            ) => NetworkErrorKind::TlsRefused(
                "what answers doesn't speak TLS; the broker speaks plaintext on this port: \
                 connect to its TLS port, or set security.protocol=PLAINTEXT or SASL_PLAINTEXT"
                    .to_owned(),
            ),
            Error::PeerIncompatible(what) => NetworkErrorKind::TlsRefused(format!(
                "no TLS version or cipher suite in common ({what:?}); see ssl.enabled.protocols \
                 and ssl.cipher.suites"
            )),
            Error::NoCertificatesPresented => {
                NetworkErrorKind::TlsRefused("the broker shows no certificate".to_owned())
            }
            other => NetworkErrorKind::TlsHandshake(other.to_string()),
        })
    }

    fn certificate(fault: &CertificateError) -> String {
        match fault {
            CertificateError::UnknownIssuer => {
                "the broker's certificate is signed by nobody who is trusted here; put its \
                 authority's certificate, as PEM, into ssl.truststore.location"
                    .to_owned()
            }
            CertificateError::NotValidForNameContext { expected, presented } => format!(
                "the broker's certificate is not valid for the name {}, only for {}; connect by \
                 such a name, have it in the certificate (subjectAltName), or leave \
                 ssl.endpoint.identification.algorithm empty",
                shown(expected),
                if presented.is_empty() { "none".to_owned() } else { presented.join(", ") },
            ),
            CertificateError::NotValidForName => {
                "the broker's certificate is not valid for the name that was connected to"
                    .to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the broker's certificate has expired; renew it, or set this machine's clock"
                    .to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the broker's certificate is not valid yet; set this machine's clock".to_owned()
            }
            CertificateError::BadSignature => {
                "the broker's certificate is signed by another authority of the same name as the \
                 one that is trusted; see ssl.truststore.location"
                    .to_owned()
            }
            other => format!("the broker's certificate can't be trusted: {other}"),
        }
    }

    fn shown(name: &ServerName<'_>) -> String {
        name.to_str().into_owned()
    }

    fn alert_received(alert: AlertDescription) -> NetworkErrorKind {
        let sentence = match alert {
            AlertDescription::CertificateRequired => {
                "the broker asks for a certificate of ours; set ssl.keystore.location (PEM)"
            }
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied => {
                "the broker refuses our certificate, or misses one; see ssl.keystore.location and \
                 the broker's truststore"
            }
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity => {
                "the broker has no TLS version or cipher suite in common with us, or misses our \
                 certificate; see ssl.enabled.protocols, ssl.cipher.suites, ssl.keystore.location"
            }
            _ => return NetworkErrorKind::TlsHandshake(format!("the broker says {alert:?}")),
        };
        NetworkErrorKind::TlsRefused(format!("{sentence} (alert {alert:?})"))
    }
}
