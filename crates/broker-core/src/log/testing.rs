//! A log over files made up in memory, for the tests of this room.

use std::collections::BTreeMap;

use bytes::Bytes;
use streamledger_protocol::compression::{CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{
    BatchSeal, ControlKind, RecordBatchBuilder, build_control_batch,
};
use streamledger_protocol::{
    Offset, ProducerEpoch, ProducerId, ProducerIdentity, SequenceNumber, TimestampMs,
};

use super::*;
use crate::planted_bugs::Planted;
use crate::time::{MonotonicMs, Now};

/// A moment at `ms` on both clocks.
pub(super) fn at_ms(ms: u64) -> Now {
    Now { wall: TimestampMs(i64::try_from(ms).unwrap()), monotonic: MonotonicMs(ms) }
}

pub(super) fn identity(id: i64) -> ProducerIdentity {
    ProducerIdentity { id: ProducerId(id), epoch: ProducerEpoch(0) }
}

/// What a test's batch is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchSpec {
    pub(super) records: i32,
    pub(super) value_bytes: usize,
    pub(super) timestamp: i64,
    pub(super) producer: Option<(i64, i32)>,
    pub(super) transactional: bool,
}

pub(super) const PLAIN: BatchSpec = BatchSpec {
    records: 10,
    value_bytes: 20,
    timestamp: 1000,
    producer: None,
    transactional: false,
};

impl BatchSpec {
    pub(super) fn build(self) -> Bytes {
        let mut builder = RecordBatchBuilder::with_capacity(1024);
        let value = vec![b'v'; self.value_bytes];
        for n in 0..self.records {
            let timestamp = TimestampMs(self.timestamp + i64::from(n));
            builder.append(timestamp, Some(&n.to_be_bytes()), Some(&value), &[]);
        }
        let producer = self.producer.map(|(id, first)| (identity(id), SequenceNumber(first)));
        let seal = BatchSeal { producer, transactional: self.transactional, ..Default::default() };
        builder.seal(&seal, &mut CompressionScratch::new()).unwrap().bytes
    }
}

/// A log and the files that a shell would keep for it.
#[derive(Debug, Clone)]
pub(super) struct DiskLog {
    pub(super) log: PartitionLog,
    pub(super) files: BTreeMap<Offset, Vec<u8>>,
    pub(super) snapshots: BTreeMap<Offset, Vec<u8>>,
    pub(super) indexes: BTreeMap<Offset, IndexFiles>,
    /// What a restart knows to have been on disk.
    pub(super) flushed_below: Offset,
    pub(super) now: Now,
}

impl DiskLog {
    pub(super) fn new(config: LogConfig) -> Self {
        let now = at_ms(1_000_000);
        Self {
            log: PartitionLog::new(config, now.wall),
            files: BTreeMap::from([(Offset(0), Vec::new())]),
            snapshots: BTreeMap::new(),
            indexes: BTreeMap::new(),
            flushed_below: Offset::ZERO,
            now,
        }
    }

    pub(super) fn decide(
        &self,
        records: Bytes,
        origin: AppendOrigin,
    ) -> Result<AppendDecision, AppendRefusal> {
        let mut decompressor = Decompressor::default();
        let config = self.log.config();
        let valid = validate_batches(records, origin, config, self.now.wall, &mut decompressor)?;
        // As if the coordinator had just said yes.
        let producer = valid.batches.first().and_then(|batch| batch.header.producer());
        let guard = producer.map(|producer| self.log.producers().guard(producer.id));
        self.log.decide_append(valid.verified(guard), self.now)
    }

    pub(super) fn append_as(
        &mut self,
        records: Bytes,
        origin: AppendOrigin,
    ) -> Result<AppendOutcome, AppendRefusal> {
        let prepared = match self.decide(records, origin)? {
            AppendDecision::Duplicate(outcome) => return Ok(outcome),
            AppendDecision::Write(prepared) => prepared,
        };
        if prepared.roll.is_some() {
            self.roll();
        }
        let file = self.files.get_mut(&prepared.segment).unwrap();
        assert_eq!(file.len(), prepared.position as usize);
        file.extend(prepared.to_bytes());
        self.log.written(&prepared, self.now);
        Ok(prepared.outcome)
    }

    pub(super) fn append(&mut self, spec: BatchSpec) -> Result<AppendOutcome, AppendRefusal> {
        self.append_as(spec.build(), AppendOrigin::Client)
    }

    pub(super) fn append_marker(&mut self, id: i64, kind: ControlKind) -> AppendOutcome {
        let marker = build_control_batch(kind, identity(id), 0, TimestampMs(5000));
        self.append_as(marker.into(), AppendOrigin::Marker(MarkerEpoch::Same)).unwrap()
    }

    pub(super) fn roll(&mut self) {
        let plan = self.log.plan_roll(self.now.monotonic);
        self.snapshots.insert(plan.opened, plan.producer_snapshot.clone());
        self.indexes.insert(plan.closed, plan.index_files.clone());
        self.files.insert(plan.opened, Vec::new());
        self.log.rolled(&plan, self.now.wall);
    }

    pub(super) fn flush(&mut self) {
        self.log.flushed(self.log.log_end_offset());
    }

    pub(super) fn load_indexes(&mut self, segment: Offset) {
        let files = &self.indexes[&segment];
        let closed = self.log.segment(segment).unwrap();
        let indexes = SegmentIndexes::decode(closed, &files.offsets, &files.times).unwrap();
        self.log.install_indexes(segment, indexes);
    }

    /// Reads as a shell would: whole batches from `from` on, in one segment.
    pub(super) fn read(&mut self, from: Offset, max_bytes: usize, limit: ReadLimit) -> Vec<u8> {
        let mut wanted = from;
        loop {
            let range = match self.log.plan_read(wanted, max_bytes, limit).unwrap() {
                ReadPlan::Nothing => return Vec::new(),
                ReadPlan::LoadIndexes { segment } => {
                    self.load_indexes(segment);
                    continue;
                }
                ReadPlan::Range(range) => range,
            };
            match walk_batches(&self.files[&range.segment], range, max_bytes) {
                Selection::AtLimit => return Vec::new(),
                Selection::Beyond => match range.next_segment {
                    Some(next) => wanted = next,
                    None => return Vec::new(),
                },
                Selection::Batches { position, bytes, next_offset } => {
                    let end = position as usize + bytes;
                    let found = self.files[&range.segment][position as usize..end].to_vec();
                    let end = u32::try_from(end).unwrap();
                    self.log.note_read(next_offset, range.segment, end);
                    return found;
                }
                undecided => panic!("{undecided:?} of {range:?}"),
            }
        }
    }

    /// A restart after a crash: everything is rebuilt from the files, fed in pieces of
    /// `piece_bytes`.
    pub(super) fn restart(
        &self,
        piece_bytes: usize,
        on_damage: OnDamage,
    ) -> Result<Self, LogDamage> {
        let config = self.log.config().clone();
        let start = RecoveryStart {
            log_start_offset: self.log.log_start_offset(),
            flushed_below: self.flushed_below,
            ..Default::default()
        };
        let mut recovery = LogRecovery::new(config, start, on_damage, self.now);
        let mut files = self.files.clone();
        let mut indexes = BTreeMap::new();
        for (base_offset, file) in &self.files {
            match walk(&mut recovery, *base_offset, file, piece_bytes)? {
                SegmentVerdict::Whole => {}
                SegmentVerdict::CutTo { bytes, .. } => {
                    files.get_mut(base_offset).unwrap().truncate(bytes as usize);
                }
                SegmentVerdict::Remove => {
                    files.remove(base_offset);
                }
            }
            indexes.insert(*base_offset, recovery.index_files().unwrap());
        }
        let log = recovery.finish(Offset(i64::MAX))?;
        Ok(Self { log, files, indexes, ..self.clone() })
    }

    /// Everything that is in the files, without their indexes.
    pub(super) fn all_bytes(&self) -> Vec<u8> {
        self.files.values().flatten().copied().collect()
    }
}

/// Chooses batches from a range, of which as much is handed in as the walk wants.
pub(super) fn walk_batches(file: &[u8], range: ReadRange, max_bytes: usize) -> Selection {
    let mut walk = BatchWalk::new(range, max_bytes);
    loop {
        let (position, bytes) = walk.wants();
        let position = usize::try_from(position).unwrap();
        assert!(bytes > 0, "{range:?}");
        match walk.look(&file[position..position + bytes]) {
            Selection::Open => {}
            decided => return decided,
        }
    }
}

pub(super) fn walk(
    recovery: &mut LogRecovery,
    base_offset: Offset,
    file: &[u8],
    piece_bytes: usize,
) -> Result<SegmentVerdict, LogDamage> {
    recovery.begin_segment(base_offset, file.len() as u64, TimestampMs(0));
    let mut at = 0;
    let mut wanted = piece_bytes;
    while !recovery.segment_is_done() {
        let end = file.len().min(at + wanted.max(piece_bytes));
        let fed = recovery.feed(&file[at..end]);
        assert!(fed.consumed > 0 || fed.wanted > end - at || recovery.segment_is_done());
        at += fed.consumed;
        wanted = fed.wanted;
        if end == file.len() && fed.consumed == 0 {
            break;
        }
    }
    recovery.end_segment()
}

/// Settings with small segments and an index entry for almost every batch.
pub(super) fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        index_interval_bytes: 400,
        watermark: HighWatermarkRule::Flushed,
        timestamp_after_ms_max: None,
        planted: Planted::none(),
        ..LogConfig::default()
    }
}
