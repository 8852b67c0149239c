//! Zigzag varints of records, on plain slices: packed into one word to write, without a loop.

/// Maps small negative numbers to small unsigned ones: 0, -1, 1, -2 become 0, 1, 2, 3.
#[inline]
pub(super) const fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)).cast_unsigned()
}

/// The 64-bit sibling of [`zigzag32`].
#[inline]
pub(super) const fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[inline]
const fn unzigzag32(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[inline]
const fn unzigzag64(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Bytes that the varint of a zigzagged number takes: 1 to 10.
#[inline]
pub(super) const fn varint_bytes(zigzagged: u64) -> usize {
    let bits = 64 - (zigzagged | 1).leading_zeros();
    (bits as usize).div_ceil(7)
}

/// A varint of up to 8 bytes, least significant byte first on the wire.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    pub(super) word: u64,
    pub(super) bytes: usize,
}

impl Packed {
    /// This varint, and behind it another one. Both together take at most 8 bytes.
    #[inline]
    pub(super) const fn then(self, next: Self) -> Self {
        debug_assert!(self.bytes + next.bytes <= 8 && self.bytes < 8);
        Self { word: self.word | (next.word << (self.bytes * 8)), bytes: self.bytes + next.bytes }
    }
}

/// Packs a zigzagged 32-bit number: 1 to 5 bytes, by comparisons that predict well.
#[inline]
pub(super) const fn pack32(zigzagged: u32) -> Packed {
    let value = zigzagged as u64;
    let mut word = value & 0x7f;
    if value < 1 << 7 {
        return Packed { word, bytes: 1 };
    }
    word |= 0x80 | (value & 0x3f80) << 1;
    if value < 1 << 14 {
        return Packed { word, bytes: 2 };
    }
    word |= 0x8000 | (value & 0x1f_c000) << 2;
    if value < 1 << 21 {
        return Packed { word, bytes: 3 };
    }
    word |= 0x80_0000 | (value & 0xfe0_0000) << 3;
    if value < 1 << 28 {
        return Packed { word, bytes: 4 };
    }
    Packed { word: word | 0x8000_0000 | (value >> 28) << 32, bytes: 5 }
}

/// Appends packed bytes: one store of a whole word, of which only the packed bytes are kept.
#[inline]
pub(super) fn put_packed(buffer: &mut Vec<u8>, packed: Packed) {
    let end = buffer.len() + packed.bytes;
    buffer.extend_from_slice(&packed.word.to_le_bytes());
    buffer.truncate(end);
}

/// Appends the varint of a zigzagged 64-bit number.
#[inline]
pub(super) fn put_varint64(buffer: &mut Vec<u8>, zigzagged: u64) {
    let mut value = zigzagged;
    while value >= 0x80 {
        buffer.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    buffer.push(value.to_le_bytes()[0]);
}

/// Reads a 32-bit varint at `*position`; nothing if it is cut or longer than 5 bytes.
#[inline]
pub(super) fn read_varint32(bytes: &[u8], position: &mut usize) -> Option<i32> {
    let first = *bytes.get(*position)?;
    if first < 0x80 {
        *position += 1;
        return Some(unzigzag32(u32::from(first)));
    }
    let mut value = u32::from(first & 0x7f);
    for (index, &byte) in bytes[*position..].iter().enumerate().skip(1).take(4) {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *position += index + 1;
            return Some(unzigzag32(value));
        }
    }
    None
}

/// Reads a 64-bit varint at `*position`; nothing if it is cut or longer than 10 bytes.
#[inline]
pub(super) fn read_varint64(bytes: &[u8], position: &mut usize) -> Option<i64> {
    let first = *bytes.get(*position)?;
    if first < 0x80 {
        *position += 1;
        return Some(unzigzag64(u64::from(first)));
    }
    let mut value = u64::from(first & 0x7f);
    for (index, &byte) in bytes[*position..].iter().enumerate().skip(1).take(9) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *position += index + 1;
            return Some(unzigzag64(value));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers on both sides of each length's limit.
    fn edges() -> Vec<i64> {
        let mut numbers = vec![0, i64::MIN, i64::MAX];
        for bits in 0..63 {
            let edge = 1_i64 << bits;
            numbers.extend([edge - 1, edge, edge + 1, -edge - 1, -edge, 1 - edge]);
        }
        numbers
    }

    #[test]
    fn both_writers_agree_with_the_reader_and_the_size_at_each_limit() {
        let mut compared = 0;
        for number in edges() {
            let mut written = Vec::new();
            put_varint64(&mut written, zigzag64(number));
            assert_eq!(written.len(), varint_bytes(zigzag64(number)), "{number}");
            let mut position = 0;
            assert_eq!(read_varint64(&written, &mut position), Some(number));
            assert_eq!(position, written.len());
            if let Ok(small) = i32::try_from(number) {
                let mut packed = Vec::new();
                put_packed(&mut packed, pack32(zigzag32(small)));
                assert_eq!(packed, written, "{small}");
                position = 0;
                assert_eq!(read_varint32(&packed, &mut position), Some(small));
                compared += 1;
            }
        }
        assert!(compared > 150, "{compared}");
    }

    #[test]
    fn a_cut_or_endless_varint_is_nothing() {
        for bytes in [&[][..], &[0x80], &[0xff; 4], &[0xff; 11]] {
            assert_eq!(read_varint32(bytes, &mut 0), None);
            assert_eq!(read_varint64(bytes, &mut 0), None);
        }
        assert_eq!(read_varint32(&[0xff; 5], &mut 0), None);
        assert_eq!(read_varint32(&[0x80, 0x80, 0x80, 0x80, 0x00], &mut 0), Some(0));
        assert_eq!(read_varint32(&[1], &mut 1), None);
    }
}
