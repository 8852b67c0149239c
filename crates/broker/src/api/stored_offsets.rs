//! What OffsetCommit and TxnOffsetCommit have in common.

use std::collections::BTreeMap;

use streamledger_broker_core::authorizer::Operation;
use streamledger_broker_core::group::{CommitRequest, NewOffset};
use streamledger_protocol::{ErrorCode, TopicId, TopicPartition};

use super::Call;

/// Parts offsets that can't be stored, with the reason, from the others: of partitions that are not
/// there, or that who calls may not read.
pub(super) fn split_refused(call: &Call, offsets: Vec<NewOffset>) -> (Refused, Vec<NewOffset>) {
    let (mut refused, mut good) = (Vec::new(), Vec::new());
    for new in offsets {
        let of = &new.topic_partition;
        let topic = call.topic_for(Operation::Read, &of.topic, TopicId::ZERO);
        let is_there = topic.map(|topic| topic.partition(of.partition).is_some());
        match is_there {
            Ok(true) => good.push(new),
            Ok(false) => {
                refused.push((new.topic_partition, ErrorCode::UnknownTopicOrPartition));
            }
            Err(error) => refused.push((new.topic_partition, error)),
        }
    }
    (refused, good)
}

/// Partitions whose offsets are not stored, and why.
pub(super) type Refused = Vec<(TopicPartition, ErrorCode)>;

/// What is answered for each partition.
pub(super) struct Answers<'a>(BTreeMap<&'a TopicPartition, ErrorCode>);

impl<'a> Answers<'a> {
    pub(super) fn new(
        request: &'a CommitRequest,
        reply: &[ErrorCode],
        refused: &'a [(TopicPartition, ErrorCode)],
    ) -> Self {
        let known = request.offsets.iter().map(|new| &new.topic_partition);
        let mut answers: BTreeMap<_, _> = known.zip(reply.iter().copied()).collect();
        answers.extend(refused.iter().map(|(partition, error)| (partition, *error)));
        Self(answers)
    }

    pub(super) fn of(&self, partition: &TopicPartition) -> ErrorCode {
        self.0.get(partition).copied().unwrap_or(ErrorCode::UnknownServerError)
    }
}
