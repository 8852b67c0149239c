//! What ARCHITECTURE.md names is there: every path, and every function in the file named before it.

use std::path::Path;

use crate::failure::Outcome;
use crate::workspace;

const DOCUMENT: &str = "ARCHITECTURE.md";

/// A name in backticks that can be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    /// A file or folder, from the root of the repository.
    Path(String),
    /// `function()` or `Type::function()`.
    Function { of: Option<String>, name: String },
}

/// The names that lead nowhere, each as a finding.
pub(crate) fn findings() -> Outcome<Vec<String>> {
    let text = std::fs::read_to_string(workspace::root().join(DOCUMENT))?;
    Ok(lost(&text, |path| source_of(&workspace::root().join(path))))
}

/// The names that lead nowhere. `read` gives a file's text, that of a folder's files, or nothing.
fn lost(text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut lost = Vec::new();
    let mut source: Option<(String, String)> = None;
    for (number, name) in names(text) {
        match name {
            Named::Path(path) => match read(&path) {
                Some(text) => source = Some((path, text)),
                None => lost.push(format!("{DOCUMENT}:{number}: there is no {path}")),
            },
            Named::Function { of, name } => {
                let Some((path, text)) = &source else {
                    lost.push(format!("{DOCUMENT}:{number}: {name}() is in no file named before"));
                    continue;
                };
                let is_there = [format!("fn {name}("), format!("fn {name}<")]
                    .iter()
                    .any(|definition| text.contains(definition));
                if !is_there {
                    lost.push(format!("{DOCUMENT}:{number}: {path} has no function {name}"));
                }
                if let Some(of) = of.filter(|of| !text.contains(&format!("impl {of}")))
                    && !text.contains(&format!(" {of}<"))
                {
                    lost.push(format!("{DOCUMENT}:{number}: {path} has no {of}"));
                }
            }
        }
    }
    lost
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
        assert!(lost(text, read).is_empty());
    }

    #[test]
    fn what_isnt_there_is_named_with_its_line() {
        let text = "`add()`\n`src/cart.rs` `remove()` `Basket::add()`\n\n`src/gone.rs`";
        assert_eq!(
            lost(text, read),
            [
                "ARCHITECTURE.md:1: add() is in no file named before",
                "ARCHITECTURE.md:2: src/cart.rs has no function remove",
                "ARCHITECTURE.md:2: src/cart.rs has no Basket",
                "ARCHITECTURE.md:4: there is no src/gone.rs",
            ]
        );
    }

    #[test]
    fn code_between_fences_is_not_looked_up() {
        assert!(names("```\n`src/gone.rs`\n```\n").is_empty());
    }

    #[test]
    fn the_document_names_what_is_there() {
        let text = std::fs::read_to_string(workspace::root().join(DOCUMENT)).unwrap();
        assert!(names(&text).len() > 60, "it names too little to be of use");
        assert_eq!(findings().unwrap(), Vec::<String>::new());
    }
}
