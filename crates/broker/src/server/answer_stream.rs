//! The sending side of a connection: bytes in memory, and bytes of files that need not get there.
//!
//! 1. Over a plain socket the kernel hands a file's pages to it (`sendfile`); over TLS they are
//!    read in pieces, each encrypted and gone before the next is read.
//! 2. A page that is not in the page cache is waited for on the thread that sends, as it was when
//!    records were read into memory, and as Apache Kafka does it on its network threads: one piece
//!    at a time, so that the other connections of the thread have their turn in between
//!    (decision 12).

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use thiserror::Error;
use tokio::io::{AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;

use crate::storage::FileRange;

/// How much of a file goes to a socket in one call.
const SENT_BYTES_MAX: usize = 256 << 10;
/// How much of a file is in memory to be encrypted.
const READ_BYTES_MAX: usize = 64 << 10;

/// A stretch of an answer.
#[derive(Debug)]
pub(crate) enum Piece {
    Memory(Bytes),
    File(FileRange),
}

impl Piece {
    /// How many bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(range) => range.len(),
        }
    }
}

/// Why a part of an answer was not sent.
#[derive(Debug, Error)]
pub(crate) enum SendFailure {
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("reading the segment at offset {} to send it: {source}", .segment.0)]
    File { segment: streamledger_protocol::Offset, source: io::Error },
}

impl SendFailure {
    fn file(range: &FileRange, source: io::Error) -> Self {
        Self::File { segment: range.segment(), source }
    }
}

/// What takes the answers of a connection.
pub(crate) trait AnswerStream {
    /// Sends some of the slices. More follows at once if `more`: then it may wait for that.
    async fn send_slices(&mut self, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize>;

    /// Sends some of a range, of which `sent` bytes are sent.
    async fn send_file(&mut self, range: &FileRange, sent: usize) -> Result<usize, SendFailure>;

    /// Keeps nothing back.
    async fn send_rest(&mut self) -> io::Result<()>;
}

/// A socket that takes bytes as they are.
#[derive(Debug)]
pub(crate) struct PlainStream<'a> {
    socket: &'a TcpStream,
}

impl<'a> PlainStream<'a> {
    pub(crate) fn new(half: &'a WriteHalf<'_>) -> Self {
        Self { socket: half.as_ref() }
    }
}

impl AnswerStream for PlainStream<'_> {
    async fn send_slices(&mut self, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
        let more = if more { SendFlags::MORE } else { SendFlags::empty() };
        let flags = SendFlags::NOSIGNAL | more;
        let send = || {
            let mut nothing_else = SendAncillaryBuffer::default();
            Ok(sendmsg(self.socket.as_fd(), slices, &mut nothing_else, flags)?)
        };
        self.socket.async_io(Interest::WRITABLE, send).await
    }

    async fn send_file(&mut self, range: &FileRange, sent: usize) -> Result<usize, SendFailure> {
        let mut failed_read = None;
        let send = || match range.send_to(self.socket.as_fd(), sent, SENT_BYTES_MAX) {
            Ok(0) => {
                failed_read = Some(io::ErrorKind::UnexpectedEof.into());
                Ok(0)
            }
            // The disk's: a socket has other errors.
            Err(Errno::IO) => {
                failed_read = Some(Errno::IO.into());
                Ok(0)
            }
            other => Ok(other?),
        };
        let sent = self.socket.async_io(Interest::WRITABLE, send).await?;
        match failed_read {
            None => Ok(sent),
            Some(source) => Err(SendFailure::file(range, source)),
        }
    }

    async fn send_rest(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream that must see the bytes, to encrypt them.
#[derive(Debug)]
pub(crate) struct CopyingStream<'a, W> {
    inner: &'a mut W,
}

impl<'a, W> CopyingStream<'a, W> {
    pub(crate) fn new(inner: &'a mut W) -> Self {
        Self { inner }
    }
}

impl<W: AsyncWrite + Unpin> AnswerStream for CopyingStream<'_, W> {
    async fn send_slices(&mut self, slices: &[IoSlice<'_>], _more: bool) -> io::Result<usize> {
        self.inner.write_vectored(slices).await
    }

    async fn send_file(&mut self, range: &FileRange, sent: usize) -> Result<usize, SendFailure> {
        let bytes = range.read(sent, READ_BYTES_MAX);
        let bytes = bytes.map_err(|source| SendFailure::file(range, source))?;
        self.inner.write_all(&bytes).await?;
        Ok(bytes.len())
    }

    async fn send_rest(&mut self) -> io::Result<()> {
        self.inner.flush().await
    }
}
