//! Membership of a consumer group: who reads which partition, by the classic protocol and by the
//! next generation (KIP-848).
//!
//! A pure state machine, driven as the fetching is: `handle` each event, `poll` for effects until
//! there are none, come back at `next_wakeup`.
//!
//! 1. One question at a time. An answer to an older one is dropped.
//! 2. The reader takes steps (give up, lose, take on), one at a time, when it polls: between two
//!    polls its partitions don't change. What it gives up it gives up before the coordinator
//!    hears of it, so that two members never read one partition by rights.
//! 3. A member that isn't polled for `max.poll.interval.ms` leaves, and has lost what it had.
//! 4. Where the coordinator counts it out, its partitions are lost, not revoked: others may have
//!    them already.
//!
//! Reading order: `event`, `verdict`, `phase` (the transition table), `state`, then `classic` and
//! `next_generation`; beside them `subscription` (the bytes) and `assignor`.

mod assignor;
mod classic;
mod event;
mod next_generation;
mod phase;
mod state;
mod subscription;
mod verdict;

#[cfg(test)]
mod tests;

pub use assignor::{Assignments, Assignor, GroupMember, PartitionRacks, RebalanceProtocol};
pub use event::{
    AskId, GroupAnswer, GroupConfig, GroupEffect, GroupEvent, GroupProtocol, GroupQuestion,
    GroupTrouble, KnownTopic, KnownTopics, Step, StepId, Subscription,
};
pub use state::GroupState;
pub use subscription::{MemberAssignment, MemberSubscription, NO_GENERATION, StickyUserData};
pub use verdict::{GroupApi, GroupVerdict, judge_group};
