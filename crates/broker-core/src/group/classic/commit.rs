//! Who may store offsets in a classic group's name.

use streamledger_protocol::ErrorCode;

use super::group::ClassicGroup;
use super::state::GroupState;
use crate::group::desk::Desk;
use crate::group::offsets::Committer;
use crate::planted_bugs::PlantedBug;

impl ClassicGroup {
    /// Whether an offset may be stored (Kafka's `ClassicGroup.validateOffsetCommit`); one that may
    /// is as good as a heartbeat.
    pub(in crate::group) fn check_commit(
        &self,
        desk: &mut Desk<'_>,
        by: &Committer,
        is_transactional: bool,
    ) -> Result<(), ErrorCode> {
        if by.generation < 0 && self.state == GroupState::Empty {
            // An administrator, or a consumer with partitions of its own choice.
            return Ok(());
        }
        if by.generation >= 0 || !by.member_id.is_empty() || by.instance_id.is_some() {
            self.check_member(&by.member_id, by.instance_id.as_deref())?;
            let is_blind = desk.config.planted.has(PlantedBug::CommitOfOldGeneration);
            if by.generation != self.generation && !is_blind {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if !is_transactional {
            return Err(ErrorCode::UnknownMemberId);
        }
        match self.state {
            // It was told of the generation, and not of its partitions: let it ask for those first.
            GroupState::CompletingRebalance if !is_transactional => {
                Err(ErrorCode::RebalanceInProgress)
            }
            GroupState::Stable | GroupState::PreparingRebalance if !is_transactional => {
                self.heard_of(desk, &by.member_id);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
