//! The group coordinator: so far the offsets that groups store, also in transactions.
//!
//! 1. `decide_*` gives records and a reply and changes nothing; only [`GroupOffsets::replay`] and
//!    [`GroupOffsets::replay_marker`] do, after an append and at load alike.
//! 2. What is stored in a transaction is pending until the marker in the same partition of
//!    `__consumer_offsets` decides: visible after a commit, gone after an abort (KIP-98).
//! 3. Of two offsets for a partition the one later in the log counts, whenever its transaction was
//!    decided.
//! 4. There are no members yet: who says that it is one is told that nobody knows it.

mod offsets;
mod record;

#[cfg(test)]
#[path = "offsets_tests.rs"]
mod offsets_tests;

pub use offsets::{
    CommitRequest, CommittedOffset, Committer, FetchedOffset, GroupOffsets, GroupOffsetsConfig,
    NewOffset, OffsetsDecision,
};
pub use record::{OffsetRecord, OffsetRecordError};
