//! A file as a window over big reads: whole rows stay in one piece, however reads cut them.
//!
//! Laws: the buffer always has `PADDING` bytes past the data, so that fixed-size loads near the end
//! stay in bounds; at the end of the file the byte after the data is a line feed, so that a last
//! row without one ends too; a row never makes the buffer grow past the cap.

use std::io::{self, Read};

/// Bytes kept free past the data for loads of a fixed size.
pub const PADDING: usize = 64;

/// Bytes read at a time: the chunk and the rows made of it fit a core's own cache.
const CHUNK_BYTES: usize = 256 << 10;

/// What a call of [`ChunkReader::fill`] brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Fill {
    /// More bytes are unread than before. Positions from before the call are void.
    More,
    /// The file has no more.
    End,
    /// The unread bytes are as many as a row may have; nothing was read.
    Full,
}

/// Unread bytes of a file, with what is needed to get more of them.
#[derive(Debug)]
pub struct ChunkReader<R> {
    source: R,
    buffer: Vec<u8>,
    /// Position of the first unread byte.
    at: usize,
    /// Position after the last byte that was read.
    end: usize,
    /// Bytes of the file that came before `buffer[0]`.
    dropped: u64,
    exhausted: bool,
    row_bytes_max: usize,
}

impl<R: Read> ChunkReader<R> {
    /// A reader that keeps rows of up to `row_bytes_max` bytes in one piece.
    pub fn new(source: R, row_bytes_max: usize) -> ChunkReader<R> {
        let row_bytes_max = row_bytes_max.clamp(1, u32::MAX as usize / 4);
        ChunkReader {
            source,
            buffer: vec![0; CHUNK_BYTES + PADDING],
            at: 0,
            end: 0,
            dropped: 0,
            exhausted: false,
            row_bytes_max,
        }
    }

    /// Reads once, keeping what is unread: it moves to the front of the buffer.
    pub fn fill(&mut self) -> io::Result<Fill> {
        if self.exhausted {
            return Ok(Fill::End);
        }
        self.buffer.copy_within(self.at..self.end, 0);
        self.dropped += self.at as u64;
        self.end -= self.at;
        self.at = 0;
        if self.end > self.row_bytes_max {
            return Ok(Fill::Full);
        }
        if self.end + PADDING == self.buffer.len() {
            let doubled = 2 * (self.buffer.len() - PADDING);
            self.buffer.resize(doubled + PADDING, 0);
        }
        let limit = self.buffer.len() - PADDING;
        let read_bytes = loop {
            match self.source.read(&mut self.buffer[self.end..limit]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.end += read_bytes;
        if read_bytes == 0 {
            self.exhausted = true;
            self.buffer[self.end] = b'\n';
            return Ok(Fill::End);
        }
        Ok(Fill::More)
    }

    /// The unread bytes.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.at..self.end]
    }

    /// Position of the first unread byte in [`ChunkReader::padded`].
    #[inline]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Position after the last byte read so far in [`ChunkReader::padded`].
    #[inline]
    pub fn end(&self) -> usize {
        self.end
    }

    /// Whether the file has no more than what is unread.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Goes on at a position; past the end means at the end.
    #[inline]
    pub fn advance_to(&mut self, position: usize) {
        debug_assert!(position >= self.at);
        self.at = position.min(self.end);
    }

    /// The whole buffer: the data and at least [`PADDING`] bytes past it.
    #[inline]
    pub fn padded(&self) -> &[u8] {
        &self.buffer
    }

    /// The buffer, for columns that are unquoted where they stand.
    pub fn padded_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// How many bytes of the file were consumed.
    pub fn consumed_bytes(&self) -> u64 {
        self.dropped + self.at as u64
    }

    /// The longest row, in bytes.
    pub fn row_bytes_max(&self) -> usize {
        self.row_bytes_max
    }

    /// Consumes a byte order mark of UTF-8, if the file starts with one.
    pub fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        while self.unread().len() < 3 && self.fill()? == Fill::More {}
        if self.unread().starts_with(b"\xef\xbb\xbf") {
            self.at += 3;
        }
        Ok(())
    }
}

/// A source that gives one byte, then two, then three at a time, as the worst of pipes would.
#[cfg(test)]
pub(crate) struct Dribble<'a> {
    rest: &'a [u8],
    turn: usize,
}

#[cfg(test)]
impl Dribble<'_> {
    pub(crate) fn new(text: &[u8]) -> Dribble<'_> {
        Dribble { rest: text, turn: 0 }
    }
}

#[cfg(test)]
impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.turn += 1;
        let count = (1 + self.turn % 3).min(self.rest.len()).min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest = &self.rest[count..];
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_unread_and_counts_what_was_consumed() {
        let mut reader = ChunkReader::new(Dribble::new(b"abcdef"), 100);
        assert_eq!(reader.fill().unwrap(), Fill::More);
        assert_eq!(reader.unread(), b"ab");
        reader.advance_to(1);
        assert_eq!(reader.fill().unwrap(), Fill::More);
        assert_eq!((reader.unread(), reader.consumed_bytes()), (&b"bcde"[..], 1));
        while reader.fill().unwrap() == Fill::More {}
        assert_eq!(reader.unread(), b"bcdef");
        assert_eq!(reader.padded()[reader.end()], b'\n');
    }

    #[test]
    fn grows_up_to_the_cap_and_no_further() {
        let mut reader = ChunkReader::new(io::repeat(b'x'), 1 << 20);
        while reader.fill().unwrap() == Fill::More {}
        assert!(reader.unread().len() > 1 << 20);
        assert!(reader.padded().len() <= (2 << 20) + PADDING);
    }

    #[test]
    fn a_byte_order_mark_is_no_text() {
        let mut reader = ChunkReader::new(Dribble::new(b"\xef\xbb\xbfa,b"), 100);
        reader.skip_byte_order_mark().unwrap();
        while reader.fill().unwrap() == Fill::More {}
        assert_eq!(reader.unread(), b"a,b");
        assert_eq!(reader.consumed_bytes(), 3);
    }
}
