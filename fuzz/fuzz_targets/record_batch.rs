//! Record batches and their records.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamledger_fuzz::record_batch(data));
