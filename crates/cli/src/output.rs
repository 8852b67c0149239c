//! Records as `consume` prints them: a line of text for people, an object of JSON for programs.

use std::io::{self, Write};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::time::format_timestamp;

/// A record that was read, borrowed from wherever it came from.
#[derive(Debug, Clone, Copy)]
pub struct PrintedRecord<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970; -1 for none.
    pub timestamp_ms: i64,
    /// Kafka's name for what the timestamp is: `CreateTime` or `LogAppendTime`.
    pub timestamp_type: &'a str,
    /// Its headers, in their order, with repeats.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// Its key; None is null.
    pub key: Option<&'a [u8]>,
    /// Its value; None is null.
    pub value: Option<&'a [u8]>,
}

/// What a line of text shows of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Field {
    /// The partition's number
    Partition,
    /// The offset in the partition
    Offset,
    /// The time, in UTC
    Timestamp,
    /// The key, or null
    Key,
    /// The headers, as name=value
    Headers,
    /// The value, or null
    Value,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bytes {
    /// As they are: for files and other programs.
    Raw,
    /// Control characters and broken UTF-8 escaped: nothing that a record holds reaches the
    /// terminal as a command.
    Escaped,
}

/// Writes a record as one line, its fields separated by tabs.
pub fn write_text(
    out: &mut dyn Write,
    record: &PrintedRecord<'_>,
    fields: &[Field],
    bytes: Bytes,
) -> io::Result<()> {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.write_all(b"\t")?;
        }
        match field {
            Field::Partition => write!(out, "{}", record.partition)?,
            Field::Offset => write!(out, "{}", record.offset)?,
            Field::Timestamp if record.timestamp_ms < 0 => out.write_all(b"-")?,
            Field::Timestamp => out.write_all(format_timestamp(record.timestamp_ms).as_bytes())?,
            Field::Key => write_bytes(out, record.key, bytes)?,
            Field::Value => write_bytes(out, record.value, bytes)?,
            Field::Headers => {
                for (index, (name, value)) in record.headers.iter().enumerate() {
                    out.write_all(if index > 0 { b" " } else { b"" })?;
                    write_bytes(out, Some(name.as_bytes()), bytes)?;
                    out.write_all(b"=")?;
                    write_bytes(out, *value, bytes)?;
                }
            }
        }
    }
    out.write_all(b"\n")
}

fn write_bytes(out: &mut dyn Write, text: Option<&[u8]>, bytes: Bytes) -> io::Result<()> {
    let Some(text) = text else { return out.write_all(b"null") };
    if bytes == Bytes::Raw {
        return out.write_all(text);
    }
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(|c: char| c.is_control()) {
            let (clean, from_control) = rest.split_at(at);
            out.write_all(clean.as_bytes())?;
            let mut characters = from_control.chars();
            if let Some(control) = characters.next() {
                write!(out, "{}", control.escape_default())?;
            }
            rest = characters.as_str();
        }
        out.write_all(rest.as_bytes())?;
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

/// Writes a record as one JSON object on one line. Keys and values that aren't UTF-8 are written in
/// base64 as `key_base64` and `value_base64` instead.
pub fn write_json(out: &mut dyn Write, record: &PrintedRecord<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}

impl Serialize for PrintedRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("topic", self.topic)?;
        map.serialize_entry("partition", &self.partition)?;
        map.serialize_entry("offset", &self.offset)?;
        map.serialize_entry("timestamp", &self.timestamp_ms)?;
        map.serialize_entry("timestamp_type", self.timestamp_type)?;
        serialize_text(&mut map, "key", "key_base64", self.key)?;
        let headers: Vec<JsonHeader<'_>> =
            self.headers.iter().map(|(name, value)| JsonHeader { name, value: *value }).collect();
        map.serialize_entry("headers", &headers)?;
        serialize_text(&mut map, "value", "value_base64", self.value)?;
        map.end()
    }
}

/// A header in JSON: an object, so that order and repeats are kept.
struct JsonHeader<'a> {
    name: &'a str,
    value: Option<&'a [u8]>,
}

impl Serialize for JsonHeader<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", self.name)?;
        serialize_text(&mut map, "value", "value_base64", self.value)?;
        map.end()
    }
}

fn serialize_text<M: SerializeMap>(
    map: &mut M,
    name: &str,
    base64_name: &str,
    bytes: Option<&[u8]>,
) -> Result<(), M::Error> {
    match bytes.map(std::str::from_utf8) {
        None => map.serialize_entry(name, &None::<&str>),
        Some(Ok(text)) => map.serialize_entry(name, text),
        Some(Err(_)) => map.serialize_entry(base64_name, &base64(bytes.unwrap_or_default())),
    }
}

/// Base64 with padding (RFC 4648, section 4).
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) as usize & 63;
            text.push(if place <= group.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: PrintedRecord<'_> = PrintedRecord {
        topic: "t",
        partition: 2,
        offset: 41,
        timestamp_ms: 1_569_888_000_000,
        timestamp_type: "CreateTime",
        headers: &[("a", Some(b"1")), ("a", None)],
        key: Some(b"k"),
        value: None,
    };

    fn text(record: &PrintedRecord<'_>, bytes: Bytes) -> String {
        use Field::{Headers, Key, Offset, Partition, Timestamp, Value};
        let mut out = Vec::new();
        let fields = [Partition, Offset, Timestamp, Key, Headers, Value];
        write_text(&mut out, record, &fields, bytes).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_has_what_was_asked_for() {
        let line = "2\t41\t2019-10-01T00:00:00.000Z\tk\ta=1 a=null\tnull\n";
        assert_eq!(text(&RECORD, Bytes::Raw), line);
        let untimed = PrintedRecord { timestamp_ms: -1, headers: &[], ..RECORD };
        assert_eq!(text(&untimed, Bytes::Raw), "2\t41\t-\tk\t\tnull\n");
    }

    #[test]
    fn nothing_that_a_record_holds_commands_the_terminal() {
        let hostile = b"\x1b[2J\tcaf\xc3\xa9\xff\n\xc2\x9b";
        let record = PrintedRecord { value: Some(hostile), ..RECORD };
        let line = text(&record, Bytes::Escaped);
        assert!(line.ends_with("\t\\u{1b}[2J\\tcafé\\xff\\n\\u{9b}\n"), "{line:?}");
    }

    #[test]
    fn json_keeps_headers_order_null_and_bytes() {
        let mut out = Vec::new();
        write_json(&mut out, &PrintedRecord { key: Some(b"\xff"), ..RECORD }).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"topic\":\"t\",\"partition\":2,\"offset\":41,\"timestamp\":1569888000000,\
             \"timestamp_type\":\"CreateTime\",\"key_base64\":\"/w==\",\
             \"headers\":[{\"name\":\"a\",\"value\":\"1\"},{\"name\":\"a\",\"value\":null}],\
             \"value\":null}\n"
        );
    }

    #[test]
    fn base64_as_the_rfcs_examples() {
        let pairs =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (bytes, text) in pairs {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
