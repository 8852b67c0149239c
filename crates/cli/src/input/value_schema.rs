//! The schema that the values of a file are written by: the one that was given, or one made of the
//! file's columns; and how its rows become that.
//!
//! Law: it is worked out of what the plan holds by then, each time anew: types that files agree on,
//! or that an earlier run kept, count.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde_json::value::RawValue;
use streamledger::schema_registry::SchemaId;
use twox_hash::XxHash3_128;

use super::chunk::ChunkReader;
use super::columns::ValueForm;
use super::lines::{BlankLines, LineRows};
use super::options::InputOptions;
use super::plan::InputPlan;
use super::planned::{PlannedFile, PlannedRows};
use super::{ReadFault, file};
use crate::avro::columns::{Mismatch, record_fields};
use crate::avro::derive::{DerivedField, schema_text};
use crate::avro::schema::{Fraction, Scalar};
use crate::avro::{Holds, RecordPlan, Schema, SourceColumn};
use crate::clicks;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::json_schema::{self, Property};
use crate::render::ndjson::FieldName;
use crate::render::number::is_integer;
use crate::schema::{ColumnType, SAMPLE_BYTES, SAMPLE_ROWS, is_lossless_number};

/// A schema that the user gave.
#[derive(Debug, Clone)]
pub struct GivenSchema {
    /// It.
    pub schema: Arc<Schema>,
    /// Where it is from, to be told.
    pub origin: String,
}

/// The schema of a file's values, as a registry takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueSchema {
    /// Its language.
    pub language: SchemaLanguage,
    /// The whole name of its record, or its title.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The language of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaLanguage {
    /// Avro.
    Avro,
    /// JSON Schema.
    Json,
}

impl SchemaLanguage {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            SchemaLanguage::Avro => "Avro",
            SchemaLanguage::Json => "JSON",
        }
    }
}

impl PlannedFile {
    /// What stands in front of each of its values: a zero and the schema's id, or nothing.
    pub fn value_prefix(&self) -> Vec<u8> {
        self.schema_id.map_or_else(Vec::new, |id| SchemaId(id).prefix().to_vec())
    }
}

/// What in a file's shape stands before the schema that was made of its lines.
const IN_SHAPE: &str = ", avro ";

/// What in a file's shape stands before the id of its schema.
const ID_IN_SHAPE: &str = ", schema id ";

impl InputPlan {
    /// The schema that a file's values are written by; None if they have none.
    ///
    /// # Errors
    /// The file's columns can't be written by it.
    pub fn value_schema(&self, file: &PlannedFile) -> Outcome<Option<Arc<Schema>>> {
        let options = self.options();
        if options.value != Some(ValueForm::Avro) {
            return Ok(None);
        }
        let schema = match (&options.schema, &file.rows) {
            (Some(given), _) => Arc::clone(&given.schema),
            (None, PlannedRows::Ndjson { derived: Some(schema) }) => Arc::clone(schema),
            (None, rows) => {
                let text = schema_text(&options.record_name, &derived_fields(rows));
                let text = text.map_err(|mismatch| self.refused(file, &mismatch))?;
                Arc::new(parsed(&text, "the columns")?)
            }
        };
        let checked = match &file.rows {
            PlannedRows::Ndjson { .. } => record_fields(&schema).map(drop),
            rows => RecordPlan::of(&schema, &source_columns(rows)).map(drop),
        };
        checked.map_err(|mismatch| self.refused(file, &mismatch))?;
        Ok(Some(schema))
    }

    /// The schema that a file's values have, which a registry is given if there is one; None if
    /// they have none, or if one was decided on that isn't known here.
    ///
    /// # Errors
    /// The file's columns can't be written by it, or none can be made of them.
    pub fn registered_schema(&self, file: &PlannedFile) -> Outcome<Option<ValueSchema>> {
        if let Some(schema) = self.value_schema(file)? {
            let name = schema.name().unwrap_or_default().to_owned();
            let text = schema.text.clone();
            return Ok(Some(ValueSchema { language: SchemaLanguage::Avro, name, text }));
        }
        let options = self.options();
        if !options.has_registry || options.schema_id.is_some() {
            return Ok(None);
        }
        let Some(properties) = properties(&file.rows) else {
            let what = format!("{}: no JSON Schema is made of its lines", file.path.display());
            return Failure::new(Exit::Usage, what)
                .cause("only their first ones are looked at, and they are sent as they stand")
                .remedy(
                    "register a schema that says what they are, and give --schema-id or \
                     --use-latest; or --value avro",
                )
                .err();
        };
        let name = options.record_name.clone();
        let text = json_schema::schema_text(&name, &properties);
        Ok(Some(ValueSchema { language: SchemaLanguage::Json, name, text }))
    }

    /// The id of the registered schema that was decided on, if one was.
    pub fn fixed_schema_id(&self) -> Option<u32> {
        self.options().schema_id
    }

    /// How a file's columns become the fields of a schema.
    pub(super) fn record_plan(&self, file: &PlannedFile, schema: &Schema) -> Outcome<RecordPlan> {
        let planned = RecordPlan::of(schema, &source_columns(&file.rows));
        Ok(planned.map_err(|mismatch| self.refused(file, &mismatch))?)
    }

    /// Whether a file has this shape, as far as is known: a registry that wasn't asked, or didn't
    /// answer, may have said which schema has which id.
    pub fn is_shape_of(&self, file: &PlannedFile, shape: &str) -> bool {
        let options = self.options();
        let mut own = self.shape(file);
        if options.has_registry && file.schema_id.is_none() {
            let id = shape.split_once(ID_IN_SHAPE).map(|(_, rest)| {
                let end = rest.find(|next: char| !next.is_ascii_digit()).unwrap_or(rest.len());
                &rest[..end]
            });
            if let (Some(id), Some(at)) = (id, shape.find(ID_IN_SHAPE)) {
                own.insert_str(at.min(own.len()), &format!("{ID_IN_SHAPE}{id}"));
            }
        }
        options.registry_is_silent.is_some() || own == shape
    }

    /// Adds to a file's shape what its values are written by.
    pub(super) fn write_schema(&self, file: &PlannedFile, shape: &mut String) {
        if let Some(id) = file.schema_id {
            let _ = write!(shape, "{ID_IN_SHAPE}{id}");
        }
        // What was wrong with it was told when the plan was made.
        let Ok(Some(schema)) = self.registered_schema(file) else { return };
        let _ = match (&file.rows, schema.language) {
            (PlannedRows::Ndjson { derived: Some(_) }, _) => {
                write!(shape, "{IN_SHAPE}{}", schema.text)
            }
            (_, language) => {
                let hash = XxHash3_128::oneshot(schema.text.as_bytes());
                let language = language.name().to_lowercase();
                write!(shape, ", {language} schema {hash:032x}")
            }
        };
    }

    fn refused(&self, file: &PlannedFile, mismatch: &Mismatch) -> Failure {
        let from = match &self.options().schema {
            Some(given) => format!(" ({})", given.origin),
            None => String::new(),
        };
        Failure::new(Exit::Usage, format!("{}: {}{from}", file.path.display(), mismatch.what))
            .cause(mismatch.cause.clone())
            .remedy(mismatch.remedy.clone())
    }
}

fn parsed(text: &str, origin: &str) -> Outcome<Schema> {
    Ok(Schema::parse(text).map_err(|reason| {
        Failure::new(Exit::Usage, format!("the Avro schema of {origin} {reason}"))
    })?)
}

impl GivenSchema {
    /// Reads a schema's file.
    ///
    /// # Errors
    /// It can't be read, or is none.
    pub fn of_file(path: &Path) -> Outcome<GivenSchema> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::new(Exit::Usage, format!("can't read the Avro schema {origin}"))
                .because(&error)
                .remedy("--avro-schema names a file with the JSON of a record's schema (.avsc)")
        })?;
        GivenSchema::of_text(&text, origin)
    }

    /// Takes a schema's text.
    ///
    /// # Errors
    /// It is none.
    pub fn of_text(text: &str, origin: String) -> Outcome<GivenSchema> {
        let schema = Schema::parse(text).map_err(|reason| {
            Failure::new(Exit::Usage, format!("the Avro schema {origin} {reason}"))
                .remedy("--avro-schema names a file with the JSON of a record's schema (.avsc)")
        })?;
        Ok(GivenSchema { schema: Arc::new(schema), origin })
    }
}

/// The columns of a file's values as fields.
fn derived_fields(rows: &PlannedRows) -> Vec<DerivedField> {
    match rows {
        PlannedRows::Typed { types, output, is_clicks, .. } => {
            let field = |(index, name): &(usize, String)| DerivedField {
                column: name.clone(),
                of: scalar_of(types[*index]),
                is_nullable: types[*index] != ColumnType::String && !is_clicks,
            };
            output.iter().map(field).collect()
        }
        PlannedRows::Parquet(plan) => plan.derived_fields(),
        _ => Vec::new(),
    }
}

/// The columns of a file's values as a schema is held against them.
fn source_columns(rows: &PlannedRows) -> Vec<SourceColumn> {
    match rows {
        PlannedRows::Typed { types, output, is_seen, .. } => {
            let column = |(index, name): &(usize, String)| SourceColumn {
                name: name.clone(),
                holds: match types[*index] {
                    ColumnType::String if !is_seen[*index] => Holds::Unknown,
                    ColumnType::String => Holds::Text,
                    ColumnType::Integer => Holds::Integer,
                    ColumnType::Number => Holds::Number,
                    ColumnType::Boolean => Holds::Boolean,
                    ColumnType::Timestamp => Holds::Timestamp,
                },
            };
            output.iter().map(column).collect()
        }
        PlannedRows::Parquet(plan) => plan.source_columns(),
        _ => Vec::new(),
    }
}

/// The columns of a file's values as properties of JSON objects; None of lines.
fn properties(rows: &PlannedRows) -> Option<Vec<Property>> {
    let property = |name: &str, types: &[&'static str]| Property {
        name: name.to_owned(),
        types: types.to_vec(),
    };
    match rows {
        PlannedRows::Clicks { .. } => {
            let types = |name: &&str| match *name {
                "eventTime" => &["integer"][..],
                "price" => &["number"],
                _ => &["string"],
            };
            Some(clicks::FIELDS.iter().map(|name| property(name, types(name))).collect())
        }
        PlannedRows::Typed { types, output, .. } => {
            let types = |index: usize| match types[index] {
                ColumnType::String => &["string"][..],
                ColumnType::Integer | ColumnType::Timestamp => &["integer", "null"],
                ColumnType::Number => &["number", "null"],
                ColumnType::Boolean => &["boolean", "null"],
            };
            Some(output.iter().map(|(index, name)| property(name, types(*index))).collect())
        }
        PlannedRows::Parquet(plan) => Some(plan.properties()),
        PlannedRows::Raw { .. } | PlannedRows::Ndjson { .. } | PlannedRows::Lines => None,
    }
}

fn scalar_of(column_type: ColumnType) -> Scalar {
    match column_type {
        ColumnType::String => Scalar::String,
        ColumnType::Integer => Scalar::Long,
        ColumnType::Number => Scalar::Double,
        ColumnType::Boolean => Scalar::Boolean,
        ColumnType::Timestamp => Scalar::Timestamp { unit: Fraction::Millis, is_local: false },
    }
}

/// What the values of one field of lines were, so far.
#[derive(Debug, Default)]
struct SeenField {
    name: String,
    is_integer: bool,
    is_number: bool,
    is_boolean: bool,
    is_text: bool,
    is_long_number: bool,
    is_nested: bool,
}

impl SeenField {
    fn see(&mut self, raw: &str) {
        let bytes = raw.as_bytes();
        match bytes.first() {
            Some(b'"') => self.is_text = true,
            Some(b't' | b'f') => self.is_boolean = true,
            Some(b'{' | b'[') => self.is_nested = true,
            Some(b'n') | None => {}
            _ if is_integer(bytes) => self.is_integer = true,
            _ if is_lossless_number(bytes) => self.is_number = true,
            _ => self.is_long_number = true,
        }
    }

    /// Its type; why it has none, if it hasn't.
    fn scalar(&self) -> Result<Scalar, &'static str> {
        let is_number = self.is_integer || self.is_number;
        match (self.is_text, self.is_boolean, is_number) {
            _ if self.is_nested => Err("objects or arrays"),
            _ if self.is_long_number => Err("numbers with more digits than a double keeps"),
            (false, false, true) if !self.is_number => Ok(Scalar::Long),
            (false, false, true) => Ok(Scalar::Double),
            (false, true, false) => Ok(Scalar::Boolean),
            (_, false, false) => Ok(Scalar::String),
            _ => Err("values of several types"),
        }
    }
}

/// The schema of lines of JSON, by the first of them: a field for each field that one of them has,
/// in the order in which they came, each of which may be missing.
pub(super) fn of_lines(
    path: &Path,
    source: impl Read,
    options: &InputOptions,
) -> Outcome<Arc<Schema>> {
    let chunks = ChunkReader::new(source, options.row_bytes_max);
    let mut rows = LineRows::new(chunks, BlankLines::Skipped);
    let mut seen: Vec<SeenField> = Vec::new();
    for _ in 0..SAMPLE_ROWS {
        if rows.consumed_bytes() > SAMPLE_BYTES {
            break;
        }
        let line = match rows.next_line() {
            Ok(None) => break,
            Ok(Some(line)) => line.bytes,
            // Told when the row's turn comes.
            Err(fault) if matches!(*fault, ReadFault::Row { .. }) => continue,
            Err(fault) if fault.is_not_yet() => break,
            Err(fault) => return Err(file::failed_at(path, *fault).into()),
        };
        let Ok(object) = serde_json::from_slice::<Fields<'_>>(line) else { continue };
        for (name, raw) in object.0 {
            if !options.select.is_empty() && !options.select.contains(&name.as_ref().to_owned()) {
                continue;
            }
            let at = seen.iter().position(|field| field.name == name).unwrap_or_else(|| {
                seen.push(SeenField { name: name.into_owned(), ..SeenField::default() });
                seen.len() - 1
            });
            seen[at].see(raw.get());
        }
    }
    let failed = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", path.display()));
    let mut fields = Vec::with_capacity(seen.len());
    for field in &seen {
        let of = field.scalar().map_err(|holds| {
            failed(format!("the field {:?} has no one Avro type", field.name))
                .cause(format!("its values are {holds}"))
                .remedy("give a schema with --avro-schema; or leave it out: --select the others")
        })?;
        let renamed = options.rename.iter().find(|(old, _)| *old == field.name);
        let column = renamed.map_or(&field.name, |(_, new)| new).clone();
        fields.push(DerivedField { column, of, is_nullable: true });
    }
    if fields.is_empty() {
        return failed("no field is known to make an Avro schema of".to_owned())
            .cause("none of its first lines has one")
            .remedy("give a schema with --avro-schema")
            .err();
    }
    let text = schema_text(&options.record_name, &fields);
    let text = text
        .map_err(|mismatch| failed(mismatch.what).cause(mismatch.cause).remedy(mismatch.remedy))?;
    Ok(Arc::new(parsed(&text, "the fields")?))
}

/// The schema that a part of a file's lines was written by, out of its shape.
pub(super) fn in_shape(shape: &str) -> Option<Arc<Schema>> {
    let (_, rest) = shape.split_once(IN_SHAPE)?;
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
    let text = values.next()?.ok()?.get();
    Some(Arc::new(Schema::parse(text).ok()?))
}

/// The fields at the top of an object, in their order.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Fields<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> serde::de::Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(FieldName(name)) = map.next_key::<FieldName<'de>>()? {
            fields.push((name, map.next_value::<&'de RawValue>()?));
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
#[path = "value_schema_tests.rs"]
mod tests;
