//! A file as records, whatever its format: splitting and rendering put together.

use std::fmt;
use std::io::Read;

use super::compression::Meter;
use super::csv::{CsvRow, CsvRows};
use super::fault::{ReadFault, RowFault};
use super::lines::{Line, LineRows};
use super::position::{Place, Position, ResumeFault};
use crate::clicks::ClickRenderer;
use crate::render::{
    AvroLineRenderer, AvroRenderer, LineRenderer, NdjsonRenderer, RawRenderer, Rendered,
    TypedRenderer,
};

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

    /// Bytes of the file that were read, as they are on the disk; of one that isn't compressed,
    /// those before the next row.
    fn read_bytes(&self) -> u64;

    /// The row of the last record or fault as the file has it; None if it was too long to be kept.
    fn last_row(&self) -> Option<&[u8]>;
}

/// The rows of one file, one after the other.
pub trait Rows: fmt::Debug {
    /// One of them, borrowed until the next is asked for.
    type Row<'a>
    where
        Self: 'a;

    /// The next row with the line it starts on, counted from 1; None at the end.
    fn next_row(&mut self) -> Result<Option<(u64, Self::Row<'_>)>, Box<ReadFault>>;

    /// Where the next row starts.
    fn place(&self) -> Place;

    /// Where the next row starts, with the hash of all before it, if that is kept.
    fn position(&mut self) -> Option<Position>;

    /// Consumes everything before a place that an earlier reading of the same file came to.
    fn skip_to(&mut self, place: Place) -> Result<(), ResumeFault>;

    /// Goes on from where an earlier reading of the same file was. Only before the first row.
    fn resume(&mut self, position: &Position) -> Result<(), ResumeFault>;

    /// The last row or bad row as the file has it; None if it was too long to be kept.
    fn last_row(&self) -> Option<&[u8]>;
}

/// Makes records of rows.
pub trait Renderer<S: Rows>: fmt::Debug {
    /// The row as a record's parts.
    fn render<'a>(&'a mut self, row: S::Row<'a>) -> Result<Rendered<'a>, RowFault>
    where
        S: 'a;
}

/// Rows and what makes records of them.
#[derive(Debug)]
pub struct RenderedRows<S, R> {
    rows: S,
    renderer: R,
    meter: Option<Meter>,
}

impl<S: Rows, R: Renderer<S>> RenderedRows<S, R> {
    /// The records of rows that were not gone through yet; the meter is that of a compressed file.
    pub fn new(rows: S, renderer: R, meter: Option<Meter>) -> RenderedRows<S, R> {
        RenderedRows { rows, renderer, meter }
    }
}

impl<S: Rows, R: Renderer<S>> RecordSource for RenderedRows<S, R> {
    fn next_record(&mut self) -> Result<Option<SourceRecord<'_>>, Box<ReadFault>> {
        let Some((line, row)) = self.rows.next_row()? else { return Ok(None) };
        match self.renderer.render(row) {
            Ok(rendered) => Ok(Some(SourceRecord { rendered, line })),
            Err(fault) => Err(Box::new(ReadFault::Row { line, fault })),
        }
    }

    fn place(&self) -> Place {
        self.rows.place()
    }

    fn position(&mut self) -> Option<Position> {
        self.rows.position()
    }

    fn skip_to(&mut self, place: Place) -> Result<(), ResumeFault> {
        self.rows.skip_to(place)
    }

    fn resume(&mut self, position: &Position) -> Result<(), ResumeFault> {
        self.rows.resume(position)
    }

    fn read_bytes(&self) -> u64 {
        self.meter.as_ref().map_or_else(|| self.rows.place().bytes, Meter::bytes)
    }

    fn last_row(&self) -> Option<&[u8]> {
        self.rows.last_row()
    }
}

impl<R: Read + fmt::Debug> Rows for CsvRows<R> {
    type Row<'a>
        = CsvRow<'a>
    where
        R: 'a;

    #[inline]
    fn next_row(&mut self) -> Result<Option<(u64, CsvRow<'_>)>, Box<ReadFault>> {
        Ok(CsvRows::next_row(self)?.map(|row| (row.line(), row)))
    }

    fn place(&self) -> Place {
        CsvRows::place(self)
    }

    fn position(&mut self) -> Option<Position> {
        CsvRows::position(self)
    }

    fn skip_to(&mut self, place: Place) -> Result<(), ResumeFault> {
        CsvRows::skip_to(self, place)
    }

    fn resume(&mut self, position: &Position) -> Result<(), ResumeFault> {
        CsvRows::resume(self, position)
    }

    fn last_row(&self) -> Option<&[u8]> {
        CsvRows::last_row(self)
    }
}

impl<R: Read + fmt::Debug> Rows for LineRows<R> {
    type Row<'a>
        = Line<'a>
    where
        R: 'a;

    #[inline]
    fn next_row(&mut self) -> Result<Option<(u64, Line<'_>)>, Box<ReadFault>> {
        Ok(self.next_line()?.map(|line| (line.number, line)))
    }

    fn place(&self) -> Place {
        LineRows::place(self)
    }

    fn position(&mut self) -> Option<Position> {
        LineRows::position(self)
    }

    fn skip_to(&mut self, place: Place) -> Result<(), ResumeFault> {
        LineRows::skip_to(self, place)
    }

    fn resume(&mut self, position: &Position) -> Result<(), ResumeFault> {
        LineRows::resume(self, position)
    }

    fn last_row(&self) -> Option<&[u8]> {
        self.last_line()
    }
}

impl<R: Read + fmt::Debug> Renderer<CsvRows<R>> for ClickRenderer {
    #[inline]
    fn render<'a>(&'a mut self, row: CsvRow<'a>) -> Result<Rendered<'a>, RowFault>
    where
        R: 'a,
    {
        ClickRenderer::render(self, &row)
    }
}

impl<R: Read + fmt::Debug> Renderer<CsvRows<R>> for TypedRenderer {
    #[inline]
    fn render<'a>(&'a mut self, row: CsvRow<'a>) -> Result<Rendered<'a>, RowFault>
    where
        R: 'a,
    {
        TypedRenderer::render(self, &row)
    }
}

impl<R: Read + fmt::Debug> Renderer<CsvRows<R>> for RawRenderer {
    #[inline]
    fn render<'a>(&'a mut self, row: CsvRow<'a>) -> Result<Rendered<'a>, RowFault>
    where
        R: 'a,
    {
        RawRenderer::render(self, &row)
    }
}

impl<R: Read + fmt::Debug> Renderer<CsvRows<R>> for AvroRenderer {
    #[inline]
    fn render<'a>(&'a mut self, row: CsvRow<'a>) -> Result<Rendered<'a>, RowFault>
    where
        R: 'a,
    {
        AvroRenderer::render(self, &row)
    }
}

impl<R: Read + fmt::Debug> Renderer<LineRows<R>> for AvroLineRenderer {
    #[inline]
    fn render<'a>(&'a mut self, line: Line<'a>) -> Result<Rendered<'a>, RowFault>
    where
        R: 'a,
    {
        AvroLineRenderer::render(self, line)
    }
}

impl<R: Read + fmt::Debug> Renderer<LineRows<R>> for NdjsonRenderer {
    #[inline]
    fn render<'a>(&'a mut self, line: Line<'a>) -> Result<Rendered<'a>, RowFault>
    where
        R: 'a,
    {
        NdjsonRenderer::render(self, line)
    }
}

impl<R: Read + fmt::Debug> Renderer<LineRows<R>> for LineRenderer {
    #[inline]
    fn render<'a>(&'a mut self, line: Line<'a>) -> Result<Rendered<'a>, RowFault>
    where
        R: 'a,
    {
        LineRenderer::render(*self, line)
    }
}
