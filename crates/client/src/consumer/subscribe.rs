//! The consumer as a member of a group: subscriptions, commits, pauses, and its end.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use parking_lot::Mutex;
use streamledger_client_core::consumer::Event;
use streamledger_client_core::consumer::group::Subscription;
use streamledger_client_core::transaction::{CommittedOffset, ConsumerGroupMetadata};
use streamledger_protocol::{TopicName, TopicPartition};

use super::group::TopicPattern;
use super::rebalance::{NoListener, RebalanceListener};
use super::{Consumer, ConsumerError, ConsumerRecord};
use crate::config::ConsumerSettings;
use crate::wait::wait;

/// What the handles of a consumer with a `group.id` share.
pub(super) struct GroupHandle {
    /// `auto.commit.interval.ms`, if offsets are committed automatically.
    pub(super) auto_commit: Option<Duration>,
    /// When that was done last.
    pub(super) committed_at: Mutex<Instant>,
    listener: Mutex<Arc<dyn RebalanceListener>>,
    is_subscribed: Mutex<bool>,
    /// The membership as it was last.
    pub(super) metadata: Arc<Mutex<ConsumerGroupMetadata>>,
}

impl GroupHandle {
    pub(super) fn new(own: &ConsumerSettings) -> Option<Self> {
        let metadata = ConsumerGroupMetadata::new(own.group_id.as_deref()?);
        Some(Self {
            auto_commit: own.enable_auto_commit.then_some(own.auto_commit_interval),
            committed_at: Mutex::new(Instant::now()),
            listener: Mutex::new(Arc::new(NoListener)),
            is_subscribed: Mutex::new(false),
            metadata: Arc::new(Mutex::new(metadata)),
        })
    }
}

/// No close waits longer than that for the last push of metrics.
const LAST_PUSH_MAX: Duration = Duration::from_secs(5);

impl Consumer {
    /// Joins the group of `group.id` to read these topics, in the place of what was subscribed
    /// before. Returns at once; partitions come, and go, within [`poll`](Self::poll).
    ///
    /// # Errors
    /// The configuration has no `group.id`.
    pub fn subscribe<T: AsRef<str>>(
        &self,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<(), ConsumerError> {
        self.begin_subscription()?;
        let topics: BTreeSet<TopicName> =
            topics.into_iter().map(|topic| TopicName::from(topic.as_ref())).collect();
        self.on_io_thread(move |fetcher| fetcher.subscribe(Subscription::Topics(topics)));
        Ok(())
    }

    /// As [`subscribe`](Self::subscribe), to all topics whose whole name matches the regular
    /// expression; new ones are found when metadata is renewed (`metadata.max.age.ms`).
    ///
    /// # Errors
    /// The configuration has no `group.id`, or the pattern is none.
    pub fn subscribe_pattern(&self, pattern: &str) -> Result<(), ConsumerError> {
        let pattern = TopicPattern::new(pattern).map_err(ConsumerError::InvalidPattern)?;
        self.begin_subscription()?;
        self.on_io_thread(move |fetcher| {
            tokio::task::spawn_local(Rc::clone(fetcher).subscribe_pattern(pattern));
        });
        Ok(())
    }

    /// As [`subscribe_pattern`](Self::subscribe_pattern), but the broker looks for topics, by its
    /// own kind of expression (RE2): with `group.protocol=consumer` alone (KIP-848).
    ///
    /// # Errors
    /// The configuration has no `group.id`. What is wrong with the pattern, `poll` tells.
    pub fn subscribe_server_pattern(&self, pattern: &str) -> Result<(), ConsumerError> {
        self.begin_subscription()?;
        let subscription = Subscription::ServerPattern(pattern.to_owned());
        self.on_io_thread(move |fetcher| fetcher.subscribe(subscription));
        Ok(())
    }

    /// Has the listener hear which partitions come and go, in the place of the one before.
    /// Nothing is heard without a subscription.
    pub fn on_rebalance(&self, listener: impl RebalanceListener + 'static) {
        if let Some(group) = &self.group {
            *group.listener.lock() = Arc::new(listener);
        }
    }

    /// Leaves the group: commits if that is automatic, tells the listener, gives everything up. A
    /// static member stays a member until its session ends.
    ///
    /// # Errors
    /// What was read could not be committed; the group is left all the same.
    pub fn unsubscribe(&self) -> Result<(), ConsumerError> {
        wait(self.unsubscribe_async())
    }

    /// As [`unsubscribe`](Self::unsubscribe), async.
    ///
    /// # Errors
    /// As the blocking call.
    pub async fn unsubscribe_async(&self) -> Result<(), ConsumerError> {
        let Some(group) = &self.group else { return Ok(()) };
        let is_automatic = group.auto_commit.is_some();
        // With nothing to commit this waits for the commits before it.
        let offsets = if is_automatic { self.inbox.offsets() } else { Vec::new() };
        let committed = self.commit_offsets_async(&offsets).await;
        if std::mem::take(&mut *group.is_subscribed.lock()) {
            let partitions = self.inbox.assignment();
            if !partitions.is_empty() {
                self.listener().revoked(self, &partitions);
            }
            self.let_go(&partitions);
            self.thread.run(|fetcher| fetcher.leave_group()).await?;
        }
        committed
    }

    /// Stores how far each partition is read: the offset after the last record that polls gave.
    /// The next member that has a partition begins there. Waits until it is stored.
    ///
    /// # Errors
    /// [`NotAMember`](ConsumerError::NotAMember) where the group has moved on without this
    /// consumer, [`Rebalancing`](ConsumerError::Rebalancing) where a poll has to come first;
    /// otherwise the coordinator refuses, or doesn't answer within `default.api.timeout.ms`.
    pub fn commit(&self) -> Result<(), ConsumerError> {
        wait(self.commit_async())
    }

    /// As [`commit`](Self::commit), async. It goes on if the future is dropped; commits are done in
    /// the order of the calls.
    ///
    /// # Errors
    /// As the blocking call.
    pub fn commit_async(&self) -> impl Future<Output = Result<(), ConsumerError>> + Send + use<> {
        self.commit_offsets_async(&self.inbox.offsets())
    }

    /// As [`commit`](Self::commit), without waiting: `done` is told, on the consumer's own thread,
    /// which it must not hold up. Outcomes come in the order of the calls.
    pub fn commit_with(&self, done: impl FnOnce(Result<(), ConsumerError>) + Send + 'static) {
        let offsets = self.inbox.offsets();
        drop(self.thread.run(|fetcher| async move { done(fetcher.commit(offsets).await) }));
    }

    /// Stores these offsets, each that of the next record to be read. For single records see
    /// [`commit_record`](Self::commit_record).
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_offsets(
        &self,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<(), ConsumerError> {
        wait(self.commit_offsets_async(offsets))
    }

    /// As [`commit_offsets`](Self::commit_offsets), async.
    ///
    /// # Errors
    /// As the blocking call.
    pub fn commit_offsets_async(
        &self,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> impl Future<Output = Result<(), ConsumerError>> + Send + use<> {
        let offsets = offsets.to_vec();
        let answer = self.thread.run(|fetcher| fetcher.commit(offsets));
        async move { answer.await? }
    }

    /// Stores that this record, and with it all before it in its partition, is done.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_record(&self, record: &ConsumerRecord) -> Result<(), ConsumerError> {
        wait(self.commit_record_async(record))
    }

    /// As [`commit_record`](Self::commit_record), async.
    ///
    /// # Errors
    /// As the blocking call.
    pub fn commit_record_async(
        &self,
        record: &ConsumerRecord,
    ) -> impl Future<Output = Result<(), ConsumerError>> + Send + use<> {
        self.commit_offsets_async(&[(record.topic_partition.clone(), record.next_offset())])
    }

    /// Stops reading these partitions for a while; they stay assigned, and polls go on giving the
    /// others' records. What was fetched already is kept. Those not assigned are passed over.
    pub fn pause(&self, partitions: &[TopicPartition]) {
        self.set_paused(partitions, true);
    }

    /// Goes on reading them.
    pub fn resume(&self, partitions: &[TopicPartition]) {
        self.set_paused(partitions, false);
    }

    /// The partitions that are paused.
    #[must_use]
    pub fn paused(&self) -> Vec<TopicPartition> {
        self.inbox.paused()
    }

    fn set_paused(&self, partitions: &[TopicPartition], is_paused: bool) {
        for topic_partition in partitions {
            if self.inbox.pause(topic_partition, is_paused) {
                let event = Event::Pause(topic_partition.clone(), is_paused);
                self.on_io_thread(move |fetcher| fetcher.handle(event));
            }
        }
    }

    /// Ends a poll that waits, or else the next, with [`WokenUp`](ConsumerError::WokenUp). From any
    /// thread.
    pub fn wake_up(&self) {
        self.inbox.wake_up();
    }

    /// The membership as it is now, to be sent beside offsets in a transaction; none without a
    /// `group.id`.
    #[must_use]
    pub fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.group.as_ref().map(|group| group.metadata.lock().clone())
    }

    /// Ends it: polls end from now on, commits that wait are done, what was read is committed if
    /// that is automatic, the listener hears of all partitions, and the group is left, unless
    /// the member is static. Takes `timeout` at most.
    ///
    /// # Errors
    /// What was read could not be committed, or `timeout` was too short; it is closed all the
    /// same.
    pub fn close(&self, timeout: Duration) -> Result<(), ConsumerError> {
        wait(self.close_async(timeout))
    }

    /// As [`close`](Self::close), async.
    ///
    /// # Errors
    /// As the blocking call.
    pub async fn close_async(&self, timeout: Duration) -> Result<(), ConsumerError> {
        if !self.inbox.close() {
            return Ok(());
        }
        let until = Instant::now() + timeout.min(LAST_PUSH_MAX);
        let over = self.thread.run(move |_| tokio::time::sleep(timeout));
        let outcome = match select(pin!(self.unsubscribe_async()), pin!(over)).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => Err(ConsumerError::Timeout(timeout)),
        };
        self.let_go(&self.inbox.assignment());
        // The thread ends with the last handle, and this is one.
        let _ = self.thread.run(move |fetcher| fetcher.end_telemetry(until)).await;
        outcome
    }

    pub(super) fn listener(&self) -> Arc<dyn RebalanceListener> {
        match &self.group {
            Some(group) => Arc::clone(&group.listener.lock()),
            None => Arc::new(NoListener),
        }
    }

    /// An assignment by hand takes the place of a subscription.
    pub(super) fn end_subscription(&self) {
        let Some(group) = &self.group else { return };
        if std::mem::take(&mut *group.is_subscribed.lock()) {
            drop(self.thread.run(|fetcher| fetcher.leave_group()));
        }
    }

    fn begin_subscription(&self) -> Result<(), ConsumerError> {
        let Some(group) = &self.group else { return Err(ConsumerError::NoGroup) };
        if self.inbox.is_closed() {
            return Err(ConsumerError::Closed);
        }
        // What was assigned by hand is not the group's.
        if !std::mem::replace(&mut *group.is_subscribed.lock(), true) {
            self.let_go(&self.inbox.assignment());
        }
        Ok(())
    }
}
