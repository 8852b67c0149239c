//! The consumer against brokers that behave, move, stall, lie and come back.

mod group;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use streamledger_protocol::compression::CompressionScratch;
use streamledger_protocol::messages::fetch::{
    FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use streamledger_protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use streamledger_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use streamledger_protocol::messages::{
    AnyRequest, AnyResponse, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataResponse,
};
use streamledger_protocol::record_batch::{BatchSeal, RecordBatchBuilder, patch_base_offset};
use streamledger_protocol::{
    BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId, TopicPartition,
};

use super::*;
use crate::config::ServerAddress;
use crate::network::test_server::{Answer, FakeBroker, on_io_thread};

const TOPIC_ID: TopicId = TopicId([3; 16]);
const LONG: Duration = Duration::from_secs(60);

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("clicks", PartitionIndex(partition))
}

/// A batch in a broker's log, with its first and last offset.
type StoredBatch = (i64, i64, Vec<u8>);

/// A broker's log: for each partition its batches.
#[derive(Clone, Default)]
struct Logs(Rc<RefCell<BTreeMap<i32, Vec<StoredBatch>>>>);

impl Logs {
    /// Appends a batch of records whose values are their offsets.
    fn append(&self, partition: i32, base: i64, record_count: i64) -> &Self {
        let mut builder = RecordBatchBuilder::with_capacity(1024);
        for offset in base..base + record_count {
            builder.append(TimestampMs(offset), None, Some(offset.to_string().as_bytes()), &[]);
        }
        let seal = BatchSeal::default();
        let sealed = builder.seal(&seal, &mut CompressionScratch::new()).unwrap();
        let mut batch = sealed.bytes.to_vec();
        patch_base_offset(&mut batch, Offset(base));
        self.append_raw(partition, base, base + record_count - 1, batch)
    }

    fn append_raw(&self, partition: i32, base: i64, last: i64, batch: Vec<u8>) -> &Self {
        self.0.borrow_mut().entry(partition).or_default().push((base, last, batch));
        self
    }

    /// The batches from the one that holds the offset on.
    fn read(&self, partition: i32, offset: i64) -> Bytes {
        let logs = self.0.borrow();
        let Some(batches) = logs.get(&partition) else { return Bytes::new() };
        let wanted = batches.iter().filter(|(_, last, _)| *last >= offset);
        wanted.flat_map(|(_, _, batch)| batch.clone()).collect::<Vec<_>>().into()
    }
}

fn topics_of(request: &FetchRequest) -> Vec<(i32, i64)> {
    let topics = request.topics.iter();
    let partitions = topics.flat_map(|topic| {
        assert_eq!(topic.topic_id, TOPIC_ID);
        topic.partitions.iter().map(|p| (p.partition.0, p.fetch_offset.0))
    });
    partitions.collect()
}

fn fetched(partitions: Vec<PartitionData>) -> FetchResponse {
    let topic = FetchableTopicResponse { topic_id: TOPIC_ID, partitions, ..Default::default() };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

/// Answers a fetch from the logs; with nothing to give it waits a little, as brokers do.
fn fetch(logs: &Logs, request: &FetchRequest) -> Answer {
    let partitions: Vec<_> = topics_of(request)
        .into_iter()
        .map(|(partition, offset)| PartitionData {
            partition_index: PartitionIndex(partition),
            records: Some(logs.read(partition, offset).into()),
            high_watermark: Offset(1000),
            ..Default::default()
        })
        .collect();
    let is_empty = partitions.iter().all(|data| data.records.as_ref().unwrap().is_empty());
    let response = AnyResponse::Fetch(fetched(partitions));
    match is_empty {
        true => Answer::RespondAfter(Duration::from_millis(20), response),
        false => Answer::Respond(response),
    }
}

/// The beginning is offset 0, the end 100.
fn list_offsets(request: &ListOffsetsRequest) -> Answer {
    let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| ListOffsetsPartitionResponse {
                partition_index: partition.partition_index,
                offset: Offset(if partition.timestamp == TimestampMs(-1) { 100 } else { 0 }),
                ..Default::default()
            })
            .collect(),
    });
    let response = ListOffsetsResponse { topics: topics.collect(), ..Default::default() };
    Answer::Respond(AnyResponse::ListOffsets(response))
}

/// Metadata of a cluster whose brokers are numbered from 1 in that order, with partitions 0 and 1.
fn metadata(brokers: &[ServerAddress], leaders: [(i32, i32); 2]) -> Answer {
    let brokers = (1..).zip(brokers).map(|(id, address)| MetadataResponseBroker {
        node_id: BrokerId(id),
        host: address.host.clone(),
        port: i32::from(address.port),
        ..Default::default()
    });
    let partitions = (0..).zip(leaders).map(|(index, (leader, epoch))| MetadataResponsePartition {
        partition_index: PartitionIndex(index),
        leader_id: BrokerId(leader),
        leader_epoch: LeaderEpoch(epoch),
        ..Default::default()
    });
    let topic = MetadataResponseTopic {
        name: Some("clicks".into()),
        topic_id: TOPIC_ID,
        partitions: partitions.collect(),
        ..Default::default()
    };
    let (brokers, topics) = (brokers.collect(), vec![topic]);
    Answer::Respond(AnyResponse::Metadata(MetadataResponse {
        brokers,
        topics,
        ..Default::default()
    }))
}

/// One broker that leads both partitions; fetches are the closure's to answer.
async fn one_broker(mut fetches: impl FnMut(&FetchRequest) -> Answer + 'static) -> FakeBroker {
    let own = Rc::new(OnceCell::<ServerAddress>::new());
    let told = Rc::clone(&own);
    let broker = FakeBroker::start(move |_, request| match request {
        AnyRequest::Metadata(_) => {
            metadata(std::slice::from_ref(told.get().unwrap()), [(1, 0), (1, 0)])
        }
        AnyRequest::ListOffsets(request) => list_offsets(request),
        AnyRequest::Fetch(request) => fetches(request),
        _ => Answer::Close,
    })
    .await;
    own.set((*broker.address).clone()).unwrap();
    broker
}

fn consumer(servers: &impl ToString, settings: &[(&str, &str)]) -> Consumer {
    let quick = [("retry.backoff.ms", "5"), ("reconnect.backoff.ms", "5")];
    let builder = ConsumerConfig::builder().bootstrap_servers(&servers.to_string());
    let settings = quick.iter().chain(settings);
    let builder = settings.fold(builder, |builder, (name, value)| builder.set(*name, *value));
    Consumer::new(builder.build().unwrap()).unwrap()
}

/// So many records, as partition and offset; each value must be its offset.
async fn read(consumer: &Consumer, record_count: usize) -> Vec<(i32, i64)> {
    let mut records = Vec::new();
    while records.len() < record_count {
        let polled = consumer.poll_async(LONG).await.unwrap();
        assert!(!polled.is_empty(), "only {records:?} came");
        for record in polled {
            assert_eq!(record.value.unwrap(), record.offset.0.to_string());
            records.push((record.topic_partition.partition.0, record.offset.0));
        }
    }
    records
}

#[test]
fn records_come_once_and_in_order_of_their_partition() {
    on_io_thread(async {
        let logs = Logs::default();
        logs.append(0, 0, 3).append(0, 3, 2).append(1, 0, 4);
        let broker = one_broker(move |request| fetch(&logs, request)).await;
        let consumer = consumer(&broker.address, &[("max.poll.records", "2")]);
        consumer.assign(&[(tp(0), Position::Beginning), (tp(1), Position::Offset(Offset(1)))]);
        assert_eq!(consumer.position(&tp(1)), Some(Offset(1)));
        let records = read(&consumer, 8).await;
        let of = |partition| -> Vec<i64> {
            records.iter().filter(|(p, _)| *p == partition).map(|(_, offset)| *offset).collect()
        };
        assert_eq!(of(0), [0, 1, 2, 3, 4]);
        assert_eq!(of(1), [1, 2, 3]);
        assert!(consumer.poll_async(Duration::from_millis(60)).await.unwrap().is_empty());
        assert_eq!(consumer.position(&tp(0)), Some(Offset(5)));
        assert_eq!(consumer.assignment(), [tp(0), tp(1)]);
    });
}

#[test]
fn a_record_shown_where_it_lies_is_the_same() {
    on_io_thread(async {
        let logs = Logs::default();
        logs.append(0, 0, 100);
        let broker = one_broker(move |request| fetch(&logs, request)).await;
        let consumer = consumer(&broker.address, &[]);
        consumer.assign(&[(tp(0), Position::Beginning)]);
        let (done, is_done) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut offsets = Vec::new();
            while offsets.len() < 100 {
                let visit = |record: RecordView<'_>| {
                    assert_eq!(record.value.unwrap(), record.offset.0.to_string().as_bytes());
                    assert_eq!(record.headers().count(), 0);
                    offsets.push(record.offset.0);
                };
                assert!(consumer.poll_with(LONG, visit).unwrap() > 0);
            }
            done.send(offsets).unwrap();
        });
        assert_eq!(is_done.await.unwrap(), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn a_seek_drops_what_was_fetched_before_it() {
    on_io_thread(async {
        let logs = Logs::default();
        logs.append(0, 0, 10).append(0, 10, 10);
        let broker = one_broker(move |request| fetch(&logs, request)).await;
        let consumer = consumer(&broker.address, &[("max.poll.records", "3")]);
        consumer.assign(&[(tp(0), Position::Beginning)]);
        assert_eq!(read(&consumer, 3).await, [(0, 0), (0, 1), (0, 2)]);
        consumer.seek(&tp(0), Position::Offset(Offset(15))).unwrap();
        assert_eq!(consumer.position(&tp(0)), Some(Offset(15)));
        assert_eq!(read(&consumer, 3).await, [(0, 15), (0, 16), (0, 17)]);
        consumer.seek(&tp(0), Position::Beginning).unwrap();
        assert_eq!(read(&consumer, 1).await[0], (0, 0));
        let error = consumer.seek(&tp(7), Position::End).unwrap_err();
        assert_eq!(error, ConsumerError::NotAssigned(tp(7)));
    });
}

/// Two brokers; the first leads until it is asked for what only the second has.
async fn moving_leader(is_hinting: bool) -> [FakeBroker; 2] {
    let logs = Logs::default();
    logs.append(0, 0, 3).append(0, 3, 3);
    let addresses = Rc::new(OnceCell::<Vec<ServerAddress>>::new());
    let has_moved = Rc::new(Cell::new(false));
    let start = |id: i32| {
        let (logs, addresses) = (logs.clone(), Rc::clone(&addresses));
        let has_moved = Rc::clone(&has_moved);
        FakeBroker::start(move |_, request| match request {
            AnyRequest::Metadata(_) => {
                let leader = if has_moved.get() { (2, 1) } else { (1, 0) };
                metadata(addresses.get().unwrap(), [leader, leader])
            }
            AnyRequest::Fetch(request) if id == 1 && topics_of(request)[0].1 >= 3 => {
                has_moved.set(true);
                moved(&addresses.get().unwrap()[1], is_hinting)
            }
            AnyRequest::Fetch(request) if id == 1 => {
                let first_batch = Logs::default();
                fetch(first_batch.append(0, 0, 3), request)
            }
            AnyRequest::Fetch(request) => {
                let epoch = request.topics[0].partitions[0].current_leader_epoch;
                assert_eq!(epoch, LeaderEpoch(1));
                fetch(&logs, request)
            }
            _ => Answer::Close,
        })
    };
    let brokers = [start(1).await, start(2).await];
    addresses.set(brokers.iter().map(|broker| (*broker.address).clone()).collect()).unwrap();
    brokers
}

/// The answer of a broker that leads no more; it may say who does.
fn moved(second: &ServerAddress, is_hinting: bool) -> Answer {
    let mut data = PartitionData {
        partition_index: PartitionIndex(0),
        error_code: ErrorCode::NotLeaderOrFollower,
        ..Default::default()
    };
    if is_hinting {
        data.current_leader =
            LeaderIdAndEpoch { leader_id: BrokerId(2), leader_epoch: LeaderEpoch(1) };
    }
    let endpoint = NodeEndpoint {
        node_id: BrokerId(2),
        host: second.host.clone(),
        port: i32::from(second.port),
        rack: None,
    };
    let response = FetchResponse { node_endpoints: vec![endpoint], ..fetched(vec![data]) };
    Answer::Respond(AnyResponse::Fetch(response))
}

#[test]
fn the_leader_moves_and_reading_goes_on_at_the_next() {
    on_io_thread(async {
        for is_hinting in [false, true] {
            let brokers = moving_leader(is_hinting).await;
            let consumer = consumer(&brokers[0].address, &[]);
            consumer.assign(&[(tp(0), Position::Offset(Offset(0)))]);
            let records = read(&consumer, 6).await;
            assert_eq!(records, (0..6).map(|offset| (0, offset)).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_replica_nearby_is_read_where_the_leader_names_it() {
    on_io_thread(async {
        let logs = Logs::default();
        logs.append(0, 0, 3).append(0, 3, 3);
        let addresses = Rc::new(OnceCell::<Vec<ServerAddress>>::new());
        let start = |id: i32| {
            let (logs, addresses) = (logs.clone(), Rc::clone(&addresses));
            FakeBroker::start(move |_, request| match request {
                AnyRequest::Metadata(_) => metadata(addresses.get().unwrap(), [(1, 0), (1, 0)]),
                AnyRequest::Fetch(request) if id == 1 => {
                    assert_eq!(request.rack_id, "nearby");
                    let data = PartitionData {
                        partition_index: PartitionIndex(0),
                        preferred_read_replica: BrokerId(2),
                        ..Default::default()
                    };
                    Answer::Respond(AnyResponse::Fetch(fetched(vec![data])))
                }
                AnyRequest::Fetch(request) => fetch(&logs, request),
                _ => Answer::Close,
            })
        };
        let brokers = [start(1).await, start(2).await];
        let told = brokers.iter().map(|broker| (*broker.address).clone()).collect();
        addresses.set(told).unwrap();
        let consumer = consumer(&brokers[0].address, &[("client.rack", "nearby")]);
        consumer.assign(&[(tp(0), Position::Offset(Offset(0)))]);
        let records = read(&consumer, 6).await;
        assert_eq!(records, (0..6).map(|offset| (0, offset)).collect::<Vec<_>>());
    });
}

#[test]
fn a_broker_that_hangs_up_again_and_again_costs_no_record_and_doubles_none() {
    on_io_thread(async {
        let logs = Logs::default();
        (0..20).for_each(|batch| {
            logs.append(0, batch * 5, 5);
        });
        let count = Cell::new(0);
        let broker = one_broker(move |request| {
            count.set(count.get() + 1);
            let one_at_a_time = Logs::default();
            let (_, offset) = topics_of(request)[0];
            if offset < 100 {
                one_at_a_time.append(0, offset - offset % 5, 5);
            }
            if count.get() % 3 == 0 { Answer::Close } else { fetch(&one_at_a_time, request) }
        })
        .await;
        let consumer = consumer(&broker.address, &[]);
        consumer.assign(&[(tp(0), Position::Offset(Offset(2)))]);
        let records = read(&consumer, 98).await;
        assert_eq!(records, (2..100).map(|offset| (0, offset)).collect::<Vec<_>>());
    });
}

#[test]
fn a_damaged_batch_is_an_error_that_says_where_to_go_on() {
    on_io_thread(async {
        let logs = Logs::default();
        let bad = Logs::default();
        bad.append(0, 3, 2);
        let mut bytes = bad.read(0, 3).to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        logs.append(0, 0, 3).append_raw(0, 3, 4, bytes).append(0, 5, 2).append(1, 0, 1);
        let broker = one_broker(move |request| fetch(&logs, request)).await;
        let consumer = consumer(&broker.address, &[]);
        consumer.assign(&[(tp(0), Position::Offset(Offset(0)))]);
        assert_eq!(read(&consumer, 3).await, [(0, 0), (0, 1), (0, 2)]);
        let error = consumer.poll_async(LONG).await.unwrap_err();
        let ConsumerError::Unreadable { offset, skip_to, .. } = &error else { panic!("{error}") };
        assert_eq!((*offset, *skip_to), (Offset(3), Some(Offset(5))));
        assert!(error.to_string().ends_with("; seek to 5 to go on after it"), "{error}");
        assert_eq!(consumer.position(&tp(0)), Some(Offset(3)));
        assert!(consumer.poll_async(Duration::from_millis(60)).await.unwrap().is_empty());
        consumer.seek(&tp(0), Position::Offset(Offset(5))).unwrap();
        assert_eq!(read(&consumer, 2).await, [(0, 5), (0, 6)]);
    });
}

/// FAILURES 60: none of it is believed, and none of it ends the consumer.
#[test]
fn a_broker_that_lies_does_no_harm() {
    on_io_thread(async {
        let logs = Logs::default();
        logs.append(0, 0, 3);
        let count = Cell::new(0);
        let broker = one_broker(move |request| {
            count.set(count.get() + 1);
            let strange = |partition: i32, records: Vec<u8>| {
                let response = fetched(vec![PartitionData {
                    partition_index: PartitionIndex(partition),
                    records: Some(records.into()),
                    ..Default::default()
                }]);
                Answer::Respond(AnyResponse::Fetch(response))
            };
            match count.get() {
                1 => Answer::Raw((-1_i32).to_be_bytes().to_vec()),
                2 => Answer::Raw(vec![0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff]),
                3 => strange(i32::MAX, vec![7; 100]),
                4 => Answer::Respond(AnyResponse::Fetch(FetchResponse {
                    error_code: ErrorCode::Unknown(999),
                    ..Default::default()
                })),
                5 => Answer::Respond(AnyResponse::Fetch(FetchResponse::default())),
                _ => fetch(&logs, request),
            }
        })
        .await;
        let consumer = consumer(&broker.address, &[]);
        consumer.assign(&[(tp(0), Position::Offset(Offset(0)))]);
        assert_eq!(read(&consumer, 3).await, [(0, 0), (0, 1), (0, 2)]);
    });
}

#[test]
fn records_that_are_no_records_are_an_error() {
    on_io_thread(async {
        for bytes in [vec![0; 11], vec![0xff; 200], vec![0; 200]] {
            let logs = Logs::default();
            logs.append_raw(0, 0, 9, [bytes, vec![0; 61]].concat());
            let broker = one_broker(move |request| fetch(&logs, request)).await;
            let consumer = consumer(&broker.address, &[]);
            consumer.assign(&[(tp(0), Position::Offset(Offset(0)))]);
            let error = consumer.poll_async(LONG).await.unwrap_err();
            assert!(matches!(error, ConsumerError::Unreadable { .. }), "{error}");
        }
    });
}

#[test]
fn brokers_that_are_not_there_are_told_of_by_polls_and_calls() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = listener.local_addr().unwrap().to_string();
    drop(listener);
    let settings = [
        ("default.api.timeout.ms", "200"),
        ("request.timeout.ms", "150"),
        ("fetch.max.wait.ms", "100"),
    ];
    let consumer = consumer(&dead, &settings);
    let error = consumer.end_offsets(&[tp(0)]).unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains(&dead), "{error}");
    let error = consumer.partitions_for("clicks").unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    consumer.assign(&[(tp(0), Position::Beginning)]);
    let error = consumer.poll(LONG).unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains(&dead), "{error}");
}

#[test]
fn a_leader_that_answers_nothing_is_told_of_and_then_read_from() {
    on_io_thread(async {
        let logs = Logs::default();
        logs.append(0, 0, 3);
        let is_well = Rc::new(Cell::new(false));
        let sees = Rc::clone(&is_well);
        let answer =
            move |request: &_| if sees.get() { fetch(&logs, request) } else { Answer::Close };
        let broker = one_broker(answer).await;
        let consumer = consumer(&broker.address, &[("default.api.timeout.ms", "300")]);
        consumer.assign(&[(tp(0), Position::Offset(Offset(0)))]);
        // Metadata comes all the while: nobody is unreachable, and yet nothing goes on.
        let error = consumer.poll_async(LONG).await.unwrap_err();
        assert!(matches!(error, ConsumerError::Silent { broker: BrokerId(1), .. }), "{error}");
        assert!(error.to_string().contains("closed the connection"), "{error}");
        is_well.set(true);
        assert_eq!(read(&consumer, 3).await, [(0, 0), (0, 1), (0, 2)]);
    });
}

#[test]
fn several_pollers_share_the_records() {
    on_io_thread(async {
        let logs = Logs::default();
        (0..50).for_each(|batch| {
            logs.append(0, batch * 10, 10);
        });
        let broker = one_broker(move |request| fetch(&logs, request)).await;
        let consumer = consumer(&broker.address, &[("max.poll.records", "7")]);
        consumer.assign(&[(tp(0), Position::Beginning)]);
        let (done, mut all_done) = tokio::sync::mpsc::unbounded_channel();
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let (consumer, done, count) = (consumer.clone(), done.clone(), Arc::clone(&count));
            std::thread::spawn(move || {
                let mut offsets = Vec::new();
                let until = Instant::now() + LONG;
                while count.load(Ordering::Relaxed) < 500 && Instant::now() < until {
                    let records = consumer.poll(Duration::from_millis(300)).unwrap();
                    count.fetch_add(records.len(), Ordering::Relaxed);
                    offsets.extend(records.iter().map(|record| record.offset.0));
                }
                done.send(offsets).unwrap();
            });
        }
        drop(done);
        let mut offsets = Vec::new();
        while let Some(some) = all_done.recv().await {
            offsets.extend(some);
        }
        offsets.sort_unstable();
        assert_eq!(offsets, (0..500).collect::<Vec<_>>());
    });
}

#[test]
fn a_dropped_poll_loses_no_record() {
    on_io_thread(async {
        let logs = Logs::default();
        logs.append(0, 0, 20);
        let broker = one_broker(move |request| fetch(&logs, request)).await;
        let consumer = consumer(&broker.address, &[("max.poll.records", "1")]);
        for _ in 0..10 {
            let poll = consumer.poll_async(LONG);
            let _ = futures_util::FutureExt::now_or_never(poll);
        }
        consumer.assign(&[(tp(0), Position::Beginning)]);
        let mut offsets = Vec::new();
        while offsets.len() < 20 {
            let poll = tokio::time::timeout(Duration::from_millis(1), consumer.poll_async(LONG));
            if let Ok(records) = poll.await {
                offsets.extend(records.unwrap().iter().map(|record| record.offset.0));
            }
        }
        assert_eq!(offsets, (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn a_blocking_poll_works_inside_anothers_runtime_and_ends_in_time() {
    let consumer = consumer(&"127.0.0.1:1", &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = Instant::now();
    let records = runtime.block_on(async { consumer.poll(Duration::from_millis(50)) });
    assert!(records.unwrap().is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(50) && begun.elapsed() < LONG);
}

#[test]
fn positions_are_found_where_they_are_not_given() {
    on_io_thread(async {
        let logs = Logs::default();
        logs.append(0, 0, 200);
        let broker = one_broker(move |request| fetch(&logs, request)).await;
        let consumer = consumer(&broker.address, &[]);
        let end = consumer.end_offsets_async(&[tp(1), tp(0)]).await.unwrap();
        assert_eq!(end, [Offset(100), Offset(100)]);
        let beginning = consumer.beginning_offsets_async(&[tp(0)]).await.unwrap();
        assert_eq!(beginning, [Offset(0)]);
        assert_eq!(consumer.partitions_for_async("clicks").await.unwrap(), [tp(0), tp(1)]);
        consumer.assign(&[(tp(0), Position::Reset)]);
        assert_eq!(read(&consumer, 1).await[0], (0, 100), "auto.offset.reset is latest");
    });
}
