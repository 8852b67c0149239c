//! The coordinators' shell: performs what `broker-core` decides about transactions and groups.
//!
//! 1. A decision is made, appended to its internal topic and replayed under one lock; nothing waits
//!    for the disk there.
//! 2. The answer waits until the record is flushed, and so do the markers: they must never outlive
//!    the decision that they stand for.
//! 3. A transaction counts as complete once each of its markers is flushed. What a crash left
//!    undone is read from the log at start, and done again: a marker twice changes nothing.
//! 4. Internal topics are made at their first use, so that a broker without transactions and
//!    groups has none.

mod consumers;
mod groups;
mod internal_topic;
mod markers;
mod members;
mod offsets;
mod produce_gate;
mod transactions;

pub(crate) use groups::{Groups, keep_group_time};
pub(crate) use internal_topic::InternalTopicError;
pub(crate) use markers::{MarkerRefusal, write_marker};
pub(crate) use produce_gate::admit;
pub(crate) use transactions::{Transactions, keep_time};
