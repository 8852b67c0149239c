//! The consumer's fetching: where each partition is, what to ask of which broker, what came of it.
//!
//! A pure state machine, driven as the sender is: `handle` each event, `poll` for effects until
//! there are none, come back at `next_wakeup`. What it delivers is read lazily by
//! [`PartitionReader`], on the thread of whoever wants the records.
//!
//! 1. A broker has one fetch at a time, of all its partitions; none while one of them has no room
//!    for more, so that a busy partition isn't held up by the long poll of idle ones.
//! 2. Every position is from one generation, that of the last assignment or seek; what belongs to
//!    an older one is dropped.
//! 3. Records come in order and once: those before the position, control records, and with
//!    read-committed those of aborted transactions are passed over, and the position goes on.
//! 4. Nothing is skipped in silence: what can't be read stops its partition and is told, until a
//!    seek.
//!
//! Reading order: `event`, `verdict`, `partition` (its transition table), `fetch_state`, `plan`,
//! `answer`; then `reader`. Groups are a module beside these: they decide what is assigned, and
//! nothing below changes with that.

mod answer;
pub mod by_key;
mod event;
mod fetch_state;
pub mod group;
mod partition;
mod plan;
mod position;
mod reader;
mod verdict;

#[cfg(test)]
mod reader_tests;
#[cfg(test)]
mod tests;

pub use event::{
    Effect, Event, Fetched, FoundOffset, Generation, PartitionToFetch, PartitionToFind, RequestId,
    Trouble,
};
pub use fetch_state::FetchState;
pub use position::{FetchConfig, Lookup, OffsetReset, Position};
pub use reader::{BatchOfRecords, PartitionReader, ReadFault, Unreadable};
pub use verdict::{FetchVerdict, judge};
