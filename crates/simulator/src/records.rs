//! The records that callers send: each is made from its number, so that what is read can be held
//! against what was sent.

use streamledger_protocol::TimestampMs;
use streamledger_protocol::record_batch::{Header, RecordRef};

/// The number of a record in the whole run.
pub(crate) type RecordNumber = u32;

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) timestamp: TimestampMs,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// The header that carries the number of a record without a value.
const NUMBER_HEADER: &str = "number";

impl Content {
    /// The content of a record: null, empty and repeated parts among the usual ones.
    pub(crate) fn of(number: RecordNumber, timestamp: TimestampMs, value_bytes: usize) -> Self {
        let key = match number % 5 {
            0 => None,
            1 if number.is_multiple_of(3) => Some(Vec::new()),
            _ => Some(format!("user-{}", number % 17).into_bytes()),
        };
        let mut headers = Vec::new();
        if number.is_multiple_of(11) {
            headers.push(("repeated".to_owned(), None));
            headers.push(("repeated".to_owned(), Some(Vec::new())));
        }
        let id = number.to_be_bytes();
        let value = if number.is_multiple_of(13) {
            headers.push((NUMBER_HEADER.to_owned(), Some(id.to_vec())));
            None
        } else {
            // Half of it repeats, so that codecs find something.
            let filler = (0..value_bytes).map(|at| if at % 2 == 0 { b'x' } else { id[at % 4] });
            Some(id.into_iter().chain(filler).collect())
        };
        Self { timestamp, key, value, headers }
    }

    /// Lends the headers in the shape that the accumulator takes.
    pub(crate) fn borrowed_headers(&self) -> Vec<Header<'_>> {
        self.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect()
    }

    /// What a log holds.
    pub(crate) fn read(record: &RecordRef<'_>) -> Self {
        let headers = record
            .headers
            .map(|header| (header.key().into_owned(), header.value.map(<[u8]>::to_vec)));
        Self {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers.collect(),
        }
    }

    /// The number of the record that this is the content of, if it is one of ours.
    pub(crate) fn number(&self) -> Option<RecordNumber> {
        let of_header = || {
            let found = self.headers.iter().find(|(key, _)| key == NUMBER_HEADER);
            found.and_then(|(_, value)| value.as_deref())
        };
        let bytes = self.value.as_deref().or_else(of_header)?;
        bytes.first_chunk().map(|id| RecordNumber::from_be_bytes(*id))
    }
}
