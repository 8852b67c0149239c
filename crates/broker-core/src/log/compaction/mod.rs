//! Compaction: of each key the latest record stays, and with it what readers and restarts need.
//!
//! 1. Only closed segments below the last stable offset that are on disk are touched, and of them
//!    only batches whose keys are in the map: what lies behind stays byte for byte.
//! 2. A record stays if no later one of its key is in the map. A deletion stays until its delete
//!    horizon has passed (KIP-534); a record without a key has nothing to be the latest of.
//! 3. Records of aborted transactions go, and supersede nothing. A marker stays while anything of
//!    its transaction is left, and for its delete horizon after that.
//! 4. The last batch of each producer that is still known stays, without records if need be: from
//!    it a restart knows the sequence.
//! 5. Every batch keeps its base and last offset; every segment ends where it ended.
//! 6. Segments change hands file by file, in an order that a crash may stop anywhere.
//!
//! Reading order: `plan` (what is due), `key_map`, `cleaner` (what stays of a batch), `pass` (the
//! walk over the segments), `swap` (the files), `standing` (what is known from one to the next).

mod cleaner;
mod key_map;
mod pass;
mod plan;
mod standing;
mod swap;

pub use cleaner::CompactionProblem;
pub use key_map::KeyMap;
pub use pass::{CompactionEffect, CompactionPass, Replacement};
pub use plan::{CompactionPlan, LastOfProducer, may_need_compaction};
pub use standing::{CompactionStanding, CorruptStanding};
pub use swap::{CLEANED_SUFFIX, FileStep, SWAP_SUFFIX, recovery_steps};

#[cfg(test)]
mod tests;
