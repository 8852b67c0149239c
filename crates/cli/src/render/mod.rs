//! Rows as the bytes of a record, written into a buffer that is used again for each row.

pub mod json_buffer;
pub mod ndjson;
pub mod number;
pub mod typed_row;

pub use json_buffer::JsonBuffer;
pub use ndjson::NdjsonRenderer;
pub use typed_row::TypedRenderer;

use crate::input::{CsvRow, Line, RowFault};
use crate::time::parse_timestamp;

/// What a row became: parts of a record, borrowed from the row and the renderer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rendered<'a> {
    /// The key's bytes; None for an empty key column or no key at all.
    pub key: Option<&'a [u8]>,
    /// The value's bytes.
    pub value: &'a [u8],
    /// Milliseconds since 1970, where a column gives the record's time.
    pub timestamp_ms: Option<i64>,
}

/// Takes lines as they stand; an empty line is an empty value.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineRenderer;

impl LineRenderer {
    /// The line as a record's parts.
    pub fn render(self, line: Line<'_>) -> Result<Rendered<'_>, RowFault> {
        Ok(Rendered { key: None, value: line.bytes, timestamp_ms: None })
    }
}

/// Which columns of a CSV file give the record's key and its time, by position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordColumns {
    /// The key's column.
    pub key: Option<usize>,
    /// The timestamp's column.
    pub timestamp: Option<usize>,
}

impl RecordColumns {
    /// The key's bytes in a row. An empty column gives no key: CSV can't tell it from null.
    #[inline]
    pub fn key_of<'a>(&self, row: &CsvRow<'a>) -> Option<&'a [u8]> {
        self.key.map(|index| row.column(index)).filter(|key| !key.is_empty())
    }

    /// The record's time in a row.
    #[inline]
    pub fn timestamp_of(
        &self,
        row: &CsvRow<'_>,
        names: &[String],
    ) -> Result<Option<i64>, RowFault> {
        let Some(index) = self.timestamp else { return Ok(None) };
        let text = row.column(index);
        match parse_timestamp(text) {
            Some(ms) => Ok(Some(ms)),
            None => Err(RowFault::value(&names[index], text, "a point in time")),
        }
    }
}
