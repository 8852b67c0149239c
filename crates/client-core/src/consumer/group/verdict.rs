//! What a coordinator's answer means for a member: one pure function, one test a row.

use streamledger_protocol::{Disposition, ErrorCode};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupApi {
    /// FindCoordinator.
    FindCoordinator,
    /// JoinGroup.
    Join,
    /// SyncGroup.
    Sync,
    /// Heartbeat.
    Heartbeat,
    /// LeaveGroup, or a heartbeat that leaves.
    Leave,
    /// ConsumerGroupHeartbeat.
    ConsumerHeartbeat,
    /// OffsetCommit, of one partition.
    Commit,
}

/// What to do about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupVerdict {
    /// It worked.
    Done,
    /// Ask the same again, a little later.
    Retry,
    /// Find the coordinator, then ask again.
    FindAndRetry,
    /// Join again with the id that the answer gives (KIP-394).
    JoinWithId,
    /// The group rebalances: join again.
    Rejoin,
    /// The member is of no generation any more; it keeps its id.
    ForgetGeneration,
    /// The coordinator doesn't know the member, or no longer.
    ForgetMember,
    /// Tell the reader, and go on.
    Mind,
    /// It won't work: tell the reader.
    Refuse,
}

/// The verdict on a coordinator's answer (Kafka's `AbstractCoordinator`, `ConsumerCoordinator` and
/// `AbstractHeartbeatRequestManager`).
#[must_use]
pub fn judge_group(api: GroupApi, error: ErrorCode) -> GroupVerdict {
    use GroupVerdict::{
        Done, FindAndRetry, ForgetGeneration, ForgetMember, JoinWithId, Mind, Refuse, Rejoin, Retry,
    };
    match (error, api) {
        (ErrorCode::None, _) | (_, GroupApi::Leave) => Done,
        (ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator, api) => match api {
            GroupApi::FindCoordinator => Retry,
            _ => FindAndRetry,
        },
        (ErrorCode::RequestTimedOut, GroupApi::Commit) => FindAndRetry,
        (ErrorCode::MemberIdRequired, GroupApi::Join) => JoinWithId,
        (ErrorCode::RebalanceInProgress, GroupApi::Join) => Retry,
        (
            ErrorCode::RebalanceInProgress,
            GroupApi::Sync | GroupApi::Heartbeat | GroupApi::Commit,
        ) => Rejoin,
        (ErrorCode::IllegalGeneration, _) => ForgetGeneration,
        // The member has a newer epoch than the commit, and tries again with it.
        (ErrorCode::StaleMemberEpoch, GroupApi::Commit) => Retry,
        (ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch, _) => ForgetMember,
        (ErrorCode::TopicAuthorizationFailed, GroupApi::ConsumerHeartbeat) => Mind,
        // A topic that was just made isn't known everywhere.
        (ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId, GroupApi::Commit) => Retry,
        (other, _) => match other.disposition() {
            Disposition::Retriable | Disposition::RefreshMetadata => Retry,
            Disposition::Success | Disposition::Fatal => Refuse,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const APIS: [GroupApi; 7] = [
        GroupApi::FindCoordinator,
        GroupApi::Join,
        GroupApi::Sync,
        GroupApi::Heartbeat,
        GroupApi::Leave,
        GroupApi::ConsumerHeartbeat,
        GroupApi::Commit,
    ];

    #[rstest]
    #[case::find_later(GroupApi::FindCoordinator, ErrorCode::CoordinatorNotAvailable, "Retry")]
    #[case::find_loading(GroupApi::FindCoordinator, ErrorCode::CoordinatorLoadInProgress, "Retry")]
    #[case::find_no(GroupApi::FindCoordinator, ErrorCode::GroupAuthorizationFailed, "Refuse")]
    #[case::join_named(GroupApi::Join, ErrorCode::MemberIdRequired, "JoinWithId")]
    #[case::join_moved(GroupApi::Join, ErrorCode::NotCoordinator, "FindAndRetry")]
    #[case::join_loading(GroupApi::Join, ErrorCode::CoordinatorLoadInProgress, "Retry")]
    #[case::join_unknown(GroupApi::Join, ErrorCode::UnknownMemberId, "ForgetMember")]
    #[case::join_again(GroupApi::Join, ErrorCode::RebalanceInProgress, "Retry")]
    #[case::join_fenced(GroupApi::Join, ErrorCode::FencedInstanceId, "Refuse")]
    #[case::join_other(GroupApi::Join, ErrorCode::InconsistentGroupProtocol, "Refuse")]
    #[case::join_session(GroupApi::Join, ErrorCode::InvalidSessionTimeout, "Refuse")]
    #[case::join_full(GroupApi::Join, ErrorCode::GroupMaxSizeReached, "Refuse")]
    #[case::sync_rebalance(GroupApi::Sync, ErrorCode::RebalanceInProgress, "Rejoin")]
    #[case::sync_old(GroupApi::Sync, ErrorCode::IllegalGeneration, "ForgetGeneration")]
    #[case::sync_unknown(GroupApi::Sync, ErrorCode::UnknownMemberId, "ForgetMember")]
    #[case::beat_rebalance(GroupApi::Heartbeat, ErrorCode::RebalanceInProgress, "Rejoin")]
    #[case::beat_old(GroupApi::Heartbeat, ErrorCode::IllegalGeneration, "ForgetGeneration")]
    #[case::beat_unknown(GroupApi::Heartbeat, ErrorCode::UnknownMemberId, "ForgetMember")]
    #[case::beat_moved(GroupApi::Heartbeat, ErrorCode::CoordinatorNotAvailable, "FindAndRetry")]
    #[case::beat_fenced(GroupApi::Heartbeat, ErrorCode::FencedInstanceId, "Refuse")]
    #[case::next_fenced(GroupApi::ConsumerHeartbeat, ErrorCode::FencedMemberEpoch, "ForgetMember")]
    #[case::next_unknown(GroupApi::ConsumerHeartbeat, ErrorCode::UnknownMemberId, "ForgetMember")]
    #[case::next_taken(GroupApi::ConsumerHeartbeat, ErrorCode::UnreleasedInstanceId, "Refuse")]
    #[case::next_assignor(GroupApi::ConsumerHeartbeat, ErrorCode::UnsupportedAssignor, "Refuse")]
    #[case::next_topic(GroupApi::ConsumerHeartbeat, ErrorCode::TopicAuthorizationFailed, "Mind")]
    #[case::next_loading(
        GroupApi::ConsumerHeartbeat,
        ErrorCode::CoordinatorLoadInProgress,
        "Retry"
    )]
    #[case::commit_moved(GroupApi::Commit, ErrorCode::NotCoordinator, "FindAndRetry")]
    #[case::commit_slow(GroupApi::Commit, ErrorCode::RequestTimedOut, "FindAndRetry")]
    #[case::commit_stale(GroupApi::Commit, ErrorCode::StaleMemberEpoch, "Retry")]
    #[case::commit_rebalance(GroupApi::Commit, ErrorCode::RebalanceInProgress, "Rejoin")]
    #[case::commit_old(GroupApi::Commit, ErrorCode::IllegalGeneration, "ForgetGeneration")]
    #[case::commit_unknown(GroupApi::Commit, ErrorCode::UnknownMemberId, "ForgetMember")]
    #[case::commit_forbidden(GroupApi::Commit, ErrorCode::TopicAuthorizationFailed, "Refuse")]
    #[case::commit_long(GroupApi::Commit, ErrorCode::OffsetMetadataTooLarge, "Refuse")]
    #[case::leave_whatever(GroupApi::Leave, ErrorCode::UnknownMemberId, "Done")]
    fn a_row(#[case] api: GroupApi, #[case] error: ErrorCode, #[case] verdict: &str) {
        assert_eq!(format!("{:?}", judge_group(api, error)), verdict);
    }

    #[test]
    fn no_error_is_done_and_an_error_never_heard_of_is_refused() {
        for api in APIS {
            assert_eq!(judge_group(api, ErrorCode::None), GroupVerdict::Done);
            let unknown = judge_group(api, ErrorCode::Unknown(999));
            let expected = match api {
                GroupApi::Leave => GroupVerdict::Done,
                _ => GroupVerdict::Refuse,
            };
            assert_eq!(unknown, expected, "{api:?}");
        }
    }
}
