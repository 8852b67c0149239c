//! The groups' shell: `__consumer_offsets` written and read back, answers parked, time kept.
//!
//! 1. A step (decide, append, replay) runs under one lock and waits for nothing.
//! 2. Who is parked waits in the queue of its own connection; no other one notices.
//! 3. What an answer tells may rest on records that are not flushed yet: it leaves after them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use streamledger_broker_core::config::GROUP_SESSION_TIMEOUT;
use streamledger_broker_core::group::{
    GroupConfig, GroupCoordinator, GroupOffsetsConfig, GroupRecord, GroupRecordError, ParkedAnswer,
    Token,
};
use streamledger_broker_core::time::Now;
use streamledger_protocol::{ErrorCode, GroupId, Offset, PartitionIndex, TopicPartition};
use tokio::sync::{Notify, oneshot, watch};
use tracing::warn;

use super::consumers::NodeTopics;
use super::internal_topic::{InternalTopic, InternalTopicError, KeyValue, LeftAlone, Loaded};
use crate::config::Settings;
use crate::node::Node;
use crate::storage::Partition;

/// All groups, and the log that keeps them.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(super) topic: InternalTopic,
    core: Mutex<Core>,
    /// Something is due earlier than it was.
    sooner: Notify,
}

/// The coordinator, and who waits for its answers.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) coordinator: GroupCoordinator,
    parked: BTreeMap<Token, oneshot::Sender<Told>>,
    last_token: u64,
}

/// An answer, and what must be flushed before it leaves.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) answer: ParkedAnswer,
    pub(super) unflushed: Option<(Arc<Partition>, Offset)>,
}

impl Groups {
    pub(crate) fn new(settings: &Settings) -> Self {
        let settings = &settings.coordinators;
        let partition_count = settings.offsets_partition_count;
        let segment_bytes = settings.offsets_segment_bytes;
        let config = GroupConfig {
            offsets: GroupOffsetsConfig {
                partition_count,
                metadata_bytes_max: settings.offset_metadata_bytes_max,
                offsets_max: settings.stored_offsets_max,
            },
            ..settings.groups.clone()
        };
        Self {
            topic: InternalTopic::new("__consumer_offsets", partition_count, segment_bytes),
            core: Mutex::new(Core {
                coordinator: GroupCoordinator::new(config),
                parked: BTreeMap::new(),
                last_token: 0,
            }),
            sooner: Notify::new(),
        }
    }

    /// Replays the log, at start. Blocks on the disk.
    pub(crate) fn load(&self, node: &Node) -> Result<(), InternalTopicError> {
        let now = node.store.now();
        let coordinator = &mut self.core.lock().coordinator;
        coordinator.set_partition_count(self.topic.partition_count(node));
        node.controller.read(|state| {
            for (group, own) in state.group_configs() {
                coordinator.set_consumer_session_timeout(group, session_timeout(Some(own)));
            }
        });
        let mut left_alone = LeftAlone::default();
        let loaded = self.topic.load(node, |partition, loaded| {
            match loaded {
                Loaded::Record { record: (key, value), producer, at } => {
                    match GroupRecord::decode(key, value) {
                        Ok(record) => coordinator.replay(now, record, producer, partition, at),
                        Err(GroupRecordError::UnknownKind(kind)) => left_alone.count(kind),
                        Err(error) => return Err(error.to_string()),
                    }
                }
                Loaded::Marker { producer, committed } => {
                    coordinator.replay_marker(partition, producer, committed);
                }
            }
            Ok(())
        });
        left_alone.warn(&self.topic);
        loaded
    }

    /// Takes a group's settings as they are now.
    pub(crate) fn reconfigure(&self, node: &Node, group: &GroupId) {
        // The state is read under this lock, so that of two changes the later is taken last.
        let coordinator = &mut self.core.lock().coordinator;
        let own = node.controller.read(|state| session_timeout(state.group_configs().get(group)));
        coordinator.set_consumer_session_timeout(group, own);
    }

    /// Makes the internal topic if it is not there.
    pub(crate) async fn ensure(node: &Arc<Node>) -> Result<(), ErrorCode> {
        InternalTopic::ensure(node, |node| &node.groups.topic).await
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock()
    }

    /// Reads the state. The lock is held while `read` runs: no waiting in it.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&GroupCoordinator) -> R) -> R {
        read(&self.core.lock().coordinator)
    }

    /// The partition that keeps a group.
    pub(crate) fn partition_of(&self, group: &GroupId) -> TopicPartition {
        let index = self.read(|coordinator| coordinator.offsets().partition_of(group));
        TopicPartition::new(self.topic.name().clone(), index)
    }

    /// Whether a partition's records are of groups.
    pub(super) fn keeps(&self, topic_partition: &TopicPartition) -> bool {
        topic_partition.topic == *self.topic.name()
    }

    /// Decides, appends, replays, and answers who was parked. Also gives why something could not
    /// be appended, in which case its group is as it was.
    pub(super) fn step<R>(
        &self,
        node: &Node,
        decide: impl FnOnce(&mut GroupCoordinator, Now) -> R,
    ) -> (R, Result<(), ErrorCode>) {
        let mut core = self.core.lock();
        self.step_locked(node, &mut core, decide)
    }

    fn step_locked<R>(
        &self,
        node: &Node,
        core: &mut Core,
        decide: impl FnOnce(&mut GroupCoordinator, Now) -> R,
    ) -> (R, Result<(), ErrorCode>) {
        let now = node.store.now();
        let due_before = core.coordinator.next_wakeup();
        let decided = decide(&mut core.coordinator, now);
        let kept = self.keep(node, &mut core.coordinator, now);
        self.answer_parked(node, core);
        let due = core.coordinator.next_wakeup();
        if due.is_some_and(|due| due_before.is_none_or(|before| due < before)) {
            self.sooner.notify_one();
        }
        (decided, kept)
    }

    /// Parks a request and has it decided; the answer comes through what is given.
    pub(super) fn park(
        &self,
        node: &Node,
        decide: impl FnOnce(&mut GroupCoordinator, Now, Token),
    ) -> oneshot::Receiver<Told> {
        let (answer, told) = oneshot::channel();
        let mut core = self.core.lock();
        core.last_token += 1;
        let token = Token(core.last_token);
        core.parked.insert(token, answer);
        let ((), _) = self.step_locked(node, &mut core, |coordinator, now| {
            decide(coordinator, now, token);
        });
        told
    }

    /// Appends and replays what was decided, each group's records as one batch.
    fn keep(
        &self,
        node: &Node,
        coordinator: &mut GroupCoordinator,
        now: Now,
    ) -> Result<(), ErrorCode> {
        let mut outcome = Ok(());
        let records = coordinator.take_records();
        for records in records.chunk_by(|one, next| one.group() == next.group()) {
            let Some(group) = records.first().map(|record| record.group().clone()) else {
                continue;
            };
            let index = coordinator.offsets().partition_of(&group);
            match self.append(node, index, records) {
                Ok(first) => {
                    for (n, record) in (0_i64..).zip(records) {
                        coordinator.replay(now, record.clone(), None, index, first + n);
                    }
                }
                Err(error) => {
                    warn!(%group, %error, "a change of a group could not be kept");
                    coordinator.undo(now, &group, error);
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    fn append(
        &self,
        node: &Node,
        index: PartitionIndex,
        records: &[GroupRecord],
    ) -> Result<Offset, ErrorCode> {
        let encoded: Result<Vec<KeyValue>, _> = records.iter().map(GroupRecord::encode).collect();
        let encoded = encoded.map_err(|_| ErrorCode::InvalidRequest)?;
        self.topic.append(node, index, &encoded, None).map(|appended| appended.first)
    }

    fn answer_parked(&self, node: &Node, core: &mut Core) {
        for (group, token, answer) in core.coordinator.take_answers() {
            let index = core.coordinator.offsets().partition_of(&group);
            let unflushed = self.last_record(node, index);
            if let Some(parked) = core.parked.remove(&token) {
                // Whoever asked may be gone.
                let _ = parked.send(Told { answer, unflushed });
            }
        }
    }

    /// The partition of a group's records, and the offset of the last one in it.
    pub(super) fn last_record(
        &self,
        node: &Node,
        index: PartitionIndex,
    ) -> Option<(Arc<Partition>, Offset)> {
        let log = self.topic.partition(node, index).ok()?;
        let last = log.log_end_offset() - 1;
        Some((log, last))
    }

    /// Waits until everything of a group is flushed. What is in a log that can't be read is not
    /// known: nobody may take that for "nothing".
    pub(super) async fn flushed(&self, node: &Node, group: &GroupId) -> Result<(), ErrorCode> {
        let index = self.read(|coordinator| coordinator.offsets().partition_of(group));
        let last = self.last_record(node, index);
        if let Some((log, _)) = &last {
            log.check_readable().map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        }
        until_flushed(last).await
    }
}

/// A group's own session time-out, in ms.
fn session_timeout(own: Option<&BTreeMap<String, String>>) -> Option<u64> {
    own?.get(GROUP_SESSION_TIMEOUT.name)?.trim().parse().ok()
}

pub(super) async fn until_flushed(
    unflushed: Option<(Arc<Partition>, Offset)>,
) -> Result<(), ErrorCode> {
    let Some((log, last)) = unflushed else { return Ok(()) };
    log.wait_flushed(last).await.map_err(|_| ErrorCode::CoordinatorNotAvailable)
}

fn do_next_due(node: &Node) -> bool {
    let topics = NodeTopics::of(node);
    node.groups.step(node, |groups, now| groups.do_next_due(now, &topics)).0
}

/// A broker's life with its groups' clock, until it stops.
pub(crate) async fn keep_group_time(node: Arc<Node>, mut stopping: watch::Receiver<bool>) {
    let groups = &node.groups;
    let mut expiry = tokio::time::interval(node.settings.coordinators.offsets_retention_check);
    loop {
        let now = node.store.now().monotonic;
        let due = groups.read(GroupCoordinator::next_wakeup);
        let wait = due.map(|due| Duration::from_millis(due.since(now)));
        let due = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => while do_next_due(&node) {},
            () = groups.sooner.notified() => {}
            _ = expiry.tick() => {
                let ((), _) = groups.step(&node, |groups, now| groups.expire_offsets(now.wall));
            }
            _ = stopping.wait_for(|&stopping| stopping) => return,
        }
    }
}
