//! What OffsetCommit and TxnOffsetCommit have in common.

use std::collections::BTreeMap;

use streamledger_broker_core::group::{CommitRequest, NewOffset};
use streamledger_protocol::{ErrorCode, TopicPartition};

use crate::node::Node;

/// Parts offsets of partitions that are not there from the others.
pub(super) fn split_unknown(
    node: &Node,
    offsets: Vec<NewOffset>,
) -> (Vec<TopicPartition>, Vec<NewOffset>) {
    let (known, unknown): (Vec<_>, Vec<_>) = offsets.into_iter().partition(|new| {
        let of = &new.topic_partition;
        node.topic(&of.topic).is_some_and(|topic| topic.partition(of.partition).is_some())
    });
    (unknown.into_iter().map(|new| new.topic_partition).collect(), known)
}

/// What is answered for each partition.
pub(super) struct Answers<'a>(BTreeMap<&'a TopicPartition, ErrorCode>);

impl<'a> Answers<'a> {
    pub(super) fn new(
        request: &'a CommitRequest,
        reply: &[ErrorCode],
        unknown: &'a [TopicPartition],
    ) -> Self {
        let known = request.offsets.iter().map(|new| &new.topic_partition);
        let mut answers: BTreeMap<_, _> = known.zip(reply.iter().copied()).collect();
        let unknown = unknown.iter();
        answers.extend(unknown.map(|partition| (partition, ErrorCode::UnknownTopicOrPartition)));
        Self(answers)
    }

    pub(super) fn of(&self, partition: &TopicPartition) -> ErrorCode {
        self.0.get(partition).copied().unwrap_or(ErrorCode::UnknownServerError)
    }
}
