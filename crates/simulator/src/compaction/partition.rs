//! The shell of one partition over the faked directory: appends, rolls, flushes, starts.

use bytes::Bytes;
use streamledger_broker_core::log::{
    AppendDecision, AppendOrigin, AppendOutcome, FileKind, FileStep, LogConfig, LogRecovery,
    OnDamage, PartitionLog, RecoveryStart, SWAP_SUFFIX, ScanDepth, SegmentScan, SegmentVerdict,
    recovery_steps, validate_batches,
};
use streamledger_broker_core::time::Now;
use streamledger_protocol::compression::Decompressor;
use streamledger_protocol::{Offset, TimestampMs};

use super::directory::Directory;

/// How much of a file is fed at once.
const PIECE_BYTES: usize = 700;

/// One partition: its log and its files.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) log: PartitionLog,
    pub(super) directory: Directory,
    /// The segment whose file does not have its name yet.
    pub(super) swapping: Option<Offset>,
    /// Closed segments that were not flushed.
    closing: Vec<Offset>,
}

impl Partition {
    pub(super) fn new(config: LogConfig, now: Now) -> Self {
        let mut directory = Directory::default();
        directory.create(&FileKind::Log.file_name(Offset::ZERO));
        directory.perform(&FileStep::SyncDirectory);
        let log = PartitionLog::new(config, now.wall);
        Self { log, directory, swapping: None, closing: Vec::new() }
    }

    pub(super) fn append(
        &mut self,
        batch: &Bytes,
        origin: AppendOrigin,
        now: Now,
    ) -> Result<AppendOutcome, String> {
        let config = self.log.config().clone();
        let mut decompressor = Decompressor::default();
        let valid = validate_batches(batch.clone(), origin, &config, now.wall, &mut decompressor)
            .map_err(|refusal| refusal.to_string())?;
        let header = streamledger_protocol::record_batch::RecordBatchHeader::parse(batch);
        let producer = header.ok().and_then(|header| header.producer());
        // As if the coordinator had just said yes.
        let guard = producer.map(|producer| self.log.producers().guard(producer.id));
        let decided = self.log.decide_append(valid.verified(guard), now);
        let prepared = match decided.map_err(|refusal| refusal.to_string())? {
            AppendDecision::Duplicate(outcome) => return Ok(outcome),
            AppendDecision::Write(prepared) => prepared,
        };
        if prepared.roll.is_some() {
            self.roll(now);
        }
        let name = FileKind::Log.file_name(prepared.segment);
        self.directory.write(&name, prepared.position as usize, &prepared.to_bytes());
        self.log.written(&prepared, now);
        Ok(prepared.outcome)
    }

    pub(super) fn roll(&mut self, now: Now) {
        if self.log.active_segment().bytes() == 0 {
            return;
        }
        let plan = self.log.plan_roll(now.monotonic);
        self.directory.create(&FileKind::Log.file_name(plan.opened));
        let name = FileKind::TransactionIndex.file_name(plan.closed);
        self.directory.create(&name);
        self.directory.write(&name, 0, &plan.index_files.transactions);
        self.log.rolled(&plan, now.wall);
        self.closing.push(plan.closed);
    }

    /// In the order of the log: closed segments, names, the active segment.
    pub(super) fn flush(&mut self) {
        for closed in std::mem::take(&mut self.closing) {
            self.directory.perform(&FileStep::Sync(FileKind::Log.file_name(closed)));
            self.directory.perform(&FileStep::Sync(FileKind::TransactionIndex.file_name(closed)));
        }
        self.directory.perform(&FileStep::SyncDirectory);
        let active = self.log.active_segment().base_offset();
        self.directory.perform(&FileStep::Sync(FileKind::Log.file_name(active)));
        self.log.flushed(self.log.log_end_offset());
    }

    /// The steps by which a start ends an interrupted swap.
    pub(super) fn start_steps(directory: &Directory) -> Result<Vec<FileStep>, String> {
        recovery_steps(&directory.names(), |name| end_of(directory, name))
    }

    /// Opens the log after a crash, everything found again from its segments.
    pub(super) fn recover(
        mut directory: Directory,
        config: &LogConfig,
        flushed_below: Offset,
        now: Now,
    ) -> Result<Self, String> {
        let start = RecoveryStart { flushed_below, ..RecoveryStart::default() };
        let mut recovery = LogRecovery::new(config.clone(), start, OnDamage::Refuse, now);
        let logs = directory.names().into_iter().filter_map(|name| match FileKind::parse(&name) {
            Some((FileKind::Log, base_offset)) => Some((name, base_offset)),
            _ => None,
        });
        for (name, base_offset) in logs.collect::<Vec<_>>() {
            let bytes = directory.read(&name).unwrap_or_default().to_vec();
            recovery.begin_segment(base_offset, bytes.len() as u64, now.wall);
            let (mut at, mut wanted) = (0, PIECE_BYTES);
            while !recovery.segment_is_done() {
                let end = bytes.len().min(at + wanted.max(PIECE_BYTES));
                let fed = recovery.feed(&bytes[at..end]);
                at += fed.consumed;
                wanted = fed.wanted;
                if fed.consumed == 0 && fed.wanted <= end - at {
                    break;
                }
            }
            match recovery.end_segment().map_err(|damage| damage.to_string())? {
                SegmentVerdict::Whole => {}
                SegmentVerdict::CutTo { bytes, .. } => directory.truncate(&name, bytes as usize),
                SegmentVerdict::Remove => directory.perform(&FileStep::Remove(name)),
            }
        }
        let log = recovery.finish(Offset::ZERO).map_err(|damage| damage.to_string())?;
        let active = FileKind::Log.file_name(log.active_segment().base_offset());
        if directory.read(&active).is_none() {
            directory.create(&active);
        }
        let closing = log.segments().map(|segment| segment.base_offset());
        let closing = closing.take_while(|base| *base != log.active_segment().base_offset());
        let closing = closing.collect();
        let mut partition = Self { log, directory, swapping: None, closing };
        partition.flush();
        Ok(partition)
    }

    /// Everything that is in the segments, as a reader reads it from the start.
    pub(super) fn all_bytes(&self, from: Offset) -> Vec<u8> {
        let segments = self.log.segments().filter(|segment| segment.next_offset() > from);
        let mut all = Vec::new();
        for segment in segments {
            let name = FileKind::Log.file_name(segment.base_offset());
            let is_swapping = self.swapping == Some(segment.base_offset());
            let swap = self.directory.read(&format!("{name}{SWAP_SUFFIX}"));
            let bytes = swap.filter(|_| is_swapping).or_else(|| self.directory.read(&name));
            let bytes = bytes.unwrap_or_default();
            all.extend_from_slice(bytes.get(..segment.bytes() as usize).unwrap_or_default());
        }
        all
    }
}

fn end_of(directory: &Directory, name: &str) -> Result<Offset, String> {
    let bytes = directory.read(name).unwrap_or_default();
    let of_segment = name.split_once(".log").and_then(|(digits, _)| digits.parse().ok());
    let base_offset = Offset(of_segment.ok_or_else(|| format!("{name} is no segment"))?);
    let (length, depth) = (bytes.len() as u64, ScanDepth::Checksum);
    let mut scan = SegmentScan::new(base_offset, length, TimestampMs::NONE, depth, u32::MAX);
    let _ = scan.feed(bytes, |_| {});
    match scan.finish() {
        (segment, None) => Ok(segment.next_offset()),
        (_, Some(bad)) => Err(format!("{name} is damaged: {}", bad.reason)),
    }
}
