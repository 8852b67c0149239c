//! That no broker answered, with what each of them did.

use std::fmt;
use std::sync::Arc;

use crate::network::NetworkError;

/// No broker answered. Says of each that was tried why not. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable(Arc<[NetworkError]>);

impl Unreachable {
    pub(crate) fn new(failures: Vec<NetworkError>) -> Self {
        Self(failures.into())
    }

    /// Whether none lets us in, or none is trusted: nothing changes until somebody acts.
    #[must_use]
    pub fn is_authentication(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(NetworkError::is_authentication)
    }

    /// Each broker that was tried, with what went wrong there.
    #[must_use]
    pub fn failures(&self) -> &[NetworkError] {
        &self.0
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no broker answered")?;
        for (place, failure) in self.0.iter().enumerate() {
            write!(f, "{} {failure}", if place == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for Unreachable {}
