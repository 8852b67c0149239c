//! A file as a window over big reads: whole rows stay in one piece, however reads cut them.
//!
//! Laws: the buffer always has `PADDING` bytes past the data, so that fixed-size loads near the end
//! stay in bounds; at the end of the file the byte after the data is a line feed, so that a last
//! row without one ends too; a row never makes the buffer grow past the cap; a reader that hashes
//! what is consumed takes it as the file had it, so whoever changes the buffer has it hashed first.

use std::io::{self, Read};

use super::position::{ContentHasher, Place, Position, ResumeFault};

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
    hash: Option<RunningHash>,
    /// The line that an earlier reading took without its end, while that hasn't come.
    owed_line_end: Option<u64>,
}

/// The hash of what was consumed. It costs as much as splitting does, so only who keeps positions
/// has it.
#[derive(Debug, Default)]
struct RunningHash {
    hasher: ContentHasher,
    /// What the hasher has seen ends here.
    hashed_to: usize,
}

impl<R: Read> ChunkReader<R> {
    /// A reader that keeps rows of up to `row_bytes_max` bytes in one piece, and knows no position.
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
            hash: None,
            owed_line_end: None,
        }
    }

    /// Whether it is one that hashes what is consumed.
    pub fn is_hashed(&self) -> bool {
        self.hash.is_some()
    }

    /// A reader that hashes what is consumed, for positions that a later reading goes on from.
    pub fn hashed(source: R, row_bytes_max: usize) -> ChunkReader<R> {
        let hash = Some(RunningHash::default());
        ChunkReader { hash, ..ChunkReader::new(source, row_bytes_max) }
    }

    /// Reads once, keeping what is unread: it moves to the front of the buffer. After an error,
    /// also that there is nothing to read yet, it may be called again.
    pub fn fill(&mut self) -> io::Result<Fill> {
        if self.exhausted {
            return Ok(Fill::End);
        }
        self.hash_consumed();
        self.buffer.copy_within(self.at..self.end, 0);
        if let Some(hash) = &mut self.hash {
            hash.hashed_to -= self.at;
        }
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
        if self.owed_line_end.is_some() {
            self.take_owed_line_end().map_err(io::Error::other)?;
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

    /// The buffer, for columns that are unquoted where they stand, before the first unread byte.
    pub fn consumed_mut(&mut self) -> &mut [u8] {
        self.hash_consumed();
        &mut self.buffer
    }

    /// Takes the bytes before the first unread one into the hash, as they are now, and gives it.
    fn hash_consumed(&mut self) -> Option<&ContentHasher> {
        let hash = self.hash.as_mut()?;
        if self.at > hash.hashed_to {
            hash.hasher.update(&self.buffer[hash.hashed_to..self.at]);
            hash.hashed_to = self.at;
        }
        Some(&hash.hasher)
    }

    /// The place of the first unread byte, which is where line `next_line` starts, with the hash of
    /// all before it. None of a reader that hashes nothing.
    pub fn position(&mut self, next_line: u64) -> Option<Position> {
        let hash = self.hash_consumed()?.hash();
        let place = Place { bytes: self.consumed_bytes(), next_line };
        Some(Position { place, hash })
    }

    /// Consumes everything before a place that an earlier reading came to.
    pub fn skip_to(&mut self, place: Place) -> Result<(), ResumeFault> {
        let expected = place.bytes;
        while self.consumed_bytes() < expected {
            let left = usize::try_from(expected - self.consumed_bytes()).unwrap_or(usize::MAX);
            let here = left.min(self.unread().len());
            self.at += here;
            if here < left && self.fill()? == Fill::End {
                return Err(ResumeFault::Cut { found: self.consumed_bytes(), expected });
            }
        }
        Ok(())
    }

    /// Goes on from a position of an earlier reading, if the file still is what was read then,
    /// which only a reader that hashes can tell.
    pub fn resume(&mut self, position: &Position) -> Result<(), ResumeFault> {
        self.skip_to(position.place)?;
        if self.position(position.place.next_line) != Some(*position) {
            return Err(ResumeFault::Altered { bytes: position.place.bytes });
        }
        if self.at > 0 && self.buffer[self.at - 1] != b'\n' {
            self.finish_line(position.place.next_line.saturating_sub(1))?;
        }
        Ok(())
    }

    /// Consumes the line end of a last row that had none when it was read; later, if it isn't there
    /// yet.
    fn finish_line(&mut self, line: u64) -> Result<(), ResumeFault> {
        while self.unread().len() < 2 {
            match self.fill() {
                Ok(Fill::More) => {}
                Ok(Fill::End | Fill::Full) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.owed_line_end = Some(line);
        self.take_owed_line_end()
    }

    fn take_owed_line_end(&mut self) -> Result<(), ResumeFault> {
        let Some(line) = self.owed_line_end else { return Ok(()) };
        match self.unread() {
            [] => return Ok(()),
            // Its line feed is still to come.
            [b'\r'] if !self.exhausted => {
                self.at += 1;
                return Ok(());
            }
            [b'\n', ..] => self.at += 1,
            [b'\r', b'\n', ..] => self.at += 2,
            _ => return Err(ResumeFault::Continued { line }),
        }
        self.owed_line_end = None;
        Ok(())
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
        const MARK: &[u8] = b"\xef\xbb\xbf";
        while self.unread().len() < MARK.len()
            && MARK.starts_with(self.unread())
            && self.fill()? == Fill::More
        {}
        if self.unread().starts_with(MARK) {
            self.at += MARK.len();
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

    /// A reader that has consumed the first `bytes` of a text.
    fn consumed(text: &[u8], bytes: usize) -> ChunkReader<Dribble<'_>> {
        let mut reader = ChunkReader::hashed(Dribble::new(text), 100);
        while reader.unread().len() < bytes && reader.fill().unwrap() == Fill::More {}
        reader.advance_to(bytes);
        reader
    }

    #[test]
    fn a_position_is_found_again_however_the_reads_fall() {
        let text = b"ab\ncd\nef\n";
        let position = consumed(text, 6).position(3).unwrap();
        assert_eq!(position.place, Place { bytes: 6, next_line: 3 });
        let mut again = ChunkReader::hashed(&text[..], 100);
        again.resume(&position).unwrap();
        assert_eq!(again.unread(), b"ef\n");
        let mut whole = ChunkReader::hashed(Dribble::new(text), 100);
        let end = consumed(text, 9).position(4).unwrap();
        whole.resume(&end).unwrap();
        assert_eq!(whole.position(4), Some(end));
    }

    #[test]
    fn a_file_that_was_cut_or_edited_is_not_read_on() {
        let position = consumed(b"ab\ncd\nef\n", 6).position(3).unwrap();
        let resumed = |text: &'static [u8]| ChunkReader::hashed(text, 100).resume(&position);
        assert!(matches!(resumed(b"ab\nc"), Err(ResumeFault::Cut { found: 4, expected: 6 })));
        assert!(matches!(resumed(b"ab\ncX\nef\n"), Err(ResumeFault::Altered { bytes: 6 })));
        assert!(resumed(b"ab\ncd\nanother end\n").is_ok());
    }

    #[test]
    fn a_last_row_without_a_line_end_may_get_one_but_not_go_on() {
        let position = consumed(b"ab\ncd", 5).position(3).unwrap();
        let resumed = |text: &'static [u8]| {
            let mut reader = ChunkReader::hashed(text, 100);
            reader.resume(&position).map(|()| reader.unread().to_vec())
        };
        assert_eq!(resumed(b"ab\ncd").unwrap(), b"");
        assert_eq!(resumed(b"ab\ncd\nef").unwrap(), b"ef");
        assert_eq!(resumed(b"ab\ncd\r\nef").unwrap(), b"ef");
        assert!(matches!(resumed(b"ab\ncdX\nef"), Err(ResumeFault::Continued { line: 2 })));
    }

    /// A source that has nothing yet between its parts.
    struct Growing(Vec<&'static [u8]>);

    impl Read for Growing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(part) = (!self.0.is_empty()).then(|| self.0.remove(0)) else { return Ok(0) };
            if part.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            buffer[..part.len()].copy_from_slice(part);
            Ok(part.len())
        }
    }

    #[test]
    fn a_line_end_that_was_missing_may_come_later_but_nothing_else() {
        let position = consumed(b"ab\ncd", 5).position(3).unwrap();
        let rest = |parts: &[&'static [u8]]| {
            let parts = [&[&b"ab\ncd"[..]], parts].concat();
            let mut reader = ChunkReader::hashed(Growing(parts), 100);
            reader.resume(&position).unwrap();
            loop {
                match reader.fill() {
                    Ok(Fill::More) => {}
                    Ok(_) => return Ok(reader.unread().to_vec()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.to_string()),
                }
            }
        };
        assert_eq!(rest(&[b"", b"\nef\n"]).unwrap(), b"ef\n");
        assert_eq!(rest(&[b"", b"\r", b"", b"\nef"]).unwrap(), b"ef");
        assert_eq!(rest(&[b""]).unwrap(), b"");
        let continued = rest(&[b"", b"X\n"]).unwrap_err();
        assert!(continued.contains("in the middle of its line 2"), "{continued}");
    }

    #[test]
    fn what_is_changed_in_the_buffer_was_hashed_before() {
        let mut reader = consumed(b"ab\ncd\n", 3);
        reader.consumed_mut()[0] = b'X';
        let untouched = consumed(b"ab\ncd\n", 3).position(2);
        assert!(untouched.is_some());
        assert_eq!(reader.position(2), untouched);
    }

    #[test]
    fn a_reader_that_hashes_nothing_knows_no_position_and_goes_on_from_none() {
        let position = consumed(b"ab\ncd\n", 3).position(2).unwrap();
        let mut reader = ChunkReader::new(&b"ab\ncd\n"[..], 100);
        assert!(matches!(reader.resume(&position), Err(ResumeFault::Altered { bytes: 3 })));
        assert_eq!(reader.position(2), None);
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
