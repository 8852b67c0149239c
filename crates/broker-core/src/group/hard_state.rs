//! Hard state, compared: what a coordinator makes of its log must be what another makes of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use streamledger_protocol::GroupId;

use super::classic::{ClassicGroup, GroupState, KeptGroup};
use super::coordinator::GroupCoordinator;
use super::log_record::GroupRecord;

impl GroupCoordinator {
    /// Whether another coordinator has the same hard state: groups as the log has them, and
    /// offsets. A group that is at rest must also be, in memory, what the log says of it.
    #[must_use]
    pub fn has_hard_state_of(&self, other: &Self) -> bool {
        self.classic_states() == other.classic_states()
            && self.consumers == other.consumers
            && self.offsets == other.offsets
    }

    fn classic_states(&self) -> BTreeMap<&GroupId, KeptGroup> {
        let state = |(id, group)| Some((id, hard_state(id, group)?));
        self.groups.iter().filter_map(state).collect()
    }
}

fn hard_state(id: &GroupId, group: &ClassicGroup) -> Option<KeptGroup> {
    let kept = group.kept()?;
    match group.state() {
        GroupState::Stable => match group.to_record(id, |member| member.assignment.clone()) {
            GroupRecord::Classic { kept, .. } => kept,
            GroupRecord::Offset(_) | GroupRecord::Consumer { .. } => None,
        },
        GroupState::Empty => match group.to_record(id, |_| Bytes::new()) {
            GroupRecord::Classic { kept, .. } => kept,
            GroupRecord::Offset(_) | GroupRecord::Consumer { .. } => None,
        },
        GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Dead => {
            Some(kept.clone())
        }
    }
}
