//! A line of JSON as a record: checked, its bytes kept unless fields are chosen or renamed; key,
//! time, partition and headers taken out of its fields.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::headers::HeaderBuffer;
use super::json_buffer::{ESCAPE_GROWTH, JsonBuffer};
use super::{Rendered, partition_of_text};
use crate::input::{Line, RowFault};
use crate::time::parse_timestamp;

/// Which fields at the top of a line's object give what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordFields {
    /// The key: nothing, a field's text, or an object of several fields.
    pub key: Vec<String>,
    /// The record's time.
    pub timestamp: Option<String>,
    /// The record's partition.
    pub partition: Option<String>,
    /// The headers, in order: their names and fields.
    pub headers: Vec<(String, String)>,
    /// The fields of the value, in order; all as they come if there are none.
    pub select: Vec<String>,
    /// Fields that get another name in the value: the old and the new.
    pub rename: Vec<(String, String)>,
    /// How many partitions the topic has, if that is known.
    pub partition_count: Option<i32>,
}

impl RecordFields {
    /// The name of a field in the value.
    fn output_name<'a>(&'a self, field: &'a str) -> &'a str {
        self.rename.iter().find(|(old, _)| old == field).map_or(field, |(_, new)| new)
    }
}

/// Reads lines of JSON. One lives as long as its file.
#[derive(Debug)]
pub struct NdjsonRenderer {
    fields: RecordFields,
    /// The fields that are looked for, each once.
    wanted: Vec<String>,
    /// Where in the line the value of each of them is; of a repeated field the last.
    found: Vec<Option<Place>>,
    /// Of each field that gets another name: what of the line has that name.
    named: Vec<Named>,
    /// The line with its fields renamed or chosen.
    value: Vec<u8>,
    key: Vec<u8>,
    headers: HeaderBuffer,
}

/// Whether a line has a field that gets a name, and one that has that name of itself.
#[derive(Debug, Clone, Copy, Default)]
struct Named {
    by_renaming: bool,
    of_itself: bool,
}

/// A part of a line.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    end: usize,
}

impl NdjsonRenderer {
    /// A renderer that makes records of these fields.
    pub fn new(fields: RecordFields) -> NdjsonRenderer {
        let mut wanted: Vec<String> = Vec::new();
        let of_headers = fields.headers.iter().map(|(_, field)| field);
        let all = (fields.key.iter().chain(&fields.timestamp).chain(&fields.partition))
            .chain(of_headers)
            .chain(&fields.select);
        for field in all {
            if !wanted.contains(field) {
                wanted.push(field.clone());
            }
        }
        NdjsonRenderer {
            found: vec![None; wanted.len()],
            wanted,
            named: vec![Named::default(); fields.rename.len()],
            value: Vec::new(),
            key: Vec::new(),
            headers: HeaderBuffer::new(
                fields.headers.iter().map(|(name, _)| name.clone()).collect(),
            ),
            fields,
        }
    }

    /// The line as a record's parts.
    pub fn render<'a>(&'a mut self, line: Line<'a>) -> Result<Rendered<'a>, RowFault> {
        let text = std::str::from_utf8(line.bytes)
            .map_err(|_| RowFault::not_utf8("the line", line.bytes))?;
        if self.wanted.is_empty() && self.fields.rename.is_empty() {
            serde_json::from_str::<IgnoredAny>(text).map_err(|error| not_json(&error))?;
            return Ok(Rendered { value: line.bytes, ..Rendered::default() });
        }
        self.scan(text)?;
        let timestamp_ms = match &self.fields.timestamp {
            None => None,
            Some(field) => Some(point_in_time(field, self.raw(text, field))?),
        };
        let partition = match &self.fields.partition {
            None => None,
            Some(field) => Some(self.partition(field, self.raw(text, field))?),
        };
        self.write_headers(text)?;
        let has_key = self.write_key(text)?;
        let value = if !self.fields.select.is_empty() {
            self.write_selected(text);
            self.value.as_slice()
        } else if !self.fields.rename.is_empty() {
            self.value.as_slice()
        } else {
            line.bytes
        };
        let key = has_key.then_some(self.key.as_slice());
        Ok(Rendered { key, value, timestamp_ms, partition, headers: self.headers.written() })
    }

    /// Looks for the fields, and writes the value if all are taken over under other names.
    fn scan(&mut self, text: &str) -> Result<(), RowFault> {
        self.found.fill(None);
        self.named.fill(Named::default());
        self.value.clear();
        let scan = Scan {
            text,
            wanted: &self.wanted,
            found: &mut self.found,
            renamed: self.fields.select.is_empty().then_some(&self.fields),
            named: &mut self.named,
            value: &mut self.value,
        };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let scanned = scan.deserialize(&mut deserializer);
        scanned.map_err(|error| RowFault::no_object(text, &error))?;
        deserializer.end().map_err(|error| not_json(&error))?;
        match self.named.iter().position(|named| named.by_renaming && named.of_itself) {
            None => Ok(()),
            Some(index) => Err(RowFault::Field {
                field: self.fields.rename[index].1.clone(),
                reason: "another field is renamed to it",
            }),
        }
    }

    /// A field as it stands in the line.
    fn raw<'t>(&self, text: &'t str, field: &str) -> Option<&'t str> {
        let index = self.wanted.iter().position(|wanted| wanted == field)?;
        let Place { start, end } = self.found[index]?;
        text.get(start..end)
    }

    fn partition(&self, field: &str, raw: Option<&str>) -> Result<i32, RowFault> {
        let text = unquoted(raw.unwrap_or_default());
        partition_of_text(text.as_bytes(), self.fields.partition_count).ok_or_else(|| {
            let reason =
                if raw.is_none() { "it is missing" } else { "it isn't a partition of the topic" };
            RowFault::Field { field: field.to_owned(), reason }
        })
    }

    /// A header is a field's text; null where that is null or missing; an object or array as it
    /// stands.
    fn write_headers(&mut self, text: &str) -> Result<(), RowFault> {
        self.headers.begin();
        for (_, field) in &self.fields.headers {
            let index = self.wanted.iter().position(|wanted| wanted == field);
            let place = index.and_then(|index| self.found[index]);
            let raw = place.and_then(|Place { start, end }| text.get(start..end));
            self.headers.push(|bytes| match raw {
                None | Some("null") => Ok(false),
                Some(raw) => write_text(raw, bytes).map(|()| true),
            })?;
        }
        Ok(())
    }

    /// Writes the key; false if there is none.
    fn write_key(&mut self, text: &str) -> Result<bool, RowFault> {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        let mut has_key = false;
        for (place, field) in self.fields.key.iter().enumerate() {
            let raw = self.raw(text, field).unwrap_or("null");
            if raw.starts_with(['{', '[']) {
                let reason = "it is an object or an array";
                return Err(RowFault::Field { field: field.clone(), reason });
            }
            has_key |= raw != "null";
            if self.fields.key.len() > 1 {
                write_name(&mut key, place == 0, field);
                key.extend_from_slice(raw.as_bytes());
            } else if raw != "null" {
                write_text(raw, &mut key)?;
            }
        }
        if self.fields.key.len() > 1 {
            key.push(b'}');
        }
        self.key = key;
        Ok(has_key)
    }

    /// Writes the fields that were chosen, in that order; those the line lacks are left out.
    fn write_selected(&mut self, text: &str) {
        let mut value = std::mem::take(&mut self.value);
        let mut is_first = true;
        for field in &self.fields.select {
            if let Some(raw) = self.raw(text, field) {
                write_name(&mut value, is_first, self.fields.output_name(field));
                value.extend_from_slice(raw.as_bytes());
                is_first = false;
            }
        }
        value.extend_from_slice(if is_first { b"{}" } else { b"}" });
        self.value = value;
    }
}

/// Writes what stands before a field's value: `{"first":`, `,"second":`.
fn write_name(out: &mut Vec<u8>, is_first: bool, name: &str) {
    out.extend_from_slice(if is_first { b"{\"" } else { b",\"" });
    let mut escaped = JsonBuffer::default();
    if name.bytes().any(|byte| byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        escaped.begin(name.len() * ESCAPE_GROWTH);
        escaped.escaped(name.as_bytes());
        out.extend_from_slice(escaped.written());
    } else {
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(b"\":");
}

fn not_json(error: &serde_json::Error) -> RowFault {
    let reason = error.to_string().replace(" at line 1 column", " at column");
    RowFault::Json { reason }
}

/// Adds a field's text: a string's content, all else as it stands.
fn write_text(raw: &str, bytes: &mut Vec<u8>) -> Result<(), RowFault> {
    if !raw.starts_with('"') {
        bytes.extend_from_slice(raw.as_bytes());
        return Ok(());
    }
    let text: Cow<'_, str> = serde_json::from_str(raw).map_err(|error| not_json(&error))?;
    bytes.extend_from_slice(text.as_bytes());
    Ok(())
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

fn point_in_time(field: &str, raw: Option<&str>) -> Result<i64, RowFault> {
    parse_timestamp(unquoted(raw.unwrap_or_default()).as_bytes()).ok_or_else(|| {
        let reason = if raw.is_none() { "it is missing" } else { "it isn't a point in time" };
        RowFault::Field { field: field.to_owned(), reason }
    })
}

/// A reading of the fields at the top of an object.
struct Scan<'s> {
    text: &'s str,
    wanted: &'s [String],
    found: &'s mut [Option<Place>],
    /// Given if the value has all fields, renamed.
    renamed: Option<&'s RecordFields>,
    named: &'s mut [Named],
    value: &'s mut Vec<u8>,
}

impl Scan<'_> {
    /// Looks whether a field is renamed, or has a name that another may get.
    fn see_name(&mut self, rename: &[(String, String)], name: &str) {
        match rename.iter().position(|(old, _)| old == name) {
            Some(index) => self.named[index].by_renaming = true,
            None => {
                for (named, (_, new)) in self.named.iter_mut().zip(rename) {
                    named.of_itself |= new == name;
                }
            }
        }
    }

    /// Where a part of the text stands in it.
    fn place_of(&self, part: &str) -> Place {
        let start = part.as_ptr().addr() - self.text.as_ptr().addr();
        Place { start, end: start + part.len() }
    }
}

impl<'de> DeserializeSeed<'de> for Scan<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let renamed = self.renamed.filter(|fields| !fields.rename.is_empty());
        let mut is_first = true;
        while let Some(FieldName(name)) = map.next_key::<FieldName<'de>>()? {
            let wanted = self.wanted.iter().position(|wanted| *wanted == *name);
            if wanted.is_none() && renamed.is_none() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let raw = map.next_value::<&'de RawValue>()?.get();
            if let Some(index) = wanted {
                self.found[index] = Some(self.place_of(raw));
            }
            if let Some(fields) = renamed {
                self.see_name(&fields.rename, &name);
                write_name(self.value, is_first, fields.output_name(&name));
                self.value.extend_from_slice(raw.as_bytes());
                is_first = false;
            }
        }
        if renamed.is_some() {
            self.value.extend_from_slice(if is_first { b"{}" } else { b"}" });
        }
        Ok(())
    }
}

/// A field's name, borrowed unless it has escapes in it.
#[derive(serde::Deserialize)]
pub(crate) struct FieldName<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

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
        let mut renderer = NdjsonRenderer::new(RecordFields {
            key: named(key).into_iter().collect(),
            timestamp: named(timestamp),
            ..RecordFields::default()
        });
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
    #[case("[1]", "is JSON, but not an object with fields")]
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
        let mut renderer = NdjsonRenderer::new(RecordFields::default());
        let line = Line { bytes: b"{\"a\":\"\xff\"}", number: 1 };
        assert!(matches!(
            renderer.render(line),
            Err(RowFault::NotUtf8 { byte: 0xff, position: 7, .. })
        ));
    }

    fn strings<const N: usize>(names: [&str; N]) -> Vec<String> {
        names.map(str::to_owned).to_vec()
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn value(fields: &RecordFields, line: &str) -> Result<String, String> {
        let mut renderer = NdjsonRenderer::new(fields.clone());
        let line = Line { bytes: line.as_bytes(), number: 1 };
        renderer.render(line).map(|rendered| text(rendered.value)).map_err(|e| e.to_string())
    }

    #[test]
    fn fields_are_chosen_and_renamed_and_keep_their_bytes() {
        let rename = vec![("a".to_owned(), "A \"x\"".to_owned()), ("n".into(), "m".into())];
        let chosen = RecordFields {
            select: strings(["n", "none", "a"]),
            rename: rename.clone(),
            ..RecordFields::default()
        };
        let line = r#" {"a": "x\u0041" ,"b":{"a":1},"n":1.50, "a":[ 1 ] } "#;
        assert_eq!(value(&chosen, line).unwrap(), r#"{"m":1.50,"A \"x\"":[ 1 ]}"#);
        assert_eq!(value(&chosen, r#"{"b":1}"#).unwrap(), "{}");
        let renamed = RecordFields { rename, ..RecordFields::default() };
        assert_eq!(
            value(&renamed, line).unwrap(),
            r#"{"A \"x\"":"x\u0041","b":{"a":1},"m":1.50,"A \"x\"":[ 1 ]}"#
        );
        assert_eq!(value(&renamed, "{}").unwrap(), "{}");
        assert!(value(&renamed, "[1]").unwrap_err().contains("not an object"));
        assert!(value(&renamed, r#"{"a":1}}"#).unwrap_err().contains("trailing"));
    }

    #[test]
    fn several_fields_are_a_key_and_others_are_headers_and_the_partition() {
        let fields = RecordFields {
            key: strings(["a", "b"]),
            partition: Some("p".to_owned()),
            headers: vec![("h".to_owned(), "b".to_owned()), ("i".to_owned(), "o".to_owned())],
            partition_count: Some(2),
            ..RecordFields::default()
        };
        let mut renderer = NdjsonRenderer::new(fields);
        let mut render = |line: &str| {
            let line = Line { bytes: line.as_bytes(), number: 1 };
            let rendered = renderer.render(line).map_err(|fault| fault.to_string())?;
            let headers: Vec<String> =
                rendered.headers.iter().map(|(_, v)| v.map_or("-".to_owned(), text)).collect();
            Ok::<_, String>((rendered.key.map(text), rendered.partition, headers.join(" ")))
        };
        let whole = render(r#"{"p":1,"a":"x\"y","b":2,"o":{"c":[1]}}"#).unwrap();
        let key = r#"{"a":"x\"y","b":2}"#.to_owned();
        assert_eq!(whole, (Some(key), Some(1), "2 {\"c\":[1]}".to_owned()));
        let half = render(r#"{"b":"t","p":"0"}"#).unwrap();
        assert_eq!(half, (Some(r#"{"a":null,"b":"t"}"#.to_owned()), Some(0), "t -".to_owned()));
        assert_eq!(render(r#"{"a":null,"p":0}"#).unwrap(), (None, Some(0), "- -".to_owned()));
        assert!(render(r#"{"a":[1],"p":0}"#).unwrap_err().contains("object or an array"));
        assert!(render(r#"{"p":2}"#).unwrap_err().contains("isn't a partition of the topic"));
        assert!(render("{}").unwrap_err().contains("\"p\": it is missing"));
    }

    #[test]
    fn a_field_is_not_renamed_to_one_that_the_line_has() {
        let mut renderer = NdjsonRenderer::new(RecordFields {
            rename: vec![("a".to_owned(), "b".to_owned()), ("b".to_owned(), "c".to_owned())],
            ..RecordFields::default()
        });
        let mut render = |line: &str| {
            let line = Line { bytes: line.as_bytes(), number: 1 };
            let rendered = renderer.render(line).map_err(|fault| fault.to_string())?;
            Ok::<_, String>(String::from_utf8(rendered.value.to_vec()).unwrap())
        };
        assert_eq!(render(r#"{"a":1,"b":2}"#).unwrap(), r#"{"b":1,"c":2}"#);
        let refused = render(r#"{"c":3,"a":1,"b":2}"#).unwrap_err();
        assert!(refused.contains("\"c\": another field is renamed to it"), "{refused}");
        assert_eq!(render(r#"{"c":3,"a":1}"#).unwrap(), r#"{"c":3,"b":1}"#);
    }
}
