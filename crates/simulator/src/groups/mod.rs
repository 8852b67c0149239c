//! Groups with everything that goes wrong: the real coordinator under members that come, fall
//! silent, come back and leave; answers that are lost, appends that fail, restarts.
//!
//! Four members by the classic protocol and four by the next generation, each in a group of its
//! kind, and four in a group that turns from one to the other and back under them. What is held
//! against the truth after each step:
//!
//! 1. A coordinator that replays the log has the very hard state of the one that wrote it.
//! 2. No partition is consumed by two members of the group's generation, or by two members that are
//!    each in their own epoch, of whatever protocol each is.
//! 3. Who stores an offset is of its group, and in its generation or epoch.
//! 4. A parked request is answered once, or not at all if a restart came before.

mod classic;
mod moving;
mod next_generation;
mod world;

use std::fmt;

use crate::plan::Planted;

/// What a run of groups has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupReport {
    /// Its seed.
    pub seed: u64,
    /// What was found that must not be.
    pub violations: Vec<String>,
    /// Hard states compared with those of a replayed log.
    pub compared: u64,
    /// Assignments that members took.
    pub assignments: u64,
    /// Offsets that were stored.
    pub commits: u64,
    /// Offsets of members that their group had moved on from: refused.
    pub zombies: u64,
    /// How often a group turned to the other protocol with members in it.
    pub turns: u64,
    /// How many of these were back to the classic one.
    pub turns_back: u64,
    /// How many of these as a static member took the place of the last of the next generation.
    pub turned_by_static: u64,
    /// Appends that failed.
    pub failures: u64,
    /// Restarts of the coordinator.
    pub restarts: u64,
}

impl GroupReport {
    /// Whether everything was as it must be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.compared += other.compared;
        self.assignments += other.assignments;
        self.commits += other.commits;
        self.zombies += other.zombies;
        self.turns += other.turns;
        self.turns_back += other.turns_back;
        self.turned_by_static += other.turned_by_static;
        self.failures += other.failures;
        self.restarts += other.restarts;
    }
}

impl fmt::Display for GroupReport {
    /// One line if all is well, else one more for each thing that is wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {}, {} states compared, {} assignments, {} commits, {} of zombies refused, \
             {} turns, {} failed appends, {} restarts",
            self.seed,
            if self.is_good() { "good" } else { "BAD" },
            self.compared,
            self.assignments,
            self.commits,
            self.zombies,
            self.turns,
            self.failures,
            self.restarts
        )?;
        self.violations.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

/// Runs a seed, with a bug planted or without.
#[must_use]
pub fn run_groups(seed: u64, planted: Option<Planted>) -> GroupReport {
    world::World::new(seed, planted).run()
}
