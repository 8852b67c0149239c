//! Reads request frames, each straight into the one buffer its records will be sliced from.
//!
//! 1. A length is checked against its cap before a byte is allocated for it.
//! 2. Small frames come out of a small shared buffer, several in one read; a large one gets a
//!    buffer of its own, of exactly its length, and is never moved again.
//! 3. Memory is taken from a budget that all connections share; frames too large for it go one
//!    at a time, on a lane of their own, so they can't hold up the small ones.
//! 4. Every wait for bytes has a deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use streamledger_protocol::ApiKey;
use streamledger_protocol::frame::FrameLength;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::budget::{ByteBudget, BytePermit};
use crate::config::NetworkSettings;

/// How much is read ahead of the next frame's length.
const READ_AHEAD_BYTES: usize = 4096;
/// Length prefix, API key and version, correlation id: the least a frame has.
const FRAME_START_BYTES: usize = FrameLength::BYTES + 8;
/// The longest request that carries no records, so that a count in it can't ask for much memory.
const CONTROL_REQUEST_BYTES_MAX: usize = 1 << 20;
/// Frames longer than this go one at a time.
const LARGE_FRAME_BYTES: usize = 2 << 20;
/// What a sender must manage after the first half minute: a mebibyte a second.
const BYTES_PER_SECOND_MIN: usize = 1 << 20;

/// Why no further request is read from a connection.
#[derive(Debug, Error)]
pub(crate) enum ReadFailure {
    #[error("it was closed in the middle of a request")]
    CutShort,
    #[error("a request of {0} bytes is no request, or longer than allowed")]
    Length(i32),
    #[error("it speaks TLS, and this listener doesn't: a client with security.protocol=SSL?")]
    Tls,
    #[error("a request of {0} bytes that carries no records")]
    LongControlRequest(usize),
    #[error("nothing was asked for too long")]
    Idle,
    #[error("no request came in time after it was opened")]
    Silent,
    #[error("a request came too slowly")]
    Slow,
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// The budgets frames are read within.
#[derive(Debug, Clone)]
pub(crate) struct ReadBudgets {
    pub(crate) small: Arc<ByteBudget>,
    pub(crate) large: Arc<Semaphore>,
}

impl ReadBudgets {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { small: ByteBudget::new(bytes_max), large: Arc::new(Semaphore::new(1)) }
    }
}

/// What a frame's memory is held under.
#[derive(Debug)]
pub(crate) enum FramePermit {
    Small { _bytes: BytePermit },
    Large { _lane: OwnedSemaphorePermit },
}

/// A request's bytes without the length, and the memory it is charged for.
#[derive(Debug)]
pub(crate) struct RequestFrame {
    pub(crate) bytes: Bytes,
    pub(crate) permit: FramePermit,
}

/// Frames of one connection.
#[derive(Debug)]
pub(crate) struct FrameReader<'a, R> {
    stream: R,
    ahead: BytesMut,
    settings: &'a NetworkSettings,
    budgets: ReadBudgets,
    had_a_frame: bool,
    /// The longest frame of a client that nobody knows yet.
    stranger_bytes_max: Option<u32>,
}

impl<'a, R: AsyncRead + Unpin> FrameReader<'a, R> {
    pub(crate) fn new(stream: R, settings: &'a NetworkSettings, budgets: ReadBudgets) -> Self {
        Self {
            stream,
            ahead: BytesMut::new(),
            settings,
            budgets,
            had_a_frame: false,
            stranger_bytes_max: None,
        }
    }

    /// How long frames may be while nobody knows whose they are; `None` once somebody does.
    pub(crate) fn restrict(&mut self, stranger_bytes_max: Option<u32>) {
        self.stranger_bytes_max = stranger_bytes_max;
    }

    /// The next frame; `None` when the client closed between two.
    pub(crate) async fn next(&mut self) -> Result<Option<RequestFrame>, ReadFailure> {
        let (wait, failure) = if self.had_a_frame {
            (self.settings.idle_max, ReadFailure::Idle)
        } else {
            (self.settings.first_request_timeout, ReadFailure::Silent)
        };
        if self.ahead.is_empty()
            && timeout(wait, self.read_ahead()).await.map_err(|_| failure)?? == 0
        {
            return Ok(None);
        }
        let patience = self.settings.request_read_timeout;
        let start = timeout(patience, self.read_start());
        let frame_bytes = start.await.map_err(|_| ReadFailure::Slow)??;
        let permit = self.permit(frame_bytes).await;
        let pace = Duration::from_secs((frame_bytes / BYTES_PER_SECOND_MIN) as u64);
        let rest = timeout(patience + pace, self.read_rest(frame_bytes));
        let bytes = rest.await.map_err(|_| ReadFailure::Slow)??;
        self.had_a_frame = true;
        Ok(Some(RequestFrame { bytes, permit }))
    }

    /// Reads until the frame's beginning is there, and gives its checked length.
    async fn read_start(&mut self) -> Result<usize, ReadFailure> {
        let mut checked = None;
        loop {
            if let (None, Some(&prefix)) = (checked, self.ahead.first_chunk()) {
                checked = Some(self.frame_length(prefix)?);
            }
            match checked {
                // Only a stranger's may be shorter than a request's header: a token of a login.
                Some(frame_bytes)
                    if self.ahead.len()
                        >= FRAME_START_BYTES.min(FrameLength::BYTES + frame_bytes) =>
                {
                    self.check_control_length(frame_bytes)?;
                    return Ok(frame_bytes);
                }
                _ => {}
            }
            if self.read_ahead().await? == 0 {
                return Err(ReadFailure::CutShort);
            }
        }
    }

    fn frame_length(&self, prefix: [u8; FrameLength::BYTES]) -> Result<usize, ReadFailure> {
        let bytes_max = self.stranger_bytes_max.unwrap_or(self.settings.request_bytes_max);
        let bytes_min = match self.stranger_bytes_max {
            Some(_) => 0,
            None => FRAME_START_BYTES - FrameLength::BYTES,
        };
        FrameLength::parse(prefix, bytes_max)
            .ok()
            .filter(|&frame_bytes| frame_bytes >= bytes_min)
            .ok_or_else(|| match prefix {
                // A record of TLS's handshake, in any version.
                [0x16, 0x03, 0..=4, _] => ReadFailure::Tls,
                _ => ReadFailure::Length(i32::from_be_bytes(prefix)),
            })
    }

    fn check_control_length(&self, frame_bytes: usize) -> Result<(), ReadFailure> {
        let api_key = self.ahead[FrameLength::BYTES..].first_chunk().copied();
        let carries_records = api_key.map(i16::from_be_bytes) == Some(ApiKey::Produce.code());
        if frame_bytes > CONTROL_REQUEST_BYTES_MAX && !carries_records {
            return Err(ReadFailure::LongControlRequest(frame_bytes));
        }
        Ok(())
    }

    async fn permit(&self, frame_bytes: usize) -> FramePermit {
        if frame_bytes > LARGE_FRAME_BYTES
            && let Ok(lane) = Arc::clone(&self.budgets.large).acquire_owned().await
        {
            return FramePermit::Large { _lane: lane };
        }
        FramePermit::Small { _bytes: self.budgets.small.take(frame_bytes).await }
    }

    async fn read_rest(&mut self, frame_bytes: usize) -> Result<Bytes, ReadFailure> {
        let whole_bytes = FrameLength::BYTES + frame_bytes;
        if self.ahead.len() >= whole_bytes {
            let mut frame = self.ahead.split_to(whole_bytes);
            return Ok(frame.split_off(FrameLength::BYTES).freeze());
        }
        let mut frame = BytesMut::with_capacity(frame_bytes);
        frame.extend_from_slice(&self.ahead[FrameLength::BYTES..]);
        self.ahead.clear();
        while frame.len() < frame_bytes {
            let missing = frame_bytes - frame.len();
            if self.stream.read_buf(&mut (&mut frame).limit(missing)).await? == 0 {
                return Err(ReadFailure::CutShort);
            }
        }
        Ok(frame.freeze())
    }

    async fn read_ahead(&mut self) -> std::io::Result<usize> {
        if self.ahead.capacity() - self.ahead.len() < FRAME_START_BYTES {
            self.ahead.reserve(READ_AHEAD_BYTES);
        }
        let room = READ_AHEAD_BYTES.min(self.ahead.capacity() - self.ahead.len());
        self.stream.read_buf(&mut (&mut self.ahead).limit(room)).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;
    use crate::config::BrokerConfig;

    fn settings() -> NetworkSettings {
        NetworkSettings {
            request_bytes_max: 8 << 20,
            idle_max: Duration::from_millis(300),
            first_request_timeout: Duration::from_millis(200),
            request_read_timeout: Duration::from_millis(200),
            ..BrokerConfig::default().settings.network
        }
    }

    fn frame(api_key: i16, body: &[u8]) -> Vec<u8> {
        let length = (8 + body.len()) as i32;
        let start = [&length.to_be_bytes()[..], &api_key.to_be_bytes(), &[0, 3, 0, 0, 0, 1]];
        [&start.concat()[..], body].concat()
    }

    #[tokio::test]
    async fn frames_of_every_size_come_out_whole_however_they_arrive() {
        let (mut client, server) = duplex(1000);
        let sizes = [0, 1, 500, 3000, 4080, 5000, 70_000, 3 << 20, 10];
        let sending = tokio::spawn(async move {
            for size in sizes {
                client.write_all(&frame(0, &vec![size as u8; size])).await.unwrap();
            }
        });
        let long = Duration::from_secs(60);
        let settings = NetworkSettings {
            idle_max: long,
            first_request_timeout: long,
            request_read_timeout: long,
            ..settings()
        };
        let mut reader = FrameReader::new(server, &settings, ReadBudgets::new(1 << 20));
        for size in sizes {
            let got = reader.next().await.unwrap().unwrap();
            assert_eq!(got.bytes.len(), 8 + size);
            assert!(got.bytes[8..].iter().all(|&byte| byte == size as u8));
        }
        assert!(reader.next().await.unwrap().is_none());
        sending.await.unwrap();
    }

    async fn failure_of(input: &[u8]) -> ReadFailure {
        let (mut client, server) = duplex(1 << 16);
        client.write_all(input).await.unwrap();
        let settings = settings();
        let mut reader = FrameReader::new(server, &settings, ReadBudgets::new(1 << 20));
        let failure = loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("closed without a failure"),
                Err(failure) => break failure,
            }
        };
        drop(client);
        failure
    }

    #[tokio::test]
    async fn a_length_that_cannot_be_is_refused_before_allocation() {
        for length in [-1, i32::MIN, i32::MAX, 0, 7, (8 << 20) + 1] {
            let failure = failure_of(&length.to_be_bytes()).await;
            assert!(matches!(failure, ReadFailure::Length(l) if l == length), "{failure}");
        }
    }

    #[tokio::test]
    async fn a_long_request_without_records_is_refused() {
        let metadata = [&(2_i32 << 20).to_be_bytes()[..], &[0, 3, 0, 0, 0, 0, 0, 0]].concat();
        assert!(matches!(failure_of(&metadata).await, ReadFailure::LongControlRequest(_)));
    }

    #[tokio::test]
    async fn silence_idleness_and_a_stalled_request_each_have_a_deadline() {
        assert!(matches!(failure_of(&[]).await, ReadFailure::Silent));
        assert!(matches!(failure_of(&frame(3, b"")).await, ReadFailure::Idle));
        assert!(matches!(failure_of(&[0, 0]).await, ReadFailure::Slow));
        assert!(matches!(failure_of(&frame(0, &[1; 100])[..50]).await, ReadFailure::Slow));
    }

    #[tokio::test]
    async fn a_large_frame_that_stalls_does_not_hold_up_small_ones() {
        let (budgets, settings) = (ReadBudgets::new(1 << 20), settings());
        let (mut slow, server) = duplex(1 << 16);
        slow.write_all(&[&(4_i32 << 20).to_be_bytes()[..], &[0; 20]].concat()).await.unwrap();
        let mut stalled = FrameReader::new(server, &settings, budgets.clone());
        let (mut quick, server) = duplex(1 << 16);
        quick.write_all(&frame(3, b"hello")).await.unwrap();
        let mut other = FrameReader::new(server, &settings, budgets.clone());
        let other = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            other.next().await
        };
        let (stalled, other) = tokio::join!(stalled.next(), other);
        assert!(matches!(stalled, Err(ReadFailure::Slow)));
        assert_eq!(other.unwrap().unwrap().bytes.len(), 13);
    }
}
