//! Who somebody is, and what they may do (Kafka's `StandardAuthorizer`).
//!
//! 1. A rule that denies goes before any that allows.
//! 2. Allowing Read, Write, Delete or Alter allows Describe with it, and AlterConfigs
//!    DescribeConfigs; denying implies nothing else.
//! 3. What no rule is about is denied, unless `allow.everyone.if.no.acl.found`.
//! 4. Super users may do everything.

mod acl;
mod filter;
mod principal;

use core::net::IpAddr;
use std::collections::BTreeSet;

pub use acl::{
    Acl, Acls, CLUSTER, EVERYBODY, Operation, PatternType, Permission, ResourceType, WILDCARD,
};
pub use filter::{AclFilter, RawAclFilter};
pub use principal::Principal;

/// Who asks, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// The address, as text.
    pub host: &'a str,
}

/// What is set about ACLs, beside the ACLs themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorizer {
    /// super.users.
    pub super_users: BTreeSet<Principal>,
    /// allow.everyone.if.no.acl.found.
    pub allows_what_no_acl_is_about: bool,
}

impl Authorizer {
    /// Whether somebody may do something with a resource.
    #[must_use]
    pub fn allows(
        &self,
        acls: &Acls,
        who: Subject<'_>,
        operation: Operation,
        resource: ResourceType,
        name: &str,
    ) -> bool {
        if self.super_users.contains(who.principal) {
            return true;
        }
        let principal = who.principal.to_string();
        let mut is_anything_said = false;
        let mut is_allowed = false;
        for acl in acls.about(resource, name) {
            is_anything_said = true;
            if !is_about(acl, &principal, who.host) || !covers(acl, operation) {
                continue;
            }
            match acl.permission {
                Permission::Deny => return false,
                Permission::Allow => is_allowed = true,
            }
        }
        is_allowed || (!is_anything_said && self.allows_what_no_acl_is_about)
    }

    /// Whether somebody may do something with any resource of a type (KIP-679, and
    /// `Authorizer.authorizeByResourceType`): with one of a name that a rule allows and none
    /// denies.
    #[must_use]
    pub fn allows_any(
        &self,
        acls: &Acls,
        who: Subject<'_>,
        operation: Operation,
        resource: ResourceType,
    ) -> bool {
        // As Kafka: a name that nobody has stands for one that no rule names.
        if self.allows(acls, who, operation, resource, "hardcode") {
            return true;
        }
        let principal = who.principal.to_string();
        let own = acls.about_type(resource).filter(|acl| {
            let is_it = acl.operation == operation || acl.operation == Operation::All;
            is_it && is_about(acl, &principal, who.host)
        });
        let (allowed, denied): (Vec<_>, Vec<_>) =
            own.partition(|acl| acl.permission == Permission::Allow);
        let is_wildcard = |acl: &Acl| acl.pattern == PatternType::Literal && acl.name == WILDCARD;
        let is_denied = |allow: &Acl| {
            denied.iter().any(|deny| match deny.pattern {
                PatternType::Literal if is_wildcard(deny) => true,
                PatternType::Literal => {
                    allow.pattern == PatternType::Literal && allow.name == deny.name
                }
                PatternType::Prefixed => !is_wildcard(allow) && allow.name.starts_with(&deny.name),
            })
        };
        allowed.iter().any(|allow| !is_denied(allow))
    }

    /// What somebody may do with a resource, of these operations, as bits (KIP-430).
    #[must_use]
    pub fn allowed_bits(
        &self,
        acls: &Acls,
        who: Subject<'_>,
        of: i32,
        resource: ResourceType,
        name: &str,
    ) -> i32 {
        let is_allowed = |operation: &&Operation| {
            let bit = 1 << operation.code();
            of & bit != 0 && self.allows(acls, who, **operation, resource, name)
        };
        Operation::ALL.iter().filter(is_allowed).fold(0, |bits, own| bits | 1 << own.code())
    }
}

fn is_about(acl: &Acl, principal: &str, host: &str) -> bool {
    (acl.principal == principal || acl.principal == EVERYBODY) && is_from(&acl.host, host)
}

/// Whether a rule's host is everywhere or that address, however it is written: Kafka's tools write
/// the groups of an IPv6 address that others leave out.
fn is_from(rule: &str, host: &str) -> bool {
    let address = |text: &str| text.parse().ok().map(|address: IpAddr| address.to_canonical());
    rule == host
        || rule == WILDCARD
        || rule.contains(':') && address(rule).is_some_and(|rule| address(host) == Some(rule))
}

/// Whether a rule is about an operation, in itself or by what it implies.
fn covers(acl: &Acl, wanted: Operation) -> bool {
    use Operation::{All, Alter, AlterConfigs, Delete, Describe, DescribeConfigs, Read, Write};
    let implied: &[Operation] = match (acl.permission, wanted) {
        (Permission::Allow, Describe) => &[Read, Write, Delete, Alter],
        (Permission::Allow, DescribeConfigs) => &[AlterConfigs],
        _ => &[],
    };
    acl.operation == wanted || acl.operation == All || implied.contains(&acl.operation)
}

#[cfg(test)]
#[path = "authorizer_tests.rs"]
mod tests;
