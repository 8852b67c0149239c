//! CSV (RFC 4180) as rows of columns, without an allocation or a copy per row.
//!
//! Laws:
//! - Rows without a quote are split by `csv_marks`, which looks for delimiters and line feeds some
//!   rows ahead; the first quote in a row sends that row, and only it, through `csv_quoted`.
//! - Columns are places in the read buffer. A column with doubled quotes is unquoted where it
//!   stands.
//! - A bad row costs that row: the next call reads the row after it.
//! - A row that comes back `plain` is UTF-8 and holds nothing that JSON would escape.
//!
//! Besides the RFC: a line feed alone ends a row, a byte order mark and empty lines are skipped,
//! and a quote inside a column that didn't start with one is a character like any other.

use std::io::Read;

use memchr::{memchr, memrchr};

use super::Span;
use super::chunk::{ChunkReader, Fill};
use super::csv_marks::Marks;
use super::csv_quoted::{QuotedRow, QuotedScan, find_row_end, scan_quoted_row, unquote_in_place};
use super::fault::{ReadFault, RowFault};
use super::position::{PassedOver, Place, Position, ResumeFault};

/// The most columns a file may have.
pub const COLUMNS_MAX: usize = 4096;

/// One row: its columns, unquoted.
#[derive(Debug, Clone, Copy)]
pub struct CsvRow<'a> {
    padded: &'a [u8],
    columns: &'a [Span],
    row: Span,
    plain: bool,
    line: u64,
    before_unquoting: &'a [u8],
}

impl<'a> CsvRow<'a> {
    /// The columns, as many as the file's.
    #[inline]
    pub fn columns(&self) -> &'a [Span] {
        self.columns
    }

    /// One column's bytes. They are UTF-8.
    #[inline]
    pub fn column(&self, index: usize) -> &'a [u8] {
        self.columns[index].of(self.padded)
    }

    /// The buffer the columns are in; past each of them, at least `PADDING` bytes can be read.
    #[inline]
    pub fn padded(&self) -> &'a [u8] {
        self.padded
    }

    /// The row as it stands in the file, without its line end.
    pub fn original(&self) -> &'a [u8] {
        match self.before_unquoting {
            [] => self.row.of(self.padded),
            kept => kept,
        }
    }

    /// Bytes of the row as it stands in the file, without its line end.
    #[inline]
    pub fn row_bytes(&self) -> usize {
        (self.row.end - self.row.start) as usize
    }

    /// Whether no column holds a byte that JSON escapes.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// The line of the file on which the row starts, counted from 1.
    #[inline]
    pub fn line(&self) -> u64 {
        self.line
    }
}

/// The rows of a CSV file, one after the other, behind its header if it has one.
#[derive(Debug)]
pub struct CsvRows<R> {
    chunks: ChunkReader<R>,
    delimiter: u8,
    /// Rows that end before this position are whole and have no quote.
    simple_end: usize,
    /// Whether they are plain.
    simple_plain: bool,
    /// Of these rows, the columns of the next ones.
    marks: Marks,
    /// The number of the next row's first line.
    next_line: u64,
    columns: Vec<Span>,
    quoted: QuotedRow,
    names: Vec<String>,
    current: Row,
    /// The row at hand as the file has it, if the buffer has it otherwise by now.
    before_unquoting: Vec<u8>,
    /// A row that is too long, while its end isn't found.
    passed_over: Option<PassedOver>,
}

impl<R: Read> CsvRows<R> {
    /// Reads the header. None if the file has no row at all.
    pub fn open(
        chunks: ChunkReader<R>,
        delimiter: u8,
    ) -> Result<Option<CsvRows<R>>, Box<ReadFault>> {
        let mut rows = CsvRows::at_start(chunks, delimiter, COLUMNS_MAX);
        rows.chunks.skip_byte_order_mark().map_err(ReadFault::Io)?;
        let Some(found) = rows.split_row()? else { return Ok(None) };
        if found > COLUMNS_MAX {
            let fault = RowFault::TooManyColumns { limit: COLUMNS_MAX };
            return Err(ReadFault::Row { line: rows.current.line, fault }.into());
        }
        rows.columns.truncate(found);
        rows.check()?;
        let header = rows.current();
        let name = |index| String::from_utf8_lossy(header.column(index)).trim().to_owned();
        rows.names = (0..found).map(name).collect();
        Ok(Some(rows))
    }

    /// The rows of a file without a header, whose columns are called so: all rows are rows.
    pub fn without_header(
        chunks: ChunkReader<R>,
        delimiter: u8,
        names: Vec<String>,
    ) -> Result<CsvRows<R>, Box<ReadFault>> {
        let mut rows = CsvRows::at_start(chunks, delimiter, names.len());
        rows.chunks.skip_byte_order_mark().map_err(ReadFault::Io)?;
        rows.names = names;
        Ok(rows)
    }

    fn at_start(chunks: ChunkReader<R>, delimiter: u8, columns_max: usize) -> CsvRows<R> {
        CsvRows {
            chunks,
            delimiter,
            simple_end: 0,
            simple_plain: false,
            marks: Marks::default(),
            next_line: 1,
            columns: vec![Span::default(); columns_max],
            quoted: QuotedRow::default(),
            names: Vec::new(),
            current: Row::default(),
            before_unquoting: Vec::new(),
            passed_over: None,
        }
    }

    /// The columns' names, from the header, without spaces around them; of a file without one as
    /// they were given.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many bytes of the file were consumed.
    pub fn consumed_bytes(&self) -> u64 {
        self.chunks.consumed_bytes()
    }

    /// The next row, with as many columns as the file's; None at the end of the file.
    #[inline]
    pub fn next_row(&mut self) -> Result<Option<CsvRow<'_>>, Box<ReadFault>> {
        Ok(if self.advance()? { Some(self.current()) } else { None })
    }

    /// Goes to the next row; false at the end of the file.
    #[inline]
    pub fn advance(&mut self) -> Result<bool, Box<ReadFault>> {
        let Some(found) = self.split_row()? else { return Ok(false) };
        let expected = self.columns.len();
        if found != expected {
            let fault = RowFault::ColumnCount { found, expected };
            return Err(ReadFault::Row { line: self.current.line, fault }.into());
        }
        self.check()?;
        Ok(true)
    }

    /// The row that [`CsvRows::advance`] went to.
    #[inline]
    pub fn current(&self) -> CsvRow<'_> {
        let Row { start, end, plain, line } = self.current;
        let row = Span { start: start as u32, end: end as u32 };
        CsvRow {
            padded: self.chunks.padded(),
            columns: &self.columns,
            row,
            plain,
            line,
            before_unquoting: &self.before_unquoting,
        }
    }

    /// Where the next row starts.
    pub fn place(&self) -> Place {
        if let Some(row) = &self.passed_over {
            return row.place;
        }
        Place { bytes: self.consumed_bytes(), next_line: self.next_line }
    }

    /// Where the next row starts, with the hash of all before it, if the chunks are hashed.
    pub fn position(&mut self) -> Option<Position> {
        match &self.passed_over {
            Some(row) => row.position,
            None => self.chunks.position(self.next_line),
        }
    }

    /// Goes on from where an earlier reading of the same file was.
    pub fn resume(&mut self, position: &Position) -> Result<(), ResumeFault> {
        self.simple_end = 0;
        self.chunks.resume(position)?;
        self.next_line = position.place.next_line;
        Ok(())
    }

    /// Consumes everything before a place that an earlier reading of the same file came to.
    pub fn skip_to(&mut self, place: Place) -> Result<(), ResumeFault> {
        self.simple_end = 0;
        self.next_line = place.next_line;
        self.chunks.skip_to(place)
    }

    /// The row that the last call went to or failed at, as the file has it, without its line end;
    /// None if it was too long to be kept.
    pub fn last_row(&self) -> Option<&[u8]> {
        let Row { start, end, .. } = self.current;
        match self.before_unquoting.as_slice() {
            [] if end > start => self.chunks.padded().get(start..end),
            [] => None,
            kept => Some(kept),
        }
    }

    /// Goes to the next row that isn't an empty line and splits it: how many columns it has.
    #[inline]
    fn split_row(&mut self) -> Result<Option<usize>, Box<ReadFault>> {
        self.before_unquoting.clear();
        loop {
            let start = self.chunks.at();
            if start >= self.simple_end && !self.prepare()? {
                return Ok(None);
            }
            let start = self.chunks.at();
            if start >= self.simple_end {
                return self.split_quoted_row().map(Some);
            }
            let line = self.next_line;
            self.next_line += 1;
            let padded = self.chunks.padded();
            let (line_end, found) = match self.marks.take_row(padded, start, &mut self.columns) {
                Some(taken) => taken,
                None => self.split_unmarked(start),
            };
            let mut end = line_end;
            if end > start && self.chunks.padded()[end - 1] == b'\r' {
                end -= 1;
                if let Some(last) = self.columns.get_mut(found - 1) {
                    last.end = last.end.min(end as u32).max(last.start);
                }
            }
            self.chunks.advance_to(line_end + 1);
            if end > start {
                self.current = Row { start, end, plain: self.simple_plain, line };
                return Ok(Some(found));
            }
        }
    }

    /// Splits a row of those without a quote whose marks aren't known: they are now, and those of
    /// the next ones, if the list holds them.
    #[cold]
    fn split_unmarked(&mut self, start: usize) -> (usize, usize) {
        let padded = self.chunks.padded();
        self.marks.scan(padded, start, self.simple_end, self.delimiter);
        if let Some(taken) = self.marks.take_row(padded, start, &mut self.columns) {
            return taken;
        }
        self.marks.clear();
        split_simple(padded, start, self.delimiter, &mut self.columns)
    }

    /// Sees to the promises of the row at hand: not too long, UTF-8, and whether it is plain.
    #[inline]
    fn check(&mut self) -> Result<(), Box<ReadFault>> {
        let row = &mut self.current;
        if !row.plain {
            let padded = self.chunks.padded();
            let content = Content::of(padded, row.start, row.end, self.delimiter);
            row.plain = !content.needs_escape() && !content.has(Content::QUOTE);
            if !content.is_ascii() {
                self.check_utf8()?;
            }
        }
        let Row { start, end, line, .. } = self.current;
        let limit = self.chunks.row_bytes_max();
        if end - start > limit {
            let fault = RowFault::TooLong { limit, open_quote: false };
            return Err(ReadFault::Row { line, fault }.into());
        }
        Ok(())
    }

    fn check_utf8(&self) -> Result<(), Box<ReadFault>> {
        let line = self.current.line;
        for (index, span) in self.columns.iter().enumerate() {
            let bytes = span.of(self.chunks.padded());
            if std::str::from_utf8(bytes).is_err() {
                let number = (index + 1).to_string();
                let name = self.names.get(index).unwrap_or(&number);
                let fault = RowFault::not_utf8(format!("column {name}"), bytes);
                return Err(ReadFault::Row { line, fault }.into());
            }
        }
        Ok(())
    }

    /// Sees to it that the next row is in the buffer: as part of a stretch of rows without a quote,
    /// or, if it has one, as the row that starts the unread bytes. False at the end of the file.
    fn prepare(&mut self) -> Result<bool, Box<ReadFault>> {
        if self.passed_over.is_some() {
            return Err(self.discard_row()?.into());
        }
        let mut searched = 0;
        loop {
            let unread = self.chunks.unread();
            let rows_bytes = match memrchr(b'\n', &unread[searched..]) {
                Some(last) => searched + last + 1,
                None if self.chunks.is_exhausted() => unread.len(),
                None => 0,
            };
            if rows_bytes > 0 {
                let quote = memchr(b'"', &unread[..rows_bytes]);
                let simple_bytes = match quote {
                    None => rows_bytes,
                    Some(at) => memrchr(b'\n', &unread[..at]).map_or(0, |last| last + 1),
                };
                let start = self.chunks.at();
                self.simple_end = start + simple_bytes;
                self.marks.clear();
                let content =
                    Content::of(self.chunks.padded(), start, self.simple_end, self.delimiter);
                self.simple_plain = !content.needs_escape()
                    && (content.is_ascii()
                        || std::str::from_utf8(&self.chunks.unread()[..simple_bytes]).is_ok());
                return Ok(true);
            }
            if self.chunks.is_exhausted() {
                return Ok(false);
            }
            searched = unread.len();
            self.fill_or_discard()?;
        }
    }

    /// Reads on; a row that is longer than the cap is dropped whole, and that is the fault.
    fn fill_or_discard(&mut self) -> Result<(), Box<ReadFault>> {
        self.simple_end = 0;
        match self.chunks.fill().map_err(ReadFault::Io)? {
            Fill::More | Fill::End => Ok(()),
            Fill::Full => Err(self.discard_row()?.into()),
        }
    }

    /// Drops the row that the unread bytes start with, however long; the fault that says so.
    fn discard_row(&mut self) -> Result<ReadFault, Box<ReadFault>> {
        self.current = Row::default();
        let mut row = self.passed_over.take().unwrap_or_else(|| {
            let (_, _, open_quote) = find_row_end(self.chunks.unread(), false);
            let (place, position) = (self.place(), self.position());
            PassedOver { place, position, in_quotes: false, open_quote }
        });
        loop {
            let start = self.chunks.at();
            let (row_end, lines, still) = find_row_end(self.chunks.unread(), row.in_quotes);
            row.in_quotes = still;
            self.next_line += lines;
            if let Some(end) = row_end {
                self.chunks.advance_to(start + end);
                break;
            }
            self.chunks.advance_to(self.chunks.end());
            match self.chunks.fill() {
                Ok(Fill::End) => break,
                Ok(Fill::More | Fill::Full) => {}
                Err(error) => {
                    self.passed_over = Some(row);
                    return Err(ReadFault::Io(error).into());
                }
            }
        }
        let limit = self.chunks.row_bytes_max();
        let (line, open_quote) = (row.place.next_line, row.open_quote);
        Ok(ReadFault::Row { line, fault: RowFault::TooLong { limit, open_quote } })
    }

    /// Splits a row that has a quote in it, reading on until it is whole.
    fn split_quoted_row(&mut self) -> Result<usize, Box<ReadFault>> {
        let line = self.next_line;
        loop {
            let scan = scan_quoted_row(
                &self.chunks.padded()[..self.chunks.end()],
                self.chunks.at(),
                self.chunks.is_exhausted(),
                self.delimiter,
                &mut self.columns,
                &mut self.quoted,
            );
            match scan {
                QuotedScan::Incomplete => self.fill_or_discard()?,
                QuotedScan::Row { end, next, found, lines, fault } => {
                    self.next_line += lines;
                    self.simple_end = 0;
                    let start = self.chunks.at();
                    self.chunks.advance_to(next);
                    self.current = Row { start, end, plain: false, line };
                    if let Some(fault) = fault {
                        return Err(ReadFault::Row { line, fault }.into());
                    }
                    if self.quoted.has_doubled() {
                        let row = &self.chunks.padded()[start..end];
                        self.before_unquoting.extend_from_slice(row);
                        let buffer = self.chunks.consumed_mut();
                        unquote_in_place(buffer, &mut self.columns, &self.quoted);
                    }
                    return Ok(found);
                }
            }
        }
    }
}

/// Where a row stands in the buffer, and whether it is known to be plain.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    start: usize,
    end: usize,
    plain: bool,
    /// Its first line.
    line: u64,
}

/// One in each byte.
pub(super) const EVERY_BYTE: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte of `word` that equals `byte`, in all eight places of `pattern`.
#[inline(always)]
fn bytes_equal(word: u64, pattern: u64) -> u64 {
    let zero_where_equal = word ^ pattern;
    let carry = (zero_where_equal & !HIGH_BITS) + !HIGH_BITS;
    !(carry | zero_where_equal) & HIGH_BITS
}

/// Splits a row without quotes that a line feed ends: the position of the line feed, and how many
/// columns there are. Columns past the slice are counted, not kept.
#[inline]
fn split_simple(
    padded: &[u8],
    start: usize,
    delimiter: u8,
    columns: &mut [Span],
) -> (usize, usize) {
    let delimiters = EVERY_BYTE * u64::from(delimiter);
    let line_feeds = EVERY_BYTE * u64::from(b'\n');
    let mut column_start = start as u32;
    let mut found = 0;
    let mut at = start;
    while let Some(bytes) = padded.get(at..at + 8) {
        let word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        let line_feed = bytes_equal(word, line_feeds);
        let mut marks = bytes_equal(word, delimiters) | line_feed;
        while marks != 0 {
            let end = at as u32 + (marks.trailing_zeros() >> 3);
            if let Some(column) = columns.get_mut(found) {
                *column = Span { start: column_start, end };
            }
            found += 1;
            column_start = end + 1;
            if line_feed & marks & marks.wrapping_neg() != 0 {
                return (end as usize, found);
            }
            marks &= marks - 1;
        }
        at += 8;
    }
    (padded.len(), found)
}

/// Which kinds of bytes a stretch of text has.
#[derive(Debug, Clone, Copy)]
struct Content(u8);

impl Content {
    const NOT_ASCII: u8 = 1;
    const ESCAPED: u8 = 2;
    const QUOTE: u8 = 4;

    /// Looks at the bytes from `start` to `end`. The delimiter and line ends count as none: the
    /// columns don't hold them. The lanes keep their own findings, so that the compiler can put
    /// them in vector registers.
    fn of(padded: &[u8], start: usize, end: usize, delimiter: u8) -> Content {
        const LANES: usize = 32;
        let (bytes, rest) = padded[start..end].as_chunks::<LANES>();
        let (followers, _) = padded[start + 1..=end].as_chunks::<LANES>();
        let mut found = [0_u8; LANES];
        for (chunk, follower) in bytes.iter().zip(followers) {
            for lane in 0..LANES {
                found[lane] |= Self::kinds(chunk[lane], follower[lane], delimiter);
            }
        }
        let mut kinds = found.iter().fold(0, |kinds, lane| kinds | lane);
        for (index, &byte) in rest.iter().enumerate() {
            kinds |= Self::kinds(byte, padded[end - rest.len() + index + 1], delimiter);
        }
        Content(kinds)
    }

    #[inline(always)]
    fn kinds(byte: u8, follower: u8, delimiter: u8) -> u8 {
        let control = (byte < 0x20) & (byte != b'\n') & (byte != b'\r') & (byte != delimiter);
        let lone_return = (byte == b'\r') & (follower != b'\n');
        let escaped = control | lone_return | (byte == b'\\');
        (if byte >= 0x80 { Self::NOT_ASCII } else { 0 })
            | (if escaped { Self::ESCAPED } else { 0 })
            | (if byte == b'"' { Self::QUOTE } else { 0 })
    }

    fn has(self, kind: u8) -> bool {
        self.0 & kind != 0
    }

    fn is_ascii(self) -> bool {
        !self.has(Self::NOT_ASCII)
    }

    fn needs_escape(self) -> bool {
        self.has(Self::ESCAPED)
    }
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
