//! Each thread's codecs, lent for one batch.

use std::cell::RefCell;

use bytes::Bytes;
use streamledger_broker_core::log::{LogConfig, recompressed};
use streamledger_protocol::compression::{CompressionScratch, Decompressor};

thread_local! {
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::default());
    static COMPRESSOR: RefCell<CompressionScratch> = RefCell::new(CompressionScratch::new());
}

/// The batch in its topic's codec, by the thread's compressor.
pub(super) fn recompress(batch: Bytes, config: &LogConfig) -> Bytes {
    if config.compression.is_none() {
        return batch;
    }
    with_decompressor(|decompressor| {
        COMPRESSOR.with_borrow_mut(|scratch| recompressed(batch, config, decompressor, scratch))
    })
}

/// Lends the thread's decompressor.
pub(super) fn with_decompressor<T>(work: impl FnOnce(&mut Decompressor) -> T) -> T {
    DECOMPRESSOR.with_borrow_mut(work)
}
