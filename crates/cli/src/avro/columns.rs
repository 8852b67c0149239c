//! A schema held against the columns of a file: which column each field is made of, and how its
//! text becomes the field's type. All that can be known before a row is read is told here.

use super::derive::{colliding, field_name};
use super::encode::{unscaled, write_bytes, write_fixed_decimal, write_long, write_scalar};
use super::from_json::write_default;
use super::schema::{Body, Field, Fraction, Scalar, Schema, Type};
use crate::nearest::nearest;

/// What is known of a column's values before they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Nothing: it was empty wherever it was looked at.
    Unknown,
    /// Text of no narrower type.
    Text,
    /// Integers.
    Integer,
    /// Numbers, some with a fraction.
    Number,
    /// True and false.
    Boolean,
    /// Points in time.
    Timestamp,
    /// Days.
    Date,
    /// Times of day.
    Time,
    /// Decimals.
    Decimal,
    /// UUIDs.
    Uuid,
    /// Bytes that are no text.
    Binary,
}

impl Holds {
    /// In words, to be followed by what they aren't.
    const fn in_words(self) -> &'static str {
        match self {
            Holds::Unknown => "nothing",
            Holds::Text => "text",
            Holds::Integer => "integers",
            Holds::Number => "numbers with fractions",
            Holds::Boolean => "true and false",
            Holds::Timestamp => "points in time",
            Holds::Date => "days",
            Holds::Time => "times of day",
            Holds::Decimal => "decimals",
            Holds::Uuid => "UUIDs",
            Holds::Binary => "bytes",
        }
    }
}

/// A column of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// Its name in the value.
    pub name: String,
    /// What it holds.
    pub holds: Holds,
}

/// Why columns can't be written by a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// One sentence.
    pub what: String,
    /// Why.
    pub cause: String,
    /// What the user may do.
    pub remedy: String,
}

/// How a row becomes a record: its fields in the schema's order.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordPlan {
    /// The fields.
    pub fields: Vec<PlannedField>,
}

/// One field.
#[derive(Debug, Clone, PartialEq)]
pub enum PlannedField {
    /// No column is it: always the same bytes, of its default.
    Constant(Vec<u8>),
    /// A column is it.
    Column(ColumnField),
}

/// A field that is made of a column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnField {
    /// The column's place among those that were given.
    pub column: usize,
    /// What is written of a value that isn't there, if the type allows that.
    pub null: Option<Vec<u8>>,
    /// What is written before a value: its place in the union.
    pub before: Vec<u8>,
    /// What a value is.
    pub target: Target,
}

/// The type of a value that is there.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// One without parts.
    Scalar(Scalar),
    /// One of these words.
    Enum(Vec<String>),
    /// So many bytes.
    Fixed(usize),
    /// A decimal in so many bytes.
    FixedDecimal {
        /// How many.
        bytes: usize,
        /// Digits.
        precision: u32,
        /// Digits after the point.
        scale: u32,
    },
}

impl ColumnField {
    /// Writes what a text becomes; an empty one is null where that may be.
    ///
    /// # Errors
    /// What the text should be.
    #[inline]
    pub fn write_text(&self, out: &mut Vec<u8>, text: &[u8]) -> Result<(), &'static str> {
        if text.is_empty()
            && let Some(null) = &self.null
        {
            out.extend_from_slice(null);
            return Ok(());
        }
        out.extend_from_slice(&self.before);
        match self.target.write_text(out, text) {
            true => Ok(()),
            false => Err(self.target.expected()),
        }
    }

    /// Writes that there is no value.
    ///
    /// # Errors
    /// What there should be, if null may not be.
    pub fn write_null(&self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let null = self.null.as_ref().ok_or("a value, which its Avro type wants")?;
        out.extend_from_slice(null);
        Ok(())
    }
}

impl Target {
    /// Writes the value that a text is; false if it is none.
    #[inline]
    pub fn write_text(&self, out: &mut Vec<u8>, text: &[u8]) -> bool {
        match self {
            Target::Scalar(scalar) => write_scalar(out, *scalar, text),
            Target::Enum(symbols) => {
                let found = symbols.iter().position(|symbol| symbol.as_bytes() == text);
                found.map(|index| write_long(out, index as i64)).is_some()
            }
            Target::Fixed(bytes) => {
                let fits = text.len() == *bytes;
                out.extend_from_slice(if fits { text } else { &[] });
                fits
            }
            Target::FixedDecimal { bytes, precision, scale } => unscaled(text, *precision, *scale)
                .is_some_and(|number| write_fixed_decimal(out, number, *bytes)),
        }
    }

    /// Writes bytes that are no text; false if they aren't of the type.
    pub fn write_binary(&self, out: &mut Vec<u8>, bytes: &[u8]) -> bool {
        match self {
            Target::Scalar(Scalar::Bytes) => {
                write_bytes(out, bytes);
                true
            }
            Target::Fixed(_) => self.write_text(out, bytes),
            _ => false,
        }
    }

    /// What a value should be, with its article.
    pub const fn expected(&self) -> &'static str {
        match self {
            Target::Scalar(scalar) => scalar.expected(),
            Target::Enum(_) => "a symbol of its Avro enum",
            Target::Fixed(_) => "as many bytes as its Avro fixed has",
            Target::FixedDecimal { .. } => "a decimal of its Avro type's precision and scale",
        }
    }
}

impl RecordPlan {
    /// Holds a schema against the columns of a value.
    ///
    /// # Errors
    /// A field without a column or default, a column without a field, or one that holds what its
    /// field can't; with the column, the type, and what to do.
    pub fn of(schema: &Schema, columns: &[SourceColumn]) -> Result<RecordPlan, Mismatch> {
        let fields = record_fields(schema)?;
        if let Some(mismatch) = colliding(columns.iter().map(|column| column.name.as_str())) {
            return Err(mismatch);
        }
        let names: Vec<String> = columns.iter().map(|column| field_name(&column.name)).collect();
        let mut used = vec![false; columns.len()];
        let mut planned = Vec::with_capacity(fields.len());
        for field in fields {
            let is_it = |name: &String| *name == field.name || field.aliases.contains(name);
            planned.push(match names.iter().position(is_it) {
                Some(column) => {
                    used[column] = true;
                    plan_column(schema, field, column, &columns[column])?
                }
                None => PlannedField::Constant(default_bytes(schema, field, columns)?),
            });
        }
        match used.iter().position(|used| !used) {
            Some(column) => Err(without_field(&columns[column].name, fields)),
            None => Ok(RecordPlan { fields: planned }),
        }
    }
}

/// The fields of a schema, which must be that of a record.
pub fn record_fields(schema: &Schema) -> Result<&[Field], Mismatch> {
    schema.fields().ok_or_else(|| Mismatch {
        what: "the Avro schema isn't a record's".to_owned(),
        cause: format!("it is {}; a row has named columns", schema.type_in_words(&schema.root)),
        remedy: "give a schema of \"type\": \"record\"".to_owned(),
    })
}

/// What of the schema's default is written where no column is a field.
pub fn default_bytes(
    schema: &Schema,
    field: &Field,
    columns: &[SourceColumn],
) -> Result<Vec<u8>, Mismatch> {
    let mut bytes = Vec::new();
    if let Some(default) = &field.default {
        if write_default(schema, &field.of, default, &mut bytes) {
            return Ok(bytes);
        }
        return Err(Mismatch {
            what: format!("the Avro field {:?} has a default that isn't of its type", field.name),
            cause: format!("{default} is no {}", schema.type_in_words(&field.of)),
            remedy: "correct the schema".to_owned(),
        });
    }
    let near = nearest(&field.name, columns.iter().map(|column| column.name.as_str()));
    let name = &field.name;
    Err(Mismatch {
        what: format!("no column is the Avro field {name:?}, and it has no default"),
        cause: format!("the schema wants {} there", schema.type_in_words(&field.of)),
        remedy: match near {
            Some(near) => format!("name the column so: --rename '{near}={name}'"),
            None => format!(
                "name the column that it is: --rename COLUMN={name}; or give the field a default"
            ),
        },
    })
}

/// That the schema has no field for a column.
pub fn without_field(column: &str, fields: &[Field]) -> Mismatch {
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let near = nearest(&field_name(column), names.iter().copied());
    let leave_out = "leave the column out: --select with the others; or add it to the schema";
    Mismatch {
        what: format!("the Avro schema has no field for the column {column:?}"),
        cause: format!("its fields are {}", names.join(", ")),
        remedy: match near {
            Some(near) => format!("if it is {near}: --rename '{column}={near}'; else {leave_out}"),
            None => leave_out.to_owned(),
        },
    }
}

fn plan_column(
    schema: &Schema,
    field: &Field,
    column: usize,
    source: &SourceColumn,
) -> Result<PlannedField, Mismatch> {
    let refused = |cause: String, remedy: String| Mismatch {
        what: format!(
            "the column {:?} can't be the Avro field {:?}, which is {}",
            source.name,
            field.name,
            schema.type_in_words(&field.of)
        ),
        cause,
        remedy,
    };
    let of_one_value = || {
        refused(
            "a column is written as one value, or null".to_owned(),
            "give the field one type, or a union of null and one".to_owned(),
        )
    };
    let is_null = |branch: &Type| *branch == Type::Scalar(Scalar::Null);
    let branch_bytes = |index: usize| {
        let mut bytes = Vec::new();
        write_long(&mut bytes, index as i64);
        bytes
    };
    let (null, before, of) = match &field.of {
        Type::Union(branches) => {
            let null = branches.iter().position(is_null).map(branch_bytes);
            let mut values = branches.iter().enumerate().filter(|(_, branch)| !is_null(branch));
            match (values.next(), values.next()) {
                (Some((index, branch)), None) => (null, branch_bytes(index), branch),
                _ => return Err(of_one_value()),
            }
        }
        other => (None, Vec::new(), other),
    };
    let target = target(schema, of, source.holds).ok_or_else(of_one_value)?;
    if !can_become(source.holds, &target) {
        let cause = format!("it holds {}", source.holds.in_words());
        let remedy = "change the field's type; or, of a CSV file, say what the column is with \
                      --type COLUMN=TYPE";
        return Err(refused(cause, remedy.to_owned()));
    }
    Ok(PlannedField::Column(ColumnField { column, null, before, target }))
}

fn target(schema: &Schema, of: &Type, holds: Holds) -> Option<Target> {
    match of {
        // The count of a time, where the schema doesn't say that it is one.
        Type::Scalar(Scalar::Long) if holds == Holds::Timestamp => {
            Some(Target::Scalar(Scalar::Timestamp { unit: Fraction::Millis, is_local: false }))
        }
        Type::Scalar(scalar) => Some(Target::Scalar(*scalar)),
        Type::Named(index) => match &schema.named.get(*index)?.body {
            Body::Record(_) => None,
            Body::Enum(symbols) => Some(Target::Enum(symbols.clone())),
            Body::Fixed { bytes, decimal: None } => Some(Target::Fixed(*bytes)),
            Body::Fixed { bytes, decimal: Some((precision, scale)) } => {
                let (bytes, precision, scale) = (*bytes, *precision, *scale);
                Some(Target::FixedDecimal { bytes, precision, scale })
            }
        },
        Type::Array(_) | Type::Map(_) | Type::Union(_) => None,
    }
}

/// Whether values of a column may be of a type; whether each is, is seen when it is written.
fn can_become(holds: Holds, target: &Target) -> bool {
    use Holds as H;
    let decimals = [H::Integer, H::Number, H::Decimal, H::Text];
    let scalar = match target {
        _ if holds == H::Unknown => return true,
        Target::Scalar(scalar) => *scalar,
        Target::Enum(_) => return holds == H::Text,
        Target::Fixed(_) => return holds == H::Binary || holds == H::Text,
        Target::FixedDecimal { .. } => return decimals.contains(&holds),
    };
    match scalar {
        Scalar::Null => false,
        Scalar::String => holds != H::Binary,
        Scalar::Bytes => holds == H::Binary || holds == H::Text,
        Scalar::Int | Scalar::Long => holds == H::Integer,
        Scalar::Float | Scalar::Double => {
            matches!(holds, H::Integer | H::Number | H::Decimal)
        }
        Scalar::Boolean => holds == H::Boolean,
        Scalar::Uuid => matches!(holds, H::Text | H::Uuid),
        Scalar::Date => matches!(holds, H::Text | H::Date),
        Scalar::Time(_) => matches!(holds, H::Text | H::Time),
        Scalar::Timestamp { .. } => {
            matches!(holds, H::Text | H::Timestamp | H::Date | H::Integer)
        }
        Scalar::Decimal { .. } => decimals.contains(&holds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn column(name: &str, holds: Holds) -> SourceColumn {
        SourceColumn { name: name.to_owned(), holds }
    }

    fn schema(fields: &str) -> Schema {
        Schema::parse(&format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#)).unwrap()
    }

    fn write(schema: &Schema, columns: &[SourceColumn], row: &[&str]) -> Vec<u8> {
        let mut out = vec![];
        for field in RecordPlan::of(schema, columns).unwrap().fields {
            match field {
                PlannedField::Constant(bytes) => out.extend(bytes),
                PlannedField::Column(field) => {
                    field.write_text(&mut out, row[field.column].as_bytes()).unwrap();
                }
            }
        }
        out
    }

    #[test]
    fn fields_come_in_the_schemas_order_with_defaults_where_no_column_is() {
        let schema = schema(
            r#"{"name":"b","type":["string","null"]},
               {"name":"more","type":{"type":"array","items":"int"},"default":[1,-1]},
               {"name":"first_id","type":["null","long"]},
               {"name":"kind","type":{"type":"enum","name":"k","symbols":["X","Y"]}},
               {"name":"sum","type":{"type":"fixed","name":"f","size":2,"logicalType":"decimal",
                "precision":4,"scale":1}},
               {"name":"at","type":"long","aliases":["when"]}"#,
        );
        let columns = [
            column("first id", Holds::Integer),
            column("b", Holds::Text),
            column("kind", Holds::Text),
            column("sum", Holds::Number),
            column("when", Holds::Timestamp),
        ];
        let row = ["7", "é", "Y", "-0.1", "1970-01-01T00:00:00.001Z"];
        let expected = [0, 4, 0xc3, 0xa9, 4, 2, 1, 0, 2, 14, 2, 0xff, 0xff, 2];
        assert_eq!(write(&schema, &columns, &row), expected);
        let row = ["", "", "X", "1", "0"];
        assert_eq!(write(&schema, &columns, &row), [2, 4, 2, 1, 0, 0, 0, 0, 10, 0]);
    }

    #[rstest]
    #[case(r#"{"name":"a","type":"int"}"#, Holds::Text, "holds text")]
    #[case(r#"{"name":"a","type":"boolean"}"#, Holds::Integer, "holds integers")]
    #[case(r#"{"name":"a","type":["null","int","string"]}"#, Holds::Text, "one value, or null")]
    #[case(r#"{"name":"a","type":{"type":"map","values":"int"}}"#, Holds::Text, "as one value")]
    #[case(r#"{"name":"a","type":"null"}"#, Holds::Text, "holds text")]
    fn a_column_of_another_type_is_told_with_both(
        #[case] field: &str,
        #[case] holds: Holds,
        #[case] cause: &str,
    ) {
        let mismatch = RecordPlan::of(&schema(field), &[column("a", holds)]).unwrap_err();
        assert!(mismatch.what.contains("the column \"a\" can't be the Avro field \"a\""));
        assert!(mismatch.cause.contains(cause), "{mismatch:?}");
    }

    #[test]
    fn what_has_no_counterpart_is_told_with_what_to_do() {
        let one = schema(r#"{"name":"user_id","type":"long"}"#);
        let mismatch = RecordPlan::of(&one, &[column("userid", Holds::Integer)]).unwrap_err();
        assert!(mismatch.remedy.contains("--rename 'userid=user_id'"), "{mismatch:?}");
        let both = [column("user id", Holds::Integer), column("x", Holds::Text)];
        let mismatch = RecordPlan::of(&one, &both).unwrap_err();
        assert!(mismatch.what.contains("no field for the column \"x\""), "{mismatch:?}");
        let wrong = schema(r#"{"name":"b","type":"int","default":"x"}"#);
        let mismatch = RecordPlan::of(&wrong, &[]).unwrap_err();
        assert!(mismatch.what.contains("a default that isn't of its type"), "{mismatch:?}");
        let mismatch = RecordPlan::of(&Schema::parse("\"int\"").unwrap(), &[]).unwrap_err();
        assert!(mismatch.what.contains("isn't a record's"), "{mismatch:?}");
    }
}
