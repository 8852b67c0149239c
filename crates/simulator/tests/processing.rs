//! Consume, process, produce: each input counts once, and the offset that its group stores in the
//! same transaction agrees with the outputs, whatever fails. The numbers are those of the list of
//! failures; by both protocols, and by static and dynamic members.

use std::time::Duration;

use streamledger_client_core::transaction::TransactionOperation::{Commit, SendOffsets};
use streamledger_client_core::transaction::TransactionVersion::{self, V1, V2};
use streamledger_simulator::{CrashKind, ProcessingPlan, Report, RunPlan, SimTime, World};

/// Each protocol, with members of each kind.
fn plans() -> impl Iterator<Item = RunPlan> {
    let kinds = [(V1, false), (V2, false), (V1, true), (V2, true)];
    kinds.into_iter().map(|(version, is_static)| plan(version, is_static))
}

/// One producer of ten transactions, each of some inputs; nothing goes wrong by itself.
fn plan(version: TransactionVersion, is_static: bool) -> RunPlan {
    let processing = ProcessingPlan { group: 0, is_static, fresh_ids: false };
    let mut plan = RunPlan::calm_processing(7, version, processing);
    plan.faults.until = SimTime::from_ms(5000);
    plan
}

/// The same, with lives that only the group can tell from each other.
fn with_fresh_ids(mut plan: RunPlan) -> RunPlan {
    for transaction in plan.producers.iter_mut().filter_map(|one| one.transaction.as_mut()) {
        transaction.timeout = Duration::from_secs(2);
        let processing = transaction.processing.as_mut();
        let _ = processing.map(|processing| processing.fresh_ids = true);
    }
    plan
}

fn after(world: &World, ms: u64) -> SimTime {
    world.now() + Duration::from_millis(ms)
}

/// Runs until some transactions are committed and the offsets of the next are asked for.
fn warmed_up(plan: RunPlan) -> World {
    let mut world = World::new(plan);
    assert!(world.run_until(|world| world.counters().transactions_committed == 3));
    assert!(world.run_until(|world| world.waits_for(0, SendOffsets)));
    world
}

/// Runs to the end: every promise kept, and inputs compared.
fn good(world: World) -> Report {
    let report = world.finish();
    assert!(report.is_good(), "{report}");
    assert!(report.counters.inputs_compared > 10, "{report}");
    report
}

#[test]
fn without_faults_each_input_counts_once_and_the_offset_says_how_many() {
    for plan in plans() {
        let report = good(World::new(plan));
        let counters = report.counters;
        assert_eq!(counters.transactions_committed, 10, "{report}");
        assert_eq!(counters.offsets_sent, 10, "{report}");
        assert_eq!(counters.inputs_compared, counters.acked, "{report}");
    }
}

#[test]
fn offsets_of_an_aborted_transaction_are_dropped_and_its_inputs_come_again() {
    for mut plan in plans() {
        let transaction = plan.producers[0].transaction.as_mut().unwrap();
        (transaction.abort_per_mille, transaction.transactions) = (500, 20);
        let report = good(World::new(plan));
        let counters = report.counters;
        assert!(counters.transactions_aborted > 3, "{report}");
        assert!(counters.offsets_sent > counters.transactions_committed, "{report}");
        assert!(counters.inputs_compared < counters.acked, "{report}");
    }
}

#[test]
fn failures_12_of_two_lives_with_one_transactional_id_the_older_stores_nothing() {
    for plan in plans() {
        let mut world = warmed_up(plan);
        world.start_rival(0);
        assert!(world.run_until(|world| world.producers() == 2));
        let report = good(world);
        let fenced = report.counters.producers_fenced + report.counters.members_fenced;
        assert!(fenced >= 1, "{report}");
    }
}

#[test]
fn failures_48_a_life_that_its_group_has_moved_on_from_stores_nothing_and_its_outputs_are_gone() {
    for plan in plans().map(with_fresh_ids) {
        let mut fenced = 0;
        for seed in 0..10 {
            let mut plan = plan.clone();
            plan.seed = seed;
            let mut world = World::new(plan);
            assert!(world.run_until(|world| world.counters().transactions_committed == 2));
            // It stands still until another life is a member in its place.
            world.start_rival(0);
            world.pause_producer(0, 1000);
            let report = good(world);
            fenced += report.counters.members_fenced + report.counters.producers_fenced;
        }
        assert!(fenced > 5, "{fenced}");
    }
}

#[test]
fn kip_447_who_takes_over_waits_for_offsets_that_a_transaction_is_about_to_store() {
    for plan in plans().map(with_fresh_ids) {
        let mut unstable = 0;
        for seed in 0..10 {
            let mut plan = plan.clone();
            plan.seed = seed;
            let mut world = warmed_up(plan);
            let (slot, end) = (world.groups_slot(), world.log_end_offset(world.groups_slot()));
            assert!(world.run_until(|world| world.log_end_offset(slot) > end));
            // Its transaction is open until its time is over.
            world.kill_producer(0);
            unstable += good(world).counters.offsets_unstable;
        }
        assert!(unstable > 0);
    }
}

#[test]
fn failures_25_a_killed_life_is_followed_by_one_that_begins_at_the_stored_offset() {
    for plan in plans().chain(plans().map(with_fresh_ids)) {
        for operation in [SendOffsets, Commit] {
            let mut world = warmed_up(plan.clone());
            assert!(world.run_until(|world| world.waits_for(0, operation)));
            world.kill_producer(0);
            let report = good(world);
            assert!(report.counters.members_joined >= 2, "{report}");
        }
    }
}

#[test]
fn failures_27_a_commit_without_an_answer_stores_the_offset_with_the_outputs_or_not_at_all() {
    let mut lost = 0;
    for mut plan in plans() {
        plan.producers[0].request_timeout = Duration::from_millis(100);
        let mut world = warmed_up(plan);
        world.lose_answers(after(&world, 1500));
        lost += good(world).counters.answers_lost;
    }
    assert!(lost > 5, "{lost}");
}

#[test]
fn failures_30_a_marker_for_the_offsets_that_a_crash_left_is_written_after_it() {
    let mut resumed = 0;
    for (plan, seed) in plans().flat_map(|plan| (0..10).map(move |seed| (plan.clone(), seed))) {
        let mut plan = plan;
        plan.seed = seed;
        let mut world = warmed_up(plan);
        assert!(world.run_until(|world| world.waits_for(0, Commit)));
        world.lose_markers(after(&world, 300));
        let markers = world.counters().markers;
        assert!(world.run_until(|world| world.counters().markers > markers));
        world.crash(world.coordinator_broker(), CrashKind::PowerCut, 20);
        resumed += good(world).counters.markers_resumed;
    }
    assert!(resumed > 5, "{resumed}");
}

#[test]
fn failures_48_a_groups_coordinator_that_dies_between_append_and_answer_is_asked_again() {
    for mut plan in plans() {
        plan.producers[0].request_timeout = Duration::from_millis(200);
        for kind in [CrashKind::Kill, CrashKind::PowerCut] {
            let mut world = warmed_up(plan.clone());
            let broker = world.leader(world.groups_slot());
            world.slow_disk(broker, 50_000, after(&world, 500));
            let end = world.log_end_offset(world.groups_slot());
            assert!(world.run_until(|world| world.log_end_offset(world.groups_slot()) > end));
            world.crash(broker, kind, 20);
            let report = good(world);
            assert!(report.counters.group_loads >= 2, "{report}");
        }
    }
}

#[test]
fn failures_48_pending_offsets_are_in_the_log_and_a_coordinator_that_moves_knows_them() {
    for plan in plans() {
        let mut world = warmed_up(plan);
        assert!(world.run_until(|world| world.waits_for(0, Commit)));
        let to = 1 - world.leader(world.groups_slot());
        world.move_leader(world.groups_slot(), to, true);
        let report = good(world);
        assert_eq!(report.counters.group_loads, 2, "{report}");
        assert_eq!(report.counters.transactions_committed, 10, "{report}");
    }
}

#[test]
fn failures_35_a_full_disk_stores_no_part_of_the_offsets() {
    for plan in plans() {
        let mut world = warmed_up(plan);
        let (sent, broker) = (world.counters().offsets_sent, world.leader(world.groups_slot()));
        let end = world.log_end_offset(world.groups_slot());
        world.fill_disk(broker, 20, after(&world, 400));
        world.run_for_ms(390);
        assert_eq!(world.counters().offsets_sent, sent);
        assert_eq!(world.log_end_offset(world.groups_slot()), end);
        let report = good(world);
        assert_eq!(report.counters.transactions_committed, 10, "{report}");
    }
}
