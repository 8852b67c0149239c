//! What the data path allocates: the vectors that a message is made of, and nothing per record.

use allocation_counter::measure;
use bytes::Bytes;
use streamledger_protocol::frame::{decode_response, encode_request, encode_response};
use streamledger_protocol::messages::fetch::{FetchableTopicResponse, PartitionData};
use streamledger_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, TopicProduceData, TopicProduceResponse,
};
use streamledger_protocol::messages::{FetchResponse, ProduceRequest, ProduceResponse};
use streamledger_protocol::{ApiVersion, CorrelationId, PartitionIndex, TopicId};

const PARTITIONS: i32 = 64;
const VERSION: ApiVersion = ApiVersion(13);
const CORRELATION: CorrelationId = CorrelationId(1);

fn topic_id() -> TopicId {
    TopicId([7; 16])
}

fn records() -> Bytes {
    Bytes::from(vec![42; 16_384])
}

#[test]
fn decoding_a_produce_response_allocates_only_its_vectors() {
    let partition = |index| PartitionProduceResponse {
        index: PartitionIndex(index),
        ..PartitionProduceResponse::default()
    };
    let topic = TopicProduceResponse {
        topic_id: topic_id(),
        partition_responses: (0..PARTITIONS).map(partition).collect(),
        ..TopicProduceResponse::default()
    };
    let response = ProduceResponse { responses: vec![topic], ..ProduceResponse::default() };
    let frame = encode_response(CORRELATION, VERSION, &response).unwrap().into_bytes().slice(4..);
    let measured = measure(|| {
        let read: (_, ProduceResponse) = decode_response(frame, VERSION).unwrap();
        assert_eq!(read.1.responses[0].partition_responses.len(), PARTITIONS as usize);
    });
    assert_eq!(measured.count_total, 2, "the topics and their partitions");
}

#[test]
fn decoding_a_fetch_response_copies_no_records() {
    let partition = |index| PartitionData {
        partition_index: PartitionIndex(index),
        records: Some(records().into()),
        ..PartitionData::default()
    };
    let topic = FetchableTopicResponse {
        topic_id: topic_id(),
        partitions: (0..PARTITIONS).map(partition).collect(),
        ..FetchableTopicResponse::default()
    };
    let response = FetchResponse { responses: vec![topic], ..FetchResponse::default() };
    let frame = encode_response(CORRELATION, VERSION, &response).unwrap().into_bytes().slice(4..);
    let measured = measure(|| {
        let read: (_, FetchResponse) = decode_response(frame, VERSION).unwrap();
        assert_eq!(read.1.responses[0].partitions.len(), PARTITIONS as usize);
    });
    assert_eq!(measured.count_total, 2, "the topics and their partitions");
    assert!(measured.bytes_total < 64 * 1024, "{} bytes", measured.bytes_total);
}

#[test]
fn encoding_a_produce_request_copies_no_records() {
    // Held twice already, as by a producer that may have to send them again: `Bytes` allocates its
    // count of holders at the first clone.
    let held = records();
    let partition = |index| {
        let records = Some(held.clone());
        PartitionProduceData { index: PartitionIndex(index), records }
    };
    let topic = TopicProduceData {
        topic_id: topic_id(),
        partition_data: (0..PARTITIONS).map(partition).collect(),
        ..TopicProduceData::default()
    };
    let request = ProduceRequest { topic_data: vec![topic], ..ProduceRequest::default() };
    let measured = measure(|| {
        let frame = encode_request(CORRELATION, Some("client"), VERSION, &request).unwrap();
        assert!(frame.len() > PARTITIONS as usize * 16_384);
    });
    // The buffer and the lists of segments, each grown a few times.
    assert!(measured.count_total < 16, "{} allocations", measured.count_total);
    assert!(measured.bytes_total < 32 * 1024, "{} bytes", measured.bytes_total);
}
