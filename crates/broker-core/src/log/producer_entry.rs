//! What a partition remembers of one producer: its epoch and its last five batches.

use streamledger_protocol::{Offset, ProducerEpoch, SequenceNumber, TimestampMs};

use crate::time::MonotonicMs;

/// How many batches of a producer are remembered: as many as it may have in flight (KIP-98).
pub const RECENT_BATCHES_MAX: usize = 5;

/// The sequences of a batch that was appended, and the offsets they got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentBatch {
    /// The sequence of its first record.
    pub first_sequence: SequenceNumber,
    /// The sequence of its last record.
    pub last_sequence: SequenceNumber,
    /// The offset of its first record.
    pub first_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// Its largest timestamp; the leader's clock under LogAppendTime.
    pub timestamp: TimestampMs,
}

impl RecentBatch {
    const EMPTY: Self = Self {
        first_sequence: SequenceNumber::NONE,
        last_sequence: SequenceNumber::NONE,
        first_offset: Offset::NONE,
        last_offset: Offset::NONE,
        timestamp: TimestampMs::NONE,
    };
}

/// The last batches of a producer under its epoch, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct RecentBatches {
    slots: [RecentBatch; RECENT_BATCHES_MAX],
    used: u8,
}

impl Default for RecentBatches {
    fn default() -> Self {
        Self { slots: [RecentBatch::EMPTY; RECENT_BATCHES_MAX], used: 0 }
    }
}

impl PartialEq for RecentBatches {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for RecentBatches {}

impl RecentBatches {
    /// The batches, oldest first.
    #[must_use]
    pub fn as_slice(&self) -> &[RecentBatch] {
        self.slots.get(..usize::from(self.used)).unwrap_or_default()
    }

    /// The latest batch.
    #[must_use]
    pub fn last(&self) -> Option<&RecentBatch> {
        self.as_slice().last()
    }

    /// Remembers a batch, forgetting the oldest when there are five.
    pub fn push(&mut self, batch: RecentBatch) {
        if usize::from(self.used) == RECENT_BATCHES_MAX {
            self.slots.copy_within(1.., 0);
            self.used -= 1;
        }
        if let Some(slot) = self.slots.get_mut(usize::from(self.used)) {
            *slot = batch;
            self.used += 1;
        }
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.used = 0;
    }
}

/// What a partition remembers of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerState {
    /// The epoch it last wrote, or was fenced, under.
    pub epoch: ProducerEpoch,
    /// Its last batches under that epoch.
    pub recent: RecentBatches,
    /// The epoch of the transaction coordinator that wrote its last marker; -1 for none.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction.
    pub open_transaction: Option<Offset>,
    /// The largest timestamp of its last batch or marker.
    pub last_timestamp: TimestampMs,
    /// When it last wrote, by the clock of this run.
    pub last_seen: MonotonicMs,
}

impl ProducerState {
    pub(super) fn new(epoch: ProducerEpoch, last_seen: MonotonicMs) -> Self {
        Self {
            epoch,
            recent: RecentBatches::default(),
            coordinator_epoch: -1,
            open_transaction: None,
            last_timestamp: TimestampMs::NONE,
            last_seen,
        }
    }

    /// The sequence of the last record it wrote under its epoch; NONE for none.
    #[must_use]
    pub fn last_sequence(&self) -> SequenceNumber {
        self.recent.last().map_or(SequenceNumber::NONE, |batch| batch.last_sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_batch_pushes_out_the_first() {
        let mut recent = RecentBatches::default();
        for n in 0..6 {
            recent.push(RecentBatch { first_offset: Offset(n), ..RecentBatch::EMPTY });
        }
        let offsets: Vec<i64> = recent.as_slice().iter().map(|b| b.first_offset.0).collect();
        assert_eq!(offsets, [1, 2, 3, 4, 5]);
        recent.clear();
        assert_eq!(recent, RecentBatches::default());
    }
}
