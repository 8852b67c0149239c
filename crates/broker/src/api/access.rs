//! What each API asks of who calls it: the checks of Kafka's `KafkaApis` and `ControllerApis`.
//!
//! 1. Each API names its access; one that doesn't is no [`Api`](super::Api), and isn't served.
//! 2. What is asked of the cluster is checked before the handler; what is asked of the resources
//!    that a request names is checked by the handler, and by nothing else than is written there.
//! 3. Without an authorizer everybody may do everything.
//! 4. Who may not describe a topic doesn't learn whether it is there.

use std::fmt;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{CLUSTER, Operation, ResourceType, Subject};
use streamledger_broker_core::controller::{ClusterState, Topic};
use streamledger_protocol::{ErrorCode, GroupId, TopicId, TopicName, TransactionalId};

use super::Call;

/// An operation on resources of a type.
pub(crate) type Asked = (Operation, ResourceType);

/// What an API asks of who calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing; says why.
    Open(&'static str),
    /// One of these operations on the cluster.
    Cluster(&'static [Operation]),
    /// These, of the resources that a request names.
    Each(&'static [Asked]),
}

impl Access {
    /// Whether a handler may ask this.
    fn names(self, operation: Operation, resource: ResourceType) -> bool {
        match self {
            Self::Open(_) => false,
            Self::Cluster(operations) => {
                resource == ResourceType::Cluster && operations.contains(&operation)
            }
            Self::Each(asked) => asked.contains(&(operation, resource)),
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<String> = match self {
            Self::Open(why) => return write!(f, "nothing: {why}"),
            Self::Cluster(operations) => {
                let names = operations.iter().map(|operation| format!("{operation:?}"));
                return write!(f, "{} on the cluster", names.collect::<Vec<_>>().join(" or "));
            }
            Self::Each(asked) => asked
                .iter()
                .map(|(operation, resource)| {
                    let on = match resource {
                        ResourceType::Topic => "topics",
                        ResourceType::Group => "groups",
                        ResourceType::Cluster => "the cluster",
                        ResourceType::TransactionalId => "transactional ids",
                        ResourceType::DelegationToken => "delegation tokens",
                        ResourceType::User => "users",
                    };
                    format!("{operation:?} on {on}")
                })
                .collect(),
        };
        f.write_str(&list.join(", "))
    }
}

impl Call {
    /// Whether who calls may do something with a resource.
    pub(crate) fn allows(&self, operation: Operation, resource: ResourceType, name: &str) -> bool {
        self.node.authorizer.is_none()
            || self.node.controller.read(|state| self.allows_in(state, operation, resource, name))
    }

    /// As [`allows`](Self::allows), where the state is being read already.
    pub(crate) fn allows_in(
        &self,
        state: &ClusterState,
        operation: Operation,
        resource: ResourceType,
        name: &str,
    ) -> bool {
        debug_assert!(
            self.access.names(operation, resource),
            "{operation:?} on {resource:?} is not in the API's access"
        );
        let Some(authorizer) = &self.node.authorizer else { return true };
        self.as_subject(|who| authorizer.allows(state.acls(), who, operation, resource, name))
    }

    /// Whether who calls may do something with any resource of a type.
    pub(crate) fn allows_any(&self, operation: Operation, resource: ResourceType) -> bool {
        debug_assert!(self.access.names(operation, resource));
        let Some(authorizer) = &self.node.authorizer else { return true };
        self.as_subject(|who| {
            let read = |state: &ClusterState| {
                authorizer.allows_any(state.acls(), who, operation, resource)
            };
            self.node.controller.read(read)
        })
    }

    /// Of these operations those that who calls may do, as bits (KIP-430).
    pub(crate) fn allowed_bits_in(
        &self,
        state: &ClusterState,
        of: i32,
        resource: ResourceType,
        name: &str,
    ) -> i32 {
        let Some(authorizer) = &self.node.authorizer else { return of };
        self.as_subject(|who| authorizer.allowed_bits(state.acls(), who, of, resource, name))
    }

    /// Whether who calls may do something with the cluster.
    pub(crate) fn allows_cluster(&self, operation: Operation) -> bool {
        self.allows(operation, ResourceType::Cluster, CLUSTER)
    }

    /// Whether who calls may do something with a topic.
    pub(crate) fn allows_topic(&self, operation: Operation, topic: &TopicName) -> bool {
        self.allows(operation, ResourceType::Topic, topic.as_str())
    }

    /// That who calls may do something with a group.
    pub(crate) fn check_group(
        &self,
        operation: Operation,
        group: &GroupId,
    ) -> Result<(), ErrorCode> {
        match self.allows(operation, ResourceType::Group, group.as_str()) {
            true => Ok(()),
            false => Err(ErrorCode::GroupAuthorizationFailed),
        }
    }

    /// That who calls may do something with a transactional id.
    pub(crate) fn check_transactional_id(
        &self,
        operation: Operation,
        id: &TransactionalId,
    ) -> Result<(), ErrorCode> {
        match self.allows(operation, ResourceType::TransactionalId, id.as_str()) {
            true => Ok(()),
            false => Err(ErrorCode::TransactionalIdAuthorizationFailed),
        }
    }

    /// A topic as data requests name it (by name, or by id from version 13 on), for who may do
    /// that with it.
    pub(crate) fn topic_for(
        &self,
        operation: Operation,
        name: &TopicName,
        id: TopicId,
    ) -> Result<Arc<Topic>, ErrorCode> {
        self.node.controller.read(|state| {
            let by_id = match id.is_zero() {
                true => None,
                false => Some(state.topic_by_id(id).ok_or(ErrorCode::UnknownTopicId)?),
            };
            let name = by_id.map_or(name, |topic| &topic.name);
            if !self.allows_in(state, operation, ResourceType::Topic, name.as_str()) {
                return Err(ErrorCode::TopicAuthorizationFailed);
            }
            let found = by_id.or_else(|| state.topic(name.as_str()));
            found.cloned().ok_or(ErrorCode::UnknownTopicOrPartition)
        })
    }

    fn as_subject<R>(&self, ask: impl FnOnce(Subject<'_>) -> R) -> R {
        let principal = self.connection.session.principal();
        let host = self.connection.peer.ip().to_canonical().to_string();
        ask(Subject { principal: &principal, host: &host })
    }
}

#[cfg(test)]
mod tests {
    use super::super::SERVED;

    /// The table of docs/security.md is what is checked. Run with `STREAMLEDGER_WRITE_DOCS=1` to
    /// write it.
    #[test]
    fn the_table_in_docs_is_what_the_apis_ask() {
        const BEGIN: &str = "| API | asks for |\n| --- | --- |\n";
        let rows = SERVED.iter().map(|api| format!("| {} | {} |\n", api.key.name(), api.access));
        let table = format!("{BEGIN}{}", rows.collect::<String>());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security.md");
        let page = std::fs::read_to_string(path).unwrap();
        if std::env::var_os("STREAMLEDGER_WRITE_DOCS").is_some() {
            let begin = page.find(BEGIN).unwrap();
            let end = page[begin..].find("\n\n").map_or(page.len(), |end| begin + end + 1);
            let written = format!("{}{table}{}", &page[..begin], &page[end..]);
            std::fs::write(path, written).unwrap();
            return;
        }
        assert!(page.contains(&table), "docs/security.md lacks this table:\n{table}");
    }
}
