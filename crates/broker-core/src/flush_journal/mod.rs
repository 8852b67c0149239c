//! One file for the appends of all partitions, so that one fdatasync makes all of them safe.
//!
//! An append is in its segment's page cache and nowhere else. To flush that file is a commit of the
//! file system's own journal, for it has grown, and each partition has another. So its bytes are
//! written once more, into a journal that is written over and does not grow; the segments are
//! flushed later, many appends at a time. After a crash the journal is written back into them.
//!
//! 1. The journal has two halves, and is written in turns: one half, then the other. A turn begins
//!    once the segments whose bytes the half holds are on disk themselves (a checkpoint). Until
//!    then there is no room, and who wants to flush flushes the segment.
//! 2. Only bytes of a segment that nobody but appends has written are ever in a frame that counts:
//!    before a closed segment may be compacted, a frame of a later one of the same log is on disk
//!    (`needs_floor`), and of a log only the frames of the latest segment count.
//! 3. A half is read from its beginning while the frames are of one turn, numbered without a gap
//!    and whole: what a power cut has torn, and what is left of an older turn, ends it. Of the
//!    older half all frames count, or none: with some written over, it was checkpointed.
//! 4. To write a frame back a second time changes nothing.

mod frame;
mod replay;
mod ring;

#[cfg(test)]
mod tests;

pub use frame::{FRAME_HEADER_BYTES, FrameHeader, PartitionKey, Place};
pub use replay::{HalfScan, LatestSegments, halves_that_count};
pub use ring::{Checkpoint, Placement, Ring};

/// The halves of a journal.
pub const HALVES: usize = 2;

/// The most bytes of a segment that a frame takes: more than that is flushed as quickly where it
/// is.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 10;
