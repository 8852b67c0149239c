//! What our pages name is there: every path, and every function in the file named before it.
//!
//! 1. ARCHITECTURE.md names files and their functions.
//! 2. docs/failures.md names tests and scenarios, and has a row for each number but those that
//!    stand for nothing.

use std::path::Path;

use crate::failure::Outcome;
use crate::workspace;

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const FAILURES: &str = "docs/failures.md";
/// The numbers of docs/failures.md.
const FAILURE_NUMBERS: std::ops::RangeInclusive<usize> = 1..=60;
/// Those that stand for nothing there.
const UNUSED_NUMBERS: std::ops::RangeInclusive<usize> = 42..=44;

/// What the functions that a page names have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Functions {
    /// Any functions.
    Any,
    /// Tests, or scenarios of `cargo xtask compat`.
    Proofs,
}

/// A name in backticks that can be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    /// A file or folder, from the root of the repository.
    Path(String),
    /// `function()` or `Type::function()`.
    Function { of: Option<String>, name: String },
}

/// The names that lead nowhere and the failures without a row, each as a finding.
pub(crate) fn findings() -> Outcome<Vec<String>> {
    let read = |path: &str| std::fs::read_to_string(workspace::root().join(path));
    let source = |path: &str| source_of(&workspace::root().join(path));
    let mut findings = lost(ARCHITECTURE, &read(ARCHITECTURE)?, Functions::Any, source);
    let failures = read(FAILURES)?;
    findings.extend(lost(FAILURES, &failures, Functions::Proofs, source));
    findings.extend(without_a_row(&failures));
    Ok(findings)
}

/// The numbers of failures that no row of a table begins with.
fn without_a_row(text: &str) -> Vec<String> {
    let has_row = |number: &usize| {
        let beginning = format!("| {number} |");
        text.lines().any(|line| line.starts_with(&beginning))
    };
    FAILURE_NUMBERS
        .filter(|number| !UNUSED_NUMBERS.contains(number) && !has_row(number))
        .map(|number| format!("{FAILURES}: there is no row {number}"))
        .collect()
}

/// The names that lead nowhere. `read` gives a file's text, that of a folder's files, or nothing.
fn lost(
    document: &str,
    text: &str,
    functions: Functions,
    read: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut lost = Vec::new();
    let mut source: Option<(String, String)> = None;
    for (number, name) in names(text) {
        match name {
            Named::Path(path) => match read(&path) {
                Some(text) => source = Some((path, text)),
                None => lost.push(format!("{document}:{number}: there is no {path}")),
            },
            Named::Function { of, name } => {
                let Some((path, text)) = &source else {
                    lost.push(format!("{document}:{number}: {name}() is in no file named before"));
                    continue;
                };
                match definition(text, &name) {
                    None => {
                        lost.push(format!("{document}:{number}: {path} has no function {name}"));
                    }
                    Some(at) if functions == Functions::Proofs && !is_proof(text, at) => {
                        lost.push(format!("{document}:{number}: {name}() in {path} is no test"));
                    }
                    Some(_) => {}
                }
                if let Some(of) = of.filter(|of| !text.contains(&format!("impl {of}")))
                    && !text.contains(&format!(" {of}<"))
                {
                    lost.push(format!("{document}:{number}: {path} has no {of}"));
                }
            }
        }
    }
    lost
}

/// Where a function is defined in a file's text.
fn definition(text: &str, name: &str) -> Option<usize> {
    [format!("fn {name}("), format!("fn {name}<")].iter().find_map(|start| text.find(start))
}

/// Whether the function that is defined there is a test, by the attributes before it, or a
/// scenario, by what it is given.
fn is_proof(text: &str, at: usize) -> bool {
    let (before, from_here) = text.split_at(at);
    let is_scenario = from_here.lines().next().is_some_and(|line| line.contains("&Trial)"));
    // The attributes are between it and the end of what is before it.
    let attributes = before.rsplit("\n}").next().unwrap_or(before);
    let attributes = attributes.rsplit("\n    }\n").next().unwrap_or(attributes);
    is_scenario || ["#[test]", "#[tokio::test", "#[rstest]"].iter().any(|a| attributes.contains(a))
}

/// The names in backticks, each with its line, counted from 1; code between fences is left out.
fn names(text: &str) -> Vec<(usize, Named)> {
    let mut found = Vec::new();
    let mut is_fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        }
        if is_fenced {
            continue;
        }
        let quoted = line.split('`').skip(1).step_by(2);
        found.extend(quoted.filter_map(named).map(|name| (index + 1, name)));
    }
    found
}

fn named(quoted: &str) -> Option<Named> {
    if let Some(function) = quoted.strip_suffix("()") {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        if !function.chars().all(is_word) {
            return None;
        }
        return Some(match function.rsplit_once("::") {
            Some((of, name)) => Named::Function { of: Some(of.to_owned()), name: name.to_owned() },
            None => Named::Function { of: None, name: function.to_owned() },
        });
    }
    let is_path = quoted.contains('/') && !quoted.contains(' ');
    is_path.then(|| Named::Path(quoted.to_owned()))
}

/// A file's text; a folder is there, and holds no function.
fn source_of(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some(String::new());
    }
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<String> {
        let source = "impl Cart { pub fn add(&self) {} fn total<T>() {} }";
        (path == "src/cart.rs").then(|| source.to_owned())
    }

    #[test]
    fn what_is_there_is_found() {
        let text = "In `src/cart.rs` `Cart::add()`, then `total()`, `not this` and `Cart`.";
        assert_eq!(names(text).len(), 3);
        assert!(lost("A.md", text, Functions::Any, read).is_empty());
    }

    #[test]
    fn what_isnt_there_is_named_with_its_line() {
        let text = "`add()`\n`src/cart.rs` `remove()` `Basket::add()`\n\n`src/gone.rs`";
        assert_eq!(
            lost("A.md", text, Functions::Any, read),
            [
                "A.md:1: add() is in no file named before",
                "A.md:2: src/cart.rs has no function remove",
                "A.md:2: src/cart.rs has no Basket",
                "A.md:4: there is no src/gone.rs",
            ]
        );
    }

    #[test]
    fn code_between_fences_is_not_looked_up() {
        assert!(names("```\n`src/gone.rs`\n```\n").is_empty());
    }

    #[test]
    fn a_proof_is_a_test_or_a_scenario() {
        let source = "fn helper() {\n}\n\n#[test]\n#[ignore]\nfn adds() {\n}\n\nfn plain() {\n}\n\
                      pub(crate) fn sells(trial: &Trial) {\n}\n";
        let read = |_: &str| Some(source.to_owned());
        let text = "`tests/cart.rs` `adds()` `sells()` `helper()` `plain()` `gone()`";
        assert_eq!(
            lost("A.md", text, Functions::Proofs, read),
            [
                "A.md:1: helper() in tests/cart.rs is no test",
                "A.md:1: plain() in tests/cart.rs is no test",
                "A.md:1: tests/cart.rs has no function gone",
            ]
        );
    }

    #[test]
    fn a_failure_without_a_row_is_named() {
        let used = |number: &usize| !UNUSED_NUMBERS.contains(number);
        let numbers = FAILURE_NUMBERS.filter(used);
        let rows: Vec<String> = numbers.map(|number| format!("| {number} | x |")).collect();
        assert!(without_a_row(&rows.join("\n")).is_empty());
        let found = without_a_row(&rows[1..].join("\n"));
        assert_eq!(found, ["docs/failures.md: there is no row 1"]);
    }

    #[test]
    fn the_pages_name_what_is_there() {
        for (page, least) in [(ARCHITECTURE, 60), (FAILURES, 150)] {
            let text = std::fs::read_to_string(workspace::root().join(page)).unwrap();
            assert!(names(&text).len() > least, "{page} names too little to be of use");
        }
        assert_eq!(findings().unwrap(), Vec::<String>::new());
    }
}
