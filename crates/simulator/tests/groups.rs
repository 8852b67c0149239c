//! Groups under members that are slow, silent or mistaken, with failed appends and restarts; and
//! the bugs that this must find.

use streamledger_simulator::{GroupReport, run_groups};

#[test]
fn no_partition_is_two_members_and_the_log_is_the_state() {
    let mut sum = GroupReport::default();
    for seed in 0..80 {
        let report = run_groups(seed, None);
        assert!(report.is_good(), "{report}");
        sum.add(&report);
    }
    println!("{sum}");
    assert!(sum.compared > 30_000 && sum.assignments > 2_500, "{sum}");
    assert!(sum.commits > 1_000 && sum.zombies > 50, "{sum}");
    assert!(sum.turns > 100 && sum.turns_back > 30, "{sum:?}");
    assert!(sum.turned_by_static > 0, "{sum:?}");
    assert!(sum.failures > 100 && sum.restarts > 250, "{sum}");
}

#[test]
fn the_same_seed_does_the_same() {
    assert_eq!(run_groups(7, None), run_groups(7, None));
}

macro_rules! found {
    ($($test:ident: $bug:literal;)*) => {
        $(
            #[test]
            fn $test() {
                let bug = $bug.parse().expect("a planted bug of that name");
                let caught = (0..30).any(|seed| {
                    let with_bug = run_groups(seed, Some(bug));
                    !with_bug.is_good() && run_groups(seed, None).is_good()
                });
                assert!(caught, "{bug} was not found");
            }
        )*
    };
}

found! {
    offsets_of_an_old_generation_are_found: "commit-of-old-generation";
    partitions_given_before_they_are_given_up_are_found: "assign-unreleased";
    a_turn_that_forgets_what_members_have_is_found: "turn-forgets-assigned";
}
