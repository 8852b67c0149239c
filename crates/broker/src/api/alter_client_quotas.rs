//! AlterClientQuotas (49): sets and removes quotas. Those of bytes and of request time act;
//! controller_mutation_rate and connection_creation_rate are only kept.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::Operation;
use streamledger_broker_core::controller::{
    QuotaChange, QuotaEntity, Refusal, decide_alter_quotas,
};
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::alter_client_quotas::{EntryData, EntryResult};
use streamledger_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};

use super::access::Access;
use super::{Answer, Api, Call};
use crate::node::Node;

impl Api for AlterClientQuotasRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access = Access::Cluster(&[Operation::AlterConfigs]);

    fn refused(&self, error: ErrorCode) -> AlterClientQuotasResponse {
        let entries = self.entries.iter().map(|entry| EntryResult {
            error_code: error,
            error_message: None,
            entity: entry.entity.clone(),
        });
        AlterClientQuotasResponse { entries: entries.collect(), ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<AlterClientQuotasResponse> {
        let failed = self.refused(ErrorCode::UnknownServerError);
        let altered = call.blocking(move |node| {
            let entries = self.entries.into_iter().map(|entry| {
                let (error_code, error_message) = match alter(node, &entry, self.validate_only) {
                    Ok(()) => (ErrorCode::None, None),
                    Err(refusal) => (refusal.error, Some(refusal.message)),
                };
                EntryResult { error_code, error_message, entity: entry.entity }
            });
            AlterClientQuotasResponse { entries: entries.collect(), ..Default::default() }
        });
        altered.await.unwrap_or(failed).into()
    }
}

fn alter(node: &Node, entry: &EntryData, only_validates: bool) -> Result<(), Refusal> {
    let mut entity = QuotaEntity::new();
    for part in &entry.entity {
        if entity.insert(part.entity_type.clone(), part.entity_name.clone()).is_some() {
            let message = format!("Entity type {:.64} is specified twice.", part.entity_type);
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
    }
    let changes: Vec<_> = entry
        .ops
        .iter()
        .map(|op| QuotaChange { key: op.key.clone(), value: (!op.remove).then_some(op.value) })
        .collect();
    if only_validates {
        return decide_alter_quotas(&entity, &changes).map(|decision| decision.reply);
    }
    let decide = |_: &_| decide_alter_quotas(&entity, &changes);
    node.controller.change(decide, |()| Ok(()), |()| ())
}
