//! ACLs: who may, or may not, do what with which resource, from where.

use std::collections::{BTreeMap, BTreeSet};

/// Declares an enum of one byte's codes on the wire.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The one of a code on the wire.
            #[must_use]
            pub const fn from_code(code: i8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The code on the wire.
            #[must_use]
            pub const fn code(self) -> i8 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }
        }
    };
}

codes! {
    /// What an ACL is about (Kafka's `ResourceType`).
    ResourceType {
        /// A topic.
        Topic = 2,
        /// A consumer group.
        Group = 3,
        /// The cluster as a whole, whose name is [`CLUSTER`].
        Cluster = 4,
        /// A transactional id.
        TransactionalId = 5,
        /// A delegation token.
        DelegationToken = 6,
        /// A user.
        User = 7,
    }
}

codes! {
    /// What may be done (Kafka's `AclOperation`).
    Operation {
        /// Everything.
        All = 2,
        /// Fetching records, being in a group.
        Read = 3,
        /// Producing records.
        Write = 4,
        /// Making one.
        Create = 5,
        /// Removing one, or its records.
        Delete = 6,
        /// Changing it.
        Alter = 7,
        /// Seeing that it is there, and what it is like.
        Describe = 8,
        /// What brokers do among themselves.
        ClusterAction = 9,
        /// Reading its settings.
        DescribeConfigs = 10,
        /// Changing its settings.
        AlterConfigs = 11,
        /// Getting a producer id.
        IdempotentWrite = 12,
        /// Making delegation tokens.
        CreateTokens = 13,
        /// Seeing delegation tokens.
        DescribeTokens = 14,
        /// Taking part in transactions of others.
        TwoPhaseCommit = 15,
    }
}

codes! {
    /// How an ACL's name matches (Kafka's `PatternType`).
    PatternType {
        /// This name; `*` is every name.
        Literal = 3,
        /// Every name that begins so.
        Prefixed = 4,
    }
}

codes! {
    /// Whether it is allowed (Kafka's `AclPermissionType`).
    Permission {
        /// It is not, whatever else allows it.
        Deny = 2,
        /// It is.
        Allow = 3,
    }
}

/// The name of the one resource that is the cluster.
pub const CLUSTER: &str = "kafka-cluster";

/// Every resource, and every host.
pub const WILDCARD: &str = "*";

/// Everybody.
pub const EVERYBODY: &str = "User:*";

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    /// About what.
    pub resource: ResourceType,
    /// How the name matches.
    pub pattern: PatternType,
    /// The name.
    pub name: String,
    /// Who, as `User:alice`; `User:*` is everybody.
    pub principal: String,
    /// From which address; `*` is any.
    pub host: String,
    /// What.
    pub operation: Operation,
    /// Whether they may.
    pub permission: Permission,
}

/// All rules, found by what they are about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acls {
    all: BTreeSet<Acl>,
    by_type: BTreeMap<ResourceType, ByName>,
}

/// The rules about resources of one type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ByName {
    literal: BTreeMap<String, Vec<Acl>>,
    /// By the length of the prefix, in bytes.
    prefixed: BTreeMap<usize, BTreeMap<String, Vec<Acl>>>,
}

impl Acls {
    /// Every rule, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Acl> {
        self.all.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Whether there is this one.
    #[must_use]
    pub fn contains(&self, acl: &Acl) -> bool {
        self.all.contains(acl)
    }

    /// Adds a rule; whether it was not there.
    pub(crate) fn insert(&mut self, acl: Acl) -> bool {
        if !self.all.insert(acl.clone()) {
            return false;
        }
        let name = acl.name.clone();
        let own = self.by_type.entry(acl.resource).or_default();
        match acl.pattern {
            PatternType::Literal => own.literal.entry(name).or_default(),
            PatternType::Prefixed => {
                own.prefixed.entry(name.len()).or_default().entry(name).or_default()
            }
        }
        .push(acl);
        true
    }

    /// Takes a rule out; whether it was there.
    pub(crate) fn remove(&mut self, acl: &Acl) -> bool {
        if !self.all.remove(acl) {
            return false;
        }
        let Some(own) = self.by_type.get_mut(&acl.resource) else { return true };
        match acl.pattern {
            PatternType::Literal => take_out(&mut own.literal, acl),
            PatternType::Prefixed => {
                if let Some(by_name) = own.prefixed.get_mut(&acl.name.len()) {
                    take_out(by_name, acl);
                }
                own.prefixed.retain(|_, by_name| !by_name.is_empty());
            }
        }
        if own.literal.is_empty() && own.prefixed.is_empty() {
            self.by_type.remove(&acl.resource);
        }
        true
    }

    /// The rules about a resource: of its name, of every name, and of how it begins.
    pub(super) fn about<'a>(
        &'a self,
        resource: ResourceType,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Acl> {
        let of_type = self.by_type.get(&resource);
        let literal = move |name: &str| of_type.and_then(|own| own.literal.get(name));
        let own = literal(name).filter(|_| name != WILDCARD);
        let prefixed = of_type.into_iter().flat_map(|own| own.prefixed.range(..=name.len()));
        let prefixed = prefixed.filter_map(|(bytes, by_name)| by_name.get(name.get(..*bytes)?));
        own.into_iter().chain(literal(WILDCARD)).chain(prefixed).flatten()
    }

    /// The rules about any resource of a type.
    pub(super) fn about_type(&self, resource: ResourceType) -> impl Iterator<Item = &Acl> {
        self.all.iter().filter(move |acl| acl.resource == resource)
    }
}

fn take_out(by_name: &mut BTreeMap<String, Vec<Acl>>, acl: &Acl) {
    if let Some(rules) = by_name.get_mut(&acl.name) {
        rules.retain(|other| other != acl);
        if rules.is_empty() {
            by_name.remove(&acl.name);
        }
    }
}
