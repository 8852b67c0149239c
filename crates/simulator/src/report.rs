//! What a run has shown: what was counted, what was compared, which promises were broken.

use std::fmt;

use crate::clock::SimTime;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When it was seen.
    pub at: SimTime,
    /// Which promise.
    pub promise: Promise,
    /// What was found instead.
    pub found: String,
}

/// What every run must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// A record that was acknowledged is in the log, where the acknowledgement said.
    AckedIsKept,
    /// No record is in the log twice.
    NothingTwice,
    /// The records of one producer are in a partition in the order in which they were sent.
    OrderHolds,
    /// A failure that says "not written" is right.
    NotWrittenIsTrue,
    /// What is in the log is what was sent, and nothing else; its offsets have no gap.
    ContentIsWhatWasSent,
    /// Every send ends, and every flush.
    EverySendResolves,
    /// Without a reason to fail, every send succeeds.
    EverySendSucceeds,
    /// What a caller learns of his record is so.
    MetadataIsTrue,
    /// A batch that is sent again is byte-identical, and a sequence is never used again.
    RetriesAreIdentical,
    /// The first batch under an identity travels alone (KAFKA-15591).
    FirstTravelsAlone,
    /// What consumers saw is there, as they saw it.
    SeenIsKept,
    /// LogStartOffset <= LastStableOffset <= HighWatermark <= LogEndOffset, and the watermark never
    /// goes back.
    WatermarkKeepsItsPlace,
    /// A read-committed reader sees a committed transaction whole, once and in order.
    CommittedIsSeen,
    /// A read-committed reader sees nothing of what was not committed, and all or nothing of what
    /// nobody knows the end of.
    UncommittedIsHidden,
    /// Each input that a producer processes counts once for who reads committed, and the offset
    /// that its group has stored is just behind the last one that counts.
    InputsCountOnce,
    /// A coordinator that replays its log is what the one that wrote it is.
    LogSaysAll,
    /// No transaction hangs: once its producer is gone or its time is over, readers come past it.
    NothingHangs,
    /// An operation that the rules allow works in the end, and one that they don't is refused.
    RulesHold,
    /// Producer epochs rise, by one for each decision of the coordinator.
    EpochsRise,
    /// A log opens after every crash.
    LogOpens,
    /// The producer's memory stays under `buffer.memory`, and all of it comes back.
    MemoryIsBounded,
    /// A run compares something.
    SomethingIsCompared,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} broken: {}", self.at, self.promise, self.found)
    }
}

/// Declares the counters once: fields, names and sums.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened in a run, counted.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// All counts with their names.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            /// Adds another run's counts.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Records that callers sent.
    sent,
    /// Records that were acknowledged.
    acked,
    /// Records that failed and surely are not in the log.
    not_written,
    /// Records that failed and may be in the log.
    possibly_written,
    /// Records in the logs that were held against what was sent.
    compared,
    /// Records that consumers read on the way.
    consumed,
    /// Produce requests that left a producer.
    requests,
    /// Produce requests that timed out.
    timeouts,
    /// Requests that never came to a broker.
    requests_lost,
    /// Responses that never came to a producer, or too late.
    responses_lost,
    /// Batches appended.
    appends,
    /// Batches recognised as duplicates.
    duplicates,
    /// Batches refused because a sequence was missing before them.
    out_of_order,
    /// Batches refused because the leader had moved.
    not_leader,
    /// Batches refused as too large.
    too_large,
    /// Batches refused because the disk was full.
    storage_errors,
    /// Batches refused for want of replicas.
    not_enough_replicas,
    /// Flushes done.
    flushes,
    /// Segments begun.
    rolls,
    /// Brokers that went down.
    crashes,
    /// Leaders that moved.
    moves,
    /// Logs opened again.
    recoveries,
    /// Recoveries that cut a torn tail.
    torn_tails,
    /// Recoveries that removed a segment, because one before it had not been flushed whole.
    cut_between_segments,
    /// Recoveries that began with a producer snapshot.
    from_snapshot,
    /// Connections that broke.
    breaks,
    /// Links that stalled.
    stalls,
    /// Answers of metadata without a topic, or older than one before.
    bad_metadata,
    /// Producer ids given.
    producer_ids,
    /// Epochs that a producer raised by itself.
    epoch_bumps,
    /// Topics made anew.
    recreations,
    /// Sends that had to wait for memory.
    memory_waits,
    /// Records that were never sent, for memory did not come in time.
    blocked_too_long,
    /// Transactions that callers began.
    transactions_begun,
    /// Transactions whose commit was acknowledged.
    transactions_committed,
    /// Transactions whose abort was acknowledged.
    transactions_aborted,
    /// Transactions whose producer ended with a commit asked for and not answered.
    transactions_unknown,
    /// Transactions that were held against what a read-committed reader saw.
    transactions_compared,
    /// Transactions that the coordinator aborted for their age.
    transactions_timed_out,
    /// Records that read-committed readers read on the way.
    read_committed,
    /// Transactional producers that could not go on.
    producers_fenced,
    /// Producers that were killed.
    producers_killed,
    /// Producers that stood still for a while.
    producers_paused,
    /// Second producers under one transactional id.
    rivals,
    /// Times that the coordinator was loaded from its log.
    coordinator_loads,
    /// Transactions whose markers a coordinator found to be written when it was loaded.
    markers_resumed,
    /// Markers written.
    markers,
    /// Markers lost on their way.
    markers_lost,
    /// Markers that came twice.
    markers_doubled,
    /// Markers that came when their transaction was complete.
    markers_late,
    /// Times that offsets were taken into a transaction.
    offsets_sent,
    /// Inputs that were held against the offset that their group has stored.
    inputs_compared,
    /// Offsets of groups that were looked at on the way.
    offsets_seen,
    /// Members that were told to wait, for a transaction was about to store an offset.
    offsets_unstable,
    /// Members that became one of their group.
    members_joined,
    /// Members that could not store an offset, for their group had moved on from them.
    members_fenced,
    /// Times that the groups' coordinator was loaded from its log.
    group_loads,
    /// Questions to coordinators, or their answers, that were lost.
    answers_lost,
    /// Answers of coordinators that came when nobody waited for them any more.
    answers_late,
    /// Events of all kinds.
    events,
}

/// A run that is over.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The promises it broke, in the order it was seen.
    pub violations: Vec<Violation>,
    /// What happened.
    pub counters: Counters,
    /// Two runs with the same hash did the same.
    pub trace_hash: u64,
    /// The trace's lines, if they were kept.
    pub trace: Vec<String>,
    /// When it ended.
    pub ended: SimTime,
}

impl Report {
    /// Whether every promise was kept.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether that promise was broken.
    #[must_use]
    pub fn broke(&self, promise: Promise) -> bool {
        self.violations.iter().any(|violation| violation.promise == promise)
    }
}

impl fmt::Display for Report {
    /// One line if all is well, else one more for each broken promise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters { sent, acked, compared, crashes, events, .. } = self.counters;
        write!(
            f,
            "seed {}: {}, {sent} records sent, {acked} acknowledged, {compared} compared, \
             {crashes} crashes, {events} events, trace {:016x}",
            self.seed,
            if self.is_good() { "good" } else { "BAD" },
            self.trace_hash
        )?;
        self.violations.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}
