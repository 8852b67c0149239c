//! Where the delimiters and line feeds of rows without quotes are, found 64 bytes at a time and
//! some rows ahead.
//!
//! Laws: a mark is a position in the read buffer, and they are in its order; only rows that end
//! within what was scanned are given; the list has a fixed size, so a row with more marks than it
//! holds is never given and has to be split by other means.

use super::Span;
use super::chunk::PADDING;
use super::csv::EVERY_BYTE;

/// A block is looked at whole, also where it reaches past the data.
const BLOCK_BYTES: usize = 64;
const _: () = assert!(BLOCK_BYTES <= PADDING);

/// The most marks that are kept: with the rows they are of they fit a core's first cache.
const MARKS_MAX: usize = 2048;

/// So many marks of a block are written whether it has them or not: rarely does one have more.
const WRITTEN_AT_ONCE: usize = 8;

/// Marks found ahead, and how many of them were given as columns.
#[derive(Debug)]
pub struct Marks {
    /// Positions; past `count` they mean nothing.
    positions: Box<[u32]>,
    count: usize,
    /// The first mark of the row that is given next.
    next: usize,
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { positions: vec![0; MARKS_MAX].into(), count: 0, next: 0 }
    }
}

impl Marks {
    /// Forgets all: positions are void once the buffer has moved.
    pub fn clear(&mut self) {
        self.count = 0;
        self.next = 0;
    }

    /// Finds the marks from `start`, where a row begins, up to, not including, `end`, or as many as
    /// the list holds. At least [`PADDING`] bytes are behind `end`.
    pub fn scan(&mut self, padded: &[u8], start: usize, end: usize, delimiter: u8) {
        self.clear();
        let mut at = start;
        while at < end && self.count + BLOCK_BYTES <= MARKS_MAX {
            let Some(block) = padded[at..].first_chunk::<BLOCK_BYTES>() else { return };
            let mut marks = marks_of(block, delimiter);
            if end - at < BLOCK_BYTES {
                marks &= (1 << (end - at)) - 1;
            }
            self.add(at as u32, marks);
            at += BLOCK_BYTES;
        }
    }

    #[inline]
    fn add(&mut self, block_start: u32, marks: u64) {
        let positions = &mut self.positions[self.count..self.count + BLOCK_BYTES];
        let mut rest = marks;
        for position in &mut positions[..WRITTEN_AT_ONCE] {
            *position = block_start + rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
        }
        if rest != 0 {
            for position in &mut positions[WRITTEN_AT_ONCE..] {
                *position = block_start + rest.trailing_zeros();
                rest &= rest.wrapping_sub(1);
            }
        }
        self.count += marks.count_ones() as usize;
    }

    /// The columns of the next row, which begins at `start`, if it was found whole: the position of
    /// its line feed, and how many columns it has. Columns past the slice are counted, not kept.
    #[inline]
    pub fn take_row(
        &mut self,
        padded: &[u8],
        start: usize,
        columns: &mut [Span],
    ) -> Option<(usize, usize)> {
        let mut start = start as u32;
        for (index, &end) in self.positions[self.next..self.count].iter().enumerate() {
            if let Some(column) = columns.get_mut(index) {
                *column = Span { start, end };
            }
            if padded[end as usize] == b'\n' {
                self.next += index + 1;
                return Some((end as usize, index + 1));
            }
            start = end + 1;
        }
        None
    }
}

/// Which bytes of a block are marks: a bit a byte, the first byte's the lowest. The lanes are told
/// apart by their bits, so that the compiler can compare them in vector registers, and a
/// multiplication brings eight of them together.
#[inline]
fn marks_of(block: &[u8; BLOCK_BYTES], delimiter: u8) -> u64 {
    const WORD_BYTES: usize = 8;
    let mut lanes = [0_u8; BLOCK_BYTES];
    for (index, lane) in lanes.iter_mut().enumerate() {
        let is_mark = (block[index] == delimiter) | (block[index] == b'\n');
        *lane = if is_mark { 1 << (index % WORD_BYTES) } else { 0 };
    }
    let (words, _) = lanes.as_chunks::<WORD_BYTES>();
    words.iter().enumerate().fold(0, |marks, (index, &word)| {
        // No two bytes have a bit in common, so their sum, in the highest byte, is all of them.
        let bits = u64::from_le_bytes(word).wrapping_mul(EVERY_BYTE) >> 56;
        marks | bits << (WORD_BYTES * index)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A row's line end and columns; None for one that the list can't hold.
    type Seen = Option<(usize, Vec<(u32, u32)>)>;

    /// Rows as they are given, scanning on whenever there are none left.
    fn rows(text: &[u8]) -> Vec<Seen> {
        let mut padded = text.to_vec();
        padded.resize(text.len() + PADDING, b',');
        let mut marks = Marks::default();
        let (mut start, mut seen) = (0, vec![]);
        while start < text.len() {
            let mut columns = vec![Span::default(); 5];
            let taken = marks.take_row(&padded, start, &mut columns).or_else(|| {
                marks.scan(&padded, start, text.len(), b',');
                marks.take_row(&padded, start, &mut columns)
            });
            let Some((line_end, found)) = taken else {
                let end = memchr::memchr(b'\n', &text[start..]);
                start += end.map_or(text.len(), |end| end + 1);
                marks.clear();
                seen.push(None);
                continue;
            };
            columns.truncate(found);
            let spans = columns.iter().map(|span| (span.start, span.end)).collect();
            seen.push(Some((line_end, spans)));
            start = line_end + 1;
        }
        seen
    }

    fn plainly(text: &[u8]) -> Vec<Seen> {
        let mut seen = vec![];
        let mut start = 0;
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let (line_end, mut at) = (start + line.len() - 1, start as u32);
            let mut spans = vec![];
            for column in line[..line.len() - 1].split(|&byte| byte == b',') {
                spans.push((at, at + column.len() as u32));
                at += column.len() as u32 + 1;
            }
            let (fits, is_whole) = (spans.len() <= MARKS_MAX - BLOCK_BYTES, line.ends_with(b"\n"));
            spans.truncate(5);
            seen.push((fits && is_whole).then_some((line_end, spans)));
            start += line.len();
        }
        seen
    }

    #[test]
    fn a_row_with_more_marks_than_the_list_holds_is_not_given() {
        let text = [b",".repeat(MARKS_MAX), b"\na,b\n".to_vec()].concat();
        assert_eq!(rows(&text), plainly(&text));
        assert_eq!(rows(&text).iter().filter(|row| row.is_none()).count(), 1);
    }

    proptest! {
        #[test]
        fn rows_are_where_a_plain_split_finds_them(
            lines in prop::collection::vec("[a,]{0,9}|[a-f]{0,90}|(a{0,20},){0,12}", 0..120),
            ends_in_line_feed: bool,
        ) {
            let mut text = lines.join("\n").into_bytes();
            if ends_in_line_feed {
                text.push(b'\n');
            }
            prop_assert_eq!(rows(&text), plainly(&text));
        }

        #[test]
        fn each_mark_of_a_block_is_seen_and_nothing_else(
            block in prop::collection::vec(
                prop::sample::select(vec![b',', b'\n', b'-', 0x0b, 0x8a, 0xac, 0, 0xff, b'a']),
                BLOCK_BYTES
            )
        ) {
            let marks = marks_of(block.first_chunk().unwrap(), b',');
            for (place, byte) in block.iter().enumerate() {
                prop_assert_eq!(marks >> place & 1 == 1, matches!(byte, b',' | b'\n'));
            }
        }
    }
}
