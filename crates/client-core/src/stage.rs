//! The stages of a record's journey: one enum that labels metrics, errors and trace lines.

use std::fmt;

/// Where a record is on its way from the caller to a consumer, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Key and value are made into bytes.
    Serialized,
    /// The partition is chosen.
    Partitioned,
    /// The record is in the open batch of its partition.
    Accumulated,
    /// The batch is sealed, in a request, on its way to the partition's leader.
    Sent,
    /// The leader has given offsets and written it.
    Appended,
    /// The in-sync followers have it.
    Replicated,
    /// The leader's answer has been judged.
    Acknowledged,
    /// The caller has its `RecordMetadata`.
    Metadata,
    /// A consumer has read it.
    Fetched,
}

impl Stage {
    /// All stages, in the order of the journey.
    pub const ALL: [Self; 9] = [
        Self::Serialized,
        Self::Partitioned,
        Self::Accumulated,
        Self::Sent,
        Self::Appended,
        Self::Replicated,
        Self::Acknowledged,
        Self::Metadata,
        Self::Fetched,
    ];

    /// The stage's place in the journey, from 1.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The stage's name in metrics and traces: one lower-case word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serialized => "serialized",
            Self::Partitioned => "partitioned",
            Self::Accumulated => "accumulated",
            Self::Sent => "sent",
            Self::Appended => "appended",
            Self::Replicated => "replicated",
            Self::Acknowledged => "acknowledged",
            Self::Metadata => "metadata",
            Self::Fetched => "fetched",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_numbered_in_the_order_of_the_journey() {
        let numbers: Vec<_> = Stage::ALL.iter().map(|stage| stage.number()).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(Stage::Accumulated < Stage::Sent);
    }
}
