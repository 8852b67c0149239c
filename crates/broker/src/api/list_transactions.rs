//! ListTransactions (66): the transactional ids in given states, of given producers, open for long,
//! or named like a pattern (KIP-664, KIP-994, KIP-1152).

use std::ops::RangeInclusive;
use std::sync::Arc;

use regex::Regex;
use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::transaction::{self, Transaction};
use streamledger_protocol::messages::list_transactions::TransactionState;
use streamledger_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use streamledger_protocol::{ErrorCode, TimestampMs, TransactionalId};

use super::access::Access;
use super::{Answer, Api, Call};

/// A compiled pattern is memory that a client makes.
const PATTERN_BYTES_MAX: usize = 256 << 10;

impl Api for ListTransactionsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=2;
    const ACCESS: Access = Access::Each(&[(Operation::Describe, ResourceType::TransactionalId)]);

    fn refused(&self, error: ErrorCode) -> ListTransactionsResponse {
        ListTransactionsResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<ListTransactionsResponse> {
        let pattern = match self.transactional_id_pattern.as_deref().filter(|p| !p.is_empty()) {
            None => None,
            Some(pattern) => match whole(pattern) {
                Ok(pattern) => Some(pattern),
                Err(_) => return self.refused(ErrorCode::InvalidRegularExpression).into(),
            },
        };
        let (known, unknown): (Vec<_>, Vec<_>) = self
            .state_filters
            .iter()
            .map(|name| transaction::TransactionState::from_name(name).ok_or(name.clone()))
            .partition(Result::is_ok);
        let states: Vec<_> = known.into_iter().flatten().collect();
        let now = call.node.store.now().wall;
        let is_wanted = |id: &TransactionalId, one: &Transaction| {
            (self.state_filters.is_empty() || states.contains(&one.state))
                && (self.producer_id_filters.is_empty()
                    || self.producer_id_filters.contains(&one.producer.id))
                && is_open_for(one, self.duration_filter, now)
                && pattern.as_ref().is_none_or(|pattern| pattern.is_match(id.as_str()))
        };
        let transaction_states = call.node.transactions.read(|all| {
            let wanted = all.transactions().filter(|(id, one)| is_wanted(id, one));
            let wanted = wanted
                .filter(|(id, _)| call.check_transactional_id(Operation::Describe, id).is_ok());
            let listed = wanted.map(|(id, one)| TransactionState {
                transactional_id: id.clone(),
                producer_id: one.producer.id,
                transaction_state: one.state.name().to_owned(),
            });
            listed.collect()
        });
        ListTransactionsResponse {
            unknown_state_filters: unknown.into_iter().filter_map(Result::err).collect(),
            transaction_states,
            ..Default::default()
        }
        .into()
    }
}

/// A pattern for the whole of a transactional id.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_BYTES_MAX).build()
}

/// Negative asks for no duration; Kafka looks at the present transaction's, whatever its state.
fn is_open_for(one: &Transaction, duration_ms: i64, now: TimestampMs) -> bool {
    duration_ms < 0
        || (one.started != TimestampMs::NONE && now.0.saturating_sub(one.started.0) > duration_ms)
}
