//! DescribeUserScramCredentials (50): which SCRAM credentials users have; never what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::Operation;
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::describe_user_scram_credentials::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use streamledger_protocol::messages::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};

use super::access::Access;
use super::{Answer, Api, Call};

impl Api for DescribeUserScramCredentialsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access = Access::Cluster(&[Operation::Describe]);

    fn refused(&self, error: ErrorCode) -> DescribeUserScramCredentialsResponse {
        DescribeUserScramCredentialsResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DescribeUserScramCredentialsResponse> {
        let mut known: BTreeMap<String, Vec<CredentialInfo>> = BTreeMap::new();
        call.node.controller.read(|state| {
            for (user, mechanism, credential) in state.scram_credentials() {
                known.entry(user.to_owned()).or_default().push(CredentialInfo {
                    mechanism: mechanism.code(),
                    iterations: credential.iterations,
                });
            }
        });
        let asked = self.users.unwrap_or_default();
        let results = if asked.is_empty() {
            let all = known.into_iter();
            all.map(|(user, infos)| described(user, infos)).collect()
        } else {
            let mut seen = BTreeSet::new();
            let (once, twice): (Vec<_>, Vec<_>) =
                asked.into_iter().partition(|user| seen.insert(user.name.clone()));
            let is_twice = |name: &str| twice.iter().any(|user| user.name == name);
            let results = once.into_iter().map(|user| match known.remove(&user.name) {
                _ if is_twice(&user.name) => refused(
                    user.name,
                    ErrorCode::DuplicateResource,
                    "Cannot describe SCRAM credentials for the same user twice in a single request",
                ),
                Some(infos) => described(user.name, infos),
                None => refused(
                    user.name,
                    ErrorCode::ResourceNotFound,
                    "Attempt to describe a user credential that does not exist",
                ),
            });
            results.collect()
        };
        DescribeUserScramCredentialsResponse { results, ..Default::default() }.into()
    }
}

fn described(
    user: String,
    credential_infos: Vec<CredentialInfo>,
) -> DescribeUserScramCredentialsResult {
    DescribeUserScramCredentialsResult { user, credential_infos, ..Default::default() }
}

fn refused(
    user: String,
    error_code: ErrorCode,
    message: &str,
) -> DescribeUserScramCredentialsResult {
    let error_message = Some(message.to_owned());
    DescribeUserScramCredentialsResult { user, error_code, error_message, ..Default::default() }
}
