//! PLAIN, the broker's side (RFC 4616): `authorize NUL user NUL password`.
//!
//! The time it takes does not tell whether there is such a user, nor how much of the password was
//! right: hashes are compared, and for a user who isn't there one that nothing has.

use std::collections::BTreeMap;

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use streamledger_protocol::Password;
use subtle::{Choice, ConstantTimeEq};

use super::Step;

pub(super) fn step(token: &[u8], users: &BTreeMap<String, Password>) -> Step {
    let Some((user, password)) = parse(token) else { return Step::Refused };
    let found = users.get(user);
    let expected = found.map_or("", Password::reveal);
    let is_right =
        digest(&SHA256, password).as_ref().ct_eq(digest(&SHA256, expected.as_bytes()).as_ref());
    match bool::from(is_right & Choice::from(u8::from(found.is_some()))) {
        true => Step::Done { user: user.to_owned(), last: Bytes::new() },
        false => Step::Refused,
    }
}

fn parse(token: &[u8]) -> Option<(&str, &[u8])> {
    let mut parts = token.split(|&byte| byte == 0);
    let authorize = std::str::from_utf8(parts.next()?).ok()?;
    let user = std::str::from_utf8(parts.next()?).ok()?;
    let password = parts.next()?;
    let is_whole = parts.next().is_none() && !user.is_empty() && !password.is_empty();
    // Nobody acts for others (Kafka's `PlainSaslServer`).
    (is_whole && (authorize.is_empty() || authorize == user)).then_some((user, password))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"\0alice\0hunter2", true)]
    #[case(b"alice\0alice\0hunter2", true)]
    #[case(b"bob\0alice\0hunter2", false)]
    #[case(b"\0alice\0hunter", false)]
    #[case(b"\0alice\0", false)]
    #[case(b"\0bob\0hunter2", false)]
    #[case(b"\0bob\0", false)]
    #[case(b"\0empty\0", false)]
    #[case(b"\0alice\0hunter2\0", false)]
    #[case(b"alice\0hunter2", false)]
    #[case(b"", false)]
    #[case(b"\0\xFF\0hunter2", false)]
    fn only_the_right_password_lets_in(#[case] token: &[u8], #[case] is_let_in: bool) {
        let users = [("alice", "hunter2"), ("empty", "")];
        let users = users.map(|(name, password)| (name.to_owned(), Password::from(password)));
        let done = matches!(step(token, &users.into()), Step::Done { user, .. } if user == "alice");
        assert_eq!(done, is_let_in);
    }
}
