//! Rows as the bytes of a record, written into a buffer that is used again for each row.

pub mod avro_line;
pub mod avro_row;
pub mod headers;
pub mod json_buffer;
pub mod ndjson;
pub mod number;
pub mod record_columns;
pub mod typed_row;

pub use avro_line::AvroLineRenderer;
pub use avro_row::AvroRenderer;
pub use headers::{HEADERS_MAX, Headers};
pub use json_buffer::JsonBuffer;
pub use ndjson::{NdjsonRenderer, RecordFields};
pub use record_columns::{HeaderColumn, RawRenderer, RecordColumns, RecordParts};
pub use typed_row::{OutputColumn, TypedRenderer};

use streamledger::{Header, PartitionIndex, ProducerRecord, TimestampMs};

use crate::input::{Line, RowFault};

/// So many different names of fields are kept in mind of a file's lines; those of more are looked
/// for each time.
const NAMES_KEPT_MAX: usize = 4096;

/// What a row became: parts of a record, borrowed from the row and the renderer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rendered<'a> {
    /// The key's bytes; None for an empty key column or no key at all.
    pub key: Option<&'a [u8]>,
    /// The value's bytes.
    pub value: &'a [u8],
    /// Milliseconds since 1970, where a column gives the record's time.
    pub timestamp_ms: Option<i64>,
    /// The partition, where a column gives it.
    pub partition: Option<i32>,
    /// The headers.
    pub headers: Headers<'a>,
}

impl Rendered<'_> {
    /// Gives the record for a topic to `take`; nothing is allocated for it.
    #[inline]
    pub fn with_record<T>(&self, topic: &str, take: impl FnOnce(ProducerRecord<'_>) -> T) -> T {
        let mut record = ProducerRecord::to(topic).nullable_key(self.key).value(self.value);
        if let Some(ms) = self.timestamp_ms {
            record = record.timestamp(TimestampMs(ms));
        }
        if let Some(partition) = self.partition {
            record = record.partition(PartitionIndex(partition));
        }
        if self.headers.is_empty() {
            return take(record);
        }
        let mut room = [Header { key: "", value: None }; HEADERS_MAX];
        let mut count = 0;
        for (slot, (key, value)) in room.iter_mut().zip(self.headers.iter()) {
            *slot = Header { key, value };
            count += 1;
        }
        take(record.headers(&room[..count]))
    }
}

/// Takes lines as they stand; an empty line is an empty value.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineRenderer;

impl LineRenderer {
    /// The line as a record's parts.
    pub fn render(self, line: Line<'_>) -> Result<Rendered<'_>, RowFault> {
        Ok(Rendered { value: line.bytes, ..Rendered::default() })
    }
}

/// The partition that a text names, of so many if that is known.
pub(crate) fn partition_of_text(text: &[u8], partition_count: Option<i32>) -> Option<i32> {
    if text.is_empty() || text.len() > 10 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let partition: i32 = std::str::from_utf8(text).ok()?.parse().ok()?;
    partition_count.is_none_or(|count| partition < count).then_some(partition)
}
