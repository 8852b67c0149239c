//! The transaction coordinator: decides about transactional ids and keeps what was decided.
//!
//! 1. `decide_*` reads the state and gives at most one record and a reply; it changes nothing.
//! 2. The shell appends the record to `__transaction_state` and hands it to
//!    [`TransactionCoordinator::replay`], which alone changes the state; a load does the same, so a
//!    restart can't differ from a run.
//! 3. The reply, and the markers that [`TransactionCoordinator::poll_markers`] asks for, wait until
//!    the record is flushed: a marker must never outlive the decision that it stands for.
//! 4. A transaction is complete only when all of its markers are flushed
//!    ([`TransactionCoordinator::decide_markers_written`]). Until then nothing new begins under its
//!    transactional id, and a restart writes them again, which changes nothing where they stand.
//! 5. Time-outs go by the clock that does not jump; the wall clock only stamps records and tells
//!    a load how old they are.
//!
//! How one is driven, by the broker and by the simulator alike:
//!
//! ```text
//! decide_initialize | decide_add_partitions | decide_end | decide_markers_written | decide_due
//!   -> Decision { record, reply }     record: append to partition_of(id), then replay(record)
//! poll_markers() -> MarkerWrite       once the record is flushed: write a control batch to each
//!                                     partition, flush it, then decide_markers_written
//! next_wakeup()                       when decide_due has something to do
//! ```

mod coordinator;
mod decide;
mod record;
mod state;

#[cfg(test)]
#[path = "decide_tests.rs"]
mod decide_tests;

pub use coordinator::{MarkerWrite, TransactionConfig, TransactionCoordinator};
pub use decide::{Decision, EndTransaction, Initialize, TransactionRefusal, Verification};
pub use record::{TransactionRecord, TransactionRecordError};
pub use state::{ClientVersion, NotAllowed, Step, Transaction, TransactionState, transition};
