//! Numbers as people read them: grouped digits, bytes, rates and times with a unit.

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `2 records`, `1,000 records`.
pub fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(count))
}

/// Bytes in powers of ten: `0 B`, `999 B`, `1.50 kB`, `5.30 GB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut scaled = count as f64 / 1000.0;
    let mut unit = 0;
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    format!("{} {}", three_figures(scaled), UNITS[unit])
}

/// A number of things a second: `950/s`, `12,300/s`, `1.21 M/s`.
pub fn per_second(count: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let rate = count as f64 / seconds;
    if rate < 1e6 {
        format!("{}/s", grouped(rate as u64))
    } else {
        format!("{:.2} M/s", rate / 1e6)
    }
}

/// Bytes a second: `48.0 MB/s`.
pub fn bytes_per_second(count: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-9);
    format!("{}/s", bytes((count as f64 / seconds) as u64))
}

/// A time by its size: `850 µs`, `1.25 ms`, `3.40 s`, `2 min 05 s`, `3 h 20 min`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.000_999_5 {
        return format!("{} µs", time.as_micros());
    }
    if seconds < 0.999_5 {
        return format!("{} ms", three_figures(seconds * 1e3));
    }
    if seconds < 99.95 {
        return format!("{} s", three_figures(seconds));
    }
    whole_seconds(time)
}

/// A time to the second, for what is only guessed: `3 s`, `2 min 05 s`, `3 h 20 min`.
pub fn whole_seconds(time: Duration) -> String {
    let whole = time.as_secs_f64().round() as u64;
    if whole < 100 {
        return format!("{whole} s");
    }
    if whole < 3600 {
        return format!("{} min {:02} s", whole / 60, whole % 60);
    }
    format!("{} h {:02} min", whole / 3600, whole / 60 % 60)
}

/// A number of at least one with three figures: `1.25`, `12.5`, `125`.
fn three_figures(number: f64) -> String {
    let decimals = match number {
        n if n < 9.995 => 2,
        n if n < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_threes() {
        let shown: Vec<String> = [0, 12, 999, 1000, 42_448_764].map(grouped).to_vec();
        assert_eq!(shown, ["0", "12", "999", "1,000", "42,448,764"]);
        let shown = [0, 1, 1000].map(|count| counted(count, "record"));
        assert_eq!(shown, ["0 records", "1 record", "1,000 records"]);
    }

    #[test]
    fn bytes_have_three_figures_and_a_unit() {
        let shown = [0, 999, 1500, 999_499, 999_999, 5_300_000_000].map(bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.50 kB", "999 kB", "1.00 MB", "5.30 GB"]);
    }

    #[test]
    fn times_and_rates_have_the_unit_of_their_size() {
        let shown = [0, 850, 1250, 999_700, 3_400_000, 125_000_000, 12_000_000_000]
            .map(|us| duration(Duration::from_micros(us)));
        let expected =
            ["0 µs", "850 µs", "1.25 ms", "1.00 s", "3.40 s", "2 min 05 s", "3 h 20 min"];
        assert_eq!(shown, expected);
        assert_eq!(whole_seconds(Duration::from_millis(3400)), "3 s");
        assert_eq!(whole_seconds(Duration::from_secs(125)), "2 min 05 s");
        assert_eq!(per_second(24_600, Duration::from_secs(2)), "12,300/s");
        assert_eq!(per_second(1_210_000, Duration::from_secs(1)), "1.21 M/s");
        assert_eq!(bytes_per_second(96_000_000, Duration::from_secs(2)), "48.0 MB/s");
    }
}
