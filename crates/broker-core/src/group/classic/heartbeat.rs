//! Heartbeat: a member is there, and learns that it must join again.

use streamledger_protocol::ErrorCode;

use super::group::ClassicGroup;
use super::request::MemberOfGeneration;
use super::state::GroupState;
use crate::group::desk::Desk;

impl ClassicGroup {
    /// A member says that it is there.
    pub(in crate::group) fn heartbeat(
        &self,
        desk: &mut Desk<'_>,
        from: &MemberOfGeneration,
    ) -> ErrorCode {
        if let Err(error) = self.check_member(&from.member_id, from.instance_id.as_deref()) {
            return error;
        }
        if from.generation != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        let answer = match self.state {
            GroupState::Empty | GroupState::Dead => return ErrorCode::UnknownMemberId,
            GroupState::PreparingRebalance => ErrorCode::RebalanceInProgress,
            // It may be told of the generation, and not of its assignment yet.
            GroupState::CompletingRebalance | GroupState::Stable => ErrorCode::None,
        };
        self.heard_of(desk, &from.member_id);
        answer
    }

    /// A member has shown that it is there.
    pub(super) fn heard_of(&self, desk: &mut Desk<'_>, member_id: &str) {
        if let Some(member) = self.members.get(member_id) {
            desk.start_session(member_id, member.session_timeout_ms);
        }
    }
}
