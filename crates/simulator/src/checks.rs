//! What is checked while a run goes on: each batch that is sent, each step of a log.

use std::collections::{BTreeMap, BTreeSet};

use streamledger_broker_core::log::PartitionLog;
use streamledger_client_core::sender::OutgoingBatch;
use streamledger_protocol::record_batch::RecordBatchHeader;
use streamledger_protocol::{Offset, ProducerEpoch, ProducerId, ProducerIdentity, TopicId};

use crate::report::Promise;

/// An identity in one partition.
type IdentityInPartition = (ProducerId, ProducerEpoch, usize);

/// Remembers what was sent under which sequence.
#[derive(Debug, Default)]
pub(crate) struct SentBatches {
    batches: BTreeMap<(IdentityInPartition, i32), SentBatch>,
    first: BTreeMap<IdentityInPartition, i32>,
    confirmed: BTreeSet<IdentityInPartition>,
}

#[derive(Debug)]
struct SentBatch {
    bytes: bytes::Bytes,
    topic_id: TopicId,
    refused_as_too_large: bool,
}

fn place_of(bytes: &[u8], slot: usize) -> Option<(IdentityInPartition, i32)> {
    let header = RecordBatchHeader::parse(bytes).ok()?;
    let producer = header.producer()?;
    Some(((producer.id, producer.epoch, slot), header.base_sequence.0))
}

impl SentBatches {
    /// A batch goes out: the first time, or again with the same bytes to the same topic.
    pub(crate) fn send(
        &mut self,
        batch: &OutgoingBatch,
        slot: usize,
    ) -> Result<(), (Promise, String)> {
        let Some((identity, sequence)) = place_of(&batch.bytes, slot) else { return Ok(()) };
        let tp = &batch.topic_partition;
        let first = *self.first.entry(identity).or_insert(sequence);
        if first != sequence && !self.confirmed.contains(&identity) {
            let text = format!("{tp}: sequence {sequence} behind an unconfirmed {first}");
            return Err((Promise::FirstTravelsAlone, text));
        }
        if let Some(sent) = self.batches.get(&(identity, sequence))
            && !sent.refused_as_too_large
        {
            if sent.bytes != batch.bytes {
                let text = format!("{tp}: sequence {sequence} is sent again with other bytes");
                return Err((Promise::RetriesAreIdentical, text));
            }
            if sent.topic_id != batch.topic_id {
                let text = format!("{tp}: sequence {sequence} of the old topic is sent to the new");
                return Err((Promise::RetriesAreIdentical, text));
            }
            return Ok(());
        }
        // A copy: the batch's own bytes would hold on to the producer's memory.
        let bytes = bytes::Bytes::copy_from_slice(&batch.bytes);
        let sent = SentBatch { bytes, topic_id: batch.topic_id, refused_as_too_large: false };
        self.batches.insert((identity, sequence), sent);
        Ok(())
    }

    /// A broker found a batch too large: its parts may take its sequences.
    pub(crate) fn refuse_as_too_large(&mut self, bytes: &[u8], slot: usize) {
        if let Some(place) = place_of(bytes, slot)
            && let Some(sent) = self.batches.get_mut(&place)
        {
            sent.refused_as_too_large = true;
        }
    }

    /// The producer learns that a batch is in the log.
    pub(crate) fn confirm(&mut self, producer: ProducerIdentity, slot: usize) {
        self.confirmed.insert((producer.id, producer.epoch, slot));
    }
}

/// Holds a log's offsets against their order, and those that consumers go by against what they
/// were.
pub(crate) fn check_offsets(
    log: &PartitionLog,
    watermark_seen: &mut Offset,
    stable_seen: &mut Offset,
) -> Result<(), (Promise, String)> {
    let (start, stable) = (log.log_start_offset(), log.last_stable_offset());
    let (watermark, end) = (log.high_watermark(), log.log_end_offset());
    if !(start <= stable && stable <= watermark && watermark <= end) {
        let text = format!("start {start}, stable {stable}, watermark {watermark}, end {end}");
        return Err((Promise::WatermarkKeepsItsPlace, text));
    }
    if watermark < *watermark_seen {
        let text = format!("the watermark went from {watermark_seen} back to {watermark}");
        return Err((Promise::WatermarkKeepsItsPlace, text));
    }
    if stable < *stable_seen {
        let text = format!("the last stable offset went from {stable_seen} back to {stable}");
        return Err((Promise::WatermarkKeepsItsPlace, text));
    }
    (*watermark_seen, *stable_seen) = (watermark, stable);
    Ok(())
}
