//! Points in time as text: read from files and flags, written for people. UTC only, no clock.

/// Milliseconds in a day.
const DAY_MS: i64 = 86_400_000;

/// Integers under this are taken for seconds, from it on for milliseconds: as seconds it is the
/// year 5138, as milliseconds March 1973.
const SECONDS_BELOW: u64 = 100_000_000_000;

/// Reads a point in time as milliseconds since 1970, or None if it isn't one. Understood are
/// `2019-10-01`, `2019-10-01 00:00:00` (UTC), the same with `T`, a fraction, ` UTC`, `Z` or an
/// offset (`+02:00`), and integers: seconds under 100 000 000 000, else milliseconds.
pub fn parse_timestamp(text: &[u8]) -> Option<i64> {
    if !text.is_empty() && text.iter().all(u8::is_ascii_digit) && text.len() <= 16 {
        let number = digits(text)?;
        let ms = if number < SECONDS_BELOW { number.checked_mul(1000)? } else { number };
        return i64::try_from(ms).ok();
    }
    let date_ms = parse_date(text.get(..10)?)? * DAY_MS;
    let rest = &text[10..];
    if rest.is_empty() {
        return Some(date_ms);
    }
    if !matches!(rest[0], b' ' | b'T' | b't') {
        return None;
    }
    let (clock_ms, rest) = parse_clock(&rest[1..])?;
    let (fraction_ms, rest) = parse_fraction(rest)?;
    Some(date_ms + clock_ms + fraction_ms - parse_offset_ms(rest)?)
}

/// The same as nanoseconds since 1970: with all of its fraction.
pub fn parse_timestamp_nanos(text: &[u8]) -> Option<i128> {
    let ms = parse_timestamp(text)?;
    Some(i128::from(ms) * 1_000_000 + i128::from(nanos_of_fraction(text) % 1_000_000))
}

/// Nanoseconds of the day of `HH:MM:SS` with or without a fraction.
pub fn parse_clock_nanos(text: &[u8]) -> Option<i64> {
    let (ms, rest) = parse_clock(text)?;
    let (_, behind) = parse_fraction(rest)?;
    behind.is_empty().then(|| ms * 1_000_000 + nanos_of_fraction(rest))
}

/// What stands behind the point of a text that was understood, as nanoseconds.
fn nanos_of_fraction(text: &[u8]) -> i64 {
    let Some(point) = text.iter().position(|byte| *byte == b'.') else { return 0 };
    let digits = text[point + 1..].iter().take_while(|byte| byte.is_ascii_digit());
    let digits = digits.chain(std::iter::repeat(&b'0')).take(9);
    digits.fold(0, |nanos, digit| nanos * 10 + i64::from(digit - b'0'))
}

/// Days since 1970 of `YYYY-MM-DD`, a real day of the Gregorian calendar.
pub fn parse_date(text: &[u8]) -> Option<i64> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = digits(&text[..4])?;
    let month = digits(&text[5..7])?;
    let day = digits(&text[8..])?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    Some(days_from_civil(year as i64, month as i64, day as i64))
}

/// Milliseconds of the day of `HH:MM:SS`, and what follows it. A leap second counts as the 59th.
pub fn parse_clock(text: &[u8]) -> Option<(i64, &[u8])> {
    let clock = text.get(..8)?;
    if clock[2] != b':' || clock[5] != b':' {
        return None;
    }
    let hour = digits(&clock[..2])?;
    let minute = digits(&clock[3..5])?;
    let second = digits(&clock[6..])?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = hour * 3600 + minute * 60 + second.min(59);
    Some((seconds as i64 * 1000, &text[8..]))
}

/// `.5`, `.123`, `.123456789` as milliseconds (cut, not rounded), and what follows.
fn parse_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    if text.first() != Some(&b'.') {
        return Some((0, text));
    }
    let length = text[1..].iter().take_while(|b| b.is_ascii_digit()).count();
    if length == 0 || length > 9 {
        return None;
    }
    let mut ms = 0;
    for place in 0..3 {
        let digit = if place < length { text[1 + place] - b'0' } else { 0 };
        ms = ms * 10 + i64::from(digit);
    }
    Some((ms, &text[1 + length..]))
}

/// Nothing, `Z`, ` UTC` or `+HH:MM` as the milliseconds that local time is ahead of UTC.
fn parse_offset_ms(text: &[u8]) -> Option<i64> {
    match text {
        b"" | b"Z" | b"z" | b" UTC" | b"UTC" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let hours = digits(&[*h1, *h2])?;
            let minutes = digits(&[*m1, *m2])?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let ms = (hours * 60 + minutes) as i64 * 60_000;
            Some(if *sign == b'-' { -ms } else { ms })
        }
        _ => None,
    }
}

/// `--since`: a time as above, or how long ago (`90s`, `10m`, `2h`, `7d`) counted from `now_ms`.
pub fn parse_since(text: &str, now_ms: i64) -> Option<i64> {
    if let Some(unit) = text.chars().last().filter(char::is_ascii_lowercase) {
        let unit_ms = match unit {
            's' => 1000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => DAY_MS,
            'w' => 7 * DAY_MS,
            _ => return None,
        };
        let number = i64::try_from(digits(&text.as_bytes()[..text.len() - 1])?).ok()?;
        return now_ms.checked_sub(number.checked_mul(unit_ms)?);
    }
    parse_timestamp(text.as_bytes())
}

/// `2019-10-01T00:00:00.000Z`; a time outside the years 0 to 9999 as its bare milliseconds.
pub fn format_timestamp(ms: i64) -> String {
    let (year, month, day) = civil_from_days(ms.div_euclid(DAY_MS));
    if !(0..=9999).contains(&year) {
        return ms.to_string();
    }
    let of_day = ms.rem_euclid(DAY_MS);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3_600_000,
        of_day / 60_000 % 60,
        of_day / 1000 % 60,
        of_day % 1000
    )
}

/// One to nineteen decimal digits, nothing else.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    let mut number = 0_u64;
    for byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u64::from(byte - b'0');
    }
    Some(number)
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years are counted from March, so that
/// the leap day is a year's last; 400 years have 146 097 days.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The (year, month, day) that is so many days after 1970-01-01.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("2019-10-01 00:00:00 UTC", Some(1_569_888_000_000))]
    #[case("2019-10-01T00:00:00Z", Some(1_569_888_000_000))]
    #[case("2019-10-01", Some(1_569_888_000_000))]
    #[case("2019-10-01T02:00:00+02:00", Some(1_569_888_000_000))]
    #[case("2019-09-30T19:30:00.5-04:30", Some(1_569_888_000_500))]
    #[case("2019-10-01 00:00:00.123456", Some(1_569_888_000_123))]
    #[case("1569888000", Some(1_569_888_000_000))]
    #[case("1569888000000", Some(1_569_888_000_000))]
    #[case("2020-02-29", Some(1_582_934_400_000))]
    #[case("1970-01-01", Some(0))]
    #[case("1969-12-31 23:59:59", Some(-1000))]
    #[case("2019-02-29", None)]
    #[case("2019-13-01", None)]
    #[case("2019-10-01 24:00:00", None)]
    #[case("2019-10-01 00:00", None)]
    #[case("2019-10-01 00:00:00 CET", None)]
    #[case("yesterday", None)]
    #[case("", None)]
    fn reads_times(#[case] text: &str, #[case] expected: Option<i64>) {
        assert_eq!(parse_timestamp(text.as_bytes()), expected);
    }

    #[rstest]
    #[case("10m", Some(9_400_000))]
    #[case("90s", Some(9_910_000))]
    #[case("1d", Some(-76_400_000))]
    #[case("1970-01-01T00:00:05Z", Some(5000))]
    #[case("10x", None)]
    #[case("m", None)]
    fn reads_since(#[case] text: &str, #[case] expected: Option<i64>) {
        assert_eq!(parse_since(text, 10_000_000), expected);
    }

    #[test]
    fn every_day_of_five_centuries_comes_back() {
        let mut compared = 0;
        for day in days_from_civil(1800, 1, 1)..days_from_civil(2300, 1, 1) {
            let text = format_timestamp(day * DAY_MS);
            assert_eq!(parse_timestamp(text.as_bytes()), Some(day * DAY_MS), "{text}");
            compared += 1;
        }
        assert_eq!(compared, 182_621);
    }
}
