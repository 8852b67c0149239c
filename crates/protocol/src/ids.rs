//! The numbers of the protocol, each with a type of its own.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

/// Declares a number with a name: a transparent, ordered, hashable, printable newtype.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// The position of a record in a partition, counted from 0.
    Offset(i64)
}

number! {
    /// The number of a partition within its topic, counted from 0.
    PartitionIndex(i32)
}

number! {
    /// The number by which a cluster knows one of its brokers.
    BrokerId(i32)
}

number! {
    /// How many times a partition's leadership has changed hands; orders two views of it (KIP-101).
    LeaderEpoch(i32)
}

number! {
    /// The number a broker gave an idempotent or transactional producer (KIP-98).
    ProducerId(i64)
}

number! {
    /// Which life of a producer id this is: a higher epoch fences the lower (KIP-98).
    ProducerEpoch(i16)
}

number! {
    /// The number of a record within (producer id, epoch, partition); it wraps past 2^31-1 to 0.
    SequenceNumber(i32)
}

number! {
    /// Pairs a response with its request on one connection.
    CorrelationId(i32)
}

number! {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    TimestampMs(i64)
}

number! {
    /// The version of one API's request and response.
    ApiVersion(i16)
}

impl Offset {
    /// The first position of a log that has lost nothing.
    pub const ZERO: Self = Self(0);
    /// No offset is known (Kafka's `INVALID_OFFSET`).
    pub const NONE: Self = Self(-1);

    /// The position right after this one; stays where it is at the end of the number range.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Add<i64> for Offset {
    type Output = Self;

    fn add(self, records: i64) -> Self {
        Self(self.0.saturating_add(records))
    }
}

impl AddAssign<i64> for Offset {
    fn add_assign(&mut self, records: i64) {
        *self = *self + records;
    }
}

impl Sub<i64> for Offset {
    type Output = Self;

    fn sub(self, records: i64) -> Self {
        Self(self.0.saturating_sub(records))
    }
}

impl Sub for Offset {
    type Output = i64;

    fn sub(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }
}

impl PartitionIndex {
    /// No partition, or not yet chosen.
    pub const NONE: Self = Self(-1);
}

impl BrokerId {
    /// No broker: a partition without a leader, a cluster without a controller.
    pub const NONE: Self = Self(-1);
}

impl LeaderEpoch {
    /// The epoch is not known, or not checked.
    pub const NONE: Self = Self(-1);
    /// The epoch of a partition's first leader.
    pub const ZERO: Self = Self(0);
}

impl ProducerId {
    /// The producer is not idempotent (Kafka's `NO_PRODUCER_ID`).
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    /// The producer is not idempotent (Kafka's `NO_PRODUCER_EPOCH`).
    pub const NONE: Self = Self(-1);
    /// The epoch of a fresh producer id.
    pub const ZERO: Self = Self(0);
}

impl SequenceNumber {
    /// The batch carries no sequence (Kafka's `NO_SEQUENCE`).
    pub const NONE: Self = Self(-1);
    /// The first sequence under a producer id and epoch.
    pub const ZERO: Self = Self(0);

    /// The sequence `records` later, past 2^31-1 to 0 (KIP-98).
    #[must_use]
    pub const fn plus(self, records: i32) -> Self {
        Self(self.0.wrapping_add(records) & i32::MAX)
    }

    /// The sequence `records` earlier, past 0 to 2^31-1 (KIP-98).
    #[must_use]
    pub const fn minus(self, records: i32) -> Self {
        Self(self.0.wrapping_sub(records) & i32::MAX)
    }
}

impl TimestampMs {
    /// No timestamp (Kafka's `NO_TIMESTAMP`).
    pub const NONE: Self = Self(-1);
}

/// A producer id and the epoch under which it writes (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerIdentity {
    /// The producer id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

impl ProducerIdentity {
    /// The identity of a producer that is not idempotent.
    pub const NONE: Self = Self { id: ProducerId::NONE, epoch: ProducerEpoch::NONE };
}

impl fmt::Display for ProducerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "producer {} epoch {}", self.id, self.epoch)
    }
}

/// The UUID of a topic, which survives everything but the topic (KIP-516).
///
/// Printed and parsed as Kafka's `Uuid` is: URL-safe base64 without padding, 22 characters.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const UUID_CHARS: u32 = 22;

impl TopicId {
    /// No topic id: the topic is named by its name.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this names no topic.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&uuid_text(self.0))
    }
}

fn uuid_text(uuid: [u8; 16]) -> String {
    let bits = u128::from_be_bytes(uuid);
    let mut text = String::with_capacity(UUID_CHARS as usize);
    for position in 0..UUID_CHARS {
        // 128 bits are 21 groups of six and two more, which the last character carries on top.
        let group = match 122_u32.checked_sub(6 * position) {
            Some(shift) => bits >> shift,
            None => bits << 4,
        };
        text.push(char::from(BASE64_URL[(group & 63) as usize]));
    }
    text
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

/// A text that is not a topic id: not 22 characters of URL-safe base64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a topic id: expected 22 characters of URL-safe base64")]
pub struct InvalidTopicId(pub String);

impl FromStr for TopicId {
    type Err = InvalidTopicId;

    fn from_str(text: &str) -> Result<Self, InvalidTopicId> {
        let invalid = || InvalidTopicId(text.to_owned());
        if text.len() != UUID_CHARS as usize {
            return Err(invalid());
        }
        let mut bits = 0_u128;
        let mut left_over = 0;
        for (position, byte) in text.bytes().enumerate() {
            let group = BASE64_URL.iter().position(|&c| c == byte).ok_or_else(invalid)? as u128;
            if position + 1 < UUID_CHARS as usize {
                bits = bits << 6 | group;
            } else {
                bits = bits << 2 | group >> 4;
                left_over = group & 15;
            }
        }
        if left_over != 0 {
            return Err(invalid());
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

/// What a broker calls a client that pushes its metrics (KIP-714).
///
/// Printed as Kafka's `Uuid` is: URL-safe base64 without padding, 22 characters.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientInstanceId(pub [u8; 16]);

impl ClientInstanceId {
    /// The broker has not said yet.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this is nobody's.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Display for ClientInstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&uuid_text(self.0))
    }
}

impl fmt::Debug for ClientInstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientInstanceId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_wraps_past_the_largest_to_zero_and_back() {
        let last = SequenceNumber(i32::MAX);
        assert_eq!(last.plus(1), SequenceNumber::ZERO);
        assert_eq!(SequenceNumber(i32::MAX - 2).plus(10), SequenceNumber(7));
        assert_eq!(SequenceNumber::ZERO.minus(1), last);
        assert_eq!(SequenceNumber(7).minus(10), SequenceNumber(i32::MAX - 2));
        assert_eq!(SequenceNumber(5).plus(0), SequenceNumber(5));
    }

    #[test]
    fn offsets_count_records() {
        assert_eq!(Offset(7).next(), Offset(8));
        assert_eq!(Offset(7) + 3, Offset(10));
        assert_eq!(Offset(10) - Offset(7), 3);
        assert_eq!(Offset(i64::MAX).next(), Offset(i64::MAX));
    }

    #[test]
    fn topic_id_prints_as_kafkas_uuid_does() {
        assert_eq!(TopicId::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        let id = TopicId([
            0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
            0xcd, 0xef,
        ]);
        assert_eq!(id.to_string(), "_ty6mHZUMhABI0VniavN7w");
        assert_eq!("_ty6mHZUMhABI0VniavN7w".parse(), Ok(id));
    }

    #[test]
    fn a_text_that_is_no_topic_id_is_refused() {
        for text in ["", "short", "_ty6mHZUMhABI0VniavN7x", "_ty6mHZUMhABI0VniavN7!", "é"] {
            assert_eq!(text.parse::<TopicId>(), Err(InvalidTopicId(text.to_owned())));
        }
    }
}
