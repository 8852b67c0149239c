//! Fetch (1): reads record batches, waiting for enough of them if asked to (a long poll).
//!
//! There are no fetch sessions: every answer carries session id 0, which clients understand as
//! "send the whole list again" (PROTOCOL.md, trap 6).

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::log::ReadLimit;
use streamledger_protocol::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchPartition, FetchableTopicResponse, PartitionData,
};
use streamledger_protocol::messages::{FetchRequest, FetchResponse};
use streamledger_protocol::wire::Records;
use streamledger_protocol::{
    ErrorCode, IsolationLevel, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicName,
};
use tokio::time::Instant;

use super::access::Access;
use super::{Answer, Api, Call, Held, leadership};
use crate::server::BytePermit;
use crate::storage::{FileRange, Partition, ReadOutcome, StoredRecords};

const NO_SESSION: i32 = 0;
/// Session epochs that go with no session: "make one" (0), which is not done, and "none" (-1).
const EPOCHS_WITHOUT_SESSION: [i32; 2] = [0, -1];
/// When more bytes are wanted than one, how long to let them gather before looking again.
const GATHERING: Duration = Duration::from_millis(2);

impl Api for FetchRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 4..=18;
    const ACCESS: Access = Access::Each(&[
        (Operation::Read, ResourceType::Topic),
        // Of who says that it is a replica, instead.
        (Operation::ClusterAction, ResourceType::Cluster),
    ]);

    fn refused(&self, error: ErrorCode) -> FetchResponse {
        let topics = self.topics.iter().map(|topic| {
            let refuse = |partition: &FetchPartition| refused(partition.partition, error);
            FetchableTopicResponse {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                partitions: topic.partitions.iter().map(refuse).collect(),
            }
        });
        FetchResponse { responses: topics.collect(), ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<FetchResponse> {
        let session_error = if self.session_id != NO_SESSION {
            Some(ErrorCode::FetchSessionIdNotFound)
        } else if !EPOCHS_WITHOUT_SESSION.contains(&self.session_epoch) {
            Some(ErrorCode::InvalidFetchSessionEpoch)
        } else {
            None
        };
        if let Some(error_code) = session_error {
            return FetchResponse { error_code, ..Default::default() }.into();
        }
        let poll = LongPoll::new(self, Arc::clone(call));
        Answer::Later(Box::pin(poll.answer()))
    }
}

/// Whether it is a broker's, by its own word (Kafka's `FetchRequest.isFromFollower`).
fn is_from_follower(request: &FetchRequest) -> bool {
    request.replica_id.0.max(request.replica_state.replica_id.0) >= 0
}

/// What a broker is told that has no replica here, as none but this one has (Kafka's
/// `Partition.followerReplicaOrThrow`).
fn no_replica(current_leader_epoch: LeaderEpoch) -> ErrorCode {
    match current_leader_epoch {
        LeaderEpoch::NONE => ErrorCode::NotLeaderOrFollower,
        _ => ErrorCode::UnknownLeaderEpoch,
    }
}

/// A partition that is asked for, and its log or why there is none.
struct Wanted {
    ask: FetchPartition,
    log: Result<Arc<Partition>, ErrorCode>,
    diverging: Option<EpochEndOffset>,
}

struct WantedTopic {
    name: TopicName,
    id: TopicId,
    partitions: Vec<Wanted>,
}

/// One look at all partitions.
#[derive(Default)]
struct Look {
    response: FetchResponse,
    /// Records that stay in their files until they are sent, in the order of their partitions.
    files: Vec<FileRange>,
    record_bytes: usize,
    /// Those of them that are in memory.
    held_bytes: usize,
    /// Something is to be told at once: an error, or a log that diverged.
    is_urgent: bool,
}

struct LongPoll {
    call: Arc<Call>,
    topics: Vec<WantedTopic>,
    isolation: IsolationLevel,
    deadline: Instant,
    bytes_min: usize,
    bytes_max: usize,
}

impl LongPoll {
    fn new(request: FetchRequest, call: Arc<Call>) -> Self {
        let positive = |number: i32| usize::try_from(number).unwrap_or(0);
        let wait = Duration::from_millis(positive(request.max_wait_ms) as u64);
        let may_follow =
            is_from_follower(&request).then(|| call.allows_cluster(Operation::ClusterAction));
        let topics = request.topics.into_iter().map(|topic| {
            let found = match may_follow {
                None => call.topic_for(Operation::Read, &topic.topic, topic.topic_id),
                Some(false) => Err(ErrorCode::TopicAuthorizationFailed),
                Some(true) => call.node.topic_named(&topic.topic, topic.topic_id),
            };
            let wanted = |ask: FetchPartition| {
                let index = ask.partition;
                let log = found.as_ref().map_err(|&error| error).and_then(|found| {
                    let log = call.node.partition(found, index)?;
                    leadership::check(found, index, ask.current_leader_epoch)?;
                    match may_follow {
                        Some(_) => Err(no_replica(ask.current_leader_epoch)),
                        None => Ok(log),
                    }
                });
                let (log, diverging) = match log.map(|log| (diverging_epoch(&log, &ask), log)) {
                    Ok((Ok(diverging), log)) => (Ok(log), diverging),
                    Ok((Err(error), _)) | Err(error) => (Err(error), None),
                };
                Wanted { ask, log, diverging }
            };
            WantedTopic {
                partitions: topic.partitions.into_iter().map(wanted).collect(),
                name: topic.topic,
                id: topic.topic_id,
            }
        });
        Self {
            topics: topics.collect(),
            isolation: IsolationLevel::from_code(request.isolation_level)
                .unwrap_or(IsolationLevel::ReadUncommitted),
            deadline: Instant::now() + wait,
            bytes_min: positive(request.min_bytes),
            bytes_max: positive(request.max_bytes)
                .min(call.node.settings.fetch_bytes_max)
                .min(call.fetch_bytes_of_quota().unwrap_or(usize::MAX)),
            call,
        }
    }

    /// Looks until there is enough, something is wrong, time is up, or nobody waits any more.
    async fn answer(self) -> Held<FetchResponse> {
        loop {
            let permit = self.room_to_read().await;
            let look = self.look();
            let is_last = look.is_urgent
                || look.record_bytes >= self.bytes_min
                || Instant::now() >= self.deadline
                || self.call.connection.is_closing();
            if is_last {
                return self.held(look, permit);
            }
            drop(permit);
            let has_some = look.record_bytes > 0;
            let seen = Self::seen(&look.response);
            drop(look);
            self.wait_for_more(seen, has_some).await;
        }
    }

    /// A place in the memory for fetched records; none when nobody waits for the answer any more.
    async fn room_to_read(&self) -> Option<BytePermit> {
        let budget = &self.call.node.fetched;
        if let Some(permit) = budget.try_take(0) {
            return Some(permit);
        }
        tokio::select! {
            permit = budget.take(0) => Some(permit),
            () = self.call.connection.closed() => None,
        }
    }

    fn held(&self, look: Look, permit: Option<BytePermit>) -> Held<FetchResponse> {
        let Some(mut permit) = permit else {
            return Held::whole(FetchResponse::default());
        };
        permit.resize(look.held_bytes);
        Held { response: look.response, files: look.files, permit: Some(permit) }
    }

    fn look(&self) -> Look {
        let mut look = Look::default();
        for topic in &self.topics {
            let partitions = topic.partitions.iter().map(|wanted| self.read(wanted, &mut look));
            let response = FetchableTopicResponse {
                topic: topic.name.clone(),
                topic_id: topic.id,
                partitions: partitions.collect(),
            };
            look.response.responses.push(response);
        }
        look
    }

    fn read(&self, wanted: &Wanted, look: &mut Look) -> PartitionData {
        let index = wanted.ask.partition;
        let log = match &wanted.log {
            Ok(log) => log,
            Err(error) => {
                look.is_urgent = true;
                return refused(index, *error);
            }
        };
        if let Some(diverging_epoch) = &wanted.diverging {
            look.is_urgent = true;
            return PartitionData { diverging_epoch: diverging_epoch.clone(), ..told(index, log) };
        }
        // The first batch of an answer is given whatever its size (KIP-74), or a reader whose
        // limit is smaller than a batch would never get on; after that limits hold.
        let left = self.bytes_max.saturating_sub(look.record_bytes);
        let own = usize::try_from(wanted.ask.partition_max_bytes).unwrap_or(0);
        let bytes_max = left.min(own);
        if look.record_bytes > 0 && bytes_max == 0 {
            return told(index, log);
        }
        match log.read_to_send(wanted.ask.fetch_offset, bytes_max, read_limit(self.isolation)) {
            Ok(read) => {
                let is_first = look.record_bytes == 0;
                if !is_first && read.records.len() > bytes_max {
                    return told(index, log);
                }
                look.given(index, read, self.isolation)
            }
            Err(error) => {
                look.is_urgent = true;
                refused(index, error.error_code())
            }
        }
    }

    /// How far each partition could be seen at a look; none where there was an error.
    fn seen(response: &FetchResponse) -> Vec<(Offset, Offset)> {
        let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|data| (data.high_watermark, data.last_stable_offset)).collect()
    }

    /// Waits until a partition can be seen further, or waiting is over.
    async fn wait_for_more(&self, seen: Vec<(Offset, Offset)>, has_some: bool) {
        let limit = read_limit(self.isolation);
        let logs = self.topics.iter().flat_map(|topic| &topic.partitions);
        let mut waits: FuturesUnordered<_> = logs
            .zip(seen)
            .filter_map(|(wanted, (high_watermark, last_stable_offset))| {
                let end = match limit {
                    ReadLimit::LastStable => last_stable_offset,
                    ReadLimit::HighWatermark | ReadLimit::LogEnd => high_watermark,
                };
                wanted.log.as_ref().ok().map(|log| log.wait_for_data(end, limit))
            })
            .collect();
        tokio::select! {
            // No partition at all leaves only the deadline.
            Some(_) = waits.next() => {
                if has_some || self.bytes_min > 1 {
                    let until = self.deadline.min(Instant::now() + GATHERING);
                    tokio::time::sleep_until(until).await;
                }
            }
            () = tokio::time::sleep_until(self.deadline) => {}
            () = self.call.connection.closed() => {}
        }
    }
}

const fn read_limit(isolation: IsolationLevel) -> ReadLimit {
    match isolation {
        IsolationLevel::ReadUncommitted => ReadLimit::HighWatermark,
        IsolationLevel::ReadCommitted => ReadLimit::LastStable,
    }
}

/// Where the log differs from what the reader believes it read last (KIP-595's truncation check).
fn diverging_epoch(
    log: &Partition,
    ask: &FetchPartition,
) -> Result<Option<EpochEndOffset>, ErrorCode> {
    if ask.last_fetched_epoch == LeaderEpoch::NONE {
        return Ok(None);
    }
    let end =
        log.end_offset_for_epoch(ask.last_fetched_epoch).map_err(|offline| offline.error_code())?;
    if end.end_offset == Offset::NONE || end.epoch == LeaderEpoch::NONE {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let diverges = end.epoch < ask.last_fetched_epoch || end.end_offset < ask.fetch_offset;
    let (epoch, end_offset) = (end.epoch, end.end_offset);
    Ok(diverges.then_some(EpochEndOffset { epoch, end_offset }))
}

fn refused(index: PartitionIndex, error: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: index,
        error_code: error,
        high_watermark: Offset::NONE,
        records: Some(Records::default()),
        ..Default::default()
    }
}

/// Where a log stands, without records.
fn told(index: PartitionIndex, log: &Partition) -> PartitionData {
    PartitionData {
        partition_index: index,
        high_watermark: log.high_watermark(),
        last_stable_offset: log.last_stable_offset(),
        log_start_offset: log.log_start_offset(),
        records: Some(Records::default()),
        ..Default::default()
    }
}

impl Look {
    /// Takes what was read of a partition.
    fn given(
        &mut self,
        index: PartitionIndex,
        read: ReadOutcome<StoredRecords>,
        isolation: IsolationLevel,
    ) -> PartitionData {
        self.record_bytes += read.records.len();
        let records = match read.records {
            StoredRecords::Here(bytes) => {
                self.held_bytes += bytes.len();
                Records::Here(bytes)
            }
            StoredRecords::InFile(range) => {
                let bytes = range.len();
                self.files.push(range);
                Records::Elsewhere(bytes)
            }
        };
        let aborted = read.aborted.iter().map(|aborted| AbortedTransaction {
            producer_id: aborted.producer_id,
            first_offset: aborted.first_offset,
        });
        let aborted_transactions = match isolation {
            IsolationLevel::ReadUncommitted => None,
            IsolationLevel::ReadCommitted => Some(aborted.collect()),
        };
        PartitionData {
            partition_index: index,
            error_code: ErrorCode::None,
            high_watermark: read.high_watermark,
            last_stable_offset: read.last_stable_offset,
            log_start_offset: read.log_start_offset,
            aborted_transactions,
            records: Some(records),
            ..Default::default()
        }
    }
}
