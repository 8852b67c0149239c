//! The group coordinator: groups with members, and the offsets that groups store, also in
//! transactions.
//!
//! 1. Hard state is what the log of `__consumer_offsets` says: only [`GroupCoordinator::replay`]
//!    and [`GroupCoordinator::replay_marker`] change it, after an append and at load alike.
//! 2. Soft state (who is joining, whose request is parked, what is due when) is not in the log: a
//!    restart loses it, and members find their way back by the answers they get.
//! 3. What is stored in a transaction is pending until the marker in the same partition of
//!    `__consumer_offsets` decides: visible after a commit, gone after an abort (KIP-98).
//! 4. Of two offsets for a partition the one later in the log counts, whenever its transaction was
//!    decided.
//! 5. A member that its group has moved on from (by generation, epoch or instance) stores nothing.

mod admin;
mod classic;
mod config;
mod consumer_protocol;
mod consumers;
mod coordinator;
mod desk;
mod expiry;
mod hard_state;
mod log_record;
mod migration;
mod next_gen;
mod offsets;
mod record;
mod room;
mod timers;

#[cfg(test)]
mod admin_tests;
#[cfg(test)]
mod classic_tests;
#[cfg(test)]
mod migration_tests;
#[cfg(test)]
mod next_gen_tests;
#[cfg(test)]
mod offsets_tests;
#[cfg(test)]
mod rig;

pub use admin::{DescribedGroup, DescribedMember, ListedGroup};
pub use classic::{
    GroupState, JoinReply, JoinRequest, JoinedMember, KeptGroup, KeptMember, LeavingMember,
    MemberOfGeneration, Protocol, SyncReply, SyncRequest,
};
pub use config::GroupConfig;
pub use coordinator::GroupCoordinator;
pub use desk::{ParkedAnswer, Token};
pub use log_record::GroupRecord;
pub use migration::MigrationPolicy;
pub use next_gen::{
    Assigned, ConsumerHeartbeat, ConsumerHeartbeatReply, ConsumerRecord, DescribedConsumerGroup,
    DescribedConsumerMember, HeartbeatRefusal, NoTopics, TopicsView,
};
pub use offsets::{
    CommitRequest, CommitWay, CommittedOffset, Committer, FetchedOffset, GroupOffsets,
    GroupOffsetsConfig, NewOffset, OffsetsDecision,
};
pub use record::{GroupRecordError, OffsetRecord};
