//! A file as records, whatever its format: splitting and rendering put together.

use std::fmt;
use std::io::Read;

use super::csv::CsvRows;
use super::fault::ReadFault;
use super::lines::LineRows;
use super::position::{Place, Position, ResumeFault};
use crate::clicks::ClickRenderer;
use crate::render::{NdjsonRenderer, Rendered, TypedRenderer};

/// One record as its file gives it, and the line it starts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceRecord<'a> {
    /// Key, value and time.
    pub rendered: Rendered<'a>,
    /// The line of the file, counted from 1.
    pub line: u64,
}

/// The records of one file, one after the other.
pub trait RecordSource: fmt::Debug {
    /// The next record; None at the end. After a bad row the next call gives the row after it.
    fn next_record(&mut self) -> Result<Option<SourceRecord<'_>>, Box<ReadFault>>;

    /// Where the next row starts.
    fn place(&self) -> Place;

    /// Where the next row starts, with the hash of all before it, if that is kept.
    fn position(&mut self) -> Option<Position>;

    /// Consumes everything before a place that an earlier reading of the same file came to.
    fn skip_to(&mut self, place: Place) -> Result<(), ResumeFault>;

    /// Goes on from where an earlier reading of the same file was. Only before the first record.
    fn resume(&mut self, position: &Position) -> Result<(), ResumeFault>;

    /// The row of the last record or fault as the file has it; None if it was too long to be kept.
    fn last_row(&self) -> Option<&[u8]>;
}

/// A row's fault, with its line.
fn at_line<'a>(
    line: u64,
    rendered: Result<Rendered<'a>, super::RowFault>,
) -> Result<Option<SourceRecord<'a>>, Box<ReadFault>> {
    match rendered {
        Ok(rendered) => Ok(Some(SourceRecord { rendered, line })),
        Err(fault) => Err(Box::new(ReadFault::Row { line, fault })),
    }
}

/// A click-event file: each row becomes the reference JSON.
#[derive(Debug)]
pub struct ClickSource<R> {
    rows: CsvRows<R>,
    renderer: ClickRenderer,
}

impl<R: Read> ClickSource<R> {
    /// The records of rows whose header was read.
    pub fn new(rows: CsvRows<R>, renderer: ClickRenderer) -> ClickSource<R> {
        ClickSource { rows, renderer }
    }
}

impl<R: Read + fmt::Debug> RecordSource for ClickSource<R> {
    fn next_record(&mut self) -> Result<Option<SourceRecord<'_>>, Box<ReadFault>> {
        let Some(row) = self.rows.next_row()? else { return Ok(None) };
        at_line(row.line(), self.renderer.render(&row))
    }

    fn place(&self) -> Place {
        self.rows.place()
    }

    fn skip_to(&mut self, place: Place) -> Result<(), ResumeFault> {
        self.rows.skip_to(place)
    }

    fn position(&mut self) -> Option<Position> {
        self.rows.position()
    }

    fn resume(&mut self, position: &Position) -> Result<(), ResumeFault> {
        self.rows.resume(position)
    }

    fn last_row(&self) -> Option<&[u8]> {
        self.rows.last_row()
    }
}

/// Any other CSV file: each row becomes an object of typed columns.
#[derive(Debug)]
pub struct TypedSource<R> {
    rows: CsvRows<R>,
    renderer: TypedRenderer,
}

impl<R: Read> TypedSource<R> {
    /// The records of rows whose header was read.
    pub fn new(rows: CsvRows<R>, renderer: TypedRenderer) -> TypedSource<R> {
        TypedSource { rows, renderer }
    }
}

impl<R: Read + fmt::Debug> RecordSource for TypedSource<R> {
    fn next_record(&mut self) -> Result<Option<SourceRecord<'_>>, Box<ReadFault>> {
        let Some(row) = self.rows.next_row()? else { return Ok(None) };
        at_line(row.line(), self.renderer.render(&row))
    }

    fn place(&self) -> Place {
        self.rows.place()
    }

    fn skip_to(&mut self, place: Place) -> Result<(), ResumeFault> {
        self.rows.skip_to(place)
    }

    fn position(&mut self) -> Option<Position> {
        self.rows.position()
    }

    fn resume(&mut self, position: &Position) -> Result<(), ResumeFault> {
        self.rows.resume(position)
    }

    fn last_row(&self) -> Option<&[u8]> {
        self.rows.last_row()
    }
}

/// A file of JSON values, one a line.
#[derive(Debug)]
pub struct NdjsonSource<R> {
    lines: LineRows<R>,
    renderer: NdjsonRenderer,
}

impl<R: Read> NdjsonSource<R> {
    /// The records of a file's lines.
    pub fn new(lines: LineRows<R>, renderer: NdjsonRenderer) -> NdjsonSource<R> {
        NdjsonSource { lines, renderer }
    }
}

impl<R: Read + fmt::Debug> RecordSource for NdjsonSource<R> {
    fn next_record(&mut self) -> Result<Option<SourceRecord<'_>>, Box<ReadFault>> {
        let Some(line) = self.lines.next_line()? else { return Ok(None) };
        at_line(line.number, self.renderer.render(line))
    }

    fn place(&self) -> Place {
        self.lines.place()
    }

    fn skip_to(&mut self, place: Place) -> Result<(), ResumeFault> {
        self.lines.skip_to(place)
    }

    fn position(&mut self) -> Option<Position> {
        self.lines.position()
    }

    fn resume(&mut self, position: &Position) -> Result<(), ResumeFault> {
        self.lines.resume(position)
    }

    fn last_row(&self) -> Option<&[u8]> {
        self.lines.last_line()
    }
}

/// A file whose lines are the values, as they stand; an empty line is an empty value.
#[derive(Debug)]
pub struct LineSource<R> {
    lines: LineRows<R>,
}

impl<R: Read> LineSource<R> {
    /// The records of a file's lines.
    pub fn new(lines: LineRows<R>) -> LineSource<R> {
        LineSource { lines }
    }
}

impl<R: Read + fmt::Debug> RecordSource for LineSource<R> {
    fn next_record(&mut self) -> Result<Option<SourceRecord<'_>>, Box<ReadFault>> {
        let Some(line) = self.lines.next_line()? else { return Ok(None) };
        let rendered = Rendered { key: None, value: line.bytes, timestamp_ms: None };
        at_line(line.number, Ok(rendered))
    }

    fn place(&self) -> Place {
        self.lines.place()
    }

    fn skip_to(&mut self, place: Place) -> Result<(), ResumeFault> {
        self.lines.skip_to(place)
    }

    fn position(&mut self) -> Option<Position> {
        self.lines.position()
    }

    fn resume(&mut self, position: &Position) -> Result<(), ResumeFault> {
        self.lines.resume(position)
    }

    fn last_row(&self) -> Option<&[u8]> {
        self.lines.last_line()
    }
}
