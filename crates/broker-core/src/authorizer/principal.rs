//! Who somebody is: what a certificate, a login, or nothing at all says.

use std::fmt;

/// Somebody, as ACLs and quotas name them (Kafka's `KafkaPrincipal`): `User:alice`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    /// `User`, the only kind that this broker makes.
    pub kind: String,
    /// The name.
    pub name: String,
}

impl Principal {
    /// The kind of everybody who comes over a connection.
    pub const USER: &'static str = "User";

    /// Somebody by name.
    #[must_use]
    pub fn user(name: impl Into<String>) -> Self {
        Self { kind: Self::USER.to_owned(), name: name.into() }
    }

    /// Somebody of whom nothing is known.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::user("ANONYMOUS")
    }

    /// Reads `KIND:NAME`; the name may have colons.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        let is_whole = !kind.is_empty() && !name.is_empty();
        is_whole.then(|| Self { kind: kind.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_written_as_it_is_read() {
        let read = Principal::parse("User:CN=a:b,O=c").unwrap();
        assert_eq!((read.to_string(), &*read.name), ("User:CN=a:b,O=c".to_owned(), "CN=a:b,O=c"));
        assert_eq!(Principal::parse("alice"), None);
        assert_eq!(Principal::parse("User:"), None);
        assert_eq!(Principal::anonymous().to_string(), "User:ANONYMOUS");
    }
}
