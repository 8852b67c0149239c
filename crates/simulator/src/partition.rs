//! One partition at its broker: the real log over faked files, run as the broker's shell runs it.

use bytes::Bytes;
use streamledger_broker_core::log::{
    AbortedTransaction, AppendDecision, AppendOrigin, BatchWalk, LogConfig, LogDamage, LogRecovery,
    OnDamage, PartitionLog, PreparedAppend, ProducerStateTable, ReadLimit, ReadPlan, ReadRange,
    RecoveryStart, ScanDepth, SegmentIndexes, SegmentScan, SegmentVerdict, Selection,
    TransactionGuard, decode_snapshot, decode_transaction_index, validate_batches,
};
use streamledger_broker_core::planted_bugs::PlantedBug;
use streamledger_broker_core::time::Now;
use streamledger_protocol::compression::Decompressor;
use streamledger_protocol::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TimestampMs};

use crate::disk::{CrashKind, FlushStep, IndexPair, LogFile, PartitionFiles};
use crate::random::Dice;

/// More steps than any sound read takes.
const READ_STEPS_MAX: usize = 1000;

/// A partition, wherever it is led.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) topic: usize,
    pub(crate) index: PartitionIndex,
    /// The broker that holds its files and leads it when it is up.
    pub(crate) host: usize,
    /// Rises whenever the log is opened, closed or moved: what was begun before is void.
    pub(crate) life: u32,
    pub(crate) leader_epoch: LeaderEpoch,
    /// The log while it is open.
    pub(crate) log: Option<Box<PartitionLog>>,
    pub(crate) files: PartitionFiles,
    pub(crate) flush: Option<Flush>,
    /// The highest watermark there ever was: consumers have seen everything below.
    pub(crate) watermark_seen: Offset,
    /// The highest last stable offset there ever was.
    pub(crate) stable_seen: Offset,
    /// Segments begun since the partition was made.
    pub(crate) rolls: u64,
    config: LogConfig,
    /// Closed segments that no flush has covered.
    closing: Vec<Closing>,
    next_flush: u64,
    /// How far the flush before the last one had come.
    told_late: Offset,
}

/// A segment that was closed, and what is written once it is on disk.
#[derive(Debug)]
struct Closing {
    closed: Offset,
    opened: Offset,
    transaction_index: Vec<u8>,
    snapshot: Vec<u8>,
}

/// A flush that is going on.
#[derive(Debug, Clone)]
pub(crate) struct Flush {
    pub(crate) number: u64,
    steps: Vec<FlushStep>,
    /// How many of `closing` it covers.
    closed: usize,
    begin: Offset,
    end: Offset,
}

/// What an append came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appended {
    /// It is in the log, to be acknowledged once it is flushed past its last offset.
    Written { base_offset: Offset, last_offset: Offset },
    /// It was in the log before.
    Duplicate { base_offset: Offset, last_offset: Offset },
    /// Nothing of it is in the log.
    Refused(ErrorCode),
}

/// What a recovery found.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Recovered {
    pub(crate) cut_bytes: usize,
    pub(crate) removed_segments: usize,
    pub(crate) known_segments: usize,
    pub(crate) used_snapshot: bool,
}

impl Partition {
    pub(crate) fn new(topic: usize, index: PartitionIndex, host: usize, config: LogConfig) -> Self {
        Self {
            topic,
            index,
            host,
            life: 0,
            leader_epoch: LeaderEpoch::ZERO,
            log: None,
            files: PartitionFiles::default(),
            flush: None,
            watermark_seen: Offset::ZERO,
            stable_seen: Offset::ZERO,
            rolls: 0,
            config,
            closing: Vec::new(),
            next_flush: 0,
            told_late: Offset::ZERO,
        }
    }

    /// A log without records.
    pub(crate) fn create(&mut self, now: Now) {
        let mut log = PartitionLog::new(self.config.clone(), now.wall);
        log.become_leader(self.leader_epoch);
        self.files = PartitionFiles::default();
        self.files.segments.insert(Offset::ZERO, LogFile::default());
        self.log = Some(Box::new(log));
        self.watermark_seen = Offset::ZERO;
        self.stable_seen = Offset::ZERO;
        self.life += 1;
        self.flush = None;
        self.closing.clear();
        self.told_late = Offset::ZERO;
    }

    /// Closes the log as a leader that steps down does; the files stay as they are.
    pub(crate) fn close(&mut self) {
        self.log = None;
        self.flush = None;
        self.closing.clear();
        self.told_late = Offset::ZERO;
        self.life += 1;
    }

    /// The broker goes down. Says how many bytes went with it.
    pub(crate) fn crash(&mut self, kind: CrashKind, dice: &mut Dice) -> usize {
        if let Some(flush) = self.flush.take() {
            let done = dice.place(flush.steps.len() + 1);
            flush.steps.into_iter().take(done).for_each(|step| self.files.make_safe(step));
        }
        self.close();
        self.files.crash(kind, dice)
    }

    /// Appends a batch as a produce request or a coordinator brings it. `guard` is there if the
    /// coordinator has let it in, `free_bytes` is the room on the disk.
    pub(crate) fn append(
        &mut self,
        records: Bytes,
        (origin, guard): (AppendOrigin, Option<TransactionGuard>),
        now: Now,
        free_bytes: usize,
    ) -> Appended {
        let Some(log) = &self.log else {
            return Appended::Refused(ErrorCode::NotLeaderOrFollower);
        };
        let mut decompressor = Decompressor::default();
        let decision = validate_batches(records, origin, &self.config, now.wall, &mut decompressor)
            .and_then(|valid| log.decide_append(valid.verified(guard), now));
        match decision {
            Err(refusal) => Appended::Refused(refusal.error_code()),
            Ok(AppendDecision::Duplicate(outcome)) => {
                let (base_offset, last_offset) = (outcome.base_offset, outcome.last_offset);
                Appended::Duplicate { base_offset, last_offset }
            }
            Ok(AppendDecision::Write(prepared)) => self.write(&prepared, now, free_bytes),
        }
    }

    fn write(&mut self, prepared: &PreparedAppend, now: Now, free_bytes: usize) -> Appended {
        if prepared.roll.is_some() {
            if free_bytes == 0 {
                return Appended::Refused(ErrorCode::KafkaStorageError);
            }
            self.roll(now);
        }
        let Some(log) = &mut self.log else {
            return Appended::Refused(ErrorCode::NotLeaderOrFollower);
        };
        let file = self.files.segments.entry(prepared.segment).or_default();
        if !file.write(&prepared.to_bytes(), free_bytes) {
            file.truncate(prepared.position as usize);
            return Appended::Refused(ErrorCode::KafkaStorageError);
        }
        log.written(prepared, now);
        let outcome = &prepared.outcome;
        Appended::Written { base_offset: outcome.base_offset, last_offset: outcome.last_offset }
    }

    /// Begins a segment. The closed one is flushed by the next flush, not here.
    fn roll(&mut self, now: Now) {
        let Some(log) = &mut self.log else { return };
        let plan = log.plan_roll(now.monotonic);
        let (offsets, times) = (plan.index_files.offsets.clone(), plan.index_files.times.clone());
        self.files.indexes.insert(plan.closed, IndexPair { offsets, times });
        if self.config.planted.has(PlantedBug::SnapshotBeforeFlush) {
            let snapshot = FlushStep::Snapshot(plan.opened, plan.producer_snapshot.clone());
            self.files.make_safe(snapshot);
        }
        self.files.segments.insert(plan.opened, LogFile::default());
        log.rolled(&plan, now.wall);
        self.closing.push(Closing {
            closed: plan.closed,
            opened: plan.opened,
            transaction_index: plan.index_files.transactions,
            snapshot: plan.producer_snapshot,
        });
        self.rolls += 1;
    }

    /// Begins a flush if there is anything to flush and none is going on. Gives its number.
    pub(crate) fn begin_flush(&mut self) -> Option<u64> {
        let log = self.log.as_mut()?;
        // An older flush may be told later than a newer one: then it says nothing.
        log.flushed(self.told_late);
        let active = self.files.unsafe_bytes(log.active_segment().base_offset());
        if self.flush.is_some() || (active.is_none() && self.closing.is_empty()) {
            return None;
        }
        let mut steps = Vec::new();
        for Closing { closed, opened, transaction_index, snapshot } in &self.closing {
            steps.extend(self.files.unsafe_bytes(*closed));
            steps.push(FlushStep::TransactionIndex(*closed, transaction_index.clone()));
            steps.push(FlushStep::Snapshot(*opened, snapshot.clone()));
        }
        steps.extend(active);
        self.next_flush += 1;
        let (number, closed) = (self.next_flush, self.closing.len());
        let (begin, end) = (log.flushed_offset(), log.log_end_offset());
        self.flush = Some(Flush { number, steps, closed, begin, end });
        Some(number)
    }

    /// A flush is done. False if it was of an earlier life.
    pub(crate) fn flush_done(&mut self, number: u64) -> bool {
        let Some(flush) = self.flush.take_if(|flush| flush.number == number) else { return false };
        flush.steps.into_iter().for_each(|step| self.files.make_safe(step));
        self.closing.drain(..flush.closed);
        if let Some(log) = &mut self.log {
            log.flushed(flush.end);
            self.told_late = flush.begin;
        }
        true
    }

    /// How far the log is known to be safe.
    pub(crate) fn flushed_offset(&self) -> Offset {
        self.log.as_ref().map_or(Offset::ZERO, |log| log.flushed_offset())
    }

    /// Opens the log from its files, after a crash or a move.
    pub(crate) fn recover(&mut self, now: Now, dice: &mut Dice) -> Result<Recovered, LogDamage> {
        let mut recovered = Recovered::default();
        let (known, snapshot) = self.choose_known(now, dice);
        recovered.known_segments = known;
        recovered.used_snapshot = snapshot.is_some();
        let flushed_below = self.flushed_below(now);
        let start = RecoveryStart { snapshot, flushed_below, ..RecoveryStart::default() };
        let mut recovery = LogRecovery::new(self.config.clone(), start, OnDamage::Refuse, now);
        let bases: Vec<Offset> = self.files.segments.keys().copied().collect();
        for (place, base_offset) in bases.into_iter().enumerate() {
            if place < known {
                let Some(file) = self.files.segments.get(&base_offset) else { continue };
                let interval = self.config.index_interval_bytes;
                let mut scan = scan_of(base_offset, file.bytes.len(), interval);
                feed_all(&file.bytes, |piece| scan.feed(piece, |_| {}).consumed);
                recovery.known_segment(scan.finish().0, self.read_aborted(base_offset))?;
                continue;
            }
            let Some(file) = self.files.segments.get_mut(&base_offset) else { continue };
            let bytes = file.bytes.len();
            match walk(&mut recovery, base_offset, &file.bytes, dice)? {
                SegmentVerdict::Whole => {}
                SegmentVerdict::CutTo { bytes: kept, .. } => file.truncate(kept as usize),
                SegmentVerdict::Remove => {
                    file.truncate(0);
                    recovered.removed_segments += 1;
                }
            }
            recovered.cut_bytes += bytes.saturating_sub(file.bytes.len());
            if let Some(index_files) = recovery.index_files() {
                let index = FlushStep::TransactionIndex(base_offset, index_files.transactions);
                self.files.make_safe(index);
            }
        }
        let snapshot =
            recovery.last_segment_snapshot().map(|(offset, content)| (offset, content.to_vec()));
        let mut log = recovery.finish(Offset::ZERO)?;
        let kept = |base: &Offset| log.segments().any(|segment| segment.base_offset() == *base);
        self.files.segments.retain(|base, _| kept(base));
        self.files.transaction_indexes.retain(|base, _| kept(base));
        self.files.snapshots.retain(|base, _| kept(base));
        self.files.safe_snapshots.retain(|base, _| kept(base));
        self.files.segments.entry(log.active_segment().base_offset()).or_default();
        let bases: Vec<Offset> = self.files.segments.keys().copied().collect();
        let steps: Vec<_> =
            bases.iter().filter_map(|base| self.files.unsafe_bytes(*base)).collect();
        let snapshot = snapshot.map(|(offset, content)| FlushStep::Snapshot(offset, content));
        steps.into_iter().chain(snapshot).for_each(|step| self.files.make_safe(step));
        log.flushed(log.log_end_offset());
        log.become_leader(self.leader_epoch);
        self.log = Some(Box::new(log));
        self.life += 1;
        Ok(recovered)
    }

    /// How many segments need no walk, and the snapshot where the walk begins.
    fn choose_known(
        &self,
        now: Now,
        dice: &mut Dice,
    ) -> (usize, Option<(Offset, ProducerStateTable)>) {
        // Without a manifest nothing is known.
        if dice.chance(200) {
            return (0, None);
        }
        let bases: Vec<Offset> = self.files.segments.keys().copied().collect();
        for known in (1..bases.len()).rev() {
            if let Some(table) = self.read_snapshot(bases[known], now) {
                return (known, Some((bases[known], table)));
            }
        }
        (0, None)
    }

    /// The aborted transactions of a segment that a snapshot proves to be on disk.
    fn read_aborted(&self, of: Offset) -> Vec<AbortedTransaction> {
        let content = self.files.transaction_indexes.get(&of);
        content.and_then(|content| decode_transaction_index(content).ok()).unwrap_or_default()
    }

    fn read_snapshot(&self, of: Offset, now: Now) -> Option<ProducerStateTable> {
        let content = self.files.snapshots.get(&of)?;
        let decoded = decode_snapshot(content, now.monotonic, self.config.planted);
        decoded.ok().filter(|(offset, _)| *offset == of).map(|(_, table)| table)
    }

    /// Where there is a snapshot, everything below was on disk.
    fn flushed_below(&self, now: Now) -> Offset {
        let mut offsets = self.files.snapshots.keys().rev();
        let proven = offsets.find(|offset| self.read_snapshot(**offset, now).is_some());
        proven.copied().unwrap_or(Offset::ZERO)
    }

    /// Whole batches from `from` on, at most about `max_bytes`; nothing at the limit.
    pub(crate) fn read(
        &mut self,
        from: Offset,
        max_bytes: usize,
        limit: ReadLimit,
    ) -> Result<Vec<u8>, String> {
        let interval = self.config.index_interval_bytes;
        let Self { log, files, .. } = self;
        let Some(log) = log else { return Ok(Vec::new()) };
        let (mut wanted, mut rebuilt) = (from, false);
        for _ in 0..READ_STEPS_MAX {
            let range = match log.plan_read(wanted, max_bytes, limit).map_err(|e| e.to_string())? {
                ReadPlan::Nothing => return Ok(Vec::new()),
                ReadPlan::LoadIndexes { segment } => {
                    load_indexes(log, files, segment, interval)?;
                    continue;
                }
                ReadPlan::Range(range) => range,
            };
            let Some(file) = files.segments.get(&range.segment) else {
                return Err(format!("segment {} has no file", range.segment));
            };
            match choose(file, range, max_bytes)? {
                Selection::AtLimit => return Ok(Vec::new()),
                Selection::Beyond => match range.next_segment {
                    Some(next) => wanted = next,
                    None => return Ok(Vec::new()),
                },
                Selection::Batches { position, bytes, next_offset } => {
                    let found = file.stretch(u64::from(position), bytes)?.to_vec();
                    let end = u32::try_from(u64::from(position) + bytes as u64);
                    log.note_read(next_offset, range.segment, end.unwrap_or(u32::MAX));
                    return Ok(found);
                }
                // The index may have misled.
                Selection::Damaged { .. } if !rebuilt => {
                    files.indexes.remove(&range.segment);
                    load_indexes(log, files, range.segment, interval)?;
                    rebuilt = true;
                }
                Selection::Damaged { position } => {
                    return Err(format!("segment {} is damaged at {position}", range.segment));
                }
                Selection::Open => break,
            }
        }
        Err(format!("reading from {from} does not come to an end"))
    }
}

/// Chooses batches from a range of a file, of which as much is handed in as the walk wants.
fn choose(file: &LogFile, range: ReadRange, max_bytes: usize) -> Result<Selection, String> {
    let mut walk = BatchWalk::new(range, max_bytes);
    for _ in 0..READ_STEPS_MAX {
        let (position, bytes) = walk.wants();
        match walk.look(file.stretch(position, bytes)?) {
            Selection::Open => {}
            decided => return Ok(decided),
        }
    }
    Ok(Selection::Open)
}

/// The indexes of a closed segment, from their files or, where these are no good, from the log.
fn load_indexes(
    log: &mut PartitionLog,
    files: &PartitionFiles,
    base_offset: Offset,
    interval: u32,
) -> Result<(), String> {
    let segment = log.segment(base_offset).ok_or("there is no such segment")?;
    let decode = |pair: &IndexPair| SegmentIndexes::decode(segment, &pair.offsets, &pair.times);
    let from_file = files.indexes.get(&base_offset).and_then(|pair| decode(pair).ok());
    let indexes = match from_file {
        Some(indexes) => indexes,
        None => {
            let file = files.segments.get(&base_offset).ok_or("the segment has no file")?;
            let mut scan = scan_of(base_offset, segment.bytes() as usize, interval);
            feed_all(&file.bytes, |piece| scan.feed(piece, |_| {}).consumed);
            scan.into_indexes().ok_or("the segment's batches can't be walked")?
        }
    };
    log.install_indexes(base_offset, indexes);
    Ok(())
}

fn scan_of(base_offset: Offset, file_bytes: usize, interval: u32) -> SegmentScan {
    let file_bytes = file_bytes as u64;
    SegmentScan::new(base_offset, file_bytes, TimestampMs(0), ScanDepth::Header, interval)
}

/// Feeds a whole file in one piece, again behind what was consumed until nothing is.
fn feed_all(bytes: &[u8], mut feed: impl FnMut(&[u8]) -> usize) {
    let mut at = 0;
    loop {
        let consumed = feed(&bytes[at..]);
        at += consumed;
        if consumed == 0 || at >= bytes.len() {
            return;
        }
    }
}

/// Walks a segment in pieces of any size, as a shell that reads a file may.
fn walk(
    recovery: &mut LogRecovery,
    base_offset: Offset,
    file: &[u8],
    dice: &mut Dice,
) -> Result<SegmentVerdict, LogDamage> {
    let piece_bytes = dice.pick(&[61, 300, 1000, 100_000]);
    recovery.begin_segment(base_offset, file.len() as u64, TimestampMs(0));
    let (mut at, mut wanted) = (0, piece_bytes);
    while !recovery.segment_is_done() {
        let end = file.len().min(at + wanted.max(piece_bytes));
        let fed = recovery.feed(&file[at..end]);
        at += fed.consumed;
        wanted = fed.wanted;
        if fed.consumed == 0 && fed.wanted <= end - at {
            break;
        }
    }
    recovery.end_segment()
}
