//! How fast rows are sent: so many a second, or as their own times say.
//!
//! Laws: the clock is read by whoever asks, and given; a row is due at a time, never after a sleep
//! of so long, so that delays don't add up; a rate never makes up for more than `BURST` of a delay.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::Serialize;

/// What a rate may make up for after it was kept waiting.
const BURST: Duration = Duration::from_millis(100);

/// `--rate`: how much is sent in a second, at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// Rows.
    Rows(f64),
    /// Bytes of the files.
    Bytes(f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let wrong =
            || "write it as rows (5000, 5000/s) or bytes (64kB, 10MB/s, 8MiB) a second".to_owned();
        let text = text.strip_suffix("/s").unwrap_or(text);
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let number: f64 = text[..digits].parse().map_err(|_| wrong())?;
        if !number.is_finite() || number <= 0.0 {
            return Err("it must be more than 0".to_owned());
        }
        let bytes_a_unit = match text[digits..].trim() {
            "" | "rows" | "row" => return Ok(Rate::Rows(number)),
            "B" => 1.0,
            "kB" | "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "KiB" => 1024.0,
            "MiB" => 1024.0 * 1024.0,
            "GiB" => 1024.0 * 1024.0 * 1024.0,
            _ => return Err(wrong()),
        };
        Ok(Rate::Bytes(number * bytes_a_unit))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Rows(rows) => write!(f, "{rows} rows a second"),
            Rate::Bytes(bytes) => write!(f, "{bytes} bytes a second"),
        }
    }
}

/// `--replay`: how many times faster than it happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Replay {
    /// So many times.
    Times(f64),
    /// As fast as can be.
    Max,
}

impl FromStr for Replay {
    type Err = String;

    fn from_str(text: &str) -> Result<Replay, String> {
        if text == "max" {
            return Ok(Replay::Max);
        }
        let times = text.strip_suffix('x').and_then(|times| times.parse::<f64>().ok());
        match times {
            Some(times) if times.is_finite() && times > 0.0 => Ok(Replay::Times(times)),
            _ => Err("write it as 1x, 60x, 0.5x or max".to_owned()),
        }
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Replay::Times(times) => write!(f, "{times} times as fast as"),
            Replay::Max => f.write_str("faster than"),
        }
    }
}

/// What a run of the schedule came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Replayed {
    /// How many times faster than it happened.
    pub times: f64,
    /// The time of the first row, in milliseconds since 1970.
    pub first_ms: i64,
    /// The time of the last row.
    pub last_ms: i64,
    /// How much later than due the last row was sent, in milliseconds.
    pub late_ms: u64,
    /// The most that a row was late.
    pub late_ms_max: u64,
}

/// Says when the next row is due.
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Pace,
}

#[derive(Debug)]
enum Pace {
    Rate { rate: Rate, next: Option<Instant> },
    Replay { times: f64, began: Option<Instant>, replayed: Replayed },
}

impl Pacer {
    /// A pacer for what the command line says; None if rows are sent as fast as can be.
    pub(super) fn new(rate: Option<Rate>, replay: Option<Replay>) -> Option<Pacer> {
        let pace = match (rate, replay) {
            (_, Some(Replay::Times(times))) => Pace::Replay {
                times,
                began: None,
                replayed: Replayed { times, first_ms: 0, last_ms: 0, late_ms: 0, late_ms_max: 0 },
            },
            (Some(rate), _) => Pace::Rate { rate, next: None },
            (None, None | Some(Replay::Max)) => return None,
        };
        Some(Pacer { pace })
    }

    /// When a row may go that follows one of `bytes_before` bytes (0 for the first), and whose own
    /// time, if it has one, is `time_ms`.
    pub(super) fn due(&mut self, bytes_before: u64, time_ms: Option<i64>, now: Instant) -> Instant {
        match &mut self.pace {
            Pace::Rate { rate, next } => {
                let due = match *next {
                    None => now,
                    Some(last) => {
                        let cost = match *rate {
                            Rate::Rows(rows) => 1.0 / rows,
                            Rate::Bytes(bytes) => bytes_before as f64 / bytes,
                        };
                        later(last, cost)
                    }
                };
                let due = now.checked_sub(BURST).map_or(due, |earliest| due.max(earliest));
                *next = Some(due);
                due
            }
            Pace::Replay { times, began, replayed } => {
                let Some(time_ms) = time_ms else { return now };
                let Some(began) = *began else {
                    *began = Some(now);
                    (replayed.first_ms, replayed.last_ms) = (time_ms, time_ms);
                    return now;
                };
                let happened_ms = time_ms.saturating_sub(replayed.first_ms).max(0);
                later(began, happened_ms as f64 / 1000.0 / *times)
            }
        }
    }

    /// That a row was sent.
    pub(super) fn sent(&mut self, time_ms: Option<i64>, due: Instant, now: Instant) {
        let (Pace::Replay { replayed, .. }, Some(time_ms)) = (&mut self.pace, time_ms) else {
            return;
        };
        let late = now.saturating_duration_since(due);
        replayed.last_ms = time_ms;
        replayed.late_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
        replayed.late_ms_max = replayed.late_ms_max.max(replayed.late_ms);
    }

    /// How far a replay is, and how late.
    pub(super) fn replayed(&self) -> Option<Replayed> {
        match &self.pace {
            Pace::Replay { began: Some(_), replayed, .. } => Some(*replayed),
            Pace::Replay { .. } | Pace::Rate { .. } => None,
        }
    }
}

/// A time so many seconds after another; a year at most, which no run outlives.
fn later(time: Instant, seconds: f64) -> Instant {
    const YEAR_S: f64 = 365.0 * 86_400.0;
    time + Duration::from_secs_f64(seconds.clamp(0.0, YEAR_S))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("5000", Rate::Rows(5000.0))]
    #[case("2.5/s", Rate::Rows(2.5))]
    #[case("64kB", Rate::Bytes(64_000.0))]
    #[case("10MB/s", Rate::Bytes(1e7))]
    #[case("1.5MiB", Rate::Bytes(1_572_864.0))]
    fn a_rate_is_rows_or_bytes(#[case] text: &str, #[case] rate: Rate) {
        assert_eq!(text.parse(), Ok(rate));
    }

    #[test]
    fn what_is_no_speed_is_refused_with_how_to_write_one() {
        for wrong in ["", "fast", "10 apples", "-1", "1e9", "kB"] {
            assert!(wrong.parse::<Rate>().unwrap_err().contains("10MB/s"), "{wrong}");
        }
        assert!("0".parse::<Rate>().is_err());
        for wrong in ["", "60", "x", "-1x", "0x", "infx", "NaNx", "maximum"] {
            assert!(wrong.parse::<Replay>().unwrap_err().contains("60x"), "{wrong}");
        }
        assert_eq!("0.5x".parse(), Ok(Replay::Times(0.5)));
        assert_eq!("max".parse(), Ok(Replay::Max));
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn rows_come_evenly_and_bytes_by_their_number() {
        let now = Instant::now();
        let mut pacer = Pacer::new(Some(Rate::Rows(100.0)), None).unwrap();
        let due: Vec<_> = (0..4).map(|_| pacer.due(50, None, now)).collect();
        assert_eq!(due, [now, now + 10 * MS, now + 20 * MS, now + 30 * MS]);
        let mut pacer = Pacer::new(Some(Rate::Bytes(1000.0)), None).unwrap();
        let due: Vec<_> = [0, 5, 20].map(|bytes| pacer.due(bytes, None, now)).to_vec();
        assert_eq!(due, [now, now + 5 * MS, now + 25 * MS]);
    }

    #[test]
    fn a_rate_makes_up_for_a_moment_not_for_an_hour() {
        let now = Instant::now() + Duration::from_secs(3600);
        let mut pacer = Pacer::new(Some(Rate::Rows(100.0)), None).unwrap();
        pacer.due(0, None, now);
        let hour_later = now + Duration::from_secs(3600);
        assert_eq!(pacer.due(0, None, hour_later), hour_later - BURST);
        assert_eq!(pacer.due(0, None, hour_later), hour_later - BURST + 10 * MS);
    }

    #[test]
    fn a_replay_keeps_to_the_rows_own_times_and_says_how_late_it_is() {
        let now = Instant::now();
        let mut pacer = Pacer::new(None, Some(Replay::Times(60.0))).unwrap();
        assert_eq!(pacer.replayed(), None);
        let due = |pacer: &mut Pacer, ms| pacer.due(9, Some(ms), now);
        assert_eq!(due(&mut pacer, 1_000_000), now);
        assert_eq!(due(&mut pacer, 1_060_000), now + 1000 * MS);
        assert_eq!(due(&mut pacer, 1_030_000), now + 500 * MS, "a step back is no delay");
        assert_eq!(due(&mut pacer, 0), now, "nothing is due before the start");
        pacer.sent(Some(1_030_000), now, now + 7 * MS);
        pacer.sent(Some(1_060_000), now, now + 3 * MS);
        let replayed = pacer.replayed().unwrap();
        assert_eq!((replayed.late_ms, replayed.late_ms_max), (3, 7));
        assert_eq!((replayed.first_ms, replayed.last_ms), (1_000_000, 1_060_000));
        due(&mut pacer, i64::MAX);
        due(&mut pacer, i64::MIN);
        assert!(Pacer::new(None, Some(Replay::Max)).is_none());
    }
}
