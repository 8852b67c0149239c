//! Writes responses in the order of their requests, several in one write, records uncopied.
//!
//! 1. A response is only asked for when all before it are written or ready: what a connection
//!    holds of fetched records is one answer, however many it asked for ahead.
//! 2. A reader that does not read is dropped at a deadline (FAILURES.md 59).

use std::io::IoSlice;
use std::time::Duration;

use futures_util::FutureExt;
use thiserror::Error;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use crate::api::{CloseReason, Outgoing, Reply};

/// Responses are gathered for one write up to this many bytes.
const GATHERED_BYTES_MAX: usize = 256 << 10;
/// The most pieces handed to one write; Linux takes 1024.
const PIECES_MAX: usize = 64;
/// What a reader must manage, on the whole, after the first half minute; and never may it take
/// nothing for that long.
const BYTES_PER_SECOND_MIN: usize = 64 << 10;

/// Why no further response is written to a connection.
#[derive(Debug, Error)]
pub(crate) enum WriteFailure {
    #[error("its reader does not take the responses")]
    Stalled,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Closed(#[from] CloseReason),
}

/// Writes what comes through the queue until it ends.
pub(crate) async fn write_responses<W: AsyncWrite + Unpin>(
    stream: &mut W,
    mut queue: Receiver<Reply>,
    patience: Duration,
) -> Result<(), WriteFailure> {
    let mut gathered: Vec<Outgoing> = Vec::new();
    let mut unfinished = None;
    loop {
        let reply = match unfinished.take() {
            Some(reply) => reply,
            None => match queue.recv().await {
                Some(reply) => reply,
                None => return Ok(()),
            },
        };
        match reply {
            Reply::Ready(outgoing) => gathered.push(outgoing),
            Reply::Later(outgoing) => gathered.push(outgoing.await?),
            Reply::Nothing => {}
        }
        unfinished = gather(&mut gathered, &mut queue)?;
        write(stream, &mut gathered, patience).await?;
    }
}

/// Adds what is ready already; gives back what is not, to be waited for after the write.
fn gather(
    gathered: &mut Vec<Outgoing>,
    queue: &mut Receiver<Reply>,
) -> Result<Option<Reply>, CloseReason> {
    let mut bytes: usize = gathered.iter().map(|outgoing| outgoing.frame.len()).sum();
    while bytes < GATHERED_BYTES_MAX {
        let outgoing = match queue.try_recv() {
            Err(_) => break,
            Ok(Reply::Nothing) => continue,
            Ok(Reply::Ready(outgoing)) => outgoing,
            Ok(Reply::Later(mut outgoing)) => match (&mut outgoing).now_or_never() {
                Some(outgoing) => outgoing?,
                None => return Ok(Some(Reply::Later(outgoing))),
            },
        };
        bytes += outgoing.frame.len();
        gathered.push(outgoing);
    }
    Ok(None)
}

async fn write<W: AsyncWrite + Unpin>(
    stream: &mut W,
    gathered: &mut Vec<Outgoing>,
    patience: Duration,
) -> Result<(), WriteFailure> {
    let bytes: usize = gathered.iter().map(|outgoing| outgoing.frame.len()).sum();
    let pace = Duration::from_secs((bytes / BYTES_PER_SECOND_MIN) as u64);
    {
        let slices = gathered.iter().flat_map(|outgoing| outgoing.frame.iter_io_slices());
        let mut slices: Vec<IoSlice<'_>> = slices.collect();
        match timeout(patience + pace, write_all(stream, &mut slices, patience)).await {
            Err(_) => return Err(WriteFailure::Stalled),
            Ok(written) => written?,
        }
    }
    // Only now is their memory free for others.
    gathered.clear();
    Ok(())
}

async fn write_all<W: AsyncWrite + Unpin>(
    stream: &mut W,
    mut slices: &mut [IoSlice<'_>],
    patience: Duration,
) -> Result<(), WriteFailure> {
    while !slices.is_empty() {
        let pieces = &slices[..slices.len().min(PIECES_MAX)];
        let writing = timeout(patience, stream.write_vectored(pieces));
        let written = writing.await.map_err(|_| WriteFailure::Stalled)??;
        if written == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
        }
        IoSlice::advance_slices(&mut slices, written);
    }
    // Encryption may keep the last bytes back.
    timeout(patience, stream.flush()).await.map_err(|_| WriteFailure::Stalled)??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use streamledger_protocol::wire::Frame;
    use tokio::io::{AsyncReadExt, duplex};
    use tokio::sync::mpsc;

    use super::*;

    fn outgoing(pieces: &[&'static [u8]]) -> Outgoing {
        let segments = pieces.iter().map(|piece| Bytes::from_static(piece)).collect();
        Outgoing { frame: Frame { segments }, _charged: None }
    }

    #[tokio::test]
    async fn answers_leave_in_order_though_a_later_one_is_ready_first() {
        let (mut client, mut server) = duplex(1 << 16);
        let (queue, receiver) = mpsc::channel(10);
        let late = Reply::Later(Box::pin(async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            Ok(outgoing(&[b"one,", b"two,"]))
        }));
        for reply in [late, Reply::Ready(outgoing(&[b"three,"])), Reply::Nothing] {
            queue.send(reply).await.unwrap();
        }
        queue.send(Reply::Later(Box::pin(async { Ok(outgoing(&[b"four"])) }))).await.unwrap();
        drop(queue);
        write_responses(&mut server, receiver, Duration::from_secs(5)).await.unwrap();
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "one,two,three,four");
    }

    #[tokio::test]
    async fn failures_59_a_reader_that_does_not_read_is_dropped_at_the_deadline() {
        let (_client, mut server) = duplex(16);
        let (queue, receiver) = mpsc::channel(10);
        queue.send(Reply::Ready(outgoing(&[&[7; 1000]]))).await.unwrap();
        let written = write_responses(&mut server, receiver, Duration::from_millis(50)).await;
        assert!(matches!(written, Err(WriteFailure::Stalled)));
    }

    #[tokio::test]
    async fn more_pieces_than_one_write_takes_all_arrive() {
        let (mut client, mut server) = duplex(64);
        let (queue, receiver) = mpsc::channel(300);
        for _ in 0..300 {
            queue.send(Reply::Ready(outgoing(&[b"ab", b"cde"]))).await.unwrap();
        }
        drop(queue);
        let reading = tokio::spawn(async move {
            let mut text = String::new();
            client.read_to_string(&mut text).await.unwrap();
            text
        });
        write_responses(&mut server, receiver, Duration::from_secs(20)).await.unwrap();
        drop(server);
        assert_eq!(reading.await.unwrap(), "abcde".repeat(300));
    }
}
