//! One partition's directory: its files by name, written and read as wholes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use streamledger_broker_core::flush_journal::PartitionKey;
use streamledger_broker_core::log::AbortedTransaction;
use streamledger_broker_core::log::{
    FileKind, IndexFiles, LEADER_EPOCH_CHECKPOINT, LeaderEpochCache, LogSegment,
    PARTITION_METADATA, SegmentIndexes, TEMPORARY_SUFFIX, decode_transaction_index,
    parse_directory_name,
};
use streamledger_protocol::{Offset, PartitionIndex, TimestampMs, TopicId};

use super::disk::{Disk, Durability, new_directory};

/// A segment's log file, open. Whoever holds it reads on even when the segment is deleted.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pub(super) base_offset: Offset,
    pub(super) file: File,
}

/// A `.log` file that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FoundSegment {
    pub(super) base_offset: Offset,
    pub(super) file_bytes: u64,
    pub(super) modified: TimestampMs,
}

/// What a partition's directory holds.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// By base offset.
    pub(super) segments: Vec<FoundSegment>,
    /// By offset.
    pub(super) snapshots: Vec<Offset>,
}

/// One partition's directory.
#[derive(Debug, Clone)]
pub(super) struct PartitionDirectory {
    pub(super) path: PathBuf,
    pub(super) disk: Disk,
}

impl PartitionDirectory {
    pub(super) fn file_path(&self, kind: FileKind, offset: Offset) -> PathBuf {
        self.path.join(kind.file_name(offset))
    }

    /// Makes the directory with its topic id; what an interrupted creation left is used again.
    pub(super) fn create(&self, topic_id: TopicId) -> io::Result<()> {
        match new_directory().create(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.write_topic_id(topic_id, Durability::Atomic)
    }

    /// Writes down which topic's it is.
    pub(super) fn write_topic_id(&self, id: TopicId, durability: Durability) -> io::Result<()> {
        let text = format!("version: 0\ntopic_id: {id}\n");
        self.disk.replace(&self.path.join(PARTITION_METADATA), text.as_bytes(), durability)
    }

    /// The topic id in `partition.metadata`; none if there is no such file, or no id in it.
    pub(super) fn read_topic_id(&self) -> io::Result<Option<TopicId>> {
        let text = match fs::read_to_string(self.path.join(PARTITION_METADATA)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let id = text.lines().find_map(|line| line.strip_prefix("topic_id: "));
        Ok(id.and_then(|id| id.trim().parse().ok()))
    }

    /// Which partition it is; none if it does not say.
    pub(super) fn key(&self) -> io::Result<Option<PartitionKey>> {
        Ok(self.read_topic_id()?.filter(|id| *id != TopicId::ZERO).zip(self.partition()))
    }

    /// Which partition of its topic it is, by its name.
    pub(super) fn partition(&self) -> Option<PartitionIndex> {
        let name = self.path.file_name().and_then(OsStr::to_str);
        name.and_then(parse_directory_name).map(|named| named.partition)
    }

    /// Returns once it is on disk whose log it is: without that no journal finds it.
    pub(super) fn sync_topic_id(&self) -> io::Result<()> {
        self.sync_if_there(&self.path.join(PARTITION_METADATA))
    }

    /// What is there. Files that a crash left half written are removed.
    pub(super) fn list(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(TEMPORARY_SUFFIX) {
                fs::remove_file(entry.path())?;
                continue;
            }
            match FileKind::parse(name) {
                Some((FileKind::Log, base_offset)) => {
                    let metadata = entry.metadata()?;
                    listing.segments.push(FoundSegment {
                        base_offset,
                        file_bytes: metadata.len(),
                        modified: modified(&metadata),
                    });
                }
                Some((FileKind::ProducerSnapshot, offset)) => listing.snapshots.push(offset),
                _ => {}
            }
        }
        listing.segments.sort_unstable_by_key(|segment| segment.base_offset);
        listing.snapshots.sort_unstable();
        Ok(listing)
    }

    /// The base offsets of its segments.
    pub(super) fn list_segments(&self) -> io::Result<Vec<Offset>> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            if let Some((FileKind::Log, base)) = name.to_str().and_then(FileKind::parse) {
                found.push(base);
            }
        }
        Ok(found)
    }

    pub(super) fn create_segment(&self, base_offset: Offset) -> io::Result<SegmentFile> {
        let file = self.disk.create(&self.file_path(FileKind::Log, base_offset))?;
        Ok(SegmentFile { base_offset, file })
    }

    pub(super) fn open_segment(&self, base_offset: Offset) -> io::Result<SegmentFile> {
        let file = self.disk.open(&self.file_path(FileKind::Log, base_offset))?;
        Ok(SegmentFile { base_offset, file })
    }

    /// Writes a segment's index files. Those of offsets and times are checked when they are read,
    /// so they need no fsync; the one of aborted transactions has its own (`sync_aborted`).
    pub(super) fn write_indexes(&self, base_offset: Offset, files: &IndexFiles) -> io::Result<()> {
        let write = |kind: FileKind, content: &[u8]| {
            self.disk.replace(&self.file_path(kind, base_offset), content, Durability::Atomic)
        };
        write(FileKind::OffsetIndex, &files.offsets)?;
        write(FileKind::TimeIndex, &files.times)?;
        if files.transactions.is_empty() {
            self.remove(FileKind::TransactionIndex, base_offset)
        } else {
            write(FileKind::TransactionIndex, &files.transactions)
        }
    }

    /// Writes the file of a segment's aborted transactions alone.
    pub(super) fn write_aborted(&self, base_offset: Offset, content: &[u8]) -> io::Result<()> {
        let path = self.file_path(FileKind::TransactionIndex, base_offset);
        self.disk.replace(&path, content, Durability::Atomic)
    }

    /// The indexes of a closed segment; none if the files are not there or not right.
    pub(super) fn read_indexes(&self, segment: &LogSegment) -> Option<SegmentIndexes> {
        let read = |kind: FileKind| fs::read(self.file_path(kind, segment.base_offset())).ok();
        let (offsets, times) = (read(FileKind::OffsetIndex)?, read(FileKind::TimeIndex)?);
        SegmentIndexes::decode(segment, &offsets, &times).ok()
    }

    /// The aborted transactions of a closed segment; none if the file can't be used, nothing if
    /// there is no file.
    pub(super) fn read_aborted(&self, base_offset: Offset) -> Option<Vec<AbortedTransaction>> {
        match fs::read(self.file_path(FileKind::TransactionIndex, base_offset)) {
            Ok(file) => decode_transaction_index(&file).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Vec::new()),
            Err(_) => None,
        }
    }

    /// Returns once the names of a closed segment's aborted transactions are on disk. A lost file
    /// can't be told from that of a segment without any, and would show what was aborted.
    pub(super) fn sync_aborted(&self, base_offset: Offset) -> io::Result<()> {
        self.sync_if_there(&self.file_path(FileKind::TransactionIndex, base_offset))
    }

    fn sync_if_there(&self, path: &Path) -> io::Result<()> {
        match fs::File::open(path) {
            Ok(file) => self.disk.sync_file(&file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes the producers as of `offset`. Only once everything below is on disk: recovery takes
    /// the snapshot as the proof of that.
    pub(super) fn write_snapshot(
        &self,
        offset: Offset,
        content: &[u8],
        durability: Durability,
    ) -> io::Result<()> {
        let path = self.file_path(FileKind::ProducerSnapshot, offset);
        self.disk.replace(&path, content, durability)
    }

    pub(super) fn read_snapshot(&self, offset: Offset) -> io::Result<Vec<u8>> {
        fs::read(self.file_path(FileKind::ProducerSnapshot, offset))
    }

    pub(super) fn write_epochs(&self, epochs: &LeaderEpochCache) -> io::Result<()> {
        let path = self.path.join(LEADER_EPOCH_CHECKPOINT);
        self.disk.replace(&path, epochs.encode().as_bytes(), Durability::Atomic)
    }

    /// The leader epochs; none if the checkpoint is not there or not right.
    pub(super) fn read_epochs(&self) -> Option<LeaderEpochCache> {
        let text = fs::read_to_string(self.path.join(LEADER_EPOCH_CHECKPOINT)).ok()?;
        LeaderEpochCache::decode(&text).ok()
    }

    /// Removes one file; it need not be there.
    pub(super) fn remove(&self, kind: FileKind, offset: Offset) -> io::Result<()> {
        match fs::remove_file(self.file_path(kind, offset)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes all files of a segment, the log last: while it is there the others are rebuilt.
    pub(super) fn remove_segment(&self, base_offset: Offset) -> io::Result<()> {
        for kind in FileKind::ALL.into_iter().rev() {
            self.remove(kind, base_offset)?;
        }
        Ok(())
    }
}

fn modified(metadata: &fs::Metadata) -> TimestampMs {
    let since =
        metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or(TimestampMs::NONE, |since| {
        TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}

/// Whether a directory's name marks what a deletion left.
pub(super) fn is_deleted_directory(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == DELETED_EXTENSION)
}

/// Ends the name of a directory that is being deleted.
pub(super) const DELETED_EXTENSION: &str = "deleted";
