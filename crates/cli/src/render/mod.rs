//! Rows as the bytes of a record's value, written into a buffer that is used again for each row.

pub mod json_buffer;
pub mod number;

pub use json_buffer::JsonBuffer;
