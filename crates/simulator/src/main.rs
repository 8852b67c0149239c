//! Runs the simulator: `simulate --seed N [--seeds M] [--trace] [--planted BUG]`.

use std::process::ExitCode;

use streamledger_simulator::{
    CompactionReport, Counters, GroupReport, JournalReport, Planted, Report, RunPlan, run,
    run_compaction, run_groups, run_journal,
};

const USAGE: &str = "\
Runs the real producer and log cores under a faked clock, network and disk.

Usage: simulate [--seed N] [--seeds M] [--plan NAME] [--trace] [--planted BUG] [--quiet]

  --seed N       the first seed (default 0)
  --seeds M      how many seeds, one after the other (default 1)
  --plan NAME    plain, transactions, processing, compaction, groups, journal, or all of each seed
                 (the default)
  --trace        print what happened, line by line
  --planted BUG  with a bug planted in one of the cores; `--planted list` names them
  --quiet        print only runs that are bad, and the sum

Exit code: 0 if every promise was kept in every run, 1 if one was broken, 2 if the command line is
wrong. The same seed does the same in every run.";

struct Arguments {
    first_seed: u64,
    seeds: u64,
    trace: bool,
    quiet: bool,
    planted: Option<Planted>,
    plans: &'static [Plan],
}

/// How a seed becomes a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Plain,
    Transactions,
    Processing,
    Compaction,
    Groups,
    Journal,
}

const ALL: &[Plan] = &[
    Plan::Plain,
    Plan::Transactions,
    Plan::Processing,
    Plan::Compaction,
    Plan::Groups,
    Plan::Journal,
];

enum Asked {
    Run(Arguments),
    Help,
    Bugs,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut arguments = Arguments {
        first_seed: 0,
        seeds: 1,
        trace: false,
        quiet: false,
        planted: None,
        plans: ALL,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| {
            text.parse::<u64>().map_err(|_| format!("{text:?} is no number for {word}"))
        };
        match word.as_str() {
            "--seed" => arguments.first_seed = number(value()?)?,
            "--seeds" => arguments.seeds = number(value()?)?,
            "--trace" => arguments.trace = true,
            "--plan" => {
                arguments.plans = match value()?.as_str() {
                    "plain" => &[Plan::Plain],
                    "transactions" => &[Plan::Transactions],
                    "processing" => &[Plan::Processing],
                    "compaction" => &[Plan::Compaction],
                    "groups" => &[Plan::Groups],
                    "journal" => &[Plan::Journal],
                    "all" => ALL,
                    other => return Err(format!("{other:?} is no plan")),
                }
            }
            "--quiet" => arguments.quiet = true,
            "--planted" => match value()?.as_str() {
                "list" => return Ok(Asked::Bugs),
                name => {
                    arguments.planted = Some(name.parse().map_err(
                        |unknown: streamledger_simulator::UnknownBug| unknown.to_string(),
                    )?);
                }
            },
            "--help" | "-h" => return Ok(Asked::Help),
            other => return Err(format!("{other:?} is not understood")),
        }
    }
    Ok(Asked::Run(arguments))
}

fn run_one(mut plan: RunPlan, arguments: &Arguments) -> Report {
    plan.keep_trace = arguments.trace;
    plan.planted = arguments.planted;
    run(plan)
}

fn run_all(arguments: &Arguments) -> ExitCode {
    let mut sum = Counters::default();
    let mut compactions = CompactionReport::default();
    let mut groups = GroupReport::default();
    let mut journals = JournalReport::default();
    let mut bad = Vec::new();
    let seeds = arguments.first_seed..arguments.first_seed.saturating_add(arguments.seeds);
    let runs = seeds.flat_map(|seed| arguments.plans.iter().map(move |plan| (seed, *plan)));
    for (seed, plan) in runs {
        let run_plan = match plan {
            Plan::Plain => RunPlan::from_seed(seed),
            Plan::Transactions => RunPlan::transactional_from_seed(seed),
            Plan::Processing => RunPlan::processing_from_seed(seed),
            Plan::Compaction => {
                let report = run_compaction(seed, arguments.planted);
                if !arguments.quiet || !report.is_good() {
                    println!("{plan:?} {report}");
                }
                compactions.add(&report);
                bad.extend((!report.is_good()).then_some((seed, plan)));
                continue;
            }
            Plan::Groups => {
                let report = run_groups(seed, arguments.planted);
                if !arguments.quiet || !report.is_good() {
                    println!("{plan:?} {report}");
                }
                groups.add(&report);
                bad.extend((!report.is_good()).then_some((seed, plan)));
                continue;
            }
            Plan::Journal => {
                let report = run_journal(seed, arguments.planted);
                if !arguments.quiet || !report.is_good() {
                    println!("{plan:?} {report}");
                }
                journals.add(&report);
                bad.extend((!report.is_good()).then_some((seed, plan)));
                continue;
            }
        };
        let report = run_one(run_plan, arguments);
        report.trace.iter().for_each(|line| println!("{line}"));
        if !arguments.quiet || !report.is_good() {
            println!("{plan:?} {report}");
        }
        sum.add(&report.counters);
        if !report.is_good() {
            bad.push((seed, plan));
        }
    }
    println!("\nall in all:");
    for (name, count) in sum.named() {
        println!("  {count:>10}  {}", name.replace('_', " "));
    }
    if arguments.plans.contains(&Plan::Compaction) {
        print_compactions(&compactions);
    }
    if arguments.plans.contains(&Plan::Groups) {
        print_groups(&groups);
    }
    if arguments.plans.contains(&Plan::Journal) {
        print_journals(&journals);
    }
    if bad.is_empty() {
        println!("every promise was kept");
        return ExitCode::SUCCESS;
    }
    println!("{} runs are bad: {bad:?}", bad.len());
    ExitCode::FAILURE
}

fn print_compactions(sum: &CompactionReport) {
    let CompactionReport { compactions, replaced, crashes_in_swaps, compared, .. } = sum;
    println!("  {compactions:>10}  compactions");
    println!("  {replaced:>10}  segments replaced");
    println!("  {crashes_in_swaps:>10}  crashes in swaps");
    println!("  {compared:>10}  records compared beside compaction");
}

fn print_journals(sum: &JournalReport) {
    let JournalReport { crashes, mended, turns, .. } = sum;
    println!("  {crashes:>10}  power cuts beside the flush journal");
    println!("  {mended:>10}  frames of it that mended a segment");
    println!("  {turns:>10}  turns of it");
}

fn print_groups(sum: &GroupReport) {
    let GroupReport { compared, commits, zombies, turns, .. } = sum;
    println!("  {compared:>10}  states of groups compared");
    println!("  {commits:>10}  offsets stored by members");
    println!("  {zombies:>10}  offsets of zombies refused");
    println!("  {turns:>10}  groups turned to the other protocol");
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(Asked::Run(arguments)) => run_all(&arguments),
        Ok(Asked::Help) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Ok(Asked::Bugs) => {
            Planted::all().for_each(|bug| println!("{bug}"));
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}
