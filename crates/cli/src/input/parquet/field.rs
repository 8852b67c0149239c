//! A column at the top of a file's schema, row by row: of single values, or nested.

use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;

use super::bytes::{Pages, decode, reason};
use super::column::Column;
use super::nested::Nested;
use super::tree::Node;
use crate::input::RowFault;

/// A column and the row at hand.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "few of them, and each row goes through all")]
pub(super) enum Field {
    /// Single values.
    Flat(Column),
    /// Groups, lists or maps.
    Nested(Box<Nested>),
}

/// What of a file's content can't be read, and in which column.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) column: String,
    pub(super) reason: String,
}

impl Damage {
    pub(super) fn of(column: &str, error: &ParquetError) -> Damage {
        Damage { column: column.to_owned(), reason: reason(error) }
    }

    pub(super) fn new(column: &str, reason: &str) -> Damage {
        Damage { column: column.to_owned(), reason: reason.to_owned() }
    }
}

impl Field {
    /// A column of which nothing was read. A row of which it alone makes more than `row_bytes_max`
    /// of JSON is too long.
    pub(super) fn new(name: String, node: &Node, row_bytes_max: usize) -> Field {
        match node.as_value() {
            Some(value) => Field::Flat(Column::new(name, value.meaning)),
            None => Field::Nested(Box::new(Nested::new(name, node.clone(), row_bytes_max))),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Field::Flat(column) => &column.name,
            Field::Nested(nested) => &nested.name,
        }
    }

    /// Begins with the column's part of a row group, in which `leaf` is its first.
    pub(super) fn open(
        &mut self,
        pages: &Arc<Pages>,
        group: &RowGroupMetaData,
        leaf: usize,
        rows: usize,
    ) -> Result<(), Damage> {
        match self {
            Field::Flat(column) => decode(|| column.open(pages, group.column(leaf), rows))
                .map_err(|error| Damage::of(&column.name, &error)),
            Field::Nested(nested) => nested.open(pages, group, leaf, rows),
        }
    }

    /// Makes the next rows ready, which the row group has. A nested column makes its own ready as
    /// they come, for it may have any number of values in them.
    pub(super) fn read(&mut self, rows: usize) -> Result<(), Damage> {
        let Field::Flat(column) = self else { return Ok(()) };
        match decode(|| column.read(rows)) {
            Ok(read) if read == rows => Ok(()),
            Ok(_) => Err(Damage::new(&column.name, "it ends before the last row")),
            Err(error) => Err(Damage::of(&column.name, &error)),
        }
    }

    /// Passes over rows that were made ready.
    pub(super) fn pass_over(&mut self, rows: usize) -> Result<(), Damage> {
        match self {
            // All of them are left behind when the next ones are read.
            Field::Flat(_) => Ok(()),
            Field::Nested(nested) => nested.pass_over(rows),
        }
    }

    /// Goes to the next of the rows that were made ready.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<(), Damage> {
        match self {
            Field::Flat(column) => {
                column.advance();
                Ok(())
            }
            Field::Nested(nested) => nested.advance(),
        }
    }

    /// Whether the row has nothing here.
    pub(super) fn is_null(&self) -> bool {
        match self {
            Field::Flat(column) => column.is_null(),
            Field::Nested(nested) => nested.is_null(),
        }
    }

    /// Adds what the row has here as JSON.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) -> Result<(), RowFault> {
        match self {
            Field::Flat(column) => column.write_json(out),
            Field::Nested(nested) => {
                out.extend_from_slice(nested.json()?);
                Ok(())
            }
        }
    }

    /// Adds what the row has here as text, which of a nested column is its JSON; false if there is
    /// nothing.
    pub(super) fn write_text(&self, out: &mut Vec<u8>) -> Result<bool, RowFault> {
        match self {
            Field::Flat(column) => column.write_text(out),
            Field::Nested(nested) => {
                let json = nested.json()?;
                out.extend_from_slice(if nested.is_null() { b"" } else { json });
                Ok(!nested.is_null())
            }
        }
    }

    /// The column where it must be one of single values.
    pub(super) fn flat(&self) -> Result<&Column, RowFault> {
        match self {
            Field::Flat(column) => Ok(column),
            Field::Nested(nested) => {
                Err(RowFault::value(&nested.name, nested.json()?, "a single value"))
            }
        }
    }
}
