//! The flush journal under power cuts; and the bugs that it must find.

use streamledger_simulator::{JournalReport, run_journal};

#[test]
fn what_was_acknowledged_is_there_after_each_power_cut() {
    let mut sum = JournalReport::default();
    for seed in 0..300 {
        let report = run_journal(seed, None);
        assert!(report.is_good(), "{report}");
        sum.add(&report);
    }
    println!("{sum}");
    assert!(sum.crashes > 3000 && sum.turns > 1000 && sum.compactions > 1000, "{sum}");
    assert!(sum.journaled > 600_000 && sum.flushed > 300_000 && sum.mended > 1000, "{sum}");
}

#[test]
fn the_same_seed_does_the_same() {
    assert_eq!(run_journal(7, None), run_journal(7, None));
}

#[test]
fn each_planted_bug_is_found() {
    for bug in [
        "journal-turns-too-early",
        "journal-without-floor",
        "journal-replays-old-segments",
        "journal-turns-unflushed",
    ] {
        let planted = Some(bug.parse().expect("a planted bug of that name"));
        let caught = (0..1500).find(|&seed| {
            !run_journal(seed, planted).is_good() && run_journal(seed, None).is_good()
        });
        assert!(caught.is_some(), "{bug} was not found");
    }
}
