//! What producers ask the coordinator: the way there, what it decides, the way back.

use std::collections::BTreeSet;
use std::time::Duration;

use streamledger_broker_core::transaction::{
    ClientVersion, EndTransaction, Initialize, TransactionCoordinator, TransactionRefusal,
};
use streamledger_client_core::sender::Event;
use streamledger_client_core::transaction::{
    AskedBroker, Capabilities, CoordinatorKey, Question, QuestionId, TransactionAnswer,
    TransactionQuestion, TransactionReply, TransactionVersion,
};
use streamledger_protocol::{ErrorCode, ProducerIdentity, TopicPartition};

use super::TransactionHappening;
use super::coordinator::Then;
use super::groups::{OffsetsOnTheirWay, offsets_partition};
use crate::client::Client;
use crate::cluster::{broker_id, broker_number};
use crate::world::World;

pub(super) const fn client_version(version: TransactionVersion) -> ClientVersion {
    match version {
        TransactionVersion::V1 => ClientVersion::V1,
        TransactionVersion::V2 => ClientVersion::V2,
    }
}

impl World {
    /// Puts a producer's question on its way.
    pub(crate) fn ask_coordinator(&mut self, client: usize, question: TransactionQuestion) {
        let id = question.id;
        let broker = match question.to {
            AskedBroker::Any => self.network_dice.place(self.brokers.len()),
            AskedBroker::One(broker) => broker_number(broker),
        };
        self.note(format_args!("client {client} asks broker {broker}: {:?}", question.question));
        if let Some(caller) = &mut self.clients[client].transactional {
            caller.asked = Some(id);
        }
        let latency = Duration::from_micros(self.latency_us());
        let state = &self.brokers[broker];
        let (up, life) = (state.up, state.life);
        if !up {
            let reply = TransactionReply::Nothing { possibly_sent: false };
            let answer = TransactionAnswer { id, capabilities: None, reply };
            let at = self.now + latency;
            return self
                .push_transactional(at, TransactionHappening::AnswerArrives { client, answer });
        }
        let timeout = self.now + self.clients[client].plan.request_timeout;
        let times_out = TransactionHappening::QuestionTimesOut { client, question: id };
        self.push_transactional(timeout, times_out);
        if self.loses_answer() {
            return;
        }
        let stalled = self.stalled.get(&(client, broker)).copied();
        let at = stalled.unwrap_or(self.now).max(self.now) + latency;
        let arrives = TransactionHappening::QuestionArrives { client, broker, life, question };
        self.push_transactional(at, arrives);
    }

    pub(super) fn question_arrives(
        &mut self,
        client: usize,
        broker: (usize, u32),
        question: TransactionQuestion,
    ) {
        let TransactionQuestion { id, question, .. } = question;
        let reached = self.brokers[broker.0].up && self.brokers[broker.0].life == broker.1;
        let Some(caller) = &self.clients[client].transactional else { return };
        // By version 1 a request goes with the connection that was given up with it.
        let is_late = caller.asked != Some(id);
        let is_lost = is_late && caller.plan.version == TransactionVersion::V1;
        if !reached || is_lost {
            self.counters.answers_lost += 1;
            return;
        }
        let now = self.now.broker_now();
        let reply = match question {
            Question::FindCoordinator(key) => {
                let slot = match key {
                    CoordinatorKey::Transaction(_) => self.coordinator_slot(),
                    CoordinatorKey::Group(_) => self.groups_slot(),
                };
                let leader = self.cluster.leaders[slot].broker.map(broker_id);
                let reply =
                    TransactionReply::Coordinator(leader.ok_or(ErrorCode::CoordinatorNotAvailable));
                return self.answer(client, broker, id, reply);
            }
            Question::CommitOffsets { transactional_id, identity, offsets, version } => {
                let (question, producer) = (id, identity);
                let offsets = OffsetsOnTheirWay { client, broker, question, producer, offsets };
                return self.admit_offsets(offsets, transactional_id, version);
            }
            Question::AddOffsets { transactional_id, identity, .. } => {
                let joining = BTreeSet::from([offsets_partition()]);
                let decided = self.decide(broker.0, |core| {
                    let v1 = ClientVersion::V1;
                    core.decide_add_partitions(&transactional_id, identity, &joining, v1, now)
                });
                TransactionReply::Group(decided.err().unwrap_or(ErrorCode::None))
            }
            Question::InitProducerId { transactional_id, timeout, current } => {
                let ask = Initialize {
                    transactional_id,
                    timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
                    known: (current != ProducerIdentity::NONE).then_some(current),
                    fresh: Some(self.cluster.new_producer().id),
                };
                let decided = self.decide(broker.0, |core| core.decide_initialize(&ask, now));
                TransactionReply::Identity(decided)
            }
            Question::AddPartitions { transactional_id, identity, partitions } => {
                let joining: BTreeSet<TopicPartition> = partitions.iter().cloned().collect();
                let decided = self.decide(broker.0, |core| {
                    let v1 = ClientVersion::V1;
                    core.decide_add_partitions(&transactional_id, identity, &joining, v1, now)
                });
                let error = decided.err().unwrap_or(ErrorCode::None);
                TransactionReply::Partitions(partitions.into_iter().map(|p| (p, error)).collect())
            }
            Question::EndTransaction { transactional_id, identity, committed, version } => {
                let ask = EndTransaction {
                    transactional_id,
                    producer: identity,
                    committed,
                    client: client_version(version),
                    fresh: Some(self.cluster.new_producer().id),
                };
                let decided = self.decide(broker.0, |core| core.decide_end(&ask, now));
                let is_v2 = version == TransactionVersion::V2;
                TransactionReply::Ended(decided.map(|next| is_v2.then_some(next)))
            }
        };
        self.park(Then::Answer { client, broker, question: id, reply });
    }

    /// What the coordinator decides, if the broker is that.
    fn decide<R>(
        &mut self,
        broker: usize,
        decide: impl FnOnce(
            &TransactionCoordinator,
        ) -> streamledger_broker_core::transaction::Decision<R>,
    ) -> Result<R, ErrorCode> {
        self.check_coordinator(broker)?;
        let Some(transactions) = &self.transactions else {
            return Err(ErrorCode::NotCoordinator);
        };
        let decision = decide(&transactions.coordinator.core);
        self.keep(decision)?.map_err(TransactionRefusal::error_code)
    }

    /// Puts an answer on its way.
    pub(super) fn answer(
        &mut self,
        client: usize,
        broker: (usize, u32),
        id: QuestionId,
        reply: TransactionReply,
    ) {
        let alive = self.brokers[broker.0].up && self.brokers[broker.0].life == broker.1;
        self.note(format_args!("broker {} answers client {client}: {reply:?}", broker.0));
        let told = match &reply {
            TransactionReply::Identity(Ok(identity))
            | TransactionReply::Ended(Ok(Some(identity))) => Some(*identity),
            _ => None,
        };
        let _ = told.map(|identity| self.check_epoch_told(identity));
        if !alive || self.loses_answer() {
            self.counters.answers_lost += 1;
            return;
        }
        let mut latency = Duration::from_micros(self.latency_us());
        if let Some((until, us)) = self.brokers[broker.0].slow_responses
            && until > self.now
        {
            latency += Duration::from_micros(us);
        }
        let Some(caller) = &self.clients[client].transactional else { return };
        let version = caller.plan.version;
        let capabilities = Some(Capabilities { version, gives_next_epoch: true });
        let stalled = self.stalled.get(&(client, broker.0)).copied();
        let at = stalled.unwrap_or(self.now).max(self.now) + latency;
        let answer = TransactionAnswer { id, capabilities, reply };
        self.push_transactional(at, TransactionHappening::AnswerArrives { client, answer });
    }

    pub(super) fn coordinator_answers(&mut self, client: usize, answer: TransactionAnswer) {
        let Some(caller) = &mut self.clients[client].transactional else { return };
        if caller.asked.take_if(|asked| *asked == answer.id).is_none() {
            self.counters.answers_late += 1;
            return;
        }
        self.tell(client, Event::Coordinator(answer));
    }

    pub(super) fn question_times_out(&mut self, client: usize, id: QuestionId) {
        let Client { dead: false, transactional: Some(caller), .. } = &mut self.clients[client]
        else {
            return;
        };
        if caller.asked.take_if(|asked| *asked == id).is_none() {
            return;
        }
        self.note(format_args!("client {client} has no answer to its question {}", id.0));
        let reply = TransactionReply::Nothing { possibly_sent: true };
        self.tell(client, Event::Coordinator(TransactionAnswer { id, capabilities: None, reply }));
    }
}
