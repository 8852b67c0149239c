//! What was written, offset by offset, whatever compaction makes of it.

use std::collections::BTreeMap;

/// What is at an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// A record, the producer's id and sequence if it has one, and whether it is in a transaction.
    Record { key: u8, value: Option<u32>, producer: Option<(i64, i32)>, transactional: bool },
    /// A transaction's end.
    Marker { producer: i64, committed: bool },
}

/// Everything that was written and not lost, by offset.
#[derive(Debug, Clone, Default)]
pub(super) struct Truth {
    pub(super) written: BTreeMap<i64, Written>,
}

/// The latest value of each key.
pub(super) type View = BTreeMap<u8, u32>;

impl Truth {
    /// A crash took everything from `end` on.
    pub(super) fn cut(&mut self, end: i64) {
        self.written.split_off(&end);
    }

    /// Whether the record at that offset counts for a read-committed reader.
    pub(super) fn committed(&self) -> BTreeMap<i64, bool> {
        let mut next_end: BTreeMap<i64, bool> = BTreeMap::new();
        let mut counts = BTreeMap::new();
        for (offset, written) in self.written.iter().rev() {
            match written {
                Written::Marker { producer, committed } => {
                    next_end.insert(*producer, *committed);
                }
                Written::Record { producer: Some((id, _)), transactional: true, .. } => {
                    counts.insert(*offset, next_end.get(id).copied().unwrap_or(false));
                }
                Written::Record { .. } => {
                    counts.insert(*offset, true);
                }
            }
        }
        counts
    }

    /// What a read-committed reader has that has read everything below `end`.
    pub(super) fn view(&self, end: i64) -> View {
        let counts = self.committed();
        let mut view = View::new();
        for (offset, written) in self.written.range(..end) {
            let Written::Record { key, value, .. } = written else { continue };
            if counts.get(offset) == Some(&true) {
                match value {
                    Some(value) => view.insert(*key, *value),
                    None => view.remove(key),
                };
            }
        }
        view
    }

    /// The first offset of a transaction that is open.
    pub(super) fn first_open(&self) -> Option<i64> {
        let mut open: BTreeMap<i64, i64> = BTreeMap::new();
        for (offset, written) in &self.written {
            match written {
                Written::Record { producer: Some((id, _)), transactional: true, .. } => {
                    open.entry(*id).or_insert(*offset);
                }
                Written::Marker { producer, .. } => {
                    open.remove(producer);
                }
                Written::Record { .. } => {}
            }
        }
        open.into_values().min()
    }

    /// Whether a producer has a transaction open.
    pub(super) fn is_open(&self, id: i64) -> bool {
        let last = self.written.values().rev().find(|written| match written {
            Written::Record { producer, .. } => producer.is_some_and(|(own, _)| own == id),
            Written::Marker { producer, .. } => *producer == id,
        });
        matches!(last, Some(Written::Record { transactional: true, .. }))
    }

    /// The last sequence of a producer.
    pub(super) fn last_sequence(&self, id: i64) -> Option<i32> {
        self.written.values().rev().find_map(|written| match written {
            Written::Record { producer: Some((own, sequence)), .. } if *own == id => {
                Some(*sequence)
            }
            _ => None,
        })
    }
}
