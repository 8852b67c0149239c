//! The broker's decisions as pure state machines: log, replica, groups, transactions, controller.
//!
//! 1. Nothing here does I/O, reads a clock or rolls dice: time and bytes come in as arguments,
//!    what is to be done goes out as values that the shell performs.
//! 2. Nothing becomes visible before the shell says that it was done.
//! 3. A restart replays what a run applied, through the same functions.

pub mod authorizer;
pub mod config;
pub mod controller;
pub mod flush_journal;
pub mod group;
pub mod key_partition;
pub mod log;
pub mod map;
pub mod planted_bugs;
pub mod quota;
pub mod time;
pub mod transaction;
