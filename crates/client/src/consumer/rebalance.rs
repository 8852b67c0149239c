//! The steps of a rebalance, on the thread that polls: commit, tell the listener, let go, take on.

use std::time::{Duration, Instant};

use streamledger_client_core::consumer::Event;
use streamledger_client_core::consumer::group::{GroupEvent, Step, StepId};
use streamledger_protocol::TopicPartition;

use super::inbox::Inbox;
use super::{Consumer, ConsumerError};

/// Hears which partitions come and go. It is called by the thread that polls, within `poll`, so
/// that it may take its time, commit and seek; nothing is read meanwhile.
pub trait RebalanceListener: Send + Sync {
    /// These were assigned, beside those that were before. Each is read from what the group has
    /// committed, unless it is sought here.
    fn assigned(&self, consumer: &Consumer, partitions: &[TopicPartition]) {
        let _ = (consumer, partitions);
    }

    /// These are about to be given up: what is done with them can be committed now, and not later.
    fn revoked(&self, consumer: &Consumer, partitions: &[TopicPartition]) {
        let _ = (consumer, partitions);
    }

    /// These are lost: others may have them already, and nothing can be committed for them.
    fn lost(&self, consumer: &Consumer, partitions: &[TopicPartition]) {
        self.revoked(consumer, partitions);
    }
}

/// Hears nothing.
#[derive(Debug)]
pub(super) struct NoListener;

impl RebalanceListener for NoListener {}

/// A poll in progress.
pub(super) struct Polling<'a>(&'a Inbox);

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.end_poll();
    }
}

/// After a pause of this length membership is told that somebody polls again.
const NOTED_PAUSE: Duration = Duration::from_secs(1);

impl Consumer {
    /// Begins a poll: what earlier ones gave counts as done, and may be committed.
    pub(super) fn begin_poll(&self) -> Result<Polling<'_>, ConsumerError> {
        let pause = self.inbox.begin_poll()?;
        let polling = Polling(&self.inbox);
        if pause >= NOTED_PAUSE && self.group.is_some() {
            self.on_io_thread(|fetcher| fetcher.handle_group(GroupEvent::Polled));
        }
        self.commit_if_due();
        Ok(polling)
    }

    fn commit_if_due(&self) {
        let Some(group) = &self.group else { return };
        let Some(interval) = group.auto_commit else { return };
        let now = Instant::now();
        let mut committed_at = group.committed_at.lock();
        if now.saturating_duration_since(*committed_at) < interval {
            return;
        }
        *committed_at = now;
        drop(committed_at);
        let offsets = self.inbox.offsets();
        if !offsets.is_empty() {
            self.commit_with(|outcome| {
                if let Err(error) = outcome {
                    tracing::warn!(%error, "automatic commit");
                }
            });
        }
    }

    /// Takes the steps that membership wants taken, and ends with an error where the poll is to
    /// end.
    pub(super) async fn take_steps(&self) -> Result<(), ConsumerError> {
        while let Some((id, step)) = self.inbox.take_step() {
            self.take_step(id, step).await;
        }
        if self.inbox.is_closed() {
            return Err(ConsumerError::Closed);
        }
        if self.inbox.take_wake_up() {
            return Err(ConsumerError::WokenUp);
        }
        Ok(())
    }

    async fn take_step(&self, id: StepId, step: Step) {
        let listener = self.listener();
        match step {
            Step::Revoke(partitions) => {
                self.commit_before_giving_up().await;
                listener.revoked(self, &partitions);
                self.let_go(&partitions);
            }
            Step::Lose(partitions) => {
                listener.lost(self, &partitions);
                self.let_go(&partitions);
            }
            Step::Assign(partitions) => {
                let added = self.inbox.add(&partitions);
                let unplaced = added.iter().map(|(at, generation)| (at.clone(), *generation, None));
                let event = Event::Add(unplaced.collect());
                self.on_io_thread(move |fetcher| fetcher.add(event));
                listener.assigned(self, &partitions);
                self.on_io_thread(move |fetcher| {
                    let fetcher = std::rc::Rc::clone(fetcher);
                    tokio::task::spawn_local(fetcher.settle(added));
                });
            }
        }
        self.on_io_thread(move |fetcher| fetcher.handle_group(GroupEvent::StepDone(id)));
    }

    pub(super) async fn commit_before_giving_up(&self) {
        if self.group.as_ref().is_none_or(|group| group.auto_commit.is_none()) {
            return;
        }
        if let Err(error) = self.commit_async().await {
            tracing::warn!(%error, "automatic commit before partitions are given up");
        }
    }

    pub(super) fn let_go(&self, partitions: &[TopicPartition]) {
        self.inbox.remove(partitions);
        let event = Event::Remove(partitions.to_vec());
        self.on_io_thread(move |fetcher| fetcher.add(event));
    }
}
