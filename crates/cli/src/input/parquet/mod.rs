//! Parquet files: planned by the schema in their footer, read column by column, row group by row
//! group.

mod avro;
mod bytes;
mod column;
mod field;
mod layout;
mod meaning;
mod nested;
mod row_levels;
mod rows;
mod thrift;
mod tree;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use self::field::Field;
use self::layout::{Layout, TopColumn};
use self::rows::{ParquetRows, Wanted};
use super::avro_source::AvroForm;
use super::columns::{ValueForm, check_header};
use super::compression::Compression;
use super::{InputOptions, ReadFault, RecordSource, file};
use crate::avro::SourceColumn;
use crate::avro::columns::PlannedField;
use crate::avro::derive::DerivedField;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::json_schema::Property;
use crate::render::RecordColumns;

/// How the rows of a Parquet file become records.
#[derive(Debug)]
pub struct ParquetPlan {
    columns: Vec<TopColumn>,
    /// The value's columns: where each is in the schema, and its name.
    output: Vec<(usize, String)>,
    record: RecordColumns,
}

impl ParquetPlan {
    /// Reads a file's footer, and looks for the columns that are wanted.
    pub fn look_at(
        path: &Path,
        compression: Compression,
        options: &InputOptions,
    ) -> Outcome<ParquetPlan> {
        if let Some(name) = compression.name() {
            let what = format!("{} is a Parquet file compressed by {name}", path.display());
            return Failure::new(Exit::BadInput, what)
                .cause("a Parquet file is read from its end, and compresses its columns itself")
                .remedy(format!("unpack it first: {name} -d {}", path.display()))
                .err();
        }
        if options.value == Some(ValueForm::Raw) {
            let what = format!("--value raw isn't for Parquet ({})", path.display());
            return Failure::new(Exit::Usage, what)
                .cause("a row of a Parquet file has no text of its own")
                .remedy("leave --value out: the row becomes a JSON object")
                .err();
        }
        let layout = open(path)?;
        let columns = layout.columns();
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        check_header(path, &names)?;
        let record = options.record_columns(path, &names)?;
        let output = options.output(path, &names)?;
        let plan = ParquetPlan { columns, output, record };
        for column in plan.used() {
            if let TopColumn { name, content: Err(why), .. } = &plan.columns[column] {
                return unreadable(path, name, why, &plan.columns);
            }
        }
        plan.check_nested(path, options)?;
        let leaves = plan.used().into_iter().flat_map(|column| plan.columns[column].leaves());
        let checked = layout.check_codecs(leaves);
        checked.map_err(|error| file::failed_at(path, ReadFault::Io(error)))?;
        Ok(plan)
    }

    /// The file's records, from the first; with positions that a later reading goes on from, if
    /// they are wanted.
    pub fn open(
        &self,
        path: &Path,
        options: &InputOptions,
        partition_count: Option<i32>,
        is_hashed: bool,
        avro: Option<AvroForm>,
    ) -> Outcome<Box<dyn RecordSource>> {
        let layout = open(path)?;
        if layout.columns() != self.columns {
            return Failure::new(Exit::BadInput, format!("{} was replaced", path.display()))
                .cause("its columns aren't those that it had a moment ago")
                .remedy("run the same command again when it is whole")
                .err();
        }
        let used = self.used();
        let at = |column: usize| used.iter().position(|used| *used == column).unwrap_or_default();
        let columns = used.iter().filter_map(|column| {
            let TopColumn { name, content, .. } = &self.columns[*column];
            let (leaf, node) = content.as_ref().ok()?;
            Some((*leaf, Field::new(name.clone(), node, options.row_bytes_max)))
        });
        let mut record = RecordColumns { partition_count, ..self.record.clone() };
        record.key.iter_mut().for_each(|column| *column = at(*column));
        record.timestamp = record.timestamp.map(at);
        record.partition = record.partition.map(at);
        record.headers.iter_mut().for_each(|header| header.column = at(header.column));
        let wanted = Wanted {
            columns: columns.collect(),
            output: self.output.iter().map(|(column, name)| (at(*column), name.clone())).collect(),
            record,
            avro: avro.map(|mut form| {
                form.plan.fields.iter_mut().for_each(|field| {
                    if let PlannedField::Column(field) = field {
                        field.column = at(self.output[field.column].0);
                    }
                });
                form
            }),
            row_bytes_max: options.row_bytes_max,
            is_hashed,
        };
        Ok(Box::new(ParquetRows::new(layout, wanted)))
    }

    /// The value's columns and their types.
    pub fn column_types(&self) -> impl Iterator<Item = (&str, Cow<'static, str>)> {
        self.output.iter().filter_map(|(column, name)| {
            let column = &self.columns[*column];
            let of = match column.meaning() {
                Some(meaning) => meaning.name().into(),
                None => column.node()?.type_name().into(),
            };
            Some((name.as_str(), of))
        })
    }

    /// The value's columns as fields of an Avro record.
    pub fn derived_fields(&self) -> Vec<DerivedField> {
        let field = |(column, name): &(usize, String)| {
            let column = &self.columns[*column];
            let of = column.meaning()?.avro_type(column.is_wide);
            let is_nullable = column.node()?.is_optional();
            Some(DerivedField { column: name.clone(), of, is_nullable })
        };
        self.output.iter().filter_map(field).collect()
    }

    /// The same as properties of a JSON object.
    pub fn properties(&self) -> Vec<Property> {
        let property = |(column, name): &(usize, String)| {
            let node = self.columns[*column].node()?;
            let mut types = node.json_types().to_vec();
            if node.is_optional() {
                types.push("null");
            }
            Some(Property { name: name.clone(), types })
        };
        self.output.iter().filter_map(property).collect()
    }

    /// The same as an Avro schema is held against them.
    pub fn source_columns(&self) -> Vec<SourceColumn> {
        let column = |(column, name): &(usize, String)| {
            let holds = self.columns[*column].meaning()?.holds();
            Some(SourceColumn { name: name.clone(), holds })
        };
        self.output.iter().filter_map(column).collect()
    }

    /// Adds to a file's shape what its columns are.
    pub fn write_columns(&self, shape: &mut String) {
        shape.push_str(", columns");
        for column in self.used() {
            let column = &self.columns[column];
            if let Some(node) = column.node() {
                let _ = write!(shape, " {} {}", column.name, node.shape());
            }
        }
    }

    /// Refuses nested columns where only single values can be.
    fn check_nested(&self, path: &Path, options: &InputOptions) -> Outcome<()> {
        let RecordColumns { key, timestamp, partition, .. } = &self.record;
        let uses = (key.iter().map(|column| (*column, "--key")))
            .chain(timestamp.map(|column| (column, "--timestamp")))
            .chain(partition.map(|column| (column, "--partition")));
        let in_value = self.output.iter().map(|(column, _)| (*column, "--value avro"));
        let is_avro = options.value == Some(ValueForm::Avro);
        for (column, flag) in uses.chain(in_value.filter(|_| is_avro)) {
            let TopColumn { name, content: Ok((_, node)), .. } = &self.columns[column] else {
                continue;
            };
            if node.as_value().is_some() {
                continue;
            }
            let flat: Vec<&str> = (self.columns.iter())
                .filter(|column| column.meaning().is_some())
                .map(|column| column.name.as_str())
                .collect();
            let flat = flat.join(",");
            let remedy = match (flag, flat.as_str()) {
                ("--value avro", "") => "say --value json".to_owned(),
                ("--value avro", _) => {
                    format!("say --value json, or leave it out: --select {flat}")
                }
                (_, "") => format!("leave {flag} out"),
                _ => format!("name a column of single values: {flat}"),
            };
            let what = format!("{flag} isn't for the column {name:?} of {}", path.display());
            return Failure::new(Exit::Usage, what)
                .cause(format!("it is nested: {}", node.type_name()))
                .remedy(remedy)
                .err();
        }
        Ok(())
    }

    /// The columns that records are made of, each once, in the file's order.
    fn used(&self) -> Vec<usize> {
        let RecordColumns { key, timestamp, partition, headers, .. } = &self.record;
        let mut used: Vec<usize> = self.output.iter().map(|(column, _)| *column).collect();
        used.extend(key.iter().chain(timestamp).chain(partition));
        used.extend(headers.iter().map(|header| header.column));
        used.sort_unstable();
        used.dedup();
        used
    }
}

/// Whether a file begins as a Parquet file does.
pub fn begins_as_one(file: &File) -> bool {
    use std::os::unix::fs::FileExt as _;
    let mut first = [0; layout::MAGIC.len()];
    file.read_exact_at(&mut first, 0).is_ok() && first == layout::MAGIC
}

fn open(path: &Path) -> Outcome<Layout> {
    let (source, file_bytes) = file::open(path)?;
    let layout = Layout::read(source, file_bytes);
    Ok(layout.map_err(|error| file::failed_at(path, ReadFault::Io(error)))?)
}

fn unreadable<T>(path: &Path, name: &str, why: &str, columns: &[TopColumn]) -> Outcome<T> {
    let others: Vec<&str> = (columns.iter())
        .filter(|column| column.content.is_ok())
        .map(|column| column.name.as_str())
        .collect();
    let failure = Failure::new(
        Exit::BadInput,
        format!("{} has a column {name:?} that isn't read", path.display()),
    )
    .cause(format!("it is {why}"));
    if others.is_empty() {
        return failure.remedy("write the file anew without it").err();
    }
    failure.remedy(format!("leave it out: --select {}", others.join(","))).err()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

#[cfg(test)]
#[path = "nested_tests.rs"]
mod nested_tests;
