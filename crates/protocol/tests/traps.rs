//! What the wire does that a reader of the schemas would not guess, one test each.

#![allow(clippy::unwrap_used, reason = "a test may, its functions beside the tests too")]

use bytes::Bytes;
use streamledger_protocol::frame::{
    decode_api_versions_response, decode_request, decode_request_header, decode_response,
    encode_request, encode_response, peek_correlation_id,
};
use streamledger_protocol::message::Message;
use streamledger_protocol::messages::api_versions::{ApiVersionRange, FinalizedFeatureKey};
use streamledger_protocol::messages::describe_topic_partitions::Cursor;
use streamledger_protocol::messages::fetch::{FetchPartition, FetchTopic, PartitionData};
use streamledger_protocol::messages::metadata::MetadataRequestTopic;
use streamledger_protocol::messages::produce::{
    LeaderIdAndEpoch, PartitionProduceData, TopicProduceData,
};
use streamledger_protocol::messages::{
    AnyRequest, ApiVersionsRequest, ApiVersionsResponse, DescribeTopicPartitionsRequest,
    FetchRequest, MetadataRequest, OffsetFetchRequest, ProduceRequest, ProduceResponse,
    SaslHandshakeRequest, decode_any_request, decode_request_frame,
};
use streamledger_protocol::wire::{
    DecodeErrorKind, EncodeErrorKind, Reader, SHARED_BYTES_MIN, Writer,
};
use streamledger_protocol::{
    ApiKey, ApiVersion, BrokerId, CorrelationId, ErrorCode, LeaderEpoch, Offset, PartitionIndex,
    TopicId,
};

const CORRELATION: CorrelationId = CorrelationId(7);

fn body(message: &impl Message, version: i16) -> Bytes {
    let mut w = Writer::new();
    message.encode(&mut w, ApiVersion(version)).unwrap();
    w.finish().into_bytes()
}

fn refused(message: &impl Message, version: i16) -> String {
    let mut w = Writer::new();
    message.encode(&mut w, ApiVersion(version)).unwrap_err().to_string()
}

#[test]
fn a_request_frame_is_length_header_and_body() {
    let request = ApiVersionsRequest {
        client_software_name: "sl".into(),
        client_software_version: "1".into(),
    };
    let frame = encode_request(CORRELATION, Some("me"), ApiVersion(3), &request).unwrap();
    let bytes = frame.into_bytes();
    // Length; key 18, version 3, correlation id 7; the client id is rigid; tagged fields; body.
    let expected =
        [0, 0, 0, 19, 0, 18, 0, 3, 0, 0, 0, 7, 0, 2, b'm', b'e', 0, 3, b's', b'l', 2, b'1', 0];
    assert_eq!(bytes, &expected[..]);
    let (header, reader) = decode_request_header(bytes.slice(4..)).unwrap();
    assert_eq!((header.api_key, header.correlation_id), (18, CORRELATION));
    assert_eq!(decode_request(reader, ApiVersion(3)), Ok(request.clone()));
    let (header, any) = decode_request_frame(bytes.slice(4..)).unwrap();
    assert_eq!(header.client_id.as_deref(), Some("me"));
    assert_eq!(any, AnyRequest::ApiVersions(request));
}

#[test]
fn the_response_header_of_api_versions_is_rigid_in_flexible_versions() {
    let response = ApiVersionsResponse::default();
    let bytes = encode_response(CORRELATION, ApiVersion(3), &response).unwrap().into_bytes();
    // Length, correlation id, and at once the error code.
    assert_eq!(bytes, &[0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 1, 0, 0, 0, 0, 0][..]);
    let produce = ProduceResponse::default();
    let bytes = encode_response(CORRELATION, ApiVersion(9), &produce).unwrap().into_bytes();
    assert_eq!(bytes[4..9], [0, 0, 0, 7, 0], "another flexible header ends with tagged fields");
    assert_eq!(peek_correlation_id(&bytes[4..]), Ok(CORRELATION));
    assert_eq!(decode_response(bytes.slice(4..), ApiVersion(9)), Ok((CORRELATION, produce)));
}

#[test]
fn a_broker_that_does_not_know_our_api_versions_answers_in_version_0() {
    let range =
        ApiVersionRange { api_key: 18, min_version: ApiVersion(0), max_version: ApiVersion(2) };
    let refusal = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion,
        api_keys: vec![range],
        ..ApiVersionsResponse::default()
    };
    let v0 = encode_response(CORRELATION, ApiVersion(0), &refusal).unwrap().into_bytes().slice(4..);
    let read = decode_api_versions_response(v0, ApiVersion(4));
    assert_eq!(read, Ok((CORRELATION, ApiVersion(0), refusal)));

    let answer = ApiVersionsResponse {
        finalized_features: vec![FinalizedFeatureKey {
            name: "transaction.version".into(),
            max_version_level: 2,
            min_version_level: 2,
        }],
        ..ApiVersionsResponse::default()
    };
    let v4 = encode_response(CORRELATION, ApiVersion(4), &answer).unwrap().into_bytes().slice(4..);
    let read = decode_api_versions_response(v4, ApiVersion(4));
    assert_eq!(read, Ok((CORRELATION, ApiVersion(4), answer)));
}

#[test]
fn a_tagged_field_that_says_nothing_is_left_out() {
    // librdkafka 2.0 fails on an explicit "no finalized features epoch" of -1.
    assert_eq!(body(&ApiVersionsResponse::default(), 3), &[0, 0, 1, 0, 0, 0, 0, 0][..]);
}

#[test]
fn sasl_handshake_is_never_flexible() {
    let request = SaslHandshakeRequest { mechanism: "PLAIN".into() };
    assert_eq!(body(&request, 1), &b"\0\x05PLAIN"[..]);
}

#[test]
fn unknown_tagged_fields_are_skipped_in_headers_and_bodies() {
    let mut w = Writer::new();
    w.put_i16(ApiKey::ApiVersions.code());
    w.put_i16(3);
    w.put_i32(7);
    w.put_null_string();
    w.put_slice(&[1, 9, 2, 1, 2]); // one tagged field: tag 9, two bytes
    w.put_slice(&[2, b'a', 1, 2, 0, 0, 100, 1, 5]); // "a", "", two tagged fields
    let (header, request) = decode_request_frame(w.finish().into_bytes()).unwrap();
    assert_eq!(header.client_id, None);
    let expected = ApiVersionsRequest { client_software_name: "a".into(), ..Default::default() };
    assert_eq!(request, AnyRequest::ApiVersions(expected));
}

#[test]
fn null_and_empty_are_different() {
    let all = MetadataRequest { topics: None, ..Default::default() };
    let none = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    assert_eq!(body(&all, 1), &[255, 255, 255, 255][..]);
    assert_eq!(body(&none, 1), &[0, 0, 0, 0][..]);
    assert_eq!(body(&all, 9), &[0, 1, 0, 0, 0][..]);
    assert_eq!(body(&none, 9), &[1, 1, 0, 0, 0][..]);
    let records = |records| PartitionProduceData { records, ..Default::default() };
    let request = |records| ProduceRequest {
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data: vec![records],
            ..Default::default()
        }],
        ..Default::default()
    };
    let null = request(records(None));
    let empty = request(records(Some(Bytes::new())));
    for version in [3, 9, 12] {
        assert_ne!(body(&null, version), body(&empty, version));
        for message in [&null, &empty] {
            let mut r = Reader::new(body(message, version));
            assert_eq!(&ProduceRequest::decode(&mut r, ApiVersion(version)).unwrap(), message);
        }
    }
}

#[test]
fn null_where_none_may_be_is_an_error_and_no_panic() {
    let decode = |api: ApiKey, version, bytes: &'static [u8]| {
        decode_any_request(api.code(), ApiVersion(version), Bytes::from_static(bytes))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        decode(ApiKey::Metadata, 0, &[255, 255, 255, 255]),
        "MetadataRequest.topics: at byte 4: null where none may be",
    );
    assert_eq!(
        decode(ApiKey::Produce, 9, &[0, 0, 1, 0, 0, 0, 1, 0]),
        "ProduceRequest.topic_data: at byte 8: null where none may be",
    );
    let all = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(refused(&all, 0), "MetadataRequest.topics: null, which version 0 cannot carry",);
    let topic = MetadataRequestTopic { name: None, topic_id: TopicId([1; 16]) };
    let by_id = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    assert_eq!(
        refused(&by_id, 9),
        "MetadataRequest.topics.name: null, which version 9 cannot carry",
    );
}

#[test]
fn a_count_of_two_billion_in_fifty_bytes_is_refused() {
    let mut bytes = vec![0_u8; 50];
    bytes[..4].copy_from_slice(&i32::MAX.to_be_bytes());
    let error = decode_any_request(3, ApiVersion(1), bytes.into()).unwrap_err();
    let kind = DecodeErrorKind::TooManyElements {
        count: i32::MAX as usize,
        element_bytes_min: 2,
        remaining: 46,
    };
    assert_eq!(error.kind(), &kind);
}

#[test]
fn a_set_field_that_the_version_lacks_is_an_error_unless_it_may_be_ignored() {
    let stable = OffsetFetchRequest { require_stable: true, ..Default::default() };
    let text = "OffsetFetchRequest.require_stable: version 6 has no such field, and it is set";
    assert_eq!(refused(&stable, 6), text);
    assert_ne!(body(&stable, 7), body(&OffsetFetchRequest::default(), 7));

    let partition = FetchPartition { current_leader_epoch: LeaderEpoch(4), ..Default::default() };
    let request = |partition| FetchRequest {
        topics: vec![FetchTopic {
            topic: "t".into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let plain = request(FetchPartition::default());
    assert_eq!(body(&request(partition), 8), body(&plain, 8), "the leader epoch may be ignored");
    let partition = FetchPartition { last_fetched_epoch: LeaderEpoch(4), ..Default::default() };
    assert!(refused(&request(partition), 11).contains("last_fetched_epoch: version 11 has no"));
}

#[test]
fn a_tagged_field_that_the_version_lacks_is_an_error_too() {
    let leader = LeaderIdAndEpoch { leader_id: BrokerId(1), leader_epoch: LeaderEpoch(2) };
    let partition = PartitionData {
        current_leader: streamledger_protocol::messages::fetch::LeaderIdAndEpoch {
            leader_id: leader.leader_id,
            leader_epoch: leader.leader_epoch,
        },
        ..PartitionData::default()
    };
    let topic = streamledger_protocol::messages::fetch::FetchableTopicResponse {
        partitions: vec![partition],
        ..Default::default()
    };
    let response = streamledger_protocol::messages::FetchResponse {
        responses: vec![topic],
        ..Default::default()
    };
    assert!(refused(&response, 11).contains("current_leader: version 11 has no such field"));
    let bytes = body(&response, 12);
    let read = streamledger_protocol::messages::FetchResponse::decode(
        &mut Reader::new(bytes),
        ApiVersion(12),
    );
    assert_eq!(read, Ok(response));
}

#[test]
fn defaults_are_kafkas() {
    let partition = FetchPartition::default();
    assert_eq!(partition.current_leader_epoch, LeaderEpoch::NONE);
    assert_eq!(partition.log_start_offset, Offset::NONE);
    assert_eq!(partition.high_watermark, Offset(i64::MAX));
    assert_eq!(FetchRequest::default().max_bytes, i32::MAX);
    assert_eq!(FetchRequest::default().session_epoch, -1);
    assert_eq!(FetchRequest::default().replica_id, BrokerId::NONE);
    assert!(MetadataRequest::default().allow_auto_topic_creation);
    assert_eq!(MetadataRequest::default().topics, Some(Vec::new()), "no topics, not all");
}

#[test]
fn a_nullable_struct_is_marked() {
    let first = DescribeTopicPartitionsRequest::default();
    assert_eq!(body(&first, 0), &[1, 0, 0, 7, 208, 255, 0][..]);
    let cursor = Cursor { topic_name: "t".into(), partition_index: PartitionIndex(1) };
    let next = DescribeTopicPartitionsRequest { cursor: Some(cursor), ..first };
    assert_eq!(body(&next, 0), &[1, 0, 0, 7, 208, 1, 2, b't', 0, 0, 0, 1, 0, 0][..]);
    let wrong = Bytes::from_static(&[1, 0, 0, 7, 208, 3, 0]);
    let error = decode_any_request(75, ApiVersion(0), wrong).unwrap_err();
    assert_eq!(error.kind(), &DecodeErrorKind::NullMarker(3));
}

#[test]
fn an_unknown_api_or_version_is_named() {
    let read = |api_key, version| {
        decode_any_request(api_key, ApiVersion(version), Bytes::new()).unwrap_err().to_string()
    };
    assert_eq!(read(999, 0), "at byte 0: API key 999 is not known");
    assert_eq!(read(0, 2), "at byte 0: Produce version 2 is not known");
    let error = encode_request(CORRELATION, None, ApiVersion(14), &ProduceRequest::default());
    let kind = EncodeErrorKind::UnknownVersion { api: "Produce", version: ApiVersion(14) };
    assert_eq!(error.unwrap_err().kind(), &kind);
}

/// librdkafka 2.16 asks for the metadata of all topics so: null topics in a count of four bytes.
#[test]
fn bytes_after_a_request_are_ignored() {
    let header = [0, 3, 0, 13, 0, 0, 0, 3, 0, 7, 114, 100, 107, 97, 102, 107, 97, 0];
    let frame = [&header[..], &[0, 0, 0, 0, 1, 0, 0]].concat();
    let (header, reader) = decode_request_header(frame.into()).unwrap();
    let request: MetadataRequest = decode_request(reader, header.api_version).unwrap();
    assert_eq!(request.topics, None);
}

#[test]
fn bytes_after_a_response_are_an_error() {
    let mut frame = body(&ApiVersionsResponse::default(), 0).to_vec();
    frame.splice(..0, [0, 0, 0, 7]);
    frame.push(0);
    let read = decode_response::<ApiVersionsResponse>(frame.into(), ApiVersion(0));
    assert_eq!(read.unwrap_err().kind(), &DecodeErrorKind::LeftOver(1));
}

#[test]
fn records_are_never_copied() {
    let records = Bytes::from(vec![42; SHARED_BYTES_MIN]);
    let partition =
        PartitionProduceData { index: PartitionIndex(0), records: Some(records.clone()) };
    let topic = TopicProduceData {
        topic_id: TopicId([1; 16]),
        partition_data: vec![partition],
        ..Default::default()
    };
    let request = ProduceRequest { topic_data: vec![topic], ..Default::default() };
    let frame = encode_request(CORRELATION, None, ApiVersion(13), &request).unwrap();
    let written = frame.segments.iter().find(|segment| segment.len() == records.len()).unwrap();
    assert_eq!(written.as_ptr(), records.as_ptr(), "written as a segment of its own");

    let bytes = frame.into_bytes().slice(4..);
    let (_, reader) = decode_request_header(bytes.clone()).unwrap();
    let read: ProduceRequest = decode_request(reader, ApiVersion(13)).unwrap();
    let read = read.topic_data[0].partition_data[0].records.clone().unwrap();
    assert_eq!(read, records);
    assert!(bytes.as_ptr_range().contains(&read.as_ptr()), "read as a part of the frame");
}
