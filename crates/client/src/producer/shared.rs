//! What the producer's handles and its I/O thread share.

use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use streamledger_client_core::accumulator::RecordAccumulator;
use streamledger_client_core::map::Map;
use streamledger_client_core::partitioner::Partitioning;
use streamledger_client_core::sender::SenderMetrics;
use streamledger_client_core::transaction::TransactionDesk;
use streamledger_protocol::{Acks, TopicName};
use tokio::sync::Notify;

use super::CloseReport;
use super::metrics::CallerMetrics;
use super::report::BatchObserver;
use super::wait::{Deadlines, Waiters};
use crate::metadata::MetadataView;
use crate::network::ConnectionMeter;
use crate::observe::Interceptors;
use crate::telemetry::TelemetryHandle;

/// What the handles and the I/O thread share.
pub(super) struct Shared {
    pub(super) accumulator: Arc<RecordAccumulator>,
    pub(super) partitioning: Partitioning,
    /// The client's rack, if the partitioner is to prefer it (KIP-1123).
    pub(super) rack: Option<String>,
    pub(super) acks: Acks,
    pub(super) max_block: Duration,
    pub(super) started: Instant,
    pub(super) client_id: String,
    /// Wakes the I/O thread's loop. Costs an atomic operation while the loop is awake.
    pub(super) wake: Notify,
    pub(super) deadlines: Deadlines,
    pub(super) topics: TopicWaits,
    /// Woken after each change of metadata has reached the accumulator.
    pub(super) metadata_changed: Waiters,
    /// Set when the I/O thread has begun.
    pub(super) view: OnceLock<MetadataView>,
    /// Why no broker could be asked, if the last try failed.
    pub(super) unreachable: Mutex<Option<Arc<str>>>,
    /// How often no broker let us in, and what they said last: no wait helps against that.
    pub(super) turned_away: Mutex<(u64, Arc<str>)>,
    pub(super) closing: Mutex<Closing>,
    pub(super) ended: OnceLock<CloseReport>,
    pub(super) end_waiters: Waiters,
    pub(super) sender_metrics: Arc<Mutex<SenderMetrics>>,
    pub(super) caller_metrics: CallerMetrics,
    pub(super) observer: Option<BatchObserver>,
    pub(super) interceptors: Option<Interceptors>,
    pub(super) io_thread: OnceLock<ThreadId>,
    pub(super) connection_meter: ConnectionMeter,
    pub(super) telemetry: TelemetryHandle,
    /// With a `transactional.id`.
    pub(super) transactions: Option<Transactions>,
}

/// What the handles and the I/O thread of a transactional producer share.
#[derive(Debug)]
pub(super) struct Transactions {
    pub(super) desk: TransactionDesk,
    /// How long a producer that was dropped tries to abort: by then the broker has.
    pub(super) timeout: Duration,
}

/// How far the producer is on its way to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Closing {
    /// It is in use.
    #[default]
    No,
    /// It ends when all is delivered, or at the moment if there is one.
    Until(Option<Instant>),
}

impl Shared {
    /// Begins the end: no more records; what is there is delivered until the moment, if there is
    /// one. An earlier moment counts.
    pub(super) fn begin_close(&self, until: Option<Instant>) {
        {
            let mut closing = self.closing.lock();
            *closing = match (*closing, until) {
                (Closing::Until(Some(before)), Some(until)) => {
                    Closing::Until(Some(before.min(until)))
                }
                (Closing::Until(before), until) => Closing::Until(before.or(until)),
                (Closing::No, until) => Closing::Until(until),
            };
        }
        self.accumulator.close();
        self.wake.notify_one();
    }

    /// No broker lets us in, or none is trusted: whoever waits is told, as no wait helps.
    pub(super) fn note_turned_away(&self, cause: Arc<str>) {
        let mut turned_away = self.turned_away.lock();
        *turned_away = (turned_away.0 + 1, cause);
        drop(turned_away);
        self.metadata_changed.wake_all();
    }

    /// Whether this is the I/O thread, on which callbacks run and nothing may wait.
    pub(super) fn is_io_thread(&self) -> bool {
        self.io_thread.get().is_some_and(|id| *id == std::thread::current().id())
    }
}

/// The topics whose metadata somebody waits for.
#[derive(Debug, Default)]
pub(super) struct TopicWaits {
    waiting: Mutex<Map<TopicName, u32>>,
    /// Topics to be asked for though nobody waits.
    once: Mutex<Vec<TopicName>>,
    /// Somebody began to wait.
    pub(super) added: Notify,
}

impl TopicWaits {
    /// Waits for the topic until the guard is dropped.
    pub(super) fn add(&self, topic: &TopicName) -> TopicWait<'_> {
        *self.waiting.lock().entry(topic.clone()).or_default() += 1;
        self.added.notify_one();
        TopicWait { waits: self, topic: topic.clone() }
    }

    /// Asks for the topic, without anybody waiting for it.
    pub(super) fn ask_once(&self, topic: TopicName) {
        let mut once = self.once.lock();
        if !once.contains(&topic) {
            once.push(topic);
        }
        self.added.notify_one();
    }

    /// The topics to ask for.
    pub(super) fn take_topics(&self) -> Vec<TopicName> {
        let mut topics = std::mem::take(&mut *self.once.lock());
        topics.extend(self.waiting.lock().keys().cloned());
        topics
    }
}

/// Somebody's wait for a topic's metadata.
#[derive(Debug)]
pub(super) struct TopicWait<'a> {
    waits: &'a TopicWaits,
    topic: TopicName,
}

impl Drop for TopicWait<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waits.waiting.lock();
        if let Some(count) = waiting.get_mut(&self.topic) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.topic);
            }
        }
    }
}
