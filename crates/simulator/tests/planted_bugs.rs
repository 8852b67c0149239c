//! Each planted bug is found: by a seed that is good without it.

use streamledger_simulator::{RunPlan, run};

/// The seeds that each bug has to show itself in. Nearly all do within a few; a marker at an equal
/// epoch needs luck, about once in 125.
const SEEDS: std::ops::Range<u64> = 0..600;

/// Runs seeds with the bug until one breaks a promise that it keeps without the bug.
fn find(bug: &str, plan: fn(u64) -> RunPlan) {
    let bug = bug.parse().unwrap_or_else(|unknown| panic!("{unknown}"));
    let caught = SEEDS.into_iter().any(|seed| {
        let plan = plan(seed);
        !run(plan.clone().with_bug(bug)).is_good() && run(plan).is_good()
    });
    assert!(caught, "{bug} was not found in {SEEDS:?}");
}

macro_rules! found {
    ($plan:ident: $($test:ident: $bug:literal;)*) => {
        $(
            #[test]
            fn $test() {
                find($bug, RunPlan::$plan);
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
    markers_before_their_decision_is_on_disk_are_found: "markers-before-flush";
    a_marker_answered_before_it_is_on_disk_is_found: "marker-answered-before-flush";
    a_coordinator_that_forgets_markers_is_found: "forget-markers-at-load";
    an_end_by_an_old_epoch_is_found: "end-of-old-epoch";
    an_epoch_raised_twice_is_found: "bump-epoch-twice";
    a_late_marker_at_an_equal_epoch_is_found: "marker-at-equal-epoch";
    a_transaction_begun_on_an_unknown_end_is_found: "unknown-end-is-done";
    a_commit_before_its_records_is_found: "commit-before-records";
    a_commit_without_a_failed_record_is_found: "commit-without-failed-record";
}

found! { processing_from_seed:
    offsets_seen_before_their_commit_are_found: "offsets-before-commit";
    offsets_that_stay_after_an_abort_are_found: "offsets-after-abort";
    a_coordinator_that_forgets_pending_offsets_is_found: "forget-pending-offsets";
    offsets_without_their_marker_are_found: "no-marker-for-offsets";
    an_unstable_offset_taken_as_stable_is_found: "unstable-offsets-taken-as-stable";
}
