//! Transactions that fail: in a record, at a broker, or because there is another producer.

use rstest::rstest;
use streamledger_protocol::ErrorCode;

use super::cluster::{Cluster, Txn};
use super::rig::*;
use super::stage::Stage;
use crate::accumulator::AppendError;
use crate::failure::{FailureReason, FatalError};
use crate::idempotence::Identity;
use crate::sender::Event;
use crate::transaction::TransactionOperation::{Abort, Begin, Commit, Init};
use crate::transaction::TransactionVersion::{V1, V2};
use crate::transaction::{
    AbortCause, TransactionErrorKind, TransactionStage, TransactionState, TransactionVersion,
};

/// With a batch that the leader has refused, and one behind it that was never sent.
fn with_a_refused_batch(version: TransactionVersion, error: ErrorCode) -> Stage {
    let mut stage = Stage::open(version);
    stage.send(1, "good");
    stage.serve();
    let refused = stage.rig.append(0, 1);
    stage.rig.flush();
    if version == V1 {
        assert!(stage.answer_one(), "its partition is added");
    }
    let queued = stage.rig.append(0, 9);
    stage.rig.answer_next(error, 0);
    assert!(result(&refused[0]).is_err());
    assert_eq!(failure(&queued[0]).reason, FailureReason::TransactionAborted);
    stage
}

#[rstest]
#[case(V1)]
#[case(V2)]
fn a_transaction_with_a_failed_record_can_only_be_aborted(#[case] version: TransactionVersion) {
    let mut stage = with_a_refused_batch(version, ErrorCode::InvalidRecord);
    assert_eq!(stage.rig.accumulator.check_gate(), Err(AppendError::TransactionFailed));
    for wrong in [Commit, Begin] {
        let error = stage.run(wrong).unwrap_err();
        assert!(error.must_abort(), "{error}");
        let TransactionErrorKind::Abortable(AbortCause::NotDelivered(failure)) = &error.kind else {
            panic!("{error}")
        };
        assert_eq!(failure.reason, FailureReason::Rejected(ErrorCode::InvalidRecord));
    }
    stage.run(Abort).unwrap();
    stage.run(Begin).unwrap();
    stage.send(0, "again");
    stage.send(1, "good");
    stage.run(Commit).unwrap();
    assert_eq!(
        (stage.cluster.committed(0), stage.cluster.committed(1)),
        (vec!["again".to_owned()], vec!["good".to_owned()])
    );
}

/// A cluster with transaction.version=2 has no such leader; Kafka's client ends on it as well.
#[test]
fn a_leader_without_the_produce_that_version_2_needs_ends_the_producer_at_once_and_is_named() {
    let mut stage = Stage::open(V2);
    let in_flight = stage.rig.append(0, 1);
    stage.rig.flush();
    let queued = stage.rig.append(0, 9);
    stage.ask(Commit).unwrap();
    let request = stage.rig.sent.pop_front().unwrap().request;
    stage.rig.handle(Event::RequestNotSpoken(request));
    let error = stage.hear(Commit).unwrap().unwrap_err();
    assert!(error.is_fatal() && !error.is_outcome_unknown());
    assert_eq!(error.stage, TransactionStage::Delivering);
    assert!(error.to_string().contains("broker 1 has no version of Produce"), "{error}");
    for delivery in [&in_flight[0], &queued[0]] {
        let failure = failure(delivery);
        assert_eq!(failure.reason, FailureReason::Fatal(FatalError::NotSpoken(LEADER)));
        assert!(!failure.possibly_written, "nothing has left");
    }
    assert!(stage.rig.questions.is_empty() && stage.rig.sent.is_empty());
}

#[test]
fn a_commit_fails_as_soon_as_a_record_does() {
    let mut stage = Stage::open(V2);
    stage.send(0, "a");
    stage.ask(Commit).unwrap();
    stage.rig.answer_next(ErrorCode::InvalidRecord, 0);
    let error = stage.hear(Commit).unwrap().unwrap_err();
    assert!(error.must_abort() && !error.is_outcome_unknown());
    assert!(stage.rig.questions.is_empty(), "nothing was asked of the coordinator");
}

#[test]
fn kafka_19367_version_2_takes_one_epoch_for_an_abort_though_a_sequence_is_lost() {
    let mut stage = with_a_refused_batch(V2, ErrorCode::OutOfOrderSequenceNumber);
    stage.run(Abort).unwrap();
    assert_eq!(stage.asked(), ["abort 0"], "the end raises the epoch, and nothing else does");
    assert_eq!(stage.rig.sender.identity(), Identity::Ready(identity(7, 1)));
}

#[test]
fn kafka_12152_version_1_gets_a_new_epoch_after_a_lost_sequence_for_every_partition() {
    let mut stage = with_a_refused_batch(V1, ErrorCode::InvalidRecord);
    stage.run(Abort).unwrap();
    assert_eq!(stage.asked()[2..], ["abort 0", "init 0"]);
    assert_eq!(stage.rig.sender.identity(), Identity::Ready(identity(7, 1)));
    stage.run(Begin).unwrap();
    stage.send(1, "of an idle partition");
    stage.run(Commit).unwrap();
    assert_eq!(stage.cluster.committed(1), ["of an idle partition"]);
}

#[test]
fn version_1_asks_again_for_the_same_epoch_if_the_answer_is_lost() {
    let mut stage = with_a_refused_batch(V1, ErrorCode::InvalidRecord);
    stage.ask(Abort).unwrap();
    assert_eq!(stage.next_question().as_deref(), Some("abort 0"));
    assert!(stage.answer_one());
    assert_eq!(stage.next_question().as_deref(), Some("init 0"));
    stage.lose_answer();
    stage.serve();
    stage.hear(Abort).unwrap().unwrap();
    assert_eq!(stage.rig.sender.identity(), Identity::Ready(identity(7, 1)), "and not 2");
}

#[test]
fn before_kafka_2_5_a_lost_sequence_ends_the_producer() {
    let mut cluster = Cluster::new(V1);
    cluster.gives_next_epoch = false;
    let mut stage = Stage::on(cluster);
    stage.run(Init).unwrap();
    stage.run(Begin).unwrap();
    let refused = stage.rig.append(0, 1);
    stage.rig.flush();
    assert!(stage.answer_one());
    stage.rig.answer_next(ErrorCode::InvalidRecord, 0);
    assert!(result(&refused[0]).is_err());
    let error = stage.run(Abort).unwrap_err();
    assert!(error.is_fatal(), "{error}");
    assert_eq!(
        stage.rig.accumulator.check_gate(),
        Err(AppendError::Fatal(FatalError::NoNextEpoch))
    );
}

#[rstest]
#[case(V1)]
#[case(V2)]
fn failures_12_a_producer_that_was_replaced_is_fenced_and_says_so(
    #[case] version: TransactionVersion,
) {
    let mut stage = Stage::open(version);
    stage.send(0, "zombie");
    stage.serve();
    stage.cluster.taken_over();
    assert_eq!((stage.cluster.txn, stage.cluster.undecided()), (Txn::Empty, 0));
    let error = stage.run(Commit).unwrap_err();
    assert!(error.is_fenced() && error.is_fatal(), "{error}");
    assert_eq!(stage.rig.sender.transaction_state(), Some(TransactionState::FatalError));
    let fenced = FatalError::Broker(ErrorCode::ProducerFenced);
    assert_eq!(stage.rig.accumulator.check_gate(), Err(AppendError::Fatal(fenced)));
    assert!(stage.run(Begin).unwrap_err().is_fatal());
    assert_eq!(stage.cluster.committed(0), [""; 0]);
}

#[rstest]
#[case(V1)]
#[case(V2)]
fn failures_12_a_record_of_a_producer_that_was_replaced_fails_and_its_abort_tells_why(
    #[case] version: TransactionVersion,
) {
    let mut stage = Stage::open(version);
    stage.send(0, "zombie");
    stage.serve();
    stage.cluster.taken_over();
    let late = stage.send(0, "later");
    stage.serve();
    let refused = FailureReason::Rejected(ErrorCode::InvalidProducerEpoch);
    assert_eq!(failure(&late).reason, refused);
    assert!(stage.run(Abort).unwrap_err().is_fenced());
    assert_eq!(stage.cluster.committed(0), [""; 0]);
}

#[test]
fn failures_12_a_leader_that_says_fenced_ends_a_commit_by_that() {
    let mut stage = Stage::open(V2);
    stage.send(0, "zombie");
    stage.ask(Commit).unwrap();
    stage.rig.answer_next(ErrorCode::ProducerFenced, 0);
    assert!(stage.hear(Commit).unwrap().unwrap_err().is_fenced());
}

#[rstest]
#[case(V1)]
#[case(V2)]
fn failures_25_the_next_life_of_a_producer_aborts_what_the_last_left(
    #[case] version: TransactionVersion,
) {
    let mut stage = Stage::open(version);
    stage.send(0, "done");
    stage.run(Commit).unwrap();
    stage.run(Begin).unwrap();
    stage.send(0, "half");
    stage.serve();
    assert_eq!(stage.cluster.undecided(), 1);
    // kill -9
    let mut next = Stage::on(stage.cluster);
    next.run(Init).unwrap();
    assert_eq!(next.cluster.undecided(), 0);
    next.run(Begin).unwrap();
    next.send(0, "whole");
    next.run(Commit).unwrap();
    assert_eq!(next.cluster.committed(0), ["done", "whole"]);
}

#[rstest]
#[case(V1)]
#[case(V2)]
fn failures_31_a_commit_after_the_coordinator_gave_up_is_an_error(
    #[case] version: TransactionVersion,
) {
    let mut stage = Stage::open(version);
    stage.send(0, "a");
    stage.serve();
    stage.cluster.time_out();
    let error = stage.run(Commit).unwrap_err();
    assert!(error.is_fatal(), "{error}");
    assert_eq!(stage.cluster.committed(0), [""; 0]);
}

#[test]
fn failures_31_an_abort_after_the_coordinator_gave_up_lets_version_2_go_on() {
    let mut stage = Stage::open(V2);
    stage.send(0, "a");
    stage.serve();
    stage.cluster.time_out();
    let late = stage.send(0, "b");
    stage.serve();
    assert!(result(&late).is_err());
    stage.run(Abort).unwrap();
    stage.run(Begin).unwrap();
    stage.send(0, "c");
    stage.run(Commit).unwrap();
    assert_eq!(stage.cluster.committed(0), ["c"]);
}

#[test]
fn a_producer_that_the_coordinator_has_forgotten_begins_anew_after_an_abort() {
    let mut stage = Stage::open(V2);
    stage.send(0, "a");
    stage.serve();
    stage.refuse(ErrorCode::InvalidProducerIdMapping);
    assert!(stage.run(Commit).unwrap_err().must_abort());
    stage.cluster.asked.clear();
    stage.run(Abort).unwrap();
    assert_eq!(stage.asked(), ["init 0"], "there is nothing to end");
    stage.run(Begin).unwrap();
}

#[test]
fn adding_that_may_have_been_done_is_seen_to_its_end_before_an_abort() {
    let mut stage = Stage::open(V1);
    stage.send(0, "a");
    stage.lose_answer();
    assert_eq!(stage.cluster.txn, Txn::Ongoing, "it was done");
    stage.run(Abort).unwrap();
    assert_eq!(stage.asked(), ["add 1", "find", "add 1", "abort 0"]);
    assert_eq!(stage.cluster.txn, Txn::Aborted);
}

#[test]
fn a_partition_that_may_not_be_written_to_fails_the_transaction() {
    let mut stage = Stage::open(V1);
    stage.refuse(ErrorCode::TopicAuthorizationFailed);
    let refused = stage.send(0, "a");
    stage.serve();
    assert_eq!(failure(&refused).reason, FailureReason::TransactionAborted);
    let error = stage.run(Commit).unwrap_err();
    assert!(error.must_abort() && error.to_string().contains("AddPartitionsToTxn"), "{error}");
    assert_eq!(error.last_broker_error(), Some(ErrorCode::TopicAuthorizationFailed));
    stage.run(Abort).unwrap();
    assert_eq!(stage.asked(), ["add 1"], "the coordinator knows of nothing to abort");
}

#[test]
fn an_abort_does_not_wait_for_a_topic_that_is_not_there() {
    let mut stage = Stage::open(V1);
    stage.refuse(ErrorCode::UnknownTopicOrPartition);
    stage.send(0, "a");
    assert!(stage.answer_one());
    stage.run(Abort).unwrap();
    assert_eq!(stage.asked(), ["add 1"]);
}

#[test]
fn version_1_asks_for_what_may_be_written_until_it_knows_before_it_aborts() {
    let mut stage = Stage::open(V1);
    let first = stage.send(0, "a");
    assert!(stage.answer_one());
    stage.rig.pass(BACKOFF);
    assert_eq!(stage.rig.sent.len(), 1);
    stage.cut_leader();
    stage.ask(Abort).unwrap();
    stage.rig.pass(BACKOFF);
    assert!(stage.rig.questions.is_empty() && !first.is_settled());
    stage.reconnect(LEADER);
    stage.serve();
    stage.hear(Abort).unwrap().unwrap();
    assert_eq!(offset(&first), Some(0));
}

#[test]
fn version_2_aborts_at_once_what_may_be_written_for_its_epoch_ends() {
    let mut stage = Stage::open(V2);
    let first = stage.send(0, "a");
    stage.rig.pass(BACKOFF);
    stage.cut_leader();
    stage.ask(Abort).unwrap();
    assert!(failure(&first).possibly_written);
    assert_eq!(stage.next_question().as_deref(), Some("abort 0"));
}

#[test]
fn an_init_that_is_refused_for_now_can_be_asked_for_again() {
    let mut stage = Stage::on(Cluster::new(V2));
    stage.refuse(ErrorCode::TransactionAbortable);
    assert!(!stage.run(Init).unwrap_err().is_fatal());
    stage.run(Init).unwrap();
    let again = stage.run(Init).unwrap_err();
    assert!(matches!(again.kind, TransactionErrorKind::NotAllowed(TransactionState::Ready)));
}
