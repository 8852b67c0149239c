//! A file as records, whatever its format: splitting and rendering put together.

use std::fmt;
use std::io::Read;

use super::csv::CsvRows;
use super::fault::ReadFault;
use super::lines::LineRows;
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

    /// How many bytes of the file were consumed.
    fn consumed_bytes(&self) -> u64;
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

    fn consumed_bytes(&self) -> u64 {
        self.rows.consumed_bytes()
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

    fn consumed_bytes(&self) -> u64 {
        self.rows.consumed_bytes()
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

    fn consumed_bytes(&self) -> u64 {
        self.lines.consumed_bytes()
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

    fn consumed_bytes(&self) -> u64 {
        self.lines.consumed_bytes()
    }
}
