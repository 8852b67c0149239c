//! The bytes of a frame: what was appended to one segment, and where it stands there.

use super::PAYLOAD_BYTES_MAX;
use streamledger_protocol::{Offset, PartitionIndex, TopicId};

/// Bytes of a frame before those of the segment.
pub const FRAME_HEADER_BYTES: usize = 68;

/// `SLJ1`, in the order of the bytes.
const MAGIC: [u8; 4] = *b"SLJ1";

/// A partition, whatever its topic's name: one that was deleted and made again is another.
pub type PartitionKey = (TopicId, PartitionIndex);

/// Where the bytes of a frame stand in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Whose log.
    pub partition: PartitionKey,
    /// The base offset of the segment.
    pub segment: Offset,
    /// Where in its file.
    pub position: u32,
}

/// What is before the bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// CRC-32C of all that follows it, the segment's bytes included.
    crc: u32,
    /// How often the journal has turned to a half when this was written; from 1.
    pub turn: u64,
    /// How many frames the turn before had: fewer are found once it is being written over.
    pub before: u64,
    /// Which frame of its turn; from 0.
    pub number: u64,
    /// Where its bytes belong.
    pub place: Place,
    /// How many bytes of the segment follow; none in a floor.
    pub length: u32,
}

impl FrameHeader {
    /// The header of a frame that holds `payload`.
    #[must_use]
    pub fn new(turn: u64, before: u64, number: u64, place: Place, payload: &[u8]) -> Self {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let mut header = Self { crc: 0, turn, before, number, place, length };
        header.crc = header.checksum(payload);
        header
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let (topic_id, partition) = self.place.partition;
        let fields: [&[u8]; 10] = [
            &MAGIC,
            &self.crc.to_be_bytes(),
            &self.turn.to_be_bytes(),
            &self.before.to_be_bytes(),
            &self.number.to_be_bytes(),
            &topic_id.0,
            &partition.0.to_be_bytes(),
            &self.place.segment.0.to_be_bytes(),
            &self.place.position.to_be_bytes(),
            &self.length.to_be_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// Reads a header; none if these bytes are none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        if take(&mut rest)? != MAGIC {
            return None;
        }
        let crc = u32::from_be_bytes(take(&mut rest)?);
        let turn = u64::from_be_bytes(take(&mut rest)?);
        let before = u64::from_be_bytes(take(&mut rest)?);
        let number = u64::from_be_bytes(take(&mut rest)?);
        let topic_id = TopicId(take(&mut rest)?);
        let partition = PartitionIndex(i32::from_be_bytes(take(&mut rest)?));
        let segment = Offset(i64::from_be_bytes(take(&mut rest)?));
        let position = u32::from_be_bytes(take(&mut rest)?);
        let length = u32::from_be_bytes(take(&mut rest)?);
        let place = Place { partition: (topic_id, partition), segment, position };
        let is_sound = length as usize <= PAYLOAD_BYTES_MAX;
        is_sound.then_some(Self { crc, turn, before, number, place, length })
    }

    /// Whether a half that begins so is of a format that this program does not know.
    #[must_use]
    pub fn is_of_another_format(bytes: &[u8]) -> bool {
        let (ours, begins) = (MAGIC.split_last(), bytes.first_chunk::<4>());
        begins.is_some_and(|magic| {
            *magic != MAGIC && ours.is_some_and(|(_, name)| magic.starts_with(name))
        })
    }

    /// Whether these are the bytes that it was made for, all of them.
    #[must_use]
    pub fn holds(&self, payload: &[u8]) -> bool {
        payload.len() == self.length as usize && self.checksum(payload) == self.crc
    }

    /// Bytes of the segment that it holds.
    #[must_use]
    pub const fn payload_bytes(&self) -> usize {
        self.length as usize
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub const fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + self.length as u64
    }

    fn checksum(&self, payload: &[u8]) -> u32 {
        let header = self.encode();
        let (_, summed) = header.split_at(MAGIC.len() + size_of::<u32>());
        crc32c::crc32c_append(crc32c::crc32c(summed), payload)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}
