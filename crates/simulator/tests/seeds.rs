//! Five hundred seeds, each with its own faults: every promise is kept, and enough was tried.

use streamledger_simulator::{Counters, RunPlan, run};

/// Runs seeds and gives what they did together.
fn run_seeds(seeds: std::ops::Range<u64>) -> Counters {
    let mut sum = Counters::default();
    for seed in seeds {
        let report = run(RunPlan::from_seed(seed));
        assert!(report.is_good(), "simulate --seed {seed} --trace shows it:\n{report}");
        assert!(report.counters.compared > 0, "seed {seed} compared nothing");
        sum.add(&report.counters);
    }
    sum
}

/// A run of seeds in which something never happened has shown nothing about it.
fn check_coverage(sum: &Counters) {
    for (name, count) in sum.named() {
        assert!(count > 0, "{name} never happened: {sum:?}");
    }
    assert!(sum.compared > 20_000, "{sum:?}");
    assert!(sum.crashes > 300 && sum.torn_tails > 10 && sum.duplicates > 500, "{sum:?}");
}

#[test]
fn seeds_0_to_249_keep_every_promise() {
    check_coverage(&run_seeds(0..250));
}

#[test]
fn seeds_250_to_499_keep_every_promise() {
    check_coverage(&run_seeds(250..500));
}

#[test]
fn the_same_seed_does_the_same_and_another_one_does_not() {
    let mut hashes = Vec::new();
    for seed in 1000..1010 {
        let (first, second) = (run(RunPlan::from_seed(seed)), run(RunPlan::from_seed(seed)));
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(first.counters, second.counters, "seed {seed}");
        hashes.push(first.trace_hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 10);
}
