//! Which partition of an internal topic keeps a key: the one that Kafka would choose.

use streamledger_protocol::PartitionIndex;

/// The partition for `key` among `partition_count` (Kafka's `Utils.abs(key.hashCode) % count`).
///
/// Partition 0 if there is none.
#[must_use]
pub fn key_partition(key: &str, partition_count: i32) -> PartitionIndex {
    // Java's String.hashCode goes by UTF-16 units.
    let hash = key.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit.cast_signed()) & 0xFFFF)
    });
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    PartitionIndex(positive.checked_rem(partition_count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_land_where_kafka_puts_them() {
        // "my-group".hashCode() is 1488241553; "ö😀" has the units F6, D83D, DE00.
        assert_eq!(key_partition("", 50), PartitionIndex(0));
        assert_eq!(key_partition("a", 50), PartitionIndex(97 % 50));
        assert_eq!(key_partition("ab", 50), PartitionIndex((97 * 31 + 98) % 50));
        let units = (0xF6_i32 * 31 + 0xD83D).wrapping_mul(31).wrapping_add(0xDE00);
        assert_eq!(key_partition("ö😀", 50), PartitionIndex(units.abs() % 50));
        // Its hash is i32::MIN, whose absolute value Java cannot have.
        assert_eq!(key_partition("polygenelubricants", 50), PartitionIndex(0));
        assert_eq!(key_partition("x", 0), PartitionIndex(0));
    }
}
