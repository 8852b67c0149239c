//! Which next-generation group a request is for, and what time and the log mean to it.

use streamledger_protocol::{ErrorCode, GroupId};

use super::classic::{ClassicGroup, GroupState};
use super::coordinator::GroupCoordinator;
use super::desk::Desk;
use super::log_record::GroupRecord;
use super::next_gen::{
    ConsumerHeartbeat, ConsumerHeartbeatReply, ConsumerRecord, DescribedConsumerGroup, Draft,
    HeartbeatRefusal, TopicsView, check,
};
use super::timers::TimerKind;
use crate::time::Now;

impl GroupCoordinator {
    /// A member's heartbeat (ConsumerGroupHeartbeat), by records to append.
    ///
    /// # Errors
    /// What the member is told instead.
    pub fn consumer_heartbeat(
        &mut self,
        now: Now,
        request: &ConsumerHeartbeat,
        topics: &dyn TopicsView,
    ) -> Result<ConsumerHeartbeatReply, HeartbeatRefusal> {
        check(request)?;
        self.check_room(request)?;
        if !self.has_room_for(request) {
            let message = "Members say too much (streamledger.group.member.bytes.max).";
            return Err(HeartbeatRefusal::new(ErrorCode::PolicyViolation, message));
        }
        let id = &request.group;
        let group = self.consumers.get(id);
        if let Some(group) = group.filter(|group| group.is_plain(request, topics)) {
            let member_epoch = request.member_epoch;
            debug_assert!(!group.is_empty());
            self.start_consumer_session(now, id, &request.member_id);
            return Ok(ConsumerHeartbeatReply { member_epoch, assigned: None });
        }
        let mut draft = self.draft(id, topics).ok_or_else(|| not_a_consumer_group(id))?;
        let reply = draft.heartbeat(request, topics)?;
        if draft.records.is_empty()
            && let Some(group) = self.consumers.get_mut(id)
        {
            group.has_seen(topics);
        }
        if let Some(group) = self.groups.get_mut(id) {
            // Its successor takes its place, its members, and its offsets.
            group.refuse_parked(&mut Desk {
                group: id,
                now,
                config: &self.config,
                timers: &mut self.timers,
                outbox: &mut self.outbox,
            });
            self.outbox.records.push(GroupRecord::Classic { group: id.clone(), kept: None });
        }
        match request.member_epoch >= 0 {
            true => self.push(id, draft.records),
            false => self.append_draft(now, id, draft, topics),
        }
        if request.member_epoch >= 0 {
            self.start_consumer_session(now, id, &request.member_id);
        }
        Ok(reply)
    }

    /// Whether there is such a group, and room for one more member of it or of all.
    fn check_room(&self, request: &ConsumerHeartbeat) -> Result<(), HeartbeatRefusal> {
        let id = &request.group;
        let joins = request.member_epoch == 0;
        let is_other = |group: &ClassicGroup| {
            let is_empty = group.state() == GroupState::Empty && !group.is_awaited();
            !joins || !(is_empty || self.may_be_upgraded(group))
        };
        if self.groups.get(id).is_some_and(is_other) {
            return Err(not_a_consumer_group(id));
        }
        let group = self.consumers.get(id);
        if group.is_none() && !joins {
            let message = format!("Group {id} not found.");
            return Err(HeartbeatRefusal::new(ErrorCode::GroupIdNotFound, message));
        }
        if group.is_none() && self.group_count() >= self.config.groups_max {
            let message = "There are too many groups (streamledger.groups.max).";
            return Err(HeartbeatRefusal::new(ErrorCode::PolicyViolation, message));
        }
        let is_known = group.is_some_and(|group| group.has_member(&request.member_id));
        let size = group.map_or(0, |group| group.member_count());
        let is_full = size >= self.config.consumer_group_size_max
            || self.member_count() >= self.config.members_max;
        if !is_known && joins && is_full {
            let message = format!("Group {id} has reached its maximum capacity of {size} members.");
            return Err(HeartbeatRefusal::new(ErrorCode::GroupMaxSizeReached, message));
        }
        Ok(())
    }

    pub(super) fn push(&mut self, id: &GroupId, records: Vec<ConsumerRecord>) {
        let of_group = |record| GroupRecord::Consumer { group: id.clone(), record };
        self.outbox.records.extend(records.into_iter().map(of_group));
    }

    fn start_consumer_session(&mut self, now: Now, id: &GroupId, member_id: &str) {
        let classic = self.consumers.get(id).and_then(|all| all.classic_session_ms(member_id));
        let own = || self.consumer_sessions_ms.get(id).copied();
        let session_ms = classic.or_else(own);
        let session_ms = session_ms.unwrap_or(self.config.consumer_session_timeout_ms);
        let due = now.monotonic.plus(session_ms);
        self.timers.start(id, TimerKind::Session(member_id.to_owned()), due);
    }

    /// A member's time is up: it is out.
    pub(super) fn on_consumer_timer(
        &mut self,
        now: Now,
        id: &GroupId,
        kind: &TimerKind,
        topics: &dyn TopicsView,
    ) {
        let Some(group) = self.consumers.get(id) else { return };
        let member_id = match kind {
            TimerKind::Session(member_id) => member_id,
            TimerKind::Revocation(member_id)
                if group.revocation_timeout_ms(member_id).is_some()
                    || group.is_to_join_again(member_id) =>
            {
                member_id
            }
            TimerKind::Revocation(_) | TimerKind::Join | TimerKind::Sync | TimerKind::Turned => {
                return;
            }
        };
        let mut draft = Draft::new(Some(group), self.config.planted);
        draft.fence(member_id);
        self.append_draft(now, id, draft, topics);
    }

    /// A record is in the log. Timers begin by it, at load too.
    pub(super) fn replay_consumer(&mut self, now: Now, id: &GroupId, record: ConsumerRecord) {
        if !self.consumers.contains_key(id) && record.is_tombstone() {
            return;
        }
        let group = self.consumers.entry(id.clone()).or_default();
        let about = record.clone();
        if !group.replay(record) {
            self.consumers.remove(id);
            return;
        }
        match about {
            ConsumerRecord::Member(member_id, Some(_)) => {
                self.start_consumer_session(now, id, &member_id);
            }
            ConsumerRecord::Member(member_id, None) => {
                self.timers.stop(id, TimerKind::Session(member_id.clone()));
                self.timers.stop(id, TimerKind::Revocation(member_id));
            }
            ConsumerRecord::Current(member_id, Some(_)) => {
                let timeout_ms = group.revocation_timeout_ms(&member_id);
                let kind = TimerKind::Revocation(member_id);
                match timeout_ms {
                    Some(ms) => self.timers.start(id, kind, now.monotonic.plus(ms)),
                    None => self.timers.stop(id, kind),
                }
            }
            ConsumerRecord::Current(_, None)
            | ConsumerRecord::Epoch(_)
            | ConsumerRecord::TargetEpoch(_)
            | ConsumerRecord::Target(..)
            | ConsumerRecord::Regex(..) => {}
        }
    }

    /// Whether a member may read its group's offsets by its epoch. Classic groups don't ask.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID or STALE_MEMBER_EPOCH.
    pub fn check_fetch(
        &self,
        id: &GroupId,
        member_id: Option<&str>,
        epoch: i32,
    ) -> Result<(), ErrorCode> {
        match self.consumers.get(id) {
            Some(group) => group.check_fetch(member_id, epoch),
            None => Ok(()),
        }
    }

    /// What a next-generation group is like; `None` if there is no such group.
    #[must_use]
    pub fn describe_consumer(&self, id: &GroupId) -> Option<DescribedConsumerGroup> {
        self.consumers.get(id).map(super::next_gen::ConsumerGroup::describe)
    }

    /// Makes room for a classic group of that name, if the next-generation one is empty.
    pub(super) fn give_way(&mut self, id: &GroupId) -> Result<(), ErrorCode> {
        match self.consumers.get(id).map(|group| (group.is_empty(), group.tombstones())) {
            None => Ok(()),
            Some((false, _)) => Err(ErrorCode::InconsistentGroupProtocol),
            Some((true, tombstones)) => {
                self.push(id, tombstones);
                Ok(())
            }
        }
    }

    /// The tombstones of a next-generation group without members.
    pub(super) fn append_consumer_tombstones(&mut self, id: &GroupId) {
        if let Some(tombstones) = self.consumers.get(id).map(|group| group.tombstones()) {
            self.push(id, tombstones);
        }
    }
}

fn not_a_consumer_group(id: &GroupId) -> HeartbeatRefusal {
    let message = format!("Group {id} is not a consumer group.");
    HeartbeatRefusal::new(ErrorCode::GroupIdNotFound, message)
}
