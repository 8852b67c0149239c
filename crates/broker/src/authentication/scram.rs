//! SCRAM-SHA-256 and SCRAM-SHA-512, the broker's side (RFC 5802, RFC 7677; Kafka's
//! `ScramSaslServer`).
//!
//! 1. The client's last nonce must be the whole of the one that both made (CVE-2024-56128).
//! 2. A user who isn't there gets a salt that is always the same for that name, and fails at the
//!    end, after the same work as a wrong password.
//! 3. Proofs are compared in constant time.

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use streamledger_broker_core::controller::{ScramCredential, ScramMechanism};
use subtle::{Choice, ConstantTimeEq};

use super::Step;
use super::credential::{DEFAULT_ITERATIONS, hash, sign};
use crate::config::Mechanism;
use crate::controller::Controller;

const NONCE_BYTES: usize = 24;
/// A nonce or a name longer than this is nobody's.
const TEXT_BYTES_MAX: usize = 1024;

/// What makes up credentials for users who aren't there: always the same for a name.
pub(crate) struct UnknownUsers(hmac::Key);

impl UnknownUsers {
    /// With a secret of this run.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(crate) fn new() -> Result<Self, ring::error::Unspecified> {
        Ok(Self(hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?))
    }

    fn credential(&self, mechanism: ScramMechanism, user: &str) -> ScramCredential {
        let made_up = |what: &str| {
            hmac::sign(&self.0, format!("{what} {} {user}", mechanism.code()).as_bytes())
        };
        let key = |what| {
            let twice = made_up(what).as_ref().repeat(2);
            Bytes::copy_from_slice(&twice[..mechanism.key_bytes()])
        };
        ScramCredential {
            salt: Bytes::copy_from_slice(&made_up("salt").as_ref()[..26]),
            iterations: DEFAULT_ITERATIONS,
            stored_key: key("stored key"),
            server_key: key("server key"),
        }
    }
}

impl std::fmt::Debug for UnknownUsers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UnknownUsers")
    }
}

/// One exchange.
#[derive(Debug)]
pub(super) struct Scram {
    mechanism: ScramMechanism,
    expecting: Expecting,
}

#[derive(Debug)]
enum Expecting {
    First,
    Final(Box<Challenged>),
    Nothing,
}

/// What has been said.
#[derive(Debug)]
struct Challenged {
    user: String,
    is_known: bool,
    credential: ScramCredential,
    /// Of both sides.
    nonce: String,
    /// Base64 of the head of the client's first message.
    binding: String,
    /// `client-first-message-bare,server-first-message`.
    said: String,
}

impl Scram {
    pub(super) fn new(mechanism: Mechanism) -> Self {
        let mechanism = match mechanism {
            Mechanism::ScramSha512 => ScramMechanism::Sha512,
            Mechanism::ScramSha256 | Mechanism::Plain | Mechanism::OAuthBearer => {
                ScramMechanism::Sha256
            }
        };
        Self { mechanism, expecting: Expecting::First }
    }

    pub(super) fn step(
        &mut self,
        token: &[u8],
        controller: &Controller,
        unknown: &UnknownUsers,
    ) -> Step {
        let mechanism = self.mechanism;
        let find = |user: &str| {
            let kept = controller.read(|state| state.scram_credential(user, mechanism).cloned());
            (kept.is_some(), kept.unwrap_or_else(|| unknown.credential(mechanism, user)))
        };
        let mut random = [0; NONCE_BYTES];
        if SystemRandom::new().fill(&mut random).is_err() {
            return Step::Refused;
        }
        self.answer(token, &Base64::encode_string(&random), find).unwrap_or(Step::Refused)
    }

    fn answer(
        &mut self,
        token: &[u8],
        own_nonce: &str,
        find: impl FnOnce(&str) -> (bool, ScramCredential),
    ) -> Option<Step> {
        let message = std::str::from_utf8(token).ok()?;
        match std::mem::replace(&mut self.expecting, Expecting::Nothing) {
            Expecting::First => {
                let first = ClientFirst::parse(message)?;
                let (is_known, credential) = find(&first.user);
                let nonce = format!("{}{own_nonce}", first.nonce);
                let answer = format!(
                    "r={nonce},s={},i={}",
                    Base64::encode_string(&credential.salt),
                    credential.iterations
                );
                self.expecting = Expecting::Final(Box::new(Challenged {
                    user: first.user,
                    is_known: is_known && !first.is_token,
                    credential,
                    nonce,
                    binding: Base64::encode_string(first.head.as_bytes()),
                    said: format!("{},{answer}", first.bare),
                }));
                Some(Step::Challenge(Bytes::from(answer)))
            }
            Expecting::Final(challenged) => challenged.check(self.mechanism, message),
            Expecting::Nothing => None,
        }
    }
}

impl Challenged {
    fn check(self, mechanism: ScramMechanism, message: &str) -> Option<Step> {
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let rest = without_proof.strip_prefix("c=")?;
        let (binding, nonce) = rest.split_once(",r=")?;
        // What may follow the nonce is an extension, of which none is known.
        if binding != self.binding || nonce != self.nonce {
            return None;
        }
        let proof = Base64::decode_vec(proof).ok()?;
        if proof.len() != mechanism.key_bytes() {
            return None;
        }
        let said = format!("{},{without_proof}", self.said);
        let signature = sign(mechanism, &self.credential.stored_key, said.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let is_right = hash(mechanism, &client_key).ct_eq(&*self.credential.stored_key);
        let own = sign(mechanism, &self.credential.server_key, said.as_bytes());
        if !bool::from(is_right & Choice::from(u8::from(self.is_known))) {
            return None;
        }
        let last = Bytes::from(format!("v={}", Base64::encode_string(&own)));
        Some(Step::Done { user: self.user, last })
    }
}

struct ClientFirst<'a> {
    /// Up to the message's bare part.
    head: &'a str,
    bare: &'a str,
    user: String,
    nonce: &'a str,
    /// A delegation token, of which this broker makes none.
    is_token: bool,
}

impl<'a> ClientFirst<'a> {
    fn parse(message: &'a str) -> Option<Self> {
        // Without channel binding, or with one that the client thinks isn't had here: it isn't.
        let after = message.strip_prefix("n,").or_else(|| message.strip_prefix("y,"))?;
        let (authorize, bare) = after.split_once(',')?;
        let head = &message[..message.len() - bare.len()];
        let mut parts = bare.split(',');
        let user = unescaped(parts.next()?.strip_prefix("n=")?)?;
        let nonce = parts.next()?.strip_prefix("r=")?;
        let is_token = parts.any(|extension| extension == "tokenauth=true");
        let is_own = match authorize.strip_prefix("a=") {
            Some(name) => unescaped(name)? == user,
            None => authorize.is_empty(),
        };
        let is_printable = |byte: u8| (0x21..=0x7E).contains(&byte) && byte != b',';
        let is_nonce = !nonce.is_empty() && nonce.bytes().all(is_printable);
        let is_short = nonce.len() <= TEXT_BYTES_MAX && user.len() <= TEXT_BYTES_MAX;
        let is_whole = is_own && is_nonce && is_short && !user.is_empty();
        is_whole.then_some(Self { head, bare, user, nonce, is_token })
    }
}

/// A `saslname`: `=2C` and `=3D` stand for `,` and `=`, and nothing else begins with `=`.
fn unescaped(name: &str) -> Option<String> {
    let mut plain = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('=') {
        plain.push_str(before);
        plain.push(match after.get(..2)? {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        rest = &after[2..];
    }
    plain.push_str(rest);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use streamledger_protocol::Password;

    use super::super::credential::of_password;
    use super::*;

    // RFC 7677, section 3.
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const OWN_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn kept(password: &str) -> ScramCredential {
        let salt = Bytes::from(Base64::decode_vec("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap());
        let (stored_key, server_key) = (Bytes::new(), Bytes::new());
        let shape = ScramCredential { salt, iterations: 4096, stored_key, server_key };
        of_password(ScramMechanism::Sha256, &Password::from(password), Some(&shape)).unwrap()
    }

    fn exchange(is_known: bool, password: &str, last: &str) -> Option<Step> {
        let mut scram = Scram::new(Mechanism::ScramSha256);
        let find = |user: &str| {
            assert_eq!(user, "user");
            (is_known, kept(password))
        };
        match scram.answer(FIRST.as_bytes(), OWN_NONCE, find)? {
            Step::Challenge(bytes) => assert_eq!(bytes, SERVER_FIRST),
            Step::Done { .. } | Step::Token { .. } | Step::Refused | Step::RefusedWith(_) => {
                panic!("not a challenge")
            }
        }
        let step = scram.answer(last.as_bytes(), OWN_NONCE, |_| unreachable!());
        assert!(scram.answer(last.as_bytes(), OWN_NONCE, |_| unreachable!()).is_none());
        step
    }

    #[test]
    fn the_vectors_of_the_rfc() {
        let Some(Step::Done { user, last }) = exchange(true, "pencil", FINAL) else {
            panic!("not let in")
        };
        assert_eq!(user, "user");
        assert_eq!(last, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_wrong_password_and_an_unknown_user_are_nobody() {
        assert!(exchange(true, "pencils", FINAL).is_none());
        assert!(exchange(false, "pencil", FINAL).is_none());
    }

    #[rstest]
    #[case::nonce_of_another_exchange("k0,p", "k1,p")]
    #[case::nonce_of_the_client_alone("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "")]
    #[case::nonce_that_goes_on("k0,p", "k0x,p")]
    #[case::another_binding("biws", "eSws")]
    #[case::no_proof(",p=", ",q=")]
    #[case::short_proof("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "dHzb")]
    fn failures_57_a_final_message_must_belong_to_this_exchange(
        #[case] from: &str,
        #[case] to: &str,
    ) {
        let forged = FINAL.replace(from, to);
        assert_ne!(forged, FINAL);
        assert!(exchange(true, "pencil", &forged).is_none());
    }

    #[rstest]
    #[case("n,a=user,n=user,r=x", true)]
    #[case("y,,n=a=2Cb=3D,r=x", true)]
    #[case("n,a=root,n=user,r=x", false)]
    #[case("p=tls-unique,,n=user,r=x", false)]
    #[case("n,,n=us=er,r=x", false)]
    #[case("n,,n=,r=x", false)]
    #[case("n,,n=user,r=", false)]
    #[case("n,,m=ext,n=user,r=x", false)]
    #[case("", false)]
    fn a_first_message_is_read_strictly(#[case] message: &str, #[case] is_read: bool) {
        assert_eq!(ClientFirst::parse(message).is_some(), is_read);
    }

    #[test]
    fn failures_57_a_user_who_is_not_there_looks_like_one_who_is() {
        let unknown = UnknownUsers::new().unwrap();
        let made_up = |user| unknown.credential(ScramMechanism::Sha512, user);
        assert_eq!(made_up("eve"), made_up("eve"));
        assert_ne!(made_up("eve").salt, made_up("mallory").salt);
        assert_eq!((made_up("eve").salt.len(), made_up("eve").stored_key.len()), (26, 64));
    }
}
