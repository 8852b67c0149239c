//! Splits a batch that the broker found too large, in order and under the sequences it had.

use std::sync::Arc;
use std::time::Instant;

use streamledger_protocol::SequenceNumber;
use streamledger_protocol::record_batch::{
    BatchSeal, HEADER_BYTES, Header, RecordBatchBuilder, RecordBatchRef, SealedBatch,
};

use super::Sender;
use super::batch::{BatchState, Failing, ProducerBatch};
use crate::accumulator::{
    BatchCompletion, BatchOrigin, LastRecord, RecordCallback, RecordParts, SplitPart,
};
use crate::failure::{FailureReason, WaitedFor};
use crate::idempotence::ResetTo;

/// A part of the split batch before it is sealed.
struct Part {
    builder: RecordBatchBuilder,
    last: LastRecord,
}

impl Sender {
    /// Puts two batches in the place of one. The broker refused it as a whole, so its sequences
    /// are free: the parts get them, in order.
    pub(super) fn split(&mut self, now: Instant, slot: usize, place: usize) {
        let Some(partition) = self.partition(slot) else { return };
        let Some(mut batch) = partition.unresolved.remove(place) else { return };
        let parts = match self.parts_of(&batch) {
            Ok(parts) => parts,
            Err(cause) => return self.fail_split(now, slot, batch, cause),
        };
        let Some(origin) = batch.origin.take() else { return };
        let topic_partition = origin.completion.topic_partition();
        let lowered = batch.sealed.uncompressed_bytes / 2;
        let lower = |topic: &crate::accumulator::TopicQueues| topic.lower_batch_bytes_max(lowered);
        self.accumulator.with_topic(topic_partition.topic.as_str(), lower);
        self.accumulator.flush_tracker().split(origin.generation, 1);
        self.metrics.lock().count_split(now);

        let first_of_second = parts[0].0.record_count.cast_unsigned();
        let BatchOrigin { completion, callbacks, created, generation, .. } = origin;
        let (first_calls, second_calls): (Vec<_>, Vec<_>) =
            callbacks.into_iter().partition(|callback| callback.index < first_of_second);
        let moved = |callback: RecordCallback| RecordCallback {
            index: callback.index - first_of_second,
            ..callback
        };
        let second_calls = second_calls.into_iter().map(moved).collect();
        let mut cells = Vec::with_capacity(2);
        for (number, ((sealed, last), callbacks)) in
            parts.into_iter().zip([first_calls, second_calls]).enumerate()
        {
            let tp = topic_partition.clone();
            let cell = BatchCompletion::new(tp.topic, tp.partition);
            let first_index = if number == 0 { 0 } else { first_of_second };
            cells.push(SplitPart { first_index, completion: Arc::clone(&cell) });
            let origin = BatchOrigin { completion: cell, callbacks, last, created, generation };
            let part = ProducerBatch {
                id: self.new_batch_id(),
                origin: Some(origin),
                created,
                reason: batch.reason,
                sealed,
                state: BatchState::Waiting { not_before: None },
                attempts: batch.attempts,
                // What lay behind the whole batch lies behind its second part.
                acked_behind: if number == 0 { 0 } else { batch.acked_behind },
            };
            let Some(partition) = self.partition(slot) else { return };
            partition.unresolved.insert(place + number, part);
        }
        completion.settle_split(cells.into_boxed_slice());
    }

    /// The batch's records in two sealed parts of about the same bytes.
    fn parts_of(
        &mut self,
        batch: &ProducerBatch,
    ) -> Result<[(SealedBatch, LastRecord); 2], String> {
        let sealed = &batch.sealed;
        let [first, second] = self.divide(sealed)?;
        let seal_part = |sender: &mut Self, part: Part, sequence_offset: i32| {
            let producer = sealed.seal.producer.map(|(identity, base): (_, SequenceNumber)| {
                (identity, base.plus(sequence_offset))
            });
            let seal = BatchSeal { producer, ..sealed.seal };
            let sealed = part.builder.seal(&seal, &mut sender.scratch);
            let mut sealed = sealed.map_err(|error| error.to_string())?;
            let reservation = sender.accumulator.memory().reserve_beyond(sealed.bytes.len());
            sealed.bytes = reservation.attach(sealed.bytes);
            Ok::<_, String>((sealed, part.last))
        };
        let sequence_offset = first.builder.record_count();
        Ok([seal_part(self, first, 0)?, seal_part(self, second, sequence_offset)?])
    }

    fn divide(&mut self, sealed: &SealedBatch) -> Result<[Part; 2], String> {
        let (batch, _) = RecordBatchRef::parse(&sealed.bytes).map_err(|error| error.to_string())?;
        let records = batch.records(&mut self.decompressor).map_err(|error| error.to_string())?;
        let half_bytes = HEADER_BYTES + (sealed.uncompressed_bytes - HEADER_BYTES) / 2;
        let count = sealed.record_count;
        let new = || RecordBatchBuilder::with_capacity(half_bytes);
        let (mut first, mut second) = (new(), new());
        let (mut first_last, mut second_last) = (None, None);
        for (index, record) in (0..).zip(records) {
            let record = record.map_err(|error| error.to_string())?;
            let headers = record.headers.map(|header| {
                let key = str::from_utf8(header.key_bytes).map_err(|error| error.to_string())?;
                Ok::<_, String>(Header { key, value: header.value })
            });
            let headers: Vec<_> = headers.collect::<Result<_, _>>()?;
            let (timestamp, key, value) = (record.timestamp, record.key, record.value);
            let parts = RecordParts { timestamp, key, value, headers: &headers };
            // The first part takes at least one record and leaves at least one.
            let fits = first.is_empty() || first.batch_bytes() < half_bytes;
            if second.is_empty() && fits && index + 1 < count {
                first.append(timestamp, key, value, &headers);
                first_last = Some(LastRecord::of(&parts));
            } else {
                second.append(timestamp, key, value, &headers);
                second_last = Some(LastRecord::of(&parts));
            }
        }
        match (first_last, second_last) {
            (Some(first_last), Some(second_last)) => Ok([
                Part { builder: first, last: first_last },
                Part { builder: second, last: second_last },
            ]),
            _ => Err("the batch has fewer than two records".to_owned()),
        }
    }

    /// Our own batch can't be read back, which only a fault of memory explains.
    fn fail_split(&mut self, now: Instant, slot: usize, mut batch: ProducerBatch, cause: String) {
        let reason = FailureReason::NotSealed(cause);
        let completed = batch.fail(&Failing { reason, waited_for: WaitedFor::Batch, now });
        if let Some(completed) = completed {
            self.complete(now, completed);
        }
        if batch.sealed.seal.producer.is_some() {
            self.lose_sequence(now, slot, ResetTo::NextEpoch);
        }
    }
}
