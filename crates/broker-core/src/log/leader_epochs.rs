//! Which leader epoch wrote which offsets: the answer to "where did that epoch end" (KIP-101).

use std::fmt::Write as _;

use streamledger_protocol::{LeaderEpoch, Offset};

/// The first offset written under a leader epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The leader epoch.
    pub epoch: LeaderEpoch,
    /// The first offset written under it.
    pub start_offset: Offset,
}

/// Where a leader epoch ended: the answer of OffsetForLeaderEpoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest known epoch that is not above the one asked for; NONE when nothing is known.
    pub epoch: LeaderEpoch,
    /// The first offset that is not of it; NONE when nothing is known.
    pub end_offset: Offset,
}

impl EpochEnd {
    /// Nothing is known of the epoch asked for.
    pub const UNKNOWN: Self = Self { epoch: LeaderEpoch::NONE, end_offset: Offset::NONE };
}

/// Why a text is not a leader epoch checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorruptCheckpoint {
    /// The first line names a version that this program does not know.
    #[error("version {0:?} is not known here")]
    Version(String),
    /// A line is not what the version has there.
    #[error("line {0} is malformed")]
    Line(usize),
}

/// The leader epochs of one log, oldest first; epochs and offsets both rise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaderEpochCache {
    starts: Vec<EpochStart>,
}

impl LeaderEpochCache {
    /// Notes that `epoch` writes from `start_offset` on; true if that was news.
    ///
    /// An older epoch than the latest is not news. Epochs that turn out to have written nothing,
    /// because `start_offset` lies at or before their start, give way.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        if epoch.0 < 0 || self.latest().is_some_and(|latest| epoch <= latest) {
            return false;
        }
        self.starts.retain(|start| start.start_offset < start_offset);
        self.starts.push(EpochStart { epoch, start_offset });
        true
    }

    /// The latest epoch that wrote or is about to.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.starts.last().map(|start| start.epoch)
    }

    /// The epoch under which `offset` was written.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let above = self.starts.partition_point(|start| start.start_offset <= offset);
        above.checked_sub(1).and_then(|at| self.starts.get(at)).map(|start| start.epoch)
    }

    /// Where `requested` ended, as Kafka's `LeaderEpochFileCache.endOffsetFor` tells it.
    ///
    /// The latest epoch ends at `log_end_offset`; one that is above it is unknown; one that is
    /// below all ends where the first begins; one in between is answered by the next lower.
    #[must_use]
    pub fn end_offset_for(&self, requested: LeaderEpoch, log_end_offset: Offset) -> EpochEnd {
        if requested == LeaderEpoch::NONE {
            return EpochEnd::UNKNOWN;
        }
        if self.latest() == Some(requested) {
            return EpochEnd { epoch: requested, end_offset: log_end_offset };
        }
        let higher = self.starts.partition_point(|start| start.epoch <= requested);
        let Some(next) = self.starts.get(higher) else { return EpochEnd::UNKNOWN };
        let floor = higher.checked_sub(1).and_then(|at| self.starts.get(at));
        EpochEnd {
            epoch: floor.map_or(requested, |start| start.epoch),
            end_offset: next.start_offset,
        }
    }

    /// Forgets what was written at or after `offset`.
    pub fn truncate_from_end(&mut self, offset: Offset) {
        self.starts.retain(|start| start.start_offset < offset);
    }

    /// Forgets what was written before `offset`; the epoch that `offset` is in begins there.
    pub fn truncate_from_start(&mut self, offset: Offset) {
        let above = self.starts.partition_point(|start| start.start_offset <= offset);
        let Some(at) = above.checked_sub(1) else { return };
        self.starts.drain(..at);
        if let Some(first) = self.starts.first_mut() {
            first.start_offset = first.start_offset.max(offset);
        }
    }

    /// The epochs, oldest first.
    #[must_use]
    pub fn starts(&self) -> &[EpochStart] {
        &self.starts
    }

    /// The text of Kafka's `leader-epoch-checkpoint`: version, count, then `epoch offset` lines.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.starts.len());
        for start in &self.starts {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {}", start.epoch, start.start_offset);
        }
        text
    }

    /// Reads a `leader-epoch-checkpoint`.
    ///
    /// # Errors
    /// Says which line is wrong; the cache is then rebuilt from the log.
    pub fn decode(text: &str) -> Result<Self, CorruptCheckpoint> {
        let mut lines = text.lines();
        let version = lines.next().unwrap_or_default();
        if version.trim() != "0" {
            return Err(CorruptCheckpoint::Version(version.to_owned()));
        }
        let count: usize = lines
            .next()
            .and_then(|line| line.trim().parse().ok())
            .ok_or(CorruptCheckpoint::Line(2))?;
        let mut cache = Self::default();
        for (number, line) in lines.enumerate() {
            let start = parse_start(line).ok_or(CorruptCheckpoint::Line(number + 3))?;
            let rises = cache.starts.last().is_none_or(|last| {
                start.epoch > last.epoch && start.start_offset >= last.start_offset
            });
            if !rises {
                return Err(CorruptCheckpoint::Line(number + 3));
            }
            cache.starts.push(start);
        }
        if cache.starts.len() != count {
            return Err(CorruptCheckpoint::Line(2));
        }
        Ok(cache)
    }
}

fn parse_start(line: &str) -> Option<EpochStart> {
    let (epoch, start_offset) = line.trim().split_once(' ')?;
    let start = EpochStart {
        epoch: LeaderEpoch(epoch.parse().ok()?),
        start_offset: Offset(start_offset.parse().ok()?),
    };
    (start.epoch.0 >= 0 && start.start_offset.0 >= 0).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> LeaderEpochCache {
        let mut cache = LeaderEpochCache::default();
        for (epoch, start) in [(2, 0), (4, 10), (7, 30)] {
            assert!(cache.assign(LeaderEpoch(epoch), Offset(start)));
        }
        cache
    }

    #[test]
    fn each_row_of_the_end_offset_rule() {
        let cache = cache();
        let end = |epoch| {
            let end = cache.end_offset_for(LeaderEpoch(epoch), Offset(50));
            (end.epoch.0, end.end_offset.0)
        };
        assert_eq!(end(-1), (-1, -1), "no epoch asked for");
        assert_eq!(end(7), (7, 50), "the latest ends at the log's end");
        assert_eq!(end(8), (-1, -1), "above the latest: unknown");
        assert_eq!(end(1), (1, 0), "below all: ends where the first begins");
        assert_eq!(end(2), (2, 10));
        assert_eq!(end(3), (2, 10), "in between: the next lower answers");
        assert_eq!(end(6), (4, 30));
        let nothing = LeaderEpochCache::default();
        assert_eq!(nothing.end_offset_for(LeaderEpoch(0), Offset(5)), EpochEnd::UNKNOWN);
    }

    #[test]
    fn an_older_epoch_is_not_news_and_an_empty_one_gives_way() {
        let mut cache = cache();
        assert!(!cache.assign(LeaderEpoch(7), Offset(60)));
        assert!(!cache.assign(LeaderEpoch(3), Offset(60)));
        assert!(cache.assign(LeaderEpoch(9), Offset(30)));
        let epochs: Vec<i32> = cache.starts().iter().map(|start| start.epoch.0).collect();
        assert_eq!(epochs, [2, 4, 9]);
    }

    #[test]
    fn truncation_at_either_end() {
        let mut from_end = cache();
        from_end.truncate_from_end(Offset(30));
        assert_eq!(from_end.latest(), Some(LeaderEpoch(4)));
        let mut from_start = cache();
        from_start.truncate_from_start(Offset(15));
        let first = EpochStart { epoch: LeaderEpoch(4), start_offset: Offset(15) };
        assert_eq!(from_start.starts()[0], first);
        assert_eq!(from_start.epoch_at(Offset(29)), Some(LeaderEpoch(4)));
        assert_eq!(from_start.epoch_at(Offset(14)), None);
    }

    #[test]
    fn the_checkpoint_is_kafkas_and_a_broken_one_is_named() {
        let text = cache().encode();
        assert_eq!(text, "0\n3\n2 0\n4 10\n7 30\n");
        assert_eq!(LeaderEpochCache::decode(&text), Ok(cache()));
        let broken = |text: &str| LeaderEpochCache::decode(text).unwrap_err();
        assert_eq!(broken("1\n0\n"), CorruptCheckpoint::Version("1".into()));
        assert_eq!(broken("0\n3\n2 0\n4 10\n"), CorruptCheckpoint::Line(2));
        assert_eq!(broken("0\n2\n2 0\n1 10\n"), CorruptCheckpoint::Line(4));
        assert_eq!(broken("0\n1\n2 x\n"), CorruptCheckpoint::Line(3));
    }
}
