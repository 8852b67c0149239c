//! Values of JSON as Avro's binary encoding has them: whole ones, of any type.
//!
//! Law: the branch of a union is chosen by what its value looks like from outside, so that the work
//! grows with the text and not with the schema's ways to fail. Numbers go by their digits, never
//! through floating point unless the type is that.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::columns::Target;
use super::encode::{write_bytes, write_long};
use super::parse::DEPTH_MAX;
use super::schema::{Body, Field, Scalar, Schema, Type};
use crate::input::RowFault;

/// The fields of an object as they stand.
type Object<'t> = BTreeMap<Cow<'t, str>, &'t RawValue>;

/// Writes a value of JSON, as it stands in a text that is JSON, by its type.
///
/// # Errors
/// What of it, by its path from `name`, isn't of its type.
pub fn write_json(
    schema: &Schema,
    of: &Type,
    name: &str,
    raw: &str,
    out: &mut Vec<u8>,
) -> Result<(), RowFault> {
    let writer = Writer { schema, depth: 0 };
    writer.write(of, name, raw, out)
}

/// What is written of a field that isn't there: its default, or null where that may be; None if
/// it has to be there.
pub fn default_or_null(schema: &Schema, field: &Field) -> Option<Vec<u8>> {
    let default = field.default.as_ref().or_else(|| null_default(&field.of))?;
    let mut bytes = Vec::new();
    write_default(schema, &field.of, default, &mut bytes).then_some(bytes)
}

/// Writes a field's default; false if it isn't of the field's type.
pub fn write_default(schema: &Schema, of: &Type, default: &Value, out: &mut Vec<u8>) -> bool {
    write_json(schema, of, "", &default.to_string(), out).is_ok()
}

#[derive(Clone, Copy)]
struct Writer<'s> {
    schema: &'s Schema,
    depth: usize,
}

impl<'s> Writer<'s> {
    fn write(self, of: &Type, name: &str, raw: &str, out: &mut Vec<u8>) -> Result<(), RowFault> {
        let inner = Writer { depth: self.depth + 1, ..self };
        let wrong = |expected| Err(RowFault::value(name, raw.as_bytes(), expected));
        if self.depth > DEPTH_MAX {
            return wrong("a value of so few values within values");
        }
        match of {
            Type::Scalar(scalar) => write_simple(&Target::Scalar(*scalar), name, raw, out),
            Type::Union(branches) => {
                let chosen = branches.iter().position(|branch| self.looks_like(branch, raw));
                let Some(index) = chosen else {
                    return wrong("of a type that its Avro union has");
                };
                write_long(out, index as i64);
                inner.write(&branches[index], name, raw, out)
            }
            Type::Array(items) => {
                let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(raw) else {
                    return wrong("an array");
                };
                if !values.is_empty() {
                    write_long(out, values.len() as i64);
                    for value in values {
                        inner.write(items, name, value.get(), out)?;
                    }
                }
                out.push(0);
                Ok(())
            }
            Type::Map(values) => {
                let Some(object) = object(raw) else { return wrong("an object") };
                if !object.is_empty() {
                    write_long(out, object.len() as i64);
                    for (key, value) in object {
                        write_bytes(out, key.as_bytes());
                        inner.write(values, &format!("{name}.{key}"), value.get(), out)?;
                    }
                }
                out.push(0);
                Ok(())
            }
            Type::Named(index) => match self.schema.named.get(*index).map(|named| &named.body) {
                Some(Body::Record(fields)) => match object(raw) {
                    Some(object) => inner.write_record(fields, name, &object, out),
                    None => wrong("an object"),
                },
                Some(Body::Enum(symbols)) => {
                    write_simple(&Target::Enum(symbols.clone()), name, raw, out)
                }
                Some(Body::Fixed { bytes, decimal }) => {
                    write_simple(&fixed(*bytes, *decimal), name, raw, out)
                }
                None => wrong("of a type that the Avro schema has"),
            },
        }
    }

    fn write_record(
        self,
        fields: &[Field],
        name: &str,
        object: &Object<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), RowFault> {
        let path = |field: &str| match name {
            "" => field.to_owned(),
            _ => format!("{name}.{field}"),
        };
        for field in fields {
            match object.get(field.name.as_str()) {
                Some(value) => self.write(&field.of, &path(&field.name), value.get(), out)?,
                None => {
                    let default = field.default.as_ref().or_else(|| null_default(&field.of));
                    let text = default.map(Value::to_string).ok_or_else(|| RowFault::Field {
                        field: path(&field.name),
                        reason: "it is missing, and the Avro schema has no default for it",
                    })?;
                    self.write(&field.of, &path(&field.name), &text, out)?;
                }
            }
        }
        let is_known = |key: &str| fields.iter().any(|field| field.name == key);
        match object.keys().find(|key| !is_known(key)) {
            Some(key) => Err(not_in_schema(path(key))),
            None => Ok(()),
        }
    }

    /// Whether a value is of a type, as far as that is seen from outside.
    fn looks_like(self, of: &Type, raw: &str) -> bool {
        let body = |index: usize| self.schema.named.get(index).map(|named| &named.body);
        let simple = |target: &Target| write_simple(target, "", raw, &mut Vec::new()).is_ok();
        match of {
            Type::Scalar(scalar) => simple(&Target::Scalar(*scalar)),
            Type::Array(_) => raw.starts_with('['),
            Type::Map(_) => raw.starts_with('{'),
            Type::Union(_) => false,
            Type::Named(index) => match body(*index) {
                Some(Body::Enum(symbols)) => simple(&Target::Enum(symbols.clone())),
                Some(Body::Fixed { bytes, decimal }) => simple(&fixed(*bytes, *decimal)),
                Some(Body::Record(fields)) => object(raw).is_some_and(|object| {
                    let has = |field: &Field| {
                        object.contains_key(field.name.as_str())
                            || field.default.is_some()
                            || null_default(&field.of).is_some()
                    };
                    let is_known = |key: &str| fields.iter().any(|field| field.name == key);
                    fields.iter().all(has) && object.keys().all(|key| is_known(key))
                }),
                None => false,
            },
        }
    }
}

/// That a line has what the schema doesn't.
pub fn not_in_schema(field: String) -> RowFault {
    RowFault::Field { field, reason: "the Avro schema doesn't have it" }
}

/// Null, for a field that is missing where it may be null.
fn null_default(of: &Type) -> Option<&'static Value> {
    const NULL: &Value = &Value::Null;
    let is_null = |of: &Type| *of == Type::Scalar(Scalar::Null);
    match of {
        Type::Union(branches) if branches.iter().any(is_null) => Some(NULL),
        other => is_null(other).then_some(NULL),
    }
}

fn fixed(bytes: usize, decimal: Option<(u32, u32)>) -> Target {
    match decimal {
        Some((precision, scale)) => Target::FixedDecimal { bytes, precision, scale },
        None => Target::Fixed(bytes),
    }
}

fn object(raw: &str) -> Option<Object<'_>> {
    serde_json::from_str(raw).ok()
}

/// Writes a value without parts: a number or word by its text, or a string by its content.
fn write_simple(target: &Target, name: &str, raw: &str, out: &mut Vec<u8>) -> Result<(), RowFault> {
    use Scalar as S;
    let wrong = || RowFault::value(name, raw.as_bytes(), target.expected());
    let of_number = matches!(
        target,
        Target::Scalar(
            S::Int | S::Long | S::Float | S::Double | S::Timestamp { .. } | S::Decimal { .. }
        ) | Target::FixedDecimal { .. }
    );
    let of_text = !matches!(
        target,
        Target::Scalar(S::Null | S::Boolean | S::Int | S::Long | S::Float | S::Double)
    );
    let is_written = match raw.as_bytes().first() {
        Some(b'"') if of_text => {
            let text: Cow<'_, str> = serde_json::from_str(raw).map_err(|_| wrong())?;
            match target {
                Target::Scalar(S::Bytes) | Target::Fixed(_) => {
                    let bytes: Option<Vec<u8>> =
                        text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
                    bytes.is_some_and(|bytes| target.write_binary(out, &bytes))
                }
                _ => target.write_text(out, text.as_bytes()),
            }
        }
        Some(b'-' | b'0'..=b'9') if of_number => target.write_text(out, raw.as_bytes()),
        Some(b't' | b'f') if *target == Target::Scalar(S::Boolean) => {
            target.write_text(out, raw.as_bytes())
        }
        Some(b'n') => *target == Target::Scalar(S::Null),
        _ => false,
    };
    if is_written { Ok(()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const NODE: &str = r#"{"type":"record","name":"Node","fields":[
        {"name":"id","type":"long"},
        {"name":"tags","type":{"type":"array","items":"string"},"default":[]},
        {"name":"sums","type":{"type":"map","values":{"type":"bytes","logicalType":"decimal",
            "precision":30,"scale":2}}},
        {"name":"next","type":["null","Node","string"]}]}"#;

    fn write(schema: &str, raw: &str) -> Result<Vec<u8>, String> {
        let schema = Schema::parse(schema).unwrap();
        let mut out = vec![];
        let written = write_json(&schema, &schema.root, "", raw, &mut out);
        written.map(|()| out).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_value_within_values_goes_by_its_digits() {
        let raw = r#"{"id":-1,"tags":["é"],"sums":{"x":-1.28},
                      "next":{"id":2,"sums":{},"next":"end"}}"#;
        let expected =
            [1, 2, 4, 0xc3, 0xa9, 0, 2, 2, b'x', 2, 0x80, 0, 2, 4, 0, 0, 4, 6, b'e', b'n', b'd'];
        assert_eq!(write(NODE, raw).unwrap(), expected);
        let long = r#"{"id":1,"sums":{"x":1234567890123456789012345678.91},"next":null}"#;
        assert!(write(NODE, long).is_ok());
    }

    #[rstest]
    #[case(r#"{"id":1.5,"sums":{},"next":null}"#, "holds \"1.5\" in column id")]
    #[case(r#"{"sums":{},"next":null}"#, "\"id\": it is missing")]
    #[case(r#"{"id":1,"sums":{},"x":1}"#, "\"x\": the Avro schema doesn't have it")]
    #[case(r#"{"id":1,"sums":{"a":"b"}}"#, "in column sums.a")]
    #[case(r#"{"id":1,"sums":{},"next":7}"#, "which isn't of a type that its Avro union has")]
    #[case(r#"{"id":1,"sums":[],"next":null}"#, "in column sums, which isn't an object")]
    #[case("[]", "which isn't an object")]
    fn what_isnt_of_its_type_is_told_by_its_path(#[case] raw: &str, #[case] expected: &str) {
        let error = write(NODE, raw).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_value_too_deep_ends() {
        let raw = format!("{}null{}", r#"{"id":1,"sums":{},"next":"#.repeat(90), "}".repeat(90));
        assert!(write(NODE, &raw).unwrap_err().contains("values within values"));
    }

    #[test]
    fn bytes_are_characters_up_to_255() {
        assert_eq!(write("\"bytes\"", "\"\\u00ffa\"").unwrap(), [4, 0xff, b'a']);
        assert!(write("\"bytes\"", "\"\\u0100\"").is_err());
        let fixed = r#"{"type":"fixed","name":"f","size":2}"#;
        assert!(write(fixed, "\"ab\"").is_ok() && write(fixed, "\"abc\"").is_err());
    }
}
