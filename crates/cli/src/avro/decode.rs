//! Values of Avro's binary encoding as JSON, for who wants to look at them.
//!
//! Laws: nothing of the bytes is believed: a length is held against the bytes that are left, items
//! and depth have a cap, and what ends early or late is an error; no bytes make it panic. Integers
//! and decimals come by their digits; times as they are counted; bytes as Avro's JSON has them,
//! a character from U+0000 to U+00FF each.

use thiserror::Error;

use super::parse::DEPTH_MAX;
use super::schema::{Body, Scalar, Schema, Type};

/// Items of arrays and maps of one value, at most: some take no byte.
const ITEMS_MAX: usize = 1 << 20;

/// Why bytes aren't a value of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeFault {
    /// They end within it.
    #[error("it ends in the middle of {0}")]
    Ends(String),
    /// Something in them is impossible.
    #[error("it holds an impossible {0}")]
    Impossible(&'static str),
    /// They go on behind it.
    #[error("{0} bytes are left behind it")]
    Left(usize),
}

/// A value as JSON.
///
/// # Errors
/// The bytes aren't one value of the schema.
pub fn to_json(schema: &Schema, bytes: &[u8]) -> Result<String, DecodeFault> {
    let mut reader = Reader { schema, rest: bytes, items_left: ITEMS_MAX, out: String::new() };
    reader.value(&schema.root, "", 0)?;
    match reader.rest.len() {
        0 => Ok(reader.out),
        left => Err(DecodeFault::Left(left)),
    }
}

struct Reader<'a> {
    schema: &'a Schema,
    rest: &'a [u8],
    items_left: usize,
    out: String,
}

impl<'a> Reader<'a> {
    fn value(&mut self, of: &'a Type, name: &str, depth: usize) -> Result<(), DecodeFault> {
        if depth > DEPTH_MAX {
            return Err(DecodeFault::Impossible("depth"));
        }
        match of {
            Type::Scalar(scalar) => self.scalar(*scalar, name),
            Type::Union(branches) => {
                let index = usize::try_from(self.long(name)?).ok();
                let branch = index.and_then(|index| branches.get(index));
                let branch = branch.ok_or(DecodeFault::Impossible("branch of a union"))?;
                self.value(branch, name, depth + 1)
            }
            Type::Array(items) => {
                self.out.push('[');
                self.blocks(name, |reader, place| {
                    reader.out.push_str(if place == 0 { "" } else { "," });
                    reader.value(items, name, depth + 1)
                })?;
                self.out.push(']');
                Ok(())
            }
            Type::Map(values) => {
                self.out.push('{');
                self.blocks(name, |reader, place| {
                    reader.out.push_str(if place == 0 { "" } else { "," });
                    reader.string(name)?;
                    reader.out.push(':');
                    reader.value(values, name, depth + 1)
                })?;
                self.out.push('}');
                Ok(())
            }
            Type::Named(index) => {
                let named = self.schema.named.get(*index);
                let named = named.ok_or(DecodeFault::Impossible("type"))?;
                self.body(&named.body, name, depth)
            }
        }
    }

    fn body(&mut self, body: &'a Body, name: &str, depth: usize) -> Result<(), DecodeFault> {
        match body {
            Body::Record(fields) => {
                self.out.push('{');
                for (place, field) in fields.iter().enumerate() {
                    self.out.push_str(if place == 0 { "\"" } else { ",\"" });
                    self.out.push_str(&field.name);
                    self.out.push_str("\":");
                    self.value(&field.of, &field.name, depth + 1)?;
                }
                self.out.push('}');
            }
            Body::Enum(symbols) => {
                let index = usize::try_from(self.long(name)?).ok();
                let symbol = index.and_then(|index| symbols.get(index));
                quote(&mut self.out, symbol.ok_or(DecodeFault::Impossible("symbol of an enum"))?);
            }
            Body::Fixed { bytes, decimal } => {
                let bytes = self.take(*bytes, name)?;
                match decimal {
                    Some((_, scale)) => self.decimal(bytes, *scale)?,
                    None => self.characters(bytes),
                }
            }
        }
        Ok(())
    }

    fn scalar(&mut self, of: Scalar, name: &str) -> Result<(), DecodeFault> {
        match of {
            Scalar::Null => self.out.push_str("null"),
            Scalar::Boolean => match self.take(1, name)? {
                [0] => self.out.push_str("false"),
                [1] => self.out.push_str("true"),
                _ => return Err(DecodeFault::Impossible("boolean")),
            },
            Scalar::Int | Scalar::Date => {
                let number = i32::try_from(self.long(name)?);
                let number = number.map_err(|_| DecodeFault::Impossible("int"))?;
                self.out.push_str(itoa::Buffer::new().format(number));
            }
            Scalar::Long | Scalar::Time(_) | Scalar::Timestamp { .. } => {
                let number = self.long(name)?;
                self.out.push_str(itoa::Buffer::new().format(number));
            }
            Scalar::Float => {
                let bytes = self.take(4, name)?.try_into().unwrap_or_default();
                self.number(f32::from_le_bytes(bytes));
            }
            Scalar::Double => {
                let bytes = self.take(8, name)?.try_into().unwrap_or_default();
                self.number(f64::from_le_bytes(bytes));
            }
            Scalar::Bytes => {
                let bytes = self.bytes(name)?;
                self.characters(bytes);
            }
            Scalar::String | Scalar::Uuid => self.string(name)?,
            Scalar::Decimal { scale, .. } => {
                let bytes = self.bytes(name)?;
                self.decimal(bytes, scale)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, count: usize, name: &str) -> Result<&'a [u8], DecodeFault> {
        let ends =
            || DecodeFault::Ends(if name.is_empty() { "its value" } else { name }.to_owned());
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(ends)?;
        self.rest = rest;
        Ok(taken)
    }

    fn long(&mut self, name: &str) -> Result<i64, DecodeFault> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1, name)?[0];
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()));
            }
        }
        Err(DecodeFault::Impossible("integer"))
    }

    fn bytes(&mut self, name: &str) -> Result<&'a [u8], DecodeFault> {
        let length = usize::try_from(self.long(name)?);
        self.take(length.map_err(|_| DecodeFault::Impossible("length"))?, name)
    }

    fn string(&mut self, name: &str) -> Result<(), DecodeFault> {
        let text = std::str::from_utf8(self.bytes(name)?);
        quote(&mut self.out, text.map_err(|_| DecodeFault::Impossible("text: it isn't UTF-8"))?);
        Ok(())
    }

    /// Goes through the blocks of an array or map.
    fn blocks(
        &mut self,
        name: &str,
        mut item: impl FnMut(&mut Self, usize) -> Result<(), DecodeFault>,
    ) -> Result<(), DecodeFault> {
        let mut place = 0;
        loop {
            let count = self.long(name)?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // Then the block's length in bytes comes next: for who passes it over.
                self.long(name)?;
            }
            let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
            let left = self.items_left.checked_sub(count);
            self.items_left = left.ok_or(DecodeFault::Impossible("number of items"))?;
            for _ in 0..count {
                item(self, place)?;
                place += 1;
            }
        }
    }

    /// Floating point as the shortest text that is read back as the same.
    fn number(&mut self, number: impl Into<f64> + serde::Serialize + Copy) {
        let wide: f64 = number.into();
        match serde_json::to_string(&number) {
            Ok(text) if wide.is_finite() => self.out.push_str(&text),
            _ if wide.is_nan() => self.out.push_str("\"NaN\""),
            _ if wide > 0.0 => self.out.push_str("\"Infinity\""),
            _ => self.out.push_str("\"-Infinity\""),
        }
    }

    fn characters(&mut self, bytes: &[u8]) {
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        quote(&mut self.out, &text);
    }

    /// A decimal as a string: a number would be rounded by who reads it.
    fn decimal(&mut self, bytes: &[u8], scale: u32) -> Result<(), DecodeFault> {
        let fill = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut all = [fill; 16];
        let from = all.len().checked_sub(bytes.len());
        let from = from.ok_or(DecodeFault::Impossible("decimal: 128 bits are taken"))?;
        all[from..].copy_from_slice(bytes);
        let number = i128::from_be_bytes(all);
        let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
        let sign = if number < 0 { "-" } else { "" };
        let point = if scale > 0 { "." } else { "" };
        self.out.push_str(&format!("\"{sign}{whole}{point}{fraction}\""));
        Ok(())
    }
}

fn quote(out: &mut String, text: &str) {
    // Into memory nothing fails.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::super::from_json::write_json;
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const ALL: &str = r#"{"type":"record","name":"All","fields":[
        {"name":"b","type":"boolean"},
        {"name":"i","type":"int"},
        {"name":"l","type":["null","long"]},
        {"name":"f","type":"float"},
        {"name":"d","type":"double"},
        {"name":"s","type":{"type":"map","values":"string"}},
        {"name":"raw","type":"bytes"},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["X","Y"]}},
        {"name":"sum","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":3}},
        {"name":"small","type":{"type":"fixed","name":"F","size":3,"logicalType":"decimal",
            "precision":5,"scale":0}},
        {"name":"all","type":{"type":"array","items":["null","All"]}}]}"#;

    fn value(id: i64, text: &str, inner: Option<&Value>) -> Value {
        serde_json::json!({
            "b": true, "i": -7, "l": id, "f": 0.5, "d": id as f64 / 8.0, "s": {"k": text},
            "raw": "\u{ff}\u{0}", "e": "Y", "sum": "-0.007", "small": "12",
            "all": [inner, null],
        })
    }

    fn bytes(schema: &Schema, value: &Value) -> Vec<u8> {
        let mut out = vec![];
        write_json(schema, &schema.root, "", &value.to_string(), &mut out).unwrap();
        out
    }

    #[test]
    fn what_was_written_is_read_back() {
        let schema = Schema::parse(ALL).unwrap();
        let value = value(i64::MIN, "é\"\n", Some(&value(3, "", None)));
        let read = to_json(&schema, &bytes(&schema, &value)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), value);
    }

    #[test]
    fn what_is_no_value_is_told() {
        let of = |schema: &str, bytes: &[u8]| {
            to_json(&Schema::parse(schema).unwrap(), bytes).unwrap_err().to_string()
        };
        assert_eq!(of("\"string\"", &[200, 1, b'x']), "it ends in the middle of its value");
        assert_eq!(of("\"string\"", &[1]), "it holds an impossible length");
        assert_eq!(of("\"long\"", &[0xff; 11]), "it holds an impossible integer");
        assert_eq!(of("\"long\"", &[2, 2]), "1 bytes are left behind it");
        let nulls = r#"{"type":"array","items":"null"}"#;
        let many = [0xfe, 0xff, 0xff, 0xff, 0xff, 1, 0];
        assert_eq!(of(nulls, &many), "it holds an impossible number of items");
        assert_eq!(of(r#"["null"]"#, &[4]), "it holds an impossible branch of a union");
    }

    #[test]
    fn a_block_may_tell_its_length() {
        let schema = Schema::parse(r#"{"type":"array","items":"int"}"#).unwrap();
        assert_eq!(to_json(&schema, &[3, 4, 2, 4, 0]).unwrap(), "[1,2]");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            noise in prop::collection::vec(any::<u8>(), 0..200), at in 0..60_usize
        ) {
            let schema = Schema::parse(ALL).unwrap();
            let _ = to_json(&schema, &noise);
            let mut broken = bytes(&schema, &value(9, "text", None));
            let at = at.min(broken.len());
            broken.splice(at..at, noise);
            let _ = to_json(&schema, &broken);
        }
    }
}
