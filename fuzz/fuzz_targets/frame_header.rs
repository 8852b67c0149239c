//! Length prefixes and request headers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamledger_fuzz::frame_header(data));
