//! Input files as rows: read in big chunks, split without an allocation per row, each row with the
//! line it starts on.

pub mod adapted;
pub mod arrivals;
pub mod avro_source;
pub mod chunk;
pub mod columns;
pub mod compression;
pub mod csv;
pub mod csv_marks;
pub mod csv_quoted;
pub mod discovery;
pub mod fault;
pub mod file;
pub mod followed;
pub mod format;
pub mod lines;
pub mod options;
#[cfg_attr(not(feature = "parquet"), path = "parquet_absent.rs")]
pub mod parquet;
pub mod pattern;
pub mod plan;
pub mod planned;
pub mod position;
pub mod prefixed;
pub mod rotation;
pub mod source;
pub mod standard;
pub mod tail;
pub mod timed;
pub mod value_schema;

pub use chunk::ChunkReader;
pub use csv::{CsvRow, CsvRows};
pub use fault::{ReadFault, RowFault};
pub use format::FileFormat;
pub use lines::{Line, LineRows};
pub use options::{ColumnNames, InputOptions};
pub use plan::InputPlan;
pub use position::{ContentHash, Place, Position, ResumeFault};
pub use source::{RecordSource, SourceRecord};

/// A row may be this long unless `--max-row-bytes` says otherwise.
pub const ROW_BYTES_MAX_DEFAULT: usize = 16 << 20;

/// A part of a buffer: from `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes it spans.
    #[inline]
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        &buffer[self.start as usize..self.end as usize]
    }
}
