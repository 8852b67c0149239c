//! What of a journal is to be written back after a crash.

use streamledger_protocol::Offset;

use super::HALVES;
use super::frame::{FrameHeader, PartitionKey};
use crate::map::Map;
use crate::planted_bugs::{Planted, PlantedBug};

/// Walks the frames of a half, from its beginning.
#[derive(Debug, Clone, Default)]
pub struct HalfScan {
    position: u64,
    turn: Option<Turn>,
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    turn: u64,
    before: u64,
}

impl HalfScan {
    /// Where in the half's file the next header is.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Takes the bytes at [`Self::position`]; none if no frame of this turn begins there.
    #[must_use]
    pub fn header(&self, bytes: &[u8]) -> Option<FrameHeader> {
        let header = FrameHeader::decode(bytes)?;
        let goes_on = self.turn.is_none_or(|of| of == Turn::of(&header));
        (goes_on && header.number == self.number).then_some(header)
    }

    /// Takes the bytes behind a header; false if they are not its own: there the half ends.
    #[must_use]
    pub fn payload(&mut self, header: &FrameHeader, payload: &[u8]) -> bool {
        if !header.holds(payload) {
            return false;
        }
        self.position += header.frame_bytes();
        self.turn = Some(Turn::of(header));
        self.number += 1;
        true
    }
}

impl Turn {
    const fn of(header: &FrameHeader) -> Self {
        Self { turn: header.turn, before: header.before }
    }
}

/// The halves whose frames count, the older first, by how they were walked to their ends.
///
/// The older one counts if all its frames are there. One that is being written over was
/// checkpointed before, and what is left of it may lack the floor behind it.
#[must_use]
pub fn halves_that_count(scans: &[HalfScan; HALVES]) -> Vec<usize> {
    let turn_of = |half: &usize| scans.get(*half).and_then(|scan| scan.turn);
    let mut found: Vec<usize> = (0..HALVES).filter(|half| turn_of(half).is_some()).collect();
    found.sort_unstable_by_key(|half| turn_of(half).map(|of| of.turn));
    if let [older, newer] = found.as_slice()
        && let (Some(older_turn), Some(newer_turn)) = (turn_of(older), turn_of(newer))
    {
        let frames = scans.get(*older).map_or(0, |scan| scan.number);
        let is_whole = older_turn.turn + 1 == newer_turn.turn && frames == newer_turn.before;
        if !is_whole {
            found.remove(0);
        }
    }
    found
}

/// Of each log the latest segment that has frames: the older ones were flushed before, and may have
/// been replaced since.
#[derive(Debug, Clone, Default)]
pub struct LatestSegments {
    latest: Map<PartitionKey, Offset>,
    planted: Planted,
}

impl LatestSegments {
    /// Of no log yet.
    #[must_use]
    pub fn new(planted: Planted) -> Self {
        Self { latest: Map::default(), planted }
    }

    /// Takes a frame that was found, in whichever order.
    pub fn note(&mut self, header: &FrameHeader) {
        let segment = header.place.segment;
        let latest = self.latest.entry(header.place.partition).or_insert(segment);
        *latest = (*latest).max(segment);
    }

    /// Whether a frame is to be written back, once all were noted.
    #[must_use]
    pub fn counts(&self, header: &FrameHeader) -> bool {
        self.planted.has(PlantedBug::JournalReplaysOldSegments)
            || self.latest.get(&header.place.partition) == Some(&header.place.segment)
    }

    /// The logs with frames, and of each the segment that is to be written back.
    #[must_use]
    pub fn segments(&self) -> Vec<(PartitionKey, Offset)> {
        let mut all: Vec<_> = self.latest.iter().map(|(key, segment)| (*key, *segment)).collect();
        all.sort_unstable();
        all
    }
}
