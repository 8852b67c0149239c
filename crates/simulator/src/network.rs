//! Connections: what is sent on one arrives in order, or not at all from some point on.
//!
//! A connection that its client gave up may still bring requests to the broker, late: that is how
//! requests of two connections change places.

use std::collections::VecDeque;
use std::time::Duration;

use streamledger_client_core::sender::{OutgoingRequest, PartitionAnswer, RequestId};
use streamledger_protocol::{Offset, TopicPartition};

use crate::clock::SimTime;

/// A connection, from its first moment on.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: usize,
    pub(crate) broker: usize,
    /// Which life of the broker it leads to.
    pub(crate) broker_life: u32,
    /// The client can use it.
    pub(crate) client_open: bool,
    /// What is sent is not lost on the way back.
    pub(crate) returns: bool,
    /// When the last request sent on it arrives.
    pub(crate) last_arrival: SimTime,
    /// When the last response sent on it arrives.
    pub(crate) last_return: SimTime,
    /// Requests sent, and how many of them have arrived.
    pub(crate) sent: u64,
    pub(crate) arrived: u64,
    /// Requests from this number on never arrive.
    pub(crate) cut_at: u64,
    /// Responses that wait for their flush, in the order of their requests.
    pub(crate) pending: VecDeque<PendingResponse>,
    /// Requests behind one that waits for the transaction coordinator: a broker takes the requests
    /// of a connection one after the other.
    pub(crate) backlog: VecDeque<OutgoingRequest>,
}

/// A response that is being put together.
#[derive(Debug)]
pub(crate) struct PendingResponse {
    pub(crate) request: RequestId,
    pub(crate) parts: Vec<PendingPart>,
}

/// What a response will say of one partition.
#[derive(Debug)]
pub(crate) struct PendingPart {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) slot: usize,
    /// The life of the partition's log in which it was appended.
    pub(crate) life: u32,
    /// It waits for the word of the transaction coordinator: the number of the admission.
    pub(crate) admission: Option<u64>,
    /// It waits until the log is flushed past this.
    pub(crate) flushed_past: Option<Offset>,
    pub(crate) answer: PartitionAnswer,
}

/// A response on its way.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) request: RequestId,
    pub(crate) throttle: Duration,
    pub(crate) partitions: Vec<(TopicPartition, PartitionAnswer)>,
}

impl Connection {
    pub(crate) fn new(client: usize, broker: usize, broker_life: u32) -> Self {
        Self {
            client,
            broker,
            broker_life,
            client_open: false,
            returns: true,
            last_arrival: SimTime(0),
            last_return: SimTime(0),
            sent: 0,
            arrived: 0,
            cut_at: u64::MAX,
            pending: VecDeque::new(),
            backlog: VecDeque::new(),
        }
    }

    /// Whether a request waits for the transaction coordinator.
    pub(crate) fn is_admitting(&self) -> bool {
        let last = self.pending.back();
        last.is_some_and(|last| last.parts.iter().any(|part| part.admission.is_some()))
    }
}
