//! A column's values, some rows of them at a time, and how one of them is written.
//!
//! Law: no value loses anything: integers and decimals by their digits, times with all of their
//! fraction, floating point as the shortest text that is read back as the same.

use std::fmt::Write as _;
use std::sync::Arc;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray, Int96};
use parquet::errors::Result;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use super::bytes::Pages;
use super::meaning::{Meaning, Unit};
use super::row_levels::CheckedPages;
use crate::input::RowFault;
use crate::output::base64;
use crate::time::civil_from_days;

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;

/// The day from which 96-bit timestamps count, as days before 1970: a Julian day number.
const JULIAN_EPOCH: i64 = 2_440_588;

/// One column of the rows at hand.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) meaning: Meaning,
    reader: Option<ColumnReader>,
    /// Of each row whether it has a value; empty if all have. Of a nested column its definition
    /// levels.
    pub(super) levels: Vec<i16>,
    values: Values,
    /// The row at hand, of those that were read.
    row: usize,
    /// Values of the rows up to it.
    values_behind: usize,
    has_value: bool,
}

/// Values as the file keeps them.
enum Values {
    Boolean(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

/// One of them.
pub(super) enum Value<'a> {
    Boolean(bool),
    Integer(i64),
    Int96(&'a [u32]),
    Float(f32),
    Double(f64),
    Bytes(&'a [u8]),
}

impl Column {
    /// A column of which nothing was read.
    pub(super) fn new(name: String, meaning: Meaning) -> Column {
        Column {
            name,
            meaning,
            reader: None,
            levels: Vec::new(),
            values: Values::Boolean(Vec::new()),
            row: 0,
            values_behind: 0,
            has_value: false,
        }
    }

    /// Begins with the column's part of a row group.
    pub(super) fn open(
        &mut self,
        pages: &Arc<Pages>,
        chunk: &ColumnChunkMetaData,
        rows: usize,
    ) -> Result<()> {
        let pages = SerializedPageReader::new(Arc::clone(pages), chunk, rows, None)?;
        let descriptor = chunk.column_descr_ptr();
        let pages = CheckedPages::new(pages, descriptor.max_rep_level(), chunk.num_values());
        let reader = get_column_reader(descriptor, Box::new(pages));
        self.values = match reader {
            ColumnReader::BoolColumnReader(_) => Values::Boolean(Vec::new()),
            ColumnReader::Int32ColumnReader(_) => Values::Int32(Vec::new()),
            ColumnReader::Int64ColumnReader(_) => Values::Int64(Vec::new()),
            ColumnReader::Int96ColumnReader(_) => Values::Int96(Vec::new()),
            ColumnReader::FloatColumnReader(_) => Values::Float(Vec::new()),
            ColumnReader::DoubleColumnReader(_) => Values::Double(Vec::new()),
            ColumnReader::ByteArrayColumnReader(_) => Values::Bytes(Vec::new()),
            ColumnReader::FixedLenByteArrayColumnReader(_) => Values::Fixed(Vec::new()),
        };
        self.reader = Some(reader);
        self.clear();
        Ok(())
    }

    /// Reads the next rows, so many at most: how many there were.
    pub(super) fn read(&mut self, rows: usize) -> Result<usize> {
        self.clear();
        self.read_more(rows, None).map(|(rows, _)| rows)
    }

    /// Forgets what was read.
    pub(super) fn clear(&mut self) {
        (self.row, self.values_behind) = (0, 0);
        self.levels.clear();
        match &mut self.values {
            Values::Boolean(values) => values.clear(),
            Values::Int32(values) => values.clear(),
            Values::Int64(values) => values.clear(),
            Values::Int96(values) => values.clear(),
            Values::Float(values) => values.clear(),
            Values::Double(values) => values.clear(),
            Values::Bytes(values) => values.clear(),
            Values::Fixed(values) => values.clear(),
        }
    }

    /// Reads the next rows behind what was read, so many at most: how many there were, and how many
    /// levels they have.
    pub(super) fn read_more(
        &mut self,
        rows: usize,
        repetitions: Option<&mut Vec<i16>>,
    ) -> Result<(usize, usize)> {
        let levels = &mut self.levels;
        let Some(reader) = &mut self.reader else { return Ok((0, 0)) };
        match (reader, &mut self.values) {
            (ColumnReader::BoolColumnReader(reader), Values::Boolean(values)) => {
                read(reader, levels, repetitions, values, rows)
            }
            (ColumnReader::Int32ColumnReader(reader), Values::Int32(values)) => {
                read(reader, levels, repetitions, values, rows)
            }
            (ColumnReader::Int64ColumnReader(reader), Values::Int64(values)) => {
                read(reader, levels, repetitions, values, rows)
            }
            (ColumnReader::Int96ColumnReader(reader), Values::Int96(values)) => {
                read(reader, levels, repetitions, values, rows)
            }
            (ColumnReader::FloatColumnReader(reader), Values::Float(values)) => {
                read(reader, levels, repetitions, values, rows)
            }
            (ColumnReader::DoubleColumnReader(reader), Values::Double(values)) => {
                read(reader, levels, repetitions, values, rows)
            }
            (ColumnReader::ByteArrayColumnReader(reader), Values::Bytes(values)) => {
                read(reader, levels, repetitions, values, rows)
            }
            (ColumnReader::FixedLenByteArrayColumnReader(reader), Values::Fixed(values)) => {
                read(reader, levels, repetitions, values, rows)
            }
            _ => Ok((0, 0)),
        }
    }

    /// Goes to the next of the rows that were read.
    #[inline]
    pub(super) fn advance(&mut self) {
        // A column at the top that isn't required has one level: 1 where there is a value.
        self.has_value = self.levels.get(self.row).is_none_or(|level| *level > 0);
        self.values_behind += usize::from(self.has_value);
        self.row += 1;
    }

    pub(super) fn value(&self) -> Option<Value<'_>> {
        self.value_at(self.values_behind.checked_sub(1).filter(|_| self.has_value)?)
    }

    /// A value by its place among those that were read.
    pub(super) fn value_at(&self, at: usize) -> Option<Value<'_>> {
        Some(match &self.values {
            Values::Boolean(values) => Value::Boolean(*values.get(at)?),
            Values::Int32(values) => Value::Integer((*values.get(at)?).into()),
            Values::Int64(values) => Value::Integer(*values.get(at)?),
            Values::Int96(values) => Value::Int96(values.get(at)?.data()),
            Values::Float(values) => Value::Float(*values.get(at)?),
            Values::Double(values) => Value::Double(*values.get(at)?),
            Values::Bytes(values) => Value::Bytes(values.get(at)?.data()),
            Values::Fixed(values) => Value::Bytes(values.get(at)?.data()),
        })
    }

    /// Whether the row has no value here.
    pub(super) fn is_null(&self) -> bool {
        !self.has_value
    }

    /// Adds the row's value as JSON.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) -> std::result::Result<(), RowFault> {
        match self.value() {
            Some(value) => self.write_json_value(&value, out),
            None => {
                out.extend_from_slice(b"null");
                Ok(())
            }
        }
    }

    /// Adds a value of the column as JSON.
    pub(super) fn write_json_value(
        &self,
        value: &Value<'_>,
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), RowFault> {
        if let (Meaning::Text, Value::Bytes(bytes)) = (self.meaning, value) {
            // Into memory nothing fails.
            let _ = serde_json::to_writer(out, self.utf8(bytes)?);
            return Ok(());
        }
        let is_finite = match value {
            Value::Float(number) => number.is_finite(),
            Value::Double(number) => number.is_finite(),
            Value::Bytes(bytes) if self.meaning == Meaning::Half => half(bytes).is_finite(),
            _ => true,
        };
        let is_string = self.meaning.is_string() || !is_finite;
        if is_string {
            out.push(b'"');
        }
        self.write_value(value, out)?;
        if is_string {
            out.push(b'"');
        }
        Ok(())
    }

    /// Adds the row's value as text; false if there is none.
    pub(super) fn write_text(&self, out: &mut Vec<u8>) -> std::result::Result<bool, RowFault> {
        let Some(value) = self.value() else { return Ok(false) };
        self.write_value(&value, out)?;
        Ok(true)
    }

    pub(super) fn write_value(
        &self,
        value: &Value<'_>,
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), RowFault> {
        match (self.meaning, value) {
            (Meaning::Text, Value::Bytes(bytes)) => {
                out.extend_from_slice(self.utf8(bytes)?.as_bytes());
            }
            (Meaning::Decimal { scale, .. }, Value::Bytes(bytes)) => {
                let unscaled = unscaled(bytes).ok_or_else(|| {
                    RowFault::value(&self.name, base64(bytes).as_bytes(), "a decimal of 128 bits")
                })?;
                write_decimal(unscaled, scale, out);
            }
            (Meaning::Decimal { scale, .. }, Value::Integer(number)) => {
                write_decimal((*number).into(), scale, out);
            }
            (Meaning::Half, Value::Bytes(bytes)) => write_float(half(bytes), out),
            (Meaning::Uuid, Value::Bytes(bytes)) => write_uuid(bytes, out),
            (_, Value::Bytes(bytes)) => out.extend_from_slice(base64(bytes).as_bytes()),
            (_, Value::Boolean(is)) => out.extend_from_slice(if *is { b"true" } else { b"false" }),
            (Meaning::Date, Value::Integer(days)) => write_date(*days, out),
            (Meaning::Time(unit), Value::Integer(time)) => {
                let seconds = time.div_euclid(unit.per_second());
                write_clock(seconds, time.rem_euclid(unit.per_second()), unit, out);
            }
            (Meaning::Timestamp { unit, is_utc }, Value::Integer(time)) => {
                let seconds = time.div_euclid(unit.per_second());
                write_timestamp(seconds, time.rem_euclid(unit.per_second()), unit, out);
                out.extend_from_slice(if is_utc { b"Z" } else { b"" });
            }
            (_, Value::Int96(parts)) => {
                let (seconds, nanos) = of_96_bits(parts);
                write_timestamp(seconds, nanos, Unit::Nanos, out);
                out.push(b'Z');
            }
            (Meaning::Unsigned, Value::Integer(number)) => {
                // Those of 32 bits are kept with their sign, too.
                let number = match self.values {
                    Values::Int32(_) => u64::from((*number as i32).cast_unsigned()),
                    _ => number.cast_unsigned(),
                };
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            (_, Value::Integer(number)) => {
                out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
            }
            (_, Value::Float(number)) => write_float(*number, out),
            (_, Value::Double(number)) => write_double(*number, out),
        }
        Ok(())
    }

    /// The row's value as milliseconds since 1970, if it is a time of itself.
    pub(super) fn time_ms(&self) -> Option<i64> {
        match (self.meaning, self.value()?) {
            (Meaning::Date, Value::Integer(days)) => days.checked_mul(DAY_SECONDS * 1000),
            (Meaning::Timestamp { unit, .. }, Value::Integer(time)) => match unit {
                Unit::Millis => Some(time),
                Unit::Micros | Unit::Nanos => Some(time.div_euclid(unit.per_second() / 1000)),
            },
            (Meaning::Int96, Value::Int96(parts)) => {
                let (seconds, nanos) = of_96_bits(parts);
                seconds.checked_mul(1000)?.checked_add(nanos / 1_000_000)
            }
            _ => None,
        }
    }

    pub(super) fn utf8<'a>(&self, bytes: &'a [u8]) -> std::result::Result<&'a str, RowFault> {
        std::str::from_utf8(bytes)
            .map_err(|_| RowFault::not_utf8(format!("column {}", self.name), bytes))
    }
}

impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Column")
            .field("name", &self.name)
            .field("meaning", &self.meaning)
            .finish_non_exhaustive()
    }
}

fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    levels: &mut Vec<i16>,
    repetitions: Option<&mut Vec<i16>>,
    values: &mut Vec<T::T>,
    rows: usize,
) -> Result<(usize, usize)> {
    let (rows, _, levels) = reader.read_records(rows, Some(levels), repetitions, values)?;
    Ok((rows, levels))
}

/// A number in two's complement, the highest byte first; None if 128 bits don't hold it.
pub(super) fn unscaled(bytes: &[u8]) -> Option<i128> {
    let fill = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let (more, last) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut all = [fill; 16];
    all[16 - last.len()..].copy_from_slice(last);
    let fits =
        more.iter().all(|byte| *byte == fill) && (more.is_empty() || all[0] >> 7 == fill >> 7);
    fits.then(|| i128::from_be_bytes(all))
}

/// Writes a decimal with as many digits after the point as its type has.
fn write_decimal(unscaled: i128, scale: usize, out: &mut Vec<u8>) {
    if unscaled < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(unscaled.unsigned_abs()).as_bytes();
    let whole = digits.len().saturating_sub(scale);
    out.extend_from_slice(if whole == 0 { b"0" } else { &digits[..whole] });
    if scale > 0 {
        out.push(b'.');
        out.resize(out.len() + scale.saturating_sub(digits.len()), b'0');
        out.extend_from_slice(&digits[whole..]);
    }
}

fn write_double(number: f64, out: &mut Vec<u8>) {
    if number.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(number).as_bytes());
    } else {
        write_not_finite(number, out);
    }
}

fn write_float(number: f32, out: &mut Vec<u8>) {
    if number.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(number).as_bytes());
    } else {
        write_not_finite(number.into(), out);
    }
}

/// What JSON has no number for, by the names that JSON of Protocol Buffers has for it.
fn write_not_finite(number: f64, out: &mut Vec<u8>) {
    let name: &[u8] = match number {
        _ if number.is_nan() => b"NaN",
        _ if number > 0.0 => b"Infinity",
        _ => b"-Infinity",
    };
    out.extend_from_slice(name);
}

/// A number of 16 bits (IEEE 754, lowest byte first).
pub(super) fn half(bytes: &[u8]) -> f32 {
    let bits = u16::from_le_bytes([
        bytes.first().copied().unwrap_or(0),
        bytes.get(1).copied().unwrap_or(0),
    ]);
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

fn write_uuid(bytes: &[u8], out: &mut Vec<u8>) {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    out.extend_from_slice(text.as_bytes());
}

fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    let mut text = String::with_capacity(10);
    let _ = write!(text, "{year:04}-{month:02}-{day:02}");
    out.extend_from_slice(text.as_bytes());
}

fn write_clock(seconds: i64, fraction: i64, unit: Unit, out: &mut Vec<u8>) {
    let (hours, minutes) = (seconds.div_euclid(3600), seconds.rem_euclid(3600) / 60);
    let digits = unit.digits();
    let mut text = String::with_capacity(18);
    let seconds = seconds.rem_euclid(60);
    let _ = write!(text, "{hours:02}:{minutes:02}:{seconds:02}.{fraction:0digits$}");
    out.extend_from_slice(text.as_bytes());
}

fn write_timestamp(seconds: i64, fraction: i64, unit: Unit, out: &mut Vec<u8>) {
    write_date(seconds.div_euclid(DAY_SECONDS), out);
    out.push(b'T');
    write_clock(seconds.rem_euclid(DAY_SECONDS), fraction, unit, out);
}

/// A timestamp of 96 bits (nanoseconds of the day, then the day): seconds since 1970 and
/// nanoseconds.
pub(super) fn of_96_bits(parts: &[u32]) -> (i64, i64) {
    let [low, high, day] = *parts else { return (0, 0) };
    let nanos = u64::from(high) << 32 | u64::from(low);
    let seconds = (nanos / 1_000_000_000).cast_signed();
    let days = i64::from(day) - JULIAN_EPOCH;
    (days * DAY_SECONDS + seconds, (nanos % 1_000_000_000).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[rstest]
    #[case(12345, 2, "123.45")]
    #[case(-5, 3, "-0.005")]
    #[case(0, 2, "0.00")]
    #[case(7, 0, "7")]
    #[case(-100, 2, "-1.00")]
    #[case(i128::MIN, 38, "-1.70141183460469231731687303715884105728")]
    fn a_decimal_keeps_all_its_digits(
        #[case] unscaled: i128,
        #[case] scale: usize,
        #[case] expected: &str,
    ) {
        assert_eq!(text(|out| write_decimal(unscaled, scale, out)), expected);
    }

    #[test]
    fn twos_complement_of_any_length() {
        for number in [0, 1, -1, 127, 128, -128, -129, i64::MAX.into(), i128::MIN, i128::MAX] {
            assert_eq!(unscaled(&number.to_be_bytes()), Some(number));
            let fill = if number < 0 { 0xff } else { 0 };
            assert_eq!(unscaled(&[&[fill; 5][..], &number.to_be_bytes()].concat()), Some(number));
        }
        assert_eq!(
            (unscaled(&[]), unscaled(&[0xfe]), unscaled(&[0x7f])),
            (Some(0), Some(-2), Some(127))
        );
        assert_eq!(unscaled(&[1; 17]), None);
        let too_large = [&[0][..], &[0xff; 16]].concat();
        assert_eq!(unscaled(&too_large), None, "128 bits without room for a sign");
    }

    #[rstest]
    #[case(0, 0, "1970-01-01T00:00:00.000000Z")]
    #[case(-1, 999_999, "1969-12-31T23:59:59.999999Z")]
    #[case(1_569_888_000, 1, "2019-10-01T00:00:00.000001Z")]
    fn a_timestamp_has_all_of_its_fraction(
        #[case] seconds: i64,
        #[case] micros: i64,
        #[case] expected: &str,
    ) {
        let written = text(|out| {
            write_timestamp(seconds, micros, Unit::Micros, out);
            out.push(b'Z');
        });
        assert_eq!(written, expected);
        let ms = seconds * 1000 + micros / 1000;
        let read = crate::time::parse_timestamp(written.as_bytes());
        assert!(seconds < 0 || read == Some(ms), "{read:?}");
    }

    #[test]
    fn no_time_is_too_far_away() {
        for time in [i64::MIN, i64::MAX] {
            for unit in [Unit::Millis, Unit::Micros, Unit::Nanos] {
                let seconds = time.div_euclid(unit.per_second());
                let fraction = time.rem_euclid(unit.per_second());
                assert!(text(|out| write_timestamp(seconds, fraction, unit, out)).contains('T'));
            }
        }
        let (seconds, nanos) = of_96_bits(&[u32::MAX; 3]);
        assert!(text(|out| write_timestamp(seconds, nanos, Unit::Nanos, out)).contains('T'));
        assert_eq!(of_96_bits(&[5, 0, 2_440_589]), (DAY_SECONDS, 5));
    }

    #[test]
    fn floating_point_is_read_back_the_same() {
        for number in [0.1, -0.0, 1e300, 5e-324, 16_777_217.0] {
            assert_eq!(text(|out| write_double(number, out)).parse::<f64>().unwrap(), number);
        }
        assert_eq!(text(|out| write_float(0.1, out)), "0.1");
        assert_eq!(text(|out| write_float(f32::NEG_INFINITY, out)), "-Infinity");
        assert_eq!(text(|out| write_double(f64::NAN, out)), "NaN");
        for (bits, number) in
            [(0x3c00_u16, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (1, 5.960_464_5e-8)]
        {
            assert_eq!(half(&bits.to_le_bytes()), number);
        }
        assert!(half(&0x7e00_u16.to_le_bytes()).is_nan());
        assert_eq!(half(&0x7c00_u16.to_le_bytes()), f32::INFINITY);
    }

    #[test]
    fn a_uuid_is_written_as_everybody_does() {
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(text(|out| write_uuid(&bytes, out)), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }
}
