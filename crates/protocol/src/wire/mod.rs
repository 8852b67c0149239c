//! The primitive types of the wire: how each is read from a frame and written into one.
//!
//! 1. A read checks first that the bytes are there; nothing panics, whatever the bytes say.
//! 2. An array's count is checked against the bytes that remain before a `Vec` is made for it.
//! 3. Big byte strings are never copied: read, they are slices of the frame; written, they are
//!    segments of their own.

mod error;
mod reader;
mod records;
mod value;
mod writer;

pub use error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
pub use reader::Reader;
pub use records::Records;
pub use value::{Layout, Nullable, WireValue};
pub use writer::{Frame, SHARED_BYTES_MIN, Segment, Writer};

/// The longest text in bytes, in compact form too (Kafka's generated readers refuse more).
const STRING_MAX: usize = i16::MAX as usize;
