//! The record of a row that can't become one: the row as it stands, with where it is and what is
//! wrong with it in the headers. What `ingest` sends, and what `audit` looks for.

use std::path::Path;

use streamledger::{Header, ProduceError, ProducerRecord};

use crate::input::RowFault;

/// The header that names the file, as the command line did.
pub const FILE: &str = "file";
/// The header that says on which line of it the row begins, counted from 1.
pub const LINE: &str = "line";
/// The header that says what is wrong, for people.
pub const REASON: &str = "reason";
/// The header that names the column at fault, if one is.
pub const COLUMN: &str = "column";

/// The topic they go to, unless told otherwise.
pub fn default_topic(topic: &str) -> String {
    format!("{topic}.dead-letters")
}

/// A bad row.
#[derive(Debug)]
pub struct DeadLetter<'a> {
    file: String,
    line: String,
    reason: String,
    column: Option<String>,
    row: Option<&'a [u8]>,
}

impl<'a> DeadLetter<'a> {
    /// Of a row, if its bytes are known.
    pub fn of(file: &Path, line: u64, row: Option<&'a [u8]>, fault: &RowFault) -> DeadLetter<'a> {
        DeadLetter {
            file: file.display().to_string(),
            line: line.to_string(),
            reason: fault.to_string(),
            column: fault.column(),
            row,
        }
    }

    /// The column at fault.
    pub fn column(&self) -> Option<&str> {
        self.column.as_deref()
    }

    /// The same without the row's bytes, as a row goes that is too large for a record.
    #[must_use]
    pub fn without_row(self) -> DeadLetter<'a> {
        DeadLetter { row: None, ..self }
    }

    /// Gives the record for a topic to `take`.
    pub fn with_record<T>(&self, topic: &str, take: impl FnOnce(ProducerRecord<'_>) -> T) -> T {
        let mut headers = vec![
            Header { key: FILE, value: Some(self.file.as_bytes()) },
            Header { key: LINE, value: Some(self.line.as_bytes()) },
            Header { key: REASON, value: Some(self.reason.as_bytes()) },
        ];
        let column = self.column.as_ref();
        headers.extend(column.map(|name| Header { key: COLUMN, value: Some(name.as_bytes()) }));
        let record = ProducerRecord::to(topic).headers(&headers);
        take(match self.row {
            Some(row) => record.value(row),
            None => record,
        })
    }
}

/// That a record is larger than a producer takes, as the fault of its row.
pub fn too_large(topic: &str, record_bytes: usize, bytes_max: usize) -> RowFault {
    let error = ProduceError::RecordTooLarge { topic: topic.into(), record_bytes, bytes_max };
    RowFault::Refused { reason: error.to_string() }
}
