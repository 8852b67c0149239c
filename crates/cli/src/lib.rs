//! The `streamledger` command: files become Kafka streams, in plain sight.

pub mod clicks;
pub mod exit;
pub mod failure;
pub mod input;
pub mod nearest;
pub mod render;
pub mod schema;
pub mod time;
