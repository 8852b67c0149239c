//! `cargo xtask layering`: which crate may use which (law 1 of the architecture).
//!
//! 1. Among our crates only the edges of [`RULES`] exist; whoever is missing there fails.
//! 2. A dev-dependency may also be one of the rule's `tests_may_use`.
//! 3. A core crate reaches no runtime, no clock and no chance, not even through another crate.
//! 4. A core crate's own sources name none of [`OUTSIDE_WORLD`], outside of its tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::failure::{Failure, Outcome};
use crate::workspace::{self, Metadata};

struct Rule {
    package: &'static str,
    may_use: &'static [&'static str],
    tests_may_use: &'static [&'static str],
    is_core: bool,
}

const PROTOCOL: &str = "streamledger-protocol";
const DERIVE: &str = "streamledger-protocol-derive";
const CLIENT_CORE: &str = "streamledger-client-core";
const BROKER_CORE: &str = "streamledger-broker-core";
const CLIENT: &str = "streamledger";
const BROKER: &str = "streamledger-broker";

const fn shell(
    package: &'static str,
    may_use: &'static [&'static str],
    tests_may_use: &'static [&'static str],
) -> Rule {
    Rule { package, may_use, tests_may_use, is_core: false }
}

const RULES: &[Rule] = &[
    shell(DERIVE, &[], &[]),
    shell(PROTOCOL, &[DERIVE], &[]),
    Rule { package: CLIENT_CORE, may_use: &[PROTOCOL], tests_may_use: &[], is_core: true },
    Rule { package: BROKER_CORE, may_use: &[PROTOCOL], tests_may_use: &[], is_core: true },
    // Their tests need each other: a client without a broker shows little.
    shell(CLIENT, &[CLIENT_CORE, PROTOCOL], &[BROKER]),
    shell(BROKER, &[BROKER_CORE, PROTOCOL], &[CLIENT]),
    shell("streamledger-simulator", &[CLIENT_CORE, BROKER_CORE, PROTOCOL], &[]),
    shell("streamledger-cli", &[CLIENT, BROKER], &[]),
    shell("xtask", &[CLIENT, BROKER], &[]),
];

/// Packages that act, tell the time or throw dice: in no core's normal dependencies.
const ACTING_PACKAGES: &[&str] = &[
    "async-std",
    "chrono",
    "fastrand",
    "getrandom",
    "mio",
    "rand",
    "smol",
    "socket2",
    "time",
    "tokio",
];

/// What a core's source may not name.
const OUTSIDE_WORLD: &[&str] = &["std::fs", "std::net", "std::thread", "std::process"];
const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now"];

/// Fails with every forbidden edge, one a line.
pub(crate) fn check() -> Outcome<()> {
    let metadata = Metadata::load()?;
    let mut broken = forbidden_edges(&metadata);
    broken.extend(acting_cores(&metadata));
    for rule in RULES.iter().filter(|rule| rule.is_core) {
        broken.extend(acting_sources(&metadata, rule.package)?);
    }
    if broken.is_empty() { Ok(()) } else { Err(Failure::new(broken.join("\n"))) }
}

fn forbidden_edges(metadata: &Metadata) -> Vec<String> {
    let ours: BTreeSet<&str> = metadata.members().map(|p| p.name.as_str()).collect();
    let mut broken = Vec::new();
    for package in metadata.members() {
        let Some(rule) = RULES.iter().find(|rule| rule.package == package.name) else {
            broken.push(format!("{}: no rule in xtask/src/layering.rs", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| ours.contains(d.name.as_str())) {
            let name = dependency.name.as_str();
            let is_test = dependency.kind.as_deref() == Some("dev");
            let allowed =
                rule.may_use.contains(&name) || is_test && rule.tests_may_use.contains(&name);
            if !allowed {
                let kind = dependency.kind.as_deref().unwrap_or("normal");
                broken.push(format!("{} may not use {name} ({kind} dependency)", package.name));
            }
        }
    }
    broken
}

/// Follows normal and build edges from each core to every package it drags in.
fn acting_cores(metadata: &Metadata) -> Vec<String> {
    let names: BTreeMap<&str, &str> =
        metadata.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect();
    let edges: BTreeMap<&str, _> =
        metadata.resolve.nodes.iter().map(|n| (n.id.as_str(), &n.deps)).collect();
    let mut broken = Vec::new();
    let is_core = |name: &str| RULES.iter().any(|rule| rule.is_core && rule.package == name);
    for core in metadata.members().filter(|p| is_core(&p.name)) {
        let mut seen = BTreeSet::from([core.id.as_str()]);
        let mut open = vec![core.id.as_str()];
        while let Some(id) = open.pop() {
            for edge in edges.get(id).into_iter().flat_map(|deps| deps.iter()) {
                let is_normal = edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
                if is_normal && seen.insert(&edge.pkg) {
                    open.push(&edge.pkg);
                }
            }
        }
        let reached = seen.iter().filter_map(|id| names.get(id));
        for name in reached.filter(|name| ACTING_PACKAGES.contains(name)) {
            broken.push(format!("{} reaches {name}: a core decides, it does not act", core.name));
        }
    }
    broken
}

fn acting_sources(metadata: &Metadata, package: &str) -> Outcome<Vec<String>> {
    let mut broken = Vec::new();
    let Some(package) = metadata.members().find(|p| p.name == package) else {
        return Ok(vec![format!("{package}: not in the workspace")]);
    };
    let directory = package.manifest_path.parent().unwrap_or(Path::new("")).join("src");
    for file in workspace::files()? {
        let path = workspace::root().join(&file);
        let is_test = file.components().any(|part| part.as_os_str() == "tests")
            || file.file_stem().is_some_and(|stem| {
                let stem = stem.to_string_lossy();
                stem == "tests" || stem.starts_with("test_") || stem.ends_with("_tests")
            });
        let is_ours = path.starts_with(&directory) && path.extension().is_some_and(|e| e == "rs");
        if is_ours && !is_test {
            let source = std::fs::read_to_string(&path)?;
            broken.extend(
                names_of_outside_world(&source)
                    .into_iter()
                    .map(|name| format!("{}: {name} in a core", file.display())),
            );
        }
    }
    Ok(broken)
}

/// The forbidden names that a source uses before its tests begin.
fn names_of_outside_world(source: &str) -> BTreeSet<String> {
    let code: String = source
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
        .collect();
    let mut found: BTreeSet<String> = OUTSIDE_WORLD
        .iter()
        .chain(CLOCKS)
        .filter(|name| code.contains(**name))
        .map(|name| (*name).to_owned())
        .collect();
    for (at, _) in code.match_indices("std::{") {
        for item in top_level_items(&code[at + "std::{".len()..]) {
            let name = format!("std::{}", item.split("::").next().unwrap_or(item));
            if OUTSIDE_WORLD.contains(&name.as_str()) {
                found.insert(name);
            }
        }
    }
    found
}

/// The comma-separated items of a use group, whose opening brace is already gone.
fn top_level_items(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                items.push(&group[start..at]);
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
        let dependencies: Vec<Value> =
            dependencies.iter().map(|(name, kind)| json!({"name": name, "kind": kind})).collect();
        json!({"id": name, "name": name, "version": "1.0.0", "license": null, "source": null,
            "manifest_path": "/nowhere/Cargo.toml", "dependencies": dependencies})
    }

    fn metadata(packages: &[Value], edges: &[(&str, &str, Option<&str>)]) -> Metadata {
        let ids: Vec<&Value> = packages.iter().map(|p| &p["id"]).collect();
        let nodes: Vec<Value> = ids
            .iter()
            .map(|id| {
                let deps: Vec<Value> = edges
                    .iter()
                    .filter(|(from, _, _)| *id == from)
                    .map(|(_, to, kind)| json!({"pkg": to, "dep_kinds": [{"kind": kind}]}))
                    .collect();
                json!({"id": id, "deps": deps})
            })
            .collect();
        serde_json::from_value(json!({"packages": packages, "workspace_members": ids,
            "resolve": {"nodes": nodes}, "target_directory": "/t"}))
        .unwrap()
    }

    #[test]
    fn client_and_broker_never_name_each_other_but_their_tests_may() {
        let client = package(CLIENT, &[(BROKER, None), (BROKER, Some("dev")), (PROTOCOL, None)]);
        let broken = forbidden_edges(&metadata(&[client, package(BROKER, &[])], &[]));
        assert_eq!(broken, ["streamledger may not use streamledger-broker (normal dependency)"]);
    }

    #[test]
    fn a_core_may_not_use_a_shell_even_in_tests() {
        let core = package(CLIENT_CORE, &[(CLIENT, Some("dev"))]);
        let broken = forbidden_edges(&metadata(&[core, package(CLIENT, &[])], &[]));
        assert_eq!(broken, ["streamledger-client-core may not use streamledger (dev dependency)"]);
    }

    #[test]
    fn the_command_knows_no_bytes() {
        let cli = package("streamledger-cli", &[(PROTOCOL, None), (CLIENT, None)]);
        let packages = [cli, package(PROTOCOL, &[]), package(CLIENT, &[])];
        assert_eq!(forbidden_edges(&metadata(&packages, &[])).len(), 1);
    }

    #[test]
    fn a_crate_without_a_rule_fails() {
        let broken = forbidden_edges(&metadata(&[package("newcomer", &[])], &[]));
        assert_eq!(broken, ["newcomer: no rule in xtask/src/layering.rs"]);
    }

    #[test]
    fn a_core_that_reaches_a_runtime_through_another_crate_fails() {
        let packages = [package(BROKER_CORE, &[]), package("glue", &[]), package("tokio", &[])];
        let edges = [(BROKER_CORE, "glue", None), ("glue", "tokio", None)];
        let broken = acting_cores(&metadata(&packages, &edges));
        assert_eq!(broken.len(), 1, "{broken:?}");
        let for_tests = [(BROKER_CORE, "glue", Some("dev")), ("glue", "tokio", None)];
        assert!(acting_cores(&metadata(&packages, &for_tests)).is_empty());
    }

    #[test]
    fn sources_are_searched_for_plain_and_grouped_names() {
        let plain = "use std::fs::File;\nlet t = std::time::Instant::now();";
        let expected = BTreeSet::from(["std::fs".to_owned(), "Instant::now".to_owned()]);
        assert_eq!(names_of_outside_world(plain), expected);
        let grouped =
            "use std::{\n    collections::{BTreeMap, BTreeSet},\n    net,\n    thread::{self},\n};";
        let expected = BTreeSet::from(["std::net".to_owned(), "std::thread".to_owned()]);
        assert_eq!(names_of_outside_world(grouped), expected);
    }

    #[test]
    fn comments_tests_and_other_names_are_left_alone() {
        let source = "// std::fs is the shell's\nuse std::{fmt, collections::BTreeMap};\n\
                      #[cfg(test)]\nmod tests { use std::thread; }";
        assert!(names_of_outside_world(source).is_empty());
    }

    #[test]
    fn the_workspace_itself_obeys() {
        check().unwrap();
    }
}
