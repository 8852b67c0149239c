//! Which rules a request means (Kafka's `AclBindingFilter`).

use super::acl::{Acl, Operation, PatternType, Permission, ResourceType, WILDCARD};

/// The code of "any" in every field of a filter.
const ANY: i8 = 1;
/// The code of patterns that match a name, in whichever way.
const MATCH: i8 = 2;

/// How a filter's name meets a rule's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NameFilter {
    /// The same name, in a pattern of any type.
    Any,
    /// Patterns that match the name.
    Match,
    /// The same name, in a pattern of this type.
    Pattern(PatternType),
}

/// Which rules are meant. A field of `None` means any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclFilter {
    resource: Option<ResourceType>,
    names: NameFilter,
    name: Option<String>,
    principal: Option<String>,
    host: Option<String>,
    operation: Option<Operation>,
    permission: Option<Permission>,
}

/// A filter's codes and texts as they come over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawAclFilter {
    /// `ResourceType`.
    pub resource: i8,
    /// `PatternType`.
    pub pattern: i8,
    /// The resource's name.
    pub name: Option<String>,
    /// Who.
    pub principal: Option<String>,
    /// From where.
    pub host: Option<String>,
    /// `AclOperation`.
    pub operation: i8,
    /// `AclPermissionType`.
    pub permission: i8,
}

impl AclFilter {
    /// Reads a filter.
    ///
    /// # Errors
    /// Names the field whose code means nothing.
    pub fn parse(raw: RawAclFilter) -> Result<Self, &'static str> {
        fn known<T>(
            code: i8,
            of: Option<T>,
            what: &'static str,
        ) -> Result<Option<T>, &'static str> {
            match of {
                Some(found) => Ok(Some(found)),
                None if code == ANY => Ok(None),
                None => Err(what),
            }
        }
        let names = match raw.pattern {
            ANY => NameFilter::Any,
            MATCH => NameFilter::Match,
            code => {
                let pattern = PatternType::from_code(code).ok_or("unknown pattern type")?;
                NameFilter::Pattern(pattern)
            }
        };
        Ok(Self {
            resource: known(
                raw.resource,
                ResourceType::from_code(raw.resource),
                "unknown resource type",
            )?,
            names,
            name: raw.name,
            principal: raw.principal,
            host: raw.host,
            operation: known(
                raw.operation,
                Operation::from_code(raw.operation),
                "unknown operation",
            )?,
            permission: known(
                raw.permission,
                Permission::from_code(raw.permission),
                "unknown permission",
            )?,
        })
    }

    /// Whether a rule is meant.
    #[must_use]
    pub fn means(&self, acl: &Acl) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        is(self.resource.as_ref(), &acl.resource)
            && self.means_name(acl)
            && is(self.principal.as_ref(), &acl.principal)
            && is(self.host.as_ref(), &acl.host)
            && is(self.operation.as_ref(), &acl.operation)
            && is(self.permission.as_ref(), &acl.permission)
    }

    fn means_name(&self, acl: &Acl) -> bool {
        if let NameFilter::Pattern(pattern) = self.names
            && pattern != acl.pattern
        {
            return false;
        }
        let Some(name) = &self.name else { return true };
        match (self.names, acl.pattern) {
            (NameFilter::Match, PatternType::Prefixed) => name.starts_with(&acl.name),
            (NameFilter::Match, PatternType::Literal) => *name == acl.name || acl.name == WILDCARD,
            (NameFilter::Any | NameFilter::Pattern(_), _) => *name == acl.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn acl(pattern: PatternType, name: &str) -> Acl {
        Acl {
            resource: ResourceType::Topic,
            pattern,
            name: name.to_owned(),
            principal: "User:alice".to_owned(),
            host: WILDCARD.to_owned(),
            operation: Operation::Read,
            permission: Permission::Allow,
        }
    }

    fn raw(pattern: i8, name: Option<&str>) -> RawAclFilter {
        RawAclFilter {
            resource: 2,
            pattern,
            name: name.map(str::to_owned),
            principal: None,
            host: None,
            operation: ANY,
            permission: ANY,
        }
    }

    // Literal orders, literal *, prefixed ord, prefixed orders.
    #[rstest]
    #[case(ANY, None, [true, true, true, true])]
    #[case(ANY, Some("orders"), [true, false, false, true])]
    #[case(MATCH, Some("orders"), [true, true, true, true])]
    #[case(MATCH, Some("order"), [false, true, true, false])]
    #[case(3, Some("orders"), [true, false, false, false])]
    #[case(4, Some("ord"), [false, false, true, false])]
    #[case(4, None, [false, false, true, true])]
    fn a_name_is_met_in_each_way(
        #[case] pattern: i8,
        #[case] name: Option<&str>,
        #[case] expected: [bool; 4],
    ) {
        let filter = AclFilter::parse(raw(pattern, name)).unwrap();
        let rules = [
            acl(PatternType::Literal, "orders"),
            acl(PatternType::Literal, "*"),
            acl(PatternType::Prefixed, "ord"),
            acl(PatternType::Prefixed, "orders"),
        ];
        assert_eq!(rules.map(|rule| filter.means(&rule)), expected);
    }

    #[test]
    fn every_field_counts_and_codes_that_mean_nothing_are_refused() {
        let rule = acl(PatternType::Literal, "orders");
        let means = |raw: RawAclFilter| AclFilter::parse(raw).unwrap().means(&rule);
        assert!(!means(RawAclFilter { resource: 3, ..raw(ANY, None) }));
        assert!(!means(RawAclFilter { principal: Some("User:bob".into()), ..raw(ANY, None) }));
        assert!(!means(RawAclFilter { host: Some("::1".into()), ..raw(ANY, None) }));
        assert!(!means(RawAclFilter { operation: 4, ..raw(ANY, None) }));
        assert!(!means(RawAclFilter { permission: 2, ..raw(ANY, None) }));
        assert!(AclFilter::parse(RawAclFilter { operation: 0, ..raw(ANY, None) }).is_err());
        assert!(AclFilter::parse(raw(0, None)).is_err());
        assert!(AclFilter::parse(raw(99, None)).is_err());
    }
}
