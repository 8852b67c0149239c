//! Lines of a file: split at line feeds, a carriage return before one dropped.

use std::io::Read;

use memchr::memchr;

use super::Span;
use super::chunk::{ChunkReader, Fill};
use super::fault::{ReadFault, RowFault};
use super::position::{PassedOver, Place, Position, ResumeFault};

/// One line without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its bytes; not checked to be UTF-8.
    pub bytes: &'a [u8],
    /// Its number, counted from 1.
    pub number: u64,
}

/// What becomes of lines that are empty or white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlankLines {
    /// They are lines like any other.
    Kept,
    /// They are passed over, and counted in the numbers of the others.
    Skipped,
}

/// The lines of a file, one after the other.
#[derive(Debug)]
pub struct LineRows<R> {
    chunks: ChunkReader<R>,
    /// The number of the next line.
    next_line: u64,
    started: bool,
    blank_lines: BlankLines,
    current: Span,
    /// Whether the buffer has the line of `current`.
    is_kept: bool,
    /// A line that is too long, while its end isn't found.
    passed_over: Option<PassedOver>,
}

impl<R: Read> LineRows<R> {
    /// The lines of what the chunks are read from.
    pub fn new(chunks: ChunkReader<R>, blank_lines: BlankLines) -> LineRows<R> {
        LineRows {
            chunks,
            next_line: 1,
            started: false,
            blank_lines,
            current: Span::default(),
            is_kept: false,
            passed_over: None,
        }
    }

    /// The next line; None at the end of the file.
    #[inline]
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, Box<ReadFault>> {
        Ok(if self.advance()? { Some(self.current()) } else { None })
    }

    /// Goes to the next line; false at the end of the file.
    #[inline]
    pub fn advance(&mut self) -> Result<bool, Box<ReadFault>> {
        if !self.started {
            self.chunks.skip_byte_order_mark().map_err(ReadFault::Io)?;
            self.started = true;
        }
        if self.passed_over.is_some() {
            return Err(self.discard_line()?.into());
        }
        loop {
            let length = match memchr(b'\n', self.chunks.unread()) {
                Some(length) => length,
                None => match self.find_end()? {
                    Some(length) => length,
                    None => return Ok(false),
                },
            };
            let number = self.next_line;
            self.next_line += 1;
            let start = self.chunks.at();
            self.chunks.advance_to(start + length + 1);
            self.current = Span { start: start as u32, end: (start + length) as u32 };
            self.is_kept = true;
            let limit = self.chunks.row_bytes_max();
            if length > limit {
                let fault = RowFault::TooLong { limit, open_quote: false };
                return Err(ReadFault::Row { line: number, fault }.into());
            }
            let line = &self.chunks.padded()[start..start + length];
            if self.blank_lines == BlankLines::Kept || !line.trim_ascii().is_empty() {
                let end = start + line.strip_suffix(b"\r").unwrap_or(line).len();
                self.current = Span { start: start as u32, end: end as u32 };
                return Ok(true);
            }
        }
    }

    /// The line that [`LineRows::advance`] went to.
    #[inline]
    pub fn current(&self) -> Line<'_> {
        Line { bytes: self.current.of(self.chunks.padded()), number: self.next_line - 1 }
    }

    /// How many bytes of the file were consumed.
    pub fn consumed_bytes(&self) -> u64 {
        self.chunks.consumed_bytes()
    }

    /// Where the next line starts.
    pub fn place(&self) -> Place {
        if let Some(row) = &self.passed_over {
            return row.place;
        }
        Place { bytes: self.consumed_bytes(), next_line: self.next_line }
    }

    /// Where the next line starts, with the hash of all before it, if the chunks are hashed.
    pub fn position(&mut self) -> Option<Position> {
        match &self.passed_over {
            Some(row) => row.position,
            None => self.chunks.position(self.next_line),
        }
    }

    /// Goes on from where an earlier reading of the same file was.
    pub fn resume(&mut self, position: &Position) -> Result<(), ResumeFault> {
        self.started = true;
        self.chunks.resume(position)?;
        self.next_line = position.place.next_line;
        Ok(())
    }

    /// Consumes everything before a place that an earlier reading of the same file came to.
    pub fn skip_to(&mut self, place: Place) -> Result<(), ResumeFault> {
        self.started = true;
        self.next_line = place.next_line;
        self.chunks.skip_to(place)
    }

    /// The line that the last call went to or failed at; None if it was too long to be kept.
    pub fn last_line(&self) -> Option<&[u8]> {
        self.is_kept.then(|| self.current.of(self.chunks.padded()))
    }

    /// Reads on until the line that is unread has its end: its length. None at the end of the file.
    fn find_end(&mut self) -> Result<Option<usize>, Box<ReadFault>> {
        loop {
            let searched = self.chunks.unread().len();
            match self.chunks.fill().map_err(ReadFault::Io)? {
                Fill::More => {
                    if let Some(length) = memchr(b'\n', &self.chunks.unread()[searched..]) {
                        return Ok(Some(searched + length));
                    }
                }
                Fill::End if searched == 0 => return Ok(None),
                Fill::End => return Ok(Some(searched)),
                Fill::Full => return Err(self.discard_line()?.into()),
            }
        }
    }

    /// Drops a line that is longer than the cap; the fault that says so.
    fn discard_line(&mut self) -> Result<ReadFault, Box<ReadFault>> {
        let line = self.next_line;
        if self.passed_over.is_none() {
            let (place, position) = (self.place(), self.position());
            self.passed_over =
                Some(PassedOver { place, position, in_quotes: false, open_quote: false });
        }
        self.is_kept = false;
        loop {
            let start = self.chunks.at();
            if let Some(length) = memchr(b'\n', self.chunks.unread()) {
                self.chunks.advance_to(start + length + 1);
                break;
            }
            self.chunks.advance_to(self.chunks.end());
            if self.chunks.fill().map_err(ReadFault::Io)? == Fill::End {
                break;
            }
        }
        self.passed_over = None;
        self.next_line += 1;
        let limit = self.chunks.row_bytes_max();
        Ok(ReadFault::Row { line, fault: RowFault::TooLong { limit, open_quote: false } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::chunk::Dribble;

    fn all(text: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut rows = LineRows::new(ChunkReader::new(Dribble::new(text), 8), BlankLines::Kept);
        let mut lines = Vec::new();
        loop {
            match rows.next_line() {
                Ok(Some(line)) => lines.push((line.number, line.bytes.to_vec())),
                Ok(None) => return lines,
                Err(fault) => match *fault {
                    ReadFault::Row { line, fault } => {
                        lines.push((line, fault.to_string().into_bytes()));
                    }
                    ReadFault::Io(error) => panic!("{error}"),
                },
            }
        }
    }

    #[test]
    fn splits_at_line_feeds() {
        assert_eq!(
            all(b"a\n\nbc\r\nd"),
            [(1, b"a".to_vec()), (2, vec![]), (3, b"bc".to_vec()), (4, b"d".to_vec())]
        );
        assert_eq!(all(b""), []);
        assert_eq!(all(b"\n"), [(1, vec![])]);
    }

    #[test]
    fn a_line_over_the_cap_is_named_and_the_next_one_is_read() {
        let lines = all(b"a\n0123456789abcdef\nb\n0123456789abcdef");
        let too_long = b"is longer than 8 bytes".to_vec();
        assert_eq!(
            lines,
            [(1, b"a".to_vec()), (2, too_long.clone()), (3, b"b".to_vec()), (4, too_long)]
        );
    }
}
