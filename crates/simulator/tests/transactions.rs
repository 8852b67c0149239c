//! Failures that transactions must survive, one by one; the numbers are those of the list of
//! failures. By both protocols where both can.

use std::time::Duration;

use streamledger_client_core::transaction::TransactionOperation::{Begin, Commit, Init};
use streamledger_client_core::transaction::TransactionVersion::{self, V1, V2};
use streamledger_simulator::{CrashKind, Report, RunPlan, SimTime, World};

const BOTH: [TransactionVersion; 2] = [V1, V2];

/// One producer of ten transactions on three partitions at two brokers, and nothing that goes
/// wrong by itself.
fn plan(version: TransactionVersion) -> RunPlan {
    let mut plan = RunPlan::calm_transactional(7, version);
    plan.faults.until = SimTime::from_ms(5000);
    plan
}

fn after(world: &World, ms: u64) -> SimTime {
    world.now() + Duration::from_millis(ms)
}

/// Runs until some transactions are committed and the next is being written.
fn warmed_up(plan: RunPlan) -> World {
    let mut world = World::new(plan);
    assert!(world.run_until(|world| world.counters().transactions_committed == 3));
    let sent = world.counters().sent;
    assert!(world.run_until(|world| world.counters().sent > sent + 2));
    world
}

/// Runs to the end: every promise kept.
fn good(world: World) -> Report {
    let report = world.finish();
    assert!(report.is_good(), "{report}");
    assert!(report.counters.transactions_compared > 0, "{report}");
    report
}

/// Every transaction committed, by one producer.
fn all_committed(world: World) -> Report {
    let report = good(world);
    let counters = report.counters;
    assert_eq!(counters.transactions_committed, counters.transactions_begun, "{report}");
    assert_eq!(counters.producers_fenced, 0, "{report}");
    report
}

#[test]
fn without_faults_every_transaction_commits() {
    for version in BOTH {
        let report = all_committed(World::new(plan(version)));
        assert_eq!(report.counters.transactions_committed, 10, "{report}");
        assert_eq!(report.counters.acked, report.counters.sent, "{report}");
    }
}

#[test]
fn failures_12_of_two_producers_with_one_id_the_older_is_fenced_for_good() {
    for version in BOTH {
        let mut world = warmed_up(plan(version));
        world.start_rival(0);
        assert!(world.run_until(|world| world.producers() == 2));
        let report = good(world);
        assert_eq!(report.counters.producers_fenced, 1, "{report}");
        assert!(report.counters.transactions_begun > report.counters.transactions_committed);
    }
}

#[test]
fn failures_25_a_producer_that_was_killed_is_fenced_by_its_next_life() {
    for version in BOTH {
        let mut world = warmed_up(plan(version));
        world.kill_producer(0);
        let report = good(world);
        assert_eq!(report.counters.producers_fenced, 0, "{report}");
        assert_eq!(report.counters.transactions_committed, 10, "{report}");
    }
}

#[test]
fn failures_27_a_commit_without_an_answer_is_asked_again_and_nothing_begins_on_it() {
    for version in BOTH {
        let mut plan = plan(version);
        plan.producers[0].request_timeout = Duration::from_millis(100);
        let mut lost = 0;
        for seed in 0..10 {
            plan.seed = seed;
            let mut world = warmed_up(plan.clone());
            assert!(world.run_until(|world| world.waits_for(0, Commit)));
            world.lose_answers(after(&world, 500));
            lost += all_committed(world).counters.answers_lost;
        }
        assert!(lost > 5, "{version:?}: {lost}");
    }
}

#[test]
fn failures_27_a_producer_killed_in_a_commit_leaves_all_of_it_or_nothing() {
    let (mut unknown, mut answered) = (0, 0);
    for (version, seed) in BOTH.into_iter().flat_map(|version| (0..20).map(move |s| (version, s))) {
        let mut plan = plan(version);
        plan.seed = seed;
        let mut world = warmed_up(plan);
        assert!(world.run_until(|world| world.waits_for(0, Commit)));
        world.run_for_ms(seed / 5);
        world.kill_producer(0);
        let report = good(world);
        unknown += report.counters.transactions_unknown;
        answered += report.counters.transactions_committed;
    }
    assert!(unknown > 20 && answered > 200, "{unknown} {answered}");
}

#[test]
fn failures_28_a_late_end_of_the_transaction_before_is_refused_by_its_epoch() {
    let mut late = 0;
    for seed in 0..20 {
        let mut plan = plan(V2);
        plan.seed = seed;
        plan.producers[0].request_timeout = Duration::from_millis(60);
        plan.network.spike_per_mille = 150;
        plan.network.latency_us_max = 20_000;
        plan.producers[0].close_on_timeout = false;
        let report = good(World::new(plan));
        late += report.counters.answers_late;
    }
    assert!(late > 20, "{late}");
}

#[test]
fn failures_29_a_coordinator_that_moves_in_a_transaction_goes_on_from_its_log() {
    for (version, lose_unflushed) in BOTH.into_iter().flat_map(|v| [(v, false), (v, true)]) {
        let mut world = warmed_up(plan(version));
        let to = 1 - world.coordinator_broker();
        world.move_leader(world.coordinator_slot(), to, lose_unflushed);
        let report = all_committed(world);
        assert_eq!(report.counters.coordinator_loads, 2, "{report}");
    }
}

#[test]
fn failures_29_a_coordinator_that_loses_power_before_its_decision_is_on_disk_is_asked_again() {
    for version in BOTH {
        let mut plan = plan(version);
        plan.producers[0].request_timeout = Duration::from_millis(200);
        let mut world = warmed_up(plan);
        let broker = world.coordinator_broker();
        world.slow_disk(broker, 50_000, after(&world, 100));
        assert!(world.run_until(|world| world.waits_for(0, Commit)));
        world.run_for_ms(2);
        world.crash(broker, CrashKind::PowerCut, 20);
        all_committed(world);
    }
}

#[test]
fn failures_30_markers_that_a_crash_left_are_written_after_it_and_readers_see_all_or_none() {
    let mut resumed = 0;
    for (version, seed) in BOTH.into_iter().flat_map(|version| (0..20).map(move |s| (version, s))) {
        let mut plan = plan(version);
        plan.seed = seed;
        let mut world = warmed_up(plan);
        assert!(world.run_until(|world| world.waits_for(0, Commit)));
        world.lose_markers(after(&world, 200));
        let markers = world.counters().markers;
        assert!(world.run_until(|world| world.counters().markers > markers));
        world.crash(world.coordinator_broker(), CrashKind::PowerCut, 20);
        resumed += all_committed(world).counters.markers_resumed;
    }
    assert!(resumed > 10, "{resumed}");
}

#[test]
fn failures_31_a_producer_that_stood_still_for_too_long_gets_an_error_and_never_success() {
    for version in BOTH {
        let mut plan = plan(version);
        let timeout = Duration::from_secs(1);
        plan.producers[0].transaction.as_mut().unwrap().timeout = timeout;
        let mut world = warmed_up(plan);
        let appends = world.counters().appends;
        assert!(world.run_until(|world| world.counters().appends > appends));
        world.pause_producer(0, 2500);
        let report = good(world);
        assert_eq!(report.counters.transactions_timed_out, 1, "{report}");
        assert!(report.counters.transactions_begun > report.counters.transactions_committed);
    }
}

#[test]
fn kafka_17507_a_marker_counts_once_it_is_on_disk() {
    for version in BOTH {
        let mut world = warmed_up(plan(version));
        let broker = 1 - world.coordinator_broker();
        world.slow_disk(broker, 50_000, after(&world, 200));
        world.cut_power_at_marker();
        all_committed(world);
    }
}

#[test]
fn kafka_17877_markers_that_come_twice_end_one_transaction() {
    for version in BOTH {
        let mut world = warmed_up(plan(version));
        world.double_markers(after(&world, 5000));
        let report = all_committed(world);
        assert!(report.counters.markers_doubled > 3, "{report}");
    }
}

#[test]
fn kip_1228_a_marker_of_version_2_that_comes_late_leaves_the_next_transaction_alone() {
    let mut late = 0;
    for seed in 0..20 {
        let mut plan = plan(V2);
        plan.seed = seed;
        let mut world = warmed_up(plan);
        world.double_markers(after(&world, 5000));
        world.delay_markers(after(&world, 5000));
        late += all_committed(world).counters.markers_late;
    }
    assert!(late > 20, "{late}");
}

#[test]
fn kafka_19367_an_epoch_rises_by_one_for_each_transaction_and_each_owner() {
    let mut world = World::new(plan(V2));
    assert!(world.run_until(|world| world.waits_for(0, Init)));
    let report = all_committed(world);
    assert_eq!(report.counters.epoch_bumps, report.counters.transactions_committed, "{report}");
}

#[test]
fn kafka_12152_partitions_that_were_idle_go_on_under_a_new_epoch() {
    // One record a transaction: of three partitions two are idle each time the epoch rises.
    let mut plan = plan(V2);
    let transaction = plan.producers[0].transaction.as_mut().unwrap();
    (transaction.records_max, transaction.transactions) = (1, 40);
    let report = all_committed(World::new(plan));
    assert_eq!(report.counters.epoch_bumps, 40, "{report}");
    assert_eq!(report.counters.out_of_order, 0, "{report}");
}

#[test]
fn an_aborted_transaction_is_never_read_and_the_next_one_is() {
    for version in BOTH {
        let mut plan = plan(version);
        plan.producers[0].transaction.as_mut().unwrap().abort_per_mille = 500;
        let mut world = World::new(plan);
        assert!(world.run_until(|world| world.waits_for(0, Begin)));
        let report = good(world);
        let counters = report.counters;
        assert!(counters.transactions_aborted > 1 && counters.transactions_committed > 1);
        assert_eq!(counters.producers_fenced, 0, "{report}");
    }
}
