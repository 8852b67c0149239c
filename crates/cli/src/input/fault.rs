//! What can be wrong with a row, and how that is said: which column, what it holds, what to do.

use thiserror::Error;

/// Why a row can't become a record. The file and the line are said around it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RowFault {
    /// More or fewer columns than the header has.
    #[error("has {found} columns where the file has {expected}")]
    ColumnCount {
        /// Columns in the row.
        found: usize,
        /// Columns in the header.
        expected: usize,
    },
    /// The header has more columns than we take.
    #[error("has more than {limit} columns")]
    TooManyColumns {
        /// The most columns a file may have.
        limit: usize,
    },
    /// A byte that isn't UTF-8.
    #[error("isn't UTF-8 in {column}: byte 0x{byte:02x} at its position {position}")]
    NotUtf8 {
        /// The column by name or number, or the line.
        column: String,
        /// The byte that can't be there.
        byte: u8,
        /// Where in the column, counted from 1.
        position: usize,
    },
    /// Longer than `--max-row-bytes`.
    #[error("is longer than {limit} bytes{}", where_cut(*.open_quote))]
    TooLong {
        /// The cap in force.
        limit: usize,
        /// Whether the cap was met between two quotes: then one of them may be missing.
        open_quote: bool,
    },
    /// The file ends inside a quoted column.
    #[error("opens a quote in column {column} that the file never closes")]
    UnclosedQuote {
        /// Number of the column, counted from 1.
        column: usize,
    },
    /// Something other than a delimiter after a closing quote.
    #[error("has text after the closing quote of column {column}")]
    TextAfterQuote {
        /// Number of the column, counted from 1.
        column: usize,
    },
    /// A value that isn't of its column's type.
    #[error("holds {text:?} in column {column}, which isn't {expected}")]
    Value {
        /// Name of the column.
        column: String,
        /// What it holds, cut to a readable length.
        text: String,
        /// What it should be, with its article.
        expected: &'static str,
    },
    /// Not JSON.
    #[error("isn't JSON: {reason}")]
    Json {
        /// The parser's reason with its column.
        reason: String,
    },
    /// JSON, but no object, of which fields are wanted.
    #[error("is JSON, but not an object with fields")]
    NoObject,
    /// JSON without the field that was to be the key or timestamp.
    #[error("has no usable field {field:?}: {reason}")]
    Field {
        /// Name of the field.
        field: String,
        /// Why it can't be used.
        reason: &'static str,
    },
    /// A time that the topic doesn't take.
    #[error("has the time {time} in column {column}, which {reason}")]
    Time {
        /// Name of the column or field.
        column: String,
        /// The time.
        time: String,
        /// Why it isn't taken.
        reason: &'static str,
    },
    /// The record is larger than the producer takes.
    #[error("is refused by the producer: {reason}")]
    Refused {
        /// The producer's own words.
        reason: String,
    },
}

impl RowFault {
    /// What the user may do about it, besides repairing the file or `--on-error skip`.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            RowFault::NotUtf8 { .. } => {
                Some("convert the file first, for example: iconv -f latin1 -t utf-8 FILE > NEW")
            }
            RowFault::TooLong { open_quote: true, .. } | RowFault::UnclosedQuote { .. } => {
                Some("close the quote, or write a quote inside a quoted column twice (\"\")")
            }
            RowFault::TooLong { .. } => Some("raise --max-row-bytes if the row is meant"),
            RowFault::TextAfterQuote { .. } => {
                Some("write a quote inside a quoted column twice (\"\")")
            }
            RowFault::Value { .. } => {
                Some("repair the row; of a CSV column, --type COLUMN=string takes any text")
            }
            RowFault::Refused { .. } => Some(
                "raise -X max.request.size=BYTES (and the topic's max.message.bytes) if the row is \
                 meant",
            ),
            RowFault::Time { reason, .. } => reason
                .contains("the topic")
                .then_some("change that setting of the topic if the row is meant"),
            RowFault::ColumnCount { .. } => {
                Some("quote columns that hold the delimiter or a line break")
            }
            RowFault::TooManyColumns { .. }
            | RowFault::Json { .. }
            | RowFault::NoObject
            | RowFault::Field { .. } => None,
        }
    }

    /// The column or field that is at fault, by name or number, where it is one.
    pub fn column(&self) -> Option<String> {
        match self {
            RowFault::NotUtf8 { column, .. } => {
                Some(column.strip_prefix("column ").unwrap_or(column).to_owned())
            }
            RowFault::Value { column, .. } | RowFault::Time { column, .. } => Some(column.clone()),
            RowFault::Field { field, .. } => Some(field.clone()),
            RowFault::UnclosedQuote { column } | RowFault::TextAfterQuote { column } => {
                Some(column.to_string())
            }
            RowFault::ColumnCount { .. }
            | RowFault::TooManyColumns { .. }
            | RowFault::TooLong { .. }
            | RowFault::Json { .. }
            | RowFault::NoObject
            | RowFault::Refused { .. } => None,
        }
    }

    /// Why a line couldn't be read as an object: it isn't JSON, or is some other.
    pub fn no_object(line: &str, error: &serde_json::Error) -> RowFault {
        match serde_json::from_str::<serde::de::IgnoredAny>(line) {
            Ok(_) if error.is_data() => RowFault::NoObject,
            _ => {
                let reason = error.to_string().replace(" at line 1 column", " at column");
                RowFault::Json { reason }
            }
        }
    }

    /// A value that isn't what its column should hold, cut to a readable length.
    pub fn value(column: &str, bytes: &[u8], expected: &'static str) -> RowFault {
        RowFault::Value { column: column.to_owned(), text: excerpt(bytes), expected }
    }

    /// The first byte that isn't UTF-8 of a column or line, whose name is given.
    pub fn not_utf8(column: impl Into<String>, bytes: &[u8]) -> RowFault {
        let valid = match std::str::from_utf8(bytes) {
            Ok(_) => bytes.len(),
            Err(error) => error.valid_up_to(),
        };
        RowFault::NotUtf8 {
            column: column.into(),
            byte: bytes.get(valid).copied().unwrap_or(0),
            position: valid + 1,
        }
    }
}

fn where_cut(open_quote: bool) -> &'static str {
    if open_quote { ", inside a quoted column" } else { "" }
}

/// Up to 40 characters of a text that may be anything.
pub fn excerpt(bytes: &[u8]) -> String {
    const CHARACTERS: usize = 40;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * CHARACTERS)]);
    if text.chars().count() <= CHARACTERS && bytes.len() <= 4 * CHARACTERS {
        return text.into_owned();
    }
    text.chars().take(CHARACTERS - 1).chain(['…']).collect()
}

/// Why no row was read.
#[derive(Debug, Error)]
pub enum ReadFault {
    /// The file can't be read on.
    #[error("can't be read")]
    Io(#[from] std::io::Error),
    /// This row is bad; the next call reads the row after it.
    #[error("line {line} {fault}")]
    Row {
        /// The line of the file on which the row starts, counted from 1.
        line: u64,
        /// What is wrong with it.
        fault: RowFault,
    },
}

impl ReadFault {
    /// Whether nothing is wrong: the file has no more whole row yet. The call may be made again.
    pub fn is_not_yet(&self) -> bool {
        matches!(self, ReadFault::Io(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_or_broken_text_is_cut() {
        assert_eq!(excerpt(b"abc"), "abc");
        assert_eq!(excerpt(b"a\xffc"), "a\u{fffd}c");
        let long = excerpt(&[b'x'; 500]);
        assert_eq!(long.chars().count(), 40);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn says_which_byte_isnt_utf8() {
        assert_eq!(
            RowFault::not_utf8("column brand", b"caf\xe9").to_string(),
            "isn't UTF-8 in column brand: byte 0xe9 at its position 4"
        );
    }
}
