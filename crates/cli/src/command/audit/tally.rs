//! What files or a topic hold, in memory that doesn't grow with them.
//!
//! Laws: two tallies with the same buckets hold the same rows as often (but for a collision of 128
//! bits); two with the same chains have the same rows of each partition in the same order.

use twox_hash::XxHash3_128;

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

/// How many rows, which, and in which order.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) row_count: u64,
    buckets: Vec<Bucket>,
    chains: Vec<u128>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bucket {
    row_count: u64,
    sum: u128,
}

impl Tally {
    /// Of no row, for a topic of so many partitions.
    pub(super) fn new(partition_count: usize) -> Tally {
        Tally {
            row_count: 0,
            buckets: vec![Bucket::default(); BUCKETS],
            chains: vec![0; partition_count],
        }
    }

    /// Counts a row; its place in the order of its partition counts only where it has a key.
    pub(super) fn add(&mut self, row: Fingerprint, keyed_partition: Option<usize>) {
        self.row_count += 1;
        let bucket = &mut self.buckets[row.bucket()];
        bucket.row_count += 1;
        bucket.sum = bucket.sum.wrapping_add(row.0);
        if let Some(chain) = keyed_partition.and_then(|partition| self.chains.get_mut(partition)) {
            // Odd, so that no step forgets the ones before it.
            const FACTOR: u128 = 0x2d35_8dcc_aa6c_78a5_8bb8_4b93_962e_acc9;
            *chain = (chain.rotate_left(23) ^ row.0).wrapping_mul(FACTOR);
        }
    }

    /// The buckets that differ, each with how many rows the fuller side has in it.
    pub(super) fn differing_buckets(&self, other: &Tally) -> Vec<(usize, u64)> {
        let pairs = self.buckets.iter().zip(&other.buckets).enumerate();
        pairs
            .filter(|(_, (mine, theirs))| mine != theirs)
            .map(|(index, (mine, theirs))| (index, mine.row_count.max(theirs.row_count)))
            .collect()
    }

    /// The partitions whose rows come in another order.
    pub(super) fn reordered_partitions(&self, other: &Tally) -> Vec<usize> {
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
            tally.add(fingerprints.of(&row(Some("k"), value)), Some(*partition));
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
        assert_eq!(one.reordered_partitions(&other), [0]);
        assert_eq!(one.reordered_partitions(&tally(&[(1, "c"), (0, "a"), (0, "b")])), [0_usize; 0]);
    }

    #[test]
    fn a_row_less_more_or_twice_is_a_difference() {
        let whole = tally(&[(0, "a"), (0, "b")]);
        for other in [&[(0, "a")][..], &[(0, "a"), (0, "b"), (0, "b")], &[(0, "a"), (0, "x")]] {
            let differing = whole.differing_buckets(&tally(other));
            assert!(!differing.is_empty(), "{other:?}");
            assert!(differing.iter().all(|(_, rows)| (1..=2).contains(rows)));
        }
    }
}
