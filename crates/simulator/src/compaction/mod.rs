//! Compaction with crashes in it: the real log, the real compaction and its swaps, over a faked
//! directory that a power cut may leave in any state it has a right to.
//!
//! One partition, producers with and without transactions, a compaction that goes on step by step
//! between their appends, readers that pause, and crashes at any step of any of it. What is held
//! against the truth after each of them:
//!
//! 1. The log opens, and ends where what was flushed ended, or later.
//! 2. A read-committed reader that begins anew has the latest value of each key, and nothing that
//!    was aborted. One that was on its way has the same when it arrives.
//! 3. Each record that is left is the one that was written at its offset.
//! 4. No transaction hangs, and each producer's sequence goes on where it was.
//!
//! Reading order: `directory`, `truth`, `partition`, `world`.

mod directory;
mod partition;
mod truth;
mod world;

use std::fmt;

use crate::plan::Planted;

/// What a run of compactions has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactionReport {
    /// Its seed.
    pub seed: u64,
    /// What was found that must not be.
    pub violations: Vec<String>,
    /// Records appended.
    pub appended: u64,
    /// Records that readers read and that were held against what was written.
    pub compared: u64,
    /// Final states of readers that were held against the truth.
    pub views_compared: u64,
    /// Compactions that came to their end.
    pub compactions: u64,
    /// Segments that compaction replaced.
    pub replaced: u64,
    /// Crashes.
    pub crashes: u64,
    /// Crashes within the steps of a swap.
    pub crashes_in_swaps: u64,
    /// Crashes within a start that ends a swap.
    pub crashes_in_starts: u64,
    /// Transactions that ended.
    pub transactions: u64,
}

impl CompactionReport {
    /// Whether everything was as it must be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.appended += other.appended;
        self.compared += other.compared;
        self.views_compared += other.views_compared;
        self.compactions += other.compactions;
        self.replaced += other.replaced;
        self.crashes += other.crashes;
        self.crashes_in_swaps += other.crashes_in_swaps;
        self.crashes_in_starts += other.crashes_in_starts;
        self.transactions += other.transactions;
    }
}

impl fmt::Display for CompactionReport {
    /// One line if all is well, else one more for each thing that is wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {}, {} records appended, {} compared, {} views, {} compactions, {} segments \
             replaced, {} crashes ({} in swaps, {} in starts), {} transactions",
            self.seed,
            if self.is_good() { "good" } else { "BAD" },
            self.appended,
            self.compared,
            self.views_compared,
            self.compactions,
            self.replaced,
            self.crashes,
            self.crashes_in_swaps,
            self.crashes_in_starts,
            self.transactions
        )?;
        self.violations.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

/// Runs a seed, with a bug planted or without.
#[must_use]
pub fn run_compaction(seed: u64, planted: Option<Planted>) -> CompactionReport {
    world::run(seed, planted)
}
