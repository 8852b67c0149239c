//! The real cores under a faked clock, network and disk: one seed, one run.
//!
//! What is real: the producer's accumulator, sender, idempotence and transactions, the consumer's
//! reader (`client-core`), the partition log with its recovery and producer state, the transaction
//! coordinator and the group coordinator (`broker-core`), record batches and codecs (`protocol`).
//! What is faked:
//! time, connections, disks, the controller, and the shells between.
//!
//! 1. All chance comes from the seed, and no map is iterated in an order of its own: the same seed
//!    does the same, down to the last line of the trace.
//! 2. A run keeps every [`Promise`], whatever goes wrong. What it compared is counted, and a run
//!    that compared nothing has failed.
//! 3. The checks are themselves checked: each bug of [`Planted`] must be found.
//!
//! ```
//! use streamledger_simulator::{RunPlan, World};
//!
//! let report = World::new(RunPlan::from_seed(7)).finish();
//! assert!(report.is_good(), "{report}");
//! ```

mod checks;
mod client;
mod clock;
mod cluster;
mod compaction;
mod disk;
mod faults;
mod finish;
mod groups;
mod journal;
mod network;
mod oracle;
mod partition;
mod plan;
mod producing;
mod queue;
mod random;
mod records;
mod report;
mod serving;
mod trace;
mod transactions;
mod world;

pub use clock::SimTime;
pub use compaction::{CompactionReport, run_compaction};
pub use disk::CrashKind;
pub use groups::{GroupReport, run_groups};
pub use journal::{JournalReport, run_journal};
pub use plan::{
    DiskPlan, FaultPlan, NetworkPlan, Planted, ProcessingPlan, ProducerPlan, RunPlan,
    TransactionPlan, UnknownBug,
};
pub use report::{Counters, Promise, Report, Violation};
pub use world::World;

/// Runs a plan to its end.
#[must_use]
pub fn run(plan: RunPlan) -> Report {
    World::new(plan).finish()
}
