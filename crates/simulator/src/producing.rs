//! The producers' side of a run: callers, and the shell around each sender.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use streamledger_client_core::accumulator::{AppendError, AppendExtras, RecordParts};
use streamledger_client_core::idempotence::Identity;
use streamledger_client_core::partitioner::Partitioning;
use streamledger_client_core::sender::{
    Effect, Event, OutgoingRequest, ProducerIdAnswer, RequestId, TopicLeaders,
};
use streamledger_protocol::record_batch::RecordBatchHeader;
use streamledger_protocol::{ErrorCode, TopicName};

use crate::client::{Blocked, InFlight};
use crate::cluster::{broker_id, broker_number};
use crate::network::{Connection, Response};
use crate::oracle::{End, Sent};
use crate::records::Content;
use crate::report::Promise;
use crate::world::{Happening, World};

/// How long a client tries to connect to a broker that doesn't answer.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);
/// Records that each caller keeps for the time after the faults, and their distance.
const LAST_RECORDS: u32 = 5;
const LAST_GAP_US_MAX: u64 = 400_000;
/// How often a caller that waits for memory looks again.
const BLOCKED_LOOK_US: u64 = 500;

impl World {
    /// Tells a sender what happened, and does what it wants done.
    pub(crate) fn tell(&mut self, client: usize, event: Event) {
        if self.clients[client].dead {
            return;
        }
        let instant = self.base.instant(self.now);
        self.clients[client].sender.handle(instant, event);
        self.drive(client);
    }

    /// Performs a sender's effects until it has none.
    fn drive(&mut self, client: usize) {
        let instant = self.base.instant(self.now);
        while let Some(effect) = self.clients[client].sender.poll(instant) {
            self.perform(client, effect);
        }
        self.note_identity(client);
        let wakeup = self.clients[client].sender.next_wakeup();
        if let Some(wakeup) = wakeup {
            let at = self.base.time(wakeup).max(self.now);
            if self.clients[client].timer.is_none_or(|timer| timer > at) {
                self.clients[client].timer = Some(at);
                self.queue.push(at, Happening::SenderTimer(client));
            }
        }
        self.take_endings(client);
    }

    pub(crate) fn sender_timer(&mut self, client: usize) {
        // A timer that was moved to an earlier moment is over already.
        let is_due = self.clients[client].timer.is_some_and(|timer| timer <= self.now);
        if is_due && !self.clients[client].dead {
            self.clients[client].timer = None;
            self.drive(client);
        }
    }

    fn perform(&mut self, client: usize, effect: Effect) {
        match effect {
            Effect::Connect(broker) => self.connect(client, broker_number(broker)),
            Effect::SendProduce(request) => self.send(client, request),
            Effect::InitProducerId => self.ask_producer_id(client),
            Effect::AskCoordinator(question) => self.ask_coordinator(client, question),
            Effect::SettleTransaction(settled) => self.settle_transaction(client, settled),
            Effect::RefreshMetadata(topics) => self.ask_metadata(client, &topics),
            Effect::ForgetTopics(topics) => {
                self.note(format_args!("client {client} forgets {} topics", topics.len()));
            }
            Effect::Compress(job) => {
                let batch = Box::new(job.run(&mut self.clients[client].scratch));
                let at = self.now + Duration::from_micros(self.network_dice.between(5, 300));
                self.queue.push(at, Happening::Compressed { client, batch });
            }
            Effect::Complete(batch) => {
                let (tp, records) = (batch.topic_partition(), batch.record_count());
                let outcome = match batch.base_offset() {
                    Ok(Some(offset)) => format!("acked at {offset}"),
                    Ok(None) => "acked".to_owned(),
                    Err(failure) => format!("failed: {failure}"),
                };
                self.note(format_args!("client {client}: {records} records of {tp} {outcome}"));
                batch.deliver(&self.clients[client].accumulator);
            }
        }
    }

    fn note_identity(&mut self, client: usize) {
        let identity = self.clients[client].sender.identity();
        let seen = std::mem::replace(&mut self.clients[client].identity_seen, identity);
        if seen == identity {
            return;
        }
        if let (Some(before), Some(after)) = (seen.current(), identity.current())
            && before.id == after.id
        {
            self.counters.epoch_bumps += u64::from(before.epoch < after.epoch);
            if after.epoch < before.epoch {
                let text = format!("client {client} went from {before} back to {after}");
                self.violate(Promise::EpochsRise, text);
            }
        }
        match identity {
            Identity::Failed(error) if self.clients[client].transactional.is_some() => {
                self.note(format_args!("client {client} can't go on: {error}"));
            }
            Identity::Failed(error) => {
                self.violate(Promise::EverySendSucceeds, format!("client {client}: {error}"));
            }
            Identity::Ready(id) => {
                self.note(format_args!("client {client} is {} epoch {}", id.id, id.epoch));
            }
            _ => self.note(format_args!("client {client} changes its identity")),
        }
    }

    fn connect(&mut self, client: usize, broker: usize) {
        let life = self.brokers[broker].life;
        let reachable = self.brokers[broker].up && !self.is_stalled(client, broker);
        let connection = self.connections.len();
        self.connections.push(Connection::new(client, broker, life));
        let wait = match reachable || self.brokers[broker].up {
            true if reachable => Duration::from_micros(2 * self.latency_us()),
            // A stalled link says nothing; a broker that is down refuses.
            true => CONNECT_TIMEOUT,
            false => Duration::from_micros(self.latency_us()),
        };
        self.queue.push(self.now + wait, Happening::Connected { connection, up: reachable });
    }

    pub(crate) fn connected(&mut self, connection: usize, up: bool) {
        let Connection { client, broker, broker_life, .. } = self.connections[connection];
        let up = up && self.brokers[broker].up && self.brokers[broker].life == broker_life;
        self.note(format_args!("client {client} and broker {broker}: connected {up}"));
        if up {
            self.connections[connection].client_open = true;
            self.clients[client].connections.insert(broker, connection);
            self.tell(client, Event::ConnectionUp(broker_id(broker)));
        } else {
            self.tell(client, Event::ConnectionDown(broker_id(broker)));
        }
    }

    fn send(&mut self, client: usize, request: OutgoingRequest) {
        let broker = broker_number(request.broker);
        self.counters.requests += 1;
        self.check_request(client, &request);
        let id = request.request;
        let Some(&connection) = self.clients[client].connections.get(&broker) else {
            self.queue.push(self.now, Happening::NotSent { client, request: id });
            return;
        };
        let batches = request.batches.iter().map(|batch| {
            let slot = self.cluster.slot(&batch.topic_partition).unwrap_or(usize::MAX);
            let header = RecordBatchHeader::parse(&batch.bytes).ok();
            (slot, header.and_then(|header| header.producer()))
        });
        let batches = batches.collect();
        self.clients[client].in_flight.insert(id, InFlight { connection, batches });
        let timeout = self.now + self.clients[client].plan.request_timeout;
        self.queue.push(timeout, Happening::Timeout { client, request: id });
        let count = request.batches.len();
        self.note(format_args!("client {client} sends request {} of {count} batches", id.0));
        self.transmit(connection, request);
    }

    fn check_request(&mut self, client: usize, request: &OutgoingRequest) {
        for batch in &request.batches {
            let Some(slot) = self.cluster.slot(&batch.topic_partition) else { continue };
            if let Err((promise, text)) = self.sent.send(batch, slot) {
                self.violate(promise, format!("client {client}, {text}"));
            }
        }
    }

    fn ask_producer_id(&mut self, client: usize) {
        let answer = if self.faults_over || !self.fault_dice.chance(200) {
            self.counters.producer_ids += 1;
            ProducerIdAnswer::Given(self.cluster.new_producer())
        } else if self.fault_dice.chance(500) {
            ProducerIdAnswer::Refused(ErrorCode::CoordinatorLoadInProgress)
        } else {
            ProducerIdAnswer::NoAnswer
        };
        let at = self.now + Duration::from_micros(4 * self.latency_us());
        self.queue.push(at, Happening::ProducerId { client, answer });
    }

    pub(crate) fn producer_id_comes(&mut self, client: usize, answer: ProducerIdAnswer) {
        self.note(format_args!("client {client}: producer id {answer:?}"));
        self.tell(client, Event::ProducerId(answer));
    }

    /// Metadata comes to a producer that has not asked for it.
    pub(crate) fn push_metadata(&mut self, client: usize, topics: &[TopicName]) {
        self.ask_metadata(client, topics);
    }

    fn ask_metadata(&mut self, client: usize, topics: &[TopicName]) {
        let topics = if self.now < self.metadata_fails {
            self.counters.bad_metadata += 1;
            None
        } else {
            let stale = self.now < self.metadata_stale && self.fault_dice.chance(700);
            let mut view = match stale {
                true => self.cluster.stale_view.clone(),
                false => self.cluster.view(),
            };
            view.retain(|of_topic| topics.contains(&of_topic.topic));
            if self.now < self.topics_lost {
                for of_topic in &mut view {
                    of_topic.partitions.clear();
                    of_topic.topic_id = streamledger_protocol::TopicId::ZERO;
                }
            }
            let bad = stale || self.now < self.topics_lost;
            self.counters.bad_metadata += u64::from(bad);
            Some(view)
        };
        let at = self.now + Duration::from_micros(2 * self.latency_us());
        self.queue.push(at, Happening::Metadata { client, topics });
    }

    pub(crate) fn metadata_comes(&mut self, client: usize, topics: Option<Vec<TopicLeaders>>) {
        self.clients[client].caller.asked_metadata = false;
        match topics {
            Some(topics) => {
                let known = topics.iter().filter(|topic| !topic.partitions.is_empty()).count();
                self.note(format_args!("client {client}: metadata of {known} topics"));
                self.tell(client, Event::Metadata(topics));
            }
            None => self.tell(client, Event::MetadataFailed),
        }
    }

    /// Nobody has answered a request in time.
    pub(crate) fn request_times_out(&mut self, client: usize, request: RequestId) {
        let Some(in_flight) = self.clients[client].in_flight.get(&request) else { return };
        let connection = in_flight.connection;
        self.counters.timeouts += 1;
        self.note(format_args!("client {client}: request {} times out", request.0));
        if self.clients[client].plan.close_on_timeout {
            self.connection_lost(connection);
        } else {
            self.clients[client].in_flight.remove(&request);
            self.tell(client, Event::RequestFailed { request, possibly_sent: true });
        }
    }

    /// A client is done with a connection: what it waits for there will not come.
    pub(crate) fn connection_lost(&mut self, connection: usize) {
        let Connection { client, broker, client_open, .. } = self.connections[connection];
        if !client_open {
            return;
        }
        self.connections[connection].client_open = false;
        self.counters.breaks += 1;
        self.note(format_args!("client {client} loses its connection to broker {broker}"));
        self.clients[client].connections.remove(&broker);
        let failed: Vec<RequestId> = self.clients[client]
            .in_flight
            .extract_if(.., |_, in_flight| in_flight.connection == connection)
            .map(|(request, _)| request)
            .collect();
        let instant = self.base.instant(self.now);
        let sender = &mut self.clients[client].sender;
        for request in failed {
            sender.handle(instant, Event::RequestFailed { request, possibly_sent: true });
        }
        self.tell(client, Event::ConnectionDown(broker_id(broker)));
    }

    pub(crate) fn response_arrives(&mut self, connection: usize, response: Response) {
        let Connection { client, client_open, .. } = self.connections[connection];
        let Response { request, throttle, partitions } = response;
        let expected = client_open && self.clients[client].in_flight.contains_key(&request);
        if !expected {
            self.counters.responses_lost += 1;
            self.note(format_args!("client {client}: a late response to request {}", request.0));
            return;
        }
        let Some(in_flight) = self.clients[client].in_flight.remove(&request) else { return };
        for ((slot, producer), (_, answer)) in in_flight.batches.iter().zip(&partitions) {
            if let (Some(producer), ErrorCode::None) = (producer, answer.error) {
                self.sent.confirm(*producer, *slot);
            }
        }
        let errors = partitions.iter().map(|(_, answer)| answer.error.code());
        let errors: Vec<i16> = errors.collect();
        self.note(format_args!("client {client}: request {} answered {errors:?}", request.0));
        self.tell(client, Event::ProduceResponse { request, throttle, partitions });
    }

    pub(crate) fn caller_turn(&mut self, client: usize) {
        if self.clients[client].dead {
            return;
        }
        let mut extras = AppendExtras::default();
        if let Some(mut blocked) = self.clients[client].caller.blocked.take() {
            match self.look_again(client, &mut blocked) {
                Look::Granted => extras.reservation = blocked.reservation.take(),
                Look::GaveUp => {
                    self.counters.blocked_too_long += 1;
                    self.clients[client].caller.sent += 1;
                    self.record_is_over(client, None);
                    return self.next_turn(client);
                }
                Look::Waiting => {
                    self.clients[client].caller.blocked = Some(blocked);
                    let at = self.now + Duration::from_micros(BLOCKED_LOOK_US);
                    self.queue.push(at, Happening::CallerTurn(client));
                    return;
                }
            }
        }
        if self.clients[client].transactional.is_some() {
            return self.transactional_turn(client, extras);
        }
        if self.clients[client].caller_is_done() {
            return;
        }
        // The last records are kept for when all is well again.
        let last_ones = self.clients[client].caller.sent + LAST_RECORDS;
        if last_ones >= self.clients[client].plan.records && !self.faults_over {
            self.queue.push(self.plan.faults.until, Happening::CallerTurn(client));
            return;
        }
        self.send_record(client, extras);
    }

    fn look_again(&mut self, client: usize, blocked: &mut Blocked) -> Look {
        let mut context = Context::from_waker(Waker::noop());
        if let Some(wait) = &mut blocked.wait
            && let Poll::Ready(reservation) = Pin::new(wait).poll(&mut context)
        {
            blocked.reservation = Some(reservation);
            return Look::Granted;
        }
        match self.now > blocked.since + self.clients[client].plan.block_max {
            true => Look::GaveUp,
            false => Look::Waiting,
        }
    }

    pub(crate) fn next_turn(&mut self, client: usize) {
        let plan = &self.clients[client].plan;
        let (gap_us_max, flush_every) = (plan.gap_us_max, plan.flush_every);
        let sent = self.clients[client].caller.sent;
        let done = self.clients[client].caller_is_done();
        if done || (flush_every > 0 && sent.is_multiple_of(flush_every)) {
            let flush = self.clients[client].accumulator.begin_flush();
            self.clients[client].flushes.push(flush);
            self.tell(client, Event::Wake);
        }
        if !done {
            let lasts = self.faults_over && self.clients[client].transactional.is_none();
            let gap_us_max = if lasts { LAST_GAP_US_MAX } else { gap_us_max };
            let at = self.now + Duration::from_micros(self.work_dice.between(1, gap_us_max));
            self.queue.push(at, Happening::CallerTurn(client));
        }
    }

    /// Sends one record, or finds out why it can't be sent now.
    pub(crate) fn send_record(&mut self, client: usize, mut extras: AppendExtras) {
        let accumulator = Arc::clone(&self.clients[client].accumulator);
        let number = self.ledger.next_number();
        let topic_number = self.work_dice.place(self.cluster.callers_topics);
        let topic = accumulator.topic(&self.cluster.topics[topic_number].name);
        let Some(count) = topic.partition_count() else {
            return self.wait_for_metadata(client);
        };
        let value_bytes = self.work_dice.below(self.clients[client].plan.value_bytes_max + 1);
        let content =
            Content::of(number, self.now.wall(), usize::try_from(value_bytes).unwrap_or(0));
        let endings = Arc::clone(&self.clients[client].endings);
        extras.callback = Some(Box::new(move |result| {
            endings.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        }));
        let headers = content.borrowed_headers();
        let (key, value) = (content.key.as_deref(), content.value.as_deref());
        let parts = RecordParts { timestamp: content.timestamp, key, value, headers: &headers };
        let target = Partitioning::Murmur2.choose(&topic, count, key, value);
        let instant = self.base.instant(self.now);
        let appended = accumulator.append(&topic, target, &parts, &|| instant, &mut extras);
        drop(headers);
        match appended {
            Ok(appended) => {
                let partition = appended.delivery.topic_partition().partition;
                self.counters.sent += 1;
                let topic = topic_number;
                self.ledger.add(Sent { client, topic, partition, content, end: None });
                self.note(format_args!("client {client} sends record {number} to {partition}"));
                if number.is_multiple_of(7) {
                    self.clients[client].deliveries.push((number, appended.delivery));
                }
                if appended.wake_sender {
                    self.tell(client, Event::Wake);
                }
                self.clients[client].caller.sent += 1;
                self.record_is_over(client, Some(number));
                self.next_turn(client);
            }
            Err(AppendError::MemoryFull { batch_bytes }) => {
                self.counters.memory_waits += 1;
                let wait = Some(accumulator.memory().reserve(batch_bytes));
                let blocked = Blocked { since: self.now, wait, reservation: None };
                self.clients[client].caller.blocked = Some(blocked);
                self.tell(client, Event::Wake);
                let at = self.now + Duration::from_micros(BLOCKED_LOOK_US);
                self.queue.push(at, Happening::CallerTurn(client));
            }
            Err(error) if self.transaction_refuses(client, &error) => {}
            Err(error) => {
                let text = format!("client {client} can't send record {number}: {error}");
                self.violate(Promise::EverySendSucceeds, text);
            }
        }
    }

    /// The names of the topics that callers write to.
    pub(crate) fn callers_topics(&self) -> Vec<TopicName> {
        let topics = self.cluster.topics.iter().take(self.cluster.callers_topics);
        topics.map(|topic| topic.name.clone()).collect()
    }

    fn wait_for_metadata(&mut self, client: usize) {
        if !self.clients[client].caller.asked_metadata {
            self.clients[client].caller.asked_metadata = true;
            let topics = self.callers_topics();
            self.ask_metadata(client, &topics);
        }
        let at = self.now + Duration::from_millis(2);
        self.queue.push(at, Happening::CallerTurn(client));
    }

    /// Notes how records ended, as their callbacks told it.
    fn take_endings(&mut self, client: usize) {
        for (number, result) in self.clients[client].take_endings() {
            let end = match &result {
                Ok(metadata) => {
                    self.counters.acked += 1;
                    End::Acked { offset: metadata.offset }
                }
                Err(failure) if failure.possibly_written => {
                    self.counters.possibly_written += 1;
                    End::Failed { possibly_written: true }
                }
                Err(_) => {
                    self.counters.not_written += 1;
                    End::Failed { possibly_written: false }
                }
            };
            if let (Err(failure), true) = (&result, self.plan.must_deliver) {
                self.violate(Promise::EverySendSucceeds, format!("record {number}: {failure}"));
            }
            self.check_metadata(number, &result);
            if !self.ledger.end(number, end) {
                let text = format!("record {number} ended twice");
                self.violate(Promise::EverySendResolves, text);
            }
        }
    }

    fn check_metadata(
        &mut self,
        number: crate::records::RecordNumber,
        result: &Result<
            streamledger_client_core::accumulator::RecordMetadata,
            Arc<streamledger_client_core::failure::DeliveryFailure>,
        >,
    ) {
        let (Some(sent), Ok(metadata)) = (self.ledger.get(number), result) else { return };
        let sizes =
            (sent.content.key.as_ref().map(Vec::len), sent.content.value.as_ref().map(Vec::len));
        let told = (metadata.serialized_key_size, metadata.serialized_value_size);
        let right = told == sizes
            && metadata.timestamp == sent.content.timestamp
            && metadata.topic_partition.partition == sent.partition;
        if !right {
            let text = format!("record {number}: {metadata:?} of {:?}", sent.content);
            self.violate(Promise::MetadataIsTrue, text);
        }
    }

    /// How each client stands with the connections that are open: none may be used twice.
    pub(crate) fn open_connections(&self, client: usize) -> &BTreeMap<usize, usize> {
        &self.clients[client].connections
    }
}

/// What a caller that waits for memory finds.
enum Look {
    Granted,
    GaveUp,
    Waiting,
}
