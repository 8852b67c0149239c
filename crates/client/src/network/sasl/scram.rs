//! SCRAM-SHA-256 and SCRAM-SHA-512, the client's side (RFC 5802, RFC 7677; Kafka's
//! `ScramSaslClient`).
//!
//! 1. The server's nonce must go on from ours, or an old exchange is being played to us
//!    (CVE-2024-56128 was the same at the other side).
//! 2. The server must prove that it knows the password too; compared in constant time.
//! 3. What the server can make us compute is bounded: salt, iterations, the length of all.
//! 4. User name and password are UTF-8 as they are, without SASLprep: so Kafka stores them.

use std::num::NonZeroU32;

use base64ct::{Base64, Encoding};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::super::backend::{digest, hmac, pbkdf2, rand};
use super::{Fault, Step};
use crate::config::Password;

/// The hash under SCRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// The fewest iterations that are safe (RFC 7677, section 4; Kafka's brokers have no less).
const ITERATIONS_MIN: u32 = 4_096;
/// Kafka's brokers have at most 16,384. This many take a tenth of a second of a thread.
const ITERATIONS_MAX: u32 = 200_000;
/// Kafka's salts have 25 to 30 bytes.
const SALT_BYTES_MAX: usize = 1_024;
const MESSAGE_BYTES_MAX: usize = 16 * 1_024;
const NONCE_BYTES: usize = 24;
/// Without channel binding: base64 of `n,,`.
const NO_BINDING: &str = "biws";

/// One exchange.
pub(super) struct Scram {
    hash: Hash,
    password: Password,
    nonce: String,
    /// The first message without its head.
    first_bare: String,
    expecting: Expecting,
}

enum Expecting {
    ServerFirst,
    ServerFinal { signature: Vec<u8> },
    Nothing,
}

impl Scram {
    /// Begins an exchange. `is_token`: name and password are those of a delegation token.
    pub(super) fn new(
        hash: Hash,
        user: &str,
        password: Password,
        is_token: bool,
    ) -> Result<Self, Fault> {
        let mut bytes = [0; NONCE_BYTES];
        rand::SecureRandom::fill(&rand::SystemRandom::new(), &mut bytes)
            .map_err(|_| Fault::Broken("the system has no random numbers".to_owned()))?;
        Ok(Self::with_nonce(hash, user, password, is_token, Base64::encode_string(&bytes)))
    }

    fn with_nonce(
        hash: Hash,
        user: &str,
        password: Password,
        is_token: bool,
        nonce: String,
    ) -> Self {
        let name = user.replace('=', "=3D").replace(',', "=2C");
        let extension = if is_token { ",tokenauth=true" } else { "" };
        let first_bare = format!("n={name},r={nonce}{extension}");
        Self { hash, password, nonce, first_bare, expecting: Expecting::ServerFirst }
    }

    pub(super) fn first_message(&self) -> Vec<u8> {
        format!("n,,{}", self.first_bare).into_bytes()
    }

    /// The answer to what the server said.
    pub(super) fn answer(&mut self, message: &[u8]) -> Result<Step, Fault> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(suspicious("its message is longer than any of SCRAM"));
        }
        let message =
            std::str::from_utf8(message).map_err(|_| suspicious("its message is no text"))?;
        match std::mem::replace(&mut self.expecting, Expecting::Nothing) {
            Expecting::ServerFirst => self.answer_first(message),
            Expecting::ServerFinal { signature } => check_final(message, &signature),
            Expecting::Nothing => Err(suspicious("it says more than there is to say")),
        }
    }

    fn answer_first(&mut self, message: &str) -> Result<Step, Fault> {
        let ServerFirst { nonce, salt, iterations } = ServerFirst::parse(message)?;
        let is_ours = nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len();
        if !is_ours {
            return Err(suspicious("its nonce doesn't go on from ours"));
        }
        let salted = self.hash.salted_password(&self.password, &salt, iterations);
        let client_key = self.hash.hmac(&salted, b"Client Key");
        let stored_key = self.hash.digest(&client_key);
        let without_proof = format!("c={NO_BINDING},r={nonce}");
        let auth_message = format!("{},{message},{without_proof}", self.first_bare);
        let client_signature = self.hash.hmac(&stored_key, auth_message.as_bytes());
        let proof: Zeroizing<Vec<u8>> = Zeroizing::new(
            client_key.iter().zip(client_signature.iter()).map(|(a, b)| a ^ b).collect(),
        );
        let server_key = self.hash.hmac(&salted, b"Server Key");
        let signature = self.hash.hmac(&server_key, auth_message.as_bytes()).to_vec();
        self.expecting = Expecting::ServerFinal { signature };
        let last = format!("{without_proof},p={}", Base64::encode_string(&proof));
        Ok(Step::Send(last.into_bytes()))
    }
}

fn check_final(message: &str, signature: &[u8]) -> Result<Step, Fault> {
    let first = message.split(',').next().unwrap_or_default();
    if let Some(error) = first.strip_prefix("e=") {
        return Err(Fault::Refused(format!("the broker says {}", super::shown(error))));
    }
    let claimed = first.strip_prefix("v=").and_then(|text| Base64::decode_vec(text).ok());
    let claimed = claimed.ok_or_else(|| suspicious("its last message is none of SCRAM"))?;
    if !bool::from(claimed.ct_eq(signature)) {
        return Err(suspicious("it doesn't know the password (its signature is wrong)"));
    }
    Ok(Step::Done)
}

struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl<'a> ServerFirst<'a> {
    fn parse(message: &'a str) -> Result<Self, Fault> {
        let malformed = || suspicious("its first message is none of SCRAM");
        let mut parts = message.split(',');
        let mut part = |name| parts.next().and_then(|part| part.strip_prefix(name));
        let nonce = part("r=").ok_or_else(malformed)?;
        let salt = part("s=").ok_or_else(malformed)?;
        let iterations = part("i=").and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
        if !nonce.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
            return Err(malformed());
        }
        let salt = Base64::decode_vec(salt).map_err(|_| malformed())?;
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
            let bytes = salt.len();
            return Err(suspicious(&format!("its salt has {bytes} bytes, of 1 to 1024 allowed")));
        }
        let in_bounds = Some(iterations).filter(|i| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(i));
        let in_bounds = in_bounds.and_then(NonZeroU32::new).ok_or_else(|| {
            suspicious(&format!(
                "it asks for {iterations} iterations, of {ITERATIONS_MIN} to {ITERATIONS_MAX} \
                 allowed"
            ))
        })?;
        Ok(Self { nonce, salt, iterations: in_bounds })
    }
}

/// The broker is not what it should be. Nothing has been given away that it could use.
fn suspicious(what: &str) -> Fault {
    Fault::Refused(format!("the broker is not to be trusted: {what}"))
}

type Secret = Zeroizing<Vec<u8>>;

impl Hash {
    fn hmac(self, key: &[u8], message: &[u8]) -> Secret {
        let algorithm = match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        let tag = hmac::sign(&hmac::Key::new(algorithm, key), message);
        Zeroizing::new(tag.as_ref().to_vec())
    }

    fn digest(self, bytes: &[u8]) -> Secret {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        };
        Zeroizing::new(digest::digest(algorithm, bytes).as_ref().to_vec())
    }

    /// `Hi` of RFC 5802: PBKDF2 with HMAC.
    fn salted_password(self, password: &Password, salt: &[u8], iterations: NonZeroU32) -> Secret {
        let (algorithm, bytes) = match self {
            Self::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
            Self::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
        };
        let mut salted = Zeroizing::new(vec![0; bytes]);
        pbkdf2::derive(algorithm, iterations, salt, password.reveal().as_bytes(), &mut salted);
        salted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn scram(hash: Hash) -> Scram {
        Scram::with_nonce(hash, "user", "pencil".into(), false, NONCE.to_owned())
    }

    fn sent(step: Step) -> String {
        match step {
            Step::Send(bytes) => String::from_utf8(bytes).unwrap(),
            Step::Done => panic!("done too early"),
        }
    }

    fn refused(result: Result<Step, Fault>) -> String {
        match result {
            Err(Fault::Refused(reason)) => reason,
            _ => panic!("not refused"),
        }
    }

    // RFC 7677, section 3; the values for SHA-512 by Python's hashlib from the same nonces.
    #[rstest]
    #[case(
        Hash::Sha256,
        "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    )]
    #[case(Hash::Sha512, PROOF_512, SIGNATURE_512)]
    fn the_vectors_of_the_rfc(#[case] hash: Hash, #[case] proof: &str, #[case] signature: &str) {
        let mut scram = scram(hash);
        assert_eq!(scram.first_message(), format!("n,,n=user,r={NONCE}").into_bytes());
        let last = sent(scram.answer(FIRST.as_bytes()).ok().unwrap());
        assert_eq!(last, format!("c=biws,{},p={proof}", &FIRST[..FIRST.find(",s=").unwrap()]));
        let done = scram.answer(format!("v={signature}").as_bytes());
        assert!(matches!(done, Ok(Step::Done)));
        assert!(refused(scram.answer(b"v=")).contains("more than there is to say"));
    }

    const PROOF_512: &str = "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN\
        8PPC6wdp6dybEmDYXYTxwnYPJQ==";
    const SIGNATURE_512: &str = "ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSe\
        VGT4+5ZxXnJq199RVG2rR7N7Zw==";

    #[test]
    fn names_are_escaped_and_a_delegation_token_says_so() {
        let scram = Scram::with_nonce(Hash::Sha256, "a=b,c", "x".into(), true, "abc".to_owned());
        assert_eq!(scram.first_message(), b"n,,n=a=3Db=2Cc,r=abc,tokenauth=true");
    }

    #[test]
    fn each_exchange_has_a_nonce_of_its_own() {
        let nonce = || Scram::new(Hash::Sha256, "u", "p".into(), false).ok().unwrap().nonce;
        assert_ne!(nonce(), nonce());
        assert_eq!(nonce().len(), 32);
    }

    #[rstest]
    #[case::nonce_of_another("r=xOprNGfwEbeRWgbNEkqOabc,s=AAAA,i=4096", "nonce")]
    #[case::nonce_not_longer("r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=4096", "nonce")]
    #[case::too_few("r=rOprNGfwEbeRWgbNEkqOa,s=AAAA,i=4095", "4095 iterations")]
    #[case::too_many("r=rOprNGfwEbeRWgbNEkqOa,s=AAAA,i=4294967295", "4294967295 iterations")]
    #[case::negative("r=rOprNGfwEbeRWgbNEkqOa,s=AAAA,i=-1", "none of SCRAM")]
    #[case::no_salt("r=rOprNGfwEbeRWgbNEkqOa,s=,i=4096", "salt has 0 bytes")]
    #[case::no_base64("r=rOprNGfwEbeRWgbNEkqOa,s=?,i=4096", "none of SCRAM")]
    #[case::mandatory_extension("m=x,r=rOprNGfwEbeRWgbNEkqOa,s=AAAA,i=4096", "none of SCRAM")]
    fn a_hostile_server_is_found_out(#[case] message: &str, #[case] reason: &str) {
        let said = refused(scram(Hash::Sha256).answer(message.as_bytes()));
        assert!(said.contains(reason), "{said}");
    }

    #[test]
    fn long_salts_and_long_messages_are_refused() {
        let salt = Base64::encode_string(&[7; SALT_BYTES_MAX + 1]);
        let message = format!("r={NONCE}a,s={salt},i=4096");
        assert!(refused(scram(Hash::Sha256).answer(message.as_bytes())).contains("salt has 1025"));
        let endless = vec![b'a'; MESSAGE_BYTES_MAX + 1];
        assert!(refused(scram(Hash::Sha256).answer(&endless)).contains("longer than any"));
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        for last in ["v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=", "v=AAAA", "v=", "x"] {
            let mut scram = scram(Hash::Sha256);
            scram.answer(FIRST.as_bytes()).ok().unwrap();
            assert!(refused(scram.answer(last.as_bytes())).contains("not to be trusted"), "{last}");
        }
        let mut scram = scram(Hash::Sha256);
        scram.answer(FIRST.as_bytes()).ok().unwrap();
        assert_eq!(refused(scram.answer(b"e=other-error")), "the broker says other-error");
    }
}
