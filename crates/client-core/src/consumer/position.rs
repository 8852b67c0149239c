//! Where to read from, and the settings of fetching.

use std::time::Duration;

use streamledger_protocol::{IsolationLevel, Offset, TimestampMs};

use crate::sender::Backoff;

/// Where in a partition to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// At the first record there is.
    Beginning,
    /// After the last record there is (with read-committed: of those decided).
    End,
    /// At this offset.
    Offset(Offset),
    /// At the first record with this timestamp or a later one; at the end if there is none.
    Timestamp(TimestampMs),
    /// Where `auto.offset.reset` says.
    Reset,
}

/// What `auto.offset.reset` says: where to read with no position, or one outside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record there is.
    Earliest,
    /// After the last record there is.
    Latest,
    /// At the first record not older than this (KIP-1106).
    Ago(Duration),
    /// Nowhere: it is an error.
    None,
}

/// A position that a broker has to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The first offset.
    Beginning,
    /// The offset after the last record.
    End,
    /// That of the first record with this timestamp or a later one.
    Timestamp(TimestampMs),
    /// That of the first record not older than this.
    Ago(Duration),
}

impl OffsetReset {
    /// What to look up, unless it is an error.
    #[must_use]
    pub fn lookup(self) -> Option<Lookup> {
        match self {
            Self::Earliest => Some(Lookup::Beginning),
            Self::Latest => Some(Lookup::End),
            Self::Ago(age) => Some(Lookup::Ago(age)),
            Self::None => None,
        }
    }
}

/// The settings of fetching, by Kafka's meaning.
#[derive(Debug, Clone)]
pub struct FetchConfig {
    /// Whether records of open and aborted transactions are seen (`isolation.level`).
    pub isolation: IsolationLevel,
    /// Where to read without a position (`auto.offset.reset`).
    pub offset_reset: OffsetReset,
    /// Bytes of one partition that may be fetched ahead (`max.partition.fetch.bytes`).
    pub partition_bytes_max: usize,
    /// Bytes of all partitions that may be fetched ahead (`fetch.max.bytes`).
    pub bytes_max: usize,
    /// For how long a replica is read in the leader's place before the leader is asked again which
    /// (`metadata.max.age.ms`).
    pub replica_age_max: Duration,
    /// Between two attempts (`retry.backoff.ms`, `retry.backoff.max.ms`).
    pub retry_backoff: Backoff,
    /// For how long a partition without a leader, or a cluster without an answering broker, is
    /// waited for before that is told (`default.api.timeout.ms`).
    pub patience: Duration,
}
