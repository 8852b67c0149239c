//! Client quotas (KIP-546): who they are for, what they may be, and which a filter finds.

use std::collections::BTreeMap;

use streamledger_protocol::ErrorCode;

use super::decide::{Decision, Refusal};
use super::record::{MetadataRecord, TEXT_BYTES_MAX};
use super::state::ClusterState;

/// A part of the cluster's clients: by kind (`user`, `client-id`, `ip`), a name, or none for the
/// default of the kind.
pub type QuotaEntity = BTreeMap<String, Option<String>>;

/// A quota's value: a finite number, kept by its bits so that it is the same after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaValue(pub(super) u64);

impl QuotaValue {
    /// Keeps a number.
    #[must_use]
    pub const fn new(value: f64) -> Self {
        Self(value.to_bits())
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// One change of an entity's quotas.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaChange {
    /// Which quota.
    pub key: String,
    /// Its value; none removes it.
    pub value: Option<f64>,
}

/// What a kind of entity must be for a filter to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuotaMatch {
    /// That name.
    Exact(String),
    /// The default.
    Default,
    /// Any name, or the default.
    Any,
}

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";
/// The quotas of users and client ids, and whether they are whole numbers.
const OF_CLIENTS: [(&str, bool); 4] = [
    ("producer_byte_rate", true),
    ("consumer_byte_rate", true),
    ("request_percentage", false),
    ("controller_mutation_rate", false),
];
const OF_ADDRESSES: [(&str, bool); 1] = [("connection_creation_rate", true)];

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}

/// Changes the quotas of an entity; all of the changes, or none (Kafka's
/// `ClientQuotaControlManager`).
///
/// # Errors
/// A [`Refusal`] with the code Kafka gives.
pub fn decide_alter_quotas(
    entity: &QuotaEntity,
    changes: &[QuotaChange],
) -> Result<Decision<()>, Refusal> {
    check_entity(entity)?;
    let known = if entity.contains_key(IP) { &OF_ADDRESSES[..] } else { &OF_CLIENTS[..] };
    let mut records = Vec::with_capacity(changes.len());
    for change in changes {
        let key = &change.key;
        let found = known.iter().find(|(known, _)| known == key);
        let Some((_, is_whole)) = found else {
            return Err(invalid(format!("Invalid configuration key {key:.64}")));
        };
        if let Some(value) = change.value {
            if !value.is_finite() || value <= 0.0 {
                return Err(invalid(format!("Quota {key} must be greater than 0")));
            }
            if *is_whole && value.fract() > 1e-6 {
                return Err(invalid(format!("Configuration {key} must be a whole number")));
            }
        }
        records.push(MetadataRecord::ClientQuotaChanged {
            entity: entity.clone(),
            key: key.clone(),
            value: change.value.map(QuotaValue::new),
        });
    }
    Ok(Decision { records, reply: () })
}

fn check_entity(entity: &QuotaEntity) -> Result<(), Refusal> {
    if entity.is_empty() {
        return Err(invalid("Invalid empty client quota entity"));
    }
    for (kind, name) in entity {
        if ![USER, CLIENT_ID, IP].contains(&kind.as_str()) {
            return Err(invalid(format!("Unhandled client quota entity type: {kind:.64}")));
        }
        match name {
            Some(name) if name.is_empty() => {
                return Err(invalid(format!("Empty {kind} not supported")));
            }
            Some(name) if name.len() > TEXT_BYTES_MAX => {
                return Err(invalid(format!("The {kind} is longer than {TEXT_BYTES_MAX} bytes")));
            }
            Some(name) if kind == IP && name.parse::<core::net::IpAddr>().is_err() => {
                return Err(invalid(format!("{name:.64} is not a valid IP or resolvable host.")));
            }
            _ => {}
        }
    }
    if entity.contains_key(IP) && entity.len() > 1 {
        return Err(invalid("Invalid quota entity combination: ip and another"));
    }
    Ok(())
}

/// An entity with its quotas.
pub type FoundQuotas<'a> = (&'a QuotaEntity, &'a BTreeMap<String, QuotaValue>);

/// The entities that a filter finds, with their quotas. A strict filter finds those that have its
/// kinds and no other.
///
/// # Errors
/// A [`Refusal`] with the code Kafka gives.
pub fn find_quotas<'a>(
    state: &'a ClusterState,
    filter: &BTreeMap<String, QuotaMatch>,
    is_strict: bool,
) -> Result<Vec<FoundQuotas<'a>>, Refusal> {
    if let Some(kind) = filter.keys().find(|kind| ![USER, CLIENT_ID, IP].contains(&kind.as_str())) {
        let message = format!("Custom entity type '{kind:.64}' not supported");
        return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
    }
    if filter.contains_key(IP) && filter.len() > 1 {
        return Err(invalid("Invalid entity filter component combination: ip and another"));
    }
    let is_found = |entity: &QuotaEntity| {
        filter.iter().all(|(kind, wanted)| match (entity.get(kind), wanted) {
            (None, _) => false,
            (Some(_), QuotaMatch::Any) | (Some(None), QuotaMatch::Default) => true,
            (Some(Some(name)), QuotaMatch::Exact(wanted)) => name == wanted,
            (Some(None), QuotaMatch::Exact(_)) | (Some(Some(_)), QuotaMatch::Default) => false,
        }) && (!is_strict || entity.len() == filter.len())
    };
    Ok(state.quotas().iter().filter(|(entity, _)| is_found(entity)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(parts: &[(&str, Option<&str>)]) -> QuotaEntity {
        let owned = |name: &Option<&str>| name.map(str::to_owned);
        parts.iter().map(|(kind, name)| ((*kind).to_owned(), owned(name))).collect()
    }

    fn set(key: &str, value: f64) -> QuotaChange {
        QuotaChange { key: key.to_owned(), value: Some(value) }
    }

    fn state_with(quotas: &[(QuotaEntity, QuotaChange)]) -> ClusterState {
        let mut state = ClusterState::default();
        for (entity, change) in quotas {
            let decision = decide_alter_quotas(entity, std::slice::from_ref(change)).unwrap();
            decision.records.iter().for_each(|record| state.replay(record).unwrap());
        }
        state
    }

    #[test]
    fn a_wrong_entity_key_or_value_is_refused() {
        let refused = |parts: &[(&str, Option<&str>)], change| {
            decide_alter_quotas(&entity(parts), &[change]).unwrap_err().error
        };
        let rate = || set("producer_byte_rate", 1000.0);
        for parts in [
            &[][..],
            &[("team", Some("a"))],
            &[("user", Some(""))],
            &[("ip", Some("nowhere"))],
            &[("ip", Some("127.0.0.1")), ("user", None)],
        ] {
            assert_eq!(refused(parts, rate()), ErrorCode::InvalidRequest, "{parts:?}");
        }
        let user: &[_] = &[("user", Some("a"))];
        assert_eq!(refused(user, set("connection_creation_rate", 1.0)), ErrorCode::InvalidRequest);
        for value in [0.0, -1.0, f64::NAN, 1.5] {
            let change = set("producer_byte_rate", value);
            assert_eq!(refused(user, change), ErrorCode::InvalidRequest, "{value}");
        }
        assert!(decide_alter_quotas(&entity(user), &[set("request_percentage", 1.5)]).is_ok());
    }

    #[test]
    fn a_filter_finds_by_name_default_and_any_and_a_strict_one_nothing_more() {
        let rate = |value| set("consumer_byte_rate", value);
        let both = entity(&[("user", Some("a")), ("client-id", None)]);
        let state = state_with(&[
            (entity(&[("user", Some("a"))]), rate(1.0)),
            (entity(&[("user", None)]), rate(2.0)),
            (both.clone(), rate(3.0)),
        ]);
        let found = |filter: &[(&str, QuotaMatch)], is_strict| {
            let filter = filter.iter().map(|(kind, wanted)| ((*kind).to_owned(), wanted.clone()));
            let found = find_quotas(&state, &filter.collect(), is_strict).unwrap();
            found.iter().map(|(_, quotas)| quotas["consumer_byte_rate"].value()).collect::<Vec<_>>()
        };
        let exact = || QuotaMatch::Exact("a".to_owned());
        assert_eq!(found(&[], false).len(), 3);
        assert_eq!(found(&[("user", exact())], false), [3.0, 1.0]);
        assert_eq!(found(&[("user", exact())], true), [1.0]);
        assert_eq!(found(&[("user", QuotaMatch::Default)], true), [2.0]);
        assert_eq!(
            found(&[("user", QuotaMatch::Any), ("client-id", QuotaMatch::Any)], true),
            [3.0]
        );
        let removed = QuotaChange { key: "consumer_byte_rate".to_owned(), value: None };
        let mut state = state.clone();
        let decision = decide_alter_quotas(&both, &[removed]).unwrap();
        decision.records.iter().for_each(|record| state.replay(record).unwrap());
        assert_eq!(state.quotas().len(), 2);
        let mut again = ClusterState::default();
        state.snapshot().iter().for_each(|record| again.replay(record).unwrap());
        assert_eq!(again.quotas(), state.quotas());
    }
}
