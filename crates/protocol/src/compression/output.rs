//! An output buffer that grows with what is really written, up to a limit.

use super::CompressionError;

/// The first room given to a decoder, and the least it is given later.
const ROOM_BYTES_MIN: usize = 4096;

/// A buffer for a decoder's output. It may come to hold one byte more than the limit, by which
/// [`Output::check`] tells "exactly full" from "too much".
pub(super) struct Output<'a> {
    buffer: &'a mut Vec<u8>,
    limit_bytes: usize,
}

impl<'a> Output<'a> {
    pub(super) fn new(buffer: &'a mut Vec<u8>, limit_bytes: usize) -> Self {
        Self { buffer, limit_bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// What has been written from a position on.
    pub(super) fn since(&self, start: usize) -> &[u8] {
        self.buffer.get(start..).unwrap_or_default()
    }

    /// Reserves what a decoder has reason to expect, up to the limit. Reason is what has come in,
    /// never what the stream declares.
    pub(super) fn expect(&mut self, bytes: usize) {
        let capacity = bytes.max(ROOM_BYTES_MIN).min(self.limit_bytes.saturating_add(1));
        self.buffer.reserve(capacity.saturating_sub(self.buffer.len()));
    }

    /// The buffer, with spare capacity behind its content: twice what is there, up to the limit.
    pub(super) fn room(&mut self) -> Result<&mut Vec<u8>, CompressionError> {
        self.check()?;
        if self.buffer.len() == self.buffer.capacity() {
            let left = self.limit_bytes.saturating_add(1) - self.buffer.len();
            self.buffer.reserve_exact(self.buffer.len().max(ROOM_BYTES_MIN).min(left));
        }
        Ok(self.buffer)
    }

    /// Exactly `bytes` zeroed bytes behind the content, for a decoder that knows what it will
    /// write; [`Output::keep`] says how much it did.
    pub(super) fn zeroed(&mut self, bytes: usize) -> Result<&mut [u8], CompressionError> {
        let start = self.buffer.len();
        let end = self.grow(bytes)?;
        self.buffer.resize(end, 0);
        Ok(&mut self.buffer[start..])
    }

    /// Cuts the content to a length.
    pub(super) fn keep(&mut self, bytes: usize) {
        self.buffer.truncate(bytes);
    }

    /// Appends bytes as they are.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), CompressionError> {
        self.grow(bytes.len())?;
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes room for exactly so many bytes more, at least doubling the capacity but never past
    /// the limit, and says where they end.
    fn grow(&mut self, bytes: usize) -> Result<usize, CompressionError> {
        let end = self.buffer.len().saturating_add(bytes);
        if end > self.limit_bytes {
            return self.over_limit();
        }
        if end > self.buffer.capacity() {
            let doubled = self.buffer.capacity().saturating_mul(2).max(ROOM_BYTES_MIN);
            let capacity = doubled.min(self.limit_bytes).max(end);
            self.buffer.reserve_exact(capacity - self.buffer.len());
        }
        Ok(end)
    }

    /// How many bytes may still come.
    pub(super) fn left(&self) -> usize {
        self.limit_bytes.saturating_sub(self.buffer.len())
    }

    /// Content split at a position into what is done and what is to be written.
    pub(super) fn split_at(&mut self, position: usize) -> (&[u8], &mut [u8]) {
        let (done, free) = self.buffer.split_at_mut(position);
        (done, free)
    }

    /// Whether the content has kept to the limit.
    pub(super) fn check(&self) -> Result<(), CompressionError> {
        if self.buffer.len() > self.limit_bytes { self.over_limit() } else { Ok(()) }
    }

    /// The error of an output that would pass the limit.
    pub(super) fn over_limit<T>(&self) -> Result<T, CompressionError> {
        Err(CompressionError::TooLarge { limit_bytes: self.limit_bytes })
    }
}
