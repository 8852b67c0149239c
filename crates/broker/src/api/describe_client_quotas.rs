//! DescribeClientQuotas (48): the quotas that a filter finds (KIP-546).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::Operation;
use streamledger_broker_core::controller::{QuotaMatch, Refusal, find_quotas};
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::describe_client_quotas::{
    ComponentData, EntityData, EntryData, ValueData,
};
use streamledger_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use super::access::Access;
use super::{Answer, Api, Call};

impl Api for DescribeClientQuotasRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access = Access::Cluster(&[Operation::DescribeConfigs]);

    fn refused(&self, error: ErrorCode) -> DescribeClientQuotasResponse {
        DescribeClientQuotasResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DescribeClientQuotasResponse> {
        match describe(&self, call) {
            Ok(entries) => {
                DescribeClientQuotasResponse { entries: Some(entries), ..Default::default() }.into()
            }
            Err(refusal) => DescribeClientQuotasResponse {
                error_code: refusal.error,
                error_message: Some(refusal.message),
                ..Default::default()
            }
            .into(),
        }
    }
}

fn describe(asked: &DescribeClientQuotasRequest, call: &Call) -> Result<Vec<EntryData>, Refusal> {
    let filter = filter(&asked.components)?;
    call.node.controller.read(|state| {
        let found = find_quotas(state, &filter, asked.strict)?;
        let entries = found.into_iter().map(|(entity, quotas)| EntryData {
            entity: entity
                .iter()
                .map(|(kind, name)| EntityData {
                    entity_type: kind.clone(),
                    entity_name: name.clone(),
                })
                .collect(),
            values: quotas
                .iter()
                .map(|(key, value)| ValueData { key: key.clone(), value: value.value() })
                .collect(),
        });
        Ok(entries.collect())
    })
}

fn filter(components: &[ComponentData]) -> Result<BTreeMap<String, QuotaMatch>, Refusal> {
    let invalid = |message: String| Refusal::new(ErrorCode::InvalidRequest, message);
    let mut filter = BTreeMap::new();
    for component in components {
        let kind = &component.entity_type;
        let wanted = match (component.match_type, &component.r#match) {
            (0, Some(name)) => QuotaMatch::Exact(name.clone()),
            (0, None) => {
                return Err(invalid(
                    "Request specified MATCH_TYPE_EXACT, but set match string to \
                                    null."
                        .to_owned(),
                ));
            }
            (1 | 2, Some(_)) => {
                let message = "Request specified a match string for a match type that has none.";
                return Err(invalid(message.to_owned()));
            }
            (1, None) => QuotaMatch::Default,
            (2, None) => QuotaMatch::Any,
            (other, _) => return Err(invalid(format!("Unknown match type {other}"))),
        };
        if kind.is_empty() || filter.insert(kind.clone(), wanted).is_some() {
            return Err(invalid(format!("Entity type {kind:.64} is empty or specified twice.")));
        }
    }
    Ok(filter)
}
