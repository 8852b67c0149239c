//! What the coordinator decides: a record to append and what to answer, from the state alone.

use std::collections::BTreeSet;

use streamledger_protocol::{
    ErrorCode, ProducerEpoch, ProducerId, ProducerIdentity, TimestampMs, TopicPartition,
    TransactionalId,
};

use super::coordinator::TransactionCoordinator;
use super::record::TransactionRecord;
use super::state::{
    ClientVersion, NotAllowed, Step, Transaction, TransactionState, bumped, is_exhausted,
    transition,
};
use crate::planted_bugs::PlantedBug;
use crate::time::{MonotonicMs, Now};

/// A record to append, and what to answer once it is flushed and replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Decision<R> {
    /// To be appended to the partition of its id, then replayed.
    pub record: Option<TransactionRecord>,
    /// The answer. It also waits for what was decided before it to be flushed.
    pub reply: Result<R, TransactionRefusal>,
}

impl<R> Decision<R> {
    const fn only(reply: Result<R, TransactionRefusal>) -> Self {
        Self { record: None, reply }
    }

    const fn refuse(refusal: TransactionRefusal) -> Self {
        Self::only(Err(refusal))
    }

    const fn keep(
        transactional_id: TransactionalId,
        transaction: Transaction,
        reply: Result<R, TransactionRefusal>,
    ) -> Self {
        let record = TransactionRecord { transactional_id, transaction: Some(transaction) };
        Self { record: Some(record), reply }
    }
}

/// Why a request is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionRefusal {
    /// The table of states has nowhere to go.
    NotAllowed(NotAllowed),
    /// The transactional id belongs to another producer id.
    OtherProducer,
    /// Another life of the producer has taken over.
    Fenced,
    /// The transactional id is empty.
    EmptyId,
    /// The time-out is not positive, or longer than may be asked for.
    Timeout,
    /// There are as many transactional ids as there may be.
    TooManyIds,
    /// Ask again with a fresh producer id at hand.
    NeedsProducerId,
}

impl TransactionRefusal {
    /// The code that answers it in the newest version of each API; older ones are told
    /// INVALID_PRODUCER_EPOCH instead of PRODUCER_FENCED (KIP-588).
    #[must_use]
    pub const fn error_code(self) -> ErrorCode {
        match self {
            Self::NotAllowed(not_allowed) => not_allowed.error_code(),
            Self::OtherProducer => ErrorCode::InvalidProducerIdMapping,
            Self::Fenced => ErrorCode::ProducerFenced,
            Self::EmptyId => ErrorCode::InvalidRequest,
            Self::Timeout => ErrorCode::InvalidTransactionTimeout,
            Self::TooManyIds => ErrorCode::PolicyViolation,
            Self::NeedsProducerId => ErrorCode::CoordinatorNotAvailable,
        }
    }
}

impl From<NotAllowed> for TransactionRefusal {
    fn from(not_allowed: NotAllowed) -> Self {
        Self::NotAllowed(not_allowed)
    }
}

/// A producer takes a transactional id (InitProducerId).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initialize {
    /// Which.
    pub transactional_id: TransactionalId,
    /// How long its transactions may be open, in ms.
    pub timeout_ms: i32,
    /// Who it is already and wants to go on as, after an error (KIP-360); `None` at first.
    pub known: Option<ProducerIdentity>,
    /// A producer id that nobody ever had, in case one is needed.
    pub fresh: Option<ProducerId>,
}

/// A producer ends its transaction (EndTxn).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndTransaction {
    /// Which.
    pub transactional_id: TransactionalId,
    /// Who.
    pub producer: ProducerIdentity,
    /// Whether it commits; else it aborts.
    pub committed: bool,
    /// By which protocol.
    pub client: ClientVersion,
    /// A producer id that nobody ever had, in case one is needed.
    pub fresh: Option<ProducerId>,
}

/// Whether a partition may be written to in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// It was added.
    Added,
    /// It was not added; the transaction can only be aborted.
    NotAdded,
}

impl TransactionCoordinator {
    /// A producer takes a transactional id: whoever had it is fenced, and its open transaction
    /// aborted first, which is answered with [`NotAllowed::Concurrent`]: ask again.
    ///
    /// The fence of an open transaction raises the epoch once, by v1 and v2 alike (KAFKA-19367),
    /// and the fenced owner can't end it as a retry of its own.
    pub fn decide_initialize(&self, ask: &Initialize, now: Now) -> Decision<ProducerIdentity> {
        if ask.transactional_id.as_str().is_empty() {
            return Decision::refuse(TransactionRefusal::EmptyId);
        }
        if !(1..=self.config.timeout_ms_max).contains(&ask.timeout_ms) {
            return Decision::refuse(TransactionRefusal::Timeout);
        }
        let Some(present) = self.transaction(&ask.transactional_id) else {
            return self.first_initialize(ask, now);
        };
        if ask.known.is_some_and(|known| !may_go_on_as(present, known)) {
            return Decision::refuse(TransactionRefusal::Fenced);
        }
        let to = match transition(present.state, Step::Initialize) {
            Ok(to) => to,
            Err(not_allowed) => return Decision::refuse(not_allowed.into()),
        };
        if to == TransactionState::PrepareAbort {
            // A late retry of a bump whose answer was heard must not fence its own producer.
            if ask.known.is_some_and(|known| known != present.producer) {
                return Decision::refuse(TransactionRefusal::Fenced);
            }
            let fenced = fenced(present, ProducerEpoch::NONE, now.wall);
            let reply = Err(NotAllowed::Concurrent.into());
            return Decision::keep(ask.transactional_id.clone(), fenced, reply);
        }
        match next_identity(present, ask) {
            Err(refusal) => Decision::refuse(refusal),
            Ok((producer, last_epoch)) => {
                let taken = Transaction {
                    producer,
                    previous_producer_id: present.producer.id,
                    last_epoch,
                    state: to,
                    client: present.client,
                    ..untouched(ask.timeout_ms, now.wall)
                };
                Decision::keep(ask.transactional_id.clone(), taken, Ok(producer))
            }
        }
    }

    fn first_initialize(&self, ask: &Initialize, now: Now) -> Decision<ProducerIdentity> {
        if self.id_count() >= self.config.ids_max {
            return Decision::refuse(TransactionRefusal::TooManyIds);
        }
        let Some(id) = ask.fresh else {
            return Decision::refuse(TransactionRefusal::NeedsProducerId);
        };
        let producer = ProducerIdentity { id, epoch: ProducerEpoch::ZERO };
        let first = Transaction { producer, ..untouched(ask.timeout_ms, now.wall) };
        Decision::keep(ask.transactional_id.clone(), first, Ok(producer))
    }

    /// Partitions join the producer's transaction: by AddPartitionsToTxn and AddOffsetsToTxn
    /// (v1), or because it writes to them (v2).
    pub fn decide_add_partitions(
        &self,
        transactional_id: &TransactionalId,
        producer: ProducerIdentity,
        partitions: &BTreeSet<TopicPartition>,
        client: ClientVersion,
        now: Now,
    ) -> Decision<()> {
        let present = match self.owned(transactional_id, producer) {
            Ok(present) => present,
            Err(refusal) => return Decision::refuse(refusal),
        };
        let state = match transition(present.state, Step::AddPartitions) {
            Ok(state) => state,
            Err(not_allowed) => return Decision::refuse(not_allowed.into()),
        };
        let goes_on = present.state == TransactionState::Ongoing;
        if goes_on && partitions.is_subset(&present.partitions) {
            return Decision::only(Ok(()));
        }
        let mut joined = present.clone();
        joined.previous_producer_id = present.producer.id;
        joined.state = state;
        joined.partitions.extend(partitions.iter().cloned());
        joined.client = client;
        joined.updated = now.wall;
        if !goes_on {
            joined.started = now.wall;
        }
        Decision::keep(transactional_id.clone(), joined, Ok(()))
    }

    /// Whether partitions were added to the producer's transaction, one answer for each.
    ///
    /// # Errors
    /// The producer has no such transaction.
    pub fn verify(
        &self,
        transactional_id: &TransactionalId,
        producer: ProducerIdentity,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Verification>, TransactionRefusal> {
        let present = self.owned(transactional_id, producer)?;
        if present.state.decided().is_some() {
            return Err(NotAllowed::Concurrent.into());
        }
        let verify = |partition| match present.partitions.contains(partition) {
            true => Verification::Added,
            false => Verification::NotAdded,
        };
        Ok(partitions.iter().map(verify).collect())
    }

    /// The producer commits or aborts. The reply is the identity it goes on with: the same under
    /// v1, a higher epoch or a fresh id under v2.
    pub fn decide_end(&self, ask: &EndTransaction, now: Now) -> Decision<ProducerIdentity> {
        if ask.transactional_id.as_str().is_empty() {
            return Decision::refuse(TransactionRefusal::EmptyId);
        }
        let Some(present) = self.transaction(&ask.transactional_id) else {
            return Decision::refuse(NotAllowed::Unknown.into());
        };
        let takes_old =
            self.planted.has(PlantedBug::EndOfOldEpoch) && present.producer.id == ask.producer.id;
        let is_retry = match who_ends(present, ask) {
            Ok(is_retry) => is_retry,
            Err(_) if takes_old => false,
            Err(refusal) => return Decision::refuse(refusal),
        };
        let client = ask.client;
        let step = match ask.committed {
            true => Step::Commit { client, is_retry },
            false => Step::Abort { client, is_retry },
        };
        match transition(present.state, step) {
            Err(NotAllowed::Done) => Decision::only(Ok(present.producer)),
            Err(not_allowed) => Decision::refuse(not_allowed.into()),
            Ok(to) if self.planted.has(PlantedBug::BumpEpochTwice) => {
                let mut twice = present.clone();
                twice.producer.epoch = bumped(present.producer.epoch);
                end(&twice, to, ask, now)
            }
            Ok(to) => end(present, to, ask, now),
        }
    }

    /// All markers of a transaction are flushed, or their partitions gone: it is complete.
    ///
    /// `producer` is the one of the [`super::MarkerWrite`]; an outdated one changes nothing.
    pub fn decide_markers_written(
        &self,
        transactional_id: &TransactionalId,
        producer: ProducerIdentity,
        now: Now,
    ) -> Decision<()> {
        let Some(present) = self.transaction(transactional_id) else {
            return Decision::only(Ok(()));
        };
        match transition(present.state, Step::MarkersWritten) {
            Ok(to) if producer == present.producer => {
                let complete = Transaction {
                    producer: present.successor(),
                    previous_producer_id: present.producer.id,
                    next_producer_id: ProducerId::NONE,
                    state: to,
                    partitions: BTreeSet::new(),
                    updated: now.wall,
                    ..present.clone()
                };
                Decision::keep(transactional_id.clone(), complete, Ok(()))
            }
            Ok(_) | Err(_) => Decision::only(Ok(())),
        }
    }

    /// What time alone makes necessary: a transaction that was open for too long is aborted, an id
    /// that was not used for too long is forgotten. One at a time; none if nothing is due.
    pub fn decide_due(&self, now: Now) -> Option<Decision<()>> {
        let (transactional_id, present) = self.first_due(now.monotonic)?;
        let decision = match transition(present.state, Step::TimeOut) {
            Ok(_) => {
                // Its owner may end it as if the abort were its own and go on, unless there is no
                // epoch left to go on with.
                let last_epoch = match is_exhausted(present.producer.epoch) {
                    true => ProducerEpoch::NONE,
                    false => present.producer.epoch,
                };
                let aborted = fenced(present, last_epoch, now.wall);
                Decision::keep(transactional_id.clone(), aborted, Ok(()))
            }
            Err(_) => {
                let transactional_id = transactional_id.clone();
                let record = TransactionRecord { transactional_id, transaction: None };
                Decision { record: Some(record), reply: Ok(()) }
            }
        };
        Some(decision)
    }

    /// Whether something is due.
    #[must_use]
    pub fn is_due(&self, now: MonotonicMs) -> bool {
        self.first_due(now).is_some()
    }

    fn owned(
        &self,
        transactional_id: &TransactionalId,
        producer: ProducerIdentity,
    ) -> Result<&Transaction, TransactionRefusal> {
        if transactional_id.as_str().is_empty() {
            return Err(TransactionRefusal::EmptyId);
        }
        let present = self.transaction(transactional_id).ok_or(NotAllowed::Unknown)?;
        if present.producer.id != producer.id {
            Err(TransactionRefusal::OtherProducer)
        } else if present.producer.epoch != producer.epoch {
            Err(TransactionRefusal::Fenced)
        } else {
            Ok(present)
        }
    }
}

/// A transactional id in whose name nothing was written.
fn untouched(timeout_ms: i32, now: TimestampMs) -> Transaction {
    Transaction {
        producer: ProducerIdentity::NONE,
        previous_producer_id: ProducerId::NONE,
        next_producer_id: ProducerId::NONE,
        last_epoch: ProducerEpoch::NONE,
        timeout_ms,
        state: TransactionState::Empty,
        partitions: BTreeSet::new(),
        started: TimestampMs::NONE,
        updated: now,
        client: ClientVersion::V1,
    }
}

/// Whether a producer that says who it was may go on under the id: the present owner, or the one
/// before the last bump, which did not hear of it (KIP-360).
fn may_go_on_as(present: &Transaction, known: ProducerIdentity) -> bool {
    known == present.producer || present.was_bumped_from(known)
}

/// Who takes the id over, and the epoch that the same producer had before.
fn next_identity(
    present: &Transaction,
    ask: &Initialize,
) -> Result<(ProducerIdentity, ProducerEpoch), TransactionRefusal> {
    if ask.known.is_some_and(|known| known != present.producer) {
        // A retry of a bump that was made: the same answer.
        return Ok((present.producer, present.last_epoch));
    }
    let last_epoch = match ask.known {
        Some(known) => known.epoch,
        None => ProducerEpoch::NONE,
    };
    let producer = if is_exhausted(present.producer.epoch) {
        let id = ask.fresh.ok_or(TransactionRefusal::NeedsProducerId)?;
        ProducerIdentity { id, epoch: ProducerEpoch::ZERO }
    } else {
        ProducerIdentity { epoch: bumped(present.producer.epoch), ..present.producer }
    };
    Ok((producer, last_epoch))
}

/// An open transaction aborted by the coordinator: the markers carry a higher epoch, so that what
/// its owner still writes is refused by every partition.
fn fenced(present: &Transaction, last_epoch: ProducerEpoch, now: TimestampMs) -> Transaction {
    let epoch = bumped(present.producer.epoch);
    Transaction {
        producer: ProducerIdentity { epoch, ..present.producer },
        previous_producer_id: present.producer.id,
        next_producer_id: ProducerId::NONE,
        last_epoch,
        state: TransactionState::PrepareAbort,
        updated: now,
        client: ClientVersion::V2,
        ..present.clone()
    }
}

/// Whether a request to end a transaction comes from its owner, and if it was granted before.
///
/// Under v2 the epoch alone tells a retry from the end of the next transaction; under v1 the
/// epochs are the same and the state tells.
fn who_ends(present: &Transaction, ask: &EndTransaction) -> Result<bool, TransactionRefusal> {
    let is_retry = ask.client == ClientVersion::V2 && present.was_bumped_from(ask.producer);
    if is_retry {
        return match present.state {
            TransactionState::PrepareCommit
            | TransactionState::PrepareAbort
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort => Ok(true),
            TransactionState::Empty | TransactionState::Ongoing | TransactionState::Dead => {
                Err(TransactionRefusal::Fenced)
            }
        };
    }
    if present.producer.id != ask.producer.id {
        return Err(TransactionRefusal::OtherProducer);
    }
    if present.producer.epoch != ask.producer.epoch {
        return Err(TransactionRefusal::Fenced);
    }
    // The bumped epoch becomes the producer's once the markers are written. Who was told of it may
    // end the next transaction before that, if nothing was written in it: later, not never
    // (KAFKA-18464).
    let is_deciding = present.state.decided().is_some() && present.client == ClientVersion::V2;
    match is_deciding && ask.client == ClientVersion::V2 {
        true => Err(NotAllowed::Concurrent.into()),
        false => Ok(false),
    }
}

fn end(
    present: &Transaction,
    to: TransactionState,
    ask: &EndTransaction,
    now: Now,
) -> Decision<ProducerIdentity> {
    let mut ended = present.clone();
    ended.previous_producer_id = present.producer.id;
    ended.state = to;
    ended.client = ask.client;
    ended.updated = now.wall;
    if present.state != TransactionState::Ongoing {
        // Nothing was written: it begins and ends at once.
        ended.started = now.wall;
    }
    if ask.client == ClientVersion::V2 {
        if is_exhausted(present.producer.epoch) {
            let Some(fresh) = ask.fresh else {
                return Decision::refuse(TransactionRefusal::NeedsProducerId);
            };
            ended.next_producer_id = fresh;
        }
        ended.producer.epoch = bumped(present.producer.epoch);
        ended.last_epoch = present.producer.epoch;
    }
    let reply = Ok(ended.successor());
    Decision::keep(ask.transactional_id.clone(), ended, reply)
}
