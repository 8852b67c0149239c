//! Requests of every API and version.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamledger_fuzz::requests(data));
