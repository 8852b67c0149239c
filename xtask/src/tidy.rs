//! `cargo xtask tidy`: the sizes a file may have, the line that says what it is for, and that what
//! ARCHITECTURE.md and docs/failures.md name is there.
//!
//! 1. A source file has at most 600 lines of at most 100 columns; a Rust file opens with `//!`.
//! 2. A function's length is clippy's to check; switching that off counts as an exception here.
//! 3. Exceptions stand in `xtask/size-exceptions.txt`, which may only shrink: an entry that is
//!    not needed any more, or larger than needed, fails as well.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::path::Path;

use crate::failure::{Failure, Outcome};
use crate::{named, workspace};

const FILE_LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 100;
/// How many entries the list may have: lower it when one goes; raising it is a decision.
const EXCEPTIONS_MAX: usize = 0;
const EXCEPTIONS: &str = "xtask/size-exceptions.txt";
const SOURCES: &[&str] = &["rs", "java", "go", "py"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Measure {
    /// Lines of the file.
    Lines,
    /// Lines over the columns.
    WideLines,
    /// Functions that clippy is told not to measure.
    LongFunctions,
    /// A Rust file without its purpose in the first line.
    NoPurpose,
}

impl Measure {
    const ALL: [Self; 4] = [Self::Lines, Self::WideLines, Self::LongFunctions, Self::NoPurpose];

    fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::WideLines => "wide-lines",
            Self::LongFunctions => "long-functions",
            Self::NoPurpose => "no-purpose",
        }
    }

    fn allowed(self) -> usize {
        match self {
            Self::Lines => FILE_LINES_MAX,
            Self::WideLines | Self::LongFunctions | Self::NoPurpose => 0,
        }
    }
}

impl Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

type Measured = BTreeMap<(String, Measure), usize>;

/// Fails with every finding, one a line.
pub(crate) fn check() -> Outcome<()> {
    let mut measured = Measured::new();
    for file in workspace::files()? {
        let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if SOURCES.contains(&extension) {
            let source = std::fs::read_to_string(workspace::root().join(&file))?;
            measured.extend(measure(&file, &source));
        }
    }
    let list = std::fs::read_to_string(workspace::root().join(EXCEPTIONS))?;
    let mut broken = compare(&measured, &parse_exceptions(&list)?);
    broken.extend(named::findings()?);
    if broken.is_empty() { Ok(()) } else { Err(Failure::new(broken.join("\n"))) }
}

fn measure(file: &Path, source: &str) -> Measured {
    let is_rust = file.extension().is_some_and(|e| e == "rs");
    let allows = "too_many_lines";
    let own_text = file.ends_with("xtask/src/tidy.rs");
    let wide = |line: &&str| line.chars().count() > COLUMNS_MAX;
    let counts = [
        (Measure::Lines, source.lines().count()),
        (Measure::WideLines, source.lines().filter(wide).count()),
        (Measure::LongFunctions, if own_text { 0 } else { source.matches(allows).count() }),
        (Measure::NoPurpose, usize::from(is_rust && !source.starts_with("//! "))),
    ];
    let name = file.display().to_string();
    counts.into_iter().map(|(measure, count)| ((name.clone(), measure), count)).collect()
}

/// Lines of `path measure count`; `#` starts a comment.
fn parse_exceptions(list: &str) -> Outcome<Measured> {
    let mut exceptions = Measured::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let malformed = || Failure::new(format!("{EXCEPTIONS}: not `path measure count`: {line}"));
        let [path, measure, count] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(malformed());
        };
        let measure =
            Measure::ALL.into_iter().find(|m| m.name() == measure).ok_or_else(malformed)?;
        exceptions.insert((path.to_owned(), measure), count.parse().map_err(|_| malformed())?);
    }
    Ok(exceptions)
}

fn compare(measured: &Measured, exceptions: &Measured) -> Vec<String> {
    let mut broken = Vec::new();
    for ((file, measure), count) in measured {
        let excepted = exceptions.get(&(file.clone(), *measure));
        let allowed = excepted.copied().unwrap_or(measure.allowed());
        if *count > allowed {
            broken.push(format!("{file}: {count} {measure}, {allowed} allowed"));
        }
    }
    for ((file, measure), allowed) in exceptions {
        let count = measured.get(&(file.clone(), *measure)).copied().unwrap_or(0);
        if count <= measure.allowed() {
            broken.push(format!("{EXCEPTIONS}: {file} {measure} is not needed any more"));
        } else if count < *allowed {
            broken.push(format!("{EXCEPTIONS}: {file} {measure} is {count} now, lower its entry"));
        }
    }
    if exceptions.len() > EXCEPTIONS_MAX {
        let count = exceptions.len();
        broken.push(format!("{EXCEPTIONS}: {count} entries, {EXCEPTIONS_MAX} allowed"));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(source: &str, list: &str) -> Vec<String> {
        compare(&measure(Path::new("a.rs"), source), &parse_exceptions(list).unwrap())
    }

    #[test]
    fn a_small_file_with_a_purpose_is_fine() {
        assert!(findings("//! Adds.\n", "# none\n").is_empty());
    }

    #[test]
    fn long_files_wide_lines_and_files_without_purpose_are_found() {
        let source = format!("{}{}\n", "\n".repeat(600), "x".repeat(101));
        assert_eq!(
            findings(&source, ""),
            [
                "a.rs: 601 lines, 600 allowed",
                "a.rs: 1 wide-lines, 0 allowed",
                "a.rs: 1 no-purpose, 0 allowed"
            ]
        );
    }

    #[test]
    fn columns_are_characters_not_bytes() {
        assert!(findings(&format!("//! {}\n", "é".repeat(96)), "").is_empty());
    }

    #[test]
    fn an_entry_that_is_not_needed_or_too_large_fails() {
        let source = format!("//! Long.\n{}", "\n".repeat(649));
        let unneeded = findings("//! Short.\n", "a.rs lines 700\n");
        assert!(unneeded[0].contains("not needed any more"), "{unneeded:?}");
        let too_large = findings(&source, "a.rs lines 700\n");
        assert!(too_large[0].contains("is 650 now"), "{too_large:?}");
    }

    #[test]
    fn switching_off_the_length_of_functions_is_an_exception() {
        let source = "//! Long.\n#[allow(clippy::too_many_lines)]\nfn f() {}\n";
        assert_eq!(findings(source, ""), ["a.rs: 1 long-functions, 0 allowed"]);
    }

    #[test]
    fn a_malformed_entry_is_named() {
        let failure = parse_exceptions("a.rs 700\n").unwrap_err();
        assert!(failure.to_string().contains("a.rs 700"), "{failure}");
    }
}
