//! Opens a partition's log: from its summary if everything is as a clean stop left it, else by
//! walking what may have changed since.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use streamledger_broker_core::log::{
    AbortedTransaction, BadBatch, CorruptSnapshot, FileKind, LogConfig, LogDamage, LogRecovery,
    LogSegment, LogSummary, OnDamage, PartitionLog, ProducerStateTable, RecoveryStart, ScanDepth,
    SegmentIndexes, SegmentScan, SegmentVerdict, decode_snapshot,
};
use streamledger_broker_core::planted_bugs::Planted;
use streamledger_protocol::{Offset, TopicPartition};

use super::directory::{FoundSegment, Listing, PartitionDirectory, SegmentFile};
use super::disk::is_disk_full;
use super::errors::StorageOffline;
use super::partition::{ClosedSegment, OpenLog};
use super::shared::Shared;

/// How much of a segment is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Why a log can't be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadProblem {
    #[error(transparent)]
    Damage(#[from] LogDamage),
    #[error("{path}: {problem}")]
    Snapshot { path: PathBuf, problem: CorruptSnapshot },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl LoadProblem {
    pub(super) fn io(directory: &PartitionDirectory, source: io::Error) -> Self {
        Self::Io { path: directory.path.clone(), source }
    }

    pub(super) fn into_offline(self, topic_partition: &TopicPartition) -> StorageOffline {
        tracing::error!(partition = %topic_partition, problem = %self, "the log stays offline");
        StorageOffline::Damaged {
            topic_partition: topic_partition.clone(),
            damage: self.to_string().into(),
        }
    }
}

/// Whether a directory is as its summary says: nothing was appended and no segment begun since.
pub(super) fn is_as_summarised(listing: &Listing, summary: &LogSummary) -> bool {
    let found = listing.segments.iter().map(|found| (found.base_offset, found.file_bytes));
    let known = summary.segments.iter().map(|s| (s.base_offset(), u64::from(s.bytes())));
    found.eq(known)
}

/// Opens a log that is as its summary says. What is wrong beside the log itself is rebuilt.
pub(super) fn open_cold(
    directory: &PartitionDirectory,
    shared: &Shared,
    config: &LogConfig,
    summary: LogSummary,
) -> Result<OpenLog, LoadProblem> {
    let now = shared.clock.now();
    match read_state(directory, shared, config, &summary)? {
        Some((producers, aborted, indexes, active)) => {
            let (end, bytes) = (summary.log_end_offset(), active_bytes(&summary));
            let settled_snapshot = summary.has_producers.then(|| summary.log_end_offset());
            let log = PartitionLog::reopen(config.clone(), summary, producers, aborted, indexes);
            Ok(OpenLog {
                remembered: shared.producers.of(&log),
                log,
                active,
                closing: Vec::new(),
                synced_offset: end,
                safe_bytes: bytes,
                directory_unsynced: false,
                is_new: false,
                reading: None,
                swapping: None,
                settled: true,
                settled_snapshot,
                last_used: now.monotonic,
                unflushed_since: None,
                epochs_unwritten: false,
            })
        }
        None => {
            let path = directory.path.display();
            tracing::warn!(%path, "producer snapshot or index missing or corrupt: rebuilding");
            let listing = directory.list().map_err(|e| LoadProblem::io(directory, e))?;
            let mut open = recover(directory, shared, config, &listing, Some(&summary))?;
            // All that a summary speaks of was on disk, and recovery refuses to find less.
            open.log.flushed(summary.log_end_offset());
            Ok(open)
        }
    }
}

fn active_bytes(summary: &LogSummary) -> u32 {
    summary.active_segment().map_or(0, LogSegment::bytes)
}

type ReadState = (ProducerStateTable, Vec<AbortedTransaction>, SegmentIndexes, Arc<SegmentFile>);

/// What a clean stop wrote beside the log; none if anything of it is missing or wrong.
fn read_state(
    directory: &PartitionDirectory,
    shared: &Shared,
    config: &LogConfig,
    summary: &LogSummary,
) -> Result<Option<ReadState>, LoadProblem> {
    let Some(active) = summary.active_segment() else { return Ok(None) };
    let end = summary.log_end_offset();
    let producers = if summary.has_producers {
        match read_snapshot(directory, end, shared, config.planted)? {
            Some(producers) => producers,
            None => return Ok(None),
        }
    } else {
        ProducerStateTable::new(config.planted)
    };
    let Some(aborted) = read_all_aborted(directory, summary) else { return Ok(None) };
    let opened = directory.open_segment(active.base_offset());
    let file = Arc::new(opened.map_err(|error| LoadProblem::io(directory, error))?);
    let indexes = match directory.read_indexes(active) {
        Some(indexes) => indexes,
        None => match rebuild_indexes(directory, config, active, &file)? {
            Some(indexes) => indexes,
            None => return Ok(None),
        },
    };
    Ok(Some((producers, aborted, indexes, file)))
}

/// The aborted transactions of all segments; none if a file can't be used, or some are missing.
fn read_all_aborted(
    directory: &PartitionDirectory,
    summary: &LogSummary,
) -> Option<Vec<AbortedTransaction>> {
    let mut aborted = Vec::new();
    if !summary.aborted_count.is_zero() {
        for segment in &summary.segments {
            aborted.extend(directory.read_aborted(segment.base_offset())?);
        }
    }
    summary.aborted_count.is_met_by(aborted.len()).then_some(aborted)
}

/// The producers of a snapshot; none if it is missing or corrupt. One of a newer version ends it.
fn read_snapshot(
    directory: &PartitionDirectory,
    offset: Offset,
    shared: &Shared,
    planted: Planted,
) -> Result<Option<ProducerStateTable>, LoadProblem> {
    let Ok(content) = directory.read_snapshot(offset) else { return Ok(None) };
    match decode_snapshot(&content, shared.clock.now().monotonic, planted) {
        Ok((of_offset, producers)) => Ok((of_offset == offset).then_some(producers)),
        Err(CorruptSnapshot::Corrupt) => Ok(None),
        Err(problem @ CorruptSnapshot::Newer(_)) => {
            let path = directory.file_path(FileKind::ProducerSnapshot, offset);
            Err(LoadProblem::Snapshot { path, problem })
        }
    }
}

/// The indexes of a segment from the headers of its batches; none if a header is bad.
pub(super) fn rebuild_indexes(
    directory: &PartitionDirectory,
    config: &LogConfig,
    segment: &LogSegment,
    file: &SegmentFile,
) -> Result<Option<SegmentIndexes>, LoadProblem> {
    let mut scan = SegmentScan::new(
        segment.base_offset(),
        u64::from(segment.bytes()),
        segment.retention_timestamp(),
        ScanDepth::Header,
        config.index_interval_bytes,
    );
    let mut buffer = Vec::new();
    let mut wanted = PIECE_BYTES;
    while !scan.is_done() {
        let left = u64::from(segment.bytes()).saturating_sub(scan.position());
        let bytes = wanted.max(PIECE_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX));
        directory
            .disk
            .read_at(&file.file, scan.position(), bytes, &mut buffer)
            .map_err(|error| LoadProblem::io(directory, error))?;
        let fed = scan.feed(&buffer, |_| {});
        if fed.consumed == 0 && fed.wanted <= buffer.len() {
            break;
        }
        wanted = fed.wanted;
    }
    Ok(scan.into_indexes())
}

/// Brings a log back after a crash: known segments as they are, the others walked.
///
/// Nothing of it counts as flushed yet, and under `FlushPolicy::Commit` nobody sees it before it is
/// (`flush_recovered`).
pub(super) fn recover(
    directory: &PartitionDirectory,
    shared: &Shared,
    config: &LogConfig,
    listing: &Listing,
    summary: Option<&LogSummary>,
) -> Result<OpenLog, LoadProblem> {
    let io = |error| LoadProblem::io(directory, error);
    let now = shared.clock.now();
    let epochs = directory.read_epochs();
    let log_start_offset = summary.map_or(Offset::ZERO, |summary| summary.log_start_offset);
    let flushed_below = flushed_below(directory, shared, config, listing, summary)?;
    // Without their checkpoint the leader epochs are found again only by walking everything.
    let summary = summary.filter(|_| epochs.is_some());
    let (known, snapshot) = match shared.on_damage {
        OnDamage::Refuse => choose_known(directory, shared, config, listing, summary)?,
        // What is cut must not be known to the producers, so all of them are found again.
        OnDamage::Cut => (Vec::new(), None),
    };
    let known_count = known.len();
    let snapshot_offset = snapshot.as_ref().map(|(offset, _)| *offset);
    let epochs_on_disk = epochs.clone();
    let epochs = epochs.unwrap_or_default();
    let start = RecoveryStart { log_start_offset, snapshot, epochs, flushed_below };
    let mut recovery = LogRecovery::new(config.clone(), start, shared.on_damage, now);
    for (segment, aborted) in known {
        recovery.known_segment(segment, aborted)?;
    }
    let mut walked = Vec::new();
    for found in listing.segments.get(known_count..).unwrap_or_default() {
        let is_last = listing.segments.last() == Some(found);
        walked.extend(walk_segment(directory, &mut recovery, found, is_last)?);
    }
    let snapshot = recovery
        .last_segment_snapshot()
        .filter(|(offset, _)| Some(*offset) != snapshot_offset)
        .map(|(offset, content)| (offset, content.to_vec()));
    let log = recovery.finish(Offset::ZERO)?;
    let base_offset = log.active_segment().base_offset();
    let active = match walked.pop_if(|last| last.file.base_offset == base_offset) {
        Some(last) => last.file,
        None => Arc::new(match listing.segments.iter().any(|s| s.base_offset == base_offset) {
            true => directory.open_segment(base_offset).map_err(io)?,
            false => directory.create_segment(base_offset).map_err(io)?,
        }),
    };
    remove_stray_snapshots(directory, listing, &log).map_err(io)?;
    let mut epochs_unwritten = false;
    if epochs_on_disk.as_ref() != Some(log.leader_epochs()) {
        let written = directory.write_epochs(log.leader_epochs());
        epochs_unwritten = is_left_to_do(directory, written)?;
    }
    if let Some(last) = walked.last_mut() {
        last.snapshot = snapshot;
    }
    let synced_offset = log.log_start_offset();
    Ok(OpenLog {
        remembered: shared.producers.of(&log),
        log,
        active,
        closing: walked,
        synced_offset,
        safe_bytes: 0,
        directory_unsynced: true,
        is_new: true,
        reading: None,
        swapping: None,
        settled: false,
        settled_snapshot: None,
        last_used: now.monotonic,
        unflushed_since: None,
        epochs_unwritten,
    })
}

/// The offset below which everything is known to have been on disk: the manifest speaks only of
/// what was, and a producer snapshot is written only once everything below its offset is.
fn flushed_below(
    directory: &PartitionDirectory,
    shared: &Shared,
    config: &LogConfig,
    listing: &Listing,
    summary: Option<&LogSummary>,
) -> Result<Offset, LoadProblem> {
    let summarised = summary.map_or(Offset::ZERO, LogSummary::log_end_offset);
    for offset in listing.snapshots.iter().rev().take_while(|offset| **offset > summarised) {
        if read_snapshot(directory, *offset, shared, config.planted)?.is_some() {
            return Ok(*offset);
        }
    }
    Ok(summarised)
}

type Known = Vec<(LogSegment, Vec<AbortedTransaction>)>;
type Snapshot = Option<(Offset, ProducerStateTable)>;

/// The closed segments that need no walk, and the producer snapshot where the walk begins.
fn choose_known(
    directory: &PartitionDirectory,
    shared: &Shared,
    config: &LogConfig,
    listing: &Listing,
    summary: Option<&LogSummary>,
) -> Result<(Known, Snapshot), LoadProblem> {
    let mut known = Vec::new();
    // Where aborted transactions are missing nobody knows of which segment: all are walked.
    let summary = summary.filter(|summary| read_all_aborted(directory, summary).is_some());
    for (found, next) in listing.segments.iter().zip(listing.segments.iter().skip(1)) {
        // One that was compacted since may be as long as it was, and have taken the place of the
        // one behind it: then it reaches further.
        let summarised = summary.and_then(|summary| {
            summary.segments.iter().find(|segment| {
                segment.base_offset() == found.base_offset
                    && segment.next_offset() == next.base_offset
                    && u64::from(segment.bytes()) == found.file_bytes
                    && segment.bytes() > 0
            })
        });
        let aborted = directory.read_aborted(found.base_offset);
        let (Some(segment), Some(aborted)) = (summarised, aborted) else { break };
        known.push((segment.clone(), aborted));
    }
    // The walk begins where there is a snapshot, or at the first segment.
    while let Some(first_walked) = listing.segments.get(known.len()) {
        let base_offset = first_walked.base_offset;
        if listing.snapshots.contains(&base_offset)
            && let Some(producers) = read_snapshot(directory, base_offset, shared, config.planted)?
        {
            return Ok((known, Some((base_offset, producers))));
        }
        if known.pop().is_none() {
            break;
        }
    }
    Ok((Vec::new(), None))
}

/// Walks one segment's file and does what becomes of it; gives it, to be flushed, if it stays.
fn walk_segment(
    directory: &PartitionDirectory,
    recovery: &mut LogRecovery,
    found: &FoundSegment,
    is_last: bool,
) -> Result<Option<ClosedSegment>, LoadProblem> {
    let io = |error| LoadProblem::io(directory, error);
    let file = directory.open_segment(found.base_offset).map_err(io)?;
    recovery.begin_segment(found.base_offset, found.file_bytes, found.modified);
    let mut buffer = Vec::new();
    let mut position = 0;
    let mut wanted = PIECE_BYTES;
    while !recovery.segment_is_done() {
        let left = usize::try_from(found.file_bytes.saturating_sub(position)).unwrap_or(usize::MAX);
        let bytes = wanted.max(PIECE_BYTES).min(left);
        directory.disk.read_at(&file.file, position, bytes, &mut buffer).map_err(io)?;
        let fed = recovery.feed(&buffer);
        position += fed.consumed as u64;
        if fed.consumed == 0 && fed.wanted <= buffer.len() || buffer.is_empty() {
            break;
        }
        wanted = fed.wanted;
    }
    match recovery.end_segment()? {
        SegmentVerdict::Whole => {}
        SegmentVerdict::CutTo { bytes, bad } => {
            let path = directory.file_path(FileKind::Log, found.base_offset);
            let cut_bytes = found.file_bytes.saturating_sub(u64::from(bytes));
            report_cut(&path.display(), bytes, cut_bytes, bad.reason);
            directory.disk.truncate(&file.file, u64::from(bytes)).map_err(io)?;
        }
        SegmentVerdict::Remove => {
            let path = directory.file_path(FileKind::Log, found.base_offset);
            let (path, cut_bytes) = (path.display(), found.file_bytes);
            let why = "removed: the log ends before it, and nothing in it was flushed";
            tracing::warn!(%path, cut_bytes, why);
            directory.remove_segment(found.base_offset).map_err(io)?;
            return Ok(None);
        }
    }
    let mut closed = ClosedSegment { file: Arc::new(file), snapshot: None, aborted: None };
    // Those of the last one stay in memory: it is written to from here on.
    if let Some(files) = recovery.index_files().filter(|_| !is_last) {
        let written = directory.write_indexes(found.base_offset, &files);
        // Those of offsets and times are built again when they are needed. One of aborted
        // transactions that is missing would be taken for none: it is kept until there is room.
        if is_left_to_do(directory, written)? && !files.transactions.is_empty() {
            closed.aborted = Some(files.transactions);
        }
    }
    Ok(Some(closed))
}

/// Whether a file could not be written for want of room. Nothing of the log is in it: to read the
/// log needs no room.
fn is_left_to_do(
    directory: &PartitionDirectory,
    written: io::Result<()>,
) -> Result<bool, LoadProblem> {
    match written {
        Ok(()) => Ok(false),
        Err(error) if is_disk_full(&error) => {
            let path = directory.path.display();
            tracing::warn!(%path, %error, "the disk is full: a file beside the log is not written");
            Ok(true)
        }
        Err(error) => Err(LoadProblem::io(directory, error)),
    }
}

fn report_cut(path: &dyn std::fmt::Display, bytes: u32, cut_bytes: u64, reason: BadBatch) {
    tracing::warn!(%path, kept_bytes = bytes, cut_bytes, %reason, "torn tail cut");
}

/// Snapshots that lie above the log, or that no segment begins with, say nothing about it.
fn remove_stray_snapshots(
    directory: &PartitionDirectory,
    listing: &Listing,
    log: &PartitionLog,
) -> io::Result<()> {
    for offset in &listing.snapshots {
        if !log.segments().any(|segment| segment.base_offset() == *offset) {
            directory.remove(FileKind::ProducerSnapshot, *offset)?;
        }
    }
    Ok(())
}
