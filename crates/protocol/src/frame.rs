//! Requests and responses as frames: length, header, body.
//!
//! 1. A frame that is written begins with its length; one that is read comes without.
//! 2. Only versions of [`ApiKey::valid_versions`] are written or read.
//! 3. A frame that is read must end where its message does.

use bytes::Bytes;

use crate::message::{Request, Response};
use crate::messages::ApiVersionsResponse;
use crate::wire::{
    DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Frame, Reader, Segment, Writer,
};
use crate::{ApiKey, ApiVersion, CorrelationId, ErrorCode};

/// What stands before the body of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The number of the API; it may be one that is not known here.
    pub api_key: i16,
    /// The version of the API; it may be one that is not known here.
    pub api_version: ApiVersion,
    /// What the response must carry.
    pub correlation_id: CorrelationId,
    /// How the client calls itself.
    pub client_id: Option<String>,
}

/// Enough for most requests; a bigger one grows its buffer.
const REQUEST_BYTES: usize = 256;

/// Writes a request with its length and header.
///
/// # Errors
/// The version is not known here or cannot carry what the request holds, or the client id or the
/// frame is too long.
pub fn encode_request<R: Request>(
    correlation_id: CorrelationId,
    client_id: Option<&str>,
    version: ApiVersion,
    request: &R,
) -> Result<Frame, EncodeError> {
    let api = R::API_KEY;
    check_encodable(api, version)?;
    let mut w = Writer::with_capacity(REQUEST_BYTES);
    w.put_i32(0); // the length, known at the end
    w.put_i16(api.code());
    w.put_i16(version.0);
    w.put_i32(correlation_id.0);
    match client_id {
        // A text of the rigid kind even in flexible versions: a broker reads it before it knows
        // whether the version is one of its own (KIP-482).
        Some(text) => w.put_string(text).map_err(|e| e.in_field("RequestHeader", "client_id"))?,
        None => w.put_null_string(),
    }
    if api.is_flexible(version) {
        w.put_unsigned_varint(0);
    }
    request.encode(&mut w, version)?;
    w.patch_frame_length()?;
    Ok(w.finish())
}

/// Writes a response with its length and header.
///
/// # Errors
/// The version is not known here or cannot carry what the response holds, the frame is too long,
/// or it would have gaps.
pub fn encode_response<R: Response>(
    correlation_id: CorrelationId,
    version: ApiVersion,
    response: &R,
) -> Result<Frame, EncodeError> {
    let w = write_response(correlation_id, version, response)?;
    match w.has_gaps() {
        false => Ok(w.finish()),
        true => Err(EncodeError::new(EncodeErrorKind::Gap)),
    }
}

/// Writes a response with its length and header, and a gap for each of its
/// [`crate::wire::Records::Elsewhere`], in their order.
///
/// # Errors
/// The version is not known here or cannot carry what the response holds, or the frame is too
/// long.
pub fn encode_response_with_gaps<R: Response>(
    correlation_id: CorrelationId,
    version: ApiVersion,
    response: &R,
) -> Result<Vec<Segment>, EncodeError> {
    Ok(write_response(correlation_id, version, response)?.finish_with_gaps())
}

fn write_response<R: Response>(
    correlation_id: CorrelationId,
    version: ApiVersion,
    response: &R,
) -> Result<Writer, EncodeError> {
    let api = R::API_KEY;
    check_encodable(api, version)?;
    let mut w = Writer::with_capacity(REQUEST_BYTES);
    w.put_i32(0); // the length, known at the end
    w.put_i32(correlation_id.0);
    if api.is_response_header_flexible(version) {
        w.put_unsigned_varint(0);
    }
    response.encode(&mut w, version)?;
    w.patch_frame_length()?;
    Ok(w)
}

fn check_encodable(api: ApiKey, version: ApiVersion) -> Result<(), EncodeError> {
    if api.supports(version) {
        return Ok(());
    }
    Err(EncodeError::new(EncodeErrorKind::UnknownVersion { api: api.name(), version }))
}

/// Reads the header of a request from a frame without its length, and gives the rest.
///
/// An unknown API or version is not an error here, so that it can be answered: its rest may then
/// begin with tagged fields of the header.
///
/// # Errors
/// The bytes are not a header.
pub fn decode_request_header(frame: Bytes) -> Result<(RequestHeader, Reader), DecodeError> {
    let mut r = Reader::new(frame);
    let api_key = r.i16()?;
    let api_version = ApiVersion(r.i16()?);
    let correlation_id = CorrelationId(r.i32()?);
    let client_id = r
        .nullable_string()
        .map_err(|error| error.in_field("RequestHeader", "client_id"))?
        .map(str::to_owned);
    let known = ApiKey::from_code(api_key).filter(|api| api.supports(api_version));
    if known.is_some_and(|api| api.is_flexible(api_version)) {
        r.skip_tagged_fields()?;
    }
    Ok((RequestHeader { api_key, api_version, correlation_id, client_id }, r))
}

/// Reads the body of a request, from where [`decode_request_header`] stopped.
///
/// Bytes after the body are ignored, as Apache Kafka does: librdkafka 2.16 sends three of them
/// when it asks for the metadata of all topics.
///
/// # Errors
/// The version is not known here, or the bytes are not such a request.
pub fn decode_request<R: Request>(mut r: Reader, version: ApiVersion) -> Result<R, DecodeError> {
    check_decodable(R::API_KEY, version, &r)?;
    R::decode(&mut r, version)
}

/// Reads a response from a frame without its length.
///
/// # Errors
/// The version is not known here, or the bytes are not such a response.
pub fn decode_response<R: Response>(
    frame: Bytes,
    version: ApiVersion,
) -> Result<(CorrelationId, R), DecodeError> {
    let mut r = Reader::new(frame);
    check_decodable(R::API_KEY, version, &r)?;
    let correlation_id = CorrelationId(r.i32()?);
    if R::API_KEY.is_response_header_flexible(version) {
        r.skip_tagged_fields()?;
    }
    let response = R::decode(&mut r, version)?;
    r.finish()?;
    Ok((correlation_id, response))
}

/// Reads a broker's answer to an ApiVersions request, and says in which version it came.
///
/// A broker that does not know the version asked for answers in version 0, with error 35 and the
/// versions it has (KIP-511).
///
/// # Errors
/// As [`decode_response`].
pub fn decode_api_versions_response(
    frame: Bytes,
    asked: ApiVersion,
) -> Result<(CorrelationId, ApiVersion, ApiVersionsResponse), DecodeError> {
    let mut r = Reader::new(frame.clone());
    r.i32()?;
    let refused = ErrorCode::from_code(r.i16()?) == ErrorCode::UnsupportedVersion;
    let version = if refused { ApiVersion(0) } else { asked };
    let (correlation_id, response) = decode_response(frame, version)?;
    Ok((correlation_id, version, response))
}

fn check_decodable(api: ApiKey, version: ApiVersion, r: &Reader) -> Result<(), DecodeError> {
    if api.supports(version) {
        return Ok(());
    }
    Err(r.error(DecodeErrorKind::UnknownVersion { api: api.name(), version }))
}

/// The correlation id of a response, which says whose it is before its version is known.
///
/// # Errors
/// The frame has fewer than four bytes.
pub fn peek_correlation_id(frame: &[u8]) -> Result<CorrelationId, DecodeError> {
    match frame.first_chunk() {
        Some(bytes) => Ok(CorrelationId(i32::from_be_bytes(*bytes))),
        None => {
            let kind = DecodeErrorKind::Truncated { needed: 4, remaining: frame.len() };
            Err(DecodeError::new(kind, 0))
        }
    }
}

/// The length prefix of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLength;

impl FrameLength {
    /// Bytes the prefix itself takes.
    pub const BYTES: usize = 4;

    /// The bytes that follow the prefix.
    ///
    /// # Errors
    /// The length is negative or over `max`.
    pub fn parse(prefix: [u8; Self::BYTES], max: u32) -> Result<usize, DecodeError> {
        let length = i32::from_be_bytes(prefix);
        match u32::try_from(length) {
            Ok(bytes) if bytes <= max => Ok(bytes as usize),
            _ => Err(DecodeError::new(DecodeErrorKind::FrameLength { length, max }, 0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::FetchResponse;
    use crate::messages::fetch::{FetchableTopicResponse, PartitionData};
    use crate::wire::Records;

    #[test]
    fn a_hostile_length_is_refused_before_anything_is_allocated() {
        assert_eq!(FrameLength::parse([0, 0, 1, 0], 256), Ok(256));
        assert!(FrameLength::parse([0, 0, 1, 1], 256).is_err());
        assert!(FrameLength::parse([0x7f, 0xff, 0xff, 0xff], 256).is_err());
        let error = FrameLength::parse([0xff; 4], 256).unwrap_err();
        assert_eq!(error.kind(), &DecodeErrorKind::FrameLength { length: -1, max: 256 });
    }

    #[test]
    fn records_that_are_elsewhere_leave_gaps_of_their_length() {
        let answer = |records: [Records; 2]| FetchResponse {
            responses: vec![FetchableTopicResponse {
                partitions: records
                    .map(|records| PartitionData { records: Some(records), ..Default::default() })
                    .into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let (here, there) = (Bytes::from(vec![7; 300]), Bytes::from(vec![8; 5000]));
        let elsewhere = answer([Records::Elsewhere(300), Records::Elsewhere(5000)]);
        for version in [ApiVersion(4), ApiVersion(12)] {
            let id = CorrelationId(1);
            assert!(encode_response(id, version, &elsewhere).is_err());
            let segments = encode_response_with_gaps(id, version, &elsewhere).unwrap();
            let mut gaps = [&here, &there].into_iter();
            let filled: Vec<u8> = segments
                .iter()
                .flat_map(|segment| match segment {
                    Segment::Bytes(bytes) => bytes,
                    Segment::Gap(bytes) => gaps.next().filter(|gap| gap.len() == *bytes).unwrap(),
                })
                .copied()
                .collect();
            let all_here = answer([here.clone().into(), there.clone().into()]);
            assert_eq!(filled, *encode_response(id, version, &all_here).unwrap().into_bytes());
        }
    }

    #[test]
    fn a_header_of_an_unknown_api_or_version_is_still_read() {
        for (api_key, version) in [(999, 0), (ApiKey::ApiVersions.code(), 99)] {
            let mut w = Writer::new();
            w.put_i16(api_key);
            w.put_i16(version);
            w.put_i32(7);
            w.put_string("kcat").unwrap();
            w.put_slice(&[1, 2, 3]);
            let (header, rest) = decode_request_header(w.finish().into_bytes()).unwrap();
            assert_eq!(header.api_version, ApiVersion(version));
            assert_eq!(header.correlation_id, CorrelationId(7));
            assert_eq!(header.client_id.as_deref(), Some("kcat"));
            assert_eq!(*rest.into_remaining(), [1, 2, 3]);
        }
    }
}
