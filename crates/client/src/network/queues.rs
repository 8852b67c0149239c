//! The requests of one connection: those still to be written, and those that wait for a response.
//!
//! No socket and no clock here: bytes written and responses read are told, and the rest follows.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use streamledger_protocol::CorrelationId;
use streamledger_protocol::wire::Frame;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{NetworkError, NetworkErrorKind};
use crate::config::ServerAddress;

/// A response's frame without its length, or why there is none.
pub(super) type Reply = Result<Bytes, NetworkError>;

/// The queues of one connection, in the order of the calls.
#[derive(Debug, Default)]
pub(super) struct Queues {
    outgoing: VecDeque<Outgoing>,
    in_flight: VecDeque<InFlight>,
    /// Requests that wait for a login to be done again; none of them is in the other two.
    held: VecDeque<Held>,
    is_holding: bool,
    /// Told with the next flush: their last byte is written, and encryption may still have it.
    written: Vec<oneshot::Sender<Result<(), NetworkError>>>,
    last_id: i32,
    abandoned_count: usize,
    answered_count: u64,
}

/// A frame that is not wholly written yet.
#[derive(Debug)]
struct Outgoing {
    id: CorrelationId,
    segments: VecDeque<Bytes>,
    /// Whether any byte of it was written: from then on the broker may have it.
    is_begun: bool,
    /// Told when the last byte is written, where no response will tell.
    written: Option<oneshot::Sender<Result<(), NetworkError>>>,
}

/// A request whose response is to come.
#[derive(Debug)]
struct InFlight {
    id: CorrelationId,
    response_bytes_max: u32,
    queued_at: Instant,
    reply: oneshot::Sender<Reply>,
    is_abandoned: bool,
}

/// A request that is held back, with its place for a response if it has one.
#[derive(Debug)]
struct Held {
    outgoing: Outgoing,
    in_flight: Option<InFlight>,
}

/// Whether a request has to wait while a login is done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is part of the login.
    Login,
    /// It waits.
    Ordinary,
}

/// What became of a request that nobody waits for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abandoned {
    /// No byte of it was written, and none will be.
    NeverSent,
    /// The broker may have it; its response will be dropped.
    PossiblySent,
}

/// The response that must come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) id: CorrelationId,
    pub(super) response_bytes_max: u32,
    pub(super) queued_at: Instant,
}

impl Outgoing {
    fn new(
        id: CorrelationId,
        frame: Frame,
        written: Option<oneshot::Sender<Result<(), NetworkError>>>,
    ) -> Self {
        Self { id, segments: frame.segments.into(), is_begun: false, written }
    }
}

impl Queues {
    /// The id of the next request: from 0 up, and back to 0 after 2^31-1.
    pub(super) fn next_id(&mut self) -> CorrelationId {
        let id = self.last_id;
        self.last_id = self.last_id.wrapping_add(1) & i32::MAX;
        CorrelationId(id)
    }

    /// Queues a request that is answered.
    pub(super) fn push(
        &mut self,
        id: CorrelationId,
        frame: Frame,
        response_bytes_max: u32,
        now: Instant,
        turn: Turn,
    ) -> oneshot::Receiver<Reply> {
        let (reply, receiver) = oneshot::channel();
        let in_flight =
            InFlight { id, response_bytes_max, queued_at: now, reply, is_abandoned: false };
        self.push_frame(Outgoing::new(id, frame, None), Some(in_flight), turn);
        receiver
    }

    /// Queues a request that is not answered.
    pub(super) fn push_unanswered(
        &mut self,
        id: CorrelationId,
        frame: Frame,
    ) -> oneshot::Receiver<Result<(), NetworkError>> {
        let (written, receiver) = oneshot::channel();
        self.push_frame(Outgoing::new(id, frame, Some(written)), None, Turn::Ordinary);
        receiver
    }

    fn push_frame(&mut self, outgoing: Outgoing, in_flight: Option<InFlight>, turn: Turn) {
        if self.is_holding && turn == Turn::Ordinary {
            self.held.push_back(Held { outgoing, in_flight });
            return;
        }
        self.outgoing.push_back(outgoing);
        self.in_flight.extend(in_flight);
    }

    /// From now on requests are held back, but for a login's.
    pub(super) fn hold(&mut self) {
        self.is_holding = true;
    }

    /// Lets what was held back go, in the order of the calls; false if there was nothing.
    pub(super) fn release(&mut self) -> bool {
        self.is_holding = false;
        let was_used = self.has_held();
        for Held { outgoing, in_flight } in std::mem::take(&mut self.held) {
            self.outgoing.push_back(outgoing);
            self.in_flight.extend(in_flight);
        }
        was_used
    }

    /// Whether a request is held back.
    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether there are bytes to write; while muted, only those of a frame that is begun.
    pub(super) fn has_bytes_to_write(&self, is_muted: bool) -> bool {
        self.outgoing.front().is_some_and(|frame| frame.is_begun || !is_muted)
    }

    /// Whether no request waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.outgoing.is_empty() && self.in_flight.is_empty() && self.held.is_empty()
    }

    /// Requests that were queued and not answered yet.
    pub(super) fn in_flight_count(&self) -> usize {
        self.in_flight.len() + self.held.len()
    }

    /// Requests that nobody waits for, but whose responses are still to come.
    pub(super) fn abandoned_count(&self) -> usize {
        self.abandoned_count
    }

    /// Fills `slices` with the next bytes to write, frame after frame, and says how many it filled.
    pub(super) fn gather<'a>(&'a self, is_muted: bool, slices: &mut [IoSlice<'a>]) -> usize {
        let frames = self.outgoing.iter().take_while(|frame| frame.is_begun || !is_muted);
        let segments = frames.flat_map(|frame| &frame.segments);
        let mut filled = 0;
        for (slice, segment) in slices.iter_mut().zip(segments) {
            *slice = IoSlice::new(segment);
            filled += 1;
        }
        filled
    }

    /// The first `byte_count` bytes were taken by the socket.
    pub(super) fn wrote(&mut self, mut byte_count: usize) {
        while byte_count > 0 {
            let Some(frame) = self.outgoing.front_mut() else { return };
            frame.is_begun = true;
            while let Some(segment) = frame.segments.front_mut() {
                if segment.len() > byte_count {
                    segment.advance(byte_count);
                    return;
                }
                byte_count -= segment.len();
                frame.segments.pop_front();
                if byte_count == 0 {
                    break;
                }
            }
            if !frame.segments.is_empty() {
                return;
            }
            self.written.extend(self.outgoing.pop_front().and_then(|frame| frame.written));
        }
    }

    /// All bytes that were taken are with the system now.
    pub(super) fn flushed(&mut self) {
        for written in self.written.drain(..) {
            let _ = written.send(Ok(()));
        }
    }

    /// The response that must come next, if any request waits for one.
    pub(super) fn expected(&self) -> Option<Expected> {
        self.in_flight.front().map(|request| Expected {
            id: request.id,
            response_bytes_max: request.response_bytes_max,
            queued_at: request.queued_at,
        })
    }

    /// Hands a response to whoever waits for it; nobody may, if it is late.
    ///
    /// # Errors
    /// It is not the one that must come next.
    pub(super) fn answer(
        &mut self,
        id: CorrelationId,
        frame: Bytes,
    ) -> Result<(), NetworkErrorKind> {
        let expected = self.expected().map(|expected| expected.id);
        match self.in_flight.pop_front() {
            Some(request) if request.id == id && !self.is_unwritten(id) => {
                self.abandoned_count -= usize::from(request.is_abandoned);
                self.answered_count = self.answered_count.saturating_add(1);
                let _ = request.reply.send(Ok(frame));
                Ok(())
            }
            wrong => {
                self.in_flight.extend(wrong);
                Err(NetworkErrorKind::WrongCorrelationId { got: id, expected })
            }
        }
    }

    /// Whether one request was answered, and another waits in vain.
    pub(super) fn has_only_its_first_answer(&self) -> bool {
        self.answered_count == 1 && !self.in_flight.is_empty()
    }

    /// Nobody waits for this request any more: takes it back, if nothing of it was written.
    pub(super) fn abandon(&mut self, id: CorrelationId) -> Abandoned {
        if self.held.iter().any(|held| held.outgoing.id == id) {
            self.held.retain(|held| held.outgoing.id != id);
            return Abandoned::NeverSent;
        }
        let waiting = self.in_flight.iter().position(|request| request.id == id);
        if self.is_unwritten(id) {
            self.outgoing.retain(|frame| frame.id != id);
            self.in_flight.retain(|request| request.id != id);
            return Abandoned::NeverSent;
        }
        if let Some(request) = waiting.and_then(|index| self.in_flight.get_mut(index)) {
            request.is_abandoned = true;
            self.abandoned_count += 1;
        }
        Abandoned::PossiblySent
    }

    /// Tells everyone who waits that the connection is gone.
    pub(super) fn fail_all(&mut self, address: &Arc<ServerAddress>, kind: &NetworkErrorKind) {
        let error = |possibly_sent| NetworkError {
            address: Arc::clone(address),
            kind: kind.clone(),
            possibly_sent,
        };
        for Held { outgoing, in_flight } in std::mem::take(&mut self.held) {
            let written = outgoing.written.map(|written| written.send(Err(error(false))));
            let _ = (written, in_flight.map(|request| request.reply.send(Err(error(false)))));
        }
        for written in self.written.drain(..) {
            let _ = written.send(Err(error(true)));
        }
        for request in std::mem::take(&mut self.in_flight) {
            let _ = request.reply.send(Err(error(!self.is_unwritten(request.id))));
        }
        for frame in std::mem::take(&mut self.outgoing) {
            if let Some(written) = frame.written {
                let _ = written.send(Err(error(frame.is_begun)));
            }
        }
        self.abandoned_count = 0;
    }

    fn is_unwritten(&self, id: CorrelationId) -> bool {
        self.outgoing.iter().any(|frame| frame.id == id && !frame.is_begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(parts: &[&'static str]) -> Frame {
        Frame { segments: parts.iter().map(|part| Bytes::from_static(part.as_bytes())).collect() }
    }

    fn push(queues: &mut Queues, parts: &[&'static str]) -> oneshot::Receiver<Reply> {
        let id = queues.next_id();
        queues.push(id, frame(parts), 100, Instant::now(), Turn::Ordinary)
    }

    fn address() -> Arc<ServerAddress> {
        Arc::new("broker:9092".parse().unwrap())
    }

    #[test]
    fn correlation_ids_wrap_to_zero_and_are_never_negative() {
        let mut queues = Queues { last_id: i32::MAX, ..Queues::default() };
        assert_eq!(queues.next_id(), CorrelationId(i32::MAX));
        assert_eq!(queues.next_id(), CorrelationId(0));
    }

    #[test]
    fn a_request_is_possibly_sent_from_its_first_written_byte_on() {
        let mut queues = Queues::default();
        let mut first = push(&mut queues, &["ab", "cd"]);
        let mut second = push(&mut queues, &["ef"]);
        queues.wrote(1);
        queues.fail_all(&address(), &NetworkErrorKind::ClosedByBroker);
        assert!(first.try_recv().unwrap().unwrap_err().possibly_sent);
        assert!(!second.try_recv().unwrap().unwrap_err().possibly_sent);
        assert!(queues.is_empty());
    }

    #[test]
    fn an_abandoned_request_is_taken_back_or_its_late_response_dropped() {
        let mut queues = Queues::default();
        let first = push(&mut queues, &["ab"]);
        let _second = push(&mut queues, &["cd"]);
        let mut third = push(&mut queues, &["ef"]);
        queues.wrote(2);
        drop(first);
        assert_eq!(queues.abandon(CorrelationId(0)), Abandoned::PossiblySent);
        assert_eq!(queues.abandon(CorrelationId(1)), Abandoned::NeverSent);
        assert_eq!((queues.abandoned_count(), queues.in_flight_count()), (1, 2));
        queues.wrote(2);
        assert!(!queues.has_bytes_to_write(false));
        queues.answer(CorrelationId(0), Bytes::from_static(b"late")).unwrap();
        queues.answer(CorrelationId(2), Bytes::from_static(b"now")).unwrap();
        assert_eq!(third.try_recv().unwrap().unwrap(), "now");
        assert_eq!((queues.abandoned_count(), queues.in_flight_count()), (0, 0));
    }

    #[test]
    fn a_response_out_of_turn_is_an_error() {
        let mut queues = Queues::default();
        let wrong = |got, expected: Option<i32>| {
            let expected = expected.map(CorrelationId);
            Err(NetworkErrorKind::WrongCorrelationId { got: CorrelationId(got), expected })
        };
        assert_eq!(queues.answer(CorrelationId(0), Bytes::new()), wrong(0, None));
        let _reply = push(&mut queues, &["ab"]);
        assert_eq!(
            queues.answer(CorrelationId(0), Bytes::new()),
            wrong(0, Some(0)),
            "not asked yet"
        );
        queues.wrote(2);
        assert_eq!(queues.answer(CorrelationId(7), Bytes::new()), wrong(7, Some(0)));
        assert_eq!(queues.answer(CorrelationId(0), Bytes::new()), Ok(()));
    }

    #[test]
    fn while_a_login_is_done_again_requests_wait_and_then_go_in_order() {
        let mut queues = Queues::default();
        let _before = push(&mut queues, &["a"]);
        queues.hold();
        let _held = push(&mut queues, &["b"]);
        let given_up = push(&mut queues, &["c"]);
        let mut unanswered = queues.push_unanswered(CorrelationId(9), frame(&["d"]));
        let id = queues.next_id();
        let _login = queues.push(id, frame(&["L"]), 100, Instant::now(), Turn::Login);
        let bytes = |queues: &Queues| {
            let mut slices = [IoSlice::new(&[]); 8];
            let filled = queues.gather(false, &mut slices);
            slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>()
        };
        assert_eq!((&*bytes(&queues), queues.in_flight_count()), (&b"aL"[..], 5));
        drop(given_up);
        assert_eq!(queues.abandon(CorrelationId(2)), Abandoned::NeverSent);
        queues.wrote(2);
        assert!(!queues.has_bytes_to_write(false) && !queues.is_empty());
        assert!(queues.release());
        assert_eq!(bytes(&queues), b"bd");
        queues.fail_all(&address(), &NetworkErrorKind::ClosedByBroker);
        assert!(!unanswered.try_recv().unwrap().unwrap_err().possibly_sent);

        queues.hold();
        let mut held = push(&mut queues, &["e"]);
        queues.fail_all(&address(), &NetworkErrorKind::ClosedByBroker);
        assert!(!held.try_recv().unwrap().unwrap_err().possibly_sent);
        assert!(queues.is_empty() && !queues.release());
    }

    #[test]
    fn while_muted_only_a_frame_that_is_begun_goes_on() {
        let mut queues = Queues::default();
        let _first = push(&mut queues, &["ab", "cd"]);
        let _second = push(&mut queues, &["ef"]);
        assert!(!queues.has_bytes_to_write(true));
        queues.wrote(3);
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(queues.gather(true, &mut slices), 1);
        assert_eq!(&*slices[0], b"d");
        queues.wrote(1);
        assert!(!queues.has_bytes_to_write(true) && queues.has_bytes_to_write(false));
    }

    proptest! {
        #[test]
        fn however_the_socket_takes_them_all_bytes_leave_in_order(
            takes in prop::collection::vec(1_usize..9, 40),
        ) {
            let mut queues = Queues::default();
            let parts = [vec!["a"], vec!["bcd", "e"], vec!["fghij", "k", "lmnopq"], vec!["rst"]];
            let _replies: Vec<_> = parts.iter().map(|parts| push(&mut queues, parts)).collect();
            let mut written = queues.push_unanswered(CorrelationId(9), frame(&["uvw"]));
            let mut seen = Vec::new();
            for take in takes {
                let mut slices = [IoSlice::new(&[]); 3];
                let filled = queues.gather(false, &mut slices);
                let bytes: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
                let taken = take.min(bytes.len());
                seen.extend_from_slice(&bytes[..taken]);
                queues.wrote(taken);
            }
            prop_assert!(written.try_recv().is_err(), "not flushed yet");
            queues.flushed();
            prop_assert_eq!(seen, b"abcdefghijklmnopqrstuvw".to_vec());
            prop_assert!(written.try_recv().unwrap().is_ok());
            prop_assert!(queues.outgoing.is_empty() && queues.in_flight_count() == 4);
        }
    }
}
