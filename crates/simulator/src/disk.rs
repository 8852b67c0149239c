//! One partition's files on a faked disk, which tells what was written from what is safe.
//!
//! 1. A write reaches the page cache at once. Only a flush makes it safe.
//! 2. A killed process loses nothing that it wrote, except the end of a write it was at.
//! 3. A power cut leaves, of each file, what is safe and any stretch of the rest; behind that may
//!    be garbage. What two files lose has nothing to do with each other.
//! 4. Whole small files (indexes, snapshots) that were not flushed may be gone, old or garbage.
//! 5. A flush that a power cut comes into has done any number of its steps, in their order.

use std::collections::BTreeMap;

use streamledger_protocol::Offset;

use crate::random::Dice;

/// How a broker goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashKind {
    /// The process is killed; the system lives on.
    Kill,
    /// The machine loses power.
    PowerCut,
}

/// A segment's file.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogFile {
    pub(crate) bytes: Vec<u8>,
    /// How much of it survives a power cut for sure.
    pub(crate) safe_bytes: usize,
    /// Where the last write began.
    last_write_at: usize,
}

/// The index files of a closed segment: offsets, times.
#[derive(Debug, Clone, Default)]
pub(crate) struct IndexPair {
    pub(crate) offsets: Vec<u8>,
    pub(crate) times: Vec<u8>,
}

/// The files of one partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartitionFiles {
    pub(crate) segments: BTreeMap<Offset, LogFile>,
    pub(crate) snapshots: BTreeMap<Offset, Vec<u8>>,
    /// The snapshots that survive a power cut for sure.
    pub(crate) safe_snapshots: BTreeMap<Offset, Vec<u8>>,
    pub(crate) indexes: BTreeMap<Offset, IndexPair>,
    /// The transaction indexes of closed segments: nothing in them tells whether they are right,
    /// so a flush writes them before the snapshot that says that all below is on disk.
    pub(crate) transaction_indexes: BTreeMap<Offset, Vec<u8>>,
}

/// What a flush makes safe, step by step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FlushStep {
    /// That many bytes of a segment.
    Segment(Offset, usize),
    /// The transaction index of a segment, which is written now.
    TransactionIndex(Offset, Vec<u8>),
    /// The producer snapshot of an offset, which is written now.
    Snapshot(Offset, Vec<u8>),
}

impl PartitionFiles {
    /// Whether a segment has bytes that are not safe.
    pub(crate) fn unsafe_bytes(&self, base_offset: Offset) -> Option<FlushStep> {
        let file = self.segments.get(&base_offset)?;
        let bytes = file.bytes.len();
        (file.safe_bytes < bytes).then_some(FlushStep::Segment(base_offset, bytes))
    }

    /// That step of a flush is done.
    pub(crate) fn make_safe(&mut self, step: FlushStep) {
        match step {
            FlushStep::Segment(base_offset, bytes) => {
                if let Some(file) = self.segments.get_mut(&base_offset) {
                    file.safe_bytes = file.safe_bytes.max(bytes.min(file.bytes.len()));
                }
            }
            FlushStep::TransactionIndex(base_offset, content) => {
                self.transaction_indexes.insert(base_offset, content);
            }
            FlushStep::Snapshot(offset, content) => {
                self.snapshots.insert(offset, content.clone());
                self.safe_snapshots.insert(offset, content);
            }
        }
    }

    /// Loses what a crash of that kind takes. Says how many bytes went.
    pub(crate) fn crash(&mut self, kind: CrashKind, dice: &mut Dice) -> usize {
        let bytes_before: usize = self.segments.values().map(|file| file.bytes.len()).sum();
        let last = self.segments.keys().next_back().copied();
        for (base_offset, file) in &mut self.segments {
            match kind {
                CrashKind::PowerCut => file.lose_power(dice),
                CrashKind::Kill if Some(*base_offset) == last => file.lose_write_in_progress(dice),
                CrashKind::Kill => {}
            }
        }
        if kind == CrashKind::PowerCut {
            self.snapshots.retain(|_, content| keep_small_file(content, dice));
            self.snapshots.append(&mut self.safe_snapshots.clone());
            self.indexes.retain(|_, pair| {
                keep_small_file(&mut pair.offsets, dice) && keep_small_file(&mut pair.times, dice)
            });
        }
        let bytes_after: usize = self.segments.values().map(|file| file.bytes.len()).sum();
        bytes_before.saturating_sub(bytes_after)
    }
}

impl LogFile {
    /// Writes at the end, as far as the disk has room; false if it hasn't.
    pub(crate) fn write(&mut self, bytes: &[u8], free_bytes: usize) -> bool {
        self.last_write_at = self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(free_bytes)]);
        bytes.len() <= free_bytes
    }

    /// Cuts the file, as a log does that takes back a failed write or a torn tail.
    pub(crate) fn truncate(&mut self, bytes: usize) {
        self.bytes.truncate(bytes);
        self.safe_bytes = self.safe_bytes.min(bytes);
        self.last_write_at = self.bytes.len();
    }

    /// A stretch of it.
    pub(crate) fn stretch(&self, position: u64, bytes: usize) -> Result<&[u8], String> {
        let begin = usize::try_from(position).unwrap_or(usize::MAX);
        let stretch = self.bytes.get(begin..begin.saturating_add(bytes));
        stretch.ok_or_else(|| "the file is shorter than its log".to_owned())
    }

    fn lose_power(&mut self, dice: &mut Dice) {
        let unsafe_bytes = self.bytes.len() - self.safe_bytes;
        if unsafe_bytes == 0 {
            return;
        }
        let written = self.bytes.len();
        let kept = match dice.below(4) {
            0 => self.safe_bytes,
            1 => written,
            _ => self.safe_bytes + dice.place(unsafe_bytes + 1),
        };
        self.bytes.truncate(kept);
        // The file's length may be on disk before its content is.
        if dice.chance(300) {
            let filler = dice.pick(&[0, 0, 0xff, 0x5a]);
            let length = kept + dice.place(written - kept + 1);
            self.bytes.resize(length, filler);
        }
        self.safe_bytes = self.bytes.len();
    }

    /// A write that the kill came into the middle of.
    fn lose_write_in_progress(&mut self, dice: &mut Dice) {
        let start = self.last_write_at.max(self.safe_bytes);
        if start < self.bytes.len() && dice.chance(300) {
            let kept = start + dice.place(self.bytes.len() - start);
            self.bytes.truncate(kept);
        }
    }
}

/// Whether a small file that was never flushed survives; if so, perhaps damaged.
fn keep_small_file(content: &mut [u8], dice: &mut Dice) -> bool {
    if dice.chance(150) {
        return false;
    }
    if dice.chance(150) && !content.is_empty() {
        let at = dice.place(content.len());
        content[at] ^= 0x41;
    }
    true
}
