//! Commits, in the order of the calls: one request at a time, of all that were asked for meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use streamledger_client_core::consumer::group::{GroupApi, GroupEvent, GroupVerdict, judge_group};
use streamledger_client_core::transaction::{CommittedOffset, CoordinatorKey};
use streamledger_protocol::messages::OffsetCommitRequest;
use streamledger_protocol::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use streamledger_protocol::{
    ApiKey, ApiVersion, BrokerId, ErrorCode, GroupId, TopicName, TopicPartition,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::ConsumerError;
use super::super::fetcher::Fetcher;
use crate::coordinator;
use crate::network::ExponentialBackoff;

/// The last version that names topics by their names.
const BY_NAME: ApiVersion = ApiVersion(9);

/// Offsets to be stored, in the order they were given.
pub(in crate::consumer) type Offsets = Vec<(TopicPartition, CommittedOffset)>;
type Outcome = Result<(), ConsumerError>;

/// Commits that wait for their turn.
#[derive(Default)]
pub(in crate::consumer) struct Commits {
    waiting: RefCell<VecDeque<(Offsets, oneshot::Sender<Outcome>)>>,
    is_running: Cell<bool>,
    coordinator: Cell<Option<BrokerId>>,
}

impl Fetcher {
    /// Stores offsets after all that were to be stored before. No offsets at all are done when
    /// those are.
    pub(in crate::consumer) async fn commit(self: Rc<Self>, offsets: Offsets) -> Outcome {
        let Some(group) = &self.group else { return Err(ConsumerError::NoGroup) };
        let (answer, outcome) = oneshot::channel();
        group.commits.waiting.borrow_mut().push_back((offsets, answer));
        if !group.commits.is_running.replace(true) {
            tokio::task::spawn_local(Rc::clone(&self).run_commits());
        }
        outcome.await.map_err(|_| ConsumerError::Ended)?
    }

    async fn run_commits(self: Rc<Self>) {
        let Some(group) = &self.group else { return };
        loop {
            let round: Vec<_> = group.commits.waiting.borrow_mut().drain(..).collect();
            if round.is_empty() {
                break;
            }
            // Of one partition the last counts, as it would one after the other.
            let all = round.iter().flat_map(|(offsets, _)| offsets.iter().cloned());
            let failures = self.store(all.collect()).await;
            for (offsets, answer) in round {
                let failure = offsets.iter().find_map(|(at, _)| failures.get(at));
                let _ = answer.send(failure.cloned().map_or(Ok(()), Err));
            }
        }
        group.commits.is_running.set(false);
    }

    /// Tries until each offset is stored or refused, for `default.api.timeout.ms`; gives those
    /// that aren't stored.
    async fn store(
        self: &Rc<Self>,
        mut open: BTreeMap<TopicPartition, CommittedOffset>,
    ) -> BTreeMap<TopicPartition, ConsumerError> {
        let deadline = Instant::now() + self.timeout();
        let backoff = ExponentialBackoff {
            first: self.client.retry_backoff,
            max: self.client.retry_backoff_max,
        };
        let mut failures = BTreeMap::new();
        for attempt in 0.. {
            if open.is_empty() {
                break;
            }
            let mut last_error = ConsumerError::Timeout(self.timeout());
            let had_a_step = self.waits_for_the_reader();
            match tokio::time::timeout_at(deadline, self.ask_to_store(&open)).await {
                Ok(Ok(answers)) => {
                    for (at, code) in answers {
                        match self.judge_commit(code, had_a_step) {
                            Ok(true) => drop(open.remove(&at)),
                            Ok(false) => last_error = self.refused(&at, code),
                            Err(error) => {
                                open.remove(&at);
                                failures.insert(at, error);
                            }
                        }
                    }
                }
                Ok(Err(error)) => {
                    self.forget_coordinator();
                    if error.is_authentication() {
                        failures.extend(open.into_keys().map(|at| (at, error.clone())));
                        break;
                    }
                    last_error = error;
                }
                Err(_) => {}
            }
            let wait = backoff.wait(attempt, self.refresher.pool().jitter().chance());
            if !open.is_empty() && Instant::now() + wait >= deadline {
                failures.extend(open.into_keys().map(|at| (at, last_error.clone())));
                break;
            }
            if !open.is_empty() {
                tokio::time::sleep(wait).await;
            }
        }
        failures
    }

    /// Whether it is stored; if not, it is tried again. `had_a_step` is whether the reader held
    /// membership up when the coordinator was asked.
    fn judge_commit(
        self: &Rc<Self>,
        code: ErrorCode,
        had_a_step: bool,
    ) -> Result<bool, ConsumerError> {
        let Some(group) = &self.group else { return Err(ConsumerError::NoGroup) };
        let group_id = group.group_id.clone();
        match judge_group(GroupApi::Commit, code) {
            GroupVerdict::Done => Ok(true),
            GroupVerdict::FindAndRetry => {
                self.forget_coordinator();
                Ok(false)
            }
            // While the reader has a step to take, waiting here would hold it up. A step that came
            // meanwhile may be the end of the rebalance that was in the way.
            GroupVerdict::Rejoin if had_a_step && self.waits_for_the_reader() => {
                Err(ConsumerError::Rebalancing { group: group_id })
            }
            GroupVerdict::Retry | GroupVerdict::Rejoin => Ok(false),
            GroupVerdict::ForgetGeneration | GroupVerdict::ForgetMember => {
                self.handle_group(GroupEvent::Doubted);
                Err(ConsumerError::NotAMember { group: group_id, code })
            }
            GroupVerdict::JoinWithId | GroupVerdict::Mind | GroupVerdict::Refuse => {
                Err(ConsumerError::GroupRefused { group: group_id, code })
            }
        }
    }

    fn refused(&self, at: &TopicPartition, code: ErrorCode) -> ConsumerError {
        tracing::debug!(%at, %code, "commit");
        let group = self.group.as_ref().map_or_else(GroupId::default, |g| g.group_id.clone());
        ConsumerError::GroupRefused { group, code }
    }

    fn forget_coordinator(&self) {
        if let Some(group) = &self.group {
            group.commits.coordinator.set(None);
        }
    }

    async fn ask_to_store(
        &self,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<Vec<(TopicPartition, ErrorCode)>, ConsumerError> {
        let Some(group) = &self.group else { return Err(ConsumerError::NoGroup) };
        let timeout = self.client.request_timeout;
        let broker = match group.commits.coordinator.get() {
            Some(broker) => broker,
            None => {
                let group_id = group.group_id.clone();
                let key = CoordinatorKey::Group(group_id.clone());
                let found = coordinator::find(&self.refresher, &key, timeout).await?;
                let broker =
                    found.map_err(|code| ConsumerError::GroupRefused { group: group_id, code })?;
                group.commits.coordinator.set(Some(broker));
                broker
            }
        };
        let connection = self.refresher.connection_to(broker).await?;
        let member = group.state.borrow().metadata();
        let mut topics: BTreeMap<TopicName, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (at, offset) in offsets {
            topics.entry(at.topic.clone()).or_default().push(OffsetCommitRequestPartition {
                partition_index: at.partition,
                committed_offset: offset.offset,
                committed_leader_epoch: offset.leader_epoch,
                committed_metadata: Some(offset.metadata.clone().unwrap_or_default()),
            });
        }
        let topics = topics.into_iter().map(|(name, partitions)| OffsetCommitRequestTopic {
            name,
            partitions,
            ..OffsetCommitRequestTopic::default()
        });
        let request = OffsetCommitRequest {
            group_id: member.group_id,
            generation_id_or_member_epoch: member.generation_id,
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            topics: topics.collect(),
            ..OffsetCommitRequest::default()
        };
        let common = connection.version_for(ApiKey::OffsetCommit);
        let version = common.map(|common| common.min(BY_NAME));
        let response = connection.call_in(version, &request, timeout).await?;
        let answers = response.topics.into_iter().flat_map(|topic| {
            let name = topic.name;
            topic.partitions.into_iter().map(move |partition| {
                (TopicPartition::new(name.clone(), partition.partition_index), partition.error_code)
            })
        });
        Ok(answers.collect())
    }
}
