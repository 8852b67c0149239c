//! Writes the wire's primitive types into one frame, without copying big byte strings.

use std::io::IoSlice;

use bytes::Bytes;

use super::STRING_MAX;
use super::error::{EncodeError, EncodeErrorKind};

/// A byte string of at least this many bytes becomes a segment of its own instead of a copy.
pub const SHARED_BYTES_MIN: usize = 1024;

/// A frame being written: one buffer, and big byte strings remembered by their place in it.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
    /// Each with the position in `buffer` before which it belongs, ascending.
    shared: Vec<(usize, Segment)>,
    shared_bytes: usize,
}

/// A stretch of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Its bytes; not empty.
    Bytes(Bytes),
    /// That many bytes, to be put there by whoever sends the frame.
    Gap(usize),
}

impl Segment {
    /// How many bytes it stands for.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Gap(bytes) => *bytes,
        }
    }

    /// Whether it stands for no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A frame ready for a vectored write: its bytes are those of its segments, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// The segments, in order; none is empty.
    pub segments: Vec<Bytes>,
}

impl Frame {
    /// The bytes of all segments together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.iter().map(Bytes::len).sum()
    }

    /// Whether there are no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The segments as a vectored write takes them.
    pub fn iter_io_slices(&self) -> impl Iterator<Item = IoSlice<'_>> {
        self.segments.iter().map(|segment| IoSlice::new(segment))
    }

    /// All bytes in one piece; copies them when there is more than one segment.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        match self.segments.len() {
            0 => Bytes::new(),
            1 => self.segments.swap_remove(0),
            _ => self.segments.concat().into(),
        }
    }
}

/// Declares the writes of big-endian numbers.
macro_rules! fixed_width {
    ($($name:ident: $type:ty,)*) => {
        $(
            #[doc = concat!("Writes a big-endian `", stringify!($type), "`.")]
            #[inline]
            pub fn $name(&mut self, value: $type) {
                self.buffer.extend_from_slice(&value.to_be_bytes());
            }
        )*
    };
}

impl Writer {
    /// A frame without bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self { buffer: Vec::new(), shared: Vec::new(), shared_bytes: 0 }
    }

    /// A frame without bytes and with room for that many, big byte strings not counted.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes), ..Self::new() }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() + self.shared_bytes
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends a frame without gaps; what a gap stands for would be missing.
    #[must_use]
    pub fn finish(self) -> Frame {
        let bytes_of = |segment| match segment {
            Segment::Bytes(bytes) => Some(bytes),
            Segment::Gap(_) => None,
        };
        Frame { segments: self.finish_with_gaps().into_iter().filter_map(bytes_of).collect() }
    }

    /// Ends a frame that may have gaps.
    #[must_use]
    pub fn finish_with_gaps(self) -> Vec<Segment> {
        let buffer = Bytes::from(self.buffer);
        let mut segments = Vec::with_capacity(2 * self.shared.len() + 1);
        let mut from = 0;
        for (position, shared) in self.shared {
            if position > from {
                segments.push(Segment::Bytes(buffer.slice(from..position)));
            }
            segments.push(shared);
            from = position;
        }
        if from == 0 && !buffer.is_empty() {
            segments.push(Segment::Bytes(buffer));
        } else if from < buffer.len() {
            segments.push(Segment::Bytes(buffer.slice(from..)));
        }
        segments
    }

    /// Whether some of the frame is to be put there by who sends it.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        self.shared.iter().any(|(_, segment)| matches!(segment, Segment::Gap(_)))
    }

    fixed_width! {
        put_i8: i8,
        put_i16: i16,
        put_i32: i32,
        put_i64: i64,
        put_u8: u8,
        put_u16: u16,
        put_u32: u32,
        put_f64: f64,
    }

    /// Writes a byte, 1 or 0.
    #[inline]
    pub fn put_bool(&mut self, value: bool) {
        self.put_u8(u8::from(value));
    }

    /// Writes bytes as they are.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Writes bytes as they are; from [`SHARED_BYTES_MIN`] on without copying them.
    pub fn put_bytes_shared(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.buffer.extend_from_slice(&bytes);
        } else {
            self.shared_bytes += bytes.len();
            self.shared.push((self.buffer.len(), Segment::Bytes(bytes)));
        }
    }

    /// Leaves room for that many bytes, which are put there when the frame is sent.
    pub fn put_gap(&mut self, bytes: usize) {
        if bytes > 0 {
            self.shared_bytes += bytes;
            self.shared.push((self.buffer.len(), Segment::Gap(bytes)));
        }
    }

    /// Writes a number seven bits a byte, least significant first.
    #[inline]
    pub fn put_unsigned_varint(&mut self, value: u32) {
        self.put_long_varint(u64::from(value));
    }

    #[inline]
    fn put_long_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.push(value as u8 & 0x7f | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }

    /// Writes a zigzag number of 32 bits.
    pub fn put_varint(&mut self, value: i32) {
        self.put_unsigned_varint((value << 1 ^ value >> 31).cast_unsigned());
    }

    /// Writes a zigzag number of 64 bits.
    pub fn put_varlong(&mut self, value: i64) {
        self.put_long_varint((value << 1 ^ value >> 63).cast_unsigned());
    }

    /// Writes a text with a length of 16 bits.
    ///
    /// # Errors
    /// It has more than 32,767 bytes.
    pub fn put_string(&mut self, text: &str) -> Result<(), EncodeError> {
        let length = i16::try_from(text.len()).map_err(|_| too_long(text.len(), STRING_MAX))?;
        self.put_i16(length);
        self.put_slice(text.as_bytes());
        Ok(())
    }

    /// Writes a text with a compact length. Its limit is the same, as Kafka refuses more.
    ///
    /// # Errors
    /// It has more than 32,767 bytes.
    pub fn put_compact_string(&mut self, text: &str) -> Result<(), EncodeError> {
        if text.len() > STRING_MAX {
            return Err(too_long(text.len(), STRING_MAX));
        }
        self.put_compact_len(text.len())?;
        self.put_slice(text.as_bytes());
        Ok(())
    }

    /// Writes the 16-bit length that stands for a null text.
    pub fn put_null_string(&mut self) {
        self.put_i16(-1);
    }

    /// Writes a length or count of 32 bits.
    ///
    /// # Errors
    /// It is over 2^31-1.
    #[inline]
    pub fn put_len(&mut self, length: usize) -> Result<(), EncodeError> {
        self.put_i32(i32::try_from(length).map_err(|_| too_long(length, LENGTH_MAX))?);
        Ok(())
    }

    /// Writes a compact length or count.
    ///
    /// # Errors
    /// It is over 2^31-1.
    #[inline]
    pub fn put_compact_len(&mut self, length: usize) -> Result<(), EncodeError> {
        match i32::try_from(length) {
            Ok(length) => self.put_unsigned_varint(length.cast_unsigned() + 1),
            Err(_) => return Err(too_long(length, LENGTH_MAX)),
        }
        Ok(())
    }

    /// Writes the 32-bit length that stands for a null byte string or array.
    pub fn put_null_len(&mut self) {
        self.put_i32(-1);
    }

    /// Writes the compact length that stands for any null.
    pub fn put_compact_null_len(&mut self) {
        self.put_u8(0);
    }

    /// Writes one tagged field (KIP-482): tag, size, and the value that `write` writes.
    ///
    /// # Errors
    /// `write` fails, or the value has more than 2^31-1 bytes.
    pub fn put_tagged(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.put_unsigned_varint(tag);
        let (start, shared_before, bytes_before) =
            (self.buffer.len(), self.shared.len(), self.len());
        write(self)?;
        let size = self.len() - bytes_before;
        let end = self.buffer.len();
        let size = i32::try_from(size).map_err(|_| too_long(size, LENGTH_MAX))?;
        // The size goes before the value: written after it, then rotated to the front.
        self.put_unsigned_varint(size.cast_unsigned());
        let size_bytes = self.buffer.len() - end;
        self.buffer[start..].rotate_right(size_bytes);
        for (position, _) in &mut self.shared[shared_before..] {
            *position += size_bytes;
        }
        Ok(())
    }

    /// Sets the first four bytes, kept free by `put_i32(0)`, to the count of those after them.
    pub(crate) fn patch_frame_length(&mut self) -> Result<(), EncodeError> {
        let length = self.len().saturating_sub(4);
        let prefix = i32::try_from(length).map_err(|_| too_long(length, LENGTH_MAX))?;
        if let Some(first) = self.buffer.first_chunk_mut() {
            *first = prefix.to_be_bytes();
        }
        Ok(())
    }
}

const LENGTH_MAX: usize = i32::MAX as usize;

#[cold]
fn too_long(length: usize, max: usize) -> EncodeError {
    EncodeError::new(EncodeErrorKind::TooLong { length, max })
}

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;

    fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut w = Writer::new();
        write(&mut w);
        w.finish().into_bytes().to_vec()
    }

    #[test]
    fn varints_are_read_back() {
        for value in [0, 1, -1, 63, 64, -65, 300, i32::MAX, i32::MIN] {
            let bytes = written(|w| {
                w.put_varint(value);
                w.put_varlong(i64::from(value) << 32);
                w.put_unsigned_varint(value.cast_unsigned());
            });
            let mut r = Reader::new(bytes.into());
            assert_eq!(r.varint(), Ok(value));
            assert_eq!(r.varlong(), Ok(i64::from(value) << 32));
            assert_eq!(r.unsigned_varint(), Ok(value.cast_unsigned()));
            assert_eq!(r.finish(), Ok(()));
        }
    }

    #[test]
    fn big_byte_strings_are_segments_and_small_ones_are_copied() {
        let big = Bytes::from(vec![7; SHARED_BYTES_MIN]);
        let mut w = Writer::new();
        w.put_i16(1);
        w.put_bytes_shared(Bytes::from_static(&[2, 3]));
        w.put_bytes_shared(big.clone());
        w.put_bytes_shared(big.clone());
        w.put_u8(4);
        assert_eq!(w.len(), 5 + 2 * SHARED_BYTES_MIN);
        let frame = w.finish();
        assert_eq!(frame.segments.len(), 4);
        assert_eq!(frame.segments[1].as_ptr(), big.as_ptr());
        assert_eq!(frame.iter_io_slices().map(|slice| slice.len()).sum::<usize>(), frame.len());
        let bytes = frame.into_bytes();
        assert_eq!(bytes[..5], [0, 1, 2, 3, 7]);
        assert_eq!(bytes[bytes.len() - 2..], [7, 4]);
    }

    #[test]
    fn a_gap_counts_in_every_length_and_is_a_segment_of_its_own() {
        let mut w = Writer::new();
        w.put_i32(0);
        w.put_tagged(5, |w| {
            w.put_u8(1);
            w.put_gap(300);
            w.put_u8(2);
            Ok(())
        })
        .unwrap();
        w.put_gap(0);
        w.put_gap(7);
        w.patch_frame_length().unwrap();
        assert!(w.has_gaps());
        let segments = w.finish_with_gaps();
        let bytes = |bytes: &'static [u8]| Segment::Bytes(Bytes::from_static(bytes));
        let expected =
            [bytes(&[0, 0, 1, 56, 5, 0xae, 2, 1]), Segment::Gap(300), bytes(&[2]), Segment::Gap(7)];
        assert_eq!(segments, expected);
        assert_eq!(segments.iter().map(Segment::len).sum::<usize>(), 4 + 0x138);
    }

    #[test]
    fn a_frame_that_begins_with_a_big_byte_string_has_no_empty_segment() {
        let mut w = Writer::new();
        w.put_bytes_shared(Bytes::from(vec![7; SHARED_BYTES_MIN]));
        assert_eq!(w.finish().segments.len(), 1);
        assert!(Writer::new().finish().is_empty());
        let mut w = Writer::new();
        w.put_bytes_shared(Bytes::from(vec![7; SHARED_BYTES_MIN]));
        w.put_u8(1);
        assert_eq!(w.finish().into_bytes().len(), SHARED_BYTES_MIN + 1);
    }

    #[test]
    fn a_tagged_field_carries_its_size_even_around_a_big_byte_string() {
        let bytes = written(|w| {
            w.put_u8(9);
            w.put_tagged(5, |w| {
                w.put_u8(1);
                w.put_bytes_shared(Bytes::from(vec![7; SHARED_BYTES_MIN]));
                w.put_u8(2);
                Ok(())
            })
            .unwrap();
        });
        assert_eq!(bytes[..6], [9, 5, 0x82, 0x08, 1, 7]);
        assert_eq!(bytes.len(), 4 + 1026);
        assert_eq!(bytes.last(), Some(&2));
    }

    #[test]
    fn a_text_too_long_for_its_length_is_refused() {
        let text = "a".repeat(32_768);
        let kind = EncodeErrorKind::TooLong { length: 32_768, max: 32_767 };
        assert_eq!(Writer::new().put_string(&text).unwrap_err().kind(), &kind);
        assert_eq!(Writer::new().put_compact_string(&text).unwrap_err().kind(), &kind);
        assert_eq!(Writer::new().put_string(&text[1..]), Ok(()));
    }
}
