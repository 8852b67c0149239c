//! What files or a topic hold, in memory that doesn't grow with them.
//!
//! Laws: two tallies with the same buckets hold the same rows as often (but for a collision of 128
//! bits); two with the same chains have the same rows of each group of keys in the same order. Keys
//! of different partitions are never in one group: a topic has no order between partitions.

use std::collections::BTreeSet;

use twox_hash::XxHash3_128;

/// Into so many groups keys are put, those of all partitions together.
const KEY_GROUPS: usize = 1 << 16;

/// How many buckets a tally has: a difference is looked for among this share of the rows.
pub(super) const BUCKETS: usize = 1 << 16;

/// A row as it is in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    /// Only where it is part of what a row is.
    pub(super) timestamp_ms: Option<i64>,
    /// Only where the files say it.
    pub(super) partition: Option<i32>,
    /// Only where headers are part of what a row is: their names and values, one after the other.
    pub(super) headers: &'a [u8],
}

/// Adds a header to those of a row.
pub(super) fn write_header(headers: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    for part in [Some(name.as_bytes()), value] {
        write_part(headers, part);
    }
}

fn write_part(buffer: &mut Vec<u8>, part: Option<&[u8]>) {
    let length = part.map_or(u64::MAX, |bytes| bytes.len() as u64);
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(part.unwrap_or_default());
}

/// A row's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Fingerprint(pub(super) u128);

impl Fingerprint {
    /// Which bucket the row is counted in.
    pub(super) fn bucket(self) -> usize {
        (self.0 >> 112) as usize
    }
}

/// Makes fingerprints, in a buffer that is used again for each.
#[derive(Debug, Default)]
pub(super) struct Fingerprints(Vec<u8>);

impl Fingerprints {
    /// A row's fingerprint: null and empty differ, and what is key is not what is value.
    pub(super) fn of(&mut self, row: &Row<'_>) -> Fingerprint {
        let buffer = &mut self.0;
        buffer.clear();
        for part in [row.key, row.value] {
            write_part(buffer, part);
        }
        if let Some(ms) = row.timestamp_ms {
            buffer.extend_from_slice(&ms.to_le_bytes());
        }
        if let Some(partition) = row.partition {
            buffer.extend_from_slice(&partition.to_le_bytes());
        }
        buffer.extend_from_slice(row.headers);
        Fingerprint(XxHash3_128::oneshot(buffer))
    }
}

/// A key in its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct KeyPlace {
    partition: usize,
    key: u128,
}

impl KeyPlace {
    /// Of a row; None if it goes to no partition in particular.
    pub(super) fn of(row: &Row<'_>, partition: Option<usize>) -> Option<KeyPlace> {
        // Rows without a key that files place are one key more: they have an order too.
        let key = row.key.map_or(0, XxHash3_128::oneshot);
        partition.map(|partition| KeyPlace { partition, key })
    }
}

/// Rows in their order, as one hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Chain(u128);

impl Chain {
    /// Adds a row behind those that are there.
    pub(super) fn add(&mut self, row: Fingerprint) {
        // Odd, so that no step forgets the ones before it.
        const FACTOR: u128 = 0x2d35_8dcc_aa6c_78a5_8bb8_4b93_962e_acc9;
        self.0 = (self.0.rotate_left(23) ^ row.0).wrapping_mul(FACTOR);
    }
}

/// How many rows, which, and in which order.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) row_count: u64,
    buckets: Vec<Bucket>,
    chains: Vec<Chain>,
    groups_per_partition: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bucket {
    row_count: u64,
    sum: u128,
}

impl Tally {
    /// Of no row, for a topic of so many partitions.
    pub(super) fn new(partition_count: usize) -> Tally {
        let groups_per_partition = (KEY_GROUPS / partition_count.max(1)).max(1);
        Tally {
            row_count: 0,
            buckets: vec![Bucket::default(); BUCKETS],
            chains: vec![Chain::default(); partition_count * groups_per_partition],
            groups_per_partition,
        }
    }

    /// Of no row, of which the order doesn't count.
    pub(super) fn without_order() -> Tally {
        Tally::new(0)
    }

    /// The group of a key.
    pub(super) fn group(&self, key: KeyPlace) -> usize {
        let in_partition = key.key % self.groups_per_partition as u128;
        key.partition * self.groups_per_partition + in_partition as usize
    }

    /// Counts a row; its place in the order counts only where it has one.
    pub(super) fn add(&mut self, row: Fingerprint, key: Option<KeyPlace>) {
        self.row_count += 1;
        let bucket = &mut self.buckets[row.bucket()];
        bucket.row_count += 1;
        bucket.sum = bucket.sum.wrapping_add(row.0);
        let group = key.map(|key| self.group(key));
        if let Some(chain) = group.and_then(|group| self.chains.get_mut(group)) {
            chain.add(row);
        }
    }

    /// The buckets that differ, each with how many rows both sides have in it.
    pub(super) fn differing_buckets(&self, other: &Tally) -> Vec<(usize, u64)> {
        let pairs = self.buckets.iter().zip(&other.buckets).enumerate();
        pairs
            .filter(|(_, (mine, theirs))| mine != theirs)
            .map(|(index, (mine, theirs))| (index, mine.row_count + theirs.row_count))
            .collect()
    }

    /// The groups of keys whose rows come in another order.
    pub(super) fn reordered_groups(&self, other: &Tally) -> BTreeSet<usize> {
        let pairs = self.chains.iter().zip(&other.chains).enumerate();
        pairs.filter(|(_, (mine, theirs))| mine != theirs).map(|(index, _)| index).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(key: Option<&'a str>, value: &'a str) -> Row<'a> {
        Row {
            key: key.map(str::as_bytes),
            value: Some(value.as_bytes()),
            timestamp_ms: None,
            partition: None,
            headers: &[],
        }
    }

    fn tally(rows: &[(usize, &str)]) -> Tally {
        let (mut tally, mut fingerprints) = (Tally::new(2), Fingerprints::default());
        for (partition, value) in rows {
            let row = row(Some("k"), value);
            tally.add(fingerprints.of(&row), KeyPlace::of(&row, Some(*partition)));
        }
        tally
    }

    #[test]
    fn every_part_of_a_row_counts() {
        let mut fingerprints = Fingerprints::default();
        let mut all = vec![
            fingerprints.of(&row(Some("a"), "bc")),
            fingerprints.of(&row(Some("ab"), "c")),
            fingerprints.of(&row(Some(""), "abc")),
            fingerprints.of(&row(None, "abc")),
            fingerprints.of(&Row { value: None, ..row(Some("abc"), "") }),
            fingerprints.of(&row(Some("abc"), "")),
            fingerprints.of(&Row { timestamp_ms: Some(0), ..row(Some("abc"), "") }),
        ];
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn the_same_rows_in_whatever_order_are_the_same_rows() {
        let (one, other) =
            (tally(&[(0, "a"), (0, "b"), (1, "c")]), tally(&[(1, "c"), (0, "b"), (0, "a")]));
        assert_eq!(one.differing_buckets(&other), []);
        assert_eq!(one.reordered_groups(&other).len(), 1);
        let same = tally(&[(1, "c"), (0, "a"), (0, "b")]);
        assert_eq!(one.reordered_groups(&same).len(), 0, "between partitions there is no order");
    }

    #[test]
    fn a_row_less_more_or_twice_is_a_difference() {
        let whole = tally(&[(0, "a"), (0, "b")]);
        for other in [&[(0, "a")][..], &[(0, "a"), (0, "b"), (0, "b")], &[(0, "a"), (0, "x")]] {
            let differing = whole.differing_buckets(&tally(other));
            assert!(!differing.is_empty(), "{other:?}");
            assert!(differing.iter().all(|(_, rows)| (1..=3).contains(rows)));
        }
    }
}
