//! The states of client telemetry, and the one table that says which follows which.

/// Where the telemetry of a client stands (Kafka's `ClientTelemetryState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TelemetryState {
    /// It isn't known what the cluster wants, or that may have changed.
    SubscriptionNeeded,
    /// The cluster was asked what it wants.
    SubscriptionAsked,
    /// Metrics will be pushed when they are due.
    PushNeeded,
    /// Metrics were pushed, and the answer isn't there yet.
    Pushing,
    /// The client ends: metrics will be pushed once more.
    LastPushNeeded,
    /// They were.
    LastPushing,
    /// Nothing will be asked or pushed any more.
    Ended,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TelemetryStep {
    /// What the state waits to do is done now.
    Due,
    /// The cluster wants metrics.
    Subscribed,
    /// The cluster wants none, for now.
    NothingWanted,
    /// A push has its answer, and what is wanted stays the same.
    Pushed,
    /// What is wanted has to be asked for again.
    AskAgain,
    /// No answer will ever be better.
    GaveUp,
    /// The client ends.
    Closing,
}

impl TelemetryState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::SubscriptionNeeded,
        Self::SubscriptionAsked,
        Self::PushNeeded,
        Self::Pushing,
        Self::LastPushNeeded,
        Self::LastPushing,
        Self::Ended,
    ];

    /// The transition table.
    #[must_use]
    pub const fn next(self, step: TelemetryStep) -> Self {
        use TelemetryStep as Step;
        match (self, step) {
            (Self::SubscriptionNeeded, Step::Due) => Self::SubscriptionAsked,
            (Self::PushNeeded, Step::Due) => Self::Pushing,
            (Self::LastPushNeeded, Step::Due) => Self::LastPushing,

            (Self::SubscriptionAsked, Step::Subscribed) => Self::PushNeeded,
            (Self::SubscriptionAsked, Step::NothingWanted | Step::AskAgain) => {
                Self::SubscriptionNeeded
            }

            (Self::Pushing, Step::Pushed) => Self::PushNeeded,
            (Self::Pushing, Step::AskAgain) => Self::SubscriptionNeeded,
            // Whatever came of the last one, it was the last.
            (Self::LastPushing, Step::Pushed | Step::AskAgain) => Self::Ended,

            // Nobody has said what to push.
            (Self::SubscriptionNeeded | Self::SubscriptionAsked, Step::Closing) => Self::Ended,
            // Also while the answer to the push before is awaited: the last one says more.
            (Self::PushNeeded | Self::Pushing, Step::Closing) => Self::LastPushNeeded,

            (
                Self::SubscriptionNeeded
                | Self::SubscriptionAsked
                | Self::PushNeeded
                | Self::Pushing
                | Self::LastPushNeeded
                | Self::LastPushing
                | Self::Ended,
                Step::GaveUp,
            ) => Self::Ended,

            // News that come late, or are none.
            (
                Self::SubscriptionNeeded | Self::PushNeeded | Self::LastPushNeeded,
                Step::Subscribed | Step::NothingWanted | Step::Pushed | Step::AskAgain,
            )
            | (Self::SubscriptionAsked, Step::Due | Step::Pushed)
            | (Self::Pushing, Step::Due | Step::Subscribed | Step::NothingWanted)
            | (Self::LastPushNeeded, Step::Closing)
            | (
                Self::LastPushing,
                Step::Due | Step::Subscribed | Step::NothingWanted | Step::Closing,
            )
            | (
                Self::Ended,
                Step::Due
                | Step::Subscribed
                | Step::NothingWanted
                | Step::Pushed
                | Step::AskAgain
                | Step::Closing,
            ) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TelemetryState::{
        Ended, LastPushNeeded, LastPushing, PushNeeded, Pushing, SubscriptionAsked,
        SubscriptionNeeded,
    };
    use super::TelemetryStep::{AskAgain, Closing, Due, GaveUp, NothingWanted, Pushed, Subscribed};
    use super::*;
    use rstest::rstest;

    const STEPS: [TelemetryStep; 7] =
        [Due, Subscribed, NothingWanted, Pushed, AskAgain, GaveUp, Closing];

    /// The rows that change the state; no other pair does.
    const MOVES: [(TelemetryState, TelemetryStep, TelemetryState); 20] = [
        (SubscriptionNeeded, Due, SubscriptionAsked),
        (PushNeeded, Due, Pushing),
        (LastPushNeeded, Due, LastPushing),
        (SubscriptionAsked, Subscribed, PushNeeded),
        (SubscriptionAsked, NothingWanted, SubscriptionNeeded),
        (SubscriptionAsked, AskAgain, SubscriptionNeeded),
        (Pushing, Pushed, PushNeeded),
        (Pushing, AskAgain, SubscriptionNeeded),
        (LastPushing, Pushed, Ended),
        (LastPushing, AskAgain, Ended),
        (SubscriptionNeeded, Closing, Ended),
        (SubscriptionAsked, Closing, Ended),
        (PushNeeded, Closing, LastPushNeeded),
        (Pushing, Closing, LastPushNeeded),
        (SubscriptionNeeded, GaveUp, Ended),
        (SubscriptionAsked, GaveUp, Ended),
        (PushNeeded, GaveUp, Ended),
        (Pushing, GaveUp, Ended),
        (LastPushNeeded, GaveUp, Ended),
        (LastPushing, GaveUp, Ended),
    ];

    #[rstest]
    fn each_row_leads_where_it_says_and_no_other_pair_leads_anywhere(
        #[values(0, 1, 2, 3, 4, 5, 6)] state: usize,
        #[values(0, 1, 2, 3, 4, 5, 6)] step: usize,
    ) {
        let (state, step) = (TelemetryState::ALL[state], STEPS[step]);
        let row = MOVES.iter().find(|(from, by, _)| *from == state && *by == step);
        let expected = row.map_or(state, |(.., to)| *to);
        assert_eq!(state.next(step), expected, "{state:?} {step:?}");
    }
}
