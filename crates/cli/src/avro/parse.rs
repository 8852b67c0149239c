//! Schemas out of their JSON. What the specification has a reader ignore (unknown logical types,
//! attributes of others) is ignored; what can't be written by is an error that says where.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::schema::{Body, Field, Fraction, Named, Scalar, Schema, Type};

/// A schema's text may be this long, in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Types within types, at most.
pub const DEPTH_MAX: usize = 64;

/// The most digits of a decimal: as many as 128 bits hold.
const DECIMAL_DIGITS_MAX: u32 = 38;

/// The most bytes of a fixed.
const FIXED_BYTES_MAX: usize = 1 << 20;

impl Schema {
    /// Parses a schema.
    ///
    /// # Errors
    /// What is wrong with it and where, in words that go on from "it".
    pub fn parse(text: &str) -> Result<Schema, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("is longer than {TEXT_BYTES_MAX} bytes"));
        }
        let json: Value =
            serde_json::from_str(text).map_err(|error| format!("isn't JSON: {error}"))?;
        let mut parser = Parser { named: Vec::new(), by_name: HashMap::new() };
        let root = parser.parse(&json, "", 0)?;
        Ok(Schema { text: text.trim().to_owned(), root, named: parser.named })
    }
}

struct Parser {
    named: Vec<Named>,
    by_name: HashMap<String, usize>,
}

impl Parser {
    fn parse(&mut self, json: &Value, namespace: &str, depth: usize) -> Result<Type, String> {
        if depth > DEPTH_MAX {
            return Err(format!("has more than {DEPTH_MAX} types within types"));
        }
        match json {
            Value::String(name) => self.by_name(name, namespace),
            Value::Array(branches) => self.union(branches, namespace, depth),
            Value::Object(attributes) => self.object(attributes, namespace, depth),
            other => Err(format!("has {other} where a type should be")),
        }
    }

    fn by_name(&self, name: &str, namespace: &str) -> Result<Type, String> {
        if let Some(scalar) = primitive(name) {
            return Ok(Type::Scalar(scalar));
        }
        let whole = whole_name(name, namespace);
        let found = self.by_name.get(&whole).or_else(|| self.by_name.get(name));
        found.map(|index| Type::Named(*index)).ok_or_else(|| format!("has no type {name:?}"))
    }

    fn union(&mut self, branches: &[Value], namespace: &str, depth: usize) -> Result<Type, String> {
        let mut parsed = Vec::with_capacity(branches.len());
        for branch in branches {
            let branch = self.parse(branch, namespace, depth + 1)?;
            if matches!(branch, Type::Union(_)) {
                return Err("has a union within a union".to_owned());
            }
            parsed.push(branch);
        }
        match parsed.is_empty() {
            true => Err("has a union of nothing".to_owned()),
            false => Ok(Type::Union(parsed)),
        }
    }

    fn object(
        &mut self,
        attributes: &Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<Type, String> {
        let of = attributes.get("type").ok_or("has an object without \"type\"")?;
        let part =
            |name: &str| attributes.get(name).ok_or_else(|| format!("has {of} without {name:?}"));
        match of.as_str() {
            Some("record" | "error") => self.record(attributes, namespace, depth),
            Some("enum") => {
                let symbols = part("symbols")?.as_array().into_iter().flatten();
                let symbols: Vec<String> =
                    symbols.filter_map(Value::as_str).map(str::to_owned).collect();
                if symbols.is_empty() {
                    return Err("has an enum without symbols".to_owned());
                }
                self.add(attributes, namespace, Body::Enum(symbols)).map(Type::Named)
            }
            Some("fixed") => {
                let bytes = part("size")?.as_u64().and_then(|bytes| usize::try_from(bytes).ok());
                let bytes = bytes.filter(|bytes| *bytes <= FIXED_BYTES_MAX);
                let bytes = bytes.ok_or("has a fixed of an impossible size")?;
                let decimal = decimal(attributes)?;
                self.add(attributes, namespace, Body::Fixed { bytes, decimal }).map(Type::Named)
            }
            Some("array") => {
                let items = self.parse(part("items")?, namespace, depth + 1)?;
                Ok(Type::Array(Box::new(items)))
            }
            Some("map") => {
                let values = self.parse(part("values")?, namespace, depth + 1)?;
                Ok(Type::Map(Box::new(values)))
            }
            _ => match self.parse(of, namespace, depth + 1)? {
                Type::Scalar(scalar) => logical(scalar, attributes).map(Type::Scalar),
                other => Ok(other),
            },
        }
    }

    fn record(
        &mut self,
        attributes: &Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<Type, String> {
        // Known before its fields are: they may be of it.
        let index = self.add(attributes, namespace, Body::Record(Vec::new()))?;
        let name = self.named[index].name.clone();
        let own_namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let fields = attributes.get("fields").and_then(Value::as_array);
        let fields = fields.ok_or_else(|| format!("has a record {name} without \"fields\""))?;
        let mut parsed: Vec<Field> = Vec::with_capacity(fields.len());
        for field in fields {
            let text = |key: &str| field.get(key).and_then(Value::as_str);
            let field_name = text("name").filter(|name| is_name(name));
            let field_name =
                field_name.ok_or_else(|| format!("has a field without a name: {field}"))?;
            if parsed.iter().any(|other| other.name == field_name) {
                return Err(format!("has two fields {field_name:?} in {name}"));
            }
            let of = field.get("type");
            let of = of.ok_or_else(|| format!("has a field {field_name:?} without a type"))?;
            let of = self.parse(of, own_namespace, depth + 1)?;
            let aliases = field.get("aliases").and_then(Value::as_array).into_iter().flatten();
            let aliases = aliases.filter_map(Value::as_str).map(str::to_owned).collect();
            let default = field.get("default").cloned();
            parsed.push(Field { name: field_name.to_owned(), aliases, of, default });
        }
        self.named[index].body = Body::Record(parsed);
        Ok(Type::Named(index))
    }

    fn add(
        &mut self,
        attributes: &Map<String, Value>,
        namespace: &str,
        body: Body,
    ) -> Result<usize, String> {
        let text = |key: &str| attributes.get(key).and_then(Value::as_str);
        let name = text("name").ok_or("has a record, enum or fixed without a name")?;
        let name = whole_name(name, text("namespace").unwrap_or(namespace));
        if !name.split('.').all(is_name) {
            return Err(format!("has a type of the name {name:?}, which Avro doesn't allow"));
        }
        let index = self.named.len();
        if self.by_name.insert(name.clone(), index).is_some() {
            return Err(format!("has two types of the name {name:?}"));
        }
        self.named.push(Named { name, body });
        Ok(index)
    }
}

/// A name with its namespace, if that isn't part of it.
fn whole_name(name: &str, namespace: &str) -> String {
    match namespace {
        _ if name.contains('.') => name.trim_start_matches('.').to_owned(),
        "" => name.to_owned(),
        _ => format!("{namespace}.{name}"),
    }
}

/// Whether a text may be a name: letters, digits and `_`, no digit in front.
pub fn is_name(text: &str) -> bool {
    let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    rest && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

fn primitive(name: &str) -> Option<Scalar> {
    Some(match name {
        "null" => Scalar::Null,
        "boolean" => Scalar::Boolean,
        "int" => Scalar::Int,
        "long" => Scalar::Long,
        "float" => Scalar::Float,
        "double" => Scalar::Double,
        "bytes" => Scalar::Bytes,
        "string" => Scalar::String,
        _ => return None,
    })
}

/// A primitive type with its logical type, if it has one that is known and stands over it.
fn logical(scalar: Scalar, attributes: &Map<String, Value>) -> Result<Scalar, String> {
    let Some(logical) = attributes.get("logicalType").and_then(Value::as_str) else {
        return Ok(scalar);
    };
    let timestamp = |unit, is_local| Scalar::Timestamp { unit, is_local };
    Ok(match (scalar, logical) {
        (Scalar::String, "uuid") => Scalar::Uuid,
        (Scalar::Int, "date") => Scalar::Date,
        (Scalar::Int, "time-millis") => Scalar::Time(Fraction::Millis),
        (Scalar::Long, "time-micros") => Scalar::Time(Fraction::Micros),
        (Scalar::Long, "timestamp-millis") => timestamp(Fraction::Millis, false),
        (Scalar::Long, "timestamp-micros") => timestamp(Fraction::Micros, false),
        (Scalar::Long, "timestamp-nanos") => timestamp(Fraction::Nanos, false),
        (Scalar::Long, "local-timestamp-millis") => timestamp(Fraction::Millis, true),
        (Scalar::Long, "local-timestamp-micros") => timestamp(Fraction::Micros, true),
        (Scalar::Long, "local-timestamp-nanos") => timestamp(Fraction::Nanos, true),
        (Scalar::Bytes, "decimal") => match decimal(attributes)? {
            Some((precision, scale)) => Scalar::Decimal { precision, scale },
            None => Scalar::Bytes,
        },
        (other, _) => other,
    })
}

/// Precision and scale of a decimal.
fn decimal(attributes: &Map<String, Value>) -> Result<Option<(u32, u32)>, String> {
    if attributes.get("logicalType").and_then(Value::as_str) != Some("decimal") {
        return Ok(None);
    }
    let number = |key: &str| attributes.get(key).and_then(Value::as_u64);
    let precision = number("precision").and_then(|number| u32::try_from(number).ok());
    let scale = number("scale").map_or(Some(0), |number| u32::try_from(number).ok());
    match (precision, scale) {
        (Some(precision @ 1..=DECIMAL_DIGITS_MAX), Some(scale)) if scale <= precision => {
            Ok(Some((precision, scale)))
        }
        _ => Err(format!(
            "has a decimal without a precision from 1 to {DECIMAL_DIGITS_MAX} and a scale up to it"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn a_schema_is_taken_apart_with_its_names_and_what_names_them() {
        let text = r#"{"type":"record","name":"Node","namespace":"a.b","fields":[
            {"name":"next","type":["null","Node"],"default":null},
            {"name":"kind","type":{"type":"enum","name":"c.Kind","symbols":["X","Y"]}},
            {"name":"kinds","type":{"type":"array","items":"c.Kind"},"aliases":["all"]},
            {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
            {"name":"odd","type":{"type":"int","logicalType":"timestamp-micros"}},
            {"name":"sum","type":{"type":"bytes","logicalType":"decimal",
                "precision":9,"scale":2}}]}"#;
        let schema = Schema::parse(text).unwrap();
        assert_eq!(schema.name(), Some("a.b.Node"));
        let fields = schema.fields().unwrap();
        let words: Vec<String> =
            fields.iter().map(|field| schema.type_in_words(&field.of)).collect();
        assert_eq!(
            words,
            [
                "[null, the record a.b.Node]",
                "the enum c.Kind",
                "an array of the enum c.Kind",
                "timestamp-micros",
                "int",
                "decimal(9,2)"
            ]
        );
        assert_eq!(fields[0].default, Some(Value::Null));
        assert_eq!(fields[2].aliases, ["all"]);
    }

    #[rstest]
    #[case("{", "isn't JSON")]
    #[case("\"str\"", "has no type \"str\"")]
    #[case("7", "has 7 where a type should be")]
    #[case(r#"{"type":"record","name":"r"}"#, "has a record r without \"fields\"")]
    #[case(r#"{"type":"record","name":"1","fields":[]}"#, "which Avro doesn't allow")]
    #[case(r#"[["null"],"int"]"#, "a union within a union")]
    #[case("[]", "a union of nothing")]
    #[case(r#"{"type":"fixed","name":"f","size":-1}"#, "a fixed of an impossible size")]
    #[case(r#"{"type":"bytes","logicalType":"decimal","precision":99}"#, "a precision from 1")]
    fn what_is_no_schema_is_refused_with_what_is_wrong(#[case] text: &str, #[case] expected: &str) {
        let error = Schema::parse(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_schema_too_deep_is_refused_and_none_makes_it_panic() {
        let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(70), "}".repeat(70));
        assert!(Schema::parse(&deep).unwrap_err().contains("types within types"));
        let deeper = "[".repeat(100_000);
        assert!(Schema::parse(&deeper).unwrap_err().contains("JSON"));
    }
}
