//! The states of a transaction and the one table of what leads from one to another (KIP-98,
//! KIP-890; Kafka's `TransactionState` and `TransactionCoordinator`).

use std::collections::BTreeSet;
use std::fmt;

use streamledger_protocol::{
    ErrorCode, ProducerEpoch, ProducerId, ProducerIdentity, TimestampMs, TopicPartition,
};

/// Where a transactional id stands.
///
/// Kafka has one state more, PrepareEpochFence, between "someone else takes over" and PrepareAbort;
/// it is in memory only, while the record is on its way. Here the record leads to PrepareAbort at
/// once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionState {
    /// No transaction was begun under the present epoch.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// Committed; markers are still to be written.
    PrepareCommit,
    /// Aborted; markers are still to be written.
    PrepareAbort,
    /// The last transaction was committed, and all of its markers are written.
    CompleteCommit,
    /// The last transaction was aborted, and all of its markers are written.
    CompleteAbort,
    /// The transactional id is not known: never seen, or expired. Stands in the log as a tombstone.
    Dead,
}

impl TransactionState {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::Dead,
    ];

    /// Its code in a record of `__transaction_state`.
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            Self::Empty => 0,
            Self::Ongoing => 1,
            Self::PrepareCommit => 2,
            Self::PrepareAbort => 3,
            Self::CompleteCommit => 4,
            Self::CompleteAbort => 5,
            Self::Dead => 6,
        }
    }

    /// The state of a code, if there is one.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// The name Kafka's tools print.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::Dead => "Dead",
        }
    }

    /// The state of a name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// How the transaction ends whose markers are to be written; none in the other states.
    #[must_use]
    pub const fn decided(self) -> Option<bool> {
        match self {
            Self::PrepareCommit => Some(true),
            Self::PrepareAbort => Some(false),
            Self::Empty
            | Self::Ongoing
            | Self::CompleteCommit
            | Self::CompleteAbort
            | Self::Dead => None,
        }
    }
}

impl fmt::Display for TransactionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which transaction protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientVersion {
    /// Partitions are added by requests, and the epoch stays from one transaction to the next.
    V1,
    /// Partitions are added by writing to them, and each transaction's end raises the epoch
    /// (KIP-890).
    V2,
}

/// What happens to a transactional id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A producer takes the id (InitProducerId).
    Initialize,
    /// Partitions join the transaction, which begins with the first.
    AddPartitions,
    /// The producer commits.
    Commit {
        /// By which protocol.
        client: ClientVersion,
        /// Whether the request is one that was answered before, by its epoch.
        is_retry: bool,
    },
    /// The producer aborts.
    Abort {
        /// By which protocol.
        client: ClientVersion,
        /// Whether the request is one that was answered before, by its epoch.
        is_retry: bool,
    },
    /// The transaction was open for too long.
    TimeOut,
    /// All markers are on disk.
    MarkersWritten,
    /// The id was not used for too long.
    Expire,
}

/// Why a step leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAllowed {
    /// What is asked for is the case already: answered as done.
    Done,
    /// The last transaction's markers are still being written (CONCURRENT_TRANSACTIONS).
    Concurrent,
    /// It makes no sense in this state (INVALID_TXN_STATE).
    Invalid,
    /// Nobody took the transactional id (INVALID_PRODUCER_ID_MAPPING).
    Unknown,
}

impl NotAllowed {
    /// The code that answers it.
    #[must_use]
    pub const fn error_code(self) -> ErrorCode {
        match self {
            Self::Done => ErrorCode::None,
            Self::Concurrent => ErrorCode::ConcurrentTransactions,
            Self::Invalid => ErrorCode::InvalidTxnState,
            Self::Unknown => ErrorCode::InvalidProducerIdMapping,
        }
    }
}

/// The table: where a step leads from a state.
///
/// # Errors
/// The step leads nowhere from there, and how that is answered.
pub const fn transition(
    from: TransactionState,
    step: Step,
) -> Result<TransactionState, NotAllowed> {
    match from {
        TransactionState::Empty => from_empty(step),
        TransactionState::Ongoing => from_ongoing(step),
        TransactionState::PrepareCommit => from_prepare_commit(step),
        TransactionState::PrepareAbort => from_prepare_abort(step),
        TransactionState::CompleteCommit => from_complete_commit(step),
        TransactionState::CompleteAbort => from_complete_abort(step),
        TransactionState::Dead => from_dead(step),
    }
}

const fn from_empty(step: Step) -> Result<TransactionState, NotAllowed> {
    match step {
        Step::Initialize => Ok(TransactionState::Empty),
        Step::AddPartitions => Ok(TransactionState::Ongoing),
        // Under v2 a client that never got to write may still abort, to have its epoch raised.
        Step::Abort { client: ClientVersion::V2, .. } => Ok(TransactionState::PrepareAbort),
        Step::Commit { .. } | Step::Abort { client: ClientVersion::V1, .. } => {
            Err(NotAllowed::Invalid)
        }
        Step::Expire => Ok(TransactionState::Dead),
        Step::TimeOut | Step::MarkersWritten => Err(NotAllowed::Done),
    }
}

const fn from_ongoing(step: Step) -> Result<TransactionState, NotAllowed> {
    match step {
        // Who takes the id over fences and aborts first, and is told to ask again.
        Step::Initialize | Step::TimeOut | Step::Abort { .. } => Ok(TransactionState::PrepareAbort),
        Step::AddPartitions => Ok(TransactionState::Ongoing),
        Step::Commit { .. } => Ok(TransactionState::PrepareCommit),
        Step::MarkersWritten | Step::Expire => Err(NotAllowed::Done),
    }
}

const fn from_prepare_commit(step: Step) -> Result<TransactionState, NotAllowed> {
    match step {
        Step::MarkersWritten => Ok(TransactionState::CompleteCommit),
        Step::Initialize | Step::AddPartitions | Step::Commit { .. } => Err(NotAllowed::Concurrent),
        Step::Abort { .. } => Err(NotAllowed::Invalid),
        Step::TimeOut | Step::Expire => Err(NotAllowed::Done),
    }
}

const fn from_prepare_abort(step: Step) -> Result<TransactionState, NotAllowed> {
    match step {
        Step::MarkersWritten => Ok(TransactionState::CompleteAbort),
        Step::Initialize | Step::AddPartitions | Step::Abort { .. } => Err(NotAllowed::Concurrent),
        Step::Commit { .. } => Err(NotAllowed::Invalid),
        Step::TimeOut | Step::Expire => Err(NotAllowed::Done),
    }
}

const fn from_complete_commit(step: Step) -> Result<TransactionState, NotAllowed> {
    match step {
        Step::Initialize => Ok(TransactionState::Empty),
        Step::AddPartitions => Ok(TransactionState::Ongoing),
        Step::Commit { client: ClientVersion::V1, .. }
        | Step::Commit { client: ClientVersion::V2, is_retry: true } => Err(NotAllowed::Done),
        Step::Abort { client: ClientVersion::V2, is_retry: false } => {
            Ok(TransactionState::PrepareAbort)
        }
        Step::Commit { client: ClientVersion::V2, is_retry: false } | Step::Abort { .. } => {
            Err(NotAllowed::Invalid)
        }
        Step::Expire => Ok(TransactionState::Dead),
        Step::TimeOut | Step::MarkersWritten => Err(NotAllowed::Done),
    }
}

const fn from_complete_abort(step: Step) -> Result<TransactionState, NotAllowed> {
    match step {
        Step::Initialize => Ok(TransactionState::Empty),
        Step::AddPartitions => Ok(TransactionState::Ongoing),
        Step::Abort { client: ClientVersion::V1, .. }
        | Step::Abort { client: ClientVersion::V2, is_retry: true } => Err(NotAllowed::Done),
        Step::Abort { client: ClientVersion::V2, is_retry: false } => {
            Ok(TransactionState::PrepareAbort)
        }
        Step::Commit { .. } => Err(NotAllowed::Invalid),
        Step::Expire => Ok(TransactionState::Dead),
        Step::TimeOut | Step::MarkersWritten => Err(NotAllowed::Done),
    }
}

const fn from_dead(step: Step) -> Result<TransactionState, NotAllowed> {
    match step {
        Step::Initialize => Ok(TransactionState::Empty),
        Step::AddPartitions | Step::Commit { .. } | Step::Abort { .. } => Err(NotAllowed::Unknown),
        Step::TimeOut | Step::MarkersWritten | Step::Expire => Err(NotAllowed::Done),
    }
}

/// What is known of a transactional id; one record holds all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Who may write. While markers are to be written: under whom they are.
    pub producer: ProducerIdentity,
    /// The producer id before the last transition; NONE at the first.
    pub previous_producer_id: ProducerId,
    /// The producer id that takes over once the markers are written, when the epochs of the
    /// present one are used up; NONE otherwise.
    pub next_producer_id: ProducerId,
    /// The epoch that the present owner had before the last bump: who asks again under it gets the
    /// same answer again. NONE when another owner is fenced by the bump.
    pub last_epoch: ProducerEpoch,
    /// How long a transaction may be open, in ms.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: TransactionState,
    /// The partitions of the open transaction, or those whose markers are to be written.
    pub partitions: BTreeSet<TopicPartition>,
    /// When the last transaction began, by the wall clock; NONE before the first.
    pub started: TimestampMs,
    /// When the last record was written, by the wall clock.
    pub updated: TimestampMs,
    /// The protocol of the client that made the last transition.
    pub client: ClientVersion,
}

/// The highest epoch a producer is given: one is kept, so that it can always be fenced
/// (Kafka's `TransactionMetadata.isEpochExhausted`).
const EPOCH_MAX: i16 = i16::MAX - 1;

/// Whether no producer can be given a higher epoch.
pub(super) const fn is_exhausted(epoch: ProducerEpoch) -> bool {
    epoch.0 >= EPOCH_MAX
}

/// The epoch after this one; the last one stays.
pub(super) const fn bumped(epoch: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch(epoch.0.saturating_add(1))
}

impl Transaction {
    /// The identity that the producer goes on with once the markers are written.
    #[must_use]
    pub fn successor(&self) -> ProducerIdentity {
        if self.next_producer_id == ProducerId::NONE {
            self.producer
        } else {
            ProducerIdentity { id: self.next_producer_id, epoch: ProducerEpoch::ZERO }
        }
    }

    /// Whether this is who ended the last transaction by v2 and does not know the answer.
    pub(super) fn was_bumped_from(&self, producer: ProducerIdentity) -> bool {
        if self.last_epoch == ProducerEpoch::NONE || self.last_epoch != producer.epoch {
            return false;
        }
        let by_one = self.producer.id == producer.id
            && self.producer.epoch == bumped(producer.epoch)
            && self.producer.epoch != producer.epoch;
        let by_rotation = self.previous_producer_id == producer.id
            && is_exhausted(producer.epoch)
            && self.producer.epoch == ProducerEpoch::ZERO;
        by_one || by_rotation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NotAllowed::{Concurrent, Done, Invalid, Unknown};
    use TransactionState::{
        CompleteAbort, CompleteCommit, Dead, Empty, Ongoing, PrepareAbort, PrepareCommit,
    };

    const INIT: Step = Step::Initialize;
    const ADD: Step = Step::AddPartitions;
    const COMMIT_V1: Step = Step::Commit { client: ClientVersion::V1, is_retry: false };
    const COMMIT_V2: Step = Step::Commit { client: ClientVersion::V2, is_retry: false };
    const COMMIT_AGAIN: Step = Step::Commit { client: ClientVersion::V2, is_retry: true };
    const ABORT_V1: Step = Step::Abort { client: ClientVersion::V1, is_retry: false };
    const ABORT_V2: Step = Step::Abort { client: ClientVersion::V2, is_retry: false };
    const ABORT_AGAIN: Step = Step::Abort { client: ClientVersion::V2, is_retry: true };

    type Row = (Step, [Result<TransactionState, NotAllowed>; 7]);

    /// The whole table, by hand, in the order of `TransactionState::ALL`.
    const TABLE: [Row; 11] = [
        (
            INIT,
            [
                Ok(Empty),
                Ok(PrepareAbort),
                Err(Concurrent),
                Err(Concurrent),
                Ok(Empty),
                Ok(Empty),
                Ok(Empty),
            ],
        ),
        (
            ADD,
            [
                Ok(Ongoing),
                Ok(Ongoing),
                Err(Concurrent),
                Err(Concurrent),
                Ok(Ongoing),
                Ok(Ongoing),
                Err(Unknown),
            ],
        ),
        (
            COMMIT_V1,
            [
                Err(Invalid),
                Ok(PrepareCommit),
                Err(Concurrent),
                Err(Invalid),
                Err(Done),
                Err(Invalid),
                Err(Unknown),
            ],
        ),
        (
            COMMIT_V2,
            [
                Err(Invalid),
                Ok(PrepareCommit),
                Err(Concurrent),
                Err(Invalid),
                Err(Invalid),
                Err(Invalid),
                Err(Unknown),
            ],
        ),
        (
            COMMIT_AGAIN,
            [
                Err(Invalid),
                Ok(PrepareCommit),
                Err(Concurrent),
                Err(Invalid),
                Err(Done),
                Err(Invalid),
                Err(Unknown),
            ],
        ),
        (
            ABORT_V1,
            [
                Err(Invalid),
                Ok(PrepareAbort),
                Err(Invalid),
                Err(Concurrent),
                Err(Invalid),
                Err(Done),
                Err(Unknown),
            ],
        ),
        (
            ABORT_V2,
            [
                Ok(PrepareAbort),
                Ok(PrepareAbort),
                Err(Invalid),
                Err(Concurrent),
                Ok(PrepareAbort),
                Ok(PrepareAbort),
                Err(Unknown),
            ],
        ),
        (
            ABORT_AGAIN,
            [
                Ok(PrepareAbort),
                Ok(PrepareAbort),
                Err(Invalid),
                Err(Concurrent),
                Err(Invalid),
                Err(Done),
                Err(Unknown),
            ],
        ),
        (
            Step::TimeOut,
            [Err(Done), Ok(PrepareAbort), Err(Done), Err(Done), Err(Done), Err(Done), Err(Done)],
        ),
        (
            Step::MarkersWritten,
            [
                Err(Done),
                Err(Done),
                Ok(CompleteCommit),
                Ok(CompleteAbort),
                Err(Done),
                Err(Done),
                Err(Done),
            ],
        ),
        (Step::Expire, [Ok(Dead), Err(Done), Err(Done), Err(Done), Ok(Dead), Ok(Dead), Err(Done)]),
    ];

    #[test]
    fn every_step_leads_from_every_state_where_the_table_says() {
        let mut compared = 0;
        for (step, expected) in TABLE {
            for (from, expected) in TransactionState::ALL.into_iter().zip(expected) {
                assert_eq!(transition(from, step), expected, "{from} {step:?}");
                compared += 1;
            }
        }
        assert_eq!(compared, 77);
    }

    #[test]
    fn codes_and_names_are_kafkas_and_lead_back() {
        for state in TransactionState::ALL {
            assert_eq!(TransactionState::from_code(state.code()), Some(state));
            assert_eq!(TransactionState::from_name(state.name()), Some(state));
        }
        assert_eq!(TransactionState::from_code(7), None, "PrepareEpochFence is never written");
    }
}
