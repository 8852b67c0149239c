//! Transactions: the real coordinator over a real log, and what a read-committed reader sees.
//!
//! What is faked: the way between producer, coordinator and partitions. Questions, answers and
//! markers are late, lost or doubled; producers are killed, stand still, or have a rival.
//!
//! 1. What a request of version 1 brings late is lost with its connection: its producer's epoch
//!    stays from one transaction to the next, so nothing but the connection's order protects it
//!    from such a request. By version 2 it arrives, and its epoch gives it away.
//! 2. The coordinator answers, and markers leave, once its record is flushed.
//! 3. Some producers consume: each of their records is made of an input, and how far they have come
//!    is an offset of their group that is stored in the same transaction.
//!
//! Reading order: `seat`, `coordinator`, `question`, `admission`, `marker`, `groups` (the brokers'
//! side), `caller`, `processor` (the producers' side), `history`, `inputs` (what is promised),
//! `fault`.

mod admission;
mod caller;
mod coordinator;
mod fault;
mod groups;
mod history;
mod inputs;
mod marker;
mod processor;
mod question;
mod seat;

use std::collections::BTreeMap;

use streamledger_client_core::transaction::{QuestionId, TransactionAnswer, TransactionQuestion};
use streamledger_protocol::{
    ErrorCode, ProducerEpoch, ProducerId, TopicPartition, TransactionalId,
};

pub(crate) use caller::TransactionalCaller;

use crate::plan::{Planted, ProducerPlan};
use crate::world::{Happening, World};
use admission::Admission;
use coordinator::Coordinator;
use fault::Troubles;
use groups::{GroupHappening, Groups};
use history::History;
use marker::{MarkerJob, MarkerOnItsWay, UnflushedMarker};

/// The name of a transactional id.
pub(crate) fn transactional_id(number: usize) -> TransactionalId {
    format!("job-{number}").as_str().into()
}

/// Something that is going to happen about transactions.
#[derive(Debug)]
pub(crate) enum TransactionHappening {
    QuestionArrives {
        client: usize,
        broker: usize,
        life: u32,
        question: TransactionQuestion,
    },
    AnswerArrives {
        client: usize,
        answer: TransactionAnswer,
    },
    QuestionTimesOut {
        client: usize,
        question: QuestionId,
    },
    /// A caller loses patience with an operation, and tries another.
    CallerIsImpatient {
        client: usize,
    },
    /// The next life of a producer, or a rival of it.
    ProducerStarts {
        plan: ProducerPlan,
    },
    CoordinatorLoads {
        life: u32,
    },
    CoordinatorTimer,
    PowerCut {
        broker: usize,
        life: u32,
    },
    AdmissionAsked {
        number: u64,
    },
    AdmissionAnswered {
        number: u64,
        answer: Result<(), ErrorCode>,
    },
    MarkerArrives(MarkerOnItsWay),
    MarkerAnswered {
        job: u64,
        topic_partition: TopicPartition,
    },
    MarkersAgain {
        job: u64,
    },
    /// Something about groups and their members.
    Group(GroupHappening),
}

/// The coordinator and what belongs to it.
#[derive(Debug)]
pub(crate) struct Transactions {
    coordinator: Coordinator,
    groups: Groups,
    admissions: BTreeMap<u64, Admission>,
    jobs: BTreeMap<u64, MarkerJob>,
    unflushed_markers: Vec<UnflushedMarker>,
    next_number: u64,
    history: History,
    troubles: Troubles,
    /// The highest epoch that was told to anybody, by producer id.
    epochs_told: BTreeMap<ProducerId, ProducerEpoch>,
    /// Producers that are about to start.
    starting: u32,
}

impl Transactions {
    /// With the coordinator's log in that slot, behind those that callers write to, and the groups'
    /// in the next.
    pub(crate) fn new(slot: usize, planted: Option<Planted>) -> Self {
        Self {
            coordinator: Coordinator::new(slot, planted),
            groups: Groups::new(slot + 1, planted),
            admissions: BTreeMap::new(),
            jobs: BTreeMap::new(),
            unflushed_markers: Vec::new(),
            next_number: 0,
            history: History::new(slot),
            troubles: Troubles::default(),
            epochs_told: BTreeMap::new(),
            starting: 0,
        }
    }

    fn new_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

impl World {
    pub(crate) fn transaction_happens(&mut self, happening: TransactionHappening) {
        match happening {
            TransactionHappening::QuestionArrives { client, broker, life, question } => {
                self.question_arrives(client, (broker, life), question);
            }
            TransactionHappening::AnswerArrives { client, answer } => {
                self.coordinator_answers(client, answer);
            }
            TransactionHappening::QuestionTimesOut { client, question } => {
                self.question_times_out(client, question);
            }
            TransactionHappening::CallerIsImpatient { client } => self.try_another(client),
            TransactionHappening::ProducerStarts { plan } => self.start_producer(plan),
            TransactionHappening::CoordinatorLoads { life } => self.load_coordinator(life),
            TransactionHappening::CoordinatorTimer => self.do_what_is_due(),
            TransactionHappening::PowerCut { broker, life } => self.cut_power(broker, life),
            TransactionHappening::AdmissionAsked { number } => self.admission_asked(number),
            TransactionHappening::AdmissionAnswered { number, answer } => {
                self.admission_answered(number, answer);
            }
            TransactionHappening::MarkerArrives(marker) => self.marker_arrives(marker),
            TransactionHappening::MarkerAnswered { job, topic_partition } => {
                self.marker_answered(job, &topic_partition);
            }
            TransactionHappening::MarkersAgain { job } => self.send_markers(job),
            TransactionHappening::Group(happening) => self.group_happens(happening),
        }
    }

    /// What happens to a process that stands still happens when it goes on.
    pub(crate) fn unless_paused(&mut self, happening: Happening) -> Option<Happening> {
        let Some(client) = self.process_of(&happening) else { return Some(happening) };
        let until = self.clients[client].paused_until;
        if until <= self.now {
            return Some(happening);
        }
        self.queue.push(until, happening);
        None
    }

    /// The producer in whose process it happens, if it is in one.
    fn process_of(&self, happening: &Happening) -> Option<usize> {
        match happening {
            Happening::CallerTurn(client)
            | Happening::SenderTimer(client)
            | Happening::Metadata { client, .. }
            | Happening::ProducerId { client, .. }
            | Happening::Compressed { client, .. }
            | Happening::Timeout { client, .. }
            | Happening::NotSent { client, .. } => Some(*client),
            Happening::Connected { connection, .. }
            | Happening::ResponseArrives { connection, .. }
            | Happening::ConnectionLost { connection } => {
                Some(self.connections[*connection].client)
            }
            Happening::Transactional(happening) => match happening.as_ref() {
                TransactionHappening::AnswerArrives { client, .. }
                | TransactionHappening::QuestionTimesOut { client, .. }
                | TransactionHappening::CallerIsImpatient { client }
                | TransactionHappening::Group(
                    GroupHappening::Answered { client, .. }
                    | GroupHappening::TimesOut { client, .. }
                    | GroupHappening::AsksAgain { client },
                ) => Some(*client),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn push_transactional(
        &mut self,
        at: crate::clock::SimTime,
        happening: TransactionHappening,
    ) {
        self.queue.push(at, Happening::Transactional(Box::new(happening)));
    }
}
