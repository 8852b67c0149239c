//! The closed choices of the protocol: acks, isolation level, codec, timestamp type.

use std::fmt;
use std::str::FromStr;

/// A text or number that is none of a setting's choices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {what}: expected {expected}")]
pub struct UnknownChoice {
    /// What was given.
    pub given: String,
    /// What it should have been, with its article: "a codec".
    pub what: &'static str,
    /// The choices there are.
    pub expected: &'static str,
}

/// How many replicas must have a batch before the leader acknowledges it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Acks {
    /// The broker sends no response at all.
    None = 0,
    /// The leader alone.
    Leader = 1,
    /// All replicas in sync.
    #[default]
    All = -1,
}

impl Acks {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The choice of a number on the wire; nothing for a number Kafka refuses too.
    #[must_use]
    pub const fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Leader),
            -1 => Some(Self::All),
            _ => None,
        }
    }
}

impl fmt::Display for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "0",
            Self::Leader => "1",
            Self::All => "all",
        })
    }
}

impl FromStr for Acks {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        match text {
            "0" => Ok(Self::None),
            "1" => Ok(Self::Leader),
            "all" | "-1" => Ok(Self::All),
            _ => Err(UnknownChoice {
                given: text.to_owned(),
                what: "a number of acks",
                expected: "0, 1 or all",
            }),
        }
    }
}

/// Whether a fetch sees the records of open and aborted transactions (KIP-98).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IsolationLevel {
    /// Every record below the high watermark.
    #[default]
    ReadUncommitted = 0,
    /// Only records below the last stable offset, with the aborted ones named.
    ReadCommitted = 1,
}

impl IsolationLevel {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// The level of a number on the wire.
    #[must_use]
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::ReadUncommitted),
            1 => Some(Self::ReadCommitted),
            _ => None,
        }
    }
}

impl fmt::Display for IsolationLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ReadUncommitted => "read_uncommitted",
            Self::ReadCommitted => "read_committed",
        })
    }
}

impl FromStr for IsolationLevel {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        match text {
            "read_uncommitted" => Ok(Self::ReadUncommitted),
            "read_committed" => Ok(Self::ReadCommitted),
            _ => Err(UnknownChoice {
                given: text.to_owned(),
                what: "an isolation level",
                expected: "read_uncommitted or read_committed",
            }),
        }
    }
}

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Not at all.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy blocks in xerial's framing.
    Snappy = 2,
    /// The LZ4 frame format.
    Lz4 = 3,
    /// RFC 8878 (KIP-110).
    Zstd = 4,
}

impl Codec {
    /// All of them, by their number.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];
    /// The bits of a record batch's attributes that carry the codec.
    pub const ATTRIBUTES_MASK: i16 = 0b111;

    /// The codec that a record batch's attributes name.
    ///
    /// # Errors
    /// The three bits hold a number that names no codec.
    pub fn from_attributes(attributes: i16) -> Result<Self, UnknownChoice> {
        let code = attributes & Self::ATTRIBUTES_MASK;
        Self::ALL.into_iter().find(|codec| codec.attributes() == code).ok_or_else(|| {
            UnknownChoice { given: code.to_string(), what: "a codec", expected: "0 to 4" }
        })
    }

    /// The bits this codec sets in a record batch's attributes.
    #[must_use]
    pub const fn attributes(self) -> i16 {
        self as i16
    }

    /// The name by which `compression.type` knows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Codec {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        Self::ALL.into_iter().find(|codec| codec.name() == text).ok_or_else(|| UnknownChoice {
            given: text.to_owned(),
            what: "a codec",
            expected: "none, gzip, snappy, lz4 or zstd",
        })
    }
}

/// Whose clock stamped the records of a batch (KIP-32).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimestampType {
    /// The producer's, record by record.
    #[default]
    CreateTime = 0,
    /// The leader's, one for the whole batch.
    LogAppendTime = 1,
}

impl TimestampType {
    /// The bit of a record batch's attributes that carries the type.
    pub const ATTRIBUTES_MASK: i16 = 0b1000;

    /// The type that a record batch's attributes name.
    #[must_use]
    pub const fn from_attributes(attributes: i16) -> Self {
        if attributes & Self::ATTRIBUTES_MASK == 0 { Self::CreateTime } else { Self::LogAppendTime }
    }

    /// The bits this type sets in a record batch's attributes.
    #[must_use]
    pub const fn attributes(self) -> i16 {
        match self {
            Self::CreateTime => 0,
            Self::LogAppendTime => Self::ATTRIBUTES_MASK,
        }
    }

    /// The name by which `message.timestamp.type` knows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        }
    }
}

impl fmt::Display for TimestampType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for TimestampType {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        match text {
            "CreateTime" => Ok(Self::CreateTime),
            "LogAppendTime" => Ok(Self::LogAppendTime),
            _ => Err(UnknownChoice {
                given: text.to_owned(),
                what: "a timestamp type",
                expected: "CreateTime or LogAppendTime",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_choice_is_read_back_from_what_it_writes() {
        for acks in [Acks::None, Acks::Leader, Acks::All] {
            assert_eq!(Acks::from_code(acks.code()), Some(acks));
            assert_eq!(acks.to_string().parse(), Ok(acks));
        }
        for level in [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted] {
            assert_eq!(IsolationLevel::from_code(level.code()), Some(level));
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        for codec in Codec::ALL {
            assert_eq!(Codec::from_attributes(codec.attributes() | 0b11_1000), Ok(codec));
            assert_eq!(codec.name().parse(), Ok(codec));
        }
        for kind in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
            assert_eq!(TimestampType::from_attributes(kind.attributes() | 0b11_0100), kind);
            assert_eq!(kind.name().parse(), Ok(kind));
        }
    }

    #[test]
    fn what_is_no_choice_is_refused_by_name() {
        assert_eq!(Acks::from_code(2), None);
        assert_eq!(IsolationLevel::from_code(2), None);
        assert!(Codec::from_attributes(5).is_err());
        let refused = "zip".parse::<Codec>().unwrap_err();
        let text = r#""zip" is not a codec: expected none, gzip, snappy, lz4 or zstd"#;
        assert_eq!(refused.to_string(), text);
    }
}
