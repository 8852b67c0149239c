//! Membership of a consumer group: who reads which partition.

mod assignor;
mod subscription;

pub use assignor::{Assignments, Assignor, GroupMember, RebalanceProtocol};
pub use subscription::{MemberAssignment, MemberSubscription, NO_GENERATION, StickyUserData};
