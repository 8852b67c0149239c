//! Streams of zstd.
#![no_main]

use streamledger_protocol::Codec;

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamledger_fuzz::codec(Codec::Zstd, data));
