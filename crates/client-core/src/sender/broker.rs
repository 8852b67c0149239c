//! What the sender knows of a broker: its connection, and how much is in flight to it.

use std::time::{Duration, Instant};

use crate::failure::NoConnection;

/// A broker as the sender sees it.
#[derive(Debug, Default)]
pub(crate) struct BrokerState {
    pub(crate) connection: Connection,
    pub(crate) in_flight: usize,
    /// When a request was last sent to it.
    pub(crate) last_sent: Option<Instant>,
    pub(crate) throttled_until: Option<Instant>,
    /// Connections in a row that could not be made or were lost.
    pub(crate) failures: u32,
    /// Why the last of them could not be made.
    pub(crate) unreachable: Option<NoConnection>,
    /// It was last offered a batch and took none.
    refusal: Option<Refusal>,
}

/// For how long a broker has taken nothing of what it was offered.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    since: Instant,
    last: Instant,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Connection {
    /// Not tried since the moment, or never.
    #[default]
    Unknown,
    Connecting,
    Up,
    /// To be tried again at the moment.
    Down(Instant),
}

/// Whether a request can go to a broker now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// No connection, and it is time to make one.
    Connect,
    /// No connection; try at the moment, or wait for the one being made.
    NotConnected(Option<Instant>),
    Throttled(Instant),
    /// As many requests in flight as may be.
    Full,
}

impl BrokerState {
    /// A batch was offered, and this came of it.
    pub(crate) fn note_gate(&mut self, now: Instant, gate: Gate) {
        self.refusal = match (gate, self.refusal) {
            (Gate::Open, _) => None,
            (_, Some(Refusal { since, .. })) => Some(Refusal { since, last: now }),
            (_, None) => Some(Refusal { since: now, last: now }),
        };
    }

    /// For how long it has taken nothing, if it was offered something in the round of `now`: one
    /// to which nothing is left to send may be tried again.
    pub(crate) fn refuses_for(&self, now: Instant) -> Duration {
        let refusal = self.refusal.filter(|refusal| refusal.last == now);
        refusal.map_or(Duration::ZERO, |refusal| now.saturating_duration_since(refusal.since))
    }

    pub(crate) fn gate(&self, now: Instant, in_flight_max: usize) -> Gate {
        match self.connection {
            Connection::Unknown => return Gate::Connect,
            Connection::Down(until) if until <= now => return Gate::Connect,
            Connection::Down(until) => return Gate::NotConnected(Some(until)),
            Connection::Connecting => return Gate::NotConnected(None),
            Connection::Up => {}
        }
        match self.throttled_until {
            Some(until) if until > now => Gate::Throttled(until),
            _ if self.in_flight >= in_flight_max => Gate::Full,
            _ => Gate::Open,
        }
    }
}
