//! How far a log is compacted: kept from one compaction to the next, in a small file beside it.

use streamledger_protocol::{Offset, TimestampMs};

/// How far a log is compacted. If it is lost, everything is looked at again: nothing else happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactionStanding {
    /// Below this, every key has one record at most.
    pub first_dirty: Offset,
    /// When the first of the deletions and markers that were kept may go.
    pub next_horizon: Option<TimestampMs>,
}

/// A text that is not a standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is not what it should be")]
pub struct CorruptStanding(pub usize);

impl CompactionStanding {
    /// The name of its file in the partition's directory.
    pub const FILE: &str = "cleaner-checkpoint";

    /// Its text: version, first dirty offset, next horizon in ms or -1.
    #[must_use]
    pub fn encode(&self) -> String {
        let horizon = self.next_horizon.unwrap_or(TimestampMs::NONE);
        format!("0\n{}\n{}\n", self.first_dirty.0, horizon.0)
    }

    /// Reads its text.
    ///
    /// # Errors
    /// Says which line is wrong.
    pub fn decode(text: &str) -> Result<Self, CorruptStanding> {
        let mut lines = text.lines().map(|line| line.trim().parse::<i64>());
        let mut next = |number| match lines.next() {
            Some(Ok(value)) => Ok(value),
            _ => Err(CorruptStanding(number)),
        };
        if next(1)? != 0 {
            return Err(CorruptStanding(1));
        }
        let first_dirty = Offset(next(2)?);
        if first_dirty.0 < 0 {
            return Err(CorruptStanding(2));
        }
        let horizon = TimestampMs(next(3)?);
        Ok(Self { first_dirty, next_horizon: (horizon.0 >= 0).then_some(horizon) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_broken_is_refused() {
        for next_horizon in [None, Some(TimestampMs(77))] {
            let standing = CompactionStanding { first_dirty: Offset(42), next_horizon };
            assert_eq!(CompactionStanding::decode(&standing.encode()), Ok(standing));
        }
        for (text, line) in [("", 1), ("1\n0\n0\n", 1), ("0\n-3\n0\n", 2), ("0\n3\nx\n", 3)] {
            assert_eq!(CompactionStanding::decode(text), Err(CorruptStanding(line)));
        }
    }
}
