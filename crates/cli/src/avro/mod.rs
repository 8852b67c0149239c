//! Avro (version 1.12 of its specification): schemas, and values as its binary encoding has them.
//!
//! Why not a crate: docs/decisions/0013.

pub mod columns;
pub mod decode;
pub mod derive;
pub mod encode;
pub mod from_json;
pub mod parse;
pub mod schema;

pub use columns::{Holds, RecordPlan, SourceColumn};
pub use schema::Schema;
