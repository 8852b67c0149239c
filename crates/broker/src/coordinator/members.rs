//! The shell of group members: they join, get their assignments, are heard of, and leave.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use streamledger_broker_core::group::{
    JoinReply, JoinRequest, LeavingMember, MemberOfGeneration, ParkedAnswer, SyncReply, SyncRequest,
};
use streamledger_protocol::{ErrorCode, GroupId};
use tokio::sync::oneshot;

use super::consumers::NodeTopics;
use super::groups::{Groups, Told, until_flushed};
use crate::api::Connection;
use crate::node::Node;

impl Groups {
    /// JoinGroup: the answer comes when the generation is complete.
    pub(crate) fn join(
        &self,
        node: &Node,
        connection: &Arc<Connection>,
        request: JoinRequest,
    ) -> BoxFuture<'static, JoinReply> {
        let topics = NodeTopics::of(node);
        let told = self.park(node, |groups, now, token| groups.join(now, token, &request, &topics));
        let connection = Arc::clone(connection);
        Box::pin(async move {
            match parked(told, &connection).await {
                Ok(ParkedAnswer::Joined(reply)) => reply,
                Ok(ParkedAnswer::Synced(_)) => {
                    JoinReply::refused(ErrorCode::UnknownServerError, &request.member_id)
                }
                Err(error) => JoinReply::refused(error, &request.member_id),
            }
        })
    }

    /// SyncGroup: the answer comes when the leader's assignment is kept.
    pub(crate) fn sync(
        &self,
        node: &Node,
        connection: &Arc<Connection>,
        request: &SyncRequest,
    ) -> BoxFuture<'static, SyncReply> {
        let topics = NodeTopics::of(node);
        let told = self.park(node, |groups, now, token| groups.sync(now, token, request, &topics));
        let connection = Arc::clone(connection);
        Box::pin(async move {
            match parked(told, &connection).await {
                Ok(ParkedAnswer::Synced(reply)) => reply,
                Ok(ParkedAnswer::Joined(_)) => SyncReply::refused(ErrorCode::UnknownServerError),
                Err(error) => SyncReply::refused(error),
            }
        })
    }

    /// Heartbeat.
    pub(crate) fn heartbeat(
        &self,
        node: &Node,
        group: &GroupId,
        from: &MemberOfGeneration,
    ) -> ErrorCode {
        self.step(node, |groups, now| groups.heartbeat(now, group, from)).0
    }

    /// LeaveGroup: one answer for each, once it is flushed.
    pub(crate) async fn leave(
        &self,
        node: &Node,
        group: &GroupId,
        leaving: &[LeavingMember],
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let topics = NodeTopics::of(node);
        let (left, kept) =
            self.step(node, |groups, now| groups.leave(now, group, leaving, &topics));
        kept?;
        self.flushed(node, group).await?;
        left
    }
}

/// Waits for an answer as long as there is somebody to give it to, and for the flush before it.
async fn parked(
    told: oneshot::Receiver<Told>,
    connection: &Connection,
) -> Result<ParkedAnswer, ErrorCode> {
    let told = tokio::select! {
        biased;
        told = told => told.map_err(|_| ErrorCode::CoordinatorNotAvailable)?,
        () = connection.closed() => return Err(ErrorCode::CoordinatorNotAvailable),
    };
    until_flushed(told.unflushed).await?;
    Ok(told.answer)
}
