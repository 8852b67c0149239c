//! Membership on the I/O thread: performs what the core decides, and tells it what came.

mod commits;
mod pattern;

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streamledger_client_core::cluster::ClusterSnapshot;
use streamledger_client_core::consumer::group::{
    AskId, GroupAnswer, GroupConfig, GroupEffect, GroupEvent, GroupProtocol, GroupQuestion,
    GroupState, GroupTrouble, KnownTopic, KnownTopics, Subscription,
};
use streamledger_client_core::consumer::{Event, Generation, Position};
use streamledger_client_core::partitioner::{RandomSource, SeededRandom};
use streamledger_client_core::sender::Backoff;
use streamledger_client_core::transaction::CoordinatorKey;
use streamledger_protocol::messages::MetadataRequest;
use streamledger_protocol::messages::metadata::MetadataRequestTopic;
use streamledger_protocol::{
    ApiKey, ApiVersion, BrokerId, ErrorCode, GroupId, TopicId, TopicName, TopicPartition,
};
use tokio::sync::Notify;

use super::ConsumerError;
use super::fetcher::Fetcher;
use super::inbox::Item;
use crate::config::{ClientSettings, ConsumerSettings, GroupProtocolName};
use crate::coordinator;
use crate::network::{ConnectionPool, NetworkError};

pub(super) use commits::Commits;
pub(super) use pattern::TopicPattern;

/// From this version on metadata is asked for by a topic's id too (KIP-516).
const BY_TOPIC_ID: ApiVersion = ApiVersion(12);

/// How much longer than the rebalance a join may take (Kafka's `AbstractCoordinator`).
const JOIN_LAPSE: Duration = Duration::from_secs(5);

/// What the I/O thread has of the group.
pub(super) struct Membership {
    pub(super) group_id: GroupId,
    state: RefCell<GroupState>,
    /// Connections of their own: nothing is answered behind a join that waits for others.
    pool: ConnectionPool,
    /// The moment to look again may be another.
    stirred: Notify,
    /// It has left, so many times.
    left: Cell<u64>,
    has_left: Notify,
    /// The pattern by which topics are found here, and how often that was changed.
    pattern: RefCell<Option<TopicPattern>>,
    pattern_number: Cell<u64>,
    pub(super) commits: Commits,
}

impl Membership {
    pub(super) fn new(
        client: &ClientSettings,
        own: &ConsumerSettings,
        pool: ConnectionPool,
    ) -> Option<Self> {
        let group_id = GroupId::from(own.group_id.as_deref()?);
        let random = Arc::new(SeededRandom::new(RandomState::new().hash_one(1_u8)));
        let protocol = match own.group_protocol {
            GroupProtocolName::Classic => GroupProtocol::Classic {
                assignors: own.partition_assignment_strategy.clone(),
                session_timeout: own.session_timeout,
                heartbeat_interval: own.heartbeat_interval,
            },
            GroupProtocolName::Consumer => GroupProtocol::Consumer {
                remote_assignor: own.group_remote_assignor.clone(),
                member_id: chosen_id(&*random),
            },
        };
        let config = GroupConfig {
            group_id: group_id.clone(),
            instance_id: own.group_instance_id.clone(),
            protocol,
            max_poll_interval: own.max_poll_interval,
            rack: Some(own.client_rack.clone()).filter(|rack| !rack.is_empty()),
            retry_backoff: Backoff { first: client.retry_backoff, max: client.retry_backoff_max },
        };
        Some(Self {
            group_id,
            state: RefCell::new(GroupState::new(config, random)),
            pool,
            stirred: Notify::new(),
            left: Cell::new(0),
            has_left: Notify::new(),
            pattern: RefCell::default(),
            pattern_number: Cell::new(0),
            commits: Commits::default(),
        })
    }

    /// The topics whose metadata membership wants.
    pub(super) fn wanted_topics(&self) -> Vec<TopicName> {
        self.state.borrow().wanted_topics().into_iter().collect()
    }
}

/// A random member id: a next-generation member chooses its own, as a UUID (version 4).
fn chosen_id(random: &dyn RandomSource) -> String {
    let [a, b, c, d] = std::array::from_fn(|_| random.next_u32());
    let (b, c) = ((b & 0xffff_0fff) | 0x4000, (c & 0x3fff_ffff) | 0x8000_0000);
    format!("{a:08x}-{:04x}-{:04x}-{:04x}-{:04x}{d:08x}", b >> 16, b & 0xffff, c >> 16, c & 0xffff)
}

impl Fetcher {
    /// Tells membership what happened, and does what it wants done. Without a group nothing.
    pub(super) fn handle_group(self: &Rc<Self>, event: GroupEvent) {
        let Some(group) = &self.group else { return };
        group.state.borrow_mut().handle(Instant::now(), event);
        self.step_group();
    }

    fn step_group(self: &Rc<Self>) {
        let Some(group) = &self.group else { return };
        group.state.borrow_mut().handle(self.inbox.polled_at(), GroupEvent::Polled);
        loop {
            let effect = group.state.borrow_mut().poll(Instant::now());
            let Some(effect) = effect else { break };
            self.perform_for_group(effect);
        }
        *self.metadata.lock() = group.state.borrow().metadata();
        group.stirred.notify_one();
    }

    /// Takes a subscription to topics by their names.
    pub(super) fn subscribe(self: &Rc<Self>, subscription: Subscription) {
        if let Some(group) = &self.group {
            group.pattern.borrow_mut().take();
            group.pattern_number.set(group.pattern_number.get() + 1);
        }
        self.subscribe_to(subscription);
    }

    fn subscribe_to(self: &Rc<Self>, subscription: Subscription) {
        self.handle_group(GroupEvent::Subscribe(subscription));
        let Some(group) = &self.group else { return };
        self.refresher.want(group.wanted_topics());
    }

    /// Ends membership, and waits until the coordinator has been told.
    pub(super) async fn leave_group(self: Rc<Self>) {
        let Some(group) = &self.group else { return };
        group.pattern.borrow_mut().take();
        group.pattern_number.set(group.pattern_number.get() + 1);
        let before = group.left.get();
        self.inbox.forget_step();
        self.handle_group(GroupEvent::Leave);
        while group.left.get() == before {
            let left = group.has_left.notified();
            if group.left.get() == before {
                left.await;
            }
        }
    }

    /// Keeps membership's time.
    pub(super) async fn keep_group_time(self: Rc<Self>) {
        let Some(group) = &self.group else { return };
        loop {
            let wakeup = group.state.borrow().next_wakeup();
            match wakeup {
                Some(wakeup) => tokio::select! {
                    () = tokio::time::sleep_until(wakeup.into()) => self.step_group(),
                    () = group.stirred.notified() => {}
                },
                None => group.stirred.notified().await,
            }
        }
    }

    pub(super) fn hear_topics(self: &Rc<Self>, snapshot: &ClusterSnapshot) {
        self.handle_group(GroupEvent::Topics(known(snapshot)));
    }

    /// Whether the reader holds membership up.
    fn waits_for_the_reader(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.state.borrow().waits_for_the_reader())
    }

    fn perform_for_group(self: &Rc<Self>, effect: GroupEffect) {
        let this = Rc::clone(self);
        match effect {
            GroupEffect::FindCoordinator(id) => {
                tokio::task::spawn_local(this.find_coordinator(id));
            }
            GroupEffect::Ask { id, broker, question, patience } => {
                tokio::task::spawn_local(this.ask_coordinator(id, broker, question, patience));
            }
            GroupEffect::LookUpTopics(topics) => {
                tokio::task::spawn_local(this.look_up(topics.into_iter().collect()));
            }
            GroupEffect::NameTopics(ids) => {
                tokio::task::spawn_local(this.name_topics(ids));
            }
            GroupEffect::Step(id, step) => self.inbox.offer(id, step),
            GroupEffect::Left => {
                let Some(group) = &self.group else { return };
                group.left.set(group.left.get() + 1);
                group.has_left.notify_waiters();
            }
            GroupEffect::Tell(trouble) => self.tell_of_group(trouble),
        }
    }

    fn tell_of_group(&self, trouble: GroupTrouble) {
        let Some(group) = &self.group else { return };
        let group = group.group_id.clone();
        let error = match trouble {
            GroupTrouble::Refused { code, message } => {
                ConsumerError::MembershipRefused { group, code, message }
            }
            GroupTrouble::Minded { code, message } => {
                ConsumerError::MembershipMinded { group, code, message }
            }
            GroupTrouble::Unreadable => ConsumerError::UnreadableAssignment { group },
        };
        self.deliver_error(error);
    }

    pub(super) fn deliver_error(&self, error: ConsumerError) {
        tracing::warn!(%error, "consumer");
        self.inbox.deliver(Item::Trouble(None, error));
    }

    async fn find_coordinator(self: Rc<Self>, id: AskId) {
        let Some(group) = &self.group else { return };
        let key = CoordinatorKey::Group(group.group_id.clone());
        let found = coordinator::find(&self.refresher, &key, self.client.request_timeout).await;
        self.handle_group(match found {
            Ok(found) => GroupEvent::CoordinatorFound(id, found),
            Err(unreachable) => {
                if unreachable.is_authentication() {
                    self.deliver_error(unreachable.into());
                }
                GroupEvent::AskFailed(id)
            }
        });
    }

    async fn ask_coordinator(
        self: Rc<Self>,
        id: AskId,
        broker: BrokerId,
        question: GroupQuestion,
        patience: Duration,
    ) {
        let longer = if patience.is_zero() { patience } else { patience + JOIN_LAPSE };
        let timeout = self.client.request_timeout.max(longer);
        let api = question.api();
        let answer = self.put_group_question(broker, question, timeout).await;
        self.handle_group(match answer {
            Ok(answer) => GroupEvent::Answered(id, answer),
            Err(error) => {
                tracing::debug!(%broker, %error, ?api, "membership");
                if !error.is_retriable() {
                    self.deliver_error(error.into());
                }
                GroupEvent::AskFailed(id)
            }
        });
    }

    async fn put_group_question(
        &self,
        broker: BrokerId,
        question: GroupQuestion,
        timeout: Duration,
    ) -> Result<GroupAnswer, NetworkError> {
        let pool = self.group.as_ref().map_or(self.refresher.pool(), |group| &group.pool);
        let connection = self.refresher.connection_in(pool, broker).await?;
        Ok(match question {
            GroupQuestion::Join(request) => {
                GroupAnswer::Join(connection.call(&request, timeout).await?)
            }
            GroupQuestion::Sync(request) => {
                GroupAnswer::Sync(connection.call(&request, timeout).await?)
            }
            GroupQuestion::Heartbeat(request) => {
                GroupAnswer::Heartbeat(connection.call(&request, timeout).await?)
            }
            GroupQuestion::Leave(mut request) => {
                // Since version 3 the members are a list.
                if connection.version_for(ApiKey::LeaveGroup) >= Some(ApiVersion(3)) {
                    request.member_id.clear();
                } else {
                    request.members.clear();
                }
                GroupAnswer::Leave(connection.call(&request, timeout).await?)
            }
            GroupQuestion::ConsumerHeartbeat(request) => {
                GroupAnswer::ConsumerHeartbeat(connection.call(&request, timeout).await?)
            }
        })
    }

    async fn look_up(self: Rc<Self>, topics: Vec<TopicName>) {
        loop {
            match self.refresher.refresh(topics.clone()).await {
                Ok(snapshot) => return self.handle_group(GroupEvent::LookedUp(known(&snapshot))),
                Err(unreachable) => {
                    let mut pause = self.client.retry_backoff;
                    if unreachable.is_authentication() {
                        // It won't be granted the next moment.
                        pause = self.client.retry_backoff_max;
                        self.deliver_error(unreachable.into());
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Asks for the names until all of them are known; a topic may be gone, or too new.
    async fn name_topics(self: Rc<Self>, mut ids: Vec<TopicId>) {
        while !ids.is_empty() {
            let names = self.refresher.ask_any(|connection| {
                let topics =
                    ids.iter().map(|id| MetadataRequestTopic { topic_id: *id, name: None });
                let by_id = connection.version_for(ApiKey::Metadata) >= Some(BY_TOPIC_ID);
                let topics = by_id.then(|| topics.collect());
                let request = MetadataRequest { topics, ..MetadataRequest::default() };
                let timeout = self.client.request_timeout;
                async move { connection.call(&request, timeout).await }
            });
            let topics = names.await.map(|response| response.topics).unwrap_or_default();
            let named: Vec<(TopicId, TopicName)> = topics
                .into_iter()
                .filter(|topic| {
                    topic.error_code == ErrorCode::None && ids.contains(&topic.topic_id)
                })
                .filter_map(|topic| Some((topic.topic_id, topic.name?)))
                .collect();
            ids.retain(|id| !named.iter().any(|(known, _)| known == id));
            if !named.is_empty() {
                self.handle_group(GroupEvent::Named(named));
            }
            if !ids.is_empty() {
                tokio::time::sleep(self.client.retry_backoff_max).await;
            }
        }
    }

    /// Finds the positions of partitions that were just assigned: what the group has committed, or
    /// where `auto.offset.reset` says.
    pub(super) async fn settle(self: Rc<Self>, partitions: Vec<(TopicPartition, Generation)>) {
        let Some(group) = &self.group else { return };
        loop {
            let open = self.inbox.unpositioned(&partitions);
            if open.is_empty() {
                return;
            }
            let names: Vec<TopicPartition> = open.iter().map(|(at, _)| at.clone()).collect();
            match Rc::clone(&self).committed(group.group_id.clone(), names).await {
                Ok(stored) => {
                    for ((topic_partition, generation), stored) in open.into_iter().zip(stored) {
                        let position = stored
                            .map_or(Position::Reset, |stored| Position::Offset(stored.offset));
                        if self.inbox.settle(&topic_partition, generation, position) {
                            self.handle(Event::Seek(topic_partition, generation, position));
                        }
                    }
                    return;
                }
                Err(error) => self.deliver_error(error),
            }
            tokio::time::sleep(self.client.retry_backoff_max).await;
        }
    }
}

/// What metadata has of topics that are there.
fn known(snapshot: &ClusterSnapshot) -> KnownTopics {
    let there = snapshot.topics().filter(|topic| {
        topic.error.is_none_or(|error| error == ErrorCode::LeaderNotAvailable)
            && !topic.partitions.is_empty()
    });
    let has_racks = snapshot.brokers().any(|broker| broker.rack.is_some());
    let rack = |id: &BrokerId| snapshot.broker(*id)?.rack.clone();
    let there = there.map(|topic| {
        let partition_count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let with_racks = topic.partitions.iter().filter(|_| has_racks);
        let racks = with_racks.map(|one| one.replicas.iter().filter_map(rack).collect());
        let racks = racks.collect();
        (topic.name.clone(), KnownTopic { id: topic.id, partition_count, racks })
    });
    there.collect()
}
