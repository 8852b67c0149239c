//! What the fuzz targets check, so that a target is one line and a plain test can call the same.

use bytes::Bytes;
use streamledger_protocol::compression::{Compression, CompressionScratch, Decompressor};
use streamledger_protocol::frame::{FrameLength, decode_request_header};
use streamledger_protocol::messages::{decode_any_request, decode_any_response};
use streamledger_protocol::record_batch::{
    Limits, RecordBatchHeader, batches, parse_control_record, patch_max_timestamp,
    validate_for_append,
};
use streamledger_protocol::wire::Writer;
use streamledger_protocol::{ApiVersion, Codec};

/// What decompression may give, so that a run's memory shows a broken limit.
const LIMIT_BYTES: usize = 1 << 20;

/// A length prefix and a request's header are read or refused.
pub fn frame_header(data: &[u8]) {
    if let Some(prefix) = data.first_chunk() {
        if let Ok(length) = FrameLength::parse(*prefix, 100 << 20) {
            assert!(length <= 100 << 20);
        }
    }
    let _ = decode_request_header(Bytes::copy_from_slice(data));
}

/// Splits fuzz input into an API key, a version and a body.
fn api_version_body(data: &[u8]) -> Option<(i16, ApiVersion, Bytes)> {
    let (&[api, version], body) = data.split_first_chunk()?;
    Some((i16::from(api), ApiVersion(i16::from(version % 20)), Bytes::copy_from_slice(body)))
}

/// Writes what was decoded, which must work, and gives the bytes.
macro_rules! rewritten {
    ($message:expr, $version:expr) => {{
        let mut writer = Writer::new();
        $message.encode(&mut writer, $version).expect("what was read can be written");
        writer.finish().into_bytes()
    }};
}

/// A request of any API and version is refused, or read and written and read as the same.
pub fn requests(data: &[u8]) {
    let Some((api, version, body)) = api_version_body(data) else { return };
    let Ok(request) = decode_any_request(api, version, body) else { return };
    let written = rewritten!(request, version);
    let again = decode_any_request(api, version, written.clone()).expect("what was written");
    assert_eq!(rewritten!(again, version), written);
}

/// A response of any API and version is refused, or read and written and read as the same.
pub fn responses(data: &[u8]) {
    let Some((api, version, body)) = api_version_body(data) else { return };
    let Ok(response) = decode_any_response(api, version, body) else { return };
    let written = rewritten!(response, version);
    let again = decode_any_response(api, version, written.clone()).expect("what was written");
    assert_eq!(rewritten!(again, version), written);
}

/// Batches are refused or read; what may be appended is read whole, and its checksum is right.
pub fn record_batch(data: &[u8]) {
    let mut decompressor = Decompressor::new(LIMIT_BYTES);
    for batch in batches(data).flatten() {
        // A fuzzer seldom finds a CRC-32C by itself.
        let mut owned = batch.bytes().to_vec();
        patch_max_timestamp(&mut owned, batch.header().max_timestamp);
        let limits = Limits { batch_bytes_max: usize::MAX, key_required: false };
        let valid = validate_for_append(&owned, &limits, &mut decompressor);
        let Ok(records) = batch.records(&mut decompressor) else {
            assert!(valid.is_err());
            continue;
        };
        let mut read = 0;
        let mut malformed = false;
        for record in records {
            let Ok(record) = record else {
                malformed = true;
                break;
            };
            read += 1;
            assert_eq!(record.headers.len(), record.headers.count());
            let _ = parse_control_record(&record);
        }
        if let Ok(valid) = valid {
            assert!(!malformed);
            assert_eq!(read, valid.header.record_count);
            assert_eq!(RecordBatchHeader::parse(&owned), Ok(valid.header));
        }
    }
}

/// A stream is refused, or gives no more than the limit, and what it gives survives a round trip.
pub fn codec(codec: Codec, data: &[u8]) {
    let mut decompressor = Decompressor::new(LIMIT_BYTES);
    let Ok(output) = decompressor.decompress_owned(codec, data) else { return };
    assert!(output.len() <= LIMIT_BYTES);
    let mut stream = Vec::new();
    CompressionScratch::new()
        .compress(&output, Compression::of(codec), &mut stream)
        .expect("all codecs are built in");
    assert_eq!(decompressor.decompress(codec, &stream), Ok(&output[..]));
}
