//! What people see: numbers with units, tables, progress, notes.

pub mod progress;
pub mod table;
pub mod units;

/// Writes a remark to stderr, unless `--quiet`.
pub fn note(quiet: bool, text: &str) {
    if !quiet {
        eprintln!("note: {}", text.replace('\n', "\n      "));
    }
}
