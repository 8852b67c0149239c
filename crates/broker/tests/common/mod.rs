//! A client that speaks the bare protocol over a blocking socket, and says exactly what it likes.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use streamledger_broker::{Broker, BrokerConfig, RunningBroker};
use streamledger_broker_core::config::STANDARD_AUTHORIZER;
use streamledger_protocol::compression::{Compression, CompressionScratch, Decompressor};
use streamledger_protocol::frame::{decode_response, encode_request};
use streamledger_protocol::message::{Request, Response};
use streamledger_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use streamledger_protocol::messages::fetch::{FetchPartition, FetchTopic, PartitionData};
use streamledger_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, TopicProduceData,
};
use streamledger_protocol::messages::{
    CreateTopicsRequest, FetchRequest, FetchResponse, InitProducerIdRequest, ProduceRequest,
    ProduceResponse, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use streamledger_protocol::record_batch::{BatchSeal, RecordBatchBuilder, batches};
use streamledger_protocol::{
    ApiVersion, CorrelationId, ErrorCode, Offset, PartitionIndex, ProducerIdentity, SequenceNumber,
    TimestampMs, TopicId, TopicName,
};

/// No test waits longer than this for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never came to be: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks until the answer is none that a client asks again for: a broker says that the markers of
/// the transaction before are on their way, as Kafka does, for as long as that takes its disk.
pub(crate) fn patiently<T>(mut ask: impl FnMut() -> T, error: impl Fn(&T) -> ErrorCode) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        let asks_again = matches!(
            error(&answer),
            ErrorCode::ConcurrentTransactions
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::NotEnoughReplicas
        );
        if !asks_again || Instant::now() > deadline {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A broker with these settings, in a temporary directory.
pub(crate) fn broker_with(settings: &[(&str, &str)]) -> RunningBroker {
    let config = BrokerConfig::builder().properties(settings.iter().copied()).build().unwrap();
    Broker::start(config).unwrap()
}

/// A broker whose ACLs say who may do what: `admin` may everything, `alice` and `bob` what they are
/// allowed. Each has its name for a password.
pub(crate) fn broker_with_acls(settings: &[(&str, &str)]) -> RunningBroker {
    let own = [
        ("listeners", "SASL_PLAINTEXT://127.0.0.1:0"),
        ("sasl.enabled.mechanisms", "PLAIN"),
        (
            "sasl.jaas.config",
            "PlainLoginModule required user_admin=admin user_alice=alice user_bob=bob;",
        ),
        ("authorizer.class.name", STANDARD_AUTHORIZER),
        ("super.users", "User:admin"),
        ("transaction.state.log.num.partitions", "3"),
        ("offsets.topic.num.partitions", "3"),
    ];
    broker_with(&[&own[..], settings].concat())
}

pub(crate) struct RawClient {
    pub(crate) stream: TcpStream,
    next_id: i32,
}

impl RawClient {
    pub(crate) fn connect(broker: &RunningBroker) -> Self {
        let stream = TcpStream::connect(broker.addresses()[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, next_id: 0 }
    }

    /// Connects and logs in, with the user's name for a password.
    pub(crate) fn logged_in(broker: &RunningBroker, user: &str) -> Self {
        let mut client = Self::connect(broker);
        let handshake = SaslHandshakeRequest { mechanism: "PLAIN".to_owned() };
        assert_eq!(client.call(1, &handshake).error_code, ErrorCode::None);
        let auth_bytes = Bytes::from(format!("\0{user}\0{user}"));
        let answer = client.call(2, &SaslAuthenticateRequest { auth_bytes });
        assert_eq!(answer.error_code, ErrorCode::None);
        client
    }

    pub(crate) fn send<R: Request>(&mut self, version: i16, request: &R) -> CorrelationId {
        self.next_id += 1;
        let id = CorrelationId(self.next_id);
        let frame = encode_request(id, Some("raw"), ApiVersion(version), request).unwrap();
        self.stream.write_all(&frame.into_bytes()).unwrap();
        id
    }

    /// The next frame without its length; `None` when the broker closed the connection.
    pub(crate) fn receive_frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if is_closed(&error) => return None,
            Err(error) => panic!("no answer: {error}"),
        }
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).unwrap();
        Some(Bytes::from(frame))
    }

    pub(crate) fn receive<R: Response>(&mut self, version: i16) -> (CorrelationId, R) {
        let frame = self.receive_frame().expect("the broker closed the connection");
        decode_response(frame, ApiVersion(version)).unwrap()
    }

    /// As [`Self::call`]; none if the broker ends the connection instead.
    pub(crate) fn try_call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Option<R::Response> {
        self.next_id += 1;
        let id = CorrelationId(self.next_id);
        let frame = encode_request(id, Some("raw"), ApiVersion(version), request).unwrap();
        self.stream.write_all(&frame.into_bytes()).ok()?;
        let (answered, response) =
            decode_response(self.receive_frame()?, ApiVersion(version)).unwrap();
        assert_eq!(answered, id);
        Some(response)
    }

    pub(crate) fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let id = self.send(version, request);
        let (answered, response) = self.receive(version);
        assert_eq!(answered, id);
        response
    }

    /// Sends raw bytes; an error means that the broker has closed.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> TopicId {
        let response = self.call(7, &create_topics(name, partitions, configs));
        let result = &response.topics[0];
        assert_eq!(result.error_code, ErrorCode::None, "{:?}", result.error_message);
        result.topic_id
    }

    pub(crate) fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> PartitionProduceResponse {
        let response = self.call(11, &produce(topic, partition, -1, batch));
        only_partition(&response)
    }

    pub(crate) fn producer_identity(&mut self) -> ProducerIdentity {
        let response = self.call(4, &InitProducerIdRequest::default());
        assert_eq!(response.error_code, ErrorCode::None);
        ProducerIdentity { id: response.producer_id, epoch: response.producer_epoch }
    }

    pub(crate) fn fetch(&mut self, topic: &str, partition: i32, from: i64) -> PartitionData {
        let response = self.call(11, &fetch(topic, partition, from));
        only_fetched(response)
    }

    /// Whether the broker closes the connection within the patience.
    pub(crate) fn is_closed_by_broker(&mut self) -> bool {
        let mut byte = [0; 1];
        match self.stream.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => is_closed(&error),
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

pub(crate) fn create_topics(
    name: &str,
    num_partitions: i32,
    configs: &[(&str, &str)],
) -> CreateTopicsRequest {
    let configs = configs.iter().map(|&(name, value)| CreatableTopicConfig {
        name: name.to_owned(),
        value: Some(value.to_owned()),
    });
    let topic = CreatableTopic {
        name: TopicName::new(name),
        num_partitions,
        replication_factor: -1,
        configs: configs.collect(),
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], ..Default::default() }
}

pub(crate) fn produce(topic: &str, partition: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData { index: PartitionIndex(partition), records: Some(batch) };
    ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: TopicName::new(topic),
            partition_data: vec![data],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The answer for the one partition that was asked for.
pub(crate) fn only_partition(response: &ProduceResponse) -> PartitionProduceResponse {
    assert_eq!(response.responses.len(), 1);
    assert_eq!(response.responses[0].partition_responses.len(), 1);
    response.responses[0].partition_responses[0].clone()
}

pub(crate) fn fetch(topic: &str, partition: i32, from: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: TopicName::new(topic),
            partitions: vec![FetchPartition {
                partition: PartitionIndex(partition),
                fetch_offset: Offset(from),
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The answer for the one partition that was asked for.
pub(crate) fn only_fetched(response: FetchResponse) -> PartitionData {
    assert_eq!(response.error_code, ErrorCode::None);
    let topic = response.responses.into_iter().next().unwrap();
    topic.partitions.into_iter().next().unwrap()
}

/// A batch with these values, stamped now: what is from long ago is taken by retention, which looks
/// for the first time ten seconds after the start.
pub(crate) fn batch_of(values: &[&str], producer: Option<(ProducerIdentity, i32)>) -> Bytes {
    let records: Vec<_> = (now_ms()..).zip(values.iter().copied()).collect();
    batch_at(&records, producer, Compression::default())
}

/// The time, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// A batch of (timestamp, value).
pub(crate) fn batch_at(
    records: &[(i64, &str)],
    producer: Option<(ProducerIdentity, i32)>,
    compression: Compression,
) -> Bytes {
    let mut builder = RecordBatchBuilder::with_capacity(1024);
    for (timestamp, value) in records {
        builder.append(TimestampMs(*timestamp), None, Some(value.as_bytes()), &[]);
    }
    let producer = producer.map(|(identity, sequence)| (identity, SequenceNumber(sequence)));
    let seal = BatchSeal { compression, producer, ..BatchSeal::default() };
    builder.seal(&seal, &mut CompressionScratch::default()).unwrap().bytes
}

/// Offset and value of each record.
pub(crate) fn records_of(data: &PartitionData) -> Vec<(i64, String)> {
    let mut records = Vec::new();
    let mut decompressor = Decompressor::default();
    let bytes = data.records.clone().unwrap_or_default().into_bytes();
    for batch in batches(&bytes) {
        let batch = batch.unwrap();
        for record in batch.records(&mut decompressor).unwrap() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            records.push((record.offset.0, value));
        }
    }
    records
}
