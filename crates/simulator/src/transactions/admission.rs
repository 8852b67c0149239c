//! How a transactional batch, or a group's offsets, get into a partition: its leader asks the
//! coordinator first, under a guard, unless the transaction is open there already (KIP-890).

use std::collections::BTreeSet;
use std::time::Duration;

use streamledger_broker_core::log::TransactionGuard;
use streamledger_broker_core::transaction::{ClientVersion, TransactionRefusal, Verification};
use streamledger_client_core::sender::{OutgoingBatch, ProduceTransaction};
use streamledger_client_core::transaction::{TransactionReply, TransactionVersion};
use streamledger_protocol::record_batch::RecordBatchHeader;
use streamledger_protocol::{ErrorCode, ProducerIdentity, TopicPartition, TransactionalId};

use super::TransactionHappening;
use super::coordinator::Then;
use super::groups::{OffsetsOnTheirWay, offsets_partition};
use crate::network::PendingPart;
use crate::serving::refusal;
use crate::world::World;

/// How long a leader waits for the coordinator.
const ADMISSION_TIMEOUT: Duration = Duration::from_millis(800);

/// What waits for the coordinator's word.
#[derive(Debug)]
pub(super) struct Admission {
    what: Admitted,
    transaction: ProduceTransaction,
    producer: ProducerIdentity,
    guard: TransactionGuard,
    slot: usize,
    life: u32,
}

/// What is let into a partition, or not.
#[derive(Debug, Clone)]
enum Admitted {
    /// A producer's batch.
    Batch { connection: usize, batch: OutgoingBatch },
    /// A group's offsets.
    Offsets(OffsetsOnTheirWay),
}

impl Admitted {
    fn partition(&self) -> TopicPartition {
        match self {
            Self::Batch { batch, .. } => batch.topic_partition.clone(),
            Self::Offsets(_) => offsets_partition(),
        }
    }

    /// What the producer is told, as the broker's shell tells it.
    fn error(&self, refused: TransactionRefusal, version: TransactionVersion) -> ErrorCode {
        match (self, refused.error_code(), version) {
            (Self::Batch { .. }, error, version) => as_produce_error(error, version),
            (Self::Offsets(_), error, TransactionVersion::V2) => error,
            (Self::Offsets(_), ErrorCode::ProducerFenced, _) => ErrorCode::InvalidProducerEpoch,
            (Self::Offsets(_), ErrorCode::ConcurrentTransactions, _) => {
                ErrorCode::CoordinatorNotAvailable
            }
            (Self::Offsets(_), error, TransactionVersion::V1) => error,
        }
    }

    /// What it is told when there is no coordinator that could say anything.
    const fn without_coordinator(&self) -> ErrorCode {
        match self {
            Self::Batch { .. } => ErrorCode::NotEnoughReplicas,
            Self::Offsets(_) => ErrorCode::CoordinatorNotAvailable,
        }
    }
}

impl World {
    /// Appends a transactional batch, or has the coordinator asked about it first.
    pub(crate) fn admit(
        &mut self,
        connection: usize,
        batch: OutgoingBatch,
        transaction: &ProduceTransaction,
    ) -> PendingPart {
        let broker = self.connections[connection].broker;
        let slot = self.cluster.slot(&batch.topic_partition);
        let header = RecordBatchHeader::parse(&batch.bytes).ok();
        let producer = header.and_then(|header| header.producer());
        let led = slot.filter(|slot| self.partitions[*slot].host == broker);
        let log = led.and_then(|slot| self.partitions[slot].log.as_ref());
        let (Some(slot), Some(producer), Some(log)) = (led, producer, log) else {
            return self.serve(broker, batch, None);
        };
        let guard = log.producers().guard(producer.id);
        if guard.open_epoch == Some(producer.epoch) {
            return self.serve(broker, batch, Some(guard));
        }
        let life = self.partitions[slot].life;
        let topic_partition = batch.topic_partition.clone();
        let transaction = transaction.clone();
        let what = Admitted::Batch { connection, batch };
        let Some(number) =
            self.ask_for_admission(Admission { what, transaction, producer, guard, slot, life })
        else {
            let answer = refusal(ErrorCode::NotEnoughReplicas);
            let (admission, flushed_past) = (None, None);
            return PendingPart { topic_partition, slot, life, admission, flushed_past, answer };
        };
        let answer = refusal(ErrorCode::None);
        let admission = Some(number);
        PendingPart { topic_partition, slot, life, admission, flushed_past: None, answer }
    }

    /// Stores offsets in a transaction, or has the coordinator asked about that first.
    pub(super) fn admit_offsets(
        &mut self,
        offsets: OffsetsOnTheirWay,
        id: TransactionalId,
        version: TransactionVersion,
    ) {
        if let Err(error) = self.check_groups(offsets.broker.0) {
            return self.refuse_offsets(offsets, error);
        }
        let (slot, producer) = (self.groups_slot(), offsets.producer);
        let Some(log) = &self.partitions[slot].log else {
            return self.refuse_offsets(offsets, ErrorCode::NotCoordinator);
        };
        let guard = log.producers().guard(producer.id);
        if guard.open_epoch == Some(producer.epoch) {
            return self.store_offsets(offsets, guard);
        }
        let life = self.partitions[slot].life;
        let transaction = ProduceTransaction { id, version };
        let what = Admitted::Offsets(offsets);
        let admission = Admission { what, transaction, producer, guard, slot, life };
        let _ = self.ask_for_admission(admission);
    }

    fn refuse_offsets(&mut self, offsets: OffsetsOnTheirWay, error: ErrorCode) {
        let OffsetsOnTheirWay { client, broker, question, offsets, .. } = offsets;
        let partitions = offsets.offsets.into_iter().map(|(partition, _)| (partition, error));
        self.answer(client, broker, question, TransactionReply::Partitions(partitions.collect()));
    }

    /// Puts a question to the coordinator on its way. Gives the number of the admission.
    fn ask_for_admission(&mut self, admission: Admission) -> Option<u64> {
        let transactions = self.transactions.as_mut()?;
        let number = transactions.new_number();
        let times_out = TransactionHappening::AdmissionAnswered {
            number,
            answer: Err(admission.what.without_coordinator()),
        };
        transactions.admissions.insert(number, admission);
        let at = self.now + Duration::from_micros(self.latency_us());
        self.push_transactional(at, TransactionHappening::AdmissionAsked { number });
        self.push_transactional(self.now + ADMISSION_TIMEOUT, times_out);
        Some(number)
    }

    /// The question comes to the coordinator.
    pub(super) fn admission_asked(&mut self, number: u64) {
        let loaded = self.coordinator_is_loaded();
        let now = self.now.broker_now();
        let Some(transactions) = &self.transactions else { return };
        let Some(admission) = transactions.admissions.get(&number) else { return };
        let Admission { what, transaction, producer, .. } = admission;
        let (what, producer, partition) = (what.clone(), *producer, what.partition());
        if !loaded {
            return self.answer_admission(number, Err(what.without_coordinator()));
        }
        let id = &transaction.id;
        let (core, version) = (&transactions.coordinator.core, transaction.version);
        match version {
            TransactionVersion::V1 => {
                let verified = core.verify(id, producer, std::slice::from_ref(&partition));
                let answer = match verified.as_deref() {
                    Ok([Verification::Added]) => Ok(()),
                    Ok(_) => Err(ErrorCode::TransactionAbortable),
                    Err(refused) => Err(what.error(*refused, version)),
                };
                self.answer_admission(number, answer);
            }
            TransactionVersion::V2 => {
                let joining = BTreeSet::from([partition]);
                let decision =
                    core.decide_add_partitions(id, producer, &joining, ClientVersion::V2, now);
                let answer = match self.keep(decision) {
                    Err(_) => Err(what.without_coordinator()),
                    Ok(reply) => reply.map_err(|refused| what.error(refused, version)),
                };
                self.park(Then::Admit { number, answer });
            }
        }
    }

    /// Puts the coordinator's word on its way to the leader.
    pub(super) fn answer_admission(&mut self, number: u64, answer: Result<(), ErrorCode>) {
        let at = self.now + Duration::from_micros(self.latency_us());
        self.push_transactional(at, TransactionHappening::AdmissionAnswered { number, answer });
    }

    pub(super) fn admission_answered(&mut self, number: u64, answer: Result<(), ErrorCode>) {
        let Some(transactions) = &mut self.transactions else { return };
        let Some(admission) = transactions.admissions.remove(&number) else { return };
        let Admission { what, guard, slot, life, .. } = admission;
        let is_moved = self.partitions[slot].life != life;
        match (what, answer) {
            (Admitted::Batch { connection, batch }, answer) => {
                let moved = Err(ErrorCode::NotLeaderOrFollower);
                let answer = if is_moved { answer.and(moved) } else { answer };
                self.batch_is_admitted(number, (connection, batch), answer, (guard, slot, life));
            }
            (Admitted::Offsets(offsets), Ok(())) if is_moved => {
                self.refuse_offsets(offsets, ErrorCode::NotCoordinator);
            }
            (Admitted::Offsets(offsets), Ok(())) => self.store_offsets(offsets, guard),
            (Admitted::Offsets(offsets), Err(error)) => self.refuse_offsets(offsets, error),
        }
    }

    fn batch_is_admitted(
        &mut self,
        number: u64,
        (connection, batch): (usize, OutgoingBatch),
        answer: Result<(), ErrorCode>,
        (guard, slot, life): (TransactionGuard, usize, u32),
    ) {
        let state = &self.connections[connection];
        let broker = state.broker;
        if !self.brokers[broker].up || self.brokers[broker].life != state.broker_life {
            return;
        }
        let error = answer.err();
        let part = match error {
            None => self.serve(broker, batch, Some(guard)),
            Some(error) => PendingPart {
                topic_partition: batch.topic_partition,
                slot,
                life,
                admission: None,
                flushed_past: None,
                answer: refusal(error),
            },
        };
        let (code, tp) = (part.answer.error, &part.topic_partition);
        self.note(format_args!("the coordinator said {answer:?} of a batch for {tp}: {code}"));
        let pending = self.connections[connection].pending.iter_mut();
        let mut parts = pending.flat_map(|response| &mut response.parts);
        if let Some(place) = parts.find(|part| part.admission == Some(number)) {
            *place = part;
        }
        self.release(broker);
        self.take_backlog(connection);
    }
}

fn as_produce_error(error: ErrorCode, version: TransactionVersion) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::ConcurrentTransactions if version == TransactionVersion::V1 => {
            ErrorCode::NotEnoughReplicas
        }
        ErrorCode::CoordinatorNotAvailable => ErrorCode::NotEnoughReplicas,
        other => other,
    }
}
