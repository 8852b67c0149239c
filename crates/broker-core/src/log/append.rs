//! What is checked of record batches before the log is asked: everything that needs only the
//! bytes, the settings and the time, so that it can happen outside of any lock.

use bytes::Bytes;
use streamledger_protocol::compression::Decompressor;
use streamledger_protocol::record_batch::{
    ControlKind, ControlRecord, CorruptBatch, InvalidBatch, Limits, RecordBatchHeader,
    RecordBatchRef, batches, parse_control_record, patch_log_append_time, patch_max_timestamp,
    validate_for_append,
};
use streamledger_protocol::{ErrorCode, Offset, TimestampMs, TimestampType};

use super::config::LogConfig;
use super::producer_places::NoPlace;
use super::producer_state::{
    MarkerEpoch, ProducerBatch, ProducerRefusal, TransactionGuard, TransactionMarker,
};

/// Who hands in record batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A producer: one batch, checked in full.
    Client,
    /// The leader of the partition: offsets and leader epochs are in the batches already.
    Replication,
    /// A coordinator of this broker: group offsets, transaction states, metadata.
    Coordinator,
    /// A transaction coordinator, of this broker or another: the marker of a transaction's end.
    Marker(MarkerEpoch),
}

/// Why batches are refused. Nothing of them is in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefusal {
    /// A client's batch breaks a rule of the format.
    #[error(transparent)]
    Invalid(#[from] InvalidBatch),
    /// There is no batch.
    #[error("there is no record batch")]
    NoBatch,
    /// A timestamp is further from the broker's clock than the topic allows.
    #[error("timestamp {timestamp} is too far from the broker's clock, which says {now}")]
    Timestamp {
        /// The timestamp in the batch.
        timestamp: TimestampMs,
        /// The broker's clock.
        now: TimestampMs,
    },
    /// The batches together are longer than a segment may be.
    #[error("the batches have {bytes} bytes, more than a segment may have ({segment_bytes})")]
    LargerThanSegment {
        /// Bytes of the batches.
        bytes: usize,
        /// `segment.bytes` of the topic.
        segment_bytes: u32,
    },
    /// Batches from the leader don't continue the log.
    #[error("a batch begins at {found}, the log ends at {log_end_offset}")]
    NotContinuous {
        /// The base offset of the batch.
        found: Offset,
        /// Where the log ends.
        log_end_offset: Offset,
    },
    /// The producer or its sequence is refused.
    #[error(transparent)]
    Producer(#[from] ProducerRefusal),
    /// No log may remember one producer more.
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
}

impl AppendRefusal {
    /// The error code that answers it, as Kafka's broker would.
    #[must_use]
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Invalid(invalid) => invalid.error_code(),
            Self::NoBatch => ErrorCode::InvalidRecord,
            Self::Timestamp { .. } => ErrorCode::InvalidTimestamp,
            Self::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            Self::NotContinuous { .. } => ErrorCode::CorruptMessage,
            Self::NoPlace(no_place) => no_place.error_code(),
            Self::Producer(refusal) => match refusal {
                ProducerRefusal::Fenced { .. } => ErrorCode::InvalidProducerEpoch,
                ProducerRefusal::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
                ProducerRefusal::Forgotten { .. } => ErrorCode::UnknownProducerId,
                ProducerRefusal::OutsideTransaction { .. } | ProducerRefusal::Unverified { .. } => {
                    ErrorCode::InvalidTxnState
                }
                ProducerRefusal::CoordinatorFenced { .. } => {
                    ErrorCode::TransactionCoordinatorFenced
                }
            },
        }
    }
}

/// One batch that passed.
#[derive(Debug, Clone)]
pub(super) struct ValidBatch {
    pub(super) header: RecordBatchHeader,
    pub(super) bytes: Bytes,
    pub(super) marker: Option<TransactionMarker>,
}

/// Batches that passed every check that needs no log.
#[derive(Debug, Clone)]
pub struct ValidBatches {
    pub(super) origin: AppendOrigin,
    pub(super) batches: Vec<ValidBatch>,
    pub(super) guard: Option<TransactionGuard>,
}

impl ValidBatches {
    /// The same, with the coordinator having said that they belong to an open transaction, asked
    /// under that guard.
    #[must_use]
    pub fn verified(self, guard: Option<TransactionGuard>) -> Self {
        Self { guard, ..self }
    }

    /// Bytes of all batches.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes.len()).sum()
    }
}

/// Checks batches against format, settings and clock.
///
/// A client's batch is checked down to each record, and has its header corrected where Kafka's
/// `LogValidator` corrects it (the largest timestamp; the leader's time under LogAppendTime). A
/// leader's and a coordinator's have their checksums held against their bytes.
///
/// # Errors
/// The first rule that is broken; nothing is to be appended.
pub fn validate_batches(
    records: Bytes,
    origin: AppendOrigin,
    config: &LogConfig,
    now: TimestampMs,
    decompressor: &mut Decompressor,
) -> Result<ValidBatches, AppendRefusal> {
    let batches = match origin {
        AppendOrigin::Client => vec![validate_client(records, config, now, decompressor)?],
        AppendOrigin::Replication => split(&records, decompressor)?,
        AppendOrigin::Coordinator | AppendOrigin::Marker(_) => {
            let mut batches = split(&records, decompressor)?;
            for batch in &mut batches {
                check_batch_bytes(batch.bytes.len(), config)?;
                stamp_if_log_append_time(batch, config, now);
            }
            batches
        }
    };
    if batches.is_empty() {
        return Err(AppendRefusal::NoBatch);
    }
    let valid = ValidBatches { origin, batches, guard: None };
    let (bytes, segment_bytes) = (valid.batch_bytes(), config.segment_bytes);
    if origin != AppendOrigin::Replication && bytes > segment_bytes as usize {
        return Err(AppendRefusal::LargerThanSegment { bytes, segment_bytes });
    }
    Ok(valid)
}

fn check_batch_bytes(batch_bytes: usize, config: &LogConfig) -> Result<(), InvalidBatch> {
    let batch_bytes_max = config.message_bytes_max as usize;
    if batch_bytes > batch_bytes_max {
        return Err(InvalidBatch::TooLarge { batch_bytes, batch_bytes_max });
    }
    Ok(())
}

fn validate_client(
    records: Bytes,
    config: &LogConfig,
    now: TimestampMs,
    decompressor: &mut Decompressor,
) -> Result<ValidBatch, AppendRefusal> {
    if records.is_empty() {
        return Err(AppendRefusal::NoBatch);
    }
    let limits = Limits {
        batch_bytes_max: config.message_bytes_max as usize,
        key_required: config.cleanup.compacts(),
    };
    let validated = validate_for_append(&records, &limits, decompressor)?;
    let mut batch = ValidBatch { header: validated.header, bytes: records, marker: None };
    if config.timestamp_type == TimestampType::CreateTime {
        check_timestamps(batch.header.base_timestamp, validated.max_timestamp, config, now)?;
        if validated.max_timestamp_is_wrong() {
            rewrite(&mut batch, |bytes| patch_max_timestamp(bytes, validated.max_timestamp));
        }
    }
    stamp_if_log_append_time(&mut batch, config, now);
    Ok(batch)
}

fn check_timestamps(
    first: TimestampMs,
    max: TimestampMs,
    config: &LogConfig,
    now: TimestampMs,
) -> Result<(), AppendRefusal> {
    let limit = |ms: Option<u64>| ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
    if let Some(after) = limit(config.timestamp_after_ms_max)
        && max.0 > now.0.saturating_add(after)
    {
        return Err(AppendRefusal::Timestamp { timestamp: max, now });
    }
    // A record without a timestamp is allowed, as in Kafka's `LogValidator`.
    if let Some(before) = limit(config.timestamp_before_ms_max)
        && first != TimestampMs::NONE
        && first.0 < now.0.saturating_sub(before)
    {
        return Err(AppendRefusal::Timestamp { timestamp: first, now });
    }
    Ok(())
}

fn stamp_if_log_append_time(batch: &mut ValidBatch, config: &LogConfig, now: TimestampMs) {
    if config.timestamp_type == TimestampType::LogAppendTime {
        rewrite(batch, |bytes| patch_log_append_time(bytes, now));
    }
}

/// Changes a copy of the batch: the bytes it came in may be part of a request that others read.
fn rewrite(batch: &mut ValidBatch, patch: impl FnOnce(&mut [u8])) {
    let mut copy = batch.bytes.to_vec();
    patch(&mut copy);
    if let Ok(header) = RecordBatchHeader::parse(&copy) {
        batch.header = header;
        batch.bytes = Bytes::from(copy);
    }
}

/// The whole batches in `records`, each with its checksum verified. A cut last one is left out:
/// a Fetch answer may end anywhere.
fn split(
    records: &Bytes,
    decompressor: &mut Decompressor,
) -> Result<Vec<ValidBatch>, AppendRefusal> {
    let mut valid = Vec::new();
    for batch in batches(records) {
        let batch = batch.map_err(InvalidBatch::Corrupt)?;
        batch.verify_crc().map_err(InvalidBatch::Corrupt)?;
        let marker = marker_of(&batch, decompressor).map_err(InvalidBatch::Corrupt)?;
        let (header, bytes) = (*batch.header(), records.slice_ref(batch.bytes()));
        if header.last_offset_delta < 0 {
            let RecordBatchHeader { record_count, last_offset_delta, .. } = header;
            return Err(InvalidBatch::CountMismatch { record_count, last_offset_delta }.into());
        }
        valid.push(ValidBatch { header, bytes, marker });
    }
    Ok(valid)
}

/// The transaction marker in a batch, if it is a control batch that holds one.
///
/// # Errors
/// It is a control batch, and its record can't be read.
pub(super) fn marker_of(
    batch: &RecordBatchRef<'_>,
    decompressor: &mut Decompressor,
) -> Result<Option<TransactionMarker>, CorruptBatch> {
    let header = batch.header();
    let Some(producer) = header.producer().filter(|_| header.attributes.is_control()) else {
        return Ok(None);
    };
    let record = batch.records(decompressor)?.next().ok_or(CorruptBatch::Control)??;
    match parse_control_record(&record)? {
        ControlRecord::Marker { kind, coordinator_epoch } => Ok(Some(TransactionMarker {
            producer,
            coordinator_epoch,
            committed: kind == ControlKind::Commit,
        })),
        ControlRecord::Other(_) => Ok(None),
    }
}

/// What the batch says of its producer, if it is a data batch of an idempotent one.
pub(super) fn producer_batch_of(header: &RecordBatchHeader) -> Option<ProducerBatch> {
    let producer = header.producer().filter(|_| !header.attributes.is_control())?;
    Some(ProducerBatch {
        producer,
        first_sequence: header.base_sequence,
        last_sequence: header.last_sequence(),
        transactional: header.attributes.is_transactional(),
    })
}
