//! JoinGroup (11): enters a classic group, answered when all its members have joined. Group ids,
//! protocols and members' metadata are as Kafka's; two members that like different protocols alike
//! get the first by name.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::group::{JoinReply, JoinRequest, Protocol};
use streamledger_protocol::messages::join_group::JoinGroupResponseMember;
use streamledger_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use streamledger_protocol::{ApiVersion, ErrorCode};
use tracing::debug;

use super::access::Access;
use super::group_member::{client_host, client_id, fresh_member_id, kept};
use super::{Answer, Api, Call, Held};
use crate::coordinator::Groups;

/// The first version whose clients ask again with the id they were given (KIP-394).
const ID_FIRST_FROM: ApiVersion = ApiVersion(4);
/// The first version that can tell a leader not to assign (KIP-814).
const SKIPS_FROM: ApiVersion = ApiVersion(9);
/// The first version in which no protocol is null, not empty.
const NULL_PROTOCOL_FROM: ApiVersion = ApiVersion(7);

impl Api for JoinGroupRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=9;
    const ACCESS: Access = Access::Each(&[(Operation::Read, ResourceType::Group)]);

    fn refused(&self, error: ErrorCode) -> JoinGroupResponse {
        told(JoinReply::refused(error, &self.member_id), ApiVersion(0))
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<JoinGroupResponse> {
        let allowed = call.check_group(Operation::Read, &self.group_id);
        let ready = match allowed {
            Ok(()) => Groups::ensure(&call.node).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ready {
            let reply = JoinReply::refused(error, &self.member_id);
            return told(reply, call.version).into();
        }
        if let Some(reason) = &self.reason {
            debug!(group = %self.group_id, member = self.member_id, reason, "joins");
        }
        let client_id = client_id(call);
        let prefix = self.group_instance_id.as_ref().unwrap_or(&client_id);
        let fresh_member_id = fresh_member_id(prefix);
        let protocols = self.protocols.into_iter();
        let request = JoinRequest {
            group: self.group_id,
            member_id: self.member_id,
            instance_id: self.group_instance_id,
            client_id,
            client_host: client_host(call),
            session_timeout_ms: self.session_timeout_ms,
            // Before version 1 the one time-out was for both.
            rebalance_timeout_ms: match call.version.0 {
                0 => self.session_timeout_ms,
                _ => self.rebalance_timeout_ms,
            },
            protocol_type: self.protocol_type,
            protocols: protocols
                .map(|one| Protocol { name: one.name, metadata: kept(&one.metadata) })
                .collect(),
            takes_member_id_first: call.version >= ID_FIRST_FROM,
            can_skip_assignment: call.version >= SKIPS_FROM,
            fresh_member_id,
        };
        let reply = call.node.groups.join(&call.node, &call.connection, request);
        let version = call.version;
        Answer::Later(Box::pin(async move { Held::whole(told(reply.await, version)) }))
    }
}

fn told(reply: JoinReply, version: ApiVersion) -> JoinGroupResponse {
    let members = reply.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        metadata: member.metadata,
    });
    JoinGroupResponse {
        throttle_time_ms: 0,
        error_code: reply.error,
        generation_id: reply.generation,
        protocol_type: reply.protocol_type,
        protocol_name: match reply.protocol {
            None if version < NULL_PROTOCOL_FROM => Some(String::new()),
            protocol => protocol,
        },
        leader: reply.leader,
        skip_assignment: reply.skips_assignment,
        member_id: reply.member_id,
        members: members.collect(),
    }
}
