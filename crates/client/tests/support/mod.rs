//! A cluster of one broker for tests, on threads of its own: it keeps what it is sent, or only
//! counts it, and misbehaves on demand.

#![allow(clippy::unwrap_used, reason = "a test ends where its broker can't go on")]
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use streamledger::{ProducerConfig, Properties};
use streamledger_protocol::compression::Decompressor;
use streamledger_protocol::frame::{RequestHeader, encode_response};
use streamledger_protocol::messages::api_versions::ApiVersionRange;
use streamledger_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use streamledger_protocol::messages::produce::{
    LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse,
};
use streamledger_protocol::messages::{
    AnyRequest, ApiVersionsResponse, GetTelemetrySubscriptionsResponse, InitProducerIdResponse,
    MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, PushTelemetryRequest,
    PushTelemetryResponse, decode_request_frame,
};
use streamledger_protocol::record_batch::{RecordBatchHeader, RecordBatchRef};
use streamledger_protocol::{
    ApiKey, ApiVersion, BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch,
    ProducerId, TopicId, TopicName,
};

/// A record as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What to do with one produce request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answer with this error and keep nothing.
    Error(ErrorCode),
    /// Keep the records and close the connection without an answer.
    LoseAnswer,
    /// Answer after this long.
    Delay(Duration),
}

/// The broker's state, seen by the test.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) partition_count: Mutex<i32>,
    pub(crate) logs: Mutex<BTreeMap<(TopicName, i32), Vec<Stored>>>,
    last_batches: Mutex<BTreeMap<(i64, TopicName, i32), LastBatches>>,
    pub(crate) faults: Mutex<VecDeque<Fault>>,
    pub(crate) topic_error: Mutex<Option<ErrorCode>>,
    /// Only count records, by the headers of their batches.
    pub(crate) counting_only: AtomicBool,
    /// Answer no produce request at all.
    pub(crate) silent: AtomicBool,
    pub(crate) records: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) batches: AtomicU64,
    /// The versions it has, lowest and highest by API number, if not all that are known here.
    pub(crate) versions: Mutex<BTreeMap<i16, (i16, i16)>>,
    /// What it says of metrics, if it takes them, and those it was sent.
    pub(crate) telemetry: Mutex<Telemetry>,
    /// The versions it was asked in, by API number.
    pub(crate) asked: Mutex<BTreeMap<i16, BTreeSet<i16>>>,
}

/// A broker's part of client telemetry.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    /// What it wants; it takes no metrics without.
    pub(crate) subscription: Option<GetTelemetrySubscriptionsResponse>,
    /// Answers to the next pushes; after them each is accepted.
    pub(crate) errors: VecDeque<ErrorCode>,
    /// Answer no push at all.
    pub(crate) is_silent: bool,
    pub(crate) pushes: Vec<PushTelemetryRequest>,
}

/// Base sequence, records and base offset of a producer's last five batches.
type LastBatches = VecDeque<(i32, i32, i64)>;

/// A broker on loopback. Its threads end with the process.
pub(crate) struct FakeCluster {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<State>,
}

impl FakeCluster {
    /// Starts a broker that has every topic, with so many partitions.
    pub(crate) fn start(partition_count: i32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        *state.partition_count.lock().unwrap() = partition_count;
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // A connection that ends is no news.
                    let _ = serve(stream, address, &state);
                });
            }
        });
        Self { address, state }
    }

    /// A configuration for this broker, with these settings beside.
    pub(crate) fn config(&self, settings: &[(&str, &str)]) -> ProducerConfig {
        let bootstrap = ("bootstrap.servers", self.address.to_string());
        let mut properties = Properties::new().with(bootstrap.0, bootstrap.1);
        for (name, value) in settings {
            properties = properties.with(*name, *value);
        }
        ProducerConfig::from_properties(&properties).unwrap()
    }

    pub(crate) fn stored(&self, topic: &str, partition: i32) -> Vec<Stored> {
        let logs = self.state.logs.lock().unwrap();
        logs.get(&(topic.into(), partition)).cloned().unwrap_or_default()
    }

    pub(crate) fn values(&self, topic: &str, partition: i32) -> Vec<String> {
        let text = |stored: Stored| String::from_utf8(stored.value.unwrap_or_default()).unwrap();
        self.stored(topic, partition).into_iter().map(text).collect()
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.state.faults.lock().unwrap().push_back(fault);
    }
}

fn serve(mut stream: TcpStream, address: SocketAddr, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut frame = Vec::new();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        frame.resize(u32::from_be_bytes(length) as usize, 0);
        stream.read_exact(&mut frame)?;
        let (header, request) = decode_request_frame(Bytes::copy_from_slice(&frame)).unwrap();
        let Some(answer) = answer(&header, request, address, state) else { return Ok(()) };
        stream.write_all(&answer)?;
    }
}

/// The whole response frame: empty for no answer, none for the connection's end.
fn answer(
    header: &RequestHeader,
    request: AnyRequest,
    address: SocketAddr,
    state: &State,
) -> Option<Vec<u8>> {
    let (id, version) = (header.correlation_id, header.api_version);
    state.asked.lock().unwrap().entry(header.api_key).or_default().insert(version.0);
    let frame = match request {
        AnyRequest::ApiVersions(_) => {
            let (response, version) = api_versions(version, state);
            encode_response(id, version, &response)
        }
        AnyRequest::Metadata(request) => {
            encode_response(id, version, &metadata(&request, address, state))
        }
        AnyRequest::InitProducerId(_) => {
            let response = InitProducerIdResponse {
                producer_id: ProducerId(1000),
                producer_epoch: ProducerEpoch(0),
                ..Default::default()
            };
            encode_response(id, version, &response)
        }
        AnyRequest::Produce(request) => {
            let acks = request.acks;
            let response = produce(request, state)?;
            if acks == 0 || state.silent.load(Ordering::Relaxed) {
                return Some(Vec::new());
            }
            encode_response(id, version, &response)
        }
        AnyRequest::GetTelemetrySubscriptions(_) => {
            let wanted = state.telemetry.lock().unwrap().subscription.clone().unwrap();
            encode_response(id, version, &wanted)
        }
        AnyRequest::PushTelemetry(push) => {
            let mut telemetry = state.telemetry.lock().unwrap();
            telemetry.pushes.push(push);
            if telemetry.is_silent {
                return Some(Vec::new());
            }
            let error_code = telemetry.errors.pop_front().unwrap_or(ErrorCode::None);
            if error_code == ErrorCode::UnknownSubscriptionId {
                telemetry.subscription.as_mut().unwrap().subscription_id += 1;
            }
            let response = PushTelemetryResponse { error_code, ..Default::default() };
            encode_response(id, version, &response)
        }
        other => panic!("a request that a producer doesn't send: {other:?}"),
    };
    Some(frame.unwrap().into_bytes().to_vec())
}

/// The answer, and the version it is in: 0 with an error to one the broker doesn't have (KIP-511).
fn api_versions(asked: ApiVersion, state: &State) -> (ApiVersionsResponse, ApiVersion) {
    let versions = state.versions.lock().unwrap();
    let range = |code: i16, min: i16, max: i16| ApiVersionRange {
        api_key: code,
        min_version: ApiVersion(min),
        max_version: ApiVersion(max),
    };
    let takes_metrics = state.telemetry.lock().unwrap().subscription.is_some();
    let is_served = |api: &&ApiKey| {
        takes_metrics || !matches!(api, ApiKey::GetTelemetrySubscriptions | ApiKey::PushTelemetry)
    };
    let all = ApiKey::ALL
        .iter()
        .filter(is_served)
        .map(|api| range(api.code(), *api.valid_versions().start(), *api.valid_versions().end()));
    let given = versions.iter().map(|(code, (min, max))| range(*code, *min, *max));
    let api_keys = if versions.is_empty() { all.collect() } else { given.collect() };
    let highest = versions.get(&ApiKey::ApiVersions.code()).map_or(i16::MAX, |range| range.1);
    let is_known = asked.0 <= highest;
    let error_code = if is_known { ErrorCode::None } else { ErrorCode::UnsupportedVersion };
    let response = ApiVersionsResponse { error_code, api_keys, ..Default::default() };
    (response, if is_known { asked } else { ApiVersion(0) })
}

fn topic_id(name: &TopicName) -> TopicId {
    let mut id = [1; 16];
    for (place, byte) in name.as_str().bytes().enumerate() {
        id[place % 16] ^= byte.rotate_left(place as u32 % 7);
    }
    TopicId(id)
}

fn metadata(request: &MetadataRequest, address: SocketAddr, state: &State) -> MetadataResponse {
    let broker = MetadataResponseBroker {
        node_id: BrokerId(0),
        host: address.ip().to_string(),
        port: i32::from(address.port()),
        rack: None,
    };
    let count = *state.partition_count.lock().unwrap();
    let error = *state.topic_error.lock().unwrap();
    let partition = |index| MetadataResponsePartition {
        partition_index: PartitionIndex(index),
        leader_id: BrokerId(0),
        leader_epoch: LeaderEpoch(0),
        replica_nodes: vec![BrokerId(0)],
        isr_nodes: vec![BrokerId(0)],
        ..Default::default()
    };
    let topics = request.topics.iter().flatten().map(|topic| {
        let name = topic.name.clone().unwrap();
        let count = if error.is_some() { 0 } else { count };
        MetadataResponseTopic {
            error_code: error.unwrap_or(ErrorCode::None),
            topic_id: topic_id(&name),
            name: Some(name),
            partitions: (0..count).map(partition).collect(),
            ..Default::default()
        }
    });
    MetadataResponse {
        brokers: vec![broker],
        controller_id: BrokerId(0),
        topics: topics.collect(),
        ..Default::default()
    }
}

/// Keeps or counts the records; none if the connection is to end.
fn produce(request: ProduceRequest, state: &State) -> Option<ProduceResponse> {
    state.requests.fetch_add(1, Ordering::Relaxed);
    let fault = state.faults.lock().unwrap().pop_front();
    if let Some(Fault::Delay(delay)) = fault {
        std::thread::sleep(delay);
    }
    let mut responses = Vec::new();
    for topic in request.topic_data {
        let partition_responses = topic.partition_data.iter().map(|partition| {
            let batch = partition.records.as_ref().unwrap();
            let appended = match fault {
                Some(Fault::Error(error)) => Err(error),
                _ => append(topic.topic_id, &topic.name, partition.index.0, batch, state),
            };
            PartitionProduceResponse {
                index: partition.index,
                error_code: appended.err().unwrap_or(ErrorCode::None),
                base_offset: Offset(appended.unwrap_or(-1)),
                current_leader: LeaderIdAndEpoch::default(),
                ..Default::default()
            }
        });
        responses.push(TopicProduceResponse {
            partition_responses: partition_responses.collect(),
            name: topic.name.clone(),
            topic_id: topic.topic_id,
        });
    }
    (fault != Some(Fault::LoseAnswer)).then(|| ProduceResponse { responses, ..Default::default() })
}

/// As a strict log: sequences without gaps, duplicates among the last five known.
fn append(
    id: TopicId,
    name: &TopicName,
    partition: i32,
    batch: &Bytes,
    state: &State,
) -> Result<i64, ErrorCode> {
    let header = RecordBatchHeader::parse(batch).unwrap();
    let count = u64::try_from(header.record_count).unwrap();
    state.batches.fetch_add(1, Ordering::Relaxed);
    if state.counting_only.load(Ordering::Relaxed) {
        return Ok(state.records.fetch_add(count, Ordering::Relaxed) as i64);
    }
    let mut logs = state.logs.lock().unwrap();
    // From version 13 on only the id is there; tests use few topics.
    let name = match name.as_str() {
        "" => ["clicks", "views"].map(TopicName::from).into_iter().find(|n| topic_id(n) == id),
        _ => Some(name.clone()),
    };
    let name = name.ok_or(ErrorCode::UnknownTopicId)?;
    let log = logs.entry((name.clone(), partition)).or_default();
    let base_offset = log.len() as i64;
    if header.producer_id.0 >= 0 {
        let mut producers = state.last_batches.lock().unwrap();
        let last = producers.entry((header.producer_id.0, name, partition)).or_default();
        let (base, count) = (header.base_sequence.0, header.record_count);
        if let Some((_, _, offset)) = last.iter().find(|(b, c, _)| (*b, *c) == (base, count)) {
            return Ok(*offset);
        }
        if base != last.back().map_or(0, |(base, count, _)| base + count) {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        last.push_back((base, count, base_offset));
        if last.len() > 5 {
            last.pop_front();
        }
    }
    state.records.fetch_add(count, Ordering::Relaxed);
    let (batch, _) = RecordBatchRef::parse(batch).unwrap();
    batch.verify_crc().unwrap();
    let mut decompressor = Decompressor::new(1 << 26);
    for record in batch.records(&mut decompressor).unwrap() {
        let record = record.unwrap();
        log.push(Stored {
            timestamp: record.timestamp.0,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: (record.headers)
                .map(|header| (header.key().into_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        });
    }
    Ok(base_offset)
}
