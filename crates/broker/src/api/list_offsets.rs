//! ListOffsets (2): the offset of a time, or one of the special ones: earliest, latest, largest
//! timestamp.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::controller::Topic;
use streamledger_broker_core::log::ReadLimit;
use streamledger_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use streamledger_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use streamledger_protocol::{
    ApiVersion, ErrorCode, IsolationLevel, LeaderEpoch, Offset, PartitionIndex, TimestampMs,
    TopicId,
};

use super::access::Access;
use super::{Answer, Api, Call, leadership};

/// Timestamps with a meaning of their own (Kafka's `ListOffsetsRequest`).
mod special {
    pub(super) const LATEST: i64 = -1;
    pub(super) const EARLIEST: i64 = -2;
    pub(super) const LARGEST_TIMESTAMP: i64 = -3;
    /// Without tiered storage all that is there is local.
    pub(super) const EARLIEST_LOCAL: i64 = -4;
    /// Without tiered storage there is no such offset.
    pub(super) const LATEST_TIERED: i64 = -5;
    /// Without tiered storage there is no such offset either.
    pub(super) const EARLIEST_PENDING_UPLOAD: i64 = -6;
}

/// The first version whose answer carries a leader epoch.
const LEADER_EPOCH_FROM: ApiVersion = ApiVersion(4);

/// An offset and its timestamp; none of either is told as -1.
struct Found {
    offset: Offset,
    timestamp: TimestampMs,
}

impl Found {
    const NOTHING: Self = Self { offset: Offset::NONE, timestamp: TimestampMs::NONE };

    const fn at(offset: Offset) -> Self {
        Self { offset, timestamp: TimestampMs::NONE }
    }
}

impl Api for ListOffsetsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 1..=11;
    const ACCESS: Access = Access::Each(&[(Operation::Describe, ResourceType::Topic)]);

    fn refused(&self, error: ErrorCode) -> ListOffsetsResponse {
        let topics = self.topics.iter().map(|topic| ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|ask| answer(ask.partition_index, Err(error)))
                .collect(),
        });
        ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<ListOffsetsResponse> {
        let limit = match IsolationLevel::from_code(self.isolation_level) {
            Some(IsolationLevel::ReadCommitted) => ReadLimit::LastStable,
            Some(IsolationLevel::ReadUncommitted) | None => ReadLimit::HighWatermark,
        };
        let refused = self.refused(ErrorCode::UnknownServerError);
        let asking = Arc::clone(call);
        // A lookup by time reads from the disk.
        let answered = call.blocking(move |_| {
            let topics = self.topics.into_iter().map(|topic| {
                let found = asking.topic_for(Operation::Describe, &topic.name, TopicId::ZERO);
                let look_up = |ask: &ListOffsetsPartition| {
                    let looked_up = match &found {
                        Ok(found) => look_up(&asking, found, ask, limit),
                        Err(error) => Err(*error),
                    };
                    answer(ask.partition_index, looked_up)
                };
                ListOffsetsTopicResponse {
                    partitions: topic.partitions.iter().map(look_up).collect(),
                    name: topic.name,
                }
            });
            ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
        });
        answered.await.unwrap_or(refused).into()
    }
}

fn look_up(
    call: &Call,
    topic: &Topic,
    ask: &ListOffsetsPartition,
    limit: ReadLimit,
) -> Result<(Found, LeaderEpoch), ErrorCode> {
    let log = call.node.partition(topic, ask.partition_index)?;
    let epoch = leadership::check(topic, ask.partition_index, ask.current_leader_epoch)?;
    // A log that can't be opened has records all the same: its ends aren't 0, they aren't known.
    log.check_readable().map_err(|offline| offline.error_code())?;
    let found = match ask.timestamp.0 {
        special::EARLIEST | special::EARLIEST_LOCAL => Found::at(log.log_start_offset()),
        special::LATEST => Found::at(log.limit_offset(limit)),
        special::LATEST_TIERED | special::EARLIEST_PENDING_UPLOAD => Found::NOTHING,
        special::LARGEST_TIMESTAMP => match log.max_timestamp(limit) {
            Ok(Some(largest)) => Found { offset: largest.offset, timestamp: largest.timestamp },
            Ok(None) => Found::NOTHING,
            Err(error) => return Err(error.error_code()),
        },
        timestamp if timestamp < 0 => return Err(ErrorCode::UnsupportedVersion),
        _ => match log.offset_for_timestamp(ask.timestamp, limit) {
            Ok(Some(first)) => Found { offset: first.offset, timestamp: first.timestamp },
            Ok(None) => Found::NOTHING,
            Err(error) => return Err(error.error_code()),
        },
    };
    let epoch = if call.version < LEADER_EPOCH_FROM || found.offset == Offset::NONE {
        LeaderEpoch::NONE
    } else {
        epoch
    };
    Ok((found, epoch))
}

fn answer(
    index: PartitionIndex,
    looked_up: Result<(Found, LeaderEpoch), ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let (error_code, (found, leader_epoch)) = match looked_up {
        Ok(found) => (ErrorCode::None, found),
        Err(error) => (error, (Found::NOTHING, LeaderEpoch::NONE)),
    };
    ListOffsetsPartitionResponse {
        partition_index: index,
        error_code,
        timestamp: found.timestamp,
        offset: found.offset,
        leader_epoch,
    }
}
