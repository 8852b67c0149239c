//! Values as Avro's binary encoding has them, made of their texts: what a CSV column holds, a
//! number of JSON, a decimal of Parquet.
//!
//! Law: a text that isn't a value of its type writes nothing that stays; no value is rounded but
//! where the type says so (`float`, `double`, and times finer than their unit, which are cut as
//! everywhere in this command).

use super::schema::{Fraction, Scalar};
use crate::render::number::{is_integer, is_number};
use crate::schema::is_boolean;
use crate::time::{parse_clock_nanos, parse_date, parse_timestamp, parse_timestamp_nanos};

/// Writes an integer: zigzag, seven bits a byte, the lowest first.
#[inline]
pub fn write_long(out: &mut Vec<u8>, number: i64) {
    let mut rest = (number << 1 ^ number >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Writes bytes behind their length; so is text written.
#[inline]
pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// Writes a decimal's digits: two's complement, the highest byte first, as few bytes as hold it.
pub fn write_decimal(out: &mut Vec<u8>, unscaled: i128) {
    let bytes = unscaled.to_be_bytes();
    write_bytes(out, &bytes[spare_bytes(unscaled)..]);
}

/// The same in a fixed of so many bytes; false if they don't hold it.
pub fn write_fixed_decimal(out: &mut Vec<u8>, unscaled: i128, size: usize) -> bool {
    let bytes = unscaled.to_be_bytes();
    let kept = &bytes[spare_bytes(unscaled)..];
    let Some(fill) = size.checked_sub(kept.len()) else { return false };
    out.resize(out.len() + fill, if unscaled < 0 { 0xff } else { 0 });
    out.extend_from_slice(kept);
    true
}

/// How many of the highest bytes say nothing but the sign.
fn spare_bytes(number: i128) -> usize {
    let same = if number < 0 { number.leading_ones() } else { number.leading_zeros() };
    // One bit of the sign has to stay.
    (same.saturating_sub(1) / 8) as usize
}

/// Writes the value that a text is of a type; false, and nothing, if it is none.
#[inline]
pub fn write_scalar(out: &mut Vec<u8>, of: Scalar, text: &[u8]) -> bool {
    match of {
        Scalar::String | Scalar::Bytes => {
            write_bytes(out, text);
            true
        }
        Scalar::Long => written(out, integer(text)),
        Scalar::Double => match number(text) {
            Some(number) => {
                out.extend_from_slice(&number.to_le_bytes());
                true
            }
            None => false,
        },
        Scalar::Timestamp { unit: Fraction::Millis, .. } => written(out, parse_timestamp(text)),
        _ => write_rarer(out, of, text),
    }
}

fn write_rarer(out: &mut Vec<u8>, of: Scalar, text: &[u8]) -> bool {
    match of {
        Scalar::Null => text.is_empty(),
        Scalar::Boolean if is_boolean(text) => {
            out.push(u8::from(text.len() == 4));
            true
        }
        Scalar::Int => written(out, integer(text).filter(|n| i32::try_from(*n).is_ok())),
        Scalar::Float => match number(text).map(|number| number as f32) {
            Some(number) if number.is_finite() => {
                out.extend_from_slice(&number.to_le_bytes());
                true
            }
            _ => false,
        },
        Scalar::Uuid if is_uuid(text) => {
            write_bytes(out, text);
            true
        }
        Scalar::Date => written(out, parse_date(text)),
        Scalar::Time(unit) => {
            let time = parse_clock_nanos(text).map(|nanos| i128::from(nanos) / unit.nanos());
            written(out, time.and_then(|time| i64::try_from(time).ok()))
        }
        Scalar::Timestamp { unit, .. } => {
            let time = parse_timestamp_nanos(text).map(|nanos| nanos.div_euclid(unit.nanos()));
            written(out, time.and_then(|time| i64::try_from(time).ok()))
        }
        Scalar::Decimal { precision, scale } => match unscaled(text, precision, scale) {
            Some(unscaled) => {
                write_decimal(out, unscaled);
                true
            }
            None => false,
        },
        _ => false,
    }
}

#[inline]
fn written(out: &mut Vec<u8>, number: Option<i64>) -> bool {
    match number {
        Some(number) => {
            write_long(out, number);
            true
        }
        None => false,
    }
}

#[inline]
fn integer(text: &[u8]) -> Option<i64> {
    if !is_integer(text) {
        return None;
    }
    let (digits, is_negative) = match text {
        [b'-', digits @ ..] => (digits, true),
        digits => (digits, false),
    };
    // Below zero, where there is one number more. That it fits was seen above.
    let below = digits
        .iter()
        .fold(0_i64, |sum, digit| sum.wrapping_mul(10).wrapping_sub(i64::from(digit - b'0')));
    Some(if is_negative { below } else { below.wrapping_neg() })
}

/// The nearest number of 64 bits.
fn number(text: &[u8]) -> Option<f64> {
    if !is_number(text) {
        return None;
    }
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

fn is_uuid(text: &[u8]) -> bool {
    let is_right = |(index, byte): (usize, &u8)| match index {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.iter().enumerate().all(is_right)
}

/// The digits of a decimal as one number, by the scale; None if it has more of them than its type,
/// zeros behind the last aside.
pub fn unscaled(text: &[u8], precision: u32, scale: u32) -> Option<i128> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let point = digits.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) if at + 1 < digits.len() => (&digits[..at], &digits[at + 1..]),
        Some(_) => return None,
        None => (digits, &[][..]),
    };
    if whole.is_empty() {
        return None;
    }
    let kept = fraction.len().min(scale as usize);
    if fraction[kept..].iter().any(|byte| *byte != b'0') {
        return None;
    }
    let padding = std::iter::repeat_n(&b'0', scale as usize - kept);
    let mut number = 0_i128;
    for digit in whole.iter().chain(&fraction[..kept]).chain(padding) {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let fits = number < 10_i128.checked_pow(precision)?;
    fits.then_some(if text.len() > digits.len() { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn written_as(of: Scalar, text: &str) -> Option<Vec<u8>> {
        let mut out = vec![];
        let is_one = write_scalar(&mut out, of, text.as_bytes());
        assert!(is_one || out.is_empty(), "{of:?} {text:?}");
        is_one.then_some(out)
    }

    // The specification's own examples.
    #[rstest]
    #[case(0, &[0])]
    #[case(-1, &[1])]
    #[case(1, &[2])]
    #[case(-2, &[3])]
    #[case(-64, &[0x7f])]
    #[case(64, &[0x80, 1])]
    #[case(i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])]
    #[case(i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])]
    fn integers_zigzag(#[case] number: i64, #[case] expected: &[u8]) {
        assert_eq!(written_as(Scalar::Long, &number.to_string()).unwrap(), expected);
    }

    #[test]
    fn each_type_by_its_known_bytes() {
        let timestamp = |unit| Scalar::Timestamp { unit, is_local: false };
        let decimal = Scalar::Decimal { precision: 6, scale: 2 };
        for (of, text, expected) in [
            (Scalar::String, "foo", &[6, b'f', b'o', b'o'][..]),
            (Scalar::String, "", &[0]),
            (Scalar::Boolean, "TRUE", &[1]),
            (Scalar::Boolean, "false", &[0]),
            (Scalar::Double, "35.79", &35.79_f64.to_le_bytes()),
            (Scalar::Float, "0.5", &0.5_f32.to_le_bytes()),
            (Scalar::Date, "1970-01-03", &[4]),
            (Scalar::Date, "1969-12-31", &[1]),
            (Scalar::Time(Fraction::Millis), "00:00:00.0329", &[64]),
            (Scalar::Time(Fraction::Micros), "00:00:00.000032", &[64]),
            (timestamp(Fraction::Millis), "1970-01-01T00:00:00.032Z", &[64]),
            (timestamp(Fraction::Micros), "1970-01-01T00:00:00.000032Z", &[64]),
            (timestamp(Fraction::Nanos), "1969-12-31T23:59:59.999999999Z", &[1]),
            (decimal, "1.00", &[2, 100]),
            (decimal, "-1.28", &[2, 0x80]),
            (decimal, "1.28", &[4, 0, 0x80]),
            (decimal, "0", &[2, 0]),
        ] {
            assert_eq!(written_as(of, text).as_deref(), Some(expected), "{of:?} {text:?}");
        }
    }

    #[rstest]
    #[case(Scalar::Int, "2147483648")]
    #[case(Scalar::Long, "9223372036854775808")]
    #[case(Scalar::Long, "007")]
    #[case(Scalar::Long, "")]
    #[case(Scalar::Double, "1e999")]
    #[case(Scalar::Float, "1e39")]
    #[case(Scalar::Double, "NaN")]
    #[case(Scalar::Boolean, "1")]
    #[case(Scalar::Null, "x")]
    #[case(Scalar::Date, "2019-02-29")]
    #[case(Scalar::Uuid, "72d76fde-8bb3-4e00-8c23-a032dfed738")]
    #[case(Scalar::Decimal { precision: 4, scale: 2 }, "100.00")]
    #[case(Scalar::Decimal { precision: 4, scale: 2 }, "1.005")]
    #[case(Scalar::Decimal { precision: 4, scale: 2 }, "1.")]
    #[case(Scalar::Decimal { precision: 4, scale: 2 }, "-")]
    #[case(Scalar::Timestamp { unit: Fraction::Nanos, is_local: false }, "9999-01-01")]
    fn what_isnt_of_its_type_writes_nothing(#[case] of: Scalar, #[case] text: &str) {
        assert_eq!(written_as(of, text), None);
    }

    #[test]
    fn a_fixed_decimal_is_filled_with_its_sign() {
        let mut out = vec![];
        assert!(write_fixed_decimal(&mut out, -2, 3) && write_fixed_decimal(&mut out, 300, 2));
        assert_eq!(out, [0xff, 0xff, 0xfe, 1, 0x2c]);
        assert!(!write_fixed_decimal(&mut out, 128, 1));
    }

    proptest! {
        #[test]
        fn every_integer_is_read_as_it_stands(number in any::<i64>()) {
            prop_assert_eq!(integer(number.to_string().as_bytes()), Some(number));
        }

        #[test]
        fn a_decimal_takes_as_few_bytes_as_hold_it(number in any::<i128>()) {
            let mut out = vec![];
            write_decimal(&mut out, number);
            let bytes = &out[1..];
            let fill = if number < 0 { 0xff } else { 0 };
            let mut all = [fill; 16];
            all[16 - bytes.len()..].copy_from_slice(bytes);
            prop_assert_eq!(i128::from_be_bytes(all), number);
            let is_spare = bytes.len() > 1 && bytes[0] == fill && bytes[1] >> 7 == fill >> 7;
            prop_assert!(!is_spare && i64::from(out[0]) == 2 * bytes.len() as i64);
        }
    }
}
