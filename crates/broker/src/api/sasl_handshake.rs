//! SaslHandshake (17): chooses a mechanism. After version 0 its tokens come without a request
//! around them, from version 1 on in SaslAuthenticate (KIP-152).

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};

use super::access::Access;
use super::{Answer, Api, Call};

impl Api for SaslHandshakeRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access = Access::Open("it is the login");

    fn refused(&self, error: ErrorCode) -> SaslHandshakeResponse {
        SaslHandshakeResponse { error_code: error, mechanisms: Vec::new() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<SaslHandshakeResponse> {
        let session = &call.connection.session;
        let (error_code, mechanisms) = session.handshake(&self.mechanism, call.version.0);
        let mechanisms = mechanisms.into_iter().map(str::to_owned).collect();
        SaslHandshakeResponse { error_code, mechanisms }.into()
    }
}
