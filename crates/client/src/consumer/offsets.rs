//! Finds offsets: at either end, or at a timestamp.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use streamledger_client_core::consumer::{FetchVerdict, Lookup, PartitionToFind, judge};
use streamledger_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use streamledger_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use streamledger_protocol::{
    BrokerId, ErrorCode, Offset, PartitionIndex, TimestampMs, TopicName, TopicPartition,
};
use tokio::time::{Instant, timeout_at};

use super::fetcher::Fetcher;
use super::{ConsumerError, OffsetAndTimestamp};
use crate::network::{ExponentialBackoff, NetworkError};

/// What a leader found.
pub(super) struct Found {
    pub(super) topic_partition: TopicPartition,
    pub(super) error: ErrorCode,
    pub(super) offset: Option<Offset>,
    timestamp: TimestampMs,
}

/// A question that has no answer yet, and its place among all.
type Open = (usize, TopicPartition, Lookup);

impl Fetcher {
    /// Asks one broker once.
    pub(super) async fn ask_offsets(
        &self,
        broker: BrokerId,
        partitions: &[PartitionToFind],
    ) -> Result<Vec<Found>, NetworkError> {
        let connection = self.refresher.connection_to(broker).await?;
        let mut topics: BTreeMap<TopicName, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for wanted in partitions {
            let partition = ListOffsetsPartition {
                partition_index: wanted.topic_partition.partition,
                current_leader_epoch: wanted.leader_epoch,
                timestamp: timestamp_of(wanted.lookup),
            };
            let topic = wanted.topic_partition.topic.clone();
            topics.entry(topic).or_default().push(partition);
        }
        let topics = topics.into_iter();
        let request = ListOffsetsRequest {
            replica_id: BrokerId::NONE,
            isolation_level: self.own.isolation_level.code(),
            topics: topics
                .map(|(name, partitions)| ListOffsetsTopic { name, partitions })
                .collect(),
            timeout_ms: i32::try_from(self.client.request_timeout.as_millis()).unwrap_or(i32::MAX),
        };
        let response = connection.call(&request, self.client.request_timeout).await?;
        Ok(found_in(response))
    }

    /// Asks every leader until all have answered, for `default.api.timeout.ms`.
    pub(super) async fn find_offsets(
        &self,
        wanted: &[(TopicPartition, Lookup)],
    ) -> Result<Vec<Option<OffsetAndTimestamp>>, ConsumerError> {
        let numbered = wanted.iter().enumerate();
        let mut open: Vec<Open> = numbered.map(|(n, (tp, l))| (n, tp.clone(), *l)).collect();
        let mut answers = vec![None; wanted.len()];
        let mut last_error = ConsumerError::Timeout(self.timeout());
        let deadline = Instant::now() + self.timeout();
        let mut attempt = 0;
        while !open.is_empty() {
            let round = self.ask_leaders(&open, &mut answers, &mut last_error);
            open = match timeout_at(deadline, round).await {
                Ok(still_open) => still_open?,
                Err(_) => return Err(last_error),
            };
            if open.is_empty() {
                break;
            }
            if last_error.is_authentication() {
                return Err(last_error);
            }
            let backoff = ExponentialBackoff {
                first: self.client.retry_backoff,
                max: self.client.retry_backoff_max,
            };
            let wait = backoff.wait(attempt, self.refresher.pool().jitter().chance());
            attempt += 1;
            if Instant::now() + wait >= deadline {
                return Err(last_error);
            }
            tokio::time::sleep(wait).await;
            self.refresh_for(&open, &mut last_error).await;
        }
        Ok(answers)
    }

    /// One round: each leader is asked once; gives the questions that are still open.
    async fn ask_leaders(
        &self,
        open: &[Open],
        answers: &mut [Option<OffsetAndTimestamp>],
        last_error: &mut ConsumerError,
    ) -> Result<Vec<Open>, ConsumerError> {
        let is_known = |(_, tp, _): &Open| self.refresher.snapshot().leader(tp).is_some();
        let is_told = open.iter().all(is_known) || self.refresh_for(open, last_error).await;
        let snapshot = self.refresher.snapshot();
        // A request may name a partition once: who asks more of one asks in several.
        let mut by_leader: BTreeMap<(BrokerId, usize), Vec<&Open>> = BTreeMap::new();
        let mut asked: BTreeMap<&TopicPartition, usize> = BTreeMap::new();
        let mut still_open = Vec::new();
        for question in open {
            let (_, topic_partition, _) = question;
            let topic = snapshot.topic(topic_partition.topic.as_str());
            match snapshot.leader(topic_partition) {
                Some((leader, _)) => {
                    let times = asked.entry(topic_partition).or_default();
                    by_leader.entry((leader.id, *times)).or_default().push(question);
                    *times += 1;
                }
                None => {
                    let error = topic.and_then(|topic| topic.error);
                    // Where nobody answers, that is the better reason.
                    if is_told {
                        let topic_partition = topic_partition.clone();
                        *last_error = ConsumerError::NoLeader { topic_partition, error };
                    }
                    still_open.push(question.clone());
                }
            }
        }
        let asks = by_leader.into_iter().map(|((leader, _), questions)| async move {
            let wanted: Vec<_> = questions.iter().map(|question| self.to_find(question)).collect();
            (self.ask_offsets(leader, &wanted).await, questions)
        });
        for (answer, questions) in futures_util::future::join_all(asks).await {
            let found = match answer {
                Ok(found) => found,
                Err(error) => {
                    *last_error = error.into();
                    still_open.extend(questions.into_iter().cloned());
                    continue;
                }
            };
            for question in questions {
                let (place, topic_partition, _) = question;
                let found = found.iter().find(|found| found.topic_partition == *topic_partition);
                let Some(found) = found else {
                    still_open.push(question.clone());
                    continue;
                };
                let (topic_partition, code) = (topic_partition.clone(), found.error);
                let refused = ConsumerError::Refused { topic_partition, code };
                match judge(found.error) {
                    FetchVerdict::Take => answers[*place] = found.answer(),
                    FetchVerdict::Stop | FetchVerdict::Reset => return Err(refused),
                    FetchVerdict::Refresh | FetchVerdict::Wait => {
                        *last_error = refused;
                        still_open.push(question.clone());
                    }
                }
            }
        }
        Ok(still_open)
    }

    fn to_find(&self, (_, topic_partition, lookup): &Open) -> PartitionToFind {
        let snapshot = self.refresher.snapshot();
        let leader_epoch =
            snapshot.leader(topic_partition).map_or_else(Default::default, |(_, epoch)| epoch);
        PartitionToFind { topic_partition: topic_partition.clone(), leader_epoch, lookup: *lookup }
    }

    /// Asks for metadata; false if nobody answered.
    async fn refresh_for(&self, open: &[Open], last_error: &mut ConsumerError) -> bool {
        let topics: BTreeSet<TopicName> = open.iter().map(|(_, tp, _)| tp.topic.clone()).collect();
        match self.refresher.refresh(topics).await {
            Ok(_) => true,
            Err(unreachable) => {
                *last_error = unreachable.into();
                false
            }
        }
    }

    /// The partitions of a topic, as soon as it is known.
    pub(super) async fn partitions_for(
        &self,
        topic: TopicName,
    ) -> Result<Vec<TopicPartition>, ConsumerError> {
        let deadline = Instant::now() + self.timeout();
        let mut last_error = ConsumerError::Timeout(self.timeout());
        loop {
            match timeout_at(deadline, self.refresher.refresh([topic.clone()])).await {
                Err(_) => return Err(last_error),
                Ok(Err(unreachable)) if unreachable.is_authentication() => {
                    return Err(unreachable.into());
                }
                Ok(Err(unreachable)) => last_error = unreachable.into(),
                Ok(Ok(snapshot)) => {
                    let known = snapshot.topic(topic.as_str());
                    let code = known.and_then(|topic| topic.error).unwrap_or(ErrorCode::None);
                    if let Some(known) = known.filter(|known| !known.partitions.is_empty()) {
                        let indexes = known.partitions.iter().map(|partition| partition.index);
                        let named = indexes.map(|index| TopicPartition::new(topic.clone(), index));
                        return Ok(named.collect());
                    }
                    let topic_partition = TopicPartition::new(topic.clone(), PartitionIndex::NONE);
                    let refused = ConsumerError::Refused { topic_partition, code };
                    if judge(code) == FetchVerdict::Stop {
                        return Err(refused);
                    }
                    last_error = refused;
                }
            }
            if Instant::now() + self.client.retry_backoff >= deadline {
                return Err(last_error);
            }
            tokio::time::sleep(self.client.retry_backoff).await;
        }
    }
}

impl Found {
    fn answer(&self) -> Option<OffsetAndTimestamp> {
        let timestamp = self.timestamp;
        self.offset.map(|offset| OffsetAndTimestamp { offset, timestamp })
    }
}

fn found_in(response: ListOffsetsResponse) -> Vec<Found> {
    let topics = response.topics.into_iter();
    let partitions = topics.flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |partition| Found {
            topic_partition: TopicPartition::new(name.clone(), partition.partition_index),
            error: partition.error_code,
            offset: Some(partition.offset).filter(|offset| *offset >= Offset::ZERO),
            timestamp: partition.timestamp,
        })
    });
    partitions.collect()
}

/// The timestamp that asks for it; the ends have negative ones of their own
/// (`ListOffsetsRequest.LATEST_TIMESTAMP`, `EARLIEST_TIMESTAMP`).
fn timestamp_of(lookup: Lookup) -> TimestampMs {
    match lookup {
        Lookup::End => TimestampMs(-1),
        Lookup::Beginning => TimestampMs(-2),
        Lookup::Timestamp(timestamp) => TimestampMs(timestamp.0.max(0)),
        Lookup::Ago(age) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let then = now.saturating_sub(age).as_millis();
            TimestampMs(i64::try_from(then).unwrap_or(i64::MAX))
        }
    }
}
