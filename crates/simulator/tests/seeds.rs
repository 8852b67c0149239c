//! Hundreds of seeds, each with its own faults: every promise is kept, and enough was tried.

use std::ops::Range;

use streamledger_simulator::{Counters, RunPlan, run};

/// What only runs with transactions count.
const ONLY_WITH_TRANSACTIONS: [&str; 19] = [
    "transactions_begun",
    "transactions_committed",
    "transactions_aborted",
    "transactions_unknown",
    "transactions_compared",
    "transactions_timed_out",
    "read_committed",
    "producers_fenced",
    "producers_killed",
    "producers_paused",
    "rivals",
    "coordinator_loads",
    "markers_resumed",
    "markers",
    "markers_lost",
    "markers_doubled",
    "markers_late",
    "answers_lost",
    "answers_late",
];
/// What only runs with inputs count.
const ONLY_WITH_INPUTS: [&str; 7] = [
    "offsets_sent",
    "inputs_compared",
    "offsets_seen",
    "offsets_unstable",
    "members_joined",
    "members_fenced",
    "group_loads",
];
/// What they don't: their producers' ids come from the coordinator, and their topics stay. The
/// others are too rare to be counted on.
const ONLY_WITHOUT: [&str; 5] =
    ["producer_ids", "recreations", "cut_between_segments", "out_of_order", "too_large"];

/// Runs seeds and gives what they did together.
fn run_seeds(seeds: Range<u64>, plan: fn(u64) -> RunPlan) -> Counters {
    let mut sum = Counters::default();
    for seed in seeds {
        let report = run(plan(seed));
        assert!(report.is_good(), "simulate --seed {seed} --trace shows it:\n{report}");
        assert!(report.counters.compared > 0, "seed {seed} compared nothing");
        sum.add(&report.counters);
    }
    sum
}

/// A run of seeds in which something never happened has shown nothing about it.
fn check_coverage(sum: &Counters, leaving_out: &[&str]) {
    for (name, count) in sum.named() {
        assert!(count > 0 || leaving_out.contains(&name), "{name} never happened: {sum:?}");
    }
    assert!(sum.compared > 20_000, "{sum:?}");
    assert!(sum.crashes > 300 && sum.torn_tails > 10 && sum.duplicates > 500, "{sum:?}");
}

fn check_transactions(sum: &Counters) {
    check_coverage(sum, &[&ONLY_WITHOUT[..], &ONLY_WITH_INPUTS].concat());
    assert!(sum.transactions_compared > 2000 && sum.read_committed > 10_000, "{sum:?}");
    assert!(sum.transactions_unknown > 20 && sum.transactions_timed_out > 20, "{sum:?}");
    assert!(sum.markers_resumed > 20 && sum.answers_late > 20, "{sum:?}");
}

#[test]
fn seeds_0_to_249_keep_every_promise() {
    let sum = run_seeds(0..250, RunPlan::from_seed);
    check_coverage(&sum, &[&ONLY_WITH_TRANSACTIONS[..], &ONLY_WITH_INPUTS].concat());
}

#[test]
fn seeds_0_to_124_keep_every_promise_in_transactions() {
    check_transactions(&run_seeds(0..125, RunPlan::transactional_from_seed));
}

#[test]
fn seeds_125_to_249_keep_every_promise_in_transactions() {
    check_transactions(&run_seeds(125..250, RunPlan::transactional_from_seed));
}

#[test]
fn seeds_0_to_124_count_each_input_once() {
    let sum = run_seeds(0..125, RunPlan::processing_from_seed);
    check_coverage(&sum, &ONLY_WITHOUT);
    assert!(sum.inputs_compared > 10_000 && sum.offsets_sent > 2000, "{sum:?}");
    assert!(sum.offsets_unstable > 500 && sum.members_fenced > 20, "{sum:?}");
}

#[test]
fn the_same_seed_does_the_same_and_another_one_does_not() {
    let mut hashes = Vec::new();
    for (seed, plan) in (1000..1010).flat_map(|seed| {
        [
            (seed, RunPlan::from_seed(seed)),
            (seed, RunPlan::transactional_from_seed(seed)),
            (seed, RunPlan::processing_from_seed(seed)),
        ]
    }) {
        let (first, second) = (run(plan.clone()), run(plan));
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(first.counters, second.counters, "seed {seed}");
        hashes.push(first.trace_hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 30);
}
