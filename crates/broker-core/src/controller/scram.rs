//! SCRAM credentials (KIP-554): which users may have which, kept without their passwords.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use streamledger_protocol::ErrorCode;

use super::decide::{Decision, Refusal};
use super::record::{MetadataRecord, TEXT_BYTES_MAX};
use super::state::ClusterState;

/// The least iterations that are taken, of either mechanism.
pub const SCRAM_ITERATIONS_MIN: i32 = 4096;
/// And the most: each login costs a client that many.
pub const SCRAM_ITERATIONS_MAX: i32 = 16_384;
/// The most bytes of a salt or a key.
const SECRET_BYTES_MAX: usize = 256;

/// How a password is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScramMechanism {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramMechanism {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The length of its hashes, in bytes.
    #[must_use]
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The mechanism of a wire code, if there is one.
    #[must_use]
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            1 => Some(Self::Sha256),
            2 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The code in requests and answers.
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }
}

/// What is kept of a password (RFC 5802): enough to check it, not to use it.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// The salt that the password was hashed with.
    pub salt: Bytes,
    /// How many times it was hashed.
    pub iterations: i32,
    /// The hash of the client's key.
    pub stored_key: Bytes,
    /// The key by which the server proves itself.
    pub server_key: Bytes,
}

impl fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramCredential")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// One change of a user's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramChange {
    /// The user.
    pub user: String,
    /// The mechanism's code, as it was asked for.
    pub mechanism: i8,
    /// The credential; none removes it.
    pub credential: Option<ScramCredential>,
}

/// Decides about each user's changes: users are apart, and of one user all changes count or none.
/// The replies are in the order in which users come first.
pub fn decide_alter_scram(
    state: &ClusterState,
    changes: &[ScramChange],
) -> Decision<Vec<(String, Result<(), Refusal>)>> {
    let mut records = Vec::new();
    let mut reply: Vec<(String, Result<(), Refusal>)> = Vec::new();
    for change in changes {
        if reply.iter().any(|(user, _)| *user == change.user) {
            continue;
        }
        let own: Vec<_> = changes.iter().filter(|other| other.user == change.user).collect();
        let decided = decide_user(state, &own);
        let outcome = decided.map(|of_user| records.extend(of_user));
        reply.push((change.user.clone(), outcome));
    }
    Decision { records, reply }
}

fn decide_user(
    state: &ClusterState,
    changes: &[&ScramChange],
) -> Result<Vec<MetadataRecord>, Refusal> {
    let mut seen = BTreeSet::new();
    let mut records = Vec::with_capacity(changes.len());
    for change in changes {
        let unacceptable = |text: &str| Refusal::new(ErrorCode::UnacceptableCredential, text);
        if change.user.is_empty() || change.user.len() > TEXT_BYTES_MAX {
            return Err(unacceptable("Username must not be empty"));
        }
        let Some(mechanism) = ScramMechanism::from_code(change.mechanism) else {
            let message = "Unknown SCRAM mechanism";
            return Err(Refusal::new(ErrorCode::UnsupportedSaslMechanism, message));
        };
        if !seen.insert(change.mechanism) {
            let message = "A user credential cannot be altered twice in the same request";
            return Err(Refusal::new(ErrorCode::DuplicateResource, message));
        }
        match &change.credential {
            None if state.scram_credential(&change.user, mechanism).is_none() => {
                let message = "Attempt to delete a user credential that does not exist";
                return Err(Refusal::new(ErrorCode::ResourceNotFound, message));
            }
            Some(credential) if credential.iterations < SCRAM_ITERATIONS_MIN => {
                return Err(unacceptable("Too few iterations"));
            }
            Some(credential) if credential.iterations > SCRAM_ITERATIONS_MAX => {
                return Err(unacceptable("Too many iterations"));
            }
            Some(credential) if credential.salt.len() > SECRET_BYTES_MAX => {
                return Err(unacceptable("The salt is too long"));
            }
            Some(_) | None => {}
        }
        records.push(MetadataRecord::ScramCredentialChanged {
            user: change.user.clone(),
            mechanism,
            credential: change.credential.clone(),
        });
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(user: &str, mechanism: i8, iterations: Option<i32>) -> ScramChange {
        let credential = iterations.map(|iterations| ScramCredential {
            salt: Bytes::from_static(b"salt"),
            iterations,
            stored_key: Bytes::from_static(b"stored"),
            server_key: Bytes::from_static(b"server"),
        });
        ScramChange { user: user.to_owned(), mechanism, credential }
    }

    #[test]
    fn each_rule_refuses_its_user_and_no_other() {
        let state = ClusterState::default();
        let error = |changes: &[ScramChange]| {
            let decision = decide_alter_scram(&state, changes);
            let errors = decision.reply.into_iter().map(|(_, outcome)| {
                outcome.map_or_else(|refusal| refusal.error, |()| ErrorCode::None)
            });
            (errors.collect::<Vec<_>>(), decision.records.len())
        };
        let good = || change("good", 1, Some(4096));
        let bad = [
            (change("", 1, Some(4096)), ErrorCode::UnacceptableCredential),
            (change("a", 3, Some(4096)), ErrorCode::UnsupportedSaslMechanism),
            (change("a", 1, Some(4095)), ErrorCode::UnacceptableCredential),
            (change("a", 1, Some(16_385)), ErrorCode::UnacceptableCredential),
            (change("a", 1, None), ErrorCode::ResourceNotFound),
        ];
        for (bad, expected) in bad {
            assert_eq!(error(&[bad, good()]), (vec![expected, ErrorCode::None], 1));
        }
        let twice = [change("a", 1, Some(4096)), good(), change("a", 1, Some(5000))];
        assert_eq!(error(&twice), (vec![ErrorCode::DuplicateResource, ErrorCode::None], 1));
        let both = [change("a", 1, Some(4096)), change("a", 2, Some(4096))];
        assert_eq!(error(&both), (vec![ErrorCode::None], 2));
    }

    #[test]
    fn a_credential_is_kept_replaced_and_removed_and_never_printed() {
        let mut state = ClusterState::default();
        for iterations in [Some(4096), Some(8192), None] {
            let decision = decide_alter_scram(&state, &[change("a", 2, iterations)]);
            assert_eq!(decision.reply[0].1, Ok(()));
            assert!(!format!("{decision:?}").contains("stored\""));
            decision.records.iter().for_each(|record| state.replay(record).unwrap());
            let mut again = ClusterState::default();
            state.snapshot().iter().for_each(|record| again.replay(record).unwrap());
            let kept = again.scram_credential("a", ScramMechanism::Sha512);
            assert_eq!(kept.map(|kept| kept.iterations), iterations);
        }
    }
}
