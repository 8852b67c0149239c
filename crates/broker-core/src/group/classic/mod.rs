//! Groups by the classic protocol: the members' clients assign, the coordinator keeps them apart
//! by generations (Kafka's `ClassicGroup` and `GroupMetadataManager`).
//!
//! 1. Soft state (who is joining, who waits, whose time runs) changes at once and is lost at a
//!    restart, as its clients expect. Hard state (a generation with its members and assignments,
//!    or an empty group) changes in `replay` only.
//! 2. What can't be appended never was: the group goes back to what the log says, and everybody who
//!    waits is told to ask again.
//! 3. A group is moved from state to state by one table (`state.rs`).
//! 4. An assignment is told when the record that holds it is in the log, not before.
//! 5. Whose request is parked needs no heartbeat; a member that never knew its id has five minutes.

mod commit;
mod group;
mod heartbeat;
mod join;
mod leave;
mod member;
mod rebalance;
pub(super) mod record;
mod replay;
mod request;
mod state;
mod sync;

pub(super) use group::ClassicGroup;
pub use record::{KeptGroup, KeptMember};
pub use request::{
    JoinReply, JoinRequest, JoinedMember, LeavingMember, MemberOfGeneration, Protocol, SyncReply,
    SyncRequest,
};
pub use state::GroupState;
