//! How a transactional batch gets into a partition: its leader asks the coordinator first, under a
//! guard, unless the transaction is open there already (KIP-890).

use std::collections::BTreeSet;
use std::time::Duration;

use streamledger_broker_core::log::TransactionGuard;
use streamledger_broker_core::transaction::{ClientVersion, TransactionRefusal, Verification};
use streamledger_client_core::sender::{OutgoingBatch, ProduceTransaction};
use streamledger_client_core::transaction::TransactionVersion;
use streamledger_protocol::record_batch::RecordBatchHeader;
use streamledger_protocol::{ErrorCode, ProducerIdentity};

use super::TransactionHappening;
use super::coordinator::Then;
use crate::network::PendingPart;
use crate::serving::refusal;
use crate::world::World;

/// How long a leader waits for the coordinator.
const ADMISSION_TIMEOUT: Duration = Duration::from_millis(800);

/// A batch that waits for the coordinator's word.
#[derive(Debug)]
pub(super) struct Admission {
    connection: usize,
    batch: OutgoingBatch,
    transaction: ProduceTransaction,
    producer: ProducerIdentity,
    guard: TransactionGuard,
    slot: usize,
    life: u32,
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
        let Some(transactions) = &mut self.transactions else {
            return self.serve(broker, batch, None);
        };
        let number = transactions.new_number();
        let admission = Admission { connection, batch, transaction, producer, guard, slot, life };
        transactions.admissions.insert(number, admission);
        let at = self.now + Duration::from_micros(self.latency_us());
        self.push_transactional(at, TransactionHappening::AdmissionAsked { number });
        let times_out = TransactionHappening::AdmissionAnswered {
            number,
            answer: Err(ErrorCode::NotEnoughReplicas),
        };
        self.push_transactional(self.now + ADMISSION_TIMEOUT, times_out);
        let answer = refusal(ErrorCode::None);
        let admission = Some(number);
        PendingPart { topic_partition, slot, life, admission, flushed_past: None, answer }
    }

    /// The question comes to the coordinator.
    pub(super) fn admission_asked(&mut self, number: u64) {
        if !self.coordinator_is_loaded() {
            return self.answer_admission(number, Err(ErrorCode::NotEnoughReplicas));
        }
        let now = self.now.broker_now();
        let Some(transactions) = &self.transactions else { return };
        let Some(admission) = transactions.admissions.get(&number) else { return };
        let Admission { transaction, producer, batch, .. } = admission;
        let (id, producer, partition) = (&transaction.id, *producer, &batch.topic_partition);
        let (core, version) = (&transactions.coordinator.core, transaction.version);
        match version {
            TransactionVersion::V1 => {
                let verified = core.verify(id, producer, std::slice::from_ref(partition));
                let answer = match verified.as_deref() {
                    Ok([Verification::Added]) => Ok(()),
                    Ok(_) => Err(ErrorCode::TransactionAbortable),
                    Err(refused) => Err(as_produce_error(*refused, version)),
                };
                self.answer_admission(number, answer);
            }
            TransactionVersion::V2 => {
                let joining = BTreeSet::from([partition.clone()]);
                let decision =
                    core.decide_add_partitions(id, producer, &joining, ClientVersion::V2, now);
                let answer = match self.keep(decision) {
                    Err(_) => Err(ErrorCode::NotEnoughReplicas),
                    Ok(reply) => reply.map_err(|refused| as_produce_error(refused, version)),
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
        let Admission { connection, batch, guard, slot, life, .. } = admission;
        let state = &self.connections[connection];
        let broker = state.broker;
        if !self.brokers[broker].up || self.brokers[broker].life != state.broker_life {
            return;
        }
        let error = match answer {
            Err(error) => Some(error),
            Ok(()) if self.partitions[slot].life != life => Some(ErrorCode::NotLeaderOrFollower),
            Ok(()) => None,
        };
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

/// What a producer is told, as the broker's shell tells it.
fn as_produce_error(refused: TransactionRefusal, version: TransactionVersion) -> ErrorCode {
    match refused.error_code() {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::ConcurrentTransactions if version == TransactionVersion::V1 => {
            ErrorCode::NotEnoughReplicas
        }
        ErrorCode::CoordinatorNotAvailable => ErrorCode::NotEnoughReplicas,
        other => other,
    }
}
