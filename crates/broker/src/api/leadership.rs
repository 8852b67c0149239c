//! Whether a client's idea of who leads is the present one (KIP-320).

use streamledger_broker_core::controller::Topic;
use streamledger_protocol::{ErrorCode, LeaderEpoch, PartitionIndex};

/// Holds a client's leader epoch against the partition's; NONE is not checked.
pub(super) fn check(
    topic: &Topic,
    index: PartitionIndex,
    believed: LeaderEpoch,
) -> Result<LeaderEpoch, ErrorCode> {
    let state = topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let present = state.leader_epoch;
    if believed == LeaderEpoch::NONE || believed == present {
        Ok(present)
    } else if believed < present {
        Err(ErrorCode::FencedLeaderEpoch)
    } else {
        Err(ErrorCode::UnknownLeaderEpoch)
    }
}
