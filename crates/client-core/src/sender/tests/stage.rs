//! A transactional sender and its cluster, driven together.

use std::task::{Poll, Waker};
use std::time::Duration;

use streamledger_protocol::{BrokerId, ErrorCode, Offset};

use super::cluster::{Cluster, topic_partition, word};
use super::rig::*;
use crate::accumulator::Delivery;
use crate::sender::{Event, SenderConfig, TransactionConfig};
use crate::transaction::{
    CommittedOffset, ConsumerGroupMetadata, DeskAnswer, GroupOffsets, TransactionCommand,
    TransactionError, TransactionOperation, TransactionReply, TransactionVersion,
};

pub(super) type Outcome = Result<(), Box<TransactionError>>;

pub(super) struct Stage {
    pub(super) rig: Rig,
    pub(super) cluster: Cluster,
}

pub(super) fn transactional() -> SenderConfig {
    let transaction = TransactionConfig { id: "ingest".into(), timeout: Duration::from_secs(60) };
    SenderConfig { transaction: Some(transaction), ..SenderConfig::default() }
}

impl Stage {
    /// Connected, and not initialized.
    pub(super) fn on(cluster: Cluster) -> Self {
        Self { rig: Rig::ready_with(transactional()), cluster }
    }

    /// With an open transaction.
    pub(super) fn open(version: TransactionVersion) -> Self {
        let mut stage = Self::on(Cluster::new(version));
        stage.run(TransactionOperation::Init).unwrap();
        stage.run(TransactionOperation::Begin).unwrap();
        stage.cluster.asked.clear();
        stage
    }

    /// Asks for an operation and gives it to the sender; nothing is answered yet.
    pub(super) fn ask(
        &mut self,
        operation: TransactionOperation,
    ) -> Result<DeskAnswer, Box<TransactionError>> {
        let offset = CommittedOffset::new(Offset(17));
        let offsets = (operation == TransactionOperation::SendOffsets).then(|| {
            let group = ConsumerGroupMetadata::new("readers");
            Box::new(GroupOffsets { group, offsets: vec![(topic_partition(5), offset)] })
        });
        let asked = self.rig.desk.ask(TransactionCommand { operation, offsets })?;
        self.pass_commands();
        Ok(asked)
    }

    pub(super) fn pass_commands(&mut self) {
        while let Some(command) = self.rig.desk.take_command() {
            self.rig.handle(Event::Transaction(command));
        }
    }

    /// The outcome, if it is there.
    pub(super) fn hear(&self, operation: TransactionOperation) -> Option<Outcome> {
        match self.rig.desk.poll_outcome(operation, Waker::noop()) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    /// Asks, serves, and hears the outcome.
    pub(super) fn run(&mut self, operation: TransactionOperation) -> Outcome {
        self.ask(operation)?;
        self.serve();
        self.hear(operation).expect("it is over when all is served")
    }

    /// Answers everything as the cluster does, waits passed, until nothing is asked.
    pub(super) fn serve(&mut self) {
        for _ in 0..100 {
            let (questions, sent) = (self.rig.questions.len(), self.rig.sent.len());
            if questions + sent == 0 {
                match self.rig.sender.next_wakeup() {
                    Some(at) if at < self.rig.now + BACKOFF => self.rig.now = at,
                    _ => return,
                }
                self.rig.poll();
            }
            self.serve_produce();
            while self.answer_one() {}
        }
        panic!("no end: {:?}", self.cluster.asked);
    }

    pub(super) fn serve_produce(&mut self) {
        while let Some(request) = self.rig.sent.pop_front() {
            let partitions = self.cluster.produce(&request);
            let (request, throttle) = (request.request, Duration::ZERO);
            self.rig.handle(Event::ProduceResponse { request, throttle, partitions });
        }
    }

    /// Answers the question that waits, if there is one.
    pub(super) fn answer_one(&mut self) -> bool {
        let Some(question) = self.rig.questions.pop_front() else { return false };
        let answer = self.cluster.answer(&question);
        self.rig.handle(Event::Coordinator(answer));
        true
    }

    /// The cluster does what is asked, and the answer is lost.
    pub(super) fn lose_answer(&mut self) {
        let question = self.rig.questions.pop_front().expect("something was asked");
        let mut answer = self.cluster.answer(&question);
        answer.capabilities = None;
        answer.reply = TransactionReply::Nothing { possibly_sent: true };
        self.rig.handle(Event::Coordinator(answer));
    }

    /// What is asked next, after waiting for it.
    pub(super) fn next_question(&mut self) -> Option<String> {
        if self.rig.questions.is_empty() {
            self.rig.pass(BACKOFF);
        }
        self.rig.questions.front().map(|question| word(&question.question))
    }

    pub(super) fn send(&mut self, partition: i32, value: &str) -> Delivery {
        let delivery = self.rig.try_append(partition, value.as_bytes());
        self.rig.handle(Event::Wake);
        delivery.expect("the gate is open")
    }

    pub(super) fn refuse(&mut self, error: ErrorCode) {
        self.cluster.refusals.push_back(error);
    }

    pub(super) fn asked(&self) -> Vec<&str> {
        self.cluster.asked.iter().map(String::as_str).collect()
    }

    /// Loses the leader's connection with all that is in flight to it.
    pub(super) fn cut_leader(&mut self) {
        self.rig.cut(LEADER);
    }

    pub(super) fn reconnect(&mut self, broker: BrokerId) {
        self.rig.handle(Event::ConnectionUp(broker));
        self.rig.handle(Event::Metadata(vec![leaders(broker, 0)]));
    }
}
