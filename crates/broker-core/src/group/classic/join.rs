//! JoinGroup: who may enter, and what that starts.

use streamledger_protocol::ErrorCode;

use super::group::ClassicGroup;
use super::member::Member;
use super::request::{JoinReply, JoinRequest};
use super::state::GroupState;
use crate::group::desk::{Desk, Token};

/// How long a member that does not know its id is kept for its first join to end, in ms: its client
/// may be gone, and would not know as whom to come back (Kafka's `newMemberJoinTimeoutMs`).
const NEW_MEMBER_TIMEOUT_MS: u64 = 5 * 60 * 1000;

impl ClassicGroup {
    /// A member asks to join. `has_room` says whether the coordinator takes one more.
    pub(in crate::group) fn join(
        &mut self,
        desk: &mut Desk<'_>,
        token: Token,
        request: &JoinRequest,
        has_room: bool,
    ) {
        if let Err((error, member_id)) = self.try_join(desk, token, request, has_room) {
            desk.answer_join(token, JoinReply::refused(error, member_id));
        }
    }

    /// Refused with the member id that is to be told.
    fn try_join<'r>(
        &mut self,
        desk: &mut Desk<'_>,
        token: Token,
        request: &'r JoinRequest,
        has_room: bool,
    ) -> Result<(), (ErrorCode, &'r str)> {
        let member_id = request.member_id.as_str();
        let is_known = self.members.contains_key(member_id) || self.pending.contains(member_id);
        if !self.accepts(member_id, desk.config.group_size_max) || (!is_known && !has_room) {
            self.pending.remove(member_id);
            return Err((ErrorCode::GroupMaxSizeReached, ""));
        }
        let names: Vec<&str> = request.protocols.iter().map(|one| one.name.as_str()).collect();
        if !self.takes_protocols(&request.protocol_type, &names) {
            return Err((ErrorCode::InconsistentGroupProtocol, member_id));
        }
        if member_id.is_empty() {
            return self.join_as_new(desk, token, request);
        }
        if self.pending.contains(member_id) {
            if request.instance_id.is_some() {
                return Err((ErrorCode::UnknownMemberId, member_id));
            }
            self.add(desk, token, request, member_id.to_owned());
            return Ok(());
        }
        self.check_member(member_id, request.instance_id.as_deref())
            .map_err(|error| (error, member_id))?;
        self.join_again(desk, token, request).map_err(|error| (error, member_id))
    }

    /// Whether there is room for a member (Kafka's `acceptJoiningMember`): in a rebalance those who
    /// have joined count, so that a group that became too large loses the last ones.
    fn accepts(&self, member_id: &str, size_max: usize) -> bool {
        match self.state {
            GroupState::Empty | GroupState::Dead => {
                self.pending.contains(member_id) || self.pending.len() < size_max
            }
            GroupState::PreparingRebalance => {
                let member = self.members.get(member_id);
                member.is_some_and(|member| member.joining.is_some())
                    || self.joining_count() < size_max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.members.contains_key(member_id) || self.members.len() < size_max
            }
        }
    }

    fn join_as_new(
        &mut self,
        desk: &mut Desk<'_>,
        token: Token,
        request: &JoinRequest,
    ) -> Result<(), (ErrorCode, &'static str)> {
        let fresh = request.fresh_member_id.clone();
        if let Some(instance_id) = &request.instance_id {
            match self.instances.get(instance_id).cloned() {
                Some(old) => self.replace(desk, token, request, &old, &fresh),
                None => self.add(desk, token, request, fresh),
            }
        } else if request.takes_member_id_first {
            let session_timeout_ms = u64::try_from(request.session_timeout_ms).unwrap_or(0);
            desk.start_session(&fresh, session_timeout_ms);
            let reply = JoinReply::refused(ErrorCode::MemberIdRequired, &fresh);
            self.pending.insert(fresh);
            desk.answer_join(token, reply);
        } else {
            self.add(desk, token, request, fresh);
        }
        Ok(())
    }

    fn add(&mut self, desk: &mut Desk<'_>, token: Token, request: &JoinRequest, id: String) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(id.clone());
        }
        if let Some(instance_id) = &request.instance_id {
            self.instances.insert(instance_id.clone(), id.clone());
        }
        self.pending.remove(&id);
        self.has_new_member |= self.state == GroupState::PreparingRebalance && self.is_initial;
        desk.start_session(&id, NEW_MEMBER_TIMEOUT_MS);
        let mut member = Member::new(id.clone(), request);
        member.joining = Some(token);
        self.members.insert(id, member);
        self.rebalance_or_go_on(desk);
    }

    /// A member that is known joins again.
    fn join_again(
        &mut self,
        desk: &mut Desk<'_>,
        token: Token,
        request: &JoinRequest,
    ) -> Result<(), ErrorCode> {
        let id = &request.member_id;
        let is_leader = self.is_leader(id);
        let Some(member) = self.members.get_mut(id) else {
            return Err(ErrorCode::UnknownMemberId);
        };
        let is_unchanged = member.protocols == request.protocols;
        let needs_rebalance = match self.state {
            GroupState::Empty | GroupState::Dead => return Err(ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance => true,
            // It may have missed the answer to its last join.
            GroupState::CompletingRebalance => !is_unchanged,
            // What the leader joins for may be something that its metadata doesn't show.
            GroupState::Stable => is_leader || !is_unchanged,
        };
        if !needs_rebalance {
            let reply = self.join_reply(id, false);
            desk.answer_join(token, reply);
            return Ok(());
        }
        member.take_over(request);
        if let Some(forgotten) = member.joining.replace(token) {
            let reply = JoinReply::refused(ErrorCode::RebalanceInProgress, id);
            desk.answer_join(forgotten, reply);
        }
        self.rebalance_or_go_on(desk);
        Ok(())
    }

    /// A static member comes back under a new id (KIP-345): the old one is fenced.
    fn replace(
        &mut self,
        desk: &mut Desk<'_>,
        token: Token,
        request: &JoinRequest,
        old: &str,
        fresh: &str,
    ) {
        let Some(mut member) = self.members.remove(old) else { return };
        desk.end_session(old);
        fence(desk, &mut member, old);
        let leader_before = self.leader.clone();
        if self.is_leader(old) {
            self.leader = Some(fresh.to_owned());
        }
        if self.unsynced.remove(old) {
            self.unsynced.insert(fresh.to_owned());
        }
        if let Some(instance_id) = &request.instance_id {
            self.instances.insert(instance_id.clone(), fresh.to_owned());
        }
        fresh.clone_into(&mut member.id);
        member.client_id.clone_from(&request.client_id);
        member.client_host.clone_from(&request.client_host);
        member.take_over(request);
        desk.start_session(fresh, member.session_timeout_ms);
        let is_stable = self.state == GroupState::Stable;
        self.members.insert(fresh.to_owned(), member);
        if is_stable && self.choose_protocol() == self.protocol {
            // Nothing changes for the others.
            desk.append(self.to_record(desk.group, |member| member.assignment.clone()));
            let mut reply = self.join_reply(fresh, true);
            if !request.can_skip_assignment {
                // Were it told that it leads, it would assign and nobody would ask for it.
                reply.leader = leader_before.unwrap_or_default();
                reply.members = Vec::new();
            }
            reply.skips_assignment = request.can_skip_assignment && self.is_leader(fresh);
            desk.answer_join(token, reply);
            return;
        }
        if let Some(member) = self.members.get_mut(fresh) {
            member.joining = Some(token);
        }
        self.rebalance_or_go_on(desk);
    }

    /// What a member of the generation is told; all members, if it leads and `tells_leader` or the
    /// generation has no assignment yet.
    pub(super) fn join_reply(&self, member_id: &str, tells_leader: bool) -> JoinReply {
        let tells_members = tells_leader || self.state == GroupState::CompletingRebalance;
        JoinReply {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skips_assignment: false,
            member_id: member_id.to_owned(),
            members: match self.is_leader(member_id) && tells_members {
                true => self.joined_members(),
                false => Vec::new(),
            },
        }
    }
}

/// Tells a member that another has taken its place.
fn fence(desk: &mut Desk<'_>, member: &mut Member, member_id: &str) {
    if let Some(token) = member.joining.take() {
        desk.answer_join(token, JoinReply::refused(ErrorCode::FencedInstanceId, member_id));
    }
    if let Some(token) = member.syncing.take() {
        let reply = super::request::SyncReply::refused(ErrorCode::FencedInstanceId);
        desk.answer_sync(token, reply);
    }
}
