//! Transactions that go well, by either protocol, and commits whose outcome is not known.

use rstest::rstest;
use streamledger_protocol::{BrokerId, ErrorCode};

use super::cluster::{Cluster, Txn, topic_partition};
use super::rig::*;
use super::stage::{Stage, transactional};
use crate::accumulator::AppendError;
use crate::idempotence::Identity;
use crate::sender::Event;
use crate::transaction::TransactionOperation::{Abort, Begin, Commit, Init, SendOffsets};
use crate::transaction::TransactionVersion::{V1, V2};
use crate::transaction::{
    DeskAnswer, TransactionApi, TransactionErrorKind, TransactionStage, TransactionState,
    TransactionVersion,
};

#[test]
fn version_1_adds_partitions_first_and_keeps_its_epoch() {
    let mut stage = Stage::open(V1);
    stage.send(0, "a");
    stage.send(1, "b");
    assert!(stage.rig.sent.is_empty(), "nothing goes before its partition is in the transaction");
    stage.run(Commit).unwrap();
    assert_eq!(stage.asked(), ["add 1", "add 1", "commit 0"]);
    assert_eq!(
        (stage.cluster.committed(0), stage.cluster.committed(1)),
        (vec!["a".into()], vec!["b".into()])
    );
    assert_eq!(stage.rig.sender.identity(), Identity::Ready(identity(7, 0)));
    stage.run(Begin).unwrap();
    stage.send(0, "c");
    stage.run(Commit).unwrap();
    assert_eq!(stage.cluster.committed(0), ["a", "c"], "its sequence went on");
}

#[test]
fn version_2_asks_only_for_the_end_and_takes_the_epoch_it_is_given() {
    let mut stage = Stage::open(V2);
    stage.send(0, "a");
    stage.send(1, "b");
    assert!(stage.rig.questions.is_empty());
    stage.run(Commit).unwrap();
    assert_eq!(stage.asked(), ["commit 0"]);
    assert_eq!(stage.cluster.committed(1), ["b"]);
    assert_eq!(stage.rig.sender.identity(), Identity::Ready(identity(7, 1)));
}

#[rstest]
#[case(V1)]
#[case(V2)]
fn what_is_aborted_is_never_seen_and_the_next_transaction_is(#[case] version: TransactionVersion) {
    let mut stage = Stage::open(version);
    let aborted = stage.send(0, "no");
    stage.serve();
    assert!(offset(&aborted).is_some(), "it was written, and nobody reads it");
    stage.run(Abort).unwrap();
    stage.run(Begin).unwrap();
    stage.send(0, "yes");
    stage.run(Commit).unwrap();
    assert_eq!(stage.cluster.committed(0), ["yes"]);
    assert_eq!(stage.cluster.undecided(), 0);
}

#[rstest]
#[case(V1)]
#[case(V2)]
fn an_empty_transaction_asks_nothing(#[case] version: TransactionVersion) {
    let mut stage = Stage::open(version);
    stage.run(Commit).unwrap();
    stage.run(Begin).unwrap();
    stage.run(Abort).unwrap();
    assert_eq!(stage.asked(), [""; 0]);
}

#[test]
fn a_record_outside_of_a_transaction_is_refused() {
    let mut stage = Stage::on(Cluster::new(V2));
    let refusal = |stage: &Stage| stage.rig.accumulator.check_gate();
    assert_eq!(refusal(&stage), Err(AppendError::NoTransaction));
    stage.run(Init).unwrap();
    assert_eq!(refusal(&stage), Err(AppendError::NoTransaction));
    stage.run(Begin).unwrap();
    assert_eq!(refusal(&stage), Ok(()));
    stage.ask(Commit).unwrap();
    assert_eq!(refusal(&stage), Err(AppendError::NoTransaction), "from the call on");
    stage.serve();
    assert_eq!(refusal(&stage), Err(AppendError::NoTransaction));
}

#[test]
fn a_commit_waits_for_every_record() {
    let mut stage = Stage::open(V2);
    stage.send(0, "a");
    stage.ask(Commit).unwrap();
    assert_eq!(stage.rig.sent.len(), 1, "it lingers no more");
    stage.rig.pass(BACKOFF);
    assert!(stage.rig.questions.is_empty() && stage.hear(Commit).is_none());
    let stands_at = |stage: &Stage| stage.rig.sender.transaction_progress().unwrap().stage;
    assert_eq!(stands_at(&stage), TransactionStage::Delivering);
    stage.serve_produce();
    assert_eq!(stage.next_question().as_deref(), Some("commit 0"));
    let end = TransactionApi::EndTransaction;
    assert_eq!(stands_at(&stage), TransactionStage::Asking(end));
}

#[test]
fn an_abort_gives_up_what_is_queued_and_awaits_what_is_in_flight() {
    let mut stage = Stage::open(V2);
    let in_flight = stage.rig.append(0, 1);
    stage.rig.flush();
    // Behind the first batch of its epoch, which goes alone.
    let queued = stage.rig.append(0, 9);
    stage.rig.flush();
    assert_eq!(stage.rig.sent.len(), 1);
    stage.ask(Abort).unwrap();
    let failed = failure(&queued[0]);
    assert_eq!(failed.reason, crate::failure::FailureReason::TransactionAborted);
    assert!(!failed.possibly_written && failed.next_action().starts_with("Send the records again"));
    stage.rig.pass(BACKOFF);
    assert!(stage.rig.questions.is_empty(), "something is in flight");
    assert!(!in_flight[0].is_settled());
    stage.serve();
    stage.hear(Abort).unwrap().unwrap();
    assert_eq!(offset(&in_flight[0]), Some(0));
    assert_eq!(stage.cluster.txn, Txn::Aborted);
}

#[test]
fn offsets_go_to_the_groups_coordinator_by_version_1() {
    let mut stage = Stage::open(V1);
    stage.run(SendOffsets).unwrap();
    assert_eq!(stage.asked(), ["add-group", "find", "offsets"]);
    assert_eq!(stage.cluster.offsets, []);
    stage.run(Commit).unwrap();
    assert_eq!(stage.cluster.offsets, [(topic_partition(5), 17)]);
}

#[test]
fn offsets_go_to_the_groups_coordinator_by_version_2() {
    let mut stage = Stage::open(V2);
    stage.send(0, "a");
    stage.run(SendOffsets).unwrap();
    assert_eq!(stage.asked(), ["find", "offsets"]);
    stage.run(Abort).unwrap();
    assert_eq!((stage.cluster.offsets.len(), stage.cluster.undecided()), (0, 0));
}

#[rstest]
#[case(V1)]
#[case(V2)]
fn failures_27_a_commit_without_an_answer_is_asked_again_under_the_same_epoch(
    #[case] version: TransactionVersion,
) {
    let mut stage = Stage::open(version);
    stage.send(0, "a");
    stage.serve();
    stage.ask(Commit).unwrap();
    stage.lose_answer();
    assert_eq!(stage.cluster.txn, Txn::Committed, "it was done");
    assert!(stage.hear(Commit).is_none());
    for other in [Begin, Abort] {
        let error = stage.ask(other).unwrap_err();
        assert!(matches!(error.kind, TransactionErrorKind::OtherPending(Commit)));
        assert!(error.is_outcome_unknown() && error.next_action().starts_with("Call commit again"));
    }
    assert_eq!(stage.ask(Commit).unwrap(), DeskAnswer::Joined, "the same may be asked for again");
    stage.serve();
    stage.hear(Commit).unwrap().unwrap();
    let commits: Vec<_> = stage.asked().into_iter().filter(|q| q.starts_with("commit")).collect();
    assert_eq!(commits, ["commit 0", "commit 0"]);
    assert_eq!(stage.cluster.committed(0), ["a"], "once");
    stage.run(Begin).unwrap();
    stage.send(0, "b");
    stage.run(Commit).unwrap();
    assert_eq!(stage.cluster.committed(0), ["a", "b"]);
}

#[test]
fn failures_27_news_from_elsewhere_do_not_fail_a_commit_that_was_asked_for() {
    let mut stage = Stage::open(V2);
    stage.send(0, "a");
    stage.serve();
    stage.ask(Commit).unwrap();
    stage.lose_answer();
    let recreated = streamledger_protocol::TopicId([2; 16]);
    stage.rig.handle(Event::Metadata(vec![leaders_of(recreated, Some(LEADER), 0)]));
    assert_eq!(stage.rig.sender.transaction_state(), Some(TransactionState::Committing));
    stage.serve();
    stage.hear(Commit).unwrap().unwrap();
}

#[test]
fn failures_28_a_late_commit_of_the_transaction_before_is_refused_by_its_epoch() {
    let mut stage = Stage::open(V2);
    stage.send(0, "a");
    stage.serve();
    stage.ask(Commit).unwrap();
    let late = stage.rig.questions.front().unwrap().clone();
    stage.lose_answer();
    stage.serve();
    stage.hear(Commit).unwrap().unwrap();
    stage.run(Begin).unwrap();
    stage.send(0, "b");
    stage.serve();
    assert_eq!(stage.cluster.undecided(), 1);
    // The first copy of the request arrives now.
    let answer = stage.cluster.answer(&late);
    assert_eq!(stage.cluster.undecided(), 1, "the open transaction isn't committed by it");
    stage.rig.handle(Event::Coordinator(answer));
    assert_eq!(stage.rig.sender.transaction_state(), Some(TransactionState::InTransaction));
    stage.run(Abort).unwrap();
    assert_eq!(stage.cluster.committed(0), ["a"]);
}

#[rstest]
#[case(V1)]
#[case(V2)]
fn failures_29_a_coordinator_that_moves_is_looked_for(#[case] version: TransactionVersion) {
    let mut stage = Stage::open(version);
    stage.send(0, "a");
    stage.serve();
    stage.cluster.asked.clear();
    stage.cluster.coordinator = BrokerId(9);
    stage.refuse(ErrorCode::NotCoordinator);
    stage.refuse(ErrorCode::CoordinatorLoadInProgress);
    stage.run(Commit).unwrap();
    assert_eq!(stage.asked(), ["commit 0", "find", "commit 0", "commit 0"]);
    assert_eq!(stage.cluster.committed(0), ["a"]);
}

#[test]
fn failures_30_while_markers_are_being_written_the_next_transaction_waits() {
    let mut stage = Stage::open(V1);
    stage.send(0, "a");
    stage.run(Commit).unwrap();
    stage.run(Begin).unwrap();
    stage.cluster.asked.clear();
    for _ in 0..3 {
        stage.refuse(ErrorCode::ConcurrentTransactions);
    }
    let begun = stage.rig.now;
    stage.send(0, "b");
    stage.serve();
    assert_eq!(stage.asked(), ["add 1"; 4]);
    assert!(stage.rig.now - begun < BACKOFF / 10, "it is a matter of milliseconds");
    stage.run(Commit).unwrap();
    assert_eq!(stage.cluster.committed(0), ["a", "b"]);
}

#[test]
fn kafka_12152_sequences_of_idle_partitions_begin_anew_with_a_new_epoch() {
    let mut stage = Stage::open(V2);
    stage.send(0, "a");
    stage.send(1, "idle");
    stage.run(Commit).unwrap();
    for value in ["b", "c"] {
        stage.run(Begin).unwrap();
        stage.send(0, value);
        stage.run(Commit).unwrap();
    }
    stage.run(Begin).unwrap();
    stage.send(1, "awake");
    stage.run(Commit).unwrap();
    assert_eq!(stage.cluster.committed(1), ["idle", "awake"]);
}

#[test]
fn kafka_15591_the_first_batch_of_each_epoch_goes_alone() {
    let mut stage = Stage::open(V2);
    stage.send(0, "a");
    stage.run(Commit).unwrap();
    stage.run(Begin).unwrap();
    let _many = stage.rig.append(0, 3 * 9);
    stage.rig.flush();
    assert_eq!(stage.rig.sequences_sent(), [0]);
    stage.run(Commit).unwrap();
    assert_eq!(stage.cluster.committed(0).len(), 28);
}

#[test]
fn failures_24_a_guard_that_is_dropped_leaves_an_abort() {
    let mut stage = Stage::open(V2);
    stage.send(0, "a");
    stage.serve();
    stage.rig.desk.leave();
    stage.pass_commands();
    assert_eq!(stage.ask(Begin).unwrap(), DeskAnswer::Aborting);
    stage.serve();
    stage.run(Begin).unwrap();
    stage.run(Commit).unwrap();
    assert_eq!(stage.cluster.committed(0), [""; 0]);
}

#[test]
fn a_producer_that_closes_aborts_what_is_open() {
    let mut stage = Stage::open(V2);
    stage.send(0, "a");
    stage.serve();
    stage.rig.accumulator.close();
    stage.rig.handle(Event::Closing);
    stage.serve();
    assert_eq!(stage.cluster.txn, Txn::Aborted);
    assert_eq!(stage.rig.sender.transaction_state(), Some(TransactionState::Ready));
}

#[test]
fn a_producer_whose_time_to_close_is_over_says_that_the_outcome_is_unknown() {
    let mut stage = Stage::open(V2);
    stage.send(0, "a");
    stage.serve();
    stage.ask(Commit).unwrap();
    stage.rig.handle(Event::Abort);
    let error = stage.hear(Commit).unwrap().unwrap_err();
    assert!(matches!(error.kind, TransactionErrorKind::Closed) && error.is_outcome_unknown());
}

#[test]
fn batches_that_are_compressed_are_of_the_transaction_too() {
    let mut config = transactional();
    config.compression = codec(streamledger_protocol::Codec::Lz4);
    let mut stage = Stage { rig: Rig::ready_with(config), cluster: Cluster::new(V2) };
    stage.run(Init).unwrap();
    stage.run(Begin).unwrap();
    stage.send(0, "a");
    stage.run(Commit).unwrap();
    assert_eq!(stage.cluster.committed(0), ["a"]);
}
