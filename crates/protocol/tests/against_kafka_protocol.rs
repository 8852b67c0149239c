//! Every message in every version says the same in three tongues: ours, that of the crate
//! `kafka-protocol`, and Apache Kafka's own layouts.
//!
//! Random bodies are written to Kafka's layouts. Our decoder and encoder must give the same bytes
//! again; `kafka-protocol` must read what we wrote and write the same bytes; and both must have
//! found the same fields, by name and value.

#![allow(clippy::unwrap_used, reason = "a test may, its functions beside the tests too")]

mod schema;

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as OracleApi, RequestKind, ResponseKind};
use schema::{Direction, Layout, Random, layouts};
use streamledger_protocol::messages::{
    AnyRequest, AnyResponse, decode_any_request, decode_any_response,
};
use streamledger_protocol::wire::{EncodeError, Writer};
use streamledger_protocol::{ApiKey, ApiVersion, TopicId};

const BODIES_PER_VERSION: usize = 24;

/// Versions that `kafka-protocol` 0.18 does not have, in either direction; Kafka's layout alone
/// vouches for them.
const ORACLE_LACKS: &[(&str, i16)] = &[
    ("DescribeLogDirs", 5),
    ("ListOffsets", 11),
    ("OffsetCommit", 10),
    ("OffsetFetch", 10),
    ("WriteTxnMarkers", 2),
];

/// Fields that are null with us in versions without them, and empty with Kafka.
const NULL_WHERE_ABSENT: &[&str] = &["error_message:", "configs:", "documentation:"];

/// Fields of versions that only one of the two has, as their defaults are printed in the others.
const ONE_SIDED: &[&str] = &[
    ", enable_2_pc: false",
    ", keep_prepared_txn: false",
    ", ongoing_txn_producer_id: -1",
    ", ongoing_txn_producer_epoch: -1",
    ", transaction_version: 0",
    ", is_cordoned: false",
];

/// Messages that were compared with the oracle in one run, and versions in all.
const COMPARED_MIN: usize = 11_568;
const VERSIONS: usize = 245;

fn ours(layout: &Layout, version: ApiVersion, body: Bytes) -> (Bytes, String) {
    let encoded = |encode: &dyn Fn(&mut Writer) -> Result<(), EncodeError>| {
        let mut w = Writer::new();
        encode(&mut w).unwrap_or_else(|error| panic!("{} v{version}: {error}", layout.api));
        w.finish().into_bytes()
    };
    match layout.direction {
        Direction::Request => {
            let message: AnyRequest = decode_any_request(layout.api_key, version, body)
                .unwrap_or_else(|error| panic!("{} v{version}: {error}", layout.api));
            assert_eq!(message.api_key().code(), layout.api_key);
            (encoded(&|w| message.encode(w, version)), format!("{message:?}"))
        }
        Direction::Response => {
            let message: AnyResponse = decode_any_response(layout.api_key, version, body)
                .unwrap_or_else(|error| panic!("{} v{version}: {error}", layout.api));
            assert_eq!(message.api_key().code(), layout.api_key);
            (encoded(&|w| message.encode(w, version)), format!("{message:?}"))
        }
    }
}

/// What the oracle makes of a body; nothing if it does not have the version.
fn oracle(layout: &Layout, version: ApiVersion, mut body: Bytes) -> Option<(Bytes, String)> {
    let api = OracleApi::try_from(layout.api_key).expect("an API of the oracle");
    let mut again = BytesMut::new();
    let debug = match layout.direction {
        Direction::Request => RequestKind::decode(api, &mut body, version.0).and_then(|message| {
            message.encode(&mut again, version.0)?;
            Ok(format!("{message:?}"))
        }),
        Direction::Response => {
            ResponseKind::decode(api, &mut body, version.0).and_then(|message| {
                message.encode(&mut again, version.0)?;
                Ok(format!("{message:?}"))
            })
        }
    };
    match debug {
        Ok(debug) => {
            assert!(body.is_empty(), "the oracle left {} bytes", body.len());
            Some((again.freeze(), debug))
        }
        Err(error) if format!("{error:?}").contains("specified version not supported") => None,
        Err(error) => panic!("the oracle on {} v{version}: {error:?}", layout.api),
    }
}

/// The names of fields and their values, in order, without the names of types.
fn fields(debug: &str) -> Vec<String> {
    let mut debug = debug
        .replace("unknown_tagged_fields: {}", "")
        // An absent error code is a name with us, a number there.
        .replace("error_code: None", "error_code: 0");
    for field in ONE_SIDED {
        debug = debug.replace(field, "");
    }
    for (bytes, name) in [(schema::UUID, "uuid"), ([0; 16], "nil")] {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let [a, b, c, d, e] = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        debug = debug
            .replace(&format!("{a}-{b}-{c}-{d}-{e}"), name)
            .replace(&TopicId(bytes).to_string(), name)
            .replace(&format!("{bytes:?}"), name);
    }
    let mut tokens = Vec::new();
    let mut rest = debug.as_str();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '#' | '.');
        let length = match first {
            '"' => rest[1..].find('"').unwrap() + 2,
            '-' => 1 + rest[1..].find(|c| !is_word(c)).unwrap(),
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        let absent = matches!(token, "None" | "\"\"")
            && tokens
                .last()
                .is_some_and(|name: &String| NULL_WHERE_ABSENT.contains(&name.as_str()));
        let is_value = first == '"' || first == '-' || first.is_ascii_digit();
        if absent {
            // Said by the bytes alone.
        } else if after.starts_with(": ") {
            let name = token.trim_start_matches("r#").trim_start_matches('_');
            tokens.push(format!("{name}:"));
        } else if is_value || matches!(token, "true" | "false" | "None" | "uuid" | "nil") {
            tokens.push(token.to_owned());
        }
        rest = after;
    }
    tokens
}

fn assert_same_fields(our_debug: &str, oracle_debug: &str, place: &str) {
    let (ours, oracles) = (fields(our_debug), fields(oracle_debug));
    let first = ours.iter().zip(&oracles).position(|(ours, oracles)| ours != oracles);
    if let Some(first) = first {
        let from = first.saturating_sub(3);
        panic!(
            "{place}: {:?} is with the oracle {:?}",
            &ours[from..=first],
            &oracles[from..=first]
        );
    }
    assert_eq!(ours.len(), oracles.len(), "{place}: {our_debug}");
}

#[test]
fn every_message_in_every_version_is_the_oracles() {
    let mut random = Random(0x5eed);
    let (mut compared, mut alone) = (0, 0);
    let mut versions = BTreeSet::new();
    let mut lacking = BTreeSet::new();
    let layouts = layouts();
    for layout in &layouts {
        for version in layout.each_version() {
            versions.insert((layout.api_key, version));
            for _ in 0..BODIES_PER_VERSION {
                let body = Bytes::from(layout.random_body(&mut random));
                let place = format!("{} {:?} v{version}", layout.api, layout.direction);
                let (our_bytes, our_debug) = ours(layout, version, body.clone());
                assert_eq!(our_bytes, body, "{place}: {our_debug}");
                match oracle(layout, version, our_bytes) {
                    Some((oracle_bytes, oracle_debug)) => {
                        assert_eq!(oracle_bytes, body, "{place}: {our_debug}");
                        assert_same_fields(&our_debug, &oracle_debug, &place);
                        let (_, back) = ours(layout, version, oracle_bytes);
                        assert_eq!(back, our_debug, "{place}");
                        compared += 1;
                    }
                    None => {
                        lacking.insert((layout.api.as_str(), version.0));
                        alone += 1;
                    }
                }
            }
        }
    }
    println!(
        "{} versions of {} APIs: {compared} messages compared with kafka-protocol and Kafka's \
         layouts, {alone} with Kafka's layouts alone",
        versions.len(),
        ApiKey::ALL.len(),
    );
    let expected: BTreeSet<_> = ORACLE_LACKS.iter().copied().collect();
    assert_eq!(lacking, expected, "the versions that the oracle does not have");
    assert_eq!(versions.len(), VERSIONS);
    assert!(compared >= COMPARED_MIN, "only {compared} compared");
}

#[test]
fn kafkas_layouts_and_our_versions_are_the_same_set() {
    for direction in [Direction::Request, Direction::Response] {
        let kafka: BTreeSet<_> = layouts()
            .iter()
            .filter(|layout| layout.direction == direction)
            .flat_map(|layout| {
                layout.each_version().map(|version| (layout.api_key, version, layout.flexible))
            })
            .collect();
        let ours: BTreeSet<_> = ApiKey::ALL
            .iter()
            .flat_map(|api| {
                let versions = api.valid_versions().map(ApiVersion);
                versions.map(|version| (api.code(), version, api.is_flexible(version)))
            })
            .collect();
        assert_eq!(kafka, ours);
    }
    for layout in &layouts() {
        let api = ApiKey::from_code(layout.api_key).unwrap();
        assert_eq!(api.name(), layout.api);
        let oracle = OracleApi::try_from(layout.api_key).unwrap();
        for version in layout.each_version() {
            let flexible = oracle.response_header_version(version.0) == 1;
            assert_eq!(api.is_response_header_flexible(version), flexible, "{api} v{version}");
            let flexible = oracle.request_header_version(version.0) == 2;
            assert_eq!(api.is_flexible(version), flexible, "{api} v{version}");
        }
    }
}
