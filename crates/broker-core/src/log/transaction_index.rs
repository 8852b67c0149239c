//! The file that names a segment's aborted transactions, in Kafka's format (`.txnindex`).
//!
//! 34 bytes each, by the marker's offset: version 0, producer id, first offset, last offset, last
//! stable offset; big-endian.

use bytes::{Buf, BufMut};
use streamledger_protocol::{Offset, ProducerId};

use super::offset_index::CorruptIndex;
use super::transactions::AbortedTransaction;

const VERSION: i16 = 0;
const ENTRY_BYTES: usize = 34;

/// The bytes of the index file.
#[must_use]
pub fn encode_transaction_index(aborted: &[AbortedTransaction]) -> Vec<u8> {
    let mut out = Vec::with_capacity(aborted.len() * ENTRY_BYTES);
    for transaction in aborted {
        out.put_i16(VERSION);
        out.put_i64(transaction.producer_id.0);
        out.put_i64(transaction.first_offset.0);
        out.put_i64(transaction.last_offset.0);
        out.put_i64(transaction.last_stable_offset.0);
    }
    out
}

/// Reads the bytes of an index file.
///
/// # Errors
/// The bytes break a law of the index; it is to be rebuilt from the log.
pub fn decode_transaction_index(file: &[u8]) -> Result<Vec<AbortedTransaction>, CorruptIndex> {
    let (chunks, cut) = file.as_chunks::<ENTRY_BYTES>();
    if !cut.is_empty() {
        let (file_bytes, entry_bytes) = (file.len(), ENTRY_BYTES);
        return Err(CorruptIndex::CutEntry { file_bytes, entry_bytes });
    }
    let mut aborted: Vec<AbortedTransaction> = Vec::with_capacity(chunks.len());
    for (entry, chunk) in chunks.iter().enumerate() {
        let mut bytes = chunk.as_slice();
        let version = bytes.get_i16();
        let transaction = AbortedTransaction {
            producer_id: ProducerId(bytes.get_i64()),
            first_offset: Offset(bytes.get_i64()),
            last_offset: Offset(bytes.get_i64()),
            last_stable_offset: Offset(bytes.get_i64()),
        };
        let rises = aborted.last().is_none_or(|last| transaction.last_offset > last.last_offset);
        if version != VERSION || !rises || transaction.first_offset >= transaction.last_offset {
            return Err(CorruptIndex::NotRising { entry });
        }
        aborted.push(transaction);
    }
    Ok(aborted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_broken_is_refused() {
        let aborted = |last| AbortedTransaction {
            producer_id: ProducerId(7),
            first_offset: Offset(3),
            last_offset: Offset(last),
            last_stable_offset: Offset(last + 1),
        };
        let bytes = encode_transaction_index(&[aborted(9), aborted(20)]);
        assert_eq!(bytes.len(), 68);
        assert_eq!(decode_transaction_index(&bytes), Ok(vec![aborted(9), aborted(20)]));
        assert!(decode_transaction_index(&bytes[..35]).is_err());
        let twice = [&bytes[..34], &bytes[..34]].concat();
        assert_eq!(decode_transaction_index(&twice), Err(CorruptIndex::NotRising { entry: 1 }));
    }
}
