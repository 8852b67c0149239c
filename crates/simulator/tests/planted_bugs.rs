//! Each planted bug is found: by a seed that is good without it, among the first few.
//!
//! Most show themselves in runs in which anything goes wrong. Some need a fault at one moment,
//! which chance brings about once in a hundred runs: these have scenarios.

use std::ops::Range;
use std::time::Duration;

use streamledger_client_core::transaction::TransactionOperation::Commit;
use streamledger_client_core::transaction::TransactionVersion::{self, V1, V2};
use streamledger_simulator::{CrashKind, Planted, ProcessingPlan, Report, RunPlan, World, run};

/// The seeds that a bug has to show itself in by chance.
const BY_CHANCE: Range<u64> = 0..60;
/// And in a scenario of its own.
const BY_SCENARIO: Range<u64> = 0..12;

/// Runs seeds with the bug until one breaks a promise that it keeps without the bug.
fn find(bug: &str, seeds: Range<u64>, run: impl Fn(u64, Option<Planted>) -> Report) {
    let bug = bug.parse().unwrap_or_else(|unknown| panic!("{unknown}"));
    let shows = |seed: &u64| !run(*seed, Some(bug)).is_good() && run(*seed, None).is_good();
    let seed = seeds.clone().find(shows);
    let seed = seed.unwrap_or_else(|| panic!("{bug} was not found in {seeds:?}"));
    println!("{bug} was found by seed {seed}");
}

macro_rules! found {
    ($plan:ident: $($test:ident: $bug:literal;)*) => {
        $(
            #[test]
            fn $test() {
                find($bug, BY_CHANCE, |seed, planted| {
                    let mut plan = RunPlan::$plan(seed);
                    plan.planted = planted;
                    run(plan)
                });
            }
        )*
    };
}

found! { from_seed:
    sequences_restarted_after_metadata_loss_are_found: "restart-sequences-after-metadata-loss";
    a_retry_with_other_bytes_is_found: "reseal-retried-batch";
    a_requeue_out_of_order_is_found: "requeue-out-of-order";
    a_timeout_taken_as_not_written_is_found: "timeout-means-not-written";
    an_epoch_raised_too_early_is_found: "bump-epoch-while-unresolved";
    first_batches_in_a_pipeline_are_found: "pipeline-first-batches";
    old_sequences_in_a_topic_made_anew_are_found: "keep-sequences-in-recreated-topic";
    a_torn_tail_that_stays_is_found: "keep-torn-tail";
    an_acknowledgement_before_the_flush_is_found: "ack-before-flush";
    a_broker_that_forgets_its_producers_is_found: "forget-producer-state-on-restart";
    a_duplicate_check_of_one_batch_is_found: "duplicate-check-against-last-batch-only";
    a_watermark_that_goes_back_is_found: "high-watermark-back";
    a_gap_that_recovery_does_not_see_is_found: "ignore-gap-at-recovery";
    a_snapshot_before_its_segment_is_on_disk_is_found: "snapshot-before-flush";
}

found! { transactional_from_seed:
    a_stable_offset_past_an_open_transaction_is_found: "stable-offset-past-open-transaction";
    a_coordinator_that_forgets_markers_is_found: "forget-markers-at-load";
    an_end_by_an_old_epoch_is_found: "end-of-old-epoch";
    an_epoch_raised_twice_is_found: "bump-epoch-twice";
    a_transaction_begun_on_an_unknown_end_is_found: "unknown-end-is-done";
    a_commit_before_its_records_is_found: "commit-before-records";
    a_commit_without_a_failed_record_is_found: "commit-without-failed-record";
}

found! { processing_from_seed:
    offsets_seen_before_their_commit_are_found: "offsets-before-commit";
    offsets_that_stay_after_an_abort_are_found: "offsets-after-abort";
    offsets_without_their_marker_are_found: "no-marker-for-offsets";
    an_unstable_offset_taken_as_stable_is_found: "unstable-offsets-taken-as-stable";
}

/// Runs until a transactional producer, on three partitions at two brokers, asks for the commit
/// after so many.
fn at_a_commit(mut plan: RunPlan, planted: Option<Planted>, commits: u64) -> World {
    plan.planted = planted;
    let mut world = World::new(plan);
    assert!(world.run_until(|world| world.counters().transactions_committed == commits));
    assert!(world.run_until(|world| world.waits_for(0, Commit)));
    world
}

/// How many commits are before the last.
const LAST: u64 = 9;

/// Each protocol in turns.
fn version(seed: u64) -> TransactionVersion {
    if seed.is_multiple_of(2) { V1 } else { V2 }
}

fn plan(seed: u64) -> RunPlan {
    RunPlan::calm_transactional(seed, version(seed))
}

/// Markers come twice, the second time amid a transaction that is aborted as often as not.
#[test]
fn a_late_marker_at_an_equal_epoch_is_found() {
    find("marker-at-equal-epoch", BY_SCENARIO, |seed, planted| {
        let mut plan = RunPlan::calm_transactional(seed, V2);
        let transaction = plan.producers[0].transaction.as_mut().expect("it is transactional");
        (transaction.transactions, transaction.abort_per_mille) = (40, 500);
        let mut world = at_a_commit(plan, planted, 3);
        world.double_markers(world.now() + Duration::from_secs(20));
        world.finish()
    });
}

/// A marker is in a log when the coordinator loses power, and the producer, who might ask for the
/// decision again, is gone.
#[test]
fn markers_before_their_decision_is_on_disk_are_found() {
    find("markers-before-flush", BY_SCENARIO, |seed, planted| {
        let mut world = at_a_commit(plan(seed), planted, 3);
        let markers = world.counters().markers;
        assert!(world.run_until(|world| world.counters().markers > markers));
        world.kill_producer(0);
        world.crash(world.coordinator_broker(), CrashKind::PowerCut, 20);
        world.finish()
    });
}

/// A broker with a slow disk loses power when the coordinator has had the time to hear of its
/// marker, the last: a later one would stand for it.
#[test]
fn a_marker_answered_before_it_is_on_disk_is_found() {
    find("marker-answered-before-flush", BY_SCENARIO, |seed, planted| {
        let mut world = at_a_commit(plan(seed), planted, LAST);
        let broker = 1 - world.coordinator_broker();
        world.slow_disk(broker, 50_000, world.now() + Duration::from_secs(2));
        let markers = world.counters().markers;
        assert!(world.run_until(|world| world.counters().markers > markers));
        world.run_for_ms(5);
        world.crash(broker, CrashKind::PowerCut, 20);
        world.finish()
    });
}

/// The groups' coordinator moves between the offsets of a transaction and its commit, and the next
/// life of the processor asks where it is to begin.
#[test]
fn a_coordinator_that_forgets_pending_offsets_is_found() {
    find("forget-pending-offsets", BY_SCENARIO, |seed, planted| {
        let processing = ProcessingPlan { group: 0, is_static: false, fresh_ids: false };
        let plan = RunPlan::calm_processing(seed, version(seed), processing);
        let mut world = at_a_commit(plan, planted, 3);
        let to = 1 - world.leader(world.groups_slot());
        world.move_leader(world.groups_slot(), to, false);
        assert!(world.run_until(|world| world.counters().transactions_committed == 4));
        world.kill_producer(0);
        world.finish()
    });
}
