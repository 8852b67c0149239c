//! The file that keeps a partition's producers across a restart.
//!
//! A format of our own: magic, version, the offset up to which the log is in it, the producers by
//! id, the forgotten ones, CRC-32C of all before. Times are kept as "silent for so long", since
//! the clock they were read from ends with the process. Integers are big-endian.

use bytes::{Buf, BufMut};
use streamledger_protocol::{Offset, ProducerEpoch, ProducerId, SequenceNumber, TimestampMs};

use super::producer_entry::{ProducerState, RECENT_BATCHES_MAX, RecentBatch};
use super::producer_state::ProducerStateTable;
use crate::planted_bugs::Planted;
use crate::time::MonotonicMs;

const MAGIC: &[u8; 4] = b"SLPS";
const VERSION: u16 = 1;
const CRC_BYTES: usize = 4;
/// The least that a producer takes: all of it but the batches.
const PRODUCER_BYTES_MIN: usize = 8 + 2 + 4 + 8 + 8 + 8 + 1;
const BATCH_BYTES: usize = 4 + 4 + 8 + 8 + 8;

/// Why the bytes are not a snapshot that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorruptSnapshot {
    /// The checksum or the shape is wrong: rebuild the state from the log.
    #[error("the producer snapshot is corrupt")]
    Corrupt,
    /// A newer program wrote it: refuse to start rather than to forget what it knew.
    #[error("the producer snapshot has format version {0}, newer than this program knows")]
    Newer(u16),
}

/// Writes the producers that `table` knows once every batch below `offset` is in it.
#[must_use]
pub fn encode_snapshot(table: &ProducerStateTable, offset: Offset, now: MonotonicMs) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + table.producer_count() * 256);
    out.put_slice(MAGIC);
    out.put_u16(VERSION);
    out.put_i64(offset.0);
    out.put_u32(u32::try_from(table.producer_count()).unwrap_or(u32::MAX));
    for (id, state) in table.producers() {
        out.put_i64(id.0);
        out.put_i16(state.epoch.0);
        out.put_i32(state.coordinator_epoch);
        out.put_i64(state.open_transaction.unwrap_or(Offset::NONE).0);
        out.put_i64(state.last_timestamp.0);
        out.put_u64(now.since(state.last_seen));
        let recent = state.recent.as_slice();
        out.put_u8(u8::try_from(recent.len()).unwrap_or(u8::MAX));
        for batch in recent {
            out.put_i32(batch.first_sequence.0);
            out.put_i32(batch.last_sequence.0);
            out.put_i64(batch.first_offset.0);
            out.put_i64(batch.last_offset.0);
            out.put_i64(batch.timestamp.0);
        }
    }
    out.put_u32(u32::try_from(table.forgotten.len()).unwrap_or(u32::MAX));
    for id in &table.forgotten {
        out.put_i64(id.0);
    }
    let crc = crc32c::crc32c(&out);
    out.put_u32(crc);
    out
}

/// Reads a snapshot: the offset up to which the log is in it, and the producers.
///
/// # Errors
/// The bytes are not a snapshot of a version known here.
pub fn decode_snapshot(
    file: &[u8],
    now: MonotonicMs,
    planted: Planted,
) -> Result<(Offset, ProducerStateTable), CorruptSnapshot> {
    let corrupt = CorruptSnapshot::Corrupt;
    let body_bytes = file.len().checked_sub(CRC_BYTES).ok_or(CorruptSnapshot::Corrupt)?;
    let (mut body, mut crc) = file.split_at(body_bytes);
    if crc32c::crc32c(body) != crc.get_u32() {
        return Err(corrupt);
    }
    let magic = body.split_off(..MAGIC.len()).ok_or(CorruptSnapshot::Corrupt)?;
    let version = body.try_get_u16().map_err(|_| CorruptSnapshot::Corrupt)?;
    if magic != MAGIC {
        return Err(corrupt);
    }
    if version > VERSION {
        return Err(CorruptSnapshot::Newer(version));
    }
    decode_body(body, now, planted).ok_or(corrupt)
}

fn decode_body(
    mut body: &[u8],
    now: MonotonicMs,
    planted: Planted,
) -> Option<(Offset, ProducerStateTable)> {
    let mut table = ProducerStateTable::new(planted);
    let offset = Offset(body.try_get_i64().ok()?);
    let producer_count = body.try_get_u32().ok()? as usize;
    if producer_count > body.len() / PRODUCER_BYTES_MIN {
        return None;
    }
    for _ in 0..producer_count {
        let (id, state) = decode_producer(&mut body, now)?;
        if let Some(first_offset) = state.open_transaction {
            table.transactions.restore_open(id, first_offset);
        }
        table.producers.insert(id, state);
    }
    let forgotten_count = body.try_get_u32().ok()? as usize;
    if forgotten_count != body.len() / 8 {
        return None;
    }
    for _ in 0..forgotten_count {
        table.forgotten.push_back(ProducerId(body.try_get_i64().ok()?));
    }
    Some((offset, table))
}

fn decode_producer(body: &mut &[u8], now: MonotonicMs) -> Option<(ProducerId, ProducerState)> {
    if body.len() < PRODUCER_BYTES_MIN {
        return None;
    }
    let id = ProducerId(body.get_i64());
    let mut state = ProducerState::new(ProducerEpoch(body.get_i16()), now);
    state.coordinator_epoch = body.get_i32();
    let open_transaction = Offset(body.get_i64());
    state.open_transaction = (open_transaction != Offset::NONE).then_some(open_transaction);
    state.last_timestamp = TimestampMs(body.get_i64());
    state.last_seen = MonotonicMs(now.0.saturating_sub(body.get_u64()));
    let batch_count = usize::from(body.get_u8());
    if batch_count > RECENT_BATCHES_MAX || body.len() < batch_count * BATCH_BYTES {
        return None;
    }
    for _ in 0..batch_count {
        state.recent.push(RecentBatch {
            first_sequence: SequenceNumber(body.get_i32()),
            last_sequence: SequenceNumber(body.get_i32()),
            first_offset: Offset(body.get_i64()),
            last_offset: Offset(body.get_i64()),
            timestamp: TimestampMs(body.get_i64()),
        });
    }
    Some((id, state))
}

#[cfg(test)]
mod tests {
    use super::super::producer_state::{Appended, ProducerBatch};
    use super::*;
    use proptest::prelude::*;
    use streamledger_protocol::ProducerIdentity;

    fn table() -> ProducerStateTable {
        let mut table = ProducerStateTable::default();
        for n in 0..20_i32 {
            let id = ProducerId(i64::from(n % 3));
            let batch = ProducerBatch {
                producer: ProducerIdentity { id, epoch: ProducerEpoch(4) },
                first_sequence: SequenceNumber(n * 10),
                last_sequence: SequenceNumber(n * 10 + 9),
                transactional: n % 3 == 2,
            };
            let first = i64::from(n) * 10;
            table.replay(
                &batch,
                &Appended {
                    first_offset: Offset(first),
                    last_offset: Offset(first + 9),
                    timestamp: TimestampMs(first),
                    seen: MonotonicMs(1_000_000),
                },
            );
        }
        table.forgotten.push_back(ProducerId(99));
        table
    }

    #[test]
    fn a_snapshot_holds_all_that_the_table_knows() {
        let bytes = encode_snapshot(&table(), Offset(200), MonotonicMs(1_000_500));
        let (offset, read) =
            decode_snapshot(&bytes, MonotonicMs(1_000_500), Planted::none()).unwrap();
        assert_eq!((offset, read), (Offset(200), table()));
    }

    #[test]
    fn failure_9_silence_counts_on_after_a_restart_whatever_the_new_clock_says() {
        let bytes = encode_snapshot(&table(), Offset(200), MonotonicMs(1_000_500));
        let (_, mut read) =
            decode_snapshot(&bytes, MonotonicMs(7_000_000), Planted::none()).unwrap();
        assert_eq!(read.expire(MonotonicMs(7_000_499), 1000), 0);
        assert_eq!(read.expire(MonotonicMs(7_000_500), 1000), 2);
    }

    #[test]
    fn failure_34_every_changed_byte_and_every_cut_is_noticed() {
        let bytes = encode_snapshot(&table(), Offset(200), MonotonicMs(1_000_500));
        let decode = |bytes: &[u8]| decode_snapshot(bytes, MonotonicMs(0), Planted::none());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(decode(&changed).is_err(), "byte {at}");
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn failure_50_a_newer_version_is_not_taken_for_a_corrupt_one() {
        let mut bytes = encode_snapshot(&table(), Offset(200), MonotonicMs(0));
        bytes[5] = 2;
        let body = bytes.len() - CRC_BYTES;
        let crc = crc32c::crc32c(&bytes[..body]).to_be_bytes();
        bytes[body..].copy_from_slice(&crc);
        let refused = decode_snapshot(&bytes, MonotonicMs(0), Planted::none());
        assert_eq!(refused, Err(CorruptSnapshot::Newer(2)));
    }

    proptest! {
        #[test]
        fn no_bytes_with_a_right_checksum_make_the_decoder_panic(
            mut body in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut bytes = b"SLPS\x00\x01".to_vec();
            bytes.append(&mut body);
            let crc = crc32c::crc32c(&bytes).to_be_bytes();
            bytes.extend_from_slice(&crc);
            let _ = decode_snapshot(&bytes, MonotonicMs(0), Planted::none());
        }
    }
}
