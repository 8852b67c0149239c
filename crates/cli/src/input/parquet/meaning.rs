//! What the values of a column mean, by the file's schema: logical types, and the older converted
//! ones.

use std::fmt;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::schema::types::ColumnDescriptor;

use crate::avro::Holds;
use crate::avro::schema::{Fraction, Scalar};

/// A decimal of so many digits may be a JSON number: readers who keep numbers as doubles get it
/// right to the digit.
const NUMBER_DIGITS_MAX: i32 = 15;

/// The most digits of a decimal: as many as 128 bits hold.
const DECIMAL_DIGITS_MAX: i32 = 38;

/// A part of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    /// How many of it are a second.
    pub(super) fn per_second(self) -> i64 {
        match self {
            Unit::Millis => 1_000,
            Unit::Micros => 1_000_000,
            Unit::Nanos => 1_000_000_000,
        }
    }

    /// Digits of a second's fraction.
    pub(super) fn digits(self) -> usize {
        match self {
            Unit::Millis => 3,
            Unit::Micros => 6,
            Unit::Nanos => 9,
        }
    }

    /// The same by Avro's name.
    pub(super) const fn fraction(self) -> Fraction {
        match self {
            Unit::Millis => Fraction::Millis,
            Unit::Micros => Fraction::Micros,
            Unit::Nanos => Fraction::Nanos,
        }
    }

    fn of(unit: TimeUnit) -> Unit {
        match unit {
            TimeUnit::MILLIS => Unit::Millis,
            TimeUnit::MICROS => Unit::Micros,
            TimeUnit::NANOS => Unit::Nanos,
        }
    }
}

/// What a column's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Boolean,
    Signed,
    Unsigned,
    Float,
    Double,
    Half,
    Decimal {
        precision: i32,
        scale: usize,
    },
    Date,
    Time(Unit),
    Timestamp {
        unit: Unit,
        is_utc: bool,
    },
    /// Days and nanoseconds in 96 bits, as Hive and Impala write timestamps.
    Int96,
    Text,
    Uuid,
    Binary,
}

impl Meaning {
    /// What a column of the file holds; why that can't be read, if it can't.
    pub(super) fn of(column: &ColumnDescriptor) -> Result<Meaning, String> {
        let logical = column.logical_type_ref();
        let converted = column.converted_type();
        if matches!(logical, Some(LogicalType::Decimal(_))) || converted == ConvertedType::DECIMAL {
            return decimal(column);
        }
        Ok(match column.physical_type() {
            Type::BOOLEAN => Meaning::Boolean,
            Type::INT32 => of_int32(logical, converted),
            Type::INT64 => of_int64(logical, converted),
            Type::INT96 => Meaning::Int96,
            Type::FLOAT => Meaning::Float,
            Type::DOUBLE => Meaning::Double,
            Type::BYTE_ARRAY => match (logical, converted) {
                (Some(LogicalType::String | LogicalType::Enum | LogicalType::Json), _)
                | (_, ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON) => {
                    Meaning::Text
                }
                _ => Meaning::Binary,
            },
            Type::FIXED_LEN_BYTE_ARRAY => match (logical, column.type_length()) {
                (Some(LogicalType::Uuid), 16) => Meaning::Uuid,
                (Some(LogicalType::Float16), 2) => Meaning::Half,
                _ => Meaning::Binary,
            },
        })
    }

    /// Its name in what is told of columns.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Meaning::Boolean => "boolean",
            Meaning::Signed | Meaning::Unsigned => "integer",
            Meaning::Float | Meaning::Double | Meaning::Half => "number",
            Meaning::Decimal { .. } => "decimal",
            Meaning::Date => "date",
            Meaning::Time(_) => "time",
            Meaning::Timestamp { .. } | Meaning::Int96 => "timestamp",
            Meaning::Text => "string",
            Meaning::Uuid => "uuid",
            Meaning::Binary => "binary",
        }
    }

    /// The Avro type that loses nothing of it; `is_wide` says that integers have 64 bits. Of what
    /// Avro has no type for (times of day in nanoseconds), its text.
    pub(super) fn avro_type(self, is_wide: bool) -> Scalar {
        match self {
            Meaning::Boolean => Scalar::Boolean,
            Meaning::Signed => {
                if is_wide {
                    Scalar::Long
                } else {
                    Scalar::Int
                }
            }
            Meaning::Unsigned if is_wide => Scalar::Decimal { precision: 20, scale: 0 },
            Meaning::Unsigned => Scalar::Long,
            Meaning::Float | Meaning::Half => Scalar::Float,
            Meaning::Double => Scalar::Double,
            Meaning::Decimal { precision, scale } => Scalar::Decimal {
                precision: precision.unsigned_abs(),
                scale: u32::try_from(scale).unwrap_or(0),
            },
            Meaning::Date => Scalar::Date,
            Meaning::Time(Unit::Millis) => Scalar::Time(Fraction::Millis),
            Meaning::Time(Unit::Micros) => Scalar::Time(Fraction::Micros),
            Meaning::Time(Unit::Nanos) | Meaning::Text => Scalar::String,
            Meaning::Timestamp { unit, is_utc } => {
                Scalar::Timestamp { unit: unit.fraction(), is_local: !is_utc }
            }
            Meaning::Int96 => Scalar::Timestamp { unit: Fraction::Nanos, is_local: false },
            Meaning::Uuid => Scalar::Uuid,
            Meaning::Binary => Scalar::Bytes,
        }
    }

    /// The types of its values in JSON: of floating point also strings, for what isn't a number.
    pub(super) const fn json_types(self) -> &'static [&'static str] {
        match self {
            Meaning::Boolean => &["boolean"],
            Meaning::Signed | Meaning::Unsigned => &["integer"],
            Meaning::Float | Meaning::Double | Meaning::Half => &["number", "string"],
            Meaning::Decimal { .. } if !self.is_string() => &["number"],
            _ => &["string"],
        }
    }

    /// What an Avro schema is told of its values.
    pub(super) const fn holds(self) -> Holds {
        match self {
            Meaning::Boolean => Holds::Boolean,
            Meaning::Signed | Meaning::Unsigned => Holds::Integer,
            Meaning::Float | Meaning::Double | Meaning::Half => Holds::Number,
            Meaning::Decimal { .. } => Holds::Decimal,
            Meaning::Date => Holds::Date,
            Meaning::Time(_) => Holds::Time,
            Meaning::Timestamp { .. } | Meaning::Int96 => Holds::Timestamp,
            Meaning::Text => Holds::Text,
            Meaning::Uuid => Holds::Uuid,
            Meaning::Binary => Holds::Binary,
        }
    }

    /// Whether its text is a string in JSON. Of floating point, only what isn't a number.
    pub(super) const fn is_string(self) -> bool {
        match self {
            Meaning::Boolean
            | Meaning::Signed
            | Meaning::Unsigned
            | Meaning::Float
            | Meaning::Double
            | Meaning::Half => false,
            Meaning::Decimal { precision, .. } => precision > NUMBER_DIGITS_MAX,
            Meaning::Date
            | Meaning::Time(_)
            | Meaning::Timestamp { .. }
            | Meaning::Int96
            | Meaning::Text
            | Meaning::Uuid
            | Meaning::Binary => true,
        }
    }
}

/// All that decides how values are written.
impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Meaning::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Meaning::Time(unit) => write!(f, "time({})", unit.digits()),
            Meaning::Timestamp { unit, is_utc } => {
                let of_where = if *is_utc { "" } else { ",local" };
                write!(f, "timestamp({}{of_where})", unit.digits())
            }
            other => f.write_str(other.name()),
        }
    }
}

fn of_int32(logical: Option<&LogicalType>, converted: ConvertedType) -> Meaning {
    match (logical, converted) {
        (Some(LogicalType::Date), _) | (None, ConvertedType::DATE) => Meaning::Date,
        (Some(LogicalType::Time(_)), _) | (None, ConvertedType::TIME_MILLIS) => {
            Meaning::Time(Unit::Millis)
        }
        (Some(LogicalType::Integer(integer)), _) if !integer.is_signed => Meaning::Unsigned,
        (None, ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32) => {
            Meaning::Unsigned
        }
        _ => Meaning::Signed,
    }
}

fn of_int64(logical: Option<&LogicalType>, converted: ConvertedType) -> Meaning {
    match (logical, converted) {
        (Some(LogicalType::Time(time)), _) => Meaning::Time(Unit::of(time.unit)),
        (Some(LogicalType::Timestamp(time)), _) => {
            Meaning::Timestamp { unit: Unit::of(time.unit), is_utc: time.is_adjusted_to_u_t_c }
        }
        (None, ConvertedType::TIME_MICROS) => Meaning::Time(Unit::Micros),
        // The older types are of UTC, by the format's own rule.
        (None, ConvertedType::TIMESTAMP_MILLIS) => {
            Meaning::Timestamp { unit: Unit::Millis, is_utc: true }
        }
        (None, ConvertedType::TIMESTAMP_MICROS) => {
            Meaning::Timestamp { unit: Unit::Micros, is_utc: true }
        }
        (Some(LogicalType::Integer(integer)), _) if !integer.is_signed => Meaning::Unsigned,
        (None, ConvertedType::UINT_64) => Meaning::Unsigned,
        _ => Meaning::Signed,
    }
}

fn decimal(column: &ColumnDescriptor) -> Result<Meaning, String> {
    let (precision, scale) = (column.type_precision(), column.type_scale());
    let digits = usize::try_from(scale).ok().filter(|_| scale <= precision);
    match digits {
        Some(scale) if (1..=DECIMAL_DIGITS_MAX).contains(&precision) => {
            Ok(Meaning::Decimal { precision, scale })
        }
        _ => Err(format!(
            "a decimal of {precision} digits, {scale} of them after the point; \
             {DECIMAL_DIGITS_MAX} digits are taken"
        )),
    }
}
