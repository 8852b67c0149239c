//! A column's value as a field of an Avro record: as the file keeps it where that is of the field's
//! type, else as its text would be.

use super::column::{Column, Value, half, of_96_bits, unscaled};
use super::meaning::Meaning;
use crate::avro::columns::{ColumnField, Target};
use crate::avro::encode::{write_bytes, write_decimal, write_long};
use crate::avro::schema::{Fraction, Scalar};
use crate::input::RowFault;

impl Column {
    /// Adds the row's value as a field of an Avro record: as the file keeps it where that is of the
    /// field's type, else as its text would be.
    pub(super) fn write_avro(
        &self,
        field: &ColumnField,
        text: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), RowFault> {
        let Some(value) = self.value() else {
            return field
                .write_null(out)
                .map_err(|expected| RowFault::value(&self.name, b"null", expected));
        };
        out.extend_from_slice(&field.before);
        if self.write_same(&value, &field.target, out)? {
            return Ok(());
        }
        text.clear();
        self.write_value(&value, text)?;
        match field.target.write_text(out, text) {
            true => Ok(()),
            false => Err(RowFault::value(&self.name, text, field.target.expected())),
        }
    }

    /// Adds a value that is of a type as it stands; false, and nothing, if it isn't.
    fn write_same(
        &self,
        value: &Value<'_>,
        target: &Target,
        out: &mut Vec<u8>,
    ) -> Result<bool, RowFault> {
        if let (Meaning::Binary, Value::Bytes(bytes)) = (self.meaning, value) {
            return Ok(target.write_binary(out, bytes));
        }
        let Target::Scalar(scalar) = target else { return Ok(false) };
        match (self.meaning, *scalar, value) {
            (Meaning::Text, Scalar::String, Value::Bytes(bytes)) => {
                write_bytes(out, self.utf8(bytes)?.as_bytes());
            }
            (Meaning::Boolean, Scalar::Boolean, Value::Boolean(is)) => out.push(u8::from(*is)),
            (Meaning::Signed, Scalar::Long, Value::Integer(number))
            | (Meaning::Date, Scalar::Date, Value::Integer(number)) => write_long(out, *number),
            (Meaning::Signed, Scalar::Int, Value::Integer(number))
                if i32::try_from(*number).is_ok() =>
            {
                write_long(out, *number);
            }
            (Meaning::Time(unit), Scalar::Time(same), Value::Integer(number))
                if unit.fraction() == same =>
            {
                write_long(out, *number);
            }
            (
                Meaning::Timestamp { unit, .. },
                Scalar::Timestamp { unit: same, .. },
                Value::Integer(number),
            ) if unit.fraction() == same => write_long(out, *number),
            (Meaning::Timestamp { .. } | Meaning::Int96, Scalar::Timestamp { unit, .. }, _) => {
                return Ok(self.write_time(value, unit, out));
            }
            (Meaning::Decimal { scale, .. }, Scalar::Decimal { scale: same, .. }, value)
                if u32::try_from(scale) == Ok(same) =>
            {
                match value {
                    Value::Integer(number) => write_decimal(out, (*number).into()),
                    Value::Bytes(bytes) => match unscaled(bytes) {
                        Some(unscaled) => write_decimal(out, unscaled),
                        None => return Ok(false),
                    },
                    _ => return Ok(false),
                }
            }
            (_, Scalar::Double, Value::Double(number)) => {
                out.extend_from_slice(&number.to_le_bytes());
            }
            (_, Scalar::Double, Value::Float(number)) => {
                out.extend_from_slice(&f64::from(*number).to_le_bytes());
            }
            (_, Scalar::Float, Value::Float(number)) => {
                out.extend_from_slice(&number.to_le_bytes());
            }
            (Meaning::Half, Scalar::Float, Value::Bytes(bytes)) => {
                out.extend_from_slice(&half(bytes).to_le_bytes());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Adds a point in time as so many of a unit, what is finer cut; false if 64 bits
    /// don't hold it.
    fn write_time(&self, value: &Value<'_>, unit: Fraction, out: &mut Vec<u8>) -> bool {
        let nanos = match (self.meaning, value) {
            (Meaning::Timestamp { unit: own, .. }, Value::Integer(time)) => {
                i128::from(*time) * own.fraction().nanos()
            }
            (_, Value::Int96(parts)) => {
                let (seconds, nanos) = of_96_bits(parts);
                i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
            }
            _ => return false,
        };
        match i64::try_from(nanos.div_euclid(unit.nanos())) {
            Ok(number) => {
                write_long(out, number);
                true
            }
            Err(_) => false,
        }
    }
}
