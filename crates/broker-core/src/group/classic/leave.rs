//! LeaveGroup: members go, or an administrator sends them away by their instance.

use streamledger_protocol::ErrorCode;

use super::group::ClassicGroup;
use super::request::LeavingMember;
use crate::group::desk::Desk;

impl ClassicGroup {
    /// Takes members out; one answer for each.
    pub(in crate::group) fn leave(
        &mut self,
        desk: &mut Desk<'_>,
        leaving: &[LeavingMember],
    ) -> Vec<ErrorCode> {
        let answers: Vec<ErrorCode> =
            leaving.iter().map(|member| self.take_leave(desk, member)).collect();
        if answers.contains(&ErrorCode::None) {
            self.go_on_without(desk);
        }
        answers
    }

    fn take_leave(&mut self, desk: &mut Desk<'_>, leaving: &LeavingMember) -> ErrorCode {
        if leaving.member_id.is_empty() {
            let instance_id = leaving.instance_id.as_ref();
            let current = instance_id.and_then(|instance_id| self.instances.get(instance_id));
            return match current.cloned() {
                Some(id) => {
                    self.remove(desk, &id);
                    ErrorCode::None
                }
                None => ErrorCode::UnknownMemberId,
            };
        }
        if self.pending.remove(&leaving.member_id) {
            desk.end_session(&leaving.member_id);
            return ErrorCode::None;
        }
        match self.check_member(&leaving.member_id, leaving.instance_id.as_deref()) {
            Ok(()) => {
                self.remove(desk, &leaving.member_id);
                ErrorCode::None
            }
            Err(error) => error,
        }
    }
}
