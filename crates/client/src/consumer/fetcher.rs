//! Drives the fetching on the I/O thread: performs what the core decides, and tells it what came.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use streamledger_client_core::cluster::Broker;
use streamledger_client_core::consumer::{
    Effect, Event, FetchConfig, FetchState, FoundOffset, Generation, OffsetReset, PartitionToFetch,
    PartitionToFind, Position, RequestId, Trouble,
};
use streamledger_client_core::partitioner::SeededRandom;
use streamledger_client_core::sender::Backoff;
use streamledger_client_core::transaction::ConsumerGroupMetadata;
use streamledger_protocol::messages::fetch::{FetchPartition, FetchTopic, PartitionData};
use streamledger_protocol::messages::{FetchRequest, FetchResponse};
use streamledger_protocol::wire::Records;
use streamledger_protocol::{
    ApiKey, ApiVersion, BrokerId, ErrorCode, TopicId, TopicName, TopicPartition,
};
use tokio::sync::Notify;

use super::ConsumerError;
use super::group::Membership;
use super::inbox::{Inbox, Item};
use super::metrics::FetchMeter;
use crate::config::{AutoOffsetReset, ClientSettings, ConsumerConfig, ConsumerSettings};
use crate::metadata::{MetadataRefresher, Unreachable};
use crate::network::{ConnectionPool, NetworkConfig, NetworkError, RESPONSE_BYTES_MAX};
use crate::observe::consumer_readings;
use crate::telemetry::{RunningTelemetry, TelemetryClient, TelemetryDesk};

/// The last version of Fetch that names topics by their names.
const FETCH_BY_NAME: ApiVersion = ApiVersion(12);

/// What lives on the I/O thread.
pub(super) struct Fetcher {
    pub(super) client: ClientSettings,
    pub(super) own: ConsumerSettings,
    pub(super) refresher: MetadataRefresher,
    /// Connections of their own for fetches, as nothing is answered behind one that waits for
    /// records.
    fetches: ConnectionPool,
    pub(super) inbox: Arc<Inbox>,
    /// Without a `group.id` there is none.
    pub(super) group: Option<Membership>,
    /// The membership, for those who send it beside offsets.
    pub(super) metadata: Arc<Mutex<ConsumerGroupMetadata>>,
    state: RefCell<FetchState>,
    /// Why metadata could not be had last.
    last_unreachable: RefCell<Unreachable>,
    /// Why the last request to a broker that failed did.
    last_failures: RefCell<BTreeMap<BrokerId, NetworkError>>,
    /// The moment to look again may be another.
    stirred: Notify,
    network: NetworkConfig,
    meter: FetchMeter,
    desk: Cell<Option<TelemetryDesk>>,
    telemetry: Cell<Option<RunningTelemetry>>,
}

impl Fetcher {
    pub(super) fn new(
        config: &ConsumerConfig,
        inbox: Arc<Inbox>,
        metadata: Arc<Mutex<ConsumerGroupMetadata>>,
        desk: TelemetryDesk,
    ) -> Self {
        let client = config.client().clone();
        let own = ConsumerSettings::clone(config);
        let mut network = NetworkConfig::new(&client, config.connections());
        let twice = u32::try_from(own.fetch_max_bytes.saturating_mul(2)).unwrap_or(u32::MAX);
        network.fetch_response_bytes_max =
            twice.clamp(RESPONSE_BYTES_MAX, i32::MAX.cast_unsigned());
        let fetches = ConnectionPool::new(network.clone());
        let group = Membership::new(&client, &own, ConnectionPool::new(network.clone()));
        let pool = ConnectionPool::new(network.clone());
        let refresher = MetadataRefresher::start(&client, own.allow_auto_create_topics, pool);
        let random = Arc::new(SeededRandom::new(RandomState::new().hash_one(0_u8)));
        let state = FetchState::new(fetch_config(&client, &own), random);
        let meter = FetchMeter::new(client.metrics_window());
        Self {
            client,
            own,
            refresher,
            fetches,
            inbox,
            group,
            metadata,
            state: RefCell::new(state),
            last_unreachable: RefCell::new(Unreachable::new(Vec::new())),
            last_failures: RefCell::default(),
            stirred: Notify::new(),
            network,
            meter,
            desk: Cell::new(Some(desk)),
            telemetry: Cell::new(None),
        }
    }

    /// Starts what runs all the time: the timer, and the ear for metadata.
    pub(super) fn begin(self: &Rc<Self>) {
        tokio::task::spawn_local(Rc::clone(self).keep_time());
        tokio::task::spawn_local(Rc::clone(self).hear_metadata());
        self.begin_telemetry();
        if self.group.is_some() {
            tokio::task::spawn_local(Rc::clone(self).keep_group_time());
        }
    }

    fn begin_telemetry(self: &Rc<Self>) {
        let Some(desk) = self.desk.take() else { return };
        let (own, this) = (&self.own, Rc::clone(self));
        let labels = [
            ("group_id", own.group_id.as_ref()),
            ("group_instance_id", own.group_instance_id.as_ref()),
        ];
        let labels = labels.into_iter().filter_map(|(name, value)| Some((name, value?.clone())));
        let running = desk.start(TelemetryClient {
            refresher: self.refresher.clone(),
            network: self.network.clone(),
            resource: labels.collect(),
            collect: Box::new(move |wants| {
                let assigned = this.inbox.assignment().len();
                let connections = this.network.meter.read();
                consumer_readings(&connections, assigned, &this.meter.read(), wants)
            }),
        });
        self.telemetry.set(Some(running));
    }

    /// Pushes metrics for the last time.
    pub(super) async fn end_telemetry(self: Rc<Self>, until: Instant) {
        if let Some(running) = self.telemetry.take() {
            running.finish(until).await;
        }
    }

    pub(super) fn assign(self: &Rc<Self>, partitions: Vec<(TopicPartition, Generation, Position)>) {
        self.handle(Event::Assign(partitions));
        self.retain_topics();
    }

    /// Reads other partitions beside those that stay, or some less.
    pub(super) fn add(self: &Rc<Self>, event: Event) {
        self.handle(event);
        self.retain_topics();
        // What is known of the leaders needn't be asked for again.
        let snapshot = self.refresher.snapshot();
        if snapshot.generation() > 0 {
            self.handle(Event::Metadata(snapshot));
        }
    }

    /// Forgets topics that nobody wants any more.
    fn retain_topics(&self) {
        let mut topics: BTreeSet<TopicName> = self.state.borrow().topics().cloned().collect();
        topics.extend(self.group.iter().flat_map(Membership::wanted_topics));
        self.refresher.retain_topics(|topic| topics.contains(topic));
    }

    /// Tells the core what happened, and does what it wants done.
    pub(super) fn handle(self: &Rc<Self>, event: Event) {
        self.state.borrow_mut().handle(Instant::now(), event);
        self.step();
    }

    fn step(self: &Rc<Self>) {
        loop {
            let effect = self.state.borrow_mut().poll(Instant::now());
            let Some(effect) = effect else { break };
            self.perform(effect);
        }
        self.stirred.notify_one();
    }

    fn perform(self: &Rc<Self>, effect: Effect) {
        let this = Rc::clone(self);
        match effect {
            Effect::RefreshMetadata(topics) => {
                tokio::task::spawn_local(this.refresh(topics));
            }
            Effect::FindOffsets { request, broker, partitions } => {
                tokio::task::spawn_local(this.find(request, broker, partitions));
            }
            Effect::Fetch { request, broker, partitions } => {
                tokio::task::spawn_local(this.fetch(request, broker, partitions));
            }
            Effect::Positioned { topic_partition, generation, offset } => {
                self.inbox.deliver(Item::Positioned(topic_partition, generation, offset));
            }
            Effect::Deliver(fetched) => self.inbox.deliver(Item::Fetched(fetched)),
            Effect::Tell(trouble) => self.tell(trouble),
        }
    }

    fn tell(&self, trouble: Trouble) {
        let of = match &trouble {
            Trouble::OutOfRange { topic_partition, generation, .. }
            | Trouble::Refused { topic_partition, generation, .. }
            | Trouble::NoLeader { topic_partition, generation, .. } => {
                Some((topic_partition.clone(), *generation))
            }
            Trouble::Silent { .. } | Trouble::Unreachable => None,
        };
        let unreachable = || self.last_unreachable.borrow().clone();
        let error = ConsumerError::of(trouble, unreachable, |broker| {
            self.last_failures.borrow().get(&broker).cloned()
        });
        tracing::warn!(%error, "consumer");
        self.inbox.deliver(Item::Trouble(of, error));
    }

    async fn keep_time(self: Rc<Self>) {
        loop {
            let wakeup = self.state.borrow().next_wakeup();
            match wakeup {
                Some(wakeup) => tokio::select! {
                    () = tokio::time::sleep_until(wakeup.into()) => self.step(),
                    () = self.stirred.notified() => {}
                },
                None => self.stirred.notified().await,
            }
        }
    }

    async fn hear_metadata(self: Rc<Self>) {
        let mut seen = 0;
        let mut generation = 0;
        loop {
            seen = self.refresher.passed(seen).await;
            let snapshot = self.refresher.snapshot();
            if snapshot.generation() != generation {
                generation = snapshot.generation();
                self.hear_topics(&snapshot);
                self.handle(Event::Metadata(snapshot));
            }
        }
    }

    async fn refresh(self: Rc<Self>, topics: Vec<TopicName>) {
        // What it finds is heard with all other metadata.
        if let Err(unreachable) = self.refresher.refresh(topics).await {
            if unreachable.is_authentication() {
                // Waiting won't help: whoever polls is told at once, with each attempt.
                let error = ConsumerError::Unreachable(unreachable.clone());
                self.inbox.deliver(Item::Trouble(None, error));
            }
            *self.last_unreachable.borrow_mut() = unreachable;
            self.handle(Event::MetadataFailed);
        }
    }

    async fn find(
        self: Rc<Self>,
        request: RequestId,
        broker: BrokerId,
        partitions: Vec<PartitionToFind>,
    ) {
        match self.ask_offsets(broker, &partitions).await {
            Ok(found) => {
                let found = found.into_iter().map(|found| {
                    let answer = FoundOffset { error: found.error, offset: found.offset };
                    (found.topic_partition, answer)
                });
                self.handle(Event::OffsetsFound { request, partitions: found.collect() });
            }
            Err(error) => self.failed(request, broker, &error),
        }
    }

    async fn fetch(
        self: Rc<Self>,
        request: RequestId,
        broker: BrokerId,
        partitions: Vec<PartitionToFetch>,
    ) {
        let response = match self.ask_records(broker, &partitions).await {
            Ok(response) => response,
            Err(error) => return self.failed(request, broker, &error),
        };
        if response.error_code != ErrorCode::None {
            tracing::warn!(%broker, error = %response.error_code, "fetch");
            return self.handle(Event::RequestFailed(request));
        }
        let is_news = self.take_hints(&response, &partitions);
        let answers = by_partition(response, &partitions);
        self.handle(Event::Fetched { request, partitions: answers });
        if is_news {
            self.handle(Event::Metadata(self.refresher.snapshot()));
        }
    }

    fn failed(self: &Rc<Self>, request: RequestId, broker: BrokerId, error: &NetworkError) {
        tracing::debug!(%broker, %error, "consumer");
        self.last_failures.borrow_mut().insert(broker, error.clone());
        self.handle(Event::RequestFailed(request));
    }

    async fn ask_records(
        &self,
        broker: BrokerId,
        partitions: &[PartitionToFetch],
    ) -> Result<FetchResponse, NetworkError> {
        let connection = self.refresher.connection_in(&self.fetches, broker).await?;
        let has_ids = partitions.iter().all(|wanted| !wanted.topic_id.is_zero());
        let version = connection.version_for(ApiKey::Fetch);
        let version = version.map(|v| if has_ids { v } else { v.min(FETCH_BY_NAME) });
        let request = FetchRequest {
            max_wait_ms: saturating_i32(self.own.fetch_max_wait.as_millis()),
            min_bytes: saturating_i32(self.own.fetch_min_bytes),
            max_bytes: saturating_i32(self.own.fetch_max_bytes),
            isolation_level: self.own.isolation_level.code(),
            rack_id: self.own.client_rack.clone(),
            topics: by_topic(partitions, saturating_i32(self.own.max_partition_fetch_bytes)),
            ..FetchRequest::default()
        };
        let timeout = self.client.request_timeout.max(self.own.fetch_max_wait);
        let begun = Instant::now();
        let response = connection.call_in(version, &request, timeout).await?;
        let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
        let bytes = partitions.filter_map(|data| data.records.as_ref()).map(Records::len).sum();
        tracing::trace!(%broker, bytes, "fetched");
        self.meter.count(broker, begun.elapsed(), bytes);
        Ok(response)
    }

    /// Takes in who leads now, where the answer says so (KIP-951).
    fn take_hints(&self, response: &FetchResponse, partitions: &[PartitionToFetch]) -> bool {
        let mut is_news = false;
        for endpoint in &response.node_endpoints {
            let Ok(port) = u16::try_from(endpoint.port) else { continue };
            let (id, host, rack) = (endpoint.node_id, endpoint.host.clone(), endpoint.rack.clone());
            if id.0 >= 0 && port > 0 && !host.is_empty() {
                self.refresher.hint_broker(Broker { id, host, port, rack });
            }
        }
        let topics = response.responses.iter();
        let answers = topics.flat_map(|topic| {
            topic.partitions.iter().map(|data| (&topic.topic, topic.topic_id, data))
        });
        for (name, id, data) in answers.filter(|(_, _, data)| data.current_leader.leader_id.0 >= 0)
        {
            if let Some(asked) = find_asked(partitions, name, id, data) {
                let leader = &data.current_leader;
                is_news |= self.refresher.hint_leader(
                    &asked.topic_partition,
                    leader.leader_id,
                    leader.leader_epoch,
                );
            }
        }
        is_news
    }

    pub(super) fn timeout(&self) -> Duration {
        self.client.default_api_timeout
    }
}

fn fetch_config(client: &ClientSettings, own: &ConsumerSettings) -> FetchConfig {
    FetchConfig {
        isolation: own.isolation_level,
        offset_reset: match own.auto_offset_reset {
            AutoOffsetReset::Latest => OffsetReset::Latest,
            AutoOffsetReset::Earliest => OffsetReset::Earliest,
            AutoOffsetReset::None => OffsetReset::None,
            AutoOffsetReset::ByDuration(age) => OffsetReset::Ago(age),
        },
        partition_bytes_max: own.max_partition_fetch_bytes,
        bytes_max: own.fetch_max_bytes,
        replica_age_max: client.metadata_max_age,
        retry_backoff: Backoff { first: client.retry_backoff, max: client.retry_backoff_max },
        patience: client.default_api_timeout,
    }
}

/// The request's partitions, topic by topic, in the order given.
fn by_topic(partitions: &[PartitionToFetch], partition_max_bytes: i32) -> Vec<FetchTopic> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for wanted in partitions {
        let name = &wanted.topic_partition.topic;
        let partition = FetchPartition {
            partition: wanted.topic_partition.partition,
            current_leader_epoch: wanted.leader_epoch,
            fetch_offset: wanted.offset,
            partition_max_bytes,
            ..FetchPartition::default()
        };
        // Turns rotate the order, which may leave a topic's partitions at both ends of it.
        match topics.last_mut().filter(|topic| topic.topic == *name) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic: name.clone(),
                topic_id: wanted.topic_id,
                partitions: vec![partition],
            }),
        }
    }
    merge_same(topics)
}

/// A topic is in a request once.
fn merge_same(topics: Vec<FetchTopic>) -> Vec<FetchTopic> {
    let mut merged: Vec<FetchTopic> = Vec::with_capacity(topics.len());
    let mut places: BTreeMap<TopicName, usize> = BTreeMap::new();
    for topic in topics {
        match places.get(&topic.topic) {
            Some(place) => merged[*place].partitions.extend(topic.partitions),
            None => {
                places.insert(topic.topic.clone(), merged.len());
                merged.push(topic);
            }
        }
    }
    merged
}

fn by_partition(
    response: FetchResponse,
    partitions: &[PartitionToFetch],
) -> Vec<(TopicPartition, PartitionData)> {
    let mut answers = Vec::with_capacity(partitions.len());
    for topic in response.responses {
        for data in topic.partitions {
            let asked = find_asked(partitions, &topic.topic, topic.topic_id, &data);
            answers.extend(asked.map(|asked| (asked.topic_partition.clone(), data)));
        }
    }
    answers
}

/// What was asked of the partition that is answered, by the topic's name or, since version 13, its
/// id.
fn find_asked<'a>(
    partitions: &'a [PartitionToFetch],
    name: &TopicName,
    id: TopicId,
    data: &PartitionData,
) -> Option<&'a PartitionToFetch> {
    partitions.iter().find(|asked| {
        let is_topic = match id.is_zero() {
            true => asked.topic_partition.topic == *name,
            false => asked.topic_id == id,
        };
        is_topic && asked.topic_partition.partition == data.partition_index
    })
}

fn saturating_i32(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}
