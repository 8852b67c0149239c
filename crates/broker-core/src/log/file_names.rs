//! The names of a partition's files and directories: Kafka's, so that its tools find their way.

use streamledger_protocol::{Offset, PartitionIndex, TopicName, TopicPartition};

/// The leader epochs of a partition.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// The topic id of a partition.
pub const PARTITION_METADATA: &str = "partition.metadata";
/// Ends the name of a file that is being written: whoever finds one removes it.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// What a file of a partition's directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// The record batches of a segment.
    Log,
    /// A segment's index from offset to position.
    OffsetIndex,
    /// A segment's index from timestamp to offset.
    TimeIndex,
    /// The aborted transactions of a segment.
    TransactionIndex,
    /// The producers as of an offset.
    ProducerSnapshot,
}

impl FileKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Log,
        Self::OffsetIndex,
        Self::TimeIndex,
        Self::TransactionIndex,
        Self::ProducerSnapshot,
    ];

    /// The part of the name after the offset.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::OffsetIndex => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TransactionIndex => ".txnindex",
            Self::ProducerSnapshot => ".snapshot",
        }
    }

    /// The name of the file of this kind at `offset`: 20 digits and the suffix.
    #[must_use]
    pub fn file_name(self, offset: Offset) -> String {
        format!("{:020}{}", offset.0, self.suffix())
    }

    /// What a file name says, if it names a file of a segment.
    #[must_use]
    pub fn parse(file_name: &str) -> Option<(Self, Offset)> {
        let (digits, suffix) = file_name.split_at_checked(20)?;
        let kind = Self::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
        let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        let offset = if all_digits { digits.parse().ok()? } else { return None };
        Some((kind, Offset(offset)))
    }
}

/// The partition a directory's name stands for: `topic-3`.
#[must_use]
pub fn parse_directory_name(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let digits = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    let topic = TopicName::from(topic);
    if !digits || topic.validate().is_err() {
        return None;
    }
    Some(TopicPartition { topic, partition: PartitionIndex(partition.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_kafkas() {
        assert_eq!(FileKind::Log.file_name(Offset(170_210)), "00000000000000170210.log");
        for kind in FileKind::ALL {
            let name = kind.file_name(Offset(i64::MAX));
            assert_eq!(FileKind::parse(&name), Some((kind, Offset(i64::MAX))));
        }
        for name in ["leader-epoch-checkpoint", "0.log", "+0000000000000000001.log", "é"] {
            assert_eq!(FileKind::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_directory_is_a_topic_and_a_partition() {
        let parsed = parse_directory_name("my-clicks-12").unwrap();
        assert_eq!(parsed, TopicPartition::new("my-clicks", PartitionIndex(12)));
        for name in ["clicks", "clicks-", "clicks-x", "-1", "lost+found", "clicks--1"] {
            let refused = parse_directory_name(name);
            assert!(refused.is_none() || name == "clicks--1", "{name}");
        }
    }
}
