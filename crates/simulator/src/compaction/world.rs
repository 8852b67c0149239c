//! One run: deeds in an order that the seed chooses, and checks after each crash and compaction.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Display;

use streamledger_broker_core::log::{
    AppendOrigin, CleanupPolicy, CompactionEffect, CompactionPass, CompactionStanding, FileKind,
    FileStep, HighWatermarkRule, LogConfig, MarkerEpoch, ReadLimit, Replacement,
};
use streamledger_broker_core::planted_bugs::Planted as BrokerPlanted;
use streamledger_broker_core::time::{MonotonicMs, Now};
use streamledger_protocol::compression::{Compression, CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{
    BatchSeal, ControlKind, RecordBatchBuilder, batches, build_control_batch,
};
use streamledger_protocol::{
    Codec, Offset, ProducerEpoch, ProducerId, ProducerIdentity, SequenceNumber, TimestampMs,
};

use super::CompactionReport;
use super::partition::Partition;
use super::truth::{Truth, View, Written};
use crate::disk::CrashKind;
use crate::plan::Planted;
use crate::random::Dice;

/// How many deeds a run has.
const DEEDS: u64 = 400;
const START_MS: i64 = 1_790_000_000_000;
const DELETE_RETENTION_MS: u64 = 60_000;
/// Idempotent producers, and transactional ones.
const PRODUCERS: [i64; 2] = [1, 2];
const TRANSACTIONAL: [i64; 3] = [11, 12, 13];

/// A reader on its way.
#[derive(Debug, Default)]
struct SlowReader {
    from: i64,
    view: View,
    began_ms: u64,
}

/// A compaction on its way.
#[derive(Debug)]
struct Compacting {
    pass: CompactionPass,
    /// Steps of a swap that were not done yet, and whether they finish it.
    steps: VecDeque<FileStep>,
    replacement: Option<Replacement>,
}

struct World {
    dice: Dice,
    now_ms: u64,
    config: LogConfig,
    partition: Partition,
    truth: Truth,
    standing: CompactionStanding,
    compacting: Option<Compacting>,
    reader: SlowReader,
    value: u32,
    report: CompactionReport,
}

pub(super) fn run(seed: u64, planted: Option<Planted>) -> CompactionReport {
    let mut dice = Dice::new(seed ^ 0x00c0_4ac7);
    let config = LogConfig {
        segment_bytes: u32::try_from(dice.between(600, 4000)).unwrap_or(4000),
        index_interval_bytes: 300,
        cleanup: CleanupPolicy::Compact,
        dirty_ratio_ppm_min: dice.pick(&[0, 0, 300_000]),
        delete_retention_ms: DELETE_RETENTION_MS,
        timestamp_after_ms_max: None,
        watermark: HighWatermarkRule::Flushed,
        planted: planted.map_or_else(BrokerPlanted::none, Planted::in_broker),
        ..LogConfig::default()
    };
    let now = at(0);
    let mut world = World {
        partition: Partition::new(config.clone(), now),
        dice,
        now_ms: 0,
        config,
        truth: Truth::default(),
        standing: CompactionStanding::default(),
        compacting: None,
        reader: SlowReader::default(),
        value: 0,
        report: CompactionReport { seed, ..CompactionReport::default() },
    };
    for _ in 0..DEEDS {
        world.deed();
        if !world.report.is_good() {
            return world.report;
        }
    }
    world.end();
    world.report
}

fn at(ms: u64) -> Now {
    let wall = TimestampMs(START_MS + i64::try_from(ms).unwrap_or(0));
    Now { wall, monotonic: MonotonicMs(1 << 40 | ms) }
}

fn identity(id: i64) -> ProducerIdentity {
    ProducerIdentity { id: ProducerId(id), epoch: ProducerEpoch(0) }
}

impl World {
    fn now(&self) -> Now {
        at(self.now_ms)
    }

    fn wrong(&mut self, what: impl Display) {
        let at = self.now_ms;
        self.report.violations.push(format!("{at} ms: {what}"));
    }

    fn deed(&mut self) {
        self.now_ms += self.dice.below(1500);
        match self.dice.below(100) {
            0..=29 => self.write(None),
            30..=44 => {
                let id = self.dice.pick(&PRODUCERS);
                self.write(Some((id, false)));
            }
            45..=59 => {
                let id = self.dice.pick(&TRANSACTIONAL);
                self.write(Some((id, true)));
            }
            60..=67 => {
                let id = self.dice.pick(&TRANSACTIONAL);
                let commits = self.dice.chance(600);
                self.end_transaction(id, commits);
            }
            68..=73 => self.partition.roll(self.now()),
            74..=81 => self.partition.flush(),
            82..=93 => {
                for _ in 0..self.dice.between(1, 12) {
                    self.compact_a_step();
                }
            }
            94..=97 => self.read_on(),
            _ => self.crash(),
        }
    }

    fn write(&mut self, producer: Option<(i64, bool)>) {
        let mut builder = RecordBatchBuilder::with_capacity(512);
        let mut written = Vec::new();
        let first = producer.map(|(id, _)| self.truth.last_sequence(id).map_or(0, |last| last + 1));
        for n in 0..self.dice.between(1, 4) {
            self.value += 1;
            let key = u8::try_from(self.dice.below(10)).unwrap_or(0);
            let value = (!self.dice.chance(200)).then_some(self.value);
            let bytes = value.map(|value| [value.to_be_bytes(); 8].concat());
            builder.append(self.now().wall, Some(&[key]), bytes.as_deref(), &[]);
            let n = i32::try_from(n).unwrap_or(0);
            written.push(Written::Record {
                key,
                value,
                producer: producer.zip(first).map(|((id, _), first)| (id, first + n)),
                transactional: producer.is_some_and(|(_, transactional)| transactional),
            });
        }
        let seal = BatchSeal {
            compression: Compression::of(self.dice.pick(&[Codec::None, Codec::None, Codec::Lz4])),
            producer: producer
                .zip(first)
                .map(|((id, _), first)| (identity(id), SequenceNumber(first))),
            transactional: producer.is_some_and(|(_, transactional)| transactional),
        };
        let Ok(sealed) = builder.seal(&seal, &mut CompressionScratch::new()) else { return };
        match self.partition.append(&sealed.bytes, AppendOrigin::Client, self.now()) {
            Ok(outcome) if !outcome.duplicate => {
                self.report.appended += written.len() as u64;
                self.truth.written.extend((outcome.base_offset.0..).zip(written));
            }
            Ok(_) => self.wrong(format!("{producer:?} was taken for a duplicate at {first:?}")),
            Err(refusal) => self.wrong(format!("{producer:?} at {first:?} refused: {refusal}")),
        }
    }

    fn end_transaction(&mut self, id: i64, committed: bool) {
        if !self.truth.is_open(id) {
            return;
        }
        let kind = if committed { ControlKind::Commit } else { ControlKind::Abort };
        let marker = build_control_batch(kind, identity(id), 0, self.now().wall);
        match self.partition.append(
            &marker.into(),
            AppendOrigin::Marker(MarkerEpoch::Same),
            self.now(),
        ) {
            Ok(outcome) => {
                self.report.transactions += 1;
                let marker = Written::Marker { producer: id, committed };
                self.truth.written.insert(outcome.base_offset.0, marker);
            }
            Err(refusal) => self.wrong(format!("a marker of {id} refused: {refusal}")),
        }
    }

    fn compact_a_step(&mut self) {
        let Some(mut compacting) = self.compacting.take() else {
            let plan = self.partition.log.plan_compaction(&self.standing, self.now().wall);
            let map_bytes = usize::try_from(self.dice.between(70, 2000)).unwrap_or(2000);
            let step_bytes = usize::try_from(self.dice.between(200, 2000)).unwrap_or(2000);
            self.compacting = plan.map(|plan| Compacting {
                pass: CompactionPass::new(plan, map_bytes, step_bytes),
                steps: VecDeque::new(),
                replacement: None,
            });
            return;
        };
        if let Some(step) = compacting.steps.pop_front() {
            self.partition.directory.perform(&step);
            if compacting.steps.is_empty() {
                self.partition.swapping = None;
            }
            if compacting.steps.is_empty() && compacting.replacement.is_some() {
                // Sealed: from here on it is decided.
                if let Some(replacement) = compacting.replacement.take() {
                    self.partition.log.segments_replaced(&replacement);
                    self.partition.swapping = Some(replacement.base_offset());
                    self.report.replaced += replacement.sources.len() as u64;
                    compacting.steps = replacement.finish_steps().into();
                }
            }
            self.compacting = Some(compacting);
            return;
        }
        match compacting.pass.poll() {
            Ok(CompactionEffect::Read { segment, position, bytes }) => {
                let from = usize::try_from(position).unwrap_or(0);
                let name = FileKind::Log.file_name(segment);
                let file = self.partition.directory.read(&name).unwrap_or_default();
                let piece = file.get(from..file.len().min(from + bytes)).unwrap_or_default();
                if let Err(problem) = compacting.pass.read(piece) {
                    return self.wrong(format!("compaction: {problem}"));
                }
            }
            Ok(CompactionEffect::Write { file, position, bytes }) => {
                if position == 0 {
                    self.partition.directory.create(&file);
                }
                let at = usize::try_from(position).unwrap_or(0);
                self.partition.directory.write(&file, at, &bytes);
            }
            Ok(CompactionEffect::Replace(replacement)) => {
                self.write_indexes(&replacement);
                compacting.steps = replacement.seal_steps().into();
                compacting.replacement = Some(*replacement);
            }
            Ok(CompactionEffect::Discard(steps)) => compacting.steps = steps.into(),
            Ok(CompactionEffect::Done(standing)) => {
                self.standing = standing;
                self.report.compactions += 1;
                return self.check();
            }
            Err(problem) => return self.wrong(format!("compaction: {problem}")),
        }
        self.compacting = Some(compacting);
    }

    fn write_indexes(&mut self, replacement: &Replacement) {
        let files = &replacement.index_files;
        for (kind, content) in [
            (FileKind::OffsetIndex, &files.offsets),
            (FileKind::TimeIndex, &files.times),
            (FileKind::TransactionIndex, &files.transactions),
        ] {
            let name = format!("{}.cleaned", kind.file_name(replacement.base_offset()));
            self.partition.directory.create(&name);
            self.partition.directory.write(&name, 0, content);
        }
    }

    fn crash(&mut self) {
        self.report.crashes += 1;
        let in_swap = self.compacting.take().is_some_and(|compacting| !compacting.steps.is_empty());
        self.report.crashes_in_swaps += u64::from(in_swap);
        let flushed = self.partition.log.high_watermark();
        let mut directory = std::mem::take(&mut self.partition.directory);
        loop {
            let kind = self.dice.pick(&[CrashKind::Kill, CrashKind::PowerCut]);
            directory.crash(kind, &mut self.dice);
            let steps = match Partition::start_steps(&directory) {
                Ok(steps) => steps,
                Err(problem) => return self.wrong(format!("a swap can't be finished: {problem}")),
            };
            let done =
                if self.dice.chance(300) { self.dice.place(steps.len() + 1) } else { steps.len() };
            steps.iter().take(done).for_each(|step| directory.perform(step));
            if done == steps.len() {
                break;
            }
            self.report.crashes_in_starts += 1;
        }
        match Partition::recover(directory, &self.config, flushed, self.now()) {
            Ok(partition) => {
                self.partition = partition;
                self.truth.cut(self.partition.log.log_end_offset().0);
                // A reader never saw what was not flushed.
                if self.dice.chance(100) {
                    self.standing = CompactionStanding::default();
                }
                self.check_producers();
                self.check();
            }
            Err(damage) => self.wrong(format!("the log does not open: {damage}")),
        }
    }

    fn check_producers(&mut self) {
        let log = &self.partition.log;
        let expected = self.truth.first_open().map_or(log.high_watermark(), Offset);
        let found = log.last_stable_offset();
        let mut wrong = Vec::new();
        if found != expected {
            wrong.push(format!("the last stable offset is {found}, not {expected}"));
        }
        for id in PRODUCERS.into_iter().chain(TRANSACTIONAL) {
            let known = log.producers().producer(ProducerId(id));
            let found = known.map(|state| state.last_sequence().0).filter(|last| *last >= 0);
            let last = self.truth.last_sequence(id);
            if found != last {
                wrong.push(format!("producer {id} goes on after {found:?}, not {last:?}"));
            }
        }
        wrong.into_iter().for_each(|what| self.wrong(what));
    }

    /// A read-committed reader that begins anew.
    fn check(&mut self) {
        let mut reader = SlowReader::default();
        self.read(&mut reader, usize::MAX);
        let expected = self.truth.view(self.partition.log.last_stable_offset().0);
        self.report.views_compared += 1;
        if reader.view != expected {
            self.wrong(format!("a new reader has {:?}, not {expected:?}", reader.view));
        }
    }

    /// The reader on its way reads a part; once it has read everything, it has what a new one has.
    fn read_on(&mut self) {
        let mut reader = std::mem::take(&mut self.reader);
        if self.now_ms - reader.began_ms >= DELETE_RETENTION_MS || reader.from == 0 {
            reader = SlowReader { began_ms: self.now_ms, ..SlowReader::default() };
        }
        let batch_count = usize::try_from(self.dice.between(1, 8)).unwrap_or(1);
        self.read(&mut reader, batch_count);
        let stable = self.partition.log.last_stable_offset().0;
        if reader.from >= stable {
            let expected = self.truth.view(stable);
            self.report.views_compared += 1;
            if reader.view != expected {
                self.wrong(format!("a reader on its way has {:?}, not {expected:?}", reader.view));
            }
        }
        self.reader = reader;
    }

    /// Reads as a consumer does: aborted transactions by the list that comes with the batches,
    /// until their markers.
    fn read(&mut self, reader: &mut SlowReader, batch_count: usize) {
        let stable = self.partition.log.limit_offset(ReadLimit::LastStable);
        let bytes = self.partition.all_bytes(Offset(reader.from));
        let counts = self.truth.committed();
        let mut decompressor = Decompressor::default();
        let mut wrong = Vec::new();
        let transactions = self.partition.log.producers().transactions();
        // Of each answer anew, as consumers do it.
        let mut aborted_producers = BTreeSet::new();
        let mut listed: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for aborted in transactions.aborted_between(Offset(reader.from), stable) {
            listed.entry(aborted.first_offset.0).or_default().push(aborted.producer_id.0);
        }
        let wanted = batches(&bytes).filter_map(Result::ok);
        let wanted = wanted.filter(|batch| batch.header().last_offset().0 >= reader.from);
        for batch in wanted.take(batch_count).collect::<Vec<_>>() {
            let header = *batch.header();
            if header.base_offset >= stable {
                break;
            }
            let begun: Vec<i64> =
                listed.range(..=header.last_offset().0).map(|(first, _)| *first).collect();
            for first in begun {
                aborted_producers.extend(listed.remove(&first).unwrap_or_default());
            }
            let id = header.producer_id.0;
            reader.from = header.next_offset().0;
            if header.attributes.is_control() {
                aborted_producers.remove(&id);
                continue;
            }
            let is_hidden = header.attributes.is_transactional() && aborted_producers.contains(&id);
            let Ok(records) = batch.records(&mut decompressor) else {
                wrong.push(format!("the batch at {} can't be read", header.base_offset));
                continue;
            };
            for record in records.filter_map(Result::ok) {
                self.report.compared += 1;
                let (key, value) = key_and_value(record.key, record.value);
                let offset = record.offset.0;
                match self.truth.written.get(&offset) {
                    Some(Written::Record { key: k, value: v, .. }) if (*k, *v) == (key, value) => {}
                    other => wrong.push(format!("{key}={value:?} at {offset}, not {other:?}")),
                }
                if is_hidden == (counts.get(&offset) == Some(&true)) {
                    wrong.push(format!("the record at {offset} is seen or hidden wrongly"));
                }
                if !is_hidden {
                    match value {
                        Some(value) => reader.view.insert(key, value),
                        None => reader.view.remove(&key),
                    };
                }
            }
        }
        wrong.into_iter().for_each(|what| self.wrong(what));
    }

    /// Ends all transactions, compacts all there is, and looks at it once more.
    fn end(&mut self) {
        for id in TRANSACTIONAL {
            self.end_transaction(id, true);
        }
        self.partition.roll(self.now());
        self.write(None);
        for _ in 0..3 {
            self.partition.flush();
            self.now_ms += 2 * DELETE_RETENTION_MS;
            for _ in 0..3000 {
                self.compact_a_step();
            }
            self.partition.roll(self.now());
            self.write(None);
        }
        self.partition.flush();
        self.crash();
        if self.report.is_good() && self.report.compared == 0 {
            self.wrong("nothing was compared");
        }
    }
}

fn key_and_value(key: Option<&[u8]>, value: Option<&[u8]>) -> (u8, Option<u32>) {
    let key = key.and_then(|key| key.first()).copied().unwrap_or(u8::MAX);
    let value = value.and_then(|value| value.first_chunk()).map(|bytes| u32::from_be_bytes(*bytes));
    (key, value)
}
