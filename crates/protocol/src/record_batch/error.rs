//! What can be wrong with the bytes of a batch.

use crate::compression::CompressionError;

/// Why bytes are no readable record batch. The batch is unusable; a neighbour may still be fine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptBatch {
    /// The bytes end before the batch does.
    #[error("the batch needs {needed} bytes and {present} are there")]
    Cut {
        /// Bytes the batch says it has, or those of a header.
        needed: usize,
        /// Bytes that are there.
        present: usize,
    },
    /// A format other than v2.
    #[error("record format {0} is not supported, only 2 is")]
    UnsupportedMagic(i8),
    /// A length that doesn't even cover the header.
    #[error("a batch length of {0} is impossible")]
    ImpossibleLength(i32),
    /// The checksum doesn't match the bytes.
    #[error("the checksum is {stored:#010x} but the bytes give {computed:#010x}")]
    Checksum {
        /// What the header says.
        stored: u32,
        /// The CRC-32C of the bytes.
        computed: u32,
    },
    /// The attributes name no codec.
    #[error("{0} names no compression codec")]
    UnknownCodec(i16),
    /// The records can't be decompressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A negative number of records.
    #[error("a record count of {0} is impossible")]
    ImpossibleCount(i32),
    /// A record is malformed.
    #[error("record {index} of the batch: {fault}")]
    Record {
        /// Which record, counted from 0.
        index: i32,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// There are bytes behind the last record.
    #[error("{0} bytes are left behind the last record")]
    BytesLeftOver(usize),
    /// A control batch whose record is no marker.
    #[error("the control record is malformed")]
    Control,
}

/// What is wrong with one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// A varint is cut or too long.
    #[error("a number is cut or too long")]
    Number,
    /// The record's length is negative or more than the bytes that remain.
    #[error("its length is impossible")]
    Length,
    /// A key, value or header says it is longer than the record, or has a length below -1.
    #[error("a field's length is impossible")]
    FieldLength,
    /// The number of headers is negative or can't fit.
    #[error("its header count is impossible")]
    HeaderCount,
    /// A header without a key.
    #[error("a header has no key")]
    NullHeaderKey,
    /// The fields don't fill the record's length.
    #[error("{0} bytes are left behind its last header")]
    BytesLeftOver(usize),
}
