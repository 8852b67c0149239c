//! Making and deleting ACLs (Kafka's `AclControlManager`).

use std::collections::BTreeSet;

use streamledger_protocol::ErrorCode;

use super::decide::{Decision, Refusal};
use super::record::MetadataRecord;
use super::state::ClusterState;
use crate::authorizer::{Acl, AclFilter, CLUSTER, Principal, ResourceType};

/// ACLs that there may be: each is memory, and looked through.
const ACLS_MAX: usize = 50_000;
const TEXT_BYTES_MAX: usize = 1024;

/// Makes those of the rules that can be; the reply says of each whether it is there now.
#[must_use = "a decision is to be kept"]
pub fn decide_create_acls(
    state: &ClusterState,
    wanted: Vec<Result<Acl, Refusal>>,
) -> Decision<Vec<Result<(), Refusal>>> {
    let mut new = BTreeSet::new();
    let replies = wanted.into_iter().map(|acl| {
        let acl = acl?;
        check(&acl)?;
        // One that is there already is no error, as in Kafka.
        if !state.acls().contains(&acl) {
            if state.acls().count() + new.len() >= ACLS_MAX {
                let message = format!("There are {ACLS_MAX} ACLs already.");
                return Err(Refusal::new(ErrorCode::PolicyViolation, message));
            }
            new.insert(acl);
        }
        Ok(())
    });
    let reply = replies.collect();
    let records = new.into_iter().map(|acl| MetadataRecord::AclCreated { acl }).collect();
    Decision { records, reply }
}

fn check(acl: &Acl) -> Result<(), Refusal> {
    let refuse = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    if acl.name.is_empty() {
        return refuse("Resource name should not be empty.");
    }
    if acl.resource == ResourceType::Cluster && acl.name != CLUSTER {
        return refuse("The only valid name for the CLUSTER resource is kafka-cluster.");
    }
    let is_principal = Principal::parse(&acl.principal).is_some();
    if !is_principal {
        return refuse("A principal is written as TYPE:NAME, such as User:alice.");
    }
    let texts = [&acl.name, &acl.principal, &acl.host];
    if acl.host.is_empty() || texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return refuse("Name, principal and host have 1 to 1024 bytes.");
    }
    Ok(())
}

/// Deletes what each filter means; the reply is what that was.
#[must_use = "a decision is to be kept"]
pub fn decide_delete_acls(
    state: &ClusterState,
    filters: &[Option<AclFilter>],
) -> Decision<Vec<Vec<Acl>>> {
    let meant = |filter: &Option<AclFilter>| {
        let means = |acl: &&Acl| filter.as_ref().is_some_and(|filter| filter.means(acl));
        state.acls().iter().filter(means).cloned().collect::<Vec<_>>()
    };
    let reply: Vec<Vec<Acl>> = filters.iter().map(meant).collect();
    let gone: BTreeSet<Acl> = reply.iter().flatten().cloned().collect();
    let records = gone.into_iter().map(|acl| MetadataRecord::AclDeleted { acl }).collect();
    Decision { records, reply }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorizer::{Operation, PatternType, Permission, RawAclFilter};

    fn acl(name: &str) -> Acl {
        Acl {
            resource: ResourceType::Topic,
            pattern: PatternType::Literal,
            name: name.to_owned(),
            principal: "User:alice".to_owned(),
            host: "*".to_owned(),
            operation: Operation::Read,
            permission: Permission::Allow,
        }
    }

    #[test]
    fn rules_are_made_once_deleted_by_filter_and_survive_a_snapshot() {
        let mut state = ClusterState::default();
        let decision = decide_create_acls(&state, vec![Ok(acl("a")), Ok(acl("b")), Ok(acl("a"))]);
        assert_eq!((decision.records.len(), decision.reply.len()), (2, 3));
        for record in &decision.records {
            state.replay(record).unwrap();
        }
        assert!(decide_create_acls(&state, vec![Ok(acl("a"))]).records.is_empty());
        let mut again = ClusterState::default();
        for record in state.snapshot() {
            again.replay(&record).unwrap();
        }
        assert_eq!(again, state);
        let filter = AclFilter::parse(RawAclFilter {
            resource: 1,
            pattern: 1,
            name: Some("a".to_owned()),
            principal: None,
            host: None,
            operation: 1,
            permission: 1,
        });
        let filter = Some(filter.unwrap());
        let decision = decide_delete_acls(&state, &[filter.clone(), filter, None]);
        assert_eq!(decision.reply.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 0]);
        for record in &decision.records {
            state.replay(record).unwrap();
        }
        assert_eq!(state.acls().iter().collect::<Vec<_>>(), [&acl("b")]);
        let gone = MetadataRecord::AclDeleted { acl: acl("a") };
        assert!(state.replay(&gone).is_err(), "twice is damage");
    }

    #[test]
    fn what_is_no_rule_is_refused_and_the_others_are_made() {
        let state = ClusterState::default();
        let wrong = [
            acl(""),
            Acl { resource: ResourceType::Cluster, ..acl("other") },
            Acl { principal: "alice".to_owned(), ..acl("t") },
            Acl { host: String::new(), ..acl("t") },
            acl(&"x".repeat(2000)),
        ];
        let wanted = wrong.into_iter().map(Ok).chain([Ok(acl("fine"))]).collect();
        let Decision { records, reply } = decide_create_acls(&state, wanted);
        assert_eq!(records.len(), 1);
        assert_eq!(reply.iter().filter(|reply| reply.is_err()).count(), 5);
    }
}
