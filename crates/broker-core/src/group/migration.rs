//! A group on its way from one protocol to the other, with members of both (KIP-848): who asks what
//! of it, and when it turns. Kafka's `group.consumer.migration.policy`.

use streamledger_protocol::{ErrorCode, GroupId};

use super::classic::{
    ClassicGroup, GroupState, JoinReply, JoinRequest, LeavingMember, MemberOfGeneration, SyncReply,
    SyncRequest,
};
use super::coordinator::GroupCoordinator;
use super::desk::{ParkedAnswer, Token};
use super::log_record::GroupRecord;
use super::next_gen::{CONSUMERS, ConsumerGroup, Draft, TopicsView};
use super::timers::TimerKind;
use crate::time::Now;

/// Which way groups with members may turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Neither: a group changes its protocol while it is empty.
    Disabled,
    /// To the next generation, when its first member comes.
    Upgrade,
    /// To the classic protocol, when the last member of the next generation goes.
    Downgrade,
    /// Both.
    #[default]
    Bidirectional,
}

impl MigrationPolicy {
    /// The policy that Kafka calls so.
    #[must_use]
    pub const fn from_name(name: &str) -> Option<Self> {
        match name.as_bytes() {
            b"disabled" => Some(Self::Disabled),
            b"upgrade" => Some(Self::Upgrade),
            b"downgrade" => Some(Self::Downgrade),
            b"bidirectional" => Some(Self::Bidirectional),
            _ => None,
        }
    }

    const fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    const fn downgrades(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

impl GroupCoordinator {
    /// The next-generation group of that name, if it has members.
    fn consumers_of(&self, id: &GroupId) -> Option<&ConsumerGroup> {
        self.consumers.get(id).filter(|group| !group.is_empty())
    }

    /// Whether a classic group's members may become members of a next-generation one.
    pub(super) fn may_be_upgraded(&self, group: &ClassicGroup) -> bool {
        self.config.migration.upgrades()
            && group.state() != GroupState::Empty
            && group.protocol_type() == Some(CONSUMERS)
            && group.members().count() < self.config.consumer_group_size_max
    }

    /// A draft of the group that a heartbeat is for: of a classic one, if it is to turn.
    pub(super) fn draft(&self, id: &GroupId, topics: &dyn TopicsView) -> Option<Draft> {
        let mut draft = Draft::new(self.consumers.get(id), self.config.planted);
        if let Some(classic) = self.groups.get(id).filter(|group| self.may_be_upgraded(group)) {
            draft.take_over(classic, topics)?;
        }
        Some(draft)
    }

    /// Appends what a draft has changed. With it a group whose last member of the next generation
    /// is gone becomes a classic one; its members share out anew as soon as that is kept.
    pub(super) fn append_draft(
        &mut self,
        now: Now,
        id: &GroupId,
        draft: Draft,
        topics: &dyn TopicsView,
    ) {
        let group = draft.group();
        let turns = self.config.migration.downgrades()
            && group.has_classic_members_only()
            && group.member_count() <= self.config.group_size_max;
        let classic = turns.then(|| group.to_classic(topics, now.wall)).flatten();
        let end = classic.as_ref().map(|_| group.all_tombstones());
        self.push(id, draft.records);
        if let (Some(kept), Some(end)) = (classic, end) {
            self.push(id, end);
            self.outbox.records.push(GroupRecord::Classic { group: id.clone(), kept: Some(kept) });
            self.timers.start(id, TimerKind::Turned, now.monotonic);
        }
    }

    /// JoinGroup, if it is for members of the next generation; the answer waits for the records.
    pub(super) fn join_consumers(
        &mut self,
        now: Now,
        token: Token,
        request: &JoinRequest,
        topics: &dyn TopicsView,
    ) -> Option<Result<(), ErrorCode>> {
        let group = self.consumers_of(&request.group)?;
        let (id, is_new) = (&request.group, request.member_id.is_empty());
        let is_full = group.member_count() >= self.config.consumer_group_size_max
            || self.member_count() >= self.config.members_max;
        if is_full && !group.has_member(&request.member_id) {
            return Some(Err(ErrorCode::GroupMaxSizeReached));
        }
        if is_new && request.instance_id.is_none() && request.takes_member_id_first {
            let reply = JoinReply::refused(ErrorCode::MemberIdRequired, &request.fresh_member_id);
            self.outbox.answers.push((id.clone(), token, ParkedAnswer::Joined(reply)));
            return Some(Ok(()));
        }
        let mut draft = Draft::new(Some(group), self.config.planted);
        let reply = match draft.classic_join(request, topics) {
            Ok(reply) => reply,
            Err(error) => return Some(Err(error)),
        };
        // It may have taken the place of the last member of the next generation.
        self.append_draft(now, id, draft, topics);
        let session_ms = u64::try_from(request.session_timeout_ms).unwrap_or(0);
        let session = TimerKind::Session(reply.member_id.clone());
        self.timers.start(id, session, now.monotonic.plus(session_ms));
        self.timers.stop(id, TimerKind::Revocation(reply.member_id.clone()));
        self.outbox.answers.push((id.clone(), token, ParkedAnswer::Joined(reply)));
        Some(Ok(()))
    }

    /// SyncGroup, if it is for members of the next generation.
    pub(super) fn sync_consumers(
        &mut self,
        now: Now,
        token: Token,
        request: &SyncRequest,
        topics: &dyn TopicsView,
    ) -> bool {
        let Some(group) = self.consumers_of(&request.group) else { return false };
        let synced = group.classic_sync(request, topics);
        if synced.is_ok() {
            self.hear_of_classic(now, &request.group, &request.member.member_id);
        }
        let answer = ParkedAnswer::Synced(synced.unwrap_or_else(SyncReply::refused));
        self.outbox.answers.push((request.group.clone(), token, answer));
        true
    }

    /// Heartbeat, if it is for members of the next generation.
    pub(super) fn heartbeat_consumers(
        &mut self,
        now: Now,
        id: &GroupId,
        from: &MemberOfGeneration,
    ) -> Option<ErrorCode> {
        let answer = self.consumers_of(id)?.classic_heartbeat(from);
        if let ErrorCode::None | ErrorCode::RebalanceInProgress = answer {
            self.hear_of_classic(now, id, &from.member_id);
        }
        if answer == ErrorCode::RebalanceInProgress {
            let timeout_ms = self.consumers_of(id)?.rebalance_timeout_ms(&from.member_id);
            let kind = TimerKind::Revocation(from.member_id.clone());
            self.timers.start_unless_running(id, kind, now.monotonic.plus(timeout_ms));
        }
        Some(answer)
    }

    fn hear_of_classic(&mut self, now: Now, id: &GroupId, member_id: &str) {
        if let Some(ms) = self.consumers.get(id).and_then(|all| all.classic_session_ms(member_id)) {
            let kind = TimerKind::Session(member_id.to_owned());
            self.timers.start(id, kind, now.monotonic.plus(ms));
        }
    }

    /// LeaveGroup, if it is for members of the next generation.
    pub(super) fn leave_consumers(
        &mut self,
        now: Now,
        id: &GroupId,
        leaving: &[LeavingMember],
        topics: &dyn TopicsView,
    ) -> Option<Vec<ErrorCode>> {
        let mut draft = Draft::new(Some(self.consumers_of(id)?), self.config.planted);
        let answers = draft.classic_leave(leaving);
        if !draft.records.is_empty() {
            self.append_draft(now, id, draft, topics);
        }
        Some(answers)
    }
}
