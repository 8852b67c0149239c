//! SyncGroup: the leader's assignment is kept, and told to each.

use std::collections::BTreeMap;

use bytes::Bytes;
use streamledger_protocol::ErrorCode;

use super::group::ClassicGroup;
use super::request::{SyncReply, SyncRequest};
use super::state::GroupState;
use crate::group::desk::{Desk, Token};
use crate::group::log_record::GroupRecord;

impl ClassicGroup {
    /// A member asks for its assignment; the leader brings all of them.
    pub(in crate::group) fn sync(
        &mut self,
        desk: &mut Desk<'_>,
        token: Token,
        request: &SyncRequest,
    ) {
        if let Err(error) = self.try_sync(desk, token, request) {
            desk.answer_sync(token, SyncReply::refused(error));
        }
    }

    fn try_sync(
        &mut self,
        desk: &mut Desk<'_>,
        token: Token,
        request: &SyncRequest,
    ) -> Result<(), ErrorCode> {
        let id = &request.member.member_id;
        self.check_member(id, request.member.instance_id.as_deref())?;
        if request.member.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |said: &Option<String>, is: &Option<String>| {
            said.is_some() && is.is_some() && said != is
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => Err(ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            GroupState::CompletingRebalance => {
                self.unsynced.remove(id);
                let Some(member) = self.members.get_mut(id) else {
                    return Err(ErrorCode::UnknownMemberId);
                };
                if let Some(forgotten) = member.syncing.replace(token) {
                    let reply = SyncReply::refused(ErrorCode::RebalanceInProgress);
                    desk.answer_sync(forgotten, reply);
                }
                if self.is_leader(id) {
                    self.append_assignments(desk, &request.assignments);
                }
                Ok(())
            }
            GroupState::Stable => {
                self.unsynced.remove(id);
                let reply = self.sync_reply(id);
                if let Some(member) = self.members.get(id) {
                    desk.start_session(id, member.session_timeout_ms);
                }
                desk.answer_sync(token, reply);
                Ok(())
            }
        }
    }

    /// Has the log keep the generation; who is not named gets nothing.
    fn append_assignments(&self, desk: &mut Desk<'_>, assignments: &[(String, Bytes)]) {
        let of_member: BTreeMap<&String, &Bytes> =
            assignments.iter().map(|(id, assignment)| (id, assignment)).collect();
        let mut record = self.to_record(desk.group, |member| {
            of_member.get(&member.id).map_or_else(Bytes::new, |assignment| (*assignment).clone())
        });
        if let GroupRecord::Classic { kept: Some(kept), .. } = &mut record {
            kept.since = desk.now.wall;
        }
        desk.append(record);
    }

    pub(super) fn sync_reply(&self, member_id: &str) -> SyncReply {
        let member = self.members.get(member_id);
        SyncReply {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: member.map_or_else(Bytes::new, |member| member.assignment.clone()),
        }
    }
}
