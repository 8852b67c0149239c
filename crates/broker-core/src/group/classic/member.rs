//! A member of a classic group.

use bytes::Bytes;

use super::record::KeptMember;
use super::request::{JoinRequest, JoinedMember, Protocol};
use crate::group::desk::Token;
use crate::group::room;

/// A member of a classic group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::group) struct Member {
    pub(in crate::group) id: String,
    pub(in crate::group) instance_id: Option<String>,
    pub(in crate::group) client_id: String,
    pub(in crate::group) client_host: String,
    pub(super) session_timeout_ms: u64,
    pub(super) rebalance_timeout_ms: u64,
    pub(super) protocols: Vec<Protocol>,
    pub(in crate::group) assignment: Bytes,
    /// Its JoinGroup that is not answered yet.
    pub(super) joining: Option<Token>,
    /// Its SyncGroup that is not answered yet.
    pub(super) syncing: Option<Token>,
    /// It does not know its id yet, so nothing but the end of its first join can be waited for.
    pub(super) is_new: bool,
}

fn ms(ms: i32) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

impl Member {
    pub(super) fn new(id: String, request: &JoinRequest) -> Self {
        let mut member = Self {
            id,
            instance_id: request.instance_id.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            session_timeout_ms: 0,
            rebalance_timeout_ms: 0,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            is_new: true,
        };
        member.take_over(request);
        member
    }

    /// Takes what a member says of itself when it joins again.
    pub(super) fn take_over(&mut self, request: &JoinRequest) {
        self.session_timeout_ms = ms(request.session_timeout_ms);
        self.rebalance_timeout_ms = ms(request.rebalance_timeout_ms);
        self.protocols = request.protocols.clone();
    }

    /// A member as the log has it; it can do what was chosen, for all that is known.
    pub(super) fn from_kept(kept: &KeptMember, protocol: Option<&String>) -> Self {
        let protocols = protocol
            .map(|name| Protocol { name: name.clone(), metadata: kept.subscription.clone() });
        Self {
            id: kept.member_id.clone(),
            instance_id: kept.instance_id.clone(),
            client_id: kept.client_id.clone(),
            client_host: kept.client_host.clone(),
            session_timeout_ms: ms(kept.session_timeout_ms),
            rebalance_timeout_ms: ms(kept.rebalance_timeout_ms),
            protocols: protocols.into_iter().collect(),
            assignment: kept.assignment.clone(),
            joining: None,
            syncing: None,
            is_new: false,
        }
    }

    /// The member as the log is to have it.
    pub(super) fn to_kept(&self, protocol: Option<&String>, assignment: Bytes) -> KeptMember {
        KeptMember {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms(),
            session_timeout_ms: self.session_timeout_ms(),
            subscription: self.metadata(protocol),
            assignment,
        }
    }

    pub(super) fn to_joined(&self, protocol: Option<&String>) -> JoinedMember {
        JoinedMember {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            metadata: self.metadata(protocol),
        }
    }

    /// What it has brought, in bytes.
    pub(super) fn brought_bytes(&self) -> usize {
        let texts = [Some(&*self.id), self.instance_id.as_deref(), Some(&*self.client_id)];
        room::texts(texts) + room::protocols(&self.protocols)
    }

    pub(in crate::group) fn protocols(&self) -> &[Protocol] {
        &self.protocols
    }

    /// As its client said it.
    pub(in crate::group) fn session_timeout_ms(&self) -> i32 {
        i32::try_from(self.session_timeout_ms).unwrap_or(i32::MAX)
    }

    /// As its client said it.
    pub(in crate::group) fn rebalance_timeout_ms(&self) -> i32 {
        i32::try_from(self.rebalance_timeout_ms).unwrap_or(i32::MAX)
    }

    pub(super) fn supports(&self, name: &str) -> bool {
        self.protocols.iter().any(|protocol| protocol.name == name)
    }

    /// What it joined with under a protocol; nothing if it can't do that.
    pub(in crate::group) fn metadata(&self, protocol: Option<&String>) -> Bytes {
        let of_name = |one: &&Protocol| protocol.is_some_and(|name| one.name == *name);
        self.protocols.iter().find(of_name).map_or_else(Bytes::new, |one| one.metadata.clone())
    }

    /// Whether it need not send heartbeats: one of its requests is parked.
    pub(super) fn is_parked(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }
}
