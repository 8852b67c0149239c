//! Failures that must be survived, one by one; the numbers are those of the list of failures.

use std::time::Duration;

use streamledger_simulator::{CrashKind, Report, RunPlan, SimTime, World};

/// One producer, one partition at broker 0, a second broker, and nothing that goes wrong by itself.
fn plan() -> RunPlan {
    let mut plan = RunPlan::calm(7);
    plan.faults.until = SimTime::from_ms(5000);
    plan.producers[0].records = 100;
    plan
}

fn after(world: &World, ms: u64) -> SimTime {
    world.now() + Duration::from_millis(ms)
}

/// Runs until some records are acknowledged, so that the first batch no longer travels alone.
fn warmed_up(plan: RunPlan) -> World {
    let mut world = World::new(plan);
    assert!(world.run_until(|world| world.counters().acked > 0));
    world
}

/// Runs to the end: every promise kept, every record acknowledged and there once.
fn all_delivered(world: World) -> Report {
    let report = world.finish();
    assert!(report.is_good(), "{report}");
    assert_eq!(report.counters.acked, report.counters.sent, "{report}");
    assert_eq!(report.counters.compared, report.counters.sent, "{report}");
    report
}

#[test]
fn failures_1_killed_between_append_and_ack_the_retry_is_a_duplicate() {
    let mut world = warmed_up(plan());
    let appends = world.counters().appends;
    assert!(world.run_until(|world| world.counters().appends > appends));
    world.crash(0, CrashKind::Kill, 20);
    assert!(all_delivered(world).counters.crashes == 1);
}

#[test]
fn failures_2_and_38_a_power_cut_before_the_flush_takes_nothing_acknowledged() {
    let mut world = warmed_up(plan());
    world.slow_disk(0, 50_000, after(&world, 100));
    assert!(world.run_until(|world| world.requests_in_flight(0) >= 3));
    world.crash(0, CrashKind::PowerCut, 20);
    all_delivered(world);
}

#[test]
fn failures_3_a_response_lost_after_the_write_is_answered_again() {
    let mut world = warmed_up(plan());
    world.lose_responses(0, 1);
    let report = all_delivered(world);
    assert!(report.counters.responses_lost > 0 && report.counters.duplicates > 0, "{report}");
}

#[test]
fn failures_4_a_response_later_than_the_timeout_is_dropped() {
    let mut plan = plan();
    plan.producers[0].close_on_timeout = false;
    plan.producers[0].request_timeout = Duration::from_millis(100);
    let mut world = warmed_up(plan);
    world.slow_responses(0, 150_000, after(&world, 50));
    let report = all_delivered(world);
    assert!(report.counters.timeouts > 0 && report.counters.duplicates > 0, "{report}");
}

#[test]
fn failures_5_and_6_the_leader_moves_with_batches_in_flight_and_no_epoch_is_raised() {
    for lose_unflushed in [false, true] {
        let mut world = warmed_up(plan());
        world.slow_disk(0, 100_000, after(&world, 200));
        assert!(world.run_until(|world| world.requests_in_flight(0) == 5));
        world.move_leader(0, 1, lose_unflushed);
        let report = all_delivered(world);
        assert_eq!((report.counters.moves, report.counters.epoch_bumps), (1, 0), "{report}");
    }
}

#[test]
fn failures_13_a_timeout_in_flight_says_possibly_written_and_gives_the_memory_back() {
    let mut plan = plan();
    plan.must_deliver = false;
    plan.producers[0].request_timeout = Duration::from_millis(200);
    plan.producers[0].delivery_timeout = Duration::from_millis(300);
    let mut world = warmed_up(plan);
    world.stall(0, 0, after(&world, 1500));
    let report = world.finish();
    assert!(report.is_good(), "{report}");
    assert!(report.counters.possibly_written > 0, "{report}");
}

#[test]
fn failures_14_a_batch_too_large_for_the_broker_is_split_in_order() {
    let mut plan = plan();
    plan.disk.message_bytes_max = 400;
    plan.producers[0].batch_bytes_max = 2000;
    plan.producers[0].linger = Duration::from_millis(20);
    let report = all_delivered(World::new(plan));
    assert!(report.counters.too_large > 0, "{report}");
}

#[test]
fn failures_20_with_all_brokers_away_records_wait_and_sends_push_back() {
    let mut plan = plan();
    plan.must_deliver = false;
    plan.faults.until = SimTime::from_ms(61_000);
    plan.producers[0].memory_bytes_max = 1000;
    plan.producers[0].delivery_timeout = Duration::from_secs(10);
    let mut world = warmed_up(plan);
    world.crash(0, CrashKind::Kill, 60_000);
    world.crash(1, CrashKind::Kill, 60_000);
    let report = world.finish();
    assert!(report.is_good(), "{report}");
    assert!(report.counters.memory_waits > 0 && report.counters.not_written > 0, "{report}");
}

#[test]
fn failures_7_and_23_too_few_replicas_is_retried_in_order_and_one_copy_is_there() {
    let mut world = warmed_up(plan());
    world.too_few_replicas(0, after(&world, 20));
    let report = all_delivered(world);
    assert!(report.counters.not_enough_replicas > 0, "{report}");
    assert_eq!(report.counters.epoch_bumps, 0, "{report}");
}

#[test]
fn failures_32_a_torn_tail_is_cut_and_what_was_acknowledged_stays() {
    let mut torn_tails = 0;
    for seed in 0..20 {
        let mut plan = plan();
        plan.seed = seed;
        let mut world = warmed_up(plan);
        world.slow_disk(0, 50_000, after(&world, 100));
        assert!(world.run_until(|world| world.requests_in_flight(0) >= 4));
        world.crash(0, CrashKind::PowerCut, 5);
        torn_tails += all_delivered(world).counters.torn_tails;
    }
    assert!(torn_tails > 0);
}

#[test]
fn failures_33_and_38_a_power_cut_between_a_roll_and_its_flush_leaves_a_log_that_opens() {
    let mut cut_between_segments = 0;
    for seed in 0..40 {
        let mut plan = plan();
        plan.seed = seed;
        plan.disk.segment_bytes = 1500;
        let mut world = warmed_up(plan);
        world.slow_disk(0, 30_000, after(&world, 200));
        let rolls = world.rolls();
        assert!(world.run_until(|world| world.rolls() > rolls));
        assert!(world.run_until(|world| world.requests_in_flight(0) >= 3));
        world.crash(0, CrashKind::PowerCut, 5);
        cut_between_segments += all_delivered(world).counters.cut_between_segments;
    }
    assert!(cut_between_segments > 0);
}

#[test]
fn failures_35_a_full_disk_fails_retriably_and_leaves_nothing_partial() {
    let mut world = warmed_up(plan());
    world.fill_disk(0, 100, after(&world, 300));
    let report = all_delivered(world);
    assert!(report.counters.storage_errors > 0, "{report}");
}

#[test]
fn failures_37_a_flush_of_ten_seconds_costs_time_and_no_record() {
    let mut world = warmed_up(plan());
    world.slow_disk(0, 10_000_000, after(&world, 10));
    let report = all_delivered(world);
    assert!(report.ended > SimTime::from_ms(10_000), "{report}");
}

#[test]
fn a_slow_broker_gets_less_of_what_has_no_key_and_nothing_is_lost() {
    let mut plan = plan();
    plan.topics = vec![6];
    plan.faults.until = SimTime::from_ms(20_000);
    plan.producers[0].records = 4000;
    plan.producers[0].gap_us_max = 200;
    let mut world = warmed_up(plan);
    world.slow_disk(0, 100_000, after(&world, 15_000));
    assert!(world.run_until(|world| world.counters().sent == 3900));
    let (slow, fast) = (world.keyless_sent_to(0), world.keyless_sent_to(1));
    assert!(slow > 0 && slow * 4 < fast * 3, "{slow} to the slow broker, {fast} to the other");
    all_delivered(world);
}
