//! The metadata log's bytes: framed, checked decisions; and what a file read back holds.
//!
//! 1. A frame is one decision: all of its records are there, or none.
//! 2. Only the last frame can be torn, because each is on disk before the next is written.
//! 3. So a bad frame with a good one behind it is damage, not a torn tail: refused, never cut.

use bytes::{BufMut, Bytes};
use thiserror::Error;

use super::record::{MetadataRecord, RecordError};

/// The first bytes of a metadata log: its name and the version of its format.
pub const JOURNAL_HEADER: [u8; 8] = *b"SLMETA\0\x01";

const FRAME_HEADER_BYTES: usize = 8;
const FRAME_BYTES_MAX: usize = 64 << 20;

/// Why a metadata log cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JournalError {
    /// The file does not begin as a metadata log of this version does.
    #[error("not a metadata log of this version")]
    Foreign,
    /// A frame in the middle is damaged, and good ones follow.
    #[error("damaged at byte {position}, with good records behind it")]
    Damaged {
        /// Where the bad frame begins.
        position: usize,
    },
    /// A frame is whole, yet its records cannot be read.
    #[error("at byte {position}: {source}")]
    Record {
        /// Where the frame begins.
        position: usize,
        /// What is wrong.
        source: RecordError,
    },
}

/// What a metadata log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// The records, in order.
    pub records: Vec<MetadataRecord>,
    /// How many bytes of the file are good; what follows is a torn tail, to be cut off.
    pub valid_bytes: usize,
}

/// The bytes of one frame, to be appended and flushed as one write.
///
/// # Errors
/// [`RecordError::Malformed`] if a text in a record is too long to be kept.
pub fn encode_frame(records: &[MetadataRecord]) -> Result<Vec<u8>, RecordError> {
    let mut frame = vec![0; FRAME_HEADER_BYTES];
    for record in records {
        record.encode(&mut frame)?;
    }
    let payload_bytes = frame.len() - FRAME_HEADER_BYTES;
    if payload_bytes > FRAME_BYTES_MAX {
        return Err(RecordError::Malformed("a decision of more than 64 MiB"));
    }
    let crc = crc32c::crc32c(&frame[FRAME_HEADER_BYTES..]);
    let mut header = &mut frame[..FRAME_HEADER_BYTES];
    header.put_u32(payload_bytes as u32);
    header.put_u32(crc);
    Ok(frame)
}

/// Reads a metadata log's bytes. An empty file, or one torn within its header, is an empty log.
///
/// # Errors
/// [`JournalError`]; the file is then to be left as it is, and not used.
pub fn read_journal(file: &Bytes) -> Result<Journal, JournalError> {
    if file.len() < JOURNAL_HEADER.len() {
        let is_torn = JOURNAL_HEADER.starts_with(file) || file.iter().all(|&byte| byte == 0);
        return if is_torn { Ok(Journal::default()) } else { Err(JournalError::Foreign) };
    }
    if !file.starts_with(&JOURNAL_HEADER) {
        return Err(JournalError::Foreign);
    }
    let mut journal = Journal { records: Vec::new(), valid_bytes: JOURNAL_HEADER.len() };
    while journal.valid_bytes < file.len() {
        let position = journal.valid_bytes;
        let Some(payload) = frame_at(file, position) else {
            let has_good_frame_behind =
                (position + 1..file.len()).any(|later| frame_at(file, later).is_some());
            if has_good_frame_behind {
                return Err(JournalError::Damaged { position });
            }
            break;
        };
        journal.valid_bytes = position + FRAME_HEADER_BYTES + payload.len();
        read_records(payload, &mut journal.records)
            .map_err(|source| JournalError::Record { position, source })?;
    }
    Ok(journal)
}

fn read_records(mut payload: Bytes, records: &mut Vec<MetadataRecord>) -> Result<(), RecordError> {
    while !payload.is_empty() {
        records.push(MetadataRecord::decode(&mut payload)?);
    }
    Ok(())
}

/// The payload of the frame that begins at `position`, if a whole and good one does.
fn frame_at(file: &Bytes, position: usize) -> Option<Bytes> {
    let header = file.get(position..position + FRAME_HEADER_BYTES)?;
    let (length, crc) = header.split_at(4);
    let payload_bytes = u32::from_be_bytes(length.try_into().ok()?) as usize;
    if payload_bytes == 0 || payload_bytes > FRAME_BYTES_MAX {
        return None;
    }
    let start = position + FRAME_HEADER_BYTES;
    let payload = file.get(start..start + payload_bytes)?;
    let is_good = crc32c::crc32c(payload) == u32::from_be_bytes(crc.try_into().ok()?);
    is_good.then(|| file.slice(start..start + payload_bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::tests::any_record;
    use super::*;

    fn reserved(next: i64) -> MetadataRecord {
        MetadataRecord::ProducerIdsReserved { next }
    }

    fn file_of(decisions: &[&[MetadataRecord]]) -> Vec<u8> {
        let mut file = JOURNAL_HEADER.to_vec();
        for records in decisions {
            file.extend(encode_frame(records).unwrap());
        }
        file
    }

    #[test]
    fn decisions_read_back_in_order() {
        let file = file_of(&[&[reserved(1), reserved(2)], &[reserved(3)]]);
        let journal = read_journal(&Bytes::from(file.clone())).unwrap();
        assert_eq!(journal.records, [reserved(1), reserved(2), reserved(3)]);
        assert_eq!(journal.valid_bytes, file.len());
    }

    #[test]
    fn failures_32_a_tail_torn_anywhere_loses_the_last_decision_and_no_other() {
        let whole = file_of(&[&[reserved(1)], &[reserved(2), reserved(3)]]);
        let first = file_of(&[&[reserved(1)]]).len();
        for end in first..whole.len() {
            let journal = read_journal(&Bytes::copy_from_slice(&whole[..end])).unwrap();
            assert_eq!(journal.records, [reserved(1)], "cut at {end}");
            assert_eq!(journal.valid_bytes, first);
        }
    }

    #[test]
    fn a_tail_of_zeros_is_a_torn_tail() {
        let mut file = file_of(&[&[reserved(1)]]);
        let valid = file.len();
        file.extend([0; 4096]);
        let journal = read_journal(&Bytes::from(file)).unwrap();
        assert_eq!((journal.records.len(), journal.valid_bytes), (1, valid));
    }

    #[test]
    fn damage_in_the_middle_is_refused_and_named() {
        let mut file = file_of(&[&[reserved(1)], &[reserved(2)], &[reserved(3)]]);
        let second = file_of(&[&[reserved(1)]]).len();
        file[second + FRAME_HEADER_BYTES + 2] ^= 0x40;
        assert_eq!(
            read_journal(&Bytes::from(file)),
            Err(JournalError::Damaged { position: second })
        );
    }

    #[test]
    fn a_foreign_file_is_refused_and_an_empty_one_is_an_empty_log() {
        assert_eq!(read_journal(&Bytes::new()), Ok(Journal::default()));
        assert_eq!(read_journal(&Bytes::from_static(b"SLM")), Ok(Journal::default()));
        assert_eq!(read_journal(&Bytes::from_static(b"hello, world")), Err(JournalError::Foreign));
        assert_eq!(read_journal(&Bytes::from_static(b"SLMETA\0\x02")), Err(JournalError::Foreign));
    }

    #[test]
    fn failures_50_a_record_of_a_newer_version_stops_the_load() {
        let mut payload_of_kind_99 = vec![99_u8];
        let crc = crc32c::crc32c(&payload_of_kind_99);
        let mut file = JOURNAL_HEADER.to_vec();
        file.put_u32(1);
        file.put_u32(crc);
        file.append(&mut payload_of_kind_99);
        let refused = read_journal(&Bytes::from(file)).unwrap_err();
        assert!(matches!(
            refused,
            JournalError::Record { source: RecordError::UnknownKind(99), .. }
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            noise in proptest::collection::vec(any::<u8>(), 0..512),
            records in proptest::collection::vec(any_record(), 1..4),
            flip in any::<proptest::sample::Index>(),
        ) {
            let _ = read_journal(&Bytes::from([&JOURNAL_HEADER[..], &noise].concat()));
            let mut file = file_of(&[&records]);
            let at = flip.index(file.len());
            file[at] ^= 1;
            if let Ok(journal) = read_journal(&Bytes::from(file)) {
                prop_assert!(journal.records.is_empty());
            }
        }
    }
}
