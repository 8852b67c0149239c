//! Moves a connection's bytes: writes what is queued in big vectored writes, reads and cuts frames.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use streamledger_protocol::frame::{FrameLength, peek_correlation_id};
use streamledger_protocol::wire::DecodeError;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::NetworkErrorKind;
use super::connection::{Shared, State};
use super::tls::explain;
use super::transport::Transport;

/// The future that drives one connection until it is closed.
pub(super) struct Driver {
    shared: Rc<Shared>,
    transport: Transport,
    /// Bytes that were read and are not a whole frame yet.
    received: BytesMut,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Room for one read: several small responses, or a good part of a big one.
const READ_BYTES: usize = 64 * 1024;
/// With less room than this the buffer is made larger before the next read.
const READ_BYTES_MIN: usize = 4 * 1024;
/// Pieces of frames in one write; a Produce request has two for each batch.
const SLICES_MAX: usize = 128;

impl Driver {
    pub(super) fn new(shared: Rc<Shared>, transport: Transport) -> Self {
        Self { shared, transport, received: BytesMut::new(), timer: None }
    }

    /// Writes until there is nothing left to write, or the socket takes no more; then lets
    /// encryption pass on what it has kept back.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), NetworkErrorKind> {
        self.write_frames(cx)?;
        match Pin::new(&mut self.transport).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.shared.state.borrow_mut().queues.flushed();
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(broken(&error)),
            Poll::Pending => Ok(()),
        }
    }

    fn write_frames(&mut self, cx: &mut Context<'_>) -> Result<(), NetworkErrorKind> {
        loop {
            let state = &mut *self.shared.state.borrow_mut();
            let is_muted = state.muted_until.is_some_and(|until| until > Instant::now());
            if !state.queues.has_bytes_to_write(is_muted) {
                return Ok(());
            }
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = state.queues.gather(is_muted, &mut slices);
            let transport = Pin::new(&mut self.transport);
            match transport.poll_write_vectored(cx, &slices[..filled]) {
                Poll::Ready(Ok(0)) => return Err(NetworkErrorKind::ClosedByBroker),
                Poll::Ready(Ok(byte_count)) => state.queues.wrote(byte_count),
                Poll::Ready(Err(error)) => return Err(broken(&error)),
                Poll::Pending => return Ok(()),
            }
        }
    }

    /// Reads until there is nothing left to read.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), NetworkErrorKind> {
        loop {
            let frame_bytes_missing = self.cut_frames()?;
            if self.received.capacity() - self.received.len() < READ_BYTES_MIN {
                self.received.reserve(frame_bytes_missing.max(READ_BYTES));
            }
            let read = pin!(self.transport.read_buf(&mut self.received));
            match read.poll(cx) {
                Poll::Ready(Ok(0)) => return Err(NetworkErrorKind::ClosedByBroker),
                Poll::Ready(Ok(_)) => {
                    self.shared.state.borrow_mut().last_received = Instant::now();
                }
                Poll::Ready(Err(error)) => return Err(broken(&error)),
                Poll::Pending => return Ok(()),
            }
        }
    }

    /// Hands on each whole frame, and says how many bytes the next one still misses.
    fn cut_frames(&mut self) -> Result<usize, NetworkErrorKind> {
        loop {
            let Some(prefix) = self.received.first_chunk::<{ FrameLength::BYTES }>() else {
                return Ok(0);
            };
            let state = &mut *self.shared.state.borrow_mut();
            let Some(next) = state.queues.expected() else {
                let nobody_asked = "bytes came that nobody asked for";
                return Err(NetworkErrorKind::Broken(nobody_asked.to_owned()));
            };
            let frame_bytes = match FrameLength::parse(*prefix, next.response_bytes_max) {
                Ok(frame_bytes) => FrameLength::BYTES + frame_bytes,
                Err(error) => return Err(not_a_frame(*prefix, error)),
            };
            if self.received.len() < frame_bytes {
                return Ok(frame_bytes - self.received.len());
            }
            let frame = self.received.split_to(frame_bytes).freeze().slice(FrameLength::BYTES..);
            let id = peek_correlation_id(&frame).map_err(NetworkErrorKind::BadResponse)?;
            state.queues.answer(id, frame)?;
        }
    }

    /// Says that nothing more comes, and reads on until the broker says so too.
    fn finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut outcome = Pin::new(&mut self.transport).poll_shutdown(cx);
        while let Poll::Ready(Ok(())) = outcome {
            self.received.clear();
            self.received.reserve(READ_BYTES_MIN);
            let read = pin!(self.transport.read_buf(&mut self.received));
            outcome = match read.poll(cx) {
                Poll::Ready(Ok(0)) => break,
                polled => polled.map_ok(|_| ()),
            };
        }
        if outcome.is_pending() {
            return Poll::Pending;
        }
        if let Some(finished) = self.shared.state.borrow_mut().finishing.take() {
            let _ = finished.send(());
        }
        Poll::Ready(())
    }

    /// Sees to the end of a mute and of an idle connection's time.
    fn check_timer(&mut self, cx: &mut Context<'_>) -> Result<(), NetworkErrorKind> {
        loop {
            let Some(due) = next_due(&self.shared, &mut self.shared.state.borrow_mut())? else {
                return Ok(());
            };
            // An earlier timer is left to fire, so that not each request moves one.
            let timer = match &mut self.timer {
                Some(timer) if timer.deadline() <= due && !timer.is_elapsed() => timer,
                Some(timer) => {
                    timer.as_mut().reset(due);
                    timer
                }
                none => none.insert(Box::pin(tokio::time::sleep_until(due))),
            };
            if timer.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
        }
    }
}

/// When to look again, if no bytes come or go until then.
fn next_due(shared: &Shared, state: &mut State) -> Result<Option<Instant>, NetworkErrorKind> {
    let now = Instant::now();
    state.muted_until = state.muted_until.filter(|until| *until > now);
    let Some(idle_max) = shared.idle_max.filter(|_| state.queues.is_empty()) else {
        return Ok(state.muted_until);
    };
    if now.duration_since(state.last_used) >= idle_max {
        return Err(NetworkErrorKind::Idle(idle_max));
    }
    let idle_at = state.last_used.checked_add(idle_max);
    Ok([state.muted_until, idle_at].into_iter().flatten().min())
}

fn broken(error: &io::Error) -> NetworkErrorKind {
    if let Some(kind) = explain::established(error) {
        return kind;
    }
    match error.kind() {
        // Without TLS's own goodbye the last bytes may be missing; frames have lengths and tell.
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => NetworkErrorKind::ClosedByBroker,
        _ => NetworkErrorKind::Broken(error.to_string()),
    }
}

/// A length that can't be one is mostly the start of another protocol.
fn not_a_frame(prefix: [u8; FrameLength::BYTES], error: DecodeError) -> NetworkErrorKind {
    match prefix {
        // A TLS record of version 3.x: an alert, or a handshake.
        [0x15 | 0x16, 0x03, ..] => NetworkErrorKind::OtherProtocol("TLS"),
        [b'H', b'T', b'T', b'P'] => NetworkErrorKind::OtherProtocol("HTTP"),
        [b'S', b'S', b'H', b'-'] => NetworkErrorKind::OtherProtocol("SSH"),
        _ => NetworkErrorKind::BadResponse(error),
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = &mut *self;
        {
            let mut state = driver.shared.state.borrow_mut();
            if state.closed.is_some() && state.finishing.is_none() {
                return Poll::Ready(());
            }
            match &mut state.driver {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        if driver.shared.state.borrow().closed.is_some() {
            return driver.finish(cx);
        }
        let moved = driver.write(cx).and_then(|()| driver.read(cx));
        match moved.and_then(|()| driver.check_timer(cx)) {
            Ok(()) => Poll::Pending,
            Err(kind) => {
                driver.shared.close(kind);
                Poll::Ready(())
            }
        }
    }
}
