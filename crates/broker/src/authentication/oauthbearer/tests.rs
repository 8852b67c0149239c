//! Tokens of every kind that must not let anybody in, and of those few that must.

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use rstest::rstest;
use serde_json::{Value, json};

use super::jwt::{CheckedToken, check};
use super::*;
use crate::config::{KeyPlace, TokenRules};

const NOW: u64 = 1_800_000_000;

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn rules() -> TokenRules {
    TokenRules {
        subject_claim: "sub".to_owned(),
        scope_claim: "scope".to_owned(),
        clock_skew: Duration::from_secs(30),
        audiences: ["kafka".to_owned(), "streams".to_owned()].into(),
        issuer: Some("https://idp".to_owned()),
    }
}

fn claims() -> Value {
    json!({"sub": "alice", "iss": "https://idp", "aud": "kafka", "iat": NOW, "exp": NOW + 60})
}

#[allow(clippy::needless_pass_by_value, reason = "so that cases are written as they are")]
fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value.is_null() {
            true => claims.as_object_mut().unwrap().remove(name),
            false => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

/// One key of each kind; that of elliptic curves is a new one each time.
struct Keys {
    ec: EcdsaKeyPair,
    rsa: RsaKeyPair,
}

impl Keys {
    fn new() -> Self {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let ec = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap();
        let text = include_str!("../../../tests/data/token-key.pkcs8.base64").replace('\n', "");
        let rsa = RsaKeyPair::from_pkcs8(&Base64::decode_vec(&text).unwrap()).unwrap();
        Self { ec, rsa }
    }

    fn set(&self) -> KeySet {
        let point = self.ec.public_key().as_ref();
        let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        let keys = json!({"keys": [
            {"kty": "oct", "kid": "shared", "k": "AAAA"},
            {"kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "use": "sig",
             "x": encoded(&point[1..33]), "y": encoded(&point[33..])},
            {"kty": "RSA", "kid": "rsa", "n": encoded([&[0][..], &rsa.n].concat()),
             "e": encoded(rsa.e)},
        ]});
        KeySet::parse(keys.to_string().as_bytes()).unwrap()
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let random = SystemRandom::new();
        let rsa = |padding| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(padding, &random, text.as_bytes(), &mut signature).unwrap();
            signature
        };
        let signature = match header["alg"].as_str() {
            Some("RS256") => rsa(&RSA_PKCS1_SHA256),
            Some("PS256") => rsa(&RSA_PSS_SHA256),
            _ => self.ec.sign(&random, text.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{text}.{}", encoded(signature))
    }
}

#[test]
fn a_token_that_is_signed_and_says_what_it_must_lets_in() {
    let keys = Keys::new();
    let set = keys.set();
    let expires = now() + Duration::from_secs(60);
    let alice = Ok(CheckedToken { subject: "alice".to_owned(), expires });
    for header in [
        json!({"alg": "ES256", "kid": "ec"}),
        json!({"alg": "ES256", "typ": "JWT"}),
        json!({"alg": "RS256", "kid": "rsa"}),
        json!({"alg": "PS256"}),
    ] {
        assert_eq!(check(&keys.sign(&header, &claims()), Some(&set), &rules(), now()), alice);
    }
    let header = json!({"alg": "ES256"});
    for good in [
        with(json!({"aud": ["other", "streams"]})),
        with(json!({"scope": "a b", "nbf": NOW + 29})),
        with(json!({"scope": ["a", "b"], "more": {"a": [1]}})),
    ] {
        assert_eq!(check(&keys.sign(&header, &good), Some(&set), &rules(), now()), alice, "{good}");
    }
    // The clock there may be behind.
    let late = keys.sign(&header, &with(json!({"exp": NOW as f64 - 29.5})));
    assert!(check(&late, Some(&set), &rules(), now()).is_ok());
}

#[rstest]
#[case::over(json!({"exp": NOW - 30}), BadToken::Time)]
#[case::not_begun(json!({"nbf": NOW + 31}), BadToken::Time)]
#[case::endless(json!({"exp": null}), BadToken::Claim("exp".into()))]
#[case::odd_end(json!({"exp": "soon"}), BadToken::Claim("exp".into()))]
#[case::absurd_end(json!({"exp": 1e300}), BadToken::Claim("exp".into()))]
#[case::before_time(json!({"exp": -5}), BadToken::Claim("exp".into()))]
#[case::undated(json!({"iat": null}), BadToken::Claim("iat".into()))]
#[case::by_another(json!({"iss": "https://evil"}), BadToken::Claim("iss".into()))]
#[case::by_nobody(json!({"iss": null}), BadToken::Claim("iss".into()))]
#[case::for_another(json!({"aud": "mail"}), BadToken::Claim("aud".into()))]
#[case::for_nobody(json!({"aud": null}), BadToken::Claim("aud".into()))]
#[case::for_others(json!({"aud": ["mail", 7]}), BadToken::Claim("aud".into()))]
#[case::about_nobody(json!({"sub": " "}), BadToken::Claim("sub".into()))]
#[case::about_a_number(json!({"sub": 7}), BadToken::Claim("sub".into()))]
#[case::odd_scope(json!({"scope": {"a": 1}}), BadToken::Claim("scope".into()))]
fn what_a_token_says_must_hold(#[case] changes: Value, #[case] expected: BadToken) {
    let keys = Keys::new();
    let token = keys.sign(&json!({"alg": "ES256"}), &with(changes));
    assert_eq!(check(&token, Some(&keys.set()), &rules(), now()), Err(expected));
}

#[test]
fn a_token_meant_for_somebody_is_not_for_a_broker_that_has_no_name() {
    let keys = Keys::new();
    let rules = TokenRules { audiences: [].into(), issuer: None, ..rules() };
    let check = |claims: &Value| {
        check(&keys.sign(&json!({"alg": "ES256"}), claims), Some(&keys.set()), &rules, now())
    };
    assert_eq!(check(&claims()), Err(BadToken::Claim("aud".to_owned())));
    assert!(check(&with(json!({"aud": null}))).is_ok());
}

#[test]
fn a_signature_must_be_by_the_right_key_and_of_these_very_bytes() {
    let keys = Keys::new();
    let set = keys.set();
    let check = |token: &str| check(token, Some(&set), &rules(), now());
    let good = keys.sign(&json!({"alg": "ES256", "kid": "ec"}), &claims());
    assert!(check(&good).is_ok());
    // Another key signed it, or another's name is on it.
    let stranger = Keys::new();
    let forged = stranger.sign(&json!({"alg": "ES256", "kid": "ec"}), &claims());
    assert_eq!(check(&forged), Err(BadToken::Signature));
    let unknown = keys.sign(&json!({"alg": "ES256", "kid": "nobody's"}), &claims());
    assert_eq!(check(&unknown), Err(BadToken::UnknownKey));
    let other_kind = keys.sign(&json!({"alg": "RS256", "kid": "ec"}), &claims());
    assert_eq!(check(&other_kind), Err(BadToken::UnknownKey));
    // Another's claims under this signature.
    let (_, rest) = good.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let head = encoded(json!({"alg": "ES256", "kid": "ec"}).to_string());
    let claims_of_bob = encoded(with(json!({"sub": "bob"})).to_string());
    assert_eq!(check(&format!("{head}.{claims_of_bob}.{signature}")), Err(BadToken::Signature));
    // No signature, and the algorithms that need none or a secret.
    let body = encoded(claims().to_string());
    assert_eq!(check(&format!("{head}.{body}.")), Err(BadToken::Signature));
    for algorithm in ["none", "None", "NONE", "HS256", "ES512", "dir"] {
        for signature in ["", signature] {
            let head = encoded(json!({"alg": algorithm, "kid": "ec"}).to_string());
            let token = format!("{head}.{body}.{signature}");
            assert_eq!(check(&token), Err(BadToken::Algorithm), "{algorithm}");
        }
    }
    let critical = keys.sign(&json!({"alg": "ES256", "crit": ["b64"], "b64": false}), &claims());
    assert_eq!(check(&critical), Err(BadToken::Malformed));
}

#[test]
fn what_is_no_token_is_refused_without_a_panic() {
    let keys = Keys::new();
    let set = keys.set();
    let good = keys.sign(&json!({"alg": "ES256"}), &claims());
    let long = format!("{good}{}", "A".repeat(70_000));
    assert_eq!(check(&long, Some(&set), &rules(), now()), Err(BadToken::TooLong));
    let deep = encoded("[".repeat(30_000));
    for text in ["", ".", "..", "...", "a.b.c", "e30.e30.", "bnVsbA.e30.e30", &good[1..]] {
        assert!(check(text, Some(&set), &rules(), now()).is_err(), "{text}");
        assert!(check(text, None, &rules(), now()).is_err(), "{text}");
    }
    assert_eq!(check(&format!("{deep}.e30."), None, &rules(), now()), Err(BadToken::Malformed));
    for at in 0..good.len() {
        assert!(check(&good[..at], Some(&set), &rules(), now()).is_err());
    }
}

#[test]
fn unsigned_tokens_are_taken_only_where_that_was_asked_for_and_signed_ones_are_not() {
    let keys = Keys::new();
    let token = |header: Value, claims: Value| {
        format!("{}.{}.", encoded(header.to_string()), encoded(claims.to_string()))
    };
    let none = token(json!({"alg": "none"}), json!({"sub": "alice", "exp": NOW + 9}));
    assert!(check(&none, None, &rules(), now()).is_ok());
    assert_eq!(check(&none, Some(&keys.set()), &rules(), now()), Err(BadToken::Algorithm));
    let signed = keys.sign(&json!({"alg": "ES256"}), &claims());
    assert_eq!(check(&signed, None, &rules(), now()), Err(BadToken::Algorithm));
    assert_eq!(check(&format!("{none}x"), None, &rules(), now()), Err(BadToken::Signature));
    let old = token(json!({"alg": "none"}), json!({"sub": "alice", "exp": NOW - 31}));
    assert_eq!(check(&old, None, &rules(), now()), Err(BadToken::Time));
}

#[test]
fn the_first_message_is_taken_apart_and_nothing_else_passes_for_one() {
    let parse = |text: &'static str| FirstMessage::parse(text.as_bytes());
    let first = |acts_for, token| Some(FirstMessage { acts_for, token });
    assert_eq!(parse("n,,\x01auth=Bearer a.b.c\x01\x01"), first(None, "a.b.c"));
    let whole = "n,a=alice,\x01host=h\x01auth=bearer  a.b.\x01cluster=lkc 1\x01\x01";
    assert_eq!(parse(whole), first(Some("alice"), "a.b."));
    for wrong in [
        "",
        "n,,",
        "n,,\x01\x01",
        "n,,\x01auth=Bearer a\x01",
        "y,,\x01auth=Bearer a\x01\x01",
        "n,a=,\x01auth=Bearer a\x01\x01",
        "n,,\x01auth=Basic a\x01\x01",
        "n,,\x01auth=Bearer \x01\x01",
        "n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01",
        "n,,\x01h2=x\x01auth=Bearer a\x01\x01",
        "n,,\x01auth=Bearer a\x01x=\u{7f}\x01\x01",
    ] {
        assert_eq!(parse(wrong), None, "{wrong:?}");
    }
}

#[test]
fn who_is_refused_is_told_that_the_token_is_invalid_and_told_once_more() {
    let settings = OAuthSettings { rules: rules(), keys: None };
    let bearer = Bearer::new(settings).unwrap();
    let message = b"n,,\x01auth=Bearer a.b.\x01\x01";
    let mut exchange = Exchange::default();
    let step = bearer.step(&mut exchange, message);
    assert!(matches!(step, Step::Challenge(told) if told == INVALID_TOKEN));
    assert!(matches!(bearer.step(&mut exchange, b"\x01"), Step::RefusedWith(INVALID_TOKEN)));
    // Who goes on as if nothing had happened is told nothing.
    assert!(matches!(bearer.step(&mut exchange, message), Step::Refused));
    // Nobody acts for others.
    let claims = json!({"sub": "alice", "exp": 99_999_999_999_u64});
    let (head, claims) = (encoded("{\"alg\":\"none\"}"), encoded(claims.to_string()));
    let acting = |name: &str| format!("n,a={name},\x01auth=Bearer {head}.{claims}.\x01\x01");
    let step = |name| bearer.step(&mut Exchange::default(), acting(name).as_bytes());
    assert!(matches!(step("alice"), Step::Token { .. }));
    assert!(matches!(step("bob"), Step::Refused));
}

#[test]
fn keys_that_are_none_are_refused_and_the_wait_for_others_grows_to_a_bound() {
    for wrong in ["", "[]", "{}", "{\"keys\": {}}", "{\"keys\": []}", "{\"keys\": [7, {}]}"] {
        assert!(KeySet::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
    let source = KeySource {
        place: KeyPlace::File("/nowhere/keys.json".into()),
        authorities: None,
        refresh: Duration::from_secs(3600),
        retry_first: Duration::from_millis(100),
        retry_max: Duration::from_secs(10),
    };
    let waits = [1, 2, 3, 8, 60, u32::MAX].map(|failures| source.backoff(failures).as_millis());
    assert_eq!(waits, [100, 200, 400, 10_000, 10_000, 10_000]);
    let settings = OAuthSettings { rules: rules(), keys: Some(source) };
    assert!(Bearer::new(settings).unwrap_err().contains("keys.json"));
}
