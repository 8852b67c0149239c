//! Values as `consume` shows them: those that a schema was written by as JSON, all others as they
//! are.
//!
//! Law: what can't be read is shown as it is, and the first such value is told of; a schema is
//! asked for once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use streamledger::schema_registry::{SchemaId, SchemaRegistry, SchemaType};

use crate::avro::Schema;
use crate::avro::decode::to_json;

/// So many schemas are kept in mind.
const SCHEMAS_MAX: usize = 1000;

/// Reads values by their schemas.
#[derive(Debug)]
pub struct ValueReader {
    registry: Option<SchemaRegistry>,
    /// The schema of values that have no id in front.
    given: Option<Arc<Schema>>,
    known: HashMap<SchemaId, Known>,
    has_told: bool,
}

/// What a registry has under an id.
#[derive(Debug, Clone)]
enum Known {
    Avro(Arc<Schema>),
    Json,
    /// Nothing that can be read.
    Other,
}

impl ValueReader {
    /// A reader by a registry's schemas, or by one that is given.
    pub fn new(registry: Option<SchemaRegistry>, given: Option<Arc<Schema>>) -> ValueReader {
        ValueReader { registry, given, known: HashMap::new(), has_told: false }
    }

    /// The value to be shown; `tell` is called with what a person should know.
    pub fn shown<'v>(&mut self, value: &'v [u8], mut tell: impl FnMut(&str)) -> Cow<'v, [u8]> {
        let read = match (&self.registry, &self.given, SchemaId::split(value)) {
            (Some(_), _, Some((id, rest))) => match self.schema(id) {
                Ok(Known::Avro(schema)) => read(&schema, rest),
                Ok(Known::Json) => return Cow::Borrowed(rest),
                Ok(Known::Other) => Err(format!("its schema {id} is none that can be read")),
                Err(reason) => Err(reason),
            },
            (_, Some(schema), _) => read(schema, value),
            _ => return Cow::Borrowed(value),
        };
        match read {
            Ok(json) => Cow::Owned(json.into_bytes()),
            Err(reason) => {
                if !self.has_told {
                    tell(&format!("a value is shown as it is: {reason}"));
                    self.has_told = true;
                }
                Cow::Borrowed(value)
            }
        }
    }

    fn schema(&mut self, id: SchemaId) -> Result<Known, String> {
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone());
        }
        let Some(registry) = &self.registry else { return Ok(Known::Other) };
        let found = match registry.by_id(id) {
            Ok(schema) => match schema.schema_type {
                SchemaType::Avro => Schema::parse(&schema.text)
                    .map_or(Known::Other, |schema| Known::Avro(Arc::new(schema))),
                SchemaType::Json => Known::Json,
                SchemaType::Other(_) => Known::Other,
            },
            Err(error) => {
                // Asked once: each record would wait for it again.
                self.known.insert(id, Known::Other);
                return Err(error.to_string());
            }
        };
        if self.known.len() < SCHEMAS_MAX {
            self.known.insert(id, found.clone());
        }
        Ok(found)
    }
}

fn read(schema: &Schema, value: &[u8]) -> Result<String, String> {
    to_json(schema, value).map_err(|fault| format!("by its Avro schema {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_by_the_given_schema_or_shown_as_it_is() {
        let schema = Schema::parse("\"string\"").unwrap();
        let mut reader = ValueReader::new(None, Some(Arc::new(schema)));
        let mut told = vec![];
        let shown = |reader: &mut ValueReader, value: &[u8], told: &mut Vec<String>| {
            reader.shown(value, |text| told.push(text.to_owned())).into_owned()
        };
        assert_eq!(shown(&mut reader, &[2, b'x'], &mut told), b"\"x\"");
        assert_eq!(shown(&mut reader, &[9], &mut told), [9]);
        assert_eq!(shown(&mut reader, &[7], &mut told), [7]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("by its Avro schema it"), "{told:?}");
        let mut plain = ValueReader::new(None, None);
        assert_eq!(shown(&mut plain, &[0, 0, 0, 0, 1, 2], &mut told), [0, 0, 0, 0, 1, 2]);
    }
}
