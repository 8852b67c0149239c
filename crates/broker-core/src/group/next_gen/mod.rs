//! Groups by the next-generation protocol (KIP-848): the coordinator assigns, each member is led
//! from what it has to what it shall have (Kafka's `ConsumerGroup`).
//!
//! 1. All but timers is hard state: a decision works on a copy of the group, changed by the very
//!    records that it makes, and only `replay` changes the group itself.
//! 2. The group's epoch rises with every change of members, subscriptions or topics; the target
//!    assignment follows it; each member's epoch follows the target.
//! 3. Revoke before assign: a partition goes to a member only when no other one has it or is still
//!    to give it up. So no partition is ever two members'.
//! 4. A member gives partitions up by reporting that it owns them no more; its epoch stays until
//!    then, and it is out if that takes longer than its rebalance time-out.
//! 5. Whoever speaks by another epoch than its own is fenced, but for the one before when the
//!    answer with the new one may have been lost.

mod assign;
mod classic_member;
mod describe;
mod group;
mod heartbeat;
mod reconcile;
mod record;
mod request;

pub(super) use classic_member::CONSUMERS;
pub use describe::{DescribedConsumerGroup, DescribedConsumerMember};
pub(super) use group::ConsumerGroup;
pub(super) use heartbeat::{Draft, check};
pub use record::ConsumerRecord;
pub(super) use record::{FIRST_KEY_VERSION, LAST_KEY_VERSION, REGEX_KEY_VERSION};
pub use request::{
    Assigned, ConsumerHeartbeat, ConsumerHeartbeatReply, HeartbeatRefusal, NoTopics, TopicsView,
};
