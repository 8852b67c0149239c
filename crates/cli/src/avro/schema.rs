//! An Avro schema, parsed: types that name each other by number, so that one may hold itself.

use serde_json::Value;

/// A schema, and the text that it was parsed from.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// As it was written; what a registry is given.
    pub text: String,
    /// The type of a value.
    pub root: Type,
    /// The types that have a name, by the number that [`Type::Named`] has.
    pub named: Vec<Named>,
}

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// One without parts.
    Scalar(Scalar),
    /// A record, an enum or a fixed: its number among the named types.
    Named(usize),
    /// Items of one type.
    Array(Box<Type>),
    /// Values of one type under texts.
    Map(Box<Type>),
    /// One of several types.
    Union(Vec<Type>),
}

/// A type that has a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// Its whole name, with its namespace.
    pub name: String,
    /// What it is.
    pub body: Body,
}

/// What a type with a name is.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Named fields, one after the other.
    Record(Vec<Field>),
    /// One of these words.
    Enum(Vec<String>),
    /// So many bytes.
    Fixed {
        /// How many.
        bytes: usize,
        /// Precision and scale, if it is a decimal.
        decimal: Option<(u32, u32)>,
    },
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Other names that it is known by.
    pub aliases: Vec<String>,
    /// Its type.
    pub of: Type,
    /// Its value where none is given, as JSON.
    pub default: Option<Value>,
}

/// A type without parts: Avro's primitive types, and logical ones over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// Nothing.
    Null,
    /// True or false.
    Boolean,
    /// An integer of 32 bits.
    Int,
    /// An integer of 64 bits.
    Long,
    /// Floating point of 32 bits.
    Float,
    /// Floating point of 64 bits.
    Double,
    /// Bytes.
    Bytes,
    /// Text.
    String,
    /// A UUID, as text.
    Uuid,
    /// A day.
    Date,
    /// A time of day, in milliseconds or microseconds.
    Time(Fraction),
    /// A point in time.
    Timestamp {
        /// What it is counted in.
        unit: Fraction,
        /// Whether it is of a calendar and clock without a zone.
        is_local: bool,
    },
    /// A decimal over bytes.
    Decimal {
        /// Digits.
        precision: u32,
        /// Digits after the point.
        scale: u32,
    },
}

/// A part of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fraction {
    /// A thousandth.
    Millis,
    /// A millionth.
    Micros,
    /// A billionth.
    Nanos,
}

impl Fraction {
    /// How many nanoseconds it is.
    pub const fn nanos(self) -> i128 {
        match self {
            Fraction::Millis => 1_000_000,
            Fraction::Micros => 1000,
            Fraction::Nanos => 1,
        }
    }

    /// Its name in those of logical types.
    pub const fn name(self) -> &'static str {
        match self {
            Fraction::Millis => "millis",
            Fraction::Micros => "micros",
            Fraction::Nanos => "nanos",
        }
    }
}

impl Scalar {
    /// What a value should be, with its article, for the message about one that isn't.
    pub const fn expected(self) -> &'static str {
        match self {
            Scalar::Null => "empty, as its Avro type null wants",
            Scalar::Boolean => "true or false",
            Scalar::Int => "an integer of 32 bits",
            Scalar::Long => "an integer of 64 bits",
            Scalar::Float | Scalar::Double => "a number as JSON writes it",
            Scalar::Bytes => "bytes",
            Scalar::String => "text",
            Scalar::Uuid => "a UUID",
            Scalar::Date => "a day (2019-10-01)",
            Scalar::Time(_) => "a time of day (23:59:59.5) that its Avro type holds",
            Scalar::Timestamp { .. } => "a point in time that its Avro type holds",
            Scalar::Decimal { .. } => "a decimal of its Avro type's precision and scale",
        }
    }
}

impl Schema {
    /// The fields, if a value is a record, which it is wherever rows are written.
    pub fn fields(&self) -> Option<&[Field]> {
        match &self.root {
            Type::Named(index) => match &self.named.get(*index)?.body {
                Body::Record(fields) => Some(fields),
                Body::Enum(_) | Body::Fixed { .. } => None,
            },
            _ => None,
        }
    }

    /// The whole name of the type of a value; None if that has none.
    pub fn name(&self) -> Option<&str> {
        match &self.root {
            Type::Named(index) => Some(&self.named.get(*index)?.name),
            _ => None,
        }
    }

    /// A type in words, as the schema has it.
    pub fn type_in_words(&self, of: &Type) -> String {
        match of {
            Type::Scalar(scalar) => scalar_in_words(*scalar),
            Type::Named(index) => match self.named.get(*index) {
                Some(Named { name, body: Body::Record(_) }) => format!("the record {name}"),
                Some(Named { name, body: Body::Enum(_) }) => format!("the enum {name}"),
                Some(Named { name, .. }) => format!("the fixed {name}"),
                None => "unknown".to_owned(),
            },
            Type::Array(items) => format!("an array of {}", self.type_in_words(items)),
            Type::Map(values) => format!("a map of {}", self.type_in_words(values)),
            Type::Union(branches) => {
                let of: Vec<String> =
                    branches.iter().map(|branch| self.type_in_words(branch)).collect();
                format!("[{}]", of.join(", "))
            }
        }
    }
}

fn scalar_in_words(scalar: Scalar) -> String {
    match scalar {
        Scalar::Null => "null".to_owned(),
        Scalar::Boolean => "boolean".to_owned(),
        Scalar::Int => "int".to_owned(),
        Scalar::Long => "long".to_owned(),
        Scalar::Float => "float".to_owned(),
        Scalar::Double => "double".to_owned(),
        Scalar::Bytes => "bytes".to_owned(),
        Scalar::String => "string".to_owned(),
        Scalar::Uuid => "uuid".to_owned(),
        Scalar::Date => "date".to_owned(),
        Scalar::Time(unit) => format!("time-{}", unit.name()),
        Scalar::Timestamp { unit, is_local } => {
            let local = if is_local { "local-" } else { "" };
            format!("{local}timestamp-{}", unit.name())
        }
        Scalar::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
    }
}
