//! A schema made of columns: their names made Avro's, their types by what they hold.
//!
//! Law: the same columns give the same text to the byte, so that a registry finds it again.

use std::fmt::Write as _;

use serde_json::Value;

use super::columns::Mismatch;
use super::parse::is_name;
use super::schema::Scalar;

/// A column as a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedField {
    /// The column's name.
    pub column: String,
    /// Its type.
    pub of: Scalar,
    /// Whether it may be null; then that is its default.
    pub is_nullable: bool,
}

/// A column's name as Avro allows it: what is no letter, digit or `_` of ASCII becomes `_`, and a
/// digit in front gets one before it.
pub fn field_name(column: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = column.chars().map(kept).collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        name.insert(0, '_');
    }
    name
}

/// A record's name made of a topic's: its parts between dots are namespace and name.
pub fn record_name(topic: &str) -> String {
    let parts = topic.split('.').filter(|part| !part.is_empty()).map(field_name);
    let name = parts.collect::<Vec<_>>().join(".");
    if name.is_empty() { "_".to_owned() } else { name }
}

/// Whether a text is a record's whole name.
pub fn is_record_name(text: &str) -> bool {
    text.split('.').all(is_name)
}

/// Two columns whose names are one once they are Avro's.
pub fn colliding<'a>(columns: impl Iterator<Item = &'a str>) -> Option<Mismatch> {
    let mut seen: Vec<(String, &str)> = Vec::new();
    for column in columns {
        let name = field_name(column);
        if let Some((_, other)) = seen.iter().find(|(known, _)| *known == name) {
            return Some(Mismatch {
                what: format!(
                    "the columns {other:?} and {column:?} would both be {name:?} in Avro"
                ),
                cause: "Avro's names are letters, digits and _: all else becomes _".to_owned(),
                remedy: format!("give one of them another name: --rename '{column}=NAME'"),
            });
        }
        seen.push((name, column));
    }
    None
}

/// The schema of a record of these columns, as text.
///
/// # Errors
/// Two columns would have one name.
pub fn schema_text(record: &str, fields: &[DerivedField]) -> Result<String, Mismatch> {
    if let Some(mismatch) = colliding(fields.iter().map(|field| field.column.as_str())) {
        return Err(mismatch);
    }
    let mut text = String::from("{\"type\":\"record\",");
    let name = match record.rsplit_once('.') {
        Some((namespace, name)) => {
            let _ = write!(text, "\"namespace\":\"{namespace}\",");
            name
        }
        None => record,
    };
    let _ = write!(text, "\"name\":\"{name}\",\"fields\":[");
    for (place, field) in fields.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let name = field_name(&field.column);
        let _ = write!(text, "{comma}{{\"name\":\"{name}\",");
        // Where the name had to be changed, the schema says what it was.
        if name != field.column {
            let _ = write!(text, "\"doc\":{},", Value::from(field.column.as_str()));
        }
        let of = type_text(field.of);
        let _ = match field.is_nullable {
            true => write!(text, "\"type\":[\"null\",{of}],\"default\":null}}"),
            false => write!(text, "\"type\":{of}}}"),
        };
    }
    text.push_str("]}");
    Ok(text)
}

fn type_text(of: Scalar) -> String {
    let over = |base: &str, logical: String| {
        format!("{{\"type\":\"{base}\",\"logicalType\":\"{logical}\"}}")
    };
    match of {
        Scalar::Null => "\"null\"".to_owned(),
        Scalar::Boolean => "\"boolean\"".to_owned(),
        Scalar::Int => "\"int\"".to_owned(),
        Scalar::Long => "\"long\"".to_owned(),
        Scalar::Float => "\"float\"".to_owned(),
        Scalar::Double => "\"double\"".to_owned(),
        Scalar::Bytes => "\"bytes\"".to_owned(),
        Scalar::String => "\"string\"".to_owned(),
        Scalar::Uuid => over("string", "uuid".to_owned()),
        Scalar::Date => over("int", "date".to_owned()),
        Scalar::Time(unit) => {
            let base = if unit == super::schema::Fraction::Millis { "int" } else { "long" };
            over(base, format!("time-{}", unit.name()))
        }
        Scalar::Timestamp { unit, is_local } => {
            let local = if is_local { "local-" } else { "" };
            over("long", format!("{local}timestamp-{}", unit.name()))
        }
        Scalar::Decimal { precision, scale } => format!(
            "{{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":{precision},\
             \"scale\":{scale}}}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::{Fraction, Schema};
    use super::*;
    use proptest::prelude::*;

    fn field(column: &str, of: Scalar, is_nullable: bool) -> DerivedField {
        DerivedField { column: column.to_owned(), of, is_nullable }
    }

    #[test]
    fn columns_become_fields_with_null_where_it_may_be() {
        let at = Scalar::Timestamp { unit: Fraction::Millis, is_local: false };
        let fields = [field("id", Scalar::Long, false), field("day of \"x\"", at, true)];
        assert_eq!(
            schema_text("shop.orders", &fields).unwrap(),
            "{\"type\":\"record\",\"namespace\":\"shop\",\"name\":\"orders\",\"fields\":[\
             {\"name\":\"id\",\"type\":\"long\"},\
             {\"name\":\"day_of__x_\",\"doc\":\"day of \\\"x\\\"\",\"type\":[\"null\",\
             {\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}],\"default\":null}]}"
        );
        assert_eq!(schema_text("r", &[]).unwrap(), r#"{"type":"record","name":"r","fields":[]}"#);
    }

    #[test]
    fn two_columns_of_one_name_are_told_with_both() {
        let fields = [field("a b", Scalar::Long, false), field("a-b", Scalar::Long, false)];
        let mismatch = schema_text("r", &fields).unwrap_err();
        assert!(mismatch.what.contains("\"a b\" and \"a-b\""), "{mismatch:?}");
        assert!(mismatch.remedy.contains("--rename 'a-b=NAME'"), "{mismatch:?}");
    }

    #[test]
    fn a_topics_parts_are_namespace_and_name() {
        for (topic, name) in [
            ("ecommerce.events", "ecommerce.events"),
            ("orders-2024", "orders_2024"),
            ("2024.q1", "_2024.q1"),
            ("..", "_"),
            ("a..b", "a.b"),
        ] {
            assert_eq!(record_name(topic), name);
            assert!(is_record_name(name));
        }
        assert!(!is_record_name("a.1") && !is_record_name("") && !is_record_name("a b"));
    }

    proptest! {
        #[test]
        fn whatever_columns_are_called_the_schema_is_one(
            names in prop::collection::vec("\\PC{0,12}", 0..6), topic in "[a-zA-Z0-9._-]{1,20}"
        ) {
            let fields: Vec<_> =
                names.iter().map(|name| field(name, Scalar::String, true)).collect();
            if let Ok(text) = schema_text(&record_name(&topic), &fields) {
                let schema = Schema::parse(&text).unwrap();
                prop_assert_eq!(schema.fields().unwrap().len(), names.len());
            }
        }
    }
}
