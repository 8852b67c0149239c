//! Where a key goes, by the rules that need nothing but the key.

use std::fmt;

use streamledger::{PartitionIndex, crc32_partition, murmur2_partition};

/// A rule by which keys go to partitions, by the name that `partitioner.class` has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum KeyPartitioner {
    /// Java's rule, and ours: murmur2 of the key
    Murmur2Random,
    /// The rule of librdkafka (kcat, Python, C#): CRC-32 of the key
    ConsistentRandom,
}

impl KeyPartitioner {
    /// The rule that a producer with this `partitioner.class` goes by; None if that needs more than
    /// the key.
    pub fn of_class(class: Option<&str>) -> Option<KeyPartitioner> {
        match class {
            None | Some("murmur2_random" | "murmur2") => Some(KeyPartitioner::Murmur2Random),
            Some("consistent_random") => Some(KeyPartitioner::ConsistentRandom),
            Some(_) => None,
        }
    }

    /// The partition of a key; None if any of them may be chosen, or if there is none.
    pub fn partition(self, key: &[u8], partition_count: i32) -> Option<i32> {
        let chosen = match self {
            KeyPartitioner::Murmur2Random => murmur2_partition(key, partition_count),
            // librdkafka takes an empty key for none.
            KeyPartitioner::ConsistentRandom if key.is_empty() => None,
            KeyPartitioner::ConsistentRandom => crc32_partition(key, partition_count),
        };
        chosen.map(|PartitionIndex(index)| index)
    }
}

impl fmt::Display for KeyPartitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyPartitioner::Murmur2Random => "murmur2_random",
            KeyPartitioner::ConsistentRandom => "consistent_random",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_key_is_a_key_in_java_and_none_in_librdkafka() {
        assert!(KeyPartitioner::Murmur2Random.partition(b"", 6).is_some());
        assert_eq!(KeyPartitioner::ConsistentRandom.partition(b"", 6), None);
        assert_eq!(KeyPartitioner::Murmur2Random.partition(b"a", 0), None);
    }

    #[test]
    fn each_rule_is_the_one_of_its_class() {
        for rule in [KeyPartitioner::Murmur2Random, KeyPartitioner::ConsistentRandom] {
            assert_eq!(KeyPartitioner::of_class(Some(&rule.to_string())), Some(rule));
        }
        assert_eq!(KeyPartitioner::of_class(None), Some(KeyPartitioner::Murmur2Random));
        assert_eq!(KeyPartitioner::of_class(Some("round_robin")), None);
    }
}
