//! The mathematics of SCRAM (RFC 5802, RFC 7677): what is kept instead of a password.

use std::num::NonZeroU32;

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use streamledger_broker_core::controller::{
    Refusal, ScramChange, ScramCredential, ScramMechanism, decide_alter_scram,
};
use streamledger_protocol::{ErrorCode, Password};
use zeroize::Zeroizing;

use crate::controller::Controller;

/// What Kafka's own tools ask for, and the least that is safe (RFC 7677, section 4).
pub(super) const DEFAULT_ITERATIONS: i32 = 4096;

/// As long as those of Kafka's tools.
const SALT_BYTES: usize = 26;

/// What is kept of a salted password: keys that check a proof, and can't make one.
fn derive_credential(
    mechanism: ScramMechanism,
    salt: Bytes,
    iterations: i32,
    salted_password: &[u8],
) -> ScramCredential {
    let client_key = Zeroizing::new(sign(mechanism, salted_password, b"Client Key"));
    ScramCredential {
        salt,
        iterations,
        stored_key: Bytes::from(hash(mechanism, &client_key)),
        server_key: Bytes::from(sign(mechanism, salted_password, b"Server Key")),
    }
}

/// Makes a user able to log in with a password by both mechanisms. One who is already leaves no
/// record. Blocks on the disk.
pub(crate) fn ensure_scram_user(
    controller: &Controller,
    user: &str,
    password: &Password,
) -> Result<(), Refusal> {
    let mut changes = Vec::new();
    for mechanism in ScramMechanism::ALL {
        let kept = controller.read(|state| state.scram_credential(user, mechanism).cloned());
        let derive = |kept: Option<&ScramCredential>| {
            of_password(mechanism, password, kept).map_err(|_| {
                let message = "the system has no random bytes";
                Refusal::new(ErrorCode::UnknownServerError, message)
            })
        };
        if kept.is_some() && kept == Some(derive(kept.as_ref())?) {
            continue;
        }
        let (user, mechanism) = (user.to_owned(), mechanism.code());
        changes.push(ScramChange { user, mechanism, credential: Some(derive(None)?) });
    }
    let altered =
        controller.change(|state| Ok(decide_alter_scram(state, &changes)), |_| Ok(()), |_| ())?;
    altered.into_iter().try_for_each(|(_, reply)| reply)
}

/// What is kept of a password, with a fresh salt; or with that of a credential it may be of.
///
/// # Errors
/// The system has no random bytes.
pub(super) fn of_password(
    mechanism: ScramMechanism,
    password: &Password,
    kept: Option<&ScramCredential>,
) -> Result<ScramCredential, ring::error::Unspecified> {
    let (salt, iterations) = match kept {
        Some(kept) => (kept.salt.clone(), kept.iterations),
        None => {
            let mut salt = vec![0; SALT_BYTES];
            SystemRandom::new().fill(&mut salt)?;
            (Bytes::from(salt), DEFAULT_ITERATIONS)
        }
    };
    let rounds = u32::try_from(iterations).ok().and_then(NonZeroU32::new);
    let rounds = rounds.ok_or(ring::error::Unspecified)?;
    let algorithm = match mechanism {
        ScramMechanism::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        ScramMechanism::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
    };
    let mut salted = Zeroizing::new(vec![0; mechanism.key_bytes()]);
    pbkdf2::derive(algorithm, rounds, &salt, password.reveal().as_bytes(), &mut salted);
    Ok(derive_credential(mechanism, salt, iterations, &salted))
}

pub(super) fn sign(mechanism: ScramMechanism, key: &[u8], message: &[u8]) -> Vec<u8> {
    let algorithm = match mechanism {
        ScramMechanism::Sha256 => hmac::HMAC_SHA256,
        ScramMechanism::Sha512 => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
}

pub(super) fn hash(mechanism: ScramMechanism, bytes: &[u8]) -> Vec<u8> {
    let algorithm = match mechanism {
        ScramMechanism::Sha256 => &digest::SHA256,
        ScramMechanism::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, bytes).as_ref().to_vec()
}
