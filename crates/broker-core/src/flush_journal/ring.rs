//! Where the next frame goes, and when a half may be written over.

use streamledger_protocol::Offset;

use super::HALVES;
use super::frame::{FrameHeader, PartitionKey, Place};
use crate::map::Map;
use crate::planted_bugs::{Planted, PlantedBug};

/// The state of a journal that is being written.
#[derive(Debug)]
pub struct Ring {
    half_bytes: u64,
    turn: u64,
    /// Frames of the turn before.
    before: u64,
    position: u64,
    number: u64,
    /// The latest segment of each log that has frames in a half.
    latest: [Map<PartitionKey, Offset>; HALVES],
    /// The same of the turn whose half is written over now, while no frame of the new turn is on
    /// disk: a power cut may leave all of it.
    fading: Map<PartitionKey, Offset>,
    /// Frames of this turn that are on disk.
    flushed: u64,
    /// The half that is not written is still needed.
    checkpoint_is_due: bool,
    planted: Planted,
}

/// Where a frame goes. It is there once the shell has written it and said so ([`Ring::placed`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Which half.
    pub half: usize,
    /// Where in its file.
    pub position: u64,
    /// What is written before the bytes.
    pub header: FrameHeader,
    /// This frame begins a turn: the segments of these logs are to be flushed, and that is to be
    /// told ([`Ring::checkpointed`]).
    pub checkpoint: Option<Checkpoint>,
}

/// Logs whose segments are to be flushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The turn that it ends.
    pub turn: u64,
    /// The logs with frames of that turn.
    pub partitions: Vec<PartitionKey>,
}

impl Ring {
    /// An empty journal with room for `half_bytes` in each half, whose first turn is `first_turn`.
    ///
    /// That is to be a number that nobody can guess: behind the last frame of a half are bytes of
    /// records, and a client must not be able to write frames there.
    #[must_use]
    pub fn new(half_bytes: u64, first_turn: u64, planted: Planted) -> Self {
        Self {
            half_bytes,
            // There is room to count up, and the first half is the first to be written.
            turn: (first_turn >> 2) | 1,
            before: 0,
            position: 0,
            number: 0,
            latest: Default::default(),
            fading: Map::default(),
            flushed: 0,
            checkpoint_is_due: false,
            planted,
        }
    }

    /// Where a frame with these bytes goes; none if there is no room until a checkpoint is done, or
    /// what was placed is flushed, or at all.
    #[must_use]
    pub fn place(&self, place: Place, payload: &[u8]) -> Option<Placement> {
        let header = FrameHeader::new(self.turn, self.before, self.number, place, payload);
        if self.position + header.frame_bytes() <= self.half_bytes {
            let half = half_of(self.turn);
            return Some(Placement { half, position: self.position, header, checkpoint: None });
        }
        // A turn has all its frames on disk before the next one begins: fewer are then a sign that
        // it is being written over.
        let is_flushed =
            self.flushed == self.number || self.planted.has(PlantedBug::JournalTurnsUnflushed);
        let is_checkpointed =
            !self.checkpoint_is_due || self.planted.has(PlantedBug::JournalTurnsTooEarly);
        if header.frame_bytes() > self.half_bytes || !is_flushed || !is_checkpointed {
            return None;
        }
        let turn = self.turn + 1;
        let mut partitions: Vec<_> =
            self.latest.get(half_of(self.turn)).into_iter().flat_map(Map::keys).copied().collect();
        partitions.sort_unstable();
        Some(Placement {
            half: half_of(turn),
            position: 0,
            header: FrameHeader::new(turn, self.number, 0, place, payload),
            checkpoint: Some(Checkpoint { turn: self.turn, partitions }),
        })
    }

    /// A frame was written where [`Self::place`] said, and nothing else meanwhile.
    pub fn placed(&mut self, placement: &Placement) {
        let header = &placement.header;
        if header.turn != self.turn {
            (self.turn, self.before) = (header.turn, header.before);
            self.checkpoint_is_due = true;
            self.flushed = 0;
            if let Some(latest) = self.latest.get_mut(placement.half) {
                self.fading = std::mem::take(latest);
            }
        }
        self.position = placement.position + header.frame_bytes();
        self.number = header.number + 1;
        if let Some(latest) = self.latest.get_mut(placement.half) {
            let segment = latest.entry(header.place.partition).or_insert(header.place.segment);
            *segment = (*segment).max(header.place.segment);
        }
    }

    /// The half was flushed since this frame was written.
    pub fn flushed(&mut self, header: &FrameHeader) {
        if header.turn == self.turn {
            self.flushed = self.flushed.max(header.number + 1);
            self.fading.clear();
        }
    }

    /// The segments that a turn's frames were made of are on disk, as far as those frames reach.
    pub fn checkpointed(&mut self, turn: u64) {
        if turn + 1 == self.turn {
            self.checkpoint_is_due = false;
        }
    }

    /// The halves in the order in which they may be removed: what is older would undo what the
    /// newer one says.
    #[must_use]
    pub fn older_first(&self) -> [usize; HALVES] {
        [half_of(self.turn + 1), half_of(self.turn)]
    }

    /// Whether frames of older segments of a log would still be written back: before those segments
    /// may change, an empty frame of `segment` must be on disk.
    #[must_use]
    pub fn needs_floor(&self, partition: PartitionKey, segment: Offset) -> bool {
        let all = self.latest.iter().chain([&self.fading]);
        let mut latest = all.filter_map(|half| half.get(&partition));
        !self.planted.has(PlantedBug::JournalWithoutFloor)
            && latest.clone().any(|latest| *latest < segment)
            && !latest.any(|latest| *latest >= segment)
    }
}

fn half_of(turn: u64) -> usize {
    usize::from(turn.is_multiple_of(2))
}
