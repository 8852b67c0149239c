//! A buffer that JSON is written into: short pieces by copies of a fixed size, escapes where
//! needed.
//!
//! Laws: `begin` makes room for the whole row at once, so that the pieces need no growth; what lies
//! past the written end is scratch; the buffer never shrinks, and grows only to the longest row.

use crate::input::Span;
use crate::input::chunk::PADDING;

/// Short pieces are copied in one go of this size, however short they are.
const COPY_BYTES: usize = 32;
const _: () = assert!(COPY_BYTES <= PADDING);

/// The longest a byte gets by escaping: `\u001f`.
pub const ESCAPE_GROWTH: usize = 6;

/// JSON text under construction.
#[derive(Debug, Default)]
pub struct JsonBuffer {
    bytes: Vec<u8>,
    at: usize,
}

impl JsonBuffer {
    /// Starts anew, with room for `bytes_max` bytes.
    #[inline]
    pub fn begin(&mut self, bytes_max: usize) {
        self.at = 0;
        if self.bytes.len() < bytes_max + COPY_BYTES {
            self.bytes.resize(bytes_max + COPY_BYTES, 0);
        }
    }

    /// What was written since `begin`.
    #[inline]
    pub fn written(&self) -> &[u8] {
        &self.bytes[..self.at]
    }

    /// Writes a piece whose length the compiler knows.
    #[inline(always)]
    pub fn literal<const N: usize>(&mut self, text: &[u8; N]) {
        self.bytes[self.at..self.at + N].copy_from_slice(text);
        self.at += N;
    }

    /// Writes a piece of a padded buffer as it stands.
    #[inline(always)]
    pub fn span(&mut self, padded: &[u8], span: Span) {
        let start = span.start as usize;
        let length = (span.end - span.start) as usize;
        let (from, to) = (&padded[start..start + COPY_BYTES], self.at);
        self.bytes[to..to + COPY_BYTES].copy_from_slice(from);
        if length > COPY_BYTES {
            self.bytes[to + COPY_BYTES..to + length]
                .copy_from_slice(&padded[start + COPY_BYTES..start + length]);
        }
        self.at += length;
    }

    /// Writes bytes as they stand.
    #[inline]
    pub fn raw(&mut self, text: &[u8]) {
        self.bytes[self.at..self.at + text.len()].copy_from_slice(text);
        self.at += text.len();
    }

    /// Writes the inside of a JSON string (RFC 8259): quotes, backslashes and control characters
    /// escaped, the short forms where there are any, all else as it stands.
    pub fn escaped(&mut self, text: &[u8]) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        for &byte in text {
            match byte {
                b'"' => self.literal(b"\\\""),
                b'\\' => self.literal(b"\\\\"),
                b'\n' => self.literal(b"\\n"),
                b'\r' => self.literal(b"\\r"),
                b'\t' => self.literal(b"\\t"),
                0x08 => self.literal(b"\\b"),
                0x0c => self.literal(b"\\f"),
                0..=0x1f => {
                    self.literal(b"\\u00");
                    self.literal(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                }
                _ => self.literal(&[byte]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_serde_json_does() {
        let every: String = (0..=0x10ff_u32).filter_map(char::from_u32).collect();
        let mut buffer = JsonBuffer::default();
        buffer.begin(every.len() * ESCAPE_GROWTH + 2);
        buffer.literal(b"\"");
        buffer.escaped(every.as_bytes());
        buffer.literal(b"\"");
        let expected = serde_json::to_string(&every).unwrap();
        assert_eq!(std::str::from_utf8(buffer.written()).unwrap(), expected);
    }

    #[test]
    fn spans_of_any_length_come_out_whole() {
        let text: Vec<u8> = (0..200).collect();
        let mut buffer = JsonBuffer::default();
        for length in 0..=100_u32 {
            buffer.begin(200);
            buffer.span(&text, Span { start: 3, end: 3 + length });
            buffer.raw(b"end");
            let expected = [&text[3..3 + length as usize], b"end"].concat();
            assert_eq!(buffer.written(), expected);
        }
    }
}
