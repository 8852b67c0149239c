//! The producer and consumer as pure state machines: no I/O, no clock, no chance.

pub mod accumulator;
pub mod cluster;
pub mod consumer;
pub mod failure;
pub mod idempotence;
pub mod map;
pub mod partitioner;
#[cfg(feature = "planted-bugs")]
pub mod planted_bugs;
pub mod sender;
pub mod serializer;
pub mod stage;
mod sync;
pub mod telemetry;
pub mod transaction;
pub mod window;

#[cfg(test)]
mod test_clock;
