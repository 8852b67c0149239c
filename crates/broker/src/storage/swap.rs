//! Performs the steps by which a compacted segment takes its place, and finishes at a start what a
//! crash came into.

use std::fs;
use std::io::{self, IoSlice};
use std::sync::Arc;

use streamledger_broker_core::log::{
    CLEANED_SUFFIX, FileKind, FileStep, Replacement, SWAP_SUFFIX, ScanDepth, SegmentScan,
    recovery_steps,
};
use streamledger_protocol::{Offset, TimestampMs};

use super::directory::{PartitionDirectory, SegmentFile};

/// How much of an interrupted swap's file is read at once.
const PIECE_BYTES: usize = 1 << 20;

impl PartitionDirectory {
    /// Does what must be done before the directory is looked at: finishes a swap that was decided,
    /// removes what is left of one that was not.
    pub(super) fn finish_swaps(&self) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        let is_left = |name: &String| name.ends_with(SWAP_SUFFIX) || name.ends_with(CLEANED_SUFFIX);
        if !names.iter().any(is_left) {
            return Ok(());
        }
        let steps = recovery_steps(&names, |name| self.end_of_swap(name))?;
        tracing::info!(path = %self.path.display(), "ending an interrupted compaction");
        self.perform(&steps)
    }

    /// The offset after the last record of a segment that is about to take its place.
    fn end_of_swap(&self, name: &str) -> io::Result<Offset> {
        let of_segment = name.strip_suffix(SWAP_SUFFIX).and_then(FileKind::parse);
        let (_, base_offset) = of_segment.ok_or(io::ErrorKind::InvalidData)?;
        let file = self.disk.open(&self.path.join(name))?;
        let bytes = file.metadata()?.len();
        let depth = ScanDepth::Checksum;
        let mut scan = SegmentScan::new(base_offset, bytes, TimestampMs::NONE, depth, u32::MAX);
        let (mut buffer, mut wanted) = (Vec::new(), PIECE_BYTES);
        while !scan.is_done() {
            let left = usize::try_from(bytes - scan.position()).unwrap_or(usize::MAX);
            let piece_bytes = wanted.max(PIECE_BYTES).min(left);
            self.disk.read_at(&file, scan.position(), piece_bytes, &mut buffer)?;
            let fed = scan.feed(&buffer, |_| {});
            if fed.consumed == 0 && fed.wanted <= buffer.len() {
                break;
            }
            wanted = fed.wanted;
        }
        match scan.finish() {
            (segment, None) => Ok(segment.next_offset()),
            (_, Some(bad)) => {
                let text = format!("{name} is damaged at byte {}: {}", bad.position, bad.reason);
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
        }
    }

    /// Writes the index files of a compacted segment, under their names while it is compacted.
    pub(super) fn write_cleaned_indexes(&self, replacement: &Replacement) -> io::Result<()> {
        let files = &replacement.index_files;
        let contents = [
            (FileKind::OffsetIndex, &files.offsets),
            (FileKind::TimeIndex, &files.times),
            (FileKind::TransactionIndex, &files.transactions),
        ];
        for (kind, content) in contents {
            let name = kind.file_name(replacement.base_offset());
            let file = self.disk.create(&self.path.join(format!("{name}{CLEANED_SUFFIX}")))?;
            self.disk.write_at(&file, 0, &mut [IoSlice::new(content)])?;
        }
        Ok(())
    }

    /// The file of a compacted segment, before it has its name.
    pub(super) fn open_swap(&self, base_offset: Offset) -> io::Result<Arc<SegmentFile>> {
        let name = format!("{}{SWAP_SUFFIX}", FileKind::Log.file_name(base_offset));
        let file = self.disk.open(&self.path.join(name))?;
        Ok(Arc::new(SegmentFile { base_offset, file }))
    }

    /// Does the steps, one after the other.
    pub(super) fn perform(&self, steps: &[FileStep]) -> io::Result<()> {
        for step in steps {
            match step {
                FileStep::Sync(name) => {
                    self.disk.sync_file(&fs::File::open(self.path.join(name))?)?;
                }
                FileStep::Rename { from, to } => {
                    fs::rename(self.path.join(from), self.path.join(to))?;
                }
                FileStep::Remove(name) => match fs::remove_file(self.path.join(name)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                },
                FileStep::SyncDirectory => self.disk.sync_directory(&self.path)?,
            }
        }
        Ok(())
    }
}
