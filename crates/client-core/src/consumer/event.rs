//! What happens to the fetching, and what it wants done.

use std::sync::Arc;

use bytes::Bytes;
use streamledger_protocol::messages::fetch::{AbortedTransaction, PartitionData};
use streamledger_protocol::{
    BrokerId, ErrorCode, LeaderEpoch, Offset, TopicId, TopicName, TopicPartition,
};

use super::position::{Lookup, Position};
use crate::cluster::ClusterSnapshot;

/// Which assignment or seek something belongs to. Every one of them gets a higher number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// The name of a request between this and its shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What the shell tells.
#[derive(Debug)]
pub enum Event {
    /// These partitions, and no others, are to be read.
    Assign(Vec<(TopicPartition, Generation, Position)>),
    /// These partitions are to be read too, those without a position once a seek gives one.
    Add(Vec<(TopicPartition, Generation, Option<Position>)>),
    /// These partitions are to be read no more.
    Remove(Vec<TopicPartition>),
    /// A partition is not to be fetched for a while, or is again.
    Pause(TopicPartition, bool),
    /// A partition that is assigned is to be read from elsewhere; one of an older generation than
    /// the partition's is too late.
    Seek(TopicPartition, Generation, Position),
    /// The view of the cluster, made or changed.
    Metadata(Arc<ClusterSnapshot>),
    /// An [`Effect::RefreshMetadata`] came to nothing.
    MetadataFailed,
    /// An [`Effect::Fetch`] was answered.
    Fetched {
        /// Which.
        request: RequestId,
        /// What came of each partition, in any order.
        partitions: Vec<(TopicPartition, PartitionData)>,
    },
    /// An [`Effect::FindOffsets`] was answered.
    OffsetsFound {
        /// Which.
        request: RequestId,
        /// What came of each partition, in any order.
        partitions: Vec<(TopicPartition, FoundOffset)>,
    },
    /// A request has no answer and won't get one.
    RequestFailed(RequestId),
    /// Somebody has read all of what was delivered once.
    Consumed {
        /// Of which partition.
        topic_partition: TopicPartition,
        /// The generation it was delivered with.
        generation: Generation,
        /// [`Fetched::bytes`] of it.
        bytes: usize,
    },
    /// What was delivered can't be read: the partition stops until a seek.
    Unreadable {
        /// Which partition.
        topic_partition: TopicPartition,
        /// The generation it was delivered with.
        generation: Generation,
    },
}

/// What a broker found for a [`Lookup`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// What went wrong, if anything.
    pub error: ErrorCode,
    /// The offset; none if no record is so new.
    pub offset: Option<Offset>,
}

/// What the shell is to do. Effects are performed in the order they are given.
#[derive(Debug, PartialEq)]
#[must_use = "an effect that isn't performed is lost"]
pub enum Effect {
    /// Ask for metadata of these topics; answer with `Metadata` or `MetadataFailed`.
    RefreshMetadata(Vec<TopicName>),
    /// Ask the leader for offsets; answer with `OffsetsFound` or `RequestFailed`.
    FindOffsets {
        /// What its answer is to be named by.
        request: RequestId,
        /// Whom to ask.
        broker: BrokerId,
        /// What for.
        partitions: Vec<PartitionToFind>,
    },
    /// Fetch from the leader, or the replica that it named; answer with `Fetched` or
    /// `RequestFailed`.
    Fetch {
        /// What its answer is to be named by.
        request: RequestId,
        /// Whom to ask.
        broker: BrokerId,
        /// What for.
        partitions: Vec<PartitionToFetch>,
    },
    /// The partition is read from here on.
    Positioned {
        /// Which partition.
        topic_partition: TopicPartition,
        /// In which generation.
        generation: Generation,
        /// The offset of the next record.
        offset: Offset,
    },
    /// Records came; they are read after those delivered before.
    Deliver(Fetched),
    /// Something is wrong that the reader must know.
    Tell(Trouble),
}

/// An offset wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionToFind {
    /// In which partition.
    pub topic_partition: TopicPartition,
    /// The leader epoch known; a broker that knows a newer one says so (KIP-320).
    pub leader_epoch: LeaderEpoch,
    /// Which.
    pub lookup: Lookup,
}

/// Records wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionToFetch {
    /// Of which partition.
    pub topic_partition: TopicPartition,
    /// The topic's id, for versions 13 and up; zero if it isn't known.
    pub topic_id: TopicId,
    /// The leader epoch known; a broker that knows a newer one says so (KIP-320).
    pub leader_epoch: LeaderEpoch,
    /// From where on.
    pub offset: Offset,
}

/// Records of one partition that came in one answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The generation they were asked for in.
    pub generation: Generation,
    /// The offset that was asked for; the first batch may begin before it.
    pub offset: Offset,
    /// Whole record batches; what follows the last that can be read is there only if it can't.
    pub records: Bytes,
    /// Aborted transactions among them.
    pub aborted: Vec<AbortedTransaction>,
    /// The offset after the last record that can be read at the moment of the answer.
    pub high_watermark: Offset,
    /// What it counts for against the limits.
    pub bytes: usize,
}

/// Something the reader must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The position is outside the log, and `auto.offset.reset` is none. Stopped until a seek.
    OutOfRange {
        /// The partition.
        topic_partition: TopicPartition,
        /// The generation.
        generation: Generation,
        /// The position.
        offset: Offset,
    },
    /// The broker refuses for good. Stopped until a seek.
    Refused {
        /// The partition.
        topic_partition: TopicPartition,
        /// The generation.
        generation: Generation,
        /// Why.
        error: ErrorCode,
    },
    /// The partition has had no leader for long. It is still waited for.
    NoLeader {
        /// The partition.
        topic_partition: TopicPartition,
        /// The generation.
        generation: Generation,
        /// What metadata says of its topic, if anything.
        error: Option<ErrorCode>,
    },
    /// A broker to read from has answered nothing for long, though others name it. It is still
    /// tried.
    Silent {
        /// The broker.
        broker: BrokerId,
    },
    /// No broker has answered for long. They are still tried.
    Unreachable,
}
