//! What a clean shutdown leaves for the next start: enough to open a log without reading it.
//!
//! One manifest holds the summaries of all logs of a data directory, so that a thousand
//! partitions open by reading one file. Magic, version, count, summaries, CRC-32C of all before;
//! integers are big-endian. A manifest that can't be read is as none: the logs are walked.

use bytes::{Buf, BufMut};
use streamledger_protocol::{LeaderEpoch, Offset, PartitionIndex, TimestampMs};
use streamledger_protocol::{TopicId, TopicName, TopicPartition};

use super::config::LogConfig;
use super::leader_epochs::{EpochStart, LeaderEpochCache};
use super::partition_log::PartitionLog;
use super::producer_state::ProducerStateTable;
use super::read::READ_HINTS;
use super::segment::{IndexEntries, LogSegment, SegmentIndexes};
use super::time_index::TimestampOffset;
use super::transactions::AbortedTransaction;

const MAGIC: &[u8; 4] = b"SLCM";
const VERSION: u16 = 1;
const SEGMENT_BYTES: usize = 8 + 4 + 8 + 8 + 8 + 8 + 8 + 8 + 4 + 4;
const EPOCH_BYTES: usize = 4 + 8;

/// What is known of one log after a clean shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSummary {
    /// Where the log begins.
    pub log_start_offset: Offset,
    /// Its segments, by base offset, without their indexes; the last one is active.
    pub segments: Vec<LogSegment>,
    /// Its leader epochs.
    pub epochs: LeaderEpochCache,
    /// Whether it knows any producer: else there is no snapshot to read.
    pub has_producers: bool,
    /// How many aborted transactions the segments' indexes hold, at least: a file that is lost
    /// can't be told from that of a segment without any.
    pub aborted_count: AbortedCount,
}

/// How many aborted transactions there are; from 63 on, that many at least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AbortedCount(u8);

impl AbortedCount {
    const MAX: u8 = 63;

    fn of(count: usize) -> Self {
        Self(u8::try_from(count).unwrap_or(Self::MAX).min(Self::MAX))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether so many found are all of them, for all that is known.
    #[must_use]
    pub fn is_met_by(self, found: usize) -> bool {
        found >= usize::from(self.0)
    }
}

impl LogSummary {
    /// Where the log ends.
    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        self.segments.last().map_or(self.log_start_offset, LogSegment::next_offset)
    }

    /// The segment that was written to last.
    #[must_use]
    pub fn active_segment(&self) -> Option<&LogSegment> {
        self.segments.last()
    }

    /// Without the segments from `base_offset` on.
    fn before_segment(mut self, base_offset: Offset) -> Self {
        let known = self.segments.partition_point(|segment| segment.base_offset() < base_offset);
        if let Some(first) = self.segments.get(known) {
            let empty = LogSegment::new(first.base_offset(), first.created);
            self.segments.truncate(known);
            self.segments.push(empty);
        }
        self
    }
}

/// The summary of one partition's log in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The id of its topic.
    pub topic_id: TopicId,
    /// Its log.
    pub summary: LogSummary,
}

/// Writes the manifest of a clean shutdown.
#[must_use]
pub fn encode_manifest(entries: &[ManifestEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + entries.len() * 192);
    out.put_slice(MAGIC);
    out.put_u16(VERSION);
    put_count(&mut out, entries.len());
    for entry in entries {
        let topic = entry.topic_partition.topic.as_str().as_bytes();
        put_count(&mut out, topic.len());
        out.put_slice(topic);
        out.put_i32(entry.topic_partition.partition.0);
        out.put_slice(&entry.topic_id.0);
        put_summary(&mut out, &entry.summary);
    }
    let crc = crc32c::crc32c(&out);
    out.put_u32(crc);
    out
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

fn put_summary(out: &mut Vec<u8>, summary: &LogSummary) {
    out.put_i64(summary.log_start_offset.0);
    // The second bit is what there was of the count at first.
    let AbortedCount(aborted_count) = summary.aborted_count;
    let has_aborted = u8::from(aborted_count > 0) << 1;
    out.put_u8(u8::from(summary.has_producers) | has_aborted | aborted_count << 2);
    put_count(out, summary.segments.len());
    for segment in &summary.segments {
        let none = TimestampOffset { timestamp: TimestampMs::NONE, offset: Offset::NONE };
        let largest = segment.largest.unwrap_or(none);
        out.put_i64(segment.base_offset().0);
        out.put_u32(segment.bytes);
        out.put_i64(segment.next_offset.0);
        out.put_i64(segment.first_timestamp.0);
        out.put_i64(segment.created.0);
        out.put_i64(segment.modified.0);
        out.put_i64(largest.timestamp.0);
        out.put_i64(largest.offset.0);
        let entries = segment.index_entries();
        out.put_u32(entries.offsets);
        out.put_u32(entries.times);
    }
    put_count(out, summary.epochs.starts().len());
    for start in summary.epochs.starts() {
        out.put_i32(start.epoch.0);
        out.put_i64(start.start_offset.0);
    }
}

/// Reads a manifest; none if it is not one that this program wrote whole.
#[must_use]
pub fn decode_manifest(file: &[u8]) -> Option<Vec<ManifestEntry>> {
    let (mut body, mut crc) = file.split_at_checked(file.len().checked_sub(4)?)?;
    if crc32c::crc32c(body) != crc.get_u32() || body.split_off(..MAGIC.len())? != MAGIC {
        return None;
    }
    if body.try_get_u16().ok()? != VERSION {
        return None;
    }
    let entry_count = body.try_get_u32().ok()?;
    let mut entries = Vec::new();
    for _ in 0..entry_count {
        let topic_bytes = body.try_get_u32().ok()? as usize;
        let topic = std::str::from_utf8(body.split_off(..topic_bytes)?).ok()?;
        let topic = TopicName::from(topic);
        let partition = PartitionIndex(body.try_get_i32().ok()?);
        let topic_id = TopicId(*body.split_off(..16)?.first_chunk()?);
        let summary = decode_summary(&mut body)?;
        let topic_partition = TopicPartition { topic, partition };
        entries.push(ManifestEntry { topic_partition, topic_id, summary });
    }
    body.is_empty().then_some(entries)
}

fn decode_summary(body: &mut &[u8]) -> Option<LogSummary> {
    let log_start_offset = Offset(body.try_get_i64().ok()?);
    let flags = body.try_get_u8().ok()?;
    let mut segments: Vec<LogSegment> = Vec::new();
    for _ in 0..body.try_get_u32().ok()? {
        let mut fields = body.split_off(..SEGMENT_BYTES)?;
        let base_offset = Offset(fields.get_i64());
        let bytes = fields.get_u32();
        let next_offset = Offset(fields.get_i64());
        let first_timestamp = TimestampMs(fields.get_i64());
        let mut segment = LogSegment::new(base_offset, TimestampMs(fields.get_i64()));
        segment.bytes = bytes;
        segment.next_offset = next_offset;
        segment.first_timestamp = first_timestamp;
        segment.modified = TimestampMs(fields.get_i64());
        let timestamp = TimestampMs(fields.get_i64());
        let largest = TimestampOffset { timestamp, offset: Offset(fields.get_i64()) };
        segment.largest = (timestamp.0 >= 0).then_some(largest);
        segment.drop_indexes();
        segment.entries = IndexEntries { offsets: fields.get_u32(), times: fields.get_u32() };
        let follows = segments.last().is_none_or(|last| base_offset >= last.next_offset);
        if !follows || next_offset < base_offset {
            return None;
        }
        segments.push(segment);
    }
    let mut epochs = LeaderEpochCache::default();
    for _ in 0..body.try_get_u32().ok()? {
        let mut fields = body.split_off(..EPOCH_BYTES)?;
        let start = EpochStart {
            epoch: LeaderEpoch(fields.get_i32()),
            start_offset: Offset(fields.get_i64()),
        };
        epochs.assign(start.epoch, start.start_offset);
    }
    let has_producers = flags & 1 != 0;
    let aborted_count = AbortedCount((flags >> 2).max(flags >> 1 & 1));
    let known = !segments.is_empty();
    known.then_some(LogSummary { log_start_offset, segments, epochs, has_producers, aborted_count })
}

impl PartitionLog {
    /// What a clean shutdown notes of it, once everything is flushed and its files are written.
    #[must_use]
    pub fn summary(&self) -> LogSummary {
        let without_indexes = |segment: &LogSegment| {
            let mut segment = segment.clone();
            segment.close();
            segment.drop_indexes();
            segment
        };
        LogSummary {
            log_start_offset: self.log_start_offset,
            segments: self.segments().map(without_indexes).collect(),
            epochs: self.epochs.clone(),
            has_producers: self.producers.producer_count() > 0
                || !self.producers.forgotten.is_empty(),
            aborted_count: AbortedCount::of(self.producers.transactions().aborted().len()),
        }
    }

    /// The same of a log that is still written to, as far as it is surely on disk: the segments
    /// from `base_offset` on are left to be walked by the next start.
    #[must_use]
    pub fn summary_before(&self, base_offset: Offset) -> LogSummary {
        let transactions = self.producers.transactions();
        let aborted = transactions.aborted_in_segment(Offset::ZERO, base_offset);
        let aborted_count = AbortedCount::of(aborted.len());
        LogSummary { aborted_count, ..self.summary().before_segment(base_offset) }
    }

    /// The log that a clean shutdown left: all of it is flushed and in sight.
    ///
    /// `active_indexes` are those of the last segment; `producers` those of the snapshot at the
    /// log's end; `aborted` what the transaction indexes hold.
    #[must_use]
    pub fn reopen(
        config: LogConfig,
        summary: LogSummary,
        mut producers: ProducerStateTable,
        aborted: Vec<AbortedTransaction>,
        active_indexes: SegmentIndexes,
    ) -> Self {
        let log_end_offset = summary.log_end_offset();
        let mut closed = summary.segments;
        let mut active = closed
            .pop()
            .unwrap_or_else(|| LogSegment::new(summary.log_start_offset, TimestampMs::NONE));
        active.install_indexes(active_indexes);
        producers.transactions_mut().restore_aborted(aborted);
        Self {
            config,
            closed,
            active,
            log_start_offset: summary.log_start_offset,
            high_watermark: log_end_offset,
            flushed_offset: log_end_offset,
            leader_epoch: summary.epochs.latest().unwrap_or(LeaderEpoch::ZERO),
            epochs: summary.epochs,
            producers,
            read_hints: [None; READ_HINTS],
            replacements: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogConfig;
    use proptest::prelude::*;

    fn entries() -> Vec<ManifestEntry> {
        let mut log = PartitionLog::new(LogConfig::default(), TimestampMs(7));
        log.become_leader(LeaderEpoch(3));
        let entry = |topic: &str, partition| ManifestEntry {
            topic_partition: TopicPartition::new(topic, PartitionIndex(partition)),
            topic_id: TopicId([9; 16]),
            summary: log.summary(),
        };
        vec![entry("clicks", 0), entry("clicks", 1), entry("orders", 0)]
    }

    #[test]
    fn a_manifest_holds_what_was_summarised() {
        assert_eq!(decode_manifest(&encode_manifest(&entries())), Some(entries()));
        assert_eq!(decode_manifest(&encode_manifest(&[])), Some(vec![]));
    }

    #[test]
    fn failure_34_every_changed_byte_and_every_cut_makes_it_none() {
        let bytes = encode_manifest(&entries());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(decode_manifest(&changed), None, "byte {at}");
            assert_eq!(decode_manifest(&bytes[..at]), None, "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_with_a_right_checksum_make_the_decoder_panic(
            body in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut bytes = [b"SLCM\x00\x01".as_slice(), &body].concat();
            let crc = crc32c::crc32c(&bytes).to_be_bytes();
            bytes.extend_from_slice(&crc);
            let _ = decode_manifest(&bytes);
        }
    }
}
