//! The types of a CSV file's columns: inferred from its first rows, overridden by `--type`.
//!
//! Law: no type loses anything. An integer that an i64 can't hold, or with a leading zero, makes
//! its column a string; numbers pass digit by digit. An empty field is null unless its column is a
//! string, and says nothing about the type.

use std::fmt;
use std::str::FromStr;

use crate::render::number::{is_integer, is_number};

/// How many rows of a file the types are inferred from.
pub const SAMPLE_ROWS: usize = 1000;

/// Types come from the rows in so many first bytes of a file at most.
pub const SAMPLE_BYTES: u64 = 16 << 20;

/// What a column's fields become in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// A string, as it stands.
    String,
    /// An integer that an i64 holds; empty is null.
    Integer,
    /// A number in JSON's grammar; empty is null.
    Number,
    /// `true` or `false` in any case; empty is null.
    Boolean,
    /// A point in time, as epoch milliseconds; empty is null. Never inferred.
    Timestamp,
}

impl ColumnType {
    /// The types by the names `--type` takes.
    pub const ALL: [ColumnType; 5] = [
        ColumnType::String,
        ColumnType::Integer,
        ColumnType::Number,
        ColumnType::Boolean,
        ColumnType::Timestamp,
    ];

    /// Its name in `--type` and in the table of settings.
    pub const fn name(self) -> &'static str {
        match self {
            ColumnType::String => "string",
            ColumnType::Integer => "integer",
            ColumnType::Number => "number",
            ColumnType::Boolean => "boolean",
            ColumnType::Timestamp => "timestamp",
        }
    }

    /// What a field should be, with its article, for the message about one that isn't.
    pub const fn expected(self) -> &'static str {
        match self {
            ColumnType::String => "a string",
            ColumnType::Integer => "an integer of 64 bits",
            ColumnType::Number => "a number as JSON writes it",
            ColumnType::Boolean => "true or false",
            ColumnType::Timestamp => "a point in time",
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `--type COLUMN=TYPE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeOverride {
    /// The column's name.
    pub column: String,
    /// The type it is to have.
    pub column_type: ColumnType,
}

impl FromStr for TypeOverride {
    type Err = String;

    fn from_str(text: &str) -> Result<TypeOverride, String> {
        let (column, name) =
            text.rsplit_once('=').ok_or_else(|| "write it as COLUMN=TYPE".to_owned())?;
        let known = ColumnType::ALL.iter().find(|known| known.name() == name);
        let column_type = *known.ok_or_else(|| {
            let names: Vec<&str> = ColumnType::ALL.iter().map(|known| known.name()).collect();
            format!("no type {name:?}; there are {}", names.join(", "))
        })?;
        Ok(TypeOverride { column: column.to_owned(), column_type })
    }
}

/// What the fields of one column seen so far can be.
#[derive(Debug, Clone, Copy)]
struct Candidates {
    seen: bool,
    integer: bool,
    number: bool,
    boolean: bool,
}

/// Finds the columns' types from sample rows.
#[derive(Debug)]
pub struct Inference {
    columns: Vec<Candidates>,
}

impl Inference {
    /// An inference for so many columns, of which nothing is known.
    pub fn new(columns: usize) -> Inference {
        let open = Candidates { seen: false, integer: true, number: true, boolean: true };
        Inference { columns: vec![open; columns] }
    }

    /// Takes a row's field into account.
    pub fn see(&mut self, column: usize, field: &[u8]) {
        if field.is_empty() {
            return;
        }
        let Some(candidates) = self.columns.get_mut(column) else { return };
        candidates.seen = true;
        candidates.integer &= is_integer(field);
        candidates.number &= is_lossless_number(field);
        candidates.boolean &= is_boolean(field);
    }

    /// Of each column whether it held something.
    pub fn is_seen(&self) -> Vec<bool> {
        self.columns.iter().map(|candidates| candidates.seen).collect()
    }

    /// The narrowest type that takes all that was seen of each column; a column that was always
    /// empty is a string.
    pub fn types(&self) -> Vec<ColumnType> {
        let narrowest = |candidates: &Candidates| match candidates {
            Candidates { seen: false, .. } => ColumnType::String,
            Candidates { integer: true, .. } => ColumnType::Integer,
            Candidates { number: true, .. } => ColumnType::Number,
            Candidates { boolean: true, .. } => ColumnType::Boolean,
            _ => ColumnType::String,
        };
        self.columns.iter().map(narrowest).collect()
    }
}

/// A number that readers who keep numbers as doubles also get right to the digit: an integer of 64
/// bits, or up to 15 digits with a fraction or exponent. Longer ones stay strings.
pub fn is_lossless_number(field: &[u8]) -> bool {
    let fractional = field.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    let digits = field.iter().filter(|byte| byte.is_ascii_digit()).count();
    is_integer(field) || (fractional && digits <= 15 && is_number(field))
}

/// Whether a field is `true` or `false`, in any case.
pub fn is_boolean(field: &[u8]) -> bool {
    field.eq_ignore_ascii_case(b"true") || field.eq_ignore_ascii_case(b"false")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&["1", "", "-20"], ColumnType::Integer)]
    #[case(&["2103807459595387724"], ColumnType::Integer)]
    #[case(&["21038074595953877240"], ColumnType::String)]
    #[case(&["007", "1"], ColumnType::String)]
    #[case(&["1", "2.50"], ColumnType::Number)]
    #[case(&["1e3", "2.5"], ColumnType::Number)]
    #[case(&["0.12345678901234567890"], ColumnType::String)]
    #[case(&["true", "FALSE", ""], ColumnType::Boolean)]
    #[case(&["true", "1"], ColumnType::String)]
    #[case(&["", ""], ColumnType::String)]
    #[case(&["2019-10-01"], ColumnType::String)]
    #[case(&["NaN"], ColumnType::String)]
    fn the_narrowest_type_that_loses_nothing(
        #[case] fields: &[&str],
        #[case] expected: ColumnType,
    ) {
        let mut inference = Inference::new(1);
        for field in fields {
            inference.see(0, field.as_bytes());
        }
        assert_eq!(inference.types(), [expected]);
    }

    #[test]
    fn overrides_are_read_and_a_wrong_one_says_which_types_there_are() {
        let read: TypeOverride = "a=b=timestamp".parse().unwrap();
        assert_eq!((read.column.as_str(), read.column_type), ("a=b", ColumnType::Timestamp));
        let error = "a=int".parse::<TypeOverride>().unwrap_err();
        assert_eq!(error, "no type \"int\"; there are string, integer, number, boolean, timestamp");
        assert!("a".parse::<TypeOverride>().is_err());
    }
}
