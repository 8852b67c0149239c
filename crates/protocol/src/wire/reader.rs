//! Reads the wire's primitive types from one frame, without copying byte strings.

use bytes::Bytes;

use super::STRING_MAX;
use super::error::{DecodeError, DecodeErrorKind};

/// A position in a frame. Each read moves it past what it read, or fails and says where.
#[derive(Debug, Clone)]
pub struct Reader {
    frame: Bytes,
    at: usize,
}

/// Declares the reads of big-endian numbers.
macro_rules! fixed_width {
    ($($name:ident: $type:ty,)*) => {
        $(
            #[doc = concat!("Reads a big-endian `", stringify!($type), "`.")]
            ///
            /// # Errors
            /// Too few bytes remain.
            #[inline]
            pub fn $name(&mut self) -> Result<$type, DecodeError> {
                self.array().map(<$type>::from_be_bytes)
            }
        )*
    };
}

impl Reader {
    /// A reader at the first byte of a frame.
    #[must_use]
    pub const fn new(frame: Bytes) -> Self {
        Self { frame, at: 0 }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.frame.len() - self.at
    }

    /// The position in the frame, counted from 0.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Takes everything that was not read yet, without copying it.
    #[must_use]
    pub fn into_remaining(self) -> Bytes {
        self.frame.slice(self.at..)
    }

    /// Checks that the frame was read to its end.
    ///
    /// # Errors
    /// Bytes are left over.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error(DecodeErrorKind::LeftOver(left))),
        }
    }

    /// An error of this kind at the reader's position.
    #[cold]
    #[must_use]
    pub fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError::new(kind, self.at)
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        self.error(DecodeErrorKind::Truncated { needed, remaining: self.remaining() })
    }

    /// Reads that many bytes, borrowed from the frame.
    ///
    /// # Errors
    /// Too few bytes remain.
    #[inline]
    pub fn slice(&mut self, length: usize) -> Result<&[u8], DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(length));
        }
        let start = self.at;
        self.at += length;
        Ok(&self.frame[start..start + length])
    }

    /// Reads that many bytes as a part of the frame that keeps it alive.
    ///
    /// # Errors
    /// Too few bytes remain.
    #[inline]
    pub fn shared(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(length));
        }
        let start = self.at;
        self.at += length;
        Ok(self.frame.slice(start..start + length))
    }

    /// Reads `N` bytes.
    ///
    /// # Errors
    /// Too few bytes remain.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.frame[self.at..].first_chunk() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.truncated(N)),
        }
    }

    fixed_width! {
        i8: i8,
        i16: i16,
        i32: i32,
        i64: i64,
        u8: u8,
        u16: u16,
        u32: u32,
        f64: f64,
    }

    /// Reads a byte: 0 is false, any other is true, as Kafka reads it.
    ///
    /// # Errors
    /// No byte remains.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// Reads a UUID, most significant byte first.
    ///
    /// # Errors
    /// Fewer than 16 bytes remain.
    #[inline]
    pub fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.array()
    }

    /// Reads a number of up to 32 bits, seven a byte, least significant first.
    ///
    /// # Errors
    /// The bytes end within it, or it has more than 32 bits.
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(u32::from(first));
        }
        let value = self.long_varint(first, u32::BITS)?;
        // `long_varint` gave no more than the bits it was allowed.
        Ok((value & u64::from(u32::MAX)) as u32)
    }

    /// Reads the bytes after the first of a number of several; at most `bits` may be set.
    fn long_varint(&mut self, first: u8, bits: u32) -> Result<u64, DecodeError> {
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.u8()?;
            let group = u64::from(byte & 0x7f);
            if shift >= bits || (bits - shift < 7 && group >> (bits - shift) != 0) {
                return Err(self.error(DecodeErrorKind::VarintTooLong));
            }
            value |= group << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    /// Reads a zigzag number of 32 bits.
    ///
    /// # Errors
    /// The bytes end within it, or it has more than 32 bits.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let raw = self.unsigned_varint()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// Reads a zigzag number of 64 bits.
    ///
    /// # Errors
    /// The bytes end within it, or it has more than 64 bits.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let first = self.u8()?;
        let raw = if first < 0x80 { u64::from(first) } else { self.long_varint(first, u64::BITS)? };
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// A signed length prefix; -1 is null.
    fn length(&self, length: i32) -> Result<Option<usize>, DecodeError> {
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(self.error(DecodeErrorKind::NegativeLength(length))),
        }
    }

    /// The length prefix of flexible versions: one more than the length; 0 is null.
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(self.unsigned_varint()?.checked_sub(1).map(|length| length as usize))
    }

    fn not_null<T>(&self, value: Option<T>) -> Result<T, DecodeError> {
        value.ok_or_else(|| self.error(DecodeErrorKind::UnexpectedNull))
    }

    fn text(&mut self, length: Option<usize>) -> Result<Option<&str>, DecodeError> {
        let Some(length) = length else { return Ok(None) };
        if length > STRING_MAX {
            return Err(self.error(DecodeErrorKind::StringTooLong(length)));
        }
        let start = self.at;
        match std::str::from_utf8(self.slice(length)?) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(DecodeError::new(DecodeErrorKind::NotUtf8, start)),
        }
    }

    /// Reads a text with a length of 16 bits, or null.
    ///
    /// # Errors
    /// The bytes end within it, or are not UTF-8, or the length is under -1.
    pub fn nullable_string(&mut self) -> Result<Option<&str>, DecodeError> {
        let length = self.i16()?;
        let length = self.length(i32::from(length))?;
        self.text(length)
    }

    /// Reads a text with a compact length, or null.
    ///
    /// # Errors
    /// The bytes end within it, or are not UTF-8.
    pub fn compact_nullable_string(&mut self) -> Result<Option<&str>, DecodeError> {
        let length = self.compact_length()?;
        self.text(length)
    }

    /// Reads a text with a length of 16 bits.
    ///
    /// # Errors
    /// As [`Reader::nullable_string`], or it is null.
    pub fn string(&mut self) -> Result<&str, DecodeError> {
        let at = self.at;
        self.nullable_string()?.ok_or_else(|| DecodeError::new(DecodeErrorKind::UnexpectedNull, at))
    }

    /// Reads a text with a compact length.
    ///
    /// # Errors
    /// As [`Reader::compact_nullable_string`], or it is null.
    pub fn compact_string(&mut self) -> Result<&str, DecodeError> {
        let at = self.at;
        self.compact_nullable_string()?
            .ok_or_else(|| DecodeError::new(DecodeErrorKind::UnexpectedNull, at))
    }

    /// Reads a byte string with a length of 32 bits, or null: a part of the frame.
    ///
    /// # Errors
    /// The bytes end within it, or the length is under -1.
    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let length = self.i32()?;
        self.length(length)?.map(|length| self.shared(length)).transpose()
    }

    /// Reads a byte string with a compact length, or null: a part of the frame.
    ///
    /// # Errors
    /// The bytes end within it.
    pub fn compact_nullable_bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        self.compact_length()?.map(|length| self.shared(length)).transpose()
    }

    /// Reads a byte string with a length of 32 bits: a part of the frame.
    ///
    /// # Errors
    /// As [`Reader::nullable_bytes`], or it is null.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let bytes = self.nullable_bytes()?;
        self.not_null(bytes)
    }

    /// Reads a byte string with a compact length: a part of the frame.
    ///
    /// # Errors
    /// As [`Reader::compact_nullable_bytes`], or it is null.
    pub fn compact_bytes(&mut self) -> Result<Bytes, DecodeError> {
        let bytes = self.compact_nullable_bytes()?;
        self.not_null(bytes)
    }

    /// Refuses a count of elements that cannot be in the bytes that remain.
    fn fitting(
        &self,
        count: Option<usize>,
        element_bytes_min: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let remaining = self.remaining();
        match count {
            Some(count) if count > remaining / element_bytes_min.max(1) => {
                let kind = DecodeErrorKind::TooManyElements { count, element_bytes_min, remaining };
                Err(self.error(kind))
            }
            count => Ok(count),
        }
    }

    /// Reads the count of an array whose elements take at least that many bytes each, or null.
    ///
    /// # Errors
    /// The count is under -1, or so many elements cannot be in the bytes that remain.
    pub fn nullable_array_len(
        &mut self,
        element_bytes_min: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let count = self.i32()?;
        self.fitting(self.length(count)?, element_bytes_min)
    }

    /// Reads the compact count of an array, or null.
    ///
    /// # Errors
    /// So many elements cannot be in the bytes that remain.
    pub fn compact_nullable_array_len(
        &mut self,
        element_bytes_min: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let count = self.compact_length()?;
        self.fitting(count, element_bytes_min)
    }

    /// Reads the count of an array.
    ///
    /// # Errors
    /// As [`Reader::nullable_array_len`], or it is null.
    pub fn array_len(&mut self, element_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.nullable_array_len(element_bytes_min)?;
        self.not_null(count)
    }

    /// Reads the compact count of an array.
    ///
    /// # Errors
    /// As [`Reader::compact_nullable_array_len`], or it is null.
    pub fn compact_array_len(&mut self, element_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.compact_nullable_array_len(element_bytes_min)?;
        self.not_null(count)
    }

    /// Reads the tagged fields at the end of a flexible struct (KIP-482).
    ///
    /// `known` reads the value of a tag it knows and says so; any other is skipped.
    ///
    /// # Errors
    /// The bytes end within them, `known` fails, or it reads more or less than the field has.
    #[inline]
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            let declared = self.unsigned_varint()? as usize;
            if declared > self.remaining() {
                return Err(self.truncated(declared));
            }
            let start = self.at;
            if !known(tag, self)? {
                self.at = start + declared;
            } else if self.at - start != declared {
                let actual = self.at - start;
                return Err(self.error(DecodeErrorKind::TaggedFieldSize { tag, declared, actual }));
            }
        }
        Ok(())
    }

    /// Skips the tagged fields at the end of a flexible struct that has none of its own.
    ///
    /// # Errors
    /// The bytes end within them.
    #[inline]
    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields(|_, _| Ok(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &'static [u8]) -> Reader {
        Reader::new(Bytes::from_static(bytes))
    }

    fn kind<T: std::fmt::Debug>(result: Result<T, DecodeError>) -> DecodeErrorKind {
        result.unwrap_err().kind().clone()
    }

    #[test]
    fn numbers_are_big_endian() {
        let mut r = reader(&[0xff, 0x80, 0x01, 0, 0, 1, 0, 2, 0x40, 0x09, 0x21, 0xfb, 0, 0, 0, 0]);
        assert_eq!(r.i8(), Ok(-1));
        assert_eq!(r.i16(), Ok(-32767));
        assert_eq!(r.bool(), Ok(false));
        assert_eq!(r.i32(), Ok(65_538));
        assert_eq!(r.position(), 8);
        assert!((r.f64().unwrap() - std::f64::consts::PI).abs() < 1e-5);
        assert_eq!(kind(r.i16()), DecodeErrorKind::Truncated { needed: 2, remaining: 0 });
        assert_eq!(r.finish(), Ok(()));
    }

    #[test]
    fn varints_end_where_their_type_does() {
        assert_eq!(reader(&[0x7f]).unsigned_varint(), Ok(127));
        assert_eq!(reader(&[0xac, 0x02]).unsigned_varint(), Ok(300));
        assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).unsigned_varint(), Ok(u32::MAX));
        let five_bits = reader(&[0xff, 0xff, 0xff, 0xff, 0x1f]).unsigned_varint();
        assert_eq!(kind(five_bits), DecodeErrorKind::VarintTooLong);
        let six_bytes = reader(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]).unsigned_varint();
        assert_eq!(kind(six_bytes), DecodeErrorKind::VarintTooLong);
        assert_eq!(reader(&[0x01]).varint(), Ok(-1));
        assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).varint(), Ok(i32::MIN));
        let min = reader(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).varlong();
        assert_eq!(min, Ok(i64::MIN));
        let over = reader(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).varlong();
        assert_eq!(kind(over), DecodeErrorKind::VarintTooLong);
    }

    #[test]
    fn null_and_empty_are_different() {
        assert_eq!(reader(&[0xff, 0xff]).nullable_string(), Ok(None));
        assert_eq!(reader(&[0, 0]).nullable_string(), Ok(Some("")));
        assert_eq!(reader(&[0]).compact_nullable_string(), Ok(None));
        assert_eq!(reader(&[1]).compact_nullable_string(), Ok(Some("")));
        assert_eq!(reader(&[0]).compact_nullable_bytes(), Ok(None));
        assert_eq!(reader(&[1]).compact_nullable_bytes(), Ok(Some(Bytes::new())));
        assert_eq!(kind(reader(&[0xff, 0xff]).string()), DecodeErrorKind::UnexpectedNull);
        assert_eq!(kind(reader(&[0]).compact_bytes()), DecodeErrorKind::UnexpectedNull);
        assert_eq!(kind(reader(&[0]).compact_array_len(1)), DecodeErrorKind::UnexpectedNull);
        assert_eq!(kind(reader(&[0xff, 0xfe]).string()), DecodeErrorKind::NegativeLength(-2));
    }

    #[test]
    fn a_count_that_cannot_be_there_is_refused() {
        let mut r = reader(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        let refused = DecodeErrorKind::TooManyElements {
            count: i32::MAX as usize,
            element_bytes_min: 2,
            remaining: 4,
        };
        assert_eq!(kind(r.array_len(2)), refused);
        assert_eq!(reader(&[0, 0, 0, 2, 0, 0, 0, 0]).array_len(2), Ok(2));
        assert_eq!(reader(&[0, 0, 0, 0]).array_len(0), Ok(0));
    }

    #[test]
    fn byte_strings_are_parts_of_the_frame() {
        let frame = Bytes::from(vec![4, 10, 20, 30]);
        let bytes = Reader::new(frame.clone()).compact_bytes().unwrap();
        assert_eq!(bytes.as_ptr(), frame[1..].as_ptr());
        assert_eq!(*bytes, [10, 20, 30]);
    }

    #[test]
    fn a_text_longer_than_kafka_takes_is_refused_in_compact_form_too() {
        let mut r = reader(&[0x81, 0x80, 0x02]);
        assert_eq!(kind(r.compact_string()), DecodeErrorKind::StringTooLong(32_768));
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_where_it_begins() {
        let error = reader(&[0, 1, 0xff]).string().unwrap_err();
        assert_eq!((error.kind(), error.at()), (&DecodeErrorKind::NotUtf8, 2));
    }

    #[test]
    fn unknown_tagged_fields_are_skipped_and_known_ones_have_their_size() {
        let read = |bytes: &'static [u8]| {
            let mut r = reader(bytes);
            let mut value = 0;
            r.tagged_fields(|tag, r| match tag {
                1 => {
                    value = r.i16()?;
                    Ok(true)
                }
                _ => Ok(false),
            })?;
            r.finish()?;
            Ok(value)
        };
        assert_eq!(read(&[0]), Ok(0));
        assert_eq!(read(&[2, 1, 2, 0, 9, 5, 3, 1, 2, 3]), Ok(9));
        let short = DecodeErrorKind::TaggedFieldSize { tag: 1, declared: 3, actual: 2 };
        assert_eq!(kind(read(&[1, 1, 3, 0, 9, 9])), short);
        let cut = DecodeErrorKind::Truncated { needed: 9, remaining: 1 };
        assert_eq!(kind(read(&[1, 7, 9, 0])), cut);
    }
}
