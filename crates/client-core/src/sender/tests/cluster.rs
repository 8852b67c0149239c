//! What Kafka does about transactions, as far as a producer can tell: one coordinator, and logs
//! that know which records are decided. Either protocol; nothing here forgives.

use std::collections::VecDeque;

use streamledger_protocol::{
    ApiKey, ApiVersion, BrokerId, ErrorCode, Offset, ProducerEpoch, ProducerIdentity,
    SequenceNumber, TimestampMs, TopicPartition,
};

use super::rig::{TOPIC, header, identity, values};
use crate::map::Map;
use crate::sender::{OutgoingRequest, PartitionAnswer};
use crate::transaction::{
    Capabilities, Question, TransactionAnswer, TransactionQuestion, TransactionReply,
    TransactionVersion,
};

pub(super) const COORDINATOR: BrokerId = BrokerId(8);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Txn {
    Empty,
    Ongoing,
    Committed,
    Aborted,
}

#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) version: TransactionVersion,
    pub(super) gives_next_epoch: bool,
    pub(super) identity: ProducerIdentity,
    pub(super) txn: Txn,
    pub(super) coordinator: BrokerId,
    partitions: Vec<TopicPartition>,
    logs: Map<TopicPartition, Log>,
    open_offsets: Vec<(TopicPartition, i64)>,
    pub(super) offsets: Vec<(TopicPartition, i64)>,
    /// What is refused with what, before anything else is looked at.
    pub(super) refusals: VecDeque<ErrorCode>,
    /// Every question, by a word for each.
    pub(super) asked: Vec<String>,
}

#[derive(Debug, Default)]
struct Log {
    epoch: i16,
    /// (base sequence, records, base offset) of the last five batches of this epoch.
    last: VecDeque<(SequenceNumber, i32, i64)>,
    length: i64,
    open: Vec<Vec<u8>>,
    committed: Vec<Vec<u8>>,
}

impl Cluster {
    pub(super) fn new(version: TransactionVersion) -> Self {
        Self {
            version,
            gives_next_epoch: true,
            identity: identity(7, -1),
            txn: Txn::Empty,
            coordinator: COORDINATOR,
            partitions: Vec::new(),
            logs: Map::default(),
            open_offsets: Vec::new(),
            offsets: Vec::new(),
            refusals: VecDeque::new(),
            asked: Vec::new(),
        }
    }

    /// What read-committed readers see of a partition.
    pub(super) fn committed(&self, partition: i32) -> Vec<String> {
        let log = self.logs.get(&topic_partition(partition));
        let records = log.map_or(&[][..], |log| &log.committed);
        records.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// Records that are not decided yet.
    pub(super) fn undecided(&self) -> usize {
        self.logs.values().map(|log| log.open.len()).sum()
    }

    /// The coordinator aborts the transaction for its age.
    pub(super) fn time_out(&mut self) {
        assert_eq!(self.txn, Txn::Ongoing);
        self.identity = next(self.identity);
        self.end(false);
    }

    /// Another producer takes the transactional id.
    pub(super) fn taken_over(&mut self) {
        if self.version == TransactionVersion::V2 && self.txn == Txn::Ongoing {
            // Once to fence, once for the abort's end, and once for the new producer.
            self.identity = next(self.identity);
        }
        let answer = self.init(ProducerIdentity::NONE);
        assert!(answer.is_ok());
    }

    pub(super) fn answer(&mut self, question: &TransactionQuestion) -> TransactionAnswer {
        let reply = self.reply(&question.question);
        TransactionAnswer { id: question.id, capabilities: Some(self.capabilities()), reply }
    }

    fn capabilities(&self) -> Capabilities {
        let init = if self.gives_next_epoch { 5 } else { 2 };
        let common = |api| match api {
            ApiKey::InitProducerId => Some(ApiVersion(init)),
            ApiKey::Produce => Some(ApiVersion(13)),
            _ => Some(ApiVersion(5)),
        };
        let level = if self.version == TransactionVersion::V2 { 2 } else { 1 };
        Capabilities::new(Some(level), common)
    }

    fn reply(&mut self, question: &Question) -> TransactionReply {
        self.asked.push(word(question));
        let refusal =
            self.refusals.pop_front_if(|_| !matches!(question, Question::FindCoordinator(_)));
        match question {
            Question::FindCoordinator(_) => TransactionReply::Coordinator(Ok(self.coordinator)),
            Question::InitProducerId { current, .. } => {
                TransactionReply::Identity(refusal.map_or_else(|| self.init(*current), Err))
            }
            Question::AddPartitions { identity, partitions, .. } => {
                let error = refusal.unwrap_or_else(|| self.add(*identity, partitions));
                let errors = partitions.iter().map(|tp| (tp.clone(), error));
                TransactionReply::Partitions(errors.collect())
            }
            Question::AddOffsets { identity, .. } => {
                TransactionReply::Group(refusal.unwrap_or_else(|| self.add(*identity, &[])))
            }
            Question::CommitOffsets { identity, offsets, .. } => {
                let error = refusal.unwrap_or_else(|| match self.version {
                    TransactionVersion::V2 => self.add(*identity, &[]),
                    TransactionVersion::V1 if self.txn != Txn::Ongoing => {
                        ErrorCode::InvalidTxnState
                    }
                    TransactionVersion::V1 => self.known(*identity),
                });
                if error == ErrorCode::None {
                    let stored = offsets.offsets.iter().map(|(tp, o)| (tp.clone(), o.offset.0));
                    self.open_offsets.extend(stored);
                }
                let errors = offsets.offsets.iter().map(|(tp, _)| (tp.clone(), error));
                TransactionReply::Partitions(errors.collect())
            }
            Question::EndTransaction { identity, committed, .. } => {
                let ended = || self.end_asked(*identity, *committed);
                TransactionReply::Ended(refusal.map_or_else(ended, Err))
            }
        }
    }

    fn init(&mut self, current: ProducerIdentity) -> Result<ProducerIdentity, ErrorCode> {
        if current == ProducerIdentity::NONE {
            self.identity = next(self.identity);
            if self.txn == Txn::Ongoing {
                self.end(false);
            }
            self.txn = Txn::Empty;
        } else if current == self.identity {
            self.identity = next(self.identity);
        } else if next(current) != self.identity {
            return Err(ErrorCode::ProducerFenced);
        }
        Ok(self.identity)
    }

    fn known(&self, identity: ProducerIdentity) -> ErrorCode {
        if identity == self.identity { ErrorCode::None } else { ErrorCode::ProducerFenced }
    }

    fn add(&mut self, identity: ProducerIdentity, partitions: &[TopicPartition]) -> ErrorCode {
        let known = self.known(identity);
        if known == ErrorCode::None {
            self.txn = Txn::Ongoing;
            self.partitions.extend_from_slice(partitions);
        }
        known
    }

    fn end_asked(
        &mut self,
        identity: ProducerIdentity,
        committed: bool,
    ) -> Result<Option<ProducerIdentity>, ErrorCode> {
        let same_end = self.txn == if committed { Txn::Committed } else { Txn::Aborted };
        let is_v2 = self.version == TransactionVersion::V2;
        if identity != self.identity {
            // Version 2 knows a repeated end by the epoch that the first one raised.
            return match is_v2 && next(identity) == self.identity {
                true if same_end => Ok(Some(self.identity)),
                true => Err(ErrorCode::InvalidTxnState),
                false => Err(ErrorCode::ProducerFenced),
            };
        }
        match self.txn {
            Txn::Ongoing => {}
            _ if is_v2 && !committed => {}
            _ if !is_v2 && same_end => return Ok(None),
            _ => return Err(ErrorCode::InvalidTxnState),
        }
        if is_v2 {
            self.identity = next(self.identity);
        }
        self.end(committed);
        Ok(is_v2.then_some(self.identity))
    }

    fn end(&mut self, committed: bool) {
        let epoch = self.identity.epoch.0;
        for tp in self.partitions.drain(..) {
            let log = self.logs.entry(tp).or_default();
            let open = std::mem::take(&mut log.open);
            // The marker.
            log.length += 1;
            if committed {
                log.committed.extend(open);
            }
            if log.epoch < epoch {
                log.epoch = epoch;
                log.last.clear();
            }
        }
        let offsets = std::mem::take(&mut self.open_offsets);
        if committed {
            self.offsets.extend(offsets);
        }
        self.txn = if committed { Txn::Committed } else { Txn::Aborted };
    }

    pub(super) fn produce(
        &mut self,
        request: &OutgoingRequest,
    ) -> Vec<(TopicPartition, PartitionAnswer)> {
        let transaction = request.transaction.as_ref().expect("it names its transaction");
        assert_eq!((transaction.id.as_str(), transaction.version), ("ingest", self.version));
        let answers = request.batches.iter().map(|batch| {
            let appended = self.append(&batch.topic_partition, &batch.bytes);
            let answer = PartitionAnswer {
                error: appended.err().unwrap_or(ErrorCode::None),
                base_offset: Offset(appended.unwrap_or(-1)),
                log_append_time: TimestampMs::NONE,
            };
            (batch.topic_partition.clone(), answer)
        });
        answers.collect()
    }

    fn append(&mut self, tp: &TopicPartition, bytes: &[u8]) -> Result<i64, ErrorCode> {
        let header = header(bytes);
        assert!(
            header.attributes.is_transactional(),
            "each batch says that it is part of a transaction"
        );
        let producer = ProducerIdentity { id: header.producer_id, epoch: header.producer_epoch };
        let log = self.logs.entry(tp.clone()).or_default();
        if producer.epoch.0 < log.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if producer != self.identity {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if !self.partitions.contains(tp) {
            if self.version == TransactionVersion::V1 {
                return Err(ErrorCode::InvalidTxnState);
            }
            self.txn = Txn::Ongoing;
            self.partitions.push(tp.clone());
        }
        if producer.epoch.0 > log.epoch {
            log.epoch = producer.epoch.0;
            log.last.clear();
        }
        let entry = (header.base_sequence, header.record_count);
        if let Some(known) = log.last.iter().find(|(s, count, _)| (*s, *count) == entry) {
            return Ok(known.2);
        }
        let after = |(s, count, _): &(SequenceNumber, i32, i64)| s.plus(*count);
        if header.base_sequence != log.last.back().map_or(SequenceNumber::ZERO, after) {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        let base_offset = log.length;
        log.last.push_back((header.base_sequence, header.record_count, base_offset));
        if log.last.len() > 5 {
            log.last.pop_front();
        }
        log.length += i64::from(header.record_count);
        log.open.extend(values(bytes));
        Ok(base_offset)
    }
}

fn next(identity: ProducerIdentity) -> ProducerIdentity {
    ProducerIdentity { id: identity.id, epoch: ProducerEpoch(identity.epoch.0 + 1) }
}

pub(super) fn topic_partition(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, streamledger_protocol::PartitionIndex(partition))
}

/// A question in a word or two, with the epoch it goes by.
pub(super) fn word(question: &Question) -> String {
    match question {
        Question::FindCoordinator(_) => "find".to_owned(),
        Question::InitProducerId { current, .. } => format!("init {}", current.epoch),
        Question::AddPartitions { partitions, .. } => format!("add {}", partitions.len()),
        Question::AddOffsets { .. } => "add-group".to_owned(),
        Question::CommitOffsets { .. } => "offsets".to_owned(),
        Question::EndTransaction { identity, committed: true, .. } => {
            format!("commit {}", identity.epoch)
        }
        Question::EndTransaction { identity, committed: false, .. } => {
            format!("abort {}", identity.epoch)
        }
    }
}
