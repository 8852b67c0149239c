//! Bugs planted on purpose, one at a time, for the simulator to catch; compiled in by a feature.

/// A bug that other clients once had. Chosen in a core's configuration, never globally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlantedBug {
    /// Sequences start again at 0 when metadata loses the topic for a moment (librdkafka).
    RestartSequencesAfterMetadataLoss,
    /// A retried batch is not the bytes that were sent first (librdkafka #4736).
    ResealRetriedBatch,
    /// A batch that came back out of order changes places with the one behind it.
    RequeueOutOfOrder,
    /// A time-out is taken as "not written": the sequence goes to the next batch (franz-go #1217).
    TimeoutMeansNotWritten,
    /// The epoch is bumped while batches are unresolved, and they are sent again under the new
    /// one (librdkafka #4953, Redpanda #3039).
    BumpEpochWhileUnresolved,
    /// The first batches of a fresh partition are pipelined (KAFKA-15591).
    PipelineFirstBatches,
    /// Old sequences go on in a topic that was deleted and made again.
    KeepSequencesInRecreatedTopic,
    /// An end of a transaction that nobody answered is taken as done: the next one begins on it.
    UnknownEndIsDone,
    /// A commit asks although records of the transaction are still on their way.
    CommitBeforeRecords,
    /// A failed record does not keep its transaction from being committed.
    CommitWithoutFailedRecord,
}

impl PlantedBug {
    /// Every planted bug.
    pub const ALL: [Self; 10] = [
        Self::RestartSequencesAfterMetadataLoss,
        Self::ResealRetriedBatch,
        Self::RequeueOutOfOrder,
        Self::TimeoutMeansNotWritten,
        Self::BumpEpochWhileUnresolved,
        Self::PipelineFirstBatches,
        Self::KeepSequencesInRecreatedTopic,
        Self::UnknownEndIsDone,
        Self::CommitBeforeRecords,
        Self::CommitWithoutFailedRecord,
    ];
}
