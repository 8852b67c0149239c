//! Which partition a record goes to, when the caller does not say.

mod random;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use streamledger_protocol::{PartitionIndex, crc32, murmur2};

pub use random::{RandomSource, SeededRandom};

use crate::accumulator::TopicQueues;

/// Where a record is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To this partition.
    Partition(PartitionIndex),
    /// To whichever partition the sticky partitioner is at: it stays at one for `batch.size`
    /// bytes, then moves to another by chance (KIP-480, KIP-794).
    Sticky,
}

/// What a partitioner may look at.
#[derive(Debug, Clone, Copy)]
pub struct PartitionInput<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// How many partitions it has: at least one.
    pub partition_count: i32,
    /// The serialized key.
    pub key: Option<&'a [u8]>,
    /// The serialized value.
    pub value: Option<&'a [u8]>,
}

/// A partitioner of the user's own. Called on the sending thread, for each record.
pub trait Partitioner: Send + Sync {
    /// Where the record goes. A partition outside `0..partition_count` fails the send.
    fn partition(&self, input: &PartitionInput<'_>) -> Target;
}

/// How partitions are chosen (`partitioner.class`).
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Partitioning {
    /// Java's rule, and the default: murmur2 of the key; sticky for records without one.
    #[default]
    Murmur2,
    /// Sticky for all, keys or not (`partitioner.ignore.keys`).
    Sticky,
    /// One after the other, among the partitions that have a leader.
    RoundRobin,
    /// librdkafka's default: CRC-32 of the key; sticky where it chooses by chance, for records
    /// whose key is null or empty.
    ConsistentRandom,
    /// The user's own.
    Own(Arc<dyn Partitioner>),
}

impl Partitioning {
    /// The names that [`Partitioning::from_str`] knows, the default first.
    pub const NAMES: [&'static str; 4] =
        ["murmur2_random", "sticky", "round_robin", "consistent_random"];

    /// Where a record goes whose caller named no partition.
    #[inline]
    #[must_use]
    pub fn choose(
        &self,
        topic: &TopicQueues,
        partition_count: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Target {
        let by_hash = |partition: Option<PartitionIndex>| match partition {
            Some(partition) => Target::Partition(partition),
            None => Target::Sticky,
        };
        match self {
            Self::Murmur2 => by_hash(key.and_then(|key| murmur2::partition(key, partition_count))),
            Self::Sticky => Target::Sticky,
            Self::RoundRobin => Target::Partition(topic.next_in_round(partition_count)),
            Self::ConsistentRandom => by_hash(
                key.filter(|key| !key.is_empty())
                    .and_then(|key| crc32::partition(key, partition_count)),
            ),
            Self::Own(own) => {
                let topic = topic.name().as_str();
                own.partition(&PartitionInput { topic, partition_count, key, value })
            }
        }
    }
}

impl FromStr for Partitioning {
    type Err = UnknownPartitioner;

    /// Knows librdkafka's names where the rule is the same, and Java's class of the round robin.
    fn from_str(name: &str) -> Result<Self, UnknownPartitioner> {
        match name {
            "murmur2_random" | "murmur2" => Ok(Self::Murmur2),
            "sticky" => Ok(Self::Sticky),
            "round_robin" | "org.apache.kafka.clients.producer.RoundRobinPartitioner" => {
                Ok(Self::RoundRobin)
            }
            "consistent_random" => Ok(Self::ConsistentRandom),
            _ => Err(UnknownPartitioner(name.to_owned())),
        }
    }
}

impl fmt::Debug for Partitioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Murmur2 => "murmur2_random",
            Self::Sticky => "sticky",
            Self::RoundRobin => "round_robin",
            Self::ConsistentRandom => "consistent_random",
            Self::Own(_) => "own",
        })
    }
}

/// A name that is no partitioner's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no partitioner {0:?}; choose one of murmur2_random, sticky, \
     round_robin, consistent_random"
)]
pub struct UnknownPartitioner(pub String);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accumulator::{AccumulatorConfig, RecordAccumulator};

    fn choose(partitioning: &Partitioning, key: Option<&[u8]>) -> Target {
        let random = Arc::new(SeededRandom::new(1));
        let accumulator = RecordAccumulator::new(AccumulatorConfig::default(), random);
        partitioning.choose(&accumulator.topic(&"clicks".into()), 6, key, None)
    }

    #[test]
    fn keys_go_where_javas_partitioner_puts_them() {
        // Hashes of org.apache.kafka.common.utils.Utils.murmur2, from Kafka's own test of it.
        for (key, hash) in
            [("21", -973_932_308_i32), ("foobar", -790_332_482), ("abc", 479_470_107)]
        {
            let partition = PartitionIndex((hash & i32::MAX) % 6);
            let chosen = choose(&Partitioning::Murmur2, Some(key.as_bytes()));
            assert_eq!(chosen, Target::Partition(partition), "{key}");
        }
    }

    #[test]
    fn an_empty_key_is_a_key_for_java_and_none_for_librdkafka() {
        assert!(matches!(choose(&Partitioning::Murmur2, Some(b"")), Target::Partition(_)));
        assert_eq!(choose(&Partitioning::Murmur2, None), Target::Sticky);
        assert_eq!(choose(&Partitioning::ConsistentRandom, Some(b"")), Target::Sticky);
        assert_eq!(choose(&Partitioning::ConsistentRandom, None), Target::Sticky);
        assert_eq!(choose(&Partitioning::Sticky, Some(b"key")), Target::Sticky);
    }

    #[test]
    fn consistent_random_is_the_crc_of_zlib() {
        let expected = Target::Partition(PartitionIndex((0xcbf4_3926_u32 % 6) as i32));
        assert_eq!(choose(&Partitioning::ConsistentRandom, Some(b"123456789")), expected);
    }

    #[test]
    fn round_robin_visits_each_partition_in_turn() {
        let random = Arc::new(SeededRandom::new(1));
        let accumulator = RecordAccumulator::new(AccumulatorConfig::default(), random);
        let topic = accumulator.topic(&"clicks".into());
        let mut seen = [0; 3];
        for _ in 0..9 {
            let Target::Partition(partition) =
                Partitioning::RoundRobin.choose(&topic, 3, Some(b"same"), None)
            else {
                panic!("round robin names a partition");
            };
            seen[usize::try_from(partition.0).unwrap()] += 1;
        }
        assert_eq!(seen, [3, 3, 3]);
    }

    #[test]
    fn every_name_is_known_and_others_are_named_in_the_error() {
        for name in Partitioning::NAMES {
            assert_eq!(format!("{:?}", name.parse::<Partitioning>().unwrap()), name);
        }
        assert!("fnv".parse::<Partitioning>().unwrap_err().to_string().contains("\"fnv\""));
    }

    #[test]
    fn a_partitioner_of_ones_own_sees_topic_key_and_count() {
        struct ByLength;
        impl Partitioner for ByLength {
            fn partition(&self, input: &PartitionInput<'_>) -> Target {
                assert_eq!((input.topic, input.partition_count), ("clicks", 6));
                Target::Partition(PartitionIndex(input.key.map_or(0, <[u8]>::len) as i32))
            }
        }
        let own = Partitioning::Own(Arc::new(ByLength));
        assert_eq!(choose(&own, Some(b"four")), Target::Partition(PartitionIndex(4)));
    }
}
