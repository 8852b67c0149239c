//! The part of protobuf's wire format that a metrics message needs: fields, one after the other.
//!
//! A field is a tag (its number and how its value is laid out) and the value
//! (<https://protobuf.dev/programming-guides/encoding/>).

/// A message that is being written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct ProtobufMessage(Vec<u8>);

const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;

impl ProtobufMessage {
    /// Adds a whole number, or an enum's.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        self.varint(value);
    }

    /// Adds a `fixed64`.
    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, FIXED_64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Adds a `double`.
    pub(super) fn double(&mut self, field: u32, value: f64) {
        self.fixed64(field, value.to_bits());
    }

    /// Adds a text.
    pub(super) fn text(&mut self, field: u32, text: &str) {
        self.delimited(field, text.as_bytes());
    }

    /// Adds a message that `write` fills.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.delimited(field, &inner.0);
    }

    /// Adds fields that were written before.
    pub(super) fn fields(&mut self, fields: &[u8]) {
        self.0.extend_from_slice(fields);
    }

    /// The bytes so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn delimited(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, LENGTH_DELIMITED);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn tag(&mut self, field: u32, layout: u32) {
        self.varint(u64::from(field << 3 | layout));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_laid_out_as_in_protobufs_documentation() {
        let mut message = ProtobufMessage::default();
        message.number(1, 150);
        message.text(2, "testing");
        message.message(3, |inner| inner.number(1, 150));
        message.fixed64(4, 1);
        message.double(16, 1.0);
        let expected = [
            &b"\x08\x96\x01"[..],
            b"\x12\x07testing",
            b"\x1a\x03\x08\x96\x01",
            b"\x21\x01\0\0\0\0\0\0\0",
            b"\x81\x01\0\0\0\0\0\0\xf0\x3f",
        ];
        assert_eq!(message.bytes(), expected.concat());
    }

    #[test]
    fn an_empty_text_or_message_is_still_there() {
        let mut message = ProtobufMessage::default();
        message.text(1, "");
        message.message(2, |_| {});
        assert_eq!(message.into_bytes(), b"\x0a\0\x12\0");
    }
}
