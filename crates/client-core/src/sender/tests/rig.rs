//! Drives a sender by hand: a clock that stands still until told, one topic, and a broker that
//! does what the test says or what a strict Kafka log would do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use streamledger_protocol::compression::{CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{RecordBatchHeader, RecordBatchRef};
use streamledger_protocol::{
    BrokerId, Codec, ErrorCode, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId,
    ProducerIdentity, SequenceNumber, TimestampMs, TopicId, TopicPartition,
};

use crate::accumulator::{
    AccumulatorConfig, AppendExtras, Delivery, RecordAccumulator, RecordMetadata, RecordParts,
};
use crate::failure::DeliveryFailure;
use crate::map::Map;
use crate::partitioner::{SeededRandom, Target};
use crate::sender::{
    Effect, Event, OutgoingRequest, PartitionAnswer, PartitionLeader, ProducerIdAnswer, Sender,
    SenderConfig, TopicLeaders,
};
use crate::transaction::{TransactionDesk, TransactionQuestion};

pub(super) const TOPIC: &str = "clicks";
/// Leads every partition unless a test says otherwise.
pub(super) const LEADER: BrokerId = BrokerId(1);
pub(super) const OTHER: BrokerId = BrokerId(2);
/// Longer than any retry backoff.
pub(super) const BACKOFF: Duration = Duration::from_millis(1500);
/// Records of 100 bytes, nine to a batch.
pub(super) const BATCH_BYTES: usize = 1050;
/// Room for 64 batches.
pub(super) const MEMORY_BYTES: usize = 64 * BATCH_BYTES;

pub(super) struct Rig {
    pub(super) sender: Sender,
    pub(super) accumulator: Arc<RecordAccumulator>,
    pub(super) now: Instant,
    pub(super) sent: VecDeque<OutgoingRequest>,
    pub(super) connects: Vec<BrokerId>,
    pub(super) asked_for_id: u32,
    pub(super) refreshes: u32,
    pub(super) questions: VecDeque<TransactionQuestion>,
    pub(super) desk: TransactionDesk,
    pub(super) forgotten: u32,
    scratch: CompressionScratch,
}

impl Rig {
    pub(super) fn new(config: SenderConfig) -> Self {
        let accumulator_config = AccumulatorConfig {
            batch_bytes_max: BATCH_BYTES,
            memory_bytes_max: MEMORY_BYTES,
            request_bytes_max: config.request_bytes_max,
            linger: Duration::from_millis(5),
        };
        let random = Arc::new(SeededRandom::new(11));
        let accumulator = RecordAccumulator::new(accumulator_config, random.clone());
        let _ = accumulator.topic(&TOPIC.into());
        let sender = Sender::new(config, Arc::clone(&accumulator), random);
        Self {
            sender,
            accumulator,
            now: crate::test_clock::some_moment(),
            sent: VecDeque::new(),
            connects: Vec::new(),
            asked_for_id: 0,
            refreshes: 0,
            questions: VecDeque::new(),
            desk: TransactionDesk::default(),
            forgotten: 0,
            scratch: CompressionScratch::default(),
        }
    }

    /// Idempotent, connected, with a producer id and six partitions led by [`LEADER`].
    pub(super) fn ready() -> Self {
        Self::ready_with(SenderConfig::default())
    }

    pub(super) fn ready_with(config: SenderConfig) -> Self {
        let asks_for_id = config.idempotent && config.transaction.is_none();
        let mut rig = Self::new(config);
        rig.handle(Event::Metadata(vec![leaders(LEADER, 0)]));
        rig.handle(Event::ConnectionUp(LEADER));
        if asks_for_id {
            assert_eq!(rig.asked_for_id, 1);
            rig.handle(Event::ProducerId(ProducerIdAnswer::Given(identity(7, 0))));
        }
        rig
    }

    /// With one batch acknowledged on partition 0, so that the next are pipelined.
    pub(super) fn warm() -> Self {
        let mut rig = Self::ready();
        let first = rig.append(0, 1);
        rig.flush();
        rig.answer_next(ErrorCode::None, 0);
        assert_eq!(offset(&first[0]), Some(0));
        rig
    }

    /// With five batches of nine records in flight on partition 0, sequences 1, 10, 19, 28, 37.
    pub(super) fn five_in_flight() -> (Self, Vec<Delivery>) {
        let mut rig = Self::warm();
        let deliveries = rig.append(0, 5 * 9);
        rig.flush();
        assert_eq!(rig.sequences_sent(), [1, 10, 19, 28, 37]);
        (rig, deliveries)
    }

    pub(super) fn handle(&mut self, event: Event) {
        self.sender.handle(self.now, event);
        self.poll();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.poll();
    }

    /// Performs effects until there are none.
    pub(super) fn poll(&mut self) {
        while let Some(effect) = self.sender.poll(self.now) {
            match effect {
                Effect::Connect(broker) => self.connects.push(broker),
                Effect::SendProduce(request) => self.sent.push_back(request),
                Effect::InitProducerId => self.asked_for_id += 1,
                Effect::RefreshMetadata(topics) => {
                    assert_eq!(topics, [TOPIC]);
                    self.refreshes += 1;
                }
                Effect::ForgetTopics(topics) => {
                    assert_eq!(topics, [TOPIC]);
                    self.forgotten += 1;
                }
                Effect::Compress(job) => {
                    let compressed = job.run(&mut self.scratch);
                    self.sender.handle(self.now, Event::Compressed(compressed));
                }
                Effect::Complete(batch) => batch.deliver(&self.accumulator),
                Effect::AskCoordinator(question) => self.questions.push_back(question),
                Effect::SettleTransaction(settled) => settled.deliver(&self.desk),
            }
        }
        assert!(self.sender.next_wakeup().is_none_or(|wakeup| wakeup > self.now), "no spin");
    }

    pub(super) fn try_append(&self, partition: i32, value: &[u8]) -> Option<Delivery> {
        let record =
            RecordParts { timestamp: TimestampMs(5), key: None, value: Some(value), headers: &[] };
        let target = Target::Partition(PartitionIndex(partition));
        let now = self.now;
        let append = |topic: &crate::accumulator::TopicQueues| {
            let extras = &mut AppendExtras::default();
            self.accumulator.append(topic, target, &record, &|| now, extras)
        };
        let appended = self.accumulator.with_topic(TOPIC, append).unwrap();
        appended.ok().map(|appended| appended.delivery)
    }

    pub(super) fn append(&self, partition: i32, records: usize) -> Vec<Delivery> {
        (0..records).map(|_| self.try_append(partition, &[b'x'; 92]).unwrap()).collect()
    }

    pub(super) fn flush(&mut self) {
        let _ = self.accumulator.begin_flush();
        self.handle(Event::Wake);
    }

    /// Answers the oldest request, all its partitions alike.
    pub(super) fn answer_next(&mut self, error: ErrorCode, base_offset: i64) {
        let request = self.sent.pop_front().expect("a request was sent");
        self.answer(&request, error, base_offset);
    }

    pub(super) fn answer(&mut self, request: &OutgoingRequest, error: ErrorCode, base_offset: i64) {
        let answer = PartitionAnswer {
            error,
            base_offset: Offset(if error == ErrorCode::None { base_offset } else { -1 }),
            log_append_time: TimestampMs::NONE,
        };
        let batches = request.batches.iter();
        let partitions = batches.map(|batch| (batch.topic_partition.clone(), answer)).collect();
        let (request, throttle) = (request.request, Duration::ZERO);
        self.handle(Event::ProduceResponse { request, throttle, partitions });
    }

    pub(super) fn fail_next(&mut self, possibly_sent: bool) {
        let request = self.sent.pop_front().expect("a request was sent").request;
        self.handle(Event::RequestFailed { request, possibly_sent });
    }

    /// Loses the connection: every request in flight fails as possibly sent.
    pub(super) fn cut(&mut self, broker: BrokerId) {
        self.handle(Event::ConnectionDown(broker));
        while !self.sent.is_empty() {
            self.fail_next(true);
        }
    }

    /// The base sequences of the requests in flight, each of one batch.
    pub(super) fn sequences_sent(&self) -> Vec<i32> {
        let batches = self.sent.iter().flat_map(|request| &request.batches);
        batches.map(|batch| header(&batch.bytes).base_sequence.0).collect()
    }

    pub(super) fn bytes_sent(&self) -> Vec<Bytes> {
        let batches = self.sent.iter().flat_map(|request| &request.batches);
        batches.map(|batch| batch.bytes.clone()).collect()
    }

    /// Answers requests as `log` does until there are none left.
    pub(super) fn serve(&mut self, log: &mut StrictLog) {
        while let Some(request) = self.sent.pop_front() {
            let answers = request.batches.iter().map(|batch| {
                (batch.topic_partition.clone(), log.append(&batch.topic_partition, &batch.bytes))
            });
            let partitions = answers.collect();
            let (request, throttle) = (request.request, Duration::ZERO);
            self.handle(Event::ProduceResponse { request, throttle, partitions });
        }
    }
}

pub(super) fn identity(id: i64, epoch: i16) -> ProducerIdentity {
    ProducerIdentity { id: ProducerId(id), epoch: ProducerEpoch(epoch) }
}

pub(super) fn header(bytes: &[u8]) -> RecordBatchHeader {
    let (batch, rest) = RecordBatchRef::parse(bytes).unwrap();
    assert!(rest.is_empty(), "one batch a partition");
    batch.verify_crc().unwrap();
    *batch.header()
}

pub(super) fn leaders(leader: BrokerId, leader_epoch: i32) -> TopicLeaders {
    leaders_of(TopicId([1; 16]), Some(leader), leader_epoch)
}

pub(super) fn leaders_of(
    topic_id: TopicId,
    leader: Option<BrokerId>,
    leader_epoch: i32,
) -> TopicLeaders {
    let leader_of = |index| PartitionLeader {
        partition: PartitionIndex(index),
        leader,
        leader_epoch: LeaderEpoch(leader_epoch),
        is_near: false,
    };
    TopicLeaders { topic: TOPIC.into(), topic_id, partitions: (0..6).map(leader_of).collect() }
}

/// Metadata that doesn't know the topic.
pub(super) fn unknown_topic() -> TopicLeaders {
    TopicLeaders { topic: TOPIC.into(), topic_id: TopicId::ZERO, partitions: Vec::new() }
}

pub(super) fn result(delivery: &Delivery) -> Result<RecordMetadata, Arc<DeliveryFailure>> {
    delivery.result().expect("the record's end is known")
}

pub(super) fn offset(delivery: &Delivery) -> Option<i64> {
    result(delivery).unwrap().offset.map(|offset| offset.0)
}

pub(super) fn offsets(deliveries: &[Delivery]) -> Vec<i64> {
    deliveries.iter().map(|delivery| offset(delivery).unwrap()).collect()
}

pub(super) fn failure(delivery: &Delivery) -> Arc<DeliveryFailure> {
    result(delivery).unwrap_err()
}

/// What Kafka's log does about sequences: refuses gaps, knows the last five batches, and lets a
/// producer begin only at 0.
#[derive(Default)]
pub(super) struct StrictLog {
    pub(super) partitions: Map<TopicPartition, PartitionLog>,
    /// Batches of more bytes are too large.
    pub(super) batch_bytes_max: Option<usize>,
}

#[derive(Default)]
pub(super) struct PartitionLog {
    pub(super) records: Vec<Vec<u8>>,
    producers: Map<ProducerId, ProducerLog>,
}

struct ProducerLog {
    epoch: ProducerEpoch,
    /// (base sequence, records, base offset) of the last five batches.
    last: VecDeque<(SequenceNumber, i32, i64)>,
}

impl StrictLog {
    pub(super) fn append(&mut self, tp: &TopicPartition, bytes: &[u8]) -> PartitionAnswer {
        let (error, base_offset) = match self.try_append(tp, bytes) {
            Ok(base_offset) => (ErrorCode::None, base_offset),
            Err(error) => (error, -1),
        };
        let log_append_time = TimestampMs::NONE;
        PartitionAnswer { error, base_offset: Offset(base_offset), log_append_time }
    }

    fn try_append(&mut self, tp: &TopicPartition, bytes: &[u8]) -> Result<i64, ErrorCode> {
        let header = header(bytes);
        if self.batch_bytes_max.is_some_and(|bytes_max| bytes.len() > bytes_max) {
            return Err(ErrorCode::MessageTooLarge);
        }
        let log = self.partitions.entry(tp.clone()).or_default();
        let base_offset = log.records.len() as i64;
        if header.producer_id != ProducerId::NONE {
            let fresh = || ProducerLog { epoch: header.producer_epoch, last: VecDeque::new() };
            let producer = log.producers.entry(header.producer_id).or_insert_with(fresh);
            if header.producer_epoch < producer.epoch {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            if header.producer_epoch > producer.epoch {
                *producer = fresh();
            }
            let entry = (header.base_sequence, header.record_count);
            if let Some(known) = producer.last.iter().find(|(s, count, _)| (*s, *count) == entry) {
                return Ok(known.2);
            }
            let expected = producer
                .last
                .back()
                .map_or(SequenceNumber::ZERO, |(sequence, count, _)| sequence.plus(*count));
            if header.base_sequence != expected {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            producer.last.push_back((header.base_sequence, header.record_count, base_offset));
            if producer.last.len() > 5 {
                producer.last.pop_front();
            }
        }
        log.records.extend(values(bytes));
        Ok(base_offset)
    }

    /// The broker has forgotten every producer, as after `producer.id.expiration.ms`.
    pub(super) fn forget_producers(&mut self) {
        self.partitions.values_mut().for_each(|log| log.producers.clear());
    }

    pub(super) fn values(&self, partition: i32) -> Vec<String> {
        let tp = TopicPartition::new(TOPIC, PartitionIndex(partition));
        let records = self.partitions.get(&tp).map_or(&[][..], |log| &log.records);
        records.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }
}

pub(super) fn values(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (batch, _) = RecordBatchRef::parse(bytes).unwrap();
    let mut decompressor = Decompressor::new(1 << 20);
    let records = batch.records(&mut decompressor).unwrap();
    records.map(|record| record.unwrap().value.unwrap_or(b"").to_vec()).collect()
}

pub(super) fn codec(codec: Codec) -> streamledger_protocol::compression::Compression {
    streamledger_protocol::compression::Compression::of(codec)
}
