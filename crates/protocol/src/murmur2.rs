//! The hash by which a key finds its partition: 32-bit murmur2 with the Java client's seed.

use crate::PartitionIndex;

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const ROTATION: u32 = 24;

/// The hash of a key, as `org.apache.kafka.common.utils.Utils.murmur2` gives it.
#[must_use]
pub fn murmur2(key: &[u8]) -> u32 {
    // The reference folds the length in as 32 bits, so a longer key's length wraps as Java's int.
    let length = u32::try_from(key.len() & 0xffff_ffff).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        let mixed = (mixed ^ (mixed >> ROTATION)).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed;
    }
    if !tail.is_empty() {
        for (index, &byte) in tail.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// The partition of a keyed record among `partition_count`: `(hash & 0x7fffffff) % count`, the
/// rule of Java's `BuiltInPartitioner.partitionForKey`. Nothing if there is no partition.
#[must_use]
pub fn partition(key: &[u8], partition_count: i32) -> Option<PartitionIndex> {
    let positive = (murmur2(key) & 0x7fff_ffff).cast_signed();
    positive.checked_rem(partition_count).filter(|_| partition_count > 0).map(PartitionIndex)
}
