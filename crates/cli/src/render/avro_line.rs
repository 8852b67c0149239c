//! A line of JSON as an Avro record: each field of the schema out of the line's field of its name.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::ndjson::{FieldName, NdjsonRenderer, RecordFields};
use super::{NAMES_KEPT_MAX, Rendered};
use crate::avro::Schema;
use crate::avro::derive::field_name;
use crate::avro::from_json::{default_or_null, not_in_schema, write_json};
use crate::avro::schema::Field;
use crate::input::{Line, RowFault};

/// Writes lines as Avro records. One lives as long as its file.
#[derive(Debug)]
pub struct AvroLineRenderer {
    /// Makes key, time, partition and headers.
    parts: NdjsonRenderer,
    schema: Arc<Schema>,
    /// What is written of each field that a line lacks, if that may be.
    defaults: Vec<Option<Vec<u8>>>,
    names: Names,
    /// Where in the line each field's value is: its first byte, and the one after its last.
    found: Vec<Option<(usize, usize)>>,
    out: Vec<u8>,
    prefix: Vec<u8>,
}

/// Which field of the schema a line's field is.
#[derive(Debug)]
struct Names {
    select: Vec<String>,
    rename: Vec<(String, String)>,
    /// By the names met so far.
    known: HashMap<String, Named>,
}

#[derive(Debug, Clone, Copy)]
enum Named {
    Field(usize),
    /// It is left out by the user's own word.
    LeftOut,
    Unknown,
}

impl Names {
    fn find(&mut self, fields: &[Field], name: &str) -> Named {
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        let renamed = self.rename.iter().find(|(old, _)| old == name);
        let avro_name = field_name(renamed.map_or(name, |(_, new)| new));
        let is_it = |field: &Field| field.name == avro_name || field.aliases.contains(&avro_name);
        let found = match fields.iter().position(is_it) {
            _ if !self.select.is_empty() && !self.select.iter().any(|chosen| chosen == name) => {
                Named::LeftOut
            }
            Some(index) => Named::Field(index),
            None => Named::Unknown,
        };
        if self.known.len() < NAMES_KEPT_MAX {
            self.known.insert(name.to_owned(), found);
        }
        found
    }
}

impl AvroLineRenderer {
    /// A renderer that makes records of these fields, and values by a schema, which is a record's.
    pub fn new(fields: RecordFields, schema: Arc<Schema>, prefix: Vec<u8>) -> AvroLineRenderer {
        let RecordFields { select, rename, .. } = fields.clone();
        let parts = NdjsonRenderer::new(RecordFields { select: vec![], rename: vec![], ..fields });
        let of_schema = schema.fields().unwrap_or_default();
        let defaults = of_schema.iter().map(|field| default_or_null(&schema, field)).collect();
        AvroLineRenderer {
            parts,
            defaults,
            names: Names { select, rename, known: HashMap::new() },
            found: vec![None; of_schema.len()],
            schema,
            out: Vec::new(),
            prefix,
        }
    }

    /// The line as a record's parts.
    pub fn render<'a>(&'a mut self, line: Line<'a>) -> Result<Rendered<'a>, RowFault> {
        let Self { parts, schema, defaults, names, found, out, prefix } = self;
        let rendered = parts.render(line)?;
        let text = std::str::from_utf8(line.bytes)
            .map_err(|_| RowFault::not_utf8("the line", line.bytes))?;
        found.fill(None);
        let fields = schema.fields().unwrap_or_default();
        let mut wrong = None;
        let seek = Seek { text, fields, names, found, wrong: &mut wrong };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let sought = seek.deserialize(&mut deserializer).and_then(|()| deserializer.end());
        sought.map_err(|error| RowFault::no_object(text, &error))?;
        if let Some(fault) = wrong {
            return Err(fault);
        }
        out.clear();
        out.extend_from_slice(prefix);
        for ((field, place), default) in fields.iter().zip(found).zip(defaults) {
            let raw = place.and_then(|(start, end)| text.get(start..end));
            match (raw, default) {
                (Some(raw), _) => write_json(schema, &field.of, &field.name, raw, out)?,
                (None, Some(default)) => out.extend_from_slice(default),
                (None, None) => {
                    let reason = "it is missing, and the Avro schema has no default for it";
                    return Err(RowFault::Field { field: field.name.clone(), reason });
                }
            }
        }
        Ok(Rendered { value: out, ..rendered })
    }
}

/// A reading of the fields at the top of an object.
struct Seek<'s> {
    text: &'s str,
    fields: &'s [Field],
    names: &'s mut Names,
    found: &'s mut [Option<(usize, usize)>],
    wrong: &'s mut Option<RowFault>,
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(FieldName(name)) = map.next_key::<FieldName<'de>>()? {
            let raw = map.next_value::<&'de RawValue>()?.get();
            match self.names.find(self.fields, &name) {
                Named::LeftOut => {}
                Named::Unknown => *self.wrong = Some(not_in_schema(name.into_owned())),
                Named::Field(index) if self.found[index].is_some() => {
                    let reason = "another field of the line is the same one in Avro";
                    *self.wrong = Some(RowFault::Field { field: name.into_owned(), reason });
                }
                Named::Field(index) => {
                    let start = raw.as_ptr().addr() - self.text.as_ptr().addr();
                    self.found[index] = Some((start, start + raw.len()));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn render(fields: RecordFields, line: &str) -> Result<(Option<Vec<u8>>, Vec<u8>), String> {
        let schema = Schema::parse(
            r#"{"type":"record","name":"r","fields":[
                {"name":"a_b","type":["null","long"]},
                {"name":"s","type":"string"},
                {"name":"n","type":"int","default":-1}]}"#,
        );
        let mut renderer = AvroLineRenderer::new(fields, Arc::new(schema.unwrap()), vec![9]);
        let line = Line { bytes: line.as_bytes(), number: 1 };
        let rendered = renderer.render(line).map_err(|fault| fault.to_string())?;
        Ok((rendered.key.map(<[u8]>::to_vec), rendered.value.to_vec()))
    }

    #[test]
    fn fields_are_found_by_their_names_in_avro_wherever_they_stand() {
        let keyed = RecordFields { key: vec!["s".to_owned()], ..RecordFields::default() };
        let line = r#" {"s":"x","n":2,"a b":-1} "#;
        let expected = (Some(b"x".to_vec()), vec![9, 2, 1, 2, b'x', 4]);
        assert_eq!(render(keyed, line), Ok(expected));
        let lacking = render(RecordFields::default(), r#"{"s":""}"#).unwrap();
        assert_eq!(lacking.1, [9, 0, 0, 1], "null and the default");
        let shaped = RecordFields {
            select: vec!["t".to_owned(), "n".to_owned()],
            rename: vec![("t".to_owned(), "s".to_owned())],
            ..RecordFields::default()
        };
        let line = r#"{"t":"y","n":1,"left":"out"}"#;
        assert_eq!(render(shaped, line).unwrap().1, [9, 0, 2, b'y', 2]);
    }

    #[rstest]
    #[case(r#"{"s":"x","more":1}"#, "\"more\": the Avro schema doesn't have it")]
    #[case(r#"{"n":1}"#, "\"s\": it is missing, and the Avro schema has no default for it")]
    #[case(r#"{"s":null}"#, "holds \"null\" in column s, which isn't text")]
    #[case(r#"{"s":"x","a b":1,"a_b":2}"#, "another field of the line is the same one in Avro")]
    #[case("[1]", "is JSON, but not an object with fields")]
    fn a_line_that_isnt_of_the_schema_is_bad(#[case] line: &str, #[case] expected: &str) {
        let error = render(RecordFields::default(), line).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
