//! Reads of a partition's log: planned under its lock, performed beside it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use streamledger_broker_core::log::{
    AbortedTransaction, BatchSearch, BatchWalk, FileKind, ReadLimit, ReadPlan, ReadRange,
    SegmentIndexes, Selection, TimestampOffset, TimestampPlan, TimestampScan, find_batch,
    first_record_at,
};
use streamledger_protocol::record_batch::HEADER_BYTES;
use streamledger_protocol::{Offset, TimestampMs};

use super::codecs::with_decompressor;
use super::directory::SegmentFile;
use super::errors::ReadError;
use super::file_range::FileRange;
use super::load::rebuild_indexes;
use super::partition::{OpenLog, Partition};

/// How much is read at once to look for a timestamp.
const LOOKUP_BYTES: usize = 64 << 10;

/// What a read gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOutcome<R = Bytes> {
    /// Whole batches, as they are stored; empty if there is nothing to see at that offset yet.
    pub records: R,
    /// How far a consumer sees.
    pub high_watermark: Offset,
    /// How far a read-committed consumer sees.
    pub last_stable_offset: Offset,
    /// Where the log begins.
    pub log_start_offset: Offset,
    /// For a read-committed consumer: the aborted transactions that reach into `records`, by
    /// first offset.
    pub aborted: Vec<AbortedTransaction>,
}

/// Whole batches that are to be sent.
#[derive(Debug)]
pub(crate) enum StoredRecords {
    Here(Bytes),
    InFile(FileRange),
}

/// What a read gives, in memory or not.
trait RecordBytes {
    fn record_bytes(&self) -> usize;
}

impl RecordBytes for Bytes {
    fn record_bytes(&self) -> usize {
        self.len()
    }
}

impl StoredRecords {
    /// How many bytes.
    pub(crate) fn len(&self) -> usize {
        self.record_bytes()
    }
}

impl RecordBytes for StoredRecords {
    fn record_bytes(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::InFile(range) => range.len(),
        }
    }
}

/// Bytes that were read of a file, and where they begin.
#[derive(Debug)]
struct Piece {
    position: u64,
    bytes: Bytes,
}

/// Batches that answer a read.
#[derive(Debug)]
struct Found {
    file: Arc<SegmentFile>,
    position: u64,
    bytes: usize,
    next_offset: Offset,
    /// What was read last to find them.
    piece: Piece,
}

impl Found {
    /// The batches, if all of them were read on the way; a copy of a few, lest they hold the rest.
    fn in_memory(&self) -> Option<Bytes> {
        let start = usize::try_from(self.position.checked_sub(self.piece.position)?).ok()?;
        let range = start..start.checked_add(self.bytes)?;
        let batches = self.piece.bytes.get(range.clone())?;
        Some(match 2 * batches.len() >= self.piece.bytes.len() {
            true => self.piece.bytes.slice(range),
            false => Bytes::copy_from_slice(batches),
        })
    }
}

/// A planned read, with the file to read and what the log was like.
#[derive(Debug)]
struct Planned<P> {
    plan: P,
    file: Option<Arc<SegmentFile>>,
    /// How often segments had been replaced: the plan's positions are of no use after another.
    replacements: u64,
}

impl Partition {
    /// Reads whole batches from the one that holds `from` on, up to `max_bytes`; the first one is
    /// given even if it is larger (KIP-74). Batches of one segment at most.
    ///
    /// # Errors
    /// The offset is not in the log, the file can't be read, or the partition is offline.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        limit: ReadLimit,
    ) -> Result<ReadOutcome, ReadError> {
        let Some(found) = self.find(from, max_bytes, limit)? else {
            return self.outcome(Bytes::new(), limit, (from, from));
        };
        let records = match found.in_memory() {
            Some(records) => records,
            None => self.read_exactly(&found.file, found.position, found.bytes)?,
        };
        self.outcome(records, limit, (from, found.next_offset))
    }

    /// The same for sending: what is more than a piece stays in its file, if it may.
    ///
    /// # Errors
    /// As of [`Self::read`].
    pub(crate) fn read_to_send(
        &self,
        from: Offset,
        max_bytes: usize,
        limit: ReadLimit,
    ) -> Result<ReadOutcome<StoredRecords>, ReadError> {
        let Some(found) = self.find(from, max_bytes, limit)? else {
            return self.outcome(StoredRecords::Here(Bytes::new()), limit, (from, from));
        };
        let (file, position, bytes) = (&found.file, found.position, found.bytes);
        let records = match found.in_memory() {
            Some(records) => StoredRecords::Here(records),
            None => match self.shared.lent.lend(file, position, bytes) {
                Some(range) => StoredRecords::InFile(range),
                None => StoredRecords::Here(self.read_exactly(file, position, bytes)?),
            },
        };
        self.outcome(records, limit, (from, found.next_offset))
    }

    /// Finds the batches that answer a read, by their headers; none if there is nothing to see.
    fn find(
        &self,
        from: Offset,
        max_bytes: usize,
        limit: ReadLimit,
    ) -> Result<Option<Found>, ReadError> {
        let mut wanted = from;
        let mut rebuilt = false;
        loop {
            let Planned { plan, file, replacements } = self.plan_read(wanted, max_bytes, limit)?;
            let (ReadPlan::Range(range), Some(file)) = (plan, file) else { return Ok(None) };
            let (selection, piece) = self.choose(&file, range, max_bytes)?;
            match selection {
                Selection::AtLimit | Selection::Open => return Ok(None),
                Selection::Beyond => match range.next_segment {
                    Some(next) => wanted = next,
                    None => return Ok(None),
                },
                // The index may have misled: once it is rebuilt, the log itself is damaged.
                Selection::Damaged { .. } if !rebuilt => {
                    let outcome = self.rebuild_indexes_of(range.segment);
                    self.unless_gone(range.segment, outcome)?;
                    rebuilt = true;
                }
                Selection::Damaged { position } => return Err(self.damaged(&range, position)),
                Selection::Batches { position, bytes, next_offset } => {
                    let end = u64::from(position) + bytes as u64;
                    self.note_read(&range, end, next_offset, replacements);
                    let position = u64::from(position);
                    return Ok(Some(Found { file, position, bytes, next_offset, piece }));
                }
            }
        }
    }

    /// Walks along the headers; gives also the last piece that was read, and where it begins.
    fn choose(
        &self,
        file: &SegmentFile,
        range: ReadRange,
        max_bytes: usize,
    ) -> Result<(Selection, Piece), ReadError> {
        let mut walk = BatchWalk::new(range, max_bytes);
        loop {
            let (position, bytes) = walk.wants();
            let bytes = self.read_exactly(file, position, bytes)?;
            match walk.look(&bytes) {
                Selection::Open => {}
                decided => return Ok((decided, Piece { position, bytes })),
            }
        }
    }

    fn plan_read(
        &self,
        from: Offset,
        max_bytes: usize,
        limit: ReadLimit,
    ) -> Result<Planned<ReadPlan>, ReadError> {
        loop {
            let planned = self.with_open(|open| {
                let plan = open.log.plan_read(from, max_bytes, limit)?;
                let file = match plan {
                    ReadPlan::Range(range) => Some(self.file_of(open, range.segment)?),
                    ReadPlan::Nothing | ReadPlan::LoadIndexes { .. } => None,
                };
                let replacements = open.log.replacements();
                Ok::<_, ReadError>(Planned { plan, file, replacements })
            })??;
            match planned.plan {
                ReadPlan::LoadIndexes { segment } => self.load_indexes(segment)?,
                ReadPlan::Nothing | ReadPlan::Range(_) => return Ok(planned),
            }
        }
    }

    /// The open file of a segment; the closed one that was read last stays open.
    fn file_of(&self, open: &mut OpenLog, segment: Offset) -> Result<Arc<SegmentFile>, ReadError> {
        let held = [Some(&open.active), open.swapping.as_ref(), open.reading.as_ref()];
        if let Some(file) = held.into_iter().flatten().find(|file| file.base_offset == segment) {
            return Ok(Arc::clone(file));
        }
        let file = self
            .directory
            .open_segment(segment)
            .map_err(|source| ReadError::Io { path: self.log_path(segment), source })?;
        let file = Arc::new(file);
        open.reading = Some(Arc::clone(&file));
        Ok(file)
    }

    fn log_path(&self, segment: Offset) -> PathBuf {
        self.directory.file_path(FileKind::Log, segment)
    }

    fn damaged(&self, range: &ReadRange, position: u64) -> ReadError {
        ReadError::Damaged {
            path: self.log_path(range.segment),
            position,
            reason: "there is no record batch where one must be".to_owned(),
        }
    }

    fn read_exactly(
        &self,
        file: &SegmentFile,
        position: u64,
        bytes: usize,
    ) -> Result<Bytes, ReadError> {
        let mut buffer = Vec::new();
        let read = self.shared.disk.read_at(&file.file, position, bytes, &mut buffer);
        let cut = (buffer.len() < bytes).then_some(std::io::ErrorKind::UnexpectedEof.into());
        match (read, cut) {
            (Ok(()), None) => Ok(Bytes::from(buffer)),
            (Err(source), _) | (Ok(()), Some(source)) => {
                Err(ReadError::Io { path: self.log_path(file.base_offset), source })
            }
        }
    }

    fn note_read(&self, range: &ReadRange, end: u64, next_offset: Offset, replacements: u64) {
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        // A log that went away meanwhile needs no hint.
        let _ = self.with_open(|open| {
            if open.log.replacements() == replacements {
                open.log.note_read(next_offset, range.segment, end);
            }
        });
    }

    fn outcome<R: RecordBytes>(
        &self,
        records: R,
        limit: ReadLimit,
        (from, next_offset): (Offset, Offset),
    ) -> Result<ReadOutcome<R>, ReadError> {
        let bytes = records.record_bytes();
        self.shared.counts.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let aborted = if limit == ReadLimit::LastStable && bytes > 0 {
            self.with_open(|open| {
                open.log.producers().transactions().aborted_between(from, next_offset)
            })?
        } else {
            Vec::new()
        };
        Ok(ReadOutcome {
            records,
            high_watermark: self.high_watermark(),
            last_stable_offset: self.last_stable_offset(),
            log_start_offset: self.log_start_offset(),
            aborted,
        })
    }

    /// Hands the log the indexes of a closed segment, from their files or from the log itself.
    ///
    /// The files are read beside the lock, and retention may take them meanwhile: the next plan
    /// finds that the segment is gone. Compaction may replace them: what was read is not used then,
    /// and while a swap is under way nothing is read from files that may be the old ones.
    fn load_indexes(&self, segment: Offset) -> Result<(), ReadError> {
        let (known, replacements, is_swapping) = self.with_open(|open| {
            let is_swapping = open.swapping.as_ref().is_some_and(|f| f.base_offset == segment);
            (open.log.segment(segment).cloned(), open.log.replacements(), is_swapping)
        })?;
        let Some(closed) = known else { return Ok(()) };
        match self.directory.read_indexes(&closed).filter(|_| !is_swapping) {
            Some(indexes) => self.install_indexes(segment, indexes, replacements),
            None => self.unless_gone(segment, self.rebuild_indexes_of(segment)),
        }
    }

    /// A failure with the files of a segment that retention has taken is none.
    fn unless_gone(
        &self,
        segment: Offset,
        outcome: Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        match outcome {
            Err(ReadError::Io { .. })
                if self.with_open(|open| open.log.segment(segment).is_none())? =>
            {
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Rebuilds the indexes of a segment from the headers of its batches.
    fn rebuild_indexes_of(&self, segment: Offset) -> Result<(), ReadError> {
        let (known, file, replacements) = self.with_open(|open| {
            let file = self.file_of(open, segment)?;
            let known = open.log.segment(segment).cloned();
            Ok::<_, ReadError>((known, file, open.log.replacements()))
        })??;
        let Some(known) = known else { return Ok(()) };
        tracing::warn!(path = %self.log_path(segment).display(), "rebuilding the indexes");
        let rebuilt = rebuild_indexes(&self.directory, &self.config(), &known, &file)
            .map_err(|problem| problem.into_offline(self.topic_partition()))?;
        let Some(indexes) = rebuilt else {
            return Err(ReadError::Damaged {
                path: self.log_path(segment),
                position: 0,
                reason: "its batches do not follow each other".to_owned(),
            });
        };
        self.install_indexes(segment, indexes, replacements)
    }

    fn install_indexes(
        &self,
        segment: Offset,
        indexes: SegmentIndexes,
        replacements: u64,
    ) -> Result<(), ReadError> {
        self.with_open(|open| {
            if open.log.replacements() == replacements {
                open.log.install_indexes(segment, indexes);
            }
        })?;
        Ok(())
    }

    /// The first record that is not older than `timestamp`, with its own timestamp (ListOffsets).
    ///
    /// # Errors
    /// The file can't be read, or the partition is offline.
    pub fn offset_for_timestamp(
        &self,
        timestamp: TimestampMs,
        limit: ReadLimit,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let mut from = Offset::ZERO;
        loop {
            let planned = self.with_open(|open| {
                let plan = open.log.plan_timestamp(timestamp, from, limit);
                let file = match plan {
                    TimestampPlan::Scan(scan) => Some(self.file_of(open, scan.segment)?),
                    TimestampPlan::Nothing | TimestampPlan::LoadIndexes { .. } => None,
                };
                let next = open
                    .log
                    .segments()
                    .find(|segment| {
                        file.as_ref().is_some_and(|f| segment.base_offset() > f.base_offset)
                    })
                    .map(|segment| segment.base_offset());
                let replacements = open.log.replacements();
                Ok::<_, ReadError>((Planned { plan, file, replacements }, next))
            })??;
            match planned {
                (Planned { plan: TimestampPlan::LoadIndexes { segment }, .. }, _) => {
                    self.load_indexes(segment)?;
                }
                (Planned { plan: TimestampPlan::Scan(scan), file: Some(file), .. }, next) => {
                    if let Some(found) = self.scan_for_timestamp(&file, scan)? {
                        return Ok((found.offset < scan.limit).then_some(found));
                    }
                    match next {
                        Some(next) => from = next,
                        None => return Ok(None),
                    }
                }
                (Planned { .. }, _) => return Ok(None),
            }
        }
    }

    fn scan_for_timestamp(
        &self,
        file: &SegmentFile,
        scan: TimestampScan,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let mut position = scan.position as usize;
        let end = scan.end_position as usize;
        while end.saturating_sub(position) >= HEADER_BYTES {
            let corrupt = |at: usize| {
                move |error| ReadError::corrupt(self.log_path(scan.segment), at as u64, &error)
            };
            let bytes = LOOKUP_BYTES.min(end - position);
            let buffer = self.read_exactly(file, position as u64, bytes)?;
            match find_batch(&buffer, &scan).map_err(corrupt(position))? {
                BatchSearch::Beyond(0) => return Ok(None),
                BatchSearch::Beyond(further) => position += further,
                BatchSearch::Found { skip, bytes } => {
                    position += skip;
                    if bytes > end.saturating_sub(position) {
                        return Ok(None);
                    }
                    let batch = self.read_exactly(file, position as u64, bytes)?;
                    let found = with_decompressor(|decompressor| {
                        first_record_at(&batch, scan.timestamp, scan.from, decompressor)
                    });
                    if let Some(found) = found.map_err(corrupt(position))? {
                        return Ok(Some(found));
                    }
                    position += bytes;
                }
            }
        }
        Ok(None)
    }

    /// The first record that carries the largest timestamp (ListOffsets with -3, KIP-734).
    ///
    /// # Errors
    /// The file can't be read, or the partition is offline.
    pub fn max_timestamp(&self, limit: ReadLimit) -> Result<Option<TimestampOffset>, ReadError> {
        let largest = self.with_open(|open| open.log.largest_timestamp())?;
        match largest {
            Some(largest) => self.offset_for_timestamp(largest.timestamp, limit),
            None => Ok(None),
        }
    }
}
