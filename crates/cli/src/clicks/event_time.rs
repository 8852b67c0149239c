//! `2019-10-01 00:00:00 UTC` as epoch milliseconds, fast where rows are in time order.

use crate::time::{parse_clock, parse_timestamp};

/// Length of a click event's time.
const TIME_BYTES: usize = 23;

/// Reads event times, keeping the last one: many rows share a second, nearly all share a day.
#[derive(Debug)]
pub struct EventTimes {
    text: [u8; TIME_BYTES],
    epoch_ms: i64,
    /// Midnight of the day in `text`.
    day_ms: i64,
    digits: [u8; 20],
    digits_length: usize,
}

impl Default for EventTimes {
    fn default() -> EventTimes {
        EventTimes {
            text: [0; TIME_BYTES],
            epoch_ms: 0,
            day_ms: 0,
            digits: [0; 20],
            digits_length: 0,
        }
    }
}

impl EventTimes {
    /// Epoch milliseconds of an event time, or None if it isn't one. Times of any form that
    /// [`parse_timestamp`] knows are understood; the reference form is the fast one.
    #[inline]
    pub fn parse(&mut self, text: &[u8]) -> Option<i64> {
        match <&[u8; TIME_BYTES]>::try_from(text) {
            Ok(text) if *text == self.text => Some(self.epoch_ms),
            Ok(text) => self.parse_other(text),
            Err(_) => self.keep_digits(parse_timestamp(text)?),
        }
    }

    /// The decimal digits of the time that `parse` gave last.
    #[inline]
    pub fn digits(&self) -> &[u8] {
        &self.digits[..self.digits_length]
    }

    fn parse_other(&mut self, text: &[u8; TIME_BYTES]) -> Option<i64> {
        if text[..11] == self.text[..11]
            && let Some((of_day_ms, b" UTC")) = parse_clock(&text[11..])
        {
            self.text = *text;
            self.epoch_ms = self.day_ms + of_day_ms;
            return self.keep_digits(self.epoch_ms);
        }
        let epoch_ms = parse_timestamp(text)?;
        if text[10] == b' ' && text[19..] == *b" UTC" {
            self.text = *text;
            self.epoch_ms = epoch_ms;
            self.day_ms = epoch_ms - epoch_ms.rem_euclid(86_400_000);
        }
        self.keep_digits(epoch_ms)
    }

    fn keep_digits(&mut self, epoch_ms: i64) -> Option<i64> {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(epoch_ms).as_bytes();
        self.digits_length = digits.len();
        self.digits[..digits.len()].copy_from_slice(digits);
        if epoch_ms != self.epoch_ms {
            // The digits aren't those of the kept text any more.
            self.text[0] = 0;
        }
        Some(epoch_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_came_before_a_time_is_what_it_says() {
        let texts = [
            "2019-10-01 00:00:00 UTC",
            "2019-10-01 00:00:00 UTC",
            "2019-10-01 23:59:59 UTC",
            "2019-10-02 00:00:00 UTC",
            "1569888000000",
            "2019-10-02 00:00:00 UTC",
            "2019-10-02 00:00:00 XYZ",
            "2019-10-02 00:00:60 UTC",
            "2019-10-02T00:00:01.5Z",
            "2019-10-02 00:00:01 UTC",
            "",
            "2019-10-02 24:00:01 UTC",
            "1969-12-31 23:00:00 UTC",
            "1969-12-31 23:00:01 UTC",
        ];
        let mut compared = 0;
        for first in texts {
            for second in texts {
                for third in texts {
                    let mut times = EventTimes::default();
                    for text in [first, second, third] {
                        let expected = parse_timestamp(text.as_bytes());
                        assert_eq!(times.parse(text.as_bytes()), expected, "{text}");
                        if let Some(ms) = expected {
                            assert_eq!(times.digits(), ms.to_string().as_bytes(), "{text}");
                        }
                        compared += 1;
                    }
                }
            }
        }
        assert_eq!(compared, 14 * 14 * 14 * 3);
    }
}
