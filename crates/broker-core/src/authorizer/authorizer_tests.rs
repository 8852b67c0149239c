//! What is allowed, and what is not, rule by rule.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

use Operation::{Alter, AlterConfigs, Describe, DescribeConfigs, Read, Write};
use PatternType::{Literal, Prefixed};
use Permission::{Allow, Deny};

const TOPIC: ResourceType = ResourceType::Topic;

fn acl(
    permission: Permission,
    who: &str,
    operation: Operation,
    pattern: PatternType,
    name: &str,
) -> Acl {
    Acl {
        resource: TOPIC,
        pattern,
        name: name.to_owned(),
        principal: who.to_owned(),
        host: WILDCARD.to_owned(),
        operation,
        permission,
    }
}

fn acls(rules: &[Acl]) -> Acls {
    let mut acls = Acls::default();
    for rule in rules {
        assert!(acls.insert(rule.clone()));
    }
    acls
}

fn allows(rules: &[Acl], operation: Operation, name: &str) -> bool {
    let (alice, acls) = (Principal::user("alice"), acls(rules));
    let who = Subject { principal: &alice, host: "10.0.0.1" };
    Authorizer::default().allows(&acls, who, operation, TOPIC, name)
}

const ALICE: &str = "User:alice";

#[rstest]
#[case::own_name(Literal, "orders", true)]
#[case::every_name(Literal, "*", true)]
#[case::beginning(Prefixed, "ord", true)]
#[case::whole_beginning(Prefixed, "orders", true)]
#[case::other_name(Literal, "order", false)]
#[case::other_beginning(Prefixed, "orders2", false)]
#[case::a_star_is_no_beginning(Prefixed, "*", false)]
fn a_name_is_matched(#[case] pattern: PatternType, #[case] name: &str, #[case] expected: bool) {
    assert_eq!(allows(&[acl(Allow, ALICE, Read, pattern, name)], Read, "orders"), expected);
}

#[rstest]
#[case("::1", "::1", true)]
#[case("0:0:0:0:0:0:0:1", "::1", true)]
#[case("2001:DB8:0:0:0:0:0:7", "2001:db8::7", true)]
#[case("::ffff:10.0.0.1", "10.0.0.1", true)]
#[case("::1", "::2", false)]
#[case("10.0.0.1", "10.0.0.2", false)]
#[case("not:an:address", "::1", false)]
fn an_address_is_the_same_however_it_is_written(
    #[case] rule: &str,
    #[case] host: &str,
    #[case] is_denied: bool,
) {
    let deny = Acl { host: rule.to_owned(), ..acl(Deny, ALICE, Read, Literal, "orders") };
    let acls = acls(&[acl(Allow, ALICE, Read, Literal, "*"), deny]);
    let alice = Principal::user("alice");
    let who = Subject { principal: &alice, host };
    assert_eq!(Authorizer::default().allows(&acls, who, Read, TOPIC, "orders"), !is_denied);
}

#[test]
fn a_denial_goes_before_what_allows_however_it_is_named() {
    for (pattern, name) in [(Literal, "orders"), (Literal, "*"), (Prefixed, "o")] {
        let rules = [
            acl(Allow, ALICE, Operation::All, Literal, "orders"),
            acl(Deny, EVERYBODY, Read, pattern, name),
        ];
        assert!(!allows(&rules, Read, "orders"), "{name}");
        assert!(allows(&rules, Write, "orders"));
    }
}

#[rstest]
#[case(Read, Describe, true)]
#[case(Write, Describe, true)]
#[case(Operation::Delete, Describe, true)]
#[case(Alter, Describe, true)]
#[case(AlterConfigs, DescribeConfigs, true)]
#[case(AlterConfigs, Describe, false)]
#[case(Describe, Read, false)]
#[case(Operation::All, Operation::Create, true)]
fn some_operations_imply_others_where_they_are_allowed(
    #[case] given: Operation,
    #[case] wanted: Operation,
    #[case] expected: bool,
) {
    assert_eq!(allows(&[acl(Allow, ALICE, given, Literal, "t")], wanted, "t"), expected);
    let denied = [acl(Allow, ALICE, wanted, Literal, "t"), acl(Deny, ALICE, given, Literal, "t")];
    let is_denied = given == Operation::All;
    assert_eq!(allows(&denied, wanted, "t"), !is_denied, "denying implies nothing else");
}

#[test]
fn who_and_where_count() {
    let rule = acl(Allow, "User:bob", Read, Literal, "t");
    assert!(!allows(std::slice::from_ref(&rule), Read, "t"));
    let here = Acl { principal: ALICE.to_owned(), host: "10.0.0.1".to_owned(), ..rule.clone() };
    assert!(allows(&[here], Read, "t"));
    let there = Acl { principal: ALICE.to_owned(), host: "10.0.0.2".to_owned(), ..rule };
    assert!(!allows(&[there], Read, "t"));
}

#[test]
fn what_nothing_is_said_about_is_as_it_is_set_and_super_users_may_do_all() {
    let (alice, bob) = (Principal::user("alice"), Principal::user("bob"));
    let authorizer =
        Authorizer { super_users: [bob.clone()].into(), allows_what_no_acl_is_about: true };
    let rules = acls(&[acl(Deny, EVERYBODY, Operation::All, Literal, "t")]);
    let ask = |principal, name| {
        let who = Subject { principal, host: "h" };
        authorizer.allows(&rules, who, Read, TOPIC, name)
    };
    assert!(ask(&alice, "other") && !ask(&alice, "t") && ask(&bob, "t"));
    // One rule about it, for somebody else, is enough to close it.
    let rules = acls(&[acl(Allow, "User:carol", Read, Literal, "t")]);
    let who = Subject { principal: &alice, host: "h" };
    assert!(!authorizer.allows(&rules, who, Read, TOPIC, "t"));
}

#[rstest]
#[case::nothing(&[], false)]
#[case::one(&[acl(Allow, ALICE, Write, Literal, "t")], true)]
#[case::somebody_elses(&[acl(Allow, "User:bob", Write, Literal, "t")], false)]
#[case::denied_itself(
    &[acl(Allow, ALICE, Write, Literal, "t"), acl(Deny, ALICE, Write, Literal, "t")], false)]
#[case::denied_by_beginning(
    &[acl(Allow, ALICE, Write, Prefixed, "tab"), acl(Deny, ALICE, Write, Prefixed, "ta")], false)]
#[case::denied_in_part(
    &[acl(Allow, ALICE, Write, Prefixed, "t"), acl(Deny, ALICE, Write, Prefixed, "ta")], true)]
#[case::denied_everywhere(
    &[acl(Allow, ALICE, Write, Literal, "*"), acl(Deny, ALICE, Write, Literal, "*")], false)]
#[case::all_but_one(
    &[acl(Allow, ALICE, Write, Literal, "*"), acl(Deny, ALICE, Write, Prefixed, "t")], true)]
fn any_topic_is_enough_for_a_producer_id(#[case] rules: &[Acl], #[case] expected: bool) {
    let alice = Principal::user("alice");
    let who = Subject { principal: &alice, host: "h" };
    let allowed = Authorizer::default().allows_any(&acls(rules), who, Write, TOPIC);
    assert_eq!(allowed, expected);
}

#[test]
fn allowed_operations_are_told_as_bits() {
    let alice = Principal::user("alice");
    let who = Subject { principal: &alice, host: "h" };
    let rules = acls(&[acl(Allow, ALICE, Read, Literal, "t")]);
    let bits = Authorizer::default().allowed_bits(&rules, who, 0b1_1111_1000, TOPIC, "t");
    assert_eq!(bits, 1 << 3 | 1 << 8);
}

#[test]
fn a_rule_that_is_taken_out_leaves_nothing_behind() {
    let rules = [
        acl(Allow, ALICE, Read, Literal, "t"),
        acl(Allow, ALICE, Read, Prefixed, "t"),
        acl(Allow, ALICE, Write, Prefixed, "t"),
    ];
    let mut all = acls(&rules);
    assert!(!all.insert(rules[0].clone()));
    for rule in &rules {
        assert!(all.remove(rule));
        assert!(!all.remove(rule));
    }
    assert_eq!(all, Acls::default());
}

/// What Kafka's documentation says, word by word, over the whole list.
fn naively_allows(
    authorizer: &Authorizer,
    rules: &[Acl],
    who: Subject<'_>,
    operation: Operation,
    name: &str,
) -> bool {
    let principal = who.principal.to_string();
    let about: Vec<_> = rules
        .iter()
        .filter(|acl| match acl.pattern {
            Literal => acl.name == name || acl.name == "*",
            Prefixed => name.starts_with(&acl.name),
        })
        .collect();
    let is_mine = |acl: &&&Acl| {
        [&principal, EVERYBODY].contains(&acl.principal.as_str())
            && [who.host, "*"].contains(&acl.host.as_str())
    };
    let says = |permission| {
        let own = about.iter().filter(is_mine).filter(move |acl| acl.permission == permission);
        own.map(|acl| acl.operation).collect::<Vec<_>>()
    };
    let is_in = |said: &[Operation], one| said.contains(&one) || said.contains(&Operation::All);
    let (denied, allowed) = (says(Deny), says(Allow));
    let implied = match operation {
        Describe => [Read, Write, Operation::Delete, Alter].iter().any(|o| allowed.contains(o)),
        DescribeConfigs => allowed.contains(&AlterConfigs),
        _ => false,
    };
    authorizer.super_users.contains(who.principal)
        || (!is_in(&denied, operation) && (implied || is_in(&allowed, operation)))
        || (about.is_empty() && authorizer.allows_what_no_acl_is_about)
}

fn any_rule() -> impl Strategy<Value = Acl> {
    let operation = prop::sample::select(Operation::ALL);
    let who = prop::sample::select(vec![ALICE, "User:bob", EVERYBODY]);
    let host = prop::sample::select(vec!["*", "h", "g"]);
    let name = prop::sample::select(vec!["*", "a", "ab", "abc", "\u{e9}b", "\u{e9}"]);
    (operation, who, host, name, any::<bool>(), any::<bool>()).prop_map(
        |(operation, who, host, name, is_literal, allows)| {
            let pattern = if is_literal { Literal } else { Prefixed };
            let permission = if allows { Allow } else { Deny };
            let rule = acl(permission, who, operation, pattern, name);
            Acl { host: host.to_owned(), ..rule }
        },
    )
}

proptest! {
    #[test]
    fn every_answer_is_that_of_the_naive_reading_of_the_whole_list(
        rules in prop::collection::btree_set(any_rule(), 0..12),
        gone in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        allows_what_no_acl_is_about: bool,
    ) {
        let mut rules: Vec<Acl> = rules.into_iter().collect();
        let mut indexed = acls(&rules);
        for place in gone {
            if !rules.is_empty() {
                let rule = rules.swap_remove(place.index(rules.len()));
                prop_assert!(indexed.remove(&rule));
            }
        }
        let alice = Principal::user("alice");
        let authorizer = Authorizer { allows_what_no_acl_is_about, ..Authorizer::default() };
        let who = Subject { principal: &alice, host: "h" };
        for name in ["a", "ab", "abcd", "\u{e9}bc", "*", "x"] {
            for operation in Operation::ALL {
                let found = authorizer.allows(&indexed, who, *operation, TOPIC, name);
                let expected = naively_allows(&authorizer, &rules, who, *operation, name);
                prop_assert_eq!(found, expected, "{:?} {} {:?}", operation, name, rules);
            }
        }
    }
}
