//! The rows of a Parquet file as records, row group by row group.
//!
//! Laws: of each column that is used there are `BATCH_ROWS` values and the page they came from in
//! memory, no more; a position is a row's number, with the hash of the footer and of each row group
//! that has a row before it, whole; so it is the same for whoever comes to that row, and however.

use std::io;
use std::sync::Arc;

use super::bytes::Pages;
use super::field::{Damage, Field};
use super::layout::{Group, Layout, fault};
use crate::avro::columns::PlannedField;
use crate::input::avro_source::AvroForm;
use crate::input::position::ContentHasher;
use crate::input::{Place, Position, ReadFault, RecordSource, ResumeFault, RowFault, SourceRecord};
use crate::render::headers::HeaderBuffer;
use crate::render::{RecordColumns, Rendered, partition_of_text};
use crate::time::parse_timestamp;

/// Rows of which the values are read at once.
const BATCH_ROWS: usize = 1024;

/// Rows of a file, and what becomes of their columns.
#[derive(Debug)]
pub(super) struct ParquetRows {
    layout: Layout,
    pages: Arc<Pages>,
    columns: Vec<Field>,
    /// Where in the file the first leaf of each of them is.
    leaves: Vec<usize>,
    /// The value's columns, each with what stands before it: `{"first":`, `,"second":`.
    output: Vec<(usize, Vec<u8>)>,
    record: RecordColumns,
    /// How the value is Avro; without it, it is JSON.
    avro: Option<AvroForm>,
    row_bytes_max: usize,
    /// Rows that were gone through.
    rows_behind: u64,
    /// The row group that is being read.
    group: Option<OpenGroup>,
    /// Rows that were read and not gone through.
    rows_read: usize,
    hash: Option<RunningHash>,
    buffers: Buffers,
}

#[derive(Debug, Clone, Copy)]
struct OpenGroup {
    index: usize,
    /// Rows of it that weren't read yet.
    rows_left: u64,
}

/// The hash of the footer and the row groups that were begun.
#[derive(Debug)]
struct RunningHash {
    hasher: ContentHasher,
    groups: usize,
}

/// What a row becomes.
#[derive(Debug)]
struct Buffers {
    json: Vec<u8>,
    avro: Vec<u8>,
    /// The row as JSON is whole.
    has_json: bool,
    key: Vec<u8>,
    text: Vec<u8>,
    headers: HeaderBuffer,
}

/// What is wanted of a file.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The columns that are used, and where the first leaf of each is.
    pub(super) columns: Vec<(usize, Field)>,
    /// The value's columns, by their place among those, and their names.
    pub(super) output: Vec<(usize, String)>,
    /// What else of a record columns are, by their place among those.
    pub(super) record: RecordColumns,
    /// How the value is Avro, by the same places; without it, it is JSON.
    pub(super) avro: Option<AvroForm>,
    pub(super) row_bytes_max: usize,
    /// Whether positions are wanted that a later reading goes on from.
    pub(super) is_hashed: bool,
}

impl ParquetRows {
    /// The rows, from the first.
    pub(super) fn new(mut layout: Layout, wanted: Wanted) -> ParquetRows {
        let (leaves, columns) = wanted.columns.into_iter().unzip();
        let prefix = |(place, (column, name)): (usize, (usize, String))| {
            let mut prefix = vec![if place == 0 { b'{' } else { b',' }];
            // Into memory nothing fails.
            let _ = serde_json::to_writer(&mut prefix, &name);
            prefix.push(b':');
            (column, prefix)
        };
        let headers = wanted.record.headers.iter().map(|header| header.name.clone()).collect();
        let hasher = std::mem::take(&mut layout.footer_hash);
        let hash = wanted.is_hashed.then_some(RunningHash { hasher, groups: 0 });
        ParquetRows {
            pages: Arc::new(Pages(layout.bytes.clone())),
            layout,
            columns,
            leaves,
            output: wanted.output.into_iter().enumerate().map(prefix).collect(),
            record: wanted.record,
            avro: wanted.avro,
            row_bytes_max: wanted.row_bytes_max,
            rows_behind: 0,
            group: None,
            rows_read: 0,
            hash,
            buffers: Buffers {
                json: Vec::new(),
                avro: Vec::new(),
                has_json: false,
                key: Vec::new(),
                text: Vec::new(),
                headers: HeaderBuffer::new(headers),
            },
        }
    }

    /// Goes to a row by its number, counted from 0.
    fn go_to(&mut self, row: u64) {
        (self.rows_behind, self.rows_read, self.group) = (row, 0, None);
    }

    /// Reads the next values of each column; at the end of a row group those of the next one.
    fn fill(&mut self) -> io::Result<()> {
        loop {
            match self.group {
                None => self.open_group()?,
                Some(OpenGroup { rows_left: 0, .. }) => self.group = None,
                Some(_) => {
                    self.rows_read = self.read_batch(BATCH_ROWS as u64)?;
                    return Ok(());
                }
            }
        }
    }

    /// Opens the row group that the next row is in, and passes over the rows before it.
    fn open_group(&mut self) -> io::Result<()> {
        let row = self.rows_behind;
        let index = self.layout.group_of(row);
        let Some(Group { first_row, rows, .. }) = self.layout.groups.get(index).copied() else {
            return Err(fault("its footer", "no row group has the next row"));
        };
        self.hash_groups(index + 1)?;
        let chunks = self.layout.metadata.row_group(index);
        let rows_in_memory = usize::try_from(rows).unwrap_or(usize::MAX);
        for (column, leaf) in self.columns.iter_mut().zip(&self.leaves) {
            let opened = column.open(&self.pages, chunks, *leaf, rows_in_memory);
            opened.map_err(|damage| damaged(&self.layout, index, &damage))?;
        }
        self.group = Some(OpenGroup { index, rows_left: rows });
        let mut before = row - first_row;
        while before > 0 {
            let passed = self.read_batch(before.min(BATCH_ROWS as u64))?;
            for column in &mut self.columns {
                let passed = column.pass_over(passed);
                passed.map_err(|damage| damaged(&self.layout, index, &damage))?;
            }
            before -= passed as u64;
        }
        Ok(())
    }

    /// Reads the next rows of the row group at hand, so many at most: how many there were.
    fn read_batch(&mut self, rows_max: u64) -> io::Result<usize> {
        let Some(group) = &mut self.group else { return Ok(0) };
        let rows = usize::try_from(rows_max.min(group.rows_left)).unwrap_or(BATCH_ROWS);
        for column in &mut self.columns {
            let read = column.read(rows);
            read.map_err(|damage| damaged(&self.layout, group.index, &damage))?;
        }
        group.rows_left -= rows as u64;
        Ok(rows)
    }

    /// Goes to the next of the rows that were read.
    fn advance(&mut self) -> io::Result<()> {
        self.rows_read -= 1;
        self.rows_behind += 1;
        let group = self.group.map_or(0, |group| group.index);
        for column in &mut self.columns {
            column.advance().map_err(|damage| damaged(&self.layout, group, &damage))?;
        }
        Ok(())
    }

    /// Takes the row groups before this one into the hash.
    fn hash_groups(&mut self, before: usize) -> io::Result<()> {
        let Some(hash) = &mut self.hash else { return Ok(()) };
        while hash.groups < before {
            let Group { start, end, .. } = self.layout.groups[hash.groups];
            self.layout.bytes.hash(start, end, &mut hash.hasher)?;
            hash.groups += 1;
        }
        Ok(())
    }

    /// Makes the row's JSON.
    fn render_json(&mut self) -> Result<(), RowFault> {
        let Buffers { json, has_json, .. } = &mut self.buffers;
        json.clear();
        for (column, prefix) in &self.output {
            json.extend_from_slice(prefix);
            self.columns[*column].write_json(json)?;
        }
        json.extend_from_slice(if self.output.is_empty() { b"{}" } else { b"}" });
        *has_json = json.len() <= self.row_bytes_max;
        if !*has_json {
            return Err(RowFault::TooLong { limit: self.row_bytes_max, open_quote: false });
        }
        Ok(())
    }

    /// Makes the value and the rest of the row at hand; what is written stays in the buffers.
    fn render(&mut self) -> Result<Parts, RowFault> {
        match &self.avro {
            None => self.render_json()?,
            Some(AvroForm { plan, prefix }) => {
                let Buffers { avro, text, .. } = &mut self.buffers;
                avro.clear();
                avro.extend_from_slice(prefix);
                for field in &plan.fields {
                    match field {
                        PlannedField::Constant(bytes) => avro.extend_from_slice(bytes),
                        PlannedField::Column(field) => {
                            let column = self.columns[field.column].flat()?;
                            column.write_avro(field, text, avro)?;
                        }
                    }
                }
                if avro.len() > self.row_bytes_max {
                    return Err(RowFault::TooLong { limit: self.row_bytes_max, open_quote: false });
                }
            }
        }
        let Buffers { key, text, headers, .. } = &mut self.buffers;
        let columns = &self.columns;
        let timestamp_ms = match self.record.timestamp {
            None => None,
            Some(index) => Some(time_ms(&columns[index], text)?),
        };
        let partition = match self.record.partition {
            None => None,
            Some(index) => Some(partition(&columns[index], self.record.partition_count, text)?),
        };
        headers.begin();
        for header in &self.record.headers {
            headers.push(|bytes| columns[header.column].write_text(bytes))?;
        }
        key.clear();
        let has_key = write_key(columns, &self.record.key, key)?;
        Ok(Parts { has_key, timestamp_ms, partition })
    }
}

/// What a row gives its record besides bytes.
#[derive(Debug, Clone, Copy)]
struct Parts {
    has_key: bool,
    timestamp_ms: Option<i64>,
    partition: Option<i32>,
}

impl RecordSource for ParquetRows {
    fn next_record(&mut self) -> Result<Option<SourceRecord<'_>>, Box<ReadFault>> {
        if self.rows_behind == self.layout.rows {
            return Ok(None);
        }
        if self.rows_read == 0 {
            self.buffers.has_json = false;
            self.fill().map_err(ReadFault::Io)?;
        }
        self.advance().map_err(ReadFault::Io)?;
        let line = self.rows_behind;
        self.buffers.has_json = false;
        let rendered = self.render();
        if rendered.is_err() && self.avro.is_some() {
            // A bad row is kept as JSON, as far as it is that.
            let _ = self.render_json();
        }
        let Parts { has_key, timestamp_ms, partition } =
            rendered.map_err(|fault| Box::new(ReadFault::Row { line, fault }))?;
        let Buffers { json, avro, key, headers, .. } = &self.buffers;
        let rendered = Rendered {
            key: has_key.then_some(key.as_slice()),
            value: if self.avro.is_some() { avro } else { json },
            timestamp_ms,
            partition,
            headers: headers.written(),
        };
        Ok(Some(SourceRecord { rendered, line }))
    }

    /// In bytes as far as that can be said: a row group's rows take as much of it each.
    fn place(&self) -> Place {
        let row = self.rows_behind;
        let bytes = match self.layout.groups.get(self.layout.group_of(row)) {
            None => self.layout.bytes.file_bytes,
            Some(Group { first_row, rows, start, end, bytes_before }) => {
                let behind = u128::from(end - start) * u128::from(row - first_row);
                bytes_before + u64::try_from(behind / u128::from((*rows).max(1))).unwrap_or(0)
            }
        };
        Place { bytes, next_line: row + 1 }
    }

    fn position(&mut self) -> Option<Position> {
        let row = self.rows_behind;
        let group = self.layout.group_of(row);
        let is_begun = self.layout.groups.get(group).is_some_and(|group| group.first_row < row);
        self.hash_groups(group + usize::from(is_begun)).ok()?;
        let hash = self.hash.as_ref()?.hasher.hash();
        Some(Position { place: self.place(), hash })
    }

    fn skip_to(&mut self, place: Place) -> Result<(), ResumeFault> {
        let row = place.next_line.saturating_sub(1);
        if row > self.layout.rows {
            return Err(ResumeFault::OtherFile);
        }
        self.go_to(row);
        Ok(())
    }

    fn resume(&mut self, position: &Position) -> Result<(), ResumeFault> {
        self.skip_to(position.place)?;
        if self.position() != Some(*position) {
            return Err(ResumeFault::OtherFile);
        }
        Ok(())
    }

    fn read_bytes(&self) -> u64 {
        self.place().bytes
    }

    /// A row of a Parquet file has no text of its own: its value, if it has one.
    fn last_row(&self) -> Option<&[u8]> {
        self.buffers.has_json.then_some(self.buffers.json.as_slice())
    }
}

/// What is wrong with a column's part of a row group.
fn damaged(layout: &Layout, group: usize, damage: &Damage) -> io::Error {
    fault(&layout.place(group, &damage.column), &damage.reason)
}

fn time_ms(column: &Field, text: &mut Vec<u8>) -> Result<i64, RowFault> {
    let column = column.flat()?;
    if let Some(ms) = column.time_ms() {
        return Ok(ms);
    }
    text.clear();
    column.write_text(text)?;
    parse_timestamp(text).ok_or_else(|| RowFault::value(&column.name, text, "a point in time"))
}

fn partition(column: &Field, count: Option<i32>, text: &mut Vec<u8>) -> Result<i32, RowFault> {
    let column = column.flat()?;
    text.clear();
    column.write_text(text)?;
    partition_of_text(text, count)
        .ok_or_else(|| RowFault::value(&column.name, text, "a partition of the topic"))
}

/// Writes a key: a column's text, or an object of several columns' values. False if there is none.
fn write_key(columns: &[Field], key: &[usize], out: &mut Vec<u8>) -> Result<bool, RowFault> {
    if let [column] = key {
        return columns[*column].write_text(out);
    }
    for (place, column) in key.iter().map(|column| &columns[*column]).enumerate() {
        out.push(if place == 0 { b'{' } else { b',' });
        // Into memory nothing fails.
        let _ = serde_json::to_writer(&mut *out, column.name());
        out.push(b':');
        column.write_json(out)?;
    }
    out.push(b'}');
    Ok(key.iter().any(|column| !columns[*column].is_null()))
}
