//! What a record in the log makes of a classic group: after an append and at load.

use std::collections::BTreeSet;

use streamledger_protocol::ErrorCode;

use super::group::ClassicGroup;
use super::member::Member;
use super::record::KeptGroup;
use super::state::{Change, GroupState};
use crate::group::desk::Desk;
use crate::group::timers::TimerKind;

impl ClassicGroup {
    /// The log has the group's tombstone. Whoever waits for something of it begins anew.
    pub(in crate::group) fn replay_tombstone(mut self, desk: &mut Desk<'_>) {
        self.change(Change::Forgotten, desk.now.wall);
        self.kept = None;
        let _ = self.undone(desk, ErrorCode::UnknownMemberId);
    }

    /// The log has this now. Who waited for its assignment is told, and every member's time runs
    /// anew.
    pub(in crate::group) fn replay(&mut self, desk: &mut Desk<'_>, kept: KeptGroup) {
        let ids: BTreeSet<&String> = kept.members.iter().map(|member| &member.member_id).collect();
        let gone: Vec<String> =
            self.members.keys().filter(|id| !ids.contains(id)).cloned().collect();
        for id in gone {
            self.remove(desk, &id);
        }
        let change = match kept.members.is_empty() {
            true => Change::KeptEmpty,
            false => Change::KeptWithMembers,
        };
        self.change(change, kept.since);
        self.since = kept.since;
        self.generation = kept.generation;
        self.protocol_type = Some(kept.protocol_type.clone()).filter(|kind| !kind.is_empty());
        self.protocol.clone_from(&kept.protocol);
        self.leader.clone_from(&kept.leader);
        for member in &kept.members {
            if let Some(instance_id) = &member.instance_id {
                self.instances.insert(instance_id.clone(), member.member_id.clone());
            }
            let protocol = kept.protocol.as_ref();
            match self.members.get_mut(&member.member_id) {
                Some(known) if known.to_kept(protocol, member.assignment.clone()) == *member => {
                    known.assignment.clone_from(&member.assignment);
                }
                // At load: it has joined again since the record before, maybe with other wishes.
                Some(_) | None => {
                    let loaded = Member::from_kept(member, protocol);
                    self.members.insert(member.member_id.clone(), loaded);
                }
            }
        }
        self.kept = Some(kept);
        self.tell_assignments(desk);
    }

    fn tell_assignments(&mut self, desk: &mut Desk<'_>) {
        if self.state == GroupState::Empty {
            desk.stop_timer(TimerKind::Join);
            desk.stop_timer(TimerKind::Sync);
            self.unsynced.clear();
        }
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let reply = self.sync_reply(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            desk.start_session(&id, member.session_timeout_ms);
            if let Some(token) = member.syncing.take() {
                desk.answer_sync(token, reply);
            }
        }
    }
}
