//! From key to the offset of its last record, within a bound on memory.
//!
//! Whole keys, not hashes of them: two keys that hash alike would lose one of their records. An
//! ordered map, so that nobody can choose keys that make it slow.

use std::collections::BTreeMap;

use streamledger_protocol::Offset;

/// What an entry takes besides its key: pointers, the offset, its share of the tree, the allocator.
const ENTRY_BYTES: usize = 64;

/// From key to the offset of its last record.
#[derive(Debug, Clone, Default)]
pub struct KeyMap {
    last: BTreeMap<Box<[u8]>, Offset>,
    bytes: usize,
    bytes_max: usize,
}

impl KeyMap {
    /// A map that is full once its entries take `bytes_max`.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// Notes a record; of two with one key the later counts.
    pub fn insert(&mut self, key: &[u8], offset: Offset) {
        if let Some(last) = self.last.get_mut(key) {
            *last = (*last).max(offset);
        } else {
            self.bytes += ENTRY_BYTES + key.len();
            self.last.insert(key.into(), offset);
        }
    }

    /// Whether a later record than the one at `offset` has its key.
    #[must_use]
    pub fn supersedes(&self, key: &[u8], offset: Offset) -> bool {
        self.last.get(key).is_some_and(|last| *last > offset)
    }

    /// Whether it takes as much memory as it may. The batch that is being noted may go past that.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    /// How many keys it holds.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.last.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_of_a_key_counts_and_the_bytes_are_bounded() {
        let mut map = KeyMap::new(3 * (ENTRY_BYTES + 1));
        for (key, offset) in [(b"a", 4), (b"b", 5), (b"a", 9), (b"a", 2)] {
            map.insert(key, Offset(offset));
        }
        assert!(map.supersedes(b"a", Offset(8)) && !map.supersedes(b"a", Offset(9)));
        assert!(!map.supersedes(b"c", Offset(0)));
        assert!(!map.is_full());
        map.insert(b"c", Offset(10));
        assert!(map.is_full());
        assert_eq!(map.key_count(), 3);
    }
}
