//! What is in the files of a data directory, as text: segments, indexes, snapshots, checkpoints.
//! The lines are those of Kafka's `kafka-dump-log` wherever the file is Kafka's; a snapshot of
//! producers is ours, which that tool can't read. Keys and values that aren't text, or have control
//! characters, are escaped.
//!
//! It reads files and changes nothing, so that it may look at a directory that a broker has open.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use streamledger_broker_core::log::{
    FileKind, ProducerState, decode_snapshot, decode_transaction_index,
};
use streamledger_broker_core::planted_bugs::Planted;
use streamledger_broker_core::time::MonotonicMs;
use streamledger_protocol::compression::Decompressor;
use streamledger_protocol::record_batch::{
    ControlKind, ControlRecord, HEADER_BYTES, RecordBatchHeader, RecordBatchRef, RecordRef,
    parse_control_record,
};
use streamledger_protocol::{Offset, ProducerId, SequenceNumber, TimestampType};
use thiserror::Error;

/// How much is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DumpOptions {
    /// Each record, not only each batch.
    pub records: bool,
    /// Each record's key and value as text.
    pub payloads: bool,
}

/// What was found in a dump, all files together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DumpSummary {
    /// Files that were read.
    pub files: usize,
    /// Record batches.
    pub batches: u64,
    /// Records, as the batches count them.
    pub records: u64,
    /// Places where something is wrong: a checksum, a batch that isn't one, an index out of order.
    pub problems: u64,
}

/// Why a dump could not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DumpError {
    /// A file or directory can't be read.
    #[error("reading {path}: {source}", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no file of a data directory, or a directory without any.
    #[error("{path} is no file of a log: expected .log, .index, .timeindex, .txnindex, .snapshot, \
             a checkpoint, or the directory of a partition", path = .0.display())]
    Unknown(PathBuf),
    /// The lines can't be written.
    #[error("writing: {0}")]
    Write(io::Error),
}

/// Where the lines go, without their ends.
pub type Emit<'a> = dyn FnMut(&str) -> io::Result<()> + 'a;

/// Dumps a file, or all files of a partition's directory.
///
/// # Errors
/// [`DumpError`]. What is wrong *in* a file is a line and is counted, and the dump goes on.
pub fn dump(
    path: &Path,
    options: DumpOptions,
    emit: &mut Emit<'_>,
) -> Result<DumpSummary, DumpError> {
    let mut dump = Dump { options, emit, summary: DumpSummary::default() };
    if path.is_dir() {
        let failed = |source| DumpError::Io { path: path.to_owned(), source };
        let entries: io::Result<Vec<_>> = fs::read_dir(path).map_err(failed)?.collect();
        let mut files: Vec<PathBuf> =
            entries.map_err(failed)?.into_iter().map(|entry| entry.path()).collect();
        files.retain(|file| Content::of(file).is_some());
        files.sort();
        if files.is_empty() {
            return Err(DumpError::Unknown(path.to_owned()));
        }
        for file in files {
            dump.file(&file)?;
        }
    } else {
        dump.file(path)?;
    }
    Ok(dump.summary)
}

/// What a file's name says that it holds.
enum Content {
    Of(FileKind, Offset),
    Checkpoint,
}

impl Content {
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        // A segment that compaction is writing, or putting in its place, is one all the same.
        let name = name.strip_suffix(".cleaned").or(name.strip_suffix(".swap")).unwrap_or(name);
        match FileKind::parse(name) {
            Some((kind, offset)) => Some(Self::Of(kind, offset)),
            None => name.ends_with("-checkpoint").then_some(Self::Checkpoint),
        }
    }
}

struct Dump<'a, 'e> {
    options: DumpOptions,
    emit: &'a mut Emit<'e>,
    summary: DumpSummary,
}

impl Dump<'_, '_> {
    fn say(&mut self, line: &str) -> Result<(), DumpError> {
        (self.emit)(line).map_err(DumpError::Write)
    }

    fn problem(&mut self, line: &str) -> Result<(), DumpError> {
        self.summary.problems += 1;
        self.say(line)
    }

    fn file(&mut self, path: &Path) -> Result<(), DumpError> {
        let content = Content::of(path).ok_or_else(|| DumpError::Unknown(path.to_owned()))?;
        let failed = |source| DumpError::Io { path: path.to_owned(), source };
        self.say(&format!("Dumping {}", path.display()))?;
        self.summary.files += 1;
        if let Content::Of(FileKind::Log, base_offset) = content {
            return self.segment(&File::open(path).map_err(failed)?, base_offset, &failed);
        }
        let bytes = fs::read(path).map_err(failed)?;
        match content {
            Content::Of(FileKind::OffsetIndex, base) => self.offset_index(&bytes, base),
            Content::Of(FileKind::TimeIndex, base) => self.time_index(&bytes, base),
            Content::Of(FileKind::TransactionIndex, _) => self.transaction_index(&bytes),
            Content::Of(FileKind::ProducerSnapshot, _) => self.snapshot(&bytes),
            Content::Checkpoint | Content::Of(FileKind::Log, _) => {
                String::from_utf8_lossy(&bytes).lines().try_for_each(|line| self.say(line))
            }
        }
    }

    fn segment(
        &mut self,
        file: &File,
        base_offset: Offset,
        failed: &dyn Fn(io::Error) -> DumpError,
    ) -> Result<(), DumpError> {
        self.say(&format!("Log starting offset: {base_offset}"))?;
        let file_bytes = file.metadata().map_err(failed)?.len();
        let mut decompressor = Decompressor::default();
        let mut position = 0;
        let mut buffer = Vec::new();
        while position < file_bytes {
            let left = file_bytes - position;
            let mut head = [0; HEADER_BYTES];
            let header = match left >= HEADER_BYTES as u64 {
                true => {
                    file.read_exact_at(&mut head, position).map_err(failed)?;
                    RecordBatchHeader::parse(&head).ok()
                }
                false => None,
            };
            let Some(header) = header.filter(|header| header.batch_bytes() as u64 <= left) else {
                let line = format!("Found {left} invalid bytes from position {position} on");
                return self.problem(&line);
            };
            buffer.resize(header.batch_bytes(), 0);
            file.read_exact_at(&mut buffer, position).map_err(failed)?;
            if let Ok((batch, _)) = RecordBatchRef::parse(&buffer) {
                self.batch(&batch, position, &mut decompressor)?;
            }
            position += header.batch_bytes() as u64;
        }
        Ok(())
    }

    fn batch(
        &mut self,
        batch: &RecordBatchRef<'_>,
        position: u64,
        decompressor: &mut Decompressor,
    ) -> Result<(), DumpError> {
        let header = batch.header();
        let is_valid = batch.verify_crc().is_ok();
        self.summary.batches += 1;
        self.summary.records += u64::try_from(header.record_count).unwrap_or(0);
        self.summary.problems += u64::from(!is_valid);
        self.say(&batch_line(header, position, is_valid))?;
        if !is_valid || !(self.options.records || header.attributes.is_control()) {
            return Ok(());
        }
        let records = match batch.records(decompressor) {
            Ok(records) => records,
            Err(corrupt) => {
                return self.problem(&format!("| the records can't be read: {corrupt}"));
            }
        };
        for record in records {
            let line = match record {
                Ok(record) => self.record_line(header, &record),
                Err(corrupt) => return self.problem(&format!("| {corrupt}")),
            };
            self.say(&line)?;
        }
        Ok(())
    }

    fn record_line(&self, header: &RecordBatchHeader, record: &RecordRef<'_>) -> String {
        let size = |field: Option<&[u8]>| field.map_or(-1, |bytes| bytes.len() as i64);
        let mut line = format!(
            "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {}",
            record.offset,
            time_name(header),
            record.timestamp.0,
            size(record.key),
            size(record.value),
            sequence_of(header, record).0
        );
        let names: Vec<String> = record.headers.map(|header| header.key().into_owned()).collect();
        let _ = write!(line, " headerKeys: [{}]", names.join(","));
        if header.attributes.is_control() {
            match parse_control_record(record) {
                Ok(ControlRecord::Marker { kind, coordinator_epoch }) => {
                    let kind = if kind == ControlKind::Commit { "COMMIT" } else { "ABORT" };
                    let _ =
                        write!(line, " endTxnMarker: {kind} coordinatorEpoch: {coordinator_epoch}");
                }
                Ok(ControlRecord::Other(kind)) => {
                    let _ = write!(line, " controlType: {kind}");
                }
                Err(corrupt) => {
                    let _ = write!(line, " unreadable: {corrupt}");
                }
            }
        } else if self.options.payloads {
            for (name, field) in [("key", record.key), ("payload", record.value)] {
                if let Some(bytes) = field {
                    let _ = write!(line, " {name}: {}", text(bytes));
                }
            }
        }
        line
    }

    fn offset_index(&mut self, bytes: &[u8], base: Offset) -> Result<(), DumpError> {
        let (entries, rest) = bytes.as_chunks::<8>();
        let mut before = None;
        for entry in entries {
            let [a, b, c, d, e, f, g, h] = *entry;
            let offset = base + i64::from(i32::from_be_bytes([a, b, c, d]));
            let position = i32::from_be_bytes([e, f, g, h]);
            self.say(&format!("offset: {offset} position: {position}"))?;
            if before.is_some_and(|before| before >= (offset, position)) {
                self.problem("the entry does not rise above the one before it")?;
            }
            before = Some((offset, position));
        }
        self.cut_entry(rest)
    }

    fn time_index(&mut self, bytes: &[u8], base: Offset) -> Result<(), DumpError> {
        let (entries, rest) = bytes.as_chunks::<12>();
        for entry in entries {
            let [a, b, c, d, e, f, g, h, i, j, k, l] = *entry;
            let timestamp = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
            let offset = base + i64::from(i32::from_be_bytes([i, j, k, l]));
            self.say(&format!("timestamp: {timestamp} offset: {offset}"))?;
        }
        self.cut_entry(rest)
    }

    fn cut_entry(&mut self, rest: &[u8]) -> Result<(), DumpError> {
        match rest.len() {
            0 => Ok(()),
            left => self.problem(&format!("Found {left} invalid bytes at the end")),
        }
    }

    fn transaction_index(&mut self, bytes: &[u8]) -> Result<(), DumpError> {
        match decode_transaction_index(bytes) {
            Ok(aborted) => aborted.iter().try_for_each(|one| {
                self.say(&format!(
                    "version: 0 producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
                    one.producer_id.0, one.first_offset, one.last_offset, one.last_stable_offset
                ))
            }),
            Err(corrupt) => self.problem(&format!("corrupt: {corrupt}")),
        }
    }

    fn snapshot(&mut self, bytes: &[u8]) -> Result<(), DumpError> {
        match decode_snapshot(bytes, MonotonicMs(0), Planted::none()) {
            Ok((offset, table)) => {
                self.say(&format!("Producers as of offset {offset}"))?;
                let producers = table.producers().into_iter();
                let lines: Vec<_> = producers.map(|(id, state)| producer_line(id, state)).collect();
                lines.iter().try_for_each(|line| self.say(line))
            }
            Err(corrupt) => self.problem(&format!("corrupt: {corrupt}")),
        }
    }
}

/// Bytes as the tool of Kafka prints them, if they are text; others could break the line.
fn text(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        Ok(_) | Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// The sequence a record came with, also where compaction has taken others of its batch; -1 if its
/// producer has no id.
fn sequence_of(header: &RecordBatchHeader, record: &RecordRef<'_>) -> SequenceNumber {
    match i32::try_from(record.offset.0 - header.base_offset.0) {
        Ok(delta) if header.base_sequence != SequenceNumber::NONE => {
            header.base_sequence.plus(delta)
        }
        _ => SequenceNumber::NONE,
    }
}

fn time_name(header: &RecordBatchHeader) -> &'static str {
    match header.attributes.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn batch_line(header: &RecordBatchHeader, position: u64, is_valid: bool) -> String {
    let codec = header.attributes.codec().map_or("?".to_owned(), |codec| codec.to_string());
    let horizon = match header.delete_horizon() {
        Some(horizon) => format!("OptionalLong[{}]", horizon.0),
        None => "OptionalLong.empty".to_owned(),
    };
    format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} \
         producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} \
         deleteHorizonMs: {horizon} position: {position} {}: {} size: {} magic: 2 compresscodec: \
         {codec} crc: {} isvalid: {is_valid}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.base_sequence.0,
        header.last_sequence().0,
        header.producer_id.0,
        header.producer_epoch.0,
        header.partition_leader_epoch,
        header.attributes.is_transactional(),
        header.attributes.is_control(),
        time_name(header),
        header.max_timestamp.0,
        header.batch_bytes(),
        header.crc
    )
}

fn producer_line(id: ProducerId, state: &ProducerState) -> String {
    let open = match state.open_transaction {
        Some(offset) => format!("OptionalLong[{offset}]"),
        None => "OptionalLong.empty".to_owned(),
    };
    let mut line = format!(
        "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {open} \
         lastTimestamp: {}",
        id.0, state.epoch.0, state.coordinator_epoch, state.last_timestamp.0
    );
    for batch in state.recent.as_slice() {
        let _ = write!(
            line,
            " [sequences {} to {}: offsets {} to {}]",
            batch.first_sequence.0, batch.last_sequence.0, batch.first_offset, batch.last_offset
        );
    }
    line
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn text_is_printed_as_it_is_and_what_could_break_a_line_is_escaped() {
        assert_eq!(text("{\"a\":\"zwölf\"}".as_bytes()), "{\"a\":\"zwölf\"}");
        assert_eq!(text(b"one\ntwo\x1b[2J"), "one\\ntwo\\x1b[2J");
        assert_eq!(text(&[0xff, b'a']), "\\xffa");
    }
}
