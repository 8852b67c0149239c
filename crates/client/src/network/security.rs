//! How the connections of a client are secured: `security.protocol`, with what it needs.

use std::sync::Arc;

use super::sasl::{Sasl, TokenProvider};
use super::tls::Tls;
use crate::config::{ConfigError, SecurityProtocol, SecuritySettings};

/// TLS and login of a client's connections; neither, for `PLAINTEXT`. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Security {
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) sasl: Option<Arc<Sasl>>,
}

impl Security {
    /// Reads what `security.protocol` asks for; what it doesn't ask for is not looked at.
    ///
    /// # Errors
    /// A setting, or a file that it names, can't be used.
    pub(crate) fn new(
        settings: &SecuritySettings,
        token_provider: Option<Arc<dyn TokenProvider>>,
    ) -> Result<Self, ConfigError> {
        let (has_tls, has_login) = match settings.security_protocol {
            SecurityProtocol::Plaintext => (false, false),
            SecurityProtocol::Ssl => (true, false),
            SecurityProtocol::SaslPlaintext => (false, true),
            SecurityProtocol::SaslSsl => (true, true),
        };
        let tls = has_tls.then(|| Tls::new(settings)).transpose()?;
        let sasl = has_login.then(|| Sasl::new(settings, token_provider)).transpose()?;
        Ok(Self { tls: tls.map(Arc::new), sasl: sasl.map(Arc::new) })
    }

    /// What `security.protocol` would be with a login; none if there is one.
    pub(super) fn protocol_with_login(&self) -> Option<&'static str> {
        match (&self.sasl, &self.tls) {
            (Some(_), _) => None,
            (None, None) => Some("SASL_PLAINTEXT (or SASL_SSL)"),
            (None, Some(_)) => Some("SASL_SSL"),
        }
    }
}
