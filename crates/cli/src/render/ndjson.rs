//! A line of JSON as a record: checked, its bytes kept, key and time taken out of its fields.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Rendered;
use crate::input::{Line, RowFault};
use crate::time::parse_timestamp;

/// Reads lines of JSON. One lives as long as its file.
#[derive(Debug)]
pub struct NdjsonRenderer {
    key_field: Option<String>,
    timestamp_field: Option<String>,
    key: Vec<u8>,
}

impl NdjsonRenderer {
    /// A renderer that takes key and timestamp from these top-level fields.
    pub fn new(key_field: Option<String>, timestamp_field: Option<String>) -> NdjsonRenderer {
        NdjsonRenderer { key_field, timestamp_field, key: Vec::new() }
    }

    /// The line as a record's parts: the value is the line as it stands.
    pub fn render<'a>(&'a mut self, line: Line<'a>) -> Result<Rendered<'a>, RowFault> {
        let text = std::str::from_utf8(line.bytes)
            .map_err(|_| RowFault::not_utf8("the line", line.bytes))?;
        if self.key_field.is_none() && self.timestamp_field.is_none() {
            serde_json::from_str::<IgnoredAny>(text).map_err(|error| not_json(&error))?;
            return Ok(Rendered { key: None, value: line.bytes, timestamp_ms: None });
        }
        let wanted =
            Wanted { key: self.key_field.as_deref(), timestamp: self.timestamp_field.as_deref() };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let found = wanted.deserialize(&mut deserializer).map_err(|error| not_json(&error))?;
        deserializer.end().map_err(|error| not_json(&error))?;
        let timestamp_ms = match &self.timestamp_field {
            None => None,
            Some(field) => Some(point_in_time(field, found.timestamp)?),
        };
        let mut key = None;
        if let (Some(field), Some(raw)) = (&self.key_field, found.key) {
            key = keep_text(field, raw.get(), &mut self.key)?.then_some(self.key.as_slice());
        }
        Ok(Rendered { key, value: line.bytes, timestamp_ms })
    }
}

fn not_json(error: &serde_json::Error) -> RowFault {
    let reason = error.to_string().replace(" at line 1 column", " at column");
    RowFault::Json { reason }
}

/// Puts a field's text into `kept`: a string's content, a number or boolean as it stands. False for
/// null.
fn keep_text(field: &str, raw: &str, kept: &mut Vec<u8>) -> Result<bool, RowFault> {
    kept.clear();
    match raw.as_bytes().first() {
        Some(b'"') => {
            let text: Cow<'_, str> = serde_json::from_str(raw).map_err(|error| not_json(&error))?;
            kept.extend_from_slice(text.as_bytes());
        }
        Some(b'{' | b'[') => {
            let reason = "it is an object or an array";
            return Err(RowFault::Field { field: field.to_owned(), reason });
        }
        _ if raw == "null" => return Ok(false),
        _ => kept.extend_from_slice(raw.as_bytes()),
    }
    Ok(true)
}

fn point_in_time(field: &str, raw: Option<&RawValue>) -> Result<i64, RowFault> {
    let text = raw.map(RawValue::get).unwrap_or_default();
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    parse_timestamp(inner.as_bytes()).ok_or_else(|| {
        let reason = if raw.is_none() { "it is missing" } else { "it isn't a point in time" };
        RowFault::Field { field: field.to_owned(), reason }
    })
}

/// The fields to look for at the top of an object.
struct Wanted<'w> {
    key: Option<&'w str>,
    timestamp: Option<&'w str>,
}

/// What was found of them, as it stands in the text; of a repeated field the last.
#[derive(Default)]
struct Found<'de> {
    key: Option<&'de RawValue>,
    timestamp: Option<&'de RawValue>,
}

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::default();
        while let Some(FieldName(name)) = map.next_key::<FieldName<'de>>()? {
            let (is_key, is_timestamp) = (self.key == Some(&*name), self.timestamp == Some(&*name));
            if !is_key && !is_timestamp {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let raw = map.next_value::<&'de RawValue>()?;
            if is_key {
                found.key = Some(raw);
            }
            if is_timestamp {
                found.timestamp = Some(raw);
            }
        }
        Ok(found)
    }
}

/// A field's name, borrowed unless it has escapes in it.
#[derive(serde::Deserialize)]
struct FieldName<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn render(
        text: &str,
        key: &str,
        timestamp: &str,
    ) -> Result<(Option<String>, Option<i64>), String> {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let mut renderer = NdjsonRenderer::new(named(key), named(timestamp));
        let line = Line { bytes: text.as_bytes(), number: 1 };
        let rendered = renderer.render(line).map_err(|fault| fault.to_string())?;
        assert_eq!(rendered.value, text.as_bytes());
        let key = rendered.key.map(|key| String::from_utf8(key.to_vec()).unwrap());
        Ok((key, rendered.timestamp_ms))
    }

    #[rstest]
    #[case(r#"{"id":"a\"b","x":{"id":1}}"#, Some("a\"b"))]
    #[case(r#"{"x":[1,2],"id":2103807459595387724}"#, Some("2103807459595387724"))]
    #[case(r#"{"i\u0064":true}"#, Some("true"))]
    #[case(r#"{"id":1,"id":2}"#, Some("2"))]
    #[case(r#"{"id":""}"#, Some(""))]
    #[case(r#"{"id":null}"#, None)]
    #[case(r#"{}"#, None)]
    fn the_key_is_a_fields_text(#[case] text: &str, #[case] key: Option<&str>) {
        assert_eq!(render(text, "id", "").unwrap().0.as_deref(), key);
    }

    #[rstest]
    #[case("{\"id\":[1]}", "has no usable field \"id\": it is an object or an array")]
    #[case("{\"id\":1", "isn't JSON: EOF while parsing an object at column 7")]
    #[case("{\"id\":1} x", "isn't JSON: trailing characters at column 10")]
    #[case("[1]", "isn't JSON: invalid type: sequence, expected an object at column 0")]
    #[case("", "isn't JSON: EOF while parsing a value at column 0")]
    fn what_isnt_usable_says_why(#[case] text: &str, #[case] reason: &str) {
        assert_eq!(render(text, "id", "").unwrap_err(), reason);
    }

    #[test]
    fn a_time_is_taken_from_text_or_number_and_must_be_there() {
        assert_eq!(
            render(r#"{"t":"2019-10-01T00:00:00Z"}"#, "", "t").unwrap().1,
            Some(1_569_888_000_000)
        );
        assert_eq!(render(r#"{"t":1569888000000}"#, "", "t").unwrap().1, Some(1_569_888_000_000));
        assert_eq!(render("{}", "", "t").unwrap_err(), "has no usable field \"t\": it is missing");
        assert_eq!(
            render(r#"{"t":"soon"}"#, "", "t").unwrap_err(),
            "has no usable field \"t\": it isn't a point in time"
        );
    }

    #[test]
    fn without_key_and_time_any_json_is_a_value() {
        assert_eq!(render("[1, 2]", "", ""), Ok((None, None)));
        assert!(render("{'a':1}", "", "").is_err());
        let mut renderer = NdjsonRenderer::new(None, None);
        let line = Line { bytes: b"{\"a\":\"\xff\"}", number: 1 };
        assert!(matches!(
            renderer.render(line),
            Err(RowFault::NotUtf8 { byte: 0xff, position: 7, .. })
        ));
    }
}
