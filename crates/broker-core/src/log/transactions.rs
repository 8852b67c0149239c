//! Which transactions of a partition are open, which were aborted, and where the first undecided
//! one begins: the last stable offset (KIP-98).

use std::collections::BTreeMap;

use streamledger_protocol::{Offset, ProducerId};

/// A transaction that was aborted: what a read-committed consumer must skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Who wrote it.
    pub producer_id: ProducerId,
    /// The offset of its first record.
    pub first_offset: Offset,
    /// The offset of its abort marker.
    pub last_offset: Offset,
    /// The last stable offset once the marker was written.
    pub last_stable_offset: Offset,
}

/// The transactions of one log.
///
/// A decided transaction stays undecided to readers until its marker is below the high watermark,
/// as in Kafka's `ProducerStateManager`: else a reader could see a commit that is lost again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionTable {
    open: BTreeMap<Offset, ProducerId>,
    /// First offset to the marker's offset, of decided transactions above the high watermark.
    decided: BTreeMap<Offset, Offset>,
    /// By the marker's offset.
    aborted: Vec<AbortedTransaction>,
}

impl TransactionTable {
    pub(super) fn begin(&mut self, producer_id: ProducerId, first_offset: Offset) {
        self.open.insert(first_offset, producer_id);
    }

    /// A marker at `marker_offset` decides the transaction that began at `first_offset`.
    pub(super) fn decide(
        &mut self,
        producer_id: ProducerId,
        first_offset: Offset,
        marker_offset: Offset,
        committed: bool,
    ) {
        self.open.remove(&first_offset);
        self.decided.insert(first_offset, marker_offset);
        if !committed {
            let last_stable_offset =
                self.open.keys().next().copied().unwrap_or(marker_offset.next());
            self.aborted.push(AbortedTransaction {
                producer_id,
                first_offset,
                last_offset: marker_offset,
                last_stable_offset,
            });
        }
    }

    pub(super) fn high_watermark_advanced(&mut self, high_watermark: Offset) {
        if !self.decided.is_empty() {
            self.decided.retain(|_, marker_offset| *marker_offset >= high_watermark);
        }
    }

    /// The first offset whose transaction readers do not know the end of.
    #[must_use]
    pub fn first_undecided(&self) -> Option<Offset> {
        let open = self.open.keys().next();
        let decided = self.decided.keys().next();
        open.into_iter().chain(decided).min().copied()
    }

    /// The open transactions: first offset and producer, by first offset.
    pub fn open(&self) -> impl Iterator<Item = (Offset, ProducerId)> + '_ {
        self.open.iter().map(|(offset, producer)| (*offset, *producer))
    }

    /// All aborted transactions that the log still reaches, by the marker's offset.
    #[must_use]
    pub fn aborted(&self) -> &[AbortedTransaction] {
        &self.aborted
    }

    /// The aborted transactions with records in `from..to`, by first offset: the order the
    /// consumers rely on.
    #[must_use]
    pub fn aborted_between(&self, from: Offset, to: Offset) -> Vec<AbortedTransaction> {
        let begin = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        let reaching = self.aborted.get(begin..).unwrap_or_default();
        let mut found: Vec<_> =
            reaching.iter().filter(|aborted| aborted.first_offset < to).copied().collect();
        found.sort_by_key(|aborted| aborted.first_offset);
        found
    }

    /// The transactions whose abort marker lies in `from..to`, by the marker's offset: what the
    /// transaction index of a segment holds.
    #[must_use]
    pub fn aborted_in_segment(&self, from: Offset, to: Offset) -> &[AbortedTransaction] {
        let begin = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        let end = self.aborted.partition_point(|aborted| aborted.last_offset < to);
        self.aborted.get(begin..end).unwrap_or_default()
    }

    pub(super) fn restore_open(&mut self, producer_id: ProducerId, first_offset: Offset) {
        self.open.insert(first_offset, producer_id);
    }

    /// Takes what the transaction indexes of the segments hold, beside what was replayed.
    pub(super) fn restore_aborted(&mut self, aborted: Vec<AbortedTransaction>) {
        self.aborted.extend(aborted);
        self.aborted.sort_by_key(|transaction| transaction.last_offset);
    }

    /// Forgets the aborted transactions whose markers are gone, and their records with them.
    pub(super) fn forget_markers(&mut self, markers: &[Offset]) {
        if !markers.is_empty() {
            self.aborted.retain(|aborted| !markers.contains(&aborted.last_offset));
        }
    }

    pub(super) fn forget_before(&mut self, log_start_offset: Offset) {
        let gone = self.aborted.partition_point(|aborted| aborted.last_offset < log_start_offset);
        self.aborted.drain(..gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decided_transaction_is_stable_once_its_marker_is_below_the_watermark() {
        let mut table = TransactionTable::default();
        table.begin(ProducerId(1), Offset(10));
        table.begin(ProducerId(2), Offset(15));
        assert_eq!(table.first_undecided(), Some(Offset(10)));
        table.decide(ProducerId(1), Offset(10), Offset(20), true);
        assert_eq!(table.first_undecided(), Some(Offset(10)));
        table.high_watermark_advanced(Offset(20));
        assert_eq!(table.first_undecided(), Some(Offset(10)), "the marker itself is not below 20");
        table.high_watermark_advanced(Offset(21));
        assert_eq!(table.first_undecided(), Some(Offset(15)));
    }

    #[test]
    fn aborted_ones_come_by_first_offset_and_only_where_they_reach() {
        let mut table = TransactionTable::default();
        table.begin(ProducerId(1), Offset(0));
        table.begin(ProducerId(2), Offset(5));
        table.decide(ProducerId(2), Offset(5), Offset(9), false);
        table.decide(ProducerId(1), Offset(0), Offset(12), false);
        let firsts = |from, to| {
            let found = table.aborted_between(Offset(from), Offset(to));
            found.iter().map(|aborted| aborted.first_offset.0).collect::<Vec<_>>()
        };
        assert_eq!(firsts(0, 100), [0, 5]);
        assert_eq!(firsts(10, 100), [0]);
        assert_eq!(firsts(0, 5), [0]);
        assert_eq!(firsts(13, 100), [] as [i64; 0]);
        assert_eq!(table.aborted_in_segment(Offset(0), Offset(10)).len(), 1);
        assert_eq!(table.aborted[0].last_stable_offset, Offset(0), "the other was open still");
        assert_eq!(table.aborted[1].last_stable_offset, Offset(13));
    }
}
