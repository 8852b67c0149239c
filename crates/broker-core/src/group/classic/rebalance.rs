//! A rebalance: members are waited for, and a generation made of those who came.

use bytes::Bytes;
use streamledger_protocol::ErrorCode;

use super::group::ClassicGroup;
use super::request::{JoinReply, SyncReply};
use super::state::{Change, GroupState};
use crate::group::desk::Desk;
use crate::group::timers::TimerKind;

impl ClassicGroup {
    /// Begins a rebalance, or ends the one under way if that is possible now.
    pub(super) fn rebalance_or_go_on(&mut self, desk: &mut Desk<'_>) {
        match self.state {
            GroupState::Empty | GroupState::CompletingRebalance | GroupState::Stable => {
                self.begin_rebalance(desk);
            }
            GroupState::PreparingRebalance => self.end_if_all_joined(desk),
            GroupState::Dead => {}
        }
    }

    /// Asks all members to join again. The first one of an empty group is made to wait for others.
    pub(super) fn begin_rebalance(&mut self, desk: &mut Desk<'_>) {
        for member in self.members.values_mut() {
            if let Some(token) = member.syncing.take() {
                desk.answer_sync(token, SyncReply::refused(ErrorCode::RebalanceInProgress));
            }
        }
        self.unsynced.clear();
        desk.stop_timer(TimerKind::Sync);
        self.is_initial = self.state == GroupState::Empty;
        self.change(Change::RebalanceBegan, desk.now.wall);
        if self.is_initial {
            let delay_ms = desk.config.initial_rebalance_delay_ms;
            self.has_new_member = false;
            self.initial_left_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms);
            desk.start_timer(TimerKind::Join, delay_ms);
        } else if self.have_all_joined() {
            self.end_join(desk);
        } else {
            desk.start_timer(TimerKind::Join, self.rebalance_timeout_ms());
        }
    }

    fn end_if_all_joined(&mut self, desk: &mut Desk<'_>) {
        if self.state == GroupState::PreparingRebalance
            && !self.is_initial
            && self.have_all_joined()
        {
            self.end_join(desk);
        }
    }

    /// Somebody who was waited for is gone.
    pub(super) fn go_on_without(&mut self, desk: &mut Desk<'_>) {
        match self.state {
            GroupState::CompletingRebalance | GroupState::Stable => self.begin_rebalance(desk),
            GroupState::PreparingRebalance => self.end_if_all_joined(desk),
            GroupState::Empty | GroupState::Dead => {}
        }
    }

    /// The time to join is up.
    pub(in crate::group) fn on_join_timer(&mut self, desk: &mut Desk<'_>) {
        if self.state != GroupState::PreparingRebalance {
            return;
        }
        if self.is_initial && self.has_new_member && self.initial_left_ms > 0 {
            let delay_ms = desk.config.initial_rebalance_delay_ms;
            let wait_ms = delay_ms.min(self.initial_left_ms);
            self.has_new_member = false;
            self.initial_left_ms = self.initial_left_ms.saturating_sub(delay_ms);
            desk.start_timer(TimerKind::Join, wait_ms);
            return;
        }
        self.end_join(desk);
    }

    /// Makes a generation of the members that have joined.
    fn end_join(&mut self, desk: &mut Desk<'_>) {
        desk.stop_timer(TimerKind::Join);
        let is_out = |group: &Self, id: &String| {
            let member = group.members.get(id);
            member.is_some_and(|one| one.joining.is_none() && one.instance_id.is_none())
        };
        let out: Vec<String> = self.members.keys().filter(|id| is_out(self, id)).cloned().collect();
        for id in out {
            self.take_out(&id);
            desk.end_session(&id);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members that are away: their sessions decide whether to wait on.
            desk.start_timer(TimerKind::Join, self.rebalance_timeout_ms());
            return;
        }
        self.is_initial = false;
        self.has_new_member = false;
        if self.members.is_empty() {
            self.append_empty(desk);
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol = self.choose_protocol();
        self.change(Change::AllJoined, desk.now.wall);
        self.unsynced = self.members.keys().cloned().collect();
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let reply = self.join_reply(&id, true);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.is_new = false;
            desk.start_session(&id, member.session_timeout_ms);
            if let Some(token) = member.joining.take() {
                desk.answer_join(token, reply);
            }
        }
        desk.start_timer(TimerKind::Sync, self.rebalance_timeout_ms());
    }

    /// Has the log say that nobody is left.
    fn append_empty(&mut self, desk: &mut Desk<'_>) {
        let empty = Self {
            generation: self.generation.checked_add(1).unwrap_or(1),
            protocol_type: self.protocol_type.clone(),
            since: desk.now.wall,
            ..Self::default()
        };
        desk.append(empty.to_record(desk.group, |_| Bytes::new()));
    }

    /// Makes sure that the leader is one that has joined; false if nobody has.
    fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |group: &Self, id: &str| {
            group.members.get(id).is_some_and(|member| member.joining.is_some())
        };
        if self.leader.as_deref().is_some_and(|leader| has_joined(self, leader)) {
            return true;
        }
        let joined = self.members().find(|member| member.joining.is_some());
        match joined.map(|member| member.id.clone()) {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }

    /// A member has not been heard of, or has not come with the id it was given.
    pub(in crate::group) fn on_session_timer(&mut self, desk: &mut Desk<'_>, member_id: &str) {
        if self.pending.remove(member_id) {
            self.go_on_without_pending(desk);
            return;
        }
        let Some(member) = self.members.get(member_id) else { return };
        if !member.is_new && member.is_parked() {
            // Its time runs again from the answer on.
            return;
        }
        self.remove(desk, member_id);
        self.go_on_without(desk);
    }

    /// An id that was given out is not waited for any more.
    pub(super) fn go_on_without_pending(&mut self, desk: &mut Desk<'_>) {
        self.end_if_all_joined(desk);
    }

    /// Takes a member out and tells it, should it be waiting.
    pub(super) fn remove(&mut self, desk: &mut Desk<'_>, member_id: &str) {
        let Some(member) = self.take_out(member_id) else { return };
        desk.end_session(member_id);
        if let Some(token) = member.joining {
            desk.answer_join(token, JoinReply::refused(ErrorCode::UnknownMemberId, ""));
        }
        if let Some(token) = member.syncing {
            desk.answer_sync(token, SyncReply::refused(ErrorCode::UnknownMemberId));
        }
    }

    /// The time to ask for assignments is up: who has not asked is out.
    pub(in crate::group) fn on_sync_timer(&mut self, desk: &mut Desk<'_>) {
        match self.state {
            GroupState::CompletingRebalance | GroupState::Stable => {}
            GroupState::Empty | GroupState::PreparingRebalance | GroupState::Dead => return,
        }
        if self.unsynced.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.unsynced) {
            self.remove(desk, &id);
        }
        self.begin_rebalance(desk);
    }

    /// The group turns into a next-generation one: whoever waits is to join again, there.
    pub(in crate::group) fn refuse_parked(&mut self, desk: &mut Desk<'_>) {
        let error = ErrorCode::RebalanceInProgress;
        for member in self.members.values_mut() {
            if let Some(token) = member.joining.take() {
                desk.answer_join(token, JoinReply::refused(error, &member.id));
            }
            if let Some(token) = member.syncing.take() {
                desk.answer_sync(token, SyncReply::refused(error));
            }
        }
    }

    /// The group was a next-generation one until now: its members share out anew.
    pub(in crate::group) fn on_turned(&mut self, desk: &mut Desk<'_>) {
        if self.state == GroupState::Stable {
            self.begin_rebalance(desk);
        }
    }

    /// What was to be appended was not: tells everybody who waits, and gives the group as the log
    /// has it, if that knows it.
    pub(in crate::group) fn undone(
        mut self,
        desk: &mut Desk<'_>,
        error: ErrorCode,
    ) -> Option<Self> {
        for member in self.members.values_mut() {
            if let Some(token) = member.joining.take() {
                desk.answer_join(token, JoinReply::refused(error, &member.id));
            }
            if let Some(token) = member.syncing.take() {
                desk.answer_sync(token, SyncReply::refused(error));
            }
        }
        desk.timers.stop_all(desk.group);
        let kept = self.kept.take()?;
        let mut group = Self::default();
        group.replay(desk, kept);
        Some(group)
    }
}
