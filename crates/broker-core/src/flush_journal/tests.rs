//! Turns, torn halves and floors, frame by frame.

use streamledger_protocol::{Offset, PartitionIndex, TopicId};

use super::*;
use crate::planted_bugs::Planted;

const HALF_BYTES: u64 = 432;

fn place(partition: i32, segment: i64, position: u32) -> Place {
    let partition = (TopicId([3; 16]), PartitionIndex(partition));
    Place { partition, segment: Offset(segment), position }
}

fn ring() -> Ring {
    Ring::new(HALF_BYTES, 4, Planted::none())
}

/// Places a frame, writes it into the half, and says so.
fn write(ring: &mut Ring, halves: &mut [Vec<u8>; 2], place: Place, payload: &[u8]) -> Placement {
    let placement = ring.place(place, payload).expect("room");
    let half = &mut halves[placement.half];
    let at = usize::try_from(placement.position).unwrap();
    half.resize(half.len().max(at + FRAME_HEADER_BYTES + payload.len()), 0);
    half[at..at + FRAME_HEADER_BYTES].copy_from_slice(&placement.header.encode());
    half[at + FRAME_HEADER_BYTES..][..payload.len()].copy_from_slice(payload);
    ring.placed(&placement);
    placement
}

fn scan(half: &[u8]) -> (HalfScan, Vec<FrameHeader>) {
    let (mut scan, mut found) = (HalfScan::default(), Vec::new());
    loop {
        let rest = &half[usize::try_from(scan.position()).unwrap()..];
        let Some(header) = scan.header(rest) else { return (scan, found) };
        let payload = rest.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let Some(payload) = payload.get(..header.length as usize) else { return (scan, found) };
        if !scan.payload(&header, payload) {
            return (scan, found);
        }
        found.push(header);
    }
}

#[test]
fn a_header_is_read_as_it_was_written_and_a_changed_bit_is_seen() {
    let header = FrameHeader::new(7, 9, 3, place(2, 1000, 77), b"batches");
    let bytes = header.encode();
    assert_eq!(FrameHeader::decode(&bytes), Some(header));
    assert!(header.holds(b"batches"));
    assert!(!header.holds(b"batchez") && !header.holds(b"batche"));
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes;
        changed[bit / 8] ^= 1 << (bit % 8);
        let seen = FrameHeader::decode(&changed).is_none_or(|header| !header.holds(b"batches"));
        assert!(seen, "bit {bit}");
    }
    assert_eq!(FrameHeader::decode(&bytes[..FRAME_HEADER_BYTES - 1]), None);
}

#[test]
fn a_format_of_another_program_is_told_from_what_is_none() {
    assert!(FrameHeader::is_of_another_format(b"SLJ2..."));
    for bytes in [&b"SLJ1..."[..], b"\0\0\0\0", b"SLJ", b""] {
        assert!(!FrameHeader::is_of_another_format(bytes), "{bytes:?}");
    }
}

#[test]
fn a_turn_waits_for_the_checkpoint_of_the_turn_before_the_last() {
    let (mut ring, mut halves) = (ring(), [Vec::new(), Vec::new()]);
    let fill = |ring: &mut Ring, halves: &mut _, partition| {
        (0..4).map(|n| write(ring, halves, place(partition, 0, n * 40), &[9; 40]).half).sum()
    };
    let first: usize = fill(&mut ring, &mut halves, 0);
    assert_eq!(first, 0, "the first half");
    assert_eq!(ring.place(place(1, 0, 0), &[9; 40]), None, "turn 1 is not flushed");
    ring.flushed(&FrameHeader::new(1, 0, 3, place(0, 0, 0), &[]));
    let turned = write(&mut ring, &mut halves, place(1, 0, 0), &[9; 40]);
    let partitions = vec![place(0, 0, 0).partition];
    assert_eq!(turned.checkpoint, Some(Checkpoint { turn: 1, partitions }));
    assert_eq!((turned.half, turned.position, turned.header.turn), (1, 0, 2));
    for n in 1..4 {
        write(&mut ring, &mut halves, place(1, 0, n * 40), &[9; 40]);
    }
    assert_eq!(ring.place(place(1, 0, 160), &[9; 40]), None, "turn 1 is still needed");
    ring.flushed(&FrameHeader::new(2, 0, 3, place(1, 0, 0), &[]));
    ring.checkpointed(2);
    assert_eq!(ring.place(place(1, 0, 160), &[9; 40]), None, "another's checkpoint");
    ring.checkpointed(1);
    assert!(ring.needs_floor(place(0, 0, 0).partition, Offset(50)));
    let turned = write(&mut ring, &mut halves, place(1, 0, 160), &[9; 40]);
    assert_eq!((turned.half, turned.header.turn), (0, 3));
    // Turn 1 may be all that a power cut leaves there, until turn 3 is flushed.
    assert!(ring.needs_floor(place(0, 0, 0).partition, Offset(50)));
    ring.flushed(&turned.header);
    assert_eq!(ring.older_first(), [1, 0]);
    assert!(!ring.needs_floor(place(0, 0, 0).partition, Offset(50)));
    // What is left of turn 1 behind it does not count.
    assert_eq!(scan(&halves[0]).1, [turned.header]);
    let scans = |halves: &[Vec<u8>; 2]| [scan(&halves[0]).0, scan(&halves[1]).0];
    assert_eq!(halves_that_count(&scans(&halves)), [1, 0]);
    // Turn 2 with a frame too few: it is being written over.
    let end = halves[1].len() - 1;
    halves[1][end] ^= 1;
    assert_eq!(halves_that_count(&scans(&halves)), [0]);
    assert_eq!(halves_that_count(&Default::default()), [0; 0]);
}

#[test]
fn what_is_larger_than_a_half_has_no_room() {
    assert_eq!(ring().place(place(0, 0, 0), &[0; 365]), None);
    assert!(ring().place(place(0, 0, 0), &[0; 364]).is_some());
}

#[test]
fn a_half_ends_where_a_frame_is_torn_or_one_is_missing() {
    let (mut ring, mut halves) = (ring(), [Vec::new(), Vec::new()]);
    for n in 0..4 {
        write(&mut ring, &mut halves, place(0, 0, n * 40), &[9; 40]);
    }
    let whole = halves[0].clone();
    for torn in 0..whole.len() {
        let mut half = whole.clone();
        half[torn] ^= 1;
        assert_eq!(scan(&half).1.len(), torn / 108, "byte {torn}");
        assert_eq!(scan(&whole[..torn]).1.len(), torn / 108, "cut at {torn}");
    }
    let mut gap = whole[..108].to_vec();
    gap.extend_from_slice(&whole[216..]);
    assert_eq!(scan(&gap).1.len(), 1);
}

#[test]
fn a_floor_is_needed_while_frames_of_an_older_segment_are_there() {
    let (mut ring, mut halves) = (ring(), [Vec::new(), Vec::new()]);
    let partition = place(0, 0, 0).partition;
    assert!(!ring.needs_floor(partition, Offset(50)), "no frames");
    write(&mut ring, &mut halves, place(0, 0, 0), &[9; 40]);
    assert!(!ring.needs_floor(partition, Offset(0)), "of this one");
    assert!(ring.needs_floor(partition, Offset(50)));
    write(&mut ring, &mut halves, place(0, 50, 0), &[]);
    assert!(!ring.needs_floor(partition, Offset(50)), "it is there");
    let mut latest = LatestSegments::new(Planted::none());
    let found = scan(&halves[0]).1;
    found.iter().for_each(|header| latest.note(header));
    assert_eq!(found.iter().map(|header| latest.counts(header)).collect::<Vec<_>>(), [false, true]);
    assert_eq!(latest.segments(), [(partition, Offset(50))]);
}
