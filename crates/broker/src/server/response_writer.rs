//! Sends responses in the order of their requests, several in one write, records uncopied.
//!
//! 1. A response is only asked for when all before it are written or ready: what a connection
//!    holds of fetched records is one answer, however many it asked for ahead.
//!    Most of such an answer is no memory, only a place in a file.
//! 2. A reader that does not read is dropped at a deadline (FAILURES.md 59), and soon when the
//!    broker stops: what it doesn't take must not keep the logs from being closed.

use std::io::IoSlice;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use thiserror::Error;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::answer_stream::{AnswerStream, Piece, SendFailure};
use crate::api::{CloseReason, Outgoing, Reply};
use crate::storage::FileRange;

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
    #[error("its reader did not take the responses in the time left to a broker that stops")]
    Stopping,
    #[error(transparent)]
    Send(#[from] SendFailure),
    #[error(transparent)]
    Closed(#[from] CloseReason),
}

/// How long a reader may take nothing, and when no more is waited for it.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    /// The longest that a reader may take nothing; on the whole it has that and a pace.
    pub(crate) reader: Duration,
    /// How long after the stop of the broker answers are still waited to be taken.
    pub(crate) after_stop: Duration,
    /// True when the broker stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Patience {
    /// Returns when the broker has been stopping for that long.
    async fn run_out(mut self) {
        // The handle that would say so may be gone: that stops a broker too.
        let _ = self.stopping.wait_for(|&stopping| stopping).await;
        sleep(self.after_stop).await;
    }
}

/// Writes what comes through the queue until it ends.
///
/// Once the broker has been stopping for a while, an answer is sent only as far as the socket takes
/// it at once; those that are still being worked on are waited for all the same.
pub(crate) async fn write_responses<S: AnswerStream>(
    stream: &mut S,
    mut queue: Receiver<Reply>,
    patience: Patience,
) -> Result<(), WriteFailure> {
    let mut gathered: Vec<Outgoing> = Vec::new();
    let mut unfinished = None;
    let mut last_call = pin!(patience.clone().run_out());
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
        let writing = pin!(write(stream, &mut gathered, patience.reader));
        // The writing is looked at first: what the socket takes at once goes out, however late.
        match select(writing, &mut last_call).await {
            Either::Left((written, _)) => written?,
            Either::Right(_) => return Err(WriteFailure::Stopping),
        }
    }
}

/// Adds what is ready already; gives back what is not, to be waited for after the write.
fn gather(
    gathered: &mut Vec<Outgoing>,
    queue: &mut Receiver<Reply>,
) -> Result<Option<Reply>, CloseReason> {
    let mut bytes: usize = gathered.iter().map(Outgoing::len).sum();
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
        bytes += outgoing.len();
        gathered.push(outgoing);
    }
    Ok(None)
}

async fn write<S: AnswerStream>(
    stream: &mut S,
    gathered: &mut Vec<Outgoing>,
    patience: Duration,
) -> Result<(), WriteFailure> {
    let bytes: usize = gathered.iter().map(Outgoing::len).sum();
    let pace = Duration::from_secs((bytes / BYTES_PER_SECOND_MIN) as u64);
    let pieces = gathered.iter().flat_map(|outgoing| &outgoing.pieces);
    match timeout(patience + pace, write_all(stream, pieces, patience)).await {
        Err(_) => return Err(WriteFailure::Stalled),
        Ok(written) => written?,
    }
    // Only now is their memory free for others.
    gathered.clear();
    Ok(())
}

async fn write_all<'a, S: AnswerStream>(
    stream: &mut S,
    pieces: impl Iterator<Item = &'a Piece>,
    patience: Duration,
) -> Result<(), WriteFailure> {
    let mut slices = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Memory(bytes) => slices.push(IoSlice::new(bytes)),
            Piece::File(range) => {
                write_slices(stream, &mut slices, true, patience).await?;
                slices.clear();
                write_file(stream, range, patience).await?;
            }
        }
    }
    write_slices(stream, &mut slices, false, patience).await?;
    // Encryption may keep the last bytes back.
    within(patience, stream.send_rest()).await
}

async fn write_slices<S: AnswerStream>(
    stream: &mut S,
    mut slices: &mut [IoSlice<'_>],
    more: bool,
    patience: Duration,
) -> Result<(), WriteFailure> {
    while !slices.is_empty() {
        let pieces = &slices[..slices.len().min(PIECES_MAX)];
        let written = within(patience, stream.send_slices(pieces, more)).await?;
        if written == 0 {
            let nothing = std::io::Error::from(std::io::ErrorKind::WriteZero);
            return Err(SendFailure::from(nothing).into());
        }
        IoSlice::advance_slices(&mut slices, written);
    }
    Ok(())
}

async fn write_file<S: AnswerStream>(
    stream: &mut S,
    range: &FileRange,
    patience: Duration,
) -> Result<(), WriteFailure> {
    let mut sent = 0;
    while sent < range.len() {
        sent += within(patience, stream.send_file(range, sent)).await?;
    }
    Ok(())
}

/// What a send gives, unless the reader takes nothing for too long.
async fn within<T, E: Into<SendFailure>>(
    patience: Duration,
    sending: impl Future<Output = Result<T, E>>,
) -> Result<T, WriteFailure> {
    let sent = timeout(patience, sending).await.map_err(|_| WriteFailure::Stalled)?;
    sent.map_err(|failure| WriteFailure::Send(failure.into()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, duplex};
    use tokio::sync::mpsc;

    use super::super::answer_stream::{CopyingStream, PlainStream};
    use super::*;

    /// Of a broker that nobody stops.
    fn patience(reader: Duration) -> Patience {
        let (stop, stopping) = watch::channel(false);
        // Kept for ever: a stop that is dropped is a stop.
        std::mem::forget(stop);
        Patience { reader, after_stop: Duration::ZERO, stopping }
    }

    fn outgoing(pieces: &[&'static [u8]]) -> Outgoing {
        let piece = |piece: &&'static [u8]| Piece::Memory(Bytes::from_static(piece));
        Outgoing { pieces: pieces.iter().map(piece).collect(), _charged: None }
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
        write_responses(
            &mut CopyingStream::new(&mut server),
            receiver,
            patience(Duration::from_secs(5)),
        )
        .await
        .unwrap();
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
        let written = write_responses(
            &mut CopyingStream::new(&mut server),
            receiver,
            patience(Duration::from_millis(50)),
        )
        .await;
        assert!(matches!(written, Err(WriteFailure::Stalled)));
    }

    #[tokio::test]
    async fn failures_49_what_nobody_takes_ends_soon_after_a_stop_and_what_is_worked_on_does_not() {
        let (stop, stopping) = watch::channel(true);
        let after_stop = Duration::from_millis(50);
        let patience = Patience { reader: Duration::from_secs(600), after_stop, stopping };
        let (_client, mut server) = duplex(16);
        let (queue, receiver) = mpsc::channel(10);
        queue.send(Reply::Ready(outgoing(&[&[7; 1000]]))).await.unwrap();
        let mut stream = CopyingStream::new(&mut server);
        let written = write_responses(&mut stream, receiver, patience.clone()).await;
        assert!(matches!(written, Err(WriteFailure::Stopping)), "{written:?}");

        let (mut client, mut server) = duplex(16);
        let (queue, receiver) = mpsc::channel(10);
        let flushed_late = Reply::Later(Box::pin(async move {
            tokio::time::sleep(after_stop * 3).await;
            Ok(outgoing(&[b"acked"]))
        }));
        queue.send(flushed_late).await.unwrap();
        drop(queue);
        write_responses(&mut CopyingStream::new(&mut server), receiver, patience).await.unwrap();
        drop((server, stop));
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "acked");
    }

    /// Two answers: in memory, from a file, in memory, and twice from a file. And what to expect.
    fn with_files(file: &std::fs::File) -> ([Outgoing; 2], Vec<u8>) {
        let all: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
        std::os::unix::fs::FileExt::write_all_at(file, &all, 0).unwrap();
        let range = |position: usize, bytes| {
            Piece::File(FileRange::of(file.try_clone().unwrap(), position as u64, bytes))
        };
        let memory = |text: &'static str| Piece::Memory(Bytes::from_static(text.as_bytes()));
        let of = |pieces| Outgoing { pieces, _charged: None };
        let first = of(vec![memory("one"), range(1, 2_500_000), memory("two"), memory("three")]);
        let second = of(vec![range(2_000_000, 1_000_000), range(7, 100_000)]);
        let parts: [&[u8]; 5] =
            [b"one", &all[1..2_500_001], b"twothree", &all[2_000_000..], &all[7..100_007]];
        ([first, second], parts.concat())
    }

    async fn queue_of(outgoing: [Outgoing; 2]) -> Receiver<Reply> {
        let (queue, receiver) = mpsc::channel(10);
        for one in outgoing {
            queue.send(Reply::Ready(one)).await.unwrap();
        }
        receiver
    }

    #[tokio::test]
    async fn files_are_sent_as_they_are_by_a_socket_and_by_a_stream_that_must_see_them() {
        let file = tempfile::tempfile().unwrap();
        let (answers, expected) = with_files(&file);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reading = tokio::spawn(async move {
            let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
            let mut all = Vec::new();
            // Slowly at first, so that the socket is full in the middle of a file.
            let mut some = [0; 1000];
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let bytes = client.read(&mut some).await.unwrap();
                all.extend_from_slice(&some[..bytes]);
            }
            client.read_to_end(&mut all).await.unwrap();
            all
        });
        let (mut server, _) = listener.accept().await.unwrap();
        let receiver = queue_of(answers).await;
        let (_, half) = server.split();
        let patience = patience(Duration::from_secs(60));
        write_responses(&mut PlainStream::new(&half), receiver, patience.clone()).await.unwrap();
        drop(server);
        assert!(reading.await.unwrap() == expected);

        let (answers, _) = with_files(&file);
        let (mut client, mut server) = duplex(1000);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.unwrap();
            all
        });
        let receiver = queue_of(answers).await;
        write_responses(&mut CopyingStream::new(&mut server), receiver, patience).await.unwrap();
        drop(server);
        assert!(reading.await.unwrap() == expected);
    }

    #[tokio::test]
    async fn a_file_that_was_cut_is_no_end_of_an_answer() {
        let file = tempfile::tempfile().unwrap();
        let (answers, _) = with_files(&file);
        file.set_len(1_000_000).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reading = tokio::spawn(async move {
            let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
            let mut all = Vec::new();
            let _ = client.read_to_end(&mut all).await;
            all.len()
        });
        let (mut server, _) = listener.accept().await.unwrap();
        let receiver = queue_of(answers).await;
        let patience = patience(Duration::from_secs(60));
        let (_, half) = server.split();
        let sent = write_responses(&mut PlainStream::new(&half), receiver, patience.clone()).await;
        let is_told = matches!(&sent, Err(WriteFailure::Send(SendFailure::File { .. })));
        assert!(is_told, "{sent:?}");
        drop(server);
        assert!(reading.await.unwrap() <= 1_000_002);
        let (answers, _) = with_files(&file);
        file.set_len(1_000_000).unwrap();
        let (_client, mut server) = duplex(8 << 20);
        let receiver = queue_of(answers).await;
        let sent = write_responses(&mut CopyingStream::new(&mut server), receiver, patience).await;
        assert!(matches!(&sent, Err(WriteFailure::Send(SendFailure::File { .. }))));
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
        write_responses(
            &mut CopyingStream::new(&mut server),
            receiver,
            patience(Duration::from_secs(20)),
        )
        .await
        .unwrap();
        drop(server);
        assert_eq!(reading.await.unwrap(), "abcde".repeat(300));
    }
}
