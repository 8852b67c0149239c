//! Compaction beside producers and readers, with crashes in it; and the bugs that it must find.

use streamledger_simulator::{CompactionReport, run_compaction};

#[test]
fn the_latest_of_each_key_and_every_marker_that_is_needed_stay_whatever_crashes() {
    let mut sum = CompactionReport::default();
    for seed in 0..60 {
        let report = run_compaction(seed, None);
        assert!(report.is_good(), "{report}");
        sum.add(&report);
    }
    println!("{sum}");
    assert!(sum.compared > 40_000 && sum.views_compared > 1000, "{sum}");
    assert!(sum.compactions > 250 && sum.replaced > 400, "{sum}");
    assert!(sum.crashes > 300 && sum.transactions > 700, "{sum}");
    assert!(sum.crashes_in_swaps > 20 && sum.crashes_in_starts > 10, "{sum}");
}

#[test]
fn the_same_seed_does_the_same() {
    assert_eq!(run_compaction(7, None), run_compaction(7, None));
}

macro_rules! found {
    ($($test:ident: $bug:literal;)*) => {
        $(
            #[test]
            fn $test() {
                let bug = $bug.parse().expect("a planted bug of that name");
                let caught = (0..100).any(|seed| {
                    let with_bug = run_compaction(seed, Some(bug));
                    !with_bug.is_good() && run_compaction(seed, None).is_good()
                });
                assert!(caught, "{bug} was not found");
            }
        )*
    };
}

found! {
    markers_that_go_too_early_are_found: "compaction-drops-markers";
    aborted_records_that_supersede_are_found: "compaction-maps-aborted";
    deletions_that_go_too_early_are_found: "compaction-drops-tombstones";
    producers_that_are_forgotten_are_found: "compaction-forgets-producers";
    a_swap_before_the_flush_is_found: "compaction-swaps-unflushed";
}
