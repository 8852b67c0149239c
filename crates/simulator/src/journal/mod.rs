//! The flush journal with power cuts in it: the real placing of frames and the real choice of
//! what is written back, over files of which a power cut keeps any page that was not flushed, or
//! loses it.
//!
//! A few logs are appended to, rolled, compacted and shortened while their appends are made safe
//! through the journal or in their segments. What is held against the truth after each power cut:
//!
//! 1. What was acknowledged is in the segments, byte for byte.
//! 2. A closed segment is as its last compaction left it.
//!
//! Reading order: `file`, `world`.

mod file;
mod world;

use std::fmt;

use crate::plan::Planted;

/// What a run of the flush journal has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalReport {
    /// Its seed.
    pub seed: u64,
    /// What was found that must not be.
    pub violations: Vec<String>,
    /// Bytes appended.
    pub appended: u64,
    /// Bytes acknowledged because a frame was flushed.
    pub journaled: u64,
    /// Bytes acknowledged because a segment was flushed.
    pub flushed: u64,
    /// Turns of the journal.
    pub turns: u64,
    /// Compactions of closed segments.
    pub compactions: u64,
    /// Power cuts.
    pub crashes: u64,
    /// Frames that were written back and found their bytes missing.
    pub mended: u64,
}

impl JournalReport {
    /// Whether everything was as it must be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.appended += other.appended;
        self.journaled += other.journaled;
        self.flushed += other.flushed;
        self.turns += other.turns;
        self.compactions += other.compactions;
        self.crashes += other.crashes;
        self.mended += other.mended;
    }
}

impl fmt::Display for JournalReport {
    /// One line if all is well, else one more for each thing that is wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {}, {} bytes appended, {} safe by the journal, {} in segments, {} turns, {} \
             compactions, {} power cuts, {} frames mended",
            self.seed,
            if self.is_good() { "good" } else { "BAD" },
            self.appended,
            self.journaled,
            self.flushed,
            self.turns,
            self.compactions,
            self.crashes,
            self.mended
        )?;
        self.violations.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

/// Runs a seed, with a bug planted or without.
#[must_use]
pub fn run_journal(seed: u64, planted: Option<Planted>) -> JournalReport {
    world::run(seed, planted)
}
