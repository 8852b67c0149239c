//! What a broker's answer about one batch means: one pure function, one test a row.
//!
//! "Written" is about this attempt. What an earlier attempt left unknown stays unknown whatever
//! the later ones say, except an acknowledgement.

use streamledger_protocol::{Disposition, ErrorCode, Offset, TimestampMs};

use crate::accumulator::BatchAck;
use crate::failure::{AttemptError, FailureReason};
use crate::idempotence::ResetTo;

/// How one attempt to send a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The broker answered.
    Broker(PartitionAnswer),
    /// The broker answered the request but said nothing of this partition.
    LeftOut,
    /// With acks=0: the request is written to the connection, and no answer will come.
    Written,
    /// No answer came; the request may have reached the broker.
    None,
    /// The request surely never left.
    NotSent,
}

/// What a produce response says about one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionAnswer {
    /// The error, or none.
    pub error: ErrorCode,
    /// Offset of the batch's first record; -1 if there is none to tell.
    pub base_offset: Offset,
    /// When the broker appended it, if the log keeps that; else -1.
    pub log_append_time: TimestampMs,
}

/// What of the batch and its partition bears on the meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerdictContext {
    /// The batch has a producer id and a sequence.
    pub idempotent: bool,
    /// The batch is part of a transaction.
    pub transactional: bool,
    /// Records in the batch.
    pub record_count: i32,
    /// An earlier attempt's outcome is unknown.
    pub possibly_written: bool,
    /// A batch of the partition with an earlier sequence is unresolved, or was lost and the new
    /// epoch has not begun: a sequence out of order is no surprise.
    pub earlier_unresolved: bool,
    /// `retries` allows another attempt.
    pub retries_left: bool,
    /// `delivery.timeout.ms` has passed; the owners have been told.
    pub expired: bool,
}

/// What to do with the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the log.
    Ack(BatchAck),
    /// Send the same bytes again, after a backoff.
    Retry {
        /// Ask first who leads the partition.
        refresh_metadata: bool,
        /// This attempt may have been written.
        possibly_written: bool,
    },
    /// Send the same bytes again when the batches before it are resolved.
    Requeue,
    /// Send it again in two parts, in order.
    Split,
    /// The sequence is lost. Send it again under a new identity when nothing is unresolved, or
    /// give it up then if an earlier attempt may have been written.
    Reset(ResetTo),
    /// Give it up; the producer goes on.
    Abort {
        /// Why.
        reason: FailureReason,
        /// It may be in the log, by this attempt or an earlier one.
        possibly_written: bool,
    },
    /// Give up the producer.
    Fatal(ErrorCode),
}

/// What this attempt says about the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Acked(BatchAck),
    /// Not written; may work later.
    Retriable {
        refresh_metadata: bool,
    },
    /// Perhaps written; ask again with the same sequence.
    Unknown {
        refresh_metadata: bool,
    },
    /// Not written, for the sequence is not the one the broker expects.
    SequenceGap,
    /// Not written, for the broker knows the producer id under another epoch or not at all.
    IdentityRefused,
    TooLarge,
    Refused(ErrorCode),
    /// The broker failed while it was at it; trying again is no use.
    Broken(ErrorCode),
    Fatal(ErrorCode),
}

/// The meaning of an answer in its context.
#[must_use]
pub fn judge(answer: &Answer, context: &VerdictContext) -> Verdict {
    let VerdictContext { possibly_written, .. } = *context;
    match classify(answer, context) {
        Class::Acked(ack) => Verdict::Ack(ack),
        Class::Retriable { refresh_metadata } => {
            retry(context, Verdict::Retry { refresh_metadata, possibly_written: false })
        }
        Class::Unknown { refresh_metadata } => {
            let context = VerdictContext { possibly_written: true, ..*context };
            retry(&context, Verdict::Retry { refresh_metadata, possibly_written: true })
        }
        Class::SequenceGap if context.expired => gone(possibly_written),
        // The epoch belongs to the transaction: the abort gives another.
        Class::SequenceGap if context.transactional && !context.earlier_unresolved => {
            Verdict::Abort { reason: FailureReason::SequenceLost, possibly_written }
        }
        Class::SequenceGap if context.earlier_unresolved => Verdict::Requeue,
        Class::SequenceGap => Verdict::Reset(ResetTo::NextEpoch),
        Class::IdentityRefused if context.expired => gone(possibly_written),
        // The coordinator has aborted the transaction, or there is a newer producer of its name:
        // the abort will tell (KIP-588).
        Class::IdentityRefused if context.transactional => {
            let reason = FailureReason::Rejected(ErrorCode::InvalidProducerEpoch);
            Verdict::Abort { reason, possibly_written }
        }
        Class::IdentityRefused => Verdict::Reset(ResetTo::NewProducerId),
        Class::TooLarge if context.record_count == 1 => {
            Verdict::Abort { reason: FailureReason::RecordTooLarge, possibly_written }
        }
        Class::TooLarge if possibly_written || context.expired => {
            let reason = FailureReason::Rejected(ErrorCode::MessageTooLarge);
            Verdict::Abort { reason, possibly_written }
        }
        Class::TooLarge => Verdict::Split,
        Class::Refused(error) => {
            Verdict::Abort { reason: FailureReason::Rejected(error), possibly_written }
        }
        Class::Broken(error) => {
            Verdict::Abort { reason: FailureReason::Rejected(error), possibly_written: true }
        }
        Class::Fatal(error) => Verdict::Fatal(error),
    }
}

/// The retry, unless the batch has had its time or its attempts.
fn retry(context: &VerdictContext, retry: Verdict) -> Verdict {
    let VerdictContext { possibly_written, expired, retries_left, .. } = *context;
    if expired {
        gone(possibly_written)
    } else if retries_left {
        retry
    } else {
        Verdict::Abort { reason: FailureReason::RetriesExhausted, possibly_written }
    }
}

fn gone(possibly_written: bool) -> Verdict {
    Verdict::Abort { reason: FailureReason::DeliveryTimeout, possibly_written }
}

pub(super) const ACK_WITHOUT_OFFSET: BatchAck =
    BatchAck { base_offset: None, log_append_time: TimestampMs::NONE };

fn classify(answer: &Answer, context: &VerdictContext) -> Class {
    match answer {
        Answer::Broker(answer) => classify_answer(answer, context),
        Answer::Written => Class::Acked(ACK_WITHOUT_OFFSET),
        Answer::LeftOut | Answer::None => Class::Unknown { refresh_metadata: true },
        Answer::NotSent => Class::Retriable { refresh_metadata: true },
    }
}

fn classify_answer(answer: &PartitionAnswer, context: &VerdictContext) -> Class {
    let VerdictContext { idempotent, transactional, .. } = *context;
    let PartitionAnswer { error, base_offset, log_append_time } = *answer;
    match error {
        // Also the answer to a duplicate among the last five batches: the first offset comes back.
        ErrorCode::None => {
            let base_offset = (base_offset != Offset::NONE).then_some(base_offset);
            Class::Acked(BatchAck { base_offset, log_append_time })
        }
        // A duplicate older than the last five batches: it is there, but nobody knows where.
        ErrorCode::DuplicateSequenceNumber if idempotent => Class::Acked(ACK_WITHOUT_OFFSET),
        ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId if idempotent => {
            Class::SequenceGap
        }
        ErrorCode::InvalidProducerIdMapping if transactional => Class::Fatal(error),
        ErrorCode::InvalidProducerEpoch | ErrorCode::InvalidProducerIdMapping if idempotent => {
            Class::IdentityRefused
        }
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => Class::TooLarge,
        ErrorCode::RequestTimedOut
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::NetworkException => Class::Unknown { refresh_metadata: false },
        // The disk failed, before the append or in it. A leader that steps down answers so too for
        // batches that it has appended and that its followers may have (Kafka's `DelayedProduce`).
        ErrorCode::KafkaStorageError | ErrorCode::NotLeaderOrFollower => {
            Class::Unknown { refresh_metadata: true }
        }
        ErrorCode::UnknownServerError => Class::Broken(error),
        ErrorCode::ProducerFenced
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::TransactionalIdAuthorizationFailed
        | ErrorCode::UnsupportedVersion => Class::Fatal(error),
        other => match other.disposition() {
            Disposition::Retriable => Class::Retriable { refresh_metadata: false },
            Disposition::RefreshMetadata => Class::Retriable { refresh_metadata: true },
            Disposition::Fatal | Disposition::Success => Class::Refused(other),
        },
    }
}

/// What a failure's record of an attempt says of this answer; nothing for an acknowledgement.
pub(crate) fn attempt_error(answer: &Answer) -> Option<AttemptError> {
    match answer {
        Answer::Broker(PartitionAnswer { error: ErrorCode::None, .. }) | Answer::Written => None,
        Answer::Broker(answer) => Some(AttemptError::Broker(answer.error)),
        Answer::LeftOut => Some(AttemptError::NotAnswered),
        Answer::None => Some(AttemptError::NoAnswer),
        Answer::NotSent => Some(AttemptError::NotSent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fresh idempotent batch of ten with nothing before it.
    const FRESH: VerdictContext = VerdictContext {
        idempotent: true,
        transactional: false,
        record_count: 10,
        possibly_written: false,
        earlier_unresolved: false,
        retries_left: true,
        expired: false,
    };
    const UNKNOWN_BEFORE: VerdictContext = VerdictContext { possibly_written: true, ..FRESH };
    const BEHIND: VerdictContext = VerdictContext { earlier_unresolved: true, ..FRESH };
    const EXPIRED: VerdictContext = VerdictContext { expired: true, ..FRESH };
    const PLAIN: VerdictContext = VerdictContext { idempotent: false, ..FRESH };
    const IN_TRANSACTION: VerdictContext = VerdictContext { transactional: true, ..FRESH };

    fn answer(error: ErrorCode) -> Answer {
        let (base_offset, log_append_time) = (Offset::NONE, TimestampMs::NONE);
        Answer::Broker(PartitionAnswer { error, base_offset, log_append_time })
    }

    fn ok(base_offset: i64) -> Answer {
        let (error, log_append_time) = (ErrorCode::None, TimestampMs::NONE);
        Answer::Broker(PartitionAnswer { error, base_offset: Offset(base_offset), log_append_time })
    }

    fn acked(base_offset: Option<i64>) -> Verdict {
        let base_offset = base_offset.map(Offset);
        Verdict::Ack(BatchAck { base_offset, log_append_time: TimestampMs::NONE })
    }

    fn retry(refresh_metadata: bool, possibly_written: bool) -> Verdict {
        Verdict::Retry { refresh_metadata, possibly_written }
    }

    fn abort(reason: FailureReason, possibly_written: bool) -> Verdict {
        Verdict::Abort { reason, possibly_written }
    }

    #[test]
    fn no_error_acks_with_the_offset() {
        assert_eq!(judge(&ok(42), &FRESH), acked(Some(42)));
    }

    #[test]
    fn failures_1_3_and_6_a_duplicate_is_acked_with_the_first_offset() {
        assert_eq!(judge(&ok(42), &UNKNOWN_BEFORE), acked(Some(42)));
    }

    #[test]
    fn an_old_duplicate_is_acked_without_an_offset() {
        let old = answer(ErrorCode::DuplicateSequenceNumber);
        assert_eq!(judge(&old, &UNKNOWN_BEFORE), acked(None));
    }

    #[test]
    fn acks_0_is_done_when_written() {
        assert_eq!(judge(&Answer::Written, &PLAIN), acked(None));
    }

    #[test]
    fn failures_4_no_answer_is_unknown_and_asked_again() {
        assert_eq!(judge(&Answer::None, &FRESH), retry(true, true));
        assert_eq!(judge(&Answer::LeftOut, &FRESH), retry(true, true));
    }

    #[test]
    fn a_request_that_never_left_is_sent_again_and_known_not_written() {
        assert_eq!(judge(&Answer::NotSent, &FRESH), retry(true, false));
    }

    #[test]
    fn failures_5_a_moved_leader_is_looked_up_and_nothing_was_written() {
        for moved in [
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::LeaderNotAvailable,
            ErrorCode::FencedLeaderEpoch,
            ErrorCode::UnknownTopicId,
        ] {
            assert_eq!(judge(&answer(moved), &FRESH), retry(true, false), "{moved}");
        }
    }

    #[test]
    fn a_timeout_at_the_broker_or_too_few_copies_after_the_append_is_unknown() {
        for unknown in [ErrorCode::RequestTimedOut, ErrorCode::NotEnoughReplicasAfterAppend] {
            assert_eq!(judge(&answer(unknown), &FRESH), retry(false, true), "{unknown}");
        }
        assert_eq!(judge(&answer(ErrorCode::KafkaStorageError), &FRESH), retry(true, true));
        assert_eq!(judge(&answer(ErrorCode::NotLeaderOrFollower), &FRESH), retry(true, true));
    }

    #[test]
    fn failures_23_too_few_replicas_is_retried_and_was_not_written() {
        assert_eq!(judge(&answer(ErrorCode::NotEnoughReplicas), &FRESH), retry(false, false));
    }

    #[test]
    fn failures_7_out_of_order_behind_an_unresolved_batch_waits_its_turn() {
        let gap = answer(ErrorCode::OutOfOrderSequenceNumber);
        assert_eq!(judge(&gap, &BEHIND), Verdict::Requeue);
        let unknown = VerdictContext { possibly_written: true, ..BEHIND };
        assert_eq!(judge(&gap, &unknown), Verdict::Requeue);
    }

    #[test]
    fn failures_9_a_sequence_the_broker_lost_needs_a_new_epoch() {
        for lost in [ErrorCode::OutOfOrderSequenceNumber, ErrorCode::UnknownProducerId] {
            assert_eq!(judge(&answer(lost), &FRESH), Verdict::Reset(ResetTo::NextEpoch), "{lost}");
            assert_eq!(judge(&answer(lost), &BEHIND), Verdict::Requeue, "{lost}");
        }
    }

    #[test]
    fn an_epoch_the_broker_refuses_needs_a_new_producer_id() {
        let refused = answer(ErrorCode::InvalidProducerEpoch);
        assert_eq!(judge(&refused, &FRESH), Verdict::Reset(ResetTo::NewProducerId));
    }

    #[test]
    fn failures_14_a_batch_too_large_is_split() {
        for large in [ErrorCode::MessageTooLarge, ErrorCode::RecordListTooLarge] {
            assert_eq!(judge(&answer(large), &FRESH), Verdict::Split, "{large}");
        }
        assert_eq!(judge(&answer(ErrorCode::MessageTooLarge), &PLAIN), Verdict::Split);
    }

    #[test]
    fn a_batch_that_may_be_written_is_never_split() {
        let reason = FailureReason::Rejected(ErrorCode::MessageTooLarge);
        let large = answer(ErrorCode::MessageTooLarge);
        assert_eq!(judge(&large, &UNKNOWN_BEFORE), abort(reason, true));
    }

    #[test]
    fn one_record_too_large_is_given_up() {
        let one = VerdictContext { record_count: 1, ..FRESH };
        let large = answer(ErrorCode::MessageTooLarge);
        assert_eq!(judge(&large, &one), abort(FailureReason::RecordTooLarge, false));
    }

    #[test]
    fn a_refusal_is_given_up_and_keeps_what_was_unknown() {
        for refused in [
            ErrorCode::TopicAuthorizationFailed,
            ErrorCode::InvalidRecord,
            ErrorCode::InvalidTimestamp,
            ErrorCode::UnsupportedForMessageFormat,
            ErrorCode::Unknown(9999),
        ] {
            let reason = || FailureReason::Rejected(refused);
            assert_eq!(judge(&answer(refused), &FRESH), abort(reason(), false), "{refused}");
            let after_unknown = judge(&answer(refused), &UNKNOWN_BEFORE);
            assert_eq!(after_unknown, abort(reason(), true), "{refused}");
        }
    }

    #[test]
    fn an_unknown_server_error_is_given_up_as_possibly_written() {
        let reason = FailureReason::Rejected(ErrorCode::UnknownServerError);
        assert_eq!(judge(&answer(ErrorCode::UnknownServerError), &FRESH), abort(reason, true));
    }

    #[test]
    fn failures_12_a_fenced_producer_is_over_for_good() {
        let fenced = ErrorCode::ProducerFenced;
        assert_eq!(judge(&answer(fenced), &FRESH), Verdict::Fatal(fenced));
    }

    #[test]
    fn failures_31_an_old_epoch_in_a_transaction_fails_it_and_the_abort_will_tell_why() {
        let refused = ErrorCode::InvalidProducerEpoch;
        let aborted = abort(FailureReason::Rejected(refused), false);
        assert_eq!(judge(&answer(refused), &IN_TRANSACTION), aborted);
    }

    #[test]
    fn a_sequence_lost_in_a_transaction_fails_it() {
        for lost in [ErrorCode::OutOfOrderSequenceNumber, ErrorCode::UnknownProducerId] {
            let verdict = judge(&answer(lost), &IN_TRANSACTION);
            assert_eq!(verdict, abort(FailureReason::SequenceLost, false), "{lost}");
            let behind = VerdictContext { earlier_unresolved: true, ..IN_TRANSACTION };
            assert_eq!(judge(&answer(lost), &behind), Verdict::Requeue, "{lost}");
        }
    }

    #[test]
    fn a_transaction_that_the_broker_can_not_go_on_with_is_failed() {
        for error in [ErrorCode::TransactionAbortable, ErrorCode::InvalidTxnState] {
            let aborted = abort(FailureReason::Rejected(error), false);
            assert_eq!(judge(&answer(error), &IN_TRANSACTION), aborted, "{error}");
        }
    }

    #[test]
    fn a_transaction_before_this_one_that_is_being_finished_is_waited_for() {
        let busy = answer(ErrorCode::ConcurrentTransactions);
        assert_eq!(judge(&busy, &IN_TRANSACTION), retry(false, false));
    }

    #[test]
    fn a_transactional_id_that_is_no_longer_the_producers_is_fatal() {
        for error in
            [ErrorCode::InvalidProducerIdMapping, ErrorCode::TransactionalIdAuthorizationFailed]
        {
            assert_eq!(judge(&answer(error), &IN_TRANSACTION), Verdict::Fatal(error));
        }
    }

    #[test]
    fn without_idempotence_a_sequence_error_is_a_refusal() {
        let gap = ErrorCode::OutOfOrderSequenceNumber;
        assert_eq!(judge(&answer(gap), &PLAIN), abort(FailureReason::Rejected(gap), false));
    }

    #[test]
    fn failures_13_after_the_delivery_timeout_nothing_is_sent_again() {
        let gone = |possibly_written| abort(FailureReason::DeliveryTimeout, possibly_written);
        assert_eq!(judge(&Answer::None, &EXPIRED), gone(true));
        assert_eq!(judge(&answer(ErrorCode::LeaderNotAvailable), &EXPIRED), gone(false));
        assert_eq!(judge(&answer(ErrorCode::OutOfOrderSequenceNumber), &EXPIRED), gone(false));
        assert_eq!(judge(&ok(1), &EXPIRED), acked(Some(1)));
    }

    #[test]
    fn when_retries_are_used_up_the_batch_is_given_up() {
        let last = VerdictContext { retries_left: false, ..FRESH };
        let exhausted = |possibly_written| abort(FailureReason::RetriesExhausted, possibly_written);
        assert_eq!(judge(&answer(ErrorCode::LeaderNotAvailable), &last), exhausted(false));
        assert_eq!(judge(&Answer::None, &last), exhausted(true));
    }
}
