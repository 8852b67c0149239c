//! What the APIs of transactions have in common: what older versions are told instead.

use streamledger_protocol::{ApiVersion, ErrorCode};

/// The first version of AddPartitionsToTxn, AddOffsetsToTxn and EndTxn that knows PRODUCER_FENCED.
const FENCED_FROM: ApiVersion = ApiVersion(2);

/// An error as that version of AddPartitionsToTxn, AddOffsetsToTxn or EndTxn knows it.
pub(super) fn known_error(error: ErrorCode, version: ApiVersion) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced if version < FENCED_FROM => ErrorCode::InvalidProducerEpoch,
        other => other,
    }
}
