//! AlterUserScramCredentials (51): sets and removes SCRAM credentials. The salted password that is
//! sent is hashed to the two keys of RFC 5802 before anything is kept.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use ring::{digest, hmac};
use streamledger_broker_core::authorizer::Operation;
use streamledger_broker_core::controller::{
    ScramChange, ScramCredential, ScramMechanism, decide_alter_scram,
};
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::alter_user_scram_credentials::{
    AlterUserScramCredentialsResult, ScramCredentialUpsertion,
};
use streamledger_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
};

use super::access::Access;
use super::{Answer, Api, Call};

impl Api for AlterUserScramCredentialsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access = Access::Cluster(&[Operation::Alter]);

    fn refused(&self, error: ErrorCode) -> AlterUserScramCredentialsResponse {
        let deleted = self.deletions.iter().map(|one| &one.name);
        let mut users: Vec<_> =
            deleted.chain(self.upsertions.iter().map(|one| &one.name)).cloned().collect();
        users.sort();
        users.dedup();
        let results = users.into_iter().map(|user| AlterUserScramCredentialsResult {
            user,
            error_code: error,
            error_message: None,
        });
        AlterUserScramCredentialsResponse { results: results.collect(), ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<AlterUserScramCredentialsResponse> {
        let failed = self.refused(ErrorCode::UnknownServerError);
        let changes = changes(&self);
        let altered = call.blocking(move |node| {
            let decide = |state: &_| Ok(decide_alter_scram(state, &changes));
            node.controller.change(decide, |_| Ok(()), |_| ())
        });
        let results = match altered.await {
            Some(Ok(reply)) => reply.into_iter().map(|(user, outcome)| {
                let (error_code, error_message) = match outcome {
                    Ok(()) => (ErrorCode::None, None),
                    Err(refusal) => (refusal.error, Some(refusal.message)),
                };
                AlterUserScramCredentialsResult { user, error_code, error_message }
            }),
            Some(Err(_)) | None => return failed.into(),
        };
        AlterUserScramCredentialsResponse { results: results.collect(), ..Default::default() }
            .into()
    }
}

fn changes(request: &AlterUserScramCredentialsRequest) -> Vec<ScramChange> {
    let deletions = request.deletions.iter().map(|deletion| ScramChange {
        user: deletion.name.clone(),
        mechanism: deletion.mechanism,
        credential: None,
    });
    let upsertions = request.upsertions.iter().map(|upsertion| ScramChange {
        user: upsertion.name.clone(),
        mechanism: upsertion.mechanism,
        credential: Some(credential(upsertion)),
    });
    deletions.chain(upsertions).collect()
}

/// The keys of a salted password; of an unknown mechanism, which is refused, those of any.
fn credential(upsertion: &ScramCredentialUpsertion) -> ScramCredential {
    let (mac, hash) = match ScramMechanism::from_code(upsertion.mechanism) {
        Some(ScramMechanism::Sha512) => (hmac::HMAC_SHA512, &digest::SHA512),
        Some(ScramMechanism::Sha256) | None => (hmac::HMAC_SHA256, &digest::SHA256),
    };
    let key = hmac::Key::new(mac, &upsertion.salted_password);
    let client_key = hmac::sign(&key, b"Client Key");
    let stored_key = digest::digest(hash, client_key.as_ref());
    let server_key = hmac::sign(&key, b"Server Key");
    ScramCredential {
        salt: upsertion.salt.clone(),
        iterations: upsertion.iterations,
        stored_key: Bytes::copy_from_slice(stored_key.as_ref()),
        server_key: Bytes::copy_from_slice(server_key.as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3: user "user", password "pencil".
    #[test]
    fn the_keys_are_those_of_the_rfc() {
        let salt = [
            0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36,
            0xfa, 0x81,
        ];
        let mut salted = [0; 32];
        let rounds = std::num::NonZeroU32::new(4096).unwrap();
        ring::pbkdf2::derive(
            ring::pbkdf2::PBKDF2_HMAC_SHA256,
            rounds,
            &salt,
            b"pencil",
            &mut salted,
        );
        let kept = credential(&ScramCredentialUpsertion {
            name: "user".to_owned(),
            mechanism: 1,
            iterations: 4096,
            salt: Bytes::copy_from_slice(&salt),
            salted_password: Bytes::copy_from_slice(&salted),
        });
        // The server's signature in the RFC's example is made with the server key.
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let message = format!(
            "n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,\
             r={nonce}"
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, &kept.server_key);
        let signature = hmac::sign(&key, message.as_bytes());
        // 6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4= in the RFC.
        let expected = [
            0xea, 0xba, 0xe2, 0x4d, 0x10, 0x62, 0xdb, 0x75, 0xa9, 0x45, 0x1f, 0xf0, 0xb6, 0xea,
            0x7e, 0x98, 0xc8, 0x54, 0x65, 0x49, 0xff, 0x74, 0x1e, 0x67, 0x2d, 0x32, 0x51, 0xb2,
            0x39, 0x7d, 0xe4, 0x6e,
        ];
        assert_eq!(signature.as_ref(), expected);
    }
}
