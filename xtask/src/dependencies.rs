//! `cargo xtask dependencies`: licences, bans and sources of `deny.toml`, without cargo-deny.
//!
//! cargo-deny also knows advisories, whose database is not everywhere to be had; this part of it
//! needs nothing but `cargo metadata`, so it runs in every check.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::failure::{Failure, Outcome};
use crate::workspace::{self, Metadata, Package};

/// The index of the registry that cargo uses by default, as metadata names it.
const DEFAULT_REGISTRY: &str = "registry+";

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    package: String,
    reason: String,
}

/// Fails with every offending package, one a line.
pub(crate) fn check() -> Outcome<()> {
    let deny: Deny =
        toml::from_str(&std::fs::read_to_string(workspace::root().join("deny.toml"))?)?;
    let metadata = Metadata::load()?;
    let broken: Vec<String> =
        metadata.packages.iter().filter_map(|package| objection(package, &deny)).collect();
    if broken.is_empty() { Ok(()) } else { Err(Failure::new(broken.join("\n"))) }
}

fn objection(package: &Package, deny: &Deny) -> Option<String> {
    let name = format!("{} {}", package.name, package.version);
    if let Some(ban) = deny.bans.deny.iter().find(|ban| ban.package == package.name) {
        return Some(format!("{name} is banned: {}", ban.reason));
    }
    let license = package.license.as_deref().unwrap_or("");
    if !is_allowed(license, &deny.licenses.allow) {
        return Some(format!("{name}: licence `{license}` is not in deny.toml"));
    }
    match &package.source {
        Some(source) if !source.starts_with(DEFAULT_REGISTRY) => {
            Some(format!("{name} comes from elsewhere than the registry: {source}"))
        }
        _ => None,
    }
}

/// Evaluates an SPDX expression (AND binds tighter than OR; the old `A/B` means OR).
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let verdict = any_of(&words, &mut at, allowed);
    verdict && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut verdict = all_of(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        verdict |= all_of(words, at, allowed);
    }
    verdict
}

fn all_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut verdict = license(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        verdict &= license(words, at, allowed);
    }
    verdict
}

fn license(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let word = words.get(*at);
    // Also past the end, so that a cut expression is seen not to end there.
    *at += 1;
    let Some(word) = word else { return false };
    if *word == "(" {
        let verdict = any_of(words, at, allowed);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return verdict && closed;
    }
    if let [_, "WITH", exception, ..] = words[*at - 1..] {
        *at += 2;
        return allowed.contains(&format!("{word} WITH {exception}"));
    }
    allowed.contains(*word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(expression: &str) -> bool {
        let list = ["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"];
        is_allowed(expression, &list.map(str::to_owned).into())
    }

    #[test]
    fn licence_expressions_are_read_as_spdx_says() {
        for fine in [
            "MIT",
            "MIT/GPL-3.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
            "GPL-3.0 AND Apache-2.0 OR MIT",
        ] {
            assert!(allowed(fine), "{fine}");
        }
        for refused in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT OR", "MIT WITH Odd", "MIT MIT"]
        {
            assert!(!allowed(refused), "{refused}");
        }
    }

    #[test]
    fn banned_unlicensed_and_foreign_packages_are_named() {
        let deny: Deny = toml::from_str(
            "[licenses]\nallow = ['MIT']\n[bans]\ndeny = [{ crate = 'raft', reason = 'no' }]",
        )
        .unwrap();
        let package = |name: &str, license: Option<&str>, source: &str| -> Package {
            serde_json::from_value(serde_json::json!({"id": name, "name": name, "version": "1.0.0",
                "license": license, "source": source, "manifest_path": "/", "dependencies": []}))
            .unwrap()
        };
        let fine = package("bytes", Some("MIT"), "registry+index");
        assert_eq!(objection(&fine, &deny), None);
        for bad in [
            package("raft", Some("MIT"), "registry+index"),
            package("odd", None, "registry+index"),
            package("odd", Some("MIT"), "git+somewhere"),
        ] {
            assert!(objection(&bad, &deny).is_some());
        }
    }
}
