//! Where a membership is: the one table of its transitions, for both protocols.

/// Where a membership is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is subscribed.
    Idle,
    /// It will join, as soon as the coordinator is known and somebody polls.
    Unjoined,
    /// The reader gives up partitions: before joining again, or for those in the target.
    Releasing,
    /// It has asked to join.
    Joining,
    /// It leads, and learns how many partitions there are.
    LookingUp,
    /// It has asked for its assignment.
    Syncing,
    /// The reader takes partitions on.
    Installing,
    /// It has what it shall have.
    Stable,
    /// It says that it leaves.
    Leaving,
    /// The coordinator refused it.
    Failed,
}

/// What moves it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// Something is subscribed.
    Subscribed,
    /// There is something to give up first.
    MustRelease,
    /// There is nothing to give up, or that is done, and no target is known.
    Released,
    /// The join is on its way.
    Asked,
    /// Joined as one whom the leader assigns to.
    Followed,
    /// Joined as the leader.
    Led,
    /// The leader knows all topics, or the coordinator assigns.
    Known,
    /// The target is known and nothing in the way of it.
    MustInstall,
    /// All is as it shall be.
    Settled,
    /// The attempt came to nothing: the next begins.
    Again,
    /// The membership is gone, and so are its partitions.
    Lost,
    /// The end was asked for.
    Left,
    /// The end is told to the coordinator, or needn't be.
    Gone,
    /// The coordinator refuses for good.
    Refused,
}

impl Phase {
    /// The next phase; none where that doesn't happen, or changes nothing.
    pub(super) fn next(self, happening: Happening) -> Option<Self> {
        use Phase::{
            Failed, Idle, Installing, Joining, Leaving, LookingUp, Releasing, Stable, Syncing,
            Unjoined,
        };
        match (happening, self) {
            (Happening::Subscribed, Idle | Failed) => Some(Unjoined),
            // Leaves first; whoever subscribes is remembered.
            (
                Happening::Subscribed,
                Unjoined | Releasing | Joining | LookingUp | Syncing | Installing | Stable
                | Leaving,
            ) => None,
            (
                Happening::MustRelease,
                Unjoined | Stable | Syncing | Joining | LookingUp | Installing | Releasing,
            ) => Some(Releasing),
            (Happening::MustRelease, Idle | Leaving | Failed) => None,
            (Happening::Released, Releasing | Stable) => Some(Unjoined),
            (
                Happening::Released,
                Idle | Unjoined | Joining | LookingUp | Syncing | Installing | Leaving | Failed,
            ) => None,
            (Happening::Asked, Unjoined) => Some(Joining),
            (
                Happening::Asked,
                Idle | Releasing | Joining | LookingUp | Syncing | Installing | Stable | Leaving
                | Failed,
            ) => None,
            (Happening::Followed, Joining) => Some(Syncing),
            (Happening::Led, Joining) => Some(LookingUp),
            (
                Happening::Followed | Happening::Led,
                Idle | Unjoined | Releasing | LookingUp | Syncing | Installing | Stable | Leaving
                | Failed,
            ) => None,
            (Happening::Known, LookingUp) => Some(Syncing),
            (
                Happening::Known,
                Idle | Unjoined | Releasing | Joining | Syncing | Installing | Stable | Leaving
                | Failed,
            ) => None,
            (Happening::MustInstall, Syncing | Releasing | Stable) => Some(Installing),
            (
                Happening::MustInstall,
                Idle | Unjoined | Joining | LookingUp | Installing | Leaving | Failed,
            ) => None,
            // A next-generation member has joined with the answer, whatever its target will be.
            (Happening::Settled, Installing | Joining) => Some(Stable),
            (
                Happening::Settled,
                Idle | Unjoined | Releasing | LookingUp | Syncing | Stable | Leaving | Failed,
            ) => None,
            (Happening::Again, Joining | LookingUp | Syncing) => Some(Unjoined),
            (
                Happening::Again,
                Idle | Unjoined | Releasing | Installing | Stable | Leaving | Failed,
            ) => None,
            (Happening::Lost, phase) => phase.without_membership(Unjoined),
            (Happening::Refused, phase) => phase.without_membership(Failed),
            // The end can be asked for at any time.
            (Happening::Left, _) => Some(Leaving),
            (Happening::Gone, phase) => (phase == Leaving).then_some(Idle),
        }
    }

    /// Where a member goes whose membership is over without its asking; it had to have begun one.
    fn without_membership(self, next: Self) -> Option<Self> {
        match self {
            Self::Unjoined
            | Self::Releasing
            | Self::Joining
            | Self::LookingUp
            | Self::Syncing
            | Self::Installing
            | Self::Stable => Some(next),
            Self::Idle | Self::Leaving | Self::Failed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::a_subscription_begins(Phase::Idle, Happening::Subscribed, Some(Phase::Unjoined))]
    #[case::and_mends(Phase::Failed, Happening::Subscribed, Some(Phase::Unjoined))]
    #[case::changed_later(Phase::Stable, Happening::Subscribed, None)]
    #[case::gives_up_first(Phase::Stable, Happening::MustRelease, Some(Phase::Releasing))]
    #[case::then_joins(Phase::Releasing, Happening::Released, Some(Phase::Unjoined))]
    #[case::asks(Phase::Unjoined, Happening::Asked, Some(Phase::Joining))]
    #[case::follows(Phase::Joining, Happening::Followed, Some(Phase::Syncing))]
    #[case::leads(Phase::Joining, Happening::Led, Some(Phase::LookingUp))]
    #[case::knows(Phase::LookingUp, Happening::Known, Some(Phase::Syncing))]
    #[case::has_its_share(Phase::Syncing, Happening::MustInstall, Some(Phase::Installing))]
    #[case::takes_it_on(Phase::Installing, Happening::Settled, Some(Phase::Stable))]
    #[case::without_asking_for_it(Phase::Joining, Happening::Settled, Some(Phase::Stable))]
    #[case::again(Phase::Syncing, Happening::Again, Some(Phase::Unjoined))]
    #[case::lost(Phase::Stable, Happening::Lost, Some(Phase::Unjoined))]
    #[case::leaves(Phase::Stable, Happening::Left, Some(Phase::Leaving))]
    #[case::is_gone(Phase::Leaving, Happening::Gone, Some(Phase::Idle))]
    #[case::refused(Phase::Joining, Happening::Refused, Some(Phase::Failed))]
    #[case::refused_while_it_leaves(Phase::Leaving, Happening::Refused, None)]
    #[case::lost_before_it_began(Phase::Idle, Happening::Lost, None)]
    fn a_row(#[case] phase: Phase, #[case] happening: Happening, #[case] next: Option<Phase>) {
        assert_eq!(phase.next(happening), next);
    }
}
