//! All groups: which one a request is for, what time makes due, and what the log says.

use std::collections::BTreeMap;

use streamledger_protocol::{ErrorCode, GroupId, Offset, PartitionIndex, ProducerId};

use super::classic::{
    ClassicGroup, GroupState, JoinReply, JoinRequest, LeavingMember, MemberOfGeneration, SyncReply,
    SyncRequest,
};
use super::config::GroupConfig;
use super::desk::{Desk, Outbox, ParkedAnswer, Token};
use super::log_record::GroupRecord;
use super::next_gen::{ConsumerGroup, TopicsView};
use super::offsets::{CommitRequest, CommitWay, GroupOffsets};
use super::timers::{TimerKind, Timers};
use crate::planted_bugs::PlantedBug;
use crate::time::{MonotonicMs, Now};

/// The coordinator of all groups.
///
/// After each call the shell takes the records ([`take_records`](Self::take_records)), appends
/// them, replays each ([`replay`](Self::replay)) or says that they were not kept
/// ([`undo`](Self::undo)), and only then takes the answers
/// ([`take_answers`](Self::take_answers)), which it gives once the records are flushed.
#[derive(Debug, Clone, Default)]
pub struct GroupCoordinator {
    pub(super) config: GroupConfig,
    /// consumer.session.timeout.ms of the groups that have their own.
    pub(super) consumer_sessions_ms: BTreeMap<GroupId, u64>,
    pub(super) groups: BTreeMap<GroupId, ClassicGroup>,
    pub(super) consumers: BTreeMap<GroupId, ConsumerGroup>,
    pub(super) offsets: GroupOffsets,
    pub(super) timers: Timers,
    pub(super) outbox: Outbox,
    /// What members have brought, at most; none before they were looked at.
    pub(super) brought_bytes: Option<usize>,
}

/// What a decision about one group works with.
macro_rules! desk {
    ($self:ident, $group:expr, $now:expr) => {
        Desk {
            group: $group,
            now: $now,
            config: &$self.config,
            timers: &mut $self.timers,
            outbox: &mut $self.outbox,
        }
    };
}

impl GroupCoordinator {
    /// One that knows no group.
    #[must_use]
    pub fn new(config: GroupConfig) -> Self {
        let offsets = GroupOffsets::new(config.offsets.clone()).with_planted(config.planted);
        Self { config, offsets, ..Self::default() }
    }

    /// Takes a next-generation group's own session time-out (`None` for the broker's), in ms. A
    /// member's session goes by it from its next heartbeat on.
    pub fn set_consumer_session_timeout(&mut self, group: &GroupId, timeout_ms: Option<u64>) {
        match timeout_ms {
            Some(ms) => self.consumer_sessions_ms.insert(group.clone(), ms),
            None => self.consumer_sessions_ms.remove(group),
        };
    }

    /// The offsets that groups store.
    #[must_use]
    pub const fn offsets(&self) -> &GroupOffsets {
        &self.offsets
    }

    /// Takes the number of partitions that `__consumer_offsets` really has; before anything is
    /// replayed.
    pub fn set_partition_count(&mut self, partition_count: i32) {
        self.offsets.set_partition_count(partition_count);
    }

    /// A member asks to join a group (JoinGroup); answered by a [`ParkedAnswer::Joined`].
    pub fn join(&mut self, now: Now, token: Token, request: &JoinRequest, topics: &dyn TopicsView) {
        if let Err(error) = self.try_join(now, token, request, topics) {
            let answer = ParkedAnswer::Joined(JoinReply::refused(error, &request.member_id));
            self.outbox.answers.push((request.group.clone(), token, answer));
        }
    }

    fn try_join(
        &mut self,
        now: Now,
        token: Token,
        request: &JoinRequest,
        topics: &dyn TopicsView,
    ) -> Result<(), ErrorCode> {
        if request.group.as_str().is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let GroupConfig { session_timeout_ms_min: min, session_timeout_ms_max: max, .. } =
            self.config;
        if !(min..=max).contains(&request.session_timeout_ms) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if !self.has_room_to_join(request) {
            return Err(ErrorCode::PolicyViolation);
        }
        if let Some(joined) = self.join_consumers(now, token, request, topics) {
            return joined;
        }
        let is_full = self.group_count() >= self.config.groups_max;
        let has_room = self.member_count() < self.config.members_max;
        if !self.groups.contains_key(&request.group) {
            if !request.member_id.is_empty() {
                return Err(ErrorCode::UnknownMemberId);
            }
            if is_full {
                return Err(ErrorCode::PolicyViolation);
            }
            self.give_way(&request.group)?;
            self.groups.insert(request.group.clone(), ClassicGroup::default());
        }
        if let Some(group) = self.groups.get_mut(&request.group) {
            let mut desk = desk!(self, &request.group, now);
            group.join(&mut desk, token, request, has_room);
        }
        self.drop_if_nothing(&request.group);
        Ok(())
    }

    /// A member asks for its assignment (SyncGroup); answered by a [`ParkedAnswer::Synced`].
    pub fn sync(&mut self, now: Now, token: Token, request: &SyncRequest, topics: &dyn TopicsView) {
        if self.sync_consumers(now, token, request, topics) {
            return;
        }
        let has_room = self.has_room_to_sync(request);
        let mut desk = desk!(self, &request.group, now);
        match self.groups.get_mut(&request.group) {
            Some(_) if !has_room => {
                desk.answer_sync(token, SyncReply::refused(ErrorCode::PolicyViolation));
            }
            Some(group) => group.sync(&mut desk, token, request),
            None => {
                let error = unknown_group(&request.group);
                desk.answer_sync(token, SyncReply::refused(error));
            }
        }
    }

    /// A member says that it is there (Heartbeat).
    pub fn heartbeat(
        &mut self,
        now: Now,
        group_id: &GroupId,
        from: &MemberOfGeneration,
    ) -> ErrorCode {
        if let Some(answer) = self.heartbeat_consumers(now, group_id, from) {
            return answer;
        }
        let mut desk = desk!(self, group_id, now);
        match self.groups.get(group_id) {
            Some(group) => group.heartbeat(&mut desk, from),
            None => unknown_group(group_id),
        }
    }

    /// Members leave (LeaveGroup): one answer for each.
    ///
    /// # Errors
    /// What all of it is refused with.
    pub fn leave(
        &mut self,
        now: Now,
        group_id: &GroupId,
        leaving: &[LeavingMember],
        topics: &dyn TopicsView,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        if let Some(answers) = self.leave_consumers(now, group_id, leaving, topics) {
            return Ok(answers);
        }
        let mut desk = desk!(self, group_id, now);
        let group = self.groups.get_mut(group_id).ok_or_else(|| unknown_group(group_id))?;
        let answers = group.leave(&mut desk, leaving);
        self.drop_if_nothing(group_id);
        Ok(answers)
    }

    /// Stores offsets (OffsetCommit), or prepares to (TxnOffsetCommit: the records then go into a
    /// transactional batch of the producer). The records are for
    /// [`replay`](Self::replay); one answer for each offset.
    pub fn decide_commit(&mut self, now: Now, request: &CommitRequest) -> super::OffsetsDecision {
        let refusal = self.check_commit(now, request).err();
        self.offsets.decide_commit(request, refusal, now.wall)
    }

    fn check_commit(&mut self, now: Now, request: &CommitRequest) -> Result<(), ErrorCode> {
        if request.group.as_str().is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let by = &request.committer;
        if let Some(group) = self.consumers.get(&request.group) {
            let is_blind = self.config.planted.has(PlantedBug::CommitOfOldGeneration);
            return group.check_commit(by, request.way, is_blind);
        }
        let is_transactional = request.way == CommitWay::Transactional;
        let mut desk = desk!(self, &request.group, now);
        match self.groups.get(&request.group) {
            Some(group) => group.check_commit(&mut desk, by, is_transactional),
            None if by.generation >= 0 => Err(ErrorCode::IllegalGeneration),
            None => Ok(()),
        }
    }

    /// Applies what is in the log: after it was appended, and at load. `producer` is the one of a
    /// transactional batch.
    pub fn replay(
        &mut self,
        now: Now,
        record: GroupRecord,
        producer: Option<ProducerId>,
        partition: PartitionIndex,
        at: Offset,
    ) {
        match record {
            GroupRecord::Offset(record) => self.offsets.replay(record, producer, partition, at),
            GroupRecord::Classic { group: id, kept: Some(kept) } => {
                let mut desk = desk!(self, &id, now);
                let group = self.groups.entry(id.clone()).or_default();
                group.replay(&mut desk, kept);
            }
            GroupRecord::Consumer { group: id, record } => self.replay_consumer(now, &id, record),
            GroupRecord::Classic { group: id, kept: None } => {
                if let Some(group) = self.groups.remove(&id) {
                    group.replay_tombstone(&mut desk!(self, &id, now));
                }
            }
        }
    }

    /// Applies a marker that is in the log of that partition: what the producer had pending there
    /// is stored, or dropped.
    pub fn replay_marker(
        &mut self,
        partition: PartitionIndex,
        producer: ProducerId,
        committed: bool,
    ) {
        self.offsets.replay_marker(partition, producer, committed);
    }

    /// The records to append, each to its group's partition, in order.
    #[must_use]
    pub fn take_records(&mut self) -> Vec<GroupRecord> {
        std::mem::take(&mut self.outbox.records)
    }

    /// A group's records were not appended: it is again what the log says, and all who wait are
    /// told `error`.
    pub fn undo(&mut self, now: Now, group_id: &GroupId, error: ErrorCode) {
        self.outbox.refuse_all(group_id, error);
        let Some(group) = self.groups.remove(group_id) else { return };
        if let Some(group) = group.undone(&mut desk!(self, group_id, now), error) {
            self.groups.insert(group_id.clone(), group);
        }
    }

    /// The answers that can be given once everything appended is flushed.
    #[must_use]
    pub fn take_answers(&mut self) -> Vec<(GroupId, Token, ParkedAnswer)> {
        std::mem::take(&mut self.outbox.answers)
    }

    /// When something is due by time alone.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<MonotonicMs> {
        self.timers.next()
    }

    /// Does the next thing that is due; false if there is none. To be called again after its
    /// records and answers were taken.
    #[must_use]
    pub fn do_next_due(&mut self, now: Now, topics: &dyn TopicsView) -> bool {
        let Some((group_id, kind)) = self.timers.pop_due(now.monotonic) else { return false };
        if self.consumers.contains_key(&group_id) {
            self.on_consumer_timer(now, &group_id, &kind, topics);
            return true;
        }
        let mut desk = desk!(self, &group_id, now);
        let Some(group) = self.groups.get_mut(&group_id) else { return true };
        match kind {
            TimerKind::Session(member_id) => group.on_session_timer(&mut desk, &member_id),
            TimerKind::Join => group.on_join_timer(&mut desk),
            TimerKind::Sync => group.on_sync_timer(&mut desk),
            TimerKind::Turned => group.on_turned(&mut desk),
            TimerKind::Revocation(_) => {}
        }
        self.drop_if_nothing(&group_id);
        true
    }

    /// Members of all groups, and ids given out to some that are to come.
    #[must_use]
    pub fn member_count(&self) -> usize {
        let classic: usize = self.groups.values().map(ClassicGroup::occupied_count).sum();
        classic + self.consumers.values().map(ConsumerGroup::member_count).sum::<usize>()
    }

    /// Groups that have, had or are about to have members.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups.len() + self.consumers.len()
    }

    /// A group's state and generation.
    #[must_use]
    pub fn group_state(&self, group: &GroupId) -> Option<(GroupState, i32)> {
        self.groups.get(group).map(|group| (group.state(), group.generation()))
    }

    fn drop_if_nothing(&mut self, group_id: &GroupId) {
        if self.groups.get(group_id).is_some_and(ClassicGroup::is_nothing) {
            self.groups.remove(group_id);
            self.timers.stop_all(group_id);
        }
    }
}

fn unknown_group(group: &GroupId) -> ErrorCode {
    match group.as_str().is_empty() {
        true => ErrorCode::InvalidGroupId,
        false => ErrorCode::UnknownMemberId,
    }
}
