//! Bugs planted on purpose, so that the simulator can prove it would find them.
//!
//! Without the feature `planted-bugs` no bug can be switched on and every check is a constant.

/// A bug that breaks one promise of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlantedBug {
    /// Recovery keeps the batch that a crash cut short.
    KeepTornTail,
    /// A batch counts as flushed as soon as it was written.
    AckBeforeFlush,
    /// The last batches of each producer are forgotten at a restart.
    ForgetProducerStateOnRestart,
    /// A retry is compared with the producer's last batch only, not with the last five.
    DuplicateCheckAgainstLastBatchOnly,
    /// The high watermark follows a flush even when that moves it back.
    HighWatermarkBack,
    /// Recovery takes a segment although records before it are missing.
    IgnoreGapAtRecovery,
    /// The producer snapshot of a new segment is written before the closed one is on disk.
    SnapshotBeforeFlush,
    /// The last stable offset goes past a transaction that is open.
    StableOffsetPastOpenTransaction,
    /// Markers leave before the decision that they stand for is on disk.
    MarkersBeforeFlush,
    /// A marker is answered before it is on disk (KAFKA-17507).
    MarkerAnsweredBeforeFlush,
    /// A marker of version 2 is taken at an epoch that has been seen (KIP-1228).
    MarkerAtEqualEpoch,
    /// A coordinator that is loaded does not go on with the markers that were left.
    ForgetMarkersAtLoad,
    /// The end of a transaction is taken from an old epoch of its producer.
    EndOfOldEpoch,
    /// The end of a transaction raises the epoch twice (KAFKA-19367).
    BumpEpochTwice,
    /// Compaction removes markers while records of their transactions are left.
    CompactionDropsMarkers,
    /// Compaction takes records of aborted transactions for the latest of their keys.
    CompactionMapsAborted,
    /// Compaction removes a deletion as soon as it sees it.
    CompactionDropsTombstones,
    /// Compaction keeps no batch for the sake of its producer's sequence.
    CompactionForgetsProducers,
    /// A compacted segment takes its place before it is on disk.
    CompactionSwapsUnflushed,
    /// A member that its group has moved on from stores offsets.
    CommitOfOldGeneration,
    /// A member of a next-generation group is given partitions that another has not given up.
    AssignUnreleased,
    /// A group that turns to the next generation forgets what its classic members have.
    TurnForgetsAssigned,
    /// Offsets that a transaction stores are seen before it commits.
    OffsetsBeforeCommit,
    /// Offsets that a transaction stored stay although it aborts.
    OffsetsAfterAbort,
    /// A coordinator that is loaded does not know what open transactions are about to store.
    ForgetPendingOffsets,
    /// No marker goes to where the offsets of a transaction are kept.
    NoMarkerForOffsets,
    /// Who asks for what is certain isn't told that a transaction is about to store anew (KIP-447).
    UnstableOffsetsTakenAsStable,
    /// The journal writes over a half whose segments are not on disk yet.
    JournalTurnsTooEarly,
    /// Closed segments may be compacted although the journal would write them back.
    JournalWithoutFloor,
    /// After a crash the journal writes back segments that were flushed and replaced since.
    JournalReplaysOldSegments,
    /// A turn of the journal begins while frames of the one before are not on disk.
    JournalTurnsUnflushed,
}

impl PlantedBug {
    /// All of them.
    pub const ALL: [Self; 31] = [
        Self::KeepTornTail,
        Self::AckBeforeFlush,
        Self::ForgetProducerStateOnRestart,
        Self::DuplicateCheckAgainstLastBatchOnly,
        Self::HighWatermarkBack,
        Self::IgnoreGapAtRecovery,
        Self::SnapshotBeforeFlush,
        Self::StableOffsetPastOpenTransaction,
        Self::MarkersBeforeFlush,
        Self::MarkerAnsweredBeforeFlush,
        Self::MarkerAtEqualEpoch,
        Self::ForgetMarkersAtLoad,
        Self::EndOfOldEpoch,
        Self::BumpEpochTwice,
        Self::CompactionDropsMarkers,
        Self::CompactionMapsAborted,
        Self::CompactionDropsTombstones,
        Self::CompactionForgetsProducers,
        Self::CompactionSwapsUnflushed,
        Self::CommitOfOldGeneration,
        Self::AssignUnreleased,
        Self::TurnForgetsAssigned,
        Self::OffsetsBeforeCommit,
        Self::OffsetsAfterAbort,
        Self::ForgetPendingOffsets,
        Self::NoMarkerForOffsets,
        Self::UnstableOffsetsTakenAsStable,
        Self::JournalTurnsTooEarly,
        Self::JournalWithoutFloor,
        Self::JournalReplaysOldSegments,
        Self::JournalTurnsUnflushed,
    ];
}

/// Which bug is active, if any; part of a core's configuration, never global.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planted {
    #[cfg(feature = "planted-bugs")]
    active: Option<PlantedBug>,
}

impl Planted {
    /// The code as it should be.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The code with that bug.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub const fn with(bug: PlantedBug) -> Self {
        Self { active: Some(bug) }
    }

    /// Whether that bug is active.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub fn has(self, bug: PlantedBug) -> bool {
        self.active == Some(bug)
    }

    /// Whether that bug is active: never, without the feature.
    #[cfg(not(feature = "planted-bugs"))]
    #[must_use]
    #[inline]
    pub fn has(self, _bug: PlantedBug) -> bool {
        false
    }
}
