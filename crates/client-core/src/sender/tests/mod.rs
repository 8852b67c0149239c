//! The sender, driven by events: what is sent when, and FAILURES.md by number.

mod cluster;
mod failures;
mod failures_from_14;
mod rig;
mod sending;
mod spreading;
mod stage;
mod transactions;
mod transactions_fail;
