//! Which quota is a client's (Kafka's `ClientQuotaManager.DefaultQuotaCallback`).

use std::collections::BTreeMap;

use crate::controller::{QuotaEntity, QuotaValue};

/// The name that the quota of changes to topics is set by: partitions that are made or deleted, a
/// second.
pub const CONTROLLER_MUTATION_RATE: &str = "controller_mutation_rate";

/// What a quota of a rate is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaKind {
    /// Bytes a second of Produce requests.
    Produce,
    /// Bytes a second of Fetch responses.
    Fetch,
    /// Per cent of the time of one of the threads that serve requests.
    Request,
}

impl QuotaKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Produce, Self::Fetch, Self::Request];

    /// The name it is set by.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Produce => "producer_byte_rate",
            Self::Fetch => "consumer_byte_rate",
            Self::Request => "request_percentage",
        }
    }
}

/// A client's quota.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// The most of it, a second.
    pub bound: f64,
    /// The user whose use counts; none for that of all users together.
    pub user: Option<String>,
    /// The client id whose use counts; none for that of all client ids together.
    pub client_id: Option<String>,
}

/// The most exact of the quotas that fit a client, if one does: by user and client id, by user, by
/// client id; in each a name goes before the default. `key` is the name it is set by.
#[must_use]
pub fn limit_of(
    quotas: &BTreeMap<QuotaEntity, BTreeMap<String, QuotaValue>>,
    key: &str,
    user: &str,
    client_id: &str,
) -> Option<Limit> {
    let named = |name: &str| Some(Some(name.to_owned()));
    let (of_user, of_client) = (named(user), named(client_id));
    let default = || Some(None);
    // None: the entity has no such part.
    let candidates = [
        (of_user.clone(), of_client.clone()),
        (of_user.clone(), default()),
        (of_user, None),
        (default(), of_client.clone()),
        (default(), default()),
        (default(), None),
        (None, of_client),
        (None, default()),
    ];
    candidates.into_iter().find_map(|(user_part, client_part)| {
        let (has_user, has_client) = (user_part.is_some(), client_part.is_some());
        let user_part = user_part.map(|name| ("user".to_owned(), name));
        let client_part = client_part.map(|name| ("client-id".to_owned(), name));
        let entity: QuotaEntity = user_part.into_iter().chain(client_part).collect();
        let bound = quotas.get(&entity)?.get(key)?.value();
        // Also under a default each has a share of its own.
        Some(Limit {
            bound,
            user: has_user.then(|| user.to_owned()),
            client_id: has_client.then(|| client_id.to_owned()),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(user: Option<Option<&str>>, client: Option<Option<&str>>) -> QuotaEntity {
        let owned = |name: Option<&str>| name.map(str::to_owned);
        let user = user.map(|name| ("user".to_owned(), owned(name)));
        let client = client.map(|name| ("client-id".to_owned(), owned(name)));
        user.into_iter().chain(client).collect()
    }

    #[test]
    fn the_most_exact_quota_counts_and_says_who_shares_it() {
        let (name, default) = (|name| Some(Some(name)), Some(None));
        let rows = [
            (entity(name("u"), name("c")), (Some("u"), Some("c"))),
            (entity(name("u"), default), (Some("u"), Some("c"))),
            (entity(name("u"), None), (Some("u"), None)),
            (entity(default, name("c")), (Some("u"), Some("c"))),
            (entity(default, default), (Some("u"), Some("c"))),
            (entity(default, None), (Some("u"), None)),
            (entity(None, name("c")), (None, Some("c"))),
            (entity(None, default), (None, Some("c"))),
        ];
        let mut quotas: BTreeMap<_, _> =
            [(entity(name("other"), None), 1.0), (entity(None, name("other")), 2.0)]
                .into_iter()
                .chain(
                    rows.iter()
                        .zip(10..)
                        .map(|((entity, _), bound)| (entity.clone(), f64::from(bound))),
                )
                .map(|(entity, bound)| {
                    let key = QuotaKind::Produce.key().to_owned();
                    (entity, BTreeMap::from([(key, QuotaValue::new(bound))]))
                })
                .collect();
        for ((entity, (user, client_id)), bound) in rows.iter().zip(10..) {
            let found = limit_of(&quotas, QuotaKind::Produce.key(), "u", "c").unwrap();
            assert_eq!(found.bound.to_bits(), f64::from(bound).to_bits());
            assert_eq!((found.user.as_deref(), found.client_id.as_deref()), (*user, *client_id));
            assert_eq!(limit_of(&quotas, CONTROLLER_MUTATION_RATE, "u", "c"), None);
            quotas.remove(entity);
        }
        assert_eq!(limit_of(&quotas, QuotaKind::Produce.key(), "u", "c"), None);
    }
}
