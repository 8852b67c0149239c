//! In the place of Parquet, for a build without it.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

use super::avro_source::AvroForm;
use super::compression::Compression;
use super::{InputOptions, RecordSource};
use crate::avro::SourceColumn;
use crate::avro::derive::DerivedField;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::json_schema::Property;

/// There is none.
#[derive(Debug)]
pub enum ParquetPlan {}

impl ParquetPlan {
    /// Says that this build has no Parquet.
    pub fn look_at(path: &Path, _: Compression, _: &InputOptions) -> Outcome<ParquetPlan> {
        Failure::new(Exit::Usage, format!("{} is a Parquet file", path.display()))
            .cause("this streamledger was built without its feature parquet")
            .remedy("build it with default features")
            .err()
    }

    /// Never called.
    pub fn open(
        &self,
        _: &Path,
        _: &InputOptions,
        _: Option<i32>,
        _: bool,
        _: Option<AvroForm>,
    ) -> Outcome<Box<dyn RecordSource>> {
        match *self {}
    }

    /// Never called.
    pub fn column_types(&self) -> impl Iterator<Item = (&str, Cow<'static, str>)> {
        match *self {}
        #[expect(unreachable_code, reason = "says which type of iterator it isn't")]
        std::iter::empty()
    }

    /// Never called.
    pub fn derived_fields(&self) -> Vec<DerivedField> {
        match *self {}
    }

    /// Never called.
    pub fn properties(&self) -> Vec<Property> {
        match *self {}
    }

    /// Never called.
    pub fn source_columns(&self) -> Vec<SourceColumn> {
        match *self {}
    }

    /// Never called.
    pub fn write_columns(&self, _: &mut String) {
        match *self {}
    }
}

/// Whether a file begins as a Parquet file does: it doesn't matter here.
pub fn begins_as_one(_: &File) -> bool {
    false
}
