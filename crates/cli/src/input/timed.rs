//! Records of whose times a topic takes some: a row with another one is a bad row.
//!
//! A broker refuses the whole batch of such a record (`LogValidator.validateTimestamp`), and says
//! neither which record it is nor, of course, which row.

use std::time::{SystemTime, UNIX_EPOCH};

use super::ReadFault;
use super::adapted::Adapter;
use super::fault::RowFault;
use super::source::SourceRecord;
use crate::time::format_timestamp;

/// How far from now a topic takes times, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicTimes {
    before_max_ms: i64,
    after_max_ms: i64,
}

impl TopicTimes {
    /// Of a topic that takes any.
    pub const ANY: TopicTimes = TopicTimes { before_max_ms: i64::MAX, after_max_ms: i64::MAX };

    /// Of a topic with these settings; what isn't there limits nothing.
    pub fn of<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> TopicTimes {
        if setting("message.timestamp.type") == Some("LogAppendTime") {
            return TopicTimes::ANY;
        }
        let ms = |name| setting(name).and_then(|value| value.parse().ok()).unwrap_or(i64::MAX);
        TopicTimes {
            before_max_ms: ms("message.timestamp.before.max.ms"),
            after_max_ms: ms("message.timestamp.after.max.ms"),
        }
    }

    /// Why a time isn't taken at some other.
    fn refuses(self, time_ms: i64, now_ms: i64) -> Option<&'static str> {
        match () {
            // Kafka's clients refuse to send such, its brokers to compact or compress them anew.
            () if time_ms < 0 => Some("is before 1970"),
            () if time_ms.saturating_sub(now_ms) > self.after_max_ms => {
                Some("is later than the topic takes (message.timestamp.after.max.ms)")
            }
            () if now_ms.saturating_sub(time_ms) > self.before_max_ms => {
                Some("is earlier than the topic takes (message.timestamp.before.max.ms)")
            }
            () => None,
        }
    }
}

/// Lets records through whose times, from a column, the topic takes.
#[derive(Debug)]
pub struct Timed {
    /// The column that the times are from.
    column: String,
    times: TopicTimes,
    /// When the clock was read last.
    now_ms: i64,
}

impl Timed {
    /// Those with times from this column that the topic takes.
    pub fn new(column: &str, times: TopicTimes) -> Timed {
        Timed { column: column.to_owned(), times, now_ms: now_ms() }
    }
}

fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

impl Adapter for Timed {
    fn adapt<'a>(
        &'a mut self,
        record: SourceRecord<'a>,
    ) -> Result<SourceRecord<'a>, Box<ReadFault>> {
        let Some(ms) = record.rendered.timestamp_ms else { return Ok(record) };
        // The clock is read for those only that seemed wrong by what it was before.
        if self.times.refuses(ms, self.now_ms).is_some() {
            self.now_ms = now_ms();
            if let Some(reason) = self.times.refuses(ms, self.now_ms) {
                let (column, time) = (self.column.clone(), format_timestamp(ms));
                let fault = RowFault::Time { column, time, reason };
                return Err(ReadFault::Row { line: record.line, fault }.into());
            }
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_takes_times_as_its_settings_say() {
        let of = |settings: &[(&str, &'static str)]| {
            TopicTimes::of(|name| {
                settings.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
            })
        };
        const DAY: i64 = 86_400_000;
        let now = 20_000 * DAY;
        let limits = [
            ("message.timestamp.type", "CreateTime"),
            ("message.timestamp.after.max.ms", "3600000"),
            ("message.timestamp.before.max.ms", "86400000"),
        ];
        let limited = of(&limits);
        assert_eq!(limited.refuses(now + 3_600_000, now), None);
        assert!(limited.refuses(now + 3_600_001, now).is_some_and(|why| why.contains("after")));
        assert_eq!(limited.refuses(now - DAY, now), None);
        assert!(limited.refuses(now - DAY - 1, now).is_some_and(|why| why.contains("before.max")));
        assert_eq!(of(&[("message.timestamp.type", "LogAppendTime")]), TopicTimes::ANY);
        for any in [of(&[]), of(&[("message.timestamp.before.max.ms", "9223372036854775807")])] {
            assert_eq!(any, TopicTimes::ANY);
            assert_eq!((any.refuses(0, now), any.refuses(i64::MAX, now)), (None, None));
            assert_eq!(any.refuses(-1, now), Some("is before 1970"));
        }
    }
}
