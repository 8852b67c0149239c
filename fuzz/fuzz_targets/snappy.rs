//! Streams of snappy.
#![no_main]

use streamledger_protocol::Codec;

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamledger_fuzz::codec(Codec::Snappy, data));
