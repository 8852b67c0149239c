//! The producer's I/O thread: drives the sender, and does what it says.
//!
//! One loop owns the sender. Everything else on the thread, connections and questions, are tasks of
//! the same runtime that leave an event in the [`Inbox`] when they are done.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streamledger_client_core::cluster::ClusterSnapshot;
use streamledger_client_core::failure::NoConnection;
use streamledger_client_core::sender::{
    CompletedBatch, CompressJob, CompressedBatch, Effect, Event, OutgoingRequest, PartitionLeader,
    ProducerIdAnswer, Sender, TopicLeaders,
};
use streamledger_client_core::transaction::{
    SettledOperation, TransactionQuestion, TransactionState,
};
use streamledger_protocol::compression::CompressionScratch;
use streamledger_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use streamledger_protocol::{Acks, BrokerId, ErrorCode, ProducerIdentity};
use tokio::time::Sleep;

use super::codec_threads::{self, CodecThreads};
use super::request::{self, Sent};
use super::shared::{Closing, Shared};
use super::{BatchReport, CloseReport, coordinate};
use crate::metadata::MetadataRefresher;
use crate::network::{BrokerConnection, NetworkError, NetworkErrorKind};
use crate::telemetry::RunningTelemetry;

/// Events from the thread's tasks, in the order they happened.
pub(super) struct Inbox {
    events: RefCell<VecDeque<Event>>,
    shared: Arc<Shared>,
}

impl Inbox {
    pub(super) fn push(&self, event: Event) {
        self.events.borrow_mut().push_back(event);
        self.shared.wake.notify_one();
    }
}

/// A connection that the sender knows of, and whether it still thinks that it is up.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) broker: BrokerId,
    pub(super) connection: BrokerConnection,
    is_up: Rc<Cell<bool>>,
}

impl Link {
    /// Tells the sender, once, that the connection is lost, if it is.
    pub(super) fn tell_if_lost(&self, inbox: &Inbox) {
        if !self.connection.is_open() && self.is_up.replace(false) {
            inbox.push(Event::ConnectionDown(self.broker));
        }
    }
}

/// The loop and what it owns.
pub(super) struct IoLoop {
    shared: Arc<Shared>,
    sender: Sender,
    inbox: Rc<Inbox>,
    refresher: MetadataRefresher,
    links: Rc<RefCell<HashMap<BrokerId, Link>>>,
    codec_threads: CodecThreads,
    compressed: Vec<CompressedBatch>,
    to_compress: Vec<CompressJob>,
    scratch: CompressionScratch,
    request_timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    report: CloseReport,
}

impl IoLoop {
    /// Must be called on the I/O thread, in its runtime.
    pub(super) fn new(
        shared: Arc<Shared>,
        sender: Sender,
        refresher: MetadataRefresher,
        request_timeout: Duration,
        retry_backoff: Duration,
    ) -> Self {
        let inbox = Rc::new(Inbox { events: RefCell::default(), shared: Arc::clone(&shared) });
        // Set once, here, for there is one loop.
        let _ = shared.view.set(refresher.view());
        let _ = shared.io_thread.set(std::thread::current().id());
        tokio::task::spawn_local(watch_metadata(refresher.clone(), Rc::clone(&inbox)));
        let asking = ask_for_topics(Arc::clone(&shared), refresher.clone(), retry_backoff);
        tokio::task::spawn_local(asking);
        let threads = codec_threads::thread_count();
        let codec_threads = CodecThreads::new(Arc::clone(&shared), threads);
        Self {
            shared,
            sender,
            inbox,
            refresher,
            links: Rc::default(),
            codec_threads,
            compressed: Vec::new(),
            to_compress: Vec::new(),
            scratch: CompressionScratch::default(),
            request_timeout,
            timer: None,
            report: CloseReport::default(),
        }
    }

    /// Runs until the producer is closed and all is done, or the time for that is over.
    pub(super) async fn run(mut self, telemetry: RunningTelemetry) {
        loop {
            let now = Instant::now();
            self.take_events(now);
            self.perform_effects(now);
            let next_deadline = self.shared.deadlines.fire(now);
            let closing = *self.shared.closing.lock();
            let until = match closing {
                Closing::No => None,
                Closing::Until(_) if self.is_done() => break,
                Closing::Until(until) => until,
            };
            if until.is_some_and(|until| until <= now) {
                self.give_up(now);
                break;
            }
            let wakeup = [self.sender.next_wakeup(), next_deadline, until];
            self.wait(wakeup.into_iter().flatten().min()).await;
        }
        let until = self.leave_until();
        telemetry.finish(until).await;
        self.take_leave(until).await;
        self.end();
    }

    fn take_events(&mut self, now: Instant) {
        let mut metadata_came = false;
        loop {
            let event = self.inbox.events.borrow_mut().pop_front();
            let Some(event) = event else { break };
            metadata_came |= matches!(event, Event::Metadata(_));
            self.sender.handle(now, event);
        }
        self.codec_threads.take_done(&mut self.compressed);
        for batch in self.compressed.drain(..) {
            self.sender.handle(now, Event::Compressed(batch));
        }
        self.sender.handle(now, Event::Wake);
        if let Some(transactions) = &self.shared.transactions {
            while let Some(command) = transactions.desk.take_command() {
                self.sender.handle(now, Event::Transaction(command));
            }
            if *self.shared.closing.lock() != Closing::No {
                self.sender.handle(now, Event::Closing);
            }
        }
        if metadata_came {
            self.shared.metadata_changed.wake_all();
        }
    }

    fn perform_effects(&mut self, now: Instant) {
        self.perform_ready(now);
        if !self.to_compress.is_empty() {
            self.compress(now);
            self.perform_ready(now);
        }
        if !self.to_compress.is_empty() {
            // In the next round: what was compressed in this one is to be written first.
            self.shared.wake.notify_one();
        }
        if let (Some(transactions), Some(progress)) =
            (&self.shared.transactions, self.sender.transaction_progress())
        {
            transactions.desk.note_progress(progress);
        }
    }

    /// All that the sender wants at the moment; what is to be compressed is left for after it.
    fn perform_ready(&mut self, now: Instant) {
        while let Some(effect) = self.sender.poll(now) {
            match effect {
                Effect::Connect(broker) => self.connect(broker),
                Effect::SendProduce(request) => self.send(request),
                Effect::InitProducerId => self.ask_for_producer_id(),
                Effect::AskCoordinator(question) => self.ask_coordinator(question),
                Effect::SettleTransaction(settled) => self.settle(settled),
                Effect::RefreshMetadata(topics) => {
                    let (refresher, inbox) = (self.refresher.clone(), Rc::clone(&self.inbox));
                    tokio::task::spawn_local(async move {
                        // What comes of it reaches the sender by `watch_metadata`.
                        if refresher.refresh(topics).await.is_err() {
                            inbox.push(Event::MetadataFailed);
                        }
                    });
                }
                Effect::ForgetTopics(topics) => {
                    self.refresher.retain_topics(|topic| !topics.contains(topic));
                }
                Effect::Compress(job) => self.to_compress.push(job),
                Effect::Complete(batch) => self.complete(batch),
            }
        }
    }

    /// Whether all is delivered, and no transaction is open.
    fn is_done(&self) -> bool {
        let open = self.sender.transaction_state().is_some_and(TransactionState::is_open);
        self.shared.accumulator.unsettled_batches() == 0 && !open
    }

    fn compress(&mut self, now: Instant) {
        self.codec_threads.hand_over(&mut self.to_compress);
        for job in self.to_compress.drain(..) {
            let compressed = job.run(&mut self.scratch);
            self.sender.handle(now, Event::Compressed(compressed));
        }
    }

    /// Waits until something happens, or for the moment.
    async fn wait(&mut self, until: Option<Instant>) {
        let mut woken = pin!(self.shared.wake.notified());
        if woken.as_mut().enable() {
            // There is more to do. First it is the connections' turn, so that what was queued is
            // written; otherwise they have it while this waits.
            return tokio::task::yield_now().await;
        }
        let Some(until) = until.map(tokio::time::Instant::from_std) else { return woken.await };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        // A timer that rings too early costs one round; moving it costs each round.
        if timer.is_elapsed() || timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        tokio::select! {
            () = woken => {}
            () = timer => {}
        }
    }

    fn complete(&self, batch: CompletedBatch) {
        if let Some(observer) = &self.shared.observer {
            let report = BatchReport::of(&batch);
            guard("a batch observer", || observer(&report));
        }
        batch.deliver(&self.shared.accumulator);
    }

    fn connect(&self, broker: BrokerId) {
        let connecting = self.refresher.connection_to(broker);
        let (inbox, links) = (Rc::clone(&self.inbox), Rc::clone(&self.links));
        tokio::task::spawn_local(async move {
            match connecting.await {
                Ok(connection) => {
                    let is_up = Rc::new(Cell::new(true));
                    links.borrow_mut().insert(broker, Link { broker, connection, is_up });
                    inbox.push(Event::ConnectionUp(broker));
                }
                Err(error) => {
                    tracing::warn!(%broker, %error, "can't connect");
                    let cause: Arc<str> = error.to_string().into();
                    *inbox.shared.unreachable.lock() = Some(Arc::clone(&cause));
                    let is_authentication = error.is_authentication();
                    let unreachable = NoConnection { cause, is_authentication };
                    inbox.push(Event::NotConnected { broker, unreachable });
                }
            }
        });
    }

    fn send(&self, outgoing: OutgoingRequest) {
        let request = outgoing.request;
        let Some(link) = self.links.borrow().get(&outgoing.broker).cloned() else {
            self.inbox.push(Event::ConnectionDown(outgoing.broker));
            self.inbox.push(Event::RequestFailed { request, possibly_sent: false });
            return;
        };
        let (inbox, refresher) = (Rc::clone(&self.inbox), self.refresher.clone());
        match request::send(&link.connection, outgoing, self.request_timeout) {
            Sent::Answered(answer) => {
                tokio::task::spawn_local(async move {
                    match answer.await {
                        Ok(answered) => {
                            if answered.hint(&refresher) {
                                let snapshot = refresher.snapshot();
                                inbox.push(Event::Metadata(leaders(&inbox.shared, &snapshot)));
                            }
                            inbox.push(answered.event);
                        }
                        Err(error) => request_failed(&link, &inbox, request, &error),
                    }
                });
            }
            Sent::Unanswered(written) => {
                tokio::task::spawn_local(async move {
                    match written.await {
                        Ok(()) => inbox.push(Event::RequestWritten(request)),
                        Err(error) => request_failed(&link, &inbox, request, &error),
                    }
                });
            }
        }
    }

    fn ask_for_producer_id(&self) {
        let (refresher, inbox) = (self.refresher.clone(), Rc::clone(&self.inbox));
        let timeout = self.request_timeout;
        tokio::task::spawn_local(async move {
            let request = InitProducerIdRequest {
                // Without a transaction there is nothing to time out.
                transaction_timeout_ms: i32::MAX,
                ..InitProducerIdRequest::default()
            };
            let ask = async |connection: BrokerConnection| {
                match connection.call(&request, timeout).await {
                    // Asking again would not help.
                    Err(error) if matches!(error.kind, NetworkErrorKind::NoCommonVersion(_)) => {
                        let error_code = ErrorCode::UnsupportedVersion;
                        Ok(InitProducerIdResponse { error_code, ..Default::default() })
                    }
                    answered => answered,
                }
            };
            let answer = match refresher.ask_any(ask).await {
                Ok(response) if response.error_code == ErrorCode::None => {
                    ProducerIdAnswer::Given(ProducerIdentity {
                        id: response.producer_id,
                        epoch: response.producer_epoch,
                    })
                }
                Ok(response) => ProducerIdAnswer::Refused(response.error_code),
                Err(unreachable) => {
                    *inbox.shared.unreachable.lock() = Some(unreachable.to_string().into());
                    ProducerIdAnswer::NoAnswer
                }
            };
            inbox.push(Event::ProducerId(answer));
        });
    }

    fn ask_coordinator(&self, question: TransactionQuestion) {
        let (refresher, inbox) = (self.refresher.clone(), Rc::clone(&self.inbox));
        let (timeout, shared) = (self.request_timeout, Arc::clone(&self.shared));
        tokio::task::spawn_local(async move {
            let told = |cause| shared.note_turned_away(cause);
            let answer = coordinate::ask(&refresher, question, timeout, told).await;
            inbox.push(Event::Coordinator(answer));
        });
    }

    fn settle(&self, settled: SettledOperation) {
        if let Some(transactions) = &self.shared.transactions {
            settled.deliver(&transactions.desk);
        }
    }

    /// The time to close is over: what is left fails, and is counted.
    fn give_up(&mut self, now: Instant) {
        self.sender.handle(now, Event::Abort);
        while let Some(effect) = self.sender.poll(now) {
            match effect {
                Effect::Complete(batch) => {
                    self.report.count(&batch);
                    self.complete(batch);
                }
                Effect::SettleTransaction(settled) => self.settle(settled),
                Effect::Connect(_)
                | Effect::SendProduce(_)
                | Effect::InitProducerId
                | Effect::AskCoordinator(_)
                | Effect::RefreshMetadata(_)
                | Effect::ForgetTopics(_)
                | Effect::Compress(_) => {}
            }
        }
    }

    /// Until when the last words may take.
    fn leave_until(&self) -> Instant {
        match *self.shared.closing.lock() {
            Closing::Until(Some(until)) => until.min(Instant::now() + LEAVE_MAX),
            _ => Instant::now() + LEAVE_MAX,
        }
    }

    /// With acks=0 nobody says what has arrived, so the connections are ended with care.
    async fn take_leave(&self, until: Instant) {
        if self.shared.acks != Acks::None {
            return;
        }
        let links: Vec<_> = self.links.borrow().values().cloned().collect();
        let finishing: Vec<_> = links.iter().map(|link| link.connection.finish()).collect();
        let finished = async {
            for finishing in finishing {
                finishing.await;
            }
        };
        // A broker that doesn't end its side in time has what it has.
        let _ = tokio::time::timeout_at(until.into(), finished).await;
    }

    fn end(self) {
        self.refresher.pool().close();
        let report = CloseReport { is_closed: true, ..self.report };
        let _ = self.shared.ended.set(report);
        self.shared.end_waiters.wake_all();
        self.shared.metadata_changed.wake_all();
        if let Some(transactions) = &self.shared.transactions {
            transactions.desk.close();
        }
    }
}

/// How long a close may take after the last record has its end: for the last push of metrics, and
/// with acks=0 for brokers to read what was written.
const LEAVE_MAX: Duration = Duration::from_secs(5);

fn request_failed(
    link: &Link,
    inbox: &Inbox,
    request: streamledger_client_core::sender::RequestId,
    error: &NetworkError,
) {
    tracing::warn!(broker = %link.broker, %error, "a produce request failed");
    *inbox.shared.unreachable.lock() = Some(error.to_string().into());
    // First the connection, so that nothing more is sent over it.
    link.tell_if_lost(inbox);
    inbox.push(match error.kind {
        NetworkErrorKind::NoCommonVersion(_) => Event::RequestNotSpoken(request),
        _ => Event::RequestFailed { request, possibly_sent: error.possibly_sent },
    });
}

/// Tells the sender of each new view of the cluster, whoever asked for it.
async fn watch_metadata(refresher: MetadataRefresher, inbox: Rc<Inbox>) {
    let mut generation = 0;
    loop {
        let snapshot = refresher.newer_than(generation).await;
        generation = snapshot.generation();
        *inbox.shared.unreachable.lock() = None;
        inbox.push(Event::Metadata(leaders(&inbox.shared, &snapshot)));
    }
}

/// Asks for the topics that callers wait for, again and again until nobody does.
async fn ask_for_topics(shared: Arc<Shared>, refresher: MetadataRefresher, backoff: Duration) {
    loop {
        let added = shared.topics.added.notified();
        let topics = shared.topics.take_topics();
        if topics.is_empty() {
            added.await;
            continue;
        }
        let all_known = match refresher.refresh(topics.iter().cloned()).await {
            Ok(snapshot) => topics.iter().all(|topic| {
                let known = snapshot.topic(topic.as_str());
                known.is_some_and(|topic| !topic.partitions.is_empty())
            }),
            Err(unreachable) => {
                let cause: Arc<str> = unreachable.to_string().into();
                if unreachable.is_authentication() {
                    shared.note_turned_away(Arc::clone(&cause));
                }
                *shared.unreachable.lock() = Some(cause);
                false
            }
        };
        // Who waits for what is known needs a moment to leave; what isn't known, the backoff.
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            () = added, if all_known => {}
        }
    }
}

/// The view of the cluster as the sender takes it.
fn leaders(shared: &Shared, snapshot: &ClusterSnapshot) -> Vec<TopicLeaders> {
    let is_near = |leader: BrokerId| {
        let rack = snapshot.broker(leader).and_then(|broker| broker.rack.as_deref());
        shared.rack.is_some() && rack == shared.rack.as_deref()
    };
    let topics = snapshot.topics().map(|topic| TopicLeaders {
        topic: topic.name.clone(),
        topic_id: topic.id,
        partitions: (topic.partitions.iter())
            .map(|partition| PartitionLeader {
                partition: partition.index,
                leader: partition.leader,
                leader_epoch: partition.leader_epoch,
                is_near: partition.leader.is_some_and(is_near),
            })
            .collect(),
    });
    topics.collect()
}

/// Calls what the user gave, and survives its panic: the thread serves others too.
pub(crate) fn guard(what: &str, call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!("{what} panicked; the producer goes on");
    }
}
