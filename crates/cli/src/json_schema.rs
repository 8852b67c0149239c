//! A JSON Schema made of columns (draft 7), as registries take it.
//!
//! Laws: the same columns give the same text to the byte; an object has these properties and no
//! others, so that a column that is added is compatible with what readers know.

use std::fmt::Write as _;

use serde_json::Value;

/// A column as a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// The JSON types that its values have: one, or several.
    pub types: Vec<&'static str>,
}

/// The schema of an object of these columns, as text.
pub fn schema_text(title: &str, properties: &[Property]) -> String {
    let mut text = format!(
        "{{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"title\":{},\
         \"type\":\"object\",\"additionalProperties\":false,\"properties\":{{",
        Value::from(title)
    );
    for (place, property) in properties.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let types = match property.types.as_slice() {
            [one] => Value::from(*one),
            several => Value::from(several),
        };
        let name = Value::from(property.name.as_str());
        let _ = write!(text, "{comma}{name}:{{\"type\":{types}}}");
    }
    text.push_str("}}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_properties_by_their_types() {
        let property = |name: &str, types: &[&'static str]| Property {
            name: name.to_owned(),
            types: types.to_vec(),
        };
        let properties = [property("id", &["integer", "null"]), property("a \"b\"", &["string"])];
        let text = schema_text("t", &properties);
        assert_eq!(
            text,
            "{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"title\":\"t\",\
             \"type\":\"object\",\"additionalProperties\":false,\"properties\":{\
             \"id\":{\"type\":[\"integer\",\"null\"]},\"a \\\"b\\\"\":{\"type\":\"string\"}}}"
        );
        assert!(serde_json::from_str::<Value>(&schema_text("", &[])).is_ok());
    }
}
