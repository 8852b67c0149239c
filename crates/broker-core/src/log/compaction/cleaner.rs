//! What stays of a batch.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use streamledger_protocol::compression::{Compression, CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{
    CorruptBatch, RecordBatchHeader, RecordBatchRef, RewriteError, empty_batch, records_of,
    rewrite_batch,
};
use streamledger_protocol::{Codec, Offset, ProducerId, TimestampMs};

use super::super::append::marker_of;
use super::super::producer_state::TransactionMarker;
use super::super::scan::BadStretch;
use super::super::transactions::AbortedTransaction;
use super::key_map::KeyMap;
use super::plan::{CompactionPlan, LastOfProducer};
use crate::planted_bugs::PlantedBug;

/// Why a log can't be compacted. It stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompactionProblem {
    /// A segment is damaged.
    #[error("segment {segment} is damaged at byte {}: {}", .bad.position, .bad.reason)]
    Damaged {
        /// The base offset of the segment.
        segment: Offset,
        /// Where, and how.
        bad: BadStretch,
    },
    /// A batch with a right checksum has records that can't be read.
    #[error("the batch at offset {at}: {problem}")]
    Batch {
        /// Its base offset.
        at: Offset,
        /// What is wrong with it.
        problem: RewriteError,
    },
}

/// What becomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    /// It stays byte for byte.
    AsItIs,
    /// This takes its place.
    Rewritten(Bytes),
    /// It goes.
    Nothing,
}

/// Decides batch by batch, in the order of the log, from its first one on.
#[derive(Debug)]
pub(super) struct Cleaner {
    map: KeyMap,
    /// From here on everything stays as it is: its keys are not in the map.
    until: Offset,
    aborted: BTreeMap<ProducerId, Vec<AbortedTransaction>>,
    last_of_producers: BTreeMap<ProducerId, LastOfProducer>,
    /// The producers of whose present transaction a batch was seen.
    seen: BTreeSet<ProducerId>,
    /// The offsets of the markers that went.
    pub(super) dropped_markers: BTreeSet<Offset>,
    pub(super) next_horizon: Option<TimestampMs>,
    now: TimestampMs,
    delete_retention_ms: i64,
    forgets_transactions: bool,
    maps_aborted: bool,
    drops_tombstones: bool,
    decompressor: Decompressor,
    scratch: CompressionScratch,
}

impl Cleaner {
    pub(super) fn new(plan: &CompactionPlan, map_bytes_max: usize) -> Self {
        let mut aborted: BTreeMap<ProducerId, Vec<AbortedTransaction>> = BTreeMap::new();
        for transaction in &plan.aborted {
            aborted.entry(transaction.producer_id).or_default().push(*transaction);
        }
        let planted = plan.config.planted;
        Self {
            map: KeyMap::new(map_bytes_max),
            until: plan.first_dirty,
            aborted,
            last_of_producers: plan.last_of_producers.clone(),
            seen: BTreeSet::new(),
            dropped_markers: BTreeSet::new(),
            next_horizon: None,
            now: plan.now,
            delete_retention_ms: i64::try_from(plan.config.delete_retention_ms).unwrap_or(i64::MAX),
            forgets_transactions: planted.has(PlantedBug::CompactionDropsMarkers),
            maps_aborted: planted.has(PlantedBug::CompactionMapsAborted),
            drops_tombstones: planted.has(PlantedBug::CompactionDropsTombstones),
            decompressor: Decompressor::default(),
            scratch: CompressionScratch::new(),
        }
    }

    /// Whether the map takes no further batch.
    pub(super) fn is_full(&self) -> bool {
        self.map.is_full()
    }

    /// From which offset on nothing is in the map.
    pub(super) const fn until(&self) -> Offset {
        self.until
    }

    /// Everything up to `end` is in the map.
    pub(super) fn mapped_up_to(&mut self, end: Offset) {
        self.until = self.until.max(end);
    }

    /// Notes the keys of a batch.
    pub(super) fn map_batch(&mut self, batch: &RecordBatchRef<'_>) -> Result<(), RewriteError> {
        let header = batch.header();
        self.until = header.next_offset();
        let is_aborted = self.is_aborted(header) && !self.maps_aborted;
        if header.attributes.is_control() || header.record_count == 0 || is_aborted {
            return Ok(());
        }
        for record in batch.records(&mut self.decompressor)? {
            let record = record?;
            if let Some(key) = record.key {
                self.map.insert(key, record.offset);
            }
        }
        Ok(())
    }

    /// What stays of a batch.
    pub(super) fn clean(&mut self, batch: &RecordBatchRef<'_>) -> Result<Kept, RewriteError> {
        let header = batch.header();
        if header.base_offset >= self.until {
            Ok(Kept::AsItIs)
        } else if header.attributes.is_control() {
            self.clean_control(batch)
        } else {
            if header.attributes.is_transactional() {
                self.seen.insert(header.producer_id);
            }
            self.clean_data(batch)
        }
    }

    fn clean_control(&mut self, batch: &RecordBatchRef<'_>) -> Result<Kept, RewriteError> {
        let header = batch.header();
        let Some(marker) = marker_of(batch, &mut self.decompressor)? else {
            return Ok(Kept::AsItIs);
        };
        if self.seen.remove(&header.producer_id) && !self.forgets_transactions {
            return Ok(Kept::AsItIs);
        }
        match header.delete_horizon() {
            None if !self.forgets_transactions => {
                let records = batch.stored_records().to_vec();
                self.rewrite(header, &records, &[true], true)
            }
            Some(horizon) if horizon > self.now => {
                self.note_horizon(horizon);
                Ok(Kept::AsItIs)
            }
            _ if self.is_last_of_producer(header, Some(&marker)) => Ok(Kept::AsItIs),
            _ => {
                self.dropped_markers.insert(header.base_offset);
                Ok(Kept::Nothing)
            }
        }
    }

    fn clean_data(&mut self, batch: &RecordBatchRef<'_>) -> Result<Kept, RewriteError> {
        let header = *batch.header();
        let is_aborted = self.is_aborted(&header);
        let record_count = usize::try_from(header.record_count).unwrap_or(0);
        let mut keep = Vec::with_capacity(record_count.min(batch.bytes().len()));
        let mut records = Vec::new();
        let mut has_tombstone = false;
        if record_count > 0 && !is_aborted {
            records = self.records_of(batch)?;
            let tombstones_go = match header.delete_horizon() {
                Some(horizon) => horizon <= self.now,
                None => self.drops_tombstones,
            };
            for record in records_of(&header, &records)? {
                let record = record?;
                let is_latest =
                    record.key.is_some_and(|key| !self.map.supersedes(key, record.offset));
                let stays = is_latest && (record.value.is_some() || !tombstones_go);
                has_tombstone |= stays && record.value.is_none();
                keep.push(stays);
            }
        }
        let kept_count = keep.iter().filter(|kept| **kept).count();
        if kept_count == 0 {
            return Ok(self.without_records(&header, record_count));
        }
        let sets_horizon = has_tombstone && header.delete_horizon().is_none();
        if kept_count == record_count && !sets_horizon {
            if let Some(horizon) = header.delete_horizon().filter(|_| has_tombstone) {
                self.note_horizon(horizon);
            }
            return Ok(Kept::AsItIs);
        }
        if has_tombstone && let Some(horizon) = header.delete_horizon() {
            self.note_horizon(horizon);
        }
        self.rewrite(&header, &records, &keep, sets_horizon)
    }

    fn without_records(&self, header: &RecordBatchHeader, record_count: usize) -> Kept {
        match (self.is_last_of_producer(header, None), record_count) {
            (false, _) => Kept::Nothing,
            (true, 0) => Kept::AsItIs,
            (true, _) => Kept::Rewritten(empty_batch(header)),
        }
    }

    fn records_of(&mut self, batch: &RecordBatchRef<'_>) -> Result<Vec<u8>, CorruptBatch> {
        Ok(match batch.header().attributes.codec()? {
            Codec::None => batch.stored_records().to_vec(),
            codec => self.decompressor.decompress(codec, batch.stored_records())?.to_vec(),
        })
    }

    fn rewrite(
        &mut self,
        header: &RecordBatchHeader,
        records: &[u8],
        keep: &[bool],
        sets_horizon: bool,
    ) -> Result<Kept, RewriteError> {
        let horizon = sets_horizon
            .then_some(TimestampMs(self.now.0.saturating_add(self.delete_retention_ms)));
        if let Some(horizon) = horizon {
            self.note_horizon(horizon);
        }
        let compression = Compression::of(header.attributes.codec()?);
        let bytes = rewrite_batch(header, records, keep, horizon, compression, &mut self.scratch)?;
        Ok(Kept::Rewritten(bytes))
    }

    fn note_horizon(&mut self, horizon: TimestampMs) {
        let earliest = self.next_horizon.map_or(horizon, |known| known.min(horizon));
        self.next_horizon = Some(earliest);
    }

    fn is_aborted(&self, header: &RecordBatchHeader) -> bool {
        let of_producer = self.aborted.get(&header.producer_id);
        header.attributes.is_transactional()
            && of_producer.into_iter().flatten().any(|transaction| {
                (transaction.first_offset..=transaction.last_offset).contains(&header.base_offset)
            })
    }

    fn is_last_of_producer(
        &self,
        header: &RecordBatchHeader,
        marker: Option<&TransactionMarker>,
    ) -> bool {
        match (self.last_of_producers.get(&header.producer_id), marker) {
            (Some(LastOfProducer::Data(first_offset)), None) => *first_offset == header.base_offset,
            (Some(LastOfProducer::Marker(_, Some(at))), Some(_)) => *at == header.base_offset,
            (Some(LastOfProducer::Marker(epoch, None)), Some(_)) => *epoch == header.producer_epoch,
            _ => false,
        }
    }
}
