//! SaslAuthenticate (36): a token of the mechanism that SaslHandshake chose.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};

use super::access::Access;
use super::{Answer, Api, Call, Held};

impl Api for SaslAuthenticateRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=2;
    const ACCESS: Access = Access::Open("it is the login");

    fn refused(&self, error: ErrorCode) -> SaslAuthenticateResponse {
        SaslAuthenticateResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<SaslAuthenticateResponse> {
        let node = &call.node;
        let session = &call.connection.session;
        let done = session.authenticate(&self.auth_bytes, &node.controller, &node.unknown_users);
        let response = SaslAuthenticateResponse {
            error_code: done.error,
            error_message: done.message,
            auth_bytes: done.bytes,
            session_lifetime_ms: done.session_lifetime_ms,
        };
        if done.delay.is_zero() {
            return response.into();
        }
        Answer::Later(Box::pin(async move {
            tokio::time::sleep(done.delay).await;
            Held::whole(response)
        }))
    }
}
