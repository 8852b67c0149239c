//! The states of a classic group, and the one table of their transitions.

use std::fmt;

/// A classic group's state (Kafka's `ClassicGroupState`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// No members; offsets may be stored.
    #[default]
    Empty,
    /// Members are to join again, and who doesn't in time is out.
    PreparingRebalance,
    /// All have joined; the leader is to say who gets what.
    CompletingRebalance,
    /// Each member has its assignment.
    Stable,
    /// There is no such group any more.
    Dead,
}

impl GroupState {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Empty,
        Self::PreparingRebalance,
        Self::CompletingRebalance,
        Self::Stable,
        Self::Dead,
    ];

    /// The name by which Kafka's answers call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What moves a group from state to state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The members are asked to join again, or the first one has come.
    RebalanceBegan,
    /// All members have joined, and there are some.
    AllJoined,
    /// A record with members is in the log.
    KeptWithMembers,
    /// A record without members is in the log.
    KeptEmpty,
    /// The group's tombstone is in the log.
    Forgotten,
}

#[cfg(test)]
impl Change {
    const ALL: [Self; 5] = [
        Self::RebalanceBegan,
        Self::AllJoined,
        Self::KeptWithMembers,
        Self::KeptEmpty,
        Self::Forgotten,
    ];
}

/// The table. `None` is what cannot be.
///
/// What is kept comes after an append and at load alike. At load one record follows another with
/// nothing in between, so that one with members may come in any state but those of a rebalance.
pub(super) const fn next(state: GroupState, change: Change) -> Option<GroupState> {
    use Change::{AllJoined, Forgotten, KeptEmpty, KeptWithMembers, RebalanceBegan};
    use GroupState::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
    match (state, change) {
        (Empty | CompletingRebalance | Stable, RebalanceBegan) => Some(PreparingRebalance),
        (PreparingRebalance, AllJoined) => Some(CompletingRebalance),
        (Empty | CompletingRebalance | Stable, KeptWithMembers) => Some(Stable),
        (Empty | PreparingRebalance | Stable, KeptEmpty) => Some(Empty),
        // One with members turns into a next-generation group.
        (Empty | PreparingRebalance | CompletingRebalance | Stable, Forgotten) => Some(Dead),
        (PreparingRebalance, RebalanceBegan | KeptWithMembers)
        | (Empty | CompletingRebalance | Stable, AllJoined)
        | (CompletingRebalance, KeptEmpty)
        | (Dead, RebalanceBegan | AllJoined | KeptWithMembers | KeptEmpty | Forgotten) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        let mut rows = String::new();
        for state in GroupState::ALL {
            for change in Change::ALL {
                if let Some(then) = next(state, change) {
                    rows.push_str(&format!("{state} {change:?} {then}\n"));
                }
            }
        }
        let expected = "\
Empty RebalanceBegan PreparingRebalance
Empty KeptWithMembers Stable
Empty KeptEmpty Empty
Empty Forgotten Dead
PreparingRebalance AllJoined CompletingRebalance
PreparingRebalance KeptEmpty Empty
PreparingRebalance Forgotten Dead
CompletingRebalance RebalanceBegan PreparingRebalance
CompletingRebalance KeptWithMembers Stable
CompletingRebalance Forgotten Dead
Stable RebalanceBegan PreparingRebalance
Stable KeptWithMembers Stable
Stable KeptEmpty Empty
Stable Forgotten Dead
";
        assert_eq!(rows, expected);
    }
}
