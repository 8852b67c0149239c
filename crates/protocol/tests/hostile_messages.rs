//! No bytes make a decoder panic, or allocate more than a fixed multiple of their number.
//!
//! For every API, direction and version: random bytes, and valid messages with bytes flipped,
//! cut, doubled or overwritten by lengths that lie.

#![allow(clippy::unwrap_used, reason = "a test may, its functions beside the tests too")]

mod schema;

use bytes::Bytes;
use schema::{Direction, Layout, Random, layouts};
use streamledger_protocol::ApiVersion;
use streamledger_protocol::frame::decode_request_header;
use streamledger_protocol::messages::{decode_any_request, decode_any_response};
use streamledger_protocol::wire::Writer;

const INPUTS_PER_VERSION: usize = 60;
const INPUTS_MIN: usize = 29_000;

/// What a decoder may hold at once per byte of input: an element of an array takes at least a byte
/// on the wire and, as an empty text in a struct of texts, at most this many in memory.
const HELD_PER_BYTE_MAX: u64 = 40;
/// What it may hold whatever the input: an error, the message itself.
const HELD_ALWAYS_MAX: u64 = 2048;

/// Whether the bytes are a message; if so, it can be written, read and written again.
fn decode(layout: &Layout, version: ApiVersion, body: Bytes) -> bool {
    let mut first = Writer::new();
    let mut second = Writer::new();
    match layout.direction {
        Direction::Request => {
            let Ok(message) = decode_any_request(layout.api_key, version, body) else {
                return false;
            };
            message.encode(&mut first, version).unwrap();
            let again = first.finish().into_bytes();
            let reread = decode_any_request(layout.api_key, version, again.clone()).unwrap();
            reread.encode(&mut second, version).unwrap();
            assert_eq!(second.finish().into_bytes(), again);
        }
        Direction::Response => {
            let Ok(message) = decode_any_response(layout.api_key, version, body) else {
                return false;
            };
            message.encode(&mut first, version).unwrap();
            let again = first.finish().into_bytes();
            let reread = decode_any_response(layout.api_key, version, again.clone()).unwrap();
            reread.encode(&mut second, version).unwrap();
            assert_eq!(second.finish().into_bytes(), again);
        }
    }
    true
}

/// The most bytes that decoding holds at once.
fn bytes_held(layout: &Layout, version: ApiVersion, body: &Bytes) -> u64 {
    let body = body.clone();
    let measured = allocation_counter::measure(|| match layout.direction {
        Direction::Request => drop(decode_any_request(layout.api_key, version, body)),
        Direction::Response => drop(decode_any_response(layout.api_key, version, body)),
    });
    measured.bytes_max
}

fn hostile(valid: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let mut bytes = valid;
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 => bytes = (0..random.below(200)).map(|_| random.next() as u8).collect(),
            1 => bytes.truncate(at),
            2 => bytes.extend_from_within(at..),
            3 => bytes.extend((0..random.below(9)).map(|_| random.next() as u8)),
            _ if at == bytes.len() => {}
            4 => bytes[at] ^= 1 << random.below(8),
            _ => {
                // A length or count that lies.
                let lies: [&[u8]; 6] = [
                    &[0x7f, 0xff, 0xff, 0xff],
                    &[0xff, 0xff, 0xff, 0xff, 0x0f],
                    &[0xff, 0xff],
                    &[0],
                    &[0x80, 0, 0, 0],
                    &[0, 0, 1, 0],
                ];
                let lie = lies[random.below(lies.len())];
                let end = bytes.len().min(at + lie.len());
                bytes[at..end].copy_from_slice(&lie[..end - at]);
            }
        }
    }
    bytes
}

#[test]
fn hostile_bytes_never_panic_and_never_allocate_past_a_bound() {
    let mut random = Random(0xbad);
    let (mut inputs, mut accepted, mut held_per_byte) = (0, 0, 0.0_f64);
    for layout in &layouts() {
        for version in layout.each_version() {
            for _ in 0..INPUTS_PER_VERSION {
                let valid = layout.random_body(&mut random);
                let body = Bytes::from(hostile(valid, &mut random));
                let held = bytes_held(layout, version, &body);
                let bound = HELD_ALWAYS_MAX + HELD_PER_BYTE_MAX * body.len() as u64;
                assert!(
                    held <= bound,
                    "{} {:?} v{version} held {held} bytes for {}: {body:?}",
                    layout.api,
                    layout.direction,
                    body.len(),
                );
                let over = held.saturating_sub(HELD_ALWAYS_MAX) as f64;
                held_per_byte = held_per_byte.max(over / body.len().max(1) as f64);
                inputs += 1;
                accepted += usize::from(decode(layout, version, body));
            }
        }
    }
    println!(
        "{inputs} hostile inputs, {accepted} of them still messages; at most {held_per_byte:.1} \
         bytes held per byte of input"
    );
    assert!(inputs >= INPUTS_MIN, "only {inputs} inputs");
    assert!(accepted >= inputs / 50, "only {accepted} inputs got past the decoders");
    assert!(inputs - accepted >= inputs / 50, "only {} were refused", inputs - accepted);
}

/// The densest input there is for every array: a count that fits, then bytes that are empty texts,
/// empty arrays and no tagged fields.
#[test]
fn arrays_of_the_smallest_elements_stay_under_the_bound() {
    let mut worst = (0, String::new());
    for layout in &layouts() {
        for version in layout.each_version() {
            let valid = layout.random_body(&mut Random(1));
            let places = (0..valid.len().min(24)).flat_map(|prefix| {
                [16_384, 8_192, 5_461, 4_096, 1_024].map(|count| (prefix, count))
            });
            for (prefix, count) in places {
                let mut w = Writer::new();
                w.put_slice(&valid[..prefix]);
                if layout.flexible {
                    w.put_compact_len(count).unwrap();
                } else {
                    w.put_len(count).unwrap();
                }
                w.put_slice(&[u8::from(layout.flexible); 16_384]);
                let body = w.finish().into_bytes();
                let length = body.len() as u64;
                let held = bytes_held(layout, version, &body);
                let place = format!("{} {:?} v{version}", layout.api, layout.direction);
                let bound = HELD_ALWAYS_MAX + HELD_PER_BYTE_MAX * length;
                assert!(held <= bound, "{place} held {held} bytes for {length}");
                worst = worst.max((held / length, place));
            }
        }
    }
    println!("at most {} bytes held per byte of input, by {}", worst.0, worst.1);
    assert!(worst.0 >= 2, "no array was ever filled");
}

#[test]
fn hostile_headers_never_panic() {
    let mut random = Random(0xbeef);
    let mut read = 0;
    for _ in 0..20_000 {
        let mut frame = vec![0, random.below(80) as u8, 0, random.below(14) as u8, 0, 0, 0, 7];
        frame.extend((0..random.below(24)).map(|_| (random.next() % 5) as u8));
        frame.truncate(random.below(frame.len() + 1));
        read += usize::from(decode_request_header(frame.into()).is_ok());
    }
    assert!((1000..19_000).contains(&read), "{read} of the headers were read");
}
