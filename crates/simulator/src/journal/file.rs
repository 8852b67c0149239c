//! A file whose pages reach the disk when they like, and all of them by a flush.

use crate::random::Dice;

/// Bytes of a page: small, so that frames cross their borders.
const PAGE_BYTES: usize = 64;

/// A file: what the page cache has, and what is on disk for sure.
#[derive(Debug, Clone, Default)]
pub(super) struct PagedFile {
    cached: Vec<u8>,
    safe: Vec<u8>,
}

impl PagedFile {
    pub(super) fn of(content: Vec<u8>) -> Self {
        Self { safe: content.clone(), cached: content }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.cached
    }

    pub(super) fn write(&mut self, position: usize, bytes: &[u8]) {
        let end = position + bytes.len();
        self.cached.resize(self.cached.len().max(end), 0);
        self.cached[position..end].copy_from_slice(bytes);
    }

    pub(super) fn truncate(&mut self, bytes: usize) {
        self.cached.truncate(bytes);
    }

    pub(super) fn flush(&mut self) {
        self.safe.clone_from(&self.cached);
    }

    /// Each page that was not flushed is kept or lost; the file is as long as it was, or as it had
    /// been when it was flushed, with zeros where nothing was written.
    pub(super) fn cut_power(&mut self, dice: &mut Dice) {
        let keeps_length = dice.below(2) == 0;
        let bytes = if keeps_length { self.cached.len() } else { self.safe.len() };
        let mut left = self.safe.clone();
        left.resize(bytes, 0);
        for at in (0..bytes).step_by(PAGE_BYTES) {
            let end = (at + PAGE_BYTES).min(bytes).min(self.cached.len());
            if at < end && dice.below(2) == 0 {
                left[at..end].copy_from_slice(&self.cached[at..end]);
            }
        }
        self.cached = left;
        self.flush();
    }
}
