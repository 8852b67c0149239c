//! The steps of a run, and what is true after each power cut.

use std::collections::BTreeMap;

use streamledger_broker_core::flush_journal::{
    Checkpoint, FRAME_HEADER_BYTES, FrameHeader, HALVES, HalfScan, LatestSegments, Place, Ring,
    halves_that_count,
};
use streamledger_broker_core::planted_bugs::Planted as BrokerPlanted;
use streamledger_protocol::{Offset, PartitionIndex, TopicId};

use super::JournalReport;
use super::file::PagedFile;
use crate::plan::Planted;
use crate::random::Dice;

const STEPS: usize = 600;
const LOGS: usize = 6;
const HALF_BYTES: u64 = 900;
const FIRST_TURN: u64 = 4;

/// A segment: its file, and what is to be in it.
#[derive(Debug, Clone, Default)]
struct Segment {
    file: PagedFile,
    truth: Vec<u8>,
    /// How much of it was acknowledged.
    safe_bytes: usize,
    /// Closed, and flushed since.
    is_done: bool,
}

#[derive(Debug, Clone, Default)]
struct Log {
    /// By base offset; the last one is appended to.
    segments: BTreeMap<i64, Segment>,
}

/// What a frame makes safe once it is flushed.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    log: usize,
    segment: i64,
    bytes: usize,
}

struct World {
    dice: Dice,
    planted: BrokerPlanted,
    logs: Vec<Log>,
    ring: Ring,
    /// The last frame.
    last: Option<FrameHeader>,
    halves: [PagedFile; HALVES],
    in_flight: Vec<InFlight>,
    checkpoint: Option<Checkpoint>,
    /// In how many steps the power is cut.
    cut_in: Option<u64>,
    report: JournalReport,
}

pub(super) fn run(seed: u64, planted: Option<Planted>) -> JournalReport {
    let planted = planted.map_or_else(BrokerPlanted::none, Planted::in_broker);
    let fresh = Log { segments: BTreeMap::from([(0, Segment::default())]) };
    let mut world = World {
        dice: Dice::new(seed),
        planted,
        logs: vec![fresh; LOGS],
        ring: Ring::new(HALF_BYTES, FIRST_TURN, planted),
        last: None,
        halves: Default::default(),
        in_flight: Vec::new(),
        checkpoint: None,
        cut_in: None,
        report: JournalReport { seed, ..JournalReport::default() },
    };
    for _ in 0..STEPS {
        world.step();
        if !world.report.is_good() {
            break;
        }
    }
    world.cut_power();
    world.report
}

fn place(log: usize, segment: i64, position: usize) -> Place {
    let partition = PartitionIndex(i32::try_from(log).unwrap_or(i32::MAX));
    let position = u32::try_from(position).unwrap_or(u32::MAX);
    Place { partition: (TopicId([1; 16]), partition), segment: Offset(segment), position }
}

impl World {
    fn step(&mut self) {
        // Some are used often, and some seldom.
        let log = (0..2).map(|_| self.dice.place(LOGS)).min().unwrap_or(0);
        match self.dice.below(100) {
            0..=29 => self.append(log),
            30..=62 => self.journal(log),
            63..=70 => self.flush_journal(),
            71..=74 => self.flush_segments(log),
            75..=82 => self.go_on_with_checkpoint(),
            83..=88 => self.roll(log),
            89..=94 => self.compact(log),
            95 => self.remove_first(log),
            96 => self.cut_power(),
            _ => {}
        }
        if self.cut_in.take_if(|steps| *steps == 0).is_some() {
            self.cut_power();
        }
        self.cut_in = self.cut_in.map(|steps| steps - 1);
    }

    fn active(&mut self, log: usize) -> (i64, &mut Segment) {
        let last = self.logs[log].segments.iter_mut().next_back();
        last.map(|(base_offset, segment)| (*base_offset, segment)).expect("a log has a segment")
    }

    fn append(&mut self, log: usize) {
        let (length, filler) = (1 + self.dice.place(100), self.dice.below(256));
        let bytes = vec![u8::try_from(filler).unwrap_or(0) | 1; length];
        self.report.appended += bytes.len() as u64;
        let (_, segment) = self.active(log);
        segment.file.write(segment.truth.len(), &bytes);
        segment.truth.extend_from_slice(&bytes);
    }

    /// Writes what is not safe into the journal, or flushes the segments if that can't be.
    fn journal(&mut self, log: usize) {
        let has_closing = self.logs[log].segments.values().rev().skip(1).any(|s| !s.is_done);
        if has_closing {
            return self.flush_segments(log);
        }
        let (base_offset, segment) = self.active(log);
        let (from, bytes) = (segment.safe_bytes, segment.truth.len());
        if from == bytes || self.in_flight.iter().any(|frame| frame.log == log) {
            return;
        }
        let payload = self.active(log).1.file.bytes()[from..bytes].to_vec();
        if !self.write_frame(place(log, base_offset, from), &payload) {
            return self.flush_segments(log);
        }
        self.in_flight.push(InFlight { log, segment: base_offset, bytes });
    }

    /// False if there is no room.
    fn write_frame(&mut self, place: Place, payload: &[u8]) -> bool {
        let Some(placement) = self.ring.place(place, payload) else { return false };
        let half = &mut self.halves[placement.half];
        let position = usize::try_from(placement.position).unwrap_or(usize::MAX);
        half.write(position, &placement.header.encode());
        half.write(position + FRAME_HEADER_BYTES, payload);
        self.ring.placed(&placement);
        self.last = Some(placement.header);
        if let Some(checkpoint) = placement.checkpoint {
            self.report.turns += 1;
            // The first frames of a turn are where it can go wrong.
            self.cut_in = (self.dice.below(4) == 0).then(|| self.dice.below(8));
            self.checkpoint = Some(checkpoint);
        }
        true
    }

    fn flush_journal(&mut self) {
        self.flush_halves();
        for frame in std::mem::take(&mut self.in_flight) {
            let Some(segment) = self.logs[frame.log].segments.get_mut(&frame.segment) else {
                continue;
            };
            if segment.is_done {
                continue;
            }
            let newly = frame.bytes.saturating_sub(segment.safe_bytes);
            self.report.journaled += newly as u64;
            segment.safe_bytes = segment.safe_bytes.max(frame.bytes);
        }
    }

    fn flush_halves(&mut self) {
        self.halves.iter_mut().for_each(PagedFile::flush);
        if let Some(header) = &self.last {
            self.ring.flushed(header);
        }
    }

    /// Flushes closed segments and the active one; the power may go between any two.
    fn flush_segments(&mut self, log: usize) {
        let all: Vec<i64> = self.logs[log].segments.keys().copied().collect();
        let mut closed = Vec::new();
        for base_offset in &all {
            let Some(segment) = self.logs[log].segments.get_mut(base_offset) else { continue };
            if segment.is_done {
                continue;
            }
            segment.file.flush();
            closed.push(*base_offset);
            if self.dice.below(40) == 0 {
                return self.cut_power();
            }
        }
        let Some(active) = closed.pop() else { return };
        let (_, segment) = self.active(log);
        let newly = segment.truth.len() - segment.safe_bytes;
        segment.safe_bytes = segment.truth.len();
        self.report.flushed += newly as u64;
        let needs_floor = self.ring.needs_floor(place(log, active, 0).partition, Offset(active));
        let has_floor = !needs_floor || self.write_frame(place(log, active, 0), &[]);
        if needs_floor && has_floor {
            if self.dice.below(10) == 0 {
                return self.cut_power();
            }
            self.flush_halves();
        }
        for base_offset in closed {
            let Some(segment) = self.logs[log].segments.get_mut(&base_offset) else { continue };
            segment.safe_bytes = segment.truth.len();
            segment.is_done = has_floor;
        }
    }

    fn go_on_with_checkpoint(&mut self) {
        let Some(checkpoint) = self.checkpoint.take() else { return };
        for (_, partition) in &checkpoint.partitions {
            let log = usize::try_from(partition.0).unwrap_or(0);
            self.logs[log].segments.values_mut().for_each(|segment| segment.file.flush());
            if self.dice.below(20) == 0 {
                return self.cut_power();
            }
        }
        self.ring.checkpointed(checkpoint.turn);
    }

    fn roll(&mut self, log: usize) {
        let (base_offset, segment) = self.active(log);
        if segment.truth.is_empty() {
            return;
        }
        let next = base_offset + 1;
        self.logs[log].segments.insert(next, Segment::default());
    }

    /// Replaces the content of a segment that is closed and flushed. How that comes to the disk is
    /// another run's matter.
    fn compact(&mut self, log: usize) {
        let place = self.dice.place(2);
        let segments = self.logs[log].segments.values_mut().rev();
        let Some(segment) = segments.filter(|segment| segment.is_done).nth(place) else { return };
        let kept = self.dice.place(segment.truth.len() + 1);
        segment.truth = segment.truth.iter().rev().take(kept).map(|byte| byte ^ 0x80).collect();
        segment.file = PagedFile::of(segment.truth.clone());
        segment.safe_bytes = kept;
        self.report.compactions += 1;
    }

    fn remove_first(&mut self, log: usize) {
        let first = self.logs[log].segments.first_entry().filter(|first| first.get().is_done);
        if let Some(first) = first {
            first.remove();
        }
    }

    /// Cuts the power, starts again, and looks.
    fn cut_power(&mut self) {
        self.report.crashes += 1;
        self.halves.iter_mut().for_each(|half| half.cut_power(&mut self.dice));
        for segment in self.logs.iter_mut().flat_map(|log| log.segments.values_mut()) {
            segment.file.cut_power(&mut self.dice);
        }
        self.write_back();
        self.compare();
        // What was not acknowledged is cut off, and all that is left is on disk.
        for segment in self.logs.iter_mut().flat_map(|log| log.segments.values_mut()) {
            segment.truth.truncate(segment.safe_bytes);
            segment.file.truncate(segment.safe_bytes);
            segment.file.flush();
        }
        for log in &mut self.logs {
            log.segments.values_mut().rev().skip(1).for_each(|segment| segment.is_done = true);
        }
        self.halves = Default::default();
        (self.ring, self.last) = (Ring::new(HALF_BYTES, FIRST_TURN, self.planted), None);
        (self.in_flight, self.checkpoint, self.cut_in) = (Vec::new(), None, None);
    }

    fn write_back(&mut self) {
        let walked = [0, 1].map(|half| frames_of(self.halves[half].bytes()));
        let scans = [walked[0].0.clone(), walked[1].0.clone()];
        let mut latest = LatestSegments::new(self.planted);
        let counted = halves_that_count(&scans);
        let frames: Vec<_> = counted.iter().flat_map(|half| walked[*half].1.clone()).collect();
        frames.iter().for_each(|(header, _)| latest.note(header));
        for (header, payload) in frames.iter().filter(|(header, _)| latest.counts(header)) {
            let log = usize::try_from(header.place.partition.1.0).unwrap_or(usize::MAX);
            let segment = self.logs.get_mut(log).map(|log| &mut log.segments);
            let found = segment.and_then(|all| all.get_mut(&header.place.segment.0));
            let Some(segment) = found else { continue };
            let position = header.place.position as usize;
            let there = segment.file.bytes().get(position..position + payload.len());
            self.report.mended += u64::from(there != Some(payload));
            segment.file.write(position, payload);
        }
    }

    fn compare(&mut self) {
        for (number, log) in self.logs.iter().enumerate() {
            for (base_offset, segment) in &log.segments {
                let (found, truth) = (segment.file.bytes(), &segment.truth);
                let safe = &truth[..segment.safe_bytes];
                if !found.starts_with(safe) {
                    let text =
                        format!("log {number}, segment {base_offset}: what was acked is not there");
                    self.report.violations.push(text);
                } else if segment.is_done && found.len() != safe.len() {
                    let text =
                        format!("log {number}, segment {base_offset}: more than was left of it");
                    self.report.violations.push(text);
                }
            }
        }
    }
}

/// The frames of a half, and how its walk ended.
fn frames_of(half: &[u8]) -> (HalfScan, Vec<(FrameHeader, Vec<u8>)>) {
    let (mut scan, mut frames) = (HalfScan::default(), Vec::new());
    loop {
        let at = usize::try_from(scan.position()).unwrap_or(usize::MAX);
        let rest = half.get(at..).unwrap_or_default();
        let Some(header) = scan.header(rest) else { return (scan, frames) };
        let payload = rest.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let payload = payload.get(..header.payload_bytes()).unwrap_or(payload);
        if !scan.payload(&header, payload) {
            return (scan, frames);
        }
        frames.push((header, payload.to_vec()));
    }
}
